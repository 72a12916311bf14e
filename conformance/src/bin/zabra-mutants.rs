//! Plants each fault of the host in turn and says what finds it: the simulator, by which seed, and the replay, at which step of which trace.

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use zabra::config::Config;
use zabra::mutants::Mutant;
use zabra_conformance::replay::outcome::Difference;
use zabra_conformance::replay::run::Options;
use zabra_conformance::replay::suite;
use zabra_conformance::replay::trace::Trace;
use zabra_conformance::sim::planted::Planted;
use zabra_conformance::sim::world::Report;
use zabra_conformance::sim::{configs, first_failure};

/// Replays at a time.
const PARALLEL: usize = 2;
/// As much of what was found as a line has room for.
const WORDS: usize = 90;

/// Which check finds which fault of the host.
#[derive(Parser)]
struct Args {
    /// Only these faults.
    names: Vec<String>,
    /// Seeds of the simulator in which a fault has to be found.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Without the replay of traces on processes.
    #[arg(long)]
    no_replay: bool,
    /// Without the simulator.
    #[arg(long)]
    no_sim: bool,
    /// One JSON object for each fault.
    #[arg(long)]
    json: bool,
}

/// What has found one fault.
struct Found {
    mutant: Mutant,
    sim: Option<Report>,
    replay: Option<Difference>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zabra-mutants: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let named = |name: &String| {
        Mutant::named(name).ok_or_else(|| anyhow::anyhow!("{name} is no fault of the host"))
    };
    let mut chosen = args
        .names
        .iter()
        .map(named)
        .collect::<anyhow::Result<Vec<_>>>()?;
    if chosen.is_empty() {
        chosen = Mutant::ALL.to_vec();
    }
    let configs = configs()?;
    let traces = if args.no_replay {
        Vec::new()
    } else {
        suite::stored()?
    };
    let mut options = Options {
        binary: if args.no_replay {
            std::path::PathBuf::new()
        } else {
            suite::build_server_with_faults()?
        },
        patience: Duration::from_secs(5),
        mutant: None,
        freeze: None,
    };
    // A panic is a finding, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut survivors = 0;
    for (n, mutant) in chosen.iter().copied().enumerate() {
        eprintln!("{} of {}: {}", n + 1, chosen.len(), mutant.name());
        options.mutant = Some(mutant.name());
        let found = find(args, mutant, &configs, &traces, &options)?;
        survivors += usize::from(found.sim.is_none() && found.replay.is_none());
        say(args, &found);
    }
    if !args.json {
        println!("{} faults, {survivors} that nothing finds", chosen.len());
    }
    Ok(survivors == 0)
}

fn find(
    args: &Args,
    mutant: Mutant,
    configs: &[Config],
    traces: &[Trace],
    options: &Options,
) -> anyhow::Result<Found> {
    let planted = Some(Planted::Host(mutant));
    let sim = (!args.no_sim).then(|| first_failure(configs, planted, (0, args.seeds)));
    Ok(Found {
        mutant,
        sim: sim.flatten(),
        replay: suite::first_difference(traces, options, PARALLEL)?,
    })
}

fn say(args: &Args, found: &Found) {
    let Found {
        mutant,
        sim,
        replay,
    } = found;
    if args.json {
        let sim = sim
            .as_ref()
            .map(|r| serde_json::json!({"seed": r.seed, "wrong": r.wrong}));
        let replay = replay.as_ref().map(
            |d| serde_json::json!({"trace": d.trace, "step": d.step, "action": d.text, "what": d.what}),
        );
        let line = serde_json::json!({
            "mutant": mutant.name(), "about": mutant.about().trim(), "sim": sim, "replay": replay,
        });
        println!("{line}");
        return;
    }
    println!("{}:{}", mutant.name(), mutant.about());
    let sim = sim.as_ref().map_or_else(
        || "-".to_owned(),
        |r| {
            let wrong = r.wrong.as_deref().unwrap_or_default();
            format!("seed {}: {}", r.seed, short(wrong))
        },
    );
    let replay = replay.as_ref().map_or_else(
        || "-".to_owned(),
        |d| format!("{}, step {}: {}", d.trace, d.step, short(&d.what)),
    );
    println!("    simulator  {sim}\n    replay     {replay}");
}

/// The beginning of a text that may have several lines.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut out: String = line.chars().take(WORDS).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
