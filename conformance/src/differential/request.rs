//! A request as bytes, written by hand: this side of the comparison does not use the codec that it is there to check.

use std::fmt::Write as _;
use zabra::wire::client::opcode as op;

/// Stands where an episode's own directory is named; of the same length as such a name.
pub const PLACE: &str = "/@@@@@@@@";

/// One request of a script, without its xid.
#[derive(Clone, Debug)]
pub struct Op {
    /// The code in its header.
    pub opcode: i32,
    /// What follows the header.
    pub record: Vec<u8>,
    /// For people.
    pub words: String,
    /// Eight bytes at this place of the record are the newest zxid that the session has seen.
    pub zxid_at: Option<usize>,
    /// The xid, where it is not the next number.
    pub xid: Option<i32>,
    /// Somewhere in it is a null where a text belongs (D-73).
    pub has_null: bool,
    /// Nothing may be under way beside it: it is answered out of turn, or may end the connection.
    pub alone: bool,
    /// Its record is not what a client would write.
    pub damaged: bool,
    /// A null list or a time to live out of bounds: ZooKeeper finds it while it reads a multi, else later.
    pub doubtful: bool,
    /// It has a time to live, which must not become negative without the flag for it (D-75).
    pub has_ttl: bool,
    /// The frame as it is, where not even that is one: length prefix and all.
    pub frame: Option<Vec<u8>>,
}

impl Op {
    /// A request without a record.
    #[must_use]
    pub fn new(opcode: i32) -> Self {
        Self {
            opcode,
            record: vec![],
            words: name(opcode),
            zxid_at: None,
            xid: None,
            has_null: false,
            alone: false,
            damaged: false,
            doubtful: false,
            has_ttl: false,
            frame: None,
        }
    }

    /// Bytes that need not be a frame, and have nothing beside them.
    #[must_use]
    pub fn bytes(words: String, frame: Vec<u8>) -> Self {
        let mut op = Self::new(op::EXISTS).alone();
        op.words = words;
        op.frame = Some(frame);
        op
    }

    /// The same under an xid of its own.
    #[must_use]
    pub fn with_xid(mut self, xid: i32) -> Self {
        self.xid = Some(xid);
        self
    }

    /// The same with nothing beside it.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Whether the connection may end with it.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.alone || self.opcode == op::CLOSE_SESSION
    }

    /// Whether nothing may follow in the batch, because ZooKeeper answers what does by how far it has got with this one.
    ///
    /// - What comes behind a setACL is judged by the list before it, until that is applied (D-76).
    /// - A multi that fails at a null (D-73) leaves its parts standing until it is applied: behind a delete in it, create of the same
    ///   node passes for a moment, fails when it is applied, and is never answered.
    /// - What setWatches may tell (D-74) is asked when nothing has changed since.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self.opcode {
            op::CLOSE_SESSION | op::SET_ACL | op::SET_WATCHES | op::SET_WATCHES2 => true,
            op::MULTI => self.has_null || self.damaged,
            _ => false,
        }
    }

    /// Whether these bytes are somewhere in its record.
    #[must_use]
    pub fn names(&self, path: &[u8]) -> bool {
        self.record.windows(path.len()).any(|bytes| bytes == path)
    }

    /// Whether it asks for a change of the tree.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(
            self.opcode,
            op::CREATE
                | op::CREATE2
                | op::CREATE_CONTAINER
                | op::CREATE_TTL
                | op::DELETE
                | op::SET_DATA
                | op::SET_ACL
                | op::MULTI
                | op::RECONFIG
        )
    }

    /// Whether ZooKeeper may fail to read the record of this write, and give its refusal a zxid that was given before (D-72). In an
    /// ensemble that ends it: nothing is committed any more, or a follower stops.
    #[must_use]
    pub fn is_torn_write(&self) -> bool {
        self.is_write() && (self.damaged || self.opcode == op::MULTI && self.doubtful)
    }

    /// Appends a path or another text; `None` is Jute's null.
    #[must_use]
    pub fn text(mut self, text: Option<&[u8]>) -> Self {
        match text {
            None => {
                self.words.push_str(" null");
                self.has_null = true;
            }
            Some(text) => {
                let _ = write!(self.words, " {}", shown(text));
            }
        }
        put_bytes(text, &mut self.record);
        self
    }

    /// Appends a buffer.
    #[must_use]
    pub fn buffer(mut self, data: Option<&[u8]>) -> Self {
        match data {
            None => self.words.push_str(" no data"),
            Some(data) if data.len() > 20 => {
                let _ = write!(self.words, " {} bytes", data.len());
            }
            Some(data) => {
                let _ = write!(self.words, " data {:?}", String::from_utf8_lossy(data));
            }
        }
        put_bytes(data, &mut self.record);
        self
    }

    /// Appends a named number.
    #[must_use]
    pub fn int(mut self, name: &str, value: i32) -> Self {
        let _ = write!(self.words, " {name} {value}");
        self.record.extend(value.to_be_bytes());
        self
    }

    /// Appends a named long number.
    #[must_use]
    pub fn long(mut self, name: &str, value: i64) -> Self {
        let _ = write!(self.words, " {name} {value}");
        self.record.extend(value.to_be_bytes());
        self
    }

    /// Appends a flag, which is told if it is set.
    #[must_use]
    pub fn flag(mut self, name: &str, value: bool) -> Self {
        if value {
            let _ = write!(self.words, " {name}");
        }
        self.record.push(value.into());
        self
    }

    /// Appends an ACL.
    #[must_use]
    pub fn acl(mut self, acl: Option<&[Entry]>) -> Self {
        let Some(acl) = acl else {
            self.words.push_str(" acl null");
            self.doubtful = true;
            self.record.extend((-1_i32).to_be_bytes());
            return self;
        };
        let all: Vec<_> = acl.iter().map(Entry::words).collect();
        let _ = write!(self.words, " acl [{}]", all.join(", "));
        put_count(acl.len(), &mut self.record);
        for entry in acl {
            self.has_null |= entry.scheme.is_none() || entry.id.is_none();
            self.record.extend(entry.perms.to_be_bytes());
            put_bytes(entry.scheme.map(str::as_bytes), &mut self.record);
            put_bytes(entry.id.map(str::as_bytes), &mut self.record);
        }
        self
    }

    /// Appends texts.
    #[must_use]
    pub fn texts(mut self, texts: &[Vec<u8>]) -> Self {
        let all: Vec<_> = texts.iter().map(|text| shown(text)).collect();
        let _ = write!(self.words, " [{}]", all.join(", "));
        put_count(texts.len(), &mut self.record);
        for text in texts {
            put_bytes(Some(text), &mut self.record);
        }
        self
    }

    /// Appends an operation of a multi or multiRead behind its header.
    #[must_use]
    pub fn part(mut self, part: &Self) -> Self {
        let _ = write!(self.words, " {{{}}}", part.words);
        put_header(part.opcode, false, -1, &mut self.record);
        self.record.extend(&part.record);
        self.has_null |= part.has_null;
        self.doubtful |= part.doubtful;
        self.has_ttl |= part.has_ttl;
        self
    }

    /// Appends the header that ends a multi or multiRead.
    #[must_use]
    pub fn end(mut self) -> Self {
        put_header(-1, true, -1, &mut self.record);
        self
    }

    /// The frame, with the episode's directory in its place.
    pub fn put(&self, xid: i32, place: &str, zxid: u64, out: &mut Vec<u8>) {
        if let Some(frame) = &self.frame {
            out.extend(frame);
            return;
        }
        let length = i32::try_from(self.record.len() + 8).unwrap_or(i32::MAX);
        out.extend(length.to_be_bytes());
        out.extend(xid.to_be_bytes());
        out.extend(self.opcode.to_be_bytes());
        let begin = out.len();
        out.extend(&self.record);
        let record = &mut out[begin..];
        if let Some(at) = self.zxid_at {
            record[at..at + 8].copy_from_slice(&zxid.to_be_bytes());
        }
        put_place(record, place);
    }
}

/// For people: a path or another text, cut short if it is long.
fn shown(text: &[u8]) -> String {
    const LONG: usize = 100;
    let begin = String::from_utf8_lossy(&text[..text.len().min(LONG)]);
    let begin = format!("{:?}", begin.replace(PLACE, "@"));
    match text.len() {
        0..=LONG => begin,
        length => format!("{begin}... of {length} bytes"),
    }
}

/// Names the episode's directory wherever its place is held.
fn put_place(record: &mut [u8], place: &str) {
    let mut at = 0;
    while at + PLACE.len() <= record.len() {
        if &record[at..at + PLACE.len()] == PLACE.as_bytes() {
            record[at..at + PLACE.len()].copy_from_slice(place.as_bytes());
            at += PLACE.len();
        } else {
            at += 1;
        }
    }
}

/// One entry of an ACL.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Any bits.
    pub perms: i32,
    /// `None` is Jute's null.
    pub scheme: Option<&'static str>,
    /// The same.
    pub id: Option<&'static str>,
}

impl Entry {
    fn words(&self) -> String {
        let text = |t: Option<&'static str>| t.unwrap_or("null");
        format!("{}:{}:{}", text(self.scheme), text(self.id), self.perms)
    }
}

/// Appends a text or buffer.
pub fn put_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(bytes) => {
            put_count(bytes.len(), out);
            out.extend(bytes);
        }
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend(i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

/// Appends a header of a multi.
fn put_header(kind: i32, done: bool, err: i32, out: &mut Vec<u8>) {
    out.extend(kind.to_be_bytes());
    out.push(done.into());
    out.extend(err.to_be_bytes());
}

/// The name of an operation.
#[must_use]
pub fn name(opcode: i32) -> String {
    let name = match opcode {
        op::CREATE => "create",
        op::DELETE => "delete",
        op::EXISTS => "exists",
        op::GET_DATA => "getData",
        op::SET_DATA => "setData",
        op::GET_ACL => "getACL",
        op::SET_ACL => "setACL",
        op::GET_CHILDREN => "getChildren",
        op::SYNC => "sync",
        op::PING => "ping",
        op::GET_CHILDREN2 => "getChildren2",
        op::CHECK => "check",
        op::MULTI => "multi",
        op::CREATE2 => "create2",
        op::RECONFIG => "reconfig",
        op::CHECK_WATCHES => "checkWatches",
        op::REMOVE_WATCHES => "removeWatches",
        op::CREATE_CONTAINER => "createContainer",
        op::CREATE_TTL => "createTTL",
        op::MULTI_READ => "multiRead",
        op::AUTH => "auth",
        op::SET_WATCHES => "setWatches",
        op::GET_EPHEMERALS => "getEphemerals",
        op::GET_ALL_CHILDREN_NUMBER => "getAllChildrenNumber",
        op::SET_WATCHES2 => "setWatches2",
        op::ADD_WATCH => "addWatch",
        op::WHO_AM_I => "whoAmI",
        op::CLOSE_SESSION => "closeSession",
        other => return format!("operation {other}"),
    };
    name.to_owned()
}
