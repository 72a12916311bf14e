//! How nodes lie in memory: one cache line each, in pages that an image of the tree can share.
//!
//! A node that was never changed since it was made, and never had a child, has no [`More`]: most nodes of a big tree are such.
//! Path and data are one allocation. Children are a list through their nodes, so that a child costs no set entry.

use super::content::Content;
use super::stat::StatPersisted;
use crate::ids::Zxid;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A node's place: page and slot.
pub(super) type Index = u32;
/// No node.
pub(super) const NIL: Index = u32::MAX;
/// Nodes a page holds: what a write copies at most once while an image is held.
const PAGE_NODES: usize = 32;

#[derive(Clone)]
struct More {
    mzxid: Zxid,
    mtime: i64,
    pzxid: Zxid,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    children: i32,
    first: Index,
    /// Nodes below this one, on all levels.
    below: u32,
}

/// A znode and its links.
#[derive(Clone)]
pub(super) struct Node {
    czxid: Zxid,
    ctime: i64,
    more: Option<Box<More>>,
    content: Content,
    /// Place in the table of ACLs.
    pub(super) acl: u32,
    pub(super) parent: Index,
    pub(super) next: Index,
    pub(super) prev: Index,
}

impl Node {
    pub(super) fn new(content: Content, acl: u32, stat: &StatPersisted, parent: Index) -> Self {
        let mut node = Self {
            czxid: stat.czxid,
            ctime: stat.ctime,
            more: None,
            content,
            acl,
            parent,
            next: NIL,
            prev: NIL,
        };
        if *stat != StatPersisted::created(stat.czxid, stat.ctime, 0) {
            node.set_stat(stat);
        }
        node
    }

    pub(super) fn path(&self) -> &str {
        self.content.path()
    }

    pub(super) fn raw_path(&self) -> &[u8] {
        self.content.raw_path()
    }

    /// The hash of the path, as a [`Key`](super::key::Key) has it.
    pub(super) const fn hash(&self) -> u64 {
        self.content.hash()
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        self.content.data()
    }

    pub(super) fn set_data(&mut self, data: Option<&[u8]>) {
        self.content.set_data(data);
    }

    pub(super) fn stat(&self) -> StatPersisted {
        let mut stat = StatPersisted::created(self.czxid, self.ctime, 0);
        if let Some(m) = &self.more {
            stat.mzxid = m.mzxid;
            stat.mtime = m.mtime;
            stat.pzxid = m.pzxid;
            stat.ephemeral_owner = m.owner;
            stat.version = m.version;
            stat.cversion = m.cversion;
            stat.aversion = m.aversion;
        }
        stat
    }

    fn more(&mut self) -> &mut More {
        let (zxid, time) = (self.czxid, self.ctime);
        self.more.get_or_insert_with(|| {
            Box::new(More {
                mzxid: zxid,
                mtime: time,
                pzxid: zxid,
                owner: 0,
                version: 0,
                cversion: 0,
                aversion: 0,
                children: 0,
                first: NIL,
                below: 0,
            })
        })
    }

    pub(super) fn set_stat(&mut self, stat: &StatPersisted) {
        (self.czxid, self.ctime) = (stat.czxid, stat.ctime);
        let m = self.more();
        m.mzxid = stat.mzxid;
        m.mtime = stat.mtime;
        m.pzxid = stat.pzxid;
        m.owner = stat.ephemeral_owner;
        m.version = stat.version;
        m.cversion = stat.cversion;
        m.aversion = stat.aversion;
    }

    pub(super) const fn czxid(&self) -> Zxid {
        self.czxid
    }

    pub(super) fn owner(&self) -> i64 {
        self.more.as_ref().map_or(0, |m| m.owner)
    }

    pub(super) fn children(&self) -> i32 {
        self.more.as_ref().map_or(0, |m| m.children)
    }

    pub(super) fn below(&self) -> u32 {
        self.more.as_ref().map_or(0, |m| m.below)
    }

    pub(super) fn count_below(&mut self, change: i32) {
        let m = self.more();
        m.below = m.below.saturating_add_signed(change);
    }

    /// A child was made with this transaction, which says the counter of children's changes from then on; -1: one more than before.
    ///
    /// A replayed create must not turn the counter back: sequence numbers would come twice.
    pub(super) fn count_child(&mut self, cversion: i32, zxid: Zxid) {
        let m = self.more();
        let new = if cversion == -1 {
            m.cversion.wrapping_add(1)
        } else {
            cversion
        };
        if new > m.cversion {
            m.cversion = new;
            m.pzxid = zxid;
        }
    }

    pub(super) fn first_child(&self) -> Index {
        self.more.as_ref().map_or(NIL, |m| m.first)
    }

    pub(super) fn set_children(&mut self, first: Index, children: i32) {
        let m = self.more();
        m.first = first;
        m.children = children;
    }
}

#[derive(Clone)]
struct Page([Option<Node>; PAGE_NODES]);

/// All nodes. A clone shares the pages: what is written later is copied page by page, and the clone stays as it was.
#[derive(Clone, Default)]
pub(super) struct Pages {
    pages: Vec<Arc<Page>>,
    free: Vec<Index>,
}

impl Pages {
    fn place(index: Index) -> (usize, usize) {
        (index as usize / PAGE_NODES, index as usize % PAGE_NODES)
    }

    pub(super) fn get(&self, index: Index) -> Option<&Node> {
        let (page, slot) = Self::place(index);
        self.pages.get(page)?.0.get(slot)?.as_ref()
    }

    fn slot(&mut self, index: Index) -> Option<&mut Option<Node>> {
        let (page, slot) = Self::place(index);
        Arc::make_mut(self.pages.get_mut(page)?).0.get_mut(slot)
    }

    pub(super) fn get_mut(&mut self, index: Index) -> Option<&mut Node> {
        self.slot(index)?.as_mut()
    }

    pub(super) fn insert(&mut self, node: Node) -> Index {
        if self.free.is_empty() {
            let first = (self.pages.len() * PAGE_NODES) as Index;
            self.pages
                .push(Arc::new(Page(core::array::from_fn(|_| None))));
            self.free.extend((first..first + PAGE_NODES as Index).rev());
        }
        let index = self.free.pop().unwrap_or(NIL);
        if let Some(slot) = self.slot(index) {
            *slot = Some(node);
        }
        index
    }

    pub(super) fn remove(&mut self, index: Index) -> Option<Node> {
        let node = self.slot(index)?.take();
        if node.is_some() {
            self.free.push(index);
        }
        node
    }

    /// All nodes with their places, in the order in which they lie in memory.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Index, &Node)> + Clone {
        let slots = self.pages.iter().flat_map(|page| page.0.iter());
        (0..)
            .zip(slots)
            .filter_map(|(at, slot)| Some((at, slot.as_ref()?)))
    }

    /// The pages without the list of free places: what an image needs.
    pub(super) fn share(&self) -> Self {
        Self {
            pages: self.pages.clone(),
            free: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_cache_line_and_its_more_is_one_too() {
        assert!(core::mem::size_of::<Option<Node>>() <= 64);
        assert!(core::mem::size_of::<More>() <= 64);
    }

    #[test]
    fn null_and_empty_data_are_kept_apart_when_data_changes() {
        let mut node = Node::new(Content::new("/a", None), 0, &StatPersisted::default(), NIL);
        assert_eq!((node.path(), node.data()), ("/a", None));
        for data in [Some(&b""[..]), Some(b"abc"), Some(b"xyz"), None, Some(b"")] {
            node.set_data(data);
            assert_eq!((node.path(), node.data()), ("/a", data));
        }
    }

    #[test]
    fn a_shared_image_keeps_what_is_changed_later() {
        let mut pages = Pages::default();
        let at = pages.insert(Node::new(
            Content::new("/a", Some(b"old")),
            0,
            &StatPersisted::default(),
            NIL,
        ));
        let image = pages.share();
        if let Some(node) = pages.get_mut(at) {
            node.set_data(Some(b"new"));
        }
        assert_eq!(image.get(at).and_then(Node::data), Some(&b"old"[..]));
        assert_eq!(pages.get(at).and_then(Node::data), Some(&b"new"[..]));
    }
}
