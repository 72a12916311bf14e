//! Snapshots: files `snapshot.<zxid in hex>`, and the stream that a SNAP packet announces.
//!
//! ```text
//! i32 "ZKSN"  i32 version 2  i64 -1   body   seal   [digest block, seal]   [last processed zxid, seal]
//! seal = i64 Adler-32 of everything before it, ustring "/"
//! ```
//! Both blocks are written, unless a key says otherwise ([`Form`]): a reader of ZooKeeper whose `digest.enabled` is off misreads a file that
//! has a digest block. Their zxid is that of the name: a snapshot of ours is of one zxid exactly. The digest is summed while the nodes
//! are written, beside all that clients wait for.

mod packed;

pub use crate::wire::snapshot::{body, tree};
pub use packed::{PREFIX, Packing};

use super::disk::{Disk, DiskFile, io_error, parent_of, tmp_of};
use super::{Result, StorageError};
use body::{BodyDecoder, BodyEncoder, NodeRef, SnapshotSink};
use packed::{Packer, Unpacked};
use simd_adler32::Adler32;
use std::io::Read;
use std::path::{Path, PathBuf};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::AclEntry;
use zabra_model::tree::digest::{DIGEST_VERSION, node_digest};

const HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
const SEAL_END: [u8; 5] = *b"\0\0\0\x01/";
const SEAL_BYTES: usize = 13;
const DIGEST_BYTES: usize = 20;
const ZXID_BYTES: usize = 8;
const CHUNK_BYTES: usize = 256 << 10;
/// What tells how a snapshot is compressed.
const HEAD_BYTES: usize = 8;
/// Bytes of a snapshot that are written before they are synced. More of them at once would stand in the disk's queue, and in the
/// file system's journal, before the syncs of the log that clients wait for.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// How a snapshot is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// How it is compressed.
    pub packing: Packing,
    /// Whether it says the digest of its tree.
    pub says_digest: bool,
    /// Whether it says its zxid.
    pub says_zxid: bool,
}

impl From<Packing> for Form {
    fn from(packing: Packing) -> Self {
        Self {
            packing,
            says_digest: true,
            says_zxid: true,
        }
    }
}

/// The final name of the snapshot of `zxid`, uncompressed.
#[must_use]
pub fn path_of(dir: &Path, zxid: Zxid) -> PathBuf {
    packed_path_of(dir, zxid, Packing::Plain)
}

/// The final name of the snapshot of `zxid` that is packed so.
#[must_use]
pub fn packed_path_of(dir: &Path, zxid: Zxid, packing: Packing) -> PathBuf {
    dir.join(format!("{PREFIX}.{:x}{}", zxid.0, packing.ending()))
}

/// All snapshots of a directory by their names, oldest first.
///
/// # Errors
/// [`StorageError::Io`].
pub fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<(Zxid, PathBuf)>> {
    let names = disk.list(dir)?.into_iter();
    let mut files: Vec<(Zxid, PathBuf)> = names
        .filter_map(|name| Some((Packing::of_name(&name)?.0, dir.join(&name))))
        .collect();
    files.sort();
    Ok(files)
}

/// A snapshot being written, piece by piece, under a temporary name: `snapshot.HEX.tmp`.
///
/// It becomes visible with [`StagedSnapshot::publish`], or replaces everything through
/// [`super::replace::install_snapshot`]. Dropped before, it is removed at the next start.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    path: PathBuf,
    file: D::File,
    written: u64,
    synced: u64,
    sum: Adler32,
    chunk: Vec<u8>,
    packer: Packer,
    body: BodyEncoder,
    /// Of the nodes so far.
    digest: u64,
    zxid: Zxid,
    form: Form,
}

impl<D: Disk> std::fmt::Debug for SnapshotWriter<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter")
            .field("path", &self.path)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// A complete, durable snapshot that still has its temporary name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedSnapshot {
    /// What it is a snapshot of.
    pub zxid: Zxid,
    /// Its temporary name.
    pub tmp: PathBuf,
    /// The length of the file.
    pub bytes: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the file with sessions and ACL table (see [`BodyEncoder::begin`]).
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn begin<'a>(
        disk: &D,
        dir: &Path,
        (zxid, form): (Zxid, impl Into<Form>),
        sessions: impl ExactSizeIterator<Item = (SessionId, i32)>,
        acls: impl IntoIterator<Item = &'a [AclEntry]>,
    ) -> Result<Self> {
        let form = form.into();
        let path = packed_path_of(dir, zxid, form.packing);
        let file = disk.create(&tmp_of(&path))?;
        let mut chunk = HEADER.to_vec();
        let body = BodyEncoder::begin(sessions, acls, &mut chunk);
        Ok(Self {
            disk: disk.clone(),
            path,
            file,
            written: 0,
            synced: 0,
            sum: Adler32::new(),
            chunk,
            packer: Packer::new(form.packing),
            body,
            digest: 0,
            zxid,
            form,
        })
    }

    /// Adds a node: the root first, parents before children.
    ///
    /// # Errors
    /// [`StorageError::BadSnapshot`] for an ACL that was not announced, [`StorageError::Io`].
    pub fn node(&mut self, node: NodeRef<'_>) -> Result<()> {
        if self.form.says_digest {
            let of_node = node_digest(node.path, node.data, node.stat);
            self.digest = self.digest.wrapping_add(of_node);
        }
        if let Err(unknown) = self.body.node(node, &mut self.chunk) {
            return Err(StorageError::BadSnapshot {
                path: self.path.clone(),
                offset: self.written + self.chunk.len() as u64,
                what: format!("node {:?}: {unknown}", node.path),
            });
        }
        if self.chunk.len() >= CHUNK_BYTES {
            self.write_chunk(false)?;
        }
        Ok(())
    }

    fn write_chunk(&mut self, is_last: bool) -> Result<()> {
        self.sum.write(&self.chunk);
        let (file, written) = (&mut self.file, &mut self.written);
        self.packer.pack(&self.chunk, is_last, |bytes| {
            file.write_at(*written, bytes)?;
            *written += bytes.len() as u64;
            Ok(())
        })?;
        self.chunk.clear();
        if self.written - self.synced >= UNSYNCED_BYTES_MAX {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Seals the file and makes its content durable.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn finish(mut self) -> Result<StagedSnapshot> {
        let Form {
            says_digest,
            says_zxid,
            ..
        } = self.form;
        self.body.end(&mut self.chunk);
        self.seal(!says_digest && !says_zxid)?;
        if says_digest {
            self.chunk.extend_from_slice(&self.zxid.0.to_be_bytes());
            self.chunk.extend_from_slice(&DIGEST_VERSION.to_be_bytes());
            self.chunk.extend_from_slice(&self.digest.to_be_bytes());
            self.seal(!says_zxid)?;
        }
        if says_zxid {
            self.chunk.extend_from_slice(&self.zxid.0.to_be_bytes());
            self.seal(true)?;
        }
        self.file.sync()?;
        self.disk.sync_dir(parent_of(&self.path))?;
        Ok(StagedSnapshot {
            zxid: self.zxid,
            tmp: tmp_of(&self.path),
            bytes: self.written,
        })
    }

    /// Ends a part with the checksum of all before it.
    fn seal(&mut self, is_last: bool) -> Result<()> {
        self.write_chunk(false)?;
        let sum = u64::from(self.sum.finish());
        self.chunk.extend_from_slice(&sum.to_be_bytes());
        self.chunk.extend_from_slice(&SEAL_END);
        self.write_chunk(is_last)
    }
}

impl StagedSnapshot {
    /// Its final name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.tmp.with_extension("")
    }

    /// Gives the snapshot its final name, durably. Logs stay: it is a snapshot of what they hold.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn publish<D: Disk>(self, disk: &D) -> Result<PathBuf> {
        let dir = parent_of(&self.tmp);
        let path = self.path();
        disk.rename(&self.tmp, &path)?;
        disk.sync_dir(dir)?;
        Ok(path)
    }
}

/// What a snapshot file said beside its tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotFacts {
    /// From the file's name: replay begins behind it.
    pub zxid: Zxid,
    /// The largest zxid in the nodes' metadata; above `zxid` only in a snapshot of Java's, taken during writes.
    pub newest: Zxid,
    /// Digest and its zxid, of the live tree at that zxid; absent if the block is absent or says "none".
    pub digest: Option<(Zxid, u64)>,
    /// The last zxid that was processed when it was written, where it says so (3.9).
    pub last: Option<Zxid>,
}

/// Reads a whole snapshot file into `sink`. On an error the sink holds a part of it: clear it.
///
/// # Errors
/// [`StorageError::BadSnapshot`] for anything that is not a complete snapshot, [`StorageError::Io`].
pub fn read<D: Disk>(
    disk: &D,
    path: &Path,
    zxid: Zxid,
    sink: &mut impl SnapshotSink,
) -> Result<SnapshotFacts> {
    let name = path.file_name().and_then(|name| name.to_str());
    let packing = name.and_then(Packing::of_name).unwrap_or_default().1;
    let file = Unpacked::new(disk.read(path)?, packing);
    read_from(file, path, zxid, sink)
}

/// As [`read`], of one that does not lie in a data directory: `what` names it in errors. How it is compressed is told by its first bytes.
///
/// # Errors
/// [`StorageError::BadSnapshot`] for anything but a complete snapshot with nothing behind it, [`StorageError::Io`] of `from`.
pub fn read_stream(
    mut from: impl Read,
    what: &Path,
    sink: &mut impl SnapshotSink,
) -> Result<SnapshotFacts> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut from)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|e| io_error("read", what, e))?;
    let packing = Packing::of_content(&head);
    let whole = Unpacked::new(head.as_slice().chain(from), packing);
    read_from(whole, what, Zxid::ZERO, sink)
}

fn read_from(
    reader: Unpacked<impl Read>,
    path: &Path,
    zxid: Zxid,
    sink: &mut impl SnapshotSink,
) -> Result<SnapshotFacts> {
    let mut file = Input {
        reader,
        path,
        buffer: Vec::new(),
        start: 0,
        offset: 0,
        sum: Adler32::new(),
    };
    if !file.more(HEADER.len())? || file.ahead().get(..4) != HEADER.get(..4) {
        return Err(file.bad("it does not begin with ZKSN".to_owned()));
    }
    file.consume(HEADER.len());
    let mut decoder = BodyDecoder::of_file();
    loop {
        let taken = match decoder.feed(file.ahead(), sink) {
            Ok(taken) => taken,
            Err(e) => return Err(file.bad(e.to_string())),
        };
        file.consume(taken);
        if decoder.is_done() {
            break;
        }
        let have = file.ahead().len();
        if !file.more(have + 1)? {
            return Err(file.bad("the file ends inside the tree".to_owned()));
        }
    }
    file.seal()?;
    let mut facts = SnapshotFacts {
        zxid,
        newest: decoder.newest(),
        digest: None,
        last: None,
    };
    // Which blocks follow can only be told from how many bytes are left: nothing, one block or both.
    let digest_block = DIGEST_BYTES + SEAL_BYTES;
    let zxid_block = ZXID_BYTES + SEAL_BYTES;
    file.more(digest_block + zxid_block)?;
    let left = file.ahead().len();
    if left >= digest_block {
        facts.digest = file.digest();
        file.consume(DIGEST_BYTES);
        file.seal()?;
    }
    if left == zxid_block || left >= digest_block + zxid_block {
        let zxid = file.ahead().first_chunk::<ZXID_BYTES>();
        facts.last = zxid.map(|zxid| Zxid(u64::from_be_bytes(*zxid)));
        file.consume(ZXID_BYTES);
        file.seal()?;
    }
    if !file.ahead().is_empty() {
        let what = "it ends in the middle of what follows the tree, or does not end there";
        return Err(file.bad(what.to_owned()));
    }
    Ok(facts)
}

struct Input<'a, R> {
    reader: Unpacked<R>,
    path: &'a Path,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    sum: Adler32,
}

impl<R: Read> Input<'_, R> {
    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        let end = (self.start + bytes).min(self.buffer.len());
        self.sum
            .write(self.buffer.get(self.start..end).unwrap_or_default());
        self.offset += (end - self.start) as u64;
        self.start = end;
    }

    /// Has at least `wanted` bytes ahead; false if the file has fewer.
    fn more(&mut self, wanted: usize) -> Result<bool> {
        if self.ahead().len() < wanted {
            self.buffer.drain(..self.start);
            self.start = 0;
            let missing = wanted.saturating_sub(self.buffer.len()).max(CHUNK_BYTES);
            let read = (&mut self.reader)
                .take(missing as u64)
                .read_to_end(&mut self.buffer);
            match read {
                Ok(_) => {}
                Err(e) if self.reader.is_damage(&e) => return Err(self.bad(e.to_string())),
                Err(e) => return Err(io_error("read", self.path, e)),
            }
        }
        Ok(self.ahead().len() >= wanted)
    }

    fn bad(&self, what: String) -> StorageError {
        StorageError::BadSnapshot {
            path: self.path.to_owned(),
            offset: self.offset,
            what,
        }
    }

    fn seal(&mut self) -> Result<()> {
        let sum = u64::from(self.sum.finish());
        let mut expected = [0; SEAL_BYTES];
        let (head, tail) = expected.split_at_mut(8);
        head.copy_from_slice(&sum.to_be_bytes());
        tail.copy_from_slice(&SEAL_END);
        if !self.more(SEAL_BYTES)? || !self.ahead().starts_with(&expected) {
            return Err(self.bad("the checksum is wrong".to_owned()));
        }
        self.consume(SEAL_BYTES);
        Ok(())
    }

    fn digest(&self) -> Option<(Zxid, u64)> {
        let (zxid, rest) = self.ahead().split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (digest, _) = rest.split_first_chunk::<8>()?;
        let zxid = u64::from_be_bytes(*zxid);
        let some = i32::from_be_bytes(*version) != 0 && zxid != 0;
        some.then_some((Zxid(zxid), u64::from_be_bytes(*digest)))
    }
}

/// A snapshot that looks complete by name and last bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidates {
    /// Newest first.
    pub usable: Vec<(Zxid, PathBuf)>,
    /// The others, with the reason.
    pub skipped: Vec<Skipped>,
}

/// A snapshot that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// What it is of, by its name.
    pub zxid: Zxid,
    /// The file.
    pub path: PathBuf,
    /// It ends as a complete one does. ZooKeeper leaves others behind when it is stopped while it writes one.
    pub sealed: bool,
    /// What is wrong with it.
    pub why: String,
}

/// The snapshots of a directory, after a look at names and last bytes only.
///
/// # Errors
/// [`StorageError::Io`].
pub fn candidates<D: Disk>(disk: &D, dir: &Path) -> Result<Candidates> {
    let mut found = Candidates {
        usable: Vec::new(),
        skipped: Vec::new(),
    };
    for (zxid, path) in list(disk, dir)?.into_iter().rev() {
        if looks_complete(disk, &path)? {
            found.usable.push((zxid, path));
        } else {
            found.skipped.push(Skipped {
                zxid,
                sealed: false,
                why: format!("{} is incomplete", path.display()),
                path,
            });
        }
    }
    Ok(found)
}

/// By its last bytes, or, where they are compressed, by the first ones: whether that is all of it shows when it is read.
fn looks_complete<D: Disk>(disk: &D, path: &Path) -> Result<bool> {
    const BYTES_MIN: u64 = 10;
    let bytes = disk.len(path)?.unwrap_or(0);
    if bytes < BYTES_MIN {
        return Ok(false);
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let packing = name.and_then(Packing::of_name).unwrap_or_default().1;
    if packing != Packing::Plain {
        let mut head = [0; 8];
        let read = disk.read(path)?.read_exact(&mut head);
        read.map_err(|e| io_error("read", path, e))?;
        return Ok(head.starts_with(packing.magic()));
    }
    Ok(disk.read_tail(path, SEAL_END.len())? == SEAL_END)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::disk::RealDisk;
    use super::super::recording::{Loss, RecordingDisk};
    use super::body::tests::{Kept, sample};
    use super::*;

    pub(crate) fn stage<D: Disk>(disk: &D, dir: &Path, zxid: u64, kept: &Kept) -> StagedSnapshot {
        stage_packed(disk, dir, (zxid, Packing::Plain), kept)
    }

    pub(crate) fn stage_packed<D: Disk>(
        disk: &D,
        dir: &Path,
        (zxid, packing): (u64, Packing),
        kept: &Kept,
    ) -> StagedSnapshot {
        let acls = kept.nodes.iter().map(|n| &*n.2);
        let sessions = kept.sessions.iter().copied();
        let of = (Zxid(zxid), packing);
        let mut writer = SnapshotWriter::begin(disk, dir, of, sessions, acls).unwrap();
        for (path, data, acl, stat) in &kept.nodes {
            let data = data.as_deref();
            writer
                .node(NodeRef {
                    path,
                    data,
                    acl,
                    stat,
                })
                .unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_snapshot_reads_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut large = sample();
        for n in 0..3000 {
            let (_, _, acl, stat) = large.nodes[1].clone();
            large
                .nodes
                .push((format!("/a/{n}"), Some(vec![n as u8; 300]), acl, stat));
        }
        for (zxid, kept) in [(0x1f, sample()), (0x20, large)] {
            let path = stage(&RealDisk, dir.path(), zxid, &kept)
                .publish(&RealDisk)
                .unwrap();
            assert!(path.ends_with(format!("snapshot.{zxid:x}")));
            let mut read_back = Kept::default();
            read(&RealDisk, &path, Zxid(zxid), &mut read_back).unwrap();
            assert_eq!(read_back, kept);
        }
        let found = candidates(&RealDisk, dir.path()).unwrap();
        assert_eq!(
            found.usable.iter().map(|c| c.0.0).collect::<Vec<_>>(),
            [0x20, 0x1f]
        );
    }

    #[test]
    fn a_snapshot_with_any_byte_changed_or_missing_is_refused() {
        let disk = RecordingDisk::default();
        let dir = Path::new("d");
        let path = stage(&disk, dir, 9, &sample()).publish(&disk).unwrap();
        let good = disk.files().remove(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            disk.put(&path, &bytes);
            let refusal = read(&disk, &path, Zxid(9), &mut Kept::default());
            assert!(
                matches!(refusal, Err(StorageError::BadSnapshot { .. })),
                "byte {at}"
            );
            disk.put(&path, &good[..at]);
            // Without the blocks behind the tree, it is that of an older writer.
            let is_older = good.len() - at == ZXID_BYTES + SEAL_BYTES
                || good.len() - at == ZXID_BYTES + DIGEST_BYTES + 2 * SEAL_BYTES;
            assert_eq!(
                read(&disk, &path, Zxid(9), &mut Kept::default()).is_ok(),
                is_older,
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_crash_never_leaves_an_unfinished_snapshot_under_its_final_name() {
        let disk = RecordingDisk::default();
        let dir = Path::new("d");
        stage(&disk, dir, 9, &sample()).publish(&disk).unwrap();
        for n in 0..=disk.operations() {
            for loss in Loss::ALL {
                let image = disk.crashed(n, loss);
                for (zxid, path) in candidates(&image, dir).unwrap().usable {
                    read(&image, &path, zxid, &mut Kept::default()).unwrap();
                }
                assert!(
                    candidates(&image, dir).unwrap().skipped.is_empty(),
                    "{n} {loss:?}"
                );
            }
        }
    }

    /// C-9.
    #[test]
    fn c_9_a_compressed_snapshot_reads_back_as_written_and_none_with_a_byte_changed_or_missing() {
        for packing in [Packing::Gz, Packing::Snappy] {
            let disk = RecordingDisk::default();
            let dir = Path::new("d");
            let staged = stage_packed(&disk, dir, (9, packing), &sample());
            let path = staged.publish(&disk).unwrap();
            assert!(path.ends_with(format!("snapshot.9{}", packing.ending())));
            let found = candidates(&disk, dir).unwrap();
            assert_eq!(found.usable, [(Zxid(9), path.clone())]);
            let mut read_back = Kept::default();
            let facts = read(&disk, &path, Zxid(9), &mut read_back).unwrap();
            assert_eq!((read_back, facts.zxid), (sample(), Zxid(9)));
            let good = disk.files().remove(&path).unwrap();
            assert!(good.starts_with(packing.magic()));
            for at in 0..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 1;
                disk.put(&path, &bytes);
                let mut kept = Kept::default();
                let refusal = read(&disk, &path, Zxid(9), &mut kept);
                // gzip has bytes that say nothing, such as when it was made and by which system.
                let is_same = refusal.is_ok() && kept == sample();
                let is_bad = matches!(refusal, Err(StorageError::BadSnapshot { .. }));
                assert!(is_bad || is_same, "{packing:?}, byte {at}: {refusal:?}");
                disk.put(&path, &good[..at]);
                let refusal = read(&disk, &path, Zxid(9), &mut Kept::default());
                // Behind the tree there is only gzip's own sum.
                let is_bad = matches!(refusal, Err(StorageError::BadSnapshot { .. }));
                assert!(is_bad, "{packing:?}, cut at {at}");
            }
        }
    }

    /// What a Java server has written under a name that says gz or snappy, and did not finish.
    #[test]
    fn c_9_a_file_that_does_not_begin_as_its_name_says_is_passed_over() {
        let disk = RecordingDisk::default();
        for name in ["snapshot.55.gz", "snapshot.56.snappy"] {
            disk.put(&Path::new("d").join(name), b"0123456789");
        }
        let found = candidates(&disk, Path::new("d")).unwrap();
        assert_eq!((found.usable.len(), found.skipped.len()), (0, 2));
        assert!(found.skipped.iter().all(|skipped| !skipped.sealed));
    }
}
