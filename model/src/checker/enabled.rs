//! What can happen in a cluster: the actions that are enabled in a state, within the bounds of its configuration.

use super::action::{Action, FiredTimer};
use super::bounds::Grain;
use super::cluster::Cluster;
use super::disk::PendingWrite;
use super::host;
use super::link::End;
use super::model::{Zab, id, members};
use super::node::Node;
use super::parts::{index, sid};
use super::txn;
use crate::ids::{Epoch, ServerId};
use crate::leader::{Learner, LearnerStage, Phase};
use crate::peer::{Peer, Role};
use alloc::vec::Vec;

impl Zab {
    /// What can happen.
    pub fn enabled(&self, c: &Cluster, out: &mut Vec<Action>) {
        for (i, node) in c.nodes(&self.world).enumerate() {
            match &node.peer {
                None if node.disk.owes(self.world.switches()) => {
                    out.push(Action::SyncFound { server: id(i) });
                }
                None => out.push(Action::Start { server: id(i) }),
                Some(peer) => self.enabled_at(c, node, peer, out),
            }
        }
        self.enabled_elections(c, out);
        self.enabled_on_wires(c, out);
        self.enabled_faults(c, out);
    }

    /// E2 ends at a number of rounds: whatever would begin a further one does not happen.
    pub(super) fn may_look_again(&self, peer: &Peer) -> bool {
        self.bounds.grain != Grain::E2 || peer.round.0 < u64::from(self.bounds.rounds)
    }

    fn enabled_at(&self, c: &Cluster, node: &Node, peer: &Peer, out: &mut Vec<Action>) {
        let (b, i) = (self.bounds, node.at);
        let env = &self.world.envs[i];
        let server = id(i);
        if !node.disk.queue.is_empty() {
            out.push(Action::Flush { server });
        }
        let image = &node.disk.image;
        let newest = image.taken.max(image.snapshot.len());
        // Where the lists stand in files, walks are for servers, which write a snapshot behind all that they were asked before.
        if c.spent.snapshots < b.snapshots
            && (node.disk.queue.is_empty() || !b.lists_in_files)
            && peer.serving().is_some()
            && node.tree.len() > newest
            && node.tree.len() <= image.content_len()
        {
            out.push(Action::Snapshot { server });
        }
        match &peer.role {
            Role::Looking(l) if b.grain == Grain::E2 => {
                let heard_all = c.mail(&self.world, i).iter().all(Vec::is_empty);
                if l.deciding && (heard_all || !b.patient) {
                    let timer = FiredTimer::Finalize;
                    out.push(Action::Fire { server, timer });
                }
                if self.would_say_something_new(c, i, peer) {
                    let timer = FiredTimer::Resend;
                    out.push(Action::Fire { server, timer });
                }
            }
            Role::Looking(_) | Role::Draining { .. } => {}
            Role::Following(f) => {
                let leader = index(f.vote.leader);
                if f.link.is_none() && c.leads(&self.world, leader) {
                    if !b.coarse_sync {
                        out.push(Action::Connect { server });
                    }
                } else if f.link.is_none() && self.may_look_again(peer) {
                    out.push(Action::GiveUp { server });
                }
            }
            Role::Leading(l) => {
                let live = c
                    .wires(&self.world)
                    .filter(|w| w.leader == i && w.is_live());
                let has_links = peer
                    .ensemble()
                    .decides(live.map(|w| sid(w.learner)).chain([sid(i)]), env.switches);
                if l.phase == Phase::Broadcast {
                    if c.spent.txns < b.txns {
                        out.push(Action::Propose { server });
                    }
                    self.enabled_reconfigurations(c, i, peer, out);
                    let active = |l: &&Learner| l.stage == LearnerStage::Active;
                    let active = l.learners.iter().filter(active).map(|l| l.sid);
                    let stepping_down = !peer
                        .ensemble()
                        .decides(active.chain([sid(i)]), env.switches);
                    if stepping_down && self.may_look_again(peer)
                        || b.pings && !stepping_down && !self.pinging(c, i)
                    {
                        let timer = FiredTimer::Tick;
                        out.push(Action::Fire { server, timer });
                    }
                } else if self.may_look_again(peer) && (!has_links || self.is_stuck(c, i)) {
                    // While packets of a quorum are on the way, only a fault can make the leader wait too long.
                    let timer = FiredTimer::Init;
                    out.push(Action::Fire { server, timer });
                }
            }
        }
    }

    /// The reconfigurations that the leader would not refuse, or that a switch lets it propose.
    fn enabled_reconfigurations(&self, c: &Cluster, i: usize, peer: &Peer, out: &mut Vec<Action>) {
        if c.spent.reconfigs >= self.bounds.reconfigs {
            return;
        }
        let server = id(i);
        let env = &self.world.envs[i];
        for members in self.bounds.targets.iter().copied() {
            let voters = txn::voters(members);
            let differs = peer.ensemble().active().voters != voters;
            if differs && peer.may_reconfigure(env, &voters).is_ok() {
                out.push(Action::Reconfigure { server, members });
            }
        }
    }

    /// Silence: no vote is on the way to anybody, and saying this one again would tell somebody something. The
    /// timer is far longer than a message takes, so it runs out only when messages were lost.
    fn would_say_something_new(&self, c: &Cluster, i: usize, peer: &Peer) -> bool {
        let Role::Looking(l) = &peer.role else {
            return false;
        };
        let vote = l.notification(peer.round);
        let news = |j: usize| match c.role(&self.world, j) {
            // A ballot for what the other one has outgrown is dead, and not part of its canonical bytes.
            Some(Role::Looking(other)) => other
                .received
                .get(&ServerId(i as u64 + 1))
                .is_none_or(|b| b.vote != vote.vote || b.vote != other.proposal),
            Some(_) => true,
            None => false,
        };
        let n = self.world.n();
        let silent = |to: usize| c.mail(&self.world, to).iter().all(Vec::is_empty);
        // Nobody tells anything of its own accord to whom its lists give no vote.
        let voters = peer.ensemble().iter().map(index);
        let mut hearers = voters.filter(|j| *j != i);
        (0..n).all(silent) && hearers.any(news)
    }

    fn enabled_elections(&self, c: &Cluster, out: &mut Vec<Action>) {
        let b = self.bounds;
        let role = |i: usize| c.role(&self.world, i);
        let looking = |i: &usize| matches!(role(*i), Some(Role::Looking(_)));
        let all = 0..c.n();
        let leads = |l: &usize| matches!(role(*l), Some(Role::Leading(x)) if b.grain == Grain::E0 || x.phase >= Phase::AwaitEpochAcks);
        match b.grain {
            Grain::E0 | Grain::E1 => {
                for i in all.clone().filter(looking) {
                    let server = id(i);
                    if b.grain == Grain::E0
                        && self.may_lead(c, i)
                        && self.accepted(c, i) < Epoch(u32::from(b.epochs))
                    {
                        out.push(Action::Lead { server });
                    }
                    for l in all.clone().filter(leads) {
                        let leader = id(l);
                        out.push(Action::Follow { server, leader });
                    }
                }
                if b.grain == Grain::E1 {
                    let voters = all.filter(|i| !self.world.envs[*i].observer);
                    let electable = voters.filter(looking).fold(0_u8, |bits, i| bits | 1 << i);
                    for servers in 1..=electable {
                        let subset = servers & !electable == 0;
                        let quorum = subset && self.would_elect(c, servers);
                        let epoch_left = members(servers)
                            .all(|i| self.accepted(c, i) < Epoch(u32::from(b.epochs)));
                        if subset && quorum && epoch_left {
                            out.push(Action::ElectBest { servers });
                        }
                    }
                }
            }
            Grain::E2 => {
                let n = self.world.n();
                for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))) {
                    if !c.mail(&self.world, to)[from].is_empty() {
                        let (from, to) = (id(from), id(to));
                        out.push(Action::Notify { from, to });
                    }
                }
                if b.coarse_sync {
                    self.enabled_settling(c, out);
                }
            }
        }
    }

    fn enabled_settling(&self, c: &Cluster, out: &mut Vec<Action>) {
        for l in 0..c.n() {
            let Some(peer) = c.node(&self.world, l).peer.as_ref() else {
                continue;
            };
            let Role::Leading(leading) = &peer.role else {
                continue;
            };
            let switches = self.world.envs[l].switches;
            let ready = (0..c.n()).filter(|f| c.dialled(&self.world, *f) == Some(l));
            let ready = ready.fold(0_u8, |bits, f| bits | 1 << f);
            for followers in 1..=ready {
                let formed = leading.phase == Phase::Broadcast && followers.count_ones() == 1
                    || leading.phase < Phase::Broadcast
                        && peer
                            .ensemble()
                            .decides(members(followers).chain([l]).map(sid), switches);
                if followers & !ready == 0 && formed {
                    let leader = id(l);
                    out.push(Action::Settle { leader, followers });
                }
            }
        }
    }

    fn enabled_on_wires(&self, c: &Cluster, out: &mut Vec<Action>) {
        for w in c.wires(&self.world) {
            for end in [End::Leader, End::Learner] {
                let link = w.id;
                if !w.inbox(end).is_empty() {
                    out.push(Action::Receive { link, at: end });
                }
                if end == End::Learner && self.bounds.zookeeper_leader {
                    if w.may_overtake() {
                        out.push(Action::Overtake { link });
                    }
                    if c.may_ping_early(&self.world, w) {
                        out.push(Action::EarlyPing { link });
                    }
                    if c.later_snap(&self.world, w).is_some() {
                        out.push(Action::SnapLater { link });
                    }
                }
                let hearer = &c.node(&self.world, w.server(end)).peer;
                let may =
                    end == End::Leader || hearer.as_ref().is_some_and(|p| self.may_look_again(p));
                if may && w.can_hear_close(end) {
                    out.push(Action::HearClose { link, at: end });
                }
            }
        }
    }

    fn enabled_faults(&self, c: &Cluster, out: &mut Vec<Action>) {
        let b = self.bounds;
        if c.spent.crashes + c.spent.disconnects >= b.faults {
            return;
        }
        if c.spent.crashes < b.crashes {
            for node in c.nodes(&self.world) {
                let Some(peer) = &node.peer else {
                    self.enabled_while_starting(node, out);
                    continue;
                };
                // A server that looks, with a quiet disk and nothing unapplied, loses nothing but its round.
                let idle = matches!(peer.role, Role::Looking(_))
                    && node.tree.len() == node.disk.image.content_len();
                if b.grain != Grain::E2 && idle {
                    continue;
                }
                if host::may_fail(self.world.switches(), node) {
                    let server = id(node.at);
                    out.push(Action::FailWrite { server });
                }
                for kept in 0..=host::kept_at_most(self.world.switches(), node) {
                    let kept = u8::try_from(kept).unwrap_or(u8::MAX);
                    let server = id(node.at);
                    out.push(Action::Crash { server, kept });
                }
                self.enabled_deaths(node, out);
            }
        }
        if c.spent.disconnects < b.disconnects {
            let live = c.wires(&self.world).filter(|w| w.is_live());
            out.extend(live.map(|w| Action::Disconnect { link: w.id }));
        }
    }

    /// The process dies, by itself or because a sync has failed. Without a single write that is a loss of power.
    fn enabled_deaths(&self, node: &Node, out: &mut Vec<Action>) {
        if !self.bounds.page_cache {
            return;
        }
        let server = id(node.at);
        for (kept, op) in (1..).zip(&node.disk.queue) {
            out.push(Action::Die { server, kept });
            if matches!(op, PendingWrite::Append(..)) {
                out.push(Action::FailSync { server, kept });
            }
        }
    }

    /// What may go wrong before a start has made durable what it found. A loss of power that takes nothing is no loss.
    fn enabled_while_starting(&self, node: &Node, out: &mut Vec<Action>) {
        let server = id(node.at);
        for kept in (0..).take(node.disk.cache.ops.len()) {
            out.push(Action::Crash { server, kept });
        }
        if node.disk.cache.may_become_clean() {
            out.push(Action::FailSync { server, kept: 0 });
        }
    }
}
