//! What a leader does about disks that do not answer: a learner that acknowledges nothing is given up, and a leader whose own
//! disk confirms nothing leaves the lead to others.
//!
//! What this does to a learner is what a broken connection does, which the checker lets happen at any moment; so the count of
//! ticks is not part of what it explores (`ack_ticks_max` 0).

use super::{Leading, LearnerStage};
use crate::context::{Context, Next};
use crate::fault::Fault;
use crate::step::Effect;
use alloc::vec::Vec;

impl Leading {
    /// Gives up the learners whose disks are late.
    pub(super) fn give_up_late<T>(&mut self, cx: &mut Context<'_, T>) {
        let max = cx.env.ack_ticks_max;
        let last = cx.storage.asked.history.last();
        let mut late = Vec::new();
        let asked = |l: &&mut super::Learner| l.stage == LearnerStage::Active && !l.observer;
        for l in self.learners.iter_mut().filter(asked) {
            if l.progress.is_late(last, max) {
                late.push((l.link, l.sid, l.progress.done));
            }
        }
        for (link, sid, done) in late {
            cx.out
                .push(Effect::Refused(Fault::LearnerLate { sid, done }));
            cx.out.push(Effect::Unlink(link));
            self.on_unlinked(link);
        }
    }

    /// Whether the own disk is late, and there is somebody who could lead instead. A server that decides alone waits for its
    /// disk: nobody else could serve meanwhile.
    pub(super) fn gives_way<T>(&mut self, cx: &mut Context<'_, T>) -> Next {
        let last = cx.storage.asked.history.last();
        let late = self.own.is_late(last, cx.env.ack_ticks_max);
        if !late || self.is_quorum_with_me(|_| false, cx.rules().only_voters_join(), cx) {
            return Next::Stay;
        }
        let done = self.own.done;
        cx.out.push(Effect::Refused(Fault::OwnDiskLate { done }));
        Next::Look
    }
}
