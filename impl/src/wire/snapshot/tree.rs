//! A tree from what a snapshot holds, and the other way: for files and for the SNAP stream alike.

use super::body::{BodyEncoder, NodeRef, Refused, SnapshotSink, UnknownAcl};
use crate::mutants::{Mutant, has};
use std::collections::HashMap;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{Acl, AclEntry, Id, perms};
use zabra_model::tree::image::{Image, Nodes, OPEN_ACL_ID};
use zabra_model::tree::node::Tree;
use zabra_model::tree::restore::{Restore, RestoreError};
use zabra_model::tree::stat::StatPersisted;

/// Anyone may do anything.
#[must_use]
pub fn open_acl() -> Acl {
    Acl::from([AclEntry {
        perms: perms::ALL,
        id: Id {
            scheme: "world".into(),
            id: "anyone".into(),
        },
    }])
}

/// Takes sessions and nodes, and becomes a tree.
pub struct TreeSink {
    restore: Restore,
    /// Lists seen so far by their place in memory (they stay alive here), so that equal ones are not compared each time.
    lists: HashMap<usize, (i64, Acl)>,
    /// The place of the last node's, which is mostly that of the next one's, and its number.
    last: Option<(usize, i64)>,
}

impl Default for TreeSink {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeSink {
    /// Nothing taken yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            restore: Restore::new(),
            lists: HashMap::new(),
            last: None,
        }
    }

    /// The number of a list; one that is new is told to the tree.
    fn id_of(&mut self, acl: &Acl) -> i64 {
        let place = acl.as_ptr().addr();
        if let Some((id, _)) = self.lists.get(&place) {
            return *id;
        }
        let open = matches!(&**acl, [e] if e.perms == perms::ALL && e.is_world());
        let id = if open {
            OPEN_ACL_ID
        } else {
            self.lists.len() as i64 + 1
        };
        if !open {
            self.restore.acl(id, acl);
        }
        self.lists.insert(place, (id, acl.clone()));
        id
    }

    /// The tree as of `zxid`.
    ///
    /// # Errors
    /// [`RestoreError::NoRoot`].
    pub fn finish(self, zxid: Zxid) -> Result<Tree, RestoreError> {
        self.restore.finish(zxid)
    }
}

impl SnapshotSink for TreeSink {
    fn clear(&mut self) {
        *self = Self::new();
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused> {
        self.restore.session(id, timeout_ms);
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        let place = acl.as_ptr().addr();
        let id = match self.last {
            Some((last, id)) if last == place => id,
            _ => self.id_of(acl),
        };
        self.last = Some((place, id));
        self.restore
            .node(path, data, id, &stat)
            .map_err(|e| Refused(e.to_string()))
    }
}

/// The nodes of an image as a snapshot holds them: the root first, parents before children.
pub struct ImageNodes<'i> {
    nodes: Nodes<'i>,
    lists: HashMap<i64, &'i Acl>,
    open: Acl,
}

impl<'i> ImageNodes<'i> {
    /// All of them.
    #[must_use]
    pub fn of(image: &'i Image) -> Self {
        Self {
            nodes: image.nodes(),
            lists: image.acls.iter().map(|(id, list)| (*id, list)).collect(),
            open: open_acl(),
        }
    }

    /// What `take` makes of the next one; `None` at the end.
    pub fn next<T>(&mut self, take: impl FnOnce(NodeRef<'_>) -> T) -> Option<T> {
        let node = self.nodes.next()?;
        let acl = self.lists.get(&node.acl_id).copied();
        Some(take(NodeRef {
            path: node.path,
            data: node.data,
            acl: acl.unwrap_or(&self.open),
            stat: &node.stat,
        }))
    }
}

/// The stream behind SNAP, piece by piece.
pub struct TreeStream<'i> {
    nodes: ImageNodes<'i>,
    encoder: BodyEncoder,
    is_ended: bool,
    /// A znode is still to be left out: for [`crate::mutants`].
    leaves_out: bool,
}

impl<'i> TreeStream<'i> {
    /// Appends what comes before the nodes to `out`.
    pub fn begin(image: &'i Image, out: &mut Vec<u8>) -> Self {
        let lists = image.acls.iter().map(|(_, list)| &**list);
        Self {
            nodes: ImageNodes::of(image),
            encoder: BodyEncoder::begin(image.sessions.iter().copied(), lists, out),
            is_ended: false,
            leaves_out: has(Mutant::SnapLeavesOut),
        }
    }

    /// Appends to `out` until it holds `bytes` or the stream has ended; whether there is more.
    ///
    /// # Errors
    /// [`UnknownAcl`], if the image is not whole.
    pub fn fill(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<bool, UnknownAcl> {
        while !self.is_ended && out.len() < bytes {
            let (encoder, leaves_out) = (&mut self.encoder, &mut self.leaves_out);
            let written = self.nodes.next(|node| {
                let is_leaf = node.stat.cversion == 0 && !node.path.starts_with("/zookeeper");
                if *leaves_out && is_leaf && node.path.len() > 1 {
                    *leaves_out = false;
                    return Ok(());
                }
                encoder.node(node, out)
            });
            match written {
                Some(written) => written?,
                None => {
                    self.encoder.end_stream(out);
                    self.is_ended = true;
                }
            }
        }
        Ok(!self.is_ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_own_list_whatever_the_one_before_it_has() {
        let list = |id: &str| {
            let (scheme, id) = ("ip".into(), id.into());
            let id = Id { scheme, id };
            Acl::from([AclEntry { perms: 1, id }])
        };
        let lists = [open_acl(), list("10.0.0.1"), list("10.0.0.2")];
        let mut sink = TreeSink::new();
        let stat = StatPersisted::default();
        sink.node("", None, &lists[0], stat).unwrap();
        let order = [0, 0, 1, 1, 2, 0, 2, 1, 0, 1, 2, 2];
        for (n, list) in order.into_iter().enumerate() {
            let path = format!("/n{n}");
            sink.node(&path, None, &lists[list], stat).unwrap();
        }
        let tree = sink.finish(Zxid(1)).unwrap();
        for (n, list) in order.into_iter().enumerate() {
            let node = tree.find(&format!("/n{n}")).unwrap();
            assert_eq!(node.acl().entries(), &*lists[list], "{n}");
        }
    }
}
