//! Every line and every field of ZooKeeper's answers to four-letter words is in ours, by the same name and of the same type, or has its reason.
//!
//! The answers of `golden/fourlw` are those of ZooKeeper 3.9.5: of a server on its own, a leader, a follower and an observer, with sessions,
//! ephemeral nodes and watches. The same is asked of such servers of ours. What differs from run to run is replaced by its kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod golden_reasons;

use bytes::Bytes;
use golden_reasons::has_reason;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use zabra::wire::client::{AddWatchMode, Request};
use zabra_conformance::cluster::{Cluster, PATIENCE, Product, four_letters};
use zabra_conformance::raw::{RawClient, create, create_as};
use zabra_model::tree::op::ReadOp;

/// Lines that are not there: of which word, how they begin, and why.
const ABSENT: &[(&str, &str, &str)] = &[
    (
        "dump",
        "Session Sets",
        "D-85: a leader tells sessions as a learner does",
    ),
    (
        "dump",
        "Connections Sets",
        "D-85: connections in the order in which they came",
    ),
    ("dump", "N expire at", "D-85"),
    (
        "dump",
        "\tX",
        "D-85: sessions stand by themselves, not below a time",
    ),
];

/// A text with what differs from run to run replaced by its kind: N a number, D one with a fraction, A an address, X one by sixteens.
fn shape(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let number: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        if let Some(hex) = rest.strip_prefix("0x") {
            let digits = hex.chars().take_while(char::is_ascii_hexdigit).count();
            rest = &hex[digits..];
            out.push('X');
        } else if first.is_ascii_digit() {
            let number = number.trim_end_matches('.');
            out.push(match number.matches('.').count() {
                0 => 'N',
                1 => 'D',
                _ => 'A',
            });
            rest = &rest[number.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// What a value is.
fn kind(value: &str) -> &'static str {
    if value.parse::<i64>().is_ok() {
        "whole"
    } else if value.parse::<f64>().is_ok() {
        "fraction"
    } else {
        "text"
    }
}

/// The lines of an answer, as they are compared. Where a value is text of its own in each run, its name stands for the line.
fn lines(word: &str, text: &str) -> BTreeSet<String> {
    let one = |line: &str| match word {
        "envi" => line.split_once('=').map_or(line, |(key, _)| key).to_owned(),
        "conf" => match line.split_once('=') {
            Some((key, value)) if !key.starts_with("server.") => format!("{key}={}", kind(value)),
            _ => shape(line),
        },
        _ if line.starts_with("Zookeeper version: ") => "the version".into(),
        // Its nodes' names are those of the test.
        "dump" if line.starts_with("\t/") => "a node".into(),
        _ => shape(line),
    };
    text.lines().map(one).collect()
}

fn mntr(text: &str) -> BTreeMap<&str, &str> {
    text.lines().map(|l| l.split_once('\t').unwrap()).collect()
}

/// What of `golden` is not in `ours`, or is something else there.
fn compare(word: &str, golden: &str, ours: &str, wrong: &mut BTreeSet<String>) {
    if word == "mntr" {
        let ours = mntr(ours);
        for (key, value) in mntr(golden) {
            let name = key.strip_prefix("zk_").unwrap();
            match ours.get(key) {
                Some(own) if kind(own) != kind(value) => {
                    wrong.insert(format!("{key}: {value} is {own}"));
                }
                Some(_) if has_reason("monitor", name) => {
                    wrong.insert(format!("{key}: it is there after all"));
                }
                None if !has_reason("monitor", name) => {
                    wrong.insert(format!("{key} is not there"));
                }
                Some(_) | None => {}
            }
        }
        return;
    }
    let ours = lines(word, ours);
    for line in lines(word, golden).difference(&ours) {
        let listed = |(of, begin, _): &&(&str, &str, &str)| *of == word && line.starts_with(begin);
        if !ABSENT.iter().any(|row| listed(&row)) {
            wrong.insert(format!("{word}: {line:?} is not among {ours:?}"));
        }
    }
}

/// Sessions at this server: with an ephemeral node and watches, with a watch, and one that has asked for nothing.
fn sessions(port: u16, is_first: bool) -> [RawClient; 3] {
    let mut ann = RawClient::connect(port, 10_000).unwrap();
    let mut bob = RawClient::connect(port, 8_000).unwrap();
    if is_first {
        ann.ok(&create("/app", b"x"), PATIENCE).unwrap();
    }
    let ephemeral = create_as("/app/e", Bytes::new(), 3);
    ann.ok(&ephemeral, PATIENCE).unwrap();
    for path in ["/app", "/nothere"] {
        let path = path.into();
        let watched = Request::Read(ReadOp::Exists { path, watch: true });
        let _ = ann.call(&watched, PATIENCE).unwrap();
    }
    let path = "/app".into();
    let mode = AddWatchMode::Persistent;
    bob.ok(&Request::AddWatch { path, mode }, PATIENCE).unwrap();
    [ann, bob, RawClient::connect(port, 9_000).unwrap()]
}

fn all_lines_are_there(role: &str, port: u16, wrong: &mut BTreeSet<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/fourlw")
        .join(format!("{role}-3.9.5"));
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    // What resets the figures comes behind those that tell them.
    files.sort_by_key(|file| {
        (
            file.ends_with("crst.txt") || file.ends_with("srst.txt"),
            file.clone(),
        )
    });
    for file in &files {
        let word = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let golden = std::fs::read_to_string(file).unwrap();
        let ours = four_letters(port, &word).unwrap();
        let mut found = BTreeSet::new();
        if golden.is_empty() || golden.starts_with("<connection closed") {
            // No word, or one that answers nothing with these settings: `hash` and `stmk` say in a line that they are not here (D-111).
            let is_told = ours == format!("{word} is not available in this server.\n");
            if !ours.is_empty() && !is_told {
                found.insert(format!("{word}: {ours:?} instead of nothing"));
            }
        } else {
            compare(&word, &golden, &ours, &mut found);
        }
        wrong.extend(found.into_iter().map(|what| format!("{role}: {what}")));
    }
    assert_eq!(files.len(), 25, "{role}");
}

#[test]
fn every_line_of_a_server_on_its_own_is_there() {
    let cluster = Cluster::start(1, &[]).unwrap();
    let port = cluster.servers[0].client_port;
    let _held = sessions(port, true);
    let mut wrong = BTreeSet::new();
    all_lines_are_there("standalone", port, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_line_of_a_leader_a_follower_and_an_observer_is_there() {
    let mut cluster = Cluster::prepare(&[Product::Zabra; 4], &[], &[]).unwrap();
    let of = &cluster.servers[3];
    let last = format!("127.0.0.1:{}:{}", of.quorum_port, of.election_port);
    for i in 0..4 {
        cluster.set(i, &last, &format!("{last}:observer")).unwrap();
        cluster.restart(i).unwrap();
    }
    cluster.wait_until_serving().unwrap();
    let mut wrong = BTreeSet::new();
    let mut held = vec![];
    let mut roles = BTreeMap::new();
    for (i, server) in cluster.servers.iter().enumerate() {
        held.push(sessions(server.client_port, i == 0));
        roles.insert(server.srvr().unwrap().mode, server.client_port);
    }
    for (role, port) in &roles {
        all_lines_are_there(role, *port, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let roles: Vec<&String> = roles.keys().collect();
    assert_eq!(roles, ["follower", "leader", "observer"]);
}
