//! The explorer's view of a configuration: initial states, what can happen in a state, and what it leads to.

use super::action::Action;
use super::action::{W_CRASH_PENDING, W_LOST_FOUND};
use super::bounds::{Bounds, Grain, Left, Start};
use super::cluster::{Cluster, Log, World};
use super::disk::{Disk, DiskImage, PendingWrite};
use super::explore::wedge::Obligation;
use super::link::{End, Wire};
use super::node::Stimulus;
use super::parts::sid;
use super::properties;
use super::txn::{Listed, Txn};
use crate::ids::{Epoch, Zxid};
use crate::invariants::InvariantSet;
use crate::leader::Phase;
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::sync::atomic::{AtomicU64, Ordering};
use stateright::{Model, Property};
use std::sync::{Mutex, MutexGuard};

/// A configuration, ready to be explored.
#[derive(Debug)]
pub struct Zab {
    /// The configuration.
    pub bounds: &'static Bounds,
    /// Its surroundings.
    pub world: World,
    /// How often each of [`super::action::WITNESSES`] has occurred.
    pub witnessed: Vec<AtomicU64>,
    /// What the threads of stateright's search remember, a thread each.
    memos: [Mutex<Log>; THREADS_MAX],
}

/// The most threads that keep memories apart.
const THREADS_MAX: usize = 16;

/// A cluster for stateright: hashed and compared by what it counts as.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The cluster.
    pub cluster: Cluster,
    /// What it counts as.
    pub fingerprint: u128,
    /// The invariants that it breaks.
    pub broken: InvariantSet,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.fingerprint);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for State {}

impl properties::Judged for State {
    fn broken(&self) -> InvariantSet {
        self.broken
    }
}

pub(super) fn id(i: usize) -> u8 {
    u8::try_from(i + 1).unwrap_or(u8::MAX)
}

pub(super) fn at(server: u8) -> usize {
    usize::from(server) - 1
}

pub(super) fn members(bits: u8) -> impl Iterator<Item = usize> + Clone {
    (0..8).filter(move |i| bits >> i & 1 == 1)
}

impl Zab {
    /// The model of a configuration.
    #[must_use]
    pub fn new(bounds: &'static Bounds) -> Self {
        let counters = super::action::WITNESSES.iter().map(|_| AtomicU64::new(0));
        Self {
            bounds,
            world: World::new(*bounds),
            witnessed: counters.collect(),
            memos: core::array::from_fn(|_| Mutex::new(Log::default())),
        }
    }

    /// Some cluster of this world, to unpack others into.
    pub(super) fn blank(&self) -> Cluster {
        Cluster::down(&self.world, self.empty_disks())
    }

    fn empty_disks(&self) -> Vec<Disk> {
        let b = self.bounds;
        let joiners = usize::from(b.servers)..usize::from(b.servers + b.joiners);
        let own_line = |i: usize| b.lists_in_files && joiners.contains(&i);
        let list = |i: usize| b.voters() | if own_line(i) { 1 << i } else { 0 };
        let disk = |i: usize| Disk::quiet(DiskImage::empty(list(i)));
        (0..self.world.n()).map(disk).collect()
    }

    fn state(&self, cluster: Cluster, log: &mut Log) -> State {
        let mut words = Vec::with_capacity(24);
        cluster.pack(self.bounds.grain == Grain::E2, &mut words);
        State {
            fingerprint: cluster.identity(&self.world, &words).fingerprint,
            broken: properties::broken(&cluster, &self.world, log),
            cluster,
        }
    }

    /// Counts what a step has shown.
    fn witness(&self, mut bits: u64) {
        while bits != 0 {
            let w = bits.trailing_zeros() as usize;
            self.witnessed[w].fetch_add(1, Ordering::Relaxed);
            bits &= bits - 1;
        }
    }

    /// A step's surroundings for this thread.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        loop {
            // As many as there are threads are in use at once, and mostly the same ones.
            for memo in &self.memos {
                if let Ok(log) = memo.try_lock() {
                    return log;
                }
            }
        }
    }

    /// The initial clusters.
    #[must_use]
    pub fn initial(&self) -> Vec<Cluster> {
        match self.bounds.start {
            Start::Cold => vec![self.booted(self.empty_disks())],
            Start::Warm => vec![self.warm()],
            Start::Left(left) => vec![self.left(left)],
            Start::AnyOf(left) => left.iter().map(|left| self.left(left)).collect(),
            Start::Uneven => uneven_disks(self.world.n())
                .into_iter()
                .map(|disks| self.booted(disks))
                .collect(),
        }
    }

    fn booted(&self, disks: Vec<Disk>) -> Cluster {
        let mut cluster = Cluster::down(&self.world, disks);
        for i in 0..self.world.n() {
            cluster.start(&self.world, i, &mut Log::default());
        }
        cluster
    }

    /// The last voter leads epoch 1, everyone has applied e1c1, e1c2 is proposed, where the budget has it, and nothing of it has arrived. All
    /// votes of the election have been heard.
    fn warm(&self) -> Cluster {
        let (world, log) = (&self.world, &mut Log::default());
        let mut cluster = self.booted(self.empty_disks());
        let leader = usize::from(self.bounds.servers) - 1;
        self.elect_best(&mut cluster, self.bounds.voters(), log);
        self.drain(&mut cluster, log);
        for other in leader + 1..world.n() {
            cluster.elect(world, other, leader, log);
            cluster.connect(world, other, log);
            self.drain(&mut cluster, log);
        }
        cluster.hush(world, log);
        cluster.propose(world, leader, log);
        self.drain(&mut cluster, log);
        if self.bounds.txns > 1 {
            cluster.propose(world, leader, log);
        }
        cluster
    }

    /// Everyone looks, with what a lost leader has left behind.
    fn left(&self, left: &Left) -> Cluster {
        let zxids = |list: &[(u32, u32)]| -> Vec<Zxid> {
            list.iter().map(|(e, c)| Zxid::new(Epoch(*e), *c)).collect()
        };
        let listed = |(version, members): &((u32, u32), u8)| Listed {
            version: Zxid::new(Epoch(version.0), version.1),
            members: *members,
        };
        let disk = |d: &super::bounds::LeftDisk| {
            let known = d.lists[..d.activated].last().map(listed);
            Disk::quiet(DiskImage {
                accepted: Epoch(d.accepted),
                current: Epoch(d.current),
                snapshot: zxids(d.snapshot),
                log: zxids(d.log),
                active: known.unwrap_or(Listed::first(self.bounds.voters())),
                configs: d.lists.iter().map(listed).collect(),
                ..DiskImage::empty(self.bounds.voters())
            })
        };
        let mut cluster = self.booted(left.disks.iter().map(disk).collect());
        let lists = left.disks.iter().flat_map(|d| d.lists);
        let lists: BTreeSet<_> = lists.map(|(version, _)| version).collect();
        cluster.begin(&self.world, zxids(left.committed), lists.len());
        cluster
    }

    /// Delivers and writes everything that is under way.
    fn drain(&self, cluster: &mut Cluster, log: &mut Log) {
        loop {
            for i in 0..self.world.n() {
                cluster.flush_all(&self.world, i, log);
            }
            let Some((link, end)) = self.next_frame(cluster, |_| true) else {
                return;
            };
            cluster.receive(&self.world, link, end, log);
        }
    }

    /// The first end of a connection at which a frame waits.
    pub(super) fn next_frame(
        &self,
        c: &Cluster,
        wanted: impl Fn(&Wire) -> bool,
    ) -> Option<(u64, End)> {
        c.wires(&self.world).filter(|w| wanted(w)).find_map(|w| {
            let ends = [End::Leader, End::Learner];
            let end = ends.into_iter().find(|e| !w.inbox(*e).is_empty())?;
            Some((w.id, end))
        })
    }

    /// A server has ended. It is back in the same step, if the configuration says so and it owes nothing.
    fn end(&self, c: &mut Cluster, server: u8, how: &Stimulus, log: &mut Log) {
        let i = at(server);
        c.spent.crashes += 1;
        c.end(&self.world, i, how, log);
        let owes = c.node(&self.world, i).disk.owes(self.world.switches());
        if self.bounds.instant_restart && !owes {
            c.start(&self.world, i, log);
        }
    }

    /// What "no wedge" asks of a cluster.
    #[must_use]
    pub fn obligation(&self, c: &Cluster) -> Obligation {
        let (b, n) = (self.bounds, c.n());
        if (0..n).any(|leader| self.serves_with_all(c, leader)) {
            return Obligation::Serves;
        }
        // The oracle of E0 can waste an epoch on a leader that nobody would elect.
        // A leader that completes a reconfiguration without a vote for itself hands over to one of a further epoch.
        let needed = if b.grain == Grain::E0 { 2 } else { 1 } + u32::from(b.may_unseat_a_voter());
        let epochs_left = (0..n).all(|i| self.accepted(c, i).0 + needed <= u32::from(b.epochs));
        // So do rounds: that hand-over is one more election.
        let rounds_left = |p: &Peer| {
            let rounds = p.round.0 + u64::from(b.may_unseat_a_voter());
            b.grain != Grain::E2 || rounds < u64::from(b.rounds)
        };
        let mut peers = c.nodes(&self.world).filter_map(|n| n.peer.as_ref());
        if epochs_left && peers.all(rounds_left) {
            Obligation::Recovers
        } else {
            Obligation::Exempt
        }
    }

    /// Whether this server leads, and all others serve and are connected to it.
    fn serves_with_all(&self, c: &Cluster, leader: usize) -> bool {
        let Some(Role::Leading(l)) = c.role(&self.world, leader) else {
            return false;
        };
        let serves = |w: &&Wire| match c.role(&self.world, w.learner) {
            Some(Role::Following(f)) => {
                w.is_live()
                    && f.stage == crate::learner::FollowingStage::Broadcast
                    && f.link.is_some_and(|l| l.0 == w.id)
            }
            _ => false,
        };
        let wires = c.wires(&self.world).filter(|w| w.leader == leader);
        l.phase == Phase::Broadcast && wires.filter(serves).count() + 1 == c.n()
    }

    /// Carries out an action that is enabled.
    pub fn apply(&self, c: &mut Cluster, action: Action, log: &mut Log) {
        let world = &self.world;
        log.witnessed |= 1 << action.witness();
        match action {
            Action::Lead { server } => c.elect(world, at(server), at(server), log),
            Action::Follow { server, leader } => {
                c.elect(world, at(server), at(leader), log);
                if self.bounds.grain == Grain::E1 {
                    c.connect(world, at(server), log);
                    self.discover(c, at(leader), log);
                }
            }
            Action::ElectBest { servers } => self.elect_best(c, servers, log),
            Action::Notify { from, to } => c.notify(world, at(from), at(to), log),
            Action::Connect { server } => c.connect(world, at(server), log),
            Action::GiveUp { server } => {
                c.step(world, at(server), &Stimulus::Unreachable, log);
            }
            Action::Settle { leader, followers } => {
                // Whoever has accepted most speaks first, so that the epoch fits all.
                let mut order: Vec<usize> = members(followers).collect();
                order.sort_by_key(|f| core::cmp::Reverse(self.accepted(c, *f)));
                order.into_iter().for_each(|f| c.connect(world, f, log));
                self.drain_links_of(c, at(leader), log);
            }
            Action::Receive { link, at } => c.receive(world, link, at, log),
            Action::HearClose { link, at } => c.hear_close(world, link, at, log),
            Action::Flush { server } => c.flush(world, at(server), log),
            Action::Fire { server, timer } => {
                c.step(world, at(server), &Stimulus::Fired(timer.into()), log);
            }
            Action::Snapshot { server } => {
                c.spent.snapshots += 1;
                c.step(world, at(server), &Stimulus::Snapshot, log);
            }
            Action::Propose { server } => c.propose(world, at(server), log),
            Action::Reconfigure { server, members } => {
                c.reconfigure(world, at(server), members, log);
            }
            Action::Crash { server, kept } => {
                let node = c.node(world, at(server));
                if node.disk.unsynced() > usize::from(kept) {
                    log.witnessed |= match node.peer {
                        Some(_) => 1 << W_CRASH_PENDING,
                        None => 1 << W_LOST_FOUND,
                    };
                }
                self.end(c, server, &Stimulus::Crash(kept), log);
            }
            Action::Die { server, kept } => self.end(c, server, &Stimulus::Die(kept), log),
            Action::FailSync { server, kept } => {
                self.end(c, server, &Stimulus::FailSync(kept), log);
            }
            Action::Start { server } | Action::SyncFound { server } => {
                c.start(world, at(server), log);
            }
            Action::FailWrite { server } => {
                c.spent.crashes += 1;
                c.fail_write(world, at(server), log);
            }
            Action::Disconnect { link } => {
                c.spent.disconnects += 1;
                c.cut(world, link, log);
            }
            Action::Overtake { link } => c.overtake(world, link, log),
            Action::EarlyPing { link } => c.ping_early(world, link, log),
            Action::SnapLater { link } => c.snap_later(world, link, log),
        }
    }

    /// E1: the best of these leads, the others follow, and discovery runs to its end.
    fn elect_best(&self, c: &mut Cluster, servers: u8, log: &mut Log) {
        let own_vote = |i: &usize| match c.role(&self.world, *i) {
            Some(Role::Looking(l)) => Some(l.own),
            _ => None,
        };
        let may_lead = |i: &usize| self.may_lead(c, *i);
        let Some(leader) = members(servers).filter(may_lead).max_by_key(own_vote) else {
            return;
        };
        let mut order: Vec<usize> = members(servers).filter(|i| *i != leader).collect();
        order.sort_by_key(|f| core::cmp::Reverse(self.accepted(c, *f)));
        order
            .iter()
            .for_each(|f| c.elect(&self.world, *f, leader, log));
        c.elect(&self.world, leader, leader, log);
        order.iter().for_each(|f| c.connect(&self.world, *f, log));
        self.discover(c, leader, log);
    }

    /// Carries discovery between a leader and its learners to the ACKEPOCHs; what follows is left on the way.
    fn discover(&self, c: &mut Cluster, leader: usize, log: &mut Log) {
        let is_discovery = |p: &Packet<Txn>| {
            matches!(
                p,
                Packet::FollowerInfo { .. }
                    | Packet::ObserverInfo { .. }
                    | Packet::LeaderInfo { .. }
                    | Packet::AckEpoch { .. }
            )
        };
        let mut progress = true;
        while progress {
            progress = false;
            let of_leader = |w: &&Wire| w.leader == leader;
            let links: Vec<u64> = c
                .wires(&self.world)
                .filter(of_leader)
                .map(|w| w.id)
                .collect();
            for end in [End::Leader, End::Learner] {
                for link in &links {
                    let next = c.wire(&self.world, *link).and_then(|w| {
                        let frame = w.inbox(end).front()?;
                        is_discovery(&frame.packet).then(|| w.server(end))
                    });
                    let Some(receiver) = next else { continue };
                    progress = true;
                    c.receive(&self.world, *link, end, log);
                    // Acceptance of the epoch becomes durable in the same step; nothing else is pending then.
                    let accepting = |c: &Cluster| {
                        let pending = c.node(&self.world, receiver).disk.queue.front();
                        matches!(pending, Some(PendingWrite::AcceptedEpoch(_)))
                    };
                    while accepting(c) {
                        c.flush(&self.world, receiver, log);
                    }
                }
            }
        }
    }

    /// Delivers and writes everything between a leader and its learners.
    fn drain_links_of(&self, c: &mut Cluster, leader: usize, log: &mut Log) {
        while let Some((link, end)) = self.next_frame(c, |w| w.leader == leader) {
            c.receive(&self.world, link, end, log);
        }
    }

    /// Whether a server has a vote in its own eyes.
    pub(super) fn may_lead(&self, c: &Cluster, i: usize) -> bool {
        let peer = c.node(&self.world, i).peer.as_ref();
        peer.is_some_and(|p| p.ensemble().may_lead(sid(i)))
    }

    /// Whether these are voters that suffice, in the eyes of the one whom they would elect. Others follow later.
    pub(super) fn would_elect(&self, c: &Cluster, servers: u8) -> bool {
        let best = |i: usize| {
            let peer = c.node(&self.world, i).peer.as_ref()?;
            match &peer.role {
                Role::Looking(l) if self.may_lead(c, i) => Some((l.own, peer)),
                _ => None,
            }
        };
        let best = members(servers).filter_map(best);
        best.max_by_key(|(own, _)| *own).is_some_and(|(_, peer)| {
            let voters = members(servers).map(sid);
            let switches = self.world.envs[0].switches;
            voters.clone().all(|id| peer.ensemble().has_vote(id))
                && peer.ensemble().decides(voters, switches)
        })
    }

    /// The acceptedEpoch that a server goes by.
    pub(super) fn accepted(&self, c: &Cluster, i: usize) -> Epoch {
        let node = c.node(&self.world, i);
        let running = node.peer.as_ref().map(|p| p.storage.asked.accepted);
        running.unwrap_or_else(|| node.disk.visible().accepted)
    }

    /// Whether a PING or its answer is on the way at a leader's links.
    pub(super) fn pinging(&self, c: &Cluster, leader: usize) -> bool {
        let mut wires = c.wires(&self.world).filter(|w| w.leader == leader);
        wires.any(|w| {
            let mut frames = w.inbox(End::Leader).iter().chain(w.inbox(End::Learner));
            frames.any(|f| matches!(f.packet, Packet::Ping { .. }))
        })
    }

    /// Whether a leader waits although nothing more will come: no packet, no write is on the way.
    pub(super) fn is_stuck(&self, c: &Cluster, leader: usize) -> bool {
        let quiet = |i: usize| c.node(&self.world, i).disk.queue.is_empty();
        let mut wires = c.wires(&self.world).filter(|w| w.leader == leader);
        quiet(leader)
            && wires.all(|w| {
                w.inbox(End::Leader).is_empty()
                    && (!w.is_open(End::Learner)
                        || w.inbox(End::Learner).is_empty() && quiet(w.learner))
            })
    }
}

/// Histories that lost leaders can leave behind: who has what of two epochs. One assignment of each kind, that keeps a
/// quorum of whatever was committed; the others differ from it in the servers' names, which decide between equal votes.
fn uneven_disks(n: usize) -> Vec<Vec<Disk>> {
    let z = |e: u32, c: u32| Zxid::new(Epoch(e), c);
    let disk = |accepted: u32, current: u32, log: &[Zxid]| {
        Disk::quiet(DiskImage {
            accepted: Epoch(accepted),
            current: Epoch(current),
            log: log.to_vec(),
            ..DiskImage::empty((1 << n) - 1)
        })
    };
    let kinds = [
        // All alike; one ahead by an uncommitted transaction; one that missed an epoch; one that accepted a lost one.
        [
            disk(1, 1, &[z(1, 1)]),
            disk(1, 1, &[z(1, 1)]),
            disk(1, 1, &[z(1, 1)]),
        ],
        [
            disk(1, 1, &[z(1, 1), z(1, 2)]),
            disk(1, 1, &[z(1, 1)]),
            disk(1, 1, &[z(1, 1)]),
        ],
        [
            disk(1, 1, &[z(1, 1), z(1, 2)]),
            disk(2, 2, &[z(1, 1), z(2, 1)]),
            disk(2, 2, &[z(1, 1), z(2, 1)]),
        ],
        [
            disk(2, 1, &[z(1, 1)]),
            disk(1, 1, &[z(1, 1)]),
            disk(1, 1, &[]),
        ],
    ];
    let assigned = |kind: &[Disk; 3]| (0..n).map(|i| kind[i % 3].clone()).collect();
    kinds.iter().map(assigned).collect()
}

impl Model for Zab {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.initial()
            .into_iter()
            .map(|cluster| self.state(cluster, &mut self.log()))
            .collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(&state.cluster, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut cluster = last.cluster;
        let mut log = self.log();
        log.witnessed = 0;
        self.apply(&mut cluster, action, &mut log);
        self.witness(log.witnessed);
        Some(self.state(cluster, &mut log))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::as_properties()
    }

    fn format_action(&self, action: &Action) -> String {
        format!("{action}")
    }
}
