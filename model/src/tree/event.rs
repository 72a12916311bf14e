//! What watchers hear.

use super::acl::AclView;

/// What happened to a node, with ZooKeeper's number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are ZooKeeper's own and say it")]
pub enum EventKind {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

impl EventKind {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// A change that watchers of `path` may hear of, if `acl` lets them read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trigger<'a> {
    /// What happened.
    pub kind: EventKind,
    /// The node it happened to, as clients write it.
    pub path: &'a str,
    /// The node's list, at its deletion the last one. Empty, which lets everybody read, where no node is left to ask.
    pub acl: AclView<'a>,
}
