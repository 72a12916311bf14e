//! What a server begins with: tree and history from the data directory.

use super::disk::Disk;
use super::growth::Growth;
pub use super::growth::{Beside, ToldDigest};
use super::recovery::{RecoveryOptions, RecoverySink, recover};
use super::snapshot::body::{Refused, SnapshotSink};
use super::snapshot::{Form, SnapshotFacts};
use super::stage::stage;
use super::{Dirs, Result, StorageError};
use crate::codes::Code;
use crate::wire::cursor::AclMemo;
use crate::wire::payload::members_of;
use crate::wire::txn::read_lent_txn;
use tracing::{info, warn};
use zabra_model::durable::{self, Durable};
use zabra_model::history::History;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::service::members::Members;
use zabra_model::service::reach::Reach;
use zabra_model::service::snapshots::Replay;
use zabra_model::switch::Switches;
use zabra_model::tree::acl::Acl;
use zabra_model::tree::node::Tree;
use zabra_model::tree::path::CONFIG;
use zabra_model::tree::stat::StatPersisted;

/// How a server starts.
#[derive(Clone, Copy, Debug)]
pub struct BootOptions {
    /// See [`RecoveryOptions::trust_empty_snapshot`].
    pub trust_empty_snapshot: bool,
    /// Whether the server is one of several; one on its own has no epochs.
    pub is_ensemble: bool,
    /// How the first snapshot of a new server is written.
    pub form: Form,
    /// Where transactions are applied while the next ones are read; nowhere but here without it.
    pub beside: Option<Beside>,
}

/// What has been read so far.
struct BootSink {
    beside: Option<Beside>,
    growth: Growth,
    replayed: Replay,
    /// The lists of members in it, by version.
    lists: Vec<Members>,
    /// The sizes of the log.
    reach: Reach,
    memo: AclMemo,
}

impl BootSink {
    fn new(beside: Option<Beside>) -> Self {
        Self {
            beside,
            growth: Growth::new(beside),
            replayed: Replay::default(),
            lists: Vec::new(),
            reach: Reach::starting_at(Zxid::ZERO, 0),
            memo: AclMemo::default(),
        }
    }
}

impl SnapshotSink for BootSink {
    fn clear(&mut self) {
        *self = Self::new(self.beside);
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> std::result::Result<(), Refused> {
        self.growth.snapshot()?.session(id, timeout_ms)
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Acl,
        stat: StatPersisted,
    ) -> std::result::Result<(), Refused> {
        // The transaction that brought the list may be in no log any more. What a client has written there is not one.
        if path == CONFIG
            && let Some(members) = list_in(data)
            && members.version == stat.mzxid
        {
            self.lists.push(members);
        }
        self.growth.snapshot()?.node(path, data, acl, stat)
    }
}

impl RecoverySink for BootSink {
    fn loaded(&mut self, facts: &SnapshotFacts) -> std::result::Result<(), Refused> {
        self.reach = Reach::starting_at(facts.zxid, 0);
        self.growth.loaded(facts.zxid, facts.digest)
    }

    fn log(&mut self, bytes: u64) {
        self.growth.expect(bytes);
    }

    fn txn(&mut self, zxid: Zxid, payload: &[u8]) -> std::result::Result<(), Refused> {
        self.replayed.add(payload.len());
        self.reach.logged(zxid, payload.len());
        // What cannot be read is refused now, while the reader knows where it stands.
        let read = read_lent_txn(payload, &mut self.memo).map_err(|e| Refused(e.to_string()))?;
        let members = members_of(&read.header, &read.txn);
        self.lists.extend(members.map(|members| *members));
        self.growth.txn(&read, payload)
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
    let BootOptions { form, beside, .. } = options;
    let options = RecoveryOptions {
        trust_empty_snapshot: options.trust_empty_snapshot,
        create_epochs: options.is_ensemble,
        settle,
    };
    let mut sink = BootSink::new(beside);
    let found = recover(disk, dirs, options, &mut sink)?;
    for repair in &found.repairs {
        warn!(code = %Code::LogRepaired, "{repair}");
    }
    let refused = |Refused(what)| StorageError::BadSnapshot {
        path: dirs.snap.clone(),
        offset: 0,
        what,
    };
    let BootSink {
        growth,
        mut replayed,
        lists,
        mut reach,
        ..
    } = sink;
    let (tree, told) = growth.finish(found.last_zxid).map_err(refused)?;
    reach.snapshot(found.snapshot_bytes);
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

#[cfg(test)]
mod tests {
    use super::super::recording::RecordingDisk;
    use super::super::snapshot::Packing;
    use super::super::snapshot::body::tests::sample;
    use super::super::snapshot::tests::stage as stage_nodes;
    use super::super::txn_log::writer::{LogOptions, TxnLog};
    use super::*;
    use crate::wire::payload::Logged;
    use bytes::BytesMut;
    use std::path::Path;
    use zabra_model::ids::Epoch;
    use zabra_model::tree::txn::{Txn, TxnHeader};

    const BASE: Zxid = Zxid::new(Epoch(1), 0);

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("d"))
    }

    /// A disk with the snapshot of a fresh tree, as of [`BASE`].
    fn disk() -> RecordingDisk {
        let (disk, mut image) = (RecordingDisk::default(), Tree::new().image());
        image.zxid = BASE;
        let staged = stage(&disk, &dirs(), &image, Packing::Plain).unwrap();
        staged.publish(&disk).unwrap();
        disk
    }

    fn found(disk: &RecordingDisk) -> Found {
        let options = BootOptions {
            trust_empty_snapshot: false,
            is_ensemble: false,
            form: Packing::Plain.into(),
            beside: None,
        };
        read(disk, &dirs(), options).unwrap()
    }

    /// Its bytes are whole, and its nodes are not.
    #[test]
    fn a_snapshot_that_is_no_tree_gives_way_to_the_one_before_it() {
        let disk = disk();
        let mut twice = sample();
        let again = twice.nodes[1].clone();
        twice.nodes.push(again);
        let staged = stage_nodes(&disk, &dirs().snap, Zxid::new(Epoch(2), 0).0, &twice);
        staged.publish(&disk).unwrap();
        let found = found(&disk);
        assert_eq!((found.tree.last_zxid(), found.tree.len()), (BASE, 4));
    }

    #[test]
    fn what_snapshot_and_log_tell_beside_the_tree_is_kept() {
        let disk = disk();
        let told = found(&disk).told.expect("the snapshot tells a digest");
        assert_eq!((told.zxid(), told.told), (BASE, told.read()));
        let text = "server.1=h:1:2:participant;3\nversion=0";
        let zxid = Zxid(BASE.0 + 1);
        let (header, txn) = (
            TxnHeader {
                zxid,
                ..TxnHeader::default()
            },
            Txn::SetData {
                path: CONFIG.into(),
                data: Some(text.into()),
                version: 1,
                reconfig: true,
            },
        );
        let logged = Logged::encode(header, txn, &mut BytesMut::new());
        let mut log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), BASE);
        log.append(zxid, &logged.bytes).unwrap();
        log.sync().unwrap();
        let found = found(&disk);
        assert_eq!(found.tree.last_zxid(), zxid);
        let bytes = logged.bytes.len() as u64;
        assert_eq!(found.replayed, Replay { txns: 1, bytes });
        let versions: Vec<Zxid> = found.lists.iter().map(|list| list.version).collect();
        assert_eq!(versions, [zxid]);
        let snapshot_bytes = disk.len(&super::super::snapshot::path_of(&dirs().snap, BASE));
        let mut reach = Reach::starting_at(BASE, 0);
        reach.logged(zxid, logged.bytes.len());
        reach.snapshot(snapshot_bytes.unwrap().unwrap());
        assert_eq!(found.reach, reach);
    }
}
