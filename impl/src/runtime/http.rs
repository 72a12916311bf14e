//! HTTP for operators: commands with answers in JSON, what Prometheus scrapes, and whether this server lives and is ready.
//!
//! Each connection carries one request and lasts no longer than `admin.idleTimeout`, but for snapshots, of which a piece has to move in
//! that time (`command.rs`); there are at most `CONNECTIONS_MAX` of a port, and one more takes the place of the oldest of the address
//! that has most of them. No other body is read: nothing else that is asked for has one.

use super::content::{Answer, Patience, plain, response};
use super::guarded::GuardedCommands;
use super::inbox::Inbox;
use super::page;
use crate::admin::guarded::Guarded;
use crate::admin::{endpoints, exposition, metrics};
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use crate::codes::Code;
use crate::config::operation::{Commands, Exporter};
use crate::error::ServerError;
use crate::runtime::doors::Strangers;
use crate::runtime::ports::{self, Listening};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

/// Connections of one port at a time.
const CONNECTIONS_MAX: usize = 64;
/// What the head of a request may be, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long one connection of the exporter may last.
const SCRAPE_TIME: Duration = Duration::from_secs(30);
/// After the system has refused to take a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What a port answers.
#[derive(Clone)]
enum Site {
    /// Commands, under this path.
    Commands(String, Arc<GuardedCommands>),
    /// Metrics; whether names of counters end in `_total`.
    Metrics(bool),
}

/// Takes both ports, as the configuration says.
///
/// # Errors
/// [`ServerError::Bind`], [`ServerError::UnknownName`]: metrics that were asked for would be missed.
pub async fn listen(shared: &Arc<Shared>, inbox: &Arc<Inbox>) -> Result<(), ServerError> {
    bind_exporter(shared).await?;
    bind_commands(shared, inbox).await;
    Ok(())
}

/// Takes the port of the exporter, if a line asks for it.
async fn bind_exporter(shared: &Arc<Shared>) -> Result<(), ServerError> {
    let Some(Exporter { listen, total }) = &shared.config.operation.exporter else {
        return Ok(());
    };
    let (host, system) = (listen.host.as_deref(), Listening::default());
    let listener = ports::bind(host, listen.port, system, "metricsProvider.httpPort").await?;
    if let Ok(addr) = listener.local_addr() {
        info!("metrics for Prometheus at http://{addr}/metrics");
    }
    let site = Site::Metrics(*total);
    serve(listener, site, SCRAPE_TIME, Arc::clone(shared));
    Ok(())
}

/// Takes the port of commands. Where that cannot be, the server goes on without it, as ZooKeeper's members do (D-94): nobody may have
/// asked for it.
async fn bind_commands(shared: &Arc<Shared>, inbox: &Arc<Inbox>) {
    let Some(Commands {
        listen,
        is_chosen,
        path,
        idle_ms,
        ..
    }) = &shared.config.operation.commands
    else {
        return;
    };
    let (host, system) = (listen.host.as_deref(), Listening::default());
    let bound = ports::bind(host, listen.port, system, "admin.serverPort").await;
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) => {
            warn!(
                code = %Code::NoCommands,
                "no commands over HTTP: {error} Write another admin.serverPort, or admin.enableServer=false"
            );
            return;
        }
    };
    if let Ok(addr) = listener.local_addr() {
        let far = if *is_chosen {
            "whoever reaches this address may ask them"
        } else {
            "from this machine; admin.serverAddress=0.0.0.0 lets others ask, too"
        };
        info!("commands over HTTP at http://{addr}{path}, {far}");
    }
    let time = Duration::from_millis(*idle_ms);
    let guarded = GuardedCommands::new(shared, Arc::clone(inbox));
    let site = Site::Commands(path.clone(), Arc::new(guarded));
    serve(listener, site, time, Arc::clone(shared));
}

fn serve(listener: TcpListener, site: Site, time: Duration, shared: Arc<Shared>) {
    let strangers = Mutex::new(Strangers::new(CONNECTIONS_MAX));
    tokio::spawn(async move {
        loop {
            match ports::accept(&listener).await {
                Ok((stream, from)) => {
                    let from = from.ip();
                    let talk = talk((stream, from), site.clone(), time, Arc::clone(&shared));
                    lock(&strangers).hear_out(from, talk);
                }
                Err(error) => {
                    debug!(%error, "cannot accept over HTTP; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    });
}

async fn talk(
    (stream, from): (TcpStream, IpAddr),
    site: Site,
    time: Duration,
    shared: Arc<Shared>,
) {
    let patience = Patience::new(time);
    let kept = patience.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, shared, patience) = (site.clone(), Arc::clone(&shared), kept.clone());
        async move { Ok::<_, Infallible>(answered(request, from, site, shared, patience).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(time)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    loop {
        match timeout_at(patience.until(), connection.as_mut()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return debug!(%error, "a connection over HTTP has ended"),
            Err(_) if patience.until() > Instant::now() => {}
            Err(_) => return debug!("a connection over HTTP has lasted too long"),
        }
    }
}

async fn answered(
    request: Request<Incoming>,
    from: IpAddr,
    site: Site,
    shared: Arc<Shared>,
    patience: Patience,
) -> Answer {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match method {
        Method::GET | Method::HEAD | Method::POST => {}
        Method::TRACE => return plain(StatusCode::FORBIDDEN, "TRACE is refused\n"),
        _ => {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "write GET or POST\n");
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
    }
    if let Site::Commands(under, guarded) = &site {
        let commands = shared.config.operation.commands.as_ref();
        let part = crate::admin::page::part(uri.path(), under);
        if let Some(part) = part.filter(|_| commands.is_some_and(|commands| commands.page)) {
            let guarded = Arc::clone(guarded);
            return page::answer(part, request, from, guarded, (shared, patience)).await;
        }
        let name = uri.path().strip_prefix(under.as_str());
        let name = name.and_then(|rest| rest.strip_prefix('/'));
        if let Some(command) = name.and_then(Guarded::of) {
            let guarded = Arc::clone(guarded);
            return guarded.answer(command, request, from, patience).await;
        }
    }
    // The tree, the hub and the directories are looked at: not where others wait for the thread.
    let told = tokio::task::spawn_blocking(move || {
        told(&site, uri.path(), uri.query().unwrap_or_default(), &shared)
    });
    told.await.unwrap_or_else(|_| {
        plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "our bug; please report this\n",
        )
    })
}

fn told(site: &Site, path: &str, query: &str, shared: &Shared) -> Answer {
    match path {
        "/livez" => return plain(StatusCode::OK, "ok\n"),
        "/readyz" => return ready(shared),
        _ => {}
    }
    match site {
        Site::Metrics(total) if path.trim_end_matches('/') == "/metrics" => {
            let text = exposition::text(&metrics::table(shared), *total);
            response(StatusCode::OK, exposition::CONTENT_TYPE, text)
        }
        Site::Metrics(_) => plain(StatusCode::NOT_FOUND, "not here; look at /metrics\n"),
        Site::Commands(under, _) => match path.strip_prefix(under.as_str()) {
            Some("" | "/") => {
                let page = endpoints::index(under);
                response(StatusCode::OK, "text/html; charset=utf-8", page)
            }
            Some(rest) if rest.starts_with('/') => {
                let (code, text) = endpoints::answer(&rest[1..], &asked(query), shared);
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
                response(code, "application/json", text)
            }
            _ => plain(
                StatusCode::NOT_FOUND,
                &format!("not here; look at {under}, /livez or /readyz\n"),
            ),
        },
    }
}

/// Whether clients that come now are served, by a quorum.
fn ready(shared: &Shared) -> Answer {
    match shared.mode() {
        Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer => {
            plain(StatusCode::OK, "ok\n")
        }
        Mode::NotServing | Mode::ReadOnly => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "no quorum is behind this server\n",
        ),
    }
}

/// What is asked behind a command: the first value of each name.
fn asked(query: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    all
}
