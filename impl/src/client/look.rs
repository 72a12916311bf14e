//! How a connection is at one moment: seen while its state is locked, and acted on when it is not.

use super::conn::{Conn, ConnPhase, ConnState};
use super::shared::Shared;
use bytes::BytesMut;
use std::sync::atomic::Ordering::Relaxed;

/// How a connection is at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// How far it is.
    pub(super) phase: ConnPhase,
    /// Requests that wait for their answers.
    pub(super) unanswered: usize,
    /// It alone leaves too much unread.
    pub(super) is_overfull: bool,
    /// Its next request may be taken.
    pub(super) may_take: bool,
    /// All connections leave too much unread, and this one is not small.
    pub(super) relieve: bool,
}

impl Look {
    /// Sees how it is, and takes what is to be sent into `output`, which is empty.
    pub(super) fn at(
        state: &mut ConnState,
        output: &mut BytesMut,
        shared: &Shared,
        conn: &Conn,
    ) -> Self {
        let is_overfull = state.is_overfull();
        state.take_out(output);
        if !output.is_empty() {
            let stripe = shared.stats.stripe(conn.id);
            stripe.sent_bytes.fetch_add(output.len() as u64, Relaxed);
        }
        Self {
            phase: state.phase,
            unanswered: state.order.len(),
            is_overfull,
            may_take: state.may_take(&shared.waiting, &shared.outstanding),
            relieve: state.settle_unread(&shared.unread),
        }
    }
}
