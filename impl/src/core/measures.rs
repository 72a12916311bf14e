//! What operators hear of the protocol: counts and times, written where something happens and read by nobody in here.

use super::apply::since;
use super::counts::{Proposed, Run};
use super::turn::Core;
use crate::client::lock::lock;
use crate::client::stats::{Became, LearnerCounts, Turning, ZabPhase};
use crate::wire::link::{Heard, Hello, hello_of};
use crate::wire::payload::{Logged, Payload};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::ids::Zxid;
use zabra_model::packet::Packet;
use zabra_model::step::Link;
use zabra_model::vote::ServerState;

impl Core {
    /// Another role begins.
    pub(super) fn count_role(&mut self, state: ServerState) {
        let elapsed_ms = self.now.elapsed_ms;
        let stats = &self.replica.shared.stats;
        let measures = &mut self.protocol.measures;
        stats.set_leader(self.protocol.peer.leader());
        if state == ServerState::Looking {
            let led = stats.leads_since_ms.swap(0, Relaxed) > 0;
            stats.elections.fetch_add(1, Relaxed);
            measures.looking_ms = Some(elapsed_ms);
            measures.unavailable.get_or_insert((elapsed_ms, led));
            stats.set_phase(ZabPhase::Election);
        } else {
            if let Some(since_ms) = measures.looking_ms.take() {
                let took_ms = elapsed_ms.saturating_sub(since_ms);
                stats.election_time.add(took_ms);
            }
            stats.set_phase(ZabPhase::Discovery);
        }
        measures.stamps.forget();
        self.turned(match state {
            ServerState::Looking => Became::Looking,
            ServerState::Leading => Became::Leading,
            ServerState::Following => Became::Following,
            ServerState::Observing => Became::Observing,
        });
        let learns = matches!(state, ServerState::Following | ServerState::Observing);
        self.protocol.measures.syncing_ms = learns.then_some(elapsed_ms);
    }

    fn turned(&self, what: Became) {
        let peer = &self.protocol.peer;
        self.replica.shared.stats.turned(Turning {
            date_ms: self.now.date_ms,
            what,
            leader: peer.leader(),
            epoch: peer.durable().current,
        });
    }

    /// Clients are served from now on.
    pub(super) fn count_serving(&mut self) {
        let elapsed_ms = self.now.elapsed_ms;
        let stats = &self.replica.shared.stats;
        stats.set_phase(ZabPhase::Broadcast);
        self.turned(Became::Serving);
        let leads = self.service.leads();
        if leads {
            stats.leads_since_ms.store(elapsed_ms.max(1), Relaxed);
        }
        if let Some(since_ms) = self.protocol.measures.syncing_ms.take() {
            let observes = self.protocol.peer.state() == ServerState::Observing;
            let took_ms = elapsed_ms.saturating_sub(since_ms);
            stats.sync_times[usize::from(observes)].add(took_ms);
        }
        if let Some((since_ms, led)) = self.protocol.measures.unavailable.take() {
            let took_ms = elapsed_ms.saturating_sub(since_ms);
            stats.unavailable_time.add(took_ms);
            if leads || led {
                stats.leader_unavailable_time.add(took_ms);
            }
        }
    }

    /// A transaction goes to the log.
    pub(super) fn count_logged(&mut self, logged: &Logged) {
        if self.protocol.peer.state() == ServerState::Following {
            let took_ms = since(&logged.header, self.now.date_ms);
            if let Some(run) = self.protocol.measures.logged.add(took_ms) {
                self.count_logged_run(run);
            }
        }
    }

    fn count_logged_run(&self, run: Run) {
        let stats = &self.replica.shared.stats;
        stats.learner_proposals.fetch_add(run.times, Relaxed);
        stats.proposal_latency.add_some(run.ms, run.times);
    }

    /// Counts what one turn has proposed or logged.
    pub(super) fn count_turn(&mut self) {
        if let Some(run) = self.protocol.measures.logged.take() {
            self.count_logged_run(run);
        }
        if let Some(run) = self.protocol.measures.prepared.take() {
            let stats = &self.replica.shared.stats;
            stats.prep_waits.add_some(run.ms, run.times);
        }
        if let Some(proposed) = self.protocol.measures.proposed.take() {
            let Proposed {
                count,
                last,
                min,
                max,
            } = proposed;
            let stats = &self.replica.shared.stats;
            stats.proposals.fetch_add(count, Relaxed);
            stats.prep_batches.add(count);
            stats.proposal_sizes.add_some(last, min, max);
        }
    }

    /// Requests of a client of this leader are about to be prepared: the first of them was read then.
    pub(super) fn count_prepared(&mut self, read_ms: u64) {
        let took_ms = self.now.elapsed_ms.saturating_sub(read_ms);
        if let Some(run) = self.protocol.measures.prepared.add(took_ms) {
            let stats = &self.replica.shared.stats;
            stats.prep_waits.add_some(run.ms, run.times);
        }
    }

    /// One turn has handed so many transactions to the disk.
    pub(super) fn count_handed(&mut self, txns: u64) {
        if txns == 0 {
            return;
        }
        let measures = &mut self.protocol.measures;
        measures.at_disk += txns;
        let logged = self.protocol.peer.last_logged();
        measures.stamps.logged(logged, self.now.elapsed_ms);
        let stats = &self.replica.shared.stats;
        stats.sync_queued.fetch_add(txns, Relaxed);
        stats.sync_waiting.add(measures.at_disk);
    }

    /// Everything up to this token is on the disk.
    pub(super) fn count_written(&mut self, token: u64) {
        let mut txns = 0;
        while let Some(handed) = self.disk.take_durable(token) {
            txns += handed.txns;
            let took_ms = self.now.elapsed_ms.saturating_sub(handed.at_ms);
            self.replica.shared.stats.sync_waits.add(took_ms);
        }
        if txns > 0 {
            self.protocol.measures.at_disk -= txns;
            self.replica.shared.stats.sync_batches.add(txns);
        }
    }

    /// The history is on the disk up to here: of each sync, the last transaction is measured.
    pub(super) fn count_durable(&mut self, durable: Zxid) {
        if durable <= self.protocol.measures.durable {
            return;
        }
        let measures = &mut self.protocol.measures;
        measures.durable = durable;
        measures.stamps.durable(durable, self.now.elapsed_ms);
        let before = Zxid(durable.0.saturating_sub(1));
        if let Some(logged) = self.replica.window.range(before, durable).next() {
            let took_ms = since(&logged.header, self.now.date_ms);
            let stats = &self.replica.shared.stats;
            stats.proposal_ack_creation.add(took_ms);
        }
    }

    /// A packet leaves for another server.
    pub(super) fn count_sent(&self, link: Link, packet: &Packet<Payload>) {
        let stats = &self.replica.shared.stats;
        match packet {
            Packet::Diff { .. } => {
                stats.diffs.fetch_add(1, Relaxed);
            }
            Packet::NewLeader { .. } if stats.phase() == ZabPhase::Discovery => {
                stats.set_phase(ZabPhase::Synchronization);
            }
            Packet::UpToDate => {
                if let Some(counts) = self.quorum.counts(link) {
                    counts.synced.store(true, Relaxed);
                }
            }
            _ => {}
        }
    }

    /// Packets have come from another server. Of a batch of acknowledgements, the last one is measured.
    pub(super) fn count_heard(&self, link: Link, heard: &[Heard]) {
        let stats = &self.replica.shared.stats;
        let Some(counts) = self.quorum.counts(link) else {
            if stats.phase() == ZabPhase::Discovery && heard.iter().any(begins_synchronization) {
                stats.set_phase(ZabPhase::Synchronization);
            }
            return;
        };
        counts.received.fetch_add(heard.len() as u64, Relaxed);
        match heard.last() {
            Some(Heard::Core(Packet::Ack { zxid })) if self.service.leads() => {
                counts.acked.store(zxid.0, Relaxed);
                let before = Zxid(zxid.0.saturating_sub(1));
                if let Some(logged) = self.replica.window.range(before, *zxid).next() {
                    counts.acks.add(since(&logged.header, self.now.date_ms));
                }
            }
            Some(Heard::Core(packet)) => {
                if let Some(hello) = hello_of(packet) {
                    self.count_hello(link, hello);
                }
            }
            _ => {}
        }
    }

    /// A learner has said who it is.
    pub(super) fn count_hello(&self, link: Link, hello: Hello) {
        if let Some(counts) = self.quorum.counts(link) {
            counts.sid.store(hello.claim.sid.0, Relaxed);
            counts.observer.store(hello.claim.observer, Relaxed);
        }
    }

    /// A learner is linked.
    pub(super) fn count_learner(&mut self, link: Link, from: IpAddr) {
        let counts = LearnerCounts::new(from, self.now.date_ms);
        let learners = &self.replica.shared.stats.learners;
        lock(learners).push(Arc::clone(&counts));
        self.quorum.count_as(link, counts);
    }

    /// Learners that have gone are not told any more, and syncs that wait are.
    pub(super) fn count_links(&mut self) {
        let stats = &self.replica.shared.stats;
        if let Some(left) = self.quorum.counts_left() {
            *lock(&stats.learners) = left;
        }
        if self.service.leads() {
            let own = self.service.awaited.syncs.len();
            let waiting = own + self.quorum.syncs_waiting();
            stats.pending_syncs.store(waiting as u64, Relaxed);
        }
        let (snaps, diffs) = self.protocol.peer.syncs_under_way();
        let last = &mut self.protocol.measures.syncs_under_way;
        let before = std::mem::replace(last, [snaps, diffs]);
        for ((under_way, before), counted) in
            [snaps, diffs].into_iter().zip(before).zip(&stats.syncs)
        {
            if under_way != before {
                counted.add(u64::from(under_way));
            }
        }
    }
}

/// Whether a leader's packet says how its learner gets the history.
const fn begins_synchronization(heard: &Heard) -> bool {
    matches!(
        heard,
        Heard::Core(Packet::Diff { .. } | Packet::Trunc { .. }) | Heard::Snapshot(..)
    )
}
