//! How fast clients are let in (`connection_throttle_tokens`).

use super::lock::lock;
use super::summary::Summary;
use std::sync::Mutex;
use zabra_model::service::tokens::{Attach, TokenRules, Tokens, WHOLE};

/// The tokens of connections, and the dice.
#[derive(Debug)]
pub struct Door {
    is_on: bool,
    tokens: Mutex<(Tokens, u64)>,
}

impl Door {
    /// All tokens are there. `seed` is for the dice, which need not be secret.
    #[must_use]
    pub fn new(rules: TokenRules, now_ms: u64, seed: u64) -> Self {
        let tokens = Tokens::new(rules, now_ms);
        Self {
            is_on: tokens.is_on(),
            tokens: Mutex::new((tokens, seed)),
        }
    }

    /// Whether a client gets the tokens that it needs; `deficit` gets those that are missing then.
    #[must_use]
    pub fn lets_in(&self, attach: Attach, now_ms: u64, deficit: &Summary) -> bool {
        if !self.is_on {
            return true;
        }
        let (tokens, dice) = &mut *lock(&self.tokens);
        let taken = tokens.take(attach, now_ms, throw(dice));
        deficit.add(tokens.state().0);
        taken
    }

    /// The chance to be turned away before tokens are asked for.
    #[must_use]
    pub fn drop_probability(&self) -> f64 {
        let (_, drop) = lock(&self.tokens).0.state();
        f64::from(drop) / f64::from(WHOLE)
    }
}

/// The next number of the dice, below [`WHOLE`].
fn throw(dice: &mut u64) -> u32 {
    u32::try_from(random(dice) % u64::from(WHOLE)).unwrap_or(0)
}

/// The next number of SplitMix64.
pub(super) const fn random(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut thrown = *dice;
    thrown = (thrown ^ (thrown >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    thrown = (thrown ^ (thrown >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    thrown ^ (thrown >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_fall_everywhere_and_a_door_without_keys_is_open() {
        let mut dice = 7;
        let thrown: Vec<u32> = (0..10_000).map(|_| throw(&mut dice)).collect();
        for tenth in 0..10 {
            let is_there = |n: &&u32| (**n) / (WHOLE / 10) == tenth;
            let count = thrown.iter().filter(is_there).count();
            assert!((800..1200).contains(&count), "{tenth}: {count}");
        }
        let open = Door::new(TokenRules::default(), 0, 0);
        let deficit = Summary::new();
        assert!((0..1000).all(|_| open.lets_in(Attach::Renew, 0, &deficit)));
        let rules = TokenRules {
            tokens_max: 2,
            ..TokenRules::default()
        };
        let door = Door::new(rules, 0, 0);
        let let_in = [(); 3].map(|()| door.lets_in(Attach::Renew, 0, &deficit));
        assert_eq!(let_in, [true, true, false]);
        let missing = deficit.now();
        assert_eq!((missing.count, missing.sum, missing.max()), (3, 5, 2));
        assert!(door.drop_probability().abs() < f64::EPSILON);
    }
}
