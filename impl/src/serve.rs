//! One server: its parts wired together.

use crate::client::shared::{Secret, Shared};
use crate::codes::Code;
use crate::config::Config;
use crate::config::keys::find;
use crate::config::tell::guess;
use crate::core::event::Event;
use crate::core::turn::{Core, Start};
use crate::error::ServerError;
#[cfg(feature = "gate")]
use crate::gate::{self, Gate};
use crate::limits::FLIGHT;
use crate::runtime::audit::{AuditLog, process_user};
use crate::runtime::boot::{self, Entrance};
use crate::runtime::clock::SystemClock;
use crate::runtime::driver::{self, Edges};
use crate::runtime::guard::Guard;
use crate::runtime::inbox::Inbox;
use crate::runtime::limits::budget_default;
use crate::runtime::links::Knocking;
use crate::runtime::listener::{Room, Speech};
use crate::runtime::mesh::{ElectionNet, ElectionPort};
use crate::runtime::shutdown;
pub use crate::runtime::shutdown::Stop;
use crate::runtime::tls::Tls;
use crate::runtime::{doors, flight, http, listener, quorum};
use crate::storage::boot::Found;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tracing::{info, warn};
use zabra_model::ids::Epoch;
use zabra_model::service::members::Lists;
use zabra_model::step::Env;
use zabra_model::switch::Switches;
use zabra_model::tree::node::Tree;

/// Logs the settings that have no effect, and those that do not count.
fn tell_settings(config: &Config) {
    for unused in &config.unused {
        let about = find(&unused.key).map_or_else(|| guess(&unused.key), |row| row.about.into());
        let place = match &unused.from {
            Some(place) => place.to_string(),
            None => format!("{}:{}", config.path.display(), unused.line),
        };
        warn!(
            code = %Code::KeyUnused,
            "{place}: {} is not used by this server: {about}",
            unused.key
        );
    }
    for note in &config.notes {
        warn!(code = %Code::ConfigNote, "{note}");
    }
}

/// Lets clients in on the ports that there are.
fn let_clients_in(
    clients: Option<TcpListener>,
    secure: Option<TcpListener>,
    tls: Option<Arc<Tls>>,
    shared: &Arc<Shared>,
    inbox: &Arc<Inbox>,
) {
    let room = Room::new(shared);
    let listen = |port: Option<TcpListener>, speech: Speech| {
        if let Some(port) = port {
            let (shared, inbox) = (Arc::clone(shared), Arc::clone(inbox));
            listener::listen(port, speech, room.clone(), shared, inbox);
        }
    };
    let settings = shared.config.tls.as_ref();
    match tls {
        None => listen(clients, Speech::Plain),
        Some(tls) => {
            let speech = match settings.is_some_and(|tls| tls.on_client_port) {
                true => Speech::Either(Arc::clone(&tls)),
                false => Speech::Plain,
            };
            listen(clients, speech);
            listen(secure, Speech::Tls(Arc::clone(&tls)));
            tls.watch();
        }
    }
}

/// Lets other servers in on the ports that there are: for elections, and for learners.
fn let_servers_in(
    (election, learners): (Option<ElectionPort>, Option<TcpListener>),
    shared: &Arc<Shared>,
    guard: &Arc<Guard>,
    knocking: &Arc<Knocking>,
    inbox: &Arc<Inbox>,
    is_held: bool,
) -> Option<Arc<ElectionNet>> {
    guard.watch();
    let mesh =
        election.map(|port| ElectionNet::start(shared, Arc::clone(guard), port, Arc::clone(inbox)));
    if let Some(learners) = learners {
        let (guard, knocking) = (Arc::clone(guard), Arc::clone(knocking));
        quorum::listen(
            shared,
            guard,
            learners,
            knocking,
            Arc::clone(inbox),
            is_held,
        );
    }
    mesh
}

/// The bounds of all clients together that the configuration does not name.
fn bound_by_machine(config: &mut Config) {
    for bound in [
        &mut config.unread_bytes_max,
        &mut config.waiting_bytes_max,
        &mut config.watch_bytes_max,
    ] {
        bound.get_or_insert_with(budget_default);
    }
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// [`ServerError`]: whatever makes it stop or keeps it from starting.
pub async fn serve(mut config: Config, stop: Stop) -> Result<(), ServerError> {
    tell_settings(&config);
    doors::tell_what_guards(&config);
    bound_by_machine(&mut config);
    if let Some(audit) = &mut config.audit {
        audit.user = process_user();
    }
    let audit = AuditLog::open(&config)?.map(Arc::new);
    let result = run(config, stop, audit.clone()).await;
    if let Some(audit) = audit {
        audit.end();
    }
    result
}

async fn run(
    mut config: Config,
    stop: Stop,
    audit: Option<Arc<AuditLog>>,
) -> Result<(), ServerError> {
    info!(sid = %config.me, ensemble = config.is_ensemble(), "starting");
    let inbox = Arc::new(Inbox::default());
    // First what can refuse the start, then what changes files.
    let tls = Tls::load(&config)?;
    let guard = Guard::load(&config)?;
    let (config, entrance) = blocking(move || {
        let entrance = Entrance::look(&config)?;
        boot::take_members(&mut config)?;
        Ok((config, entrance))
    })
    .await?;
    let ports = ports_of_servers(&config).await?;
    let clients = listener::bind(config.client.as_ref(), &config.net, "client port").await?;
    let listen = config.tls.as_ref().and_then(|tls| tls.listen.as_ref());
    let secure = listener::bind(listen, &config.net, "secure client port").await?;
    let clock = Arc::new(SystemClock::start());
    let secret = drawn()?;
    let shared = Shared::new(
        config,
        Tree::new(),
        Arc::<SystemClock>::clone(&clock),
        secret,
    );
    http::listen(&shared, &inbox).await?;
    // Who comes before the data is read is told so, and looks for another server.
    let_clients_in(clients, secure, tls, &shared, &inbox);
    let found = enter(entrance, &shared).await?;
    *shared.tree_mut() = found.tree;
    let config = &shared.config;
    let last = found.durable.history.last();
    let lists = boot::lists(config, found.lists, last)?;
    shared.set_lists(Arc::new(lists.clone()));
    let env = env_of(config, &lists);
    let told = Arc::clone(&inbox);
    let disk = boot::start_disk(&shared, last, move |event| {
        told.push(Event::Disk(event), 0);
    })?;
    #[cfg(feature = "gate")]
    let is_held = gate::is_wanted();
    #[cfg(not(feature = "gate"))]
    let is_held = false;
    let knocking = Arc::new(Knocking::default());
    let mesh = let_servers_in(ports, &shared, &guard, &knocking, &inbox, is_held);
    hear(&inbox, stop);
    #[cfg(feature = "gate")]
    let gate = Gate::connect(Arc::clone(&inbox)).await?;
    let links = (knocking, guard);
    let mut edges = Edges::new(clock, Arc::clone(&shared), disk, links, mesh, inbox);
    edges.audit = audit.inspect(|audit| audit.started());
    if is_held {
        edges.dial_within = Some(Duration::from_secs(3600));
    }
    let core = Core::new(Start {
        shared,
        env,
        lists,
        found: found.durable,
        replayed: found.replayed,
        reach: found.reach,
        now: edges.now(),
        timers_are_driven: is_held,
        tells: is_held,
        records: edges.flight.as_ref().map(|_| FLIGHT),
    });
    #[cfg(feature = "gate")]
    if let Some(gate) = gate {
        return gate::run(core, edges, gate).await;
    }
    // A task of its own: what `block_on` runs itself shares no queue with the connections.
    match tokio::spawn(driver::run(core, edges)).await {
        Ok(result) => result,
        Err(_) => Err(ServerError::Bug("the core task")),
    }
}

/// Hears the signals of the process, where they are this server's, or what else ends it.
fn hear(inbox: &Arc<Inbox>, stop: Stop) {
    if !matches!(stop, Stop::Told(_)) {
        flight::listen(Arc::clone(inbox));
    }
    shutdown::listen(Arc::clone(inbox), stop);
}

/// Takes the ports for other servers.
async fn ports_of_servers(
    config: &Config,
) -> Result<(Option<ElectionPort>, Option<TcpListener>), ServerError> {
    #[cfg(feature = "gate")]
    let config = &gate::listening(config)?;
    let election = ElectionNet::bind(config).await?;
    Ok((election, quorum::bind(config).await?))
}

/// Makes the data directory this server's, and reads it.
async fn enter(entrance: Entrance, shared: &Arc<Shared>) -> Result<Found, ServerError> {
    let reading = Arc::clone(shared);
    blocking(move || {
        let config = &reading.config;
        entrance.enter(config)?;
        let mut found = boot::read_timed(&reading)?;
        boot::compare_digest(found.told.take(), &reading);
        boot::has_begun(config);
        boot::purge(config, &found);
        Ok(found)
    })
    .await
}

/// A secret of the system's random numbers.
fn drawn() -> Result<Secret, ServerError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| ServerError::Io {
        path: "random numbers of the system".into(),
        source: e.into(),
    })?;
    Ok(Secret(secret))
}

/// Runs `work`, which reads or writes files, on a thread that may wait for them.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ServerError::Bug("reading the data directory"))?
}

fn env_of(config: &Config, lists: &Lists) -> Env {
    Env {
        me: config.me,
        observer: lists.observes(config.me),
        switches: Switches::default(),
        epoch_max: Epoch(u32::MAX),
        counter_max: u32::MAX - 1,
        ack_ticks_max: config.sync_limit.saturating_mul(2),
        sync: config.sync_limits(),
    }
}
