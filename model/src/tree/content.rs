//! What a node is found by and what it holds, as that lies in the tree: path and data in one allocation, and what is kept of the hash of
//! the path. It can be made ahead of its node, and on another thread than that which has the tree.

use super::key::{self, Key};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bit of [`Content::path_len`]: the data is null, which is not the same as empty.
const NULL_DATA: u32 = 1 << 31;

/// Path and data of a node.
#[derive(Clone, Default)]
pub struct Content {
    /// Path, then data.
    blob: Box<[u8]>,
    path_len: u32,
    /// What is kept of the hash of the path.
    hash: u32,
}

/// Path and data of a node that may be made.
pub(super) enum Made<'d> {
    /// The data, with which the content will be made.
    Of(Option<&'d [u8]>),
    /// The content, made already.
    As(Content),
}

fn blob(path: &[u8], data: Option<&[u8]>) -> (Box<[u8]>, u32) {
    let data_bytes = data.unwrap_or_default();
    let mut bytes = Vec::with_capacity(path.len() + data_bytes.len());
    bytes.extend_from_slice(path);
    bytes.extend_from_slice(data_bytes);
    // Frames are at most a few MB, so a path fits; a longer one would be cut at a place that is read back consistently.
    let len = (path.len() as u32) & !NULL_DATA;
    (
        bytes.into_boxed_slice(),
        if data.is_none() { len | NULL_DATA } else { len },
    )
}

impl Content {
    /// Of a node at `path`; the root is `/` or the empty path.
    #[must_use]
    pub fn new(path: &str, data: Option<&[u8]>) -> Self {
        Self::of(Key::of(path), data)
    }

    pub(super) fn of(Key { path, hash }: Key<'_>, data: Option<&[u8]>) -> Self {
        let (blob, path_len) = blob(path, data);
        Self {
            blob,
            path_len,
            hash: key::kept(hash),
        }
    }

    fn path_bytes(&self) -> usize {
        (self.path_len & !NULL_DATA) as usize
    }

    pub(super) fn path(&self) -> &str {
        // The bytes were written from a `str`; were they not, the node would be found under no path.
        core::str::from_utf8(self.raw_path()).unwrap_or_default()
    }

    pub(super) fn raw_path(&self) -> &[u8] {
        self.blob.get(..self.path_bytes()).unwrap_or_default()
    }

    /// The hash of the path, as a [`Key`] has it.
    pub(super) const fn hash(&self) -> u64 {
        key::widened(self.hash)
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        if self.path_len & NULL_DATA == 0 {
            self.blob.get(self.path_bytes()..)
        } else {
            None
        }
    }

    /// Bytes of the data.
    pub(super) fn data_bytes(&self) -> usize {
        self.blob.len() - self.path_bytes()
    }

    pub(super) fn set_data(&mut self, data: Option<&[u8]>) {
        let start = self.path_bytes();
        match data {
            Some(data) if start + data.len() == self.blob.len() => {
                if let Some(old) = self.blob.get_mut(start..) {
                    old.copy_from_slice(data);
                }
                self.path_len &= !NULL_DATA;
            }
            _ => (self.blob, self.path_len) = blob(self.raw_path(), data),
        }
    }
}

impl Made<'_> {
    /// The key of the node at `path`, whose content this is or will be.
    pub(super) fn key<'p>(&self, path: &'p str) -> Key<'p> {
        match self {
            Self::Of(_) => Key::of(path),
            Self::As(content) => Key::known(path, content.hash()),
        }
    }

    pub(super) fn data_bytes(&self) -> usize {
        match self {
            Self::Of(data) => data.map_or(0, <[u8]>::len),
            Self::As(content) => content.data_bytes(),
        }
    }

    pub(super) fn content(self, key: Key<'_>) -> Content {
        match self {
            Self::Of(data) => Content::of(key, data),
            Self::As(content) => content,
        }
    }
}
