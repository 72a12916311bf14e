//! Removing old snapshots and the logs that only they need (`autopurge.snapRetainCount`), with what was cut off those logs.
//!
//! An operator may do the same at the same time: a file that is gone already is no error.

use super::disk::Disk;
use super::txn_log::reader::files_behind;
use super::{Dirs, Result, StorageError, snapshot, txn_log, zxid_of_name};
use crate::codes::Code;
use std::io;
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// Fewer snapshots are never kept, as in ZooKeeper.
pub const RETAIN_MIN: usize = 3;

/// Tells that it has failed: the next one tries again.
pub fn not_purged(error: &StorageError) {
    tracing::warn!(code = %Code::NotPurged, "old snapshots and logs are not purged: {error}");
}

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
    for (zxid, path) in snapshot::list(disk, &dirs.snap)? {
        if zxid < *oldest && remove_if_there(disk, &path)? {
            removed.push(path);
        }
    }
    if !removed.is_empty() {
        disk.sync_dir(&dirs.snap)?;
    }
    let snapshots = removed.len();
    let needed = files_behind(disk, &dirs.log, *oldest)?;
    if let Some((first, _)) = needed.first() {
        for name in disk.list(&dirs.log)? {
            let log = name
                .split_once(txn_log::TORN)
                .map_or(&*name, |(log, _)| log);
            let start = zxid_of_name(log, txn_log::PREFIX);
            let path = dirs.log.join(&name);
            if start.is_some_and(|start| start < *first) && remove_if_there(disk, &path)? {
                removed.push(path);
            }
        }
    }
    if removed.len() > snapshots {
        disk.sync_dir(&dirs.log)?;
    }
    Ok(removed)
}

/// Whether it was there.
fn remove_if_there<D: Disk>(disk: &D, path: &Path) -> Result<bool> {
    match disk.remove(path) {
        Ok(()) => Ok(true),
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::RecordingDisk;
    use super::*;

    /// A disk that still lists what somebody else deletes at the same time.
    #[derive(Clone)]
    struct Overtaken(RecordingDisk, Vec<&'static str>);

    impl Disk for Overtaken {
        type File = <RecordingDisk as Disk>::File;
        type Reader = <RecordingDisk as Disk>::Reader;

        fn create(&self, path: &Path) -> Result<Self::File> {
            self.0.create(path)
        }
        fn open(&self, path: &Path) -> Result<Self::File> {
            self.0.open(path)
        }
        fn read(&self, path: &Path) -> Result<Self::Reader> {
            self.0.read(path)
        }
        fn len(&self, path: &Path) -> Result<Option<u64>> {
            self.0.len(path)
        }
        fn list(&self, dir: &Path) -> Result<Vec<String>> {
            let mut names = self.0.list(dir)?;
            let prefix = if dir.starts_with("d") {
                "snapshot"
            } else {
                "log"
            };
            let gone = self.1.iter().filter(|name| name.starts_with(prefix));
            names.extend(gone.map(|name| (*name).to_owned()));
            Ok(names)
        }
        fn rename(&self, from: &Path, to: &Path) -> Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, path: &Path) -> Result<()> {
            self.0.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> Result<()> {
            self.0.sync_dir(dir)
        }
        fn create_dir(&self, dir: &Path) -> Result<()> {
            self.0.create_dir(dir)
        }
        fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
            self.0.read_tail(path, bytes)
        }
    }

    /// C-11: an operator deletes old snapshots and logs just when they are purged.
    #[test]
    fn c_11_a_file_that_somebody_else_has_deleted_is_no_error() {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("l"));
        for zxid in ["3", "5", "9", "12"] {
            let path = dirs.snap.join(format!("snapshot.{zxid}"));
            disk.put(&path, b"ZKSN.............\0\0\0\x01/");
        }
        for zxid in ["1", "3", "6", "a"] {
            disk.put(&dirs.log.join(format!("log.{zxid}")), b"");
        }
        let disk = Overtaken(disk, vec!["snapshot.0", "snapshot.4", "log.0", "log.2"]);
        let gone = purge(&disk, &dirs, 3, None).unwrap();
        assert_eq!(
            gone,
            [dirs.snap.join("snapshot.3"), dirs.log.join("log.1")].map(PathBuf::from)
        );
    }

    #[test]
    fn logs_that_the_oldest_kept_snapshot_needs_stay() {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("l"));
        let snapshot = b"ZKSN.............\0\0\0\x01/";
        for zxid in ["0", "5", "9", "12"] {
            disk.put(&dirs.snap.join(format!("snapshot.{zxid}")), snapshot);
        }
        disk.put(&dirs.snap.join("snapshot.13"), b"unfinished");
        for zxid in ["1", "1.torn-10", "3", "3.torn-10", "6", "a"] {
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
            ["snapshot.0", "log.1", "log.1.torn-10"]
        );
        assert_eq!(names(purge(&disk, &dirs, 1, None).unwrap()), [""; 0]);
    }
}
