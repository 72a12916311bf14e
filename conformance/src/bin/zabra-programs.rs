//! Programs that keep their state in ZooKeeper, run against three servers: `cargo xtask interop --program kafka`.

use anyhow::{Result, bail};
use clap::Parser;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use zabra_conformance::cluster::{self, Product};
use zabra_conformance::dependents::{self, Dependent, Report};

/// Runs programs that keep their state in ZooKeeper against three servers, whose leader dies meanwhile.
#[derive(Parser, Debug)]
struct Cli {
    /// Which; without it, all of them, one after the other.
    #[arg(long, value_enum)]
    program: Vec<Dependent>,
    /// With ZooKeeper's own servers instead, to compare.
    #[arg(long)]
    zookeeper: bool,
    /// Keeps logs and data in this directory; without it, they are kept only if something is wrong.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// JSON on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let product = match cli.zookeeper {
        true => Product::ZooKeeper,
        false => Product::Zabra,
    };
    if product == Product::Zabra {
        cluster::binary()?; // built before the clock runs
    }
    let chosen = match &cli.program[..] {
        [] => Dependent::ALL,
        some => some,
    };
    let mut reports = Vec::new();
    for program in chosen {
        reports.push(run(*program, product, cli.keep.as_deref())?);
    }
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        print!("{}", table(&reports));
    }
    if reports.iter().any(|report| report.wrong.is_some()) {
        bail!("a program does not work as it should");
    }
    Ok(())
}

fn run(program: Dependent, product: Product, keep: Option<&Path>) -> Result<Report> {
    let scratch = tempfile::Builder::new()
        .prefix("zabra-programs-")
        .tempdir()?;
    let directory = match keep {
        Some(keep) => keep.join(program.name()),
        None => scratch.path().to_owned(),
    };
    std::fs::create_dir_all(&directory)?;
    let report = dependents::run(program, product, &directory)?;
    if let Some(wrong) = &report.wrong {
        if keep.is_none() {
            let _ = scratch.keep();
        }
        eprintln!(
            "    wrong: {wrong}\n    logs and data: {}",
            directory.display()
        );
    }
    Ok(report)
}

/// A table in Markdown.
fn table(reports: &[Report]) -> String {
    let mut out = String::from("| program | version | what was done | seconds | verdict |\n");
    out.push_str("|---|---|---|---|---|\n");
    for report in reports {
        let verdict = match &report.wrong {
            None => "works",
            Some(wrong) => wrong.lines().next().unwrap_or("wrong"),
        };
        let name = format!("{:?}", report.program);
        let (version, did, seconds) = (&report.version, report.did.join("; "), report.seconds);
        let _ = writeln!(
            out,
            "| {name} | {version} | {did} | {seconds} | {verdict} |"
        );
    }
    out
}
