//! A data directory has one owner and one shape: what does not fit is refused before a byte of it changes.
//! Method: the real binary, its exit code and its words, and every file of the directories before and after.

mod common;

use common::{Cluster, PATIENCE, create};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts server `i` and waits for its end: exit code and log. One that serves instead is killed, and has no code.
fn run(cluster: &Cluster, i: usize) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("serve")
        .arg(cluster.data(i).join("zoo.cfg"))
        .env("ZABRA_LOG", "warn")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if cluster.mode(i).is_some() || Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    (code, log)
}

/// Every file below `dir` with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return all;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// Server `i` must refuse to start with `code`, say all of `words`, and leave all files as they were.
fn refused(cluster: &Cluster, i: usize, code: i32, words: &[&str]) {
    refused_beside(cluster, i, code, words, &[]);
}

/// The same, beside a server that runs and writes these files itself.
fn refused_beside(cluster: &Cluster, i: usize, code: i32, words: &[&str], own: &[&str]) {
    let before = files(cluster.dir.path());
    let (got, log) = run(cluster, i);
    assert_eq!(got, Some(code), "{log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not said: {log}");
    }
    let after = files(cluster.dir.path());
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .filter(|path| !own.iter().any(|name| path.ends_with(name)))
        .collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
}

/// Gives server `i` these directories.
fn set_dirs(cluster: &Cluster, i: usize, data: &Path, log: Option<&Path>) {
    let path = cluster.data(i).join("zoo.cfg");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|l| !l.starts_with("dataDir=") && !l.starts_with("dataLogDir="))
        .map(str::to_owned)
        .collect();
    lines.push(format!("dataDir={}", data.display()));
    lines.extend(log.map(|log| format!("dataLogDir={}", log.display())));
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    fs::create_dir_all(data).unwrap();
    fs::write(data.join("myid"), (i + 1).to_string()).unwrap();
}

/// `n` servers with `/keep`, which have ended; all data of each in one directory, or logs in another.
fn with_keep(n: usize, apart: bool) -> Cluster {
    let mut cluster = Cluster::new(n, "");
    for i in 0..n {
        let (d, l) = dirs(&cluster, i);
        set_dirs(&cluster, i, &d, apart.then_some(&*l));
    }
    cluster.start_all();
    let all: Vec<usize> = (0..n).collect();
    cluster.wait_serving(&all);
    cluster.client(0).create("/keep", 0).unwrap().unwrap();
    all.iter().for_each(|i| cluster.client(*i).sync());
    all.iter().for_each(|i| cluster.kill(*i));
    cluster
}

fn dirs(cluster: &Cluster, i: usize) -> (PathBuf, PathBuf) {
    (cluster.data(i).join("d"), cluster.data(i).join("l"))
}

/// All serve, and have `/keep`.
fn keeps(cluster: &mut Cluster, n: usize) {
    cluster.start_all();
    let all: Vec<usize> = (0..n).collect();
    cluster.wait_serving(&all);
    for i in 0..n {
        assert!(cluster.client(i).get("/keep").is_some());
    }
    all.iter().for_each(|i| cluster.kill(*i));
}

fn move_files(from: &Path, to: &Path, prefix: &str) {
    fs::create_dir_all(to).unwrap();
    for path in files(from).into_keys() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(prefix) {
            fs::rename(&path, to.join(name)).unwrap();
        }
    }
}

/// C-1: logs lie in `dataDir`, and `dataLogDir` has become another directory.
#[test]
fn c_1_logs_in_data_dir_while_data_log_dir_is_elsewhere_end_the_start() {
    let mut cluster = with_keep(1, false);
    let (d, l) = dirs(&cluster, 0);
    set_dirs(&cluster, 0, &d, Some(&l));
    let (dv, lv) = (d.join("version-2"), l.join("version-2"));
    let (dvt, lvt) = (dv.display().to_string(), lv.display().to_string());
    refused(&cluster, 0, 3, &[&dvt, &lvt, "dataLogDir", "move"]);
    // The one way out.
    set_dirs(&cluster, 0, &d, None);
    keeps(&mut cluster, 1);
    // And the other.
    move_files(&dv, &lv, "log.");
    set_dirs(&cluster, 0, &d, Some(&l));
    keeps(&mut cluster, 1);
}

/// C-2: exchanged directories; then each other change of the two that takes logs or snapshots out of sight.
#[test]
fn c_2_directories_that_are_not_those_of_the_data_end_the_start() {
    let mut cluster = with_keep(1, true);
    let (d, l) = dirs(&cluster, 0);
    let other = cluster.data(0).join("other");
    let variants: [(&str, &Path, Option<&Path>); 5] = [
        ("exchanged", &l, Some(&d)),
        ("dataLogDir is gone", &d, None),
        ("dataLogDir is another, empty one", &d, Some(&other)),
        ("only the logs are left", &l, None),
        ("a new dataDir", &other, Some(&l)),
    ];
    for (what, data, log) in variants {
        println!("{what}");
        set_dirs(&cluster, 0, data, log);
        refused(&cluster, 0, 3, &["version-2"]);
        let _ = fs::remove_dir_all(&other);
    }
    // The same directory where the file system of the logs is not mounted.
    set_dirs(&cluster, 0, &d, Some(&l));
    fs::rename(&l, &other).unwrap();
    refused(&cluster, 0, 3, &[&l.display().to_string(), "mounted"]);
    fs::create_dir_all(l.join("version-2")).unwrap();
    refused(&cluster, 0, 3, &[&l.display().to_string(), "mounted"]);
    fs::remove_dir_all(&l).unwrap();
    fs::rename(&other, &l).unwrap();
    keeps(&mut cluster, 1);
    // Two names of one directory are one directory.
    let mut same = with_keep(1, false);
    let (d, l) = dirs(&same, 0);
    std::os::unix::fs::symlink(&d, &l).unwrap();
    set_dirs(&same, 0, &d, Some(&l));
    keeps(&mut same, 1);
}

/// C-2 on three servers: none of them starts, so nothing that is written meanwhile can be lost.
#[test]
fn c_2_exchanged_directories_on_three_servers() {
    let mut cluster = with_keep(3, true);
    for i in 0..3 {
        let (d, l) = dirs(&cluster, i);
        set_dirs(&cluster, i, &l, Some(&d));
        refused(&cluster, i, 3, &["dataLogDir"]);
    }
    for i in 0..3 {
        let (d, l) = dirs(&cluster, i);
        set_dirs(&cluster, i, &d, Some(&l));
    }
    keeps(&mut cluster, 3);
}

/// C-3: a second server on a directory, with the first one's ports or with others, for any way in which they share one.
#[test]
fn c_3_a_directory_in_use_is_not_touched() {
    let mut cluster = Cluster::new(2, "");
    let text = |i: usize| fs::read_to_string(cluster.data(i).join("zoo.cfg")).unwrap();
    let alone = |text: String| -> String {
        let lines = text.lines().filter(|l| !l.starts_with("server."));
        lines.map(|l| format!("{l}\n")).collect()
    };
    for i in 0..2 {
        fs::write(cluster.data(i).join("zoo.cfg"), alone(text(i))).unwrap();
    }
    let (d, l) = dirs(&cluster, 0);
    set_dirs(&cluster, 0, &d, Some(&l));
    cluster.start(0);
    cluster.wait_serving(&[0]);
    cluster.client(0).create("/keep", 0).unwrap().unwrap();
    // As a snapshot in progress looks.
    fs::write(d.join("version-2/snapshot.9.tmp"), "half").unwrap();
    let pid = cluster.pid(0).to_string();
    let others: [(&Path, Option<&Path>); 3] = [
        (&d, Some(&l)),
        (&d, Some(&cluster.data(1))),
        (&cluster.data(1), Some(&l)),
    ];
    for (data, log) in others {
        set_dirs(&cluster, 1, data, log);
        refused_beside(
            &cluster,
            1,
            3,
            &["version-2", &pid],
            &["zabra.durable", "zabra.flight"],
        );
    }
    fs::copy(
        cluster.data(0).join("zoo.cfg"),
        cluster.data(1).join("zoo.cfg"),
    )
    .unwrap();
    refused_beside(
        &cluster,
        1,
        3,
        &["version-2", &pid],
        &["zabra.durable", "zabra.flight"],
    );
    assert!(cluster.client(0).get("/keep").is_some());
    // The lock ends with its process.
    cluster.kill(0);
    cluster.start(0);
    cluster.wait_serving(&[0]);
}

/// C-3: ports are taken before recovery changes anything, each of the three.
#[test]
fn c_3_a_port_in_use_ends_the_start_with_nothing_changed() {
    for what in ["client port", "quorum port", "election port"] {
        for fresh in [true, false] {
            let mut cluster = Cluster::new(3, "electionPortBindRetry=1");
            if !fresh {
                cluster.start_all();
                cluster.wait_serving(&[0, 1, 2]);
                (0..3).for_each(|i| cluster.kill(i));
                // What recovery would remove.
                fs::write(cluster.data(0).join("version-2/snapshot.9.tmp"), "half").unwrap();
            }
            // ZooKeeper has a code of its own for the port of elections.
            let (port, code) = match what {
                "client port" => (cluster.ports[0], 5),
                "quorum port" => (cluster.quorum_ports[0], 5),
                _ => (cluster.election_ports[0], 14),
            };
            let held = TcpListener::bind(("127.0.0.1", port)).unwrap();
            refused(&cluster, 0, code, &[what, &port.to_string()]);
            drop(held);
        }
    }
}

/// A directory of one member is not another member's.
#[test]
fn c_2_the_directory_of_another_member_ends_the_start() {
    let mut cluster = with_keep(3, false);
    let (d0, d1) = (dirs(&cluster, 0).0, dirs(&cluster, 1).0);
    let aside = cluster.dir.path().join("aside");
    let exchange = || {
        for (from, to) in [(&d0, &aside), (&d1, &d0), (&aside, &d1)] {
            fs::rename(from.join("version-2"), to.join("version-2")).unwrap();
        }
    };
    fs::create_dir(&aside).unwrap();
    exchange();
    refused(&cluster, 0, 3, &["server.2", "server.1"]);
    refused(&cluster, 1, 3, &["server.1", "server.2"]);
    exchange();
    keeps(&mut cluster, 3);
}

/// C-12, on three servers.
#[test]
fn c_12_my_id_may_have_a_comment_blanks_and_a_byte_order_mark() {
    let mut cluster = Cluster::new(3, "");
    for (i, text) in ["1\n# note\n", "2 ", "\u{feff}3\r\n"].iter().enumerate() {
        fs::write(cluster.data(i).join("myid"), text).unwrap();
    }
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    cluster
        .client(leader)
        .call(&create("/a", 0))
        .unwrap()
        .unwrap();
}

/// An emptied member of an ensemble votes only where its operator has said so.
#[test]
fn c_2_an_emptied_directory_does_not_quietly_vote() {
    let mut cluster = Cluster::new(3, "db.autocreate=false");
    let version_2 = cluster.data(0).join("version-2");
    let (say, words) = ("initialize", ["db.autocreate=false", "initialize"]);
    refused(&cluster, 0, 3, &words);
    (0..3).for_each(|i| fs::write(cluster.data(i).join(say), "").unwrap());
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    cluster.client(0).create("/keep", 0).unwrap().unwrap();
    (0..3).for_each(|i| assert!(!cluster.data(i).join(say).exists()));
    // All of them: files of a server that runs change.
    (0..3).for_each(|i| cluster.kill(i));
    fs::remove_dir_all(&version_2).unwrap();
    refused(&cluster, 0, 3, &words);
    // By default it votes as ZooKeeper's does, and says so.
    let path = cluster.data(0).join("zoo.cfg");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("db.autocreate=false", "datadir.autocreate=false"),
    )
    .unwrap();
    refused(&cluster, 0, 3, &["datadir.autocreate=false"]);
    fs::create_dir(&version_2).unwrap();
    (1..3).for_each(|i| cluster.start(i));
    let (code, log) = run(&cluster, 0);
    assert_eq!(code, None, "{log}");
    assert!(log.contains("votes as an empty one"), "{log}");
}
