//! Three voters and an observer: it serves like a follower, and counts for nothing.

mod common;

use common::{Client, Cluster, wait_for};

/// Three voters, then an observer.
fn ensemble() -> (Cluster, usize) {
    let mut cluster = Cluster::with_observers(3, 1);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2, 3]);
    assert!(leader < 3, "an observer leads");
    assert_eq!(cluster.mode(3).as_deref(), Some("observer"));
    (cluster, leader)
}

#[test]
fn an_observer_serves_reads_writes_and_sessions() {
    let (cluster, leader) = ensemble();
    let mut near = cluster.client(leader);
    let mut far = cluster.client(3);
    far.create("/n", 0).unwrap().unwrap();
    for round in 0..30 {
        let (writer, reader) = match round % 2 {
            0 => (&mut near, &mut far),
            _ => (&mut far, &mut near),
        };
        writer.set("/n", &round.to_string()).unwrap().unwrap();
        reader.sync();
        assert_eq!(reader.get("/n"), Some(round.to_string()));
    }
    far.create("/e", 1).unwrap().unwrap();
    // The session moves to a voter, with its node.
    let moved = Client::connect(
        cluster.ports[leader],
        far.session,
        Some(far.password),
        10_000,
    );
    let mut moved = moved.unwrap();
    assert_eq!(moved.session, far.session);
    moved.set("/e", "2").unwrap().unwrap();
    near.sync();
    assert_eq!(near.get("/e"), Some("2".into()));
}

#[test]
fn an_observer_that_was_away_is_given_what_it_missed() {
    let (mut cluster, leader) = ensemble();
    let mut c = cluster.client(leader);
    c.create("/l", 0).unwrap().unwrap();
    cluster.kill(3);
    for i in 0..20 {
        c.create(&format!("/l/{i}"), 0).unwrap().unwrap();
    }
    cluster.start(3);
    cluster.wait_serving(&[0, 1, 2, 3]);
    let mut far = cluster.client(3);
    far.sync();
    assert_eq!(far.children("/l").len(), 20);
    far.create("/l/far", 0).unwrap().unwrap();
    // And it finds the next leader.
    cluster.kill(leader);
    let others: Vec<usize> = (0..4).filter(|i| *i != leader).collect();
    let next = cluster.wait_serving(&others);
    assert!(next < 3 && next != leader);
    let mut far = wait_for("a session at the observer", || {
        Client::connect(
            cluster.ports[3],
            zabra_model::ids::SessionId(0),
            None,
            10_000,
        )
    });
    far.sync();
    assert_eq!(far.children("/l").len(), 21);
    far.create("/l/again", 0).unwrap().unwrap();
}

#[test]
fn an_observer_makes_no_quorum() {
    let (mut cluster, leader) = ensemble();
    let voters: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut c = cluster.client(leader);
    c.create("/q", 0).unwrap().unwrap();
    // Without the observer nothing changes.
    cluster.kill(3);
    c.set("/q", "1").unwrap().unwrap();
    cluster.start(3);
    cluster.wait_serving(&[0, 1, 2, 3]);
    // The leader and an observer are two of four servers, and one of three voters.
    voters.iter().for_each(|i| cluster.kill(*i));
    for who in [leader, 3] {
        wait_for("the end of service", || {
            let word = cluster.word(who, "srvr")?;
            word.contains("not currently serving").then_some(())
        });
    }
    cluster.start(voters[0]);
    cluster.wait_serving(&[leader, voters[0], 3]);
    let mut far = cluster.client(3);
    far.sync();
    assert_eq!(far.get("/q"), Some("1".into()));
}
