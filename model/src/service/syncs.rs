//! What a `sync` waits for, and who answers it.
//!
//! A sync has no transaction of its own. It asks that whatever had been proposed when the leader heard of it is applied at the
//! client's server before the answer comes; a read behind the answer then shows all that anybody was told before the sync was sent.
//!
//! | where the client is | the sync waits for | its answer comes |
//! |---|---|---|
//! | at the leader | the end of the leader's log, as it is then | when that is applied, before anything later is |
//! | at a learner | the leader's answer over the link | when everything that came over the link before it is applied |
//!
//! A leader answers a learner behind the COMMIT (or INFORM) of the end of its log, at once if that is committed already. A link keeps its
//! order, so the learner has that COMMIT first. Answers name nothing: they come in the order of the requests, and none is left out.
//!
//! So a leader that others have replaced, and that does not know it yet, answers from what it has, as ZooKeeper's does. Where that is not
//! enough (`zabra.syncWaitsForQuorum`, D-112), a transaction is proposed behind each sync, and the sync waits for that: a quorum has
//! acknowledged something that was proposed after the sync had come, so no quorum had followed another leader before. All syncs of a turn
//! share one, and whatever else was proposed in that turn does as well: nothing of it has left before all of them had come.
//!
//! **How the host calls it.** One [`OwnSyncs`] for its own clients; one [`LearnerSyncs`] for each link from a learner.
//! On a sync of its own client: [`OwnSyncs::lead`] where it leads, and if that hands the sync back, it applies everything that is
//! delivered and answers; [`OwnSyncs::forwarded`] where it follows, in the step that forwards it. While it applies: [`OwnSyncs::next_before`]
//! until it is empty before each transaction, and once more with the place behind the last one when all of a turn are applied. On the leader's answer:
//! it applies everything that is delivered, then [`OwnSyncs::on_answer`].
//! At the leader, first of all: where [`needs_proposal`], it proposes a transaction that changes nothing.
//! On a learner's sync: [`LearnerSyncs::asked`]; behind each COMMIT or INFORM on the link: [`LearnerSyncs::committed`] says how many answers
//! follow. When serving ends, [`OwnSyncs::end`]; a link that ends takes its [`LearnerSyncs`] with it.

use crate::ids::Zxid;
use alloc::collections::VecDeque;

/// What a client's sync waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Due {
    /// This server leads: that everything up to here is applied.
    Applied(Zxid),
    /// This server follows: the leader's next answer.
    Answer,
}

/// The syncs of a server's own clients. `W` is who waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OwnSyncs<W> {
    waiting: VecDeque<(Due, W)>,
}

impl<W> Default for OwnSyncs<W> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<W> OwnSyncs<W> {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// This server leads, its log ends at `last_logged`, and what is to be applied ends at `delivered`. A sync that has nothing to wait
    /// for is handed back: it is answered as soon as all that is delivered is applied.
    #[must_use = "a sync that is handed back must be answered"]
    pub fn lead(&mut self, last_logged: Zxid, delivered: Zxid, who: W) -> Option<W> {
        if is_open(last_logged, delivered) {
            self.waiting.push_back((Due::Applied(last_logged), who));
            None
        } else {
            Some(who)
        }
    }

    /// This server follows, and has forwarded the sync to its leader.
    pub fn forwarded(&mut self, who: W) {
        self.waiting.push_back((Due::Answer, who));
    }

    /// The next sync that waits for nothing from `zxid` on: it is answered before that transaction is applied, as it was asked
    /// before that was proposed. On a server that follows this is nobody: its leader says when.
    pub fn next_before(&mut self, zxid: Zxid) -> Option<W> {
        let is_due = |due: &Due| matches!(due, Due::Applied(at) if *at < zxid);
        let (_, who) = self.waiting.pop_front_if(|(due, _)| is_due(due))?;
        Some(who)
    }

    /// The same when everything up to `applied` is in the tree.
    pub fn next_after(&mut self, applied: Zxid) -> Option<W> {
        self.next_before(Zxid(applied.0.saturating_add(1)))
    }

    /// The leader has answered: that is for the oldest. On a server that leads it is for nobody, as nobody answers its syncs but itself.
    pub fn on_answer(&mut self) -> Option<W> {
        let (_, who) = self
            .waiting
            .pop_front_if(|(due, _)| matches!(due, Due::Answer))?;
        Some(who)
    }

    /// This server serves no more: nobody will answer. Those who wait come back, to be told.
    pub fn end(&mut self) -> impl Iterator<Item = W> {
        self.waiting.drain(..).map(|(_, who)| who)
    }
}

/// At a leader: the syncs of one learner's clients, as it has forwarded them over one link.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LearnerSyncs {
    due: VecDeque<Zxid>,
}

impl LearnerSyncs {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// A sync has come, while the log ends at `last_logged` and commits have been sent up to `delivered`; whether its answer goes at
    /// once. Else it waits for the COMMIT of the end of the log.
    #[must_use = "a sync that does not wait must be answered"]
    pub fn asked(&mut self, last_logged: Zxid, delivered: Zxid) -> bool {
        let open = is_open(last_logged, delivered);
        if open {
            self.due.push_back(last_logged);
        }
        !open
    }

    /// The COMMIT (or INFORM) of `zxid` was put on the link: so many answers go behind it.
    #[must_use = "that many answers must be sent"]
    pub fn committed(&mut self, zxid: Zxid) -> usize {
        let before = self.due.len();
        while self.due.pop_front_if(|due| *due <= zxid).is_some() {}
        before - self.due.len()
    }
}

/// Whether a leader has to propose something before it looks at a sync: it `waits` for a quorum, and nothing was proposed since the log
/// ended at `begin`, as it did when the turn began in which the sync is looked at.
#[must_use]
pub const fn needs_proposal(waits: bool, last_logged: Zxid, begin: Zxid) -> bool {
    waits && last_logged.0 <= begin.0
}

/// Whether something that was proposed is not committed yet.
const fn is_open(last_logged: Zxid, delivered: Zxid) -> bool {
    last_logged.0 > delivered.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn all<W>(mut next: impl FnMut() -> Option<W>) -> Vec<W> {
        core::iter::from_fn(&mut next).collect()
    }

    #[test]
    fn a_leaders_own_sync_is_answered_behind_what_was_proposed_and_before_what_comes_later() {
        let mut syncs = OwnSyncs::default();
        assert_eq!(syncs.lead(Zxid(4), Zxid(4), 'n'), Some('n'), "nothing open");
        assert_eq!(syncs.lead(Zxid(5), Zxid(4), 'a'), None);
        assert_eq!(syncs.lead(Zxid(7), Zxid(4), 'b'), None);
        assert_eq!(syncs.next_before(Zxid(5)), None);
        assert_eq!(all(|| syncs.next_before(Zxid(6))), ['a']);
        assert_eq!(syncs.next_before(Zxid(7)), None);
        assert_eq!(all(|| syncs.next_after(Zxid(7))), ['b']);
    }

    #[test]
    fn a_followers_syncs_are_answered_by_its_leader_alone() {
        let mut syncs = OwnSyncs::default();
        syncs.forwarded('a');
        syncs.forwarded('b');
        assert_eq!(syncs.next_before(Zxid(u64::MAX)), None);
        assert_eq!(syncs.on_answer(), Some('a'));
        assert_eq!(all(|| syncs.on_answer()), ['b']);
        assert_eq!(
            syncs.lead(Zxid(2), Zxid(1), 'c'),
            None,
            "it leads by now: nobody answers its syncs but itself"
        );
        assert_eq!(syncs.on_answer(), None);
        assert_eq!(syncs.end().collect::<Vec<_>>(), ['c']);
        assert!(syncs.is_empty());
    }

    #[test]
    fn a_sync_that_waits_for_a_quorum_needs_one_proposal_in_its_turn() {
        assert!(!needs_proposal(false, Zxid(4), Zxid(4)));
        assert!(needs_proposal(true, Zxid(4), Zxid(4)));
        assert!(!needs_proposal(true, Zxid(5), Zxid(4)), "another one's");
    }

    #[test]
    fn a_learners_sync_is_answered_behind_the_commit_of_all_that_was_open() {
        let mut syncs = LearnerSyncs::default();
        assert!(syncs.asked(Zxid(3), Zxid(3)));
        assert!(!syncs.asked(Zxid(4), Zxid(3)));
        assert!(!syncs.asked(Zxid(4), Zxid(3)));
        assert!(!syncs.asked(Zxid(6), Zxid(3)));
        assert_eq!([4, 5, 6].map(|z| syncs.committed(Zxid(z))), [2, 0, 1]);
        assert!(syncs.is_empty());
    }
}
