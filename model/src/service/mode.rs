//! As what a server answers clients, what it does with what they ask for, and what ends when it stops serving.
//!
//! | mode | a request that goes by the leader | a new session | a session that goes on |
//! |---|---|---|---|
//! | not serving | the connection ends | the same | the same |
//! | leader, standalone | judged here, and proposed | the same | the own tracker says |
//! | follower, observer | forwarded | the same | the leader is asked |
//! | without a leader, reads only (`read_only`) | refused | this server's own (`local`) | only if it is this server's own |
//!
//! Of a learner a leader takes requests, questions about sessions and the sessions in its PING, but only while it serves and the
//! learner has acknowledged NEWLEADER ([`counts_at_leader`]); answers it takes from its leader alone ([`counts_at_learner`]).
//!
//! **What ends with serving.** Nothing that waits will be answered: the leader that would have answered is another one, or this server is no
//! leader any more. So all of it is given up at once, all client connections end, and clients go on elsewhere with their sessions. What
//! was forwarded or proposed may become part of the history all the same, as nobody can take it back.
//!
//! **How the host calls it.** One [`Awaited`] holds all that waits. [`Mode::of`] after [`Effect::Serve`]; on [`Effect::Became`] and at its end it sets
//! [`Mode::NotServing`], calls [`Awaited::end`], forgets what was prepared (`Prep::reset`), and ends every client connection.
//!
//! [`Effect::Serve`]: crate::step::Effect::Serve
//! [`Effect::Became`]: crate::step::Effect::Became

use super::answers::Answers;
use super::attach::Revalidations;
use super::syncs::OwnSyncs;
use crate::ids::ServerId;
use crate::vote::ServerState;

/// As what a server answers clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// Not at all.
    #[default]
    NotServing,
    /// On its own.
    Standalone,
    /// With a leader.
    Follower,
    /// Follows a leader without a vote.
    Observer,
    /// As the leader.
    Leader,
    /// Without a leader: reads only.
    ReadOnly,
}

/// What becomes of something that a client asks of the leader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Its connection ends: it is to find another server.
    Close,
    /// This server decides.
    Judge,
    /// The leader is asked.
    Forward,
    /// There is no leader: what this server cannot answer alone is refused.
    Alone,
}

impl Mode {
    /// The mode of a server that serves in this state. `has_others`: its configuration names other servers.
    #[must_use]
    pub const fn of(state: ServerState, has_others: bool) -> Self {
        match state {
            _ if !has_others => Self::Standalone,
            ServerState::Leading => Self::Leader,
            ServerState::Observing => Self::Observer,
            // One that looks serves nobody; the core does not ask for it.
            ServerState::Following | ServerState::Looking => Self::Follower,
        }
    }

    /// What becomes of what a client asks of the leader.
    #[must_use]
    pub const fn way(self) -> Way {
        match self {
            Self::NotServing => Way::Close,
            Self::Standalone | Self::Leader => Way::Judge,
            Self::Follower | Self::Observer => Way::Forward,
            Self::ReadOnly => Way::Alone,
        }
    }

    /// Whether it serves clients with a leader behind it.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self.way(), Way::Judge | Way::Forward)
    }

    /// Whether it judges requests, its own sessions' and its learners'.
    #[must_use]
    pub const fn leads(self) -> bool {
        matches!(self.way(), Way::Judge)
    }
}

/// Whether a request, a question about a session, or the sessions in a PING count that came over a link from a learner. Before its ACK of
/// NEWLEADER a learner serves no clients, so it has nothing to ask for them.
#[must_use]
pub const fn counts_at_leader(mode: Mode, is_active_learner: bool) -> bool {
    mode.leads() && is_active_learner
}

/// Whether an answer, to a sync or about a session, counts that came over this link. A learner has nothing to answer.
#[must_use]
pub const fn counts_at_learner(mode: Mode, from_leader: bool) -> bool {
    matches!(mode.way(), Way::Forward) && from_leader
}

/// All that clients of one server wait for. `W` waits for the transaction of a request, `S` for a sync, `C` is the connection that waits for
/// the leader's word on its session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Awaited<W, S, C> {
    /// Requests whose transactions are awaited.
    pub answers: Answers<W>,
    /// Syncs.
    pub syncs: OwnSyncs<S>,
    /// Sessions that go on here if the leader says so.
    pub revalidations: Revalidations<C>,
}

/// Somebody who waits in vain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InVain<W, S, C> {
    /// For a transaction.
    Answer(W),
    /// For a sync.
    Sync(S),
    /// For a session.
    Revalidation(C),
}

impl<W, S, C> Awaited<W, S, C> {
    /// Nobody waits. `clock_ms` as in [`Answers::new`].
    #[must_use]
    pub fn new(server: ServerId, clock_ms: u64) -> Self {
        Self {
            answers: Answers::new(server, clock_ms),
            syncs: OwnSyncs::default(),
            revalidations: Revalidations::default(),
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.syncs.is_empty() && self.revalidations.is_empty()
    }

    /// Serving ends: everybody waits in vain. Nobody is left over, or the next leader's answers would go to the wrong ones: those to syncs and
    /// revalidations name no request.
    pub fn end(&mut self, mut told: impl FnMut(InVain<W, S, C>)) {
        // A new field does not compile until somebody decides what becomes of it here.
        let Self {
            answers,
            syncs,
            revalidations,
        } = self;
        answers.end().for_each(|w| told(InVain::Answer(w)));
        syncs.end().for_each(|s| told(InVain::Sync(s)));
        revalidations
            .end()
            .for_each(|c| told(InVain::Revalidation(c)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use alloc::vec::Vec;

    #[test]
    fn each_state_has_its_mode_and_each_mode_its_way() {
        for (state, has_others, mode, way) in [
            (ServerState::Leading, true, Mode::Leader, Way::Judge),
            (ServerState::Leading, false, Mode::Standalone, Way::Judge),
            (ServerState::Following, true, Mode::Follower, Way::Forward),
            (ServerState::Observing, true, Mode::Observer, Way::Forward),
        ] {
            assert_eq!(Mode::of(state, has_others), mode);
            assert_eq!(mode.way(), way);
            assert_eq!(mode.leads(), way == Way::Judge);
            assert!(mode.serves());
            for other_end in [false, true] {
                assert_eq!(counts_at_leader(mode, other_end), mode.leads() && other_end);
                assert_eq!(
                    counts_at_learner(mode, other_end),
                    !mode.leads() && other_end
                );
            }
        }
        assert_eq!(Mode::default().way(), Way::Close);
        assert_eq!(Mode::ReadOnly.way(), Way::Alone);
        assert!(!Mode::NotServing.serves() && !Mode::ReadOnly.serves());
        assert!(!counts_at_leader(Mode::ReadOnly, true));
        assert!(!counts_at_learner(Mode::ReadOnly, true));
        assert!(!counts_at_leader(Mode::NotServing, true));
        assert!(!counts_at_learner(Mode::NotServing, true));
    }

    #[test]
    fn whoever_waits_when_serving_ends_is_told_and_forgotten() {
        let mut awaited = Awaited::new(ServerId(1), 0);
        awaited.answers.proposed(SessionId(1), Zxid(7), 'w');
        awaited.syncs.forwarded('s');
        awaited.revalidations.ask(SessionId(2), 'c');
        assert!(!awaited.is_empty());
        let mut told = Vec::new();
        awaited.end(|who| told.push(who));
        assert_eq!(
            told,
            [
                InVain::Answer('w'),
                InVain::Sync('s'),
                InVain::Revalidation('c')
            ]
        );
        assert!(awaited.is_empty());
        assert_eq!(awaited.syncs.on_answer(), None);
        assert_eq!(awaited.revalidations.on_answer(SessionId(2)), None);
    }
}
