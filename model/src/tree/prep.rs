//! Leader: request + changes not yet applied → transaction, or the refusal that takes its place in the history.
//!
//! Requests are judged in the order of their zxids, ahead of the tree: [`Prep`] keeps what the transactions between the tree's
//! last zxid and the newest one will have changed, forgets it as they are applied, and drops all of it when leadership ends.
//! The order of checks is ZooKeeper's (`PrepRequestProcessor`): clients depend on which refusal they get.

mod rules;

use super::acl::{Acl, AclEntry, Ids, allows, fix_up, perms};
use super::counter::NearEnd;
use super::error::ErrorCode;
use super::key::{KeptKey, Key};
use super::node::Tree;
use super::op::{CreateKind, WriteOp};
use super::path;
use super::quota::Exceeded;
use super::stat::{Owner, StatPersisted, TTL_MS_MAX};
use super::txn::{Created, Txn, TxnHeader};
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
pub use rules::Rules;

/// Who asks, and the place the answer gets in the history.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Session, cxid, the zxid to be used and the leader's clock.
    pub header: TxnHeader,
    /// The identities of the connection, as the server it is attached to vouches for them.
    pub ids: &'r Ids,
    /// What the session tracker says of the session: `SessionExpired`, `SessionMoved`, …
    pub session: Result<(), ErrorCode>,
    /// What it says of it to a create of an ephemeral node: `EphemeralOnLocalSession`, too.
    pub ephemerals: Result<(), ErrorCode>,
}

/// A node as it will be.
#[derive(Clone, Debug)]
struct Record {
    zxid: Zxid,
    exists: bool,
    stat: StatPersisted,
    children: i32,
    data_len: usize,
    acl: Acl,
}

/// The changes under way.
#[derive(Default)]
pub struct Prep {
    rules: Rules,
    latest: HashTable<(KeptKey, Record)>,
    /// Which transaction touched what, in order: when it is applied, records that it touched last are forgotten.
    touched: VecDeque<(Zxid, KeptKey)>,
    /// The ephemeral nodes among the records, by owner: a session that ends does not look through everybody's changes.
    owned: BTreeSet<(SessionId, KeptKey)>,
    closing: VecDeque<(Zxid, SessionId)>,
    /// The same sessions; one that is closed twice is here with the later zxid.
    closing_at: HashMap<SessionId, Zxid, FixedState>,
    /// Inside a multi: what to put back, in reverse, if it fails.
    undo: Option<Vec<(KeptKey, Option<Record>)>>,
    open_acl: Option<Acl>,
    /// The last quota that a request was over, until the host takes it.
    exceeded: Option<Box<Exceeded>>,
    /// The last node below which something was created that runs out of numbers, until the host takes it.
    near_end: Option<Box<NearEnd>>,
    /// Records that ends of sessions have looked at.
    #[cfg(test)]
    looked_at: core::cell::Cell<usize>,
}

impl Prep {
    /// Nothing under way.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// How many changes of nodes are under way.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.touched.len()
    }

    /// The transaction `zxid` and all before it are in the tree now.
    pub fn committed(&mut self, zxid: Zxid) {
        while let Some((_, key)) = self.touched.pop_front_if(|(touched, _)| *touched <= zxid) {
            let is_it = |(other, record): &(KeptKey, Record)| *other == key && record.zxid <= zxid;
            if let Ok(found) = self.latest.find_entry(key.hash, is_it) {
                let ((key, before), _) = found.remove();
                self.move_owner(&key, owner_of(&before), None);
            }
        }
        while let Some((_, session)) = self.closing.pop_front_if(|(closed, _)| *closed <= zxid) {
            if self.closing_at.get(&session).is_some_and(|at| *at <= zxid) {
                self.closing_at.remove(&session);
            }
        }
    }

    /// The quota that the last request was over, soft or hard, to be told to the operator.
    pub fn take_exceeded(&mut self) -> Option<Box<Exceeded>> {
        self.exceeded.take()
    }

    /// The node that runs out of numbers, if the last request created something below one, to be told to the operator.
    pub fn take_near_end(&mut self) -> Option<Box<NearEnd>> {
        self.near_end.take()
    }

    /// Compares what a request adds with the quota above it, if quotas are enforced.
    fn within_quota(
        &mut self,
        tree: &Tree,
        path: &str,
        data: Option<&Bytes>,
        before: Option<usize>,
    ) -> Result<(), ErrorCode> {
        if !self.rules.enforce_quota {
            return Ok(());
        }
        let after = data.map_or(0, Bytes::len).cast_signed() as i64;
        let bytes = after - before.unwrap_or(0).cast_signed() as i64;
        let nodes = i64::from(before.is_none());
        let exceeded = &mut self.exceeded;
        tree.judge_by_quota(path, bytes, nodes, &mut |over| {
            *exceeded = Some(Box::new(over));
        })
    }

    /// Leadership ended or begins: nothing is under way.
    pub fn reset(&mut self) {
        *self = Self::new(self.rules);
    }

    /// Judges a request. The transaction must be proposed with `request.header`, also if it is a [`Txn::Error`].
    pub fn prepare(&mut self, tree: &Tree, request: &Request<'_>, op: WriteOp) -> Txn {
        let judged = match op {
            WriteOp::Multi(ops) => return self.multi(tree, request, ops),
            WriteOp::CreateSession { timeout_ms } => Ok(Txn::CreateSession { timeout_ms }),
            WriteOp::CloseSession => Ok(self.close_session(tree, request.header)),
            // ZooKeeper 3.9 does not know it outside a multi.
            WriteOp::Check { .. } => Err(ErrorCode::Unimplemented),
            op => self.single(tree, request, op),
        };
        judged.unwrap_or_else(refusal)
    }

    /// The deletion of an empty container, or of an expired TTL node, for which the leader itself asks.
    pub fn delete_container(&mut self, tree: &Tree, header: TxnHeader, path: &str) -> Txn {
        let mut judge = || {
            let parent_path = path::parent_for_delete(path)?;
            let key = Key::of(path);
            let node = self.record(tree, key)?;
            if node.children > 0 {
                return Err(ErrorCode::NotEmpty);
            }
            if matches!(
                Owner::from_raw(node.stat.ephemeral_owner),
                Owner::Session(_) | Owner::None
            ) {
                return Err(ErrorCode::BadArguments);
            }
            let parent_key = Key::of(parent_path);
            let parent = self.record(tree, parent_key)?;
            self.put_deleted(header.zxid, (parent_key, parent), (key, node));
            Ok(Txn::Delete {
                path: path.into(),
                container: true,
            })
        };
        judge().unwrap_or_else(refusal)
    }

    fn multi(&mut self, tree: &Tree, request: &Request<'_>, ops: Vec<WriteOp>) -> Txn {
        if ops.iter().any(|op| !may_be_in_multi(op)) {
            return refusal(ErrorCode::MarshallingError);
        }
        let touched_before = self.touched.len();
        self.undo = Some(Vec::new());
        let mut failed = false;
        let mut txns = Vec::with_capacity(ops.len());
        for op in ops {
            if failed {
                txns.push(refusal(ErrorCode::RuntimeInconsistency));
                continue;
            }
            txns.push(
                self.single(tree, request, as_multi_takes_it(op))
                    .unwrap_or_else(|code| {
                        failed = true;
                        refusal(code)
                    }),
            );
        }
        let undo = self.undo.take().unwrap_or_default();
        // No log would take it, so nothing may be judged by what it would have changed.
        let bytes = txns.iter().map(bytes_in_multi).sum::<usize>();
        let too_long = bytes + MULTI_HEAD_BYTES > self.rules.entry_bytes_max;
        if failed || too_long {
            self.touched.truncate(touched_before);
            for (key, before) in undo.into_iter().rev() {
                self.put_back(&key, before);
            }
        }
        if too_long {
            return refusal(ErrorCode::MarshallingError);
        }
        Txn::Multi(txns)
    }

    /// A new list of members, whose text this is: whoever may write the configuration node may bring one. Its version stays −1.
    pub fn reconfig(&mut self, tree: &Tree, request: &Request<'_>, text: Bytes) -> Txn {
        let mut judge = || {
            let key = Key::of(path::CONFIG);
            let mut node = self.record(tree, key)?;
            self.rules.permit(&node, perms::WRITE, request.ids)?;
            node.data_len = text.len();
            node.stat.version = -1;
            node.stat.mzxid = request.header.zxid;
            node.stat.mtime = request.header.time;
            self.put(request.header.zxid, key, node);
            Ok(Txn::SetData {
                path: path::CONFIG.into(),
                data: Some(text.clone()),
                version: -1,
                reconfig: true,
            })
        };
        judge().unwrap_or_else(refusal)
    }

    /// New data of a node.
    fn set_data(
        &mut self,
        tree: &Tree,
        request: &Request<'_>,
        path: Option<Box<str>>,
        data: Option<Bytes>,
        version: i32,
    ) -> Result<Txn, ErrorCode> {
        request.session?;
        let path = path.ok_or(ErrorCode::BadArguments)?;
        path::validate(&path)?;
        let key = Key::of(&path);
        let mut node = self.record(tree, key)?;
        self.rules.permit(&node, perms::WRITE, request.ids)?;
        self.within_quota(tree, &path, data.as_ref(), Some(node.data_len))?;
        node.data_len = data.as_ref().map_or(0, Bytes::len);
        let version = next_version(node.stat.version, version)?;
        node.stat.version = version;
        node.stat.mzxid = request.header.zxid;
        node.stat.mtime = request.header.time;
        self.put(request.header.zxid, key, node);
        Ok(Txn::SetData {
            path,
            data,
            version,
            reconfig: false,
        })
    }

    fn single(
        &mut self,
        tree: &Tree,
        request: &Request<'_>,
        op: WriteOp,
    ) -> Result<Txn, ErrorCode> {
        match op {
            WriteOp::Create {
                kind,
                path,
                data,
                acl,
                flags,
                ttl,
            } => {
                let created = self.created(kind, flags, ttl, request)?;
                let sequential = matches!(flags, 2 | 3 | 6);
                let path = path.ok_or(ErrorCode::MarshallingError)?;
                self.create(tree, request, path, sequential, data, acl, created)
            }
            WriteOp::Delete { path, version } => {
                request.session?;
                let path = path.ok_or(ErrorCode::MarshallingError)?;
                let parent_path = path::parent_for_delete(&path)?;
                let (parent_key, key) = (Key::of(parent_path), Key::of(&path));
                let parent = self.record(tree, parent_key)?;
                self.rules.permit(&parent, perms::DELETE, request.ids)?;
                let node = self.record(tree, key)?;
                next_version(node.stat.version, version)?;
                if node.children > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.put_deleted(request.header.zxid, (parent_key, parent), (key, node));
                Ok(Txn::Delete {
                    path,
                    container: false,
                })
            }
            WriteOp::SetData {
                path,
                data,
                version,
            } => self.set_data(tree, request, path, data, version),
            WriteOp::SetAcl { path, acl, version } => {
                request.session?;
                let path = path.ok_or(ErrorCode::BadArguments)?;
                path::validate(&path)?;
                let acl = fix_up(acl, request.ids)?;
                let key = Key::of(&path);
                let mut node = self.record(tree, key)?;
                self.rules.permit(&node, perms::ADMIN, request.ids)?;
                let version = next_version(node.stat.aversion, version)?;
                node.stat.aversion = version;
                node.acl = acl.as_slice().into();
                self.put(request.header.zxid, key, node);
                Ok(Txn::SetAcl { path, acl, version })
            }
            WriteOp::Check { path, version } => {
                request.session?;
                let path = path.ok_or(ErrorCode::MarshallingError)?;
                path::validate(&path)?;
                let node = self.record(tree, Key::of(&path))?;
                self.rules.permit(&node, perms::READ, request.ids)?;
                let version = next_version(node.stat.version, version)?;
                Ok(Txn::Check { path, version })
            }
            WriteOp::Multi(_) | WriteOp::CreateSession { .. } | WriteOp::CloseSession => {
                Err(ErrorCode::MarshallingError)
            }
        }
    }

    /// What a create makes: the opcode decides, the flags must fit. Its errors come before all others.
    fn created(
        &self,
        kind: CreateKind,
        flags: i32,
        ttl: i64,
        request: &Request<'_>,
    ) -> Result<Created, ErrorCode> {
        let ttl_flag = matches!(flags, 5 | 6);
        if !(0..=6).contains(&flags) {
            return Err(ErrorCode::BadArguments);
        }
        if ttl_flag && !self.rules.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        // ZooKeeper lets a TTL opcode without TTL flag pass, and then cannot apply its own transaction.
        let ttl_ok = kind != CreateKind::Ttl || (1..=TTL_MS_MAX).contains(&ttl);
        if ttl_flag != (kind == CreateKind::Ttl) || !ttl_ok {
            return Err(ErrorCode::BadArguments);
        }
        let ephemeral = matches!(flags, 1 | 3);
        if ephemeral {
            request.ephemerals?;
        }
        request.session?;
        let with_stat = kind == CreateKind::Create2;
        Ok(match kind {
            CreateKind::Create | CreateKind::Create2 => Created::Node {
                ephemeral,
                with_stat,
            },
            CreateKind::Container => Created::Container,
            CreateKind::Ttl => Created::Ttl { ttl_ms: ttl },
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn create(
        &mut self,
        tree: &Tree,
        request: &Request<'_>,
        sent: Box<str>,
        sequential: bool,
        data: Option<Bytes>,
        acl: Option<Vec<AclEntry>>,
        created: Created,
    ) -> Result<Txn, ErrorCode> {
        let header = request.header;
        let parent_path = path::parent_for_create(&sent)?;
        let parent_key = Key::of(parent_path);
        let acl = fix_up(acl, request.ids)?;
        let mut parent = self.record(tree, parent_key)?;
        self.rules.permit(&parent, perms::CREATE, request.ids)?;
        let number = parent.stat.cversion;
        let numbered: Option<Box<str>> =
            sequential.then(|| alloc::format!("{sent}{number:010}").into());
        let path = numbered.as_ref().unwrap_or(&sent);
        path::validate(path)?;
        let key = Key::of(path);
        if self.record(tree, key).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(
            Owner::from_raw(parent.stat.ephemeral_owner),
            Owner::Session(_)
        ) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.within_quota(tree, path, data.as_ref(), None)?;
        let owner = match created {
            Created::Node {
                ephemeral: true, ..
            } => {
                // The list of what the session leaves behind is written already.
                if self.closing_at.contains_key(&header.session) {
                    return Err(ErrorCode::SessionExpired);
                }
                Owner::Session(header.session)
            }
            Created::Node {
                ephemeral: false, ..
            } => Owner::None,
            Created::Container => Owner::Container,
            Created::Ttl { ttl_ms } => Owner::Ttl(ttl_ms),
        };
        if let Some(near) = NearEnd::of(parent_path, number) {
            self.near_end = Some(Box::new(near));
        }
        let parent_cversion = number.wrapping_add(1);
        // As applying does: the counter never goes back, so after the last number come refusals, not numbers used before.
        if parent_cversion > parent.stat.cversion {
            parent.stat.cversion = parent_cversion;
            parent.stat.pzxid = header.zxid;
        }
        parent.children = parent.children.wrapping_add(1);
        let node = Record {
            zxid: header.zxid,
            exists: true,
            stat: StatPersisted::created(header.zxid, header.time, owner.to_raw()),
            children: 0,
            data_len: data.as_ref().map_or(0, Bytes::len),
            acl: self.share(tree, &acl),
        };
        self.put(header.zxid, parent_key, parent);
        self.put(header.zxid, key, node);
        Ok(Txn::Create {
            path: numbered.unwrap_or(sent),
            data,
            acl,
            created,
            parent_cversion,
        })
    }

    fn close_session(&mut self, tree: &Tree, header: TxnHeader) -> Txn {
        let owner = Owner::Session(header.session).to_raw();
        let mut paths = tree.ephemeral_paths(header.session);
        paths.retain(|path| {
            self.under_way(Key::of(path))
                .is_none_or(|r| r.exists && r.stat.ephemeral_owner == owner)
        });
        let from = (header.session, Key::of("").keep());
        for (session, kept) in self.owned.range(from..) {
            if *session != header.session {
                break;
            }
            #[cfg(test)]
            self.looked_at.set(self.looked_at.get() + 1);
            let key = kept.key();
            let is_new = tree
                .find_key(key)
                .is_none_or(|n| n.persisted().ephemeral_owner != owner);
            let exists = self.under_way(key).is_some_and(|record| record.exists);
            if exists && is_new {
                paths.push(kept.path().into());
            }
        }
        paths.sort_unstable();
        for path in &paths {
            let parent_path = path::split(path).map_or("", |(parent, _)| parent);
            let (key, parent_key) = (Key::of(path), Key::of(parent_path));
            if let (Ok(node), Ok(parent)) = (self.record(tree, key), self.record(tree, parent_key))
            {
                self.put_deleted(header.zxid, (parent_key, parent), (key, node));
            }
        }
        self.closing.push_back((header.zxid, header.session));
        self.closing_at.insert(header.session, header.zxid);
        let paths = self.rules.lists_closed.then_some(paths);
        Txn::CloseSession { paths }
    }

    /// What the transactions under way make of a node, if one of them touches it.
    fn under_way(&self, key: Key<'_>) -> Option<&Record> {
        let found = self.latest.find(key.hash, |(other, _)| other.is(key));
        found.map(|(_, record)| record)
    }

    /// The node as the transactions under way leave it.
    fn record(&self, tree: &Tree, key: Key<'_>) -> Result<Record, ErrorCode> {
        if let Some(record) = self.under_way(key) {
            return if record.exists {
                Ok(record.clone())
            } else {
                Err(ErrorCode::NoNode)
            };
        }
        let node = tree.find_key(key).ok_or(ErrorCode::NoNode)?;
        Ok(Record {
            zxid: Zxid::ZERO,
            exists: true,
            stat: node.persisted(),
            children: node.num_children(),
            data_len: node.data().map_or(0, <[u8]>::len),
            acl: node.shared_acl(),
        })
    }

    fn put(&mut self, zxid: Zxid, key: Key<'_>, record: Record) {
        let record = Record { zxid, ..record };
        let owner = owner_of(&record);
        let hash_of = |(key, _): &(KeptKey, Record)| key.hash;
        let found = self
            .latest
            .entry(key.hash, |(other, _)| other.is(key), hash_of);
        let (key, before) = match found {
            Entry::Occupied(mut found) => {
                let (key, latest) = found.get_mut();
                (key.clone(), Some(core::mem::replace(latest, record)))
            }
            Entry::Vacant(free) => {
                let key = key.keep();
                free.insert((key.clone(), record));
                (key, None)
            }
        };
        self.move_owner(&key, before.as_ref().and_then(owner_of), owner);
        if let Some(undo) = &mut self.undo {
            undo.push((key.clone(), before));
        }
        self.touched.push_back((zxid, key));
    }

    /// Takes back what a failed multi has put last.
    fn put_back(&mut self, key: &KeptKey, before: Option<Record>) {
        let is_it = |(other, _): &(KeptKey, Record)| other == key;
        let Ok(mut found) = self.latest.find_entry(key.hash, is_it) else {
            return;
        };
        let owner = before.as_ref().and_then(owner_of);
        let failed = match before {
            Some(before) => core::mem::replace(&mut found.get_mut().1, before),
            None => found.remove().0.1,
        };
        self.move_owner(key, owner_of(&failed), owner);
    }

    fn move_owner(&mut self, key: &KeptKey, from: Option<SessionId>, to: Option<SessionId>) {
        if from == to {
            return; // nearly always: nobody owns it
        }
        if let Some(session) = from {
            self.owned.remove(&(session, key.clone()));
        }
        if let Some(session) = to {
            self.owned.insert((session, key.clone()));
        }
    }

    fn put_deleted(
        &mut self,
        zxid: Zxid,
        (parent_key, mut parent): (Key<'_>, Record),
        (key, mut node): (Key<'_>, Record),
    ) {
        parent.children = parent.children.wrapping_sub(1);
        parent.stat.pzxid = zxid;
        self.put(zxid, parent_key, parent);
        node.exists = false;
        self.put(zxid, key, node);
    }

    /// The list to be kept with a record: the open one, which nearly all are, is made only once.
    fn share(&mut self, tree: &Tree, acl: &[AclEntry]) -> Acl {
        let open = self.open_acl.get_or_insert_with(|| {
            tree.find("")
                .map(super::node::NodeRef::shared_acl)
                .unwrap_or_default()
        });
        if **open == *acl {
            open.clone()
        } else {
            acl.into()
        }
    }
}

/// The session whose node a record speaks of; a deleted one is nobody's.
fn owner_of(record: &Record) -> Option<SessionId> {
    match Owner::from_raw(record.stat.ephemeral_owner) {
        Owner::Session(session) if record.exists => Some(session),
        Owner::Session(_) | Owner::None | Owner::Container | Owner::Ttl(_) => None,
    }
}

fn refusal(code: ErrorCode) -> Txn {
    Txn::Error { code: code.code() }
}

impl Rules {
    fn permit(self, record: &Record, perm: u32, ids: &Ids) -> Result<(), ErrorCode> {
        if self.skip_acl || allows(record.acl.view(), perm, ids) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }
}

/// At least the bytes of a multi beside its parts.
const MULTI_HEAD_BYTES: usize = 64;

/// At least the bytes of a transaction inside a multi, type and length included.
fn bytes_in_multi(txn: &Txn) -> usize {
    let list = |acl: &[AclEntry]| -> usize {
        acl.iter()
            .map(|entry| 12 + entry.id.scheme.len() + entry.id.id.len())
            .sum()
    };
    let data = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len);
    match txn {
        Txn::Create {
            path, data: d, acl, ..
        } => 33 + path.len() + data(d) + list(acl),
        Txn::SetData { path, data: d, .. } => 20 + path.len() + data(d),
        Txn::SetAcl { path, acl, .. } => 20 + path.len() + list(acl),
        Txn::Delete { path, .. } | Txn::Check { path, .. } => 16 + path.len(),
        // A refusal; the others are in no multi.
        _ => 12,
    }
}

/// The version after a change that expects `expected`; -1 expects nothing, and so is never a version.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(match current.wrapping_add(1) {
        -1 => 0,
        next => next,
    })
}

/// What ZooKeeper cannot decode inside a multi fails the request as a whole: a path that is null, and creates without an ACL or with
/// flags that are not theirs.
fn may_be_in_multi(op: &WriteOp) -> bool {
    match op {
        WriteOp::Create {
            kind: CreateKind::Ttl,
            path,
            ..
        } => path.is_some(),
        WriteOp::Create {
            path, acl, flags, ..
        } => path.is_some() && acl.is_some() && matches!(flags, 0..=4),
        WriteOp::Delete { path, .. }
        | WriteOp::SetData { path, .. }
        | WriteOp::Check { path, .. } => path.is_some(),
        WriteOp::SetAcl { .. }
        | WriteOp::Multi(_)
        | WriteOp::CreateSession { .. }
        | WriteOp::CloseSession => false,
    }
}

/// Only in a multi do the flags go before the opcode: that of a container turns each create into the making of a container, and
/// a createTTL without a TTL flag is a plain create.
fn as_multi_takes_it(mut op: WriteOp) -> WriteOp {
    if let WriteOp::Create { kind, flags, .. } = &mut op {
        *kind = match (*kind, *flags) {
            (_, 4) => CreateKind::Container,
            (CreateKind::Ttl, 5 | 6) => CreateKind::Ttl,
            (CreateKind::Ttl, _) => CreateKind::Create,
            (kind, _) => kind,
        };
    }
    op
}

#[cfg(test)]
mod tests;
