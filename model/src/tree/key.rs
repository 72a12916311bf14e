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

/// Longer paths than this have memory of their own. Nearly all are shorter, and a write allocates nothing for them.
const SHORT_BYTES: usize = 62;

#[derive(Clone)]
enum Kept {
    Short { bytes: [u8; SHORT_BYTES], len: u8 },
    Long(Box<[u8]>),
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
        let path = if path == b"/" { b"" } else { path };
        let mut hasher = FixedState::default().build_hasher();
        hasher.write(path);
        Self {
            path,
            hash: hasher.finish(),
        }
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
