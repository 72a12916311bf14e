//! Four-letter words that tell what clients watch, how large the directories are and where the server runs.

mod common;

use common::{Cluster, create, get, set};
use zabra::wire::client::{AddWatchMode, Request};
use zabra_model::tree::op::ReadOp;

#[test]
fn c_63_watches_are_told_by_path_by_session_and_in_sum() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let (mut ann, mut bob) = (cluster.client(0), cluster.client(0));
    assert_eq!(cluster.word(0, "wchc").as_deref(), Some("\n"));
    ann.call(&create("/app", 0)).unwrap().unwrap();
    ann.call(&get("/app", true)).unwrap().unwrap();
    let exists = Request::Read(ReadOp::Exists {
        path: "/nothere".into(),
        watch: true,
    });
    assert!(ann.call(&exists).unwrap().is_err());
    let persistent = Request::AddWatch {
        path: "/app".into(),
        mode: AddWatchMode::Persistent,
    };
    bob.call(&persistent).unwrap().unwrap();
    // A watch of children alone is in another table of ZooKeeper's, which these words do not show.
    let children = Request::Read(ReadOp::GetChildren {
        path: "/".into(),
        watch: true,
    });
    bob.call(&children).unwrap().unwrap();

    let (a, b) = (ann.session, bob.session);
    assert!(a < b, "{a} {b}");
    assert_eq!(
        cluster.word(0, "wchc").unwrap(),
        format!("{a}\n\t/app\n\t/nothere\n{b}\n\t/app\n\n")
    );
    assert_eq!(
        cluster.word(0, "wchp").unwrap(),
        format!("/app\n\t{a}\n\t{b}\n/nothere\n\t{a}\n\n")
    );
    assert_eq!(
        cluster.word(0, "wchs").unwrap(),
        "2 connections watching 2 paths\nTotal watches:3\n"
    );
}

/// C-62, C-63, C-66.
#[test]
fn c_62_c_63_c_66_directories_and_the_environment_are_told() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let size = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let before = cluster.word(0, "dirs").unwrap();
    let mut client = cluster.client(0);
    client.call(&create("/app", 0)).unwrap().unwrap();
    // What surrounds the election is written beside the data a moment later: one reading of all, between two equal ones.
    let mut after = cluster.word(0, "dirs").unwrap();
    let conf = loop {
        let conf = cluster.word(0, "conf").unwrap();
        let again = cluster.word(0, "dirs").unwrap();
        if std::mem::replace(&mut after, again) == after {
            break conf;
        }
    };
    let (old, new) = (size(&before, "logdir_size:"), size(&after, "logdir_size:"));
    assert!(old < new && new.is_some(), "{before} {after}");
    assert_eq!(
        size(&after, "datadir_size:"),
        new,
        "one directory holds both"
    );
    assert_eq!(size(&conf, "dataDirSize="), new);
    assert_eq!(size(&conf, "dataLogSize="), new);

    let environment = cluster.word(0, "envi").unwrap();
    assert!(environment.starts_with("Environment:\nzookeeper.version=3.9.5-"));
    let keys: Vec<_> = environment
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    // Those of ZooKeeper 3.9.5.
    let java = "zookeeper.version host.name java.version java.vendor java.home java.class.path java.library.path java.io.tmpdir \
                java.compiler os.name os.arch os.version user.name user.home user.dir os.memory.free os.memory.max os.memory.total";
    assert_eq!(keys.join(" "), java);
    assert_eq!(cluster.word(0, "gtmk").as_deref(), Some("306"));
}

/// `dump`: as a learner of ZooKeeper's prints it, but for the times at which connections would expire.
#[test]
fn c_63_sessions_their_ephemeral_nodes_and_connections_are_told() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let (mut ann, bob) = (cluster.client(0), cluster.client(0));
    for (path, flags) in [("/app", 0), ("/app/e1", 1), ("/app/e", 3)] {
        ann.call(&create(path, flags)).unwrap().unwrap();
    }
    let dump = cluster.word(0, "dump").unwrap();
    let (a, b) = (ann.session, bob.session);
    let timeout = |session| {
        let line = dump
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{session}\t")));
        line.and_then(|ms| ms.strip_suffix("ms")?.parse::<u32>().ok())
            .unwrap()
    };
    let (a_ms, b_ms) = (timeout(a), timeout(b));
    assert!(a_ms > 0 && b_ms > 0);
    let begin = format!(
        "SessionTracker dump:\nGlobal Sessions(2):\n{a}\t{a_ms}ms\n{b}\t{b_ms}ms\n\
         ephemeral nodes dump:\nSessions with Ephemerals (1):\n{a}:\n"
    );
    let rest = dump
        .strip_prefix(&*begin)
        .unwrap_or_else(|| panic!("{dump}"));
    let (nodes, conns) = rest
        .split_once("Connections dump:\nConnections (3):\n")
        .unwrap();
    let mut nodes: Vec<_> = nodes.lines().collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["\t/app/e0000000001", "\t/app/e1"]);
    let shown = conns.lines().map(|line| {
        let (from, session) = line.split_once(" sessionId: ").unwrap();
        assert!(from.starts_with("\tip: /127.0.0.1:"), "{line}");
        session.to_owned()
    });
    // The last one has asked for the word.
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [a.to_string(), b.to_string(), "0x0".into()]
    );
}

/// The keys about throttling are honoured by a server that runs, and `mntr` counts.
#[test]
fn what_is_throttled_is_counted() {
    let lines = "largeRequestThreshold=1000\nlargeRequestMaxBytes=2000";
    let mut cluster = Cluster::new(1, lines);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    client.call(&create("/n", 0)).unwrap().unwrap();
    client.send(&set("/n", &"x".repeat(3000)));
    assert!(client.reply().is_none(), "its connection ends");
    let mut other = cluster.client(0);
    other.call(&set("/n", &"x".repeat(1500))).unwrap().unwrap();
    let told = cluster.word(0, "mntr").unwrap();
    for line in [
        "zk_large_requests_rejected\t1",
        "zk_throttled_ops\t0",
        "zk_stale_requests\t0",
        "zk_stale_requests_dropped\t0",
    ] {
        assert!(told.lines().any(|has| has == line), "{line}: {told}");
    }
}
