//! Drives the core: what sockets, the disk thread and jobs say goes in, and what comes out is carried out.

use super::audit::AuditLog;
use super::boot;
use super::clock::SystemClock;
use super::disk::{DiskThread, Rejected};
use super::flight::FlightFile;
use super::guard::Guard;
use super::inbox::Inbox;
use super::links::{Knocking, Links};
use super::member_files::MemberFiles;
use super::mesh::ElectionNet;
use super::quorum::dial;
use super::supervisor::{self, Pulse};
use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::config::store::Compression;
use crate::core::event::{Done, Event, Now};
use crate::core::out::{DialAct, Job, Outputs};
use crate::core::turn::Core;
use crate::edges::clock::Clock;
use crate::error::{ServerError, panics};
use crate::storage::disk::RealDisk;
use crate::storage::snapshot::{Form, Packing, StagedSnapshot};
use crate::storage::stage::stage;
use crate::storage::worker::{self, Op};
use crate::storage::{Dirs, StorageError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, sleep_until};
use zabra_model::flight::Chunk;
use zabra_model::tree::image::Image;

/// Between two tries to write a snapshot that everything waits for.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// How long a server that stops waits for its clients to have their last answers, and how often it looks.
const LAST_ANSWERS: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_millis(1);

/// The real side of everything that a core asks for.
pub struct Edges {
    /// Where events come from.
    pub inbox: Arc<Inbox>,
    /// The time.
    pub clock: Arc<SystemClock>,
    /// What the connections of clients share with the core.
    pub shared: Arc<Shared>,
    /// The disk.
    pub disk: DiskThread,
    /// What the disk thread has no room for yet.
    pub waiting: VecDeque<(u64, Op)>,
    /// Where its files are.
    pub dirs: Dirs,
    /// Connections that the core has not opened yet.
    pub knocking: Arc<Knocking>,
    /// What connections to other servers are guarded by.
    pub guard: Arc<Guard>,
    /// Those that it has.
    pub links: Links,
    /// The connections for elections, if there are other servers.
    pub mesh: Option<Arc<ElectionNet>>,
    /// The files that tell of the members.
    pub files: MemberFiles,
    /// Where lines of the audit log go, if there is one.
    pub audit: Option<Arc<AuditLog>>,
    /// Where the flight recorder is kept, if there is one.
    pub flight: Option<Arc<FlightFile>>,
    /// Where turns are counted, if a watchdog wants to know of them.
    pub pulse: Option<Arc<Pulse>>,
    /// The attempt to dial that is under way.
    pub dialling: Option<JoinHandle<()>>,
    /// How long to dial, whatever the core says: a harness holds the links, too.
    pub dial_within: Option<Duration>,
    alarm: Alarm,
}

/// Wakes the driver. One timer serves all turns: it is set anew when it has run out, or when a turn is due before it, as most turns come
/// long before they are due.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set_ms: u64,
}

impl Alarm {
    fn new(clock: &SystemClock) -> Self {
        Self {
            sleep: Box::pin(sleep_until(clock.at(0))),
            set_ms: 0,
        }
    }

    /// Ends when it is `wake_ms`.
    async fn rings(&mut self, wake_ms: u64, clock: &SystemClock) {
        loop {
            if wake_ms < self.set_ms || self.sleep.is_elapsed() {
                self.set_ms = wake_ms;
                self.sleep.as_mut().reset(clock.at(wake_ms));
            }
            self.sleep.as_mut().await;
            if self.set_ms >= wake_ms {
                return;
            }
        }
    }
}

/// Runs a core until it is told to stop.
///
/// # Errors
/// [`ServerError::Disk`], [`ServerError::Data`].
pub async fn run(mut core: Core, mut edges: Edges) -> Result<(), ServerError> {
    let (mut events, mut out) = (Vec::new(), Box::default());
    edges.pulse = supervisor::start(&edges.shared);
    loop {
        let now = edges.now();
        let turned = panics::or_last_words(
            &mut core,
            |core| core.turn(now, &mut events, &mut out),
            |core| edges.keep_all_flight(core),
        );
        if turned.is_err() {
            edges.keep_all_flight(&core);
            return turned;
        }
        if out.ended {
            edges.end(&mut out).await;
            return Ok(());
        }
        edges.carry_out(&mut out);
        let wake_ms = match &edges.pulse {
            None => out.wake_ms,
            Some(pulse) => {
                pulse.beat();
                let next = edges.clock.elapsed_ms().saturating_add(pulse.within_ms);
                out.wake_ms.min(next)
            }
        };
        edges.wait(&mut events, wake_ms).await;
    }
}

impl Edges {
    /// Around the data directory of the configuration, before anything happens.
    #[must_use]
    pub fn new(
        clock: Arc<SystemClock>,
        shared: Arc<Shared>,
        disk: DiskThread,
        (knocking, guard): (Arc<Knocking>, Arc<Guard>),
        mesh: Option<Arc<ElectionNet>>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let history = boot::history_reader(&shared.config);
        let dirs = boot::dirs(&shared.config);
        let records = shared.config.records_flight;
        let edges = Self {
            disk,
            waiting: VecDeque::new(),
            flight: records.then(|| Arc::new(FlightFile::new(&dirs))),
            dirs,
            links: Links::new(
                Arc::clone(&knocking),
                Arc::clone(&inbox),
                history,
                shared.config.entry_bytes_max,
            ),
            knocking,
            guard,
            mesh,
            files: MemberFiles::default(),
            audit: None,
            pulse: None,
            dialling: None,
            dial_within: None,
            alarm: Alarm::new(&clock),
            clock,
            inbox,
            shared,
        };
        // What a crash has left undone beside the configuration.
        edges.files.write(&edges.shared);
        edges
    }

    /// The time of a turn.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            elapsed_ms: self.clock.elapsed_ms(),
            date_ms: self.clock.date_ms(),
        }
    }

    /// Takes all events that there are; if there are none, waits until there are some, or `wake_ms` has come.
    pub async fn wait(&mut self, events: &mut Vec<Event>, wake_ms: u64) {
        self.inbox.take(events);
        if !events.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = self.inbox.wait() => {}
            () = self.alarm.rings(wake_ms, &self.clock) => {}
        }
        // The scheduler runs a task that was woken before all others that are ready: connections with requests to
        // hand over among them. Behind them, one turn takes what they all have.
        tokio::task::yield_now().await;
        self.inbox.take(events);
    }

    /// Carries out what a turn asks for, and leaves it empty.
    pub fn carry_out(&mut self, out: &mut Outputs) {
        if std::mem::take(&mut out.members_changed) {
            self.members_changed();
        }
        if !out.disk.is_empty() {
            self.waiting.extend(out.disk.drain(..));
        }
        self.write();
        if !out.kept.is_empty() {
            self.keep_flight(std::mem::take(&mut out.kept));
        }
        if let (Some(audit), false) = (&self.audit, out.audit.is_empty()) {
            audit.write(std::mem::take(&mut out.audit));
        }
        self.links.carry_out(&mut out.links, &mut out.spare);
        if !out.woken.is_empty() {
            out.woken.drain(..).for_each(|conn| conn.wake());
        }
        self.inbox.hold_clients(out.hold_clients);
        self.inbox.hold_leader(out.hold_leader);
        // Most turns ask for nothing of this.
        if !out.mail.is_empty() {
            for (to, notification) in out.mail.drain(..) {
                if let Some(mesh) = &self.mesh {
                    mesh.notify(to, notification);
                }
            }
        }
        if !out.dials.is_empty() {
            out.dials.drain(..).for_each(|act| self.dial(act));
        }
        if !out.jobs.is_empty() {
            out.jobs.drain(..).for_each(|job| self.begin(job));
        }
    }

    /// Carries out the last turn. Other servers hear first that this one takes part in no election, then that its links end; clients get what
    /// was answered, if they fetch it at once.
    async fn end(&mut self, out: &mut Outputs) {
        if let Some(mesh) = &self.mesh {
            mesh.stop().await;
        }
        if let Some(flight) = &self.flight {
            flight.append(&std::mem::take(&mut out.kept));
        }
        self.carry_out(out);
        let over = Instant::now() + LAST_ANSWERS;
        while Instant::now() < over && !lock(&self.shared.hub).conns.is_empty() {
            sleep(LAST_LOOK).await;
        }
    }

    /// Writes all that the flight recorder holds: what has led to the end.
    fn keep_all_flight(&self, core: &Core) {
        if let Some(flight) = &self.flight {
            flight.append(&core.recorded());
        }
    }

    /// Writes what is to be kept of the flight recorder, on a thread that may wait.
    fn keep_flight(&self, kept: Vec<Chunk>) {
        if let Some(flight) = &self.flight {
            let flight = Arc::clone(flight);
            tokio::task::spawn_blocking(move || flight.append(&kept));
        }
    }

    /// Hands over what the disk thread has room for; when there is more room, there is another turn.
    fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (waiting, mut last) = (&mut self.waiting, 0);
        let next = || waiting.pop_front().inspect(|(token, _)| last = *token);
        match self.disk.submit_all(std::iter::from_fn(next)) {
            Ok(()) => {}
            // Full: the next `Durable` brings another try. Stopped: the thread has reported why.
            Err((_, Rejected::Full(op) | Rejected::Stopped(op))) => {
                self.waiting.push_front((last, op));
            }
        }
    }

    /// Others are talked to, and the files beside `zoo.cfg` are written.
    fn members_changed(&self) {
        if let Some(mesh) = &self.mesh {
            mesh.set_members(&self.shared.lists());
        }
        self.files.write(&self.shared);
    }

    fn dial(&mut self, act: DialAct) {
        if let Some(before) = self.dialling.take() {
            before.abort();
        }
        if let DialAct::Begin {
            leader,
            attempt,
            within_ms,
        } = act
        {
            let within = Duration::from_millis(within_ms);
            let within = self.dial_within.unwrap_or(within);
            let (knocking, inbox) = (Arc::clone(&self.knocking), Arc::clone(&self.inbox));
            let (shared, guard) = (&self.shared, Arc::clone(&self.guard));
            self.dialling = Some(dial(
                shared, guard, leader, attempt, within, knocking, inbox,
            ));
        }
    }

    /// Begins what takes long, on a thread that may wait.
    fn begin(&self, job: Job) {
        let (inbox, dirs) = (Arc::clone(&self.inbox), self.dirs.clone());
        let done = move |done| inbox.push(Event::Done(done), 0);
        match job {
            Job::Snapshot { generation, image } => {
                let packing = match self.shared.config.store.compression {
                    None => Packing::Plain,
                    Some(Compression::Gz) => Packing::Gz,
                    Some(Compression::Snappy) => Packing::Snappy,
                };
                let form = boot::form(&self.shared.config, packing);
                let shared = Arc::clone(&self.shared);
                tokio::task::spawn_blocking(move || {
                    let began = Instant::now();
                    let staged = stage(&RealDisk, &dirs, &image, form);
                    let staged = staged.map_err(|e| e.to_string());
                    if staged.is_ok() {
                        let took = began.elapsed().as_millis();
                        let took_ms = u64::try_from(took).unwrap_or(u64::MAX);
                        shared.stats.snapshot_time.add(took_ms);
                    }
                    done(Done::Snapshot(generation, staged));
                });
            }
            Job::Restore { image } => {
                // As what is installed always is.
                let form = boot::form(&self.shared.config, Packing::Plain);
                tokio::task::spawn_blocking(move || {
                    let staged = stage(&RealDisk, &dirs, &image, form);
                    done(Done::RestoreStaged(staged.map_err(|e| e.to_string())));
                });
            }
            Job::Stage { mark, image } => {
                let inbox = Arc::clone(&self.inbox);
                // Plain, whatever the configuration says: the plan of what is installed names one file.
                let form = boot::form(&self.shared.config, Packing::Plain);
                tokio::task::spawn_blocking(move || {
                    let staged = stage_until_room(&dirs, &image, form, &inbox);
                    done(Done::Staged(mark, staged.map_err(|e| e.to_string())));
                });
            }
            Job::Reload { mark } => {
                let shared = Arc::clone(&self.shared);
                tokio::task::spawn_blocking(move || {
                    let tree = boot::read_again(&shared.config);
                    done(Done::Reloaded(mark, tree.map(Box::new)));
                });
            }
            Job::Free(tree) => {
                tokio::task::spawn_blocking(move || drop(tree));
            }
        }
    }
}

/// Writes the snapshot that is to be installed: everything waits for it, so it is tried until there is room.
fn stage_until_room(
    dirs: &Dirs,
    image: &Image,
    form: Form,
    inbox: &Inbox,
) -> Result<StagedSnapshot, StorageError> {
    let mut full = false;
    let result = loop {
        match stage(&RealDisk, dirs, image, form) {
            Err(e) if e.is_passing() => {
                if !std::mem::replace(&mut full, true) {
                    let event = worker::Event::Full {
                        what: "install snapshot",
                        error: e.to_string(),
                    };
                    inbox.push(Event::Disk(event), 0);
                }
                std::thread::sleep(ROOM_PAUSE);
            }
            other => break other,
        }
    };
    if full {
        inbox.push(Event::Disk(worker::Event::Room), 0);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(60);

    /// Most turns are over long before the timer of an earlier one runs out: it rings for none of them too early, and for none too late.
    #[tokio::test]
    async fn the_alarm_rings_when_a_turn_is_due() {
        let clock = SystemClock::start();
        let mut alarm = Alarm::new(&clock);
        for wait_ms in [3_600_000, 30, 0, 40] {
            let due_ms = clock.elapsed_ms() + wait_ms;
            let rung = timeout(Duration::from_millis(20), alarm.rings(due_ms, &clock)).await;
            let now_ms = clock.elapsed_ms();
            assert!(rung.is_err() || now_ms >= due_ms, "too early: {now_ms}");
            if wait_ms > 1000 {
                assert!(rung.is_err());
                continue;
            }
            // An event has come, and the next turn is due a little later than this one was.
            let due_ms = due_ms + 30;
            assert!(timeout(LONG, alarm.rings(due_ms, &clock)).await.is_ok());
            let now_ms = clock.elapsed_ms();
            assert!(now_ms >= due_ms, "too early: {now_ms}");
        }
    }
}
