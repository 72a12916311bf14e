//! What the file says of this server twice, beside its own line among the members and in it; and what its ensemble bears.

use super::file::Lines;
use super::ports::overlap;
use super::{ConfigError, Listen, Member, MemberRole};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use zabra_model::ids::ServerId;
use zabra_model::quorum::{Group, Voters};

/// What to tell where peerType and the server's own line do not say the same: the list of members counts, which all servers have.
pub(super) fn agree(
    peer_type: Option<MemberRole>,
    role: Option<MemberRole>,
    me: ServerId,
) -> Result<Option<String>, String> {
    match (peer_type, role) {
        (Some(MemberRole::Observer), None) => Err(
            "a server on its own cannot be an observer; remove peerType or add the server.N lines of the others"
                .into(),
        ),
        (Some(MemberRole::Observer), Some(MemberRole::Participant)) => Ok(Some(format!(
            "peerType=observer, but server.{me} is a participant in the list of members, which counts; end that line in :observer, on every server, or remove peerType"
        ))),
        (Some(MemberRole::Participant), Some(MemberRole::Observer)) => Ok(Some(format!(
            "peerType=participant, but server.{me} is an observer in the list of members, which counts; remove peerType"
        ))),
        _ => Ok(None),
    }
}

/// What to tell of a number of voters of which one bears nothing.
pub(super) fn what_it_bears(voters: &Voters, groups: &[Group]) -> Option<String> {
    let count = voters.iter().count();
    match count {
        _ if !groups.is_empty() => None,
        2 => Some("of two voters neither may fail, as both are needed for every write; a third one lets one of them fail".into()),
        _ if count > 0 && count.is_multiple_of(2) => Some(format!(
            "{count} voters bear no more failures than {}, as more than half are needed; an odd number is enough",
            count - 1
        )),
        _ => None,
    }
}

/// Where clients are listened for in plain text: clientPort, or the end of the server's own line; with TLS perhaps nowhere.
pub(super) fn client_address(
    lines: &Lines,
    listed: Option<&Listen>,
    me: ServerId,
    has_tls: bool,
) -> Result<Option<Listen>, String> {
    let host = lines.client_port_address.as_deref();
    match (lines.client_port, listed) {
        (None, _) if host.is_some() => Err(
            "clientPortAddress says nothing without clientPort; write clientPort=2181, or remove clientPortAddress"
                .into(),
        ),
        (Some(port), None) => Ok(Some(Listen {
            host: lines.client_port_address.clone(),
            port,
        })),
        (None, None) if has_tls => Ok(None),
        (None, Some(client)) => Ok(Some(client.clone())),
        (Some(port), Some(client)) if client.port != port => Err(format!(
            "clientPort={port} and server.{me}'s client port {} differ; keep one",
            client.port
        )),
        (Some(_), Some(client)) if !agrees(host, client.host.as_deref()) => Err(format!(
            "clientPortAddress={} and server.{me}'s client address {} differ; keep one",
            host.unwrap_or_default(),
            client.to_addr()
        )),
        (Some(_), Some(client)) => Ok(Some(client.clone())),
        (None, None) => Err("clientPort is missing; write clientPort=2181".into()),
    }
}

/// Whether clientPortAddress lets the server's own line say where clients connect: it does if it is there for every address, or is
/// the same one.
fn agrees(host: Option<&str>, listed: Option<&str>) -> bool {
    let is_any = |host: Option<&str>| match host {
        Some(host) => host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()),
        None => true,
    };
    is_any(host) || (!is_any(listed) && overlap(host, listed))
}

/// This server, if the list has its id. Errors: what to do about it.
pub(super) fn listed(
    me: ServerId,
    members: &BTreeMap<ServerId, Member>,
    data_dir: &Path,
) -> Result<ServerId, String> {
    if !members.contains_key(&me) {
        return Err(format!(
            "{} says {me}, but there is no server.{me} line; add it or correct myid, or, if a reconfiguration has removed this server, leave it stopped",
            data_dir.join("myid").display()
        ));
    }
    Ok(me)
}

/// The id in the file `myid` beside the data.
pub(super) fn my_id(data_dir: &Path) -> Result<ServerId, ConfigError> {
    let path = data_dir.join("myid");
    let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => ConfigError::Whole {
            path: path.clone(),
            what: "is missing; write into it the number N of this server's server.N line, which is never another's"
                .into(),
        },
        _ => ConfigError::Unreadable {
            path: path.clone(),
            source,
        },
    })?;
    // ZooKeeper reads the first line; editors put a mark before it, and people blanks and notes behind it.
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    line.unwrap_or_default()
        .parse()
        .map(ServerId)
        .map_err(|_| ConfigError::Line {
            path,
            line: 1,
            what: "no server id; write the number N of this server's server.N line".into(),
        })
}

#[cfg(test)]
mod tests {
    use crate::config::check::of_first_member as of;

    #[test]
    fn the_address_of_clients_may_be_said_twice_and_then_the_same() {
        let two = |client: &str, lines: &str| {
            let text = format!("server.1=a:1:2;{client}\nserver.2=b:1:2\n{lines}");
            of(&text).map(|config| config.client.map(|c| c.to_addr()))
        };
        let at = |address: &str| Ok(Some(address.to_owned()));
        assert_eq!(two("10.0.0.1:2181", ""), at("10.0.0.1:2181"));
        assert_eq!(two("10.0.0.1:2181", "clientPort=2181"), at("10.0.0.1:2181"));
        for address in ["0.0.0.0", "10.0.0.1", "::"] {
            let lines = format!("clientPort=2181\nclientPortAddress={address}");
            assert_eq!(
                two("10.0.0.1:2181", &lines),
                at("10.0.0.1:2181"),
                "{address}"
            );
        }
        for (client, lines, words) in [
            ("2182", "clientPort=2181", "client port 2182 differ"),
            (
                "10.0.0.1:2181",
                "clientPort=2181\nclientPortAddress=10.0.0.2",
                "clientPortAddress=10.0.0.2 and server.1's client address 10.0.0.1:2181 differ",
            ),
            (
                "2181",
                "clientPort=2181\nclientPortAddress=10.0.0.2",
                "client address 0.0.0.0:2181 differ",
            ),
            (
                "2181",
                "clientPortAddress=10.0.0.2",
                "says nothing without clientPort",
            ),
        ] {
            let refusal = two(client, lines).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn a_number_of_voters_that_bears_no_more_than_one_less_is_told() {
        let notes = |n: u64, rest: &str| {
            let members: String = (1..=n).map(|n| format!("server.{n}=h{n}:1:2\n")).collect();
            of(&format!("{members}clientPort=5\n{rest}")).unwrap().notes
        };
        assert!(notes(2, "")[0].contains("of two voters neither may fail"));
        assert!(notes(4, "")[0].contains("4 voters bear no more failures than 3"));
        assert_eq!(notes(4, "group.1=1:2\ngroup.2=3:4"), [""; 0]);
        for (n, rest) in [(1, ""), (3, ""), (3, "server.4=h4:1:2:observer"), (5, "")] {
            assert_eq!(notes(n, rest), [""; 0], "{n}");
        }
    }
}
