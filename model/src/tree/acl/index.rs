//! An index of a list: whoever checks an access looks its own identities up instead of going through the list.
//!
//! A request of a megabyte has room for tens of thousands of entries, and a list is looked at with each access to each of its nodes, while
//! others wait for the tree. What a check costs is bounded by the identities of the caller, not by the length of the list. Everything here is sorted
//! and found by halving: entries that are made up so that their hashes are equal do not make it slower.

use super::entry::{AclEntry, Id, parse_network};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::IpAddr;
use foldhash::fast::FixedState;

/// A list of more entries has an index.
const SHORT_MAX: usize = 16;

/// What each identity is granted by a list.
#[derive(Debug)]
pub(super) struct AclIndex {
    /// What all entries of scheme `sasl` grant together.
    sasl: u32,
    named: Box<[Named]>,
    networks: Box<[Network]>,
    /// The lengths of the prefixes in `networks`, each once.
    lengths: Box<[Length]>,
}

/// An identity, and what its entries grant together; in the order of hashes, so that few texts are compared.
#[derive(Debug)]
struct Named {
    hash: u64,
    /// The place of an entry that names it.
    at: u32,
    perms: u32,
}

/// Bits of an address of its family, and how many of them count.
type Length = (u32, u32);

#[derive(Debug)]
struct Network {
    length: Length,
    prefix: u128,
    perms: u32,
}

fn hash(id: &Id) -> u64 {
    FixedState::default().hash_one(id)
}

/// The bits of `address` that count.
const fn prefix(address: u128, (width, bits): Length) -> u128 {
    // A shift by the whole width is none at all for the type: zero bits match everything.
    if bits == 0 {
        0
    } else {
        address >> (width - bits)
    }
}

fn bits_of(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl AclIndex {
    /// The index of a list that is long or names addresses, whose text need not be short. `None`: it is looked through as quickly.
    pub(super) fn of(entries: &[AclEntry]) -> Option<Self> {
        let has_networks = || entries.iter().any(|e| &*e.id.scheme == "ip");
        if entries.len() <= SHORT_MAX && !has_networks() {
            return None;
        }
        let mut index = Self {
            sasl: 0,
            named: Box::default(),
            networks: Box::default(),
            lengths: Box::default(),
        };
        let (mut named, mut networks) = (Vec::with_capacity(entries.len()), Vec::new());
        for (at, entry) in (0..).zip(entries) {
            let perms = entry.perms;
            match &*entry.id.scheme {
                "ip" => {
                    if let Some((address, bits)) = parse_network(&entry.id.id) {
                        let (address, width) = bits_of(address);
                        let length = (width, bits);
                        let prefix = prefix(address, length);
                        networks.push(Network {
                            length,
                            prefix,
                            perms,
                        });
                    }
                    continue;
                }
                "sasl" => index.sasl |= perms,
                _ => {}
            }
            let hash = hash(&entry.id);
            named.push(Named { hash, at, perms });
        }
        let id = |n: &Named| entries.get(n.at as usize).map(|e| &e.id);
        named.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| id(a).cmp(&id(b))));
        named.dedup_by(|next, kept| {
            let is_same = next.hash == kept.hash && id(next) == id(kept);
            kept.perms |= if is_same { next.perms } else { 0 };
            is_same
        });
        networks.sort_unstable_by_key(|n| (n.length, n.prefix));
        networks.dedup_by(|next, kept| {
            let is_same = (next.length, next.prefix) == (kept.length, kept.prefix);
            kept.perms |= if is_same { next.perms } else { 0 };
            is_same
        });
        let mut lengths: Vec<Length> = networks.iter().map(|n| n.length).collect();
        lengths.dedup();
        index.named = named.into();
        index.networks = networks.into();
        index.lengths = lengths.into();
        Some(index)
    }

    /// What `caller` may by its own entries; `entries` is the list.
    pub(super) fn granted(&self, entries: &[AclEntry], caller: &Id) -> u32 {
        match (&*caller.scheme, &*caller.id) {
            // Of SASL users, the one with this name is everybody, but no more.
            ("sasl", "super") => self.sasl,
            ("ip", address) => address
                .parse()
                .map_or(0, |address| self.granted_at(address)),
            _ => {
                let hash = hash(caller);
                let found = self.named.binary_search_by(|n| {
                    let id = || entries.get(n.at as usize).map(|e| &e.id);
                    n.hash.cmp(&hash).then_with(|| id().cmp(&Some(caller)))
                });
                found
                    .ok()
                    .and_then(|at| self.named.get(at))
                    .map_or(0, |n| n.perms)
            }
        }
    }

    fn granted_at(&self, address: IpAddr) -> u32 {
        let (address, width) = bits_of(address);
        let of_family = self.lengths.iter().filter(|length| length.0 == width);
        let granted = of_family.filter_map(|length| {
            let wanted = (*length, prefix(address, *length));
            let at = self
                .networks
                .binary_search_by_key(&wanted, |n| (n.length, n.prefix));
            self.networks.get(at.ok()?).map(|n| n.perms)
        });
        granted.fold(0, |all, perms| all | perms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// C-48: of a list as long as a request, what a check looks at is bounded by the caller's identities, and each identity and
    /// each network stands in the index once.
    #[test]
    fn c_48_a_long_list_has_an_index_and_a_short_one_without_addresses_has_none() {
        let entry = |perms, scheme: &str, id: &str| AclEntry {
            perms,
            id: Id {
                scheme: scheme.into(),
                id: id.into(),
            },
        };
        let digest = |n: usize| entry(1, "digest", &format!("u{n}:h"));
        let of = |list: &[AclEntry]| AclIndex::of(list);
        let short: Vec<_> = (0..SHORT_MAX).map(digest).collect();
        assert!(of(&[]).is_none() && of(&short).is_none());
        let one_more: Vec<_> = (0..=SHORT_MAX).map(digest).collect();
        assert!(of(&one_more).is_some_and(|index| index.named.len() == one_more.len()));
        let zeros = format!("10.0.0.{}1", "0".repeat(1 << 20));
        assert!(of(&[entry(1, "ip", &zeros)]).is_some_and(|index| index.networks.len() == 1));
        let ten = 45_000;
        let of_ten = |n: usize| match n % 10 {
            0..5 => entry(1 << (n / 10 % 5), "digest", &format!("u{}:h", n % 10)),
            _ => entry(1 << (n / 10 % 5), "ip", &format!("10.{}.0.0/16", n % 10)),
        };
        let list: Vec<_> = (0..ten).map(of_ten).collect();
        let index = of(&list).unwrap();
        let sizes = (index.named.len(), index.networks.len(), index.lengths.len());
        assert_eq!(sizes, (5, 5, 1));
        assert!(index.named.iter().all(|n| n.perms == 31));
        assert!(index.networks.iter().all(|n| n.perms == 31));
    }
}
