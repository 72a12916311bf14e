//! The way to the disk: writes leave in one batch, in the order in which the protocol asked for them; snapshots and reloads.
//!
//! Two writes need a job before or after them, and everything behind them waits meanwhile: a snapshot is written to a file
//! before it is installed, and after a truncation the tree is read again before anybody hears that it is durable.

use super::out::{Job, Outputs};
use crate::mutants::{Mutant, has};
use crate::storage::snapshot::StagedSnapshot;
use crate::storage::worker::Op;
use crate::wire::payload::Payload;
use std::collections::VecDeque;
use zabra_model::ids::{Epoch, Zxid};
use zabra_model::service::reach::Reach;
use zabra_model::service::snapshots::{Finished, Generation, Moment, Snapshots};
use zabra_model::step::{Mark, Write};
use zabra_model::tree::image::Image;

/// Operations of this file between two of the protocol's.
const EXTRA_BITS: u32 = 16;

/// Writes on their way, and what is written beside them.
pub(super) struct ToDisk {
    batch: Vec<(u64, Op)>,
    last_token: u64,
    /// Marks of the peers that were here before this one (see [`ToDisk::begin_again`]).
    marks_before: u64,
    /// Bytes of all transactions that were to be written, and of those that are on the disk.
    asked_bytes: u64,
    durable_bytes: u64,
    /// Transactions that were to be written.
    asked_txns: u64,
    /// What the turns have handed over that is not on the disk.
    asked: VecDeque<Handed>,
    /// Everything from here on waits.
    held: Option<Vec<(u64, Op)>>,
    /// An install whose snapshot is still being written to its temporary file.
    staging: bool,
    /// The list of members that is installed with it.
    staged_members: Option<Box<str>>,
    /// A truncation that the tree must follow before the protocol hears that it is durable.
    reload_at: Option<Mark>,
    /// When the next snapshot is due, and which one counts.
    pub(super) snapshots: Snapshots,
    /// The newest snapshots that got their names while this server runs, of the history that it has now.
    published: VecDeque<Zxid>,
    /// How large the log is from where, and the newest snapshot.
    pub(super) reach: Reach,
}

/// So many of them are known: the base of the history rises to the oldest that is kept (`autopurge.snapRetainCount`).
const PUBLISHED_MAX: usize = 1024;

/// Transactions that one turn has handed over.
#[derive(Clone, Copy)]
pub(super) struct Handed {
    /// The token of the last one.
    token: u64,
    /// Bytes of all transactions up to it.
    bytes: u64,
    /// How many they are.
    pub(super) txns: u64,
    /// When they were handed over.
    pub(super) at_ms: u64,
}

impl ToDisk {
    pub(super) const fn new(snapshots: Snapshots, reach: Reach) -> Self {
        Self {
            batch: Vec::new(),
            last_token: 0,
            marks_before: 0,
            asked_bytes: 0,
            durable_bytes: 0,
            asked_txns: 0,
            asked: VecDeque::new(),
            held: None,
            staging: false,
            staged_members: None,
            reload_at: None,
            snapshots,
            published: VecDeque::new(),
            reach,
        }
    }

    /// Whether the protocol has asked for the operation with this token.
    pub(super) const fn is_write(token: u64) -> bool {
        token.trailing_zeros() >= EXTRA_BITS
    }

    /// Writes that wait for a job, and those that wait behind them.
    pub(super) fn waiting(&self) -> usize {
        self.held.as_ref().map_or(0, Vec::len) + usize::from(self.staging)
    }

    /// Queues one of the protocol's writes. An install has another way: [`ToDisk::stage`].
    pub(super) fn write(&mut self, mark: Mark, write: Write<Payload>) {
        match &write {
            Write::Append { zxid, txn } => {
                self.asked_bytes += txn.bytes.len() as u64;
                self.asked_txns += 1;
                self.reach.logged(*zxid, txn.bytes.len());
            }
            Write::Truncate { zxid } => self.reach.truncated(*zxid),
            Write::AcceptedEpoch(_)
            | Write::CurrentEpoch(_)
            | Write::Install { .. }
            | Write::Activate { .. } => {}
        }
        let op = match write {
            Write::AcceptedEpoch(epoch) => Op::AcceptedEpoch(epoch),
            Write::CurrentEpoch(epoch) => Op::CurrentEpoch(epoch),
            Write::Append { zxid, txn } => Op::Append {
                zxid,
                payload: txn.bytes.clone(),
            },
            Write::Truncate { zxid } => Op::Truncate { after: zxid },
            // These have ways of their own.
            Write::Install { .. } | Write::Activate { .. } => return,
        };
        self.push(self.token(mark), op);
    }

    /// Queues an activation: the list of members that is active from now on.
    pub(super) fn activate(&mut self, mark: Mark, members: String) {
        self.push(self.token(mark), Op::Members(members.into()));
    }

    /// The list of members that comes with the next snapshot to be staged. It is written before it: a list that is known to be committed may
    /// bind a server whose history does not have it yet.
    pub(super) fn stage_members(&mut self, members: String) {
        self.staged_members = Some(members.into());
    }

    /// Queues an operation that the protocol knows nothing of.
    pub(super) fn extra(&mut self, op: Op) {
        self.push(self.last_token + 1, op);
    }

    /// The token of the newest operation.
    pub(super) const fn last_token(&self) -> u64 {
        self.last_token
    }

    const fn token(&self, mark: Mark) -> u64 {
        (mark.0 + self.marks_before) << EXTRA_BITS
    }

    /// This snapshot takes the place of everything on the disk, and the server begins again with it, in this epoch: the token of the last
    /// write of that.
    pub(super) fn replace_by(&mut self, staged: StagedSnapshot, epoch: Epoch) -> u64 {
        self.snapshots.installed();
        self.reach = Reach::starting_at(staged.zxid, staged.bytes);
        self.extra(Op::AcceptedEpoch(epoch));
        self.extra(Op::InstallSnapshot(staged));
        self.extra(Op::CurrentEpoch(epoch));
        self.last_token
    }

    /// Another peer comes in place of the one whose writes are done. It counts its marks from the beginning, and tokens rise.
    pub(super) const fn begin_again(&mut self) {
        self.marks_before = self.last_token >> EXTRA_BITS;
    }

    fn push(&mut self, token: u64, op: Op) {
        self.last_token = token;
        let queue = self.held.as_mut().unwrap_or(&mut self.batch);
        queue.push((token, op));
    }

    /// The history was cut behind `zxid`. If the tree holds more than that, it is read anew when the cut is durable.
    pub(super) fn truncated(&mut self, mark: Mark, tree_holds_more: bool) {
        self.snapshots.cut();
        if tree_holds_more && !has(Mutant::TreeKeepsCut) {
            self.published.clear();
            self.reload_at = Some(mark);
            self.held.get_or_insert_default();
        }
    }

    /// A snapshot takes the place of the history: it is written to a temporary file first, and what comes behind waits.
    pub(super) fn stage(&mut self, mark: Mark, image: Image, out: &mut Outputs) {
        self.snapshots.installed();
        self.published.clear();
        self.reach = Reach::starting_at(image.zxid, 0);
        // A truncation asked for in the same step needs no other tree than this one, and whatever was cut before is gone with the
        // old tree.
        self.reload_at = None;
        self.last_token = self.token(mark);
        self.staging = true;
        self.held.get_or_insert_default();
        out.jobs.push(Job::Stage { mark, image });
    }

    /// That file is there: it is installed before all that waits.
    pub(super) fn staged(&mut self, mark: Mark, staged: StagedSnapshot) {
        self.reach.snapshot(staged.bytes);
        let install = Op::InstallSnapshot(staged);
        let token = self.token(mark);
        if let Some(members) = self.staged_members.take() {
            self.batch.push((token - 1, Op::Members(members)));
        }
        self.batch.push((token, install));
        self.staging = false;
        self.release();
    }

    /// The tree was read anew: what waited may go.
    pub(super) fn reloaded(&mut self) {
        self.reload_at = None;
        self.release();
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.batch.extend(held);
        }
    }

    /// Whether something waits for a job.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the tree is to follow a truncation.
    pub(super) const fn is_reloading(&self) -> bool {
        self.reload_at.is_some()
    }

    /// Takes the transactions of a turn that are on the disk, now that everything up to this token is.
    pub(super) fn take_durable(&mut self, token: u64) -> Option<Handed> {
        let handed = self.asked.pop_front_if(|handed| handed.token <= token)?;
        self.durable_bytes = handed.bytes;
        Some(handed)
    }

    /// Everything up to this token is on the disk, and was taken. The mark of it that the protocol may hear now; if there is none, the tree is
    /// read anew before.
    pub(super) fn durable(&mut self, token: u64, out: &mut Outputs) -> Option<Mark> {
        let mark = Mark((token >> EXTRA_BITS).saturating_sub(self.marks_before));
        if self.reload_at.is_some_and(|at| mark >= at) {
            out.jobs.push(Job::Reload { mark });
            return None;
        }
        Some(mark)
    }

    /// Bytes of transactions that wait for the disk.
    pub(super) fn unwritten_bytes(&self) -> usize {
        usize::try_from(self.asked_bytes - self.durable_bytes).unwrap_or(usize::MAX)
    }

    /// Whether a snapshot of the tree is to be written now; `is_asked`: an operator waits for one.
    pub(super) const fn may_snapshot(&self, serves: bool, is_asked: bool, now_ms: u64) -> bool {
        let moment = Moment {
            serves,
            is_held: self.is_held(),
            now_ms,
        };
        self.snapshots.may_begin(moment) || is_asked && self.snapshots.may_begin_asked(moment)
    }

    /// A snapshot of the tree is written.
    pub(super) fn snapshot(&mut self, image: Image, out: &mut Outputs) {
        let generation = self.snapshots.begin();
        out.jobs.push(Job::Snapshot { generation, image });
    }

    /// A snapshot was written to its temporary file, or could not be. It gets its name, if it is still of this history.
    pub(super) fn snapshot_done(
        &mut self,
        of: Generation,
        staged: Option<StagedSnapshot>,
        now_ms: u64,
    ) -> Finished {
        let finished = self.snapshots.finished(of, staged.is_some(), now_ms);
        if let (Finished::Publish, Some(staged)) = (finished, staged) {
            if self.published.len() == PUBLISHED_MAX {
                self.published.pop_front();
            }
            self.published.push_back(staged.zxid);
            self.reach.snapshot(staged.bytes);
            self.extra(Op::PublishSnapshot(staged));
        }
        finished
    }

    /// The oldest of the `retain` newest snapshots, if so many have come while this server runs.
    pub(super) fn oldest_of(&self, retain: usize) -> Option<Zxid> {
        let at = self.published.len().checked_sub(retain)?;
        self.published.get(at).copied()
    }

    /// Removes old snapshots and logs.
    pub(super) fn purge(&mut self, retain: usize, base: Zxid) {
        self.extra(Op::Purge { retain, base });
    }

    /// Hands everything over; how many transactions are among it.
    pub(super) fn flush(&mut self, at_ms: u64, out: &mut Outputs) -> u64 {
        let txns = std::mem::take(&mut self.asked_txns);
        if txns > 0 {
            self.asked.push_back(Handed {
                token: self.last_token,
                bytes: self.asked_bytes,
                txns,
                at_ms,
            });
        }
        out.disk.append(&mut self.batch);
        txns
    }
}
