//! Power cuts under load for as long as one likes: `cargo xtask power --cuts N --seed S`.

use anyhow::Result;
use clap::Parser;

/// Cuts the power of real servers under load, and checks that nothing acknowledged is lost.
#[derive(Parser, Debug)]
struct Cli {
    /// Power cuts.
    #[arg(long, default_value_t = 50)]
    cuts: u64,
    /// Where every choice comes from; drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// One server alone, or an ensemble of so many.
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// Instead of cuts: so many times a sync fails, the server is started again, works on and loses its power.
    #[arg(long)]
    failing_syncs: Option<u64>,
    /// Each cut comes after a kill, a start and some more writes.
    #[arg(long)]
    kill_first: bool,
    /// The disks lie about their syncs; there must be losses, or this check is blind.
    #[arg(long)]
    lying: bool,
}

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    use zabra_conformance::lossy::{cut::Sync, missing};
    use zabra_conformance::power::run::{Plan, run, run_failing_syncs, run_kills_before_cuts};

    let cli = Cli::parse();
    if let Some(why) = missing() {
        anyhow::bail!("{why}");
    }
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    let plan = Plan {
        servers: cli.servers,
        cuts: cli.cuts,
        seed,
        sync: if cli.lying { Sync::Lies } else { Sync::Honest },
    };
    println!("{plan:?}");
    let began = std::time::Instant::now();
    let report = match cli.failing_syncs {
        Some(failures) => run_failing_syncs(plan, failures),
        None if cli.kill_first => run_kills_before_cuts(plan),
        None => run(plan),
    };
    let took = began.elapsed().as_secs();
    println!(
        "{took} s, {}",
        zabra_conformance::cluster::binary()?.display()
    );
    println!("{:#?}", report?);
    println!("nothing acknowledged is lost");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<()> {
    anyhow::bail!("{:?}: Linux only", Cli::parse())
}
