//! Who has a vote, and which sets of voters may decide.

use crate::ids::ServerId;
use crate::switch::{Switch, Switches};
use alloc::vec::Vec;

/// A set of voters, by their index in [`Voters`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AckSet(pub u64);

impl AckSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// Adds a voter.
    pub fn insert(&mut self, voter: VoterIndex) {
        self.0 |= 1 << voter.0;
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VoterIndex(u8);

/// The voting servers of an ensemble, in id order, and the majority rule over them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Voters {
    ids: Vec<ServerId>,
}

impl Voters {
    /// An ensemble may have at most this many voters: the width of an [`AckSet`].
    pub const MAX: usize = 64;

    /// The voters in `ids`; duplicates count once. `None` if there are none or more than [`Voters::MAX`].
    #[must_use]
    pub fn new(ids: &[ServerId]) -> Option<Self> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        (!ids.is_empty() && ids.len() <= Self::MAX).then_some(Self { ids })
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

    /// Whether `set` may decide: any two such sets share a voter.
    #[must_use]
    pub fn is_quorum(&self, set: AckSet, switches: Switches) -> bool {
        let needed = if switches.on(Switch::QuorumIsHalf) {
            self.ids.len().div_ceil(2)
        } else {
            self.ids.len() / 2 + 1
        };
        set.len() as usize >= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(n: u64) -> Voters {
        Voters::new(&(1..=n).map(ServerId).collect::<Vec<_>>()).expect("1..=64 voters")
    }

    #[test]
    fn any_two_quorums_share_a_voter() {
        for n in 1..=7 {
            let v = voters(n);
            let quorums: Vec<u64> = (0..1_u64 << n)
                .filter(|s| v.is_quorum(AckSet(*s), Switches::default()))
                .collect();
            assert!(!quorums.is_empty());
            for a in &quorums {
                for b in &quorums {
                    assert_ne!(a & b, 0, "{n} voters: {a:b} and {b:b} are disjoint");
                }
            }
        }
    }

    #[test]
    fn an_ensemble_has_between_1_and_64_voters() {
        assert!(Voters::new(&[]).is_none());
        assert!(Voters::new(&(0..65).map(ServerId).collect::<Vec<_>>()).is_none());
        assert_eq!(voters(64).count(), 64);
    }
}
