//! `zabra backup` and `zabra restore`: an ensemble that is killed and comes back equal, points in time, and damage. The servers are real
//! processes; what is equal is compared by the files that they write, node by node, and by what a client reads.

use super::common::{Client, Cluster, create, free_ports, wait_for};
use super::{Said, damage, golden, names, text, zabra};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ANYBODY: &str = "digest somebody:something";

/// `n` servers, the first with a port for commands.
fn servers(n: usize) -> (Cluster, String) {
    let ports = free_ports(n);
    let mut cluster = Cluster::new(n, "admin.serverAddress=127.0.0.1");
    for (i, port) in ports.iter().enumerate() {
        let file = cluster.data(i).join("zoo.cfg");
        let text = fs::read_to_string(&file).unwrap();
        let lines = format!("admin.serverPort={port}\nadmin.rateLimiterIntervalInMS=0\n{text}");
        fs::write(&file, lines).unwrap();
    }
    cluster.start_all();
    let all: Vec<_> = (0..n).collect();
    cluster.wait_serving(&all);
    (cluster, format!("127.0.0.1:{}", ports[0]))
}

/// It has done what it was asked for.
fn done(arguments: &[&str]) -> Value {
    let said = zabra(&[arguments, &["-o", "json"]].concat());
    assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
    let mut documents = said.documents();
    assert_eq!(documents.len(), 1, "{}", said.out);
    documents.remove(0)
}

fn refused(code: i32, words: &[&str], arguments: &[&str]) -> Said {
    let said = zabra(arguments);
    assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
    for word in words {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    said
}

/// Kills all, and moves their data away: they are as after the loss of every disk.
fn lose_everything(cluster: &mut Cluster, n: usize) -> PathBuf {
    let lost = cluster.dir.path().join("lost");
    fs::create_dir_all(&lost).unwrap();
    for i in 0..n {
        cluster.kill(i);
        fs::rename(
            cluster.data(i).join("version-2"),
            lost.join(format!("version-2-{i}")),
        )
        .unwrap();
    }
    lost
}

/// The one snapshot of a directory.
fn snapshot_in(dir: &Path) -> PathBuf {
    let version_2 = dir.join("version-2");
    let names = names(if version_2.is_dir() { &version_2 } else { dir });
    let mut names = names.iter().filter(|name| name.starts_with("snapshot."));
    let name = names.next().unwrap();
    assert_eq!(names.next(), None);
    if version_2.is_dir() {
        version_2.join(name)
    } else {
        dir.join(name)
    }
}

/// Whether two snapshots hold the same nodes: data, ACLs, versions, zxids, times.
fn assert_equal(left: &Path, right: &Path) {
    let said = zabra(&["snapshot", "compare", text(left), text(right)]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("; 0 differ; "), "{}", said.out);
}

// long: one story, from a backup to the clients of the restored ensemble.
#[test]
fn an_ensemble_that_has_lost_everything_comes_back_equal() {
    let (mut cluster, admin) = servers(3);
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("monday");
    let mut client = cluster.client(1);
    for path in ["/a", "/a/b", "/c"] {
        client.create(path, 0).unwrap().unwrap();
    }
    client.create("/mine", 1).unwrap().unwrap();
    client.set("/a", "of the backup").unwrap().unwrap();
    client.sync();
    let mut own = cluster.client(0);
    own.sync();
    let told = done(&[
        "backup",
        "--server",
        &admin,
        "--auth",
        ANYBODY,
        "--to",
        text(&backup),
    ]);
    assert_eq!(told["nodes"], 8);
    assert_eq!(told["ephemerals"], 1);
    assert_eq!(told["files"].as_array().unwrap().len(), 1);
    // Nobody else reads it, and nothing is left beside it.
    assert_eq!(names(dir.path()), ["monday"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&backup), 0o700);
    for name in names(&backup) {
        assert_eq!(mode(&backup.join(&name)), 0o600, "{name}");
    }
    client.create("/later", 0).unwrap().unwrap();
    client.set("/a", "later").unwrap().unwrap();
    let (session, password) = (client.session, Some(client.password));

    lose_everything(&mut cluster, 3);
    let files: Vec<_> = (0..3).map(|i| cluster.data(i).join("zoo.cfg")).collect();
    let to = |files: &[PathBuf]| {
        let each = files
            .iter()
            .flat_map(|file| ["--to".to_owned(), text(file).to_owned()]);
        each.collect::<Vec<_>>()
    };
    // Two here and one there, as on two machines: it comes to the same.
    let mut restored = Vec::new();
    for files in [&files[..2], &files[2..]] {
        let to = to(files);
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        restored.push(done(&[&["restore", text(&backup)][..], &to[..]].concat()));
    }
    for told_now in &restored {
        assert_eq!(told_now["digest"], told["digest"]);
        assert_eq!(told_now["zxid"], told["zxid"]);
        assert_eq!(told_now["restored_as"], "0x200000000");
    }
    for i in 0..3 {
        assert_equal(&snapshot_in(&backup), &snapshot_in(&cluster.data(i)));
        let version_2 = cluster.data(i).join("version-2");
        assert_eq!(mode(&version_2), 0o700);
        assert_eq!(mode(&snapshot_in(&cluster.data(i))), 0o600);
        assert_eq!(
            fs::read_to_string(version_2.join("acceptedEpoch")).unwrap(),
            "2"
        );
    }
    // On top of data nothing is put.
    refused(
        1,
        &["data is here", "version-2"],
        &["restore", text(&backup), "--to", text(&files[0])],
    );
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    for i in 0..3 {
        let mut client = cluster.client(i);
        client.sync();
        assert_eq!(client.get("/a").as_deref(), Some("of the backup"));
        let children = client.children("/");
        assert_eq!(children, ["a", "c", "mine", "zookeeper"].map(Box::from));
    }
    // The session of the backup goes on.
    let mut client = Client::connect(cluster.ports[2], session, password, 10_000).unwrap();
    assert_eq!(client.session, session);
    assert_eq!(client.get("/mine").as_deref(), Some("0"));
    client.call(&create("/after", 0)).unwrap().unwrap();
    refused(
        3,
        &["another server", "uses it"],
        &["restore", text(&backup), "--to", text(&files[0])],
    );
}

/// The arguments that only ask whether a backup has a state.
fn check<'a>(backup: &'a str, point: &[&'a str]) -> Vec<&'a str> {
    [&["restore", backup, "--check"][..], point].concat()
}

/// What a client has read at a point, with the zxid and the time of its last write.
struct Seen {
    value: String,
    zxid: String,
    /// ms since 1970
    time: String,
}

/// Writes `n` values, with snapshots between them, and tells what the log has of each.
fn written(cluster: &Cluster, admin: &str, n: usize) -> Vec<Seen> {
    let mut client = cluster.client(0);
    client.create("/a", 0).unwrap().unwrap();
    client.create("/mine", 1).unwrap().unwrap();
    let backups = tempfile::tempdir().unwrap();
    for i in 0..n {
        client.set("/a", &format!("value {i}")).unwrap().unwrap();
        if i % 3 == 1 {
            // Leaves a snapshot in the data directory.
            let to = backups.path().join(i.to_string());
            done(&[
                "backup",
                "--server",
                admin,
                "--auth",
                ANYBODY,
                "--to",
                text(&to),
            ]);
        }
        // Times of transactions are ms.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let data = cluster.data(0);
    let said = zabra(&[
        "log",
        "-o",
        "json",
        "--data=text",
        "--path",
        "/a",
        text(&data),
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    let all = said.documents();
    let sets = all.iter().filter(|txn| txn["type"] == "setData");
    let sets = sets.map(|txn| Seen {
        value: txn["data"].as_str().unwrap().into(),
        zxid: txn["zxid"].as_str().unwrap().into(),
        time: txn["time"].to_string(),
    });
    let sets: Vec<_> = sets.collect();
    assert_eq!(sets.len(), n);
    sets
}

/// What a snapshot has at `/a`.
fn value_in(dir: &Path) -> String {
    let file = snapshot_in(dir);
    let said = zabra(&[
        "snapshot",
        "-o",
        "json",
        "--data=text",
        "--path",
        "/a",
        text(&file),
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.documents()[0]["data"].as_str().unwrap().to_owned()
}

// long: the same data as a backup of all, and as an archive beside an older backup.
#[test]
fn each_state_comes_back_by_its_zxid_and_by_its_time() {
    let (mut cluster, admin) = servers(1);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let seen = written(&cluster, &admin, 8);
    let config = cluster.data(0).join("zoo.cfg");
    // Of a server that runs.
    let all = done(&["backup", text(&config), "--all", "--to", text(&at("all"))]);
    let last = done(&["backup", text(&config), "--to", text(&at("last"))]);
    assert_eq!(
        (&all["zxid"], &all["digest"]),
        (&last["zxid"], &last["digest"])
    );
    assert_eq!(all["first_zxid"], "0x0");
    assert_ne!(last["first_zxid"], "0x0");
    let archive = at("archive");
    let dead = lose_everything(&mut cluster, 1);
    fs::rename(dead.join("version-2-0"), &archive).unwrap();
    let (all, last) = (at("all"), at("last"));
    for (i, now) in seen.iter().enumerate() {
        let sources: [&[&str]; 2] = [
            &["restore", text(&all)],
            &["restore", text(&last), "--archive", text(&archive)],
        ];
        for (j, source) in sources.into_iter().enumerate() {
            for (k, point) in [["--zxid", &now.zxid], ["--time", &now.time]]
                .into_iter()
                .enumerate()
            {
                let to = at(&format!("to-{i}-{j}-{k}"));
                let told = done(&[source, &point[..], &["--to", text(&to)]].concat());
                assert_eq!(told["zxid"], now.zxid.as_str(), "{point:?}");
                assert_eq!(told["time_ms"].to_string(), now.time);
                assert_eq!(value_in(&to), now.value);
                assert_eq!(told["ephemerals"], 1);
                // It is behind all that a client may have seen, whichever state it is.
                assert_eq!(told["restored_as"], "0x200000000");
            }
        }
    }
    // A server begins with one of them, without what belonged to sessions.
    let point = ["--zxid", &seen[4].zxid, "--no-ephemerals"];
    let told = done(
        &[
            &["restore", text(&all)][..],
            &point[..],
            &["--to", text(&config)],
        ]
        .concat(),
    );
    assert_eq!(told["ephemerals"], 0);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    assert_eq!(client.get("/a").as_deref(), Some(&*seen[4].value));
    assert_eq!(client.children("/"), ["a", "zookeeper"].map(Box::from));

    let all = text(&all);
    done(&check(all, &[]));
    for (point, words) in [
        (
            ["--zxid", "0x1ffffffff"],
            "is behind the last transaction here",
        ),
        (
            ["--zxid", "0x1"],
            "there is no transaction 0x1: behind 0x0 comes 0x100000001",
        ),
        (
            ["--time", "2020-01-01T00:00:00Z"],
            "is before the first transaction here",
        ),
        (
            ["--time", "2120-01-01T00:00:00Z"],
            "is later than all that is here",
        ),
    ] {
        refused(1, &[words], &check(all, &point));
    }
    let first = &seen[0].zxid;
    let too_early = ["restore", text(&last), "--check", "--zxid", first];
    refused(
        1,
        &["is before the oldest snapshot", "--archive"],
        &too_early,
    );
    let above = check(all, &["--above", "0x700000005"]);
    assert_eq!(done(&above)["restored_as"], "0x800000000");
}

/// A server on its own takes the state while it runs.
#[test]
fn a_state_goes_to_a_running_server_over_its_port() {
    let (cluster, admin) = servers(1);
    let dir = tempfile::tempdir().unwrap();
    let seen = written(&cluster, &admin, 5);
    let backup = dir.path().join("all");
    done(&[
        "backup",
        "--data",
        text(&cluster.data(0)),
        "--all",
        "--to",
        text(&backup),
    ]);
    let proof = dir.path().join("proof");
    fs::write(&proof, format!("{ANYBODY}\n")).unwrap();
    let restore = [
        "restore",
        text(&backup),
        "--zxid",
        &seen[1].zxid,
        "--server",
        &admin,
    ];
    refused(1, &[&admin, "Auth info is missing"], &restore);
    let told = done(&[&restore[..], &["--auth-file", text(&proof)]].concat());
    assert_eq!(told["wrote"], serde_json::json!([admin]));
    wait_for("the restored tree", || {
        let value = cluster.client(0).get("/a")?;
        (value == seen[1].value).then_some(())
    });
    let nowhere = free_ports(1)[0].to_string();
    let nowhere = format!("127.0.0.1:{nowhere}");
    let to = dir.path().join("none");
    let none = ["backup", "--server", &nowhere, "--to", text(&to)];
    refused(1, &[&nowhere, "admin.serverPort"], &none);
    let none = ["backup", "--server", &admin, "--to", text(&to)];
    refused(1, &["Auth info is missing", "--auth-file"], &none);
    assert_eq!(names(dir.path()), ["all", "proof"]);
}

/// A directory of ZooKeeper's, as a backup, and back into one that has the same tree.
#[test]
fn zookeepers_data_is_saved_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (backup, to) = (dir.path().join("backup"), dir.path().join("to"));
    let data = golden("standalone-3.9.5").join("data");
    let told = done(&[
        "backup",
        "--data",
        text(&data),
        "--all",
        "--to",
        text(&backup),
    ]);
    let back = done(&["restore", text(&backup), "--to", text(&to)]);
    assert_eq!(back["digest"], told["digest"]);
    let again = dir.path().join("again");
    let again = done(&["backup", "--data", text(&to), "--to", text(&again)]);
    assert_eq!(
        (&again["digest"], &again["nodes"]),
        (&told["digest"], &told["nodes"])
    );
}

// long: each way in which a backup can be damaged.
#[test]
fn a_damaged_backup_is_refused_with_the_file_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let data = golden("standalone-3.9.5").join("data");
    done(&[
        "backup",
        "--data",
        text(&data),
        "--all",
        "--to",
        text(&whole),
    ]);
    refused(
        1,
        &["is there already"],
        &["backup", "--data", text(&data), "--to", text(&whole)],
    );
    let copy = |name: &str| {
        let to = dir.path().join(name);
        fs::create_dir(&to).unwrap();
        for name in names(&whole) {
            fs::copy(whole.join(&name), to.join(&name)).unwrap();
        }
        to
    };
    let files = names(&whole);
    assert!(files.len() > 5, "{files:?}");
    for name in &files {
        let backup = copy(&format!("flipped-{name}"));
        let bytes = fs::read(backup.join(name)).unwrap().len();
        damage(&backup.join(name), bytes / 2);
        let to = dir.path().join("to");
        let words = match name.as_str() {
            "manifest.json.sha256" => ["manifest.json", "checksum"],
            name => [name, "checksum"],
        };
        refused(3, &words, &["restore", text(&backup), "--to", text(&to)]);
        assert!(!to.exists());
        let backup = copy(&format!("missing-{name}"));
        fs::remove_file(backup.join(name)).unwrap();
        let (code, words) = match name.as_str() {
            "manifest.json" => (1, "this is no backup"),
            _ => (3, "is missing"),
        };
        refused(code, &[name, words], &["restore", text(&backup), "--check"]);
    }
    let backup = copy("shorter");
    let log = files.iter().find(|name| name.starts_with("log.")).unwrap();
    let bytes = fs::read(backup.join(log)).unwrap();
    fs::write(backup.join(log), &bytes[..bytes.len() - 1]).unwrap();
    refused(
        3,
        &[log, "bytes, and had"],
        &["restore", text(&backup), "--check"],
    );

    // What is damaged before it is saved is no backup.
    for (name, offset) in [("log.1", 100), ("snapshot.44", 130)] {
        let data = super::copy("standalone-3.9.5");
        let file = data.path().join("version-2").join(name);
        damage(&file, offset);
        let to = dir.path().join(format!("of-damaged-{name}"));
        let said = zabra(&[
            "backup",
            "--data",
            text(data.path()),
            "--all",
            "--to",
            text(&to),
        ]);
        assert!(said.err.contains(name), "{}", said.err);
        match name {
            // Another snapshot and its logs have all that this one has.
            "snapshot.44" => assert!(said.code == 0 && to.exists(), "{}", said.err),
            _ => assert!(said.code == 3 && !to.exists(), "{}", said.err),
        }
    }
}

/// A file that is whole, and whose digest is of another tree: nothing but the nodes tells.
#[test]
fn a_snapshot_that_tells_the_digest_of_another_tree_is_no_backup() {
    const SEAL: usize = 13;
    let (cluster, admin) = servers(1);
    cluster.client(0).create("/a", 0).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let backup = ["backup", "--server", &admin, "--auth", ANYBODY, "--to"];
    done(&[&backup[..], &[text(&first)]].concat());
    // Behind the tree: zxid, version and digest, a seal, the zxid, a seal.
    let file = snapshot_in(&first);
    let mut bytes = fs::read(&file).unwrap();
    let digest = bytes.len() - 2 * SEAL - 8 - 1;
    bytes[digest] ^= 1;
    for seal in [digest + 1, bytes.len() - SEAL] {
        let sum = u64::from(simd_adler32::adler32(&&bytes[..seal]));
        bytes[seal..seal + 8].copy_from_slice(&sum.to_be_bytes());
    }
    let archive = dir.path().join("archive");
    fs::create_dir(&archive).unwrap();
    fs::write(archive.join(file.file_name().unwrap()), bytes).unwrap();
    let of_archive = ["backup", "--data", text(&archive), "--to", text(&second)];
    refused(3, &["snapshot.", "tells digest 0x"], &of_archive);
    assert!(!second.exists());
}
