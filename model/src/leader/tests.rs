//! What a leader does about epochs that cannot be, about disks that do not answer, and about those who are to get a vote.

use super::discovery::EPOCH_JUMP_MAX;
use crate::durable::Durable;
use crate::ensemble::{Ensemble, Payload};
use crate::fault::Fault;
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::packet::Packet;
use crate::peer::Peer;
use crate::quorum::Voters;
use crate::step::{Effect, Effects, Env, Input, Link, Mark, SyncLimits, Timer};
use crate::switch::Switches;
use crate::vote::{Notification, ServerState, Vote};
use alloc::vec::Vec;

const MAX: u32 = 4;

/// A transaction: the voters that it brings, if it is a reconfiguration.
#[derive(Clone, PartialEq, Debug)]
struct Txn(Option<Voters>);

impl Payload for Txn {
    fn voters(&self) -> Option<Voters> {
        self.0.clone()
    }
}

const WRITE: Txn = Txn(None);

fn voters(ids: &[u64]) -> Voters {
    let ids: Vec<ServerId> = ids.iter().copied().map(ServerId).collect();
    Voters::new(&ids).unwrap()
}

struct Server {
    env: Env,
    peer: Peer,
    out: Effects<Txn>,
}

impl Server {
    /// Server 3 of three, elected by the other two, with nobody connected.
    fn elected(accepted: u32) -> Self {
        let me = ServerId(3);
        let env = Env {
            me,
            observer: false,
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: MAX,
            sync: SyncLimits::NONE,
        };
        let found = Durable {
            accepted: Epoch(accepted),
            ..Durable::default()
        };
        let ensemble = Ensemble::of(Voters::new(&[ServerId(1), ServerId(2), me]).unwrap());
        let mut out = Effects::new();
        let peer = Peer::boot(&env, found, ensemble, &mut out);
        let mut server = Self { env, peer, out };
        for from in [1, 2].map(ServerId) {
            let vote = Vote {
                epoch: Epoch(0),
                zxid: Zxid::ZERO,
                leader: me,
            };
            server.step(Input::Notified {
                from,
                notification: Notification {
                    state: ServerState::Looking,
                    vote,
                    round: Round(1),
                },
            });
        }
        assert_eq!(server.peer.state(), ServerState::Leading);
        server
    }

    fn step(&mut self, input: Input<Txn>) {
        self.out.clear();
        self.peer.step(&self.env, input, &mut self.out);
    }

    fn says(&mut self, link: u64, packet: Packet<Txn>) {
        let link = Link(link);
        self.step(Input::Received { link, packet });
    }

    /// The disk does all it was asked for; what it was asked for in the meantime, too.
    fn flush(&mut self) {
        self.step(Input::Durable(Mark(u64::MAX)));
    }

    /// Says who it is, on a link of its own number.
    fn introduces(&mut self, sid: u64, observer: bool, accepted: u32) {
        self.step(Input::Linked(Link(sid)));
        let (id, accepted) = (ServerId(sid), Epoch(accepted));
        let packet = if observer {
            Packet::ObserverInfo { sid: id, accepted }
        } else {
            Packet::FollowerInfo { sid: id, accepted }
        };
        self.says(sid, packet);
    }

    /// Leads both others.
    fn established() -> Self {
        let mut s = Self::elected(0);
        for sid in [1, 2] {
            s.introduces(sid, false, 0);
        }
        s.flush();
        for sid in [1, 2] {
            let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
            s.says(sid, Packet::AckEpoch { last, current });
        }
        s.flush();
        for sid in [1, 2] {
            let zxid = Zxid::new(Epoch(1), 0);
            s.says(sid, Packet::Ack { zxid });
        }
        assert_eq!(s.peer.serving(), Some(Epoch(1)));
        s
    }

    fn refused(&self) -> Vec<Fault> {
        let faults = self.out.iter().filter_map(|e| match e {
            Effect::Refused(fault) => Some(*fault),
            _ => None,
        });
        faults.collect()
    }

    fn acks(&mut self, sid: u64, counter: u32) {
        let zxid = Zxid::new(Epoch(1), counter);
        self.says(sid, Packet::Ack { zxid });
    }

    /// Half ticks until something is refused, if that happens at all.
    fn ticks_until_refusal(&mut self) -> Option<(u32, Vec<Fault>)> {
        (1..50).find_map(|n| {
            self.step(Input::Fired(Timer::Tick));
            let refused = self.refused();
            (!refused.is_empty()).then_some((n, refused))
        })
    }
}

/// C-81: the epoch is chosen by what followers have accepted, whatever observers say.
#[test]
fn c_81_an_observers_epoch_does_not_count() {
    for claimed in [0, 7, 0xffff_fffe, u32::MAX] {
        let mut s = Server::elected(5);
        s.introduces(4, true, claimed);
        s.introduces(1, false, 6);
        assert_eq!(s.peer.storage().asked.accepted, Epoch(7), "{claimed}");
        assert_eq!(s.refused(), []);
    }
}

/// C-81: a follower is believed as far as elections can have brought it.
#[test]
fn c_81_jumps_of_the_epoch_are_bounded() {
    let own = 5;
    for (claimed, believed) in [
        (0, true),
        (own + 1, true),
        (own + EPOCH_JUMP_MAX, true),
        (own + EPOCH_JUMP_MAX + 1, false),
        (0xffff_fffe, false),
        (u32::MAX, false),
    ] {
        let mut s = Server::elected(own);
        s.introduces(1, false, claimed);
        let accepted = Epoch(claimed);
        if believed {
            assert_eq!(s.refused(), []);
            assert_eq!(s.peer.storage().asked.accepted.0, own.max(claimed) + 1);
        } else {
            let own = Epoch(own);
            assert_eq!(s.refused(), [Fault::EpochJump { accepted, own }]);
            assert!(s.out.contains(&Effect::Unlink(Link(1))));
            assert_eq!(s.peer.storage().asked.accepted, own);
        }
    }
    // Near the end of the range nothing overflows, and the last epochs may be used.
    let mut s = Server::elected(u32::MAX - 2);
    s.introduces(1, false, u32::MAX - 1);
    assert_eq!(s.peer.storage().asked.accepted, Epoch(u32::MAX));
}

/// C-83: a learner that says PING and acknowledges nothing is given up; the others are a quorum with the leader.
#[test]
fn c_83_a_learner_that_acknowledges_nothing_is_given_up() {
    let mut s = Server::established();
    assert_eq!(s.ticks_until_refusal(), None, "nothing is asked for");
    s.step(Input::Propose(WRITE));
    s.flush();
    s.acks(1, 1);
    let (ticks, refused) = s.ticks_until_refusal().unwrap();
    let (sid, done) = (ServerId(2), Zxid::ZERO);
    assert_eq!(ticks, MAX + 1, "the first one begins the count");
    assert_eq!(refused, [Fault::LearnerLate { sid, done }]);
    assert!(s.out.contains(&Effect::Unlink(Link(2))));
    assert_eq!(s.peer.serving(), Some(Epoch(1)));
    assert!(!s.peer.has_active_learner(Link(2)));
}

/// C-83: without a quorum of learners that acknowledge, the leader leads no more, and says so.
#[test]
fn c_83_a_leader_whose_quorum_acknowledges_nothing_steps_down() {
    let mut s = Server::established();
    s.step(Input::Unlinked(Link(1)));
    s.step(Input::Propose(WRITE));
    s.flush();
    let (_, refused) = s.ticks_until_refusal().unwrap();
    assert!(
        matches!(refused[..], [Fault::LearnerLate { .. }, Fault::QuorumLost]),
        "{refused:?}"
    );
    assert_eq!(s.peer.state(), ServerState::Looking);
}

/// C-83: late acknowledgements, of what a quorum has committed long ago, are acknowledgements.
#[test]
fn c_83_slow_is_not_late() {
    let mut s = Server::established();
    for counter in 1..100 {
        s.step(Input::Propose(WRITE));
        s.flush();
        s.acks(1, counter);
        s.step(Input::Fired(Timer::Tick));
        assert_eq!(s.refused(), [], "at {counter}");
        if let Some(late) = counter.checked_sub(MAX - 1).filter(|late| *late > 0) {
            s.acks(2, late);
        }
    }
}

/// C-83: a leader whose own disk stands still leaves the lead to those whose disks do not.
#[test]
fn c_83_a_leader_whose_own_disk_stands_still_gives_way() {
    let mut s = Server::established();
    s.step(Input::Propose(WRITE));
    s.acks(1, 1);
    s.acks(2, 1);
    assert_eq!(
        s.peer.delivered(),
        Zxid::new(Epoch(1), 1),
        "it is committed without the leader's disk"
    );
    let (_, refused) = s.ticks_until_refusal().unwrap();
    assert!(
        matches!(refused[..], [Fault::OwnDiskLate { .. }]),
        "{refused:?}"
    );
    assert_eq!(s.peer.state(), ServerState::Looking);
}

/// C-83: a server on its own waits for its disk.
#[test]
fn c_83_who_decides_alone_waits_for_the_own_disk() {
    let me = ServerId(1);
    let env = Env {
        me,
        observer: false,
        switches: Switches::default(),
        epoch_max: Epoch(u32::MAX),
        counter_max: u32::MAX - 1,
        ack_ticks_max: MAX,
        sync: SyncLimits::NONE,
    };
    let mut out = Effects::new();
    let ensemble = Ensemble::of(Voters::new(&[me]).unwrap());
    let peer = Peer::boot(&env, Durable::default(), ensemble, &mut out);
    let mut s = Server { env, peer, out };
    s.flush();
    s.flush();
    assert!(s.peer.serving().is_some());
    s.step(Input::Propose(WRITE));
    assert_eq!(s.ticks_until_refusal(), None);
}

impl Server {
    /// Joins an established leader, as an observer or as a follower that has no vote yet, and gets all there is.
    fn joins(&mut self, sid: u64, observer: bool) {
        self.introduces(sid, observer, 0);
        let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
        self.says(sid, Packet::AckEpoch { last, current });
        self.acks(sid, 0);
        assert!(self.peer.has_active_learner(Link(sid)));
    }

    fn may_become(&self, ids: &[u64]) -> Result<(), Fault> {
        self.peer.may_reconfigure(&self.env, &voters(ids))
    }
}

/// Who came as an observer acknowledges nothing, so a list that needs it could never be committed; a follower without a vote does.
#[test]
fn an_observer_is_no_synchronized_voter_of_the_next_list() {
    let mut s = Server::established();
    s.joins(4, true);
    s.joins(5, false);
    assert_eq!(s.may_become(&[3, 4]), Err(Fault::NewConfigNotSynced));
    assert_eq!(s.may_become(&[3, 5]), Ok(()));
    assert_eq!(s.may_become(&[3, 4, 5]), Ok(()), "two of three");
}

/// An observer gets a vote, and goes on as an observer until it comes again: it is nobody that a leader of the new list can decide with.
#[test]
fn whoever_came_as_an_observer_is_not_counted_before_it_comes_again() {
    let mut s = Server::established();
    s.joins(4, true);
    s.step(Input::Propose(Txn(Some(voters(&[1, 2, 3, 4])))));
    s.flush();
    s.acks(1, 1);
    s.acks(2, 1);
    s.flush();
    assert_eq!(s.peer.delivered(), Zxid::new(Epoch(1), 1));
    assert_eq!(s.peer.ensemble().active().version, s.peer.delivered());
    // Servers 2 and 3 are left of four voters, and an observer.
    s.step(Input::Unlinked(Link(1)));
    let (_, refused) = s.ticks_until_refusal().unwrap();
    assert_eq!(refused, [Fault::QuorumLost]);
    assert_eq!(s.peer.state(), ServerState::Looking);
}

/// As a follower it is.
#[test]
fn a_joiner_that_gets_a_vote_is_counted_from_its_acknowledgement_on() {
    let mut s = Server::established();
    s.joins(4, false);
    s.step(Input::Propose(Txn(Some(voters(&[1, 2, 3, 4])))));
    s.flush();
    s.acks(1, 1);
    assert_eq!(s.peer.delivered(), Zxid::ZERO, "two of four");
    s.acks(4, 1);
    s.flush();
    assert_eq!(s.peer.delivered(), Zxid::new(Epoch(1), 1));
    s.step(Input::Unlinked(Link(1)));
    s.step(Input::Fired(Timer::Tick));
    s.step(Input::Fired(Timer::Tick));
    assert_eq!(s.refused(), []);
    assert_eq!(s.peer.serving(), Some(Epoch(1)));
}

/// What a learner is being sent stays, and what is not committed; what is forgotten is not sent as DIFF any more.
#[test]
fn the_log_below_a_snapshot_is_forgotten_when_nobody_is_being_sent_it() {
    let mut s = Server::established();
    let z = |counter| Zxid::new(Epoch(1), counter);
    for counter in 1..=3 {
        s.step(Input::Propose(WRITE));
        s.flush();
        s.acks(1, counter);
    }
    s.step(Input::Propose(WRITE));
    s.flush();
    assert_eq!(s.peer.delivered(), z(3));
    let plan = |s: &mut Server, sid: u64, last: Zxid| {
        s.introduces(sid, true, 0);
        let current = Some(Epoch(1));
        s.says(sid, Packet::AckEpoch { last, current });
        s.out.iter().find_map(|effect| match effect {
            Effect::SendSnapshot { .. } => Some("SNAP"),
            Effect::Send {
                packet: Packet::Diff { .. },
                ..
            } => Some("DIFF"),
            _ => None,
        })
    };
    assert_eq!(plan(&mut s, 4, z(1)), Some("DIFF"));
    assert!(!s.peer.forget(z(2)), "server 4 is being sent it");
    s.acks(4, 0);
    assert!(!s.peer.forget(z(4)), "it is not committed");
    assert!(!s.peer.forget(Zxid::new(Epoch(2), 1)), "it is not there");
    assert!(s.peer.forget(z(2)));
    assert_eq!(s.peer.durable().history.base(), z(2));
    assert_eq!(s.peer.last_logged(), z(4));
    assert_eq!(plan(&mut s, 5, z(1)), Some("SNAP"));
    assert_eq!(plan(&mut s, 6, z(2)), Some("DIFF"));
    // The two others are a quorum: what they have acknowledged is committed before the own disk has it.
    s.step(Input::Propose(WRITE));
    for (sid, counter) in [(5, 0), (6, 0), (1, 4), (2, 4), (1, 5), (2, 5)] {
        s.acks(sid, counter);
    }
    assert_eq!(s.peer.delivered(), z(5));
    assert!(!s.peer.forget(z(5)), "it is not on the own disk");
    assert!(s.peer.forget(z(4)));
    // Who looks for a leader may have to give it all to others.
    for link in [1, 2].map(Link) {
        s.step(Input::Unlinked(link));
    }
    assert!(s.ticks_until_refusal().is_some());
    assert_eq!(s.peer.state(), ServerState::Looking);
    assert!(!s.peer.forget(z(3)));
}

/// D-103: an observer waits outside while as many learners are being brought up as may be; a follower never does, and counts.
#[test]
fn so_many_learners_are_brought_up_at_a_time_and_followers_always() {
    let mut s = Server::established();
    s.env.sync.diffs_max = 2;
    let comes = |s: &mut Server, sid: u64, observer: bool| {
        s.introduces(sid, observer, 0);
        let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
        s.says(sid, Packet::AckEpoch { last, current });
        s.refused()
    };
    assert_eq!(comes(&mut s, 4, true), []);
    assert_eq!(comes(&mut s, 5, false), [], "a follower");
    assert_eq!(comes(&mut s, 6, false), [], "a follower beyond the limit");
    assert_eq!(s.peer.syncs_under_way(), (0, 3));
    let (sid, max) = (ServerId(7), 2);
    let refusal = Fault::TooManySyncs { sid, max };
    assert_eq!(comes(&mut s, 7, true), [refusal]);
    assert!(s.out.contains(&Effect::Unlink(Link(7))));
    // Those by SNAP have a number of their own.
    s.env.sync.reach = Zxid::NONE;
    s.env.sync.snaps_max = 1;
    assert_eq!(comes(&mut s, 8, true), []);
    assert_eq!(s.peer.syncs_under_way(), (1, 3));
    let (sid, max) = (ServerId(9), 1);
    assert_eq!(comes(&mut s, 9, true), [Fault::TooManySyncs { sid, max }]);
    // What is acknowledged is done.
    s.acks(8, 0);
    assert_eq!(s.peer.syncs_under_way(), (0, 3));
    assert_eq!(comes(&mut s, 9, true), []);
}

/// D-103: those that wait for the epoch to be accepted are let in by the same rule, and whoever is refused costs nobody else anything.
#[test]
fn observers_that_wait_for_the_epoch_are_refused_one_by_one() {
    let mut s = Server::elected(0);
    s.env.sync.diffs_max = 1;
    for (sid, observer) in [(4, true), (5, true), (6, true), (1, false)] {
        s.introduces(sid, observer, 0);
    }
    s.flush();
    for sid in [4, 5, 6, 1] {
        let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
        s.says(sid, Packet::AckEpoch { last, current });
    }
    let refused = |sid| {
        let sid = ServerId(sid);
        Fault::TooManySyncs { sid, max: 1 }
    };
    // Links are looked at in their order: server 1 has come first.
    assert_eq!(s.refused(), [refused(4), refused(5), refused(6)]);
    assert_eq!(s.peer.syncs_under_way(), (0, 1));
}
