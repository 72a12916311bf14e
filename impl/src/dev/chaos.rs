//! Faults of servers, one after the other: which comes next is said by a seed alone, so that the same seed gives the same ones in the same order.

use std::time::Duration;

/// Who chooses, and what from.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// At least one, and none twice.
    pub kinds: Vec<Kind>,
    /// Where each choice comes from.
    pub seed: u64,
    /// How long all are left alone before a fault, at most; at least half of it.
    pub rest: Duration,
}

/// What may happen to a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Kind {
    /// It is killed, and started again.
    Kill,
    /// It reaches no other server, and no other reaches it; clients do.
    Cut,
    /// Its disk takes long: not without the right to mount one.
    SlowDisk,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Cut => "cut",
            Self::SlowDisk => "slow-disk",
        }
    }
}

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// By its number from 1.
    pub(super) server: usize,
    /// How long all are left alone before it.
    pub(super) rest: Duration,
    /// How long it lasts.
    pub(super) lasts: Duration,
}

/// A short one is over before anybody elects; a long one outlives the session of a client of 10 s.
const LASTS_MS: std::ops::Range<u64> = 500..12_000;

impl Chaos {
    /// What is wrong with what was asked for.
    ///
    /// # Errors
    /// In words for whoever asked.
    pub(super) fn refused(&self, servers: u16) -> Result<(), String> {
        if self.kinds.contains(&Kind::SlowDisk) {
            return Err(
                "--chaos slow-disk: a disk is made slow by a file system that this command has no right to mount; take kill or cut"
                    .into(),
            );
        }
        if servers < 3 {
            return Err(format!(
                "--chaos: with {servers} of --servers one fault leaves no quorum; take at least 3"
            ));
        }
        Ok(())
    }

    /// The fault of this number.
    pub(super) fn fault(&self, number: u64, servers: u16) -> Fault {
        let choose = |what: u64, below: u64| -> u64 {
            let of = std::hash::BuildHasher::hash_one(
                &foldhash::quality::FixedState::with_seed(self.seed),
                (number, what),
            );
            of % below.max(1)
        };
        let mut kinds = self.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let at = choose(0, kinds.len() as u64);
        let kind = usize::try_from(at).ok().and_then(|at| kinds.get(at));
        let half = u64::try_from(self.rest.as_millis() / 2).unwrap_or(u64::MAX);
        Fault {
            kind: kind.copied().unwrap_or(Kind::Kill),
            server: usize::try_from(choose(1, servers.into()) + 1).unwrap_or(1),
            rest: Duration::from_millis(half + choose(2, half + 1)),
            lasts: Duration::from_millis(LASTS_MS.start + choose(3, LASTS_MS.end - LASTS_MS.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn chaos(kinds: &[Kind], seed: u64) -> Chaos {
        Chaos {
            kinds: kinds.to_vec(),
            seed,
            rest: Duration::from_secs(4),
        }
    }

    #[test]
    fn a_seed_gives_the_same_faults_and_another_one_others() {
        let first = |of: &Chaos| -> Vec<Fault> { (1..=40).map(|n| of.fault(n, 3)).collect() };
        let both = [Kind::Kill, Kind::Cut];
        let seven = first(&chaos(&both, 7));
        assert_eq!(seven, first(&chaos(&[Kind::Cut, Kind::Kill, Kind::Cut], 7)));
        assert_ne!(seven, first(&chaos(&both, 8)));
        // Each server and each kind has its turn.
        let hit: BTreeSet<_> = seven.iter().map(|f| (f.kind, f.server)).collect();
        assert_eq!(hit.len(), 6, "{hit:?}");
        for fault in &seven {
            assert!((2000..=4000).contains(&fault.rest.as_millis()), "{fault:?}");
            assert!(
                (500..12_000).contains(&fault.lasts.as_millis()),
                "{fault:?}"
            );
        }
        // What a seed means stays the same from version to version.
        let told: Vec<_> = seven[..4]
            .iter()
            .map(|f| (f.kind.name(), f.server))
            .collect();
        assert_eq!(told, [("kill", 2), ("cut", 3), ("cut", 3), ("kill", 2)]);
    }

    #[test]
    fn what_leaves_no_quorum_or_needs_a_right_is_refused() {
        assert!(chaos(&[Kind::Kill], 1).refused(3).is_ok());
        let said = chaos(&[Kind::Kill], 1).refused(2).unwrap_err();
        assert!(said.contains("at least 3"), "{said}");
        let said = chaos(&[Kind::Kill, Kind::SlowDisk], 1).refused(3);
        assert!(said.unwrap_err().contains("slow-disk"));
    }
}
