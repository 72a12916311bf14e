//! What a connection asks of the core.

use crate::wire::client::{Request, opcode};
use bytes::Bytes;
use std::sync::Arc;
use zabra_model::ids::SessionId;
use zabra_model::tree::acl::Id;
use zabra_model::tree::error::ErrorCode;

/// What a client wants at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connect {
    /// A new session with this id.
    New(SessionId),
    /// To go on with its session.
    Again(SessionId),
    /// To go on with a session whose password it does not know: it has been told.
    Refused,
}

/// A request that needs the leader.
pub struct Submit {
    /// The client's number for it.
    pub xid: i32,
    /// The connection's number for it, by which its answer finds its place.
    pub token: u64,
    /// The operation.
    pub opcode: i32,
    /// The record as the client sent it, to be forwarded.
    pub record: Bytes,
    /// The record decoded, where this server leads.
    pub request: Option<Request>,
    /// What its client is told in place of SessionExpired.
    pub refused_as: Option<ErrorCode>,
    /// The client's identities.
    pub ids: Arc<[Id]>,
    /// When it was read, ms since the server's start.
    pub read_ms: u64,
}

impl Submit {
    /// Has its record in memory of its own: one that waits would keep all that was read with it, which is counted nowhere.
    pub fn detach(&mut self) {
        self.record = Bytes::copy_from_slice(&self.record);
    }

    /// What goes before a write that a local session may not ask for: the session becomes global. No client hears of it.
    #[must_use]
    pub const fn make_global(ids: Arc<[Id]>, read_ms: u64) -> Self {
        Self {
            xid: 0,
            token: 0,
            opcode: opcode::CREATE_SESSION,
            record: Bytes::new(),
            request: None,
            refused_as: None,
            ids,
            read_ms,
        }
    }
}
