//! The end of a reign in order: a leader that is stopped, and a learner whose leader leaves.

use super::following::{self, UP};
use super::leading::{self, TWO};
use super::*;
use crate::wire::quorum::{decode_session_table, encode_revalidate};
use zabra_model::service::handover::LEAVES;

fn leaves(link: Link, sessions: &[(i64, i32)]) -> Event {
    let table = sessions.iter().map(|(id, ms)| (SessionId(*id), *ms));
    Event::Heard(link, vec![Heard::Ping(LEAVES, table.collect())])
}

/// The PINGs of a hand-over that were sent over a link, with the sessions that each names.
fn said(server: &mut Server, link: Link) -> Vec<Vec<i64>> {
    let sent = packets(server, link).into_iter();
    let sent = sent.filter(|packet| packet.kind == PacketKind::Ping && packet.zxid == LEAVES);
    let table = |packet: QuorumPacket| decode_session_table(packet.data.as_ref()).unwrap();
    sent.map(|packet| table(packet).iter().map(|(id, _)| id.0).collect())
        .collect()
}

/// A leader with server 2 behind it, to which session 9 is attached; session 8 was, and is the leader's now.
fn leader() -> (Server, Arc<Conn>) {
    let mut server = leading::serving();
    for session in [8, 9] {
        server.turn(vec![leading::forwarded(
            session,
            1,
            &leading::begin_session(),
        )]);
    }
    server.sync();
    leading::acknowledge(&mut server);
    let conn = server.conn(8);
    let again = Connect::Again(SessionId(8));
    server.turn(vec![Event::Connect(Arc::clone(&conn), again)]);
    assert_eq!(conn.state().phase, ConnPhase::Open);
    packets(&mut server, TWO);
    (server, conn)
}

#[test]
fn a_leader_that_is_stopped_hands_over_before_it_ends() {
    let (mut server, own) = leader();
    server.turn(vec![Event::Shutdown]);
    assert_eq!(said(&mut server, TWO), [vec![0_i64; 0]]);
    assert!(!server.out.ended && server.mode() == Mode::Leader);
    // What its learner has sent before it answers is proposed. Its own clients, and who comes now, ask in vain.
    let late = server.request(&own, 1, create("/own"));
    let newcomer = server.conn(8);
    server.turn(vec![
        leading::forwarded(9, 2, &create("/a")),
        Event::Submitted(Arc::clone(&own), vec![late]),
        Event::Connect(Arc::clone(&newcomer), Connect::Again(SessionId(8))),
    ]);
    assert_eq!(newcomer.state().phase, ConnPhase::Closed);
    assert_eq!(kinds(&mut server, TWO), [PacketKind::Proposal]);
    // No session moves any more, or what it says next would not be true.
    let question = encode_revalidate(SessionId(8), TIMEOUT_MS);
    server.turn(vec![Event::Heard(TWO, vec![Heard::Revalidate(question)])]);
    assert_eq!(kinds(&mut server, TWO), []);
    server.turn(vec![leaves(TWO, &[(8, 1), (9, 1)])]);
    assert_eq!(said(&mut server, TWO), [[8]]);
    // One of ZooKeeper's goes on asking.
    server.turn(vec![leading::forwarded(9, 3, &create("/b"))]);
    assert_eq!(kinds(&mut server, TWO), []);
    assert!(!server.out.ended, "something is not committed");
    server.sync();
    leading::acknowledge(&mut server);
    assert!(server.out.ended && closes(&server, TWO));
    assert_eq!(kinds(&mut server, TWO), [PacketKind::Commit]);
    assert_eq!(server.mode(), Mode::NotServing);
    assert!(server.shared().tree().find("/a").is_some());
    assert!(server.shared().tree().find("/b").is_none());
}

#[test]
fn a_leader_that_is_stopped_waits_for_nobody_longer_than_a_tick_and_not_for_who_has_gone() {
    let (mut server, own) = leader();
    server.turn(vec![Event::Shutdown]);
    server.pass(TICK_MS - 100);
    assert!(!server.out.ended);
    server.pass(100);
    assert!(server.out.ended && closes(&server, TWO));
    assert_ne!(own.state().phase, ConnPhase::Open);
    let (mut server, _) = leader();
    server.turn(vec![Event::Shutdown]);
    server.turn(vec![Event::Ended(TWO)]);
    assert!(server.out.ended);
    let (mut server, _) = leader();
    server.turn(vec![Event::Shutdown, Event::Shutdown]);
    assert!(server.out.ended, "whoever asks twice is in a hurry");
}

/// A follower with three clients: 7 waits for an answer, 8 has moved elsewhere, 9 waits for nothing.
fn follower() -> (Server, [Arc<Conn>; 3]) {
    let mut server = following::serving();
    let conns = [7, 8, 9].map(|session| following::open(&server, session));
    for conn in &conns {
        let shared = server.shared();
        let old =
            crate::client::lock::lock(&shared.sessions).attach(conn.session(), Arc::clone(conn));
        assert!(old.is_none());
    }
    following::asks(&mut server, &conns[0], 1);
    server.turn(vec![leaves(UP, &[])]);
    assert_eq!(said(&mut server, UP), [[7, 8, 9]]);
    server.submit(&conns[2], 1, create("/a"));
    assert_eq!(kinds(&mut server, UP), [], "it is kept");
    server.turn(vec![leaves(UP, &[(8, 0)])]);
    packets(&mut server, UP);
    (server, conns)
}

fn phases(conns: &[Arc<Conn>; 3]) -> [ConnPhase; 3] {
    [0, 1, 2].map(|i: usize| conns[i].state().phase)
}

const NEXT: Link = Link(6);

/// Server 1 has lost its leader, and server 2 is to lead it, in this epoch.
fn finds_a_leader(server: &mut Server, epoch: Epoch) {
    server.turn(vec![Event::Ended(UP)]);
    let mut looks = vote(ServerState::Looking, 2);
    looks.round = Round(9);
    looks.vote.epoch = Epoch(1);
    server.turn(vec![
        Event::Mail(ServerId(2), looks),
        Event::Reached(ServerId(3), false),
    ]);
    let Some(DialAct::Begin { attempt, .. }) = server.dials.last() else {
        panic!("it dials");
    };
    server.turn(vec![Event::Dialled(*attempt, Some(NEXT))]);
    server.turn(vec![leading::says(NEXT, Packet::LeaderInfo { epoch })]);
    server.sync();
}

/// Server 1 follows server 2 now, in this epoch.
fn next_reign(server: &mut Server, epoch: u32) {
    let epoch = Epoch(epoch);
    finds_a_leader(server, epoch);
    server.turn(vec![
        leading::says(NEXT, Packet::Diff { zxid: Zxid::ZERO }),
        leading::says(NEXT, Packet::NewLeader { epoch }),
    ]);
    server.sync();
    packets(server, NEXT);
    server.turn(vec![leading::says(NEXT, Packet::UpToDate)]);
    assert_eq!(server.mode(), Mode::Follower);
    let sent = kinds(server, NEXT);
    server.links.clear();
    let asked = sent.iter().filter(|kind| **kind == PacketKind::Request);
    // What was kept is asked now.
    let expected = usize::from(epoch == Epoch(2));
    assert_eq!(asked.count(), expected, "{sent:?}");
}

#[test]
fn clients_stay_over_the_end_of_a_reign_if_it_was_in_order() {
    use ConnPhase::{Closed, Open};
    let (mut server, conns) = follower();
    assert_eq!(phases(&conns), [Open, Closed, Open]);
    server.turn(vec![Event::Ended(UP)]);
    assert_eq!(phases(&conns), [Closed, Closed, Open]);
    assert_eq!(server.mode(), Mode::NotServing);
    assert!(
        server.out.hold_clients,
        "nobody is read on who asks for writes"
    );
    let newcomer = server.conn(7);
    let again = Connect::Again(SessionId(7));
    server.turn(vec![Event::Connect(Arc::clone(&newcomer), again)]);
    assert_eq!(newcomer.state().phase, Closed);
    next_reign(&mut server, 2);
    assert_eq!(phases(&conns), [Closed, Closed, Open]);
    assert!(!server.out.hold_clients);
}

#[test]
fn clients_go_behind_a_reign_that_was_missed_and_when_there_is_no_leader_for_a_tick() {
    let (mut server, conns) = follower();
    next_reign(&mut server, 3);
    assert_eq!(phases(&conns), [ConnPhase::Closed; 3]);
    let (mut server, conns) = follower();
    server.turn(vec![Event::Ended(UP)]);
    server.pass(TICK_MS - 100);
    assert_eq!(phases(&conns)[2], ConnPhase::Open);
    server.pass(200);
    assert_eq!(phases(&conns), [ConnPhase::Closed; 3]);
    assert!(!server.out.hold_clients);
}

#[test]
fn a_leader_that_says_that_it_leaves_and_does_not_is_asked_again() {
    let (mut server, conns) = follower();
    server.pass(2 * TICK_MS);
    assert_eq!(server.mode(), Mode::Follower);
    assert_eq!(kinds(&mut server, UP), [PacketKind::Request]);
    assert_eq!(phases(&conns)[2], ConnPhase::Open);
    // Its end is none in order then.
    server.turn(vec![Event::Ended(UP)]);
    assert_eq!(phases(&conns), [ConnPhase::Closed; 3]);
}

/// Nobody could say what has changed between the two trees, so whoever watches looks again.
#[test]
fn clients_go_when_another_tree_takes_the_place_of_theirs() {
    let (mut server, conns) = follower();
    finds_a_leader(&mut server, Epoch(2));
    assert_eq!(phases(&conns)[2], ConnPhase::Open);
    let mut tree = Tree::new();
    let zxid = Zxid(0x77);
    tree.raise_last_zxid(zxid);
    let whole = Heard::Snapshot(zxid, Box::new(tree), None);
    server.turn(vec![Event::Heard(NEXT, vec![whole])]);
    assert_eq!(phases(&conns), [ConnPhase::Closed; 3]);
}

#[test]
fn who_has_been_answered_may_fetch_that_before_its_connection_ends() {
    let mut server = following::serving();
    let [answered, other] = [7, 8].map(|session| following::open(&server, session));
    answered.state().out.extend_from_slice(b"an answer");
    server.turn(vec![Event::Ended(UP)]);
    assert_eq!(server.mode(), Mode::NotServing);
    assert_eq!(answered.state().phase, ConnPhase::Closing);
    assert_eq!(&answered.state().out[..], b"an answer");
    assert_eq!(other.state().phase, ConnPhase::Closed);
}
