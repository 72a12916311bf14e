//! The list of members: who they are, where they listen, who votes. As text it is ZooKeeper's: what `/zookeeper/config` shows,
//! what NEWLEADER and notifications carry, and what a transaction of type 16 brings.
//!
//! ```text
//! server.1=a.example:2888:3888:participant;0.0.0.0:2181
//! server.2=b.example:2888:3888:observer;0.0.0.0:2181
//! version=100000007
//! ```

use super::membership::Listed;
use crate::ensemble::{Config, Ensemble};
use crate::ids::{ServerId, Zxid};
use crate::quorum::{Group, Voters};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Whether a member votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberRole {
    /// It votes.
    Participant,
    /// It only learns.
    Observer,
}

/// A `server.N` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Where its leader listens for learners.
    pub quorum_port: u16,
    /// Where it listens for votes.
    pub election_port: u16,
    /// Whether it votes.
    pub role: MemberRole,
    /// Where it listens for clients, if its line says so.
    pub client: Option<Listen>,
}

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// The host; `None` is every address of the machine.
    pub host: Option<String>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl Listen {
    /// As `host:port`, for the system.
    #[must_use]
    pub fn to_addr(&self) -> String {
        join(self.host.as_deref().unwrap_or("0.0.0.0"), self.port)
    }
}

impl Member {
    /// What stands behind `server.N=`.
    #[must_use]
    pub fn text(&self) -> String {
        let role = match self.role {
            MemberRole::Participant => "participant",
            MemberRole::Observer => "observer",
        };
        let quorum = join(&self.host, self.quorum_port);
        let client = self.client.as_ref().map(Listen::to_addr);
        let client = client.map(|c| format!(";{c}")).unwrap_or_default();
        format!("{quorum}:{}:{role}{client}", self.election_port)
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
#[must_use]
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// `host:port` and what follows the port; IPv6 hosts stand in brackets.
fn host(text: &str) -> Option<(String, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    (!host.is_empty()).then(|| (host.to_string(), rest))
}

/// Reads a role.
///
/// # Errors
/// What to write instead.
pub fn role(value: &str) -> Result<MemberRole, String> {
    match value.to_ascii_lowercase().as_str() {
        "participant" => Ok(MemberRole::Participant),
        "observer" => Ok(MemberRole::Observer),
        _ => Err(format!(
            "{value:?} is no role; write participant or observer"
        )),
    }
}

/// Reads `host:quorumport:electionport[:role][;[clienthost:]clientport]`, which stands behind `key=`.
///
/// # Errors
/// What to write instead.
pub fn member(key: &str, value: &str) -> Result<Member, String> {
    let wrong = || {
        format!(
            "{key}={value} is no member; write {key}=HOST:2888:3888, with :observer or ;CLIENTPORT behind it if needed"
        )
    };
    if value.contains('|') {
        return Err(format!(
            "{key}: several addresses are not supported; keep one"
        ));
    }
    let (servers, client) = match value.split_once(';') {
        Some((servers, client)) => (servers, Some(client)),
        None => (value, None),
    };
    let (host_name, rest) = host(servers).ok_or_else(wrong)?;
    let mut parts = rest.split(':');
    let mut port = || parts.next().and_then(|p| p.parse::<u16>().ok());
    let (Some(quorum_port), Some(election_port)) = (port(), port()) else {
        return Err(wrong());
    };
    let role = match parts.next() {
        Some(text) => role(text).map_err(|what| format!("{key}: {what}"))?,
        None => MemberRole::Participant,
    };
    if parts.next().is_some() {
        return Err(wrong());
    }
    let client = match client {
        None => None,
        Some(text) => {
            let (host_name, port) = match host(text) {
                Some((h, port)) => (Some(h), port),
                None => (None, text),
            };
            let port = port.parse().map_err(|_| wrong())?;
            Some(Listen {
                host: host_name,
                port,
            })
        }
    };
    Ok(Member {
        host: host_name,
        quorum_port,
        election_port,
        role,
        client,
    })
}

/// Reads the id of a server: ZooKeeper takes every number of its type; a session's first byte is the last one of the id of its
/// server.
///
/// # Errors
/// What to write instead, of the key that it stands in.
pub fn server_id(key: &str, sid: &str) -> Result<ServerId, String> {
    sid.parse()
        .ok()
        .filter(|n| i64::try_from(*n).is_ok())
        .map(ServerId)
        .ok_or_else(|| format!("{key}: {sid:?} is no server id; write 1 to {}", i64::MAX))
}

/// The members of an ensemble, and which transaction brought the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Members {
    /// The zxid of that transaction; zero for the list that an ensemble begins with.
    pub version: Zxid,
    /// The `server.N` lines; empty for a server on its own.
    pub list: BTreeMap<ServerId, Member>,
    /// The `group.N` lines.
    pub groups: Vec<Group>,
    /// The `weight.N` lines.
    pub weights: BTreeMap<ServerId, u32>,
    /// Who has a vote, and which of them decide together.
    pub voters: Voters,
}

impl Members {
    /// These lines.
    ///
    /// # Errors
    /// Why nobody could decide.
    pub fn new(
        version: Zxid,
        list: BTreeMap<ServerId, Member>,
        groups: Vec<Group>,
        weights: BTreeMap<ServerId, u32>,
    ) -> Result<Self, String> {
        let participants = list
            .iter()
            .filter(|(_, m)| m.role == MemberRole::Participant);
        let ids: Vec<ServerId> = participants.map(|(sid, _)| *sid).collect();
        let voters =
            Voters::hierarchical(&ids, &groups, &weights).map_err(|error| error.to_string())?;
        Ok(Self {
            version,
            list,
            groups,
            weights,
            voters,
        })
    }

    /// Reads the text of a list, with or without its version.
    ///
    /// # Errors
    /// The line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut list) = (Zxid::ZERO, BTreeMap::new());
        let (mut groups, mut weights) = (Vec::new(), BTreeMap::new());
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty()) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| format!("{line}: no member; write server.N=HOST:2888:3888"))?;
            let (key, value) = (key.trim(), value.trim());
            let twice = || format!("{key} is there twice; keep one");
            match key.split_once('.') {
                Some(("server", sid)) => {
                    let sid = server_id(key, sid)?;
                    if list.insert(sid, member(key, value)?).is_some() {
                        return Err(twice());
                    }
                }
                Some(("group", number)) => {
                    let number = number
                        .parse()
                        .map_err(|_| format!("{key}: {number:?} is no number"))?;
                    let members = value.split(':').map(|sid| server_id(key, sid.trim()));
                    let members = members.collect::<Result<_, _>>()?;
                    if groups.iter().any(|g: &Group| g.number == number) {
                        return Err(twice());
                    }
                    groups.push(Group { number, members });
                }
                Some(("weight", sid)) => {
                    let sid = server_id(key, sid)?;
                    let weight = value
                        .parse()
                        .map_err(|_| format!("{key}={value}: write digits only"))?;
                    if weights.insert(sid, weight).is_some() {
                        return Err(twice());
                    }
                }
                None if key == "version" => {
                    version = u64::from_str_radix(value, 16)
                        .map(Zxid)
                        .map_err(|_| format!("version={value} is no hexadecimal number"))?;
                }
                _ => return Err(format!("{key} does not belong into a list of members")),
            }
        }
        Self::new(version, list, groups, weights)
    }

    /// The lines of the members, of groups and of weights, each with its end.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (sid, m) in &self.list {
            text.push_str(&format!("server.{sid}={}\n", m.text()));
        }
        for Group { number, members } in &self.groups {
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            text.push_str(&format!("group.{number}={}\n", members.join(":")));
        }
        for sid in self.voters.iter().filter(|_| !self.groups.is_empty()) {
            let weight = self.weights.get(&sid).copied().unwrap_or(1);
            text.push_str(&format!("weight.{sid}={weight}\n"));
        }
        text
    }

    /// As the configuration node, notifications and NEWLEADER say it, without a last newline; nothing of a server on its own.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.lines();
        if !text.is_empty() {
            text.push_str(&format!("version={:x}", self.version.0));
        }
        text
    }

    /// What it says of an id.
    #[must_use]
    pub fn listed(&self, sid: ServerId) -> Option<Listed> {
        self.list.get(&sid).map(|m| match m.role {
            MemberRole::Participant => Listed::Participant,
            MemberRole::Observer => Listed::Observer,
        })
    }

    /// What the protocol core knows of it.
    #[must_use]
    pub fn config(&self) -> Config {
        Config {
            version: self.version,
            voters: self.voters.clone(),
        }
    }
}

/// Between the two lists of a server as text: no line of a list.
const BETWEEN: &str = "\n--\n";

/// What each line of the newer list begins with in an election message: a comment to ZooKeeper's servers, which would go by that list.
const NOT_YET: &str = "#next ";

/// The lists that bind a server: what the protocol core keeps of them is [`Ensemble`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lists {
    /// Known to be committed.
    pub active: Members,
    /// In the log, and not known to be committed.
    pub next: Option<Members>,
}

impl Lists {
    /// One list.
    #[must_use]
    pub const fn of(active: Members) -> Self {
        Self { active, next: None }
    }

    /// What a start finds: the list that was activated last, and those in its history, by version. As [`Ensemble::found`].
    pub fn found(active: Members, in_history: impl IntoIterator<Item = Members>) -> Self {
        let mut lists = Self::of(active);
        in_history
            .into_iter()
            .for_each(|members| lists.append(members));
        lists
    }

    /// The log holds another one: a newer one would not have been proposed before the last one was committed. An older one than the
    /// active one binds nobody.
    pub fn append(&mut self, members: Members) {
        if members.version > self.newest().version {
            self.activate();
            self.next = Some(members);
        }
    }

    /// The newer list is committed; whether there was one.
    pub fn activate(&mut self) -> bool {
        match self.next.take() {
            Some(next) => {
                self.active = next;
                true
            }
            None => false,
        }
    }

    /// The log ends at `zxid` now; whether that takes a list away.
    pub fn truncate(&mut self, zxid: Zxid) -> bool {
        self.next.take_if(|next| next.version > zxid).is_some()
    }

    /// What binds a learner that gets a tree by SNAP from a leader that does not say its lists, as ZooKeeper's do not. `shown` is the list
    /// that the tree shows, `told` the newest version that some member has told of as its active one.
    ///
    /// Such a leader applies all of its log when it starts, so its tree may show a list that is not committed, and does not tell which one
    /// came before. A list that this learner has in its log goes on to bind it beside its active one; another one is taken if it is known to
    /// be committed. What is not in that leader's history binds nobody any more.
    ///
    /// # Errors
    /// The version of the list that cannot be taken.
    pub fn of_tree(&self, shown: Option<Members>, told: Zxid) -> Result<Self, Zxid> {
        // A counter of zero: nobody has changed the list yet, it is named after an epoch.
        let is_newer = |m: &Members| m.version.counter() > 0 && m.version > self.active.version;
        let Some(shown) = shown.filter(is_newer) else {
            return Ok(Self::of(self.active.clone()));
        };
        if self.newest().version == shown.version {
            return Ok(self.clone());
        }
        if shown.version <= told {
            Ok(Self::of(shown))
        } else {
            Err(shown.version)
        }
    }

    /// The one that was proposed last.
    #[must_use]
    pub fn newest(&self) -> &Members {
        self.next.as_ref().unwrap_or(&self.active)
    }

    /// What the protocol core keeps.
    #[must_use]
    pub fn ensemble(&self) -> Ensemble {
        let next = self.next.iter().map(Members::config);
        Ensemble::found(self.active.config(), next)
    }

    /// The line of a member, as the newest list that has it gives it.
    #[must_use]
    pub fn member(&self, sid: ServerId) -> Option<&Member> {
        let next = self.next.as_ref().and_then(|next| next.list.get(&sid));
        next.or_else(|| self.active.list.get(&sid))
    }

    /// What is said of an id, by the newest list that has it.
    #[must_use]
    pub fn listed(&self, sid: ServerId) -> Option<Listed> {
        let next = self.next.as_ref().and_then(|next| next.listed(sid));
        next.or_else(|| self.active.listed(sid))
    }

    /// All members of either list, each once.
    #[must_use]
    pub fn members(&self) -> BTreeMap<ServerId, &Member> {
        let next = self.next.iter().flat_map(|next| &next.list);
        let all = self.active.list.iter().chain(next);
        all.map(|(sid, member)| (*sid, member)).collect()
    }

    /// Whether a server has a vote by one of the lists.
    #[must_use]
    pub fn has_vote(&self, sid: ServerId) -> bool {
        let votes = |members: &Members| members.voters.index(sid).is_some();
        votes(&self.active) || self.next.as_ref().is_some_and(votes)
    }

    /// Whether a server is an observer: one list names it as such, and none gives it a vote.
    #[must_use]
    pub fn observes(&self, sid: ServerId) -> bool {
        !self.has_vote(sid) && self.listed(sid) == Some(Listed::Observer)
    }

    /// Both as text, as they go with SNAP.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.active.text();
        if let Some(next) = &self.next {
            text.push_str(BETWEEN);
            text.push_str(&next.text());
        }
        text
    }

    /// Both as text, as election messages tell them.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.active.text();
        let next = self.next.iter().map(Members::text);
        for line in next.flat_map(|next| next.lines().map(String::from).collect::<Vec<_>>()) {
            text.push_str(&format!("\n{NOT_YET}{line}"));
        }
        text
    }

    /// Reads that.
    ///
    /// # Errors
    /// As [`Members::parse`].
    pub fn heard(text: &str) -> Result<Self, String> {
        let (next, active): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with(NOT_YET));
        let next = next.iter().filter_map(|line| line.strip_prefix(NOT_YET));
        let next = next.collect::<Vec<_>>().join("\n");
        let next = (!next.is_empty()).then(|| Members::parse(&next));
        Ok(Self {
            active: Members::parse(&active.join("\n"))?,
            next: next.transpose()?,
        })
    }

    /// Reads what goes with SNAP.
    ///
    /// # Errors
    /// As [`Members::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let (active, next) = match text.split_once(BETWEEN) {
            Some((active, next)) => (active, Some(Members::parse(next)?)),
            None => (text, None),
        };
        let active = Members::parse(active)?;
        if next.as_ref().is_some_and(|n| n.version <= active.version) {
            return Err("the newer list has no newer version".to_string());
        }
        Ok(Self { active, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use proptest::prelude::*;

    fn some_member() -> impl Strategy<Value = Member> {
        let host = prop_oneof!["[a-z]{1,9}(\\.[a-z]{2,3})?", Just("fe80::1".to_string())];
        let client = prop::option::of((prop::option::of("[a-z]{1,9}"), any::<u16>()));
        (host, any::<u16>(), any::<u16>(), any::<bool>(), client).prop_map(
            |(host, quorum_port, election_port, votes, client)| Member {
                host,
                quorum_port,
                election_port,
                role: if votes {
                    MemberRole::Participant
                } else {
                    MemberRole::Observer
                },
                client: client.map(|(host, port)| Listen {
                    // Every address of the machine is written as one.
                    host: Some(host.unwrap_or_else(|| "0.0.0.0".to_string())),
                    port,
                }),
            },
        )
    }

    fn some_members() -> impl Strategy<Value = Members> {
        let list =
            prop::collection::btree_map((0..300_u64).prop_map(ServerId), some_member(), 1..9);
        (list, any::<u64>()).prop_filter_map("somebody votes", |(list, version)| {
            Members::new(Zxid(version), list, Vec::new(), BTreeMap::new()).ok()
        })
    }

    proptest! {
        #[test]
        fn a_list_reads_back_from_its_text(members in some_members(), next in some_members()) {
            let read = Members::parse(&members.text());
            prop_assert_eq!(read.as_ref(), Ok(&members));
            let lists = Lists::found(members, [next]);
            prop_assert_eq!(Lists::parse(&lists.text()), Ok(lists.clone()));
            prop_assert_eq!(Lists::heard(&lists.told()), Ok(lists.clone()));
            // ZooKeeper's servers pass over comments, and go by the rest.
            let told = lists.told();
            let rest = told.lines().filter(|line| !line.starts_with('#'));
            prop_assert_eq!(rest.collect::<Vec<_>>().join("\n"), lists.active.text());
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(text in "(server|version|group|weight|[.=:;,|\n0-9a-z]){0,40}") {
            let _ = Lists::parse(&text);
            let _ = Lists::heard(&text);
        }
    }

    #[test]
    fn groups_and_weights_are_part_of_the_text() {
        let text = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:observer;0.0.0.0:5\ngroup.1=1:2\nweight.1=1\nweight.2=0\nversion=2a";
        let members = Members::parse(text).unwrap();
        assert_eq!(members.text(), text);
        assert!(members.voters.may_lead(ServerId(1)) && !members.voters.may_lead(ServerId(2)));
        for wrong in [
            "server.1=a:1:2\nserver.1=b:1:2",
            "server.1=a:1:2:observer",
            "server.1",
            "server.1=a:1:2\nversion=x",
            "server.1=a:1:2\ntickTime=5",
            "server.1=a:1:2\nweight.2=1",
            "",
        ] {
            assert!(Members::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// An observer that is to get a vote is none any more from the proposal on, a voter that is to lose it is one when it has lost it.
    #[test]
    fn who_has_a_vote_in_one_of_the_lists_is_no_observer() {
        let of = |role: &str, version: u32| {
            let text = format!("server.1=a:1:2\nserver.2=b:1:2:{role}\nversion={version:x}");
            Members::parse(&text).unwrap()
        };
        for (active, next, observes) in [
            ("observer", None, true),
            ("participant", None, false),
            ("observer", Some("participant"), false),
            ("participant", Some("observer"), false),
            ("observer", Some("observer"), true),
        ] {
            let lists = Lists::found(of(active, 1), next.map(|role| of(role, 2)));
            assert_eq!(lists.observes(ServerId(2)), observes, "{active} {next:?}");
            assert!(!lists.observes(ServerId(3)));
        }
    }

    #[test]
    fn the_lists_are_those_of_the_protocol_core() {
        let of =
            |version: u32| Members::parse(&format!("server.1=a:1:2\nversion={version:x}")).unwrap();
        let mut lists = Lists::found(of(3), [of(2), of(4), of(5)]);
        let versions = |lists: &Lists| {
            let next = lists.next.as_ref().map(|n| n.version.0);
            (lists.active.version.0, next)
        };
        assert_eq!(versions(&lists), (4, Some(5)));
        let ensemble = lists.ensemble();
        assert_eq!(ensemble.active().version, Zxid(4));
        assert_eq!(ensemble.next().map(|n| n.version), Some(Zxid(5)));
        assert!(!lists.truncate(Zxid(5)) && lists.truncate(Zxid(4)));
        assert_eq!(versions(&lists), (4, None));
        lists.append(of(6));
        assert!(lists.activate() && !lists.activate());
        assert_eq!(versions(&lists), (6, None));
    }

    /// A tree without its leader's lists: what it shows counts by what is known of it.
    #[test]
    fn a_tree_from_zookeeper_brings_a_list_that_is_known_to_be_committed() {
        let of = |counter: u32, host: &str| {
            let version = Zxid::new(Epoch(1), counter).0;
            let text = format!("server.1={host}:1:2\nserver.2=b:1:2\nversion={version:x}");
            Members::parse(&text).unwrap()
        };
        let at = |counter| Zxid::new(Epoch(1), counter);
        let first = Lists::of(of(0, "a"));
        let mut two = Lists::of(of(3, "a"));
        two.append(of(5, "c"));
        // Nothing is shown, or nothing that is newer: the own list stays, and what that leader's history lacks is gone.
        for shown in [None, Some(of(0, "x")), Some(of(2, "x")), Some(of(3, "a"))] {
            let left = two.of_tree(shown, at(9));
            assert_eq!(left, Ok(Lists::of(of(3, "a"))));
        }
        let mut unnamed = first.clone();
        unnamed.active.version = Zxid::ZERO;
        let stays = unnamed.of_tree(Some(of(0, "x")), Zxid::ZERO);
        assert_eq!(
            stays,
            Ok(unnamed),
            "its name is an epoch, nobody changed it"
        );
        // The list of the own log may be committed or not.
        assert_eq!(two.of_tree(Some(of(5, "c")), Zxid::ZERO), Ok(two.clone()));
        // Another one, which its leader alone may have.
        assert_eq!(two.of_tree(Some(of(6, "d")), at(5)), Err(at(6)));
        assert_eq!(first.of_tree(Some(of(6, "d")), Zxid::ZERO), Err(at(6)));
        for told in [6, 7] {
            let taken = two.of_tree(Some(of(6, "d")), at(told));
            assert_eq!(taken, Ok(Lists::of(of(6, "d"))));
        }
    }
}
