//! The replicated service: znodes, what clients may ask of them, and what a transaction does to them.
//!
//! A write goes through [`prep`] on the leader (request → transaction or refusal) and through [`apply`] on every server
//! (transaction → change of the [`node::Tree`], result, watch triggers). A read is answered by [`read`]. Watches ([`watch`]) belong
//! to one server and are not replicated.

pub mod acl;
mod acl_table;
pub mod apply;
pub mod content;
pub mod counter;
pub mod digest;
pub mod error;
pub mod event;
mod grow;
pub mod image;
mod index;
mod key;
pub mod long;
pub mod node;
pub mod op;
mod page;
pub mod path;
pub mod prep;
pub mod quota;
pub mod read;
pub mod restore;
pub mod stat;
pub mod txn;
pub mod watch;
