//! One log file from its first byte to its last, also where a start would refuse it.

use super::error::ToolError;
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::storage::disk::{Disk, RealDisk, parent_of};
use crate::storage::txn_log::reader::LogFile;
use crate::storage::txn_log::{
    END_OF_RECORD, ENTRY_HEAD_BYTES, HEADER_BYTES, LogEntry, PREFIX, TXN_HEADER_BYTES,
    zxid_of_payload,
};
use crate::storage::{Result, StorageError, list_by_zxid, zxid_of_name};
use bytes::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole entry.
    Entry {
        /// Its place in the file.
        offset: u64,
        entry: LogEntry,
    },
    Damage(Damage),
    /// No entry comes behind this.
    End {
        offset: u64,
        /// How it looks, if not as ZooKeeper leaves it: an entry that a crash has cut off.
        torn: Option<&'static str>,
    },
}

/// An entry that was written whole and has changed since.
#[derive(Debug)]
pub(super) struct Damage {
    /// Its place in the file.
    pub(super) offset: u64,
    pub(super) what: String,
    /// What is left of it, where its end and its zxid are still to be seen.
    pub(super) left: Option<Left>,
    /// Where the file can be read again.
    pub(super) next: Option<u64>,
}

/// The bytes of a damaged entry.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) zxid: Zxid,
    pub(super) payload: Bytes,
    /// The checksum that stands before it.
    pub(super) sum: u64,
}

impl Left {
    /// Whether they are what the checksum was made of: then only the length before them is wrong.
    pub(super) fn is_certain(&self) -> bool {
        u64::from(simd_adler32::adler32(&&self.payload[..])) == self.sum
    }
}

/// Reads a file, and goes on behind what is damaged.
pub(super) struct Walk {
    file: LogFile<File>,
    path: PathBuf,
    /// The zxid of the last entry that was met.
    last: Zxid,
    /// The rest of the file cannot be read.
    lost: Option<u64>,
}

impl Walk {
    /// # Errors
    /// [`StorageError::BadHeader`], [`StorageError::Io`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let reader = RealDisk.read(path)?;
        Ok(Self {
            file: LogFile::new(reader, path, is_newest(path))?,
            path: path.to_owned(),
            last: Zxid::ZERO,
            lost: None,
        })
    }

    /// # Errors
    /// [`StorageError::Io`].
    pub(super) fn next(&mut self) -> Result<Found> {
        if let Some(offset) = self.lost {
            return Ok(Found::End { offset, torn: None });
        }
        let offset = self.file.offset();
        match self.file.next_entry() {
            Ok(Some(entry)) => {
                self.last = self.last.max(entry.zxid);
                Ok(Found::Entry { offset, entry })
            }
            Ok(None) => self.end(),
            Err(StorageError::DamagedEntry { offset, what, .. }) => {
                self.damage(offset, what).map(Found::Damage)
            }
            Err(error) => Err(error),
        }
    }

    fn end(&mut self) -> Result<Found> {
        let torn = self.file.torn().map(|torn| torn.what);
        let offset = self
            .file
            .torn()
            .map_or(self.file.offset(), |torn| torn.offset);
        match self.file.entry_behind_end(self.last)? {
            None => {
                self.lost = Some(offset);
                Ok(Found::End { offset, torn })
            }
            Some(next) => {
                self.file.resume_at(next)?;
                let what = torn.unwrap_or("zeros in place of an entry").to_owned();
                let left = self.left_before(offset, next)?;
                Ok(Found::Damage(Damage {
                    offset,
                    what,
                    left,
                    next: Some(next),
                }))
            }
        }
    }

    fn damage(&mut self, offset: u64, what: String) -> Result<Damage> {
        if let Some((left, next)) = self.left_at(offset)? {
            self.file.resume_at(next)?;
            self.last = self.last.max(left.zxid);
            return Ok(Damage {
                offset,
                what,
                left: Some(left),
                next: Some(next),
            });
        }
        let next = self.file.entry_behind_end(self.last)?;
        let left = match next {
            Some(next) => {
                self.file.resume_at(next)?;
                self.left_before(offset, next)?
            }
            None => {
                self.lost = Some(offset);
                None
            }
        };
        Ok(Damage {
            offset,
            what,
            left,
            next,
        })
    }

    /// The entry at `offset`, by its length, if its last byte is where that says; and where the next one begins.
    fn left_at(&self, offset: u64) -> Result<Option<(Left, u64)>> {
        let head = RealDisk.read_at(&self.path, offset, ENTRY_HEAD_BYTES)?;
        let Some((sum, length)) = head.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let bytes = length.try_into().map_or(0, u32::from_be_bytes) as usize;
        let left = self.left_of(offset, u64::from_be_bytes(*sum), bytes)?;
        let behind = offset + (ENTRY_HEAD_BYTES + bytes + 1) as u64;
        Ok(left.map(|left| (left, behind)))
    }

    /// The entry between `offset` and a whole one at `next`, if it fills the place.
    fn left_before(&self, offset: u64, next: u64) -> Result<Option<Left>> {
        let head = RealDisk.read_at(&self.path, offset, 8)?;
        let Ok(sum) = head.try_into().map(u64::from_be_bytes) else {
            return Ok(None);
        };
        let bytes = (next - offset).saturating_sub(ENTRY_HEAD_BYTES as u64 + 1);
        let left = self.left_of(offset, sum, usize::try_from(bytes).unwrap_or(usize::MAX))?;
        // Several entries may fill it as well.
        Ok(left.filter(Left::is_certain))
    }

    fn left_of(&self, offset: u64, sum: u64, bytes: usize) -> Result<Option<Left>> {
        if !(TXN_HEADER_BYTES..=PAYLOAD_BYTES_MAX).contains(&bytes) {
            return Ok(None);
        }
        let at = offset + ENTRY_HEAD_BYTES as u64;
        let mut payload = RealDisk.read_at(&self.path, at, bytes + 1)?;
        if payload.len() != bytes + 1 || payload.pop() != Some(END_OF_RECORD) {
            return Ok(None);
        }
        let zxid = zxid_of_payload(&payload).filter(|zxid| *zxid > self.last);
        let payload = Bytes::from(payload);
        Ok(zxid.map(|zxid| Left { zxid, payload, sum }))
    }
}

/// Where a file is damaged, how, and what becomes of the rest of it.
pub(super) fn told(path: &Path, damage: &Damage) -> String {
    let rest = match (&damage.left, damage.next) {
        (Some(_), _) => "the entry's bytes are there".to_owned(),
        (None, Some(next)) => format!("the file can be read again from byte {next} on"),
        (None, None) => "nothing behind it can be read".to_owned(),
    };
    format!(
        "{}: byte {}: {}; {rest}",
        path.display(),
        damage.offset,
        damage.what
    )
}

/// Whether no log file behind this one is in its directory: then its end may be what a crash has left.
fn is_newest(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(zxid) = name.and_then(|name| zxid_of_name(name, PREFIX)) else {
        return true;
    };
    list_by_zxid(&RealDisk, parent_of(path), PREFIX)
        .is_ok_and(|all| all.last().is_none_or(|(last, _)| *last <= zxid))
}

/// The header of a log file.
///
/// # Errors
/// [`StorageError::Io`].
pub(super) fn header(path: &Path) -> Result<Vec<u8>> {
    RealDisk.read_at(path, 0, HEADER_BYTES)
}

/// The log files that arguments name: files as they are, and of a directory, or of the `version-2` in it, all in order.
///
/// # Errors
/// [`ToolError::Refused`], where there is none; [`ToolError::Data`].
pub(super) fn files(named: &[PathBuf]) -> std::result::Result<Vec<PathBuf>, ToolError> {
    let mut all = Vec::new();
    for path in named {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let below = path.join("version-2");
        let dir = if below.is_dir() { &below } else { path };
        let files = list_by_zxid(&RealDisk, dir, PREFIX)?;
        if files.is_empty() {
            return Err(ToolError::Refused(format!(
                "{}: no transaction logs are here; they are the files log.ZXID in version-2 of dataLogDir, or of dataDir",
                dir.display()
            )));
        }
        all.extend(files.into_iter().map(|(_, path)| path));
    }
    Ok(all)
}
