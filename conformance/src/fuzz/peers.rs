//! What the other servers of an ensemble send, or strangers on their ports.

use super::golden;
use bytes::BytesMut;
use serde_json::Value;
use zabra::wire::cursor::FIELD_BYTES_MAX;
use zabra::wire::election::InitialMessage;
use zabra::wire::link::{Heard, Reader, hello};
use zabra::wire::mail;
use zabra::wire::quorum::{
    ForwardedRequest, LearnerInfo, Parser, decode_ack_epoch, decode_config, decode_designated,
    decode_leader_info, decode_revalidate, decode_revalidated, decode_session_table,
};

/// The first byte says who speaks, a learner or a leader; then the bytes of a link, in two pieces.
///
/// # Panics
/// If a packet takes more than was sent.
pub fn quorum(data: &[u8]) {
    let Some((who, stream)) = data.split_first() else {
        return;
    };
    packets(stream);
    let from_learner = who & 1 == 0;
    let mut reader = Reader::new(from_learner, FIELD_BYTES_MAX);
    let (first, second) = stream.split_at(stream.len().min(usize::from(who >> 1)));
    let mut buf = BytesMut::new();
    for piece in [first, second] {
        buf.extend_from_slice(piece);
        loop {
            let before = buf.len();
            match reader.take(&mut buf) {
                Ok(Some(Heard::Core(_))) => assert!(buf.len() <= before),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The data of each packet, read as that of each kind.
fn packets(stream: &[u8]) {
    let mut buf = BytesMut::from(stream);
    let mut parser = Parser::default();
    while let Ok(Some(packet)) = parser.take(&mut buf) {
        let data = packet.data.as_ref();
        let _ = LearnerInfo::decode(data);
        let _ = decode_leader_info(data);
        let _ = decode_ack_epoch(data);
        let _ = decode_config(data);
        let _ = decode_designated(data);
        let _ = decode_session_table(data);
        let _ = decode_revalidate(data);
        let _ = decode_revalidated(data);
        if let Ok(request) = ForwardedRequest::decode(data) {
            super::clients::record(&[&[request.opcode as u8], &request.record[..]].concat());
        }
        let _ = hello(packet);
    }
}

/// The bytes of a connection between election ports: who dials, then notifications.
///
/// # Panics
/// If a first message is read back as another one.
pub fn election(data: &[u8]) {
    let mut buf = BytesMut::from(data);
    let Ok(Some(initial)) = InitialMessage::parse(&mut buf) else {
        return;
    };
    let mut out = BytesMut::new();
    initial.put(&mut out);
    if let Ok(again) = InitialMessage::parse(&mut out) {
        assert_eq!(again, Some(initial));
    }
    let _ = mail::read(&mut buf, |_| {});
}

/// What the servers of the captured ensembles said to each other on a channel, behind each of these beginnings.
fn good(channel: &str, beginnings: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for line in golden::lines("ensemble") {
        let text = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let bytes = golden::bytes(text("hex"));
        if text("channel") == channel && !bytes.is_empty() && bytes.len() < 4096 {
            for beginning in beginnings {
                all.push([beginning, &bytes[..]].concat());
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Captured packets, said by a learner and by a leader.
#[must_use]
pub fn good_quorum() -> Vec<Vec<u8>> {
    good("quorum", &[&[0], &[1]])
}

/// Captured messages; those that are no first message stand behind one.
#[must_use]
pub fn good_election() -> Vec<Vec<u8>> {
    good("election", &[&[], &[0, 0, 0, 0, 0, 0, 0, 1]])
}
