//! What a backup says of itself: `manifest.json`, with the checksum of each file, and `manifest.json.sha256` with that of the manifest.

use crate::storage::disk::{Disk, RealDisk};
use crate::tools::error::ToolError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The name of the manifest.
pub(super) const NAME: &str = "manifest.json";
/// Its checksum, as `sha256sum -c` reads it.
const SUM: &str = "manifest.json.sha256";
/// Readers of this version understand the rest.
pub(super) const FORMAT: &str = "zabra backup 1";
/// A piece that is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// What a backup says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: String,
    /// When it was made, ms since 1970, and for people.
    pub(super) made_ms: i64,
    pub(super) made: String,
    /// Of what.
    pub(super) source: String,
    /// The earliest state that it holds: that of its oldest snapshot.
    pub(super) first_zxid: String,
    /// The latest one.
    pub(super) zxid: String,
    /// Of the transaction that led to it, if it is in a log.
    pub(super) time: Option<String>,
    /// Of the tree at `zxid`, version 2 of ZooKeeper's.
    pub(super) digest: String,
    pub(super) nodes: u64,
    pub(super) ephemerals: u64,
    pub(super) sessions: u64,
    pub(super) data_bytes: u64,
    /// The largest epoch that the server is known to have promised.
    pub(super) epoch: u32,
    pub(super) files: Vec<Entry>,
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> ToolError {
    ToolError::Damaged(format!("{}: {what}", path.display()))
}

/// The sum of a file's bytes, and how many they are.
///
/// # Errors
/// [`ToolError::Damaged`], if it cannot be read.
pub(super) fn sum_of(path: &Path) -> Result<(u64, String), ToolError> {
    let unread = |e: io::Error| match e.kind() {
        ErrorKind::NotFound => damaged(path, "is missing"),
        _ => damaged(path, format_args!("cannot be read: {e}")),
    };
    let mut file = File::open(path).map_err(unread)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((bytes, hex(&hash.finalize()))),
            Ok(n) => {
                hash.update(piece.get(..n).unwrap_or_default());
                bytes += n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unread(e)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    crate::tools::values::Encoding::Hex.of(bytes)
}

impl Manifest {
    /// Writes it and its sum into `dir`, durably.
    ///
    /// # Errors
    /// [`ToolError::Refused`].
    pub(super) fn write(&self, dir: &Path) -> Result<(), ToolError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let sum = format!("{}  {NAME}\n", hex(&Sha256::digest(&text)));
        for (name, text) in [(NAME, text), (SUM, sum)] {
            let path = dir.join(name);
            let mut file = new_file(&path)?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|e| unwritten(&path, &e))?;
        }
        Ok(RealDisk.sync_dir(dir)?)
    }

    /// Reads it, and compares it with its sum.
    ///
    /// # Errors
    /// [`ToolError::Refused`] for a directory that is no backup; [`ToolError::Damaged`].
    pub(super) fn read(dir: &Path) -> Result<Self, ToolError> {
        let path = dir.join(NAME);
        let Some(text) = RealDisk.read_small(&path)? else {
            return Err(ToolError::Refused(format!(
                "{}: is not there, so this is no backup; zabra backup --data {} --to DIR makes one of a data directory or an archive",
                path.display(),
                dir.display()
            )));
        };
        let sum = RealDisk.read_small(&dir.join(SUM))?;
        let Some(sum) = sum else {
            return Err(damaged(&dir.join(SUM), "is missing"));
        };
        let is = hex(&Sha256::digest(&text));
        if sum.get(..is.len()) != Some(is.as_bytes()) {
            return Err(damaged(
                &path,
                format_args!("has another checksum than {SUM} says: one of the two has changed"),
            ));
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?;
        if manifest.format != FORMAT {
            return Err(ToolError::Refused(format!(
                "{}: is {:?}, and this version reads {FORMAT:?}",
                path.display(),
                manifest.format
            )));
        }
        Ok(manifest)
    }

    /// Compares each file with what is said of it; their paths.
    ///
    /// # Errors
    /// [`ToolError::Damaged`], with the file.
    pub(super) fn compare(&self, dir: &Path) -> Result<Vec<PathBuf>, ToolError> {
        let mut paths = Vec::new();
        for entry in &self.files {
            let is_plain = Path::new(&entry.name).file_name() == Some(entry.name.as_ref());
            let path = dir.join(&entry.name);
            if !is_plain {
                return Err(damaged(
                    &dir.join(NAME),
                    "names a file of another directory",
                ));
            }
            let (bytes, sha256) = sum_of(&path)?;
            if bytes != entry.bytes {
                return Err(damaged(
                    &path,
                    format_args!("has {bytes} bytes, and had {}", entry.bytes),
                ));
            }
            if sha256 != entry.sha256 {
                return Err(damaged(
                    &path,
                    format_args!(
                        "has another checksum than when it was written: SHA-256 {sha256}, and it was {}",
                        entry.sha256
                    ),
                ));
            }
            paths.push(path);
        }
        Ok(paths)
    }
}

/// A new file that its owner alone may read: what it holds may be secret.
pub(super) fn new_file(path: &Path) -> Result<File, ToolError> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| unwritten(path, &e))
}

/// What to do about a file that cannot be written.
pub(super) fn unwritten(path: &Path, error: &io::Error) -> ToolError {
    ToolError::Refused(format!(
        "{}: {error}; make room, or let this user write there",
        path.display()
    ))
}
