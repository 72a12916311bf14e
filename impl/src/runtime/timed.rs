//! A disk whose syncs of the transaction log are timed, for operators: how long writes wait for the disk is what they look at first.

use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::limits::Seldom;
use crate::storage::Result;
use crate::storage::disk::{Disk, DiskFile};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::warn;

/// Another disk, timed.
#[derive(Clone)]
pub struct TimedDisk<D> {
    disk: D,
    times: Arc<Times>,
}

struct Times {
    shared: Arc<Shared>,
    slow: Mutex<Seldom>,
    /// How long snapshots and logs were read.
    read: Mutex<[Duration; 2]>,
}

/// Of a file, whether it is one of the transaction log or a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Snapshot,
    Log,
    Other,
}

fn kind(path: &Path) -> Kind {
    let name = path.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.split_once('.')) {
        Some(("log", _)) => Kind::Log,
        Some(("snapshot", _)) => Kind::Snapshot,
        _ => Kind::Other,
    }
}

/// A file of a [`TimedDisk`].
pub struct TimedFile<F> {
    file: F,
    kind: Kind,
    times: Arc<Times>,
}

/// A file that is read: how long it is open counts.
pub struct TimedReader<R> {
    reader: R,
    kind: Kind,
    since: Instant,
    times: Arc<Times>,
}

impl<D> TimedDisk<D> {
    /// Times what `disk` does.
    #[must_use]
    pub fn new(disk: D, shared: Arc<Shared>) -> Self {
        let times = Arc::new(Times {
            shared,
            slow: Mutex::default(),
            read: Mutex::default(),
        });
        Self { disk, times }
    }

    /// How long snapshots, and logs, were read since the last time.
    #[must_use]
    pub fn take_read(&self) -> [Duration; 2] {
        std::mem::take(&mut *lock(&self.times.read))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Times {
    fn synced(&self, took: Duration) {
        let (shared, took_ms) = (&self.shared, ms(took));
        shared.stats.fsync_time.add(took_ms);
        let threshold_ms = shared.config.operation.slow_sync_ms;
        if took_ms <= threshold_ms {
            return;
        }
        shared.stats.slow_fsyncs.fetch_add(1, Relaxed);
        if let Some(unsaid) = lock(&self.slow).due(shared.elapsed_ms()) {
            warn!(
                code = %Code::SlowSync,
                took_ms,
                unsaid,
                "a sync of the transaction log was slow (fsync.warningthresholdms={threshold_ms}), and all writes wait for it; look at the disk of dataLogDir, which should be one of its own"
            );
        }
    }
}

impl<F: DiskFile> DiskFile for TimedFile<F> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> Result<()> {
        if self.kind != Kind::Log {
            return self.file.sync();
        }
        let began = Instant::now();
        let synced = self.file.sync();
        self.times.synced(began.elapsed());
        synced
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes)
    }
}

impl<R: Read> Read for TimedReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl<R> Drop for TimedReader<R> {
    fn drop(&mut self) {
        let mut read = lock(&self.times.read);
        match self.kind {
            Kind::Snapshot => read[0] += self.since.elapsed(),
            Kind::Log => read[1] += self.since.elapsed(),
            Kind::Other => {}
        }
    }
}

impl<D: Disk> Disk for TimedDisk<D> {
    type File = TimedFile<D::File>;
    type Reader = TimedReader<D::Reader>;

    fn create(&self, path: &Path) -> Result<Self::File> {
        let file = self.disk.create(path)?;
        Ok(self.file(file, path))
    }

    fn open(&self, path: &Path) -> Result<Self::File> {
        let file = self.disk.open(path)?;
        Ok(self.file(file, path))
    }

    fn read(&self, path: &Path) -> Result<Self::Reader> {
        let since = Instant::now();
        Ok(TimedReader {
            reader: self.disk.read(path)?,
            kind: kind(path),
            since,
            times: Arc::clone(&self.times),
        })
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        self.disk.len(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.disk.sync_dir(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.disk.create_dir(dir)
    }

    fn real_dir(&self, dir: &Path) -> Option<PathBuf> {
        self.disk.real_dir(dir)
    }

    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
        self.disk.read_tail(path, bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.disk.read_at(path, offset, bytes)
    }
}

impl<D: Disk> TimedDisk<D> {
    fn file(&self, file: D::File, path: &Path) -> TimedFile<D::File> {
        TimedFile {
            file,
            kind: kind(path),
            times: Arc::clone(&self.times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::shared::Secret;
    use crate::config::check;
    use crate::runtime::clock::SystemClock;
    use crate::storage::disk::RealDisk;
    use zabra_model::tree::node::Tree;

    #[test]
    fn syncs_of_the_log_are_measured_and_slow_ones_counted() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=1\n", dir.path().display());
        let mut config = check::read(Path::new("zoo.cfg"), &text).unwrap();
        assert_eq!(config.operation.slow_sync_ms, 1000);
        config.operation.slow_sync_ms = 5;
        let clock = Arc::new(SystemClock::start());
        let shared = Shared::new(config, Tree::new(), clock, Secret([0; 32]));
        let disk = TimedDisk::new(RealDisk, Arc::clone(&shared));
        for (name, synced) in [("log.1", 1), ("snapshot.1", 1), ("currentEpoch", 1)] {
            let path = dir.path().join(name);
            let mut file = disk.create(&path).unwrap();
            file.write_at(0, b"abc").unwrap();
            file.sync().unwrap();
            assert_eq!(shared.stats.fsync_time.now().count, synced, "{name}");
            let mut read = Vec::new();
            disk.read(&path).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, b"abc");
        }
        let [snapshots, logs] = disk.take_read();
        assert!(snapshots > Duration::ZERO && logs > Duration::ZERO);
        let slow = |took_ms| {
            disk.times.synced(Duration::from_millis(took_ms));
            shared.stats.slow_fsyncs.load(Relaxed)
        };
        let before = slow(0);
        assert_eq!(
            (slow(5), slow(6), slow(2000)),
            (before, before + 1, before + 2)
        );
        assert_eq!(shared.stats.fsync_time.now().max(), 2000);
    }
}
