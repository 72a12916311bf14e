//! `zabra cleanup`, `zabra initialize`, `zabra status` and the small helpers.

use super::common::{Cluster, free_ports, wait_for};
use super::snapshots::write;
use super::{answered, copy, damage, names, text, zabra};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use zabra::storage::snapshot::Packing;

/// A file beside a data directory that names it.
fn config(dir: &Path, more: &str) -> PathBuf {
    let file = dir.join("zoo.cfg");
    fs::write(
        &file,
        format!("dataDir={}\nclientPort=2181\n{more}", dir.display()),
    )
    .unwrap();
    file
}

/// ZooKeeper's directory, with two more snapshots of ours: of what its log goes on from.
fn old_files() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = copy("standalone-3.9.5");
    let version_2 = dir.path().join("version-2");
    for zxid in [0x46, 0x47] {
        write(&version_2, zxid, Packing::Plain, &[("/a", 1)]);
    }
    let file = config(dir.path(), "");
    (dir, version_2, file)
}

#[test]
fn cleanup_keeps_the_newest_snapshots_and_the_logs_that_they_need() {
    let (_dir, version_2, file) = old_files();
    let all = names(&version_2);
    let said = zabra(&["cleanup", text(&file), "-n", "3", "--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.out.matches("would remove").count(), 3, "{}", said.out);
    assert_eq!(names(&version_2), all);
    let said = zabra(&["cleanup", text(&file), "-n", "2"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("at least 3 snapshots stay"),
        "{}",
        said.err
    );
    let said = zabra(&["cleanup", text(&file), "-n", "4"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("snapshot.0 (478 bytes, 20"),
        "{}",
        said.out
    );
    // The log of snapshot.26 begins before it.
    assert_eq!(
        names(&version_2),
        [
            "log.1",
            "log.28",
            "log.46",
            "snapshot.26",
            "snapshot.44",
            "snapshot.46",
            "snapshot.47"
        ]
    );
    let said = zabra(&["cleanup", text(&file)]);
    assert_eq!(said.code, 0, "{}", said.err);
    let left = [
        "log.28",
        "log.46",
        "snapshot.44",
        "snapshot.46",
        "snapshot.47",
    ];
    assert_eq!(names(&version_2), left);
    let said = zabra(&["cleanup", text(&file)]);
    assert!(
        said.out
            .contains("nothing is older than the 3 newest snapshots"),
        "{}",
        said.out
    );
    assert_eq!(names(&version_2), left);
}

/// Of bit rot nothing is told by a snapshot's first and last bytes: an older one may be the only one that can be read.
#[test]
fn cleanup_counts_on_nothing_that_it_has_not_read() {
    let (_dir, version_2, file) = old_files();
    let all = names(&version_2);
    for snapshot in ["snapshot.44", "snapshot.46", "snapshot.47"] {
        damage(&version_2.join(snapshot), 130);
    }
    let said = zabra(&["cleanup", text(&file), "-n", "3"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("snapshot.0 "), "{}", said.out);
    let left: Vec<_> = all
        .into_iter()
        .filter(|name| name != "snapshot.0")
        .collect();
    assert_eq!(names(&version_2), left);
    // A log that a start would refuse: nothing is removed.
    let (_dir, version_2, file) = old_files();
    let all = names(&version_2);
    damage(&version_2.join("log.46"), 656 + 70);
    let said = zabra(&["cleanup", text(&file)]);
    assert_eq!(said.code, 3);
    assert!(
        said.err
            .contains("log.46: the entry at byte 656 is damaged"),
        "{}",
        said.err
    );
    assert_eq!(names(&version_2), all);
}

#[test]
fn cleanup_leaves_a_directory_alone_that_is_in_use_or_in_between() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let file = cluster.data(0).join("zoo.cfg");
    let said = zabra(&["cleanup", text(&file)]);
    assert_eq!(said.code, 1);
    let words = format!("a server (process {}) runs on it", cluster.pid(0));
    assert!(
        said.err.contains(&words) && said.err.contains("autopurge.purgeInterval"),
        "{}",
        said.err
    );
    let (_dir, version_2, file) = old_files();
    let all = names(&version_2).len();
    fs::write(version_2.join("zabra.pending"), "truncate 46\n").unwrap();
    let said = zabra(&["cleanup", text(&file)]);
    assert!(
        said.code == 1 && said.err.contains("zabra.pending"),
        "{}",
        said.err
    );
    assert_eq!(names(&version_2).len(), all + 1);
    let none = tempfile::tempdir().unwrap();
    let said = zabra(&["cleanup", text(&config(none.path(), ""))]);
    assert!(
        said.code == 1 && said.err.contains("is not there"),
        "{}",
        said.err
    );
}

#[test]
fn initialize_makes_what_a_strict_member_starts_with_and_refuses_where_data_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (data, logs) = (dir.path().join("data"), dir.path().join("logs"));
    let port = free_ports(3);
    let file = dir.path().join("zoo.cfg");
    let text_of = format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=6\ndataDir={}\ndataLogDir={}\nclientPort={}\nadmin.enableServer=false\ndb.autocreate=false\nstandaloneEnabled=false\nserver.3=127.0.0.1:{}:{}\n",
        data.display(),
        logs.display(),
        port[0],
        port[1],
        port[2]
    );
    fs::write(&file, text_of).unwrap();
    let initialize = |arguments: &[&str]| {
        zabra(&[&["initialize", "--configfile", text(&file)], arguments].concat())
    };
    let said = initialize(&["--myid=3"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "3\n");
    assert_eq!(names(&data), ["initialize", "myid", "version-2"]);
    assert!(logs.join("version-2").is_dir());
    // Again is no harm, and another number is a mistake.
    assert_eq!(initialize(&["--myid=3"]).code, 0);
    let said = initialize(&["--myid=4"]);
    assert!(
        said.code == 1 && said.err.contains("says \"3\" and not 4"),
        "{}",
        said.err
    );
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["serve", text(&file)])
        .env("ZABRA_LOG", "warn")
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a server that serves", || {
        (zabra(&["status", text(&file)]).code == 0).then_some(())
    });
    let said = initialize(&["--myid=3", "--force"]);
    let running = said.code == 3 && said.err.contains("another server (process ");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(running, "{}", said.err);
    assert!(!data.join("initialize").exists());
    let said = initialize(&["--myid=3"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("data is here") && said.err.contains("--force"),
        "{}",
        said.err
    );
    let said = initialize(&["--myid=4", "--force"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err
            .contains("no line server.4 is in the configuration"),
        "{}",
        said.err
    );
    for dir in [&data, &logs] {
        assert_eq!(names(&dir.join("version-2")), ["zabra.lock"]);
    }
    assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "4\n");
    fs::write(&file, "clientPort=2181\n").unwrap();
    let said = initialize(&[]);
    assert!(
        said.code == 2 && said.err.contains("dataDir is missing"),
        "{}",
        said.err
    );
}

#[test]
fn status_tells_who_serves_and_why_one_does_not() {
    let mut cluster = Cluster::new(3, "");
    let file = |i: usize| cluster.data(i).join("zoo.cfg");
    let (first, second) = (file(0), file(1));
    let said = zabra(&["status", text(&first)]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("nothing listens here") && said.err.contains("zabra serve "),
        "{}",
        said.err
    );
    cluster.start(0);
    wait_for("a server without a quorum", || {
        let said = zabra(&["status", text(&first)]);
        (said.code == 1 && said.err.contains("it has found no quorum")).then_some(())
    });
    cluster.start(1);
    let leader = cluster.wait_serving(&[0, 1]);
    let (ours, theirs) = if leader == 0 {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let said = zabra(&["status", text(ours)]);
    let port = cluster.ports[leader];
    assert_eq!(
        (said.code, &*said.out),
        (
            0,
            &*format!("Client port: {port}, client address: 127.0.0.1\nMode: leader\n")
        )
    );
    let said = zabra(&["status", "-o", "json", text(theirs)]);
    let document = &said.documents()[0];
    assert_eq!(
        (&document["serving"], &document["mode"]),
        (&true.into(), &"follower".into())
    );
    assert!(
        document["zxid"].as_str().unwrap().starts_with("0x"),
        "{document}"
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let said = zabra(&["status", "--server", &at, "--timeout", "100", "-o", "json"]);
    assert_eq!(said.code, 1);
    assert!(
        said.documents()[0]["error"]
            .as_str()
            .unwrap()
            .contains("no answer within 100 ms")
    );
    let said = zabra(&["status"]);
    assert!(
        said.code == 2 && said.err.contains("no configuration file"),
        "{}",
        said.err
    );
    let said = zabra(&["word", "ruok", &format!("127.0.0.1:{port}")]);
    assert_eq!((said.code, &*said.out), (0, "imok\n"));
    let said = zabra(&["word", "ruok", "127.0.0.1"]);
    assert!(
        said.code == 1 && said.err.contains("write HOST:PORT"),
        "{}",
        said.err
    );
}

#[test]
fn the_digest_of_a_password_is_made_without_showing_it() {
    let said = answered(&["digest"], "super:admin\nmary:hush\n");
    assert_eq!(
        said.out.lines().next(),
        Some("super:xQJmxLMiHGwaqBvst5y6rkB6HQs=")
    );
    assert_eq!(
        zabra(&["digest", "super:admin"]).out,
        "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=\n"
    );
    let said = zabra(&["digest", "hush"]);
    assert!(said.code == 1 && !said.err.contains("hush"), "{}", said.err);
}
