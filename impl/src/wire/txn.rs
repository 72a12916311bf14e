//! The payload of log entries and proposals: header, transaction and, if its writer keeps one, a digest of the tree.
//!
//! Readers tell old and optional forms apart by the bytes that are left, so a payload must be handed over whole and alone.

use super::cursor::{AclMemo, JuteWrite, Reader, WireError};
use super::frame::put_frame;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use std::rc::Rc;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::AclEntry;
use zabra_model::tree::txn::{Created, Txn, TxnHeader};

/// Types of transactions, which are operation codes.
mod kind {
    pub(super) const CREATE: i32 = 1;
    pub(super) const DELETE: i32 = 2;
    pub(super) const SET_DATA: i32 = 5;
    pub(super) const SET_ACL: i32 = 7;
    pub(super) const CHECK: i32 = 13;
    pub(super) const MULTI: i32 = 14;
    pub(super) const CREATE2: i32 = 15;
    pub(super) const RECONFIG: i32 = 16;
    pub(super) const CREATE_CONTAINER: i32 = 19;
    pub(super) const DELETE_CONTAINER: i32 = 20;
    pub(super) const CREATE_TTL: i32 = 21;
    pub(super) const CREATE_SESSION: i32 = -10;
    pub(super) const CLOSE_SESSION: i32 = -11;
    pub(super) const ERROR: i32 = -1;
}

/// Bytes of a header.
pub const TXN_HEADER_BYTES: usize = 32;

/// Bytes of a digest: version and value.
const DIGEST_BYTES: usize = 12;

/// The only version of digests that is written.
const DIGEST_VERSION: i32 = 2;

/// The digest of the whole tree after a transaction. Zabra writes none, which is legal everywhere, and compares none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TxnDigest {
    /// 2.
    pub version: i32,
    /// The sum over all nodes.
    pub tree: i64,
}

/// The type that stands in a transaction's header.
#[must_use]
pub const fn txn_type(txn: &Txn) -> i32 {
    match txn {
        Txn::Create { created, .. } => match created {
            Created::Node {
                with_stat: false, ..
            } => kind::CREATE,
            Created::Node {
                with_stat: true, ..
            } => kind::CREATE2,
            Created::Container => kind::CREATE_CONTAINER,
            Created::Ttl { .. } => kind::CREATE_TTL,
        },
        Txn::Delete {
            container: false, ..
        } => kind::DELETE,
        Txn::Delete {
            container: true, ..
        } => kind::DELETE_CONTAINER,
        Txn::SetData {
            reconfig: false, ..
        } => kind::SET_DATA,
        Txn::SetData { reconfig: true, .. } => kind::RECONFIG,
        Txn::SetAcl { .. } => kind::SET_ACL,
        Txn::Check { .. } => kind::CHECK,
        Txn::Multi(_) => kind::MULTI,
        Txn::CreateSession { .. } => kind::CREATE_SESSION,
        Txn::CloseSession { .. } => kind::CLOSE_SESSION,
        Txn::Error { .. } => kind::ERROR,
    }
}

/// Appends a payload to `out`.
pub fn put_txn(header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>, out: &mut BytesMut) {
    let mut raw = [0_u8; TXN_HEADER_BYTES];
    let mut at = raw.as_mut_slice();
    at.put_i64(header.session.0);
    at.put_i32(header.cxid);
    at.put_u64(header.zxid.0);
    at.put_i64(header.time);
    at.put_i32(txn_type(txn));
    out.put_slice(&raw);
    put_body(txn, out);
    if let Some(digest) = digest {
        if matches!(txn, Txn::CloseSession { paths: None }) && digest.version != DIGEST_VERSION {
            // Without a list that says that it is none, such a digest would read as a list.
            out.put_i32(-1);
        }
        out.put_i32(digest.version);
        out.put_i64(digest.tree);
    }
}

fn put_body(txn: &Txn, out: &mut BytesMut) {
    match txn {
        Txn::Create {
            path,
            data,
            acl,
            created,
            parent_cversion,
        } => {
            out.put_text(path);
            out.put_buffer(data.as_deref());
            out.put_acl(Some(acl));
            match created {
                Created::Node { ephemeral, .. } => {
                    out.put_bool(*ephemeral);
                    out.put_i32(*parent_cversion);
                }
                Created::Container => out.put_i32(*parent_cversion),
                Created::Ttl { ttl_ms } => {
                    out.put_i32(*parent_cversion);
                    out.put_i64(*ttl_ms);
                }
            }
        }
        Txn::Delete { path, .. } => out.put_text(path),
        Txn::SetData {
            path,
            data,
            version,
            ..
        } => {
            out.put_text(path);
            out.put_buffer(data.as_deref());
            out.put_i32(*version);
        }
        Txn::SetAcl { path, acl, version } => {
            out.put_text(path);
            out.put_acl(Some(acl));
            out.put_i32(*version);
        }
        Txn::Check { path, version } => {
            out.put_text(path);
            out.put_i32(*version);
        }
        Txn::Multi(txns) => {
            out.put_count(txns.len());
            for txn in txns {
                out.put_i32(txn_type(txn));
                // A buffer is a length and bytes, which is also what a frame is.
                put_frame(out, |b| put_body(txn, b));
            }
        }
        Txn::CreateSession { timeout_ms } => out.put_i32(*timeout_ms),
        Txn::CloseSession { paths } => {
            if let Some(paths) = paths {
                out.put_texts(paths.iter());
            }
        }
        Txn::Error { code } => out.put_i32(*code),
    }
}

/// Has a transaction share the data that its `payload` holds, so that it keeps nothing of the memory that the data came in.
pub fn share_data(txn: &mut Txn, payload: &Bytes) {
    match txn {
        Txn::Create { data, .. } | Txn::SetData { data, .. } => {
            share(data, payload, TXN_HEADER_BYTES);
        }
        Txn::Multi(txns) => {
            // Behind the count, each has a type and a length.
            let mut at = TXN_HEADER_BYTES + 4;
            for txn in txns {
                let Some(length) = length_at(payload, at + 4) else {
                    return;
                };
                at += 8;
                if let Txn::Create { data, .. } | Txn::SetData { data, .. } = txn {
                    share(data, payload, at);
                }
                at += length;
            }
        }
        Txn::Delete { .. }
        | Txn::SetAcl { .. }
        | Txn::Check { .. }
        | Txn::CreateSession { .. }
        | Txn::CloseSession { .. }
        | Txn::Error { .. } => {}
    }
}

/// `data` is behind the path that begins `at`.
fn share(data: &mut Option<Bytes>, payload: &Bytes, at: usize) {
    let begin = length_at(payload, at).map(|path| at + 4 + path);
    if let (Some(data), Some(begin)) = (data, begin)
        && length_at(payload, begin) == Some(data.len())
    {
        *data = payload.slice(begin + 4..begin + 4 + data.len());
    }
}

fn length_at(payload: &[u8], at: usize) -> Option<usize> {
    let four = payload.get(at..)?.first_chunk::<4>()?;
    usize::try_from(i32::from_be_bytes(*four)).ok()
}

/// A decoded payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload<T = Txn> {
    /// Who, where in the history, when.
    pub header: TxnHeader,
    /// What.
    pub txn: T,
    /// If its writer keeps one.
    pub digest: Option<TxnDigest>,
}

/// A transaction that is applied and then forgotten: what it is about lies where it was read.
pub type LentTxn<'p> = Txn<Cow<'p, str>, &'p [u8], Rc<[AclEntry]>>;

/// What a decoded transaction holds its parts in.
trait Parts<'p> {
    type Text: AsRef<str>;
    type Data;
    type Acl;

    fn text(&mut self, r: &mut Reader<'p>, what: &'static str) -> Result<Self::Text, WireError>;
    fn data(&mut self, r: &mut Reader<'p>) -> Result<Option<Self::Data>, WireError>;
    fn acl(&mut self, r: &mut Reader<'p>) -> Result<Self::Acl, WireError>;
}

type TxnOf<'p, F> = Txn<<F as Parts<'p>>::Text, <F as Parts<'p>>::Data, <F as Parts<'p>>::Acl>;

/// In memory of its own, or in that of the payload.
struct Kept;

impl<'p> Parts<'p> for Kept {
    type Text = Box<str>;
    type Data = Bytes;
    type Acl = Vec<AclEntry>;

    fn text(&mut self, r: &mut Reader<'p>, what: &'static str) -> Result<Box<str>, WireError> {
        r.text(what)
    }

    fn data(&mut self, r: &mut Reader<'p>) -> Result<Option<Bytes>, WireError> {
        r.buffer("data")
    }

    fn acl(&mut self, r: &mut Reader<'p>) -> Result<Vec<AclEntry>, WireError> {
        Ok(r.acl()?.unwrap_or_default())
    }
}

/// Where they lie.
impl<'p> Parts<'p> for AclMemo {
    type Text = Cow<'p, str>;
    type Data = &'p [u8];
    type Acl = Rc<[AclEntry]>;

    fn text(&mut self, r: &mut Reader<'p>, what: &'static str) -> Result<Cow<'p, str>, WireError> {
        r.lent_text(what)
    }

    fn data(&mut self, r: &mut Reader<'p>) -> Result<Option<&'p [u8]>, WireError> {
        r.lent_buffer("data")
    }

    fn acl(&mut self, r: &mut Reader<'p>) -> Result<Rc<[AclEntry]>, WireError> {
        r.shared_acl(self)
    }
}

/// Reads the header of a payload and the transaction's type, and leaves the rest: what routing and recovery need.
///
/// Errors: fewer than 32 bytes.
pub fn read_header(payload: &Bytes) -> Result<(TxnHeader, i32), WireError> {
    header(&mut Reader::new(payload))
}

fn header(r: &mut Reader<'_>) -> Result<(TxnHeader, i32), WireError> {
    let raw = r.array::<TXN_HEADER_BYTES>("header of a transaction")?;
    let mut at = raw.as_slice();
    let header = TxnHeader {
        session: SessionId(at.get_i64()),
        cxid: at.get_i32(),
        zxid: Zxid(at.get_u64()),
        time: at.get_i64(),
    };
    Ok((header, at.get_i32()))
}

/// Reads a payload.
///
/// Errors: a body that ends early or has an illegal length, an unknown type, a multi inside a multi. In a log or a proposal
/// that is fatal: its sums were right, so its writer means something we do not know.
pub fn read_txn(payload: &Bytes) -> Result<Payload, WireError> {
    read_parts(&mut Reader::new(payload), &mut Kept)
}

/// The same, of a payload that outlives its transaction. `memo` is that of the payload before.
///
/// Errors: as of [`read_txn`].
pub fn read_lent_txn<'p>(
    payload: &'p [u8],
    memo: &mut AclMemo,
) -> Result<Payload<LentTxn<'p>>, WireError> {
    read_parts(&mut Reader::lent(payload), memo)
}

fn read_parts<'p, F: Parts<'p>>(
    r: &mut Reader<'p>,
    form: &mut F,
) -> Result<Payload<TxnOf<'p, F>>, WireError> {
    let (header, kind) = header(r)?;
    let txn = match kind {
        kind::MULTI => Txn::Multi(multi(r, form)?),
        kind::CLOSE_SESSION => Txn::CloseSession {
            paths: close_session_paths(r, form)?,
        },
        kind => body(kind, r, form)?,
    };
    // Fewer bytes than a digest are ignored, as ZooKeeper does.
    let digest = if r.remaining() >= DIGEST_BYTES {
        Some(TxnDigest {
            version: r.i32("digest version")?,
            tree: r.i64("tree digest")?,
        })
    } else {
        None
    };
    Ok(Payload {
        header,
        txn,
        digest,
    })
}

/// Whether the paths are listed at all is told by what is left.
///
/// With 12 bytes left it is either a digest alone or a list without digest, as of the single path "/abc". They differ in the
/// first integer: a digest's version is 2, and a list of two paths needs more than 12 bytes, as no path is empty; one that is, is refused.
fn close_session_paths<'p, F: Parts<'p>>(
    r: &mut Reader<'p>,
    form: &mut F,
) -> Result<Option<Vec<F::Text>>, WireError> {
    match r.remaining() {
        0 => Ok(None),
        DIGEST_BYTES if r.clone().i32("digest version")? == DIGEST_VERSION => Ok(None),
        _ => r.vector("paths", 4, |r| {
            let offset = r.position();
            match form.text(r, "path")? {
                path if path.as_ref().is_empty() => Err(WireError::Unknown {
                    what: "length of an ephemeral node's path",
                    offset,
                    value: 0,
                }),
                path => Ok(path),
            }
        }),
    }
}

fn multi<'p, F: Parts<'p>>(
    r: &mut Reader<'p>,
    form: &mut F,
) -> Result<Vec<TxnOf<'p, F>>, WireError> {
    let offset = r.position();
    r.vector("txns", 8, |r| {
        let kind = r.i32("type")?;
        let offset = r.position();
        let inner = r.lent_buffer("data")?.ok_or(WireError::Null {
            what: "txn in multi",
            offset,
        })?;
        body(kind, &mut r.inner(inner), form)
    })?
    .ok_or(WireError::Null {
        what: "txns",
        offset,
    })
}

/// All types but multi and closeSession, which are whole payloads and have no place in a multi.
fn body<'p, F: Parts<'p>>(
    kind: i32,
    r: &mut Reader<'p>,
    form: &mut F,
) -> Result<TxnOf<'p, F>, WireError> {
    Ok(match kind {
        kind::CREATE | kind::CREATE2 | kind::CREATE_CONTAINER | kind::CREATE_TTL => {
            create(kind, r, form)?
        }
        kind::DELETE | kind::DELETE_CONTAINER => Txn::Delete {
            path: form.text(r, "path")?,
            container: kind == kind::DELETE_CONTAINER,
        },
        kind::SET_DATA | kind::RECONFIG => Txn::SetData {
            path: form.text(r, "path")?,
            data: form.data(r)?,
            version: r.i32("version")?,
            reconfig: kind == kind::RECONFIG,
        },
        kind::SET_ACL => Txn::SetAcl {
            path: form.text(r, "path")?,
            acl: form.acl(r)?,
            version: r.i32("version")?,
        },
        kind::CHECK => Txn::Check {
            path: form.text(r, "path")?,
            version: r.i32("version")?,
        },
        kind::CREATE_SESSION => Txn::CreateSession {
            timeout_ms: r.i32("timeOut")?,
        },
        kind::ERROR => Txn::Error {
            code: r.i32("err")?,
        },
        other => {
            return Err(WireError::Unknown {
                what: "type of a transaction",
                offset: r.position(),
                value: other.into(),
            });
        }
    })
}

fn create<'p, F: Parts<'p>>(
    kind: i32,
    r: &mut Reader<'p>,
    form: &mut F,
) -> Result<TxnOf<'p, F>, WireError> {
    let path = form.text(r, "path")?;
    let data = form.data(r)?;
    let acl = form.acl(r)?;
    let (created, parent_cversion) = match kind {
        kind::CREATE_CONTAINER => (Created::Container, r.i32("parentCVersion")?),
        kind::CREATE_TTL => {
            let parent_cversion = r.i32("parentCVersion")?;
            let ttl_ms = r.i64("ttl")?;
            (Created::Ttl { ttl_ms }, parent_cversion)
        }
        _ => {
            let created = Created::Node {
                ephemeral: r.bool("ephemeral")?,
                with_stat: kind == kind::CREATE2,
            };
            // Very old logs end here.
            let parent_cversion = match r.remaining() {
                0 if kind == kind::CREATE => -1,
                _ => r.i32("parentCVersion")?,
            };
            (created, parent_cversion)
        }
    };
    Ok(Txn::Create {
        path,
        data,
        acl,
        created,
        parent_cversion,
    })
}

#[cfg(test)]
mod tests;
