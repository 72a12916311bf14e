//! What the benchmarks share; each benchmark is a file beside this one, for one layer.

use bytes::Bytes;
use zabra_model::durable::Durable;
use zabra_model::ensemble::{Ensemble, Payload};
use zabra_model::ids::{Epoch, Round, ServerId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::peer::Peer;
use zabra_model::quorum::Voters;
use zabra_model::step::{Effect, Effects, Env, Input, Link, Mark, SyncLimits, Timer};
use zabra_model::switch::Switches;
use zabra_model::vote::{Notification, ServerState, Vote};

/// A transaction's bytes.
#[derive(Clone, Debug)]
struct Opaque(#[expect(dead_code, reason = "it is carried, not read")] Bytes);

impl Payload for Opaque {
    fn voters(&self) -> Option<Voters> {
        None
    }
}

/// A leader of three with two active followers, driven as a host drives it: inputs in batches, effects read and dropped.
#[derive(Debug)]
pub struct Leader {
    env: Env,
    peer: Peer,
    out: Effects<Opaque>,
    epoch: Epoch,
    /// The newest write that was asked for.
    mark: Mark,
    /// The newest position that was proposed, and the newest that was delivered.
    proposed: Zxid,
    delivered: Zxid,
}

const FOLLOWERS: [(ServerId, Link); 2] = [(ServerId(1), Link(1)), (ServerId(2), Link(2))];

impl Leader {
    /// Elects it, syncs the followers, and serves. `None` if the protocol did not get there, which a test would say better.
    #[must_use]
    pub fn established() -> Option<Self> {
        let me = ServerId(3);
        let env = Env {
            me,
            observer: false,
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: 10,
            sync: SyncLimits::NONE,
        };
        let mut out = Effects::new();
        let ensemble = Ensemble::of(Voters::new(&[ServerId(1), ServerId(2), me]).ok()?);
        let peer = Peer::boot(&env, Durable::default(), ensemble, &mut out);
        let mut leader = Self {
            env,
            peer,
            out,
            epoch: Epoch(1),
            mark: Mark(0),
            proposed: Zxid::ZERO,
            delivered: Zxid::ZERO,
        };
        let vote = Vote {
            epoch: Epoch(0),
            zxid: Zxid::ZERO,
            leader: me,
        };
        for (from, _) in FOLLOWERS {
            let notification = Notification {
                state: ServerState::Looking,
                vote,
                round: Round(1),
            };
            leader.step(Input::Notified { from, notification });
        }
        leader.step(Input::Fired(Timer::Finalize));
        for (sid, link) in FOLLOWERS {
            leader.step(Input::Linked(link));
            let accepted = Epoch(0);
            leader.receive(link, Packet::FollowerInfo { sid, accepted });
        }
        leader.durable();
        for (_, link) in FOLLOWERS {
            let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
            leader.receive(link, Packet::AckEpoch { last, current });
        }
        leader.durable();
        let zxid = Zxid::new(leader.epoch, 0);
        for (_, link) in FOLLOWERS {
            leader.receive(link, Packet::Ack { zxid });
        }
        (leader.peer.serving() == Some(leader.epoch)).then_some(leader)
    }

    fn step(&mut self, input: Input<Opaque>) {
        self.peer.step(&self.env, input, &mut self.out);
        for effect in self.out.drain(..) {
            match effect {
                Effect::Persist { mark, .. } => self.mark = mark,
                Effect::Deliver { upto } => self.delivered = upto,
                _ => {}
            }
        }
    }

    fn receive(&mut self, link: Link, packet: Packet<Opaque>) {
        self.step(Input::Received { link, packet });
    }

    /// The disk answers: everything asked for is durable.
    fn durable(&mut self) {
        self.step(Input::Durable(self.mark));
    }

    /// Takes `count` transactions from proposal to delivery: proposed one by one, synced together, acknowledged by both followers.
    ///
    /// Returns whether exactly those were delivered.
    pub fn commit(&mut self, txn: &Bytes, count: u32) -> bool {
        let first = self.proposed.counter() + 1;
        for _ in 0..count {
            self.step(Input::Propose(Opaque(txn.clone())));
        }
        self.durable();
        let last = self.proposed.counter() + count;
        for (_, link) in FOLLOWERS {
            for counter in first..=last {
                let zxid = Zxid::new(self.epoch, counter);
                self.receive(link, Packet::Ack { zxid });
            }
        }
        self.proposed = Zxid::new(self.epoch, last);
        self.delivered == self.proposed
    }
}
