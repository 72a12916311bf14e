//! A transaction as text and as JSON.

use super::values::{AclJson, Encoding, acl_json, acl_text, is_under, shown_time};
use crate::wire::txn::Payload;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::txn::{Created, Txn};

/// What a transaction does, or one part of a multi. A field is there where the transaction has it.
#[derive(Serialize, Default)]
pub(super) struct TxnJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    /// Of data; absent where there is none, which is something else than no bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<Vec<AclJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_cversion: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<i32>,
    /// The ephemeral nodes that go with a session; absent where the log does not list them.
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<&'a [Box<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<TxnJson<'a>>>,
}

/// The name that ZooKeeper has for the operation.
const fn kind(txn: &Txn) -> &'static str {
    match txn {
        Txn::Create { created, .. } => match created {
            Created::Node {
                with_stat: false, ..
            } => "create",
            Created::Node {
                with_stat: true, ..
            } => "create2",
            Created::Container => "createContainer",
            Created::Ttl { .. } => "createTTL",
        },
        Txn::Delete {
            container: false, ..
        } => "delete",
        Txn::Delete {
            container: true, ..
        } => "deleteContainer",
        Txn::SetData {
            reconfig: false, ..
        } => "setData",
        Txn::SetData { reconfig: true, .. } => "reconfig",
        Txn::SetAcl { .. } => "setACL",
        Txn::Check { .. } => "check",
        Txn::Multi(_) => "multi",
        Txn::CreateSession { .. } => "createSession",
        Txn::CloseSession { .. } => "closeSession",
        Txn::Error { .. } => "error",
    }
}

/// For programs.
pub(super) fn json(txn: &Txn, encoding: Option<Encoding>) -> TxnJson<'_> {
    let mut out = TxnJson {
        kind: kind(txn),
        path: txn.path().map(|path| &**path),
        ..TxnJson::default()
    };
    match txn {
        Txn::Create {
            data,
            acl,
            created,
            parent_cversion,
            ..
        } => {
            out.bytes = data.as_ref().map(bytes::Bytes::len);
            out.data = encoded(data.as_deref(), encoding);
            out.acl = Some(acl_json(acl));
            out.parent_cversion = Some(*parent_cversion);
            match created {
                Created::Node { ephemeral, .. } => out.ephemeral = Some(*ephemeral),
                Created::Container => {}
                Created::Ttl { ttl_ms } => out.ttl_ms = Some(*ttl_ms),
            }
        }
        Txn::SetData { data, version, .. } => {
            out.bytes = data.as_ref().map(bytes::Bytes::len);
            out.data = encoded(data.as_deref(), encoding);
            out.version = Some(*version);
        }
        Txn::SetAcl { acl, version, .. } => {
            out.acl = Some(acl_json(acl));
            out.version = Some(*version);
        }
        Txn::Check { version, .. } => out.version = Some(*version),
        Txn::Multi(parts) => {
            out.parts = Some(parts.iter().map(|part| json(part, encoding)).collect())
        }
        Txn::CreateSession { timeout_ms } => out.timeout_ms = Some(*timeout_ms),
        Txn::CloseSession { paths } => out.paths = paths.as_deref(),
        Txn::Error { code } => {
            out.error = Some(*code);
            out.error_name = error_name(*code);
        }
        Txn::Delete { .. } => {}
    }
    out
}

fn encoded(data: Option<&[u8]>, encoding: Option<Encoding>) -> Option<String> {
    Some(encoding?.of(data?))
}

/// Whether it is about a node at or below `root`, itself or in a part of it.
pub(super) fn is_about(txn: &Txn, root: &str) -> bool {
    match txn {
        Txn::Multi(parts) => parts.iter().any(|part| is_about(part, root)),
        Txn::CloseSession { paths } => paths.iter().flatten().any(|path| is_under(path, root)),
        _ => txn.path().is_some_and(|path| is_under(path, root)),
    }
}

/// A transaction for people.
pub(super) fn shown(payload: &Payload, encoding: Option<Encoding>) -> String {
    let header = &payload.header;
    format!(
        "{} {} session {} cxid {:#x} {}",
        header.zxid,
        shown_time(header.time),
        header.session,
        header.cxid,
        text(&payload.txn, encoding)
    )
}

/// For people: the operation, its path, and what belongs to it. The parts of a multi are on lines of their own.
pub(super) fn text(txn: &Txn, encoding: Option<Encoding>) -> String {
    let mut out = kind(txn).to_owned();
    if let Some(path) = txn.path() {
        let _ = write!(out, " {}", plain(path));
    }
    let _ = match txn {
        Txn::Create {
            data, acl, created, ..
        } => {
            match created {
                Created::Node {
                    ephemeral: true, ..
                } => out.push_str(" ephemeral"),
                Created::Ttl { ttl_ms } => {
                    let _ = write!(out, " ttl {ttl_ms} ms");
                }
                Created::Node { .. } | Created::Container => {}
            }
            out.push_str(&data_text(data.as_deref(), encoding));
            write!(out, " acl {}", plain(&acl_text(acl)))
        }
        Txn::SetData { data, version, .. } => {
            out.push_str(&data_text(data.as_deref(), encoding));
            write!(out, " version {version}")
        }
        Txn::SetAcl { acl, version, .. } => {
            write!(out, " acl {} version {version}", plain(&acl_text(acl)))
        }
        Txn::Check { version, .. } => write!(out, " version {version}"),
        Txn::Multi(parts) => {
            let _ = write!(out, " {} parts", parts.len());
            parts
                .iter()
                .try_for_each(|part| write!(out, "\n    {}", text(part, encoding)))
        }
        Txn::CreateSession { timeout_ms } => write!(out, " timeout {timeout_ms} ms"),
        Txn::CloseSession { paths: None } => Ok(()),
        Txn::CloseSession { paths: Some(paths) } => {
            let all: Vec<_> = paths.iter().map(|path| plain(path)).collect();
            write!(out, " nodes [{}]", all.join(", "))
        }
        Txn::Error { code } => write!(out, " {code} {}", error_name(*code).unwrap_or_default()),
        Txn::Delete { .. } => Ok(()),
    };
    out
}

fn data_text(data: Option<&[u8]>, encoding: Option<Encoding>) -> String {
    match (data, encoding) {
        (None, _) => " no data".to_owned(),
        (Some(data), None) => format!(" {} bytes", data.len()),
        (Some(data), Some(encoding)) => format!(" {} bytes {}", data.len(), encoding.shown(data)),
    }
}

/// A name as it may be printed to a terminal: what would move the cursor, or end the line, is escaped.
pub(super) fn plain(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_control) {
        name.escape_debug().to_string().into()
    } else {
        name.into()
    }
}

fn error_name(code: i32) -> Option<String> {
    use ErrorCode::{
        ApiError, AuthFailed, BadArguments, BadVersion, ConnectionLoss, DataInconsistency,
        EphemeralOnLocalSession, InvalidAcl, InvalidCallback, MarshallingError, NewConfigNoQuorum,
        NoAuth, NoChildrenForEphemerals, NoNode, NoWatcher, NodeExists, NotEmpty, NotReadOnly,
        OperationTimeout, QuotaExceeded, ReconfigDisabled, ReconfigInProgress, RequestTimeout,
        RuntimeInconsistency, SessionClosedRequireSaslAuth, SessionExpired, SessionMoved,
        SystemError, ThrottledOp, Unimplemented, UnknownSession,
    };
    #[rustfmt::skip]
    const ALL: [ErrorCode; 31] = [
        SystemError, RuntimeInconsistency, DataInconsistency, ConnectionLoss, MarshallingError, Unimplemented, OperationTimeout,
        BadArguments, UnknownSession, NewConfigNoQuorum, ReconfigInProgress, ApiError, NoNode, NoAuth, BadVersion,
        NoChildrenForEphemerals, NodeExists, NotEmpty, SessionExpired, InvalidCallback, InvalidAcl, AuthFailed, SessionMoved,
        NotReadOnly, EphemeralOnLocalSession, NoWatcher, RequestTimeout, ReconfigDisabled, SessionClosedRequireSaslAuth,
        QuotaExceeded, ThrottledOp,
    ];
    // ZooKeeper has this number for a part of a multi that was fine until another one failed.
    if code == 0 {
        return Some("Ok".to_owned());
    }
    ALL.into_iter()
        .find(|known| known.code() == code)
        .map(|known| format!("{known:?}"))
}

/// The digest that the writer of a log keeps with a transaction, for programs.
pub(super) fn digest(payload: &Payload) -> Option<String> {
    payload.digest.map(|digest| format!("0x{:x}", digest.tree))
}
