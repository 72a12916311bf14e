//! How far back a learner is served from the log, and not by a snapshot (`snapshotSizeFactor`, D-101).
//!
//! A leader that runs for months has logs of many times the size of its tree. A learner that was away for long is brought up sooner
//! by the tree than by all that was ever written to it. So what would have to be read from the log files is compared with a part of the
//! newest snapshot; what the leader has in memory costs nothing.
//!
//! ```text
//! zxid    100        200        300        400          500
//!          | 9 MB     | 9 MB     | 9 MB     | in memory |
//! a snapshot of 60 MB, and a third of it is 20 MB: the reach is 200; a learner that ends at 199 gets SNAP, one at 200 gets 18 MB of log
//! ```
//!
//! **How the host calls it.** [`Reach::starting_at`] with what a start has found, [`Reach::logged`] for each transaction that goes to the log,
//! [`Reach::snapshot`] when a snapshot gets its name, [`Reach::truncated`] when it queues a truncation, and a new one when another tree
//! takes the place of all. Before a step that may synchronize a learner, [`Reach::begins`] is set as
//! [`SyncLimits::reach`](crate::step::SyncLimits::reach). Of the log only some positions are kept, so the reach may be later than it had to be by the
//! bytes between two of them.

use crate::ids::Zxid;
use alloc::collections::VecDeque;

/// So much log is never too much to read, bytes. Transactions of this size are sent within a moment, and ZooKeeper, which compares the
/// sizes of whole files, does not count the one in which its reading begins.
pub const READ_BYTES_FREE: u64 = 1 << 20;

/// Positions of the log that are kept at most.
const MARKS_MAX: usize = 512;

/// Bytes between two of them, to begin with.
const SPACING_BYTES: u64 = 64 << 10;

/// How much of the log files is read for a learner: `snapshotSizeFactor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogShare {
    /// Nothing: what is not in memory is brought by SNAP (a negative number).
    Nothing,
    /// As much as so many millionths of the newest snapshot.
    Millionths(u64),
    /// Everything that there is (0, as ZooKeeper takes it).
    Everything,
}

impl LogShare {
    /// A third, as in ZooKeeper.
    pub const DEFAULT: Self = Self::Millionths(330_000);
}

/// Sizes of the log, by position, and of the newest snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Positions, in order, each with the bytes of all transactions up to it.
    marks: VecDeque<(Zxid, u64)>,
    /// Bytes of all transactions.
    total: u64,
    /// Bytes between two marks.
    spacing: u64,
    /// Bytes of the newest snapshot.
    snapshot: u64,
}

impl Reach {
    /// A log that is empty above `base`, and a snapshot of so many bytes.
    #[must_use]
    pub fn starting_at(base: Zxid, snapshot: u64) -> Self {
        Self {
            marks: VecDeque::from([(base, 0)]),
            total: 0,
            spacing: SPACING_BYTES,
            snapshot,
        }
    }

    /// A transaction of so many bytes is the last of the log.
    #[inline]
    pub fn logged(&mut self, zxid: Zxid, bytes: usize) {
        self.total = self.total.saturating_add(bytes as u64);
        let marked = self.marks.back().map_or(0, |(_, total)| *total);
        if self.total - marked >= self.spacing {
            self.mark(zxid);
        }
    }

    fn mark(&mut self, zxid: Zxid) {
        if self.marks.len() >= MARKS_MAX {
            // Every second one stays, from the first on, and from now on they are twice as far from each other.
            let mut at = 0;
            self.marks.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.spacing = self.spacing.saturating_mul(2);
        }
        self.marks.push_back((zxid, self.total));
    }

    /// The newest snapshot has so many bytes.
    pub const fn snapshot(&mut self, bytes: u64) {
        self.snapshot = bytes;
    }

    /// The log ends at `zxid` now. What lies between the last mark and there is not counted any more.
    pub fn truncated(&mut self, zxid: Zxid) {
        while self.marks.len() > 1 && self.marks.back().is_some_and(|(at, _)| *at > zxid) {
            self.marks.pop_back();
        }
        self.total = self.marks.back().map_or(0, |(_, total)| *total);
    }

    /// The first position from which on a learner is served from the log, where everything above `memory` is in memory.
    #[must_use]
    pub fn begins(&self, memory: Zxid, share: LogShare) -> Zxid {
        let most = match share {
            LogShare::Nothing => return memory,
            LogShare::Everything => return Zxid::ZERO,
            LogShare::Millionths(part) => self.part(part).max(READ_BYTES_FREE),
        };
        // What is read goes up to the first mark from there on, at most.
        let end = self.marks.partition_point(|(at, _)| *at < memory);
        let end = self.marks.get(end).map_or(self.total, |(_, total)| *total);
        let first = self
            .marks
            .partition_point(|(_, total)| end - total.min(&end) > most);
        self.marks
            .get(first)
            .map_or(memory, |(at, _)| *at)
            .min(memory)
    }

    const fn part(&self, millionths: u64) -> u64 {
        let part = self.snapshot as u128 * millionths as u128 / 1_000_000;
        if part > u64::MAX as u128 {
            u64::MAX
        } else {
            part as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MIB: usize = 1 << 20;

    /// Transactions 1 to 40 of a MiB each above an empty tree, and a snapshot of so many bytes.
    fn of_forty(snapshot: u64) -> Reach {
        let mut reach = Reach::starting_at(Zxid::ZERO, snapshot);
        (1..=40).for_each(|zxid| reach.logged(Zxid(zxid), MIB));
        reach
    }

    #[test]
    fn a_learner_is_served_from_as_much_log_as_the_share_of_the_snapshot() {
        let reach = of_forty(30 * MIB as u64);
        let from = |memory, share| reach.begins(Zxid(memory), share).0;
        assert_eq!(from(40, LogShare::DEFAULT), 31, "9 MiB of 9.9");
        assert_eq!(from(38, LogShare::DEFAULT), 29, "38 to 40 are in memory");
        assert_eq!(from(4, LogShare::DEFAULT), 0, "4 MiB are to be read");
        assert_eq!(from(40, LogShare::Millionths(1_000_000)), 10);
        assert_eq!(from(38, LogShare::Nothing), 38);
        assert_eq!(from(38, LogShare::Everything), 0);
    }

    #[test]
    fn a_larger_snapshot_reaches_further_and_a_mebibyte_is_never_too_much() {
        let mut reach = of_forty(0);
        assert_eq!(reach.begins(Zxid(40), LogShare::DEFAULT), Zxid(39));
        reach.snapshot(200 * MIB as u64);
        assert_eq!(reach.begins(Zxid(40), LogShare::DEFAULT), Zxid(0));
    }

    #[test]
    fn what_is_in_memory_is_always_sent() {
        let mut reach = Reach::starting_at(Zxid::ZERO, 0);
        for (zxid, bytes) in [(1, 10), (2, 10), (3, 10), (4, 2 * MIB)] {
            reach.logged(Zxid(zxid), bytes);
        }
        // The only mark that the share allows is behind where memory begins.
        assert_eq!(reach.begins(Zxid(2), LogShare::DEFAULT), Zxid(2));
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let mut reach = of_forty(30 * MIB as u64);
        reach.truncated(Zxid(12));
        assert_eq!(reach.begins(Zxid(12), LogShare::DEFAULT), Zxid(3));
        // Larger than what stood at its place.
        reach.logged(Zxid(13), 3 * MIB);
        assert_eq!(reach.begins(Zxid(13), LogShare::DEFAULT), Zxid(6));
        reach.truncated(Zxid::ZERO);
        assert_eq!(reach.begins(Zxid::ZERO, LogShare::DEFAULT), Zxid::ZERO);
    }

    proptest! {
        /// Never is more read than the share allows; whoever gets a snapshot would have needed more than that, but for the marks' distance.
        #[test]
        fn the_reach_is_as_far_back_as_the_share_allows(
            sizes in prop::collection::vec(1_usize..400_000, 1..3000),
            snapshot in 0_u64..1 << 30,
            kept in 0_usize..100,
        ) {
            let mut reach = Reach::starting_at(Zxid::ZERO, snapshot);
            for (zxid, bytes) in (1..).zip(&sizes) {
                reach.logged(Zxid(zxid), *bytes);
            }
            prop_assert!(reach.marks.len() <= MARKS_MAX);
            let memory = sizes.len().saturating_sub(kept);
            let from = reach.begins(Zxid(memory as u64), LogShare::DEFAULT).0 as usize;
            let most = (snapshot * 33 / 100).max(READ_BYTES_FREE) as usize;
            let reads = |after: usize| sizes[after.min(memory)..memory].iter().sum::<usize>();
            let all: Vec<usize> = (0..from).map(reads).collect();
            prop_assert!(reads(from) <= most, "{} of {most}", reads(from));
            let totals = || reach.marks.iter().map(|(_, total)| *total).chain([reach.total]);
            let gaps = totals().skip(1).zip(totals()).map(|(next, total)| next - total);
            let slack = 2 * gaps.max().unwrap_or_default() as usize;
            prop_assert!(all.iter().all(|bytes| bytes + slack >= most));
        }
    }
}
