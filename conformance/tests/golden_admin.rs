//! Every field of ZooKeeper's answers over HTTP is in ours, by the same name and of the same type, or has its reason.
//!
//! The answers of `golden/admin` are those of ZooKeeper 3.9.5, of a server on its own and of a leader, with two sessions, ephemeral
//! nodes and watches. The same is asked of a server on its own, and of one that is an ensemble by itself and leads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod golden_reasons;

use bytes::Bytes;
use golden_reasons::has_reason;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use zabra::wire::client::Request;
use zabra_conformance::cluster::{Cluster, PATIENCE};
use zabra_conformance::raw::{RawClient, create, create_as};
use zabra_model::tree::op::ReadOp;

/// What has keys of its own in each run: ids of sessions and members, paths.
const TABLES: [&str; 5] = [
    "expiry_time_to_session_ids",
    "session_id_to_ephemeral_paths",
    "session_id_to_watched_paths",
    "path_to_session_ids",
    "current_config",
];

fn ask(port: u16, name: &str) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let query = if name == "set_trace_mask" {
        "?traceMask=48"
    } else {
        ""
    };
    let head = format!("GET /commands/{name}{query} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {head}");
    serde_json::from_str(body).unwrap()
}

fn kind(of: &Value) -> &'static str {
    match of {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(n) if n.is_f64() => "fraction",
        Value::Number(_) => "whole",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// What of `golden` is not in `ours`, or is something else there.
fn compare(command: &str, at: &str, golden: &Value, ours: &Value, wrong: &mut BTreeSet<String>) {
    let (wanted, is) = (kind(golden), kind(ours));
    if wanted != is {
        wrong.insert(format!("{command} {at}: {wanted} is {is}"));
        return;
    }
    match (golden, ours) {
        (Value::Object(golden), Value::Object(ours)) if TABLES.iter().any(|t| at.ends_with(t)) => {
            if let (Some(golden), Some(ours)) = (golden.values().next(), ours.values().next()) {
                compare(command, "its row", golden, ours, wrong);
            }
        }
        (Value::Object(golden), Value::Object(ours)) => {
            for (key, value) in golden {
                match ours.get(key) {
                    Some(_) if has_reason(command, key) => {
                        wrong.insert(format!("{command} {key}: it is there after all"));
                    }
                    Some(own) => compare(command, &format!("{at}.{key}"), value, own, wrong),
                    None if has_reason(command, key) => {}
                    None => {
                        wrong.insert(format!("{command} {at}.{key} is not there"));
                    }
                }
            }
        }
        (Value::Array(golden), Value::Array(ours)) => {
            if let (Some(golden), Some(ours)) = (golden.first(), ours.first()) {
                compare(command, at, golden, ours, wrong);
            }
        }
        _ => {}
    }
}

fn free_port() -> u16 {
    zabra::dev::ports::free(1).unwrap()[0]
}

fn all_fields_are_there(role: &str, more: &[(&str, &str)]) {
    let port = free_port().to_string();
    let settings = [("admin.enableServer", "true"), ("admin.serverPort", &port)];
    let settings = [&settings, more].concat();
    let mut cluster = Cluster::start(1, &settings).unwrap();
    cluster.wait_until_serving().unwrap();
    let mut client = RawClient::connect(cluster.servers[0].client_port, 10_000).unwrap();
    client.ok(&create("/app", b"x"), PATIENCE).unwrap();
    let ephemeral = create_as("/app/e1", Bytes::new(), 1);
    client.ok(&ephemeral, PATIENCE).unwrap();
    let watched = Request::Read(ReadOp::GetData {
        path: "/app".into(),
        watch: true,
    });
    client.ok(&watched, PATIENCE).unwrap();
    let port = port.parse().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/admin")
        .join(role);
    let mut wrong = BTreeSet::new();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let golden: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut ours = ask(port, &name);
        assert_eq!(ours["command"], golden["command"], "{name}");
        assert_eq!(ours["error"], golden["error"], "{name}");
        if name == "initial_configuration" && golden[&name].is_null() {
            // A member of ZooKeeper's tells none (D-96).
            ours[&name] = Value::Null;
        }
        compare(&name, "", &golden, &ours, &mut wrong);
        seen += 1;
    }
    assert!(wrong.is_empty(), "{role}:\n{wrong:#?}");
    assert_eq!(seen, 25);
}

#[test]
fn every_field_of_a_server_on_its_own_is_there() {
    all_fields_are_there("standalone-3.9.5", &[]);
}

#[test]
fn every_field_of_a_leader_is_there() {
    let (quorum, election) = (free_port(), free_port());
    let own = format!("127.0.0.1:{quorum}:{election}");
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("myid"), "1").unwrap();
    let alone = [
        ("standaloneEnabled", "false"),
        ("server.1", &*own),
        ("dataDir", data.path().to_str().unwrap()),
    ];
    all_fields_are_there("leader-3.9.5", &alone);
}
