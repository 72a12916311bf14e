//! Which room may use which, and what has no place in some of them.
//!
//! A room is a folder or file directly in `src`. The rooms of a crate and their arrows stand here as tables, and a folder that no
//! table knows is a complaint: whoever adds a room decides what it may use.

use super::arrows::Arrow;
use super::complaint::{Complaint, Rule};
use super::source::{Named, Source};
use std::collections::BTreeSet;

/// A room, or some that have the same rights.
struct Room {
    /// The names in `src`.
    of: &'static [&'static str],
    /// The rooms that it may use, beside itself.
    uses: &'static [&'static [&'static str]],
}

/// The nouns of the protocol: files that the roles are written in. Among each other they may not go in a circle, as everywhere.
#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "context", "durable", "ensemble", "fault", "history", "ids", "packet", "quorum", "rules", "step", "switch", "vote",
];

/// The server's formats and settings, which use nothing but the model and each other.
const FORMATS: &[&str] = &[
    "codes", "config", "edges", "limits", "mutants", "storage", "wire",
];

/// Arrows inside `model/src`.
#[rustfmt::skip]
const MODEL: &[Room] = &[
    Room { of: NOUNS, uses: &[NOUNS] },
    Room { of: &["tree"], uses: &[&["ids"]] },
    Room { of: &["service"], uses: &[&["tree"], NOUNS] },
    Room { of: &["election", "leader", "learner"], uses: &[NOUNS] },
    Room { of: &["peer"], uses: &[&["election", "leader", "learner"], NOUNS] },
    Room { of: &["flight"], uses: &[&["peer"], NOUNS] },
    Room { of: &["invariants"], uses: &[&["peer", "election", "leader", "learner", "service", "tree"], NOUNS] },
    Room { of: &["diagram"], uses: &[NOUNS] },
    Room { of: &["checker"], uses: &[&["diagram", "invariants", "peer", "election", "leader", "learner", "service", "tree"], NOUNS] },
];

/// Arrows inside `impl/src`.
#[rustfmt::skip]
const IMPL: &[Room] = &[
    // What the log warns of: whoever warns names one.
    Room { of: &["codes"], uses: &[] },
    // Faults that are planted where they would be, to see what finds them: no build of the product has one.
    Room { of: &["mutants"], uses: &[] },
    Room { of: &["edges", "limits"], uses: &[] },
    Room { of: &["wire"], uses: &[&["mutants"]] },
    Room { of: &["config"], uses: &[&["limits"]] },
    // A log entry is a proposal, and a snapshot file is what follows SNAP.
    Room { of: &["storage"], uses: &[&["codes", "limits", "mutants", "wire"]] },
    Room { of: &["error"], uses: &[&["config", "storage"]] },
    // Any server's load; the stores of TLS and what is behind a handshake are those of connections between servers.
    Room { of: &["bench"], uses: &[&["config", "error", "runtime", "wire"]] },
    // Any server's shell: what it knows of one comes over the network.
    Room { of: &["shell"], uses: &[&["codes"]] },
    // Beside a server: its files by the code that a start reads them with, and itself over its port.
    // What a record leads the model to may end in a panic, which is caught.
    Room { of: &["tools"], uses: &[&["error"], FORMATS] },
    Room { of: &["client"], uses: &[FORMATS] },
    Room { of: &["core"], uses: &[&["client", "error"], FORMATS] },
    Room { of: &["admin"], uses: &[&["core", "client", "error"], FORMATS] },
    // The page draws what the flight recorder holds as the tool does.
    Room { of: &["gate", "runtime"], uses: &[&["gate", "runtime", "admin", "core", "client", "error", "tools"], FORMATS] },
    Room { of: &["serve"], uses: &[&["gate", "runtime", "admin", "core", "client", "error"], FORMATS] },
    Room { of: &["tls_init"], uses: &[] },
    // What the environment of a container says becomes a file, which a start then reads as any other.
    Room { of: &["container"], uses: &[&["config"]] },
    Room { of: &["dev"], uses: &[&["config", "error", "runtime"]] },
    Room { of: &["embed"], uses: &[&["config", "dev", "error", "runtime", "serve"]] },
];

/// The table of a crate, by its source folder.
fn table(crate_root: &str) -> Option<&'static [Room]> {
    match crate_root {
        "model/src" => Some(MODEL),
        "impl/src" => Some(IMPL),
        _ => None,
    }
}

/// Arrows between rooms that no table allows, and rooms that no table knows.
pub(super) fn forbidden_arrows(
    crate_root: &str,
    files: &[Source],
    arrows: &[Arrow],
) -> Vec<Complaint> {
    let Some(table) = table(crate_root) else {
        return Vec::new();
    };
    let row = |name: &str| table.iter().find(|r| r.of.contains(&name));
    let mut complaints = Vec::new();
    let mut unknown = BTreeSet::new();
    for file in files.iter().filter(|f| !f.module.is_empty()) {
        let name = file.module[0].as_str();
        if row(name).is_none() && unknown.insert(name) {
            complaints.push(Complaint {
                rule: Rule::Arrow,
                file: file.path.clone(),
                line: 1,
                text: format!(
                    "no table knows the room `{name}`; say in tidy/rooms.rs what it may use"
                ),
            });
        }
    }
    for arrow in arrows {
        let (from, to) = (&files[arrow.from], &files[arrow.to]);
        let (Some(of), Some(to)) = (from.module.first(), to.module.first()) else {
            continue;
        };
        let Some(row) = row(of) else { continue };
        let uses = row.uses.concat();
        if of != to && !uses.contains(&to.as_str()) {
            let may = match uses[..] {
                [] => "nothing".to_owned(),
                _ => uses.join(", "),
            };
            complaints.push(Complaint {
                rule: Rule::Arrow,
                file: from.path.clone(),
                line: arrow.line,
                text: format!(
                    "`{}`: `{of}` may use {may}, not `{to}`; hand in what is needed, or move it to a room that both may use",
                    arrow.path
                ),
            });
        }
    }
    complaints
}

/// What a room does not name.
struct Ban {
    crate_root: &'static str,
    /// The rooms; nothing for all.
    rooms: &'static [&'static str],
    /// Files in them that are the edge to the world, and may.
    but: &'static [&'static str],
}

/// The rooms that run in a simulator, with a clock, disk and network that are not real.
const BANS: &[Ban] = &[
    Ban {
        crate_root: "impl/src",
        rooms: &["core", "client", "wire", "storage"],
        but: &["storage/disk.rs", "storage/owner.rs"],
    },
    Ban {
        crate_root: "model/src",
        rooms: &[],
        but: &["checker/", "bin/"],
    },
];

/// What is banned there, and what to use instead.
const BANNED: &[(&str, &str)] = &[
    (
        "tokio",
        "a driver in `runtime` awaits; here, take an event and leave an output",
    ),
    (
        "std::net",
        "sockets are the runtime's; an address is plain data",
    ),
    ("std::time::Instant", "take `now` as an argument"),
    (
        "std::time::SystemTime",
        "take the wall clock's time as an argument",
    ),
    ("std::thread", "a thread is the runtime's"),
    ("std::fs", "go through the `Disk` trait"),
];

/// Plain data that stands in a banned module.
const DATA: &[&str] = &[
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
];

/// Names of clocks, sockets, files and threads in rooms that a simulator runs.
pub(super) fn forbidden_names(crate_root: &str, file: &Source, is_test: bool) -> Vec<Complaint> {
    let inside = file.path.strip_prefix(crate_root).unwrap_or(&file.path);
    let ban = BANS.iter().find(|b| b.crate_root == crate_root);
    if is_test || !ban.is_some_and(|b| b.binds(&file.module, &inside.to_string_lossy())) {
        return Vec::new();
    }
    let imports = file.imports.iter().map(|i| (&i.named, true));
    let named = imports.chain(file.paths.iter().map(|p| (p, false)));
    // Once for each name: whoever mends a file looks through it.
    let first = |banned: &str| {
        named
            .clone()
            .find(|(named, import)| names(named, *import, banned))
    };
    BANNED
        .iter()
        .filter_map(|(what, instead)| {
            let (named, _) = first(what)?;
            Some(Complaint {
                rule: Rule::Name,
                file: file.path.clone(),
                line: named.line,
                text: format!(
                    "`{}`: {what} has no place here; {instead}",
                    named.path.join("::")
                ),
            })
        })
        .collect()
}

impl Ban {
    fn binds(&self, module: &[String], inside: &str) -> bool {
        let room = module.first().map_or("", String::as_str);
        (self.rooms.is_empty() || self.rooms.contains(&room))
            && !self.but.iter().any(|b| inside.starts_with(b))
    }
}

/// Whether a path names what is banned; an import of the module around it does, too.
fn names(named: &Named, import: bool, banned: &str) -> bool {
    let banned: Vec<&str> = banned.split("::").collect();
    let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
    let around = import && path.len() > 1 && banned.starts_with(&path);
    let inside = path.starts_with(&banned);
    around || inside && !path.last().is_some_and(|n| DATA.contains(n))
}
