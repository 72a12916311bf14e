//! What an operator does beside a server: logs and snapshots printed, compared and repaired, old files removed, directories made, a
//! server asked, backups made and restored. Method: the real binary, its output and its exit codes, on files that ZooKeeper wrote (conformance/golden/data) and on
//! our own, whole and damaged.

mod backups;
#[path = "../common/mod.rs"]
mod common;
mod directories;
mod doctor;
mod logs;
mod snapshots;

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a command ended, and what it said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// One document a line.
    fn documents(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn zabra(arguments: &[&str]) -> Said {
    answered(arguments, "")
}

/// With these lines on standard input.
fn answered(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(arguments)
        .env_remove("ZOOCFGDIR")
        .env_remove("ZOOCFG")
        .env_remove("ZABRA_LOG")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    Said {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// The directory of a server of ZooKeeper's, as it was captured.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conformance/golden/data")
        .join(name)
}

/// What lies in that directory, decoded by another hand.
fn decoded(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(golden(name).join("decoded.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A copy of its `version-2` that may be changed, in a data directory of its own.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("version-2")).unwrap();
    for file in fs::read_dir(golden(name).join("data/version-2")).unwrap() {
        let file = file.unwrap();
        fs::copy(
            file.path(),
            dir.path().join("version-2").join(file.file_name()),
        )
        .unwrap();
    }
    dir
}

/// Nobody reads what a command says: it ends without a word of its own, and with a code that says how it went.
#[test]
fn a_tool_whose_output_is_closed_ends_quietly() {
    let dir = copy("standalone-3.9.5");
    let (data, file) = (text(dir.path()), dir.path().join("zoo.cfg"));
    fs::write(&file, format!("dataDir={data}\nclientPort=1\n")).unwrap();
    let at = |name: &str| text(&dir.path().join("version-2").join(name)).to_owned();
    let (log, first, second) = (at("log.46"), at("snapshot.26"), at("snapshot.44"));
    damage(Path::new(&at("log.1")), 100);
    let file = text(&file);
    for (arguments, code) in [
        (&["log", data][..], 0),
        (&["log", "-o", "json", &at("log.1")], 0),
        (&["log", "--repair", "--yes", &at("log.1")], 0),
        (&["log", "--chop", "0x50", &log], 0),
        (&["snapshot", &second], 0),
        (&["snapshot", "-o", "ncdu", &second], 0),
        (&["snapshot", "summary", &second], 0),
        (&["snapshot", "compare", &first, &second], 0),
        (&["cleanup", file, "--dry-run"], 0),
        (&["cleanup", file], 0),
        (&["initialize", "--configfile", file], 1),
        (&["initialize", "--configfile", file, "--force"], 0),
        (&["status", file], 0),
        (&["digest", "a:b"], 0),
    ] {
        let (read_out, out) = std::io::pipe().unwrap();
        let (read_err, err) = std::io::pipe().unwrap();
        drop((read_out, read_err));
        let ended = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
    // What was asked for is done nevertheless.
    assert_eq!(names(&dir.path().join("version-2")), ["zabra.lock"]);
}

/// Flips a bit of the byte at `offset`.
fn damage(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[offset] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sorted names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = files
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
