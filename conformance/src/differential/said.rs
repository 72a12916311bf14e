//! What a side has said, without what differs by its nature.

use super::request::Op;

/// What both have answered to one request, masked.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The request; nothing for an event.
    pub op: Option<&'a Op>,
    /// ZooKeeper's; nothing if there is none.
    pub zookeeper: Option<&'a Said>,
    /// Zabra's.
    pub zabra: Option<&'a Said>,
}

/// One thing that a side has said, masked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Said {
    /// An event.
    Event(Vec<u8>),
    /// A reply to the n-th request of the batch.
    Reply(usize, Vec<u8>),
    /// The end of the connection, or silence.
    Other(String),
}
