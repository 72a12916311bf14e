//! Phase 3, the learner's side: log, acknowledge, apply.

use super::{Following, FollowingStage};
use crate::context::{Context, Next};
use crate::ensemble::Payload;
use crate::fault::Fault;
use crate::ids::Zxid;
use crate::packet::Packet;

impl Following {
    /// PROPOSAL: log it. It is acknowledged when it is durable, and never before NEWLEADER is.
    pub(super) fn on_proposal<T: Payload>(
        &mut self,
        zxid: Zxid,
        txn: T,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        // An observer gets PROPOSALs as part of the history only.
        if self.stage < FollowingStage::Syncing
            || self.observer && self.stage > FollowingStage::Syncing
        {
            return Err(Fault::UnexpectedPacket);
        }
        let is_old = zxid <= cx.storage.asked.history.last();
        if self.is_in_snapshot(zxid, cx) || is_old && !cx.rules().old_packets_are_refused() {
            return Ok(Next::Stay);
        }
        if !cx.storage.asked.history.is_next(zxid) {
            let last = cx.storage.asked.history.last();
            return Err(Fault::ProposalOutOfOrder { zxid, last });
        }
        cx.storage.append(zxid, txn, cx.env.switches, cx.out);
        if self.stage >= FollowingStage::AwaitUpToDate && !cx.rules().ack_waits_for_fsync() {
            self.send(Packet::Ack { zxid }, cx);
        }
        Ok(Next::Stay)
    }

    /// A proposal is durable: ACK.
    pub(super) fn on_append_durable<T>(&mut self, zxid: Zxid, cx: &mut Context<'_, T>) {
        let first = if cx.rules().newleader_is_acked_first() {
            FollowingStage::AwaitUpToDate
        } else {
            FollowingStage::WritingCurrent
        };
        let owed = self.stage >= first && !self.observer;
        if owed && (self.stage > FollowingStage::WritingCurrent || zxid > self.committed) {
            self.send(Packet::Ack { zxid }, cx);
        }
    }

    /// COMMIT: a quorum has it on disk; this server need not be one of them.
    pub(super) fn on_commit<T>(
        &mut self,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if self.stage < FollowingStage::Syncing {
            return Err(Fault::UnexpectedPacket);
        }
        let committed = self.committed;
        let is_old = zxid <= committed;
        if self.is_in_snapshot(zxid, cx) || is_old && !cx.rules().old_packets_are_refused() {
            return Ok(Next::Stay);
        }
        if zxid <= committed || !cx.storage.asked.history.contains(zxid) {
            return Err(Fault::CommitOutOfOrder { zxid, committed });
        }
        let forgotten = !cx.rules().newleader_forgets_nothing()
            && matches!(
                self.stage,
                FollowingStage::WritingCurrent | FollowingStage::AwaitUpToDate
            );
        if forgotten {
            return Err(Fault::CommitOutOfOrder { zxid, committed });
        }
        self.committed = zxid;
        if self.stage == FollowingStage::Broadcast || !cx.rules().history_waits_for_uptodate() {
            if cx.rules().follower_applies() {
                cx.deliver(zxid);
            }
        } else if !cx.rules().activation_waits_for_a_quorum() {
            cx.storage.activate(zxid, cx.out);
        }
        Ok(Next::Stay)
    }

    /// INFORM: a quorum has it on disk. An observer logs it, too, and tells nobody.
    pub(super) fn on_inform<T: Payload>(
        &mut self,
        zxid: Zxid,
        txn: T,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if !self.observer || self.stage < FollowingStage::Syncing {
            return Err(Fault::UnexpectedPacket);
        }
        if self.is_in_snapshot(zxid, cx) {
            return Ok(Next::Stay);
        }
        if !cx.storage.asked.history.is_next(zxid) {
            let last = cx.storage.asked.history.last();
            return Err(Fault::ProposalOutOfOrder { zxid, last });
        }
        cx.storage.append(zxid, txn, cx.env.switches, cx.out);
        self.on_commit(zxid, cx)?;
        if cx.storage.ensemble.next().map(|next| next.version) == Some(zxid) {
            cx.storage.activate(zxid, cx.out);
        }
        Ok(Next::Stay)
    }

    /// COMMITANDACTIVATE: a quorum of the old and of the new configuration has it on disk, so the new one alone
    /// decides from here on. A COMMIT does not say that: a leader sends those with its initial history, before a quorum
    /// has it.
    pub(super) fn on_commit_and_activate<T>(
        &mut self,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if self.is_in_snapshot(zxid, cx) {
            return Ok(Next::Stay);
        }
        if cx.storage.ensemble.next().map(|next| next.version) != Some(zxid) {
            return Err(Fault::ActivationOfOther { zxid });
        }
        self.on_commit(zxid, cx)?;
        cx.storage.activate(zxid, cx.out);
        Ok(Next::Stay)
    }

    /// PING: answered at once; the host adds which sessions have been heard from. Before the ACK of NEWLEADER it is
    /// not: a ZooKeeper leader wants that one first, and closes the connection if anything else comes (D-21).
    pub(super) fn on_ping<T>(
        &mut self,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if self.stage < FollowingStage::Syncing {
            return Err(Fault::UnexpectedPacket);
        }
        if self.stage >= FollowingStage::AwaitUpToDate || !cx.rules().ping_waits_for_newleader_ack()
        {
            self.send(Packet::Ping { zxid }, cx);
        }
        Ok(Next::Stay)
    }
}
