//! A tree that grows to its size at once, as a start reads it: the table that finds nodes by their paths is filled together with many
//! others, and what is counted for each node of a running tree is counted for many together.

use super::content::Content;
use super::index::PathIndex;
use super::key::Key;
use super::node::Tree;
use super::page::{Index, Node};
use alloc::boxed::Box;

/// Room is made for so many times the nodes that are there, at most: what is told of those to come is a guess.
const GROWTH_MAX: usize = 7;

impl Tree {
    /// Makes many changes before anybody looks at the tree, to which some `more` nodes are to come by these and later ones: its table of
    /// paths then grows in a few large steps, and many entries are put into it together. A tree that is in use grows in small steps, which
    /// stop nobody.
    pub fn grow<T>(&mut self, more: usize, change: impl FnOnce(&mut Self) -> T) -> T {
        let room = self.len() + more.min(GROWTH_MAX * self.len());
        if !self.index.has_room(room) {
            self.fill_anew(room);
        }
        self.index.gather();
        self.is_growing = true;
        let result = change(self);
        self.is_growing = false;
        self.count_uncounted();
        let pages = &self.pages;
        let hash_of = |&at: &Index| pages.get(at).map_or(0, Node::hash);
        self.index.settle(hash_of);
        result
    }

    /// Gives back the room of nodes that have not come.
    pub fn shrink(&mut self) {
        if self.index.is_sparse() {
            self.fill_anew(self.len());
        }
    }

    /// Fills the table of paths anew, with room for so many nodes.
    fn fill_anew(&mut self, room: usize) {
        let entries = self.pages.iter().map(|(at, node)| (at, node.hash()));
        // No two nodes have the same path.
        if let Ok(index) = PathIndex::filled(entries, room, |_, _| false) {
            self.index = index;
        }
    }

    /// Fetches what a look-up of `path` will need from memory, and waits for nothing: several paths are fetched at the same time. In a
    /// large tree a look-up is a chain of such fetches, each of which takes longer than all that is computed for a transaction.
    pub fn warm(&self, path: &str) {
        self.touch(Key::of(path).hash);
    }

    /// The same for the path of a node that has been made ahead.
    pub fn warm_made(&self, content: &Content) {
        self.touch(content.hash());
    }

    fn touch(&self, hash: u64) {
        let mut seen = 0;
        let near = |at| seen ^= self.pages.get(at).map_or(0, Node::hash);
        self.index.touch(hash, near);
        core::hint::black_box(seen);
    }

    /// Makes all nodes found by their paths, which have these hashes, by place.
    ///
    /// Errors: the path that two of them have.
    pub(super) fn fill_index(&mut self, hashes: &[u64]) -> Result<(), Box<str>> {
        let pages = &self.pages;
        let raw_path = |at: Index| pages.get(at).map(Node::raw_path);
        let entries = (0..).zip(hashes.iter().copied());
        let hash = |at: Index| hashes.get(at as usize);
        let is_same = |a, b| hash(a) == hash(b) && raw_path(a) == raw_path(b);
        let filled = PathIndex::filled(entries, hashes.len(), is_same);
        let path = |at: Index| Box::<str>::from(pages.get(at).map_or("", Node::path));
        self.index = filled.map_err(path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::tree::acl::{AclEntry, Id, perms};
    use crate::tree::apply::MadeNode;
    use crate::tree::node::NodeRef;
    use crate::tree::txn::{Created, Txn, TxnHeader};
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;

    struct Random(u32);

    impl Random {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) % bound
        }
    }

    fn list(n: u32) -> Vec<AclEntry> {
        let (scheme, id) =
            [("world", "anyone"), ("ip", "10.0.0.1"), ("ip", "10.0.0.2")][n as usize];
        let id = Id {
            scheme: scheme.into(),
            id: id.into(),
        };
        let perms = perms::ALL;
        vec![AclEntry { perms, id }]
    }

    fn header(n: u64) -> TxnHeader {
        TxnHeader {
            session: SessionId(n.cast_signed() % 3),
            cxid: 1,
            zxid: Zxid(n),
            time: n.cast_signed(),
        }
    }

    /// Creates and deletes of paths of up to three letters, so that places are used again and again, and parents come and go
    /// between the creates of their children.
    fn txn(random: &mut Random) -> Txn {
        let mut path = String::new();
        for _ in 0..=random.below(3) {
            path.push('/');
            path.push(char::from(b'a' + random.below(12) as u8));
        }
        if random.below(100) == 0 {
            path = String::from("/");
        }
        let path = path.into();
        let lengths = [None, Some(0), Some(5)];
        let data = lengths[random.below(3) as usize].map(|n| Bytes::from(vec![7; n]));
        match random.below(16) {
            0..=12 => Txn::Create {
                path,
                data,
                acl: list(random.below(3)),
                created: match random.below(5) {
                    0 => Created::Container,
                    1 => Created::Ttl { ttl_ms: 5 },
                    n => Created::Node {
                        ephemeral: n == 2,
                        with_stat: n == 3,
                    },
                },
                parent_cversion: [-1, 3, 1000][random.below(3) as usize],
            },
            13 => Txn::SetData {
                path,
                data,
                version: 2,
                reconfig: false,
            },
            14 => Txn::CloseSession { paths: None },
            _ => Txn::Delete {
                path,
                container: false,
            },
        }
    }

    /// As a start applies it: what is created has been made ahead.
    fn apply_made(tree: &mut Tree, header: &TxnHeader, txn: &Txn) {
        let Txn::Create {
            path,
            data,
            acl,
            created,
            parent_cversion,
        } = txn
        else {
            tree.warm("/a/b");
            tree.apply(header, txn, &mut |_| {});
            return;
        };
        let node = MadeNode {
            path,
            content: Content::new(path, data.as_deref()),
            acl,
            created: *created,
            parent_cversion: *parent_cversion,
        };
        tree.warm_made(&node.content);
        tree.apply_made(header, node, &mut |_| {});
    }

    /// All that can be seen of a node, and how many there are below it.
    type Seen<'t> = (
        Option<&'t [u8]>,
        crate::tree::stat::Stat,
        Vec<AclEntry>,
        usize,
        Vec<&'t str>,
    );

    fn seen(tree: &Tree) -> BTreeMap<&str, Seen<'_>> {
        let all = tree.nodes().map(|node| {
            let found = tree.find(node.path).expect("a node is found by its path");
            assert_eq!(found.path(), node.path);
            let acl = found.acl().entries().to_vec();
            let below = found.descendants();
            let names = found.children().collect();
            (node.path, (found.data(), found.stat(), acl, below, names))
        });
        all.collect()
    }

    #[test]
    fn a_tree_that_grows_at_once_is_the_tree_that_grows_step_by_step() {
        let mut most = 0;
        for seed in 0..12 {
            let mut random = Random(seed);
            let (mut steps, mut at_once) = (Tree::new(), Tree::new());
            let mut n = 0;
            for _ in 0..30 {
                let told = [0, 1, 100, 1_000_000][random.below(4) as usize];
                at_once.grow(told, |at_once| {
                    for _ in 0..random.below(200) {
                        n += 1;
                        // A replay over a later snapshot meets nodes that are younger than the transaction.
                        let header =
                            header(n - u64::from(random.below(8) == 0) * 5 * u64::from(n > 5));
                        let txn = txn(&mut random);
                        steps.apply(&header, &txn, &mut |_| {});
                        apply_made(at_once, &header, &txn);
                        let below = |tree: &Tree| tree.find("/a").map(NodeRef::data).map(drop);
                        assert_eq!(below(at_once), below(&steps));
                    }
                });
                assert_eq!(seen(&at_once), seen(&steps), "seed {seed}, transaction {n}");
                assert_eq!(at_once.len(), steps.len());
                most = most.max(steps.len());
                assert_eq!(at_once.last_zxid(), steps.last_zxid());
            }
            at_once.shrink();
            assert_eq!(seen(&at_once), seen(&steps), "seed {seed}, at the end");
        }
        assert!(
            most > 200,
            "{most} nodes are too few for a table to be filled anew"
        );
    }

    /// What is told of nodes to come is a guess: of too many, no more than seven times the present ones get room, and not for good.
    #[test]
    fn room_for_nodes_that_do_not_come_is_bounded_and_given_back() {
        let mut tree = Tree::new();
        let create = |tree: &mut Tree, n: u64| {
            let txn = Txn::Create {
                path: alloc::format!("/n{n:06}").into(),
                data: None,
                acl: list(0),
                created: Created::Node {
                    ephemeral: false,
                    with_stat: false,
                },
                parent_cversion: -1,
            };
            apply_made(tree, &header(n), &txn);
        };
        tree.grow(usize::MAX, |tree| (1..=2000).for_each(|n| create(tree, n)));
        tree.grow(usize::MAX, |_| {});
        assert!(tree.index.has_room(8 * 2000) && !tree.index.has_room(16 * 2000));
        assert!(tree.index.is_sparse());
        tree.shrink();
        assert!(!tree.index.is_sparse());
        assert!(tree.index.has_room(2000) && !tree.index.has_room(8 * 2000));
        assert!((1..=2000).all(|n| tree.find(&alloc::format!("/n{n:06}")).is_some()));
    }
}
