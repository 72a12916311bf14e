//! Stock clients that speak TLS to three servers, with the certificates of `zabra tls init`: kazoo through each of them, Curator, the C
//! client and a Go client over the death of the leader, in one session. What each does is in `interop`, and is the same without TLS.
//!
//! Node's clients speak no TLS: node-zookeeper-client dials with Node's `net` alone, and the binding `zookeeper` builds the C client
//! without OpenSSL. ZooKeeper's own shell is in `java_shell.rs`.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::cluster::{Cluster, Server};
use zabra_conformance::interop::run_python_with;
use zabra_conformance::programs::{Client, work_over_a_leader_kill_by};
use zabra_conformance::safeguard::{DevelopmentTls, Safeguard};

#[test]
fn kazoo_works_through_each_server_by_tls() {
    let tls = DevelopmentTls::init().unwrap();
    let lines = tls.lines();
    let lines: Vec<_> = lines.iter().map(|(key, value)| (*key, &**value)).collect();
    let cluster = Cluster::start(3, &lines).unwrap();
    let servers: Vec<_> = cluster.servers.iter().map(Server::connect).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let at = tls.path();
    let told = ("ZABRA_TLS", at.as_os_str());
    eprint!(
        "{}",
        run_python_with("kazoo_work.py", &servers, told).unwrap()
    );
}

#[test]
fn curator_by_tls_outlives_a_leader() {
    let tls = DevelopmentTls::init().unwrap();
    work_over_a_leader_kill_by(Client::Curator, &tls).unwrap();
}

#[test]
fn a_go_client_by_tls_outlives_a_leader() {
    let tls = DevelopmentTls::init().unwrap();
    work_over_a_leader_kill_by(Client::Go, &tls).unwrap();
}

#[test]
fn the_c_client_by_tls_outlives_a_leader() {
    let tls = DevelopmentTls::init().unwrap();
    work_over_a_leader_kill_by(Client::C, &tls).unwrap();
}
