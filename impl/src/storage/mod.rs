//! ZooKeeper's data directory: transaction logs, snapshots and epoch files, readable in both directions.
//!
//! Everything goes through the [`disk::Disk`] trait, so a test disk can lose what was not synced.
//! Nothing here knows the protocol; [`worker`] keeps the one order in which its writes become durable.

pub mod boot;
#[cfg(test)]
mod cases;
pub mod disk;
pub mod epochs;
pub mod flight;
mod growth;
pub mod high_water;
pub mod history;
pub mod layout;
pub mod members;
pub mod owner;
pub mod purge;
pub mod receive;
pub mod recording;
pub mod recovery;
pub mod repair;
pub mod replace;
pub mod snapshot;
pub mod stage;
pub mod txn_log;
pub mod worker;

use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// What went wrong with the data directory. All of them stop the server.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refused an operation on a file.
    #[error("{path}: {op}: {source}")]
    Io {
        /// The operation, as a verb.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Another server has the directory.
    #[error(
        "{dir}: another server{by} uses it; stop that one, or give this one a dataDir and a dataLogDir of its own"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// ` (process N)`, where it is known.
        by: String,
    },
    /// What lies in a directory is not what dataDir and dataLogDir make it out to be.
    #[error("{dir}: {what}")]
    WrongDirectory {
        /// The directory.
        dir: PathBuf,
        /// What does not fit, and the ways out.
        what: String,
    },
    /// A file does not begin as its name promises.
    #[error("{path}: not a {kind} file (its first bytes are {found}); restore it or remove it")]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// Its first bytes in hex.
        found: String,
    },
    /// A log entry that was written completely has changed since.
    #[error(
        "{path}: the entry at byte {offset} is damaged: {what}; restore the file, or remove this server's data to copy it anew from the ensemble"
    )]
    DamagedEntry {
        /// The log file.
        path: PathBuf,
        /// Where the entry begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The log ends below what is known to have been durable.
    #[error(
        "{path}: the log can be read up to byte {offset}, zxid {last} ({what}), but transactions up to {durable} were on the disk; nothing is changed. Restore the log files; or, in an ensemble, remove this server's data to copy it anew from the others; or, if an older state was put here on purpose, remove {mark}"
    )]
    AcknowledgedMissing {
        /// The log file that ends too early.
        path: PathBuf,
        /// Where it ends.
        offset: u64,
        /// The last transaction that can be read.
        last: Zxid,
        /// How the end looks.
        what: String,
        /// What was durable.
        durable: Zxid,
        /// The file that says so.
        mark: PathBuf,
    },
    /// A snapshot that cannot be read held transactions that are nowhere else.
    #[error(
        "{path}: the snapshot cannot be read, and the transactions up to {zxid} are not in the logs behind an older one, which lead to {last}; restore it, or remove this server's data to copy it anew from the ensemble"
    )]
    SnapshotNeeded {
        /// The snapshot.
        path: PathBuf,
        /// What it was of.
        zxid: Zxid,
        /// Where older snapshots and logs lead to.
        last: Zxid,
    },
    /// Transactions are missing between two that are there.
    #[error(
        "{path}: after zxid {after} comes {found}, transactions between them are missing; restore the missing log files, or remove this server's data to copy it anew from the ensemble"
    )]
    Hole {
        /// The log file that holds `found`.
        path: PathBuf,
        /// The last one before the hole.
        after: Zxid,
        /// The first one behind it.
        found: Zxid,
    },
    /// A snapshot that cannot be used. Recovery then tries an older one.
    #[error("{path}: byte {offset}: {what}")]
    BadSnapshot {
        /// The file.
        path: PathBuf,
        /// How far it was understood.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Snapshots are there, none can be used.
    #[error(
        "{dir}: no snapshot is readable ({reasons}); restore one, or remove this server's data to copy it anew from the ensemble"
    )]
    NoReadableSnapshot {
        /// The directory.
        dir: PathBuf,
        /// One reason for each file.
        reasons: String,
    },
    /// Logs without any snapshot: what they build on is unknown.
    #[error(
        "{dir}: there are transaction logs but no snapshot; restore it, or set zookeeper.snapshot.trust.empty=true for logs that begin with the first transaction"
    )]
    LogsWithoutSnapshot {
        /// The directory of the snapshots.
        dir: PathBuf,
    },
    /// The list of members that this server has kept is none.
    #[error(
        "{path}: the list of members cannot be read ({what}); restore the file from a backup of this directory, or remove this server's data to copy it anew from the ensemble"
    )]
    BadMembers {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An epoch file that is no number, or contradicts another.
    #[error("{path}: {what}")]
    BadEpoch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No snapshot as old as the cut is there: only a full copy from the leader helps.
    #[error(
        "{dir}: cannot truncate after zxid {after}: no snapshot is that old (was one deleted?); if {dir}/zabra.pending exists, remove it; then start again, and this server gets a full copy from the leader"
    )]
    TruncateBelowSnapshot {
        /// The directory of the snapshots.
        dir: PathBuf,
        /// Last transaction to keep.
        after: Zxid,
    },
    /// The server asked to log a transaction that does not follow the last one.
    #[error("asked to log zxid {zxid} after {last}")]
    AppendOutOfOrder {
        /// The last one logged.
        last: Zxid,
        /// The one that does not follow it.
        zxid: Zxid,
    },
    /// A payload that no reader would accept back.
    #[error("asked to log {zxid} with a payload of {bytes} bytes; readers accept 32 to {max}")]
    PayloadSize {
        /// The transaction.
        zxid: Zxid,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The disk failed before: nothing it says can be trusted any more.
    #[error("the transaction log failed before and takes no more writes; restart the server")]
    Poisoned,
}

impl StorageError {
    /// Whether there was no room for something new: nothing that was there before has changed, and the operation can be done
    /// again when there is room.
    ///
    /// A failed sync is none of these, whatever it says: nobody knows what it has left behind.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Io { op, source, .. } => {
                matches!(*op, "write" | "create" | "rename" | "delete")
                    && matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether something else than the files is used up for now: room, or this process's descriptors.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match self {
            Self::Io { source, .. } => {
                self.is_no_room() || matches!(source.raw_os_error(), Some(ENFILE | EMFILE))
            }
            _ => false,
        }
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, StorageError>;

/// Where the files of one server are: `version-2` of `dataDir` and of `dataLogDir`, often the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dirs {
    /// Snapshots and epoch files.
    pub snap: PathBuf,
    /// Transaction logs.
    pub log: PathBuf,
}

impl Dirs {
    /// The directories below `data_dir` and `data_log_dir`.
    #[must_use]
    pub fn new(data_dir: &Path, data_log_dir: &Path) -> Self {
        Self {
            snap: data_dir.join("version-2"),
            log: data_log_dir.join("version-2"),
        }
    }
}

/// The zxid in a file name `PREFIX.HEX`; `None` for all other names.
#[must_use]
pub fn zxid_of_name(name: &str, prefix: &str) -> Option<Zxid> {
    let hex = name.strip_prefix(prefix)?.strip_prefix('.')?;
    // from_str_radix alone would take a sign, and two spellings must not name one file.
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(hex, 16).ok().map(Zxid)
}

/// Can `next` stand directly behind `last` in a history? Inside an epoch zxids rise by one, an epoch begins with 1.
///
/// What an older epoch may have had behind `last` cannot be seen from the numbers.
#[must_use]
pub fn follows(last: Zxid, next: Zxid) -> bool {
    if last.epoch() == next.epoch() {
        last.next() == Some(next)
    } else {
        next.epoch() > last.epoch() && next.counter() == 1
    }
}

/// `PREFIX.HEX` files of a directory with their zxids, oldest first.
///
/// # Errors
/// [`StorageError::Io`].
pub fn list_by_zxid<D: disk::Disk>(
    disk: &D,
    dir: &Path,
    prefix: &str,
) -> Result<Vec<(Zxid, PathBuf)>> {
    let mut files: Vec<(Zxid, PathBuf)> = disk
        .list(dir)?
        .into_iter()
        .filter_map(|name| Some((zxid_of_name(&name, prefix)?, dir.join(&name))))
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_hex_names_are_files_of_ours() {
        assert_eq!(zxid_of_name("log.1f", "log"), Some(Zxid(0x1f)));
        for name in [
            "log",
            "log.",
            "log.+1",
            "log.1.tmp",
            "log.g",
            "logs.1",
            "log.12345678901234567",
        ] {
            assert_eq!(zxid_of_name(name, "log"), None, "{name}");
        }
    }

    #[test]
    fn an_epoch_begins_with_counter_one_and_rises_by_one() {
        let z = |e: u64, c: u64| Zxid((e << 32) | c);
        assert!(follows(z(0, 0), z(0, 1)));
        assert!(follows(z(1, 7), z(1, 8)));
        assert!(follows(z(1, 7), z(3, 1)));
        assert!(follows(z(3, 0), z(3, 1)));
        for (a, b) in [
            (z(1, 7), z(1, 9)),
            (z(1, 7), z(1, 7)),
            (z(1, 7), z(2, 2)),
            (z(2, 1), z(1, 1)),
            (z(1, 7), z(2, 0)),
        ] {
            assert!(!follows(a, b), "{a} {b}");
        }
    }
}
