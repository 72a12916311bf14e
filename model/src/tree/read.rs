//! Answers to reads, borrowed from the tree so that they can be encoded straight into a connection's buffer.

use super::acl::{AclEntry, Ids, allows, masked, perms};
use super::error::ErrorCode;
use super::node::{Children, NodeRef, Tree};
use super::op::ReadOp;
use super::stat::Stat;
use super::watch::WatchMode;
use crate::ids::SessionId;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// The answer to a read that was not refused.
#[derive(Clone)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub enum ReadResult<'t> {
    Exists(Stat),
    Data {
        data: Option<&'t [u8]>,
        stat: Stat,
    },
    Acl {
        acl: Cow<'t, [AclEntry]>,
        stat: Stat,
    },
    Children(Children<'t>),
    Children2 {
        children: Children<'t>,
        stat: Stat,
    },
    Ephemerals(Vec<&'t str>),
    AllChildrenNumber(i32),
    Multi(Vec<Result<ReadResult<'t>, ErrorCode>>),
}

/// What a read shows of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// exists: the Stat.
    Stat,
    /// getData: the data, too.
    Data,
}

impl Tree {
    /// Answers `op` for a connection of `session` that holds `ids`.
    ///
    /// Errors: `NoNode`, then `NoAuth`; `BadArguments` for NUL in the path of exists; `MarshallingError` for what a multiRead
    /// may not hold. Each read inside a multiRead is refused on its own.
    pub fn read(
        &self,
        op: &ReadOp,
        session: SessionId,
        ids: &Ids,
    ) -> Result<ReadResult<'_>, ErrorCode> {
        match op {
            ReadOp::Exists { path, .. } if path.contains('\0') => Err(ErrorCode::BadArguments),
            ReadOp::Exists { path, .. } => self.read_node(path.as_bytes(), Shown::Stat, ids),
            ReadOp::GetData { path, .. } => self.read_node(path.as_bytes(), Shown::Data, ids),
            ReadOp::GetAcl { path } => {
                let node = self.permitted(path, perms::READ | perms::ADMIN, ids)?;
                let acl = node.acl();
                let shows_digests = allows(acl, perms::ADMIN, ids);
                let acl = if shows_digests {
                    Cow::Borrowed(acl.entries())
                } else {
                    acl.iter().map(masked).collect()
                };
                Ok(ReadResult::Acl {
                    acl,
                    stat: node.stat(),
                })
            }
            ReadOp::GetChildren { path, .. } => Ok(ReadResult::Children(
                self.permitted(path, perms::READ, ids)?.children(),
            )),
            ReadOp::GetChildren2 { path, .. } => {
                let node = self.permitted(path, perms::READ, ids)?;
                Ok(ReadResult::Children2 {
                    children: node.children(),
                    stat: node.stat(),
                })
            }
            ReadOp::GetEphemerals { prefix } => {
                let prefix = ephemeral_prefix(prefix.as_deref());
                let paths = self.ephemerals(session).map(NodeRef::path);
                Ok(ReadResult::Ephemerals(
                    paths.filter(|p| p.starts_with(prefix)).collect(),
                ))
            }
            ReadOp::GetAllChildrenNumber { path } => {
                let count = self.permitted(path, perms::READ, ids)?.descendants();
                // By the empty path the root counts, as one of those below it.
                let count = count + usize::from(path.is_empty());
                Ok(ReadResult::AllChildrenNumber(
                    i32::try_from(count).unwrap_or(i32::MAX),
                ))
            }
            ReadOp::MultiRead(ops) => {
                may_be_in_multi(ops)?;
                Ok(ReadResult::Multi(
                    ops.iter().map(|op| self.read(op, session, ids)).collect(),
                ))
            }
        }
    }

    /// Answers exists and getData by the bytes of a path. Whoever has no text of them yet need not make one: what is no text is at no
    /// node's path.
    ///
    /// Errors: `NoNode`, then `NoAuth`.
    pub fn read_node(
        &self,
        path: &[u8],
        shown: Shown,
        ids: &Ids,
    ) -> Result<ReadResult<'_>, ErrorCode> {
        let node = permitted(self.find_bytes(path), perms::READ, ids)?;
        let stat = node.stat();
        Ok(match shown {
            Shown::Stat => ReadResult::Exists(stat),
            Shown::Data => ReadResult::Data {
                data: node.data(),
                stat,
            },
        })
    }

    pub(super) fn permitted(
        &self,
        path: &str,
        perm: u32,
        ids: &Ids,
    ) -> Result<NodeRef<'_>, ErrorCode> {
        permitted(self.find(path), perm, ids)
    }
}

fn permitted<'t>(
    node: Option<NodeRef<'t>>,
    perm: u32,
    ids: &Ids,
) -> Result<NodeRef<'t>, ErrorCode> {
    let node = node.ok_or(ErrorCode::NoNode)?;
    if allows(node.acl(), perm, ids) {
        Ok(node)
    } else {
        Err(ErrorCode::NoAuth)
    }
}

/// What the paths of ephemeral nodes must begin with. The match is textual: `/a` finds `/ab` too, and `/a ` does not find `/a`; only what is
/// blank, as Java's `trim` has it, or `/` between blanks stands for all.
pub(super) fn ephemeral_prefix(asked: Option<&str>) -> &str {
    let prefix = asked.unwrap_or("");
    match prefix.trim_matches(|c: char| c <= ' ') {
        "" | "/" => "",
        _ => prefix,
    }
}

/// Errors: `MarshallingError` for what a multiRead may not hold.
pub(super) fn may_be_in_multi(ops: &[ReadOp]) -> Result<(), ErrorCode> {
    let may_hold = |op: &ReadOp| matches!(op, ReadOp::GetData { .. } | ReadOp::GetChildren { .. });
    if ops.iter().all(may_hold) {
        Ok(())
    } else {
        Err(ErrorCode::MarshallingError)
    }
}

/// The watch that `op` leaves, given whether it was refused. Only exists watches what is not there.
#[must_use]
pub fn watch_left(op: &ReadOp, refused: Option<ErrorCode>) -> Option<(&str, WatchMode)> {
    match (op, refused) {
        (ReadOp::Exists { path, watch: true }, None | Some(ErrorCode::NoNode))
        | (ReadOp::GetData { path, watch: true }, None) => Some((path, WatchMode::Data)),
        (
            ReadOp::GetChildren { path, watch: true } | ReadOp::GetChildren2 { path, watch: true },
            None,
        ) => Some((path, WatchMode::Child)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::Id;
    use crate::tree::stat::StatPersisted;
    use alloc::vec;

    fn id(scheme: &str, id: &str) -> Id {
        Id {
            scheme: scheme.into(),
            id: id.into(),
        }
    }
    fn entry(perms: u32, scheme: &str, name: &str) -> AclEntry {
        AclEntry {
            perms,
            id: id(scheme, name),
        }
    }
    fn exists(path: &str) -> ReadOp {
        ReadOp::Exists {
            path: path.into(),
            watch: true,
        }
    }
    fn data(path: &str) -> ReadOp {
        ReadOp::GetData {
            path: path.into(),
            watch: true,
        }
    }
    fn tree() -> Tree {
        let mut tree = Tree::new();
        let plain = StatPersisted::default();
        tree.insert("/e", Some(b"0"), &[entry(31, "world", "anyone")], &plain);
        tree.insert("/e/wo", Some(b"s"), &[entry(2, "world", "anyone")], &plain);
        tree.insert(
            "/e/d",
            None,
            &[entry(31, "digest", "u:h"), entry(1, "world", "anyone")],
            &plain,
        );
        let owned = StatPersisted {
            ephemeral_owner: 5,
            ..plain
        };
        tree.insert("/mu", None, &[], &plain);
        tree.insert("/mu/e1", None, &[], &owned);
        tree.insert("/mu/e2", None, &[], &owned);
        tree
    }
    fn code(tree: &Tree, op: &ReadOp) -> Option<ErrorCode> {
        tree.read(op, SessionId(5), &[]).err()
    }

    /// Codes of golden `error_replies`, xids 2, 3, 6, 8, 37 to 39, 51 to 54.
    #[test]
    fn reads_are_refused_with_zookeepers_codes() {
        let tree = tree();
        let acl = |path: &str| ReadOp::GetAcl { path: path.into() };
        for (op, expected) in [
            (data("/nope"), Some(ErrorCode::NoNode)),
            (exists("/nope"), Some(ErrorCode::NoNode)),
            (exists("/no\0pe"), Some(ErrorCode::BadArguments)),
            (acl("/nope"), Some(ErrorCode::NoNode)),
            (data(""), None),
            (data("e"), Some(ErrorCode::NoNode)),
            (data("/e/"), Some(ErrorCode::NoNode)),
            (data("/e/wo"), Some(ErrorCode::NoAuth)),
            (exists("/e/wo"), Some(ErrorCode::NoAuth)),
            (acl("/e/wo"), Some(ErrorCode::NoAuth)),
        ] {
            assert_eq!(code(&tree, &op), expected, "{op:?}");
        }
    }

    #[test]
    fn only_exists_leaves_a_watch_on_what_is_not_there() {
        let no_node = Some(ErrorCode::NoNode);
        assert_eq!(
            watch_left(&exists("/a"), no_node),
            Some(("/a", WatchMode::Data))
        );
        assert_eq!(watch_left(&exists("/a"), Some(ErrorCode::NoAuth)), None);
        assert_eq!(watch_left(&data("/a"), no_node), None);
        assert_eq!(watch_left(&data("/a"), None), Some(("/a", WatchMode::Data)));
    }

    #[test]
    fn digests_are_masked_for_all_but_administrators() {
        let tree = tree();
        let op = ReadOp::GetAcl {
            path: "/e/d".into(),
        };
        for (ids, shown) in [(vec![], "u:x"), (vec![id("digest", "u:h")], "u:h")] {
            let Ok(ReadResult::Acl { acl, .. }) = tree.read(&op, SessionId(5), &ids) else {
                unreachable!("world may read")
            };
            assert_eq!(&*acl[0].id.id, shown);
        }
    }

    #[test]
    fn the_empty_path_counts_the_root_as_one_of_its_descendants() {
        let count = |path: &str| {
            let op = ReadOp::GetAllChildrenNumber { path: path.into() };
            match tree().read(&op, SessionId(5), &[]) {
                Ok(ReadResult::AllChildrenNumber(count)) => count,
                _ => unreachable!("nothing to refuse"),
            }
        };
        assert_eq!(count(""), count("/") + 1);
    }

    /// Golden `multi`, connection c3.
    #[test]
    fn ephemerals_are_found_by_textual_prefix() {
        let tree = tree();
        for (prefix, expected) in [
            (None, vec!["/mu/e1", "/mu/e2"]),
            (Some("/"), vec!["/mu/e1", "/mu/e2"]),
            (Some(""), vec!["/mu/e1", "/mu/e2"]),
            (Some("/mu/e1"), vec!["/mu/e1"]),
            (Some("/nomatch"), vec![]),
            (Some(" / "), vec!["/mu/e1", "/mu/e2"]),
            (Some("/mu/e1\u{a0}"), vec![]),
            (Some("/mu/e1 "), vec![]),
        ] {
            let op = ReadOp::GetEphemerals {
                prefix: prefix.map(Into::into),
            };
            let Ok(ReadResult::Ephemerals(mut paths)) = tree.read(&op, SessionId(5), &[]) else {
                unreachable!("nothing to refuse")
            };
            paths.sort_unstable();
            assert_eq!(paths, expected);
        }
    }

    #[test]
    fn a_multi_read_refuses_each_read_on_its_own_and_other_reads_altogether() {
        let tree = tree();
        let op = ReadOp::MultiRead(vec![data("/e"), data("/nope")]);
        let Ok(ReadResult::Multi(results)) = tree.read(&op, SessionId(5), &[]) else {
            unreachable!("both may be inside")
        };
        let codes: Vec<_> = results.iter().map(|r| r.as_ref().err().copied()).collect();
        assert_eq!(codes, [None, Some(ErrorCode::NoNode)]);
        assert_eq!(
            code(&tree, &ReadOp::MultiRead(vec![exists("/e")])),
            Some(ErrorCode::MarshallingError)
        );
    }
}
