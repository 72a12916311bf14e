//! The way back from an image: a tree that is read from a snapshot.
//!
//! A snapshot has the nodes below a node directly behind it, so the parent of the next node is the node before it or one of that
//! node's ancestors. Those are kept at hand, and the table that finds nodes by their paths is filled once, when all nodes are there:
//! to grow it node by node would take most of the time. Nodes in another order, as long as parents come before children, are read as
//! well, and slower.

use super::acl::AclEntry;
use super::acl_table::OPEN;
use super::content::Content;
use super::image::OPEN_ACL_ID;
use super::key::Key;
use super::node::Tree;
use super::page::{Index, NIL, Node};
use super::stat::StatPersisted;
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashMap;

/// Why a snapshot is no tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// The parent has not been seen before this node.
    NoParent(Box<str>),
    /// The node has been seen before.
    Twice(Box<str>),
    /// The node refers to a list that has not been seen.
    NoAcl(Box<str>, i64),
    /// There is no root.
    NoRoot,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoParent(path) => write!(f, "node {path:?} comes before its parent"),
            Self::Twice(path) => write!(f, "node {path:?} comes twice"),
            Self::NoAcl(path, id) => write!(
                f,
                "node {path:?} refers to ACL {id}, which is not in the table"
            ),
            Self::NoRoot => f.write_str("there is no root node"),
        }
    }
}

impl core::error::Error for RestoreError {}

/// A tree being read from a snapshot: ACLs, then nodes with parents before children, then [`Restore::finish`].
pub struct Restore {
    tree: Tree,
    /// Our numbers for the snapshot's, each counted once so that it lives until the end.
    acls: HashMap<i64, u32, foldhash::fast::FixedState>,
    /// The hashes of the nodes' paths, by place, as long as the table of paths is not filled.
    hashes: Vec<u64>,
    /// The node that came last, and above it its ancestors: the root first.
    line: Vec<Level>,
    /// Whether each node came behind its parent or behind what is below that, so far.
    is_in_order: bool,
}

/// A node below which more may come, and what is below it so far; the node itself does not say so yet.
struct Level {
    at: Index,
    first: Index,
    last: Index,
    children: i32,
    below: u32,
}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

impl Restore {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tree: Tree::bare(),
            acls: HashMap::default(),
            hashes: Vec::new(),
            line: Vec::new(),
            is_in_order: true,
        }
    }

    /// A global session.
    pub fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(session, timeout_ms);
    }

    /// An entry of the table of ACLs. A later one of the same number replaces it.
    pub fn acl(&mut self, id: i64, list: &[AclEntry]) {
        let number = self.tree.acls.acquire(list);
        if let Some(old) = self.acls.insert(id, number) {
            self.tree.acls.release(old);
        }
    }

    /// A node; the root is the empty path.
    ///
    /// Errors: the node's parent or ACL is missing, or it comes twice. That it comes twice may show in [`Self::finish`] only.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), RestoreError> {
        let acl = match self.acls.get(&acl_id) {
            Some(&number) => number,
            None if acl_id == OPEN_ACL_ID => OPEN,
            None => return Err(RestoreError::NoAcl(path.into(), acl_id)),
        };
        let key = Key::of(path);
        if self.is_in_order && self.find_parent(key.path) {
            self.tree.acls.keep(acl);
            self.append(Node::new(Content::of(key, data), acl, stat, NIL));
            return Ok(());
        }
        if self.is_in_order {
            self.fill_index()?;
        }
        if self.tree.lookup_key(key).is_some() {
            return Err(RestoreError::Twice(path.into()));
        }
        self.tree.acls.keep(acl);
        match self.tree.insert_with(path, data, acl, stat) {
            Some(_) => Ok(()),
            None => Err(RestoreError::NoParent(path.into())),
        }
    }

    /// Goes up the line as far as the parent of `path`. False if that is not in it; then the line is empty.
    fn find_parent(&mut self, path: &[u8]) -> bool {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
            // The root, and it comes first.
            return path.is_empty() && self.hashes.is_empty();
        };
        let parent = path.get(..slash).unwrap_or_default();
        while let Some(level) = self.line.last() {
            let node = self.tree.pages.get(level.at);
            if node.is_some_and(|node| node.raw_path() == parent) {
                return true;
            }
            self.close();
        }
        false
    }

    /// Nothing more comes below the last node of the line.
    fn close(&mut self) {
        let Some(level) = self.line.pop() else {
            return;
        };
        if level.children == 0 {
            return;
        }
        if let Some(node) = self.tree.pages.get_mut(level.at) {
            node.set_children(level.first, level.children);
            node.count_below(i32::try_from(level.below).unwrap_or(i32::MAX));
        }
        if let Some(up) = self.line.last_mut() {
            up.below = up.below.saturating_add(level.below);
        }
    }

    /// Adds a node below the last one of the line, behind that one's other children, and to the line.
    fn append(&mut self, mut node: Node) {
        node.parent = self.line.last().map_or(NIL, |level| level.at);
        node.prev = self.line.last().map_or(NIL, |level| level.last);
        self.hashes.push(node.hash());
        let at = self.tree.append(node);
        match self.line.last_mut() {
            Some(level) => {
                if level.first == NIL {
                    level.first = at;
                }
                level.last = at;
                level.children = level.children.wrapping_add(1);
                level.below = level.below.saturating_add(1);
            }
            None => self.tree.root = at,
        }
        self.line.push(Level {
            at,
            first: NIL,
            last: NIL,
            children: 0,
            below: 0,
        });
    }

    /// All nodes so far are found by their paths, and say what is below them.
    fn fill_index(&mut self) -> Result<(), RestoreError> {
        self.is_in_order = false;
        while !self.line.is_empty() {
            self.close();
        }
        let hashes = core::mem::take(&mut self.hashes);
        let twice = |path: Box<str>| Err(RestoreError::Twice(path));
        self.tree.fill_index(&hashes).or_else(twice)
    }

    /// The tree as of `zxid`. Built-in nodes that an older writer did not know are added, lists without nodes are dropped.
    ///
    /// Errors: there was no root, or a node came twice.
    pub fn finish(mut self, zxid: Zxid) -> Result<Tree, RestoreError> {
        if self.is_in_order {
            self.fill_index()?;
        }
        if self.tree.lookup("").is_none() {
            return Err(RestoreError::NoRoot);
        }
        for (_, number) in self.acls {
            self.tree.acls.release(number);
        }
        self.tree.add_missing_builtins();
        self.tree.load_quotas();
        self.tree.last_zxid = zxid;
        Ok(self.tree)
    }
}

#[cfg(test)]
mod tests;
