//! The keys of `zoo.cfg`, one row each: what `zabra config` tells of them, and which of them a start takes no notice of.

/// What becomes of a line with the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The server does what it says.
    Honoured,
    /// The server has no counterpart, and neither the data nor who may see it is any different for that: the line is told, and kept.
    NoEffect,
    /// The server does not have it, and would be weaker than the line asks: it does not start, unless the value asks for nothing.
    Refused,
}

/// What the value of a refused key must be to ask for nothing; then it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Off {
    /// `false`, `no`, or nothing at all.
    False,
    /// As `False`, or `none`.
    None,
    /// One of these classes: they are built in.
    Classes(&'static [&'static str]),
    /// It has no effect by itself: another key switches on what it is about.
    Any,
    /// There is no such value.
    Never,
}

/// A key. Java's own spelling as a system property, with `zookeeper.` before it, is the same key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name; `N` at its end is a number, and `*` whatever no other row names.
    pub name: &'static str,
    /// What values are counted in, or are.
    pub unit: &'static str,
    /// What holds without it; empty if nothing does.
    pub default: &'static str,
    /// What becomes of it.
    pub state: State,
    /// What it is for.
    pub about: &'static str,
    /// Of a refused key: which values ask for nothing.
    pub off: Off,
    /// Of a refused key: why it would not be safe to ignore it.
    pub why: &'static str,
}

const CLASSES: [&str; 3] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
    "",
];
const NO_TLS: &str = "connections would not be encrypted";
const NO_SASL: &str = "nobody would be authenticated by SASL";
const NO_X509: &str = "nobody would be authenticated by a certificate";
const NO_AUTH: &str = "clients that have not authenticated would be let in";
const NO_PEER_AUTH: &str = "servers would not authenticate each other";
const NO_SCHEME: &str = "it would not be asked who clients are";

const fn key(
    name: &'static str,
    unit: &'static str,
    default: &'static str,
    about: &'static str,
) -> Key {
    let state = State::Honoured;
    Key {
        name,
        unit,
        default,
        state,
        about,
        off: Off::Any,
        why: "",
    }
}

const fn none(name: &'static str, about: &'static str) -> Key {
    Key {
        state: State::NoEffect,
        ..key(name, "", "", about)
    }
}

const fn refused(name: &'static str, off: Off, why: &'static str, about: &'static str) -> Key {
    Key {
        state: State::Refused,
        off,
        why,
        ..key(name, "", "", about)
    }
}

/// All of them, by what they are about.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    // Files and clients.
    key("dataDir", "directory", "", "Snapshots and the file myid. Every server needs it."),
    key("dataLogDir", "directory", "dataDir", "Transaction logs; a disk of its own makes writes faster."),
    key("clientPort", "port", "", "Where clients connect; 0 lets the system choose. The end of the server's own line may say it instead."),
    key("clientPortAddress", "host", "every address", "The address that clients connect to; IPv6 with or without brackets."),
    key("tickTime", "ms", "3000", "The unit of initLimit, syncLimit and session timeouts; expiry happens once a tick."),
    key("minSessionTimeout", "ms", "2 ticks", "The shortest session timeout that a client gets; -1 is the default."),
    key("maxSessionTimeout", "ms", "20 ticks", "The longest session timeout that a client gets; -1 is the default."),
    key("maxClientCnxns", "connections", "60", "Connections from one address; 0 is any number."),
    key("maxCnxns", "connections", "0", "Connections in all; 0 is as many as there are open files for."),
    key("jute.maxbuffer", "bytes", "1048575", "The longest request, also in hexadecimal (0xfffff). Clients have a limit of the same name."),
    key("4lw.commands.whitelist", "words", "srvr", "The four-letter words that are answered, with commas between them, or *; srvr always is."),
    key("extendedTypesEnabled", "true or false", "false", "Nodes with a time to live; ids of servers then end at 254."),
    key("znode.container.checkIntervalMs", "ms", "60000", "How often empty containers and nodes whose time has passed are looked for."),
    key("znode.container.maxPerMinute", "nodes", "10000", "How many of them are removed in a minute at most."),
    key("znode.container.maxNeverUsedIntervalMs", "ms", "0", "After how long a container that never had a child is removed; 0 is never."),
    key("zabra.unreadBytesMax", "bytes", "by the machine", "Answers that all clients together have not read yet."),
    key("zabra.waitingBytesMax", "bytes", "by the machine", "Requests that wait behind others, of all clients together."),
    key("zabra.outstandingBytes", "bytes", "67108864", "Proposals that are not committed yet; above it, clients wait."),
    // Logs and snapshots.
    key("snapCount", "transactions", "100000", "A snapshot comes after about so many."),
    key("snapSizeLimitInKb", "KiB", "4194304", "A snapshot comes after so much log; 0 or less is no limit."),
    key("preAllocSize", "KiB", "65536", "By how much a log file grows."),
    key("forceSync", "yes or no", "yes", "Writes are synced before they are acknowledged. no refuses the start: it loses acknowledged writes."),
    key("autopurge.snapRetainCount", "snapshots", "3", "How many are kept by the purge, at least 3."),
    key("autopurge.purgeInterval", "hours", "0", "How often older snapshots and their logs are removed; 0 is never."),
    key("snapshot.trust.empty", "true or false", "false", "Start from logs without a snapshot, as very old servers left them."),
    key("db.autocreate", "true or false", "true", "Whether a member without data may vote; if false, only beside a file named initialize."),
    key("datadir.autocreate", "true or false", "true", "Whether directories that are missing are made."),
    // The ensemble.
    key("server.N", "member", "", "HOST:QUORUMPORT:ELECTIONPORT[:participant|:observer][;[HOST:]CLIENTPORT], one line for each member, the same on all."),
    key("group.N", "ids", "", "Hierarchical quorums: a group of voters, with colons between their ids."),
    key("weight.N", "votes", "1", "Hierarchical quorums: the votes of the server with this id."),
    key("initLimit", "ticks", "10", "How long a learner may take to connect and to get the data. An ensemble needs it."),
    key("syncLimit", "ticks", "5", "How long leader and learner may be silent. An ensemble needs it."),
    key("electionAlg", "number", "3", "Only 3, Fast Leader Election, is left."),
    key("peerType", "role", "participant", "observer has to agree with the server's own line."),
    key("standaloneEnabled", "true or false", "true", "If false, a single member runs as an ensemble of one."),
    key("dynamicConfigFile", "file", "", "Where the server, group and weight lines stand; no other lines may stand there."),
    key("quorumListenOnAllIPs", "true or false", "false", "Listen for other servers on every address."),
    key("electionPortBindRetry", "tries", "3", "How often the election port is tried at start, once a second; 0 is for ever."),
    key("zabra.quorumFromMembersOnly", "true or false", "false", "Close connections to the ports between servers that come from no member's address."),
    // Who may do what.
    key("DigestAuthenticationProvider.enabled", "true or false", "true", "The scheme digest."),
    key("DigestAuthenticationProvider.digestAlg", "algorithm", "SHA1", "How the scheme digest hashes, as Java names it: SHA1, SHA-256, SHA-512, SHA3-256, … The same on all servers."),
    key("DigestAuthenticationProvider.superDigest", "USER:HASH", "", "Whoever has this user's password may do everything."),
    key("enforceQuota", "true or false", "false", "Refuse what is above a hard quota; without it, usage is only counted."),
    key("enforce.auth.enabled", "true or false", "false", "Whether clients have to authenticate by one of enforce.auth.schemes before anything else."),
    key("enforce.auth.schemes", "schemes", "", "By which, with commas between them: digest, ip."),
    key("sessionRequireClientSASLAuth", "true or false", "false", "The same as those two with the scheme sasl."),
    refused("secureClientPort", Off::Never, NO_TLS, "A port for clients with TLS."),
    refused("secureClientPortAddress", Off::Never, NO_TLS, "Its address."),
    refused("client.portUnification", Off::False, NO_TLS, "One port for clients with TLS and without."),
    refused("client.certReload", Off::False, NO_TLS, "Read the stores of clients' TLS anew when they change."),
    refused("sslQuorum", Off::False, NO_TLS, "TLS between servers."),
    refused("sslQuorumReloadCertFiles", Off::False, NO_TLS, "Read the stores of the servers' TLS anew when they change."),
    refused("portUnification", Off::False, NO_TLS, "Ports between servers that take TLS and none."),
    refused("ssl.clientAuth", Off::None, NO_X509, "Whether clients need certificates."),
    refused("ssl.quorum.clientAuth", Off::None, NO_X509, "Whether servers need certificates to connect to each other."),
    refused("ssl.authProvider", Off::Never, NO_X509, "The scheme that a client's certificate is taken for."),
    refused("ssl.keyStore.location", Off::None, NO_TLS, "The key and certificate of the server; all keys that begin with ssl. go with it."),
    refused("ssl.trustStore.location", Off::None, NO_TLS, "Whose certificates are trusted."),
    refused("ssl.*", Off::None, NO_TLS, "Whatever else begins with ssl. is about TLS."),
    refused("X509*", Off::False, NO_X509, "Whatever begins with X509 is about clients that are known by their certificates."),
    refused("quorum.auth.enableSasl", Off::False, NO_PEER_AUTH, "SASL between servers."),
    refused("quorum.auth.learnerRequireSasl", Off::False, NO_PEER_AUTH, "Whether a learner goes on with a leader without SASL."),
    refused("quorum.auth.serverRequireSasl", Off::False, NO_PEER_AUTH, "Whether a server takes connections of others without SASL."),
    refused("quorum.auth.*", Off::Any, NO_PEER_AUTH, "Names and principals of SASL between servers, read if quorum.auth.enableSasl is true."),
    refused("authProvider", Off::Never, NO_SCHEME, "A class that authenticates clients; Java reads authProvider.N."),
    refused("authProvider.N", Off::Classes(&CLASSES), NO_SCHEME, "A class that authenticates clients; Java's for digest and ip are built in."),
    refused("authProvider.*", Off::Classes(&CLASSES), NO_SCHEME, "As authProvider.N."),
    refused("DigestAuthenticationProvider.*", Off::Never, "the digest scheme would not do what it says", "Whatever else is about the scheme digest."),
    refused("IPAuthenticationProvider.*", Off::False, "the ip scheme would not do what it says", "Whatever is about the scheme ip."),
    refused("SASLAuthenticationProvider.*", Off::Never, NO_SASL, "Whatever is about the scheme sasl."),
    refused("requireClientAuthScheme", Off::None, NO_AUTH, "Of old, by which scheme clients have to authenticate; write sessionRequireClientSASLAuth."),
    refused("enforce.auth.*", Off::False, NO_AUTH, "Whatever else is about clients that have to authenticate."),
    refused("ensembleAuthName", Off::Never, "clients of other ensembles would be let in", "The names of this ensemble that clients may say."),
    refused("allowSaslFailedClients", Off::False, NO_SASL, "Let clients in whose SASL has failed."),
    refused("letAnySaslUserDoX", Off::Never, NO_SASL, "An id of ACLs that whoever authenticated by SASL has."),
    refused("superUser*", Off::Never, NO_SASL, "Names of the scheme sasl that may do everything."),
    refused("sasl.*", Off::Never, NO_SASL, "Whatever begins with sasl. is about SASL."),
    refused("java.security.auth.login.config", Off::Never, NO_SASL, "The JAAS file, in which SASL has its passwords and principals."),
    refused("requireKerberosConfig", Off::False, NO_SASL, "Do not start without a configuration of Kerberos."),
    refused("jaasLoginRenew*", Off::Any, NO_SASL, "How tickets of Kerberos are renewed."),
    refused("kerberos.*", Off::False, NO_SASL, "Whatever begins with kerberos. is about names of the scheme sasl."),
    refused("kinit", Off::Any, NO_SASL, "The program that renews tickets of Kerberos."),
    refused("skipACL", Off::False, "access would be checked all the same", "Let every client do everything."),
    refused("audit.enable", Off::False, "nothing would be written for an audit", "A log of who did what."),
    // Without a counterpart.
    none("4lw.commands.enabled", "A name of old for the words that are answered; write 4lw.commands.whitelist."),
    none("admin.enableServer", "The HTTP server for commands: there is none yet."),
    none("admin.serverAddress", "Its address."),
    none("admin.serverPort", "Its port."),
    none("admin.commandURL", "Its path."),
    none("admin.idleTimeout", "How long its connections may be silent."),
    none("metricsProvider.className", "Who exports metrics: nobody yet; mntr tells them."),
    none("metricsProvider.httpHost", "The address of the exporter."),
    none("metricsProvider.httpPort", "The port of the exporter."),
    none("metricsProvider.exportJvmInfo", "Metrics of the Java virtual machine: there is none."),
    none("clientPortListenBacklog", "How many connections the system holds before they are taken; the system's own limit counts."),
    none("globalOutstandingLimit", "Requests of all clients under way; bytes are limited here, by zabra.outstandingBytes and zabra.waitingBytesMax."),
    none("clientTcpKeepAlive", "Keep-alive of TCP; sessions have pings."),
    none("serverCnxnFactory", "Java's class for client connections."),
    none("nio.numSelectorThreads", "Threads of Java's connections."),
    none("nio.numWorkerThreads", "Threads of Java's connections."),
    none("nio.sessionlessCnxnTimeout", "How long a connection may last without a session."),
    none("commitProcessor.numWorkerThreads", "Threads of Java's request path."),
    none("maxResponseCacheSize", "Java keeps answers to getData; there is nothing to keep here."),
    none("maxGetChildrenResponseCacheSize", "Java keeps answers to getChildren; there is nothing to keep here."),
    none("fsync.warningthresholdms", "From when a slow sync is told."),
    none("commitLogCount", "Proposals that a leader keeps in memory for DIFF; here the logs serve, too."),
    none("snapshotSizeFactor", "Up to which size logs are sent instead of a snapshot."),
    none("snapshot.compression.method", "Compressed snapshots."),
    none("serializeLastProcessedZxid.enabled", "The last zxid inside a snapshot; the file's name tells it."),
    none("digest.enabled", "A digest of the tree beside each transaction."),
    none("txnLogSizeLimitInKb", "A new log file after so much, without a snapshot."),
    none("flushDelay", "Wait for more writes before a sync; here all that wait go into one at once."),
    none("maxBatchSize", "Writes of one sync at most; here all that wait."),
    none("localSessionsEnabled", "Sessions that only their server knows; here every session is global."),
    none("localSessionsUpgradingEnabled", "Whether such sessions become global when they need to."),
    none("leaderServes", "no keeps clients away from the leader; here it serves."),
    none("cnxTimeout", "How long dialling for an election may take."),
    none("tcpKeepAlive", "Keep-alive of the connections between servers; they have pings."),
    none("syncEnabled", "Whether observers keep their data on disk; here they do."),
    none("observerMasterPort", "Where followers serve observers; here the leader does."),
    none("connectToLearnerMasterLimit", "How long a learner may take to connect; here initLimit."),
    none("multiAddress.enabled", "Several addresses for each server: one is taken."),
    none("reconfigEnabled", "Change members while the servers run; the list is that of the file."),
    none("readonlymode.enabled", "Serve reads without a quorum."),
    none("maxTimeToWaitForEpoch", "How long a leader to be waits for its quorum; here initLimit."),
    none("quorum.cnxn.threads.size", "Threads of Java's connections between servers."),
];

/// The row of this key, with or without `zookeeper.` before it; `server.7` is `server.N`'s, and a row that names the key goes before
/// one that ends in `*`.
#[must_use]
pub fn find(key: &str) -> Option<&'static Key> {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key);
    let is_named = |row: &&Key| {
        let numbered = row.name.strip_suffix(".N").zip(key.split_once('.'));
        row.name == key
            || numbered.is_some_and(|(begin, (name, n))| name == begin && n.parse::<u64>().is_ok())
    };
    let has_begin = |row: &&Key| {
        let begin = row.name.strip_suffix('*');
        begin.is_some_and(|begin| key.starts_with(begin))
    };
    let named = KEYS.iter().find(is_named);
    named.or_else(|| KEYS.iter().find(has_begin))
}

/// The key that was most likely meant by one that nobody knows: the same but for its case, or for one or two letters.
#[must_use]
pub fn nearest(key: &str) -> Option<&'static Key> {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key);
    let near = KEYS
        .iter()
        .map(|row| (distance(&row.name.to_lowercase(), &key.to_lowercase()), row));
    near.filter(|(far, _)| *far <= 2)
        .min_by_key(|(far, _)| *far)
        .map(|(_, row)| row)
}

/// How many letters have to be put in, taken out or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;
    use crate::config::file::parse;
    use std::path::Path;

    /// A value that asks for something.
    fn example(key: &Key) -> (&str, &str) {
        match key.name {
            "server.N" => ("server.1", "a:1:2"),
            "group.N" => ("group.1", "1:2"),
            "weight.N" => ("weight.1", "1"),
            "authProvider.N" => ("authProvider.1", "my.Provider"),
            "ssl.*" => ("ssl.other", "x"),
            "X509*" => ("X509AuthenticationProvider.superUser", "x"),
            "quorum.auth.*" => ("quorum.auth.other", "x"),
            "authProvider.*" => ("authProvider.sasl", "x"),
            "DigestAuthenticationProvider.*" => ("DigestAuthenticationProvider.other", "x"),
            "IPAuthenticationProvider.*" => ("IPAuthenticationProvider.other", "x"),
            "SASLAuthenticationProvider.*" => ("SASLAuthenticationProvider.other", "x"),
            "enforce.auth.*" => ("enforce.auth.sasl", "x"),
            "superUser*" => ("superUser.2", "x"),
            "sasl.*" => ("sasl.serverconfig", "x"),
            "jaasLoginRenew*" => ("jaasLoginRenewJitter", "x"),
            "kerberos.*" => ("kerberos.other", "x"),
            "electionAlg" => (key.name, "3"),
            "peerType" => (key.name, "observer"),
            "DigestAuthenticationProvider.digestAlg" => (key.name, "SHA-256"),
            name => (
                name,
                match key.unit {
                    "directory" | "file" | "host" | "words" | "USER:HASH" => "x",
                    "bytes" => "2097152",
                    "true or false" | "yes or no" => "true",
                    _ if key.state != State::Honoured => "true",
                    _ => "7",
                },
            ),
        }
    }

    #[test]
    fn each_row_says_what_becomes_of_a_line() {
        for row in KEYS {
            let (key, value) = example(row);
            for prefix in ["", "zookeeper."] {
                let lines = parse(&format!("{prefix}{key}={value}")).unwrap();
                let state = match (lines.unused.is_empty(), lines.unsupported.is_empty()) {
                    (true, true) => State::Honoured,
                    (false, true) => State::NoEffect,
                    _ => State::Refused,
                };
                let is_kept = row.state == State::Refused && row.off == Off::Any;
                let expected = if is_kept { State::Honoured } else { row.state };
                assert_eq!(state, expected, "{key}={value}");
                assert_eq!(
                    find(&format!("{prefix}{key}")).map(|k| k.name),
                    Some(row.name)
                );
            }
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_near_to_the_one_that_was_meant() {
        let name = |key| nearest(key).map(|row| row.name);
        assert_eq!(name("ticktime"), Some("tickTime"));
        assert_eq!(name("initLimt"), Some("initLimit"));
        assert_eq!(name("zookeeper.snapCuont"), Some("snapCount"));
        assert_eq!(name("somethingElse"), None);
    }

    /// What the table calls the default is what holds without the key.
    #[test]
    fn a_line_with_the_default_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let base = format!("dataDir={}\nclientPort=1\n", dir.path().display());
        let read = |text: &str| format!("{:?}", check::read(Path::new("zoo.cfg"), text).unwrap());
        let without = read(&base);
        let is_value = |text: &str| {
            text.parse::<u64>().is_ok() || matches!(text, "true" | "false" | "yes" | "SHA1")
        };
        let mut seen = 0;
        for row in KEYS
            .iter()
            .filter(|row| !row.name.ends_with(".N") && is_value(row.default))
        {
            let with = read(&format!("{base}{}={}\n", row.name, row.default));
            assert_eq!(with, without, "{}={}", row.name, row.default);
            seen += 1;
        }
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn no_row_is_there_twice() {
        for (at, row) in KEYS.iter().enumerate() {
            assert!(
                KEYS[at + 1..].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
        }
    }
}
