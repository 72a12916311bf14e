//! Walks through lists of voters that change: what the stored ones show, and that the exhausted configurations show nothing else.
//!
//! A class of steps is a line of [`STEPS`]. The exhausted configurations elect by an oracle and start warm, so no process can do what
//! their traces say; the stored walks begin cold and elect by messages, and have to show each class all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use stateright::Model;
use std::path::{Path, PathBuf};
use zabra_check::checker::bounds;
use zabra_check::checker::list_steps::{STEPS, list_steps};
use zabra_check::checker::model::Zab;
use zabra_check::checker::properties;
use zabra_check::checker::trace::{self, parse};
use zabra_check::checker::walk::Dice;

/// How many stored walks have to show each class: one that stood alone could lose it with the next change of the walks.
const EACH: usize = 2;

const FOLDERS: [&str; 2] = ["e2e-join", "e2e-leave"];

/// The head of the table of the folder's README.md.
const HEAD: &str = "| step | e2e-join | e2e-leave | reconf-* |\n|---|---|---|---|\n";

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/traces")
}

fn stored(name: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(traces().join(name)).unwrap();
    let files = files.map(|f| f.unwrap().path());
    files
        .filter(|f| f.extension().is_some_and(|e| e == "ndjson"))
        .collect()
}

#[test]
fn the_stored_walks_show_every_class_of_steps_and_break_no_invariant() {
    let mut counts = vec![[0; FOLDERS.len()]; STEPS.len()];
    for (column, name) in FOLDERS.into_iter().enumerate() {
        let model = Zab::new(bounds::find(name).unwrap());
        for file in stored(name) {
            let (header, actions) = parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let mut cluster = model.initial().remove(header.initial);
            let mut shown = 0;
            for (n, action) in actions.into_iter().enumerate() {
                let before = cluster;
                trace::record(&model, &mut cluster, n, action);
                shown |= list_steps(&model, &before, &cluster, action);
                let broken = properties::told(&cluster, &model.world);
                assert!(
                    broken.is_empty(),
                    "{}, step {}: {broken:?}",
                    file.display(),
                    n + 1
                );
            }
            let of = |kind: &usize| shown >> kind & 1 == 1;
            (0..STEPS.len())
                .filter(of)
                .for_each(|kind| counts[kind][column] += 1);
        }
    }
    let mut table = String::from(HEAD);
    for (step, count) in STEPS.iter().zip(&counts) {
        assert!(
            count.iter().sum::<usize>() >= EACH,
            "{step}: {count:?} walks"
        );
        let coarse = match OF_WALKS_ONLY.contains(step) {
            true => "no",
            false => "yes",
        };
        table.push_str(&format!(
            "| {step} | {} | {} | {coarse} |\n",
            count[0], count[1]
        ));
    }
    let readme = std::fs::read_to_string(traces().join("README.md")).unwrap();
    assert!(
        readme.contains(&table),
        "the table of README.md is\n{table}"
    );
}

/// Everything that these show, by all of their states.
fn exhausted(name: &str) -> u64 {
    let model = Zab::new(bounds::find(name).unwrap());
    let (mut seen, mut shown) = (HashSet::with_hasher(FixedState::default()), 0);
    let mut frontier = model.init_states();
    let mut actions = Vec::new();
    while let Some(state) = frontier.pop() {
        actions.clear();
        model.actions(&state, &mut actions);
        for action in actions.iter().copied() {
            let next = model.next_state(&state, action).unwrap();
            shown |= list_steps(&model, &state.cluster, &next.cluster, action);
            if seen.insert(next) {
                frontier.push(next);
            }
        }
    }
    let golden = model.bounds.golden.unwrap();
    assert!(
        seen.len() as u64 >= golden.distinct - 1,
        "{name}: {}",
        seen.len()
    );
    shown
}

/// What random walks through these show.
fn walked(name: &str) -> u64 {
    let model = Zab::new(bounds::find(name).unwrap());
    let (mut dice, mut shown) = (Dice::new(1), 0);
    for _ in 0..2000 {
        let mut state = model.init_states().remove(0);
        for _ in 0..70 {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            if actions.is_empty() {
                break;
            }
            let at = dice.below(actions.len() as u64) as usize;
            let next = model.next_state(&state, actions[at]).unwrap();
            shown |= list_steps(&model, &state.cluster, &next.cluster, actions[at]);
            state = next;
        }
    }
    shown
}

/// Of these the coarser configurations know nothing: they have no files, no snapshots, starts that are part of a crash, and all their
/// writes before the first list.
const OF_WALKS_ONLY: &[&str] = &[
    "a leader names the list that an ensemble begins with",
    "a start finds two lists",
    "a start finds a list that was activated",
    "SNAP brings a list",
    "SNAP with a list is durable",
    "SNAP, and a newer list behind it",
    "a write is proposed behind a list",
];

#[test]
fn what_the_walks_show_beyond_the_exhausted_configurations_is_known() {
    let exhausted = ["reconf-join", "reconf-leave"].map(exhausted);
    let walked = ["reconf-any", "reconf-twice"].map(walked);
    let shown = exhausted.iter().chain(&walked).fold(0, |all, s| all | s);
    let lacks = |(kind, _): &(usize, &&str)| shown >> kind & 1 == 0;
    let lacking: Vec<_> = STEPS.iter().enumerate().filter(lacks).collect();
    let lacking: Vec<_> = lacking.into_iter().map(|(_, step)| *step).collect();
    assert_eq!(lacking, OF_WALKS_ONLY);
}
