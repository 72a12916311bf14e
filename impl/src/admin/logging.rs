//! Tracing to standard error; standard output carries results only.
//!
//! A line is found by its fields, which have one name each in all lines: `sid` this server, `peer` another one, `link` a quorum
//! connection, `from` an address, `session`, `epoch`, `zxid`, `role`, `error`. What happens on a connection belongs in a span with its
//! number or session, so that a line need not repeat them. Ids are written as ZooKeeper writes them: sessions and zxids in hex.

use crate::codes::Code;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The variable that chooses what is said; there is no other one.
pub const VARIABLE: &str = "ZABRA_LOG";

/// What is said if the variable is not set.
const DEFAULT: &str = "info";

/// Sets it up. `ZABRA_LOG` is a level or a filter in tracing's words: `warn`, `info,zabra::storage=debug`.
pub fn start() {
    let (filter, complaint) = filter(std::env::var(VARIABLE).ok().as_deref());
    let done = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // A second time in one process (tests): the first one stays.
    drop(done);
    if let Some(complaint) = complaint {
        tracing::warn!(code = %Code::LogFilterUnknown, "{complaint}");
    }
}

/// The filter that a value of the variable means, and what is wrong with it.
fn filter(value: Option<&str>) -> (EnvFilter, Option<String>) {
    let Some(value) = value.filter(|v| !v.trim().is_empty()) else {
        return (EnvFilter::new(DEFAULT), None);
    };
    match EnvFilter::try_new(value) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!(
                "{VARIABLE}={value}: {error}; write error, warn, info, debug or trace; {DEFAULT} is used"
            );
            (EnvFilter::new(DEFAULT), Some(complaint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_taken_and_what_is_neither_is_named() {
        for (value, means) in [
            (None, "info"),
            (Some(""), "info"),
            (Some("warn"), "warn"),
            (
                Some("info,zabra::storage=debug"),
                "zabra::storage=debug,info",
            ),
        ] {
            let (filter, complaint) = filter(value);
            assert_eq!(filter.to_string(), means, "{value:?}");
            assert_eq!(complaint, None);
        }
        let (filter, complaint) = filter(Some("zabra=loud"));
        assert_eq!(filter.to_string(), "info");
        let complaint = complaint.expect("a level that does not exist");
        assert!(
            complaint.starts_with("ZABRA_LOG=zabra=loud: "),
            "{complaint}"
        );
    }
}
