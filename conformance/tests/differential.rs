//! ZooKeeper and Zabra answer the same random requests alike, to the last byte that does not differ by its nature.
//!
//! About a minute of what `cargo xtask differential` does for as long as one likes. `ZABRA_SEED` replaces the seed. Nothing is skipped:
//! without Java this test is red.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::time::Duration;
use zabra_conformance::differential::run::{Plan, Report, run};

fn seed() -> u64 {
    let seed = std::env::var("ZABRA_SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or(10)
}

fn compare(plan: Plan) -> Report {
    eprintln!("{plan:?}");
    let report = run(plan, |words| eprintln!("{words}")).unwrap();
    let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    report
}

#[test]
fn zookeeper_and_zabra_answer_alike() {
    let report = compare(Plan {
        seed: seed(),
        requests: 20_000,
        time: Duration::from_secs(45),
        servers: 1,
        restart_every: 4,
        findings: 1,
    });
    // Not vacuous: answers were compared, and decided differences were met, which a blind comparison would not have seen.
    assert!(report.requests > 1000, "{report:?}");
    assert!(report.wanted.contains_key("D-72"), "{report:?}");
}

/// One script: sessions move between the servers, and there is a restart.
#[test]
fn ensembles_answer_alike() {
    let report = compare(Plan {
        seed: seed(),
        requests: 1500,
        time: Duration::from_secs(30),
        servers: 3,
        restart_every: 1,
        findings: 1,
    });
    assert!(report.requests > 1000, "{report:?}");
    assert!(report.wanted.contains_key("D-73"), "{report:?}");
}
