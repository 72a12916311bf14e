//! The server: gives the model bytes, disks, sockets and time. It decides when a step runs, never what it does.

pub mod storage;
