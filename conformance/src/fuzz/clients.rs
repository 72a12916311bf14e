//! What clients send, and what servers answer.

use super::golden;
use bytes::{Bytes, BytesMut};
use zabra::client::digest_md5::{Exchange, Next, Refused, Service, respond};
use zabra::config::jaas::{Login, SaslUsers};
use zabra::wire::client::{ConnectRequest, ConnectResponse, RawRequest, ReplyFrame, Request, xid};
use zabra::wire::four_letter::FourLetter;
use zabra::wire::frame::{CLIENT_FRAME_BYTES_MAX, split};
use zabra::wire::quorum_auth::{self, Status};

/// The bytes of a connection: a word or a first frame, then requests.
///
/// # Panics
/// If a frame is longer than what was sent, or a request is read back as another one.
pub fn stream(data: &[u8]) {
    if let Some(first) = data.first_chunk::<4>() {
        let _ = FourLetter::recognise(*first);
    }
    let mut buf = BytesMut::from(data);
    let mut frames = Vec::new();
    let _ = split(&mut buf, CLIENT_FRAME_BYTES_MAX, &mut frames);
    let taken: usize = frames.iter().map(|frame| frame.len() + 4).sum();
    assert_eq!(taken + buf.len(), data.len());
    let mut frames = frames.into_iter();
    if let Some(first) = frames.next()
        && let Ok(request) = ConnectRequest::decode(&first)
    {
        let mut out = BytesMut::new();
        request.put(&mut out);
        let body = out.freeze().split_off(4);
        assert_eq!(ConnectRequest::decode(&body), Ok(request));
    }
    for frame in frames {
        if let Ok(raw) = RawRequest::split(&frame)
            && let Ok(request) = raw.decode()
        {
            read_back(&request);
        }
    }
}

fn read_back(request: &Request) {
    let mut out = BytesMut::new();
    request.put(7, &mut out);
    let again = RawRequest::split(&out.freeze().split_off(4)).and_then(|raw| raw.decode());
    assert_eq!(again.as_ref(), Ok(request));
}

/// An operation's number, and its record.
///
/// # Panics
/// If the request is read back as another one.
pub fn record(data: &[u8]) {
    let Some((number, record)) = data.split_first() else {
        return;
    };
    // -11 to 127: all that there are, and some that there are not.
    let number = i32::from(*number);
    let opcode = if number >= 245 { number - 256 } else { number };
    if let Ok(request) = Request::decode(opcode, &Bytes::copy_from_slice(record)) {
        read_back(&request);
    }
}

/// An operation's number, and the frame that answers it; or an event, or the answer to a first frame.
///
/// # Panics
/// If an answer is read back as another one.
pub fn reply(data: &[u8]) {
    let Some((number, body)) = data.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    if let Ok(response) = ConnectResponse::decode(&body) {
        let mut out = BytesMut::new();
        response.put(&mut out);
        let body = out.freeze().split_off(4);
        assert_eq!(ConnectResponse::decode(&body), Ok(response));
    }
    let Ok(frame) = ReplyFrame::split(&body) else {
        return;
    };
    if frame.header.xid == xid::EVENT {
        let _ = frame.decode_event();
        return;
    }
    let opcode = i32::from(*number);
    let Ok(response) = frame.decode(opcode) else {
        return;
    };
    let mut out = BytesMut::new();
    response.put(frame.header, &mut out);
    let again =
        ReplyFrame::split(&out.freeze().split_off(4)).and_then(|frame| frame.decode(opcode));
    assert_eq!(again, Ok(response));
}

/// The service, the user and the challenge of the worked example of RFC 2831, whose answer is among the good input.
const EXAMPLE: Service = Service {
    realm: "elwood.innosoft.com",
    uri: "imap/elwood.innosoft.com",
};
const EXAMPLE_NONCE: &str = "OA6MG9tEQGm2hh";
const EXAMPLE_ANSWER: &str = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",response=d388dad90d4bbd760a152321f2143af7,qop=auth";

/// A token of SASL, as the first one, as the answer to a challenge, as a challenge, and as the packet that brings one between servers.
///
/// # Panics
/// If somebody comes in as another user, a token counts behind the end, or a packet is read back as another one.
pub fn sasl_token(data: &[u8]) {
    let login = Login {
        user: "chris".into(),
        password: "secret".into(),
    };
    if let Ok(answered) = respond(data, &login, EXAMPLE, "OA6MHXh6VqTrRk") {
        assert!(answered.due.starts_with("rspauth="));
    }
    let mut packets = BytesMut::from(data);
    while let Ok(Some(packet)) = quorum_auth::parse(&mut packets) {
        let mut out = BytesMut::new();
        quorum_auth::put(packet.status, &packet.token, &mut out);
        assert_eq!(quorum_auth::parse(&mut out), Ok(Some(packet)));
    }
    let users = SaslUsers::new([("chris", "secret"), ("other", "of another")]);
    let step = |exchange: &mut Exchange, token: &[u8]| {
        exchange.step(token, &users, EXAMPLE, || EXAMPLE_NONCE.into())
    };
    let mut exchange = Exchange::default();
    let first = step(&mut exchange, data);
    assert_eq!(first.is_ok(), data.is_empty());
    let mut exchange = Exchange::default();
    let challenge = step(&mut exchange, b"");
    assert!(matches!(challenge, Ok(Next::Challenge(_))));
    if let Ok(next) = step(&mut exchange, data) {
        let is_chris = matches!(next, Next::Proved { user, .. } if &*user == "chris");
        assert!(is_chris, "whose password is in no good input");
    }
    assert_eq!(step(&mut exchange, data), Err(Refused::Untimely));
}

/// The answer of the standard, and answers that lack something.
#[must_use]
pub fn good_tokens() -> Vec<Vec<u8>> {
    let parts: Vec<&str> = EXAMPLE_ANSWER.split(',').collect();
    let without = |at: usize| {
        let left = parts.iter().enumerate().filter(|(i, _)| *i != at);
        left.map(|(_, part)| *part).collect::<Vec<_>>().join(",")
    };
    let mut all: Vec<Vec<u8>> = (0..=parts.len()).map(|at| without(at).into()).collect();
    all.push(
        EXAMPLE_ANSWER
            .replace("chris\"", "c\\hris\" , maxbuf=65536")
            .into(),
    );
    all.push(b"realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth,auth-int\",charset=utf-8,algorithm=md5-sess".into());
    for status in [Status::InProgress, Status::Success, Status::Error] {
        let mut packet = BytesMut::new();
        quorum_auth::put(status, EXAMPLE_ANSWER.as_bytes(), &mut packet);
        all.push(packet.into());
    }
    all
}

/// All that the clients of the captured connections have sent.
#[must_use]
pub fn good_streams() -> Vec<Vec<u8>> {
    let mut streams: Vec<_> = golden::streams("client", "c2s");
    streams.push(b"ruok".to_vec());
    streams
}

/// Each of the captured requests.
#[must_use]
pub fn good_records() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for stream in good_streams() {
        let mut frames = Vec::new();
        let _ = split(
            &mut BytesMut::from(&stream[..]),
            CLIENT_FRAME_BYTES_MAX,
            &mut frames,
        );
        for frame in frames.iter().skip(1).filter(|frame| frame.len() >= 8) {
            // The operation's number in one byte, and what follows it.
            records.push(frame[7..].to_vec());
        }
    }
    records.sort();
    records.dedup();
    records
}

/// Each of the captured answers, behind the number of every operation that has such an answer.
#[must_use]
pub fn good_replies() -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    for stream in golden::streams("client", "s2c") {
        let mut frames = Vec::new();
        let _ = split(
            &mut BytesMut::from(&stream[..]),
            CLIENT_FRAME_BYTES_MAX,
            &mut frames,
        );
        for frame in frames {
            for opcode in [1, 4, 6, 8, 12, 14, 15, 104, 107] {
                replies.push([&[opcode], &frame[..]].concat());
            }
        }
    }
    replies.sort();
    replies.dedup();
    replies
}
