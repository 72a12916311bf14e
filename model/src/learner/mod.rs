//! Following and observing: from dialling the leader to the loss of it.

mod broadcast;
mod discovery;
mod sync;
#[cfg(test)]
mod tests;

use crate::context::{Context, Next};
use crate::durable::Written;
use crate::ensemble::Payload;
use crate::fault::Fault;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::step::{Effect, Link};
use crate::vote::{ServerState, Vote};
use serde::{Deserialize, Serialize};

/// A server that follows the leader it has elected, or, without a vote, that others have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Following {
    /// The vote that won; its epoch becomes the leader's when this server is up to date.
    pub(crate) vote: Vote,
    /// Whether it is an observer: it introduces itself as one, gets INFORM, and acknowledges no proposal.
    pub(crate) observer: bool,
    /// The connection to the leader; `None` while it is dialled.
    pub(crate) link: Option<Link>,
    pub(crate) stage: FollowingStage,
    /// The leader's epoch, from LEADERINFO on.
    pub(crate) epoch: Epoch,
    /// It could not carry out the leader's TRUNC, and asks for SNAP instead.
    pub(crate) wants_snap: bool,
    /// What the leader has said to be committed, from DIFF, TRUNC or SNAP on.
    pub(crate) committed: Zxid,
}

/// How far the learner has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(crate) enum FollowingStage {
    /// The leader is being dialled.
    Dialling,
    /// FOLLOWERINFO is out.
    AwaitLeaderInfo,
    /// The leader's epoch is on its way to the disk.
    WritingAccepted,
    /// ACKEPOCH is out.
    AwaitSync,
    /// History is coming in.
    Syncing,
    /// NEWLEADER came; history and epoch are on their way to the disk.
    WritingCurrent,
    /// ACK of NEWLEADER is out.
    AwaitUpToDate,
    /// Part of a formed quorum.
    Broadcast,
}

impl Following {
    /// Begins to follow; the leader is being dialled.
    pub(crate) const fn new(vote: Vote, observer: bool) -> Self {
        Self {
            vote,
            observer,
            link: None,
            stage: FollowingStage::Dialling,
            epoch: Epoch(0),
            wants_snap: false,
            committed: Zxid::ZERO,
        }
    }

    /// What it is doing, as it tells others.
    pub(crate) const fn state(&self) -> ServerState {
        if self.observer {
            ServerState::Observing
        } else {
            ServerState::Following
        }
    }

    /// The leader says something; a fault ends the attempt to follow it.
    pub(crate) fn on_packet<T: Payload + Clone>(
        &mut self,
        packet: Packet<T>,
        cx: &mut Context<'_, T>,
    ) -> Result<Next, Fault> {
        match packet {
            Packet::LeaderInfo { epoch } => self.on_leader_info(epoch, cx),
            Packet::Diff { zxid } => self.on_diff(zxid, cx),
            Packet::Trunc { zxid } => self.on_trunc(zxid, cx),
            Packet::Snap { zxid, ensemble } => self.on_snap(zxid, ensemble, cx),
            Packet::Proposal { zxid, txn } => self.on_proposal(zxid, txn, cx),
            Packet::Commit { zxid } => self.on_commit(zxid, cx),
            Packet::Inform { zxid, txn } => self.on_inform(zxid, txn, cx),
            Packet::CommitAndActivate { zxid } => self.on_commit_and_activate(zxid, cx),
            Packet::NewLeader { epoch } => self.on_new_leader(epoch, cx),
            Packet::UpToDate => self.on_up_to_date(cx),
            Packet::Ping { zxid } => self.on_ping(zxid, cx),
            Packet::FollowerInfo { .. }
            | Packet::ObserverInfo { .. }
            | Packet::AckEpoch { .. }
            | Packet::Ack { .. } => Err(Fault::UnexpectedPacket),
        }
    }

    /// The disk holds one more write.
    pub(crate) fn on_durable<T>(&mut self, written: Written, cx: &mut Context<'_, T>) {
        match written {
            Written::AcceptedEpoch(_) if self.stage == FollowingStage::WritingAccepted => {
                self.on_epoch_accepted(cx);
            }
            Written::AcceptedEpoch(_) => {} // only a switch goes on before it is durable
            Written::CurrentEpoch(_) => self.on_epoch_current(cx),
            Written::Append(zxid) => self.on_append_durable(zxid, cx),
            // NEWLEADER's epoch write comes after the first two; nobody waits for the third.
            Written::Truncate(_) | Written::Install(_) | Written::Activate(_) => {}
        }
        if !cx.rules().newleader_ack_waits_for_epoch() {
            self.ack_without_epoch(cx);
        }
    }

    /// Sends to the leader, if the connection stands.
    fn send<T>(&self, packet: Packet<T>, cx: &mut Context<'_, T>) {
        if let Some(link) = self.link {
            cx.out.push(Effect::Send { link, packet });
        }
    }
}
