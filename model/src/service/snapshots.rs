//! When a snapshot of the own tree is due, when one may be taken, and which finished one counts.
//!
//! A snapshot is due by what a restart would have to replay, whether this process has logged that or has found it (D-35, C-8). None
//! is taken while nobody serves, because after a start the tree holds what nobody may have committed; and none while a write is held, because
//! the tree is about to be replaced. It is written beside everything else, so the history may be cut or replaced before it is
//! finished. Then it is of another history: above it the log has a gap, or other transactions. So each belongs to a *generation* of the
//! history, and one of an earlier generation is dropped.
//!
//! ```text
//! generation 0:  … 5 6 7 8        a snapshot of 8 is begun
//! SNAP of 20 is installed         generation 1: the log begins behind 20
//! the snapshot of 8 is finished   dropped: no log leads from 8 to 20
//! ```
//!
//! **How the host calls it.** [`Snapshots::count`] for what it applies, [`Snapshots::cut`] when it queues a truncation, [`Snapshots::installed`] when it
//! queues the installation of a tree. At the end of a turn, where [`Snapshots::may_begin`]: [`Snapshots::begin`], with the job that writes the
//! file; the generation goes with it and comes back in [`Snapshots::finished`], which says what becomes of the file. Time is the
//! host's clock that only rises, in ms. A snapshot that an operator has asked for is begun where [`Snapshots::may_begin_asked`].
//!
//! A server on its own may be told to put another tree in place of its own: [`restored_as`] says at which zxid it then is.

use crate::ids::{Epoch, ServerId, Zxid};

/// Before another try after one that failed, ms.
pub const RETRY_MS: u64 = 10_000;

/// Transactions and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Replay {
    /// How many.
    pub txns: u64,
    /// Of all of them.
    pub bytes: u64,
}

impl Replay {
    /// One more transaction.
    pub const fn add(&mut self, bytes: usize) {
        self.txns = self.txns.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    const fn plus(self, more: Self) -> Self {
        Self {
            txns: self.txns.saturating_add(more.txns),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }
}

/// How much a restart may have to replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayLimits {
    /// `snapCount`, transactions.
    pub txns: u64,
    /// `snapSizeLimitInKb` in bytes; `None` is no limit.
    pub bytes: Option<u64>,
}

impl ReplayLimits {
    /// Servers of an ensemble should not all do it at once: each has its own number between half of the limit and all of it. ZooKeeper
    /// draws it anew each time.
    #[must_use]
    pub fn of(self, me: ServerId) -> Replay {
        let own = me.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let between = |limit: u64| limit / 2 + own % (limit / 2).max(1);
        Replay {
            txns: between(self.txns),
            bytes: self.bytes.map_or(u64::MAX, between),
        }
    }
}

/// A history that has been neither cut nor replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

/// What a server is doing while it asks for a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Clients are served.
    pub serves: bool,
    /// A write to the disk is held: the tree follows a truncation, or another tree is being staged.
    pub is_held: bool,
    /// On the clock that only rises.
    pub now_ms: u64,
}

/// What becomes of a finished snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finished {
    /// It gets its name.
    Publish,
    /// It is of a history that this server has no longer: it is dropped.
    Drop,
    /// It could not be written. The log has all that it would have held; it is tried again.
    TryAgain,
}

/// The snapshots of one server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Snapshots {
    due: Replay,
    /// Behind the newest snapshot.
    behind: Replay,
    /// What the snapshot that is being written will cover.
    taken: Replay,
    not_before_ms: u64,
    is_running: bool,
    generation: Generation,
}

impl Snapshots {
    /// A server that takes one when it has `due` to replay, and has replayed so much at its start.
    #[must_use]
    pub const fn new(due: Replay, replayed: Replay) -> Self {
        Self {
            due,
            behind: replayed,
            taken: Replay { txns: 0, bytes: 0 },
            not_before_ms: 0,
            is_running: false,
            generation: Generation(0),
        }
    }

    /// What a restart would have to replay if the snapshot that is being written came to nothing.
    #[must_use]
    pub const fn behind(&self) -> Replay {
        self.behind.plus(self.taken)
    }

    /// So much more was applied.
    pub const fn count(&mut self, more: Replay) {
        self.behind = self.behind.plus(more);
    }

    /// Whether a snapshot is to be begun now.
    #[must_use]
    pub const fn may_begin(&self, moment: Moment) -> bool {
        let reached = self.behind.txns >= self.due.txns || self.behind.bytes >= self.due.bytes;
        reached && moment.now_ms >= self.not_before_ms && self.may_begin_asked(moment)
    }

    /// Whether a snapshot that an operator waits for is to be begun now: however little there is to replay, and though the last one
    /// has failed.
    #[must_use]
    pub const fn may_begin_asked(&self, moment: Moment) -> bool {
        !self.is_running && moment.serves && !moment.is_held
    }

    /// A snapshot of all that is applied is begun. The job that writes it carries what is returned.
    #[must_use = "the result has to name it"]
    pub fn begin(&mut self) -> Generation {
        self.taken = core::mem::take(&mut self.behind);
        self.is_running = true;
        self.generation
    }

    /// The history is cut.
    pub const fn cut(&mut self) {
        self.generation.0 += 1;
    }

    /// History and tree are replaced by a snapshot: there is nothing behind it.
    pub fn installed(&mut self) {
        self.generation.0 += 1;
        self.behind = Replay::default();
        self.taken = Replay::default();
    }

    /// The job of this generation has ended.
    pub fn finished(&mut self, of: Generation, written: bool, now_ms: u64) -> Finished {
        self.is_running = false;
        let taken = core::mem::take(&mut self.taken);
        if !written {
            self.behind = self.behind.plus(taken);
            self.not_before_ms = now_ms.saturating_add(RETRY_MS);
            Finished::TryAgain
        } else if of == self.generation {
            Finished::Publish
        } else {
            // A truncation leaves the older snapshots, so what this one would have covered is still to be replayed.
            self.behind = self.behind.plus(taken);
            Finished::Drop
        }
    }
}

/// The zxid at which a server on its own takes a tree from elsewhere, whose newest change is at `newest`: where an epoch begins
/// that is above all that the server has promised or served, and above all that the tree has seen. So no zxid that a client knows comes
/// again with another meaning, and no log or snapshot of before leads on from the tree.
///
/// ```text
/// the server has accepted epoch 3 and is at e3c17, the tree is of e2c900: e4c0
/// the server has accepted epoch 3 and is at e3c17, the tree is of e7c5:   e8c0
/// ```
///
/// `None`: the server could not begin another epoch above that one.
#[must_use]
pub fn restored_as(accepted: Epoch, newest: Zxid, epoch_max: Epoch) -> Option<Zxid> {
    let epoch = accepted.max(newest.epoch()).next()?;
    (epoch < epoch_max).then_some(Zxid::new(epoch, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    const SERVES: Moment = Moment {
        serves: true,
        is_held: false,
        now_ms: 0,
    };

    fn due(me: u64, txns: u64, bytes: Option<u64>) -> Replay {
        ReplayLimits { txns, bytes }.of(ServerId(me))
    }

    /// C-8: it does not matter how many restarts lie between the transactions, nor which of the two limits is met.
    #[test]
    fn c_8_what_was_replayed_counts_with_what_is_new() {
        for me in [1, 2, 3, 200] {
            for (limits, bytes_each) in [
                ((40, None), 100),
                ((100_000, Some(4096)), 100),
                ((2, None), 1),
                ((1000, Some(1024)), 2000),
            ] {
                let due = due(me, limits.0, limits.1);
                let mut replayed = Replay::default();
                let mut restarts = 0;
                while !Snapshots::new(due, replayed).may_begin(SERVES) {
                    let mut snapshots = Snapshots::new(due, replayed);
                    let mut new = Replay::default();
                    new.add(bytes_each);
                    snapshots.count(new);
                    replayed.add(bytes_each);
                    restarts += 1;
                    let after_a_restart = Snapshots::new(due, replayed);
                    assert_eq!(
                        snapshots.may_begin(SERVES),
                        after_a_restart.may_begin(SERVES)
                    );
                    assert!(restarts <= 41, "{limits:?}: {replayed:?}");
                }
            }
        }
    }

    #[test]
    fn c_8_each_server_has_a_number_of_its_own_between_half_of_the_limit_and_all_of_it() {
        let all: Vec<u64> = (1..=7)
            .map(|me| due(me, 100_000, Some(100_000)).txns)
            .collect();
        assert!(
            all.iter().all(|due| (50_000..=100_000).contains(due)),
            "{all:?}"
        );
        let others: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(others.len(), all.len());
    }

    #[test]
    fn c_8_no_limit_of_bytes_is_none() {
        let mut replayed = Replay::default();
        replayed.add(usize::MAX / 2);
        for (bytes, is_due) in [(Some(4 << 30), true), (None, false)] {
            let snapshots = Snapshots::new(due(1, 100_000, bytes), replayed);
            assert_eq!(snapshots.may_begin(SERVES), is_due, "{bytes:?}");
        }
    }

    #[test]
    fn c_8_a_snapshot_that_failed_is_tried_again_and_nothing_is_forgotten() {
        let mut snapshots = Snapshots::new(Replay { txns: 4, bytes: 99 }, Replay::default());
        snapshots.count(Replay { txns: 4, bytes: 4 });
        assert!(snapshots.may_begin(SERVES));
        let first = snapshots.begin();
        snapshots.count(Replay { txns: 5, bytes: 5 });
        assert!(!snapshots.may_begin(SERVES), "one at a time");
        assert_eq!(snapshots.finished(first, false, 7), Finished::TryAgain);
        assert_eq!(snapshots.behind(), Replay { txns: 9, bytes: 9 });
        for (now_ms, may) in [(7, false), (RETRY_MS + 6, false), (RETRY_MS + 7, true)] {
            let moment = Moment { now_ms, ..SERVES };
            assert_eq!(snapshots.may_begin(moment), may, "{now_ms}");
        }
    }

    #[test]
    fn none_is_begun_while_nobody_serves_or_a_write_is_held() {
        let due = Replay { txns: 1, bytes: 1 };
        let snapshots = Snapshots::new(due, due);
        assert!(snapshots.may_begin(SERVES));
        for (serves, is_held) in [(false, false), (true, true), (false, true)] {
            let moment = Moment {
                serves,
                is_held,
                now_ms: 0,
            };
            assert!(!snapshots.may_begin(moment));
        }
    }

    #[test]
    fn one_that_was_begun_before_a_cut_or_an_install_is_dropped() {
        let some = Replay { txns: 2, bytes: 2 };
        for is_cut in [true, false] {
            let mut snapshots = Snapshots::new(some, some);
            let begun = snapshots.begin();
            if is_cut {
                snapshots.cut();
            } else {
                snapshots.installed();
            }
            assert_eq!(snapshots.finished(begun, true, 0), Finished::Drop);
            snapshots.count(Replay { txns: 1, bytes: 1 });
            if !is_cut {
                assert_eq!(
                    snapshots.behind().txns,
                    1,
                    "what came before is in the tree"
                );
                snapshots.installed();
            }
            let left = if is_cut {
                Replay { txns: 3, bytes: 3 }
            } else {
                Replay::default()
            };
            assert_eq!(snapshots.behind(), left, "what is still to be replayed");
            let next = snapshots.begin();
            assert_eq!(snapshots.finished(next, true, 0), Finished::Publish);
        }
    }

    #[test]
    fn one_that_an_operator_asks_for_waits_for_nothing_but_those_before_it() {
        let mut snapshots = Snapshots::new(due(1, 1000, None), Replay::default());
        assert!(!snapshots.may_begin(SERVES) && snapshots.may_begin_asked(SERVES));
        let looks = Moment {
            serves: false,
            ..SERVES
        };
        let held = Moment {
            is_held: true,
            ..SERVES
        };
        assert!(!snapshots.may_begin_asked(looks) && !snapshots.may_begin_asked(held));
        let of = snapshots.begin();
        assert!(!snapshots.may_begin_asked(SERVES));
        assert_eq!(snapshots.finished(of, false, 0), Finished::TryAgain);
        assert!(snapshots.may_begin_asked(SERVES));
    }

    #[test]
    fn a_restored_tree_begins_an_epoch_above_all_that_anybody_has_seen() {
        let (max, e) = (Epoch(u32::MAX), |epoch, counter| {
            Zxid::new(Epoch(epoch), counter)
        });
        assert_eq!(restored_as(Epoch(3), e(2, 900), max), Some(e(4, 0)));
        assert_eq!(restored_as(Epoch(3), e(7, 5), max), Some(e(8, 0)));
        assert_eq!(
            restored_as(Epoch(0), Zxid::ZERO, Epoch(2)),
            Some(e(1, 0)),
            "another epoch is left above it"
        );
        assert_eq!(restored_as(Epoch(1), Zxid::ZERO, Epoch(2)), None);
        assert_eq!(restored_as(Epoch(0), Zxid::NONE, max), None);
    }
}
