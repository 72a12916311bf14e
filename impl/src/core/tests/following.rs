//! A follower of three: dialling, requests on their way, truncation, a whole tree.

use super::*;
use crate::wire::payload::Logged;
use crate::wire::quorum::ForwardedRequest;
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::txn::{Txn, TxnHeader};

pub(super) const UP: Link = Link(5);

pub(super) fn says(packet: Packet<crate::wire::payload::Payload>) -> Event {
    Event::Heard(UP, vec![Heard::Core(packet)])
}

/// Server 1, which has elected server 3 with server 2, and dials it.
fn dialling() -> (Server, u64) {
    dialling_with(OF_THREE)
}

/// The same, with these lines.
pub(super) fn dialling_with(lines: &str) -> (Server, u64) {
    let mut server = Server::boot(1, lines);
    for other in [2, 3] {
        let vote = vote(ServerState::Looking, 3);
        server.turn(vec![Event::Mail(ServerId(other), vote)]);
    }
    server.pass(300);
    let [
        DialAct::Begin {
            leader, attempt, ..
        },
    ] = server.dials[..]
    else {
        panic!("it dials: {:?}", server.dials);
    };
    assert_eq!(leader, ServerId(3));
    (server, attempt)
}

#[test]
fn a_learner_may_take_as_long_to_connect_as_its_own_limit_says() {
    for (lines, ticks) in [("", 5), ("connectToLearnerMasterLimit=2\n", 2)] {
        let (server, _) = dialling_with(&format!("{OF_THREE}{lines}"));
        let [DialAct::Begin { within_ms, .. }] = server.dials[..] else {
            panic!("it dials: {:?}", server.dials);
        };
        assert_eq!(within_ms, ticks * TICK_MS);
    }
}

/// The same, linked, with the epoch accepted.
fn linked() -> Server {
    linked_with(OF_THREE)
}

fn linked_with(lines: &str) -> Server {
    let (mut server, attempt) = dialling_with(lines);
    server.turn(vec![Event::Dialled(attempt, Some(UP))]);
    assert_eq!(kinds(&mut server, UP), [PacketKind::FollowerInfo]);
    server.turn(vec![says(Packet::LeaderInfo { epoch: Epoch(1) })]);
    assert_eq!(kinds(&mut server, UP), [], "the epoch is not on the disk");
    server.sync();
    assert_eq!(kinds(&mut server, UP), [PacketKind::AckEpoch]);
    server
}

/// The same, serving.
pub(super) fn serving() -> Server {
    serving_with(OF_THREE)
}

/// The same, with these lines.
pub(super) fn serving_with(lines: &str) -> Server {
    let mut server = linked_with(lines);
    server.turn(vec![
        says(Packet::Diff { zxid: Zxid::ZERO }),
        says(Packet::NewLeader { epoch: Epoch(1) }),
    ]);
    server.sync();
    server.turn(vec![says(Packet::UpToDate)]);
    server.sync();
    assert_eq!(server.mode(), Mode::Follower);
    packets(&mut server, UP);
    server
}

#[test]
fn an_attempt_to_dial_that_is_not_awaited_any_more_is_closed() {
    let (mut server, attempt) = dialling();
    let steps = server.core.steps();
    server.turn(vec![Event::Dialled(attempt + 1, Some(Link(9)))]);
    server.turn(vec![Event::Dialled(attempt + 1, None)]);
    assert!(closes(&server, Link(9)));
    assert_eq!(server.core.steps(), steps);
    server.turn(vec![Event::Dialled(attempt, None)]);
    assert_eq!(server.core.steps(), steps + 1, "in vain: it looks again");
    server.turn(vec![Event::Dialled(attempt, None)]);
    assert_eq!(server.core.steps(), steps + 1, "it has ended before");
}

/// Server 2 has noticed the loss of the leader before server 1, and says so once.
#[test]
fn what_is_said_of_an_election_a_moment_before_it_begins_here_counts() {
    for (pause_ms, counts) in [(0, true), (500, true), (501, false)] {
        let mut server = serving();
        let mut looks = vote(ServerState::Looking, 2);
        looks.vote.epoch = Epoch(1);
        looks.round = Round(2);
        server.turn(vec![
            Event::Mail(ServerId(2), looks),
            Event::Reached(ServerId(3), false),
        ]);
        let [.., (ServerId(2), said)] = server.mail[..] else {
            panic!("it is answered: {:?}", server.mail);
        };
        assert_eq!(said.state, ServerState::Following);
        server.now_ms += pause_ms;
        server.turn(vec![Event::Ended(UP)]);
        let leader = server.core.peer().leader();
        assert_eq!(leader, counts.then_some(ServerId(2)), "{pause_ms}");
        // It counts once.
        server.turn(vec![Event::Mail(ServerId(2), looks)]);
        assert_eq!(server.core.peer().leader(), Some(ServerId(2)));
    }
}

/// Servers 1 and 2 agree, and nobody has heard of 3.
#[test]
fn an_election_does_not_wait_for_a_server_that_cannot_be_reached() {
    let agrees = || Event::Mail(ServerId(2), vote(ServerState::Looking, 2));
    let away = |is_reached| Event::Reached(ServerId(3), is_reached);
    let leader = |events: Vec<Event>| {
        let mut server = Server::boot(1, OF_THREE);
        server.turn(events);
        let at_once = server.core.peer().leader();
        server.pass(200);
        let later = server.core.peer().leader();
        assert_eq!(later, Some(ServerId(2)), "nobody waits for longer");
        at_once
    };
    assert_eq!(leader(vec![agrees()]), None);
    for events in [vec![agrees(), away(false)], vec![away(false), agrees()]] {
        assert_eq!(leader(events), Some(ServerId(2)));
    }
    // It is back, as it has said or as a connection to it shows.
    assert_eq!(leader(vec![away(false), away(true), agrees()]), None);
    let speaks = Event::Mail(ServerId(3), vote(ServerState::Looking, 1));
    assert_eq!(leader(vec![away(false), speaks, agrees()]), None);
}

/// A list of members is committed; a leader that names another one is left, after what it has committed is known.
#[test]
fn a_leader_that_hands_over_is_left_and_one_that_names_itself_is_not() {
    for (designated, stays) in [(3, true), (2, false)] {
        let mut server = serving();
        let list = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=100000001";
        let txn = Txn::SetData {
            path: zabra_model::tree::path::CONFIG.into(),
            data: Some(list.into()),
            version: -1,
            reconfig: true,
        };
        let header = TxnHeader {
            session: SessionId(0),
            cxid: 0,
            zxid: at(1),
            time: 1,
        };
        let txn = Arc::new(Logged::encode(header, txn, &mut BytesMut::new()));
        let zxid = at(1);
        server.turn(vec![says(Packet::Proposal { zxid, txn })]);
        server.sync();
        let packet = Packet::CommitAndActivate { zxid };
        let activated = Heard::Activated(packet, ServerId(designated));
        server.turn(vec![Event::Heard(UP, vec![activated])]);
        assert_eq!(server.core.peer().ensemble().active().version, zxid);
        assert_eq!(closes(&server, UP), !stays, "{designated}");
        assert_eq!(server.mode() == Mode::Follower, stays, "{designated}");
    }
}

#[test]
fn learners_that_come_to_a_follower_are_turned_away() {
    let mut server = serving();
    let event = Event::Accepted {
        link: Link(9),
        from: [127, 0, 0, 1].into(),
        expected: true,
        hello: None,
    };
    server.turn(vec![event]);
    assert!(closes(&server, Link(9)));
}

#[test]
fn requests_and_syncs_go_to_the_leader_and_its_answer_is_for_the_oldest_sync() {
    let mut server = serving();
    let conn = server.conn(7);
    conn.state().phase = ConnPhase::Open;
    server.submit(&conn, 1, sync());
    server.submit(&conn, 2, sync());
    server.submit(&conn, 3, create("/a"));
    let requests = [PacketKind::Request; 3];
    assert_eq!(kinds(&mut server, UP), requests);
    server.turn(vec![Event::Heard(UP, vec![Heard::Synced])]);
    assert_eq!(answers(&conn), [(1, 0)]);
    server.turn(vec![Event::Heard(UP, vec![Heard::Synced, Heard::Synced])]);
    assert_eq!(answers(&conn), [(2, 0)], "the write is not a sync");
}

/// C-47: as where this server leads.
#[test]
fn c_47_what_waits_for_the_leader_keeps_nothing_of_what_was_read_with_it() {
    let mut server = serving();
    let conn = server.conn(7);
    conn.state().phase = ConnPhase::Open;
    let memory = ask_all(&mut server, &conn);
    let is_free: Vec<bool> = memory.iter().map(Bytes::is_unique).collect();
    assert_eq!(is_free, [true; 3]);
    assert_eq!(kinds(&mut server, UP), [PacketKind::Request; 3]);
}

#[test]
fn a_session_goes_on_when_the_leader_says_so_in_the_order_of_the_questions() {
    let mut server = serving();
    let (first, second) = (server.conn(7), server.conn(7));
    for conn in [&first, &second] {
        let again = Connect::Again(SessionId(7));
        server.turn(vec![Event::Connect(Arc::clone(conn), again)]);
    }
    assert_eq!(kinds(&mut server, UP), [PacketKind::Revalidate; 2]);
    let word = |valid| {
        let data = crate::wire::quorum::encode_revalidated(SessionId(7), valid);
        Event::Heard(UP, vec![Heard::Revalidate(data)])
    };
    server.turn(vec![word(false)]);
    assert_eq!(first.state().phase, ConnPhase::Closing);
    server.turn(vec![word(true)]);
    assert_eq!(second.state().phase, ConnPhase::Open);
    server.turn(vec![word(true)]);
}

#[test]
fn a_ping_is_answered_with_the_sessions_that_were_heard() {
    let mut server = serving();
    let conn = server.conn(7);
    let again = Connect::Again(SessionId(7));
    server.turn(vec![Event::Connect(Arc::clone(&conn), again)]);
    let data = crate::wire::quorum::encode_revalidated(SessionId(7), true);
    server.turn(vec![Event::Heard(UP, vec![Heard::Revalidate(data)])]);
    packets(&mut server, UP);
    for heard in [true, false] {
        if heard {
            conn.hear(server.now_ms);
        }
        let ping = Heard::Ping(Zxid::ZERO, Vec::new());
        server.turn(vec![Event::Heard(UP, vec![ping])]);
        let sent = packets(&mut server, UP);
        assert_eq!(sent[0].kind, PacketKind::Ping);
        let table = crate::wire::quorum::decode_session_table(sent[0].data.as_ref()).unwrap();
        let expected = [(SessionId(7), TIMEOUT_MS)];
        assert_eq!(table, if heard { &expected[..] } else { &[] });
    }
}

#[test]
fn a_whole_tree_is_staged_before_it_is_installed_and_what_comes_behind_waits() {
    let mut server = linked();
    let mut tree = Tree::new();
    let zxid = Zxid(0x77);
    tree.raise_last_zxid(zxid);
    server.turn(vec![
        Event::Heard(UP, vec![Heard::Snapshot(zxid, Box::new(tree), None)]),
        says(Packet::NewLeader { epoch: Epoch(1) }),
    ]);
    let [Job::Free(_), Job::Stage { mark, .. }] = &server.jobs[..] else {
        panic!("a tree is staged, the old one is freed");
    };
    let mark = *mark;
    assert!(server.disk.is_empty(), "nothing overtakes it");
    assert_eq!(server.shared().tree().last_zxid(), zxid);
    let staged = StagedSnapshot {
        zxid,
        tmp: "snapshot.77.tmp".into(),
        bytes: 100,
    };
    server.turn(vec![Event::Done(Done::Staged(mark, Ok(staged)))]);
    assert!(matches!(server.disk[0], (_, Op::InstallSnapshot(_))));
    assert!(server.disk.len() > 1, "what waited goes behind it");
    packets(&mut server, UP);
    server.sync();
    assert_eq!(kinds(&mut server, UP), [PacketKind::Ack]);
}

/// The leader that it follows next has less than this server has applied: as after a start, when the tree holds the whole log.
#[test]
fn a_tree_that_holds_more_than_the_log_is_read_anew_and_what_comes_behind_the_cut_waits() {
    let mut server = serving();
    for counter in [1, 2] {
        committed(&mut server, at(counter), 7, 0, error(ErrorCode::NoNode));
    }
    server.turn(vec![Event::Ended(UP)]);
    server.sync();
    server.dials.clear();
    for (other, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
        server.turn(vec![Event::Mail(ServerId(other), vote(state, 3))]);
    }
    let [DialAct::Begin { attempt, .. }] = server.dials[..] else {
        panic!("it dials: {:?}", server.dials);
    };
    let next = Link(6);
    let says = |packet| Event::Heard(next, vec![Heard::Core(packet)]);
    server.turn(vec![Event::Dialled(attempt, Some(next))]);
    server.turn(vec![says(Packet::LeaderInfo { epoch: Epoch(2) })]);
    server.sync();
    server.turn(vec![
        says(Packet::Trunc { zxid: at(1) }),
        says(Packet::NewLeader { epoch: Epoch(2) }),
    ]);
    assert!(matches!(server.disk[..], [(_, Op::Truncate { .. })]));
    packets(&mut server, next);
    server.jobs.clear();
    server.sync();
    let [Job::Reload { mark }] = server.jobs[..] else {
        panic!("the tree is read anew");
    };
    assert!(server.disk.is_empty(), "currentEpoch waits for the tree");
    let mut tree = Tree::new();
    tree.raise_last_zxid(at(1));
    server.turn(vec![Event::Done(Done::Reloaded(mark, Ok(Box::new(tree))))]);
    assert_eq!(server.shared().tree().last_zxid(), at(1));
    assert!(matches!(server.disk[..], [(_, Op::CurrentEpoch(Epoch(2)))]));
    assert_eq!(kinds(&mut server, next), []);
    server.sync();
    assert_eq!(kinds(&mut server, next), [PacketKind::Ack]);
}

#[test]
fn serving_ends_with_the_leader_and_clients_go_elsewhere() {
    let mut server = serving();
    let conn = server.conn(7);
    conn.state().phase = ConnPhase::Open;
    server.submit(&conn, 1, sync());
    server.turn(vec![Event::Ended(UP)]);
    assert_eq!(server.mode(), Mode::NotServing);
    assert_eq!(conn.state().phase, ConnPhase::Closed);
    assert_eq!(server.core.peer().state(), ServerState::Looking);
    server.turn(vec![Event::Heard(UP, vec![Heard::Synced])]);
}

#[test]
fn a_timer_of_the_driver_is_heard_only_if_it_runs() {
    let mut server = serving();
    let steps = server.core.steps();
    server.turn(vec![Event::Fired(Timer::Finalize)]);
    assert_eq!(server.core.steps(), steps);
}

/// A transaction that the leader logs and commits.
pub(super) fn committed(server: &mut Server, zxid: Zxid, session: i64, cxid: i32, txn: Txn) {
    let header = TxnHeader {
        session: SessionId(session),
        cxid,
        zxid,
        time: 0,
    };
    let txn = Arc::new(Logged::encode(header, txn, &mut BytesMut::new()));
    server.turn(vec![says(Packet::Proposal { zxid, txn })]);
    server.sync();
    server.turn(vec![says(Packet::Commit { zxid })]);
}

/// A client forwards a create; the number by which its transaction will be known.
pub(super) fn asks(server: &mut Server, conn: &Arc<Conn>, xid: i32) -> i32 {
    server.submit(conn, xid, create("/a"));
    let mut sent = packets(server, UP);
    sent.retain(|packet| packet.kind == PacketKind::Request);
    assert_eq!(sent.len(), 1);
    ForwardedRequest::decode(sent[0].data.as_ref())
        .unwrap()
        .cxid
}

pub(super) fn open(server: &Server, session: i64) -> Arc<Conn> {
    let conn = server.conn(session);
    conn.state().phase = ConnPhase::Open;
    conn
}

const fn at(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

const fn error(code: ErrorCode) -> Txn {
    Txn::Error { code: code.code() }
}

/// C-40: the session has sent xid 1 by another server before it came here, and sends its first request here as xid 1, too.
#[test]
fn c_40_the_transaction_of_another_server_answers_nobody_here() {
    let mut server = serving();
    let conn = open(&server, 7);
    let number = asks(&mut server, &conn, 1);
    let elsewhere = [1, number ^ 1 << 23];
    for (counter, cxid) in (1..).zip(elsewhere) {
        let txn = error(ErrorCode::NodeExists);
        committed(&mut server, at(counter), 7, cxid, txn);
        assert_eq!(answers(&conn), [], "cxid {cxid}");
    }
    committed(&mut server, at(3), 7, number, error(ErrorCode::NoNode));
    assert_eq!(answers(&conn), [(1, ErrorCode::NoNode.code())]);
    assert_eq!(conn.state().phase, ConnPhase::Open);
}

/// C-41: a word about a move that is over, and the answer of a request that was given up before, are nobody's: no connection is
/// closed for them.
#[test]
fn c_41_what_answers_nobody_closes_no_connection() {
    let mut server = serving();
    let (old, new, other) = (open(&server, 7), open(&server, 7), open(&server, 8));
    let given_up = asks(&mut server, &old, 1);
    let of_other = asks(&mut server, &other, 1);
    committed(&mut server, at(1), 8, of_other, error(ErrorCode::NoNode));
    assert_eq!(
        old.state().phase,
        ConnPhase::Closed,
        "the leader has dropped it"
    );
    assert_eq!(answers(&other), [(1, ErrorCode::NoNode.code())]);
    let of_new = asks(&mut server, &new, 1);
    let of_other = asks(&mut server, &other, 2);
    let moved = error(ErrorCode::SessionMoved);
    for (counter, cxid) in (2..).zip([1, given_up, of_other + 1]) {
        committed(&mut server, at(counter), 7, cxid, moved.clone());
        assert_eq!(new.state().phase, ConnPhase::Open, "cxid {cxid}");
        assert_eq!(other.state().phase, ConnPhase::Open, "cxid {cxid}");
    }
    committed(&mut server, at(5), 7, of_new, moved);
    assert_eq!(new.state().phase, ConnPhase::Closed, "this one is its own");
    committed(&mut server, at(6), 8, of_other, error(ErrorCode::NoNode));
    assert_eq!(answers(&other), [(2, ErrorCode::NoNode.code())]);
}
