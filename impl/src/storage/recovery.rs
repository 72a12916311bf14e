//! Start-up: newest readable snapshot, then the log behind it, then the epochs, with small repairs on the way.

use super::disk::Disk;
use super::replace::{self, Plan};
use super::snapshot::body::{Refused, SnapshotSink};
use super::snapshot::{self, SnapshotFacts};
use super::txn_log::reader::{LogReader, TornTail};
use super::txn_log::{self, LogEntry};
use super::{Dirs, Result, StorageError, epochs, list_by_zxid};
use std::path::PathBuf;
use zabra_model::ids::Zxid;

/// So many snapshots are tried, newest first, as in ZooKeeper.
const SNAPSHOTS_TRIED_MAX: usize = 100;

/// How strict a start is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryOptions {
    /// `zookeeper.snapshot.trust.empty`: logs without a snapshot are taken to begin with the first transaction.
    pub trust_empty_snapshot: bool,
    /// Create missing epoch files. Off for a standalone server, which has none.
    pub create_epochs: bool,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            trust_empty_snapshot: false,
            create_epochs: true,
        }
    }
}

/// Takes the recovered state: a snapshot, then the transactions behind it in order.
pub trait RecoverySink: SnapshotSink {
    /// The next transaction.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be decoded; the start then fails.
    fn txn(&mut self, entry: LogEntry) -> std::result::Result<(), Refused>;
}

/// Consecutive transactions of one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZxidRun {
    /// The first one.
    pub first: Zxid,
    /// The last one.
    pub last: Zxid,
}

/// Something that was not as an orderly stop leaves it. For the operator's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// A truncation or full copy was interrupted and is now done.
    Finished(Plan),
    /// A snapshot was passed over.
    SnapshotSkipped(String),
    /// An entry that was cut off, never acknowledged, is dropped.
    TornTail(TornTail),
    /// A log file without a single entry was moved away (`kept_as`) or, if nothing was in it, deleted.
    EmptyLog {
        /// Its name.
        path: PathBuf,
        /// Its new name.
        kept_as: Option<PathBuf>,
    },
    /// A temporary file was deleted.
    Leftover(PathBuf),
    /// The snapshot contains changes above the end of the log: transactions were lost behind a snapshot of Java's.
    SnapshotAhead {
        /// The newest zxid in it.
        newest: Zxid,
        /// Where the log ends.
        last: Zxid,
    },
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished(Plan::Install(zxid)) => {
                write!(f, "finished the installation of snapshot {zxid}")
            }
            Self::Finished(Plan::Truncate(after)) => {
                write!(f, "finished the truncation after {after}")
            }
            Self::SnapshotSkipped(why) => write!(f, "passed over a snapshot: {why}"),
            Self::TornTail(torn) => {
                let path = torn.path.display();
                write!(
                    f,
                    "{path}: dropped the end of the file from byte {}: {}",
                    torn.offset, torn.what
                )
            }
            Self::EmptyLog {
                path,
                kept_as: None,
            } => write!(f, "{}: removed, it held no entry", path.display()),
            Self::EmptyLog {
                path,
                kept_as: Some(to),
            } => {
                write!(
                    f,
                    "{}: held no readable entry, now {}",
                    path.display(),
                    to.display()
                )
            }
            Self::Leftover(path) => write!(f, "{}: removed, a crash left it", path.display()),
            Self::SnapshotAhead { newest, last } => {
                write!(
                    f,
                    "the snapshot contains changes up to {newest}, but the log ends at {last}"
                )
            }
        }
    }
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The snapshot it began with. `None` for a new server: write a snapshot before the first transaction is logged,
    /// or the next start refuses the log.
    pub snapshot: Option<SnapshotFacts>,
    /// The last transaction, or where the snapshot stands.
    pub last_zxid: Zxid,
    /// Both epochs.
    pub epochs: epochs::Epochs,
    /// The transactions in the log behind the snapshot, by epoch.
    pub runs: Vec<ZxidRun>,
    /// What was not in order.
    pub repairs: Vec<Repair>,
}

impl Recovered {
    /// The zxid of the snapshot, [`Zxid::ZERO`] without one.
    #[must_use]
    pub fn snapshot_zxid(&self) -> Zxid {
        self.snapshot.map_or(Zxid::ZERO, |facts| facts.zxid)
    }
}

/// Reads a server's state into `sink`. A torn tail is dropped, everything else that is wrong is an error.
///
/// Go on with [`txn_log::writer::TxnLog::new`] behind [`Recovered::last_zxid`]: it begins a new file.
///
/// # Errors
/// All of [`StorageError`] but those of writing transactions.
pub fn recover<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    options: RecoveryOptions,
    sink: &mut impl RecoverySink,
) -> Result<Recovered> {
    let mut repairs = Vec::new();
    disk.create_dir(&dirs.snap)?;
    disk.create_dir(&dirs.log)?;
    repairs.extend(replace::finish_pending(disk, dirs)?.map(Repair::Finished));
    remove_leftovers(disk, dirs, &mut repairs)?;
    let snapshot = load_snapshot(disk, dirs, options, sink, &mut repairs)?;
    let start = snapshot.map_or(Zxid::ZERO, |facts| facts.zxid);
    let (last_zxid, runs) = replay(disk, dirs, start, sink, &mut repairs)?;
    if let Some(facts) = snapshot.filter(|facts| facts.newest > last_zxid) {
        repairs.push(Repair::SnapshotAhead {
            newest: facts.newest,
            last: last_zxid,
        });
    }
    Ok(Recovered {
        snapshot,
        last_zxid,
        epochs: epochs::load(disk, dirs, last_zxid, options.create_epochs)?,
        runs,
        repairs,
    })
}

fn remove_leftovers<D: Disk>(disk: &D, dirs: &Dirs, repairs: &mut Vec<Repair>) -> Result<()> {
    let mut any = false;
    for name in disk.list(&dirs.snap)? {
        let plain = name.strip_suffix(".tmp");
        // currentEpoch.tmp still has something to say, see `epochs`.
        if plain.is_some_and(|p| {
            p == "zabra.pending" || super::zxid_of_name(p, snapshot::PREFIX).is_some()
        }) {
            let path = dirs.snap.join(&name);
            disk.remove(&path)?;
            repairs.push(Repair::Leftover(path));
            any = true;
        }
    }
    if any {
        disk.sync_dir(&dirs.snap)
    } else {
        Ok(())
    }
}

fn load_snapshot<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    options: RecoveryOptions,
    sink: &mut impl RecoverySink,
    repairs: &mut Vec<Repair>,
) -> Result<Option<SnapshotFacts>> {
    let found = snapshot::candidates(disk, &dirs.snap)?;
    let mut reasons = found.skipped;
    let mut loaded = None;
    for (zxid, path) in found.usable.into_iter().take(SNAPSHOTS_TRIED_MAX) {
        sink.clear();
        match snapshot::read(disk, &path, zxid, sink) {
            Ok(facts) => {
                loaded = Some(facts);
                break;
            }
            Err(e @ StorageError::BadSnapshot { .. }) => reasons.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    if loaded.is_none() {
        sink.clear();
        if !reasons.is_empty() {
            return Err(StorageError::NoReadableSnapshot {
                dir: dirs.snap.clone(),
                reasons: reasons.join("; "),
            });
        }
        let logs = list_by_zxid(disk, &dirs.log, txn_log::PREFIX)?;
        if !logs.is_empty() && !options.trust_empty_snapshot {
            return Err(StorageError::LogsWithoutSnapshot {
                dir: dirs.snap.clone(),
            });
        }
    }
    repairs.extend(reasons.into_iter().map(Repair::SnapshotSkipped));
    Ok(loaded)
}

fn replay<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    start: Zxid,
    sink: &mut impl RecoverySink,
    repairs: &mut Vec<Repair>,
) -> Result<(Zxid, Vec<ZxidRun>)> {
    let mut reader = LogReader::behind(disk, &dirs.log, start)?;
    let mut runs: Vec<ZxidRun> = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let zxid = entry.zxid;
        if let Err(Refused(what)) = sink.txn(entry) {
            return Err(StorageError::DamagedEntry {
                path: reader.path().to_owned(),
                offset: reader.offset(),
                what: format!("transaction {zxid} cannot be applied: {what}"),
            });
        }
        match runs.last_mut() {
            Some(run) if run.last.epoch() == zxid.epoch() => run.last = zxid,
            _ => runs.push(ZxidRun {
                first: zxid,
                last: zxid,
            }),
        }
    }
    for torn in reader.torn() {
        repairs.push(Repair::TornTail(torn.clone()));
        if torn.must_be_cut && !reader.without_entries().contains(&torn.path) {
            replace::cut_at(disk, &torn.path, torn.offset)?;
        }
    }
    // The next file may need the name of one that holds nothing.
    for path in reader.without_entries() {
        let is_torn = reader
            .torn()
            .iter()
            .any(|t| t.path == *path && t.offset > 0);
        let kept_as = is_torn.then(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(".torn");
            PathBuf::from(name)
        });
        match &kept_as {
            Some(to) => disk.rename(path, to)?,
            None => disk.remove(path)?,
        }
        disk.sync_dir(&dirs.log)?;
        repairs.push(Repair::EmptyLog {
            path: path.clone(),
            kept_as,
        });
    }
    Ok((reader.last(), runs))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::recording::RecordingDisk;
    use super::super::snapshot::body::tests as body;
    use super::super::snapshot::tests::stage;
    use super::super::txn_log::writer::{LogOptions, TxnLog};
    use super::*;
    use std::path::Path;
    use zabra_model::ids::{Epoch, SessionId};
    use zabra_model::tree::acl::Acl;
    use zabra_model::tree::stat::StatPersisted;

    /// Keeps everything.
    #[derive(Default, PartialEq, Eq, Debug)]
    pub(crate) struct Kept {
        pub(crate) tree: body::Kept,
        pub(crate) txns: Vec<u64>,
    }

    impl SnapshotSink for Kept {
        fn clear(&mut self) {
            *self = Self::default();
        }

        fn session(&mut self, id: SessionId, timeout_ms: i32) -> std::result::Result<(), Refused> {
            self.tree.session(id, timeout_ms)
        }

        fn node(
            &mut self,
            path: &str,
            data: Option<&[u8]>,
            acl: Acl,
            stat: StatPersisted,
        ) -> std::result::Result<(), Refused> {
            self.tree.node(path, data, acl, stat)
        }
    }

    impl RecoverySink for Kept {
        fn txn(&mut self, entry: LogEntry) -> std::result::Result<(), Refused> {
            self.txns.push(entry.zxid.0);
            Ok(())
        }
    }

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("d"))
    }

    fn boot(disk: &RecordingDisk) -> Result<(Recovered, Kept)> {
        let mut kept = Kept::default();
        let found = recover(disk, &dirs(), RecoveryOptions::default(), &mut kept)?;
        Ok((found, kept))
    }

    fn log(disk: &RecordingDisk, last: u64, zxids: &[u64], bytes: usize) {
        let options = LogOptions {
            prealloc_bytes: 2000,
            ..LogOptions::default()
        };
        let mut log = TxnLog::new(disk.clone(), dirs().log, options, Zxid(last));
        for zxid in zxids {
            let mut payload = vec![7; bytes];
            payload[12..20].copy_from_slice(&zxid.to_be_bytes());
            log.append(Zxid(*zxid), &payload).unwrap();
        }
        log.sync().unwrap();
    }

    #[test]
    fn a_new_server_has_nothing() {
        let (found, kept) = boot(&RecordingDisk::default()).unwrap();
        assert_eq!((found.snapshot, found.last_zxid), (None, Zxid::ZERO));
        assert_eq!(
            (found.runs, found.repairs, kept),
            (vec![], vec![], Kept::default())
        );
    }

    #[test]
    fn the_log_behind_the_newest_snapshot_is_replayed_by_epoch() {
        let disk = RecordingDisk::default();
        stage(&disk, &dirs().snap, 2, &body::sample())
            .publish(&disk)
            .unwrap();
        let e2 = 2 << 32;
        log(&disk, 0, &[1, 2, 3, 4], 40);
        log(&disk, 4, &[e2 + 1, e2 + 2], 40);
        let (found, kept) = boot(&disk).unwrap();
        assert_eq!(kept.txns, [3, 4, e2 + 1, e2 + 2]);
        assert_eq!(kept.tree, body::sample());
        let run = |first, last| ZxidRun {
            first: Zxid(first),
            last: Zxid(last),
        };
        assert_eq!(found.runs, [run(3, 4), run(e2 + 1, e2 + 2)]);
        assert_eq!(
            (found.snapshot_zxid(), found.last_zxid),
            (Zxid(2), Zxid(e2 + 2))
        );
        assert_eq!(
            found.epochs,
            epochs::Epochs {
                accepted: Epoch(2),
                current: Epoch(2)
            }
        );
        assert_eq!(found.repairs, []);
    }

    #[test]
    fn a_bad_snapshot_gives_way_to_an_older_one() {
        let disk = RecordingDisk::default();
        let mut half = body::sample();
        half.sessions.clear();
        stage(&disk, &dirs().snap, 0, &half).publish(&disk).unwrap();
        let newer = stage(&disk, &dirs().snap, 2, &body::sample())
            .publish(&disk)
            .unwrap();
        log(&disk, 0, &[1, 2, 3, 4, 5, 6], 40);
        let mut bytes = disk.files().remove(&newer).unwrap();
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
        disk.put(&newer, &bytes);
        let (found, kept) = boot(&disk).unwrap();
        assert_eq!(found.snapshot_zxid(), Zxid(0));
        assert_eq!(
            kept,
            Kept {
                tree: half,
                txns: vec![1, 2, 3, 4, 5, 6]
            }
        );
        assert!(
            matches!(&found.repairs[..], [Repair::SnapshotSkipped(_)]),
            "{:?}",
            found.repairs
        );
        disk.remove(&snapshot::path_of(&dirs().snap, Zxid(0)))
            .unwrap();
        assert!(matches!(
            boot(&disk),
            Err(StorageError::NoReadableSnapshot { .. })
        ));
        disk.remove(&newer).unwrap();
        assert!(matches!(
            boot(&disk),
            Err(StorageError::LogsWithoutSnapshot { .. })
        ));
    }

    #[test]
    fn a_torn_tail_is_dropped_for_good_and_the_next_transaction_can_take_its_place() {
        let fresh = || {
            let disk = RecordingDisk::default();
            let snapshot = stage(&disk, &dirs().snap, 0, &body::Kept::default());
            snapshot.publish(&disk).unwrap();
            disk
        };
        let path = dirs().log.join("log.1");
        let disk = fresh();
        log(&disk, 0, &[1, 2, 3], 1700);
        let whole = disk.files().remove(&path).unwrap();
        let end = 16 + 3 * (12 + 1700 + 1);
        let mut images: Vec<Vec<u8>> = (0..=end).map(|cut| whole[..cut].to_vec()).collect();
        for sector in 1..=end / 512 {
            let mut image = whole.clone();
            image[sector * 512..][..512].fill(0);
            images.push(image);
        }
        for (n, image) in images.into_iter().enumerate() {
            let disk = fresh();
            disk.put(&path, &image);
            let (found, kept) = boot(&disk).unwrap();
            let last = found.last_zxid.0;
            assert_eq!(kept.txns, (1..=last).collect::<Vec<_>>());
            if n <= end {
                assert_eq!(last, n.saturating_sub(16) as u64 / 1713, "cut at {n}");
            }
            log(&disk, last, &[last + 1], 90);
            let (again, _) = boot(&disk).unwrap();
            assert_eq!(again.last_zxid.0, last + 1, "image {n}");
        }
    }
}
