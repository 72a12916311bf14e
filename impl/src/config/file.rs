//! Lines of `zoo.cfg` to fields, one by one. What the fields mean together is [`super::check`]'s.

use super::access::AccessLines;
use super::keys::{State, find, near_security};
use super::net::Net;
use super::operation::{OperationLines, is_provider};
use super::quorum_sasl::QuorumSaslLines;
use super::quorum_tls::QuorumTlsLines;
use super::security::{Honoured, honoured};
use super::store::Store;
use super::throttle::ThrottleLines;
use super::tls::TlsLines;
use super::values::{bytes, count, flag, port, span_ms, within, yes};
use super::{DigestHash, Member, MemberRole, SuperDigest, Unused, Whitelist};
use encoding_rs::UTF_8;
use java_properties::{LineContent, PropertiesIter};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::quorum::Group;
use zabra_model::service::members::{member, role, server_id};

/// The least `jute.maxbuffer`.
const FRAME_BYTES_MIN: usize = 64;
/// The largest `jute.maxbuffer`, and the largest extra size: the two together are what a log and a snapshot can hold.
const FRAME_BYTES_LIMIT: usize = 64 << 20;

/// What the lines said; `None` and empty are what they did not say.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named as the keys of zoo.cfg")]
pub struct Lines {
    pub tick_time: Option<u64>,
    pub data_dir: Option<PathBuf>,
    pub data_log_dir: Option<PathBuf>,
    pub client_port: Option<u16>,
    pub client_port_address: Option<String>,
    pub init_limit: Option<u32>,
    pub sync_limit: Option<u32>,
    pub members: BTreeMap<ServerId, Member>,
    /// With the number of its line.
    pub dynamic_config: Option<(usize, PathBuf)>,
    pub max_client_cnxns: Option<usize>,
    pub max_cnxns: Option<usize>,
    pub unread_bytes_max: Option<usize>,
    pub waiting_bytes_max: Option<usize>,
    pub watch_bytes_max: Option<usize>,
    pub digest_hash: Option<DigestHash>,
    pub digest_enabled: Option<bool>,
    pub min_session_timeout: Option<i32>,
    pub max_session_timeout: Option<i32>,
    pub snap_count: Option<u64>,
    pub db_autocreate: Option<bool>,
    pub datadir_autocreate: Option<bool>,
    pub snap_size_kib: Option<i64>,
    pub pre_alloc_kib: Option<u64>,
    pub whitelist: Option<Whitelist>,
    pub election_bind_retry: Option<u32>,
    pub purge_retain: Option<usize>,
    pub purge_interval_ms: Option<u64>,
    pub jute_maxbuffer: Option<usize>,
    pub jute_extra: Option<usize>,
    pub listen_on_all: Option<bool>,
    pub from_members_only: Option<bool>,
    pub records_flight: Option<bool>,
    pub outstanding_bytes: Option<usize>,
    pub standalone_enabled: Option<bool>,
    pub reconfig_enabled: Option<bool>,
    /// The number at the end of the name of the file of members.
    pub members_version: Zxid,
    pub extended_types: Option<bool>,
    pub enforce_quota: Option<bool>,
    pub audit: Option<bool>,
    pub audit_file: Option<PathBuf>,
    pub read_only_mode: Option<bool>,
    pub local_sessions: Option<bool>,
    pub local_sessions_upgrading: Option<bool>,
    pub container_check_interval_ms: Option<u64>,
    pub container_max_per_minute: Option<u64>,
    pub container_max_never_used_ms: Option<u64>,
    pub super_digest: Option<SuperDigest>,
    pub access: AccessLines,
    pub throttle: ThrottleLines,
    pub net: Net,
    pub operation: OperationLines,
    pub store: Store,
    pub trust_empty: Option<bool>,
    pub tls: TlsLines,
    pub quorum_tls: QuorumTlsLines,
    pub quorum_sasl: QuorumSaslLines,
    pub groups: Vec<Group>,
    pub weights: BTreeMap<ServerId, u32>,
    pub peer_type: Option<MemberRole>,
    pub unused: Vec<Unused>,
    /// Keys that change who may do what and that this server does not honour, with why: refused rather than ignored.
    pub unsupported: Vec<(usize, String)>,
}

/// Reads all lines. Errors: the number of a line, and what is wrong with it.
pub fn parse(text: &str) -> Result<Lines, (usize, String)> {
    let all = settings(text)?;
    gather(all.iter().map(|(number, k, v)| (*number, &**k, &**v)))
}

/// Takes all settings: number of the line, key, value. Errors: as [`parse`].
pub fn gather<'a>(
    settings: impl IntoIterator<Item = (usize, &'a str, &'a str)>,
) -> Result<Lines, (usize, String)> {
    let mut lines = Lines::default();
    for (number, key, value) in settings {
        set(&mut lines, number, key, value).map_err(|what| (number, what))?;
    }
    if let Some((number, _)) = lines.dynamic_config
        && !(lines.members.is_empty() && lines.groups.is_empty() && lines.weights.is_empty())
    {
        let what = "dynamicConfigFile is there, and so are server, group or weight lines; move those into that file, or remove this line";
        return Err((number, what.into()));
    }
    Ok(lines)
}

/// Reads the file that `dynamicConfigFile` names: the members, and nothing else. Errors: as [`parse`].
pub fn parse_dynamic(text: &str, lines: &mut Lines) -> Result<(), (usize, String)> {
    properties(text, |number, key, value| {
        match key.split_once('.') {
            Some(("server" | "group" | "weight", _)) => {
                members_and_rest(lines, number, key, key, value)
            }
            // ZooKeeper keeps the version in the file's name.
            _ => Err(format!(
                "{key} does not belong into the dynamic configuration file, where only server, group and weight lines stand; move it"
            )),
        }
    })
}

/// A line that sets something: its number from 1, its key, its value.
pub type Setting = (usize, String, String);

/// The settings of a file, in its order. Errors: as [`parse`].
pub fn settings(text: &str) -> Result<Vec<Setting>, (usize, String)> {
    let mut all = Vec::new();
    properties(text, |number, key, value| {
        all.push((number, key.to_owned(), value.to_owned()));
        Ok(())
    })?;
    Ok(all)
}

/// The text of a file of settings. As Java does, each byte is taken for the character of ISO 8859-1 with its number; all others are
/// written `\u00e9`. A file in UTF-8 whose values have only ASCII is the same in both, whatever its comments say; of `é` in UTF-8
/// Java makes the two characters `Ã©`, so a directory with such a name, made by Java from this file, is found here. The mark that some
/// editors put at the beginning of UTF-8, which Java takes for a part of the first key, is left out.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().copied().map(char::from).collect()
}

/// Hands on each setting of a file of Java properties, with the number of its (first) line.
fn properties(
    text: &str,
    mut take: impl FnMut(usize, &str, &str) -> Result<(), String>,
) -> Result<(), (usize, String)> {
    let text = text.trim_start_matches('\u{feff}');
    for line in PropertiesIter::new_with_encoding(text.as_bytes(), UTF_8) {
        let line = line.map_err(|e| (e.line_number().unwrap_or(1), e.to_string()))?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            take(number, key.trim(), value.trim()).map_err(|what| (number, what))?;
        }
    }
    Ok(())
}

fn set(lines: &mut Lines, number: usize, key: &str, value: &str) -> Result<(), String> {
    // Java takes some of these only as system properties with this prefix; both spellings are taken here.
    match key.strip_prefix("zookeeper.").unwrap_or(key) {
        "dataDir" => lines.data_dir = Some(PathBuf::from(value)),
        "dataLogDir" => lines.data_log_dir = Some(PathBuf::from(value)),
        "clientPort" => lines.client_port = Some(port(key, value)?),
        "clientPortAddress" => lines.client_port_address = Some(unbracketed(value).to_owned()),
        "minSessionTimeout" => lines.min_session_timeout = default_if_minus_one(key, value)?,
        "maxSessionTimeout" => lines.max_session_timeout = default_if_minus_one(key, value)?,
        "db.autocreate" => lines.db_autocreate = Some(flag(key, value)?),
        "datadir.autocreate" => lines.datadir_autocreate = Some(flag(key, value)?),
        "snapSizeLimitInKb" => lines.snap_size_kib = Some(signed_kib(key, value)?),
        "4lw.commands.whitelist" => lines.whitelist = Some(whitelist(value)),
        "autopurge.purgeInterval" => lines.purge_interval_ms = Some(purge_interval(key, value)?),
        "forceSync" if yes(key, value)? => {}
        "forceSync" => lines.unsupported.push((
            number,
            format!("{key}={value} would let acknowledged writes be lost"),
        )),
        "quorumListenOnAllIPs" => lines.listen_on_all = Some(flag(key, value)?),
        "zabra.quorumFromMembersOnly" => lines.from_members_only = Some(flag(key, value)?),
        "zabra.flightRecorder" => lines.records_flight = Some(flag(key, value)?),
        "zabra.outstandingBytes" => lines.outstanding_bytes = Some(budget(key, value)?),
        "standaloneEnabled" => lines.standalone_enabled = Some(flag(key, value)?),
        "DigestAuthenticationProvider.superDigest" => {
            lines.super_digest = Some(SuperDigest(value.into()));
        }
        "extendedTypesEnabled" => lines.extended_types = Some(flag(key, value)?),
        "audit.enable" => lines.audit = Some(flag(key, value)?),
        "zabra.auditLog" => lines.audit_file = Some(value.into()),
        "enforceQuota" => lines.enforce_quota = Some(flag(key, value)?),
        "readonlymode.enabled" => lines.read_only_mode = Some(flag(key, value)?),
        "localSessionsEnabled" => lines.local_sessions = Some(flag(key, value)?),
        "localSessionsUpgradingEnabled" => {
            lines.local_sessions_upgrading = Some(flag(key, value)?);
        }
        "DigestAuthenticationProvider.enabled" => lines.digest_enabled = Some(flag(key, value)?),
        "DigestAuthenticationProvider.digestAlg" => lines.digest_hash = Some(hash(key, value)?),
        "snapshot.trust.empty" => lines.trust_empty = Some(flag(key, value)?),
        "reconfigEnabled" => lines.reconfig_enabled = Some(flag(key, value)?),
        "electionAlg" if value == "3" => {}
        "electionAlg" => return Err(format!("{key}={value}: only 3 is left; remove the line")),
        "peerType" => lines.peer_type = Some(role(value)?),
        plain if find(plain).is_some_and(|row| row.state == State::NoEffect) => {
            lines.unused.push(unused(number, key));
        }
        "dynamicConfigFile" => lines.dynamic_config = Some((number, PathBuf::from(value))),
        plain if set_count(lines, key, plain, value)? => {}
        plain if set_containers(lines, key, plain, value)? => {}
        plain if lines.throttle.set(key, plain, value)? => {}
        plain if lines.net.set(key, plain, value)? => {}
        "metricsProvider.className" if !is_provider(value) => {
            lines.unused.push(unused(number, key));
        }
        plain if lines.operation.set(key, plain, value)? => {}
        plain if lines.store.set(key, plain, value)? => {}
        plain if set_budget(lines, key, plain, value)? => {}
        plain if lines.access.set(number, key, plain, value)? => {}
        plain if set_between_servers(lines, number, plain, value)? => {}
        plain if lines.tls.set(number, plain, value)? => {}
        plain => match honoured(plain, value) {
            Honoured::Yes => {}
            Honoured::No(why) => lines
                .unsupported
                // Without the value, which may be a password.
                .push((number, format!("{key} is not supported yet: {why}"))),
            Honoured::NoKeyOfSecurity => members_and_rest(lines, number, key, plain, value)?,
        },
    }
    Ok(())
}

/// `server.N`, `group.N`, `weight.N`, and what is not understood.
fn members_and_rest(
    lines: &mut Lines,
    number: usize,
    key: &str,
    plain: &str,
    value: &str,
) -> Result<(), String> {
    let twice = || format!("{key} is there twice; remove one");
    match plain.split_once('.') {
        Some(("server", sid)) => {
            let sid = server_id(key, sid)?;
            if value.matches(';').count() > 1 {
                return Err(format!(
                    "{key}: a port for TLS behind a second ; is read from ZooKeeper 3.10 on, and not by the servers before it; write secureClientPort=PORT in a line of its own"
                ));
            }
            if lines.members.insert(sid, member(key, value)?).is_some() {
                return Err(twice());
            }
        }
        Some(("group", group)) => {
            let group = Group {
                number: within(key, group, 0, u64::MAX, "a group")?,
                members: value
                    .split(':')
                    .map(|sid| server_id(key, sid.trim()))
                    .collect::<Result<_, _>>()?,
            };
            if lines.groups.iter().any(|g| g.number == group.number) {
                return Err(twice());
            }
            lines.groups.push(group);
        }
        Some(("weight", sid)) => {
            let sid = server_id(key, sid)?;
            if lines
                .weights
                .insert(sid, count(key, value, 0, "votes")?)
                .is_some()
            {
                return Err(twice());
            }
        }
        _ => match near_security(key) {
            Some(row) => {
                return Err(format!(
                    "{key} is no key, and near to {}, which is one of security; write that one, or remove the line",
                    row.name
                ));
            }
            None => lines.unused.push(unused(number, key)),
        },
    }
    Ok(())
}

fn unused(line: usize, key: &str) -> Unused {
    Unused {
        line,
        key: key.to_owned(),
        from: None,
    }
}

fn hash(key: &str, value: &str) -> Result<DigestHash, String> {
    match value.to_ascii_uppercase().as_str() {
        "SHA1" | "SHA-1" | "SHA" => Ok(DigestHash::Sha1),
        "SHA-224" => Ok(DigestHash::Sha224),
        "SHA-256" => Ok(DigestHash::Sha256),
        "SHA-384" => Ok(DigestHash::Sha384),
        "SHA-512" => Ok(DigestHash::Sha512),
        "SHA-512/224" => Ok(DigestHash::Sha512By224),
        "SHA-512/256" => Ok(DigestHash::Sha512By256),
        "SHA3-224" => Ok(DigestHash::Sha3By224),
        "SHA3-256" => Ok(DigestHash::Sha3By256),
        "SHA3-384" => Ok(DigestHash::Sha3By384),
        "SHA3-512" => Ok(DigestHash::Sha3By512),
        "MD5" => Ok(DigestHash::Md5),
        _ => Err(format!(
            "{key}={value}: write SHA1, SHA-256, SHA-512, SHA3-256 or another of SHA-2, SHA-3 or MD5, as Java names them"
        )),
    }
}

/// Takes the line if it is a number of what ZooKeeper counts in an `int`, or the longest record.
fn set_count(lines: &mut Lines, key: &str, plain: &str, value: &str) -> Result<bool, String> {
    match plain {
        "tickTime" => lines.tick_time = Some(count(key, value, 1, "milliseconds")?),
        "initLimit" => lines.init_limit = Some(count(key, value, 1, "ticks")?),
        "syncLimit" => lines.sync_limit = Some(count(key, value, 1, "ticks")?),
        "maxClientCnxns" => {
            lines.max_client_cnxns = Some(count(key, value, 0, "connections")?);
        }
        "maxCnxns" => lines.max_cnxns = Some(count(key, value, 0, "connections")?),
        "snapCount" => lines.snap_count = Some(count(key, value, 0, "transactions")?),
        "preAllocSize" => lines.pre_alloc_kib = Some(count(key, value, 0, "KiB")?),
        "electionPortBindRetry" => {
            lines.election_bind_retry = Some(count(key, value, 0, "tries")?);
        }
        "autopurge.snapRetainCount" => {
            lines.purge_retain = Some(count(key, value, 0, "snapshots")?);
        }
        "jute.maxbuffer" => {
            lines.jute_maxbuffer = Some(bytes(key, value, FRAME_BYTES_MIN, FRAME_BYTES_LIMIT)?);
        }
        "jute.maxbuffer.extrasize" => {
            lines.jute_extra = Some(bytes(key, value, 0, FRAME_BYTES_LIMIT)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes the line if it is about containers and nodes with a time to live.
fn set_containers(lines: &mut Lines, key: &str, plain: &str, value: &str) -> Result<bool, String> {
    let (said, unit) = match plain {
        "znode.container.checkIntervalMs" => {
            (&mut lines.container_check_interval_ms, "milliseconds")
        }
        "znode.container.maxPerMinute" => (&mut lines.container_max_per_minute, "nodes"),
        "znode.container.maxNeverUsedIntervalMs" => {
            let ms = within(key, value, 0, i64::MAX as u64, "milliseconds")?;
            lines.container_max_never_used_ms = Some(ms);
            return Ok(true);
        }
        _ => return Ok(false),
    };
    *said = Some(count(key, value, 1, unit)?);
    Ok(true)
}

/// Takes the line if it is about what servers prove to each other.
fn set_between_servers(
    lines: &mut Lines,
    number: usize,
    plain: &str,
    value: &str,
) -> Result<bool, String> {
    Ok(lines.quorum_tls.set(number, plain, value)?
        || lines.quorum_sasl.set(number, plain, value)?)
}

/// Takes the line if it is of a bound of all clients together.
fn set_budget(lines: &mut Lines, key: &str, plain: &str, value: &str) -> Result<bool, String> {
    let bound = match plain {
        "zabra.unreadBytesMax" => &mut lines.unread_bytes_max,
        "zabra.waitingBytesMax" => &mut lines.waiting_bytes_max,
        "zabra.watchBytesMax" => &mut lines.watch_bytes_max,
        _ => return Ok(false),
    };
    *bound = Some(budget(key, value)?);
    Ok(true)
}

/// A bound in bytes, with room for the longest request there is.
fn budget(key: &str, value: &str) -> Result<usize, String> {
    bytes(key, value, 1 << 20, isize::MAX.unsigned_abs())
}

/// Zero or less is no limit.
fn signed_kib(key: &str, value: &str) -> Result<i64, String> {
    let most = i64::from(i32::MAX);
    within(key, value, -most, most, "KiB")
}

/// A purge reads the names in both directories; it need not come more often than this.
const PURGE_INTERVAL_MS_MIN: u64 = 1000;

fn purge_interval(key: &str, value: &str) -> Result<u64, String> {
    match span_ms(key, value)? {
        ms if ms > 0 && ms < PURGE_INTERVAL_MS_MIN => {
            Err(format!("{key}={value}: write at least 1s, or 0 for never"))
        }
        ms => Ok(ms),
    }
}

/// An IPv6 address, without the brackets that it may stand in.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

fn default_if_minus_one(key: &str, value: &str) -> Result<Option<i32>, String> {
    match value.parse() {
        Ok(-1) => Ok(None),
        Ok(ms) if ms > 0 => Ok(Some(ms)),
        _ => Err(format!(
            "{key}={value}: write a number of milliseconds from 1 to {}, or -1 for the default",
            i32::MAX
        )),
    }
}

fn whitelist(value: &str) -> Whitelist {
    let mut words: Vec<String> = value
        .split(',')
        .map(|w| w.trim().to_owned())
        .filter(|w| !w.is_empty())
        .collect();
    // The status scripts live on it: ZooKeeper answers it whatever the list says.
    words.push("srvr".into());
    if words.iter().any(|w| w == "*") {
        Whitelist::All
    } else {
        Whitelist::Words(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listen;

    #[test]
    fn a_member_has_two_ports_and_may_have_a_role_and_a_client_address() {
        let lines = parse(
            "server.1=a:1:2\nserver.2=[::1]:3:4:observer;5\nserver.3=c:6:7:participant;127.0.0.1:8",
        )
        .unwrap();
        let of = |sid| lines.members.get(&ServerId(sid)).cloned().unwrap();
        assert_eq!((of(1).host, of(1).election_port), ("a".into(), 2));
        assert_eq!(
            (of(2).host, of(2).role),
            ("::1".into(), MemberRole::Observer)
        );
        assert_eq!(
            of(2).client,
            Some(Listen {
                host: None,
                port: 5
            })
        );
        assert_eq!(of(3).client.unwrap().to_addr(), "127.0.0.1:8");
        for wrong in [
            "a",
            "a:1",
            "a:1:x",
            "a:1:2:king",
            "a:1:2:observer:9",
            ":1:2",
            "a:1:2;x",
        ] {
            assert!(parse(&format!("server.1={wrong}")).is_err(), "{wrong}");
        }
        let (line, twice) = parse("server.1=a:1:2\nserver.1=b:1:2").unwrap_err();
        assert!(line == 2 && twice.contains("twice"), "{twice}");
    }

    #[test]
    fn unknown_keys_are_told_with_their_line() {
        let lines = parse("# comment\n\ntickTime=200\nfoo=1\nzookeeper.snapCount=7\n").unwrap();
        assert_eq!(
            lines.unused,
            [Unused {
                line: 4,
                key: "foo".into(),
                from: None,
            }]
        );
        assert_eq!((lines.tick_time, lines.snap_count), (Some(200), Some(7)));
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        assert_eq!(parse("tickTime=2000\nclientPort=x").unwrap_err().0, 2);
        assert_eq!(parse("tickTime").unwrap_err().0, 1);
    }

    /// What is beyond every range is refused by each key of a number, with the range that it takes.
    #[test]
    fn every_key_of_a_number_tells_its_range() {
        for (key, range) in [
            ("tickTime", "milliseconds from 1 to 2147483647"),
            ("clientPort", "a port, 0 to 65535"),
            ("initLimit", "ticks from 1 to 2147483647"),
            ("syncLimit", "ticks from 1 to 2147483647"),
            ("maxClientCnxns", "connections from 0 to 2147483647"),
            ("maxCnxns", "connections from 0 to 2147483647"),
            (
                "minSessionTimeout",
                "milliseconds from 1 to 2147483647, or -1",
            ),
            (
                "maxSessionTimeout",
                "milliseconds from 1 to 2147483647, or -1",
            ),
            ("snapCount", "transactions from 0 to 2147483647"),
            ("snapSizeLimitInKb", "KiB from -2147483647 to 2147483647"),
            ("preAllocSize", "KiB from 0 to 2147483647"),
            ("electionPortBindRetry", "tries from 0 to 2147483647"),
            (
                "autopurge.snapRetainCount",
                "snapshots from 0 to 2147483647",
            ),
            ("jute.maxbuffer", "bytes from 64 to 67108864"),
            ("jute.maxbuffer.extrasize", "bytes from 0 to 67108864"),
            ("zabra.outstandingBytes", "bytes from 1048576 to"),
            ("zabra.waitingBytesMax", "bytes from 1048576 to"),
            ("znode.container.checkIntervalMs", "milliseconds from 1 to"),
            ("znode.container.maxPerMinute", "nodes from 1 to"),
            (
                "znode.container.maxNeverUsedIntervalMs",
                "milliseconds from 0 to",
            ),
            ("weight.1", "votes from 0 to 2147483647"),
            ("secureClientPort", "a port, 0 to 65535"),
            (
                "netty.server.outstandingHandshake.limit",
                "handshakes from -2147483648 to 2147483647",
            ),
            ("globalOutstandingLimit", "0 to 2147483647"),
            ("admin.serverPort", "a port, 0 to 65535"),
            ("cnxTimeout", "to 2147483647"),
        ] {
            for beyond in ["99999999999999999999", "many", ""] {
                let refusal = parse(&format!("{key}={beyond}")).unwrap_err().1;
                assert!(
                    refusal.starts_with(key) && refusal.contains(range),
                    "{refusal}"
                );
            }
        }
    }

    /// C-25.
    #[test]
    fn c_25_lines_are_read_as_java_reads_properties() {
        let text = concat!(
            "\u{feff}# notes\r\n! more\r\n",
            "tickTime: 200\r\nclientPort 2182\n  initLimit\t=\t7  \n",
            "clientPortAddress=10.0.\\\n    0.1\ndataDir=/srv/a\\:b\\u0020c\n",
            "snapCount=1\nsnapCount=9\nnoValue\n"
        );
        let lines = parse(text).unwrap();
        assert_eq!(
            (lines.tick_time, lines.client_port),
            (Some(200), Some(2182))
        );
        assert_eq!((lines.init_limit, lines.snap_count), (Some(7), Some(9)));
        assert_eq!(lines.client_port_address.as_deref(), Some("10.0.0.1"));
        assert_eq!(lines.data_dir, Some("/srv/a:b c".into()));
        assert_eq!(lines.unused.len(), 1);
        // A line that another one continues is told by the number of its first.
        assert_eq!(parse("a=1\nclientPort=\\\n x\n").unwrap_err().0, 2);
        assert_eq!(parse("a=\\u00zz\n").unwrap_err().0, 1);
    }

    /// C-25.
    #[test]
    fn c_25_a_file_is_in_latin_1_as_java_reads_it() {
        let of = |bytes: &[u8]| parse(&decode(bytes)).unwrap().data_dir.unwrap();
        for (bytes, directory) in [
            (&b"dataDir=/srv/caf\xe9\n"[..], "/srv/café"),
            (b"dataDir=/srv/caf\\u00e9\n", "/srv/café"),
            ("# à côté\ndataDir=/srv/caf\\u00E9".as_bytes(), "/srv/café"),
            ("dataDir=/srv/café".as_bytes(), "/srv/cafÃ©"),
            (b"\xef\xbb\xbfdataDir=/srv\n", "/srv"),
            (b"dataDir=/srv/\x80\n", "/srv/\u{80}"),
        ] {
            assert_eq!(of(bytes), PathBuf::from(directory), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_member_s_line_cannot_have_is_refused_with_a_reason() {
        for (line, words) in [
            (
                "server.1=a:1:2|b:1:2",
                "several addresses are not supported; keep one",
            ),
            ("server.1=a:1:2;2181;2281", "write secureClientPort=PORT"),
            ("server.1=a:1:2;;2281", "write secureClientPort=PORT"),
            ("server.1=a:1", "write server.1=HOST:2888:3888"),
            ("server.1=a:1:2:leader", "write participant or observer"),
        ] {
            let (_, what) = parse(line).unwrap_err();
            assert!(
                what.starts_with("server.1") && what.contains(words),
                "{what}"
            );
        }
    }

    /// C-22.
    #[test]
    fn c_22_ids_go_as_far_as_zookeeper_s() {
        let of = |sid: &str| parse(&format!("server.{sid}=a:1:2")).map(|l| l.members.len());
        for sid in ["0", "1001", "9223372036854775807"] {
            assert_eq!(of(sid), Ok(1), "{sid}");
        }
        for sid in ["-1", "9223372036854775808", "x", ""] {
            assert!(of(sid).is_err(), "{sid}");
        }
    }

    /// C-26.
    #[test]
    fn c_26_srvr_is_answered_whatever_the_list_says() {
        for list in ["ruok", "", "mntr, conf"] {
            let lines = parse(&format!("4lw.commands.whitelist={list}")).unwrap();
            let whitelist = lines.whitelist.unwrap();
            assert!(whitelist.has("srvr") && !whitelist.has("dump"), "{list:?}");
        }
    }

    /// C-27.
    #[test]
    fn c_27_an_ipv6_address_may_stand_in_brackets() {
        for text in ["[::1]", "::1"] {
            let lines = parse(&format!("clientPortAddress={text}")).unwrap();
            assert_eq!(lines.client_port_address.as_deref(), Some("::1"));
        }
    }

    /// C-51.
    #[test]
    fn c_51_the_settings_of_containers_are_read_in_both_spellings() {
        for prefix in ["", "zookeeper."] {
            let text = format!(
                "{prefix}znode.container.checkIntervalMs=500\n{prefix}znode.container.maxPerMinute=60\n{prefix}znode.container.maxNeverUsedIntervalMs=1000\n"
            );
            let lines = parse(&text).unwrap();
            assert_eq!(lines.container_check_interval_ms, Some(500));
            assert_eq!(lines.container_max_per_minute, Some(60));
            assert_eq!(lines.container_max_never_used_ms, Some(1000));
            assert_eq!(lines.unused, []);
        }
        assert!(parse("znode.container.maxPerMinute=0").is_err());
    }
}
