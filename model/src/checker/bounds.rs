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

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it covers, for people.
    pub about: &'static str,
    /// Voters, to begin with.
    pub servers: u8,
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
    /// Crashes in all.
    pub crashes: u8,
    /// Broken connections in all.
    pub disconnects: u8,
    /// Crashes and broken connections together.
    pub faults: u8,
    /// The last epoch that a leader may propose.
    pub epochs: u8,
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
            "zab-cold-1" => &[
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
            "rec-warm-1" => &[
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
            "rec-warm-c1d1" => &[
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

const BASE: Bounds = Bounds {
    name: "",
    about: "",
    servers: 3,
    joiners: 0,
    reconfigs: 0,
    targets: &[],
    grain: Grain::E0,
    disk: Disk::Atomic,
    start: Start::Cold,
    txns: 1,
    crashes: 1,
    disconnects: 1,
    faults: 1,
    epochs: 2,
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

/// Every switch with the smallest configuration known to expose it.
pub const ZOO: &[Bounds] = &[
    Bounds {
        name: "zoo/EpochBeforeHistory",
        about: "currentEpoch written before the history: three crashes elect a server that lacks a committed txn",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 2,
        crashes: 3,
        disconnects: 0,
        faults: 3,
        epochs: 4,
        switch: Some(Switch::EpochBeforeHistory),
        ..BASE
    },
    Bounds {
        name: "zoo/AckNewleaderBeforeFsync",
        about: "NEWLEADER acknowledged before its history is durable",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 2,
        crashes: 2,
        disconnects: 0,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::AckNewleaderBeforeFsync),
        ..BASE
    },
    Bounds {
        name: "zoo/VoteFromMemoryNotLog",
        about: "a vote reports what is applied and hides what is logged",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 2,
        crashes: 1,
        disconnects: 1,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::VoteFromMemoryNotLog),
        ..BASE
    },
    Bounds {
        name: "zoo/AcceptedEpochVolatile",
        about: "the promise of an epoch is forgotten in a crash, and two leaders share an epoch",
        txns: 0,
        switch: Some(Switch::AcceptedEpochVolatile),
        ..BASE
    },
    Bounds {
        name: "zoo/DiffWithoutMembership",
        about: "a DIFF on top of a history that the leader does not share",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        disconnects: 0,
        epochs: 3,
        switch: Some(Switch::DiffWithoutMembership),
        ..BASE
    },
    Bounds {
        name: "zoo/QuorumIsHalf",
        about: "two servers, each a quorum of its own",
        servers: 2,
        crashes: 0,
        disconnects: 0,
        faults: 0,
        switch: Some(Switch::QuorumIsHalf),
        ..BASE
    },
    Bounds {
        name: "zoo/TruncOutstanding",
        about: "a TRUNC drops a proposal whose ack still counts",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 2,
        crashes: 2,
        disconnects: 1,
        faults: 3,
        epochs: 3,
        switch: Some(Switch::TruncOutstanding),
        ..BASE
    },
    Bounds {
        name: "zoo/HoldingIsAcking",
        about: "a learner of an older currentEpoch is counted for proposals in its log, and then loses an election",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 3,
        disconnects: 0,
        faults: 3,
        epochs: 4,
        switch: Some(Switch::HoldingIsAcking),
        ..BASE
    },
    Bounds {
        name: "zoo/SnapBehindHistory",
        about: "a SNAP takes back what the learner has logged and a quorum has committed",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        txns: 3,
        crashes: 1,
        disconnects: 1,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::SnapBehindHistory),
        ..BASE
    },
    Bounds {
        name: "zoo/ReconfigOldQuorumOnly",
        about: "the old configuration alone commits a reconfiguration, and elects beside the new one",
        grain: Grain::E1,
        reconfigs: 1,
        targets: &[0b100],
        txns: 1,
        crashes: 0,
        disconnects: 1,
        faults: 1,
        epochs: 3,
        switch: Some(Switch::ReconfigOldQuorumOnly),
        ..BASE
    },
    Bounds {
        name: "zoo/ReconfigNewQuorumOnly",
        about: "the new configuration alone commits, and the old one goes on without it",
        grain: Grain::E1,
        reconfigs: 1,
        targets: &[0b100],
        txns: 1,
        crashes: 0,
        disconnects: 1,
        faults: 1,
        epochs: 3,
        switch: Some(Switch::ReconfigNewQuorumOnly),
        ..BASE
    },
    Bounds {
        name: "zoo/ActivateAtProposal",
        about: "a leader goes on with the new configuration before anybody else has it",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 1,
        targets: &[0b100],
        txns: 2,
        crashes: 1,
        disconnects: 1,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::ActivateAtProposal),
        ..BASE
    },
    Bounds {
        name: "zoo/NextConfigVolatile",
        about: "a server that has logged the reconfiguration elects by the old configuration after a crash",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 1,
        targets: &[0b100],
        txns: 2,
        crashes: 2,
        disconnects: 1,
        faults: 3,
        epochs: 3,
        switch: Some(Switch::NextConfigVolatile),
        ..BASE
    },
    Bounds {
        name: "zoo/NextConfigSurvivesTrunc",
        about: "a reconfiguration that was never committed is taken for active",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 1,
        targets: &[0b100],
        txns: 3,
        crashes: 1,
        disconnects: 0,
        faults: 1,
        epochs: 3,
        switch: Some(Switch::NextConfigSurvivesTrunc),
        ..BASE
    },
    Bounds {
        name: "zoo/TwoReconfigsAtOnce",
        about: "a second reconfiguration makes an uncommitted one count",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 2,
        targets: &[0b100, 0b010],
        txns: 2,
        crashes: 1,
        disconnects: 1,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::TwoReconfigsAtOnce),
        ..BASE
    },
    Bounds {
        name: "zoo/ActivateAtSyncCommit",
        about: "a learner takes a COMMIT of an unestablished leader for a commit",
        grain: Grain::E1,
        disk: Disk::Fine,
        start: Start::Warm,
        reconfigs: 1,
        targets: &[0b100],
        txns: 2,
        crashes: 2,
        disconnects: 1,
        faults: 3,
        epochs: 4,
        switch: Some(Switch::ActivateAtSyncCommit),
        ..BASE
    },
    Bounds {
        name: "zoo/SnapWithoutConfig",
        about: "a learner gets a tree, and not who votes by it",
        grain: Grain::E1,
        reconfigs: 1,
        targets: &[0b010],
        txns: 1,
        crashes: 2,
        disconnects: 0,
        faults: 2,
        epochs: 3,
        switch: Some(Switch::SnapWithoutConfig),
        ..BASE
    },
];

/// The configuration of that name; states point to theirs, so it lives as long as the process.
#[must_use]
pub fn find(name: &str) -> Option<&'static Bounds> {
    ALL.iter().chain(ZOO).find(|b| b.name == name)
}
