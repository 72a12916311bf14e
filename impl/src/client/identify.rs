//! The auth request: who a client is from then on, or why its connection is over.

use super::auth::{identity, super_user};
use super::conn::{Conn, ConnPhase, ConnState};
use super::lock::lock;
use super::remark::Remark;
use super::shared::Shared;
use crate::limits::CREDENTIAL_BYTES_MAX;
use crate::wire::client::{RawRequest, ReplyHeader, Request, reply};
use std::sync::atomic::Ordering;
use zabra_model::ids::Zxid;
use zabra_model::service::admission::means_this_ensemble;
use zabra_model::tree::error::ErrorCode;

/// Identities count for the requests behind this one; the answer does not wait for those before it. What the log is to say of it.
pub(super) fn authenticate(
    raw: &RawRequest,
    shared: &Shared,
    conn: &Conn,
    state: &mut ConnState,
) -> Option<Remark> {
    let xid = raw.header.xid;
    // What it proves is hashed while others wait for the tree.
    if raw.record.len() > CREDENTIAL_BYTES_MAX {
        turn_away(xid, ErrorCode::AuthFailed, state);
        return None;
    }
    let Ok(Request::Auth { scheme, data, .. }) = raw.decode() else {
        // It says nothing that could fail: the connection ends without a word, as in ZooKeeper.
        state.phase = ConnPhase::Closing;
        return None;
    };
    let config = &shared.config;
    let scheme = scheme.as_deref().unwrap_or("");
    if let Some(names) = config.access.ensemble.as_ref()
        && scheme == "ensemble"
    {
        let said = data.as_deref().unwrap_or_default();
        let is_this = means_this_ensemble(said, names);
        let count = &shared.stats.ensemble_auth[usize::from(is_this)];
        count.fetch_add(1, Ordering::Relaxed);
        if !is_this {
            return leave_for_its_ensemble(said, shared, state);
        }
        reply::put_empty(ReplyHeader::ok(xid, Zxid::ZERO), &mut state.out);
        return None;
    }
    let address = conn.from.ip().to_string();
    let id = identity(scheme, data.as_deref(), &address, config.digest);
    let is_taken = id.is_some_and(|id| {
        let also = super_user(&id, config.super_digest.as_ref());
        state.take_identities(id, also)
    });
    if is_taken {
        reply::put_empty(ReplyHeader::ok(xid, Zxid::ZERO), &mut state.out);
    } else {
        shared.stats.auth_failed.fetch_add(1, Ordering::Relaxed);
        turn_away(xid, ErrorCode::AuthFailed, state);
    }
    None
}

/// The client means another ensemble. It hears nothing: an error would end it, and it is to look for another server.
fn leave_for_its_ensemble(said: &[u8], shared: &Shared, state: &mut ConnState) -> Option<Remark> {
    state.phase = ConnPhase::Closing;
    let unsaid = lock(&shared.elsewhere).due(shared.elapsed_ms())?;
    let said = String::from_utf8_lossy(said).chars().take(64).collect();
    Some(Remark::OtherEnsemble { said, unsaid })
}

/// Tells the client why its connection is over.
pub(super) fn turn_away(xid: i32, error: ErrorCode, state: &mut ConnState) {
    let mut header = ReplyHeader::ok(xid, Zxid::ZERO);
    header.err = error.code();
    reply::put_empty(header, &mut state.out);
    state.phase = ConnPhase::Closing;
}
