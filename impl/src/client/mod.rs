//! A client's connection without its socket: its handshake, its requests, its answers, and what all connections share.

pub mod answer;
pub mod answered;
pub mod auth;
pub mod conn;
pub mod digest_md5;
pub mod door;
pub mod ended;
mod first;
pub mod hub;
mod identify;
pub mod intake;
pub mod line;
pub mod lock;
pub mod long_reads;
mod look;
pub mod operation;
pub mod outstanding;
mod remark;
mod requests;
mod sasl;
mod scene;
pub mod shared;
mod shed;
pub mod stats;
pub mod submit;
pub mod summary;
pub mod tally;
