//! Transactions: what logs, proposals and DIFFs carry. A transaction is final, applying it cannot be refused.

use super::acl::AclEntry;
use crate::ids::{SessionId, Zxid};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;

/// Who asked for a transaction, where it stands in the history, and when it happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TxnHeader {
    /// The session that asked.
    pub session: SessionId,
    /// The request's number in that session.
    pub cxid: i32,
    /// The position in the history.
    pub zxid: Zxid,
    /// ms since 1970: ctime or mtime of what it changes.
    pub time: i64,
}

/// What is made by a create transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Created {
    /// Types 1 and 15 (`with_stat`): persistent or ephemeral.
    Node {
        /// Owned by the header's session.
        ephemeral: bool,
        /// Type 15: the reply carries a Stat. Replay treats the two types differently.
        with_stat: bool,
    },
    /// Type 19.
    Container,
    /// Type 21.
    Ttl {
        /// Time to live without change and children, ms.
        ttl_ms: i64,
    },
}

/// The change itself. Paths are final: sequence numbers are filled in, ACLs are resolved.
///
/// `P`, `D` and `A` hold its paths, data and lists of access control. A transaction that is kept owns them; one that is applied and then
/// forgotten, as in a start, may borrow them from what it was read from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub enum Txn<P = Box<str>, D = Bytes, A = Vec<AclEntry>> {
    /// `parent_cversion` is the parent's persisted cversion after the create; -1 in very old logs: parent's + 1.
    Create {
        path: P,
        data: Option<D>,
        acl: A,
        created: Created,
        parent_cversion: i32,
    },
    /// Type 2, or type 20 for a container.
    Delete {
        path: P,
        container: bool,
    },
    /// `version` is the new version. Type 5, or type 16 for a reconfiguration.
    SetData {
        path: P,
        data: Option<D>,
        version: i32,
        reconfig: bool,
    },
    /// `version` is the new aversion.
    SetAcl {
        path: P,
        acl: A,
        version: i32,
    },
    /// Only inside a multi: `version` is the checked version + 1.
    Check {
        path: P,
        version: i32,
    },
    /// All or nothing: with an [`Txn::Error`] among them nothing is applied.
    Multi(Vec<Self>),
    CreateSession {
        timeout_ms: i32,
    },
    /// The session's ephemeral nodes; `None` in logs that do not list them.
    CloseSession {
        paths: Option<Vec<P>>,
    },
    /// A refused write: it takes a zxid and changes nothing.
    Error {
        code: i32,
    },
}

impl<P, D, A> Txn<P, D, A> {
    /// The one node that it is about, if there is one.
    pub const fn path(&self) -> Option<&P> {
        match self {
            Self::Create { path, .. }
            | Self::Delete { path, .. }
            | Self::SetData { path, .. }
            | Self::SetAcl { path, .. }
            | Self::Check { path, .. } => Some(path),
            Self::Multi(_)
            | Self::CreateSession { .. }
            | Self::CloseSession { .. }
            | Self::Error { .. } => None,
        }
    }
}
