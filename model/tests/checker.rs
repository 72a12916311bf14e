//! The exhaustive claims of SPEC.md, re-made: each configuration is run to its end by two engines.
//!
//! The larger ones run in release through `zabra-check run`, which `cargo xtask model` calls.

use stateright::{Checker, Model};
use std::sync::atomic::Ordering;
use zabra_check::checker::action::WITNESSES;
use zabra_check::checker::cluster::{Cluster, Log};
use zabra_check::checker::explore::table::Width;
use zabra_check::checker::explore::{Explored, Options, Progress, explore};
use zabra_check::checker::model::Zab;
use zabra_check::checker::{bounds, properties, trace, walk, zoo};
use zabra_check::switch::Switch;

fn explored(model: &Zab, options: &Options) -> Explored {
    explore(model, options, &Progress::default()).expect("temporary files")
}

/// The name of the first invariant that a cluster breaks.
fn broken(model: &Zab, cluster: &Cluster) -> Option<&'static str> {
    let broken = properties::broken(cluster, &model.world, &mut Log::default());
    broken.iter().next().map(|first| first.name)
}

#[test]
fn both_engines_exhaust_rec_warm_1_and_count_the_recorded_states() {
    let b = bounds::find("rec-warm-1").expect("a configuration");
    let golden = b.golden.expect("recorded counts");
    let checker = Zab::new(b).checker().threads(2).spawn_dfs().join();
    assert!(
        checker.discoveries().is_empty(),
        "{:?}",
        checker.discoveries().keys()
    );
    assert_eq!(checker.unique_state_count() as u64, golden.distinct);
    assert_eq!(checker.state_count() as u64, golden.generated);
    // However many threads, whatever the fingerprints, and whether or not steps are remembered.
    for (threads, width, memo) in [
        (1, Width::Bits128, true),
        (2, Width::Bits64, true),
        (2, Width::Bits128, false),
    ] {
        let options = Options {
            threads,
            width,
            memo,
            ..Options::default()
        };
        let levels = explored(&Zab::new(b), &options);
        assert!(levels.complete);
        assert_eq!(
            (levels.distinct, levels.generated, levels.depth),
            (golden.distinct, golden.generated, golden.depth)
        );
        for (seen, counter) in levels.witnessed.iter().zip(&checker.model().witnessed) {
            assert_eq!(*seen, counter.load(Ordering::Relaxed));
        }
    }
    for witness in b.must_witness() {
        let at = WITNESSES
            .iter()
            .position(|w| w == witness)
            .expect("a known witness");
        assert!(
            checker.model().witnessed[at].load(Ordering::Relaxed) > 0,
            "never seen: {witness}"
        );
    }
}

#[test]
fn whatever_is_exhausted_has_kinds_of_steps_that_must_occur() {
    let silent = bounds::ALL
        .iter()
        .filter(|b| b.golden.is_some() && b.must_witness().is_empty());
    let silent: Vec<&str> = silent.map(|b| b.name).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn every_configuration_of_the_ci_tier_is_exhausted_clean_and_counts_what_is_recorded() {
    for b in bounds::ALL.iter().filter(|b| b.tier == bounds::Tier::Ci) {
        let options = Options {
            threads: 2,
            liveness: b.liveness,
            ..Options::default()
        };
        let found = explored(&Zab::new(b), &options);
        let broken = found.violation.map(|v| (v.invariant, v.actions));
        assert_eq!(broken, None, "{}", b.name);
        let golden = b.golden.expect("recorded counts");
        assert!(found.complete, "{}", b.name);
        assert_eq!(
            (found.distinct, found.generated, found.depth),
            (golden.distinct, golden.generated, golden.depth),
            "{}",
            b.name
        );
        for witness in b.must_witness() {
            let at = WITNESSES.iter().position(|w| w == witness);
            let seen = at.map(|at| found.witnessed[at]);
            assert!(seen > Some(0), "{}: never seen: {witness}", b.name);
        }
    }
}

#[test]
fn counted_up_to_names_the_states_stand_for_exactly_those_that_are_counted_one_by_one() {
    let b = bounds::find("zab-cold-1").expect("a configuration");
    let golden = b.golden.expect("recorded counts");
    let symmetric = Box::leak(Box::new(bounds::Bounds {
        symmetric: true,
        golden: None,
        ..*b
    }));
    let options = Options {
        threads: 2,
        liveness: true,
        ..Options::default()
    };
    let found = explored(&Zab::new(symmetric), &options);
    assert!(found.complete && found.violation.is_none());
    assert_eq!(
        (found.renamed, found.depth),
        (golden.distinct, golden.depth)
    );
    assert!(found.distinct * 5 < golden.distinct);
    assert!(
        found
            .liveness
            .is_some_and(|l| l.wedged == 0 && l.serving > 0)
    );
}

#[test]
fn every_switch_is_caught_as_recorded_and_the_same_steps_without_it_are_clean() {
    // The largest cage is opened in release only, by `zabra-check zoo`.
    let small = |c: &&zoo::Cage| c.bounds.switch != Some(Switch::SnapBehindHistory);
    for cage in zoo::ALL.iter().filter(small) {
        let b = &cage.bounds;
        let found = zoo::first_catch(&Zab::new(b)).expect("temporary files");
        let violation = found
            .violation
            .unwrap_or_else(|| panic!("{} survives {} states", b.name, found.distinct));
        let caught = (violation.invariant, violation.actions.len());
        assert_eq!(caught, cage.expected, "{}", b.name);
        // The same steps with the bug off: either they cannot happen, or nothing is wrong with them.
        let healthy: &'static _ = Box::leak(Box::new(bounds::Bounds { switch: None, ..*b }));
        let model = Zab::new(healthy);
        let mut cluster = model.initial().remove(violation.initial);
        for action in violation.actions {
            let mut enabled = Vec::new();
            model.enabled(&cluster, &mut enabled);
            if !enabled.contains(&action) {
                break;
            }
            trace::record(&model, &mut cluster, 0, action);
            assert_eq!(
                broken(&model, &cluster),
                None,
                "{} without the switch",
                b.name
            );
        }
    }
}

/// Each invariant that no other can stand in for, with a switch that only it catches (`model/README.md`).
#[test]
fn some_switches_are_caught_by_one_invariant_only() {
    let needed = [
        ("StaleCommittedLogRange", "committed is durable"),
        ("AckProposalBeforeAckNewleader", "no bad packet"),
        ("BootRejectsLogAheadOfEpoch", "every disk image boots"),
        ("UptodateWithAckZxid", "quiescence is agreement"),
        ("FollowerForgetsToApply", "quiescence is agreement"),
    ];
    for (name, invariant) in needed {
        let cage = zoo::ALL.iter().find(|c| c.is_named(name)).expect("a cage");
        let second = zoo::second_catch(cage, 0).expect("temporary files");
        assert!(
            matches!(second, zoo::Second::Survives { without, complete: true, .. } if without == invariant),
            "{name} {second}"
        );
    }
}

#[test]
fn walks_repeat_from_their_seed_and_together_show_every_kind_of_synchronization() {
    let b = bounds::find("e2e-walk").expect("a configuration");
    let model = Zab::new(b);
    let kept = walk::walks(&model, 1, 9_000, 160, 1_000);
    let again = walk::walks(&model, 1, 9_000, 160, 1_000);
    assert!(
        kept.iter()
            .map(|w| &w.actions)
            .eq(again.iter().map(|w| &w.actions))
    );
    let mut seen = 0;
    for w in &kept {
        let mut cluster = model.initial().remove(w.initial);
        for (n, action) in w.actions.iter().enumerate() {
            seen |= trace::record(&model, &mut cluster, n, *action).2;
            let so_far = &w.actions[..=n];
            assert_eq!(broken(&model, &cluster), None, "after {so_far:?}");
        }
    }
    for (i, name) in WITNESSES
        .iter()
        .enumerate()
        .filter(|(_, w)| w.starts_with("sync") || **w == "PING")
    {
        assert!(seen >> i & 1 == 1, "never seen: {name}");
    }
}

#[test]
fn a_story_tells_every_step_and_who_changed() {
    let b = bounds::find("zoo/QuorumIsHalf").expect("a configuration");
    let found = explored(&Zab::new(b), &Options::default())
        .violation
        .expect("two servers, each a quorum");
    let story = trace::story(&Zab::new(b), found.initial, &found.actions);
    assert!(
        story.contains("  1. server 1 takes itself for the leader"),
        "{story}"
    );
    assert!(story.contains("LEADING epoch 1"), "{story}");
}
