//! Interned values: every distinct part of a cluster is kept once and named by a number.
//!
//! Tens of millions of clusters are made of some ten thousand distinct servers, connections and mailboxes. Two
//! values are the same if their canonical bytes are ([`super::canon`]); the first one seen stands for all of them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 16;

struct Item<T> {
    bytes: Box<[u8]>,
    value: T,
    /// A hash for each renaming of the servers, where a configuration is symmetric.
    orbit: Box<[u128]>,
}

/// A set of values of one kind, shared by all threads; reading takes no lock.
pub struct Arena<T> {
    items: boxcar::Vec<Item<T>>,
    ids: [Mutex<HashTable<u32>>; SHARDS],
    hasher: FixedState,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            items: boxcar::Vec::new(),
            ids: core::array::from_fn(|_| Mutex::new(HashTable::new())),
            hasher: FixedState::with_seed(7),
        }
    }
}

impl<T> core::fmt::Debug for Arena<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} values", self.len())
    }
}

impl<T> Arena<T> {
    /// The number of the value with these canonical bytes; `make` is asked for it if it is new.
    pub fn intern(&self, bytes: &[u8], make: impl FnOnce() -> T) -> u32 {
        self.intern_with_orbit(bytes, make, |_| Box::default())
    }

    /// The same for a value whose hash under each renaming of the servers is wanted.
    pub fn intern_with_orbit(
        &self,
        bytes: &[u8],
        make: impl FnOnce() -> T,
        orbit: impl FnOnce(&T) -> Box<[u128]>,
    ) -> u32 {
        let hash = self.hasher.hash_one(bytes);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        let mut ids = self.ids[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids.find(hash, |id| *self.items[*id as usize].bytes == *bytes) {
            return *id;
        }
        let value = make();
        let at = self.items.push(Item {
            bytes: bytes.into(),
            orbit: orbit(&value),
            value,
        });
        let id = u32::try_from(at).unwrap_or_else(|_| panic!("more than 2^32 distinct parts"));
        ids.insert_unique(hash, id, |id| {
            self.hasher.hash_one(&*self.items[*id as usize].bytes)
        });
        id
    }

    /// The value of a number that [`Arena::intern`] has given.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> &T {
        &self.items[id as usize].value
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn bytes(&self, id: u32) -> &[u8] {
        &self.items[id as usize].bytes
    }

    /// Its hash under each renaming of the servers.
    #[inline]
    #[must_use]
    pub fn orbit(&self, id: u32) -> &[u128] {
        &self.items[id as usize].orbit
    }

    /// How many distinct values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Canonical bytes on the way into an arena, and the names by which they call the servers.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    bytes: Vec<u8>,
    /// What server `i` is called; by its index if this is empty.
    names: Vec<u8>,
}

impl Bytes {
    /// No bytes, and every server by its index.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            names: Vec::new(),
        }
    }

    /// No bytes, and these names.
    #[must_use]
    pub fn with_names(names: &[u8]) -> Self {
        Self {
            bytes: Vec::new(),
            names: names.to_vec(),
        }
    }

    /// What the server of that index is called.
    #[must_use]
    pub fn name(&self, server: usize) -> usize {
        self.names.get(server).map_or(server, |n| usize::from(*n))
    }
}

impl core::ops::Deref for Bytes {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl core::ops::DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_one_value_and_the_first_stands_for_all() {
        let arena = Arena::default();
        let a = arena.intern(b"a", || "first");
        assert_eq!(arena.intern(b"a", || "second"), a);
        let b = arena.intern(b"b", || "third");
        assert_ne!(a, b);
        assert_eq!(
            (*arena.get(a), *arena.get(b), arena.len()),
            ("first", "third", 2)
        );
    }
}
