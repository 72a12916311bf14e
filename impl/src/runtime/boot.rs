//! The data directory of this machine: who may use it, what a start reads from it, and the thread that writes to it.

use super::disk::DiskThread;
use super::timed::TimedDisk;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::Config;
use crate::error::ServerError;
use crate::storage::boot::{self, BootOptions, Found, ToldDigest};
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::layout::{self, Layout};
use crate::storage::owner::Owner;
use crate::storage::snapshot::{Form, Packing};
use crate::storage::txn_log::writer::{LogOptions, TxnLog};
use crate::storage::{Dirs, StorageError, history, members, purge, worker};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};
use zabra_model::ids::Zxid;
use zabra_model::service::members::{Lists, Members};
use zabra_model::tree::node::Tree;

/// Bytes that may wait for the disk; more are kept where they come from.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Where the files of a server are.
#[must_use]
pub fn dirs(config: &Config) -> Dirs {
    Dirs::new(&config.data_dir, &config.data_log_dir)
}

/// A directory that may be this server's: nothing in it has changed yet.
pub struct Entrance {
    owner: Owner,
    layout: Layout,
}

impl Entrance {
    /// Looks at the directories and takes the locks that are there.
    ///
    /// # Errors
    /// [`ServerError::Data`].
    pub fn look(config: &Config) -> Result<Self, ServerError> {
        let dirs = dirs(config);
        let owner = Owner::look(&dirs).map_err(ServerError::Data)?;
        let me = config.is_ensemble().then_some(config.me);
        let layout =
            layout::look(&RealDisk, &dirs, me, config.trust_empty).map_err(ServerError::Data)?;
        if layout.is_empty() {
            may_begin_empty(config, &dirs).map_err(ServerError::Data)?;
        }
        Ok(Self { owner, layout })
    }

    /// Makes the directories this server's.
    ///
    /// # Errors
    /// [`ServerError::Data`].
    pub fn enter(mut self, config: &Config) -> Result<(), ServerError> {
        let dirs = dirs(config);
        RealDisk
            .create_dir(&dirs.snap)
            .and_then(|()| RealDisk.create_dir(&dirs.log))
            .and_then(|()| self.owner.claim(&dirs))
            .and_then(|()| self.layout.write(&RealDisk, &dirs))
            .map_err(ServerError::Data)
    }
}

/// The file whose presence says that this server is meant to begin without data (ZooKeeper's).
const INITIALIZE: &str = "initialize";

fn initialize_files(config: &Config) -> impl Iterator<Item = PathBuf> {
    [&config.data_dir, &config.data_log_dir]
        .map(|dir| dir.join(INITIALIZE))
        .into_iter()
}

/// A server without data has forgotten whatever it has acknowledged before.
fn may_begin_empty(config: &Config, dirs: &Dirs) -> Result<(), StorageError> {
    let refused = |dir: &Path, what: String| StorageError::WrongDirectory {
        dir: dir.to_owned(),
        what,
    };
    let missing = [&dirs.snap, &dirs.log]
        .into_iter()
        .find(|dir| !dir.is_dir());
    if let Some(dir) = missing.filter(|_| !config.datadir_autocreate) {
        let what = "it is not there, and datadir.autocreate=false: make it, mount it, or correct dataDir and dataLogDir";
        return Err(refused(dir, what.into()));
    }
    let votes = config.is_ensemble() && !config.is_observer();
    if !votes || initialize_files(config).any(|path| path.exists()) {
        return Ok(());
    }
    if config.db_autocreate {
        warn!(code = %Code::EmptyMember, dir = %dirs.snap.display(), "this member has no data and votes as an empty one; if it had data, what it had acknowledged is forgotten, and if others have lost theirs, too, so may be transactions: then stop it");
        return Ok(());
    }
    Err(refused(
        &dirs.snap,
        format!(
            "it holds no data, and db.autocreate=false: an empty member would vote without what it may have acknowledged; correct dataDir, restore the data, or, if this member is new or the ensemble can do without its vote on what is committed, make an empty file {}",
            config.data_dir.join(INITIALIZE).display()
        ),
    ))
}

/// There is data now, so that file has done its work: it must not excuse a later loss.
pub fn has_begun(config: &Config) {
    for path in initialize_files(config).filter(|path| path.exists()) {
        match std::fs::remove_file(&path) {
            Ok(()) => info!(path = %path.display(), "used and removed"),
            Err(error) => {
                warn!(code = %Code::MarkNotRemoved, path = %path.display(), %error, "cannot be removed; remove it, or an emptied directory would go unnoticed");
            }
        }
    }
}

/// Takes the list of members that is kept with the data, where it is newer than that of the configuration.
///
/// # Errors
/// [`ServerError::Data`].
pub fn take_members(config: &mut Config) -> Result<(), ServerError> {
    let kept = members::read(&RealDisk, &dirs(config)).map_err(ServerError::Data)?;
    let Some(kept) = kept else {
        return Ok(());
    };
    let version = kept.version;
    if config.take_members(kept) {
        warn!(
            code = %Code::OldList, path = %config.path.display(), %version,
            "the list of members there is an older one than this server has activated, and is not used; `/zookeeper/config` shows the one that counts"
        );
    }
    Ok(())
}

/// The lists of members that bind this server: of the configuration, of what is kept with the data, and of the history, which ends at `last`.
///
/// A server whose history ends before the version of the file has never activated that list: somebody has written or copied the file for
/// it, as for a joiner. It counts as a list without a version, or the list that the leader says would seem to be known.
///
/// # Errors
/// [`ServerError::Data`].
pub fn lists(config: &Config, in_history: Vec<Members>, last: Zxid) -> Result<Lists, ServerError> {
    let mut active = config.lists().active;
    if !config.is_ensemble() {
        return Ok(Lists::of(active));
    }
    if active.version > last {
        active.version = Zxid::ZERO;
    }
    let kept = members::read(&RealDisk, &dirs(config)).map_err(ServerError::Data)?;
    active = match kept {
        Some(kept) if kept.version > active.version => kept,
        _ => active,
    };
    let lists = Lists::found(active, in_history);
    let (active, newest) = (lists.active.version, lists.newest().version);
    info!(%active, %newest, "members, by the versions of their lists");
    Ok(lists)
}

fn options(config: &Config) -> BootOptions {
    BootOptions {
        trust_empty_snapshot: config.trust_empty,
        is_ensemble: config.is_ensemble(),
        form: form(config, Packing::Plain),
        beside: Some(beside),
    }
}

fn beside(job: Box<dyn FnOnce() + Send>) -> bool {
    let thread = std::thread::Builder::new().name("replay".into());
    thread.spawn(job).is_ok()
}

/// How snapshots are written that are compressed so.
#[must_use]
pub fn form(config: &Config, packing: Packing) -> Form {
    Form {
        packing,
        says_digest: config.store.says_digest,
        says_zxid: config.store.says_zxid,
    }
}

/// Reads the data directory; a new one gets its first snapshot.
///
/// # Errors
/// [`ServerError::Data`].
pub fn read(config: &Config) -> Result<Found, ServerError> {
    boot::read(&RealDisk, &dirs(config), options(config)).map_err(ServerError::Data)
}

/// As [`read`], and operators hear how long it took.
///
/// # Errors
/// [`ServerError::Data`].
pub fn read_timed(shared: &Arc<Shared>) -> Result<Found, ServerError> {
    let (config, stats) = (&shared.config, &shared.stats);
    let disk = TimedDisk::new(RealDisk, Arc::clone(shared));
    let began = Instant::now();
    let found = boot::read(&disk, &dirs(config), options(config)).map_err(ServerError::Data)?;
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    stats.db_init_time.add(ms(began.elapsed()));
    let [snapshots, logs] = disk.take_read();
    stats.startup_snap_time.add(ms(snapshots));
    stats.startup_txns_time.add(ms(logs));
    stats.startup_txns.add(found.replayed.txns);
    Ok(found)
}

/// Compares the digest that the snapshot has told with that of the tree which was read, beside the start: it goes through all nodes.
/// An operator hears of a difference; the server goes on with what it has, as ZooKeeper's does.
pub fn compare_digest(told: Option<ToldDigest>, shared: &Arc<Shared>) {
    let Some(digest) = told.filter(|_| shared.config.store.says_digest) else {
        return;
    };
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        let (told, read) = (digest.told, digest.read());
        if told == read {
            info!(zxid = %digest.zxid(), digest = read, "the tree has the digest that its snapshot tells");
            return;
        }
        shared
            .stats
            .digest_mismatches
            .fetch_add(1, Ordering::Relaxed);
        error!(
            code = %Code::DigestMismatch, zxid = %digest.zxid(), told, read,
            "the tree that was read has another digest than its snapshot tells: it differs from that of the server which wrote it. In an \
             ensemble, remove this server's data to copy it anew from the others; on its own, go back to an older snapshot with its logs"
        );
    });
}

/// Reads the tree once more while the server runs: what lies on the disk is durable, and stays as it is.
///
/// # Errors
/// [`ServerError::Data`].
pub fn read_again(config: &Config) -> Result<Tree, ServerError> {
    boot::read_again(&RealDisk, &dirs(config), options(config)).map_err(ServerError::Data)
}

/// Removes old snapshots and logs, if the configuration says so: never before [`read`] has finished what a crash has
/// interrupted, and nothing that `found` is made of.
pub fn purge(config: &Config, found: &Found) {
    if config.purge_interval_ms == 0 {
        return;
    }
    let base = found.durable.history.base();
    match purge::purge(&RealDisk, &dirs(config), config.purge_retain, Some(base)) {
        Ok(gone) => {
            for path in gone {
                info!(path = %path.display(), "purged");
            }
        }
        Err(error) => purge::not_purged(&error),
    }
}

/// Starts the disk thread behind `last`. `on_event` is called on it and must not block.
///
/// # Errors
/// [`ServerError::Io`] if there is no thread.
pub fn start_disk(
    shared: &Arc<Shared>,
    last: Zxid,
    on_event: impl Fn(worker::Event) + Send + 'static,
) -> Result<DiskThread, ServerError> {
    let config = &shared.config;
    let dirs = dirs(config);
    let options = LogOptions {
        prealloc_bytes: config.prealloc_bytes,
        // Files are ended with each snapshot; this is only for the case that snapshots fall behind.
        file_txns_max: config.snap_count.saturating_mul(4),
        file_bytes_max: config.store.log_bytes_max.unwrap_or(u64::MAX),
        batch_txns_max: config.store.batch_txns_max,
    };
    let disk = TimedDisk::new(RealDisk, Arc::clone(shared));
    let log = TxnLog::new(disk.clone(), dirs.log.clone(), options, last);
    DiskThread::start(disk, dirs, log, QUEUE_BYTES_MAX, on_event).map_err(|source| {
        ServerError::Io {
            path: config.data_dir.clone(),
            source,
        }
    })
}

/// Where proposals are read that are no longer in memory: called where waiting is allowed; gives them in order to the closure
/// until that says that nobody wants more.
pub type HistoryReader =
    Arc<dyn Fn(Zxid, Zxid, &mut dyn FnMut(Zxid, &[u8]) -> bool) -> io::Result<()> + Send + Sync>;

/// Reads proposals from the log files, for learners that need more than is in memory.
#[must_use]
pub fn history_reader(config: &Config) -> HistoryReader {
    let dir = dirs(config).log;
    Arc::new(move |after, upto, take| {
        history::read(&RealDisk, &dir, after, upto, take).inspect_err(|error| {
            // Perhaps an operator has deleted old logs. The learner's connection ends; nothing else is wrong.
            warn!(
                code = %Code::HistoryMissing,
                "a learner needs the transactions behind {after} up to {upto}: {error}; it cannot be brought up from here before this server is started again: it then begins with its newest snapshot"
            );
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;
    use crate::storage::list_by_zxid;
    use crate::storage::stage::stage;

    fn config(dir: &Path) -> Config {
        let path = dir.join("zoo.cfg");
        let data = dir.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let text = format!(
            "dataDir={}\nclientPort=2181\nautopurge.purgeInterval=1\n",
            data.display()
        );
        std::fs::write(&path, text).unwrap();
        check::load(&path).unwrap()
    }

    /// A transaction that changes nothing: an error with its code.
    fn failed(zxid: u64) -> Vec<u8> {
        let mut payload = vec![0; 36];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        payload[28..32].copy_from_slice(&(-1_i32).to_be_bytes());
        payload[32..].copy_from_slice(&(-101_i32).to_be_bytes());
        payload
    }

    /// Transactions 1 to 6, snapshots of 0 and of 3 to 6.
    fn history(config: &Config) {
        let dirs = dirs(config);
        let last = read(config).unwrap().durable.history.last();
        let mut log = TxnLog::new(RealDisk, dirs.log.clone(), LogOptions::default(), last);
        for zxid in 1..=6 {
            log.append(Zxid(zxid), &failed(zxid)).unwrap();
            log.sync().unwrap();
            if zxid >= 3 {
                let tree = read_again(config).unwrap();
                let staged = stage(&RealDisk, &dirs, &tree.image(), Packing::Plain).unwrap();
                staged.publish(&RealDisk).unwrap();
                log.roll().unwrap();
            }
        }
    }

    /// C-7: a truncation was under way, three snapshots are above the cut, and autopurge is on.
    #[test]
    fn c_7_a_start_finishes_its_plan_before_it_purges() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        history(&config);
        let dirs = dirs(&config);
        let mut plan = "truncate 2\naccepted \n".to_owned();
        for prefix in ["log", "snapshot"] {
            for (_, path) in list_by_zxid(&RealDisk, &dirs.snap, prefix).unwrap() {
                plan.push_str(path.file_name().unwrap().to_str().unwrap());
                plan.push('\n');
            }
        }
        std::fs::write(dirs.snap.join("zabra.pending"), plan).unwrap();
        for start in 1..3 {
            let found = read(&config).unwrap();
            purge(&config, &found);
            assert_eq!(found.durable.history.last(), Zxid(2), "start {start}");
        }
    }

    /// C-7: without a plan, what a start has found is not purged, and what is older is.
    #[test]
    fn c_7_a_start_purges_what_it_does_not_need() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        history(&config);
        let found = read(&config).unwrap();
        purge(&config, &found);
        let left = |prefix| {
            let files = list_by_zxid(&RealDisk, &dirs(&config).snap, prefix).unwrap();
            files.iter().map(|(zxid, _)| zxid.0).collect::<Vec<_>>()
        };
        assert_eq!(
            (left("snapshot"), left("log")),
            (vec![4, 5, 6], vec![4, 5, 6])
        );
        assert_eq!(read(&config).unwrap().durable.history.last(), Zxid(6));
    }

    /// C-11: old logs were deleted while the server runs: a learner that needs them is told so, nobody else is.
    #[test]
    fn c_11_deleted_logs_end_the_connection_of_the_learner_that_needs_them() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        history(&config);
        let history = history_reader(&config);
        let read = |after| {
            let mut seen = vec![];
            let result = history(Zxid(after), Zxid(6), &mut |zxid, _| {
                seen.push(zxid.0);
                true
            });
            result.map(|()| seen).map_err(|error| error.to_string())
        };
        assert_eq!(read(1), Ok(vec![2, 3, 4, 5, 6]));
        std::fs::remove_file(dirs(&config).log.join("log.4")).unwrap();
        assert_eq!(read(4), Ok(vec![5, 6]));
        let refusal = read(1).unwrap_err();
        assert!(refusal.contains("log.5"), "{refusal}");
    }
}
