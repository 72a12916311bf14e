//! A disk in memory that remembers every operation, so that a test can crash between any two of them.
//!
//! When the machine dies, what was not synced is kept or lost. [`Loss`] names the four corners: contents and names, each
//! kept or lost. Real crashes lie between them; that lies between writes are harmless is the checksums' business.
//!
//! When only the process dies ([`RecordingDisk::killed`]), the system's page cache stays: the next process reads all that
//! was written, and a later loss of power takes what nobody has synced since. A sync that fails leaves the pages clean but
//! not on the disk: later syncs succeed without them, until somebody writes them anew.

use super::disk::{Disk, DiskFile, io_error, parent_of};
use super::{Result, StorageError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One change of the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Change {
    Create(PathBuf, usize),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    /// The system refused a sync.
    FailedSync(usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
}

#[derive(Clone, Default, Debug)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Bytes that a failed sync has left clean: no later sync takes them.
    stuck: BTreeSet<usize>,
}

impl Inode {
    fn sync(&mut self) {
        let mut synced = self.now.clone();
        for at in &self.stuck {
            if let Some(byte) = synced.get_mut(*at) {
                *byte = self.synced.get(*at).copied().unwrap_or(0);
            }
        }
        self.synced = synced;
    }

    fn fail_to_sync(&mut self) {
        let bytes = self.now.iter().enumerate();
        let dirty = bytes.filter(|(at, byte)| self.synced.get(*at) != Some(*byte));
        self.stuck.extend(dirty.map(|(at, _)| at));
    }
}

#[derive(Clone, Default, Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    base: Option<Box<State>>,
    fail_after: Option<usize>,
    full_after: Option<usize>,
    bytes_max: Option<usize>,
}

/// What a crash does to writes that no sync covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// A killed process: the system still has everything.
    Nothing,
    /// Contents are lost, names are kept.
    Contents,
    /// Names are lost, contents are kept.
    Names,
    /// Both are lost.
    Both,
}

impl Loss {
    /// The four corners.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Contents, Self::Names, Self::Both];
}

/// The disk. Clones share it.
#[derive(Clone, Default, Debug)]
pub struct RecordingDisk {
    state: Arc<Mutex<State>>,
}

impl State {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(path, inode) => {
                if *inode == self.inodes.len() {
                    self.inodes.push(Inode::default());
                } else if let Some(file) = self.inodes.get_mut(*inode) {
                    file.now.clear();
                    file.stuck.clear();
                }
                self.names.insert(path.clone(), *inode);
            }
            Change::Write(inode, offset, bytes) => {
                if let Some(file) = self.inodes.get_mut(*inode) {
                    let from = *offset as usize;
                    let end = from + bytes.len();
                    if file.now.len() < end {
                        file.now.resize(end, 0);
                    }
                    if let Some(place) = file.now.get_mut(from..end) {
                        place.copy_from_slice(bytes);
                    }
                    let mut behind = file.stuck.split_off(&from);
                    file.stuck.append(&mut behind.split_off(&end));
                }
            }
            Change::SetLen(inode, bytes) => {
                if let Some(file) = self.inodes.get_mut(*inode) {
                    file.now.resize(*bytes as usize, 0);
                    file.stuck.split_off(&(*bytes as usize));
                }
            }
            Change::Sync(inode) => {
                if let Some(file) = self.inodes.get_mut(*inode) {
                    file.sync();
                }
            }
            Change::FailedSync(inode) => {
                if let Some(file) = self.inodes.get_mut(*inode) {
                    file.fail_to_sync();
                }
            }
            Change::Rename(from, to) => {
                if let Some(inode) = self.names.remove(from) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Change::Remove(path) => {
                self.names.remove(path);
            }
            Change::SyncDir(dir) => {
                self.synced_names.retain(|path, _| parent_of(path) != dir);
                let kept = self.names.iter().filter(|(path, _)| parent_of(path) == dir);
                self.synced_names.extend(kept.map(|(p, i)| (p.clone(), *i)));
            }
        }
    }

    fn settle(&mut self, loss: Loss) {
        if matches!(loss, Loss::Names | Loss::Both) {
            self.names = self.synced_names.clone();
        } else {
            self.synced_names = self.names.clone();
        }
        for file in &mut self.inodes {
            if matches!(loss, Loss::Contents | Loss::Both) {
                file.now = file.synced.clone();
            } else {
                file.synced = file.now.clone();
            }
            file.stuck.clear();
        }
    }
}

impl RecordingDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, op: &'static str, path: &Path, change: Change) -> Result<()> {
        let mut state = self.state();
        if let Some(left) = state.fail_after {
            let Some(left) = left.checked_sub(1) else {
                if let Change::Sync(inode) = change {
                    let failed = Change::FailedSync(inode);
                    state.apply(&failed);
                    state.changes.push(failed);
                }
                return Err(io_error(op, path, io::Error::other("injected failure")));
            };
            state.fail_after = Some(left);
        }
        let needs_room = matches!(
            change,
            Change::Create(..) | Change::Write(..) | Change::Rename(..)
        );
        if let Some(left) = state.full_after.filter(|_| needs_room) {
            let Some(left) = left.checked_sub(1) else {
                if let Change::Write(inode, offset, mut bytes) = change {
                    // What has found room stays in the file.
                    bytes.truncate(bytes.len() / 2);
                    let part = Change::Write(inode, offset, bytes);
                    state.apply(&part);
                    state.changes.push(part);
                }
                return Err(io_error(op, path, io::ErrorKind::StorageFull.into()));
            };
            state.full_after = Some(left);
        }
        if let (Some(max), Change::Write(inode, offset, bytes)) = (state.bytes_max, &change) {
            let lengths = state.inodes.iter().map(|file| file.now.len());
            let free = max.saturating_sub(lengths.sum());
            let have = state.inodes.get(*inode).map_or(0, |file| file.now.len());
            let fits = (have + free).saturating_sub(*offset as usize);
            if fits < bytes.len() {
                let part =
                    Change::Write(*inode, *offset, bytes.iter().take(fits).copied().collect());
                state.apply(&part);
                state.changes.push(part);
                return Err(io_error(op, path, io::ErrorKind::StorageFull.into()));
            }
        }
        state.apply(&change);
        state.changes.push(change);
        Ok(())
    }

    /// All files together have room for so many bytes, until [`Self::make_room`].
    pub fn limit_bytes(&self, bytes: usize) {
        self.state().bytes_max = Some(bytes);
    }

    /// After `operations` more that need room there is none left, until [`Self::make_room`].
    pub fn fill_after(&self, operations: usize) {
        self.state().full_after = Some(operations);
    }

    /// There is room again.
    pub fn make_room(&self) {
        let mut state = self.state();
        (state.full_after, state.bytes_max) = (None, None);
    }

    /// Everything so far becomes durable, and operations are counted from here.
    pub fn settle(&self) {
        let mut state = self.state();
        state.settle(Loss::Nothing);
        state.changes.clear();
        state.base = None;
        let base = state.clone();
        state.base = Some(Box::new(base));
    }

    /// Operations since [`Self::settle`].
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().changes.len()
    }

    /// After `operations` more of them, all fail.
    pub fn fail_after(&self, operations: usize) {
        self.state().fail_after = Some(operations);
    }

    /// The disk as the next process finds it when this one is killed right after the first `operations`: the machine runs
    /// on, everything is there, and nothing has become durable by it.
    #[must_use]
    pub fn killed(&self, operations: usize) -> Self {
        let state = self.state();
        let mut image = state.base.as_deref().cloned().unwrap_or_default();
        for change in state.changes.iter().take(operations) {
            image.apply(change);
        }
        image.fail_after = None;
        image.base = Some(Box::new(image.clone()));
        Self {
            state: Arc::new(Mutex::new(image)),
        }
    }

    /// The disk as a crash of the machine right after the first `operations` (since [`Self::settle`]) would leave it.
    #[must_use]
    pub fn crashed(&self, operations: usize, loss: Loss) -> Self {
        let state = self.state();
        let mut image = state.base.as_deref().cloned().unwrap_or_default();
        for change in state.changes.iter().take(operations) {
            image.apply(change);
        }
        image.settle(loss);
        let disk = Self {
            state: Arc::new(Mutex::new(image)),
        };
        disk.settle();
        disk
    }

    /// Puts a file there, durable at once.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            now: content.to_vec(),
            synced: content.to_vec(),
            stuck: BTreeSet::new(),
        });
        state.names.insert(path.to_owned(), inode);
        state.synced_names.insert(path.to_owned(), inode);
        drop(state);
        self.settle();
    }

    /// All files with their contents.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let content = |inode: &usize| state.inodes.get(*inode).map(|f| f.now.clone());
        let names = state.names.iter();
        names
            .filter_map(|(p, i)| Some((p.clone(), content(i)?)))
            .collect()
    }
}

/// A file of [`RecordingDisk`].
#[derive(Debug)]
pub struct RecordingFile {
    disk: RecordingDisk,
    inode: usize,
    path: PathBuf,
}

impl DiskFile for RecordingFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let change = Change::Write(self.inode, offset, bytes.to_vec());
        self.disk.change("write", &self.path, change)
    }

    fn sync(&mut self) -> Result<()> {
        self.disk
            .change("fdatasync", &self.path, Change::Sync(self.inode))
    }

    fn set_len(&mut self, bytes: u64) -> Result<()> {
        let change = Change::SetLen(self.inode, bytes);
        self.disk.change("set length", &self.path, change)
    }
}

fn not_found(op: &'static str, path: &Path) -> StorageError {
    io_error(op, path, io::ErrorKind::NotFound.into())
}

impl Disk for RecordingDisk {
    type File = RecordingFile;
    type Reader = Cursor<Vec<u8>>;

    fn create(&self, path: &Path) -> Result<RecordingFile> {
        let inode = {
            let state = self.state();
            state.names.get(path).copied().unwrap_or(state.inodes.len())
        };
        self.change("create", path, Change::Create(path.to_owned(), inode))?;
        Ok(RecordingFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        })
    }

    fn open(&self, path: &Path) -> Result<RecordingFile> {
        let inode = self.state().names.get(path).copied();
        Ok(RecordingFile {
            disk: self.clone(),
            inode: inode.ok_or_else(|| not_found("open for writing", path))?,
            path: path.to_owned(),
        })
    }

    fn read(&self, path: &Path) -> Result<Cursor<Vec<u8>>> {
        let state = self.state();
        let inode = state.names.get(path).and_then(|i| state.inodes.get(*i));
        let file = inode.ok_or_else(|| not_found("open", path))?;
        Ok(Cursor::new(file.now.clone()))
    }

    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
        let content = self.read(path)?.into_inner();
        let from = content.len().saturating_sub(bytes);
        Ok(content.get(from..).unwrap_or_default().to_vec())
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        let state = self.state();
        let inode = state.names.get(path).and_then(|i| state.inodes.get(*i));
        Ok(inode.map(|file| file.now.len() as u64))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let state = self.state();
        let here = state.names.keys().filter(|path| parent_of(path) == dir);
        Ok(here
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        if !self.state().names.contains_key(from) {
            return Err(not_found("rename", from));
        }
        self.change(
            "rename",
            from,
            Change::Rename(from.to_owned(), to.to_owned()),
        )
    }

    fn remove(&self, path: &Path) -> Result<()> {
        if !self.state().names.contains_key(path) {
            return Err(not_found("delete", path));
        }
        self.change("delete", path, Change::Remove(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.change("fsync", dir, Change::SyncDir(dir.to_owned()))
    }

    fn create_dir(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_leaves_what_a_later_loss_of_power_takes() {
        let disk = RecordingDisk::default();
        let (dir, a) = (Path::new("d"), Path::new("d/a"));
        let mut file = disk.create(a).unwrap();
        file.write_at(0, b"one").unwrap();
        file.sync().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(3, b"two").unwrap();
        let content = |disk: &RecordingDisk| disk.files()[a].clone();
        let killed = disk.killed(disk.operations());
        assert_eq!(content(&killed), b"onetwo");
        assert_eq!(content(&killed.crashed(0, Loss::Both)), b"one");
        killed.open(a).unwrap().sync().unwrap();
        let n = killed.operations();
        assert_eq!(content(&killed.crashed(n, Loss::Both)), b"onetwo");
    }

    #[test]
    fn after_a_failed_sync_only_what_is_written_anew_becomes_durable() {
        let disk = RecordingDisk::default();
        let (dir, a) = (Path::new("d"), Path::new("d/a"));
        let mut file = disk.create(a).unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(0, b"one").unwrap();
        disk.fail_after(0);
        file.sync().unwrap_err();
        disk.fail_after(100);
        file.sync().unwrap();
        let lost = disk.crashed(disk.operations(), Loss::Both);
        assert_eq!(lost.files()[a], [0; 3]);
        file.write_at(0, b"on").unwrap();
        file.sync().unwrap();
        let lost = disk.crashed(disk.operations(), Loss::Both);
        assert_eq!(lost.files()[a], *b"on\0");
    }

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let disk = RecordingDisk::default();
        let (dir, a, b) = (Path::new("d"), Path::new("d/a"), Path::new("d/b"));
        let mut file = disk.create(a).unwrap();
        file.write_at(0, b"one").unwrap();
        file.sync().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(3, b"two").unwrap();
        disk.rename(a, b).unwrap();
        let n = disk.operations();
        let image = |loss| disk.crashed(n, loss).files();
        let of = |p: &Path, c: &[u8]| BTreeMap::from([(p.to_owned(), c.to_vec())]);
        assert_eq!(image(Loss::Nothing), of(b, b"onetwo"));
        assert_eq!(image(Loss::Contents), of(b, b"one"));
        assert_eq!(image(Loss::Names), of(a, b"onetwo"));
        assert_eq!(image(Loss::Both), of(a, b"one"));
        assert_eq!(disk.crashed(2, Loss::Both).files(), BTreeMap::new());
    }
}
