//! The file operations that storage uses, as traits, and the real disk.
//!
//! Two rules for callers: a name is durable only after [`Disk::sync_dir`], and a failed sync is never retried, because
//! the system may have dropped the pages and call the next sync a success.

use super::{Result, StorageError};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file opened for writing at given positions.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes data and length durable (fdatasync). A failure is final for this file.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn sync(&mut self) -> Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn set_len(&mut self, bytes: u64) -> Result<()>;
}

/// A place for files. All methods may be called from several threads.
pub trait Disk: Clone + Send + 'static {
    /// Its open files.
    type File: DiskFile;
    /// Its files opened for reading from the start.
    type Reader: Read + Send;

    /// Makes a new, empty file; an old one of that name is emptied.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn create(&self, path: &Path) -> Result<Self::File>;

    /// Opens an existing file for writing.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn open(&self, path: &Path) -> Result<Self::File>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn read(&self, path: &Path) -> Result<Self::Reader>;

    /// Its length in bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn len(&self, path: &Path) -> Result<Option<u64>>;

    /// The names of the files in a directory, in no order.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn list(&self, dir: &Path) -> Result<Vec<String>>;

    /// Gives a file another name; a file that had it is gone.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn remove(&self, path: &Path) -> Result<()>;

    /// Makes the names in a directory durable: creations, renames, deletions.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn sync_dir(&self, dir: &Path) -> Result<()>;

    /// Makes a directory and its parents, if missing, durably.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn create_dir(&self, dir: &Path) -> Result<()>;

    /// The name that a directory has without links, by which two names of one directory are equal; `None` if there is no such
    /// directory. A disk without links has each directory under the name that it is asked for.
    fn real_dir(&self, dir: &Path) -> Option<PathBuf> {
        Some(dir.to_owned())
    }

    /// The whole content of a small file; `None` if there is no such file.
    ///
    /// # Errors
    /// [`StorageError::Io`], also for a file above 4 MiB (a list of all files in a directory must fit).
    fn read_small(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        const SMALL_BYTES_MAX: u64 = 4 << 20;
        match self.len(path)? {
            None => Ok(None),
            Some(bytes) if bytes > SMALL_BYTES_MAX => Err(io_error(
                "read",
                path,
                io::Error::other("the file is larger than 4 MiB"),
            )),
            Some(_) => {
                let mut content = Vec::new();
                self.read(path)?
                    .take(SMALL_BYTES_MAX)
                    .read_to_end(&mut content)
                    .map_err(|e| io_error("read", path, e))?;
                Ok(Some(content))
            }
        }
    }

    /// The last `bytes` of a file, fewer if it is shorter.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>>;

    /// The bytes of a file from `offset` on, `bytes` of them or as many as there are.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let mut reader = self.read(path)?;
        let mut part = Vec::new();
        io::copy(&mut reader.by_ref().take(offset), &mut io::sink())
            .and_then(|_| reader.take(bytes as u64).read_to_end(&mut part))
            .map_err(|e| io_error("read", path, e))?;
        Ok(part)
    }

    /// Replaces a small file: `NAME.tmp`, sync, rename, sync of the directory. A crash leaves the old or the new content.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn replace_small(&self, path: &Path, content: &[u8]) -> Result<()> {
        let tmp = tmp_of(path);
        let mut file = self.create(&tmp)?;
        file.write_at(0, content)?;
        file.sync()?;
        drop(file);
        self.rename(&tmp, path)?;
        self.sync_dir(parent_of(path))
    }
}

/// `NAME.tmp` beside `path`.
#[must_use]
pub fn tmp_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// The directory of a file. Of a bare name it is this one, which the standard library calls by no name at all.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Says which operation on which file the system refused.
pub(super) fn io_error(op: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io {
        op,
        path: path.to_owned(),
        source,
    }
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// A file of [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| io_error("write", &self.path, e))
    }

    fn sync(&mut self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| io_error("fdatasync", &self.path, e))
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        self.file
            .set_len(bytes)
            .map_err(|e| io_error("set length", &self.path, e))
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type Reader = fs::File;

    fn create(&self, path: &Path) -> Result<RealFile> {
        let file = fs::File::create(path).map_err(|e| io_error("create", path, e))?;
        Ok(RealFile {
            file,
            path: path.to_owned(),
        })
    }

    fn open(&self, path: &Path) -> Result<RealFile> {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|e| io_error("open for writing", path, e))?;
        Ok(RealFile {
            file,
            path: path.to_owned(),
        })
    }

    fn read(&self, path: &Path) -> Result<fs::File> {
        fs::File::open(path).map_err(|e| io_error("open", path, e))
    }

    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
        let file = self.read(path)?;
        let length = file
            .metadata()
            .map_err(|e| io_error("stat", path, e))?
            .len();
        let mut tail = vec![0; bytes.min(usize::try_from(length).unwrap_or(bytes))];
        let at = length - tail.len() as u64;
        let read = file.read_exact_at(&mut tail, at);
        read.map_err(|e| io_error("read", path, e))?;
        Ok(tail)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let mut file = self.read(path)?;
        let mut part = Vec::new();
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))
            .and_then(|_| file.take(bytes as u64).read_to_end(&mut part))
            .map_err(|e| io_error("read", path, e))?;
        Ok(part)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error("stat", path, e)),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let entries = fs::read_dir(dir).map_err(|e| io_error("list", dir, e))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| io_error("list", dir, e))?;
            // A name that is no text is no file of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn real_dir(&self, dir: &Path) -> Option<PathBuf> {
        fs::canonicalize(dir).ok().filter(|dir| dir.is_dir())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| io_error("rename", from, e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|e| io_error("delete", path, e))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let file = fs::File::open(dir).map_err(|e| io_error("open", dir, e))?;
        file.sync_all().map_err(|e| io_error("fsync", dir, e))
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        // Each new name is an entry of the directory above it; those above were there before and may not be ours to open.
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|d| !d.as_os_str().is_empty() && !d.is_dir())
            .collect();
        fs::create_dir_all(dir).map_err(|e| io_error("create directory", dir, e))?;
        for new in missing {
            let parent = parent_of(new);
            let here = parent.as_os_str().is_empty();
            self.sync_dir(if here { Path::new(".") } else { parent })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_operation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        let text = RealDisk.open(&path).unwrap_err().to_string();
        assert!(
            text.contains("log.1") && text.contains("open for writing"),
            "{text}"
        );
    }

    #[test]
    fn the_directory_of_a_bare_name_is_this_one() {
        for (path, dir) in [
            ("backup", "."),
            ("./backup", "."),
            ("a/b", "a"),
            ("/a", "/"),
            ("/", "."),
        ] {
            assert_eq!(parent_of(Path::new(path)), Path::new(dir), "{path}");
        }
        RealDisk.sync_dir(parent_of(Path::new("backup"))).unwrap();
    }

    #[test]
    fn replacing_a_small_file_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("currentEpoch");
        RealDisk.replace_small(&path, b"1").unwrap();
        RealDisk.replace_small(&path, b"2").unwrap();
        assert_eq!(RealDisk.read_small(&path).unwrap().unwrap(), b"2");
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["currentEpoch"]);
        assert_eq!(RealDisk.read_small(&dir.path().join("no")).unwrap(), None);
    }
}
