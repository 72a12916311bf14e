//! Looking: Fast Leader Election. Which leader do I follow?
//!
//! Source: ZooKeeper `FastLeaderElection.lookForLeader`; SPEC.md §3.

pub(crate) mod tally;

use crate::ensemble::Ensemble;
use crate::ids::{Round, ServerId};
use crate::step::{Effect, Effects, Env, Timer};
use crate::vote::{Notification, ServerState, Vote};
pub use tally::{Ballot, Ballots};

/// A server in an election.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looking {
    /// The vote for this server itself, by which it enters a new round.
    pub(crate) own: Vote,
    /// The best vote of this round so far.
    pub(crate) proposal: Vote,
    /// Votes of this round, by sender (ZooKeeper's recvset). This server's own is `proposal`.
    pub(crate) received: Ballots,
    /// What servers outside the election say (ZooKeeper's outofelection), of whatever round.
    pub(crate) settled: Ballots,
    /// A quorum agrees and the finalize timer runs.
    pub(crate) deciding: bool,
}

/// How an election ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elected {
    /// The vote that won.
    pub(crate) vote: Vote,
}

impl Looking {
    /// Enters the election in `round` with a vote for itself.
    pub(crate) fn start<T>(
        env: &Env,
        ensemble: &Ensemble,
        own: Vote,
        round: Round,
        out: &mut Effects<T>,
    ) -> Self {
        let looking = Self {
            own,
            proposal: own,
            received: Ballots::new(),
            settled: Ballots::new(),
            deciding: false,
        };
        looking.say_to_all(env, ensemble, round, out);
        out.push(Effect::Arm(Timer::Resend));
        looking
    }

    /// A sole voter need not ask anybody.
    pub(crate) fn alone(&self, env: &Env, ensemble: &Ensemble) -> Option<Elected> {
        ensemble
            .is_everybody(ensemble.set([env.me]))
            .then_some(Elected { vote: self.own })
    }

    /// What this server says while it looks.
    pub(crate) fn notification(&self, round: Round) -> Notification {
        Notification {
            state: ServerState::Looking,
            vote: self.proposal,
            round,
        }
    }

    fn say_to_all<T>(&self, env: &Env, ensemble: &Ensemble, round: Round, out: &mut Effects<T>) {
        let notification = self.notification(round);
        for to in ensemble.iter().filter(|id| *id != env.me) {
            out.push(Effect::Notify { to, notification });
        }
    }

    /// A vote of another server.
    pub(crate) fn on_notification<T>(
        &mut self,
        env: &Env,
        ensemble: &Ensemble,
        round: &mut Round,
        from: ServerId,
        n: Notification,
        out: &mut Effects<T>,
    ) -> Option<Elected> {
        match n.state {
            ServerState::Looking => self.on_looking(env, ensemble, round, from, n, out),
            ServerState::Following | ServerState::Leading => {
                self.on_settled(env, ensemble, round, from, n, out)
            }
            ServerState::Observing => None,
        }
    }

    /// The sender is in an election too: compare rounds, then votes.
    fn on_looking<T>(
        &mut self,
        env: &Env,
        ensemble: &Ensemble,
        round: &mut Round,
        from: ServerId,
        n: Notification,
        out: &mut Effects<T>,
    ) -> Option<Elected> {
        if n.round < *round {
            if env.observer {
                return None; // its proposal is no vote, it brings nobody anywhere
            }
            // The sender is behind: our proposal brings it into this round.
            let notification = self.notification(*round);
            out.push(Effect::Notify {
                to: from,
                notification,
            });
            return None;
        }
        if n.round > *round {
            *round = n.round;
            self.received.clear();
            self.proposal = self.own;
            if ensemble.is_better(n.vote, self.own) {
                self.proposal = n.vote;
            }
            self.say_to_all(env, ensemble, *round, out);
        } else if ensemble.is_better(n.vote, self.proposal) {
            self.proposal = n.vote;
            self.say_to_all(env, ensemble, *round, out);
        }
        self.received.insert(
            from,
            Ballot {
                vote: n.vote,
                state: n.state,
            },
        );
        self.decide(env, ensemble, out)
    }

    /// Ends the round if all agree; waits a little for better votes if a quorum does.
    fn decide<T>(
        &mut self,
        env: &Env,
        ensemble: &Ensemble,
        out: &mut Effects<T>,
    ) -> Option<Elected> {
        let agreeing = tally::agreeing(env, ensemble, &self.received, self.proposal);
        if ensemble.is_everybody(agreeing) {
            // Nobody is left who could bring a better vote: no reason to wait.
            return Some(Elected {
                vote: self.proposal,
            });
        }
        let single = !env.rules().election_needs_a_quorum() && !self.received.is_empty();
        if single || ensemble.is_quorum(agreeing, env.switches) {
            self.deciding = true;
            out.push(Effect::Arm(Timer::Finalize));
        } else if self.deciding {
            self.deciding = false;
            out.push(Effect::Disarm(Timer::Finalize));
        }
        None
    }

    /// The sender is not in an election: a leader may be there already.
    fn on_settled<T>(
        &mut self,
        env: &Env,
        ensemble: &Ensemble,
        round: &mut Round,
        from: ServerId,
        n: Notification,
        out: &mut Effects<T>,
    ) -> Option<Elected> {
        let ballot = Ballot {
            vote: n.vote,
            state: n.state,
        };
        if n.round == *round {
            self.received.insert(from, ballot);
            let settled = self.received.iter().map(|(sid, b)| (*sid, *b));
            if tally::is_settled(env, ensemble, settled, n.vote, n.round == *round) {
                return Some(Elected { vote: n.vote });
            }
        }
        self.settled.insert(from, ballot);
        let settled = self.settled.iter().map(|(sid, b)| (*sid, *b));
        if tally::is_settled(env, ensemble, settled, n.vote, n.round == *round) {
            *round = n.round;
            return Some(Elected { vote: n.vote });
        }
        // A ballot replaced in this round may have dissolved the quorum that was being finalized.
        if self.deciding {
            return self.decide(env, ensemble, out);
        }
        None
    }

    /// No better vote has come: the election is over.
    pub(crate) fn on_finalize(&self) -> Option<Elected> {
        self.deciding.then_some(Elected {
            vote: self.proposal,
        })
    }

    /// Silence: messages may have been lost.
    pub(crate) fn on_resend<T>(
        &self,
        env: &Env,
        ensemble: &Ensemble,
        round: Round,
        out: &mut Effects<T>,
    ) {
        self.say_to_all(env, ensemble, round, out);
        out.push(Effect::Arm(Timer::Resend));
    }
}

#[cfg(test)]
mod tests {
    use crate::durable::Durable;
    use crate::ensemble::Ensemble;
    use crate::ids::{Epoch, Round, ServerId, Zxid};
    use crate::peer::Peer;
    use crate::quorum::{Group, Voters};
    use crate::step::{Effect, Effects, Env, Input, Timer};
    use crate::switch::Switches;
    use crate::vote::{Notification, ServerState, Vote};
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;

    const VOTERS: [ServerId; 3] = [ServerId(1), ServerId(2), ServerId(3)];
    const OBSERVER: ServerId = ServerId(4);

    /// A server's surroundings, and who votes.
    type Place = (Env, Ensemble);

    fn env(me: ServerId, voters: Voters) -> Place {
        let env = Env {
            me,
            observer: me == OBSERVER,
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: 0,
        };
        (env, Ensemble::of(voters))
    }

    fn says(from: u64, state: ServerState, leader: u64, round: u64) -> Input<()> {
        let notification = Notification {
            state,
            vote: Vote {
                epoch: Epoch(0),
                zxid: Zxid::ZERO,
                leader: ServerId(leader),
            },
            round: Round(round),
        };
        let from = ServerId(from);
        Input::Notified { from, notification }
    }

    /// What a server that has just started does on these inputs.
    fn after((env, ensemble): &Place, inputs: Vec<Input<()>>) -> (Peer, Effects<()>) {
        let (found, ensemble) = (Durable::default(), ensemble.clone());
        let mut peer = Peer::boot(env, found, ensemble, &mut Effects::<()>::new());
        let mut out = Effects::new();
        for input in inputs {
            peer.step(env, input, &mut out);
        }
        (peer, out)
    }

    fn told(out: &Effects<()>) -> Vec<ServerId> {
        let notified = out.iter().filter_map(|e| match e {
            Effect::Notify { to, .. } => Some(*to),
            _ => None,
        });
        notified.collect()
    }

    #[test]
    fn an_observer_is_answered_and_its_vote_is_not_counted() {
        let env = env(VOTERS[2], Voters::new(&VOTERS).unwrap());
        let (peer, out) = after(&env, vec![says(4, ServerState::Looking, 3, 1)]);
        assert_eq!(told(&out), [OBSERVER]);
        assert!(!out.contains(&Effect::Arm(Timer::Finalize)));
        assert_eq!(peer.state(), ServerState::Looking);
        // The same words of a voter are half of the way.
        let (_, out) = after(&env, vec![says(1, ServerState::Looking, 3, 1)]);
        assert!(out.contains(&Effect::Arm(Timer::Finalize)));
    }

    #[test]
    fn an_observer_joins_whom_a_quorum_of_voters_has_and_answers_nobody() {
        let env = env(OBSERVER, Voters::new(&VOTERS).unwrap());
        let settled = [
            says(3, ServerState::Leading, 3, 7),
            says(1, ServerState::Following, 3, 7),
        ];
        let (peer, _) = after(&env, settled[..1].to_vec());
        assert_eq!(peer.state(), ServerState::Looking);
        let (mut peer, out) = after(&env, settled.to_vec());
        assert_eq!(peer.state(), ServerState::Observing);
        assert!(out.contains(&Effect::Dial(VOTERS[2])));
        let mut out = Effects::new();
        for from in [1, 5] {
            peer.step(&env.0, says(from, ServerState::Looking, from, 9), &mut out);
        }
        assert_eq!(out, []);
    }

    #[test]
    fn nobody_takes_over_a_vote_for_a_server_without_weight() {
        let group = Group {
            number: 1,
            members: VOTERS.to_vec(),
        };
        let weights = BTreeMap::from([(VOTERS[2], 0)]);
        let voters = Voters::hierarchical(&VOTERS, &[group], &weights).unwrap();
        let heard = |me: usize| {
            let inputs = vec![
                says(3, ServerState::Looking, 3, 1),
                says(1, ServerState::Looking, 1, 1),
            ];
            let others = inputs
                .into_iter()
                .filter(|i| !matches!(i, Input::Notified { from, .. } if *from == VOTERS[me]));
            let env = env(VOTERS[me], voters.clone());
            after(&env, others.collect()).0.notification()
        };
        assert_eq!(heard(0).map(|n| n.vote.leader), Some(VOTERS[0]));
        assert_eq!(heard(1).map(|n| n.vote.leader), Some(VOTERS[1]));
        assert_eq!(heard(2).map(|n| n.vote.leader), Some(VOTERS[0]));
    }
}
