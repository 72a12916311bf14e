//! The client ports: the plain one, the one with TLS, and one for both.

use super::client;
use super::inbox::Inbox;
use super::limits::raise_descriptors;
use super::ports::{self, Listening};
use super::tls::Tls;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::Listen;
use crate::config::net::Net;
use crate::error::ServerError;
use crate::limits::{PerAddress, Seldom, client_descriptors};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{info, warn};

/// How many clients there may be in all: what `maxCnxns` says, and what the limit of descriptors leaves.
fn clients_max(max_cnxns: usize) -> usize {
    let wanted = if max_cnxns == 0 {
        usize::MAX
    } else {
        max_cnxns
    };
    let Some(descriptors) = raise_descriptors() else {
        return wanted;
    };
    let room = client_descriptors(descriptors);
    if max_cnxns > room {
        warn!(
            code = %Code::FewDescriptors,
            "maxCnxns={max_cnxns}, but of {descriptors} open files clients may take {room}; raise the limit (ulimit -n, LimitNOFILE)"
        );
    }
    info!(
        descriptors,
        clients = wanted.min(room),
        "limits of connections"
    );
    wanted.min(room)
}

/// Takes a client port, if there is one.
///
/// # Errors
/// [`ServerError::Bind`].
pub async fn bind(
    listen: Option<&Listen>,
    net: &Net,
    what: &'static str,
) -> Result<Option<TcpListener>, ServerError> {
    let Some(listen) = listen else {
        return Ok(None);
    };
    let listening = Listening {
        backlog: net.backlog,
        keep_alive: net.client_keep_alive,
    };
    let listener = ports::bind(listen.host.as_deref(), listen.port, listening, what).await?;
    if let Ok(addr) = listener.local_addr() {
        info!(%addr, "listening for clients on the {what}");
    }
    Ok(Some(listener))
}

/// What clients of a port speak.
#[derive(Clone)]
pub enum Speech {
    /// Plain text.
    Plain,
    /// TLS.
    Tls(Arc<Tls>),
    /// Either of them; the first byte of a connection says which.
    Either(Arc<Tls>),
}

/// Who may come in: the bounds hold for both ports together.
#[derive(Clone)]
pub struct Room {
    all: Arc<PerAddress>,
    room: Arc<Semaphore>,
    places: usize,
}

impl Room {
    /// As the configuration and the limit of open files say.
    #[must_use]
    pub fn new(shared: &Shared) -> Self {
        let places = clients_max(shared.config.max_cnxns).min(Semaphore::MAX_PERMITS);
        Self {
            all: PerAddress::new(shared.config.max_client_cnxns),
            room: Arc::new(Semaphore::new(places)),
            places,
        }
    }
}

/// Listens for clients; each gets a task.
pub fn listen(
    listener: TcpListener,
    speech: Speech,
    room: Room,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
) {
    let Room { all, room, places } = room;
    if let Speech::Tls(tls) | Speech::Either(tls) = &speech {
        tls.share(places);
    }
    let (mut refused, mut failed) = (Seldom::default(), Seldom::default());
    tokio::spawn(async move {
        loop {
            match ports::accept(&listener).await {
                Ok((stream, from)) => {
                    let counted = match (
                        all.admit(from.ip()),
                        Arc::clone(&room).try_acquire_owned(),
                    ) {
                        (Some(counted), Ok(place)) => (counted, place),
                        (counted, _) => {
                            shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
                            let key = match counted {
                                None => "from one address (maxClientCnxns)",
                                Some(_) => "in all (maxCnxns, and the limit of open files)",
                            };
                            if let Some(unsaid) = refused.due(shared.elapsed_ms()) {
                                warn!(code = %Code::TooManyConnections, %from, unsaid, "too many connections {key}, closing");
                            }
                            continue;
                        }
                    };
                    let (shared, inbox) = (Arc::clone(&shared), Arc::clone(&inbox));
                    match speech.clone() {
                        Speech::Plain => {
                            tokio::spawn(async move {
                                client::run(stream, from, shared, inbox).await;
                                drop(counted);
                            });
                        }
                        Speech::Tls(tls) => {
                            client::run_secure(stream, from, tls, shared, inbox, counted);
                        }
                        Speech::Either(tls) => {
                            tokio::spawn(client::run_either(
                                stream, from, tls, shared, inbox, counted,
                            ));
                        }
                    }
                }
                // That one has gone again; the next one may be there.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if let Some(unsaid) = failed.due(shared.elapsed_ms()) {
                        warn!(code = %Code::ClientAccept, %error, unsaid, "cannot accept on the client port; trying again");
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}
