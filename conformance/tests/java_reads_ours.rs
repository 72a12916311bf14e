//! ZooKeeper's server on data of ours: the tree and its digest are the same, from logs alone as from a snapshot and the log behind it.
//!
//! Skipped, loudly, where ZooKeeper cannot run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use zabra_conformance::cluster::{Cluster, Product, binary, wait_until};
use zabra_conformance::interop::has_zookeeper;

const LONG: Duration = Duration::from_secs(60);

fn zabra(arguments: &[&str]) -> Output {
    Command::new(binary().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

/// A shell whose session lasts as long as the value: it keeps its ephemeral nodes.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has a shell do this, and waits until the node of its last line is there.
fn does(server: &str, lines: &[String], last: &str) -> Shell {
    let mut shell = Command::new(binary().unwrap())
        .args(["shell", "--server", server])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = format!("{}\ncreate {last}\n", lines.join("\n"));
    let mut input = shell.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    wait_until("the shell's last node", LONG, || {
        Ok(zabra(&["shell", "--server", server, "stat", last])
            .status
            .success())
    })
    .unwrap();
    shell.stdin = Some(input);
    Shell(shell)
}

/// Nodes of all kinds, some changed, some gone.
fn all_kinds() -> Vec<String> {
    let mut lines = Vec::new();
    for i in 0..60 {
        lines.push(format!("create /n{i} data-{i}"));
        lines.push(format!("create -s /n{i}/s- x{i}"));
        lines.push(format!("set /n{i} more-{}", i * 7));
        if i % 5 == 0 {
            lines.push(format!("create -c /c{i}"));
            lines.push(format!("create /c{i}/child v"));
            lines.push(format!("create -e /e{i} ephemeral"));
            lines.push(format!("create -t 9000000 /t{i} a-while"));
        }
        if i % 7 == 0 {
            lines.push(format!("create /p{i} q world:anyone:r"));
            lines.push(format!("setAcl /n{i} digest:user{i}:aGFzaA==:cdrwa"));
        }
        if i % 11 == 0 {
            lines.push(format!("deleteall /n{i}"));
        }
    }
    lines.push("setquota -n 1000 /n1".into());
    lines.push("create \"/ü\" \"✓\"".into());
    lines
}

fn newest_snapshot(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("version-2")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_one = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "snapshot");
    let zxid = |path: &PathBuf| {
        let zxid = path.extension().unwrap().to_string_lossy().into_owned();
        u64::from_str_radix(&zxid, 16).unwrap()
    };
    files.filter(is_one).max_by_key(zxid).unwrap()
}

/// A copy of what ZooKeeper knows of in a data directory.
fn copy(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("version-2");
    fs::create_dir(&to).unwrap();
    for file in fs::read_dir(data.join("version-2")).unwrap() {
        let from = file.unwrap().path();
        let name = from.file_name().unwrap();
        if !name.to_string_lossy().starts_with("zabra.") {
            fs::copy(&from, to.join(name)).unwrap();
        }
    }
    copy
}

/// The digest that a snapshot tells, with its zxid.
fn digest(snapshot: &Path) -> (String, String) {
    let told = zabra(&["snapshot", "-o", "json", snapshot.to_str().unwrap()]);
    let text = String::from_utf8(told.stdout).unwrap();
    // The facts stand behind the nodes.
    let facts: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(facts["snapshot"], snapshot.to_str().unwrap(), "{facts}");
    let text = |key: &str| facts[key].as_str().unwrap().to_owned();
    (text("digest"), text("digest_zxid"))
}

/// ZooKeeper starts on a copy of these data, and writes the snapshot with which each start of it ends.
fn as_zookeeper_reads(data: &Path) -> (tempfile::TempDir, PathBuf) {
    let copy = copy(data);
    let before = newest_snapshot(copy.path());
    let there = [copy.path().to_owned()];
    let settings = [("extendedTypesEnabled", "true")];
    let mut java = Cluster::prepare(&[Product::ZooKeeper], &there, &settings).unwrap();
    java.restart(0).unwrap();
    java.wait_until_serving().unwrap();
    java.kill(0).unwrap();
    let written = newest_snapshot(copy.path());
    assert_ne!(written, before, "it has written one");
    (copy, written)
}

#[test]
fn zookeeper_reads_our_logs_and_snapshots_as_we_do() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let admin = zabra::dev::ports::free(1).unwrap()[0].to_string();
    let settings = [
        ("extendedTypesEnabled", "true"),
        ("admin.enableServer", "true"),
        ("admin.serverPort", &admin),
        ("admin.rateLimiterIntervalInMS", "0"),
    ];
    let mut ours =
        Cluster::prepare(&[Product::Zabra], std::slice::from_ref(&data), &settings).unwrap();
    ours.restart(0).unwrap();
    ours.wait_until_serving().unwrap();
    let mut held = vec![does(&ours.connect(), &all_kinds(), "/done")];
    for (case, more) in [
        ("logs alone", "/later"),
        ("a snapshot and the log behind it", "/last"),
    ] {
        ours.kill(0).unwrap();
        let (_copy, theirs) = as_zookeeper_reads(&data);
        ours.restart(0).unwrap();
        ours.wait_until_serving().unwrap();
        let auth = home.path().join("auth");
        fs::write(&auth, "digest user:password").unwrap();
        let to = home.path().join(case);
        let server = format!("127.0.0.1:{admin}");
        let (auth, to) = (auth.to_str().unwrap(), to.to_str().unwrap());
        let saved = zabra(&[
            "backup",
            "--server",
            &server,
            "--auth-file",
            auth,
            "--to",
            to,
        ]);
        assert!(
            saved.status.success(),
            "{}",
            String::from_utf8_lossy(&saved.stderr)
        );
        let snapshot = newest_snapshot(&data);
        let names = [theirs.to_str().unwrap(), snapshot.to_str().unwrap()];
        let compared = zabra(&["snapshot", "compare", names[0], names[1]]);
        let text = String::from_utf8_lossy(&compared.stdout);
        assert_eq!(compared.status.code(), Some(0), "{case}: {text}");
        assert_eq!(digest(&theirs), digest(&snapshot), "{case}");
        held.push(does(&ours.connect(), &["create /more x".into()], more));
    }
}
