//! Around the tree: what clients may ask for, the lives of sessions, which request a transaction answers, the order in which a
//! session gets its answers, and who is let in among the servers.

pub mod admission;
pub mod answers;
pub mod membership;
pub mod order;
pub mod session;
pub mod sweep;
pub mod work;
