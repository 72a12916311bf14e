//! One entry of an access control list: to whom it grants what.

use alloc::boxed::Box;
use core::net::IpAddr;

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

impl AclEntry {
    /// Whether the entry speaks of everybody.
    #[must_use]
    pub fn is_world(&self) -> bool {
        &*self.id.scheme == "world" && &*self.id.id == "anyone"
    }
}

/// `addr` or `addr/bits`; without bits the whole address counts.
pub(super) fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (addr, bits) = match text.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let addr = parse_address(addr)?;
    let width = if addr.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((addr, bits))
}

/// An address as ZooKeeper reads it: the numbers of a v4 address may begin with zeros, a v6 address has no v4 address at its end.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok().filter(|_| !text.contains('.'));
    }
    let mut parts = text.split('.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        *octet = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}
