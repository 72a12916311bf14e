//! The configuration: ZooKeeper's own `zoo.cfg` and `myid`, read as they are.

pub mod access;
pub mod check;
pub mod documented;
pub mod file;
pub mod jaas;
pub mod keys;
pub mod net;
pub mod operation;
mod own;
pub mod ports;
pub mod quorum_sasl;
pub mod quorum_tls;
pub mod security;
pub mod settings;
pub mod store;
#[cfg(feature = "runtime")]
pub mod tell;
pub mod throttle;
pub mod tls;
mod values;

use crate::limits::FRAME_BYTES_DEFAULT;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::quorum::{Group, Voters};
use zabra_model::service::local::LocalRules;
use zabra_model::service::members::{Lists, Members};
use zabra_model::service::sweep::SweepRules;
use zabra_model::step::SyncLimits;

pub use zabra_model::service::members::{Listen, Member, MemberRole, join};

/// Why a configuration is refused; every message says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{path}:{line}: {what}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// The lines do not fit together.
    #[error("{path}: {what}")]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        what: String,
    },
}

/// Where a setting stands that is no line of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `-DNAME=VALUE` behind `zabra serve`.
    Argument,
    /// `-DNAME=VALUE` in this variable of the environment.
    Flags(&'static str),
    /// The value of this variable of the environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argument => "arguments",
            Self::Flags(name) => name,
            Self::Variable(name) => name,
        })
    }
}

/// A setting that was not used, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// The number of its line, from 1.
    pub line: usize,
    /// Its key.
    pub key: String,
    /// Where it stands, if it is no line of the file.
    pub from: Option<Place>,
}

/// Which four-letter words are answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whitelist {
    /// All of them.
    All,
    /// These.
    Words(Vec<String>),
}

impl Whitelist {
    /// The words that are answered. Clients that look for a server that may be written ask `isro`.
    fn of(listed: Option<Self>, read_only_mode: bool) -> Self {
        let mut all = listed.unwrap_or_else(|| Self::Words(vec!["srvr".into()]));
        if let Self::Words(words) = &mut all
            && read_only_mode
            && !words.iter().any(|word| word == "isro")
        {
            words.push("isro".into());
        }
        all
    }

    /// Whether `word` is answered.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        match self {
            Self::All => true,
            Self::Words(words) => words.iter().any(|w| w == word),
        }
    }
}

/// The log of who changed what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// The file that it is appended to; `None` is standard error.
    pub file: Option<PathBuf>,
    /// The user whose process this is: who does what the server does by itself.
    pub user: Box<str>,
}

/// Everything that a server needs to know before it starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// Length of a tick: the unit of all other limits.
    pub tick_ms: u64,
    /// Ticks that a learner may take to connect and to get the history.
    pub init_limit: u32,
    /// Ticks of silence between leader and learner.
    pub sync_limit: u32,
    /// Snapshots, epochs, myid.
    pub data_dir: PathBuf,
    /// Transaction logs.
    pub data_log_dir: PathBuf,
    /// Where clients come in that speak plain text; `None` where there is a port with TLS alone.
    pub client: Option<Listen>,
    /// TLS for clients.
    pub tls: Option<tls::Tls>,
    /// TLS between the servers.
    pub quorum_tls: Option<quorum_tls::QuorumTls>,
    /// SASL between the servers.
    pub quorum_sasl: Option<quorum_sasl::QuorumSasl>,
    /// This server; 1 where there is only one.
    pub me: ServerId,
    /// The members; empty for a server on its own.
    pub members: BTreeMap<ServerId, Member>,
    /// The version of that list: the number at the end of the name of the file of members, else zero.
    pub members_version: Zxid,
    /// This server's own line, where it is one of several: where it listens.
    pub own: Option<Member>,
    /// Who has a vote, and which of them decide together.
    pub voters: Voters,
    /// The `group.N` lines.
    pub groups: Vec<Group>,
    /// The `weight.N` lines.
    pub weights: BTreeMap<ServerId, u32>,
    /// Least timeout of a session.
    pub min_session_ms: i32,
    /// Greatest timeout of a session.
    pub max_session_ms: i32,
    /// Connections from one address; 0 is no limit.
    pub max_client_cnxns: usize,
    /// Connections in all; 0 is no limit but that of open files.
    pub max_cnxns: usize,
    /// Answers that clients may leave unread, all together, bytes; `None` is a share of the memory.
    pub unread_bytes_max: Option<usize>,
    /// Requests that may wait for their answers, all together, bytes; `None` is a share of the memory.
    pub waiting_bytes_max: Option<usize>,
    /// How the digest scheme hashes passwords; `None`: it is off.
    pub digest: Option<DigestHash>,
    /// Transactions between two snapshots.
    pub snap_count: u64,
    /// Bytes of transactions between two snapshots; `None` is no limit.
    pub snap_bytes: Option<u64>,
    /// How far log files are extended at once, bytes.
    pub prealloc_bytes: u64,
    /// Snapshots to keep when old ones are purged.
    pub purge_retain: usize,
    /// Milliseconds between two purges; 0 is never.
    pub purge_interval_ms: u64,
    /// Answered four-letter words.
    pub whitelist: Whitelist,
    /// Whether clients may change the members while the servers run.
    pub reconfig_enabled: bool,
    /// Whether a single member is a server on its own.
    pub standalone_enabled: bool,
    /// Greatest frame of a client, bytes.
    pub frame_bytes_max: usize,
    /// What watches of all clients may hold, bytes; `None` is by the machine.
    pub watch_bytes_max: Option<usize>,
    /// How many requests and connections there may be at a time.
    pub throttle: throttle::Throttle,
    /// How connections are made and kept.
    pub net: net::Net,
    /// How logs and snapshots are written.
    pub store: store::Store,
    /// Greatest transaction, and greatest packet between servers, bytes.
    pub entry_bytes_max: usize,
    /// Tries to listen on the election port; 0 is for ever.
    pub election_bind_retry: u32,
    /// Whether the quorum and election ports are opened on every address.
    pub listen_on_all: bool,
    /// Whether these two ports are closed to addresses that are no member's.
    pub from_members_only: bool,
    /// What may wait to be committed, bytes; then clients are not read on.
    pub outstanding_bytes: usize,
    /// Whether the flight recorder runs.
    pub records_flight: bool,
    /// Who a client has to be before anything else is taken from it.
    pub access: access::Access,
    /// Who passes every check of an ACL.
    pub super_digest: Option<SuperDigest>,
    /// Whether nodes with a time to live may be made.
    pub extended_types: bool,
    /// Whether quotas refuse what is over them.
    pub enforce_quota: bool,
    /// The log of who changed what, if there is to be one.
    pub audit: Option<Audit>,
    /// Whether clients that accept it may read where there is no leader.
    pub read_only_mode: bool,
    /// Whether new sessions are known to their server alone.
    pub local_sessions: LocalRules,
    /// When empty containers and expired nodes are deleted.
    pub sweep: SweepRules,
    /// Whether transaction logs without a snapshot are accepted.
    pub trust_empty: bool,
    /// Whether a voter may start without data, and vote, where no file `initialize` says so.
    pub db_autocreate: bool,
    /// Whether missing directories are made.
    pub datadir_autocreate: bool,
    /// What operators and their tools look at.
    pub operation: operation::Operation,
    /// All settings that count.
    pub said: Said,
    /// Settings that have no effect here, or were not understood.
    pub unused: Vec<Unused>,
    /// What else to log: which of several settings of a key counts.
    pub notes: Vec<String>,
}

/// The settings that count, as they were said; in place of a secret there is `(hidden)`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Said(pub Vec<(String, String)>);

impl fmt::Debug for Said {
    /// Without the settings: the rest of the configuration is what they mean.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said(..)")
    }
}

impl Said {
    fn of<'s>(settings: impl Iterator<Item = (&'s str, &'s str)>) -> Self {
        let shown = |(key, value): (&str, &str)| {
            let value = if is_secret(key) { "(hidden)" } else { value };
            (key.to_owned(), value.to_owned())
        };
        Self(settings.map(shown).collect())
    }
}

/// Whether the value of a key is shown to nobody.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key.contains("password") || key.contains("passwd") || key.contains("superdigest")
}

/// How the digest scheme hashes passwords (`DigestAuthenticationProvider.digestAlg`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestHash {
    /// The default.
    Sha1,
    /// `SHA-224`.
    Sha224,
    /// `SHA-256`.
    Sha256,
    /// `SHA-384`.
    Sha384,
    /// `SHA-512`.
    Sha512,
    /// `SHA-512/224`.
    Sha512By224,
    /// `SHA-512/256`.
    Sha512By256,
    /// `SHA3-224`.
    Sha3By224,
    /// `SHA3-256`.
    Sha3By256,
    /// `SHA3-384`.
    Sha3By384,
    /// `SHA3-512`.
    Sha3By512,
    /// `MD5`, which Java has, too: whoever has stored ACLs by it keeps them.
    Md5,
}

/// The digest identity, `USER:BASE64(HASH("USER:PASSWORD"))`, whose holder is the super user.
#[derive(Clone, PartialEq, Eq)]
pub struct SuperDigest(pub Box<str>);

impl std::fmt::Debug for SuperDigest {
    /// Without the digest: a short password can be found from it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SuperDigest(..)")
    }
}

impl Config {
    /// Whether somebody can have proved to be the super user of this ensemble.
    #[must_use]
    pub fn knows_super_user(&self) -> bool {
        let of_sasl = self.access.sasl.as_ref();
        let of_tls = self.tls.as_ref();
        self.super_digest.is_some()
            || of_sasl.is_some_and(|sasl| !sasl.super_users.is_empty())
            || of_tls.is_some_and(|tls| tls.knows_super_user())
    }

    /// The settings, and what holds where nothing is said, by key.
    pub fn effective(&self) -> impl Iterator<Item = (String, String)> {
        let rows = keys::KEYS.iter().filter(|row| {
            row.state == keys::State::Honoured
                && !row.default.is_empty()
                && !row.name.ends_with(".N")
        });
        let defaults = rows.map(|row| (row.name.to_owned(), row.default.to_owned()));
        let mut all: BTreeMap<_, _> = defaults.collect();
        all.extend(self.said.0.iter().cloned());
        all.into_iter()
    }

    /// A bound of what is held, with room for two of the longest requests where `jute.maxbuffer` is above its default.
    #[must_use]
    pub const fn beside_large(&self, bytes: usize) -> usize {
        let beyond = self.frame_bytes_max.saturating_sub(FRAME_BYTES_DEFAULT);
        bytes.saturating_add(2 * beyond)
    }

    /// Whether this server is one of several.
    #[must_use]
    pub fn is_ensemble(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether this server is a member without a vote.
    #[must_use]
    pub fn is_observer(&self) -> bool {
        let own = self.members.get(&self.me);
        own.is_some_and(|m| m.role == MemberRole::Observer)
    }

    /// The list of members.
    #[must_use]
    pub fn lists(&self) -> Lists {
        Lists::of(Members {
            version: self.members_version,
            list: self.members.clone(),
            groups: self.groups.clone(),
            weights: self.weights.clone(),
            voters: self.voters.clone(),
        })
    }

    /// Takes a newer list in place of that of the file. Where it is as old, the file may have given members that vote as before new
    /// addresses, and counts; whether the list was taken.
    pub fn take_members(&mut self, members: Members) -> bool {
        let is_same = members.version == self.members_version && members.voters == self.voters;
        if members.version < self.members_version || is_same || !self.is_ensemble() {
            return false;
        }
        self.members_version = members.version;
        self.own = members.list.get(&self.me).cloned().or(self.own.take());
        self.members = members.list;
        self.groups = members.groups;
        self.weights = members.weights;
        self.voters = members.voters;
        true
    }

    /// How long a learner may take to connect and to get the history, ms.
    #[must_use]
    pub fn init_ms(&self) -> u64 {
        self.tick_ms.saturating_mul(u64::from(self.init_limit))
    }

    /// How long a learner may take to connect to its leader, ms.
    #[must_use]
    pub fn connect_ms(&self) -> u64 {
        self.net.connect_ms(self.tick_ms, self.init_limit)
    }

    /// How learners are brought up; how far back the log is read for them is known when it is.
    #[must_use]
    pub const fn sync_limits(&self) -> SyncLimits {
        let (snaps_max, diffs_max) = self.net.syncs_max;
        SyncLimits {
            snaps_max,
            diffs_max,
            ..SyncLimits::NONE
        }
    }

    /// How long leader and learner may be silent, ms.
    #[must_use]
    pub fn sync_ms(&self) -> u64 {
        self.tick_ms.saturating_mul(u64::from(self.sync_limit))
    }

    /// The members as the configuration node, notifications and NEWLEADER say them, without a last newline.
    #[must_use]
    pub fn members_text(&self) -> String {
        self.lists().active.text()
    }
}
