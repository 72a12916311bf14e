//! Images: the tree of one zxid, for a snapshot that is written while transactions go on. The way back is [`super::restore`].

use super::acl::Acl;
use super::node::Tree;
use super::page::{Index, NIL, Pages};
use super::stat::StatPersisted;
use crate::ids::{SessionId, Zxid};
use alloc::vec::Vec;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::{AclEntry, Id};
    use crate::tree::restore::{Restore, RestoreError};
    use alloc::boxed::Box;

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
}
