//! Watches of the clients of one server. They are never replicated, so they lie beside the tree.

use super::acl::AclView;
use super::error::ErrorCode;
use super::event::{EventKind, Trigger};
use super::node::Tree;
use super::path::{canonical, shown, split};
use crate::ids::Zxid;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

/// Who watches: a connection's number, which its host gives out.
pub type WatcherId = u64;

/// Kinds of watches. A watcher may have several on one path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum WatchMode {
    /// Left by exists and getData; gone when it fires.
    Data = 1,
    /// Left by getChildren; gone when it fires.
    Child = 2,
    /// Stays; hears of the node and of its list of children.
    Persistent = 4,
    /// Stays; hears of the node and of everything below it, but not of lists of children.
    PersistentRecursive = 8,
}

impl WatchMode {
    const fn bit(self) -> u8 {
        self as u8
    }

    /// The mode of an addWatch request.
    ///
    /// Errors: `MarshallingError` for an unknown number.
    pub const fn from_add_watch(mode: i32) -> Result<Self, ErrorCode> {
        match mode {
            0 => Ok(Self::Persistent),
            1 => Ok(Self::PersistentRecursive),
            _ => Err(ErrorCode::MarshallingError),
        }
    }
}

/// The modes that a checkWatches or removeWatches request of `watch_type` speaks of.
const fn modes_of_type(watch_type: i32) -> Result<u8, ErrorCode> {
    match watch_type {
        1 => Ok(WatchMode::Child.bit()),
        2 => Ok(WatchMode::Data.bit()),
        3 => Ok(0b1111),
        4 => Ok(WatchMode::Persistent.bit()),
        5 => Ok(WatchMode::PersistentRecursive.bit()),
        _ => Err(ErrorCode::MarshallingError),
    }
}

/// What a client watched before it lost its connection: a setWatches or setWatches2 request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(
    missing_docs,
    reason = "fields are those of the records of SPEC.md, named as there"
)]
pub struct SetWatches<'a, P> {
    pub relative_zxid: Zxid,
    pub data: &'a [P],
    pub exist: &'a [P],
    pub child: &'a [P],
    pub persistent: &'a [P],
    pub persistent_recursive: &'a [P],
}

/// What a watch counts for beside its path, bytes.
const WATCH_BYTES: usize = 128;

/// What one watcher has.
#[derive(Default)]
struct Own {
    paths: HashSet<Arc<str>, FixedState>,
    bytes: usize,
}

/// All watches of this server's clients.
#[derive(Default)]
pub struct Watches {
    paths: HashMap<Arc<str>, BTreeMap<WatcherId, u8>, FixedState>,
    watchers: HashMap<WatcherId, Own, FixedState>,
    /// What they hold.
    bytes: usize,
    /// While there are none, no ancestor need be asked.
    recursive: usize,
    due: Vec<WatcherId>,
}

impl Watches {
    /// No watches.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves a watch; the same one twice is one. The empty path reads the root as `/` does, and its watch hears of nothing, as in ZooKeeper.
    pub fn add(&mut self, watcher: WatcherId, path: &str, mode: WatchMode) {
        let key = match self.paths.get_key_value(path) {
            Some((key, _)) => key.clone(),
            None => path.into(),
        };
        let modes = self
            .paths
            .entry(key.clone())
            .or_default()
            .entry(watcher)
            .or_default();
        if mode == WatchMode::PersistentRecursive && *modes & mode.bit() == 0 {
            self.recursive += 1;
        }
        *modes |= mode.bit();
        let own = self.watchers.entry(watcher).or_default();
        let bytes = key.len() + WATCH_BYTES;
        if own.paths.insert(key) {
            own.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// What watches hold, about, bytes: of each watcher each path, and an allowance.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who holds most of it; of several, who came last.
    #[must_use]
    pub fn greediest(&self) -> Option<(WatcherId, usize)> {
        let most = self.watchers.iter().map(|(id, own)| (own.bytes, *id)).max();
        most.map(|(bytes, id)| (id, bytes))
    }

    /// Whether `watcher` has a watch of `watch_type` (checkWatches).
    ///
    /// Errors: `NoWatcher`; `MarshallingError` for an unknown type.
    pub fn check(&self, watcher: WatcherId, path: &str, watch_type: i32) -> Result<(), ErrorCode> {
        let wanted = modes_of_type(watch_type)?;
        let modes = self
            .paths
            .get(path)
            .and_then(|w| w.get(&watcher))
            .copied()
            .unwrap_or(0);
        if modes & wanted == 0 {
            Err(ErrorCode::NoWatcher)
        } else {
            Ok(())
        }
    }

    /// Takes back the watches of `watch_type` (removeWatches).
    ///
    /// Errors: `NoWatcher`; `MarshallingError` for an unknown type.
    pub fn remove(
        &mut self,
        watcher: WatcherId,
        path: &str,
        watch_type: i32,
    ) -> Result<(), ErrorCode> {
        self.check(watcher, path, watch_type)?;
        self.clear(watcher, path, modes_of_type(watch_type)?);
        Ok(())
    }

    /// Forgets a connection.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        let own = self.watchers.remove(&watcher).unwrap_or_default();
        self.bytes -= own.bytes;
        for path in own.paths {
            let Some(here) = self.paths.get_mut(&path) else {
                continue;
            };
            if here
                .remove(&watcher)
                .is_some_and(|modes| modes & WatchMode::PersistentRecursive.bit() != 0)
            {
                self.recursive -= 1;
            }
            if here.is_empty() {
                self.paths.remove(&path);
            }
        }
    }

    /// How many pairs of watcher and path there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watchers.values().map(|own| own.paths.len()).sum()
    }

    /// Whether nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Paths whose node is watched, and by whom, in no order. Whoever watches only the children of a path is not among them: the
    /// four-letter words that show this know only ZooKeeper's table of data watches, which `addWatch` writes as well.
    pub fn by_path(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = WatcherId> + '_)> + '_ {
        self.paths.iter().filter_map(|(path, here)| {
            let on_node = |modes: u8| modes & !WatchMode::Child.bit() != 0;
            let watchers = move || here.iter().filter(move |(_, modes)| on_node(**modes));
            watchers().next()?;
            Some((path, watchers().map(|(watcher, _)| *watcher)))
        })
    }

    /// How many connections watch something.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    fn clear(&mut self, watcher: WatcherId, path: &str, modes: u8) {
        let Some(here) = self.paths.get_mut(path) else {
            return;
        };
        let Some(left) = here.get_mut(&watcher) else {
            return;
        };
        if *left & modes & WatchMode::PersistentRecursive.bit() != 0 {
            self.recursive -= 1;
        }
        *left &= !modes;
        if *left != 0 {
            return;
        }
        here.remove(&watcher);
        if here.is_empty() {
            self.paths.remove(path);
        }
        if let Some(own) = self.watchers.get_mut(&watcher) {
            if own.paths.remove(path) {
                own.bytes -= path.len() + WATCH_BYTES;
                self.bytes -= path.len() + WATCH_BYTES;
            }
            if own.paths.is_empty() {
                self.watchers.remove(&watcher);
            }
        }
    }

    /// Tells who hears of a change: each watcher once, whatever it has on the path and above it. One-shot watches that the change
    /// concerns are gone, also if the watcher turns out not to be allowed to read the node.
    pub fn fire(&mut self, trigger: &Trigger<'_>, mut hears: impl FnMut(WatcherId)) {
        if self.paths.is_empty() {
            return;
        }
        let one_shot = match trigger.kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => WatchMode::Data.bit(),
            EventKind::NodeDeleted => WatchMode::Data.bit() | WatchMode::Child.bit(),
            EventKind::NodeChildrenChanged => WatchMode::Child.bit(),
        };
        let for_subtree = trigger.kind != EventKind::NodeChildrenChanged;
        let recursive = if for_subtree {
            WatchMode::PersistentRecursive.bit()
        } else {
            0
        };
        let mut due = core::mem::take(&mut self.due);
        let concerned = one_shot | WatchMode::Persistent.bit() | recursive;
        self.collect(trigger.path, concerned, &mut due);
        for &watcher in &due {
            self.clear(watcher, trigger.path, one_shot);
        }
        if for_subtree && self.recursive > 0 {
            let mut path = canonical(trigger.path);
            while let Some((parent, _)) = split(path) {
                self.collect(shown(parent), recursive, &mut due);
                path = parent;
            }
            due.sort_unstable();
            due.dedup();
        }
        due.drain(..).for_each(&mut hears);
        self.due = due;
    }

    fn collect(&self, path: &str, modes: u8, due: &mut Vec<WatcherId>) {
        if let Some(here) = self.paths.get(path) {
            due.extend(
                here.iter()
                    .filter(|(_, has)| *has & modes != 0)
                    .map(|(&watcher, _)| watcher),
            );
        }
    }

    /// Sets a returning client's watches again, or tells at once what it missed. Its persistent watches miss what happened.
    pub fn set_watches<P: AsRef<str>>(
        &mut self,
        tree: &Tree,
        watcher: WatcherId,
        set: &SetWatches<'_, P>,
        mut hears: impl FnMut(Trigger<'_>),
    ) {
        // A client may say -1, and every change is newer.
        let seen = set.relative_zxid.0.cast_signed();
        let changed = |changed_at: Zxid| changed_at.0.cast_signed() > seen;
        for path in set.data.iter().map(AsRef::as_ref) {
            match tree.find(path) {
                None => hears(Trigger {
                    kind: EventKind::NodeDeleted,
                    path,
                    acl: AclView::default(),
                }),
                Some(node) if changed(node.persisted().mzxid) => {
                    hears(Trigger {
                        kind: EventKind::NodeDataChanged,
                        path,
                        acl: node.acl(),
                    });
                }
                Some(_) => self.add(watcher, path, WatchMode::Data),
            }
        }
        for path in set.exist.iter().map(AsRef::as_ref) {
            match tree.find(path) {
                Some(node) => hears(Trigger {
                    kind: EventKind::NodeCreated,
                    path,
                    acl: node.acl(),
                }),
                None => self.add(watcher, path, WatchMode::Data),
            }
        }
        for path in set.child.iter().map(AsRef::as_ref) {
            match tree.find(path) {
                None => hears(Trigger {
                    kind: EventKind::NodeDeleted,
                    path,
                    acl: AclView::default(),
                }),
                Some(node) if changed(node.persisted().pzxid) => {
                    hears(Trigger {
                        kind: EventKind::NodeChildrenChanged,
                        path,
                        acl: node.acl(),
                    });
                }
                Some(_) => self.add(watcher, path, WatchMode::Child),
            }
        }
        for path in set.persistent {
            self.add(watcher, path.as_ref(), WatchMode::Persistent);
        }
        for path in set.persistent_recursive {
            self.add(watcher, path.as_ref(), WatchMode::PersistentRecursive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::stat::StatPersisted;
    use EventKind::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    use alloc::string::{String, ToString};

    const W: WatcherId = 1;

    fn fire(watches: &mut Watches, kind: EventKind, path: &str) -> Vec<WatcherId> {
        let mut heard = Vec::new();
        watches.fire(
            &Trigger {
                kind,
                path,
                acl: AclView::default(),
            },
            |w| heard.push(w),
        );
        heard
    }

    #[test]
    fn a_one_shot_watch_fires_once_and_only_for_its_kind() {
        let mut w = Watches::new();
        w.add(W, "/w", WatchMode::Data);
        w.add(2, "/w", WatchMode::Child);
        assert!(fire(&mut w, NodeDataChanged, "/other").is_empty());
        assert_eq!(fire(&mut w, NodeDataChanged, "/w"), [W]);
        assert!(fire(&mut w, NodeDataChanged, "/w").is_empty());
        assert_eq!(fire(&mut w, NodeChildrenChanged, "/w"), [2]);
        assert!(w.is_empty() && w.watchers() == 0);
    }

    #[test]
    fn what_watches_hold_is_counted_for_each_watcher() {
        let mut w = Watches::new();
        assert_eq!((w.bytes(), w.greediest()), (0, None));
        let of = |paths: &[&str]| paths.iter().map(|path| path.len() + WATCH_BYTES).sum();
        w.add(W, "/a", WatchMode::Data);
        w.add(W, "/a", WatchMode::Child);
        w.add(2, "/a", WatchMode::Persistent);
        w.add(2, "/long/path", WatchMode::PersistentRecursive);
        assert_eq!(w.bytes(), of(&["/a", "/a", "/long/path"]));
        assert_eq!(w.greediest(), Some((2, of(&["/a", "/long/path"]))));
        fire(&mut w, NodeChildrenChanged, "/a");
        assert_eq!(
            w.bytes(),
            of(&["/a", "/a", "/long/path"]),
            "one is left of two"
        );
        fire(&mut w, NodeDeleted, "/a");
        assert_eq!(w.bytes(), of(&["/a", "/long/path"]));
        assert_eq!(w.remove(2, "/a", 3), Ok(()));
        assert_eq!(w.greediest(), Some((2, of(&["/long/path"]))));
        w.add(9, "/long/path", WatchMode::Data);
        w.remove_watcher(2);
        assert_eq!(
            (w.bytes(), w.greediest()),
            (of(&["/long/path"]), Some((9, w.bytes())))
        );
        assert_eq!(w.remove(9, "/long/path", 3), Ok(()));
        assert_eq!((w.bytes(), w.greediest()), (0, None));
    }

    /// Golden `watches`: data and child watch on a deleted node give one event, as do standard and persistent on a changed one.
    #[test]
    fn several_watches_of_one_watcher_give_one_event() {
        let mut w = Watches::new();
        w.add(W, "/k", WatchMode::Data);
        w.add(W, "/k", WatchMode::Child);
        w.add(W, "/", WatchMode::PersistentRecursive);
        assert_eq!(fire(&mut w, NodeDeleted, "/k"), [W]);
        assert_eq!(w.check(W, "/k", 3), Err(ErrorCode::NoWatcher));
        assert_eq!(fire(&mut w, NodeDeleted, "/k"), [W]);
    }

    /// Golden `watches`, paths /p and /r.
    #[test]
    fn persistent_watches_hear_of_children_lists_and_recursive_ones_of_the_subtree() {
        let mut w = Watches::new();
        w.add(1, "/p", WatchMode::Persistent);
        w.add(2, "/p", WatchMode::PersistentRecursive);
        for (kind, path, expected) in [
            (NodeCreated, "/p", &[1, 2][..]),
            (NodeCreated, "/p/k", &[2]),
            (NodeChildrenChanged, "/p", &[1]),
            (NodeDataChanged, "/p/k/g", &[2]),
            (NodeDeleted, "/p", &[1, 2]),
            (NodeCreated, "/pp", &[]),
        ] {
            assert_eq!(fire(&mut w, kind, path), expected, "{kind:?} {path}");
        }
        w.remove_watcher(2);
        assert_eq!(
            (w.recursive, fire(&mut w, NodeCreated, "/p/k")),
            (0, Vec::new())
        );
    }

    /// Golden `watches`, xids 21 to 33.
    #[test]
    fn watches_are_checked_and_removed_by_type() {
        let mut w = Watches::new();
        w.add(W, "/w", WatchMode::Persistent);
        w.add(W, "/w", WatchMode::Data);
        w.add(W, "/w", WatchMode::Child);
        let codes: Vec<_> = [1, 2, 3, 4, 5, 9].map(|t| w.check(W, "/w", t).err()).into();
        let (none, bad) = (
            Some(ErrorCode::NoWatcher),
            Some(ErrorCode::MarshallingError),
        );
        assert_eq!(codes, [None, None, None, None, none, bad]);
        let removed: Vec<_> = [2, 2, 1, 4, 3].map(|t| w.remove(W, "/w", t).err()).into();
        assert_eq!(removed, [None, none, None, None, none]);
        assert_eq!(w.remove(2, "/w", 3), Err(ErrorCode::NoWatcher));
    }

    /// Golden `set_watches`, connection w: five events for the first request, then the watches that were set.
    #[test]
    fn a_returning_client_hears_what_it_missed() {
        let mut tree = Tree::new();
        let stat = |mzxid, pzxid| StatPersisted {
            mzxid: Zxid(mzxid),
            pzxid: Zxid(pzxid),
            ..StatPersisted::default()
        };
        tree.insert("/d", None, &[], &stat(0xce, 0xca));
        tree.insert("/ch", None, &[], &stat(0xcb, 0xcf));
        tree.insert("/old", None, &[], &stat(0xcd, 0xcd));
        tree.insert("/new", None, &[], &stat(0xd1, 0xd1));
        let mut w = Watches::new();
        let mut heard: Vec<(EventKind, String)> = Vec::new();
        let set = SetWatches {
            relative_zxid: Zxid(0xcd),
            data: &["/d", "/del", "/old"],
            exist: &["/new", "/never"],
            child: &["/ch", "/old", "/del"],
            persistent: &["/p"],
            persistent_recursive: &["/r"],
        };
        w.set_watches(&tree, W, &set, |t| heard.push((t.kind, t.path.to_string())));
        let expected = [
            (NodeDataChanged, "/d"),
            (NodeDeleted, "/del"),
            (NodeCreated, "/new"),
            (NodeChildrenChanged, "/ch"),
            (NodeDeleted, "/del"),
        ];
        assert_eq!(heard, expected.map(|(k, p)| (k, p.to_string())));
        let types = [
            ("/old", 1),
            ("/old", 2),
            ("/never", 2),
            ("/p", 4),
            ("/r", 5),
        ];
        assert!(types.iter().all(|&(path, t)| w.check(W, path, t).is_ok()));
        assert_eq!(w.check(W, "/d", 3), Err(ErrorCode::NoWatcher));
    }

    #[test]
    fn a_returning_client_that_has_seen_minus_one_hears_of_every_change() {
        let mut tree = Tree::new();
        tree.insert("/d", None, &[], &StatPersisted::default());
        let mut heard = Vec::new();
        let set = SetWatches {
            relative_zxid: Zxid(u64::MAX),
            data: &["/d"],
            ..SetWatches::default()
        };
        Watches::new().set_watches(&tree, W, &set, |t| heard.push(t.kind));
        assert_eq!(heard, [NodeDataChanged]);
    }

    #[test]
    fn a_watch_of_the_empty_path_hears_nothing_of_the_root() {
        let mut w = Watches::new();
        w.add(W, "", WatchMode::Persistent);
        assert!(fire(&mut w, NodeDataChanged, "/").is_empty());
        w.add(W, "/", WatchMode::Persistent);
        assert_eq!(fire(&mut w, NodeDataChanged, "/"), [W]);
    }
}
