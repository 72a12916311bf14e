//! Tests of the tree itself.

use super::*;
use alloc::vec;

fn names(tree: &Tree, path: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = tree
        .find(path)
        .into_iter()
        .flat_map(|n| n.children())
        .map(|n| &*Box::leak(Box::<str>::from(n)))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_fresh_tree_has_four_nodes_and_zookeepers_odd_stats() {
    let tree = Tree::new();
    assert_eq!(tree.len(), 4);
    assert_eq!(names(&tree, "/zookeeper"), ["config", "quota"]);
    let stat = |p| {
        tree.find(p)
            .map(|n| (n.stat().cversion, n.stat().aversion, n.stat().num_children))
    };
    assert_eq!(stat("/"), Some((-1, 0, 1)));
    assert_eq!(stat(""), Some((-1, 0, 1)));
    assert_eq!(stat("/zookeeper"), Some((-2, 0, 2)));
    assert_eq!(stat("/zookeeper/config"), Some((0, -1, 0)));
    assert_eq!(
        tree.find("/zookeeper/config").map(|n| n.acl()[0].perms),
        Some(perms::READ)
    );
    assert_eq!(
        tree.find("/zookeeper/quota").and_then(|n| n.data()),
        Some(&b""[..])
    );
}

#[test]
fn children_stay_linked_whichever_goes_first() {
    for gone in ["/a", "/b", "/c"] {
        let mut tree = Tree::new();
        for path in ["/a", "/b", "/c"] {
            tree.insert(path, None, &[], &StatPersisted::default());
        }
        let at = tree.lookup(gone).unwrap_or(NIL);
        assert!(tree.remove(at).is_some());
        let left: Vec<_> = ["a", "b", "c", "zookeeper"]
            .into_iter()
            .filter(|n| gone[1..] != **n)
            .collect();
        assert_eq!(names(&tree, "/"), left);
        assert!(tree.find(gone).is_none());
    }
}

/// C-48: the size of a subtree is known, whatever comes and goes in it, and equals what a walk would count.
#[test]
fn c_48_the_size_of_a_subtree_is_what_a_walk_counts() {
    let mut tree = Tree::new();
    let mut random = 1_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for _ in 0..3000 {
        let mut path = alloc::string::String::new();
        for _ in 0..=next(4) {
            path.push_str(["/a", "/b", "/c"][next(3) as usize]);
        }
        match tree.lookup(&path) {
            Some(at) if tree.at(at).is_some_and(|n| n.num_children() == 0) => {
                tree.remove(at);
            }
            _ => drop(tree.insert(&path, None, &[], &StatPersisted::default())),
        }
        let at = ["", "/a", "/b", "/a/b", "/c/c/c"][next(5) as usize];
        let prefix = alloc::format!("{at}/");
        let walked = tree.nodes().filter(|n| n.path.starts_with(&prefix)).count();
        let known = tree.find(at).map_or(0, NodeRef::descendants);
        assert_eq!(known, walked, "below {at:?}");
    }
}

#[test]
fn descendants_are_counted_through_all_levels() {
    let mut tree = Tree::new();
    for path in ["/a", "/a/b", "/a/c", "/a/b/d", "/e"] {
        tree.insert(path, None, &[], &StatPersisted::default());
    }
    let count = |p| tree.find(p).map(NodeRef::descendants);
    assert_eq!(
        (count("/a"), count("/e"), count("/")),
        (Some(3), Some(0), Some(8))
    );
    assert_eq!(vec![count("/none")], [None]);
}
