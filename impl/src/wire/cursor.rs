//! Jute, ZooKeeper's encoding: a reader over `Bytes` and a writer on top of any `BufMut`.
//!
//! Integers are big-endian; buffers, strings and vectors begin with an `i32` count where -1 means null.

use bytes::{BufMut, Bytes};
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::stat::{Stat, StatPersisted};

use std::borrow::Cow;
use std::rc::Rc;
use zabra_model::ids::Zxid;

/// The longest string or buffer a reader takes: twice the largest `jute.maxbuffer`, as ZooKeeper gives itself as much again for
/// its own records. What holds for a client or a peer is decided where its frames and packets are taken.
pub const FIELD_BYTES_MAX: usize = 128 << 20;

/// The length of a `Stat`.
pub const STAT_BYTES: usize = 68;

/// So many parts (paths, operations, entries of ACLs) a request may list whatever its length: as many as one of the default length has room for.
pub const REQUEST_PARTS_MIN: usize = 1 << 18;
/// It may list one more for so many bytes.
pub const REQUEST_PART_BYTES: usize = 256;

/// Bytes that are not what the protocol says. The sender is at fault; which answer that deserves, the caller knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The input ends inside a field.
    #[error("{what} at byte {offset} needs {need} bytes, {left} are left")]
    Short {
        /// The field.
        what: &'static str,
        /// Where it begins, in bytes from the start of the input.
        offset: usize,
        /// Bytes it takes.
        need: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length that no sender may use.
    #[error("{what} at byte {offset} has length {length}, allowed are 0 to {max}")]
    Length {
        /// The field.
        what: &'static str,
        /// Where its length stands.
        offset: usize,
        /// The length it claims.
        length: i64,
        /// The largest legal one.
        max: usize,
    },
    /// A null where a value is needed.
    #[error("{what} at byte {offset} is null")]
    Null {
        /// The field.
        what: &'static str,
        /// Where its length stands.
        offset: usize,
    },
    /// A code or text outside the set that the protocol knows.
    #[error("{what} at byte {offset} has the unknown value {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Where it stands.
        offset: usize,
        /// The value found, or the length of a text that does not parse.
        value: i64,
    },
}

/// Reads Jute from `bytes`, forwards only. Buffers it hands out share the memory of `bytes`.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// What is not yet read.
    rest: &'a [u8],
    /// How much there was at the beginning, bytes.
    length: usize,
    /// What `rest` is a part of, if it can be shared.
    memory: Option<&'a Bytes>,
    /// How many more parts it may list.
    parts: usize,
}

/// The list of access control that was read last: the next one is mostly the same.
#[derive(Default, Debug)]
pub struct AclMemo {
    bytes: Vec<u8>,
    list: Rc<[AclEntry]>,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    #[must_use]
    pub fn new(bytes: &'a Bytes) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
            memory: Some(bytes),
            parts: usize::MAX,
        }
    }

    /// A reader of bytes that are lent to it: what is to share their memory is a copy.
    #[must_use]
    pub const fn lent(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
            memory: None,
            parts: usize::MAX,
        }
    }

    /// A reader of a part of what this one reads, in which positions begin anew.
    #[must_use]
    pub const fn inner(&self, bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
            memory: self.memory,
            parts: self.parts,
        }
    }

    /// A reader of a client's request, which lies in `memory`. A part of it takes more than a hundred bytes of memory and may take four of
    /// the request, so the number of parts has a bound (D-61): what a request of `n` bytes is decoded to holds some 30 MiB and two
    /// times `n`.
    #[must_use]
    pub const fn of_request(bytes: &'a [u8], memory: &'a Bytes) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
            memory: Some(memory),
            parts: REQUEST_PARTS_MIN + bytes.len() / REQUEST_PART_BYTES,
        }
    }

    /// Counts parts, before memory is taken for them.
    ///
    /// Errors: they are more than the bytes may list.
    pub fn take_parts(&mut self, count: usize, what: &'static str) -> Result<(), WireError> {
        match self.parts.checked_sub(count) {
            Some(left) => {
                self.parts = left;
                Ok(())
            }
            None => Err(WireError::Length {
                what,
                offset: self.position(),
                length: i64::try_from(count).unwrap_or(i64::MAX),
                max: self.parts,
            }),
        }
    }

    /// Bytes already read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything not yet read, shared; the reader is at the end afterwards.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        let rest = std::mem::take(&mut self.rest);
        self.share(rest)
    }

    fn share(&self, part: &'a [u8]) -> Bytes {
        let shared = self.memory.map(|memory| memory.slice_ref(part));
        shared.unwrap_or_else(|| Bytes::copy_from_slice(part))
    }

    #[cold]
    const fn short(&self, what: &'static str, need: usize) -> WireError {
        WireError::Short {
            what,
            offset: self.position(),
            need,
            left: self.remaining(),
        }
    }

    fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let taken = self.rest.split_at_checked(n);
        let (taken, rest) = taken.ok_or_else(|| self.short(what, n))?;
        self.rest = rest;
        Ok(taken)
    }

    /// So many bytes as they are.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let taken = self.rest.split_first_chunk();
        let (taken, rest) = taken.ok_or_else(|| self.short(what, N))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; any but 0 is true.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, WireError> {
        self.array::<1>(what).map(|[b]| b != 0)
    }

    /// Four bytes, signed.
    pub fn i32(&mut self, what: &'static str) -> Result<i32, WireError> {
        self.array(what).map(i32::from_be_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, WireError> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// Eight bytes as a position in the history; -1 becomes the largest.
    pub fn zxid(&mut self, what: &'static str) -> Result<Zxid, WireError> {
        self.array(what).map(u64::from_be_bytes).map(Zxid)
    }

    /// The length of a string or buffer; `None` is null.
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, WireError> {
        let offset = self.position();
        let length = self.i32(what)?;
        match usize::try_from(length) {
            Ok(n) if n <= FIELD_BYTES_MAX => Ok(Some(n)),
            Err(_) if length == -1 => Ok(None),
            _ => Err(WireError::Length {
                what,
                offset,
                length: length.into(),
                max: FIELD_BYTES_MAX,
            }),
        }
    }

    /// A buffer; null and empty are different.
    pub fn buffer(&mut self, what: &'static str) -> Result<Option<Bytes>, WireError> {
        let taken = self.lent_buffer(what)?;
        Ok(taken.map(|taken| self.share(taken)))
    }

    /// The same, where it lies.
    pub fn lent_buffer(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, WireError> {
        let Some(n) = self.length(what)? else {
            return Ok(None);
        };
        self.take(n, what).map(Some)
    }

    /// A string. Invalid UTF-8 becomes U+FFFD, as in ZooKeeper.
    pub fn ustring(&mut self, what: &'static str) -> Result<Option<Box<str>>, WireError> {
        let Some(raw) = self.lent_buffer(what)? else {
            return Ok(None);
        };
        // Looked at where the copy lies: it is aligned, and eight letters are looked at together.
        Ok(Some(match String::from_utf8(raw.to_vec()) {
            Ok(text) => text.into(),
            Err(_) => String::from_utf8_lossy(raw).into(),
        }))
    }

    /// The same, where it lies if that can be.
    pub fn lent_ustring(&mut self, what: &'static str) -> Result<Option<Cow<'a, str>>, WireError> {
        let raw = self.lent_buffer(what)?;
        Ok(raw.map(|raw| match std::str::from_utf8(raw) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(raw),
        }))
    }

    /// A string that may not be null.
    pub fn text(&mut self, what: &'static str) -> Result<Box<str>, WireError> {
        let offset = self.position();
        self.ustring(what)?.ok_or(WireError::Null { what, offset })
    }

    /// The same, where it lies if that can be.
    pub fn lent_text(&mut self, what: &'static str) -> Result<Cow<'a, str>, WireError> {
        let offset = self.position();
        let text = self.lent_ustring(what)?;
        text.ok_or(WireError::Null { what, offset })
    }

    /// A vector whose elements take at least `element_bytes_min` bytes each; null is `None`, other negative counts are empty.
    pub fn vector<T>(
        &mut self,
        what: &'static str,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let offset = self.position();
        let count = self.i32(what)?;
        if count == -1 {
            return Ok(None);
        }
        let count = usize::try_from(count).unwrap_or(0);
        // A count that cannot be true is refused before anything is allocated for it.
        let need = count.saturating_mul(element_bytes_min.max(1));
        if need > self.remaining() {
            return Err(WireError::Short {
                what,
                offset,
                need,
                left: self.remaining(),
            });
        }
        self.take_parts(count, what)?;
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(element(self)?);
        }
        Ok(Some(out))
    }

    /// A vector of strings that may not be null, nor may the vector.
    pub fn texts(&mut self, what: &'static str) -> Result<Vec<Box<str>>, WireError> {
        let offset = self.position();
        self.vector(what, 4, |r| r.text(what))?
            .ok_or(WireError::Null { what, offset })
    }

    /// `Id`: scheme and identity.
    pub fn id(&mut self) -> Result<Id, WireError> {
        Ok(Id {
            scheme: self.text("scheme")?,
            id: self.text("id")?,
        })
    }

    /// A vector of ids, as `authinfo`.
    pub fn ids(&mut self, what: &'static str) -> Result<Option<Vec<Id>>, WireError> {
        self.vector(what, 8, Self::id)
    }

    /// A vector of ACL entries, like that which `memo` remembers if it is in the same bytes.
    pub fn shared_acl(&mut self, memo: &mut AclMemo) -> Result<Rc<[AclEntry]>, WireError> {
        // No vector begins with the bytes of another one.
        match self.rest.strip_prefix(&*memo.bytes) {
            Some(rest) if !memo.bytes.is_empty() => self.rest = rest,
            _ => {
                let begin = self.rest;
                memo.list = self.acl()?.unwrap_or_default().into();
                let bytes = begin.len() - self.rest.len();
                memo.bytes.clear();
                memo.bytes
                    .extend_from_slice(begin.get(..bytes).unwrap_or_default());
            }
        }
        Ok(Rc::clone(&memo.list))
    }

    /// A vector of ACL entries. `auth` needs no identity, and kazoo sends null there; any other null is an error (D-73).
    pub fn acl(&mut self) -> Result<Option<Vec<AclEntry>>, WireError> {
        self.vector("acl", 12, |r| {
            let perms = r.i32("perms")?.cast_unsigned();
            let scheme = r.text("scheme")?;
            let id = match &*scheme {
                "auth" => r.ustring("id")?.unwrap_or_default(),
                _ => r.text("id")?,
            };
            let id = Id { scheme, id };
            Ok(AclEntry { perms, id })
        })
    }

    /// The [`STAT_BYTES`] of a `Stat`.
    pub fn stat(&mut self) -> Result<Stat, WireError> {
        Ok(Stat {
            czxid: self.zxid("czxid")?,
            mzxid: self.zxid("mzxid")?,
            ctime: self.i64("ctime")?,
            mtime: self.i64("mtime")?,
            version: self.i32("version")?,
            cversion: self.i32("cversion")?,
            aversion: self.i32("aversion")?,
            ephemeral_owner: self.i64("ephemeralOwner")?,
            data_length: self.i32("dataLength")?,
            num_children: self.i32("numChildren")?,
            pzxid: self.zxid("pzxid")?,
        })
    }

    /// The 60 bytes of a `StatPersisted`.
    pub fn stat_persisted(&mut self) -> Result<StatPersisted, WireError> {
        Ok(StatPersisted {
            czxid: self.zxid("czxid")?,
            mzxid: self.zxid("mzxid")?,
            ctime: self.i64("ctime")?,
            mtime: self.i64("mtime")?,
            version: self.i32("version")?,
            cversion: self.i32("cversion")?,
            aversion: self.i32("aversion")?,
            ephemeral_owner: self.i64("ephemeralOwner")?,
            pzxid: self.zxid("pzxid")?,
        })
    }
}

/// Writes Jute. Lengths come from our own memory and stay below `i32::MAX`: a longer field is cut by its count, which no
/// bounded request or tree can reach.
pub trait JuteWrite: BufMut {
    /// One byte, 0 or 1.
    fn put_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    /// Eight bytes.
    fn put_zxid(&mut self, zxid: Zxid) {
        self.put_u64(zxid.0);
    }

    /// The count before a buffer, string or vector.
    fn put_count(&mut self, n: usize) {
        self.put_i32(i32::try_from(n).unwrap_or(i32::MAX));
    }

    /// A buffer, or null.
    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => {
                self.put_count(bytes.len());
                self.put_slice(bytes);
            }
            None => self.put_i32(-1),
        }
    }

    /// A string, in plain UTF-8 also outside the BMP: Java's six-byte form is one that Java itself cannot read back.
    fn put_text(&mut self, value: &str) {
        self.put_count(value.len());
        self.put_slice(value.as_bytes());
    }

    /// A string, or null.
    fn put_ustring(&mut self, value: Option<&str>) {
        self.put_buffer(value.map(str::as_bytes));
    }

    /// A vector of strings.
    fn put_texts<T: AsRef<str>>(&mut self, values: impl ExactSizeIterator<Item = T>) {
        self.put_count(values.len());
        for value in values {
            self.put_text(value.as_ref());
        }
    }

    /// `Id`: scheme and identity.
    fn put_id(&mut self, id: &Id) {
        self.put_text(&id.scheme);
        self.put_text(&id.id);
    }

    /// A vector of ids, or null.
    fn put_ids(&mut self, ids: Option<&[Id]>) {
        match ids {
            Some(ids) => {
                // A client mostly has one or two short ones, which go with each request to the leader: they are put together here first.
                let mut room = [0_u8; 128];
                let length = |id: &Id| 8 + id.scheme.len() + id.id.len();
                match room.get_mut(..4 + ids.iter().map(length).sum::<usize>()) {
                    Some(room) => {
                        put_all(ids, &mut &mut *room);
                        self.put_slice(room);
                    }
                    None => put_all(ids, self),
                }
            }
            None => self.put_i32(-1),
        }
    }

    /// A vector of ACL entries, or null.
    fn put_acl(&mut self, acl: Option<&[AclEntry]>) {
        match acl {
            Some(acl) => {
                self.put_count(acl.len());
                for entry in acl {
                    self.put_u32(entry.perms);
                    self.put_id(&entry.id);
                }
            }
            None => self.put_i32(-1),
        }
    }

    /// A `Stat`, in one piece: it is part of most replies.
    fn put_stat(&mut self, stat: &Stat) {
        let mut raw = [0; STAT_BYTES];
        let mut at = raw.as_mut_slice();
        fill(&mut at, stat.czxid.0.to_be_bytes());
        fill(&mut at, stat.mzxid.0.to_be_bytes());
        fill(&mut at, stat.ctime.to_be_bytes());
        fill(&mut at, stat.mtime.to_be_bytes());
        fill(&mut at, stat.version.to_be_bytes());
        fill(&mut at, stat.cversion.to_be_bytes());
        fill(&mut at, stat.aversion.to_be_bytes());
        fill(&mut at, stat.ephemeral_owner.to_be_bytes());
        fill(&mut at, stat.data_length.to_be_bytes());
        fill(&mut at, stat.num_children.to_be_bytes());
        fill(&mut at, stat.pzxid.0.to_be_bytes());
        self.put_slice(&raw);
    }

    /// The 60 bytes of a `StatPersisted`.
    fn put_stat_persisted(&mut self, stat: &StatPersisted) {
        self.put_zxid(stat.czxid);
        self.put_zxid(stat.mzxid);
        self.put_i64(stat.ctime);
        self.put_i64(stat.mtime);
        self.put_i32(stat.version);
        self.put_i32(stat.cversion);
        self.put_i32(stat.aversion);
        self.put_i64(stat.ephemeral_owner);
        self.put_zxid(stat.pzxid);
    }
}

impl<B: BufMut> JuteWrite for B {}

fn put_all(ids: &[Id], out: &mut (impl JuteWrite + ?Sized)) {
    out.put_count(ids.len());
    ids.iter().for_each(|id| out.put_id(id));
}

/// Writes a field into what is left of a record whose length is known: each is one store, where a [`BufMut`] checks and copies.
#[inline]
pub fn fill<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    if let Some((at, behind)) = std::mem::take(rest).split_first_chunk_mut() {
        *at = field;
        *rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn null_and_empty_are_kept_apart() -> Result<(), WireError> {
        let mut out = BytesMut::new();
        out.put_buffer(None);
        out.put_buffer(Some(b""));
        out.put_ustring(None);
        out.put_ustring(Some("é"));
        let bytes = out.freeze();
        let mut r = Reader::new(&bytes);
        assert_eq!(r.buffer("a")?, None);
        assert_eq!(r.buffer("b")?, Some(Bytes::new()));
        assert_eq!(r.ustring("c")?, None);
        assert_eq!(r.ustring("d")?.as_deref(), Some("é"));
        assert_eq!(r.remaining(), 0);
        Ok(())
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_where_it_stands() {
        let bytes = Bytes::from_static(&[0, 0, 0, 1, 0x1f, 0xff, 0xff, 0xff]);
        let mut r = Reader::new(&bytes);
        assert_eq!(r.i32("first"), Ok(1));
        assert_eq!(
            r.buffer("data"),
            Err(WireError::Length {
                what: "data",
                offset: 4,
                length: 0x1fff_ffff,
                max: FIELD_BYTES_MAX
            })
        );
    }

    #[test]
    fn a_vector_count_that_cannot_be_true_allocates_nothing() {
        let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert!(matches!(
            Reader::new(&bytes).texts("paths"),
            Err(WireError::Short { what: "paths", .. })
        ));
    }

    #[test]
    fn a_negative_count_other_than_null_is_an_empty_vector() {
        let null = Bytes::from_static(&[0xff; 4]);
        let odd = Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(Reader::new(&null).acl(), Ok(None));
        assert_eq!(Reader::new(&odd).acl(), Ok(Some(vec![])));
    }

    #[test]
    fn an_acl_of_the_callers_own_identities_needs_no_identity() {
        let entry = |scheme: Option<&str>, id: Option<&str>| {
            let mut bytes = BytesMut::new();
            bytes.put_i32(1);
            bytes.put_i32(31);
            bytes.put_ustring(scheme);
            bytes.put_ustring(id);
            let bytes = bytes.freeze();
            let read = Reader::new(&bytes).acl()?.unwrap().remove(0).id;
            Ok::<_, WireError>((read.scheme, read.id))
        };
        let empty = || Ok(("auth".into(), "".into()));
        assert_eq!(entry(Some("auth"), None), empty());
        assert_eq!(entry(Some("auth"), Some("")), empty());
        let null = |what, offset| Err(WireError::Null { what, offset });
        assert_eq!(entry(Some("digest"), None), null("id", 18));
        assert_eq!(entry(None, Some("x")), null("scheme", 8));
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        let bytes = Bytes::from_static(&[0, 0, 0, 3, b'a', 0xff, b'b']);
        assert_eq!(
            Reader::new(&bytes).text("path").as_deref(),
            Ok("a\u{fffd}b")
        );
    }

    #[test]
    fn buffers_share_the_memory_of_the_frame() -> Result<(), WireError> {
        let bytes = Bytes::from(vec![0, 0, 0, 2, 7, 8]);
        let data = Reader::new(&bytes).buffer("data")?.unwrap_or_default();
        assert!(std::ptr::eq(data.as_ptr(), bytes.as_ptr().wrapping_add(4)));
        Ok(())
    }
}
