//! Goal: what the flight recorders of servers hold tells why there was an election, and whether each server did as the model does.
//!
//! Method: three processes; the leader is killed and comes back, or two of three are killed; then `zabra explain` reads what is left.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::{Cluster, free_ports, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use zabra::storage::flight::{FLIGHT, Segments, frames};
use zabra_model::flight::{Chunk, Divergence, live_again};

struct Told {
    code: i32,
    text: String,
    errors: String,
}

fn explain(arguments: &[&str], records: &[PathBuf]) -> Told {
    let done = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("explain")
        .args(arguments)
        .args(records)
        .output()
        .unwrap();
    Told {
        code: done.status.code().unwrap(),
        text: String::from_utf8(done.stdout).unwrap(),
        errors: String::from_utf8(done.stderr).unwrap(),
    }
}

fn documents(told: &Told, kind: &str) -> Vec<serde_json::Value> {
    let lines = told.text.lines();
    let all = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    all.filter(|document| document["kind"] == kind).collect()
}

fn flight_of(data: &Path) -> PathBuf {
    data.join("version-2").join(FLIGHT)
}

#[test]
fn why_there_was_an_election_is_told_when_the_leader_was_killed() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut client = cluster.client(others[0]);
    client.create("/a", 0).unwrap().unwrap();
    for n in 0..200 {
        client.set("/a", &n.to_string()).unwrap().unwrap();
    }
    cluster.kill(leader);
    let next = cluster.wait_serving(&others);
    cluster.start(leader);
    cluster.wait_serving(&[0, 1, 2]);
    for i in 0..3 {
        cluster.signal(i, "USR1");
    }
    let data: Vec<PathBuf> = (0..3).map(|i| cluster.data(i)).collect();
    let (was, is) = (leader + 1, next + 1);
    let lost = |election: &serde_json::Value| {
        election["why"] == format!("the connection to leader {was} ended")
    };
    // The records are written by a thread of their own.
    let told = wait_for("the records", || {
        let told = explain(&["--output", "json"], &data);
        let lives = documents(&told, "life");
        let elections = documents(&told, "election");
        let over = elections.iter().filter(|e| !e["took"].is_null()).count();
        (lives.len() == 4 && over == 6).then_some(told)
    });
    assert_eq!((told.code, told.errors.as_str()), (0, ""), "{}", told.text);
    // Of the followers to the leader that was killed, as far as its elections were kept, and of all to the next one.
    let connections = &documents(&told, "connections")[0];
    assert_eq!(connections["connections"], 4, "{connections}");
    for life in documents(&told, "life") {
        let number = |name: &str| life[name].as_u64().unwrap();
        assert!(number("steps") - number("confirmed") < 32, "{life}");
    }
    let elections = documents(&told, "election");
    for i in &others {
        let of_it: Vec<_> = elections.iter().filter(|e| e["server"] == i + 1).collect();
        let [first, second] = &of_it[..] else {
            panic!("{of_it:?}");
        };
        assert_eq!(first["why"], "it started");
        assert!(lost(second), "{second}");
        let outcome = match i + 1 == is {
            true => "it leads epoch 2".to_owned(),
            false => format!("server {is} leads epoch 2"),
        };
        assert_eq!(second["outcome"], outcome);
    }
    let again = elections.iter().rfind(|e| e["server"] == was).unwrap();
    assert_eq!(again["why"], "it started");
    assert_eq!(again["outcome"], format!("server {is} leads epoch 2"));
    tells_people(&cluster, &data, was);
}

/// The same for people: all of it, only what is asked most, nothing, and a picture.
fn tells_people(cluster: &Cluster, data: &[PathBuf], was: usize) {
    let told = explain(&["--elections"], data);
    assert_eq!(told.code, 0);
    let ended = format!("because the connection to leader {was} ended: it leads epoch 2");
    assert!(told.text.contains(&ended), "{}", told.text);
    assert!(told.text.contains("all as the model does") && !told.text.contains("NEWLEADER"));
    let told = explain(&["--since", "2100-01-01T00:00:00Z"], data);
    assert!(told.text.contains("No election is in it."), "{}", told.text);
    let told = explain(&[], data);
    let picture = cluster.dir.path().join("picture.svg");
    let drawing = explain(&["--picture", picture.to_str().unwrap()], data);
    assert_eq!(drawing.code, 0, "{}", drawing.errors);
    let drawn = std::fs::read_to_string(&picture).unwrap();
    for part in [
        "server 3",
        "NEWLEADER (epoch 2)",
        "head-vote",
        "head-packet",
        "serves epoch 2",
    ] {
        assert!(drawn.contains(part), "{part}");
    }
    let steps = [
        "tells",
        "NEWLEADER (epoch 2)",
        "is LEADING",
        "is FOLLOWING server",
        "steps about",
    ];
    for step in steps {
        assert!(told.text.contains(step), "{step}: {}", told.text);
    }
}

/// Asks for the record of a server; the status, and what comes with it.
fn ask(port: u16, authorization: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "GET /commands/flight_recorder HTTP/1.1\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, all[end + 4..].to_vec())
}

#[test]
fn a_server_that_has_lost_its_quorum_tells_over_http_what_it_waits_for() {
    let port = free_ports(1)[0];
    let mut cluster = Cluster::new(3, "");
    let file = cluster.data(2).join("zoo.cfg");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "admin.enableServer=false",
        &format!("admin.serverPort={port}"),
    );
    std::fs::write(&file, text).unwrap();
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    assert_eq!(ask(port, "").0, 401);
    cluster.kill(0);
    cluster.kill(1);
    wait_for("the loss of the quorum", || {
        let answer = cluster.word(2, "srvr")?;
        answer.contains("not currently serving").then_some(())
    });
    let (status, record) = ask(port, "Authorization: digest somebody:something\r\n");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&record));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("record");
    std::fs::write(&path, record).unwrap();
    let told = explain(&["--elections"], &[path]);
    assert_eq!(told.code, 0, "{}", told.errors);
    assert!(told.text.contains("not over, because"), "{}", told.text);
}

/// Each packet of some hundred writes, from both ends.
#[test]
fn what_servers_hear_is_what_others_have_sent() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let mut client = cluster.client((leader + 1) % 3);
    client.create("/a", 0).unwrap().unwrap();
    for n in 0..100 {
        client.set("/a", &n.to_string()).unwrap().unwrap();
    }
    for i in 0..3 {
        cluster.signal(i, "USR1");
    }
    let data: Vec<PathBuf> = (0..3).map(|i| cluster.data(i)).collect();
    let told = wait_for("the records", || {
        let told = explain(&["--output", "json"], &data);
        let connections = documents(&told, "connections").pop()?;
        // PROPOSAL, ACK and COMMIT of each write, to and from each of the two.
        (connections["packets"].as_u64()? > 600).then_some(told)
    });
    assert_eq!(told.code, 0, "{}", told.text);
    assert_eq!(documents(&told, "connections")[0]["connections"], 2);
}

#[test]
fn a_record_that_no_model_has_is_refused_and_so_is_what_is_none() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let data = cluster.data(0);
    wait_for("the record", || {
        let told = explain(&["--elections"], std::slice::from_ref(&data));
        told.text.contains("it leads epoch 1").then_some(())
    });
    cluster.kill(0);
    let mut segments = Segments::default();
    segments.read(&std::fs::read(flight_of(&data)).unwrap());
    let ((server, life, segment), found) = segments.all.pop_first().unwrap();
    // Another byte, so that it still reads: the server would have done something else.
    let changed = (0..found.bytes.len()).rev().find_map(|at| {
        let mut bytes = found.bytes.clone();
        bytes[at] ^= 1;
        let lived = live_again(&bytes, |_| {});
        matches!(lived, Err(Divergence::Effects { .. })).then_some(bytes)
    });
    let scratch = tempfile::tempdir().unwrap();
    let record = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        vec![path]
    };
    let chunk = |bytes: &[u8]| Chunk {
        server,
        life,
        segment,
        offset: 0,
        bytes: bytes.to_vec(),
    };
    let whole = frames(&[chunk(&found.bytes)]);
    assert_eq!(explain(&[], &record("whole", &whole)).code, 0);
    let other = record("other", &frames(&[chunk(&changed.unwrap())]));
    let told = explain(&[], &other);
    assert_eq!(told.code, 1, "{}", told.text);
    assert!(told.text.contains("NOT AS THE MODEL DOES"), "{}", told.text);
    assert!(told.text.contains("did something else than the model does"));

    let mut torn = whole.clone();
    torn.truncate(whole.len() - 1);
    let told = explain(&[], &record("torn", &torn));
    assert_eq!(told.code, 3, "{}", told.text);
    let cut = frames(&[chunk(&found.bytes[..5])]);
    let told = explain(&[], &record("cut", &cut));
    assert_eq!(told.code, 3, "{}", told.text);
    assert!(told.text.contains("damaged"), "{}", told.text);
    let told = explain(&[], &record("none", b"no record"));
    assert_eq!(told.code, 3);
    assert!(
        told.errors.contains("no record of a server"),
        "{}",
        told.errors
    );
    let told = explain(&[], &[scratch.path().to_owned()]);
    assert_eq!(told.code, 1);
    assert!(
        told.errors.contains("there is no zabra.flight in it"),
        "{}",
        told.errors
    );
    let told = explain(&[], &[scratch.path().join("nowhere")]);
    assert_eq!(told.code, 3);
    assert!(told.errors.contains("nowhere"), "{}", told.errors);
}

/// Writes alone keep nothing: what is told of them was written when the disk took no more logs.
#[test]
fn a_server_that_ends_by_an_error_leaves_all_that_it_held() {
    let logs = tempfile::tempdir().unwrap();
    let lines = format!("dataLogDir={}\nsnapCount=200\n", logs.path().display());
    let mut cluster = Cluster::new(1, &lines);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    client.create("/a", 0).unwrap().unwrap();
    std::fs::rename(logs.path().join("version-2"), logs.path().join("gone")).unwrap();
    let written = (0..5000).take_while(|n| client.set("/a", &n.to_string()).is_some());
    let written = u64::try_from(written.count()).unwrap();
    assert!(written < 5000, "the next log was to be begun");
    wait_for("its end", || (!cluster.is_running(0)).then_some(()));
    let told = explain(&["--output", "json"], &[cluster.data(0)]);
    assert_eq!(told.code, 0, "{}", told.text);
    let steps = documents(&told, "life")[0]["steps"].as_u64().unwrap();
    // Each of them is proposed, and told to be on the disk.
    assert!(steps > 2 * written, "{steps} steps of {written} writes");
}

#[test]
fn a_server_that_is_not_to_record_writes_nothing() {
    let mut cluster = Cluster::new(1, "zabra.flightRecorder=false\n");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster.kill(0);
    assert!(!flight_of(&cluster.data(0)).exists());
}
