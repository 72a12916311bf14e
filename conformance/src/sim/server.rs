//! A whole server: the real core, disk worker, recovery, client intake and codecs, driven by virtual time on a virtual disk and
//! network. It does what the server's own driver does with turns and outputs, and nothing else.

use super::disk::{Crash, SimDisk};
use super::links::Links;
use super::mail::Mailbox;
use super::planted::Planted;
use super::scene::{FAULTS_US, Life, Scene, What, place, sid};
use super::takes::Takes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zabra::client::shared::{Secret, Shared};
use zabra::config::Config;
use zabra::core::event::{Done, Event, Now};
use zabra::core::out::{Job, Outputs, Told};
use zabra::core::turn::{Core, Start};
use zabra::edges::clock::Clock;
use zabra::storage::boot::{self, BootOptions, Found};
use zabra::storage::snapshot::{Form, Packing};
use zabra::storage::stage::stage;
use zabra::storage::txn_log::writer::{LogOptions, TxnLog};
use zabra::storage::worker::{self, Op, Outcome, Worker};
use zabra::storage::{Dirs, StorageError};
use zabra_model::ids::Epoch;
use zabra_model::step::{Env, Link};
use zabra_model::switch::Switches;

/// When the first run begins, ms since 1970.
const DATE_MS: u64 = 1_700_000_000_000;
/// Of so many batches with something else than appends, an epoch, a truncation, a snapshot, one meets a loss of power: these are seldom, and
/// a loss at any time would hardly ever meet one.
const SELDOM_HIT: u8 = 16;
/// Until the disk worker tries again for room.
const ROOM_PAUSE_US: u64 = 250_000;

/// A server's clocks.
#[derive(Default)]
pub struct SimClock {
    now_us: AtomicU64,
    began_us: u64,
    ahead_ms: AtomicU64,
}

impl SimClock {
    /// The clock of a process that starts now, and of which the date is so far ahead.
    const fn starting(now_us: u64, ahead_ms: u64) -> Self {
        Self {
            now_us: AtomicU64::new(now_us),
            began_us: now_us,
            ahead_ms: AtomicU64::new(ahead_ms),
        }
    }

    /// It is so late.
    pub fn set(&self, now_us: u64) {
        self.now_us.store(now_us, Ordering::Relaxed);
    }

    fn now(&self) -> Now {
        Now {
            elapsed_ms: self.elapsed_ms(),
            date_ms: self.date_ms(),
        }
    }
}

impl Clock for SimClock {
    fn elapsed_ms(&self) -> u64 {
        (self.now_us.load(Ordering::Relaxed) - self.began_us) / 1000
    }

    fn date_ms(&self) -> u64 {
        DATE_MS + self.ahead_ms.load(Ordering::Relaxed) + self.now_us.load(Ordering::Relaxed) / 1000
    }
}

/// A server that runs.
pub struct Running {
    /// The server itself.
    pub core: Core,
    /// What its connections share with it.
    pub shared: Arc<Shared>,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    worker: Worker<SimDisk>,
    disk: SimDisk,
    queue: VecDeque<(u64, Op)>,
    disk_is_busy: bool,
    /// What is written already may wait to be synced.
    has_no_room: bool,
    /// What the next turn hears.
    pub events: Vec<Event>,
    out: Box<Outputs>,
    turn_us: Option<u64>,
    /// Links to other servers.
    pub links: Links,
    /// Connections of clients.
    pub takes: Takes,
    /// Notifications.
    pub mail: Mailbox,
}

impl Running {
    /// What it is at, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        let peer = self.core.peer();
        format!(
            "{:?}, {} events wait; its disk: busy {}, {} operations wait, {} for a job, reloads {}, idle {}",
            peer.state(),
            self.events.len(),
            self.disk_is_busy,
            self.queue.len(),
            self.core.writes_waiting(),
            self.core.is_reloading(),
            peer.storage().is_idle()
        )
    }
}

/// A server, up or down.
pub struct Server {
    /// Its number from 0.
    pub index: usize,
    /// Its configuration.
    pub config: Arc<Config>,
    dirs: Dirs,
    /// Its disk.
    pub disk: SimDisk,
    /// How many times it was started.
    pub life: Life,
    /// Whether it reads its data.
    pub is_starting: bool,
    /// If it runs.
    pub running: Option<Box<Running>>,
    /// What it was asked to write and what of it counts.
    pub log: super::chain::Log,
    /// How far ahead its date is, ms.
    pub ahead_ms: u64,
}

impl Server {
    /// One that has never been started.
    #[must_use]
    pub fn new(index: usize, config: Config, disk: SimDisk) -> Self {
        let dirs = Dirs::new(&config.data_dir, &config.data_log_dir);
        Self {
            index,
            config: Arc::new(config),
            dirs,
            disk,
            life: 0,
            is_starting: false,
            running: None,
            log: super::chain::Log::default(),
            ahead_ms: 0,
        }
    }

    const fn options() -> BootOptions {
        BootOptions {
            trust_empty_snapshot: false,
            is_ensemble: true,
            form: Form {
                packing: Packing::Plain,
                says_digest: true,
                says_zxid: true,
            },
            beside: None,
        }
    }

    /// Whether it is down and not about to come up.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.running.is_none() && !self.is_starting
    }

    /// The running one of that life.
    pub fn of(&mut self, life: Life) -> Option<&mut Running> {
        let is_now = life == self.life;
        self.running.as_deref_mut().filter(|_| is_now)
    }

    /// Reads the data directory, which takes a while.
    pub fn boot(&mut self, scene: &mut Scene) {
        if !self.is_down() {
            return;
        }
        self.life += 1;
        let disk = self.disk.user(scene.now_us);
        disk.begin(scene.now_us);
        match boot::read(&disk, &self.dirs, Self::options()) {
            Ok(found) => {
                self.is_starting = true;
                let started = What::Started(self.index, self.life, Box::new(found));
                scene.at(disk.done_us() + 1000, started);
            }
            Err(error) if error.is_no_room() || self.disk.has_failed() => {
                self.disk.crash(scene.now_us, Crash::Process);
                scene.after(500_000, What::Boot(self.index));
            }
            Err(error) => scene.fail(format!(
                "I-14: server {} cannot start from what a crash has left: {error}",
                self.index + 1
            )),
        }
    }

    /// Its data is read: it begins.
    pub fn start(&mut self, life: Life, found: Found, scene: &mut Scene) {
        if life != self.life || !self.is_starting {
            return;
        }
        self.is_starting = false;
        let clock = Arc::new(SimClock::starting(scene.now_us, self.ahead_ms));
        let config = Config::clone(&self.config);
        let env = Env {
            me: config.me,
            observer: config.is_observer(),
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: config.sync_limit.saturating_mul(2),
            sync: config.sync_limits(),
        };
        let options = LogOptions {
            prealloc_bytes: 16 << 10,
            file_txns_max: config.snap_count.saturating_mul(4),
            ..LogOptions::default()
        };
        scene.tell(|| {
            let durable = &found.durable;
            let (last, current) = (durable.history.last(), durable.current.0);
            format!(
                "server {} starts at {last}, epoch {current}",
                self.index + 1
            )
        });
        if let Err(what) = self.log.begin(&found.durable, &mut scene.chain) {
            scene.fail(format!("server {}: {what}", self.index + 1));
        }
        let lists = config.lists();
        let last = found.durable.history.last();
        let shared = Shared::new(
            config,
            found.tree,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Secret([0; 32]),
        );
        let core = Core::new(Start {
            shared: Arc::clone(&shared),
            env,
            lists,
            found: found.durable,
            replayed: found.replayed,
            reach: found.reach,
            now: clock.now(),
            timers_are_driven: false,
            tells: true,
            records: Some(zabra::limits::FLIGHT),
        });
        let disk = self.disk.user(scene.now_us);
        let log = TxnLog::new(disk.clone(), self.dirs.log.clone(), options, last);
        let now = Duration::from_micros(scene.now_us);
        self.running = Some(Box::new(Running {
            core,
            worker: Worker::new(disk.clone(), self.dirs.clone(), log, now),
            links: Links::new(
                Arc::clone(&self.config),
                disk.clone(),
                self.dirs.log.clone(),
            ),
            takes: Takes::new(Arc::clone(&shared)),
            mail: Mailbox::new(self.index, &self.config),
            shared,
            clock,
            disk,
            queue: VecDeque::new(),
            disk_is_busy: false,
            has_no_room: false,
            events: Vec::new(),
            out: Box::default(),
            turn_us: None,
        }));
        self.turn(life, scene);
    }

    /// It ends without a word.
    pub fn crash(&mut self, crash: Crash, scene: &mut Scene) {
        scene.tell(|| format!("server {}: {crash:?}", self.index + 1));
        for (stream, end) in scene.net.ends(place(self.index)) {
            match crash {
                Crash::Process => scene.net.close(stream, end, scene.now_us),
                Crash::Power => scene.net.vanish(stream, end),
            }
        }
        self.compare_with_record(scene);
        self.running = None;
        self.is_starting = false;
        self.life += 1;
        self.disk.crash(scene.now_us, crash);
    }

    /// The peer of the model goes the same way by what this server has recorded.
    pub fn compare_with_record(&self, scene: &mut Scene) {
        let Some(run) = &self.running else { return };
        if let Err(what) = run.core.is_as_recorded() {
            scene.fail(format!("server {}: {what}", self.index + 1));
        }
    }

    /// Sees to it that its next turn comes in time.
    pub fn rouse(&mut self, scene: &mut Scene) {
        let (index, life) = (self.index, self.life);
        let Some(run) = self.running.as_deref_mut() else {
            return;
        };
        let mut at_us = run.clock.began_us + run.out.wake_ms * 1000;
        if !run.events.is_empty() {
            at_us = scene.now_us + scene.random.u64(5..60);
        }
        let at_us = at_us.max(scene.now_us);
        if run.turn_us.is_none_or(|turn_us| at_us < turn_us) {
            run.turn_us = Some(at_us);
            scene.at(at_us, What::Turn(index, life));
        }
    }

    /// Its turn, if it is due; and all that follows.
    pub fn turn(&mut self, life: Life, scene: &mut Scene) {
        let index = self.index;
        let Some(run) = self.of(life) else { return };
        if run.turn_us.is_some_and(|at_us| at_us > scene.now_us) {
            return;
        }
        run.turn_us = None;
        run.clock.set(scene.now_us);
        let mut out = std::mem::take(&mut run.out);
        if let Err(error) = run.core.turn(run.clock.now(), &mut run.events, &mut out) {
            if run.disk.has_failed() {
                scene.at(scene.now_us, What::GivesUp(index, life));
                return;
            }
            scene.fail(format!("server {} gives up: {error}", index + 1));
            return;
        }
        self.carry_out(life, out, scene);
        self.rouse(scene);
    }

    fn carry_out(&mut self, life: Life, mut out: Box<Outputs>, scene: &mut Scene) {
        let Self {
            index, log, dirs, ..
        } = self;
        let index = *index;
        let Some(run) = self.running.as_deref_mut() else {
            return;
        };
        let state = run.core.peer().state();
        for (_, op) in &out.disk {
            if let Err(what) = log.asked(op, state, &mut scene.chain) {
                scene.fail(format!("server {}: {what}", index + 1));
            }
        }
        for told in out.told.drain(..) {
            if let Told::Refused(fault) = told
                && fault.is_bad_packet()
            {
                scene.fail(format!("I-12: server {} refuses: {fault}", index + 1));
            }
        }
        let early = scene
            .has(Planted::ReplyBeforeApply)
            .then(|| out.disk.clone());
        if scene.has(Planted::SyncAtOnce) {
            run.links.lonely_syncs = run.takes.lonely_syncs();
        }
        run.queue.extend(out.disk.drain(..));
        run.links.acts(
            (index, life),
            std::mem::take(&mut out.links),
            &mut run.events,
            scene,
        );
        run.links
            .dials((index, life), std::mem::take(&mut out.dials), scene);
        for (to, notification) in out.mail.drain(..) {
            run.mail.write(to, notification);
        }
        for job in out.jobs.drain(..) {
            let disk = run.disk.user(scene.now_us);
            if let Some(done) = work(job, &disk, dirs) {
                let done = What::Job(index, life, Box::new(done));
                scene.at(disk.done_us().max(scene.now_us) + 100, done);
            }
        }
        for conn in out.woken.drain(..) {
            conn.wake();
        }
        // The record in memory is compared; nobody reads the file here.
        out.kept.clear();
        run.links.hold(out.hold_leader);
        run.takes.hold(out.hold_clients);
        run.out = out;
        if let Err(error) = run.links.listen(&mut run.events) {
            scene.tell(|| format!("server {}: {error}", index + 1));
        }
        run.takes.look((index, life), &mut run.events, scene);
        if let Some(ops) = early {
            run.takes.reply_early(&ops, scene);
        }
        self.write(life, scene);
    }

    /// Hands the disk what waits for it.
    pub fn write(&mut self, life: Life, scene: &mut Scene) {
        let index = self.index;
        let Some(run) = self.of(life).filter(|run| !run.disk_is_busy) else {
            return;
        };
        let now = Duration::from_micros(scene.now_us);
        let is_seldom = run
            .queue
            .iter()
            .any(|(_, op)| !matches!(op, Op::Append { .. }));
        if run.queue.is_empty() && !run.has_no_room {
            if let Some(rest) = run.worker.rest(now) {
                scene.after(rest.as_micros() as u64, What::Settle(index, life));
            }
            return;
        }
        run.disk_is_busy = true;
        run.disk.begin(scene.now_us);
        let mut said = Vec::new();
        let disk = &run.disk;
        let outcome = run.worker.carry_out(&mut run.queue, now, |event, _| {
            said.push((disk.done_us(), event));
        });
        let done_us = run.disk.done_us();
        if is_seldom && scene.now_us < FAULTS_US && scene.random.u8(0..SELDOM_HIT) == 0 {
            let (at_us, all) = (
                scene.random.u64(scene.now_us..=done_us),
                scene.random.bool(),
            );
            scene.at(at_us, What::PowerInWrite(index, life, all));
        }
        for (at_us, event) in said {
            let early = scene.has(Planted::AckBeforeSync);
            let at_us = match event {
                worker::Event::Durable { .. } if early => scene.now_us,
                _ => at_us,
            };
            scene.at(at_us + 10, What::Disk(index, life, event));
        }
        run.has_no_room = outcome == Outcome::NoRoom;
        let pause_us = match outcome {
            Outcome::Done => 0,
            Outcome::NoRoom => ROOM_PAUSE_US,
            Outcome::Failed => return,
        };
        scene.at(done_us + pause_us + 10, What::DiskIsFree(index, life));
    }

    /// The disk has done its batch.
    pub fn disk_is_free(&mut self, life: Life, scene: &mut Scene) {
        if let Some(run) = self.of(life) {
            run.disk_is_busy = false;
            self.write(life, scene);
        }
    }

    /// What the disk worker does now and then.
    pub fn settle(&mut self, life: Life, scene: &mut Scene) {
        let index = self.index;
        let Some(run) = self.of(life).filter(|run| !run.disk_is_busy) else {
            return;
        };
        run.disk.begin(scene.now_us);
        let now = Duration::from_micros(scene.now_us);
        if let Err(error) = run.worker.settle(now) {
            if run.disk.has_failed() {
                scene.at(scene.now_us, What::GivesUp(index, life));
                return;
            }
            scene.fail(format!("server {}: {error}", index + 1));
        }
    }

    /// An event for its next turn.
    pub fn hear(&mut self, life: Life, event: Event, scene: &mut Scene) {
        if let Some(run) = self.of(life) {
            run.events.push(event);
            self.rouse(scene);
        }
    }

    /// Its clients' connections are looked at.
    pub fn look(&mut self, life: Life, scene: &mut Scene) {
        let index = self.index;
        if let Some(run) = self.of(life) {
            run.clock.set(scene.now_us);
            run.takes.look((index, life), &mut run.events, scene);
            self.rouse(scene);
        }
    }

    /// Does what is due and concerns this server's own parts alone: its disk, its jobs, its links, its clients' connections.
    pub fn goes_on(&mut self, what: What, scene: &mut Scene) {
        match what {
            What::Disk(_, life, event) => self.hear(life, Event::Disk(event), scene),
            What::DiskIsFree(_, life) => self.disk_is_free(life, scene),
            What::Settle(_, life) => self.settle(life, scene),
            What::Job(_, life, done) => self.hear(life, Event::Done(*done), scene),
            What::Silence(_, life, link) => self.silence(life, link, scene),
            What::Intake(_, life, _) => self.look(life, scene),
            _ => {}
        }
    }

    /// Its links are looked at: something has come, or the way to one was silent.
    pub fn silence(&mut self, life: Life, link: Link, scene: &mut Scene) {
        let index = self.index;
        if let Some(run) = self.of(life) {
            run.links
                .silence((index, life), link, &mut run.events, scene);
            self.rouse(scene);
        }
    }

    /// Its id.
    #[must_use]
    pub const fn sid(&self) -> zabra_model::ids::ServerId {
        sid(self.index)
    }
}

/// Does what takes long, for the disk's user `disk`.
fn work(job: Job, disk: &SimDisk, dirs: &Dirs) -> Option<Done> {
    Some(match job {
        Job::Snapshot { generation, image } => {
            let staged =
                stage(disk, dirs, &image, Packing::Plain).map_err(|e: StorageError| e.to_string());
            Done::Snapshot(generation, staged)
        }
        Job::Stage { mark, image } => {
            // There is room again at some time, and nothing else goes on before that.
            disk.fill(false);
            Done::Staged(
                mark,
                stage(disk, dirs, &image, Packing::Plain).map_err(|e| e.to_string()),
            )
        }
        Job::Restore { image } => {
            let staged = stage(disk, dirs, &image, Packing::Plain);
            Done::RestoreStaged(staged.map_err(|e: StorageError| e.to_string()))
        }
        Job::Reload { mark } => {
            let tree = boot::read_again(disk, dirs, Server::options());
            let tree = tree.map(Box::new).map_err(zabra::error::ServerError::Data);
            Done::Reloaded(mark, tree)
        }
        Job::Free(tree) => {
            drop(tree);
            return None;
        }
    })
}
