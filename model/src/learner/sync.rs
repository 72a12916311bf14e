//! Phase 2, the learner's side. The order that must never change is:
//! history durable, then currentEpoch durable, then ACK of NEWLEADER, then UPTODATE, then serve.
//!
//! Each swap of two of them is a known way to lose data, and a switch that the checker must catch.

use super::{Following, FollowingStage};
use crate::context::{Context, Next};
use crate::ensemble::Ensemble;
use crate::fault::Fault;
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::step::{Effect, Write};
use alloc::boxed::Box;

impl Following {
    /// DIFF: everything in the own log is part of the leader's committed history.
    pub(super) fn on_diff<T>(
        &mut self,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        self.begin_sync(cx)?;
        if !cx.rules().diff_moves_nothing() {
            *cx.delivered = zxid.max(*cx.delivered);
        }
        self.committed = cx.storage.asked.history.last();
        Ok(Next::Stay)
    }

    /// TRUNC: the own log goes on where the leader's does not.
    pub(super) fn on_trunc<T>(
        &mut self,
        zxid: Zxid,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        let history = &cx.storage.asked.history;
        let zxid = Self::cut(zxid, history);
        if zxid < history.base() && self.stage == FollowingStage::AwaitSync {
            return self.ask_for_snap(zxid, cx);
        }
        if !history.contains(zxid) {
            let last = history.last();
            return Err(Fault::TruncOutsideHistory { zxid, last });
        }
        let zxid = if cx.rules().trunc_keeps_its_end() {
            zxid
        } else {
            history.floor(Zxid(zxid.0 - 1)).unwrap_or(zxid)
        };
        self.begin_sync(cx)?;
        cx.storage.truncate(zxid, cx.env.switches, cx.out);
        self.committed = zxid;
        *cx.delivered = zxid.min(*cx.delivered);
        Ok(Next::Stay)
    }

    /// Where a TRUNC cuts. A ZooKeeper leader without a transaction of its own calls its end (epoch, 0), a position and
    /// not a transaction: for a learner that has transactions of that epoch, this is where those begin.
    fn cut(zxid: Zxid, history: &History) -> Zxid {
        let position = zxid.counter() == 0 && zxid.epoch() == history.last().epoch();
        let end = if position { history.floor(zxid) } else { None };
        end.unwrap_or(zxid)
    }

    /// The cut lies inside the own snapshot, which cannot be taken apart: an earlier leader that never formed a quorum
    /// has sent it. Dials the leader again and names no position, so that it sends SNAP (D-16).
    ///
    /// The new connection is to a leader that is past discovery, which counts nobody any more: to hide the own
    /// history misleads no election.
    fn ask_for_snap<T>(&mut self, zxid: Zxid, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        let base = cx.storage.asked.history.base();
        let fault = Fault::TruncBelowSnapshot { zxid, base };
        if !cx.rules().trunc_below_snapshot_asks_for_snap() {
            return Err(fault);
        }
        cx.out.push(Effect::Refused(fault));
        cx.out.extend(self.link.take().map(Effect::Unlink));
        self.stage = FollowingStage::Dialling;
        self.wants_snap = true;
        cx.out.push(Effect::Dial(self.vote.leader));
        Ok(Next::Stay)
    }

    /// SNAP: the leader's tree replaces history and tree, in one write: a crash leaves the old pair or the new one,
    /// never the old log on top of the new snapshot.
    pub(super) fn on_snap<T>(
        &mut self,
        zxid: Zxid,
        ensemble: Box<Ensemble>,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        self.begin_sync(cx)?;
        cx.storage.install(zxid, ensemble, cx.env.switches, cx.out);
        self.committed = zxid;
        *cx.delivered = zxid;
        Ok(Next::Stay)
    }

    /// Whether SNAP has brought this transaction already. A ZooKeeper leader begins to queue live packets before it
    /// reads the snapshot, so those of what was committed meanwhile come once more, before NEWLEADER (D-20).
    pub(super) fn is_in_snapshot<T>(&self, zxid: Zxid, cx: &Context<'_, T>) -> bool {
        self.stage == FollowingStage::Syncing
            && zxid <= cx.storage.asked.history.base()
            && cx.rules().what_snap_has_brought_is_dropped()
    }

    fn begin_sync<T>(&mut self, cx: &mut Context<'_, T>) -> Result<(), Fault> {
        if self.stage != FollowingStage::AwaitSync {
            return Err(Fault::UnexpectedPacket);
        }
        self.stage = FollowingStage::Syncing;
        if !cx.rules().epoch_waits_for_history() {
            cx.storage.persist(Write::CurrentEpoch(self.epoch), cx.out);
        }
        Ok(())
    }

    /// NEWLEADER: the history is complete. The epoch is written behind it, the ACK waits for both.
    pub(super) fn on_new_leader<T: Clone>(
        &mut self,
        epoch: Epoch,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        if self.stage != FollowingStage::Syncing {
            return Err(Fault::UnexpectedPacket);
        }
        if epoch != self.epoch {
            return Err(Fault::NewLeaderOfOtherEpoch { epoch });
        }
        self.stage = FollowingStage::WritingCurrent;
        if !cx.rules().newleader_ack_waits_for_epoch() {
            self.ack_without_epoch(cx);
            return Ok(Next::Stay);
        }
        cx.storage.persist(Write::CurrentEpoch(epoch), cx.out);
        if !cx.rules().newleader_ack_waits_for_fsync() {
            self.ack_new_leader(cx);
        }
        Ok(Next::Stay)
    }

    /// History and epoch are durable: ACK of NEWLEADER, then of every proposal that is logged but not committed.
    pub(super) fn on_epoch_current<T>(&mut self, cx: &mut Context<'_, T>) {
        // Before NEWLEADER only a switch can have asked for this write.
        if self.stage == FollowingStage::WritingCurrent && cx.storage.asked.current == self.epoch {
            let newer_write_pending = cx
                .storage
                .pending
                .contains(&crate::durable::Written::CurrentEpoch(self.epoch));
            if !newer_write_pending {
                self.ack_new_leader(cx);
            }
        }
    }

    /// The bug of a switch: the history is durable, the epoch is not even asked for.
    pub(super) fn ack_without_epoch<T>(&mut self, cx: &mut Context<'_, T>) {
        if self.stage == FollowingStage::WritingCurrent && cx.storage.is_idle() {
            self.ack_new_leader(cx);
        }
    }

    fn ack_new_leader<T>(&mut self, cx: &mut Context<'_, T>) {
        self.stage = FollowingStage::AwaitUpToDate;
        let zxid = Zxid::new(self.epoch, 0);
        self.send(Packet::Ack { zxid }, cx);
        if self.observer {
            return;
        }
        // These waited: an ack of a proposal must not overtake the one of NEWLEADER (ZOOKEEPER-4685).
        let Some(link) = self.link else { return };
        if !cx.rules().history_is_acked_by_its_parts() {
            return;
        }
        let asked = &cx.storage.asked.history;
        let logged = cx.storage.known.history.above(self.committed);
        // All that is known is asked for, but for the switch that does not wait for a TRUNC.
        for zxid in logged.filter(|z| asked.contains(*z)) {
            let packet = Packet::Ack { zxid };
            cx.out.push(Effect::Send { link, packet });
        }
    }

    /// UPTODATE: a quorum has this history. Apply what is committed, a reconfiguration too, and serve.
    pub(super) fn on_up_to_date<T>(&mut self, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        if self.stage != FollowingStage::AwaitUpToDate {
            return Err(Fault::UnexpectedPacket);
        }
        self.stage = FollowingStage::Broadcast;
        if cx.rules().vote_moves_with_the_epoch() {
            self.vote.epoch = self.epoch;
        }
        if !cx.rules().newleader_ack_waits_for_epoch() {
            cx.storage.persist(Write::CurrentEpoch(self.epoch), cx.out);
        }
        cx.storage.activate(self.committed, cx.out);
        if cx.rules().history_is_applied_before_serving() {
            cx.deliver(self.committed);
        }
        cx.out.push(Effect::Serve { epoch: self.epoch });
        let zxid = Zxid::new(self.epoch, 0);
        self.send(Packet::Ack { zxid }, cx);
        Ok(Next::Stay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_a_trunc_is_where_the_own_transactions_of_that_epoch_begin() {
        let z = |e: u32, c: u32| Zxid::new(Epoch(e), c);
        let history = |list: &[Zxid]| {
            let mut history = History::default();
            list.iter().for_each(|z| history.append(*z));
            history
        };
        let mixed = history(&[z(1, 1), z(1, 2), z(3, 1), z(3, 2)]);
        assert_eq!(Following::cut(z(3, 0), &mixed), z(1, 2));
        assert_eq!(Following::cut(z(3, 1), &mixed), z(3, 1));
        // Of an epoch that it has nothing of, and of nothing at all: as it was said, to be refused.
        assert_eq!(Following::cut(z(2, 0), &mixed), z(2, 0));
        assert_eq!(Following::cut(z(3, 0), &history(&[z(1, 1)])), z(3, 0));
        // A snapshot of a leader that had no transaction of its own yet.
        let mut based = History::starting_at(z(3, 0));
        based.append(z(3, 1));
        assert_eq!(Following::cut(z(3, 0), &based), z(3, 0));
        assert_eq!(Following::cut(z(1, 0), &history(&[z(1, 1)])), Zxid::ZERO);
    }
}
