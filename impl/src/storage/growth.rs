//! The tree that a start reads, while it grows.
//!
//! What has been read and decoded is gathered in batches. A data directory that has more than a few of them gets a thread, which puts
//! one batch into the tree while the next one is read, checked and decoded: either takes about half of the time. Batches go there in
//! order and are few, so what comes out is what one thread alone would make, and memory is bounded. Batches that have been used come
//! back, and what they held is freed where it was allocated.

use super::snapshot::body::Refused;
use crate::wire::payload::Logged;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::digest::digest;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::tree::restore::{Prepared, Restore};

/// A batch is full with so many pieces, or so many bytes.
const BATCH_PIECES: usize = 512;
const BATCH_BYTES: usize = 256 << 10;
/// So many batches are put into the tree without a thread for it.
const BATCHES_ALONE: usize = 4;
/// Batches that wait for the thread.
const BATCHES_WAITING: usize = 4;

/// What a tree grows by, in the order in which a start reads it.
pub(super) enum Piece {
    /// A global session of the snapshot, and its timeout in ms.
    Session(SessionId, i32),
    /// A list of access control of the snapshot, and the number that nodes refer to.
    Acl(i64, Acl),
    /// A node of the snapshot.
    Node(Prepared),
    /// The snapshot has ended, and stands at this zxid; with the digest that it tells, and the zxid of that.
    Loaded(Zxid, Option<(Zxid, u64)>),
    /// A transaction behind it.
    Txn(Logged),
    /// One that has been used.
    Used,
}

/// A tree that grows, here or on a thread.
pub(super) struct Growth {
    batch: Vec<Piece>,
    bytes: usize,
    batches: usize,
    /// What has grown here; it is empty while there is a thread.
    grown: Box<Grown>,
    thread: Option<Applier>,
}

/// The thread that puts batches into the tree.
struct Applier {
    full: SyncSender<Vec<Piece>>,
    used: Receiver<Vec<Piece>>,
    thread: JoinHandle<Box<Grown>>,
}

/// What has grown so far.
#[derive(Default)]
pub(super) struct Grown {
    stage: Stage,
    told: Told,
    refused: Option<Refused>,
}

#[derive(Default)]
enum Stage {
    /// Nothing has been read.
    #[default]
    Nothing,
    Snapshot(Restore),
    Tree(Tree),
}

/// A digest that a snapshot has told: of the tree at a zxid that replay has not reached yet, or of one that can be compared.
#[derive(Default)]
enum Told {
    #[default]
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

impl Growth {
    pub(super) fn new() -> Self {
        Self {
            batch: Vec::new(),
            bytes: 0,
            batches: 0,
            grown: Box::default(),
            thread: None,
        }
    }

    /// The next piece, which takes about so many bytes.
    pub(super) fn push(&mut self, piece: Piece, bytes: usize) {
        self.batch.push(piece);
        self.bytes += bytes;
        if self.batch.len() >= BATCH_PIECES || self.bytes >= BATCH_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        self.batches += 1;
        if self.thread.is_none() && self.batches > BATCHES_ALONE {
            self.thread = Applier::start(&mut self.grown);
        }
        match &self.thread {
            // Without a thread to be had, it goes on here.
            None => {
                self.grown.take(&mut self.batch);
                self.batch.clear();
            }
            Some(applier) => {
                let mut next = applier.used.try_recv().unwrap_or_default();
                next.clear();
                let full = std::mem::replace(&mut self.batch, next);
                // A thread that does not take it has panicked, which shows where its end is waited for.
                let _ = applier.full.send(full);
            }
        }
    }

    /// What has grown, with every piece that has been pushed.
    pub(super) fn all(&mut self) -> &mut Grown {
        self.hand_over();
        self.batches = 0;
        if let Some(applier) = self.thread.take() {
            self.grown = applier.end();
        }
        &mut self.grown
    }
}

impl Applier {
    /// Takes what has grown with it.
    fn start(grown: &mut Box<Grown>) -> Option<Self> {
        let (full, batches) = sync_channel::<Vec<Piece>>(BATCHES_WAITING);
        // As many as there can be, so that each comes back.
        let (give_back, used) = sync_channel(2 * BATCHES_WAITING);
        let (begin, begun) = sync_channel::<Box<Grown>>(1);
        let run = move || {
            let mut grown = begun.recv().unwrap_or_default();
            for mut batch in batches {
                grown.take(&mut batch);
                let _ = give_back.try_send(batch);
            }
            grown
        };
        let thread = Builder::new().name("recovery".into()).spawn(run).ok()?;
        let _ = begin.send(std::mem::take(grown));
        Some(Self { full, used, thread })
    }

    fn end(self) -> Box<Grown> {
        drop(self.full);
        match self.thread.join() {
            Ok(grown) => grown,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Grown {
    /// Takes each piece out of a batch but the transactions, which are only read.
    fn take(&mut self, batch: &mut [Piece]) {
        for piece in batch {
            if self.refused.is_some() {
                return;
            }
            let grown = match piece {
                Piece::Txn(logged) => self.txn(logged),
                other => self.of_snapshot(std::mem::replace(other, Piece::Used)),
            };
            self.refused = grown.err();
        }
    }

    fn of_snapshot(&mut self, piece: Piece) -> Result<(), Refused> {
        if let Piece::Loaded(zxid, told) = piece {
            // One of an earlier zxid is no word about this tree: ZooKeeper names a snapshot (epoch, 0) that has the digest of before.
            self.told = told.map_or(Told::Nothing, |(at, told)| Told::At(at, told));
            self.tree()?;
            return self.keep_told(zxid);
        }
        if let Stage::Nothing = self.stage {
            self.stage = Stage::Snapshot(Restore::new());
        }
        let Stage::Snapshot(restore) = &mut self.stage else {
            return Err(Refused("a snapshot after transactions".into()));
        };
        match piece {
            Piece::Session(session, timeout_ms) => restore.session(session, timeout_ms),
            Piece::Acl(id, list) => restore.acl(id, &list),
            Piece::Node(node) => restore.add(node).map_err(|e| Refused(e.to_string()))?,
            Piece::Loaded(..) | Piece::Txn(_) | Piece::Used => {}
        }
        Ok(())
    }

    fn txn(&mut self, logged: &Logged) -> Result<(), Refused> {
        self.tree()?.apply(&logged.header, &logged.txn, &mut |_| {});
        self.keep_told(logged.header.zxid)
    }

    fn tree(&mut self) -> Result<&mut Tree, Refused> {
        if !matches!(self.stage, Stage::Tree(_)) {
            self.stage = Stage::Tree(match std::mem::take(&mut self.stage) {
                Stage::Snapshot(restore) => {
                    let tree = restore.finish(Zxid::ZERO);
                    tree.map_err(|e| Refused(e.to_string()))?
                }
                Stage::Nothing => Tree::new(),
                Stage::Tree(tree) => tree,
            });
        }
        match &mut self.stage {
            Stage::Tree(tree) => Ok(tree),
            Stage::Snapshot(_) | Stage::Nothing => Err(Refused("no tree".into())),
        }
    }

    /// The tree is at `zxid`: if a digest was told for that, both are kept.
    fn keep_told(&mut self, zxid: Zxid) -> Result<(), Refused> {
        if let Told::At(at, told) = self.told
            && at == zxid
        {
            let mut image = self.tree()?.image();
            image.zxid = zxid;
            self.told = Told::Of(ToldDigest { image, told });
        }
        Ok(())
    }

    /// Whether all that came so far could be taken.
    ///
    /// # Errors
    /// [`Refused`]: what could not.
    pub(super) fn is_sound(&self) -> Result<(), Refused> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// The tree as of the end of the log, and the digest that its snapshot has told.
    ///
    /// # Errors
    /// [`Refused`]: what could not be taken.
    pub(super) fn finish(&mut self, last: Zxid) -> Result<(Tree, Option<ToldDigest>), Refused> {
        self.is_sound()?;
        self.tree()?.raise_last_zxid(last);
        let told = match std::mem::take(&mut self.told) {
            Told::Of(told) => Some(told),
            Told::At(..) | Told::Nothing => None,
        };
        match std::mem::take(&mut self.stage) {
            Stage::Tree(tree) => Ok((tree, told)),
            Stage::Snapshot(_) | Stage::Nothing => Err(Refused("no tree".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::payload::Logged;
    use bytes::{Bytes, BytesMut};
    use zabra_model::ids::Epoch;
    use zabra_model::tree::image::OPEN_ACL_ID;
    use zabra_model::tree::stat::StatPersisted;
    use zabra_model::tree::txn::{Created, Txn, TxnHeader};

    fn node(path: &str) -> Piece {
        let stat = StatPersisted::default();
        Piece::Node(Prepared::new(path, Some(b"x"), OPEN_ACL_ID, &stat))
    }

    fn txn(counter: u32, txn: Txn) -> Piece {
        let header = TxnHeader {
            zxid: Zxid::new(Epoch(1), counter),
            ..TxnHeader::default()
        };
        Piece::Txn(Logged::encode(header, txn, &mut BytesMut::new()))
    }

    fn create(counter: u32, path: &str) -> Piece {
        let (data, acl) = (Some(Bytes::from_static(b"y")), vec![]);
        let created = Created::Node {
            ephemeral: false,
            with_stat: false,
        };
        txn(
            counter,
            Txn::Create {
                path: path.into(),
                data,
                acl,
                created,
                parent_cversion: counter as i32,
            },
        )
    }

    /// The root, `count` nodes of a snapshot, as many transactions, each of which changes what is there.
    fn grown(count: u32) -> (Growth, u32) {
        let mut growth = Growth::new();
        growth.push(Piece::Session(SessionId(7), 4000), 1);
        growth.push(node(""), 1);
        for n in 0..count {
            growth.push(node(&format!("/s{n:06}")), 100);
        }
        let at = Zxid::new(Epoch(1), 0);
        let told = Some((Zxid::new(Epoch(1), count), 77));
        growth.push(Piece::Loaded(at, told), 1);
        growth.all().is_sound().unwrap();
        for n in 1..=count {
            let piece = if n % 2 == 0 {
                let path = format!("/s{:06}", n - 1).into();
                let container = false;
                txn(n, Txn::Delete { path, container })
            } else {
                create(n, &format!("/l{n:06}"))
            };
            growth.push(piece, 100);
        }
        let threads = u32::from(growth.thread.is_some());
        (growth, threads)
    }

    #[test]
    fn large_and_small_directories_grow_the_same_tree_with_a_thread_and_without() {
        for count in [2, 100, 20_000] {
            let (mut growth, threads) = grown(count);
            assert_eq!(threads, u32::from(count > 10_000), "{count}");
            let last = Zxid::new(Epoch(1), count + 5);
            let (tree, told) = growth.all().finish(last).unwrap();
            assert_eq!(tree.last_zxid(), last);
            assert_eq!(tree.session_timeout(SessionId(7)), Some(4000));
            // Half of what was there has gone, and as many have come.
            assert_eq!(tree.len(), count as usize + 4);
            for n in 1..=count {
                let is_deleted = tree.find(&format!("/s{:06}", n - 1)).is_none();
                assert_eq!(is_deleted, n % 2 == 0, "{n}");
                let is_made = tree.find(&format!("/l{n:06}")).is_some();
                assert_eq!(is_made, n % 2 == 1, "{n}");
            }
            let told = told.expect("the tree has been at the zxid of the digest");
            assert_eq!((told.zxid(), told.told), (Zxid::new(Epoch(1), count), 77));
            assert_eq!(told.read(), digest(tree.nodes()));
        }
    }

    /// Also behind thousands of nodes, on the thread: what comes later does not cover it up.
    #[test]
    fn what_cannot_be_taken_is_told_when_the_snapshot_has_ended() {
        for (count, bad) in [
            (3, "/no/parent"),
            (20_000, "/no/parent"),
            (20_000, "/s000003"),
        ] {
            let mut growth = Growth::new();
            growth.push(node(""), 1);
            for n in 0..count {
                growth.push(node(&format!("/s{n:06}")), 100);
            }
            growth.push(node(bad), 1);
            for n in count..count + 5000 {
                growth.push(node(&format!("/s{n:06}")), 100);
            }
            growth.push(Piece::Loaded(Zxid(9), None), 1);
            let refused = growth.all().is_sound();
            assert!(refused.is_err_and(|Refused(what)| what.contains(bad)));
            assert!(growth.all().finish(Zxid(9)).is_err());
        }
    }
}
