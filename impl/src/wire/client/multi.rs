//! What `multi` and `multiRead` answer: results, each behind a header of 9 bytes; the last header stands alone.

use super::opcode as op;
use crate::wire::cursor::{JuteWrite, Reader, WireError};
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::tree::stat::Stat;

/// What stands before each operation or result.
pub(super) struct MultiHeader {
    /// The operation code.
    pub(super) kind: i32,
    /// Nothing follows.
    pub(super) done: bool,
    err: i32,
}

impl MultiHeader {
    /// Reads one.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            kind: r.i32("type in multi")?,
            done: r.bool("done")?,
            err: r.i32("err")?,
        })
    }
}

/// Appends one.
pub(super) fn put_header(kind: i32, done: bool, err: i32, out: &mut BytesMut) {
    out.put_i32(kind);
    out.put_bool(done);
    out.put_i32(err);
}

/// One operation's result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// Of a create.
    Create {
        /// The final path.
        path: Box<str>,
    },
    /// Of a create2, and of container and TTL creates, whose results come back under create2's type.
    Create2 {
        /// The final path.
        path: Box<str>,
        /// The new node's.
        stat: Stat,
    },
    /// Of a delete.
    Delete,
    /// Of a setData.
    SetData {
        /// After the change.
        stat: Stat,
    },
    /// Of a check.
    Check,
    /// Of a getData.
    GetData {
        /// Null and empty are different.
        data: Option<Bytes>,
        /// The node's.
        stat: Stat,
    },
    /// Of a getChildren.
    GetChildren {
        /// Names, not paths.
        children: Vec<Box<str>>,
    },
    /// A failure. In a failed multi every result is one: 0 before the culprit, its code, -2 after it.
    Error {
        /// ZooKeeper's number.
        code: i32,
    },
}

impl MultiResult {
    /// Appends header and record.
    pub fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Create { path } => {
                put_header(op::CREATE, false, 0, out);
                out.put_text(path);
            }
            Self::Create2 { path, stat } => {
                put_header(op::CREATE2, false, 0, out);
                out.put_text(path);
                out.put_stat(stat);
            }
            Self::Delete => put_header(op::DELETE, false, 0, out),
            Self::SetData { stat } => {
                put_header(op::SET_DATA, false, 0, out);
                out.put_stat(stat);
            }
            Self::Check => put_header(op::CHECK, false, 0, out),
            Self::GetData { data, stat } => {
                put_header(op::GET_DATA, false, 0, out);
                out.put_buffer(data.as_deref());
                out.put_stat(stat);
            }
            Self::GetChildren { children } => {
                put_header(op::GET_CHILDREN, false, 0, out);
                out.put_texts(children.iter());
            }
            Self::Error { code } => {
                put_header(op::ERROR, false, *code, out);
                out.put_i32(*code);
            }
        }
    }

    fn read(kind: i32, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match kind {
            op::CREATE => Self::Create {
                path: r.text("path")?,
            },
            op::CREATE2 => Self::Create2 {
                path: r.text("path")?,
                stat: r.stat()?,
            },
            op::DELETE => Self::Delete,
            op::SET_DATA => Self::SetData { stat: r.stat()? },
            op::CHECK => Self::Check,
            op::GET_DATA => Self::GetData {
                data: r.buffer("data")?,
                stat: r.stat()?,
            },
            op::GET_CHILDREN => Self::GetChildren {
                children: r.texts("children")?,
            },
            op::ERROR => Self::Error {
                code: r.i32("err")?,
            },
            other => {
                return Err(WireError::Unknown {
                    what: "type of a result",
                    offset: r.position(),
                    value: other.into(),
                });
            }
        })
    }
}

/// Appends what ends a sequence of results.
pub fn put_multi_end(out: &mut BytesMut) {
    put_header(-1, true, -1, out);
}

/// The results of a `multi` or `multiRead`.
pub(super) fn read_multi_results(r: &mut Reader<'_>) -> Result<Vec<MultiResult>, WireError> {
    let mut all = Vec::new();
    loop {
        let offset = r.position();
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(all);
        }
        let result = MultiResult::read(header.kind, r)?;
        if let MultiResult::Error { code } = result
            && code != header.err
        {
            return Err(WireError::Unknown {
                what: "err beside another err in multi",
                offset,
                value: header.err.into(),
            });
        }
        all.push(result);
    }
}
