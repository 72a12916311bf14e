//! What strangers may send, and what lies in files, as functions of any bytes: each either gives a value or says what is wrong with
//! the bytes, and neither panics nor takes more memory than the bytes are worth.
//!
//! Coverage-guided fuzzing (`conformance/fuzz/`, `cargo xtask fuzz`) calls these functions for as long as one likes;
//! `conformance/tests/fuzz.rs` calls them with damaged copies of good input in every commit. Where a value can be written again, it
//! must be read back as the same value.

pub mod clients;
pub mod files;
pub mod golden;
pub mod peers;
pub mod requests;
pub mod server;
pub mod tls;

/// A function of any bytes.
pub struct Target {
    /// Also that of its file in `conformance/fuzz/fuzz_targets/`.
    pub name: &'static str,
    /// Panics where something must not be.
    pub run: fn(&[u8]),
    /// Good input to begin with.
    pub good: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), good: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, good }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("client_stream", clients::stream, clients::good_streams),
    target("client_record", clients::record, clients::good_records),
    target("client_reply", clients::reply, clients::good_replies),
    target("sasl_token", clients::sasl_token, clients::good_tokens),
    target("whole_server", server::whole, server::good),
    target("requests", requests::requests, requests::good),
    target("tls_stream", tls::stream, tls::good),
    target("quorum_stream", peers::quorum, peers::good_quorum),
    target("election_stream", peers::election, peers::good_election),
    target(
        "configuration",
        files::configuration,
        files::good_configurations,
    ),
    target("jaas_file", files::jaas, files::good_jaas),
    target("transaction", files::transaction, files::good_transactions),
    target("log_file", files::log, files::good_logs),
    target("snapshot_file", files::snapshot, files::good_snapshots),
    target("flight_file", files::flight, files::good_flights),
];
