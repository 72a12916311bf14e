//! The tree: znodes by path, their children, the sessions and what they own.
//!
//! A lookup is one hash of the path and allocates nothing. The tree is changed by [`super::apply`] only; it can be restored from
//! a snapshot ([`super::restore::Restore`]) and gives consistent images while changes go on ([`super::image::Image`]).

use super::acl::{Acl, AclEntry, AclView, Id, perms};
use super::acl_table::AclTable;
use super::content::Content;
use super::index::PathIndex;
use super::key::Key;
use super::page::{Index, NIL, Node, Pages};
use super::path;
use super::stat::{Owner, Stat, StatPersisted};
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// All that is replicated, as of one zxid.
pub struct Tree {
    pub(super) pages: Pages,
    pub(super) index: PathIndex,
    pub(super) acls: AclTable,
    owned: HashMap<SessionId, BTreeSet<Index>, FixedState>,
    containers: BTreeSet<Index>,
    ttls: BTreeSet<Index>,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    pub(super) root: Index,
    /// The node below which one was made last. The next one is mostly made there, too.
    recent_parent: Index,
    /// While many nodes come: how many have come below it that those above it do not count yet.
    uncounted: i32,
    pub(super) is_growing: bool,
    pub(super) last_zxid: Zxid,
    data_bytes: u64,
    ephemerals: usize,
    /// Nodes that have a quota.
    pub(super) quotas: BTreeSet<Box<str>>,
}

/// A znode, to be read.
#[derive(Clone, Copy)]
pub struct NodeRef<'t> {
    tree: &'t Tree,
    node: &'t Node,
}

/// A place among the containers and the nodes with a time to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SweepPlace {
    /// Containers come first.
    ttls: bool,
    at: Index,
}

impl SweepPlace {
    /// Before all of them.
    pub const START: Self = Self { ttls: false, at: 0 };
}

/// The names of a node's children, in no order that clients may rely on.
#[derive(Clone)]
pub struct Children<'t> {
    pages: &'t Pages,
    at: Index,
    left: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A fresh tree: the root, `/zookeeper`, `/zookeeper/quota` and `/zookeeper/config`.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self::bare();
        tree.add_missing_builtins();
        tree
    }

    /// Without any node: the start of a restore.
    pub(super) fn bare() -> Self {
        Self {
            pages: Pages::default(),
            index: PathIndex::new(),
            acls: AclTable::new(),
            owned: HashMap::default(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            sessions: BTreeMap::new(),
            root: NIL,
            recent_parent: NIL,
            uncounted: 0,
            is_growing: false,
            last_zxid: Zxid::ZERO,
            data_bytes: 0,
            ephemerals: 0,
            quotas: BTreeSet::new(),
        }
    }

    pub(super) fn add_missing_builtins(&mut self) {
        let open = [AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }];
        let read = [AclEntry {
            perms: perms::READ,
            ..open[0].clone()
        }];
        let plain = StatPersisted::default();
        // An aversion of -1 is what ZooKeeper's own servers have there.
        let config = StatPersisted {
            aversion: -1,
            ..plain
        };
        for (path, acl, stat) in [
            ("", &open, plain),
            (path::ZOOKEEPER, &open, plain),
            (path::QUOTA, &open, plain),
            (path::CONFIG, &read, config),
        ] {
            if self.lookup(path).is_none() {
                self.insert(path, Some(&[]), acl, &stat);
            }
        }
    }

    /// The zxid of the last transaction that was applied.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Moves the last zxid up without a transaction: a new epoch begins.
    pub fn raise_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// Nodes, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no node: never so after construction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Bytes of all data.
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The global sessions and their timeouts in ms.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> + '_ {
        self.sessions
            .iter()
            .map(|(&session, &timeout)| (session, timeout))
    }

    /// The timeout of a global session in ms; `None` if there is no such session.
    #[must_use]
    pub fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// How many ephemeral nodes there are, of all sessions.
    #[must_use]
    pub const fn ephemeral_count(&self) -> usize {
        self.ephemerals
    }

    /// How many ephemeral nodes a session has.
    #[must_use]
    pub fn ephemerals_of(&self, session: SessionId) -> usize {
        self.owned.get(&session).map_or(0, BTreeSet::len)
    }

    /// Ephemeral nodes of a session.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = NodeRef<'_>> {
        self.nodes_of(self.owned.get(&session))
    }

    /// The same, by their places.
    pub(super) fn ephemeral_places(&self, session: SessionId) -> Vec<Index> {
        let owned = self.owned.get(&session);
        owned.into_iter().flatten().copied().collect()
    }

    /// Sessions that own nodes: those that are not among [`Tree::sessions`] ended unseen, and must be closed.
    pub fn owners(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.owned.keys().copied()
    }

    /// Containers, then nodes with a time to live, from `from` on: what the leader looks through for nodes to delete.
    pub fn swept(&self, from: SweepPlace) -> impl Iterator<Item = (SweepPlace, NodeRef<'_>)> {
        let containers = (!from.ttls).then(|| self.containers.range(from.at..));
        let ttls = self.ttls.range(if from.ttls { from.at } else { 0 }..);
        let place = |ttls| move |&at: &Index| SweepPlace { ttls, at };
        let containers = containers.into_iter().flatten().map(place(false));
        containers
            .chain(ttls.map(place(true)))
            .filter_map(|place| Some((place, self.at(place.at)?)))
    }

    fn nodes_of<'t>(
        &'t self,
        set: Option<&'t BTreeSet<Index>>,
    ) -> impl Iterator<Item = NodeRef<'t>> {
        set.into_iter()
            .flatten()
            .filter_map(|&at| self.pages.get(at))
            .map(|node| NodeRef { tree: self, node })
    }

    /// The node at `path`; the root is `/` or the empty path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find_bytes(path.as_bytes())
    }

    /// The same, of a path that need not be text.
    pub(super) fn find_bytes(&self, path: &[u8]) -> Option<NodeRef<'_>> {
        self.find_key(Key::of_bytes(path))
    }

    /// The same, of a path whose hash is known.
    pub(super) fn find_key(&self, key: Key<'_>) -> Option<NodeRef<'_>> {
        let (_, node) = self.place_of(key)?;
        Some(NodeRef { tree: self, node })
    }

    pub(super) fn lookup(&self, path: &str) -> Option<Index> {
        self.lookup_key(Key::of(path))
    }

    /// The same, of a path whose hash is known.
    pub(super) fn lookup_key(&self, key: Key<'_>) -> Option<Index> {
        self.place_of(key).map(|(at, _)| at)
    }

    /// The same, of the parent of a node that is to be made.
    pub(super) fn lookup_parent(&mut self, path: &str) -> Option<Index> {
        // Another node may lie in that place by now: its own path tells.
        let recent = self.pages.get(self.recent_parent);
        if recent.is_none_or(|node| node.raw_path() != path.as_bytes()) {
            self.count_uncounted();
            self.recent_parent = self.lookup(path)?;
        }
        Some(self.recent_parent)
    }

    fn place_of(&self, Key { path, hash }: Key<'_>) -> Option<(Index, &Node)> {
        let mut found = None;
        let at = self.index.find(hash, |&at| {
            let is_it = |node: &&Node| node.hash() == hash && node.raw_path() == path;
            found = self.pages.get(at).filter(is_it);
            found.is_some()
        })?;
        Some((at, found?))
    }

    /// Adds a node below its parent, which must be there for all but the root. A node that is there already is left alone.
    pub(super) fn insert(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[AclEntry],
        stat: &StatPersisted,
    ) -> Option<Index> {
        let acl = self.acls.acquire(acl);
        let at = self.insert_with(path, data, acl, stat);
        if at.is_none() {
            self.acls.release(acl);
        }
        at
    }

    /// As [`Tree::insert`]; `acl` has been counted by the caller.
    pub(super) fn insert_with(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: u32,
        stat: &StatPersisted,
    ) -> Option<Index> {
        let key = Key::of(path);
        if self.place_of(key).is_some() {
            return None;
        }
        let parent = match path::split(path) {
            Some((parent, _)) => self.lookup(parent)?,
            None if key.path.is_empty() => NIL,
            None => return None,
        };
        Some(self.place(parent, Content::of(key, data), acl, stat, |_| {}))
    }

    /// Adds a node that is known to be absent below a parent that is known to be there, which `tell` changes beside; `acl` has been counted
    /// by the caller.
    pub(super) fn place(
        &mut self,
        parent: Index,
        content: Content,
        acl: u32,
        stat: &StatPersisted,
        tell: impl FnOnce(&mut Node),
    ) -> Index {
        let (hash, bytes) = (content.hash(), content.data_bytes());
        let mut node = Node::new(content, acl, stat, parent);
        let up = self.pages.get(parent);
        node.next = up.map_or(NIL, Node::first_child);
        let sibling = node.next;
        let at = self.pages.insert(node);
        if parent == NIL {
            self.root = at;
        } else {
            self.link(at, parent, sibling, tell);
        }
        let pages = &self.pages;
        let hash_of = |&other: &Index| pages.get(other).map_or(0, Node::hash);
        self.index.insert(hash, at, hash_of);
        self.count_in(at, bytes, stat.ephemeral_owner);
        at
    }

    /// A node has come: its data and its kind are counted.
    fn count_in(&mut self, at: Index, bytes: usize, owner: i64) {
        self.data_bytes += bytes as u64;
        match Owner::from_raw(owner) {
            Owner::None => {}
            Owner::Session(session) => {
                self.ephemerals += usize::from(self.owned.entry(session).or_default().insert(at));
            }
            Owner::Container => {
                self.containers.insert(at);
            }
            Owner::Ttl(_) => {
                self.ttls.insert(at);
            }
        }
    }

    /// Adds a node that knows its parent and the child before it to a tree that only grows. The parent does not say so yet, and the
    /// node is not found by its path before [`Tree::fill_index`]. Places are given in order.
    pub(super) fn append(&mut self, node: Node) -> Index {
        let before = node.prev;
        let (bytes, owner) = (node.data().map_or(0, <[u8]>::len), node.owner());
        let at = self.pages.insert(node);
        if let Some(sibling) = self.pages.get_mut(before) {
            sibling.next = at;
        }
        self.count_in(at, bytes, owner);
        at
    }

    /// A node has come below `parent`, whose first child was `sibling` so far.
    fn link(&mut self, at: Index, parent: Index, sibling: Index, tell: impl FnOnce(&mut Node)) {
        let Some(up) = self.pages.get_mut(parent) else {
            return;
        };
        tell(up);
        up.set_children(at, up.children().wrapping_add(1));
        up.count_below(1);
        let above = up.parent;
        if self.is_growing && parent == self.recent_parent {
            self.uncounted += 1;
        } else {
            self.count_below(above, 1);
        }
        if let Some(sibling) = self.pages.get_mut(sibling) {
            sibling.prev = at;
        }
    }

    fn unlink(&mut self, node: &Node) {
        let first = match self.pages.get_mut(node.prev) {
            Some(before) => {
                before.next = node.next;
                None
            }
            None => Some(node.next),
        };
        if let Some(after) = self.pages.get_mut(node.next) {
            after.prev = node.prev;
        }
        if let Some(up) = self.pages.get_mut(node.parent) {
            up.set_children(
                first.unwrap_or(up.first_child()),
                up.children().wrapping_sub(1),
            );
        }
        self.count_below(node.parent, -1);
    }

    /// Those above the recent parent count what has come below it since they were told last.
    pub(super) fn count_uncounted(&mut self) {
        let change = core::mem::take(&mut self.uncounted);
        if change > 0
            && let Some(parent) = self.pages.get(self.recent_parent)
        {
            self.count_below(parent.parent, change);
        }
    }

    /// A node came or went below `at`: all above it count it, so that nobody has to walk through a subtree to know its size.
    fn count_below(&mut self, mut at: Index, change: i32) {
        while let Some(node) = self.pages.get_mut(at) {
            node.count_below(change);
            at = node.parent;
        }
    }

    /// Removes a node without children; its ACL stays counted, for the caller to release after showing it to watchers.
    pub(super) fn remove(&mut self, at: Index) -> Option<u32> {
        self.count_uncounted();
        let node = self.pages.remove(at)?;
        self.unlink(&node);
        self.index.remove(node.hash(), |&other| other == at);
        self.data_bytes = self
            .data_bytes
            .saturating_sub(node.data().map_or(0, |d| d.len() as u64));
        match Owner::from_raw(node.owner()) {
            Owner::None => {}
            Owner::Session(session) => {
                if let Some(set) = self.owned.get_mut(&session) {
                    self.ephemerals -= usize::from(set.remove(&at));
                    if set.is_empty() {
                        self.owned.remove(&session);
                    }
                }
            }
            Owner::Container => {
                self.containers.remove(&at);
            }
            Owner::Ttl(_) => {
                self.ttls.remove(&at);
            }
        }
        Some(node.acl)
    }

    /// Changes what a node says of itself.
    pub(super) fn restat(&mut self, at: Index, change: impl FnOnce(&mut StatPersisted)) {
        if let Some(node) = self.pages.get_mut(at) {
            let mut stat = node.stat();
            change(&mut stat);
            node.set_stat(&stat);
        }
    }

    /// Gives a node another access control list.
    pub(super) fn set_acl(&mut self, at: Index, acl: &[AclEntry]) {
        let number = self.acls.acquire(acl);
        let old = match self.pages.get_mut(at) {
            Some(node) => core::mem::replace(&mut node.acl, number),
            None => number,
        };
        self.acls.release(old);
    }

    /// Changes a node's data, and what it says of itself. How long the data was, and what clients see now.
    pub(super) fn change(
        &mut self,
        at: Index,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut StatPersisted),
    ) -> Option<(usize, Stat)> {
        let node = self.pages.get_mut(at)?;
        let before = node.data().map_or(0, <[u8]>::len);
        let after = data.map_or(0, <[u8]>::len);
        node.set_data(data);
        let mut stat = node.stat();
        change(&mut stat);
        node.set_stat(&stat);
        self.data_bytes = self.data_bytes.saturating_sub(before as u64) + after as u64;
        Some((before, stat.to_stat(after, node.children())))
    }

    /// Shows the active configuration at [`path::CONFIG`], as every server does for itself when an epoch begins: `version` is the
    /// configuration's. No transaction, no watch.
    pub fn set_config(&mut self, text: &[u8], version: Zxid, time: i64) {
        if let Some(at) = self.lookup(path::CONFIG) {
            self.change(at, Some(text), |stat| {
                stat.version = -1;
                stat.mzxid = version;
                stat.mtime = time;
            });
        }
    }

    /// A node by its place.
    pub(super) fn at(&self, at: Index) -> Option<NodeRef<'_>> {
        self.pages.get(at).map(|node| NodeRef { tree: self, node })
    }

    /// Ephemeral nodes of a session, by path.
    pub(super) fn ephemeral_paths(&self, session: SessionId) -> Vec<Box<str>> {
        self.ephemerals(session).map(|n| n.path().into()).collect()
    }
}

impl<'t> NodeRef<'t> {
    /// The path; empty for the root.
    #[must_use]
    pub fn path(self) -> &'t str {
        self.node.path()
    }

    /// The data; null and empty are two things.
    #[must_use]
    pub fn data(self) -> Option<&'t [u8]> {
        self.node.data()
    }

    /// What clients see.
    #[must_use]
    pub fn stat(self) -> Stat {
        self.persisted()
            .to_stat(self.data().map_or(0, <[u8]>::len), self.node.children())
    }

    /// What logs and snapshots keep.
    #[must_use]
    pub fn persisted(self) -> StatPersisted {
        self.node.stat()
    }

    /// The access control list.
    #[must_use]
    pub fn acl(self) -> AclView<'t> {
        let list = self.tree.acls.list(self.node.acl);
        list.map_or_else(AclView::default, Acl::view)
    }

    /// The access control list, to be kept.
    #[must_use]
    pub fn shared_acl(self) -> Acl {
        self.tree
            .acls
            .list(self.node.acl)
            .cloned()
            .unwrap_or_default()
    }

    /// How many children there are.
    #[must_use]
    pub fn num_children(self) -> i32 {
        self.node.children()
    }

    /// The children's names.
    #[must_use]
    pub fn children(self) -> Children<'t> {
        let (first, count) = self.list();
        Children::of(&self.tree.pages, first, count)
    }

    /// The first child and the number of children.
    pub(super) fn list(self) -> (Index, usize) {
        let count = usize::try_from(self.node.children()).unwrap_or(0);
        (self.node.first_child(), count)
    }

    /// How many nodes are below this one.
    #[must_use]
    pub fn descendants(self) -> usize {
        self.node.below() as usize
    }
}

impl<'t> Children<'t> {
    pub(super) const fn of(pages: &'t Pages, at: Index, left: usize) -> Self {
        Self { pages, at, left }
    }
}

impl<'t> Iterator for Children<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let node = self.pages.get(self.at)?;
        self.at = node.next;
        self.left = self.left.saturating_sub(1);
        Some(path::split(node.path()).map_or("", |(_, name)| name))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Children<'_> {}

#[cfg(test)]
mod tests;
