//! Sessions that move with requests in flight: whose answer does a connection get, and who is closed for it?
//!
//! Each connection of a session counts its requests from 1. A request goes from its server to the leader in a step of its own
//! ([`Step::Reach`]), so it may be overtaken by the session itself, which is another server's by then; its transaction comes back
//! when the ensemble brings it. The leader may also drop a request. Which waiting request a transaction answers is decided by the
//! server's own [`Answers`], whom a session belongs to by its own [`SessionTracker`]. What the checker knows beside them is
//! which request each transaction was made for.

use super::action::Action;
use super::bounds::{self, Bounds, Disk, Grain, Start};
use super::cluster::Cluster;
use super::model::Zab;
use super::{serving, trace};
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::service::answers::Answers;
use crate::service::session::SessionTracker;
use crate::tree::txn::TxnHeader;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use stateright::{Model, Property};

/// A wrong rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// A transaction answers the oldest waiting request with its session and xid, and those before that are given up.
    MatchBySessionAndXid,
    /// A server that restarts numbers its requests from the same value again.
    NumbersStartAnew,
}

impl Slip {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::MatchBySessionAndXid, Self::NumbersStartAnew];

    /// The configuration in which it shows.
    #[must_use]
    pub const fn view(self) -> &'static View {
        match self {
            Self::MatchBySessionAndXid => &MOVES,
            Self::NumbersStartAnew => &CRASH,
        }
    }

    /// The property that notices it first, and after how many steps.
    #[must_use]
    pub const fn expected(self) -> (&'static str, usize) {
        match self {
            Self::MatchBySessionAndXid => (OWN, 8),
            Self::NumbersStartAnew => (OWN, 15),
        }
    }

    /// Where it is from.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::MatchBySessionAndXid => "found here (D-24)",
            Self::NumbersStartAnew => "a textbook mistake",
        }
    }

    /// What is wrong.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::MatchBySessionAndXid => {
                "a transaction answers whichever waiting request has its session and xid, which a client uses again on each connection"
            }
            Self::NumbersStartAnew => {
                "a server that restarts gives its requests the numbers of those that it sent before"
            }
        }
    }
}

/// An answer is of the request of its own connection.
pub const OWN: &str = "an answer is of the own request";
/// A connection ends for its own session's request only: because that was refused, or will never be answered.
pub const NOBODY: &str = "nobody is closed for another's answer";
/// When the transaction of a request is applied at its server, the request is answered.
pub const EACH: &str = "an answer is given when it is there";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 3] = [OWN, NOBODY, EACH];

/// A request as the checker knows it: whose, and the how many-th of its client.
type Request = (u8, u8);

/// Who waits, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    request: Request,
    /// The client's connection.
    conn: u8,
    /// Its number of the request.
    xid: u8,
}

/// What clients have at one server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Host {
    /// Since when it serves: the epoch.
    serves: Option<Epoch>,
    answers: Answers<Waiting>,
    /// What waits under [`Slip::MatchBySessionAndXid`].
    by_xid: VecDeque<Waiting>,
    /// On the way to the leader: the cxid of each REQUEST, and whose it is.
    forwarded: VecDeque<(i32, Request)>,
    /// What it had applied when it last looked.
    applied: u8,
    starts: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Client {
    /// The server at the end of its connection.
    at: Option<u8>,
    /// Its connections so far.
    conn: u8,
    /// Requests sent over this one.
    xid: u8,
    /// Requests sent over all of them.
    sent: u8,
    /// Whether the last one waits, on this connection.
    waits: bool,
    moves: u8,
}

/// A transaction, and the request that it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Made {
    zxid: Zxid,
    cxid: i32,
    request: Request,
    /// It says SessionMoved.
    moved: bool,
}

/// A cluster with sessions that move.
#[derive(Clone, Debug)]
pub struct State {
    cluster: Cluster,
    hosts: Vec<Host>,
    clients: [Client; 2],
    made: Vec<Made>,
    /// In which epoch which session is at which server.
    owners: (Epoch, [Option<u8>; 2]),
    drops: u8,
    /// Bits of [`PROPERTIES`].
    wrongs: u8,
}

impl State {
    fn rest(&self) -> impl Hash + PartialEq + '_ {
        let Self {
            hosts,
            clients,
            made,
            owners,
            drops,
            wrongs,
            ..
        } = self;
        (hosts, clients, made, owners, drops, wrongs)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut words = Vec::with_capacity(32);
        self.cluster.pack(true, &mut words);
        (words, self.rest()).hash(state);
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
    /// A client's session goes on at that server; the leader agrees at once.
    Connect(u8, u8),
    /// The leader takes the oldest request that a server has forwarded.
    Reach(u8),
    /// The leader drops it.
    Drop(u8),
}

/// The model.
#[derive(Debug)]
pub struct Moves {
    zab: Zab,
    view: &'static View,
    slip: Option<Slip>,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The ensemble under them.
    pub ensemble: &'static Bounds,
    /// How many requests each client sends.
    pub requests: [u8; 2],
    /// The server that each is connected to at first, by index.
    pub at: [u8; 2],
    /// How often each changes its server by its own will.
    pub moves: [u8; 2],
    /// How many requests the leader drops.
    pub drops: u8,
    /// Distinct and generated states, when it was last run to its end.
    pub golden: (u64, u64),
}

const ENSEMBLE: Bounds = Bounds {
    name: "clients-moves",
    about: "a session moves between follower, leader and observer with requests in flight; another one waits beside it; the leader drops a request",
    servers: 2,
    observers: 1,
    grain: Grain::E1,
    disk: Disk::Atomic,
    start: Start::Warm,
    txns: 7,
    crashes: 0,
    disconnects: 0,
    faults: 0,
    ..bounds::BASE
};

/// Every kind of server, and there and back.
pub const MOVES: View = View {
    ensemble: &ENSEMBLE,
    requests: [3, 2],
    at: [0, 2],
    moves: [3, 0],
    drops: 1,
    golden: (2_820_760, 7_629_494),
};

/// A server restarts, the leader too.
pub const CRASH: View = View {
    ensemble: &Bounds {
        name: "clients-moves-crash",
        about: "a session moves with a request in flight while a server crashes or loses its connection, the leader too",
        servers: 3,
        observers: 0,
        txns: 4,
        crashes: 1,
        disconnects: 1,
        faults: 1,
        ..ENSEMBLE
    },
    requests: [2, 0],
    at: [0, 1],
    moves: [2, 0],
    drops: 0,
    golden: (4_818_148, 14_465_373),
};

/// Every configuration of sessions that move.
pub const ALL: &[View] = &[MOVES, CRASH];

const fn session(client: u8) -> SessionId {
    SessionId(client as i64 + 1)
}

impl Host {
    fn new(server: u8, starts: u8, slip: Option<Slip>) -> Self {
        let clock_ms = if slip == Some(Slip::NumbersStartAnew) {
            0
        } else {
            starts
        };
        Self {
            serves: None,
            answers: Answers::new(ServerId(u64::from(server) + 1), u64::from(clock_ms)),
            by_xid: VecDeque::new(),
            forwarded: VecDeque::new(),
            applied: 0,
            starts,
        }
    }

    /// Nothing that waits here will be answered.
    fn end(&mut self) {
        drop(self.answers.end());
        self.by_xid.clear();
        self.forwarded.clear();
    }

    /// [`Slip::MatchBySessionAndXid`]; `here`: the session has a connection to this server.
    fn take_by_xid(&mut self, made: &Made, here: bool, lost: &mut Vec<Waiting>) -> Option<Waiting> {
        let is_it = |w: &Waiting| w.request.0 == made.request.0 && i32::from(w.xid) == made.cxid;
        if self.by_xid.front().is_some_and(is_it) {
            return self.by_xid.pop_front();
        }
        let at = self.by_xid.iter().position(is_it).filter(|_| here)?;
        lost.extend(self.by_xid.drain(..at));
        self.by_xid.pop_front()
    }
}

impl State {
    fn is_current(&self, w: &Waiting, server: u8) -> bool {
        let c = &self.clients[usize::from(w.request.0)];
        c.at == Some(server) && c.conn == w.conn
    }

    fn is_wrong(&mut self, property: &str) {
        let bit = PROPERTIES.iter().position(|p| *p == property);
        self.wrongs |= 1 << bit.unwrap_or_default();
    }

    fn close(&mut self, client: u8) {
        let c = &mut self.clients[usize::from(client)];
        c.at = None;
        c.waits = false;
    }
}

impl Moves {
    /// The configuration, and what is wrong with it.
    #[must_use]
    pub fn new(view: &'static View, slip: Option<Slip>) -> Self {
        Self {
            zab: Zab::new(view.ensemble),
            view,
            slip,
        }
    }

    fn is_by_xid(&self) -> bool {
        self.slip == Some(Slip::MatchBySessionAndXid)
    }

    fn servers(&self) -> impl Iterator<Item = u8> + use<> {
        (0..).take(self.view.ensemble.n())
    }

    /// The leader, asked through `server`: may the session go on there? A new leader knows no owners.
    fn owner<'s>(&self, s: &'s mut State, leader: u8, client: u8) -> &'s mut Option<u8> {
        let epoch = serving::peer(&self.zab, &s.cluster, leader).and_then(|p| p.serving());
        let epoch = epoch.unwrap_or_default();
        if s.owners.0 != epoch {
            s.owners = (epoch, [None; 2]);
        }
        &mut s.owners.1[usize::from(client)]
    }

    /// A request is at the leader: a transaction is made of it, or of its refusal.
    fn propose(&self, s: &mut State, leader: u8, from: u8, cxid: i32, request: Request) {
        let owner = self.owner(s, leader, request.0);
        let mut tracker = SessionTracker::new(1);
        tracker.track(session(request.0), 1, 0);
        if let Some(owner) = owner {
            tracker.set_owner(session(request.0), ServerId(u64::from(*owner)));
        }
        owner.get_or_insert(from);
        let moved = tracker
            .check(session(request.0), ServerId(u64::from(from)))
            .is_err();
        let action = Action::Propose { server: leader + 1 };
        self.zab.apply(&mut s.cluster, action, &mut self.zab.log());
        if let Some(peer) = serving::peer(&self.zab, &s.cluster, leader) {
            s.made.push(Made {
                zxid: peer.last_logged(),
                cxid,
                request,
                moved,
            });
        }
    }

    fn send(&self, s: &mut State, client: u8) {
        let c = &mut s.clients[usize::from(client)];
        let Some(at) = c.at else { return };
        c.xid += 1;
        let request = (client, c.sent);
        c.sent += 1;
        c.waits = true;
        let waiting = Waiting {
            request,
            conn: c.conn,
            xid: c.xid,
        };
        let xid = i32::from(waiting.xid);
        let host = &mut s.hosts[usize::from(at)];
        if self.is_by_xid() {
            host.by_xid.push_back(waiting);
        }
        if serving::leader_of(&self.zab, &s.cluster, at) == Some(at) {
            let next = serving::peer(&self.zab, &s.cluster, at).and_then(|p| p.next_zxid());
            if let Some(next) = next.filter(|_| !self.is_by_xid()) {
                host.answers.proposed(session(client), next, waiting);
            }
            self.propose(s, at, at, xid, request);
        } else if self.is_by_xid() {
            host.forwarded.push_back((xid, request));
        } else {
            let number = host.answers.forwarded(session(client), waiting);
            host.forwarded.push_back((number, request));
        }
    }

    /// What a server does after a step: those who wait are given up if it serves no more; else it applies what has come, and
    /// answers.
    fn look_after(&self, s: &mut State, server: u8) {
        let serves = serving::peer(&self.zab, &s.cluster, server).and_then(|p| p.serving());
        let tree = serving::tree(&self.zab, &s.cluster, server);
        let host = &mut s.hosts[usize::from(server)];
        if serves != host.serves {
            host.end();
            host.serves = serves;
            host.applied = u8::try_from(tree.len()).unwrap_or(u8::MAX);
            for client in 0..2 {
                if s.clients[usize::from(client)].at == Some(server) {
                    s.close(client);
                }
            }
        }
        if serves.is_none() {
            return;
        }
        while let Some(zxid) = tree.get(usize::from(s.hosts[usize::from(server)].applied)) {
            s.hosts[usize::from(server)].applied += 1;
            if let Some(made) = s.made.iter().find(|m| m.zxid == *zxid).copied() {
                self.answer(s, server, &made);
            }
        }
    }

    /// A transaction is applied at a server: whom does that answer, and is it right?
    fn answer(&self, s: &mut State, server: u8, made: &Made) {
        let client = made.request.0;
        let asked = s.clients[usize::from(client)];
        let mut lost = Vec::new();
        let host = &mut s.hosts[usize::from(server)];
        let own = if self.is_by_xid() {
            host.take_by_xid(made, asked.at == Some(server), &mut lost)
        } else {
            let header = TxnHeader {
                session: session(client),
                cxid: made.cxid,
                zxid: made.zxid,
                time: 0,
            };
            host.answers.take(&header, |w| lost.push(w))
        };
        for w in lost {
            if !s.is_current(&w, server) {
                continue;
            }
            let forwarded = &s.hosts[usize::from(server)].forwarded;
            let comes = forwarded.iter().any(|(_, r)| *r == w.request)
                || s.made
                    .iter()
                    .any(|m| m.request == w.request && m.zxid >= made.zxid);
            if comes {
                s.is_wrong(NOBODY);
            }
            s.close(w.request.0);
        }
        if let Some(w) = own.filter(|w| s.is_current(w, server)) {
            let is_own = w.request == made.request;
            if made.moved {
                s.close(w.request.0);
            } else {
                s.clients[usize::from(w.request.0)].waits = false;
            }
            if !is_own {
                s.is_wrong(if made.moved { NOBODY } else { OWN });
            }
        }
        let now = s.clients[usize::from(client)];
        let is_asked = asked.at == Some(server) && asked.waits && asked.sent == made.request.1 + 1;
        if is_asked && now.waits && now.at.is_some() {
            s.is_wrong(EACH);
        }
    }

    /// A step in words.
    #[must_use]
    pub fn text(&self, s: &State, step: Step) -> String {
        match step {
            Step::Ensemble(action) => trace::action_text(&self.zab.world, &s.cluster, action),
            Step::Send(client) => {
                let c = &s.clients[usize::from(client)];
                format!(
                    "client {} sends xid {} to server {:?}",
                    client + 1,
                    c.xid + 1,
                    c.at.map_or(0, |at| at + 1)
                )
            }
            Step::Connect(client, server) => format!(
                "client {}'s session goes on at server {}, over a new connection",
                client + 1,
                server + 1
            ),
            Step::Reach(server) | Step::Drop(server) => {
                let forwarded = &s.hosts[usize::from(server)].forwarded;
                let does = if matches!(step, Step::Drop(_)) {
                    "drops"
                } else {
                    "takes"
                };
                let whose = forwarded.front().map_or(0, |(_, (client, _))| client + 1);
                format!(
                    "the leader {does} a request of client {whose} that server {} has forwarded",
                    server + 1
                )
            }
        }
    }
}

fn holds<const BIT: u8>(_: &Moves, s: &State) -> bool {
    s.wrongs >> BIT & 1 == 0
}

impl Model for Moves {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let states = self.zab.initial().into_iter().map(|cluster| {
            let client = |i: usize| Client {
                at: Some(self.view.at[i]),
                conn: 1,
                xid: 0,
                sent: 0,
                waits: false,
                moves: self.view.moves[i],
            };
            let host = |server| {
                let tree = serving::tree(&self.zab, &cluster, server);
                Host {
                    serves: serving::peer(&self.zab, &cluster, server).and_then(|p| p.serving()),
                    applied: u8::try_from(tree.len()).unwrap_or(u8::MAX),
                    ..Host::new(server, 0, self.slip)
                }
            };
            State {
                hosts: self.servers().map(host).collect(),
                cluster,
                clients: [client(0), client(1)],
                made: Vec::new(),
                owners: (Epoch(1), self.view.at.map(Some)),
                drops: self.view.drops,
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
        let reachable = |server| serving::leader_of(&self.zab, &s.cluster, server).is_some();
        for (client, c) in (0..).zip(&s.clients) {
            let left = c.sent < self.view.requests[usize::from(client)];
            if c.at.is_some() && !c.waits && left {
                steps.push(Step::Send(client));
            }
            if left && (c.at.is_none() || c.moves > 0) {
                steps.extend(
                    self.servers()
                        .filter(|i| reachable(*i))
                        .map(|i| Step::Connect(client, i)),
                );
            }
        }
        for server in self.servers() {
            if !s.hosts[usize::from(server)].forwarded.is_empty() && reachable(server) {
                steps.push(Step::Reach(server));
                if s.drops > 0 {
                    steps.push(Step::Drop(server));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Ensemble(action) => {
                self.zab.apply(&mut s.cluster, action, &mut self.zab.log());
                if let Action::Crash { server, .. } = action {
                    let i = server - 1;
                    let starts = s.hosts[usize::from(i)].starts + 1;
                    s.hosts[usize::from(i)] = Host::new(i, starts, self.slip);
                    for client in 0..2 {
                        if s.clients[usize::from(client)].at == Some(i) {
                            s.close(client);
                        }
                    }
                }
            }
            Step::Send(client) => self.send(&mut s, client),
            Step::Connect(client, server) => {
                let leader = serving::leader_of(&self.zab, &s.cluster, server)?;
                *self.owner(&mut s, leader, client) = Some(server);
                let c = &mut s.clients[usize::from(client)];
                if c.at.is_some() {
                    c.moves -= 1;
                }
                *c = Client {
                    at: Some(server),
                    conn: c.conn + 1,
                    xid: 0,
                    waits: false,
                    ..*c
                };
            }
            Step::Reach(server) => {
                let leader = serving::leader_of(&self.zab, &s.cluster, server)?;
                let (cxid, request) = s.hosts[usize::from(server)].forwarded.pop_front()?;
                self.propose(&mut s, leader, server, cxid, request);
            }
            Step::Drop(server) => {
                s.hosts[usize::from(server)].forwarded.pop_front()?;
                s.drops -= 1;
            }
        }
        for server in self.servers() {
            self.look_after(&mut s, server);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let [own, nobody, each] = PROPERTIES;
        Vec::from([
            Property::always(own, holds::<0>),
            Property::always(nobody, holds::<1>),
            Property::always(each, holds::<2>),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::{Checker, HasDiscoveries};

    /// Both cases of the kind: the answer of a request that the session sent elsewhere, and the end of a connection for a refusal
    /// that was another one's.
    #[test]
    fn by_session_and_xid_clients_get_each_others_answers_and_are_closed_for_them() {
        let slip = Slip::MatchBySessionAndXid;
        for property in [OWN, NOBODY] {
            let checker = Moves::new(slip.view(), Some(slip)).checker();
            let until = HasDiscoveries::AnyOf([property].into());
            let found = checker.finish_when(until).spawn_bfs().join();
            let path = found.discovery(property).expect("a way");
            assert_eq!(path.into_actions().len(), slip.expected().1, "{property}");
        }
    }
}
