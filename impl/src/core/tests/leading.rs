//! A leader of three: who is let in, what learners bring, who is given up.

use super::*;
use crate::wire::quorum::ForwardedRequest;
use zabra_model::tree::acl::Id;

pub(super) const TWO: Link = Link(2);

fn accepted(link: Link, sid: u64, from: u8, expected: bool) -> Event {
    let claim = Claim {
        sid: ServerId(sid),
        observer: false,
    };
    Event::Accepted {
        link,
        from: [127, 0, 0, from].into(),
        expected,
        hello: Some(Hello {
            claim,
            accepted: Epoch(0),
            members: Zxid::ZERO,
        }),
    }
}

pub(super) fn says(link: Link, packet: Packet<crate::wire::payload::Payload>) -> Event {
    Event::Heard(link, vec![Heard::Core(packet)])
}

/// Server 3, elected by all, with nobody to lead yet.
fn elected() -> Server {
    elected_with("")
}

/// The same, with these lines in its file.
fn elected_with(lines: &str) -> Server {
    let mut server = Server::boot(3, &format!("{lines}{OF_THREE}"));
    for other in [1, 2] {
        let vote = vote(ServerState::Looking, 3);
        server.turn(vec![Event::Mail(ServerId(other), vote)]);
    }
    server.pass(300);
    assert_eq!(server.core.peer().state(), ServerState::Leading);
    server
}

/// The same, with server 2 behind it, serving in epoch 1.
pub(super) fn serving() -> Server {
    serving_with("")
}

fn serving_with(lines: &str) -> Server {
    let mut server = elected_with(lines);
    server.turn(vec![accepted(TWO, 2, 2, true)]);
    assert!(opens(&server, TWO));
    join(&mut server, TWO);
    assert_eq!(server.mode(), Mode::Leader);
    server
}

fn join(server: &mut Server, link: Link) {
    server.sync();
    let ack = Packet::AckEpoch {
        last: Zxid::ZERO,
        current: Some(Epoch(0)),
    };
    server.turn(vec![says(link, ack)]);
    server.sync();
    let zxid = Zxid::new(Epoch(1), 0);
    server.turn(vec![says(link, Packet::Ack { zxid })]);
    server.sync();
}

/// The learner acknowledges all that the leader has logged.
pub(super) fn acknowledge(server: &mut Server) {
    let last = server.core.peer().last_logged();
    for counter in 1..=last.counter() {
        let zxid = Zxid::new(last.epoch(), counter);
        server.turn(vec![says(TWO, Packet::Ack { zxid })]);
    }
}

pub(super) fn forwarded(session: i64, cxid: i32, what: &Request) -> Event {
    let mut record = BytesMut::new();
    what.put_record(&mut record);
    let request = ForwardedRequest {
        session: SessionId(session),
        cxid,
        opcode: what.opcode(),
        record: record.freeze(),
    };
    Event::Heard(TWO, vec![Heard::Request(request, None)])
}

pub(super) fn begin_session() -> Request {
    Request::Write(WriteOp::CreateSession {
        timeout_ms: TIMEOUT_MS,
    })
}

#[test]
fn a_learner_that_is_quicker_waits_and_is_let_in_when_this_server_leads() {
    let mut server = Server::boot(3, OF_THREE);
    server.turn(vec![
        accepted(Link(1), 1, 1, true),
        accepted(TWO, 2, 2, true),
    ]);
    assert!(!opens(&server, TWO) && !closes(&server, TWO));
    server.turn(vec![Event::Ended(Link(1))]);
    for other in [1, 2] {
        let vote = vote(ServerState::Looking, 3);
        server.turn(vec![Event::Mail(ServerId(other), vote)]);
    }
    server.pass(300);
    assert!(opens(&server, TWO));
    assert!(!opens(&server, Link(1)), "it has gone meanwhile");
}

#[test]
fn a_write_is_committed_by_its_own_disk_and_a_learner_together() {
    let mut server = serving();
    let conn = server.conn(7);
    let connect = Connect::New(SessionId(7));
    server.turn(vec![Event::Connect(Arc::clone(&conn), connect)]);
    server.sync();
    assert_eq!(conn.state().phase, ConnPhase::Connecting, "one of three");
    packets(&mut server, TWO);
    acknowledge(&mut server);
    assert_eq!(conn.state().phase, ConnPhase::Open);
    assert_eq!(kinds(&mut server, TWO), [PacketKind::Commit]);
}

#[test]
fn what_a_learner_forwards_is_proposed_and_its_sync_is_answered_behind_the_commit() {
    let mut server = serving();
    packets(&mut server, TWO);
    server.turn(vec![
        forwarded(9, 5, &begin_session()),
        forwarded(9, 0, &sync()),
    ]);
    let sent = packets(&mut server, TWO);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].kind, PacketKind::Proposal);
    server.sync();
    acknowledge(&mut server);
    assert_eq!(
        kinds(&mut server, TWO),
        [PacketKind::Commit, PacketKind::Sync]
    );
    server.turn(vec![forwarded(9, 0, &sync())]);
    assert_eq!(
        kinds(&mut server, TWO),
        [PacketKind::Sync],
        "nothing is open"
    );
}

/// D-112: with `zabra.syncWaitsForQuorum` a sync is answered behind a transaction that was proposed after it had come, whoever asks; all of a
/// turn share one, and a write of the same turn is one, too.
#[test]
fn a_sync_waits_for_a_quorum_where_that_is_asked_for() {
    let mut server = serving_with("zabra.syncWaitsForQuorum=true\n");
    let conn = server.client(7);
    acknowledge(&mut server);
    assert_eq!(answers(&conn).len(), 1, "the session");
    let logged = |server: &Server| server.core.peer().last_logged().counter();
    let before = logged(&server);
    packets(&mut server, TWO);
    let own = server.request(&conn, 1, sync());
    server.turn(vec![
        Event::Submitted(Arc::clone(&conn), vec![own]),
        forwarded(9, 0, &sync()),
    ]);
    server.sync();
    assert_eq!(logged(&server), before + 1, "one for both");
    assert_eq!(
        (answers(&conn), kinds(&mut server, TWO)),
        (vec![], vec![PacketKind::Proposal])
    );
    acknowledge(&mut server);
    assert_eq!(answers(&conn), [(1, 0)]);
    assert_eq!(
        kinds(&mut server, TWO),
        [PacketKind::Commit, PacketKind::Sync]
    );
    // What is proposed before a sync in its own turn has not left before that had come.
    let write = server.request(&conn, 2, create("/n"));
    let behind = server.request(&conn, 3, sync());
    server.turn(vec![Event::Submitted(
        Arc::clone(&conn),
        vec![write, behind],
    )]);
    assert_eq!(logged(&server), before + 2);
    // What was proposed in an earlier turn may have been acknowledged before.
    server.submit(&conn, 4, sync());
    assert_eq!(logged(&server), before + 3);
    server.sync();
    acknowledge(&mut server);
    assert_eq!(answers(&conn), [(2, 0), (3, 0), (4, 0)]);
}

#[test]
fn c_80_a_learner_that_is_not_synchronized_has_nothing_to_ask() {
    let mut server = serving();
    let new = Link(1);
    server.turn(vec![accepted(new, 1, 1, true)]);
    packets(&mut server, new);
    let asked = server.disk.len();
    for what in [begin_session(), sync()] {
        let Event::Heard(_, heard) = forwarded(9, 5, &what) else {
            unreachable!("a request is heard")
        };
        server.turn(vec![Event::Heard(new, heard)]);
    }
    assert_eq!(kinds(&mut server, new), []);
    assert_eq!(server.disk.len(), asked, "nothing is proposed");
}

/// C-80: what a learner says of its client counts, but for the super user, as none is configured here.
#[test]
fn c_80_the_super_user_of_a_learner_is_not_believed() {
    let id = |scheme: &str| Id {
        scheme: scheme.into(),
        id: "u:x".into(),
    };
    let mut server = serving();
    server.turn(vec![forwarded(9, 5, &begin_session())]);
    let mut asks = |what: Request, by: &str| {
        let Event::Heard(link, mut heard) = forwarded(9, 6, &what) else {
            unreachable!("a request is heard")
        };
        if let [Heard::Request(_, ids)] = &mut heard[..] {
            *ids = Some([id(by)].into());
        }
        server.turn(vec![Event::Heard(link, heard)]);
        server.sync();
        acknowledge(&mut server);
        let shared = server.shared();
        let tree = shared.tree();
        tree.find("/a").map(|node| node.stat().version)
    };
    let Request::Write(mut make) = create("/a") else {
        unreachable!("it is a write")
    };
    if let WriteOp::Create { acl: Some(acl), .. } = &mut make {
        acl[0].id = id("digest");
    }
    let change = || {
        Request::Write(WriteOp::SetData {
            path: Some("/a".into()),
            data: None,
            version: -1,
        })
    };
    assert_eq!(asks(Request::Write(make), "digest"), Some(0));
    assert_eq!(asks(change(), "super"), Some(0), "NoAuth");
    assert_eq!(asks(change(), "digest"), Some(1));
}

#[test]
fn a_learner_whose_first_packet_is_held_back_is_linked_and_named_by_that_packet() {
    let mut server = elected();
    let hidden = |link| Event::Accepted {
        link,
        from: [127, 0, 0, 2].into(),
        expected: false,
        hello: None,
    };
    server.turn(vec![hidden(TWO)]);
    assert!(opens(&server, TWO));
    let info = Packet::FollowerInfo {
        sid: ServerId(2),
        accepted: Epoch(0),
    };
    server.turn(vec![says(TWO, info)]);
    join(&mut server, TWO);
    assert_eq!(server.mode(), Mode::Leader);
    server.turn(vec![accepted(Link(9), 2, 9, false)]);
    assert!(closes(&server, Link(9)), "the id has a link that answers");
}

#[test]
fn a_frame_of_a_link_that_was_closed_is_nobodys() {
    let mut server = serving();
    server.turn(vec![Event::Ended(TWO)]);
    let steps = server.core.steps();
    let zxid = Zxid::new(Epoch(1), 0);
    server.turn(vec![says(TWO, Packet::Ack { zxid })]);
    server.turn(vec![forwarded(9, 5, &begin_session())]);
    assert_eq!(server.core.steps(), steps);
}

#[test]
fn a_session_goes_on_at_a_learner_if_the_leader_knows_it() {
    let mut server = serving();
    server.turn(vec![forwarded(9, 5, &begin_session())]);
    server.sync();
    acknowledge(&mut server);
    packets(&mut server, TWO);
    for (session, valid) in [(9, true), (10, false)] {
        let data = crate::wire::quorum::encode_revalidate(SessionId(session), TIMEOUT_MS);
        server.turn(vec![Event::Heard(TWO, vec![Heard::Revalidate(data)])]);
        let sent = packets(&mut server, TWO);
        let data = sent[0].data.as_ref();
        let told = crate::wire::quorum::decode_revalidated(data).unwrap();
        assert_eq!(told, (SessionId(session), valid));
    }
}

#[test]
fn sessions_that_a_learner_reports_live_on() {
    let mut server = serving();
    server.turn(vec![
        forwarded(9, 5, &begin_session()),
        forwarded(10, 5, &begin_session()),
    ]);
    server.sync();
    acknowledge(&mut server);
    for _ in 0..10 {
        let table = vec![(SessionId(9), TIMEOUT_MS)];
        let zxid = server.core.peer().last_logged();
        let ping = Heard::Ping(zxid, table);
        server.turn(vec![Event::Heard(TWO, vec![ping])]);
        server.pass(TICK_MS);
        server.sync();
        acknowledge(&mut server);
    }
    let shared = server.shared();
    let sessions: Vec<_> = shared.tree().sessions().map(|(id, _)| id.0).collect();
    assert_eq!(sessions, [9]);
}

#[test]
fn c_80_a_second_claim_of_an_id_that_answers_is_turned_away() {
    let mut server = serving();
    server.turn(vec![accepted(Link(9), 2, 9, false)]);
    assert!(closes(&server, Link(9)) && !closes(&server, TWO));
}

#[test]
fn c_80_a_silent_link_gives_way_to_a_claim_of_its_id() {
    let mut server = serving();
    server.pass(TICK_MS + 100);
    server.turn(vec![accepted(Link(9), 2, 2, true)]);
    assert!(closes(&server, TWO) && opens(&server, Link(9)));
}

#[test]
fn c_82_strangers_that_dial_again_and_again_keep_no_member_out() {
    let mut server = elected();
    for at in 0..20 {
        server.turn(vec![accepted(Link(100 + at), 2, 9, false)]);
        server.pass(100);
    }
    server.turn(vec![accepted(TWO, 2, 2, true)]);
    assert!(opens(&server, TWO), "it is where the configuration says");
    join(&mut server, TWO);
    assert_eq!(server.mode(), Mode::Leader);
}

#[test]
fn c_84_a_learner_that_is_not_needed_is_cut_off_when_too_much_waits_for_it() {
    let mut server = serving();
    server.turn(vec![Event::Behind(TWO)]);
    assert!(!closes(&server, TWO), "without it there is no quorum");
    server.turn(vec![accepted(Link(1), 1, 1, true)]);
    let ack = Packet::AckEpoch {
        last: Zxid::ZERO,
        current: Some(Epoch(0)),
    };
    server.turn(vec![says(Link(1), ack)]);
    let zxid = Zxid::new(Epoch(1), 0);
    server.turn(vec![says(Link(1), Packet::Ack { zxid })]);
    server.turn(vec![Event::Behind(TWO)]);
    assert!(closes(&server, TWO));
}

#[test]
fn c_10_a_leader_without_room_gives_its_place_up() {
    let mut server = serving();
    let full = worker::Event::Full {
        what: "append",
        error: "no space".into(),
    };
    server.turn(vec![Event::Disk(full)]);
    assert!(closes(&server, TWO));
    assert_eq!(server.core.peer().state(), ServerState::Looking);
    assert_eq!(server.mode(), Mode::NotServing);
}

#[test]
fn serving_ends_with_the_quorum_and_nobody_is_answered() {
    let mut server = serving();
    let conn = server.conn(7);
    let connect = Connect::New(SessionId(7));
    server.turn(vec![Event::Connect(Arc::clone(&conn), connect)]);
    server.turn(vec![Event::Ended(TWO)]);
    server.pass(5 * TICK_MS);
    assert_eq!(server.core.peer().state(), ServerState::Looking);
    assert_eq!(conn.state().phase, ConnPhase::Closed);
}

/// C-81: the epoch that an observer names is no one's business, and that of a follower may not be far above ours.
#[test]
fn c_81_no_stranger_uses_up_the_epochs() {
    let claims = |link, observer| {
        let mut event = accepted(link, 1, 1, true);
        if let Event::Accepted {
            hello: Some(hello), ..
        } = &mut event
        {
            hello.claim.observer = observer;
            hello.accepted = Epoch(0xffff_fffe);
        }
        event
    };
    let mut server = elected();
    server.turn(vec![claims(Link(8), false)]);
    assert!(closes(&server, Link(8)), "so far above ours is no epoch");
    server.turn(vec![claims(Link(9), true)]);
    assert!(!closes(&server, Link(9)));
    server.turn(vec![accepted(TWO, 2, 2, true)]);
    join(&mut server, TWO);
    assert_eq!(server.mode(), Mode::Leader);
    assert_eq!(server.core.peer().durable().accepted, Epoch(1));
}

/// C-83: a learner that speaks and whose disk stands still is given up, and without a quorum the lead is, too.
#[test]
fn c_83_a_learner_whose_disk_stands_still_counts_no_more() {
    for stands_still in [false, true] {
        let mut server = serving();
        server.turn(vec![forwarded(9, 5, &begin_session())]);
        server.sync();
        let last = server.core.peer().last_logged();
        // syncLimit is two ticks; the count begins at the next half tick.
        for _ in 0..5 {
            if !stands_still {
                acknowledge(&mut server);
            }
            let ping = Heard::Ping(last, vec![(SessionId(9), TIMEOUT_MS)]);
            server.turn(vec![Event::Heard(TWO, vec![ping])]);
            server.pass(TICK_MS / 2);
            server.sync();
        }
        assert_eq!(closes(&server, TWO), stands_still);
        let leads = server.core.peer().state() == ServerState::Leading;
        assert_eq!(leads, !stands_still);
    }
}
