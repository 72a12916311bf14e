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
