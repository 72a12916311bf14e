//! A transaction as log, learners and tree share it: encoded once by the leader, decoded once by everybody else.

use super::WireError;
use super::txn::{put_txn, read_txn, share_data};
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
    #[inline]
    fn voters(&self) -> Option<Voters> {
        self.members.as_ref().map(|members| members.voters.clone())
    }
}

/// The list that a transaction brings. Its version is its zxid, whatever the text says of it.
pub fn members_of<P, D: AsRef<[u8]>, A>(
    header: &TxnHeader,
    txn: &Txn<P, D, A>,
) -> Option<Box<Members>> {
    let Txn::SetData {
        data: Some(text),
        reconfig: true,
        ..
    } = txn
    else {
        return None;
    };
    let members = Members::parse(std::str::from_utf8(text.as_ref()).ok()?).ok()?;
    Some(Box::new(Members {
        version: header.zxid,
        ..members
    }))
}

impl Logged {
    /// A new transaction. `scratch` lends its room, so that many small ones share an allocation. Its data is that of its bytes: what
    /// its request was read with may be long, is counted nowhere, and is not kept.
    #[must_use]
    pub fn encode(header: TxnHeader, mut txn: Txn, scratch: &mut BytesMut) -> Self {
        const ROOM_BYTES: usize = 64 << 10;
        if scratch.capacity() < 512 {
            scratch.reserve(ROOM_BYTES);
        }
        put_txn(&header, &txn, None, scratch);
        let bytes = scratch.split().freeze();
        share_data(&mut txn, &bytes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use zabra_model::tree::txn::Created;

    /// C-47.
    #[test]
    fn c_47_a_new_transaction_shares_its_own_bytes_and_nothing_of_its_request() {
        let read = Bytes::from(vec![7; 64 << 10]);
        let create = |data| Txn::Create {
            path: "/a/\u{e9}".into(),
            data,
            acl: vec![],
            created: Created::Ttl { ttl_ms: 5 },
            parent_cversion: 1,
        };
        let set = |data| Txn::SetData {
            path: "/b".into(),
            data,
            version: 3,
            reconfig: false,
        };
        let some = |length| Some(read.slice(..length));
        let delete = Txn::Delete {
            path: "/c".into(),
            container: false,
        };
        let parts = vec![
            create(some(5)),
            delete,
            set(some(0)),
            set(None),
            set(some(300)),
        ];
        let txns = [
            create(some(9)),
            create(None),
            set(some(0)),
            set(some(5000)),
            Txn::Multi(parts),
        ];
        let mut scratch = BytesMut::new();
        for txn in txns {
            let logged = Logged::encode(TxnHeader::default(), txn.clone(), &mut scratch);
            assert_eq!(logged.txn, txn);
            assert_eq!(Logged::decode(logged.bytes.clone()).unwrap().txn, txn);
            drop(txn);
            let kept: Vec<&Bytes> = match &logged.txn {
                Txn::Multi(parts) => parts.iter().filter_map(data_of).collect(),
                one => data_of(one).into_iter().collect(),
            };
            let own = logged.bytes.as_ptr_range();
            for data in kept.into_iter().filter(|data| !data.is_empty()) {
                assert!(own.contains(&data.as_ptr()), "{:?}", logged.txn);
            }
        }
    }

    fn data_of(txn: &Txn) -> Option<&Bytes> {
        match txn {
            Txn::Create { data, .. } | Txn::SetData { data, .. } => data.as_ref(),
            _ => None,
        }
    }
}
