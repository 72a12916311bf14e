//! Goal: a leader that is stopped on purpose costs clients of the others a moment, and no connection (SPEC.md 6.2, D-67).
//!
//! Method: three processes; clients of the followers write without a pause, wait for a watch or say nothing while the leader gets SIGTERM.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::{Client, Cluster, create, get, set, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use zabra_model::ids::SessionId;

/// Writes until it is told to stop; how many writes were answered. A connection that ends fails the test.
fn write_on(
    mut client: Client,
    path: &'static str,
    stop: &Arc<AtomicBool>,
    answered: &Arc<AtomicUsize>,
) -> std::thread::JoinHandle<(Client, usize)> {
    let (stop, answered) = (Arc::clone(stop), Arc::clone(answered));
    std::thread::spawn(move || {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            let done = client.set(path, &n.to_string());
            done.expect("the connection of a follower's client ends")
                .expect("a write");
            answered.fetch_add(1, Ordering::Relaxed);
        }
        (client, n)
    })
}

#[test]
fn a_leader_that_is_stopped_disconnects_its_own_clients_alone() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    for round in 0..3 {
        let leader = cluster.wait_serving(&[0, 1, 2]);
        let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        let mut own = cluster.client(leader);
        let paths = [["/a0", "/b0"], ["/a1", "/b1"], ["/a2", "/b2"]][round];
        for path in paths {
            own.create(path, 0).unwrap().unwrap();
        }
        let mut watching = cluster.client(others[0]);
        watching.sync();
        let watch = format!("/w{round}");
        own.create(&watch, 0).unwrap().unwrap();
        watching.sync();
        watching.call(&get(&watch, true)).unwrap().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = others
            .iter()
            .zip(paths)
            .map(|(i, path)| write_on(cluster.client(*i), path, &stop, &answered))
            .collect();
        wait_for("some writes", || {
            (answered.load(Ordering::Relaxed) > 20).then_some(())
        });
        cluster.signal(leader, "TERM");
        assert!(own.frame().is_none(), "its own client looks elsewhere");
        wait_for("its end", || (!cluster.is_running(leader)).then_some(()));
        cluster.wait_serving(&others);
        // Behind a leader of the next reign.
        let before = answered.load(Ordering::Relaxed);
        wait_for("writes in the next reign", || {
            (answered.load(Ordering::Relaxed) > before + 20).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        for (writer, path) in writers.into_iter().zip(paths) {
            let (mut client, n) = writer.join().unwrap();
            assert_eq!(client.get(path), Some(n.to_string()), "its last write");
        }
        // Its watch is where it was.
        let mut other = cluster.client(others[1]);
        other.call(&set(&watch, "1")).unwrap().unwrap();
        watching.sync();
        assert_eq!(watching.events.len(), 1);
        assert!(
            Client::connect(
                cluster.ports[others[1]],
                own.session,
                Some(own.password),
                10_000
            )
            .is_some_and(|again| again.session == own.session),
            "its session is there"
        );
        cluster.start(leader);
    }
}

/// Of a leader that is lost without a word nobody knows where its sessions were.
#[test]
fn a_leader_that_is_killed_ends_the_connections_of_all_clients() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let mut others: Vec<Client> = (0..3)
        .filter(|i| *i != leader)
        .map(|i| cluster.client(i))
        .collect();
    cluster.kill(leader);
    for client in &mut others {
        assert!(client.frame().is_none());
    }
}

/// A follower that is stopped is nobody's matter but its own clients'.
#[test]
fn a_follower_that_is_stopped_disconnects_its_own_clients_alone() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let stopped = (leader + 1) % 3;
    let mut own = cluster.client(stopped);
    let mut others = [leader, (leader + 2) % 3].map(|i| cluster.client(i));
    cluster.signal(stopped, "TERM");
    assert!(own.frame().is_none());
    wait_for("its end", || (!cluster.is_running(stopped)).then_some(()));
    for (i, client) in others.iter_mut().enumerate() {
        client.call(&create(&format!("/n{i}"), 0)).unwrap().unwrap();
        assert_ne!(client.session, SessionId(0));
    }
}
