//! Sessions that move while their requests are in flight: each answer belongs to the request that its connection sent.
//!
//! Two of three voters are stopped for a moment, so nothing is committed and every request stays in flight; the leader and two
//! observers go on. What happens meanwhile happens in the order that a test wants, and is answered when the voters go on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

mod common;

use common::{Client, Cluster, create};
use std::time::Duration;
use zabra::wire::client::{ReplyFrame, Response, opcode};

/// How long a request takes from its client to the leader at most. Is it slower, a test sees less, and nothing wrong.
const WAY: Duration = Duration::from_millis(150);

/// An ensemble with voters that can be stopped, and the servers that go on meanwhile: the leader, two observers.
fn ensemble() -> (Cluster, [usize; 3], Vec<usize>) {
    let mut cluster = Cluster::with_observers(3, 2);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2, 3, 4]);
    let others = (0..3).filter(|i| *i != leader).collect();
    (cluster, [leader, 3, 4], others)
}

fn again(cluster: &Cluster, i: usize, old: &Client) -> Client {
    let client = Client::connect(cluster.ports[i], old.session, Some(old.password), 10_000);
    client.expect("the leader confirms sessions without a quorum")
}

/// The path in the answer to a create.
fn created(reply: &ReplyFrame) -> Option<String> {
    match reply.decode(opcode::CREATE) {
        Ok(Response::Path(path)) => path.map(Into::into),
        _ => None,
    }
}

fn path_of(client: &mut Client, xid: i32) -> Option<String> {
    let reply = client.reply()?;
    assert_eq!((reply.header.xid, reply.header.err), (xid, 0));
    created(&reply)
}

/// C-40: whichever way a session moves, its first request there gets its own outcome, though one with the same xid that it sent
/// through another server (or over another connection) is answered first.
#[test]
fn c_40_an_answer_belongs_to_its_request() {
    let (cluster, live, voters) = ensemble();
    let pairs: Vec<(usize, usize)> = live
        .into_iter()
        .flat_map(|a| live.map(|b| (a, b)))
        .collect();
    let mut first: Vec<Client> = pairs.iter().map(|(a, _)| cluster.client(*a)).collect();
    voters.iter().for_each(|i| cluster.signal(*i, "STOP"));
    for (n, client) in first.iter_mut().enumerate() {
        assert_eq!(client.send(&create(&format!("/left-{n}"), 0)), 1);
    }
    std::thread::sleep(WAY);
    let mut second: Vec<Client> = pairs
        .iter()
        .zip(&first)
        .map(|((_, b), old)| again(&cluster, *b, old))
        .collect();
    drop(first);
    for (n, client) in second.iter_mut().enumerate() {
        assert_eq!(client.send(&create(&format!("/right-{n}"), 0)), 1);
    }
    voters.iter().for_each(|i| cluster.signal(*i, "CONT"));
    let answers: Vec<Option<String>> = second.iter_mut().map(|c| path_of(c, 1)).collect();
    let own: Vec<_> = (0..pairs.len())
        .map(|n| Some(format!("/right-{n}")))
        .collect();
    assert_eq!(answers, own, "by (from, to) in {pairs:?}");
    // And what the session sent before it moved was done, and is answered to nobody.
    for (n, client) in second.iter_mut().enumerate() {
        assert_eq!(client.get(&format!("/left-{n}")).as_deref(), Some("0"));
    }
}

/// C-41: a request that comes through the server that its session has left is refused, and nobody but the connection that sent it
/// ends: neither the session's own one at its new server, whose request has the same xid, nor others with requests before it.
#[test]
fn c_41_a_stale_refusal_closes_nobody_elses_connection() {
    let (cluster, live, voters) = ensemble();
    for (n, (a, b)) in [(1, 2), (0, 1), (1, 0)].into_iter().enumerate() {
        let (a, b) = (live[a], live[b]);
        let mut stale = cluster.client(a);
        let mut neighbour = cluster.client(b);
        voters.iter().for_each(|i| cluster.signal(*i, "STOP"));
        let mut current = again(&cluster, b, &stale);
        stale.send(&create(&format!("/stale-{n}"), 0));
        std::thread::sleep(WAY);
        neighbour.send(&create(&format!("/neighbour-{n}"), 0));
        current.send(&create(&format!("/current-{n}"), 0));
        voters.iter().for_each(|i| cluster.signal(*i, "CONT"));
        let case = format!("from server {a} to server {b}");
        let answer = path_of(&mut current, 1);
        assert_eq!(answer, Some(format!("/current-{n}")), "{case}");
        let answer = path_of(&mut neighbour, 1);
        assert_eq!(answer, Some(format!("/neighbour-{n}")), "{case}");
        assert!(stale.reply().is_none(), "{case}: its session is elsewhere");
        assert_eq!(current.get(&format!("/stale-{n}")), None, "{case}");
        cluster.wait_serving(&[0, 1, 2, 3, 4]);
    }
}
