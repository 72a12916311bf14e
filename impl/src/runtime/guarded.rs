//! Commands over HTTP that need rights, as ZooKeeper's AdminServer has them: `GET /commands/snapshot` takes a snapshot and sends the file,
//! `POST /commands/restore` puts the one that it gets in place of the tree, and neither is held whole; `POST /commands/shed_connections` ends a
//! share of the clients' connections; `GET /commands/flight_recorder` sends what the flight recorder holds.

use super::content::{Answer, Content, Patience, plain, response};
use super::inbox::Inbox;
use crate::admin::endpoints::finished;
use crate::admin::guarded::{Denied, Guarded, Limit};
use crate::admin::json::Json;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::core::asked::{Refusal, Restoring, Snapped, Told};
use crate::core::event::Event;
use crate::storage::receive::{Received, receive};
use crate::storage::{StorageError, flight};
use crate::tools::last_election;
use http_body_util::{BodyExt, Full, Limited};
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
/// What the body that says a share may have, bytes.
const SHARE_BYTES_MAX: usize = 4096;
/// How a body is called in errors.
const BODY: &str = "the body";

/// These commands, and when those that have a limit were done last.
pub(super) struct GuardedCommands {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    snapshots: Limit,
    restores: Limit,
}

impl GuardedCommands {
    /// For this server.
    pub(super) fn new(shared: &Arc<Shared>, inbox: Arc<Inbox>) -> Self {
        Self {
            shared: Arc::clone(shared),
            inbox,
            snapshots: Limit::default(),
            restores: Limit::default(),
        }
    }

    /// Answers one of them.
    pub(super) async fn answer(
        self: Arc<Self>,
        command: Guarded,
        request: Request<Incoming>,
        from: IpAddr,
        patience: Patience,
    ) -> Answer {
        let method = match command {
            Guarded::Snapshot | Guarded::Flight | Guarded::Election => Method::GET,
            Guarded::Restore | Guarded::Shed => Method::POST,
        };
        if *request.method() != method {
            let text = format!("write {method} for {}\n", command.name());
            return plain(StatusCode::METHOD_NOT_ALLOWED, &text);
        }
        let header = request.headers().get(AUTHORIZATION);
        let header = header.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        let own = Arc::clone(&self);
        // A password is hashed, and the tree is looked at: not where others wait for the thread.
        let admitted = tokio::task::spawn_blocking(move || {
            let limit = match command {
                Guarded::Snapshot => Some(&own.snapshots),
                Guarded::Restore => Some(&own.restores),
                Guarded::Shed | Guarded::Flight | Guarded::Election => None,
            };
            command.admit(header.as_deref(), from, limit, &own.shared)
        });
        let done = match admitted.await {
            Ok(Ok(())) => {
                info!(%from, "{} over HTTP", command.name());
                match command {
                    Guarded::Snapshot => self.snapshot(request.uri().query(), patience).await,
                    Guarded::Restore => self.restore(request.into_body(), patience).await,
                    Guarded::Shed => self.shed(request.into_body(), from).await,
                    Guarded::Flight => self.flight(&patience).await,
                    Guarded::Election => self.election(&patience).await,
                }
            }
            Ok(Err(denied)) => {
                if method == Method::POST {
                    leave(request.into_body()).await;
                }
                Err(denied)
            }
            Err(_) => Err(denied(500, "our bug; please report this")),
        };
        done.unwrap_or_else(|Denied { status, what }| {
            let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            warn!(code = %Code::CommandRefused, %from, status, "{} over HTTP was refused: {what}", command.name());
            let text = finished(vec![], command.name(), Some(&what));
            response(code, "application/json", text)
        })
    }

    async fn snapshot(&self, query: Option<&str>, patience: Patience) -> Result<Answer, Denied> {
        let command = Guarded::Snapshot;
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
            let text = finished(vec![], command.name(), None);
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
        let (command, began) = (Guarded::Restore, Instant::now());
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
        let text = finished(keys, command.name(), None);
        Ok(response(StatusCode::OK, "application/json", text))
    }

    /// What the recorder holds, as its file would.
    async fn flight(&self, patience: &Patience) -> Result<Answer, Denied> {
        let content = Content::Whole(Full::new(self.recorded(patience).await?.into()));
        Ok(response(
            StatusCode::OK,
            "application/octet-stream",
            content,
        ))
    }

    /// A picture of the last election that it holds.
    async fn election(&self, patience: &Patience) -> Result<Answer, Denied> {
        let recorded = self.recorded(patience).await?;
        let mut drawing = tokio::task::spawn_blocking(move || last_election(&recorded));
        let drawn = loop {
            match timeout(LOOK, &mut drawing).await {
                Ok(drawn) => break drawn,
                Err(_) => patience.renew(),
            }
        };
        let drawn = drawn.map_err(|_| denied(500, "our bug; please report this"))?;
        let drawn = drawn.map_err(|what| denied(404, &what))?;
        Ok(response(StatusCode::OK, "image/svg+xml", drawn))
    }

    async fn recorded(&self, patience: &Patience) -> Result<Vec<u8>, Denied> {
        let (told, recorded) = told();
        self.inbox.push(Event::FlightAsked(told), 0);
        let recorded = awaited(recorded, patience).await;
        let chunks = recorded.map_err(|refusal| denied(503, &refusal.to_string()))?;
        if chunks.is_empty() {
            return Err(denied(503, "zabra.flightRecorder=false"));
        }
        Ok(flight::frames(&chunks))
    }

    async fn shed(&self, body: Incoming, from: IpAddr) -> Result<Answer, Denied> {
        let body = Limited::new(body, SHARE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| denied(400, &format!("{BODY}: {error}")))?;
        let share = share(&body.to_bytes()).map_err(|what| denied(400, &what))?;
        let ended = self.shared.shed(share);
        info!(%from, percentage = share, ended, "clients were sent away over HTTP");
        let keys = [
            ("percentage_requested", i64::from(share)),
            ("connections_shed", i64::try_from(ended).unwrap_or(i64::MAX)),
        ];
        let keys = keys.map(|(key, value)| (key.to_owned(), Json::from(value)));
        let text = finished(keys.into(), Guarded::Shed.name(), None);
        Ok(response(StatusCode::OK, "application/json", text))
    }
}

/// What share of the connections a body asks to end, in hundredths.
///
/// # Errors
/// What is wrong with it.
fn share(body: &[u8]) -> Result<u32, String> {
    const HOW: &str = "send {\"percentage\": N} with a whole number from 0 to 100";
    if body.is_empty() {
        return Err(format!("there is no body; {HOW}"));
    }
    let body: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}; {HOW}"))?;
    let Some(said) = body.get("percentage") else {
        return Err(format!("percentage is missing; {HOW}"));
    };
    let share = said.as_u64().and_then(|n| u32::try_from(n).ok());
    share
        .filter(|n| *n <= 100)
        .ok_or_else(|| format!("percentage is {said}; {HOW}"))
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
