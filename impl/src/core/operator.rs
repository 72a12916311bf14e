//! Who of the operators waits, and for what.

use super::asked::{Refusal, Snapped, Told};
use std::collections::VecDeque;
use zabra_model::ids::Zxid;
use zabra_model::service::snapshots::Finished;
use zabra_model::tree::node::Tree;

/// Operators that may wait for a snapshot at once.
const ASKED_MAX: usize = 16;

/// Who waits, and for what.
#[derive(Default)]
pub(super) struct Operator {
    /// For a snapshot that is not begun.
    asked: Vec<Told<Snapped>>,
    /// For the one that is being written.
    begun: Vec<Told<Snapped>>,
    /// For names to be durable, by the tokens of these writes.
    named: VecDeque<(u64, Snapped, Vec<Told<Snapped>>)>,
    pub(super) restore: Option<Restore>,
}

/// How far the other tree is.
pub(super) enum Restore {
    /// Its file is being written.
    Staging { tree: Box<Tree>, told: Told<Zxid> },
    /// The file takes the place of all others by the write with this token.
    Installing {
        token: u64,
        tree: Box<Tree>,
        told: Told<Zxid>,
    },
    /// It is there, and not served yet.
    Starting { zxid: Zxid, told: Told<Zxid> },
}

impl Operator {
    /// One more waits for a snapshot, if not too many do.
    pub(super) fn ask(&mut self, told: Told<Snapped>) {
        if self.asked.len() < ASKED_MAX {
            self.asked.push(told);
        } else {
            told.tell(Err(Refusal::Busy));
        }
    }

    /// Whether somebody waits for a snapshot to be begun.
    pub(super) const fn wants_snapshot(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Nobody is served, so there is no snapshot.
    pub(super) fn refuse(&mut self) {
        for told in self.asked.drain(..) {
            told.tell(Err(Refusal::NotServing));
        }
    }

    /// One is begun, for all that wait.
    pub(super) fn begun(&mut self) {
        self.begun.append(&mut self.asked);
    }

    /// The one that was begun is written, and gets its name by the write with this token; or it is not, and why.
    pub(super) fn written(
        &mut self,
        finished: Finished,
        token: u64,
        file: Result<Snapped, String>,
    ) {
        let waiting = std::mem::take(&mut self.begun);
        match (finished, file) {
            (Finished::Publish, Ok(file)) => {
                if !waiting.is_empty() {
                    self.named.push_back((token, file, waiting));
                }
            }
            (Finished::Drop | Finished::TryAgain | Finished::Publish, file) => {
                let why = file.err();
                let replaced = || "the history was replaced meanwhile; ask again".to_owned();
                let refusal = Refusal::Failed(why.unwrap_or_else(replaced));
                for told in waiting {
                    told.tell(Err(refusal.clone()));
                }
            }
        }
    }

    /// Every write up to this token is durable.
    pub(super) fn durable(&mut self, upto: u64) {
        while let Some((_, file, waiting)) = self.named.pop_front_if(|(token, ..)| *token <= upto) {
            for told in waiting {
                told.tell(Ok(file.clone()));
            }
        }
    }

    /// The server serves.
    pub(super) fn serves(&mut self) {
        let starts = |restore: &mut Restore| matches!(restore, Restore::Starting { .. });
        if let Some(Restore::Starting { zxid, told }) = self.restore.take_if(starts) {
            told.tell(Ok(zxid));
        }
    }

    /// The other tree, if the write of this token was the last that it waited for.
    pub(super) fn take_installed(&mut self, upto: u64) -> Option<Box<Tree>> {
        let is_installed = |restore: &mut Restore| matches!(restore, Restore::Installing { token, .. } if *token <= upto);
        let Some(Restore::Installing { tree, told, .. }) = self.restore.take_if(is_installed)
        else {
            return None;
        };
        let zxid = tree.last_zxid();
        self.restore = Some(Restore::Starting { zxid, told });
        Some(tree)
    }
}
