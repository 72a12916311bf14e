//! What `zabra shell` has beyond ZooKeeper's: locks and elections under kills of everybody, and commands by which programs meet.
//!
//! A witness that knows nothing of ZooKeeper says whether two held a lock at a time: each holder takes a lock of the file system while it is
//! at work, which the system takes back at once when it dies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod common;

use common::{Cluster, wait_for};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What sessions of the tests ask for.
const TIMEOUT_MS: u64 = 3000;

fn shell(cluster: &Cluster, arguments: &[&str]) -> Command {
    let each: Vec<_> = cluster
        .ports
        .iter()
        .map(|p| format!("127.0.0.1:{p}"))
        .collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zabra"));
    command
        .args(["shell", "--timeout", &TIMEOUT_MS.to_string()])
        .args(["--server", &each.join(",")])
        .args(arguments)
        .env_remove("ZABRA_LOG")
        .stdin(Stdio::null());
    command
}

fn done(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = shell(cluster, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn says(cluster: &Cluster, arguments: &[&str]) -> String {
    let (code, out, err) = done(cluster, arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

fn begin(cluster: &Cluster, arguments: &[&str]) -> Child {
    shell(cluster, arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn ensemble() -> Cluster {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    cluster
}

/// One server on its own.
fn served() -> Cluster {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster
}

/// A line that the witness has written.
#[derive(Debug)]
struct Turn {
    zxid: u64,
    shell: u32,
}

fn turns(log: &Path) -> Vec<Turn> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let turn = |line: &str| {
        let (zxid, shell) = line.split_once(' ').unwrap();
        Turn {
            zxid: zxid.parse().unwrap(),
            shell: shell.parse().unwrap(),
        }
    };
    whole.lines().map(turn).collect()
}

#[test]
fn one_holds_a_lock_at_a_time_while_leaders_and_holders_are_killed() {
    let mut cluster = ensemble();
    let dir = tempfile::tempdir().unwrap();
    let (log, both) = (dir.path().join("log"), dir.path().join("both"));
    // Without the descriptor for what it starts, because that outlives it for a moment.
    let witness = format!(
        "exec 9>>{0}/file; flock -n 9 || echo $ZABRA_NODE >>{0}/both; echo $ZABRA_ZXID $PPID >>{0}/log; sleep 0.05 9>&-",
        dir.path().display()
    );
    let mut contenders: Vec<Child> = Vec::new();
    let lock = ["lock", "/jobs/lock", "--", "sh", "-c", &witness];
    let mut keep_up = |kill: Option<u32>| {
        for contender in &mut contenders {
            if kill == Some(contender.id()) {
                contender.kill().unwrap();
            }
        }
        contenders.retain_mut(|c| c.try_wait().unwrap().is_none());
        while contenders.len() < 4 {
            contenders.push(begin(&cluster, &lock));
        }
        turns(&log)
    };
    let wait_for_turns = |keep_up: &mut dyn FnMut(Option<u32>) -> Vec<Turn>, more: usize| {
        let before = keep_up(None).len();
        wait_for("further turns", || {
            let all = keep_up(None);
            (all.len() >= before + more).then_some(all)
        })
    };
    wait_for_turns(&mut keep_up, 3);
    for _ in 0..3 {
        // The one who came last is at work, or just done.
        let all = wait_for_turns(&mut keep_up, 1);
        let begun = Instant::now();
        keep_up(all.last().map(|turn| turn.shell));
        wait_for_turns(&mut keep_up, 3);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
    }
    drop(contenders);
    for _ in 0..2 {
        let leader = cluster.wait_serving(&[0, 1, 2]);
        let mut held = Vec::new();
        let before = turns(&log).len();
        cluster.kill(leader);
        wait_for("turns under another leader", || {
            held.retain_mut(|c: &mut Child| c.try_wait().unwrap().is_none());
            while held.len() < 3 {
                held.push(begin(&cluster, &lock));
            }
            (turns(&log).len() >= before + 4).then_some(())
        });
        cluster.start(leader);
        for mut contender in held {
            contender.kill().unwrap();
            contender.wait().unwrap();
        }
    }
    let zxids: Vec<u64> = turns(&log).iter().map(|turn| turn.zxid).collect();
    assert!(
        !both.exists(),
        "two at a time: {}",
        std::fs::read_to_string(&both).unwrap()
    );
    assert!(
        zxids.is_sorted_by(|a, b| a < b),
        "each later holder has a larger zxid: {zxids:?}"
    );
    assert!(zxids.len() >= 20, "{zxids:?}");
}

#[test]
fn a_program_ends_before_what_it_holds_is_lost_and_with_its_shell() {
    let mut cluster = served();
    let pid_of = |mark: &Path| {
        wait_for("the program", || {
            std::fs::read_to_string(mark)
                .ok()?
                .trim()
                .parse::<u32>()
                .ok()
        })
    };
    let is_alive = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status
            .rsplit(')')
            .next()
            .is_some_and(|s| !s.trim().is_empty() && !s.trim().starts_with('Z'))
    };
    let dir = tempfile::tempdir().unwrap();
    let program = |mark: &Path| {
        format!(
            "echo $$ >{0}.new; mv {0}.new {0}; exec sleep 100",
            mark.display()
        )
    };
    // The shell is killed: its program does not go on without it.
    let mark = dir.path().join("first");
    let mut killed = begin(&cluster, &["lock", "/l", "--", "sh", "-c", &program(&mark)]);
    let pid = pid_of(&mark);
    assert!(is_alive(pid));
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_for("the end of the program", || (!is_alive(pid)).then_some(()));
    // The next one comes in when the session is over, which nobody has closed.
    let begun = Instant::now();
    assert_eq!(says(&cluster, &["lock", "/l", "--", "echo", "in"]), "in\n");
    assert!(
        begun.elapsed() < Duration::from_millis(3 * TIMEOUT_MS),
        "{:?}",
        begun.elapsed()
    );
    // No server is left: the program is told to end before the session can be over.
    let mark = dir.path().join("second");
    let mut alone = begin(&cluster, &["lock", "/l", "--", "sh", "-c", &program(&mark)]);
    let pid = pid_of(&mark);
    let begun = Instant::now();
    cluster.kill(0);
    wait_for("the end of the program", || (!is_alive(pid)).then_some(()));
    assert!(
        begun.elapsed() < Duration::from_millis(TIMEOUT_MS * 55 / 100),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(alone.wait().unwrap().code(), Some(1));
}

#[test]
fn an_election_has_one_leader_and_another_when_that_is_killed() {
    let mut cluster = ensemble();
    let mut candidates: Vec<(&str, Child)> = ["ann", "bob", "cay"]
        .into_iter()
        .map(|name| {
            let child = begin(&cluster, &["elect", "/office", name]);
            // Who comes first is known, so that the order of the line is.
            wait_for("a place in the line", || {
                let (_, out, _) = done(&cluster, &["ls", "/office"]);
                (out.matches("latch-").count()
                    == ["ann", "bob", "cay"].iter().position(|n| *n == name)? + 1)
                    .then_some(())
            });
            (name, child)
        })
        .collect();
    let leads = |cluster: &Cluster| {
        wait_for("somebody leads", || {
            let (code, out, _) = done(cluster, &["elect", "/office"]);
            let (name, zxid) = out.trim().split_once(" leads since zxid 0x")?;
            (code == 0).then(|| (name.to_owned(), u64::from_str_radix(zxid, 16).unwrap()))
        })
    };
    let (first, first_zxid) = leads(&cluster);
    assert_eq!(first, "ann");
    // Another leader of the ensemble changes nothing for the leader that it has elected.
    let leader = cluster.wait_serving(&[0, 1, 2]);
    cluster.kill(leader);
    assert_eq!(leads(&cluster), (first, first_zxid));
    cluster.start(leader);
    let (_, ann) = &mut candidates[0];
    ann.kill().unwrap();
    ann.wait().unwrap();
    let next = wait_for("the next one", || {
        let now = leads(&cluster);
        (now.0 != "ann").then_some(now)
    });
    assert_eq!(next.0, "bob");
    assert!(next.1 > first_zxid);
    // Who is asked to end leaves at once.
    let (_, bob) = &mut candidates[1];
    let status = Command::new("kill")
        .arg(bob.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(bob.wait().unwrap().code(), Some(0));
    assert_eq!(leads(&cluster).0, "cay");
    let (code, _, err) = done(
        &cluster,
        &["elect", "-w", "200", "/office", "dan", "--", "true"],
    );
    assert_eq!(code, 1);
    assert!(err.contains("first in line is cay"), "{err}");
    for (_, child) in &mut candidates {
        let _ = child.kill();
        let _ = child.wait();
    }
}

// long: one story after the other, each of a recipe, with the same three servers.
#[test]
fn places_barriers_and_queues_let_in_whom_they_should() {
    let cluster = served();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // Of five, never more than two are at work, and two are.
    let work = format!(
        "d={}; mkdir $d/at-$$; ls -d $d/at-* | wc -l >>$d/count; sleep 0.4; rmdir $d/at-$$",
        dir.path().display()
    );
    let five: Vec<_> = (0..5)
        .map(|_| begin(&cluster, &["semaphore", "/s", "2", "--", "sh", "-c", &work]))
        .collect();
    for mut child in five {
        assert!(child.wait().unwrap().success());
    }
    let counts = std::fs::read_to_string(at("count")).unwrap();
    let counts: Vec<u32> = counts.lines().map(|c| c.trim().parse().unwrap()).collect();
    assert_eq!(
        (counts.len(), counts.iter().max()),
        (5, Some(&2)),
        "{counts:?}"
    );
    // Nobody goes before the third has come, twice in a row.
    for round in 0..2 {
        let go = format!("echo x >>{}", at(&format!("go{round}")).display());
        let come = || begin(&cluster, &["barrier", "/b", "3", "--", "sh", "-c", &go]);
        let mut first = [come(), come()];
        wait_for("two at the barrier", || {
            // The node is not there before the first has come.
            let (_, out, _) = done(&cluster, &["ls", "/b"]);
            (out.matches("member-").count() == 2).then_some(())
        });
        assert!(!at(&format!("go{round}")).exists());
        assert!(come().wait().unwrap().success());
        first
            .iter_mut()
            .for_each(|c| assert!(c.wait().unwrap().success()));
        assert_eq!(
            std::fs::read_to_string(at(&format!("go{round}")))
                .unwrap()
                .len(),
            6
        );
    }
    let (code, _, err) = done(&cluster, &["barrier", "-w", "100", "/b", "2"]);
    assert_eq!(code, 1, "{err}");
    // Each element is taken once, in order, by whoever asks.
    for n in 0..20 {
        says(&cluster, &["queue", "/q", "put", &n.to_string()]);
    }
    assert_eq!(says(&cluster, &["queue", "/q", "size"]), "20\n");
    assert_eq!(says(&cluster, &["queue", "/q", "take"]), "0\n");
    let takers: Vec<_> = (1..20)
        .map(|_| {
            shell(&cluster, &["queue", "/q", "take"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut taken: Vec<u32> = takers
        .into_iter()
        .map(|taker| {
            let out = taker.wait_with_output().unwrap();
            String::from_utf8(out.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        })
        .collect();
    taken.sort_unstable();
    assert_eq!(taken, (1..20).collect::<Vec<_>>());
    let (code, _, err) = done(&cluster, &["queue", "/q", "take"]);
    assert_eq!((code, &*err), (1, "/q: nothing is there\n"));
    let waiting = shell(&cluster, &["queue", "-w", "20000", "/later", "take"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    says(&cluster, &["queue", "/later", "put", "at last"]);
    assert_eq!(waiting.wait_with_output().unwrap().stdout, b"at last\n");
}

#[test]
fn events_start_programs() {
    let cluster = served();
    says(&cluster, &["create", "/w", "x"]);
    let told = "echo $ZABRA_EVENT $ZABRA_NODE";
    let watcher = shell(
        &cluster,
        &["watch", "-r", "-n", "3", "/w", "--", "sh", "-c", told],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    wait_for("the watch", || {
        cluster
            .word(0, "wchs")?
            .contains("Total watches:1")
            .then_some(())
    });
    says(&cluster, &["set", "/w", "y"]);
    says(&cluster, &["create", "/w/a", "x"]);
    says(&cluster, &["delete", "/w/a"]);
    let out = watcher.wait_with_output().unwrap().stdout;
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "NodeDataChanged /w\nNodeCreated /w/a\nNodeDeleted /w/a\n"
    );
    let (code, _, err) = done(&cluster, &["watch", "-w", "100", "/w"]);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn a_tree_is_drawn_searched_written_and_read_back() {
    let cluster = served();
    let open = "[zookeeper]\n";
    assert_eq!(says(&cluster, &["ls", "/"]), open);
    says(&cluster, &["create", "/a", "one"]);
    says(
        &cluster,
        &[
            "create",
            "/a/b",
            "\u{fc}",
            "world:anyone:cdrwa,digest:bob:x=:r",
        ],
    );
    says(&cluster, &["create", "/a/b/c", "three"]);
    says(&cluster, &["create", "/a/d", ""]);
    assert_eq!(
        says(&cluster, &["tree", "/a"]),
        "/a\n├── b\n│   └── c\n└── d\n"
    );
    assert_eq!(
        says(&cluster, &["tree", "-d", "1", "/a"]),
        "/a\n├── b (1 below)\n└── d\n"
    );
    for (arguments, found) in [
        (&["-name", "?"][..], "/a\n/a/b\n/a/b/c\n/a/d\n"),
        (&["-data", "e"], "/a\n/a/b/c\n"),
        (&["-acl", "digest:bob"], "/a/b\n"),
        (&["-kind", "ephemeral"], ""),
        (&["-name", "c", "-data", "three"], "/a/b/c\n"),
    ] {
        assert_eq!(
            says(&cluster, &[&["find", "/a"], arguments].concat()),
            found,
            "{arguments:?}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    let file = file.to_str().unwrap();
    let exported = says(&cluster, &["export", "/a"]);
    std::fs::write(file, &exported).unwrap();
    assert_eq!(exported.lines().count(), 4);
    let (code, _, err) = done(&cluster, &["import", file]);
    assert_eq!(
        (code, &*err),
        (
            1,
            "/a is there already, and nothing was changed; -f writes over what is there\n"
        )
    );
    assert_eq!(
        says(&cluster, &["import", "-n", file, "/copy"]),
        "/copy/a\n/copy/a/b\n/copy/a/b/c\n/copy/a/d\n"
    );
    assert_eq!(says(&cluster, &["ls", "/"]), "[a, zookeeper]\n");
    says(&cluster, &["import", file, "/copy"]);
    let server = format!("127.0.0.1:{}/copy", cluster.ports[0]);
    assert_eq!(says(&cluster, &["diff", "/a", &server]), "");
    says(&cluster, &["set", "/copy/a/b", "other"]);
    says(&cluster, &["setAcl", "/copy/a/d", "world:anyone:r"]);
    says(&cluster, &["delete", "/a/b/c"]);
    says(&cluster, &["create", "/a/e", ""]);
    let (code, out, _) = done(&cluster, &["diff", "/a", &server]);
    assert_eq!(
        (code, &*out),
        (1, "~ /a/b: data\n+ /a/b/c\n~ /a/d: acl\n- /a/e\n")
    );
    says(&cluster, &["import", "-f", file]);
    assert_eq!(says(&cluster, &["get", "/a/b/c"]), "three\n");
    assert_eq!(done(&cluster, &["export", "/none"]).0, 1);
    std::fs::write(file, "{\"node\":\"/x\"}\n").unwrap();
    let (code, _, err) = done(&cluster, &["import", file]);
    assert_eq!(code, 1);
    assert!(
        err.contains("a.ndjson:1: not a node as export writes it"),
        "{err}"
    );
}

#[test]
fn a_snapshot_is_imported_with_containers_and_times_to_live() {
    let mut cluster = Cluster::new(1, "extendedTypesEnabled=true\nsnapCount=2");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    says(&cluster, &["create", "-c", "/box", "c"]);
    says(&cluster, &["create", "-t", "600000", "/late", "t"]);
    let version_2 = cluster.data(0).join("version-2");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.ndjson");
    let tool = |arguments: &[&str], path: &Path| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_zabra"));
        let output = tool.args(arguments).arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    wait_for("a snapshot of both", || {
        says(&cluster, &["create", "-s", "/more-", ""]);
        let files = std::fs::read_dir(&version_2)
            .unwrap()
            .map(|f| f.unwrap().path());
        let mut named = files.filter(|f| {
            f.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("snapshot.")
        });
        named.find_map(|snapshot| {
            let lines = tool(&["snapshot", "-o", "json", "--data"], &snapshot);
            let whole = lines.contains("\"/late\"") && lines.contains("\"snapshot\"");
            whole.then(|| std::fs::write(&file, lines).unwrap())
        })
    });
    says(&cluster, &["import", file.to_str().unwrap(), "/back"]);
    assert_eq!(says(&cluster, &["get", "/back/box"]), "c\n");
    cluster.kill(0);
    let log = tool(&["log", "--path", "/back"], &version_2);
    for made in ["createContainer /back/box", "createTTL /back/late"] {
        assert!(log.contains(made), "{made}: {log}");
    }
}

#[test]
fn who_may_do_what_is_told_with_the_entry_that_says_so() {
    let cluster = served();
    says(
        &cluster,
        &[
            "create",
            "/a",
            "x",
            "world:anyone:cra,digest:bob:h=:w,ip:10.0.0.0/8:d",
        ],
    );
    says(&cluster, &["create", "/a/b", "x"]);
    for (who, right, at, code, said) in [
        (
            "world:anyone",
            "read",
            "/a",
            0,
            "read: yes, /a has world:anyone:cra\n",
        ),
        (
            "world:anyone",
            "write",
            "/a",
            1,
            "write: no, /a has no entry for world:anyone that allows it\n",
        ),
        (
            "digest:bob",
            "write",
            "/a",
            0,
            "write: yes, /a has digest:bob:h=:w\n",
        ),
        (
            "ip:10.9.8.7",
            "delete",
            "/a/b",
            0,
            "delete: yes, its parent /a has ip:10.0.0.0/8:d\n",
        ),
        (
            "ip:11.9.8.7",
            "delete",
            "/a/b",
            1,
            "delete: no, its parent /a has no entry for ip:11.9.8.7 that allows it\n",
        ),
        (
            "x509:CN=a,ip:10.1.1.1",
            "delete",
            "/a/b",
            0,
            "delete: yes, its parent /a has ip:10.0.0.0/8:d\n",
        ),
    ] {
        let (is, out, err) = done(&cluster, &["may", who, right, at]);
        assert_eq!((is, &*out), (code, said), "{who} {right} {at}: {err}");
    }
    let all = done(&cluster, &["may", "digest:bob", "all", "/a/b"]);
    assert_eq!((all.0, all.1.lines().count()), (1, 5), "{all:?}");
    assert_eq!(done(&cluster, &["may", "bob", "read", "/a"]).0, 1);
    // What the server then does is what was told.
    assert_eq!(done(&cluster, &["set", "/a", "y"]).0, 1);
    assert_eq!(done(&cluster, &["delete", "/a/b"]).0, 1);
    assert_eq!(done(&cluster, &["create", "/a/c", "y"]).0, 0);
}
