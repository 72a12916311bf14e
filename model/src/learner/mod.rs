//! Following: from dialling the leader to the loss of it.

mod broadcast;
mod discovery;
mod sync;

use crate::durable::Written;
use crate::ensemble::Payload;
use crate::fault::Fault;
use crate::ids::{Epoch, Zxid};
use crate::packet::Packet;
use crate::peer::{Context, Next};
use crate::step::{Effect, Link};
use crate::vote::Vote;

/// A server that follows the leader it has elected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Following {
    /// The vote that won; its epoch becomes the leader's when this server is up to date.
    pub(crate) vote: Vote,
    /// The connection to the leader; `None` while it is dialled.
    pub(crate) link: Option<Link>,
    pub(crate) stage: Stage,
    /// The leader's epoch, from LEADERINFO on.
    pub(crate) epoch: Epoch,
    /// What the leader has said to be committed, from DIFF, TRUNC or SNAP on.
    pub(crate) committed: Zxid,
}

/// How far the learner has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Stage {
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
    /// Begins to follow: dials the leader.
    pub(crate) fn start<T>(vote: Vote, cx: &mut Context<'_, T>) -> Self {
        cx.out.push(Effect::Dial(vote.leader));
        Self {
            vote,
            link: None,
            stage: Stage::Dialling,
            epoch: Epoch(0),
            committed: Zxid::ZERO,
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
            Packet::Diff { .. } => self.on_diff(cx),
            Packet::Trunc { zxid } => self.on_trunc(zxid, cx),
            Packet::Snap { zxid, ensemble } => self.on_snap(zxid, ensemble, cx),
            Packet::Proposal { zxid, txn } => self.on_proposal(zxid, txn, cx),
            Packet::Commit { zxid } => self.on_commit(zxid, cx),
            Packet::CommitAndActivate { zxid } => self.on_commit_and_activate(zxid, cx),
            Packet::NewLeader { epoch } => self.on_new_leader(epoch, cx),
            Packet::UpToDate => self.on_up_to_date(cx),
            Packet::Ping { zxid } => self.on_ping(zxid, cx),
            Packet::FollowerInfo { .. } | Packet::AckEpoch { .. } | Packet::Ack { .. } => {
                Err(Fault::UnexpectedPacket)
            }
        }
    }

    /// The disk holds one more write.
    pub(crate) fn on_durable<T>(&mut self, written: Written, cx: &mut Context<'_, T>) {
        match written {
            Written::AcceptedEpoch(_) => self.on_epoch_accepted(cx),
            Written::CurrentEpoch(_) => self.on_epoch_current(cx),
            Written::Append(zxid) => self.on_append_durable(zxid, cx),
            // NEWLEADER's epoch write comes after the first two; nobody waits for the third.
            Written::Truncate(_) | Written::Install(_) | Written::Activate(_) => {}
        }
    }

    /// Sends to the leader, if the connection stands.
    fn send<T>(&self, packet: Packet<T>, cx: &mut Context<'_, T>) {
        if let Some(link) = self.link {
            cx.out.push(Effect::Send { link, packet });
        }
    }
}
