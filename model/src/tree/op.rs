//! What a client may ask: requests, already decoded, not yet judged.

use super::acl::AclEntry;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;

/// The operation code of a request, where several share a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CreateKind {
    /// Opcode 1: answered with the path.
    Create,
    /// Opcode 15: answered with path and Stat.
    Create2,
    /// Opcode 19: makes a container, answered as Create2.
    Container,
    /// Opcode 21: takes a TTL, answered as Create2.
    Ttl,
}

/// A request that becomes a transaction. Paths and ACLs are as the client sent them: `None` is Jute's null.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub enum WriteOp {
    Create {
        kind: CreateKind,
        path: Option<Box<str>>,
        data: Option<Bytes>,
        acl: Option<Vec<AclEntry>>,
        flags: i32,
        ttl: i64,
    },
    Delete {
        path: Option<Box<str>>,
        version: i32,
    },
    SetData {
        path: Option<Box<str>>,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: Option<Box<str>>,
        acl: Option<Vec<AclEntry>>,
        version: i32,
    },
    /// Only inside a multi.
    Check {
        path: Option<Box<str>>,
        version: i32,
    },
    Multi(Vec<WriteOp>),
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession,
}

/// A request that a server answers from its own tree.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub enum ReadOp {
    Exists {
        path: Box<str>,
        watch: bool,
    },
    GetData {
        path: Box<str>,
        watch: bool,
    },
    GetAcl {
        path: Box<str>,
    },
    GetChildren {
        path: Box<str>,
        watch: bool,
    },
    /// As `GetChildren`, with the Stat.
    GetChildren2 {
        path: Box<str>,
        watch: bool,
    },
    GetEphemerals {
        prefix: Option<Box<str>>,
    },
    GetAllChildrenNumber {
        path: Box<str>,
    },
    /// Only `GetData` and `GetChildren` inside.
    MultiRead(Vec<ReadOp>),
}

impl ReadOp {
    /// The one node that it is about, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Exists { path, .. }
            | Self::GetData { path, .. }
            | Self::GetAcl { path }
            | Self::GetChildren { path, .. }
            | Self::GetChildren2 { path, .. }
            | Self::GetAllChildrenNumber { path } => Some(path),
            Self::GetEphemerals { .. } | Self::MultiRead(_) => None,
        }
    }
}
