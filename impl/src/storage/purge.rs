//! Removing old snapshots and the logs that only they need (`autopurge.snapRetainCount`).

use super::disk::Disk;
use super::txn_log::reader::files_behind;
use super::{Dirs, Result, list_by_zxid, snapshot, txn_log};
use std::path::PathBuf;
use zabra_model::ids::Zxid;

/// Fewer snapshots are never kept, as in ZooKeeper.
pub const RETAIN_MIN: usize = 3;

/// Keeps the newest `retain` snapshots (at least [`RETAIN_MIN`]), those from `base` on, and all logs from the one that the
/// oldest kept snapshot needs; removes what is older. The answer lists what was removed.
///
/// `base` is where the running server's history begins: learners are still served from the log above it.
///
/// # Errors
/// [`super::StorageError::Io`].
pub fn purge<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    retain: usize,
    base: Option<Zxid>,
) -> Result<Vec<PathBuf>> {
    let kept = snapshot::candidates(disk, &dirs.snap)?.usable;
    let Some((oldest, _)) = kept.get(retain.max(RETAIN_MIN) - 1) else {
        return Ok(Vec::new());
    };
    let oldest = &base.map_or(*oldest, |base| base.min(*oldest));
    let mut removed = Vec::new();
    // Snapshots first, durably: a log must not go while a snapshot that needs it could be all that is left.
    for (zxid, path) in list_by_zxid(disk, &dirs.snap, snapshot::PREFIX)? {
        if zxid < *oldest {
            disk.remove(&path)?;
            removed.push(path);
        }
    }
    if !removed.is_empty() {
        disk.sync_dir(&dirs.snap)?;
    }
    let snapshots = removed.len();
    let needed = files_behind(disk, &dirs.log, *oldest)?;
    if let Some((first, _)) = needed.first() {
        for (start, path) in list_by_zxid(disk, &dirs.log, txn_log::PREFIX)? {
            if start < *first {
                disk.remove(&path)?;
                removed.push(path);
            }
        }
    }
    if removed.len() > snapshots {
        disk.sync_dir(&dirs.log)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::super::recording::RecordingDisk;
    use super::*;
    use std::path::Path;

    #[test]
    fn logs_that_the_oldest_kept_snapshot_needs_stay() {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("l"));
        let snapshot = b"ZKSN.............\0\0\0\x01/";
        for zxid in ["0", "5", "9", "12"] {
            disk.put(&dirs.snap.join(format!("snapshot.{zxid}")), snapshot);
        }
        disk.put(&dirs.snap.join("snapshot.13"), b"unfinished");
        for zxid in ["1", "3", "6", "a"] {
            disk.put(&dirs.log.join(format!("log.{zxid}")), b"");
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths
                .iter()
                .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(purge(&disk, &dirs, 4, None).unwrap()), [""; 0]);
        let still_served = purge(&disk, &dirs, 1, Some(Zxid::ZERO));
        assert_eq!(names(still_served.unwrap()), [""; 0]);
        assert_eq!(
            names(purge(&disk, &dirs, 1, None).unwrap()),
            ["snapshot.0", "log.1"]
        );
        assert_eq!(names(purge(&disk, &dirs, 1, None).unwrap()), [""; 0]);
    }
}
