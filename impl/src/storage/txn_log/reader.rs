//! Reading logs: where a file ends, and how that end looks.
//!
//! A file ends at its end, at a length of zero, and at an entry without its last byte 'B'; reading goes on with the
//! next file. An entry that is complete but has a wrong sum, and a length that cannot be, are damage: the server
//! stops. That is how ZooKeeper 3.9 decides, with two exceptions, both for the newest file, where it would refuse to
//! start after an ordinary power loss although nothing acknowledged is missing:
//!
//! - **A sector that never arrived.** The pages of one write reach the disk in any order, so an entry can have its last
//!   byte but a hole of zeros before it. A wrong sum with a whole zero sector inside is a torn entry, not damage.
//! - **A header that never arrived.** A file that is shorter than its header, or all zeros, holds no entry.
//!
//! A crash leaves zeros, or nothing, where bytes did not arrive, so it makes no checksum and no length larger. A checksum of more
//! than 32 bits, and a length that is larger than the bytes that the checksum is of, are damage: ZooKeeper takes such an entry for
//! the end of its file unless the length is above `jute.maxbuffer` and its extra size.
//!
//! An end that looks torn need not be: one bit may have flipped in the middle. Two things tell. Behind the end of the newest
//! file, [`LogReader::entry_behind_end`] looks for an entry that is whole; [`super::super::recovery`] decides, by that and by
//! what it knows to be durable. Between files, zxids are consecutive; where a file begins with a new epoch, its header says
//! what came before, and if it does not (it is ZooKeeper's), nothing whole may lie behind the end of the file before.

use super::super::disk::{Disk, io_error};
use super::super::{Result, StorageError, follows, list_by_zxid};
use super::{
    END_OF_RECORD, ENTRY_HEAD_BYTES, HEADER, HEADER_BYTES, LogEntry, MAGIC_BYTES, PREFIX,
    TXN_HEADER_BYTES, previous_of, zxid_of_payload,
};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::mutants::{Mutant, has};
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

const READ_BYTES: usize = 256 << 10;
const SECTOR_BYTES: u64 = 512;
/// Zeros are passed over in steps of this size.
const SCAN_BYTES: usize = 4096;
const LOST_SECTOR: &str = "an entry with a sector that was never written";

/// An entry that a crash cut off, and with it the rest of its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The log file.
    pub path: PathBuf,
    /// Where the cut-off entry begins.
    pub offset: u64,
    /// How it shows.
    pub what: &'static str,
}

/// One log file, from its first entry on.
#[derive(Debug)]
pub struct LogFile<R> {
    reader: R,
    path: PathBuf,
    newest: bool,
    /// Entries are pieces of it: they are not copied.
    buffer: BytesMut,
    start: usize,
    /// Where in it the payload of the last entry is.
    payload: Range<usize>,
    /// Position in the file of `buffer[start]`.
    offset: u64,
    /// Position of the entry that was given out last, and of what comes behind it.
    entry_at: u64,
    entries_end: u64,
    entries: u64,
    /// What the header says comes before the first entry.
    previous: Option<Zxid>,
    ended: bool,
    torn: Option<TornTail>,
}

impl<R: Read> LogFile<R> {
    /// Reads the header. `newest`: no file follows, so its tail may be what a crash left.
    ///
    /// # Errors
    /// [`StorageError::BadHeader`], [`StorageError::Io`].
    pub fn new(reader: R, path: &Path, newest: bool) -> Result<Self> {
        let mut file = Self {
            reader,
            path: path.to_owned(),
            newest,
            buffer: BytesMut::new(),
            start: 0,
            payload: 0..0,
            offset: 0,
            entry_at: 0,
            entries_end: 0,
            entries: 0,
            previous: None,
            ended: false,
            torn: None,
        };
        file.fill(HEADER_BYTES)?;
        let head = file.ahead();
        let head = head.get(..HEADER_BYTES).unwrap_or(head);
        if head.get(..4) == HEADER.get(..4) && head.len() == HEADER_BYTES {
            file.previous = previous_of(head);
            file.consume(HEADER_BYTES);
            file.entries_end = file.offset;
            return Ok(file);
        }
        let bad = StorageError::BadHeader {
            path: path.to_owned(),
            kind: "transaction log",
            found: head.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let magic = head.get(..MAGIC_BYTES).unwrap_or(head);
        let began = head.len() < HEADER_BYTES && HEADER.starts_with(magic);
        if newest && (began || file.rest_is_zero()?) {
            file.ended = true;
            file.torn = Some(TornTail {
                path: path.to_owned(),
                offset: 0,
                what: "no header, the file was just being created",
            });
            return Ok(file);
        }
        Err(bad)
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Has at least `wanted` bytes ahead, or all that the file has.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        if self.ahead().len() >= wanted {
            return Ok(());
        }
        self.buffer.advance(self.start);
        self.start = 0;
        self.payload = 0..0;
        let mut have = self.buffer.len();
        let target = wanted.max(READ_BYTES);
        while have < wanted {
            if have == self.buffer.len() {
                // Step by step: a length that is damage takes no memory that the file does not fill.
                self.buffer.resize((2 * have).clamp(READ_BYTES, target), 0);
            }
            let place = self.buffer.get_mut(have..).unwrap_or_default();
            match self.reader.read(place) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.buffer.truncate(have);
                    return Err(io_error("read", &self.path, e));
                }
            }
        }
        self.buffer.truncate(have);
        Ok(())
    }

    fn rest_is_zero(&mut self) -> Result<bool> {
        loop {
            if self.ahead().iter().any(|b| *b != 0) {
                return Ok(false);
            }
            let seen = self.ahead().len();
            self.consume(seen);
            self.fill(1)?;
            if self.ahead().is_empty() {
                return Ok(true);
            }
        }
    }

    fn end(&mut self, torn: Option<&'static str>) -> Result<Option<Zxid>> {
        self.ended = true;
        self.torn = torn.map(|what| TornTail {
            path: self.path.clone(),
            offset: self.offset,
            what,
        });
        Ok(None)
    }

    /// An entry is not whole: the end of the file, unless it is its length that is wrong.
    fn cut(&mut self, payload_bytes: usize, sum: u32, torn: &'static str) -> Result<Option<Zxid>> {
        let rest = self.ahead().get(ENTRY_HEAD_BYTES..).unwrap_or_default();
        let rest = rest.get(..payload_bytes).unwrap_or(rest);
        match length_by_sum(rest, sum) {
            Some(bytes) => self.damaged(format!(
                "its length is {payload_bytes}, and its checksum that of {bytes} bytes"
            )),
            None => self.end(Some(torn)),
        }
    }

    fn damaged<T>(&self, what: String) -> Result<T> {
        Err(StorageError::DamagedEntry {
            path: self.path.clone(),
            offset: self.offset,
            what,
        })
    }

    /// The next entry; `None` at the end of this file.
    ///
    /// # Errors
    /// [`StorageError::DamagedEntry`], [`StorageError::Io`].
    pub fn next_entry(&mut self) -> Result<Option<LogEntry>> {
        let zxid = self.advance()?;
        Ok(zxid.map(|zxid| self.take(zxid)))
    }

    /// The payload that [`Self::advance`] has found, as a piece of its own. To be asked for once.
    fn take(&mut self, zxid: Zxid) -> LogEntry {
        let Range { start, end } = std::mem::take(&mut self.payload);
        self.buffer.advance(start);
        let payload = self.buffer.split_to(end - start).freeze();
        self.start -= end;
        LogEntry { zxid, payload }
    }

    /// The same, where it lies.
    fn payload(&self) -> &[u8] {
        self.buffer.get(self.payload.clone()).unwrap_or_default()
    }

    /// As [`Self::next_entry`], without its payload.
    fn advance(&mut self) -> Result<Option<Zxid>> {
        if self.ended {
            return Ok(None);
        }
        self.fill(ENTRY_HEAD_BYTES)?;
        let Some((head, _)) = self.ahead().split_first_chunk::<ENTRY_HEAD_BYTES>() else {
            let cut = self.ahead().iter().any(|b| *b != 0);
            return self.end(cut.then_some("the file ends inside an entry"));
        };
        let [s0, s1, s2, s3, s4, s5, s6, s7, l0, l1, l2, l3] = *head;
        let sum = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let length = i32::from_be_bytes([l0, l1, l2, l3]);
        if length == 0 {
            return self.end((sum != 0).then_some("an entry without a length"));
        }
        let Ok(sum) = u32::try_from(sum) else {
            return self.damaged(format!("its checksum is {sum:#x}, which has too many bits"));
        };
        let Some(payload_bytes) = usize::try_from(length)
            .ok()
            .filter(|n| *n <= PAYLOAD_BYTES_MAX)
        else {
            return self.damaged(format!("its length is {length}"));
        };
        let entry_bytes = ENTRY_HEAD_BYTES + payload_bytes + 1;
        self.fill(entry_bytes)?;
        let Some(entry) = self.ahead().get(..entry_bytes) else {
            return self.cut(payload_bytes, sum, "the file ends inside an entry");
        };
        if entry.last() != Some(&END_OF_RECORD) {
            return self.cut(payload_bytes, sum, "an entry without its last byte");
        }
        let payload = entry
            .get(ENTRY_HEAD_BYTES..entry_bytes - 1)
            .unwrap_or_default();
        if simd_adler32::adler32(&payload) != sum && !has(Mutant::TornEntryTaken) {
            if self.newest && has_lost_sector(entry, self.offset) {
                return self.end(Some(LOST_SECTOR));
            }
            return self.damaged("its checksum is wrong".to_owned());
        }
        let Some(zxid) = zxid_of_payload(payload) else {
            return self.damaged(format!("{payload_bytes} bytes hold no transaction header"));
        };
        let begin = self.start + ENTRY_HEAD_BYTES;
        self.payload = begin..begin + payload_bytes;
        self.entry_at = self.offset;
        self.consume(entry_bytes);
        self.entries_end = self.offset;
        self.entries += 1;
        Ok(Some(zxid))
    }

    /// Where the next entry begins; after the end of the file, where its entries end.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// After the end of this file: the entry that was cut off, if one was.
    #[must_use]
    pub fn torn(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// After the end of this file: where behind it a whole entry above `last` lies, if one does.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn entry_behind_end(&mut self, last: Zxid) -> Result<Option<u64>> {
        loop {
            self.fill(SCAN_BYTES)?;
            let zeros = self.ahead().iter().take_while(|b| **b == 0).count();
            if zeros == self.ahead().len() {
                if zeros == 0 {
                    return Ok(None);
                }
                // The first bytes of an entry may be zeros, too.
                self.consume(zeros.saturating_sub(ENTRY_HEAD_BYTES).max(1));
                continue;
            }
            self.consume(zeros.saturating_sub(ENTRY_HEAD_BYTES));
            for _ in 0..=ENTRY_HEAD_BYTES.min(self.ahead().len() - 1) {
                if self.is_entry_above(last)? {
                    return Ok(Some(self.offset));
                }
                self.consume(1);
            }
        }
    }

    /// Goes on at `offset`, ahead of what was read so far, also behind the end: for whoever looks at a file that a start refuses.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn resume_at(&mut self, offset: u64) -> Result<()> {
        while self.offset < offset {
            self.fill(1)?;
            let ahead = self.ahead().len();
            if ahead == 0 {
                break;
            }
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            self.consume(ahead.min(left));
        }
        self.ended = false;
        self.torn = None;
        Ok(())
    }

    fn is_entry_above(&mut self, last: Zxid) -> Result<bool> {
        self.fill(ENTRY_HEAD_BYTES + TXN_HEADER_BYTES)?;
        let Some((head, rest)) = self.ahead().split_first_chunk::<ENTRY_HEAD_BYTES>() else {
            return Ok(false);
        };
        let [0, 0, 0, 0, s0, s1, s2, s3, l0, l1, l2, l3] = *head else {
            return Ok(false);
        };
        let sum = u32::from_be_bytes([s0, s1, s2, s3]);
        let bytes = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let above = zxid_of_payload(rest).is_some_and(|zxid| zxid > last);
        if !above || !(TXN_HEADER_BYTES..=PAYLOAD_BYTES_MAX).contains(&bytes) {
            return Ok(false);
        }
        self.fill(ENTRY_HEAD_BYTES + bytes + 1)?;
        let payload = self.ahead().get(ENTRY_HEAD_BYTES..ENTRY_HEAD_BYTES + bytes);
        let end = self.ahead().get(ENTRY_HEAD_BYTES + bytes);
        Ok(end == Some(&END_OF_RECORD)
            && payload.is_some_and(|payload| simd_adler32::adler32(&payload) == sum))
    }
}

/// How long a payload at the begin of `bytes` is whose checksum is `sum` and behind which an entry's last byte stands, if one is.
fn length_by_sum(bytes: &[u8], sum: u32) -> Option<usize> {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == END_OF_RECORD && at >= TXN_HEADER_BYTES && b << 16 | a == sum {
            return Some(at);
        }
        a = (a + u32::from(*byte)) % MODULUS;
        b = (b + a) % MODULUS;
    }
    None
}

/// Does a sector's share of an entry read as zeros, where a written entry cannot? `at` is the entry's place in the file.
///
/// The share before the first boundary counts if it ends inside the sum, the shares after it if they are whole sectors:
/// an entry whose last sector is missing has no last byte and never gets here.
fn has_lost_sector(entry: &[u8], at: u64) -> bool {
    let first = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
    let zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    let head_lost = (5..=ENTRY_HEAD_BYTES).contains(&first) && entry.get(..first).is_some_and(zero);
    let inside = entry.get(first..).unwrap_or_default();
    head_lost || inside.chunks_exact(SECTOR_BYTES as usize).any(zero)
}

/// The log files in which the entries behind `after` are, oldest first.
///
/// # Errors
/// [`StorageError::Io`].
pub fn files_behind<D: Disk>(disk: &D, dir: &Path, after: Zxid) -> Result<Vec<(Zxid, PathBuf)>> {
    Ok(needed(list_by_zxid(disk, dir, PREFIX)?, after))
}

fn needed(mut files: Vec<(Zxid, PathBuf)>, after: Zxid) -> Vec<(Zxid, PathBuf)> {
    let first = files.iter().rposition(|(start, _)| *start <= after);
    files.drain(..first.unwrap_or(0));
    files
}

/// The entries behind a zxid, in order, without a hole, over all files.
///
/// It may be used while the log is being written, with [`Self::range`] up to a zxid that is durable.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    disk: D,
    files: VecDeque<(Zxid, PathBuf)>,
    current: Option<LogFile<D::Reader>>,
    start: Zxid,
    last: Zxid,
    upto: Zxid,
    torn: Vec<TornTail>,
    unused: Vec<PathBuf>,
    /// The file that was read to its end last.
    ended: Option<LogFile<D::Reader>>,
}

impl<D: Disk> LogReader<D> {
    /// All entries behind `after`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn behind(disk: &D, dir: &Path, after: Zxid) -> Result<Self> {
        Self::range(disk, dir, after, Zxid(u64::MAX))
    }

    /// The entries with zxids above `after` and up to `upto`. It ends early where the log ends.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn range(disk: &D, dir: &Path, after: Zxid, upto: Zxid) -> Result<Self> {
        let files = list_by_zxid(disk, dir, PREFIX)?;
        Ok(Self::over(disk, files, (after, upto)))
    }

    /// As [`Self::range`], over these files with the zxids of their names, oldest first, wherever they lie.
    #[must_use]
    pub fn over(disk: &D, files: Vec<(Zxid, PathBuf)>, (after, upto): (Zxid, Zxid)) -> Self {
        Self {
            disk: disk.clone(),
            files: needed(files, after).into(),
            current: None,
            start: after,
            last: after,
            upto,
            torn: Vec::new(),
            unused: Vec::new(),
            ended: None,
        }
    }

    /// How long the files are that have not been opened yet.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn bytes(&self) -> Result<u64> {
        self.files.iter().try_fold(0, |bytes, (_, path)| {
            Ok(bytes + self.disk.len(path)?.unwrap_or(0))
        })
    }

    /// The next entry, or `None` when there are no more.
    ///
    /// # Errors
    /// [`StorageError::Hole`] if transactions are missing before it; all errors of [`LogFile`].
    pub fn next_entry(&mut self) -> Result<Option<LogEntry>> {
        let zxid = self.advance()?;
        let entry = |zxid| Some(self.current.as_mut()?.take(zxid));
        Ok(zxid.and_then(entry))
    }

    /// The payload of the entry that [`Self::advance`] has found.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], LogFile::payload)
    }

    /// As [`Self::next_entry`], with its payload left where it was read: [`Self::payload`] shows it until the next entry.
    ///
    /// # Errors
    /// As of [`Self::next_entry`].
    pub fn advance(&mut self) -> Result<Option<Zxid>> {
        if self.last >= self.upto {
            return Ok(None);
        }
        loop {
            let Some(file) = &mut self.current else {
                let Some((_, path)) = self.files.pop_front() else {
                    return Ok(None);
                };
                let newest = self.files.is_empty();
                self.current = Some(LogFile::new(self.disk.read(&path)?, &path, newest)?);
                continue;
            };
            let Some(zxid) = file.advance()? else {
                if let Some(torn) = file.torn() {
                    self.torn.push(torn.clone());
                }
                if file.entries == 0 {
                    self.unused.push(file.path.clone());
                }
                self.ended = self.current.take();
                continue;
            };
            if zxid <= self.start {
                continue;
            }
            let begins = file.entries == 1;
            if begins {
                file.previous = file.previous.filter(|p| follows(*p, zxid));
            }
            let chained = begins && file.previous.is_some();
            if !follows(self.last, zxid) || (chained && file.previous > Some(self.last)) {
                return Err(StorageError::Hole {
                    path: file.path.clone(),
                    after: self.last,
                    found: zxid,
                });
            }
            if begins
                && !chained
                && zxid.epoch() > self.last.epoch()
                && let Some((path, offset, behind)) = self.entry_behind_end()?
            {
                return Err(StorageError::DamagedEntry {
                    path,
                    offset,
                    what: format!(
                        "it cannot be read, and behind it, at byte {behind}, is another one"
                    ),
                });
            }
            if zxid > self.upto {
                return Ok(None);
            }
            self.last = zxid;
            return Ok(Some(zxid));
        }
    }

    /// The zxid of the last entry that was given out, or the start.
    #[must_use]
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// The file that the last entry came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.current
            .as_ref()
            .map_or(Path::new(""), |file| &file.path)
    }

    /// Where in that file the last entry begins.
    #[must_use]
    pub fn entry_at(&self) -> u64 {
        self.current.as_ref().map_or(0, |file| file.entry_at)
    }

    /// Where in that file the last entry ends.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.current.as_ref().map_or(0, LogFile::offset)
    }

    /// The file that was read to its end last, where its entries end, and how that looks if not in order.
    #[must_use]
    pub fn end(&self) -> Option<(&Path, u64, Option<&'static str>)> {
        let file = self.ended.as_ref()?;
        let torn = file.torn();
        Some((&file.path, file.entries_end, torn.map(|torn| torn.what)))
    }

    /// Whether a server of this kind wrote that file; false if it is not known.
    #[must_use]
    pub fn end_is_ours(&self) -> bool {
        let file = self.ended.as_ref();
        file.is_some_and(|file| file.previous.is_some())
    }

    /// Behind the end of that file: the path, where its entries end, and where a whole entry above all before lies.
    /// Asked once, the answer is `None` later.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn entry_behind_end(&mut self) -> Result<Option<(PathBuf, u64, u64)>> {
        let Some(mut file) = self.ended.take() else {
            return Ok(None);
        };
        let end = file.entries_end;
        let behind = file.entry_behind_end(self.last)?;
        Ok(behind.map(|behind| (file.path, end, behind)))
    }

    /// Entries cut off in the files read to their end so far.
    #[must_use]
    pub fn torn(&self) -> &[TornTail] {
        &self.torn
    }

    /// Files without any entry among those read so far.
    #[must_use]
    pub fn without_entries(&self) -> &[PathBuf] {
        &self.unused
    }
}

#[cfg(test)]
mod tests;
