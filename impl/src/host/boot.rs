//! What a server begins with: tree and history from the data directory.

use super::payload::Logged;
use super::persist::{QUEUE_BYTES_MAX, stage};
use super::tree_sink::TreeSink;
use super::trigger::Replay;
use crate::config::Config;
use crate::error::ServerError;
use crate::host::inbox::{Event, Inbox};
use crate::net::link::HistoryReader;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::layout::{self, Layout};
use crate::storage::owner::Owner;
use crate::storage::recovery::{RecoveryOptions, RecoverySink, recover};
use crate::storage::snapshot::body::{Refused, SnapshotSink};
use crate::storage::thread::{self, DiskThread};
use crate::storage::txn_log::LogEntry;
use crate::storage::txn_log::reader::LogReader;
use crate::storage::txn_log::writer::{LogOptions, TxnLog};
use crate::storage::{Dirs, StorageError, purge};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};
use zabra_model::durable::Durable;
use zabra_model::history::History;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::node::Tree;
use zabra_model::tree::stat::StatPersisted;

enum Growing {
    Snapshot(TreeSink, bool),
    Tree(Tree),
    /// Between the two.
    Nothing,
}

struct BootSink(Growing, Replay);

impl BootSink {
    const fn new() -> Self {
        Self(Growing::Nothing, Replay { txns: 0, bytes: 0 })
    }

    fn sink(&mut self) -> Result<&mut TreeSink, Refused> {
        if matches!(self.0, Growing::Nothing) {
            self.0 = Growing::Snapshot(TreeSink::new(), false);
        }
        match &mut self.0 {
            Growing::Snapshot(sink, any) => {
                *any = true;
                Ok(sink)
            }
            Growing::Tree(_) | Growing::Nothing => {
                Err(Refused("a snapshot after transactions".into()))
            }
        }
    }

    fn tree(&mut self) -> Result<&mut Tree, Refused> {
        self.0 = match std::mem::replace(&mut self.0, Growing::Nothing) {
            Growing::Snapshot(sink, true) => Growing::Tree(
                sink.finish(Zxid::ZERO)
                    .map_err(|e| Refused(e.to_string()))?,
            ),
            Growing::Snapshot(_, false) | Growing::Nothing => Growing::Tree(Tree::new()),
            tree @ Growing::Tree(_) => tree,
        };
        match &mut self.0 {
            Growing::Tree(tree) => Ok(tree),
            Growing::Snapshot(..) | Growing::Nothing => Err(Refused("no tree".into())),
        }
    }

    fn finish(mut self, last: Zxid) -> Result<Tree, Refused> {
        self.tree()?.raise_last_zxid(last);
        match self.0 {
            Growing::Tree(tree) => Ok(tree),
            Growing::Snapshot(..) | Growing::Nothing => Err(Refused("no tree".into())),
        }
    }
}

impl SnapshotSink for BootSink {
    fn clear(&mut self) {
        *self = Self::new();
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused> {
        self.sink()?.session(id, timeout_ms)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        self.sink()?.node(path, data, acl, stat)
    }
}

impl RecoverySink for BootSink {
    fn txn(&mut self, entry: LogEntry) -> Result<(), Refused> {
        self.1.add(entry.payload.len());
        let logged = Logged::decode(entry.payload).map_err(|e| Refused(e.to_string()))?;
        self.tree()?.apply(&logged.header, &logged.txn, &mut |_| {});
        Ok(())
    }
}

/// What was found.
pub struct Found {
    /// The tree as of the end of the log.
    pub tree: Tree,
    /// Epochs and history.
    pub durable: Durable,
    /// What was applied behind the snapshot.
    pub replayed: Replay,
}

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
        warn!(dir = %dirs.snap.display(), "this member has no data and votes as an empty one; if it had data, what it had acknowledged is forgotten, and if others have lost theirs, too, so may be transactions: then stop it");
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
                warn!(path = %path.display(), %error, "cannot be removed; remove it, or an emptied directory would go unnoticed");
            }
        }
    }
}

/// Reads the data directory; a new one gets its first snapshot.
///
/// # Errors
/// [`ServerError::Data`].
pub fn read(config: &Config) -> Result<Found, ServerError> {
    let dirs = dirs(config);
    let options = RecoveryOptions {
        trust_empty_snapshot: config.trust_empty,
        create_epochs: config.is_ensemble(),
    };
    let mut sink = BootSink::new();
    let found = recover(&RealDisk, &dirs, options, &mut sink).map_err(ServerError::Data)?;
    for repair in &found.repairs {
        warn!("{repair}");
    }
    let refused = |Refused(what)| {
        ServerError::Data(StorageError::BadSnapshot {
            path: dirs.snap.clone(),
            offset: 0,
            what,
        })
    };
    let mut replayed = sink.1;
    let tree = sink.finish(found.last_zxid).map_err(refused)?;
    let mut history = History::starting_at(found.snapshot_zxid());
    if found.snapshot.is_none() {
        // Without a snapshot the next start would not know what the log builds on.
        stage(&dirs, &tree.image())
            .and_then(|staged| staged.publish(&RealDisk))
            .map_err(ServerError::Data)?;
        history = History::starting_at(found.last_zxid);
        replayed = Replay::default();
    } else {
        for run in &found.runs {
            (run.first.0..=run.last.0).for_each(|zxid| history.append(Zxid(zxid)));
        }
    }
    info!(zxid = %found.last_zxid, nodes = tree.len(), accepted = found.epochs.accepted.0,
        current = found.epochs.current.0, "data read");
    Ok(Found {
        tree,
        replayed,
        durable: Durable {
            accepted: found.epochs.accepted,
            current: found.epochs.current,
            history,
        },
    })
}

/// Removes old snapshots and logs, if the configuration says so: before the history is read, so that it knows.
///
/// # Errors
/// [`ServerError::Data`].
pub fn purge(config: &Config) -> Result<(), ServerError> {
    let dirs = dirs(config);
    if config.purge_interval_hours > 0 && dirs.snap.is_dir() && dirs.log.is_dir() {
        let gone =
            purge::purge(&RealDisk, &dirs, config.purge_retain, None).map_err(ServerError::Data)?;
        for path in gone {
            info!(path = %path.display(), "purged");
        }
    }
    Ok(())
}

/// Starts the disk thread behind `last`.
///
/// # Errors
/// [`ServerError::Io`] if there is no thread.
pub fn start_disk(
    config: &Config,
    last: Zxid,
    inbox: Arc<Inbox>,
) -> Result<DiskThread, ServerError> {
    let dirs = dirs(config);
    let options = LogOptions {
        prealloc_bytes: config.prealloc_bytes,
        // Files are ended with each snapshot; this is only for the case that snapshots fall behind.
        file_txns_max: config.snap_count.saturating_mul(4),
        ..LogOptions::default()
    };
    let log = TxnLog::new(RealDisk, dirs.log.clone(), options, last);
    let on_event = move |event| match event {
        thread::Event::Durable { upto } => inbox.push(Event::DiskDurable(upto), 0),
        thread::Event::Full { what, error } => {
            inbox.push(Event::DiskFull(format!("{what}: {error}")), 0);
        }
        thread::Event::Room => inbox.push(Event::DiskRoom, 0),
        thread::Event::Failed { what, error } => {
            inbox.push(Event::DiskFailed(format!("{what}: {error}")), 0);
        }
    };
    DiskThread::start(RealDisk, dirs, log, QUEUE_BYTES_MAX, on_event).map_err(|source| {
        ServerError::Io {
            path: config.data_dir.clone(),
            source,
        }
    })
}

/// Reads proposals from the log files, for learners that need more than is in memory.
#[must_use]
pub fn history_reader(config: &Config) -> HistoryReader {
    let dir = dirs(config).log;
    Arc::new(move |after, upto, take| {
        let mut reader =
            LogReader::range(&RealDisk, &dir, after, upto).map_err(io::Error::other)?;
        while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
            if !take(entry.zxid, &entry.payload) {
                return Ok(());
            }
        }
        if reader.last() < upto {
            return Err(io::Error::other(format!(
                "the log ends at {}, {upto} is needed",
                reader.last()
            )));
        }
        Ok(())
    })
}
