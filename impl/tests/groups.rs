//! Hierarchical quorums between real servers: groups and weights decide, not how many servers are up.

mod common;

use common::{Cluster, wait_for};

#[test]
fn groups_and_weights_decide_who_is_needed() {
    // Both groups are needed, and server 2 decides nothing in its own.
    let groups = "group.1=1:2\ngroup.2=3\nweight.2=0\n";
    let mut cluster = Cluster::new(3, groups);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    assert_ne!(leader, 1, "a server without weight leads");
    let mut c = cluster.client(leader);
    c.create("/g", 0).unwrap().unwrap();
    cluster.kill(1);
    c.set("/g", "1").unwrap().unwrap();
    cluster.start(1);
    cluster.wait_serving(&[0, 1, 2]);
    // Two of three servers, but of one group only.
    cluster.kill(2);
    for who in [0, 1] {
        wait_for("the end of service", || {
            let word = cluster.word(who, "srvr")?;
            word.contains("not currently serving").then_some(())
        });
    }
    cluster.start(2);
    cluster.wait_serving(&[0, 1, 2]);
    let mut c = cluster.client(1);
    c.sync();
    assert_eq!(c.get("/g"), Some("1".into()));
}
