//! The tree that a start reads, while it grows: from a snapshot, then by the transactions behind it.
//!
//! Transactions that have been read, checked and decoded are gathered in batches. A log that has more than a few of them gets a thread,
//! which applies one batch while the next one is read: either takes about half of the time. Batches go there in order and are few, so
//! what comes out is what one thread alone would make, and memory is bounded. Batches that have been applied come back, and what they
//! held is freed where it was allocated. Nodes of a snapshot go into the tree at once: for them a hand-over costs more than it saves.

use super::snapshot::body::Refused;
use super::snapshot::tree::TreeSink;
use crate::wire::payload::Logged;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use zabra_model::ids::Zxid;
use zabra_model::tree::digest::digest;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::Txn;

/// A batch is full with so many transactions, or so many bytes.
const BATCH_TXNS: usize = 512;
const BATCH_BYTES: usize = 256 << 10;
/// So many batches are applied without a thread for it.
const BATCHES_ALONE: usize = 4;
/// Batches that wait for the thread.
const BATCHES_WAITING: usize = 4;
/// What so many transactions will look for is fetched from memory together: it fits a processor's first cache.
const TXNS_WARMED: usize = 64;

/// Runs a job on a thread of its own; false if there is none to be had. The job is then dropped.
pub type Beside = fn(Box<dyn FnOnce() + Send>) -> bool;

/// A tree that grows, here or on a thread.
pub(super) struct Growth {
    beside: Option<Beside>,
    stage: Stage,
    told: Told,
    batch: Vec<Logged>,
    bytes: usize,
    batches: usize,
    /// Has stage and digest with it, while it is there.
    thread: Option<Applier>,
}

#[derive(Default)]
enum Stage {
    /// Nothing has been read.
    #[default]
    Nothing,
    Snapshot(TreeSink),
    Tree(Tree),
}

/// The thread that applies batches.
struct Applier {
    begin: SyncSender<(Tree, Told)>,
    full: SyncSender<Vec<Logged>>,
    applied: Receiver<Vec<Logged>>,
    grown: Receiver<(Tree, Told)>,
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

impl Told {
    /// The tree is at `zxid`: if a digest was told for that, both are kept.
    fn keep(&mut self, tree: &Tree, zxid: Zxid) {
        if let Self::At(at, told) = *self
            && at == zxid
        {
            let mut image = tree.image();
            image.zxid = zxid;
            *self = Self::Of(ToldDigest { image, told });
        }
    }
}

impl Growth {
    /// Without `beside`, everything is done here.
    pub(super) fn new(beside: Option<Beside>) -> Self {
        Self {
            beside,
            stage: Stage::Nothing,
            told: Told::Nothing,
            batch: Vec::new(),
            bytes: 0,
            batches: 0,
            thread: None,
        }
    }

    /// What takes sessions and nodes of the snapshot.
    ///
    /// # Errors
    /// [`Refused`] behind transactions.
    pub(super) fn snapshot(&mut self) -> Result<&mut TreeSink, Refused> {
        if matches!(self.stage, Stage::Nothing) {
            self.stage = Stage::Snapshot(TreeSink::new());
        }
        match &mut self.stage {
            Stage::Snapshot(sink) => Ok(sink),
            Stage::Tree(_) | Stage::Nothing => Err(Refused("a snapshot after transactions".into())),
        }
    }

    /// The snapshot has ended, and stands at `zxid`; with the digest that it tells, and the zxid of that.
    ///
    /// # Errors
    /// [`Refused`] if it is no tree.
    pub(super) fn loaded(&mut self, zxid: Zxid, told: Option<(Zxid, u64)>) -> Result<(), Refused> {
        let tree = self.take_tree()?;
        // One of an earlier zxid is no word about this tree: ZooKeeper names a snapshot (epoch, 0) that has the digest of before.
        self.told = told.map_or(Told::Nothing, |(at, told)| Told::At(at, told));
        self.told.keep(&tree, zxid);
        self.stage = Stage::Tree(tree);
        Ok(())
    }

    fn take_tree(&mut self) -> Result<Tree, Refused> {
        match std::mem::take(&mut self.stage) {
            Stage::Snapshot(sink) => sink.finish(Zxid::ZERO).map_err(|e| Refused(e.to_string())),
            Stage::Nothing => Ok(Tree::new()),
            Stage::Tree(tree) => Ok(tree),
        }
    }

    /// The next transaction, in so many bytes.
    ///
    /// # Errors
    /// [`Refused`] if what was there before is no tree.
    pub(super) fn txn(&mut self, logged: Logged, bytes: usize) -> Result<(), Refused> {
        self.batch.push(logged);
        self.bytes += bytes;
        if self.batch.len() >= BATCH_TXNS || self.bytes >= BATCH_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Refused> {
        self.bytes = 0;
        self.batches += 1;
        if self.batches > BATCHES_ALONE
            && let Some(beside) = self.beside.take()
            && let Some(applier) = Applier::start(beside)
        {
            let begin = (self.take_tree()?, std::mem::take(&mut self.told));
            applier.begin.send(begin).map_err(|_| gone())?;
            self.thread = Some(applier);
        }
        match &self.thread {
            None => {
                let mut tree = self.take_tree()?;
                apply(&mut tree, &mut self.told, &self.batch);
                self.stage = Stage::Tree(tree);
                self.batch.clear();
            }
            Some(applier) => {
                let mut next = applier.applied.try_recv().unwrap_or_default();
                next.clear();
                let full = std::mem::replace(&mut self.batch, next);
                applier.full.send(full).map_err(|_| gone())?;
            }
        }
        Ok(())
    }

    /// The tree as of the end of the log, and the digest that its snapshot has told.
    ///
    /// # Errors
    /// [`Refused`] if there is no tree.
    pub(super) fn finish(mut self, last: Zxid) -> Result<(Tree, Option<ToldDigest>), Refused> {
        self.hand_over()?;
        let (mut tree, told) = match self.thread.take() {
            Some(applier) => applier.end()?,
            None => (self.take_tree()?, self.told),
        };
        tree.raise_last_zxid(last);
        let told = match told {
            Told::Of(told) => Some(told),
            Told::At(..) | Told::Nothing => None,
        };
        Ok((tree, told))
    }
}

fn apply(tree: &mut Tree, told: &mut Told, batch: &[Logged]) {
    for txns in batch.chunks(TXNS_WARMED) {
        tree.warm(txns.iter().filter_map(|logged| path_of(&logged.txn)));
        for logged in txns {
            tree.apply(&logged.header, &logged.txn, &mut |_| {});
            told.keep(tree, logged.header.zxid);
        }
    }
}

/// What a transaction will look for in the tree, if that is one node.
fn path_of(txn: &Txn) -> Option<&str> {
    match txn {
        Txn::Create { path, .. } | Txn::SetData { path, .. } | Txn::Delete { path, .. } => {
            Some(path)
        }
        _ => None,
    }
}

impl Applier {
    fn start(beside: Beside) -> Option<Self> {
        let (full, batches) = sync_channel::<Vec<Logged>>(BATCHES_WAITING);
        // As many as there can be, so that each comes back.
        let (give_back, applied) = sync_channel(2 * BATCHES_WAITING);
        let (begin, begun) = sync_channel::<(Tree, Told)>(1);
        let (give, grown) = sync_channel(1);
        let run = move || {
            let Ok((mut tree, mut told)) = begun.recv() else {
                return;
            };
            for batch in batches {
                apply(&mut tree, &mut told, &batch);
                let _ = give_back.try_send(batch);
            }
            let _ = give.send((tree, told));
        };
        beside(Box::new(run)).then_some(Self {
            begin,
            full,
            applied,
            grown,
        })
    }

    fn end(self) -> Result<(Tree, Told), Refused> {
        drop(self.full);
        self.grown.recv().map_err(|_| gone())
    }
}

/// The thread has panicked, and said why.
fn gone() -> Refused {
    Refused("the thread that applies transactions has ended".into())
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::body::SnapshotSink;
    use super::super::snapshot::tree::open_acl;
    use super::*;
    use bytes::{Bytes, BytesMut};
    use zabra_model::ids::{Epoch, SessionId};
    use zabra_model::tree::stat::StatPersisted;
    use zabra_model::tree::txn::{Created, TxnHeader};

    fn node(growth: &mut Growth, path: &str) -> Result<(), Refused> {
        let stat = StatPersisted::default();
        growth.snapshot()?.node(path, Some(b"x"), open_acl(), stat)
    }

    fn txn(growth: &mut Growth, counter: u32, txn: Txn) {
        let header = TxnHeader {
            zxid: Zxid::new(Epoch(1), counter),
            ..TxnHeader::default()
        };
        let logged = Logged::encode(header, txn, &mut BytesMut::new());
        growth.txn(logged, 100).unwrap();
    }

    fn create(path: &str) -> Txn {
        Txn::Create {
            path: path.into(),
            data: Some(Bytes::from_static(b"y")),
            acl: vec![],
            created: Created::Node {
                ephemeral: false,
                with_stat: false,
            },
            parent_cversion: -1,
        }
    }

    fn on_a_thread(job: Box<dyn FnOnce() + Send>) -> bool {
        std::thread::spawn(job);
        true
    }

    /// So many nodes of a snapshot, and as many transactions, of which one deletes, the next one makes a node.
    fn grown(count: u32, beside: Option<Beside>) -> Growth {
        let mut growth = Growth::new(beside);
        let sink = growth.snapshot().unwrap();
        sink.session(SessionId(7), 4000).unwrap();
        node(&mut growth, "").unwrap();
        for n in 0..count {
            node(&mut growth, &format!("/s{n:06}")).unwrap();
        }
        let told = Some((Zxid::new(Epoch(1), count), 77));
        growth.loaded(Zxid::new(Epoch(1), 0), told).unwrap();
        for n in 1..=count {
            let path = format!("/s{:06}", n - 1).into();
            let container = false;
            let of_even = Txn::Delete { path, container };
            let of_odd = create(&format!("/l{n:06}"));
            txn(&mut growth, n, if n % 2 == 0 { of_even } else { of_odd });
        }
        growth
    }

    #[test]
    fn short_and_long_logs_grow_the_same_tree_with_a_thread_and_without() {
        let none: Beside = |_| false;
        let ways = [None, Some(on_a_thread as Beside), Some(none)];
        for (count, beside) in [2, 100, 20_000]
            .into_iter()
            .flat_map(|n| ways.map(|way| (n, way)))
        {
            let growth = grown(count, beside);
            let has_thread = count > 10_000 && beside.is_some_and(|f| f(Box::new(|| {})));
            assert_eq!(growth.thread.is_some(), has_thread, "{count}");
            let last = Zxid::new(Epoch(1), count + 5);
            let (tree, told) = growth.finish(last).unwrap();
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

    /// At once, or when the snapshot has ended: another one can be tried then.
    #[test]
    fn what_is_no_tree_is_refused_before_transactions_come() {
        for bad in ["/no/parent", "/s000003", ""] {
            let mut growth = Growth::new(None);
            let nodes = (0..2000).map(|n| format!("/s{n:06}"));
            let nodes = [String::new()].into_iter().chain(nodes);
            let mut refused = Ok(());
            for path in nodes.chain([bad.to_owned()]) {
                refused = refused.and_then(|()| node(&mut growth, &path));
            }
            let refused = refused.and_then(|()| growth.loaded(Zxid(9), None));
            assert!(refused.is_err_and(|Refused(what)| what.contains(bad)));
        }
    }

    /// Of the tree that the snapshot holds, of one to come, or of one that was before.
    #[test]
    fn a_digest_counts_for_the_tree_of_its_zxid_alone() {
        for (zxid, is_kept) in [(9, true), (8, false), (10, false)] {
            let mut growth = Growth::new(None);
            node(&mut growth, "").unwrap();
            growth.loaded(Zxid(9), Some((Zxid(zxid), 77))).unwrap();
            let (_, told) = growth.finish(Zxid(20)).unwrap();
            assert_eq!(told.map(|told| told.zxid()), is_kept.then_some(Zxid(9)));
        }
    }
}
