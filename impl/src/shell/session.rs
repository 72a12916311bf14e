//! A connection to servers, with the watches that commands have left there.

use super::events::Events;
use super::failure::Failure;
use super::watch::Kind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};
use zookeeper_client::{
    Client, EventType, OneshotWatcher, PersistentWatcher, SessionState, WatchedEvent,
};

/// How long an orderly end may take; a server that does not answer lets the session expire.
const CLOSING: Duration = Duration::from_secs(2);

/// What is connected to, and how.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// HOST:PORT,HOST:PORT/CHROOT
    pub(super) servers: String,
    pub(super) timeout: Duration,
    /// Whether a server without a quorum will do.
    pub(super) read_only: bool,
    /// Whether standard input has the shell's lines, and is nobody else's.
    pub(super) reads_lines: bool,
}

/// The tasks that wait for events: one for each path and kind, as ZooKeeper's shell has one watcher for all.
type Watches = BTreeMap<(String, Kind), (u64, AbortHandle)>;

/// A session.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) events: Arc<Events>,
    /// Whether standard input has the shell's lines.
    pub(super) reads_lines: bool,
    watches: Arc<Mutex<Watches>>,
    states: JoinHandle<()>,
}

impl Session {
    /// Tries each server once.
    pub(super) async fn connect(target: &Target, events: &Arc<Events>) -> Result<Self, Failure> {
        let connector = Client::connector()
            .with_session_timeout(target.timeout)
            .with_readonly(target.read_only)
            .with_fail_eagerly();
        let client = connector
            .connect(&target.servers)
            .await
            .map_err(|e| Failure::connection(&target.servers, &e))?;
        let mut watcher = client.state_watcher();
        let told = Arc::clone(events);
        let states = tokio::spawn(async move {
            loop {
                let state = watcher.changed().await;
                told.session(state);
                if state.is_terminated() {
                    return;
                }
            }
        });
        Ok(Self {
            client,
            events: Arc::clone(events),
            reads_lines: target.reads_lines,
            watches: Arc::default(),
            states,
        })
    }

    /// Tells that it is there, as ZooKeeper's shell does.
    pub(super) fn tell(&self) {
        self.events.session(self.client.state());
    }

    /// Its state in the words of the prompt.
    pub(super) fn state(&self) -> &'static str {
        match self.client.state() {
            SessionState::Disconnected => "CONNECTING",
            SessionState::SyncConnected => "CONNECTED",
            SessionState::ConnectedReadOnly => "CONNECTEDREADONLY",
            SessionState::AuthFailed => "AUTH_FAILED",
            SessionState::Expired | SessionState::Closed => "CLOSED",
        }
    }

    /// Whether commands can still use it.
    pub(super) fn is_alive(&self) -> bool {
        !self.client.state().is_terminated()
    }

    /// Ends the session at the server, so that its ephemeral nodes go.
    pub(super) async fn close(self) {
        for (_, (_, task)) in std::mem::take(&mut *locked(&self.watches)) {
            task.abort();
        }
        drop(self.client);
        let _ = tokio::time::timeout(CLOSING, self.states).await;
    }

    /// Tells the one event of this watch when it comes.
    pub(super) fn watch_once(&self, path: &str, kind: Kind, watcher: OneshotWatcher) {
        let events = Arc::clone(&self.events);
        self.watch(path, kind, async move {
            let event = watcher.changed().await;
            tell(&events, kind, &event);
        });
    }

    /// Tells every event of this watch until it is removed.
    pub(super) fn watch_on(&self, path: &str, kind: Kind, mut watcher: PersistentWatcher) {
        let events = Arc::clone(&self.events);
        self.watch(path, kind, async move {
            loop {
                let event = watcher.changed().await;
                tell(&events, kind, &event);
                if event.event_type == EventType::Session && event.session_state.is_terminated() {
                    return;
                }
            }
        });
    }

    fn watch(&self, path: &str, kind: Kind, told: impl Future<Output = ()> + Send + 'static) {
        let key = (path.to_owned(), kind);
        let mut watches = locked(&self.watches);
        let number = watches.get(&key).map_or(0, |(number, _)| number + 1);
        let (all, mine) = (Arc::clone(&self.watches), key.clone());
        let task = tokio::spawn(async move {
            told.await;
            let mut all = locked(&all);
            // A later watch of the same node may have taken its place.
            if all.get(&mine).is_some_and(|(n, _)| *n == number) {
                all.remove(&mine);
            }
        });
        if let Some((_, before)) = watches.insert(key, (number, task.abort_handle())) {
            before.abort();
        }
    }

    /// Removes those watches of `path` that are of one of these kinds. Dropping a watcher takes it from the server, too.
    pub(super) fn unwatch(&self, path: &str, kinds: &[Kind]) -> Vec<Kind> {
        let mut watches = locked(&self.watches);
        let found = kinds.iter().copied().filter(|kind| {
            let watch = watches.remove(&(path.to_owned(), *kind));
            if let Some((_, task)) = &watch {
                task.abort();
                self.events.removed(kind.removed(), path);
            }
            watch.is_some()
        });
        found.collect()
    }
}

/// A change of the session is told once, by the task that follows it.
fn tell(events: &Events, by: Kind, event: &WatchedEvent) {
    if event.event_type != EventType::Session {
        events.node(by, event);
    }
}

/// No task panics while it holds the lock; if one did, the map would still be whole.
fn locked(watches: &Mutex<Watches>) -> MutexGuard<'_, Watches> {
    watches.lock().unwrap_or_else(PoisonError::into_inner)
}
