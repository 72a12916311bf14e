//! Level-order exploration by several threads: counterexamples of least length, and a second count beside
//! stateright's.
//!
//! A level's states wait packed in chunks; each thread takes a chunk, takes every step of every state in it, and
//! packs what is new into chunks of the next level. Visited states are fingerprints ([`table`]), large levels and
//! the ways back go to files (`spool`), steps that were taken before are remembered ([`super::memo`]).

mod spool;
pub mod table;
pub mod wedge;

use super::action::{Action, WITNESSES};
use super::bounds::Grain;
use super::cluster::{Cluster, Log};
use super::model::Zab;
use super::properties;
use crate::invariants::InvariantSet;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use spool::{Ledger, Level};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use table::{Table, Width};
use wedge::{Liveness, Notes, Transition};

/// How to explore.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads. With one, equal runs find equal counterexamples; with more, only their length is always the same.
    pub threads: usize,
    /// Fingerprints.
    pub width: Width,
    /// Gives up, and says so, after about this many states.
    pub states_max: u64,
    /// How many states there will be, if that is known: room for them is made at once.
    pub expected: u64,
    /// Whether steps are remembered; else each is taken anew.
    pub memo: bool,
    /// Invariants that are not asked: what else would catch a bug?
    pub ignored: InvariantSet,
    /// Whether to ask, in the end, if every state can reach a serving quorum: takes 8 bytes a transition.
    pub liveness: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            width: Width::Bits128,
            states_max: u64::MAX,
            expected: 0,
            memo: true,
            ignored: InvariantSet::NONE,
            liveness: false,
        }
    }
}

/// How far an exploration is; read it from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Distinct states.
    pub distinct: AtomicU64,
    /// Transitions taken.
    pub generated: AtomicU64,
    /// The level that is being explored.
    pub level: AtomicU32,
    /// States of this level that still wait.
    pub waiting: AtomicU64,
    /// States found for the next level.
    pub next: AtomicU64,
    /// Bytes of the visited set.
    pub table_bytes: AtomicU64,
    /// Bytes of levels that went to files, in all.
    pub spilled: AtomicU64,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Explored {
    /// Distinct states.
    pub distinct: u64,
    /// The states that these stand for: more where states that differ only in the servers' names count as one.
    pub renamed: u64,
    /// Transitions taken, initial states included.
    pub generated: u64,
    /// Steps to the deepest state.
    pub depth: u32,
    /// The most states of one level.
    pub widest: u64,
    /// The first broken invariant, and the shortest way to it.
    pub violation: Option<Violation>,
    /// Whether every reachable state was seen.
    pub complete: bool,
    /// How often each of [`WITNESSES`] has occurred.
    pub witnessed: Vec<u64>,
    /// Fingerprints.
    pub width: Width,
    /// Bytes of the visited set.
    pub table_bytes: u64,
    /// Bytes of levels that went to files, in all.
    pub spilled: u64,
    /// Whether every state can reach a serving quorum, if that was asked.
    pub liveness: Option<Liveness>,
}

/// The name of the property that [`wedge`] decides; it is one of the whole graph, so not in [`properties::ALL`].
pub const NO_WEDGE: &str = "no wedge";

/// The same of the other property that is decided there.
pub const VOTES_END: &str = "an exchange of votes ends";

/// A broken invariant.
#[derive(Debug)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// Which initial state.
    pub initial: usize,
    /// What happened.
    pub actions: Vec<Action>,
}

/// Words of a chunk: some thousand states.
const CHUNK: usize = 32 << 10;
/// More states than one chunk can lead to.
const CHUNK_YIELD: u64 = 1 << 18;
/// Steps that a thread remembers before it begins anew: some hundred MB.
const MEMO_MAX: usize = 8 << 20;
/// A way back: the thread that found the parent, the parent's place in that thread's ledger, the number of the action.
const PLACE_BITS: u32 = 40;
const ACTION_BITS: u32 = 16;
const ORIGIN: u64 = (1 << (64 - ACTION_BITS)) - 1;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all threads share.
struct Shared<'a> {
    model: &'a Zab,
    options: Options,
    progress: &'a Progress,
    table: RwLock<Table>,
    level: Mutex<Level>,
    next: Mutex<Level>,
    stop: AtomicBool,
    /// The state that broke an invariant, and which.
    broken: Mutex<Option<(u64, InvariantSet)>>,
    failed: Mutex<Option<io::Error>>,
}

/// What one thread has of its own.
struct Worker {
    number: u64,
    log: Log,
    ledger: Ledger,
    actions: Vec<Action>,
    words: Vec<u32>,
    notes: Notes,
    chunk: Vec<u32>,
    in_chunk: u64,
    witnessed: Vec<u64>,
    /// States that the found ones stand for.
    renamed: u64,
}

impl Worker {
    fn new(number: usize) -> Self {
        Self {
            number: number as u64,
            log: Log::default(),
            ledger: Ledger::default(),
            actions: Vec::new(),
            words: Vec::new(),
            notes: Notes::default(),
            chunk: Vec::with_capacity(CHUNK + 64),
            in_chunk: 0,
            witnessed: alloc::vec![0; WITNESSES.len()],
            renamed: 0,
        }
    }
}

/// Explores level by level until an invariant breaks, everything was seen, or `states_max` were.
///
/// # Errors
/// If a temporary file cannot be written or read.
pub fn explore(model: &Zab, options: &Options, progress: &Progress) -> io::Result<Explored> {
    let shared = Shared::new(model, options, progress);
    let mut workers: Vec<Worker> = (0..options.threads.max(1)).map(Worker::new).collect();
    for (i, cluster) in model.initial().iter().enumerate() {
        workers[0].found(&shared, cluster, (ORIGIN, 0), (i, Transition::Other))?;
    }
    workers[0].hand_over(&shared)?;
    let mut depth = 0;
    let mut widest = 0;
    let mut complete = false;
    loop {
        core::mem::swap(&mut *locked(&shared.level), &mut *locked(&shared.next));
        *locked(&shared.next) = Level::default();
        if locked(&shared.level).is_empty() {
            complete = !shared.stop.load(Ordering::Relaxed);
            break;
        }
        let states = progress.next.swap(0, Ordering::Relaxed);
        progress.waiting.store(states, Ordering::Relaxed);
        progress.level.store(depth, Ordering::Relaxed);
        widest = widest.max(states);
        match workers.as_mut_slice() {
            [worker] => worker.work(&shared),
            many => std::thread::scope(|scope| {
                for worker in many {
                    scope.spawn(|| worker.work(&shared));
                }
            }),
        }
        if let Some(error) = locked(&shared.failed).take() {
            return Err(error);
        }
        let spilled = locked(&shared.next).spilled();
        progress.spilled.fetch_add(spilled, Ordering::Relaxed);
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        if !locked(&shared.next).is_empty() {
            depth += 1;
        }
    }
    let violation = locked(&shared.broken).take();
    let mut violation = match violation {
        Some((at, broken)) => {
            depth += 1;
            let first = broken.iter().next().map_or("", |first| first.name);
            Some(way_to(model, at, first, &mut workers)?)
        }
        None => None,
    };
    let mut liveness = None;
    if options.liveness && complete {
        let (found, wedged) = wedges(model, progress, &mut workers)?;
        liveness = Some(found);
        violation = wedged.or(violation);
    }
    let count = |w: usize| workers.iter().map(|worker| worker.witnessed[w]).sum();
    let table_bytes = shared.table.read().map_or(0, |t| t.bytes() as u64);
    Ok(Explored {
        distinct: progress.distinct.load(Ordering::Relaxed),
        renamed: workers.iter().map(|w| w.renamed).sum(),
        generated: progress.generated.load(Ordering::Relaxed),
        depth,
        widest,
        violation,
        complete,
        witnessed: (0..WITNESSES.len()).map(count).collect(),
        width: options.width,
        table_bytes,
        spilled: progress.spilled.load(Ordering::Relaxed),
        liveness,
    })
}

impl<'a> Shared<'a> {
    fn new(model: &'a Zab, options: &Options, progress: &'a Progress) -> Self {
        Self {
            model,
            options: *options,
            progress,
            table: RwLock::new(if options.liveness {
                Table::numbering(options.expected)
            } else {
                Table::new(options.width, options.expected)
            }),
            level: Mutex::default(),
            next: Mutex::default(),
            stop: AtomicBool::new(false),
            broken: Mutex::new(None),
            failed: Mutex::new(None),
        }
    }
}

/// Whether every state can reach one that serves and whether votes come to an end, and a way to a state that shows otherwise.
fn wedges(
    model: &Zab,
    progress: &Progress,
    workers: &mut [Worker],
) -> io::Result<(Liveness, Option<Violation>)> {
    let count = progress.distinct.load(Ordering::Relaxed);
    let mut notes: Vec<&mut Notes> = workers.iter_mut().map(|w| &mut w.notes).collect();
    let (liveness, found) = wedge::settle(&mut notes, count);
    let wrong = [(found.endless, VOTES_END), (found.wedged, NO_WEDGE)];
    let wrong = wrong.into_iter().find_map(|(state, name)| {
        let number = state?;
        workers.iter().find_map(|w| {
            let place = w.notes.numbers.iter().position(|n| *n == number)?;
            Some((w.number << PLACE_BITS | place as u64, name))
        })
    });
    let way = wrong.map(|(at, name)| way_to(model, at, name, workers));
    Ok((liveness, way.transpose()?))
}

impl Worker {
    /// Takes chunks of the level until none is left.
    fn work(&mut self, shared: &Shared<'_>) {
        if let Err(error) = self.try_work(shared) {
            *locked(&shared.failed) = Some(error);
            shared.stop.store(true, Ordering::Relaxed);
        }
    }

    fn try_work(&mut self, shared: &Shared<'_>) -> io::Result<()> {
        let mails = shared.model.bounds.grain == Grain::E2;
        let mut cluster = shared.model.blank();
        while !shared.stop.load(Ordering::Relaxed) {
            self.make_room(shared);
            let Some(chunk) = locked(&shared.level).pop()? else {
                break;
            };
            let mut at = 0;
            let (mut states, mut generated) = (0, 0);
            while at < chunk.len() && !shared.stop.load(Ordering::Relaxed) {
                let parent = u64::from(chunk[at]) | u64::from(chunk[at + 1]) << 32;
                let number = chunk[at + 2];
                at += 3 + cluster.unpack(mails, &chunk[at + 3..]);
                states += 1;
                let mut actions = core::mem::take(&mut self.actions);
                actions.clear();
                shared.model.enabled(&cluster, &mut actions);
                generated += actions.len() as u64;
                for (n, action) in actions.iter().enumerate() {
                    let mut next = cluster;
                    self.log.witnessed = 0;
                    if !shared.options.memo {
                        self.log.memo.clear();
                    }
                    shared.model.apply(&mut next, *action, &mut self.log);
                    let mut bits = self.log.witnessed;
                    while bits != 0 {
                        self.witnessed[bits.trailing_zeros() as usize] += 1;
                        bits &= bits - 1;
                    }
                    let kind = match action {
                        Action::Notify { .. } => Transition::Vote,
                        _ if action.is_fault() => Transition::Fault,
                        _ => Transition::Other,
                    };
                    self.found(shared, &next, (parent, number), (n, kind))?;
                }
                self.actions = actions;
            }
            shared
                .progress
                .generated
                .fetch_add(generated, Ordering::Relaxed);
            let waiting = shared.progress.waiting.load(Ordering::Relaxed);
            let left = waiting.saturating_sub(states);
            shared.progress.waiting.store(left, Ordering::Relaxed);
            if shared.progress.distinct.load(Ordering::Relaxed) > shared.options.states_max {
                shared.stop.store(true, Ordering::Relaxed);
            }
            if self.log.memo.len() > MEMO_MAX {
                self.log.memo.clear();
            }
        }
        self.hand_over(shared)
    }

    /// Grows the visited set if a chunk could fill it: nobody inserts meanwhile.
    fn make_room(&self, shared: &Shared<'_>) {
        let more = CHUNK_YIELD * shared.options.threads as u64;
        let wants = |t: &Table| t.wants_to_grow(more);
        if shared.table.read().is_ok_and(|t| wants(&t))
            && let Ok(mut table) = shared.table.write()
            && wants(&table)
        {
            table.grow(more);
        }
    }

    /// A state was generated: if it is new, it is checked and waits for the next level.
    fn found(
        &mut self,
        shared: &Shared<'_>,
        cluster: &Cluster,
        (parent, from): (u64, u32),
        (action, kind): (usize, Transition),
    ) -> io::Result<()> {
        let mails = shared.model.bounds.grain == Grain::E2;
        self.words.clear();
        cluster.pack(mails, &mut self.words);
        let identity = cluster.identity(&shared.model.world, &self.words);
        let (new, number) = match shared.table.read() {
            Ok(table) => table.insert(identity.fingerprint),
            Err(_) => (false, 0),
        };
        // Where numbers matter, a configuration of 2^32 states would not fit into memory.
        let number = number as u32;
        if shared.options.liveness && parent != ORIGIN {
            self.notes.edge(from, number, kind);
        }
        if parent == ORIGIN {
            shared.progress.generated.fetch_add(1, Ordering::Relaxed);
        }
        if !new {
            return Ok(());
        }
        self.renamed += u64::from(identity.orbit);
        let entry = parent << ACTION_BITS | action as u64 & 0xffff;
        let place = self.ledger.push(entry)?;
        let here = self.number << PLACE_BITS | place;
        let broken = properties::broken(cluster, &shared.model.world, &mut self.log)
            .without(shared.options.ignored);
        if !broken.is_empty() {
            shared
                .progress
                .distinct
                .fetch_add(self.in_chunk + 1, Ordering::Relaxed);
            self.in_chunk = 0;
            locked(&shared.broken).get_or_insert((here, broken));
            shared.stop.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if shared.options.liveness {
            self.notes.state(number, shared.model.obligation(cluster));
        }
        self.chunk
            .extend([here as u32, (here >> 32) as u32, number]);
        self.chunk.extend(&self.words);
        self.in_chunk += 1;
        if self.chunk.len() >= CHUNK {
            self.hand_over(shared)?;
        }
        Ok(())
    }

    /// Gives what this thread has found to the next level.
    fn hand_over(&mut self, shared: &Shared<'_>) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        shared
            .progress
            .distinct
            .fetch_add(self.in_chunk, Ordering::Relaxed);
        shared
            .progress
            .next
            .fetch_add(self.in_chunk, Ordering::Relaxed);
        self.in_chunk = 0;
        let chunk = core::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + 64));
        locked(&shared.next).push(chunk)
    }
}

/// The way to a state, by the ledgers of all threads.
fn way_to(
    model: &Zab,
    mut at: u64,
    invariant: &'static str,
    workers: &mut [Worker],
) -> io::Result<Violation> {
    let mut numbers = Vec::new();
    while at != ORIGIN {
        let worker = usize::try_from(at >> PLACE_BITS).unwrap_or(usize::MAX);
        let entry = workers[worker].ledger.get(at & ((1 << PLACE_BITS) - 1))?;
        numbers.push((entry & 0xffff) as usize);
        at = entry >> ACTION_BITS;
    }
    numbers.reverse();
    let (initial, numbers) = numbers.split_first().map_or((0, &[][..]), |(i, n)| (*i, n));
    let mut log = Log::default();
    let mut actions = Vec::new();
    let mut cluster = model.initial()[initial];
    for n in numbers {
        let mut enabled = Vec::new();
        model.enabled(&cluster, &mut enabled);
        model.apply(&mut cluster, enabled[*n], &mut log);
        actions.push(enabled[*n]);
    }
    Ok(Violation {
        invariant,
        initial,
        actions,
    })
}
