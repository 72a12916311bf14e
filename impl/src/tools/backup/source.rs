//! Where the files of a backup come from.

use super::archive::{Archive, Summing};
use super::manifest::{Entry, new_file, unwritten};
use super::progress::Progress;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::snapshot::{self, Packing};
use crate::storage::txn_log::reader::LogFile;
use crate::storage::{Dirs, StorageError, epochs, high_water, replace};
use crate::tools::error::ToolError;
use crate::tools::http::{Server, error_in, keep};
use crate::tools::out::tell;
use crate::tools::values::{self, Encoding};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// A piece that is copied at once.
const PIECE_BYTES: usize = 256 << 10;
/// What tells how a snapshot is compressed.
const HEAD_BYTES: usize = 8;

/// The files that have come, and what is known beside them.
pub(super) struct Given {
    pub(super) source: String,
    pub(super) files: Vec<Entry>,
    /// The largest epoch that the server has promised, if that can be told.
    pub(super) epoch: u32,
    /// The files have to reach this zxid.
    pub(super) least: Zxid,
}

/// A file of a backup that is being written.
struct Writing {
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Writing {
    fn begin(path: PathBuf) -> Result<Self, ToolError> {
        Ok(Self {
            file: new_file(&path)?,
            path,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ToolError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|e| unwritten(&self.path, &e))
    }

    fn finish(self, name: &str) -> Result<Entry, ToolError> {
        self.file
            .sync_all()
            .map_err(|e| unwritten(&self.path, &e))?;
        Ok(Entry {
            name: name.to_owned(),
            bytes: self.bytes,
            sha256: Encoding::Hex.of(&self.hash.finalize()),
        })
    }
}

/// Takes a snapshot of a running server.
///
/// # Errors
/// [`ToolError::Refused`], with what the server says.
pub(super) fn of_server(
    address: &str,
    authorization: Option<&str>,
    into: &Path,
) -> Result<Given, ToolError> {
    let server = Server::new(address, authorization);
    let tmp = into.join("coming");
    let mut writing = Writing::begin(tmp.clone())?;
    let mut told = Vec::new();
    let mut progress: Option<Progress> = None;
    let head = server.get("snapshot?streaming=true", &mut |head, piece| {
        if head.status != 200 || head.is_json {
            keep(&mut told, piece);
            return Ok(());
        }
        let progress =
            progress.get_or_insert_with(|| Progress::new(address.to_owned(), head.bytes));
        progress.add(piece.len());
        writing.write(piece)
    })?;
    if head.status != 200 || head.is_json {
        let what = error_in(&told).unwrap_or_else(|| format!("HTTP status {}", head.status));
        let hint = match head.status {
            401 => "; say who you are by --auth-file FILE, whose line is: digest USER:PASSWORD",
            403 => "; who asks needs every right on /",
            404 => "; is it a ZooKeeper of 3.9 or later, or a Zabra?",
            _ => "",
        };
        return Err(ToolError::Refused(format!("{address}: {what}{hint}")));
    }
    let zxid = head
        .last_zxid
        .as_deref()
        .and_then(|zxid| values::zxid(zxid).ok());
    let Some(zxid) = zxid else {
        return Err(ToolError::Refused(format!(
            "{address}: does not say of which zxid its snapshot is"
        )));
    };
    let packing = Packing::of_content(&RealDisk.read_at(&tmp, 0, HEAD_BYTES)?);
    let path = snapshot::packed_path_of(into, zxid, packing);
    RealDisk.rename(&tmp, &path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Given {
        source: address.to_owned(),
        files: vec![writing.finish(&name)?],
        epoch: zxid.epoch().0,
        least: zxid,
    })
}

/// `version-2` of a data directory, or an archive as it is.
pub(super) fn version_2(dir: &Path) -> PathBuf {
    let below = dir.join("version-2");
    if below.is_dir() {
        below
    } else {
        dir.to_owned()
    }
}

/// Copies the newest snapshot that is whole, or from the oldest one on with `all`, and the logs behind it. A server may go on writing
/// meanwhile: of a log as much is copied as is whole.
///
/// # Errors
/// [`ToolError::Refused`], where there is nothing; [`ToolError::Data`] for damage, with the file.
pub(super) fn of_directories(dirs: &[PathBuf], all: bool, into: &Path) -> Result<Given, ToolError> {
    let (epoch, least) = known(dirs)?;
    let mut files = Vec::new();
    for dir in dirs {
        files.extend(Archive::files_in(dir)?);
    }
    let mut archive = Archive::of(files);
    let first = if all {
        drop_damaged(&mut archive)?;
        oldest(&archive)?
    } else {
        newest(&archive)?
    };
    let source = dirs.first().map(|dir| dir.display().to_string());
    let Some(first) = first else {
        return Err(ToolError::Refused(format!(
            "{}: no snapshot is here; they are the files snapshot.ZXID in version-2 of dataDir",
            source.unwrap_or_default()
        )));
    };
    let mut entries = Vec::new();
    for (_, path) in archive.snapshots.iter().filter(|(zxid, _)| *zxid >= first) {
        if !all && !entries.is_empty() {
            break;
        }
        entries.push(copy(path, None, into)?);
    }
    let needed = archive.logs.iter().rposition(|(zxid, _)| *zxid <= first);
    let logs = archive.logs.get(needed.unwrap_or(0)..).unwrap_or_default();
    for (at, (_, path)) in logs.iter().enumerate() {
        let is_newest = at + 1 == logs.len();
        if let Some(end) = end_of(path, is_newest)? {
            entries.push(copy(path, Some(end), into)?);
        }
    }
    Ok(Given {
        source: source.unwrap_or_default(),
        files: entries,
        epoch,
        least,
    })
}

/// The epoch that a server has promised, and up to where its log was on the disk, as far as its directories tell. A plan that a start would
/// finish first refuses the backup.
fn known(dirs: &[PathBuf]) -> Result<(u32, Zxid), ToolError> {
    let (mut epoch, mut least) = (0, Zxid::ZERO);
    for dir in dirs {
        let dirs = Dirs {
            snap: dir.clone(),
            log: dir.clone(),
        };
        if let Some(plan) = replace::pending(&RealDisk, &dirs)? {
            return Err(ToolError::Refused(format!(
                "{}: a truncation or a copy from the leader is under way; wait for it, or, if the server has ended, start it once to finish that",
                plan.display()
            )));
        }
        let accepted = epochs::accepted(&RealDisk, &dirs)?;
        epoch = epoch.max(accepted.map_or(0, |accepted| accepted.0));
        least = least.max(high_water::read(&RealDisk, &dirs)?.durable());
    }
    Ok((epoch, least))
}

/// The newest snapshot that can be read.
fn newest(archive: &Archive) -> Result<Option<Zxid>, ToolError> {
    let mut failed = None;
    for (zxid, path) in archive.snapshots.iter().rev() {
        match snapshot::read(&RealDisk, path, *zxid, &mut Summing(0)) {
            Ok(_) => return Ok(Some(*zxid)),
            Err(error @ StorageError::BadSnapshot { .. }) => {
                tell(format_args!("{error}; an older snapshot is taken"));
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}

/// Leaves out the snapshots that cannot be read, if others can.
fn drop_damaged(archive: &mut Archive) -> Result<(), ToolError> {
    let mut whole = Vec::new();
    let mut failed = None;
    for (zxid, path) in std::mem::take(&mut archive.snapshots) {
        match snapshot::read(&RealDisk, &path, zxid, &mut Summing(0)) {
            Ok(_) => whole.push((zxid, path)),
            Err(error @ StorageError::BadSnapshot { .. }) => {
                tell(format_args!("{error}; it is left out"));
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    archive.snapshots = whole;
    match failed {
        Some(error) if archive.snapshots.is_empty() => Err(error.into()),
        _ => Ok(()),
    }
}

/// The oldest snapshot from which on nothing is missing in the logs.
fn oldest(archive: &Archive) -> Result<Option<Zxid>, ToolError> {
    let mut failed = None;
    for (zxid, path) in &archive.snapshots {
        let mut reader = archive.reader(*zxid, Zxid(u64::MAX));
        let end = loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match end {
            Ok(()) => return Ok(Some(*zxid)),
            Err(error @ StorageError::Hole { .. }) => {
                tell(format_args!(
                    "{}: is left out, as logs behind it are missing: {error}",
                    path.display()
                ));
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}

/// Where the last whole entry of a log ends; `None` for a file without one, which is just being made.
fn end_of(path: &Path, is_newest: bool) -> Result<Option<u64>, ToolError> {
    let mut file = LogFile::new(opened(path)?, path, is_newest)?;
    let mut end = None;
    while file.next_entry()?.is_some() {
        end = Some(file.offset());
    }
    Ok(end)
}

fn opened(path: &Path) -> Result<File, ToolError> {
    File::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => ToolError::Refused(format!(
            "{}: was removed meanwhile, as a server does with old files; try again",
            path.display()
        )),
        _ => ToolError::Refused(format!("{}: cannot be read: {e}", path.display())),
    })
}

/// Copies a file, or what is before `end`.
fn copy(path: &Path, end: Option<u64>, into: &Path) -> Result<Entry, ToolError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut from = opened(path)?.take(end.unwrap_or(u64::MAX));
    let mut writing = Writing::begin(into.join(&*name))?;
    let total = end.or_else(|| fs::metadata(path).ok().map(|meta| meta.len()));
    let mut progress = Progress::new(name.to_string(), total);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => {
                writing.write(piece.get(..n).unwrap_or_default())?;
                progress.add(n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(ToolError::Refused(format!(
                    "{}: cannot be read: {e}",
                    path.display()
                )));
            }
        }
    }
    writing.finish(&name)
}
