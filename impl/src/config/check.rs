//! What the lines mean together: defaults, `myid`, and combinations that cannot work.

use super::Audit;
use super::file::{Lines, decode, gather, parse_dynamic};
use super::keys::find;
use super::own::{agree, client_address, listed, my_id, what_it_bears};
use super::ports;
use super::settings::{Given, Setting, merge, of_arguments};
use super::tls::Tls;
use super::{Config, ConfigError, DigestHash, Member, MemberRole, Said, Unused, Whitelist};
use crate::limits::FRAME_BYTES_DEFAULT;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::quorum::Voters;
use zabra_model::service::local::LocalRules;
use zabra_model::service::sweep::SweepRules;

/// A transaction is this much larger than its request at most: identities in its ACL, and headers.
const EXTRA_BYTES_MIN: usize = 128 << 10;
/// What members with default settings may send is always taken.
const ENTRY_BYTES_MIN: usize = 2 * FRAME_BYTES_DEFAULT;

/// What may wait to be committed: seconds of writing on a fast disk, and little of a server's memory.
const OUTSTANDING_BYTES: usize = 64 << 20;

/// Reads the file and the `myid` beside the data.
///
/// # Errors
/// [`ConfigError`], which names file and line.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_with(path, &Given::default())
}

/// As [`load`], with settings from outside the file.
///
/// # Errors
/// [`ConfigError`], which names file and line, or where else what is wrong stands.
pub fn load_with(path: &Path, given: &Given) -> Result<Config, ConfigError> {
    read_with(path, &text_of(path)?, given)
}

/// The configuration of a server on its own by arguments in place of a file: its port, its directory, and perhaps how long a tick is
/// and how many connections there may be from one address, in the order of [`super::settings::PLAIN`].
///
/// # Errors
/// [`ConfigError`], which names the argument by its number, from 1.
pub fn load_arguments(arguments: &[String], given: &Given) -> Result<Config, ConfigError> {
    let path = Path::new("arguments");
    let settings = of_arguments(arguments, given);
    of_settings(path, &settings).map_err(|error| with_place(error, path, &settings))
}

/// The text of a file of settings.
///
/// # Errors
/// [`ConfigError::Unreadable`].
pub fn text_of(path: &Path) -> Result<String, ConfigError> {
    let bytes = fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(decode(&bytes))
}

/// Reads `text` as that of the file at `path`, the file of members that it may name, and the `myid` of a member beside the data.
///
/// # Errors
/// [`ConfigError`], which names file and line.
pub fn read(path: &Path, text: &str) -> Result<Config, ConfigError> {
    read_with(path, text, &Given::default())
}

/// As [`read`], with settings from outside the file.
///
/// # Errors
/// [`ConfigError`], which names file and line, or where else what is wrong stands.
pub fn read_with(path: &Path, text: &str, given: &Given) -> Result<Config, ConfigError> {
    let wrong = |(line, what)| ConfigError::Line {
        path: path.to_owned(),
        line,
        what,
    };
    let settings = merge(text, given).map_err(wrong)?;
    of_settings(path, &settings).map_err(|error| with_place(error, path, &settings))
}

fn of_settings(path: &Path, settings: &[Setting]) -> Result<Config, ConfigError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        |(line, what)| ConfigError::Line { path, line, what }
    };
    let count = settings.iter().filter(|s| s.overruled_by.is_none());
    let count = count.map(|s| (s.number, &*s.key, &*s.value));
    let mut lines = gather(count).map_err(wrong(path))?;
    if let Some((_, file)) = lines.dynamic_config.take() {
        parse_dynamic(&text_of(&file)?, &mut lines).map_err(wrong(&file))?;
        lines.members_version = version_of(&file);
    }
    let of = |number: usize| settings.iter().find(|s| s.number == number);
    for unused in &mut lines.unused {
        unused.from = of(unused.line).and_then(|s| s.place.clone());
    }
    let access = lines.access.clone();
    let mut config = check(path, lines)?;
    let notes = access.notes(&config.access).into_iter();
    let of_tls = config.tls.as_ref().and_then(|tls| tls.note);
    let notes = notes.chain(of_tls.map(|(line, what)| (line, what.into())));
    let of_access = notes.filter_map(|(line, what)| {
        let whence = of(line)?.whence();
        Some(format!("{}: {whence}: {what}", path.display()))
    });
    let of_whole = config.notes.iter();
    let of_whole = of_whole.map(|what| format!("{}: {what}", path.display()));
    let of_whole: Vec<String> = of_whole.collect();
    let count = settings.iter().filter(|s| s.overruled_by.is_none());
    config.said = Said::of(count.map(|s| (&*s.key, &*s.value)));
    config.notes = settings
        .iter()
        .filter_map(|setting| {
            let counts = of(setting.overruled_by?)?.whence();
            let Setting { key, .. } = setting;
            Some(format!(
                "{}: {}: {key} is said twice, and {counts} counts",
                path.display(),
                setting.whence()
            ))
        })
        .chain(of_access)
        .chain(of_whole)
        .collect();
    Ok(config)
}

/// The version of a file of members: the hexadecimal number behind the last dot of its name, zero if there is none.
fn version_of(file: &Path) -> Zxid {
    let end = file.extension().and_then(|end| end.to_str());
    let version = end.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    version.map_or(Zxid::ZERO, Zxid)
}

/// The error with the place of the setting, where that is no line of the file.
fn with_place(error: ConfigError, path: &Path, settings: &[Setting]) -> ConfigError {
    match error {
        ConfigError::Line {
            path: file,
            line,
            what,
        } => {
            let is_it = |s: &&Setting| s.number == line && file == path;
            match settings.iter().find(is_it).and_then(|s| s.place.as_ref()) {
                Some(place) => ConfigError::Whole {
                    path: place.to_string().into(),
                    what: what.replace("remove the line", "remove it"),
                },
                None => ConfigError::Line {
                    path: file,
                    line,
                    what,
                },
            }
        }
        other => other,
    }
}

// long: its second half names every field of the configuration once.
fn check(path: &Path, lines: Lines) -> Result<Config, ConfigError> {
    let wrong = |what: String| ConfigError::Whole {
        path: path.to_owned(),
        what,
    };
    if let Some((line, what)) = lines.unsupported.first() {
        return Err(ConfigError::Line {
            path: path.to_owned(),
            line: *line,
            what: format!("{what}; ignoring it would not be safe, so remove the line"),
        });
    }
    let of_line = |(line, what)| ConfigError::Line {
        path: path.to_owned(),
        line,
        what,
    };
    let tls = lines.tls.clone().check().map_err(of_line)?;
    let quorum_tls = lines.quorum_tls.clone().check().map_err(of_line)?;
    let quorum_sasl = lines.quorum_sasl.clone().check(lines.access.jaas());
    let quorum_sasl = quorum_sasl.map_err(of_line)?;
    let has_digest = lines.digest_enabled != Some(false);
    let has_x509 = tls.as_ref().is_some_and(Tls::asks_for_certificates);
    let provided = |scheme: &str| match scheme {
        "ip" => true,
        "digest" => has_digest,
        "x509" => has_x509,
        _ => false,
    };
    let access = lines.access.clone().check(provided).map_err(of_line)?;
    let Some(data_dir) = lines.data_dir.clone() else {
        return Err(wrong(data_dir_is_missing(&lines.unused)));
    };
    let tick_ms = lines.tick_time.unwrap_or(3000);
    let (min_session_ms, max_session_ms) = session_bounds(&lines, tick_ms).map_err(wrong)?;
    let (frame_bytes_max, entry_bytes_max) = record_bounds(&lines);
    if let Some(sid) = lines.members.keys().find(|sid| sid.0 > 254)
        && lines.extended_types == Some(true)
    {
        return Err(wrong(format!(
            "server.{sid}: with extendedTypesEnabled=true ids end at 254, as a session's first byte tells nodes with a time to live; give it a smaller one"
        )));
    }
    let members = members(&lines);
    let me = if members.is_empty() {
        ServerId(1)
    } else {
        if lines.init_limit.is_none() || lines.sync_limit.is_none() {
            let what =
                "an ensemble needs initLimit and syncLimit; write initLimit=10 and syncLimit=5";
            return Err(wrong(what.into()));
        }
        // What the lines alone can tell comes before what stands in another file.
        ports::of_members(&members).map_err(wrong)?;
        listed(my_id(&data_dir)?, &members, &data_dir).map_err(wrong)?
    };
    let voters = voters(&lines, &members, me).map_err(wrong)?;
    let mine = members.get(&me);
    let mut notes = Vec::new();
    notes.extend(agree(lines.peer_type, mine.map(|m| m.role), me).map_err(wrong)?);
    notes.extend(what_it_bears(&voters, &lines.groups));
    // The only line of a server on its own may say where its clients connect, too.
    let only = || lines.members.values().next().filter(|_| members.is_empty());
    let listed = mine.or_else(only).and_then(|m| m.client.as_ref());
    let client = client_address(
        &lines,
        listed,
        me,
        tls.as_ref().is_some_and(|tls| tls.listen.is_some()),
    )
    .map_err(wrong)?;
    let sweep = SweepRules::default();
    let read_only_mode = lines.read_only_mode.unwrap_or(false);
    let config = Config {
        path: path.to_owned(),
        tick_ms,
        init_limit: lines.init_limit.unwrap_or(10),
        sync_limit: lines.sync_limit.unwrap_or(5),
        data_log_dir: lines.data_log_dir.unwrap_or_else(|| data_dir.clone()),
        data_dir,
        client,
        tls,
        quorum_tls,
        quorum_sasl,
        me,
        own: mine.cloned(),
        members_version: lines.members_version,
        reconfig_enabled: lines.reconfig_enabled.unwrap_or(false),
        standalone_enabled: lines.standalone_enabled.unwrap_or(true),
        members,
        voters,
        groups: lines.groups,
        weights: lines.weights,
        min_session_ms,
        max_session_ms,
        max_client_cnxns: lines.max_client_cnxns.unwrap_or(60),
        max_cnxns: lines.max_cnxns.unwrap_or(0),
        unread_bytes_max: lines.unread_bytes_max,
        waiting_bytes_max: lines.waiting_bytes_max,
        watch_bytes_max: lines.watch_bytes_max,
        digest: has_digest.then(|| lines.digest_hash.unwrap_or(DigestHash::Sha1)),
        snap_count: lines.snap_count.unwrap_or(100_000).max(2),
        // Zero or less is no limit (zero ends ZooKeeper's own server by a division).
        snap_bytes: u64::try_from(lines.snap_size_kib.unwrap_or(4 << 20))
            .ok()
            .filter(|kib| *kib > 0)
            .map(|kib| kib.saturating_mul(1024)),
        prealloc_bytes: lines.pre_alloc_kib.unwrap_or(65_536).saturating_mul(1024),
        purge_retain: lines.purge_retain.unwrap_or(3).max(3),
        purge_interval_ms: lines.purge_interval_ms.unwrap_or(0),
        whitelist: Whitelist::of(lines.whitelist, read_only_mode),
        frame_bytes_max,
        throttle: lines.throttle.check(),
        net: lines.net,
        store: lines.store,
        entry_bytes_max,
        election_bind_retry: lines.election_bind_retry.unwrap_or(3),
        listen_on_all: lines.listen_on_all.unwrap_or(false),
        from_members_only: lines.from_members_only.unwrap_or(false),
        outstanding_bytes: lines.outstanding_bytes.unwrap_or(OUTSTANDING_BYTES),
        records_flight: lines.records_flight.unwrap_or(true),
        access,
        super_digest: lines.super_digest,
        extended_types: lines.extended_types.unwrap_or(false),
        enforce_quota: lines.enforce_quota.unwrap_or(false),
        audit: lines.audit.unwrap_or(false).then(|| Audit {
            file: lines.audit_file,
            ..Audit::default()
        }),
        read_only_mode,
        local_sessions: LocalRules {
            enabled: lines.local_sessions.unwrap_or(false),
            upgrading: lines.local_sessions_upgrading.unwrap_or(false),
        },
        sweep: SweepRules {
            check_interval_ms: lines
                .container_check_interval_ms
                .unwrap_or(sweep.check_interval_ms),
            per_minute_max: lines
                .container_max_per_minute
                .unwrap_or(sweep.per_minute_max),
            never_used_ms: lines
                .container_max_never_used_ms
                .unwrap_or(sweep.never_used_ms),
        },
        trust_empty: lines.trust_empty.unwrap_or(false),
        db_autocreate: lines.db_autocreate.unwrap_or(true),
        datadir_autocreate: lines.datadir_autocreate.unwrap_or(true),
        operation: lines.operation.check(),
        said: Said::default(),
        unused: lines.unused,
        notes,
    };
    ports::of_own(&config).map_err(wrong)?;
    Ok(config)
}

/// Names the line that was most likely meant: keys are case-sensitive, and a key that nobody knows is no error by itself.
fn data_dir_is_missing(unused: &[Unused]) -> String {
    let close = |key: &str| {
        let key = key.to_ascii_lowercase();
        key.contains("data") || key.contains("dir")
    };
    let is_it = |u: &&Unused| close(&u.key) && u.from.is_none() && find(&u.key).is_none();
    match unused.iter().find(is_it) {
        Some(Unused { line, key, .. }) => format!(
            "dataDir is missing, and line {line} has {key}, which is no key; write dataDir=DIRECTORY there"
        ),
        None => "dataDir is missing; write dataDir=DIRECTORY".into(),
    }
}

/// The shortest and longest session timeout, ms: 2 and 20 ticks unless the file says otherwise.
fn session_bounds(lines: &Lines, tick_ms: u64) -> Result<(i32, i32), String> {
    let tick = i32::try_from(tick_ms).unwrap_or(i32::MAX / 20);
    let min = lines.min_session_timeout.unwrap_or(tick.saturating_mul(2));
    let max = lines.max_session_timeout.unwrap_or(tick.saturating_mul(20));
    if min > max {
        return Err(format!(
            "minSessionTimeout {min} is above maxSessionTimeout {max}; swap them"
        ));
    }
    Ok((min, max))
}

/// The longest request, and the longest transaction or packet between servers, bytes.
fn record_bounds(lines: &Lines) -> (usize, usize) {
    let bytes = lines.jute_maxbuffer.unwrap_or(FRAME_BYTES_DEFAULT);
    let extra = lines.jute_extra.unwrap_or(bytes);
    let entry = bytes + extra.max(EXTRA_BYTES_MIN);
    (bytes, entry.max(ENTRY_BYTES_MIN))
}

/// The members of the ensemble; none for a server on its own.
fn members(lines: &Lines) -> BTreeMap<ServerId, Member> {
    let alone = lines.members.len() == 1
        && lines
            .members
            .values()
            .all(|m| m.role == MemberRole::Participant)
        && lines.standalone_enabled != Some(false);
    if alone {
        return BTreeMap::new(); // as ZooKeeper does: one server is no ensemble
    }
    lines.members.clone()
}

fn voters(
    lines: &Lines,
    members: &BTreeMap<ServerId, Member>,
    me: ServerId,
) -> Result<Voters, String> {
    let participants = members
        .iter()
        .filter(|(_, m)| m.role == MemberRole::Participant);
    let voters: Vec<ServerId> = participants.map(|(sid, _)| *sid).collect();
    let voters = if members.is_empty() {
        Voters::new(&[me])
    } else {
        Voters::hierarchical(&voters, &lines.groups, &lines.weights)
    };
    voters.map_err(|e| e.to_string())
}

/// What becomes of these lines at the server with id 1, beside a data directory and the two limits.
#[cfg(test)]
pub(super) fn of_first_member(lines: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    std::fs::write(dir.path().join("myid"), "1\n").map_err(|e| e.to_string())?;
    let data = dir.path().display();
    let text = format!("dataDir={data}\ninitLimit=9\nsyncLimit=9\n{lines}\n");
    read(Path::new("zoo.cfg"), &text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;
    use zabra_model::switch::Switches;

    fn of(text: &str) -> Result<Config, String> {
        let lines = parse(text).map_err(|(_, what)| what)?;
        check(Path::new("zoo.cfg"), lines).map_err(|e| e.to_string())
    }

    #[test]
    fn what_waits_has_a_bound_and_the_ports_between_servers_may_have_one() {
        let base = "dataDir=d\nclientPort=0\n";
        let c = of(base).unwrap();
        assert_eq!(
            (c.outstanding_bytes, c.from_members_only),
            (64 << 20, false)
        );
        let keys = "zabra.outstandingBytes=0x200000\nzabra.quorumFromMembersOnly=true\n";
        let c = of(&format!("{base}{keys}")).unwrap();
        assert_eq!((c.outstanding_bytes, c.from_members_only), (2 << 20, true));
        let refusal = of(&format!("{base}zabra.outstandingBytes=4096")).unwrap_err();
        assert!(refusal.contains("bytes from 1048576"), "{refusal}");
    }

    #[test]
    fn who_may_read_without_a_leader_may_ask_for_one_that_writes() {
        let base = "dataDir=d\nclientPort=0\n";
        let read_only = "readonlymode.enabled=true\n";
        for (lines, has_isro) in [
            ("", false),
            ("4lw.commands.whitelist=mntr\n", false),
            (read_only, true),
            (&format!("4lw.commands.whitelist=mntr\n{read_only}"), true),
        ] {
            let config = of(&format!("{base}{lines}")).unwrap();
            let whitelist = config.whitelist;
            assert!(whitelist.has("srvr"), "{lines}");
            assert_eq!(whitelist.has("isro"), has_isro, "{lines}");
        }
    }

    #[test]
    fn session_limits_default_to_2_and_20_ticks() {
        let c = of("tickTime=200\ndataDir=d\nclientPort=0").unwrap();
        assert_eq!((c.min_session_ms, c.max_session_ms), (400, 4000));
        assert_eq!((c.max_client_cnxns, c.is_ensemble()), (60, false));
        assert_eq!(c.data_log_dir, Path::new("d"));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_a_way_out() {
        let base = "dataDir=d\nclientPort=1\n";
        for (line, word) in [
            ("forceSync=no", "forceSync"),
            ("secureClientPort=2281", "secureClientPort"),
            ("minSessionTimeout=9\nmaxSessionTimeout=3", "swap"),
            ("peerType=observer", "observer"),
            ("server.1=a:1:2\nserver.2=b:1:2", "initLimit"),
        ] {
            let refusal = of(&format!("{base}{line}")).unwrap_err();
            assert!(refusal.contains(word), "{refusal}");
        }
        assert!(of("clientPort=1").unwrap_err().contains("dataDir"));
    }

    const FIVE: &str =
        "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\n";

    /// Five members, of which this is the first, whose line ends in `role`, with these lines behind.
    fn five(role: &str, lines: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "1\n").unwrap();
        let data = dir.path().display();
        of(&format!(
            "dataDir={data}\nclientPort=5\ninitLimit=9\nsyncLimit=9\n{}{lines}",
            FIVE.replace("a:1:2", &format!("a:1:2{role}"))
        ))
    }

    #[test]
    fn groups_and_weights_make_hierarchical_quorums() {
        let c = five("", "group.1=1:2\ngroup.2=3:4\ngroup.3=5\nweight.2=0\n").unwrap();
        let decide = |sids: &[u64]| {
            let set = c.voters.set(sids.iter().copied().map(ServerId));
            c.voters.is_quorum(set, Switches::default())
        };
        assert!(decide(&[1, 5]) && !decide(&[2, 3, 5]) && !decide(&[1, 2, 3]));
        let text = c.members_text();
        let end = "\ngroup.1=1:2\ngroup.2=3:4\ngroup.3=5\nweight.1=1\nweight.2=0\nweight.3=1\nweight.4=1\nweight.5=1\nversion=0";
        assert!(text.ends_with(end), "{text}");
        assert!(!five("", "").unwrap().members_text().contains("weight"));
    }

    #[test]
    fn an_observer_has_no_vote_and_the_list_of_members_says_who_is_one() {
        let c = five(":observer", "peerType=observer").unwrap();
        assert!(c.is_observer() && c.voters.count() == 4 && c.voters.index(c.me).is_none());
        assert!(five(":observer", "").unwrap().is_observer());
        assert_eq!(five("", "").unwrap().notes, [""; 0]);
        assert!(!five("", "peerType=participant").unwrap().is_observer());
        for (role, line) in [("", "observer"), (":observer", "participant")] {
            let c = five(role, &format!("peerType={line}")).unwrap();
            assert_eq!(c.is_observer(), line == "participant");
            let note = format!("peerType={line}, but server.1 is");
            assert!(c.notes[0].starts_with(&note), "{:?}", c.notes);
        }
        let alone = "dataDir=d\nclientPort=5\ninitLimit=9\nsyncLimit=9\nserver.1=a:1:2:observer";
        assert!(of(alone).is_err());
    }

    #[test]
    fn groups_that_cannot_be_are_refused_with_a_way_out() {
        for (lines, words) in [
            ("group.1=1:2:3:4", "server 5 is in no group"),
            ("group.1=1:2:3\ngroup.2=3:4:5", "server 3 is in two groups"),
            ("group.1=1:2:3:4:5:6", "server 6, which has no vote"),
            ("group.1=1:2\ngroup.1=3:4:5", "twice"),
            ("group.x=1", "a number of a group"),
            ("group.1=1,2", "is no server id"),
            ("weight.1=-1", "votes from 0"),
            ("weight.6=1", "server 6 has a weight but no vote"),
            (
                "group.1=1:2:3:4:5\nweight.1=0\nweight.2=0\nweight.3=0\nweight.4=0\nweight.5=0",
                "all weights are 0",
            ),
        ] {
            let refusal = five("", lines).unwrap_err();
            assert!(refusal.contains(words), "{lines}: {refusal}");
        }
    }

    #[test]
    fn a_misspelt_data_dir_is_named_with_its_line() {
        for key in ["datadir", "dataDri", "DataDir", "data_dir", "workDir"] {
            let e = of(&format!("clientPort=1\n{key}=/d\n")).unwrap_err();
            assert!(e.contains(&format!("line 2 has {key}")), "{e}");
        }
        let e = of("clientPort=1\nsomething=else\n").unwrap_err();
        assert!(
            e.ends_with("dataDir is missing; write dataDir=DIRECTORY"),
            "{e}"
        );
    }

    #[test]
    fn a_missing_my_id_says_what_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let e = my_id(dir.path()).unwrap_err().to_string();
        assert!(
            e.contains("myid: is missing; write into it the number N"),
            "{e}"
        );
    }

    /// C-12.
    #[test]
    fn c_12_my_id_is_the_first_line_that_says_something() {
        let dir = tempfile::tempdir().unwrap();
        for (text, id) in [
            ("1", Some(1)),
            ("1\n# note\n", Some(1)),
            ("1 ", Some(1)),
            ("\u{feff}1", Some(1)),
            ("\u{feff} 12\r\nnode twelve\r\n", Some(12)),
            ("\t7\t\n\n", Some(7)),
            ("# node 3\n\n3\n", Some(3)),
            ("", None),
            ("# 1", None),
            ("-1", None),
            ("1 2", None),
            ("one\n1", None),
        ] {
            fs::write(dir.path().join("myid"), text).unwrap();
            let found = my_id(dir.path());
            assert_eq!(found.ok().map(|sid| sid.0), id, "{text:?}");
        }
    }

    #[test]
    fn one_member_is_a_server_on_its_own() {
        let c = of("dataDir=d\nclientPort=1\nserver.7=a:1:2").unwrap();
        assert!(!c.is_ensemble());
    }

    /// C-20: what the best-known image writes by default.
    #[test]
    fn c_20_the_only_line_may_say_where_clients_connect() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "1\n").unwrap();
        let base = format!("dataDir={}\n", dir.path().display());
        let c = of(&format!("{base}server.1=localhost:2888:3888;2181")).unwrap();
        assert!(!c.is_ensemble());
        let client = c.client.unwrap();
        assert_eq!((client.host, client.port), (None, 2181));
        let missing = of(&format!("{base}server.1=localhost:2888:3888")).unwrap_err();
        assert!(missing.contains("clientPort is missing"), "{missing}");
    }

    /// C-22.
    #[test]
    fn c_22_an_id_above_254_is_a_member_s_unless_sessions_tell_nodes_with_a_time_to_live() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "1001\n").unwrap();
        let data = dir.path().display();
        let base = format!(
            "dataDir={data}\nclientPort=5\ninitLimit=9\nsyncLimit=9\nserver.1001=a:1:2\nserver.2=b:1:2\n"
        );
        assert_eq!(of(&base).unwrap().me, ServerId(1001));
        let refusal = of(&format!("{base}extendedTypesEnabled=true")).unwrap_err();
        assert!(
            refusal.contains("server.1001") && refusal.contains("254"),
            "{refusal}"
        );
    }

    /// C-23.
    #[test]
    fn c_23_the_members_may_stand_in_a_file_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "2\n").unwrap();
        let members = dir.path().join("zoo.cfg.dynamic.100000000");
        let text = "server.1=a:1:2:participant;2181\nserver.2=b:3:4:participant;0.0.0.0:2182\nserver.3=c:5:6:observer;2183\n";
        fs::write(&members, text).unwrap();
        let base = format!(
            "dataDir={}\ninitLimit=9\nsyncLimit=9\ndynamicConfigFile={}\n",
            dir.path().display(),
            members.display()
        );
        let of = |text: &str| read(Path::new("zoo.cfg"), text).map_err(|e| e.to_string());
        let c = of(&base).unwrap();
        assert_eq!(
            (c.members.len(), c.client.unwrap().port, c.me),
            (3, 2182, ServerId(2))
        );
        let refusal = of(&format!("{base}server.4=d:7:8\n")).unwrap_err();
        assert!(
            refusal.contains("zoo.cfg") && refusal.contains("move"),
            "{refusal}"
        );
        fs::write(&members, format!("{text}version=7\n")).unwrap();
        let refusal = of(&base).unwrap_err();
        assert!(
            refusal.contains("dynamic.100000000") && refusal.contains("version"),
            "{refusal}"
        );
        fs::remove_file(&members).unwrap();
        let refusal = of(&base).unwrap_err();
        assert!(refusal.contains("dynamic.100000000"), "{refusal}");
    }
}
