//! Ports that no server can have together: found while the file is read, and not when the second one of them is taken.

use super::{Config, join};
use std::collections::BTreeMap;
use std::net::IpAddr;
use zabra_model::ids::ServerId;
use zabra_model::service::members::Member;

/// A port of this server: what it is, where it listens (`None`: on every address), its number.
pub type Own<'a> = (String, Option<&'a str>, u16);

/// Whether the ports of all members can be had, which the lines alone tell. Errors: which cannot, and what to do.
pub(super) fn of_members(members: &BTreeMap<ServerId, Member>) -> Result<(), String> {
    for (sid, member) in members {
        let port = member.quorum_port;
        if port != 0 && port == member.election_port {
            return Err(format!(
                "server.{sid}: both of its ports are {port}; the second one, for elections, has to be another one, as in {}:3888",
                join(&member.host, port)
            ));
        }
    }
    let mut seen: Vec<(String, String)> = Vec::new();
    for (sid, member) in members {
        for address in addresses(member) {
            if let Some((other, _)) = seen.iter().find(|(_, known)| *known == address) {
                return Err(format!(
                    "server.{other} and server.{sid} are both at {address}, where only one of them can listen; correct one of the lines"
                ));
            }
            seen.push((sid.to_string(), address));
        }
    }
    Ok(())
}

/// Whether all ports of this server can be had. Errors: which cannot, and what to do.
pub(super) fn of_own(config: &Config) -> Result<(), String> {
    let own = own(config);
    for (at, (name, host, port)) in own.iter().enumerate() {
        for (other, its_host, its_port) in &own[..at] {
            if port == its_port && *port != 0 && overlap(*host, *its_host) {
                return Err(format!(
                    "{other} and {name} are both {port}; write another number for one of them"
                ));
            }
        }
    }
    Ok(())
}

/// The ports that this server is to listen on, but that of commands over HTTP: without that one it serves nevertheless.
#[must_use]
pub fn own(config: &Config) -> Vec<Own<'_>> {
    let mut own = Vec::new();
    if let Some(client) = &config.client {
        own.push(("clientPort".into(), client.host.as_deref(), client.port));
    }
    let secure = config.tls.as_ref().and_then(|tls| tls.listen.as_ref());
    if let Some(secure) = secure {
        let host = secure.host.as_deref();
        own.push(("secureClientPort".into(), host, secure.port));
    }
    if let Some(exporter) = &config.operation.exporter {
        let listen = &exporter.listen;
        let name = "metricsProvider.httpPort".into();
        own.push((name, listen.host.as_deref(), listen.port));
    }
    let me = config.me;
    if let Some(member) = config.members.get(&me) {
        let host = (!config.listen_on_all).then_some(member.host.as_str());
        let quorum = format!("the first port of server.{me}");
        let election = format!("the second port of server.{me}");
        own.push((quorum, host, member.quorum_port));
        own.push((election, host, member.election_port));
    }
    own
}

/// Where others reach a member: names as they are written, as only the name service knows which of them are equal.
fn addresses(member: &Member) -> impl Iterator<Item = String> + '_ {
    let ports = [member.quorum_port, member.election_port];
    let known = ports.into_iter().filter(|port| *port != 0);
    known.map(|port| join(&member.host.to_ascii_lowercase(), port))
}

/// Whether something that listens at the one host stands in the way of something that listens at the other. Of two names that are not
/// equal nobody knows; the system tells when the second port is taken.
pub(super) fn overlap(a: Option<&str>, b: Option<&str>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return true;
    };
    let address = |host: &str| -> Option<IpAddr> {
        let is_loopback = host.eq_ignore_ascii_case("localhost");
        let host = if is_loopback { "127.0.0.1" } else { host };
        host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    };
    // `::` takes the IPv4 addresses, too.
    let covers =
        |all: IpAddr, other: IpAddr| all.is_unspecified() && (all.is_ipv6() || other.is_ipv4());
    match (address(a), address(b)) {
        (Some(a), Some(b)) => a == b || covers(a, b) || covers(b, a),
        (Some(ip), None) | (None, Some(ip)) => ip.is_unspecified(),
        (None, None) => a.eq_ignore_ascii_case(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::of_first_member as of;

    #[test]
    fn equal_ports_of_addresses_that_overlap_are_found_while_the_file_is_read() {
        let three = |own: &str, rest: &str| {
            let others = "server.2=b:2888:3888\nserver.3=c:2888:3888";
            of(&format!("server.1={own}\n{others}\n{rest}"))
        };
        for (own, rest, words) in [
            (
                "a:2888:2888",
                "clientPort=2181",
                "server.1: both of its ports are 2888",
            ),
            (
                "a:2888:3888",
                "clientPort=2888",
                "clientPort and the first port of server.1 are both 2888",
            ),
            (
                "10.0.0.1:2888:3888",
                "clientPort=3888\nclientPortAddress=0.0.0.0",
                "clientPort and the second port of server.1 are both 3888",
            ),
            (
                "a:2888:3888;10.0.0.1:2888",
                "quorumListenOnAllIPs=true",
                "clientPort and the first port of server.1",
            ),
            (
                "B:2888:4888",
                "clientPort=2181",
                "server.1 and server.2 are both at b:2888",
            ),
            (
                "b:4888:2888",
                "clientPort=2181",
                "server.1 and server.2 are both at b:2888",
            ),
        ] {
            let refusal = three(own, rest).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        for (own, rest) in [
            ("a:2888:3888", "clientPort=2181"),
            ("a:2888:3888;10.0.0.1:2888", ""),
            (
                "10.0.0.1:2888:3888",
                "clientPort=2888\nclientPortAddress=10.0.0.2",
            ),
            // The system chooses.
            ("a:0:0", "clientPort=0"),
            ("b:2889:3889", "clientPort=2181"),
        ] {
            assert_eq!(three(own, rest).map(|_| ()), Ok(()), "{own} {rest}");
        }
    }

    #[test]
    fn ports_of_one_line_that_are_equal_are_told_before_a_missing_myid() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().display();
        let text = format!(
            "dataDir={data}\ninitLimit=9\nsyncLimit=9\nserver.1=a:2888:2888\nserver.2=b:2888:3888\nclientPort=2181\n"
        );
        let refusal = crate::config::check::read(std::path::Path::new("zoo.cfg"), &text);
        let refusal = refusal.unwrap_err().to_string();
        assert!(
            refusal.contains("server.1: both of its ports are 2888"),
            "{refusal}"
        );
    }

    #[test]
    fn what_listens_on_every_address_is_in_the_way_of_every_other() {
        for (a, b, expected) in [
            (None, Some("10.0.0.1"), true),
            (Some("0.0.0.0"), Some("10.0.0.1"), true),
            (Some("0.0.0.0"), Some("some.name"), true),
            (Some("0.0.0.0"), Some("fe80::1"), false),
            (Some("::"), Some("10.0.0.1"), true),
            (Some("::"), Some("0.0.0.0"), true),
            (Some("::1"), Some("0:0::1"), true),
            (Some("::ffff:10.0.0.1"), Some("10.0.0.1"), true),
            (Some("localhost"), Some("127.0.0.1"), true),
            (Some("A.example"), Some("a.example"), true),
            (Some("a.example"), Some("b.example"), false),
            (Some("10.0.0.1"), Some("10.0.0.2"), false),
            (Some("10.0.0.1"), Some("a.example"), false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a:?} {b:?}");
            assert_eq!(overlap(b, a), expected, "{b:?} {a:?}");
        }
    }
}
