//! The disk's worker: all writes of a server in one order, each durable before the next kind begins.
//!
//! Consecutive appends become one write and one fdatasync. An epoch is written only after the appends before it are
//! durable, and the other way round: the protocol's proof needs that order. A failed operation ends the worker.
//! Behind the acknowledgement, [`high_water`] is told how far the log is synced.
//!
//! An operation that finds no room is no failure: it has changed nothing that counts, and it is tried again until there is
//! room. Everything behind it waits, as behind a slow disk, so nothing is said to be durable before its turn.
//!
//! The worker never waits and knows neither a thread nor a clock: whoever drives it calls it with what there is to do and
//! with the time, and calls it again when there may be room.

use super::disk::Disk;
use super::snapshot::StagedSnapshot;
use super::txn_log::writer::TxnLog;
use super::{Dirs, Result, epochs, high_water, members, purge, replace};
use crate::mutants::{Mutant, has};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use zabra_model::ids::{Epoch, Zxid};

/// What an operation beside an append counts for in a queue.
const OP_BYTES: usize = 64;

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
    /// Replace `zabra.members`, the list of members that is active, by this text.
    Members(Box<str>),
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
    /// What it counts for in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Append { payload, .. } => OP_BYTES + payload.len(),
            Self::Members(text) => OP_BYTES + text.len(),
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
            Self::Members(_) => "members",
            Self::InstallSnapshot(_) => "install snapshot",
            Self::PublishSnapshot(_) => "publish snapshot",
            Self::Purge { .. } => "purge",
        }
    }
}

/// What the worker says.
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

/// How a call of [`Worker::carry_out`] has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything is done.
    Done,
    /// There is no room: what is left of the batch waits, and all behind it. Call again with that, also if it is nothing: what
    /// is written already may wait to be synced.
    NoRoom,
    /// The disk failed, and [`Event::Failed`] has said how. There is no further call.
    Failed,
}

/// Carries operations out, in their order.
///
/// ```text
/// loop: carry_out(batch, now) ─┬─ Done ──► when rest(now) is over: settle(now) ─► loop
///                              ├─ NoRoom ► later: carry_out(the same batch, now)
///                              └─ Failed ► no further call
/// end:  finish(now)
/// ```
pub struct Worker<D: Disk> {
    disk: D,
    dirs: Dirs,
    log: TxnLog<D>,
    mark: high_water::Keeper<D>,
    /// Appends that are written and not synced: the last one's token, and what they count for.
    unsynced: Option<(u64, usize)>,
    /// What there is no room for.
    full: Option<Full>,
}

/// What there is no room for: it is the next thing to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Full {
    /// The first operation of the batch.
    Operation,
    /// The appends before it, which are gathered.
    Sync,
}

/// Why an operation was not done.
enum Undone {
    NoRoom,
    Failed(&'static str, String),
}

impl<D: Disk> Worker<D> {
    /// Writes behind the end of `log`. `now` rises from call to call; it may be counted from anywhere.
    #[must_use]
    pub fn new(disk: D, dirs: Dirs, log: TxnLog<D>, now: Duration) -> Self {
        Self {
            mark: high_water::Keeper::new(&disk, &dirs, now),
            disk,
            dirs,
            log,
            unsynced: None,
            full: None,
        }
    }

    /// Carries out operations until all are done, or there is no room for the next one, and takes those that are done from the
    /// front of `batch`. Each event comes with what the operations count for that it says are done.
    pub fn carry_out(
        &mut self,
        batch: &mut VecDeque<(u64, Op)>,
        now: Duration,
        mut tell: impl FnMut(Event, usize),
    ) -> Outcome {
        let done = self.carry_out_all(batch, now, &mut tell).and_then(|()| {
            // Nobody waits for this: what it tells of is acknowledged already.
            self.mark
                .note(self.log.last(), now)
                .map_err(|e| Undone::Failed("durable mark", e.to_string()))
        });
        match done {
            Ok(()) => Outcome::Done,
            Err(Undone::NoRoom) => Outcome::NoRoom,
            Err(Undone::Failed(what, error)) => {
                tell(Event::Failed { what, error }, 0);
                Outcome::Failed
            }
        }
    }

    /// Does what is to be done without an operation, if it is due: see [`Worker::rest`].
    ///
    /// # Errors
    /// [`super::StorageError::Io`] of a failed sync: there is no further call.
    pub fn settle(&mut self, now: Duration) -> Result<()> {
        self.mark.settle(now)
    }

    /// How long [`Worker::settle`] may wait while no batch comes; `None`: for ever.
    #[must_use]
    pub fn rest(&self, now: Duration) -> Option<Duration> {
        self.mark.rest(now)
    }

    /// An orderly end: the next start is told how far the log is synced.
    ///
    /// # Errors
    /// [`super::StorageError::Io`] of a failed sync.
    pub fn finish(&mut self, now: Duration) -> Result<()> {
        self.mark.sync(now)
    }

    fn carry_out_all(
        &mut self,
        batch: &mut VecDeque<(u64, Op)>,
        now: Duration,
        tell: &mut impl FnMut(Event, usize),
    ) -> std::result::Result<(), Undone> {
        if self.full == Some(Full::Sync) {
            self.sync(tell)?;
        }
        while let Some((token, op)) = batch.front() {
            let (token, name, bytes) = (*token, op.name(), op.bytes());
            if let Op::Append { zxid, payload } = op {
                let appended = self.log.append(*zxid, payload);
                self.has_room((Full::Operation, name), appended, tell)?;
                let before = self.unsynced.map_or(0, |(_, bytes)| bytes);
                self.unsynced = Some((token, before + bytes));
                if has(Mutant::DurableBeforeSync) {
                    tell(Event::Durable { upto: token }, 0);
                }
                if has(Mutant::DurableBatchAhead)
                    && let Some((last, _)) = batch.back()
                {
                    tell(Event::Durable { upto: *last }, 0);
                }
                if self.log.wants_sync() {
                    batch.pop_front();
                    self.sync(tell)?;
                    continue;
                }
            } else {
                let is_epoch = matches!(op, Op::CurrentEpoch(_));
                if !(is_epoch && has(Mutant::EpochBeforeHistory)) {
                    self.sync(tell)?;
                }
                let done = self.apart(op, now);
                self.has_room((Full::Operation, name), done, tell)?;
                tell(Event::Durable { upto: token }, bytes);
            }
            batch.pop_front();
        }
        self.sync(tell)
    }

    /// Makes the appends durable that are not yet.
    fn sync(&mut self, tell: &mut impl FnMut(Event, usize)) -> std::result::Result<(), Undone> {
        if let Some((upto, bytes)) = self.unsynced {
            let synced = self.log.sync();
            self.has_room((Full::Sync, "append"), synced, tell)?;
            self.unsynced = None;
            tell(Event::Durable { upto }, bytes);
        }
        Ok(())
    }

    /// Whether `done` is done, or finds no room for now. Each operation may be done again from its beginning.
    fn has_room(
        &mut self,
        (full, what): (Full, &'static str),
        done: Result<()>,
        tell: &mut impl FnMut(Event, usize),
    ) -> std::result::Result<(), Undone> {
        match done {
            Ok(()) => {
                if self.full.take().is_some() {
                    tell(Event::Room, 0);
                }
                Ok(())
            }
            Err(e) if e.is_no_room() => {
                if self.full.replace(full).is_none() {
                    let error = e.to_string();
                    tell(Event::Full { what, error }, 0);
                }
                Err(Undone::NoRoom)
            }
            Err(e) => Err(Undone::Failed(what, e.to_string())),
        }
    }

    /// Everything but appends: they are durable by now.
    fn apart(&mut self, op: &Op, now: Duration) -> Result<()> {
        match *op {
            Op::Append { zxid, ref payload } => {
                self.log.append(zxid, payload)?;
                self.log.sync()
            }
            Op::Truncate { after } => {
                self.log.roll()?;
                self.mark.lower(after, now)?;
                let last = replace::truncate(&self.disk, &self.dirs, after)?;
                self.log.restart_behind(last);
                Ok(())
            }
            Op::AcceptedEpoch(epoch) => {
                self.mark.accept(epoch, now)?;
                epochs::write_accepted(&self.disk, &self.dirs, epoch)
            }
            Op::CurrentEpoch(epoch) => epochs::write_current(&self.disk, &self.dirs, epoch),
            Op::Members(ref text) => members::write(&self.disk, &self.dirs, text),
            Op::InstallSnapshot(ref staged) => {
                self.log.roll()?;
                self.mark.lower(staged.zxid, now)?;
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
                    purge::not_purged(&error);
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

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("d"))
    }

    fn worker(disk: &RecordingDisk) -> Worker<RecordingDisk> {
        let log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid::ZERO);
        Worker::new(disk.clone(), dirs(), log, Duration::ZERO)
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
        let e1 = 1_u64 << 32;
        let ops = [
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
        let mut marks = vec![(0, 0)];
        let mut batch = (1..).zip(ops).collect();
        let outcome = worker(&disk).carry_out(&mut batch, Duration::ZERO, |event, _| match event {
            Event::Durable { upto } => marks.push((disk.operations(), upto)),
            Event::Full { .. } | Event::Room | Event::Failed { .. } => panic!("{event:?}"),
        });
        assert_eq!((outcome, batch.len()), (Outcome::Done, 0));
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
            let mut worker = worker(&disk);
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
            for (token, op) in (1..).zip(ops) {
                let mut batch = VecDeque::from([(token, op)]);
                let mut events = Vec::new();
                let mut tell = |event, _| events.push(event);
                let outcome = worker.carry_out(&mut batch, Duration::ZERO, &mut tell);
                if outcome == Outcome::Done {
                    assert_eq!(events, [Event::Durable { upto: token }]);
                    continue;
                }
                let [Event::Full { error, .. }] = &events[..] else {
                    panic!("{n}: {events:?}")
                };
                assert!(error.contains("d/version-2"), "{error}");
                assert_eq!(outcome, Outcome::NoRoom);
                times_full += 1;
                for loss in Loss::ALL {
                    let image = disk.crashed(disk.operations(), loss);
                    let mut kept = Kept::default();
                    let options = RecoveryOptions::default();
                    let found = recover(&image, &dirs(), options, &mut kept).unwrap();
                    let least = [0, 0, 1, 2, 2, 2, 3, 3, 3, 4][token as usize - 1];
                    let last = found.last_zxid.0;
                    assert!(least == 0 || last >= e1 + least, "{n} {loss:?} {last:x}");
                }
                let again = |worker: &mut Worker<_>, batch: &mut _| {
                    let mut events = Vec::new();
                    worker.carry_out(batch, Duration::ZERO, |event, _| events.push(event));
                    events
                };
                assert_eq!(again(&mut worker, &mut batch), [], "told once");
                disk.make_room();
                let done = Event::Durable { upto: token };
                assert_eq!(again(&mut worker, &mut batch), [Event::Room, done]);
            }
            let image = disk.crashed(disk.operations(), Loss::Both);
            let mut kept = Kept::default();
            let found = recover(&image, &dirs(), RecoveryOptions::default(), &mut kept).unwrap();
            assert_eq!(found.last_zxid, Zxid(e1 + 4), "{n}");
            assert_eq!(found.epochs.accepted, Epoch(2));
        }
        assert!(times_full > 20, "{times_full}");
    }

    /// C-10: appends are gathered before it shows that there is no room for them; what comes behind them meanwhile does not make it
    /// look as if there were.
    #[test]
    fn c_10_more_to_do_is_no_room() {
        let disk = RecordingDisk::default();
        let mut worker = worker(&disk);
        disk.fill_after(2);
        let mut events = Vec::new();
        let mut batch = VecDeque::from([(1, append(1)), (2, append(2))]);
        let outcome = worker.carry_out(&mut batch, Duration::ZERO, |e, _| events.push(e));
        assert_eq!((outcome, batch.len()), (Outcome::NoRoom, 0));
        assert!(matches!(events[..], [Event::Full { .. }]), "{events:?}");
        for token in 3..6 {
            batch.push_back((token, append(token)));
            let outcome = worker.carry_out(&mut batch, Duration::ZERO, |e, _| events.push(e));
            assert_eq!((outcome, events.len()), (Outcome::NoRoom, 1));
        }
        disk.make_room();
        worker.carry_out(&mut batch, Duration::ZERO, |e, _| events.push(e));
        let durable = |upto| Event::Durable { upto };
        assert_eq!(events[1..], [Event::Room, durable(2), durable(5)]);
        assert!(batch.is_empty());
    }

    #[test]
    fn one_sync_makes_as_many_writes_durable_as_it_may() {
        let disk = RecordingDisk::default();
        let options = LogOptions {
            batch_txns_max: 2,
            ..LogOptions::default()
        };
        let log = TxnLog::new(disk.clone(), dirs().log, options, Zxid::ZERO);
        let mut worker = Worker::new(disk, dirs(), log, Duration::ZERO);
        let mut events = Vec::new();
        let mut batch = (1..).zip((1..=5).map(append)).collect();
        worker.carry_out(&mut batch, Duration::ZERO, |event, bytes| {
            events.push((event, bytes));
        });
        let one = append(1).bytes();
        let durable = |upto, n| (Event::Durable { upto }, n * one);
        assert_eq!(events, [durable(2, 2), durable(4, 2), durable(5, 1)]);
        assert!(batch.is_empty());
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
        let mut worker = Worker::new(disk, dirs.clone(), log, Duration::ZERO);
        let staged = |zxid| stage(&disk, &dirs.snap, zxid, &body::sample());
        let (retain, base) = (3, Zxid::ZERO);
        let ops = [
            append(1),
            append(2),
            Op::InstallSnapshot(staged(7)),
            append(8),
            Op::PublishSnapshot(staged(8)),
            Op::Purge { retain, base },
            append(9),
        ];
        let mut last = None;
        let mut batch = (1..).zip(ops).collect();
        worker.carry_out(&mut batch, Duration::ZERO, |event, _| last = Some(event));
        assert_eq!(last, Some(Event::Durable { upto: 7 }));
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
