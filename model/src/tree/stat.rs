//! What a znode says of itself.

use crate::ids::Zxid;

/// A znode's metadata as clients see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stat {
    /// Transaction that created the node.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last change of data, ms since 1970.
    pub mtime: i64,
    /// Changes of data.
    pub version: i32,
    /// Creations and deletions of children.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Session of an ordinary ephemeral node; 0 for all others, containers and TTL nodes included.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Children.
    pub num_children: i32,
    /// Transaction that last created or deleted a child.
    pub pzxid: Zxid,
}

/// A znode's metadata as logs and snapshots keep it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StatPersisted {
    /// Transaction that created the node.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last change of data, ms since 1970.
    pub mtime: i64,
    /// Changes of data.
    pub version: i32,
    /// Creations of children only (clients see creations and deletions): also the source of sequence numbers.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Raw owner: a session, or the marks of container and TTL nodes.
    pub ephemeral_owner: i64,
    /// Transaction that last created or deleted a child.
    pub pzxid: Zxid,
}
