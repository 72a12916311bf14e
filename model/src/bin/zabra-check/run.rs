//! `zabra-check run`: exhausts configurations and says what was counted, held and seen.

use crate::{configuration, draw, golden_json};
use serde_json::{Value, json};
use stateright::{Checker, Model, report::ReportData, report::ReportDiscovery, report::Reporter};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zabra_model::checker::action::WITNESSES;
use zabra_model::checker::bounds::{Bounds, Golden};
use zabra_model::checker::model::Zab;
use zabra_model::checker::{explore, properties, trace};

/// One line on a terminal, renewed each second.
struct Progress(&'static str);

impl<M: Model> Reporter<M> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        let mut err = std::io::stderr();
        if err.is_terminal() && !data.done {
            let rate = data.unique_states as f64 / data.duration.as_secs_f64().max(0.001);
            let _ = write!(
                err,
                "\r{}: {} distinct, {} generated, depth {}, {:.0} distinct/s  ",
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
            eprint!("\r{:100}\r", "");
        }
    }
    fn delay(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// What one configuration came to.
struct Outcome {
    json: Value,
    text: String,
    holds: bool,
}

pub(crate) fn run(
    names: &[String],
    as_json: bool,
    threads: usize,
    out: Option<&Path>,
) -> Result<bool, String> {
    let configurations = names
        .iter()
        .map(|n| configuration(n))
        .collect::<Result<Vec<_>, _>>()?;
    let mut results = Vec::new();
    let mut all_hold = true;
    for b in configurations {
        let outcome = run_one(b, threads, out)?;
        all_hold &= outcome.holds;
        if as_json {
            results.push(outcome.json);
        } else {
            print!("{}", outcome.text);
        }
    }
    if as_json {
        println!("{}", json!({ "holds": all_hold, "runs": results }));
    }
    Ok(all_hold)
}

/// "Complete" is shown, not assumed: no bound of the search was set, no step was refused, two engines with
/// different orders and different fingerprints count the same, and the count is the recorded one.
fn run_one(b: &'static Bounds, threads: usize, out: Option<&Path>) -> Result<Outcome, String> {
    let began = Instant::now();
    let checker = Zab::new(b)
        .checker()
        .threads(threads)
        .spawn_dfs()
        .join_and_report(&mut Progress(b.name));
    let seconds = began.elapsed().as_secs_f64();
    let (distinct, generated) = (
        checker.unique_state_count() as u64,
        checker.state_count() as u64,
    );
    let broken: Vec<&str> = checker.discoveries().keys().copied().collect();
    let began = Instant::now();
    let levels = explore::explore(&Zab::new(b), u64::MAX);
    let level_seconds = began.elapsed().as_secs_f64();
    let mut complaints = Vec::new();
    if broken.is_empty()
        && (!levels.complete || (levels.distinct, levels.generated) != (distinct, generated))
    {
        complaints.push(format!(
            "the engines disagree: depth-first {distinct} distinct of {generated}, level-order {} of {}",
            levels.distinct, levels.generated
        ));
    }
    let counted = Golden {
        distinct,
        generated,
        depth: levels.depth,
    };
    if let Some(golden) = b.golden.filter(|g| broken.is_empty() && *g != counted) {
        complaints.push(format!("recorded are {golden:?}, counted {counted:?}"));
    }
    let witnessed: BTreeMap<&str, u64> = WITNESSES
        .iter()
        .zip(&checker.model().witnessed)
        .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let missing: Vec<&&str> = b
        .must_witness()
        .iter()
        .filter(|w| !witnessed.contains_key(**w))
        .collect();
    if !missing.is_empty() {
        complaints.push(format!("never seen: {missing:?}"));
    }
    let held: Vec<&str> = properties::ALL
        .iter()
        .map(|p| p.name)
        .filter(|p| !broken.contains(p))
        .collect();
    let holds = broken.is_empty() && complaints.is_empty();
    // Expected colliding pairs among n fingerprints of 64 bits; the level-order engine uses 128.
    let collisions = (distinct as f64).powi(2) / 2f64.powi(65);
    let mut text = format!(
        "{}: {}\n  {distinct} distinct states, {generated} generated, depth {}, {seconds:.1} s depth-first ({threads} threads), {level_seconds:.1} s level by level\n  {}\n  holds: {}\n",
        b.name,
        if holds {
            "complete, all properties hold"
        } else {
            "FAILED"
        },
        levels.depth,
        format_args!(
            "64-bit fingerprints: {collisions:.1e} collisions expected; the 128-bit search counts the same"
        ),
        held.join(", "),
    );
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
        if let Some(out) = out {
            let base = draw::keep(&Zab::new(b), v, out)?;
            text.push_str(&format!("  kept as {base}.txt, .ndjson, .mmd, .svg\n"));
        }
    }
    let json = json!({"configuration": b.name, "distinct": distinct, "generated": generated, "depth": levels.depth,
        "seconds": seconds, "level_order_seconds": level_seconds, "threads": threads, "fingerprint_bits": 64,
        "complete": holds, "expected_collisions": collisions, "held": held, "broken": broken,
        "witnessed": witnessed, "golden": b.golden.map(golden_json), "complaints": complaints});
    Ok(Outcome { json, text, holds })
}
