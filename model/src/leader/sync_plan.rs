//! How a learner is brought to the leader's history: a table from two histories to DIFF, TRUNC or SNAP.

use crate::history::History;
use crate::ids::Zxid;
use crate::switch::{Switch, Switches};

/// What the leader sends before NEWLEADER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum SyncPlan {
    /// DIFF, then everything above `after`.
    Diff {
        /// Where the learner stands.
        after: Zxid,
    },
    /// TRUNC, then everything above `to`, which may be nothing.
    Trunc {
        /// The last position that both share.
        to: Zxid,
    },
    /// SNAP: the whole tree.
    Snap,
}

/// Chooses by where the learner's history ends (`peer`) and what the leader has committed of its own.
///
/// | the learner's end                               | plan        |
/// |-------------------------------------------------|-------------|
/// | nowhere ([`Zxid::NONE`]), or below the leader's base | SNAP   |
/// | in the leader's history, not above `committed`  | DIFF        |
/// | counter 0: a position, not a transaction        | DIFF from the entry before it |
/// | otherwise, the leader's entry before it is of the learner's last epoch | TRUNC to that entry |
/// | otherwise                                       | SNAP        |
///
/// The fourth row is safe because both have that epoch's proposals from one leader in one order; across
/// epochs the learner may never have had the leader's entry (D-3 in SPEC.md compares ZooKeeper's rule).
pub(crate) fn plan_sync(
    history: &History,
    committed: Zxid,
    peer: Zxid,
    switches: Switches,
) -> SyncPlan {
    if peer == Zxid::NONE {
        return SyncPlan::Snap;
    }
    let Some(before) = history.floor(peer.min(committed)) else {
        let log_is_empty = history.last() == history.base();
        if switches.on(Switch::DiffFromHoleyLog) && !log_is_empty
            || switches.on(Switch::NoSnapWhenMinUnknown) && log_is_empty
        {
            return SyncPlan::Diff { after: peer };
        }
        return SyncPlan::Snap;
    };
    if before == peer || peer.counter() == 0 {
        return SyncPlan::Diff { after: before };
    }
    if switches.on(Switch::DiffWithoutMembership) && peer < committed {
        return SyncPlan::Diff { after: before };
    }
    if before.epoch() == peer.epoch() && before.counter() > 0 {
        return SyncPlan::Trunc { to: before };
    }
    SyncPlan::Snap
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec;
    use alloc::vec::Vec;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    #[test]
    fn each_place_of_the_learners_end_meets_its_row() {
        let mut h = History::starting_at(z(1, 2));
        for x in [z(1, 3), z(1, 4), z(3, 1), z(3, 2), z(3, 3)] {
            h.append(x);
        }
        let committed = z(3, 2);
        let cases = vec![
            (z(1, 1), SyncPlan::Snap),
            (Zxid::ZERO, SyncPlan::Snap),
            (Zxid::NONE, SyncPlan::Snap),
            (z(1, 2), SyncPlan::Diff { after: z(1, 2) }),
            (z(1, 3), SyncPlan::Diff { after: z(1, 3) }),
            (z(1, 5), SyncPlan::Trunc { to: z(1, 4) }),
            (z(2, 0), SyncPlan::Diff { after: z(1, 4) }),
            (z(2, 1), SyncPlan::Snap),
            (z(3, 2), SyncPlan::Diff { after: z(3, 2) }),
            (z(3, 3), SyncPlan::Trunc { to: z(3, 2) }),
            (z(3, 9), SyncPlan::Trunc { to: z(3, 2) }),
            (z(4, 0), SyncPlan::Diff { after: z(3, 2) }),
            (z(4, 1), SyncPlan::Snap),
        ];
        let found: Vec<_> = cases
            .iter()
            .map(|(peer, _)| (*peer, plan_sync(&h, committed, *peer, Switches::default())))
            .collect();
        assert_eq!(found, cases);
    }

    #[test]
    fn a_learner_without_history_gets_a_diff_while_the_log_reaches_back_to_the_beginning() {
        let mut h = History::default();
        h.append(z(1, 1));
        let plan = plan_sync(&h, z(1, 1), Zxid::ZERO, Switches::default());
        assert_eq!(plan, SyncPlan::Diff { after: Zxid::ZERO });
    }
}
