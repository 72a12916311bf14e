//! A tree from what a snapshot holds.

use crate::storage::snapshot::body::{Refused, SnapshotSink};
use std::collections::HashMap;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{Acl, AclEntry, Id, perms};
use zabra_model::tree::image::{OPEN_ACL_ID, Restore, RestoreError};
use zabra_model::tree::node::Tree;
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
        }
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
        acl: Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        let place = acl.as_ptr().addr();
        let next = self.lists.len() as i64 + 1;
        let id = match self.lists.get(&place) {
            Some((id, _)) => *id,
            None => {
                let open = matches!(&*acl, [e] if e.perms == perms::ALL && e.is_world());
                let id = if open { OPEN_ACL_ID } else { next };
                if !open {
                    self.restore.acl(id, &acl);
                }
                self.lists.insert(place, (id, acl));
                id
            }
        };
        self.restore
            .node(path, data, id, &stat)
            .map_err(|e| Refused(e.to_string()))
    }
}
