//! The learner protocol: a stream of packets without length prefixes, in both directions, and what their data holds.
//!
//! After a SNAP packet the stream goes on with the raw snapshot (sessions, ACLs, nodes, `BenWasHere`), then with packets
//! again. [`parse`] takes one packet at a time and nothing behind it, so that whoever gets a SNAP can hand the rest of the
//! buffer to the reader of snapshots before it calls [`parse`] again.

use super::cursor::{FIELD_BYTES_MAX, JuteWrite, Reader, WireError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::sync::Arc;
use zabra_model::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra_model::tree::acl::Id;

/// What a packet is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are ZooKeeper's own")]
pub enum PacketKind {
    Request,
    Proposal,
    Ack,
    Commit,
    Ping,
    Revalidate,
    Sync,
    Inform,
    CommitAndActivate,
    NewLeader,
    FollowerInfo,
    UpToDate,
    Diff,
    Trunc,
    Snap,
    ObserverInfo,
    LeaderInfo,
    AckEpoch,
    InformAndActivate,
    /// A type of no version we know; ZooKeeper notes it and goes on.
    Unknown(i32),
}

impl PacketKind {
    const ALL: [Self; 19] = [
        Self::Request,
        Self::Proposal,
        Self::Ack,
        Self::Commit,
        Self::Ping,
        Self::Revalidate,
        Self::Sync,
        Self::Inform,
        Self::CommitAndActivate,
        Self::NewLeader,
        Self::FollowerInfo,
        Self::UpToDate,
        Self::Diff,
        Self::Trunc,
        Self::Snap,
        Self::ObserverInfo,
        Self::LeaderInfo,
        Self::AckEpoch,
        Self::InformAndActivate,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Request => 1,
            Self::Proposal => 2,
            Self::Ack => 3,
            Self::Commit => 4,
            Self::Ping => 5,
            Self::Revalidate => 6,
            Self::Sync => 7,
            Self::Inform => 8,
            Self::CommitAndActivate => 9,
            Self::NewLeader => 10,
            Self::FollowerInfo => 11,
            Self::UpToDate => 12,
            Self::Diff => 13,
            Self::Trunc => 14,
            Self::Snap => 15,
            Self::ObserverInfo => 16,
            Self::LeaderInfo => 17,
            Self::AckEpoch => 18,
            Self::InformAndActivate => 19,
            Self::Unknown(code) => code,
        }
    }

    /// What the number means.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        code.checked_sub(1)
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| Self::ALL.get(place).copied())
            .unwrap_or(Self::Unknown(code))
    }
}

/// The zxid of packets that have none: REQUEST, REVALIDATE, UPTODATE.
pub const NO_ZXID: Zxid = Zxid(u64::MAX);

/// The version of the protocol in LearnerInfo and LEADERINFO.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumPacket {
    /// What it is about.
    pub kind: PacketKind,
    /// A position in the history; for some an epoch's first, for some [`NO_ZXID`].
    pub zxid: Zxid,
    /// Depends on the kind; null and empty are different.
    pub data: Option<Bytes>,
    /// The ids of the client whose REQUEST it is; otherwise null.
    pub auth: Option<Arc<[Id]>>,
}

impl QuorumPacket {
    /// A packet without data.
    #[must_use]
    pub const fn new(kind: PacketKind, zxid: Zxid) -> Self {
        Self {
            kind,
            zxid,
            data: None,
            auth: None,
        }
    }

    /// A packet with data.
    #[must_use]
    pub const fn with_data(kind: PacketKind, zxid: Zxid, data: Bytes) -> Self {
        Self {
            kind,
            zxid,
            data: Some(data),
            auth: None,
        }
    }

    /// Appends it to `out`; many packets make one write.
    pub fn put(&self, out: &mut BytesMut) {
        put_packet(
            self.kind,
            self.zxid,
            self.data.as_deref(),
            self.auth.as_deref(),
            out,
        );
    }
}

/// Of a packet: all before its data, and the whole of it without data and ids.
const HEAD_BYTES: usize = 16;
const SMALL_BYTES: usize = HEAD_BYTES + 4;

/// How long a buffer is, as it is written before it.
fn count(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}

/// Appends a packet to `out` from borrowed parts, as a leader does that sends one payload to many.
pub fn put_packet(
    kind: PacketKind,
    zxid: Zxid,
    data: Option<&[u8]>,
    auth: Option<&[Id]>,
    out: &mut BytesMut,
) {
    out.reserve(data.map_or(0, <[u8]>::len).saturating_add(SMALL_BYTES));
    // All before the data in one piece, and most packets whole: each write is several of them on each server.
    let mut small = [0xff_u8; SMALL_BYTES];
    let mut at = small.as_mut_slice();
    at.put_i32(kind.code());
    at.put_zxid(zxid);
    at.put_i32(data.map_or(-1, count));
    if data.is_none() && auth.is_none() {
        // The list of ids that is not there is -1, as it stands.
        out.put_slice(&small);
        return;
    }
    out.put_slice(small.get(..HEAD_BYTES).unwrap_or_default());
    out.put_slice(data.unwrap_or_default());
    out.put_ids(auth);
}

/// The most ids a packet may carry, and bytes in all of them together: a client's identities, which arrive in auth requests.
const AUTH_IDS_MAX: usize = 4096;
const AUTH_BYTES_MAX: usize = 0xf_ffff;

/// Walks over unparsed bytes; `None` everywhere means: not all here yet.
struct Measure<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Measure<'_> {
    fn skip(&mut self, n: usize) -> Option<()> {
        let end = self.at.checked_add(n)?;
        (end <= self.bytes.len()).then(|| self.at = end)
    }

    fn i32(&mut self) -> Option<i32> {
        let mut four = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        self.at = self.at.checked_add(4)?;
        Some(four.get_i32())
    }

    /// A string or buffer of at most `max` bytes.
    fn field(&mut self, what: &'static str, max: usize) -> Result<Option<()>, WireError> {
        let offset = self.at;
        let Some(length) = self.i32() else {
            return Ok(None);
        };
        match usize::try_from(length) {
            Ok(n) if n <= max => Ok(self.skip(n)),
            Err(_) if length == -1 => Ok(Some(())),
            _ => Err(WireError::Length {
                what,
                offset,
                length: length.into(),
                max,
            }),
        }
    }

    /// A whole packet with at most so much data; afterwards `at` is its length.
    fn packet(&mut self, data_bytes_max: usize) -> Result<Option<()>, WireError> {
        if self.skip(12).is_none() {
            return Ok(None);
        }
        if self.field("data", data_bytes_max)?.is_none() {
            return Ok(None);
        }
        let (start, Some(count)) = (self.at, self.i32()) else {
            return Ok(None);
        };
        let ids = usize::try_from(count).unwrap_or(0);
        if ids > AUTH_IDS_MAX {
            return Err(WireError::Length {
                what: "authinfo",
                offset: start,
                length: count.into(),
                max: AUTH_IDS_MAX,
            });
        }
        for _ in 0..ids {
            for what in ["scheme", "id"] {
                let used = self.at.saturating_sub(start);
                let left = AUTH_BYTES_MAX.saturating_sub(used);
                if self.field(what, left)?.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }
}

/// Takes the first packet out of `buf`. `None`: it is not complete yet, and nothing was consumed.
///
/// Errors: an illegal length or a null id. The stream is then past saving.
pub fn parse(buf: &mut BytesMut) -> Result<Option<QuorumPacket>, WireError> {
    Parser::default().take(buf)
}

/// Takes packets out of a stream one after the other, as [`parse`] does, and remembers whose request came last: the next one is
/// the same client's most of the time, and its identities need not be made again.
pub struct Parser {
    data_bytes_max: usize,
    auth_bytes: Vec<u8>,
    auth: Option<Arc<[Id]>>,
}

/// Bytes of a packet without data and identities: type, zxid, and null twice.
const BARE_BYTES: usize = 20;
const NULLS: [u8; 8] = [0xff; 8];

impl Default for Parser {
    fn default() -> Self {
        Self::new(FIELD_BYTES_MAX)
    }
}

impl Parser {
    /// For packets with at most so much data.
    #[must_use]
    pub const fn new(data_bytes_max: usize) -> Self {
        Self {
            data_bytes_max,
            auth_bytes: Vec::new(),
            auth: None,
        }
    }

    /// The first packet of `buf`, as [`parse`].
    ///
    /// Errors: as [`parse`].
    pub fn take(&mut self, buf: &mut BytesMut) -> Result<Option<QuorumPacket>, WireError> {
        if let Some((mut head, rest)) = buf.split_at_checked(12)
            && rest.starts_with(&NULLS)
        {
            // ACK and COMMIT, most packets of all: nothing of them is kept, so nothing is shared.
            let kind = PacketKind::from_code(head.get_i32());
            let packet = QuorumPacket::new(kind, Zxid(head.get_u64()));
            buf.advance(BARE_BYTES);
            return Ok(Some(packet));
        }
        let mut measure = Measure { bytes: buf, at: 0 };
        if measure.packet(self.data_bytes_max)?.is_none() {
            return Ok(None);
        }
        let length = measure.at;
        let bytes = buf.split_to(length).freeze();
        let mut r = Reader::new(&bytes);
        Ok(Some(QuorumPacket {
            kind: PacketKind::from_code(r.i32("type")?),
            zxid: r.zxid("zxid")?,
            data: r.buffer("data")?,
            auth: self.auth(&bytes, r)?,
        }))
    }

    fn auth(&mut self, bytes: &Bytes, mut r: Reader<'_>) -> Result<Option<Arc<[Id]>>, WireError> {
        let auth_bytes = bytes.get(r.position()..).unwrap_or_default();
        if !auth_bytes.is_empty() && auth_bytes == self.auth_bytes {
            return Ok(self.auth.clone());
        }
        let auth = r.ids("authinfo")?.map(Arc::from);
        if auth.is_some() {
            self.auth_bytes.clear();
            self.auth_bytes.extend_from_slice(auth_bytes);
            self.auth.clone_from(&auth);
        }
        Ok(auth)
    }
}

/// Who a learner is: the data of FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LearnerInfo {
    /// Its id; `None`: it has not said, and the leader makes one up.
    pub server: Option<ServerId>,
    /// [`PROTOCOL_VERSION`]; older learners have less and get neither LEADERINFO nor ACKEPOCH.
    pub protocol_version: i32,
    /// The version of its configuration; `None`: it has not said. Larger than the leader's, it is refused.
    pub config_version: Option<u64>,
}

impl LearnerInfo {
    /// Reads it by the length of `data`: each form that was ever sent is a prefix of the next.
    #[must_use]
    pub fn decode(data: Option<&Bytes>) -> Self {
        let empty = Bytes::new();
        let mut r = Reader::new(data.unwrap_or(&empty));
        Self {
            server: r.i64("sid").ok().map(|sid| ServerId(sid.cast_unsigned())),
            protocol_version: r.i32("protocolVersion").unwrap_or(1),
            config_version: r.i64("configVersion").ok().map(i64::cast_unsigned),
        }
    }

    /// The full form, 20 bytes.
    #[must_use]
    pub fn encode(server: ServerId, config_version: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(20);
        out.put_u64(server.0);
        out.put_i32(PROTOCOL_VERSION);
        out.put_u64(config_version);
        out.freeze()
    }
}

/// The data that must be there, of a packet of the kind named `what`.
fn required<'a>(data: Option<&'a Bytes>, what: &'static str) -> Result<&'a Bytes, WireError> {
    data.ok_or(WireError::Null { what, offset: 12 })
}

/// LEADERINFO's data: the leader's protocol version.
#[must_use]
pub fn encode_leader_info() -> Bytes {
    Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes())
}

/// Reads LEADERINFO's data.
pub fn decode_leader_info(data: Option<&Bytes>) -> Result<i32, WireError> {
    Reader::new(required(data, "LEADERINFO")?).i32("protocolVersion")
}

/// ACKEPOCH's data: the learner's current epoch; `None` says that it has accepted this epoch before and must not be counted.
#[must_use]
pub fn encode_ack_epoch(current: Option<Epoch>) -> Bytes {
    let raw = current.map_or(-1, |epoch| epoch.0.cast_signed());
    Bytes::copy_from_slice(&raw.to_be_bytes())
}

/// Reads ACKEPOCH's data.
pub fn decode_ack_epoch(data: Option<&Bytes>) -> Result<Option<Epoch>, WireError> {
    let raw = Reader::new(required(data, "ACKEPOCH")?).i32("currentEpoch")?;
    Ok((raw != -1).then(|| Epoch(raw.cast_unsigned())))
}

/// The data of a learner's PING: its sessions since the last one, each with its timeout in ms. May be empty, never null.
#[must_use]
pub fn encode_session_table(sessions: impl ExactSizeIterator<Item = (SessionId, i32)>) -> Bytes {
    let mut out = BytesMut::with_capacity(sessions.len().saturating_mul(12));
    for (session, timeout_ms) in sessions {
        out.put_i64(session.0);
        out.put_i32(timeout_ms);
    }
    out.freeze()
}

/// Reads the data of a learner's PING, to its end.
pub fn decode_session_table(data: Option<&Bytes>) -> Result<Vec<(SessionId, i32)>, WireError> {
    let Some(data) = data else {
        return Ok(Vec::new());
    };
    let mut r = Reader::new(data);
    let mut sessions = Vec::with_capacity(data.len() / 12);
    while r.remaining() > 0 {
        sessions.push((SessionId(r.i64("session")?), r.i32("timeout")?));
    }
    Ok(sessions)
}

/// REVALIDATE's data as a learner asks: may this session move to me?
#[must_use]
pub fn encode_revalidate(session: SessionId, timeout_ms: i32) -> Bytes {
    encode_session_table(std::iter::once((session, timeout_ms)))
}

/// Reads what a learner asks.
pub fn decode_revalidate(data: Option<&Bytes>) -> Result<(SessionId, i32), WireError> {
    let mut r = Reader::new(required(data, "REVALIDATE")?);
    Ok((SessionId(r.i64("session")?), r.i32("timeout")?))
}

/// REVALIDATE's data as the leader answers.
#[must_use]
pub fn encode_revalidated(session: SessionId, valid: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_i64(session.0);
    out.put_bool(valid);
    out.freeze()
}

/// Reads what the leader answers.
pub fn decode_revalidated(data: Option<&Bytes>) -> Result<(SessionId, bool), WireError> {
    let mut r = Reader::new(required(data, "REVALIDATE")?);
    Ok((SessionId(r.i64("session")?), r.bool("valid")?))
}

/// REQUEST's data: a client's request on its way to the leader. The record is the client's own bytes, unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// Whose.
    pub session: SessionId,
    /// The client's xid; 0 for createSession.
    pub cxid: i32,
    /// The operation; `Request::decode` of [`super::client`] reads the record with it.
    pub opcode: i32,
    /// The record as the client sent it.
    pub record: Bytes,
}

impl ForwardedRequest {
    /// Reads REQUEST's data.
    pub fn decode(data: Option<&Bytes>) -> Result<Self, WireError> {
        let mut r = Reader::new(required(data, "REQUEST")?);
        Ok(Self {
            session: SessionId(r.i64("sessionId")?),
            cxid: r.i32("cxid")?,
            opcode: r.i32("type")?,
            record: r.rest(),
        })
    }

    /// Appends the whole REQUEST packet, without an intermediate copy of its data.
    pub fn put(&self, auth: Option<&[Id]>, out: &mut BytesMut) {
        let n = self.record.len().saturating_add(16);
        out.reserve(n.saturating_add(20));
        let mut head = [0_u8; HEAD_BYTES + 16];
        let mut at = head.as_mut_slice();
        at.put_i32(PacketKind::Request.code());
        at.put_zxid(NO_ZXID);
        at.put_count(n);
        at.put_i64(self.session.0);
        at.put_i32(self.cxid);
        at.put_i32(self.opcode);
        out.put_slice(&head);
        out.put_slice(&self.record);
        out.put_ids(auth);
    }
}

/// NEWLEADER's data: the text of the leader's configuration; null to learners of an old protocol.
///
/// Errors: text that is not UTF-8.
pub fn decode_config(data: Option<&Bytes>) -> Result<Option<&str>, WireError> {
    let Some(data) = data else {
        return Ok(None);
    };
    match std::str::from_utf8(data) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(WireError::Unknown {
            what: "text of a configuration",
            offset: error.valid_up_to(),
            value: i64::try_from(data.len()).unwrap_or(i64::MAX),
        }),
    }
}

/// COMMITANDACTIVATE's data: the leader that the new configuration designates.
#[must_use]
pub fn encode_designated(leader: ServerId) -> Bytes {
    Bytes::copy_from_slice(&leader.0.to_be_bytes())
}

/// Reads COMMITANDACTIVATE's data, or INFORMANDACTIVATE's, where the proposal's payload follows (empty otherwise).
pub fn decode_designated(data: Option<&Bytes>) -> Result<(ServerId, Bytes), WireError> {
    let mut r = Reader::new(required(data, "designated leader")?);
    let leader = ServerId(r.i64("designated leader")?.cast_unsigned());
    Ok((leader, r.rest()))
}

/// INFORMANDACTIVATE's data: the designated leader, then the payload.
#[must_use]
pub fn encode_inform_and_activate(leader: ServerId, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len().saturating_add(8));
    out.put_u64(leader.0);
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = Option<Vec<Id>>> {
        let id = ("[a-z]{0,4}", "[a-zé]{0,60}").prop_map(|(scheme, id)| Id {
            scheme: scheme.into(),
            id: id.into(),
        });
        prop::option::of(prop::collection::vec(id, 0..4))
    }

    fn packets() -> impl Strategy<Value = QuorumPacket> {
        let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        (0..25_i32, any::<u64>(), data, ids()).prop_map(|(code, zxid, data, auth)| QuorumPacket {
            kind: PacketKind::from_code(code),
            zxid: Zxid(zxid),
            data: data.map(Bytes::from),
            auth: auth.map(Arc::from),
        })
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_gives_the_same_packets(
            packets in prop::collection::vec(packets(), 1..5),
            step in 1..50_usize,
        ) {
            // Twice each, as one client's requests follow each other.
            let packets: Vec<_> = packets.iter().flat_map(|p| [p.clone(), p.clone()]).collect();
            let mut parser = Parser::default();
            let mut whole = BytesMut::new();
            for packet in &packets {
                packet.put(&mut whole);
            }
            let (mut buf, mut read) = (BytesMut::new(), vec![]);
            for piece in whole.chunks(step) {
                buf.put_slice(piece);
                loop {
                    let before = buf.len();
                    match parser.take(&mut buf)? {
                        Some(packet) => read.push(packet),
                        None => {
                            prop_assert_eq!(buf.len(), before);
                            break;
                        }
                    }
                }
            }
            prop_assert_eq!(read, packets);
            prop_assert!(buf.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            raw in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 0..200),
        ) {
            let mut buf = BytesMut::from(raw.as_slice());
            while let Ok(Some(_)) = parse(&mut buf) {}
            let raw = Bytes::from(raw);
            let data = Some(&raw);
            let _ = LearnerInfo::decode(data);
            let _ = decode_leader_info(data);
            let _ = decode_ack_epoch(data);
            let _ = decode_session_table(data);
            let _ = decode_revalidate(data);
            let _ = decode_revalidated(data);
            let _ = ForwardedRequest::decode(data);
            let _ = decode_config(data);
            let _ = decode_designated(data);
        }
    }

    #[test]
    fn codes_and_kinds_are_each_others_inverse() {
        for code in -2..30 {
            assert_eq!(PacketKind::from_code(code).code(), code);
        }
        assert_eq!(PacketKind::from_code(20), PacketKind::Unknown(20));
        assert_eq!(PacketKind::from_code(19), PacketKind::InformAndActivate);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_the_bytes_arrive() {
        let mut buf = BytesMut::new();
        buf.put_bytes(0, 12);
        buf.put_i32(0x7fff_ffff);
        assert!(matches!(
            parse(&mut buf),
            Err(WireError::Length { what: "data", .. })
        ));
        let mut buf = BytesMut::new();
        buf.put_bytes(0, 12);
        buf.put_i32(-1);
        buf.put_i32(0x7fff_ffff);
        assert!(matches!(
            parse(&mut buf),
            Err(WireError::Length {
                what: "authinfo",
                ..
            })
        ));
    }

    #[test]
    fn what_follows_a_snap_is_left_alone() -> Result<(), WireError> {
        let mut buf = BytesMut::new();
        let snap = QuorumPacket::new(PacketKind::Snap, Zxid(9));
        snap.put(&mut buf);
        buf.put_slice(b"the stream");
        assert_eq!(parse(&mut buf)?, Some(snap));
        assert_eq!(&buf[..], b"the stream");
        Ok(())
    }

    #[test]
    fn a_learner_is_read_by_how_much_it_says() {
        let full = LearnerInfo::encode(ServerId(3), 5);
        let info = |n| LearnerInfo::decode(Some(&full.slice(..n)));
        assert_eq!(info(20).config_version, Some(5));
        assert_eq!(info(12).config_version, None);
        assert_eq!(info(12).protocol_version, PROTOCOL_VERSION);
        assert_eq!(info(8).protocol_version, 1);
        assert_eq!(info(8).server, Some(ServerId(3)));
        assert_eq!(LearnerInfo::decode(None).server, None);
    }

    #[test]
    fn a_forwarded_request_keeps_the_clients_bytes() -> Result<(), WireError> {
        let request = ForwardedRequest {
            session: SessionId(5),
            cxid: 7,
            opcode: 2,
            record: Bytes::from_static(b"\0\0\0\x02/a\0\0\0\0 and more"),
        };
        let auth: Arc<[Id]> = Arc::from([Id {
            scheme: "ip".into(),
            id: "127.0.0.1".into(),
        }]);
        let mut buf = BytesMut::new();
        request.put(Some(&auth), &mut buf);
        let packet = parse(&mut buf)?;
        let Some(packet) = packet else {
            panic!("one whole packet was written");
        };
        assert_eq!(packet.auth, Some(auth));
        assert_eq!(ForwardedRequest::decode(packet.data.as_ref())?, request);
        Ok(())
    }
}
