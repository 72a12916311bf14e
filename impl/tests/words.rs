//! Four-letter words that tell what clients watch, how large the directories are and where the server runs.

mod common;

use common::{Cluster, create, get};
use zabra::wire::client::{AddWatchMode, Request};
use zabra_model::tree::op::ReadOp;

#[test]
fn watches_are_told_by_path_by_session_and_in_sum() {
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

#[test]
fn directories_and_the_environment_are_told() {
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
    let after = cluster.word(0, "dirs").unwrap();
    let (old, new) = (size(&before, "logdir_size:"), size(&after, "logdir_size:"));
    assert!(old < new && new.is_some(), "{before} {after}");
    assert_eq!(
        size(&after, "datadir_size:"),
        new,
        "one directory holds both"
    );
    let conf = cluster.word(0, "conf").unwrap();
    assert_eq!(size(&conf, "dataDirSize="), new);

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
