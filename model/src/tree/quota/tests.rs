//! Quotas held against a walk through the tree, and against the rule written down a second time.

use super::*;
use crate::ids::{SessionId, Zxid};
use crate::tree::acl::{AclEntry, Id};
use crate::tree::op::{CreateKind, WriteOp};
use crate::tree::prep::{Prep, Request, Rules};
use crate::tree::restore::Restore;
use crate::tree::txn::{Txn, TxnHeader};
use alloc::string::ToString;
use alloc::{format, vec};
use bytes::Bytes;
use proptest::prelude::*;

/// A server that leads and applies at once.
struct Server {
    tree: Tree,
    prep: Prep,
    zxid: u64,
}

impl Server {
    fn new(enforce_quota: bool) -> Self {
        let rules = Rules {
            enforce_quota,
            ..Rules::default()
        };
        Self {
            tree: Tree::new(),
            prep: Prep::new(rules),
            zxid: 0,
        }
    }

    fn ask_as(&mut self, session: i64, op: WriteOp) -> Txn {
        self.zxid += 1;
        let header = TxnHeader {
            session: SessionId(session),
            zxid: Zxid(self.zxid),
            ..TxnHeader::default()
        };
        let request = Request {
            header,
            ids: &[],
            session: Ok(()),
            ephemerals: Ok(()),
        };
        let txn = self.prep.prepare(&self.tree, &request, op);
        self.tree.apply(&header, &txn, &mut |_| {});
        self.prep.committed(header.zxid);
        txn
    }

    /// The code of the refusal, of a multi that of its first one; 0 without any.
    fn ask(&mut self, op: WriteOp) -> i32 {
        match self.ask_as(1, op) {
            Txn::Error { code } => code,
            Txn::Multi(txns) => {
                let mut codes = txns.iter().filter_map(|txn| match txn {
                    Txn::Error { code } => Some(*code),
                    _ => None,
                });
                codes.next().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        let data = self.tree.find(path)?.data().unwrap_or_default();
        Some(String::from_utf8_lossy(data).into_owned())
    }

    fn stats(&self, prefix: &str) -> Option<String> {
        self.text(&node_of(prefix, STATS))
    }

    /// The same tree as a server has it that loads the snapshot.
    fn restored(&self) -> Tree {
        let image = self.tree.image();
        let mut restore = Restore::new();
        for (id, list) in &image.acls {
            restore.acl(*id, list);
        }
        for n in image.nodes() {
            assert_eq!(restore.node(n.path, n.data, n.acl_id, &n.stat), Ok(()));
        }
        restore.finish(image.zxid).unwrap_or_default()
    }
}

fn make(path: &str, data: &str, flags: i32) -> WriteOp {
    WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(Bytes::copy_from_slice(data.as_bytes())),
        acl: Some(vec![AclEntry {
            perms: 31,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }]),
        flags,
        ttl: 0,
    }
}

fn delete(path: &str) -> WriteOp {
    WriteOp::Delete {
        path: Some(path.into()),
        version: -1,
    }
}

fn set(path: &str, data: &str) -> WriteOp {
    WriteOp::SetData {
        path: Some(path.into()),
        data: Some(Bytes::copy_from_slice(data.as_bytes())),
        version: -1,
    }
}

/// What ZooKeeper's shell does for `setquota`.
fn limit(server: &mut Server, prefix: &str, limits: &str) {
    let mut at = String::from(path::QUOTA);
    for name in prefix.split('/').skip(1) {
        at = format!("{at}/{name}");
        server.ask(make(&at, "", 0));
    }
    assert_eq!(server.ask(make(&node_of(prefix, LIMITS), limits, 0)), 0);
    assert_eq!(server.ask(make(&node_of(prefix, STATS), "", 0)), 0);
}

#[test]
fn the_text_is_read_and_written_as_zookeeper_does() {
    let read = |text: &str| Figures::parse(Some(text.as_bytes())).map(|f| f.to_string());
    for (text, written) in [
        ("", "count=-1,bytes=-1"),
        (",;", "count=-1,bytes=-1"),
        ("count=2,bytes=10", "count=2,bytes=10"),
        ("bytes=10;;count=+2,", "count=2,bytes=10"),
        ("count=2,count=3", "count=3,bytes=-1"),
        (
            "count=2,bytes=10=;countHardLimit=2;byteHardLimit=9",
            "count=2,bytes=10=;byteHardLimit=9;countHardLimit=2",
        ),
        ("a==5", "count=-1,bytes=-1=;a=-1"),
    ] {
        assert_eq!(read(text).as_deref(), Some(written), "{text:?}");
    }
    for bad in [
        "count",
        "count=",
        "count=x",
        "count= 1",
        ",count=1",
        "==",
        "count=9223372036854775808",
    ] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
    assert_eq!(Figures::parse(None), None);
}

/// The capture `golden/client/quota.jsonl`.
#[test]
fn a_hard_limit_refuses_and_the_stats_show_what_is_there() {
    let mut server = Server::new(true);
    assert_eq!(server.ask(make("/q", "", 0)), 0);
    let limits = "count=2,bytes=10=;byteHardLimit=10;countHardLimit=2";
    limit(&mut server, "/q", limits);
    assert_eq!(server.ask(make("/q/a", "1", 0)), 0);
    assert_eq!(server.ask(make("/q/b", "1", 0)), -125);
    let told = server.prep.take_exceeded().map(|over| over.to_string());
    let expected = "quota of /q: 3 nodes, the hard limit is 2";
    assert_eq!(told.as_deref(), Some(expected));
    assert_eq!(server.ask(set("/q/a", "12345678901")), -125);
    assert_eq!(server.stats("/q").as_deref(), Some("count=2,bytes=1"));
    let stats = server.tree.find(&node_of("/q", STATS)).map(|n| n.stat());
    assert_eq!(
        stats.map(|s| (s.version, s.mzxid == s.czxid, s.data_length)),
        Some((0, true, 15))
    );
    // Without its limits node, it is a subtree like any other.
    assert_eq!(server.ask(delete(&node_of("/q", LIMITS))), 0);
    assert_eq!(server.ask(make("/q/b", "1", 0)), 0);
    assert_eq!(server.stats("/q").as_deref(), Some("count=2,bytes=1"));
}

#[test]
fn a_soft_limit_is_told_and_none_is_looked_at_unless_quotas_are_enforced() {
    for (enforced, limits, code, told) in [
        (
            true,
            "count=1,bytes=-1",
            0,
            Some("quota of /q: 2 nodes, the soft limit is 1"),
        ),
        (
            true,
            "count=9,bytes=1",
            0,
            Some("quota of /q: 3 bytes of data, the soft limit is 1"),
        ),
        // The hard limit takes the place of the soft one.
        (true, "count=1,bytes=-1=;countHardLimit=2", 0, None),
        (
            true,
            "countHardLimit=0",
            -125,
            Some("quota of /q: 2 nodes, the hard limit is 0"),
        ),
        (true, "countHardLimit=x", -5, None),
        (false, "countHardLimit=0", 0, None),
        (false, "countHardLimit=x", 0, None),
    ] {
        let mut server = Server::new(enforced);
        server.ask(make("/q", "", 0));
        limit(&mut server, "/q", limits);
        assert_eq!(server.ask(make("/q/a", "abc", 0)), code, "{limits}");
        let over = server.prep.take_exceeded().map(|over| over.to_string());
        assert_eq!(over.as_deref(), told, "{limits}");
    }
}

#[test]
fn the_operator_is_told_once_a_second_and_of_how_many_more() {
    let mut pace = Pace::default();
    let told = [0, 1, 999, 1000, 5000, 5001, 6001].map(|now_ms| pace.tell(now_ms));
    let expected = [Some(0), None, None, Some(2), Some(0), None, Some(1)];
    assert_eq!(told, expected);
}

/// The rule of ZooKeeper: what counts is whether there would still be too much.
#[test]
fn a_write_that_shrinks_is_refused_while_there_is_still_too_much() {
    let mut server = Server::new(true);
    server.ask(make("/q", "0123456789", 0));
    limit(&mut server, "/q", "byteHardLimit=5");
    assert_eq!(server.ask(set("/q", "012345678")), -125);
    assert_eq!(server.ask(set("/q", "abcdefghij")), 0, "as long as before");
    assert_eq!(server.ask(set("/q", "01234")), 0);
    assert_eq!(server.stats("/q").as_deref(), Some("count=1,bytes=5"));
}

#[test]
fn only_the_nearest_quota_counts_until_a_snapshot_is_loaded() {
    let mut server = Server::new(true);
    for path in ["/q", "/q/in", "/qq"] {
        server.ask(make(path, "x", 0));
    }
    limit(&mut server, "/q", "countHardLimit=2");
    limit(&mut server, "/q/in", "count=9");
    assert_eq!(server.ask(make("/q/in/a", "yz", 0)), 0, "the outer is full");
    assert_eq!(server.ask(make("/q/b", "", 0)), -125);
    assert_eq!(server.ask(make("/qq/b", "", 0)), 0, "another name");
    assert_eq!(server.stats("/q/in").as_deref(), Some("count=2,bytes=3"));
    assert_eq!(server.stats("/q").as_deref(), Some("count=2,bytes=2"));
    server.tree = server.restored();
    assert_eq!(server.stats("/q/in").as_deref(), Some("count=2,bytes=3"));
    assert_eq!(server.stats("/q").as_deref(), Some("count=3,bytes=4"));
    assert_eq!(server.ask(make("/q/b", "", 0)), -125);
}

#[test]
fn operators_are_told_of_quotas_by_the_first_name_of_their_paths() {
    let mut server = Server::new(true);
    for path in ["/q", "/q/in", "/r"] {
        server.ask(make(path, "xy", 0));
    }
    limit(&mut server, "/q", "count=9,bytes=-1=;countHardLimit=4");
    limit(&mut server, "/q/in", "count=6,bytes=-1");
    limit(&mut server, "/r", "count=-1,bytes=100");
    assert_eq!(server.ask(set(&node_of("/r", STATS), "nonsense")), 0);
    let of = |count_limit, bytes_limit, count, bytes| Namespace {
        count_limit,
        bytes_limit,
        count,
        bytes,
    };
    let all = server.tree.quotas_by_namespace(9);
    let all: Vec<_> = all.iter().map(|(name, sums)| (&**name, *sums)).collect();
    // The inner one was counted with the outer one until it had a quota of its own.
    let q = of(Some(10), None, 3, 6);
    assert_eq!(all, [("q", q), ("r", of(None, Some(100), 0, 0))]);
    assert_eq!(server.tree.quotas_by_namespace(1).len(), 1);
}

#[test]
fn nodes_that_are_of_no_quota_and_texts_that_are_none_do_no_harm() {
    let mut server = Server::new(true);
    for name in [LIMITS, STATS] {
        assert_eq!(server.ask(make(&node_of("", name), "x", 0)), 0);
        let elsewhere = format!("/zookeeper/{name}");
        assert_eq!(server.ask(make(&elsewhere, "x", 0)), 0);
        assert_eq!(server.ask(delete(&elsewhere)), 0);
    }
    assert!(server.tree.quotas.is_empty());
    server.ask(make("/q", "", 0));
    limit(&mut server, "/q", "count=9");
    assert_eq!(server.ask(set(&node_of("/q", STATS), "nonsense")), 0);
    assert_eq!(server.ask(make("/q/a", "", 0)), -5);
    assert_eq!(server.ask(set("/q", "")), 0);
    assert_eq!(server.stats("/q").as_deref(), Some("count=1,bytes=0"));
    let most = format!("count={},bytes={}", i64::MAX, i64::MAX);
    assert_eq!(server.ask(set(&node_of("/q", STATS), &most)), 0);
    assert_eq!(server.ask(make("/q/a", "x", 0)), 0);
    assert_eq!(server.stats("/q"), Some(most));
    // A quota of the quotas' own parent.
    limit(&mut server, "/zookeeper", "count=1");
    assert_eq!(server.ask(make("/zookeeper/a", "x", 0)), 0);
}

const PATHS: [&str; 7] = ["/q", "/q/a", "/q/a/b", "/q/c", "/qq", "/r", "/r/a"];

fn path_of_test() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PATHS[..])
}

fn plain_op() -> impl Strategy<Value = WriteOp> {
    let data = proptest::sample::select(vec!["", "1", "333", "7777777"]);
    let flags = proptest::sample::select(vec![0, 0, 1, 2, 3]);
    prop_oneof![
        3 => (path_of_test(), data.clone(), flags).prop_map(|(p, d, f)| make(p, d, f)),
        2 => (path_of_test(), data).prop_map(|(p, d)| set(p, d)),
        1 => path_of_test().prop_map(delete),
    ]
}

fn any_op() -> impl Strategy<Value = WriteOp> {
    let quota = |on: bool, prefix: &'static str| {
        let limits = "count=4,bytes=9=;byteHardLimit=12;countHardLimit=5";
        WriteOp::Multi(if on {
            vec![
                make(&node_of(prefix, LIMITS), limits, 0),
                make(&node_of(prefix, STATS), "", 0),
            ]
        } else {
            vec![
                delete(&node_of(prefix, LIMITS)),
                delete(&node_of(prefix, STATS)),
            ]
        })
    };
    let prefix = proptest::sample::select(vec!["/q", "/r"]);
    prop_oneof![
        12 => plain_op(),
        3 => proptest::collection::vec(plain_op(), 1..4).prop_map(WriteOp::Multi),
        1 => Just(WriteOp::CloseSession),
        3 => (any::<bool>(), prefix).prop_map(move |(on, prefix)| quota(on, prefix)),
    ]
}

/// Counts through the whole tree, by itself.
fn walked(tree: &Tree, prefix: &str) -> (i64, i64) {
    let below = format!("{prefix}/");
    let nodes = tree
        .nodes()
        .filter(|n| n.path == prefix || n.path.starts_with(&below));
    nodes.fold((0, 0), |(count, bytes), n| {
        (count + 1, bytes + n.data.map_or(0, <[u8]>::len) as i64)
    })
}

proptest! {
    /// Whatever is made, set, deleted and closed, by itself or in a multi: each quota shows what a walk counts, a server that
    /// loads the snapshot shows the same, and a single request is refused for its quota exactly if it would be over it.
    #[test]
    fn usage_is_what_a_walk_counts(ops in proptest::collection::vec(any_op(), 1..60)) {
        let mut server = Server::new(true);
        for prefix in ["/q", "/r"] {
            let made = server.ask(make(&format!("{}{prefix}", path::QUOTA), "", 0));
            prop_assert_eq!(made, 0);
        }
        for op in ops {
            let before: Vec<_> = ["/q", "/r"]
                .map(|prefix| (prefix, server.tree.find(&node_of(prefix, LIMITS)).is_some(), walked(&server.tree, prefix)))
                .into();
            let (path, bytes, nodes) = match &op {
                // A number makes another name of it.
                WriteOp::Create { path: Some(path), data: Some(data), flags, .. } => {
                    let name = if *flags > 1 { "0" } else { "" };
                    (format!("{path}{name}").into(), data.len() as i64, 1)
                }
                WriteOp::SetData { path: Some(path), data: Some(data), .. } => {
                    let old = server.tree.find(path).and_then(|n| n.data()).map_or(0, <[u8]>::len);
                    (path.clone(), data.len() as i64 - old as i64, 0)
                }
                _ => ("".into(), 0, 0),
            };
            let code = server.ask(op);
            let over = before.iter().any(|(prefix, limited, (count, size))| {
                let is_in = path.starts_with(&format!("{prefix}/")) || &&*path == prefix;
                is_in && *limited && ((nodes != 0 && count + nodes > 5) || (bytes != 0 && size + bytes > 12))
            });
            if !path.is_empty() {
                // Another refusal may come first.
                prop_assert!(!(over && code == 0), "{} went over", path);
                prop_assert!(over || code != -125 , "{} was within", path);
            }
            let back = server.restored();
            for prefix in ["/q", "/r"] {
                let (count, bytes) = walked(&server.tree, prefix);
                let shown = server.stats(prefix);
                let expected = format!("count={count},bytes={bytes}");
                prop_assert!(shown.is_none() || shown == Some(expected), "{}: {:?}", prefix, shown);
                let at = node_of(prefix, STATS);
                prop_assert_eq!(
                    back.find(&at).and_then(|n| n.data()),
                    server.tree.find(&at).and_then(|n| n.data())
                );
            }
            prop_assert_eq!(&back.quotas, &server.tree.quotas);
        }
    }
}
