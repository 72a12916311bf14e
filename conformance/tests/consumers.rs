//! Programs that watch ZooKeeper read our servers without a complaint: collectors of metrics, consoles, probes of images, Solr's page for
//! administrators, kazoo and go-zookeeper; of a server on its own and of three members.
//!
//! What each reads stands in `interop/consumers.py` and `interop/clients/go/words.go`. Prometheus has a test of its own.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::cluster::Cluster;
use zabra_conformance::interop::run_python;
use zabra_conformance::programs::words_by_go;

fn read_without_a_complaint(count: u64) {
    let cluster = Cluster::start(count, &[]).unwrap();
    let servers = &cluster.servers;
    let modes: Vec<String> = servers.iter().map(|s| s.srvr().unwrap().mode).collect();
    let modes = modes.join(",");
    let addresses: Vec<String> = servers.iter().map(|s| s.connect()).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let said = run_python("consumers.py", &[&[&*modes][..], &addresses[..]].concat()).unwrap();
    assert_eq!(said.trim(), "read by 11 programs");
    words_by_go(&modes, &addresses).unwrap();
}

#[test]
fn a_server_on_its_own_is_read_without_a_complaint() {
    read_without_a_complaint(1);
}

#[test]
fn members_of_an_ensemble_are_read_without_a_complaint() {
    read_without_a_complaint(3);
}
