//! `zabra-check run`: exhausts configurations and says what was counted, held and seen.

use crate::configuration::{configuration, golden_json};
use crate::out::{put, say};
use crate::progress::{peak_bytes, shown};
use crate::{draw, table};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use stateright::{Checker, Model, report::ReportData, report::ReportDiscovery, report::Reporter};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zabra_check::checker::action::WITNESSES;
use zabra_check::checker::bounds::{self, Bounds, Golden, Grain};
use zabra_check::checker::explore::table::Width;
use zabra_check::checker::explore::{Explored, Options, Progress, explore};
use zabra_check::checker::model::Zab;
use zabra_check::checker::{properties, trace};
use zabra_check::invariants::{Invariant, InvariantSet};

/// Which search counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// Both, where the depth-first one can finish within a minute; else level by level.
    Auto,
    /// Stateright's depth-first search, then ours: they have to count the same.
    Both,
    /// Ours alone: shortest counterexamples, least memory.
    Levels,
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// Their names.
    #[arg(required_unless_present = "tier")]
    names: Vec<String>,
    /// All of a tier: ci takes two minutes, each of deep up to ten minutes, each of nightly up to two hours.
    #[arg(long, value_parser = ["ci", "deep", "nightly"])]
    tier: Option<String>,
    /// Rewrite the rows of these configurations in the table of runs of this file.
    #[arg(long)]
    table: Option<PathBuf>,
    /// For programs.
    #[arg(long)]
    json: bool,
    /// Threads of each search.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Which search counts.
    #[arg(long, value_enum, default_value = "auto")]
    engine: Engine,
    /// Fingerprints of 64 bits instead of 128: half the memory.
    #[arg(long)]
    narrow: bool,
    /// Take every step anew instead of remembering it: slow, and has to count the same.
    #[arg(long)]
    no_memo: bool,
    /// Count states that differ only in the servers' names as one, where elections do not look at ids (E0).
    #[arg(long)]
    symmetric: bool,
    /// Also ask whether every state can reach one in which all serve, where the configuration does not ask that anyway.
    #[arg(long)]
    liveness: bool,
    /// Do not ask that, where the configuration does: a third of the memory.
    #[arg(long, conflicts_with = "liveness")]
    no_liveness: bool,
    /// Give up, and say so, after about this many states.
    #[arg(long)]
    states: Option<u64>,
    #[command(flatten)]
    other: Variation,
    /// Make room for about so many states at once, where no count is recorded.
    #[arg(long)]
    expect: Option<u64>,
    /// Write the shortest counterexample, if there is one, to NAME.txt, .ndjson, .mmd and .svg in this directory.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Other budgets than the configuration's; then there is no recorded count.
#[derive(Args)]
struct Variation {
    /// So many transactions in all.
    #[arg(long)]
    txns: Option<u8>,
    /// So many crashes; all faults are allowed together then.
    #[arg(long)]
    crashes: Option<u8>,
    /// So many broken connections; all faults are allowed together then.
    #[arg(long)]
    disconnects: Option<u8>,
    /// So many epochs.
    #[arg(long)]
    epochs: Option<u8>,
    /// So many snapshots taken while serving.
    #[arg(long)]
    snapshots: Option<u8>,
    /// The last round of elections that a server may enter by itself.
    #[arg(long)]
    rounds: Option<u8>,
}

impl Variation {
    fn of(&self, b: &'static Bounds) -> &'static Bounds {
        let others = [
            self.txns,
            self.crashes,
            self.disconnects,
            self.epochs,
            self.snapshots,
            self.rounds,
        ];
        if others == [None; 6] {
            return b;
        }
        let crashes = self.crashes.unwrap_or(b.crashes);
        let disconnects = self.disconnects.unwrap_or(b.disconnects);
        let faults_given = self.crashes.or(self.disconnects).is_some();
        Box::leak(Box::new(Bounds {
            txns: self.txns.unwrap_or(b.txns),
            crashes,
            disconnects,
            faults: if faults_given {
                crashes + disconnects
            } else {
                b.faults
            },
            epochs: self.epochs.unwrap_or(b.epochs),
            snapshots: self.snapshots.unwrap_or(b.snapshots),
            rounds: self.rounds.unwrap_or(b.rounds),
            golden: None,
            ..*b
        }))
    }
}

/// States up to which stateright's search is run besides ours.
const DEPTH_FIRST_MAX: u64 = 10_000_000;

/// One line on a terminal, renewed each second.
struct Line(&'static str);

impl<M: Model> Reporter<M> for Line {
    fn report_checking(&mut self, data: ReportData) {
        let mut err = std::io::stderr();
        if err.is_terminal() && !data.done {
            let rate = data.unique_states as f64 / data.duration.as_secs_f64().max(0.001);
            let _ = write!(
                err,
                "\r{}: depth-first, {} distinct, {} generated, depth {}, {:.0} distinct/s  ",
                self.0, data.unique_states, data.total_states, data.max_depth, rate
            );
        }
    }
    fn report_discoveries(&mut self, _: &M, _: BTreeMap<&'static str, ReportDiscovery<M>>)
    where
        M::Action: std::fmt::Debug,
        M::State: std::fmt::Debug + std::hash::Hash,
    {
        if std::io::stderr().is_terminal() {
            eprint!("\r{:120}\r", "");
        }
    }
    fn delay(&self) -> Duration {
        Duration::from_millis(100)
    }
}

/// What one configuration came to.
struct RunReport {
    json: Value,
    text: String,
    holds: bool,
    /// Its row in the table of runs, if it was run to its end.
    row: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut configurations = arguments
        .names
        .iter()
        .map(|n| configuration(n))
        .collect::<Result<Vec<_>, _>>()?;
    let of_tier = |b: &&Bounds| arguments.tier.as_deref() == Some(b.tier.name());
    configurations.extend(bounds::ALL.iter().filter(of_tier));
    let mut rows = BTreeMap::new();
    let mut results = Vec::new();
    let mut all_hold = true;
    for b in configurations {
        let outcome = run_one(b, arguments)?;
        all_hold &= outcome.holds;
        rows.extend(outcome.row.map(|row| (b.name, row)));
        if arguments.json {
            results.push(outcome.json);
        } else {
            put(&outcome.text);
        }
    }
    if arguments.json {
        say!("{}", json!({ "holds": all_hold, "runs": results }));
    }
    if let Some(path) = &arguments.table {
        table::write(path, &rows)?;
    }
    Ok(all_hold)
}

/// What stateright's search counted.
struct DepthFirst {
    distinct: u64,
    generated: u64,
    seconds: f64,
    broken: Vec<&'static str>,
}

fn depth_first(b: &'static Bounds, threads: usize) -> DepthFirst {
    let began = Instant::now();
    let checker = Zab::new(b)
        .checker()
        .threads(threads)
        .spawn_dfs()
        .join_and_report(&mut Line(b.name));
    DepthFirst {
        distinct: checker.unique_state_count() as u64,
        generated: checker.state_count() as u64,
        seconds: began.elapsed().as_secs_f64(),
        broken: checker.discoveries().keys().copied().collect(),
    }
}

/// The configuration up to the servers' names; its recorded counts are of another one then.
fn symmetric(b: &Bounds) -> Result<&'static Bounds, String> {
    if b.grain != Grain::E0 || b.servers > 3 {
        return Err(format!(
            "{}: its elections look at ids, or it is too large",
            b.name
        ));
    }
    Ok(Box::leak(Box::new(Bounds {
        symmetric: true,
        golden: None,
        ..*b
    })))
}

/// "Complete" is shown, not assumed: no bound of the search was set, no step was refused, two engines with
/// different orders and different fingerprints count the same where both can finish, the count is the recorded
/// one, and every kind of step that the configuration is about has occurred.
fn run_one(b: &'static Bounds, arguments: &Arguments) -> Result<RunReport, String> {
    let b = arguments.other.of(b);
    let b = if arguments.symmetric && !b.symmetric {
        symmetric(b)?
    } else {
        b
    };
    let expected = b.golden.map(|g| g.distinct);
    let small = expected.is_some_and(|n| n <= DEPTH_FIRST_MAX);
    let both = match arguments.engine {
        Engine::Auto => small,
        Engine::Both => true,
        Engine::Levels => false,
    };
    let first = both.then(|| depth_first(b, arguments.threads));
    let options = options(b, arguments, expected);
    let model = Zab::new(b);
    let progress = Progress::default();
    let began = Instant::now();
    let levels = shown(b.name, expected, &progress, || {
        explore(&model, &options, &progress)
    })
    .map_err(|e| format!("{}: a temporary file: {e}", b.name))?;
    let seconds = began.elapsed().as_secs_f64();
    let mut complaints = complaints(b, &levels, first.as_ref());
    let broken: Vec<&str> = match (&levels.violation, &first) {
        (Some(v), _) => vec![v.invariant],
        (None, Some(f)) => f.broken.clone(),
        (None, None) => Vec::new(),
    };
    if !levels.complete && broken.is_empty() {
        complaints.push("NOT COMPLETE: it was told to give up after so many states".to_string());
    }
    let holds = broken.is_empty() && complaints.is_empty();
    let mut text = counted(b, arguments, &levels, first.as_ref(), (holds, seconds));
    let held = |p: &&Invariant| levels.complete && !broken.contains(&p.name);
    let held: Vec<&str> = properties::ALL
        .iter()
        .filter(held)
        .map(|p| p.name)
        .collect();
    text.push_str(&format!("  holds: {}\n", held.join(", ")));
    text.push_str(&liveness(&levels));
    let witnessed: BTreeMap<&str, u64> = witnessed(&levels);
    let seen: Vec<String> = witnessed.iter().map(|(w, c)| format!("{w} {c}")).collect();
    text.push_str(&format!("  seen: {}\n", seen.join(", ")));
    complaints
        .iter()
        .for_each(|c| text.push_str(&format!("  {c}\n")));
    if let Some(v) = &levels.violation {
        let story = trace::story(&Zab::new(b), v.initial, &v.actions);
        text.push_str(&format!(
            "  broken: {} in {} steps\n{story}",
            v.invariant,
            v.actions.len()
        ));
        if let Some(out) = &arguments.out {
            let base = draw::keep(&Zab::new(b), v, out)?;
            text.push_str(&format!("  kept as {base}.txt, .ndjson, .mmd, .svg\n"));
        }
    }
    let json = json!({"configuration": b.name, "distinct": levels.distinct, "renamed": levels.renamed, "generated": levels.generated,
        "depth": levels.depth, "widest_level": levels.widest, "seconds": seconds, "threads": arguments.threads,
        "depth_first_seconds": first.as_ref().map(|f| f.seconds), "fingerprint_bits": levels.width.bits(),
        "expected_collisions": levels.width.expected_collisions(levels.distinct),
        "peak_memory_bytes": peak_bytes(), "table_bytes": levels.table_bytes, "spilled_bytes": levels.spilled,
        "liveness": levels.liveness.map(|l| json!({"serving": l.serving, "exempt": l.exempt, "wedged": l.wedged, "endless": l.endless, "edges": l.edges})),
        "complete": levels.complete, "holds": holds, "held": held, "broken": broken,
        "witnessed": witnessed, "golden": b.golden.map(golden_json), "complaints": complaints});
    let row = (levels.complete && broken.is_empty()).then(|| table::row(b, &levels, seconds));
    Ok(RunReport {
        json,
        text,
        holds,
        row,
    })
}

fn options(b: &Bounds, arguments: &Arguments, expected: Option<u64>) -> Options {
    Options {
        threads: arguments.threads,
        width: if arguments.narrow {
            Width::Bits64
        } else {
            Width::Bits128
        },
        states_max: arguments.states.unwrap_or(u64::MAX),
        expected: expected.or(arguments.expect).unwrap_or(0),
        memo: !arguments.no_memo,
        ignored: InvariantSet::NONE,
        liveness: (b.liveness && !arguments.no_liveness) || arguments.liveness,
    }
}

/// What a run has counted, and at what cost.
fn counted(
    b: &Bounds,
    arguments: &Arguments,
    levels: &Explored,
    first: Option<&DepthFirst>,
    (holds, seconds): (bool, f64),
) -> String {
    let mut text = String::new();
    text.push_str(&format!(
        "{}: {}\n  {} distinct states, {} generated, depth {}\n",
        b.name,
        if holds {
            "complete, all properties hold"
        } else {
            "FAILED"
        },
        levels.distinct,
        levels.generated,
        levels.depth
    ));
    if b.symmetric {
        text.push_str(&format!(
            "  up to the servers' names: these stand for {} states\n",
            levels.renamed
        ));
    }
    text.push_str(&format!(
        "  level by level: {seconds:.1} s, {} threads, {:.0} k distinct/s, {}-bit fingerprints ({:.1e} collisions expected), peak memory {:.0} MB\n",
        arguments.threads,
        levels.distinct as f64 / seconds / 1e3,
        levels.width.bits(),
        levels.width.expected_collisions(levels.distinct),
        peak_bytes().unwrap_or(0) as f64 / 1e6
    ));
    match first {
        Some(f) => text.push_str(&format!("  depth-first (stateright, 64-bit): {} distinct, {} generated, {:.1} s\n", f.distinct, f.generated, f.seconds)),
        None => text.push_str("  depth-first (stateright): not run, it is for configurations of up to 10 million states\n"),
    }
    text
}

fn liveness(levels: &Explored) -> String {
    levels.liveness.map_or_else(String::new, |l| {
        format!(
            "  no wedge: {} states serve, {} have no epoch or round left, {} of the others cannot reach one that serves ({} transitions without faults)\n  \
             an exchange of votes ends: from {} states it need not\n",
            l.serving, l.exempt, l.wedged, l.edges, l.endless
        )
    })
}

fn witnessed(levels: &Explored) -> BTreeMap<&'static str, u64> {
    let counts = WITNESSES
        .iter()
        .copied()
        .zip(levels.witnessed.iter().copied());
    counts.filter(|(_, count)| *count > 0).collect()
}

/// What keeps a run without a broken invariant from being an exhausted one.
fn complaints(b: &Bounds, levels: &Explored, first: Option<&DepthFirst>) -> Vec<String> {
    let mut complaints = Vec::new();
    if !levels.complete {
        return complaints;
    }
    let counted = (levels.distinct, levels.generated);
    if let Some(f) = first.filter(|f| (f.distinct, f.generated) != counted) {
        complaints.push(format!(
            "the engines disagree: depth-first {} distinct of {}, level-order {} of {}",
            f.distinct, f.generated, levels.distinct, levels.generated
        ));
    }
    let counted = Golden {
        distinct: levels.distinct,
        generated: levels.generated,
        depth: levels.depth,
    };
    if let Some(golden) = b.golden.filter(|g| *g != counted) {
        complaints.push(format!("recorded are {golden:?}, counted {counted:?}"));
    }
    let witnessed = witnessed(levels);
    let missing = b.must_witness().iter();
    let missing: Vec<&&str> = missing.filter(|w| !witnessed.contains_key(**w)).collect();
    if !missing.is_empty() {
        complaints.push(format!("never seen: {missing:?}"));
    }
    complaints
}
