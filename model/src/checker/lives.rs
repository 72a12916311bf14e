//! The lives of sessions, from what their clients do: one client at the leader, one at a follower, and a clock.
//!
//! Nothing here is of the protocol core; the rules are those of [`SessionTracker`], [`word_of`] and [`Room`], as the host calls them: a
//! look at each [`SessionTracker::next_look_ms`], a PING of the follower each half tick. Clients speak all the time or have fallen silent;
//! they may be held up, so that what they say is not read; the leader's process may stand still, its disk may be full, and another leader
//! may take over. Time is a few ticks of four units.

use super::serving::{self, Judged, Run, Wrongs};
use crate::ids::{ServerId, SessionId};
use crate::service::room::Room;
use crate::service::tracker::{Applied, Asks, SessionTracker, Standing, lost, word_of};
use crate::tree::error::ErrorCode;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use stateright::{Model, Property};

const TICK: u64 = 4;
const TIMEOUT_MS: i32 = 8;
const TIMEOUT: u64 = 8;
/// Time ends here.
const END: u64 = 16;
/// What may happen besides time and silence.
const LEFT: u8 = 2;
const LEADER: ServerId = ServerId(1);
const FOLLOWER: ServerId = ServerId(2);
/// Whoever has this session has gone, and only its ephemeral node is left.
const GHOST: SessionId = SessionId(9);

/// A wrong rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// A client that is held up counts as silent.
    HeldUpIsSilent,
    /// A stall of the leader's process counts as silence.
    StallIsSilence,
    /// A new leader goes on with what the old one counted.
    ElectionIsSilence,
    /// Sessions end though that cannot be logged.
    EndsWithoutRoom,
    /// The leader takes a session over that is over.
    OverGoesOn,
    /// The leader does not look for the ephemeral nodes of sessions that are gone.
    LostAreKept,
    /// A session that goes on at another server is still the earlier one's.
    OwnerStays,
}

impl serving::Slip for Slip {
    const ALL: &'static [Self] = &[
        Self::HeldUpIsSilent,
        Self::StallIsSilence,
        Self::ElectionIsSilence,
        Self::EndsWithoutRoom,
        Self::OverGoesOn,
        Self::LostAreKept,
        Self::OwnerStays,
    ];

    fn expected(self) -> (&'static str, usize) {
        match self {
            Self::HeldUpIsSilent => (SPEAKS, 13),
            Self::StallIsSilence => (SPEAKS, 4),
            Self::ElectionIsSilence => (SPEAKS, 2),
            Self::EndsWithoutRoom => (ROOM, 14),
            Self::OverGoesOn => (OVER, 14),
            Self::LostAreKept => (SILENT, 5),
            Self::OwnerStays => (SPEAKS, 1),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::HeldUpIsSilent => {
                "a client that is held up, and therefore not read, counts as silent"
            }
            Self::StallIsSilence => {
                "a stall of the leader's own process counts as its clients' silence"
            }
            Self::ElectionIsSilence => "a new leader gives sessions what is left of their timeouts",
            Self::EndsWithoutRoom => {
                "sessions that are over are closed while the disk has no room for that"
            }
            Self::OverGoesOn => "a session that is over goes on when its client comes back",
            Self::LostAreKept => "a new leader leaves ephemeral nodes whose session is gone",
            Self::OwnerStays => "a session that goes on at another server stays the earlier one's",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::HeldUpIsSilent => "found here",
            _ => "a textbook mistake",
        }
    }
}

/// Nobody loses a session while its client speaks.
pub const SPEAKS: &str = "who speaks keeps the session";
/// A session is over within its timeout and a tick of its client's last word, as far as servers that lead have looked for it.
pub const SILENT: &str = "who is silent loses it in time";
/// No session goes on, and no request of it is taken, once its end is on the way.
pub const OVER: &str = "what is over stays over";
/// What cannot be logged is not proposed.
pub const ROOM: &str = "nothing is proposed without room";
/// Nothing of a connection that the session has left is taken.
pub const MOVED: &str = "what was left behind changes nothing";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 5] = [SPEAKS, SILENT, OVER, ROOM, MOVED];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Client {
    /// Whose it is: attached at the leader, or at the follower.
    at: ServerId,
    speaks: bool,
    /// When it spoke last.
    spoke_ms: u64,
    /// That was not read yet.
    is_unread: bool,
    /// When it was held up last.
    held_up_ms: u64,
    /// When its server heard it, if that was since the last look or PING.
    heard_ms: Option<u64>,
    /// The end of its session was proposed.
    ends: bool,
    /// And applied.
    ended: bool,
}

/// Sessions and their clients.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    now: u64,
    tracker: SessionTracker,
    clients: [Client; 2],
    /// The node of [`GHOST`] is there.
    ghost: bool,
    /// Since when the same leader has led without a stall, with room on its disk.
    steady_since: u64,
    next_look: u64,
    /// The clients of the leader's server, and of the follower.
    held_up: [bool; 2],
    room: Room,
    /// What may still happen, but for time and silence.
    left: u8,
    wrongs: Wrongs,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {:?} {:?}", self.now, self.clients, self.wrongs)
    }
}

impl serving::With<Slip> for Lives {
    fn with(slip: Slip) -> Self {
        Self { slip: Some(slip) }
    }
}

impl Judged for State {
    fn wrongs(&self) -> Wrongs {
        self.wrongs
    }
}

impl State {
    fn wrong(&mut self, property: &str) {
        self.wrongs.add(&PROPERTIES, property);
    }
}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A unit of time.
    Time,
    /// A client falls silent.
    Silence(usize),
    /// A client goes on with its session at this server, and asks for something; then something comes over its earlier connection.
    GoOn(usize, ServerId),
    /// The clients of the leader's server (0) or of the follower (1) are held up, or no longer.
    Hold(usize),
    /// The disk is full, or no longer.
    Disk,
    /// The leader's process stands still for more than two ticks.
    Stall,
    /// Another leader takes over, after so long.
    Election,
    /// The ends of sessions that were proposed are applied.
    Apply,
}

/// The model.
#[derive(Debug, Default)]
pub struct Lives {
    slip: Option<Slip>,
}

/// The configuration.
pub const RUN: Run = Run {
    name: "clients-lives",
    about: "a client at the leader and one at a follower are silent, held up, or move, over a stall, an election and a full disk",
    golden: (476_027, 788_791),
};

const fn session(client: usize) -> SessionId {
    SessionId(client as i64 + 1)
}

impl Lives {
    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn is_held_up(s: &State, client: usize) -> bool {
        s.held_up[usize::from(s.clients[client].at == FOLLOWER)]
    }

    /// A leader begins, with what is in its tree.
    fn begin(&self, s: &mut State) {
        let there: Vec<_> = (0..2).filter(|i| !s.clients[*i].ended).collect();
        let known = there.iter().map(|i| (session(*i), TIMEOUT_MS));
        s.tracker = if self.slips(Slip::ElectionIsSilence) {
            let mut tracker = SessionTracker::begin(TICK, s.now, [].into_iter());
            known.for_each(|(session, timeout_ms)| tracker.track(session, timeout_ms, 0));
            tracker
        } else {
            SessionTracker::begin(TICK, s.now, known)
        };
        for i in &there {
            s.clients[*i].ends = false; // if its end was proposed, nobody has it
        }
        (s.next_look, s.steady_since) = (s.now, s.now);
        let owners = there.iter().map(|i| session(*i));
        let owners = owners.chain(s.ghost.then_some(GHOST));
        for owner in lost(owners, |o| there.iter().any(|i| session(*i) == o)) {
            if !self.slips(Slip::LostAreKept) {
                s.tracker.track_lost(owner);
            }
        }
    }

    /// Time has passed; `is_read`: what clients and the follower said was read meanwhile.
    fn pass(&self, s: &mut State, is_read: bool) {
        let now = s.now;
        for i in 0..2 {
            let is_held_up = Self::is_held_up(s, i);
            let client = &mut s.clients[i];
            if client.speaks {
                (client.spoke_ms, client.is_unread) = (now, true);
            }
            if is_held_up {
                client.held_up_ms = now;
            } else if is_read && client.is_unread {
                (client.heard_ms, client.is_unread) = (Some(now), false);
            }
            let pings = now.is_multiple_of(TICK / 2) && is_read && client.at == FOLLOWER;
            let held_up = is_held_up && !self.slips(Slip::HeldUpIsSilent);
            if pings && word_of(client.heard_ms.take(), held_up, now).is_some() {
                s.tracker.touch(session(i), now);
            }
        }
        if now >= s.next_look {
            if self.slips(Slip::StallIsSilence) {
                let due = s.tracker.expire(now);
                self.close(s, due);
            }
            s.tracker.look(now);
            for i in 0..2 {
                let held_up = Self::is_held_up(s, i) && !self.slips(Slip::HeldUpIsSilent);
                if s.clients[i].at == LEADER {
                    let heard_ms = s.clients[i].heard_ms.take();
                    s.tracker.hear(session(i), heard_ms, held_up);
                }
            }
            s.next_look = s.tracker.next_look_ms(now);
        }
        self.turn(s);
        Self::judge(s);
    }

    /// The end of each turn of the host.
    fn turn(&self, s: &mut State) {
        let room = if self.slips(Slip::EndsWithoutRoom) {
            Room::default()
        } else {
            s.room
        };
        if s.tracker.has_due(room) {
            let due = s.tracker.take_due(room);
            self.close(s, due);
        }
    }

    /// The ends of these sessions are proposed.
    #[expect(clippy::unused_self, reason = "as all that the host does")]
    fn close(&self, s: &mut State, due: Vec<SessionId>) {
        for over in due {
            if s.room.is_full() {
                s.wrong(ROOM);
            }
            match (0..2).find(|i| session(*i) == over) {
                None => s.ghost = false,
                Some(i) => {
                    s.clients[i].ends = true;
                    if s.clients[i].spoke_ms + TIMEOUT > s.now {
                        s.wrong(SPEAKS);
                    }
                }
            }
        }
    }

    /// Whoever has to be over by now is. A learner's word may have come half a tick after its client's.
    fn judge(s: &mut State) {
        for i in 0..2 {
            let client = s.clients[i];
            let word = client.spoke_ms.max(client.held_up_ms);
            let since = word.max(s.steady_since) + TICK / 2;
            if !client.ends && !client.ended && s.now > since + TIMEOUT + TICK && !s.room.is_full()
            {
                s.wrong(SILENT);
            }
        }
        if s.ghost && s.now > s.steady_since + TICK && !s.room.is_full() {
            s.wrong(SILENT);
        }
    }

    /// A client goes on with its session at a server, and asks for something; so does what is left of its earlier connection.
    fn go_on(&self, s: &mut State, i: usize, owner: ServerId) {
        let before = s.clients[i].at;
        let valid = s.tracker.revalidate(session(i), TIMEOUT_MS, owner, s.now);
        let valid = valid || self.slips(Slip::OverGoesOn);
        if self.slips(Slip::OwnerStays) {
            s.tracker.set_owner(session(i), before);
        }
        let mut asks = |at| s.tracker.admit(session(i), Asks::Other, at, s.now);
        let (taken, late) = (asks(owner), asks(before));
        let is_over = s.clients[i].ends || s.clients[i].ended;
        if is_over && (valid || taken != Err(ErrorCode::SessionExpired)) {
            s.wrong(OVER);
        }
        if !is_over && (!valid || taken.is_err()) {
            s.wrong(SPEAKS);
        }
        if !is_over && before != owner && late != Err(ErrorCode::SessionMoved) {
            s.wrong(MOVED);
        }
        if valid {
            let client = &mut s.clients[i];
            (client.at, client.speaks) = (owner, true);
            (client.spoke_ms, client.heard_ms) = (s.now, None);
            client.is_unread = false;
        }
    }
}

impl Model for Lives {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let client = |at| Client {
            at,
            speaks: true,
            spoke_ms: 0,
            is_unread: false,
            held_up_ms: 0,
            heard_ms: None,
            ends: false,
            ended: false,
        };
        let mut s = State {
            now: 0,
            tracker: SessionTracker::new(TICK),
            clients: [client(LEADER), client(FOLLOWER)],
            ghost: true,
            steady_since: 0,
            next_look: 0,
            held_up: [false; 2],
            room: Room::default(),
            left: LEFT,
            wrongs: Wrongs::default(),
        };
        self.begin(&mut s);
        self.turn(&mut s);
        Vec::from([s])
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if !s.wrongs.is_none() || s.now >= END {
            return;
        }
        steps.push(Step::Time);
        let speaking = (0..2).filter(|i| s.clients[*i].speaks);
        steps.extend(speaking.map(Step::Silence));
        if s.clients.iter().any(|c| c.ends && !c.ended) {
            steps.push(Step::Apply);
        }
        if s.left > 0 {
            let servers = [LEADER, FOLLOWER];
            steps.extend((0..2).flat_map(|i| servers.map(|at| Step::GoOn(i, at))));
            steps.extend([Step::Hold(0), Step::Hold(1)]);
            steps.extend([Step::Disk, Step::Stall, Step::Election]);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Time | Step::Silence(_) | Step::Apply => {}
            Step::GoOn(..) | Step::Hold(_) | Step::Disk | Step::Stall | Step::Election => {
                s.left -= 1;
            }
        }
        match step {
            Step::Time => {
                s.now += 1;
                self.pass(&mut s, true);
            }
            Step::Silence(i) => s.clients[i].speaks = false,
            Step::GoOn(i, at) => self.go_on(&mut s, i, at),
            Step::Hold(at) => s.held_up[at] = !s.held_up[at],
            Step::Disk if s.room.is_full() => {
                s.room.on_room();
                s.steady_since = s.now;
            }
            Step::Disk => s.room.on_full(),
            Step::Stall => {
                s.now += 2 * TICK + 1;
                s.steady_since = s.now;
                self.pass(&mut s, false);
            }
            Step::Election => {
                s.now += 2 * TICK + 1;
                self.begin(&mut s);
                self.pass(&mut s, false);
            }
            Step::Apply => {
                for i in 0..2 {
                    if s.clients[i].ends && !s.clients[i].ended {
                        s.clients[i].ended = true;
                        s.tracker
                            .on_applied(session(i), Applied::Ended, true, s.now);
                        if s.tracker.standing(session(i)) != Standing::Unknown {
                            s.wrong(OVER);
                        }
                    }
                }
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        serving::properties(&PROPERTIES)
    }
}

impl serving::Service for Lives {
    fn text(&self, s: &State, step: Step) -> String {
        let on = |held: bool| if held { "no longer" } else { "from now on" };
        match step {
            Step::Time => format!("it is {}", s.now + 1),
            Step::Silence(i) => format!("client {} falls silent", i + 1),
            Step::GoOn(i, at) => format!("client {} goes on at server {}", i + 1, at.0),
            Step::Hold(at) => format!(
                "clients of server {} are held up {}",
                at + 1,
                on(s.held_up[at])
            ),
            Step::Disk => format!("the leader's disk is full {}", on(s.room.is_full())),
            Step::Stall => "the leader's process stands still for more than two ticks".into(),
            Step::Election => "another leader has taken over".into(),
            Step::Apply => "what was proposed is applied".into(),
        }
    }
}
