//! What a znode says of itself.

use crate::ids::{SessionId, Zxid};

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

/// The owner of a container node.
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The largest time to live, ms: it has 40 bits of the owner.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;
const TTL_MARK: i64 = 0xff00_0000_0000_0000_u64.cast_signed();

/// What a raw owner means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A persistent node.
    None,
    /// An ephemeral node of this session.
    Session(SessionId),
    /// A container: deleted when its last child is gone.
    Container,
    /// Deleted when without child and unchanged for so many ms.
    Ttl(i64),
}

impl Owner {
    /// Reads the field `ephemeralOwner` of logs and snapshots.
    ///
    /// TTL nodes are recognised whether or not new ones may be made: ZooKeeper, with its extended types off, takes the mark for
    /// an unknown session and deletes the node.
    #[must_use]
    pub const fn from_raw(raw: i64) -> Self {
        match raw {
            0 => Self::None,
            CONTAINER_OWNER => Self::Container,
            _ if raw & !TTL_MS_MAX == TTL_MARK => Self::Ttl(raw & TTL_MS_MAX),
            _ => Self::Session(SessionId(raw)),
        }
    }

    /// The field `ephemeralOwner` of logs and snapshots.
    #[must_use]
    pub const fn to_raw(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Session(session) => session.0,
            Self::Container => CONTAINER_OWNER,
            Self::Ttl(ms) => TTL_MARK | (ms & TTL_MS_MAX),
        }
    }
}

impl StatPersisted {
    /// The Stat of a node made by `zxid` at `time`.
    #[must_use]
    pub const fn created(zxid: Zxid, time: i64, owner: i64) -> Self {
        Self {
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: owner,
            pzxid: zxid,
        }
    }

    /// What clients see: `cversion` counts deletions too, and only sessions are shown as owners.
    #[must_use]
    pub const fn to_stat(&self, data_length: usize, num_children: i32) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match Owner::from_raw(self.ephemeral_owner) {
                Owner::Session(session) => session.0,
                _ => 0,
            },
            data_length: data_length as i32,
            num_children,
            pzxid: self.pzxid,
        }
    }
}
