//! `zabra snapshot`.

use super::{copy, damage, decoded, golden, text, zabra};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use zabra::storage::disk::RealDisk;
use zabra::storage::snapshot::body::NodeRef;
use zabra::storage::snapshot::{Packing, SnapshotWriter};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::AclEntry;
use zabra_model::tree::stat::StatPersisted;

/// A snapshot of ours, of these nodes with so many bytes of data each.
pub(crate) fn write(dir: &Path, zxid: u64, packing: Packing, nodes: &[(&str, usize)]) -> PathBuf {
    let none: [&[AclEntry]; 1] = [&[]];
    let sessions = [(SessionId(7), 4000)];
    let mut writer = SnapshotWriter::begin(
        &RealDisk,
        dir,
        (Zxid(zxid), packing),
        sessions.into_iter(),
        none,
    )
    .unwrap();
    for (path, bytes) in [("", 0)].iter().chain(nodes) {
        let stat = StatPersisted {
            ephemeral_owner: if path.ends_with("mine") { 7 } else { 0 },
            ..StatPersisted::created(Zxid(1), 5, 0)
        };
        let data = vec![b'x'; *bytes];
        let node = NodeRef {
            path,
            data: Some(&data),
            acl: &[],
            stat: &stat,
        };
        writer.node(node).unwrap();
    }
    writer.finish().unwrap().publish(&RealDisk).unwrap()
}

#[test]
fn zookeepers_snapshots_are_printed_as_another_hand_has_decoded_them() {
    for (name, file, digest) in [
        ("standalone-3.9.5", "snapshot.44", Some("0xdda301dd9")),
        (
            "standalone-3.9.5-snapshot-gz",
            "snapshot.55.gz",
            Some("0xf8c402c6d"),
        ),
        ("standalone-3.9.5-no-digest", "snapshot.31", None),
        ("standalone-3.8.0", "snapshot.4f", None),
    ] {
        let path = golden(name).join("data/version-2").join(file);
        let said = zabra(&["snapshot", "-o", "json", "--data=hex", text(&path)]);
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let found = said.documents();
        let rows: Vec<_> = decoded(name)
            .into_iter()
            .filter(|row| row["file"] == file)
            .collect();
        let nodes: Vec<_> = rows.iter().filter(|row| row["what"] == "node").collect();
        assert!(nodes.len() > 30);
        for (found, wanted) in found.iter().zip(&nodes) {
            let path = wanted["path"].as_str().unwrap();
            assert_eq!(found["node"], if path.is_empty() { "/" } else { path });
            let stat = &wanted["stat"];
            for field in [
                "czxid", "mzxid", "pzxid", "ctime", "mtime", "version", "cversion", "aversion",
            ] {
                assert_eq!(found[field], stat[field], "{name} {path} {field}");
            }
            let bytes = found["bytes"].as_i64();
            assert_eq!(
                bytes.unwrap_or(0),
                wanted["dataLength"].as_i64().unwrap_or(0),
                "{path}"
            );
            assert_eq!(
                found["data"].as_str().map(|hex| hex.len() as i64 / 2),
                bytes,
                "{path}"
            );
            let is_of_session = found["kind"] == "ephemeral";
            assert_eq!(
                found.get("session"),
                stat.get("ephemeralOwner").filter(|_| is_of_session),
                "{path}"
            );
        }
        let sessions = rows.iter().find(|row| row["what"] == "sessions").unwrap();
        let rest = &found[nodes.len()..];
        assert_eq!(sessions["count"], rest.len() - 1);
        for (found, wanted) in rest.iter().zip(sessions["items"].as_array().unwrap()) {
            assert_eq!(
                [&found["session"], &found["timeout_ms"]],
                [&wanted[0], &wanted[1]]
            );
        }
        let end = rest.last().unwrap();
        assert_eq!(end["nodes"], nodes.len());
        if let Some(digest) = digest {
            assert_eq!(end["digest"], digest, "{name}");
        }
    }
}

#[test]
fn people_see_a_node_in_four_lines_and_the_sessions_behind_all() {
    let path = golden("standalone-3.9.5").join("data/version-2/snapshot.44");
    let said = zabra(&["snapshot", "--data=text", "--path", "/ttl", text(&path)]);
    let mut lines = said.out.lines();
    assert_eq!(lines.next(), Some("/ttl"));
    assert_eq!(
        lines.next(),
        Some("  ttl of 274877906944 ms, 1 bytes \"t\"")
    );
    assert_eq!(lines.clone().count(), 3, "{}", said.out);
    let said = zabra(&["snapshot", text(&path)]);
    assert!(
        said.out.contains("\n/a\n  persistent, 7 bytes\n"),
        "{}",
        said.out
    );
    let end: Vec<_> = said.out.lines().rev().take(3).collect();
    assert!(
        end[0].starts_with("snapshot of 0x44, with changes up to 0x45: "),
        "{}",
        end[0]
    );
    assert!(
        end[0].ends_with(", 2 sessions, digest 0xdda301dd9 at 0x46"),
        "{}",
        end[0]
    );
    assert!(
        end[2].starts_with("session 0x1000017b5dd0002 timeout 30000 ms, "),
        "{}",
        end[2]
    );
}

#[test]
fn compressed_ones_of_ours_are_read_and_a_damaged_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let nodes: Vec<_> = (0..500).map(|n| format!("/n{n}")).collect();
    let nodes: Vec<_> = nodes.iter().map(|path| (&**path, 300)).collect();
    for (zxid, packing) in [(1, Packing::Plain), (2, Packing::Gz), (3, Packing::Snappy)] {
        let path = write(dir.path(), zxid, packing, &nodes);
        let said = zabra(&["snapshot", text(&path)]);
        assert_eq!(said.code, 0, "{packing:?}: {}", said.err);
        let lines: Vec<_> = said.out.lines().rev().take(2).collect();
        assert_eq!(lines[1], "session 0x7 timeout 4000 ms, 0 ephemeral nodes");
        let sums = format!(
            "snapshot of {zxid:#x}: 501 nodes, 150000 bytes of data, 1 sessions, digest 0x"
        );
        assert!(lines[0].starts_with(&sums), "{}", lines[0]);
        assert!(
            lines[0].ends_with(&format!(" at {zxid:#x}")),
            "{}",
            lines[0]
        );
        // A byte of a compressed file may be damaged without a trace: a copy from further before is of the same bytes.
        let whole = zabra(&["snapshot", "-o", "json", text(&path)]);
        let bytes = fs::read(&path).unwrap();
        let told = (1..8).filter(|eighth| {
            damage(&path, bytes.len() * eighth / 8);
            let said = zabra(&["snapshot", "-o", "json", text(&path)]);
            fs::write(&path, &bytes).unwrap();
            if said.code == 0 {
                assert_eq!(said.out, whole.out, "{packing:?}");
                return false;
            }
            assert_eq!(said.code, 3, "{packing:?}");
            assert!(said.err.contains(text(&path)), "{}", said.err);
            assert!(
                said.documents()
                    .iter()
                    .all(|line| line.get("snapshot").is_none())
            );
            true
        });
        assert!(told.count() > 3, "{packing:?}");
    }
    let renamed = dir.path().join("kept.gz");
    fs::copy(dir.path().join("snapshot.2.gz"), &renamed).unwrap();
    let said = zabra(&["snapshot", text(&renamed)]);
    assert!(
        said.code == 1 && said.err.contains("snapshot.ZXID.gz"),
        "{}",
        said.err
    );
}

#[test]
fn subtrees_are_summed_up_to_a_depth() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = [
        ("/a", 1),
        ("/a/b", 10),
        ("/a/b/c", 100),
        ("/a/b/d", 0),
        ("/a-b", 1000),
        ("/e", 2),
        ("/e/f", 3),
    ];
    let file = write(dir.path(), 9, Packing::Plain, &nodes);
    let said = zabra(&["snapshot", "summary", text(&file)]);
    assert_eq!(
        said.out,
        "/: 7 nodes below it, 1116 bytes of data\n  /a: 3 nodes below it, 111 bytes of data\n  /e: 1 nodes below it, 5 bytes of data\n"
    );
    let said = zabra(&[
        "snapshot",
        "summary",
        "--path",
        "/a",
        "--depth",
        "0",
        "-o",
        "json",
        text(&file),
    ]);
    assert_eq!(
        said.documents(),
        [
            json!({"path": "/a", "children": 3, "bytes": 111}),
            json!({"path": "/a/b", "children": 2, "bytes": 110}),
        ]
    );
    let said = zabra(&["snapshot", "summary", "--path", "/a-b", text(&file)]);
    assert_eq!(said.out, "/a-b: 0 nodes below it, 1000 bytes of data\n");
    let said = zabra(&["snapshot", "summary", "--path", "/none", text(&file)]);
    assert!(
        said.code == 1 && said.err.contains("there is no node /none"),
        "{}",
        said.err
    );
    // The tree of directories that ncdu shows.
    let said = zabra(&["snapshot", "-o", "ncdu", text(&file)]);
    let tree: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&tree[0], &tree[1], &tree[2]["progname"]),
        (&json!(1), &json!(0), &json!("zabra"))
    );
    let of = |name: &str, bytes: u64| json!({"name": name, "asize": bytes, "dsize": bytes});
    assert_eq!(
        tree[3],
        json!([
            of("/", 0),
            [of("a", 1), [of("b", 10), of("c", 100), of("d", 0)]],
            of("a-b", 1000),
            [of("e", 2), of("f", 3)],
        ])
    );
}

#[test]
fn two_snapshots_are_compared_node_by_node_and_by_subtrees() {
    let dir = tempfile::tempdir().unwrap();
    let left = write(
        dir.path(),
        9,
        Packing::Plain,
        &[("/a", 1), ("/a/b", 10), ("/gone", 5), ("/mine", 1)],
    );
    let right = write(
        dir.path(),
        10,
        Packing::Gz,
        &[("/a", 1), ("/a/b", 12), ("/a/new", 100)],
    );
    let compare = |arguments: &[&str]| {
        zabra(
            &[
                &["snapshot", "compare", text(&left), text(&right)],
                arguments,
            ]
            .concat(),
        )
    };
    let said = compare(&[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert_eq!(
        said.out.lines().collect::<Vec<_>>(),
        [
            "/a/b: differs in data, 10 to 12 bytes",
            "/a/new: only in the right one, 100 bytes",
            "/gone: only in the left one, 5 bytes",
            "/mine: only in the left one, 1 bytes",
            "2 nodes only in the left one, of 0x9; 1 only in the right one, of 0xa; 1 differ; 2 are equal",
        ]
    );
    let said = compare(&["--no-ephemerals", "--path", "/mine"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 1));
    let said = compare(&["--bytes", "50", "-o", "json"]);
    assert_eq!(
        said.documents(),
        [
            json!({"path": "/", "in": "both", "bytes": [17, 113], "nodes": [5, 4]}),
            json!({"path": "/a", "in": "both", "bytes": [11, 113], "nodes": [2, 3]}),
            json!({"path": "/a/new", "in": "right", "bytes": [0, 100], "nodes": [0, 1]}),
            json!({"left_only": 0, "right_only": 1, "changed": 2, "equal": 3}),
        ]
    );
    let same = zabra(&["snapshot", "compare", text(&left), text(&left)]);
    assert_eq!((same.code, same.out.lines().count()), (0, 1));
}

/// Of ZooKeeper's, what differs is what the decoding says.
#[test]
fn two_snapshots_of_zookeepers_are_compared_and_a_damaged_one_is_told() {
    let at = |file: &str| golden("standalone-3.9.5").join("data/version-2").join(file);
    let said = zabra(&[
        "snapshot",
        "compare",
        "-o",
        "json",
        text(&at("snapshot.26")),
        text(&at("snapshot.44")),
    ]);
    let documents = said.documents();
    let (total, lines) = documents.split_last().unwrap();
    let rows = decoded("standalone-3.9.5");
    let nodes = |file: &str| -> Vec<&Value> {
        rows.iter()
            .filter(|row| row["what"] == "node" && row["file"] == file)
            .collect()
    };
    let (before, after) = (nodes("snapshot.26"), nodes("snapshot.44"));
    let is_in =
        |all: &[&Value], node: &Value| all.iter().any(|other| other["path"] == node["path"]);
    assert_eq!(
        total["right_only"],
        after.iter().filter(|node| !is_in(&before, node)).count()
    );
    assert_eq!(
        total["left_only"],
        before.iter().filter(|node| !is_in(&after, node)).count()
    );
    let ab = lines.iter().find(|line| line["path"] == "/a/b").unwrap();
    assert_eq!(ab["differs"], json!(["data", "stat"]));
    let dir = copy("standalone-3.9.5");
    let damaged = dir.path().join("version-2/snapshot.44");
    damage(&damaged, 1000);
    let said = zabra(&[
        "snapshot",
        "compare",
        text(&at("snapshot.26")),
        text(&damaged),
    ]);
    assert!(
        said.code == 3 && said.err.contains("snapshot.44"),
        "{}",
        said.err
    );
}
