//! The protocol of Zabra as pure transition functions: no clock, socket, file, thread, logger or randomness.
//!
//! The server drives these functions with bytes and disks; the checker drives the same functions through every
//! interleaving within a budget. It is package `zabra-check`, which compiles these sources once more, with the checker.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`], [`vote`], [`history`], [`quorum`] | the field's nouns |
//! | [`ensemble`] | which configurations bind a server |
//! | [`packet`], [`fault`], [`step`] | what peers say, what they refuse, inputs and effects |
//! | [`durable`] | the disk as a peer sees it |
//! | [`election`], [`leader`], [`learner`] | the roles |
//! | [`peer`] | a server: disk and role, and `step`, the one transition function |
//! | [`invariants`] | what must hold of every cluster and every step |
//! | [`diagram`] | a message-sequence chart of whatever happened |
//! | [`flight`] | what a server has heard, recorded so that its life can be lived again |
//! | [`service`] | sessions, which request a transaction answers, and the order of answers to one connection |
//! | `rules`, [`switch`] | the rules that known bugs break, and the bugs that a checker can bring back |
//! | [`tree`] | the replicated znodes |
#![no_std]
// What comes from outside must never reach one of these.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

extern crate alloc;
#[cfg(feature = "checker")]
extern crate std;

#[cfg(feature = "checker")]
pub mod checker;
mod context;
pub mod diagram;
pub mod durable;
pub mod election;
pub mod ensemble;
pub mod fault;
pub mod flight;
pub mod history;
pub mod ids;
pub mod invariants;
pub mod leader;
pub mod learner;
pub mod packet;
pub mod peer;
pub mod quorum;
mod rules;
pub mod service;
pub mod step;
pub mod switch;
pub mod tree;
pub mod vote;
