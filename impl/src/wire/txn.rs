//! The payload of log entries and proposals: header, transaction and, if its writer keeps one, a digest of the tree.
//!
//! Readers tell old and optional forms apart by the bytes that are left, so a payload must be handed over whole and alone.

use super::cursor::{JuteWrite, Reader, WireError};
use super::frame::put_frame;
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::ids::SessionId;
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
pub struct Payload {
    /// Who, where in the history, when.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// If its writer keeps one.
    pub digest: Option<TxnDigest>,
}

/// Reads the header of a payload and the transaction's type, and leaves the rest: what routing and recovery need.
///
/// Errors: fewer than 32 bytes.
pub fn read_header(payload: &Bytes) -> Result<(TxnHeader, i32), WireError> {
    header(&mut Reader::new(payload))
}

fn header(r: &mut Reader<'_>) -> Result<(TxnHeader, i32), WireError> {
    let header = TxnHeader {
        session: SessionId(r.i64("clientId")?),
        cxid: r.i32("cxid")?,
        zxid: r.zxid("zxid")?,
        time: r.i64("time")?,
    };
    Ok((header, r.i32("type")?))
}

/// Reads a payload.
///
/// Errors: a body that ends early or has an illegal length, an unknown type, a multi inside a multi. In a log or a proposal
/// that is fatal: its sums were right, so its writer means something we do not know.
pub fn read_txn(payload: &Bytes) -> Result<Payload, WireError> {
    let mut reader = Reader::new(payload);
    let r = &mut reader;
    let (header, kind) = header(r)?;
    let txn = match kind {
        kind::MULTI => Txn::Multi(multi(r)?),
        kind::CLOSE_SESSION => Txn::CloseSession {
            paths: close_session_paths(r)?,
        },
        kind => body(kind, r)?,
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
fn close_session_paths(r: &mut Reader<'_>) -> Result<Option<Vec<Box<str>>>, WireError> {
    match r.remaining() {
        0 => Ok(None),
        DIGEST_BYTES if r.clone().i32("digest version")? == DIGEST_VERSION => Ok(None),
        _ => r.vector("paths", 4, |r| {
            let offset = r.position();
            match r.text("path")? {
                path if path.is_empty() => Err(WireError::Unknown {
                    what: "length of an ephemeral node's path",
                    offset,
                    value: 0,
                }),
                path => Ok(path),
            }
        }),
    }
}

fn multi(r: &mut Reader<'_>) -> Result<Vec<Txn>, WireError> {
    let offset = r.position();
    r.vector("txns", 8, |r| {
        let kind = r.i32("type")?;
        let offset = r.position();
        let inner = r.buffer("data")?.ok_or(WireError::Null {
            what: "txn in multi",
            offset,
        })?;
        let mut inner = Reader::new(&inner);
        body(kind, &mut inner)
    })?
    .ok_or(WireError::Null {
        what: "txns",
        offset,
    })
}

/// All types but multi and closeSession, which are whole payloads and have no place in a multi.
fn body(kind: i32, r: &mut Reader<'_>) -> Result<Txn, WireError> {
    Ok(match kind {
        kind::CREATE | kind::CREATE2 | kind::CREATE_CONTAINER | kind::CREATE_TTL => {
            create(kind, r)?
        }
        kind::DELETE | kind::DELETE_CONTAINER => Txn::Delete {
            path: r.text("path")?,
            container: kind == kind::DELETE_CONTAINER,
        },
        kind::SET_DATA | kind::RECONFIG => Txn::SetData {
            path: r.text("path")?,
            data: r.buffer("data")?,
            version: r.i32("version")?,
            reconfig: kind == kind::RECONFIG,
        },
        kind::SET_ACL => Txn::SetAcl {
            path: r.text("path")?,
            acl: r.acl()?.unwrap_or_default(),
            version: r.i32("version")?,
        },
        kind::CHECK => Txn::Check {
            path: r.text("path")?,
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

fn create(kind: i32, r: &mut Reader<'_>) -> Result<Txn, WireError> {
    let path = r.text("path")?;
    let data = r.buffer("data")?;
    let acl = r.acl()?.unwrap_or_default();
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zabra_model::ids::Zxid;
    use zabra_model::tree::acl::{AclEntry, Id};

    fn payload(txn: Txn, digest: Option<TxnDigest>) -> Payload {
        let header = TxnHeader {
            session: SessionId(-7),
            cxid: 3,
            zxid: Zxid(0x1_0000_0002),
            time: 1_700_000_000_000,
        };
        Payload {
            header,
            txn,
            digest,
        }
    }

    /// Twelve bytes behind a closeSession are a digest or a list, and a list of two empty paths would be either.
    #[test]
    fn a_closed_session_has_no_node_without_a_path() {
        let paths = vec!["".into(), "".into()];
        let txn = Txn::CloseSession { paths: Some(paths) };
        let mut bytes = BytesMut::from(&bytes_of(&payload(txn, None))[..]);
        bytes.put_slice(&[0x0f, 0]);
        assert!(matches!(
            read_txn(&bytes.freeze()),
            Err(WireError::Unknown { value: 0, .. })
        ));
    }

    fn bytes_of(payload: &Payload) -> Bytes {
        let mut out = BytesMut::new();
        put_txn(&payload.header, &payload.txn, payload.digest, &mut out);
        out.freeze()
    }

    fn paths() -> impl Strategy<Value = Box<str>> {
        "/[a-zé]{1,6}".prop_map(Into::into)
    }

    fn acls() -> impl Strategy<Value = Vec<AclEntry>> {
        let entry =
            (any::<u32>(), "[a-z]{0,6}", "[a-z:]{0,6}").prop_map(|(perms, scheme, id)| AclEntry {
                perms,
                id: Id {
                    scheme: scheme.into(),
                    id: id.into(),
                },
            });
        prop::collection::vec(entry, 0..3)
    }

    fn data() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from))
    }

    fn created() -> impl Strategy<Value = Created> {
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(ephemeral, with_stat)| Created::Node {
                ephemeral,
                with_stat
            }),
            Just(Created::Container),
            any::<i64>().prop_map(|ttl_ms| Created::Ttl { ttl_ms }),
        ]
    }

    fn simple() -> impl Strategy<Value = Txn> {
        prop_oneof![
            (paths(), data(), acls(), created(), any::<i32>()).prop_map(
                |(path, data, acl, created, parent_cversion)| Txn::Create {
                    path,
                    data,
                    acl,
                    created,
                    parent_cversion
                }
            ),
            (paths(), any::<bool>()).prop_map(|(path, container)| Txn::Delete { path, container }),
            (paths(), data(), any::<i32>(), any::<bool>()).prop_map(
                |(path, data, version, reconfig)| Txn::SetData {
                    path,
                    data,
                    version,
                    reconfig
                }
            ),
            (paths(), acls(), any::<i32>()).prop_map(|(path, acl, version)| Txn::SetAcl {
                path,
                acl,
                version
            }),
            (paths(), any::<i32>()).prop_map(|(path, version)| Txn::Check { path, version }),
            any::<i32>().prop_map(|code| Txn::Error { code }),
            any::<i32>().prop_map(|timeout_ms| Txn::CreateSession { timeout_ms }),
        ]
    }

    fn txns() -> impl Strategy<Value = Txn> {
        prop_oneof![
            4 => simple(),
            1 => prop::collection::vec(simple(), 0..5).prop_map(Txn::Multi),
            1 => prop::option::of(prop::collection::vec(paths(), 0..4))
                .prop_map(|paths| Txn::CloseSession { paths }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(txn in txns(), tree in prop::option::of(any::<i64>())) {
            let digest = tree.map(|tree| TxnDigest { version: 2, tree });
            let payload = payload(txn, digest);
            prop_assert_eq!(read_txn(&bytes_of(&payload)), Ok(payload));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(
            kind in -11..23_i32,
            body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..80),
        ) {
            let mut raw = vec![0; 28];
            raw.extend_from_slice(&kind.to_be_bytes());
            raw.extend_from_slice(&body);
            let _ = read_txn(&raw.into());
        }

        #[test]
        fn a_payload_cut_short_never_panics(txn in txns(), cut in 0..200_usize) {
            let mut whole = bytes_of(&payload(txn, None));
            whole.truncate(cut);
            let _ = read_txn(&whole);
        }
    }

    #[test]
    fn a_closed_session_with_one_short_path_is_not_taken_for_a_digest() {
        let list = Txn::CloseSession {
            paths: Some(vec!["/abc".into()]),
        };
        let payload = payload(list, None);
        let bytes = bytes_of(&payload);
        assert_eq!(bytes.len(), TXN_HEADER_BYTES + DIGEST_BYTES);
        assert_eq!(read_txn(&bytes), Ok(payload));
    }

    #[test]
    fn a_closed_session_without_paths_reads_back_whatever_the_version_of_its_digest() {
        for version in [DIGEST_VERSION, 0, 1, -1, i32::MIN] {
            let digest = TxnDigest { version, tree: 7 };
            let payload = payload(Txn::CloseSession { paths: None }, Some(digest));
            assert_eq!(read_txn(&bytes_of(&payload)), Ok(payload), "{version}");
        }
    }

    #[test]
    fn a_create_of_a_very_old_log_has_no_parent_version() {
        let txn = |parent_cversion| Txn::Create {
            path: "/a".into(),
            data: None,
            acl: vec![],
            created: Created::Node {
                ephemeral: false,
                with_stat: false,
            },
            parent_cversion,
        };
        let mut bytes = bytes_of(&payload(txn(9), None));
        bytes.truncate(bytes.len() - 4);
        assert_eq!(read_txn(&bytes), Ok(payload(txn(-1), None)));
    }

    #[test]
    fn a_multi_inside_a_multi_is_refused() {
        let nested = payload(Txn::Multi(vec![Txn::Multi(vec![])]), None);
        assert!(matches!(
            read_txn(&bytes_of(&nested)),
            Err(WireError::Unknown { value: 14, .. })
        ));
    }
}
