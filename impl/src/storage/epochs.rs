//! The files `acceptedEpoch` and `currentEpoch`: what this server promised, and whose history it holds.

use super::disk::{Disk, DiskFile, tmp_of};
use super::{Dirs, Result, StorageError};
use crate::mutants::{Mutant, has};
use std::path::Path;
use zabra_model::ids::{Epoch, Zxid};

/// File name of the largest epoch this server promised to follow.
pub const ACCEPTED: &str = "acceptedEpoch";
/// File name of the epoch whose leader's history this server holds.
pub const CURRENT: &str = "currentEpoch";

/// Both epochs of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Epochs {
    /// Never below `current`.
    pub accepted: Epoch,
    /// May be below the epoch of the last logged transaction, after a crash between the two writes.
    pub current: Epoch,
}

/// Replaces `acceptedEpoch`, durably.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write_accepted<D: Disk>(disk: &D, dirs: &Dirs, epoch: Epoch) -> Result<()> {
    write(disk, &dirs.snap.join(ACCEPTED), epoch)
}

/// Reads `acceptedEpoch`; `None` if there is no such file.
///
/// # Errors
/// [`StorageError::BadEpoch`], [`StorageError::Io`].
pub fn accepted<D: Disk>(disk: &D, dirs: &Dirs) -> Result<Option<Epoch>> {
    read(disk, &dirs.snap.join(ACCEPTED))
}

/// Replaces `currentEpoch`, durably.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write_current<D: Disk>(disk: &D, dirs: &Dirs, epoch: Epoch) -> Result<()> {
    write(disk, &dirs.snap.join(CURRENT), epoch)
}

/// Reads both files and brings them into order.
///
/// - A missing file gets the epoch of `last` and is created, unless `create` is off (a standalone server has none).
/// - `last` of a later epoch than `currentEpoch` is accepted: the transactions of an epoch are made durable before the
///   epoch itself, so a crash between the two leaves exactly this (ZooKeeper refuses to start, ZOOKEEPER-2307).
/// - Then a `currentEpoch.tmp` above `currentEpoch` is adopted, as ZooKeeper does: that write had begun, so
///   everything before it was durable.
///
/// # Errors
/// [`StorageError::BadEpoch`] for a file that is no number, or an accepted epoch below the current one.
pub fn load<D: Disk>(disk: &D, dirs: &Dirs, last: Zxid, create: bool) -> Result<Epochs> {
    let (accepted_path, current_path) = (dirs.snap.join(ACCEPTED), dirs.snap.join(CURRENT));
    let mut found_current = read(disk, &current_path)?;
    let found_accepted = read(disk, &accepted_path)?;
    let tmp = tmp_of(&current_path);
    // A half-written temporary file is no number, or a smaller one: it changes nothing.
    let begun = disk.read_small(&tmp)?.and_then(|content| parse(&content));
    if let (Some(current), Some(begun)) = (found_current, begun)
        && last.epoch() > current
        && begun > current
        && begun <= last.epoch()
    {
        if create {
            write_current(disk, dirs, begun)?;
        }
        found_current = Some(begun);
    }
    if create {
        for path in [&accepted_path, &current_path] {
            let tmp = tmp_of(path);
            if disk.len(&tmp)?.is_some() {
                disk.remove(&tmp)?;
                disk.sync_dir(&dirs.snap)?;
            }
        }
    }
    let epochs = Epochs {
        accepted: found_accepted.unwrap_or(last.epoch()),
        current: found_current.unwrap_or(last.epoch()),
    };
    if epochs.accepted < epochs.current {
        return Err(StorageError::BadEpoch {
            path: accepted_path,
            what: format!(
                "accepted epoch {} is below the current epoch {}; a restore has mixed files of two times, restore both epoch files or remove this server's data to copy it anew from the ensemble",
                epochs.accepted, epochs.current
            ),
        });
    }
    if create {
        // Accepted first: a crash between the two must not leave it below the current one.
        if found_accepted.is_none() {
            write_accepted(disk, dirs, epochs.accepted)?;
        }
        if found_current.is_none() {
            write_current(disk, dirs, epochs.current)?;
        }
    }
    Ok(epochs)
}

/// Writes the files that are there anew, the same bytes in the same place. A process that was killed, or whose sync failed, may
/// have left them in the system's memory only, and whoever reads an epoch tells others of it. It needs no room.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write_anew<D: Disk>(disk: &D, dirs: &Dirs) -> Result<()> {
    for path in [ACCEPTED, CURRENT].map(|name| dirs.snap.join(name)) {
        if let Some(content) = disk.read_small(&path)? {
            let mut file = disk.open(&path)?;
            file.write_at(0, &content)?;
            file.sync()?;
        }
    }
    disk.sync_dir(&dirs.snap)
}

fn write<D: Disk>(disk: &D, path: &Path, epoch: Epoch) -> Result<()> {
    let text = epoch.to_string();
    if has(Mutant::EpochNotSynced) {
        return disk.create(path)?.write_at(0, text.as_bytes());
    }
    disk.replace_small(path, text.as_bytes())
}

fn parse(content: &[u8]) -> Option<Epoch> {
    let text = std::str::from_utf8(content).ok()?.trim();
    // Java writes a signed long: "-1" and "+1" are not epochs of ours.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Epoch)
}

fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Epoch>> {
    let Some(content) = disk.read_small(path)? else {
        return Ok(None);
    };
    match parse(&content) {
        Some(epoch) => Ok(Some(epoch)),
        None => Err(StorageError::BadEpoch {
            path: path.to_owned(),
            what: format!(
                "{:?} is no epoch; write the decimal number of this server's last known epoch",
                String::from_utf8_lossy(&content)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Loss, RecordingDisk};
    use super::*;

    fn disk(files: &[(&str, &str)]) -> (RecordingDisk, Dirs) {
        let disk = RecordingDisk::default();
        let dirs = Dirs::new(Path::new("d"), Path::new("d"));
        for (name, content) in files {
            disk.put(&dirs.snap.join(name), content.as_bytes());
        }
        disk.settle();
        (disk, dirs)
    }

    fn of(accepted: u32, current: u32) -> Epochs {
        Epochs {
            accepted: Epoch(accepted),
            current: Epoch(current),
        }
    }

    #[test]
    fn missing_files_take_the_epoch_of_the_last_zxid_and_are_created() {
        let (disk, dirs) = disk(&[]);
        assert_eq!(load(&disk, &dirs, Zxid(3 << 32), true).unwrap(), of(3, 3));
        assert_eq!(load(&disk, &dirs, Zxid(9 << 32), true).unwrap(), of(3, 3));
        let (disk, dirs) = self::disk(&[]);
        assert_eq!(load(&disk, &dirs, Zxid(3 << 32), false).unwrap(), of(3, 3));
        assert!(disk.files().is_empty());
    }

    #[test]
    fn a_log_ahead_of_the_current_epoch_is_accepted() {
        let (disk, dirs) = disk(&[(ACCEPTED, "5"), (CURRENT, "4\n")]);
        assert_eq!(load(&disk, &dirs, Zxid(5 << 32), true).unwrap(), of(5, 4));
    }

    #[test]
    fn a_begun_write_of_the_current_epoch_is_adopted() {
        let (disk, dirs) = disk(&[
            (ACCEPTED, "12"),
            (CURRENT, "11"),
            ("currentEpoch.tmp", "12"),
        ]);
        assert_eq!(
            load(&disk, &dirs, Zxid(12 << 32), true).unwrap(),
            of(12, 12)
        );
        assert!(
            disk.len(&dirs.snap.join("currentEpoch.tmp"))
                .unwrap()
                .is_none()
        );
        for torn in ["", "1"] {
            let (disk, dirs) = self::disk(&[
                (ACCEPTED, "12"),
                (CURRENT, "11"),
                ("currentEpoch.tmp", torn),
            ]);
            assert_eq!(
                load(&disk, &dirs, Zxid(12 << 32), true).unwrap(),
                of(12, 11)
            );
        }
    }

    #[test]
    fn contradictions_and_nonsense_are_refused() {
        for files in [
            [(ACCEPTED, "3"), (CURRENT, "4")],
            [(ACCEPTED, ""), (CURRENT, "1")],
            [(ACCEPTED, "1"), (CURRENT, "-1")],
            [(ACCEPTED, "4294967296"), (CURRENT, "1")],
        ] {
            let (disk, dirs) = disk(&files);
            let refusal = load(&disk, &dirs, Zxid(1 << 32), true);
            assert!(
                matches!(refusal, Err(StorageError::BadEpoch { .. })),
                "{files:?}"
            );
        }
    }

    #[test]
    fn a_crash_while_an_epoch_is_written_leaves_the_old_or_the_new_one() {
        let (disk, dirs) = disk(&[(ACCEPTED, "4"), (CURRENT, "4")]);
        write_accepted(&disk, &dirs, Epoch(5)).unwrap();
        write_current(&disk, &dirs, Epoch(5)).unwrap();
        let all = disk.operations();
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..=all {
            for loss in Loss::ALL {
                let epochs = load(&disk.crashed(n, loss), &dirs, Zxid(4 << 32), true).unwrap();
                assert!(
                    [of(4, 4), of(5, 4), of(5, 5)].contains(&epochs),
                    "{n} {loss:?}"
                );
                seen.insert((epochs.accepted, epochs.current));
            }
        }
        assert_eq!(seen.len(), 3);
        let done = load(&disk.crashed(all, Loss::Both), &dirs, Zxid(4 << 32), true);
        assert_eq!(done.unwrap(), of(5, 5));
    }
}
