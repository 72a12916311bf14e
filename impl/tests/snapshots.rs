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

/// C-9.
#[test]
fn c_9_compressed_snapshots_are_written_and_read_whatever_the_line_says_later() {
    for (method, ending) in [("gz", ".gz"), ("snappy", ".snappy")] {
        let mut cluster = Cluster::new(1, "snapCount=100\nautopurge.purgeInterval=30m");
        let file = cluster.data(0).join("zoo.cfg");
        let plain = std::fs::read_to_string(&file).unwrap();
        let packed = format!("{plain}snapshot.compression.method={method}\n");
        let version_2 = cluster.data(0).join("version-2");
        let packed_ones = || {
            let names = std::fs::read_dir(&version_2).unwrap();
            let names = names.map(|f| f.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(ending)).count()
        };
        std::fs::write(&file, packed).unwrap();
        cluster.start(0);
        cluster.wait_serving(&[0]);
        let mut client = cluster.client(0);
        client.create("/d", 0).unwrap().unwrap();
        let mut made = 0;
        wait_for("five compressed snapshots", || {
            for _ in 0..20 {
                client.create(&format!("/d/{made}"), 0).unwrap().unwrap();
                made += 1;
            }
            (packed_ones() >= 5).then_some(())
        });
        cluster.kill(0);
        std::fs::write(&file, plain).unwrap();
        // The first start purges down to the three newest and what they need, the second one has nothing else to start from.
        for _ in 0..2 {
            cluster.start(0);
            cluster.wait_serving(&[0]);
            assert_eq!(packed_ones(), 3, "{method}");
            assert!(!version_2.join("snapshot.0").exists());
            assert_eq!(cluster.client(0).children("/d").len(), made, "{method}");
            cluster.kill(0);
        }
    }
}
