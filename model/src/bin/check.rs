//! `zabra-check`: explores the model, shows what it can catch, and writes and replays traces.

#![expect(
    clippy::disallowed_types,
    reason = "the command times its runs; the library has no clock"
)]

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use stateright::{Checker, Model, report::ReportData, report::ReportDiscovery, report::Reporter};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zabra_model::checker::action::WITNESSES;
use zabra_model::checker::bounds::{self, Bounds, Golden};
use zabra_model::checker::explore::{self, Explored};
use zabra_model::checker::model::Zab;
use zabra_model::checker::trace::{self, Header};
use zabra_model::checker::zoo::{self, Cage};
use zabra_model::checker::{properties, walk};

/// Explores the protocol of Zabra exhaustively: the functions that the server runs.
///
/// Exit codes: 0 all holds, 1 something does not, 2 usage.
#[derive(Parser)]
#[command(name = "zabra-check", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What there is to run, and what each configuration covers.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Exhaust configurations, by stateright's depth-first search and by our level-order one.
    Run {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// For programs.
        #[arg(long)]
        json: bool,
        /// Threads of the depth-first search.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Switch on each known bug and find the shortest way to it.
    Zoo {
        /// Only these switches; all if none is named.
        names: Vec<String>,
        /// For programs.
        #[arg(long)]
        json: bool,
        /// Print each counterexample step by step.
        #[arg(long)]
        show: bool,
        /// Leave out the invariant that catches it: is there another?
        #[arg(long)]
        without_each: bool,
        /// Explore the same configurations with the bugs off: they have to be clean.
        #[arg(long)]
        off: bool,
    },
    /// Look around in a browser: stateright's Explorer.
    Explore {
        /// The configuration.
        name: String,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Re-run a stored trace and compare every record with the model.
    Replay {
        /// The file.
        trace: PathBuf,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Write traces: random walks that together show every class of step.
    Export {
        /// The configuration.
        name: String,
        /// The directory to write to.
        #[arg(long)]
        out: PathBuf,
        /// How many traces are wanted.
        #[arg(long, default_value_t = 120)]
        traces: usize,
        /// How many walks are tried.
        #[arg(long, default_value_t = 200_000)]
        tries: usize,
        /// The longest walk.
        #[arg(long, default_value_t = 160)]
        steps: usize,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List { json } => Ok(list(json)),
        Command::Run {
            names,
            json,
            threads,
        } => run(&names, json, threads),
        Command::Zoo {
            names,
            json,
            show,
            without_each,
            off,
        } => match cages(&names) {
            Ok(cages) if without_each => Ok(run_without_each(&cages, json)),
            Ok(cages) if off => Ok(run_off(&cages)),
            Ok(cages) => Ok(run_zoo(&cages, json, show)),
            Err(message) => Err(message),
        },
        Command::Explore { name, address } => explore_in_browser(&name, &address),
        Command::Replay { trace, json } => replay(&trace, json),
        Command::Export {
            name,
            out,
            traces,
            tries,
            steps,
            seed,
        } => export(&name, &out, (traces, tries, steps, seed)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("zabra-check: {message}");
            ExitCode::from(2)
        }
    }
}

fn configuration(name: &str) -> Result<&'static Bounds, String> {
    bounds::find(name)
        .ok_or_else(|| format!("{name} is not a configuration; `zabra-check list` names them"))
}

fn list(as_json: bool) -> bool {
    if as_json {
        let entry = |b: &Bounds| {
            json!({"name": b.name, "about": b.about, "servers": b.servers, "grain": format!("{:?}", b.grain),
                "disk": format!("{:?}", b.disk), "transactions": b.txns, "crashes": b.crashes,
                "disconnects": b.disconnects, "faults": b.faults, "golden": b.golden.map(golden_json)})
        };
        let cages = zoo::ALL.iter().map(|c| &c.bounds);
        let all: Vec<Value> = bounds::ALL.iter().chain(cages).map(entry).collect();
        println!("{}", json!({ "configurations": all }));
        return true;
    }
    for b in bounds::ALL.iter().chain(zoo::ALL.iter().map(|c| &c.bounds)) {
        println!("{:<28} {}", b.name, b.about);
        if let Some(g) = b.golden {
            println!(
                "{:<28} {} distinct states, {} generated, depth {}",
                "", g.distinct, g.generated, g.depth
            );
        }
    }
    true
}

fn golden_json(g: Golden) -> Value {
    json!({"distinct": g.distinct, "generated": g.generated, "depth": g.depth})
}

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

fn run(names: &[String], as_json: bool, threads: usize) -> Result<bool, String> {
    let configurations = names
        .iter()
        .map(|n| configuration(n))
        .collect::<Result<Vec<_>, _>>()?;
    let mut results = Vec::new();
    let mut all_hold = true;
    for b in configurations {
        let outcome = run_one(b, threads);
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
fn run_one(b: &'static Bounds, threads: usize) -> Outcome {
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
    }
    let json = json!({"configuration": b.name, "distinct": distinct, "generated": generated, "depth": levels.depth,
        "seconds": seconds, "level_order_seconds": level_seconds, "threads": threads, "fingerprint_bits": 64,
        "complete": holds, "expected_collisions": collisions, "held": held, "broken": broken,
        "witnessed": witnessed, "golden": b.golden.map(golden_json), "complaints": complaints});
    Outcome { json, text, holds }
}

fn cages(names: &[String]) -> Result<Vec<&'static Cage>, String> {
    let wanted = |c: &&Cage| names.is_empty() || names.iter().any(|n| c.is_named(n));
    let cages: Vec<&'static Cage> = zoo::ALL.iter().filter(wanted).collect();
    if cages.len() < names.len() || cages.is_empty() {
        return Err(format!(
            "of {names:?} some are not switches; `zabra-check list` names them"
        ));
    }
    Ok(cages)
}

/// Every configuration of the zoo with its bug off.
fn run_off(cages: &[&'static Cage]) -> bool {
    let mut seen = Vec::new();
    let mut clean = true;
    for cage in cages {
        let b = Bounds {
            name: "",
            about: "",
            switch: None,
            ..cage.bounds
        };
        let same = format!("{b:?}");
        if seen.contains(&same) {
            continue;
        }
        seen.push(same);
        let (model, found) = zoo::without_bug(cage);
        clean &= found.violation.is_none();
        let all = if found.complete { "all" } else { "the first" };
        let name = cage.bounds.name;
        match found.violation {
            None => println!("{name:<34} off: {all} {} states are clean", found.distinct),
            Some(v) => {
                let steps = v.actions.len();
                println!(
                    "{name:<34} off: BREAKS \"{}\" after {steps} steps",
                    v.invariant
                );
                print!("{}", trace::story(&model, v.initial, &v.actions));
            }
        }
    }
    clean
}

fn run_zoo(cages: &[&'static Cage], as_json: bool, show: bool) -> bool {
    let mut results = Vec::new();
    let mut all_caught = true;
    for cage in cages {
        let b = &cage.bounds;
        let began = Instant::now();
        let Explored {
            distinct,
            violation,
            ..
        } = explore::explore(&Zab::new(b), zoo::STATES_MAX);
        let seconds = began.elapsed().as_secs_f64();
        let found = violation.as_ref().map(|v| (v.invariant, v.actions.len()));
        let as_recorded = found == Some(cage.expected);
        all_caught &= as_recorded;
        if as_json {
            let actions = violation.as_ref().map(|v| json!(v.actions));
            results.push(json!({"switch": b.name, "about": b.about, "source": cage.source, "caught": found.is_some(),
                "as_recorded": as_recorded, "invariant": found.map(|f| f.0), "steps": found.map(|f| f.1),
                "distinct": distinct, "seconds": seconds, "actions": actions}));
            continue;
        }
        let effort = format!("({distinct} states, {seconds:.1} s)");
        match found {
            Some((by, steps)) => println!(
                "{:<34} caught by \"{by}\" after {steps} steps {effort}",
                b.name
            ),
            None => println!("{:<34} NOT CAUGHT {effort}", b.name),
        }
        if !as_recorded {
            let (by, steps) = cage.expected;
            println!("  DIFFERS: recorded is \"{by}\" after {steps} steps");
        }
        if let Some(v) = violation.filter(|_| show) {
            println!("  {}", b.about);
            print!("{}", trace::story(&Zab::new(b), v.initial, &v.actions));
        }
    }
    if as_json {
        println!(
            "{}",
            json!({ "all_caught": all_caught, "switches": results })
        );
    }
    all_caught
}

/// For each invariant: which switches would survive without it?
fn run_without_each(cages: &[&'static Cage], as_json: bool) -> bool {
    let found: Vec<(&str, zoo::Second)> = cages
        .iter()
        .map(|cage| {
            let second = zoo::second_catch(cage);
            if !as_json {
                println!("{:<34} {second}", cage.bounds.name);
            }
            (cage.bounds.name, second)
        })
        .collect();
    let needs: BTreeMap<&str, Vec<&str>> = properties::ALL
        .iter()
        .map(|p| {
            let survivors = found
                .iter()
                .filter(|(_, s)| s.survives_without() == Some(p.name));
            (p.name, survivors.map(|(name, _)| *name).collect())
        })
        .collect();
    if as_json {
        println!("{}", json!({ "survive_without": needs }));
    } else {
        for p in properties::ALL {
            let survivors = &needs[p.name];
            println!(
                "without \"{}\": {} survive: {}",
                p.name,
                survivors.len(),
                survivors.join(", ")
            );
        }
    }
    true
}

fn explore_in_browser(name: &str, address: &str) -> Result<bool, String> {
    let b = configuration(name)?;
    eprintln!("exploring {} at http://{address}; stop with Ctrl-C", b.name);
    Zab::new(b).checker().serve(address);
    Ok(true)
}

fn replay(path: &Path, as_json: bool) -> Result<bool, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let outcome = trace::verify(&text);
    match (&outcome, as_json) {
        (Ok(steps), true) => {
            println!("{}", json!({"trace": path, "holds": true, "steps": steps}));
        }
        (Ok(steps), false) => {
            println!("{}: {steps} steps, as the model does them", path.display());
        }
        (Err((line, what)), true) => println!(
            "{}",
            json!({"trace": path, "holds": false, "line": line, "difference": what})
        ),
        (Err((line, what)), false) => println!("{}:{line}: {what}", path.display()),
    }
    Ok(outcome.is_ok())
}

/// FNV-1a of 64 bits: tells whether a stored trace was touched by accident.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn export(
    name: &str,
    out: &Path,
    (traces, tries, steps, seed): (usize, usize, usize, u64),
) -> Result<bool, String> {
    let b = configuration(name)?;
    let model = Zab::new(b);
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let kept = walk::walks(&model, seed, tries, steps, traces);
    let mut seen = 0_u64;
    let mut hashes = BTreeMap::new();
    for (n, walk) in kept.iter().enumerate() {
        let file = format!("{}-{:03}.ndjson", b.name, n + 1);
        let path = out.join(&file);
        let Some(mut cluster) = model.initial().into_iter().nth(walk.initial) else {
            continue;
        };
        let about = walk.news.join("; ");
        let header = Header {
            schema: trace::SCHEMA,
            config: b.name.to_string(),
            servers: b.servers,
            initial: walk.initial,
            about,
            at_first: trace::server_records(&cluster),
        };
        let mut text = format!("{}\n", json!(header));
        for (n, action) in walk.actions.iter().enumerate() {
            let (step, _, witnessed) = trace::record(&model, &mut cluster, n + 1, *action);
            seen |= witnessed;
            text.push_str(&format!("{}\n", json!(step)));
        }
        hashes.insert(file, format!("{:016x}", fnv1a(text.as_bytes())));
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let command = format!(
        "zabra-check export {name} --out DIR --traces {traces} --tries {tries} --steps {steps} --seed {seed}"
    );
    let manifest = json!({"command": command, "hash": "FNV-1a, 64 bits", "traces": hashes});
    let path = out.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    let names = |want: bool| {
        let list = WITNESSES
            .iter()
            .enumerate()
            .filter(|(i, _)| (seen >> i & 1 == 1) == want);
        list.map(|(_, w)| *w).collect::<Vec<_>>().join(", ")
    };
    println!("{} traces in {}", kept.len(), out.display());
    println!("  they show: {}", names(true));
    println!("  they do not show: {}", names(false));
    Ok(true)
}
