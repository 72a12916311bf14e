//! SASL over the client protocol: one token of a client, and what it gets.

use super::conn::{Conn, ConnPhase, ConnState};
use super::digest_md5::{CLIENTS, Next};
use super::lock::lock;
use super::remark::Remark;
use super::shared::Shared;
use crate::wire::client::{RawRequest, ReplyHeader, Request, reply};
use bytes::Bytes;
use std::sync::atomic::Ordering;
use zabra_model::ids::Zxid;
use zabra_model::service::admission::sasl_failed;
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;

/// Takes a token. As an identity it counts for the requests behind it, and the answer does not wait for those before it. What the
/// log is to say of it.
pub(super) fn take_token(
    raw: &RawRequest,
    shared: &Shared,
    conn: &Conn,
    state: &mut ConnState,
) -> Option<Remark> {
    let xid = raw.header.xid;
    let Some(sasl) = &shared.config.access.sasl else {
        // A client that gets no token and no error asks again, as fast as it can (D-37).
        end(xid, ErrorCode::AuthFailed, state);
        return None;
    };
    let token = match raw.decode() {
        Ok(Request::Sasl { token }) => token.unwrap_or_default(),
        // Read on as a wrong token.
        _ => Bytes::from_static(b"\0"),
    };
    let nonce = || shared.nonce(conn.id);
    let why = match state.sasl.step(&token, &sasl.users, CLIENTS, nonce) {
        Ok(Next::Challenge(token)) => {
            go_on(xid, Some(&token), state);
            return None;
        }
        Ok(Next::Proved { user, token }) => {
            let id = |scheme: &str, id: &str| Id {
                scheme: scheme.into(),
                id: id.into(),
            };
            let super_user = sasl.super_users.contains(&user);
            let also = super_user.then(|| id("super", ""));
            if state.take_identities(id("sasl", &user), also) {
                go_on(xid, Some(&token), state);
                return None;
            }
            "it has too many identities".to_owned()
        }
        Err(refused) => refused.to_string(),
    };
    shared.stats.auth_failed.fetch_add(1, Ordering::Relaxed);
    let schemes = &shared.config.access.schemes;
    let again = std::mem::replace(&mut state.sasl_failed, true);
    match sasl_failed(sasl.allows_failed && !again, schemes) {
        None => go_on(xid, None, state),
        Some(error) => end(xid, error, state),
    }
    let unsaid = lock(&shared.sasl_failed).due(shared.elapsed_ms())?;
    Some(Remark::NoSasl { why, unsaid })
}

fn go_on(xid: i32, token: Option<&str>, state: &mut ConnState) {
    let header = ReplyHeader::ok(xid, Zxid::ZERO);
    reply::put_token(header, token.map(str::as_bytes), &mut state.out);
}

fn end(xid: i32, error: ErrorCode, state: &mut ConnState) {
    let header = ReplyHeader {
        err: error.code(),
        ..ReplyHeader::ok(xid, Zxid::ZERO)
    };
    reply::put_token(header, None, &mut state.out);
    state.phase = ConnPhase::Closing;
}
