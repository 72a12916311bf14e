//! One server for a data directory: a lock on `zabra.lock` in each of its directories, which ends with the process.
//!
//! ZooKeeper does not know the file and passes over it. A lock of the system is used rather than the file's mere being
//! there, because a crash would leave that behind.

use super::disk::{io_error, parent_of};
use super::{Dirs, Result, StorageError};
use crate::codes::Code;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tracing::warn;

const LOCK: &str = "zabra.lock";

/// The locks of this server. They are held until the process ends, also if this value is dropped before: a snapshot may
/// still be on its way to a file then.
#[derive(Debug, Default)]
pub struct Owner {
    held: Vec<PathBuf>,
}

impl Owner {
    /// Takes the locks whose files are there, and changes nothing: a directory that somebody uses has one.
    ///
    /// # Errors
    /// [`StorageError::InUse`], [`StorageError::Io`].
    pub fn look(dirs: &Dirs) -> Result<Self> {
        let mut owner = Self::default();
        for dir in [&dirs.snap, &dirs.log] {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .open(dir.join(LOCK));
            match opened {
                Ok(file) => owner.lock(file, dir)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(io_error("open", &dir.join(LOCK), e)),
            }
        }
        Ok(owner)
    }

    /// Takes all locks, in directories that are there, and says in the files who holds them.
    ///
    /// # Errors
    /// [`StorageError::InUse`], [`StorageError::Io`].
    pub fn claim(&mut self, dirs: &Dirs) -> Result<()> {
        for dir in [&dirs.snap, &dirs.log] {
            let path = dir.join(LOCK);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|e| io_error("open", &path, e))?;
            self.lock(file, dir)?;
            // For people. Nothing depends on it, not even that there is room for it on a full disk.
            let said = fs::write(&path, format!("{}\n", std::process::id()));
            if let Err(error) = said {
                warn!(code = %Code::ProcessIdNotWritten, path = %path.display(), %error, "cannot write this server's process id");
            }
        }
        Ok(())
    }

    fn lock(&mut self, file: File, dir: &Path) -> Result<()> {
        let path = dir.join(LOCK);
        // Two names of one directory, or a lock that `look` has taken.
        let real = fs::canonicalize(&path).map_err(|e| io_error("find", &path, e))?;
        if self.held.contains(&real) {
            return Ok(());
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::InUse {
                    dir: parent_of(&path).to_owned(),
                    by: holder(&file),
                });
            }
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                warn!(code = %Code::NoLocks, path = %path.display(),
                    "this file system has no locks: nothing keeps a second server from these files");
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, e)),
        }
        std::mem::forget(file);
        self.held.push(real);
        Ok(())
    }
}

/// Who says to hold the lock, for an operator's eyes.
fn holder(file: &File) -> String {
    let mut text = String::new();
    // A file of another kind may be long.
    let pid = match file.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().ok(),
        Err(_) => None,
    };
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_3_looking_changes_nothing_and_one_process_claims_a_directory_once() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(&dir.path().join("d"), &dir.path().join("l"));
        Owner::look(&dirs).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::create_dir_all(&dirs.snap).unwrap();
        fs::create_dir_all(&dirs.log).unwrap();
        let mut owner = Owner::look(&dirs).unwrap();
        owner.claim(&dirs).unwrap();
        // A second owner, as in another process: the system's locks belong to the opened file.
        let Err(StorageError::InUse { dir, by }) = Owner::look(&dirs) else {
            panic!("two owners")
        };
        assert_eq!(dir, dirs.snap);
        assert_eq!(by, format!(" (process {})", std::process::id()));
        // Each of the two directories counts, under any name.
        for (snap, log) in [("e", "l"), ("d", "e"), ("l", "d")] {
            let base = dirs.snap.ancestors().nth(2).unwrap();
            let other = Dirs::new(&base.join(snap), &base.join(log));
            assert!(matches!(
                Owner::look(&other),
                Err(StorageError::InUse { .. })
            ));
        }
    }

    #[test]
    fn c_3_one_directory_for_both_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let dirs = Dirs::new(dir.path(), &link);
        fs::create_dir_all(&dirs.snap).unwrap();
        Owner::default().claim(&dirs).unwrap();
    }
}
