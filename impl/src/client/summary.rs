//! Summaries of values: how many, their sum, the least and the greatest, and, of times, which of them most are below.
//!
//! Whoever has a value adds it with a few instructions and without a lock; whoever asks adds up what several places hold.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Values that were added so far: a "basic" summary of ZooKeeper's.
#[derive(Debug)]
pub struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    /// `u64::MAX` while there is none.
    min: AtomicU64,
    max: AtomicU64,
}

/// What a summary holds at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summed {
    /// How many values.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    min: u64,
    max: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// No value.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }

    /// Adds a value.
    pub fn add(&self, value: u64) {
        self.add_some(value, 1);
    }

    /// Adds a value so many times.
    pub fn add_some(&self, value: u64, times: u64) {
        self.count.fetch_add(times, Relaxed);
        if value > 0 {
            self.sum.fetch_add(value.saturating_mul(times), Relaxed);
        }
        // Bounds are moved seldom: most values only look at them.
        if value < self.min.load(Relaxed) {
            self.min.fetch_min(value, Relaxed);
        }
        if value > self.max.load(Relaxed) {
            self.max.fetch_max(value, Relaxed);
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn now(&self) -> Summed {
        Summed {
            count: self.count.load(Relaxed),
            sum: self.sum.load(Relaxed),
            min: self.min.load(Relaxed),
            max: self.max.load(Relaxed),
        }
    }

    /// Forgets all values.
    pub fn reset(&self) {
        self.count.store(0, Relaxed);
        self.sum.store(0, Relaxed);
        self.min.store(u64::MAX, Relaxed);
        self.max.store(0, Relaxed);
    }
}

impl Summed {
    /// No value.
    pub const NONE: Self = Self {
        count: 0,
        sum: 0,
        min: u64::MAX,
        max: 0,
    };

    /// The least value; 0 if there is none.
    #[must_use]
    pub const fn min(self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The greatest value; 0 if there is none.
    #[must_use]
    pub const fn max(self) -> u64 {
        self.max
    }

    /// The mean, to four places, as ZooKeeper rounds it.
    #[must_use]
    pub fn mean(self) -> f64 {
        let mean = self.sum as f64 / self.count.max(1) as f64;
        (mean * 10_000.0).round() / 10_000.0
    }

    /// The values of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// Each of these values has a place of its own.
const EXACT: u64 = 32;
/// Parts of what lies between two powers of two above them.
const PARTS: usize = 16;
/// Places: up to `2^32` ms, which is 49 days; what is longer is in the last one.
const PLACES: usize = EXACT as usize + 27 * PARTS;

/// Times in ms with their distribution, each to a sixteenth of itself: an "advanced" summary of ZooKeeper's, which tells quantiles
/// from a sample.
#[derive(Debug)]
pub struct Times {
    all: Summary,
    places: [AtomicU64; PLACES],
}

/// What some [`Times`] hold at one moment.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Without the distribution.
    pub all: Summed,
    places: Box<[u64]>,
}

/// The place of a time.
fn place(ms: u64) -> usize {
    if ms < EXACT {
        return ms as usize;
    }
    let log = ms.ilog2();
    let part = (ms >> (log - 4)) as usize - PARTS;
    (EXACT as usize + (log as usize - 5) * PARTS + part).min(PLACES - 1)
}

/// The longest time of a place, ms.
const fn longest(place: usize) -> u64 {
    if place < EXACT as usize {
        return place as u64;
    }
    let above = place - EXACT as usize;
    let (log, part) = (5 + above / PARTS, above % PARTS);
    (((PARTS + part + 1) as u64) << (log - 4)) - 1
}

impl Default for Times {
    fn default() -> Self {
        Self {
            all: Summary::new(),
            places: [const { AtomicU64::new(0) }; PLACES],
        }
    }
}

impl Times {
    /// Adds a time.
    pub fn add(&self, ms: u64) {
        self.add_some(ms, 1);
    }

    /// Adds a time so many times.
    pub fn add_some(&self, ms: u64, times: u64) {
        self.all.add_some(ms, times);
        if let Some(place) = self.places.get(place(ms)) {
            place.fetch_add(times, Relaxed);
        }
    }

    /// What it holds now, added to what `before` does.
    #[must_use]
    pub fn now(&self, before: Option<Timed>) -> Timed {
        let mut timed = before.unwrap_or_else(|| Timed {
            all: Summed::NONE,
            places: vec![0; PLACES].into(),
        });
        timed.all = timed.all.with(self.all.now());
        for (sum, place) in timed.places.iter_mut().zip(&self.places) {
            *sum += place.load(Relaxed);
        }
        timed
    }

    /// Forgets all times.
    pub fn reset(&self) {
        self.all.reset();
        self.places.iter().for_each(|place| place.store(0, Relaxed));
    }
}

impl Timed {
    /// The time that so many of a thousand are not above, ms; 0 if there is none.
    #[must_use]
    pub fn quantile(&self, of_thousand: u64) -> u64 {
        let count: u64 = self.places.iter().sum();
        let wanted = count.saturating_mul(of_thousand).div_ceil(1000);
        let mut seen = 0;
        let found = self.places.iter().position(|here| {
            seen += here;
            *here > 0 && seen >= wanted
        });
        found.map_or(0, |place| longest(place).min(self.all.max()))
    }

    /// How many times are not above each of these, which are below 32 ms or one less than a power of two; and how many there are.
    #[must_use]
    pub fn not_above<const N: usize>(&self, bounds: [u64; N]) -> ([u64; N], u64) {
        let upto = |bound: u64| self.places.iter().take(place(bound) + 1).sum();
        (bounds.map(upto), self.places.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_number_sum_bounds_and_mean() {
        let summary = Summary::default();
        let none = summary.now();
        assert_eq!((none.count, none.min(), none.max()), (0, 0, 0));
        assert!(none.mean().abs() < f64::EPSILON);
        summary.add(3);
        summary.add_some(1, 2);
        let some = summary.now();
        assert_eq!((some.count, some.sum, some.min(), some.max()), (3, 5, 1, 3));
        assert!((some.mean() - 1.6667).abs() < 1e-9, "{}", some.mean());
        assert_eq!(some.with(none), some);
        summary.reset();
        assert_eq!(summary.now(), none);
    }

    #[test]
    fn quantiles_are_exact_below_32_ms_and_to_a_sixteenth_above() {
        let times = Times::default();
        assert_eq!(times.now(None).quantile(500), 0);
        times.add_some(0, 90);
        times.add_some(7, 9);
        times.add(1000);
        let now = times.now(None);
        let of = |thousandths| now.quantile(thousandths);
        assert_eq!((of(500), of(900), of(950), of(990)), (0, 0, 7, 7));
        assert_eq!(of(999), 1000, "no more than the longest");
        let bounds = [0, 6, 7, 31, 511, 1023];
        assert_eq!(now.not_above(bounds), ([90, 90, 99, 99, 99, 100], 100));
        for ms in (0..5000).chain([u64::from(u32::MAX), u64::MAX]) {
            let end = longest(place(ms));
            assert!(end >= ms.min(u64::from(u32::MAX)), "{ms}: {end}");
            assert!(end <= ms.saturating_add(ms / 16), "{ms}: {end}");
            assert_eq!(place(end), place(ms), "{ms}");
        }
        let both = times.now(Some(now));
        assert_eq!((both.all.count, both.quantile(950)), (200, 7));
    }
}
