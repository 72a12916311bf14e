//! What is restored is what inserting node by node gives, in whatever order the nodes come.

use super::*;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

#[test]
fn what_is_no_tree_is_refused() {
    let stat = StatPersisted::default();
    assert_eq!(
        Restore::new().node("/a", None, -1, &stat),
        Err(RestoreError::NoParent("/a".into()))
    );
    assert_eq!(
        Restore::new().node("", None, 9, &stat),
        Err(RestoreError::NoAcl("".into(), 9))
    );
    assert_eq!(
        Restore::new().finish(Zxid::ZERO).err(),
        Some(RestoreError::NoRoot)
    );
    let mut twice = Restore::new();
    assert_eq!(twice.node("", None, -1, &stat), Ok(()));
    assert_eq!(
        twice.node("", None, -1, &stat),
        Err(RestoreError::Twice("".into()))
    );
}

/// A node of a test: its path, its data, and a zxid that tells it from others.
type Sample = (String, Option<&'static [u8]>, u64);

/// Nodes with parents before children, as deep as seven levels, so many that the table of paths has several shards.
fn samples(count: usize) -> Vec<Sample> {
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut all: Vec<Sample> = alloc::vec![(String::new(), Some(b"root"), 0)];
    while all.len() < count {
        let parent = next(all.len());
        let (above, ..) = &all[parent];
        if above.matches('/').count() < 7 {
            let path = format!("{above}/n{}", all.len());
            let data = [None, Some(&b""[..]), Some(b"some data")][next(3)];
            all.push((path, data, all.len() as u64));
        }
    }
    all
}

/// The same, each node directly followed by all that is below it, as snapshots have them.
fn in_order(samples: &[Sample]) -> Vec<Sample> {
    let key = |path: &str| path.split('/').map(String::from).collect::<Vec<_>>();
    let sorted: BTreeMap<Vec<String>, Sample> =
        samples.iter().map(|s| (key(&s.0), s.clone())).collect();
    sorted.into_values().collect()
}

fn stat(zxid: u64) -> StatPersisted {
    // Each kind of node, and one in eight of no kind was never changed.
    let ephemeral_owner =
        [0, 0, 5, i64::MIN, 0x7f00_0000_0000_0000_u64 as i64, 0, 0, 0][zxid as usize % 8];
    let mut stat = StatPersisted::created(Zxid(zxid), zxid as i64, ephemeral_owner);
    stat.version = (zxid % 3) as i32;
    stat
}

fn restored(samples: &[Sample]) -> Result<(Tree, bool), RestoreError> {
    let mut restore = Restore::new();
    for (path, data, zxid) in samples {
        restore.node(path, *data, OPEN_ACL_ID, &stat(*zxid))?;
    }
    let in_order = restore.is_in_order;
    Ok((restore.finish(Zxid(9))?, in_order))
}

type Told = (Option<Vec<u8>>, StatPersisted, i32, usize, Vec<String>);

/// All that a tree tells of its nodes, by path.
fn told(tree: &Tree) -> BTreeMap<String, Told> {
    let nodes = tree.nodes().map(|node| {
        let found = tree.find(node.path);
        let mut names: Vec<String> = found
            .into_iter()
            .flat_map(|n| n.children())
            .map(String::from)
            .collect();
        names.sort_unstable();
        let below = found.map_or(0, |n| n.descendants());
        let children = found.map_or(-1, |n| n.num_children());
        let data = node.data.map(Vec::from);
        (
            String::from(node.path),
            (data, node.stat, children, below, names),
        )
    });
    nodes.collect()
}

#[test]
fn a_restored_tree_is_the_one_that_grew_node_by_node() -> Result<(), RestoreError> {
    for count in [1, 2, 40, 6000] {
        let samples = samples(count);
        let mut grown = Tree::bare();
        for (path, data, zxid) in &samples {
            grown.insert_with(path, *data, OPEN, &stat(*zxid));
        }
        grown.add_missing_builtins();
        let (ordered, is_in_order) = restored(&in_order(&samples))?;
        assert!(is_in_order);
        let (scattered, is_in_order) = restored(&samples)?;
        assert_eq!(is_in_order, count < 3, "{count} nodes");
        // The first half as it should be, the rest as it comes.
        let mut mixed = in_order(&samples[..count.div_ceil(2)]);
        mixed.extend_from_slice(&samples[count.div_ceil(2)..]);
        let (mixed, _) = restored(&mixed)?;
        for tree in [&ordered, &scattered, &mixed] {
            assert_eq!(told(tree), told(&grown));
            assert_eq!(
                (tree.len(), tree.data_bytes()),
                (grown.len(), grown.data_bytes())
            );
            let sets = |tree: &Tree| {
                (
                    tree.ephemeral_count(),
                    tree.ephemerals_of(SessionId(5)),
                    tree.swept(super::super::node::SweepPlace::START).count(),
                )
            };
            assert_eq!(sets(tree), sets(&grown));
        }
    }
    Ok(())
}

/// What was restored changes like any tree: nodes come and go at the begin, in the middle and at the end of a list of children.
#[test]
fn a_restored_tree_goes_on_like_one_that_grew() -> Result<(), RestoreError> {
    let samples = samples(3000);
    let (mut tree, _) = restored(&in_order(&samples))?;
    let mut grown = Tree::bare();
    for (path, data, zxid) in &samples {
        grown.insert_with(path, *data, OPEN, &stat(*zxid));
    }
    grown.add_missing_builtins();
    for tree in [&mut tree, &mut grown] {
        for (path, ..) in samples.iter().rev().step_by(2) {
            if let Some(at) = tree.lookup(path)
                && tree.at(at).is_some_and(|node| node.num_children() == 0)
            {
                tree.remove(at);
            }
        }
        for (path, data, zxid) in &samples {
            tree.insert_with(&format!("{path}/new"), *data, OPEN, &stat(*zxid));
        }
    }
    assert_eq!(told(&tree), told(&grown));
    assert!(tree.len() > 3000);
    Ok(())
}

/// Wherever it is found: at once, or when the table of paths is filled.
#[test]
fn a_node_that_comes_twice_is_refused_wherever_it_stands() {
    let ordered = in_order(&samples(2000));
    for (first, second) in [(1, 2), (1, 1999), (500, 1000), (1999, 2000), (0, 700)] {
        let mut twice = ordered.clone();
        let again = twice[first].clone();
        twice.insert(second, again.clone());
        let refused = restored(&twice).err();
        assert_eq!(
            refused,
            Some(RestoreError::Twice(again.0.into())),
            "{first}, {second}"
        );
    }
}

/// Two paths of which nodes keep the same: such come about by chance in any large tree.
fn colliding() -> [String; 2] {
    let mut seen = BTreeMap::new();
    for n in 0_u32.. {
        let path = format!("/n{n}");
        if let Some(other) = seen.insert(Key::of(&path).hash, path.clone()) {
            return [other, path];
        }
    }
    unreachable!("there are fewer hashes than numbers")
}

/// They are two nodes all the same, restored or grown, and each goes alone.
#[test]
fn paths_of_the_same_hash_are_two_nodes() -> Result<(), RestoreError> {
    let [a, b] = colliding();
    assert_eq!(Key::of(&a).hash, Key::of(&b).hash);
    let samples = [("", 0), (&a, 1), (&b, 2)].map(|(path, zxid)| (path.into(), None, zxid));
    let (mut tree, _) = restored(&samples)?;
    let mut grown = Tree::bare();
    for (path, data, zxid) in &samples {
        grown.insert_with(path, *data, OPEN, &stat(*zxid));
    }
    for tree in [&mut tree, &mut grown] {
        for (path, zxid) in [(&a, 1), (&b, 2)] {
            let found = tree
                .find(path)
                .map(|node| (node.path(), node.persisted().czxid));
            assert_eq!(found, Some((path.as_str(), Zxid(zxid))));
        }
        let at = tree.lookup(&a).unwrap_or(NIL);
        assert!(tree.remove(at).is_some());
        assert!(tree.find(&a).is_none() && tree.find(&b).is_some());
    }
    Ok(())
}
