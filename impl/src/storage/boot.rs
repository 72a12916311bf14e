//! What a server begins with: tree and history from the data directory.

use super::disk::Disk;
use super::recovery::{RecoveryOptions, RecoverySink, recover};
use super::snapshot::body::{Refused, SnapshotSink};
use super::snapshot::tree::TreeSink;
use super::snapshot::{Form, SnapshotFacts};
use super::stage::stage;
use super::txn_log::LogEntry;
use super::{Dirs, Result, StorageError};
use crate::wire::payload::Logged;
use tracing::{info, warn};
use zabra_model::durable::{self, Durable};
use zabra_model::history::History;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::service::members::Members;
use zabra_model::service::reach::Reach;
use zabra_model::service::snapshots::Replay;
use zabra_model::switch::Switches;
use zabra_model::tree::acl::Acl;
use zabra_model::tree::digest::digest;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::tree::path::CONFIG;
use zabra_model::tree::stat::StatPersisted;

/// How a server starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootOptions {
    /// See [`RecoveryOptions::trust_empty_snapshot`].
    pub trust_empty_snapshot: bool,
    /// Whether the server is one of several; one on its own has no epochs.
    pub is_ensemble: bool,
    /// How the first snapshot of a new server is written.
    pub form: Form,
}

enum Growing {
    Snapshot(TreeSink, bool),
    Tree(Tree),
    /// Between the two.
    Nothing,
}

/// What has been read so far; behind that, the lists of members in it, by version, the digest that a snapshot has told, and the sizes
/// of the log.
struct BootSink(Growing, Replay, Vec<Members>, Told, Reach);

/// A digest that a snapshot has told: of the tree at a zxid that replay has not reached yet, or of one that can be compared.
enum Told {
    Nothing,
    At(Zxid, u64),
    Of(ToldDigest),
}

/// What a snapshot has told of a tree, and that tree as it was read. To compare the two is to go through all nodes: a server does that
/// beside its start.
pub struct ToldDigest {
    image: Image,
    /// The digest that the snapshot has told.
    pub told: u64,
}

impl ToldDigest {
    /// The zxid that it was told for.
    #[must_use]
    pub const fn zxid(&self) -> Zxid {
        self.image.zxid
    }

    /// The digest of the tree that was read.
    #[must_use]
    pub fn read(&self) -> u64 {
        digest(self.image.nodes())
    }
}

impl BootSink {
    fn new() -> Self {
        let (replay, reach) = (Replay::default(), Reach::starting_at(Zxid::ZERO, 0));
        Self(Growing::Nothing, replay, Vec::new(), Told::Nothing, reach)
    }

    fn sink(&mut self) -> std::result::Result<&mut TreeSink, Refused> {
        if matches!(self.0, Growing::Nothing) {
            self.0 = Growing::Snapshot(TreeSink::new(), false);
        }
        match &mut self.0 {
            Growing::Snapshot(sink, any) => {
                *any = true;
                Ok(sink)
            }
            Growing::Tree(_) | Growing::Nothing => {
                Err(Refused("a snapshot after transactions".into()))
            }
        }
    }

    fn tree(&mut self) -> std::result::Result<&mut Tree, Refused> {
        self.0 = match std::mem::replace(&mut self.0, Growing::Nothing) {
            Growing::Snapshot(sink, true) => Growing::Tree(
                sink.finish(Zxid::ZERO)
                    .map_err(|e| Refused(e.to_string()))?,
            ),
            Growing::Snapshot(_, false) | Growing::Nothing => Growing::Tree(Tree::new()),
            tree @ Growing::Tree(_) => tree,
        };
        match &mut self.0 {
            Growing::Tree(tree) => Ok(tree),
            Growing::Snapshot(..) | Growing::Nothing => Err(Refused("no tree".into())),
        }
    }

    /// The tree is at `zxid`: if a digest was told for that, both are kept.
    fn keep_told(&mut self, zxid: Zxid) -> std::result::Result<(), Refused> {
        if let Told::At(at, told) = self.3
            && at == zxid
        {
            let mut image = self.tree()?.image();
            image.zxid = zxid;
            self.3 = Told::Of(ToldDigest { image, told });
        }
        Ok(())
    }

    fn finish(mut self, last: Zxid) -> std::result::Result<Tree, Refused> {
        self.tree()?.raise_last_zxid(last);
        match self.0 {
            Growing::Tree(tree) => Ok(tree),
            Growing::Snapshot(..) | Growing::Nothing => Err(Refused("no tree".into())),
        }
    }
}

impl SnapshotSink for BootSink {
    fn clear(&mut self) {
        *self = Self::new();
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> std::result::Result<(), Refused> {
        self.sink()?.session(id, timeout_ms)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: Acl,
        stat: StatPersisted,
    ) -> std::result::Result<(), Refused> {
        // The transaction that brought the list may be in no log any more. What a client has written there is not one.
        if path == CONFIG
            && let Some(members) = list_in(data)
            && members.version == stat.mzxid
        {
            self.2.push(members);
        }
        self.sink()?.node(path, data, acl, stat)
    }
}

impl RecoverySink for BootSink {
    fn loaded(&mut self, facts: &SnapshotFacts) -> std::result::Result<(), Refused> {
        self.4 = Reach::starting_at(facts.zxid, 0);
        // One of an earlier zxid is no word about this tree: ZooKeeper names a snapshot (epoch, 0) that has the digest of before.
        if let Some((at, told)) = facts.digest {
            self.3 = Told::At(at, told);
        }
        self.keep_told(facts.zxid)
    }

    fn txn(&mut self, entry: LogEntry) -> std::result::Result<(), Refused> {
        self.1.add(entry.payload.len());
        self.4.logged(entry.zxid, entry.payload.len());
        let logged = Logged::decode(entry.payload).map_err(|e| Refused(e.to_string()))?;
        self.tree()?.apply(&logged.header, &logged.txn, &mut |_| {});
        self.2.extend(logged.members.map(|members| *members));
        self.keep_told(logged.header.zxid)
    }
}

/// The list of members that the text of the configuration node is.
fn list_in(data: Option<&[u8]>) -> Option<Members> {
    Members::parse(std::str::from_utf8(data?).ok()?).ok()
}

/// What was found.
pub struct Found {
    /// The tree as of the end of the log.
    pub tree: Tree,
    /// Epochs and history.
    pub durable: Durable,
    /// What was applied behind the snapshot.
    pub replayed: Replay,
    /// How large the log is from where, and the snapshot.
    pub reach: Reach,
    /// The lists of members that the history brings, by version: that of the snapshot, and those of the log.
    pub lists: Vec<Members>,
    /// The digest that the snapshot has told, with the tree that it is to be of.
    pub told: Option<ToldDigest>,
}

/// Reads the data directory, and makes durable what it tells of; a new one gets its first snapshot.
///
/// # Errors
/// [`StorageError`].
pub fn read<D: Disk>(disk: &D, dirs: &Dirs, options: BootOptions) -> Result<Found> {
    let (tree, found, replayed, reach, lists, told) = read_with(disk, dirs, options, true)?;
    let durable = found.report(Switches::default());
    let durable =
        durable.unwrap_or_else(|part| panic!("{part:?} is reported before it is durable"));
    Ok(Found {
        tree,
        durable,
        replayed,
        reach,
        lists,
        told,
    })
}

/// Reads the tree once more while the server runs: what lies on the disk is durable, and stays as it is.
///
/// # Errors
/// [`StorageError`].
pub fn read_again<D: Disk>(disk: &D, dirs: &Dirs, options: BootOptions) -> Result<Tree> {
    read_with(disk, dirs, options, false).map(|(tree, ..)| tree)
}

/// What is read: the parts of [`Found`].
type Read = (
    Tree,
    durable::Found,
    Replay,
    Reach,
    Vec<Members>,
    Option<ToldDigest>,
);

fn read_with<D: Disk>(disk: &D, dirs: &Dirs, options: BootOptions, settle: bool) -> Result<Read> {
    let form = options.form;
    let options = RecoveryOptions {
        trust_empty_snapshot: options.trust_empty_snapshot,
        create_epochs: options.is_ensemble,
        settle,
    };
    let mut sink = BootSink::new();
    let found = recover(disk, dirs, options, &mut sink)?;
    for repair in &found.repairs {
        warn!("{repair}");
    }
    let refused = |Refused(what)| StorageError::BadSnapshot {
        path: dirs.snap.clone(),
        offset: 0,
        what,
    };
    let mut replayed = sink.1;
    let mut reach = std::mem::take(&mut sink.4);
    reach.snapshot(found.snapshot_bytes);
    let lists = std::mem::take(&mut sink.2);
    let told = match std::mem::replace(&mut sink.3, Told::Nothing) {
        Told::Of(told) => Some(told),
        Told::At(..) | Told::Nothing => None,
    };
    let tree = sink.finish(found.last_zxid).map_err(refused)?;
    let mut history = History::starting_at(found.snapshot_zxid());
    if found.snapshot.is_none() {
        // Without a snapshot the next start would not know what the log builds on.
        let first = stage(disk, dirs, &tree.image(), form)?;
        reach = Reach::starting_at(found.last_zxid, first.bytes);
        first.publish(disk)?;
        history = History::starting_at(found.last_zxid);
        replayed = Replay::default();
    } else {
        for run in &found.runs {
            (run.first.0..=run.last.0).for_each(|zxid| history.append(Zxid(zxid)));
        }
    }
    info!(zxid = %found.last_zxid, nodes = tree.len(), accepted = found.epochs.accepted.0,
        current = found.epochs.current.0, "data read");
    let read = Durable {
        accepted: found.epochs.accepted,
        current: found.epochs.current,
        history,
    };
    // The model says what a start owes before it may tell of what it has read.
    let mut owing = durable::Found::new(read, found.synced);
    for (part, how) in found.made {
        owing.made(part, how, Switches::default());
    }
    Ok((tree, owing, replayed, reach, lists, told))
}
