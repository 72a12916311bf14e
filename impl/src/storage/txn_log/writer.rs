//! Writing logs: entries are gathered, then written once and synced once (group commit).
//!
//! A file is extended by writing zeros ahead of the entries, because a sync of overwritten bytes need not also sync the
//! file's length: half the time on the machines we measured. The zeros come in small steps, one long write would stall
//! everything behind it.

use super::super::disk::{Disk, DiskFile, io_error};
use super::super::{Result, StorageError, follows};
use super::{HEADER_BYTES, PREFIX, TXN_HEADER_BYTES, encode_entry, header_behind};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::mutants::{Mutant, has};
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// Zeros written at once when a file is extended.
const EXTEND_BYTES_MAX: u64 = 1 << 20;
/// A file is extended when fewer bytes than this are left (ZooKeeper's margin).
const MARGIN_BYTES: u64 = 4096;
/// Entries gathered before they are handed to the system, synced or not: bounds the buffer.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// When files are extended and when new ones are begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// `zookeeper.preAllocSize` in bytes; 0 switches it off. Steps are never above 1 MiB.
    pub prealloc_bytes: u64,
    /// A new file after this many transactions (`snapCount`). The host usually rolls itself, with each snapshot.
    pub file_txns_max: u64,
    /// A new file beyond this size (`txnLogSizeLimitInKb`).
    pub file_bytes_max: u64,
    /// Entries of one sync at most (`maxBatchSize`): see [`TxnLog::wants_sync`].
    pub batch_txns_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            prealloc_bytes: 64 << 20,
            file_txns_max: 100_000,
            file_bytes_max: u64::MAX,
            batch_txns_max: usize::MAX,
        }
    }
}

#[derive(Debug)]
struct OpenLog<F> {
    file: F,
    /// Where `pending` goes.
    written: u64,
    /// Zeros are written up to here.
    allocated: u64,
    txns: u64,
}

/// The end of the log. Entries are durable after [`TxnLog::sync`], not before.
///
/// After a start or a truncation the next entry begins a new file, so a torn tail is never written over.
#[derive(Debug)]
pub struct TxnLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    options: LogOptions,
    open: Option<OpenLog<D::File>>,
    pending: Vec<u8>,
    zeros: Vec<u8>,
    unsynced: bool,
    /// Entries that are not synced.
    unsynced_txns: usize,
    last: Zxid,
    poisoned: bool,
}

impl<D: Disk> TxnLog<D> {
    /// Continues behind `last`, the last zxid of the recovered history.
    #[must_use]
    pub fn new(disk: D, dir: PathBuf, options: LogOptions, last: Zxid) -> Self {
        Self {
            disk,
            dir,
            options,
            open: None,
            pending: Vec::new(),
            zeros: Vec::new(),
            unsynced: false,
            unsynced_txns: 0,
            last,
            poisoned: false,
        }
    }

    /// Gathers one entry. The file may be written to, but nothing is durable yet.
    ///
    /// # Errors
    /// [`StorageError::AppendOutOfOrder`] if `zxid` does not follow [`Self::last`], [`StorageError::PayloadSize`],
    /// [`StorageError::Poisoned`], [`StorageError::Io`]. After one that [`StorageError::is_no_room`] the entry is not gathered,
    /// and may be given again.
    pub fn append(&mut self, zxid: Zxid, payload: &[u8]) -> Result<()> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        if !follows(self.last, zxid) {
            return Err(StorageError::AppendOutOfOrder {
                last: self.last,
                zxid,
            });
        }
        if payload.len() < TXN_HEADER_BYTES || payload.len() > PAYLOAD_BYTES_MAX {
            return Err(StorageError::PayloadSize {
                zxid,
                bytes: payload.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        let full = self.open.as_ref().is_some_and(|open| {
            open.txns >= self.options.file_txns_max
                || open.written + self.pending.len() as u64 >= self.options.file_bytes_max
        });
        if full {
            self.roll()?;
        }
        if self.open.is_none() {
            let result = self.begin_file(zxid);
            self.poison_unless(result)?;
        }
        if self.pending.len() >= BUFFER_BYTES_MAX {
            let result = self.write_pending();
            self.poison_unless(result)?;
        }
        encode_entry(payload, &mut self.pending);
        self.last = zxid;
        self.unsynced_txns += 1;
        if let Some(open) = &mut self.open {
            open.txns += 1;
        }
        Ok(())
    }

    /// Makes all gathered entries durable: one write, one fdatasync; nothing if there are none.
    ///
    /// # Errors
    /// [`StorageError::Io`]: then it is unknown what is durable, and the log takes nothing more. Only one that
    /// [`StorageError::is_no_room`] has changed nothing: the entries are still gathered, and may be synced later.
    pub fn sync(&mut self) -> Result<()> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let result = self.write_pending().and_then(|()| match &mut self.open {
            Some(open) if self.unsynced => {
                let synced = open.file.sync();
                if !has(Mutant::SyncErrorIgnored) {
                    synced?;
                }
                self.unsynced = false;
                self.unsynced_txns = 0;
                Ok(())
            }
            _ => Ok(()),
        });
        self.poison_unless(result)
    }

    /// Ends this file durably; the next entry begins another one.
    ///
    /// # Errors
    /// Those of [`Self::sync`].
    pub fn roll(&mut self) -> Result<()> {
        self.sync()?;
        self.open = None;
        Ok(())
    }

    /// After the files were changed from outside (truncation, full copy): the history now ends at `last`.
    pub fn restart_behind(&mut self, last: Zxid) {
        self.open = None;
        self.pending.clear();
        self.unsynced = false;
        self.unsynced_txns = 0;
        self.last = last;
    }

    /// Whether as many entries wait for a sync as one may make durable.
    #[must_use]
    pub const fn wants_sync(&self) -> bool {
        self.unsynced_txns >= self.options.batch_txns_max
    }

    /// The last zxid gathered.
    #[must_use]
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// Where the files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn poison_unless(&mut self, result: Result<()>) -> Result<()> {
        self.poisoned |= result.as_ref().is_err_and(|e| !e.is_no_room());
        result
    }

    fn begin_file(&mut self, first: Zxid) -> Result<()> {
        let path = self.dir.join(format!("{PREFIX}.{:x}", first.0));
        if self.disk.len(&path)?.is_some() {
            // Recovery moves files without entries away, so this one holds entries: never write over them.
            let exists = std::io::ErrorKind::AlreadyExists;
            return Err(io_error("create", &path, exists.into()));
        }
        let begun = self.disk.create(&path).and_then(|mut file| {
            let step = self.options.prealloc_bytes.min(EXTEND_BYTES_MAX) as usize;
            let mut head = header_behind(self.last).to_vec();
            head.resize(HEADER_BYTES + step, 0);
            file.write_at(0, &head)?;
            Ok((file, head.len() as u64))
        });
        let (file, allocated) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                // The name is free for the next try, and the room for whatever else waits for it.
                if e.is_no_room() && self.disk.len(&path)?.is_some() {
                    self.disk.remove(&path)?;
                }
                return Err(e);
            }
        };
        let mut open = OpenLog {
            file,
            written: HEADER_BYTES as u64,
            allocated,
            txns: 0,
        };
        // The header is durable before any entry: a file without one surely has none.
        open.file.sync()?;
        if !has(Mutant::LogNameNotSynced) {
            self.disk.sync_dir(&self.dir)?;
        }
        self.open = Some(open);
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        let Some(open) = self.open.as_mut().filter(|_| !self.pending.is_empty()) else {
            return Ok(());
        };
        let end = open.written + self.pending.len() as u64;
        let step = self.options.prealloc_bytes.min(EXTEND_BYTES_MAX);
        if step > 0 && end + MARGIN_BYTES > open.allocated {
            self.zeros.resize(step as usize, 0);
            let from = open.allocated.max(end);
            match open.file.write_at(from, &self.zeros) {
                Ok(()) => open.allocated = from + step,
                // Only a convenience: the room that there is goes to the entries.
                Err(e) if e.is_no_room() => {
                    // Entries may already lie beyond the zeros.
                    open.allocated = open.allocated.max(open.written);
                    open.file.set_len(open.allocated)?;
                }
                Err(e) => return Err(e),
            }
        }
        if let Err(e) = open.file.write_at(open.written, &self.pending) {
            if e.is_no_room() {
                // A part of it may be there. Nobody has been told of it, and the next try begins at the same place.
                open.file.set_len(open.written)?;
                open.allocated = open.written;
            }
            return Err(e);
        }
        open.written = end;
        self.unsynced = true;
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::recording::{Loss, RecordingDisk};
    use super::super::reader::LogReader;
    use super::*;

    fn payload(zxid: u64, bytes: usize) -> Vec<u8> {
        let mut payload = vec![9; bytes];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        payload
    }

    fn log(disk: &RecordingDisk, options: LogOptions) -> TxnLog<RecordingDisk> {
        TxnLog::new(disk.clone(), PathBuf::from("d"), options, Zxid::ZERO)
    }

    fn count(disk: &RecordingDisk) -> u64 {
        let mut reader = LogReader::behind(disk, Path::new("d"), Zxid::ZERO).unwrap();
        while reader.next_entry().unwrap().is_some() {}
        reader.last().0
    }

    #[test]
    fn a_file_ends_with_its_size() {
        let disk = RecordingDisk::default();
        let options = LogOptions {
            prealloc_bytes: 0,
            file_bytes_max: 1000,
            ..LogOptions::default()
        };
        let mut log = log(&disk, options);
        for zxid in 1..=9 {
            log.append(Zxid(zxid), &payload(zxid, 300)).unwrap();
            log.sync().unwrap();
        }
        let mut names = disk.list(Path::new("d")).unwrap();
        names.sort();
        assert_eq!(names, ["log.1", "log.5", "log.9"]);
        assert_eq!(count(&disk), 9);
    }

    #[test]
    fn what_was_synced_survives_every_later_crash() {
        let disk = RecordingDisk::default();
        let options = LogOptions {
            prealloc_bytes: 600,
            file_txns_max: 4,
            ..LogOptions::default()
        };
        let mut log = log(&disk, options);
        let mut synced = vec![(0, 0)];
        for zxid in 1..=20 {
            log.append(Zxid(zxid), &payload(zxid, 40 + 31 * zxid as usize))
                .unwrap();
            if zxid % 3 == 0 {
                log.sync().unwrap();
                synced.push((disk.operations(), zxid));
            }
        }
        for n in 0..=disk.operations() {
            let least = synced.iter().rfind(|(at, _)| *at <= n).unwrap().1;
            for loss in Loss::ALL {
                let got = count(&disk.crashed(n, loss));
                assert!(got >= least, "{n} {loss:?}: {got} < {least}");
            }
        }
        assert_eq!(log.last(), Zxid(20));
        assert!(disk.files().len() == 5, "{:?}", disk.files().keys());
    }

    #[test]
    fn a_batch_is_one_write_and_one_sync() {
        let disk = RecordingDisk::default();
        let mut log = log(&disk, LogOptions::default());
        log.append(Zxid(1), &payload(1, 40)).unwrap();
        log.sync().unwrap();
        let before = disk.operations();
        for zxid in 2..50 {
            log.append(Zxid(zxid), &payload(zxid, 100)).unwrap();
        }
        log.sync().unwrap();
        assert_eq!(disk.operations() - before, 2);
        log.sync().unwrap();
        assert_eq!(disk.operations() - before, 2);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_taken() {
        let disk = RecordingDisk::default();
        let mut log = log(&disk, LogOptions::default());
        log.append(Zxid(1), &payload(1, 40)).unwrap();
        disk.fail_after(1);
        assert!(matches!(
            log.sync(),
            Err(StorageError::Io {
                op: "fdatasync",
                ..
            })
        ));
        disk.fail_after(100);
        assert!(matches!(log.sync(), Err(StorageError::Poisoned)));
        assert!(matches!(
            log.append(Zxid(2), &payload(2, 40)),
            Err(StorageError::Poisoned)
        ));
    }

    /// C-10: whatever finds no room first, what was synced stays, and the rest is logged when there is room.
    #[test]
    fn c_10_without_room_nothing_is_lost_and_nothing_is_logged_twice() {
        let options = LogOptions {
            prealloc_bytes: 600,
            file_txns_max: 4,
            ..LogOptions::default()
        };
        let mut times_full = 0;
        for n in 0..24 {
            let disk = RecordingDisk::default();
            disk.fill_after(n);
            let mut log = log(&disk, options);
            let mut synced = 0;
            let mut retry = |work: &mut dyn FnMut() -> Result<()>, synced: u64| {
                while let Err(e) = work() {
                    assert!(e.is_no_room(), "{e}");
                    times_full += 1;
                    for loss in Loss::ALL {
                        let image = disk.crashed(disk.operations(), loss);
                        assert!(count(&image) >= synced, "full after {n}, {loss:?}");
                    }
                    disk.make_room();
                }
            };
            for zxid in 1..=12 {
                let payload = payload(zxid, 40 + 31 * zxid as usize);
                retry(&mut || log.append(Zxid(zxid), &payload), synced);
                if zxid % 3 == 0 {
                    retry(&mut || log.sync(), synced);
                    synced = zxid;
                }
            }
            assert_eq!(count(&disk.crashed(disk.operations(), Loss::Both)), 12);
        }
        assert!(times_full > 12, "{times_full}");
    }

    /// C-10: room for entries, though not for zeros ahead of them, is used to the end, and what is in it stays.
    #[test]
    fn c_10_the_last_room_is_used_for_entries() {
        for prealloc_bytes in [0, 600, 5000] {
            let disk = RecordingDisk::default();
            disk.limit_bytes(20_000);
            let options = LogOptions {
                prealloc_bytes,
                ..LogOptions::default()
            };
            let mut log = log(&disk, options);
            let mut synced = 0;
            let end = loop {
                let zxid = synced + 1;
                let payload = payload(zxid, 300);
                if let Err(e) = log.append(Zxid(zxid), &payload).and_then(|()| log.sync()) {
                    break e;
                }
                synced = zxid;
                for loss in Loss::ALL {
                    assert_eq!(count(&disk.crashed(disk.operations(), loss)), synced);
                }
            };
            assert!(end.is_no_room(), "{end}");
            assert!(synced > 60, "{prealloc_bytes}: {synced}");
            disk.make_room();
            log.sync().unwrap();
            assert_eq!(
                count(&disk.crashed(disk.operations(), Loss::Both)),
                synced + 1
            );
        }
    }

    /// C-10: a sync that says so is a failed sync all the same.
    #[test]
    fn c_10_a_failed_sync_is_final_whatever_its_reason() {
        for (op, no_room) in [("write", true), ("fdatasync", false), ("fsync", false)] {
            let full = std::io::ErrorKind::StorageFull;
            let error = io_error(op, Path::new("log.1"), full.into());
            assert_eq!(error.is_no_room(), no_room);
        }
    }

    #[test]
    fn holes_and_unreadable_payloads_are_refused() {
        let mut log = log(&RecordingDisk::default(), LogOptions::default());
        log.append(Zxid(1), &payload(1, 40)).unwrap();
        for zxid in [1, 3, (1 << 32) + 2] {
            let refusal = log.append(Zxid(zxid), &payload(zxid, 40));
            assert!(matches!(
                refusal,
                Err(StorageError::AppendOutOfOrder { .. })
            ));
        }
        for bytes in [31, PAYLOAD_BYTES_MAX + 1] {
            let refusal = log.append(Zxid(2), &payload(2, bytes));
            assert!(matches!(refusal, Err(StorageError::PayloadSize { .. })));
        }
        log.append(Zxid((1 << 32) + 1), &payload((1 << 32) + 1, 32))
            .unwrap();
    }
}
