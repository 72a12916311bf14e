//! Traces of the model on three real processes: every packet and vote at a proxy, every write at the disk's gate, every
//! server's state after each step, and the data directory at each crash. And the proof that this can fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use zabra_conformance::replay::outcome::Counts;
use zabra_conformance::replay::run::Options;
use zabra_conformance::replay::suite;
use zabra_conformance::replay::trace::{Action, ListsRecord, ServerRecord, Step, Trace};

/// Replays at a time.
const PARALLEL: usize = 2;

fn options() -> Options {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Options {
        binary: BINARY
            .get_or_init(|| suite::build_gated_server().unwrap())
            .clone(),
        patience: Duration::from_secs(10),
        mutant: None,
        freeze: None,
    }
}

fn stored() -> Vec<Trace> {
    suite::stored().unwrap()
}

/// `ZABRA_TRACES` names a folder that `zabra-check export` has written.
#[test]
#[ignore = "for traces that are not stored"]
fn three_servers_do_what_the_traces_of_a_folder_say() {
    let folder = std::env::var_os("ZABRA_TRACES").expect("ZABRA_TRACES names a folder");
    let traces = suite::read_all(Path::new(&folder)).unwrap();
    let mut red = 0;
    let began = Instant::now();
    for outcome in suite::replay_all(&traces, &options(), PARALLEL).unwrap() {
        if let Err(difference) = outcome {
            println!("{difference}\n");
            red += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(red, 0, "of {} traces, in {seconds:.0} s", traces.len());
}

#[test]
fn three_servers_do_what_every_stored_trace_says() {
    let traces = stored();
    let began = Instant::now();
    let mut counts = Counts::default();
    let mut differences = Vec::new();
    for outcome in suite::replay_all(&traces, &options(), PARALLEL).unwrap() {
        match outcome {
            Ok(c) => counts.add(&c),
            Err(d) => differences.push(d.to_string()),
        }
    }
    println!("{counts:#?}, {:.0} s", began.elapsed().as_secs_f64());
    assert!(
        differences.is_empty(),
        "{} of {} traces differ:\n{}",
        differences.len(),
        traces.len(),
        differences.join("\n\n")
    );
    // Nothing was skipped, and it was not empty talk.
    assert_eq!(counts.traces, traces.len());
    let steps = |t: &Trace| t.steps.len();
    assert_eq!(counts.steps, traces.iter().map(steps).sum::<usize>());
    let frames = |t: &Trace| t.steps.iter().map(|s| s.frames.len()).sum::<usize>();
    assert_eq!(counts.frames, traces.iter().map(frames).sum::<usize>());
    let writes = |t: &Trace| t.steps.iter().map(|s| s.writes.len()).sum::<usize>();
    assert_eq!(counts.writes, traces.iter().map(writes).sum::<usize>());
    assert!(counts.traces >= 100, "{} traces", counts.traces);
    assert!(counts.steps >= 7000, "{} steps", counts.steps);
    assert!(counts.frames >= 2500, "{} packets", counts.frames);
    assert!(counts.votes >= 3500, "{} votes", counts.votes);
    assert!(counts.disks >= 200, "{} disks", counts.disks);
    for kind in Action::KINDS {
        let n = counts.kinds.get(kind).copied().unwrap_or(0);
        let rare = matches!(kind, "Reconfigure" | "Snapshot");
        assert!(n >= if rare { 5 } else { 20 }, "{kind}: {n} steps");
    }
    // Clients that heard that the list which they had asked for is active.
    assert!(counts.answers >= 5, "{} answers", counts.answers);
    for kind in ["empty DIFF", "DIFF", "TRUNC", "TRUNC then DIFF", "SNAP"] {
        let n = counts.syncs.get(kind).copied().unwrap_or(0);
        assert!(n >= 1, "{kind}: {n} synchronizations");
    }
}

/// A lie about a step; whether the step has what the lie is about.
type Lie = fn(&mut Step) -> bool;

fn any_server(step: &mut Step, lie: impl Fn(&mut ServerRecord)) -> bool {
    step.servers.iter_mut().find(|s| s.up).map(lie).is_some()
}

const LIES: &[(&str, Lie)] = &[
    ("a packet's zxid", |s| {
        s.frames.last_mut().map(|f| f.zxid += 1).is_some()
    }),
    ("a packet's name", |s| {
        let frame = s.frames.iter_mut().find(|f| f.packet == "COMMIT");
        frame.map(|f| f.packet = "INFORM".to_owned()).is_some()
    }),
    ("the epoch in ACKEPOCH", |s| {
        let epoch = s.frames.iter_mut().find_map(|f| f.epoch.as_mut());
        epoch.map(|e| *e += 1).is_some()
    }),
    ("the tree behind SNAP", |s| {
        let frame = s.frames.iter_mut().find(|f| f.packet == "SNAP");
        frame.map(|f| f.tree.push(0x9_0000_0001)).is_some()
    }),
    ("a packet too many", |s| {
        let last = s.frames.last().cloned();
        last.map(|f| s.frames.push(f)).is_some()
    }),
    ("a packet too few", |s| {
        // FOLLOWERINFO is how the replay finds the link.
        let first = s.frames.first().map(|f| f.packet != "FOLLOWERINFO");
        first == Some(true) && s.frames.pop().is_some()
    }),
    ("a vote's round", |s| {
        s.votes.last_mut().map(|v| v.round += 1).is_some()
    }),
    ("a vote's zxid", |s| {
        s.votes.last_mut().map(|v| v.zxid += 1).is_some()
    }),
    ("a vote's epoch", |s| {
        s.votes.last_mut().map(|v| v.epoch += 1).is_some()
    }),
    ("a vote too few", |s| s.votes.pop().is_some()),
    ("a write's value", |s| {
        s.writes.last_mut().map(|w| w.value += 1).is_some()
    }),
    ("a write too few", |s| s.writes.pop().is_some()),
    ("the round", |s| any_server(s, |r| r.round += 1)),
    ("serving", |s| any_server(s, |r| r.serving = Some(9))),
    ("acceptedEpoch", |s| any_server(s, |r| r.accepted += 1)),
    ("currentEpoch", |s| any_server(s, |r| r.current += 1)),
    ("the end of the log", |s| any_server(s, |r| r.logged += 1)),
    ("what is durable", |s| any_server(s, |r| r.durable += 1)),
    ("what is applied", |s| any_server(s, |r| r.applied += 1)),
    ("what is pending", |s| any_server(s, |r| r.pending += 1)),
    ("acceptedEpoch on a dead disk", |s| {
        on_dead_disk(s, |r| r.accepted += 1)
    }),
    ("the log on a dead disk", |s| {
        on_dead_disk(s, |r| r.durable += 1)
    }),
    ("a vote's list", |s| {
        let lists = s.votes.iter_mut().find_map(|v| v.lists.as_mut());
        lists.map(|l| l.active.version += 1).is_some()
    }),
    ("a vote's newer list", |s| {
        let lists = s.votes.iter_mut().find_map(|v| v.lists.as_mut());
        lists.is_some_and(|l| l.next.take().is_some())
    }),
    ("the voters of a proposal", |s| {
        let frame = s.frames.iter_mut().find(|f| !f.voters.is_empty());
        frame.map(|f| f.voters.push(4)).is_some()
    }),
    ("the list of NEWLEADER", |s| {
        in_lists(s, "NEWLEADER", |l| l.active.version += 1)
    }),
    ("the lists of SNAP", |s| {
        in_lists(s, "SNAP", |l| l.active.version += 1)
    }),
    ("COMMITANDACTIVATE", |s| {
        let mut frames = s.frames.iter_mut();
        let frame = frames.find(|f| f.packet == "COMMITANDACTIVATE");
        frame.map(|f| f.packet = "COMMIT".to_owned()).is_some()
    }),
    ("the active list", |s| {
        let lists = s.servers.iter_mut().find_map(|r| r.lists.as_mut());
        lists.map(|l| l.active.version += 1).is_some()
    }),
    ("the newer list", |s| {
        let lists = s.servers.iter_mut().find_map(|r| r.lists.as_mut());
        lists.is_some_and(|l| l.next.take().is_some())
    }),
    ("an activation too few", |s| {
        let at = s.writes.iter().position(|w| w.kind == "activate");
        at.map(|at| s.writes.remove(at)).is_some()
    }),
    ("the active list on a dead disk", |s| {
        let dead = s.servers.iter_mut().find(|r| !r.up);
        let kept = dead.and_then(|r| r.kept.as_mut());
        kept.filter(|l| l.version > 0)
            .map(|l| l.voters.push(4))
            .is_some()
    }),
];

fn in_lists(step: &mut Step, packet: &str, lie: impl Fn(&mut ListsRecord)) -> bool {
    let mut frames = step.frames.iter_mut().filter(|f| f.packet == packet);
    let lists = frames.find_map(|f| f.lists.as_mut());
    lists.map(lie).is_some()
}

fn on_dead_disk(step: &mut Step, lie: impl Fn(&mut ServerRecord)) -> bool {
    let record = step.servers.iter_mut().find(|s| !s.up && s.accepted > 0);
    record.map(lie).is_some()
}

/// A copy of a trace that ends with a lie, and the lie's step: in the `nth` trace that has room for it, not at its start.
fn corrupted(traces: &[Trace], (what, lie): &(&str, Lie)) -> (Trace, usize) {
    let mut best: Option<(Trace, usize)> = None;
    for trace in traces {
        let shorter = best.as_ref().map_or(usize::MAX, |(_, n)| *n);
        for n in 4..trace.steps.len().min(shorter) {
            let mut step = trace.steps[n].clone();
            if lie(&mut step) {
                let mut copy = trace.clone();
                copy.steps.truncate(n);
                copy.steps.push(step);
                copy.name = format!("{}, {what}", trace.name);
                best = Some((copy, n + 1));
                break;
            }
        }
    }
    best.unwrap_or_else(|| panic!("no trace has room for a lie about {what}"))
}

#[test]
fn a_corrupted_trace_fails_at_the_corrupted_step() {
    let traces = stored();
    let (copies, steps): (Vec<Trace>, Vec<usize>) =
        LIES.iter().map(|lie| corrupted(&traces, lie)).unzip();
    let outcomes = suite::replay_all(&copies, &options(), PARALLEL).unwrap();
    let told: Vec<_> = copies.iter().map(|t| &t.name).zip(&steps).collect();
    let found: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map_or_else(|d| d.step, |_| 0))
        .collect();
    let missed: Vec<_> = told
        .iter()
        .zip(&found)
        .filter(|((_, step), found)| step != found)
        .collect();
    assert!(
        missed.is_empty(),
        "(lie, its step), where it was found: {missed:#?}"
    );
    outcomes
        .iter()
        .filter_map(|o| o.as_ref().err())
        .for_each(|d| println!("{d}"));
}

#[test]
fn a_server_that_does_not_answer_or_does_not_start_fails() {
    let traces: Vec<Trace> = stored().into_iter().take(1).collect();
    let deaf = Options {
        freeze: Some(2),
        patience: Duration::from_secs(3),
        ..options()
    };
    let outcome = suite::replay_all(&traces, &deaf, 1).unwrap().remove(0);
    assert_eq!(outcome.unwrap_err().step, 2);
    let null = Options {
        binary: "true".into(),
        patience: Duration::from_secs(1),
        ..options()
    };
    let outcome = suite::replay_all(&traces, &null, 1).unwrap().remove(0);
    assert_eq!(outcome.unwrap_err().step, 0);
}
