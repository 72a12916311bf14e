//! Who has a vote, and which sets of voters may decide: ZooKeeper's QuorumVerifier, with both of its rules.
//!
//! Nobody outside this file counts voters: each question about a set of them is a method of [`Voters`].

use crate::ids::ServerId;
use crate::switch::Switches;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A set of voters, by their index in [`Voters`].
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct AckSet(pub u64);

impl AckSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// Adds a voter.
    pub fn insert(&mut self, voter: VoterIndex) {
        self.0 |= 1 << voter.0;
    }

    /// Whether a voter is in it.
    #[must_use]
    pub const fn contains(self, voter: VoterIndex) -> bool {
        self.0 >> voter.0 & 1 == 1
    }

    /// How many voters are in it.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether nobody is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A voter's place in [`Voters`], below [`Voters::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VoterIndex(u8);

/// A group of voters, as `group.N=` lines name it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    /// Its number.
    pub number: u64,
    /// Who belongs to it.
    pub members: Vec<ServerId>,
}

/// Why a set of voters cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VotersError {
    /// Nobody has a vote.
    Nobody,
    /// More voters than [`Voters::MAX`].
    TooMany {
        /// How many.
        count: usize,
    },
    /// A voter is in no group, although there are groups.
    InNoGroup {
        /// Who.
        sid: ServerId,
    },
    /// A server is in two groups, or twice in one.
    InTwoGroups {
        /// Who.
        sid: ServerId,
    },
    /// A group names a server that has no vote.
    GroupOfNonVoter {
        /// The group.
        number: u64,
        /// Who.
        sid: ServerId,
    },
    /// A weight is given to a server that has no vote.
    WeightOfNonVoter {
        /// Who.
        sid: ServerId,
    },
    /// Every weight is 0: nobody could ever decide.
    NoWeight,
}

impl fmt::Display for VotersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("no server has a vote; make one a participant"),
            Self::TooMany { count } => {
                write!(f, "{count} servers have a vote; {} can", Voters::MAX)
            }
            Self::InNoGroup { sid } => {
                write!(f, "server {sid} is in no group; add it to a group")
            }
            Self::InTwoGroups { sid } => {
                write!(f, "server {sid} is in two groups; keep it in one")
            }
            Self::GroupOfNonVoter { number, sid } => {
                write!(
                    f,
                    "group {number} names server {sid}, which has no vote; remove it"
                )
            }
            Self::WeightOfNonVoter { sid } => {
                write!(
                    f,
                    "server {sid} has a weight but no vote; remove the weight"
                )
            }
            Self::NoWeight => f.write_str("all weights are 0; give one server a weight"),
        }
    }
}

impl core::error::Error for VotersError {}

/// The voting servers of an ensemble, in id order, and the rule by which a set of them decides.
///
/// - **Majority**: more than half of the voters.
/// - **Hierarchical** (with groups): more than half of the weight in more than half of those groups that have any
///   weight. A voter of weight 0 is asked and answered like the others, but never decides and never leads.
///
/// Under either rule any two quorums share a voter. Source: ZooKeeper `QuorumMaj`, `QuorumHierarchical`; SPEC.md §1.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Voters {
    ids: Vec<ServerId>,
    /// The weight of each voter, in the order of `ids`. All 1 under the majority rule.
    weights: Vec<u32>,
    /// The groups that have any weight; none under the majority rule.
    groups: Vec<Weighed>,
}

/// A group, ready to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
struct Weighed {
    members: AckSet,
    weight: u64,
}

impl Voters {
    /// An ensemble may have at most this many voters: the width of an [`AckSet`].
    pub const MAX: usize = 64;

    /// The voters in `ids` under the majority rule; duplicates count once.
    ///
    /// # Errors
    /// [`VotersError::Nobody`], [`VotersError::TooMany`].
    pub fn new(ids: &[ServerId]) -> Result<Self, VotersError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        match ids.len() {
            0 => Err(VotersError::Nobody),
            1..=Self::MAX => Ok(Self {
                weights: ids.iter().map(|_| 1).collect(),
                ids,
                groups: Vec::new(),
            }),
            count => Err(VotersError::TooMany { count }),
        }
    }

    /// The voters in `ids` under the hierarchical rule: every one in exactly one of `groups`, with its weight in
    /// `weights` or 1. Without groups this is the majority rule, and weights say nothing, as in ZooKeeper.
    ///
    /// # Errors
    /// [`VotersError`], each of its kinds.
    pub fn hierarchical(
        ids: &[ServerId],
        groups: &[Group],
        weights: &BTreeMap<ServerId, u32>,
    ) -> Result<Self, VotersError> {
        let mut voters = Self::new(ids)?;
        if let Some((sid, _)) = weights.iter().find(|(s, _)| voters.index(**s).is_none()) {
            return Err(VotersError::WeightOfNonVoter { sid: *sid });
        }
        if groups.is_empty() {
            return Ok(voters);
        }
        let weight = |sid: &ServerId| weights.get(sid).copied().unwrap_or(1);
        voters.weights = voters.ids.iter().map(weight).collect();
        let mut grouped = AckSet::EMPTY;
        for Group { number, members } in groups {
            let mut group = Weighed {
                members: AckSet::EMPTY,
                weight: 0,
            };
            for sid in members {
                let (number, sid) = (*number, *sid);
                let Some(voter) = voters.index(sid) else {
                    return Err(VotersError::GroupOfNonVoter { number, sid });
                };
                if grouped.contains(voter) {
                    return Err(VotersError::InTwoGroups { sid });
                }
                grouped.insert(voter);
                group.members.insert(voter);
            }
            group.weight = voters.weight(group.members);
            if group.weight > 0 {
                voters.groups.push(group);
            }
        }
        let left_out = |sid: &ServerId| voters.index(*sid).is_some_and(|v| !grouped.contains(v));
        if let Some(sid) = voters.iter().find(left_out) {
            return Err(VotersError::InNoGroup { sid });
        }
        if voters.groups.is_empty() {
            return Err(VotersError::NoWeight);
        }
        Ok(voters)
    }

    /// The voters in id order.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.ids.iter().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// The index of `id`; `None` if it has no vote.
    #[must_use]
    pub fn index(&self, id: ServerId) -> Option<VoterIndex> {
        let at = self.ids.binary_search(&id).ok()?;
        u8::try_from(at).ok().map(VoterIndex)
    }

    /// An index that no voter has, for bugs that count servers without a vote.
    pub(crate) fn stranger(&self) -> VoterIndex {
        VoterIndex(u8::try_from(self.ids.len()).unwrap_or(u8::MAX))
    }

    /// Those of `servers` that have a vote.
    pub fn set(&self, servers: impl IntoIterator<Item = ServerId>) -> AckSet {
        let mut set = AckSet::EMPTY;
        let voters = servers.into_iter().filter_map(|sid| self.index(sid));
        voters.for_each(|voter| set.insert(voter));
        set
    }

    /// Whether `id` may be elected: it has a vote with weight.
    #[must_use]
    pub fn may_lead(&self, id: ServerId) -> bool {
        let voter = self.index(id).map(|v| usize::from(v.0));
        voter.is_some_and(|at| self.weights.get(at).is_some_and(|w| *w > 0))
    }

    /// Whether everybody with a vote is in `set`: nobody is left to wait for.
    #[must_use]
    pub fn is_everybody(&self, set: AckSet) -> bool {
        set.len() as usize == self.ids.len()
    }

    /// Whether `set` may decide: any two such sets share a voter.
    #[must_use]
    #[inline]
    pub fn is_quorum(&self, set: AckSet, switches: Switches) -> bool {
        if self.groups.is_empty() {
            let needed = if switches.rules().quorum_is_more_than_half() {
                self.ids.len() / 2 + 1
            } else {
                self.ids.len().div_ceil(2)
            };
            return set.len() as usize >= needed;
        }
        let won = |group: &&Weighed| {
            let inside = AckSet(group.members.0 & set.0);
            if switches.rules().group_needs_more_than_half() {
                self.weight(inside) * 2 > group.weight
            } else {
                !inside.is_empty()
            }
        };
        self.groups.iter().filter(won).count() * 2 > self.groups.len()
    }

    /// The weight of `set`. 64 weights of 32 bits cannot overflow it.
    fn weight(&self, set: AckSet) -> u64 {
        let weights = self.weights.iter().enumerate();
        let inside = weights.filter(|(at, _)| set.0 >> at & 1 == 1);
        inside.map(|(_, w)| u64::from(*w)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn ids(n: u64) -> Vec<ServerId> {
        (1..=n).map(ServerId).collect()
    }

    /// Voters from 1 on, each with the number of its group and its weight.
    fn hierarchy(servers: &[(u64, u32)]) -> Result<Voters, VotersError> {
        let mut groups: BTreeMap<u64, Vec<ServerId>> = BTreeMap::new();
        let mut weights = BTreeMap::new();
        for (sid, (group, weight)) in (1..).map(ServerId).zip(servers) {
            groups.entry(*group).or_default().push(sid);
            weights.insert(sid, *weight);
        }
        let groups: Vec<Group> = groups
            .into_iter()
            .map(|(number, members)| Group { number, members })
            .collect();
        Voters::hierarchical(&ids(servers.len() as u64), &groups, &weights)
    }

    /// Every pair of sets of up to 10 voters.
    fn disjoint_quorums(v: &Voters) -> Option<(u64, u64)> {
        let all = (1_u64 << v.count()) - 1;
        let quorum = |s: &u64| v.is_quorum(AckSet(*s), Switches::default());
        // Quorums only grow with their sets, so a quorum that misses another misses it with all of the rest.
        (0..=all).find_map(|s| (quorum(&s) && quorum(&(all & !s))).then_some((s, all & !s)))
    }

    fn assert_quorums_work(v: &Voters) {
        assert_eq!(disjoint_quorums(v), None, "{v:?}");
        let all = (1_u64 << v.count()) - 1;
        let quorum = |s: u64| v.is_quorum(AckSet(s), Switches::default());
        assert!(quorum(all), "all together decide: {v:?}");
        for s in 0..=all {
            for more in (0..v.count()).filter(|_| quorum(s)) {
                assert!(quorum(s | 1 << more), "more voters undo a quorum: {v:?}");
            }
        }
    }

    #[test]
    fn any_two_majorities_share_a_voter() {
        for n in 1..=9 {
            assert_quorums_work(&Voters::new(&ids(n)).unwrap());
        }
    }

    #[test]
    fn any_two_quorums_of_every_small_hierarchy_share_a_voter() {
        // Every assignment of up to 5 voters to 3 groups and 3 weights.
        let mut checked = 0_u64;
        for n in 1..=5_u32 {
            for code in 0..9_u64.pow(n) {
                let digits = (0..n).map(|i| code / 9_u64.pow(i) % 9);
                let servers: Vec<(u64, u32)> = digits
                    .map(|d| (d / 3, u32::try_from(d % 3).unwrap()))
                    .collect();
                match hierarchy(&servers) {
                    Ok(v) => {
                        assert_quorums_work(&v);
                        checked += 1;
                    }
                    Err(e) => {
                        assert_eq!(e, VotersError::NoWeight);
                        assert!(servers.iter().all(|(_, w)| *w == 0));
                    }
                }
            }
        }
        assert_eq!(
            checked,
            (1..=5).map(|n| 9_u64.pow(n) - 3_u64.pow(n)).sum::<u64>()
        );
    }

    proptest! {
        #[test]
        fn any_two_quorums_of_any_hierarchy_share_a_voter(
            servers in prop::collection::vec((0_u64..5, prop_oneof![0_u32..4, any::<u32>()]), 1..11),
        ) {
            if let Ok(v) = hierarchy(&servers) {
                assert_quorums_work(&v);
                // The rule once more, as its words say it.
                for s in 0..1_u64 << servers.len() {
                    let weight = |group: u64, of: u64| -> u64 {
                        let inside = servers.iter().enumerate().filter(|(i, (g, _))| *g == group && of >> i & 1 == 1);
                        inside.map(|(_, (_, w))| u64::from(*w)).sum()
                    };
                    let weighed: Vec<u64> = (0..5).filter(|g| weight(*g, u64::MAX) > 0).collect();
                    let won = weighed.iter().filter(|g| weight(**g, s) > weight(**g, u64::MAX) / 2).count();
                    prop_assert_eq!(v.is_quorum(AckSet(s), Switches::default()), won > weighed.len() / 2);
                }
            }
        }
    }

    #[cfg(feature = "checker")]
    #[test]
    fn groups_won_by_any_member_make_quorums_that_do_not_meet() {
        let v = hierarchy(&[(1, 1), (1, 1), (2, 1), (2, 1), (3, 1)]).unwrap();
        let on = Switches::with(crate::switch::Switch::GroupByAnyMember);
        let (a, b) = (v.set([1, 3].map(ServerId)), v.set([2, 4].map(ServerId)));
        assert!(v.is_quorum(a, on) && v.is_quorum(b, on));
        assert!(!v.is_quorum(a, Switches::default()));
    }

    #[test]
    fn a_voter_without_weight_neither_decides_nor_leads() {
        let v = hierarchy(&[(1, 1), (1, 0), (2, 1), (3, 0)]).unwrap();
        let decides = |sids: &[u64]| {
            let set = v.set(sids.iter().copied().map(ServerId));
            v.is_quorum(set, Switches::default())
        };
        assert!(decides(&[1, 3]) && !decides(&[1, 2, 4]) && !decides(&[2, 3, 4]));
        assert!(v.may_lead(ServerId(1)) && !v.may_lead(ServerId(2)) && !v.may_lead(ServerId(9)));
        assert!(v.is_everybody(v.set(ids(4))) && !v.is_everybody(v.set([1, 3].map(ServerId))));
    }

    #[test]
    fn what_cannot_be_an_ensemble_is_refused_with_its_reason() {
        assert_eq!(Voters::new(&[]), Err(VotersError::Nobody));
        assert_eq!(
            Voters::new(&ids(65)),
            Err(VotersError::TooMany { count: 65 })
        );
        assert_eq!(Voters::new(&ids(64)).map(|v| v.count()), Ok(64));
        let group = |number, members: &[u64]| Group {
            number,
            members: members.iter().copied().map(ServerId).collect(),
        };
        let refused = |groups: &[Group], weights: &[(u64, u32)]| {
            let weights = weights.iter().map(|(s, w)| (ServerId(*s), *w)).collect();
            Voters::hierarchical(&ids(3), groups, &weights).unwrap_err()
        };
        let sid = ServerId(3);
        assert_eq!(
            refused(&[group(1, &[1, 2])], &[]),
            VotersError::InNoGroup { sid }
        );
        assert_eq!(
            refused(&[group(1, &[1, 2, 3]), group(2, &[3])], &[]),
            VotersError::InTwoGroups { sid }
        );
        let sid = ServerId(4);
        assert_eq!(
            refused(&[group(7, &[1, 2, 3, 4])], &[]),
            VotersError::GroupOfNonVoter { number: 7, sid }
        );
        let one = vec![group(1, &[1, 2, 3])];
        assert_eq!(
            refused(&one, &[(4, 1)]),
            VotersError::WeightOfNonVoter { sid }
        );
        let nothing = [(1, 0), (2, 0), (3, 0)];
        assert_eq!(refused(&one, &nothing), VotersError::NoWeight);
    }
}
