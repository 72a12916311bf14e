//! What an answer over HTTP holds, and how long its connection may go on without anything moving.

use crate::client::lock::lock;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What is read from a file at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the connection.
const PIECES: usize = 2;

/// An answer.
pub(super) type Answer = Response<Content>;

/// An answer of plain text.
pub(super) fn plain(code: StatusCode, text: &str) -> Answer {
    response(code, "text/plain; charset=utf-8", text.to_owned())
}

/// An answer of this kind.
pub(super) fn response(
    code: StatusCode,
    kind: &'static str,
    content: impl Into<Content>,
) -> Answer {
    let mut answer = Response::new(content.into());
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Until when a connection may last: so long from its beginning, and again from whatever moves of what is long.
#[derive(Clone)]
pub(super) struct Patience {
    time: Duration,
    until: Arc<Mutex<Instant>>,
}

impl Patience {
    /// From now on.
    pub(super) fn new(time: Duration) -> Self {
        let until = Arc::new(Mutex::new(Instant::now() + time));
        Self { time, until }
    }

    /// Something has moved.
    pub(super) fn renew(&self) {
        *lock(&self.until) = Instant::now() + self.time;
    }

    /// Until when.
    pub(super) fn until(&self) -> Instant {
        *lock(&self.until)
    }
}

/// What an answer holds.
pub(super) enum Content {
    /// All of it.
    Whole(Full<Bytes>),
    /// A file, piece by piece.
    File {
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        left: u64,
        patience: Patience,
    },
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Whole(Full::new(Bytes::from(text)))
    }
}

impl Content {
    /// This file as it is now, and its length. It is read by a thread of its own, as fast as it is sent.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn of_file(path: &Path, patience: Patience) -> io::Result<(Self, u64)> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let (send, pieces) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || send_all(file.take(bytes), &send));
        let content = Self::File {
            pieces,
            left: bytes,
            patience,
        };
        Ok((content, bytes))
    }
}

/// Hands the file over; whoever takes it may stop at any time.
fn send_all(mut file: impl Read, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece);
        let piece = match read {
            Ok(0) => return,
            Ok(_) => Ok(piece.into()),
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if to.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::File {
                pieces,
                left,
                patience,
            } => Poll::Ready(match ready!(pieces.poll_recv(cx)) {
                Some(Ok(piece)) => {
                    patience.renew();
                    *left = left.saturating_sub(piece.len() as u64);
                    Some(Ok(Frame::data(piece)))
                }
                Some(Err(error)) => Some(Err(error)),
                None if *left == 0 => None,
                None => Some(Err(ErrorKind::UnexpectedEof.into())),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::File { left, .. } => SizeHint::with_exact(*left),
        }
    }
}
