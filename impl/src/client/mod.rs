//! A client's connection: its handshake, its requests, its answers.

pub mod answer;
pub mod auth;
pub mod conn;
pub mod connection;
pub mod hub;
pub mod lock;
pub mod long_reads;
pub mod shared;
pub mod submit;
