//! Start-up: newest readable snapshot, then the log behind it, then the epochs, with small repairs on the way.
//!
//! First everything is read and judged, and only then something is changed: a refused start leaves the files as they are.
//! What is cut off or moved away is kept in a file beside it. At the end, all that was found is made durable, because the
//! caller tells others of it:
//!
//! - A process that was killed leaves the system's page cache behind: what it has written reads well and may never have been
//!   synced. So the files that were read are synced, and their directories.
//! - After a sync that failed, pages are clean without being on the disk, and a further sync succeeds without them. So
//!   whatever lies behind the mark of [`high_water`] is written anew, the same bytes in the same place, before it is synced.

use super::disk::{Disk, DiskFile, parent_of};
use super::high_water::{self, Mark};
use super::repair::Repair;
use super::replace;
use super::snapshot::body::{Refused, SnapshotSink};
use super::snapshot::{self, Packing, Skipped, SnapshotFacts};
use super::txn_log;
use super::txn_log::reader::{LogReader, TornTail};
use super::{Dirs, Result, StorageError, epochs, list_by_zxid};
use crate::mutants::{Mutant, has};
use std::path::{Path, PathBuf};
use zabra_model::durable::{Made, Part};
use zabra_model::ids::Zxid;

/// The tail of a log is copied in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// So many snapshots are tried, newest first, as in ZooKeeper.
const SNAPSHOTS_TRIED_MAX: usize = 100;

/// How strict a start is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryOptions {
    /// `zookeeper.snapshot.trust.empty`: logs without a snapshot are taken to begin with the first transaction.
    pub trust_empty_snapshot: bool,
    /// Create missing epoch files. Off for a standalone server: ZooKeeper's has none, and ours writes them with its first epoch.
    pub create_epochs: bool,
    /// Make durable what was found, as a start has to. Off for a running server that only reads its tree again.
    pub settle: bool,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            trust_empty_snapshot: false,
            create_epochs: true,
            settle: true,
        }
    }
}

/// Takes the recovered state: a snapshot, then the transactions behind it in order.
pub trait RecoverySink: SnapshotSink {
    /// The snapshot is whole, and says this beside its tree. Transactions follow.
    ///
    /// # Errors
    /// [`Refused`] if it is no tree; an older snapshot is tried then.
    fn loaded(&mut self, facts: &SnapshotFacts) -> std::result::Result<(), Refused> {
        let _ = facts;
        Ok(())
    }

    /// The files that the next transactions are in have so many bytes.
    fn log(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The next transaction: its position in the history, and its payload.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be decoded; the start then fails.
    fn txn(&mut self, zxid: Zxid, payload: &[u8]) -> std::result::Result<(), Refused>;
}

/// Consecutive transactions of one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZxidRun {
    /// The first one.
    pub first: Zxid,
    /// The last one.
    pub last: Zxid,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The snapshot it began with. `None` for a new server: write a snapshot before the first transaction is logged,
    /// or the next start refuses the log.
    pub snapshot: Option<SnapshotFacts>,
    /// The length of its file.
    pub snapshot_bytes: u64,
    /// The last transaction, or where the snapshot stands.
    pub last_zxid: Zxid,
    /// Both epochs.
    pub epochs: epochs::Epochs,
    /// The transactions in the log behind the snapshot, by epoch.
    pub runs: Vec<ZxidRun>,
    /// Up to here, the last server is known to have synced its history.
    pub synced: Zxid,
    /// What was made durable, and how, in this order.
    pub made: Vec<(Part, Made)>,
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

/// Reads a server's state into `sink`. A torn tail that was never acknowledged is cut off and kept aside, everything else that
/// is wrong is an error. With [`RecoveryOptions::settle`], all that the answer says is durable.
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
    let mark = high_water::read(disk, dirs)?;
    let (snapshot, skipped) = load_snapshot(disk, dirs, options, sink)?;
    let start = snapshot
        .as_ref()
        .map_or(Zxid::ZERO, |(facts, _)| facts.zxid);
    let replayed = replay(disk, dirs, start, mark, sink)?;
    nothing_skipped_is_missing(&skipped, start, &replayed)?;
    // Up to here, nothing but a pending plan has changed anything.
    remove_leftovers(disk, dirs, &mut repairs)?;
    repairs.extend(
        skipped
            .into_iter()
            .map(|skipped| Repair::SnapshotSkipped(skipped.why)),
    );
    match mark {
        high_water::Found::Unreadable => repairs.push(Repair::NoMark("it is damaged")),
        high_water::Found::Outdated(_) => repairs.push(Repair::NoMark(
            "another server has used the directory since it was written",
        )),
        high_water::Found::Nothing | high_water::Found::Valid(_) => {}
    }
    cut_off(disk, dirs, &replayed, &mut repairs)?;
    let last_zxid = replayed.last;
    let loaded = snapshot
        .as_ref()
        .map(|(facts, path)| (facts.zxid, path.as_path()));
    let mut made = Vec::new();
    if options.settle {
        let how = settle(disk, dirs, loaded, mark.durable(), &replayed, &mut repairs)?;
        made.push((Part::History, how));
    }
    let create = options.create_epochs && options.settle;
    let epochs = epochs::load(disk, dirs, last_zxid, create)?;
    if options.settle {
        epochs::write_anew(disk, dirs)?;
        made.push((Part::AcceptedEpoch, Made::WrittenAnew));
        made.push((Part::CurrentEpoch, Made::WrittenAnew));
        let mark = Mark {
            durable: last_zxid,
            accepted: epochs.accepted,
        };
        match high_water::write(disk, dirs, mark) {
            Ok(()) => {}
            // There was none, and what is not there says nothing wrong.
            Err(e) if e.is_no_room() => repairs.push(Repair::NoMark("there is no room for it")),
            Err(e) => return Err(e),
        }
    }
    let snapshot_bytes = match &snapshot {
        Some((_, path)) => disk.len(path)?.unwrap_or(0),
        None => 0,
    };
    let snapshot = snapshot.map(|(facts, _)| facts);
    if let Some(facts) = snapshot.filter(|facts| facts.newest > last_zxid) {
        repairs.push(Repair::SnapshotAhead {
            newest: facts.newest,
            last: last_zxid,
        });
    }
    Ok(Recovered {
        snapshot,
        snapshot_bytes,
        last_zxid,
        epochs,
        runs: replayed.runs,
        synced: mark.durable(),
        made,
        repairs,
    })
}

fn remove_leftovers<D: Disk>(disk: &D, dirs: &Dirs, repairs: &mut Vec<Repair>) -> Result<()> {
    let mut any = false;
    for name in disk.list(&dirs.snap)? {
        let plain = name.strip_suffix(".tmp");
        // currentEpoch.tmp still has something to say, see `epochs`.
        if plain.is_some_and(|p| p == "zabra.pending" || Packing::of_name(p).is_some()) {
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

type Loaded = (Option<(SnapshotFacts, PathBuf)>, Vec<Skipped>);

fn load_snapshot<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    options: RecoveryOptions,
    sink: &mut impl RecoverySink,
) -> Result<Loaded> {
    let found = snapshot::candidates(disk, &dirs.snap)?;
    let mut skipped = found.skipped;
    for (zxid, path) in found.usable.into_iter().take(SNAPSHOTS_TRIED_MAX) {
        sink.clear();
        let read = snapshot::read(disk, &path, zxid, sink).and_then(|facts| {
            let loaded = sink.loaded(&facts);
            let refused = |Refused(what)| StorageError::BadSnapshot {
                path: path.clone(),
                offset: 0,
                what,
            };
            loaded.map_err(refused).map(|()| facts)
        });
        match read {
            Ok(facts) => return Ok((Some((facts, path)), skipped)),
            Err(e @ StorageError::BadSnapshot { .. }) => skipped.push(Skipped {
                zxid,
                path,
                sealed: true,
                why: e.to_string(),
            }),
            Err(e) => return Err(e),
        }
    }
    sink.clear();
    if !skipped.is_empty() {
        let reasons: Vec<String> = skipped.into_iter().map(|skipped| skipped.why).collect();
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
    Ok((None, skipped))
}

/// What the logs hold.
struct Replayed {
    last: Zxid,
    runs: Vec<ZxidRun>,
    torn: Vec<TornTail>,
    without_entries: Vec<PathBuf>,
    /// The files with entries behind the snapshot, and what of each lies behind the mark: where it begins and ends.
    files: Vec<(PathBuf, Option<(u64, u64)>)>,
}

fn replay<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    start: Zxid,
    mark: high_water::Found,
    sink: &mut impl RecoverySink,
) -> Result<Replayed> {
    let mut reader = LogReader::behind(disk, &dirs.log, start)?;
    sink.log(reader.bytes()?);
    let mut runs: Vec<ZxidRun> = Vec::new();
    let mut files: Vec<(PathBuf, Option<(u64, u64)>)> = Vec::new();
    while let Some(zxid) = reader.advance()? {
        if has(Mutant::RecoverySkipsOne) && zxid.0 % 64 == 7 {
            continue;
        }
        if let Err(Refused(what)) = sink.txn(zxid, reader.payload()) {
            return Err(StorageError::DamagedEntry {
                path: reader.path().to_owned(),
                offset: reader.entry_at(),
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
        // Byte by byte: to compare paths by their parts takes longer than all else that is done here for a transaction.
        let path = reader.path().as_os_str();
        if files
            .last()
            .is_none_or(|(last, _)| last.as_os_str() != path)
        {
            files.push((reader.path().to_owned(), None));
        }
        if let Some((_, unsynced)) = files.last_mut().filter(|_| zxid > mark.durable()) {
            let from = unsynced.map_or(reader.entry_at(), |(from, _)| from);
            *unsynced = Some((from, reader.offset()));
        }
    }
    judge_the_end(dirs, mark, &mut reader)?;
    Ok(Replayed {
        last: reader.last(),
        runs,
        torn: reader.torn().to_vec(),
        without_entries: reader.without_entries().to_vec(),
        files,
    })
}

/// Is the end of the log one that a crash may have left, or were transactions behind it acknowledged?
///
/// | known | end of the newest file | judgement |
/// |---|---|---|
/// | durable up to above the end | any | refused |
/// | durable up to the end or below | any, in a file of ours | all behind it was never acknowledged |
/// | nothing, or the file is ZooKeeper's | a whole entry lies behind it | refused |
/// | nothing, or the file is ZooKeeper's | nothing whole behind it | all behind it was never acknowledged |
fn judge_the_end<D: Disk>(
    dirs: &Dirs,
    mark: high_water::Found,
    reader: &mut LogReader<D>,
) -> Result<()> {
    let last = reader.last();
    if last < mark.durable() {
        let (path, offset, torn) = reader.end().unwrap_or((&dirs.log, 0, None));
        return Err(StorageError::AcknowledgedMissing {
            path: path.to_owned(),
            offset,
            last,
            what: torn.unwrap_or("nothing more is there").to_owned(),
            durable: mark.durable(),
            mark: high_water::path_of(dirs),
        });
    }
    if matches!(mark, high_water::Found::Valid(_)) && reader.end_is_ours() {
        return Ok(());
    }
    match reader.entry_behind_end()? {
        None => Ok(()),
        Some((path, offset, behind)) => Err(StorageError::DamagedEntry {
            path,
            offset,
            what: format!("it cannot be read, and behind it, at byte {behind}, is another one"),
        }),
    }
}

/// A snapshot was taken of a history that this server had; one that cannot be read must not be the only trace of it.
fn nothing_skipped_is_missing(skipped: &[Skipped], start: Zxid, found: &Replayed) -> Result<()> {
    let is_there = |zxid: Zxid| {
        let run = |run: &ZxidRun| run.first <= zxid && zxid <= run.last;
        zxid <= start || zxid.counter() == 0 || found.runs.iter().any(run)
    };
    // ZooKeeper may name an unfinished one after a transaction that is not in its log yet.
    let unfinished = |snapshot: &Skipped| !snapshot.sealed && snapshot.zxid > found.last;
    let missing = skipped.iter().find(|s| !is_there(s.zxid) && !unfinished(s));
    match missing {
        None => Ok(()),
        Some(snapshot) => Err(StorageError::SnapshotNeeded {
            path: snapshot.path.clone(),
            zxid: snapshot.zxid,
            last: found.last,
        }),
    }
}

/// Ends the files where their entries end, and keeps what was behind.
fn cut_off<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    found: &Replayed,
    repairs: &mut Vec<Repair>,
) -> Result<()> {
    for torn in &found.torn {
        let kept_as = keep_aside(disk, &torn.path, torn.offset)?;
        if !found.without_entries.contains(&torn.path) {
            replace::cut_at(disk, &torn.path, torn.offset)?;
        }
        if torn.offset > 0 || kept_as.is_some() {
            let torn = torn.clone();
            repairs.push(Repair::TornTail { torn, kept_as });
        }
    }
    // The next file may need the name of one that holds nothing.
    for path in &found.without_entries {
        disk.remove(path)?;
        disk.sync_dir(&dirs.log)?;
        repairs.push(Repair::EmptyLog(path.clone()));
    }
    Ok(())
}

/// Copies a file from `offset` up to its last byte that is not zero to `NAME.torn-OFFSET`, durably.
fn keep_aside<D: Disk>(disk: &D, path: &Path, offset: u64) -> Result<Option<PathBuf>> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{}{offset:x}", txn_log::TORN));
    let to = PathBuf::from(name);
    let (mut at, mut end) = (offset, offset);
    loop {
        let piece = disk.read_at(path, at, PIECE_BYTES)?;
        if piece.is_empty() {
            break;
        }
        if let Some(last) = piece.iter().rposition(|b| *b != 0) {
            end = at + last as u64 + 1;
        }
        at += piece.len() as u64;
    }
    if end == offset {
        return Ok(None);
    }
    let mut copy = disk.create(&to)?;
    copy_bytes(disk, path, (offset, end), &mut copy, 0)?;
    copy.sync()?;
    disk.sync_dir(parent_of(path))?;
    Ok(Some(to))
}

/// Makes snapshot and logs durable (see the top of this file).
fn settle<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    snapshot: Option<(Zxid, &Path)>,
    synced: Zxid,
    found: &Replayed,
    repairs: &mut Vec<Repair>,
) -> Result<Made> {
    let mut files: Vec<(&Path, Option<(u64, u64)>)> = Vec::new();
    if let Some((zxid, path)) = snapshot {
        let whole = (0, disk.len(path)?.unwrap_or(0));
        files.push((path, (zxid > synced).then_some(whole)));
    }
    files.extend(
        found
            .files
            .iter()
            .map(|(path, part)| (path.as_path(), *part)),
    );
    let mut made = Made::Synced;
    for (path, unsynced) in files {
        let mut file = disk.open(path)?;
        if let Some((from, to)) = unsynced {
            copy_bytes(disk, path, (from, to), &mut file, from)?;
            made = Made::WrittenAnew;
            let path = path.to_owned();
            repairs.push(Repair::Rewritten { path, from, to });
        }
        file.sync()?;
    }
    for dir in [&dirs.snap, &dirs.log] {
        disk.sync_dir(dir)?;
        disk.sync_dir(parent_of(dir))?;
    }
    Ok(made)
}

/// Copies the bytes of a file between two positions into `to`, from position `at` on.
fn copy_bytes<D: Disk>(
    disk: &D,
    path: &Path,
    (from, end): (u64, u64),
    to: &mut D::File,
    at: u64,
) -> Result<()> {
    let mut done = from;
    while done < end {
        let bytes = usize::try_from(end - done).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let piece = disk.read_at(path, done, bytes)?;
        to.write_at(at + (done - from), &piece)?;
        // At least one byte, so that a file that has become shorter is no endless loop here.
        done += piece.len().max(1) as u64;
    }
    Ok(())
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
        pub(crate) log_bytes: u64,
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
            acl: &Acl,
            stat: StatPersisted,
        ) -> std::result::Result<(), Refused> {
            self.tree.node(path, data, acl, stat)
        }
    }

    impl RecoverySink for Kept {
        fn log(&mut self, bytes: u64) {
            self.log_bytes = bytes;
        }

        fn txn(&mut self, zxid: Zxid, _: &[u8]) -> std::result::Result<(), Refused> {
            self.txns.push(zxid.0);
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
        // The first of the two files has transactions before the snapshot, and zeros behind them.
        let lengths = list_by_zxid(&disk, &dirs().log, txn_log::PREFIX).unwrap();
        let lengths = lengths.iter().map(|(_, path)| disk.len(path).unwrap());
        assert_eq!(kept.log_bytes, lengths.map(Option::unwrap).sum::<u64>());
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
        // Nobody has noted down that they were synced.
        let anew = |r: &Repair| matches!(r, Repair::Rewritten { .. });
        assert!(found.repairs.len() == 3 && found.repairs.iter().all(anew));
        assert_eq!(boot(&disk).unwrap().0.repairs, []);
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
        assert_eq!((kept.tree, kept.txns), (half, vec![1, 2, 3, 4, 5, 6]));
        assert!(
            matches!(
                &found.repairs[..],
                [Repair::SnapshotSkipped(_), Repair::Rewritten { .. }]
            ),
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
            boot(&disk).unwrap();
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
