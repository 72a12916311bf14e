//! Images: the tree of one zxid, for a snapshot that is written while transactions go on; and the way back.

use super::acl::{Acl, AclEntry};
use super::node::Tree;
use super::page::{Index, NIL, Pages};
use super::stat::StatPersisted;
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashMap;

/// What a snapshot calls the open list, which is not in its table.
pub const OPEN_ACL_ID: i64 = -1;

/// The tree as it was when the image was taken. Taking one costs a counter per page of nodes; holding one makes each page be
/// copied at its first change.
pub struct Image {
    pages: Pages,
    root: Index,
    /// The last transaction in the image.
    pub zxid: Zxid,
    /// Global sessions and their timeouts in ms.
    pub sessions: Vec<(SessionId, i32)>,
    /// Lists of access control by the number nodes refer to; [`OPEN_ACL_ID`] is not among them.
    pub acls: Vec<(i64, Acl)>,
}

/// One node of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub struct ImageNode<'i> {
    pub path: &'i str,
    pub data: Option<&'i [u8]>,
    pub acl_id: i64,
    pub stat: StatPersisted,
}

/// Nodes, parents before children.
pub struct Nodes<'i> {
    pages: &'i Pages,
    at: Index,
}

impl<'t> Nodes<'t> {
    /// Those from `at` on: first its own subtree, then what stands behind it.
    pub(super) fn from(tree: &'t Tree, at: Index) -> Self {
        let pages = &tree.pages;
        Self { pages, at }
    }
}

impl<'i> Iterator for Nodes<'i> {
    type Item = ImageNode<'i>;

    fn next(&mut self) -> Option<ImageNode<'i>> {
        let node = self.pages.get(self.at)?;
        let mut following = node.first_child();
        let mut up = node;
        while following == NIL {
            following = up.next;
            match self.pages.get(up.parent) {
                Some(parent) => up = parent,
                None => break,
            }
        }
        self.at = following;
        Some(ImageNode {
            path: node.path(),
            data: node.data(),
            acl_id: match node.acl {
                super::acl_table::OPEN => OPEN_ACL_ID,
                number => i64::from(number),
            },
            stat: node.stat(),
        })
    }
}

impl Image {
    /// All nodes, parents before children, the root first.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes {
            pages: &self.pages,
            at: self.root,
        }
    }
}

impl Tree {
    /// The tree as it is now, to be written out while it changes.
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            pages: self.pages.share(),
            root: self.root,
            zxid: self.last_zxid,
            sessions: self.sessions().collect(),
            acls: self.acls.in_use(),
        }
    }

    /// All nodes, parents before children, the root first.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes {
            pages: &self.pages,
            at: self.root,
        }
    }
}

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
    /// Errors: the node's parent or ACL is missing, or it comes twice.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: &StatPersisted,
    ) -> Result<(), RestoreError> {
        let number = match self.acls.get(&acl_id) {
            Some(&number) => number,
            None if acl_id == OPEN_ACL_ID => super::acl_table::OPEN,
            None => return Err(RestoreError::NoAcl(path.into(), acl_id)),
        };
        if self.tree.lookup(path).is_some() {
            return Err(RestoreError::Twice(path.into()));
        }
        self.tree.acls.keep(number);
        match self.tree.insert_with(path, data, number, stat) {
            Some(_) => Ok(()),
            None => Err(RestoreError::NoParent(path.into())),
        }
    }

    /// The tree as of `zxid`. Built-in nodes that an older writer did not know are added, lists without nodes are dropped.
    ///
    /// Errors: there was no root.
    pub fn finish(mut self, zxid: Zxid) -> Result<Tree, RestoreError> {
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
mod tests {
    use super::*;
    use crate::tree::acl::Id;

    fn restored(image: &Image) -> Result<Tree, RestoreError> {
        let mut restore = Restore::new();
        image
            .sessions
            .iter()
            .for_each(|&(s, t)| restore.session(s, t));
        image
            .acls
            .iter()
            .for_each(|(id, list)| restore.acl(*id, list));
        for n in image.nodes() {
            restore.node(n.path, n.data, n.acl_id, &n.stat)?;
        }
        restore.finish(image.zxid)
    }

    #[test]
    fn an_image_restores_to_the_same_nodes_sessions_and_lists() -> Result<(), RestoreError> {
        let mut tree = Tree::new();
        let acl = [AclEntry {
            perms: 3,
            id: Id {
                scheme: "ip".into(),
                id: "1.1.1.1".into(),
            },
        }];
        let owned = StatPersisted {
            ephemeral_owner: 5,
            ..StatPersisted::default()
        };
        tree.sessions.insert(SessionId(5), 1000);
        for (path, data, stat) in [
            ("/a", None, StatPersisted::default()),
            ("/a/b", Some(&b"x"[..]), owned),
        ] {
            tree.insert(path, data, &acl, &stat);
        }
        let image = tree.image();
        let at = tree.lookup("/a/b").unwrap_or(NIL);
        tree.remove(at);
        let back = restored(&image)?;
        let mut paths: Vec<_> = back.nodes().map(|n| n.path).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "",
                "/a",
                "/a/b",
                "/zookeeper",
                "/zookeeper/config",
                "/zookeeper/quota"
            ]
        );
        assert_eq!(
            back.find("/a/b").map(|n| (n.acl().entries(), n.data())),
            Some((&acl[..], Some(&b"x"[..])))
        );
        assert_eq!(back.ephemeral_paths(SessionId(5)), [Box::from("/a/b")]);
        assert_eq!(back.session_timeout(SessionId(5)), Some(1000));
        Ok(())
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let stat = StatPersisted::default();
        assert_eq!(
            Restore::new().node("/a", None, -1, &stat),
            Err(RestoreError::NoParent("/a".into()))
        );
        assert_eq!(
            Restore::new().node("", None, 9, &stat),
            Err(RestoreError::NoAcl("".into(), 9))
        );
        assert_eq!(
            Restore::new().finish(Zxid::ZERO).err(),
            Some(RestoreError::NoRoot)
        );
        let mut twice = Restore::new();
        assert_eq!(twice.node("", None, -1, &stat), Ok(()));
        assert_eq!(
            twice.node("", None, -1, &stat),
            Err(RestoreError::Twice("".into()))
        );
    }
}
