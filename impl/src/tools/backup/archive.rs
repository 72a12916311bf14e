//! Snapshots and logs in one directory or several, and the tree that they hold at a point in time.

use crate::storage::disk::RealDisk;
use crate::storage::snapshot::body::{Refused, SnapshotSink};
use crate::storage::snapshot::tree::TreeSink;
use crate::storage::snapshot::{self, Packing, SnapshotFacts};
use crate::storage::txn_log::reader::LogReader;
use crate::storage::txn_log::{LogEntry, PREFIX};
use crate::storage::{StorageError, zxid_of_name};
use crate::tools::error::ToolError;
use crate::tools::out::tell;
use crate::tools::values::shown_time;
use crate::wire::payload::Logged;
use crate::wire::txn::read_header;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::digest::{digest, node_digest};
use zabra_model::tree::node::Tree;
use zabra_model::tree::stat::{Owner, StatPersisted};

/// Which state is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Point {
    /// The last one.
    Last,
    /// That behind this transaction.
    Zxid(Zxid),
    /// The last one before a transaction that is later than this, ms since 1970.
    Time(i64),
}

/// Files by the zxids of their names, oldest first.
#[derive(Default, Debug)]
pub(super) struct Archive {
    pub(super) snapshots: Vec<(Zxid, PathBuf)>,
    pub(super) logs: Vec<(Zxid, PathBuf)>,
}

/// The tree at a point.
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) zxid: Zxid,
    /// Of the last transaction, if one was applied.
    pub(super) time: Option<i64>,
    /// The snapshot that it began with.
    pub(super) base: Zxid,
    /// How many transactions were applied.
    pub(super) txns: u64,
}

impl State {
    /// The digest of the tree.
    pub(super) fn digest(&self) -> u64 {
        digest(self.tree.nodes())
    }

    /// Nodes, those of sessions among them, and bytes of data.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let (mut nodes, mut ephemerals, mut bytes) = (0, 0, 0);
        for node in self.tree.nodes() {
            nodes += 1;
            bytes += node.data.map_or(0, |data| data.len() as u64);
            let owner = Owner::from_raw(node.stat.ephemeral_owner);
            ephemerals += u64::from(matches!(owner, Owner::Session(_)));
        }
        (nodes, ephemerals, bytes)
    }
}

impl Archive {
    /// Of these files; all with other names are passed over. Of two logs that begin with the same transaction the longer one counts: the
    /// other was copied while it was written.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut archive = Self::default();
        let mut logs: BTreeMap<Zxid, (u64, PathBuf)> = BTreeMap::new();
        let mut snapshots: BTreeMap<Zxid, PathBuf> = BTreeMap::new();
        for path in files {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(zxid) = zxid_of_name(name, PREFIX) {
                let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                let longest = logs.entry(zxid).or_default();
                if bytes >= longest.0 {
                    *longest = (bytes, path);
                }
            } else if let Some((zxid, _)) = Packing::of_name(name) {
                snapshots.entry(zxid).or_insert(path);
            }
        }
        let logs = logs.into_iter();
        archive.logs = logs.map(|(zxid, (_, path))| (zxid, path)).collect();
        archive.snapshots = snapshots.into_iter().collect();
        archive
    }

    /// All files of directories, or of the `version-2` in them.
    ///
    /// # Errors
    /// [`ToolError::Refused`] for what is no directory.
    pub(super) fn files_in(dir: &Path) -> Result<Vec<PathBuf>, ToolError> {
        let below = dir.join("version-2");
        let dir = if below.is_dir() { &below } else { dir };
        let unread = |e| ToolError::Refused(format!("{}: {e}", dir.display()));
        let mut files = Vec::new();
        for file in std::fs::read_dir(dir).map_err(unread)? {
            files.push(file.map_err(unread)?.path());
        }
        Ok(files)
    }

    pub(super) fn reader(&self, after: Zxid, upto: Zxid) -> LogReader<RealDisk> {
        LogReader::over(&RealDisk, self.logs.clone(), (after, upto))
    }

    /// Reads every snapshot whole, compares its digest with its nodes where it is of its own zxid, and all behind the oldest one, with each
    /// digest that a snapshot tells; the last state.
    ///
    /// # Errors
    /// [`ToolError::Damaged`], [`ToolError::Data`], with the file.
    pub(super) fn verify(&self) -> Result<State, ToolError> {
        let mut told: BTreeMap<Zxid, (u64, &Path)> = BTreeMap::new();
        for (zxid, path) in &self.snapshots {
            let mut sum = Summing(0);
            let facts = snapshot::read(&RealDisk, path, *zxid, &mut sum)?;
            if let Some((at, digest)) = facts.digest {
                if at == *zxid && facts.newest <= at && digest != sum.0 {
                    return Err(other_tree(path, at, digest, sum.0));
                }
                told.insert(at, (digest, path));
            }
        }
        let Some((base, path)) = self.snapshots.first() else {
            return Err(ToolError::Refused("no snapshot is among the files".into()));
        };
        let (tree, _) = tree_of(*base, path)?;
        let mut state = State {
            tree,
            zxid: *base,
            time: None,
            base: *base,
            txns: 0,
        };
        self.replay(
            &mut state,
            Zxid(u64::MAX),
            &mut |state| match told.get(&state.zxid) {
                Some((told, path)) if *told != state.digest() => {
                    Err(other_tree(path, state.zxid, *told, state.digest()))
                }
                _ => Ok(()),
            },
        )?;
        Ok(state)
    }

    /// The tree at a point, from the newest snapshot that is not above it.
    ///
    /// # Errors
    /// [`ToolError::Refused`] for a point that the files do not reach; [`ToolError::Data`] for files that cannot be read.
    pub(super) fn state_at(&self, point: Point) -> Result<State, ToolError> {
        let upto = match point {
            Point::Last => Zxid(u64::MAX),
            Point::Zxid(zxid) => zxid,
            Point::Time(ms) => self.zxid_at(ms)?,
        };
        let mut base = None;
        let mut first_failure = None;
        for (zxid, path) in self.snapshots.iter().rev().filter(|(at, _)| *at <= upto) {
            match tree_of(*zxid, path) {
                // ZooKeeper writes nodes into a snapshot as they change: then it is of no zxid before the last one that it knows.
                Ok((_, done)) if done > upto => {}
                Ok((tree, _)) => {
                    base = Some((*zxid, tree));
                    break;
                }
                Err(error) => {
                    tell(format_args!("{error}; an older snapshot is tried"));
                    first_failure.get_or_insert(error);
                }
            }
        }
        let Some((base, tree)) = base else {
            return Err(first_failure.unwrap_or_else(|| self.too_early(upto)));
        };
        let mut state = State {
            tree,
            zxid: base,
            time: None,
            base,
            txns: 0,
        };
        self.replay(&mut state, upto, &mut |_| Ok(()))?;
        // Of a snapshot's own transaction a log may tell that begins before it.
        state.time = state.time.or_else(|| self.time_of(state.zxid));
        if upto != Zxid(u64::MAX) && state.zxid != upto {
            return Err(self.no_such_txn(&state, upto));
        }
        Ok(state)
    }

    fn too_early(&self, upto: Zxid) -> ToolError {
        ToolError::Refused(match self.snapshots.first() {
            Some((first, path)) => format!(
                "{upto} is before the oldest snapshot, {}; name {first} or a later one, or add an older snapshot with its logs by --archive",
                path.display()
            ),
            None => "no snapshot is among the files".into(),
        })
    }

    fn no_such_txn(&self, state: &State, upto: Zxid) -> ToolError {
        let mut reader = self.reader(state.zxid, Zxid(u64::MAX));
        let next = reader.next_entry().ok().flatten();
        ToolError::Refused(match next {
            Some(next) => format!(
                "there is no transaction {upto}: behind {} comes {}; name one of the two",
                state.zxid, next.zxid
            ),
            None => format!(
                "{upto} is behind the last transaction here, which is {}; name that or an earlier one, or add the logs up to it by --archive",
                state.zxid
            ),
        })
    }

    /// Applies what is behind a state, up to a zxid.
    fn replay(
        &self,
        state: &mut State,
        upto: Zxid,
        at_each: &mut dyn FnMut(&State) -> Result<(), ToolError>,
    ) -> Result<(), ToolError> {
        let mut reader = self.reader(state.zxid, upto);
        while let Some(LogEntry { zxid, payload }) = reader.next_entry()? {
            let logged = Logged::decode(payload).map_err(|e| StorageError::DamagedEntry {
                path: reader.path().to_owned(),
                offset: reader.entry_at(),
                what: format!("transaction {zxid} cannot be read: {e}"),
            })?;
            state.tree.apply(&logged.header, &logged.txn, &mut |_| {});
            state.zxid = zxid;
            state.time = Some(logged.header.time);
            state.txns += 1;
            at_each(state)?;
        }
        state.tree.raise_last_zxid(state.zxid);
        Ok(())
    }

    /// When a transaction was, if a log has it.
    fn time_of(&self, zxid: Zxid) -> Option<i64> {
        let before = Zxid(zxid.0.checked_sub(1)?);
        let entry = self.reader(before, zxid).next_entry().ok()??;
        let (header, _) = read_header(&entry.payload).ok()?;
        (header.zxid == zxid).then_some(header.time)
    }

    /// The last transaction before the first one that is later than `ms`.
    fn zxid_at(&self, ms: i64) -> Result<Zxid, ToolError> {
        let mut hole = None;
        for (base, _) in &self.snapshots {
            match self.zxid_behind(*base, ms) {
                // Old logs were removed before the snapshots that they follow.
                Err(ToolError::Data(error @ StorageError::Hole { .. })) => {
                    hole.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(match hole {
            Some(hole) => hole.into(),
            None => ToolError::Refused("no snapshot is among the files".into()),
        })
    }

    fn zxid_behind(&self, base: Zxid, ms: i64) -> Result<Zxid, ToolError> {
        let mut reader = self.reader(base, Zxid(u64::MAX));
        let mut last = None;
        while let Some(LogEntry { zxid, payload }) = reader.next_entry()? {
            let time = read_header(&payload).map_or(i64::MAX, |(header, _)| header.time);
            if time > ms {
                return last.ok_or_else(|| {
                    ToolError::Refused(format!(
                        "{} is before the first transaction here, {zxid} of {}; name a later time, or {base} by --zxid for the state before it, or add older logs and their snapshot by --archive",
                        shown_time(ms),
                        shown_time(time)
                    ))
                });
            }
            last = Some(zxid);
        }
        last.ok_or_else(|| {
            ToolError::Refused(
                "no transaction log is here that would tell times; leave out --time, or add logs by --archive"
                    .into(),
            )
        })
    }

    /// The largest zxid that the logs tell of, as far as they can be read: what clients may have seen.
    pub(super) fn newest(&self, from: Zxid) -> Zxid {
        let names = self.logs.iter().chain(&self.snapshots);
        let mut newest = names.map(|(zxid, _)| *zxid).fold(from, Zxid::max);
        let mut reader = self.reader(from, Zxid(u64::MAX));
        while let Ok(Some(entry)) = reader.next_entry() {
            newest = newest.max(entry.zxid);
        }
        newest
    }
}

/// The tree of a snapshot, and the last zxid that it may know of.
fn tree_of(zxid: Zxid, path: &Path) -> Result<(Tree, Zxid), ToolError> {
    let mut sink = TreeSink::new();
    let facts = snapshot::read(&RealDisk, path, zxid, &mut sink)?;
    let SnapshotFacts {
        newest,
        digest,
        last,
        ..
    } = facts;
    let known = [Some(newest), digest.map(|(at, _)| at), last];
    let done = known.into_iter().flatten().fold(zxid, Zxid::max);
    let tree = sink.finish(zxid).map_err(|e| StorageError::BadSnapshot {
        path: path.to_owned(),
        offset: 0,
        what: e.to_string(),
    })?;
    Ok((tree, done))
}

fn other_tree(path: &Path, zxid: Zxid, told: u64, read: u64) -> ToolError {
    ToolError::Damaged(format!(
        "{}: tells digest {told:#x} of the tree at {zxid}, and the tree that was read there has {read:#x}",
        path.display()
    ))
}

/// The digest of nodes as they come.
pub(super) struct Summing(pub(super) u64);

impl SnapshotSink for Summing {
    fn clear(&mut self) {
        self.0 = 0;
    }

    fn session(&mut self, _id: SessionId, _timeout_ms: i32) -> Result<(), Refused> {
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        _acl: &Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        self.0 = self.0.wrapping_add(node_digest(path, data, &stat));
        Ok(())
    }
}
