//! How a leader brings a learner up: by the log or by a snapshot, and how many of them at a time. The learners are played by the test.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;
mod stub;

use common::{Cluster, set, wait_for};
use std::time::Duration;
use stub::{Heard, Stub};
use zabra::wire::quorum::{PacketKind, encode_ack_epoch};
use zabra_model::ids::{Epoch, Zxid};

const SOON: Duration = Duration::from_secs(10);

/// Two of three voters that serve, in an ensemble with two observers that do not run; who leads.
fn ensemble(more: &str) -> (Cluster, usize) {
    let mut cluster = Cluster::with_observers_and(3, 2, more);
    cluster.start(0);
    cluster.start(1);
    let leader = cluster.wait_serving(&[0, 1]);
    (cluster, leader)
}

/// A learner without a history comes: the first packet by which it is brought up, and what brings it; `None`: it is sent away.
fn comes(
    cluster: &Cluster,
    leader: usize,
    kind: PacketKind,
    sid: u64,
) -> Option<(Stub, PacketKind)> {
    let mut stub = Stub::dial(cluster.quorum_ports[leader]);
    assert!(stub.introduce(kind, sid, 0));
    loop {
        let Heard::Packet(packet) = stub.hear(SOON) else {
            return None;
        };
        if packet.kind != PacketKind::LeaderInfo {
            return Some((stub, packet.kind));
        }
        let current = encode_ack_epoch(Some(Epoch(0)));
        assert!(stub.say(PacketKind::AckEpoch, Zxid::ZERO, Some(&current)));
    }
}

/// A value of `mntr`.
fn told(cluster: &Cluster, i: usize, key: &str) -> Option<f64> {
    let told = cluster.word(i, "mntr")?;
    let line = told.lines().find_map(|l| l.strip_prefix(key))?;
    line.trim().parse().ok()
}

/// 900 values of 8 KiB: the last 500 are in the leader's memory, the others, more than 3 MiB, in its log alone. Its snapshot is of an empty
/// tree.
fn fill(cluster: &Cluster, leader: usize) {
    let mut c = cluster.client(leader);
    c.create("/n", 0).unwrap().unwrap();
    let value = "x".repeat(8 << 10);
    for _ in 0..9 {
        let all: Vec<_> = (0..100).map(|_| set("/n", &value)).collect();
        c.send_all(&all);
        (0..100).for_each(|_| assert_eq!(c.reply().unwrap().header.err, 0));
    }
}

/// D-101: where the log is much more than the tree, a learner that lacks it is given the tree.
#[test]
fn a_learner_that_lacks_much_more_log_than_the_tree_is_large_gets_the_tree() {
    for (more, expected) in [
        ("", PacketKind::Snap),
        ("snapshotSizeFactor=0.33\n", PacketKind::Snap),
        ("snapshotSizeFactor=0\n", PacketKind::Diff),
    ] {
        let (cluster, leader) = ensemble(more);
        let (_, before) = comes(&cluster, leader, PacketKind::ObserverInfo, 4).unwrap();
        assert_eq!(before, PacketKind::Diff, "{more}: there is little log yet");
        fill(&cluster, leader);
        let (_, found) = comes(&cluster, leader, PacketKind::ObserverInfo, 5).unwrap();
        assert_eq!(found, expected, "{more}");
    }
}

/// D-103: while as many are brought up as may be, an observer is sent away, and a follower is not.
#[test]
fn an_observer_waits_while_as_many_learners_are_brought_up_as_may_be() {
    let (cluster, leader) = ensemble("leader.maxConcurrentDiffSyncs=1\n");
    let observer = |sid| comes(&cluster, leader, PacketKind::ObserverInfo, sid);
    let (mut first, _) = observer(4).unwrap();
    assert!(observer(5).is_none(), "a second one at a time");
    let inflight = || told(&cluster, leader, "zk_max_inflight_diff_count");
    assert_eq!(inflight(), Some(1.0));
    let (follower, _) = comes(&cluster, leader, PacketKind::FollowerInfo, 3).unwrap();
    assert_eq!(inflight(), Some(2.0));
    drop(follower);
    // The first one is done: its ACK of NEWLEADER ends its turn.
    let newleader = loop {
        match first.hear(SOON) {
            Heard::Packet(packet) if packet.kind == PacketKind::NewLeader => break packet.zxid,
            Heard::Packet(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(first.say(PacketKind::Ack, newleader, None));
    let second = wait_for("a turn for the second observer", || observer(5));
    assert_eq!(second.1, PacketKind::Diff);
    assert_eq!(
        told(&cluster, leader, "zk_min_inflight_diff_count"),
        Some(0.0)
    );
}
