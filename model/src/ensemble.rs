//! Which configurations bind a server, and what they let a set of servers decide.
//!
//! A *configuration* is a list of voters, its version the zxid of the transaction that brought it. A *reconfiguration*
//! is an ordinary transaction whose payload is the next list ([`Payload`]). From the moment a server has it in its log
//! until it learns that it is committed, every decision of that server needs a quorum of both lists; from then on, of the
//! new one alone. All of it follows from the disk: the list that was activated last, and at most one newer one in the
//! log, which a TRUNC takes away again. SPEC.md §6.1 says why this is safe.

use crate::ids::{ServerId, Zxid};
use crate::quorum::{AckSet, VoterIndex, Voters};
use crate::switch::Switches;
use crate::vote::Vote;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize};

/// A transaction's payload, as far as the protocol has to understand it.
pub trait Payload {
    /// The voters that it brings, if it is a reconfiguration. Of each write this is asked more than once: a write has to tell so with
    /// one look.
    fn voters(&self) -> Option<Voters>;
}

impl Payload for () {
    fn voters(&self) -> Option<Voters> {
        None
    }
}

impl<P: Payload> Payload for Arc<P> {
    #[inline]
    fn voters(&self) -> Option<Voters> {
        P::voters(self)
    }
}

/// A list of voters and where it came from.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The zxid of the transaction that brought it; zero for the one that an ensemble begins with.
    pub version: Zxid,
    /// Who has a vote.
    pub voters: Voters,
}

/// What binds a server: the configuration that it knows to be committed, and a newer one that its log holds.
///
/// There is never a second newer one: a leader proposes no reconfiguration before the last one is committed, so a log
/// that holds two tells that the older one is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Ensemble {
    /// Known to be committed.
    pub(crate) active: Config,
    /// In the log, and not known to be committed.
    pub(crate) next: Option<Config>,
}

/// A server's places in both lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seat {
    active: Option<VoterIndex>,
    next: Option<VoterIndex>,
}

/// A set of servers, as each of the lists numbers its voters; whoever is in neither is not in the set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Acks {
    pub(crate) active: AckSet,
    pub(crate) next: AckSet,
}

impl Acks {
    pub(crate) const EMPTY: Self = Self {
        active: AckSet::EMPTY,
        next: AckSet::EMPTY,
    };

    /// Adds a server.
    pub(crate) fn insert(&mut self, seat: Seat) {
        if let Some(voter) = seat.active {
            self.active.insert(voter);
        }
        if let Some(voter) = seat.next {
            self.next.insert(voter);
        }
    }

    /// The same servers after an activation.
    pub(crate) const fn activated(self) -> Self {
        Self {
            active: self.next,
            next: AckSet::EMPTY,
        }
    }
}

impl Seat {
    /// Whether there is one that does not wait for a reconfiguration.
    pub(crate) const fn is_active(self) -> bool {
        self.active.is_some()
    }

    const fn is_any(self) -> bool {
        self.active.is_some() || self.next.is_some()
    }
}

impl Ensemble {
    /// The ensemble of servers that know nothing but who is to vote.
    #[must_use]
    pub const fn of(voters: Voters) -> Self {
        let version = Zxid::ZERO;
        Self {
            active: Config { version, voters },
            next: None,
        }
    }

    /// What a server finds on its disk: the configuration that it has activated last, and those in its history, by
    /// version. Of these the last one may be uncommitted, those before it are not.
    pub fn found(active: Config, in_history: impl Iterator<Item = Config>) -> Self {
        let mut ensemble = Self { active, next: None };
        for config in in_history {
            if config.version > ensemble.active.version {
                ensemble.activate();
                ensemble.next = Some(config);
            }
        }
        ensemble
    }

    /// The version and voters that are known to be committed.
    #[must_use]
    pub const fn active(&self) -> &Config {
        &self.active
    }

    /// A reconfiguration that is in the log, and not known to be committed.
    #[must_use]
    pub const fn next(&self) -> Option<&Config> {
        self.next.as_ref()
    }

    /// The log holds a reconfiguration.
    pub(crate) fn append(&mut self, config: Config) {
        assert!(
            self.next.is_none(),
            "I-34: at most one configuration is not known to be committed"
        );
        self.next = Some(config);
    }

    /// The newer configuration is committed.
    pub(crate) fn activate(&mut self) {
        if let Some(next) = self.next.take() {
            self.active = next;
        }
    }

    /// The log ends at `zxid` now.
    pub(crate) fn truncate(&mut self, zxid: Zxid) {
        self.next.take_if(|next| next.version > zxid);
    }

    /// What binds a server whose history ends at `zxid`.
    pub(crate) fn upto(&self, zxid: Zxid) -> Self {
        let mut ensemble = self.clone();
        ensemble.truncate(zxid);
        ensemble
    }

    /// The places of a server.
    pub(crate) fn seat(&self, id: ServerId) -> Seat {
        Seat {
            active: self.active.voters.index(id),
            next: self.next.as_ref().and_then(|next| next.voters.index(id)),
        }
    }

    /// Whether `id` has a vote, now or when the newer configuration is active.
    pub(crate) fn has_vote(&self, id: ServerId) -> bool {
        self.seat(id).is_any()
    }

    /// Whether `id` may be elected: it has a vote with weight, now or when the newer configuration is active.
    #[must_use]
    pub fn may_lead(&self, id: ServerId) -> bool {
        let next = self.next.as_ref();
        self.active.voters.may_lead(id) || next.is_some_and(|n| n.voters.may_lead(id))
    }

    /// Whether a vote beats another: by the order of votes, after who may lead at all. Nobody takes over a vote for a
    /// server without weight, and such a server takes over any other.
    pub(crate) fn is_better(&self, vote: Vote, than: Vote) -> bool {
        self.may_stand(vote.leader) && (!self.may_stand(than.leader) || vote > than)
    }

    /// Whether a voter's vote for `id` is a vote for a candidate: for a server with weight, or for one that these lists do not know. The
    /// voter may be bound by a list that this server lacks.
    fn may_stand(&self, id: ServerId) -> bool {
        id != ServerId::NOBODY && (self.may_lead(id) || !self.has_vote(id))
    }

    /// Everybody with a vote, now or when the newer configuration is active; each once.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> + '_ {
        let next = self.next.iter().flat_map(|next| next.voters.iter());
        let joining = next.filter(|id| self.active.voters.index(*id).is_none());
        self.active.voters.iter().chain(joining)
    }

    /// The set of these servers.
    pub(crate) fn set(&self, servers: impl IntoIterator<Item = ServerId>) -> Acks {
        let mut set = Acks::EMPTY;
        servers.into_iter().for_each(|id| set.insert(self.seat(id)));
        set
    }

    /// Whether everybody with a vote is in `set`: nobody is left to wait for.
    pub(crate) fn is_everybody(&self, set: Acks) -> bool {
        let next = self.next.as_ref();
        self.active.voters.is_everybody(set.active)
            && next.is_none_or(|n| n.voters.is_everybody(set.next))
    }

    /// Whether `set` may decide: an election, an epoch, whether to go on leading.
    pub(crate) fn is_quorum(&self, set: Acks, switches: Switches) -> bool {
        self.commits(Zxid(u64::MAX), set, switches)
    }

    /// Whether `set` wins an election.
    pub(crate) fn elects(&self, set: Acks, switches: Switches) -> bool {
        let next = self.next.as_ref();
        let next = next.is_none_or(|n| n.voters.is_quorum(set.next, switches));
        let active = self.active.voters.is_quorum(set.active, switches);
        let rules = switches.rules();
        (active || self.next.is_some() && !rules.old_list_elects_too())
            && (next || !rules.new_list_elects_too())
    }

    /// Whether `set` may decide under one of the lists alone, as the servers do that have the other one not yet, or no longer.
    pub(crate) fn is_quorum_of_one(&self, set: Acks, switches: Switches) -> bool {
        let next = self.next.as_ref();
        self.active.voters.is_quorum(set.active, switches)
            || next.is_some_and(|n| n.voters.is_quorum(set.next, switches))
    }

    /// Whether these servers may decide.
    #[must_use]
    pub fn decides(&self, servers: impl IntoIterator<Item = ServerId>, switches: Switches) -> bool {
        self.is_quorum(self.set(servers), switches)
    }

    /// Whether `set` may commit what was proposed at `zxid`: of the newer configuration too, if that was proposed
    /// before it or by it.
    #[inline]
    pub(crate) fn commits(&self, zxid: Zxid, set: Acks, switches: Switches) -> bool {
        let active = self.active.voters.is_quorum(set.active, switches);
        let Some(next) = self.next.as_ref().filter(|next| next.version <= zxid) else {
            return active;
        };
        let next = next.voters.is_quorum(set.next, switches);
        let rules = switches.rules();
        (active || !rules.old_list_decides_too()) && (next || !rules.new_list_decides_too())
    }

    /// Whether the servers in `synced` suffice to go on with these voters.
    pub(crate) fn can_become(
        voters: &Voters,
        synced: impl Iterator<Item = ServerId>,
        switches: Switches,
    ) -> bool {
        let mut set = AckSet::EMPTY;
        let seats = synced.filter_map(|id| voters.index(id));
        seats.for_each(|voter| set.insert(voter));
        voters.is_quorum(set, switches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec::Vec;

    fn voters(bits: u8) -> Voters {
        let ids = (0..8)
            .filter(|i| bits >> i & 1 == 1)
            .map(|i| ServerId(i + 1));
        Voters::new(&ids.collect::<Vec<_>>()).unwrap()
    }

    fn config(counter: u32, bits: u8) -> Config {
        Config {
            version: Zxid::new(Epoch(1), counter),
            voters: voters(bits),
        }
    }

    fn both(old: u8, new: u8) -> Ensemble {
        let mut ensemble = Ensemble::of(voters(old));
        ensemble.append(config(5, new));
        ensemble
    }

    fn servers(bits: u8) -> impl Iterator<Item = ServerId> {
        (0..8)
            .filter(move |i| bits >> i & 1 == 1)
            .map(|i| ServerId(i + 1))
    }

    #[test]
    fn a_set_that_decides_under_two_configurations_meets_every_set_that_decides_under_one_of_them()
    {
        let off = Switches::default();
        for (old, new) in [
            (0b011, 0b111),
            (0b111, 0b100),
            (0b0111, 0b1100),
            (0b00111, 0b11100),
        ] {
            let e = both(old, new);
            let (before, after) = (Ensemble::of(voters(old)), Ensemble::of(voters(new)));
            for a in (0..32_u8).filter(|a| e.is_quorum(e.set(servers(*a)), off)) {
                for one in [&before, &after, &e] {
                    for b in (0..32_u8).filter(|b| one.is_quorum(one.set(servers(*b)), off)) {
                        assert_ne!(a & b, 0, "{old:b} to {new:b}: {a:b} and {b:b} are disjoint");
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_proposed_before_a_reconfiguration_needs_the_old_quorum_only() {
        let e = both(0b011, 0b100);
        let old = e.set(servers(0b011));
        let off = Switches::default();
        let at = |counter| Zxid::new(Epoch(1), counter);
        assert!(e.commits(at(4), old, off) && !e.commits(at(5), old, off));
        assert!(!e.commits(at(6), old, off));
        let mut after = e.clone();
        after.activate();
        assert!(after.commits(at(6), e.set(servers(0b100)).activated(), off));
    }

    #[test]
    fn a_truncation_takes_back_what_is_not_active() {
        let mut e = both(0b011, 0b111);
        e.truncate(Zxid::new(Epoch(1), 5));
        assert!(e.next().is_some());
        e.truncate(Zxid::new(Epoch(1), 4));
        assert_eq!(e, Ensemble::of(voters(0b011)));
    }

    #[test]
    fn a_history_with_two_reconfigurations_tells_that_the_first_is_committed() {
        let list = [config(2, 0b111), config(4, 0b110)];
        let e = Ensemble::found(config(0, 0b011), list.clone().into_iter());
        assert_eq!((&e.active, e.next.as_ref()), (&list[0], Some(&list[1])));
        let e = Ensemble::found(list[1].clone(), list.clone().into_iter());
        assert_eq!((&e.active, e.next.as_ref()), (&list[1], None));
    }

    #[test]
    fn everybody_is_asked_once() {
        let e = both(0b011, 0b110);
        assert_eq!(e.iter().collect::<Vec<_>>(), [1, 2, 3].map(ServerId));
        assert!(e.is_everybody(e.set(servers(0b111))));
        assert!(!e.is_everybody(e.set(servers(0b011))) && !e.is_everybody(e.set(servers(0b110))));
        assert!(e.may_lead(ServerId(1)) && e.may_lead(ServerId(3)) && !e.may_lead(ServerId(4)));
    }
}
