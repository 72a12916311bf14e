//! Keys about how many requests and connections there may be at a time.

use super::values::flag;
use zabra_model::service::throttle::{LargeRequests, RequestThrottle};
use zabra_model::service::tokens::{TokenRules, WHOLE, Weights};

/// How many requests and connections there may be at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// `globalOutstandingLimit`, where it is written (D-83).
    pub outstanding_max: Option<usize>,
    /// The line of requests.
    pub requests: RequestThrottle,
    /// Long requests.
    pub large: LargeRequests,
    /// Connections.
    pub tokens: TokenRules,
}

/// What the lines said.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThrottleLines {
    all: Throttle,
    weights: Weights,
    has_weights: bool,
}

impl ThrottleLines {
    /// Takes the line if it is one of these; `plain` is the key without the prefix `zookeeper.`. Errors: what is wrong with it.
    pub(super) fn set(&mut self, key: &str, plain: &str, value: &str) -> Result<bool, String> {
        let Throttle {
            requests,
            large,
            tokens,
            ..
        } = &mut self.all;
        match plain {
            "globalOutstandingLimit" => {
                self.all.outstanding_max = Some(number(key, value, 0)?);
            }
            "request_throttle_max_requests" => requests.requests_max = above_zero(key, value)?,
            "request_throttle_stall_time" => requests.stall_ms = number(key, value, 1)?,
            "request_throttle_drop_stale" => requests.drop_stale = flag(key, value)?,
            "request_stale_latency_check" => requests.stale_by_latency = flag(key, value)?,
            "request_stale_connection_check" => requests.stale_by_connection = flag(key, value)?,
            "throttled_op_wait_time" => requests.op_wait_ms = above_zero(key, value)?,
            "largeRequestThreshold" => large.threshold = above_zero(key, value)?,
            "largeRequestMaxBytes" => large.bytes_max = number(key, value, 1)?,
            "connection_throttle_tokens" => tokens.tokens_max = number(key, value, 0)?,
            "connection_throttle_fill_time" => tokens.fill_ms = number(key, value, 1)?,
            // D-64: with none, nobody comes in once the first tokens are gone.
            "connection_throttle_fill_count" => tokens.fill_count = number(key, value, 1)?,
            "connection_throttle_freeze_time" if value == "-1" => tokens.freeze_ms = None,
            "connection_throttle_freeze_time" => tokens.freeze_ms = Some(number(key, value, 0)?),
            "connection_throttle_drop_increase" => tokens.drop_increase = share(key, value)?,
            "connection_throttle_drop_decrease" => tokens.drop_decrease = share(key, value)?,
            "connection_throttle_decrease_ratio" => tokens.decrease_ratio = share(key, value)?,
            "connection_throttle_weight_enabled" => self.has_weights = flag(key, value)?,
            "connection_throttle_global_session_weight" => {
                self.weights.global = number(key, value, 1)?;
            }
            "connection_throttle_renew_session_weight" => {
                self.weights.renew = number(key, value, 1)?;
            }
            "connection_throttle_local_session_weight" => {
                self.weights.local = number(key, value, 1)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they mean together.
    pub(super) fn check(mut self) -> Throttle {
        self.all.tokens.weights = self.has_weights.then_some(self.weights);
        self.all
    }
}

/// A number as Java takes it, from `least` on.
fn number<T: TryFrom<i32>>(key: &str, value: &str, least: i32) -> Result<T, String> {
    let number = value.parse().ok().filter(|n: &i32| *n >= least);
    number
        .and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| format!("{key}={value}: write {least} to {}", i32::MAX))
}

/// A number; zero, and what is below it, is none.
fn above_zero<T: TryFrom<i32>>(key: &str, value: &str) -> Result<Option<T>, String> {
    let number: i32 = value
        .parse()
        .map_err(|_| format!("{key}={value}: write 1 to {}, or 0 for none", i32::MAX))?;
    Ok(T::try_from(number).ok().filter(|_| number > 0))
}

/// A share of one, in millionths.
fn share(key: &str, value: &str) -> Result<u32, String> {
    let share: Option<f64> = value.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .map(|share| (share * f64::from(WHOLE)).round() as u32)
        .ok_or_else(|| format!("{key}={value}: write a number from 0 to 1, as 0.02"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Result<Throttle, String> {
        let mut throttle = ThrottleLines::default();
        for (key, value) in lines {
            assert!(throttle.set(key, key, value)?, "{key}");
        }
        Ok(throttle.check())
    }

    #[test]
    fn without_a_line_nothing_is_counted_and_what_zookeeper_calls_off_is_off() {
        let none = of(&[]).unwrap();
        assert_eq!(none, Throttle::default());
        let off = of(&[
            ("request_throttle_max_requests", "0"),
            ("throttled_op_wait_time", "-5"),
            ("largeRequestThreshold", "-1"),
            ("connection_throttle_tokens", "0"),
            ("connection_throttle_freeze_time", "-1"),
            ("connection_throttle_local_session_weight", "9"),
        ]);
        assert_eq!(off, Ok(none));
    }

    #[test]
    fn each_key_says_what_it_says_in_zookeeper() {
        let all = of(&[
            ("globalOutstandingLimit", "1000"),
            ("request_throttle_max_requests", "20000"),
            ("request_throttle_stall_time", "50"),
            ("request_throttle_drop_stale", "false"),
            ("request_stale_connection_check", "false"),
            ("request_stale_latency_check", "true"),
            ("throttled_op_wait_time", "3000"),
            ("largeRequestThreshold", "65536"),
            ("largeRequestMaxBytes", "1048576"),
            ("connection_throttle_tokens", "500"),
            ("connection_throttle_fill_time", "10"),
            ("connection_throttle_fill_count", "4"),
            ("connection_throttle_freeze_time", "200"),
            ("connection_throttle_drop_increase", "0.25"),
            ("connection_throttle_drop_decrease", "1e-3"),
            ("connection_throttle_decrease_ratio", "1"),
            ("connection_throttle_weight_enabled", "true"),
            ("connection_throttle_global_session_weight", "7"),
            ("connection_throttle_renew_session_weight", "5"),
        ]);
        let weights = Weights {
            global: 7,
            renew: 5,
            local: 1,
        };
        let expected = Throttle {
            outstanding_max: Some(1000),
            requests: RequestThrottle {
                requests_max: Some(20_000),
                stall_ms: 50,
                drop_stale: false,
                stale_by_connection: false,
                stale_by_latency: true,
                op_wait_ms: Some(3000),
            },
            large: LargeRequests {
                threshold: Some(65_536),
                bytes_max: 1 << 20,
            },
            tokens: TokenRules {
                tokens_max: 500,
                fill_ms: 10,
                fill_count: 4,
                freeze_ms: Some(200),
                drop_increase: 250_000,
                drop_decrease: 1000,
                decrease_ratio: WHOLE,
                weights: Some(weights),
            },
        };
        assert_eq!(all, Ok(expected));
    }

    #[test]
    fn what_no_number_can_be_says_what_to_write() {
        for (key, value, word) in [
            ("globalOutstandingLimit", "-1", "write 0 to"),
            ("globalOutstandingLimit", "many", "write 0 to"),
            ("request_throttle_max_requests", "1e3", "0 for none"),
            ("request_throttle_stall_time", "0", "write 1 to"),
            ("connection_throttle_fill_time", "0", "write 1 to"),
            ("connection_throttle_fill_count", "0", "write 1 to"),
            ("connection_throttle_tokens", "-3", "write 0 to"),
            ("connection_throttle_drop_increase", "2", "0 to 1"),
            ("connection_throttle_drop_increase", "NaN", "0 to 1"),
            ("connection_throttle_weight_enabled", "3", "true or false"),
            (
                "connection_throttle_global_session_weight",
                "0",
                "write 1 to",
            ),
        ] {
            let what = of(&[(key, value)]).unwrap_err();
            assert!(what.starts_with(key) && what.contains(word), "{what}");
        }
    }
}
