//! What is asked where sessions move, what may be wrong with a server, and the configurations in which both are looked at.

use crate::checker::bounds::{self, Bounds, Disk, Grain, Start};
use crate::checker::serving::{self, Run};

/// A wrong rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// A transaction answers the oldest waiting request with its session and xid, and those before that are given up.
    MatchBySessionAndXid,
    /// A server that restarts numbers its requests from the same value again.
    NumbersStartAnew,
    /// A request is taken from a server that the session has left.
    OldConnectionCounts,
    /// Those who wait are not given up when serving ends.
    WaitOnAfterServing,
    /// The leader's word on a session is for the newest connection that waits for one.
    WordToTheNewest,
    /// A leader that leaves does not say which sessions are elsewhere.
    MovedOnesStay,
    /// A leader that leaves lets sessions move behind what it has said of them.
    MovesWhileLeaving,
}

impl serving::Slip for Slip {
    const ALL: &'static [Self] = &[
        Self::MatchBySessionAndXid,
        Self::NumbersStartAnew,
        Self::OldConnectionCounts,
        Self::WaitOnAfterServing,
        Self::WordToTheNewest,
        Self::MovedOnesStay,
        Self::MovesWhileLeaving,
    ];

    fn expected(self) -> (&'static str, usize) {
        match self {
            Self::MatchBySessionAndXid => (OWN, 8),
            Self::NumbersStartAnew => (OWN, 16),
            Self::OldConnectionCounts => (ORDER, 3),
            Self::WaitOnAfterServing => (LEFT, 3),
            Self::WordToTheNewest => (WORD, 3),
            Self::MovedOnesStay => (ORDER, 14),
            Self::MovesWhileLeaving => (ORDER, 14),
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::MatchBySessionAndXid => "found here (D-24)",
            Self::NumbersStartAnew
            | Self::OldConnectionCounts
            | Self::WaitOnAfterServing
            | Self::WordToTheNewest
            | Self::MovedOnesStay
            | Self::MovesWhileLeaving => "a textbook mistake",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::MatchBySessionAndXid => {
                "a transaction answers whichever waiting request has its session and xid, which a client uses again on each connection"
            }
            Self::NumbersStartAnew => {
                "a server that restarts gives its requests the numbers of those that it sent before"
            }
            Self::OldConnectionCounts => {
                "the leader takes a request of a session from a server that the session has left"
            }
            Self::WordToTheNewest => {
                "the leader's word on a session is taken for the newest connection that waits for one"
            }
            Self::MovedOnesStay => {
                "what is unread of a connection that its session has left outlives the reign of a leader that knew better"
            }
            Self::MovesWhileLeaving => {
                "a leader lets a session go on elsewhere behind what it has said at its end"
            }
            Self::WaitOnAfterServing => {
                "who waits for an answer goes on waiting when the server stops serving"
            }
        }
    }
}

impl Slip {
    /// The configuration in which it shows.
    #[must_use]
    pub const fn view(self) -> &'static View {
        match self {
            Self::MatchBySessionAndXid | Self::OldConnectionCounts | Self::WordToTheNewest => {
                &MOVES
            }
            Self::NumbersStartAnew | Self::WaitOnAfterServing => &CRASH,
            Self::MovedOnesStay | Self::MovesWhileLeaving => &LEAVE,
        }
    }
}

/// An answer is of the request of its own connection, and SessionMoved is nobody's answer: its connection ends.
pub const OWN: &str = "an answer is of the own request";
/// A connection ends for its own session's request only: because that was refused, or will never be answered.
pub const NOBODY: &str = "nobody is closed for another's answer";
/// When the transaction of a request is applied at its server, the request is answered.
pub const EACH: &str = "an answer is given when it is there";
/// Requests of a session take effect in its order: none of a connection that it has left, once the leader has let it go on elsewhere.
pub const ORDER: &str = "a session that has moved leaves nothing behind";
/// Whoever waits is told when serving ends, and when its request was dropped and an answer behind it comes.
pub const LEFT: &str = "nobody waits for what will not come";
/// The leader's word on a session is for the connection that it was asked for.
pub const WORD: &str = "a word is for who asked";
/// Requests and sessions are judged by the server that leads; who serves behind a leader asks it.
pub const JUDGES: &str = "only a leader judges";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 7] = [OWN, NOBODY, EACH, ORDER, LEFT, WORD, JUDGES];

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
    /// Leaders may say that they leave.
    pub leaves: bool,
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
    requests: [3, 1],
    at: [0, 2],
    moves: [3, 0],
    drops: 1,
    leaves: false,
    // A session that goes on asks the leader in a step of its own, and two more properties are asked: with the same numbers of requests
    // and moves as before there would be 7.7 million. The session beside sends one request, not two.
    golden: (3_688_283, 10_800_166),
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
    moves: [1, 0],
    drops: 0,
    leaves: false,
    // The same: with two moves, 11.2 million. It moves once, and as often as its connection ends.
    golden: (1_854_459, 5_413_756),
};

/// Two sessions behind one follower, so small that a wrong rule shows at once.
pub const DROP: View = View {
    ensemble: &Bounds {
        name: "clients-moves-drop",
        about: "two sessions send through one follower, the leader drops a request, and one of them moves",
        observers: 0,
        txns: 4,
        ..ENSEMBLE
    },
    requests: [2, 1],
    at: [0, 0],
    moves: [1, 0],
    drops: 1,
    leaves: false,
    golden: (2_957, 5_945),
};

/// A leader that is stopped says so, and clients stay where they are.
pub const LEAVE: View = View {
    ensemble: &Bounds {
        name: "clients-moves-leave",
        about: "a session moves while its leader says that it leaves; what it has asked for over the connection that it has left outlives that or not",
        servers: 3,
        observers: 0,
        txns: 4,
        crashes: 1,
        faults: 1,
        ..ENSEMBLE
    },
    requests: [2, 0],
    at: [0, 1],
    moves: [1, 0],
    drops: 0,
    leaves: true,
    golden: (2_742_757, 7_705_231),
};

impl View {
    /// Its name and numbers.
    #[must_use]
    pub const fn run(&self) -> Run {
        Run {
            name: self.ensemble.name,
            about: self.ensemble.about,
            golden: self.golden,
        }
    }
}

/// Every configuration of sessions that move.
pub const ALL: &[View] = &[MOVES, CRASH, DROP, LEAVE];
