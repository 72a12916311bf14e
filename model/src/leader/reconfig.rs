//! A reconfiguration at the leader: proposed if it can succeed, counted under both configurations, activated by its commit.

use super::{Leading, LearnerStage, Phase};
use crate::context::Context;
use crate::ensemble::{Ensemble, Payload};
use crate::fault::Fault;
use crate::ids::Zxid;
use crate::quorum::Voters;
use crate::step::Env;

impl Leading {
    /// Whether a reconfiguration may be proposed: the last one is committed, and a quorum of the new configuration is
    /// synchronized. A joiner is so before it has a vote; an observer is not, as it acknowledges nothing.
    pub(crate) fn may_reconfigure(
        &self,
        voters: &Voters,
        ensemble: &Ensemble,
        env: &Env,
    ) -> Result<(), Fault> {
        if self.phase != Phase::Broadcast {
            return Err(Fault::NotLeading);
        }
        if ensemble.next().is_some() && env.rules().reconfigurations_come_one_by_one() {
            return Err(Fault::ReconfigInProgress);
        }
        let active = self
            .learners
            .iter()
            .filter(|l| l.stage == LearnerStage::Active && !l.observer);
        let synced = active.map(|l| l.sid).chain([env.me]);
        if Ensemble::can_become(voters, synced, env.switches) {
            Ok(())
        } else {
            Err(Fault::NewConfigNotSynced)
        }
    }

    /// Asks for a proposal in the own log; a reconfiguration gives out seats, from it on.
    pub(super) fn log<T: Payload>(&mut self, zxid: Zxid, txn: T, cx: &mut Context<'_, T>) {
        let active = cx.storage.ensemble.active().version;
        let reconfigures = cx.storage.append(zxid, txn, cx.env.switches, cx.out);
        if reconfigures {
            let activates = cx.storage.ensemble.active().version != active;
            self.seat_all(activates, cx);
        }
    }

    /// Everything up to `upto` is committed: whether that activates a configuration. What is still outstanding was
    /// proposed after it, and has been counted under it, too.
    pub(super) fn activate<T>(&mut self, upto: Zxid, cx: &mut Context<'_, T>) -> bool {
        let activates = cx.storage.activate(upto, cx.out);
        if activates {
            self.seat_all(true, cx);
        }
        activates
    }

    /// Gives out the seats of a changed ensemble, and the acks with them. Whoever came as an observer has none until it comes
    /// again as a follower: it acknowledges nothing.
    fn seat_all<T>(&mut self, activates: bool, cx: &Context<'_, T>) {
        for proposal in self.outstanding.iter_mut().filter(|_| activates) {
            proposal.acks = proposal.acks.activated();
        }
        let ensemble = &cx.storage.ensemble;
        self.seat = ensemble.seat(cx.env.me);
        for l in self
            .learners
            .iter_mut()
            .filter(|l| l.stage != LearnerStage::Linked && !l.observer)
        {
            l.seat = ensemble.seat(l.sid);
        }
    }

    /// Whether the active configuration has no vote for this leader: it hands over.
    pub(crate) fn is_retired(&self) -> bool {
        self.phase == Phase::Broadcast && !self.seat.is_active()
    }
}
