//! Writes good input for each function of `zabra_conformance::fuzz`, one file each, for a fuzzer to begin with.

use anyhow::{Context, Result};
use clap::Parser;
use std::path::PathBuf;
use zabra_conformance::fuzz::{TARGETS, Target};

/// Writes good input for the fuzzer: DIR/FUNCTION/NUMBER.
#[derive(Parser, Debug)]
struct Cli {
    /// Where to.
    dir: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    for Target { name, good, .. } in TARGETS {
        let dir = cli.dir.join(name);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        for (number, bytes) in good().iter().enumerate() {
            let path = dir.join(format!("good-{number}"));
            std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        }
        println!("{name}");
    }
    Ok(())
}
