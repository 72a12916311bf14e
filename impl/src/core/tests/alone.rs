//! A server on its own: requests, sessions, syncs, snapshots, a full disk, the end.

use super::*;

fn server() -> Server {
    let mut server = Server::boot(1, ALONE);
    server.sync();
    assert_eq!(server.mode(), Mode::Standalone);
    server
}

#[test]
fn a_write_is_answered_when_it_is_on_the_disk_and_not_before() {
    let mut server = server();
    let conn = server.client(7);
    assert_eq!(conn.state().phase, ConnPhase::Open);
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 1, create("/a"));
    server.submit(&conn, 2, create("/a"));
    assert_eq!(answers(&conn), []);
    assert!(matches!(
        server.disk[..],
        [(_, Op::Append { .. }), (_, Op::Append { .. })]
    ));
    server.sync();
    assert_eq!(answers(&conn), [(1, 0), (2, -110)]);
}

#[test]
fn only_what_the_disk_has_said_is_answered() {
    let mut server = server();
    let conn = server.client(7);
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 1, create("/a"));
    let first = server.disk.last().map(|(token, _)| *token).unwrap();
    server.submit(&conn, 2, create("/b"));
    server.turn(vec![Event::Disk(worker::Event::Durable { upto: first })]);
    assert_eq!(answers(&conn), [(1, 0)]);
    server.sync();
    assert_eq!(answers(&conn), [(2, 0)]);
}

#[test]
fn a_sync_is_answered_behind_what_was_logged_before_it_and_before_what_comes_later() {
    let mut server = server();
    let (one, other) = (server.client(7), server.client(8));
    for conn in [&one, &other] {
        conn.state().take_out(&mut BytesMut::new());
    }
    server.submit(&other, 1, sync());
    assert_eq!(answers(&other), [(1, 0)], "nothing is open");
    server.submit(&one, 1, create("/a"));
    server.submit(&other, 2, sync());
    assert_eq!(answers(&other), []);
    server.submit(&one, 2, create("/b"));
    server.sync();
    let reply = |conn: &Conn| {
        let mut out = BytesMut::new();
        conn.state().take_out(&mut out);
        let mut frames = Vec::new();
        split(&mut out, 1 << 20, &mut frames).unwrap();
        ReplyFrame::split(&frames[0]).unwrap().header.zxid
    };
    assert_eq!(
        reply(&other),
        reply(&one),
        "of the first write, not the second"
    );
}

/// C-47: what is counted of a request that waits is its own length.
#[test]
fn c_47_what_waits_for_the_disk_keeps_nothing_of_what_was_read_with_it() {
    for lines in [ALONE, "audit.enable=true\n"] {
        let mut server = Server::boot(1, lines);
        server.sync();
        let conn = server.client(7);
        conn.state().take_out(&mut BytesMut::new());
        let memory = ask_all(&mut server, &conn);
        assert_eq!(answers(&conn), []);
        let is_free: Vec<bool> = memory.iter().map(Bytes::is_unique).collect();
        assert_eq!(is_free, [true; 3], "{lines}");
        server.sync();
        assert_eq!(answers(&conn), [(1, 0), (2, 0), (3, 0)]);
    }
}

#[test]
fn a_session_that_is_silent_for_its_timeout_ends_and_one_that_is_heard_does_not() {
    let mut server = server();
    let (silent, heard) = (server.client(7), server.client(8));
    for _ in 0..10 {
        heard.hear(server.now_ms);
        server.pass(TICK_MS);
        server.sync();
    }
    assert_eq!(silent.state().phase, ConnPhase::Closing);
    assert_eq!(heard.state().phase, ConnPhase::Open);
    let shared = server.shared();
    let sessions: Vec<_> = shared.tree().sessions().map(|(id, _)| id.0).collect();
    assert_eq!(sessions, [8]);
}

#[test]
fn after_a_stall_sessions_have_their_full_timeouts_again() {
    let mut server = server();
    let conn = server.client(7);
    server.now_ms += 60_000;
    server.turn(vec![]);
    server.sync();
    server.pass(u64::from(TIMEOUT_MS.cast_unsigned()) - TICK_MS);
    assert_eq!(conn.state().phase, ConnPhase::Open);
    server.pass(4 * TICK_MS);
    server.sync();
    assert_eq!(conn.state().phase, ConnPhase::Closing);
}

#[test]
fn c_84_clients_are_held_up_by_what_waits_and_are_not_silent_meanwhile() {
    let mut server = Server::boot(1, "zabra.outstandingBytes=1048576\n");
    server.sync();
    let (writer, idle) = (server.client(7), server.client(8));
    let large = Request::Write(WriteOp::SetData {
        path: Some("/a".into()),
        data: Some(Bytes::from(vec![0; 1 << 20])),
        version: -1,
    });
    server.submit(&writer, 1, create("/a"));
    server.sync();
    server.submit(&writer, 2, large);
    assert!(server.out.hold_clients && !server.out.hold_leader);
    let asked = server.disk.len();
    server.pass(20 * TICK_MS);
    assert_eq!(server.disk.len(), asked, "no session's end is proposed");
    assert_eq!(
        idle.state().phase,
        ConnPhase::Open,
        "nobody has read what it says"
    );
    server.sync();
    assert!(!server.out.hold_clients);
    server.pass(20 * TICK_MS);
    server.sync();
    assert_eq!(idle.state().phase, ConnPhase::Closing);
}

#[test]
fn c_10_without_room_writes_are_refused_in_turn_and_sessions_do_not_end() {
    let mut server = server();
    let conn = server.client(7);
    conn.state().take_out(&mut BytesMut::new());
    let full = || worker::Event::Full {
        what: "append",
        error: "no space".into(),
    };
    server.turn(vec![Event::Disk(full())]);
    server.submit(&conn, 1, create("/a"));
    assert_eq!(answers(&conn), [(1, -7)]);
    server.submit(&conn, 2, sync());
    assert_eq!(
        answers(&conn),
        [(2, 0)],
        "nothing is open, so it needs no room"
    );
    let new = server.conn(9);
    let connect = Connect::New(SessionId(9));
    server.turn(vec![Event::Connect(Arc::clone(&new), connect)]);
    assert_eq!(new.state().phase, ConnPhase::Closed);
    let silent = server.client(8);
    assert_eq!(silent.state().phase, ConnPhase::Closed);
    for _ in 0..20 {
        conn.hear(server.now_ms);
        server.pass(TICK_MS);
    }
    assert!(server.disk.is_empty());
    server.turn(vec![Event::Disk(worker::Event::Room)]);
    server.submit(&conn, 3, create("/a"));
    server.sync();
    assert_eq!(answers(&conn), [(3, 0)]);
}

#[test]
fn c_45_requests_of_a_session_that_is_over_are_dropped() {
    let mut server = server();
    let conn = server.client(7);
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 1, Request::Write(WriteOp::CloseSession));
    server.submit(&conn, 2, create("/a"));
    server.sync();
    assert_eq!(answers(&conn), [(1, 0)]);
    assert_eq!(conn.state().phase, ConnPhase::Closing);
    let nobody = server.conn(99);
    nobody.state().phase = ConnPhase::Open;
    server.submit(&nobody, 1, create("/a"));
    assert_eq!(nobody.state().phase, ConnPhase::Closed);
}

#[test]
fn a_session_goes_on_over_another_connection_and_the_old_one_ends() {
    let mut server = server();
    let old = server.client(7);
    let (new, unknown) = (server.conn(7), server.conn(99));
    let again = |conn: &Arc<Conn>| {
        let connect = Connect::Again(conn.session());
        Event::Connect(Arc::clone(conn), connect)
    };
    server.turn(vec![again(&new), again(&unknown)]);
    assert_eq!(new.state().phase, ConnPhase::Open);
    assert_eq!(old.state().phase, ConnPhase::Closed);
    assert_eq!(unknown.state().phase, ConnPhase::Closing);
}

fn snapshot_job(server: &mut Server) -> Option<zabra_model::service::snapshots::Generation> {
    server.jobs.drain(..).find_map(|job| match job {
        Job::Snapshot { generation, .. } => Some(generation),
        _ => None,
    })
}

#[test]
fn c_8_a_snapshot_is_begun_published_and_tried_again_when_it_fails() {
    let mut server = Server::boot(1, "snapCount=4\n");
    server.sync();
    let conn = server.client(7);
    for xid in 1..=4 {
        server.submit(&conn, xid, create(&format!("/n{xid}")));
        server.sync();
    }
    let generation = snapshot_job(&mut server).expect("it is due");
    let failed = Done::Snapshot(generation, Err("no room".into()));
    server.turn(vec![Event::Done(failed)]);
    assert!(server.disk.is_empty() && snapshot_job(&mut server).is_none());
    server.now_ms += 10_000;
    server.turn(vec![]);
    let generation = snapshot_job(&mut server).expect("it is tried again");
    let staged = StagedSnapshot {
        zxid: Zxid(5),
        tmp: "snapshot.5.tmp".into(),
        bytes: 100,
    };
    server.turn(vec![Event::Done(Done::Snapshot(generation, Ok(staged)))]);
    let publishes = |op: &(u64, Op)| matches!(op, (_, Op::PublishSnapshot(_)));
    assert_eq!(server.disk.iter().filter(|op| publishes(op)).count(), 1);
}

#[test]
fn old_files_are_removed_every_so_many_hours() {
    let mut server = Server::boot(
        1,
        "autopurge.purgeInterval=2\nautopurge.snapRetainCount=3\n",
    );
    server.sync();
    server.now_ms += 2 * 3_600_000 - 1;
    server.turn(vec![]);
    assert!(server.disk.is_empty());
    server.now_ms += 1;
    server.turn(vec![]);
    assert!(matches!(
        server.disk[..],
        [(_, Op::Purge { retain: 3, .. })]
    ));
}

/// However long a server runs, its log does not grow without end: its base rises to the oldest snapshot that is kept.
#[test]
fn a_purge_keeps_the_log_from_the_oldest_snapshot_that_is_kept() {
    let lines = "snapCount=2\nautopurge.purgeInterval=1s\n";
    let mut server = Server::boot(1, lines);
    server.sync();
    let conn = server.client(7);
    let mut snapshots = Vec::new();
    for xid in 1..=20 {
        server.submit(&conn, xid, create(&format!("/n{xid}")));
        server.sync();
        let Some(generation) = snapshot_job(&mut server) else {
            continue;
        };
        let zxid = server.core.peer().delivered();
        snapshots.push(zxid);
        let staged = StagedSnapshot {
            zxid,
            tmp: "snapshot.tmp".into(),
            bytes: 100,
        };
        server.turn(vec![Event::Done(Done::Snapshot(generation, Ok(staged)))]);
        server.sync();
        server.now_ms += 1000;
        server.turn(vec![]);
        let purged = server.disk.iter().find_map(|op| match op {
            (_, Op::Purge { retain: 3, base }) => Some(*base),
            _ => None,
        });
        let kept = snapshots.len().checked_sub(3).map(|at| snapshots[at]);
        assert_eq!(purged, Some(kept.unwrap_or(Zxid::ZERO)), "{snapshots:?}");
        server.sync();
    }
    assert!(snapshots.len() > 4, "{snapshots:?}");
}

/// As in ZooKeeper: nodes are dated by the clock of the leader, also when somebody sets that back. Order is the zxid's.
#[test]
fn a_write_is_dated_by_the_clock_also_when_that_goes_back() {
    let mut server = server();
    let conn = server.client(7);
    let date_ms = server.date_ms;
    server.submit(&conn, 1, create("/a"));
    server.date_ms -= 60_000;
    let set = WriteOp::SetData {
        path: Some("/a".into()),
        data: None,
        version: -1,
    };
    server.submit(&conn, 2, Request::Write(set));
    server.sync();
    let shared = server.shared();
    let tree = shared.tree();
    let stat = tree.find("/a").unwrap().stat();
    let times = [date_ms, date_ms - 60_000].map(|ms| i64::try_from(ms).unwrap());
    assert_eq!([stat.ctime, stat.mtime], times);
    assert!(stat.mzxid > stat.czxid);
}

/// What a harness proposes has no session; what it has settled is applied, however much that is.
#[test]
fn a_harness_proposes_and_settles() {
    let mut server = server();
    let refusal = || zabra_model::tree::txn::Txn::Error { code: -101 };
    let events = (0..3000).map(|_| Event::Propose(refusal()));
    server.turn(events.collect());
    server.sync();
    let applied = |server: &Server| server.shared().tree().last_zxid();
    let last = server.core.peer().last_logged();
    assert_eq!(server.core.peer().delivered(), last);
    assert!(applied(&server) < last, "a turn applies a part of it");
    server.turn(vec![Event::Settle]);
    assert_eq!(applied(&server), last);
}

#[test]
fn a_failed_disk_ends_the_server() {
    let mut server = server();
    let failed = worker::Event::Failed {
        what: "append",
        error: "EIO".into(),
    };
    let (mut events, mut out) = (vec![Event::Disk(failed)], Box::default());
    let ended = server.core.turn(Now::default(), &mut events, &mut out);
    assert!(ended.unwrap_err().to_string().contains("append: EIO"));
}

#[test]
fn the_end_closes_all_connections_and_nothing_is_heard_behind_it() {
    let mut server = server();
    let conn = server.client(7);
    let late = server.request(&conn, 1, create("/a"));
    let late = Event::Submitted(Arc::clone(&conn), vec![late]);
    server.turn(vec![Event::Shutdown, late]);
    assert!(server.out.ended && server.disk.is_empty());
    // What it was answered, that its session has begun, is sent before it ends.
    assert_eq!(conn.state().phase, ConnPhase::Closing);
    assert_eq!(server.mode(), Mode::NotServing);
}

#[test]
fn who_was_sent_away_and_is_not_gone_yet_is_not_counted_again() {
    let mut server = server();
    let conns: Vec<_> = (1..=4).map(|session| server.client(session)).collect();
    let shared = server.shared();
    assert_eq!(
        (shared.shed(50), shared.shed(100), shared.shed(100)),
        (2, 2, 0)
    );
    let closed = conns
        .iter()
        .filter(|conn| conn.state().phase == ConnPhase::Closed);
    assert_eq!(closed.count(), 4);
}
