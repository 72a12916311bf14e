//! What configurations have in common: each names only what it has otherwise.

use super::{Bounds, Disk, Grain, Start, Tier};

pub(in crate::checker) const BASE: Bounds = Bounds {
    name: "",
    about: "",
    servers: 3,
    observers: 0,
    groups: &[],
    joiners: 0,
    reconfigs: 0,
    targets: &[],
    lists_in_files: false,
    grain: Grain::E0,
    disk: Disk::Atomic,
    start: Start::Cold,
    txns: 1,
    snapshots: 0,
    reach: (0, 0),
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
    page_cache: false,
    pings: false,
    zookeeper_leader: false,
    symmetric: false,
    liveness: false,
    tier: Tier::Ci,
    switch: None,
    golden: None,
};

/// Five voters in three groups: a quorum is two whole groups.
pub(in crate::checker) const GROUPS: &[&[(u8, u8)]] =
    &[&[(1, 1), (2, 1)], &[(3, 1), (4, 1)], &[(5, 1)]];

/// Four voters in two groups: of each the heavier one decides, and server 2 never does.
pub(super) const WEIGHTS: &[&[(u8, u8)]] = &[&[(1, 1), (2, 0)], &[(3, 1), (4, 2)]];

/// Lists of voters that change end to end, for walks.
const E2E_LISTS: Bounds = Bounds {
    lists_in_files: true,
    grain: Grain::E2,
    disk: Disk::Fine,
    instant_restart: false,
    tier: Tier::Walk,
    txns: 3,
    snapshots: 1,
    crashes: 3,
    disconnects: 2,
    faults: 4,
    rounds: 5,
    epochs: 5,
    ..BASE
};

/// A joiner gets a vote.
pub(super) const E2E_JOIN: Bounds = Bounds {
    name: "e2e-join",
    about: "as e2e-walk, and the list of voters changes: two and a joiner, from what their files say; for walks, not to be exhausted",
    servers: 2,
    joiners: 1,
    reconfigs: 2,
    targets: &[0b111, 0b110, 0b101, 0b011],
    ..E2E_LISTS
};

/// A voter loses its vote.
pub(super) const E2E_LEAVE: Bounds = Bounds {
    name: "e2e-leave",
    about: "as e2e-join, of three voters, one of whom loses its vote",
    reconfigs: 1,
    targets: &[0b110, 0b101, 0b011],
    ..E2E_LISTS
};
