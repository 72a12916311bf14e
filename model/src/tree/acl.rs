//! Access control lists.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// Who an ACL entry speaks of: an authentication scheme and an identity in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    /// `world`, `auth`, `digest`, `ip`, …
    pub scheme: Box<str>,
    /// The identity; for `world` it is `anyone`.
    pub id: Box<str>,
}

/// One entry of an access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AclEntry {
    /// Bits of [`perms`].
    pub perms: u32,
    /// To whom they are granted.
    pub id: Id,
}

/// A list, shared by all nodes that carry it.
pub type Acl = Arc<[AclEntry]>;

/// Permission bits.
pub mod perms {
    /// Read data and children.
    pub const READ: u32 = 1;
    /// Write data.
    pub const WRITE: u32 = 2;
    /// Create children.
    pub const CREATE: u32 = 4;
    /// Delete children.
    pub const DELETE: u32 = 8;
    /// Set the ACL.
    pub const ADMIN: u32 = 16;
    /// All of them.
    pub const ALL: u32 = 31;
}
