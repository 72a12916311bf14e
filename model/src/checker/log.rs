//! What one thread carries along while it takes steps, and what a step did beside changing the cluster.

use super::arena::Bytes;
use super::disk::PendingWrite;
use super::link::Frame;
use super::memo::Memo;
use super::txn::Txn;
use crate::step::Effect;
use crate::vote::Notification;
use alloc::vec::Vec;

/// What one thread of an exploration carries along: what it remembers of steps, and, if wanted, what a step did
/// beside changing the cluster.
#[derive(Debug, Default)]
pub struct Log {
    /// What was asked for, in order. Empty unless wanted.
    pub done: Vec<Done>,
    /// Whether to keep it.
    pub keep: bool,
    /// Bits of [`super::action::WITNESSES`].
    pub witnessed: u64,
    /// Steps that were taken before. Of one [`super::world::World`] only.
    pub memo: Memo,
    pub(super) bytes: Bytes,
}

/// What a server has asked for, as an observer outside can see it.
#[derive(Clone, Debug)]
pub enum Done {
    /// A packet was sent.
    Sent {
        /// On which connection.
        link: u64,
        /// By whom, by index.
        from: usize,
        /// To whom, by index.
        to: usize,
        /// The packet and its tree.
        frame: Frame,
        /// Whether the connection has lost it.
        lost: bool,
    },
    /// An election message was sent.
    Voted {
        /// By whom, by index.
        from: usize,
        /// To whom, by index.
        to: usize,
        /// The message.
        notification: Notification,
        /// Whether nobody was there to hear it.
        lost: bool,
    },
    /// A write was queued.
    Queued {
        /// By whom, by index.
        server: usize,
        /// The write.
        op: PendingWrite,
    },
    /// Anything else.
    Other {
        /// By whom, by index.
        server: usize,
        /// The effect.
        effect: Effect<Txn>,
    },
}

impl Log {
    /// A log that keeps everything.
    #[must_use]
    pub fn keeping() -> Self {
        Self {
            keep: true,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, done: impl FnOnce() -> Done) {
        if self.keep {
            self.done.push(done());
        }
    }
}
