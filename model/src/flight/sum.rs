//! One number for all effects of a life: two lives with the same sum have asked for the same.

use crate::packet::Packet;
use crate::step::{Effect, Timer, Write};
use crate::vote::{Notification, ServerState};

/// The sum so far. Transactions count by their place only, as that is what is recorded of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// As it is written.
    pub(super) const fn value(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    const fn add(&mut self, n: u64) {
        // Multiplication by an odd number, as in FxHash: each input moves all bits above it.
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    #[inline]
    const fn two(&mut self, kind: u64, a: u64, b: u64) {
        // One multiplication: where the two overlap, others tell them apart, as marks and zxids rise together.
        self.add(kind ^ a.rotate_left(8) ^ b.rotate_left(24));
    }

    /// Adds an effect; whether it is one that an operator may ask about.
    #[inline]
    pub(super) fn effect<T>(&mut self, effect: &Effect<T>) -> bool {
        match effect {
            Effect::Persist { mark, write } => {
                let (kind, value) = match write {
                    Write::Append { zxid, .. } => (1, zxid.0),
                    Write::AcceptedEpoch(epoch) => (2, epoch.0.into()),
                    Write::CurrentEpoch(epoch) => (3, epoch.0.into()),
                    Write::Truncate { zxid } => (4, zxid.0),
                    Write::Install { zxid, .. } => (5, zxid.0),
                    Write::Activate { version } => (6, version.0),
                };
                self.two(kind, mark.0, value);
                kind != 1
            }
            Effect::Send { link, packet } => {
                let (kind, value) = packet_of(packet);
                self.two(32 + kind, link.0, value);
                false
            }
            Effect::Deliver { upto } => {
                self.two(7, 0, upto.0);
                false
            }
            Effect::SendInform { link, zxid } => {
                self.two(8, link.0, zxid.0);
                false
            }
            Effect::Arm(timer) => {
                self.two(9, 0, timer_of(*timer));
                false
            }
            Effect::Disarm(timer) => {
                self.two(10, 0, timer_of(*timer));
                false
            }
            other => {
                self.seldom(other);
                true
            }
        }
    }

    fn seldom<T>(&mut self, effect: &Effect<T>) {
        match effect {
            Effect::Notify { to, notification } => {
                let Notification { state, vote, round } = notification;
                self.two(11, to.0, state_of(*state));
                self.two(vote.leader.0, vote.epoch.0.into(), vote.zxid.0);
                self.add(round.0);
            }
            Effect::Dial(leader) => self.two(12, 0, leader.0),
            Effect::SendHistory {
                link,
                after,
                upto,
                committed,
            } => {
                self.two(13, link.0, after.0);
                self.two(u64::from(*committed), 0, upto.0);
            }
            Effect::SendSnapshot { link, zxid, .. } => self.two(14, link.0, zxid.0),
            Effect::Unlink(link) => self.two(15, 0, link.0),
            Effect::Became(state) => self.two(16, 0, state_of(*state)),
            Effect::Serve { epoch } => self.two(17, 0, epoch.0.into()),
            Effect::Refused(_) => self.two(18, 0, 0),
            Effect::Persist { .. }
            | Effect::Send { .. }
            | Effect::Deliver { .. }
            | Effect::SendInform { .. }
            | Effect::Arm(_)
            | Effect::Disarm(_) => {}
        }
    }
}

#[inline]
fn packet_of<T>(packet: &Packet<T>) -> (u64, u64) {
    match packet {
        Packet::Proposal { zxid, .. } => (0, zxid.0),
        Packet::Commit { zxid } => (1, zxid.0),
        Packet::Ack { zxid } => (2, zxid.0),
        Packet::Inform { zxid, .. } => (3, zxid.0),
        Packet::Ping { zxid } => (4, zxid.0),
        Packet::FollowerInfo { sid, accepted } => (5, sid.0 ^ u64::from(accepted.0) << 32),
        Packet::ObserverInfo { sid, accepted } => (6, sid.0 ^ u64::from(accepted.0) << 32),
        Packet::LeaderInfo { epoch } => (7, epoch.0.into()),
        Packet::AckEpoch { last, current } => {
            let current = current.map_or(u64::MAX, |epoch| epoch.0.into());
            (8, last.0 ^ current.rotate_left(48))
        }
        Packet::Diff { zxid } => (9, zxid.0),
        Packet::Trunc { zxid } => (10, zxid.0),
        Packet::Snap { zxid, .. } => (11, zxid.0),
        Packet::CommitAndActivate { zxid } => (12, zxid.0),
        Packet::NewLeader { epoch } => (13, epoch.0.into()),
        Packet::UpToDate => (14, 0),
    }
}

const fn timer_of(timer: Timer) -> u64 {
    match timer {
        Timer::Finalize => 0,
        Timer::Resend => 1,
        Timer::Init => 2,
        Timer::Tick => 3,
    }
}

const fn state_of(state: ServerState) -> u64 {
    match state {
        ServerState::Looking => 0,
        ServerState::Following => 1,
        ServerState::Leading => 2,
        ServerState::Observing => 3,
    }
}
