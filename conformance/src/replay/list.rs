//! Lists of members as text, read apart from the server's own code: in votes, packets, files and what clients read.

use super::ports::Ports;
use super::trace::{ListRecord, ListsRecord};
use anyhow::{Context, Result, ensure};

/// Between the two lists that SNAP carries.
const BETWEEN: &str = "\n--\n";
/// How each line of the newer list begins in a notification.
const NOT_YET: &str = "#next ";

/// One list, without the places of its members.
///
/// # Errors
/// It is none, or has somebody who does not vote.
pub fn parse(text: &str) -> Result<ListRecord> {
    let mut list = ListRecord::default();
    let mut has_version = false;
    for line in text.lines() {
        let (key, value) = line
            .split_once('=')
            .with_context(|| format!("{line:?} in a list of members"))?;
        if key == "version" {
            list.version = u64::from_str_radix(value, 16)?;
            has_version = true;
            continue;
        }
        let id = key.strip_prefix("server.").and_then(|id| id.parse().ok());
        let id = id.with_context(|| format!("{line:?} in a list of members"))?;
        let (member, _client) = value.split_once(';').unwrap_or((value, ""));
        ensure!(member.ends_with(":participant"), "{line:?} does not vote");
        list.voters.push(id);
    }
    ensure!(has_version, "a list of members without a version: {text:?}");
    list.voters.sort_unstable();
    Ok(list)
}

/// One or two lists.
///
/// # Errors
/// As [`parse`].
pub fn parse_both(text: &str) -> Result<ListsRecord> {
    let (active, next) = match text.split_once(BETWEEN) {
        Some((active, next)) => (active, Some(parse(next)?)),
        None => (text, None),
    };
    let active = parse(active)?;
    Ok(ListsRecord { active, next })
}

/// What a notification tells: one list, and perhaps the newer one, whose lines are comments to ZooKeeper's servers.
///
/// # Errors
/// As [`parse`].
pub fn parse_told(text: &str) -> Result<ListsRecord> {
    let (next, active): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(NOT_YET));
    let next: Vec<&str> = next
        .iter()
        .filter_map(|line| line.strip_prefix(NOT_YET))
        .collect();
    let next = (!next.is_empty()).then(|| parse(&next.join("\n")));
    Ok(ListsRecord {
        active: parse(&active.join("\n"))?,
        next: next.transpose()?,
    })
}

/// How a member stands in every list.
#[must_use]
pub fn line(ports: &Ports, server: u8) -> String {
    let (quorum, election) = ports.of_proxy(server);
    format!(
        "server.{server}={}:{quorum}:{election}:participant",
        ports.host
    )
}

/// Whether every line of a list has its member where the replay has put it.
///
/// # Errors
/// The line.
pub fn check_places(text: &str, ports: &Ports) -> Result<()> {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(NOT_YET).unwrap_or(line));
    for said in lines.filter(|line| line.starts_with("server.")) {
        let (said, _client) = said.split_once(';').unwrap_or((said, ""));
        let known = (1..=super::ports::SERVERS).any(|server| line(ports, server) == said);
        ensure!(known, "{said} is nowhere in this replay");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_version_and_its_voters() {
        let one = "server.1=h:1:2:participant\nserver.2=h:3:4:participant;h:5\nversion=100000002";
        let list = parse(one).unwrap_or_default();
        assert_eq!((list.version, list.voters), (0x1_0000_0002, vec![1, 2]));
        let both = parse_both(&format!("{one}\n--\nserver.2=h:3:4:participant\nversion=1"));
        let both = both.unwrap_or_default();
        assert_eq!(both.next.unwrap_or_default().voters, [2]);
        assert!(parse("server.1=h:1:2:participant").is_err());
        assert!(parse("server.1=h:1:2:observer\nversion=1").is_err());
        assert!(parse("").is_err());
    }
}
