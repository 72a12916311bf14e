//! ZooKeeper's own shell, which is the Java client, against our ensemble: in plain text, by TLS, and as a user of SASL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::ffi::OsString;
use std::process::Output;
use zabra::wire::client::Request;
use zabra_conformance::cluster::{Cluster, PATIENCE, Server, wait_until};
use zabra_conformance::interop::java_shell;
use zabra_conformance::raw::RawClient;
use zabra_conformance::safeguard::{DevelopmentSasl, DevelopmentTls, Safeguard};
use zabra_model::tree::op::ReadOp;

const NO_NODE: i32 = -101;

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Whether a name stands by itself in what the shell has printed.
///
/// The shell prints a list in pieces, and the thread that tells of the connection's state prints between them: `[a` may be followed by
/// the lines of an event and only then by `]`. So what is asked for is a name, not a list.
fn has_word(printed: &str, word: &str) -> bool {
    printed
        .split(|c: char| c.is_whitespace() || "[],".contains(c))
        .any(|found| found == word)
}

/// What a user does by hand, at three servers by turns; false where there is no Java.
fn works(cluster: &Cluster, variables: &[(&'static str, OsString)]) -> bool {
    let each: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    // Each command is a session of its own, at another server; every one syncs with the leader by its first write or by `sync`.
    let run = |at: usize, command: &[&str]| java_shell(&each[at], command, variables).unwrap();
    let Some(created) = run(0, &["create", "/shell", "first"]) else {
        return false;
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
    assert!(has_word(&listed, "n-0000000000"), "{listed}");
    assert!(ok(0, &["create", "-e", "/shell/mine", ""]).contains("Created /shell/mine"));
    true
}

/// What it leaves behind goes.
fn cleans(cluster: &Cluster, variables: &[(&'static str, OsString)]) {
    let last = cluster.servers[2].connect();
    let run = |command: &[&str]| java_shell(&last, command, variables).unwrap().unwrap();
    let deleted = run(&["deleteall", "/shell"]);
    assert!(deleted.status.success(), "{}", text(&deleted));
    let gone = text(&run(&["get", "/shell"]));
    assert!(
        gone.contains("NoNode") || gone.contains("does not exist"),
        "{gone}"
    );
}

#[test]
fn the_java_shell_creates_reads_lists_changes_and_deletes() {
    let cluster = Cluster::start(3, &[]).unwrap();
    if !works(&cluster, &[]) {
        return;
    }
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
    cleans(&cluster, &[]);
}

fn works_by(safeguard: &dyn Safeguard, identity: &str) {
    let lines = safeguard.lines();
    let lines: Vec<_> = lines.iter().map(|(key, value)| (*key, &**value)).collect();
    let cluster = Cluster::start(3, &lines).unwrap();
    let variables = safeguard.variables();
    if !works(&cluster, &variables) {
        return;
    }
    let server = cluster.servers[0].connect();
    let run = |command: &[&str], variables: &[(&'static str, OsString)]| {
        text(&java_shell(&server, command, variables).unwrap().unwrap())
    };
    let known = run(&["whoami"], &variables);
    assert!(known.contains(identity), "{known}");
    let unknown = run(&["ls", "/"], &[]);
    assert!(!has_word(&unknown, "shell"), "{unknown}");
    cleans(&cluster, &variables);
}

#[test]
fn the_java_shell_speaks_tls_and_is_known_by_its_certificate() {
    works_by(&DevelopmentTls::init().unwrap(), "x509: CN=client");
}

#[test]
fn the_java_shell_authenticates_by_sasl() {
    works_by(&DevelopmentSasl::init().unwrap(), "sasl: ann");
}
