//! The core task: input → step → effects, in order. It owns the peer, and is the only one that changes the tree.
//!
//! Each wake-up takes everything that waits, steps it all, and only then wakes others: one batch for the disk, one write
//! for each connection that has something to send.

use super::inbox::{Dialled, Event, Inbox};
use super::links::Links;
use super::lock;
use super::payload::Payload;
use super::persist::{Persist, mark_of};
use super::room::stage_until_room;
use super::shared::{Conn, Mode, Phase, Shared};
use super::timers::Timers;
use super::trigger::{Replay, SnapshotTrigger};
use super::window::Window;
use crate::client::submit::{Connect, Submit};
use crate::error::ServerError;
use crate::net::election::ElectionNet;
use crate::net::limits::{LINK_PARTS_MAX, UNWRITTEN_PARTS_MAX};
use crate::net::quorum::dial;
use crate::runtime::boot::HistoryReader;
use crate::storage::Dirs;
use crate::storage::disk::RealDisk;
use crate::storage::stage::stage;
use crate::storage::worker::Op;
use crate::wire::client::ConnectResponse;
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};
use zabra_model::ensemble::Ensemble;
use zabra_model::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra_model::peer::Peer;
use zabra_model::service::answers::Answers;
use zabra_model::service::membership::{Standing, Turned, may_take_over};
use zabra_model::service::session::{SessionTracker, password};
use zabra_model::service::sweep::Sweep;
use zabra_model::step::{Effect, Env, Input, Link, Mark, Write};
use zabra_model::tree::node::Tree;
use zabra_model::tree::prep::Prep;
use zabra_model::vote::ServerState;

/// Transactions that are applied in one turn, unless something depends on all of them.
const APPLIED_A_TURN: u64 = 1024;

/// A turn comes at least so often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A request whose transaction is awaited.
pub(super) struct Submitted {
    /// The client's number for it.
    pub(super) xid: i32,
    pub(super) token: u64,
    pub(super) conn: Arc<Conn>,
    pub(super) opcode: i32,
    pub(super) since_ms: u64,
}

/// Who waits for a sync.
pub(super) enum SyncFor {
    Client(Arc<Conn>, Submit),
}

/// Reads the tree anew after a truncation: done on another thread.
pub(super) type Reload = Arc<dyn Fn() -> Result<Tree, ServerError> + Send + Sync>;

/// Everything that the core task owns.
pub struct Core {
    pub(super) env: Env,
    pub(super) peer: Peer,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) window: Window,
    pub(super) persist: Persist,
    pub(super) timers: Timers,
    pub(super) links: Links,
    pub(super) election: Option<Arc<ElectionNet>>,
    pub(super) dirs: Dirs,
    pub(super) reload: Reload,
    /// Deliveries are put together until something depends on them.
    pub(super) deliver_upto: Zxid,
    /// Connections that have something to send.
    pub(super) dirty: Vec<Arc<Conn>>,
    /// Requests through this server whose transactions are awaited.
    pub(super) answers: Answers<Submitted>,
    /// On a follower: syncs in the order of their answers. On a leader: with the zxid that they wait for.
    pub(super) syncs: VecDeque<(Zxid, SyncFor)>,
    /// On a follower: who waits for the leader's word on a session.
    pub(super) revalidating: HashMap<SessionId, VecDeque<Arc<Conn>>>,
    pub(super) prep: Prep,
    pub(super) tracker: SessionTracker,
    pub(super) scratch: BytesMut,
    /// What transactions are dated with: it may be set, also back.
    pub(super) clock_ms: u64,
    /// What sessions live by: since the start, it only rises.
    pub(super) elapsed_ms: u64,
    pub(super) last_expiry_ms: u64,
    pub(super) serving: Option<Epoch>,
    members_text: Arc<str>,
    effects: Vec<Effect<Payload>>,
    dial_attempt: u64,
    dialling: Option<tokio::task::JoinHandle<()>>,
    /// A truncation that the tree must follow before the core hears that it is durable.
    pub(super) reload_at: Option<Mark>,
    snapshot_running: bool,
    /// Rises when the history is cut or replaced: snapshots begun before are of another one.
    generation: u64,
    trigger: SnapshotTrigger,
    next_expiry: Instant,
    pub(super) sweep: Sweep,
    next_purge: Option<Instant>,
    #[cfg(feature = "gate")]
    pub(super) gate: Option<super::gate::Gate>,
    #[cfg(feature = "gate")]
    pub(super) inputs_stepped: u64,
}

/// What the core begins with.
pub struct Start {
    /// Everything that is shared.
    pub shared: Arc<Shared>,
    /// Where events come from.
    pub inbox: Arc<Inbox>,
    /// This server.
    pub env: Env,
    /// Who votes.
    pub ensemble: Ensemble,
    /// What the disk holds.
    pub found: zabra_model::durable::Durable,
    /// What of it lies behind the snapshot.
    pub replayed: Replay,
    /// The disk.
    pub thread: crate::runtime::disk::DiskThread,
    /// Where its files are.
    pub dirs: Dirs,
    /// Reads the tree anew.
    pub reload: Arc<dyn Fn() -> Result<Tree, ServerError> + Send + Sync>,
    /// Reads the history from the files.
    pub history: HistoryReader,
    /// The election mesh, if there are other servers.
    pub election: Option<Arc<ElectionNet>>,
}

impl Core {
    /// Boots the peer; its first effects are carried out by [`Core::run`].
    #[must_use]
    pub fn new(start: Start) -> Self {
        let config = &start.shared.config;
        let last = start.found.history.last();
        let mut effects = Vec::new();
        let peer = Peer::boot(&start.env, start.found, start.ensemble, &mut effects);
        let now = Instant::now();
        let purge = config.purge_interval_hours;
        let rules = zabra_model::tree::prep::Rules {
            extended_types: config.extended_types,
        };
        Self {
            peer,
            timers: Timers::new(config.tick_ms, config.init_ms()),
            links: Links::new(start.history),
            tracker: SessionTracker::new(config.tick_ms),
            prep: Prep::new(rules),
            members_text: config.members_text().into(),
            window: Window::starting_at(last),
            persist: Persist::new(start.thread),
            trigger: SnapshotTrigger::new(config, start.replayed),
            answers: Answers::new(start.env.me, start.shared.date_ms()),
            env: start.env,
            inbox: start.inbox,
            election: start.election,
            dirs: start.dirs,
            reload: start.reload,
            deliver_upto: Zxid::ZERO,
            dirty: Vec::new(),
            syncs: VecDeque::new(),
            revalidating: HashMap::new(),
            scratch: BytesMut::new(),
            clock_ms: start.shared.date_ms(),
            elapsed_ms: 0,
            last_expiry_ms: 0,
            serving: None,
            effects,
            dial_attempt: 0,
            dialling: None,
            reload_at: None,
            snapshot_running: false,
            generation: 0,
            next_expiry: now,
            sweep: Sweep::new(config.sweep, 0),
            next_purge: (purge > 0).then(|| now + Duration::from_secs(3600 * purge)),
            shared: start.shared,
            #[cfg(feature = "gate")]
            gate: None,
            #[cfg(feature = "gate")]
            inputs_stepped: 0,
        }
    }

    /// Gives a harness the say over timers and writes.
    #[cfg(feature = "gate")]
    pub fn hold_by(&mut self, gate: super::gate::Gate) {
        self.gate = Some(gate);
        self.persist.gate();
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// [`ServerError::Disk`].
    pub async fn run(mut self) -> Result<(), ServerError> {
        self.carry_out();
        self.flush();
        let mut batch = Vec::new();
        loop {
            self.inbox.take(&mut batch);
            if batch.is_empty() {
                let wake = self.next_wake();
                tokio::select! {
                    biased;
                    () = self.inbox.wait() => {}
                    () = sleep_until(wake) => {}
                }
                // The scheduler runs a task that was woken before all others that are ready: connections with requests to
                // hand over among them. Behind them, one turn takes what they all have.
                tokio::task::yield_now().await;
                self.inbox.take(&mut batch);
            }
            self.clock_ms = self.shared.date_ms();
            self.elapsed_ms = self.shared.elapsed_ms();
            for event in batch.drain(..) {
                match event {
                    Event::Shutdown => {
                        self.stop_serving();
                        self.links.close_all();
                        self.persist.stop();
                        return Ok(());
                    }
                    Event::DiskFailed(what) => return Err(ServerError::Disk(what)),
                    other => self.on_event(other)?,
                }
            }
            self.on_time();
            self.flush();
        }
    }

    fn next_wake(&self) -> Instant {
        // What would be logged waits for room on the disk.
        let may_log = !self.is_disk_full();
        if self.has_expired() && may_log || self.deliver_upto != Zxid::ZERO {
            return Instant::now();
        }
        let mut wake = Instant::now() + IDLE_MAX;
        if may_log && matches!(self.shared.mode(), Mode::Leader | Mode::Standalone) {
            let sweep_ms = self
                .sweep
                .next_ms()
                .saturating_sub(self.shared.elapsed_ms());
            let sweep = Instant::now() + Duration::from_millis(sweep_ms);
            wake = wake.min(self.next_expiry).min(sweep);
        }
        let purge = self.next_purge.unwrap_or(wake);
        let timer = if self.is_gated() {
            None
        } else {
            self.timers.next()
        };
        timer.unwrap_or(wake).min(wake).min(purge)
    }

    fn is_gated(&self) -> bool {
        #[cfg(feature = "gate")]
        return self.gate.is_some();
        #[cfg(not(feature = "gate"))]
        false
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if !self.is_gated() {
            while let Some(timer) = self.timers.fired(now) {
                self.step(Input::Fired(timer));
            }
        }
        if self.next_expiry <= now {
            self.expire_sessions();
            let next = self.tracker.next_look_ms(self.elapsed_ms);
            self.next_expiry = now + Duration::from_millis(next - self.elapsed_ms);
        } else if self.has_expired() {
            self.close_expired();
        }
        if self.is_leading() && self.sweep.next_ms() <= self.elapsed_ms {
            self.delete_containers();
        }
        if self.next_purge.is_some_and(|due| due <= now) {
            let hours = self.shared.config.purge_interval_hours;
            self.next_purge = Some(now + Duration::from_secs(3600 * hours));
            let retain = self.shared.config.purge_retain;
            let base = self.peer.durable().history.base();
            self.persist.extra(Op::Purge { retain, base });
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), ServerError> {
        match event {
            Event::DiskDurable(token) => self.on_durable(token),
            Event::Input(input) => self.step(input),
            Event::Heard(link, heard) => self.on_heard(link, heard),
            Event::LinkClosed(link) => {
                if self.links.remove(link) {
                    self.step(Input::Unlinked(link));
                }
            }
            Event::Accepted(dialled) => {
                if self.peer.state() == ServerState::Leading {
                    self.link_learner(dialled);
                } else if self.peer.state() == ServerState::Looking {
                    // It was quicker than this server to see who leads.
                    self.links.keep_waiting(dialled);
                }
            }
            Event::Dialled(attempt, stream) => {
                if attempt == self.dial_attempt && self.dialling.take().is_some() {
                    match stream {
                        Some(stream) => {
                            let silence = self.shared.config.init_ms();
                            let link = self.links.open(stream, silence, true, &self.inbox);
                            self.step(Input::Linked(link));
                        }
                        None => self.step(Input::Unreachable),
                    }
                }
            }
            Event::Submitted(conn, requests) => self.on_submitted(&conn, requests),
            Event::Connect(conn, connect) => self.on_connect(conn, connect),
            Event::Staged(mark, result) => {
                let staged = result.map_err(ServerError::Disk)?;
                self.persist.install(mark, staged);
                self.persist.release();
            }
            Event::Reloaded(mark, result) => {
                self.replace_tree(*result?);
                self.reload_at = None;
                self.persist.release();
                self.step(Input::Durable(mark));
            }
            Event::SnapshotDone(generation, result) => {
                self.snapshot_running = false;
                match result {
                    Ok(staged) if generation == self.generation => {
                        self.persist.extra(Op::PublishSnapshot(staged));
                        self.shared.stats.snapshots.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        // The log has all that it would have held.
                        warn!(
                            "no snapshot could be written: {error}; it is tried again, and the log grows meanwhile"
                        );
                        self.trigger.failed();
                        let failed = &self.shared.stats.snapshots_failed;
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            Event::DiskFull(what) => self.on_disk_full(&what),
            Event::DiskRoom => self.on_disk_room(),
            #[cfg(feature = "gate")]
            Event::Gate(command) => self.on_gate(command),
            Event::Shutdown | Event::DiskFailed(_) => {} // handled by the loop
        }
        Ok(())
    }

    fn on_durable(&mut self, token: u64) {
        let mark = mark_of(token);
        self.persist.on_durable(token);
        match self.reload_at {
            Some(at) if mark >= at => {
                let (reload, inbox) = (Arc::clone(&self.reload), Arc::clone(&self.inbox));
                tokio::task::spawn_blocking(move || {
                    inbox.push(Event::Reloaded(mark, reload().map(Box::new)), 0);
                });
            }
            _ => self.step(Input::Durable(mark)),
        }
        let durable = self.peer.durable().history.last();
        self.window.trim(durable);
    }

    /// One step, and all that it asks for.
    pub(super) fn step(&mut self, input: Input<Payload>) {
        #[cfg(feature = "gate")]
        {
            self.inputs_stepped += 1;
        }
        self.peer.step(&self.env, input, &mut self.effects);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let (mut leads, mut serves) = (false, false);
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist { mark, write } => self.persist(mark, write),
                Effect::Notify { to, notification } => {
                    if let Some(net) = &self.election {
                        net.notify(to, notification);
                    }
                }
                Effect::Dial(leader) => self.dial(leader),
                Effect::Send { link, packet } => self.send(link, packet),
                Effect::SendHistory {
                    link,
                    after,
                    upto,
                    committed,
                } => self
                    .links
                    .send_history(&self.window, link, after, upto, committed),
                Effect::SendInform { link, zxid } => {
                    self.links.send_inform(&self.window, link, zxid);
                    self.links.answer_syncs(link, zxid);
                }
                Effect::SendSnapshot { link, zxid, .. } => {
                    self.deliver();
                    let image = self.shared.tree().image();
                    assert_eq!(
                        image.zxid, zxid,
                        "a tree is sent at the zxid that the core knows it to be at"
                    );
                    self.links.send_tree(link, zxid, image);
                }
                Effect::Unlink(link) => drop(self.links.remove(link)),
                Effect::Arm(timer) => {
                    self.timers.arm(timer, Instant::now());
                    #[cfg(feature = "gate")]
                    self.gate.iter_mut().for_each(|g| g.timer("armed", timer));
                }
                Effect::Disarm(timer) => {
                    self.timers.disarm(timer);
                    #[cfg(feature = "gate")]
                    self.gate
                        .iter_mut()
                        .for_each(|g| g.timer("disarmed", timer));
                }
                Effect::Deliver { upto } => self.deliver_upto = upto,
                Effect::Became(state) => {
                    self.became(state);
                    leads = state == ServerState::Leading;
                }
                Effect::Serve { epoch } => {
                    self.serve(epoch);
                    serves = true;
                }
                Effect::Refused(fault) => warn!(%fault, "refused"),
            }
        }
        self.effects = effects;
        if leads {
            // Learners that were quicker than this server.
            for dialled in self.links.take_waiting() {
                self.link_learner(dialled);
            }
        }
        if serves {
            // Steps of their own: what this one asked for has left before.
            self.close_lost_sessions();
        }
    }

    fn link_learner(&mut self, dialled: Dialled) {
        if let Some(hello) = dialled.hello
            && let Err(turned) = self.may_take_over(hello.claim.sid, None)
        {
            warn!(from = %dialled.from, sid = %hello.claim.sid, "a learner is not let in: {turned}");
            return;
        }
        let silence = self.shared.config.init_ms();
        let link = self.links.open(dialled.stream, silence, false, &self.inbox);
        self.links.heard(link, self.elapsed_ms);
        self.step(Input::Linked(link));
        if let Some(hello) = dialled.hello {
            self.links.name(link, hello.claim.sid);
            let packet = hello.packet();
            self.step(Input::Received { link, packet });
        }
    }

    /// Whether a learner may have this link, if it has others: one that is being synchronized has its time for that, any
    /// other one has been heard within a tick, or it gives way.
    pub(super) fn may_take_over(&self, sid: ServerId, link: Option<Link>) -> Result<(), Turned> {
        let answers = |(link, silent_ms): (Link, u64)| {
            silent_ms <= self.shared.config.tick_ms || self.peer.synchronizes(link)
        };
        let mut standing = Standing::Nothing;
        for other in self.links.others(sid, link, self.elapsed_ms) {
            if answers(other) {
                standing = Standing::Answers;
                break;
            }
            standing = Standing::Silent;
        }
        may_take_over(standing)
    }

    fn persist(&mut self, mark: Mark, write: Write<Payload>) {
        #[cfg(feature = "gate")]
        self.gate.iter_mut().for_each(|g| g.write(&write));
        match &write {
            Write::Append { zxid, txn } => {
                assert_eq!(
                    *zxid, txn.header.zxid,
                    "the leader's core chooses the zxid that was prepared for"
                );
                self.window.push(Arc::clone(txn));
                self.persist.write(mark, write);
            }
            Write::Truncate { zxid } => {
                let zxid = *zxid;
                self.generation += 1;
                self.deliver();
                self.window.truncate(zxid);
                self.persist.write(mark, write);
                if self.shared.tree().last_zxid() > zxid {
                    self.reload_at = Some(mark);
                    self.persist.hold();
                }
            }
            Write::Install { zxid, .. } => {
                self.generation += 1;
                self.deliver();
                let Some(tree) = self.links.take_tree() else {
                    error!("a snapshot is to be installed that was not received");
                    return;
                };
                let image = tree.image();
                assert_eq!(
                    image.zxid, *zxid,
                    "the installed tree is the one that came with SNAP"
                );
                self.replace_tree(*tree);
                self.window = Window::starting_at(*zxid);
                self.trigger.restart();
                // A truncation asked for in the same step needs no other tree than this one.
                self.reload_at = None;
                // Whatever was cut before is gone with the old tree.
                self.persist.reserve(mark);
                self.persist.hold();
                let (dirs, inbox) = (self.dirs.clone(), Arc::clone(&self.inbox));
                tokio::task::spawn_blocking(move || {
                    let staged = stage_until_room(&dirs, &image, &inbox).map_err(|e| e.to_string());
                    inbox.push(Event::Staged(mark, staged), 0);
                });
            }
            Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) | Write::Activate { .. } => {
                self.persist.write(mark, write);
            }
        }
    }

    /// The old one is freed by another thread: a million nodes take a while.
    fn replace_tree(&self, tree: Tree) {
        let old = std::mem::replace(&mut *self.shared.tree_mut(), tree);
        tokio::task::spawn_blocking(move || drop(old));
    }

    fn dial(&mut self, leader: zabra_model::ids::ServerId) {
        self.dial_attempt += 1;
        let within = if self.is_gated() {
            Duration::from_secs(3600) // whoever holds the server holds its links, too
        } else {
            Duration::from_millis(self.shared.config.init_ms())
        };
        let inbox = Arc::clone(&self.inbox);
        self.dialling = Some(dial(
            &self.shared.config,
            leader,
            self.dial_attempt,
            within,
            inbox,
        ));
    }

    fn became(&mut self, state: ServerState) {
        info!(role = ?state, round = self.peer.round().0, "role");
        self.deliver();
        self.stop_serving();
        if let Some(dialling) = self.dialling.take() {
            dialling.abort();
        }
        if state == ServerState::Looking {
            self.shared.stats.elections.fetch_add(1, Ordering::Relaxed);
        } else if matches!(state, ServerState::Following | ServerState::Observing) {
            drop(self.links.take_waiting());
        }
    }

    /// Serving ends: nobody is answered any more, and clients look for another server.
    fn stop_serving(&mut self) {
        self.shared.set_mode(Mode::NotServing);
        self.serving = None;
        drop(self.answers.end()); // their connections are closed below
        self.syncs.clear();
        self.revalidating.clear();
        self.prep.reset();
        let conns: Vec<_> = lock(&self.shared.hub).conns.values().cloned().collect();
        conns.iter().for_each(|conn| conn.close());
    }

    fn serve(&mut self, epoch: Epoch) {
        self.deliver();
        let leads = self.peer.state() == ServerState::Leading;
        self.serving = Some(epoch);
        if self.shared.config.is_ensemble() {
            let text = Arc::clone(&self.members_text);
            self.shared
                .tree_mut()
                .set_config(text.as_bytes(), Zxid::ZERO, 0);
        }
        if leads {
            self.start_leading();
        } else {
            self.links.set_leader_silence(self.shared.config.sync_ms());
        }
        let mode = match self.peer.state() {
            _ if !self.shared.config.is_ensemble() => Mode::Standalone,
            ServerState::Leading => Mode::Leader,
            ServerState::Observing => Mode::Observer,
            ServerState::Following | ServerState::Looking => Mode::Follower,
        };
        self.shared.set_mode(mode);
        info!(epoch = epoch.0, ?mode, zxid = %self.peer.delivered(), "serving");
    }

    fn send(
        &mut self,
        link: zabra_model::step::Link,
        packet: zabra_model::packet::Packet<Payload>,
    ) {
        use zabra_model::packet::Packet;
        match packet {
            Packet::Ping { zxid } if self.peer.state() != ServerState::Leading => {
                let table = self.touched_sessions();
                self.links.send_ping(link, zxid, &table);
            }
            Packet::UpToDate => {
                self.links.put(link, &Packet::UpToDate, &self.members_text);
                let config = &self.shared.config;
                let bytes_max = config.outstanding_bytes.saturating_mul(LINK_PARTS_MAX);
                self.links.is_up_to_date(link, config.sync_ms(), bytes_max);
            }
            Packet::Commit { zxid } => {
                self.links.put(link, &packet, &self.members_text);
                self.links.answer_syncs(link, zxid);
            }
            other => self.links.put(link, &other, &self.members_text),
        }
    }

    /// The sessions attached here that were heard since the last time, with their timeouts. While clients are held up they are not
    /// read, and that is no silence of theirs.
    fn touched_sessions(&self) -> Vec<(SessionId, i32)> {
        let held = self.inbox.is_crowded();
        lock(&self.shared.sessions)
            .iter()
            .filter(|(_, conn)| conn.take_heard().is_some() || held)
            .map(|(session, conn)| (*session, conn.timeout_ms()))
            .collect()
    }

    /// A connection's session is confirmed, or not.
    pub(super) fn connected(&mut self, conn: &Arc<Conn>, valid: bool) {
        let mut state = conn.state();
        if state.phase != Phase::Connecting {
            return; // it has gone meanwhile
        }
        let session = conn.session();
        let response = if valid {
            state.phase = Phase::Open;
            ConnectResponse {
                timeout_ms: conn.timeout_ms(),
                session,
                password: password(session),
                read_only: state.read_only,
            }
        } else {
            state.phase = Phase::Closing;
            ConnectResponse::expired(state.read_only)
        };
        response.put(&mut state.out);
        state.mark_dirty(conn, &mut self.dirty);
        drop(state);
        debug!(%session, valid, from = %conn.from, "session");
        if valid {
            let old = lock(&self.shared.sessions).insert(session, Arc::clone(conn));
            if let Some(old) = old.filter(|old| old.id != conn.id) {
                old.close();
            }
        }
    }

    fn on_connect(&mut self, conn: Arc<Conn>, connect: Connect) {
        match (self.shared.mode(), connect) {
            (Mode::NotServing, _) => conn.close(),
            (_, Connect::Refused) => {}
            (_, Connect::New(session)) => self.create_session(conn, session),
            (Mode::Standalone | Mode::Leader, Connect::Again(session)) => {
                let valid = self.revalidate(session, conn.timeout_ms(), self.env.me);
                self.connected(&conn, valid);
            }
            (Mode::Follower | Mode::Observer, Connect::Again(session)) => {
                self.links.ask_revalidate(session, conn.timeout_ms());
                self.revalidating
                    .entry(session)
                    .or_default()
                    .push_back(conn);
            }
        }
    }

    /// Everything that others wait for leaves: the disk's batch, the links' packets, the clients' replies.
    fn flush(&mut self) {
        self.deliver_some(APPLIED_A_TURN);
        self.persist.flush();
        self.press();
        if let Some(link) = self.links.flush() {
            self.cut_off(link);
        }
        for conn in self.dirty.drain(..) {
            conn.wake();
        }
        let outstanding = self.answers.len() as u64;
        self.shared
            .stats
            .outstanding
            .store(outstanding, Ordering::Relaxed);
        self.maybe_snapshot();
        #[cfg(feature = "gate")]
        self.gate.iter_mut().for_each(super::gate::Gate::flush);
    }

    /// Too much waits for a learner. If a quorum is left without it, it may come back when it has caught up; if not, what waits
    /// for it waits to be committed, and the clients are held up.
    fn cut_off(&mut self, link: Link) {
        if self.peer.can_spare(&self.env, link) && self.links.remove(link) {
            warn!(
                link = link.0,
                "a learner does not fetch what is sent to it, its connection is closed; look at its disk and its network"
            );
            self.step(Input::Unlinked(link));
        }
    }

    /// Too much that waits to be committed holds up the clients, and on a leader what waits for its disk, too. Too much that
    /// waits for a learner's disk holds up what its leader says.
    fn press(&mut self) {
        let max = self.shared.config.outstanding_bytes;
        let unwritten = self.persist.unwritten_bytes();
        let leads = self.is_leading();
        // Without room on the disk, writes are refused as they come, and reads go on.
        let outstanding = !self.is_disk_full()
            && (self.window.outstanding_bytes() > max || leads && unwritten > max);
        self.inbox
            .hold_clients(self.serving.is_some() && outstanding);
        self.inbox
            .hold_leader(!leads && unwritten > max.saturating_mul(UNWRITTEN_PARTS_MAX));
    }

    pub(super) fn count_delivered(&mut self, delivered: Replay) {
        self.trigger.count(delivered);
        let commits = &self.shared.stats.commits;
        commits.fetch_add(delivered.txns, Ordering::Relaxed);
    }

    /// Writes a snapshot when enough has changed, on another thread, while writes go on.
    fn maybe_snapshot(&mut self) {
        if self.snapshot_running || !self.trigger.is_due() || self.persist.is_held() {
            return;
        }
        if self.serving.is_none() {
            return; // after a start the tree holds what nobody may have committed
        }
        self.trigger.begin();
        self.snapshot_running = true;
        let image = self.shared.tree().image();
        let generation = self.generation;
        let (dirs, inbox) = (self.dirs.clone(), Arc::clone(&self.inbox));
        tokio::task::spawn_blocking(move || {
            let staged = stage(&RealDisk, &dirs, &image).map_err(|e| e.to_string());
            inbox.push(Event::SnapshotDone(generation, staged), 0);
        });
    }
}
