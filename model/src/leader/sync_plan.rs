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

/// Where a learner's history ends, as the leader sees it: the rows of the table from which a plan follows.
///
/// | row | the learner's end | plan |
/// |---|---|---|
/// | `no position` | nowhere ([`Zxid::NONE`]): it asks for SNAP | SNAP |
/// | `below the base` | before everything in the leader's log | SNAP |
/// | `below the reach` | so far back that the log files hold more than a part of the snapshot | SNAP |
/// | `in the history` | in the leader's history, not above `committed` | DIFF |
/// | `a bare position` | counter 0: where an epoch begins, no transaction | DIFF from the entry before it |
/// | `its own epoch` | elsewhere; the leader's entry before it is of the same epoch | TRUNC to that entry |
/// | `another epoch` | elsewhere; that entry is of another epoch | SNAP |
///
/// What is below the reach would otherwise be one of the last four rows: SNAP may take the place of each (D-101).
///
/// TRUNC within an epoch is safe because both have its proposals from one leader in one order; across epochs the
/// learner may never have had the leader's entry (D-3 in SPEC.md compares ZooKeeper's rule).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SyncRow {
    NoPosition,
    BelowBase,
    BelowReach,
    InHistory { at: Zxid },
    BarePosition { before: Zxid },
    OwnEpoch { before: Zxid },
    OtherEpoch,
}

impl SyncRow {
    /// The row for a learner whose history ends at `peer`, and a leader that has committed of its own up to there, and is to read no
    /// log for what is below `reach`.
    pub(crate) fn of(history: &History, committed: Zxid, reach: Zxid, peer: Zxid) -> Self {
        if peer == Zxid::NONE {
            return Self::NoPosition;
        }
        let Some(before) = history.floor(peer.min(committed)) else {
            return Self::BelowBase;
        };
        if before < reach {
            Self::BelowReach
        } else if before == peer {
            Self::InHistory { at: peer }
        } else if peer.counter() == 0 {
            Self::BarePosition { before }
        } else if before.epoch() == peer.epoch() && before.counter() > 0 {
            Self::OwnEpoch { before }
        } else {
            Self::OtherEpoch
        }
    }

    /// What this row leads to.
    pub(crate) const fn plan(self) -> SyncPlan {
        match self {
            Self::NoPosition | Self::BelowBase | Self::BelowReach | Self::OtherEpoch => {
                SyncPlan::Snap
            }
            Self::InHistory { at: after } | Self::BarePosition { before: after } => {
                SyncPlan::Diff { after }
            }
            Self::OwnEpoch { before: to } => SyncPlan::Trunc { to },
        }
    }

    /// Its name in the table.
    #[cfg(any(test, feature = "checker"))]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoPosition => "no position",
            Self::BelowBase => "below the base",
            Self::BelowReach => "below the reach",
            Self::InHistory { .. } => "in the history",
            Self::BarePosition { .. } => "a bare position",
            Self::OwnEpoch { .. } => "its own epoch",
            Self::OtherEpoch => "another epoch",
        }
    }
}

/// Chooses by where the learner's history ends (`peer`), what the leader has committed of its own, and how far back its log is to
/// be read (`reach`).
pub(crate) fn plan_sync(
    history: &History,
    committed: Zxid,
    reach: Zxid,
    peer: Zxid,
    switches: Switches,
) -> SyncPlan {
    let row = SyncRow::of(history, committed, reach, peer);
    mistaken(row, history, committed, peer, switches).unwrap_or(row.plan())
}

/// The plan of a known bug, where one is switched on.
fn mistaken(
    row: SyncRow,
    history: &History,
    committed: Zxid,
    peer: Zxid,
    switches: Switches,
) -> Option<SyncPlan> {
    let log_is_empty = history.last() == history.base();
    let hidden_by_hole = switches.on(Switch::DiffFromHoleyLog) && !log_is_empty
        || switches.on(Switch::NoSnapWhenMinUnknown) && log_is_empty;
    let in_range = switches.on(Switch::DiffWithoutMembership) && peer < committed;
    match row {
        SyncRow::BelowBase if hidden_by_hole => Some(SyncPlan::Diff { after: peer }),
        SyncRow::OwnEpoch { .. } | SyncRow::OtherEpoch if in_range => {
            let after = history.floor(peer)?;
            Some(SyncPlan::Diff { after })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::collections::BTreeSet;
    use alloc::vec;
    use alloc::vec::Vec;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn plan(history: &History, committed: Zxid, reach: Zxid, peer: Zxid) -> SyncPlan {
        plan_sync(history, committed, reach, peer, Switches::default())
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
            .map(|(peer, _)| (*peer, plan(&h, committed, Zxid::ZERO, *peer)))
            .collect();
        assert_eq!(found, cases);
        let rows = cases
            .iter()
            .map(|(peer, _)| SyncRow::of(&h, committed, Zxid::ZERO, *peer).name());
        let met: BTreeSet<&str> = rows.collect();
        assert_eq!(met.len(), 6, "{met:?}");
    }

    #[test]
    fn a_learner_without_history_gets_a_diff_while_the_log_reaches_back_to_the_beginning() {
        let mut h = History::default();
        h.append(z(1, 1));
        let found = plan(&h, z(1, 1), Zxid::ZERO, Zxid::ZERO);
        assert_eq!(found, SyncPlan::Diff { after: Zxid::ZERO });
    }

    #[test]
    fn whoever_would_need_what_lies_below_the_reach_gets_a_snapshot() {
        let mut h = History::starting_at(z(1, 2));
        for x in [z(1, 3), z(1, 4), z(3, 1), z(3, 2)] {
            h.append(x);
        }
        for (reach, peer, expected) in [
            (z(1, 4), z(1, 3), SyncPlan::Snap),
            (z(1, 4), z(1, 4), SyncPlan::Diff { after: z(1, 4) }),
            // What is cut is not read, and what comes after the cut is.
            (z(1, 4), z(1, 9), SyncPlan::Trunc { to: z(1, 4) }),
            (z(3, 1), z(1, 9), SyncPlan::Snap),
            (z(3, 1), z(2, 0), SyncPlan::Snap),
            (z(3, 1), z(3, 1), SyncPlan::Diff { after: z(3, 1) }),
            (z(3, 2), z(3, 9), SyncPlan::Trunc { to: z(3, 2) }),
            (Zxid::NONE, z(3, 2), SyncPlan::Snap),
        ] {
            let found = plan(&h, z(3, 2), reach, peer);
            assert_eq!(found, expected, "reach {reach}, learner {peer}");
        }
        // It is the shared position that lies below the reach, not the learner's own end, which is above it.
        assert_eq!(plan(&h, z(3, 1), z(3, 2), z(3, 9)), SyncPlan::Snap);
        let row = SyncRow::of(&h, z(3, 2), z(3, 1), z(1, 3));
        assert_eq!(row.name(), "below the reach");
    }
}
