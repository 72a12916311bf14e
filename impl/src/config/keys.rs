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

const CLASSES: [&str; 6] = [
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
    "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
    "",
];
const NO_TLS: &str = "connections would not be encrypted";
const NO_SASL: &str = "nobody would be authenticated by SASL";
const NO_X509: &str = "nobody would be authenticated by a certificate";
const NO_AUTH: &str = "clients that have not authenticated would be let in";
const NO_PEER_AUTH: &str = "servers would not authenticate each other";
const NO_HTTPS: &str = "what is asked over HTTP would not be encrypted";
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
    key("jute.maxbuffer", "bytes", "1048575", "The longest request, up to 64 MiB, also in hexadecimal (0xfffff). The same on every server; clients have a limit of the same name."),
    key("jute.maxbuffer.extrasize", "bytes", "jute.maxbuffer", "How much longer than jute.maxbuffer a transaction, or a packet between servers, may be; 128 KiB at least."),
    key("4lw.commands.whitelist", "words", "srvr", "The four-letter words that are answered, with commas between them, or *; srvr always is."),
    key("extendedTypesEnabled", "true or false", "false", "Nodes with a time to live; ids of servers then end at 254."),
    key("znode.container.checkIntervalMs", "ms", "60000", "How often empty containers and nodes whose time has passed are looked for."),
    key("znode.container.maxPerMinute", "nodes", "10000", "How many of them are removed in a minute at most."),
    key("znode.container.maxNeverUsedIntervalMs", "ms", "0", "After how long a container that never had a child is removed; 0 is never."),
    key("zabra.unreadBytesMax", "bytes", "by the machine", "Answers that all clients together have not read yet."),
    key("zabra.waitingBytesMax", "bytes", "by the machine", "Requests that wait behind others, of all clients together."),
    key("zabra.syncWaitsForQuorum", "true or false", "false", "Whether a sync of a client waits until a quorum has acknowledged something newer than it: a leader that was replaced and does not know it answers none then. The syncs of a turn cost one transaction. The same on every server."),
    key("zabra.watchBytesMax", "bytes", "by the machine", "What the watches of all clients hold; the client with most of it is closed."),
    key("zabra.outstandingBytes", "bytes", "67108864", "Proposals that are not committed yet; above it, clients wait."),
    key("zabra.flightRecorder", "true or false", "true", "Record what the protocol hears, about a megabyte in memory and what surrounds elections in zabra.flight beside the data, for zabra explain."),
    // Logs and snapshots.
    key("snapCount", "transactions", "100000", "A snapshot comes after about so many."),
    key("snapSizeLimitInKb", "KiB", "4194304", "A snapshot comes after so much log; 0 or less is no limit."),
    key("preAllocSize", "KiB", "65536", "By how much a log file grows, 1024 at most."),
    key("forceSync", "yes or no", "yes", "Writes are synced before they are acknowledged. no refuses the start: it loses acknowledged writes."),
    key("autopurge.snapRetainCount", "snapshots", "3", "How many are kept by the purge, at least 3."),
    key("autopurge.purgeInterval", "hours", "0", "How often older snapshots and their logs are removed; 0 is never. With ms, s, m, h or d behind it another unit, as 30m; 1s at least."),
    key("snapshot.trust.empty", "true or false", "false", "Start from logs without a snapshot, as very old servers left them."),
    key("db.autocreate", "true or false", "true", "Whether a member without data may vote; if false, only beside a file named initialize."),
    key("datadir.autocreate", "true or false", "true", "Whether directories that are missing are made."),
    key("localSessionsEnabled", "true or false", "false", "New sessions in an ensemble are known to their server alone: no write begins or ends them. The same on all servers."),
    key("localSessionsUpgradingEnabled", "true or false", "false", "Whether such a session becomes global when it makes an ephemeral node; without it, that is refused."),
    // The ensemble.
    key("server.N", "member", "", "HOST:QUORUMPORT:ELECTIONPORT[:participant|:observer][;[HOST:]CLIENTPORT], one line for each member, the same on all."),
    key("group.N", "ids", "", "Hierarchical quorums: a group of voters, with colons between their ids."),
    key("weight.N", "votes", "1", "Hierarchical quorums: the votes of the server with this id."),
    key("initLimit", "ticks", "10", "How long a learner may take to connect and to get the data. An ensemble needs it."),
    key("syncLimit", "ticks", "5", "How long leader and learner may be silent. An ensemble needs it."),
    key("electionAlg", "number", "3", "Only 3, Fast Leader Election, is left."),
    key("peerType", "role", "participant", "Of old; the server's own line says it, and counts where the two differ."),
    key("readonlymode.enabled", "true or false", "false", "Serve reads where there is no leader, to clients that accept it; isro is answered then."),
    key("reconfigEnabled", "true or false", "false", "The operation reconfig changes the members while the servers run. The same on all servers."),
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
    key("enforce.auth.schemes", "schemes", "", "By which, with commas between them: digest, ip, sasl, x509."),
    key("sessionRequireClientSASLAuth", "true or false", "false", "The same as those two with the scheme sasl."),
    key("java.security.auth.login.config", "file", "", "The JAAS file. Its section Server says who may authenticate by SASL: user_NAME=\"PASSWORD\" behind DigestLoginModule."),
    key("sasl.serverconfig", "name", "Server", "The name of that section."),
    key("SASLAuthenticationProvider.superPassword", "password", "", "The password of the SASL user super, in place of the section's."),
    key("superUser", "name", "", "A SASL user who may do everything; superUser.1 and so on name further ones."),
    key("superUser*", "name", "", "A further one."),
    key("ensembleAuthName", "names", "", "Names of this ensemble, with commas between them: a client that names another one by the scheme ensemble loses its connection."),
    key("skipACL", "yes or no", "no", "Let every client read and change everything, whatever ACLs say."),
    key("allowSaslFailedClients", "true or false", "false", "Whether a client in whose SASL something was wrong stays, as nobody."),
    key("secureClientPort", "port", "", "Where clients connect with TLS; it needs ssl.keyStore.location."),
    key("secureClientPortAddress", "host", "every address", "The address of secureClientPort."),
    key("ssl.keyStore.location", "file", "", "The server's private key and certificates: PEM with the key's own certificate first, PKCS12, or JKS."),
    key("ssl.keyStore.type", "PEM, PKCS12 or JKS", "by the file's name", "What the file is; names that end in .p12, .pfx and .jks are Java's. BCFKS refuses the start."),
    key("ssl.keyStore.password", "password", "", "The password of a Java store or of an encrypted key; better a file that ssl.keyStore.passwordPath names."),
    key("ssl.keyStore.passwordPath", "file", "", "A file whose first line is the password; it goes before ssl.keyStore.password."),
    key("ssl.trustStore.location", "file", "", "The authorities whose client certificates are taken; needed unless ssl.clientAuth=none."),
    key("ssl.trustStore.type", "PEM, PKCS12 or JKS", "by the file's name", "As ssl.keyStore.type."),
    key("ssl.trustStore.password", "password", "", "The password of a Java store; PEM has none, and takes no notice of it."),
    key("ssl.trustStore.passwordPath", "file", "", "As ssl.trustStore.password, in a file; that one has to be there."),
    key("ssl.clientAuth", "need, want or none", "need", "Whether clients have to show a certificate, may, or are not asked."),
    key("ssl.authProvider", "scheme", "x509", "The scheme of a client that shows a certificate: x509 is the only one."),
    key("ssl.protocol", "TLSv1.2 or TLSv1.3", "both", "The version of TLS, if ssl.enabledProtocols does not say it; TLS is both."),
    key("ssl.enabledProtocols", "versions", "TLSv1.2,TLSv1.3", "The versions of TLS that are spoken; older ones are not."),
    key("ssl.ciphersuites", "suites", "all that are safe", "Cipher suites by Java's names, with commas between them."),
    key("X509AuthenticationProvider.superUser", "subject", "", "Whoever shows a certificate of this subject (CN=admin,O=Example) may do everything."),
    key("client.portUnification", "true or false", "false", "Whether clientPort takes clients with TLS, too."),
    key("client.certReload", "true or false", "false", "Read the stores anew when their files change; new connections are of the new ones."),
    key("netty.server.outstandingHandshake.limit", "handshakes", "1024", "How many handshakes of TLS may be under way at a time; one more takes the place of the oldest."),
    key("sslQuorum", "true or false", "false", "TLS between the servers: this one dials with it, and takes nothing else unless portUnification is true. It needs ssl.quorum.keyStore.location and ssl.quorum.trustStore.location."),
    key("portUnification", "true or false", "false", "Whether the ports between the servers take TLS and plain text: for the time in which one server after the other is given sslQuorum."),
    key("sslQuorumReloadCertFiles", "true or false", "false", "Read the stores of TLS between the servers anew when their files change; new connections are of the new ones."),
    key("ssl.quorum.keyStore.location", "file", "", "The key and the certificates that this server shows to others, whether it dials or is dialled; read if sslQuorum or portUnification is true."),
    key("ssl.quorum.keyStore.type", "PEM, PKCS12 or JKS", "by the file's name", "As ssl.keyStore.type."),
    key("ssl.quorum.keyStore.password", "password", "", "As ssl.keyStore.password; better a file that ssl.quorum.keyStore.passwordPath names."),
    key("ssl.quorum.keyStore.passwordPath", "file", "", "As ssl.keyStore.passwordPath."),
    key("ssl.quorum.trustStore.location", "file", "", "The authorities whose certificates of other servers are taken."),
    key("ssl.quorum.trustStore.type", "PEM, PKCS12 or JKS", "by the file's name", "As ssl.keyStore.type."),
    key("ssl.quorum.trustStore.password", "password", "", "As ssl.trustStore.password."),
    key("ssl.quorum.trustStore.passwordPath", "file", "", "As ssl.trustStore.passwordPath."),
    key("ssl.quorum.protocol", "TLSv1.2 or TLSv1.3", "both", "As ssl.protocol, between the servers."),
    key("ssl.quorum.enabledProtocols", "versions", "TLSv1.2,TLSv1.3", "As ssl.enabledProtocols, between the servers."),
    key("ssl.quorum.ciphersuites", "suites", "all that are safe", "As ssl.ciphersuites, between the servers."),
    key("ssl.quorum.clientAuth", "need, want or none", "need", "Whether servers that dial have to show a certificate, may, or are not asked; anything but need lets strangers in."),
    key("ssl.quorum.hostnameVerification", "true or false", "true with sslQuorum", "Whether the certificate of a server that is dialled has to be that of the host in its server.N line; false goes for those who dial, too."),
    key("ssl.quorum.clientHostnameVerification", "true or false", "true with sslQuorum", "Whether the certificate of a server that dials has to be that of the host in the server.N line of the id that it names."),
    key("ssl.quorum.handshakeDetectionTimeoutMillis", "ms", "5000", "How long the first byte of a connection between servers may take; one that says nothing so long is taken for plain text."),
    refused("ssl.clientHostnameVerification", Off::False, "the names of clients would not be compared with their certificates", "Whether the server compares a client's name with its certificate."),
    refused("ssl.allowReverseDnsLookup", Off::False, "names would not be looked up", "Whether a name is looked up for an address, to compare it with a certificate."),
    refused("ssl.crl", Off::False, "certificates that are revoked would be taken", "Whether lists of revoked certificates are read."),
    refused("ssl.ocsp", Off::False, "certificates that are revoked would be taken", "Whether it is asked online which certificates are revoked."),
    refused("ssl.context.supplier.class", Off::Never, NO_TLS, "Java's class that makes what TLS needs."),
    refused("ssl.sslProvider", Off::Classes(&["JDK", ""]), NO_TLS, "Which of Java's implementations of TLS is used; there is one here."),
    refused("ssl.quorum.allowReverseDnsLookup", Off::False, NO_TLS, "As ssl.allowReverseDnsLookup, between servers."),
    refused("ssl.quorum.crl", Off::False, NO_TLS, "As ssl.crl, between servers."),
    refused("ssl.quorum.ocsp", Off::False, NO_TLS, "As ssl.ocsp, between servers."),
    refused("ssl.quorum.context.supplier.class", Off::Never, NO_TLS, "As ssl.context.supplier.class, between servers."),
    refused("fips-mode", Off::False, "no part of it is validated by FIPS 140", "Only what FIPS 140 allows; Java then leaves DIGEST-MD5 out, and verifies no names between servers."),
    refused("ssl.*", Off::None, NO_TLS, "Whatever else begins with ssl. is about TLS."),
    refused("X509*", Off::False, NO_X509, "Whatever begins with X509 is about clients that are known by their certificates."),
    key("quorum.auth.enableSasl", "true or false", "false", "SASL between the servers (DIGEST-MD5): proofs are taken. It needs the sections QuorumServer and QuorumLearner of the JAAS file."),
    key("quorum.auth.learnerRequireSasl", "true or false", "false", "Whether this server proves by SASL that it is of the ensemble where it dials another one, which has to take that."),
    key("quorum.auth.serverRequireSasl", "true or false", "false", "Whether servers that dial this one without a proof are refused."),
    key("quorum.auth.learner.saslLoginContext", "section of the JAAS file", "QuorumLearner", "As whom this server proves itself: username=\"NAME\" and password=\"PASSWORD\" behind DigestLoginModule."),
    key("quorum.auth.server.saslLoginContext", "section of the JAAS file", "QuorumServer", "Whose proofs are taken: user_NAME=\"PASSWORD\" behind DigestLoginModule."),
    refused("quorum.auth.kerberos.servicePrincipal", Off::Any, NO_PEER_AUTH, "Whom a server dials, in Kerberos; read if quorum.auth.enableSasl is true."),
    refused("quorum.auth.*", Off::False, NO_PEER_AUTH, "Whatever else begins with quorum.auth. is about SASL between servers."),
    refused("authProvider", Off::Never, NO_SCHEME, "A class that authenticates clients; Java reads authProvider.N."),
    refused("authProvider.N", Off::Classes(&CLASSES), NO_SCHEME, "A class that authenticates clients; Java's for digest, ip, sasl, x509 and ensemble are built in."),
    refused("authProvider.*", Off::Classes(&CLASSES), NO_SCHEME, "As authProvider.N."),
    refused("DigestAuthenticationProvider.*", Off::Never, "the digest scheme would not do what it says", "Whatever else is about the scheme digest."),
    refused("IPAuthenticationProvider.*", Off::False, "the ip scheme would not do what it says", "Whatever is about the scheme ip."),
    refused("SASLAuthenticationProvider.*", Off::Never, NO_SASL, "Whatever else is about the scheme sasl."),
    refused("requireClientAuthScheme", Off::None, NO_AUTH, "Of old, by which scheme clients have to authenticate; write sessionRequireClientSASLAuth."),
    refused("enforce.auth.*", Off::False, NO_AUTH, "Whatever else is about clients that have to authenticate."),
    refused("letAnySaslUserDoX", Off::Never, NO_SASL, "An id of ACLs that whoever authenticated by SASL has."),
    refused("sasl.*", Off::Never, NO_SASL, "Whatever begins with sasl. is about SASL."),
    refused("requireKerberosConfig", Off::False, NO_SASL, "Do not start without a configuration of Kerberos."),
    refused("jaasLoginRenew*", Off::Any, NO_SASL, "How tickets of Kerberos are renewed."),
    refused("kerberos.*", Off::Any, NO_SASL, "Whatever begins with kerberos. is about names of the scheme sasl."),
    refused("kinit", Off::Any, NO_SASL, "The program that renews tickets of Kerberos."),
    refused("IPAuthenticationProvider.usexforwardedfor", Off::False, "the ip scheme would not do what it says", "Whether the HTTP server for commands takes a client's address from X-Forwarded-For."),
    refused("kerberos.removeHostFromPrincipal", Off::Any, NO_SASL, "Leave the host out of names of the scheme sasl."),
    refused("kerberos.removeRealmFromPrincipal", Off::Any, NO_SASL, "Leave the realm out of names of the scheme sasl."),
    refused("kerberos.canonicalizeHostNames", Off::Any, NO_SASL, "Ask the name service for the names of servers that Kerberos knows."),
    refused("security.auth_to_local", Off::Classes(&["DEFAULT", ""]), "names would stay as Kerberos has them", "Rules that make short names of Kerberos's."),
    key("audit.enable", "true or false", "false", "A log of who changed what, by clients of this server: one line for each write, done or refused."),
    key("zabra.auditLog", "file", "standard error", "Where it is appended; the file is opened once, so move it only with a restart."),
    refused("audit.impl.class", Off::Classes(&["org.apache.zookeeper.audit.Slf4jAuditLogger", "org.apache.zookeeper.audit.Log4jAuditLogger", ""]), "the audit would not be written by that class", "Java's class that writes the audit log; lines are laid out as its Slf4jAuditLogger does."),
    refused("emulate353TTLNodes", Off::False, "nodes with a time to live of 3.5.3 would be taken for ephemeral ones", "Nodes with a time to live in the layout of ZooKeeper 3.5.3."),
    // Without a counterpart.
    none("4lw.commands.enabled", "A name of old for the words that are answered; write 4lw.commands.whitelist."),
    key("admin.enableServer", "true or false", "true", "Commands over HTTP, with answers in JSON. If their port is taken, the server goes on without them."),
    key("admin.serverAddress", "host", "127.0.0.1", "Their address; 0.0.0.0 is every address of the machine, and whoever reaches it may ask."),
    key("admin.serverPort", "port", "8080", "Their port."),
    key("admin.commandURL", "path", "/commands", "Where they stand: /commands/monitor, for example."),
    key("admin.idleTimeout", "ms", "30000", "How long one of their connections may last; each carries one request."),
    key("admin.snapshot.enabled", "true or false", "true", "Whether GET /commands/snapshot takes a snapshot and sends it to who has every right on /."),
    key("admin.restore.enabled", "true or false", "true", "Whether POST /commands/restore puts a snapshot in place of the tree, on a server of its own."),
    key("admin.rateLimiterIntervalInMS", "ms", "300000", "How long after one of them another of the same kind is refused; 0 is never."),
    key("zabra.webPage", "true or false", "true", "Whether the port of commands over HTTP has a page for people at / and /ui, which changes nothing: members, latency, elections, and of the tree what who looks may read. Not where admin.commandURL is / or below /ui."),
    key("metricsProvider.className", "class", "none", "Who exports metrics: org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider does it for Prometheus, at /metrics; any other class does nothing."),
    key("metricsProvider.httpHost", "host", "every address", "The address of the exporter."),
    key("metricsProvider.httpPort", "port", "7000", "The port of the exporter. If it is taken, the server does not start."),
    key("zabra.metricsCountersWithTotal", "true or false", "false", "Whether the exporter ends the names of counters with _total, as ZooKeeper 3.10 does."),
    none("metricsProvider.exportJvmInfo", "Metrics of the Java virtual machine: there is none."),
    key("clientPortListenBacklog", "connections", "-1", "How many connections the system holds before they are taken, up to its own limit; -1 is 1024."),
    key("globalOutstandingLimit", "requests", "none", "Above it, a client with a request that waits for its answer is not read on. Bytes are bounded in any case."),
    key("clientTcpKeepAlive", "true or false", "false", "Whether the system asks clients that are silent whether they are there (TCP keep-alive); sessions have pings in any case."),
    none("ssl.handshakeDetectionTimeoutMillis", "How long the first byte is waited for where one port takes TLS and plain text: 10 s here."),
    none("ssl.hostnameVerification", "Whether a client compares the server's name with its certificate: the client's own setting decides."),
    none("serverCnxnFactory", "Java's class for client connections."),
    none("nio.numSelectorThreads", "Threads of Java's connections."),
    none("nio.numWorkerThreads", "Threads of Java's connections."),
    key("nio.sessionlessCnxnTimeout", "ms", "10000", "How long a client may take for its first words."),
    none("commitProcessor.numWorkerThreads", "Threads of Java's request path."),
    none("maxResponseCacheSize", "Java keeps answers to getData; there is nothing to keep here."),
    none("maxGetChildrenResponseCacheSize", "Java keeps answers to getChildren; there is nothing to keep here."),
    key("fsync.warningthresholdms", "ms", "1000", "A sync of the transaction log that takes longer is told, and counted (fsync_threshold_exceed_count)."),
    key("zabra.slowRequestMs", "ms", "1000", "A request whose answer takes longer is told, at most one each 10 s, with where its time went (queue, propose, sync, quorum, apply), and counted (slow_requests); 0 is never."),
    key("commitLogCount", "transactions", "500", "How many of the last ones are kept in memory for learners, up to 32 MiB of them; what is older is read from the logs. 500 at least."),
    key("snapshotSizeFactor", "share", "0.33", "Up to which share of the newest snapshot's size the log files are read for a learner, which gets a snapshot instead where they are larger; a MiB is always read. 0 is any size, -1 reads no file: what is not in memory is then brought by a snapshot. Above 1 is 0.33."),
    key("snapshot.compression.method", "gz or snappy", "", "How snapshots are compressed; without it, they are not. Every form is read, whatever it says; what comes whole from a leader lies plain."),
    key("serializeLastProcessedZxid.enabled", "true or false", "true", "Whether a snapshot ends with its zxid, as who restores it over HTTP needs; Java servers before 3.9 ignore it."),
    key("digest.enabled", "true or false", "true", "Whether a snapshot says the digest of its tree, which is compared when it is read; write the same for Java servers that may read it, as one with false cannot read a digest. No digest is kept beside transactions."),
    key("txnLogSizeLimitInKb", "KiB", "-1", "A log file ends beyond so much, and not only with its snapshot; -1 is no limit."),
    none("flushDelay", "Wait for more writes before a sync; here all that wait go into one at once."),
    key("maxBatchSize", "writes", "0", "Writes that one sync makes durable at most; 0 is all that wait."),
    key("leaderServes", "yes or no", "yes", "Whether a leader of others takes clients; with no they go to the other servers, and it has more time for these. Words are answered in any case."),
    key("cnxTimeout", "ms", "5000", "How long dialling for an election may take."),
    key("tcpKeepAlive", "true or false", "false", "Keep-alive of TCP on the connections of elections."),
    none("syncEnabled", "Whether observers keep their data on disk; here they do."),
    none("observerMasterPort", "Where followers serve observers; here the leader does."),
    key("connectToLearnerMasterLimit", "ticks", "0", "How long a learner may take to connect to its leader; 0 is initLimit."),
    none("multiAddress.enabled", "Several addresses for each server: one is taken."),
    none("quorum.cnxn.threads.size", "Threads of Java's connections between servers."),
    // Of ZooKeeper, and without a counterpart: how it is built, and what it tells of itself.
    none("observer.syncEnabled", "As syncEnabled: Java's name of the property."),
    none("admin.httpVersion", "Its version of HTTP, as 11 or 20."),
    refused("admin.portUnification", Off::False, NO_HTTPS, "Whether its port takes TLS and plain text."),
    refused("admin.forceHttps", Off::False, NO_HTTPS, "Whether its port takes TLS alone."),
    refused("admin.needClientAuth", Off::False, NO_X509, "Whether its clients need certificates."),
    refused("metricsProvider.httpsPort", Off::Classes(&["-1", ""]), NO_HTTPS, "The port of the exporter for TLS."),
    none("metricsProvider.prometheusMetricsSummaryRotateIntervalSeconds", "Over how long the exporter's quantiles go."),
    none("metricsProvider.numWorkerThreads", "Threads of the exporter."),
    none("metricsProvider.maxQueueSize", "What may wait for the exporter's threads."),
    none("metricsProvider.workerShutdownTimeoutMs", "How long the exporter's threads may take to end."),
    refused("metricsProvider.ssl.*", Off::Any, NO_HTTPS, "TLS of the exporter; read if metricsProvider.httpsPort is written."),
    none("metricsProvider.*", "Whatever else the class that exports metrics takes."),
    none("intBufferStartingSizeBytes", "How large Java's buffers for records begin."),
    none("watchManagerName", "How Java holds watches; here there is one way."),
    none("watcherCleanThreadsNum", "Threads that remove watches of closed connections in Java's WatchManagerOptimized."),
    none("watcherCleanThreshold", "From how many closed connections on they do."),
    none("watcherCleanIntervalInSeconds", "How often they do at least."),
    none("maxInProcessingDeadWatchers", "How many closed connections may wait for them."),
    none("bitHashCacheSize", "How many watchers of a node are held in a second way, too."),
    key("closeSessionTxn.enabled", "true or false", "true", "Whether the end of a session names its ephemeral nodes in the log, as servers before 3.6 do not; every server finds them by itself."),
    none("maxWriteQueuePollTime", "How long a sync waits for one more write; see flushDelay."),
    key("request_throttle_max_requests", "requests", "0", "How many requests of clients may wait for their answers; more wait in line, whoever sent them. 0 is any number."),
    key("request_throttle_stall_time", "ms", "100", "How long a request waits in line before it is looked at again in any case."),
    key("request_throttle_drop_stale", "true or false", "true", "Whether requests in line are dropped, and their connections closed, that nobody waits for any more."),
    key("request_stale_connection_check", "true or false", "true", "Whether those of a closed connection are such."),
    key("request_stale_latency_check", "true or false", "false", "Whether those are such that have waited for longer than their session lives."),
    none("request_throttler.shutdownTimeout", "How long a server that stops waits for them."),
    key("throttled_op_wait_time", "ms", "0", "A request that waited in line for longer is not carried out: ThrottledOp. 0 is never."),
    key("largeRequestThreshold", "bytes", "-1", "A longer request is a large one; -1 is none."),
    key("largeRequestMaxBytes", "bytes", "104857600", "What large requests may hold together until they are answered; whoever sends one more loses its connection."),
    key("connection_throttle_tokens", "connections", "0", "How many clients may attach at once; more lose their connections. 0 is any number."),
    key("connection_throttle_fill_time", "ms", "1", "How often more may."),
    key("connection_throttle_fill_count", "connections", "1", "How many more."),
    key("connection_throttle_freeze_time", "ms", "-1", "How often the share of clients changes that are turned away by chance before; -1 is none."),
    key("connection_throttle_drop_increase", "share", "0.02", "By how much it grows while there is no room."),
    key("connection_throttle_drop_decrease", "share", "0.002", "By how much it shrinks while there is."),
    key("connection_throttle_decrease_ratio", "share", "0", "How much of the room may be taken for it to shrink."),
    key("connection_throttle_weight_enabled", "true or false", "false", "Whether sessions weigh differently in this."),
    key("connection_throttle_global_session_weight", "tokens", "3", "What a new session weighs."),
    key("connection_throttle_renew_session_weight", "tokens", "2", "What a session weighs that comes back."),
    key("connection_throttle_local_session_weight", "tokens", "1", "What a new local session weighs."),
    none("enableEagerACLCheck", "Check ACLs where a client is connected, before a write goes to the leader; they are checked at the leader all the same."),
    none("nio.directBufferBytes", "Buffers of Java's connections."),
    none("nio.shutdownTimeout", "How long Java waits for its connections' threads."),
    none("netty.advancedFlowControl.enabled", "How Java's other connections (Netty) are held up; here they always are."),
    none("netty.server.earlyDropSecureConnectionHandshakes", "Whether Netty drops connections before their handshake while the server does not serve."),
    none("commitProcessor.maxReadBatchSize", "How many reads Java answers before it looks for commits."),
    none("commitProcessor.maxCommitBatchSize", "How many commits Java takes before it looks for reads."),
    none("commitProcessor.shutdownTimeout", "How long Java waits for these threads."),
    none("pathStats.enabled", "Count requests by path, and tell the most frequent in the log."),
    none("pathStats.slotCapacity", "Over how many slots of time."),
    none("pathStats.slotDuration", "How long a slot is."),
    none("pathStats.maxDepth", "How many names of a path count."),
    none("pathStats.sampleRate", "Which share of requests is counted."),
    none("pathStats.initialDelay", "When they are told first."),
    none("pathStats.delay", "How often they are told."),
    none("pathStats.topPathMax", "How many paths are told."),
    none("messageTracker.Enabled", "Keep the last packets between servers, for the log when a connection ends."),
    none("messageTracker.BufferSize", "How many of them."),
    none("jvm.pause.monitor", "Tell when the Java virtual machine stood still: there is none."),
    none("jvm.pause.sleep.time.ms", "How often it looks."),
    none("jvm.pause.warn-threshold.ms", "From when it warns."),
    none("jvm.pause.info-threshold.ms", "From when it tells."),
    none("log.dir", "Where Java's log goes; here it goes to standard error, and ZABRA_LOG says what of it."),
    none("log.file", "Its file."),
    none("root.logger", "What Java's log says, and where; see log.dir."),
    none("console.threshold", "What of it goes to the console."),
    none("jmx.log4j.disable", "Whether Java's log may be changed by JMX: there is none."),
    none("multiAddress.reachabilityCheckEnabled", "Whether it is tried which of several addresses answers."),
    none("multiAddress.reachabilityCheckTimeoutMs", "How long that is tried."),
    none("oraclePath", "A file that lets one of two voters decide alone; here a majority always decides."),
    key("quorumCnxnTimeoutMs", "ms", "-1", "How long a server that dials for an election may take to say who it is; -1 is 10 s."),
    key("fastleader.minNotificationInterval", "ms", "200", "When a vote is sent again first; then the pause doubles."),
    key("fastleader.maxNotificationInterval", "ms", "60000", "How long the pauses between votes become at most."),
    none("leader.maxTimeToWaitForEpoch", "How long a leader to be waits for its quorum; here initLimit."),
    key("leader.maxConcurrentSnapSyncs", "learners", "10", "While the leader brings up so many learners by a snapshot, an observer that needs one is sent away, and comes again; followers are not."),
    key("leader.maxConcurrentDiffSyncs", "learners", "100", "The same for learners that get what they lack from the log."),
    none("leader.closeSocketAsync", "Whether Java's leader goes on while a connection closes; here it always does."),
    none("learner.closeSocketAsync", "Whether Java's learner goes on while a connection closes; here it always does."),
    none("learner.asyncSending", "Whether Java's learner goes on while it sends; here it always does."),
    none("leader.ackLoggingFrequency", "Of how many acks one is measured."),
    none("leader.nodelay", "Whether the leader sends at once (TCP_NODELAY); here it always does."),
    none("follower.nodelay", "Whether a learner sends at once (TCP_NODELAY); here it always does."),
    key("leaderConnectDelayDuringRetryMs", "ms", "100", "The pause between two tries to connect to the leader; the first ones follow at once."),
    none("forward_learner_requests_to_commit_processor_disabled", "Whether Java's leader queues learners' requests a second time."),
    none("follower.skipLearnerRequestToNextProcessor", "The same in an observer master."),
    none("observer.reconnectDelayMs", "How long an observer waits before it looks for the leader again."),
    none("observer.election.DelayMs", "How long an observer waits before it asks who leads."),
    none("observerMaster.sizeLimit", "What a follower keeps for its observers; see observerMasterPort."),
    none("forceSnapshotSync", "Send a snapshot always: for tests of Java."),
    none("server.realm", "The realm of Kerberos in the names of servers; a property of clients, which Java does not take as a line of zoo.cfg."),
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
    near(key).map(|(_, row)| row)
}

fn near(key: &str) -> Option<(usize, &'static Key)> {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key).to_lowercase();
    // As in the row of authProvider.N.
    let numbered = match key.rsplit_once('.') {
        Some((begin, n)) if n.parse::<u64>().is_ok() => format!("{begin}.n"),
        _ => key,
    };
    let far = KEYS.iter().map(|row| {
        let name = row.name.to_lowercase();
        let far = match name.strip_suffix('*') {
            Some(begin) if numbered.starts_with(begin) => 0,
            Some(_) => usize::MAX,
            None => distance(&name, &numbered),
        };
        (far, row)
    });
    far.filter(|(far, _)| *far <= 2).min_by_key(|(far, _)| *far)
}

/// Parts of the names of keys that say who may come in and do what, in small letters.
const SECURITY: [&str; 15] = [
    "skipacl",
    "audit",
    "auth",
    "certreload",
    "fips",
    "jaas",
    "kerberos",
    "membersonly",
    "portunification",
    "sasl",
    "secure",
    "ssl",
    "superdigest",
    "superuser",
    "x509",
];

/// The key about who may come in and do what that was most likely meant by one that nobody knows. Such a key is not only told: a
/// server without what it asks for would be weaker than its operator believes. Short names have to be equal but for their case.
#[must_use]
pub fn near_security(key: &str) -> Option<&'static Key> {
    let (far, row) = near(key)?;
    let name = row.name.to_lowercase();
    let is_security = SECURITY.iter().any(|part| name.contains(part));
    let is_near = far == 0 || name.len() >= 8;
    (is_security && is_near).then_some(row)
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
    use crate::config::documented::{DOCUMENTED, Documented, documented};
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
            "X509*" => ("X509AuthenticationProvider.other", "x"),
            "quorum.auth.*" => ("quorum.auth.other", "x"),
            "authProvider.*" => ("authProvider.sasl", "x"),
            "DigestAuthenticationProvider.*" => ("DigestAuthenticationProvider.other", "x"),
            "IPAuthenticationProvider.*" => ("IPAuthenticationProvider.other", "x"),
            "SASLAuthenticationProvider.*" => ("SASLAuthenticationProvider.other", "x"),
            "enforce.auth.*" => ("enforce.auth.sasl", "x"),
            "superUser*" => ("superUser.2", "x"),
            "sasl.*" => ("sasl.other", "x"),
            "jaasLoginRenew*" => ("jaasLoginRenewJitter", "x"),
            "kerberos.*" => ("kerberos.other", "x"),
            "metricsProvider.ssl.*" => ("metricsProvider.ssl.other", "x"),
            "metricsProvider.*" => ("metricsProvider.other", "x"),
            "electionAlg" => (key.name, "3"),
            "peerType" => (key.name, "observer"),
            "ssl.clientAuth" | "ssl.quorum.clientAuth" => (key.name, "want"),
            "ssl.authProvider" => (key.name, "x509"),
            "ssl.protocol"
            | "ssl.enabledProtocols"
            | "ssl.quorum.protocol"
            | "ssl.quorum.enabledProtocols" => (key.name, "TLSv1.3"),
            "ssl.keyStore.type" | "ssl.trustStore.type" => (key.name, "PEM"),
            "snapshot.compression.method" => (key.name, "gz"),
            "skipACL" | "leaderServes" | "forceSync" => (key.name, "yes"),
            "metricsProvider.className" => (
                key.name,
                "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
            ),
            "admin.commandURL" => (key.name, "/zk"),
            "DigestAuthenticationProvider.digestAlg" => (key.name, "SHA-256"),
            name => (
                name,
                match key.unit {
                    "directory" | "file" | "host" | "words" | "USER:HASH" | "password"
                    | "suites" | "subject" => "x",
                    "bytes" => "2097152",
                    "share" => "0.5",
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

    /// C-30.
    #[test]
    fn c_30_a_key_near_to_one_of_security_refuses_the_start() {
        for (key, meant) in [
            ("sslquorum", "sslQuorum"),
            ("zookeeper.SSLQuorum", "sslQuorum"),
            ("secureClientport", "secureClientPort"),
            ("quorum.auth.enableSASL", "quorum.auth.enableSasl"),
            ("authprovider.1", "authProvider.N"),
            ("SSL.keystore.password", "ssl.*"),
            (
                "sessionRequireClientSASLauth",
                "sessionRequireClientSASLAuth",
            ),
            (
                "digestAuthenticationProvider.enabled",
                "DigestAuthenticationProvider.enabled",
            ),
            ("zabra.quorumFromMemberOnly", "zabra.quorumFromMembersOnly"),
            ("skipAcl", "skipACL"),
        ] {
            let found = near_security(key).map(|row| row.name);
            assert!(
                found == Some(meant) || (found.is_some() && meant == "ssl.*"),
                "{key}: {found:?}"
            );
            let refusal = match parse(&format!("tickTime=5\n{key}=true")) {
                Err((line, what)) if what.contains("is no key") => Some(line),
                Err(_) => None,
                // A row that ends in * has it.
                Ok(lines) => lines.unsupported.first().map(|(line, _)| *line),
            };
            assert_eq!(refusal, Some(2), "{key}");
        }
        // Near to others, or to none: told, and no more.
        for key in [
            "ticktime",
            "snapCuont",
            "init",
            "secure",
            "authorizer.class.name",
        ] {
            assert_eq!(
                parse(&format!("{key}=5")).map(|lines| lines.unused.len()),
                Ok(1),
                "{key}"
            );
        }
    }

    /// Every row says what it is for, what its values are, its default and since when; so does every key of ZooKeeper, and by a row of
    /// its own where there is one.
    #[cfg(feature = "runtime")]
    #[test]
    fn what_is_explained_is_whole() {
        for row in KEYS {
            let said = crate::config::tell::explain(row.name).unwrap();
            for begin in ["  here:    ", "  values:  ", "  default: ", "  since:   "] {
                let mut lines = said.lines().filter_map(|line| line.strip_prefix(begin));
                let rest = lines.next().unwrap_or_default();
                assert!(!rest.trim().is_empty(), "{begin}: {said}");
            }
            assert!(
                said.starts_with(row.name) && row.about.ends_with('.'),
                "{said}"
            );
            // What has no effect is explained by what ZooKeeper says of it.
            let known = documented(row.name);
            let is_whole =
                |known: &Documented| row.state == State::Honoured || !known.unit.is_empty();
            let is_known = known.as_ref().is_some_and(is_whole) || row.name.starts_with("zabra.");
            assert!(is_known, "documented.rs lacks {}", row.name);
        }
        for (name, ..) in DOCUMENTED {
            assert!(
                find(name).is_some_and(|row| row.name == *name || row.name.ends_with('*')),
                "{name}"
            );
        }
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
