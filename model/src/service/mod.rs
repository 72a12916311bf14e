//! Around the tree: the lives of sessions, and the order in which a session gets its answers.

pub mod order;
pub mod session;
