//! Many traces.

use super::outcome::{Counts, Difference};
use super::ports::Ports;
use super::run::{Options, replay};
use super::trace::Trace;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Replays all, `parallel` at a time; the outcomes are in the order of the traces.
///
/// # Errors
/// There are no free ports.
pub fn replay_all(
    traces: &[Trace],
    options: &Options,
    parallel: usize,
) -> Result<Vec<Result<Counts, Difference>>> {
    let all = replay_until(traces, options, parallel, |_| false)?;
    ensure!(all.len() == traces.len(), "a replay has panicked");
    Ok(all)
}

/// Replays until a trace differs: the first one, by the order of the traces, of those that were begun by then.
///
/// # Errors
/// There are no free ports.
pub fn first_difference(
    traces: &[Trace],
    options: &Options,
    parallel: usize,
) -> Result<Option<Difference>> {
    let all = replay_until(traces, options, parallel, Result::is_err)?;
    Ok(all.into_iter().find_map(Result::err))
}

/// Replays all, in the order of the traces, and begins none behind one of which `ends` says so.
fn replay_until(
    traces: &[Trace],
    options: &Options,
    parallel: usize,
    ends: impl Fn(&Result<Counts, Difference>) -> bool + Sync,
) -> Result<Vec<Result<Counts, Difference>>> {
    let next = AtomicUsize::new(0);
    let ports = (0..parallel)
        .map(|_| Ports::pick())
        .collect::<Result<Vec<_>>>()?;
    let work = |ports: &Ports| {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(trace) = traces.get(n) else {
                return done;
            };
            let outcome = replay(trace, ports, options);
            if ends(&outcome) {
                next.store(traces.len(), Ordering::Relaxed);
            }
            done.push((n, outcome));
        }
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = ports.iter().map(|p| scope.spawn(|| work(p))).collect();
        for worker in workers {
            if let Ok(done) = worker.join() {
                all.extend(done);
            }
        }
    });
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
}

#[derive(Deserialize)]
struct Manifest {
    traces: BTreeMap<String, String>,
}

/// Reads every trace of a directory, by name, and holds them against its manifest.
///
/// # Errors
/// One is none, is not as it was written, or is missing.
pub fn read_all(dir: &Path) -> Result<Vec<Trace>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "ndjson"));
    paths.sort();
    let path = dir.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let mut found = BTreeMap::new();
    for path in &paths {
        let name = path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        found.insert(name, format!("{:016x}", fnv1a(&std::fs::read(path)?)));
    }
    ensure!(
        found == manifest.traces,
        "the traces of {} are not those of its manifest",
        dir.display()
    );
    paths.iter().map(|p| Trace::read(p)).collect()
}

/// Every stored trace: walks in which the voters stay as they are, and then those in which they change.
///
/// # Errors
/// As [`read_all`].
pub fn stored() -> Result<Vec<Trace>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut all = read_all(&dir)?;
    for name in ["e2e-join", "e2e-leave"] {
        all.extend(read_all(&dir.join(name))?);
    }
    Ok(all)
}

/// FNV-1a of 64 bits: against accidents, not against malice.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Builds the server with the feature `gate`, in a target directory of its own, so that other builds keep theirs.
///
/// # Errors
/// It does not build.
pub fn build_gated_server() -> Result<PathBuf> {
    build_server("gate", "gate")
}

/// Builds it with the faults as well that can be planted.
///
/// # Errors
/// It does not build.
pub fn build_server_with_faults() -> Result<PathBuf> {
    build_server("mutants", "gate,mutants")
}

fn build_server(folder: &str, features: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join(folder);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--offline",
            "--quiet",
            "-p",
            "zabra",
            "--features",
            features,
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .status()
        .context("cargo")?;
    ensure!(status.success(), "the server does not build");
    Ok(target.join("debug").join("zabra"))
}
