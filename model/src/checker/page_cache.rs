//! The page cache: what a process that died had written, and nobody has synced since. What the two kinds of crash make of it
//! stands at [`super::disk`].

use super::image::PendingWrite;
use crate::durable::Part;
use alloc::collections::VecDeque;

/// What reads as if it were on the disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PageCache {
    /// Written and not synced; oldest first.
    pub ops: VecDeque<PendingWrite>,
    /// A sync of them has failed: the pages are clean, and every further sync succeeds without them.
    pub clean: bool,
}

/// The part that a write belongs to.
pub(super) const fn part(op: &PendingWrite) -> Part {
    match op {
        PendingWrite::AcceptedEpoch(_) => Part::AcceptedEpoch,
        PendingWrite::CurrentEpoch(_) => Part::CurrentEpoch,
        PendingWrite::Append(..)
        | PendingWrite::Truncate(_)
        | PendingWrite::Install(..)
        | PendingWrite::Activate(_) => Part::History,
    }
}

/// Whether it appends to the log.
pub(super) const fn is_append(op: &PendingWrite) -> bool {
    matches!(op, PendingWrite::Append(..))
}

impl PageCache {
    /// Whether a sync of what is in it can fail so that nobody notices later: of appended content. A new name is made
    /// durable by the file system's own journal, which does not go on after such a failure.
    #[must_use]
    pub fn may_become_clean(&self) -> bool {
        !self.clean && self.ops.iter().any(is_append)
    }
}
