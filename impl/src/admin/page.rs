//! The page for people on the port of commands: what it is shown with, and what of the tree it may show to whom.
//!
//! It changes nothing. Everything in it comes as JSON and becomes text of the page, never markup: names and data of nodes are whatever their
//! clients have chosen. Of the tree it shows what a client with the same identities would be answered (D-146): without a header
//! `Authorization` that is what `world:anyone` may read.

use super::endpoints::{Keys, client_address, keys};
use super::facts::{VERSION, mode_name, phase_name};
use super::guarded::proved;
use super::json::{Json, map};
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use crate::client::stats::LearnerCounts;
use crate::client::summary::{Summed, Timed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::service::members::MemberRole;
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::ReadOp;
use zabra_model::tree::read::ReadResult;
use zabra_model::tree::stat::Stat;

/// The page.
const PAGE: &str = include_str!("page.html");
/// Of the children of a node so many are listed.
const CHILDREN_MAX: usize = 1000;
/// Of the data of a node so many bytes are shown.
const DATA_BYTES_MAX: usize = 16 << 10;
/// A path that is longer is at no node.
const PATH_BYTES_MAX: usize = 1 << 20;

/// What is asked for, by its path on the port, where commands have this path. The page gives way to commands that have its own.
#[must_use]
pub fn part<'p>(path: &'p str, commands: &str) -> Option<&'p str> {
    let is_ours = |path: &str| path == "/ui" || path.starts_with("/ui/");
    if commands.is_empty() || is_ours(commands) {
        return None;
    }
    match path {
        "/" | "/ui" | "/ui/" => Some(""),
        _ => path.strip_prefix("/ui/"),
    }
}

/// The page, and what a browser may do in it: its own script and style, which are named by their sums, and asking this port.
#[must_use]
pub fn page() -> (&'static str, String) {
    let sum = |begin: &str, end: &str| {
        let part = PAGE
            .split_once(begin)
            .and_then(|(_, rest)| rest.split_once(end));
        STANDARD.encode(Sha256::digest(part.map_or("", |(part, _)| part)))
    };
    let (style, script) = (sum("<style>", "</style>"), sum("<script>", "</script>"));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (PAGE, policy)
}

fn one(summed: Summed) -> Keys {
    keys([
        ("count", summed.count.into()),
        ("sum", summed.sum.into()),
        ("max", summed.max().into()),
    ])
}

fn times(timed: &Timed) -> Json {
    let mut all = one(timed.all);
    let quantiles = [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)];
    all.extend(quantiles.map(|(name, of)| (name.to_owned(), timed.quantile(of).into())));
    Json::Map(all)
}

/// What this server knows of itself and of the others.
#[must_use]
pub fn state(shared: &Shared) -> String {
    let (stats, config) = (&shared.stats, &shared.config);
    let (zxid, nodes, sessions) = {
        let tree = shared.tree();
        (tree.last_zxid(), tree.len(), tree.sessions().len())
    };
    let (connections, watches) = {
        let hub = lock(&shared.hub);
        (hub.conns.len(), hub.watches.len())
    };
    let leader = stats.leader();
    let turns = lock(&stats.timeline).clone();
    // A new leader has an epoch before it has a transaction of it.
    let epoch = turns.back().map_or(zxid.epoch(), |turn| turn.epoch);
    let epoch = epoch.max(zxid.epoch());
    let server = map([
        (
            "id",
            if config.is_ensemble() { config.me.0 } else { 0 }.into(),
        ),
        ("mode", mode_name(shared.mode()).into()),
        ("phase", phase_name(stats.phase()).into()),
        (
            "leader",
            leader.map_or(Json::Null, |leader| leader.0.into()),
        ),
        ("zxid", zxid.to_string().into()),
        ("epoch", u64::from(epoch.0).into()),
        ("version", VERSION.into()),
        ("uptime_ms", shared.elapsed_ms().into()),
        ("date_ms", shared.date_ms().into()),
    ]);
    let load = [
        &stats.outstanding,
        &stats.slow_requests,
        &stats.slow_fsyncs,
        &stats.elections,
    ];
    let [outstanding, slow, slow_syncs, elections] = load.map(|count| count.load(Relaxed));
    let counts = map([
        ("received", stats.sum(|stripe| &stripe.received).into()),
        ("sent", stats.sum(|stripe| &stripe.sent).into()),
        ("connections", connections.into()),
        ("sessions", sessions.into()),
        ("watches", watches.into()),
        ("nodes", nodes.into()),
        ("outstanding", outstanding.into()),
        ("slow_requests", slow.into()),
        ("slow_syncs", slow_syncs.into()),
        ("elections", elections.into()),
    ]);
    let timeline = turns.iter().map(|turn| {
        map([
            ("date_ms", turn.date_ms.into()),
            ("what", turn.what.name().into()),
            (
                "leader",
                turn.leader.map_or(Json::Null, |leader| leader.0.into()),
            ),
            ("epoch", u64::from(turn.epoch.0).into()),
        ])
    });
    let timeline = timeline.collect();
    map([
        ("server", server),
        ("members", members(shared, leader)),
        ("counts", counts),
        ("reads", times(&stats.reads())),
        ("writes", times(&stats.updates.now(None))),
        ("syncs", Json::Map(one(stats.fsync_time.now()))),
        ("timeline", Json::List(timeline)),
    ])
    .text()
}

fn members(shared: &Shared, leader: Option<ServerId>) -> Json {
    let learners = match shared.mode() {
        Mode::Leader => lock(&shared.stats.learners).clone(),
        _ => vec![],
    };
    let lists = shared.lists();
    let all = lists.members();
    let me = shared.config.me;
    let rows = all.iter().map(|(sid, member)| {
        let linked = learners.iter().rfind(|l| l.sid.load(Relaxed) == sid.0);
        let role = match member.role {
            MemberRole::Participant => "participant",
            MemberRole::Observer => "observer",
        };
        map([
            ("id", sid.0.into()),
            ("host", member.host.as_str().into()),
            ("client", client_address(*sid, member, shared).into()),
            ("role", role.into()),
            ("votes", lists.has_vote(*sid).into()),
            ("is_me", (*sid == me).into()),
            ("leads", (leader == Some(*sid)).into()),
            ("link", linked.map_or(Json::Null, link)),
        ])
    });
    Json::List(rows.collect())
}

/// What a leader knows of a learner.
fn link(learner: &Arc<LearnerCounts>) -> Json {
    let acked = learner.acked.load(Relaxed);
    map([
        ("synced", learner.synced.load(Relaxed).into()),
        ("since_ms", learner.since_ms.into()),
        ("packets", learner.received.load(Relaxed).into()),
        (
            "acked",
            if acked == 0 {
                Json::Null
            } else {
                Zxid(acked).to_string().into()
            },
        ),
        ("acks", times(&learner.acks.now(None))),
    ])
}

/// An answer that only says what is wrong.
#[must_use]
pub fn wrong(what: &str) -> String {
    map([("error", what.into())]).text()
}

/// Why a node is not shown: a status of HTTP, and why.
type Refused = (u16, &'static str);

/// A node, for who comes from this address with this header; the status, and the answer.
#[must_use]
pub fn node(
    path: &str,
    authorization: Option<&str>,
    from: IpAddr,
    shared: &Shared,
) -> (u16, String) {
    let shown = who(authorization, from, shared).and_then(|ids| shown(path, &ids, shared));
    match shown {
        Ok(keys) => (200, Json::Map(keys).text()),
        Err((status, why)) => (status, wrong(why)),
    }
}

/// The identities of who asks.
fn who(authorization: Option<&str>, from: IpAddr, shared: &Shared) -> Result<Vec<Id>, Refused> {
    let mut ids = match authorization {
        None => vec![],
        Some(header) => proved(header, from, shared).ok_or((401, "that proves nobody"))?,
    };
    let access = &shared.config.access;
    let has_one = |scheme: &str| ids.iter().any(|id| &*id.scheme == scheme);
    if !access.schemes.is_empty() && !access.schemes.iter().any(|scheme| has_one(scheme)) {
        return Err((
            401,
            "clients of this server have to say who they are (enforce.auth.enabled)",
        ));
    }
    if access.skips_acl {
        ids.push(Id {
            scheme: "super".into(),
            id: "".into(),
        });
    }
    Ok(ids)
}

fn shown(path: &str, ids: &[Id], shared: &Shared) -> Result<Keys, Refused> {
    if shared.mode() == Mode::NotServing {
        return Err((
            503,
            "this server has no leader, and shows nothing that may be old",
        ));
    }
    if path.len() > PATH_BYTES_MAX || !path.starts_with('/') {
        return Err((400, "a path begins with /"));
    }
    let refused = |code| match code {
        ErrorCode::NoNode => (404, "there is no such node"),
        ErrorCode::NoAuth => (403, "whoever looks may not read this node"),
        _ => (400, "that is no path of a node"),
    };
    let tree = shared.tree();
    let read = |op: ReadOp| tree.read(&op, SessionId(0), ids).map_err(refused);
    let mut all = keys([("path", path.into())]);
    let (path, watch) = (Box::<str>::from(path), false);
    if let ReadResult::Data { data, stat } = read(ReadOp::GetData {
        path: path.clone(),
        watch,
    })? {
        all.push(("stat".into(), told(&tree, &stat)));
        all.push(("data".into(), content(data)));
    }
    if let ReadResult::Acl { acl, .. } = read(ReadOp::GetAcl { path: path.clone() })? {
        all.push(("acl".into(), Json::List(acl.iter().map(entry).collect())));
    }
    if let ReadResult::Children(children) = read(ReadOp::GetChildren { path, watch })? {
        let mut names: Vec<&str> = children.take(CHILDREN_MAX).collect();
        names.sort_unstable();
        let names = names.into_iter().map(Json::from).collect();
        all.push(("children".into(), Json::List(names)));
    }
    Ok(all)
}

fn told(tree: &Tree, stat: &Stat) -> Json {
    let lives = tree
        .session_timeout(SessionId(stat.ephemeral_owner))
        .is_some();
    map([
        ("czxid", stat.czxid.to_string().into()),
        ("mzxid", stat.mzxid.to_string().into()),
        ("pzxid", stat.pzxid.to_string().into()),
        ("ctime", stat.ctime.into()),
        ("mtime", stat.mtime.into()),
        ("version", i64::from(stat.version).into()),
        ("cversion", i64::from(stat.cversion).into()),
        ("aversion", i64::from(stat.aversion).into()),
        (
            "owner",
            match stat.ephemeral_owner {
                0 => Json::Null,
                owner => SessionId(owner).to_string().into(),
            },
        ),
        ("owner_lives", lives.into()),
        ("data_length", i64::from(stat.data_length).into()),
        ("num_children", i64::from(stat.num_children).into()),
    ])
}

/// Data as text where it is some, and else as Base64: the beginning of it.
fn content(data: Option<&[u8]>) -> Json {
    let Some(data) = data else {
        return Json::Null;
    };
    let is_cut = data.len() > DATA_BYTES_MAX;
    let begin = data.get(..DATA_BYTES_MAX).unwrap_or(data);
    let (text, is_text) = match std::str::from_utf8(begin) {
        Ok(text) => (text.to_owned(), true),
        // The cut may go through a letter.
        Err(error) if is_cut && error.error_len().is_none() => {
            let whole = begin.get(..error.valid_up_to()).unwrap_or_default();
            (String::from_utf8_lossy(whole).into_owned(), true)
        }
        Err(_) => (STANDARD.encode(begin), false),
    };
    map([
        ("bytes", data.len().into()),
        ("text", is_text.into()),
        ("shown", text.into()),
        ("cut", is_cut.into()),
    ])
}

fn entry(entry: &AclEntry) -> Json {
    let letters = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    let has = letters.iter().filter(|(bit, _)| entry.perms & bit != 0);
    let perms: String = has.map(|(_, letter)| letter).collect();
    map([
        ("scheme", (&*entry.id.scheme).into()),
        ("id", (&*entry.id.id).into()),
        ("perms", perms.into()),
    ])
}
