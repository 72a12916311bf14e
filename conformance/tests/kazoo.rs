//! kazoo, the Python client, at work: everything it can do through each server, and five leaders killed under its writes.
//!
//! What kazoo does and checks stands in `interop/kazoo_work.py` and `interop/kazoo_chaos.py`; this file runs the servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use zabra_conformance::chaos::{Chaos, PROGRESS};
use zabra_conformance::cluster::{Cluster, Server};
use zabra_conformance::interop::run_python;

/// Leaders killed, one after the other.
const ROUNDS: usize = 5;

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

#[test]
fn no_acknowledged_write_is_lost_when_five_leaders_are_killed_under_continuous_writes() {
    // Few transactions between two snapshots: some kill meets one, and recovery reads snapshots and logs.
    let mut cluster = Cluster::start(3, &[("snapCount", "300")]).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    chaos
        .wait_for_progress(&cluster.servers, "at the beginning")
        .unwrap();
    for round in 1..=ROUNDS {
        chaos.ghost().unwrap();
        let leader = cluster.leader().unwrap();
        cluster.kill(leader).unwrap();
        let killed = cluster.servers[leader].id;
        let survivors = cluster.servers.iter().filter(|s| s.id != killed);
        let when = format!("in round {round}, after the leader {killed} is dead");
        chaos.wait_for_progress(survivors, &when).unwrap();
        cluster.restart(leader).unwrap();
        let when = format!("in round {round}, after {killed} is back");
        chaos.wait_for_progress(&cluster.servers, &when).unwrap();
        cluster.all_alive().unwrap();
    }
    // At last everybody at once: what was acknowledged must be on disks, not only in memories.
    (0..3).for_each(|i| cluster.kill(i).unwrap());
    (0..3).for_each(|i| cluster.restart(i).unwrap());
    chaos
        .wait_for_progress(&cluster.servers, "after all servers were killed")
        .unwrap();
    let facts = chaos.finish().unwrap();
    // Not vacuous: there were writes whose loss would have been seen, and clients that died.
    let least = PROGRESS * 3 * 2 * ROUNDS as u64;
    assert!(facts.count("acked").unwrap() >= least, "{facts:?}");
    assert!(facts.count("sequential").unwrap() > 0, "{facts:?}");
    assert_eq!(facts.count("ghosts"), Some(ROUNDS as u64), "{facts:?}");
    cluster.all_alive().unwrap();
}

#[test]
fn the_check_notices_a_lost_write() {
    let mut cluster = Cluster::start(3, &[]).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    chaos
        .wait_for_progress(&cluster.servers, "at the beginning")
        .unwrap();
    (0..3).for_each(|i| cluster.kill(i).unwrap());
    (0..3).for_each(|i| cluster.lose_data(i).unwrap());
    (0..3).for_each(|i| cluster.restart(i).unwrap());
    cluster.wait_until_serving().unwrap();
    let found = chaos.finish().unwrap_err();
    assert!(format!("{found:#}").contains("lost"), "{found:#}");
}
