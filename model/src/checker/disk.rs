//! A modelled disk: what is durable, what is in the page cache alone, what is pending, and what a crash leaves of them.
//!
//! Two kinds of crash leave two kinds of disk. A loss of power keeps what was synced, and any beginning of what was not. A
//! process that dies takes nothing with it: whoever reads the files finds all that was written. The disk thread syncs one kind
//! of write before it begins the next, so what is in the page cache alone is a run of appends or one other write.

use super::page_cache::{PageCache, is_append, part};
use super::txn::{self, Txn};
use crate::durable::{Found, Made, Part};
use crate::ensemble::Ensemble;
use crate::ids::Zxid;
use crate::step::Write;
use crate::switch::{Switch, Switches};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem::discriminant;

pub use super::image::{DiskImage, PendingWrite};

/// What a host with a bug keeps in memory and takes for written. Nothing, unless a switch is on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HostBug {
    /// The bug.
    pub switches: Switches,
    /// Further transactions and snapshots are held back.
    pub holding: bool,
    /// What was reported to be durable and is only in memory.
    pub held: Vec<PendingWrite>,
    /// A snapshot of more than was committed, beside the log; it is on the disk.
    pub snapshot: Vec<Zxid>,
    /// Transactions that the list of recent commits lacks.
    pub skipped: Vec<Zxid>,
}

/// A server's disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Disk {
    /// What was synced: it survives every crash.
    pub image: DiskImage,
    /// What a process that died has written beyond it. Nothing, once a start has made durable what it found.
    pub cache: PageCache,
    /// What the running server has asked for: a crash keeps any prefix.
    pub queue: VecDeque<PendingWrite>,
    /// The host's bug.
    pub quirk: HostBug,
}

impl Disk {
    /// One without anything on its way.
    #[must_use]
    pub fn quiet(image: DiskImage) -> Self {
        Self {
            image,
            cache: PageCache::default(),
            queue: VecDeque::new(),
            quirk: HostBug::default(),
        }
    }

    /// Queues what a peer has asked for; `stream` is the tree that came beside a SNAP.
    pub fn persist(&mut self, write: &Write<Txn>, stream: &[Zxid]) {
        self.queue.push_back(match write {
            Write::AcceptedEpoch(e) => PendingWrite::AcceptedEpoch(*e),
            Write::CurrentEpoch(e) => PendingWrite::CurrentEpoch(*e),
            Write::Append { zxid, txn } => PendingWrite::Append(*zxid, *txn),
            Write::Truncate { zxid } => PendingWrite::Truncate(*zxid),
            Write::Install { ensemble, .. } => {
                let (active, next) = txn::listed(ensemble);
                PendingWrite::Install(stream.to_vec(), active, next)
            }
            Write::Activate { version } => PendingWrite::Activate(*version),
        });
    }

    /// Completes a write that was taken from the queue.
    pub fn write(&mut self, op: PendingWrite) {
        let switches = self.quirk.switches;
        let on = |s| switches.on(s);
        let (trunc, snap) = (
            on(Switch::KeepDbAfterPartialTrunc),
            on(Switch::KeepDbAfterPartialSnap),
        );
        match &op {
            PendingWrite::Truncate(_) if trunc => self.quirk.holding = true,
            PendingWrite::Install(..) if snap => self.quirk.holding = true,
            // A snapshot that is newer than the cut is retired with it.
            PendingWrite::Truncate(z)
                if on(Switch::SnapshotUncommitted)
                    && self.quirk.snapshot.last().is_some_and(|end| end > z) =>
            {
                self.quirk.snapshot.clear();
            }
            // NEWLEADER: the snapshot that holds all of it.
            PendingWrite::CurrentEpoch(_) if self.quirk.holding && (trunc || snap) => {
                self.release()
            }
            _ => {}
        }
        self.pass(&op);
        match &op {
            PendingWrite::Append(..) | PendingWrite::Install(..) if self.quirk.holding => {
                self.quirk.held.push(op)
            }
            _ => self.image.apply(&op),
        }
    }

    /// Writes what was held back.
    pub fn release(&mut self) {
        self.quirk.holding = false;
        for op in core::mem::take(&mut self.quirk.held) {
            self.image.apply(&op);
        }
    }

    /// The image with the first `kept` of the writes that were not synced.
    #[must_use]
    pub fn image_with(&self, kept: usize) -> DiskImage {
        if self.quirk.switches == Switches::default() {
            let mut image = self.image.clone();
            let unsynced = self.cache.ops.iter().chain(&self.queue);
            unsynced.take(kept).for_each(|op| image.apply(op));
            return image;
        }
        let mut disk = self.clone();
        disk.lose_power(kept);
        disk.image
    }

    /// The image with every pending write: what the server's memory holds.
    #[must_use]
    pub fn image_asked(&self) -> DiskImage {
        if self.quirk.switches == Switches::default() {
            return self.image_with(self.unsynced());
        }
        let mut disk = self.clone();
        for op in core::mem::take(&mut disk.queue) {
            disk.write(op);
        }
        disk.release();
        disk.image = disk.visible();
        disk.image.log.sort_unstable(); // what was held may be older than what was not
        disk.image
    }
}

/// Where a crash, a start and a sync move writes between the queue, the page cache and the disk.
impl Disk {
    /// How many writes a loss of power may take.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.cache.ops.len() + self.queue.len()
    }

    /// What a start reads: the disk, and the page cache over it.
    #[must_use]
    pub fn visible(&self) -> DiskImage {
        let mut image = self.image.clone();
        self.cache.ops.iter().for_each(|op| image.apply(op));
        image.log.sort_unstable(); // with a bug, newer transactions are on the disk without older ones
        image
    }

    /// What a start has read, and what of it is not known to be on the disk.
    pub(super) fn found(&self, switches: Switches) -> Result<(Found, Ensemble), &'static str> {
        if self.cache.ops.is_empty() {
            let (durable, ensemble) = self.image.boot(switches)?;
            let synced = durable.history.last();
            return Ok((Found::new(durable, synced), ensemble));
        }
        let (durable, ensemble) = self.visible().boot(switches)?;
        let synced = self.image.content().last().copied().unwrap_or_default();
        Ok((Found::new(durable, synced), ensemble))
    }

    /// Whether a start has to make something durable before it may report what it has read.
    #[must_use]
    pub fn owes(&self, switches: Switches) -> bool {
        !self.cache.ops.is_empty()
            && self
                .found(switches)
                .is_ok_and(|(found, _)| found.owes(switches).is_some())
    }

    /// A start makes a part of what it has read durable.
    pub(super) fn settle(&mut self, settled: Part, how: Made) {
        if self.cache.clean && how == Made::Synced {
            return; // which succeeds
        }
        let ops = core::mem::take(&mut self.cache.ops);
        let (done, rest) = ops.into_iter().partition(|op| part(op) == settled);
        self.cache.ops = rest;
        let done: VecDeque<PendingWrite> = done;
        done.iter().for_each(|op| self.image.apply(op));
        if self.cache.ops.is_empty() {
            self.cache.clean = false;
        }
    }

    /// A write is about to become durable while older ones are in the page cache alone, as a start with a bug has left them.
    /// Another file does not take them along. Where the log is cut or replaced, they are on the disk or gone.
    pub(super) fn pass(&mut self, op: &PendingWrite) {
        if self.cache.ops.is_empty() {
            return;
        }
        let apart = |op: &PendingWrite| is_append(op) || part(op) != Part::History;
        if apart(op) && self.cache.ops.iter().all(apart) {
            let replaced =
                |old: &PendingWrite| !is_append(old) && discriminant(old) == discriminant(op);
            self.cache.ops.retain(|old| !replaced(old));
        } else {
            self.image = self.visible();
            self.cache = PageCache::default();
        }
    }

    /// The process dies: so many of its pending writes are written, and the last kind of them is not synced.
    pub(super) fn die(&mut self, kept: usize) {
        let appends = self.queue.iter().take(kept).rev();
        let run = appends.take_while(|op| is_append(op)).count().max(1);
        for _ in run..kept {
            self.write_next();
        }
        let written = self.queue.drain(..run.min(kept));
        self.cache.ops.extend(written);
        self.queue.clear();
    }

    /// The power fails: so many of the writes that were not synced have reached the disk, the oldest first.
    pub(super) fn lose_power(&mut self, kept: usize) {
        let cached = core::mem::take(&mut self.cache).ops;
        let of_cache = kept.min(cached.len());
        if of_cache > 0 {
            cached
                .iter()
                .take(of_cache)
                .for_each(|op| self.image.apply(op));
            self.image.log.sort_unstable();
        }
        for _ in of_cache..kept {
            self.write_next();
        }
        self.queue.clear();
    }

    /// The oldest pending write reaches the disk.
    pub(super) fn write_next(&mut self) {
        if let Some(op) = self.queue.pop_front() {
            self.write(op);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    const NONE: fn() -> Switches = Switches::default;

    fn append(counter: u32) -> PendingWrite {
        PendingWrite::Append(Zxid::new(Epoch(1), counter), Txn::Write)
    }

    /// e1c1 is on the disk, these are pending.
    fn disk(pending: &[PendingWrite]) -> Disk {
        let mut image = DiskImage::empty(0b111);
        (image.accepted, image.current) = (Epoch(1), Epoch(1));
        image.apply(&append(1));
        let mut disk = Disk::quiet(image);
        disk.queue.extend(pending.iter().cloned());
        disk
    }

    /// What a start does, and whether it may report.
    fn start(disk: &mut Disk, switches: Switches) -> Vec<Zxid> {
        let (mut found, _) = disk.found(switches).unwrap();
        while let Some((part, how)) = found.owes(switches) {
            disk.settle(part, how);
            found.made(part, how, switches);
        }
        let durable = found.report(switches).unwrap();
        assert_eq!(
            Some(&durable.history.last()),
            disk.visible().content().last()
        );
        disk.visible().content()
    }

    /// C-5, C-6: for every pending queue, every number of writes that were written, and every way to end: what a start
    /// reports, no later loss of power takes.
    #[test]
    fn c_5_c_6_what_a_start_reports_outlives_any_later_loss_of_power() {
        let ops = [
            append(2),
            append(3),
            PendingWrite::AcceptedEpoch(Epoch(2)),
            append(4),
            PendingWrite::CurrentEpoch(Epoch(2)),
        ];
        let e1c1 = Zxid::new(Epoch(1), 1);
        let cut = [
            append(2),
            PendingWrite::Truncate(e1c1),
            append(2),
            append(3),
        ];
        for (queue, kept, clean) in [&ops[..], &cut[..]].into_iter().flat_map(|queue| {
            (0..=queue.len()).flat_map(move |kept| [(queue, kept, false), (queue, kept, true)])
        }) {
            let mut died = disk(queue);
            died.die(kept);
            died.cache.clean = clean && died.cache.may_become_clean();
            assert!(died.queue.is_empty());
            let mut dark = disk(queue);
            dark.lose_power(kept);
            // A start finds the same after either crash.
            assert_eq!(died.visible(), dark.image, "{queue:?} {kept}");
            // And before it has settled that, a loss of power keeps any prefix of it.
            for lost in 0..=died.unsynced() {
                let mut image = disk(queue);
                image.lose_power(kept - lost);
                let mut later = died.clone();
                later.lose_power(died.unsynced() - lost);
                assert_eq!(later.image, image.image);
            }
            start(&mut died, NONE());
            assert!(!died.owes(NONE()));
            assert_eq!(
                (&died.image, died.unsynced()),
                (&dark.image, 0),
                "{queue:?} {kept}"
            );
        }
    }

    #[test]
    fn a_start_with_either_bug_reports_what_the_next_loss_of_power_takes() {
        for (bug, clean) in [
            (Switch::BootTrustsPageCache, false),
            (Switch::BootTrustsPageCache, true),
            (Switch::RestartTrustsCleanPages, true),
        ] {
            let mut died = disk(&[append(2), append(3)]);
            died.quirk.switches = Switches::with(bug);
            died.die(2);
            died.cache.clean = clean;
            let reported = start(&mut died, Switches::with(bug));
            assert_eq!(reported.len(), 3, "{bug:?}");
            // The next append goes to another file, and takes nothing along.
            died.queue.push_back(append(4));
            died.write_next();
            assert_eq!(died.visible().content().len(), 4);
            died.lose_power(0);
            assert!(died.image.boot(NONE()).is_err(), "a hole: {bug:?}");
        }
        // A sync is enough as long as none has failed.
        let mut died = disk(&[append(2)]);
        died.die(1);
        start(&mut died, Switches::with(Switch::RestartTrustsCleanPages));
        assert_eq!((died.image.content().len(), died.unsynced()), (2, 0));
    }
}
