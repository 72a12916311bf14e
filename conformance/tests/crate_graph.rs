//! The server takes its protocol from the model, and from the model as it is checked: what cargo and the sources say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(program)
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

/// The packages of the workspace, as cargo knows them.
fn packages() -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn package(name: &str) -> Value {
    let mut packages = packages().into_iter();
    packages.find(|p| p["name"] == name).unwrap()
}

/// What each package of the workspace declares to depend on, tests and build scripts included.
fn declared() -> BTreeMap<String, Vec<Value>> {
    let packages = packages();
    let entry = |p: &Value| {
        (
            p["name"].as_str().unwrap().to_owned(),
            p["dependencies"].as_array().unwrap().clone(),
        )
    };
    packages.iter().map(entry).collect()
}

/// The features of each package that the selected ones are built with.
fn tree(selected: &[&str]) -> String {
    let edges = [
        "tree",
        "--edges",
        "normal,build,features",
        "--prefix",
        "none",
    ];
    cargo(&[&edges, selected].concat())
}

#[test]
fn arrows_between_the_rooms_point_to_the_model() {
    let declared = declared();
    let order = [
        "zabra-model",
        "zabra-check",
        "zabra",
        "zabra-conformance",
        "zabra-benches",
    ];
    for (i, package) in order.iter().enumerate() {
        let names: Vec<_> = declared[*package]
            .iter()
            .map(|d| d["name"].as_str().unwrap())
            .collect();
        let against: Vec<_> = order[i..]
            .iter()
            .filter(|later| names.contains(later))
            .collect();
        assert!(against.is_empty(), "{package} depends on {against:?}");
    }
    let uses_checker = |name: &&str| {
        let dependencies = declared[*name].iter();
        dependencies.into_iter().any(|d| d["name"] == "zabra-check")
    };
    let users: Vec<_> = order.iter().filter(|name| uses_checker(name)).collect();
    assert!(users.is_empty(), "{users:?} use the checker");
    let names: Vec<_> = declared["zabra"]
        .iter()
        .map(|d| d["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"zabra-model"), "{names:?}");
}

#[test]
fn what_a_simulator_runs_is_built_without_tokio() {
    let without = ["--package", "zabra", "--no-default-features"];
    let built = tree(&without);
    assert!(built.contains("zabra-model v"), "{built}");
    assert!(!built.contains("tokio"), "{built}");
    assert!(tree(&without[..2]).contains("tokio"), "the server has it");
}

#[test]
fn the_server_is_built_with_the_model_without_its_checker_and_switches() {
    // Also where one command builds the whole workspace, and so unites the features of each package.
    for selected in [&["--package", "zabra"][..], &["--workspace"]] {
        let built = tree(selected);
        assert!(built.contains("zabra-model v"), "{built}");
        assert!(
            !built.contains("zabra-model feature \"checker\""),
            "{built}"
        );
    }
    let model = &package("zabra-model");
    assert_eq!(model["features"], serde_json::json!({}), "it has no switch");
    let server = tree(&["--package", "zabra"]);
    for absent in ["zabra-check", "stateright"] {
        assert!(
            !server.contains(absent),
            "the server is built with {absent}"
        );
    }
    // What this test would see if it were otherwise.
    let checked = tree(&["--package", "zabra-check"]);
    assert!(checked.contains("stateright v"), "{checked}");
    assert!(!checked.contains("zabra-model v"), "{checked}");
}

#[test]
fn what_is_checked_are_the_sources_that_the_server_is_built_from() {
    let library = |name: &str| {
        let package = package(name);
        let targets = package["targets"].as_array().unwrap().clone();
        let is_lib = |t: &&Value| t["kind"][0] == "lib";
        let path = targets.iter().find(is_lib).unwrap()["src_path"].clone();
        std::fs::canonicalize(path.as_str().unwrap()).unwrap()
    };
    assert_eq!(library("zabra-check"), library("zabra-model"));
}

/// Rust sources below `folder`, without comments and without the unit tests at their feet.
fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text
                    .split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap_or_default();
                let lines = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                found.insert(path, lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    found
}

/// Files that hold `what`, relative to the root.
fn holders(sources: &BTreeMap<PathBuf, String>, what: &str) -> Vec<String> {
    let root = root();
    let name = |path: &PathBuf| {
        path.strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    sources
        .iter()
        .filter(|(_, text)| text.contains(what))
        .map(|(path, _)| name(path))
        .collect()
}

/// The decisions of the protocol, by the names they have in the model.
const DECISIONS: [&str; 12] = [
    "fn plan_sync",
    "fn choose_epoch",
    "fn commit_ready",
    "fn is_quorum",
    "fn is_settled",
    "fn agreeing",
    "fn on_notification",
    "fn on_learner_info",
    "fn on_ack_epoch",
    "fn on_new_leader",
    "fn on_commit",
    "fn on_proposal",
];

#[test]
fn each_decision_of_the_protocol_is_defined_in_the_model_and_nowhere_else() {
    let model = sources("model/src");
    let server = sources("impl/src");
    for decision in DECISIONS {
        assert!(
            !holders(&model, decision).is_empty(),
            "{decision} is no longer the model's: mend this list"
        );
        assert_eq!(
            holders(&server, decision),
            Vec::<String>::new(),
            "{decision} is the model's"
        );
    }
    // Two votes are compared where votes are defined.
    for compared in [
        "impl PartialOrd for Vote",
        "impl Ord for Vote",
        "impl PartialOrd for Ballot",
    ] {
        assert_eq!(
            holders(&server, compared),
            Vec::<String>::new(),
            "{compared}"
        );
    }
}

#[test]
fn the_core_alone_steps_the_peer() {
    let server = sources("impl/src");
    let stepping = holders(&server, "peer.step(");
    assert!(!stepping.is_empty(), "nobody steps the peer");
    assert!(
        stepping
            .iter()
            .all(|path| path.starts_with("impl/src/core/")),
        "{stepping:?}"
    );
}

/// CVE-2026-24281: whoever answers for the names of addresses must not decide who is who. A name that the operator has written is looked
/// up; the name of an address never is.
#[test]
fn the_name_of_an_address_is_never_asked_for() {
    let server = sources("impl/src");
    assert!(!holders(&server, "lookup_host(").is_empty());
    for asking in [
        "getnameinfo",
        "gethostbyaddr",
        "lookup_addr",
        "reverse_lookup",
    ] {
        assert_eq!(holders(&server, asking), Vec::<String>::new());
    }
    // The standard library and tokio cannot ask; these can.
    let built = tree(&["--package", "zabra"]);
    for asking in [
        "dns-lookup v",
        "hickory-resolver v",
        "trust-dns-resolver v",
        "c-ares v",
    ] {
        assert!(!built.contains(asking), "the server is built with {asking}");
    }
}
