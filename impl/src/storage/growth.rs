//! The tree that a start reads, while it grows: from a snapshot, then by the transactions behind it.
//!
//! Transactions that have been read, checked and decoded are gathered in batches. A log that has more than a few of them gets a thread,
//! which applies one batch while the next one is read: either takes about half of the time, since what a create brings is laid out as the
//! tree will have it where it is read. Batches go there in order and are few, so what comes out is what one thread alone would make,
//! and memory is bounded. Those that have been applied come back to be filled again. Nodes of a snapshot go into the tree at once: for
//! them a hand-over costs more than it saves.

use super::snapshot::body::Refused;
use super::snapshot::tree::TreeSink;
use super::txn_log::ENTRY_HEAD_BYTES;
use crate::wire::cursor::AclMemo;
use crate::wire::txn::{LentTxn, Payload, read_lent_txn};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use zabra_model::ids::Zxid;
use zabra_model::tree::acl::AclEntry;
use zabra_model::tree::apply::MadeNode;
use zabra_model::tree::content::Content;
use zabra_model::tree::digest::digest;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::{Created, Txn, TxnHeader};

/// A batch is full with so many transactions, or so many bytes.
const BATCH_TXNS: usize = 512;
const BATCH_BYTES: usize = 256 << 10;
/// So many batches are applied without a thread for it.
const BATCHES_ALONE: usize = 4;
/// Batches that wait for the thread.
const BATCHES_WAITING: usize = 4;
/// What so many transactions will look for is fetched from memory together: it fits a processor's first cache.
const STEPS_WARMED: usize = 64;

/// Runs a job on a thread of its own; false if there is none to be had. The job is then dropped.
pub type Beside = fn(Box<dyn FnOnce() + Send>) -> bool;

/// A tree that grows, here or on a thread.
pub(super) struct Growth {
    beside: Option<Beside>,
    stage: Stage,
    told: Told,
    batch: Batch,
    batches: usize,
    /// Nodes that the log has made so far, less those it has deleted, and bytes of it that have been read, and that have not.
    nodes: usize,
    read: u64,
    ahead: u64,
    /// Has stage and digest with it, while it is there.
    thread: Option<Applier>,
}

/// Consecutive transactions.
#[derive(Default)]
struct Batch {
    steps: Vec<Step>,
    /// The paths that they are about, one behind the other.
    paths: String,
    /// Payloads of what is no create, one behind the other.
    payloads: Vec<u8>,
    /// Lists of access control of what is created: one behind the other is mostly the same.
    acls: Vec<Rights>,
    /// Of all payloads.
    bytes: usize,
    /// Nodes that are to come by it, and by the batches behind it: by the share of creates so far.
    nodes: usize,
}

/// A list of access control.
type Rights = Vec<AclEntry>;

/// A transaction of a batch.
struct Step {
    /// Where its path ends. One about several nodes, or about none, has an empty path.
    path: usize,
    change: Change,
}

enum Change {
    Create {
        header: TxnHeader,
        content: Content,
        /// The number of its list.
        acl: usize,
        created: Created,
        parent_cversion: i32,
    },
    /// Any other one, with the end of its payload.
    Other(usize),
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
    full: SyncSender<Batch>,
    applied: Receiver<Batch>,
    grown: Receiver<Result<(Tree, Told), Refused>>,
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

impl Batch {
    fn push(&mut self, read: &Payload<LentTxn<'_>>, payload: &[u8]) {
        self.bytes += payload.len();
        let change = match &read.txn {
            Txn::Create {
                path,
                data,
                acl,
                created,
                parent_cversion,
            } => {
                self.paths.push_str(path);
                if self.acls.last().is_none_or(|last| **last != **acl) {
                    self.acls.push(acl.to_vec());
                }
                Change::Create {
                    header: read.header,
                    content: Content::new(path, *data),
                    acl: self.acls.len() - 1,
                    created: *created,
                    parent_cversion: *parent_cversion,
                }
            }
            other => {
                if let Txn::SetData { path, .. } | Txn::Delete { path, .. } = other {
                    self.paths.push_str(path);
                }
                self.payloads.extend_from_slice(payload);
                Change::Other(self.payloads.len())
            }
        };
        let path = self.paths.len();
        self.steps.push(Step { path, change });
    }

    fn clear(&mut self) {
        self.steps.clear();
        self.paths.clear();
        self.payloads.clear();
        self.acls.clear();
        self.bytes = 0;
        self.nodes = 0;
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= BATCH_TXNS || self.bytes >= BATCH_BYTES
    }
}

impl Growth {
    /// Without `beside`, everything is done here.
    pub(super) fn new(beside: Option<Beside>) -> Self {
        Self {
            beside,
            stage: Stage::Nothing,
            told: Told::Nothing,
            batch: Batch::default(),
            batches: 0,
            nodes: 0,
            read: 0,
            ahead: 0,
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

    /// The log has so many bytes, or fewer, where it ends in zeros.
    pub(super) const fn expect(&mut self, bytes: u64) {
        self.ahead = bytes;
    }

    /// The next transaction, which has been read from `payload`.
    ///
    /// # Errors
    /// [`Refused`] if what was there before is no tree.
    pub(super) fn txn(
        &mut self,
        read: &Payload<LentTxn<'_>>,
        payload: &[u8],
    ) -> Result<(), Refused> {
        match read.txn {
            Txn::Create { .. } => self.nodes += 1,
            Txn::Delete { .. } => self.nodes = self.nodes.saturating_sub(1),
            _ => {}
        }
        self.batch.push(read, payload);
        if self.batch.is_full() {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Refused> {
        self.batches += 1;
        let heads = self.batch.steps.len() * (ENTRY_HEAD_BYTES + 1);
        let bytes = (self.batch.bytes + heads) as u64;
        self.ahead = self.ahead.saturating_sub(bytes);
        self.read += bytes;
        let nodes = self.nodes as u64;
        let to_come = nodes.saturating_mul(self.ahead) / self.read.max(1);
        self.batch.nodes = self.batch.steps.len() + usize::try_from(to_come).unwrap_or(0);

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
                apply(&mut tree, &mut self.told, &mut self.batch)?;
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
        tree.shrink();
        tree.raise_last_zxid(last);
        let told = match told {
            Told::Of(told) => Some(told),
            Told::At(..) | Told::Nothing => None,
        };
        Ok((tree, told))
    }
}

fn apply(tree: &mut Tree, told: &mut Told, batch: &mut Batch) -> Result<(), Refused> {
    tree.grow(batch.nodes, |tree| apply_steps(tree, told, batch))
}

fn apply_steps(tree: &mut Tree, told: &mut Told, batch: &mut Batch) -> Result<(), Refused> {
    let mut memo = AclMemo::default();
    let (mut path_at, mut payload_at) = (0, 0);
    for steps in batch.steps.chunks_mut(STEPS_WARMED) {
        warm(tree, steps, &batch.paths, path_at);
        for Step { path, change } in steps {
            let zxid = match change {
                Change::Create {
                    header,
                    content,
                    acl,
                    created,
                    parent_cversion,
                } => {
                    let node = MadeNode {
                        path: batch.paths.get(path_at..*path).unwrap_or_default(),
                        content: std::mem::take(content),
                        acl: batch.acls.get(*acl).map_or(&[], Vec::as_slice),
                        created: *created,
                        parent_cversion: *parent_cversion,
                    };
                    tree.apply_made(header, node, &mut |_| {});
                    header.zxid
                }
                Change::Other(end) => {
                    let payload = batch.payloads.get(payload_at..*end).unwrap_or_default();
                    payload_at = *end;
                    let read = read_lent_txn(payload, &mut memo);
                    let Payload { header, txn, .. } = read.map_err(|e| Refused(e.to_string()))?;
                    tree.apply_lent(&header, &txn, &mut |_| {});
                    header.zxid
                }
            };
            path_at = *path;
            told.keep(tree, zxid);
        }
    }
    Ok(())
}

/// Fetches from memory what steps will look for in the tree. The path of the first one begins at `path_at`.
fn warm(tree: &Tree, steps: &[Step], paths: &str, mut path_at: usize) {
    for Step { path, change } in steps {
        match change {
            Change::Create { content, .. } => tree.warm_made(content),
            Change::Other(_) if path_at < *path => {
                tree.warm(paths.get(path_at..*path).unwrap_or_default());
            }
            Change::Other(_) => {}
        }
        path_at = *path;
    }
}

impl Applier {
    fn start(beside: Beside) -> Option<Self> {
        let (full, batches) = sync_channel::<Batch>(BATCHES_WAITING);
        // As many as there can be, so that each comes back.
        let (give_back, applied) = sync_channel(2 * BATCHES_WAITING);
        let (begin, begun) = sync_channel::<(Tree, Told)>(1);
        let (give, grown) = sync_channel(1);
        let run = move || {
            let Ok((mut tree, mut told)) = begun.recv() else {
                return;
            };
            for mut batch in batches {
                if let Err(refused) = apply(&mut tree, &mut told, &mut batch) {
                    let _ = give.send(Err(refused));
                    return;
                }
                let _ = give_back.try_send(batch);
            }
            let _ = give.send(Ok((tree, told)));
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
        self.grown.recv().unwrap_or_else(|_| Err(gone()))
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
    use crate::wire::payload::Logged;
    use bytes::{Bytes, BytesMut};
    use zabra_model::ids::{Epoch, SessionId};
    use zabra_model::tree::acl::{Acl, Id};
    use zabra_model::tree::stat::StatPersisted;

    fn node(growth: &mut Growth, path: &str) -> Result<(), Refused> {
        let stat = StatPersisted::default();
        growth.snapshot()?.node(path, Some(b"x"), &open_acl(), stat)
    }

    fn header(counter: u32) -> TxnHeader {
        TxnHeader {
            session: SessionId((counter / 8 % 3).into()),
            zxid: Zxid::new(Epoch(1), counter),
            time: counter.into(),
            ..TxnHeader::default()
        }
    }

    fn txn(growth: &mut Growth, counter: u32, txn: Txn) {
        let logged = Logged::encode(header(counter), txn, &mut BytesMut::new());
        let mut memo = AclMemo::default();
        let read = read_lent_txn(&logged.bytes, &mut memo).unwrap();
        growth.txn(&read, &logged.bytes).unwrap();
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

    /// The n-th transaction of a log of all kinds, which makes some 5 nodes by 8.
    fn any_txn(n: u32) -> Txn {
        let path = |n: u32| format!("/p{}/n{n}", n / 8 % 5).into();
        let acl = |n| {
            let scheme = "ip".into();
            let id = format!("10.0.0.{}", n % 3).into();
            let id = Id { scheme, id };
            vec![AclEntry { perms: 1, id }]
        };
        let made = |n, acl| Txn::Create {
            path: path(n),
            data: n.is_multiple_of(3).then(|| Bytes::from(vec![1; 9])),
            acl,
            created: match n % 4 {
                0 => Created::Container,
                1 => Created::Ttl { ttl_ms: 9 },
                n => Created::Node {
                    ephemeral: n == 2,
                    with_stat: true,
                },
            },
            parent_cversion: -1,
        };
        let set = |n| Txn::SetData {
            path: path(n),
            data: Some(Bytes::from_static(b"set")),
            version: 3,
            reconfig: false,
        };
        match n % 8 {
            _ if n < 5 => create(&format!("/p{n}")),
            0 => made(n, vec![]),
            1 | 2 => made(n, acl(n / 100)),
            3 => Txn::Multi(vec![made(n, acl(n)), set(n - 1), made(n + 1, acl(1))]),
            4 => set(n - 4),
            5 => Txn::SetAcl {
                path: path(n - 3),
                acl: acl(n),
                version: 1,
            },
            6 if n.is_multiple_of(400) => Txn::CloseSession { paths: None },
            6 => Txn::CreateSession { timeout_ms: 5000 },
            _ => Txn::Delete {
                path: path(n - 4),
                container: false,
            },
        }
    }

    type Seen<'t> = (String, Option<&'t [u8]>, Acl, StatPersisted);

    fn seen(tree: &Tree) -> (Vec<Seen<'_>>, Vec<(SessionId, i32)>) {
        let nodes = tree.nodes().map(|node| {
            let acl = tree.find(node.path).expect("it is found").shared_acl();
            (node.path.to_owned(), node.data, acl, node.stat)
        });
        (nodes.collect(), tree.sessions().collect())
    }

    #[test]
    fn a_log_of_all_kinds_grows_what_its_transactions_make_one_by_one() {
        const COUNT: u32 = 6000;
        let mut tree = Tree::new();
        for n in 0..COUNT {
            tree.apply(&header(n), &any_txn(n), &mut |_| {});
        }
        // What is told of the length of the log may be wrong.
        for (beside, bytes) in [
            (None, 0),
            (Some(on_a_thread as Beside), 1 << 40),
            (Some(on_a_thread as Beside), 500_000),
        ] {
            let mut growth = Growth::new(beside);
            growth.expect(bytes);
            for n in 0..COUNT {
                txn(&mut growth, n, any_txn(n));
            }
            let (grown, _) = growth.finish(Zxid::ZERO).unwrap();
            assert!(grown.len() > 2000, "{}", grown.len());
            assert_eq!(seen(&grown), seen(&tree));
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
