//! The real side of the edges: tokio, sockets, clocks, files under a lock and the thread that writes them, and what the system
//! allows.

pub mod audit;
mod bell;
pub mod boot;
pub mod client;
pub mod clock;
mod content;
pub mod disk;
pub mod doors;
pub mod driver;
pub mod flight;
mod fresh;
pub mod guard;
mod guarded;
pub mod http;
pub mod inbox;
mod java_store;
mod letter;
pub mod limits;
pub mod links;
pub mod listener;
pub mod member_files;
pub mod mesh;
mod papers;
pub mod pipe;
pub mod ports;
pub mod quorum;
mod quorum_sasl;
pub mod secure_client;
mod shown;
pub mod shutdown;
mod stores;
mod subject;
pub mod supervisor;
pub mod timed;
pub mod tls;
mod tls_config;
