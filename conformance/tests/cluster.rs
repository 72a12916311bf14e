//! The harness itself: servers stop, die and come back with what they had.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use bytes::Bytes;
use zabra::wire::client::{Request, Response};
use zabra_conformance::cluster::{Cluster, PATIENCE, four_letters};
use zabra_conformance::raw::{RawClient, create};
use zabra_model::tree::op::ReadOp;

fn data(port: u16, path: &str) -> Option<Bytes> {
    let mut client = RawClient::connect(port, 4000).unwrap();
    let get = Request::Read(ReadOp::GetData {
        path: path.into(),
        watch: false,
    });
    match client.ok(&get, PATIENCE).unwrap() {
        Response::Data(data, _) => data,
        other => panic!("{other:?} to getData"),
    }
}

#[test]
fn a_server_that_stands_alone_keeps_its_data_across_an_orderly_stop_and_a_kill() {
    let mut cluster = Cluster::start(1, &[]).unwrap();
    let port = cluster.servers[0].client_port;
    assert_eq!(four_letters(port, "ruok").unwrap(), "imok");
    let mut client = RawClient::connect(port, 4000).unwrap();
    client.ok(&create("/kept", b"one"), PATIENCE).unwrap();
    let ended = cluster.terminate(0).unwrap();
    assert!(ended.success(), "after SIGTERM: {ended}");
    assert!(four_letters(port, "ruok").is_err());
    cluster.restart(0).unwrap();
    cluster.wait_until_serving().unwrap();
    assert_eq!(data(port, "/kept"), Some(Bytes::from_static(b"one")));
    cluster.kill(0).unwrap();
    cluster.restart(0).unwrap();
    cluster.wait_until_serving().unwrap();
    assert_eq!(data(port, "/kept"), Some(Bytes::from_static(b"one")));
}

#[test]
fn an_ensemble_goes_on_without_its_leader_and_takes_it_back() {
    let mut cluster = Cluster::start(3, &[]).unwrap();
    let first = cluster.leader().unwrap();
    let mut client = RawClient::connect(cluster.servers[first].client_port, 4000).unwrap();
    client.ok(&create("/kept", b"one"), PATIENCE).unwrap();
    let epoch = cluster.servers[first].srvr().unwrap().zxid >> 32;
    let ended = cluster.terminate(first).unwrap();
    assert!(ended.success(), "after SIGTERM: {ended}");
    let second = cluster.leader().unwrap();
    assert_ne!(first, second);
    let mut client = RawClient::connect(cluster.servers[second].client_port, 4000).unwrap();
    client.ok(&create("/later", b"two"), PATIENCE).unwrap();
    assert!(
        cluster.servers[second].srvr().unwrap().zxid >> 32 > epoch,
        "a new leader has a new epoch"
    );
    cluster.restart(first).unwrap();
    cluster.wait_until_serving().unwrap();
    let port = cluster.servers[first].client_port;
    let mut client = RawClient::connect(port, 4000).unwrap();
    client
        .ok(
            &Request::Sync {
                path: Some("/".into()),
            },
            PATIENCE,
        )
        .unwrap();
    assert_eq!(data(port, "/kept"), Some(Bytes::from_static(b"one")));
    assert_eq!(data(port, "/later"), Some(Bytes::from_static(b"two")));
}
