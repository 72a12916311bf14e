//! Cases from the field, on a server alone: how sessions end, and how containers do. Those of a follower and of a leader stand
//! beside the other tests of them.

use super::*;
use zabra_model::service::tracker::EXPIRING_MAX;

/// C-49: what many sessions leave behind when they end together is cut into pieces, and another client's write comes between.
#[test]
fn c_49_sessions_that_end_together_are_closed_at_a_pace() {
    const SESSIONS: i64 = 600;
    let mut server = Server::boot(1, ALONE);
    server.sync();
    let heard = server.client(1);
    heard.state().take_out(&mut BytesMut::new());
    for session in 2..2 + SESSIONS {
        let conn = server.client(session);
        let path = format!("/e{session}");
        server.submit(&conn, 1, create_as(CreateKind::Create, &path, 1));
    }
    server.sync();
    let mut turns = 0;
    while server.disk.is_empty() {
        heard.hear(server.now_ms);
        server.pass(TICK_MS / 10);
        turns += 1;
        assert!(turns < 100, "they are silent");
    }
    assert_eq!(server.disk.len(), EXPIRING_MAX);
    server.submit(&heard, 1, create("/between"));
    assert_eq!(server.disk.len(), EXPIRING_MAX + 1);
    let behind = server.disk.last().map(|(token, _)| *token).unwrap();
    server.turn(vec![Event::Disk(worker::Event::Durable { upto: behind })]);
    assert_eq!(answers(&heard), [(1, 0)]);
    let left = |server: &Server| server.shared().tree().sessions().len();
    assert_eq!(left(&server), 1 + 600 - EXPIRING_MAX, "others wait");
    server.sync();
    for _ in 0..10 {
        heard.hear(server.now_ms);
        server.pass(TICK_MS / 10);
        server.sync();
    }
    assert_eq!(left(&server), 1);
    assert!(server.shared().tree().find("/e2").is_none());
    assert!(server.shared().tree().find("/between").is_some());
}

/// C-50: a timeout of two ticks ends a tick after it has run out, at the latest, and not before.
#[test]
fn c_50_a_silent_session_ends_within_its_timeout_and_a_tick() {
    for began_ms in [0, 100, 300, 400] {
        let mut server = Server::boot(1, "tickTime=500\n");
        server.sync();
        server.pass(began_ms);
        let conn = server
            .shared()
            .connect(([127, 0, 0, 1], 1).into(), Arc::new(Silent));
        conn.bind(SessionId(7), 1000);
        let connect = Connect::New(SessionId(7));
        server.turn(vec![Event::Connect(Arc::clone(&conn), connect)]);
        server.sync();
        server.pass(900);
        server.sync();
        assert_eq!(conn.state().phase, ConnPhase::Open, "{began_ms}");
        server.pass(600);
        server.sync();
        assert_eq!(conn.state().phase, ConnPhase::Closing, "{began_ms}");
    }
}

/// C-51: both settings are followed: how often containers are looked at, and how old one becomes that never had a child.
#[test]
fn c_51_containers_are_deleted_as_the_settings_say() {
    const EVERY: &str = "znode.container.checkIntervalMs=5000\n";
    for (never_used, goes) in [
        ("znode.container.maxNeverUsedIntervalMs=2000\n", true),
        ("", false),
    ] {
        let mut server = Server::boot(1, &format!("{EVERY}{never_used}"));
        server.sync();
        let conn = server.client(7);
        let container = |path| create_as(CreateKind::Container, path, 4);
        server.submit(&conn, 1, container("/never"));
        server.submit(&conn, 2, container("/used"));
        server.submit(&conn, 3, create("/used/child"));
        let delete = WriteOp::Delete {
            path: Some("/used/child".into()),
            version: -1,
        };
        server.submit(&conn, 4, Request::Write(delete));
        server.sync();
        let there = |server: &Server, path| server.shared().tree().find(path).is_some();
        let pass = |server: &mut Server, ms: u64| {
            for _ in 0..ms / 100 {
                conn.hear(server.now_ms);
                server.pass(100);
                server.sync();
            }
        };
        pass(&mut server, 4800);
        assert!(there(&server, "/used") && there(&server, "/never"));
        pass(&mut server, 400);
        assert!(!there(&server, "/used"), "its last child has gone");
        pass(&mut server, 5000);
        assert_eq!(there(&server, "/never"), !goes);
    }
}
