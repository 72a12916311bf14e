//! Every frame captured from real ZooKeeper servers and clients is decoded and encoded again, byte for byte.
//!
//! Frames that our types refuse or cannot reproduce are counted by reason, and the counts are exact: a codec that begins to
//! refuse, or a capture that is no longer read, turns the test red. Where the bytes come from: `golden/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use zabra::wire::client::{
    ConnectRequest, ConnectResponse, RawRequest, ReplyFrame, Request, opcode, reply, xid,
};
use zabra::wire::election::{InitialMessage, Notification, NotificationForm, config_version};
use zabra::wire::four_letter::FourLetter;
use zabra::wire::frame::{CLIENT_FRAME_BYTES_MAX, ELECTION_FRAME_BYTES_MAX, split};
use zabra::wire::quorum::{self, ForwardedRequest, LearnerInfo, PacketKind, QuorumPacket};
use zabra::wire::txn::{put_txn, read_txn};
use zabra_model::ids::SessionId;
use zabra_model::service::session::{password, password_fits};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// One captured line, and where it stands for whoever must look it up.
struct Line {
    place: String,
    value: Value,
}

impl Line {
    fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn note(&self, key: &str) -> Option<&Value> {
        self.value.get("note").and_then(|note| note.get(key))
    }

    fn bytes(&self) -> BytesMut {
        unhex(self.text("hex"))
    }
}

fn unhex(text: &str) -> BytesMut {
    assert!(text.len().is_multiple_of(2));
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

fn files(folder: &str) -> Vec<Vec<Line>> {
    let mut paths: Vec<_> = std::fs::read_dir(golden(folder))
        .expect("golden files are in the repository")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("text");
        let name = path.file_name().expect("a name").to_string_lossy();
        text.lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(i, line)| Line {
                place: format!("{folder}/{name}:{}", i + 1),
                value: serde_json::from_str(line).expect("JSON"),
            })
            .collect()
    };
    paths.iter().map(read).collect()
}

/// How many frames met which fate.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, fate: &'static str) {
        *self.0.entry(fate).or_default() += 1;
    }

    fn is(&self, expected: &[(&'static str, usize)]) {
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        assert_eq!(self.0, expected);
    }
}

/// The one frame that `line` holds, or why it holds none.
fn one_frame(line: &Line, max: usize) -> Result<Bytes, &'static str> {
    let mut buf = line.bytes();
    let mut frames = vec![];
    match split(&mut buf, max, &mut frames) {
        Err(_) => Err("illegal frame length"),
        Ok(_) => {
            assert!(buf.is_empty() && frames.len() == 1, "{}", line.place);
            Ok(frames.remove(0))
        }
    }
}

fn same(line: &Line, out: &BytesMut) {
    assert_eq!(out, &line.bytes(), "{}: encoded again", line.place);
}

/// A client connection as far as it decides how bytes are read: what is answered next.
#[derive(Default)]
struct Connection {
    requested: bool,
    connected: bool,
    pending: VecDeque<(i32, i32)>,
    refused: Vec<i32>,
}

fn client_sent(line: &Line, conn: &mut Connection, tally: &mut Tally) {
    let body = match one_frame(line, CLIENT_FRAME_BYTES_MAX) {
        Ok(body) => body,
        Err(why) => return tally.count(why),
    };
    let mut out = BytesMut::new();
    if !conn.requested {
        conn.requested = true;
        let Ok(request) = ConnectRequest::decode(&body) else {
            return tally.count("refused: connect request too short");
        };
        request.put(&mut out);
        if out.len() < body.len() + 4 {
            assert_eq!(out[4..], body[..out.len() - 4], "{}", line.place);
            return tally.count("request with trailing bytes");
        }
        same(line, &out);
        return tally.count("connect request");
    }
    let Ok(raw) = RawRequest::split(&body) else {
        return tally.count("refused: request without header");
    };
    conn.pending.push_back((raw.header.xid, raw.header.opcode));
    let Ok(request) = raw.decode() else {
        conn.refused.push(raw.header.xid);
        return tally.count("refused: record");
    };
    assert_eq!(request.opcode(), raw.header.opcode, "{}", line.place);
    request.put(raw.header.xid, &mut out);
    if out.len() < body.len() + 4 {
        assert_eq!(out[12..], body[8..out.len() - 4], "{}", line.place);
        return tally.count("request with trailing bytes");
    }
    if String::from_utf8_lossy(&body).contains('\u{fffd}') && out != line.bytes() {
        return tally.count("invalid UTF-8 replaced");
    }
    same(line, &out);
    tally.count(match request {
        Request::Unknown { .. } => "unknown opcode",
        _ => "request",
    });
}

fn server_sent(line: &Line, conn: &mut Connection, tally: &mut Tally) {
    let body = one_frame(line, CLIENT_FRAME_BYTES_MAX).expect("servers send legal frames");
    let mut out = BytesMut::new();
    // A read-only server may answer a connect request with a bare reply header.
    if !conn.connected && body.len() > 16 {
        conn.connected = true;
        connect_response(line, &body);
        return tally.count("connect response");
    }
    let reply = ReplyFrame::split(&body).expect(&line.place);
    if conn.pending.front() == Some(&(1, opcode::CREATE_SESSION)) && reply.header.xid == 0 {
        conn.pending.pop_front();
        connect_response(line, &body);
        return tally.count("connect response");
    }
    if reply.header.xid == xid::EVENT && line.note("rec").is_some_and(|rec| rec != "ReplyHeader") {
        let event = reply.decode_event().expect(&line.place);
        reply::put_event(reply.header.zxid, event.kind, &event.path, &mut out);
        same(line, &out);
        return tally.count("event");
    }
    if !conn.connected {
        reply::put_empty(reply.header, &mut out);
        same(line, &out);
        return tally.count("error");
    }
    let (asked, op) = conn.pending.pop_front().expect(&line.place);
    let expected = if op == opcode::PING { xid::PING } else { asked };
    assert_eq!(reply.header.xid, expected, "{}", line.place);
    if let Some(i) = conn.refused.iter().position(|&x| x == asked) {
        conn.refused.remove(i);
        // What we refuse to decode, ZooKeeper refused as well.
        assert_eq!(reply.header.err, -5, "{}", line.place);
        tally.count("MarshallingError for a refused record");
    }
    let response = reply.decode(op).expect(&line.place);
    response.put(reply.header, &mut out);
    same(line, &out);
    tally.count(if reply.header.err == 0 {
        "reply"
    } else {
        "error"
    });
}

fn connect_response(line: &Line, body: &Bytes) {
    let response = ConnectResponse::decode(body).expect(&line.place);
    if response.session != SessionId(0) {
        assert!(password_fits(response.session, &response.password));
    }
    let mut out = BytesMut::new();
    response.put(&mut out);
    same(line, &out);
}

fn client_folder(folder: &str) -> Tally {
    let mut tally = Tally::default();
    for file in files(folder) {
        let mut connections: BTreeMap<String, Connection> = BTreeMap::new();
        for line in file {
            let conn = connections.entry(line.text("conn").into()).or_default();
            match line.text("dir") {
                "c2s" => client_sent(&line, conn, &mut tally),
                "s2c" => server_sent(&line, conn, &mut tally),
                _ if line.text("note") == "tcp connect" => *conn = Connection::default(),
                _ => {}
            }
        }
    }
    tally
}

#[test]
fn client_frames_of_3_9_5_survive() {
    // 1140 frames: 1122 come back as they were, the other 18 are these:
    client_folder("client").is(&[
        ("connect request", 89),
        ("connect response", 83),
        ("request", 446),
        // Codes without a record of ours (0, 10, 23, 99, …, and check alone): the record is kept as it is.
        ("unknown opcode", 6),
        ("reply", 346),
        ("error", 110),
        ("event", 42),
        // Frames that the server refused too: see the capture's next line.
        ("illegal frame length", 4),
        ("refused: connect request too short", 1),
        ("refused: request without header", 2),
        ("refused: record", 6),
        ("MarshallingError for a refused record", 6),
        // Readers ignore what follows a record. All but that comes back.
        ("request with trailing bytes", 2),
        // Invalid UTF-8 becomes U+FFFD in ZooKeeper as well; a forwarded record keeps the client's bytes.
        ("invalid UTF-8 replaced", 3),
    ]);
}

#[test]
fn client_frames_of_3_8_0_survive() {
    // 677 frames, all but the refused 10 come back.
    client_folder("client-3.8.0").is(&[
        ("connect request", 36),
        ("connect response", 37),
        ("request", 274),
        ("unknown opcode", 6),
        ("reply", 195),
        ("error", 85),
        ("event", 34),
        ("illegal frame length", 2),
        ("refused: request without header", 2),
        ("refused: record", 6),
        ("MarshallingError for a refused record", 6),
    ]);
}

fn election_message(line: &Line, tally: &mut Tally) {
    let mut out = BytesMut::new();
    if line
        .note("rec")
        .and_then(Value::as_str)
        .is_some_and(|rec| rec.starts_with("InitialMessage"))
    {
        let mut buf = line.bytes();
        match InitialMessage::parse(&mut buf) {
            Ok(message) => {
                assert!(buf.is_empty(), "{}", line.place);
                message.expect(&line.place).put(&mut out);
                same(line, &out);
                tally.count("initial message");
            }
            Err(_) => tally.count("refused: initial message"),
        }
        return;
    }
    let body = match one_frame(line, ELECTION_FRAME_BYTES_MAX) {
        Ok(body) => body,
        Err(why) => return tally.count(why),
    };
    let Ok(notification) = Notification::decode(&body) else {
        return tally.count("skipped: notification");
    };
    if let NotificationForm::Config { text, .. } = &notification.form {
        assert!(config_version(text).is_some(), "{}", line.place);
    }
    notification.put(&mut out);
    same(line, &out);
    tally.count("notification");
}

/// The payload of a log entry or proposal, in bytes that must come back.
fn payload(line: &Line, bytes: &Bytes, tally: &mut Tally) {
    let payload = read_txn(bytes).expect(&line.place);
    let mut out = BytesMut::new();
    put_txn(&payload.header, &payload.txn, payload.digest, &mut out);
    assert_eq!(out, bytes, "{}", line.place);
    tally.count("payload");
    if payload.digest.is_some() {
        tally.count("payload with digest");
    }
}

/// What REQUEST carries, in bytes that must come back, the request in it as well.
fn forwarded_request(line: &Line, packet: &QuorumPacket, tally: &mut Tally) {
    let forwarded = ForwardedRequest::decode(packet.data.as_ref()).expect(&line.place);
    let mut whole = BytesMut::new();
    forwarded.put(packet.auth.as_deref(), &mut whole);
    same(line, &whole);
    let request = Request::decode(forwarded.opcode, &forwarded.record).expect(&line.place);
    assert!(
        !matches!(request, Request::Unknown { .. }),
        "{}",
        line.place
    );
    let mut record = BytesMut::new();
    request.put_record(&mut record);
    assert_eq!(record, forwarded.record, "{}", line.place);
    tally.count("forwarded request");
}

/// What a packet carries, in bytes that must come back.
fn quorum_data(line: &Line, packet: &QuorumPacket, tally: &mut Tally) {
    let data = packet.data.as_ref();
    let bytes = data.cloned().unwrap_or_default();
    let again = match packet.kind {
        PacketKind::Proposal | PacketKind::Inform => {
            payload(line, &bytes, tally);
            return;
        }
        PacketKind::Request => return forwarded_request(line, packet, tally),
        PacketKind::FollowerInfo | PacketKind::ObserverInfo => {
            let info = LearnerInfo::decode(data);
            let (Some(server), Some(version)) = (info.server, info.config_version) else {
                return tally.count("learner info of an old form");
            };
            if info.protocol_version != quorum::PROTOCOL_VERSION {
                return tally.count("learner info of an old form");
            }
            LearnerInfo::encode(server, version)
        }
        PacketKind::LeaderInfo => {
            let version = quorum::decode_leader_info(data).expect(&line.place);
            assert_eq!(version, quorum::PROTOCOL_VERSION);
            quorum::encode_leader_info()
        }
        PacketKind::AckEpoch => {
            quorum::encode_ack_epoch(quorum::decode_ack_epoch(data).expect(&line.place))
        }
        PacketKind::Ping if data.is_some() => {
            let table = quorum::decode_session_table(data).expect(&line.place);
            quorum::encode_session_table(table.into_iter())
        }
        PacketKind::Revalidate if bytes.len() == 12 => {
            let (session, timeout) = quorum::decode_revalidate(data).expect(&line.place);
            quorum::encode_revalidate(session, timeout)
        }
        PacketKind::Revalidate => {
            let (session, valid) = quorum::decode_revalidated(data).expect(&line.place);
            quorum::encode_revalidated(session, valid)
        }
        PacketKind::NewLeader => {
            let text = quorum::decode_config(data).expect(&line.place);
            assert!(text.is_none_or(|text| config_version(text).is_some()));
            bytes.clone()
        }
        PacketKind::CommitAndActivate => {
            let (leader, rest) = quorum::decode_designated(data).expect(&line.place);
            assert!(rest.is_empty());
            quorum::encode_designated(leader)
        }
        PacketKind::InformAndActivate => {
            let (leader, inner) = quorum::decode_designated(data).expect(&line.place);
            payload(line, &inner, tally);
            quorum::encode_inform_and_activate(leader, &inner)
        }
        PacketKind::Ack
        | PacketKind::Commit
        | PacketKind::Ping
        | PacketKind::Sync
        | PacketKind::UpToDate
        | PacketKind::Diff
        | PacketKind::Trunc
        | PacketKind::Snap => {
            assert_eq!(data, None, "{}", line.place);
            return;
        }
        PacketKind::Unknown(_) => return tally.count("unknown packet"),
    };
    assert_eq!(again, bytes, "{}", line.place);
    tally.count("packet data");
}

fn quorum_message(line: &Line, tally: &mut Tally) {
    if line.note("rec").is_some_and(|rec| rec == "snapshot stream") {
        return tally.count("snapshot stream");
    }
    let mut buf = line.bytes();
    if line.text("note").ends_with("bytes of 0xff") {
        // Three packets of an unknown type, and the beginning of a fourth.
        while let Ok(Some(packet)) = quorum::parse(&mut buf) {
            assert_eq!(packet.kind, PacketKind::Unknown(-1));
        }
        assert_eq!(buf.len(), 4);
        return tally.count("hand-made nonsense");
    }
    let packet = quorum::parse(&mut buf)
        .expect(&line.place)
        .expect(&line.place);
    assert!(buf.is_empty(), "{}", line.place);
    let mut out = BytesMut::new();
    packet.put(&mut out);
    same(line, &out);
    tally.count("packet");
    quorum_data(line, &packet, tally);
}

#[test]
fn ensemble_messages_survive() {
    let mut tally = Tally::default();
    for line in files("ensemble").iter().flatten() {
        match (line.text("hex"), line.text("channel")) {
            ("", _) => {}
            (_, "election") => election_message(line, &mut tally),
            (_, "quorum") => quorum_message(line, &mut tally),
            (_, other) => panic!("{}: channel {other}", line.place),
        }
    }
    // 1574 messages; 1555 come back.
    tally.is(&[
        ("initial message", 76),
        ("notification", 178),
        ("packet", 1301),
        // What the packets carry comes back as well.
        ("payload", 257),
        ("payload with digest", 235),
        ("forwarded request", 79),
        ("packet data", 316),
        // Shorter than we write it, from the hand-made learner: read by length.
        ("learner info of an old form", 3),
        // From the hand-made peers, and refused or skipped by the server too.
        ("illegal frame length", 1),
        ("refused: initial message", 3),
        ("skipped: notification", 3),
        ("hand-made nonsense", 1),
        // Not a packet: the body of a snapshot, which is storage's to read.
        ("snapshot stream", 11),
    ]);
}

#[test]
fn quorum_packets_are_cut_out_of_one_stream() {
    let mut stream = BytesMut::new();
    let mut sent = 0;
    for line in files("ensemble").iter().flatten() {
        let is_packet = line.note("rec").is_some_and(|rec| rec == "QuorumPacket");
        if line.text("channel") == "quorum" && is_packet {
            stream.extend_from_slice(&line.bytes());
            sent += 1;
        }
    }
    let whole = stream.clone();
    let (mut buf, mut again, mut read) = (BytesMut::new(), BytesMut::new(), 0);
    for piece in stream.chunks(1000) {
        buf.extend_from_slice(piece);
        while let Some(packet) = quorum::parse(&mut buf).expect("real packets") {
            packet.put(&mut again);
            read += 1;
        }
    }
    assert_eq!((read, again), (sent, whole));
    assert!(sent > 1000, "{sent} packets");
}

#[test]
fn computed_vectors_hold() {
    let text = std::fs::read_to_string(golden("vectors.json")).expect("in the repository");
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    let number = |value: &Value| {
        let hex = value.as_str().expect("a string").trim_start_matches("0x");
        u64::from_str_radix(hex, 16).expect("hex")
    };
    let passwords = vectors["session_passwords"].as_array().expect("a list");
    assert_eq!(passwords.len(), 12);
    for vector in passwords {
        let session = SessionId(number(&vector["sessionId"]).cast_signed());
        let expected = unhex(vector["passwd"].as_str().expect("hex"));
        assert_eq!(password(session)[..], expected, "{session}");
    }
    let words = vectors["fourlw_ints"].as_object().expect("a map");
    assert_eq!(words.len(), FourLetter::WORDS.len());
    for (word, int) in words {
        let known = FourLetter::from_word(word).expect(word);
        assert_eq!(u64::from(known.int()), number(int), "{word}");
    }
    let entries = vectors["log_entries"].as_array().expect("a list");
    assert_eq!(entries.len(), 8);
    for entry in entries {
        let bytes = unhex(entry["payload"].as_str().expect("hex")).freeze();
        let payload = read_txn(&bytes).expect("a real payload");
        let mut out = BytesMut::new();
        put_txn(&payload.header, &payload.txn, payload.digest, &mut out);
        assert_eq!(out, bytes);
    }
}
