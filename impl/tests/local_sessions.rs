//! Sessions that only their server knows (`localSessionsEnabled`). Method: the real binary, three servers, and raw frames.

mod common;

use common::{Client, Cluster, close, create, multi, wait_for};
use zabra::wire::client::{MultiResult, Response};
use zabra_model::ids::SessionId;
use zabra_model::tree::error::ErrorCode;

fn ensemble(upgrading: bool) -> (Cluster, usize) {
    let lines = format!("localSessionsEnabled=true\nlocalSessionsUpgradingEnabled={upgrading}");
    let mut cluster = Cluster::new(3, &lines);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    (cluster, leader)
}

fn count(cluster: &Cluster, i: usize, kind: &str) -> usize {
    let mntr = cluster.word(i, "mntr").unwrap();
    let key = format!("zk_{kind}_sessions\t");
    let line = mntr.lines().find_map(|l| l.strip_prefix(&key)).unwrap();
    line.parse().unwrap()
}

fn zxid(cluster: &Cluster, i: usize) -> String {
    let srvr = cluster.word(i, "srvr").unwrap();
    let line = srvr.lines().find(|l| l.starts_with("Zxid: ")).unwrap();
    line.to_owned()
}

fn again(cluster: &Cluster, i: usize, c: &Client) -> Client {
    Client::connect(cluster.ports[i], c.session, Some(c.password), 6000).expect("an answer")
}

#[test]
fn a_local_session_costs_no_transaction_and_is_known_to_its_server_alone() {
    let (cluster, leader) = ensemble(true);
    for at in [leader, (leader + 1) % 3] {
        let other = (at + 1) % 3;
        let before = zxid(&cluster, at);
        let mut c = cluster.client(at);
        assert_eq!(zxid(&cluster, at), before);
        assert_eq!(
            (count(&cluster, at, "local"), count(&cluster, at, "global")),
            (1, 0)
        );
        c.create(&format!("/p{at}"), 0).unwrap().unwrap();
        c.sync();
        assert_eq!(c.get(&format!("/p{at}")), Some("0".into()));
        let elsewhere = again(&cluster, other, &c);
        assert_eq!(elsewhere.session, SessionId(0), "expired elsewhere");
        let mut back = again(&cluster, at, &c);
        assert_eq!(back.session, c.session, "it goes on at its server");
        let before = zxid(&cluster, at);
        assert!(matches!(back.call(&close()), Some(Ok(Response::Empty))));
        assert!(back.frame().is_none());
        assert_eq!(zxid(&cluster, at), before);
        assert_eq!(again(&cluster, at, &c).session, SessionId(0), "it is over");
        assert_eq!(count(&cluster, at, "local"), 0);
    }
}

/// Golden `local_session_upgrade`.
#[test]
fn an_ephemeral_node_makes_its_session_global() {
    let (cluster, leader) = ensemble(true);
    for at in [leader, (leader + 1) % 3] {
        let other = (at + 1) % 3;
        let (e, f) = (format!("/e{at}"), format!("/f{at}"));
        let mut c = cluster.client(at);
        if at == leader {
            c.create(&e, 1).unwrap().unwrap();
        } else {
            c.call(&multi(create(&e, 1))).unwrap().unwrap();
        }
        c.create(&f, 3).unwrap().unwrap();
        // The end of an earlier local session is counted at the next look.
        wait_for("one session, which is global", || {
            let counts = ["local", "global"].map(|kind| count(&cluster, at, kind));
            (counts == [0, 1]).then_some(())
        });
        let mut moved = again(&cluster, other, &c);
        assert_eq!(moved.session, c.session, "it goes on elsewhere");
        moved.sync();
        assert_eq!(moved.get(&e), Some("0".into()));
        assert!(matches!(moved.call(&close()), Some(Ok(Response::Empty))));
        let mut next = cluster.client(other);
        next.sync();
        assert_eq!(next.get(&e), None, "its nodes go with it");
        assert!(matches!(next.call(&close()), Some(Ok(Response::Empty))));
    }
}

#[test]
fn what_is_pipelined_behind_the_upgrade_belongs_to_the_global_session() {
    let (cluster, leader) = ensemble(true);
    for at in [leader, (leader + 1) % 3] {
        let mut c = cluster.client(at);
        c.send(&create("/e", 1));
        c.send(&close());
        for _ in 0..2 {
            assert_eq!(c.reply().unwrap().header.err, 0);
        }
        let mut next = cluster.client(at);
        next.sync();
        assert_eq!(next.get("/e"), None, "the end of the session took it along");
        assert_eq!(count(&cluster, at, "global"), 0);
    }
}

/// Golden `local_session_no_upgrade`.
#[test]
fn without_upgrading_an_ephemeral_node_is_refused() {
    let (cluster, leader) = ensemble(false);
    for (at, in_multi) in [
        (leader, ErrorCode::EphemeralOnLocalSession),
        ((leader + 1) % 3, ErrorCode::SessionExpired),
    ] {
        let mut c = cluster.client(at);
        let refused = Some(Err(ErrorCode::EphemeralOnLocalSession.code()));
        assert_eq!(c.create("/e", 1), refused);
        let results = vec![MultiResult::Error {
            code: in_multi.code(),
        }];
        let answer = c.call(&multi(create("/e", 1)));
        assert_eq!(answer, Some(Ok(Response::Multi(results))));
        c.create(&format!("/p{at}"), 2).unwrap().unwrap();
        assert_eq!(c.get("/e"), None);
        assert_eq!(count(&cluster, at, "local"), 1);
    }
}

#[test]
fn a_silent_local_session_ends_with_its_connection() {
    let (cluster, leader) = ensemble(true);
    for at in [leader, (leader + 1) % 3] {
        let mut silent = Client::connect(cluster.ports[at], SessionId(0), None, 1000).unwrap();
        assert!(silent.frame().is_none(), "it is closed");
        assert_eq!(again(&cluster, at, &silent).session, SessionId(0));
        wait_for("its end", || {
            (count(&cluster, at, "local") == 0).then_some(())
        });
    }
}
