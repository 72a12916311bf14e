//! Snapshots in time: what a restart would replay stays bounded, however the transactions came to lie in the log.

mod common;

use common::{Cluster, set, wait_for};
use std::collections::BTreeSet;

fn snapshots(cluster: &Cluster, i: usize) -> BTreeSet<u64> {
    let dir = cluster.data(i).join("version-2");
    let files = std::fs::read_dir(dir).unwrap();
    files
        .filter_map(|f| {
            let name = f.unwrap().file_name().into_string().unwrap();
            u64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok()
        })
        .collect()
}

/// C-8: by number and by size; a few writes and a restart, again and again; on one server and on three.
#[test]
fn c_8_replayed_and_new_transactions_together_bring_a_snapshot() {
    for (n, lines, bytes) in [
        (1, "snapCount=40", 10),
        (1, "snapSizeLimitInKb=64", 1500),
        (3, "snapCount=40", 10),
    ] {
        println!("{n} {lines}");
        let mut cluster = Cluster::new(n, lines);
        let all: Vec<usize> = (0..n).collect();
        let data = "x".repeat(bytes);
        for round in 0..6 {
            cluster.start_all();
            let leader = cluster.wait_serving(&all);
            let mut c = cluster.client(leader);
            if round == 0 {
                c.create("/a", 0).unwrap().unwrap();
            }
            for _ in 0..15 {
                c.call(&set("/a", &data)).unwrap().unwrap();
            }
            all.iter().for_each(|i| cluster.client(*i).sync());
            all.iter().for_each(|i| cluster.kill(*i));
        }
        // The last restart may have been the one that reaches it.
        cluster.start_all();
        cluster.wait_serving(&all);
        for i in all {
            wait_for("a snapshot above the first", || {
                snapshots(&cluster, i)
                    .last()
                    .is_some_and(|z| *z > 0)
                    .then_some(())
            });
            assert_eq!(cluster.client(i).get("/a").unwrap(), data);
        }
    }
}
