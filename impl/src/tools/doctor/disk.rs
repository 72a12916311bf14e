//! The disks of a server: how long a sync takes, how much room is left, and what kind of file system it is.

use super::finding::{Finding, Severity};
use crate::storage::snapshot;
use crate::storage::{Dirs, disk::RealDisk};
use rustix::fs::{StatVfs, statfs, statvfs};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So many syncs are measured, or those of so long.
const SYNCS: usize = 50;
const MEASURE: Duration = Duration::from_secs(2);
/// What is written before a sync: a small transaction.
const WRITE_BYTES: usize = 512;
/// A sync that takes so long is good, or bearable, ms.
const GOOD_MS: f64 = 2.0;
const BEARABLE_MS: f64 = 20.0;
/// No disk is faster, ms.
const LEAST_MS: f64 = 0.01;
/// Less room than this is none, bytes.
const ROOM_BYTES_MIN: u64 = 256 << 20;

/// Looks at both directories of a server.
pub(super) fn look(dirs: &Dirs) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut of = |dir: &Path, key: &str| {
        let about = format!("{key} {}", dir.display());
        let Some(there) = existing(dir) else {
            return;
        };
        if !dir.is_dir() {
            findings.push(Finding::note(
                "dir-missing",
                &about,
                format!("is not there yet; {} is looked at in its place", there.display()),
                "Make it by zabra initialize --configfile zoo.cfg --myid N, or let the first start of a server on its own do it.",
            ));
        }
        findings.push(kind(&there, &about));
        findings.extend(room(&there, dirs, &about));
        findings.push(sync(&there, &about));
    };
    of(&dirs.snap, "dataDir");
    if dirs.log != dirs.snap {
        of(&dirs.log, "dataLogDir");
    }
    findings.extend(shared(dirs));
    findings
}

/// The directory, or the first one above it that is there.
fn existing(dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(dir).ok()?;
    let there = absolute.ancestors().find(|dir| dir.is_dir());
    there.map(Path::to_owned)
}

/// A file that is removed when it is not needed any more.
struct Probe {
    path: PathBuf,
    file: File,
}

impl Probe {
    fn make(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("zabra.doctor.{}", std::process::id()));
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { path, file })
    }

    /// How long writes with a sync behind each take, in order, ms.
    fn measure(&mut self) -> io::Result<Vec<f64>> {
        // As the log does: the bytes are there before, so a sync need not change the file's length.
        self.file.write_all(&vec![0; SYNCS * WRITE_BYTES])?;
        self.file.sync_all()?;
        let began = Instant::now();
        let mut times = Vec::new();
        for at in 0..SYNCS {
            let one = Instant::now();
            let offset = (at * WRITE_BYTES) as u64;
            self.file.write_all_at(&[at as u8; WRITE_BYTES], offset)?;
            self.file.sync_data()?;
            times.push(one.elapsed().as_secs_f64() * 1000.0);
            if began.elapsed() > MEASURE {
                break;
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn sync(dir: &Path, about: &str) -> Finding {
    let times = Probe::make(dir).and_then(|mut probe| probe.measure());
    let times = match times {
        Ok(times) => times,
        Err(error) => {
            return Finding::error(
                "dir-not-writable",
                about,
                format!("a file cannot be written and synced there: {error}"),
                "Let the server's user write there (chown), make room, or look at the disk.",
            );
        }
    };
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    judge_sync(about, median, longest, times.len())
}

fn judge_sync(about: &str, median: f64, longest: f64, n: usize) -> Finding {
    let told = format!(
        "a write that is synced takes {median:.2} ms (median of {n}, the longest {longest:.1} ms; good is below {GOOD_MS} ms)"
    );
    let finding = if median < LEAST_MS {
        Finding::warning(
            "disk-sync-none",
            about,
            format!("{told}, which no disk does: a sync does not reach it"),
            "Take a file system and a disk that keep what was synced; writes may be lost when the machine loses its power.",
        )
    } else if median <= GOOD_MS && longest <= 50.0 * BEARABLE_MS {
        Finding::ok("disk-sync", about, told)
    } else if median <= BEARABLE_MS {
        Finding::warning(
            "disk-sync-slow",
            about,
            format!("{told}: every write of a client waits for one"),
            "Put dataLogDir on a disk of its own, best an SSD with power-loss protection, and keep other writers off it.",
        )
    } else {
        Finding::error(
            "disk-sync-very-slow",
            about,
            format!("{told}: followers may be dropped while they wait for it"),
            "Put dataLogDir on another disk; a spinning or network disk that others use is too slow for an ensemble.",
        )
    };
    finding.measured(median)
}

/// What a file system is, by its number.
#[rustfmt::skip]
const KINDS: &[(u64, &str, Severity)] = &[
    (0xEF53, "ext4", Severity::Ok),
    (0x5846_5342, "xfs", Severity::Ok),
    (0x9123_683E, "btrfs", Severity::Ok),
    (0x2FC1_2FC1, "zfs", Severity::Ok),
    (0xF2F5_2010, "f2fs", Severity::Ok),
    (0x0102_1994, "tmpfs", Severity::Error),
    (0x8584_58F6, "ramfs", Severity::Error),
    (0x794C_7630, "overlay", Severity::Warning),
    (0x6969, "nfs", Severity::Warning),
    (0x517B, "smb", Severity::Warning),
    (0xFF53_4D42, "cifs", Severity::Warning),
    (0xFE53_4D42, "smb2", Severity::Warning),
    (0x0102_1997, "9p", Severity::Warning),
    (0x00C3_6400, "ceph", Severity::Warning),
    (0x0BD0_0BD0, "lustre", Severity::Warning),
    (0x6573_5546, "fuse", Severity::Warning),
];

fn kind(dir: &Path, about: &str) -> Finding {
    match statfs(dir) {
        // The width of the number is the system's.
        Ok(stat) => judge_kind(stat.f_type as u64 & 0xFFFF_FFFF, about),
        Err(error) => Finding::warning(
            "filesystem-unknown",
            about,
            format!("the kind of its file system cannot be asked for: {error}"),
            "Look at it by: stat -f DIR",
        ),
    }
}

fn judge_kind(number: u64, about: &str) -> Finding {
    let known = KINDS.iter().find(|(magic, ..)| *magic == number);
    match known {
        Some((_, name, Severity::Ok)) => Finding::ok("filesystem", about, format!("is on {name}")),
        Some((_, name, Severity::Error)) => Finding::error(
            "filesystem-memory",
            about,
            format!("is on {name}: all data is lost when the machine stops"),
            "Put it on a disk.",
        ),
        Some((_, name, _)) if *name == "overlay" => Finding::warning(
            "filesystem-overlay",
            about,
            format!("is on {name}, the layer of a container: data goes with the container"),
            "Mount a volume there.",
        ),
        Some((_, name, _)) => Finding::warning(
            "filesystem-network",
            about,
            format!(
                "is on {name}: a sync, a rename or a lock may mean less than on a disk of this machine, and all of them wait for a network"
            ),
            "Put it on a disk of this machine; the ensemble is what keeps copies elsewhere.",
        ),
        None => Finding::note(
            "filesystem-unknown",
            about,
            format!("is on a file system with the number {number:#x}, which is not known here"),
            "Make sure that it keeps what was synced when the machine loses its power.",
        ),
    }
}

fn room(dir: &Path, dirs: &Dirs, about: &str) -> Vec<Finding> {
    let stat = match statvfs(dir) {
        Ok(stat) => stat,
        Err(error) => {
            let what = format!("cannot be asked for: {error}");
            return vec![Finding::warning(
                "disk-space-unknown",
                about,
                what,
                "Look at it by: df DIR",
            )];
        }
    };
    let largest = snapshot::list(&RealDisk, &dirs.snap).unwrap_or_default();
    let sizes = largest
        .iter()
        .filter_map(|(_, path)| fs::metadata(path).ok());
    let largest = sizes.map(|meta| meta.len()).max().unwrap_or(0);
    judge_room(&stat, largest, about)
}

fn judge_room(stat: &StatVfs, snapshot_bytes: u64, about: &str) -> Vec<Finding> {
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mib = |bytes: u64| bytes >> 20;
    let told = format!("{} MiB of {} MiB are free", mib(free), mib(total));
    let needed = ROOM_BYTES_MIN.max(snapshot_bytes.saturating_mul(2));
    let remedy = "Make room, or let old files be removed by autopurge.purgeInterval=24 and autopurge.snapRetainCount=3; a server without room stops taking writes.";
    let space = if free < needed {
        let what = format!(
            "{told}, and a snapshot with its log needs {} MiB",
            mib(needed)
        );
        Finding::error("disk-space-none", about, what, remedy)
    } else if free < total / 10 {
        Finding::warning(
            "disk-space-little",
            about,
            format!("{told}, below a tenth"),
            remedy,
        )
    } else {
        Finding::ok("disk-space", about, told)
    };
    let mut findings = vec![space.measured(free as f64)];
    // Some file systems have no bound.
    if stat.f_files > 0 {
        let told = format!("{} of {} inodes are free", stat.f_favail, stat.f_files);
        findings.push(if stat.f_favail < 1000 {
            Finding::error("inodes-none", about, told, "Remove files that nobody needs: the server makes new ones for each snapshot and log.")
        } else {
            Finding::ok("inodes", about, told)
        });
    }
    findings
}

fn shared(dirs: &Dirs) -> Option<Finding> {
    let device = |dir: &Path| Some(fs::metadata(existing(dir)?).ok()?.dev());
    let about = "dataLogDir";
    if device(&dirs.snap)? != device(&dirs.log)? {
        let what = "logs and snapshots are on different file systems".into();
        return Some(Finding::ok("disk-shared", about, what));
    }
    let what = "logs and snapshots are on one file system: writes of clients wait a little longer while a snapshot is written";
    let remedy = "For a server with many writes, name a directory of another disk by dataLogDir.";
    Some(Finding::note("disk-shared", about, what.into(), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_judged_by_its_median_and_by_what_cannot_be() {
        for (median, longest, code) in [
            (0.1, 3.0, "disk-sync"),
            (0.001, 0.01, "disk-sync-none"),
            (0.1, 2000.0, "disk-sync-slow"),
            (8.0, 20.0, "disk-sync-slow"),
            (40.0, 90.0, "disk-sync-very-slow"),
        ] {
            assert_eq!(judge_sync("d", median, longest, 50).code, code, "{median}");
        }
    }

    #[test]
    fn file_systems_that_lose_data_are_told() {
        for (number, code) in [
            (0xEF53, "filesystem"),
            (0x0102_1994, "filesystem-memory"),
            (0x794C_7630, "filesystem-overlay"),
            (0x6969, "filesystem-network"),
            (0x1234, "filesystem-unknown"),
        ] {
            assert_eq!(judge_kind(number, "d").code, code, "{number:#x}");
        }
    }

    #[test]
    fn room_is_measured_by_what_a_snapshot_needs() {
        let of = |free_mib: u64, inodes: u64, snapshot_mib: u64| {
            let stat = StatVfs {
                f_bsize: 4096,
                f_frsize: 1 << 20,
                f_blocks: 100_000,
                f_bfree: free_mib,
                f_bavail: free_mib,
                f_files: 1_000_000,
                f_ffree: inodes,
                f_favail: inodes,
                f_fsid: 0,
                f_flag: rustix::fs::StatVfsMountFlags::empty(),
                f_namemax: 255,
            };
            let found = judge_room(&stat, snapshot_mib << 20, "d");
            found.iter().map(|f| f.code).collect::<Vec<_>>()
        };
        assert_eq!(of(50_000, 500_000, 100), ["disk-space", "inodes"]);
        assert_eq!(of(9_000, 500_000, 100), ["disk-space-little", "inodes"]);
        assert_eq!(of(9_000, 10, 5_000), ["disk-space-none", "inodes-none"]);
        assert_eq!(of(200, 500_000, 0), ["disk-space-none", "inodes"]);
    }
}
