//! A server's tree, its history, and the snapshots that it writes meanwhile.
//!
//! What is applied when is decided by the server's own [`Delivery`], which snapshot is begun and which finished one counts by its [`Snapshots`]. The core
//! is a simple one here: it logs, has committed transactions applied, serves or does not, cuts what was not committed, installs another tree;
//! what the disk holds after a start may be more than what is committed. A turn applies one transaction.

use super::serving::{self, Judged, Run, Wrongs};
use super::txn::voters;
use crate::ensemble::Ensemble;
use crate::ids::{Epoch, Zxid};
use crate::service::delivery::{Delivery, Need};
use crate::service::snapshots::{Finished, Generation, Moment, Replay, Snapshots};
use crate::step::{Effect, Link, Mark, Write};
use crate::vote::ServerState;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use stateright::{Model, Property};

/// Transactions there are.
const TXNS: u8 = 4;
const RETRY: u64 = crate::service::snapshots::RETRY_MS;

/// A wrong rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// Clients are served from a tree that is behind.
    ServesBehind,
    /// A learner is sent a tree that is behind.
    SendsBehind,
    /// A snapshot is taken though nobody serves.
    SnapshotWhileLooking,
    /// A snapshot gets its name though the history has been replaced meanwhile.
    OldSnapshotCounts,
    /// What a failed snapshot would have covered is not counted any more.
    FailureForgets,
}

impl serving::Slip for Slip {
    const ALL: &'static [Self] = &[
        Self::ServesBehind,
        Self::SendsBehind,
        Self::SnapshotWhileLooking,
        Self::OldSnapshotCounts,
        Self::FailureForgets,
    ];

    fn expected(self) -> (&'static str, usize) {
        match self {
            Self::ServesBehind => (WHOLE, 2),
            Self::SendsBehind => (WHOLE, 4),
            Self::SnapshotWhileLooking => (COMMITTED, 2),
            Self::OldSnapshotCounts => (LEADS, 5),
            Self::FailureForgets => (COUNTED, 3),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::ServesBehind => {
                "a server begins to serve before it has applied all that is committed"
            }
            Self::SendsBehind => "a learner is sent a tree that lacks what is committed",
            Self::SnapshotWhileLooking => {
                "a server that does not serve takes a snapshot, of what nobody may have committed"
            }
            Self::OldSnapshotCounts => {
                "a snapshot that was begun before the history was replaced gets its name after it"
            }
            Self::FailureForgets => {
                "what a snapshot would have covered is no longer counted when it could not be written"
            }
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::ServesBehind => "ZOOKEEPER-3023",
            Self::SendsBehind | Self::OldSnapshotCounts => "found here",
            Self::SnapshotWhileLooking => "ZOOKEEPER-1549",
            Self::FailureForgets => "a textbook mistake",
        }
    }
}

/// What looks at the tree as a whole finds in it all that the core has had applied.
pub const WHOLE: &str = "the tree is whole where it counts";
/// A snapshot is of committed transactions.
pub const COMMITTED: &str = "snapshots are of committed transactions";
/// From each snapshot that has its name the log leads on to its end.
pub const LEADS: &str = "the log leads on from a snapshot";
/// What a restart would replay is counted.
pub const COUNTED: &str = "what a restart replays is counted";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 4] = [WHOLE, COMMITTED, LEADS, COUNTED];

/// The configuration.
pub const RUN: Run = Run {
    name: "copies",
    about: "one server's tree, history and snapshots, while it serves, looks, is cut, is sent another tree, and starts with more than what is committed",
    golden: (39_967, 181_356),
};

/// A server. Transactions are named by numbers that come once; a place in the history is how many there are up to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    history: Vec<u8>,
    /// How many of them lie in the snapshot under the log.
    base: usize,
    /// How many are committed.
    committed: usize,
    /// How far the core has had it applied.
    delivered: usize,
    tree: Vec<u8>,
    serves: bool,
    /// The tree has to follow a truncation, or another one is being written to the disk.
    held: bool,
    delivery: Delivery,
    snapshots: Snapshots,
    /// The snapshot that is being written.
    job: Option<(Generation, Vec<u8>)>,
    now: u64,
    next: u8,
    wrongs: Wrongs,
}

impl serving::With<Slip> for Copies {
    fn with(slip: Slip) -> Self {
        Self::new(Some(slip))
    }
}

impl Judged for State {
    fn wrongs(&self) -> Wrongs {
        self.wrongs
    }
}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// One more transaction is logged.
    Log,
    /// So many are committed.
    Commit(usize),
    /// The host ends a turn.
    Turn,
    /// Clients are served, and what is logged is committed: a learner's UPTODATE, a leader's quorum.
    Serve,
    /// The role changes.
    Look,
    /// A leader sends its tree to a learner.
    SendSnapshot,
    /// What is behind this place is cut.
    Cut(usize),
    /// A tree is installed, of all that is committed here and one transaction more.
    Install,
    /// The tree has followed the truncation, or the new one is on the disk.
    Released,
    /// The snapshot was written, or not.
    Written(bool),
}

/// The model.
#[derive(Debug)]
pub struct Copies {
    slip: Option<Slip>,
    ensemble: Ensemble,
}

impl Copies {
    /// The configuration, and what is wrong with it.
    #[must_use]
    pub fn new(slip: Option<Slip>) -> Self {
        let ensemble = Ensemble::of(voters(1));
        Self { slip, ensemble }
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    /// What goes with a tree; nobody looks at it here.
    fn ensemble(&self) -> Box<Ensemble> {
        Box::new(self.ensemble.clone())
    }

    /// The host is to carry out an effect.
    fn effect(&self, s: &mut State, effect: &Effect<()>) {
        let skips = match effect {
            Effect::Serve { .. } => self.slips(Slip::ServesBehind),
            Effect::SendSnapshot { .. } => self.slips(Slip::SendsBehind),
            _ => false,
        };
        if let Some(need) = Need::before(effect).filter(|_| !skips) {
            Self::apply(s, need);
        }
        let looks_at_it = matches!(
            effect,
            Effect::Serve { .. } | Effect::SendSnapshot { .. } | Effect::Became(_)
        );
        if looks_at_it && s.tree.len() < s.delivered {
            s.wrongs.add(&PROPERTIES, WHOLE);
        }
    }

    fn apply(s: &mut State, need: Need) {
        let Some(mut share) = s.delivery.begin(need) else {
            return;
        };
        if need == Need::Turn {
            share.most = 1;
        }
        let mut applied = Replay::default();
        while applied.txns < share.most && Zxid(s.tree.len() as u64) < share.upto {
            let Some(txn) = s.history.get(s.tree.len()) else {
                break;
            };
            s.tree.push(*txn);
            applied.add(1);
        }
        let last = Zxid(s.tree.len() as u64);
        s.delivery.end(share, applied.txns, last);
        s.snapshots.count(applied);
    }

    /// A leader sends its tree to a learner, as of all that is delivered.
    fn send_snapshot(&self, s: &mut State) {
        let (link, zxid) = (Link(1), Zxid(s.delivered as u64));
        let ensemble = self.ensemble();
        self.effect(
            s,
            &Effect::SendSnapshot {
                link,
                zxid,
                ensemble,
            },
        );
    }

    /// A tree is installed, of all that is committed here and one transaction more.
    fn install(&self, s: &mut State) {
        let place = s.committed + 1;
        let (zxid, ensemble) = (Zxid(place as u64), self.ensemble());
        let write = Write::Install { zxid, ensemble };
        let mark = Mark(1);
        self.effect(s, &Effect::Persist { mark, write });
        s.snapshots.installed();
        s.history.truncate(s.committed);
        s.history.push(s.next);
        s.next += 1;
        s.tree.clone_from(&s.history);
        (s.base, s.committed, s.delivered, s.held) = (place, place, place, true);
    }

    fn moment(&self, s: &State) -> Moment {
        Moment {
            serves: s.serves || self.slips(Slip::SnapshotWhileLooking),
            is_held: s.held,
            now_ms: s.now,
        }
    }

    fn written(&self, s: &mut State, is_written: bool) {
        let Some((of, tree)) = s.job.take() else {
            return;
        };
        let counted = s.snapshots.behind();
        match s.snapshots.finished(of, is_written, s.now) {
            Finished::Publish => {}
            Finished::Drop if self.slips(Slip::OldSnapshotCounts) => {}
            Finished::TryAgain if self.slips(Slip::FailureForgets) => {
                let due = Replay { txns: 1, bytes: 1 };
                let left = counted.txns - tree.len().min(counted.txns as usize) as u64;
                s.snapshots = Snapshots::new(
                    due,
                    Replay {
                        txns: left,
                        bytes: left,
                    },
                );
                return;
            }
            Finished::Drop | Finished::TryAgain => return,
        }
        if s.history.get(..s.committed.min(tree.len())) != Some(&tree[..]) {
            s.wrongs.add(&PROPERTIES, COMMITTED);
        }
        if tree.len() < s.base {
            s.wrongs.add(&PROPERTIES, LEADS);
        }
        s.base = s.base.max(tree.len());
    }
}

impl Model for Copies {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        // After a start the tree holds all that the log holds; any part of it may be committed.
        let starts = (0..=2).map(|committed| State {
            history: Vec::from([1, 2]),
            base: 0,
            committed,
            delivered: 2,
            tree: Vec::from([1, 2]),
            serves: false,
            held: false,
            delivery: Delivery::default(),
            snapshots: Snapshots::new(Replay { txns: 1, bytes: 9 }, Replay { txns: 2, bytes: 2 }),
            job: None,
            now: 0,
            next: 3,
            wrongs: Wrongs::default(),
        });
        starts.collect()
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if !s.wrongs.is_none() {
            return;
        }
        steps.push(Step::Turn);
        if s.next <= TXNS + 2 {
            steps.extend([Step::Log].into_iter().filter(|_| !s.held));
            steps.extend([Step::Install].into_iter().filter(|_| !s.serves && !s.held));
        }
        if s.serves {
            let open = s.history.len() - s.committed;
            steps.extend((1..=open).map(Step::Commit));
            steps.extend([Step::Look, Step::SendSnapshot]);
        } else if s.held {
            steps.push(Step::Released);
        } else {
            steps.push(Step::Serve);
            steps.extend((s.committed..s.history.len()).map(Step::Cut));
        }
        if s.job.is_some() {
            steps.extend([true, false].map(Step::Written));
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        let zxid = |place: usize| Zxid(place as u64);
        match step {
            Step::Log => {
                s.history.push(s.next);
                s.next += 1;
            }
            Step::Commit(more) => {
                s.committed += more;
                s.delivered = s.committed;
                s.delivery.ask(zxid(s.delivered));
            }
            Step::Turn => {
                Self::apply(&mut s, Need::Turn);
                if s.snapshots.may_begin(self.moment(&s)) {
                    s.job = Some((s.snapshots.begin(), s.tree.clone()));
                }
            }
            Step::Serve => {
                s.committed = s.history.len();
                if s.committed > s.delivered {
                    s.delivered = s.committed;
                    s.delivery.ask(zxid(s.delivered));
                }
                let epoch = Epoch(1);
                self.effect(&mut s, &Effect::Serve { epoch });
                s.serves = true;
            }
            Step::Look => {
                self.effect(&mut s, &Effect::Became(ServerState::Looking));
                s.serves = false;
            }
            Step::SendSnapshot => self.send_snapshot(&mut s),
            Step::Cut(place) => {
                let write = Write::Truncate { zxid: zxid(place) };
                let mark = Mark(1);
                self.effect(&mut s, &Effect::Persist { mark, write });
                s.snapshots.cut();
                s.history.truncate(place);
                s.held = s.tree.len() > place;
                s.delivered = s.delivered.min(place);
            }
            Step::Install => self.install(&mut s),
            Step::Released => {
                s.tree.truncate(s.history.len());
                s.held = false;
            }
            Step::Written(is_written) => {
                self.written(&mut s, is_written);
                if !is_written {
                    s.now = (s.now + RETRY).min(2 * RETRY);
                }
            }
        }
        let newest = s.base;
        if !s.held && s.snapshots.behind().txns < (s.tree.len().saturating_sub(newest)) as u64 {
            s.wrongs.add(&PROPERTIES, COUNTED);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        serving::properties(&PROPERTIES)
    }
}

impl serving::Service for Copies {
    fn text(&self, _: &State, step: Step) -> String {
        match step {
            Step::Log => "a transaction is logged".into(),
            Step::Commit(more) => format!("{more} more are committed"),
            Step::Turn => "a turn ends".into(),
            Step::Serve => "what is logged is committed, and clients are served".into(),
            Step::Look => "the server looks for a leader".into(),
            Step::SendSnapshot => "the tree is sent to a learner".into(),
            Step::Cut(place) => format!("the history is cut behind {place}"),
            Step::Install => "another tree is installed".into(),
            Step::Released => "the tree is that of the history again".into(),
            Step::Written(true) => "the snapshot is written".into(),
            Step::Written(false) => "the snapshot could not be written".into(),
        }
    }
}
