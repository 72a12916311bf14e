//! Phase 1, the learner's side: accept the leader's epoch, durably, and say where the own history ends.

use super::{Following, FollowingStage};
use crate::context::{Context, Next};
use crate::fault::Fault;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::step::Link;

impl Following {
    /// The leader has answered the dial: FOLLOWERINFO, or OBSERVERINFO.
    pub(crate) fn on_linked<T>(&mut self, link: Link, cx: &mut Context<'_, T>) {
        self.link = Some(link);
        self.stage = FollowingStage::AwaitLeaderInfo;
        let (sid, accepted) = (cx.env.me, cx.storage.known.accepted);
        let packet = if self.observer {
            Packet::ObserverInfo { sid, accepted }
        } else {
            Packet::FollowerInfo { sid, accepted }
        };
        self.send(packet, cx);
    }

    /// LEADERINFO: a larger epoch is accepted, the same one is answered without counting, a smaller one refused.
    pub(super) fn on_leader_info<T>(
        &mut self,
        epoch: Epoch,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        let accepted = cx.storage.known.accepted;
        if self.stage != FollowingStage::AwaitLeaderInfo {
            return Err(Fault::UnexpectedPacket);
        }
        // What an observer has accepted was no promise to anybody, and no leader asks for it: only a leader that is older than
        // its history is refused.
        let promised = if self.observer {
            cx.storage.known.current
        } else {
            accepted
        };
        if epoch < promised {
            let accepted = promised;
            return Err(Fault::StaleLeader { epoch, accepted });
        }
        self.epoch = epoch;
        if epoch <= accepted {
            // This promise may have been counted before, by a leader that is gone.
            let counts = !cx.rules().same_epoch_counts_once();
            self.ack_epoch(counts.then_some(cx.storage.known.current), cx);
        } else {
            self.stage = FollowingStage::WritingAccepted;
            if !cx.storage.accept(epoch, cx.env.switches, cx.out) {
                self.on_epoch_accepted(cx);
            }
        }
        Ok(Next::Stay)
    }

    /// The accepted epoch is durable: ACKEPOCH.
    pub(super) fn on_epoch_accepted<T>(&mut self, cx: &mut Context<'_, T>) {
        self.ack_epoch(Some(cx.storage.known.current), cx);
    }

    fn ack_epoch<T>(&mut self, current: Option<Epoch>, cx: &mut Context<'_, T>) {
        self.stage = FollowingStage::AwaitSync;
        let last = if self.wants_snap && current.is_none() {
            Zxid::NONE
        } else {
            cx.storage.last_reported(*cx.delivered, cx.env.switches)
        };
        self.send(Packet::AckEpoch { last, current }, cx);
    }
}
