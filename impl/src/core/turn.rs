//! The core and its one entrance.

use super::asked::Snapped;
use super::disk::ToDisk;
use super::event::{Done, Event, Now};
use super::operator::Operator;
use super::out::{LinkAct, Outputs};
use super::peer::{Measures, Protocol, booted};
use super::quorum::{Claiming, Quorum};
use super::replica::Replica;
use super::service::Service;
use super::timers::Timers;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::error::ServerError;
use crate::mutants::{Mutant, has};
use crate::storage::worker;
use bytes::BytesMut;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::warn;
use zabra_model::durable::Durable;
use zabra_model::flight::{Limits, Recorder};
use zabra_model::ids::Zxid;
use zabra_model::peer::Peer;
use zabra_model::service::delivery::Need;
use zabra_model::service::members::Lists;
use zabra_model::service::reach::Reach;
use zabra_model::service::snapshots::{Replay, ReplayLimits, Snapshots};
use zabra_model::step::{Env, Input, Link, Timer};
use zabra_model::tree::prep::{Prep, Rules};
use zabra_model::vote::ServerState;

/// A turn comes at least so often.
const IDLE_MAX_MS: u64 = 60_000;

/// One server.
///
/// Whoever drives it does this, again and again, and nothing else:
///
/// 1. wait until there are events, or [`Outputs::wake_ms`] has come;
/// 2. take **all** events that there are, and call [`Core::turn`] with them, the time, and the outputs of the last turn, emptied. The
///    first turn has none: it boots the server;
/// 3. carry the outputs out. The disk's operations go to one [`worker`] in the order of their tokens, and its events come back in
///    its order; what a link is told stays in its order, and what is heard over it comes in the order in which it was sent;
/// 4. after [`Outputs::ended`], or an error, there is no further turn.
///
/// A crash is a driver that stops after any of these: what the disk was not asked for, or has not synced, is lost, and the protocol
/// has promised nobody that it is there.
///
/// Beside the turns, connections of clients read the tree through [`Shared`], under its locks; they only ask for changes by
/// [`Event::Submitted`].
pub struct Core {
    pub(super) now: Now,
    pub(super) protocol: Protocol,
    pub(super) replica: Replica,
    pub(super) disk: ToDisk,
    pub(super) quorum: Quorum,
    pub(super) service: Service,
    pub(super) operator: Operator,
    /// Behind a pointer, as it changes places with the driver's twice a turn.
    pub(super) out: Box<Outputs>,
    /// Room for encoding, so that many small transactions share an allocation.
    pub(super) scratch: BytesMut,
    pub(super) tells: bool,
    timers_are_driven: bool,
    /// The end of the log as it was when this turn began.
    pub(super) logged_before: Zxid,
    next_purge_ms: Option<u64>,
    has_begun: bool,
}

/// What the core begins with.
pub struct Start {
    /// What the connections of clients share with it; the tree in it is the one that was found.
    pub shared: Arc<Shared>,
    /// This server.
    pub env: Env,
    /// The lists of members that bind it.
    pub lists: Lists,
    /// What the disk holds.
    pub found: Durable,
    /// What of it lies behind the snapshot.
    pub replayed: Replay,
    /// How large that is from where, and the snapshot.
    pub reach: Reach,
    /// The time.
    pub now: Now,
    /// Timers run out when [`Event::Fired`] says so, not by the time.
    pub timers_are_driven: bool,
    /// Whether [`Outputs::told`] is filled.
    pub tells: bool,
    /// How much the flight recorder keeps; nothing: there is none.
    pub records: Option<Limits>,
}

impl Core {
    /// Boots the peer. What it asks for at first comes out of the first turn.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let config = &start.shared.config;
        let last = start.found.history.last();
        let mut effects = Vec::new();
        let ensemble = start.lists.ensemble();
        let mut recorder = start.records.map(|limits| Box::new(Recorder::new(limits)));
        let from = (start.found, ensemble);
        let peer = booted(
            start.now,
            &start.env,
            from,
            recorder.as_deref_mut(),
            &mut effects,
        );
        let (me, lists) = (start.env.me, Arc::new(start.lists));
        start.shared.set_lists(Arc::clone(&lists));
        let rules = Rules {
            extended_types: config.extended_types,
            enforce_quota: config.enforce_quota,
            skip_acl: config.access.skips_acl,
            lists_closed: config.store.lists_closed,
            entry_bytes_max: config.entry_bytes_max,
        };
        let limits = ReplayLimits {
            txns: config.snap_count,
            bytes: config.snap_bytes,
        };
        let purge_ms = config.purge_interval_ms;
        let disk = ToDisk::new(
            Snapshots::new(limits.of(start.env.me), start.replayed),
            start.reach,
        );
        let service = Service::new(
            start.env.me,
            config.tick_ms,
            config.sweep,
            start.now.date_ms,
        );
        Self {
            now: start.now,
            protocol: Protocol {
                peer,
                timers: Timers::new(config.tick_ms, config.init_ms(), config.net.resend_ms),
                env: start.env,
                away: BTreeSet::new(),
                early: Vec::new(),
                steps: 0,
                effects,
                recorder,
                measures: Measures::default(),
            },
            disk,
            quorum: Quorum::new(me, lists),
            service,
            operator: Operator::default(),
            out: Box::default(),
            scratch: BytesMut::new(),
            tells: start.tells,
            timers_are_driven: start.timers_are_driven,
            logged_before: last,
            next_purge_ms: (purge_ms > 0).then(|| start.now.elapsed_ms + purge_ms),
            has_begun: false,
            replica: Replica::new(start.shared, Prep::new(rules), last),
        }
    }

    /// One turn: everything in `events` is heard, whatever is due by the time is done, and all that follows is in `out`. See
    /// [`Core`] for who calls it when.
    ///
    /// # Errors
    /// [`ServerError::Disk`], [`ServerError::Data`]: the server cannot go on.
    pub fn turn(
        &mut self,
        now: Now,
        events: &mut Vec<Event>,
        out: &mut Box<Outputs>,
    ) -> Result<(), ServerError> {
        self.now = now;
        // Who is held up stays it until the end of the turn.
        out.hold_clients = self.out.hold_clients;
        out.hold_leader = self.out.hold_leader;
        std::mem::swap(&mut self.out, out);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.carry_out();
        }
        self.logged_before = self.protocol.peer.last_logged();
        self.look_how_far_the_log_reaches();
        for event in events.drain(..) {
            self.on_event(event)?;
            if self.out.ended {
                break;
            }
        }
        if !self.out.ended {
            self.on_time();
        }
        self.flush();
        std::mem::swap(&mut self.out, out);
        self.out.hold_clients = out.hold_clients;
        self.out.hold_leader = out.hold_leader;
        Ok(())
    }

    /// A learner that comes in this turn is served from the log from there on.
    fn look_how_far_the_log_reaches(&mut self) {
        if self.protocol.peer.state() == ServerState::Leading {
            let share = self.replica.shared.config.store.log_share;
            let memory = self.replica.window.after();
            self.protocol.env.sync.reach = self.disk.reach.begins(memory, share);
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), ServerError> {
        match event {
            Event::Mail(from, notification) => {
                let now_ms = self.now.elapsed_ms;
                self.protocol.hears(from, notification, now_ms);
                self.step(Input::Notified { from, notification });
            }
            Event::Reached(server, true) => {
                self.protocol.away.remove(&server);
            }
            Event::Reached(server, false) => {
                self.protocol.away.insert(server);
            }
            Event::Fired(timer) => {
                if self.protocol.timers.take(timer) {
                    self.step(Input::Fired(timer));
                }
            }
            Event::Disk(worker::Event::Durable { upto }) => self.on_durable(upto),
            Event::Disk(worker::Event::Full { what, error }) => {
                self.on_disk_full(&format!("{what}: {error}"));
            }
            Event::Disk(worker::Event::Room) => self.on_disk_room(),
            Event::Disk(worker::Event::Failed { what, error }) => {
                return Err(ServerError::Disk(format!("{what}: {error}")));
            }
            Event::Accepted {
                link,
                from,
                expected,
                hello,
            } => self.on_accepted(Claiming { link, hello }, from, expected),
            Event::Dialled(attempt, link) => self.on_dialled(attempt, link),
            Event::Heard(link, heard) => self.on_heard(link, heard),
            Event::Ended(link) => {
                self.quorum.stops_waiting(link);
                if !has(Mutant::EndNotTold) {
                    self.unlink(link);
                }
            }
            Event::Behind(link) => self.on_behind(link),
            Event::Connect(conn, connect) => self.on_connect(conn, connect),
            Event::Submitted(conn, requests) => self.on_submitted(&conn, requests),
            Event::Done(done) => self.on_done(done)?,
            Event::Propose(txn) => self.propose_of_harness(txn),
            Event::SnapshotAsked(told) => self.operator.ask(told),
            Event::Restore(asked) => self.restore(asked),
            Event::FlightAsked(told) => told.tell(Ok(self.recorded())),
            Event::KeepFlight => {
                let mut all = self.recorded();
                self.out.kept.append(&mut all);
            }
            Event::Settle => self.deliver(Need::Answer),
            Event::Shutdown => self.on_shutdown(),
        }
        Ok(())
    }

    fn on_dialled(&mut self, attempt: u64, link: Option<Link>) {
        let is_awaited = self.quorum.dialled(attempt);
        match link {
            Some(link) if is_awaited => {
                let silence_ms = self.replica.shared.config.init_ms();
                let elapsed_ms = self.now.elapsed_ms;
                self.quorum
                    .open(link, None, silence_ms, elapsed_ms, &mut self.out);
                self.step(Input::Linked(link));
            }
            Some(link) => self.out.links.push(LinkAct::Close(link)),
            None if is_awaited => self.step(Input::Unreachable),
            None => {}
        }
    }

    fn on_durable(&mut self, token: u64) {
        self.operator.durable(token);
        self.count_written(token);
        if self.has_restored(token) {
            return;
        }
        if let Some(mark) = self.disk.durable(token, &mut self.out) {
            self.step(Input::Durable(mark));
        }
        let durable = self.protocol.peer.durable().history.last();
        self.count_durable(durable);
        self.replica.window.trim(durable);
    }

    fn on_done(&mut self, done: Done) -> Result<(), ServerError> {
        match done {
            Done::Staged(mark, result) => {
                let staged = result.map_err(ServerError::Disk)?;
                self.disk.staged(mark, staged);
            }
            Done::Reloaded(mark, result) => {
                self.replace_tree(*result?);
                self.disk.reloaded();
                self.step(Input::Durable(mark));
            }
            Done::RestoreStaged(result) => self.restore_staged(result),
            Done::Snapshot(generation, result) => {
                let stats = &self.replica.shared.stats;
                let elapsed_ms = self.now.elapsed_ms;
                if let Err(error) = &result {
                    warn!(
                        code = %Code::SnapshotFailed,
                        "no snapshot could be written: {error}; it is tried again, and the log grows meanwhile"
                    );
                    stats.snapshots_failed.fetch_add(1, Ordering::Relaxed);
                }
                let file = result
                    .as_ref()
                    .map_err(String::clone)
                    .map(|staged| Snapped {
                        zxid: staged.zxid,
                        path: staged.path(),
                    });
                let finished = self.disk.snapshot_done(generation, result.ok(), elapsed_ms);
                let token = self.disk.last_token();
                self.operator.written(finished, token, file);
            }
        }
        Ok(())
    }

    /// What is due by the time.
    fn on_time(&mut self) {
        let elapsed_ms = self.now.elapsed_ms;
        if !self.timers_are_driven {
            if self.protocol.takes_idle_wait() {
                self.step(Input::Fired(Timer::Finalize));
            }
            while let Some(timer) = self.protocol.timers.fired(elapsed_ms) {
                self.step(Input::Fired(timer));
            }
        }
        self.look_at_stay();
        // Who leaves begins nothing.
        let stays = self.service.leaving.is_none();
        if stays && self.service.next_look_ms <= elapsed_ms {
            self.look_at_sessions();
            self.service.next_look_ms = self.service.tracker.next_look_ms(elapsed_ms);
        } else if stays && self.service.has_due() {
            self.close_due();
        }
        if stays && self.service.leads() && self.service.sweep.next_ms() <= elapsed_ms {
            self.delete_containers();
        }
        self.look_without_leader();
        self.let_waiting_in();
        if self.next_purge_ms.is_some_and(|due| due <= elapsed_ms) {
            let config = &self.replica.shared.config;
            self.next_purge_ms = Some(elapsed_ms + config.purge_interval_ms);
            if let Some(oldest) = self.disk.oldest_of(config.purge_retain) {
                self.protocol.forget(oldest);
            }
            let base = self.protocol.peer.durable().history.base();
            self.disk.purge(config.purge_retain, base);
        }
    }

    /// Everything that others wait for leaves: the disk's batch, the links' packets, the clients' replies.
    fn flush(&mut self) {
        self.deliver(Need::Turn);
        self.leave_if_over();
        self.press();
        self.maybe_snapshot();
        let txns = self.disk.flush(self.now.elapsed_ms, &mut self.out);
        self.count_handed(txns);
        self.quorum.flush(&mut self.out);
        let outstanding = &self.replica.shared.stats.outstanding;
        outstanding.store(self.service.awaited.answers.len() as u64, Ordering::Relaxed);
        self.count_links();
        self.count_turn();
        if let Some(recorder) = &mut self.protocol.recorder
            && recorder.has_kept()
        {
            self.out.kept.append(&mut recorder.take_kept());
        }
        self.out.wake_ms = self.next_wake_ms();
    }

    /// Writes a snapshot when enough has changed, or an operator waits for one, while writes go on.
    fn maybe_snapshot(&mut self) {
        let serves = self.service.serves();
        let is_asked = self.operator.wants_snapshot();
        if is_asked && !serves {
            self.operator.refuse();
        }
        if !self
            .disk
            .may_snapshot(serves, is_asked, self.now.elapsed_ms)
        {
            return;
        }
        self.operator.begun();
        let image = self.replica.shared.tree().image();
        self.disk.snapshot(image, &mut self.out);
    }

    fn next_wake_ms(&self) -> u64 {
        let now_ms = self.now.elapsed_ms;
        let stays = self.service.leaving.is_none();
        if stays && self.service.has_due() || self.replica.delivery.is_due() {
            return now_ms;
        }
        let mut wake_ms = now_ms + IDLE_MAX_MS;
        // What would be logged waits for room on the disk.
        if stays && self.service.leads() && self.service.room.may_log() {
            let sweep_ms = self.service.sweep.next_ms();
            wake_ms = wake_ms.min(self.service.next_look_ms).min(sweep_ms);
        }
        let timer_ms = match self.protocol.timers.next() {
            Some(due_ms) if !self.timers_are_driven => due_ms,
            _ => wake_ms,
        };
        let purge_ms = self.next_purge_ms.unwrap_or(wake_ms);
        wake_ms
            .min(timer_ms)
            .min(purge_ms)
            .min(self.service.next_local_ms().unwrap_or(wake_ms))
    }
}

/// What whoever drives a core may see of it.
impl Core {
    /// The peer.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.protocol.peer
    }

    /// How many steps it has taken.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.protocol.steps
    }

    /// Which timers run.
    pub fn armed(&self) -> impl Iterator<Item = Timer> + '_ {
        self.protocol.timers.armed()
    }

    /// Writes that wait for a job, and those behind them: they have not come out yet.
    #[must_use]
    pub fn writes_waiting(&self) -> usize {
        self.disk.waiting()
    }

    /// Whether the protocol has asked for the operation of the disk with this token, and not the host on its own: a list that comes with
    /// a snapshot, a snapshot's name.
    #[must_use]
    pub const fn is_write(token: u64) -> bool {
        ToDisk::is_write(token)
    }

    /// Whether the tree is still to follow a truncation.
    #[must_use]
    pub const fn is_reloading(&self) -> bool {
        self.disk.is_reloading()
    }

    /// What is shared with the connections of clients.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.replica.shared
    }

    /// Whether timers run out when the driver says so.
    pub(super) const fn timers_are_driven(&self) -> bool {
        self.timers_are_driven
    }

    /// The position that the next proposal will get, if this server leads.
    #[must_use]
    pub fn next_proposal(&self) -> Option<Zxid> {
        let serves = self.service.serves();
        serves.then(|| self.protocol.peer.next_zxid()).flatten()
    }
}
