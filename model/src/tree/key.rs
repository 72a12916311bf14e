//! A path with its hash: taken once for a request, whatever tables it is looked up in.

use alloc::boxed::Box;
use core::cmp::Ordering;
use core::hash::{BuildHasher, Hasher};
use foldhash::fast::FixedState;

/// The bytes of a path as nodes are kept under, and their hash.
#[derive(Clone, Copy)]
pub(super) struct Key<'p> {
    pub(super) path: &'p [u8],
    pub(super) hash: u64,
}

/// The same, where it outlives the request.
#[derive(Clone)]
pub(super) struct KeptKey {
    pub(super) hash: u64,
    path: Kept,
}

/// What nodes keep of the hash of their path: all of a [`Key`]'s hash follows from it, so that a table of paths grows without a look at
/// the paths, which lie elsewhere in memory.
pub(super) const fn kept(hash: u64) -> u32 {
    hash as u32
}

/// The hash of a key again, from what a node keeps of it. Tables use its lowest bits, its highest ones and those from the middle on.
pub(super) const fn widened(kept: u32) -> u64 {
    const ODD: u32 = 0x9e37_79b1;
    let upper = kept.wrapping_mul(ODD).rotate_left(16);
    (upper as u64) << 32 | kept as u64
}

/// Longer paths than this have memory of their own. Nearly all are shorter, and a write allocates nothing for them.
const SHORT_BYTES: usize = 62;

#[derive(Clone)]
enum Kept {
    Short { bytes: [u8; SHORT_BYTES], len: u8 },
    Long(Box<[u8]>),
}

/// As it is kept: `/` and the empty path are one node, the root.
#[inline]
fn named(path: &[u8]) -> &[u8] {
    if path == b"/" { b"" } else { path }
}

impl<'p> Key<'p> {
    /// `/` and the empty path are one node, the root.
    #[inline]
    pub(super) fn of(path: &'p str) -> Self {
        Self::of_bytes(path.as_bytes())
    }

    /// The same, of a path that need not be text.
    #[inline]
    pub(super) fn of_bytes(path: &'p [u8]) -> Self {
        let path = named(path);
        let mut hasher = FixedState::default().build_hasher();
        hasher.write(path);
        Self {
            path,
            hash: widened(kept(hasher.finish())),
        }
    }

    /// The key of `path`, of which the hash is known.
    pub(super) fn known(path: &'p str, hash: u64) -> Self {
        let path = named(path.as_bytes());
        Self { path, hash }
    }

    pub(super) fn keep(self) -> KeptKey {
        let mut bytes = [0; SHORT_BYTES];
        let path = match bytes.get_mut(..self.path.len()) {
            Some(place) => {
                place.copy_from_slice(self.path);
                let len = self.path.len() as u8;
                Kept::Short { bytes, len }
            }
            None => Kept::Long(self.path.into()),
        };
        KeptKey {
            hash: self.hash,
            path,
        }
    }
}

impl KeptKey {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.path {
            Kept::Short { bytes, len } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Kept::Long(path) => path,
        }
    }

    /// The key that it was made of.
    pub(super) fn key(&self) -> Key<'_> {
        Key {
            path: self.bytes(),
            hash: self.hash,
        }
    }

    /// Whether it is of this path.
    #[inline]
    pub(super) fn is(&self, key: Key<'_>) -> bool {
        self.bytes() == key.path
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        // The bytes were taken from a `str`.
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl PartialEq for KeptKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for KeptKey {}

impl PartialOrd for KeptKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By their paths.
impl Ord for KeptKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    /// The hash follows from what a node keeps of it, and is still as good for tables as one of 64 bits: by the bits that choose a
    /// shard, those that choose a place in it, and those that tell entries apart.
    #[test]
    fn what_is_kept_of_a_hash_spreads_paths_as_evenly_as_the_hash() {
        const PATHS: usize = 1 << 16;
        let hashes =
            (0..PATHS).map(|n| Key::of(&alloc::format!("/app/d{}/n{:010}", n % 100, n)).hash);
        let mut shards = [0_u32; 64];
        let mut places = [0_u32; 1 << 10];
        let mut tags = [0_u32; 128];
        for hash in hashes {
            assert_eq!(widened(kept(hash)), hash);
            let shard = (hash >> 32) as usize % 64;
            shards[shard] += 1;
            // Of one shard only: what chose it must not choose the place as well.
            if shard == 5 {
                places[hash as usize % (1 << 10)] += 1;
                tags[(hash >> 57) as usize] += 1;
            }
        }
        let within =
            |counts: &[u32], least, most| counts.iter().all(|n| (least..=most).contains(n));
        assert!(within(&shards, 900, 1150), "{shards:?}");
        assert!(within(&places, 0, 9), "{places:?}");
        assert!(within(&tags, 1, 25), "{tags:?}");
    }

    #[test]
    fn a_path_is_kept_whatever_its_length_and_in_the_order_of_paths() {
        let paths: Vec<String> = (0..2 * SHORT_BYTES).map(|n| "/a".repeat(n)).collect();
        let kept: Vec<KeptKey> = paths.iter().map(|path| Key::of(path).keep()).collect();
        assert!(kept.is_sorted());
        for (path, key) in paths.iter().zip(&kept) {
            assert_eq!(key.path(), path);
            assert_eq!(key.key().hash, Key::of(path).hash);
            let same = kept
                .iter()
                .filter(|other| *other == key && other.is(key.key()));
            assert_eq!(same.count(), 1, "{path}");
        }
        assert!(
            Key::of("").keep() == Key::of("/").keep(),
            "both are the root"
        );
    }
}
