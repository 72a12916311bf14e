//! Requests: a frame's body to [`Request`], and back.
//!
//! Decoding has two steps, because they fail differently. [`RawRequest::split`] needs the 8 bytes of a header, or the connection
//! is closed; [`RawRequest::decode`] reads the record, and if it fails the client is told MarshallingError and stays.
//! Between the two the record is kept as it came: a follower forwards exactly these bytes to the leader.

use super::opcode as op;
use super::operation::{
    put_read_record, put_write_record, read_opcode, read_read, read_write, write_opcode,
};
use crate::wire::cursor::{JuteWrite, Reader, WireError};
use crate::wire::frame::put_frame;
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::ids::Zxid;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::read::Shown;

/// What stands before each request's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// The client's number for it, echoed in the reply.
    pub xid: i32,
    /// The operation code, one of [`super::opcode`] or unknown.
    pub opcode: i32,
}

/// A getData or an exists without a watch, where it lies in the memory of its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadInPlace<'r> {
    /// The path, which may be no text.
    pub path: &'r [u8],
    /// What it asks for.
    pub shown: Shown,
}

impl<'r> ReadInPlace<'r> {
    /// `None` for all other requests, and for a record that cannot be read.
    #[must_use]
    pub fn of(opcode: i32, record: &'r [u8]) -> Option<Self> {
        let shown = match opcode {
            op::GET_DATA => Shown::Data,
            op::EXISTS => Shown::Stat,
            _ => return None,
        };
        let (length, rest) = record.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (path, rest) = rest.split_at_checked(length)?;
        let has_no_watch = rest.first() == Some(&0);
        has_no_watch.then_some(Self { path, shown })
    }
}

impl RequestHeader {
    /// Its length.
    pub const BYTES: usize = 8;

    /// The header of a frame's body, and the record behind it.
    ///
    /// Errors: fewer than 8 bytes; the connection is then closed without a reply.
    pub fn split(body: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let short = |what, offset| WireError::Short {
            what,
            offset,
            need: 4,
            left: body.len() - offset,
        };
        let (xid, rest) = body.split_first_chunk().ok_or_else(|| short("xid", 0))?;
        let (opcode, record) = rest.split_first_chunk().ok_or_else(|| short("type", 4))?;
        let header = Self {
            xid: i32::from_be_bytes(*xid),
            opcode: i32::from_be_bytes(*opcode),
        };
        Ok((header, record))
    }
}

/// A request whose record is not yet read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRequest {
    /// Number and operation.
    pub header: RequestHeader,
    /// The record, and whatever the client sent after it.
    pub record: Bytes,
}

impl RawRequest {
    /// The operation that a frame asks for; 0 if it is too short to say it.
    #[must_use]
    pub fn opcode_of(frame: &[u8]) -> i32 {
        let four = frame.get(4..).and_then(<[u8]>::first_chunk::<4>);
        four.map_or(0, |four| i32::from_be_bytes(*four))
    }

    /// Takes the header off a frame's body.
    ///
    /// Errors: as [`RequestHeader::split`].
    pub fn split(body: &Bytes) -> Result<Self, WireError> {
        let (header, record) = RequestHeader::split(body)?;
        let record = body.slice_ref(record);
        Ok(Self { header, record })
    }

    /// Reads the record.
    ///
    /// Errors: a record that ends early, has an illegal length, a null that the operation cannot take, more parts than it may list, or a
    /// multi with an operation that has no place there. The client is answered MarshallingError.
    pub fn decode(&self) -> Result<Request, WireError> {
        Request::decode(self.header.opcode, &self.record)
    }
}

/// Watches that a client sets again after it has changed servers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetWatches {
    /// The newest position the client has seen: what happened since is told by events.
    pub relative_zxid: Zxid,
    /// Paths of getData.
    pub data: Vec<Box<str>>,
    /// Paths of exists on nodes that were absent.
    pub exist: Vec<Box<str>>,
    /// Paths of getChildren.
    pub child: Vec<Box<str>>,
    /// Persistent watches; `None` is opcode 101, which has none.
    pub persistent: Option<PersistentWatches>,
}

/// The part of setWatches2 that setWatches has not. They are set without telling what happened since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PersistentWatches {
    /// Paths watched for themselves.
    pub exact: Vec<Box<str>>,
    /// Paths watched with everything below.
    pub recursive: Vec<Box<str>>,
}

/// What an addWatch asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddWatchMode {
    /// All events of the path itself.
    Persistent,
    /// All but NodeChildrenChanged, of the path and everything below.
    PersistentRecursive,
    /// Anything else: BadArguments.
    Unknown(i32),
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Becomes a transaction; closeSession (-11) and the internal createSession (-10) among them.
    Write(WriteOp),
    /// Answered from the server's own tree.
    Read(ReadOp),
    /// Opcode 20, which only servers may make transactions of: a client gets an error.
    DeleteContainer {
        /// The path, unchecked.
        path: Option<Box<str>>,
    },
    /// Flushes the way from leader to this server; no check of any kind.
    Sync {
        /// Echoed.
        path: Option<Box<str>>,
    },
    /// Keeps the session alive.
    Ping,
    /// Adds an identity to the connection.
    Auth {
        /// 0.
        kind: i32,
        /// `digest`, `ip`, …
        scheme: Option<Box<str>>,
        /// What the scheme makes of it.
        data: Option<Bytes>,
    },
    /// Opcodes 101 and 105.
    SetWatches(SetWatches),
    /// Sets a persistent watch.
    AddWatch {
        /// Where.
        path: Box<str>,
        /// Which.
        mode: AddWatchMode,
    },
    /// Asks whether a watch is set.
    CheckWatches {
        /// Where.
        path: Box<str>,
        /// 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive; others are MarshallingError.
        kind: i32,
    },
    /// Removes watches.
    RemoveWatches {
        /// Where.
        path: Box<str>,
        /// As in `CheckWatches`.
        kind: i32,
    },
    /// Asks which identities the connection has.
    WhoAmI,
    /// One step of SASL.
    Sasl {
        /// The mechanism's bytes.
        token: Option<Bytes>,
    },
    /// Changes the ensemble.
    Reconfig {
        /// Server lines to add.
        joining: Option<Box<str>>,
        /// Ids to remove.
        leaving: Option<Box<str>>,
        /// The whole new membership instead.
        new_members: Option<Box<str>>,
        /// The version it must start from; -1 is any.
        config_id: i64,
    },
    /// No request that may stand alone: Unimplemented, then the connection is closed.
    Unknown {
        /// What was asked for, `check` (13) outside a multi included.
        opcode: i32,
        /// The record, unread.
        record: Bytes,
    },
    /// No request of a client: one that is answered with this error, in its turn.
    Refused(ErrorCode),
}

impl Request {
    /// Reads the record of operation `opcode`. Bytes after it are ignored. See [`RawRequest::decode`].
    pub fn decode(opcode: i32, record: &Bytes) -> Result<Self, WireError> {
        Self::decode_part(opcode, record, record)
    }

    /// The same, of a record that is a part of `memory`.
    pub fn decode_part(opcode: i32, record: &[u8], memory: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::of_request(record, memory);
        let r = &mut reader;
        if let Some(write) = read_write(opcode, r)? {
            return Ok(Self::Write(write));
        }
        if let Some(read) = read_read(opcode, r)? {
            return Ok(Self::Read(read));
        }
        Ok(match opcode {
            op::DELETE_CONTAINER => Self::DeleteContainer {
                path: r.ustring("path")?,
            },
            op::SYNC => Self::Sync {
                path: r.ustring("path")?,
            },
            op::PING => Self::Ping,
            op::AUTH => Self::Auth {
                kind: r.i32("type")?,
                scheme: r.ustring("scheme")?,
                data: r.buffer("auth")?,
            },
            op::SET_WATCHES | op::SET_WATCHES2 => Self::SetWatches(SetWatches {
                relative_zxid: r.zxid("relativeZxid")?,
                data: r.texts("dataWatches")?,
                exist: r.texts("existWatches")?,
                child: r.texts("childWatches")?,
                persistent: match opcode {
                    op::SET_WATCHES2 => Some(PersistentWatches {
                        exact: r.texts("persistentWatches")?,
                        recursive: r.texts("persistentRecursiveWatches")?,
                    }),
                    _ => None,
                },
            }),
            op::ADD_WATCH => Self::AddWatch {
                path: r.text("path")?,
                mode: match r.i32("mode")? {
                    0 => AddWatchMode::Persistent,
                    1 => AddWatchMode::PersistentRecursive,
                    other => AddWatchMode::Unknown(other),
                },
            },
            op::CHECK_WATCHES => Self::CheckWatches {
                path: r.text("path")?,
                kind: r.i32("type")?,
            },
            op::REMOVE_WATCHES => Self::RemoveWatches {
                path: r.text("path")?,
                kind: r.i32("type")?,
            },
            op::WHO_AM_I => Self::WhoAmI,
            op::SASL => Self::Sasl {
                token: r.buffer("token")?,
            },
            op::RECONFIG => Self::Reconfig {
                joining: r.ustring("joiningServers")?,
                leaving: r.ustring("leavingServers")?,
                new_members: r.ustring("newMembers")?,
                config_id: r.i64("curConfigId")?,
            },
            _ => Self::Unknown {
                opcode,
                record: memory.slice_ref(record),
            },
        })
    }

    /// The operation code that asks for it.
    #[must_use]
    pub const fn opcode(&self) -> i32 {
        match self {
            Self::Write(op) => write_opcode(op),
            Self::Read(op) => read_opcode(op),
            Self::DeleteContainer { .. } => op::DELETE_CONTAINER,
            Self::Sync { .. } => op::SYNC,
            Self::Ping => op::PING,
            Self::Auth { .. } => op::AUTH,
            Self::SetWatches(SetWatches {
                persistent: None, ..
            }) => op::SET_WATCHES,
            Self::SetWatches(_) => op::SET_WATCHES2,
            Self::AddWatch { .. } => op::ADD_WATCH,
            Self::CheckWatches { .. } => op::CHECK_WATCHES,
            Self::RemoveWatches { .. } => op::REMOVE_WATCHES,
            Self::WhoAmI => op::WHO_AM_I,
            Self::Sasl { .. } => op::SASL,
            Self::Reconfig { .. } => op::RECONFIG,
            Self::Unknown { opcode, .. } => *opcode,
            Self::Refused(_) => op::ERROR,
        }
    }

    /// Appends the whole frame: length, header, record.
    pub fn put(&self, xid: i32, out: &mut BytesMut) {
        put_frame(out, |b| {
            b.put_i32(xid);
            b.put_i32(self.opcode());
            self.put_record(b);
        });
    }

    /// Appends the record alone, as REQUEST packets carry it.
    pub fn put_record(&self, out: &mut BytesMut) {
        match self {
            Self::Write(op) => put_write_record(op, out),
            Self::Read(op) => put_read_record(op, out),
            Self::DeleteContainer { path } | Self::Sync { path } => {
                out.put_ustring(path.as_deref());
            }
            Self::Ping | Self::WhoAmI | Self::Refused(_) => {}
            Self::Auth { kind, scheme, data } => {
                out.put_i32(*kind);
                out.put_ustring(scheme.as_deref());
                out.put_buffer(data.as_deref());
            }
            Self::SetWatches(watches) => {
                out.put_zxid(watches.relative_zxid);
                out.put_texts(watches.data.iter());
                out.put_texts(watches.exist.iter());
                out.put_texts(watches.child.iter());
                if let Some(persistent) = &watches.persistent {
                    out.put_texts(persistent.exact.iter());
                    out.put_texts(persistent.recursive.iter());
                }
            }
            Self::AddWatch { path, mode } => {
                out.put_text(path);
                out.put_i32(match mode {
                    AddWatchMode::Persistent => 0,
                    AddWatchMode::PersistentRecursive => 1,
                    AddWatchMode::Unknown(other) => *other,
                });
            }
            Self::CheckWatches { path, kind } | Self::RemoveWatches { path, kind } => {
                out.put_text(path);
                out.put_i32(*kind);
            }
            Self::Sasl { token } => out.put_buffer(token.as_deref()),
            Self::Reconfig {
                joining,
                leaving,
                new_members,
                config_id,
            } => {
                out.put_ustring(joining.as_deref());
                out.put_ustring(leaving.as_deref());
                out.put_ustring(new_members.as_deref());
                out.put_i64(*config_id);
            }
            Self::Unknown { record, .. } => out.put_slice(record),
        }
    }
}
