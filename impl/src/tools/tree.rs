//! Nodes of a snapshot as they come by: what is wanted of each, and the names under which subtrees stand together.

use super::error::ToolError;
use super::txn::plain;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::snapshot::body::{Refused, SnapshotSink};
use crate::storage::snapshot::{self, Packing, SnapshotFacts};
use std::path::Path;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::stat::{Owner, StatPersisted};

/// A node of a snapshot.
pub(super) struct Node<'a> {
    /// `/` for the root.
    pub(super) path: &'a str,
    pub(super) data: Option<&'a [u8]>,
    pub(super) acl: Acl,
    pub(super) stat: StatPersisted,
}

impl Node<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.data.map_or(0, |data| data.len() as u64)
    }

    /// What a node is, in the field's word.
    pub(super) fn kind(&self) -> &'static str {
        match Owner::from_raw(self.stat.ephemeral_owner) {
            Owner::None => "persistent",
            Owner::Session(_) => "ephemeral",
            Owner::Container => "container",
            Owner::Ttl(_) => "ttl",
        }
    }
}

/// Takes what a snapshot holds.
pub(super) trait Visitor {
    /// # Errors
    /// The output cannot be written.
    fn session(&mut self, _id: SessionId, _timeout_ms: i32) -> Result<(), ToolError> {
        Ok(())
    }

    /// # Errors
    /// As [`Self::session`].
    fn node(&mut self, node: &Node<'_>) -> Result<(), ToolError>;
}

/// Reads a snapshot from beginning to end; nothing of it is held.
///
/// # Errors
/// [`ToolError::Data`] for a file that is no whole snapshot, and the errors of the visitor.
pub(super) fn visit(path: &Path, visitor: &mut impl Visitor) -> Result<SnapshotFacts, ToolError> {
    let name = path.file_name().and_then(|name| name.to_str());
    // A copy may have any name; then what it is of is told by its nodes.
    let zxid = name
        .and_then(Packing::of_name)
        .map_or(Zxid::ZERO, |(zxid, _)| zxid);
    if name.and_then(Packing::of_name).is_none() && begins_packed(path)? {
        return Err(ToolError::Refused(format!(
            "{}: is compressed, and its name does not say how; name it as ZooKeeper does, snapshot.ZXID.gz or snapshot.ZXID.snappy",
            path.display()
        )));
    }
    let mut sink = Sink {
        visitor,
        failed: None,
    };
    let read = snapshot::read(&RealDisk, path, zxid, &mut sink);
    match sink.failed {
        Some(failed) => Err(failed),
        None => Ok(read?),
    }
}

/// Whether a file begins as gzip and Snappy do.
fn begins_packed(path: &Path) -> Result<bool, ToolError> {
    let head = RealDisk.read_at(path, 0, 8)?;
    Ok(head.starts_with(b"\x1f\x8b") || head.starts_with(b"\x82SNAPPY"))
}

/// A visitor as the reader of snapshots wants it: what has failed is kept beside.
struct Sink<'v, V> {
    visitor: &'v mut V,
    failed: Option<ToolError>,
}

impl<V> Sink<'_, V> {
    fn end(&mut self, done: Result<(), ToolError>) -> Result<(), Refused> {
        done.map_err(|failed| {
            self.failed = Some(failed);
            Refused(String::new())
        })
    }
}

impl<V: Visitor> SnapshotSink for Sink<'_, V> {
    fn clear(&mut self) {}

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused> {
        let done = self.visitor.session(id, timeout_ms);
        self.end(done)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        let path = if path.is_empty() { "/" } else { path };
        let done = self.visitor.node(&Node {
            path,
            data,
            acl: acl.clone(),
            stat,
        });
        self.end(done)
    }
}

/// A path as a key whose order is that of a walk through the tree: a node, all below it, then its next sibling. No path has a zero in it.
pub(super) fn key(path: &str) -> Box<str> {
    path.replace('/', "\0").into()
}

/// The path of a key, for people.
pub(super) fn path_of(key: &str) -> String {
    plain(&key.replace('\0', "/")).into_owned()
}

/// Whether a key is `root`, or that of a node below it.
pub(super) fn is_in(key: &str, root: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('\0');
    root == "\0" || key.strip_prefix(root).is_some_and(below)
}

/// The keys of the nodes above a node, the root first.
pub(super) fn above(key: &str) -> impl Iterator<Item = &str> {
    let ends = key.char_indices().filter(|(_, c)| *c == '\0');
    let root = (key != "\0").then_some("\0");
    root.into_iter()
        .chain(ends.skip(1).map(|(end, _)| &key[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_stands_together() {
        let mut keys: Vec<_> = ["/a-b", "/a/b", "/", "/a", "/a.c", "/a/b/c"]
            .map(key)
            .into();
        keys.sort();
        let paths: Vec<_> = keys.iter().map(|key| path_of(key)).collect();
        assert_eq!(paths, ["/", "/a", "/a/b", "/a/b/c", "/a-b", "/a.c"]);
        let above: Vec<_> = above(&key("/a/b/c")).map(path_of).collect();
        assert_eq!(above, ["/", "/a", "/a/b"]);
        assert_eq!(super::above(&key("/")).count(), 0);
    }
}
