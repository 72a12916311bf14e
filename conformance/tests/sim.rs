//! The simulator: a sample of seeds is clean, the same seed is the same run, and planted bugs are found.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::sim::planted::Planted;
use zabra_conformance::sim::{configs, run};

/// Seeds of a commit; `cargo xtask sim` runs more of them.
const SEEDS: u64 = 24;

fn failure(seed: u64, wrong: &str) -> String {
    format!("seed {seed}: {wrong}\n    cargo xtask sim --seed {seed}")
}

#[test]
fn a_sample_of_seeds_is_clean_and_not_empty() {
    let configs = configs().unwrap();
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..SEEDS {
        let report = run(&configs, seed, None, false);
        if let Some(wrong) = report.wrong {
            panic!("{}", failure(seed, &wrong));
        }
        for (what, n) in report.counts {
            *sums.entry(what).or_default() += n;
        }
    }
    for what in [
        "events",
        "full disks",
        "powers lost",
        "processes killed",
        "reads",
        "reigns",
        "sessions",
        "slow disks",
        "slow ways",
        "starts",
        "syncs failed",
        "ways cut",
        "writes",
    ] {
        assert!(sums.get(what) > Some(&(SEEDS / 4)), "{what}: {sums:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_one_is_another() {
    let configs = configs().unwrap();
    let first = run(&configs, 7, None, false);
    assert_eq!(first, run(&configs, 7, None, false));
    assert_ne!(first.digest, run(&configs, 8, None, false).digest);
}

#[test]
fn planted_bugs_are_found() {
    let configs = configs().unwrap();
    for planted in [
        Planted::ReplyBeforeApply,
        Planted::SyncAtOnce,
        Planted::NamesNotSynced,
    ] {
        let found = (0..40).any(|seed| run(&configs, seed, Some(planted), false).wrong.is_some());
        assert!(found, "{}", planted.name());
    }
}
