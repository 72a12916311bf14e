//! Some of a server's clients are sent away, so that they connect to other servers.

use super::conn::ConnPhase;
use super::door::random;
use super::lock::lock;
use super::shared::Shared;

impl Shared {
    /// Ends this share of the connections, in hundredths and rounded up, chosen by lot; how many. Their sessions live on.
    pub fn shed(&self, hundredths: u32) -> usize {
        let mut conns: Vec<_> = lock(&self.hub).conns.values().cloned().collect();
        // Who has been sent away before and is not gone yet is none of them.
        conns.retain(|conn| matches!(conn.state().phase, ConnPhase::Connecting | ConnPhase::Open));
        let chosen = drawn(conns, hundredths, self.date_ms());
        chosen.iter().for_each(|conn| conn.close());
        chosen.len()
    }
}

/// This share of `all`, in hundredths and rounded up, by the dice that begin at `seed`.
fn drawn<T>(mut all: Vec<T>, hundredths: u32, mut seed: u64) -> Vec<T> {
    let count = (all.len() * hundredths.min(100) as usize).div_ceil(100);
    for at in 0..count {
        let left = (all.len() - at) as u64;
        let chosen = random(&mut seed) % left;
        all.swap(at, at + usize::try_from(chosen).unwrap_or(0));
    }
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_share_is_rounded_up_and_nobody_is_drawn_twice() {
        for (of, hundredths, count) in [
            (0, 100, 0),
            (50, 0, 0),
            (50, 1, 1),
            (50, 25, 13),
            (50, 100, 50),
            (50, 300, 50),
        ] {
            let found = drawn((0..of).collect(), hundredths, 7);
            let distinct: BTreeSet<i32> = found.iter().copied().collect();
            assert_eq!(
                (found.len(), distinct.len()),
                (count, count),
                "{hundredths} % of {of}"
            );
        }
    }

    #[test]
    fn everybody_may_be_drawn() {
        let draws = (0..400).flat_map(|seed| drawn((0..8).collect(), 25, seed));
        let mut times = [0; 8];
        draws.for_each(|i: usize| times[i] += 1);
        // 800 draws of 8: a hundred each.
        assert!(times.iter().all(|n| (60..140).contains(n)), "{times:?}");
    }
}
