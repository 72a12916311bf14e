//! Four-letter words: plain text as ZooKeeper prints it, for people and for tools that parse it.

use super::{environment, sessions, watches};
use crate::client::conn::Conn;
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use crate::config::Listen;
use crate::wire::four_letter::FourLetter;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
/// Monitoring tools look for a ZooKeeper version; this is the one whose behaviour is followed.
const VERSION: &str = concat!(
    "3.9.5-zabra-",
    env!("CARGO_PKG_VERSION"),
    ", built on unknown"
);
/// ZooKeeper's default mask of what its log traces. Nothing here reads one.
const TRACE_MASK: &str = "306";

/// The whole answer.
#[must_use]
pub fn answer(word: FourLetter, shared: &Shared) -> String {
    if word == FourLetter::TelnetInterrupt {
        return String::new();
    }
    let name = word.word();
    if !shared.config.whitelist.has(name) {
        return format!("{name} is not executed because it is not in the whitelist.\n");
    }
    let mode = shared.mode();
    match word {
        FourLetter::Ruok => "imok".into(),
        FourLetter::Envi => environment::envi(VERSION),
        FourLetter::Conf => conf(shared),
        FourLetter::Isro => match mode {
            Mode::NotServing => "null".into(),
            Mode::ReadOnly => "ro".into(),
            Mode::Standalone | Mode::Follower | Mode::Observer | Mode::Leader => "rw".into(),
        },
        _ if mode == Mode::NotServing => NOT_SERVING.into(),
        FourLetter::Srvr => srvr(shared, mode, None),
        FourLetter::Stat => {
            let clients = lines_of(shared, |conn| {
                format!(
                    " /{}[1](queued=0,recved={},sent={})\n",
                    conn.from,
                    conn.received.load(Relaxed),
                    conn.sent.load(Relaxed)
                )
            });
            srvr(shared, mode, Some(&clients))
        }
        FourLetter::Mntr => mntr(shared, mode),
        FourLetter::Cons => {
            let mut text = lines_of(shared, cons_line);
            text.push('\n');
            text
        }
        FourLetter::Crst => {
            for conn in conns(shared) {
                conn.received.store(0, Relaxed);
                conn.sent.store(0, Relaxed);
            }
            "Connection stats reset.\n".into()
        }
        FourLetter::Srst => {
            shared.stats.received.store(0, Relaxed);
            shared.stats.sent.store(0, Relaxed);
            "Server stats reset.\n".into()
        }
        FourLetter::Dirs => environment::dirs(&shared.config),
        FourLetter::Wchs => watches::summary(shared),
        FourLetter::Wchc => watches::by_session(shared),
        FourLetter::Wchp => watches::by_path(shared),
        FourLetter::Gtmk => TRACE_MASK.into(),
        FourLetter::Dump => sessions::dump(shared),
        FourLetter::Hash | FourLetter::Stmk => {
            format!("{name} is not available in this server.\n")
        }
        FourLetter::TelnetInterrupt => String::new(),
    }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::NotServing => "looking",
        Mode::Standalone => "standalone",
        Mode::Follower => "follower",
        Mode::Leader => "leader",
        Mode::Observer => "observer",
        Mode::ReadOnly => "read-only",
    }
}

fn conns(shared: &Shared) -> Vec<Arc<Conn>> {
    lock(&shared.hub).conns.values().cloned().collect()
}

fn lines_of(shared: &Shared, line: impl Fn(&Conn) -> String) -> String {
    let mut all = conns(shared);
    all.sort_by_key(|conn| conn.id);
    all.iter().map(|conn| line(conn)).collect()
}

fn cons_line(conn: &Conn) -> String {
    let (received, sent) = (conn.received.load(Relaxed), conn.sent.load(Relaxed));
    let session = conn.session();
    if session.0 == 0 {
        return format!(
            " /{}[0](queued=0,recved={received},sent={sent})\n",
            conn.from
        );
    }
    format!(
        " /{}[1](queued=0,recved={received},sent={sent},sid={session},est={},to={})\n",
        conn.from,
        conn.since_ms,
        conn.timeout_ms()
    )
}

fn srvr(shared: &Shared, mode: Mode, clients: Option<&str>) -> String {
    let (zxid, nodes) = {
        let tree = shared.tree();
        // ZooKeeper counts the root twice.
        (tree.last_zxid(), tree.len() + 1)
    };
    let stats = &shared.stats;
    let (min, avg, max) = latency(shared);
    let mut text = format!("Zookeeper version: {VERSION}\n");
    if mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if let Some(clients) = clients {
        let _ = write!(text, "Clients:\n{clients}\n");
    }
    let _ = write!(
        text,
        "Latency min/avg/max: {min}/{avg:.1}/{max}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {zxid}\nMode: {}\nNode count: {nodes}\n",
        stats.received.load(Relaxed),
        stats.sent.load(Relaxed),
        lock(&shared.hub).conns.len(),
        stats.outstanding.load(Relaxed),
        mode_name(mode),
    );
    if mode == Mode::Leader {
        let shown = |size: u64| {
            if size == 0 {
                -1
            } else {
                i64::try_from(size).unwrap_or(i64::MAX)
            }
        };
        let _ = writeln!(
            text,
            "Proposal sizes last/min/max: {}/{}/{}",
            shown(stats.proposal_last.load(Relaxed)),
            shown(stats.proposal_min.load(Relaxed)),
            shown(stats.proposal_max.load(Relaxed)),
        );
    }
    text
}

/// Of writes, in ms: least, mean, greatest.
fn latency(shared: &Shared) -> (u64, f64, u64) {
    let stats = &shared.stats;
    let count = stats.latency_count.load(Relaxed).max(1);
    let mean = stats.latency_total_ms.load(Relaxed) as f64 / count as f64;
    let min = stats.latency_min_ms.load(Relaxed).saturating_sub(1);
    (min, mean, stats.latency_max_ms.load(Relaxed))
}

fn mntr(shared: &Shared, mode: Mode) -> String {
    let (nodes, bytes, ephemerals, sessions) = {
        let tree = shared.tree();
        (
            tree.len() + 1,
            tree.data_bytes(),
            tree.ephemeral_count(),
            tree.sessions().len(),
        )
    };
    let stats = &shared.stats;
    let (min, avg, max) = latency(shared);
    let mut text = String::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "zk_{key}\t{value}");
    };
    put("version", &VERSION);
    put("server_state", &mode_name(mode));
    if mode != Mode::Standalone && mode != Mode::ReadOnly {
        let doing = if mode == Mode::Leader {
            "leading"
        } else {
            "following"
        };
        put("peer_state", &format!("{doing} - broadcast"));
    }
    put("ephemerals_count", &ephemerals);
    put("num_alive_connections", &lock(&shared.hub).conns.len());
    put("avg_latency", &format!("{avg:.1}"));
    put("min_latency", &min);
    put("max_latency", &max);
    put("outstanding_requests", &stats.outstanding.load(Relaxed));
    put("znode_count", &nodes);
    put("global_sessions", &sessions);
    put("local_sessions", &stats.local_sessions.load(Relaxed));
    put("packets_sent", &stats.sent.load(Relaxed));
    put("packets_received", &stats.received.load(Relaxed));
    put("approximate_data_size", &bytes);
    put("uptime", &shared.elapsed_ms());
    put("connection_rejected", &stats.rejected.load(Relaxed));
    put("commit_count", &stats.commits.load(Relaxed));
    put("proposal_count", &stats.proposals.load(Relaxed));
    put("snap_count", &stats.snapshots.load(Relaxed));
    put("snap_failed_count", &stats.snapshots_failed.load(Relaxed));
    put("disk_full", &u8::from(stats.disk_full.load(Relaxed) > 0));
    for (key, count) in [
        ("throttled_ops", &stats.throttled_ops),
        ("stale_requests", &stats.stale_requests),
        ("stale_requests_dropped", &stats.stale_requests_dropped),
        ("large_requests_rejected", &stats.large_requests_rejected),
    ] {
        put(key, &count.load(Relaxed));
    }
    put("looking_count", &stats.elections.load(Relaxed));
    if mode != Mode::Standalone && mode != Mode::ReadOnly {
        put("quorum_size", &shared.lists().active.list.len());
    }
    text
}

fn conf(shared: &Shared) -> String {
    let config = &shared.config;
    let port = |listen: Option<&Listen>| listen.map_or(-1, |l| i32::from(l.port));
    let (data_bytes, log_bytes) = environment::sizes(config);
    let mut text = format!(
        "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={data_bytes}\ndataLogDir={}\ndataLogSize={log_bytes}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog=-1\nserverId={}\n",
        port(config.client.as_ref()),
        port(config.tls.as_ref().and_then(|tls| tls.listen.as_ref())),
        config.data_dir.join("version-2").display(),
        config.data_log_dir.join("version-2").display(),
        config.tick_ms,
        config.max_client_cnxns,
        config.min_session_ms,
        config.max_session_ms,
        if config.is_ensemble() { config.me.0 } else { 0 },
    );
    if let Some(own) = &config.own {
        let lists = shared.lists();
        let peer_type = u8::from(lists.observes(config.me));
        let _ = write!(
            text,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={peer_type}\nmembership: \n{}",
            config.init_limit,
            config.sync_limit,
            own.election_port,
            own.quorum_port,
            lists.active.text(),
        );
    }
    text
}
