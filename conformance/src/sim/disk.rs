//! A disk in memory that takes time and forgets what was not synced.
//!
//! Every operation is carried out at once for whoever asked, and is *done* a little later, by the virtual time. A crash at some
//! moment undoes what was not done by then. What was done and not synced outlives the end of the process; a loss of power takes a
//! part of it, file by file and sector by sector, and names that no [`Disk::sync_dir`] covers.
//!
//! A sync may fail. As with Linux, what it was to write is then read back as it was written, by this process and the next, and is not on the
//! disk; no later sync writes it, and a loss of power takes it.

use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zabra::storage::disk::{Disk, DiskFile, parent_of};
use zabra::storage::{Result, StorageError};

/// What a disk writes whole or not at all, bytes.
const SECTOR_BYTES: usize = 512;

/// How a server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process: the system still has everything that was written.
    Process,
    /// The machine: what was not synced is lost, or a part of it.
    Power,
}

#[derive(Clone, Debug)]
enum Change {
    Create(PathBuf, usize),
    Write(usize, usize, Vec<u8>),
    SetLen(usize, usize),
    Sync(usize),
    /// A sync that fails.
    Fail(usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
}

#[derive(Clone, Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone, Default, Debug)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Inode {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Unsynced::Write(at, bytes) => put(&mut self.synced, at, &bytes),
                Unsynced::SetLen(bytes) => self.synced.resize(bytes, 0),
            }
        }
    }

    /// What a loss of power leaves: of what was not synced nothing, everything, the beginning, or any sectors.
    fn lose(&mut self, random: &mut Rng) {
        let mut left = std::mem::take(&mut self.synced);
        let way = random.u8(0..4);
        let upto = random.usize(0..=self.unsynced.len());
        for (n, change) in self.unsynced.drain(..).enumerate() {
            if way == 0 || way == 1 && n >= upto {
                continue;
            }
            match change {
                Unsynced::SetLen(bytes) => left.resize(bytes, 0),
                Unsynced::Write(at, bytes) if way == 3 => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let upto = (at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at;
                        let upto = upto.min(bytes.len());
                        if random.bool() {
                            put(&mut left, at + from, &bytes[from..upto]);
                        }
                        from = upto;
                    }
                }
                Unsynced::Write(at, bytes) => put(&mut left, at, &bytes),
            }
        }
        self.now = left.clone();
        self.synced = left;
    }
}

/// Names and contents.
#[derive(Clone, Default, Debug)]
struct Image {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that no sync covers, in order.
    unsynced: Vec<Change>,
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Create(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Change::Remove(path) => {
            names.remove(path);
        }
        Change::Write(..) | Change::SetLen(..) | Change::Sync(_) | Change::Fail(_) => {}
        Change::SyncDir(_) => {}
    }
}

fn dir_of(change: &Change) -> Option<&Path> {
    match change {
        Change::Create(path, _) | Change::Rename(_, path) | Change::Remove(path) => {
            Some(parent_of(path))
        }
        Change::Write(..) | Change::SetLen(..) | Change::Sync(_) | Change::Fail(_) => None,
        Change::SyncDir(_) => None,
    }
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(inode, at, bytes) => {
                let file = &mut self.inodes[*inode];
                put(&mut file.now, *at, bytes);
                file.unsynced.push(Unsynced::Write(*at, bytes.clone()));
            }
            Change::SetLen(inode, bytes) => {
                let file = &mut self.inodes[*inode];
                file.now.resize(*bytes, 0);
                file.unsynced.push(Unsynced::SetLen(*bytes));
            }
            Change::Sync(inode) => self.inodes[*inode].sync(),
            Change::Fail(inode) => self.inodes[*inode].unsynced.clear(),
            Change::SyncDir(dir) => {
                let Self {
                    unsynced,
                    synced_names,
                    ..
                } = self;
                unsynced.retain(|change| {
                    let here = dir_of(change) == Some(dir);
                    if here {
                        rename(synced_names, change);
                    }
                    !here
                });
            }
            Change::Create(_, inode) => {
                if self.inodes.len() <= *inode {
                    self.inodes.resize(*inode + 1, Inode::default());
                }
                self.name(change);
            }
            Change::Rename(..) | Change::Remove(_) => self.name(change),
        }
    }

    fn name(&mut self, change: &Change) {
        rename(&mut self.names, change);
        self.unsynced.push(change.clone());
    }

    fn lose(&mut self, random: &mut Rng) {
        // A journal keeps the order of the changes of names.
        let kept = random.usize(0..=self.unsynced.len());
        for change in &self.unsynced[..kept] {
            rename(&mut self.synced_names, change);
        }
        self.unsynced.clear();
        self.names = self.synced_names.clone();
        for inode in self.names.values() {
            self.inodes[*inode].lose(random);
        }
    }
}

#[derive(Debug)]
struct State {
    /// As whoever asks sees it.
    now: Image,
    /// As it was when time was last looked at.
    past: Image,
    /// What is done later, by time and order.
    changes: VecDeque<(u64, Change)>,
    random: Rng,
    slowness: u64,
    full: bool,
    /// The next sync fails; and whether one has, since this was asked last.
    fails: bool,
    has_failed: bool,
    /// Whether `sync_dir` does nothing, which no honest disk does.
    forgets_names: bool,
}

/// A disk, as one of its users sees it: each user has a time of its own. Clones are the same user.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// When what this user asked for is done.
    done_us: Arc<Mutex<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                now: Image::default(),
                past: Image::default(),
                changes: VecDeque::new(),
                random: Rng::with_seed(seed),
                slowness: 1,
                full: false,
                fails: false,
                has_failed: false,
                forgets_names: false,
            })),
            done_us: Arc::default(),
        }
    }

    /// The same disk for another user, whose work begins now.
    #[must_use]
    pub fn user(&self, now_us: u64) -> Self {
        Self {
            state: Arc::clone(&self.state),
            done_us: Arc::new(Mutex::new(now_us)),
        }
    }

    /// This user's work goes on now.
    pub fn begin(&self, now_us: u64) {
        let mut done = lock(&self.done_us);
        *done = now_us.max(*done);
        let mut state = lock(&self.state);
        let due = state.changes.partition_point(|(at, _)| *at <= now_us);
        let due: Vec<_> = state.changes.drain(..due).collect();
        for (_, change) in due {
            state.past.apply(&change);
        }
    }

    /// When what this user has asked for is done.
    #[must_use]
    pub fn done_us(&self) -> u64 {
        *lock(&self.done_us)
    }

    /// From now on everything takes so many times as long.
    pub fn slow(&self, slowness: u64) {
        lock(&self.state).slowness = slowness;
    }

    /// Whether there is no room.
    pub fn fill(&self, full: bool) {
        lock(&self.state).full = full;
    }

    /// The next sync of a file fails.
    pub fn fail(&self) {
        lock(&self.state).fails = true;
    }

    /// Whether a sync has failed since this was asked last.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        std::mem::take(&mut lock(&self.state).has_failed)
    }

    /// From now on no name is durable: a fault that no honest disk has.
    pub fn forget_names(&self) {
        lock(&self.state).forgets_names = true;
    }

    /// The server or its machine ends now. Nobody uses the disk any more; [`SimDisk::user`] is for the next process.
    pub fn crash(&self, now_us: u64, crash: Crash) {
        self.begin(now_us);
        let mut state = lock(&self.state);
        state.changes.clear();
        let mut image = std::mem::take(&mut state.past);
        if crash == Crash::Power {
            image.lose(&mut state.random);
        }
        state.now = image.clone();
        state.past = image;
    }

    fn change(&self, op: &'static str, path: &Path, mut change: Change) -> Result<()> {
        let mut state = lock(&self.state);
        let mut fails = false;
        if let Change::Sync(inode) = change
            && std::mem::take(&mut state.fails)
        {
            fails = true;
            state.has_failed = true;
            change = Change::Fail(inode);
        }
        let needs_room = match &change {
            Change::Create(..) => true,
            Change::Write(inode, at, bytes) => {
                let have = state.now.inodes.get(*inode).map_or(0, |f| f.now.len());
                at + bytes.len() > have
            }
            _ => false,
        };
        if state.full && needs_room {
            return Err(failed(op, path, io::ErrorKind::StorageFull));
        }
        let cost_us = state.cost_us(&change);
        if state.forgets_names && matches!(change, Change::SyncDir(_)) {
            return Ok(());
        }
        let mut done = lock(&self.done_us);
        *done += cost_us;
        state.now.apply(&change);
        let at = state.changes.partition_point(|(at, _)| *at <= *done);
        state.changes.insert(at, (*done, change));
        if fails {
            return Err(failed(op, path, io::ErrorKind::Other));
        }
        Ok(())
    }

    fn read_all(&self, op: &'static str, path: &Path) -> Result<Vec<u8>> {
        let state = lock(&self.state);
        let inode = state.now.names.get(path);
        let inode = inode.ok_or_else(|| failed(op, path, io::ErrorKind::NotFound))?;
        Ok(state.now.inodes[*inode].now.clone())
    }
}

impl State {
    fn cost_us(&mut self, change: &Change) -> u64 {
        let random = &mut self.random;
        let cost_us = match change {
            Change::Write(_, _, bytes) => 3 + bytes.len() as u64 / 500,
            Change::Sync(_) | Change::SyncDir(_) | Change::Fail(_) => match random.u8(..) {
                0..=219 => random.u64(50..500),
                220..=250 => random.u64(500..10_000),
                _ => random.u64(10_000..80_000),
            },
            Change::Create(..) | Change::SetLen(..) | Change::Rename(..) | Change::Remove(_) => {
                random.u64(5..50)
            }
        };
        cost_us * self.slowness
    }
}

fn failed(op: &'static str, path: &Path, kind: io::ErrorKind) -> StorageError {
    StorageError::Io {
        op,
        path: path.to_owned(),
        source: kind.into(),
    }
}

/// A file of [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let change = Change::Write(self.inode, offset as usize, bytes.to_vec());
        self.disk.change("write", &self.path, change)
    }

    fn sync(&mut self) -> Result<()> {
        let change = Change::Sync(self.inode);
        self.disk.change("fdatasync", &self.path, change)
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        let change = Change::SetLen(self.inode, bytes as usize);
        self.disk.change("set length", &self.path, change)
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Reader = Cursor<Vec<u8>>;

    fn create(&self, path: &Path) -> Result<SimFile> {
        let (old, next) = {
            let state = lock(&self.state);
            (state.now.names.get(path).copied(), state.now.inodes.len())
        };
        let inode = old.unwrap_or(next);
        match old {
            Some(inode) => self.change("create", path, Change::SetLen(inode, 0))?,
            None => self.change("create", path, Change::Create(path.to_owned(), inode))?,
        }
        Ok(SimFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        })
    }

    fn open(&self, path: &Path) -> Result<SimFile> {
        let inode = lock(&self.state).now.names.get(path).copied();
        Ok(SimFile {
            disk: self.clone(),
            inode: inode
                .ok_or_else(|| failed("open for writing", path, io::ErrorKind::NotFound))?,
            path: path.to_owned(),
        })
    }

    fn read(&self, path: &Path) -> Result<Cursor<Vec<u8>>> {
        self.read_all("open", path).map(Cursor::new)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        let state = lock(&self.state);
        let inode = state.now.names.get(path);
        Ok(inode.map(|i| state.now.inodes[*i].now.len() as u64))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let state = lock(&self.state);
        let here = state.now.names.keys().filter(|p| parent_of(p) == dir);
        Ok(here
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        if !lock(&self.state).now.names.contains_key(from) {
            return Err(failed("rename", from, io::ErrorKind::NotFound));
        }
        let change = Change::Rename(from.to_owned(), to.to_owned());
        self.change("rename", from, change)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        if !lock(&self.state).now.names.contains_key(path) {
            return Err(failed("delete", path, io::ErrorKind::NotFound));
        }
        self.change("delete", path, Change::Remove(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.change("fsync", dir, Change::SyncDir(dir.to_owned()))
    }

    fn create_dir(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }

    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
        let content = self.read_all("read", path)?;
        Ok(content[content.len().saturating_sub(bytes)..].to_vec())
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        let content = self.read_all("read", path)?;
        let from = content.len().min(offset as usize);
        let upto = content.len().min(from + bytes);
        Ok(content[from..upto].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed).user(0);
        let mut file = disk.create(Path::new("d/a")).unwrap();
        file.write_at(0, &[1; 2000]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        disk
    }

    #[test]
    fn what_was_synced_outlives_a_loss_of_power_and_what_was_written_a_process() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = written(seed);
            let synced_us = disk.done_us();
            let mut file = disk.open(Path::new("d/a")).unwrap();
            file.write_at(1000, &[2; 2000]).unwrap();
            disk.create(Path::new("d/b")).unwrap();
            let (done_us, killed) = (disk.done_us(), disk.user(0));
            killed.crash(done_us, Crash::Process);
            let read = |path: &str| killed.read_at(Path::new(path), 0, 9999).ok();
            assert_eq!(read("d/a").map(|a| a.len()), Some(3000), "{seed}");
            assert_eq!(read("d/b"), Some(vec![]));
            killed.crash(done_us, Crash::Power);
            let a = read("d/a").expect("its name was synced");
            assert_eq!(a[..1000], [1; 1000], "{seed}");
            lost += usize::from(a.len() < 3000) + usize::from(read("d/b").is_none());
            assert!(synced_us < done_us);
        }
        assert!((20..80).contains(&lost), "{lost}");
    }

    #[test]
    fn what_was_not_done_by_then_has_never_been() {
        let disk = written(7);
        disk.crash(1, Crash::Process);
        assert_eq!(disk.list(Path::new("d")).unwrap(), [""; 0]);
    }
}
