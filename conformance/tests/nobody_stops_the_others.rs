//! One client's work does not hold up another's: a writer goes on writing, one request after the other, while somebody asks for
//! much, and while many sessions end together. What is asserted is what was done, and that the writer was never forgotten; how long
//! it waited at most is printed: `cargo xtask gaps` does the whole, with a release build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zabra::wire::client::{ConnectRequest, ConnectResponse, ReplyFrame, Request, Response, xid};
use zabra_conformance::cluster::{Cluster, PATIENCE, four_letters, wait_until};
use zabra_conformance::raw::{Frames, RawClient, create};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::op::{ReadOp, WriteOp};

/// Far above what a busy machine does to a writer, far below what a server does that does one thing to its end.
const GAP_MAX: Duration = Duration::from_secs(1);

/// A client that writes all the time.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Gaps>,
}

#[derive(Default, Debug)]
struct Gaps {
    longest: Duration,
    writes: usize,
}

impl Writer {
    fn start(port: u16, path: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, path) = (Arc::clone(&stop), path.to_owned());
        let mut client = RawClient::connect(port, 30_000).unwrap();
        client.ok(&create(&path, b""), PATIENCE).unwrap();
        let thread = std::thread::spawn(move || {
            let mut gaps = Gaps::default();
            let set = Request::Write(WriteOp::SetData {
                path: Some(path.as_str().into()),
                data: Some(Bytes::from_static(b"x")),
                version: -1,
            });
            while !stopped.load(Ordering::Relaxed) {
                let begin = Instant::now();
                client.ok(&set, PATIENCE).unwrap();
                gaps.longest = gaps.longest.max(begin.elapsed());
                gaps.writes += 1;
            }
            gaps
        });
        Self { stop, thread }
    }

    fn stop(self) -> Gaps {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn connect_request(timeout_ms: i32, out: &mut BytesMut) {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms,
        session: SessionId(0),
        password: Some(Bytes::from_static(&[0; 16])),
        read_only: Some(false),
    };
    request.put(out);
}

fn ephemeral(path: &str) -> Request {
    match create(path, b"") {
        Request::Write(WriteOp::Create {
            kind,
            path,
            data,
            acl,
            ttl,
            ..
        }) => Request::Write(WriteOp::Create {
            kind,
            path,
            data,
            acl,
            flags: 1,
            ttl,
        }),
        other => other,
    }
}

/// Begins `count` sessions with an ephemeral node each and drops the connections: many at a time, or it takes for ever.
fn sessions_that_die(port: u16, from: usize, count: usize, timeout_ms: i32) {
    const AT_ONCE: usize = 200;
    for begin in (from..from + count).step_by(AT_ONCE) {
        let mut open = Vec::new();
        for at in begin..(begin + AT_ONCE).min(from + count) {
            let mut frames = Frames::connect(port).unwrap();
            let mut out = BytesMut::new();
            connect_request(timeout_ms, &mut out);
            frames.send(&out).unwrap();
            open.push((at, frames));
        }
        for (at, frames) in &mut open {
            let body = frames.receive(PATIENCE).unwrap().unwrap();
            assert!(ConnectResponse::decode(&body).unwrap().timeout_ms > 0);
            let mut out = BytesMut::new();
            ephemeral(&format!("/dying/{at}")).put(1, &mut out);
            frames.send(&out).unwrap();
        }
        for (_, frames) in &mut open {
            let body = frames.receive(PATIENCE).unwrap().unwrap();
            assert_eq!(ReplyFrame::split(&body).unwrap().header.err, 0);
        }
    }
}

fn number_from_mntr(port: u16, key: &str) -> Option<usize> {
    let text = four_letters(port, "mntr").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// C-49. The sessions are made over seconds, with a timeout that is longer than that, so that they come due in a few ticks.
#[test]
fn c_49_sessions_that_expire_together_stop_nobody() {
    let sessions = std::env::var("ZABRA_SESSIONS").ok();
    let sessions: usize = sessions.and_then(|n| n.parse().ok()).unwrap_or(10_000);
    // One bucket of the grid holds most of them, however long it takes to make them.
    let settings = [
        ("tickTime", "2000"),
        ("maxSessionTimeout", "120000"),
        ("maxClientCnxns", "0"),
    ];
    let mut cluster = Cluster::start(3, &settings).unwrap();
    let leader = cluster.leader().unwrap();
    let ports: Vec<_> = cluster.servers.iter().map(|s| s.client_port).collect();
    let leading = ports[leader];
    let follower = ports[(leader + 1) % 3];
    let mut client = RawClient::connect(leading, 30_000).unwrap();
    client.ok(&create("/dying", b""), PATIENCE).unwrap();
    let begin = Instant::now();
    let share = sessions / ports.len();
    let per_second = 1500; // what a slow machine makes
    let longest_ms = 10_000 + (sessions / per_second * 1000).min(100_000);
    std::thread::scope(|scope| {
        for (i, &port) in ports.iter().enumerate() {
            scope.spawn(move || {
                // Whoever comes later has less time: they all end at about the same moment.
                for begin_at in (0..share).step_by(share.div_ceil(20).max(1)) {
                    let count = share.div_ceil(20).max(1).min(share - begin_at);
                    let spent = begin.elapsed().as_millis() as usize;
                    let left = longest_ms.saturating_sub(spent).max(6000);
                    let timeout = i32::try_from(left).unwrap();
                    sessions_that_die(port, i * share + begin_at, count, timeout);
                }
            });
        }
    });
    let made = begin.elapsed();
    let writers = [
        Writer::start(leading, "/writer-a"),
        Writer::start(follower, "/writer-b"),
    ];
    let all = number_from_mntr(leading, "zk_ephemerals_count").unwrap();
    wait_until(
        "the first sessions expire",
        Duration::from_secs(200),
        || {
            let left = number_from_mntr(leading, "zk_ephemerals_count");
            Ok(left.is_some_and(|left| left + 10 < all))
        },
    )
    .unwrap();
    let dying = Instant::now();
    wait_until("all sessions expire", Duration::from_secs(200), || {
        Ok(ports
            .iter()
            .all(|port| number_from_mntr(*port, "zk_ephemerals_count") == Some(0)))
    })
    .unwrap();
    let took = dying.elapsed();
    let gaps = writers.map(Writer::stop);
    println!(
        "{} sessions made in {made:?}, {all} left to expire, gone in {took:?}; a writer at the leader and one at a follower: {gaps:?}",
        share * ports.len()
    );
    assert_eq!(cluster.leader().unwrap(), leader, "the leader stays");
    let mode = cluster.servers[leader].srvr().unwrap().mode;
    assert_eq!(mode, "leader");
    for gap in gaps {
        assert!(gap.longest < GAP_MAX, "{gap:?}");
    }
}

/// Answers of requests with these numbers, in order, and the events that came between them: (xid, error, zxid).
fn answers(frames: &mut Frames, upto: i32) -> Vec<(i32, i32, Zxid, Bytes)> {
    let mut all = Vec::new();
    loop {
        let body = frames.receive(PATIENCE).unwrap().unwrap();
        let header = ReplyFrame::split(&body).unwrap().header;
        all.push((header.xid, header.err, header.zxid, body));
        if header.xid == upto {
            return all;
        }
    }
}

fn flood(port: u16) -> Frames {
    let mut frames = Frames::connect(port).unwrap();
    let mut out = BytesMut::new();
    connect_request(30_000, &mut out);
    frames.send(&out).unwrap();
    assert!(frames.receive(PATIENCE).unwrap().is_some());
    frames
}

/// C-48, and its kind: numbers of all children, long lists, long lists behind writes, many watches.
#[test]
fn c_48_a_flood_of_long_reads_stops_no_writer_and_is_answered_in_order() {
    const NODES: usize = 30_000;
    let cluster = Cluster::start(1, &[("tickTime", "2000")]).unwrap();
    let port = cluster.servers[0].client_port;
    let mut frames = flood(port);
    let mut paths = std::iter::once("/many".to_owned())
        .chain((0..NODES).map(|at| format!("/many/{at}")))
        .peekable();
    while paths.peek().is_some() {
        let mut out = BytesMut::new();
        let mut last = 0;
        for (xid, path) in (1..).zip(paths.by_ref().take(1000)) {
            create(&path, b"").put(xid, &mut out);
            last = xid;
        }
        frames.send(&out).unwrap();
        let made = answers(&mut frames, last);
        assert!(made.iter().all(|(_, err, ..)| *err == 0));
    }
    let count = Request::Read(ReadOp::GetAllChildrenNumber {
        path: "/many".into(),
    });
    let list = Request::Read(ReadOp::GetChildren {
        path: "/many".into(),
        watch: true,
    });
    let set = |path: &str| {
        Request::Write(WriteOp::SetData {
            path: Some(path.into()),
            data: Some(Bytes::new()),
            version: -1,
        })
    };
    for (what, requests) in [
        ("numbers of all children", vec![count; 3000]),
        ("lists of children", vec![list.clone(); 100]),
        ("lists of children behind writes", {
            let behind = [set("/many"), list.clone(), list];
            behind.iter().cycle().take(90).cloned().collect()
        }),
    ] {
        let writer = Writer::start(port, &format!("/{}", what.replace(' ', "-")));
        let mut flood = flood(port);
        let mut out = BytesMut::new();
        for (xid, request) in (1..).zip(&requests) {
            request.put(xid, &mut out);
        }
        flood.send(&out).unwrap();
        let all = answers(&mut flood, requests.len() as i32);
        let gaps = writer.stop();
        println!("{what}: {gaps:?}");
        let replies: Vec<_> = all.iter().filter(|(id, ..)| *id != xid::EVENT).collect();
        assert!(
            replies
                .iter()
                .map(|(id, ..)| *id)
                .eq(1..=requests.len() as i32)
        );
        let mut last = Zxid(0);
        for ((_, err, zxid, body), request) in replies.iter().zip(&requests) {
            assert_eq!(*err, 0, "{what}");
            assert!(*zxid >= last, "{what}: an answer of the past");
            last = *zxid;
            match ReplyFrame::split(body)
                .unwrap()
                .decode(request.opcode())
                .unwrap()
            {
                Response::Children(names, _) => assert_eq!(names.len(), NODES),
                Response::Int(number) => assert_eq!(usize::try_from(number).ok(), Some(NODES)),
                _ => {}
            }
        }
        assert!(gaps.longest < GAP_MAX, "{what}: {gaps:?}");
    }
}
