//! The disk thread: all writes of a server in one order, each durable before the next kind begins.
//!
//! Consecutive appends become one write and one fdatasync. An epoch is written only after the appends before it are
//! durable, and the other way round: the protocol's proof needs that order. A failed operation ends the thread.
//! Behind the acknowledgement, [`high_water`] is told how far the log is synced.
//!
//! An operation that finds no room is no failure: it has changed nothing that counts, and it is tried again until there is
//! room. Everything behind it waits, as behind a slow disk, so nothing is said to be durable before its turn.

use super::disk::Disk;
use super::snapshot::StagedSnapshot;
use super::txn_log::writer::TxnLog;
use super::{Dirs, Result, epochs, high_water, purge, replace};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use zabra_model::ids::{Epoch, Zxid};

/// What an operation beside an append counts for in the queue.
const OP_BYTES: usize = 64;

/// Between two tries for room.
const ROOM_PAUSE: Duration = Duration::from_millis(250);

/// A change of the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Log a transaction behind the last one.
    Append {
        /// Its position.
        zxid: Zxid,
        /// TxnHeader, txn, and a digest if it has one.
        payload: Bytes,
    },
    /// Forget everything behind this zxid.
    Truncate {
        /// The last transaction to keep.
        after: Zxid,
    },
    /// Replace `acceptedEpoch`.
    AcceptedEpoch(Epoch),
    /// Replace `currentEpoch`.
    CurrentEpoch(Epoch),
    /// A full copy from the leader: all logs and snapshots give way to this one.
    InstallSnapshot(StagedSnapshot),
    /// A snapshot of the logged history is complete: give it its name, and begin a new log file.
    PublishSnapshot(StagedSnapshot),
    /// Remove snapshots beyond the newest `retain`, and the logs that only they need.
    Purge {
        /// `autopurge.snapRetainCount`.
        retain: usize,
        /// Where the running server's history begins: what is above it stays.
        base: Zxid,
    },
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { payload, .. } => OP_BYTES + payload.len(),
            Self::Truncate { .. }
            | Self::AcceptedEpoch(_)
            | Self::CurrentEpoch(_)
            | Self::InstallSnapshot(_)
            | Self::PublishSnapshot(_)
            | Self::Purge { .. } => OP_BYTES,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Truncate { .. } => "truncate",
            Self::AcceptedEpoch(_) => "accepted epoch",
            Self::CurrentEpoch(_) => "current epoch",
            Self::InstallSnapshot(_) => "install snapshot",
            Self::PublishSnapshot(_) => "publish snapshot",
            Self::Purge { .. } => "purge",
        }
    }
}

/// What the thread says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Every operation up to this token is durable.
    Durable {
        /// The last one's token.
        upto: u64,
    },
    /// There is no room for this operation: it waits, and all behind it.
    Full {
        /// The operation.
        what: &'static str,
        /// Path, operation and cause.
        error: String,
    },
    /// There was room for it after all.
    Room,
    /// The disk failed. Nothing after the last [`Event::Durable`] is known to be durable; the server must stop.
    Failed {
        /// The operation.
        what: &'static str,
        /// Path, operation and cause.
        error: String,
    },
}

/// Why an operation was not taken. It is handed back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// More bytes are waiting than allowed: wait for [`Event::Durable`].
    #[error("the disk queue is full")]
    Full(Op),
    /// The disk failed before, or the thread was told to stop.
    #[error("the disk thread has stopped")]
    Stopped(Op),
}

#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<(u64, Op)>,
    /// Of waiting operations and of those being carried out.
    bytes: usize,
    last_token: u64,
    idle: bool,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    bytes_max: usize,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending side. Dropped, it lets the thread finish what is queued, and waits for it.
#[derive(Debug)]
pub struct DiskThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    /// Starts the thread. `on_event` is called on it and must not block.
    ///
    /// `queue_bytes_max` bounds what waits; a single larger operation is taken when nothing else waits.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start<D: Disk>(
        disk: D,
        dirs: Dirs,
        log: TxnLog<D>,
        queue_bytes_max: usize,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            bytes_max: queue_bytes_max,
        });
        let worker = Worker {
            mark: high_water::Keeper::new(&disk, &dirs),
            disk,
            dirs,
            log,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || worker.run(&on_event))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues an operation; never blocks on the disk. Tokens rise from call to call.
    ///
    /// # Errors
    /// [`Rejected`], with the operation.
    ///
    /// # Panics
    /// If `token` is not above the one before: acknowledgements would mean nothing.
    pub fn submit(&self, token: u64, op: Op) -> std::result::Result<(), Rejected> {
        self.submit_all([(token, op)])
            .map_err(|(_, rejected)| rejected)
    }

    /// Queues operations with one hand-over; stops at the first that is rejected, and says which one it was.
    ///
    /// # Errors
    /// Number of operations taken, and [`Rejected`] with the next one.
    ///
    /// # Panics
    /// As [`Self::submit`].
    pub fn submit_all(
        &self,
        ops: impl IntoIterator<Item = (u64, Op)>,
    ) -> std::result::Result<(), (usize, Rejected)> {
        let mut queue = self.shared.queue();
        let mut result = Ok(());
        for (taken, (token, op)) in ops.into_iter().enumerate() {
            let bytes = op.bytes();
            if queue.closed {
                result = Err((taken, Rejected::Stopped(op)));
                break;
            }
            if queue.bytes > 0 && queue.bytes + bytes > self.shared.bytes_max {
                result = Err((taken, Rejected::Full(op)));
                break;
            }
            assert!(token > queue.last_token, "disk tokens rise");
            queue.last_token = token;
            queue.bytes += bytes;
            queue.ops.push_back((token, op));
        }
        // A thread that is at work looks again by itself; waking costs more than queueing.
        let wake = queue.idle && !queue.ops.is_empty();
        if wake {
            queue.idle = false;
        }
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        result
    }

    /// Bytes waiting or being written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue().bytes
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Worker<D: Disk> {
    disk: D,
    dirs: Dirs,
    log: TxnLog<D>,
    mark: high_water::Keeper<D>,
    shared: Arc<Shared>,
}

/// Why the worker goes no further.
#[derive(Debug)]
enum Ended {
    /// An operation failed, and how.
    Failed(&'static str, String),
    /// It was told to stop while there was no room.
    Stopped,
}

fn mark_failed(error: super::StorageError) -> Ended {
    Ended::Failed("durable mark", error.to_string())
}

/// However the worker ends, nothing more is taken: a queue that nobody empties must not look alive.
struct CloseOnExit(Arc<Shared>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.queue().closed = true;
    }
}

impl<D: Disk> Worker<D> {
    fn run(mut self, on_event: &impl Fn(Event)) {
        let _close = CloseOnExit(self.shared.clone());
        let mut batch = VecDeque::new();
        let ended = loop {
            match self.take(&mut batch) {
                Ok(true) => {}
                Ok(false) => break self.mark.sync().map_err(mark_failed),
                Err(error) => break Err(mark_failed(error)),
            }
            if let Err(ended) = self.carry_out(&mut batch, on_event) {
                break Err(ended);
            }
            // Nobody waits for this: what it tells of is acknowledged already.
            if let Err(error) = self.mark.note(self.log.last()) {
                break Err(mark_failed(error));
            }
        };
        if let Err(Ended::Failed(what, error)) = ended {
            on_event(Event::Failed { what, error });
        }
    }

    /// Tells of operations that are done. Their room is free before anybody hears of it: who was turned away for lack of
    /// it tries again then, and perhaps at no other time.
    fn done(&self, bytes: &mut usize, upto: u64, on_event: &impl Fn(Event)) {
        self.shared.queue().bytes -= std::mem::take(bytes);
        on_event(Event::Durable { upto });
    }

    /// Waits for work and takes all of it; false when there is none and none will come.
    fn take(&mut self, batch: &mut VecDeque<(u64, Op)>) -> Result<bool> {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        while queue.ops.is_empty() {
            if queue.closed {
                return Ok(false);
            }
            queue.idle = true;
            let Some(rest) = self.mark.rest() else {
                let woken = shared.wake.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let woken = shared.wake.wait_timeout(queue, rest);
            let (awake, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = awake;
            if waited.timed_out() && queue.ops.is_empty() {
                drop(queue);
                self.mark.settle()?;
                queue = shared.queue();
            }
        }
        queue.idle = false;
        std::mem::swap(&mut queue.ops, batch);
        Ok(true)
    }

    fn carry_out(
        &mut self,
        batch: &mut VecDeque<(u64, Op)>,
        on_event: &impl Fn(Event),
    ) -> std::result::Result<(), Ended> {
        let mut appended = None;
        let mut bytes = 0;
        while let Some((token, op)) = batch.pop_front() {
            let (name, room) = (op.name(), op.bytes());
            if let Op::Append { zxid, payload } = op {
                self.until_room(name, on_event, |w| w.log.append(zxid, &payload))?;
                appended = Some(token);
                bytes += room;
                continue;
            }
            if let Some(upto) = appended.take() {
                self.until_room("append", on_event, |w| w.log.sync())?;
                self.done(&mut bytes, upto, on_event);
            }
            self.until_room(name, on_event, |w| w.apart(&op))?;
            bytes += room;
            self.done(&mut bytes, token, on_event);
        }
        if let Some(upto) = appended {
            self.until_room("append", on_event, |w| w.log.sync())?;
            self.done(&mut bytes, upto, on_event);
        }
        Ok(())
    }

    /// Does `work`, again and again while there is no room for it. Each operation may be done again from its beginning.
    fn until_room(
        &mut self,
        what: &'static str,
        on_event: &impl Fn(Event),
        mut work: impl FnMut(&mut Self) -> Result<()>,
    ) -> std::result::Result<(), Ended> {
        let mut full = false;
        loop {
            match work(self) {
                Ok(()) => break,
                Err(e) if e.is_no_room() => {
                    if !std::mem::replace(&mut full, true) {
                        let error = e.to_string();
                        on_event(Event::Full { what, error });
                    }
                }
                Err(e) => return Err(Ended::Failed(what, e.to_string())),
            }
            let queue = self.shared.queue();
            if queue.closed {
                return Err(Ended::Stopped); // nobody was told that any of this is durable
            }
            let waited = self.shared.wake.wait_timeout(queue, ROOM_PAUSE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        if full {
            on_event(Event::Room);
        }
        Ok(())
    }

    /// Everything but appends: they are durable by now.
    fn apart(&mut self, op: &Op) -> Result<()> {
        match *op {
            Op::Append { zxid, ref payload } => {
                self.log.append(zxid, payload)?;
                self.log.sync()
            }
            Op::Truncate { after } => {
                self.log.roll()?;
                self.mark.lower(after)?;
                let last = replace::truncate(&self.disk, &self.dirs, after)?;
                self.log.restart_behind(last);
                Ok(())
            }
            Op::AcceptedEpoch(epoch) => {
                self.mark.accept(epoch)?;
                epochs::write_accepted(&self.disk, &self.dirs, epoch)
            }
            Op::CurrentEpoch(epoch) => epochs::write_current(&self.disk, &self.dirs, epoch),
            Op::InstallSnapshot(ref staged) => {
                self.log.roll()?;
                self.mark.lower(staged.zxid)?;
                replace::install_snapshot(&self.disk, &self.dirs, staged)?;
                self.log.restart_behind(staged.zxid);
                Ok(())
            }
            Op::PublishSnapshot(ref staged) => {
                staged.clone().publish(&self.disk)?;
                self.log.roll()
            }
            Op::Purge { retain, base } => {
                // Old files in the way are a nuisance, no reason to stop: the next purge tries again.
                if let Err(error) = purge::purge(&self.disk, &self.dirs, retain, Some(base)) {
                    tracing::warn!("old snapshots and logs are not purged: {error}");
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Loss, RecordingDisk};
    use super::super::recovery::{RecoveryOptions, recover, tests::Kept};
    use super::super::snapshot::body::tests as body;
    use super::super::snapshot::tests::stage;
    use super::super::txn_log::writer::LogOptions;
    use super::*;
    use std::path::Path;
    use std::sync::mpsc;

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("d"))
    }

    fn start(disk: &RecordingDisk, bytes: usize) -> (DiskThread, mpsc::Receiver<(Event, usize)>) {
        let log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid::ZERO);
        let (send, receive) = mpsc::channel();
        let seen = disk.clone();
        let on_event = move |event| {
            // The receiver may be gone already when a test ends.
            let _ = send.send((event, seen.operations()));
        };
        let thread = DiskThread::start(disk.clone(), dirs(), log, bytes, on_event);
        (thread.unwrap(), receive)
    }

    fn append(zxid: u64) -> Op {
        let mut payload = vec![7; 40];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        Op::Append {
            zxid: Zxid(zxid),
            payload: payload.into(),
        }
    }

    #[test]
    fn what_is_said_to_be_durable_is_there_after_a_crash_and_epochs_keep_their_place() {
        let disk = RecordingDisk::default();
        stage(&disk, &dirs().snap, 0, &body::Kept::default())
            .publish(&disk)
            .unwrap();
        disk.settle();
        let (thread, events) = start(&disk, 1 << 20);
        let e1 = 1_u64 << 32;
        let ops = vec![
            Op::AcceptedEpoch(Epoch(1)),
            append(e1 + 1),
            append(e1 + 2),
            Op::CurrentEpoch(Epoch(1)),
            append(e1 + 3),
            append(e1 + 4),
            append(e1 + 5),
            Op::Truncate {
                after: Zxid(e1 + 4),
            },
            append(e1 + 5),
            Op::AcceptedEpoch(Epoch(2)),
        ];
        thread.submit_all((1..).zip(ops)).unwrap();
        drop(thread);
        let mut marks = vec![(0, 0)];
        for (event, operations) in events {
            match event {
                Event::Durable { upto } => marks.push((operations, upto)),
                Event::Full { .. } | Event::Room | Event::Failed { .. } => panic!("{event:?}"),
            }
        }
        assert_eq!(marks.last().unwrap().1, 10);
        for n in 0..=disk.operations() {
            let upto = marks.iter().rfind(|(at, _)| *at <= n).unwrap().1;
            for loss in Loss::ALL {
                let image = disk.crashed(n, loss);
                let found = recover(
                    &image,
                    &dirs(),
                    RecoveryOptions::default(),
                    &mut Kept::default(),
                )
                .unwrap();
                let (last, epochs) = (found.last_zxid.0, found.epochs);
                // After the seventh the truncation may have begun.
                let least = [0, 0, 1, 2, 2, 3, 4, 4, 4, 5, 5][upto as usize];
                assert!(least == 0 || last >= e1 + least, "{n} {loss:?}: {last:x}");
                if epochs.current == Epoch(1) && upto < 4 {
                    assert!(
                        last >= e1 + 2,
                        "the epoch was written before its history: {n} {loss:?}"
                    );
                }
                if last > e1 + 2 {
                    assert_eq!(epochs.current, Epoch(1), "{n} {loss:?}");
                }
                assert!(upto < 10 || epochs.accepted == Epoch(2));
            }
        }
    }

    #[test]
    fn there_is_room_again_when_an_operation_is_said_to_be_done() {
        let disk = RecordingDisk::default();
        let log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid::ZERO);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            bytes_max: 1,
        });
        let mut worker = Worker {
            mark: high_water::Keeper::new(&disk, &dirs()),
            disk,
            dirs: dirs(),
            log,
            shared: Arc::clone(&shared),
        };
        let ops = [append(1), append(2), Op::AcceptedEpoch(Epoch(1)), append(3)];
        shared.queue().bytes = ops.iter().map(Op::bytes).sum();
        let left = std::cell::RefCell::new(Vec::new());
        worker
            .carry_out(&mut (1..).zip(ops).collect(), &|_| {
                left.borrow_mut().push(shared.queue().bytes);
            })
            .unwrap();
        assert_eq!(left.into_inner(), [2 * OP_BYTES + 40, OP_BYTES + 40, 0]);
    }

    /// C-10: whichever operation finds no room, nothing is said of it or of anything behind it, all that was said before is
    /// there after a crash, and with room everything goes on by itself.
    #[test]
    fn c_10_no_room_is_a_state_that_ends_by_itself() {
        let e1 = 1_u64 << 32;
        let mut times_full = 0;
        for n in 0..40 {
            let disk = RecordingDisk::default();
            stage(&disk, &dirs().snap, 0, &body::Kept::default())
                .publish(&disk)
                .unwrap();
            let staged = stage(&disk, &dirs().snap, e1 + 2, &body::sample());
            disk.settle();
            disk.fill_after(n);
            let (thread, events) = start(&disk, 1 << 20);
            let ops = [
                Op::AcceptedEpoch(Epoch(1)),
                append(e1 + 1),
                append(e1 + 2),
                Op::CurrentEpoch(Epoch(1)),
                Op::PublishSnapshot(staged),
                append(e1 + 3),
                append(e1 + 4),
                Op::Truncate {
                    after: Zxid(e1 + 3),
                },
                append(e1 + 4),
                Op::AcceptedEpoch(Epoch(2)),
            ];
            // One by one, as a slow client brings them: each could be the one that has no room.
            let mut said = 0;
            for (token, op) in (1..).zip(ops) {
                thread.submit(token, op).unwrap();
                while said < token {
                    match events.recv().unwrap().0 {
                        Event::Durable { upto } => said = upto,
                        Event::Full { error, .. } => {
                            assert!(error.contains("d/version-2"), "{error}");
                            times_full += 1;
                            for loss in Loss::ALL {
                                let image = disk.crashed(disk.operations(), loss);
                                let mut kept = Kept::default();
                                let options = RecoveryOptions::default();
                                let found = recover(&image, &dirs(), options, &mut kept).unwrap();
                                let least = [0, 0, 1, 2, 2, 2, 3, 3, 3, 4][said as usize];
                                let last = found.last_zxid.0;
                                assert!(least == 0 || last >= e1 + least, "{n} {loss:?} {last:x}");
                            }
                            disk.make_room();
                        }
                        Event::Room => {}
                        Event::Failed { what, error } => panic!("{n}: {what}: {error}"),
                    }
                }
            }
            drop(thread);
            let image = disk.crashed(disk.operations(), Loss::Both);
            let mut kept = Kept::default();
            let found = recover(&image, &dirs(), RecoveryOptions::default(), &mut kept).unwrap();
            assert_eq!(found.last_zxid, Zxid(e1 + 4), "{n}");
            assert_eq!(found.epochs.accepted, Epoch(2));
        }
        assert!(times_full > 20, "{times_full}");
    }

    /// C-10: an orderly stop does not wait for room.
    #[test]
    fn c_10_a_server_without_room_can_be_stopped() {
        let disk = RecordingDisk::default();
        disk.fill_after(0);
        let (thread, events) = start(&disk, 1 << 20);
        thread.submit(1, append(1)).unwrap();
        assert!(matches!(events.recv().unwrap().0, Event::Full { .. }));
        drop(thread);
        assert!(events.recv().is_err(), "nothing was said to be durable");
    }

    #[test]
    fn a_failed_sync_is_told_once_and_ends_the_thread() {
        let disk = RecordingDisk::default();
        let (thread, events) = start(&disk, 1 << 20);
        thread.submit(1, append(1)).unwrap();
        assert_eq!(events.recv().unwrap().0, Event::Durable { upto: 1 });
        disk.fail_after(1);
        thread.submit(2, append(2)).unwrap();
        let Event::Failed { what, error } = events.recv().unwrap().0 else {
            panic!("the failure was swallowed")
        };
        assert_eq!(what, "append");
        assert!(
            error.contains("log.1") && error.contains("fdatasync"),
            "{error}"
        );
        assert!(events.recv().is_err(), "the thread has ended");
        assert_eq!(
            thread.submit(3, append(3)),
            Err(Rejected::Stopped(append(3)))
        );
    }

    #[test]
    fn a_full_queue_hands_the_operation_back() {
        let disk = RecordingDisk::default();
        let (thread, events) = start(&disk, 250);
        let taken = thread.submit_all((1..=9).map(|n| (n, append(n))));
        assert_eq!(taken, Err((2, Rejected::Full(append(3)))));
        while events.recv().unwrap().0 != (Event::Durable { upto: 2 }) {}
        drop(thread);
    }

    #[test]
    fn a_full_copy_replaces_the_history_and_appends_go_on_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = super::super::disk::RealDisk;
        let dirs = Dirs::new(dir.path(), dir.path());
        disk.create_dir(&dirs.snap).unwrap();
        stage(&disk, &dirs.snap, 0, &body::Kept::default())
            .publish(&disk)
            .unwrap();
        let log = TxnLog::new(disk, dirs.log.clone(), LogOptions::default(), Zxid::ZERO);
        let (send, events) = mpsc::channel();
        let thread = DiskThread::start(disk, dirs.clone(), log, 1 << 20, move |event| {
            let _ = send.send(event);
        })
        .unwrap();
        thread.submit(1, append(1)).unwrap();
        thread.submit(2, append(2)).unwrap();
        let staged = stage(&disk, &dirs.snap, 7, &body::sample());
        thread.submit(3, Op::InstallSnapshot(staged)).unwrap();
        thread.submit(4, append(8)).unwrap();
        let staged = stage(&disk, &dirs.snap, 8, &body::sample());
        thread.submit(5, Op::PublishSnapshot(staged)).unwrap();
        thread
            .submit(
                6,
                Op::Purge {
                    retain: 3,
                    base: Zxid::ZERO,
                },
            )
            .unwrap();
        thread.submit(7, append(9)).unwrap();
        drop(thread);
        assert_eq!(events.iter().last(), Some(Event::Durable { upto: 7 }));
        let mut kept = Kept::default();
        let found = recover(&disk, &dirs, RecoveryOptions::default(), &mut kept).unwrap();
        assert_eq!((found.snapshot_zxid(), found.last_zxid), (Zxid(8), Zxid(9)));
        assert_eq!((kept.txns, kept.tree), (vec![9], body::sample()));
        assert_eq!(
            list_names(&disk, &dirs),
            [
                "acceptedEpoch",
                "currentEpoch",
                "log.8",
                "log.9",
                "snapshot.7",
                "snapshot.8",
                "zabra.durable"
            ]
        );
    }

    fn list_names(disk: &impl Disk, dirs: &Dirs) -> Vec<String> {
        let mut names = disk.list(&dirs.log).unwrap();
        names.sort();
        names
    }
}
