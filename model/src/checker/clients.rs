//! What clients see: two of them write, read, watch and sync through different servers while the ensemble recovers.
//!
//! All clients use one znode, and every transaction changes it: its value is how many transactions a server has applied, so a
//! reply says by itself where in the history it belongs. Who is answered when is decided by the server's own code:
//! [`ReplyOrder`], [`OwnSyncs`] and [`LearnerSyncs`], [`Delivery`], [`Watches`] and [`may_connect`]. A request reaches the leader in the
//! step that sends it, as one that is still on the way is not different from one that was not sent. An answer is heard in the step
//! that gives it: one that is late or lost leaves its client, and whoever asks after it, with fewer claims on what follows. A server's
//! tree may be behind what its core has had applied; where something needs all of it, it is not.

use super::action::Action;
use super::cluster::Cluster;
use super::model::Zab;
use super::serving::{self, Ensemble, Judged, Wrongs};
use super::trace;
use crate::ids::{Epoch, Zxid};
use crate::service::delivery::{Delivery, Need};
use crate::service::order::ReplyOrder;
use crate::service::session::may_connect;
use crate::service::syncs::{LearnerSyncs, OwnSyncs, needs_proposal};
use crate::tree::acl::AclView;
use crate::tree::event::{EventKind, Trigger};
use crate::tree::watch::{WatchMode, WatcherId, Watches};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use stateright::{Model, Property};

mod asked;
pub use asked::{
    ALL, CRASH, DEPOSED, FIFO, Op, PROPERTIES, READS, SERVED, SYNC, SYNCS, Slip, View, WATCH,
    WRITES,
};

/// An answer on the way to a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reply {
    Event,
    /// To which request, the value, and the server's last zxid.
    To(u8, u8, Zxid),
}

/// A request that waits for a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Due {
    op: u8,
    zxid: Zxid,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Client {
    /// Its server.
    at: Option<u8>,
    /// The next request of its script.
    next: u8,
    /// The request whose answer comes next.
    awaits: u8,
    /// The server's queue of its requests.
    order: ReplyOrder<u8, u8>,
    writes: Vec<Due>,
    /// Under [`Slip::WatchAfterReply`]: its event comes at the end of the step.
    late: bool,
    /// The server holds its watch.
    armed: bool,
    inbox: VecDeque<Reply>,
    /// lastZxidSeen.
    seen: Zxid,
    /// The largest value that it was told.
    told: u8,
    /// The value of the read that left the watch.
    watching: Option<u8>,
    /// What anybody had been told when each request was sent; 0 where that does not bind.
    floors: Vec<u8>,
    /// What a read has to show after a sync.
    fresh: u8,
    /// Changes of server by its own will that are left.
    moves: u8,
}

/// The syncs of one client of a server: whose, and which request.
type Sync = (u8, u8);

/// What a server does for clients.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Host {
    /// How much of what its core has had applied is in its tree.
    applied: u8,
    delivery: Delivery,
    syncs: OwnSyncs<Sync>,
    /// Where it leads: the syncs of each server that follows.
    links: [LearnerSyncs; SERVERS],
    /// Where it follows: the leader's answers to syncs on the way to it, each with the transaction whose COMMIT is before it on the link.
    coming: VecDeque<Zxid>,
}

const SERVERS: usize = 3;

/// A cluster with clients.
#[derive(Clone, Debug)]
pub struct State {
    cluster: Cluster,
    hosts: [Host; SERVERS],
    clients: [Client; 2],
    /// The largest value that any client was told.
    told: u8,
    wrongs: Wrongs,
}

impl State {
    fn rest(&self) -> impl Hash + PartialEq + '_ {
        (&self.hosts, &self.clients, self.told, self.wrongs)
    }
}

impl serving::With<Slip> for Clients {
    fn with(slip: Slip) -> Self {
        Self::new(slip.view(), Some(slip))
    }
}

impl Judged for State {
    fn wrongs(&self) -> Wrongs {
        self.wrongs
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        serving::hash(&self.cluster, state);
        self.rest().hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.rest() == other.rest()
    }
}

impl Eq for State {}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// In the ensemble.
    Ensemble(Action),
    /// A client sends its next request.
    Send(u8),
    /// A client is connected to that server, and leaves the one it had.
    Connect(u8, u8),
    /// A server ends a turn: it applies one transaction.
    Turn(u8),
}

/// The model.
#[derive(Debug)]
pub struct Clients {
    ensemble: Ensemble,
    scripts: [&'static [Op]; 2],
    at: [u8; 2],
    moves: [u8; 2],
    turns: bool,
    waits: bool,
    slip: Option<Slip>,
}

impl Clients {
    /// The configuration, and what is wrong with it.
    #[must_use]
    pub fn new(view: &View, slip: Option<Slip>) -> Self {
        Self {
            ensemble: Ensemble {
                zab: Zab::new(view.ensemble),
            },
            scripts: view.scripts,
            at: view.at,
            moves: view.moves,
            turns: view.turns,
            waits: view.waits,
            slip,
        }
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    /// The last transaction of a server's tree.
    fn zxid(&self, s: &State, server: u8) -> Zxid {
        let tree = self.ensemble.tree(&s.cluster, server);
        let last = usize::from(s.hosts[usize::from(server)].applied).checked_sub(1);
        last.and_then(|i| tree.get(i)).copied().unwrap_or_default()
    }

    fn may_send(&self, s: &State, client: u8) -> bool {
        let c = &s.clients[usize::from(client)];
        let script = self.scripts[usize::from(client)];
        let (Some(op), Some(at)) = (script.get(usize::from(c.next)), c.at) else {
            return false;
        };
        let leader = || self.ensemble.leader_of(&s.cluster, at);
        let may_propose = s.cluster.spent.txns < self.ensemble.zab.bounds.txns;
        match op {
            Op::Read | Op::Watch => true,
            Op::Sync if self.waits => may_propose && leader().is_some(),
            Op::Sync => self.slips(Slip::SyncLocal) || leader().is_some(),
            Op::Write => may_propose && leader().is_some(),
        }
    }

    fn send(&self, s: &mut State, client: u8) {
        let i = usize::from(client);
        let Some(at) = s.clients[i].at else { return };
        let leader = self.ensemble.leader_of(&s.cluster, at);
        let told = s.told;
        let c = &mut s.clients[i];
        let op = c.next;
        c.next += 1;
        c.floors.push(told);
        match (self.scripts[i][usize::from(op)], leader) {
            (Op::Read | Op::Watch, _) => {
                if let Some(op) = c.order.push_read(op, 0) {
                    self.read(s, client, op);
                }
            }
            (Op::Sync, Some(leader)) if !self.slips(Slip::SyncLocal) => {
                c.order.push_write(op, 0);
                self.sync(s, client, op, at, leader);
            }
            (Op::Sync, _) => {
                c.order.push_write(op, 0);
                self.answer_sync(s, at, (client, op));
            }
            (Op::Write, Some(l)) => {
                c.order.push_write(op, 0);
                if let Some(zxid) = self.ensemble.propose(&mut s.cluster, l) {
                    s.clients[i].writes.push(Due { op, zxid });
                }
            }
            (Op::Write, None) => {}
        }
    }

    /// A sync is at the leader.
    fn sync(&self, s: &mut State, client: u8, op: u8, at: u8, leader: u8) {
        let Some(peer) = self.ensemble.peer(&s.cluster, leader) else {
            return;
        };
        let begin = peer.last_logged();
        if needs_proposal(self.waits, begin, begin) {
            self.ensemble.propose(&mut s.cluster, leader);
        }
        let Some(peer) = self.ensemble.peer(&s.cluster, leader) else {
            return;
        };
        let (logged, delivered) = (peer.last_logged(), peer.delivered());
        let ghost = s.cluster.past(&self.ensemble.zab.world);
        let newest = ghost.initial.last().map_or(Epoch(0), |(e, _)| *e);
        let replaced = peer.serving() < Some(newest);
        if replaced && !self.waits && !self.slips(Slip::DeposedLeaderCounts) {
            let floors = &mut s.clients[usize::from(client)].floors;
            *floors.last_mut().unwrap_or(&mut 0) = 0;
        }
        let host = &mut s.hosts[usize::from(leader)];
        if at == leader {
            if let Some(now) = host.syncs.lead(logged, delivered, (client, op)) {
                if !self.slips(Slip::SyncFromTreeBehind) {
                    self.deliver(s, at, Need::Answer);
                }
                self.answer_sync(s, at, now);
            }
            return;
        }
        let now = host.links[usize::from(at)].asked(logged, delivered);
        let host = &mut s.hosts[usize::from(at)];
        host.syncs.forwarded((client, op));
        if now || self.slips(Slip::SyncAtOnce) {
            host.coming.push_back(delivered);
        }
    }

    /// A server answers a read from its tree.
    fn read(&self, s: &mut State, client: u8, op: u8) {
        let i = usize::from(client);
        let Some(at) = s.clients[i].at else { return };
        if self.scripts[i][usize::from(op)] == Op::Watch {
            s.clients[i].armed = true;
        }
        let value = s.hosts[usize::from(at)].applied;
        let zxid = self.zxid(s, at);
        s.clients[i].inbox.push_back(Reply::To(op, value, zxid));
    }

    /// A server writes a reply, and the reads behind it.
    fn reply(&self, s: &mut State, client: u8, op: u8, value: u8, zxid: Zxid) {
        let c = &mut s.clients[usize::from(client)];
        c.inbox.push_back(Reply::To(op, value, zxid));
        let mut ready = Vec::new();
        c.order.answered(&op, |read| ready.push(read));
        for op in ready {
            self.read(s, client, op);
        }
    }

    /// A sync is answered, if its connection is still there.
    fn answer_sync(&self, s: &mut State, at: u8, (client, op): Sync) {
        let c = &s.clients[usize::from(client)];
        if c.at == Some(at) && op >= c.awaits {
            let value = s.hosts[usize::from(at)].applied;
            self.reply(s, client, op, value, self.zxid(s, at));
        }
    }

    /// What a server does after a step: its clients' connections end if it serves no more; else it hears the leader's answers, and
    /// applies what its core has had applied. `last` is the cluster before the step.
    fn look_after(&self, s: &mut State, server: u8, last: &Cluster) {
        let (cluster, had) = (s.cluster, self.ensemble.tree(last, server));
        let tree = self.ensemble.tree(&cluster, server);
        let at = usize::from(server);
        let serves = self.ensemble.mode(&cluster, server).serves();
        if serves != self.ensemble.serves(&cluster, server).is_some() {
            s.wrongs.add(&PROPERTIES, SERVED);
        }
        if !serves {
            for c in s.clients.iter_mut().filter(|c| c.at == Some(server)) {
                c.leave();
            }
            s.hosts[at] = Host {
                applied: u8::try_from(tree.len()).unwrap_or(u8::MAX),
                ..Host::default()
            };
            for host in &mut s.hosts {
                host.links[at] = LearnerSyncs::default();
            }
            return;
        }
        let new = tree.get(had.len()..).unwrap_or_default();
        if let Some(last) = new.last() {
            s.hosts[at].delivery.ask(*last);
        }
        if !self.ensemble.mode(last, server).serves() {
            self.deliver(s, server, Need::Serve);
        }
        // Each COMMIT has left in this step, and behind it the answers to syncs that have waited for it.
        for zxid in new {
            for learner in 0..SERVERS {
                let answers = s.hosts[at].links[learner].committed(*zxid);
                let on_the_way = &mut s.hosts[learner].coming;
                on_the_way.extend(core::iter::repeat_n(*zxid, answers));
            }
        }
        let last = tree.last().copied().unwrap_or_default();
        while s.hosts[at]
            .coming
            .pop_front_if(|behind| *behind <= last)
            .is_some()
        {
            self.deliver(s, server, Need::Answer);
            if let Some(sync) = s.hosts[at].syncs.on_answer() {
                self.answer_sync(s, server, sync);
            }
        }
        if !self.turns {
            self.deliver(s, server, Need::Turn);
        }
        if self.slips(Slip::ReplyBeforeApply)
            && let Some(leader) = self.ensemble.leader_of(&cluster, server)
        {
            self.answer_writes(s, server, self.ensemble.tree(&cluster, leader).len());
        }
    }

    /// A server applies what its core has had applied, as much as that needs.
    fn deliver(&self, s: &mut State, server: u8, need: Need) {
        let cluster = s.cluster;
        let leads = self.ensemble.mode(&cluster, server).leads();
        let at = usize::from(server);
        let Some(mut share) = s.hosts[at].delivery.begin(need) else {
            return;
        };
        if need == Need::Turn && self.turns {
            share.most = 1;
        }
        let mut applied = 0;
        while applied < share.most
            && let Some(zxid) = self
                .ensemble
                .tree(&cluster, server)
                .get(usize::from(s.hosts[at].applied))
        {
            while let Some(sync) = s.hosts[at].syncs.next_before(*zxid) {
                self.answer_sync(s, server, sync);
            }
            applied += 1;
            self.apply(s, server);
        }
        let last = self.zxid(s, server);
        let upto = s.hosts[at].delivery.end(share, applied, last);
        while leads && let Some(sync) = s.hosts[at].syncs.next_after(upto) {
            self.answer_sync(s, server, sync);
        }
    }

    /// One transaction is applied: it fires watches, and is answered.
    fn apply(&self, s: &mut State, server: u8) {
        let host = &mut s.hosts[usize::from(server)];
        host.applied += 1;
        let applied = host.applied;
        let here = |c: &Client| c.at == Some(server);
        let fired = s.clients.each_mut().map(|c| here(c) && c.fires());
        for (c, _) in s.clients.iter_mut().zip(fired).filter(|(_, fired)| *fired) {
            if self.slips(Slip::WatchAfterReply) {
                c.late = true;
            } else {
                c.inbox.push_back(Reply::Event);
            }
        }
        self.answer_writes(s, server, usize::from(applied));
    }

    /// Answers the writes of a server's clients that are among so many transactions.
    fn answer_writes(&self, s: &mut State, server: u8, known: usize) {
        let cluster = s.cluster;
        let leader = self.ensemble.leader_of(&cluster, server);
        let leader = leader.filter(|_| self.slips(Slip::ReplyBeforeApply));
        let tree = self.ensemble.tree(&cluster, leader.unwrap_or(server));
        let tree = tree.get(..known).unwrap_or(tree);
        for client in 0..2 {
            let c = &s.clients[usize::from(client)];
            let head = c.order.head().filter(|_| c.at == Some(server));
            let due = c.writes.first().filter(|d| Some(&d.op) == head).copied();
            if let Some(Due { op, zxid }) = due
                && let Some(place) = tree.iter().position(|z| *z == zxid)
            {
                s.clients[usize::from(client)].writes.remove(0);
                let value = u8::try_from(place + 1).unwrap_or(u8::MAX);
                self.reply(s, client, op, value, zxid);
            }
        }
    }

    /// A client is connected to a server, with its watch set again.
    fn connect(&self, s: &mut State, client: u8, server: u8) {
        let last = self.zxid(s, server);
        let c = &mut s.clients[usize::from(client)];
        if c.at.is_some() {
            c.moves -= 1;
        }
        c.leave();
        c.at = Some(server);
        if c.watching.is_some() {
            c.armed = true;
            if last > c.seen && c.fires() {
                c.inbox.push_back(Reply::Event);
            }
        }
    }

    /// A client hears an answer, and compares it with what it knows.
    fn hear(&self, s: &mut State, client: u8) -> bool {
        let i = usize::from(client);
        let c = &mut s.clients[i];
        let Some(reply) = c.inbox.pop_front() else {
            return false;
        };
        let Reply::To(op, value, zxid) = reply else {
            c.watching = None;
            return true;
        };
        let floor = c.floors[usize::from(op)];
        let is = self.scripts[i][usize::from(op)];
        let committed = &s.cluster.past(&self.ensemble.zab.world).committed;
        let wrong = [
            op != c.awaits,
            value < c.told,
            c.watching.is_some_and(|at| value > at),
            is == Op::Write && (value <= floor || !committed.contains(&zxid)),
            matches!(is, Op::Read | Op::Watch) && value < c.fresh,
        ];
        for (property, _) in PROPERTIES.iter().zip(wrong).filter(|(_, wrong)| *wrong) {
            s.wrongs.add(&PROPERTIES, property);
        }
        c.awaits = op + 1;
        match is {
            Op::Sync => c.fresh = c.fresh.max(floor),
            Op::Watch => c.watching = Some(value),
            Op::Read | Op::Write => {}
        }
        c.told = c.told.max(value);
        c.seen = c.seen.max(zxid);
        s.told = s.told.max(value);
        true
    }
}

impl Client {
    fn new(at: u8, moves: u8) -> Self {
        Self {
            at: Some(at),
            next: 0,
            awaits: 0,
            order: ReplyOrder::new(),
            writes: Vec::new(),
            late: false,
            armed: false,
            inbox: VecDeque::new(),
            seen: Zxid::ZERO,
            told: 0,
            watching: None,
            floors: Vec::new(),
            fresh: 0,
            moves,
        }
    }

    /// The connection is over: what was not heard is not known.
    fn leave(&mut self) {
        self.at = None;
        self.order = ReplyOrder::new();
        self.writes.clear();
        self.inbox.clear();
        self.armed = false;
        self.awaits = self.next;
    }

    /// The znode has changed: whether this client's watch fires.
    fn fires(&mut self) -> bool {
        const ME: WatcherId = 1;
        let mut watches = Watches::new();
        if self.armed {
            watches.add(ME, "/x", WatchMode::Data);
        }
        let trigger = Trigger {
            kind: EventKind::NodeDataChanged,
            path: "/x",
            acl: AclView::default(),
        };
        let mut fired = false;
        watches.fire(&trigger, |_| fired = true);
        self.armed = !watches.is_empty();
        fired
    }
}

impl Model for Clients {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let states = self.ensemble.zab.initial().into_iter().map(|cluster| {
            let host = |server| Host {
                applied: u8::try_from(self.ensemble.tree(&cluster, server).len())
                    .unwrap_or(u8::MAX),
                ..Host::default()
            };
            State {
                hosts: [host(0), host(1), host(2)],
                clients: [0, 1].map(|i| Client::new(self.at[i], self.moves[i])),
                cluster,
                told: 0,
                wrongs: Wrongs::default(),
            }
        });
        states.collect()
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if !s.wrongs.is_none() {
            return; // what follows a wrong says nothing
        }
        let actions = self.ensemble.enabled(&s.cluster);
        steps.extend(actions.map(Step::Ensemble));
        let behind = (0..).zip(&s.hosts).filter(|(_, h)| h.delivery.is_due());
        steps.extend(behind.map(|(server, _)| Step::Turn(server)));
        for (client, c) in (0..).zip(&s.clients) {
            if self.may_send(s, client) {
                steps.push(Step::Send(client));
            }
            let idle = usize::from(c.awaits) >= self.scripts[usize::from(client)].len();
            if c.at.is_some() && (c.moves == 0 || idle) || idle && c.watching.is_none() {
                continue;
            }
            for server in (0..SERVERS as u8).filter(|server| c.at != Some(*server)) {
                let fits = may_connect(c.seen, self.zxid(s, server));
                if self.ensemble.mode(&s.cluster, server).serves()
                    && (fits || self.slips(Slip::NoLastSeenZxidCheck))
                {
                    steps.push(Step::Connect(client, server));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Ensemble(action) => self.ensemble.apply(&mut s.cluster, action),
            Step::Send(client) => self.send(&mut s, client),
            Step::Connect(client, server) => self.connect(&mut s, client, server),
            Step::Turn(server) => self.deliver(&mut s, server, Need::Turn),
        }
        // The leader first: what it says behind a COMMIT of this step is on the way before anybody has that COMMIT.
        for server in (0..SERVERS as u8).rev() {
            self.look_after(&mut s, server, &last.cluster);
        }
        for client in 0..2 {
            let c = &mut s.clients[usize::from(client)];
            if core::mem::take(&mut c.late) {
                c.inbox.push_back(Reply::Event);
            }
            while self.hear(&mut s, client) {}
            // What waits, waits for a write: the oldest.
            let order = &s.clients[usize::from(client)].order;
            if order.head().is_none() && !order.is_empty() {
                s.wrongs.add(&PROPERTIES, FIFO);
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        serving::properties(&PROPERTIES)
    }
}

impl serving::Service for Clients {
    fn text(&self, s: &State, step: Step) -> String {
        match step {
            Step::Ensemble(action) => {
                trace::action_text(&self.ensemble.zab.world, &s.cluster, action)
            }
            Step::Send(client) => {
                let c = &s.clients[usize::from(client)];
                let op = self.scripts[usize::from(client)].get(usize::from(c.next));
                format!(
                    "client {} sends {op:?} to server {:?}",
                    client + 1,
                    c.at.map(|at| at + 1)
                )
            }
            Step::Turn(server) => format!("server {} applies a transaction", server + 1),
            Step::Connect(client, server) => {
                format!(
                    "client {} is connected to server {}",
                    client + 1,
                    server + 1
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serving::With as _;
    use stateright::Checker;

    fn broken(slip: Slip) -> Vec<&'static str> {
        let checker = Clients::with(slip).checker();
        let found = checker
            .finish_when(stateright::HasDiscoveries::Any)
            .spawn_bfs()
            .join();
        found.discoveries().into_keys().collect()
    }

    #[test]
    fn each_slip_breaks_the_promise_that_it_is_about() {
        assert_eq!(broken(Slip::ReplyBeforeApply), [READS]);
        assert_eq!(broken(Slip::WatchAfterReply), [WATCH]);
        assert_eq!(broken(Slip::SyncLocal), [SYNC]);
        // A read behind a sync goes back behind both the sync and what the client was told.
        let gone_back = broken(Slip::NoLastSeenZxidCheck);
        assert!(!gone_back.is_empty());
        assert!(
            gone_back.iter().all(|p| [READS, SYNC].contains(p)),
            "{gone_back:?}"
        );
    }
}
