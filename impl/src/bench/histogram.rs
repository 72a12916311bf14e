//! A histogram with the same relative precision everywhere.

/// Each power of two is cut into so many buckets.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of values; each is known to 1/64 of its size. Recording is an index and an addition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * (65 - STEP_BITS as usize)],
            total: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// The place of `value`: below [`STEPS`] the value itself, then [`STEPS`] places for each power of two.
    const fn place(value: u64) -> usize {
        let Some(log) = value.checked_ilog2() else {
            return 0;
        };
        if log < STEP_BITS {
            return value as usize;
        }
        let shift = log - STEP_BITS;
        (shift as usize + 1) * STEPS + ((value >> shift) as usize & (STEPS - 1))
    }

    /// The largest value with this place.
    const fn largest(place: usize) -> u64 {
        if place < STEPS {
            return place as u64;
        }
        let shift = place / STEPS - 1;
        let first = (((place % STEPS) + STEPS) as u64) << shift;
        first + ((1 << shift) - 1)
    }

    /// Counts `value`.
    pub fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(Self::place(value)) {
            *count += 1;
        }
        self.total += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The value that a share of `per_mille` thousandths of all does not exceed; 0 if there are none.
    #[must_use]
    pub fn per_mille(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0_u128;
        for (place, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank && seen > 0 {
                return Self::largest(place).min(self.max);
            }
        }
        self.max
    }

    /// The largest value.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// How many values.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The mean; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.sum as f64 / self.total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_value_has_a_place_and_the_places_are_in_order() {
        let mut values: Vec<u64> = (0..64)
            .flat_map(|b| [1_u64 << b, (1 << b) - 1, (1 << b) + 1])
            .collect();
        values.push(u64::MAX);
        values.sort_unstable();
        for pair in values.windows(2) {
            assert!(
                Histogram::place(pair[0]) <= Histogram::place(pair[1]),
                "{pair:?}"
            );
        }
        assert!(Histogram::place(u64::MAX) < Histogram::default().counts.len());
    }

    proptest! {
        #[test]
        fn a_place_holds_its_value_to_one_part_in_sixty_four(value: u64) {
            let largest = Histogram::largest(Histogram::place(value));
            prop_assert!(largest >= value && largest - value <= value / 64);
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(values in prop::collection::vec(0..10_000_000_u64, 1..300)) {
            let (mut a, mut b) = (Histogram::default(), Histogram::default());
            for (i, v) in values.iter().enumerate() {
                if i % 2 == 0 { a.record(*v) } else { b.record(*v) }
            }
            a.merge(&b);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for p in [1, 500, 900, 990, 999, 1000] {
                let exact = sorted[(sorted.len() as u64 * p).div_ceil(1000) as usize - 1];
                let got = a.per_mille(p);
                prop_assert!(got >= exact && got - exact <= exact / 64, "{p}: {got} for {exact}");
            }
            prop_assert_eq!(a.max(), sorted[sorted.len() - 1]);
            prop_assert_eq!(a.total(), values.len() as u64);
        }
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        let empty = Histogram::default();
        assert_eq!((empty.per_mille(500), empty.max()), (0, 0));
        assert!(empty.mean().abs() < f64::EPSILON);
    }
}
