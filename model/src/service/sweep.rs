//! When empty containers and expired nodes are deleted: in pieces, at a pace, as ZooKeeper's container manager does it.
//!
//! The leader looks through all containers and all nodes with a time to live once an interval. A look through a million of them in
//! one go would hold everybody up, and so would their deletion; so each turn looks at a bounded number, and deletes no more than its
//! share of what a minute allows.

use crate::tree::node::{NodeRef, SweepPlace, Tree};
use crate::tree::stat::Owner;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Nodes that one turn looks at.
pub const LOOKED_AT_A_TURN: usize = 4096;
/// Between two turns that delete something, ms, where the minute allows so many turns.
const TURN_MS: u64 = 100;
const MINUTE_MS: u64 = 60_000;

/// How often, how fast, and what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SweepRules {
    /// `znode.container.checkIntervalMs`: between the beginnings of two looks.
    pub check_interval_ms: u64,
    /// `znode.container.maxPerMinute`: deletions, at least 1.
    pub per_minute_max: u64,
    /// `znode.container.maxNeverUsedIntervalMs`: a container that never had a child is deleted when it is older; 0 is never.
    pub never_used_ms: u64,
}

impl Default for SweepRules {
    fn default() -> Self {
        Self {
            check_interval_ms: MINUTE_MS,
            per_minute_max: 10_000,
            never_used_ms: 0,
        }
    }
}

/// The leader's look through containers and nodes with a time to live.
pub struct Sweep {
    rules: SweepRules,
    /// Where the look under way goes on; `None` between two looks.
    at: Option<SweepPlace>,
    began_ms: u64,
    next_ms: u64,
}

impl Sweep {
    /// The first look is an interval away.
    #[must_use]
    pub const fn new(rules: SweepRules, now_ms: u64) -> Self {
        Self {
            rules,
            at: None,
            began_ms: now_ms,
            next_ms: now_ms.saturating_add(rules.check_interval_ms),
        }
    }

    /// When the next turn is due, ms, on the clock that only rises.
    #[must_use]
    pub const fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// One turn: the paths to be deleted now. `now_ms` is of the clock that only rises, `date_ms` of the one that dates transactions.
    pub fn turn(&mut self, tree: &Tree, now_ms: u64, date_ms: i64) -> Vec<Box<str>> {
        if now_ms < self.next_ms {
            return Vec::new();
        }
        let from = self.at.take().unwrap_or_else(|| {
            self.began_ms = now_ms;
            SweepPlace::START
        });
        let per_minute = self.rules.per_minute_max.max(1);
        let share = (per_minute.saturating_mul(TURN_MS) / MINUTE_MS).max(1);
        let mut due: Vec<Box<str>> = Vec::new();
        for (looked_at, (place, node)) in tree.swept(from).enumerate() {
            if due.len() as u64 >= share || looked_at >= LOOKED_AT_A_TURN {
                self.at = Some(place);
                break;
            }
            if self.is_due(node, date_ms) {
                due.push(node.path().into());
            }
        }
        let pace = if due.is_empty() {
            0
        } else {
            TURN_MS.max(MINUTE_MS / per_minute)
        };
        let rest = if self.at.is_some() {
            0
        } else {
            let next = self.began_ms.saturating_add(self.rules.check_interval_ms);
            next.saturating_sub(now_ms)
        };
        self.next_ms = now_ms.saturating_add(pace.max(rest));
        due
    }

    fn is_due(&self, node: NodeRef<'_>, date_ms: i64) -> bool {
        if node.num_children() != 0 {
            return false;
        }
        let stat = node.persisted();
        let age_ms = date_ms.saturating_sub(stat.mtime);
        match Owner::from_raw(stat.ephemeral_owner) {
            // One that never had a child is new: somebody is about to fill it, or never will.
            Owner::Container if stat.cversion > 0 => true,
            Owner::Container => {
                let never_used_ms = i64::try_from(self.rules.never_used_ms).unwrap_or(i64::MAX);
                never_used_ms > 0 && age_ms > never_used_ms
            }
            Owner::Ttl(ttl_ms) => age_ms > ttl_ms,
            Owner::None | Owner::Session(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::tree::txn::{Created, Txn, TxnHeader};
    use alloc::format;

    /// A tree in which `created` was made at these dates.
    fn tree(nodes: &[(&str, Created, i64)]) -> Tree {
        let mut tree = Tree::new();
        for (zxid, (path, created, time)) in (1..).zip(nodes) {
            apply(&mut tree, zxid, *time, create(path, *created));
        }
        tree
    }

    fn create(path: &str, created: Created) -> Txn {
        Txn::Create {
            path: path.into(),
            data: None,
            acl: Vec::new(),
            created,
            parent_cversion: -1,
        }
    }

    fn apply(tree: &mut Tree, zxid: u64, time: i64, txn: Txn) {
        let header = TxnHeader {
            session: SessionId(0),
            cxid: 0,
            zxid: Zxid(zxid),
            time,
        };
        tree.apply(&header, &txn, &mut |_| {});
    }

    fn rules(check_interval_ms: u64, never_used_ms: u64) -> SweepRules {
        SweepRules {
            check_interval_ms,
            never_used_ms,
            ..SweepRules::default()
        }
    }

    fn strs(paths: &[Box<str>]) -> Vec<&str> {
        paths.iter().map(|p| &**p).collect()
    }

    /// C-51: never used, used and emptied, used; a time to live that is over and one that is not.
    #[test]
    fn c_51_containers_and_nodes_with_a_time_to_live_go_as_zookeeper_lets_them_go() {
        let plain = Created::Node {
            ephemeral: false,
            with_stat: false,
        };
        let mut tree = tree(&[
            ("/never", Created::Container, 0),
            ("/emptied", Created::Container, 0),
            ("/used", Created::Container, 0),
            ("/over", Created::Ttl { ttl_ms: 500 }, 0),
            ("/young", Created::Ttl { ttl_ms: 5000 }, 0),
            ("/parent", Created::Ttl { ttl_ms: 500 }, 0),
            ("/emptied/child", plain, 0),
            ("/used/child", plain, 0),
            ("/parent/child", plain, 0),
        ]);
        let gone = Txn::Delete {
            path: "/emptied/child".into(),
            container: false,
        };
        apply(&mut tree, 10, 0, gone);
        for (never_used_ms, date, expected) in [
            (0, 1000, &["/emptied", "/over"][..]),
            (999, 1000, &["/never", "/emptied", "/over"]),
            (1000, 1000, &["/emptied", "/over"]),
            (0, 500, &["/emptied"]),
            (0, 1_000_000, &["/emptied", "/over", "/young"]),
        ] {
            let mut sweep = Sweep::new(rules(1000, never_used_ms), 0);
            assert_eq!(strs(&sweep.turn(&tree, 999, date)), [""; 0]);
            assert_eq!(strs(&sweep.turn(&tree, 1000, date)), expected);
            assert_eq!(sweep.next_ms(), 2000);
        }
    }

    /// C-51: of a node with a time to live counts when it was changed last, not when it was made.
    #[test]
    fn c_51_a_change_of_its_data_keeps_a_node_with_a_time_to_live() {
        let mut tree = tree(&[("/kept", Created::Ttl { ttl_ms: 500 }, 0)]);
        let change = Txn::SetData {
            path: "/kept".into(),
            data: None,
            version: 1,
            reconfig: false,
        };
        apply(&mut tree, 2, 900, change);
        for (date, expected) in [(1400, &[][..]), (1401, &["/kept"])] {
            let mut sweep = Sweep::new(rules(1000, 0), 0);
            assert_eq!(strs(&sweep.turn(&tree, 1000, date)), expected);
        }
    }

    /// C-49: a turn looks at a bounded number of nodes, and the next comes at once; behind the last one an interval passes.
    #[test]
    fn c_49_a_look_at_many_nodes_that_are_not_due_takes_turns() {
        let mut tree = tree(&[]);
        for at in 1..=LOOKED_AT_A_TURN as u64 + 1 {
            let ttl = Created::Ttl { ttl_ms: 5000 };
            apply(&mut tree, at, 0, create(&format!("/{at}"), ttl));
        }
        let mut sweep = Sweep::new(rules(1000, 0), 0);
        for next_ms in [1000, 2000] {
            assert!(sweep.turn(&tree, 1000, 0).is_empty());
            assert_eq!(sweep.next_ms(), next_ms);
        }
    }

    #[test]
    fn a_minute_that_allows_nothing_allows_one() {
        let both = [
            ("/a", Created::Ttl { ttl_ms: 1 }, 0),
            ("/b", Created::Ttl { ttl_ms: 1 }, 0),
        ];
        let none = SweepRules {
            per_minute_max: 0,
            ..SweepRules::default()
        };
        let mut sweep = Sweep::new(none, 0);
        assert_eq!(strs(&sweep.turn(&tree(&both), MINUTE_MS, 1000)), ["/a"]);
        assert_eq!(sweep.next_ms(), 2 * MINUTE_MS);
    }

    /// C-49: many that are due together go at the pace of a minute; a turn looks at a bounded number, and all of them go.
    #[test]
    fn c_49_what_is_due_together_is_deleted_in_turns() {
        let nodes: Vec<_> = (0..20_000).map(|at| format!("/{at}")).collect();
        for (ttl_ms, per_minute_max) in [
            (1, 10_000),
            (1, 600_000),
            (1, 60),
            (i64::from(u32::MAX), 10_000),
        ] {
            let mut tree = tree(&[]);
            for (zxid, path) in (1..).zip(&nodes) {
                apply(&mut tree, zxid, 0, create(path, Created::Ttl { ttl_ms }));
            }
            let rules = SweepRules {
                per_minute_max,
                ..SweepRules::default()
            };
            let mut sweep = Sweep::new(rules, 0);
            let begin = sweep.next_ms();
            let (mut now, mut deleted) = (begin, 0);
            let share = (per_minute_max / 600).max(1) as usize;
            for turn in 0.. {
                let due = sweep.turn(&tree, now, 1000);
                assert!(due.len() <= share, "{}", due.len());
                for path in &due {
                    let txn = Txn::Delete {
                        path: path.clone(),
                        container: true,
                    };
                    apply(&mut tree, 20_001, 1000, txn);
                }
                deleted += due.len();
                now = sweep.next_ms();
                if now >= begin + 120_000 || turn > 3000 {
                    break;
                }
            }
            let minutes = (now - begin).div_ceil(MINUTE_MS) as usize;
            assert!(deleted <= minutes * per_minute_max as usize + share);
            let possible = 20_000.min((minutes - 1) * per_minute_max as usize * 9 / 10);
            assert!(ttl_ms > 1 || deleted >= possible, "{deleted} of {possible}");
            assert!(ttl_ms == 1 || deleted == 0);
        }
    }
}
