//! Sessions that move with requests in flight: whose answer does a connection get, and who is closed for it?
//!
//! Each connection of a session counts its requests from 1. A request goes from its server to the leader in a step of its own
//! ([`Step::Reach`]), so it may be overtaken by the session itself, which is another server's by then; its transaction comes back
//! when the ensemble brings it. The leader may also drop a request. Which waiting request a transaction answers, and who is given up
//! when serving ends, is decided by the server's own [`Awaited`], whom a session belongs to by its own [`SessionTracker`]. What the
//! checker knows beside them is which request each transaction was made for.

use super::action::Action;
use super::cluster::Cluster;
use super::model::Zab;
use super::serving::{self, Ensemble, Judged, Wrongs};
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::peer::Peer;
use crate::service::answers::{Told, told};
use crate::service::handover::Stay;
use crate::service::mode::{Awaited, InVain, Way};
use crate::service::tracker::{Asks, SessionTracker};
use crate::tree::apply::TxnResult;
use crate::tree::error::ErrorCode;
use crate::tree::txn::TxnHeader;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use stateright::{Model, Property};

mod asked;
mod leave;
mod words;
pub use asked::{
    ALL, CRASH, DROP, EACH, JUDGES, LEAVE, LEFT, MOVES, NOBODY, ORDER, OWN, PROPERTIES, Slip, View,
    WORD,
};

/// A request as the checker knows it: whose, and the how many-th of its client.
type Request = (u8, u8);

/// A connection: whose, and the how many-th.
type Conn = (u8, u8);

/// What a server says to its leader, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Said {
    /// REQUEST, with its cxid.
    Request(i32, Waiting),
    /// REVALIDATE: a session is to go on over this connection.
    Revalidate(Conn),
}

impl Said {
    const fn client(self) -> u8 {
        match self {
            Self::Request(_, w) => w.request.0,
            Self::Revalidate((client, _)) => client,
        }
    }
}

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
    awaited: Awaited<Waiting, (), Conn>,
    /// What waits under [`Slip::MatchBySessionAndXid`].
    by_xid: VecDeque<Waiting>,
    /// On the way to the leader.
    said: VecDeque<Said>,
    /// Whether its clients stay when its leader has left, and what they have asked for and nobody has read; that also of connections which
    /// clients have left, as long as the server does not know.
    stay: Stay,
    held: VecDeque<Waiting>,
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
    /// The session goes on over this one.
    open: bool,
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
    /// In which epoch which session is at which server, and over which connection the leader has let it go on there.
    owners: (Epoch, [Option<ServerId>; 2], [u8; 2]),
    drops: u8,
    /// The leader that is about to stop, and of which epoch.
    leaves: Option<(u8, Epoch)>,
    wrongs: Wrongs,
}

impl State {
    fn rest(&self) -> impl Hash + PartialEq + '_ {
        let Self {
            hosts,
            clients,
            made,
            owners,
            drops,
            leaves,
            wrongs,
            ..
        } = self;
        (hosts, clients, made, owners, drops, leaves, wrongs)
    }
}

impl serving::With<Slip> for Moves {
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
    /// A client's session is to go on at that server.
    Connect(u8, u8),
    /// The leader takes what a server has said to it first.
    Reach(u8),
    /// The leader drops it.
    Drop(u8),
    /// A server reads a request.
    Take(u8),
    /// A leader says that it leaves.
    Leave(u8),
    /// A learner that has heard it asks which of its sessions are elsewhere, and is told.
    Settle(u8),
}

/// The model.
#[derive(Debug)]
pub struct Moves {
    ensemble: Ensemble,
    view: &'static View,
    slip: Option<Slip>,
}

/// What clients ask for, by ZooKeeper's code.
const DELETE: i32 = 2;

const fn sid(server: u8) -> ServerId {
    ServerId(server as u64 + 1)
}

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
            awaited: Awaited::new(sid(server), u64::from(clock_ms)),
            by_xid: VecDeque::new(),
            said: VecDeque::new(),
            stay: Stay::No,
            held: VecDeque::new(),
            applied: 0,
            starts,
        }
    }

    /// Nothing that waits here will be answered: who is told so.
    fn end(&mut self) -> Vec<Waiting> {
        let mut told = Vec::new();
        self.awaited.end(|who| match who {
            InVain::Answer(w) => told.push(w),
            InVain::Sync(()) | InVain::Revalidation(_) => {}
        });
        told.extend(self.by_xid.drain(..));
        self.said.clear();
        told
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
        self.wrongs.add(&PROPERTIES, property);
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
            ensemble: Ensemble {
                zab: Zab::new(view.ensemble),
            },
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

    /// The leader's tracker. A new leader knows no owners. What it has learned is to be kept by [`Moves::keep`].
    fn tracker(&self, s: &mut State, leader: u8) -> SessionTracker {
        let epoch = self.ensemble.serves(&s.cluster, leader).unwrap_or_default();
        if s.owners.0 != epoch {
            // What a session has done over a later connection is known to nobody but the checker now. Where no connection outlives a reign
            // it need not know.
            let conns = if self.view.leaves { s.owners.2 } else { [0; 2] };
            s.owners = (epoch, [None; 2], conns);
        }
        let sessions = (0..2).map(|client| (session(client), 1));
        let mut tracker = SessionTracker::begin(1, 0, sessions);
        for (client, owner) in (0..).zip(s.owners.1) {
            if let Some(owner) = owner {
                tracker.set_owner(session(client), owner);
            }
        }
        tracker
    }

    fn keep(s: &mut State, tracker: &SessionTracker) {
        s.owners.1 = [0, 1].map(|client| tracker.owner(session(client)));
    }

    /// A request is at the leader: a transaction is made of it, or of its refusal.
    fn propose(&self, s: &mut State, leader: u8, from: u8, cxid: i32, w: Waiting) {
        let mut tracker = self.tracker(s, leader);
        let client = w.request.0;
        let taken = tracker.admit(session(client), Asks::Other, sid(from), 0);
        let moved = taken.is_err() && self.slip != Some(Slip::OldConnectionCounts);
        Self::keep(s, &tracker);
        if !moved && w.conn < s.owners.2[usize::from(client)] {
            s.is_wrong(ORDER);
        }
        if let Some(zxid) = self.ensemble.propose(&mut s.cluster, leader) {
            s.made.push(Made {
                zxid,
                cxid,
                request: w.request,
                moved,
            });
        }
    }

    /// The leader lets a session go on over a connection to a server.
    fn go_on(&self, s: &mut State, leader: u8, server: u8, (client, conn): Conn) {
        let mut tracker = self.tracker(s, leader);
        let valid = tracker.revalidate(session(client), 1, sid(server), 0);
        assert!(valid, "no session ends here");
        Self::keep(s, &tracker);
        s.owners.2[usize::from(client)] = conn;
    }

    /// What a server does with something that only a leader may decide. Who leads judges, who serves behind a leader asks it, and who
    /// serves nobody sends its clients away.
    fn way(&self, s: &mut State, server: u8) -> Way {
        let way = self.ensemble.mode(&s.cluster, server).way();
        let leads = self.ensemble.leader_of(&s.cluster, server) == Some(server);
        let right = match self.ensemble.serves(&s.cluster, server) {
            Some(_) if leads => Way::Judge,
            Some(_) => Way::Forward,
            None => Way::Close,
        };
        if way != right {
            s.is_wrong(JUDGES);
        }
        way
    }

    /// A session is to go on at a server, over a new connection.
    fn connect(&self, s: &mut State, client: u8, server: u8) {
        let c = &mut s.clients[usize::from(client)];
        if c.at.is_some() {
            c.moves -= 1;
        }
        *c = Client {
            at: Some(server),
            conn: c.conn + 1,
            open: false,
            xid: 0,
            waits: false,
            ..*c
        };
        let conn = (client, c.conn);
        // An earlier one at this server ends.
        let held = &mut s.hosts[usize::from(server)].held;
        held.retain(|w| w.request.0 != client);
        match self.way(s, server) {
            Way::Close | Way::Alone => s.close(client),
            Way::Judge => {
                s.clients[usize::from(client)].open = true;
                self.go_on(s, server, server, conn);
            }
            Way::Forward => {
                let host = &mut s.hosts[usize::from(server)];
                host.awaited.revalidations.ask(session(client), conn);
                host.said.push_back(Said::Revalidate(conn));
            }
        }
    }

    /// The leader hears what a server has said. Its word on a session is heard in the same step.
    fn reach(&self, s: &mut State, server: u8) -> Option<()> {
        let leader = self.ensemble.leader_of(&s.cluster, server)?;
        match s.hosts[usize::from(server)].said.pop_front()? {
            Said::Request(cxid, waiting) => self.propose(s, leader, server, cxid, waiting),
            // Its connection ends with the reign.
            Said::Revalidate(_) if !self.lets_move(s) => {}
            Said::Revalidate(asked) => {
                self.go_on(s, leader, server, asked);
                let (client, _) = asked;
                let told = self.word(&mut s.hosts[usize::from(server)], session(client));
                if told != Some(asked) {
                    s.is_wrong(WORD);
                }
                let c = &mut s.clients[usize::from(client)];
                c.open |= told == Some((client, c.conn)) && c.at == Some(server);
            }
        }
        Some(())
    }

    /// The leader's word on a session is here: whom it is for.
    fn word(&self, host: &mut Host, session: SessionId) -> Option<Conn> {
        let revalidations = &mut host.awaited.revalidations;
        if self.slip != Some(Slip::WordToTheNewest) {
            return revalidations.on_answer(session);
        }
        let mut all: Vec<_> = core::iter::from_fn(|| revalidations.on_answer(session)).collect();
        let newest = all.pop();
        all.into_iter()
            .for_each(|conn| revalidations.ask(session, conn));
        newest
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
        if self.view.leaves {
            s.hosts[usize::from(at)].held.push_back(waiting);
        } else {
            self.ask(s, at, waiting);
        }
    }

    /// A request of a client goes its way.
    fn ask(&self, s: &mut State, at: u8, waiting: Waiting) {
        let client = waiting.request.0;
        let xid = i32::from(waiting.xid);
        let way = self.way(s, at);
        let host = &mut s.hosts[usize::from(at)];
        if self.is_by_xid() {
            host.by_xid.push_back(waiting);
        }
        match way {
            Way::Close | Way::Alone => {}
            Way::Judge => {
                let next = self.ensemble.peer(&s.cluster, at).and_then(Peer::next_zxid);
                if let Some(next) = next.filter(|_| !self.is_by_xid()) {
                    let answers = &mut host.awaited.answers;
                    answers.proposed(session(client), next, waiting);
                }
                self.propose(s, at, at, xid, waiting);
            }
            Way::Forward if self.is_by_xid() => {
                host.said.push_back(Said::Request(xid, waiting));
            }
            Way::Forward => {
                let number = host.awaited.answers.forwarded(session(client), waiting);
                host.said.push_back(Said::Request(number, waiting));
            }
        }
    }

    /// What a server does after a step: those who wait are given up if it serves no more; else it applies what has come, and
    /// answers.
    fn look_after(&self, s: &mut State, server: u8) {
        let serves = self.ensemble.serves(&s.cluster, server);
        let tree = self.ensemble.tree(&s.cluster, server);
        let host = &mut s.hosts[usize::from(server)];
        if serves != host.serves {
            let stays = self.stays(host, serves);
            if self.slip != Some(Slip::WaitOnAfterServing) {
                host.end();
            }
            let is_left = !host.awaited.is_empty();
            host.serves = serves;
            host.applied = u8::try_from(tree.len()).unwrap_or(u8::MAX);
            if is_left {
                s.is_wrong(LEFT);
            }
            for client in 0..2 {
                let c = s.clients[usize::from(client)];
                let is_held = |w: &Waiting| w.request.0 == client && w.conn == c.conn;
                let waits = c.waits && !s.hosts[usize::from(server)].held.iter().any(is_held);
                if c.at == Some(server) && (!stays || !c.open || waits) {
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
            let answers = &mut host.awaited.answers;
            let waited = answers.len();
            let own = answers.take(&header, |w| lost.push(w));
            let told = lost.len() + usize::from(own.is_some());
            if waited - answers.len() != told {
                s.is_wrong(LEFT);
            }
            own
        };
        for w in lost {
            if !s.is_current(&w, server) {
                continue;
            }
            let said = &s.hosts[usize::from(server)].said;
            let is_it = |said: &Said| matches!(said, Said::Request(_, r) if r.request == w.request);
            let comes = said.iter().any(is_it)
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
            let result = if made.moved {
                TxnResult::Error(ErrorCode::SessionMoved.code())
            } else {
                TxnResult::Deleted
            };
            match told(DELETE, &result) {
                Told::Moved => s.close(w.request.0),
                Told::Connected(_) | Told::Result { .. } => {
                    s.clients[usize::from(w.request.0)].waits = false;
                    if made.moved {
                        s.is_wrong(OWN);
                    }
                }
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
}

impl Model for Moves {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let states = self.ensemble.zab.initial().into_iter().map(|cluster| {
            let client = |i: usize| Client {
                at: Some(self.view.at[i]),
                conn: 1,
                open: true,
                xid: 0,
                sent: 0,
                waits: false,
                moves: self.view.moves[i],
            };
            let host = |server| {
                let tree = self.ensemble.tree(&cluster, server);
                Host {
                    serves: self.ensemble.serves(&cluster, server),
                    applied: u8::try_from(tree.len()).unwrap_or(u8::MAX),
                    ..Host::new(server, 0, self.slip)
                }
            };
            State {
                hosts: self.servers().map(host).collect(),
                cluster,
                clients: [client(0), client(1)],
                made: Vec::new(),
                owners: (Epoch(1), self.view.at.map(|at| Some(sid(at))), [1; 2]),
                drops: self.view.drops,
                leaves: None,
                wrongs: Wrongs::default(),
            }
        });
        states.collect()
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if !s.wrongs.is_none() {
            return; // what follows a wrong says nothing
        }
        steps.extend(self.ensemble.enabled(&s.cluster).map(Step::Ensemble));
        let reachable = |server| self.ensemble.leader_of(&s.cluster, server).is_some();
        for (client, c) in (0..).zip(&s.clients) {
            let left = c.sent < self.view.requests[usize::from(client)];
            // A leader that leaves takes nothing more of its own clients.
            let is_leaving = s.leaves.is_some_and(|(leader, _)| c.at == Some(leader));
            if c.at.is_some() && c.open && !c.waits && left && !is_leaving {
                steps.push(Step::Send(client));
            }
            if left && (c.at.is_none() || c.moves > 0) {
                steps.extend(
                    self.servers()
                        .filter(|i| self.lets_in(s, *i))
                        .map(|i| Step::Connect(client, i)),
                );
            }
        }
        self.endings(s, steps);
        for server in self.servers() {
            let said = s.hosts[usize::from(server)].said.front();
            if let Some(said) = said.filter(|_| reachable(server)) {
                steps.push(Step::Reach(server));
                if s.drops > 0 && matches!(said, Said::Request(..)) {
                    steps.push(Step::Drop(server));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Ensemble(action) => {
                self.ensemble.apply(&mut s.cluster, action);
                if let Action::Crash { server, .. } = action {
                    let i = server - 1;
                    s.leaves = s.leaves.filter(|(leader, _)| *leader != i);
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
            Step::Connect(client, server) => self.connect(&mut s, client, server),
            Step::Reach(server) => self.reach(&mut s, server)?,
            Step::Drop(server) => {
                s.hosts[usize::from(server)].said.pop_front()?;
                s.drops -= 1;
            }
            Step::Take(server) => {
                let waiting = s.hosts[usize::from(server)].held.pop_front()?;
                self.ask(&mut s, server, waiting);
            }
            Step::Leave(leader) => self.leave(&mut s, leader)?,
            Step::Settle(server) => self.settle(&mut s, server)?,
        }
        // It leads no more, however that has come.
        s.leaves = s
            .leaves
            .filter(|(leader, epoch)| self.ensemble.serves(&s.cluster, *leader) == Some(*epoch));
        for server in self.servers() {
            self.look_after(&mut s, server);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        serving::properties(&PROPERTIES)
    }
}

#[cfg(test)]
mod tests;
