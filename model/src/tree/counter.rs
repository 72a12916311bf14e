//! The numbers of sequential nodes end: they count what is created below a node (its cversion), in 32 bits.
//!
//! At the end the counter sticks, and whoever asks for a sequential node is told NodeExists, as in ZooKeeper; only another parent
//! helps. So its operator hears of it from nine tenths on.

use alloc::boxed::Box;
use core::fmt;

/// From here on it is told: nine tenths of all numbers.
const NEAR_END: i32 = i32::MAX / 10 * 9;

/// A node that runs out of numbers for its children.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NearEnd {
    path: Box<str>,
    left: u32,
}

impl NearEnd {
    /// The node at `path` with this cversion, if it is one.
    #[must_use]
    pub fn of(path: &str, cversion: i32) -> Option<Self> {
        let left = u32::try_from(i32::MAX - cversion.max(NEAR_END)).ok()?;
        (cversion >= NEAR_END).then(|| Self {
            path: if path.is_empty() { "/" } else { path }.into(),
            left,
        })
    }
}

impl fmt::Display for NearEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, left } = self;
        write!(
            f,
            "{path} has {left} of 2147483647 numbers left for sequential nodes below it; let their clients use another parent"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_last_tenth_of_the_numbers_is_told() {
        let left = |cversion| NearEnd::of("/q", cversion).map(|near| near.left);
        for cversion in [i32::MIN, -1, 0, 5, NEAR_END - 1] {
            assert_eq!(left(cversion), None, "{cversion}");
        }
        assert_eq!(left(NEAR_END), Some(214_748_371));
        assert_eq!((left(i32::MAX - 1), left(i32::MAX)), (Some(1), Some(0)));
        let said = NearEnd::of("", i32::MAX - 5).map(|near| near.to_string());
        assert!(said.is_some_and(|said| said.starts_with("/ has 5 of 2147483647 numbers left")));
    }
}
