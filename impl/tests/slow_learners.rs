//! Learners that do not acknowledge, or do not fetch what is sent to them.

mod common;
mod stub;

use common::{Client, Cluster, set, wait_for};
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use stub::Stub;
use zabra::wire::quorum::PacketKind;
use zabra_model::ids::SessionId;

/// Two servers of three and a stub in the place of the third, which is led; who leads, who follows.
fn with_stub(more: &str) -> (Cluster, usize, usize, Stub) {
    let mut cluster = Cluster::new(3, more);
    cluster.start(0);
    cluster.start(1);
    let leader = cluster.wait_serving(&[0, 1]);
    let mut c = cluster.client(leader);
    c.create("/n", 0).unwrap().unwrap();
    let mut stub = Stub::dial(cluster.quorum_ports[leader]);
    assert!(stub.join(PacketKind::FollowerInfo, 3));
    (cluster, leader, 1 - leader, stub)
}

/// C-83: a learner that answers each PING and acknowledges nothing is given up by the leader's own clock; without it
/// there is no quorum, and the leader steps down.
#[test]
fn c_83_a_leader_gives_up_a_learner_that_acknowledges_nothing() {
    let (mut cluster, leader, follower, mut stub) = with_stub("syncLimit=4");
    assert!(stub.live(true, Duration::from_millis(500)));
    let mut c = cluster.client(leader);
    cluster.kill(follower);
    // It acknowledges: the two of them are a quorum, for longer than syncLimit.
    for _ in 0..30 {
        c.send(&set("/n", "1"));
        assert!(stub.live(true, Duration::from_millis(100)));
        c.reply().unwrap();
    }
    // Nothing to acknowledge is no fault.
    assert!(stub.live(false, Duration::from_secs(4)));
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
    c.send(&set("/n", "2"));
    let since = Instant::now();
    while stub.live(false, Duration::from_millis(200)) {
        assert!(
            since.elapsed() < Duration::from_secs(12),
            "the learner is not given up"
        );
    }
    wait_for("a leader without a quorum that steps down", || {
        (cluster.mode(leader).as_deref() != Some("leader")).then_some(())
    });
}

/// C-83: one that is not needed is given up, too, and the others go on.
#[test]
fn c_83_the_others_go_on_without_a_learner_that_acknowledges_nothing() {
    let (cluster, leader, _, mut stub) = with_stub("syncLimit=4");
    let mut c = cluster.client(leader);
    let since = Instant::now();
    while stub.live(false, Duration::from_millis(50)) {
        c.set("/n", "1").unwrap().unwrap();
        assert!(
            since.elapsed() < Duration::from_secs(12),
            "the learner is not given up"
        );
    }
    c.set("/n", "2").unwrap().unwrap();
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
}

const VALUE: usize = 500_000;
const BOUND: &str = "syncLimit=120\nzabra.outstandingBytes=16777216";
/// The process itself, and what is on its way through it besides what is bounded.
const ROOM: usize = 280 << 20;

/// C-84: a learner that fetches nothing and is not needed is cut off at its bound; writers do not notice.
#[test]
fn c_84_a_learner_that_fetches_nothing_is_cut_off_at_its_bound() {
    let (cluster, leader, _, mut stub) = with_stub(BOUND);
    let mut c = cluster.client(leader);
    let value = "v".repeat(VALUE);
    for _ in 0..800 {
        c.set("/n", &value).unwrap().unwrap();
        let memory = cluster.memory_bytes(leader);
        assert!(memory < ROOM, "the leader holds {} MB", memory >> 20);
    }
    assert!(stub.is_closed(Duration::from_secs(20)), "it is not cut off");
}

/// C-84: a learner that is needed and slow slows the writers; what waits for it has a bound, and all is answered.
#[test]
fn c_84_a_needed_learner_that_is_slow_slows_the_writers() {
    let (mut cluster, leader, follower, mut stub) = with_stub(BOUND);
    const WRITERS: usize = 8;
    const EACH: usize = 100;
    let port = cluster.ports[leader];
    let value = Arc::new("v".repeat(VALUE));
    let connect = |_| Client::connect(port, SessionId(0), None, 40_000).unwrap();
    let clients: Vec<Client> = (0..WRITERS).map(connect).collect();
    cluster.kill(follower);
    let writers: Vec<_> = clients
        .into_iter()
        .map(|mut c| {
            let value = Arc::clone(&value);
            thread::spawn(move || {
                // All are sent before the first answer is read.
                let mut sender = c.stream.try_clone().unwrap();
                let sending = thread::spawn(move || {
                    let mut out = bytes::BytesMut::new();
                    for xid in 1..=EACH {
                        out.clear();
                        set("/n", &value).put(i32::try_from(xid).unwrap(), &mut out);
                        sender.write_all(&out).unwrap();
                    }
                });
                for _ in 0..EACH {
                    assert_eq!(c.reply().expect("an answer").header.err, 0);
                }
                sending.join().unwrap();
            })
        })
        .collect();
    let mut most = 0;
    let since = Instant::now();
    // It fetches nothing for a while, and then little by little.
    while since.elapsed() < Duration::from_secs(4) {
        most = most.max(cluster.memory_bytes(leader));
        thread::sleep(Duration::from_millis(50));
    }
    while !writers.iter().all(|w| w.is_finished()) {
        most = most.max(cluster.memory_bytes(leader));
        assert!(stub.live(true, Duration::from_millis(20)));
        assert!(
            since.elapsed() < Duration::from_secs(100),
            "the writers wait for ever"
        );
    }
    assert!(most < 2 * ROOM, "the leader held {} MB", most >> 20);
    for writer in writers {
        writer.join().unwrap();
    }
}
