//! Curator, the C client, a Go client and a Node client at work: operations, watches, transactions, ACLs and recipes, before and
//! after the death of the leader, in one session.
//!
//! What each does and checks stands in its program under `interop/clients`; kazoo has a test of its own.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::programs::{Client, work_over_a_leader_kill};

#[test]
fn curator_and_its_recipes_outlive_a_leader() {
    work_over_a_leader_kill(Client::Curator).unwrap();
}

#[test]
fn the_c_client_outlives_a_leader() {
    work_over_a_leader_kill(Client::C).unwrap();
}

#[test]
fn a_go_client_outlives_a_leader() {
    work_over_a_leader_kill(Client::Go).unwrap();
}

#[test]
fn a_node_client_outlives_a_leader() {
    work_over_a_leader_kill(Client::Node).unwrap();
}
