//! The way to the disk thread: writes leave in one batch, in the order in which the core asked for them.
//!
//! Two writes need work of ours around them, and everything behind them waits meanwhile: a snapshot is written to a file
//! before it is installed, and after a truncation the tree is read again before anybody hears that it is durable.

use super::payload::Payload;
use crate::runtime::disk::{DiskThread, Rejected};
use crate::storage::snapshot::StagedSnapshot;
use crate::storage::worker::Op;
use std::collections::VecDeque;
use zabra_model::step::{Mark, Write};

/// Writes of ours between two of the core's.
const EXTRA_BITS: u32 = 16;

/// Writes on their way.
pub(super) struct Persist {
    thread: Option<DiskThread>,
    batch: VecDeque<(u64, Op)>,
    last_token: u64,
    /// Bytes of all transactions that were to be written, and of those that are on the disk.
    asked_bytes: u64,
    durable_bytes: u64,
    /// Tokens, and what was to be written up to them.
    asked: VecDeque<(u64, u64)>,
    /// Everything from here on waits.
    held: Option<VecDeque<(u64, Op)>>,
    /// How many writes the harness still lets through; without one, all.
    #[cfg(feature = "gate")]
    allowed: Option<usize>,
    /// An install whose snapshot is still being written to its temporary file.
    #[cfg(feature = "gate")]
    staging: bool,
}

impl Persist {
    pub(super) const fn new(thread: DiskThread) -> Self {
        Self {
            thread: Some(thread),
            batch: VecDeque::new(),
            last_token: 0,
            asked_bytes: 0,
            durable_bytes: 0,
            asked: VecDeque::new(),
            held: None,
            #[cfg(feature = "gate")]
            allowed: None,
            #[cfg(feature = "gate")]
            staging: false,
        }
    }

    /// From now on nothing passes without [`Persist::allow`].
    #[cfg(feature = "gate")]
    pub(super) fn gate(&mut self) {
        self.allowed = Some(0);
    }

    /// So many more may pass.
    #[cfg(feature = "gate")]
    pub(super) fn allow(&mut self, n: usize) {
        self.allowed = self.allowed.map(|allowed| allowed.saturating_add(n));
    }

    /// How many have not passed.
    #[cfg(feature = "gate")]
    pub(super) fn waiting(&self) -> usize {
        let held = self.held.as_ref().map_or(0, VecDeque::len);
        self.batch.len() + held + usize::from(self.staging)
    }

    /// Queues one of the core's writes. `Install` has another way.
    pub(super) fn write(&mut self, mark: Mark, write: Write<Payload>) {
        if let Write::Append { txn, .. } = &write {
            self.asked_bytes += txn.bytes.len() as u64;
        }
        let op = match write {
            Write::AcceptedEpoch(epoch) => Op::AcceptedEpoch(epoch),
            Write::CurrentEpoch(epoch) => Op::CurrentEpoch(epoch),
            Write::Append { zxid, txn } => Op::Append {
                zxid,
                payload: txn.bytes.clone(),
            },
            Write::Truncate { zxid } => Op::Truncate { after: zxid },
            Write::Install { .. } => return,
            Write::Activate { .. } => {
                unreachable!("no payload of this server is a reconfiguration")
            }
        };
        self.push(mark.0 << EXTRA_BITS, op);
    }

    /// Queues a write that the core knows nothing of.
    pub(super) fn extra(&mut self, op: Op) {
        self.push(self.last_token + 1, op);
    }

    /// Queues the installation of a snapshot that has been staged, before all that waits.
    pub(super) fn install(&mut self, mark: Mark, staged: StagedSnapshot) {
        self.batch
            .push_back((mark.0 << EXTRA_BITS, Op::InstallSnapshot(staged)));
        #[cfg(feature = "gate")]
        {
            self.staging = false;
        }
    }

    /// Has an install's mark taken its place, though the operation comes later.
    pub(super) fn reserve(&mut self, mark: Mark) {
        self.last_token = mark.0 << EXTRA_BITS;
        #[cfg(feature = "gate")]
        {
            self.staging = true;
        }
    }

    fn push(&mut self, token: u64, op: Op) {
        self.last_token = token;
        self.held
            .as_mut()
            .unwrap_or(&mut self.batch)
            .push_back((token, op));
    }

    /// What comes from now on waits for [`Persist::release`].
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// What waited may go.
    pub(super) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.batch.extend(held);
        }
    }

    /// Everything up to this token is on the disk.
    pub(super) fn on_durable(&mut self, token: u64) {
        while let Some((_, bytes)) = self.asked.pop_front_if(|(last, _)| *last <= token) {
            self.durable_bytes = bytes;
        }
    }

    /// Bytes of transactions that wait for the disk.
    pub(super) fn unwritten_bytes(&self) -> usize {
        usize::try_from(self.asked_bytes - self.durable_bytes).unwrap_or(usize::MAX)
    }

    /// Whether something is kept back.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Hands everything to the disk thread. What it has no room for is handed over later.
    pub(super) fn flush(&mut self) {
        let counted = self.asked.back().map_or(self.durable_bytes, |(_, b)| *b);
        if self.asked_bytes > counted {
            self.asked.push_back((self.last_token, self.asked_bytes));
        }
        let Some(thread) = self.thread.as_ref().filter(|_| !self.batch.is_empty()) else {
            return;
        };
        #[cfg(feature = "gate")]
        let (count, waiting) = (self.allowed.unwrap_or(usize::MAX), self.batch.len());
        #[cfg(not(feature = "gate"))]
        let count = usize::MAX;
        let (batch, mut last) = (&mut self.batch, 0);
        let next = || batch.pop_front().inspect(|(token, _)| last = *token);
        match thread.submit_all(std::iter::from_fn(next).take(count)) {
            Ok(()) => {}
            // Full: the next `Durable` brings another try. Stopped: the thread has reported why.
            Err((_, Rejected::Full(op) | Rejected::Stopped(op))) => {
                self.batch.push_front((last, op));
            }
        }
        #[cfg(feature = "gate")]
        {
            let taken = waiting - self.batch.len();
            self.allowed = self.allowed.map(|allowed| allowed - taken);
        }
    }

    /// Lets the disk finish what it has been given.
    pub(super) fn stop(&mut self) {
        self.flush();
        self.thread.take();
    }
}

/// The mark of the core that a token of the disk thread makes durable.
pub(super) const fn mark_of(token: u64) -> Mark {
    Mark(token >> EXTRA_BITS)
}
