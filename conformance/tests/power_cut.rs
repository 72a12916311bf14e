//! Power cuts at random moments under load lose nothing that was acknowledged.
//!
//! The servers are real processes; each has its data on a disk that forgets (`conformance/src/lossy`). Skipped, loudly, where
//! no file system can be mounted. `cargo xtask power --cuts N --seed S` does the same for as long as one likes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::lossy::cut::Sync;
use zabra_conformance::lossy::missing;
use zabra_conformance::power::run::{Plan, run, run_failing_syncs, run_kills_before_cuts};

/// The usual plan, or `None` where nothing can be mounted. `ZABRA_SEED` replaces the seed.
fn plan(servers: usize, cuts: u64) -> Option<Plan> {
    if let Some(why) = missing() {
        eprintln!("\n#### SKIPPED: power cuts: {why}\n");
        return None;
    }
    let seed = std::env::var("ZABRA_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(8);
    Some(Plan {
        servers,
        cuts,
        seed,
        sync: Sync::Honest,
    })
}

#[test]
fn an_ensemble_loses_nothing_acknowledged_by_power_cuts() {
    let Some(plan) = plan(3, 20) else { return };
    let report = run(plan).unwrap_or_else(|why| panic!("{why}"));
    eprintln!("{report:?}");
    assert!(report.acked > 500, "there was little to lose: {report:?}");
}

#[test]
fn a_server_alone_loses_nothing_acknowledged_by_power_cuts() {
    let Some(plan) = plan(1, 20) else { return };
    let report = run(plan).unwrap_or_else(|why| panic!("{why}"));
    eprintln!("{report:?}");
    assert!(report.acked > 500, "there was little to lose: {report:?}");
}

/// C-5: what a start finds may only be in the page cache, and is synced before anybody is told of it.
#[test]
fn c_5_what_a_start_found_survives_the_next_power_cut() {
    for servers in [1, 3] {
        let Some(plan) = plan(servers, 4) else { return };
        let report = run_kills_before_cuts(plan).unwrap_or_else(|why| panic!("{why}"));
        eprintln!("{report:?}");
    }
}

/// C-6: what a failed fsync left in the page cache is not on the disk, whatever a later fsync says.
#[test]
fn c_6_the_tail_of_a_failed_sync_does_not_count_before_it_is_written_anew() {
    for servers in [1, 3] {
        let Some(plan) = plan(servers, 0) else { return };
        let report = run_failing_syncs(plan, 3).unwrap_or_else(|why| panic!("{why}"));
        eprintln!("{report:?}");
    }
}

/// The check of the check: with disks that lie about their syncs the same run must find losses.
#[test]
fn disks_that_lie_are_found_out() {
    let Some(mut plan) = plan(1, 12) else { return };
    plan.sync = Sync::Lies;
    let why = run(plan).unwrap_err().to_string();
    // A promise is broken, the server finds a hole itself, or a client misses the node that it writes to.
    let signs = ["promises are broken", "ended by itself", "was refused"];
    assert!(signs.iter().any(|sign| why.contains(sign)), "{why}");
}
