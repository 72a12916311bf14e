//! ZooKeeper and Zabra side by side for as long as one likes: `cargo xtask differential --seed S --operations N --minutes M`.

use anyhow::{Result, ensure};
use clap::Parser;
use std::time::Duration;
use zabra_conformance::differential::run::{Plan, run};

/// Sends the same random requests to ZooKeeper and to Zabra and compares every byte of what comes back.
#[derive(Parser, Debug)]
struct Cli {
    /// Where every choice comes from; drawn and printed if not given. The n-th script has seed + n.
    #[arg(long)]
    seed: Option<u64>,
    /// Requests in all.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// No script is begun after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Servers of each product: 1 stands alone, 3 are an ensemble.
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// One script of so many has a restart, in an ensemble of the leader; 0 for none.
    #[arg(long, default_value_t = 10)]
    restart_every: u64,
    /// Findings after which it ends.
    #[arg(long, default_value_t = 1)]
    findings: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let plan = Plan {
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1 << 48)),
        requests: cli.operations,
        time: Duration::from_secs(cli.minutes.saturating_mul(60)),
        servers: cli.servers,
        restart_every: cli.restart_every,
        findings: cli.findings,
    };
    println!("{plan:?}");
    let began = std::time::Instant::now();
    let report = run(plan, |words| println!("{words}"))?;
    println!(
        "seed {}: {} requests in {} scripts, {} s; decided differences: {:?}",
        plan.seed,
        report.requests,
        report.scripts,
        began.elapsed().as_secs(),
        report.wanted
    );
    let findings = report.findings.len();
    ensure!(
        findings == 0,
        "{findings} differences that nobody has decided, told above; cargo xtask differential --seed SEED shows each again"
    );
    Ok(())
}
