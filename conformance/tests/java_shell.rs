//! ZooKeeper's own shell, which is the Java client, against our ensemble.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::process::Output;
use zabra::wire::client::Request;
use zabra_conformance::cluster::{Cluster, PATIENCE, Server, wait_until};
use zabra_conformance::interop::java_shell;
use zabra_conformance::raw::RawClient;
use zabra_model::tree::op::ReadOp;

const NO_NODE: i32 = -101;

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn the_java_shell_creates_reads_lists_changes_and_deletes() {
    let cluster = Cluster::start(3, &[]).unwrap();
    let each: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    // Each command is a session of its own, at another server; every one syncs with the leader by its first write or by `sync`.
    let run = |at: usize, command: &[&str]| java_shell(&each[at], command).unwrap();
    let Some(created) = run(0, &["create", "/shell", "first"]) else {
        return;
    };
    assert!(
        text(&created).contains("Created /shell"),
        "{}",
        text(&created)
    );
    let ok = |at: usize, command: &[&str]| {
        let output = run(at, command).unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        text(&output)
    };
    ok(1, &["sync", "/shell"]);
    assert!(ok(1, &["get", "-w", "/shell"]).contains("first"));
    ok(1, &["set", "/shell", "second"]);
    let got = ok(1, &["get", "-s", "/shell"]);
    assert!(
        got.contains("second") && got.contains("dataVersion = 1"),
        "{got}"
    );
    assert!(ok(2, &["create", "-s", "/shell/n-", "x"]).contains("Created /shell/n-0000000000"));
    let listed = ok(2, &["ls", "/shell"]);
    assert!(listed.contains("[n-0000000000]"), "{listed}");
    assert!(ok(0, &["create", "-e", "/shell/mine", ""]).contains("Created /shell/mine"));
    // A shell that is given a command leaves without a word, and its ephemeral node goes when its session expires.
    let mut client = RawClient::connect(cluster.servers[2].client_port, 10_000).unwrap();
    wait_until("the shell's ephemeral node goes", PATIENCE, || {
        let exists = Request::Read(ReadOp::Exists {
            path: "/shell/mine".into(),
            watch: false,
        });
        Ok(client.call(&exists, PATIENCE)? == Err(NO_NODE))
    })
    .unwrap();
    ok(2, &["deleteall", "/shell"]);
    let gone = run(2, &["get", "/shell"]).unwrap();
    assert!(
        text(&gone).contains("NoNode") || text(&gone).contains("does not exist"),
        "{}",
        text(&gone)
    );
}
