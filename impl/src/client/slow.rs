//! Requests that took longer than `zabra.slowRequestMs`, and where their time went.
//!
//! Times are differences of what is there anyhow: when a socket was read, and the one reading of the clock that a turn of the core has.
//! So nothing is measured for a request that was not slow, and what happens inside one turn takes no time here (D-145).

use super::conn::Conn;
use super::lock::lock;
use super::operation;
use super::shared::Shared;
use crate::codes::Code;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use tracing::warn;
use zabra_model::ids::{SessionId, Zxid};

/// Of a path so many bytes are told.
const PATH_BYTES_MAX: usize = 256;

/// Where the time of a write went, ms. Together they are the whole of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages {
    /// From when it was read from its socket to when the core took it.
    pub queue_ms: u64,
    /// From there to when its proposal was in this server's log: on a learner, the way to the leader and back.
    pub propose_ms: u64,
    /// From there to when it was on this server's disk, if that came before the commit.
    pub sync_ms: u64,
    /// From there to the commit.
    pub quorum_ms: u64,
    /// From there to the answer.
    pub apply_ms: u64,
}

/// A request that was slow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowRequest {
    /// What it asked for, as counts name it.
    pub operation: &'static str,
    /// Whose it was.
    pub session: SessionId,
    /// Where the client is.
    pub from: SocketAddr,
    /// The client's number for it.
    pub xid: i32,
    /// What it was about, as far as that is known.
    pub path: Option<Box<str>>,
    /// Of a write, its transaction.
    pub zxid: Option<Zxid>,
    /// From when it was read to when its answer was written.
    pub took_ms: u64,
    /// Of a write, where that went.
    pub stages: Option<Stages>,
    /// How many were not told since the last one.
    pub unsaid: u64,
}

impl SlowRequest {
    /// A request that took so long, if it is to be told: it is counted in any case.
    pub fn of(
        shared: &Shared,
        conn: &Conn,
        (opcode, xid): (i32, i32),
        took_ms: u64,
    ) -> Option<Self> {
        if took_ms <= shared.config.operation.slow_request_ms {
            return None;
        }
        shared.stats.slow_requests.fetch_add(1, Relaxed);
        let unsaid = lock(&shared.slow_request).due(shared.elapsed_ms())?;
        Some(Self {
            operation: operation::name(opcode),
            session: conn.session(),
            from: conn.from,
            xid,
            path: None,
            zxid: None,
            took_ms,
            stages: None,
            unsaid,
        })
    }

    /// Names what it was about.
    #[must_use]
    pub fn about(mut self, path: Option<&str>) -> Self {
        self.path = path.map(|path| {
            let end = path.floor_char_boundary(PATH_BYTES_MAX);
            path.get(..end).unwrap_or_default().into()
        });
        self
    }

    /// What took longest, and where to look for it.
    fn cause(&self) -> &'static str {
        let Some(stages) = self.stages else {
            return "it waited here, for its turn or behind earlier requests of its session";
        };
        let all = [
            (
                stages.queue_ms,
                "most of it before this server took it up: too much was asked for at once, or the machine has no time for this process",
            ),
            (
                stages.propose_ms,
                "most of it until the leader's proposal was here: look at the leader's log, and at the network between the two",
            ),
            (
                stages.sync_ms,
                "most of it for the disk of this server's log: look at dataLogDir",
            ),
            (
                stages.quorum_ms,
                "most of it for a quorum: look at the disks of the other members, and at the network to them",
            ),
            (
                stages.apply_ms,
                "most of it between the commit and the answer: much was committed at once",
            ),
        ];
        let longest = all.into_iter().max_by_key(|(took_ms, _)| *took_ms);
        longest.map_or("", |(_, cause)| cause)
    }

    /// Says it: where no lock is held, as whoever reads the log may be slow.
    pub fn say(&self) {
        let stage = |of: fn(&Stages) -> u64| self.stages.as_ref().map(of);
        warn!(
            code = %Code::SlowRequest,
            operation = self.operation,
            session = %self.session,
            xid = self.xid,
            from = %self.from,
            path = self.path.as_deref(),
            zxid = self.zxid.map(display),
            took_ms = self.took_ms,
            queue_ms = stage(|of| of.queue_ms),
            propose_ms = stage(|of| of.propose_ms),
            sync_ms = stage(|of| of.sync_ms),
            quorum_ms = stage(|of| of.quorum_ms),
            apply_ms = stage(|of| of.apply_ms),
            unsaid = self.unsaid,
            "a request was slow (zabra.slowRequestMs), {}",
            self.cause()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stage_is_named_and_a_long_path_is_cut_between_letters() {
        let mut slow = SlowRequest {
            operation: "create",
            session: SessionId(1),
            from: ([127, 0, 0, 1], 1).into(),
            xid: 1,
            path: None,
            zxid: None,
            took_ms: 9,
            stages: None,
            unsaid: 0,
        };
        assert!(slow.cause().starts_with("it waited here"));
        let named = [
            "took it up",
            "until the leader's proposal",
            "for the disk",
            "for a quorum",
            "between the commit",
        ];
        for (longest, words) in named.into_iter().enumerate() {
            let of = |stage: usize| if stage == longest { 5 } else { 1 };
            slow.stages = Some(Stages {
                queue_ms: of(0),
                propose_ms: of(1),
                sync_ms: of(2),
                quorum_ms: of(3),
                apply_ms: of(4),
            });
            assert!(slow.cause().contains(words), "{words}: {}", slow.cause());
        }
        let long = format!("/{}", "ü".repeat(PATH_BYTES_MAX));
        let told = slow.about(Some(&long)).path.unwrap();
        assert_eq!(told.len(), PATH_BYTES_MAX - 1);
    }
}
