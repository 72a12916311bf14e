//! Servers that come back: with a DIFF, with a SNAP, with a log that must be cut.

mod common;

use common::{Client, Cluster, create, get, open_acl};
use zabra::wire::client::{Request, Response};
use zabra_model::tree::op::{CreateKind, WriteOp};

fn same_everywhere(cluster: &Cluster, path: &str) -> usize {
    let lists: Vec<_> = (0..3)
        .map(|i| {
            let mut c = cluster.client(i);
            c.sync();
            c.children(path)
        })
        .collect();
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0], lists[2]);
    lists[0].len()
}

fn fill(cluster: &Cluster, at: usize, path: &str, from: usize, n: usize) {
    let mut c = cluster.client(at);
    for i in from..from + n {
        c.send(&create(&format!("{path}/{i}"), 0));
    }
    for _ in 0..n {
        assert_eq!(c.reply().unwrap().header.err, 0);
    }
}

#[test]
fn a_server_without_data_is_brought_up_by_diff_or_snap() {
    let mut cluster = Cluster::new(3, "snapCount=100");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    cluster.client(0).create("/d", 0).unwrap().unwrap();
    fill(&cluster, leader, "/d", 0, 500);
    // All restart, so that the logs begin behind snapshots; one has lost everything.
    (0..3).for_each(|i| cluster.kill(i));
    let wiped = (leader + 1) % 3;
    assert!(common::has_file(
        &cluster.data(leader).join("version-2"),
        "snapshot.1"
    ));
    std::fs::remove_dir_all(cluster.data(wiped).join("version-2")).unwrap();
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    assert_eq!(same_everywhere(&cluster, "/d"), 500);
    fill(&cluster, wiped, "/d", 500, 10);
    // And once more from what it has written down since.
    cluster.kill(wiped);
    cluster.start(wiped);
    cluster.wait_serving(&[0, 1, 2]);
    assert_eq!(same_everywhere(&cluster, "/d"), 510);
}

#[test]
fn a_leader_that_logged_alone_has_its_log_cut_when_it_comes_back() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut c = cluster.client(leader);
    c.create("/t", 0).unwrap().unwrap();
    fill(&cluster, leader, "/t", 0, 20);
    others.iter().for_each(|i| cluster.kill(*i));
    // It steps down within a tick; until then it logs what nobody acknowledges.
    for i in 0..10 {
        c.send(&create(&format!("/t/lost{i}"), 0));
    }
    let log = cluster.data(leader).join("version-2");
    common::wait_for("a logged tail", || {
        let logged = std::fs::read_dir(&log).unwrap().any(|f| {
            let bytes = std::fs::read(f.unwrap().path()).unwrap_or_default();
            bytes.windows(8).any(|w| w == b"/t/lost9")
        });
        logged.then_some(())
    });
    cluster.kill(leader);
    others.iter().for_each(|i| cluster.start(*i));
    cluster.wait_serving(&others);
    fill(&cluster, others[0], "/t", 20, 5);
    cluster.start(leader);
    cluster.wait_serving(&[0, 1, 2]);
    assert_eq!(same_everywhere(&cluster, "/t"), 25);
    (0..3).for_each(|i| cluster.kill(i));
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    assert_eq!(same_everywhere(&cluster, "/t"), 25);
}

/// D-82: ZooKeeper would take such a node for an ephemeral one of a session that is over, and remove it.
#[test]
fn a_node_with_a_time_to_live_stays_one_where_the_switch_is_off() {
    let mut cluster = Cluster::new(1, "");
    let file = cluster.data(0).join("zoo.cfg");
    let without = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{without}extendedTypesEnabled=true\n")).unwrap();
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let with_ttl = Request::Write(WriteOp::Create {
        kind: CreateKind::Ttl,
        path: Some("/t".into()),
        data: None,
        acl: Some(open_acl()),
        flags: 5,
        ttl: 3_600_000,
    });
    let owner = |client: &mut Client| match client.call(&get("/t", false)) {
        Some(Ok(Response::Data(_, stat))) => stat.ephemeral_owner,
        other => panic!("{other:?}"),
    };
    let mut client = cluster.client(0);
    client.call(&with_ttl).unwrap().unwrap();
    let before = owner(&mut client);
    cluster.kill(0);
    std::fs::write(&file, without).unwrap();
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    assert_eq!(owner(&mut client), before);
    assert!(client.call(&with_ttl).unwrap().is_err());
}
