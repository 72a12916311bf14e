//! Which packet may come when: the matrices of SPEC.md 2.3, asked of `step` for each stage and packet.

use super::{Following, FollowingStage};
use crate::durable::Durable;
use crate::ensemble::{Config, Ensemble};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::leader::{Leading, LearnerStage};
use crate::packet::Packet;
use crate::peer::{Peer, Role};
use crate::quorum::Voters;
use crate::step::{Effect, Effects, Env, Input, Link, SyncLimits};
use crate::switch::Switches;
use crate::vote::Vote;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const SPEC: &str = include_str!("../../../SPEC.md");
const LINK: Link = Link(7);
const STAGES: [FollowingStage; 8] = [
    FollowingStage::Dialling,
    FollowingStage::AwaitLeaderInfo,
    FollowingStage::WritingAccepted,
    FollowingStage::AwaitSync,
    FollowingStage::Syncing,
    FollowingStage::WritingCurrent,
    FollowingStage::AwaitUpToDate,
    FollowingStage::Broadcast,
];

/// A packet that fits the server; SNAP brings lists of voters.
type Make = fn(Box<Ensemble>) -> Packet<()>;

fn z(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn ids() -> Vec<ServerId> {
    [1, 2, 3].map(ServerId).into()
}

/// A server whose log is e1c1 and e1c2, the second a reconfiguration that is not committed.
fn server(observer: bool) -> (Env, Peer) {
    let env = Env {
        me: ServerId(if observer { 4 } else { 1 }),
        observer,
        switches: Switches::default(),
        epoch_max: Epoch(u32::MAX),
        counter_max: u32::MAX - 1,
        ack_ticks_max: 0,
        sync: SyncLimits::NONE,
    };
    let mut found = Durable {
        accepted: Epoch(1),
        current: Epoch(1),
        ..Durable::default()
    };
    found.history.append(z(1));
    found.history.append(z(2));
    let mut ensemble = Ensemble::of(Voters::new(&ids()).unwrap());
    ensemble.append(Config {
        version: z(2),
        voters: Voters::new(&ids()[..2]).unwrap(),
    });
    let peer = Peer::boot(&env, found, ensemble, &mut Effects::<()>::new());
    (env, peer)
}

fn vote(leader: u64) -> Vote {
    Vote {
        epoch: Epoch(1),
        zxid: z(2),
        leader: ServerId(leader),
    }
}

/// Whether a packet is taken.
fn takes(role: Role, packet: Packet<()>, observer: bool) -> bool {
    let (env, mut peer) = server(observer);
    peer.role = role;
    let mut out = Effects::new();
    peer.step(&env, Input::Received { link: LINK, packet }, &mut out);
    !out.iter().any(|e| matches!(e, Effect::Refused(_)))
}

/// The row of a packet in a matrix: what stands under each stage.
fn row<'a>(head: &str, packet: &str) -> Vec<(&'a str, &'a str)> {
    let matrix = SPEC.split_once(head).expect("the matrix is there").1;
    let names = matrix.lines().next().expect("its head");
    let rows = matrix.lines().skip(1).take_while(|l| l.starts_with('|'));
    let begin = format!("| {packet} | ");
    let row = rows
        .filter_map(|l| l.strip_prefix(&*begin))
        .next()
        .unwrap_or_else(|| panic!("SPEC.md 2.3 has no row for {packet}"));
    let cells = |l: &'a str| {
        l.trim_start_matches(" | ")
            .trim_end_matches(" |")
            .split(" | ")
    };
    let names = cells(names).map(|n| n.trim_matches('`'));
    names.zip(cells(row)).collect()
}

#[test]
fn a_learner_takes_each_packet_in_the_stages_that_the_matrix_names() {
    use FollowingStage as S;
    let ensemble = || Box::new(Ensemble::of(Voters::new(&ids()).unwrap()));
    let packets: [(&str, Make); 11] = [
        ("LEADERINFO", |_| Packet::LeaderInfo { epoch: Epoch(2) }),
        ("DIFF", |_| Packet::Diff { zxid: z(2) }),
        ("TRUNC", |_| Packet::Trunc { zxid: z(1) }),
        ("SNAP", |ensemble| Packet::Snap {
            zxid: z(2),
            ensemble,
        }),
        ("PROPOSAL", |_| Packet::Proposal {
            zxid: z(3),
            txn: (),
        }),
        ("COMMIT", |_| Packet::Commit { zxid: z(2) }),
        ("COMMITANDACTIVATE", |_| Packet::CommitAndActivate {
            zxid: z(2),
        }),
        ("INFORM", |_| Packet::Inform {
            zxid: z(3),
            txn: (),
        }),
        ("NEWLEADER", |_| Packet::NewLeader { epoch: Epoch(2) }),
        ("UPTODATE", |_| Packet::UpToDate),
        ("PING", |_| Packet::Ping { zxid: z(2) }),
    ];
    for (name, packet) in packets {
        let row = row("| from the leader | ", name);
        for stage in STAGES {
            let says = row.iter().find(|(s, _)| *s == format!("{stage:?}"));
            let says = says
                .unwrap_or_else(|| panic!("SPEC.md 2.3 has no {stage:?}"))
                .1;
            let taken = [false, true].map(|observer| {
                let mut following = Following::new(vote(3), observer);
                // While it dials, there is no connection on which anything could come.
                following.link = (stage != S::Dialling).then_some(LINK);
                following.stage = stage;
                following.epoch = Epoch(if stage <= S::AwaitLeaderInfo { 0 } else { 2 });
                following.committed = z(1);
                stage != S::Dialling
                    && takes(Role::Following(following), packet(ensemble()), observer)
            });
            let found = match taken {
                [true, true] => "yes",
                [true, false] => "follower",
                [false, true] => "observer",
                [false, false] => "–",
            };
            assert_eq!(found, says, "{name} in {stage:?}");
        }
    }
}

/// Before a learner is part of a quorum, its leader may have it take back what its log has.
#[test]
fn a_learner_forgets_the_log_below_a_snapshot_only_in_broadcast() {
    for stage in STAGES {
        let (_, mut peer) = server(false);
        let mut following = Following::new(vote(3), false);
        following.stage = stage;
        peer.role = Role::Following(following);
        let forgets = peer.forget(z(1));
        assert_eq!(forgets, stage == FollowingStage::Broadcast, "{stage:?}");
        let base = peer.durable().history.base();
        assert_eq!(base, if forgets { z(1) } else { Zxid::ZERO }, "{stage:?}");
    }
}

#[test]
fn a_leader_takes_each_packet_in_the_stages_that_the_matrix_names() {
    let stages = [
        LearnerStage::Linked,
        LearnerStage::Introduced(Epoch(1)),
        LearnerStage::Invited,
        LearnerStage::EpochAcked {
            last: z(1),
            counted: true,
        },
        LearnerStage::Synced,
        LearnerStage::Active,
    ];
    let (sid, accepted) = (ServerId(2), Epoch(1));
    let packets = [
        ("FOLLOWERINFO", Packet::FollowerInfo { sid, accepted }),
        ("OBSERVERINFO", Packet::ObserverInfo { sid, accepted }),
        (
            "ACKEPOCH",
            Packet::AckEpoch {
                last: z(1),
                current: None,
            },
        ),
        (
            "ACK of NEWLEADER",
            Packet::Ack {
                zxid: Zxid::new(Epoch(2), 0),
            },
        ),
        ("ACK of a proposal", Packet::Ack { zxid: z(1) }),
        ("PING", Packet::Ping { zxid: z(1) }),
    ];
    for (name, packet) in packets {
        let row = row("| from a learner | ", name);
        for stage in stages {
            let stage_name: String = format!("{stage:?}");
            let stage_name = stage_name.split([' ', '(']).next().unwrap_or_default();
            let says = row.iter().find(|(s, _)| *s == stage_name);
            let says = says
                .unwrap_or_else(|| panic!("SPEC.md 2.3 has no {stage_name}"))
                .1;
            let mut leading = Leading::new(vote(1), Default::default());
            leading.epoch = Epoch(2);
            leading.committed = z(1);
            leading.phase = crate::leader::Phase::AwaitEpochAcks;
            leading.on_linked(LINK);
            leading.learners[0].stage = stage;
            let found = takes(Role::Leading(leading), packet.clone(), false);
            assert_eq!(
                if found { "yes" } else { "–" },
                says,
                "{name} in {stage_name}"
            );
        }
    }
}
