//! The visited set: fingerprints of 64 or 128 bits in one open-addressed table that threads share without locks.
//!
//! 8 or 16 bytes a slot. It grows only while nobody inserts: [`Table::wants_to_grow`] is asked between chunks of work.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// How wide a fingerprint is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 64 bits: n states have about n²/2⁶⁵ colliding pairs.
    Bits64,
    /// 128 bits: n²/2¹²⁹.
    Bits128,
}

impl Width {
    /// In bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits64 => 64,
            Self::Bits128 => 128,
        }
    }

    /// How many pairs of `n` states are expected to share a fingerprint.
    #[must_use]
    pub fn expected_collisions(self, n: u64) -> f64 {
        let n = n as f64;
        n * n / 2.0 / 2f64.powi(self.bits().cast_signed())
    }
}

/// A set of fingerprints.
#[derive(Debug)]
pub struct Table {
    width: Width,
    slots: u64,
    /// One or two words a slot; a first word of zero is an empty slot. One more if states are numbered.
    words: Vec<AtomicU64>,
    stride: usize,
    used: AtomicU64,
}

impl Table {
    /// An empty table with room for `expected` fingerprints before it has to grow.
    #[must_use]
    pub fn new(width: Width, expected: u64) -> Self {
        Self::with(width, expected, width.bits() as usize / 64)
    }

    /// An empty table that numbers what is added from 0; its fingerprints have 128 bits.
    #[must_use]
    pub fn numbering(expected: u64) -> Self {
        Self::with(Width::Bits128, expected, 3)
    }

    fn with(width: Width, expected: u64, stride: usize) -> Self {
        let slots = (expected + expected / 3).max(1 << 16);
        let words = slots * stride as u64;
        Self {
            width,
            slots,
            stride,
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicU64::new(0),
        }
    }

    /// Bytes that it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Adds a fingerprint: whether it is new, and its number if they are numbered, else 0.
    pub fn insert(&self, fingerprint: u128) -> (bool, u64) {
        match self.width {
            Width::Bits64 => {
                let new = self.insert_one(halves(fingerprint).0);
                self.used.fetch_add(u64::from(new), Ordering::Relaxed);
                (new, 0)
            }
            Width::Bits128 => self.insert_two(halves(fingerprint), None),
        }
    }

    fn first_slot(&self, low: u64) -> u64 {
        ((u128::from(low) * u128::from(self.slots)) >> 64) as u64
    }

    fn insert_one(&self, low: u64) -> bool {
        let mut slot = self.first_slot(low);
        loop {
            let word = &self.words[slot as usize];
            match word.compare_exchange(0, low, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(found) if found == low => return false,
                Err(_) => slot = if slot + 1 == self.slots { 0 } else { slot + 1 },
            }
        }
    }

    fn insert_two(&self, (low, high): (u64, u64), number: Option<u64>) -> (bool, u64) {
        let mut slot = self.first_slot(low);
        loop {
            let words = &self.words[slot as usize * self.stride..][..self.stride];
            let mut found = words[0].load(Ordering::Acquire);
            if found == 0 {
                let claim = words[0].compare_exchange(0, low, Ordering::AcqRel, Ordering::Acquire);
                match claim {
                    Ok(_) => {
                        let next = self.used.fetch_add(1, Ordering::Relaxed);
                        let number = number.unwrap_or(next);
                        if let Some(word) = words.get(2) {
                            word.store(number, Ordering::Relaxed);
                        }
                        words[1].store(high, Ordering::Release);
                        return (true, number);
                    }
                    Err(other) => found = other,
                }
            }
            if found == low {
                // Whoever claimed the slot is about to write the second half.
                let second = loop {
                    match words[1].load(Ordering::Acquire) {
                        0 => core::hint::spin_loop(),
                        second => break second,
                    }
                };
                if second == high {
                    let number = words.get(2).map_or(0, |w| w.load(Ordering::Relaxed));
                    return (false, number);
                }
            }
            slot = if slot + 1 == self.slots { 0 } else { slot + 1 };
        }
    }

    /// Whether it should grow before `more` are added.
    #[must_use]
    pub fn wants_to_grow(&self, more: u64) -> bool {
        (self.used.load(Ordering::Relaxed) + more) as f64 > self.slots as f64 * 0.8
    }

    /// Makes room.
    pub fn grow(&mut self, more: u64) {
        let used = self.used.load(Ordering::Relaxed);
        let larger = Self::with(self.width, used * 3 / 2 + more, self.stride);
        for slot in self.words.chunks_exact(self.stride) {
            let word = |i: usize| slot[i].load(Ordering::Relaxed);
            if word(0) != 0 {
                match self.width {
                    Width::Bits64 => {
                        larger.insert_one(word(0));
                    }
                    Width::Bits128 => {
                        let number = (self.stride == 3).then(|| word(2));
                        larger.insert_two((word(0), word(1)), number);
                    }
                }
            }
        }
        larger.used.store(used, Ordering::Relaxed);
        *self = larger;
    }
}

/// Both halves, neither of them zero.
fn halves(fingerprint: u128) -> (u64, u64) {
    let low = (fingerprint & u128::from(u64::MAX)) as u64;
    ((low).max(1), ((fingerprint >> 64) as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(i: u64) -> u128 {
        let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        u128::from(x ^ (x >> 31)) | u128::from(x.wrapping_mul(0xd6e8_feb8_6659_fd93)) << 64
    }

    #[test]
    fn every_fingerprint_is_new_once_whatever_the_width_and_however_often_it_grows() {
        for width in [Width::Bits64, Width::Bits128] {
            let mut table = Table::new(width, 1);
            for i in 0..300_000 {
                if table.wants_to_grow(1) {
                    table.grow(1);
                }
                assert!(table.insert(mixed(i)).0, "{i} is new");
            }
            assert!((0..300_000).all(|i| !table.insert(mixed(i)).0));
        }
    }

    #[test]
    fn numbers_go_up_from_zero_and_stay_when_the_table_grows() {
        let mut table = Table::numbering(1);
        for i in 0..200_000 {
            if table.wants_to_grow(1) {
                table.grow(1);
            }
            assert_eq!(table.insert(mixed(i)), (true, i));
        }
        assert!((0..200_000).all(|i| table.insert(mixed(i)) == (false, i)));
    }

    #[test]
    fn with_128_bits_an_equal_half_is_not_enough() {
        let (one, two) = (5 | (1 << 64), 5 | (2 << 64));
        let wide = Table::new(Width::Bits128, 8);
        let narrow = Table::new(Width::Bits64, 8);
        assert!(wide.insert(one).0 && wide.insert(two).0 && !wide.insert(two).0);
        assert!(narrow.insert(one).0 && !narrow.insert(two).0);
    }

    #[test]
    fn two_threads_that_insert_the_same_add_each_once() {
        let table = Table::new(Width::Bits128, 200_000);
        let add = || (0..100_000).filter(|i| table.insert(mixed(*i)).0).count();
        let (a, b) = std::thread::scope(|s| {
            let other = s.spawn(add);
            (add(), other.join().unwrap_or(0))
        });
        assert_eq!(a + b, 100_000);
    }
}
