//! The reads and writes that requests carry, each with its record, and the sequences of them inside `multi` and `multiRead`.

use super::multi::{MultiHeader, put_header};
use super::opcode as op;
use crate::wire::cursor::{JuteWrite, Reader, WireError};
use bytes::{BufMut, BytesMut};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

/// The record of a write that stands alone; nothing if `opcode` is none.
#[inline]
pub(super) fn read_write(opcode: i32, r: &mut Reader<'_>) -> Result<Option<WriteOp>, WireError> {
    Ok(Some(match opcode {
        op::CREATE
        | op::CREATE2
        | op::CREATE_CONTAINER
        | op::CREATE_TTL
        | op::DELETE
        | op::SET_DATA => read_write_op(opcode, r)?,
        op::SET_ACL => WriteOp::SetAcl {
            path: r.ustring("path")?,
            acl: r.acl()?,
            version: r.i32("version")?,
        },
        op::MULTI => WriteOp::Multi(read_all(r, read_write_op)?),
        op::CREATE_SESSION => WriteOp::CreateSession {
            timeout_ms: r.i32("timeOut")?,
        },
        op::CLOSE_SESSION => WriteOp::CloseSession,
        _ => return Ok(None),
    }))
}

/// The record of a read that stands alone; nothing if `opcode` is none.
#[inline]
pub(super) fn read_read(opcode: i32, r: &mut Reader<'_>) -> Result<Option<ReadOp>, WireError> {
    Ok(Some(match opcode {
        op::GET_DATA | op::GET_CHILDREN => read_read_op(opcode, r)?,
        op::EXISTS => ReadOp::Exists {
            path: r.text("path")?,
            watch: r.bool("watch")?,
        },
        op::GET_CHILDREN2 => ReadOp::GetChildren2 {
            path: r.text("path")?,
            watch: r.bool("watch")?,
        },
        op::GET_ACL => ReadOp::GetAcl {
            path: r.text("path")?,
        },
        op::GET_EPHEMERALS => ReadOp::GetEphemerals {
            prefix: r.ustring("prefixPath")?,
        },
        op::GET_ALL_CHILDREN_NUMBER => ReadOp::GetAllChildrenNumber {
            path: r.text("path")?,
        },
        op::MULTI_READ => ReadOp::MultiRead(read_all(r, read_read_op)?),
        _ => return Ok(None),
    }))
}

/// The writes that may stand alone and in a multi, and `check`, which may only stand in one.
#[inline]
fn read_write_op(opcode: i32, r: &mut Reader<'_>) -> Result<WriteOp, WireError> {
    let kind = match opcode {
        op::CREATE => CreateKind::Create,
        op::CREATE2 => CreateKind::Create2,
        op::CREATE_CONTAINER => CreateKind::Container,
        op::CREATE_TTL => CreateKind::Ttl,
        op::DELETE => {
            return Ok(WriteOp::Delete {
                path: r.ustring("path")?,
                version: r.i32("version")?,
            });
        }
        op::SET_DATA => {
            return Ok(WriteOp::SetData {
                path: r.ustring("path")?,
                data: r.buffer("data")?,
                version: r.i32("version")?,
            });
        }
        op::CHECK => {
            return Ok(WriteOp::Check {
                path: r.ustring("path")?,
                version: r.i32("version")?,
            });
        }
        other => {
            return Err(WireError::Unknown {
                what: "type in multi",
                offset: r.position(),
                value: other.into(),
            });
        }
    };
    Ok(WriteOp::Create {
        kind,
        path: r.ustring("path")?,
        data: r.buffer("data")?,
        acl: r.acl()?,
        flags: r.i32("flags")?,
        ttl: match kind {
            CreateKind::Ttl => r.i64("ttl")?,
            CreateKind::Create | CreateKind::Create2 | CreateKind::Container => 0,
        },
    })
}

/// The reads that may stand alone and in a multiRead.
#[inline]
fn read_read_op(opcode: i32, r: &mut Reader<'_>) -> Result<ReadOp, WireError> {
    match opcode {
        op::GET_DATA => Ok(ReadOp::GetData {
            path: r.text("path")?,
            watch: r.bool("watch")?,
        }),
        op::GET_CHILDREN => Ok(ReadOp::GetChildren {
            path: r.text("path")?,
            watch: r.bool("watch")?,
        }),
        other => Err(WireError::Unknown {
            what: "type in multiRead",
            offset: r.position(),
            value: other.into(),
        }),
    }
}

/// Reads elements until the header that says done.
fn read_all<T>(
    r: &mut Reader<'_>,
    mut element: impl FnMut(i32, &mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut all = Vec::new();
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(all);
        }
        r.take_parts(1, "parts of multi")?;
        all.push(element(header.kind, r)?);
    }
}

/// The operation code of a write.
#[must_use]
pub const fn write_opcode(op: &WriteOp) -> i32 {
    match op {
        WriteOp::Create { kind, .. } => match kind {
            CreateKind::Create => op::CREATE,
            CreateKind::Create2 => op::CREATE2,
            CreateKind::Container => op::CREATE_CONTAINER,
            CreateKind::Ttl => op::CREATE_TTL,
        },
        WriteOp::Delete { .. } => op::DELETE,
        WriteOp::SetData { .. } => op::SET_DATA,
        WriteOp::SetAcl { .. } => op::SET_ACL,
        WriteOp::Check { .. } => op::CHECK,
        WriteOp::Multi(_) => op::MULTI,
        WriteOp::CreateSession { .. } => op::CREATE_SESSION,
        WriteOp::CloseSession => op::CLOSE_SESSION,
    }
}

/// The operation code of a read.
#[must_use]
pub const fn read_opcode(op: &ReadOp) -> i32 {
    match op {
        ReadOp::Exists { .. } => op::EXISTS,
        ReadOp::GetData { .. } => op::GET_DATA,
        ReadOp::GetAcl { .. } => op::GET_ACL,
        ReadOp::GetChildren { .. } => op::GET_CHILDREN,
        ReadOp::GetChildren2 { .. } => op::GET_CHILDREN2,
        ReadOp::GetEphemerals { .. } => op::GET_EPHEMERALS,
        ReadOp::GetAllChildrenNumber { .. } => op::GET_ALL_CHILDREN_NUMBER,
        ReadOp::MultiRead(_) => op::MULTI_READ,
    }
}

/// Appends the record of a write.
pub(super) fn put_write_record(op: &WriteOp, out: &mut BytesMut) {
    match op {
        WriteOp::Create {
            kind,
            path,
            data,
            acl,
            flags,
            ttl,
        } => {
            out.put_ustring(path.as_deref());
            out.put_buffer(data.as_deref());
            out.put_acl(acl.as_deref());
            out.put_i32(*flags);
            if *kind == CreateKind::Ttl {
                out.put_i64(*ttl);
            }
        }
        WriteOp::Delete { path, version } | WriteOp::Check { path, version } => {
            out.put_ustring(path.as_deref());
            out.put_i32(*version);
        }
        WriteOp::SetData {
            path,
            data,
            version,
        } => {
            out.put_ustring(path.as_deref());
            out.put_buffer(data.as_deref());
            out.put_i32(*version);
        }
        WriteOp::SetAcl { path, acl, version } => {
            out.put_ustring(path.as_deref());
            out.put_acl(acl.as_deref());
            out.put_i32(*version);
        }
        WriteOp::Multi(ops) => put_multi_write(ops, out),
        WriteOp::CreateSession { timeout_ms } => out.put_i32(*timeout_ms),
        WriteOp::CloseSession => {}
    }
}

/// Appends the record of a read.
pub(super) fn put_read_record(op: &ReadOp, out: &mut BytesMut) {
    match op {
        ReadOp::Exists { path, watch }
        | ReadOp::GetData { path, watch }
        | ReadOp::GetChildren { path, watch }
        | ReadOp::GetChildren2 { path, watch } => {
            out.put_text(path);
            out.put_bool(*watch);
        }
        ReadOp::GetAcl { path } | ReadOp::GetAllChildrenNumber { path } => out.put_text(path),
        ReadOp::GetEphemerals { prefix } => out.put_ustring(prefix.as_deref()),
        ReadOp::MultiRead(ops) => put_multi_read(ops, out),
    }
}

/// Appends the operations of a `multi`.
fn put_multi_write(ops: &[WriteOp], out: &mut BytesMut) {
    for op in ops {
        put_header(write_opcode(op), false, -1, out);
        put_write_record(op, out);
    }
    put_header(-1, true, -1, out);
}

/// Appends the operations of a `multiRead`.
fn put_multi_read(ops: &[ReadOp], out: &mut BytesMut) {
    for op in ops {
        put_header(read_opcode(op), false, -1, out);
        put_read_record(op, out);
    }
    put_header(-1, true, -1, out);
}
