//! Changes of several files at once: truncation of the log, and a full copy from the leader.
//!
//! Both write down first what they are about to do, in `zabra.pending`. The file's rename is the moment of the change:
//! a crash before it leaves the old directory, a crash after it is finished at the next start. ZooKeeper does not know
//! the file; if it ran on the directory in between, the file's list of names or the accepted epoch no longer fits, and
//! the old plan is dropped rather than carried out on new data.

use super::disk::{Disk, DiskFile};
use super::snapshot::body::{Refused, SnapshotSink};
use super::snapshot::{self, Packing, StagedSnapshot};
use super::txn_log::reader::{LogFile, LogReader};
use super::{Dirs, Result, StorageError, epochs, high_water, list_by_zxid, txn_log};
use crate::mutants::{Mutant, has};
use std::path::{Path, PathBuf};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::stat::StatPersisted;

const PENDING: &str = "zabra.pending";

/// A change of several files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// All logs and snapshots give way to one snapshot of this zxid.
    Install(Zxid),
    /// Everything behind this zxid goes.
    Truncate(Zxid),
}

/// Replaces all logs and snapshots by one complete snapshot. The history then ends at its zxid.
///
/// # Errors
/// [`StorageError::Io`].
pub fn install_snapshot<D: Disk>(disk: &D, dirs: &Dirs, staged: &StagedSnapshot) -> Result<()> {
    write_plan(disk, dirs, Plan::Install(staged.zxid))?;
    carry_out(disk, dirs, Plan::Install(staged.zxid))
}

/// Cuts the history behind `after`, whether or not `after` itself is in the log, and removes snapshots that contain more.
///
/// The log must not be open for writing. The answer is where the history now ends: below `after` if that is not in it.
///
/// # Errors
/// [`StorageError::TruncateBelowSnapshot`] if no readable snapshot is as old as `after`; nothing is changed then.
/// [`StorageError::Io`].
pub fn truncate<D: Disk>(disk: &D, dirs: &Dirs, after: Zxid) -> Result<Zxid> {
    let base = base_of(disk, dirs, after)?;
    write_plan(disk, dirs, Plan::Truncate(after))?;
    carry_out(disk, dirs, Plan::Truncate(after))?;
    let mut left = LogReader::behind(disk, &dirs.log, base)?;
    while left.next_entry()?.is_some() {}
    Ok(left.last())
}

/// The snapshot that a history which ends at `after` begins with.
fn base_of<D: Disk>(disk: &D, dirs: &Dirs, after: Zxid) -> Result<Zxid> {
    for (zxid, path) in snapshot::candidates(disk, &dirs.snap)?.usable {
        if is_within(disk, &path, zxid, after)? {
            return Ok(zxid);
        }
    }
    Err(StorageError::TruncateBelowSnapshot {
        dir: dirs.snap.clone(),
        after,
    })
}

/// The file of a plan that was under way when the server ended, if there is one: the next start finishes it.
///
/// # Errors
/// [`StorageError::Io`].
pub fn pending<D: Disk>(disk: &D, dirs: &Dirs) -> Result<Option<PathBuf>> {
    let path = dirs.snap.join(PENDING);
    Ok(disk.len(&path)?.map(|_| path))
}

/// Finishes what a crash interrupted. Call it before anything else looks at the directory.
///
/// # Errors
/// [`StorageError::Io`].
pub fn finish_pending<D: Disk>(disk: &D, dirs: &Dirs) -> Result<Option<Plan>> {
    let path = dirs.snap.join(PENDING);
    let Some(content) = disk.read_small(&path)? else {
        return Ok(None);
    };
    match fitting_plan(disk, dirs, &content)? {
        Some(plan) => {
            if let Plan::Truncate(after) = plan {
                // It was there when the plan was made; without it, the rest would be a history without a beginning.
                base_of(disk, dirs, after)?;
            }
            carry_out(disk, dirs, plan)?;
            Ok(Some(plan))
        }
        None => {
            disk.remove(&path)?;
            disk.sync_dir(&dirs.snap)?;
            Ok(None)
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Logs and snapshots, compressed ones too.
fn all_files<D: Disk>(disk: &D, dirs: &Dirs) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let logs = list_by_zxid(disk, &dirs.log, txn_log::PREFIX)?;
    let snapshots = snapshot::list(disk, &dirs.snap)?;
    Ok((
        logs.into_iter().map(|(_, path)| path).collect(),
        snapshots.into_iter().map(|(_, path)| path).collect(),
    ))
}

fn accepted<D: Disk>(disk: &D, dirs: &Dirs) -> Result<String> {
    let content = disk.read_small(&dirs.snap.join(epochs::ACCEPTED))?;
    let text = String::from_utf8_lossy(&content.unwrap_or_default())
        .trim()
        .to_owned();
    Ok(format!("accepted {text}"))
}

fn write_plan<D: Disk>(disk: &D, dirs: &Dirs, plan: Plan) -> Result<()> {
    let mut text = match plan {
        Plan::Install(zxid) => format!("install {:x}\n", zxid.0),
        Plan::Truncate(after) => format!("truncate {:x}\n", after.0),
    };
    text.push_str(&accepted(disk, dirs)?);
    let (logs, snapshots) = all_files(disk, dirs)?;
    for path in logs.iter().chain(&snapshots) {
        text.push('\n');
        text.push_str(&file_name(path));
    }
    text.push('\n');
    disk.replace_small(&dirs.snap.join(PENDING), text.as_bytes())
}

/// The plan in `content`, if the directory is still the one it was made for.
fn fitting_plan<D: Disk>(disk: &D, dirs: &Dirs, content: &[u8]) -> Result<Option<Plan>> {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines();
    let plan = lines.next().and_then(|line| line.split_once(' '));
    let plan = match plan.and_then(|(verb, hex)| Some((verb, u64::from_str_radix(hex, 16).ok()?))) {
        Some(("install", zxid)) => Plan::Install(Zxid(zxid)),
        Some(("truncate", zxid)) => Plan::Truncate(Zxid(zxid)),
        _ => return Ok(None),
    };
    if lines.next() != Some(accepted(disk, dirs)?.as_str()) {
        return Ok(None);
    }
    let listed: Vec<&str> = lines.collect();
    let (logs, snapshots) = all_files(disk, dirs)?;
    let own = match plan {
        Plan::Install(zxid) => Some(file_name(&snapshot::path_of(&dirs.snap, zxid))),
        Plan::Truncate(_) => None,
    };
    let mut names = logs.iter().chain(&snapshots).map(|path| file_name(path));
    let fits = names.all(|name| listed.contains(&name.as_str()) || Some(&name) == own.as_ref());
    Ok(fits.then_some(plan))
}

/// Idempotent: a crash anywhere inside is repaired by doing it again.
fn carry_out<D: Disk>(disk: &D, dirs: &Dirs, plan: Plan) -> Result<()> {
    let (logs, snapshots) = all_files(disk, dirs)?;
    let end = match plan {
        Plan::Install(zxid) | Plan::Truncate(zxid) => zxid,
    };
    high_water::lower(disk, dirs, end)?;
    match plan {
        Plan::Install(zxid) => {
            let path = snapshot::path_of(&dirs.snap, zxid);
            let tmp = super::disk::tmp_of(&path);
            let staged = disk.len(&tmp)?.is_some();
            if !staged && disk.len(&path)?.is_none() {
                return Err(StorageError::BadSnapshot {
                    path: tmp,
                    offset: 0,
                    what: "the snapshot to be installed is gone; remove zabra.pending to start with the files that are left".to_owned(),
                });
            }
            for log in logs {
                if !has(Mutant::LogsStayAfterSnap) {
                    disk.remove(&log)?;
                }
            }
            disk.sync_dir(&dirs.log)?;
            for old in snapshots.iter().filter(|old| staged || **old != path) {
                disk.remove(old)?;
            }
            if staged {
                disk.rename(&tmp, &path)?;
            }
        }
        Plan::Truncate(after) => {
            for old in &snapshots {
                let keep = match Packing::of_name(&file_name(old)) {
                    Some((zxid, _)) => is_within(disk, old, zxid, after)?,
                    None => false,
                };
                if !keep {
                    disk.remove(old)?;
                }
            }
            let mut kept = None;
            for (start, log) in list_by_zxid(disk, &dirs.log, txn_log::PREFIX)? {
                if start > after {
                    disk.remove(&log)?;
                } else {
                    kept = Some(log);
                }
            }
            if let Some(log) = kept {
                cut_behind(disk, &log, after)?;
            }
            disk.sync_dir(&dirs.log)?;
        }
    }
    disk.sync_dir(&dirs.snap)?;
    disk.remove(&dirs.snap.join(PENDING))?;
    disk.sync_dir(&dirs.snap)
}

/// Cuts a file before its first entry behind `after`.
fn cut_behind<D: Disk>(disk: &D, log: &Path, after: Zxid) -> Result<()> {
    let mut file = LogFile::new(disk.read(log)?, log, true)?;
    loop {
        let offset = file.offset();
        match file.next_entry()? {
            None => return Ok(()),
            Some(entry) if entry.zxid > after => return cut_at(disk, log, offset),
            Some(_) => {}
        }
    }
}

/// Cuts a file at a byte, durably.
pub(super) fn cut_at<D: Disk>(disk: &D, path: &Path, offset: u64) -> Result<()> {
    let mut file = disk.open(path)?;
    file.set_len(offset)?;
    if has(Mutant::CutNotSynced) {
        return Ok(());
    }
    file.sync()
}

/// Does a snapshot hold nothing behind `after`? Java's may hold more than their name says. False for unreadable ones.
fn is_within<D: Disk>(disk: &D, path: &Path, zxid: Zxid, after: Zxid) -> Result<bool> {
    if zxid > after {
        return Ok(false);
    }
    match snapshot::read(disk, path, zxid, &mut Ignore) {
        Ok(facts) => Ok(facts.newest <= after),
        Err(StorageError::BadSnapshot { .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

struct Ignore;

impl SnapshotSink for Ignore {
    fn clear(&mut self) {}

    fn session(&mut self, _: SessionId, _: i32) -> std::result::Result<(), Refused> {
        Ok(())
    }

    fn node(
        &mut self,
        _: &str,
        _: Option<&[u8]>,
        _: &Acl,
        _: StatPersisted,
    ) -> std::result::Result<(), Refused> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Loss, RecordingDisk};
    use super::super::recovery::{RecoveryOptions, recover, tests::Kept};
    use super::super::snapshot::SnapshotWriter;
    use super::super::snapshot::body::NodeRef;
    use super::super::snapshot::body::tests::acl;
    use super::super::txn_log::writer::{LogOptions, TxnLog};
    use super::*;
    use zabra_model::ids::Epoch;

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("l"))
    }

    fn stage(disk: &RecordingDisk, zxid: u64, data: &[u8], newest: u64) -> StagedSnapshot {
        let open = acl(31, "anyone");
        let dir = dirs().snap;
        let mut writer =
            SnapshotWriter::begin(disk, &dir, (Zxid(zxid), Packing::Plain), [].into_iter(), [])
                .unwrap();
        let stat = StatPersisted {
            mzxid: Zxid(newest),
            ..StatPersisted::default()
        };
        let node = NodeRef {
            path: "",
            data: Some(data),
            acl: &open,
            stat: &stat,
        };
        writer.node(node).unwrap();
        writer.finish().unwrap()
    }

    /// Snapshots 0, 3, 6 and, in files of four, transactions 1 to 10.
    fn history() -> RecordingDisk {
        let disk = RecordingDisk::default();
        for zxid in [0, 3, 6] {
            stage(&disk, zxid, b"old", zxid).publish(&disk).unwrap();
        }
        let options = LogOptions {
            file_txns_max: 4,
            prealloc_bytes: 300,
            ..LogOptions::default()
        };
        let mut log = TxnLog::new(disk.clone(), dirs().log, options, Zxid::ZERO);
        for zxid in 1..=10_u64 {
            let mut payload = vec![0; 50];
            payload[12..20].copy_from_slice(&zxid.to_be_bytes());
            log.append(Zxid(zxid), &payload).unwrap();
            log.sync().unwrap();
        }
        epochs::write_accepted(&disk, &dirs(), Epoch(0)).unwrap();
        epochs::write_current(&disk, &dirs(), Epoch(0)).unwrap();
        disk.settle();
        disk
    }

    fn boot(disk: &RecordingDisk) -> (u64, u64, Vec<u8>) {
        let mut kept = Kept::default();
        let found = recover(disk, &dirs(), RecoveryOptions::default(), &mut kept).unwrap();
        (
            found.snapshot_zxid().0,
            found.last_zxid.0,
            kept.tree.nodes[0].1.clone().unwrap(),
        )
    }

    #[test]
    fn after_a_truncation_the_history_ends_at_the_cut_wherever_it_is() {
        for after in 0..=12 {
            let disk = history();
            assert_eq!(
                truncate(&disk, &dirs(), Zxid(after)).unwrap(),
                Zxid(after.min(10))
            );
            let (snapshot, last, _) = boot(&disk);
            assert_eq!((snapshot, last), (after.min(6) / 3 * 3, after.min(10)));
            // The next transaction can be logged, and is found.
            let mut log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid(last));
            let mut payload = vec![1; 50];
            payload[12..20].copy_from_slice(&(last + 1).to_be_bytes());
            log.append(Zxid(last + 1), &payload).unwrap();
            log.sync().unwrap();
            assert_eq!(boot(&disk).1, last + 1);
        }
    }

    #[test]
    fn a_crash_in_a_truncation_leaves_the_old_or_the_new_history() {
        for after in [0, 3, 4, 5, 7, 8, 10] {
            let disk = history();
            truncate(&disk, &dirs(), Zxid(after)).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for n in 0..=disk.operations() {
                for loss in Loss::ALL {
                    let image = disk.crashed(n, loss);
                    let got = boot(&image);
                    assert!(
                        [10, after].contains(&got.1),
                        "{after} {n} {loss:?}: {got:?}"
                    );
                    assert_eq!(boot(&image), got, "a second start sees the same");
                    seen.insert(got.1);
                }
            }
            assert!(seen.contains(&after) && seen.contains(&10));
        }
    }

    #[test]
    fn a_crash_in_a_full_copy_leaves_the_old_or_the_new_state() {
        // Above, inside and below the old history, and one that replaces a snapshot of the same name.
        for zxid in [5, 6, 10, 30, (2 << 32) + 3] {
            let disk = history();
            let staged = stage(&disk, zxid, b"new", zxid);
            install_snapshot(&disk, &dirs(), &staged).unwrap();
            let (old, new) = ((6, 10, b"old".to_vec()), (zxid, zxid, b"new".to_vec()));
            let mut seen = std::collections::BTreeSet::new();
            for n in 0..=disk.operations() {
                for loss in Loss::ALL {
                    let image = disk.crashed(n, loss);
                    let got = boot(&image);
                    assert!([&old, &new].contains(&&got), "{zxid} {n} {loss:?}: {got:?}");
                    assert_eq!(boot(&image), got, "a second start sees the same");
                    seen.insert(got.2);
                }
            }
            assert_eq!(seen.len(), 2);
            assert_eq!(boot(&disk.crashed(disk.operations(), Loss::Both)), new);
        }
    }

    #[test]
    fn a_crash_while_the_plan_is_finished_changes_nothing() {
        let disk = history();
        truncate(&disk, &dirs(), Zxid(5)).unwrap();
        for n in 0..=disk.operations() {
            let image = disk.crashed(n, Loss::Nothing);
            let first = boot(&image.crashed(0, Loss::Nothing)).1;
            finish_pending(&image, &dirs()).unwrap();
            for m in 0..=image.operations() {
                for loss in Loss::ALL {
                    assert_eq!(boot(&image.crashed(m, loss)).1, first, "{n} {m} {loss:?}");
                }
            }
        }
    }

    #[test]
    fn a_plan_for_another_directory_is_dropped() {
        for change in ["log.b", "snapshot.a", "acceptedEpoch"] {
            let disk = history();
            write_plan(&disk, &dirs(), Plan::Truncate(Zxid(5))).unwrap();
            let dir = if change.starts_with("log") {
                dirs().log
            } else {
                dirs().snap
            };
            disk.put(&dir.join(change), b"7");
            assert_eq!(finish_pending(&disk, &dirs()).unwrap(), None, "{change}");
            assert!(disk.len(&dirs().snap.join(PENDING)).unwrap().is_none());
        }
    }

    #[test]
    fn no_snapshot_as_old_as_the_cut_changes_nothing() {
        let disk = history();
        for zxid in [0, 3] {
            disk.remove(&snapshot::path_of(&dirs().snap, Zxid(zxid)))
                .unwrap();
        }
        // Java's snapshot of 4, taken while 5 was written, is as good as one of 5.
        stage(&disk, 4, b"", 5).publish(&disk).unwrap();
        disk.settle();
        let refusal = truncate(&disk, &dirs(), Zxid(4));
        assert!(matches!(
            refusal,
            Err(StorageError::TruncateBelowSnapshot { .. })
        ));
        assert_eq!(disk.operations(), 0);
        assert_eq!(truncate(&disk, &dirs(), Zxid(5)).unwrap(), Zxid(5));
    }
}
