//! The operation reconfig: the list of members that it asks for, or why there is none.
//!
//! This judges the request alone, in ZooKeeper's order (`PrepRequestProcessor`). Behind it comes whether a quorum of the new voters is
//! synchronized, which the protocol core knows, and whether the client may write the configuration node, which the tree knows.

use super::members::{Listen, Lists, Member, Members, member, server_id};
use crate::ids::{ServerId, Zxid};
use crate::tree::error::ErrorCode;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Members to add or to replace, `server.N=…`, parted by commas.
    pub joining: Option<&'a str>,
    /// Ids of members to remove, parted by commas.
    pub leaving: Option<&'a str>,
    /// The whole list instead, parted by commas or line ends.
    pub new_members: Option<&'a str>,
    /// The version that it is to follow; −1 is any.
    pub from_version: i64,
}

/// What the leader knows.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `reconfigEnabled`.
    pub is_enabled: bool,
    /// What the session tracker says of the client.
    pub session: Result<(), ErrorCode>,
    /// Whether it is a server on its own.
    pub is_alone: bool,
    /// The lists that bind it.
    pub lists: &'a Lists,
    /// How many voters there have to be: 2, or 1 with `standaloneEnabled=false`.
    pub voters_min: usize,
    /// The largest id that a member may have.
    pub id_max: ServerId,
}

/// The list that is to be proposed as the transaction `version`.
///
/// # Errors
/// [`ErrorCode::ReconfigDisabled`], what the session tracker says, [`ErrorCode::Unimplemented`], [`ErrorCode::ReconfigInProgress`],
/// [`ErrorCode::BadVersion`], [`ErrorCode::BadArguments`], the first of them that applies; and why, for the log.
pub fn judge(
    facts: &Facts<'_>,
    asked: &Asked<'_>,
    version: Zxid,
) -> Result<Members, (ErrorCode, String)> {
    let refused = |code, why: &str| Err((code, why.into()));
    if !facts.is_enabled {
        return refused(ErrorCode::ReconfigDisabled, "reconfigEnabled is not set");
    }
    if let Err(code) = facts.session {
        return refused(code, "the session has ended, or is another server's");
    }
    if facts.is_alone {
        return refused(ErrorCode::Unimplemented, "this is a server on its own");
    }
    if facts.lists.next.is_some() {
        let why = "the last reconfiguration is not committed yet";
        return refused(ErrorCode::ReconfigInProgress, why);
    }
    let now = &facts.lists.active;
    if asked.from_version != -1 && asked.from_version.cast_unsigned() != now.version.0 {
        let why = format!(
            "it is to follow version {:x}, and {:x} is active",
            asked.from_version, now.version.0
        );
        return Err((ErrorCode::BadVersion, why));
    }
    let list = match asked.new_members {
        Some(text) => whole(text),
        None => changed(now, asked),
    };
    let bad = |why| (ErrorCode::BadArguments, why);
    let mut members = list.map_err(bad)?;
    members.version = version;
    if let Some(sid) = members.list.keys().find(|sid| **sid > facts.id_max) {
        return Err(bad(format!("{sid}: ids end at {}", facts.id_max)));
    }
    let ports = |m: &Member| m.quorum_port == m.election_port;
    if let Some((sid, _)) = members.list.iter().find(|(_, m)| ports(m)) {
        let why = format!("server.{sid}: quorum port and election port are the same");
        return Err(bad(why));
    }
    if members.voters.count() < facts.voters_min {
        let min = facts.voters_min;
        return Err(bad(format!("fewer than {min} members would have a vote")));
    }
    Ok(members)
}

/// The list that a text gives from its beginning.
fn whole(text: &str) -> Result<Members, String> {
    Members::parse(&text.replace(',', "\n"))
}

/// The list that a change of some members leaves.
fn changed(now: &Members, asked: &Asked<'_>) -> Result<Members, String> {
    if !now.groups.is_empty() {
        return Err("the members stand in groups: the whole list is needed".into());
    }
    let mut list = now.list.clone();
    for sid in parts(asked.leaving) {
        list.remove(&server_id("leaving", sid)?);
    }
    for line in parts(asked.joining) {
        let wrong = || format!("{line}: write server.N=HOST:2888:3888;CLIENTPORT");
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        let (key, value) = (key.trim(), value.trim());
        let sid = server_id(key, key.rsplit('.').next().unwrap_or(key))?;
        let joiner = member(key, value)?;
        if joiner.client.is_none() {
            return Err(wrong());
        }
        let others = list.iter().filter(|(other, _)| **other != sid);
        for (other, of) in others {
            if let Some(address) = shared_address(&joiner, of) {
                return Err(format!("{address} of {key} is one of server.{other}"));
            }
        }
        list.insert(sid, joiner);
    }
    Members::new(now.version, list, Vec::new(), now.weights.clone())
}

/// The parts of a list parted by commas, without empty ones.
fn parts(text: Option<&str>) -> impl Iterator<Item = &str> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty())
}

/// An address that two members would have, if it names one machine: `0.0.0.0` and `127.0.0.1` do not.
fn shared_address(a: &Member, b: &Member) -> Option<String> {
    let of = addresses(a);
    of.into_iter()
        .find(|address| addresses(b).contains(address))
        .map(|(host, port)| super::members::join(host, port))
}

fn addresses(m: &Member) -> Vec<(&str, u16)> {
    let own = [m.quorum_port, m.election_port].map(|port| (m.host.as_str(), port));
    let client = m.client.iter().filter_map(|Listen { host, port }| {
        let host = host.as_deref()?;
        Some((host, *port))
    });
    let named = |host: &str| match host.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && !ip.is_loopback(),
        Err(_) => host != "localhost",
    };
    let all = own.into_iter().chain(client);
    all.filter(|(host, _)| named(host)).collect()
}

/// Whether a member would be spoken to elsewhere than where it listens now. One that runs has to be stopped before: it does not move
/// its ports while it runs (D-91).
#[must_use]
pub fn moves(now: &Members, next: &Members, sid: ServerId) -> bool {
    let place = |m: &Member| (m.host.clone(), m.quorum_port, m.election_port);
    match (now.list.get(&sid), next.list.get(&sid)) {
        (Some(before), Some(after)) => place(before) != place(after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THREE: &str = "server.1=a:1:2;9\nserver.2=b:1:2;9\nserver.3=c:1:2:observer;9\nversion=7";

    fn facts(lists: &Lists) -> Facts<'_> {
        Facts {
            is_enabled: true,
            session: Ok(()),
            is_alone: false,
            lists,
            voters_min: 2,
            id_max: ServerId(254),
        }
    }

    const NOTHING: Asked<'_> = Asked {
        joining: None,
        leaving: None,
        new_members: None,
        from_version: -1,
    };

    fn lists(text: &str) -> Lists {
        Lists::of(Members::parse(text).unwrap())
    }

    fn code(facts: &Facts<'_>, asked: &Asked<'_>) -> Result<String, ErrorCode> {
        let judged = judge(facts, asked, Zxid(8));
        judged.map(|m| m.text()).map_err(|(code, _)| code)
    }

    #[test]
    fn of_several_errors_a_client_gets_the_one_that_zookeeper_gives() {
        let three = lists(THREE);
        let pending = Lists::found(
            three.active.clone(),
            [Members::parse(&THREE.replace("=7", "=8")).unwrap()],
        );
        let wrong = Asked {
            joining: Some("some thing"),
            from_version: 5,
            ..NOTHING
        };
        let mut at = Facts {
            is_enabled: false,
            session: Err(ErrorCode::SessionMoved),
            is_alone: true,
            ..facts(&pending)
        };
        assert_eq!(code(&at, &wrong), Err(ErrorCode::ReconfigDisabled));
        at.is_enabled = true;
        assert_eq!(code(&at, &wrong), Err(ErrorCode::SessionMoved));
        at.session = Ok(());
        assert_eq!(code(&at, &wrong), Err(ErrorCode::Unimplemented));
        at.is_alone = false;
        assert_eq!(code(&at, &wrong), Err(ErrorCode::ReconfigInProgress));
        at.lists = &three;
        assert_eq!(code(&at, &wrong), Err(ErrorCode::BadVersion));
        let wrong = Asked {
            from_version: 7,
            ..wrong
        };
        assert_eq!(code(&at, &wrong), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn members_join_leave_and_change_their_roles() {
        let three = lists(THREE);
        let at = facts(&three);
        let text = |list: &str| Ok(format!("{list}\nversion=8"));
        let asked = Asked {
            joining: Some("server.4=d:1:2;9, 3=c:1:2;9"),
            leaving: Some("1, 77"),
            ..NOTHING
        };
        let left = "server.2=b:1:2:participant;0.0.0.0:9\nserver.3=c:1:2:participant;0.0.0.0:9\nserver.4=d:1:2:participant;0.0.0.0:9";
        assert_eq!(code(&at, &asked), text(left));
        let asked = Asked {
            new_members: Some("server.5=e:1:2,server.6=f:1:2\ngroup.1=5:6,weight.5=2"),
            joining: Some("is not looked at"),
            ..NOTHING
        };
        let new = "server.5=e:1:2:participant\nserver.6=f:1:2:participant\ngroup.1=5:6\nweight.5=2\nweight.6=1";
        assert_eq!(code(&at, &asked), text(new));
        // Of groups only the whole list is taken.
        let groups = Lists::of(Members::parse(new).unwrap());
        let asked = Asked {
            leaving: Some("6"),
            ..NOTHING
        };
        assert_eq!(code(&facts(&groups), &asked), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn what_is_no_list_of_members_is_refused() {
        let three = lists(THREE);
        let at = facts(&three);
        for joining in [
            "some thing",
            "server.4=d:1:2",
            "server.4=d:1:1;9",
            "server.x=d:1:2;9",
            "server.255=d:1:2;9",
            "server.4=d:1:2:king;9",
            "server.4=a:5:1;9",
            "server.4=d:1:2;b:2",
            "server.4=d:1:2;9;10",
        ] {
            let asked = Asked {
                joining: Some(joining),
                ..NOTHING
            };
            assert_eq!(code(&at, &asked), Err(ErrorCode::BadArguments), "{joining}");
        }
        for leaving in ["2", "1,2", "x", "-1"] {
            let asked = Asked {
                leaving: Some(leaving),
                ..NOTHING
            };
            assert_eq!(code(&at, &asked), Err(ErrorCode::BadArguments), "{leaving}");
        }
        for new in [
            "",
            "server.1=a:1:2",
            "server.1=a:1:2:observer,server.2=b:1:2:observer",
            "x",
        ] {
            let asked = Asked {
                new_members: Some(new),
                ..NOTHING
            };
            assert_eq!(code(&at, &asked), Err(ErrorCode::BadArguments), "{new}");
        }
        // One voter is enough where no server stands alone, and machines that are not named are not compared.
        let one = Facts {
            voters_min: 1,
            ..at
        };
        let asked = Asked {
            leaving: Some("2"),
            ..NOTHING
        };
        assert!(code(&one, &asked).is_ok());
        let here = lists("server.1=127.0.0.1:1:2;9\nserver.2=127.0.0.1:3:4;9");
        let asked = Asked {
            joining: Some("server.3=127.0.0.1:1:4;9"),
            ..NOTHING
        };
        assert!(code(&facts(&here), &asked).is_ok());
    }

    #[test]
    fn a_member_moves_when_it_is_spoken_to_elsewhere() {
        let now = Members::parse(THREE).unwrap();
        let next = |text: &str| Members::parse(text).unwrap();
        assert!(!moves(&now, &now, ServerId(1)));
        assert!(moves(
            &now,
            &next(&THREE.replace("a:1", "a:5")),
            ServerId(1)
        ));
        assert!(moves(
            &now,
            &next(&THREE.replace("a:1:2", "x:1:2")),
            ServerId(1)
        ));
        let other = THREE
            .replace("a:1:2;9", "a:1:2:observer;10")
            .replace("c:1:2:observer", "c:1:2");
        assert!(!moves(&now, &next(&other), ServerId(1)));
        assert!(!moves(&now, &next("server.2=b:1:2"), ServerId(1)));
    }

    proptest! {
        /// Whatever is asked for: what comes out is a list that reads back, with enough voters, or an error.
        #[test]
        fn a_list_that_is_proposed_can_be_read_by_everybody(
            joining in prop::option::of("((server\\.)?[1-5]=[a-c]:[12]:[34](:observer)?;[5-7],?|[a-z=.;,]{0,5}){0,4}"),
            leaving in prop::option::of("([1-5],?){0,4}"),
            new_members in prop::option::weighted(0.2, "(server\\.[1-5]=[a-c]:[12]:[34](:observer)?[,\n]){0,4}"),
        ) {
            let three = lists(THREE);
            let asked = Asked {
                joining: joining.as_deref(),
                leaving: leaving.as_deref(),
                new_members: new_members.as_deref(),
                from_version: 7,
            };
            match judge(&facts(&three), &asked, Zxid(8)) {
                Ok(members) => {
                    prop_assert!(members.voters.count() >= 2 && members.version == Zxid(8));
                    let read = Members::parse(&members.text()).unwrap();
                    prop_assert_eq!(read.text(), members.text());
                    prop_assert_eq!(read.voters, members.voters);
                }
                Err((code, why)) => {
                    prop_assert_eq!(code, ErrorCode::BadArguments);
                    prop_assert!(!why.is_empty());
                }
            }
        }
    }
}
