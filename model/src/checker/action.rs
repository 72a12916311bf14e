//! Everything that can happen in a modelled cluster: one name for each, spelled alike in SPEC.md, in traces and in scenarios.

use super::link::End;
use crate::step::Timer;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// One step of the cluster. Servers are numbered from 1, as their ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Action {
    /// E0: a looking server takes itself for the leader.
    Lead {
        /// Who.
        server: u8,
    },
    /// E0: a looking server follows a leader.
    Follow {
        /// Who.
        server: u8,
        /// Whom.
        leader: u8,
    },
    /// E1: these looking servers elect their best and go through discovery.
    ElectBest {
        /// A bit for each server, the lowest for server 1.
        servers: u8,
    },
    /// E2: an election message arrives.
    Notify {
        /// From.
        from: u8,
        /// To.
        to: u8,
    },
    /// A learner's dial is answered by the leader.
    Connect {
        /// The learner.
        server: u8,
    },
    /// A learner's dial fails: the one it has elected does not lead.
    GiveUp {
        /// The learner.
        server: u8,
    },
    /// E2 alone: a leader and those who follow it go through discovery and synchronization.
    Settle {
        /// The leader.
        leader: u8,
        /// Who follows: a bit for each server.
        followers: u8,
    },
    /// A packet arrives.
    Receive {
        /// On which connection.
        link: u64,
        /// At which end.
        at: End,
    },
    /// An end learns that the connection is over.
    HearClose {
        /// Which connection.
        link: u64,
        /// At which end.
        at: End,
    },
    /// The oldest pending write becomes durable, and the server hears of it.
    Flush {
        /// Whose disk.
        server: u8,
    },
    /// A server that serves writes its tree as a snapshot.
    Snapshot {
        /// Who.
        server: u8,
    },
    /// A timer runs out.
    Fire {
        /// Whose.
        server: u8,
        /// Which.
        timer: FiredTimer,
    },
    /// A client's write reaches the leader.
    Propose {
        /// The leader.
        server: u8,
    },
    /// An operator's reconfiguration reaches the leader.
    Reconfigure {
        /// The leader.
        server: u8,
        /// The new voters: a bit for each server.
        members: u8,
    },
    /// Fault: the power fails; the first `kept` of the pending writes have reached the disk.
    Crash {
        /// Whose.
        server: u8,
        /// How many.
        kept: u8,
    },
    /// A crashed server comes back.
    Start {
        /// Who.
        server: u8,
    },
    /// Fault: the network drops a connection.
    Disconnect {
        /// Which.
        link: u64,
    },
    /// Fault, with a host's bug only: a write fails, and the host takes it for durable.
    FailWrite {
        /// Whose disk.
        server: u8,
    },
    /// Fault: the process dies and the machine goes on; the first `kept` of the pending writes are in the page cache.
    Die {
        /// Whose.
        server: u8,
        /// How many.
        kept: u8,
    },
    /// Fault: a sync fails, which ends the process; the first `kept` of the pending writes stay in the page cache, clean.
    FailSync {
        /// Whose disk.
        server: u8,
        /// How many.
        kept: u8,
    },
    /// A server that starts has made durable what it found in the page cache, and only now says anything.
    SyncFound {
        /// Who.
        server: u8,
    },
    /// A ZooKeeper leader's way: what had been sent after NEWLEADER was sent before it.
    Overtake {
        /// On which connection.
        link: u64,
    },
    /// A ZooKeeper leader's way: PING, while the learner still owes the ACK of NEWLEADER.
    EarlyPing {
        /// On which connection.
        link: u64,
    },
    /// A ZooKeeper leader's way: SNAP is read only now, and what it holds is on its way once more.
    SnapLater {
        /// On which connection.
        link: u64,
    },
}

/// [`Timer`], as traces spell it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of Timer")]
pub enum FiredTimer {
    Finalize,
    Resend,
    Init,
    Tick,
}

impl From<FiredTimer> for Timer {
    fn from(t: FiredTimer) -> Self {
        match t {
            FiredTimer::Finalize => Self::Finalize,
            FiredTimer::Resend => Self::Resend,
            FiredTimer::Init => Self::Init,
            FiredTimer::Tick => Self::Tick,
        }
    }
}

/// What is counted to show that a configuration is not empty talk: action kinds, then sync kinds.
pub const WITNESSES: &[&str] = &[
    "Lead",
    "Follow",
    "ElectBest",
    "Notify",
    "Connect",
    "GiveUp",
    "Settle",
    "Receive",
    "HearClose",
    "Flush",
    "Fire(Finalize)",
    "Fire(Resend)",
    "Fire(Init)",
    "Fire(Tick)",
    "Propose",
    "Crash",
    "Start",
    "Disconnect",
    "sync: empty DIFF",
    "sync: DIFF",
    "sync: TRUNC",
    "sync: TRUNC then DIFF",
    "sync: SNAP",
    "commit",
    "commit after recovery",
    "PING",
    "crash with writes pending",
    "Snapshot",
    "SNAP instead of TRUNC",
    "INFORM",
    "an observer serves",
    "FailWrite",
    "Reconfigure",
    "activation by a commit",
    "activation after recovery",
    "leader without a vote steps down",
    "elected the best of a quorum",
    "elected another than E1 would",
    "follows one that leads",
    "follows one that does not lead",
    "Overtake",
    "SnapLater",
    "an epoch is used up",
    "EarlyPing",
    "Die",
    "FailSync",
    "SyncFound",
    "power fails before a start has synced",
    "elected while two lists bind",
    "elected by a list that another lacks",
    "follows a leader of a newer list",
    "follows a leader of an older list",
    "follows a leader that its lists lack",
    "a joiner follows",
    "who has lost its vote follows",
];

pub(super) const W_EMPTY_DIFF: usize = 18;
pub(super) const W_DIFF: usize = 19;
pub(super) const W_TRUNC: usize = 20;
pub(super) const W_TRUNC_DIFF: usize = 21;
pub(super) const W_SNAP: usize = 22;
pub(super) const W_COMMIT: usize = 23;
pub(super) const W_COMMIT_AFTER_RECOVERY: usize = 24;
pub(super) const W_PING: usize = 25;
pub(super) const W_CRASH_PENDING: usize = 26;
pub(super) const W_SNAP_WANTED: usize = 28;
pub(super) const W_INFORM: usize = 29;
pub(super) const W_OBSERVER_SERVES: usize = 30;
pub(super) const W_ACTIVATION: usize = 33;
pub(super) const W_LATE_ACTIVATION: usize = 34;
pub(super) const W_RETIRED: usize = 35;
pub(super) const W_ELECTED_BEST: usize = 36;
pub(super) const W_ELECTED_OTHER: usize = 37;
pub(super) const W_FOLLOWS_LEADER: usize = 38;
pub(super) const W_FOLLOWS_NOBODY: usize = 39;
pub(super) const W_USED_UP: usize = 42;
pub(super) const W_LOST_FOUND: usize = 47;
pub(super) const W_ELECTED_BY_TWO: usize = 48;
pub(super) const W_ELECTED_LACKED: usize = 49;
pub(super) const W_FOLLOWS_NEWER: usize = 50;
pub(super) const W_FOLLOWS_OLDER: usize = 51;
pub(super) const W_FOLLOWS_UNLISTED: usize = 52;
pub(super) const W_JOINER_FOLLOWS: usize = 53;
pub(super) const W_REMOVED_FOLLOWS: usize = 54;

impl Action {
    /// Whether it is a fault: something that a budget bounds and nobody may count on.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Crash { .. }
                | Self::Die { .. }
                | Self::Disconnect { .. }
                | Self::FailSync { .. }
                | Self::FailWrite { .. }
        )
    }

    /// Its place in [`WITNESSES`].
    #[must_use]
    pub const fn witness(self) -> usize {
        match self {
            Self::Lead { .. } => 0,
            Self::Follow { .. } => 1,
            Self::ElectBest { .. } => 2,
            Self::Notify { .. } => 3,
            Self::Connect { .. } => 4,
            Self::GiveUp { .. } => 5,
            Self::Settle { .. } => 6,
            Self::Receive { .. } => 7,
            Self::HearClose { .. } => 8,
            Self::Flush { .. } => 9,
            Self::Fire {
                timer: FiredTimer::Finalize,
                ..
            } => 10,
            Self::Fire {
                timer: FiredTimer::Resend,
                ..
            } => 11,
            Self::Fire {
                timer: FiredTimer::Init,
                ..
            } => 12,
            Self::Fire {
                timer: FiredTimer::Tick,
                ..
            } => 13,
            Self::Propose { .. } => 14,
            Self::Crash { .. } => 15,
            Self::Start { .. } => 16,
            Self::Disconnect { .. } => 17,
            Self::Snapshot { .. } => 27,
            Self::FailWrite { .. } => 31,
            Self::Reconfigure { .. } => 32,
            Self::Overtake { .. } => 40,
            Self::SnapLater { .. } => 41,
            Self::EarlyPing { .. } => 43,
            Self::Die { .. } => 44,
            Self::FailSync { .. } => 45,
            Self::SyncFound { .. } => 46,
        }
    }
}

/// The servers of a bit set, as people write them.
#[must_use]
pub fn server_list(bits: u8) -> String {
    let mut text = String::new();
    for i in (0..8).filter(|i| bits >> i & 1 == 1) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push((b'1' + i) as char);
    }
    text
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lead { server } => write!(f, "server {server} takes itself for the leader"),
            Self::Follow { server, leader } => write!(f, "server {server} follows server {leader}"),
            Self::ElectBest { servers } => {
                write!(f, "servers {} elect their best", server_list(servers))
            }
            Self::Notify { from, to } => write!(f, "server {to} hears the vote of server {from}"),
            Self::Connect { server } => write!(f, "server {server} is connected to its leader"),
            Self::GiveUp { server } => write!(f, "server {server} cannot reach its leader"),
            Self::Settle { leader, followers } => {
                write!(
                    f,
                    "servers {} are synchronized by server {leader}",
                    server_list(followers)
                )
            }
            Self::Receive { link, at } => write!(
                f,
                "the {} end of link {link} receives a packet",
                end_name(at)
            ),
            Self::HearClose { link, at } => {
                write!(
                    f,
                    "the {} end of link {link} learns that it is over",
                    end_name(at)
                )
            }
            Self::Flush { server } => write!(f, "the disk of server {server} completes a write"),
            Self::Fire { server, timer } => {
                write!(f, "the {timer:?} timer of server {server} runs out")
            }
            Self::Propose { server } => write!(f, "a client writes through server {server}"),
            Self::Reconfigure { server, members } => {
                write!(
                    f,
                    "an operator makes {} the voters through server {server}",
                    server_list(members)
                )
            }
            Self::Crash { server, kept } => {
                write!(
                    f,
                    "server {server} crashes; {kept} of its pending writes have reached the disk"
                )
            }
            Self::Snapshot { server } => write!(f, "server {server} takes a snapshot"),
            Self::Start { server } => write!(f, "server {server} starts"),
            Self::Disconnect { link } => write!(f, "the network drops link {link}"),
            Self::FailWrite { server } => {
                write!(f, "a write of server {server} fails, and nobody is told")
            }
            Self::Die { server, kept } => {
                write!(
                    f,
                    "the process of server {server} dies with {kept} of its pending writes written"
                )
            }
            Self::FailSync { server, kept } => {
                write!(
                    f,
                    "a sync of server {server} fails with {kept} of its pending writes written, and it stops"
                )
            }
            Self::SyncFound { server } => {
                write!(f, "server {server} has synced what it found, and starts")
            }
            Self::Overtake { link } => {
                write!(f, "on link {link}, a packet gets in before NEWLEADER")
            }
            Self::EarlyPing { link } => {
                write!(f, "on link {link}, PING comes before the ACK of NEWLEADER")
            }
            Self::SnapLater { link } => {
                write!(f, "the snapshot of link {link} is taken only now")
            }
        }
    }
}

const fn end_name(end: End) -> &'static str {
    match end {
        End::Leader => "leader's",
        End::Learner => "learner's",
    }
}
