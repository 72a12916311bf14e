//! Phase 2, the learner's side. The order that must never change is:
//! history durable, then currentEpoch durable, then ACK of NEWLEADER, then UPTODATE, then serve.
//!
//! Each swap of two of them is a known way to lose data, and a switch that the checker must catch.

use super::{Following, Stage};
use crate::ensemble::Ensemble;
use crate::fault::Fault;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::peer::{Context, Next};
use crate::step::{Effect, Write};
use crate::switch::Switch;
use alloc::boxed::Box;

impl Following {
    /// DIFF: everything in the own log is part of the leader's committed history.
    pub(super) fn on_diff<T>(&mut self, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        self.begin_sync(cx)?;
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
        if !history.contains(zxid) {
            let last = history.last();
            return Err(Fault::TruncOutsideHistory { zxid, last });
        }
        self.begin_sync(cx)?;
        cx.storage.truncate(zxid, cx.env.switches, cx.out);
        self.committed = zxid;
        *cx.delivered = zxid.min(*cx.delivered);
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

    fn begin_sync<T>(&mut self, cx: &mut Context<'_, T>) -> Result<(), Fault> {
        if self.stage != Stage::AwaitSync {
            return Err(Fault::UnexpectedPacket);
        }
        self.stage = Stage::Syncing;
        if cx.env.switches.on(Switch::EpochBeforeHistory) {
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
        if self.stage != Stage::Syncing {
            return Err(Fault::UnexpectedPacket);
        }
        if epoch != self.epoch {
            return Err(Fault::NewLeaderOfOtherEpoch { epoch });
        }
        self.stage = Stage::WritingCurrent;
        cx.storage.persist(Write::CurrentEpoch(epoch), cx.out);
        if cx.env.switches.on(Switch::AckNewleaderBeforeFsync) {
            self.ack_new_leader(cx);
        }
        Ok(Next::Stay)
    }

    /// History and epoch are durable: ACK of NEWLEADER, then of every proposal that is logged but not committed.
    pub(super) fn on_epoch_current<T>(&mut self, cx: &mut Context<'_, T>) {
        // Before NEWLEADER only a switch can have asked for this write.
        if self.stage == Stage::WritingCurrent && cx.storage.asked.current == self.epoch {
            let newer_write_pending = cx
                .storage
                .pending
                .contains(&crate::durable::Written::CurrentEpoch(self.epoch));
            if !newer_write_pending {
                self.ack_new_leader(cx);
            }
        }
    }

    fn ack_new_leader<T>(&mut self, cx: &mut Context<'_, T>) {
        self.stage = Stage::AwaitUpToDate;
        let zxid = Zxid::new(self.epoch, 0);
        self.send(Packet::Ack { zxid }, cx);
        // These waited: an ack of a proposal must not overtake the one of NEWLEADER (ZOOKEEPER-4685).
        let Some(link) = self.link else { return };
        for zxid in cx.storage.known.history.above(self.committed) {
            let packet = Packet::Ack { zxid };
            cx.out.push(Effect::Send { link, packet });
        }
    }

    /// UPTODATE: a quorum has this history. Apply what is committed, a reconfiguration too, and serve.
    pub(super) fn on_up_to_date<T>(&mut self, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        if self.stage != Stage::AwaitUpToDate {
            return Err(Fault::UnexpectedPacket);
        }
        self.stage = Stage::Broadcast;
        self.vote.epoch = self.epoch;
        cx.storage.activate(self.committed, cx.out);
        cx.deliver(self.committed);
        cx.out.push(Effect::Serve { epoch: self.epoch });
        let zxid = Zxid::new(self.epoch, 0);
        self.send(Packet::Ack { zxid }, cx);
        Ok(Next::Stay)
    }
}
