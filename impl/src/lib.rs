//! The server: gives the model bytes, disks, sockets and time. It decides when a step runs, never what it does.
//!
//! | module | holds |
//! |---|---|
//! | [`error`], [`config`] | what an operator gets wrong, and how it is said |
//! | [`codes`] | what the log warns of, by codes that stay |
//! | [`wire`] | bytes ↔ types |
//! | [`storage`] | the data directory |
//! | [`core`] | one server as a state machine: events in, outputs out |
//! | [`client`] | a client's connection |
//! | [`edges`], [`runtime`] | what the server needs of the world, as traits, and the real side of them |
//! | [`limits`] | bounds on what strangers can make this server hold |
//! | [`mutants`] | faults that can be planted to see which check finds them, in no build of the product |
//! | [`admin`] | four-letter words, logging |
//! | [`mod@bench`] | a load generator for any ZooKeeper server |
//! | [`shell`] | the commands of ZooKeeper's shell, for any ZooKeeper server |
//! | [`tools`] | what an operator does beside a server: status, logs, snapshots, backup, doctor |
//! | [`container`] | the configuration that the environment of a container asks for |
//! | [`serve`], [`dev`] | a server, an ensemble on one machine |
//! | [`TestEnsemble`] | an ensemble inside a Rust program, for its tests |
//! | [`tls_init`] | keys and certificates for development |

// What comes from a socket, a disk or a person must never reach one of these.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
#[cfg(feature = "runtime")]
pub mod bench;
pub mod client;
pub mod codes;
pub mod config;
#[cfg(feature = "runtime")]
pub mod container;
pub mod core;
#[cfg(feature = "runtime")]
pub mod dev;
pub mod edges;
#[cfg(feature = "runtime")]
mod embed;
pub mod error;
#[cfg(feature = "gate")]
pub mod gate;
pub mod limits;
pub mod mutants;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "runtime")]
pub mod serve;
#[cfg(feature = "runtime")]
pub mod shell;
pub mod storage;
#[cfg(feature = "runtime")]
pub mod tls_init;
#[cfg(feature = "runtime")]
pub mod tools;
pub mod wire;

#[cfg(feature = "runtime")]
pub use embed::TestEnsemble;
