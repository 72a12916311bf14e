//! Many traces.

use super::run::{Counts, Difference, Options, replay};
use super::server::Ports;
use super::trace::Trace;
use anyhow::{Context, Result, ensure};
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
    let next = AtomicUsize::new(0);
    let ports = (0..parallel)
        .map(|_| Ports::pick())
        .collect::<Result<Vec<_>>>()?;
    let work = |ports: &Ports| {
        let mut done = Vec::new();
        while let Some((n, trace)) = traces
            .get(next.fetch_add(1, Ordering::Relaxed))
            .map(|t| (next.load(Ordering::Relaxed), t))
        {
            done.push((n, trace.name.clone(), replay(trace, ports, options)));
        }
        done
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
    ensure!(all.len() == traces.len(), "a replay has panicked");
    all.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(all.into_iter().map(|(_, _, outcome)| outcome).collect())
}

/// Reads every trace of a directory, by name.
///
/// # Errors
/// One is none.
pub fn read_all(dir: &Path) -> Result<Vec<Trace>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "ndjson"));
    paths.sort();
    paths.iter().map(|p| Trace::read(p)).collect()
}

/// Builds the server with the feature `gate`, in a target directory of its own, so that other builds keep theirs.
///
/// # Errors
/// It does not build.
pub fn build_gated_server() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("gate");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--offline",
            "--quiet",
            "-p",
            "zabra",
            "--features",
            "gate",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .status()
        .context("cargo")?;
    ensure!(status.success(), "the server does not build");
    Ok(target.join("debug").join("zabra"))
}
