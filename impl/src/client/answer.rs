//! Answers that need no leader: encoded straight from the tree into the connection's buffer.

use super::auth::shown;
use super::conn::Conn;
use super::hub::{Hub, event_type};
use super::lock::lock;
use crate::limits::{LIST_BYTES_MAX, MULTI_READ_BYTES_MAX};
use crate::wire::client::{
    AddWatchMode, ClientInfo, MultiResult, PersistentWatches, ReadInPlace, ReplyHeader, Request,
    SetWatches as WatchesAgain, reply, xid as fixed,
};
use bytes::{Bytes, BytesMut};
use std::sync::{Mutex, MutexGuard};
use zabra_model::ids::Zxid;
use zabra_model::service::work::WATCHES_A_TURN;
use zabra_model::tree::acl::{Id, allows, perms};
use zabra_model::tree::apply::TxnResult;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::long::{self, LongRead};
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::read::{ReadResult, watch_left};
use zabra_model::tree::stat::Stat;
use zabra_model::tree::watch::{SetWatches, WatchMode};

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It does.
    Go,
    /// It ends after this answer.
    Close,
    /// So does its session, which is known to this server alone.
    EndLocal,
}

/// The watches, locked only if a request needs them.
pub enum HubAccess<'a> {
    /// The core holds the lock.
    Held(&'a mut Hub),
    /// Nobody needed it yet.
    Free(&'a Mutex<Hub>),
    /// Somebody did.
    Locked(MutexGuard<'a, Hub>),
}

impl HubAccess<'_> {
    fn hub(&mut self) -> &mut Hub {
        if let Self::Free(mutex) = self {
            *self = Self::Locked(lock(mutex));
        }
        match self {
            Self::Held(hub) => hub,
            Self::Locked(guard) => guard,
            Self::Free(_) => unreachable!("locked above"),
        }
    }
}

fn refused(xid: i32, zxid: Zxid, code: ErrorCode) -> ReplyHeader {
    ReplyHeader {
        xid,
        zxid,
        err: code.code(),
    }
}

/// Answers `request`. The caller holds the tree's lock until the answer is in the connection's buffer, so that no event
/// of a later change can come before it.
pub fn answer(
    tree: &Tree,
    hub: &mut HubAccess<'_>,
    conn: &Conn,
    ids: &[Id],
    xid: i32,
    request: &Request,
    out: &mut BytesMut,
) -> Outcome {
    let zxid = tree.last_zxid();
    let ok = ReplyHeader::ok(xid, zxid);
    match request {
        Request::Read(op) => {
            let result = tree.read(op, conn.session(), &conn.reads_as(ids));
            if let Some((path, mode)) = watch_left(op, result.as_ref().err().copied()) {
                hub.hub().watches.add(conn.id, path, mode);
            }
            match result {
                Ok(result) => put_read(ok, &result, out),
                Err(code) => reply::put_empty(refused(xid, zxid, code), out),
            }
        }
        Request::Ping => reply::put_empty(ReplyHeader::ok(fixed::PING, zxid), out),
        Request::SetWatches(set) => {
            put_set_watches(tree, hub.hub(), conn, ids, set, out);
            reply::put_empty(ok, out);
        }
        Request::AddWatch { path, mode } => {
            let mode = match mode {
                AddWatchMode::Persistent => Some(WatchMode::Persistent),
                AddWatchMode::PersistentRecursive => Some(WatchMode::PersistentRecursive),
                AddWatchMode::Unknown(_) => None,
            };
            match mode {
                Some(mode) => {
                    hub.hub().watches.add(conn.id, path, mode);
                    reply::put_int(ok, 0, out);
                }
                None => reply::put_empty(refused(xid, zxid, ErrorCode::MarshallingError), out),
            }
        }
        Request::CheckWatches { path, kind } => {
            let found = hub.hub().watches.check(conn.id, path, *kind);
            put_done(ok, found, out);
        }
        Request::RemoveWatches { path, kind } => {
            let found = hub.hub().watches.remove(conn.id, path, *kind);
            put_done(ok, found, out);
        }
        Request::WhoAmI => {
            let who: Vec<ClientInfo> = ids
                .iter()
                .map(|id| ClientInfo {
                    scheme: id.scheme.clone(),
                    user: shown(id).into(),
                })
                .collect();
            reply::put_who_am_i(ok, &who, out);
        }
        Request::Refused(code) => reply::put_empty(refused(xid, zxid, *code), out),
        // Only of a local session: that of any other is ended by the leader.
        Request::Write(WriteOp::CloseSession) => return end_local(ok, out),
        Request::Sasl { .. }
        | Request::Auth { .. }
        | Request::Write(_)
        | Request::DeleteContainer { .. }
        | Request::Sync { .. }
        | Request::Reconfig { .. }
        | Request::Unknown { .. } => {
            reply::put_empty(refused(xid, Zxid(u64::MAX), ErrorCode::Unimplemented), out);
            return Outcome::Close;
        }
    }
    Outcome::Go
}

/// Answers a read from where it lies; false if there is no such node. It is decoded then, and answered as any other: a path that is no
/// text is not the one that leads to a node.
pub fn answer_in_place(
    tree: &Tree,
    conn: &Conn,
    ids: &[Id],
    xid: i32,
    read: ReadInPlace<'_>,
    out: &mut BytesMut,
) -> bool {
    let zxid = tree.last_zxid();
    match tree.read_node(read.path, read.shown, &conn.reads_as(ids)) {
        Ok(result) => put_read(ReplyHeader::ok(xid, zxid), &result, out),
        Err(ErrorCode::NoNode) => return false,
        Err(code) => reply::put_empty(refused(xid, zxid, code), out),
    }
    true
}

fn end_local(ok: ReplyHeader, out: &mut BytesMut) -> Outcome {
    reply::put_empty(ok, out);
    Outcome::EndLocal
}

/// Nodes, names and paths that `request` has the server visit, for a client with so many identities.
pub fn work(tree: &Tree, conn: &Conn, identities: usize, request: &Request) -> usize {
    match request {
        Request::Read(op) => long::work(tree, op, conn.session(), identities),
        Request::SetWatches(set) => paths_of(set).map(<[_]>::len).sum(),
        Request::Ping
        | Request::AddWatch { .. }
        | Request::CheckWatches { .. }
        | Request::RemoveWatches { .. }
        | Request::WhoAmI
        | Request::Sasl { .. }
        | Request::Auth { .. }
        | Request::Write(_)
        | Request::DeleteContainer { .. }
        | Request::Sync { .. }
        | Request::Reconfig { .. }
        | Request::Unknown { .. }
        | Request::Refused(_) => 1,
    }
}

/// What a request that was decoded holds beside its bytes: each path is a piece of memory of its own.
pub(super) fn held_beside(request: &Request) -> usize {
    const PIECE: usize = 40;
    let pieces = match request {
        Request::SetWatches(set) => {
            let persistent = set
                .persistent
                .as_ref()
                .map_or(0, |lists| lists.exact.len() + lists.recursive.len());
            set.data.len() + set.exist.len() + set.child.len() + persistent
        }
        Request::Read(ReadOp::MultiRead(ops)) => 2 * ops.len(),
        _ => 0,
    };
    pieces * PIECE
}

/// An answer that is written while others have the tree.
pub struct Apart {
    opcode: i32,
    header: ReplyHeader,
    read: LongRead,
    /// What comes before it on its connection.
    before: BytesMut,
}

/// Begins an answer that is written later, as of now: its watch is left. `None` if it was written at once after all.
pub fn answer_apart(
    tree: &Tree,
    hub: &mut HubAccess<'_>,
    conn: &Conn,
    ids: &[Id],
    xid: i32,
    op: &ReadOp,
    out: &mut BytesMut,
) -> Option<Apart> {
    match tree.long_read(op, conn.session(), &conn.reads_as(ids)) {
        Ok(Some(read)) => {
            if let Some((path, mode)) = watch_left(op, None) {
                hub.hub().watches.add(conn.id, path, mode);
            }
            Some(Apart {
                opcode: Request::Read(op.clone()).opcode(),
                header: ReplyHeader::ok(xid, tree.last_zxid()),
                read,
                before: std::mem::take(out),
            })
        }
        Ok(None) | Err(_) => {
            let request = Request::Read(op.clone());
            answer(tree, hub, conn, ids, xid, &request, out);
            None
        }
    }
}

impl Apart {
    /// Operation and number of the request.
    #[must_use]
    pub const fn asked(&self) -> (i32, i32) {
        (self.opcode, self.header.xid)
    }

    /// The bytes, what comes before them included. This takes long.
    #[must_use]
    pub fn write(mut self) -> BytesMut {
        put_read(self.header, &self.read.result(), &mut self.before);
        self.before
    }
}

fn paths_of(set: &WatchesAgain) -> impl Iterator<Item = &[Box<str>]> {
    let lists = set.persistent.as_ref();
    let (exact, recursive) = lists.map_or((&[][..], &[][..]), |l| (&*l.exact, &*l.recursive));
    [&*set.data, &*set.exist, &*set.child, exact, recursive].into_iter()
}

/// Takes the paths of one turn off a setWatches request; what is left in it is for later ones.
pub fn watches_of_a_turn(set: &mut WatchesAgain) -> WatchesAgain {
    let mut left = WATCHES_A_TURN;
    let mut some = |paths: &mut Vec<Box<str>>| {
        let rest = paths.len().saturating_sub(left);
        left -= paths.len() - rest;
        paths.split_off(rest)
    };
    WatchesAgain {
        relative_zxid: set.relative_zxid,
        data: some(&mut set.data),
        exist: some(&mut set.exist),
        child: some(&mut set.child),
        persistent: set.persistent.as_mut().map(|lists| PersistentWatches {
            exact: some(&mut lists.exact),
            recursive: some(&mut lists.recursive),
        }),
    }
}

fn put_set_watches(
    tree: &Tree,
    hub: &mut Hub,
    conn: &Conn,
    ids: &[Id],
    set: &WatchesAgain,
    out: &mut BytesMut,
) {
    let empty: &[Box<str>] = &[];
    let (persistent, recursive) = match &set.persistent {
        Some(lists) => (&*lists.exact, &*lists.recursive),
        None => (empty, empty),
    };
    let set = SetWatches {
        relative_zxid: set.relative_zxid,
        data: &set.data,
        exist: &set.exist,
        child: &set.child,
        persistent,
        persistent_recursive: recursive,
    };
    let ids = conn.reads_as(ids);
    hub.watches.set_watches(tree, conn.id, &set, |trigger| {
        if allows(trigger.acl, perms::READ, &ids) {
            // Which transaction it was is not known any more.
            reply::put_event(Zxid(u64::MAX), event_type(trigger.kind), trigger.path, out);
        }
    });
}

/// Sets the watches of one turn, without a reply.
pub fn set_some_watches(
    tree: &Tree,
    access: &mut HubAccess<'_>,
    conn: &Conn,
    ids: &[Id],
    some: &WatchesAgain,
    out: &mut BytesMut,
) {
    put_set_watches(tree, access.hub(), conn, ids, some, out);
}

fn put_done(ok: ReplyHeader, result: Result<(), ErrorCode>, out: &mut BytesMut) {
    let err = result.err().map_or(0, ErrorCode::code);
    reply::put_empty(ReplyHeader { err, ..ok }, out);
}

fn put_read(ok: ReplyHeader, result: &ReadResult<'_>, out: &mut BytesMut) {
    match result {
        ReadResult::Exists(stat) => reply::put_stat(ok, stat, out),
        ReadResult::Data { data, stat } => reply::put_data(ok, *data, stat, out),
        ReadResult::Acl { acl, stat } => reply::put_acl(ok, acl, stat, out),
        ReadResult::Children(children) => put_list(ok, children.clone(), None, out),
        ReadResult::Children2 { children, stat } => {
            put_list(ok, children.clone(), Some(stat), out);
        }
        ReadResult::Ephemerals(paths) => put_list(ok, paths.iter().map(|path| &**path), None, out),
        ReadResult::AllChildrenNumber(count) => reply::put_int(ok, *count, out),
        ReadResult::Multi(results) => {
            let mut left = MULTI_READ_BYTES_MAX;
            let fits = |result: &Result<ReadResult<'_>, ErrorCode>| take_bytes(result, &mut left);
            // A request of a megabyte could ask fifty thousand times for the largest node.
            if !results.iter().all(fits) {
                let err = ErrorCode::MarshallingError.code();
                reply::put_empty(ReplyHeader { err, ..ok }, out);
                return;
            }
            let results: Vec<MultiResult> = results.iter().map(read_in_multi).collect();
            reply::put_multi(ok, &results, out);
        }
    }
}

/// A list of names, or MarshallingError if it is too long for any client.
fn put_list<'n>(
    ok: ReplyHeader,
    names: impl ExactSizeIterator<Item = &'n str>,
    stat: Option<&Stat>,
    out: &mut BytesMut,
) {
    let (start, mut left) = (out.len(), LIST_BYTES_MAX);
    let mut fits = true;
    let names = names.map(|name| {
        let rest = left.checked_sub(name.len() + 4);
        fits &= rest.is_some();
        left = rest.unwrap_or(0);
        if fits { name } else { "" }
    });
    reply::put_children(ok, names, stat, out);
    if !fits {
        out.truncate(start);
        let err = ErrorCode::MarshallingError.code();
        reply::put_empty(ReplyHeader { err, ..ok }, out);
    }
}

/// Takes the bytes of a result off `left`; false if there are not so many.
fn take_bytes(result: &Result<ReadResult<'_>, ErrorCode>, left: &mut usize) -> bool {
    let mut take = |bytes: usize| {
        let rest = left.checked_sub(bytes);
        *left = rest.unwrap_or(0);
        rest.is_some()
    };
    match result {
        Ok(ReadResult::Data {
            data: Some(data), ..
        }) => take(data.len()),
        Ok(ReadResult::Children(children)) => children.clone().all(|name| take(name.len() + 4)),
        _ => true,
    }
}

fn read_in_multi(result: &Result<ReadResult<'_>, ErrorCode>) -> MultiResult {
    match result {
        Ok(ReadResult::Data { data, stat }) => MultiResult::GetData {
            data: data.map(Bytes::copy_from_slice),
            stat: *stat,
        },
        Ok(ReadResult::Children(children)) => MultiResult::GetChildren {
            children: children.clone().map(Into::into).collect(),
        },
        Ok(_) => MultiResult::Error {
            code: ErrorCode::MarshallingError.code(),
        },
        Err(code) => MultiResult::Error { code: code.code() },
    }
}

/// The answer to a write, once its transaction is applied.
pub fn put_result(ok: ReplyHeader, result: &TxnResult<'_>, out: &mut BytesMut) {
    match result {
        TxnResult::Created { path, stat: None } => reply::put_path(ok, Some(path), out),
        TxnResult::Created {
            path,
            stat: Some(stat),
        } => reply::put_path_stat(ok, path, stat, out),
        TxnResult::DataSet(stat) | TxnResult::AclSet(stat) => reply::put_stat(ok, stat, out),
        TxnResult::MembersSet { text, stat } => reply::put_data(ok, Some(text), stat, out),
        TxnResult::Deleted
        | TxnResult::Checked
        | TxnResult::SessionCreated(_)
        | TxnResult::SessionClosed => {
            reply::put_empty(ok, out);
        }
        TxnResult::Multi(results) => {
            let results: Vec<MultiResult> = results.iter().map(write_in_multi).collect();
            reply::put_multi(ok, &results, out);
        }
        TxnResult::Error(code) => reply::put_empty(ReplyHeader { err: *code, ..ok }, out),
    }
}

fn write_in_multi(result: &TxnResult<'_>) -> MultiResult {
    match result {
        TxnResult::Created { path, stat: None } => MultiResult::Create {
            path: (*path).into(),
        },
        TxnResult::Created {
            path,
            stat: Some(stat),
        } => MultiResult::Create2 {
            path: (*path).into(),
            stat: *stat,
        },
        TxnResult::Deleted => MultiResult::Delete,
        TxnResult::DataSet(stat) | TxnResult::MembersSet { stat, .. } | TxnResult::AclSet(stat) => {
            MultiResult::SetData { stat: *stat }
        }
        TxnResult::Checked => MultiResult::Check,
        TxnResult::Error(code) => MultiResult::Error { code: *code },
        TxnResult::Multi(_) | TxnResult::SessionCreated(_) | TxnResult::SessionClosed => {
            MultiResult::Error {
                code: ErrorCode::MarshallingError.code(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-48: the turns of a long setWatches are bounded, and together they are the request.
    #[test]
    fn c_48_a_long_set_watches_is_done_in_turns() {
        let paths = |from: usize, count: usize| -> Vec<Box<str>> {
            (from..from + count)
                .map(|at| format!("/{at}").into())
                .collect()
        };
        for count in [0, 1, WATCHES_A_TURN - 1, WATCHES_A_TURN, 3000] {
            let mut left = WatchesAgain {
                relative_zxid: Zxid(7),
                data: paths(0, count),
                exist: paths(10_000, count / 2),
                child: paths(20_000, 1),
                persistent: Some(PersistentWatches {
                    exact: paths(30_000, count),
                    recursive: paths(40_000, 5),
                }),
            };
            let mut whole: Vec<_> = paths_of(&left).flatten().cloned().collect();
            let mut all: Vec<Box<str>> = Vec::new();
            while paths_of(&left).any(|paths| !paths.is_empty()) {
                let some = watches_of_a_turn(&mut left);
                assert_eq!(some.relative_zxid, Zxid(7));
                let now: usize = paths_of(&some).map(<[_]>::len).sum();
                assert!((1..=WATCHES_A_TURN).contains(&now));
                all.extend(paths_of(&some).flatten().cloned());
            }
            all.sort_unstable();
            whole.sort_unstable();
            assert_eq!(all, whole);
        }
    }
}
