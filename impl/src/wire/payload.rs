//! A transaction as log, learners and tree share it: encoded once by the leader, decoded once by everybody else.

use super::WireError;
use super::txn::{put_txn, read_txn};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use zabra_model::ensemble;
use zabra_model::quorum::Voters;
use zabra_model::service::members::Members;
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
    /// The list of members that it brings, if it is a reconfiguration whose text can be read.
    pub members: Option<Box<Members>>,
}

impl ensemble::Payload for Logged {
    fn voters(&self) -> Option<Voters> {
        self.members.as_ref().map(|members| members.voters.clone())
    }
}

/// The list that a transaction brings. Its version is its zxid, whatever the text says of it.
fn members_of(header: &TxnHeader, txn: &Txn) -> Option<Box<Members>> {
    let Txn::SetData {
        data: Some(text),
        reconfig: true,
        ..
    } = txn
    else {
        return None;
    };
    let members = Members::parse(std::str::from_utf8(text).ok()?).ok()?;
    Some(Box::new(Members {
        version: header.zxid,
        ..members
    }))
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
        Self::of(header, txn, bytes)
    }

    fn of(header: TxnHeader, txn: Txn, bytes: Bytes) -> Self {
        let members = members_of(&header, &txn);
        Self {
            header,
            txn,
            bytes,
            members,
        }
    }

    /// Whether it is a reconfiguration with a list that cannot be read here: several addresses of a member, a port for TLS. Nobody can
    /// follow a leader that changes the members so.
    #[must_use]
    pub const fn is_unreadable_list(&self) -> bool {
        matches!(self.txn, Txn::SetData { reconfig: true, .. }) && self.members.is_none()
    }

    /// One that arrived or was read back. Nobody has to understand the digest, it stays in the bytes.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let read = read_txn(&bytes)?;
        Ok(Self::of(read.header, read.txn, bytes))
    }
}
