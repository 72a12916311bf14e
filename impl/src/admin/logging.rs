//! Tracing to standard error; standard output carries results only.
//!
//! A line is found by its fields, which have one name each in all lines: `sid` this server, `peer` another one, `link` a quorum
//! connection, `from` an address, `session`, `epoch`, `zxid`, `role`, `error`. What happens on a connection belongs in a span with its
//! number or session, so that a line need not repeat them. Ids are written as ZooKeeper writes them: sessions and zxids in hex.

use crate::codes::Code;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use tracing_subscriber::EnvFilter;

/// The variable that chooses what is said; there is no other one.
pub const VARIABLE: &str = "ZABRA_LOG";

/// What is said if the variable is not set.
const DEFAULT: &str = "info";

/// The variable that chooses how it is written: `text` or `json`.
pub const FORMAT: &str = "ZABRA_LOG_FORMAT";

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, all fields at its top.
    Json,
}

/// Who reads the log, as far as that can be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// A person: at a terminal, or of the file that it was led to.
    Person,
    /// A program: the journal of systemd, or what gathers the logs of containers.
    Program,
}

impl Reader {
    /// Who reads the log of a command that runs `in_container` or not.
    #[must_use]
    pub fn of(in_container: bool) -> Self {
        let stderr = std::io::stderr();
        if stderr.is_terminal() {
            return Self::Person;
        }
        let file = stderr.as_fd().try_clone_to_owned().map(std::fs::File::from);
        let place = file.and_then(|file| file.metadata());
        let place = place.map(|at| format!("{}:{}", at.dev(), at.ino())).ok();
        // systemd names the place that it reads: who leads its output elsewhere still has the variable.
        let journal = std::env::var("JOURNAL_STREAM").ok();
        if in_container || journal.is_some() && journal == place {
            Self::Program
        } else {
            Self::Person
        }
    }
}

/// The form that a value of [`FORMAT`] means for this reader, and what is wrong with the value.
fn format(value: Option<&str>, reader: Reader) -> (Format, Option<String>) {
    let own = match reader {
        Reader::Person => Format::Text,
        Reader::Program => Format::Json,
    };
    match value.map(str::trim) {
        None | Some("") => (own, None),
        Some("text") => (Format::Text, None),
        Some("json") => (Format::Json, None),
        Some(other) => {
            let complaint = format!(
                "{FORMAT}={other}: write text or json; what it is for whoever reads it here is used"
            );
            (own, Some(complaint))
        }
    }
}

/// Sets it up. `ZABRA_LOG` is a level or a filter in tracing's words: `warn`, `info,zabra::storage=debug`.
/// [`FORMAT`] is `text` or `json`; without it, a person gets text and a program JSON.
pub fn start(reader: Reader) {
    let (filter, complaint) = filter(std::env::var(VARIABLE).ok().as_deref());
    let (format, of_format) = format(std::env::var(FORMAT).ok().as_deref(), reader);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let done = match format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    // A second time in one process (tests): the first one stays.
    drop(done);
    for complaint in complaint.into_iter().chain(of_format) {
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
    fn who_reads_chooses_the_form_and_the_variable_chooses_before() {
        use Format::{Json, Text};
        for (value, person, program) in [
            (None, Text, Json),
            (Some(" "), Text, Json),
            (Some("text"), Text, Text),
            (Some("json"), Json, Json),
        ] {
            assert_eq!(format(value, Reader::Person), (person, None));
            assert_eq!(format(value, Reader::Program), (program, None));
        }
        let (own, complaint) = format(Some("xml"), Reader::Program);
        assert_eq!(own, Json);
        let complaint = complaint.expect("a form that does not exist");
        assert!(complaint.starts_with("ZABRA_LOG_FORMAT=xml: write text or json"));
    }

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
