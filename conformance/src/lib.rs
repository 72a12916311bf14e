//! Compares: model traces with running nodes, our bytes with ZooKeeper's, clients with both.

mod c_client;
pub mod chaos;
pub mod cluster;
pub mod dependents;
pub mod differential;
pub mod failover;
pub mod fuzz;
pub mod interop;
pub mod lossy;
pub mod power;
pub mod programs;
pub mod raw;
pub mod reconfigure;
pub mod replay;
pub mod safeguard;
pub mod shells;
pub mod sim;
