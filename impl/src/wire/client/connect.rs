//! The first exchange of a connection, and what a session's id and password are made of.

use crate::wire::cursor::{JuteWrite, Reader, WireError};
use crate::wire::frame::put_frame;
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::ids::{SessionId, Zxid};

/// What a client says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRequest {
    /// 0; other values are ignored.
    pub protocol_version: i32,
    /// The newest position the client has seen: a server behind it must refuse.
    pub last_zxid_seen: Zxid,
    /// Requested session timeout, ms, any value.
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session: SessionId,
    /// 16 bytes normally; null and other lengths occur.
    pub password: Option<Bytes>,
    /// Whether a read-only server will do; `None`: the byte is absent (clients before 3.4), and so it is in the response.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Decodes a frame's body; bytes after the record are ignored.
    ///
    /// Errors: a body too short for its fields. The connection is then closed without a reply.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        Ok(Self {
            protocol_version: r.i32("protocolVersion")?,
            last_zxid_seen: r.zxid("lastZxidSeen")?,
            timeout_ms: r.i32("timeOut")?,
            session: SessionId(r.i64("sessionId")?),
            password: r.buffer("passwd")?,
            read_only: match r.remaining() {
                0 => None,
                _ => Some(r.bool("readOnly")?),
            },
        })
    }

    /// Appends the whole frame.
    pub fn put(&self, out: &mut BytesMut) {
        put_frame(out, |b| {
            b.put_i32(self.protocol_version);
            b.put_zxid(self.last_zxid_seen);
            b.put_i32(self.timeout_ms);
            b.put_i64(self.session.0);
            b.put_buffer(self.password.as_deref());
            if let Some(read_only) = self.read_only {
                b.put_bool(read_only);
            }
        });
    }
}

/// What a server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated session timeout, ms.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// The session's password.
    pub password: [u8; 16],
    /// Whether the server is read-only; `None` (absent) exactly if the request's was.
    pub read_only: Option<bool>,
}

impl std::fmt::Debug for ConnectResponse {
    /// Without the password: it is a secret, if a weak one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectResponse")
            .field("timeout_ms", &self.timeout_ms)
            .field("session", &self.session)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl ConnectResponse {
    /// The answer for a session that cannot be had: unknown, expired, closed, or a wrong password. The server closes after it.
    #[must_use]
    pub const fn expired(read_only: Option<bool>) -> Self {
        Self {
            timeout_ms: 0,
            session: SessionId(0),
            password: [0; 16],
            read_only,
        }
    }

    /// Decodes a frame's body.
    ///
    /// Errors: a body too short, or a password that has not 16 bytes.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.i32("protocolVersion")?;
        let timeout_ms = r.i32("timeOut")?;
        let session = SessionId(r.i64("sessionId")?);
        let offset = r.position();
        let password = r.buffer("passwd")?.unwrap_or_default();
        Ok(Self {
            timeout_ms,
            session,
            password: password
                .as_ref()
                .try_into()
                .map_err(|_| WireError::Length {
                    what: "passwd",
                    offset,
                    length: i64::try_from(password.len()).unwrap_or(i64::MAX),
                    max: 16,
                })?,
            read_only: match r.remaining() {
                0 => None,
                _ => Some(r.bool("readOnly")?),
            },
        })
    }

    /// Appends the whole frame.
    pub fn put(&self, out: &mut BytesMut) {
        put_frame(out, |b| {
            b.put_i32(0);
            b.put_i32(self.timeout_ms);
            b.put_i64(self.session.0);
            b.put_buffer(Some(&self.password));
            if let Some(read_only) = self.read_only {
                b.put_bool(read_only);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_client_gets_a_legacy_answer() -> Result<(), WireError> {
        for (read_only, length) in [(None, 36), (Some(false), 37)] {
            let mut out = BytesMut::new();
            let response = ConnectResponse {
                timeout_ms: 10_000,
                session: SessionId(7),
                password: [7; 16],
                read_only,
            };
            response.put(&mut out);
            let body = out.split_off(4).freeze();
            assert_eq!(body.len(), length);
            assert_eq!(ConnectResponse::decode(&body)?, response);
        }
        Ok(())
    }
}
