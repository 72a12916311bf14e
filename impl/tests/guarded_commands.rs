//! Commands over HTTP that need rights: who may take a snapshot and put it back, what becomes of the data, what is refused, and clients that
//! are sent away.

mod common;

use common::{Client, Cluster, create, free_ports, get, server_with_commands, set, wait_for};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use zabra::wire::client::Request;
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::WriteOp;

/// An answer over HTTP.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let begin = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&*begin))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// A command with this `Authorization` and body.
fn ask(port: u16, method: &str, name: &str, authorization: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let authorization = match authorization {
        "" => String::new(),
        text => format!("Authorization: {text}\r\n"),
    };
    let bytes = body.len();
    let head = format!(
        "{method} /commands/{name} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: all[end + 4..].to_vec(),
    }
}

const ANYBODY: &str = "digest somebody:something";

fn snapshot(port: u16) -> Answer {
    ask(port, "GET", "snapshot", ANYBODY, b"")
}

fn restore(port: u16, body: &[u8]) -> Answer {
    ask(port, "POST", "restore", ANYBODY, body)
}

const OFTEN: &str = "admin.rateLimiterIntervalInMS=0\n";

fn files(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("version-2")).unwrap();
    let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with("snapshot.") || name.starts_with("log."))
        .collect();
    names.sort();
    names
}

// long: one story, from a snapshot to the restart behind its restore.
#[test]
fn a_snapshot_that_was_sent_is_put_back_and_stays_when_the_server_is_killed() {
    let (mut cluster, port) = server_with_commands(OFTEN);
    let mut client = cluster.client(0);
    for path in ["/a", "/b"] {
        client.create(path, 0).unwrap().unwrap();
    }
    client.create("/mine", 1).unwrap().unwrap();
    client.set("/a", "of the snapshot").unwrap().unwrap();
    let taken = snapshot(port);
    assert_eq!(taken.status, 200, "{}", taken.head);
    assert_eq!(
        taken.header("content-type"),
        Some("application/octet-stream")
    );
    assert!(taken.body.starts_with(b"ZKSN"));
    let size = taken.body.len().to_string();
    assert_eq!(taken.header("snapshot_size"), Some(&*size));
    assert_eq!(taken.header("content-length"), Some(&*size));
    let zxid = taken
        .header("last_zxid")
        .unwrap()
        .strip_prefix("0x")
        .unwrap();
    let on_disk = cluster
        .data(0)
        .join("version-2")
        .join(format!("snapshot.{zxid}"));
    assert_eq!(std::fs::read(on_disk).unwrap(), taken.body);
    let told = ask(port, "GET", "snap?streaming=false", ANYBODY, b"");
    assert_eq!(told.json()["command"], "snapshot");
    assert!(told.json()["error"].is_null() && told.header("last_zxid").is_some());

    client.set("/a", "later").unwrap().unwrap();
    client.create("/c", 0).unwrap().unwrap();
    let put = restore(port, &taken.body);
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    let restored = put.json()["last_zxid"].as_u64().unwrap();
    assert!(restored > u64::from_str_radix(zxid, 16).unwrap());
    assert_eq!(files(&cluster.data(0)), [format!("snapshot.{restored:x}")]);

    // Clients lose their connections, and go on with sessions that the snapshot knows.
    assert_eq!(client.get("/a"), None);
    let (session, password) = (client.session, Some(client.password));
    let mut client = Client::connect(cluster.ports[0], session, password, 10_000).unwrap();
    assert_eq!(client.session, session);
    assert_eq!(client.get("/a").as_deref(), Some("of the snapshot"));
    assert_eq!(
        client.children("/"),
        [
            Box::from("a"),
            "b".into(),
            "mine".into(),
            "zookeeper".into()
        ]
    );
    client.create("/d", 0).unwrap().unwrap();

    cluster.kill(0);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    assert_eq!(client.get("/a").as_deref(), Some("of the snapshot"));
    assert_eq!(
        client.children("/"),
        [
            Box::from("a"),
            "b".into(),
            "d".into(),
            "mine".into(),
            "zookeeper".into()
        ]
    );
}

#[test]
fn what_is_no_whole_snapshot_changes_nothing() {
    let (cluster, port) = server_with_commands(OFTEN);
    let mut client = cluster.client(0);
    client.create("/a", 0).unwrap().unwrap();
    let whole = snapshot(port).body;
    client.set("/a", "later").unwrap().unwrap();
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 1;
    let longer = [whole.as_slice(), b"and more"].concat();
    for (body, what) in [
        (&whole[..whole.len() - 1], "it ends"),
        (&whole[..middle], "the file ends inside the tree"),
        (&*damaged, ""),
        (&*longer, "it ends"),
        (b"", "ZKSN"),
        (b"GET / HTTP/1.1", "ZKSN"),
    ] {
        let answer = restore(port, body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.error());
        assert!(answer.error().contains(what), "{}", answer.error());
    }
    assert_eq!(client.get("/a").as_deref(), Some("later"));
    let mntr = cluster.word(0, "mntr").unwrap();
    assert!(mntr.contains("zk_restore_error_count\t6\n"), "{mntr}");
    // Half a body, and its sender is gone.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /commands/restore HTTP/1.1\r\nHost: x\r\nAuthorization: {ANYBODY}\r\nContent-Length: {}\r\n\r\n",
        whole.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&whole[..middle]).unwrap();
    drop(stream);
    wait_for("the end of that", || {
        let mntr = cluster.word(0, "mntr")?;
        mntr.contains("zk_restore_error_count\t7\n").then_some(())
    });
    assert_eq!(client.get("/a").as_deref(), Some("later"));
}

#[test]
fn a_compressed_snapshot_is_sent_as_it_lies_on_the_disk_and_put_back() {
    for (method, magic) in [("gz", &b"\x1f\x8b"[..]), ("snappy", b"\x82SNAPPY")] {
        let lines = format!("{OFTEN}snapshot.compression.method={method}");
        let (cluster, port) = server_with_commands(&lines);
        cluster.client(0).create("/a", 0).unwrap().unwrap();
        let taken = snapshot(port);
        assert!(taken.body.starts_with(magic), "{method}");
        let put = restore(port, &taken.body);
        assert_eq!(put.status, 200, "{method}: {}", put.error());
        assert_eq!(cluster.client(0).get("/a").as_deref(), Some("0"));
    }
}

#[test]
fn only_who_has_every_right_on_the_root_may_ask() {
    let super_digest =
        "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
    let (cluster, port) = server_with_commands(&format!("{OFTEN}{super_digest}"));
    let status = |authorization: &str| {
        let answer = ask(port, "GET", "snapshot", authorization, b"");
        (answer.status, answer.header("last_zxid").is_some())
    };
    // The root is open, and still somebody has to be named.
    assert_eq!(status(""), (401, false));
    for nobody in [
        "digest",
        "x509",
        "sasl a:b",
        "world anyone",
        "digest a b",
        "digest  a:b",
    ] {
        assert_eq!(status(nobody), (401, false), "{nobody}");
    }
    for somebody in [ANYBODY, "ip"] {
        assert_eq!(status(somebody), (200, true), "{somebody}");
    }
    let entry = |perms, scheme: &str, id: &str| AclEntry {
        perms,
        id: Id {
            scheme: scheme.into(),
            id: id.into(),
        },
    };
    let acl = vec![
        entry(31, "digest", "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E="),
        entry(15, "digest", "somebody:oarmXaH5LFWjx8q6t+Ed+fERE+Q="),
        entry(1, "world", "anyone"),
    ];
    let set_acl = Request::Write(WriteOp::SetAcl {
        path: Some("/".into()),
        acl: Some(acl),
        version: -1,
    });
    cluster.client(0).call(&set_acl).unwrap().unwrap();
    for other in [ANYBODY, "ip", "digest alice:wrong"] {
        assert_eq!(status(other), (403, false), "{other}");
    }
    for known in ["digest super:test", "digest alice:secret"] {
        assert_eq!(status(known), (200, true), "{known}");
    }
    let refused = ask(port, "POST", "restore", ANYBODY, b"ZKSN");
    assert_eq!((refused.status, &*refused.error()), (403, "Not authorized"));
    let (_cluster, port) = server_with_commands(&format!("{OFTEN}skipACL=yes"));
    assert_eq!(ask(port, "GET", "snapshot", "", b"").status, 401);
    assert_eq!(snapshot(port).status, 200);
}

#[test]
fn one_in_the_interval_is_done_and_keys_switch_them_off() {
    let (cluster, port) = server_with_commands("");
    let whole = snapshot(port);
    assert_eq!(whole.status, 200);
    assert_eq!(snapshot(port).status, 429);
    assert_eq!(restore(port, &whole.body).status, 200, "of another kind");
    let again = restore(port, &whole.body);
    assert_eq!(again.status, 429);
    assert!(again.error().contains("admin.rateLimiterIntervalInMS"));
    let mntr = cluster.word(0, "mntr").unwrap();
    for line in [
        "zk_snapshot_rate_limited_count\t1\n",
        "zk_restore_rate_limited_count\t1\n",
        "zk_cnt_restore_time\t1\n",
    ] {
        assert!(mntr.contains(line), "{line}{mntr}");
    }
    for (line, status, taken, put) in [
        ("admin.snapshot.enabled=false", 503, false, true),
        ("admin.restore.enabled=false", 503, true, false),
        (
            "serializeLastProcessedZxid.enabled=false",
            500,
            false,
            false,
        ),
    ] {
        let (_cluster, port) = server_with_commands(line);
        let wanted = |works: bool| if works { 200 } else { status };
        let name = line.split_once('=').unwrap().0;
        for (answer, works) in [(snapshot(port), taken), (restore(port, &whole.body), put)] {
            assert_eq!(answer.status, wanted(works), "{line}");
            assert!(works || answer.error().contains(name), "{}", answer.error());
        }
    }
}

/// The checksum of snapshots.
fn adler(bytes: &[u8]) -> u64 {
    let step = |(a, b): (u64, u64), byte: &u8| {
        let a = (a + u64::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = bytes.iter().fold((1, 0), step);
    b << 16 | a
}

#[test]
fn a_snapshot_whose_digest_is_of_another_tree_is_told_and_counted() {
    const SEAL: usize = 13;
    let (mut cluster, port) = server_with_commands("");
    cluster.client(0).create("/a", 0).unwrap().unwrap();
    let taken = snapshot(port);
    let zxid = taken
        .header("last_zxid")
        .unwrap()
        .strip_prefix("0x")
        .unwrap();
    let file = cluster
        .data(0)
        .join("version-2")
        .join(format!("snapshot.{zxid}"));
    let mut bytes = taken.body;
    // Behind the tree: zxid, version and digest, a seal, the zxid, a seal.
    let digest = bytes.len() - 2 * SEAL - 8 - 1;
    bytes[digest] ^= 1;
    for seal in [digest + 1, bytes.len() - SEAL] {
        let sum = adler(&bytes[..seal]);
        bytes[seal..seal + 8].copy_from_slice(&sum.to_be_bytes());
    }
    let mismatches = |cluster: &Cluster| {
        let mntr = cluster.word(0, "mntr")?;
        let key = "zk_digest_mismatches_count\t";
        mntr.lines()
            .find_map(|line| line.strip_prefix(key)?.parse::<u64>().ok())
    };
    for (bytes, wanted, said) in [
        (None, 0, "the tree has the digest"),
        (Some(bytes), 1, "another digest than its snapshot tells"),
    ] {
        cluster.kill(0);
        if let Some(bytes) = bytes {
            std::fs::write(&file, bytes).unwrap();
        }
        let log = cluster.dir.path().join("log");
        cluster.start_logging(0, "info", &log);
        cluster.wait_serving(&[0]);
        wait_for(said, || {
            let log = std::fs::read_to_string(&log).ok()?;
            log.contains(said).then_some(())
        });
        assert_eq!(mismatches(&cluster), Some(wanted));
        assert_eq!(cluster.client(0).get("/a").as_deref(), Some("0"));
    }
}

/// A member sends snapshots and takes none; all members begin with the same one where its answer says how.
#[test]
fn an_ensemble_is_restored_by_the_same_snapshot_in_each_member() {
    let port = free_ports(1)[0];
    let mut cluster = Cluster::new(3, "admin.enableServer=true");
    for (i, port) in [(0, port), (1, 0), (2, 0)] {
        let file = cluster.data(i).join("zoo.cfg");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = format!("admin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n{OFTEN}{text}");
        std::fs::write(&file, text).unwrap();
    }
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    cluster.client(0).create("/a", 0).unwrap().unwrap();
    let taken = snapshot(port);
    assert_eq!(taken.status, 200, "{}", taken.head);
    let zxid = taken
        .header("last_zxid")
        .unwrap()
        .strip_prefix("0x")
        .unwrap();
    cluster.client(0).create("/b", 0).unwrap().unwrap();
    let refused = restore(port, &taken.body);
    assert_eq!(refused.status, 503);
    assert!(
        refused.error().contains("Stop all members"),
        "{}",
        refused.error()
    );
    for i in 0..3 {
        cluster.kill(i);
        let version_2 = cluster.data(i).join("version-2");
        std::fs::rename(&version_2, cluster.data(i).join("kept")).unwrap();
        std::fs::create_dir(&version_2).unwrap();
        std::fs::write(version_2.join(format!("snapshot.{zxid}")), &taken.body).unwrap();
    }
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    for i in 0..3 {
        let mut client = cluster.client(i);
        client.sync();
        assert_eq!(client.call(&get("/a", false)).unwrap().err(), None);
        assert_eq!(client.call(&get("/b", false)).unwrap().err(), Some(-101));
        client.call(&create(&format!("/c{i}"), 0)).unwrap().unwrap();
        client.call(&set("/a", "after")).unwrap().unwrap();
    }
}

#[test]
fn a_share_of_the_clients_is_sent_away_and_keeps_its_sessions() {
    const CLIENTS: usize = 12;
    let (cluster, port) = server_with_commands("");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| cluster.client(0)).collect();
    clients[0].create("/mine", 1).unwrap().unwrap(); // ephemeral
    let (session, password) = (clients[0].session, clients[0].password);
    let shed =
        |authorization: &str, body: &str| ask(port, "POST", "shed", authorization, body.as_bytes());
    for (body, why) in [
        ("", "there is no body"),
        ("{\"percentage\": }", "no JSON"),
        ("{\"percent\": 5}", "percentage is missing"),
        ("{\"percentage\": 101}", "percentage is 101"),
        ("{\"percentage\": -1}", "percentage is -1"),
        ("{\"percentage\": \"5\"}", "percentage is \"5\""),
    ] {
        let refused = shed(ANYBODY, body);
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.error().starts_with(why), "{}", refused.error());
    }
    assert_eq!(shed(ANYBODY, &" ".repeat(5000)).status, 400);
    assert_eq!(shed("", "{\"percentage\": 100}").status, 401);
    let get = ask(port, "GET", "shed_connections", ANYBODY, b"");
    assert_eq!(get.status, 405);
    // A client that is still there is answered; the share is rounded up.
    let mut left = CLIENTS;
    for (percentage, ended) in [(0, 0), (30, 4), (100, 8), (100, 0)] {
        let answer = shed(ANYBODY, &format!("{{\"percentage\": {percentage}}}"));
        assert_eq!(answer.status, 200);
        let told = answer.json();
        assert_eq!(told["percentage_requested"], percentage);
        assert_eq!(told["connections_shed"], ended, "of {left}");
        assert_eq!(told["command"], "shed_connections");
        left -= ended;
        clients.retain_mut(|client| client.get("/mine").is_some());
        assert_eq!(clients.len(), left);
    }
    let back = Client::connect(cluster.ports[0], session, Some(password), 10_000);
    let mut back = back.unwrap();
    assert_eq!(back.session, session);
    assert!(back.get("/mine").is_some(), "its ephemeral node");
}
