//! How long clients wait when a leader dies or is stopped: `cargo xtask failover --rounds N`.

use anyhow::Result;
use clap::Parser;
use zabra_conformance::failover::{Times, measure};

/// Kills, stops and starts the leader of an ensemble, and measures how long clients wait.
#[derive(Parser, Debug)]
struct Cli {
    /// Rounds; each kills one leader, stops one, and starts both again.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Servers.
    #[arg(long, default_value_t = 3)]
    servers: u64,
    /// JSON on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    anyhow::ensure!(
        cli.rounds > 0 && cli.servers > 2,
        "a round, and three servers, are the least"
    );
    let report = measure(cli.servers, cli.rounds)?;
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let line = |what: &str, times: &Times| {
        println!("{what:<58} {:>8.1} ms   of {:?}", times.median, times.all);
    };
    println!(
        "{} rounds, {} servers, {}",
        report.rounds,
        report.servers,
        zabra_conformance::cluster::binary()?.display()
    );
    println!("load of the machine: {:?}; medians:", report.load);
    line(
        "kill -9 to the next write of the leader's client",
        &report.killed_own,
    );
    line(
        "kill -9 to the next write of a follower's client",
        &report.killed_other,
    );
    line("start to the first answer", &report.restarted);
    line(
        "SIGTERM: longest pause of a follower's client",
        &report.stopped,
    );
    line(
        "SIGTERM to the end of the leader's client",
        &report.stopped_own,
    );
    line("SIGTERM to the end of the process", &report.ended);
    println!(
        "SIGTERM: {} of {} connections to followers ended",
        report.others_disconnected, report.others
    );
    Ok(())
}
