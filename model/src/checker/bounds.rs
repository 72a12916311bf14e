//! Configurations: which cluster is explored, by which grain, within which budgets.

use crate::switch::Switch;

/// How elections are modelled. SPEC.md §7 tells what each one includes.
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
    /// The last server leads epoch 1, `e1c1` is applied everywhere, `e1c2` has just been proposed.
    Warm,
    /// Everyone looks, with histories that a lost leader can leave behind: each of these is an initial state.
    Uneven,
    /// Everyone looks, with these disks: a later chapter of a story whose beginning is known to be possible.
    Left(&'static Left),
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
    /// The leader sends PINGs.
    pub pings: bool,
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

    /// The index of the first observer, if there is one.
    #[must_use]
    pub const fn first_observer(&self) -> usize {
        (self.servers + self.joiners) as usize
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

    /// The kinds of steps without which an exploration of this configuration says nothing.
    #[must_use]
    pub fn must_witness(&self) -> &'static [&'static str] {
        match self.name {
            "zab-cold-1" | "zab-cold-2tx" | "zab-cold-2f" => &[
                "Lead",
                "Follow",
                "Connect",
                "GiveUp",
                "Receive",
                "HearClose",
                "Fire(Init)",
                "Fire(Tick)",
                "Propose",
                "Crash",
                "Disconnect",
                "sync: empty DIFF",
                "sync: DIFF",
                "sync: SNAP",
                "commit",
                "commit after recovery",
            ],
            "rec-warm-1" | "rec-warm-c2" | "rec-warm-c3" => &[
                "Follow",
                "ElectBest",
                "Receive",
                "HearClose",
                "Flush",
                "Propose",
                "Crash",
                "sync: empty DIFF",
                "sync: DIFF",
                "sync: TRUNC",
                "sync: TRUNC then DIFF",
                "commit",
                "commit after recovery",
                "crash with writes pending",
            ],
            "rec-warm-c1d1" | "rec-warm-c3d1" => &[
                "Follow",
                "ElectBest",
                "Receive",
                "HearClose",
                "Flush",
                "Fire(Init)",
                "Fire(Tick)",
                "Propose",
                "Crash",
                "Disconnect",
                "sync: empty DIFF",
                "sync: DIFF",
                "sync: TRUNC",
                "sync: TRUNC then DIFF",
                "sync: SNAP",
                "commit",
                "commit after recovery",
                "crash with writes pending",
            ],
            "hier-warm-1" | "hier-weights-1" => &[
                "Follow",
                "ElectBest",
                "HearClose",
                "Crash",
                "sync: DIFF",
                "sync: TRUNC",
                "commit",
                "crash with writes pending",
            ],
            "obs-warm-1" => &[
                "Follow",
                "ElectBest",
                "HearClose",
                "Flush",
                "Propose",
                "Crash",
                "sync: DIFF",
                "sync: TRUNC",
                "commit after recovery",
                "INFORM",
                "an observer serves",
            ],
            "obs-cold-1" => &[
                "Lead",
                "Connect",
                "GiveUp",
                "Disconnect",
                "sync: DIFF",
                "commit",
                "INFORM",
                "an observer serves",
            ],
            "obs-fle-1" => &["Notify", "Settle", "Fire(Finalize)", "an observer serves"],
            "snap" => &[
                "Snapshot",
                "Crash",
                "sync: SNAP",
                "sync: TRUNC",
                "commit after recovery",
            ],
            "snap-left" => &[
                "SNAP instead of TRUNC",
                "sync: SNAP",
                "sync: TRUNC",
                "Crash",
                "Disconnect",
            ],
            "reconf-join" | "reconf-leave" => &[
                "Follow",
                "ElectBest",
                "HearClose",
                "Flush",
                "Fire(Tick)",
                "Crash",
                "sync: DIFF",
                "sync: TRUNC",
                "commit after recovery",
                "crash with writes pending",
                "Reconfigure",
                "activation by a commit",
                "activation after recovery",
            ],
            "reconf-twice" | "reconf-any" => &[
                "Follow",
                "Fire(Init)",
                "Crash",
                "Disconnect",
                "sync: DIFF",
                "commit after recovery",
                "Reconfigure",
                "activation by a commit",
                "activation after recovery",
                "leader without a vote steps down",
            ],
            "fle-1" => &[
                "Notify",
                "GiveUp",
                "Settle",
                "HearClose",
                "Fire(Finalize)",
                "Fire(Resend)",
                "Fire(Tick)",
                "Crash",
                "Start",
            ],
            _ => &[],
        }
    }
}

pub(super) const BASE: Bounds = Bounds {
    name: "",
    about: "",
    servers: 3,
    observers: 0,
    groups: &[],
    joiners: 0,
    reconfigs: 0,
    targets: &[],
    grain: Grain::E0,
    disk: Disk::Atomic,
    start: Start::Cold,
    txns: 1,
    snapshots: 0,
    crashes: 1,
    disconnects: 1,
    faults: 1,
    epochs: 2,
    counter_max: 14,
    rounds: 3,
    mail: 1,
    coarse_sync: false,
    patient: false,
    instant_restart: true,
    pings: false,
    symmetric: false,
    liveness: false,
    tier: Tier::Ci,
    switch: None,
    golden: None,
};

/// Five voters in three groups: a quorum is two whole groups.
pub(super) const GROUPS: &[&[(u8, u8)]] = &[&[(1, 1), (2, 1)], &[(3, 1), (4, 1)], &[(5, 1)]];

/// Four voters in two groups: of each the heavier one decides, and server 2 never does.
const WEIGHTS: &[&[(u8, u8)]] = &[&[(1, 1), (2, 0)], &[(3, 1), (4, 2)]];

/// Every configuration that `zabra-check` knows.
pub const ALL: &[Bounds] = &[
    Bounds {
        name: "zab-cold-1",
        about: "cold start, any election, 1 transaction, one fault: crash or broken connection",
        golden: Some(Golden {
            distinct: 537_377,
            generated: 1_575_943,
            depth: 50,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "rec-warm-1",
        about: "recovery of an established ensemble, every disk step apart, 3 transactions, 1 crash",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        disconnects: 0,
        epochs: 3,
        golden: Some(Golden {
            distinct: 77_687,
            generated: 238_853,
            depth: 36,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "fle-1",
        about: "Fast Leader Election message by message, coarse synchronization, four uneven histories, 1 crash, 2 rounds",
        grain: Grain::E2,
        start: Start::Uneven,
        txns: 0,
        disconnects: 0,
        epochs: 4,
        rounds: 2,
        coarse_sync: true,
        patient: true,
        instant_restart: false,
        golden: Some(Golden {
            // 2,131,182 until interned parts showed that Resend looked at ballots that are not part of a state.
            distinct: 2_137_023,
            generated: 7_238_997,
            depth: 65,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "rec-warm-c1d1",
        about: "as rec-warm-1, with a broken connection besides the crash: every kind of synchronization",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        faults: 2,
        epochs: 3,
        golden: Some(Golden {
            distinct: 2_285_918,
            generated: 8_425_072,
            depth: 48,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "zab-cold-2tx",
        about: "as zab-cold-1 with 2 transactions: the size of the published runs of Zab.tla",
        txns: 2,
        golden: Some(Golden {
            distinct: 2_664_299,
            generated: 8_095_954,
            depth: 56,
        }),
        ..BASE
    },
    Bounds {
        name: "zab-cold-2f",
        about: "cold start, any election, 2 transactions, two faults of any kind",
        txns: 2,
        crashes: 2,
        disconnects: 2,
        faults: 2,
        epochs: 3,
        symmetric: true,
        tier: Tier::Deep,
        golden: Some(Golden {
            distinct: 50_499_571,
            generated: 187_238_248,
            depth: 78,
        }),
        ..BASE
    },
    Bounds {
        name: "rec-warm-c2",
        about: "as rec-warm-1 with 2 crashes",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 2,
        disconnects: 0,
        faults: 2,
        epochs: 4,
        tier: Tier::Deep,
        golden: Some(Golden {
            distinct: 1_791_682,
            generated: 6_135_411,
            depth: 47,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "rec-warm-c2-e0",
        about: "as rec-warm-c2, under any election",
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 2,
        disconnects: 0,
        faults: 2,
        epochs: 3,
        tier: Tier::Deep,
        golden: Some(Golden {
            distinct: 24_646_491,
            generated: 84_581_661,
            depth: 79,
        }),
        ..BASE
    },
    Bounds {
        name: "rec-warm-c3",
        about: "as rec-warm-1 with 3 crashes: the depth of ZOOKEEPER-4643",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 3,
        disconnects: 0,
        faults: 3,
        epochs: 5,
        tier: Tier::Deep,
        golden: Some(Golden {
            distinct: 22_594_644,
            generated: 85_644_346,
            depth: 57,
        }),
        liveness: true,
        ..BASE
    },
    Bounds {
        name: "snap",
        about: "as rec-warm-c2, with snapshots taken while serving, which purge the log at the next start",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        snapshots: 2,
        crashes: 2,
        disconnects: 0,
        faults: 2,
        epochs: 4,
        liveness: true,
        tier: Tier::Deep,
        golden: Some(Golden {
            distinct: 35_401_541,
            generated: 121_015_002,
            depth: 54,
        }),
        ..BASE
    },
    Bounds {
        name: "hier-warm-1",
        about: "hierarchical quorums, 5 voters in groups of 2, 2 and 1: recovery, every disk step apart, 2 transactions, 1 crash",
        servers: 5,
        groups: GROUPS,
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 2,
        disconnects: 0,
        golden: Some(Golden {
            distinct: 1_252_210,
            generated: 5_769_970,
            depth: 47,
        }),
        ..BASE
    },
    Bounds {
        name: "hier-weights-1",
        about: "hierarchical quorums, 4 voters in 2 groups, one of weight 0 and one of weight 2: recovery, 3 transactions, 1 crash",
        servers: 4,
        groups: WEIGHTS,
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        disconnects: 0,
        epochs: 3,
        golden: Some(Golden {
            distinct: 1_371_329,
            generated: 6_061_335,
            depth: 47,
        }),
        ..BASE
    },
    Bounds {
        name: "obs-warm-1",
        about: "3 voters and an observer: recovery and joining, every disk step apart, 3 transactions, 1 crash",
        observers: 1,
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        disconnects: 0,
        epochs: 3,
        golden: Some(Golden {
            distinct: 1_745_464,
            generated: 7_145_974,
            depth: 48,
        }),
        ..BASE
    },
    Bounds {
        name: "obs-cold-1",
        about: "3 voters and an observer: cold start, any election, 1 transaction, 1 broken connection, 1 epoch",
        observers: 1,
        crashes: 0,
        epochs: 1,
        golden: Some(Golden {
            distinct: 1_970_959,
            generated: 8_145_589,
            depth: 48,
        }),
        ..BASE
    },
    Bounds {
        name: "obs-fle-1",
        about: "an observer finds the leader of 3 voters by Fast Leader Election, message by message, 1 round",
        observers: 1,
        grain: Grain::E2,
        txns: 0,
        crashes: 0,
        disconnects: 0,
        faults: 0,
        epochs: 4,
        rounds: 1,
        coarse_sync: true,
        patient: true,
        instant_restart: false,
        golden: Some(Golden {
            distinct: 1_536_908,
            generated: 7_783_179,
            depth: 29,
        }),
        ..BASE
    },
    Bounds {
        name: "snap-left",
        about: "a leader without a quorum sends SNAP, and the next leader has less: TRUNC below a snapshot; 1 crash, 1 broken connection",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Left(&super::zoo::BASE_LEFT),
        txns: 1,
        crashes: 1,
        disconnects: 1,
        faults: 2,
        epochs: 6,
        liveness: true,
        golden: Some(Golden {
            distinct: 486_381,
            generated: 1_812_102,
            depth: 41,
        }),
        ..BASE
    },
    Bounds {
        name: "reconf-join",
        about: "a joiner gets a vote: 2 voters become 3 while a write is under way, every disk step apart, 1 crash",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        servers: 2,
        joiners: 1,
        reconfigs: 1,
        targets: &[0b111],
        txns: 2,
        liveness: true,
        disconnects: 0,
        epochs: 3,
        golden: Some(Golden {
            distinct: 61_702,
            generated: 200_594,
            depth: 37,
        }),
        ..BASE
    },
    Bounds {
        name: "reconf-leave",
        about: "the leader loses its vote: 3 voters become 2, every disk step apart, 1 crash",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 1,
        targets: &[0b011],
        txns: 2,
        liveness: true,
        disconnects: 0,
        epochs: 3,
        golden: Some(Golden {
            distinct: 85_255,
            generated: 265_046,
            depth: 48,
        }),
        ..BASE
    },
    Bounds {
        name: "reconf-any",
        about: "any election, one fault of either kind: 2 voters and a joiner, reconfigured twice, to 3 alone, 1 and 3, or all",
        servers: 2,
        joiners: 1,
        reconfigs: 2,
        targets: &[0b100, 0b101, 0b111],
        txns: 0,
        golden: Some(Golden {
            distinct: 1_094_580,
            generated: 3_253_494,
            depth: 70,
        }),
        ..BASE
    },
    Bounds {
        name: "reconf-twice",
        about: "two reconfigurations of 3 voters to any smaller set, every disk step apart, one fault of either kind",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 2,
        targets: &[0b001, 0b010, 0b100, 0b011, 0b110, 0b101],
        txns: 2,
        tier: Tier::Deep,
        liveness: true,
        faults: 1,
        epochs: 3,
        golden: Some(Golden {
            distinct: 10_553_915,
            generated: 38_632_428,
            depth: 67,
        }),
        ..BASE
    },
    Bounds {
        name: "rec-warm-c3d1",
        about: "as rec-warm-c3, with a broken connection besides the three crashes",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 3,
        faults: 4,
        epochs: 5,
        tier: Tier::Nightly,
        golden: Some(Golden {
            distinct: 438_705_802,
            generated: 1_963_754_706,
            depth: 68,
        }),
        ..BASE
    },
    Bounds {
        name: "e2e-walk",
        about: "Fast Leader Election and recovery end to end, every disk step apart, PINGs: for walks, not to be exhausted",
        grain: Grain::E2,
        disk: Disk::Fine,
        instant_restart: false,
        pings: true,
        tier: Tier::Walk,
        txns: 3,
        crashes: 2,
        disconnects: 2,
        faults: 3,
        rounds: 4,
        epochs: 4,
        ..BASE
    },
];

/// The configuration of that name; states point to theirs, so it lives as long as the process.
#[must_use]
pub fn find(name: &str) -> Option<&'static Bounds> {
    let zoo = super::zoo::ALL.iter().map(|c| &c.bounds);
    ALL.iter().chain(zoo).find(|b| b.name == name)
}
