//! What the logs of a program say about the answers that its ZooKeeper client got.
//!
//! A lost connection, an ended session and an expected error code (a node that is there, or is not) are everyday. What stands here is
//! said only about an answer that ZooKeeper would not have given, or that could not be read.

use anyhow::{Context, Result};
use std::path::Path;

/// Parts of lines in the logs of programs.
const SIGNS: &[&str] = &[
    "KeeperErrorCode = Unimplemented",
    "KeeperErrorCode = MarshallingError",
    "KeeperErrorCode = BadArguments",
    "KeeperErrorCode = APIError",
    "KeeperErrorCode = SystemError",
    "KeeperErrorCode = RuntimeInconsistency",
    "KeeperErrorCode = DataInconsistency",
    "KeeperErrorCode = AuthFailed",
    "KeeperErrorCode = Session closed because client failed to authenticate",
    "Xid out of order",
    "Unreasonable length",
    "Packet len",
    "Nothing in the queue, but got",
];
/// Begins the names of the logs of Zabra's servers.
pub(super) const ZABRA: &str = "zabra-";
/// Parts of lines that no server of Zabra may say; programs have errors of their own.
const SIGNS_OF_ZABRA: &[&str] = &["panicked at", " ERROR "];
/// An error shows so many.
const LINES_SHOWN: usize = 20;

/// Lines of the logs directly in `directory`, each with the name of its file.
pub(super) fn complaints(directory: &Path) -> Result<Vec<String>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lines = complaints_in(&name, &String::from_utf8_lossy(&text));
        found.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
    }
    found.sort();
    found.truncate(LINES_SHOWN);
    Ok(found)
}

fn complaints_in(name: &str, text: &str) -> Vec<String> {
    let signs = match name.starts_with(ZABRA) {
        true => SIGNS_OF_ZABRA,
        false => SIGNS,
    };
    text.lines()
        .filter(|line| signs.iter().any(|sign| line.contains(sign)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::complaints_in;

    #[test]
    fn an_answer_that_cannot_be_read_counts_and_a_lost_connection_does_not() {
        let broker = "INFO Unable to read additional data from server\n\
            ERROR of its own\n\
            WARN KeeperErrorCode = NoNode for /a\n\
            WARN Session 0x1: java.io.IOException: Xid out of order. Got Xid 4\n";
        let found = complaints_in("broker-1.log", broker);
        assert_eq!(
            found,
            ["WARN Session 0x1: java.io.IOException: Xid out of order. Got Xid 4"]
        );
    }

    #[test]
    fn a_server_of_zabra_may_say_no_error_at_all() {
        let server = "2026-11-29  INFO serves\n2026-11-29 ERROR the disk\n";
        let found = complaints_in("zabra-1.log", server);
        assert_eq!(found, ["2026-11-29 ERROR the disk"]);
    }
}
