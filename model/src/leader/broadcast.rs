//! Phase 3: proposals, acknowledgements, commits, in zxid order.

use super::{Leading, Learner, LearnerStage, Outstanding, Phase};
use crate::context::{Context, Next};
use crate::ensemble::{Acks, Payload, Seat};
use crate::fault::Fault;
use crate::ids::Zxid;
use crate::packet::Packet;
use crate::step::Effect;

impl Leading {
    /// What the next proposal gets, behind a log that ends at `last`; with a counter that is used up the proposal is refused.
    pub(crate) fn next_zxid(&self, last: Zxid) -> Option<Zxid> {
        let next = if last.epoch() < self.epoch {
            Zxid::new(self.epoch, 1)
        } else {
            Zxid(last.0.saturating_add(1))
        };
        (self.phase == Phase::Broadcast).then_some(next)
    }

    /// Proposes a transaction: to its own disk and to every synced learner.
    #[inline]
    pub(crate) fn propose<T: Payload + Clone>(&mut self, txn: T, cx: &mut Context<'_, T>) -> Next {
        let last = cx.storage.asked.history.last();
        let Some(next) = self.next_zxid(last) else {
            cx.out.push(Effect::Refused(Fault::NotLeading));
            return Next::Stay;
        };
        if let Some(voters) = txn.voters()
            && let Err(fault) = self.may_reconfigure(&voters, &cx.storage.ensemble, cx.env)
        {
            cx.out.push(Effect::Refused(fault));
            return Next::Stay;
        }
        let zxid = if last.epoch() < self.epoch || last.counter() < cx.env.counter_max {
            next
        } else if !cx.rules().counter_never_runs_over() {
            Zxid::new(last.epoch().next().unwrap_or_default(), 1)
        } else {
            // The next leader starts a new epoch; a wrapped counter would start a second history (ZOOKEEPER-1277).
            cx.out.push(Effect::Refused(Fault::CounterExhausted));
            return Next::Look;
        };
        let synced_too = cx.rules().synced_learners_get_proposals();
        let to = |l: &&Learner| {
            l.is_forwarded_to() && !l.observer && (synced_too || l.stage == LearnerStage::Active)
        };
        for l in self.learners.iter().filter(to) {
            let packet = Packet::Proposal {
                zxid,
                txn: txn.clone(),
            };
            cx.out.push(Effect::Send {
                link: l.link,
                packet,
            });
        }
        let mut acks = Acks::EMPTY;
        if !cx.rules().leader_ack_waits_for_fsync() {
            acks.insert(self.seat);
        }
        self.outstanding.push_back(Outstanding { zxid, acks });
        self.log(zxid, txn, cx);
        if !cx.rules().inform_waits_for_commit() {
            self.inform(zxid, cx);
        }
        Next::Stay
    }

    /// INFORM: observers get a transaction when it is committed, all of it at once.
    fn inform<T>(&self, zxid: Zxid, cx: &mut Context<'_, T>) {
        let observers = |l: &&Learner| l.is_forwarded_to() && l.observer;
        for l in self.learners.iter().filter(observers) {
            cx.out.push(Effect::SendInform { link: l.link, zxid });
        }
    }

    /// ACK: of NEWLEADER if that is still owed, of UPTODATE if its counter is 0, else of a proposal.
    pub(super) fn on_ack<T>(
        &mut self,
        at: usize,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        match self.learners[at].stage {
            LearnerStage::Synced if zxid == Zxid::new(self.epoch, 0) => {
                self.on_ack_new_leader(at, cx);
                return Ok(Next::Stay);
            }
            LearnerStage::Synced => return Err(Fault::AckBeforeNewLeader { zxid }),
            LearnerStage::Active => {}
            LearnerStage::Linked
            | LearnerStage::Introduced(_)
            | LearnerStage::Invited
            | LearnerStage::EpochAcked { .. } => {
                return Err(Fault::UnexpectedPacket);
            }
        }
        if cx.env.ack_ticks_max > 0 {
            self.learners[at].progress.confirm(zxid);
        }
        if zxid.counter() == 0 || zxid <= self.committed {
            return Ok(Next::Stay); // of UPTODATE, or late: a quorum was faster
        }
        let seat = self.learners[at].seat;
        if self.record_ack(zxid, seat)? {
            self.commit_ready(cx);
        }
        Ok(Next::Stay)
    }

    /// The own log holds a proposal.
    pub(super) fn on_own_append<T>(&mut self, zxid: Zxid, cx: &mut Context<'_, T>) {
        if cx.env.ack_ticks_max > 0 {
            self.own.confirm(zxid);
        }
        if zxid <= self.committed {
            return; // a quorum of others was faster than the own disk
        }
        let recorded = self.record_ack(zxid, self.seat);
        assert!(recorded.is_ok(), "I-31: what a leader logs it has proposed");
        if recorded == Ok(true) {
            self.commit_ready(cx);
        }
    }

    /// Counts an acknowledgement. Returns whether it is of the oldest proposal: without that one none can be committed.
    fn record_ack(&mut self, zxid: Zxid, seat: Seat) -> Result<bool, Fault> {
        // Outstanding zxids are consecutive, so a proposal's place follows from its counter.
        let first = self.outstanding.front().map_or(u64::MAX, |o| o.zxid.0);
        let proposal = zxid
            .0
            .checked_sub(first)
            .and_then(|i| usize::try_from(i).ok())
            .filter(|i| *i < self.outstanding.len())
            // Only behind a counter that a switch has let run over.
            .or_else(|| self.outstanding.iter().position(|o| o.zxid == zxid))
            .and_then(|i| self.outstanding.get_mut(i));
        let Some(proposal) = proposal else {
            return Err(Fault::AckOfUnproposed { zxid });
        };
        proposal.acks.insert(seat);
        Ok(zxid.0 == first)
    }

    /// Commits from the oldest proposal on, as far as quorums reach.
    pub(super) fn commit_ready<T>(&mut self, cx: &mut Context<'_, T>) {
        let before = self.committed;
        while let Some(oldest) = self.outstanding.front() {
            let zxid = oldest.zxid;
            let ensemble = &cx.storage.ensemble;
            if !ensemble.commits(zxid, oldest.acks, cx.env.switches) {
                break;
            }
            self.outstanding.pop_front();
            self.committed = zxid;
            let activates = self.activate(zxid, cx);
            let synced_too = cx.rules().synced_learners_get_commits();
            let to = |l: &&Learner| {
                l.is_forwarded_to()
                    && !l.observer
                    && (synced_too || l.stage == LearnerStage::Active)
            };
            for l in self.learners.iter().filter(to) {
                let packet = if activates {
                    Packet::CommitAndActivate { zxid }
                } else {
                    Packet::Commit { zxid }
                };
                cx.out.push(Effect::Send {
                    link: l.link,
                    packet,
                });
            }
            if cx.rules().inform_waits_for_commit() {
                self.inform(zxid, cx);
            }
            if self.is_retired() {
                break; // what is still outstanding is for the next leader to commit
            }
        }
        if self.committed > before {
            if cx.rules().leader_applies() {
                cx.deliver(self.committed);
            }
            self.sync_waiting(cx);
        }
    }
}
