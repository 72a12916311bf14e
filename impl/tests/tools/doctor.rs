//! `zabra doctor`: what it finds on this machine, and in configurations that are wrong for it.

use super::common::{Cluster, free_ports};
use super::{Said, text, zabra};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// A member of an ensemble on this machine, in a directory of its own.
fn member(dir: &Path, lines: &str) -> PathBuf {
    let file = dir.join("zoo.cfg");
    let data = dir.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("myid"), "1\n").unwrap();
    let text = format!(
        "dataDir={}\nadmin.enableServer=false\n{lines}",
        data.display()
    );
    fs::write(&file, text).unwrap();
    file
}

fn findings(said: &Said) -> Vec<Value> {
    let mut all = said.documents();
    let end = all.pop().unwrap();
    assert_eq!(end["looked_at"], all.len());
    for finding in &all {
        let bad = finding["severity"] != "ok";
        let told = finding["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.len() > 10);
        assert_eq!(
            bad, told,
            "{finding}: what to do is told where something is to be done"
        );
        assert!(finding["what"].as_str().unwrap().len() > 5, "{finding}");
    }
    all
}

fn of<'a>(all: &'a [Value], code: &str, about: &str) -> &'a Value {
    let found = all
        .iter()
        .find(|f| f["code"] == code && f["about"].as_str().unwrap().contains(about));
    found.unwrap_or_else(|| panic!("{code} of {about}: {all:#?}"))
}

fn doctor(file: &Path) -> Said {
    zabra(&["doctor", text(file), "-o", "json"])
}

#[test]
fn a_server_that_runs_is_found_fit_with_what_was_measured() {
    let mut cluster = Cluster::new(3, "");
    let file = cluster.data(0).join("zoo.cfg");
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    let said = doctor(&file);
    let all = findings(&said);
    let sync = all
        .iter()
        .find(|f| f["code"].as_str().unwrap().starts_with("disk-sync"));
    assert!(sync.unwrap()["measured"].as_f64().unwrap() > 0.0);
    let room = all
        .iter()
        .find(|f| f["code"].as_str().unwrap().starts_with("disk-space"));
    assert!(room.unwrap()["measured"].as_f64().unwrap() > 0.0);
    assert_eq!(of(&all, "config", "zoo.cfg")["severity"], "ok");
    let own = of(&all, "port-ours", "clientPort");
    assert!(own["what"].as_str().unwrap().contains("as "), "{own}");
    for sid in ["server.1", "server.2", "server.3"] {
        of(&all, "dns", sid);
    }
    of(&all, "dns-own", "server.1");
    of(&all, "member", "server.2");
    of(&all, "clock-unknown", "server.3");
    for code in ["descriptors", "clock-even"] {
        assert!(
            all.iter()
                .any(|f| f["code"].as_str().unwrap().starts_with(code)),
            "{code}"
        );
    }
    let wrong = all.iter().filter(|f| f["severity"] == "error");
    // What is slow or small on this machine is true, and no error of the command.
    let wrong: Vec<_> = wrong
        .filter(|f| !f["code"].as_str().unwrap().starts_with("disk"))
        .collect();
    assert_eq!(wrong, Vec::<&Value>::new());
    // Nothing is left behind in the directory.
    let left = super::names(&cluster.data(0).join("version-2"));
    assert!(left.iter().all(|name| !name.contains("doctor")), "{left:?}");

    // The server runs on: another member is gone, and that is told with its name.
    cluster.kill(2);
    let all = findings(&doctor(&file));
    assert_eq!(
        of(&all, "member-unreachable", "server.3")["severity"],
        "warning"
    );
    of(&all, "member", "server.2");
    assert!(cluster.mode(0).is_some());
    let strict = zabra(&["doctor", text(&file), "--strict"]);
    assert_eq!(strict.code, 1, "{}", strict.out);
    assert!(
        strict.out.contains("member-unreachable: server.3"),
        "{}",
        strict.out
    );
    assert!(!strict.out.contains("\nok "), "{}", strict.out);
}

#[test]
fn names_and_ports_that_are_wrong_for_this_machine_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    // It takes connections and says nothing, so that nobody waits for an answer.
    let accepting = std::thread::spawn(move || {
        for stream in held.incoming().take(1) {
            drop(stream);
        }
    });
    let lines = format!(
        "initLimit=5\nsyncLimit=2\nclientPort={taken}\nclientPortAddress=127.0.0.1\nserver.1=192.0.2.77:{}:{}\nserver.2=no-such-host.invalid:{}:{}\nserver.3=127.0.0.1:{}:{}\n",
        ports[0], ports[1], ports[2], ports[3], ports[4], ports[5]
    );
    let file = member(dir.path(), &lines);
    let said = doctor(&file);
    assert_eq!(said.code, 1, "{}", said.err);
    let all = findings(&said);
    accepting.join().unwrap();
    for (code, about) in [
        ("dns-not-own", "server.1"),
        ("dns-unknown", "server.2"),
        ("port-taken", "clientPort"),
        ("address-not-here", "server.1"),
    ] {
        assert_eq!(of(&all, code, about)["severity"], "error", "{code}");
    }
    of(&all, "member-unreachable", "server.3");
    let end = said.documents().pop().unwrap();
    assert!(
        end["fit"] == false && end["errors"].as_u64().unwrap() >= 4,
        "{end}"
    );
}

#[test]
fn a_configuration_that_no_server_starts_with_is_told_with_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = member(
        dir.path(),
        "clientPort=2181\ntickTimes=2000\nmaxClientCnxns=many\n",
    );
    let said = doctor(&file);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    let all = findings(&said);
    assert!(
        of(&all, "config-unknown", "tickTimes")["what"]
            .as_str()
            .unwrap()
            .contains("tickTime")
    );
    assert!(
        of(&all, "config-refused", "zoo.cfg")["what"]
            .as_str()
            .unwrap()
            .contains("maxClientCnxns")
    );
    // Without a file, the machine alone is looked at.
    let said = zabra(&["doctor", "--all"]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(
        said.out.contains("clock") && said.out.contains("0 errors"),
        "{}",
        said.out
    );
}

/// What lies in the memory of the machine, as far as this machine has such a place.
#[test]
fn data_in_memory_is_an_error() {
    let shm = Path::new("/dev/shm");
    let Ok(dir) = tempfile::tempdir_in(shm) else {
        eprintln!("skipped: there is no {}", shm.display());
        return;
    };
    let port = free_ports(1)[0];
    let file = member(dir.path(), &format!("clientPort={port}\n"));
    let said = doctor(&file);
    let all = findings(&said);
    assert_eq!(
        of(&all, "filesystem-memory", "dataDir")["severity"],
        "error"
    );
    assert_eq!(said.code, 1);
    of(&all, "port-free", "clientPort");
}
