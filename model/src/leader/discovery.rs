//! Phase 1: a new epoch, larger than any that a quorum has accepted.

use super::{Leading, LearnerStage, Phase, Seat};
use crate::context::{Context, Next};
use crate::durable::Written;
use crate::fault::Fault;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::packet::Packet;
use crate::step::{Effect, Link};
use alloc::vec::Vec;

/// How far a follower's acceptedEpoch may be above the leader's. A server comes to a larger one than its leader's by accepting an
/// epoch that no quorum accepts, once an election: nobody does that so many times in a row, and whoever claims to would use up
/// the epochs for all.
pub(super) const EPOCH_JUMP_MAX: u32 = 1 << 16;

impl Leading {
    /// FOLLOWERINFO: with a quorum of them the epoch is chosen; whoever comes later is told it at once.
    ///
    /// OBSERVERINFO likewise, but it is never one of the quorum.
    pub(super) fn on_learner_info<T: Clone>(
        &mut self,
        at: usize,
        (sid, observer): (ServerId, bool),
        accepted: Epoch,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        let learner = self.learners[at];
        if learner.stage != LearnerStage::Linked || sid == cx.env.me {
            return Err(Fault::UnexpectedPacket);
        }
        let own = cx.storage.asked.accepted;
        if !observer && accepted.0 > own.0.saturating_add(EPOCH_JUMP_MAX) {
            return Err(Fault::EpochJump { accepted, own });
        }
        // A learner that has reconnected: the old connection just does not know yet that it is dead.
        let old = self
            .learners
            .iter()
            .find(|l| l.sid == sid && l.stage != LearnerStage::Linked)
            .map(|l| l.link);
        self.learners[at].sid = sid;
        self.learners[at].seat = if observer {
            Seat::default()
        } else {
            cx.storage.ensemble.seat(sid)
        };
        self.learners[at].observer = observer;
        self.learners[at].stage = LearnerStage::Introduced(accepted);
        if let Some(old) = old {
            cx.out.push(Effect::Refused(Fault::LearnerReplaced { sid }));
            cx.out.push(Effect::Unlink(old));
            self.on_unlinked(old);
        }
        match self.phase {
            Phase::Discovery => self.choose_epoch(cx),
            Phase::ChoosingEpoch => Ok(Next::Stay),
            Phase::AwaitEpochAcks
            | Phase::WritingEpoch
            | Phase::AwaitNewLeaderAcks
            | Phase::Broadcast => {
                self.invite(learner.link, cx);
                if !cx.rules().leader_info_comes_once() {
                    let again = self.learners.iter().map(|l| (l.link, l.stage));
                    let again: Vec<Link> = again
                        .filter(|(l, s)| *s == LearnerStage::Invited && *l != learner.link)
                        .map(|(l, _)| l)
                        .collect();
                    again.into_iter().for_each(|l| self.invite(l, cx));
                }
                Ok(Next::Stay)
            }
        }
    }

    /// Chooses the epoch once a quorum has told what it has accepted, and asks for it to be written.
    ///
    /// LEADERINFO waits until it is durable: a leader that forgot it could propose it twice (ZOOKEEPER-335).
    pub(super) fn choose_epoch<T>(&mut self, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        let introduced = |l: &super::Learner| matches!(l.stage, LearnerStage::Introduced(_));
        if !self.is_quorum_with_me(introduced, cx.rules().only_voters_introduce(), cx) {
            return Ok(Next::Stay);
        }
        // An observer promises nothing by its epoch, so it is not asked for it.
        let followers = self.learners.iter().filter(|l| !l.observer);
        let accepted = followers.filter_map(|l| match l.stage {
            LearnerStage::Introduced(accepted) => Some(accepted),
            _ => None,
        });
        let largest = accepted
            .chain([cx.storage.asked.accepted])
            .max()
            .unwrap_or_default();
        let epoch = largest
            .next()
            .filter(|e| *e <= cx.env.epoch_max)
            .ok_or(Fault::EpochExhausted)?;
        self.epoch = epoch;
        self.phase = Phase::ChoosingEpoch;
        if !cx.storage.accept(epoch, cx.env.switches, cx.out) {
            self.on_epoch_accepted(cx);
        }
        Ok(Next::Stay)
    }

    /// The own acceptedEpoch is durable: LEADERINFO to all that wait for it.
    fn on_epoch_accepted<T>(&mut self, cx: &mut Context<'_, T>) {
        self.phase = Phase::AwaitEpochAcks;
        for at in 0..self.learners.len() {
            if matches!(self.learners[at].stage, LearnerStage::Introduced(_)) {
                self.invite(self.learners[at].link, cx);
            }
        }
        self.close_discovery(cx);
    }

    fn invite<T>(&mut self, link: Link, cx: &mut Context<'_, T>) {
        for learner in self.learners.iter_mut().filter(|l| l.link == link) {
            learner.stage = LearnerStage::Invited;
            let packet = Packet::LeaderInfo { epoch: self.epoch };
            cx.out.push(Effect::Send { link, packet });
        }
    }

    /// ACKEPOCH: with a quorum of them, none ahead of this leader, the history is fixed.
    pub(super) fn on_ack_epoch<T: Clone>(
        &mut self,
        at: usize,
        last: Zxid,
        current: Option<Epoch>,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if self.learners[at].stage != LearnerStage::Invited {
            return Err(Fault::UnexpectedPacket);
        }
        match self.phase {
            Phase::Discovery | Phase::ChoosingEpoch | Phase::AwaitEpochAcks => {
                let mine = (
                    cx.storage.asked.current,
                    cx.storage.last_reported(*cx.delivered, cx.env.switches),
                );
                if let Some(current) = current
                    && (current, last) > mine
                    && cx.rules().no_follower_is_ahead()
                {
                    return Err(Fault::LearnerAhead { current, last });
                }
                self.learners[at].stage = LearnerStage::EpochAcked {
                    last,
                    counted: current.is_some(),
                };
                self.close_discovery(cx);
            }
            Phase::WritingEpoch | Phase::AwaitNewLeaderAcks | Phase::Broadcast => {
                self.admit(at, last, cx);
            }
        }
        Ok(Next::Stay)
    }

    /// Ends discovery when a quorum has accepted the epoch.
    fn close_discovery<T>(&mut self, cx: &mut Context<'_, T>) {
        let counts =
            |l: &super::Learner| matches!(l.stage, LearnerStage::EpochAcked { counted: true, .. });
        if self.is_quorum_with_me(counts, cx.rules().only_voters_introduce(), cx)
            || !cx.rules().epoch_needs_a_quorum()
        {
            self.begin_sync(cx);
        }
    }

    /// The disk holds one more write of this leader.
    pub(crate) fn on_durable<T: Clone>(&mut self, written: Written, cx: &mut Context<'_, T>) {
        let of_earlier_role = match written {
            Written::Append(zxid) => zxid.epoch() < self.epoch || self.epoch == Epoch(0),
            Written::CurrentEpoch(e) => e != self.epoch,
            Written::AcceptedEpoch(_) | Written::Activate(_) => false,
            Written::Truncate(_) | Written::Install(_) => true,
        };
        if of_earlier_role && !cx.rules().vote_waits_for_the_disk() {
            return;
        }
        match written {
            Written::AcceptedEpoch(_) if self.phase == Phase::ChoosingEpoch => {
                self.on_epoch_accepted(cx);
            }
            Written::AcceptedEpoch(_) => {} // only a switch goes on before it is durable
            Written::CurrentEpoch(_) => self.on_epoch_current(cx),
            Written::Append(zxid) => self.on_own_append(zxid, cx),
            Written::Activate(_) => {}
            Written::Truncate(_) | Written::Install(_) => {
                unreachable!("I-32: a leader neither truncates nor installs")
            }
        }
    }
}
