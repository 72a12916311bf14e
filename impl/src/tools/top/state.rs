//! What is on the screen.

use super::gather::{Client, Seen};

/// By what clients are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    Requests,
    Waiting,
    Latency,
}

impl Sort {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Waiting => "requests that wait",
            Self::Latency => "latency",
        }
    }

    pub(super) const fn next(self) -> Self {
        match self {
            Self::Requests => Self::Waiting,
            Self::Waiting => Self::Latency,
            Self::Latency => Self::Requests,
        }
    }
}

/// What is on the screen.
pub(super) struct State {
    pub(super) servers: Vec<Seen>,
    /// Oldest first.
    pub(super) events: Vec<String>,
    pub(super) time: String,
    pub(super) sort: Sort,
    pub(super) is_paused: bool,
}

/// The clients of all servers, the busiest first.
pub(super) fn sorted(servers: &[Seen], sort: Sort) -> Vec<&Client> {
    let mut all: Vec<&Client> = servers.iter().flat_map(|seen| &seen.clients).collect();
    let rate = |client: &Client| (client.requests_per_second.unwrap_or(0.0) * 1000.0) as u64;
    all.sort_by_key(|client| {
        let first = match sort {
            Sort::Requests => rate(client),
            Sort::Waiting => client.outstanding,
            Sort::Latency => client.latency_avg_ms,
        };
        std::cmp::Reverse((first, rate(client), client.received))
    });
    all
}
