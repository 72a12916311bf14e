//! The replicated service: znodes, what clients may ask of them, and what a transaction does to them.

pub mod acl;
pub mod error;
pub mod op;
pub mod stat;
pub mod txn;
