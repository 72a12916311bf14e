//! Sessions, ACL table and nodes: the part that snapshot files and the SNAP stream of the quorum protocol share.
//!
//! ```text
//! i32 count { i64 session, i32 timeout }*
//! i32 count { i64 aclId, vector<ACL> }*
//! { ustring path, buffer data, i64 aclId, StatPersisted }*   parents first, the root is ""
//! ustring "/"
//! ```
//! The SNAP stream then ends with a signature; a file with a seal.

use crate::wire::cursor::FIELD_BYTES_MAX;
use bytes::Buf;
use std::collections::HashMap;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{Acl, AclEntry, Id, perms};
use zabra_model::tree::stat::StatPersisted;

/// The id of "anyone may do anything", which is in no table.
const OPEN_ACL_ID: i64 = -1;
const STAT_BYTES: usize = 60;
/// Ends the SNAP stream.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";
/// No session, ACL list or node is larger: a reader need not gather more bytes than this for one. The longest field, and what is
/// beside it.
pub const ELEMENT_BYTES_MAX: usize = FIELD_BYTES_MAX + (8 << 20);
/// No list has more entries: each has at least three integers, and the list came in a transaction.
const ACL_ENTRIES_MAX: u32 = (FIELD_BYTES_MAX / 12) as u32;

/// A node as a snapshot holds it.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    /// Absolute path; the root is "" here.
    pub path: &'a str,
    /// Null and empty data are different things.
    pub data: Option<&'a [u8]>,
    /// Its access control list.
    pub acl: &'a [AclEntry],
    /// Its metadata.
    pub stat: &'a StatPersisted,
}

/// Why a [`SnapshotSink`] does not take something, e.g. a node without a parent. The snapshot is then unreadable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub String);

/// Takes what a snapshot holds: sessions first, then nodes, parents before children.
pub trait SnapshotSink {
    /// Forgets everything: the file turned out to be unreadable, another one comes.
    fn clear(&mut self);

    /// A session that was alive.
    ///
    /// # Errors
    /// [`Refused`].
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused>;

    /// A node; the root's path is "".
    ///
    /// # Errors
    /// [`Refused`].
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused>;
}

/// Bytes that are no snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {offset} of the snapshot: {what}")]
pub struct BadBody {
    /// Where the element begins that could not be understood.
    pub offset: u64,
    /// What is wrong with it.
    pub what: String,
}

/// An ACL that was not in the table that the encoder was begun with: our mistake, the caller's list was incomplete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a node has an ACL that was not announced to the snapshot writer")]
pub struct UnknownAcl;

/// Writes a body into a buffer that the caller empties between calls, so it never holds more than one node.
#[derive(Debug)]
pub struct BodyEncoder {
    table: HashMap<Box<[AclEntry]>, i64>,
}

impl BodyEncoder {
    /// Writes sessions and ACL table. `acls` names every list that a node will have; duplicates are welcome.
    pub fn begin<'a>(
        sessions: impl ExactSizeIterator<Item = (SessionId, i32)>,
        acls: impl IntoIterator<Item = &'a [AclEntry]>,
        out: &mut Vec<u8>,
    ) -> Self {
        put_i32(out, sessions.len() as i32);
        for (id, timeout_ms) in sessions {
            put_i64(out, id.0);
            put_i32(out, timeout_ms);
        }
        let mut table: HashMap<Box<[AclEntry]>, i64> = HashMap::new();
        let mut lists = Vec::new();
        for acl in acls {
            if !is_open(acl) && !table.contains_key(acl) {
                lists.push(acl);
                table.insert(acl.into(), lists.len() as i64);
            }
        }
        put_i32(out, lists.len() as i32);
        for (at, acl) in lists.iter().enumerate() {
            put_i64(out, at as i64 + 1);
            put_i32(out, acl.len() as i32);
            for entry in *acl {
                put_i32(out, entry.perms as i32);
                put_bytes(out, Some(entry.id.scheme.as_bytes()));
                put_bytes(out, Some(entry.id.id.as_bytes()));
            }
        }
        Self { table }
    }

    /// Writes one node. The caller keeps the order: the root first, parents before children.
    ///
    /// # Errors
    /// [`UnknownAcl`].
    pub fn node(&self, node: NodeRef<'_>, out: &mut Vec<u8>) -> Result<(), UnknownAcl> {
        let acl_id = if is_open(node.acl) {
            OPEN_ACL_ID
        } else {
            *self.table.get(node.acl).ok_or(UnknownAcl)?
        };
        put_bytes(out, Some(node.path.as_bytes()));
        put_bytes(out, node.data);
        put_i64(out, acl_id);
        let stat = node.stat;
        put_i64(out, stat.czxid.0 as i64);
        put_i64(out, stat.mzxid.0 as i64);
        put_i64(out, stat.ctime);
        put_i64(out, stat.mtime);
        put_i32(out, stat.version);
        put_i32(out, stat.cversion);
        put_i32(out, stat.aversion);
        put_i64(out, stat.ephemeral_owner);
        put_i64(out, stat.pzxid.0 as i64);
        Ok(())
    }

    /// Ends the list of nodes.
    pub fn end(&self, out: &mut Vec<u8>) {
        put_bytes(out, Some(b"/"));
    }

    /// Ends the list of nodes and the SNAP stream.
    pub fn end_stream(&self, out: &mut Vec<u8>) {
        self.end(out);
        out.extend_from_slice(SIGNATURE);
    }
}

fn is_open(acl: &[AclEntry]) -> bool {
    matches!(acl, [e] if e.perms == perms::ALL && &*e.id.scheme == "world" && &*e.id.id == "anyone")
}

pub(crate) fn put_i32(out: &mut Vec<u8>, n: i32) {
    out.extend_from_slice(&n.to_be_bytes());
}

pub(crate) fn put_i64(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(&n.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_i32(out, -1),
        Some(bytes) => {
            put_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    SessionCount,
    Sessions(u32),
    AclCount,
    Acls(u32),
    Nodes,
    Signature,
    Done,
}

/// Reads a body from bytes that arrive in pieces.
///
/// Feed it what is there; it takes whole elements and says how many bytes they were. Keep the rest, and feed it again
/// with more behind it. The rest is below [`ELEMENT_BYTES_MAX`], else the stream is refused.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    stream: bool,
    offset: u64,
    acls: HashMap<i64, Acl>,
    open: Acl,
    /// Nobody may do anything.
    closed: Acl,
    newest: Zxid,
}

/// Why an element could not be taken.
enum Stop {
    NeedMore,
    Bad(String),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Bad(refused.0)
    }
}

impl BodyDecoder {
    /// For the body of a file.
    #[must_use]
    pub fn of_file() -> Self {
        Self::new(false)
    }

    /// For the SNAP stream, which ends with a signature.
    #[must_use]
    pub fn of_stream() -> Self {
        Self::new(true)
    }

    fn new(stream: bool) -> Self {
        let anyone = |perms| AclEntry {
            perms,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        };
        Self {
            state: State::SessionCount,
            stream,
            offset: 0,
            acls: HashMap::new(),
            open: Acl::from([anyone(perms::ALL)]),
            closed: Acl::from([anyone(0)]),
            newest: Zxid::ZERO,
        }
    }

    /// Is the last byte of it taken?
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The largest zxid in any node's metadata. Java's snapshots may contain changes above the zxid in their name.
    #[must_use]
    pub const fn newest(&self) -> Zxid {
        self.newest
    }

    /// Takes as many whole elements as `bytes` holds; the answer is how many bytes they were.
    ///
    /// # Errors
    /// [`BadBody`], also when the sink refuses something.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl SnapshotSink) -> Result<usize, BadBody> {
        let mut cursor = Cursor { rest: bytes };
        loop {
            let before = cursor.rest;
            let taken = bytes.len() - before.len();
            if self.state == State::Done {
                return Ok(taken);
            }
            let what = match self.element(&mut cursor, sink) {
                Ok(()) => {
                    self.offset += (before.len() - cursor.rest.len()) as u64;
                    continue;
                }
                Err(Stop::NeedMore) if before.len() < ELEMENT_BYTES_MAX => return Ok(taken),
                Err(Stop::NeedMore) => {
                    format!("one element is larger than {ELEMENT_BYTES_MAX} bytes")
                }
                Err(Stop::Bad(what)) => what,
            };
            return Err(BadBody {
                offset: self.offset,
                what,
            });
        }
    }

    fn element(&mut self, from: &mut Cursor<'_>, sink: &mut impl SnapshotSink) -> Result<(), Stop> {
        self.state = match self.state {
            State::SessionCount => State::Sessions(from.count()?),
            State::Sessions(0) => State::AclCount,
            State::Sessions(left) => {
                let (id, timeout_ms) = (from.i64()?, from.i32()?);
                sink.session(SessionId(id), timeout_ms)?;
                State::Sessions(left - 1)
            }
            State::AclCount => State::Acls(from.count()?),
            State::Acls(0) => State::Nodes,
            State::Acls(left) => {
                let id = from.i64()?;
                let acl = from.acl()?;
                self.acls.insert(id, acl);
                State::Acls(left - 1)
            }
            State::Nodes => {
                let Some(path) = from.bytes()? else {
                    return Err(Stop::Bad("a node without a path".to_owned()));
                };
                if path == b"/" {
                    if self.stream {
                        State::Signature
                    } else {
                        State::Done
                    }
                } else {
                    self.node(path, from, sink)?;
                    State::Nodes
                }
            }
            State::Signature => {
                if from.take(SIGNATURE.len())? != SIGNATURE {
                    return Err(Stop::Bad("the signature at the end is wrong".to_owned()));
                }
                State::Done
            }
            State::Done => State::Done,
        };
        Ok(())
    }

    fn node(
        &mut self,
        path: &[u8],
        from: &mut Cursor<'_>,
        sink: &mut impl SnapshotSink,
    ) -> Result<(), Stop> {
        let data = from.bytes()?;
        let acl_id = from.i64()?;
        let raw = from.array::<STAT_BYTES>()?;
        let mut at = raw.as_slice();
        let stat = StatPersisted {
            czxid: Zxid(at.get_u64()),
            mzxid: Zxid(at.get_u64()),
            ctime: at.get_i64(),
            mtime: at.get_i64(),
            version: at.get_i32(),
            cversion: at.get_i32(),
            aversion: at.get_i32(),
            ephemeral_owner: at.get_i64(),
            pzxid: Zxid(at.get_u64()),
        };
        let acl = if acl_id == OPEN_ACL_ID {
            &self.open
        } else {
            // A snapshot of ZooKeeper that was taken while its tree changed: the table was written before the node. The
            // transaction that brought the list comes after the snapshot; until it does, nobody may do anything.
            self.acls.get(&acl_id).unwrap_or(&self.closed)
        };
        match std::str::from_utf8(path) {
            Ok(path) => sink.node(path, data, acl, stat)?,
            Err(_) => sink.node(&String::from_utf8_lossy(path), data, acl, stat)?,
        }
        self.newest = self.newest.max(stat.czxid).max(stat.mzxid).max(stat.pzxid);
        Ok(())
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Stop::NeedMore)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Stop::NeedMore)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i32(&mut self) -> Result<i32, Stop> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Stop> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A negative count reads as "none", as Java's loops do.
    fn count(&mut self) -> Result<u32, Stop> {
        Ok(u32::try_from(self.i32()?).unwrap_or(0))
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(length) if length <= FIELD_BYTES_MAX => self.take(length).map(Some),
            _ => Err(Stop::Bad(format!("a length of {length}"))),
        }
    }

    /// Text as Java decodes it: bytes that are no UTF-8 become U+FFFD.
    fn text(&mut self) -> Result<Box<str>, Stop> {
        Ok(String::from_utf8_lossy(self.bytes()?.unwrap_or_default()).into())
    }

    fn acl(&mut self) -> Result<Acl, Stop> {
        let mut entries = Vec::new();
        let count = self.count()?;
        if count > ACL_ENTRIES_MAX {
            return Err(Stop::Bad(format!("a list of {count} entries")));
        }
        for _ in 0..count {
            entries.push(AclEntry {
                perms: self.i32()? as u32,
                id: Id {
                    scheme: self.text()?,
                    id: self.text()?,
                },
            });
        }
        Ok(entries.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keeps everything.
    #[derive(Clone, Default, PartialEq, Eq, Debug)]
    pub(crate) struct Kept {
        pub(crate) sessions: Vec<(SessionId, i32)>,
        pub(crate) nodes: Vec<(String, Option<Vec<u8>>, Acl, StatPersisted)>,
    }

    impl SnapshotSink for Kept {
        fn clear(&mut self) {
            *self = Self::default();
        }

        fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused> {
            self.sessions.push((id, timeout_ms));
            Ok(())
        }

        fn node(
            &mut self,
            path: &str,
            data: Option<&[u8]>,
            acl: &Acl,
            stat: StatPersisted,
        ) -> Result<(), Refused> {
            if self.nodes.is_empty() != path.is_empty() {
                return Err(Refused(format!("{path:?} has no parent")));
            }
            let data = data.map(<[u8]>::to_vec);
            self.nodes.push((path.to_owned(), data, acl.clone(), stat));
            Ok(())
        }
    }

    pub(crate) fn acl(perms: u32, id: &str) -> Acl {
        Acl::from([AclEntry {
            perms,
            id: Id {
                scheme: if id == "anyone" { "world" } else { "digest" }.into(),
                id: id.into(),
            },
        }])
    }

    pub(crate) fn sample() -> Kept {
        let stat = |n: u64| StatPersisted {
            czxid: Zxid(n),
            mzxid: Zxid(n + 1),
            ctime: -5,
            version: 3,
            ephemeral_owner: i64::MIN,
            ..StatPersisted::default()
        };
        Kept {
            sessions: vec![(SessionId(-7), 30_000), (SessionId(8), 4)],
            nodes: vec![
                (String::new(), Some(vec![]), acl(31, "anyone"), stat(0)),
                ("/a".into(), None, acl(31, "alice:x"), stat(2)),
                ("/a/b".into(), Some(vec![1, 2]), acl(1, "anyone"), stat(3)),
                ("/ü".into(), Some(vec![0; 300]), acl(31, "alice:x"), stat(4)),
                ("/z".into(), Some(vec![0; 3]), Acl::default(), stat(5)),
            ],
        }
    }

    pub(crate) fn encode(kept: &Kept, stream: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let acls = kept.nodes.iter().map(|n| &*n.2);
        let body = BodyEncoder::begin(kept.sessions.iter().copied(), acls, &mut out);
        for (path, data, acl, stat) in &kept.nodes {
            let data = data.as_deref();
            body.node(
                NodeRef {
                    path,
                    data,
                    acl,
                    stat,
                },
                &mut out,
            )
            .unwrap();
        }
        if stream {
            body.end_stream(&mut out);
        } else {
            body.end(&mut out);
        }
        out
    }

    #[test]
    fn a_stream_in_pieces_of_any_size_gives_the_same_tree_and_stops_at_its_end() {
        let sample = sample();
        let mut bytes = encode(&sample, true);
        let whole = bytes.len();
        bytes.extend_from_slice(b"next packet");
        for piece in 1..=bytes.len() {
            let (mut decoder, mut kept) = (BodyDecoder::of_stream(), Kept::default());
            let (mut taken, mut have) = (0, 0);
            while !decoder.is_done() {
                assert!(have < bytes.len(), "piece {piece}: never done");
                have = (have + piece).min(bytes.len());
                taken += decoder.feed(&bytes[taken..have], &mut kept).unwrap();
            }
            assert_eq!(taken, whole);
            assert_eq!(kept, sample);
            assert_eq!(decoder.newest(), Zxid(6));
        }
    }

    #[test]
    fn every_damaged_byte_is_an_error_or_another_tree_but_never_a_panic() {
        let bytes = encode(&sample(), true);
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                let _ = BodyDecoder::of_stream().feed(&bytes, &mut Kept::default());
            }
        }
        let mut wrong = bytes.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(
            BodyDecoder::of_stream()
                .feed(&wrong, &mut Kept::default())
                .is_err()
        );
    }

    #[test]
    fn an_acl_that_was_not_announced_is_refused() {
        let mut out = Vec::new();
        let body = BodyEncoder::begin([].into_iter(), [], &mut out);
        let (list, stat) = (acl(1, "bob:y"), StatPersisted::default());
        let node = |acl| NodeRef {
            path: "",
            data: None,
            acl,
            stat: &stat,
        };
        assert_eq!(body.node(node(&list), &mut out), Err(UnknownAcl));
        assert_eq!(body.node(node(&acl(31, "anyone")), &mut out), Ok(()));
    }

    #[test]
    fn a_list_that_a_changing_tree_got_after_the_table_was_written_lets_nobody_in() {
        let mut bytes = encode(&sample(), true);
        let node = b"\0\0\0\x02/a\xff\xff\xff\xff";
        let at = bytes.windows(node.len()).position(|w| w == node).unwrap();
        let id = at + node.len() + 7;
        assert_eq!(bytes[id], 1, "the id of alice's list");
        bytes[id] = 99;
        let (mut decoder, mut kept) = (BodyDecoder::of_stream(), Kept::default());
        decoder.feed(&bytes, &mut kept).unwrap();
        assert!(decoder.is_done());
        let mut expected = sample();
        expected.nodes[1].2 = acl(0, "anyone");
        assert_eq!(kept, expected);
    }

    #[test]
    fn an_endless_element_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut decoder = BodyDecoder::of_stream();
            decoder.feed(bytes, &mut Kept::default()).is_err()
        };
        // Sessions 0, one ACL whose count says it never ends: entries of empty strings would be taken forever.
        let mut bytes = vec![0; 100];
        bytes[7] = 1;
        bytes[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(refused(&bytes));
        bytes[16..20].copy_from_slice(&1000_i32.to_be_bytes());
        assert!(!refused(&bytes));
        // One whose scheme never ends.
        bytes[24..28].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(refused(&bytes));
    }
}
