//! Configurations: which cluster is explored, by which grain, within which budgets.

mod all;
mod base;
pub(super) mod elections;
mod witnesses;

use crate::switch::Switch;

pub use all::{ALL, find};
pub(super) use base::{BASE, GROUPS};

/// How elections are modelled. `model/README.md` tells what each one includes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grain {
    /// Any looking server may lead, any looking server may follow any leader: wider than every election.
    E0,
    /// A quorum of looking servers elects the best of them and goes through discovery in one step.
    E1,
    /// Fast Leader Election itself, message by message.
    E2,
}

/// How writes reach the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// Within the step that asks for them.
    Atomic,
    /// One by one, each a step; a crash keeps any prefix of what was pending.
    Fine,
}

/// Where the exploration begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Every disk is empty, everyone looks.
    Cold,
    /// The last voter leads epoch 1, `e1c1` is applied everywhere, and `e1c2`, if so many transactions may be, has just been proposed.
    Warm,
    /// Everyone looks, with histories that a lost leader can leave behind: each of these is an initial state.
    Uneven,
    /// Everyone looks, with these disks: a later chapter of a story whose beginning is known to be possible.
    Left(&'static Left),
    /// The same with any of these.
    AnyOf(&'static [Left]),
}

/// What a lost leader has left behind. A zxid is an epoch and a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// What a serving server has applied.
    pub committed: &'static [(u32, u32)],
    /// Each server's disk.
    pub disks: &'static [LeftDisk],
}

/// One disk of [`Left`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftDisk {
    /// acceptedEpoch.
    pub accepted: u32,
    /// currentEpoch.
    pub current: u32,
    /// The transactions in the snapshot.
    pub snapshot: &'static [(u32, u32)],
    /// The log above it.
    pub log: &'static [(u32, u32)],
    /// The lists of voters that its log brings: the zxid of each, and a bit for each voter.
    pub lists: &'static [((u32, u32), u8)],
    /// How many of these it knows to be committed.
    pub activated: usize,
}

/// How long a configuration takes on two cores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// All of them together under two minutes: every test run.
    Ci,
    /// Under ten minutes each.
    Deep,
    /// Under two hours each.
    Nightly,
    /// Never exhausted: for walks, and for switches.
    Walk,
}

impl Tier {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Deep => "deep",
            Self::Nightly => "nightly",
            Self::Walk => "walk",
        }
    }
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it covers, for people.
    pub about: &'static str,
    /// Voters, to begin with.
    pub servers: u8,
    /// Observers: the servers after the voters.
    pub observers: u8,
    /// Groups of voters, each a server with its weight, for hierarchical quorums; none for majorities.
    pub groups: &'static [&'static [(u8, u8)]],
    /// Servers without a vote, to begin with; their ids follow.
    pub joiners: u8,
    /// Reconfigurations in all.
    pub reconfigs: u8,
    /// What they may lead to: a bit for each voter, the lowest for server 1.
    pub targets: &'static [u8],
    /// The first lists stand in files, as a server's do: a joiner's has the joiner, too, and a leader whose list has no version
    /// proposes it first of all (D-89).
    pub lists_in_files: bool,
    /// How elections go.
    pub grain: Grain,
    /// How the disk goes.
    pub disk: Disk,
    /// Where it begins.
    pub start: Start,
    /// Transactions in all, those of a warm start included.
    pub txns: u8,
    /// Snapshots that serving servers take, in all.
    pub snapshots: u8,
    /// Epoch and counter below which a learner gets SNAP instead of what the log holds.
    pub reach: (u32, u32),
    /// Crashes in all.
    pub crashes: u8,
    /// Broken connections in all.
    pub disconnects: u8,
    /// Crashes and broken connections together.
    pub faults: u8,
    /// The last epoch that a leader may propose.
    pub epochs: u8,
    /// The last counter of an epoch.
    pub counter_max: u32,
    /// The last election round that a server may enter by itself (E2).
    pub rounds: u8,
    /// Election messages between two servers that exist at once: 1 is the waiting slot, 2 adds one in flight.
    pub mail: u8,
    /// Discovery and synchronization in one step (E2 alone).
    pub coarse_sync: bool,
    /// The finalize timer runs out only while no vote is on the way to its server (E2).
    pub patient: bool,
    /// A crashed server is back in the same step: a server that nobody schedules is as good as down.
    pub instant_restart: bool,
    /// A process may die apart from its machine: what it has written stays in the page cache, and a later loss of power
    /// takes what the start has not synced.
    pub page_cache: bool,
    /// The leader sends PINGs.
    pub pings: bool,
    /// The leader lets live packets in between history and NEWLEADER, and takes snapshots late, as ZooKeeper's does.
    pub zookeeper_leader: bool,
    /// Clusters that differ only in the servers' names count as one: only where no id ever decides, which is E0.
    pub symmetric: bool,
    /// Whether every state has to be able to reach a serving quorum without further faults.
    pub liveness: bool,
    /// How long it takes, and so when it is run.
    pub tier: Tier,
    /// A bug that is on.
    pub switch: Option<Switch>,
    /// What was counted when it was last run to its end.
    pub golden: Option<Golden>,
}

/// The counts of an exhausted configuration: they change only with the protocol or the model, for a written reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Golden {
    /// Distinct states; up to renaming where the configuration is symmetric.
    pub distinct: u64,
    /// States generated, initial ones included.
    pub generated: u64,
    /// Steps to the deepest state, by the shortest ways.
    pub depth: u32,
}

impl Bounds {
    /// All servers.
    #[must_use]
    pub const fn n(&self) -> usize {
        (self.servers + self.joiners + self.observers) as usize
    }

    /// Whether a reconfiguration may take a vote away.
    #[must_use]
    pub fn may_unseat_a_voter(&self) -> bool {
        self.targets.iter().any(|t| self.voters() & !t != 0)
    }

    /// The voters to begin with, as bits.
    #[must_use]
    pub const fn voters(&self) -> u8 {
        (1 << self.servers) - 1
    }
}
