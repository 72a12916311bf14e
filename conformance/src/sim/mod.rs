//! The simulator: three whole servers and their clients in one thread, on virtual disks, a virtual network and virtual time, from
//! one seed. The same seed is the same run, to the last byte.
//!
//! | file | holds |
//! |---|---|
//! | [`disk`], [`net`] | a disk and a network that behave as badly as real ones may |
//! | [`scene`] | time, what happens when, randomness |
//! | [`server`], `links`, `takes`, `mail` | a server's own code, driven as its driver drives it |
//! | [`client`] | clients, and what they must never see |
//! | [`chain`], [`view`] | histories, and the invariants of the model over what an observer of all servers sees |
//! | [`world`] | a run: what breaks, and what must hold in the end |
//! | [`alone`] | one server and streams of bytes that somebody else chooses |
//! | [`planted`] | bugs that the simulator has to find |

pub mod alone;
pub mod chain;
pub mod client;
pub mod disk;
mod links;
mod mail;
pub mod net;
pub mod planted;
pub mod scene;
pub mod server;
mod takes;
pub mod view;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use world::Report;
use zabra::config::{Config, ConfigError, check};

/// Servers of a run.
const SERVERS: u64 = 3;

/// The configurations of all servers, as an operator would write them; small numbers, so that a run sees much.
///
/// # Errors
/// [`ConfigError`]; also if the files that they are read from cannot be written.
pub fn configs() -> Result<Vec<Config>, ConfigError> {
    // A directory of this call alone: tests of one process call this at the same time.
    let dir = tempfile::tempdir().map_err(|source| ConfigError::Unreadable {
        path: std::env::temp_dir(),
        source,
    })?;
    (1..=SERVERS)
        .map(|id| config(&dir.path().join(id.to_string()), id, SERVERS, ""))
        .collect()
}

/// The configuration of one server that stands alone.
///
/// # Errors
/// As [`configs`].
pub fn config_alone() -> Result<Config, ConfigError> {
    config_alone_with("")
}

/// As [`config_alone`], with further lines.
///
/// # Errors
/// As [`configs`].
pub fn config_alone_with(more: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().map_err(|source| ConfigError::Unreadable {
        path: std::env::temp_dir(),
        source,
    })?;
    config(dir.path(), 1, 0, more)
}

fn config(dir: &Path, id: u64, servers: u64, more: &str) -> Result<Config, ConfigError> {
    let path = dir.join("zoo.cfg");
    let unreadable = |source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    };
    let mut text = format!(
        "tickTime=400\ninitLimit=10\nsyncLimit=5\nclientPort=2181\nsnapCount=150\ndataDir={}\n{more}",
        dir.join("data").display()
    );
    for id in 1..=servers {
        text.push_str(&format!("server.{id}=10.0.0.{id}:2888:3888\n"));
    }
    std::fs::create_dir_all(dir.join("data")).map_err(unreadable)?;
    std::fs::write(dir.join("data/myid"), id.to_string()).map_err(unreadable)?;
    std::fs::write(&path, text).map_err(unreadable)?;
    let mut config = check::load(&path)?;
    config.path = format!("/sim/{id}/zoo.cfg").into();
    config.data_dir = format!("/sim/{id}").into();
    config.data_log_dir = config.data_dir.clone();
    config.outstanding_bytes = 100 << 10;
    Ok(config)
}

/// Runs one seed; a panic is something that must not be, too.
#[must_use]
pub fn run(
    configs: &[Config],
    seed: u64,
    planted: Option<planted::Planted>,
    is_told: bool,
) -> Report {
    planted::Planted::plant(planted);
    let run = || world::run(configs, seed, planted, is_told);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied());
        Report {
            seed,
            wrong: Some(format!("a panic: {}", what.unwrap_or("of no words"))),
            digest: 0,
            counts: std::collections::BTreeMap::new(),
        }
    })
}

/// The first of these seeds (from, and how many) that fails, on all processors.
#[must_use]
pub fn first_failure(
    configs: &[Config],
    planted: Option<planted::Planted>,
    (from, seeds): (u64, u64),
) -> Option<Report> {
    let (next, end) = (AtomicU64::new(from), AtomicU64::new(from + seeds));
    let failed = Mutex::new(Vec::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end.load(Ordering::Relaxed) {
            return;
        }
        let report = run(configs, seed, planted, false);
        if report.wrong.is_some() {
            // Those that were begun before it are still waited for.
            end.fetch_min(seed, Ordering::Relaxed);
            failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(report);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.into_iter().min_by_key(|report| report.seed)
}
