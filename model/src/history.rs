//! Which transactions a server has, by zxid alone: decisions over the log never read payloads.
//!
//! Counters rise by one inside an epoch, so a log of millions of transactions is a handful of runs.

use crate::ids::Zxid;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Consecutive zxids of one epoch, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The first zxid.
    pub first: Zxid,
    /// The last zxid.
    pub last: Zxid,
}

/// A contiguous history: everything after [`History::base`] is in the log, everything up to it in a snapshot.
///
/// The base is the explicit bound below which no DIFF can be served: what lies under a snapshot may have
/// holes (ZOOKEEPER-2846, 4925).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct History {
    base: Zxid,
    runs: Vec<Run>,
}

impl History {
    /// The history of a server whose snapshot is at `base` and whose log is empty.
    #[must_use]
    pub const fn starting_at(base: Zxid) -> Self {
        Self {
            base,
            runs: Vec::new(),
        }
    }

    /// The zxid of the snapshot under the log; zero if the log begins at the beginning.
    #[must_use]
    pub const fn base(&self) -> Zxid {
        self.base
    }

    /// The runs of the log, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The last zxid: of the log, or of the snapshot if the log is empty.
    #[must_use]
    pub fn last(&self) -> Zxid {
        self.runs.last().map_or(self.base, |r| r.last)
    }

    /// Whether `zxid` may follow the last one: the next counter, or the first of a later epoch.
    #[must_use]
    pub fn is_next(&self, zxid: Zxid) -> bool {
        let last = self.last();
        last.next() == Some(zxid) && zxid.counter() > 0
            || zxid.epoch() > last.epoch() && zxid.counter() == 1
    }

    /// Appends `zxid`, which must be larger than the last one: larger by more than one begins a new run.
    #[inline]
    pub fn append(&mut self, zxid: Zxid) {
        match self.runs.last_mut() {
            Some(run) if run.last.next() == Some(zxid) => run.last = zxid,
            _ => {
                assert!(zxid > self.last(), "I-30: a history grows in zxid order");
                self.runs.push(Run {
                    first: zxid,
                    last: zxid,
                });
            }
        }
    }

    /// Whether `zxid` is the base or in the log.
    #[must_use]
    pub fn contains(&self, zxid: Zxid) -> bool {
        self.floor(zxid) == Some(zxid)
    }

    /// The largest zxid of this history that is not above `zxid`; `None` below the base.
    #[must_use]
    pub fn floor(&self, zxid: Zxid) -> Option<Zxid> {
        let after = self.runs.partition_point(|r| r.first <= zxid);
        match after.checked_sub(1).and_then(|i| self.runs.get(i)) {
            Some(run) => Some(run.last.min(zxid)),
            None => (self.base <= zxid).then_some(self.base),
        }
    }

    /// Drops everything above `zxid` from the log; a cut below the base leaves an empty log.
    pub fn truncate(&mut self, zxid: Zxid) {
        while let Some(run) = self.runs.last_mut() {
            if run.first > zxid {
                self.runs.pop();
            } else {
                run.last = run.last.min(zxid);
                return;
            }
        }
    }

    /// From now on a snapshot at `upto`, which is in this history, is what lies under the log; what is before it is not known any more.
    pub fn forget(&mut self, upto: Zxid) {
        assert!(self.contains(upto), "the log goes on from its snapshot");
        let kept = self.runs.partition_point(|run| run.last <= upto);
        self.runs.drain(..kept);
        if let Some(run) = self.runs.first_mut()
            && run.first <= upto
        {
            run.first = Zxid(upto.0 + 1); // of the same run, so there is one
        }
        self.base = upto;
    }

    /// The zxids of the log above `after`, in order.
    pub fn above(&self, after: Zxid) -> impl Iterator<Item = Zxid> + '_ {
        self.runs.iter().flat_map(move |r| {
            let first = r.first.max(Zxid(after.0.saturating_add(1)));
            (first.0..=r.last.0).map(Zxid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn history(zxids: &[Zxid]) -> History {
        let mut h = History::default();
        zxids.iter().for_each(|x| h.append(*x));
        h
    }

    #[test]
    fn a_run_holds_the_consecutive_zxids_of_an_epoch() {
        let h = history(&[z(1, 1), z(1, 2), z(1, 3), z(3, 1), z(3, 2)]);
        assert_eq!(h.runs().len(), 2);
        assert_eq!(h.last(), z(3, 2));
        assert!(h.contains(z(1, 2)) && !h.contains(z(1, 4)) && !h.contains(z(2, 0)));
        assert_eq!(h.floor(z(2, 7)), Some(z(1, 3)));
        assert_eq!(
            h.above(z(1, 2)).collect::<Vec<_>>(),
            [z(1, 3), z(3, 1), z(3, 2)]
        );
    }

    #[test]
    fn truncation_keeps_exactly_what_is_not_above_the_cut() {
        let all = [z(1, 1), z(1, 2), z(2, 1), z(2, 2), z(4, 1)];
        for cut in [
            Zxid::ZERO,
            z(1, 1),
            z(1, 2),
            z(1, 9),
            z(2, 1),
            z(3, 0),
            z(4, 1),
            z(9, 9),
        ] {
            let mut h = history(&all);
            h.truncate(cut);
            let kept: Vec<Zxid> = all.iter().copied().filter(|x| *x <= cut).collect();
            assert_eq!(h, history(&kept), "cut at {cut:?}");
        }
    }

    #[test]
    fn below_the_base_nothing_is_known() {
        let mut h = History::starting_at(z(2, 5));
        h.append(z(2, 6));
        assert_eq!(h.floor(z(2, 4)), None);
        assert!(h.contains(z(2, 5)));
        assert_eq!(h.floor(z(9, 0)), Some(z(2, 6)));
    }

    #[test]
    fn what_is_forgotten_is_below_the_base_and_what_is_above_stays() {
        let all = [z(1, 1), z(1, 2), z(1, 3), z(3, 1), z(3, 2)];
        for (at, upto) in all.into_iter().enumerate() {
            let mut h = history(&all);
            h.forget(upto);
            let mut expected = History::starting_at(upto);
            all[at + 1..].iter().for_each(|z| expected.append(*z));
            assert_eq!(h, expected, "up to {upto}");
            assert_eq!((h.base(), h.last()), (upto, z(3, 2)));
            h.append(z(3, 3));
            assert_eq!(h.last(), z(3, 3));
        }
        let mut h = History::starting_at(z(1, 2));
        h.append(z(1, 3));
        h.forget(z(1, 2));
        assert_eq!((h.base(), h.last()), (z(1, 2), z(1, 3)));
    }

    #[test]
    fn the_next_zxid_is_one_more_or_the_first_of_a_later_epoch() {
        let h = history(&[z(1, 1)]);
        assert!(h.is_next(z(1, 2)) && h.is_next(z(3, 1)));
        assert!(
            !h.is_next(z(1, 1))
                && !h.is_next(z(1, 3))
                && !h.is_next(z(3, 2))
                && !h.is_next(z(0, 9))
        );
    }
}
