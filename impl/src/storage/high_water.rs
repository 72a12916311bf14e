//! `zabra.durable`: how far this server's history is known to be on the disk.
//!
//! A checksum cannot tell an entry that a crash cut off from one that broke later. This file can: transactions up to the
//! zxid in it were synced, so a log that ends below it is damaged, whatever its end looks like. What is behind it may never
//! have reached the disk, even if it reads well: a boot writes it anew ([`super::recovery`]).
//!
//! ```text
//! zabra durable 1 <zxid, 16 hex digits> accepted <epoch, 8> sum <Adler-32 of all before " sum", 8>\n
//! ```
//! It lies beside the logs, and ZooKeeper passes it over. A lower zxid than the true one is always safe, so it is written
//! after the sync that it tells of, behind the acknowledgement, and synced itself now and then. Before the history
//! becomes shorter it is lowered, durably. The accepted epoch tells whether ZooKeeper has run on the directory in between and
//! may have cut the log: it then has joined a later epoch than the one here, and the mark counts for nothing.

use super::disk::{Disk, DiskFile};
use super::{Dirs, Result, epochs};
use crate::codes::Code;
use std::path::PathBuf;
use std::time::Duration;
use zabra_model::ids::{Epoch, Zxid};

/// File name, in the directory of the logs.
pub const NAME: &str = "zabra.durable";
/// The file is written this long after the sync that it tells of, at the latest, and not more often.
const WRITE_EVERY: Duration = Duration::from_millis(10);
/// And synced this often: after a loss of power it tells of the second before the last at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Everything up to here was synced.
    pub durable: Zxid,
    /// No smaller than `acceptedEpoch` while this server has the directory.
    pub accepted: Epoch,
}

/// What was found in the place of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No file: a new directory, or ZooKeeper's.
    Nothing,
    /// Something else than a mark.
    Unreadable,
    /// A mark of ours, but another server has had the directory since.
    Outdated(Mark),
    /// A mark that counts.
    Valid(Mark),
}

impl Found {
    /// Everything up to here was synced; zero if nothing is known.
    #[must_use]
    pub const fn durable(self) -> Zxid {
        match self {
            Self::Valid(mark) => mark.durable,
            Self::Nothing | Self::Unreadable | Self::Outdated(_) => Zxid::ZERO,
        }
    }
}

/// Where the file is.
#[must_use]
pub fn path_of(dirs: &Dirs) -> PathBuf {
    dirs.log.join(NAME)
}

fn text_of(mark: Mark) -> String {
    let said = format!(
        "zabra durable 1 {:016x} accepted {:08x}",
        mark.durable.0, mark.accepted.0
    );
    let sum = simd_adler32::adler32(&said.as_bytes());
    format!("{said} sum {sum:08x}\n")
}

fn parse(content: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(content).ok()?;
    let mut words = text.split_ascii_whitespace().skip(3);
    let durable = Zxid(u64::from_str_radix(words.next()?, 16).ok()?);
    let accepted = Epoch(u32::from_str_radix(words.nth(1)?, 16).ok()?);
    let mark = Mark { durable, accepted };
    (text_of(mark) == text).then_some(mark)
}

/// Reads the file.
///
/// # Errors
/// [`super::StorageError::Io`], [`super::StorageError::BadEpoch`].
pub fn read<D: Disk>(disk: &D, dirs: &Dirs) -> Result<Found> {
    let Some(content) = disk.read_small(&path_of(dirs))? else {
        return Ok(Found::Nothing);
    };
    let Some(mark) = parse(&content) else {
        return Ok(Found::Unreadable);
    };
    let accepted = epochs::accepted(disk, dirs)?;
    if accepted.is_some_and(|accepted| accepted > mark.accepted) {
        return Ok(Found::Outdated(mark));
    }
    Ok(Found::Valid(mark))
}

/// Makes the file say this, durably.
///
/// # Errors
/// [`super::StorageError::Io`].
pub fn write<D: Disk>(disk: &D, dirs: &Dirs, mark: Mark) -> Result<()> {
    let path = path_of(dirs);
    let text = text_of(mark);
    // In its place: whoever writes has it open, and it needs no room. One sector is written whole or not at all.
    if disk.len(&path)? == Some(text.len() as u64) {
        let mut file = disk.open(&path)?;
        file.write_at(0, text.as_bytes())?;
        file.sync()
    } else {
        disk.replace_small(&path, text.as_bytes())
    }
}

/// The history is about to end at `after` or below: makes the file say no more than that, durably.
///
/// # Errors
/// Those of [`read`] and [`write()`].
pub fn lower<D: Disk>(disk: &D, dirs: &Dirs, after: Zxid) -> Result<()> {
    match read(disk, dirs)? {
        Found::Valid(mark) | Found::Outdated(mark) if mark.durable > after => {
            let durable = after;
            write(disk, dirs, Mark { durable, ..mark })
        }
        Found::Valid(_) | Found::Outdated(_) | Found::Nothing | Found::Unreadable => Ok(()),
    }
}

/// The disk worker's hand on the file. Without a file at its start it does nothing: a boot makes one.
///
/// `now` is a time that only rises, counted from anywhere, and each call has one: nothing in here asks a clock.
#[derive(Debug)]
pub(super) struct Keeper<D: Disk> {
    file: Option<D::File>,
    mark: Mark,
    /// What the file says, synced or not.
    written: Mark,
    written_at: Duration,
    /// The file says more than is synced of it, since then.
    unsynced: bool,
    unsynced_since: Duration,
}

/// What a [`Keeper`] has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owes {
    Write,
    Sync,
}

impl<D: Disk> Keeper<D> {
    /// Takes over the file that the boot has left.
    pub(super) fn new(disk: &D, dirs: &Dirs, now: Duration) -> Self {
        let mut keeper = Self {
            file: None,
            mark: Mark {
                durable: Zxid::ZERO,
                accepted: Epoch(0),
            },
            written: Mark {
                durable: Zxid::ZERO,
                accepted: Epoch(0),
            },
            written_at: now,
            unsynced: false,
            unsynced_since: now,
        };
        if let Ok(Found::Valid(mark)) = read(disk, dirs) {
            keeper.file = disk.open(&path_of(dirs)).ok();
            (keeper.mark, keeper.written) = (mark, mark);
        }
        keeper
    }

    /// Everything up to `last` is synced. Writes now and then only, or every batch would pay for it.
    ///
    /// # Errors
    /// [`super::StorageError::Io`] of a failed sync, as for all of these.
    pub(super) fn note(&mut self, last: Zxid, now: Duration) -> Result<()> {
        self.mark.durable = last;
        self.settle(now)
    }

    /// Does what is due by now.
    pub(super) fn settle(&mut self, now: Duration) -> Result<()> {
        match self.due(now) {
            Some((Duration::ZERO, Owes::Sync)) => self.sync(now),
            Some((Duration::ZERO, Owes::Write)) => {
                self.write(now);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What is to be done next, and how long it may still wait.
    fn due(&self, now: Duration) -> Option<(Duration, Owes)> {
        self.file.as_ref()?;
        let (write, sync) = (self.mark != self.written, self.unsynced);
        if !write && !sync {
            return None;
        }
        let left = |since: Duration, every: Duration| (since + every).saturating_sub(now);
        let to_sync = left(self.unsynced_since, SYNC_EVERY);
        if sync && to_sync.is_zero() || !write {
            return Some((to_sync, Owes::Sync));
        }
        Some((left(self.written_at, WRITE_EVERY), Owes::Write))
    }

    /// How long [`Self::settle`] may wait while no batch comes; `None`: for ever.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        self.due(now).map(|(rest, _)| rest)
    }

    /// `acceptedEpoch` is about to become this.
    pub(super) fn accept(&mut self, epoch: Epoch, now: Duration) -> Result<()> {
        if epoch > self.mark.accepted {
            self.mark.accepted = epoch;
            self.sync(now)?;
        }
        Ok(())
    }

    /// The history is about to end at `after` or below.
    pub(super) fn lower(&mut self, after: Zxid, now: Duration) -> Result<()> {
        if self.mark.durable > after {
            self.mark.durable = after;
            self.sync(now)?;
        }
        Ok(())
    }

    fn write(&mut self, now: Duration) {
        let Some(file) = self.file.as_mut().filter(|_| self.mark != self.written) else {
            return;
        };
        match file.write_at(0, text_of(self.mark).as_bytes()) {
            Ok(()) => {
                self.written = self.mark;
                self.written_at = now;
                if !self.unsynced {
                    (self.unsynced, self.unsynced_since) = (true, self.written_at);
                }
            }
            Err(error) => self.give_up(&error),
        }
    }

    /// Makes the file say what is known, durably.
    pub(super) fn sync(&mut self, now: Duration) -> Result<()> {
        self.write(now);
        if let Some(file) = self.file.as_mut().filter(|_| self.unsynced) {
            file.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// A mark that cannot be written stays behind, which is safe, so the server goes on. Who needs it lowered will hear of the failure.
    fn give_up(&mut self, error: &super::StorageError) {
        tracing::warn!(
            code = %Code::HighWaterNotWritten,
            "{error}; until the next start, a damage in the log is told apart from a torn end only up to zxid {}",
            self.written.durable
        );
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::RecordingDisk;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_mark_reads_back_and_a_changed_one_is_none() {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("l"));
        assert_eq!(read(&disk, &dirs).unwrap(), Found::Nothing);
        let mark = Mark {
            durable: Zxid((7 << 32) + 9),
            accepted: Epoch(7),
        };
        write(&disk, &dirs, mark).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap(), Found::Valid(mark));
        lower(&disk, &dirs, Zxid(5)).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap().durable(), Zxid(5));
        lower(&disk, &dirs, Zxid(6)).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap().durable(), Zxid(5));
        let good = disk.files().remove(&path_of(&dirs)).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                disk.put(&path_of(&dirs), &bytes);
                assert_eq!(read(&disk, &dirs).unwrap(), Found::Unreadable, "{at} {bit}");
            }
            disk.put(&path_of(&dirs), &good[..at]);
            assert_eq!(read(&disk, &dirs).unwrap(), Found::Unreadable, "{at}");
        }
    }

    #[test]
    fn a_mark_counts_for_nothing_when_another_server_has_accepted_a_later_epoch() {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("l"));
        let mark = Mark {
            durable: Zxid(9),
            accepted: Epoch(3),
        };
        write(&disk, &dirs, mark).unwrap();
        epochs::write_accepted(&disk, &dirs, Epoch(3)).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap(), Found::Valid(mark));
        epochs::write_accepted(&disk, &dirs, Epoch(4)).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap(), Found::Outdated(mark));
        assert_eq!(read(&disk, &dirs).unwrap().durable(), Zxid::ZERO);
    }
}
