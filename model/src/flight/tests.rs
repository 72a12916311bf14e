//! Goal: what is recorded is lived again as it was, stands alone in each segment, stays within its bounds, and shows where a server did
//! something else than the model does.

extern crate std;

use super::bytes::{Reader, Record};
use super::*;
use crate::history::History;
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::step::{Effect, Effects, Link, Mark, SyncLimits, Timer};
use crate::switch::Switches;
use crate::vote::{Notification, ServerState, Vote};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    segment_bytes: 512,
    segments: 4,
};

fn env() -> Env {
    Env {
        me: ServerId(2),
        observer: false,
        switches: Switches::default(),
        epoch_max: Epoch(u32::MAX),
        counter_max: u32::MAX - 1,
        ack_ticks_max: 4,
        sync: SyncLimits::NONE,
    }
}

fn voters(ids: &[u64]) -> Voters {
    let ids: Vec<_> = ids.iter().map(|id| ServerId(*id)).collect();
    Voters::new(&ids).unwrap()
}

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid(u64::from(epoch) << 32 | u64::from(counter))
}

/// A peer that is recorded.
struct Recorded {
    env: Env,
    peer: Peer,
    recorder: Recorder,
    at: Moment,
    steps: u64,
    /// Of its last write.
    mark: Mark,
    kept: Vec<Chunk>,
    effects: Effects<Brief>,
}

impl Recorded {
    fn boot(limits: Limits) -> Self {
        let (env, found) = (env(), Durable::default());
        let ensemble = Ensemble::of(voters(&[1, 2, 3]));
        let at = Moment {
            elapsed_ms: 5,
            date_ms: 1_700_000_000_005,
        };
        let mut recorder = Recorder::new(limits);
        recorder.boots(at, &env, &found, &ensemble);
        let mut effects: Effects<Brief> = Vec::new();
        let peer = Peer::boot(&env, found, ensemble, &mut effects);
        recorder.ends(&effects);
        Self {
            env,
            peer,
            recorder,
            at,
            steps: 0,
            mark: Mark(0),
            kept: Vec::new(),
            effects,
        }
    }

    fn step(&mut self, input: Input<Brief>) {
        self.at.elapsed_ms += 3;
        self.at.date_ms += 3;
        self.recorder.begins(self.at, &self.env, &self.peer, &input);
        self.effects.clear();
        self.peer.step(&self.env, input, &mut self.effects);
        self.recorder.ends(&self.effects);
        for effect in &self.effects {
            if let Effect::Persist { mark, .. } = effect {
                self.mark = *mark;
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(5) {
            self.kept.append(&mut self.recorder.take_kept());
        }
    }

    /// It leads servers 1 and 3, over links 1 and 3.
    fn leading() -> Self {
        Self::leading_within(Limits {
            segment_bytes: 1 << 20,
            segments: 2,
        })
    }

    fn leading_within(limits: Limits) -> Self {
        let mut s = Self::boot(limits);
        for from in [1, 3] {
            s.hears_vote(from, 2);
        }
        s.step(Input::Fired(Timer::Finalize));
        assert_eq!(s.peer.state(), ServerState::Leading);
        for id in [1, 3] {
            let (link, sid) = (Link(id), ServerId(id));
            let accepted = Epoch(0);
            s.step(Input::Linked(link));
            let packet = Packet::FollowerInfo { sid, accepted };
            s.step(Input::Received { link, packet });
        }
        s.writes_all();
        for id in [1, 3] {
            let (last, current) = (Zxid::ZERO, Some(Epoch(0)));
            s.says(id, Packet::AckEpoch { last, current });
        }
        s.writes_all();
        for id in [1, 3] {
            s.says(id, Packet::Ack { zxid: z(1, 0) });
        }
        assert_eq!(s.peer.serving(), Some(Epoch(1)));
        s
    }

    fn hears_vote(&mut self, from: u64, leader: u64) {
        self.step(Input::Notified {
            from: ServerId(from),
            notification: Notification {
                state: ServerState::Looking,
                vote: Vote {
                    epoch: Epoch(0),
                    zxid: Zxid::ZERO,
                    leader: ServerId(leader),
                },
                round: Round(1),
            },
        });
    }

    fn says(&mut self, link: u64, packet: Packet<Brief>) {
        let link = Link(link);
        self.step(Input::Received { link, packet });
    }

    fn writes_all(&mut self) {
        self.step(Input::Durable(self.mark));
    }

    /// A write of a client, from the proposal to the commit.
    fn write(&mut self) {
        self.step(Input::Propose(Brief::default()));
        let zxid = self.peer.last_logged();
        self.writes_all();
        for id in [1, 3] {
            self.says(id, Packet::Ack { zxid });
        }
        assert_eq!(self.peer.delivered(), zxid);
    }
}

impl Recorded {
    /// Two writes, of which this server's disk has one before the other: a follower has both, so each is committed when it has it.
    fn write_two(&mut self) {
        let mut marks = [Mark(0); 2];
        for mark in &mut marks {
            self.step(Input::Propose(Brief::default()));
            *mark = self.mark;
        }
        let zxid = self.peer.last_logged();
        self.says(
            1,
            Packet::Ack {
                zxid: Zxid(zxid.0 - 1),
            },
        );
        self.says(1, Packet::Ack { zxid });
        for mark in marks {
            self.step(Input::Durable(mark));
            let wait = marks[1].0 - mark.0;
            assert_eq!(self.peer.delivered().0, zxid.0 - wait);
        }
    }
}

/// Lives segments again, one behind the other: the last peer, and the steps that were taken and confirmed.
fn lived(chunks: &[Chunk]) -> Result<(Peer, u64, u64), Divergence> {
    let (mut peer, mut steps, mut confirmed) = (None, 0, 0);
    let mut before: Option<u64> = None;
    for chunk in chunks {
        let mut step = None;
        let lived = live_again(&chunk.bytes, |seen| {
            if seen.what == What::On {
                assert!(before.is_none_or(|before| before == seen.step));
            }
            peer = Some(seen.peer.clone());
            step = Some(seen.step);
        })?;
        before = step;
        steps += lived.steps;
        confirmed += lived.confirmed;
    }
    Ok((peer.unwrap(), steps, confirmed))
}

fn input() -> impl Strategy<Value = Input<Brief>> {
    let link = (0..4_u64).prop_map(Link);
    let zxid = (0..3_u32, 0..4_u32).prop_map(|(epoch, counter)| z(epoch, counter));
    let epoch = (0..3_u32).prop_map(Epoch);
    let sid = (1..5_u64).prop_map(ServerId);
    let brief = prop_oneof![
        4 => Just(Brief(None)),
        1 => Just(Brief(Some(Box::new(voters(&[1, 2, 3, 4]))))),
    ];
    let packet = prop_oneof![
        (sid.clone(), epoch.clone())
            .prop_map(|(sid, accepted)| Packet::FollowerInfo { sid, accepted }),
        epoch.clone().prop_map(|epoch| Packet::LeaderInfo { epoch }),
        (zxid.clone(), proptest::option::of(epoch.clone()))
            .prop_map(|(last, current)| Packet::AckEpoch { last, current }),
        zxid.clone().prop_map(|zxid| Packet::Diff { zxid }),
        zxid.clone().prop_map(|zxid| Packet::Trunc { zxid }),
        (zxid.clone(), brief.clone()).prop_map(|(zxid, txn)| Packet::Proposal { zxid, txn }),
        (zxid.clone(), brief.clone()).prop_map(|(zxid, txn)| Packet::Inform { zxid, txn }),
        zxid.clone().prop_map(|zxid| Packet::Commit { zxid }),
        epoch.clone().prop_map(|epoch| Packet::NewLeader { epoch }),
        Just(Packet::UpToDate),
        zxid.clone().prop_map(|zxid| Packet::Ack { zxid }),
        zxid.clone().prop_map(|zxid| Packet::Ping { zxid }),
    ];
    let timer = prop_oneof![
        Just(Timer::Finalize),
        Just(Timer::Resend),
        Just(Timer::Init),
        Just(Timer::Tick)
    ];
    let state = prop_oneof![
        4 => Just(ServerState::Looking),
        1 => Just(ServerState::Following),
        1 => Just(ServerState::Leading),
    ];
    let notified = (sid.clone(), state, epoch, zxid, sid, 1..4_u64).prop_map(
        |(from, state, epoch, zxid, leader, round)| Input::Notified {
            from,
            notification: Notification {
                state,
                vote: Vote {
                    epoch,
                    zxid,
                    leader,
                },
                round: Round(round),
            },
        },
    );
    prop_oneof![
        3 => notified,
        4 => (0..200_u64).prop_map(|mark| Input::Durable(Mark(mark))),
        2 => link.clone().prop_map(Input::Linked),
        1 => Just(Input::Unreachable),
        8 => (link.clone(), packet).prop_map(|(link, packet)| Input::Received { link, packet }),
        1 => link.prop_map(Input::Unlinked),
        3 => timer.prop_map(Input::Fired),
        2 => brief.prop_map(Input::Propose),
    ]
}

proptest! {
    /// Whatever a peer hears, sensible or not: it lives it again as it was, and each segment without those before it.
    #[test]
    fn a_life_is_lived_again(inputs in proptest::collection::vec(input(), 0..200)) {
        let mut s = Recorded::boot(LIMITS);
        for input in inputs {
            if s.steps % 7 == 3 {
                s.env.sync.reach = Zxid(s.steps);
            }
            s.step(input);
        }
        let all = s.recorder.all();
        prop_assert!(all.len() <= LIMITS.segments);
        for chunk in &all {
            let (_, steps, confirmed) = lived(core::slice::from_ref(chunk)).unwrap();
            prop_assert_eq!(steps, confirmed);
        }
        prop_assert_eq!(&lived(&all).unwrap().0, &s.peer);
    }

    /// A record that its process had no time to write whole is lived as far as it goes; one that is damaged ends in an error or in another
    /// life, and in no panic.
    #[test]
    fn what_is_cut_off_or_damaged_is_told(at in 0..2000_usize, flip in 1..=255_u8) {
        let mut s = Recorded::leading();
        (0..40).for_each(|_| s.write());
        let all = s.recorder.all();
        let whole = &all[0].bytes;
        let (_, reader) = Reader::open(whole).unwrap();
        let behind = reader.offset();
        let cut = behind + at % (whole.len() - behind);
        let steps = live_again(&whole[..cut], |_| {}).unwrap().steps;
        prop_assert!(steps <= s.steps);
        let mut damaged = whole.clone();
        damaged[cut] ^= flip;
        // The peer checks what it is told by assertions: a server's record never leads there.
        let _ = std::panic::catch_unwind(|| live_again(&damaged, |_| {}).map(drop));
    }
}

#[test]
fn a_server_that_does_something_else_than_the_model_is_found_at_the_step() {
    let mut s = Recorded::leading();
    (0..10).for_each(|_| s.write());
    // A vote of another server is heard, and what the server answers is not what the model says.
    let input: Input<Brief> = Input::Notified {
        from: ServerId(3),
        notification: Notification {
            state: ServerState::Looking,
            vote: Vote {
                epoch: Epoch(1),
                zxid: Zxid::ZERO,
                leader: ServerId(3),
            },
            round: Round(7),
        },
    };
    s.recorder.begins(s.at, &s.env, &s.peer, &input);
    let none: &[Effect<Brief>] = &[];
    s.recorder.ends(none);
    let Err(Divergence::Effects { step, of, .. }) = lived(&s.recorder.all()) else {
        panic!("it is not found");
    };
    assert_eq!(step, s.steps + 1);
    assert!(of <= 32, "{of}");
}

#[test]
fn one_commit_of_another_zxid_among_thousands_is_found_within_so_many_steps() {
    let mut s = Recorded::leading();
    (0..500).for_each(|_| s.write());
    let input: Input<Brief> = Input::Propose(Brief::default());
    s.recorder.begins(s.at, &s.env, &s.peer, &input);
    let mut effects: Effects<Brief> = Vec::new();
    s.peer.step(&s.env, input, &mut effects);
    for effect in &mut effects {
        if let Effect::Send {
            packet: Packet::Proposal { zxid, .. },
            ..
        } = effect
        {
            zxid.0 += 1;
        }
    }
    s.recorder.ends(&effects);
    let step = s.steps + 1;
    s.steps += 1;
    // Nothing else is wrong with it.
    for _ in 0..40 {
        s.step(Input::Fired(Timer::Tick));
    }
    match lived(&s.recorder.all()) {
        Err(Divergence::Effects { step: told, of, .. }) => {
            assert!(
                told >= step && told - of <= step && of <= 32,
                "{told}, {of}"
            );
        }
        other => panic!("it is not found: {other:?}"),
    }
}

#[test]
fn what_is_done_often_is_not_kept_and_what_is_done_seldom_is() {
    let mut s = Recorded::leading();
    let bytes = |s: &Recorded| -> usize { s.kept.iter().map(|chunk| chunk.bytes.len()).sum() };
    let before = bytes(&s);
    assert!(before > 0, "an election is kept");
    (0..5000).for_each(|_| s.write());
    let behind = bytes(&s) - before;
    assert!(behind < 1000, "{behind} bytes of writes");
    let all = s.recorder.all();
    let recorded: usize = all.iter().map(|chunk| chunk.bytes.len()).sum();
    assert!(recorded / 5000 < 30, "{recorded} bytes for 5000 writes");
    // The leader loses its followers: what led to it is kept with it, from the beginning of the segment.
    s.step(Input::Unlinked(Link(1)));
    s.step(Input::Unlinked(Link(3)));
    s.step(Input::Fired(Timer::Tick));
    assert_eq!(s.peer.state(), ServerState::Looking);
    s.kept.append(&mut s.recorder.take_kept());
    let all = s.recorder.all();
    let last = all.last().unwrap();
    let kept: Vec<u8> = s
        .kept
        .iter()
        .filter(|chunk| chunk.segment == last.segment)
        .flat_map(|chunk| chunk.bytes.clone())
        .collect();
    assert_eq!(kept, last.bytes);
    assert_eq!(lived(core::slice::from_ref(last)).unwrap().0, s.peer);
}

#[test]
fn memory_is_bounded_and_segments_are_numbered_through() {
    let mut s = Recorded::boot(LIMITS);
    for _ in 0..1000 {
        s.hears_vote(1, 3);
    }
    let all = s.recorder.all();
    assert_eq!(all.len(), LIMITS.segments);
    let numbers: Vec<u32> = all.iter().map(|chunk| chunk.segment).collect();
    let last = numbers[3];
    assert!(last > 20);
    assert_eq!(numbers, [last - 3, last - 2, last - 1, last]);
    let long = all
        .iter()
        .all(|chunk| chunk.bytes.len() < LIMITS.segment_bytes + 2000);
    assert!(long);
    s.kept.append(&mut s.recorder.take_kept());
    // All of it was seldom, so all of it was kept, each byte once.
    let of_first = s.kept.iter().filter(|chunk| chunk.segment == 1);
    let mut next = 0;
    for chunk in of_first {
        assert_eq!(chunk.offset, next);
        next += u32::try_from(chunk.bytes.len()).unwrap();
        assert_eq!((chunk.server, chunk.life), (ServerId(2), 1_700_000_000_000));
    }
    assert!(next as usize >= LIMITS.segment_bytes);
}

#[test]
fn a_peer_that_forgets_or_gets_other_surroundings_is_lived_again() {
    let mut s = Recorded::leading();
    (0..5).for_each(|_| s.write());
    let upto = z(1, 3);
    assert!(s.peer.forget(upto));
    s.recorder.forgot(upto);
    s.env.observer = true;
    s.env.sync.reach = z(1, 2);
    s.hears_vote(3, 3);
    (0..5).for_each(|_| s.write());
    let all = s.recorder.all();
    let (peer, ..) = lived(&all).unwrap();
    assert_eq!(peer, s.peer);
    assert_eq!(peer.durable().history.base(), upto);
    let mut env = None;
    let until = live_again(&all[0].bytes, |seen| env = Some(seen.env.clone()));
    assert_eq!(env.as_ref(), Some(&s.env));
    assert_eq!(until.unwrap().until, s.at);
}

#[test]
fn a_boot_in_a_life_begins_a_segment_of_its_own() {
    let mut s = Recorded::leading();
    s.recorder.limits = Limits {
        segment_bytes: 300,
        segments: 100,
    };
    let found = Durable {
        accepted: Epoch(9),
        current: Epoch(9),
        history: History::starting_at(z(9, 4)),
    };
    let ensemble = Ensemble::of(voters(&[2]));
    s.recorder.boots(s.at, &s.env, &found, &ensemble);
    let mut effects: Effects<Brief> = vec![];
    s.peer = Peer::boot(&s.env, found, ensemble, &mut effects);
    s.recorder.ends(&effects);
    for _ in 0..50 {
        s.step(Input::Fired(Timer::Resend));
    }
    let all = s.recorder.all();
    assert!(all.len() > 3, "it has gone on");
    assert_eq!(all[0].life, all[1].life);
    assert_eq!(lived(&all).unwrap().0, s.peer);
}

/// Each record reads back, and what stands for many bytes is told apart from what does not.
#[test]
fn a_write_takes_a_few_bytes() {
    let mut s = Recorded::leading();
    s.write();
    let before = s.recorder.all()[0].bytes.len();
    s.write();
    let bytes = s.recorder.all()[0].bytes.len() - before;
    assert!(bytes <= 28, "{bytes} bytes for four steps with their times");
    let all = s.recorder.all();
    let (_, mut reader) = Reader::open(&all[0].bytes).unwrap();
    let mut inputs = 0;
    while let Some(record) = reader.next().unwrap() {
        inputs += u64::from(matches!(record, Record::Input(_)));
    }
    assert_eq!((inputs, read(&all[0].bytes)), (s.steps, Ok(s.steps)));
}

#[test]
fn each_segment_stands_alone() {
    let mut s = Recorded::leading_within(Limits {
        segment_bytes: 600,
        segments: 100,
    });
    (0..200).for_each(|_| s.write_two());
    let all = s.recorder.all();
    assert!(all.len() > 8, "{}", all.len());
    for chunk in &all {
        let (_, steps, confirmed) = lived(core::slice::from_ref(chunk)).unwrap();
        assert_eq!(steps, confirmed);
    }
}

#[test]
fn what_is_heard_seldom_is_kept_whether_anything_comes_of_it_or_not() {
    let mut s = Recorded::leading();
    (0..100).for_each(|_| s.write());
    s.kept.append(&mut s.recorder.take_kept());
    assert!(!s.recorder.has_kept());
    s.step(Input::Linked(Link(9)));
    assert!(s.recorder.has_kept());
}
