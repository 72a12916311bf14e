//! Counts and times for operators, named as ZooKeeper names them.
//!
//! What each request changes is held in [`Stripe`]s, one for some of the connections, so that threads that answer at the same time
//! do not wait for each other's memory; the rest is written by one task, or seldom.

use super::operation::{OPERATIONS, place};
use super::summary::{Summary, Timed, Times};
use crate::client::lock::lock;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use zabra_model::ids::{Epoch, ServerId};

/// Of so many first names of paths it is counted how often their quotas refuse something.
const NAMESPACES_MAX: usize = 1000;

/// So many changes of a server's role are remembered.
const TIMELINE_MAX: usize = 256;

/// So many connections may count at a time without meeting.
const STRIPES: usize = 8;

/// What some of the connections have counted.
#[derive(Debug, Default)]
#[repr(align(128))]
#[expect(missing_docs, reason = "named as four-letter words print them")]
pub struct Stripe {
    pub received: AtomicU64,
    pub received_bytes: AtomicU64,
    pub sent: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub watch_bytes: AtomicU64,
    /// Of requests that became no transaction, ms.
    pub reads: Times,
    operations: [AtomicU64; OPERATIONS.len()],
}

impl Stripe {
    /// A client asks for this operation.
    pub fn asked(&self, opcode: i32) {
        self.asked_times(opcode, 1);
    }

    /// Clients ask for it so many times.
    pub(super) fn asked_times(&self, opcode: i32, times: u64) {
        if let Some(count) = place(opcode).and_then(|at| self.operations.get(at)) {
            count.fetch_add(times, Relaxed);
        }
    }
}

/// Sizes of buffers: the last one, the least, the greatest.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Each is one more than it is; 0 while there is none.
    last: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Sizes {
    /// There was a buffer of this size.
    pub fn add(&self, bytes: usize) {
        self.add_some(bytes, bytes, bytes);
    }

    /// There were some: the last one, and the bounds of all of them. Memory that others read is written only if it changes.
    pub fn add_some(&self, last: usize, min: usize, max: usize) {
        let [last, min, max] = [last, min, max].map(|bytes| bytes as u64 + 1);
        if self.last.load(Relaxed) != last {
            self.last.store(last, Relaxed);
        }
        let least = self.min.load(Relaxed);
        if least == 0 || min < least {
            self.min.store(min, Relaxed);
        }
        if max > self.max.load(Relaxed) {
            self.max.fetch_max(max, Relaxed);
        }
    }

    /// The last one, the least, the greatest; -1 if there is none.
    #[must_use]
    pub fn now(&self) -> [i64; 3] {
        [&self.last, &self.min, &self.max].map(|size| {
            let size = i64::try_from(size.load(Relaxed)).unwrap_or(i64::MAX);
            size - 1
        })
    }

    fn reset(&self) {
        for size in [&self.last, &self.min, &self.max] {
            size.store(0, Relaxed);
        }
    }
}

/// A learner of this server, while it is linked.
#[derive(Debug)]
pub struct LearnerCounts {
    /// Where it comes from.
    pub from: IpAddr,
    /// When it was linked, ms since 1970.
    pub since_ms: u64,
    /// Who it is; 0 before it has said so.
    pub sid: AtomicU64,
    /// It has no vote.
    pub observer: AtomicBool,
    /// It has the history, and follows.
    pub synced: AtomicBool,
    /// Packets that came from it.
    pub received: AtomicU64,
    /// The zxid that it has acknowledged last; 0 if none.
    pub acked: AtomicU64,
    /// How long after a proposal its acknowledgement came, by the dates of the leader: of each batch, that of the last one.
    pub acks: Times,
}

impl LearnerCounts {
    /// It was linked.
    #[must_use]
    pub fn new(from: IpAddr, since_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            from,
            since_ms,
            sid: AtomicU64::new(0),
            observer: AtomicBool::new(false),
            synced: AtomicBool::new(false),
            received: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            acks: Times::default(),
        })
    }
}

/// How far a server of an ensemble is with the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as the paper names them")]
pub enum ZabPhase {
    Election,
    Discovery,
    Synchronization,
    Broadcast,
}

/// What a server has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    /// It looks for a leader.
    Looking,
    /// It is elected.
    Leading,
    /// It knows its leader.
    Following,
    /// The same, without a vote.
    Observing,
    /// It serves clients, with a quorum.
    Serving,
}

impl Became {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Leading => "leading",
            Self::Following => "following",
            Self::Observing => "observing",
            Self::Serving => "serving",
        }
    }
}

/// When a server has become something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turning {
    /// ms since 1970.
    pub date_ms: u64,
    /// What.
    pub what: Became,
    /// Who led then, as far as it knew.
    pub leader: Option<ServerId>,
    /// Its epoch then.
    pub epoch: Epoch,
}

/// Counts for operators.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as four-letter words print them")]
pub struct Stats {
    stripes: [Stripe; STRIPES],
    /// Of transactions that clients of this server have asked for, from the request to the answer.
    pub updates: Times,
    /// From the leader's date of a transaction to when this server has it applied.
    pub propagation: Times,
    /// On a follower: from the leader's date of a transaction to its proposal.
    pub proposal_latency: Times,
    /// To when it is on this server's disk; one of each sync.
    pub proposal_ack_creation: Times,
    /// On a learner: to its commit.
    pub commit_propagation: Times,
    /// On a leader: to when a quorum has it on its disks.
    pub quorum_ack: Times,
    /// Requests of clients of this leader: from when they were read to when they were prepared; of each batch of a connection, the first.
    pub prep_waits: Times,
    /// Requests that one turn has made transactions of.
    pub prep_batches: Summary,
    /// Transactions that went to the log.
    pub sync_queued: AtomicU64,
    /// Those that waited for the disk when the last ones of a turn were handed to it.
    pub sync_waiting: Summary,
    /// Those that one word of the disk has made durable.
    pub sync_batches: Summary,
    /// From the turn that has handed them to the disk to that word; one of each turn.
    pub sync_waits: Times,
    /// Learners that are being brought up, whenever that changes: by SNAP, and otherwise.
    pub syncs: [Summary; 2],
    pub proposal_sizes: Sizes,
    pub response_sizes: Sizes,
    pub rejected: AtomicU64,
    pub dropped: AtomicU64,
    /// Connections that came without TLS: from other machines, and from this one.
    pub plain: [AtomicU64; 2],
    /// What quotas have refused, by the first name of their paths.
    pub quota_refused: Mutex<BTreeMap<Box<str>, u64>>,
    pub connect_requests: AtomicU64,
    pub revalidations_asked: AtomicU64,
    pub revalidations: AtomicU64,
    pub sessionless_expired: AtomicU64,
    pub sessions_expired: AtomicU64,
    pub not_serving: AtomicU64,
    pub auth_failed: AtomicU64,
    pub ensemble_auth: [AtomicU64; 2],
    pub proposals: AtomicU64,
    pub commits: AtomicU64,
    pub learner_proposals: AtomicU64,
    pub learner_commits: AtomicU64,
    pub diffs: AtomicU64,
    pub snaps: AtomicU64,
    pub elections: AtomicU64,
    pub election_time: Summary,
    pub unavailable_time: Summary,
    pub leader_unavailable_time: Summary,
    pub fsync_time: Summary,
    pub slow_fsyncs: AtomicU64,
    /// Requests that took longer than `zabra.slowRequestMs`.
    pub slow_requests: AtomicU64,
    pub snapshot_time: Summary,
    pub db_init_time: Summary,
    pub startup_txns: Summary,
    pub startup_txns_time: Summary,
    pub startup_snap_time: Summary,
    /// Watches that a change has told, by the kind of change: created, deleted, changed, children.
    pub fired: [Summary; 4],
    pub outstanding: AtomicU64,
    pub pending_syncs: AtomicU64,
    /// How many operations wait for room on the disk.
    pub disk_full: AtomicU64,
    pub snapshots_failed: AtomicU64,
    /// Trees that were read and have another digest than their snapshot tells.
    pub digest_mismatches: AtomicU64,
    /// Snapshots and restores over HTTP that came too soon.
    pub snapshots_limited: AtomicU64,
    pub restores_limited: AtomicU64,
    pub restores_failed: AtomicU64,
    pub restore_time: Summary,
    pub local_sessions: AtomicU64,
    pub throttled_ops: AtomicU64,
    pub throttle_waits: AtomicU64,
    /// Of requests that have waited in line, how long.
    pub throttle_times: Times,
    pub token_deficit: Summary,
    /// Handshakes of clients' TLS that are under way.
    pub handshakes: AtomicU64,
    pub handshakes_failed: AtomicU64,
    /// Those that gave way to others.
    pub handshakes_displaced: AtomicU64,
    /// From when this server, a follower or an observer, knew its leader to when it served.
    pub sync_times: [Summary; 2],
    pub stale_requests: AtomicU64,
    pub stale_requests_dropped: AtomicU64,
    pub large_requests_rejected: AtomicU64,
    /// The links of learners, oldest first: changed when one comes or goes.
    pub learners: Mutex<Vec<Arc<LearnerCounts>>>,
    /// What this server has become, and when: the newest ones, oldest first.
    pub timeline: Mutex<VecDeque<Turning>>,
    /// Who leads; 0 if nobody does, or this server stands alone.
    leader: AtomicI64,
    /// When this server began to lead, ms since its start.
    pub leads_since_ms: AtomicU64,
    phase: AtomicU8,
}

impl Stats {
    /// Where the connection with this number counts.
    #[must_use]
    pub const fn stripe(&self, conn: u64) -> &Stripe {
        &self.stripes[conn as usize % STRIPES]
    }

    /// The sum of a count of all stripes.
    #[must_use]
    pub fn sum(&self, of: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().map(|s| of(s).load(Relaxed)).sum()
    }

    /// Times of requests that became no transaction.
    #[must_use]
    pub fn reads(&self) -> Timed {
        let (first, rest) = (&self.stripes[0], &self.stripes[1..]);
        let add = |sum: Timed, stripe: &Stripe| stripe.reads.now(Some(sum));
        rest.iter().fold(first.reads.now(None), add)
    }

    /// How often clients have asked for each operation.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = OPERATIONS.iter().enumerate();
        names.map(|(at, name)| (*name, self.sum(|stripe| &stripe.operations[at])))
    }

    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        let leader = self.leader.load(Relaxed);
        u64::try_from(leader).ok().filter(|l| *l > 0).map(ServerId)
    }

    /// Sets it: the core only.
    pub fn set_leader(&self, leader: Option<ServerId>) {
        let leader = leader.and_then(|l| i64::try_from(l.0).ok()).unwrap_or(0);
        self.leader.store(leader, Relaxed);
    }

    /// This server has become something else: the core only.
    pub fn turned(&self, turning: Turning) {
        let mut all = lock(&self.timeline);
        if all.len() == TIMELINE_MAX {
            all.pop_front();
        }
        all.push_back(turning);
    }

    /// How far the protocol is.
    #[must_use]
    pub fn phase(&self) -> ZabPhase {
        match self.phase.load(Relaxed) {
            1 => ZabPhase::Discovery,
            2 => ZabPhase::Synchronization,
            3 => ZabPhase::Broadcast,
            _ => ZabPhase::Election,
        }
    }

    /// Sets it: the core only.
    pub fn set_phase(&self, phase: ZabPhase) {
        let code = match phase {
            ZabPhase::Election => 0,
            ZabPhase::Discovery => 1,
            ZabPhase::Synchronization => 2,
            ZabPhase::Broadcast => 3,
        };
        self.phase.store(code, Relaxed);
    }

    /// A connection has come without TLS.
    pub fn count_plain(&self, from: IpAddr) {
        let is_near = from.to_canonical().is_loopback();
        self.plain[usize::from(is_near)].fetch_add(1, Relaxed);
    }

    /// The quota of this node has refused a request.
    pub fn count_quota_refused(&self, prefix: &str) {
        let Some(name) = prefix.split('/').nth(1) else {
            return;
        };
        let mut all = lock(&self.quota_refused);
        if let Some(count) = all.get_mut(name) {
            *count += 1;
        } else if all.len() < NAMESPACES_MAX {
            all.insert(name.into(), 1);
        }
    }

    /// Forgets what `srst` forgets.
    pub fn reset(&self) {
        for stripe in &self.stripes {
            let Stripe {
                received,
                received_bytes,
                sent,
                sent_bytes,
                watch_bytes,
                reads,
                operations,
            } = stripe;
            reads.reset();
            let counts = [received, received_bytes, sent, sent_bytes, watch_bytes];
            let all = counts.into_iter().chain(operations);
            all.for_each(|count| count.store(0, Relaxed));
        }
        for times in [
            &self.updates,
            &self.propagation,
            &self.proposal_latency,
            &self.proposal_ack_creation,
            &self.commit_propagation,
            &self.quorum_ack,
            &self.throttle_times,
            &self.prep_waits,
            &self.sync_waits,
        ] {
            times.reset();
        }
        let summaries = [
            &self.fsync_time,
            &self.snapshot_time,
            &self.restore_time,
            &self.election_time,
            &self.prep_batches,
            &self.sync_waiting,
            &self.sync_batches,
        ];
        let unavailable = [&self.unavailable_time, &self.leader_unavailable_time];
        let all = summaries.into_iter().chain(unavailable).chain(&self.fired);
        let all = all.chain(&self.sync_times).chain([&self.token_deficit]);
        let all = all.chain(&self.syncs);
        all.for_each(Summary::reset);
        lock(&self.quota_refused).clear();
        self.proposal_sizes.reset();
        self.response_sizes.reset();
        for count in self.counters() {
            count.store(0, Relaxed);
        }
    }

    fn counters(&self) -> impl Iterator<Item = &AtomicU64> {
        [
            &self.rejected,
            &self.dropped,
            &self.connect_requests,
            &self.revalidations_asked,
            &self.revalidations,
            &self.sessionless_expired,
            &self.sessions_expired,
            &self.not_serving,
            &self.auth_failed,
            &self.proposals,
            &self.commits,
            &self.learner_proposals,
            &self.learner_commits,
            &self.sync_queued,
            &self.diffs,
            &self.snaps,
            &self.elections,
            &self.slow_fsyncs,
            &self.slow_requests,
            &self.snapshots_failed,
            &self.snapshots_limited,
            &self.digest_mismatches,
            &self.restores_limited,
            &self.restores_failed,
            &self.throttled_ops,
            &self.throttle_waits,
            &self.handshakes_failed,
            &self.handshakes_displaced,
            &self.stale_requests,
            &self.stale_requests_dropped,
            &self.large_requests_rejected,
        ]
        .into_iter()
        .chain(&self.ensemble_auth)
        .chain(&self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_of_a_role_are_remembered() {
        let stats = Stats::default();
        for date_ms in 0..2 * TIMELINE_MAX as u64 {
            stats.turned(Turning {
                date_ms,
                what: Became::Looking,
                leader: None,
                epoch: Epoch(1),
            });
        }
        let dates: Vec<u64> = lock(&stats.timeline).iter().map(|t| t.date_ms).collect();
        assert_eq!((dates.len(), dates[0]), (TIMELINE_MAX, TIMELINE_MAX as u64));
    }

    #[test]
    fn sizes_tell_the_last_the_least_and_the_greatest_and_minus_one_before() {
        let sizes = Sizes::default();
        assert_eq!(sizes.now(), [-1; 3]);
        sizes.add(5);
        sizes.add_some(9, 3, 20);
        sizes.add(0);
        assert_eq!(sizes.now(), [0, 0, 20]);
        sizes.reset();
        assert_eq!(sizes.now(), [-1; 3]);
    }
}
