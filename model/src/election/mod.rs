//! Looking: Fast Leader Election. Which leader do I follow?
//!
//! Source: ZooKeeper `FastLeaderElection.lookForLeader`; SPEC.md §3.

pub(crate) mod tally;

use crate::ensemble::Ensemble;
use crate::ids::{Round, ServerId};
use crate::step::{Effect, Effects, Env, Timer};
use crate::vote::{Notification, ServerState, Vote};
use serde::{Deserialize, Serialize};
pub use tally::{Ballot, Ballots};

/// A server in an election.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
            if !ensemble.has_vote(env.me) && env.rules().answers_end() {
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
        let with_guests = !env.rules().only_voters_elect()
            && tally::many_agree(ensemble, &self.received, self.proposal);
        if single || with_guests || ensemble.elects(agreeing, env.switches) {
            self.deciding = true;
            out.push(Effect::Arm(Timer::Finalize));
        } else if self.deciding {
            self.deciding = false;
            out.push(Effect::Disarm(Timer::Finalize));
        }
        None
    }

    /// Whether somebody outside the election is heard who is no voter by the own list, or follows such a one: a voter is, and the leader
    /// that a voter has told of.
    pub(crate) fn is_told_of(&self, from: ServerId, leader: ServerId, ensemble: &Ensemble) -> bool {
        let is_told = || self.settled.values().any(|b| b.vote.leader == from);
        ensemble.has_vote(from) || (from == leader && is_told())
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
        let leader = n.vote.leader;
        if from != leader
            && leader != env.me
            && !ensemble.has_vote(leader)
            && env.rules().unlisted_leader_is_asked()
        {
            // Nobody asks a server that no list has; its own word is needed all the same.
            let notification = self.notification(*round);
            out.push(Effect::Notify {
                to: leader,
                notification,
            });
        }
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
        // It has voted in this round, too: its ballot may complete the quorum of this server's proposal, or dissolve it. Who follows already
        // says nothing more until it is asked, so nobody else need come.
        let counts = env.rules().votes_of_a_round_count_together()
            || self.deciding
            || ensemble.next().is_some();
        if n.round == *round && counts {
            return self.decide(env, ensemble, out);
        }
        None
    }

    /// Whether a quorum agrees and nobody is left to wait for: all that do not agree are out of reach, as the host has found when it tried to
    /// connect to them. **Finalize** may run out at once then (D-66).
    pub(crate) fn waits_for_nobody(
        &self,
        env: &Env,
        ensemble: &Ensemble,
        is_away: impl Fn(ServerId) -> bool,
    ) -> bool {
        let agrees = |id: &ServerId| {
            let ballot = self.received.get(id);
            *id == env.me || ballot.is_some_and(|b| b.vote == self.proposal)
        };
        let settled = ensemble.iter().filter(|id| agrees(id) || is_away(*id));
        self.deciding && ensemble.is_everybody(ensemble.set(settled))
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
    use crate::ensemble::{Config, Ensemble};
    use crate::ids::{Epoch, Round, ServerId, Zxid};
    use crate::packet::Packet;
    use crate::peer::Peer;
    use crate::quorum::{Group, Voters};
    use crate::step::{Effect, Effects, Env, Input, Link, Mark, SyncLimits, Timer};
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
            sync: SyncLimits::NONE,
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

    /// Two lists decide, {1, 2, 3} and {1, 3}. Server 1 hears of server 3 by the vote of server 2, and of server 3 itself only when that
    /// leads already: nobody else is there to tell more.
    #[test]
    fn while_two_lists_decide_the_word_of_a_leader_may_complete_a_quorum() {
        let (env, mut ensemble) = env(VOTERS[0], Voters::new(&VOTERS).unwrap());
        ensemble.append(Config {
            version: Zxid(1),
            voters: Voters::new(&[VOTERS[0], VOTERS[2]]).unwrap(),
        });
        let place = (env, ensemble);
        let inputs = vec![
            says(2, ServerState::Looking, 3, 1),
            says(3, ServerState::Leading, 3, 1),
        ];
        let (_, out) = after(&place, inputs[..1].to_vec());
        assert!(!out.contains(&Effect::Arm(Timer::Finalize)));
        let (peer, _) = after(&place, inputs);
        // Everybody agrees then.
        assert_eq!(peer.leader(), Some(VOTERS[2]));
    }

    /// Server 1 has a list of five in its log that is not committed; 2 and 3 have not, and go on by the old one of three.
    #[test]
    fn who_has_a_list_that_others_lack_follows_whom_they_follow() {
        let (env, mut ensemble) = env(VOTERS[0], Voters::new(&VOTERS).unwrap());
        ensemble.append(Config {
            version: Zxid(1),
            voters: Voters::new(&[1, 2, 3, 5, 6].map(ServerId)).unwrap(),
        });
        let inputs = vec![
            says(2, ServerState::Following, 3, 7),
            says(3, ServerState::Leading, 3, 7),
        ];
        let place = (env, ensemble);
        assert_eq!(after(&place, inputs[..1].to_vec()).0.leader(), None);
        assert_eq!(after(&place, inputs).0.leader(), Some(VOTERS[2]));
    }

    /// The leader has got its vote by a list that this server has missed: a quorum of those that it knows, and the leader's own word,
    /// are enough, and it is asked for that.
    #[test]
    fn a_leader_of_a_list_that_was_missed_is_found_by_those_that_follow_it() {
        let place = env(VOTERS[0], Voters::new(&VOTERS).unwrap());
        let (leads, follows) = (ServerState::Leading, ServerState::Following);
        let all = [
            says(2, follows, 4, 7),
            says(3, follows, 4, 7),
            says(4, leads, 4, 7),
        ];
        for left_out in 0..3 {
            let mut inputs = all.to_vec();
            inputs.remove(left_out);
            let (peer, out) = after(&place, inputs);
            assert_eq!(peer.state(), ServerState::Looking, "{left_out}");
            assert!(told(&out).contains(&ServerId(4)));
        }
        let (peer, out) = after(&place, all.to_vec());
        assert_eq!(peer.leader(), Some(ServerId(4)));
        assert!(out.contains(&Effect::Dial(ServerId(4))));
        // A stranger that says so of itself is none, nor is one that looks.
        let inputs = vec![
            says(4, leads, 4, 7),
            says(5, leads, 5, 7),
            says(2, ServerState::Looking, 4, 7),
        ];
        let (peer, _) = after(&place, inputs);
        assert_eq!(peer.state(), ServerState::Looking);
    }

    /// The disk of server 1 is still busy when those that it knows tell of the leader that they follow.
    #[test]
    fn what_is_told_of_such_a_leader_while_the_disk_is_busy_is_not_lost() {
        let (env, ensemble) = env(VOTERS[0], Voters::new(&VOTERS).unwrap());
        let (leads, follows) = (ServerState::Leading, ServerState::Following);
        let mut inputs = vec![
            says(2, follows, 3, 7),
            says(3, leads, 3, 7),
            Input::Linked(Link(1)),
            Input::Received {
                link: Link(1),
                packet: Packet::LeaderInfo { epoch: Epoch(1) },
            },
            Input::Unlinked(Link(1)),
            says(2, follows, 4, 7),
            says(3, follows, 4, 7),
        ];
        let place = (env, ensemble);
        let (peer, _) = after(&place, inputs.clone());
        assert!(
            !peer.storage().is_idle(),
            "the epoch is on its way to the disk"
        );
        inputs.extend([Input::Durable(Mark(u64::MAX)), says(4, leads, 4, 7)]);
        assert_eq!(after(&place, inputs).0.leader(), Some(ServerId(4)));
    }

    /// Server 1 votes for server 2, that vote is lost, and server 1 follows by the time it speaks again; server 3 is not there.
    #[test]
    fn a_vote_of_the_round_counts_whether_its_sender_looks_or_follows_already() {
        let place = env(VOTERS[1], Voters::new(&VOTERS).unwrap());
        let (looks, follows) = (ServerState::Looking, ServerState::Following);
        let decides = |inputs: Vec<Input<()>>| {
            let (peer, out) = after(&place, inputs);
            assert_eq!(peer.state(), ServerState::Looking);
            out.contains(&Effect::Arm(Timer::Finalize))
        };
        assert!(decides(vec![says(1, looks, 2, 1)]));
        assert!(decides(vec![says(1, follows, 2, 1)]));
        // Not for another round, not for another candidate, and not of one that has no vote.
        assert!(!decides(vec![says(1, follows, 2, 7)]));
        assert!(!decides(vec![says(1, follows, 1, 1)]));
        assert!(!decides(vec![says(4, follows, 2, 1)]));
        // What it has said since dissolves the quorum.
        let (peer, _) = after(&place, vec![says(1, follows, 2, 1), says(1, follows, 1, 1)]);
        assert!(!peer.waits_for_nobody(&place.0, |id| id == VOTERS[2]));
        let (peer, _) = after(&place, vec![says(1, follows, 2, 1)]);
        assert!(peer.waits_for_nobody(&place.0, |id| id == VOTERS[2]));
        let mut peer = peer;
        peer.step(
            &place.0,
            Input::Fired(Timer::Finalize),
            &mut Effects::<()>::new(),
        );
        assert_eq!(peer.state(), ServerState::Leading);
    }

    /// Server 3 led, and has lost its vote. It comes back in the round in which it was elected, and those that followed it still do; or it is
    /// still in that round, and their votes come late.
    #[test]
    fn who_has_lost_its_vote_votes_for_nobody_and_does_not_lead_where_others_name_it() {
        let place = env(VOTERS[2], Voters::new(&VOTERS[..2]).unwrap());
        let follows = ServerState::Following;
        for state in [follows, ServerState::Looking] {
            let (peer, _) = after(&place, vec![says(1, state, 3, 1), says(2, state, 3, 1)]);
            assert_eq!(peer.state(), ServerState::Looking);
            let vote = peer.notification().map(|n| n.vote.leader);
            assert_eq!(vote, Some(ServerId::NOBODY));
        }
        // One that has its vote takes it up again.
        let place = env(VOTERS[2], Voters::new(&VOTERS).unwrap());
        let both = vec![says(1, follows, 3, 1), says(2, follows, 3, 1)];
        assert_eq!(after(&place, both).0.state(), ServerState::Leading);
    }

    /// Server 3 is to get a vote: server 2 has that in its log, and server 1 has not.
    #[test]
    fn a_voter_may_propose_a_server_that_the_own_list_lacks() {
        let place = env(VOTERS[0], Voters::new(&VOTERS[..2]).unwrap());
        let looking = ServerState::Looking;
        // Its own word is that of a server without a vote.
        let (peer, _) = after(&place, vec![says(3, looking, 3, 1)]);
        assert_eq!(peer.notification().map(|n| n.vote.leader), Some(VOTERS[0]));
        let (peer, out) = after(&place, vec![says(2, looking, 3, 1)]);
        assert_eq!(peer.leader(), Some(VOTERS[2]));
        assert!(out.contains(&Effect::Dial(VOTERS[2])));
        // A vote for nobody is none.
        let (peer, _) = after(&place, vec![says(2, looking, ServerId::NOBODY.0, 1)]);
        assert_eq!(peer.notification().map(|n| n.vote.leader), Some(VOTERS[0]));
    }

    /// Lets two servers talk to each other until both are silent.
    fn talk(places: &[Place; 2], rounds: [u64; 2]) -> usize {
        let [mut a, mut b] = [0, 1].map(|i| {
            let (env, ensemble) = &places[i];
            let (found, ensemble) = (Durable::default(), ensemble.clone());
            let mut peer = Peer::boot(env, found, ensemble, &mut Effects::<()>::new());
            peer.round = Round(rounds[i]);
            peer
        });
        let mut waiting: Vec<(usize, Notification)> = Vec::new();
        for (i, peer) in [&a, &b].into_iter().enumerate() {
            waiting.extend(peer.notification().map(|n| (1 - i, n)));
        }
        let mut heard = 0;
        while let Some((to, notification)) = waiting.pop() {
            heard += 1;
            assert!(heard < 50, "they talk for ever: {places:?} {rounds:?}");
            let (from, mut out) = (places[1 - to].0.me, Effects::<()>::new());
            let peer = [&mut a, &mut b].into_iter().nth(to).unwrap();
            peer.step(
                &places[to].0,
                Input::Notified { from, notification },
                &mut out,
            );
            let answers = out.into_iter().filter_map(|effect| match effect {
                Effect::Notify {
                    to: whom,
                    notification,
                } if whom == from => Some((1 - to, notification)),
                _ => None,
            });
            waiting.extend(answers);
        }
        heard
    }

    /// Whatever lists two servers go by, with and without a vote for each other, in whatever rounds they are (D-129).
    #[test]
    fn two_servers_that_differ_in_who_votes_do_not_answer_each_other_for_ever() {
        let all = [1, 2, 3, 4].map(ServerId);
        let lists: Vec<Voters> = (1..16_u8)
            .map(|bits| {
                all.into_iter()
                    .filter(move |id| bits >> (id.0 - 1) & 1 == 1)
            })
            .map(|ids| Voters::new(&ids.collect::<Vec<_>>()).unwrap())
            .collect();
        let mut longest = 0;
        for (a, b) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
            for rounds in [[1, 1], [1, 2], [2, 1]] {
                let places = [(1, a), (3, b)].map(|(me, list)| {
                    let (mut env, ensemble) = env(ServerId(me), list.clone());
                    // Who alone decides has nobody to ask; here all look.
                    env.epoch_max = Epoch(0);
                    (env, ensemble)
                });
                longest = longest.max(talk(&places, rounds));
            }
        }
        assert!(longest > 3, "somebody is answered: {longest}");
    }

    /// Server 1 and 2 agree on 2; what is known of server 3 decides whether they wait for its vote.
    #[test]
    fn a_quorum_waits_for_those_alone_that_can_be_reached() {
        let place = env(VOTERS[0], Voters::new(&VOTERS).unwrap());
        let waits_for_nobody = |inputs: Vec<Input<()>>, away: &[ServerId]| {
            let (peer, _) = after(&place, inputs);
            peer.waits_for_nobody(&place.0, |id| away.contains(&id))
        };
        let agrees = || vec![says(2, ServerState::Looking, 2, 1)];
        assert!(!waits_for_nobody(agrees(), &[]));
        assert!(waits_for_nobody(agrees(), &[VOTERS[2]]));
        // Without a quorum there is nothing to end, whoever is away.
        assert!(!waits_for_nobody(vec![], &VOTERS[1..]));
        // With server 3 there is a quorum, too; server 2 is there, and has not taken its vote over yet.
        let differs = vec![
            says(3, ServerState::Looking, 3, 1),
            says(2, ServerState::Looking, 2, 1),
        ];
        assert!(!waits_for_nobody(differs, &[VOTERS[2]]));
        // All five of a larger ensemble are asked, not a quorum of them.
        let five = [1, 2, 3, 4, 5].map(ServerId);
        let place = env(VOTERS[0], Voters::new(&five).unwrap());
        let inputs = vec![
            says(2, ServerState::Looking, 3, 1),
            says(3, ServerState::Looking, 3, 1),
        ];
        let (peer, _) = after(&place, inputs);
        for (away, nobody) in [
            (&five[3..], true),
            (&five[4..], false),
            (&five[3..4], false),
        ] {
            let is_away = |id| away.contains(&id);
            assert_eq!(peer.waits_for_nobody(&place.0, is_away), nobody);
        }
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
