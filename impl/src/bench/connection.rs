//! One session on one connection: batches out, batches in.

use super::error::BenchError;
use crate::runtime::pipe::Pipe;
use crate::runtime::secure_client::SecureClient;
use crate::wire::WireError;
use crate::wire::client::{ConnectRequest, ConnectResponse, ReplyFrame, Request, xid};
use crate::wire::frame;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zabra_model::ids::{SessionId, Zxid};

/// Room for one read: some hundred replies.
const READ_BYTES: usize = 64 * 1024;

/// The longest reply: a server may answer with more than it accepts, so this is well above `jute.maxbuffer`'s default.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// How long a server may take for its first answer.
const ANSWER_MS_MAX: u64 = 30_000;

/// What a session goes over.
enum Stream {
    Plain(TcpStream),
    Tls(Pipe),
}

/// A session.
pub(super) struct Connection {
    pub(super) server: String,
    stream: Stream,
    input: BytesMut,
    /// Requests that wait for the next write.
    pub(super) output: BytesMut,
    /// What the last read has brought.
    frames: Vec<Bytes>,
    /// After so much silence of ours the session needs a ping.
    ping_every: Duration,
}

impl Connection {
    /// Connects, behind a handshake of TLS if there is a client of it, and gets a new session.
    pub(super) async fn open(
        server: &str,
        tls: Option<&SecureClient>,
        timeout_ms: u32,
    ) -> Result<Self, BenchError> {
        let dialled = timeout(
            Duration::from_millis(ANSWER_MS_MAX),
            Self::dial(server, tls),
        );
        let stream = dialled.await.map_err(|_| silent(server))??;
        let mut connection = Self {
            server: server.into(),
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            frames: Vec::new(),
            ping_every: Duration::from_millis(ANSWER_MS_MAX),
        };
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
            session: SessionId(0),
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
        }
        .put(&mut connection.output);
        let answered = connection.exchange().await?;
        let response = match connection.frames.pop() {
            Some(body) if answered => {
                ConnectResponse::decode(&body).map_err(|e| connection.wire(e))?
            }
            Some(_) | None => return Err(silent(server)),
        };
        if response.session == SessionId(0) {
            return Err(BenchError::NoSession {
                server: server.into(),
            });
        }
        // A third of the timeout, as ZooKeeper's own client does.
        let negotiated_ms = u64::try_from(response.timeout_ms).unwrap_or(0);
        connection.ping_every = Duration::from_millis((negotiated_ms / 3).max(1));
        Ok(connection)
    }

    async fn dial(server: &str, tls: Option<&SecureClient>) -> Result<Stream, BenchError> {
        let failed = |source| broken(server, source);
        let stream = TcpStream::connect(server).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match tls {
            None => Ok(Stream::Plain(stream)),
            Some(client) => {
                let shaken = client.dialled(stream, server).await;
                shaken.map(Stream::Tls).map_err(|source| BenchError::Tls {
                    server: server.into(),
                    source,
                })
            }
        }
    }

    /// Writes what waits and reads at least one frame. False: nothing came for so long that the session needs a ping.
    ///
    /// Reading goes on while a write is stuck, or two full socket buffers would wait for each other.
    pub(super) async fn exchange(&mut self) -> Result<bool, BenchError> {
        self.frames.clear();
        loop {
            // Reuses the memory of frames that are gone.
            self.input.reserve(READ_BYTES);
            let io = transfer(&mut self.stream, &mut self.output, &mut self.input);
            match timeout(self.ping_every, io).await {
                Err(_) => return Ok(false),
                Ok(Ok(None)) => {}
                Ok(Ok(Some(0))) => {
                    return Err(BenchError::Closed {
                        server: self.server.clone(),
                    });
                }
                Ok(Ok(Some(_))) => {
                    let split = frame::split(&mut self.input, REPLY_BYTES_MAX, &mut self.frames);
                    if split.map_err(|e| self.wire(e))? > 0 {
                        return Ok(true);
                    }
                }
                Ok(Err(source)) => return Err(broken(&self.server, source)),
            }
        }
    }

    /// Takes the replies that the last exchange has brought, without those of pings.
    pub(super) fn replies(&mut self) -> impl Iterator<Item = Result<ReplyFrame, WireError>> {
        self.frames
            .drain(..)
            .map(|body| ReplyFrame::split(&body))
            .filter(|reply| {
                !matches!(reply, Ok(r) if r.header.xid == xid::PING || r.header.xid == xid::EVENT)
            })
    }

    /// Appends a ping to what waits.
    pub(super) fn ping(&mut self) {
        Request::Ping.put(xid::PING, &mut self.output);
    }

    /// Sends `count` requests, at most `depth` at a time, and hands each one's error code to `answered`.
    pub(super) async fn pipeline(
        &mut self,
        count: u64,
        depth: usize,
        mut put: impl FnMut(u64, i32, &mut BytesMut),
        mut answered: impl FnMut(u64, i32),
    ) -> Result<(), BenchError> {
        let mut next = 0;
        let mut in_flight = VecDeque::new();
        loop {
            while in_flight.len() < depth && next < count {
                let number = number(next);
                put(next, number, &mut self.output);
                in_flight.push_back((next, number));
                next += 1;
            }
            if in_flight.is_empty() {
                return Ok(());
            }
            if !self.exchange().await? {
                return Err(silent(&self.server));
            }
            let mut wrong = None;
            for reply in self.replies() {
                match (reply, in_flight.pop_front()) {
                    (Ok(reply), Some((i, number))) if reply.header.xid == number => {
                        answered(i, reply.header.err);
                    }
                    (Ok(reply), expected) => {
                        wrong = Some(Err((expected.map(|(_, number)| number), reply.header.xid)));
                    }
                    (Err(error), _) => wrong = Some(Ok(error)),
                }
            }
            match wrong {
                None => {}
                Some(Ok(error)) => return Err(self.wire(error)),
                Some(Err((expected, got))) => return Err(self.out_of_order(expected, got)),
            }
        }
    }

    /// Ends the session; the server's answer is not waited for long.
    pub(super) async fn close(mut self) {
        Request::Write(zabra_model::tree::op::WriteOp::CloseSession).put(0, &mut self.output);
        let _ = self.exchange().await;
    }

    pub(super) fn wire(&self, source: WireError) -> BenchError {
        BenchError::Wire {
            server: self.server.clone(),
            source,
        }
    }

    pub(super) fn out_of_order(&self, expected: Option<i32>, got: i32) -> BenchError {
        BenchError::OutOfOrder {
            server: self.server.clone(),
            expected,
            got,
        }
    }
}

/// Writes all of `output`, or reads into `input`, whichever goes first; how much was read, if it was that. Nothing is lost if it is not
/// waited for.
async fn transfer(
    stream: &mut Stream,
    output: &mut BytesMut,
    input: &mut BytesMut,
) -> io::Result<Option<usize>> {
    match stream {
        Stream::Plain(stream) => {
            let (mut reader, mut writer) = stream.split();
            tokio::select! {
                biased;
                written = writer.write_buf(output), if !output.is_empty() => written.map(|_| None),
                read = reader.read_buf(input) => read.map(Some),
            }
        }
        Stream::Tls(pipe) => {
            let waits = !output.is_empty() || !pipe.is_flushed();
            tokio::select! {
                biased;
                written = write(pipe, output), if waits => written.map(|()| None),
                read = pipe.receive(input) => read.map(Some),
            }
        }
    }
}

/// Writes all of `output`; what has been taken over is no longer there.
async fn write(pipe: &Pipe, output: &mut BytesMut) -> io::Result<()> {
    while !output.is_empty() {
        match pipe.try_write(output) {
            Ok(taken) => output.advance(taken),
            // Only what was taken over before keeps this out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe.flush().await?,
            Err(error) => return Err(error),
        }
    }
    pipe.flush().await
}

/// An error of TLS, which a server may say at any time, asks for something else than one of the network.
fn broken(server: &str, source: io::Error) -> BenchError {
    let server = server.into();
    if source.get_ref().is_some_and(|e| e.is::<rustls::Error>()) {
        BenchError::Tls { server, source }
    } else {
        BenchError::Connection { server, source }
    }
}

/// The number of the `i`th request: positive, and beginning again at 1 when they run out.
pub(super) fn number(i: u64) -> i32 {
    i32::try_from(i % i32::MAX.unsigned_abs() as u64).unwrap_or(0) + 1
}

fn silent(server: &str) -> BenchError {
    BenchError::Silent {
        server: server.into(),
        waited_ms: ANSWER_MS_MAX.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_for_ever() {
        assert_eq!(number(0), 1);
        assert_eq!(number(i32::MAX as u64 - 1), i32::MAX);
        assert_eq!(number(i32::MAX as u64), 1);
    }
}
