//! What is asked of clients' answers, what may be wrong with a server that gives them, and the configurations in which both are looked at.

use crate::checker::bounds::{self, Bounds, Disk, Grain, Start};
use crate::checker::serving::{self, Run};

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
    /// A leader answers a learner's sync at once, though something is open.
    SyncAtOnce,
    /// A sync that has nothing to wait for is answered from a tree that is behind.
    SyncFromTreeBehind,
    /// No slip but a limit, ZooKeeper's and ours: a leader that does not know yet that it was replaced answers sync. The
    /// property that leaves this out is [`SYNC`]; with this, it leaves nothing out.
    DeposedLeaderCounts,
}

impl serving::Slip for Slip {
    const ALL: &'static [Self] = &[
        Self::ReplyBeforeApply,
        Self::NoLastSeenZxidCheck,
        Self::WatchAfterReply,
        Self::SyncLocal,
        Self::SyncAtOnce,
        Self::SyncFromTreeBehind,
        Self::DeposedLeaderCounts,
    ];

    fn expected(self) -> (&'static str, usize) {
        match self {
            Self::ReplyBeforeApply => (READS, 6),
            Self::NoLastSeenZxidCheck => (READS, 8),
            Self::WatchAfterReply => (WATCH, 5),
            Self::SyncLocal => (SYNC, 9),
            Self::SyncAtOnce => (FIFO, 2),
            Self::SyncFromTreeBehind => (FIFO, 6),
            Self::DeposedLeaderCounts => (SYNC, 19),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::ReplyBeforeApply => {
                "a write is answered before the client's server has applied it"
            }
            Self::NoLastSeenZxidCheck => "a server that is behind takes over a client",
            Self::WatchAfterReply => "the event comes after the reply that shows the change",
            Self::SyncLocal => "a server answers sync without the leader",
            Self::SyncAtOnce => {
                "a leader answers a learner's sync at once, while a proposal is open"
            }
            Self::SyncFromTreeBehind => {
                "a sync that has nothing to wait for is answered before what is committed is applied"
            }
            Self::DeposedLeaderCounts => {
                "no bug but a limit: a leader that does not know yet that it was replaced answers sync"
            }
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::DeposedLeaderCounts => "ZooKeeper's, too (§12)",
            _ => "a textbook mistake",
        }
    }
}

impl Slip {
    /// The configuration in which it shows.
    #[must_use]
    pub const fn view(self) -> &'static View {
        match self {
            Self::DeposedLeaderCounts => &DEPOSED,
            Self::SyncAtOnce | Self::SyncFromTreeBehind => &SYNCS,
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
/// Clients are served by every server that serves with a leader behind it, or as the leader, and by no other.
pub const SERVED: &str = "clients are at servers that serve";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 6] = [FIFO, READS, WATCH, WRITES, SYNC, SERVED];

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
    /// Turns of the servers are steps of their own; else each ends with the step that has something applied.
    pub turns: bool,
    /// A sync waits for a quorum, and [`SYNC`] leaves nothing out.
    pub waits: bool,
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
    turns: false,
    waits: false,
    // 471 fewer than before `OwnSyncs`: a sync at a follower no longer knows what it waits for, only that the leader answers.
    golden: (2_205_809, 6_665_551),
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
    turns: false,
    waits: false,
    golden: (1_949_428, 6_850_448),
};

/// The same, where a sync waits for a quorum: what the replaced leader answers is current.
pub(super) const WAITS: View = View {
    ensemble: &Bounds {
        name: "clients-waits",
        about: "as clients-deposed, where a sync waits for a quorum: the leader that others replace answers none too early",
        crashes: 0,
        disconnects: 2,
        faults: 2,
        txns: 4,
        ..ENSEMBLE
    },
    waits: true,
    golden: (11_076_197, 41_061_499),
    ..DEPOSED
};

/// A client at the leader and one at a follower sync behind their own writes and each other's.
pub const SYNCS: View = View {
    ensemble: &Bounds {
        name: "clients-sync",
        about: "one client at the leader and one at a follower write, sync and read, without a fault",
        crashes: 0,
        faults: 0,
        ..ENSEMBLE
    },
    scripts: [
        &[Op::Write, Op::Sync, Op::Read],
        &[Op::Write, Op::Sync, Op::Read],
    ],
    at: [1, 2],
    moves: [0, 0],
    turns: true,
    waits: false,
    golden: (7_558, 29_694),
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

/// Every configuration of clients.
pub const ALL: &[View] = &[CRASH, DEPOSED, WAITS, SYNCS];
