//! The protocol of Zabra as pure transition functions: no clock, socket, file, thread, logger or randomness.
//!
//! The server drives these functions with bytes and disks; the checker (feature `checker`) drives the same
//! functions through every interleaving within a budget.
#![no_std]

extern crate alloc;
#[cfg(feature = "checker")]
extern crate std;

pub mod ids;
pub mod service;
pub mod tree;
