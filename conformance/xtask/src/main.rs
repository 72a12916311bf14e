//! The project's own commands: what CI does, a developer can do, and by the same words.

mod features;
mod fuzz;
mod package;
mod steps;
mod tidy;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use steps::{announce, cargo, finish};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    /// What to do.
    #[arg(value_enum)]
    command: Task,
    /// `model`: which configurations.
    #[arg(long, value_enum, default_value_t = Tier::Ci)]
    tier: Tier,
    /// `power`: how many power cuts.
    #[arg(long, default_value_t = 50)]
    cuts: u64,
    /// `power`: where every choice comes from; drawn and printed if not given; `differential` likewise. `sim`: only this seed, telling what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// `sim`: how many seeds. `mutants`: in how many each fault has to be found.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// `sim`: with a planted bug of this name, or, without a name, a table of how each of them is found.
    #[arg(long, num_args = 0..=1, default_missing_value = "all")]
    planted: Option<String>,
    /// `differential`: how many requests.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// `differential`: nothing new is begun after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// `differential`: servers of each product: 1 stands alone, 3 are an ensemble.
    #[arg(long, default_value_t = 1)]
    servers: u64,
    /// `fuzz`: how long each function of bytes is tried, seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// `fuzz`: only the function of this name. `mutants`: only this fault.
    #[arg(long)]
    only: Option<String>,
    /// `interop`: instead of the tests, this program at work with three servers: kafka, solr, bookkeeper, hbase, hadoop, or all.
    #[arg(long)]
    program: Vec<String>,
    /// `failover`: how many rounds.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// `sim`, `failover`, `interop --program`: JSON on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    /// Formatting, lints, documentation and house rules; changes nothing.
    Check,
    /// Formats, and applies what clippy can mend.
    Fix,
    /// Every test of every crate, those with running servers included.
    Test,
    /// Exhausts the configurations of a tier, and catches every switch of the zoo.
    Model,
    /// Replays the stored traces against three running servers.
    Replay,
    /// Tests with other implementations: kazoo and its own test suite, ZooKeeper's own shell, Curator, the C client, a Go and a Node client,
    /// and what programs that watch ZooKeeper read;
    /// by TLS and by SASL, where a client has them. With `--program`, programs that keep their state in ZooKeeper, which is not in CI.
    Interop,
    /// How long a writer waits while 100,000 sessions expire together, and while others ask for much; release build, minutes.
    Gaps,
    /// How long clients wait when a leader is killed or stopped, and a server takes to come back; release build, a minute.
    Failover,
    /// Cuts the power of running servers under load, of an ensemble and of one alone; CI does it for fewer cuts.
    Power,
    /// Simulates whole servers and their clients on virtual disks, network and time; CI does it for fewer seeds.
    Sim,
    /// Plants each fault of the host and says what finds it: which seed of the simulator, which step of which stored trace; an hour.
    Mutants,
    /// Sends the same random requests to ZooKeeper and to Zabra and compares every byte of what comes back; CI does it for a minute.
    Differential,
    /// Searches for bytes that stop a decoder or a whole server, guided by coverage; nightly compiler, `cargo-fuzz` (installed if it
    /// is not there). CI damages good input for some seconds instead.
    Fuzz,
    /// Rewrites the stored traces, the answers in the scenarios and the table of the zoo from the model; review the difference as a
    /// change of behaviour.
    Bless,
    /// Rewrites the part of README.md that is made from the table of what of ZooKeeper is here.
    Features,
    /// Builds the binary that needs nothing of the Linux that it runs on, and tries it: static, below 20 MB, and it serves.
    Static,
    /// Builds a release and packs it for Debian, with completions and pages for man (`cargo-deb`).
    Deb,
    /// All of it: check, test, model.
    Ci,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// What every commit runs.
    Ci,
    /// Up to ten minutes each; the table of runs in model/README.md is rewritten.
    Deep,
    /// Up to two hours each; the table of runs in model/README.md is rewritten.
    Nightly,
}

/// Where the walks of the stored traces come from; the counts are part of what is blessed.
const TRACES: &[&str] = &[
    "--out",
    "conformance/traces",
    "--traces",
    "150",
    "--tries",
    "20000",
];

/// The same where the list of voters changes; the number of traces is how many show each class of steps.
const LISTS: [&str; 2] = ["e2e-join", "e2e-leave"];
const TRACES_OF_LISTS: &[&str] = &[
    "--traces", "2", "--tries", "12000", "--steps", "260", "--seed", "7",
];

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace: these are findings, not bugs of this command.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    std::env::set_current_dir(root()).context("the workspace")?;
    match cli.command {
        Task::Check => check(),
        Task::Fix => fix(),
        Task::Test => test(),
        Task::Model => model(cli.tier),
        Task::Replay => cargo(&["test", "-p", "zabra-conformance", "--test", "replay"]),
        Task::Interop if cli.program.is_empty() => interop(),
        Task::Interop => programs(cli),
        Task::Gaps => gaps(),
        Task::Failover => failover(cli.rounds, cli.json),
        Task::Power => power(cli.cuts, cli.seed),
        Task::Sim => sim(cli),
        Task::Mutants => mutants(cli),
        Task::Differential => differential(cli),
        Task::Fuzz => fuzz::fuzz(cli.seconds, cli.only.as_deref()),
        Task::Bless => bless(),
        Task::Features => write_features(),
        Task::Static => package::build_static(),
        Task::Deb => package::build_deb(),
        Task::Ci => {
            check()?;
            test_beside(|| model(cli.tier))
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check() -> Result<()> {
    tidy::tidy(Path::new("."))?;
    cargo(&["fmt", "--all", "--check"])?;
    let lint = ["clippy", "--workspace", "--all-targets"];
    cargo(&[&lint[..], &["--", "-D", "warnings"]].concat())?;
    // What a simulator runs has no runtime.
    let lint = ["clippy", "-p", "zabra", "--no-default-features"];
    cargo(&[&lint[..], &["--lib", "--", "-D", "warnings"]].concat())?;
    documentation()
}

fn documentation() -> Result<()> {
    let began = announce("cargo doc, no warnings");
    let status = Command::new(env!("CARGO"))
        .args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()?;
    finish("cargo doc", began, status.success())
}

fn fix() -> Result<()> {
    cargo(&[
        "clippy",
        "--fix",
        "--allow-dirty",
        "--workspace",
        "--all-targets",
    ])?;
    cargo(&["fmt", "--all"])
}

/// Tests of the model and the checker: they compute and wait for nothing.
const OF_MODEL: [&str; 5] = ["test", "-p", "zabra-check", "-p", "zabra-model"];

/// The others: most of them start servers, and wait for them.
const OF_SERVERS: [&[&str]; 3] = [
    &["test", "-p", "zabra", "-p", "xtask"],
    &["test", "-p", "zabra-conformance"],
    &["test", "-p", "zabra-benches", "--benches"],
];

fn test() -> Result<()> {
    test_beside(|| Ok(()))
}

/// Everything is built; then what computes runs beside what waits, and gives way to it. `more` is computed, too.
fn test_beside(more: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    // The tests of whole servers start this binary.
    cargo(&["build", "-p", "zabra"])?;
    for tests in [&OF_MODEL[..]].iter().chain(&OF_SERVERS) {
        cargo(&[tests, &["--no-run"][..]].concat())?;
    }
    std::thread::scope(|scope| {
        let computed = scope.spawn(|| {
            steps::give_way();
            cargo(&OF_MODEL)?;
            more()
        });
        let waited = OF_SERVERS.iter().try_for_each(|tests| cargo(tests));
        let computed = computed
            .join()
            .unwrap_or_else(|_| bail!("the checks of the model have panicked"));
        waited.and(computed)
    })
}

fn model(tier: Tier) -> Result<()> {
    match tier {
        Tier::Ci => check_model(&["run", "--tier", "ci"])?,
        Tier::Deep => {
            check_model(&["run", "--tier", "ci", "--table", "model/README.md"])?;
            check_model(&["run", "--tier", "deep", "--table", "model/README.md"])?;
        }
        Tier::Nightly => check_model(&["run", "--tier", "nightly", "--table", "model/README.md"])?,
    }
    check_model(&["clients"])?;
    check_model(&["zoo"])
}

fn interop() -> Result<()> {
    let tests = [
        "kazoo",
        "kazoo_suite",
        "kazoo_sasl",
        "java_shell",
        "shells",
        "prometheus",
        "consumers",
        "documented",
        "other_clients",
        "clients_reconfigure",
        "clients_by_tls",
        "clients_by_sasl",
    ];
    tests
        .iter()
        .try_for_each(|test| cargo(&["test", "-p", "zabra-conformance", "--test", test]))
}

fn programs(cli: &Cli) -> Result<()> {
    let run = ["run", "--quiet", "-p", "zabra-conformance"];
    let run = run.into_iter().chain(["--bin", "zabra-programs", "--"]);
    let chosen = cli.program.iter().filter(|name| *name != "all");
    let chosen = chosen.flat_map(|name| ["--program", name]);
    let json = cli.json.then_some("--json");
    let args: Vec<&str> = run.chain(chosen).chain(json).collect();
    cargo(&args)
}

fn gaps() -> Result<()> {
    let what = "a writer among 100,000 sessions that expire";
    let began = announce(what);
    let status = Command::new(env!("CARGO"))
        .args(["test", "--release", "-p", "zabra-conformance"])
        .args(["--test", "nobody_stops_the_others", "--"])
        .args(["--nocapture", "--test-threads", "1"])
        .env("ZABRA_SESSIONS", "100000")
        .status()?;
    finish(what, began, status.success())
}

fn failover(rounds: usize, json: bool) -> Result<()> {
    let rounds = rounds.to_string();
    let run = ["run", "--quiet", "--release", "-p", "zabra-conformance"];
    let how = ["--bin", "zabra-failover", "--", "--rounds", &rounds];
    let json = if json { &["--json"][..] } else { &[] };
    cargo(&[&run[..], &how[..], json].concat())
}

fn power(cuts: u64, seed: Option<u64>) -> Result<()> {
    let cuts = cuts.to_string();
    let seed = seed.map(|seed| seed.to_string());
    for servers in ["3", "1"] {
        let run = ["run", "-p", "zabra-conformance", "--bin", "zabra-power"];
        let how = ["--", "--servers", servers, "--cuts", &cuts];
        let mut args = [&run[..], &how[..]].concat();
        if let Some(seed) = &seed {
            args.extend(["--seed", seed]);
        }
        cargo(&args)?;
    }
    Ok(())
}

fn sim(cli: &Cli) -> Result<()> {
    let mut args = vec!["--seeds".to_owned(), cli.seeds.to_string()];
    if let Some(seed) = cli.seed {
        args.extend(["--seed".to_owned(), seed.to_string()]);
    }
    if let Some(planted) = &cli.planted {
        args.extend(["--planted".to_owned(), planted.clone()]);
    }
    if cli.json {
        args.push("--json".to_owned());
    }
    let run = ["run", "--quiet", "--profile", "tools"];
    let what = ["-p", "zabra-conformance", "--bin", "zabra-sim", "--"];
    let run = run.into_iter().chain(what);
    let args: Vec<&str> = run.chain(args.iter().map(String::as_str)).collect();
    cargo(&args)
}

fn mutants(cli: &Cli) -> Result<()> {
    let seeds = cli.seeds.to_string();
    let run = ["run", "--quiet", "--profile", "tools"];
    let what = ["-p", "zabra-conformance", "--features", "mutants"];
    let how = ["--bin", "zabra-mutants", "--", "--seeds", &seeds];
    let only = cli.only.as_deref();
    let json = cli.json.then_some("--json");
    let args = run.into_iter().chain(what).chain(how);
    let args: Vec<&str> = args.chain(only).chain(json).collect();
    cargo(&args)
}

fn differential(cli: &Cli) -> Result<()> {
    let how = [
        ("--operations", Some(cli.operations)),
        ("--minutes", Some(cli.minutes)),
        ("--servers", Some(cli.servers)),
        ("--seed", cli.seed),
    ];
    let how = how
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let how: Vec<String> = how
        .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
        .collect();
    let run = ["run", "-p", "zabra-conformance"];
    let run = run.into_iter().chain(["--bin", "zabra-differential", "--"]);
    let args: Vec<&str> = run.chain(how.iter().map(String::as_str)).collect();
    cargo(&args)
}

fn bless() -> Result<()> {
    check_model(&["zoo", "--table", "model/README.md"])?;
    check_model(&[&["export", "e2e-walk"], TRACES].concat())?;
    for name in LISTS {
        let out = format!("conformance/traces/{name}");
        check_model(&[&["export", name, "--out", &out], TRACES_OF_LISTS].concat())?;
    }
    let stories = std::fs::read_dir("model/tests/scenarios").context("the scenarios")?;
    let mut files = Vec::new();
    for story in stories {
        files.push(story?.path().display().to_string());
    }
    files.sort();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    check_model(&[&["scenario", "--bless"], &files[..]].concat())
}

fn write_features() -> Result<()> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (table, spec) = (read(features::TABLE), read("SPEC.md"));
    let rows = features::parse(&table).map_err(anyhow::Error::msg)?;
    let found = [
        features::misplaced(&rows),
        features::made_up(&rows, read),
        features::unexplained(&rows),
        features::undecided(&rows, &spec),
    ];
    let found = found.concat();
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    let summary = features::summary(&table).map_err(anyhow::Error::msg)?;
    let Some((_, readme)) = features::replace(&read("README.md"), &summary) else {
        bail!("README.md has no <!-- features --> and <!-- /features -->");
    };
    std::fs::write("README.md", readme).context("README.md")
}

fn check_model(args: &[&str]) -> Result<()> {
    let run = ["run", "--profile", "tools", "-p", "zabra-check", "--"];
    cargo(&[&run[..], args].concat())
}
