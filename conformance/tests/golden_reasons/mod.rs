//! Metrics of ZooKeeper that are not here, and why: for the answers over HTTP and for those of the words.

/// Fields that are not there: of which command, and why. One that is there after all is an error, too.
const ABSENT: &[(&str, &str, &str)] = &[
    (
        "monitor",
        "insecure_admin_count",
        "the port of commands has no TLS",
    ),
    (
        "monitor",
        "ensemble_auth_skip",
        "without names nothing is counted",
    ),
    (
        "monitor",
        "netty_queued_buffer_capacity",
        "a buffer of Java's",
    ),
    (
        "monitor",
        "jvm_pause_time_ms",
        "there is no virtual machine",
    ),
];

/// Parts of the names of metrics about stages inside Java's server, its caches, its cleaners and its queues to learners (D-97).
#[rustfmt::skip]
const STAGES: [&str; 22] = [
    "prep_process_time", "sync_process_time", "sync_processor_queue_time_ms", "sync_processor_queue_flush", "commit_process", "commit_proc",
    "commitproc", "final_proc", "session_queue", "outstanding_changes", "proposal_process", "dead_watcher", "response_packet",
    "learner_handler", "learner_request",
    "om_proposal", "om_commit", "_per_namespace", "write_committed", "close_session_prep", "socket_closing", "requests_not_forwarded",
];

/// Whether a field of this command over HTTP may be absent. `mntr` tells the same as `monitor`.
pub(super) fn has_reason(command: &str, key: &str) -> bool {
    let is_stage = STAGES.iter().any(|part| key.contains(part)) || key.contains("skip_learner");
    let is_time = key.contains("time_waiting_empty") || key.contains("write_batch_time");
    let base = key
        .split_once('_')
        .map_or(key, |(begin, rest)| match begin {
            "avg" | "min" | "max" | "cnt" | "sum" | "p50" | "p95" | "p99" | "p999" => rest,
            _ => key,
        });
    let listed = |(of, name, _): &&(&str, &str, &str)| *of == command && *name == base;
    command == "monitor" && (is_stage || is_time) || ABSENT.iter().any(|row| listed(&row))
}
