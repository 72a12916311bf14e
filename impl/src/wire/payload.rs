//! A transaction as log, learners and tree share it: encoded once by the leader, decoded once by everybody else.

use super::WireError;
use super::txn::{put_txn, read_txn};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use zabra_model::ensemble;
use zabra_model::quorum::Voters;
use zabra_model::tree::txn::{Txn, TxnHeader};

/// What the protocol core carries, and asks only whether it is a reconfiguration.
pub type Payload = Arc<Logged>;

/// A transaction and its bytes.
#[derive(Debug)]
pub struct Logged {
    /// Who, when, where.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// Header and transaction as in a log entry and in a PROPOSAL.
    pub bytes: Bytes,
}

impl ensemble::Payload for Logged {
    /// None: this server offers no reconfiguration yet.
    fn voters(&self) -> Option<Voters> {
        None
    }
}

impl Logged {
    /// A new transaction. `scratch` lends its room, so that many small ones share an allocation.
    #[must_use]
    pub fn encode(header: TxnHeader, txn: Txn, scratch: &mut BytesMut) -> Self {
        const ROOM_BYTES: usize = 64 << 10;
        if scratch.capacity() < 512 {
            scratch.reserve(ROOM_BYTES);
        }
        put_txn(&header, &txn, None, scratch);
        let bytes = scratch.split().freeze();
        Self { header, txn, bytes }
    }

    /// One that arrived or was read back. Nobody has to understand the digest, it stays in the bytes.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let read = read_txn(&bytes)?;
        Ok(Self {
            header: read.header,
            txn: read.txn,
            bytes,
        })
    }
}
