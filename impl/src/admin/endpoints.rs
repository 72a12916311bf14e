//! Commands that are asked for over HTTP, with the names, the keys and the order of ZooKeeper's.

use super::facts::{
    ConnFacts, Facts, NOT_SERVING, TRACE_MASK, VERSION, connections, mode_name, peer_state,
    phase_name, ports, reset_connections,
};
use super::json::{Json, map};
use super::metrics::{self, Flat};
use super::{environment, watches};
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;
use zabra_model::ids::ServerId;
use zabra_model::service::members::{Member, MemberRole, join};

/// The keys of an answer.
pub type Keys = Vec<(String, Json)>;

/// A command.
struct Command {
    /// Its name, and its other names.
    names: &'static [&'static str],
    /// Whether it is refused while nobody is served.
    needs_server: bool,
    tell: fn(&Shared, &BTreeMap<String, String>) -> Result<Keys, String>,
}

const fn command(
    names: &'static [&'static str],
    tell: fn(&Shared, &BTreeMap<String, String>) -> Result<Keys, String>,
) -> Command {
    Command {
        names,
        needs_server: true,
        tell,
    }
}

const fn at_any_time(
    names: &'static [&'static str],
    tell: fn(&Shared, &BTreeMap<String, String>) -> Result<Keys, String>,
) -> Command {
    Command {
        needs_server: false,
        ..command(names, tell)
    }
}

/// By name.
#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    command(&["configuration", "conf", "config"], |shared, _| Ok(configuration(shared))),
    command(&["connection_stat_reset", "crst"], |shared, _| { reset_connections(shared); Ok(vec![]) }),
    command(&["connections", "cons"], |shared, _| Ok(conns(shared, false))),
    command(&["dirs"], |shared, _| Ok(dirs(shared))),
    command(&["dump"], |shared, _| Ok(dump(shared))),
    at_any_time(&["environment", "env", "envi"], |_, _| Ok(environment())),
    at_any_time(&["get_trace_mask", "gtmk"], |_, _| Ok(keys([("tracemask", TRACE_MASK.into())]))),
    command(&["hash"], |_, _| Ok(keys([("digests", Json::List(vec![]))]))),
    command(&["initial_configuration", "icfg"], |shared, _| Ok(initial_configuration(shared))),
    command(&["is_read_only", "isro"], |shared, _| Ok(keys([("read_only", is_read_only(shared))]))),
    command(&["last_snapshot", "lsnp"], |shared, _| Ok(last_snapshot(shared))),
    command(&["leader", "lead"], |shared, _| leader(shared)),
    at_any_time(&["monitor", "mntr"], |shared, _| Ok(monitor(shared))),
    command(&["observer_connection_stat_reset", "orst"], |_, _| Ok(vec![])),
    command(&["observers", "obsr"], |shared, _| Ok(observers(shared))),
    command(&["ruok"], |_, _| Ok(vec![])),
    command(&["server_stats", "srvr"], |shared, _| Ok(server_stats(shared))),
    at_any_time(&["set_trace_mask", "stmk"], |_, asked| set_trace_mask(asked)),
    command(&["stat_reset", "srst"], |shared, _| { shared.stats.reset(); Ok(vec![]) }),
    command(&["stats", "stat"], |shared, _| Ok(stats(shared))),
    at_any_time(&["system_properties", "sysp"], |shared, _| Ok(shared.config.effective().map(said).collect())),
    command(&["voting_view"], |shared, _| Ok(voting_view(shared))),
    command(&["watch_summary", "wchs"], |shared, _| Ok(watch_summary(shared))),
    command(&["watches", "wchc"], |shared, _| Ok(watches_by_session(shared))),
    command(&["watches_by_path", "wchp"], |shared, _| Ok(watches_by_path(shared))),
    at_any_time(&["zabstate"], |shared, _| Ok(zabstate(shared))),
];

/// Commands that need rights, which are answered elsewhere: see [`super::guarded`].
const GUARDED: [&str; 4] = ["flight_recorder", "restore", "shed_connections", "snapshot"];

/// The answer to a command of this name, and its status.
#[must_use]
pub fn answer(name: &str, asked: &BTreeMap<String, String>, shared: &Shared) -> (u16, String) {
    let named = |names: &[&str]| names.contains(&name);
    let Some(command) = COMMANDS.iter().find(|command| named(command.names)) else {
        let what = format!("Unknown command: {name}");
        return (200, finished(vec![], name, Some(&what)));
    };
    if command.needs_server && shared.mode() == Mode::NotServing {
        return (200, finished(vec![], name, Some(NOT_SERVING)));
    }
    let primary = command.names[0];
    let text = match (command.tell)(shared, asked) {
        Ok(keys) => finished(keys, primary, None),
        Err(what) => finished(vec![], primary, Some(&what)),
    };
    (200, text)
}

/// An answer with these keys, of the command with this name.
#[must_use]
pub fn finished(mut keys: Keys, name: &str, error: Option<&str>) -> String {
    keys.push(("command".into(), name.into()));
    keys.push(("error".into(), error.map_or(Json::Null, Json::from)));
    Json::Map(keys).text()
}

/// The page of links to all commands, under this path.
#[must_use]
pub fn index(path: &str) -> String {
    let names = COMMANDS.iter().map(|command| command.names[0]);
    let mut names: Vec<&str> = names.chain(GUARDED).collect();
    names.sort_unstable();
    let links = names.into_iter();
    links
        .map(|name| format!("<a href=\"{path}/{name}\">{name}</a>\n<br/>\n"))
        .collect()
}

pub(super) fn keys<const N: usize>(entries: [(&str, Json); N]) -> Keys {
    match map(entries) {
        Json::Map(keys) => keys,
        _ => vec![],
    }
}

fn said((key, value): (String, String)) -> (String, Json) {
    (key, value.into())
}

fn configuration(shared: &Shared) -> Keys {
    let config = &shared.config;
    let (port, secure_port) = ports(config);
    let directory = |dir: &std::path::Path| Json::from(dir.join("version-2").display().to_string());
    let id = if config.is_ensemble() { config.me.0 } else { 0 };
    let mut all = keys([
        ("client_port", port.into()),
        ("data_dir", directory(&config.data_dir)),
        ("data_log_dir", directory(&config.data_log_dir)),
        ("tick_time", config.tick_ms.into()),
        ("max_client_cnxns", config.max_client_cnxns.into()),
        (
            "min_session_timeout",
            i64::from(config.min_session_ms).into(),
        ),
        (
            "max_session_timeout",
            i64::from(config.max_session_ms).into(),
        ),
        ("server_id", id.into()),
        ("client_port_listen_backlog", (-1_i64).into()),
    ]);
    if secure_port >= 0 {
        all.insert(1, ("secure_client_port".into(), secure_port.into()));
    }
    all
}

fn address(host: &str, port: u16) -> String {
    join(host, port)
}

fn of_connection(of: &ConnFacts, brief: bool) -> Json {
    let mut all = keys([
        ("remote_socket_address", of.conn.from.to_string().into()),
        ("interest_ops", 1_i64.into()),
        ("outstanding_requests", of.queued.into()),
        ("packets_received", of.received.into()),
        ("packets_sent", of.sent.into()),
    ]);
    if let Some(session) = of.session.as_ref().filter(|_| !brief) {
        let number = |n: Option<i64>| n.unwrap_or(-1).into();
        all.extend(keys([
            ("session_id", session.id.into()),
            ("last_operation", session.last_operation.into()),
            ("established", of.conn.since_ms.into()),
            ("session_timeout", i64::from(of.conn.timeout_ms()).into()),
            ("last_cxid", number(session.cxid.map(i64::from))),
            ("last_zxid", number(session.zxid.map(u64::cast_signed))),
            ("last_response_time", session.answered_ms.into()),
            ("last_latency", session.last_ms.into()),
            ("min_latency", session.min_ms.into()),
            ("avg_latency", session.mean_ms.into()),
            ("max_latency", session.max_ms.into()),
        ]));
    }
    Json::Map(all)
}

fn conns(shared: &Shared, brief: bool) -> Keys {
    let all = connections(shared);
    let told = |secure: bool| {
        let some = all.iter().filter(|of| of.conn.is_secure() == secure);
        Json::List(some.map(|of| of_connection(of, brief)).collect())
    };
    keys([
        ("connections", told(false)),
        ("secure_connections", told(true)),
    ])
}

fn dirs(shared: &Shared) -> Keys {
    let (data, log) = environment::sizes(&shared.config);
    keys([("datadir_size", data.into()), ("logdir_size", log.into())])
}

/// As a learner of ZooKeeper's tells it: when sessions expire is not listed (D-85).
fn dump(shared: &Shared) -> Keys {
    let mut owners: Vec<_> = {
        let tree = shared.tree();
        let paths = |session| {
            let paths = tree.ephemerals(session);
            let paths: Vec<_> = paths.map(|node| Json::from(node.path())).collect();
            (session.0, Json::List(paths))
        };
        tree.owners().map(paths).collect()
    };
    owners.sort_unstable_by_key(|(session, _)| *session);
    let owners = owners.into_iter();
    let owners = owners.map(|(session, paths)| (session.to_string(), paths));
    keys([
        ("expiry_time_to_session_ids", Json::Map(vec![])),
        ("session_id_to_ephemeral_paths", Json::Map(owners.collect())),
    ])
}

fn environment() -> Keys {
    let entries = environment::entries(VERSION).into_iter();
    entries
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

/// The settings of the start, without its secrets (D-96).
fn initial_configuration(shared: &Shared) -> Keys {
    let lines = shared.config.said.0.iter();
    let text: String = lines
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    keys([("initial_configuration", text.into())])
}

fn is_read_only(shared: &Shared) -> Json {
    (shared.mode() == Mode::ReadOnly).into()
}

fn last_snapshot(shared: &Shared) -> Keys {
    let files = fs::read_dir(shared.config.data_dir.join("version-2"));
    let files = files.into_iter().flatten().filter_map(Result::ok);
    let snapshots = files.filter_map(|file| {
        let name = file.file_name();
        let zxid = name.to_str()?.strip_prefix("snapshot.")?;
        // Behind it, the name says how the file is compressed, or that it is not whole.
        let (zxid, end) = zxid.split_once('.').unwrap_or((zxid, ""));
        if end.ends_with("tmp") {
            return None;
        }
        let zxid = u64::from_str_radix(zxid, 16).ok()?;
        let written = file.metadata().ok()?.modified().ok()?;
        Some((zxid, written.duration_since(UNIX_EPOCH).ok()?.as_secs()))
    });
    match snapshots.max() {
        Some((zxid, written_s)) => keys([
            ("zxid", format!("{zxid:x}").into()),
            ("timestamp", written_s.into()),
        ]),
        None => keys([
            ("zxid", format!("{:x}", -1_i64).into()),
            ("timestamp", (-1_i64).into()),
        ]),
    }
}

fn leader(shared: &Shared) -> Result<Keys, String> {
    let config = &shared.config;
    if !config.is_ensemble() {
        return Err("server is not initialized".into());
    }
    let leader = shared.stats.leader();
    let lists = shared.lists();
    let host = leader.and_then(|leader| lists.member(leader));
    let id = leader.map_or(-1, |leader| leader.0.cast_signed());
    Ok(keys([
        ("is_leader", (shared.mode() == Mode::Leader).into()),
        ("leader_id", id.into()),
        ("leader_ip", host.map_or("", |m| m.host.as_str()).into()),
    ]))
}

fn monitor(shared: &Shared) -> Keys {
    let mode = shared.mode();
    let mut all = keys([
        ("version", VERSION.into()),
        ("server_state", mode_name(mode).into()),
    ]);
    if let Some(state) = peer_state(shared) {
        all.push(("peer_state".into(), state.into()));
    }
    if mode == Mode::Observer
        && let Some(leader) = shared.stats.leader()
    {
        all.push(("observer_master_id".into(), leader.0.into()));
    }
    metrics::flat(&metrics::table(shared), |name, value| {
        let value = match value {
            Flat::Whole(value) => Json::Whole(value),
            Flat::Fraction(value) => Json::Fraction(value),
        };
        all.push((name.to_owned(), value));
    });
    all
}

fn observers(shared: &Shared) -> Keys {
    let learners = match shared.mode() {
        Mode::Leader => lock(&shared.stats.learners).clone(),
        _ => vec![],
    };
    let is_told = |observer: bool, synced: bool| observer && synced;
    let rows: Vec<Json> = learners
        .iter()
        .filter(|l| is_told(l.observer.load(Relaxed), l.synced.load(Relaxed)))
        .map(|learner| {
            map([
                ("remote_socket_address", format!("/{}", learner.from).into()),
                ("sid", learner.sid.load(Relaxed).into()),
                ("established", learner.since_ms.into()),
                ("packets_received", learner.received.load(Relaxed).into()),
            ])
        })
        .collect();
    keys([
        ("synced_observers", rows.len().into()),
        ("observers", Json::List(rows)),
    ])
}

fn sizes([last, min, max]: [i64; 3]) -> Json {
    map([
        ("last_buffer_size", last.into()),
        ("min_buffer_size", min.into()),
        ("max_buffer_size", max.into()),
    ])
}

fn server_stats(shared: &Shared) -> Keys {
    let (facts, counts) = (Facts::of(shared), &shared.stats);
    let (data, log) = environment::sizes(&shared.config);
    let [remote, local] = &counts.plain;
    let responses = || sizes(counts.response_sizes.now());
    let slow = counts.slow_fsyncs.load(Relaxed);
    let latency = facts.latency;
    let stats = map([
        ("packets_sent", facts.sent.into()),
        ("packets_received", facts.received.into()),
        ("fsync_threshold_exceed_count", slow.into()),
        ("client_response_stats", responses()),
        ("provider_null", false.into()),
        ("server_state", mode_name(facts.mode).into()),
        ("outstanding_requests", facts.outstanding.into()),
        ("min_latency", latency.min().into()),
        ("avg_latency", Json::Fraction(latency.mean())),
        ("max_latency", latency.max().into()),
        ("data_dir_size", data.into()),
        ("log_dir_size", log.into()),
        ("last_processed_zxid", facts.zxid.0.into()),
        ("num_alive_client_connections", facts.connections.into()),
        ("auth_failed_count", counts.auth_failed.load(Relaxed).into()),
        ("non_mtlsremote_conn_count", remote.load(Relaxed).into()),
        ("non_mtlslocal_conn_count", local.load(Relaxed).into()),
        ("uptime", shared.elapsed_ms().into()),
    ]);
    let mut all = keys([
        ("version", VERSION.into()),
        ("read_only", is_read_only(shared)),
        ("server_stats", stats),
        ("client_response", responses()),
    ]);
    if let Some(proposals) = facts.proposals {
        all.push(("proposal_stats".into(), sizes(proposals)));
    }
    all.push(("node_count".into(), facts.nodes.into()));
    all
}

fn stats(shared: &Shared) -> Keys {
    let mut all = server_stats(shared);
    all.extend(conns(shared, true));
    all
}

fn set_trace_mask(asked: &BTreeMap<String, String>) -> Result<Keys, String> {
    let what = "setTraceMask requires long traceMask argument";
    let value = asked.get("traceMask").ok_or(what)?;
    let mask: i64 = value.parse().map_err(|_| format!("{what}, got {value}"))?;
    Ok(keys([("tracemask", mask.into())]))
}

fn voting_view(shared: &Shared) -> Keys {
    let active = &shared.lists().active;
    let voters = active.voters.iter();
    let told = |sid: ServerId| Some((sid.to_string(), member(sid, active.list.get(&sid)?, shared)));
    let voters = voters.filter_map(told).collect();
    keys([("current_config", Json::Map(voters))])
}

pub(super) fn client_address(sid: ServerId, member: &Member, shared: &Shared) -> String {
    let own = (sid == shared.config.me).then_some(shared.config.client.as_ref());
    let listen = member.client.as_ref().or(own.flatten());
    listen.map_or_else(String::new, |listen| listen.to_addr())
}

fn member(sid: ServerId, member: &Member, shared: &Shared) -> Json {
    let at = |port| Json::List(vec![address(&member.host, port).into()]);
    let role = match member.role {
        MemberRole::Participant => "participant",
        MemberRole::Observer => "observer",
    };
    map([
        ("server_addresses", at(member.quorum_port)),
        ("election_addresses", at(member.election_port)),
        ("client_address", client_address(sid, member, shared).into()),
        ("learner_type", role.into()),
    ])
}

fn zabstate(shared: &Shared) -> Keys {
    let config = &shared.config;
    let Some(own) = &config.own else {
        return keys([("voting", false.into()), ("zabstate", "".into())]);
    };
    let zxid = shared.tree().last_zxid();
    keys([
        ("myid", config.me.0.into()),
        ("is_leader", (shared.mode() == Mode::Leader).into()),
        ("quorum_address", addresses(&own.host, own.quorum_port)),
        ("election_address", addresses(&own.host, own.election_port)),
        (
            "client_address",
            client_address(config.me, own, shared).into(),
        ),
        ("voting", shared.lists().has_vote(config.me).into()),
        ("last_zxid", zxid.to_string().into()),
        ("zab_epoch", (zxid.0 >> 32).into()),
        ("zab_counter", (zxid.0 & 0xffff_ffff).into()),
        ("zabstate", phase_name(shared.stats.phase()).into()),
    ])
}

/// A port between servers as ZooKeeper tells one that may have several addresses; here each has one.
fn addresses(host: &str, port: u16) -> Json {
    let one = || Json::from(address(host, port));
    let list = || Json::List(vec![one()]);
    map([
        ("empty", false.into()),
        ("all_addresses", list()),
        (
            "wildcard_addresses",
            Json::List(vec![address("0.0.0.0", port).into()]),
        ),
        ("all_ports", Json::List(vec![i64::from(port).into()])),
        ("all_host_strings", Json::List(vec![host.into()])),
        ("reachable_address", one()),
        ("all_reachable_addresses", list()),
        ("all_reachable_addresses_or_all", list()),
        ("reachable_or_one", one()),
        ("one", one()),
    ])
}

fn watch_summary(shared: &Shared) -> Keys {
    let summary = watches::counted(shared);
    keys([
        ("num_connections", summary.sessions.into()),
        ("num_paths", summary.paths.into()),
        ("num_total_watches", summary.watches.into()),
    ])
}

fn listed<K: Display, V>(
    rows: impl IntoIterator<Item = (K, Vec<V>)>,
    told: impl Fn(&V) -> Json,
) -> Json {
    let rows = rows.into_iter();
    let rows = rows.map(|(key, values)| {
        let values = values.iter().map(&told).collect();
        (key.to_string(), Json::List(values))
    });
    Json::Map(rows.collect())
}

fn watches_by_session(shared: &Shared) -> Keys {
    let rows = watches::sessions(shared).into_iter();
    let rows = rows.map(|(session, paths)| (session.0, paths.into_iter().collect()));
    let told = listed(rows, |path: &std::sync::Arc<str>| Json::from(&**path));
    keys([("session_id_to_watched_paths", told)])
}

fn watches_by_path(shared: &Shared) -> Keys {
    let rows = watches::paths(shared).into_iter();
    let rows = rows.map(|(path, sessions)| (path, sessions.into_iter().collect()));
    let told = listed(rows, |session: &zabra_model::ids::SessionId| {
        session.0.into()
    });
    keys([("path_to_session_ids", told)])
}
