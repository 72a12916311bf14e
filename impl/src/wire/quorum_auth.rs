//! QuorumAuthPacket: the packets by which a server that dials another one proves by SASL that it is of the ensemble, at the quorum port
//! before anything else, at the election port behind the message that says who dials. They have no length in front.
//!
//! ```text
//! magic (8 bytes) · status (4) · length of the token (4) · token
//! ```
//! Source: ZooKeeper `QuorumAuth`, `zookeeper.jute`.

use super::cursor::WireError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What each packet begins with.
const MAGIC: u64 = 0_u64.wrapping_sub(0xa0db_cafe_cafe_1234);
/// Magic, status and length.
const HEAD_BYTES: usize = 16;
/// The longest token: one of DIGEST-MD5 has a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 2048;

/// How far the exchange is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It goes on.
    InProgress,
    /// The dialler has proved it.
    Success,
    /// It has not.
    Error,
}

impl Status {
    const fn code(self) -> i32 {
        match self {
            Self::InProgress => 0,
            Self::Success => 1,
            Self::Error => -1,
        }
    }
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthPacket {
    /// How far the exchange is.
    pub status: Status,
    /// What SASL says.
    pub token: Bytes,
}

/// Whether `buf` begins with such a packet; `None`: too little has come to tell.
#[must_use]
pub fn begins(buf: &[u8]) -> Option<bool> {
    let magic = MAGIC.to_be_bytes();
    let n = buf.len().min(magic.len());
    match buf.get(..n) == magic.get(..n) {
        true if n < magic.len() => None,
        is_magic => Some(is_magic),
    }
}

/// Takes a packet off `buf`; whatever follows stays. `None`: it is not complete, and nothing was consumed.
///
/// # Errors
/// Another beginning, an unknown status, a token that is too long: the connection is to be closed.
pub fn parse(buf: &mut BytesMut) -> Result<Option<AuthPacket>, WireError> {
    let mut head: &[u8] = buf;
    if head.len() < HEAD_BYTES {
        return Ok(None);
    }
    let magic = head.get_u64();
    if magic != MAGIC {
        return Err(WireError::Unknown {
            what: "magic",
            offset: 0,
            value: magic.cast_signed(),
        });
    }
    let code = head.get_i32();
    let statuses = [Status::InProgress, Status::Success, Status::Error];
    let Some(status) = statuses.into_iter().find(|s| s.code() == code) else {
        return Err(WireError::Unknown {
            what: "status",
            offset: 8,
            value: code.into(),
        });
    };
    // -1 is a null, as Java writes an empty token, too.
    let length = head.get_i32();
    let n = match usize::try_from(length.max(0)) {
        Ok(n) if length >= -1 && n <= TOKEN_BYTES_MAX => n,
        _ => {
            return Err(WireError::Length {
                what: "token",
                offset: 12,
                length: length.into(),
                max: TOKEN_BYTES_MAX,
            });
        }
    };
    if head.len() < n {
        return Ok(None);
    }
    buf.advance(HEAD_BYTES);
    let token = buf.split_to(n).freeze();
    Ok(Some(AuthPacket { status, token }))
}

/// Writes a packet.
pub fn put(status: Status, token: &[u8], out: &mut BytesMut) {
    out.put_u64(MAGIC);
    out.put_i32(status.code());
    out.put_i32(i32::try_from(token.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(token);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As ZooKeeper's servers write it.
    const HEAD: [u8; 8] = [0x5f, 0x24, 0x35, 0x01, 0x35, 0x01, 0xed, 0xcc];

    #[test]
    fn a_packet_is_read_back_and_leaves_what_follows() {
        for status in [Status::InProgress, Status::Success, Status::Error] {
            let mut buf = BytesMut::new();
            put(status, b"token", &mut buf);
            assert_eq!(buf[..8], HEAD);
            assert_eq!(begins(&buf), Some(true));
            for n in 0..buf.len() {
                let mut part = BytesMut::from(&buf[..n]);
                assert_eq!(parse(&mut part), Ok(None), "{n}");
                assert_eq!(part.len(), n);
                assert_eq!(begins(&part), (n >= 8).then_some(true));
            }
            buf.extend_from_slice(b"more");
            let token = Bytes::from_static(b"token");
            assert_eq!(parse(&mut buf), Ok(Some(AuthPacket { status, token })));
            assert_eq!(&buf[..], b"more");
        }
        let null = [&HEAD[..], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat();
        let packet = parse(&mut BytesMut::from(&null[..])).unwrap().unwrap();
        assert_eq!(packet.token.len(), 0);
    }

    #[test]
    fn what_is_no_such_packet_is_told_from_one_by_its_first_bytes() {
        for other in [&[0, 0, 0, 11][..], &[0x5f, 0x24, 0], &[0xff]] {
            assert_eq!(begins(other), Some(false), "{other:?}");
        }
        assert_eq!(begins(&[]), None);
        for (status, length) in [(2, 0), (0, -2), (0, 2049)] {
            let mut buf = BytesMut::from(&HEAD[..]);
            buf.put_i32(status);
            buf.put_i32(length);
            assert!(parse(&mut buf).is_err(), "{status} {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            has_magic: bool,
        ) {
            let head: &[u8] = if has_magic { &HEAD } else { &[] };
            let mut buf = BytesMut::from(&[head, &bytes].concat()[..]);
            let _ = begins(&buf);
            while let Ok(Some(packet)) = parse(&mut buf) {
                prop_assert!(packet.token.len() <= TOKEN_BYTES_MAX);
            }
        }
    }
}
