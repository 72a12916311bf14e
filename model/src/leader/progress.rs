//! How far a disk has come with what was proposed, by the leader's own clock.

use crate::ids::Zxid;
use serde::{Deserialize, Serialize};

/// How far one disk has come with what was proposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DiskProgress {
    /// It has confirmed everything up to here.
    pub(super) done: Zxid,
    /// What was proposed last when the count began: it has to be confirmed before the count ends.
    mark: Zxid,
    /// Half ticks since then.
    ticks: u32,
}

impl DiskProgress {
    /// Only what is proposed after `last` is asked for.
    pub(crate) fn starting_at(last: Zxid) -> Self {
        Self {
            done: last,
            mark: last,
            ticks: 0,
        }
    }

    /// The disk has confirmed `zxid`, and what came before.
    pub(crate) fn confirm(&mut self, zxid: Zxid) {
        self.done = self.done.max(zxid);
    }

    /// Half a tick has passed, `last` was proposed last: whether a proposal has waited for `max` half ticks.
    pub(super) fn is_late(&mut self, last: Zxid, max: u32) -> bool {
        if self.done >= self.mark {
            // All that was there at the last count is done: what has come since is counted from now on.
            self.mark = last;
            self.ticks = 0;
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.ticks >= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn at(counter: u32) -> Zxid {
        Zxid::new(Epoch(1), counter)
    }

    #[test]
    fn c_83_a_proposal_waits_for_so_many_half_ticks_and_no_longer() {
        let mut p = DiskProgress::starting_at(at(3));
        assert!(
            (0..100).all(|_| !p.is_late(at(3), 4)),
            "nothing is asked for"
        );
        assert!(!p.is_late(at(4), 4), "the count begins");
        assert!((0..3).all(|_| !p.is_late(at(9), 4)));
        let mut late = p;
        assert!(late.is_late(at(9), 4));
        p.confirm(at(4));
        assert!(
            (0..4).all(|_| !p.is_late(at(9), 4)),
            "the next ones are counted anew"
        );
        assert!(p.is_late(at(9), 4));
    }

    proptest! {
        /// Whoever confirms each proposal within the limit is never late; whoever stops is, within twice the limit.
        #[test]
        fn c_83_only_a_disk_that_stands_still_is_late(
            max in 1_u32..20,
            steps in prop::collection::vec((0_u32..3, 0_u32..20), 1..200),
        ) {
            let mut p = DiskProgress::starting_at(at(1));
            // Proposed at each half tick, and confirmed so many later.
            let (mut last, mut due) = (1, Vec::new());
            for (now, (proposed, delay)) in (0_u32..).zip(steps) {
                last += proposed;
                due.push((now + delay % max, last));
                let done = due.iter().filter(|(when, _)| *when <= now).map(|(_, n)| *n).max();
                // In order: nothing is confirmed before what was proposed before it.
                let held = due.iter().filter(|(when, _)| *when > now).map(|(_, n)| *n).min();
                if let Some(done) = done.filter(|d| held.is_none_or(|h| *d < h)) {
                    p.confirm(at(done));
                }
                prop_assert!(!p.is_late(at(last), max) || held.is_some());
            }
            p.confirm(at(last));
            prop_assert!(!p.is_late(at(last + 1), max));
            prop_assert!((0..2 * max + 1).any(|_| p.is_late(at(last + 1), max)));
        }
    }
}
