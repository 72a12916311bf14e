//! The mount: FUSE's requests, answered from a [`Disk`].

use super::cut::{Disk, Ino, Refused, Survival, Sync};
use anyhow::{Context, Result};
use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The kernel asks each time: after a power cut nothing that it remembers is right.
const FORGET_AT_ONCE: Duration = Duration::ZERO;
/// A sync may wait while another request is answered.
const THREADS: usize = 3;

#[derive(Debug)]
struct Shared {
    disk: Disk,
    random: fastrand::Rng,
    /// How long a sync takes at most; the time is drawn for each.
    sync_takes: Duration,
    /// How often syncs were abandoned.
    abandoned: u64,
}

/// A mounted disk. Dropping it unmounts; whatever was on it is gone then.
#[derive(Debug)]
pub struct LossyDisk {
    shared: Arc<Mutex<Shared>>,
    mount: PathBuf,
    session: Option<fuser::BackgroundSession>,
}

impl LossyDisk {
    /// Mounts an empty disk on an existing directory. Its choices follow from `seed`, each sync takes up to `sync_takes`.
    ///
    /// # Errors
    /// No FUSE here, or no right to mount.
    pub fn mount(at: &Path, seed: u64, sync_takes: Duration) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            disk: Disk::default(),
            random: fastrand::Rng::with_seed(seed),
            sync_takes,
            abandoned: 0,
        }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lossy".into()), MountOption::NoDev];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Mounted(Arc::clone(&shared)), at, &config);
        let session = session.with_context(|| {
            format!(
                "{}: cannot mount; be root, or install fusermount3 (Debian: fuse3)",
                at.display()
            )
        })?;
        Ok(Self {
            shared,
            mount: at.to_owned(),
            session: Some(session),
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// The power is cut, and comes back. Whoever had files open must be dead by now, and stays without them if not.
    pub fn cut(&self, survival: Survival) {
        let mut shared = lock(&self.shared);
        let Shared { disk, random, .. } = &mut *shared;
        disk.cut(survival, random);
    }

    /// The syncs that are under way come to nothing. Whoever asked for them must be unable to hear of it: killed, but not yet
    /// waited for, as a killed process lasts until its syncs have ended.
    pub fn abandon_syncs(&self) {
        lock(&self.shared).abandoned += 1;
    }

    /// What syncs do from now on.
    pub fn set_sync(&self, sync: Sync) {
        lock(&self.shared).disk.sync = sync;
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(why) = session.umount_and_join()
        {
            eprintln!("{}: left mounted: {why}", self.mount.display());
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Mounted(Arc<Mutex<Shared>>);

impl Mounted {
    fn attributes(disk: &Disk, ino: Ino) -> Result<FileAttr, Errno> {
        let content = disk.content(ino).map_err(errno)?;
        let size = content.map_or(0, <[u8]>::len) as u64;
        let (kind, perm) = match content {
            Some(_) => (FileType::RegularFile, 0o644),
            None => (FileType::Directory, 0o755),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn make(&self, dir: INodeNo, name: &OsStr, directory: bool) -> Result<FileAttr, Errno> {
        let disk = &mut lock(&self.0).disk;
        let ino = disk.make(dir.0, text(name)?, directory).map_err(errno)?;
        Self::attributes(disk, ino)
    }

    /// What was unsynced when it begins is on the disk when it ends, some time later.
    fn sync(&self, ino: INodeNo, reply: ReplyEmpty) {
        let (began, takes, abandoned) = {
            let mut shared = lock(&self.0);
            let most = u64::try_from(shared.sync_takes.as_micros()).unwrap_or(0);
            let takes = Duration::from_micros(shared.random.u64(..=most));
            (shared.disk.now(), takes, shared.abandoned)
        };
        std::thread::sleep(takes);
        let mut shared = lock(&self.0);
        if shared.abandoned != abandoned {
            return reply.error(Errno::EIO);
        }
        match shared.disk.sync(ino.0, began) {
            Ok(true) => reply.ok(),
            Ok(false) => reply.error(Errno::EIO),
            Err(why) => reply.error(errno(why)),
        }
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Missing => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotDirectory => Errno::ENOTDIR,
        Refused::IsDirectory => Errno::EISDIR,
        Refused::NotEmpty => Errno::ENOTEMPTY,
    }
}

fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::EINVAL)
}

fn position(offset: u64) -> Result<usize, Errno> {
    usize::try_from(offset).map_err(|_| Errno::EFBIG)
}

fn empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(why) => reply.error(why),
    }
}

fn entry(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&FORGET_AT_ONCE, &attributes, Generation(0)),
        Err(why) => reply.error(why),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = &lock(&self.0).disk;
        let found = text(name).and_then(|name| disk.find(parent.0, name).map_err(errno));
        entry(found.and_then(|ino| Self::attributes(disk, ino)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match Self::attributes(&lock(&self.0).disk, ino.0) {
            Ok(attributes) => reply.attr(&FORGET_AT_ONCE, &attributes),
            Err(why) => reply.error(why),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let disk = &mut lock(&self.0).disk;
        let done = size.map_or(Ok(()), |size| {
            let length = position(size)?;
            disk.set_length(ino.0, length).map_err(errno)
        });
        match done.and_then(|()| Self::attributes(disk, ino.0)) {
            Ok(attributes) => reply.attr(&FORGET_AT_ONCE, &attributes),
            Err(why) => reply.error(why),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        entry(self.make(parent, name, true), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let disk = &mut lock(&self.0).disk;
        let done = text(name).and_then(|name| disk.remove(parent.0, name).map_err(errno));
        empty(done, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let exclusive = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let disk = &mut lock(&self.0).disk;
        let done = text(name).and_then(|name| {
            let to = (newparent.0, text(newname)?);
            disk.rename((parent.0, name), to, exclusive).map_err(errno)
        });
        empty(done, reply);
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let disk = &mut lock(&self.0).disk;
        let done = text(newname)
            .and_then(|name| disk.link(ino.0, newparent.0, name).map_err(errno))
            .and_then(|()| Self::attributes(disk, ino.0));
        entry(done, reply);
    }

    // Past the kernel's own page cache, which would remember what the cut disk has forgotten.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, false) {
            Ok(attributes) => reply.created(
                &FORGET_AT_ONCE,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(why) => reply.error(why),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = &lock(&self.0).disk;
        match disk.content(ino.0) {
            Ok(Some(content)) => {
                let begin = position(offset).unwrap_or(usize::MAX).min(content.len());
                let end = begin.saturating_add(size as usize).min(content.len());
                reply.data(&content[begin..end]);
            }
            Ok(None) => reply.error(Errno::EISDIR),
            Err(why) => reply.error(errno(why)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let disk = &mut lock(&self.0).disk;
        let done = position(offset).and_then(|at| disk.write(ino.0, at, data).map_err(errno));
        match (done, u32::try_from(data.len())) {
            (Ok(()), Ok(bytes)) => reply.written(bytes),
            (Ok(()), Err(_)) => reply.error(Errno::EFBIG),
            (Err(why), _) => reply.error(why),
        }
    }

    fn flush(
        &self,
        _: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn fsyncdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.sync(ino, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = &lock(&self.0).disk;
        let names = match disk.names(ino.0) {
            Ok(names) => names,
            Err(why) => return reply.error(errno(why)),
        };
        let dots = [(".", ino.0), ("..", ino.0)];
        let entries = names.iter().map(|(name, ino)| (name.as_str(), *ino));
        for (next, (name, ino)) in (1..).zip(dots.into_iter().chain(entries)) {
            let kind = match disk.content(ino) {
                Ok(Some(_)) => FileType::RegularFile,
                Ok(None) | Err(_) => FileType::Directory,
            };
            if next > offset && reply.add(INodeNo(ino), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Roomy: a full disk is another test's.
        let blocks = 1 << 24;
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}
