//! Servers of ZooKeeper and of Zabra in one ensemble, over the same data directories, under continuous writes.
//!
//! Skipped, loudly, where ZooKeeper cannot run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use zabra_conformance::chaos::{Chaos, PROGRESS};
use zabra_conformance::cluster::{Cluster, Product};
use zabra_conformance::interop::has_zookeeper;

/// Leaders that are stopped until both kinds were among them, at most.
const ROUNDS_MAX: usize = 12;

/// Kills server `i`, lets it come back as `product`, with or without its data, and sees writes go on through everyone.
fn replace(cluster: &mut Cluster, chaos: &mut Chaos, i: usize, product: Product, keep: bool) {
    let id = cluster.servers[i].id;
    let data = if keep { "its" } else { "no" };
    cluster.kill(i).unwrap();
    let others = cluster.servers.iter().filter(|s| s.id != id);
    chaos
        .wait_for_progress(others, &format!("without server {id}"))
        .unwrap();
    if !keep {
        cluster.lose_data(i).unwrap();
    }
    cluster.servers[i].product = product;
    cluster.restart(i).unwrap();
    chaos
        .wait_for_progress(
            &cluster.servers,
            &format!("with server {id} as {product:?}'s with {data} data"),
        )
        .unwrap();
    cluster.all_alive().unwrap();
}

#[test]
fn an_ensemble_moves_from_zookeeper_to_zabra_and_back_server_by_server() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let zookeeper = [Product::ZooKeeper; 3];
    let mut cluster = Cluster::start_as(&zookeeper, &[("snapCount", "300")]).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    chaos
        .wait_for_progress(&cluster.servers, "under ZooKeeper")
        .unwrap();
    chaos.ghost().unwrap();
    for product in [Product::Zabra, Product::ZooKeeper] {
        for i in 0..3 {
            replace(&mut cluster, &mut chaos, i, product, true);
        }
        chaos.ghost().unwrap();
    }
    let facts = chaos.finish().unwrap();
    // Not vacuous: there were writes whose loss would have been seen, and clients that died.
    let least = PROGRESS * 3 * 7;
    assert!(facts.count("acked").unwrap() >= least, "{facts:?}");
    assert_eq!(facts.count("ghosts"), Some(3), "{facts:?}");
}

/// C-85. Where reconfiguration is on, ZooKeeper's servers name the list that nobody has changed by the epoch in which it was first led, and rewrite
/// `zoo.cfg`; ours bring it into the history, which ZooKeeper's take as the reconfiguration that it is.
#[test]
fn an_ensemble_with_reconfiguration_on_moves_to_zabra_and_back() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let zookeeper = [Product::ZooKeeper; 3];
    let settings = [("reconfigEnabled", "true")];
    let mut cluster = Cluster::start_as(&zookeeper, &settings).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    chaos
        .wait_for_progress(&cluster.servers, "under ZooKeeper")
        .unwrap();
    for product in [Product::Zabra, Product::ZooKeeper] {
        for i in 0..3 {
            replace(&mut cluster, &mut chaos, i, product, true);
        }
    }
    chaos.finish().unwrap();
}

#[test]
fn servers_without_data_get_all_of_it_from_leaders_of_the_other_kind() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let products = [Product::Zabra, Product::ZooKeeper, Product::Zabra];
    let mut cluster = Cluster::start_as(&products, &[]).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    chaos
        .wait_for_progress(&cluster.servers, "at the beginning")
        .unwrap();
    let mut leaders = vec![];
    for i in [0, 1, 2, 0, 1, 2] {
        let product = cluster.servers[i].product;
        replace(&mut cluster, &mut chaos, i, product, false);
        let leader = cluster.leader().unwrap();
        leaders.push(cluster.servers[leader].product);
    }
    // The killed leader is not elected again while it has no data, so both kinds have led.
    for product in [Product::Zabra, Product::ZooKeeper] {
        assert!(leaders.contains(&product), "{leaders:?}");
    }
    chaos.finish().unwrap();
}

/// A leader that is stopped says so to learners of either kind (D-67); whose clients stay go on behind a leader of either kind.
#[test]
fn leaders_of_either_kind_are_stopped_in_order_and_nothing_is_lost() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let products = [Product::Zabra, Product::Zabra, Product::ZooKeeper];
    let mut cluster = Cluster::start_as(&products, &[]).unwrap();
    let mut chaos = Chaos::start(&cluster.servers).unwrap();
    let mut stopped = vec![];
    // Who is elected depends on who has logged most: mostly the other kind, and never the one that was just stopped.
    while stopped.len() < 4 || products.iter().any(|kind| !stopped.contains(kind)) {
        let stops = format!("{stopped:?} were stopped");
        assert!(stopped.len() < ROUNDS_MAX, "{stops}");
        chaos.wait_for_progress(&cluster.servers, &stops).unwrap();
        let leader = cluster.leader().unwrap();
        cluster.terminate(leader).unwrap();
        let others: Vec<_> = (0..3).filter(|i| *i != leader).collect();
        let others = others.iter().map(|i| &cluster.servers[*i]);
        chaos.wait_for_progress(others, &stops).unwrap();
        if products[leader] == Product::Zabra {
            let log = std::fs::read_to_string(cluster.servers[leader].log()).unwrap();
            assert!(log.contains("this server leads, and hands over"), "{log}");
        }
        stopped.push(products[leader]);
        cluster.restart(leader).unwrap();
    }
    chaos
        .wait_for_progress(&cluster.servers, "at the end")
        .unwrap();
    chaos.finish().unwrap();
}
