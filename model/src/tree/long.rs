//! Reads that visit many nodes: answered from a share of the tree's pages, so that nobody waits for them.
//!
//! A list of a million children takes longer to write than anybody may wait for the tree. So the read takes what it needs, of one
//! zxid, while it has the tree: permission, Stat, places of nodes, and a share of the pages ([`super::image`] does the same for a
//! snapshot). The names are read when the tree is free again; what changes meanwhile is copied first.

use super::acl::{Ids, perms};
use super::error::ErrorCode;
use super::node::{Children, NodeRef, Tree};
use super::op::ReadOp;
use super::page::{Index, Node, Pages};
use super::read::ReadResult;
use super::stat::Stat;
use crate::ids::SessionId;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A read that can be answered without the tree, as of the zxid at which it was taken.
pub struct LongRead {
    pages: Pages,
    found: Found,
}

enum Found {
    Children {
        first: Index,
        count: usize,
        stat: Option<Stat>,
    },
    Ephemerals {
        nodes: Vec<Index>,
        prefix: Box<str>,
    },
    Multi(Vec<Result<FoundInMulti, ErrorCode>>),
}

enum FoundInMulti {
    Data { at: Index, stat: Stat },
    Children { first: Index, count: usize },
}

/// So many identities are looked up in a list in the time of a node.
const IDENTITIES_A_NODE: usize = 8;

/// Nodes, names, or entries of lists that a read of `op` visits: 1 for whatever visits one node. It bounds how long one request may hold
/// the tree. Who has many `identities` has each of them looked up for each node of a multiRead.
#[must_use]
pub fn work(tree: &Tree, op: &ReadOp, session: SessionId, identities: usize) -> usize {
    match op {
        ReadOp::Exists { .. } | ReadOp::GetData { .. } | ReadOp::GetAllChildrenNumber { .. } => 1,
        ReadOp::GetAcl { path } => tree.find(path).map_or(1, |node| node.acl().len().max(1)),
        ReadOp::GetChildren { path, .. } | ReadOp::GetChildren2 { path, .. } => {
            let children = tree.find(path).map_or(0, NodeRef::num_children);
            1 + usize::try_from(children).unwrap_or(0)
        }
        ReadOp::GetEphemerals { .. } => 1 + tree.ephemerals_of(session),
        ReadOp::MultiRead(ops) => {
            let of_one = |op| work(tree, op, session, identities) + identities / IDENTITIES_A_NODE;
            ops.iter().map(of_one).sum()
        }
    }
}

impl Tree {
    /// What `op` needs, to be answered later as of now; `None` for an operation that visits one node.
    ///
    /// Errors: as [`Tree::read`].
    pub fn long_read(
        &self,
        op: &ReadOp,
        session: SessionId,
        ids: &Ids,
    ) -> Result<Option<LongRead>, ErrorCode> {
        let found = match op {
            ReadOp::Exists { .. }
            | ReadOp::GetData { .. }
            | ReadOp::GetAcl { .. }
            | ReadOp::GetAllChildrenNumber { .. } => return Ok(None),
            ReadOp::GetChildren { path, .. } => {
                let (first, count) = self.permitted(path, perms::READ, ids)?.list();
                Found::Children {
                    first,
                    count,
                    stat: None,
                }
            }
            ReadOp::GetChildren2 { path, .. } => {
                let node = self.permitted(path, perms::READ, ids)?;
                let (first, count) = node.list();
                Found::Children {
                    first,
                    count,
                    stat: Some(node.stat()),
                }
            }
            ReadOp::GetEphemerals { prefix } => Found::Ephemerals {
                nodes: self.ephemeral_places(session),
                prefix: super::read::ephemeral_prefix(prefix.as_deref()).into(),
            },
            ReadOp::MultiRead(ops) => {
                super::read::may_be_in_multi(ops)?;
                let each = ops.iter().map(|op| self.found_in_multi(op, ids));
                Found::Multi(each.collect())
            }
        };
        let pages = self.pages.share();
        Ok(Some(LongRead { pages, found }))
    }

    fn found_in_multi(&self, op: &ReadOp, ids: &Ids) -> Result<FoundInMulti, ErrorCode> {
        match op {
            ReadOp::GetData { path, .. } => {
                let at = self.lookup(path).ok_or(ErrorCode::NoNode)?;
                let stat = self.permitted(path, perms::READ, ids)?.stat();
                Ok(FoundInMulti::Data { at, stat })
            }
            ReadOp::GetChildren { path, .. } => {
                let (first, count) = self.permitted(path, perms::READ, ids)?.list();
                Ok(FoundInMulti::Children { first, count })
            }
            ReadOp::Exists { .. }
            | ReadOp::GetAcl { .. }
            | ReadOp::GetChildren2 { .. }
            | ReadOp::GetEphemerals { .. }
            | ReadOp::GetAllChildrenNumber { .. }
            | ReadOp::MultiRead(_) => Err(ErrorCode::MarshallingError),
        }
    }
}

impl LongRead {
    /// The answer.
    #[must_use]
    pub fn result(&self) -> ReadResult<'_> {
        let pages = &self.pages;
        match &self.found {
            Found::Children { first, count, stat } => {
                let children = Children::of(pages, *first, *count);
                match stat {
                    None => ReadResult::Children(children),
                    Some(stat) => ReadResult::Children2 {
                        children,
                        stat: *stat,
                    },
                }
            }
            Found::Ephemerals { nodes, prefix } => {
                let paths = nodes.iter().filter_map(|&at| pages.get(at)).map(Node::path);
                ReadResult::Ephemerals(paths.filter(|p| p.starts_with(&**prefix)).collect())
            }
            Found::Multi(each) => {
                let shown = |found: &Result<FoundInMulti, ErrorCode>| match found {
                    Ok(FoundInMulti::Data { at, stat }) => Ok(ReadResult::Data {
                        data: pages.get(*at).and_then(Node::data),
                        stat: *stat,
                    }),
                    Ok(FoundInMulti::Children { first, count }) => {
                        Ok(ReadResult::Children(Children::of(pages, *first, *count)))
                    }
                    Err(code) => Err(*code),
                };
                ReadResult::Multi(each.iter().map(shown).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::{AclEntry, Id};
    use crate::tree::stat::StatPersisted;
    use alloc::string::String;
    use alloc::{format, vec};

    const S: SessionId = SessionId(5);

    fn text(result: &Result<ReadResult<'_>, ErrorCode>) -> String {
        match result {
            Ok(ReadResult::Children(children)) => {
                format!("{:?}", children.clone().collect::<Vec<_>>())
            }
            Ok(ReadResult::Children2 { children, stat }) => {
                format!("{:?} {stat:?}", children.clone().collect::<Vec<_>>())
            }
            Ok(ReadResult::Ephemerals(paths)) => format!("{paths:?}"),
            Ok(ReadResult::Data { data, stat }) => format!("{data:?} {stat:?}"),
            Ok(ReadResult::Multi(each)) => each.iter().map(text).collect(),
            Ok(_) => String::new(),
            Err(code) => format!("{code:?}"),
        }
    }

    /// C-48: a long read shows the tree as it was when it was taken, whatever changes before it is written out.
    #[test]
    fn c_48_a_long_read_is_of_the_zxid_at_which_it_was_taken() {
        let mut tree = Tree::new();
        let open = [AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }];
        let plain = StatPersisted::default();
        let owned = StatPersisted {
            ephemeral_owner: S.0,
            ..plain
        };
        tree.insert("/d", Some(b"old"), &open, &plain);
        tree.insert("/secret", None, &[], &plain);
        for at in 0..200 {
            let path = format!("/d/{at}");
            let stat = if at % 3 == 0 { &owned } else { &plain };
            tree.insert(&path, Some(path.as_bytes()), &open, stat);
        }
        let children = |path: &str| ReadOp::GetChildren {
            path: path.into(),
            watch: false,
        };
        let data = |path: &str| ReadOp::GetData {
            path: path.into(),
            watch: false,
        };
        let ephemerals = |prefix: Option<&str>| ReadOp::GetEphemerals {
            prefix: prefix.map(Into::into),
        };
        let with_stat = ReadOp::GetChildren2 {
            path: "/d".into(),
            watch: false,
        };
        let multi = vec![
            data("/d"),
            children("/d"),
            data("/none"),
            children("/secret"),
        ];
        let ops = [
            (children("/d"), 201),
            (children("/secret"), 1),
            (children("/none"), 1),
            (with_stat.clone(), 201),
            (ephemerals(None), 68),
            (ephemerals(Some("/d/1")), 68),
            (ReadOp::MultiRead(multi), 204),
            (ReadOp::MultiRead(vec![with_stat]), 201),
        ];
        let now: Vec<_> = ops
            .iter()
            .map(|(op, _)| text(&tree.read(op, S, &[])))
            .collect();
        let taken: Vec<_> = ops
            .iter()
            .map(|(op, _)| tree.long_read(op, S, &[]))
            .collect();
        for (op, visits) in &ops {
            assert_eq!(work(&tree, op, S, 1), *visits, "{op:?}");
        }
        assert!(matches!(tree.long_read(&data("/d"), S, &[]), Ok(None)));
        for at in 0..200 {
            let at = tree.lookup(&format!("/d/{at}"));
            assert!(at.and_then(|at| tree.remove(at)).is_some());
        }
        let later = tree.lookup("/d");
        tree.change(later.unwrap_or(0), Some(b"new"), |_| {});
        tree.insert("/d/later", None, &open, &plain);
        for ((op, _), (taken, now)) in ops.iter().zip(taken.iter().zip(now)) {
            let later = match taken {
                Ok(Some(long)) => text(&Ok(long.result())),
                Ok(None) => String::new(),
                Err(code) => text(&Err(*code)),
            };
            assert_eq!(later, now, "{op:?}");
        }
    }

    /// C-48: a getAcl is as long as its list, and whoever has many identities takes more of the tree's time.
    #[test]
    fn c_48_entries_of_lists_and_identities_are_work() {
        let mut tree = Tree::new();
        let named = |n: usize| AclEntry {
            perms: perms::READ,
            id: Id {
                scheme: "digest".into(),
                id: format!("u{n}:h").into(),
            },
        };
        let list: Vec<_> = (0..45_000).map(named).collect();
        tree.insert("/long", None, &list, &StatPersisted::default());
        let acl = |path: &str| ReadOp::GetAcl { path: path.into() };
        let data = || ReadOp::GetData {
            path: "/long".into(),
            watch: false,
        };
        let multi = ReadOp::MultiRead((0..100).map(|_| data()).collect());
        for (op, identities, visits) in [
            (acl("/long"), 1, 45_000),
            (acl("/"), 1, 1),
            (acl("/none"), 1, 1),
            (data(), 64, 1),
            (multi.clone(), 1, 100),
            (multi, 64, 900),
        ] {
            assert_eq!(work(&tree, &op, S, identities), visits, "{op:?}");
        }
    }
}
