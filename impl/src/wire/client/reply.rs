//! Replies and watch events, both directions.
//!
//! A server appends replies with the `put_*` functions, from what it has at hand and into one buffer per connection: no
//! reply is built before it is written. A client decodes them into [`Response`].

use super::multi::{MultiResult, put_multi_end, read_multi_results};
use super::{opcode as op, xid};
use crate::wire::cursor::{JuteWrite, Reader, STAT_BYTES, WireError, fill};
use crate::wire::frame::{LENGTH_BYTES, end_frame};
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::ids::Zxid;
use zabra_model::tree::acl::AclEntry;
use zabra_model::tree::stat::Stat;

/// What stands before each reply's record; with an error there is no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The request's number; -2 for every ping, -1 for an event.
    pub xid: i32,
    /// The write's own position, or the server's last processed one; 0 for auth and sasl, -1 for Unimplemented.
    pub zxid: Zxid,
    /// 0, or an error code.
    pub err: i32,
}

impl ReplyHeader {
    /// Its length.
    const BYTES: usize = 16;

    /// The header of a success.
    #[must_use]
    pub const fn ok(xid: i32, zxid: Zxid) -> Self {
        Self { xid, zxid, err: 0 }
    }

    /// Writes it, behind the length of a frame, to the front of `rest`.
    #[inline]
    fn fill(&self, frame_bytes: usize, rest: &mut &mut [u8]) {
        let length = i32::try_from(frame_bytes).unwrap_or(i32::MAX);
        fill(rest, length.to_be_bytes());
        fill(rest, self.xid.to_be_bytes());
        fill(rest, self.zxid.0.to_be_bytes());
        fill(rest, self.err.to_be_bytes());
    }

    /// Appends a reply with this header and what `record` writes. The frame's length is filled in afterwards.
    fn put(&self, out: &mut BytesMut, record: impl FnOnce(&mut BytesMut)) {
        let start = out.len();
        // The length and the header in one piece: it is part of all replies.
        let mut front = [0; LENGTH_BYTES + Self::BYTES];
        self.fill(0, &mut front.as_mut_slice());
        out.put_slice(&front);
        record(out);
        end_frame(out, start);
    }
}

/// Appends a reply of a header alone: every error, and successes that carry nothing.
pub fn put_empty(header: ReplyHeader, out: &mut BytesMut) {
    header.put(out, |_| {});
}

/// Appends a create's or sync's reply.
pub fn put_path(header: ReplyHeader, path: Option<&str>, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_ustring(path);
    });
}

/// Appends the reply of create2, createContainer and createTTL.
pub fn put_path_stat(header: ReplyHeader, path: &str, stat: &Stat, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_text(path);
        b.put_stat(stat);
    });
}

/// Appends the reply of exists, setData and setACL.
pub fn put_stat(header: ReplyHeader, stat: &Stat, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_stat(stat);
    });
}

/// Appends the reply of getData and reconfig.
pub fn put_data(header: ReplyHeader, data: Option<&[u8]>, stat: &Stat, out: &mut BytesMut) {
    const FRONT_BYTES: usize = LENGTH_BYTES + ReplyHeader::BYTES + 4;
    let data_bytes = data.map_or(0, <[u8]>::len);
    let whole = FRONT_BYTES + data_bytes + STAT_BYTES;
    // Its length is known, so the buffer grows once, and all before the data is one piece: most replies of a busy server are these.
    out.reserve(whole);
    let mut front = [0; FRONT_BYTES];
    let mut at = front.as_mut_slice();
    header.fill(whole - LENGTH_BYTES, &mut at);
    let count = data.map_or(-1, |data| i32::try_from(data.len()).unwrap_or(i32::MAX));
    fill(&mut at, count.to_be_bytes());
    out.put_slice(&front);
    out.put_slice(data.unwrap_or_default());
    out.put_stat(stat);
}

/// Appends the reply of getACL.
pub fn put_acl(header: ReplyHeader, acl: &[AclEntry], stat: &Stat, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_acl(Some(acl));
        b.put_stat(stat);
    });
}

/// Appends the reply of getChildren and getEphemerals, and with a Stat that of getChildren2.
pub fn put_children<T: AsRef<str>>(
    header: ReplyHeader,
    children: impl ExactSizeIterator<Item = T>,
    stat: Option<&Stat>,
    out: &mut BytesMut,
) {
    header.put(out, |b| {
        b.put_texts(children);
        if let Some(stat) = stat {
            b.put_stat(stat);
        }
    });
}

/// Appends the reply of getAllChildrenNumber; and that of addWatch, whose only field is an error code (0).
pub fn put_int(header: ReplyHeader, value: i32, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_i32(value);
    });
}

/// Appends the reply of sasl.
pub fn put_token(header: ReplyHeader, token: Option<&[u8]>, out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_buffer(token);
    });
}

/// Appends the reply of whoAmI.
pub fn put_who_am_i(header: ReplyHeader, who: &[ClientInfo], out: &mut BytesMut) {
    header.put(out, |b| {
        b.put_count(who.len());
        for info in who {
            b.put_text(&info.scheme);
            b.put_text(&info.user);
        }
    });
}

/// Appends the reply of multi and multiRead. A failed multi, too, has `err` 0 in its header: the errors are among the results.
pub fn put_multi(header: ReplyHeader, results: &[MultiResult], out: &mut BytesMut) {
    header.put(out, |b| {
        for result in results {
            result.put(b);
        }
        put_multi_end(b);
    });
}

/// Appends a watch event.
pub fn put_event(zxid: Zxid, kind: EventType, path: &str, out: &mut BytesMut) {
    ReplyHeader::ok(xid::EVENT, zxid).put(out, |b| {
        b.put_i32(kind.code());
        b.put_i32(SYNC_CONNECTED);
        b.put_text(path);
    });
}

/// The session state that every event of a server carries.
const SYNC_CONNECTED: i32 = 3;

/// What happened to a watched path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are ZooKeeper's own and say it")]
pub enum EventType {
    NodeCreated,
    NodeDeleted,
    NodeDataChanged,
    NodeChildrenChanged,
}

impl EventType {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::NodeCreated => 1,
            Self::NodeDeleted => 2,
            Self::NodeDataChanged => 3,
            Self::NodeChildrenChanged => 4,
        }
    }

    const fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::NodeCreated),
            2 => Some(Self::NodeDeleted),
            3 => Some(Self::NodeDataChanged),
            4 => Some(Self::NodeChildrenChanged),
            _ => None,
        }
    }
}

/// A watch that fired.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventType,
    /// Where.
    pub path: Box<str>,
}

/// One identity of a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientInfo {
    /// `ip`, `digest`, …
    pub scheme: Box<str>,
    /// The name in it, without secrets.
    pub user: Box<str>,
}

/// A reply or event whose record is not yet read: a client must first find the request that `xid` answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplyFrame {
    /// Number, position, error.
    pub header: ReplyHeader,
    /// What follows.
    pub record: Bytes,
}

impl ReplyFrame {
    /// Takes the header off a frame's body.
    pub fn split(body: &Bytes) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        let header = ReplyHeader {
            xid: r.i32("xid")?,
            zxid: r.zxid("zxid")?,
            err: r.i32("err")?,
        };
        Ok(Self {
            header,
            record: r.rest(),
        })
    }

    /// Reads the record as the answer to `opcode`. With an error in the header it is [`Response::Empty`].
    pub fn decode(&self, opcode: i32) -> Result<Response, WireError> {
        if self.header.err != 0 {
            return Ok(Response::Empty);
        }
        Response::decode(opcode, &self.record)
    }

    /// Reads the record as an event; only for xid -1.
    pub fn decode_event(&self) -> Result<WatchEvent, WireError> {
        let mut r = Reader::new(&self.record);
        let code = r.i32("type of an event")?;
        let kind = EventType::from_code(code).ok_or(WireError::Unknown {
            what: "type of an event",
            offset: 0,
            value: code.into(),
        })?;
        let state = r.i32("state of an event")?;
        if state != SYNC_CONNECTED {
            return Err(WireError::Unknown {
                what: "state of an event",
                offset: 4,
                value: state.into(),
            });
        }
        Ok(WatchEvent {
            kind,
            path: r.text("path")?,
        })
    }
}

/// A successful answer, by its shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// Nothing after the header.
    Empty,
    /// create, sync.
    Path(Option<Box<str>>),
    /// create2, createContainer, createTTL.
    PathStat(Box<str>, Stat),
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData, reconfig.
    Data(Option<Bytes>, Stat),
    /// getACL.
    Acl(Vec<AclEntry>, Stat),
    /// getChildren, getEphemerals; getChildren2 with the Stat.
    Children(Vec<Box<str>>, Option<Stat>),
    /// getAllChildrenNumber, addWatch.
    Int(i32),
    /// sasl.
    Token(Option<Bytes>),
    /// whoAmI.
    WhoAmI(Vec<ClientInfo>),
    /// multi, multiRead.
    Multi(Vec<MultiResult>),
}

impl Response {
    /// Reads the record that answers `opcode`.
    ///
    /// Errors: a malformed record, or an operation that has no answer of its own (createSession, unknown ones).
    pub fn decode(opcode: i32, record: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(record);
        let r = &mut reader;
        Ok(match opcode {
            op::DELETE
            | op::PING
            | op::CHECK
            | op::CHECK_WATCHES
            | op::REMOVE_WATCHES
            | op::DELETE_CONTAINER
            | op::AUTH
            | op::SET_WATCHES
            | op::SET_WATCHES2
            | op::CLOSE_SESSION => Self::Empty,
            op::CREATE | op::SYNC => Self::Path(r.ustring("path")?),
            op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                Self::PathStat(r.text("path")?, r.stat()?)
            }
            op::EXISTS | op::SET_DATA | op::SET_ACL => Self::Stat(r.stat()?),
            op::GET_DATA | op::RECONFIG => Self::Data(r.buffer("data")?, r.stat()?),
            op::GET_ACL => Self::Acl(r.acl()?.unwrap_or_default(), r.stat()?),
            op::GET_CHILDREN | op::GET_EPHEMERALS => Self::Children(r.texts("children")?, None),
            op::GET_CHILDREN2 => Self::Children(r.texts("children")?, Some(r.stat()?)),
            op::GET_ALL_CHILDREN_NUMBER => Self::Int(r.i32("totalNumber")?),
            op::ADD_WATCH => Self::Int(r.i32("err")?),
            op::SASL => Self::Token(r.buffer("token")?),
            op::WHO_AM_I => Self::WhoAmI(
                r.vector("clientInfo", 8, |r| {
                    Ok(ClientInfo {
                        scheme: r.text("authScheme")?,
                        user: r.text("user")?,
                    })
                })?
                .unwrap_or_default(),
            ),
            op::MULTI | op::MULTI_READ => Self::Multi(read_multi_results(r)?),
            other => {
                return Err(WireError::Unknown {
                    what: "opcode of a reply",
                    offset: 0,
                    value: other.into(),
                });
            }
        })
    }

    /// Appends the whole frame.
    pub fn put(&self, header: ReplyHeader, out: &mut BytesMut) {
        match self {
            Self::Empty => put_empty(header, out),
            Self::Path(path) => put_path(header, path.as_deref(), out),
            Self::PathStat(path, stat) => put_path_stat(header, path, stat, out),
            Self::Stat(stat) => put_stat(header, stat, out),
            Self::Data(data, stat) => put_data(header, data.as_deref(), stat, out),
            Self::Acl(acl, stat) => put_acl(header, acl, stat, out),
            Self::Children(children, stat) => {
                put_children(header, children.iter(), stat.as_ref(), out);
            }
            Self::Int(value) => put_int(header, *value, out),
            Self::Token(token) => put_token(header, token.as_deref(), out),
            Self::WhoAmI(who) => put_who_am_i(header, who, out),
            Self::Multi(results) => put_multi(header, results, out),
        }
    }
}
