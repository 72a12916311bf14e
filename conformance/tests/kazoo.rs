//! kazoo, the Python client, at work: everything it can do through each server, and five leaders killed under its writes.
//!
//! What kazoo does and checks stands in `interop/kazoo_work.py` and `interop/kazoo_chaos.py`; this file runs the servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use serde_json::{Value, json};
use std::time::Duration;
use zabra_conformance::cluster::{Cluster, PATIENCE, Server, wait_until};
use zabra_conformance::interop::{Script, run_python};

/// Leaders killed, one after the other.
const ROUNDS: usize = 5;
/// Writes that each server must acknowledge between two disturbances.
const PROGRESS: u64 = 50;

#[test]
fn kazoo_and_its_recipes_work_through_each_server() {
    let cluster = Cluster::start(3, &[]).unwrap();
    let servers: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    eprint!("{}", run_python("kazoo_work.py", &servers).unwrap());
}

#[test]
fn kazoo_and_its_recipes_work_with_a_server_that_stands_alone() {
    let cluster = Cluster::start(1, &[]).unwrap();
    let server = cluster.connect();
    eprint!("{}", run_python("kazoo_work.py", &[&server]).unwrap());
}

/// Writes acknowledged so far, by server.
fn acked(chaos: &mut Script) -> Vec<(String, u64)> {
    let answer = chaos.ask(&json!({"do": "progress"}), PATIENCE).unwrap();
    let by_server = answer.get("acked").and_then(Value::as_object).unwrap();
    by_server
        .iter()
        .map(|(server, n)| (server.clone(), n.as_u64().unwrap()))
        .collect()
}

/// Waits until each of `servers` has acknowledged [`PROGRESS`] writes more.
fn wait_for_progress(chaos: &mut Script, servers: &[String], when: &str) {
    let before = acked(chaos);
    let mut last = vec![];
    let waited = wait_until(when, PATIENCE, || {
        last = acked(chaos);
        let mut pairs = before
            .iter()
            .zip(&last)
            .filter(|((s, _), _)| servers.contains(s));
        Ok(pairs.all(|((_, then), (_, now))| now >= &(then + PROGRESS)))
    });
    assert!(
        waited.is_ok(),
        "writes do not go on {when}: {before:?}, then {last:?}"
    );
}

#[test]
fn no_acknowledged_write_is_lost_when_five_leaders_are_killed_under_continuous_writes() {
    // Few transactions between two snapshots: some kill meets one, and recovery reads snapshots and logs.
    let mut cluster = Cluster::start(3, &[("snapCount", "300")]).unwrap();
    let servers: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    let arguments: Vec<_> = servers.iter().map(String::as_str).collect();
    let mut chaos = Script::start("kazoo_chaos.py", &arguments).unwrap();
    wait_for_progress(&mut chaos, &servers, "at the beginning");
    for round in 1..=ROUNDS {
        let ghost = json!({"do": "ghost"});
        chaos.ask(&ghost, PATIENCE).unwrap();
        let leader = cluster.leader().unwrap();
        cluster.kill(leader).unwrap();
        let mut survivors = servers.clone();
        let killed = survivors.remove(leader);
        wait_for_progress(
            &mut chaos,
            &survivors,
            &format!("in round {round}, after the leader {killed} is dead"),
        );
        cluster.restart(leader).unwrap();
        wait_for_progress(
            &mut chaos,
            &servers,
            &format!("in round {round}, after {killed} is back"),
        );
        cluster.all_alive().unwrap();
    }
    // At last everybody at once: what was acknowledged must be on disks, not only in memories.
    (0..3).for_each(|i| cluster.kill(i).unwrap());
    (0..3).for_each(|i| cluster.restart(i).unwrap());
    wait_for_progress(&mut chaos, &servers, "after all servers were killed");
    let facts = chaos
        .ask(&json!({"do": "finish"}), Duration::from_secs(120))
        .unwrap();
    eprintln!("{facts}");
    let fact = |name: &str| {
        facts
            .get("facts")
            .and_then(|f| f.get(name))
            .and_then(Value::as_u64)
    };
    // Not vacuous: there were writes whose loss would have been seen, and clients that died.
    assert!(
        fact("acked").unwrap() >= PROGRESS * 3 * 2 * ROUNDS as u64,
        "{facts}"
    );
    assert!(fact("sequential").unwrap() > 0, "{facts}");
    assert_eq!(fact("ghosts"), Some(ROUNDS as u64), "{facts}");
    cluster.all_alive().unwrap();
}

#[test]
fn the_check_notices_a_lost_write() {
    let mut cluster = Cluster::start(3, &[]).unwrap();
    let servers: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    let arguments: Vec<_> = servers.iter().map(String::as_str).collect();
    let mut chaos = Script::start("kazoo_chaos.py", &arguments).unwrap();
    wait_for_progress(&mut chaos, &servers, "at the beginning");
    (0..3).for_each(|i| cluster.kill(i).unwrap());
    (0..3).for_each(|i| cluster.lose_data(i).unwrap());
    (0..3).for_each(|i| cluster.restart(i).unwrap());
    cluster.wait_until_serving().unwrap();
    let found = chaos
        .ask(&json!({"do": "finish"}), Duration::from_secs(120))
        .unwrap_err();
    assert!(format!("{found:#}").contains("lost"), "{found:#}");
}
