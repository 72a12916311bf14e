//! `zabra container`: the entry of an image. A `zoo.cfg` and a `myid` from the variables that the popular images of ZooKeeper take, and then a
//! server with them.
//!
//! Two families of names are understood, each with its form of `ZOO_SERVERS`: those of the image `zookeeper` (`ZOO_MY_ID`, `ZOO_SERVERS` of
//! `server.N=` entries, `ZOO_CFG_EXTRA`), and those of Bitnami's, which is not published any more (`ZOO_SERVER_ID`, `ZOO_SERVERS` of
//! `HOST:PORT:PORT[::ID]`). Where both name one setting, that of the first family counts. A file that is there is used as it is, and a `myid`
//! that is there stays. What asks for security that these variables cannot give refuses
//! the start (D-122).

use crate::config::ConfigError;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where an image of the first family keeps things, and of the second.
const CONF: &str = "/conf";
const DATA: &str = "/data";
const DATA_LOG: &str = "/datalog";
const BITNAMI_DATA: &str = "/bitnami/zookeeper/data";

/// A variable that is one line, with the key, and what holds where it is not set.
struct Line {
    /// The first one that is set counts.
    variables: &'static [&'static str],
    key: &'static str,
    default: Option<&'static str>,
}

const fn line(
    variables: &'static [&'static str],
    key: &'static str,
    default: Option<&'static str>,
) -> Line {
    Line {
        variables,
        key,
        default,
    }
}

/// What becomes of variables with one value. The defaults are those of the first family's image.
#[rustfmt::skip]
const LINES: &[Line] = &[
    line(&["ZOO_TICK_TIME"], "tickTime", Some("2000")),
    line(&["ZOO_INIT_LIMIT"], "initLimit", Some("5")),
    line(&["ZOO_SYNC_LIMIT"], "syncLimit", Some("2")),
    line(&["ZOO_AUTOPURGE_PURGEINTERVAL", "ZOO_AUTOPURGE_INTERVAL"], "autopurge.purgeInterval", Some("0")),
    line(&["ZOO_AUTOPURGE_SNAPRETAINCOUNT", "ZOO_AUTOPURGE_RETAIN_COUNT"], "autopurge.snapRetainCount", Some("3")),
    line(&["ZOO_MAX_CLIENT_CNXNS"], "maxClientCnxns", Some("60")),
    line(&["ZOO_MAX_CNXNS"], "maxCnxns", None),
    line(&["ZOO_STANDALONE_ENABLED"], "standaloneEnabled", Some("true")),
    line(&["ZOO_RECONFIG_ENABLED"], "reconfigEnabled", None),
    line(&["ZOO_ADMINSERVER_ENABLED", "ZOO_ENABLE_ADMIN_SERVER"], "admin.enableServer", Some("true")),
    line(&["ZOO_ADMIN_SERVER_PORT_NUMBER"], "admin.serverPort", None),
    line(&["ZOO_4LW_COMMANDS_WHITELIST"], "4lw.commands.whitelist", None),
    line(&["ZOO_LISTEN_ALLIPS_ENABLED"], "quorumListenOnAllIPs", None),
    line(&["ZOO_PRE_ALLOC_SIZE"], "preAllocSize", None),
    line(&["ZOO_SNAPCOUNT"], "snapCount", None),
    line(&["ZOO_PEER_TYPE"], "peerType", None),
    line(&["ZOO_TLS_CLIENT_KEYSTORE_FILE"], "ssl.keyStore.location", None),
    line(&["ZOO_TLS_CLIENT_KEYSTORE_PASSWORD"], "ssl.keyStore.password", None),
    line(&["ZOO_TLS_CLIENT_TRUSTSTORE_FILE"], "ssl.trustStore.location", None),
    line(&["ZOO_TLS_CLIENT_TRUSTSTORE_PASSWORD"], "ssl.trustStore.password", None),
    line(&["ZOO_TLS_CLIENT_AUTH"], "ssl.clientAuth", None),
    line(&["ZOO_TLS_QUORUM_ENABLE"], "sslQuorum", None),
    line(&["ZOO_TLS_QUORUM_KEYSTORE_FILE"], "ssl.quorum.keyStore.location", None),
    line(&["ZOO_TLS_QUORUM_KEYSTORE_PASSWORD"], "ssl.quorum.keyStore.password", None),
    line(&["ZOO_TLS_QUORUM_TRUSTSTORE_FILE"], "ssl.quorum.trustStore.location", None),
    line(&["ZOO_TLS_QUORUM_TRUSTSTORE_PASSWORD"], "ssl.quorum.trustStore.password", None),
    line(&["ZOO_TLS_QUORUM_CLIENT_AUTH"], "ssl.quorum.clientAuth", None),
];

/// Variables that are read below.
const MORE: &[&str] = &[
    "ZOO_MY_ID",
    "ZOO_SERVER_ID",
    "ZOO_SERVERS",
    "ZOO_CFG_EXTRA",
    "ZOO_CONF_DIR",
    "ZOO_CONF_FILE",
    "ZOO_DATA_DIR",
    "ZOO_DATA_LOG_DIR",
    "ZOO_PORT_NUMBER",
    "ZOO_ENABLE_PROMETHEUS_METRICS",
    "ZOO_PROMETHEUS_METRICS_PORT_NUMBER",
    "ZOO_TLS_CLIENT_ENABLE",
    "ZOO_TLS_PORT_NUMBER",
    "ZOO_DATADIR_AUTOCREATE_DISABLE",
    "ALLOW_ANONYMOUS_LOGIN",
];

/// Variables about a Java virtual machine, its user or its log, which change nothing here.
const OF_JAVA: &[&str] = &[
    "ZOO_HEAP_SIZE",
    "ZOO_LOG_DIR",
    "ZOO_LOG_LEVEL",
    "ZOO_LOG4J_PROP",
    "ZOO_BASE_DIR",
    "ZOO_VOLUME_DIR",
    "ZOO_BIN_DIR",
    "ZOO_DAEMON_USER",
    "ZOO_DAEMON_GROUP",
    "ZOO_PID_FILE",
    "ZOO_NOEXEC",
    "ZOOPIDFILE",
];

/// Variables that ask for who may come in, by user names and passwords that have to stand in a JAAS file here.
const OF_SECURITY: &[&str] = &[
    "ZOO_ENABLE_AUTH",
    "ZOO_ENABLE_QUORUM_AUTH",
    "ZOO_CLIENT_USER",
    "ZOO_CLIENT_PASSWORD",
    "ZOO_SERVER_USERS",
    "ZOO_SERVER_PASSWORDS",
    "ZOO_QUORUM_LEARNER_USER",
    "ZOO_QUORUM_LEARNER_PASSWORD",
    "ZOO_QUORUM_SERVER_USERS",
    "ZOO_QUORUM_SERVER_PASSWORDS",
];

/// What the variables say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The configuration file.
    pub file: PathBuf,
    /// What it holds, where it is not there yet.
    pub text: String,
    /// dataDir and dataLogDir.
    pub dirs: [PathBuf; 2],
    /// What `myid` says, where it is not there yet.
    pub id: String,
    /// What an operator hears.
    pub notes: Vec<String>,
}

/// Variables by their names; empty ones are as if they were not set, as in the images' scripts.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    fn path(&self, name: &str, default: &str) -> PathBuf {
        self.get(name).unwrap_or(default).into()
    }

    fn is_on(&self, name: &str) -> Result<bool, ConfigError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "off" | "0") => Ok(false),
            Some("true" | "yes" | "on" | "1") => Ok(true),
            Some(_) => Err(wrong(name, "is neither yes nor no")),
        }
    }
}

fn wrong(name: &str, what: impl std::fmt::Display) -> ConfigError {
    ConfigError::Whole {
        path: "environment".into(),
        what: format!("{name} {what}"),
    }
}

/// What the environment asks for; nothing is changed.
///
/// # Errors
/// [`ConfigError::Whole`], which names the variable.
pub fn plan(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Plan, ConfigError> {
    let set = environment.into_iter().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        (!value.is_empty()).then_some((name, value))
    });
    let mut variables = Variables(set.collect());
    let mut notes = Vec::new();
    secrets_of_files(&mut variables)?;
    refuse_logins(&variables)?;
    let is_bitnami = variables.get("ZOO_MY_ID").is_none()
        && variables
            .first(&["ZOO_SERVER_ID", "ALLOW_ANONYMOUS_LOGIN"])
            .is_some();
    let (data, data_log) = if is_bitnami {
        let data = variables.path("ZOO_DATA_DIR", BITNAMI_DATA);
        let log = variables.get("ZOO_DATA_LOG_DIR").map(PathBuf::from);
        (data.clone(), log.unwrap_or(data))
    } else {
        (
            variables.path("ZOO_DATA_DIR", DATA),
            variables.path("ZOO_DATA_LOG_DIR", DATA_LOG),
        )
    };
    let id = id(&variables)?;
    let mut text = format!("dataDir={}\n", data.display());
    if data_log != data {
        text.push_str(&format!("dataLogDir={}\n", data_log.display()));
    }
    text.push_str(&lines(&variables)?);
    text.push_str(&members(&variables, &id, is_bitnami)?);
    for word in variables
        .get("ZOO_CFG_EXTRA")
        .unwrap_or_default()
        .split_whitespace()
    {
        if !word.contains('=') {
            return Err(wrong(
                "ZOO_CFG_EXTRA",
                format_args!("has {word:?}, which is no KEY=VALUE"),
            ));
        }
        text.push_str(word);
        text.push('\n');
    }
    for name in variables.0.keys() {
        if OF_JAVA.contains(&name.as_str()) {
            notes.push(format!(
                "{name} changes nothing: it is about a Java virtual machine, its log or its user"
            ));
        } else if name.starts_with("ZOO_") && !is_known(name) {
            notes.push(format!("{name} is no variable that this entry knows; settings of zoo.cfg go into ZOO_CFG_EXTRA, or into ZABRA_CFG_KEY_NAME"));
        }
    }
    let conf = variables.path("ZOO_CONF_DIR", CONF);
    let file = variables.get("ZOO_CONF_FILE").map(PathBuf::from);
    Ok(Plan {
        file: file.unwrap_or_else(|| conf.join("zoo.cfg")),
        text,
        dirs: [data, data_log],
        id,
        notes,
    })
}

fn is_known(name: &str) -> bool {
    let known = |name: &str| {
        LINES.iter().any(|line| line.variables.contains(&name)) || MORE.contains(&name)
    };
    known(name) || OF_SECURITY.contains(&name) || name.strip_suffix("_FILE").is_some_and(known)
}

/// `NAME_FILE` names the file that holds a password, as secrets are mounted into containers.
fn secrets_of_files(variables: &mut Variables) -> Result<(), ConfigError> {
    let names = LINES.iter().flat_map(|line| line.variables);
    for name in names.filter(|name| name.ends_with("_PASSWORD")) {
        let of_file = format!("{name}_FILE");
        if let Some(file) = variables.get(&of_file) {
            let secret = fs::read_to_string(file)
                .map_err(|e| wrong(&of_file, format_args!("names {file}: {e}")))?;
            let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
            variables.0.insert((*name).to_owned(), secret);
        }
    }
    Ok(())
}

/// Users and passwords in variables would have to become a JAAS file. They are asked for, so a server without them does not start.
fn refuse_logins(variables: &Variables) -> Result<(), ConfigError> {
    for name in OF_SECURITY {
        let asks = match *name {
            "ZOO_ENABLE_AUTH" | "ZOO_ENABLE_QUORUM_AUTH" => variables.is_on(name)?,
            _ => variables.get(name).is_some(),
        };
        if asks {
            let instead = if name.contains("QUORUM") {
                "quorum.auth.enableSasl=true"
            } else {
                "sessionRequireClientSASLAuth=true"
            };
            return Err(wrong(
                name,
                format_args!(
                    "asks for logins, which this entry does not set up: mount a JAAS file, and write ZOO_CFG_EXTRA='java.security.auth.login.config=/conf/jaas.conf {instead}'"
                ),
            ));
        }
    }
    let is_set = variables.get("ALLOW_ANONYMOUS_LOGIN").is_some();
    if is_set && !variables.is_on("ALLOW_ANONYMOUS_LOGIN")? {
        return Err(wrong(
            "ALLOW_ANONYMOUS_LOGIN",
            "is no, and nothing says who may come in instead: mount a JAAS file, and write ZOO_CFG_EXTRA='java.security.auth.login.config=/conf/jaas.conf sessionRequireClientSASLAuth=true'; or say yes",
        ));
    }
    Ok(())
}

/// The number of this server: written, or that behind the last dash of the host's name and one, as a StatefulSet numbers its pods.
fn id(variables: &Variables) -> Result<String, ConfigError> {
    let Some((name, id)) = variables.first(&["ZOO_MY_ID", "ZOO_SERVER_ID"]) else {
        return Ok("1".into());
    };
    let id = if id == "ordinal" {
        let host = variables.get("HOSTNAME").unwrap_or_default();
        let ordinal = host
            .rsplit_once('-')
            .and_then(|(_, n)| n.parse::<u64>().ok());
        let ordinal = ordinal.ok_or_else(|| {
            wrong(name, format_args!("is ordinal, and HOSTNAME, {host:?}, does not end in a dash and a number, as zookeeper-0"))
        })?;
        (ordinal + 1).to_string()
    } else {
        id.to_owned()
    };
    match id.parse::<u64>() {
        Ok(1..=255) => Ok(id),
        _ => Err(wrong(
            name,
            format_args!("is {id:?}; write a number from 1 to 255, or ordinal"),
        )),
    }
}

fn lines(variables: &Variables) -> Result<String, ConfigError> {
    let mut text = String::new();
    for line in LINES {
        let value = variables.first(line.variables).map(|(_, value)| value);
        let Some(value) = value.or(line.default) else {
            continue;
        };
        if value.contains(['\n', '\r']) {
            let name = line.variables.first().copied().unwrap_or_default();
            return Err(wrong(name, "has more than one line"));
        }
        let value = match (line.key, value.to_ascii_lowercase().as_str()) {
            (
                "sslQuorum"
                | "standaloneEnabled"
                | "reconfigEnabled"
                | "admin.enableServer"
                | "quorumListenOnAllIPs",
                "yes",
            ) => "true",
            (
                "sslQuorum"
                | "standaloneEnabled"
                | "reconfigEnabled"
                | "admin.enableServer"
                | "quorumListenOnAllIPs",
                "no",
            ) => "false",
            _ => value,
        };
        text.push_str(&format!("{}={value}\n", line.key));
    }
    if variables.is_on("ZOO_ENABLE_PROMETHEUS_METRICS")? {
        let port = variables
            .get("ZOO_PROMETHEUS_METRICS_PORT_NUMBER")
            .unwrap_or("7000");
        text.push_str("metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n");
        text.push_str(&format!("metricsProvider.httpPort={port}\n"));
    }
    if variables.is_on("ZOO_TLS_CLIENT_ENABLE")? {
        let port = variables.get("ZOO_TLS_PORT_NUMBER").unwrap_or("3181");
        text.push_str(&format!("secureClientPort={port}\n"));
    }
    Ok(text)
}

/// The members, and where clients come in.
fn members(variables: &Variables, id: &str, is_bitnami: bool) -> Result<String, ConfigError> {
    let port = variables.get("ZOO_PORT_NUMBER").unwrap_or("2181");
    let servers = variables.get("ZOO_SERVERS").unwrap_or_default();
    let entries: Vec<_> = servers
        .split([' ', ',', ';'])
        .filter(|entry| !entry.is_empty())
        .collect();
    let is_numbered = entries
        .first()
        .is_some_and(|entry| entry.starts_with("server."));
    if entries.is_empty() && (is_bitnami || variables.get("ZOO_PORT_NUMBER").is_some()) {
        return Ok(format!("clientPort={port}\n"));
    }
    if entries.is_empty() {
        return Ok(format!("server.{id}=localhost:2888:3888;{port}\n"));
    }
    let mut text = String::new();
    if is_numbered {
        // The port of clients stands behind a semicolon of each entry.
        for entry in servers.split_whitespace() {
            text.push_str(entry);
            text.push('\n');
        }
        if !servers.contains(';') {
            text.push_str(&format!("clientPort={port}\n"));
        }
        return Ok(text);
    }
    for (at, entry) in entries.iter().enumerate() {
        let (address, number) = match entry.split_once("::") {
            Some((address, number)) => (address, number.to_owned()),
            None => (*entry, (at + 1).to_string()),
        };
        if address.matches(':').count() < 2 || number.parse::<u8>().is_err() {
            return Err(wrong(
                "ZOO_SERVERS",
                format_args!(
                    "has {entry:?}; write HOST:2888:3888, HOST:2888:3888::ID, or server.ID=HOST:2888:3888;2181"
                ),
            ));
        }
        text.push_str(&format!("server.{number}={address};{port}\n"));
    }
    Ok(text)
}

impl Plan {
    /// Makes what is not there yet: the file, the directories, `myid`.
    ///
    /// # Errors
    /// [`ConfigError::Whole`], with the path.
    pub fn carry_out(&self) -> Result<(), ConfigError> {
        let unwritten = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| ConfigError::Whole {
                path,
                what: format!(
                    "cannot be written: {e}; mount a volume there that this user may write to, or name another place by ZOO_CONF_DIR, ZOO_DATA_DIR and ZOO_DATA_LOG_DIR"
                ),
            }
        };
        for dir in &self.dirs {
            fs::create_dir_all(dir).map_err(unwritten(dir))?;
        }
        if !self.file.exists() {
            if let Some(dir) = self.file.parent() {
                fs::create_dir_all(dir).map_err(unwritten(dir))?;
            }
            // It may hold passwords of key stores.
            let mut file = fs::File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&self.file)
                .map_err(unwritten(&self.file))?;
            file.write_all(self.text.as_bytes())
                .map_err(unwritten(&self.file))?;
        }
        let [data, _] = &self.dirs;
        let myid = data.join("myid");
        if !myid.exists() {
            fs::write(&myid, format!("{}\n", self.id)).map_err(unwritten(&myid))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Plan, String> {
        let variables = variables.iter().map(|(n, v)| (n.into(), v.into()));
        plan(variables).map_err(|e| e.to_string())
    }

    /// The lines that are not those of every container.
    fn own(plan: &Plan) -> Vec<&str> {
        let usual = of(&[]).unwrap().text;
        let usual: Vec<_> = usual.lines().collect();
        plan.text
            .lines()
            .filter(|line| !usual.contains(line))
            .collect()
    }

    #[test]
    fn nothing_set_is_a_server_on_its_own_as_the_official_image_has_it() {
        let plan = of(&[]).unwrap();
        assert_eq!(plan.file, Path::new("/conf/zoo.cfg"));
        assert_eq!(
            plan.text,
            "dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\nsyncLimit=2\nautopurge.purgeInterval=0\nautopurge.snapRetainCount=3\nmaxClientCnxns=60\nstandaloneEnabled=true\nadmin.enableServer=true\nserver.1=localhost:2888:3888;2181\n"
        );
        assert_eq!((&*plan.id, plan.notes.len()), ("1", 0));
    }

    #[test]
    fn the_names_of_the_official_image_are_understood() {
        let plan = of(&[
            ("ZOO_MY_ID", "3"),
            (
                "ZOO_SERVERS",
                "server.1=a:2888:3888;2181 server.3=c:2888:3888;2181",
            ),
            ("ZOO_TICK_TIME", "1000"),
            ("ZOO_4LW_COMMANDS_WHITELIST", "srvr, ruok"),
            (
                "ZOO_CFG_EXTRA",
                "metricsProvider.httpPort=7070 preAllocSize=1024",
            ),
            ("ZOO_LOG4J_PROP", "INFO"),
            ("ZOO_TICKTIME", "1"),
        ])
        .unwrap();
        assert_eq!(
            own(&plan),
            [
                "tickTime=1000",
                "4lw.commands.whitelist=srvr, ruok",
                "server.1=a:2888:3888;2181",
                "server.3=c:2888:3888;2181",
                "metricsProvider.httpPort=7070",
                "preAllocSize=1024",
            ]
        );
        assert_eq!(plan.id, "3");
        assert!(
            plan.notes[0].contains("ZOO_LOG4J_PROP") && plan.notes[1].contains("ZOO_TICKTIME"),
            "{:?}",
            plan.notes
        );
    }

    #[test]
    fn the_names_of_bitnamis_image_are_understood() {
        let plan = of(&[
            ("ZOO_SERVER_ID", "2"),
            ("ALLOW_ANONYMOUS_LOGIN", "yes"),
            (
                "ZOO_SERVERS",
                "a:2888:3888,0.0.0.0:2888:3888,c:2888:3888::7",
            ),
            ("ZOO_PORT_NUMBER", "2182"),
            ("ZOO_AUTOPURGE_INTERVAL", "24"),
            ("ZOO_ENABLE_PROMETHEUS_METRICS", "yes"),
            ("ZOO_ENABLE_ADMIN_SERVER", "no"),
        ])
        .unwrap();
        assert_eq!(
            own(&plan),
            [
                "dataDir=/bitnami/zookeeper/data",
                "autopurge.purgeInterval=24",
                "admin.enableServer=false",
                "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
                "metricsProvider.httpPort=7000",
                "server.1=a:2888:3888;2182",
                "server.2=0.0.0.0:2888:3888;2182",
                "server.7=c:2888:3888;2182",
            ]
        );
        assert_eq!(plan.id, "2");
        let alone = of(&[("ALLOW_ANONYMOUS_LOGIN", "yes")]).unwrap();
        assert_eq!(
            own(&alone),
            ["dataDir=/bitnami/zookeeper/data", "clientPort=2181"]
        );
    }

    #[test]
    fn what_cannot_be_done_refuses_the_start_and_names_the_variable() {
        for (name, value, what) in [
            ("ZOO_MY_ID", "0", "1 to 255"),
            ("ZOO_MY_ID", "ordinal", "HOSTNAME"),
            ("ZOO_CFG_EXTRA", "preAllocSize", "KEY=VALUE"),
            ("ZOO_SERVERS", "a:2888", "HOST:2888:3888"),
            ("ZOO_ENABLE_AUTH", "yes", "JAAS"),
            ("ZOO_SERVER_PASSWORDS", "hush", "JAAS"),
            ("ALLOW_ANONYMOUS_LOGIN", "no", "who may come in"),
            ("ALLOW_ANONYMOUS_LOGIN", "perhaps", "neither yes nor no"),
            ("ZOO_TICK_TIME", "1\nskipACL=yes", "more than one line"),
        ] {
            let error = of(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(what), "{error}");
            assert!(!error.contains("hush"));
        }
        let pod = of(&[("ZOO_MY_ID", "ordinal"), ("HOSTNAME", "zk-2")]).unwrap();
        assert_eq!(pod.id, "3");
    }
}
