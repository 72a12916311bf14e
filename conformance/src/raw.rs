//! A client without a library: one connection, one request at a time, deadlines on everything.

use crate::cluster::PATIENCE;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use zabra::wire::client::{ConnectRequest, ConnectResponse, ReplyFrame, Request, Response, xid};
use zabra::wire::frame::{CLIENT_FRAME_BYTES_MAX, split};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::op::{CreateKind, WriteOp};

/// More than any answer has: that to a multiRead may be many times as long as a frame of a client.
const ANSWER_BYTES_MAX: usize = 64 * CLIENT_FRAME_BYTES_MAX;

/// A connection that speaks in frames and knows nothing of what is in them.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    buffer: BytesMut,
    whole: std::collections::VecDeque<Bytes>,
}

impl Frames {
    /// Connects on loopback.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            whole: std::collections::VecDeque::new(),
        })
    }

    /// Sends bytes as they are, length prefix included.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The body of the next frame; `None` if the server has closed the connection.
    ///
    /// # Errors
    /// Nothing within `limit`, or the server breaks its own framing.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<Bytes>> {
        self.stream.set_read_timeout(Some(limit))?;
        loop {
            if let Some(frame) = self.whole.pop_front() {
                return Ok(Some(frame));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).with_context(|| format!("no frame within {limit:?}")),
            }
            let mut frames = vec![];
            split(&mut self.buffer, ANSWER_BYTES_MAX, &mut frames)?;
            self.whole.extend(frames);
        }
    }
}

/// A session on one connection.
#[derive(Debug)]
pub struct RawClient {
    frames: Frames,
    xid: i32,
    /// What the server granted.
    pub session: ConnectResponse,
}

impl RawClient {
    /// Opens a new session.
    ///
    /// # Errors
    /// The server refuses, or does not answer within [`PATIENCE`].
    pub fn connect(port: u16, timeout_ms: i32) -> Result<Self> {
        Self::connect_within(port, timeout_ms, PATIENCE)
    }

    /// The same for the impatient.
    ///
    /// # Errors
    /// The server refuses, or does not answer within `limit`.
    pub fn connect_within(port: u16, timeout_ms: i32, limit: Duration) -> Result<Self> {
        let password = Bytes::from_static(&[0; 16]);
        Self::introduce(port, timeout_ms, (SessionId(0), password), limit)
    }

    /// Goes on with a session.
    ///
    /// # Errors
    /// As [`RawClient::connect_within`], or the session is over.
    pub fn resume_within(port: u16, session: &ConnectResponse, limit: Duration) -> Result<Self> {
        let password = Bytes::copy_from_slice(&session.password);
        let who = (session.session, password);
        let client = Self::introduce(port, session.timeout_ms, who, limit)?;
        ensure!(
            client.session.session == session.session,
            "the session is over"
        );
        Ok(client)
    }

    fn introduce(
        port: u16,
        timeout_ms: i32,
        (session, password): (SessionId, Bytes),
        limit: Duration,
    ) -> Result<Self> {
        let mut frames = Frames::connect(port)?;
        let mut out = BytesMut::new();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session,
            password: Some(password),
            read_only: Some(false),
        };
        request.put(&mut out);
        frames.send(&out)?;
        let body = frames
            .receive(limit)?
            .context("closed before the connect response")?;
        let session = ConnectResponse::decode(&body)?;
        Ok(Self {
            frames,
            xid: 0,
            session,
        })
    }

    /// The connection, for somebody with more than one request in flight; the next xid is the caller's.
    #[must_use]
    pub fn into_frames(self) -> Frames {
        self.frames
    }

    /// Sends one request and waits for its reply; events in between are dropped. The outer error is the connection's, the
    /// inner one the code of the reply.
    ///
    /// # Errors
    /// The connection broke, or there was no reply within `limit`.
    pub fn call(&mut self, request: &Request, limit: Duration) -> Result<Result<Response, i32>> {
        self.xid += 1;
        let mut out = BytesMut::new();
        request.put(self.xid, &mut out);
        self.frames.send(&out)?;
        loop {
            let body = self
                .frames
                .receive(limit)?
                .context("the server closed the connection")?;
            let reply = ReplyFrame::split(&body)?;
            if reply.header.xid == xid::EVENT {
                continue;
            }
            ensure!(
                reply.header.xid == self.xid,
                "reply {:?} to xid {}",
                reply.header,
                self.xid
            );
            if reply.header.err != 0 {
                return Ok(Err(reply.header.err));
            }
            return Ok(Ok(reply.decode(request.opcode())?));
        }
    }

    /// As [`RawClient::call`], with an error code as an error.
    ///
    /// # Errors
    /// The connection broke, no reply within `limit`, or the reply is an error.
    pub fn ok(&mut self, request: &Request, limit: Duration) -> Result<Response> {
        match self.call(request, limit)? {
            Ok(response) => Ok(response),
            Err(code) => bail!("error {code} to {request:?}"),
        }
    }
}

/// The creation of a persistent node that everybody may use.
#[must_use]
pub fn create(path: &str, data: &'static [u8]) -> Request {
    create_with(path, Bytes::from_static(data))
}

/// The same with data that the test has made.
#[must_use]
pub fn create_with(path: &str, data: Bytes) -> Request {
    create_as(path, data, 0)
}

/// The creation of a node of these flags of `create`: 1 ephemeral, 2 sequential, 3 both.
#[must_use]
pub fn create_as(path: &str, data: Bytes, flags: i32) -> Request {
    let anyone = Id {
        scheme: "world".into(),
        id: "anyone".into(),
    };
    Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(data),
        acl: Some(vec![AclEntry {
            perms: perms::ALL,
            id: anyone,
        }]),
        flags,
        ttl: -1,
    })
}
