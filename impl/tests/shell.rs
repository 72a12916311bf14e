//! `zabra shell` as a process, against what ZooKeeper 3.9.5's own shell answers to the same lines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod common;

use common::Cluster;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// Lines and what ZooKeeper's shell prints to each: on standard output, on standard error, before and behind the slash. `*` stands for
/// what differs each time, up to the end of a line. The tree grows from line to line.
#[rustfmt::skip]
const TALK: &[(&str, &str, &str)] = &[
    ("create /t hello", "", "Created /t\n"),
    ("create /t again", "", "Node already exists: /t\n"),
    ("create /t/a one", "", "Created /t/a\n"),
    ("create -s /t/s- x", "", "Created /t/s-0000000001\n"),
    ("create -e /t/e eph", "", "Created /t/e\n"),
    ("create -s -e /t/se x", "", "Created /t/se0000000003\n"),
    ("create -c /t/c cont", "", "Created /t/c\n"),
    ("create -t 60000 /t/ttl x", "", "Created /t/ttl\n"),
    ("create -t 0 /t/ttl0 x", "", "ttl must be positive and cannot be larger than: 1099511627775\n"),
    ("create -t abc /t/ttl0 x", "", "-t argument must be a long value\n"),
    ("create -t 100 -e /t/ttl0 x", "", "TTLs cannot be used with Ephemeral znodes\n"),
    ("create -c -e /t/ce", "", "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.\n"),
    ("create /no/such x", "", "Node does not exist: /no/such\n"),
    ("create /t/e/child x", "", "Ephemerals cannot have children: /t/e/child\n"),
    ("create", "", "create [-s] [-e] [-c] [-t ttl] path [data] [acl]\n"),
    ("create bad", "", "Path must start with / character\n"),
    ("create /", "", "Node already exists: /\n"),
    ("create /t//x", "", "Invalid path string \"/t//x\" caused by empty node name specified @3\n"),
    ("create /t/../x", "", "Invalid path string \"/t/../x\" caused by relative paths not allowed @4\n"),
    ("create /t/", "", "Path must not end with / character\n"),
    ("get /t", "hello\n", ""),
    ("get -s /t/a", "one\ncZxid = 0x*\nctime = *\nmZxid = 0x*\nmtime = *\npZxid = 0x*\ncversion = 0\ndataVersion = 0\naclVersion = 0\n\
                     ephemeralOwner = 0x0\ndataLength = 3\nnumChildren = 0\n", ""),
    ("get -b /t/a", "b25l\n", ""),
    ("get -x /t/a", "         +-------------------------------------------------+\n\
                     \u{20}        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
                     +--------+-------------------------------------------------+----------------+\n\
                     |00000000| 6f 6e 65                                        |one             |\n\
                     +--------+-------------------------------------------------+----------------+\n", ""),
    ("get /none", "", "Node does not exist: /none\n"),
    ("set -v 7 /t/a x", "", "version No is not valid : /t/a\n"),
    ("set -b /t/a aGVsbG8=", "", ""),
    ("get /t/a", "hello\n", ""),
    ("set /t/a", "", "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n\
                      \u{20}-s         Print znode stats additionally\n -v <arg>   Set with an expected version\n\n"),
    ("set /none x", "", "Node does not exist: /none\n"),
    ("ls /t", "[a, c, e, s-0000000001, se0000000003, ttl]\n", ""),
    ("ls -R /t", "/t\n/t/a\n/t/c\n/t/e\n/t/s-0000000001\n/t/se0000000003\n/t/ttl\n", ""),
    ("ls /none", "", "Node does not exist: /none\n"),
    ("ls", "", "ls [-s] [-w] [-R] path\n"),
    ("stat /t", "cZxid = 0x*\nctime = *\nmZxid = 0x*\nmtime = *\npZxid = 0x*\ncversion = 6\ndataVersion = 0\naclVersion = 0\n\
                 ephemeralOwner = 0x0\ndataLength = 5\nnumChildren = 6\n", ""),
    ("stat /none", "", "Node does not exist: /none\n"),
    ("delete -v 9 /t/a", "", "version No is not valid : /t/a\n"),
    ("delete /t", "", "Node not empty: /t\n"),
    ("delete /none", "", "Node does not exist: /none\n"),
    ("delete", "", "delete [-v version] path\n"),
    ("delete /zookeeper", "", "Arguments are not valid : /zookeeper\n"),
    ("get /t watch", "hello\n", "'get path [watch]' has been deprecated. Please use 'get [-s] [-w] path' instead.\n"),
    ("getAcl /t", "'world,'anyone\n: cdrwa\n", ""),
    ("getAcl /none", "", "Node does not exist: /none\n"),
    ("setAcl /t/c world:anyone:cdrw", "", ""),
    ("getAcl /t/c", "'world,'anyone\n: cdrw\n", ""),
    ("setAcl /t/c world:anyone:cdrwa", "", "Insufficient permission : /t/c\n"),
    ("setAcl /t/a bad", "", "bad does not have the form scheme:id:perm\nAcl is not valid : null\n"),
    ("setAcl /t/a nosuch:x:r", "", "Acl is not valid : /t/a\n"),
    ("setAcl -v 9 /t/a world:anyone:r", "", "version No is not valid : /t/a\n"),
    ("whoami", "Auth scheme: User\nip: 127.0.0.1\n", ""),
    ("addauth digest bob:secret", "", ""),
    ("whoami", "Auth scheme: User\nip: 127.0.0.1\ndigest: bob\n", ""),
    ("create /t/mine x auth::cdrwa", "", "Created /t/mine\n"),
    ("getAcl /t/mine", "'digest,'bob:fyVmFCwVbTJYrznoSu1koqYEYF0=\n: cdrwa\n", ""),
    ("addauth", "", "addauth scheme auth\n"),
    ("sync /t", "Sync is OK\n", ""),
    ("sync", "", "sync path\n"),
    ("setquota -n 10 /t", "", ""),
    ("listquota /t", "Output quota for /t count=10,bytes=-1=;byteHardLimit=-1;countHardLimit=-1\nOutput stat for /t count=8,bytes=21\n",
                     "absolute path is /zookeeper/quota/t/zookeeper_limits\n"),
    ("setquota -N 5 /t", "[Warning]: the count quota you create is less than the existing count:8\n", ""),
    ("setquota -n 0 /t", "", "the num quota must be greater than zero\n"),
    ("setquota -n abc /t", "", "NumberFormatException happens when parsing the option value\n"),
    ("setquota -n 5 /t/a", "", "/t/a has a parent /t which has a quota\n"),
    ("setquota -n 5 /none", "", "/none does not exist.\n"),
    ("delquota -n /t", "", ""),
    ("listquota /t", "Output quota for /t count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=5\nOutput stat for /t count=8,bytes=21\n",
                     "absolute path is /zookeeper/quota/t/zookeeper_limits\n"),
    ("delquota /t", "", ""),
    ("listquota /t", "", "absolute path is /zookeeper/quota/t/zookeeper_limits\nquota for /t does not exist.\n"),
    ("delquota /t", "Quota does not exist for /t\n", ""),
    ("config", "\n", ""),
    ("config -c", " \n", ""),
    ("config -s", "\ncZxid = 0x0\nctime = Thu Jan 01 00:00:00 UTC 1970\nmZxid = 0x0\nmtime = Thu Jan 01 00:00:00 UTC 1970\npZxid = 0x0\n\
                   cversion = 0\ndataVersion = 0\naclVersion = -1\nephemeralOwner = 0x0\ndataLength = 0\nnumChildren = 0\n", ""),
    ("reconfig -remove 3", "", "KeeperErrorCode = Reconfig is disabled\n"),
    ("addWatch -m foo /t", "", "addWatch [-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
                                PERSISTENT_RECURSIVE\n"),
    ("removewatches /t/a", "", "KeeperErrorCode = No such watcher for /t/a\n"),
    ("getEphemerals", "[/t/e, /t/se0000000003]\n", ""),
    ("getEphemerals /t/s", "[/t/se0000000003]\n", ""),
    ("getAllChildrenNumber /t", "7\n", ""),
    ("getAllChildrenNumber", "", "getAllChildrenNumber path\n"),
    ("getAllChildrenNumber /none", "", "Node does not exist: /none\n"),
    ("printwatches off", "", ""),
    ("printwatches", "printwatches is off\n", ""),
    ("redo 0", "", "Node already exists: /t\n"),
    ("redo 999", "", "Command index out of range\n"),
    ("create /t/quoted \"two words\"", "", "Created /t/quoted\n"),
    ("get /t/quoted", "two words\n", ""),
    ("create '/t/sp ace' 'single \"in\" it'", "", "Created /t/sp ace\n"),
    ("get '/t/sp ace'", "single \"in\" it\n", ""),
    ("deleteall /none", "", "Node does not exist: /none\n"),
    ("deleteall /t", "", ""),
    ("ls /", "[zookeeper]\n", ""),
    ("close", "", ""),
    ("ls /", "Not connected\n", ""),
    ("connect", "", ""),
    ("ls /", "[zookeeper]\n", ""),
];

fn shell(cluster: &Cluster, arguments: &[&str], lines: &str) -> Output {
    let server = format!("127.0.0.1:{}", cluster.ports[0]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["shell", "--server", &server])
        .args(arguments)
        .env("TZ", "UTC")
        .env_remove("ZABRA_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    // A shell that is given a command does not read them.
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}

/// One command: exit code, standard output, standard error.
fn one(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let output = shell(cluster, arguments, "");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn served() -> Cluster {
    let mut cluster = Cluster::new(1, "extendedTypesEnabled=true");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster
}

/// A shell that reads lines while it is looked at.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<String>>,
}

impl Talk {
    fn begin(cluster: &Cluster) -> Self {
        let server = format!("127.0.0.1:{}", cluster.ports[0]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["shell", "--server", &server])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..n]);
                heard.lock().unwrap().push_str(&text);
            }
        });
        Self { child, stdin, said }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for a text; what was said up to its end.
    fn wait_for(&self, text: &str) -> String {
        common::wait_for(text, || {
            let mut said = self.said.lock().unwrap();
            let end = said.find(text)? + text.len();
            Some(said.drain(..end).collect())
        })
    }

    fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Whether a text is the expected one, in which `*` stands for the rest of a line.
fn fits(expected: &str, text: &str) -> bool {
    let (expected, text): (Vec<_>, Vec<_>) =
        (expected.split('\n').collect(), text.split('\n').collect());
    expected.len() == text.len()
        && expected
            .iter()
            .zip(&text)
            .all(|(e, t)| match e.split_once('*') {
                Some((begin, _)) => t.starts_with(begin) && t.len() > begin.len(),
                None => e == t,
            })
}

#[test]
fn lines_are_answered_as_zookeepers_shell_answers_them() {
    let cluster = served();
    // A mark behind each line tells the answers apart on both streams.
    let mut lines = String::new();
    for (n, (line, ..)) in TALK.iter().enumerate() {
        lines += &format!("{line}\nprintwatches\nnosuch-{n}\n");
    }
    let output = shell(&cluster, &[], &lines);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let mut out = out.split("printwatches is ").peekable();
    let mut rest = err.as_str();
    let mut wrong = Vec::new();
    for (n, (line, expected_out, expected_err)) in TALK.iter().enumerate() {
        let mut said = out
            .next()
            .unwrap()
            .trim_start_matches("on\n")
            .trim_start_matches("off\n")
            .to_owned();
        if *line == "printwatches" {
            said = format!("printwatches is {}", out.next().unwrap());
        }
        let (told, behind) = rest
            .split_once(&format!(
                "Command not found: Command not found nosuch-{n}\n"
            ))
            .unwrap();
        rest = behind;
        // The overview of all commands, which the mark brings about.
        let told = told.split_once("zabra shell --server").unwrap().0;
        if !fits(expected_out, &said) || !fits(expected_err, told) {
            wrong.push(format!("{line}\n  expected {expected_out:?} and {expected_err:?}\n  said     {said:?} and {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(TALK.len() >= 90);
}

#[test]
fn watches_tell_what_happens() {
    let cluster = served();
    let mut talk = Talk::begin(&cluster);
    let event = |state: &str, kind: &str, path: &str| {
        format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: ")
    };
    let told = |kind: &str, path: &str| event("SyncConnected", kind, path);
    for (line, what) in [
        ("create /w 0\nget -w /w", "0\n".to_owned()),
        ("set /w 1", told("NodeDataChanged", "/w")),
        ("ls -w /w", "[]\n".to_owned()),
        ("create /w/a x", told("NodeChildrenChanged", "/w")),
        ("stat -w /w", "numChildren = 1\n".to_owned()),
        ("removewatches /w -d", told("DataWatchRemoved", "/w")),
        ("addWatch /w\nset /w/a y", told("NodeDataChanged", "/w/a")),
        ("create /w/a/b x", told("NodeCreated", "/w/a/b")),
        ("removewatches /w", told("PersistentWatchRemoved", "/w")),
        (
            "addWatch -m PERSISTENT /w\ncreate /w/c x",
            told("NodeChildrenChanged", "/w"),
        ),
        // Two watches see it, and it is told once.
        ("get -w /w\nset /w 3", told("NodeDataChanged", "/w")),
        ("removewatches /w -p", told("PersistentWatchRemoved", "/w")),
        (
            "ls -R -w /w\ndelete /w/c",
            told("NodeChildrenChanged", "/w"),
        ),
        ("connect", event("SyncConnected", "None", "null") + "-1\n"),
        ("quit", event("Closed", "None", "null") + "-1\n"),
    ] {
        talk.say(line);
        let said = talk.wait_for(&what);
        assert!(
            said.matches("WATCHER::").count() <= 1 || line == "connect",
            "{line}: {said}"
        );
    }
    assert_eq!(talk.end(), Some(0));
}

#[test]
fn a_command_alone_tells_by_its_exit_code_how_it_went() {
    let cluster = served();
    let done = one(&cluster, &["create", "-e", "/e", "x"]);
    assert_eq!(done, (0, String::new(), "Created /e\n".into()));
    // The session has ended with the command.
    let gone = (1, String::new(), "Node does not exist: /e\n".into());
    assert_eq!(one(&cluster, &["get", "/e"]), gone);
    assert_eq!(
        one(&cluster, &["ls", "/"]),
        (0, "[zookeeper]\n".into(), String::new())
    );
    let server = format!("127.0.0.1:{}/zookeeper", cluster.ports[0]);
    let chroot = one(&cluster, &["-o", "raw", "ls", "/"]);
    assert_eq!(chroot.0, 0);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .arg("shell")
            .args(arguments)
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            err,
        )
    };
    let below = run(&["-server", &server, "ls", "/"]);
    assert_eq!(below, (0, "[config, quota]\n".into(), String::new()));
    let (code, _, err) = one(&cluster, &["nosuch"]);
    assert_eq!(code, 127);
    assert!(
        err.ends_with("Command not found: Command not found nosuch\n"),
        "{err}"
    );
    let port = common::free_ports(1)[0];
    let (code, out, err) = run(&["--server", &format!("127.0.0.1:{port}"), "get", "/x"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines[0], "KeeperErrorCode = ConnectionLoss for /x");
    assert!(lines[1].contains("no server answers there"), "{err}");
}

#[test]
fn json_is_one_document_a_command() {
    let cluster = served();
    let lines = "create /j {\"k\":1}\nget -s /j\nget /none\nls /\ngetAcl /j\nstat /j\nwhoami\nversion\nnosuch\n";
    let output = shell(&cluster, &["-o", "json"], lines);
    assert_eq!(output.status.code(), Some(127), "of the last command");
    let out = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<serde_json::Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(documents.len(), lines.lines().count(), "{out}");
    assert_eq!(documents[0]["path"], "/j");
    assert_eq!(documents[1]["data"], "{\"k\":1}");
    assert_eq!(documents[1]["stat"]["dataLength"], 7);
    assert_eq!(documents[2]["code"], "NoNode");
    assert_eq!(documents[2]["error"], "Node does not exist: /none");
    assert_eq!(
        documents[3]["children"],
        serde_json::json!(["j", "zookeeper"])
    );
    assert_eq!(documents[4]["acl"][0]["permissions"], "cdrwa");
    assert_eq!(documents[5]["stat"]["mZxid"], documents[1]["stat"]["mZxid"]);
    assert_eq!(documents[6]["users"][0]["scheme"], "ip");
    assert_eq!(documents[8]["code"], "CommandNotFound");
}

#[test]
fn members_leave_and_come_back_by_reconfig() {
    // super:secret
    let mut cluster = Cluster::new(
        3,
        "reconfigEnabled=true\nDigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
    );
    cluster.start_all();
    // A leader that is removed takes its clients' answers with it, and the shell is connected to the first.
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let leaves = if leader == 2 { 1 } else { 2 };
    let (id, port) = (leaves + 1, cluster.ports[leaves]);
    let line = format!(
        "server.{id}=127.0.0.1:{}:{}:participant;127.0.0.1:{port}",
        cluster.quorum_ports[leaves], cluster.election_ports[leaves]
    );
    let mut talk = Talk::begin(&cluster);
    // The leader writes the first list when it has begun to serve.
    common::wait_for("the first list in the history", || {
        let (_, out, _) = one(&cluster, &["config"]);
        (out.contains("server.3=") && !out.ends_with("version=0\n")).then_some(())
    });
    talk.say(&format!(
        "addauth digest super:secret\nreconfig -remove {id}"
    ));
    talk.wait_for("Committed new configuration:\nserver.1=");
    let members = talk.wait_for("version=");
    assert!(!members.contains(&line), "{members}");
    talk.say(&format!("reconfig -s -add {line}"));
    let members = talk.wait_for("version=");
    assert!(members.contains(&line), "{members}");
    talk.wait_for("numChildren = 0\n");
    talk.say("reconfig -v 1 -remove 3\nconfig -c");
    talk.wait_for(&format!("127.0.0.1:{port}"));
    talk.say("quit");
    assert_eq!(talk.end(), Some(0));
}
