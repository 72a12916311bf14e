//! What is measured, as one table of names and values: the word `mntr`, the command `monitor` and the exporter are written from it.
//!
//! Names and kinds are ZooKeeper's, so that dashboards and alerts that know ZooKeeper know this server. What ZooKeeper measures inside
//! its own stages has no counterpart and is not listed.

use super::environment;
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use crate::client::stats::Stats;
use crate::client::summary::{Summary, Summed, Timed, Times};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::ids::ServerId;
use zabra_model::tree::quota::Namespace;

/// A value with what kind of value it is.
#[derive(Clone, Debug)]
pub enum Value {
    /// What rises and falls.
    Gauge(i64),
    /// What rises and falls, and is no whole number.
    Fraction(f64),
    /// What only rises, but for `srst`.
    Counter(u64),
    /// A summary of values.
    Summary(Summed),
    /// A summary of times with quantiles.
    Times(Timed),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Metric {
    /// ZooKeeper's name of it.
    pub name: &'static str,
    /// Of which member of a set it is, as a server's id, or the first name of a path.
    pub key: Option<String>,
    /// What it is now.
    pub value: Value,
}

/// The quantiles of a summary, in thousandths.
pub const QUANTILES: [(u64, &str); 4] = [(500, "p50"), (950, "p95"), (990, "p99"), (999, "p999")];

/// The table while it is gathered.
struct Table(Vec<Metric>);

impl Table {
    fn put(&mut self, name: &'static str, value: Value) {
        let key = None;
        self.0.push(Metric { name, key, value });
    }

    fn gauge(&mut self, name: &'static str, value: impl TryInto<i64>) {
        self.put(name, Value::Gauge(value.try_into().unwrap_or(i64::MAX)));
    }

    fn counts(&mut self, counts: &[(&'static str, &AtomicU64)]) {
        for (name, count) in counts {
            self.put(name, Value::Counter(count.load(Relaxed)));
        }
    }

    /// What does not come to pass here, and is told because alerts ask for it.
    fn never(&mut self, names: &[&'static str]) {
        names
            .iter()
            .for_each(|name| self.put(name, Value::Counter(0)));
    }

    fn summaries(&mut self, summaries: &[(&'static str, &Summary)]) {
        for (name, summary) in summaries {
            self.put(name, Value::Summary(summary.now()));
        }
    }

    fn times(&mut self, times: &[(&'static str, &Times)]) {
        for (name, times) in times {
            self.put(name, Value::Times(times.now(None)));
        }
    }
}

/// Times of all requests of clients of this server, ms.
#[must_use]
pub fn latency(stats: &Stats) -> Summed {
    stats.reads().all.with(stats.updates.now(None).all)
}

/// The table as of now.
#[must_use]
pub fn table(shared: &Shared) -> Vec<Metric> {
    let mut table = Table(Vec::with_capacity(160));
    let mode = shared.mode();
    gauges(shared, &mut table);
    if mode == Mode::Leader {
        leader(shared, &mut table);
    }
    if shared.config.is_ensemble() {
        let lists = shared.lists();
        table.gauge("quorum_size", lists.active.voters.iter().count());
    }
    quotas(shared, &mut table);
    refused_by_quotas(&shared.stats, &mut table);
    traffic(&shared.stats, &mut table);
    protocol(&shared.stats, &mut table);
    storage(&shared.stats, &mut table);
    table.0
}

fn gauges(shared: &Shared, table: &mut Table) {
    let stats = &shared.stats;
    {
        let tree = shared.tree();
        table.gauge("ephemerals_count", tree.ephemeral_count());
        // ZooKeeper counts the root twice.
        table.gauge("znode_count", tree.len() + 1);
        table.gauge("global_sessions", tree.sessions().len());
        table.gauge("approximate_data_size", tree.data_bytes());
    }
    let (connections, watches) = {
        let hub = lock(&shared.hub);
        (hub.conns.len(), hub.watches.len())
    };
    table.gauge("num_alive_connections", connections);
    table.gauge("watch_count", watches);
    let latency = latency(stats);
    table.put("avg_latency", Value::Fraction(latency.mean()));
    table.gauge("min_latency", latency.min());
    table.gauge("max_latency", latency.max());
    table.gauge("packets_received", stats.sum(|stripe| &stripe.received));
    table.gauge("packets_sent", stats.sum(|stripe| &stripe.sent));
    table.gauge("outstanding_requests", stats.outstanding.load(Relaxed));
    table.gauge("local_sessions", stats.local_sessions.load(Relaxed));
    table.gauge("uptime", shared.elapsed_ms());
    table.gauge("auth_failed_count", stats.auth_failed.load(Relaxed));
    let handshakes = stats.handshakes.load(Relaxed);
    table.gauge("outstanding_tls_handshake", handshakes);
    let [remote, local] = &stats.plain;
    table.gauge("non_mtls_remote_conn_count", remote.load(Relaxed));
    table.gauge("non_mtls_local_conn_count", local.load(Relaxed));
    let drop = shared.door.drop_probability();
    table.put("connection_drop_probability", Value::Fraction(drop));
    let sizes = stats.response_sizes.now();
    for (name, size) in [
        "last_client_response_size",
        "min_client_response_size",
        "max_client_response_size",
    ]
    .into_iter()
    .zip(sizes)
    {
        table.gauge(name, size);
    }
    if let Some((open, max)) = environment::descriptors() {
        table.gauge("open_file_descriptor_count", open);
        table.gauge("max_file_descriptor_count", max);
    }
    let slow = stats.slow_fsyncs.load(Relaxed);
    table.gauge("fsync_threshold_exceed_count", slow);
    table.gauge("disk_full", u8::from(stats.disk_full.load(Relaxed) > 0));
}

/// Of more quotas than this nobody is told: the tree is looked at meanwhile.
const QUOTAS_MAX: usize = 1000;

/// A figure of what quotas allow and hold.
type Figure = fn(&Namespace) -> i64;

fn quotas(shared: &Shared, table: &mut Table) {
    let all = shared.tree().quotas_by_namespace(QUOTAS_MAX);
    let rows: [(&'static str, Figure); 4] = [
        ("quota_count_limit_per_namespace", |of| {
            of.count_limit.unwrap_or(-1)
        }),
        ("quota_bytes_limit_per_namespace", |of| {
            of.bytes_limit.unwrap_or(-1)
        }),
        ("quota_count_usage_per_namespace", |of| of.count),
        ("quota_bytes_usage_per_namespace", |of| of.bytes),
    ];
    for (name, figure) in rows {
        for (namespace, sums) in &all {
            let key = Some(namespace.to_string());
            let value = Value::Gauge(figure(sums));
            table.0.push(Metric { name, key, value });
        }
    }
}

fn refused_by_quotas(stats: &Stats, table: &mut Table) {
    for (namespace, count) in lock(&stats.quota_refused).iter() {
        table.0.push(Metric {
            name: "quota_exceeded_error_per_namespace",
            key: Some(namespace.to_string()),
            value: Value::Counter(*count),
        });
    }
}

fn leader(shared: &Shared, table: &mut Table) {
    let stats = &shared.stats;
    let learners = lock(&stats.learners).clone();
    let lists = shared.lists();
    let votes = |sid: u64| lists.has_vote(ServerId(sid));
    let synced = |observer: bool, voter: bool| {
        learners.iter().filter(move |learner| {
            let is_voter = votes(learner.sid.load(Relaxed));
            let is_observer = learner.observer.load(Relaxed);
            learner.synced.load(Relaxed)
                && is_observer == observer
                && (observer || is_voter == voter)
        })
    };
    table.gauge("learners", learners.len());
    table.gauge("synced_followers", synced(false, true).count());
    let without_vote = synced(false, false).count();
    table.gauge("synced_non_voting_followers", without_vote);
    table.gauge("synced_observers", synced(true, false).count());
    table.gauge("pending_syncs", stats.pending_syncs.load(Relaxed));
    let since_ms = stats.leads_since_ms.load(Relaxed);
    let leads_ms = shared.elapsed_ms().saturating_sub(since_ms);
    table.gauge("leader_uptime", leads_ms);
    let [last, min, max] = stats.proposal_sizes.now();
    table.gauge("last_proposal_size", last);
    table.gauge("min_proposal_size", min);
    table.gauge("max_proposal_size", max);
    for learner in learners.iter().filter(|l| !l.observer.load(Relaxed)) {
        table.0.push(Metric {
            name: "ack_latency",
            key: Some(learner.sid.load(Relaxed).to_string()),
            value: Value::Times(learner.acks.now(None)),
        });
    }
}

fn traffic(stats: &Stats, table: &mut Table) {
    let received = stats.sum(|stripe| &stripe.received_bytes);
    let watched = stats.sum(|stripe| &stripe.watch_bytes);
    let sent = stats.sum(|stripe| &stripe.sent_bytes);
    table.put("bytes_received_count", Value::Counter(received));
    table.put("watch_bytes", Value::Counter(watched));
    let responses = sent.saturating_sub(watched);
    table.put("response_bytes", Value::Counter(responses));
    table.put("readlatency", Value::Times(stats.reads()));
    table.times(&[
        ("updatelatency", &stats.updates),
        ("propagation_latency", &stats.propagation),
        ("request_throttle_queue_time_ms", &stats.throttle_times),
    ]);
    let [created, deleted, changed, children] = &stats.fired;
    table.summaries(&[
        ("node_created_watch_count", created),
        ("node_deleted_watch_count", deleted),
        ("node_changed_watch_count", changed),
        ("node_children_watch_count", children),
        ("connection_token_deficit", &stats.token_deficit),
    ]);
    let [failed, passed] = &stats.ensemble_auth;
    table.counts(&[
        ("connection_request_count", &stats.connect_requests),
        ("connection_rejected", &stats.rejected),
        ("connection_drop_count", &stats.dropped),
        ("connection_revalidate_count", &stats.revalidations_asked),
        ("revalidate_count", &stats.revalidations),
        (
            "sessionless_connections_expired",
            &stats.sessionless_expired,
        ),
        ("stale_sessions_expired", &stats.sessions_expired),
        ("cnxn_closed_without_zk_server_running", &stats.not_serving),
        ("throttled_ops", &stats.throttled_ops),
        ("request_throttle_wait_count", &stats.throttle_waits),
        ("stale_requests", &stats.stale_requests),
        ("stale_requests_dropped", &stats.stale_requests_dropped),
        ("large_requests_rejected", &stats.large_requests_rejected),
        ("slow_requests", &stats.slow_requests),
        ("unsuccessful_handshake", &stats.handshakes_failed),
        ("tls_handshake_exceeded", &stats.handshakes_displaced),
        ("ensemble_auth_success", passed),
        ("ensemble_auth_fail", failed),
    ]);
    // A reply is written for a connection that is there, or not at all.
    table.never(&["stale_replies"]);
    let mut all = 0;
    for (name, count) in stats.operations() {
        all += count;
        let name = OPERATION_COUNTS.iter().find(|(of, _)| *of == name);
        if let Some((_, name)) = name {
            table.put(name, Value::Counter(count));
        }
    }
    table.put("op_count_total", Value::Counter(all));
}

/// The names of the counts of operations.
#[rustfmt::skip]
const OPERATION_COUNTS: [(&str, &str); 23] = [
    ("add_watch", "op_count_add_watch"),
    ("check", "op_count_check"),
    ("check_watches", "op_count_check_watches"),
    ("close_session", "op_count_close_session"),
    ("create", "op_count_create"),
    ("create_session", "op_count_create_session"),
    ("delete", "op_count_delete"),
    ("exists", "op_count_exists"),
    ("get_acl", "op_count_get_acl"),
    ("get_all_children_number", "op_count_get_all_children_number"),
    ("get_children", "op_count_get_children"),
    ("get_data", "op_count_get_data"),
    ("get_ephemerals", "op_count_get_ephemerals"),
    ("multi", "op_count_multi"),
    ("multi_read", "op_count_multi_read"),
    ("ping", "op_count_ping"),
    ("reconfig", "op_count_reconfig"),
    ("remove_watches", "op_count_remove_watches"),
    ("set_acl", "op_count_set_acl"),
    ("set_data", "op_count_set_data"),
    ("set_watches", "op_count_set_watches"),
    ("sync", "op_count_sync"),
    ("who_am_i", "op_count_who_am_i"),
];

fn protocol(stats: &Stats, table: &mut Table) {
    let [follower, observer] = &stats.sync_times;
    let [snaps, diffs] = &stats.syncs;
    table.counts(&[
        ("proposal_count", &stats.proposals),
        ("commit_count", &stats.commits),
        ("learner_proposal_received_count", &stats.learner_proposals),
        ("learner_commit_received_count", &stats.learner_commits),
        ("diff_count", &stats.diffs),
        ("snap_count", &stats.snaps),
        ("looking_count", &stats.elections),
        // Each request that is prepared becomes a transaction, and what is committed is applied behind it.
        ("prep_processor_request_queued", &stats.proposals),
        ("sync_processor_request_queued", &stats.sync_queued),
        ("request_commit_queued", &stats.commits),
    ]);
    // A leader that a voter is disloyal to gives that voter up, and leads on while it has a quorum.
    table.never(&["quit_leading_due_to_disloyal_voter"]);
    table.summaries(&[
        ("election_time", &stats.election_time),
        ("unavailable_time", &stats.unavailable_time),
        ("leader_unavailable_time", &stats.leader_unavailable_time),
        ("follower_sync_time", follower),
        ("observer_sync_time", observer),
        ("inflight_snap_count", snaps),
        ("inflight_diff_count", diffs),
        ("prep_processor_queue_size", &stats.prep_batches),
        ("sync_processor_queue_size", &stats.sync_waiting),
        ("sync_processor_batch_size", &stats.sync_batches),
    ]);
    table.times(&[
        ("proposal_latency", &stats.proposal_latency),
        (
            "proposal_ack_creation_latency",
            &stats.proposal_ack_creation,
        ),
        ("commit_propagation_latency", &stats.commit_propagation),
        ("quorum_ack_latency", &stats.quorum_ack),
        ("prep_processor_queue_time_ms", &stats.prep_waits),
        ("sync_processor_queue_and_flush_time_ms", &stats.sync_waits),
    ]);
}

fn storage(stats: &Stats, table: &mut Table) {
    table.summaries(&[
        ("fsynctime", &stats.fsync_time),
        ("snapshottime", &stats.snapshot_time),
        ("restore_time", &stats.restore_time),
        ("dbinittime", &stats.db_init_time),
        ("startup_snap_load_time", &stats.startup_snap_time),
        ("startup_txns_load_time", &stats.startup_txns_time),
        ("startup_txns_loaded", &stats.startup_txns),
    ]);
    table.counts(&[
        ("snapshot_error_count", &stats.snapshots_failed),
        ("snapshot_rate_limited_count", &stats.snapshots_limited),
        ("restore_error_count", &stats.restores_failed),
        ("restore_rate_limited_count", &stats.restores_limited),
        ("digest_mismatches_count", &stats.digest_mismatches),
    ]);
    // What cannot be mended ends the server.
    table.never(&["unrecoverable_error_count"]);
}

/// Writes the table as ZooKeeper's own provider names what is in a summary: the name behind `avg_`, `min_`, `max_`, `cnt_`, `sum_` and
/// `p50_` to `p999_`, and the key of a set before the name.
pub fn flat(table: &[Metric], mut tell: impl FnMut(&str, Flat)) {
    for Metric { name, key, value } in table {
        let name = match key {
            Some(key) => format!("{key}_{name}"),
            None => (*name).to_owned(),
        };
        match value {
            Value::Gauge(value) => tell(&name, Flat::Whole(*value)),
            Value::Fraction(value) => tell(&name, Flat::Fraction(*value)),
            Value::Counter(count) => tell(&name, whole(*count)),
            Value::Summary(summed) => summary(&name, *summed, &mut tell),
            Value::Times(timed) => {
                summary(&name, timed.all, &mut tell);
                for (of_thousand, quantile) in QUANTILES {
                    let value = whole(timed.quantile(of_thousand));
                    tell(&format!("{quantile}_{name}"), value);
                }
            }
        }
    }
}

/// A number as it is printed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Flat {
    /// Without a point.
    Whole(i64),
    /// With one.
    Fraction(f64),
}

impl std::fmt::Display for Flat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Fraction(value) => write!(f, "{value:?}"),
        }
    }
}

fn whole(value: u64) -> Flat {
    Flat::Whole(i64::try_from(value).unwrap_or(i64::MAX))
}

fn summary(name: &str, of: Summed, tell: &mut impl FnMut(&str, Flat)) {
    tell(&format!("avg_{name}"), Flat::Fraction(of.mean()));
    tell(&format!("min_{name}"), whole(of.min()));
    tell(&format!("max_{name}"), whole(of.max()));
    tell(&format!("cnt_{name}"), whole(of.count));
    tell(&format!("sum_{name}"), whole(of.sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ZooKeeper 3.9.5 prints `mntr`: one value of 2 ms, and three of a member.
    #[test]
    fn a_summary_is_told_by_the_names_of_zookeepers_own_provider() {
        let times = Times::default();
        times.add(2);
        let sizes = Summary::new();
        [0, 0, 1].into_iter().for_each(|size| sizes.add(size));
        let row = |name, key: Option<&str>, value| Metric {
            name,
            key: key.map(str::to_owned),
            value,
        };
        let table = [
            row("updatelatency", None, Value::Times(times.now(None))),
            row("fsynctime", None, Value::Summary(sizes.now())),
            row("ack_latency", Some("7"), Value::Times(times.now(None))),
            row("avg_latency", None, Value::Fraction(2.0)),
            row("last_proposal_size", None, Value::Gauge(-1)),
        ];
        let mut lines = Vec::new();
        flat(&table, |name, value| lines.push(format!("{name} {value}")));
        let told = lines.join("\n");
        assert!(
            told.starts_with(
                "avg_updatelatency 2.0\nmin_updatelatency 2\nmax_updatelatency 2\ncnt_updatelatency 1\nsum_updatelatency 2\n\
                 p50_updatelatency 2\np95_updatelatency 2\np99_updatelatency 2\np999_updatelatency 2\n\
                 avg_fsynctime 0.3333\nmin_fsynctime 0\nmax_fsynctime 1\ncnt_fsynctime 3\nsum_fsynctime 1\n\
                 avg_7_ack_latency 2.0\n"
            ),
            "{told}"
        );
        assert!(
            told.ends_with("\navg_latency 2.0\nlast_proposal_size -1"),
            "{told}"
        );
    }

    #[test]
    fn every_operation_that_is_counted_has_a_name() {
        let names = OPERATION_COUNTS.iter().map(|(of, _)| *of);
        assert!(names.eq(crate::client::operation::OPERATIONS));
        for (of, name) in OPERATION_COUNTS {
            assert_eq!(name, format!("op_count_{of}"));
        }
    }
}
