//! One request to the port on which a server takes commands over HTTP, ours or ZooKeeper's.

use super::error::ToolError;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Takes a body piece by piece, behind its head.
type Taking<'a> = dyn FnMut(&Head, &[u8]) -> Result<(), ToolError> + 'a;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte of an answer: a server may write a snapshot of many gigabytes, or read one, before it says anything.
const SILENCE: Duration = Duration::from_secs(600);
/// What is kept of an answer that is read for what it says.
const TOLD_BYTES_MAX: usize = 1 << 20;
/// A piece of a file that is sent.
const PIECE_BYTES: u64 = 256 << 10;

/// Whose port, and who asks.
pub(super) struct Server<'a> {
    /// `HOST:PORT`, or that behind `http://`, or with the path of the commands (`admin.commandURL`) behind it.
    pub(super) address: &'a str,
    /// What `Authorization` says: `digest USER:PASSWORD`.
    pub(super) authorization: Option<&'a str>,
    /// How long nothing may come.
    pub(super) silence: Duration,
}

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) last_zxid: Option<String>,
    pub(super) bytes: Option<u64>,
    pub(super) date: Option<String>,
    pub(super) is_json: bool,
}

impl<'a> Server<'a> {
    /// One that is asked for long work.
    pub(super) const fn new(address: &'a str, authorization: Option<&'a str>) -> Self {
        Self {
            address,
            authorization,
            silence: SILENCE,
        }
    }

    /// Host with port, and the path of the commands.
    fn parts(&self) -> (String, &str) {
        let address = self
            .address
            .strip_prefix("http://")
            .unwrap_or(self.address)
            .trim_end_matches('/');
        let (host, path) = address
            .find('/')
            .map_or((address, "/commands"), |at| address.split_at(at));
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port {
            host.to_owned()
        } else {
            format!("{host}:8080")
        };
        (host, path)
    }

    fn failed(&self, what: impl std::fmt::Display) -> ToolError {
        ToolError::Refused(format!("{}: {what}", self.address))
    }

    /// Asks for a command, and hands its body on as it comes.
    ///
    /// # Errors
    /// [`ToolError::Refused`] with what the network says, and the errors of `take`.
    pub(super) fn get(&self, command: &str, take: &mut Taking<'_>) -> Result<Head, ToolError> {
        let body = Empty::<Bytes>::new().map_err(|never| -> io::Error { match never {} });
        self.exchange(Method::GET, command, body, take)
    }

    /// Sends a file with a command; the head of the answer, and what it says.
    ///
    /// # Errors
    /// [`ToolError::Refused`].
    pub(super) fn post(&self, command: &str, file: &Path) -> Result<(Head, Vec<u8>), ToolError> {
        let unread =
            |e: io::Error| ToolError::Refused(format!("{}: cannot be read: {e}", file.display()));
        let opened = File::open(file).map_err(unread)?;
        let left = opened.metadata().map_err(unread)?.len();
        let mut told = Vec::new();
        let body = Sent { file: opened, left };
        let head = self.exchange(Method::POST, command, body, &mut |_, piece| {
            keep(&mut told, piece);
            Ok(())
        })?;
        Ok((head, told))
    }

    fn exchange<B>(
        &self,
        method: Method,
        command: &str,
        body: B,
        take: &mut Taking<'_>,
    ) -> Result<Head, ToolError>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| self.failed(e))?;
        runtime.block_on(async {
            let (host, path) = self.parts();
            let connect = timeout(CONNECT.min(self.silence), TcpStream::connect(&*host)).await;
            let stream = connect
                .map_err(|_| self.failed("nobody answers"))?
                .map_err(|e| {
                    self.failed(format_args!(
                        "{e}; is it the port of admin.serverPort, and admin.enableServer not false?"
                    ))
                })?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|e| self.failed(e))?;
            let connection = tokio::spawn(connection);
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{path}/{command}"))
                .header(HOST, &*host);
            if let Some(authorization) = self.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request.body(body).map_err(|e| self.failed(e))?;
            let answer = timeout(self.silence, sender.send_request(request)).await;
            let answer = answer
                .map_err(|_| self.silent())?
                .map_err(|e| self.failed(e))?;
            let head = head(&answer);
            let mut content = answer.into_body();
            while let Some(frame) = timeout(self.silence, content.frame())
                .await
                .map_err(|_| self.silent())?
            {
                let frame = frame.map_err(|e| self.failed(format_args!("the answer ends: {e}")))?;
                if let Some(piece) = frame.data_ref() {
                    take(&head, piece)?;
                }
            }
            connection.abort();
            Ok::<_, ToolError>(head)
        })
    }

    fn silent(&self) -> ToolError {
        let seconds = self.silence.as_secs();
        self.failed(format_args!("no answer within {seconds} s"))
    }
}

/// Of an answer that is read for what it says, so much.
pub(super) fn keep(told: &mut Vec<u8>, piece: &[u8]) {
    let room = TOLD_BYTES_MAX.saturating_sub(told.len());
    told.extend_from_slice(piece.get(..room).unwrap_or(piece));
}

/// The `error` of an answer of commands, or what it says in its place.
pub(super) fn error_in(told: &[u8]) -> Option<String> {
    match serde_json::from_slice::<serde_json::Value>(told) {
        Ok(answer) => answer["error"].as_str().map(str::to_owned),
        Err(_) => {
            let text = String::from_utf8_lossy(told);
            let text = text.trim();
            (!text.is_empty()).then(|| text.chars().take(200).collect())
        }
    }
}

fn head(answer: &Response<Incoming>) -> Head {
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Head {
        status: answer.status().as_u16(),
        last_zxid: header("last_zxid"),
        bytes: header(CONTENT_LENGTH.as_str()).and_then(|bytes| bytes.parse().ok()),
        date: header(DATE.as_str()),
        is_json: header("content-type").is_some_and(|kind| kind.starts_with("application/json")),
    }
}

/// A file as the body of a request; it is not held.
struct Sent {
    file: File,
    left: u64,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let wanted = self.left.min(PIECE_BYTES);
        if wanted == 0 {
            return Poll::Ready(None);
        }
        let mut piece = Vec::new();
        let read = (&mut self.file).take(wanted).read_to_end(&mut piece);
        Poll::Ready(Some(match read {
            Ok(0) => Err(io::Error::other(
                "the file has become shorter while it was sent",
            )),
            Ok(bytes) => {
                self.left -= bytes as u64;
                Ok(Frame::data(piece.into()))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_port_and_path() {
        for (address, host, path) in [
            ("a:1", "a:1", "/commands"),
            ("a", "a:8080", "/commands"),
            ("http://a:1/", "a:1", "/commands"),
            ("http://a/zk/", "a:8080", "/zk"),
            ("[::1]:81", "[::1]:81", "/commands"),
        ] {
            let server = Server::new(address, None);
            assert_eq!(server.parts(), (host.to_owned(), path), "{address}");
        }
    }

    #[test]
    fn an_error_is_found_in_what_servers_say() {
        let json = br#"{"command":"snapshot","error":"Not authorized"}"#;
        assert_eq!(error_in(json).as_deref(), Some("Not authorized"));
        assert_eq!(error_in(br#"{"command":"snapshot","error":null}"#), None);
        assert_eq!(error_in(b"not here\n").as_deref(), Some("not here"));
        assert_eq!(error_in(b""), None);
    }
}
