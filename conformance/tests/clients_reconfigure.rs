//! kazoo, the C client, Curator and a Go client change the members of an ensemble of ours, and of ensembles with ZooKeeper's servers in them.
//!
//! What each does and checks stands in its program: `interop/kazoo_reconfig.py`, and `reconfig` under `interop/clients`.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::cluster::Product::{self, Zabra, ZooKeeper};
use zabra_conformance::interop::has_zookeeper;
use zabra_conformance::programs::Client;
use zabra_conformance::reconfigure::{Changing, Reconfigurer};

fn among_ours(client: Reconfigurer) {
    let mut ensemble = Changing::start([Zabra; 3], Zabra).unwrap();
    ensemble.by(client).unwrap();
}

#[test]
fn kazoo_changes_the_members() {
    among_ours(Reconfigurer::Kazoo);
}

#[test]
fn the_c_client_changes_the_members() {
    among_ours(Reconfigurer::Of(Client::C));
}

#[test]
fn curator_changes_the_members() {
    among_ours(Reconfigurer::Of(Client::Curator));
}

#[test]
fn a_go_client_changes_the_members() {
    among_ours(Reconfigurer::Of(Client::Go));
}

/// Each client in turn. Each removes the leader, so that servers 3 and 2 lead in turn: one is ours, and the other ZooKeeper's.
fn among_both(first: Product, joiner: Product) {
    if !has_zookeeper().unwrap() {
        return;
    }
    let mut ensemble = Changing::start([first, ZooKeeper, Zabra], joiner).unwrap();
    let led: Vec<Product> = Reconfigurer::ALL
        .into_iter()
        .filter_map(|client| {
            let led = ensemble.by(client);
            led.map_err(|e| e.context(format!("{client:?}"))).unwrap()
        })
        .collect();
    assert!(led.contains(&Zabra) && led.contains(&ZooKeeper), "{led:?}");
}

#[test]
fn all_clients_change_two_servers_of_zookeeper_and_one_of_ours() {
    among_both(ZooKeeper, Zabra);
}

#[test]
fn all_clients_change_two_servers_of_ours_and_one_of_zookeeper() {
    among_both(Zabra, ZooKeeper);
}

/// The programs themselves, held against what they are to ask for.
#[test]
#[ignore = "ZooKeeper alone: to run when a program changes"]
fn all_clients_change_three_servers_of_zookeeper() {
    let mut ensemble = Changing::start([ZooKeeper; 3], ZooKeeper).unwrap();
    for client in Reconfigurer::ALL {
        ensemble.by(client).unwrap();
    }
}
