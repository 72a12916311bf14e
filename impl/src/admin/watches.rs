//! Who watches what: the words `wchs`, `wchc` and `wchp`.

use crate::client::lock::lock;
use crate::client::shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use zabra_model::ids::SessionId;

/// Each watched path with the sessions that watch it. The lock is held while the table is copied, not while it is written out.
fn table(shared: &Shared) -> Vec<(Arc<str>, Vec<SessionId>)> {
    let hub = lock(&shared.hub);
    let session = |watcher: u64| hub.conns.get(&watcher).map(|conn| conn.session());
    let rows = hub.watches.by_path();
    rows.map(|(path, watchers)| (path.clone(), watchers.filter_map(session).collect()))
        .collect()
}

/// How many sessions watch how many paths, by how many watches.
pub(super) struct Counted {
    pub(super) sessions: usize,
    pub(super) paths: usize,
    pub(super) watches: usize,
}

/// Counts them.
pub(super) fn counted(shared: &Shared) -> Counted {
    let table = table(shared);
    let sessions: BTreeSet<_> = table.iter().flat_map(|(_, sessions)| sessions).collect();
    Counted {
        sessions: sessions.len(),
        paths: table.len(),
        watches: table.iter().map(|(_, sessions)| sessions.len()).sum(),
    }
}

/// The answer to `wchs`.
pub(super) fn summary(shared: &Shared) -> String {
    let Counted {
        sessions,
        paths,
        watches,
    } = counted(shared);
    format!("{sessions} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// The paths of each session.
pub(super) fn sessions(shared: &Shared) -> BTreeMap<SessionId, BTreeSet<Arc<str>>> {
    let mut sessions: BTreeMap<SessionId, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (path, watchers) in table(shared) {
        for session in watchers {
            sessions.entry(session).or_default().insert(path.clone());
        }
    }
    sessions
}

/// The sessions of each path.
pub(super) fn paths(shared: &Shared) -> BTreeMap<Arc<str>, BTreeSet<SessionId>> {
    let rows = table(shared).into_iter();
    rows.map(|(path, sessions)| (path, sessions.into_iter().collect()))
        .collect()
}

/// The answer to `wchc`.
pub(super) fn by_session(shared: &Shared) -> String {
    listed(&sessions(shared))
}

/// The answer to `wchp`.
pub(super) fn by_path(shared: &Shared) -> String {
    listed(&paths(shared))
}

fn listed<A: std::fmt::Display, B: std::fmt::Display>(rows: &BTreeMap<A, BTreeSet<B>>) -> String {
    let mut text = String::new();
    for (head, under) in rows {
        let _ = writeln!(text, "{head}");
        for line in under {
            let _ = writeln!(text, "\t{line}");
        }
    }
    text.push('\n');
    text
}
