//! Steps in which a list of voters matters: what a set of walks has to show, and what the exhausted configurations show.

use super::action::Action;
use super::cluster::Cluster;
use super::disk::PendingWrite;
use super::link::End;
use super::model::{Zab, at};
use super::node::Node;
use super::parts::index;
use super::txn::{Listed, Txn, listed};
use crate::ids::Zxid;
use crate::leader::Phase;
use crate::learner::FollowingStage;
use crate::packet::Packet;
use crate::peer::Role;

/// Where a server stands while a list is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It leads.
    Leads,
    /// It has a vote before and behind.
    Stays,
    /// It has none yet.
    Joins,
    /// It will have none.
    Leaves,
}

const STANDINGS: usize = 4;

macro_rules! steps {
    ($($name:ident $text:literal)*) => {
        #[derive(Clone, Copy)]
        enum Kind { $($name),* }
        /// What can be seen of a list in a step.
        pub const STEPS: &[&str] = &[$($text),*];
    };
}

steps! {
    Names "a leader names the list that an ensemble begins with"
    JoinerLinked "a server without a vote is led"
    Gives "a list that gives a vote is proposed"
    TakesLearners "a list that takes a follower's vote is proposed"
    TakesLeaders "a list that takes the leader's vote is proposed"
    Second "a further list is proposed"
    HeardStays "PROPOSAL of a list: a voter"
    HeardJoins "PROPOSAL of a list: a joiner"
    HeardLeaves "PROPOSAL of a list: a server that loses its vote"
    HeardInSync "PROPOSAL of a list, while a learner is synchronized"
    DurableLeads "a list is durable: the leader"
    DurableStays "a list is durable: a voter"
    DurableJoins "a list is durable: a joiner"
    DurableLeaves "a list is durable: a server that loses its vote"
    ByAck "an ACK commits a list"
    ByOwn "the leader's own disk commits a list"
    NotEnough "an ACK of a list that does not commit it"
    ByWord "COMMITANDACTIVATE: a voter"
    ByWordJoins "COMMITANDACTIVATE: a joiner"
    ByWordLeaves "COMMITANDACTIVATE: a server that loses its vote"
    CommitOnly "COMMIT of a list, which activates nothing"
    ByUpToDate "UPTODATE activates a list"
    ByRecovery "a new leader activates a list of its history"
    Retires "a leader without a vote looks for another"
    RetiresLate "the same, of a leader that has found the list in its history"
    ActivationDurableLeads "an activation is durable: the leader"
    ActivationDurable "an activation is durable: a learner"
    LostLeads "crash, a list not on the disk: the leader"
    LostStays "crash, a list not on the disk: a voter"
    LostJoins "crash, a list not on the disk: a joiner"
    LostLeaves "crash, a list not on the disk: a server that loses its vote"
    LoggedLeads "crash, a list in the log: the leader"
    LoggedStays "crash, a list in the log: a voter"
    LoggedJoins "crash, a list in the log: a joiner"
    LoggedLeaves "crash, a list in the log: a server that loses its vote"
    HalfLeads "crash, an activation not on the disk: the leader"
    HalfLearns "crash, an activation not on the disk: a learner"
    AfterLeads "crash behind an activation: the leader"
    AfterLearns "crash behind an activation: a learner"
    FoundBoth "a start finds two lists"
    FoundNew "a start finds a list that was activated"
    CutMemory "TRUNC takes a list back"
    CutDisk "TRUNC of a list is durable"
    BySnap "SNAP brings a list"
    SnapDurable "SNAP with a list is durable"
    SnapBefore "SNAP, and a newer list behind it"
    ElectedBoth "an election ends under two lists: the leader"
    FollowsBoth "an election ends under two lists: a follower"
    GivesUpBoth "a leader under two lists looks again"
    CutOff "a connection breaks while a list is on its way"
    WriteBehind "a write is proposed behind a list"
    GuestLinked "a server that has lost its vote is led"
}

fn lists(node: &Node) -> Option<(Listed, Option<Listed>)> {
    node.peer.as_ref().map(|peer| listed(peer.ensemble()))
}

/// Where a server stands by the newer list of `lists`.
fn standing(node: &Node, lists: (Listed, Option<Listed>)) -> Standing {
    let bit = |l: Listed| l.members >> node.at & 1 == 1;
    let was = bit(lists.0);
    let is = lists.1.map_or(was, bit);
    let leads = node
        .peer
        .as_ref()
        .is_some_and(|p| matches!(p.role, Role::Leading(_)));
    match (leads, was, is) {
        (true, ..) => Standing::Leads,
        (_, _, false) => Standing::Leaves,
        (_, false, true) => Standing::Joins,
        (_, true, true) => Standing::Stays,
    }
}

const fn is_list(op: &PendingWrite) -> bool {
    matches!(op, PendingWrite::Append(_, Txn::Reconfigure(_)))
}

/// What a step shows of [`STEPS`], as bits. The list that an ensemble begins with counts for what names it alone: else walks would show it
/// everywhere in place of the lists that an operator asks for.
#[must_use]
pub fn list_steps(model: &Zab, before: &Cluster, after: &Cluster, action: Action) -> u64 {
    let mut seen = Seen {
        model,
        before,
        after,
        bits: 0,
    };
    seen.of_action(action);
    for i in 0..model.world.n() {
        seen.of_server(i, action);
    }
    if model.bounds.lists_in_files && after.spent.reconfigs == 0 {
        seen.bits &= 1 << Kind::Names as usize | 1 << Kind::JoinerLinked as usize;
    }
    seen.bits
}

struct Seen<'a> {
    model: &'a Zab,
    before: &'a Cluster,
    after: &'a Cluster,
    bits: u64,
}

impl Seen<'_> {
    fn see(&mut self, kind: Kind) {
        self.bits |= 1 << kind as usize;
    }

    fn see_by(&mut self, of: [Kind; STANDINGS], standing: Standing) {
        self.see(of[standing as usize]);
    }

    fn was(&self, i: usize) -> &Node {
        self.before.node(&self.model.world, i)
    }

    fn is(&self, i: usize) -> &Node {
        self.after.node(&self.model.world, i)
    }

    fn of_action(&mut self, action: Action) {
        match action {
            Action::Reconfigure { server, members } => {
                let Some((active, _)) = lists(self.was(at(server))) else {
                    return;
                };
                let (gone, own) = (active.members & !members, 1 << at(server));
                if members & !active.members != 0 {
                    self.see(Kind::Gives);
                }
                if gone & own != 0 {
                    self.see(Kind::TakesLeaders);
                }
                if gone & !own != 0 {
                    self.see(Kind::TakesLearners);
                }
                if self.before.spent.reconfigs > 0 {
                    self.see(Kind::Second);
                }
            }
            Action::Receive { link, at: end } => self.of_packet(link, end),
            Action::Crash { server, kept } => self.of_crash(at(server), usize::from(kept)),
            Action::Start { server } => match lists(self.is(at(server))) {
                Some((_, Some(_))) => self.see(Kind::FoundBoth),
                Some((active, None)) if active.version > Zxid::ZERO => self.see(Kind::FoundNew),
                _ => {}
            },
            Action::Disconnect { link } => {
                let leader = self.before.wire(&self.model.world, link).map(|w| w.leader);
                let lists = leader.and_then(|i| lists(self.was(i)));
                if lists.is_some_and(|(_, next)| next.is_some()) {
                    self.see(Kind::CutOff);
                }
            }
            Action::Propose { server }
                if lists(self.was(at(server))).is_some_and(|(_, n)| n.is_some()) =>
            {
                self.see(Kind::WriteBehind);
            }
            _ => {}
        }
    }

    fn of_packet(&mut self, link: u64, end: End) {
        let Some(wire) = self.before.wire(&self.model.world, link) else {
            return;
        };
        let i = wire.server(end);
        let Some(frame) = wire.inbox(end).front() else {
            return;
        };
        let (Some(was), Some(is)) = (lists(self.was(i)), lists(self.is(i))) else {
            return;
        };
        let activates = is.0 != was.0;
        match &frame.packet {
            Packet::Proposal { txn, .. } if txn.members() != 0 && is.1.is_some() => {
                use Kind::{HeardJoins, HeardLeaves, HeardStays, Names};
                let here = standing(self.is(i), is);
                self.see_by([Names, HeardStays, HeardJoins, HeardLeaves], here);
                if let Some(Role::Following(f)) = self.was(i).peer.as_ref().map(|p| &p.role)
                    && f.stage < FollowingStage::Broadcast
                {
                    self.see(Kind::HeardInSync);
                }
            }
            Packet::Ack { zxid } if was.1.is_some_and(|next| next.version <= *zxid) => {
                self.see(if activates {
                    Kind::ByAck
                } else {
                    Kind::NotEnough
                });
            }
            Packet::CommitAndActivate { .. } if activates => {
                use Kind::{ByWord, ByWordJoins, ByWordLeaves, Names};
                self.see_by(
                    [Names, ByWord, ByWordJoins, ByWordLeaves],
                    standing(self.was(i), was),
                );
            }
            Packet::Commit { zxid } if was.1.is_some_and(|next| next.version <= *zxid) => {
                self.see(Kind::CommitOnly);
            }
            Packet::UpToDate if activates => self.see(Kind::ByUpToDate),
            Packet::Trunc { .. } if was.1.is_some() && is.1.is_none() && !activates => {
                self.see(Kind::CutMemory);
            }
            Packet::Snap { ensemble, .. } => {
                let (active, next) = listed(ensemble);
                if active.version > Zxid::ZERO || next.is_some() {
                    self.see(Kind::BySnap);
                }
                let behind = wire.inbox(end).iter().skip(1);
                let mut behind =
                    behind.take_while(|f| !matches!(f.packet, Packet::NewLeader { .. }));
                if behind.any(
                    |f| matches!(&f.packet, Packet::Proposal { txn, .. } if txn.members() != 0),
                ) {
                    self.see(Kind::SnapBefore);
                }
            }
            _ => {}
        }
    }

    /// The power fails at a server that knows of a list.
    fn of_crash(&mut self, i: usize, kept: usize) {
        let node = self.was(i);
        let Some((active, next)) = lists(node) else {
            return;
        };
        let here = standing(node, (active, next));
        let leads = here == Standing::Leads;
        let left = self.is(i).disk.image.clone();
        if let Some(next) = next {
            use Kind::{LoggedJoins, LoggedLeads, LoggedLeaves, LoggedStays};
            use Kind::{LostJoins, LostLeads, LostLeaves, LostStays};
            if left.configs.iter().any(|c| c.version == next.version) {
                let of = [LoggedLeads, LoggedStays, LoggedJoins, LoggedLeaves];
                self.see_by(of, here);
            } else {
                self.see_by([LostLeads, LostStays, LostJoins, LostLeaves], here);
            }
        } else if active.version > left.active.version {
            self.see(if leads {
                Kind::HalfLeads
            } else {
                Kind::HalfLearns
            });
        } else if active.version > Zxid::ZERO && node.disk.queue.len() == kept {
            self.see(if leads {
                Kind::AfterLeads
            } else {
                Kind::AfterLearns
            });
        }
    }

    /// What has become of a server.
    fn of_server(&mut self, i: usize, action: Action) {
        let (Some(was), Some(is)) = (lists(self.was(i)), lists(self.is(i))) else {
            return;
        };
        self.of_disk(i, action, is);
        let role = |node: &Node| node.peer.as_ref().map(|p| p.role.clone());
        let (Some(before), Some(after)) = (role(self.was(i)), role(self.is(i))) else {
            return;
        };
        let activates = is.0 != was.0;
        match (&before, &after) {
            (Role::Leading(l), _) if activates => {
                let late = l.phase < Phase::Broadcast;
                let retires = !matches!(after, Role::Leading(_));
                if late {
                    self.see(Kind::ByRecovery);
                } else if matches!(action, Action::Flush { .. }) {
                    self.see(Kind::ByOwn);
                }
                match (late, retires) {
                    (true, true) => self.see(Kind::RetiresLate),
                    (false, true) => self.see(Kind::Retires),
                    _ => {}
                }
            }
            (Role::Leading(_), Role::Leading(_)) => {
                let is_named = was == (was.0, None) && was.0.version == Zxid::ZERO;
                let by_itself = !matches!(action, Action::Reconfigure { .. });
                if is_named && by_itself && is.1.is_some() {
                    self.see(Kind::Names);
                }
            }
            (Role::Leading(_), _) if was.1.is_some() => self.see(Kind::GivesUpBoth),
            (Role::Looking(_), Role::Leading(_)) if is.1.is_some() => self.see(Kind::ElectedBoth),
            (Role::Looking(_), Role::Following(_)) if is.1.is_some() => {
                self.see(Kind::FollowsBoth);
            }
            _ => {}
        }
        let is_linked = |r: &Role| matches!(r, Role::Following(f) if f.link.is_some());
        if let Role::Following(f) = &after
            && is_linked(&after)
            && !is_linked(&before)
            && let Some((active, next)) = lists(self.is(index(f.vote.leader)))
        {
            let voters = active.members | next.map_or(0, |n| n.members);
            if voters >> i & 1 == 0 {
                let had_one = self.model.bounds.voters() >> i & 1 == 1;
                self.see(if had_one {
                    Kind::GuestLinked
                } else {
                    Kind::JoinerLinked
                });
            }
        }
    }

    /// What has become durable.
    fn of_disk(&mut self, i: usize, action: Action, lists: (Listed, Option<Listed>)) {
        let Action::Flush { server } = action else {
            return;
        };
        if at(server) != i {
            return;
        }
        let node = self.was(i);
        let Some(op) = node.disk.queue.front() else {
            return;
        };
        let here = standing(node, lists);
        match op {
            op if is_list(op) => {
                use Kind::{DurableJoins, DurableLeads, DurableLeaves, DurableStays};
                let of = [DurableLeads, DurableStays, DurableJoins, DurableLeaves];
                self.see_by(of, here);
            }
            PendingWrite::Activate(_) => self.see(if here == Standing::Leads {
                Kind::ActivationDurableLeads
            } else {
                Kind::ActivationDurable
            }),
            PendingWrite::Truncate(z) if node.disk.image.configs.iter().any(|c| c.version > *z) => {
                self.see(Kind::CutDisk);
            }
            PendingWrite::Install(_, active, next)
                if active.version > Zxid::ZERO || next.is_some() =>
            {
                self.see(Kind::SnapDurable);
            }
            _ => {}
        }
    }
}
