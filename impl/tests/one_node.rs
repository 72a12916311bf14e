//! One server on its own: sessions, order of answers, watches, refusals. Method: the real binary and raw frames.

mod common;

use common::{Client, Cluster, create, get, set, wait_for};
use std::io::Write;
use zabra::wire::client::{Request, Response};
use zabra_model::ids::SessionId;
use zabra_model::tree::op::WriteOp;

fn server() -> Cluster {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster
}

#[test]
fn pipelined_reads_see_exactly_the_writes_before_them() {
    let cluster = server();
    let mut c = cluster.client(0);
    c.create("/a", 0).unwrap().unwrap();
    for i in 0..300 {
        c.send(&set("/a", &i.to_string()));
        c.send(&get("/a", false));
    }
    for i in 0..300 {
        assert_eq!(c.reply().unwrap().header.err, 0);
        let read = c.reply().unwrap();
        let Ok(Response::Data(data, stat)) = read.decode(4) else {
            panic!("not data")
        };
        assert_eq!((data.unwrap(), stat.version), (i.to_string().into(), i + 1));
    }
}

#[test]
fn a_watch_event_comes_before_the_reply_that_shows_the_change() {
    let cluster = server();
    let mut c = cluster.client(0);
    c.create("/w", 0).unwrap().unwrap();
    c.call(&get("/w", true)).unwrap().unwrap();
    c.set("/w", "1").unwrap().unwrap();
    assert_eq!(
        c.events.len(),
        1,
        "the event precedes the answer of the connection that made the change"
    );
    let event = c.events[0].decode_event().unwrap();
    assert_eq!((event.kind.code(), &*event.path), (3, "/w"));
}

#[test]
fn a_session_outlives_its_connection_and_ends_when_it_is_closed() {
    let cluster = server();
    let mut c = cluster.client(0);
    c.create("/e", 1).unwrap().unwrap();
    let (session, password) = (c.session, c.password);
    drop(c);
    let mut again = Client::connect(cluster.ports[0], session, Some(password), 10_000).unwrap();
    assert_eq!(again.session, session);
    assert!(again.get("/e").is_some());
    let wrong = Client::connect(cluster.ports[0], session, Some([7; 16]), 10_000).unwrap();
    assert_eq!((wrong.session, wrong.timeout_ms), (SessionId(0), 0));
    let mut again = Client::connect(cluster.ports[0], session, Some(password), 10_000).unwrap();
    again
        .call(&Request::Write(WriteOp::CloseSession))
        .unwrap()
        .unwrap();
    assert!(
        again.frame().is_none(),
        "the server closes after the answer"
    );
    let mut other = cluster.client(0);
    assert!(other.get("/e").is_none());
    let gone = Client::connect(cluster.ports[0], session, Some(password), 10_000).unwrap();
    assert_eq!(gone.session, SessionId(0));
}

#[test]
fn a_silent_session_expires_with_its_ephemeral_nodes() {
    let cluster = server();
    let mut c = Client::connect(cluster.ports[0], SessionId(0), None, 1).unwrap();
    assert_eq!(c.timeout_ms, 1000, "two ticks");
    c.create("/e", 1).unwrap().unwrap();
    let mut other = cluster.client(0);
    assert!(other.get("/e").is_some());
    wait_for("expiry", || other.get("/e").is_none().then_some(()));
    assert!(c.frame().is_none(), "its connection ends");
}

#[test]
fn refusals_have_zookeepers_codes_and_unknown_requests_end_the_connection() {
    let cluster = server();
    let mut c = cluster.client(0);
    assert_eq!(c.create("/x/y", 0), Some(Err(-101)));
    assert_eq!(c.create("/zookeeper", 0), Some(Err(-110)));
    let opcode = 9999;
    let record = bytes::Bytes::new();
    assert_eq!(c.call(&Request::Unknown { opcode, record }), Some(Err(-6)));
    assert!(c.frame().is_none());
    // Truncated bodies are refused, and the connection stays.
    let mut c = cluster.client(0);
    for opcode in [1, 4] {
        let record = bytes::Bytes::from_static(&[0, 0]);
        assert_eq!(c.call(&Request::Unknown { opcode, record }), Some(Err(-5)));
    }
    c.create("/x", 0).unwrap().unwrap();
    // A frame that is too long ends it.
    c.stream.write_all(&0x7fff_ffff_u32.to_be_bytes()).unwrap();
    assert!(c.frame().is_none());
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let mut cluster = server();
    let mut c = cluster.client(0);
    c.create("/k", 0).unwrap().unwrap();
    for i in 0..50 {
        c.send(&create(&format!("/k/{i}"), 0));
    }
    for _ in 0..50 {
        assert_eq!(c.reply().unwrap().header.err, 0);
    }
    cluster.kill(0);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    assert_eq!(cluster.client(0).children("/k").len(), 50);
}
