//! The first frame of a connection: a four-letter word, or who the client is.

use super::conn::{Conn, ConnPhase};
use super::ended::Ended;
use super::lock::lock;
use super::shared::{Mode, Shared};
use super::submit::Connect;
use crate::codes::Code;
use crate::wire::client::{ConnectRequest, ConnectResponse};
use crate::wire::four_letter::FourLetter;
use bytes::{Buf, BytesMut};
use std::sync::atomic::Ordering;
use tracing::{info, warn};
use zabra_model::service::read_only::{Entry, entry};
use zabra_model::service::session::{may_connect, negotiated_timeout_ms, password_fits};
use zabra_model::service::tokens::Attach;

/// A frame is refused by its length only beyond what the limit for requests and a header allow.
const CONNECT_BYTES_MAX: usize = 4096;

/// What the first bytes of a connection are.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum First {
    /// Not enough to say.
    More,
    /// An operator's word.
    Word(FourLetter),
    /// A client introduces itself.
    Connect(ConnectRequest),
}

/// Takes the first frame off `buf`, and no more: requests may be pipelined behind it.
pub(super) fn take_first(buf: &mut BytesMut) -> Result<First, Ended> {
    let Some(four) = buf.first_chunk::<4>().copied() else {
        return Ok(First::More);
    };
    if let Some(word) = FourLetter::recognise(four) {
        return Ok(First::Word(word));
    }
    match usize::try_from(i32::from_be_bytes(four)) {
        Ok(length) if length <= CONNECT_BYTES_MAX => {
            if buf.len() < length + 4 {
                return Ok(First::More);
            }
            let mut frame = buf.split_to(length + 4).freeze();
            frame.advance(4);
            let request = ConnectRequest::decode(&frame).map_err(|_| Ended::NotAConnect)?;
            Ok(First::Connect(request))
        }
        Ok(_) | Err(_) => Err(Ended::NotAConnect),
    }
}

/// What the client wants. The connection is bound to the session that it shall have.
///
/// # Errors
/// [`Ended::TooFast`], [`Ended::NotServing`], [`Ended::WantsToWrite`], [`Ended::SeenMore`], [`Ended::GlobalSession`]: the client gets no answer, and looks for another server.
pub(super) fn introduce(
    shared: &Shared,
    conn: &Conn,
    request: &ConnectRequest,
    now_ms: u64,
) -> Result<Connect, Ended> {
    let stats = &shared.stats;
    stats.connect_requests.fetch_add(1, Ordering::Relaxed);
    let attach = match request.session.0 {
        0 => Attach::New {
            local: shared.config.local_sessions.enabled,
        },
        _ => Attach::Renew,
    };
    if !shared.door.lets_in(attach, now_ms, &stats.token_deficit) {
        stats.rejected.fetch_add(1, Ordering::Relaxed);
        if let Some(unsaid) = lock(&shared.too_fast).due(now_ms) {
            warn!(code = %Code::TooFast, from = %conn.from, unsaid, "clients come too fast (connection_throttle_tokens), closing");
        }
        return Err(Ended::TooFast);
    }
    let mode = shared.mode();
    let (last, is_global) = {
        let tree = shared.tree();
        let is_global = tree.session_timeout(request.session).is_some();
        (tree.last_zxid(), is_global)
    };
    let leader_serves = shared.config.net.leader_serves;
    let entry = entry(mode, request.read_only, is_global, leader_serves);
    match entry {
        Entry::Open | Entry::GlobalSession => {}
        Entry::NotServing => {
            stats.not_serving.fetch_add(1, Ordering::Relaxed);
            return Err(Ended::NotServing);
        }
        Entry::WantsToWrite => return Err(Ended::WantsToWrite),
    }
    if !may_connect(request.last_zxid_seen, last) {
        if let Some(unsaid) = lock(&shared.seen_more).due(now_ms) {
            info!(from = %conn.from, seen = %request.last_zxid_seen, own = %last, unsaid,
                "a client has seen more than this server; it must try another");
        }
        return Err(Ended::SeenMore);
    }
    if entry == Entry::GlobalSession {
        return Err(Ended::GlobalSession);
    }
    let config = &shared.config;
    let timeout_ms = negotiated_timeout_ms(
        request.timeout_ms,
        config.min_session_ms,
        config.max_session_ms,
    );
    conn.state().read_only = request.read_only.map(|_| mode == Mode::ReadOnly);
    let session = request.session;
    if session.0 == 0 {
        let session = lock(&shared.ids).give();
        conn.bind(session, timeout_ms);
        return Ok(Connect::New(session));
    }
    stats.revalidations_asked.fetch_add(1, Ordering::Relaxed);
    if !password_fits(session, request.password.as_deref().unwrap_or_default()) {
        let mut state = conn.state();
        ConnectResponse::expired(state.read_only).put(&mut state.out);
        state.phase = ConnPhase::Closing;
        return Ok(Connect::Refused);
    }
    // Not before it has shown whose the session is (D-65): ids can be guessed.
    let old = lock(&shared.sessions).left(session);
    if let Some(old) = old {
        old.close();
    }
    conn.bind(session, timeout_ms);
    Ok(Connect::Again(session))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use zabra_model::ids::{SessionId, Zxid};

    fn connect() -> ConnectRequest {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(7),
            timeout_ms: 4000,
            session: SessionId(0),
            password: None,
            read_only: None,
        }
    }

    #[test]
    fn the_first_frame_is_a_word_or_a_connect_request_and_no_byte_more_is_taken() {
        let mut buf = BytesMut::from(&b"ruo"[..]);
        assert_eq!(take_first(&mut buf), Ok(First::More));
        buf.put_slice(b"k\r\n");
        assert_eq!(take_first(&mut buf), Ok(First::Word(FourLetter::Ruok)));

        let mut whole = BytesMut::new();
        connect().put(&mut whole);
        let length = whole.len();
        whole.put_slice(b"a pipelined request");
        let mut buf = BytesMut::new();
        for (at, byte) in whole.iter().enumerate().take(length - 1) {
            buf.put_u8(*byte);
            assert_eq!(take_first(&mut buf), Ok(First::More), "{at}");
        }
        buf.unsplit(whole.split_off(length - 1));
        assert_eq!(take_first(&mut buf), Ok(First::Connect(connect())));
        assert_eq!(&buf[..], b"a pipelined request");
    }

    #[test]
    fn what_is_neither_a_word_nor_a_connect_request_ends_the_connection() {
        for wrong in [
            &b"GET / HTTP/1.1"[..],
            &[0xff, 0xff, 0xff, 0xff, 0],
            &[0, 0, 0x10, 1, 0],
            &[0, 0, 0, 0],
            &[0, 0, 0, 2, 1, 2],
        ] {
            let mut buf = BytesMut::from(wrong);
            assert_eq!(take_first(&mut buf), Err(Ended::NotAConnect), "{wrong:?}");
        }
    }
}
