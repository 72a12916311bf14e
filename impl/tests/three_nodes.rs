//! Three servers: writes through each, sync, sessions that move, and the loss of a leader.

mod common;

use common::{Client, Cluster, get, set, wait_for};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use zabra_model::ids::SessionId;
use zabra_model::tree::error::ErrorCode;

fn ensemble() -> (Cluster, usize) {
    ensemble_with("")
}

fn ensemble_with(lines: &str) -> (Cluster, usize) {
    let mut cluster = Cluster::new(3, lines);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    (cluster, leader)
}

#[test]
fn a_write_through_any_server_is_read_at_every_other_after_sync() {
    let (cluster, _) = ensemble();
    let mut clients: Vec<Client> = (0..3).map(|i| cluster.client(i)).collect();
    clients[0].create("/n", 0).unwrap().unwrap();
    for round in 0..30 {
        let writer = round % 3;
        clients[writer]
            .set("/n", &round.to_string())
            .unwrap()
            .unwrap();
        for client in &mut clients {
            client.sync();
            assert_eq!(client.get("/n"), Some(round.to_string()));
        }
    }
}

#[test]
fn pipelined_writes_reads_and_syncs_are_answered_in_order_at_a_follower() {
    let (cluster, leader) = ensemble();
    let mut c = cluster.client((leader + 1) % 3);
    c.create("/p", 0).unwrap().unwrap();
    let path: Option<Box<str>> = Some("/p".into());
    let mut expected = Vec::new();
    for i in 0..200 {
        expected.push(c.send(&set("/p", &i.to_string())));
        expected.push(c.send(&get("/p", false)));
        expected.push(c.send(&zabra::wire::client::Request::Sync { path: path.clone() }));
    }
    for (at, xid) in expected.into_iter().enumerate() {
        let reply = c.reply().unwrap();
        assert_eq!(
            (reply.header.xid, reply.header.err),
            (xid, 0),
            "answer {at}"
        );
    }
}

#[test]
fn a_session_moves_between_servers_and_keeps_its_nodes() {
    let (cluster, leader) = ensemble();
    let mut c = cluster.client((leader + 1) % 3);
    c.create("/e", 1).unwrap().unwrap();
    let moved = Client::connect(
        cluster.ports[(leader + 2) % 3],
        c.session,
        Some(c.password),
        10_000,
    );
    let mut moved = moved.unwrap();
    assert_eq!(moved.session, c.session);
    moved.set("/e", "2").unwrap().unwrap();
    // The old connection's next write is refused by ending it, never by SessionMoved.
    let answer = c.set("/e", "3");
    assert_ne!(answer, Some(Err(ErrorCode::SessionMoved.code())));
    assert_eq!(moved.get("/e"), Some("2".into()));
}

#[test]
fn the_loss_of_the_leader_loses_nothing_that_was_answered() {
    let (mut cluster, leader) = ensemble();
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut c = cluster.client(leader);
    c.create("/l", 0).unwrap().unwrap();
    for i in 0..20 {
        c.create(&format!("/l/{i}"), 0).unwrap().unwrap();
    }
    let (session, password) = (c.session, c.password);
    cluster.kill(leader);
    cluster.wait_serving(&others);
    let mut again = wait_for("the session to go on", || {
        let c = Client::connect(cluster.ports[others[0]], session, Some(password), 10_000)?;
        (c.session == session).then_some(c)
    });
    again.sync();
    assert_eq!(again.children("/l").len(), 20);
    again.create("/l/new", 0).unwrap().unwrap();
    cluster.start(leader);
    cluster.wait_serving(&[0, 1, 2]);
    let mut back = cluster.client(leader);
    back.sync();
    assert_eq!(back.children("/l").len(), 21);
}

#[test]
fn c_64_without_a_quorum_nobody_is_served() {
    let (mut cluster, leader) = ensemble();
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut c = cluster.client(leader);
    others.iter().for_each(|i| cluster.kill(*i));
    wait_for("the end of service", || {
        cluster
            .word(leader, "srvr")?
            .contains("not currently serving")
            .then_some(())
    });
    assert_eq!(cluster.word(leader, "isro").as_deref(), Some("null"));
    assert!(c.frame().is_none(), "its clients look elsewhere");
    assert!(Client::connect(cluster.ports[leader], c.session, Some(c.password), 10_000).is_none());
}

#[test]
fn a_leader_that_leaves_clients_to_the_others_lets_none_in_and_leads() {
    let mut cluster = Cluster::new(3, "leaderServes=no");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let none = SessionId(0);
    assert!(Client::connect(cluster.ports[leader], none, None, 10_000).is_none());
    for at in [(leader + 1) % 3, (leader + 2) % 3] {
        let mut client = cluster.client(at);
        client.create(&format!("/n{at}"), 0).unwrap().unwrap();
    }
    // Operators are answered.
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
}

/// D-112: a leader that nobody follows any more, and that does not know it yet, answers a sync as ZooKeeper's does, or, where
/// `zabra.syncWaitsForQuorum` is true, not.
#[test]
fn a_leader_without_followers_answers_no_sync_that_waits_for_a_quorum() {
    for (lines, answers) in [("", true), ("zabra.syncWaitsForQuorum=true\n", false)] {
        let (cluster, leader) = ensemble_with(lines);
        let mut c = cluster.client(leader);
        c.create("/n", 0).unwrap().unwrap();
        c.sync();
        let others = (0..3).filter(|i| *i != leader);
        others.clone().for_each(|i| cluster.signal(i, "STOP"));
        let answered = c.sync_if_open();
        assert_eq!(answered.is_some(), answers, "{lines}");
        others.for_each(|i| cluster.signal(i, "CONT"));
    }
}

/// A larger server that has been told who is here dials. It may take its time for that, as ZooKeeper's does for a handshake, and would end the
/// connection that it is about to make whenever it is told once more.
#[test]
fn a_larger_server_has_time_to_dial_before_it_is_told_again() {
    let mut cluster = Cluster::new(3, "");
    let port = TcpListener::bind(("127.0.0.1", cluster.election_ports[2])).unwrap();
    cluster.start(0);
    port.accept().unwrap();
    port.set_nonblocking(true).unwrap();
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        let again = port.accept();
        assert!(again.is_err(), "it is told again: {again:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    port.set_nonblocking(false).unwrap();
    port.accept().unwrap();
}
