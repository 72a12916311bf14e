//! Slow requests: what the log says of them, stage by stage. Time is that of the test, and so is the disk.

use super::leading::{acknowledge, serving};
use super::*;
use crate::client::conn::Waiting;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use zabra_model::tree::op::ReadOp;

/// What the log says.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines about slow requests that this says.
fn said(act: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let sink = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || sink.clone())
        .finish();
    tracing::subscriber::with_default(log, act);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let slow = |line: &&str| line.contains("a request was slow");
    text.lines().filter(slow).map(str::to_owned).collect()
}

/// The request was read now.
fn read_now(server: &mut Server, conn: &Arc<Conn>, xid: i32, what: Request) {
    let mut submit = server.request(conn, xid, what);
    submit.read_ms = server.now_ms;
    server.turn(vec![Event::Submitted(Arc::clone(conn), vec![submit])]);
}

fn has(line: &str, fields: &[&str]) {
    for field in fields {
        assert!(line.contains(field), "{field} is not in: {line}");
    }
}

fn slow_requests(server: &Server) -> u64 {
    let counted = &server.shared().stats.slow_requests;
    counted.load(Ordering::Relaxed)
}

#[test]
fn a_write_that_waits_for_a_slow_disk_is_told_once_with_the_time_of_each_stage() {
    let mut server = Server::boot(1, ALONE);
    server.sync();
    let conn = server.client(7);
    let lines = said(|| {
        read_now(&mut server, &conn, 1, create("/quick"));
        server.now_ms += 1000;
        server.sync();
        read_now(&mut server, &conn, 2, create("/slow"));
        read_now(&mut server, &conn, 3, create("/as_slow"));
        server.now_ms += 1001;
        server.sync();
    });
    assert_eq!(answers(&conn).len(), 4, "with the session");
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(
        &lines[0],
        &[
            "operation=\"create\"",
            "session=0x7",
            "xid=2",
            "path=\"/slow\"",
            "zxid=0x100000003",
            "took_ms=1001",
            "queue_ms=0",
            "propose_ms=0",
            "sync_ms=1001",
            "quorum_ms=0",
            "apply_ms=0",
            "for the disk of this server's log",
        ],
    );
    assert_eq!(slow_requests(&server), 2, "one was told, both are counted");
}

#[test]
fn a_write_that_waits_for_a_quorum_is_told_so_and_nothing_is_where_no_threshold_is() {
    let mut server = serving();
    let conn = server.client(7);
    acknowledge(&mut server);
    let lines = said(|| {
        server.now_ms += 200;
        let mut submit = server.request(&conn, 1, create("/a"));
        submit.read_ms = server.now_ms - 50;
        server.turn(vec![Event::Submitted(Arc::clone(&conn), vec![submit])]);
        server.now_ms += 100;
        server.sync();
        server.now_ms += 1300;
        acknowledge(&mut server);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(
        &lines[0],
        &[
            "took_ms=1450",
            "queue_ms=50",
            "propose_ms=0",
            "sync_ms=100",
            "quorum_ms=1300",
            "apply_ms=0",
            "for a quorum",
        ],
    );
    let mut server = Server::boot(1, "zabra.slowRequestMs=0\n");
    server.sync();
    let conn = server.client(7);
    let lines = said(|| {
        read_now(&mut server, &conn, 1, create("/a"));
        server.now_ms += 3000;
        server.sync();
    });
    assert_eq!((lines.len(), slow_requests(&server)), (0, 0));
}

#[test]
fn a_read_that_waits_behind_a_write_of_its_session_and_a_slow_sync_are_told_with_their_paths() {
    let mut server = Server::boot(1, "zabra.slowRequestMs=400\n");
    server.sync();
    let conn = server.client(7);
    let (read_ms, path) = (server.now_ms, "/read\x1b[31m".into());
    let lines = said(|| {
        let write = server.request(&conn, 1, create("/w"));
        let request = Request::Read(ReadOp::Exists { path, watch: false });
        let waiting = Waiting {
            xid: 2,
            read_ms,
            request,
        };
        assert!(conn.state().order.push_read(waiting, 10).is_none());
        server.now_ms += 300;
        let write = Submit {
            read_ms: server.now_ms,
            ..write
        };
        server.turn(vec![Event::Submitted(Arc::clone(&conn), vec![write])]);
        server.now_ms += 200;
        server.sync();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(
        &lines[0],
        &[
            "operation=\"exists\"",
            "xid=2",
            "path=\"/read\\u{1b}[31m\"",
            "took_ms=500",
            "behind earlier requests",
        ],
    );
    assert!(!lines[0].contains("sync_ms") && !lines[0].contains("zxid"));

    let mut server = Server::boot(1, "zabra.slowRequestMs=400\n");
    server.sync();
    let conn = server.client(7);
    server.now_ms += 300;
    let lines = said(|| {
        read_now(&mut server, &conn, 1, create("/w"));
        let mut submit = server.request(&conn, 2, sync());
        submit.read_ms = server.now_ms.saturating_sub(300);
        let took_ms = server.now_ms - submit.read_ms + 300;
        assert!(took_ms > 400);
        server.turn(vec![Event::Submitted(Arc::clone(&conn), vec![submit])]);
        server.now_ms += 300;
        server.sync();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(&lines[0], &["operation=\"sync\"", "xid=2", "path=\"/\""]);
    assert_eq!(slow_requests(&server), 1);
}
