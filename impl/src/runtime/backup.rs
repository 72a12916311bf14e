//! Snapshots over HTTP, as ZooKeeper's AdminServer has them: `GET /commands/snapshot` takes one and sends the file, `POST /commands/restore`
//! puts the one that it gets in place of the tree. Neither is held whole.

use super::content::{Answer, Content, Patience, plain, response};
use super::inbox::Inbox;
use crate::admin::backup::{Backup, Denied, Limit};
use crate::admin::endpoints::finished;
use crate::admin::json::Json;
use crate::client::shared::Shared;
use crate::core::asked::{Refusal, Restoring, Snapped, Told};
use crate::core::event::Event;
use crate::storage::StorageError;
use crate::storage::receive::{Received, receive};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

/// Pieces of a body that wait to be read.
const PIECES: usize = 4;
/// While something is waited for that takes long, the connection is kept by a look so often.
const LOOK: Duration = Duration::from_secs(1);
/// What is read of a body that nobody wants, so that its sender hears why, bytes.
const UNWANTED_BYTES_MAX: u64 = 64 << 20;
/// How the body of a restore is called in errors.
const BODY: &str = "the body";

/// The two commands, and when they were done last.
pub(super) struct Backups {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    snapshots: Limit,
    restores: Limit,
}

impl Backups {
    /// For this server.
    pub(super) fn new(shared: &Arc<Shared>, inbox: Arc<Inbox>) -> Self {
        Self {
            shared: Arc::clone(shared),
            inbox,
            snapshots: Limit::default(),
            restores: Limit::default(),
        }
    }

    /// Answers one of the two.
    pub(super) async fn answer(
        self: Arc<Self>,
        backup: Backup,
        request: Request<Incoming>,
        from: IpAddr,
        patience: Patience,
    ) -> Answer {
        let method = match backup {
            Backup::Snapshot => Method::GET,
            Backup::Restore => Method::POST,
        };
        if *request.method() != method {
            let text = format!("write {method} for {}\n", backup.name());
            return plain(StatusCode::METHOD_NOT_ALLOWED, &text);
        }
        let header = request.headers().get(AUTHORIZATION);
        let header = header.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        let own = Arc::clone(&self);
        // A password is hashed, and the tree is looked at: not where others wait for the thread.
        let admitted = tokio::task::spawn_blocking(move || {
            let limit = match backup {
                Backup::Snapshot => &own.snapshots,
                Backup::Restore => &own.restores,
            };
            backup.admit(header.as_deref(), from, limit, &own.shared)
        });
        let done = match admitted.await {
            Ok(Ok(())) => {
                info!(%from, "{} over HTTP", backup.name());
                match backup {
                    Backup::Snapshot => self.snapshot(request.uri().query(), patience).await,
                    Backup::Restore => self.restore(request.into_body(), patience).await,
                }
            }
            Ok(Err(denied)) => {
                if backup == Backup::Restore {
                    leave(request.into_body()).await;
                }
                Err(denied)
            }
            Err(_) => Err(denied(500, "our bug; please report this")),
        };
        done.unwrap_or_else(|Denied { status, what }| {
            let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            warn!(%from, status, "{} over HTTP was refused: {what}", backup.name());
            let text = finished(vec![], backup.name(), Some(&what));
            response(code, "application/json", text)
        })
    }

    async fn snapshot(&self, query: Option<&str>, patience: Patience) -> Result<Answer, Denied> {
        let backup = Backup::Snapshot;
        let (told, taken) = told();
        self.inbox.push(Event::SnapshotAsked(told), 0);
        let failed = |refusal: Refusal| denied(status_of(&refusal), &refusal.to_string());
        let Snapped { zxid, path } = awaited(taken, &patience).await.map_err(failed)?;
        let opened = Content::of_file(&path, patience);
        let (content, bytes) = opened.map_err(|error| {
            let what = format!("{}: {error}", path.display());
            denied(500, &what)
        })?;
        let is_streamed = query.is_none_or(is_streamed);
        let mut answer = if is_streamed {
            response(StatusCode::OK, "application/octet-stream", content)
        } else {
            let text = finished(vec![], backup.name(), None);
            response(StatusCode::OK, "application/json", text)
        };
        for (name, value) in [
            ("last_zxid", zxid.to_string()),
            ("snapshot_size", bytes.to_string()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                let name = HeaderName::from_static(name);
                answer.headers_mut().insert(name, value);
            }
        }
        Ok(answer)
    }

    async fn restore(&self, body: Incoming, patience: Patience) -> Result<Answer, Denied> {
        let (backup, began) = (Backup::Restore, Instant::now());
        let stats = &self.shared.stats;
        let failed = |status: u16, what: &str| {
            stats.restores_failed.fetch_add(1, Relaxed);
            denied(status, what)
        };
        let received = received(body, &patience).await;
        let Received { tree, newest, .. } = received.map_err(|error| match error {
            StorageError::BadSnapshot { .. } => failed(400, &error.to_string()),
            other => failed(500, &other.to_string()),
        })?;
        let (told, restored) = told();
        let tree = Box::new(tree);
        let restoring = Restoring { tree, newest, told };
        self.inbox.push(Event::Restore(restoring), 0);
        let restored = awaited(restored, &patience).await;
        let zxid = restored.map_err(|refusal| failed(status_of(&refusal), &refusal.to_string()))?;
        let took = u64::try_from(began.elapsed().as_millis());
        stats.restore_time.add(took.unwrap_or(u64::MAX));
        let keys = vec![("last_zxid".to_owned(), Json::from(zxid.0))];
        let text = finished(keys, backup.name(), None);
        Ok(response(StatusCode::OK, "application/json", text))
    }
}

fn denied(status: u16, what: &str) -> Denied {
    let what = what.to_owned();
    Denied { status, what }
}

const fn status_of(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::NotServing => 200,
        Refusal::Member | Refusal::Busy => 503,
        Refusal::NoEpoch | Refusal::Failed(_) => 500,
    }
}

/// `streaming`, which is on where nothing says otherwise: the word `true` alone leaves it on.
fn is_streamed(query: &str) -> bool {
    let mut pairs = query
        .split('&')
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    let said = pairs.find(|(name, _)| *name == "streaming");
    said.is_none_or(|(_, value)| value.eq_ignore_ascii_case("true"))
}

/// Where the core's answer goes, and where it comes.
fn told<T: Send + 'static>() -> (Told<T>, oneshot::Receiver<Result<T, Refusal>>) {
    let (send, receive) = oneshot::channel();
    // Nobody may wait any more.
    let tell = |answer| drop(send.send(answer));
    (Told::new(tell), receive)
}

/// What the core answers, however long it takes.
async fn awaited<T>(
    mut answer: oneshot::Receiver<Result<T, Refusal>>,
    patience: &Patience,
) -> Result<T, Refusal> {
    loop {
        match timeout(LOOK, &mut answer).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) => return Err(Refusal::NotServing),
            Err(_) => patience.renew(),
        }
    }
}

/// The tree that a body is the snapshot of, read as it comes.
async fn received(mut body: Incoming, patience: &Patience) -> Result<Received, StorageError> {
    let (send, pieces) = mpsc::channel(PIECES);
    let mut reading = tokio::task::spawn_blocking(move || {
        let coming = Coming {
            pieces,
            now: Bytes::new(),
            has_ended: false,
        };
        receive(coming, Path::new(BODY))
    });
    // An empty piece is the end: without it, the body has not come whole.
    let mut is_over = false;
    while !is_over {
        let piece = match body.frame().await {
            None => Ok(Bytes::new()),
            Some(Err(error)) => Err(io::Error::other(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => Ok(piece),
                _ => continue,
            },
        };
        is_over = !matches!(&piece, Ok(piece) if !piece.is_empty());
        patience.renew();
        if send.send(piece).await.is_err() {
            break; // it has been read as far as it is of use
        }
    }
    drop(send);
    let received = loop {
        match timeout(LOOK, &mut reading).await {
            Ok(received) => break received,
            Err(_) => patience.renew(),
        }
    };
    if !is_over {
        leave(body).await;
    }
    received.unwrap_or_else(|_| {
        Err(StorageError::Io {
            op: "read",
            path: BODY.into(),
            source: io::Error::other("our bug; please report this"),
        })
    })
}

/// Reads what is left of a body: who sends one hears no answer before.
async fn leave(mut body: Incoming) {
    let mut left = UNWANTED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        left = match left.checked_sub(bytes) {
            Some(left) => left,
            None => return,
        };
    }
}

/// A body as it comes.
struct Coming {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
    has_ended: bool,
}

impl Read for Coming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() && !self.has_ended {
            let piece = self.pieces.blocking_recv();
            self.now = piece.ok_or(ErrorKind::UnexpectedEof)??;
            self.has_ended = self.now.is_empty();
        }
        let bytes = self.now.len().min(into.len());
        into[..bytes].copy_from_slice(&self.now.split_to(bytes));
        Ok(bytes)
    }
}
