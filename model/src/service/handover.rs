//! The orderly end of a reign: what a leader that stops says to its learners, and which connections of clients outlive it.
//!
//! ```text
//! leader                                 learner
//! PING, zxid -1                    ──►   nothing more is forwarded: what clients ask for waits here
//!                                  ◄──   PING, zxid -1, with all sessions that are attached here; every REQUEST came before it
//! PING, zxid -1, with those of     ──►   these connections end, the others are this server's
//! them that are at another server
//! commits what was proposed, ends its links
//!                                        an election; the other connections go on in the reign that follows this one
//! ```
//!
//! The zxid of a PING says nothing to anybody, and whoever gets one sends it back, so ZooKeeper's learners answer both and notice nothing (D-67).
//!
//! **Which connections may go on.** A connection that a client has left looks like any other as long as the network keeps its end back, and what
//! the client has said over it may still be there, unread. It must not take effect behind what the client has asked for elsewhere since. While a
//! leader reigns it knows where a session is ([`SessionTracker::check`](super::tracker::SessionTracker::check)); the next one does not. So a connection outlives a reign only if the
//! leader of that reign has said, at its end, that the session is here, and has let no session move since ([`Leaving::lets_move`]); and it goes on
//! only in the very next reign ([`Stay::serves`]), as a session may have moved in one that this server has missed. Where a leader is lost without
//! a word, all connections end.
//!
//! **How the host calls it.** A leader that is to stop: [`Leaving::begin`], and it sends the first PING to those links. [`Leaving::answered`] when one of
//! them sends it back: then it says which of the sessions are elsewhere. [`Leaving::takes`] before it carries out a request of a learner; its own
//! clients ask for nothing any more. [`Leaving::keep`] and [`Leaving::is_over`] at the end of each turn: then all that it has to
//! say is sent, and its links end. A learner: [`Stay::told`] for each such PING of its leader. While [`Stay::holds`], what its clients ask of the
//! leader is kept in order. [`Stay::lost`] when it stops serving: whether connections stay that wait for nothing. [`Stay::serves`] when it serves
//! again: whether they go on; else they end. [`Stay::ends`] when the tree is replaced; [`Stay::is_late`] at the end of each turn.

use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::service::tracker::SessionTracker;
use crate::step::Link;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// The zxid of the PINGs that end a reign; no transaction has it.
pub const LEAVES: Zxid = Zxid(u64::MAX);

/// A leader that is to stop.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Leaving {
    /// Learners that have not answered.
    awaited: BTreeSet<Link>,
    /// When it stops in any case, ms.
    until_ms: u64,
}

impl Leaving {
    /// These learners are told. Nobody is waited for longer than a tick.
    #[must_use]
    pub fn begin(learners: impl Iterator<Item = Link>, now_ms: u64, tick_ms: u64) -> Self {
        Self {
            awaited: learners.collect(),
            until_ms: now_ms.saturating_add(tick_ms),
        }
    }

    /// A learner has sent the PING back. Whether it was awaited: it is told then which of its sessions are elsewhere.
    pub fn answered(&mut self, link: Link) -> bool {
        self.awaited.remove(&link)
    }

    /// Whether a request of this learner is carried out: it has been sent before the answer. One of ZooKeeper's goes on sending.
    #[must_use]
    pub fn takes(&self, link: Link) -> bool {
        self.awaited.contains(&link)
    }

    /// Whether a session may go on elsewhere now: what a learner was told would not be true any more.
    #[must_use]
    pub const fn lets_move(leaving: Option<&Self>) -> bool {
        leaving.is_none()
    }

    /// Waits for those alone that are still there.
    pub fn keep(&mut self, is_there: impl Fn(Link) -> bool) {
        self.awaited.retain(|link| is_there(*link));
    }

    /// Whether everybody knows and everything is committed; `is_open`: something is proposed and not committed.
    #[must_use]
    pub fn is_over(&self, is_open: bool, now_ms: u64) -> bool {
        self.awaited.is_empty() && !is_open || now_ms >= self.until_ms
    }

    /// When it stops in any case, ms.
    #[must_use]
    pub const fn until_ms(&self) -> u64 {
        self.until_ms
    }
}

/// Of sessions that a learner has named, those that its leader knows to be at another server.
#[must_use]
pub fn elsewhere(
    tracker: &SessionTracker,
    sessions: impl Iterator<Item = SessionId>,
    learner: ServerId,
) -> Vec<SessionId> {
    let is_elsewhere = |session: &SessionId| {
        let owner = tracker.owner(*session);
        owner.is_some_and(|owner| owner != learner)
    };
    sessions.filter(is_elsewhere).collect()
}

/// How a learner's clients are over the end of a reign.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stay {
    /// Nobody has said that the reign ends.
    #[default]
    No,
    /// The leader leaves.
    Leaving {
        /// When it counts as one that stays after all, ms.
        until_ms: u64,
    },
    /// It has said whose sessions are elsewhere; the others are here.
    Settled {
        /// The reign that ends.
        epoch: Epoch,
        /// As above.
        until_ms: u64,
    },
    /// It has left, and connections wait for the next reign.
    Between {
        /// The reign that has ended.
        epoch: Epoch,
        /// Until when they do, ms.
        until_ms: u64,
    },
}

impl Stay {
    /// The leader of this epoch says once or twice that it leaves.
    pub fn told(&mut self, epoch: Epoch, now_ms: u64, tick_ms: u64) {
        let until_ms = now_ms.saturating_add(tick_ms.saturating_mul(2));
        *self = match self {
            Self::No | Self::Between { .. } => Self::Leaving { until_ms },
            Self::Leaving { .. } | Self::Settled { .. } => Self::Settled { epoch, until_ms },
        };
    }

    /// Whether what clients ask of the leader is kept here.
    #[must_use]
    pub const fn holds(self) -> bool {
        !matches!(self, Self::No)
    }

    /// Whether the leader wants to know which sessions are attached here.
    #[must_use]
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Leaving { .. })
    }

    /// Whether the leader has left and nobody is served yet.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Between { .. })
    }

    /// This server stops serving. Whether connections stay; those that wait for an answer end in any case, as it never comes.
    pub fn lost(&mut self, now_ms: u64, tick_ms: u64) -> bool {
        match *self {
            Self::Settled { epoch, .. } => {
                let until_ms = now_ms.saturating_add(tick_ms);
                *self = Self::Between { epoch, until_ms };
            }
            // An election that has failed, or its end.
            Self::Between { .. } => {}
            Self::No | Self::Leaving { .. } => *self = Self::No,
        }
        self.waits()
    }

    /// This server serves again, in this epoch. Whether the connections that have stayed go on.
    pub fn serves(&mut self, next: Epoch) -> bool {
        let goes_on = match *self {
            Self::Between { epoch, .. } => epoch.next() == Some(next),
            Self::No | Self::Leaving { .. } | Self::Settled { .. } => false,
        };
        *self = Self::No;
        goes_on
    }

    /// The connections that have stayed end. Whether there may be some.
    pub fn ends(&mut self) -> bool {
        core::mem::take(self).waits()
    }

    /// Whether nobody waits any longer: clients look for another server, or the leader has not left and is asked again.
    #[must_use]
    pub const fn is_late(self, now_ms: u64) -> bool {
        match self.until_ms() {
            Some(until_ms) => now_ms >= until_ms,
            None => false,
        }
    }

    /// When nobody waits any longer, ms.
    #[must_use]
    pub const fn until_ms(self) -> Option<u64> {
        match self {
            Self::No => None,
            Self::Leaving { until_ms }
            | Self::Settled { until_ms, .. }
            | Self::Between { until_ms, .. } => Some(until_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_MS: u64 = 1000;

    #[test]
    fn a_leader_waits_for_its_learners_and_its_commits_and_no_longer_than_a_tick() {
        let links = [1, 2, 3].map(Link);
        let mut leaving = Leaving::begin(links.into_iter(), 5, TICK_MS);
        assert!(leaving.takes(links[0]));
        assert!(leaving.answered(links[0]));
        assert!(!leaving.takes(links[0]), "one of ZooKeeper's goes on");
        assert!(!leaving.answered(links[0]), "it is told once");
        leaving.keep(|link| link != links[1]);
        assert!(!leaving.is_over(false, 6));
        assert!(leaving.answered(links[2]));
        assert!(leaving.is_over(false, 6));
        assert!(!leaving.is_over(true, 5 + TICK_MS - 1));
        assert!(leaving.is_over(true, 5 + TICK_MS));
        assert!(!Leaving::lets_move(Some(&leaving)) && Leaving::lets_move(None));
    }

    #[test]
    fn a_learner_is_told_of_the_sessions_that_are_at_other_servers() {
        let [here, moved, nowhere] = [7, 8, 9].map(SessionId);
        let all = [here, moved, nowhere];
        let mut tracker = SessionTracker::begin(TICK_MS, 0, all.map(|s| (s, 4000)).into_iter());
        tracker.set_owner(here, ServerId(1));
        tracker.set_owner(moved, ServerId(2));
        let of_learner = |id| elsewhere(&tracker, all.into_iter(), ServerId(id));
        assert_eq!(of_learner(1), [moved]);
        assert_eq!(of_learner(2), [here]);
        // Only what it has named.
        let named = elsewhere(&tracker, [here].into_iter(), ServerId(1));
        assert_eq!(named, []);
    }

    #[test]
    fn connections_outlive_a_reign_that_has_ended_in_order() {
        let reign = Epoch(4);
        let after = |told: u8, next: u32| {
            let mut stay = Stay::default();
            (0..told).for_each(|_| stay.told(reign, 0, TICK_MS));
            assert_eq!(stay.holds(), told > 0);
            let stays = stay.lost(1, TICK_MS);
            assert_eq!(stays, stay.holds(), "what is kept is kept for somebody");
            // An election fails.
            assert_eq!(stay.lost(2, TICK_MS), stays);
            (stays, stay.serves(Epoch(next)), stay)
        };
        // Said nothing, said that it leaves, said whose sessions are elsewhere.
        assert_eq!(after(0, 5), (false, false, Stay::No));
        assert_eq!(after(1, 5), (false, false, Stay::No));
        assert_eq!(after(2, 5), (true, true, Stay::No));
        // A reign in between, in which a session may have moved.
        assert_eq!(after(2, 6), (true, false, Stay::No));
        assert_eq!(after(2, 4), (true, false, Stay::No));
    }

    #[test]
    fn nobody_is_kept_for_ever() {
        let mut stay = Stay::default();
        assert!(!stay.is_late(u64::MAX) && !stay.ends());
        stay.told(Epoch(1), 0, TICK_MS);
        assert!(!stay.is_late(2 * TICK_MS - 1) && stay.is_late(2 * TICK_MS));
        stay.told(Epoch(1), 10, TICK_MS);
        assert!(stay.is_late(2 * TICK_MS + 10));
        assert!(stay.lost(50, TICK_MS));
        assert!(!stay.is_late(TICK_MS + 49) && stay.is_late(TICK_MS + 50));
        // A tree takes the place of this one.
        assert!(stay.ends());
        assert_eq!(stay, Stay::No);
    }
}
