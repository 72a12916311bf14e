//! Around the tree: what clients may ask for, the lives of sessions, which request a transaction answers, and the order in which a session gets its answers.

pub mod admission;
pub mod answers;
pub mod order;
pub mod session;
pub mod sweep;
pub mod work;
