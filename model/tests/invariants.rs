//! The invariants as values: they say what SPEC.md says, the checker's shortcuts agree with asking each anew, and each
//! invariant of steps breaks under a bug.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use zabra_check::checker::bounds::{self, Bounds};
use zabra_check::checker::cluster::{Cluster, Log};
use zabra_check::checker::model::Zab;
use zabra_check::checker::walk::Dice;
use zabra_check::checker::{properties, zoo};
use zabra_check::invariants::{ALL, STEPS};
use zabra_check::switch::Switch;

const SPEC: &str = include_str!("../../SPEC.md");

/// Calls `look` with each step of random walks: the cluster before and after.
fn walk(bounds: Bounds, walks: usize, mut look: impl FnMut(&Zab, &Cluster, &Cluster, &mut Log)) {
    let model = Zab::new(Box::leak(Box::new(bounds)));
    let initial = model.initial();
    let (mut dice, mut log) = (Dice::new(7), Log::default());
    let mut enabled = Vec::new();
    for n in 0..walks {
        let mut cluster = initial[n % initial.len()];
        for _ in 0..120 {
            enabled.clear();
            model.enabled(&cluster, &mut enabled);
            let Some(last) = enabled.len().checked_sub(1) else {
                break;
            };
            let chosen = usize::try_from(dice.below(last as u64 + 1)).unwrap();
            let before = cluster;
            model.apply(&mut cluster, enabled[chosen], &mut log);
            look(&model, &before, &cluster, &mut log);
        }
    }
}

/// Small configurations of every grain, with observers, groups and reconfigurations; and buggy ones, so that much breaks.
fn configurations() -> Vec<Bounds> {
    let healthy = [
        "zab-cold-1",
        "rec-warm-c1d1",
        "fle-1",
        "hier-warm-1",
        "obs-warm-1",
        "snap-left",
        "reconf-leave",
    ];
    let healthy = healthy.map(|name| *bounds::find(name).unwrap());
    let buggy = zoo::ALL.iter().map(|case| case.bounds);
    healthy.into_iter().chain(buggy).collect()
}

#[test]
fn the_checker_s_verdicts_are_those_of_each_invariant_asked_anew() {
    let mut broken = BTreeSet::new();
    for bounds in configurations() {
        walk(bounds, 12, |model, _, cluster, log| {
            let quick = properties::broken(cluster, &model.world, log);
            let told = properties::told(cluster, &model.world);
            let told: Vec<&str> = told.iter().map(|(i, _)| i.id).collect();
            let quick: Vec<&str> = quick.iter().map(|i| i.id).collect();
            assert_eq!(quick, told, "{}", bounds.name);
            broken.extend(told);
        });
    }
    assert!(broken.len() > 10, "little was broken: {broken:?}");
}

#[test]
fn every_step_of_a_healthy_cluster_keeps_the_invariants_of_steps() {
    for bounds in configurations().into_iter().filter(|b| b.switch.is_none()) {
        walk(bounds, 60, |model, before, after, _| {
            let broken = properties::told_of_step(before, after, &model.world);
            assert!(broken.is_empty(), "{}: {broken:?}", bounds.name);
        });
    }
}

#[test]
fn each_invariant_of_steps_breaks_under_a_bug() {
    let by = [
        ("I-22", Switch::AcceptedEpochVolatile),
        ("I-23", Switch::TruncOffByOne),
        ("I-24", Switch::QuorumIsHalf),
    ];
    assert!(by.iter().map(|(id, _)| *id).eq(STEPS.iter().map(|i| i.id)));
    for (id, switch) in by {
        let case = zoo::ALL.iter().find(|c| c.bounds.switch == Some(switch));
        let mut broken = BTreeSet::new();
        walk(case.unwrap().bounds, 2_000, |model, before, after, _| {
            let found = properties::told_of_step(before, after, &model.world);
            broken.extend(found.into_iter().map(|(i, _)| i.id));
        });
        assert!(broken.contains(id), "{switch:?} breaks only {broken:?}");
    }
}

#[test]
fn every_invariant_says_what_the_specification_says() {
    let plain = |text: &str| text.replace("**", "");
    let all = ALL.iter().map(|i| (i.id, i.name, i.says));
    for (id, name, says) in all.chain(STEPS.iter().map(|i| (i.id, i.name, i.says))) {
        let row = SPEC.lines().find(|l| l.starts_with(&format!("| {id} | ")));
        let row = plain(row.unwrap_or_else(|| panic!("SPEC.md §9 has no row for {id}")));
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        assert_eq!(cells[1], name, "{id}");
        let meaning = cells[2];
        assert!(
            meaning.starts_with(says),
            "{id}: the code says {says:?}, SPEC.md {meaning:?}"
        );
    }
}
