//! Tokens of connections: how fast clients may attach, and who of those that come too fast is turned away.
//!
//! A bucket holds `tokens_max` and is filled by `fill_count` every `fill_ms`; whoever says who it is takes what it needs, or loses its
//! connection without an answer and looks for another server. A bucket alone favours those who come just when it is filled, so where
//! `freeze_ms` is there, some are turned away by chance before: every `freeze_ms` the chance grows by `drop_increase` if the bucket is
//! empty, and shrinks by `drop_decrease` if at most `decrease_ratio` of it is missing.
//!
//! With weights a session costs what it costs its server: one of the whole ensemble by default three times what a local one does. Size
//! and filling of the bucket are then in sessions of the whole ensemble.
//!
//! **How the host calls it.** One [`Tokens`] for all client ports; [`Tokens::take`] for each connect request, before anything else is asked.
//! The host throws the dice: a number below [`WHOLE`].
//!
//! Source: ZooKeeper `BlueThrottle`, `ZooKeeperServer.processConnectRequest`.

/// Shares and chances are in millionths.
pub const WHOLE: u32 = 1_000_000;

/// What the keys `connection_throttle_…` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenRules {
    /// `connection_throttle_tokens`; 0: whoever comes is let in.
    pub tokens_max: u32,
    /// `connection_throttle_fill_time`, ms.
    pub fill_ms: u32,
    /// `connection_throttle_fill_count`.
    pub fill_count: u32,
    /// `connection_throttle_freeze_time`, ms; `None`: nobody is turned away by chance.
    pub freeze_ms: Option<u32>,
    /// `connection_throttle_drop_increase`.
    pub drop_increase: u32,
    /// `connection_throttle_drop_decrease`.
    pub drop_decrease: u32,
    /// `connection_throttle_decrease_ratio`.
    pub decrease_ratio: u32,
    /// `connection_throttle_weight_enabled`; `None`: everybody needs one token.
    pub weights: Option<Weights>,
}

/// Tokens that one connection needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// A new session of the whole ensemble.
    pub global: u32,
    /// A session that goes on.
    pub renew: u32,
    /// A new session that is known to its server alone.
    pub local: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            global: 3,
            renew: 2,
            local: 1,
        }
    }
}

impl Default for TokenRules {
    /// As ZooKeeper has it: whoever comes is let in.
    fn default() -> Self {
        Self {
            tokens_max: 0,
            fill_ms: 1,
            fill_count: 1,
            freeze_ms: None,
            drop_increase: 20_000,
            drop_decrease: 2_000,
            decrease_ratio: 0,
            weights: None,
        }
    }
}

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attach {
    /// A new session.
    New {
        /// It is known to its server alone.
        local: bool,
    },
    /// To go on with its session.
    Renew,
}

impl TokenRules {
    /// Tokens that a connection needs.
    #[must_use]
    pub fn needs(&self, attach: Attach) -> u64 {
        let tokens = self.weights.map_or(1, |weights| match attach {
            Attach::New { local: true } => weights.local,
            // Nothing costs less than a session that only its server knows.
            Attach::New { local: false } => weights.global.max(weights.local),
            Attach::Renew => weights.renew.max(weights.local),
        });
        u64::from(tokens)
    }

    /// What a number of connections is in tokens.
    fn in_tokens(&self, connections: u32) -> u64 {
        let one = match self.weights {
            Some(_) => self.needs(Attach::New { local: false }),
            None => 1,
        };
        u64::from(connections).saturating_mul(one)
    }
}

/// The bucket, and the chance to be turned away before it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tokens {
    rules: TokenRules,
    tokens: u64,
    filled_ms: u64,
    frozen_ms: u64,
    drop: u32,
}

impl Tokens {
    /// A full bucket.
    #[must_use]
    pub fn new(rules: TokenRules, now_ms: u64) -> Self {
        Self {
            rules,
            tokens: rules.in_tokens(rules.tokens_max),
            filled_ms: now_ms,
            frozen_ms: now_ms,
            drop: 0,
        }
    }

    /// Whether anybody is ever turned away.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.rules.tokens_max > 0
    }

    /// Whether a connection is let in. `dice` is below [`WHOLE`].
    #[must_use]
    pub fn take(&mut self, attach: Attach, now_ms: u64, dice: u32) -> bool {
        if !self.is_on() {
            return true;
        }
        self.fill(now_ms);
        if let Some(freeze_ms) = self.rules.freeze_ms {
            self.adapt(now_ms, u64::from(freeze_ms));
            if dice < self.drop {
                return false;
            }
        }
        match self.tokens.checked_sub(self.rules.needs(attach)) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Tokens that are missing in the bucket, and the chance to be turned away before it is asked, in parts of [`WHOLE`].
    #[must_use]
    pub fn state(&self) -> (u64, u32) {
        let max = self.rules.in_tokens(self.rules.tokens_max);
        (max.saturating_sub(self.tokens), self.drop)
    }

    fn fill(&mut self, now_ms: u64) {
        let fill_ms = u64::from(self.rules.fill_ms.max(1));
        let since_ms = now_ms.saturating_sub(self.filled_ms);
        if since_ms > fill_ms {
            let more =
                since_ms.saturating_mul(self.rules.in_tokens(self.rules.fill_count)) / fill_ms;
            let max = self.rules.in_tokens(self.rules.tokens_max);
            self.tokens = self.tokens.saturating_add(more).min(max);
            self.filled_ms = now_ms;
        }
    }

    fn adapt(&mut self, now_ms: u64, freeze_ms: u64) {
        if now_ms.saturating_sub(self.frozen_ms) <= freeze_ms {
            return;
        }
        let max = self.rules.in_tokens(self.rules.tokens_max);
        let missing = u128::from(max - self.tokens.min(max));
        let little = u128::from(max) * u128::from(self.rules.decrease_ratio);
        if self.tokens == 0 {
            self.drop = self
                .drop
                .saturating_add(self.rules.drop_increase)
                .min(WHOLE);
        } else if missing * u128::from(WHOLE) <= little {
            self.drop = self.drop.saturating_sub(self.rules.drop_decrease);
        }
        self.frozen_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Attach = Attach::New { local: false };

    fn let_in(tokens: &mut Tokens, attach: Attach, now_ms: u64) -> usize {
        (0..100)
            .take_while(|_| tokens.take(attach, now_ms, 0))
            .count()
    }

    #[test]
    fn connections_take_tokens_and_come_too_fast_when_there_are_none() {
        let rules = TokenRules {
            tokens_max: 5,
            fill_ms: 100,
            fill_count: 2,
            ..TokenRules::default()
        };
        let mut tokens = Tokens::new(rules, 1000);
        assert_eq!(let_in(&mut tokens, NEW, 1000), 5);
        // It is filled when more than its time has passed, by as much as has passed, and never beyond its size.
        assert_eq!(let_in(&mut tokens, NEW, 1100), 0);
        assert_eq!(let_in(&mut tokens, Attach::Renew, 1150), 3);
        assert_eq!(let_in(&mut tokens, NEW, 1_000_000), 5);
        // What is left of it stays.
        let mut left = Tokens::new(rules, 0);
        assert!(left.take(NEW, 0, 0) && left.take(NEW, 0, 0));
        assert_eq!(let_in(&mut left, NEW, 101), 5);
        // A clock that goes back fills nothing.
        assert_eq!(let_in(&mut tokens, NEW, 0), 0);
        let mut off = Tokens::new(TokenRules::default(), 0);
        assert_eq!((off.is_on(), let_in(&mut off, NEW, 0)), (false, 100));
    }

    #[test]
    fn with_weights_a_session_takes_what_it_costs() {
        let rules = TokenRules {
            tokens_max: 4,
            fill_ms: 1000,
            fill_count: 1,
            weights: Some(Weights::default()),
            ..TokenRules::default()
        };
        for (attach, count, later) in [
            (NEW, 4, 1),
            (Attach::Renew, 6, 1),
            (Attach::New { local: true }, 12, 3),
        ] {
            let mut tokens = Tokens::new(rules, 0);
            assert_eq!(let_in(&mut tokens, attach, 0), count, "{attach:?}");
            assert_eq!(let_in(&mut tokens, attach, 1001), later, "{attach:?}");
        }
        // None costs less than a local one.
        let rules = TokenRules {
            weights: Some(Weights {
                global: 1,
                renew: 1,
                local: 2,
            }),
            ..rules
        };
        assert_eq!((rules.needs(NEW), rules.needs(Attach::Renew)), (2, 2));
    }

    #[test]
    fn the_chance_to_be_turned_away_follows_the_bucket() {
        let rules = TokenRules {
            tokens_max: 10,
            fill_ms: 1_000_000,
            freeze_ms: Some(100),
            drop_increase: 400_000,
            drop_decrease: 300_000,
            decrease_ratio: 500_000,
            ..TokenRules::default()
        };
        let mut tokens = Tokens::new(rules, 0);
        assert_eq!(let_in(&mut tokens, NEW, 0), 10);
        for (now_ms, drop) in [
            (100, 0),
            (101, 400_000),
            (200, 400_000),
            (202, 800_000),
            (303, WHOLE),
            (404, WHOLE),
        ] {
            assert!(!tokens.take(NEW, now_ms, WHOLE - 1), "it is empty");
            assert_eq!(tokens.drop, drop, "{now_ms}");
        }
        // Full again: whoever comes first is turned away by chance, and the chance shrinks.
        tokens.tokens = 5;
        assert!(!tokens.take(NEW, 505, 699_999));
        assert_eq!((tokens.drop, tokens.tokens), (700_000, 5));
        assert!(tokens.take(NEW, 505, 700_000));
        tokens.tokens = 4; // more than half of it is missing: it stays as it is
        assert!(tokens.take(NEW, 700, 700_000));
        assert_eq!(tokens.drop, 700_000);
        tokens.tokens = 1; // it is not empty yet
        assert!(tokens.take(NEW, 900, 700_000));
        assert_eq!(tokens.drop, 700_000);
    }
}
