//! What clients may ask for, and how much of this server they may hold. Method: the real binary, raw frames, small limits.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, create, get, open_acl, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use zabra::wire::client::{Request, SetWatches};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::op::{CreateKind, WriteOp};

const AUTH_FAILED: i32 = -115;
const UNIMPLEMENTED: i32 = -6;

fn server(more: &str) -> Cluster {
    let mut cluster = Cluster::new(1, more);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn kind_of(kind: CreateKind, path: &str, ttl: i64) -> Request {
    Request::Write(WriteOp::Create {
        kind,
        path: Some(path.into()),
        data: None,
        acl: Some(open_acl()),
        flags: if kind == CreateKind::Ttl { 5 } else { 4 },
        ttl,
    })
}

fn large_node(c: &mut Client, path: &str) {
    let create = Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(Bytes::from(vec![7; 1_000_000])),
        acl: Some(open_acl()),
        flags: 0,
        ttl: 0,
    });
    c.call(&create).unwrap().unwrap();
}

fn alive(cluster: &Cluster) -> usize {
    let answer = cluster.word(0, "mntr").unwrap_or_default();
    let line = answer
        .lines()
        .find_map(|l| l.strip_prefix("zk_num_alive_connections"));
    line.and_then(|l| l.trim().parse().ok())
        .unwrap_or(usize::MAX)
}

/// C-31: `maxCnxns` bounds the connections of all clients together.
#[test]
fn c_31_the_connection_above_max_cnxns_is_closed() {
    let cluster = server("maxCnxns=2");
    let first = cluster.client(0);
    let mut second = cluster.client(0);
    let mut third = TcpStream::connect(("127.0.0.1", cluster.ports[0])).unwrap();
    assert!(is_closed(&mut third), "the third of two");
    second.create("/goes-on", 0).unwrap().unwrap();
    drop(first);
    wait_for("room for another one", || {
        Client::connect(cluster.ports[0], SessionId(0), None, 10_000)
    });
}

/// C-31: the limit of descriptors is raised as far as it may be.
#[test]
fn c_31_the_limit_of_descriptors_is_raised_at_start() {
    let mut cluster = Cluster::new(1, "");
    cluster.start_limited(0, 200, 400);
    cluster.wait_serving(&[0]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", cluster.pid(0))).unwrap();
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|l| l.split_whitespace().next()).unwrap();
    assert_eq!(soft, "400", "{limits}");
}

/// C-31: silent connections from many addresses leave descriptors for logs and snapshots.
#[test]
fn c_31_clients_leave_descriptors_for_everything_else() {
    let mut cluster = Cluster::new(1, "snapCount=10\npreAllocSize=64\nmaxClientCnxns=0");
    cluster.start_limited(0, 128, 128);
    cluster.wait_serving(&[0]);
    let mut c = cluster.client(0);
    c.create("/before", 0).unwrap().unwrap();
    let silent: Vec<_> = (0..200)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", cluster.ports[0])).ok())
        .collect();
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", cluster.pid(0)))
            .unwrap()
            .count()
    };
    wait_for("the connections to be taken or closed", || {
        (open() > 64).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(open() < 110, "{} of 128 descriptors are open", open());
    for i in 0..60 {
        c.create(&format!("/n{i}"), 0)
            .expect("the server is there")
            .unwrap();
    }
    wait_for("snapshots", || {
        let version = cluster.data(0).join("version-2");
        common::has_file(&version, "snapshot.").then_some(())
    });
    assert!(cluster.is_running(0));
    drop(silent);
    wait_for("room again", || {
        Client::connect(cluster.ports[0], SessionId(0), None, 10_000)
    });
}

/// C-42: opcode 20 is the leader's own. Neither through a server nor inside a multi, neither container nor node with a time.
#[test]
fn c_42_a_client_does_not_delete_containers() {
    let mut cluster = Cluster::new(3, "extendedTypesEnabled=true");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let mut owner = cluster.client(leader);
    owner
        .call(&kind_of(CreateKind::Container, "/container", 0))
        .unwrap()
        .unwrap();
    owner
        .call(&kind_of(CreateKind::Ttl, "/ttl", 1_000_000))
        .unwrap()
        .unwrap();
    owner.create("/container/child", 0).unwrap().unwrap();
    owner
        .call(&Request::Write(WriteOp::Delete {
            path: Some("/container/child".into()),
            version: -1,
        }))
        .unwrap()
        .unwrap();
    for at in 0..3 {
        for path in ["/container", "/ttl", "/no-such", ""] {
            let mut stranger = cluster.client(at);
            let path = Some(path.into());
            let answer = stranger.call(&Request::DeleteContainer { path });
            assert_eq!(answer, Some(Err(UNIMPLEMENTED)));
            assert!(stranger.frame().is_none(), "the connection ends");
        }
    }
    // A multi of one deleteContainer.
    let mut record = vec![0, 0, 0, 20, 0, 255, 255, 255, 255];
    record.extend([0, 0, 0, 4]);
    record.extend(b"/ttl");
    record.extend([255, 255, 255, 255, 1, 255, 255, 255, 255]);
    let mut stranger = cluster.client(leader);
    let answer = stranger.call(&Request::Unknown {
        opcode: 14,
        record: Bytes::from(record),
    });
    assert!(matches!(answer, Some(Err(_)) | None), "{answer:?}");
    for path in ["/container", "/ttl"] {
        let there = owner.call(&get(path, false)).unwrap();
        assert!(there.is_ok(), "{path}: {there:?}");
    }
}

/// C-42, the kind: what only servers say to each other, and what nobody says, is refused to clients.
#[test]
fn c_42_requests_that_only_servers_make_end_the_connection() {
    let cluster = server("");
    let servers = [-10, -1, 0, 13, 20, 23, 99, 108, 1000, i32::MIN, i32::MAX];
    for opcode in servers {
        for record in [vec![], vec![0; 64]] {
            let mut stranger = cluster.client(0);
            let record = Bytes::from(record);
            let answer = stranger.call(&Request::Unknown { opcode, record });
            assert_eq!(answer, Some(Err(UNIMPLEMENTED)), "{opcode}");
            assert!(stranger.frame().is_none(), "{opcode}: the connection ends");
        }
    }
}

/// C-43: whoever proves nothing is told so, and the connection ends.
#[test]
fn c_43_an_addauth_without_a_proof_fails() {
    let cluster = server("");
    let auth = |scheme: Option<&str>, data: Option<&'static [u8]>| {
        let (scheme, data) = (scheme.map(Into::into), data.map(Bytes::from_static));
        let mut c = cluster.client(0);
        let kind = 0;
        let answer = c.call(&Request::Auth { kind, scheme, data });
        let goes_on = c.call(&Request::WhoAmI).is_some();
        (answer.unwrap().err().unwrap_or(0), goes_on)
    };
    assert_eq!(auth(Some("digest"), None), (AUTH_FAILED, false));
    // Odd, and yet what ZooKeeper takes.
    for data in [
        &b""[..],
        b"user",
        b"user:",
        b":",
        b"a:b:c",
        b"\xff\xfe:\x00",
    ] {
        assert_eq!(auth(Some("digest"), Some(data)), (0, true), "{data:?}");
    }
    for data in [None, Some(&b""[..]), Some(b"10.0.0.1")] {
        assert_eq!(auth(Some("ip"), data), (0, true), "{data:?}");
    }
    for scheme in [
        None,
        Some(""),
        Some("world"),
        Some("super"),
        Some("auth"),
        Some("sasl"),
        Some("x509"),
        Some("ensemble"),
        Some("DIGEST"),
        Some("digest "),
    ] {
        for data in [None, Some(&b""[..]), Some(b"super:secret")] {
            assert_eq!(auth(scheme, data), (AUTH_FAILED, false), "{scheme:?}");
        }
    }
    // A packet that ends early proves nothing either; ZooKeeper ends its connection without an answer.
    for record in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\0\0\0\x06digest"] {
        let mut c = cluster.client(0);
        let record = Bytes::from_static(record);
        let opcode = 100;
        let answer = c.call(&Request::Unknown { opcode, record });
        assert_eq!(answer, None);
    }
}

/// C-44: without a provider, SASL fails at once, and its connection ends.
#[test]
fn c_44_sasl_without_a_provider_ends_the_connection() {
    let cluster = server("");
    for token in [None, Some(&b""[..]), Some(b"token")] {
        let mut c = cluster.client(0);
        let token = token.map(Bytes::from_static);
        let answer = c.call(&Request::Sasl { token });
        assert_eq!(answer, Some(Err(AUTH_FAILED)));
        assert!(c.frame().is_none(), "the connection ends");
    }
}

/// C-45: while the end of a session is on its way, its requests are dropped without an answer, and leave no transaction.
#[test]
fn c_45_a_request_of_a_session_that_is_over_is_dropped() {
    let mut cluster = Cluster::new(3, "syncLimit=60");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let followers: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut other = cluster.client(leader);
    other.create("/before", 0).unwrap().unwrap();
    let mut over = Client::connect(cluster.ports[leader], SessionId(0), None, 1).unwrap();
    followers.iter().for_each(|i| cluster.signal(*i, "STOP"));
    // Its end is proposed, and cannot be committed.
    std::thread::sleep(Duration::from_millis(3000));
    over.send(&create("/late", 0));
    std::thread::sleep(Duration::from_millis(500));
    followers.iter().for_each(|i| cluster.signal(*i, "CONT"));
    assert!(over.frame().is_none(), "no answer, and the connection ends");
    assert!(other.get("/late").is_none());
    let before = zxid_of(&mut other, "/before");
    other.create("/after", 0).unwrap().unwrap();
    let after = zxid_of(&mut other, "/after");
    // The session's beginning, its end, and the node.
    assert_eq!(after.0 - before.0, 3);
}

fn zxid_of(c: &mut Client, path: &str) -> Zxid {
    match c.call(&get(path, false)) {
        Some(Ok(zabra::wire::client::Response::Data(_, stat))) => stat.czxid,
        other => panic!("{other:?}"),
    }
}

/// Reads a client that asks for `reads` answers of a megabyte behind a write, and fetches none of them.
fn debtor(cluster: &Cluster, reads: usize, timeout_ms: i32) -> Client {
    let mut c = Client::connect(cluster.ports[0], SessionId(0), None, timeout_ms).unwrap();
    // Together: were the write done when they come, they would be answered as far as they are fetched.
    let mut requests = vec![common::set("/small", "1")];
    requests.resize(1 + reads, get("/large", false));
    c.send_all(&requests);
    c
}

fn with_nodes(more: &str) -> (Cluster, Client) {
    let cluster = server(more);
    let mut c = cluster.client(0);
    large_node(&mut c, "/large");
    c.create("/small", 0).unwrap().unwrap();
    (cluster, c)
}

/// C-46: a connection ends with its session, also while a write to it is stuck.
#[test]
fn c_46_a_stuck_connection_ends_with_its_session() {
    let (cluster, c) = with_nodes("");
    drop(c);
    let debtors: Vec<_> = (0..5).map(|_| debtor(&cluster, 20, 4000)).collect();
    wait_for("answers that wait", || (alive(&cluster) >= 5).then_some(()));
    // The connection that asks is one of them.
    wait_for("the connections to end", || {
        (alive(&cluster) <= 1).then_some(())
    });
    drop(debtors);
}

/// C-46: all unread answers together have a bound, and whoever reads its own goes on.
#[test]
fn c_46_unread_answers_have_a_bound_in_all() {
    let (cluster, mut reader) = with_nodes("zabra.unreadBytesMax=16000000");
    let before = cluster.memory_bytes(0);
    let debtors: Vec<_> = (0..10).map(|_| debtor(&cluster, 30, 60_000)).collect();
    for _ in 0..20 {
        assert!(reader.get("/large").is_some());
        std::thread::sleep(Duration::from_millis(50));
    }
    let grown = cluster.memory_bytes(0).saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes more");
    drop(debtors);
}

/// C-46: when the bound is reached, the connection that owes most goes, and the small debtors stay.
#[test]
fn c_46_the_largest_debtor_goes_first() {
    let (cluster, reader) = with_nodes("zabra.unreadBytesMax=32000000");
    let mut small = debtor(&cluster, 8, 60_000);
    std::thread::sleep(Duration::from_millis(500));
    let mut large = debtor(&cluster, 60, 60_000);
    std::thread::sleep(Duration::from_secs(1));
    let mut answers = 0;
    while large.reply().is_some() {
        answers += 1;
    }
    assert!(answers < 60, "the largest debtor was closed");
    for _ in 0..9 {
        assert_eq!(small.reply().expect("an answer").header.err, 0);
    }
    drop(reader);
}

fn set_watches(bytes: usize) -> Request {
    let path: Box<str> = format!("/{}", "p".repeat(30)).into();
    Request::SetWatches(SetWatches {
        relative_zxid: Zxid::ZERO,
        data: vec![path; bytes / 35],
        exist: vec![],
        child: vec![],
        persistent: None,
    })
}

/// C-47: requests behind a write that waits for a quorum are bounded by bytes, on each connection and in all; every one of
/// them is answered when the quorum is back.
#[test]
fn c_47_requests_that_wait_are_bounded_by_bytes() {
    let mut cluster = Cluster::new(3, "syncLimit=60\nzabra.waitingBytesMax=6000000");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let followers: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut other = cluster.client(leader);
    other.create("/before", 0).unwrap().unwrap();
    let connect = || Client::connect(cluster.ports[leader], SessionId(0), None, 60_000).unwrap();
    let mut clients = [connect(), connect(), connect()];
    followers.iter().for_each(|i| cluster.signal(*i, "STOP"));
    let before = cluster.memory_bytes(leader);
    let floods: Vec<_> = clients
        .iter_mut()
        .enumerate()
        .map(|(i, c)| {
            c.send(&create(&format!("/waits{i}"), 0));
            let stream = c.stream.try_clone().unwrap();
            let mut frame = bytes::BytesMut::new();
            set_watches(900_000).put(-8, &mut frame);
            std::thread::spawn(move || {
                let mut stream = stream;
                (0..30).all(|_| stream.write_all(&frame).is_ok())
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(3));
    let grown = cluster.memory_bytes(leader).saturating_sub(before);
    // Meanwhile a client that asks for little is answered.
    assert!(other.get("/before").is_some());
    followers.iter().for_each(|i| cluster.signal(*i, "CONT"));
    for c in &mut clients {
        assert_eq!(c.reply().expect("the write").header.err, 0);
        for _ in 0..30 {
            assert_eq!(c.reply().expect("an answer").header.xid, -8);
        }
    }
    floods.into_iter().for_each(|f| assert!(f.join().unwrap()));
    assert!(grown < 48 << 20, "{grown} bytes more");
}
