//! Fast Leader Election while the list of voters changes, message by message.
//!
//! Two of these begin with an established ensemble and have the reconfiguration in them, two begin where a leader was lost in the
//! middle of one: there is more room for elections of servers whose lists differ.

use super::base::BASE;
use super::{Bounds, Golden, Grain, Left, LeftDisk, Start, Tier};

/// A server of epoch 1, so many of whose lists are known to be committed.
const fn disk(
    log: &'static [(u32, u32)],
    lists: &'static [((u32, u32), u8)],
    activated: usize,
) -> LeftDisk {
    LeftDisk {
        accepted: 1,
        current: 1,
        snapshot: &[],
        log,
        lists,
        activated,
    }
}

const ONE: &[(u32, u32)] = &[(1, 1)];
const BOTH: &[(u32, u32)] = &[(1, 1), (1, 2)];
const MORE: &[(u32, u32)] = &[(1, 1), (1, 2), (1, 3)];

/// `e1c2` gives server 3 a vote.
const JOINS: &[((u32, u32), u8)] = &[((1, 2), 0b111)];

/// `e1c2` takes the vote of server 3.
const LEAVES: &[((u32, u32), u8)] = &[((1, 2), 0b011)];

/// A reconfiguration of servers 1 and 2, which may be of all three: server 2 has led.
pub(in crate::checker) const LEFT_JOINING: &[Left] = &[
    // The leader alone has it.
    Left {
        committed: ONE,
        disks: &[disk(ONE, &[], 0), disk(BOTH, JOINS, 0), disk(ONE, &[], 0)],
    },
    // The joiner has it, and a quorum of the old list has not.
    Left {
        committed: ONE,
        disks: &[
            disk(ONE, &[], 0),
            disk(BOTH, JOINS, 0),
            disk(BOTH, JOINS, 0),
        ],
    },
    // It is committed, the joiner has not heard of it, nor server 1 that it is committed.
    Left {
        committed: BOTH,
        disks: &[
            disk(BOTH, JOINS, 0),
            disk(BOTH, JOINS, 1),
            disk(ONE, &[], 0),
        ],
    },
    // All have it.
    Left {
        committed: BOTH,
        disks: &[
            disk(BOTH, JOINS, 0),
            disk(BOTH, JOINS, 1),
            disk(BOTH, JOINS, 0),
        ],
    },
    // The joiner has more than any voter, whose disks were slower.
    Left {
        committed: ONE,
        disks: &[
            disk(ONE, &[], 0),
            disk(BOTH, JOINS, 0),
            disk(MORE, JOINS, 0),
        ],
    },
    // What followed it is committed by servers 1 and 3; server 2 crashed when it had sent COMMITANDACTIVATE.
    Left {
        committed: MORE,
        disks: &[
            disk(MORE, JOINS, 0),
            disk(BOTH, JOINS, 0),
            disk(MORE, JOINS, 0),
        ],
    },
];

/// A reconfiguration of all three, which may be of servers 1 and 2.
pub(in crate::checker) const LEFT_LEAVING: &[Left] = &[
    // Server 3 has led, and alone has it.
    Left {
        committed: ONE,
        disks: &[disk(ONE, &[], 0), disk(ONE, &[], 0), disk(BOTH, LEAVES, 0)],
    },
    // A quorum of the old list has it, and of the new one half.
    Left {
        committed: ONE,
        disks: &[
            disk(BOTH, LEAVES, 0),
            disk(ONE, &[], 0),
            disk(BOTH, LEAVES, 0),
        ],
    },
    // Server 3 has committed it, and told nobody.
    Left {
        committed: BOTH,
        disks: &[
            disk(BOTH, LEAVES, 0),
            disk(BOTH, LEAVES, 0),
            disk(BOTH, LEAVES, 1),
        ],
    },
    // Server 1 has led, and committed it, and told nobody.
    Left {
        committed: BOTH,
        disks: &[
            disk(BOTH, LEAVES, 1),
            disk(BOTH, LEAVES, 0),
            disk(BOTH, LEAVES, 0),
        ],
    },
    // Server 2 has led, and server 3 was away.
    Left {
        committed: BOTH,
        disks: &[
            disk(BOTH, LEAVES, 1),
            disk(BOTH, LEAVES, 1),
            disk(ONE, &[], 0),
        ],
    },
];

/// Server 4 has the only vote now; servers 2 and 3 know it, and server 1 was away.
pub(in crate::checker) const LEFT_ALONE: &[Left] = &[Left {
    committed: BOTH,
    disks: &[
        disk(ONE, &[], 0),
        disk(BOTH, &[((1, 2), 0b1000)], 1),
        disk(BOTH, &[((1, 2), 0b1000)], 1),
        disk(BOTH, &[((1, 2), 0b1000)], 1),
    ],
}];

/// Server 3 has led, and alone has a list in which it alone has a vote.
pub(in crate::checker) const LEFT_BEHIND: &[Left] = &[Left {
    committed: ONE,
    disks: &[
        disk(ONE, &[], 0),
        disk(ONE, &[], 0),
        disk(BOTH, &[((1, 2), 0b100)], 0),
    ],
}];

/// What they have in common.
pub(in crate::checker) const ELECTIONS: Bounds = Bounds {
    grain: Grain::E2,
    txns: 1,
    disconnects: 0,
    reconfigs: 1,
    epochs: 6,
    rounds: 2,
    coarse_sync: true,
    patient: true,
    instant_restart: false,
    liveness: true,
    ..BASE
};

pub(super) const FLE_JOIN: Bounds = Bounds {
    name: "fle-join",
    about: "a joiner gets a vote, Fast Leader Election message by message, coarse synchronization: 1 crash, 1 broken connection, 2 rounds",
    start: Start::Warm,
    servers: 2,
    joiners: 1,
    targets: &[0b111],
    disconnects: 1,
    faults: 2,
    golden: Some(Golden {
        distinct: 952_593,
        generated: 3_136_010,
        depth: 56,
    }),
    ..ELECTIONS
};

pub(super) const FLE_LEAVE: Bounds = Bounds {
    name: "fle-leave",
    about: "the leader loses its vote, Fast Leader Election message by message, coarse synchronization: 1 crash, 1 broken connection, 2 rounds",
    start: Start::Warm,
    targets: &[0b011],
    disconnects: 1,
    faults: 2,
    golden: Some(Golden {
        distinct: 1_137_925,
        generated: 3_888_750,
        depth: 59,
    }),
    ..ELECTIONS
};

pub(super) const FLE_JOIN_LEFT: Bounds = Bounds {
    name: "fle-join-left",
    about: "elections where a leader was lost while a joiner got its vote: six cases of who has the new list; 2 rounds",
    start: Start::AnyOf(LEFT_JOINING),
    servers: 2,
    joiners: 1,
    crashes: 0,
    faults: 0,
    golden: Some(Golden {
        distinct: 51_255,
        generated: 147_516,
        depth: 35,
    }),
    ..ELECTIONS
};

pub(super) const FLE_LEAVE_LEFT: Bounds = Bounds {
    name: "fle-leave-left",
    about: "elections where a leader was lost while a server lost its vote: five cases of who has the new list; 3 rounds",
    start: Start::AnyOf(LEFT_LEAVING),
    targets: &[0b011],
    crashes: 0,
    faults: 0,
    rounds: 3,
    golden: Some(Golden {
        distinct: 330_528,
        generated: 1_082_408,
        depth: 56,
    }),
    ..ELECTIONS
};

pub(super) const FLE_LEAVE_R3: Bounds = Bounds {
    name: "fle-leave-r3",
    about: "as fle-leave, with 1 crash and 3 rounds",
    disconnects: 0,
    faults: 1,
    rounds: 3,
    tier: Tier::Deep,
    golden: Some(Golden {
        distinct: 1_493_542,
        generated: 4_962_827,
        depth: 68,
    }),
    ..FLE_LEAVE
};

pub(super) const FLE_JOIN_LEFT_C1: Bounds = Bounds {
    name: "fle-join-left-c1",
    about: "as fle-join-left, with a crash",
    crashes: 1,
    faults: 1,
    tier: Tier::Deep,
    golden: Some(Golden {
        distinct: 697_464,
        generated: 2_348_134,
        depth: 51,
    }),
    ..FLE_JOIN_LEFT
};

pub(super) const FLE_LEAVE_LEFT_C1: Bounds = Bounds {
    name: "fle-leave-left-c1",
    about: "as fle-leave-left, with a crash",
    crashes: 1,
    faults: 1,
    tier: Tier::Deep,
    golden: Some(Golden {
        distinct: 2_969_203,
        generated: 10_780_485,
        depth: 81,
    }),
    ..FLE_LEAVE_LEFT
};
