//! Counting votes: when does a set of them decide?

use crate::ensemble::{Acks, Ensemble};
use crate::ids::ServerId;
use crate::step::Env;
use crate::vote::{ServerState, Vote};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// A vote as it was received.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ballot {
    /// The vote.
    pub vote: Vote,
    /// What its sender was doing.
    pub state: ServerState,
}

/// The newest ballot of each sender.
pub type Ballots = BTreeMap<ServerId, Ballot>;

/// Who agrees with `proposal` in all its parts, this server included.
pub(crate) fn agreeing(env: &Env, ensemble: &Ensemble, received: &Ballots, proposal: Vote) -> Acks {
    let others = received
        .iter()
        .filter(|(_, b)| b.vote == proposal)
        .map(|(sid, _)| *sid);
    ensemble.set(others.chain([env.me]))
}

/// Whether more than half as many servers as there are voters agree with `proposal`, whoever they are; this server makes one more.
pub(crate) fn many_agree(ensemble: &Ensemble, received: &Ballots, proposal: Vote) -> bool {
    let others = received.values().filter(|b| b.vote == proposal);
    (others.count() + 1) * 2 > ensemble.iter().count()
}

/// Whether servers outside the election prove that `vote` has won: a quorum of them names its leader and
/// epoch, and the leader itself says that it leads.
///
/// Those who follow may be bound by one list alone where this server is bound by two: they have not the newer one, or know it to be committed.
/// To follow a leader decides nothing: that leader counts by its own lists, and a history that lacks the newer one takes it away again.
///
/// Zxids and rounds are not compared: members of one formed ensemble may report different ones
/// (ZOOKEEPER-1732). Without the leader's own word a dead leader could be elected for ever (ZOOKEEPER-917).
pub(crate) fn is_settled(
    env: &Env,
    ensemble: &Ensemble,
    ballots: impl Iterator<Item = (ServerId, Ballot)> + Clone,
    vote: Vote,
    in_my_round: bool,
) -> bool {
    let outside = ballots.clone().filter(|(_, b)| {
        b.state != ServerState::Looking
            && b.vote.leader == vote.leader
            && b.vote.epoch == vote.epoch
    });
    let set = ensemble.set(outside.map(|(sid, _)| sid));
    let leader_confirms = if vote.leader == env.me {
        in_my_round
    } else {
        ballots
            .clone()
            .any(|(sid, b)| sid == vote.leader && b.state == ServerState::Leading)
    };
    let leader_confirms = leader_confirms || !env.rules().leaders_own_word_is_needed();
    let decides = if env.rules().either_list_proves_a_leader() {
        ensemble.is_quorum_of_one(set, env.switches)
    } else {
        ensemble.is_quorum(set, env.switches)
    };
    leader_confirms && decides
}
