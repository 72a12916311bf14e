//! Who is here: the word `dump`.

use crate::client::lock::lock;
use crate::client::shared::Shared;
use std::fmt::Write;
use zabra_model::ids::SessionId;

/// Sessions with their timeouts, as a learner of ZooKeeper's lists them, their ephemeral nodes, and connections (D-85). What is listed
/// is copied while the tree is held, and written out behind.
pub(super) fn dump(shared: &Shared) -> String {
    let (mut sessions, mut owners) = {
        let tree = shared.tree();
        let of = |session: SessionId| {
            let paths = tree.ephemerals(session).map(|node| node.path().to_owned());
            (session, paths.collect::<Vec<_>>())
        };
        let sessions: Vec<_> = tree.sessions().collect();
        (sessions, tree.owners().map(of).collect::<Vec<_>>())
    };
    let mut conns: Vec<_> = lock(&shared.hub).conns.values().cloned().collect();
    conns.sort_by_key(|conn| conn.id);
    sessions.sort_unstable_by_key(|(session, _)| session.0);
    owners.sort_unstable_by_key(|(session, _)| session.0);

    let mut text = String::from("SessionTracker dump:\n");
    if shared.config.local_sessions.enabled {
        let local = conns.iter().filter(|conn| conn.state().local);
        let local = local.map(|conn| (conn.session(), conn.timeout_ms()));
        list("Local", local.collect(), &mut text);
    }
    list("Global", sessions, &mut text);
    let _ = writeln!(
        text,
        "ephemeral nodes dump:\nSessions with Ephemerals ({}):",
        owners.len()
    );
    for (session, paths) in owners {
        let _ = writeln!(text, "{session}:");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    let _ = writeln!(text, "Connections dump:\nConnections ({}):", conns.len());
    for conn in conns {
        let _ = writeln!(text, "\tip: /{} sessionId: {}", conn.from, conn.session());
    }
    text
}

fn list(kind: &str, sessions: Vec<(SessionId, i32)>, text: &mut String) {
    let _ = writeln!(text, "{kind} Sessions({}):", sessions.len());
    for (session, timeout_ms) in sessions {
        let _ = writeln!(text, "{session}\t{timeout_ms}ms");
    }
}
