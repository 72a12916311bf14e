//! Numbers, times, paths, data and access control lists, as they are read from a command line and printed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::fmt::Write as _;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, perms};

/// How data is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Encoding {
    /// Base64
    Base64,
    /// Two hexadecimal digits a byte
    Hex,
    /// As UTF-8; what is none becomes U+FFFD
    Text,
}

impl Encoding {
    pub(super) fn of(self, data: &[u8]) -> String {
        match self {
            Self::Base64 => STANDARD.encode(data),
            Self::Hex => data.iter().fold(String::new(), |mut all, byte| {
                let _ = write!(all, "{byte:02x}");
                all
            }),
            Self::Text => String::from_utf8_lossy(data).into_owned(),
        }
    }

    /// For people: data that is text stands in quotes, so that it stays on its line.
    pub(super) fn shown(self, data: &[u8]) -> String {
        match self {
            Self::Base64 | Self::Hex => self.of(data),
            Self::Text => format!("{:?}", self.of(data)),
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| {
        "write it as it is printed, 0x and hexadecimal digits, or as a decimal number".into()
    })
}

/// A zxid, of the command line.
pub(super) fn zxid(text: &str) -> Result<Zxid, String> {
    number(text).map(Zxid)
}

/// A session, of the command line.
pub(super) fn session(text: &str) -> Result<SessionId, String> {
    number(text).map(|id| SessionId(id.cast_signed()))
}

/// A path of a node, of the command line.
pub(super) fn path(text: &str) -> Result<String, String> {
    match text {
        "/" => Ok(text.to_owned()),
        _ if text.starts_with('/') => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("paths begin with a slash: write /{text}")),
    }
}

/// A point in time, of the command line, in ms since 1970.
pub(super) fn time(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = text.parse::<DateTime>().ok();
    let at = local.and_then(|local| TimeZone::system().to_timestamp(local).ok());
    at.map(|at| at.as_millisecond()).ok_or_else(|| {
        "write 2026-11-29T16:00:00Z, or without the Z for the time of this machine, or milliseconds since 1970".into()
    })
}

/// A time of a file, in UTC; a number that is no time stays one.
pub(super) fn shown_time(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{ms}ms"),
    }
}

/// Whether `path` is `root`, or below it.
pub(super) fn is_under(path: &str, root: &str) -> bool {
    root == "/"
        || path
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One entry of an access control list, for programs.
#[derive(Serialize)]
pub(super) struct AclJson<'a> {
    scheme: &'a str,
    id: &'a str,
    perms: String,
}

pub(super) fn acl_json(acl: &[AclEntry]) -> Vec<AclJson<'_>> {
    let of = |entry: &AclEntry| letters(entry.perms);
    let entries = acl.iter();
    entries
        .map(|entry| AclJson {
            scheme: &entry.id.scheme,
            id: &entry.id.id,
            perms: of(entry),
        })
        .collect()
}

/// As ZooKeeper's shell takes it: `world:anyone:cdrwa`, more behind commas.
pub(super) fn acl_text(acl: &[AclEntry]) -> String {
    let entries = acl
        .iter()
        .map(|e| format!("{}:{}:{}", e.id.scheme, e.id.id, letters(e.perms)));
    entries.collect::<Vec<_>>().join(",")
}

fn letters(set: u32) -> String {
    const LETTERS: [(u32, char); 5] = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    let set = LETTERS.into_iter().filter(|(bit, _)| set & bit != 0);
    set.map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read_as_they_are_printed() {
        assert_eq!(zxid("0x1f"), Ok(Zxid(31)));
        assert_eq!(zxid("31"), Ok(Zxid(31)));
        assert_eq!(session("0xffffffffffffffff"), Ok(SessionId(-1)));
        assert!(zxid("1f").unwrap_err().contains("0x"));
        let at = 1_795_293_013_222;
        assert_eq!(shown_time(at), "2026-11-21T20:30:13.222Z");
        assert_eq!(time(&shown_time(at)), Ok(at));
        assert_eq!(time("1795293013222"), Ok(at));
        assert!(time("2026-11-21").is_ok() && time("2026-11-21T20:30").is_ok());
        assert!(
            time("yesterday")
                .unwrap_err()
                .contains("2026-11-29T16:00:00Z")
        );
        assert_eq!(shown_time(i64::MAX), "9223372036854775807ms");
    }

    #[test]
    fn a_path_and_what_is_below_it_are_under_it() {
        for (path, root, is) in [
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(is_under(path, root), is, "{path} {root}");
        }
        assert_eq!(path("/a/"), Ok("/a".into()));
        assert!(path("a").is_err());
    }
}
