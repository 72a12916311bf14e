//! Clients and strangers that ask for too much: they are held back, and nobody else notices.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, get, open_acl, wait_for};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use zabra::wire::client::Request;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

fn large_node(c: &mut Client, path: &str) {
    let create = Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(Bytes::from(vec![7; 1_000_000])),
        acl: Some(open_acl()),
        flags: 0,
        ttl: 0,
    });
    c.call(&create).unwrap().unwrap();
}

fn auth(user: &str) -> Request {
    Request::Auth {
        kind: 0,
        scheme: Some("digest".into()),
        data: Some(Bytes::from(format!("{user}:x"))),
    }
}

#[test]
fn long_answers_are_sent_before_more_of_them_are_made() {
    let mut cluster = Cluster::new(1, "");
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let mut c = cluster.client(0);
    large_node(&mut c, "/large");
    let reads = 300;
    for _ in 0..reads {
        c.send(&get("/large", false));
    }
    std::thread::sleep(Duration::from_secs(1));
    let held = cluster.memory_bytes(0);
    assert!(
        held < 150 << 20,
        "{held} bytes for answers that nobody reads"
    );
    for _ in 0..reads {
        assert_eq!(c.reply().unwrap().header.err, 0);
    }
    c.set("/large", "small").unwrap().unwrap();
}

#[test]
fn a_multi_read_of_more_than_memory_is_refused() {
    let mut cluster = Cluster::new(1, "");
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let mut c = cluster.client(0);
    large_node(&mut c, "/large");
    let read_times = |n: usize| {
        let path = "/large";
        let get = |_| ReadOp::GetData {
            path: path.into(),
            watch: false,
        };
        Request::Read(ReadOp::MultiRead((0..n).map(get).collect()))
    };
    assert!(c.call(&read_times(10)).unwrap().is_ok());
    let refused = c.call(&read_times(10_000)).unwrap();
    assert_eq!(refused.err(), Some(ErrorCode::MarshallingError.code()));
}

#[test]
fn identities_beyond_what_a_packet_holds_cost_their_client_and_not_its_server() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let follower = (leader + 1) % 3;
    let mut other = cluster.client(follower);
    for users in [vec!["a".repeat(700_000), "b".repeat(700_000)], {
        (0..5000).map(|n| n.to_string()).collect()
    }] {
        let mut greedy = cluster.client(follower);
        for user in &users {
            greedy.send(&auth(user));
        }
        greedy.send(&common::create("/greedy", 0));
        while greedy.reply().is_some_and(|r| r.header.err == 0) {}
    }
    // The follower would have lost its leader, and with it this connection.
    other.create("/other", 0).unwrap().unwrap();
}

#[test]
fn silent_connections_to_the_leader_give_way_to_a_learner() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let follower = (leader + 1) % 3;
    cluster.kill(follower);
    let port = cluster.quorum_ports[leader];
    let silent: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    let begin = Instant::now();
    cluster.start(follower);
    wait_for("a follower again", || cluster.mode(follower));
    // Half of the time after which silence ends such a connection.
    assert!(begin.elapsed() < Duration::from_secs(5));
    drop(silent);
}
