//! Runs seeds of the simulator and says which of them fail, with the command that runs such a one again.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use zabra::config::Config;
use zabra_conformance::sim::planted::Planted;
use zabra_conformance::sim::world::Report;
use zabra_conformance::sim::{configs, first_failure, run};

/// Seeds in which every planted bug has to be found.
const PLANTED_SEEDS: u64 = 1000;
/// Failing seeds that are shown.
const SHOWN_MAX: usize = 5;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Three whole servers and their clients on virtual disks, network and time, from one seed.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this one, and tell what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With a bug that is planted: one of their names, or `all` for a table of how each is found.
    #[arg(long, num_args = 0..=1, default_missing_value = "all")]
    planted: Option<String>,
    /// Stop after so many seconds; what was run until then counts.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads; each runs seeds of its own.
    #[arg(long)]
    threads: Option<usize>,
    /// One JSON object for each seed, or for each planted bug, on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let configs = match configs() {
        Ok(configs) => configs,
        Err(error) => {
            eprintln!("zabra-sim: {error}");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let planted = match args.planted.as_deref() {
        None => None,
        Some("all") => return table(&configs, &args),
        Some(name) => match Planted::named(name) {
            Some(planted) => Some(planted),
            None => {
                let all = Planted::all();
                let names: Vec<_> = all.iter().map(|p| p.name()).collect();
                eprintln!(
                    "zabra-sim: no bug is named {name}; there are {}",
                    names.join(", ")
                );
                return ExitCode::from(2);
            }
        },
    };
    if let Some(seed) = args.seed {
        let report = run(&configs, seed, planted, true);
        return show(&args, planted, &[report]);
    }
    let reports = runs(&configs, &args, planted);
    show(&args, planted, &reports)
}

/// Runs all seeds; the reports are in the order of their numbers.
fn runs(configs: &[Config], args: &Args, planted: Option<Planted>) -> Vec<Report> {
    let began = Instant::now();
    let next = AtomicU64::new(args.first);
    let (seeds, end) = (args.seeds, args.first + args.seeds);
    let reports = Mutex::new((Vec::new(), Instant::now()));
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let is_late = args.seconds.is_some_and(|s| began.elapsed().as_secs() >= s);
        if seed >= end || is_late {
            return;
        }
        let report = run(configs, seed, planted, false);
        let Ok(mut all) = reports.lock() else { return };
        all.0.push(report);
        if planted.is_none() && all.1.elapsed() > PROGRESS {
            all.1 = Instant::now();
            let (done, bad) = (
                all.0.len(),
                all.0.iter().filter(|r| r.wrong.is_some()).count(),
            );
            let seconds = began.elapsed().as_secs();
            eprintln!("{done} of {seeds} seeds, {bad} failed, {seconds} s");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (mut reports, _) = reports.into_inner().unwrap_or_else(|e| e.into_inner());
    reports.sort_by_key(|r| r.seed);
    reports
}

fn command(seed: u64, planted: Option<Planted>) -> String {
    let planted = planted.map_or_else(String::new, |p| format!(" --planted {}", p.name()));
    format!("cargo xtask sim --seed {seed}{planted}")
}

fn show(args: &Args, planted: Option<Planted>, reports: &[Report]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let failed: Vec<&Report> = reports.iter().filter(|r| r.wrong.is_some()).collect();
    if args.json {
        for report in reports {
            let line = serde_json::json!({
                "seed": report.seed, "digest": format!("{:016x}", report.digest),
                "wrong": report.wrong, "counts": report.counts,
            });
            let _ = writeln!(out, "{line}");
        }
    } else {
        let mut sums = std::collections::BTreeMap::<&str, u64>::new();
        for (what, n) in reports.iter().flat_map(|r| &r.counts) {
            *sums.entry(what).or_default() += n;
        }
        for (what, n) in sums {
            let _ = writeln!(out, "{n:>10}  {what}");
        }
        if let [report] = reports {
            let _ = writeln!(out, "digest {:016x}", report.digest);
        }
        let _ = writeln!(out, "{} seeds, {} failed", reports.len(), failed.len());
    }
    for report in failed.iter().take(SHOWN_MAX) {
        eprintln!(
            "seed {}: {}\n    {}",
            report.seed,
            report.wrong.as_deref().unwrap_or_default(),
            command(report.seed, planted)
        );
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Every planted bug, and the seed that finds it.
fn table(configs: &[Config], args: &Args) -> ExitCode {
    let mut all_found = true;
    for planted in Planted::all() {
        let found = first_failure(configs, Some(planted), (args.first, PLANTED_SEEDS));
        all_found &= found.is_some();
        let name = planted.name();
        let seeds = found
            .as_ref()
            .map_or(PLANTED_SEEDS, |r| r.seed - args.first + 1);
        let wrong = found.as_ref().and_then(|r| r.wrong.as_deref());
        if args.json {
            let line = serde_json::json!({
                "planted": name, "seeds": seeds, "seed": found.as_ref().map(|r| r.seed), "wrong": wrong,
            });
            println!("{line}");
        } else {
            let wrong = wrong.unwrap_or("NOT FOUND");
            println!("{name:<20} {seeds:>4} seeds  {wrong}");
        }
    }
    ExitCode::from(u8::from(!all_found))
}
