//! Leading: from the first learner to the loss of the quorum.

mod broadcast;
mod discovery;
mod late;
mod progress;
mod reconfig;
mod sync;
pub(crate) mod sync_plan;
#[cfg(test)]
mod tests;

use crate::context::{Context, Next};
use crate::ensemble::{Acks, Seat};
use crate::fault::Fault;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::packet::Packet;
use crate::step::{Effect, Env, Link, Timer};
use crate::vote::Vote;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use progress::DiskProgress;
use serde::{Deserialize, Serialize};

/// A server that was elected, or believes so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Leading {
    /// The vote that won; its epoch becomes the new one when a quorum has formed.
    pub(crate) vote: Vote,
    pub(crate) phase: Phase,
    /// The epoch that this leader proposes; zero until it is chosen.
    pub(crate) epoch: Epoch,
    /// This server's own vote.
    pub(crate) seat: Seat,
    /// Every connected learner, by link.
    pub(crate) learners: Vec<Learner>,
    /// What is committed of the leader's own history; from synchronization on.
    pub(crate) committed: Zxid,
    /// Proposals above `committed` with the voters that have them on disk, in zxid order.
    pub(crate) outstanding: VecDeque<Outstanding>,
    /// How far the own disk is.
    pub(crate) own: DiskProgress,
}

/// How far the leader has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Waits for FOLLOWERINFO of a quorum.
    Discovery,
    /// The epoch is chosen and on its way to the disk.
    ChoosingEpoch,
    /// LEADERINFO is out; waits for ACKEPOCH of a quorum.
    AwaitEpochAcks,
    /// NEWLEADER is out, the own currentEpoch is on its way to the disk.
    WritingEpoch,
    /// The own currentEpoch is durable; waits for ACK of NEWLEADER of a quorum.
    AwaitNewLeaderAcks,
    /// A quorum has formed.
    Broadcast,
}

/// A proposal that is not committed yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Outstanding {
    pub(crate) zxid: Zxid,
    pub(crate) acks: Acks,
}

/// A connected learner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Learner {
    pub(crate) link: Link,
    pub(crate) stage: LearnerStage,
    /// Who it is, from FOLLOWERINFO on.
    pub(crate) sid: ServerId,
    /// Its vote, if it has one.
    pub(crate) seat: Seat,
    /// Whether it introduced itself by OBSERVERINFO: it gets INFORM instead of PROPOSAL and COMMIT.
    pub(crate) observer: bool,
    /// Whether it was sent SNAP, from [`LearnerStage::Synced`] on.
    pub(crate) by_snap: bool,
    /// How far its disk is, from its ACK of NEWLEADER on.
    pub(crate) progress: DiskProgress,
}

/// How far a learner has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) enum LearnerStage {
    /// Connected, has not said who it is.
    Linked,
    /// FOLLOWERINFO came with its acceptedEpoch; LEADERINFO waits for the epoch.
    Introduced(Epoch),
    /// LEADERINFO was sent.
    Invited,
    /// ACKEPOCH came with the end of its history; `counted` if it had not accepted this epoch before.
    EpochAcked { last: Zxid, counted: bool },
    /// History and NEWLEADER were sent; live proposals follow.
    Synced,
    /// It has acknowledged NEWLEADER.
    Active,
}

impl Learner {
    /// Live proposals and commits go to it.
    pub(crate) fn is_forwarded_to(&self) -> bool {
        matches!(self.stage, LearnerStage::Synced | LearnerStage::Active)
    }
}

impl Leading {
    pub(crate) fn new(vote: Vote, seat: Seat) -> Self {
        Self {
            vote,
            phase: Phase::Discovery,
            epoch: Epoch(0),
            seat,
            learners: Vec::new(),
            committed: Zxid::ZERO,
            outstanding: VecDeque::new(),
            own: DiskProgress::default(),
        }
    }

    /// Begins to lead: opens for learners, and needs a quorum of them within initLimit.
    pub(crate) fn start<T>(&mut self, cx: &mut Context<'_, T>) -> Result<Next, Fault> {
        cx.out.push(Effect::Arm(Timer::Init));
        self.choose_epoch(cx)
    }

    /// A learner has connected.
    pub(crate) fn on_linked(&mut self, link: Link) {
        let at = self.learners.partition_point(|l| l.link < link);
        let learner = Learner {
            link,
            stage: LearnerStage::Linked,
            sid: ServerId(0),
            seat: Seat::default(),
            observer: false,
            by_snap: false,
            progress: DiskProgress::default(),
        };
        self.learners.insert(at, learner);
    }

    /// A learner's connection has ended.
    pub(crate) fn on_unlinked(&mut self, link: Link) {
        self.learners.retain(|l| l.link != link);
    }

    /// A learner says something; a fault costs it its connection.
    pub(crate) fn on_packet<T: Clone>(
        &mut self,
        link: Link,
        packet: Packet<T>,
        cx: &mut Context<'_, T>,
    ) -> Next {
        let Some(at) = self.learners.iter().position(|l| l.link == link) else {
            return Next::Stay; // it was told to go, this was still in flight
        };
        let handled = match packet {
            Packet::FollowerInfo { sid, accepted } => {
                self.on_learner_info(at, (sid, false), accepted, cx)
            }
            Packet::ObserverInfo { sid, accepted } => {
                self.on_learner_info(at, (sid, true), accepted, cx)
            }
            Packet::AckEpoch { last, current } => self.on_ack_epoch(at, last, current, cx),
            Packet::Ack { zxid } => self.on_ack(at, zxid, cx),
            Packet::Ping { .. } => Ok(Next::Stay),
            Packet::LeaderInfo { .. }
            | Packet::Diff { .. }
            | Packet::Trunc { .. }
            | Packet::Snap { .. }
            | Packet::Proposal { .. }
            | Packet::Commit { .. }
            | Packet::Inform { .. }
            | Packet::CommitAndActivate { .. }
            | Packet::NewLeader { .. }
            | Packet::UpToDate => Err(Fault::UnexpectedPacket),
        };
        match handled {
            Ok(next) => next,
            Err(Fault::EpochExhausted) => {
                cx.out.push(Effect::Refused(Fault::EpochExhausted));
                Next::Look
            }
            Err(fault) => {
                cx.out.push(Effect::Refused(fault));
                cx.out.push(Effect::Unlink(link));
                self.on_unlinked(link);
                Next::Stay
            }
        }
    }

    /// No quorum within initLimit.
    pub(crate) fn on_init_timeout(&self, env: &Env) -> Next {
        if self.phase == Phase::Broadcast || !env.rules().gives_up_after_init_limit() {
            Next::Stay
        } else {
            Next::Look
        }
    }

    /// Half a tick has passed: give up whoever acknowledges nothing, step down without a quorum, else PING.
    pub(crate) fn on_tick<T>(&mut self, cx: &mut Context<'_, T>) -> Next {
        if self.phase != Phase::Broadcast {
            return Next::Stay;
        }
        if cx.env.ack_ticks_max > 0 {
            self.give_up_late(cx);
            if self.gives_way(cx) == Next::Look {
                return Next::Look;
            }
        }
        if !self.has_live_quorum(cx) && cx.rules().steps_down_without_a_quorum() {
            cx.out.push(Effect::Refused(Fault::QuorumLost));
            return Next::Look;
        }
        let zxid = cx.storage.asked.history.last();
        for l in self
            .learners
            .iter()
            .filter(|l| l.stage == LearnerStage::Active)
        {
            let packet = Packet::Ping { zxid };
            cx.out.push(Effect::Send {
                link: l.link,
                packet,
            });
        }
        cx.out.push(Effect::Arm(Timer::Tick));
        Next::Stay
    }

    /// Whether this server and the active learners are a quorum.
    pub(crate) fn has_live_quorum<T>(&self, cx: &Context<'_, T>) -> bool {
        let voters_only = cx.rules().only_voters_join();
        self.is_quorum_with_me(|l| l.stage == LearnerStage::Active, voters_only, cx)
    }

    /// Whether this server and the learners that satisfy `counts` are a quorum, by the votes of voters only.
    fn is_quorum_with_me<T>(
        &self,
        counts: impl Fn(&Learner) -> bool,
        voters_only: bool,
        cx: &Context<'_, T>,
    ) -> bool {
        let mut set = Acks::EMPTY;
        set.insert(self.seat);
        for l in self.learners.iter().filter(|l| counts(l)) {
            if l.observer && !voters_only {
                set.active
                    .insert(cx.storage.ensemble.active().voters.stranger());
            }
            set.insert(l.seat);
        }
        cx.storage.ensemble.is_quorum(set, cx.env.switches)
    }
}
