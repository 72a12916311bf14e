//! A server of an ensemble: what its disk holds, and its role. `step` is the whole protocol.

use crate::context::{Context, Next};
use crate::durable::{Durable, Storage};
use crate::election::{Elected, Looking};
use crate::ensemble::{Ensemble, Payload};
use crate::fault::Fault;
use crate::history::History;
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::leader::Leading;
use crate::learner::Following;
use crate::packet::Packet;
use crate::quorum::Voters;
use crate::step::{Effect, Effects, Env, Input, Link, Mark, Timer};
use crate::vote::{Notification, ServerState, Vote};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// One server. A restart begins from [`Durable`] alone; leaving a role drops all that belongs to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Peer {
    pub(crate) storage: Storage,
    /// How far the tree in memory is. After a boot that is the whole log: the host replays it.
    pub(crate) delivered: Zxid,
    /// The round of the last election (ZooKeeper's logicalclock).
    pub(crate) round: Round,
    pub(crate) role: Role,
}

/// What a server is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// On the way to an election: writes are still going to the disk, and a vote may only speak of what is
    /// durable (ZOOKEEPER-4712). Votes of others wait here.
    Draining {
        heard: BTreeMap<ServerId, Notification>,
    },
    /// In an election.
    Looking(Looking),
    /// With a leader, as a follower or as an observer.
    Following(Following),
    /// As the leader.
    Leading(Leading),
}

impl Peer {
    /// A server that starts from what its disk holds, the configurations in it among that. Its first effects are
    /// those of an election.
    pub fn boot<T: Clone>(
        env: &Env,
        found: Durable,
        mut ensemble: Ensemble,
        out: &mut Effects<T>,
    ) -> Self {
        if !env.rules().next_list_survives_a_crash() {
            ensemble.truncate(Zxid::ZERO);
        }
        let mut peer = Self {
            delivered: found.history.last(),
            storage: Storage::new(found, ensemble),
            round: Round(0),
            role: Role::Draining {
                heard: BTreeMap::new(),
            },
        };
        out.push(Effect::Became(ServerState::Looking));
        peer.start_election(env, out);
        peer
    }

    /// One atomic step. Total: every input in every state is accepted, refused with a fault, or void.
    pub fn step<T: Payload + Clone>(&mut self, env: &Env, input: Input<T>, out: &mut Effects<T>) {
        match input {
            Input::Received { link, packet } => self.on_packet(env, link, packet, out),
            Input::Durable(upto) => self.on_durable(env, upto, out),
            Input::Propose(txn) => self.on_propose(env, txn, out),
            Input::Notified { from, notification } => {
                self.on_notification(env, from, notification, out);
            }
            Input::Linked(link) => self.on_linked(env, link, out),
            Input::Unreachable => self.on_unreachable(env, out),
            Input::Unlinked(link) => self.on_unlinked(env, link, out),
            Input::Fired(timer) => self.on_timer(env, timer, out),
        }
        // Its last commit was the reconfiguration that takes its vote away.
        if matches!(&self.role, Role::Leading(l) if l.is_retired()) {
            self.become_looking(env, out);
        }
    }

    fn context<'a, T>(
        &'a mut self,
        env: &'a Env,
        out: &'a mut Effects<T>,
    ) -> (Context<'a, T>, &'a mut Role) {
        let cx = Context {
            env,
            storage: &mut self.storage,
            delivered: &mut self.delivered,
            out,
        };
        (cx, &mut self.role)
    }

    fn on_packet<T: Payload + Clone>(
        &mut self,
        env: &Env,
        link: Link,
        packet: Packet<T>,
        out: &mut Effects<T>,
    ) {
        let (mut cx, role) = self.context(env, out);
        let next = match role {
            Role::Leading(l) => Ok(l.on_packet(link, packet, &mut cx)),
            Role::Following(f) if f.link == Some(link) => f.on_packet(packet, &mut cx),
            // A connection of an earlier role: this was in flight when it was closed.
            Role::Following(_) | Role::Looking(_) | Role::Draining { .. } => Ok(Next::Stay),
        };
        match next {
            Ok(Next::Stay) => {}
            Ok(Next::Look) => self.become_looking(env, out),
            Err(fault) => {
                out.push(Effect::Refused(fault));
                self.become_looking(env, out);
            }
        }
    }

    /// The disk answers, in the order of the writes.
    fn on_durable<T: Clone>(&mut self, env: &Env, upto: Mark, out: &mut Effects<T>) {
        while let Some(written) = self.storage.next_durable(upto) {
            let (mut cx, role) = self.context(env, out);
            match role {
                Role::Leading(l) => l.on_durable(written, &mut cx),
                Role::Following(f) => f.on_durable(written, &mut cx),
                Role::Draining { .. } | Role::Looking(_) => {}
            }
        }
        if matches!(self.role, Role::Draining { .. }) && self.storage.is_idle() {
            self.start_election(env, out);
        }
    }

    fn on_propose<T: Payload + Clone>(&mut self, env: &Env, txn: T, out: &mut Effects<T>) {
        let (mut cx, role) = self.context(env, out);
        let next = match role {
            Role::Leading(l) => l.propose(txn, &mut cx),
            Role::Following(_) | Role::Looking(_) | Role::Draining { .. } => {
                cx.out.push(Effect::Refused(Fault::NotLeading));
                Next::Stay
            }
        };
        if next == Next::Look {
            self.become_looking(env, out);
        }
    }

    fn on_notification<T: Clone>(
        &mut self,
        env: &Env,
        from: ServerId,
        n: Notification,
        out: &mut Effects<T>,
    ) {
        let answer = self.notification().filter(|_| !env.observer);
        let ensemble = &self.storage.ensemble;
        // A list that this server has missed may have made the leader a voter: those of its own list tell of it, and it tells itself.
        let settled = matches!(n.state, ServerState::Following | ServerState::Leading);
        // Who has lost its vote stays so, whoever has not noticed yet and still names it.
        let names_a_candidate = n.vote.leader != env.me
            || ensemble.has_vote(env.me)
            || !env.rules().only_voters_are_candidates();
        let tells_of_a_leader = match &self.role {
            Role::Draining { .. } => settled && ensemble.has_vote(from),
            Role::Looking(l) => settled && l.is_told_of(from, n.vote.leader, ensemble),
            Role::Following(_) | Role::Leading(_) => false,
        };
        let counts = ensemble.has_vote(from) || !env.rules().only_voters_elect();
        let is_counted = names_a_candidate
            && counts
            && (ensemble.has_vote(n.vote.leader)
                || env.rules().voters_name_whom_they_know()
                    && n.state == ServerState::Looking
                    && n.vote.leader != ServerId::NOBODY);
        if !(is_counted || names_a_candidate && tells_of_a_leader) {
            // Not a voter, or for none: if it asks, it is told what this server knows, and not counted.
            let asks = self.is_asked(env, from, n) || !env.rules().answers_end();
            out.extend(answer.filter(|_| asks).map(|notification| Effect::Notify {
                to: from,
                notification,
            }));
            return;
        }
        let ended = match &mut self.role {
            Role::Draining { heard } => {
                heard.insert(from, n);
                None
            }
            Role::Looking(l) => {
                let ensemble = &self.storage.ensemble;
                l.on_notification(env, ensemble, &mut self.round, from, n, out)
            }
            Role::Following(_) | Role::Leading(_) => {
                if n.state == ServerState::Looking {
                    out.extend(answer.map(|notification| Effect::Notify {
                        to: from,
                        notification,
                    }));
                }
                None
            }
        };
        if let Some(outcome) = ended {
            self.conclude(env, outcome, out);
        }
    }

    /// Whether to answer a server that is not counted. Two that count each other come to agree and fall silent; where one does not count the
    /// other, or neither does, nothing brings them together, and they must not answer each other's answers for ever (D-15, D-129). So only who
    /// looks is answered, and where both look, only who is behind: in an earlier round, or in the same one with the greater id.
    fn is_asked(&self, env: &Env, from: ServerId, n: Notification) -> bool {
        let behind = match &self.role {
            Role::Looking(_) => n.round < self.round || n.round == self.round && from > env.me,
            Role::Draining { .. } | Role::Following(_) | Role::Leading(_) => true,
        };
        n.state == ServerState::Looking && behind
    }

    /// What this server says when it is asked in an election.
    pub(crate) fn notification(&self) -> Option<Notification> {
        let round = self.round;
        let (state, vote) = match &self.role {
            Role::Draining { .. } => return None,
            Role::Looking(l) => return Some(l.notification(round)),
            Role::Following(f) => (f.state(), f.vote),
            Role::Leading(l) => (ServerState::Leading, l.vote),
        };
        Some(Notification { state, vote, round })
    }

    fn on_linked<T: Clone>(&mut self, env: &Env, link: Link, out: &mut Effects<T>) {
        let (mut cx, role) = self.context(env, out);
        match role {
            Role::Leading(l) => l.on_linked(link),
            Role::Following(f) if f.link.is_none() => f.on_linked(link, &mut cx),
            Role::Following(_) | Role::Looking(_) | Role::Draining { .. } => {
                cx.out.push(Effect::Unlink(link));
            }
        }
    }

    fn on_unreachable<T: Clone>(&mut self, env: &Env, out: &mut Effects<T>) {
        if matches!(&self.role, Role::Following(f) if f.link.is_none()) {
            self.become_looking(env, out);
        }
    }

    fn on_unlinked<T: Clone>(&mut self, env: &Env, link: Link, out: &mut Effects<T>) {
        match &mut self.role {
            Role::Leading(l) => l.on_unlinked(link),
            Role::Following(f) if f.link == Some(link) => {
                f.link = None; // it is gone: nothing to close
                self.become_looking(env, out);
            }
            Role::Following(_) | Role::Looking(_) | Role::Draining { .. } => {}
        }
    }

    fn on_timer<T: Clone>(&mut self, env: &Env, timer: Timer, out: &mut Effects<T>) {
        let round = self.round;
        let (mut cx, role) = self.context(env, out);
        let next = match (role, timer) {
            (Role::Looking(l), Timer::Finalize) => {
                if let Some(outcome) = l.on_finalize() {
                    self.conclude(env, outcome, out);
                }
                return;
            }
            (Role::Looking(l), Timer::Resend) => {
                l.on_resend(env, &cx.storage.ensemble, round, cx.out);
                return;
            }
            (Role::Leading(l), Timer::Init) => l.on_init_timeout(env),
            (Role::Leading(l), Timer::Tick) => l.on_tick(&mut cx),
            // A timer of an earlier role that ran out before it could be stopped.
            (Role::Looking(_), Timer::Init | Timer::Tick)
            | (Role::Leading(_), Timer::Finalize | Timer::Resend)
            | (Role::Following(_) | Role::Draining { .. }, _) => Next::Stay,
        };
        if next == Next::Look {
            self.become_looking(env, out);
        }
    }

    /// Leaves the role: closes its connections, stops its timers, and looks for a leader once the disk is quiet.
    fn become_looking<T: Clone>(&mut self, env: &Env, out: &mut Effects<T>) {
        let draining = Role::Draining {
            heard: BTreeMap::new(),
        };
        match core::mem::replace(&mut self.role, draining) {
            Role::Leading(l) => {
                out.extend([Effect::Disarm(Timer::Init), Effect::Disarm(Timer::Tick)]);
                out.extend(l.learners.iter().map(|l| Effect::Unlink(l.link)));
            }
            Role::Following(f) => out.extend(f.link.map(Effect::Unlink)),
            Role::Looking(_) | Role::Draining { .. } => {}
        }
        out.push(Effect::Became(ServerState::Looking));
        if self.storage.is_idle() || !env.rules().vote_waits_for_the_disk() {
            self.start_election(env, out);
        }
    }

    /// Enters a new round with a vote for itself, then hears what came in while the disk was busy.
    fn start_election<T: Clone>(&mut self, env: &Env, out: &mut Effects<T>) {
        assert!(
            self.storage.is_idle() || !env.rules().vote_waits_for_the_disk(),
            "I-33: a vote tells only what is durable"
        );
        // Another server may have named any number, also the last one.
        self.round = Round(self.round.0.saturating_add(1));
        let own = Vote {
            epoch: self.storage.known.current,
            zxid: self.storage.last_reported(self.delivered, env.switches),
            leader: self.candidate(env),
        };
        let ensemble = &self.storage.ensemble;
        let looking = Looking::start(env, ensemble, own, self.round, out);
        // With no epoch left to propose it stays in the election, where an operator can see it.
        let alone = looking
            .alone(env, ensemble)
            .filter(|_| self.storage.known.accepted < env.epoch_max);
        let heard = match core::mem::replace(&mut self.role, Role::Looking(looking)) {
            Role::Draining { heard } => heard,
            Role::Looking(_) | Role::Following(_) | Role::Leading(_) => BTreeMap::new(),
        };
        if let Some(outcome) = alone {
            self.conclude(env, outcome, out);
        }
        for (from, notification) in heard {
            self.on_notification(env, from, notification, out);
        }
    }

    /// Whom it votes for before it has heard of anybody: itself, if a list gives it a vote.
    fn candidate(&self, env: &Env) -> ServerId {
        if self.storage.ensemble.has_vote(env.me) || !env.rules().only_voters_are_candidates() {
            env.me
        } else {
            ServerId::NOBODY
        }
    }

    /// The election is over: lead or follow.
    fn conclude<T: Clone>(&mut self, env: &Env, outcome: Elected, out: &mut Effects<T>) {
        out.extend([
            Effect::Disarm(Timer::Finalize),
            Effect::Disarm(Timer::Resend),
        ]);
        if outcome.vote.leader == env.me {
            out.push(Effect::Became(ServerState::Leading));
            let seat = self.storage.ensemble.seat(env.me);
            let mut leading = Leading::new(outcome.vote, seat);
            let (mut cx, role) = self.context(env, out);
            let started = leading.start(&mut cx);
            *role = Role::Leading(leading);
            if let Err(fault) = started {
                out.push(Effect::Refused(fault));
                self.become_looking(env, out);
            }
        } else {
            let following = Following::new(outcome.vote, env.observer);
            out.push(Effect::Became(following.state()));
            out.push(Effect::Dial(outcome.vote.leader));
            self.role = Role::Following(following);
        }
    }

    /// Ends this server's election with a given leader: the checker's coarse elections come in here.
    ///
    /// No effect while it is not looking.
    #[cfg(feature = "checker")]
    pub fn elect<T: Clone>(&mut self, env: &Env, vote: Vote, out: &mut Effects<T>) {
        if matches!(self.role, Role::Looking(_)) {
            self.conclude(env, Elected { vote }, out);
        }
    }

    /// What this server is doing, as it tells others.
    #[must_use]
    pub const fn state(&self) -> ServerState {
        match &self.role {
            Role::Draining { .. } | Role::Looking(_) => ServerState::Looking,
            Role::Following(f) => f.state(),
            Role::Leading(_) => ServerState::Leading,
        }
    }

    /// Whether it is part of a formed quorum, and of which epoch.
    #[must_use]
    pub fn serving(&self) -> Option<Epoch> {
        match &self.role {
            Role::Following(f) if f.stage == crate::learner::FollowingStage::Broadcast => {
                Some(f.epoch)
            }
            Role::Leading(l) if l.phase == crate::leader::Phase::Broadcast => Some(l.epoch),
            Role::Draining { .. } | Role::Looking(_) | Role::Following(_) | Role::Leading(_) => {
                None
            }
        }
    }

    /// The epoch that it leads, once it is past discovery.
    #[must_use]
    pub const fn primary(&self) -> Option<Epoch> {
        match &self.role {
            Role::Leading(l) if l.phase as u8 >= crate::leader::Phase::WritingEpoch as u8 => {
                Some(l.epoch)
            }
            Role::Draining { .. } | Role::Looking(_) | Role::Following(_) | Role::Leading(_) => {
                None
            }
        }
    }

    /// What the disk is known to hold.
    #[must_use]
    pub const fn durable(&self) -> &Durable {
        &self.storage.known
    }

    /// The disk queue as this server sees it.
    #[must_use]
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// How far the tree in memory is.
    #[must_use]
    pub const fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// The configurations that bind this server.
    #[must_use]
    pub const fn ensemble(&self) -> &Ensemble {
        &self.storage.ensemble
    }

    /// Whether **Finalize** runs and need not: whoever does not agree with the quorum is out of reach, which the host knows. It may end the
    /// timer before its time then.
    #[must_use]
    pub fn waits_for_nobody(&self, env: &Env, is_away: impl Fn(ServerId) -> bool) -> bool {
        let ensemble = &self.storage.ensemble;
        matches!(&self.role, Role::Looking(l) if l.waits_for_nobody(env, ensemble, is_away))
    }

    /// Whether a reconfiguration to these voters would be proposed.
    ///
    /// # Errors
    /// [`Fault::NotLeading`], [`Fault::ReconfigInProgress`], [`Fault::NewConfigNotSynced`].
    pub fn may_reconfigure(&self, env: &Env, voters: &Voters) -> Result<(), Fault> {
        match &self.role {
            Role::Leading(l) => l.may_reconfigure(voters, &self.storage.ensemble, env),
            Role::Following(_) | Role::Looking(_) | Role::Draining { .. } => Err(Fault::NotLeading),
        }
    }

    /// Which transactions its log has, durable or not.
    #[must_use]
    pub const fn logged(&self) -> &History {
        &self.storage.asked.history
    }

    /// The last zxid of the log, durable or not.
    #[must_use]
    pub fn last_logged(&self) -> Zxid {
        self.storage.asked.history.last()
    }

    /// The zxid that the next proposal gets, where this server leads and serves.
    #[must_use]
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Leading(l) => l.next_zxid(self.last_logged()),
            Role::Draining { .. } | Role::Looking(_) | Role::Following(_) => None,
        }
    }

    /// Whom it follows, or itself if it leads.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        match &self.role {
            Role::Following(f) => Some(f.vote.leader),
            Role::Leading(l) => Some(l.vote.leader),
            Role::Draining { .. } | Role::Looking(_) => None,
        }
    }

    /// Whether a learner has acknowledged NEWLEADER on this connection: before that its requests are nobody's.
    #[must_use]
    pub fn has_active_learner(&self, link: Link) -> bool {
        matches!(&self.role, Role::Leading(l) if l.learners.iter().any(|x| x.link == link && x.stage == crate::leader::LearnerStage::Active))
    }

    /// Whether a leader is sending its history to the learner behind this link, which says nothing meanwhile.
    #[must_use]
    pub fn synchronizes(&self, link: Link) -> bool {
        use crate::leader::LearnerStage;
        let sends = |stage: LearnerStage| {
            matches!(
                stage,
                LearnerStage::EpochAcked { .. } | LearnerStage::Synced
            )
        };
        matches!(&self.role, Role::Leading(l) if l.learners.iter().any(|x| x.link == link && sends(x.stage)))
    }

    /// How many learners have been sent their history, and have not acknowledged NEWLEADER: by SNAP, and otherwise.
    #[must_use]
    pub fn syncs_under_way(&self) -> (u32, u32) {
        match &self.role {
            Role::Leading(l) => l.syncs_under_way(),
            Role::Draining { .. } | Role::Looking(_) | Role::Following(_) => (0, 0),
        }
    }

    /// The host is about to remove what its log has up to `upto`, where it has a snapshot of the committed history: a learner that ends
    /// before it is sent SNAP from now on. False, and nothing is changed, if the log may still be needed: to send it to a learner, or
    /// because this server does not serve.
    pub fn forget(&mut self, upto: Zxid) -> bool {
        use crate::leader::LearnerStage;
        let is_free = match &self.role {
            Role::Leading(l) => {
                let is_sent_it = |stage: LearnerStage| stage == LearnerStage::Synced;
                !l.learners.iter().any(|learner| is_sent_it(learner.stage))
            }
            Role::Following(f) => f.stage == crate::learner::FollowingStage::Broadcast,
            Role::Looking(_) | Role::Draining { .. } => false,
        };
        is_free && upto <= self.delivered && self.storage.forget(upto)
    }

    /// Whether a leader has a quorum without the learner behind this link.
    #[must_use]
    pub fn can_spare(&self, env: &Env, link: Link) -> bool {
        let Role::Leading(l) = &self.role else {
            return true;
        };
        let others = l.learners.iter().filter(|x| {
            x.link != link && !x.observer && x.stage == crate::leader::LearnerStage::Active
        });
        let ensemble = &self.storage.ensemble;
        ensemble.decides(others.map(|x| x.sid).chain([env.me]), env.switches)
    }

    /// The round of the last election.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::SyncLimits;
    use crate::switch::Switches;

    #[test]
    fn an_election_follows_one_of_the_last_round_there_is() {
        let ids = [1, 2, 3].map(ServerId);
        let env = Env {
            me: ids[0],
            observer: false,
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: 0,
            sync: SyncLimits::NONE,
        };
        let mut out: Effects<()> = Effects::new();
        let ensemble = Ensemble::of(Voters::new(&ids).unwrap());
        let mut peer = Peer::boot(&env, Durable::default(), ensemble, &mut out);
        let notification = Notification {
            state: ServerState::Looking,
            vote: Vote {
                epoch: Epoch(0),
                zxid: Zxid::ZERO,
                leader: ids[2],
            },
            round: Round(u64::MAX),
        };
        for from in [ids[1], ids[2]] {
            let input = Input::Notified { from, notification };
            peer.step(&env, input, &mut out);
        }
        assert_eq!(peer.leader(), Some(ids[2]));
        peer.step(&env, Input::Unreachable, &mut out);
        assert_eq!(
            (peer.state(), peer.round()),
            (ServerState::Looking, Round(u64::MAX))
        );
    }
}
