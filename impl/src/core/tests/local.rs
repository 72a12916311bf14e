//! Sessions that only their server knows, and reads without a leader.

use super::following::{UP, dialling_with, serving_with};
use super::*;
use crate::client::lock::lock;
use crate::wire::quorum::decode_session_table;

const LOCAL: &str = "localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n";
const READ_ONLY: &str = "readonlymode.enabled=true\n";

fn with(lines: &str) -> String {
    format!("{lines}{OF_THREE}")
}

fn phase(conn: &Conn) -> ConnPhase {
    conn.state().phase
}

/// The request by which the intake of a connection has its session become global.
fn upgrade(conn: &Conn) -> Submit {
    Submit::make_global(Arc::clone(&conn.state().ids), 0)
}

/// The sessions that a follower tells its leader of.
fn told(server: &mut Server, conn: &Conn) -> Vec<SessionId> {
    conn.hear(server.now_ms);
    let ping = Heard::Ping(Zxid::ZERO, Vec::new());
    server.turn(vec![Event::Heard(UP, vec![ping])]);
    let sent = packets(server, UP);
    let ping = sent.iter().find(|p| p.kind == PacketKind::Ping).unwrap();
    let table = decode_session_table(ping.data.as_ref()).unwrap();
    table.into_iter().map(|(session, _)| session).collect()
}

#[test]
fn a_follower_begins_a_local_session_by_itself_and_tells_nobody_of_it_until_it_is_global() {
    let mut server = serving_with(&with(LOCAL));
    let conn = server.client(7);
    assert_eq!(phase(&conn), ConnPhase::Open);
    assert_eq!(kinds(&mut server, UP), []);
    assert_eq!(told(&mut server, &conn), []);
    let create = server.request(&conn, 1, create_as(CreateKind::Create, "/e", 1));
    let both = vec![upgrade(&conn), create];
    server.turn(vec![Event::Submitted(Arc::clone(&conn), both)]);
    assert_eq!(kinds(&mut server, UP), [PacketKind::Request; 2]);
    assert_eq!(told(&mut server, &conn), [SessionId(7)]);
    assert_eq!(phase(&conn), ConnPhase::Open);
}

#[test]
fn a_local_session_goes_on_here_and_without_asking_until_it_has_ended() {
    let mut server = serving_with(&with(LOCAL));
    server.client(7);
    let comes_back = |server: &mut Server| {
        let conn = server.conn(7);
        let again = Connect::Again(SessionId(7));
        server.turn(vec![Event::Connect(Arc::clone(&conn), again)]);
        (phase(&conn), kinds(server, UP))
    };
    assert_eq!(comes_back(&mut server), (ConnPhase::Open, vec![]));
    server.shared().end_local(SessionId(7));
    let asked = vec![PacketKind::Revalidate];
    assert_eq!(comes_back(&mut server), (ConnPhase::Connecting, asked));
}

#[test]
fn a_local_session_ends_when_its_client_is_silent_and_when_its_server_stops_serving() {
    let mut server = serving_with(&with(LOCAL));
    let (heard, silent) = (server.client(7), server.client(8));
    for _ in 0..6 {
        heard.hear(server.now_ms);
        let ping = Heard::Ping(Zxid::ZERO, Vec::new());
        server.turn(vec![Event::Heard(UP, vec![ping])]);
        server.pass(TICK_MS);
    }
    assert_eq!(phase(&heard), ConnPhase::Open);
    assert_eq!(phase(&silent), ConnPhase::Closing);
    assert!(lock(&server.shared().sessions).get(SessionId(8)).is_none());
    fetch(&heard);
    server.turn(vec![Event::Ended(UP)]);
    assert_eq!(phase(&heard), ConnPhase::Closed);
    let local = &server.shared().stats.local_sessions;
    assert_eq!(local.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn reads_are_served_without_a_leader_after_a_while_and_until_there_is_one() {
    let boot = |lines: &str| Server::boot(1, &with(lines));
    let mut server = boot(READ_ONLY);
    server.pass(1900);
    assert_eq!(server.mode(), Mode::NotServing);
    server.pass(200);
    assert_eq!(server.mode(), Mode::ReadOnly);
    let conn = server.client(7);
    assert_eq!(phase(&conn), ConnPhase::Open);
    assert!(conn.state().local);
    let unknown = server.conn(9);
    let again = Connect::Again(SessionId(9));
    server.turn(vec![Event::Connect(Arc::clone(&unknown), again)]);
    assert_eq!(phase(&unknown), ConnPhase::Closing);
    fetch(&conn);
    for other in [2, 3] {
        let vote = vote(ServerState::Looking, 3);
        server.turn(vec![Event::Mail(ServerId(other), vote)]);
    }
    server.pass(300);
    assert_eq!(server.mode(), Mode::NotServing);
    assert_eq!(phase(&conn), ConnPhase::Closed);

    let mut server = boot("");
    server.pass(5000);
    assert_eq!(server.mode(), Mode::NotServing, "nobody has asked for it");
}

#[test]
fn an_election_that_ends_in_time_lets_nobody_read_before() {
    let (mut server, _) = dialling_with(&with(READ_ONLY));
    server.pass(3000);
    assert_eq!(server.mode(), Mode::NotServing);
}
