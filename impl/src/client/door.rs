//! How fast clients are let in (`connection_throttle_tokens`).

use super::lock::lock;
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

    /// Whether a client gets the tokens that it needs.
    #[must_use]
    pub fn lets_in(&self, attach: Attach, now_ms: u64) -> bool {
        if !self.is_on {
            return true;
        }
        let (tokens, dice) = &mut *lock(&self.tokens);
        tokens.take(attach, now_ms, throw(dice))
    }
}

/// The next number of SplitMix64, below [`WHOLE`].
fn throw(dice: &mut u64) -> u32 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut thrown = *dice;
    thrown = (thrown ^ (thrown >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    thrown = (thrown ^ (thrown >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((thrown ^ (thrown >> 31)) % u64::from(WHOLE)).unwrap_or(0)
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
        assert!((0..1000).all(|_| open.lets_in(Attach::Renew, 0)));
    }
}
