//! A client's connection: its handshake, its requests, its answers.

pub mod answer;
pub mod auth;
pub mod connection;
