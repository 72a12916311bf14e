//! C-24: `jute.maxbuffer` above its default: long requests through every server, in logs, and to a server that was away.

mod common;

use common::{Client, Cluster, set};

const BYTES: usize = 3_000_000;

fn set_long(client: &mut Client, path: &str, bytes: usize) -> Option<i32> {
    client.send(&set(path, &"x".repeat(bytes)));
    Some(client.reply()?.header.err)
}

#[test]
fn c_24_long_requests_are_forwarded_logged_sent_by_diff_and_read_back() {
    let mut cluster = Cluster::new(3, "jute.maxbuffer=0x400000");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let (follower, away) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.client(leader).create("/n", 0).unwrap().unwrap();
    cluster.kill(away);
    for at in [leader, follower] {
        let mut client = cluster.client(at);
        assert_eq!(set_long(&mut client, "/n", BYTES), Some(0));
        assert_eq!(client.get("/n").map(|data| data.len()), Some(BYTES));
    }
    cluster.start(away);
    cluster.wait_serving(&[0, 1, 2]);
    let mut client = cluster.client(away);
    client.sync();
    assert_eq!(client.get("/n").map(|data| data.len()), Some(BYTES));
    // Longer than the key allows: the connection ends, and the server serves on.
    assert_eq!(set_long(&mut client, "/n", 0x40_0000), None);
    (0..3).for_each(|i| cluster.kill(i));
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    for at in 0..3 {
        let mut client = cluster.client(at);
        client.sync();
        assert_eq!(client.get("/n").map(|data| data.len()), Some(BYTES));
    }
}

/// An operator who takes the key back does not lose the log.
#[test]
fn c_24_a_log_with_long_entries_is_read_when_the_key_is_gone() {
    let mut cluster = Cluster::new(1, "jute.maxbuffer=20000000");
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    client.create("/n", 0).unwrap().unwrap();
    let long = 12_000_000;
    assert_eq!(set_long(&mut client, "/n", long), Some(0));
    assert_eq!(client.get("/n").map(|data| data.len()), Some(long));
    cluster.kill(0);
    let file = cluster.data(0).join("zoo.cfg");
    let text = std::fs::read_to_string(&file).expect("it was written");
    std::fs::write(&file, text.replace("jute.maxbuffer", "#")).expect("it may be written");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    assert_eq!(client.get("/n").map(|data| data.len()), Some(long));
    assert_eq!(set_long(&mut client, "/n", 2_000_000), None);
}
