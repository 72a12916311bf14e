//! Transaction → change of the tree, result for the reply, watch triggers.
//!
//! Applying never fails. What cannot be done (a snapshot of ZooKeeper's may hold later changes already, and the log is replayed
//! over it) is left out by fixed rules, so that replaying a transaction twice gives what replaying it once gives.

use super::acl::{Acl, AclEntry, AclView};
use super::content::{Content, Made};
use super::error::ErrorCode;
use super::event::{EventKind, Trigger};
use super::node::Tree;
use super::page::{Index, Node};
use super::path::{shown, split};
use super::stat::{Owner, Stat, StatPersisted};
use super::txn::{Created, Txn, TxnHeader};
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Hears of every change while it is made, in ZooKeeper's order.
pub type OnTrigger<'f> = &'f mut dyn FnMut(Trigger<'_>);

/// What the one who asked is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TxnResult<'t> {
    /// A node was made; with its Stat for all opcodes but create.
    Created {
        /// The final path.
        path: &'t str,
        /// Absent for opcode 1.
        stat: Option<Stat>,
    },
    /// A node was deleted.
    Deleted,
    /// Data was set.
    DataSet(Stat),
    /// The list of members was set: its text, which the client gets as from getData.
    MembersSet {
        /// The text.
        text: &'t [u8],
        /// Of the configuration node.
        stat: Stat,
    },
    /// The ACL was set.
    AclSet(Stat),
    /// A check held.
    Checked,
    /// One result for each operation. If the multi failed, all are [`TxnResult::Error`].
    Multi(Vec<TxnResult<'t>>),
    /// A session began, with this timeout in ms.
    SessionCreated(i32),
    /// A session ended.
    SessionClosed,
    /// Refused: the code, or 0 for what stood before the refused operation of a multi.
    Error(i32),
}

/// A [`Txn::Create`] whose node has been made ahead, while other transactions were applied.
#[expect(missing_docs, reason = "fields are those of the transaction")]
pub struct MadeNode<'t> {
    pub path: &'t str,
    /// Made of that path, and of the data.
    pub content: Content,
    pub acl: &'t [AclEntry],
    pub created: Created,
    pub parent_cversion: i32,
}

const NO_NODE: TxnResult<'static> = TxnResult::Error(ErrorCode::NoNode.code());

impl Tree {
    /// Applies one transaction. The caller feeds them in the order of their zxids.
    pub fn apply<'t>(
        &mut self,
        header: &TxnHeader,
        txn: &'t Txn,
        fire: OnTrigger<'_>,
    ) -> TxnResult<'t> {
        self.apply_lent(header, txn, fire)
    }

    /// The same, of a transaction whose parts lie anywhere.
    pub fn apply_lent<'t, P, D, A>(
        &mut self,
        header: &TxnHeader,
        txn: &'t Txn<P, D, A>,
        fire: OnTrigger<'_>,
    ) -> TxnResult<'t>
    where
        P: AsRef<str>,
        D: AsRef<[u8]>,
        A: AsRef<[AclEntry]>,
    {
        self.last_zxid = self.last_zxid.max(header.zxid);
        match txn {
            Txn::Multi(txns) => self.apply_multi(header, txns, fire),
            single => self.apply_one(header, single, fire),
        }
    }

    /// Applies a create whose node has been made ahead.
    pub fn apply_made(&mut self, header: &TxnHeader, node: MadeNode<'_>, fire: OnTrigger<'_>) {
        let MadeNode {
            path,
            content,
            acl,
            created,
            parent_cversion,
        } = node;
        self.last_zxid = self.last_zxid.max(header.zxid);
        let made = Made::As(content);
        self.create(header, path, made, acl, created, parent_cversion, fire);
    }

    fn apply_multi<'t, P, D, A>(
        &mut self,
        header: &TxnHeader,
        txns: &'t [Txn<P, D, A>],
        fire: OnTrigger<'_>,
    ) -> TxnResult<'t>
    where
        P: AsRef<str>,
        D: AsRef<[u8]>,
        A: AsRef<[AclEntry]>,
    {
        if !txns.iter().any(|t| matches!(t, Txn::Error { .. })) {
            return TxnResult::Multi(
                txns.iter()
                    .map(|t| self.apply_one(header, t, fire))
                    .collect(),
            );
        }
        let mut failed = false;
        let refused = txns.iter().map(|txn| match txn {
            Txn::Error { code } => {
                failed = true;
                TxnResult::Error(*code)
            }
            _ if failed => TxnResult::Error(ErrorCode::RuntimeInconsistency.code()),
            _ => TxnResult::Error(0),
        });
        TxnResult::Multi(refused.collect())
    }

    fn apply_one<'t, P, D, A>(
        &mut self,
        header: &TxnHeader,
        txn: &'t Txn<P, D, A>,
        fire: OnTrigger<'_>,
    ) -> TxnResult<'t>
    where
        P: AsRef<str>,
        D: AsRef<[u8]>,
        A: AsRef<[AclEntry]>,
    {
        match txn {
            Txn::Create {
                path,
                data,
                acl,
                created,
                parent_cversion,
            } => self.create(
                header,
                path.as_ref(),
                Made::Of(data.as_ref().map(D::as_ref)),
                acl.as_ref(),
                *created,
                *parent_cversion,
                fire,
            ),
            Txn::Delete { path, .. } => self.delete(header.zxid, path.as_ref(), fire),
            Txn::SetData {
                path,
                data,
                version,
                reconfig,
            } => {
                let data = data.as_ref().map(D::as_ref);
                match self.set_data(header, path.as_ref(), data, *version, fire) {
                    None => NO_NODE,
                    Some(stat) if *reconfig => {
                        let text = data.unwrap_or_default();
                        TxnResult::MembersSet { text, stat }
                    }
                    Some(stat) => TxnResult::DataSet(stat),
                }
            }
            Txn::SetAcl { path, acl, version } => {
                let Some(at) = self.lookup_as_of(path.as_ref(), header.zxid) else {
                    return NO_NODE;
                };
                self.set_acl(at, acl.as_ref());
                self.restat(at, |stat| stat.aversion = *version);
                self.at(at).map_or(NO_NODE, |n| TxnResult::AclSet(n.stat()))
            }
            Txn::Check { .. } => TxnResult::Checked,
            // Never written by anyone: a multi inside a multi. It is all or nothing in itself.
            Txn::Multi(txns) => self.apply_multi(header, txns, fire),
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
                TxnResult::SessionCreated(*timeout_ms)
            }
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), fire);
                TxnResult::SessionClosed
            }
            Txn::Error { code } => TxnResult::Error(*code),
        }
    }

    /// New data; what clients see of the node then.
    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        fire: OnTrigger<'_>,
    ) -> Option<Stat> {
        let at = self.lookup_as_of(path, header.zxid)?;
        let (before, stat) = self.change(at, data, |stat| {
            stat.version = version;
            stat.mzxid = header.zxid;
            stat.mtime = header.time;
        })?;
        self.quota_resized(path, before, data.map_or(0, <[u8]>::len));
        self.fire(EventKind::NodeDataChanged, path, at, fire);
        Some(stat)
    }

    /// The node that a transaction speaks of: not one that was made after it, under the same path, which only a replay can meet.
    ///
    /// ZooKeeper's rules do not tell them apart, and so can leave a new node with an old one's data and version: an ephemeral
    /// node is made and set, its session ends, another session makes the node again. Replayed over the end, the close spares the
    /// new node because it is not the session's, and the second create keeps what it finds.
    fn lookup_as_of(&self, path: &str, zxid: Zxid) -> Option<Index> {
        self.lookup(path).filter(|&at| self.is_as_of(at, zxid))
    }

    fn is_as_of(&self, at: Index, zxid: Zxid) -> bool {
        self.pages.get(at).is_some_and(|node| node.czxid() <= zxid)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn create<'t>(
        &mut self,
        header: &TxnHeader,
        path: &'t str,
        made: Made<'_>,
        acl: &[AclEntry],
        created: Created,
        parent_cversion: i32,
        fire: OnTrigger<'_>,
    ) -> TxnResult<'t> {
        let Some((parent_path, _)) = split(path) else {
            return NO_NODE;
        };
        let Some(parent) = self.lookup_parent(parent_path) else {
            return NO_NODE;
        };
        if !self.is_as_of(parent, header.zxid) {
            return NO_NODE;
        }
        let plain_create = matches!(
            created,
            Created::Node {
                with_stat: false,
                ..
            }
        );
        let key = made.key(path);
        if let Some(at) = self.lookup_key(key) {
            // A replay over a later snapshot. ZooKeeper repairs the parent for type 1 only.
            if self.is_as_of(at, header.zxid) {
                self.set_acl(at, acl);
            }
            if plain_create && let Some(up) = self.pages.get_mut(parent) {
                up.count_child(parent_cversion, header.zxid);
            }
            return TxnResult::Error(ErrorCode::NodeExists.code());
        }
        let owner = match created {
            Created::Node {
                ephemeral: true, ..
            } => Owner::Session(header.session),
            Created::Node {
                ephemeral: false, ..
            } => Owner::None,
            Created::Container => Owner::Container,
            Created::Ttl { ttl_ms } => Owner::Ttl(ttl_ms),
        };
        let stat = StatPersisted::created(header.zxid, header.time, owner.to_raw());
        let acl = self.acls.acquire(acl);
        let bytes = made.data_bytes();
        let count = |up: &mut Node| up.count_child(parent_cversion, header.zxid);
        let at = self.place(parent, made.content(key), acl, &stat, count);
        self.quota_made(path, bytes);
        self.fire(EventKind::NodeCreated, path, at, fire);
        self.fire(
            EventKind::NodeChildrenChanged,
            shown(parent_path),
            parent,
            fire,
        );
        let stat = stat.to_stat(bytes, 0);
        TxnResult::Created {
            path,
            stat: (!plain_create).then_some(stat),
        }
    }

    fn delete(&mut self, zxid: Zxid, path: &str, fire: OnTrigger<'_>) -> TxnResult<'static> {
        let Some((parent_path, _)) = split(path) else {
            return NO_NODE;
        };
        let Some(parent) = self.lookup_as_of(parent_path, zxid) else {
            return NO_NODE;
        };
        // Also when the child is gone already, as in a replay.
        self.restat(parent, |stat| stat.pzxid = stat.pzxid.max(zxid));
        let Some(at) = self.lookup_as_of(path, zxid).filter(|&at| at != self.root) else {
            return NO_NODE;
        };
        self.remove_below(at);
        let bytes = self.data_len(at);
        let Some(acl) = self.remove(at) else {
            return NO_NODE;
        };
        self.quota_gone(path, bytes);
        let list = self.acls.list(acl).map_or_else(AclView::default, Acl::view);
        fire(Trigger {
            kind: EventKind::NodeDeleted,
            path,
            acl: list,
        });
        self.fire(
            EventKind::NodeChildrenChanged,
            shown(parent_path),
            parent,
            fire,
        );
        self.acls.release(acl);
        TxnResult::Deleted
    }

    /// Only a replay over a later snapshot meets children here; the transactions that follow make them again.
    fn remove_below(&mut self, at: Index) {
        let mut chain = alloc::vec![at];
        while let Some(&last) = chain.last() {
            let child = self
                .pages
                .get(last)
                .map_or(super::page::NIL, Node::first_child);
            if self.pages.get(child).is_some() {
                chain.push(child);
                continue;
            }
            chain.pop();
            if last == at {
                break;
            }
            let gone = self.at(last).map(|n| Box::<str>::from(n.path()));
            let bytes = self.data_len(last);
            if let (Some(path), Some(acl)) = (gone, self.remove(last)) {
                self.acls.release(acl);
                self.quota_gone(&path, bytes);
            }
        }
    }

    fn data_len(&self, at: Index) -> usize {
        let data = self.at(at).and_then(super::node::NodeRef::data);
        data.map_or(0, <[u8]>::len)
    }

    fn close_session(
        &mut self,
        header: &TxnHeader,
        listed: &[impl AsRef<str>],
        fire: OnTrigger<'_>,
    ) {
        for path in listed.iter().map(AsRef::as_ref) {
            if self
                .find(path)
                .is_some_and(|n| owned_by(n.persisted(), header.session))
            {
                self.delete(header.zxid, path, fire);
            }
        }
        for path in self.ephemeral_paths(header.session) {
            self.delete(header.zxid, &path, fire);
        }
        self.sessions.remove(&header.session);
    }

    fn fire(&self, kind: EventKind, path: &str, at: Index, fire: OnTrigger<'_>) {
        if let Some(node) = self.at(at) {
            fire(Trigger {
                kind,
                path,
                acl: node.acl(),
            });
        }
    }
}

fn owned_by(stat: StatPersisted, session: SessionId) -> bool {
    Owner::from_raw(stat.ephemeral_owner) == Owner::Session(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::{Id, perms};
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn open() -> Vec<AclEntry> {
        vec![AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }]
    }
    fn create(path: &str, ephemeral: bool, with_stat: bool, parent_cversion: i32) -> Txn {
        Txn::Create {
            path: path.into(),
            data: None,
            acl: open(),
            created: Created::Node {
                ephemeral,
                with_stat,
            },
            parent_cversion,
        }
    }
    fn header(zxid: u64) -> TxnHeader {
        TxnHeader {
            session: SessionId(7),
            cxid: 1,
            zxid: Zxid(zxid),
            time: 100 + zxid as i64,
        }
    }
    fn run(tree: &mut Tree, zxid: u64, txn: &Txn) -> Vec<(EventKind, String)> {
        let mut events = Vec::new();
        tree.apply(&header(zxid), txn, &mut |t| {
            events.push((t.kind, t.path.to_string()))
        });
        events
    }

    #[test]
    fn create_and_delete_fire_the_node_first_and_then_its_parent() {
        let mut tree = Tree::new();
        let made = run(&mut tree, 1, &create("/a", false, false, 1));
        assert_eq!(
            made,
            [
                (EventKind::NodeCreated, "/a".into()),
                (EventKind::NodeChildrenChanged, "/".into())
            ]
        );
        let gone = run(
            &mut tree,
            2,
            &Txn::Delete {
                path: "/a".into(),
                container: false,
            },
        );
        assert_eq!(
            gone,
            [
                (EventKind::NodeDeleted, "/a".into()),
                (EventKind::NodeChildrenChanged, "/".into())
            ]
        );
        let stat = tree.find("/").map(|n| (n.stat().cversion, n.stat().pzxid));
        // -1 on a fresh tree, one creation and one deletion on top.
        assert_eq!(stat, Some((1, Zxid(2))));
    }

    #[test]
    fn a_create_of_type_1_repairs_the_parent_of_an_existing_node_and_the_others_do_not() {
        for (with_stat, expected) in [(false, 5), (true, 1)] {
            let mut tree = Tree::new();
            run(&mut tree, 1, &create("/a", false, with_stat, 1));
            assert_eq!(run(&mut tree, 2, &create("/a", false, with_stat, 5)), []);
            assert_eq!(
                tree.find("/").map(|n| n.persisted().cversion),
                Some(expected)
            );
            assert_eq!(tree.find("/a").map(|n| n.persisted().czxid), Some(Zxid(1)));
        }
    }

    #[test]
    fn a_multi_with_an_error_changes_nothing_and_tells_each_operation_its_part() {
        let mut tree = Tree::new();
        let txn = Txn::Multi(vec![
            create("/a", false, false, 1),
            Txn::Error { code: -103 },
            Txn::Error { code: -2 },
        ]);
        let result = tree.apply(&header(1), &txn, &mut |_| {});
        let codes = [0, -103, -2].map(TxnResult::Error);
        assert_eq!(result, TxnResult::Multi(codes.to_vec()));
        assert_eq!((tree.len(), tree.last_zxid()), (4, Zxid(1)));
    }

    #[test]
    fn closing_a_session_deletes_what_is_still_its_own() {
        let mut tree = Tree::new();
        run(&mut tree, 1, &Txn::CreateSession { timeout_ms: 9 });
        run(&mut tree, 2, &create("/mine", true, false, 1));
        run(&mut tree, 3, &create("/too", true, false, 2));
        run(&mut tree, 4, &create("/other", false, false, 3));
        run(
            &mut tree,
            5,
            &Txn::CloseSession {
                paths: Some(vec!["/mine".into(), "/other".into()]),
            },
        );
        let there = ["/mine", "/too", "/other"].map(|p| tree.find(p).is_some());
        assert_eq!(there, [false, false, true]);
        assert_eq!(tree.sessions().len(), 0);
        assert_eq!(tree.owners().count(), 0);
    }

    #[test]
    fn a_replay_leaves_alone_what_was_made_later_under_the_same_path() {
        let mut tree = Tree::new();
        let set = Txn::SetData {
            path: "/a".into(),
            data: Some("old".into()),
            version: 1,
            reconfig: false,
        };
        let list = Txn::SetAcl {
            path: "/a".into(),
            acl: Vec::new(),
            version: 1,
        };
        let close = Txn::CloseSession {
            paths: Some(vec!["/a".into()]),
        };
        let again = TxnHeader {
            session: SessionId(8),
            ..header(5)
        };
        let first = [create("/a", true, false, 1), set, list, close];
        let made = create("/a", false, false, 2);
        for _ in 0..2 {
            for (zxid, txn) in (1..).zip(&first) {
                run(&mut tree, zxid, txn);
            }
            tree.apply(&again, &made, &mut |_| {});
            let node = tree
                .find("/a")
                .map(|n| (n.data(), n.acl().to_vec(), n.persisted()));
            assert_eq!(
                node,
                Some((None, open(), StatPersisted::created(Zxid(5), 105, 0)))
            );
        }
    }

    /// A replay over a later snapshot: the node above it was deleted and made anew after the create.
    #[test]
    fn nothing_is_made_below_a_node_that_is_younger() {
        let mut tree = Tree::new();
        run(&mut tree, 9, &create("/a", false, false, 1));
        run(&mut tree, 5, &create("/a/b", false, false, 1));
        assert!(tree.find("/a/b").is_none());
        run(&mut tree, 10, &create("/a/b", false, false, 1));
        assert!(tree.find("/a/b").is_some());
    }

    #[test]
    fn a_replayed_delete_takes_later_children_with_it() {
        let mut tree = Tree::new();
        for (zxid, path) in [(1, "/a"), (2, "/a/b"), (3, "/a/b/c"), (4, "/a/d")] {
            run(&mut tree, zxid, &create(path, false, false, 1));
        }
        run(
            &mut tree,
            5,
            &Txn::Delete {
                path: "/a".into(),
                container: false,
            },
        );
        assert_eq!(tree.len(), 4);
        assert_eq!(
            run(
                &mut tree,
                6,
                &Txn::Delete {
                    path: "/a".into(),
                    container: false
                }
            ),
            []
        );
        assert_eq!(tree.find("/").map(|n| n.persisted().pzxid), Some(Zxid(6)));
    }
}
