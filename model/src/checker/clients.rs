//! What clients see: two of them write, read, watch and sync through different servers while the ensemble recovers.
//!
//! All clients use one znode, and every transaction changes it: its value is how many transactions a server has applied, so a
//! reply says by itself where in the history it belongs. Who is answered when is decided by the server's own code:
//! [`ReplyOrder`], [`Watches`] and [`may_connect`]. A request reaches the leader in the step that sends it, as one that is
//! still on the way is not different from one that was not sent. An answer is heard in the step that gives it: one that is late
//! or lost leaves its client, and whoever asks after it, with fewer claims on what follows.

use super::action::Action;
use super::bounds::{self, Bounds, Disk, Grain, Start};
use super::cluster::Cluster;
use super::model::Zab;
use super::{serving, trace};
use crate::ids::{Epoch, Zxid};
use crate::peer::Peer;
use crate::service::order::ReplyOrder;
use crate::service::session::may_connect;
use crate::tree::event::{EventKind, Trigger};
use crate::tree::watch::{WatchMode, WatcherId, Watches};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use stateright::{Model, Property};

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// setData.
    Write,
    /// getData.
    Read,
    /// getData that leaves a watch.
    Watch,
    /// sync.
    Sync,
}

/// A wrong answer of the service, which only clients can notice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// A write is answered when the leader has committed it, though the client's server has not applied it.
    ReplyBeforeApply,
    /// A server that is behind takes over a client.
    NoLastSeenZxidCheck,
    /// A watch fires after the replies that show the change.
    WatchAfterReply,
    /// A server answers sync without asking the leader.
    SyncLocal,
    /// No slip but a limit, ZooKeeper's and ours: a leader that does not know yet that it was replaced answers sync. The
    /// property that leaves this out is [`SYNC`]; with this, it leaves nothing out.
    DeposedLeaderCounts,
}

impl Slip {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReplyBeforeApply,
        Self::NoLastSeenZxidCheck,
        Self::WatchAfterReply,
        Self::SyncLocal,
        Self::DeposedLeaderCounts,
    ];

    /// The configuration in which it shows.
    #[must_use]
    pub const fn view(self) -> &'static View {
        match self {
            Self::DeposedLeaderCounts => &DEPOSED,
            Self::ReplyBeforeApply
            | Self::NoLastSeenZxidCheck
            | Self::WatchAfterReply
            | Self::SyncLocal => &CRASH,
        }
    }
}

/// Answers of a session come in the order of its requests.
pub const FIFO: &str = "session order";
/// No reply shows less than an earlier one did, own writes included, over a change of server too.
pub const READS: &str = "reads never go back";
/// A watcher hears of a change before any reply shows it.
pub const WATCH: &str = "watch event before data";
/// A write is behind all that anybody was told before it was sent, and is in the history. Each answer names its place, which
/// is unique; so this is linearizability, without a search for an order.
pub const WRITES: &str = "writes linearizable";
/// A read behind a sync shows all that anybody was told before the sync was sent, if the leader that answers was not replaced.
pub const SYNC: &str = "sync and read linearizable";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 5] = [FIFO, READS, WATCH, WRITES, SYNC];

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
    syncs: Vec<Due>,
    /// What the server had applied when it last looked after this client.
    applied: u8,
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

/// A cluster with clients.
#[derive(Clone, Debug)]
pub struct State {
    cluster: Cluster,
    clients: [Client; 2],
    /// The largest value that any client was told.
    told: u8,
    /// Bits of [`PROPERTIES`].
    wrongs: u8,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut words = Vec::with_capacity(32);
        self.cluster.pack(true, &mut words);
        (words, &self.clients, self.told, self.wrongs).hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && (&self.clients, self.told, self.wrongs) == (&other.clients, other.told, other.wrongs)
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
}

/// The model.
#[derive(Debug)]
pub struct Clients {
    zab: Zab,
    scripts: [&'static [Op]; 2],
    at: [u8; 2],
    moves: [u8; 2],
    slip: Option<Slip>,
}

/// A configuration of clients.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The ensemble under them.
    pub ensemble: &'static Bounds,
    /// What each asks for, in order.
    pub scripts: [&'static [Op]; 2],
    /// The server that each is connected to at first, by index.
    pub at: [u8; 2],
    /// How often each changes its server by its own will.
    pub moves: [u8; 2],
    /// Distinct and generated states, when it was last run to its end.
    pub golden: (u64, u64),
}

const ENSEMBLE: Bounds = Bounds {
    name: "clients",
    about: "two clients write, read, watch and sync through different servers; a server crashes, the leader too",
    grain: Grain::E1,
    disk: Disk::Atomic,
    start: Start::Warm,
    txns: 3,
    disconnects: 0,
    ..bounds::BASE
};

/// Everything that clients do, over a crash.
pub const CRASH: View = View {
    ensemble: &ENSEMBLE,
    scripts: [&[Op::Write, Op::Read], &[Op::Watch, Op::Sync, Op::Read]],
    at: [1, 0],
    moves: [0, 0],
    golden: (2_206_280, 6_667_263),
};

/// A leader that has lost both connections answers while another one is elected.
pub const DEPOSED: View = View {
    ensemble: &Bounds {
        name: "clients-deposed",
        about: "a client syncs and reads through a leader that others replace, while another client writes",
        crashes: 0,
        disconnects: 2,
        faults: 2,
        ..ENSEMBLE
    },
    scripts: [&[Op::Write], &[Op::Sync, Op::Read]],
    at: [1, 2],
    moves: [0, 0],
    golden: (1_949_428, 6_850_448),
};

/// Every configuration of clients.
pub const ALL: &[View] = &[CRASH, DEPOSED];

impl Clients {
    /// The configuration, and what is wrong with it.
    #[must_use]
    pub fn new(view: &View, slip: Option<Slip>) -> Self {
        Self {
            zab: Zab::new(view.ensemble),
            scripts: view.scripts,
            at: view.at,
            moves: view.moves,
            slip,
        }
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn peer<'a>(&'a self, c: &Cluster, i: u8) -> Option<&'a Peer> {
        serving::peer(&self.zab, c, i)
    }

    fn tree<'a>(&'a self, c: &Cluster, i: u8) -> &'a [Zxid] {
        serving::tree(&self.zab, c, i)
    }

    fn leader_of(&self, c: &Cluster, i: u8) -> Option<u8> {
        serving::leader_of(&self.zab, c, i)
    }

    fn may_send(&self, s: &State, client: u8) -> bool {
        let c = &s.clients[usize::from(client)];
        let script = self.scripts[usize::from(client)];
        let (Some(op), Some(at)) = (script.get(usize::from(c.next)), c.at) else {
            return false;
        };
        match op {
            Op::Read | Op::Watch => true,
            Op::Sync => self.slips(Slip::SyncLocal) || self.leader_of(&s.cluster, at).is_some(),
            Op::Write => {
                let left = s.cluster.spent.txns < self.zab.bounds.txns;
                left && self.leader_of(&s.cluster, at).is_some()
            }
        }
    }

    fn send(&self, s: &mut State, client: u8) {
        let i = usize::from(client);
        let Some(at) = s.clients[i].at else { return };
        let leader = self.leader_of(&s.cluster, at);
        let told = s.told;
        let c = &mut s.clients[i];
        let op = c.next;
        c.next += 1;
        c.floors.push(told);
        match (self.scripts[i][usize::from(op)], leader) {
            (Op::Read | Op::Watch, _) => {
                if let Some(op) = c.order.push_read(op, 0) {
                    self.read(&s.cluster, &mut s.clients[i], client, op);
                }
            }
            (Op::Sync, leader) => {
                c.order.push_write(op, 0);
                let mut zxid = Zxid::ZERO;
                if let Some(l) = leader.filter(|_| !self.slips(Slip::SyncLocal))
                    && let Some(peer) = self.peer(&s.cluster, l)
                {
                    zxid = peer.last_logged();
                    let ghost = s.cluster.past(&self.zab.world);
                    let newest = ghost.initial.last().map_or(Epoch(0), |(e, _)| *e);
                    let replaced = peer.serving() < Some(newest);
                    if replaced && !self.slips(Slip::DeposedLeaderCounts) {
                        *c.floors.last_mut().unwrap_or(&mut 0) = 0;
                    }
                }
                c.syncs.push(Due { op, zxid });
                self.look_after(s, client);
            }
            (Op::Write, Some(l)) => {
                c.order.push_write(op, 0);
                let action = Action::Propose { server: l + 1 };
                self.zab.apply(&mut s.cluster, action, &mut self.zab.log());
                if let Some(peer) = self.peer(&s.cluster, l) {
                    let zxid = peer.last_logged();
                    s.clients[i].writes.push(Due { op, zxid });
                }
            }
            (Op::Write, None) => {}
        }
    }

    /// A server answers a read from its tree.
    fn read(&self, cluster: &Cluster, c: &mut Client, client: u8, op: u8) {
        if self.scripts[usize::from(client)][usize::from(op)] == Op::Watch {
            c.armed = true;
        }
        let value = c.applied;
        c.inbox
            .push_back(Reply::To(op, value, self.zxid(cluster, c)));
    }

    /// The last transaction that a client's server had applied when it last looked after it.
    fn zxid(&self, cluster: &Cluster, c: &Client) -> Zxid {
        let tree = c.at.map_or(&[][..], |at| self.tree(cluster, at));
        let last = usize::from(c.applied).checked_sub(1);
        last.and_then(|i| tree.get(i)).copied().unwrap_or_default()
    }

    /// What a server does for a client after a step: the connection ends if it serves no more; else what it has applied fires
    /// the watch and is answered, transaction by transaction.
    fn look_after(&self, s: &mut State, client: u8) {
        let cluster = s.cluster;
        let c = &mut s.clients[usize::from(client)];
        let Some(at) = c.at else { return };
        if self.peer(&cluster, at).is_none() {
            c.leave();
            return;
        }
        self.answer_due(&cluster, c, client);
        while usize::from(c.applied) < self.tree(&cluster, at).len() {
            c.applied += 1;
            let fired = c.fires();
            if fired && !self.slips(Slip::WatchAfterReply) {
                c.inbox.push_back(Reply::Event);
            }
            self.answer_due(&cluster, c, client);
            if fired && self.slips(Slip::WatchAfterReply) {
                c.inbox.push_back(Reply::Event);
            }
        }
    }

    /// Answers writes that are applied and syncs that have waited long enough, and the reads behind them.
    fn answer_due(&self, cluster: &Cluster, c: &mut Client, client: u8) {
        let Some(at) = c.at else { return };
        let applied = self.zxid(cluster, c);
        let place = |zxid: Zxid| {
            let leader = self.leader_of(cluster, at);
            let leader = leader.filter(|_| self.slips(Slip::ReplyBeforeApply));
            let tree = self.tree(cluster, leader.unwrap_or(at));
            let known = leader.is_some() || zxid <= applied;
            let place = tree.iter().position(|z| *z == zxid).filter(|_| known)?;
            u8::try_from(place + 1).ok()
        };
        loop {
            let Some(head) = c.order.head().copied() else {
                return;
            };
            let zxid = if let Some(due) = c.writes.first().filter(|d| d.op == head)
                && let Some(value) = place(due.zxid)
            {
                let Due { zxid, .. } = c.writes.remove(0);
                c.inbox.push_back(Reply::To(head, value, zxid));
                zxid
            } else if let Some(due) = c.syncs.first().filter(|d| d.op == head)
                && due.zxid <= applied
            {
                c.syncs.remove(0);
                c.inbox.push_back(Reply::To(head, c.applied, applied));
                applied
            } else {
                return;
            };
            debug_assert!(zxid > Zxid::ZERO || c.applied == 0, "answered by a place");
            let mut ready = Vec::new();
            c.order.answered(&head, |read| ready.push(read));
            for op in ready {
                self.read(cluster, c, client, op);
            }
        }
    }

    /// A client is connected to a server, with its watch set again.
    fn connect(&self, s: &mut State, client: u8, server: u8) {
        let c = &mut s.clients[usize::from(client)];
        if c.at.is_some() {
            c.moves -= 1;
        }
        c.leave();
        let tree = self.tree(&s.cluster, server);
        c.at = Some(server);
        c.applied = u8::try_from(tree.len()).unwrap_or(u8::MAX);
        if c.watching.is_some() {
            c.armed = true;
            let missed = tree.last().is_some_and(|last| *last > c.seen);
            if missed && c.fires() {
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
        let committed = &s.cluster.past(&self.zab.world).committed;
        let wrong = [
            op != c.awaits,
            value < c.told,
            c.watching.is_some_and(|at| value > at),
            is == Op::Write && (value <= floor || !committed.contains(&zxid)),
            matches!(is, Op::Read | Op::Watch) && value < c.fresh,
        ];
        for (bit, _) in wrong.iter().enumerate().filter(|(_, wrong)| **wrong) {
            s.wrongs |= 1 << bit;
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

    /// A step in words.
    #[must_use]
    pub fn text(&self, s: &State, step: Step) -> String {
        match step {
            Step::Ensemble(action) => trace::action_text(&self.zab.world, &s.cluster, action),
            Step::Send(client) => {
                let c = &s.clients[usize::from(client)];
                let op = self.scripts[usize::from(client)].get(usize::from(c.next));
                format!(
                    "client {} sends {op:?} to server {:?}",
                    client + 1,
                    c.at.map(|at| at + 1)
                )
            }
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

impl Client {
    fn new(at: u8, applied: u8, moves: u8) -> Self {
        Self {
            at: Some(at),
            next: 0,
            awaits: 0,
            order: ReplyOrder::new(),
            writes: Vec::new(),
            syncs: Vec::new(),
            applied,
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
        self.syncs.clear();
        self.inbox.clear();
        self.armed = false;
        self.applied = 0;
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
            acl: &[],
        };
        let mut fired = false;
        watches.fire(&trigger, |_| fired = true);
        self.armed = !watches.is_empty();
        fired
    }
}

fn holds<const BIT: u8>(_: &Clients, s: &State) -> bool {
    s.wrongs >> BIT & 1 == 0
}

impl Model for Clients {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let states = self.zab.initial().into_iter().map(|cluster| {
            let applied = |at| u8::try_from(self.tree(&cluster, at).len()).unwrap_or(u8::MAX);
            let client = |i: usize| Client::new(self.at[i], applied(self.at[i]), self.moves[i]);
            State {
                clients: [client(0), client(1)],
                cluster,
                told: 0,
                wrongs: 0,
            }
        });
        states.collect()
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if s.wrongs != 0 {
            return; // what follows a wrong says nothing
        }
        let mut actions = Vec::new();
        self.zab.enabled(&s.cluster, &mut actions);
        // All transactions are the clients'.
        actions.retain(|a| !matches!(a, Action::Propose { .. }));
        steps.extend(actions.into_iter().map(Step::Ensemble));
        for (client, c) in (0..).zip(&s.clients) {
            if self.may_send(s, client) {
                steps.push(Step::Send(client));
            }
            let idle = usize::from(c.awaits) >= self.scripts[usize::from(client)].len();
            if c.at.is_some() && (c.moves == 0 || idle) || idle && c.watching.is_none() {
                continue;
            }
            for server in (0..self.zab.bounds.servers).filter(|server| c.at != Some(*server)) {
                let last = self.tree(&s.cluster, server).last().copied();
                let fits = may_connect(c.seen, last.unwrap_or_default());
                if self.peer(&s.cluster, server).is_some()
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
            Step::Ensemble(action) => {
                self.zab.apply(&mut s.cluster, action, &mut self.zab.log());
            }
            Step::Send(client) => self.send(&mut s, client),
            Step::Connect(client, server) => self.connect(&mut s, client, server),
        }
        for client in 0..2 {
            self.look_after(&mut s, client);
            while self.hear(&mut s, client) {}
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let [fifo, reads, watch, writes, sync] = PROPERTIES;
        Vec::from([
            Property::always(fifo, holds::<0>),
            Property::always(reads, holds::<1>),
            Property::always(watch, holds::<2>),
            Property::always(writes, holds::<3>),
            Property::always(sync, holds::<4>),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::Checker;

    fn broken(slip: Slip) -> Vec<&'static str> {
        let checker = Clients::new(slip.view(), Some(slip)).checker();
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
