//! Coverage-guided fuzzing of what `conformance/src/fuzz/` lists, with `cargo-fuzz` and a nightly compiler.

use crate::steps::{announce, finish};
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Where what the fuzzer has found interesting stays for the next time.
const CORPUS: &str = "target/fuzz/corpus";
/// A server that needs more for what a stranger sends in one input has no bound, MiB.
const MEMORY_MIB: &str = "-rss_limit_mb=2048";
/// No single piece of memory for bytes that were not sent, MiB.
const PIECE_MIB: &str = "-malloc_limit_mb=256";
/// An input that takes longer is a finding, seconds.
const TIME: &str = "-timeout=20";

/// Tries each function, or the one named, for so long. What it finds lies in `conformance/fuzz/artifacts/`.
pub(crate) fn fuzz(seconds: u64, only: Option<&str>) -> Result<()> {
    install()?;
    let names = good_input()?;
    let names: Vec<_> = names
        .iter()
        .filter(|name| only.is_none_or(|only| only == name.as_str()))
        .collect();
    if names.is_empty() {
        bail!("no function has that name; `conformance/src/fuzz/mod.rs` lists them");
    }
    let mut found = Vec::new();
    for name in names {
        let began = announce(&format!("fuzz {name}, {seconds} s"));
        let status = nightly()
            .args(["fuzz", "run", "--fuzz-dir", "conformance/fuzz"])
            .args(["--target-dir", "target/fuzz/build", name])
            .args([format!("{CORPUS}/{name}"), "--".to_owned()])
            .args([format!("-max_total_time={seconds}")])
            .args([MEMORY_MIB, PIECE_MIB, TIME, "-print_final_stats=1"])
            .status()
            .context("cargo fuzz")?;
        if finish(name, began, status.success()).is_err() {
            found.push(name.as_str());
        }
    }
    if !found.is_empty() {
        let found = found.join(", ");
        bail!(
            "{found}: the input lies in conformance/fuzz/artifacts/; make it a test when it is mended"
        );
    }
    Ok(())
}

fn nightly() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.arg("+nightly");
    cargo
}

fn install() -> Result<()> {
    let mut version = nightly();
    version.args(["fuzz", "--version"]);
    let version = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let began = announce("cargo install cargo-fuzz");
    let status = nightly()
        .args(["install", "cargo-fuzz", "--locked"])
        .status()
        .context("cargo install; fuzzing needs `rustup toolchain install nightly`")?;
    finish("cargo install cargo-fuzz", began, status.success())
}

/// Writes good input to begin with; the names of the functions.
fn good_input() -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "-p", "zabra-conformance"])
        .args(["--bin", "zabra-seeds", "--", CORPUS])
        .stderr(Stdio::inherit())
        .output()
        .context("zabra-seeds")?;
    if !output.status.success() {
        bail!("zabra-seeds failed");
    }
    let names = String::from_utf8(output.stdout).context("zabra-seeds")?;
    Ok(names.lines().map(str::to_owned).collect())
}
