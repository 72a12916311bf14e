//! Stock clients that authenticate by SASL (DIGEST-MD5) to three servers that take no other: Curator and the C client over the death
//! of the leader, in one session, which they prove anew at the next server. kazoo is in `kazoo_sasl.rs`, ZooKeeper's own shell in
//! `java_shell.rs`.
//!
//! go-zookeeper and Node's clients speak no SASL: they have no request of that kind, and the Node binding of the C client builds it
//! without Cyrus SASL. The C client has no call for TLS and SASL together (ZOOKEEPER-3482).
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::programs::{Client, work_over_a_leader_kill_by};
use zabra_conformance::safeguard::DevelopmentSasl;

#[test]
fn curator_by_sasl_outlives_a_leader() {
    let sasl = DevelopmentSasl::init().unwrap();
    work_over_a_leader_kill_by(Client::Curator, &sasl).unwrap();
}

#[test]
fn the_c_client_by_sasl_outlives_a_leader() {
    let sasl = DevelopmentSasl::init().unwrap();
    work_over_a_leader_kill_by(Client::C, &sasl).unwrap();
}
