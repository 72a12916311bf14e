//! Reads without a leader (`readonlymode.enabled`). Method: the real binary, three servers of which one is left, and raw frames.

mod common;

use common::{Client, Cluster, close, create, get, multi, set, wait_for};
use zabra::wire::client::{Request, Response};
use zabra_model::ids::SessionId;
use zabra_model::tree::error::ErrorCode;

const NEW: (SessionId, Option<[u8; 16]>) = (SessionId(0), None);

fn isro(cluster: &Cluster, i: usize, expected: &str) {
    wait_for(expected, || {
        (cluster.word(i, "isro")? == expected).then_some(())
    });
}

/// Three servers of which the first is left, which serves reads; and a client that had a session before.
fn cut_off() -> (Cluster, Client) {
    let mut cluster = Cluster::new(3, "readonlymode.enabled=true");
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    isro(&cluster, 0, "rw");
    let mut before = cluster.client(0);
    assert_eq!(before.read_only, Some(false));
    before.create("/ro", 0).unwrap().unwrap();
    before.create("/ephemeral", 1).unwrap().unwrap();
    cluster.kill(1);
    cluster.kill(2);
    isro(&cluster, 0, "ro");
    assert!(before.frame().is_none(), "its connection has ended");
    (cluster, before)
}

fn reader(cluster: &Cluster, timeout_ms: i32) -> Client {
    let client = Client::connect_as(cluster.ports[0], NEW, timeout_ms, Some(true));
    let client = client.expect("a session");
    assert_eq!(client.read_only, Some(true));
    assert_ne!(client.session, SessionId(0));
    client
}

/// Golden `read_only`.
#[test]
fn a_server_without_a_leader_answers_reads_of_clients_that_accept_it() {
    let (cluster, before) = cut_off();
    let srvr = cluster.word(0, "srvr").unwrap();
    assert!(srvr.contains("Mode: read-only"), "{srvr}");
    assert!(srvr.contains("READ-ONLY mode; serving only read-only clients"));
    for asks in [Some(false), None] {
        let refused = Client::connect_as(cluster.ports[0], NEW, 10_000, asks);
        assert!(refused.is_none(), "{asks:?} is closed without an answer");
    }
    let global = (before.session, Some(before.password));
    let refused = Client::connect_as(cluster.ports[0], global, 10_000, Some(true));
    assert!(
        refused.is_none(),
        "only a leader knows whether its session lives"
    );

    let mut c = reader(&cluster, 10_000);
    assert_eq!(c.get("/ro"), Some("0".into()));
    assert_eq!(
        c.children("/"),
        ["ephemeral", "ro", "zookeeper"].map(Into::into)
    );
    let sync = Request::Sync {
        path: Some("/ro".into()),
    };
    for request in [
        create("/x", 0),
        set("/ro", "1"),
        multi(create("/x", 0)),
        sync,
    ] {
        let refused = Some(Err(ErrorCode::NotReadOnly.code()));
        assert_eq!(c.call(&request), refused, "{request:?}");
    }
    assert!(matches!(c.call(&Request::WhoAmI), Some(Ok(_))));
    // It goes on over another connection, and ends when it says so.
    let again = (c.session, Some(c.password));
    let mut c = Client::connect_as(cluster.ports[0], again, 10_000, Some(true)).unwrap();
    assert_eq!(c.session, again.0);
    assert!(matches!(c.call(&close()), Some(Ok(Response::Empty))));
    assert!(c.frame().is_none(), "its connection ends with it");
    let gone = Client::connect_as(cluster.ports[0], again, 10_000, Some(true)).unwrap();
    assert_eq!(gone.session, SessionId(0), "it has expired");
}

#[test]
fn a_silent_session_ends_without_a_leader_too() {
    let (cluster, _before) = cut_off();
    let mut silent = reader(&cluster, 1000);
    let again = (silent.session, Some(silent.password));
    assert!(silent.frame().is_none(), "it is closed");
    let gone = Client::connect_as(cluster.ports[0], again, 1000, Some(true)).unwrap();
    assert_eq!(gone.session, SessionId(0), "it has expired");
}

#[test]
fn when_the_quorum_is_back_readers_are_sent_away_and_writers_are_served() {
    let (mut cluster, before) = cut_off();
    let mut c = reader(&cluster, 10_000);
    c.call(&get("/ro", true)).unwrap().unwrap();
    let again = (c.session, Some(c.password));
    cluster.start(1);
    cluster.wait_serving(&[0, 1]);
    assert!(c.frame().is_none(), "its connection has ended");
    isro(&cluster, 0, "rw");
    let gone = Client::connect_as(cluster.ports[0], again, 10_000, Some(true)).unwrap();
    assert_eq!((gone.session, gone.read_only), (SessionId(0), Some(false)));
    let port = cluster.ports[0];
    let mut back = Client::connect(port, before.session, Some(before.password), 10_000).unwrap();
    assert_eq!(
        back.session, before.session,
        "the session before goes on: the new leader gives it its timeout"
    );
    back.set("/ro", "1").unwrap().unwrap();
}

#[test]
fn a_server_that_starts_alone_answers_reads_from_what_its_disk_holds() {
    let (mut cluster, _before) = cut_off();
    cluster.kill(0);
    cluster.start(0);
    isro(&cluster, 0, "ro");
    let mut c = reader(&cluster, 10_000);
    assert_eq!(c.get("/ro"), Some("0".into()));
    let shown = c.get("/zookeeper/config").unwrap();
    assert!(shown.starts_with("server.1=") && shown.ends_with("version=0"));
}
