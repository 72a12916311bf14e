//! The settings of a start, from wherever they come, and which of several for one key counts.
//!
//! A Java server gets most of them from `zoo.cfg` and the rest as properties of its virtual machine, which ZooKeeper's scripts take
//! from `SERVER_JVMFLAGS` and `JVMFLAGS`. Here every key may come from every place, and Java's order holds: a line of the file
//! counts more than a property, as Java reads the file after its properties are set and makes properties of its lines; of two
//! properties the later one counts, and the scripts put `JVMFLAGS` behind `SERVER_JVMFLAGS`. The keys in `BARE` are the other way
//! round.

use super::file::{Setting as Line, settings};
use super::keys::{KEYS, find};
use super::{ConfigError, Place};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Properties whose names have no `zookeeper.` before them in Java. A line of the file does not become such a property there, so the
/// property counts; the line does what it says where there is none.
const BARE: [&str; 8] = [
    "jute.maxbuffer",
    "readonlymode.enabled",
    "leader.nodelay",
    "follower.nodelay",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
    "java.security.auth.login.config",
];

/// What the names of variables begin with that hold one value each: `ZABRA_CFG_TICK_TIME` is tickTime.
const PREFIX: &str = "ZABRA_CFG_";
/// Variables with flags for a Java virtual machine, the stronger one last.
const FLAGS: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];
/// ZooKeeper's script makes `datadir.autocreate=false` of this variable if it is not empty, before all flags.
const NO_AUTOCREATE: &str = "ZOO_DATADIR_AUTOCREATE_DISABLE";
/// The directory of the configuration file, and its name in there, as ZooKeeper's script takes them.
const CONFIG_FILE: [&str; 2] = ["ZOOCFGDIR", "ZOOCFG"];
/// What ZooKeeper's script does beside the server: this one stays in the foreground and writes its log to standard error.
const OF_SCRIPTS: [&str; 4] = ["ZOO_LOG_DIR", "ZOO_LOG_FILE", "ZOOPIDFILE", "ZOO_NOEXEC"];

/// What is given outside the file. Its values may be secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct Given {
    /// Place, key and value; of two for one key, the later one counts.
    properties: Vec<(Place, String, String)>,
    /// Flags of a Java virtual machine that are no properties of a server, without their values, by variable.
    ignored: Vec<(&'static str, String)>,
    /// Variables of ZooKeeper's script that are set.
    of_scripts: Vec<&'static str>,
}

/// The configuration file that ZooKeeper's script would take without an argument; `None` if neither variable is set.
pub fn file_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let [dir, name] = CONFIG_FILE.map(set);
    match (dir, name) {
        (None, None) => None,
        // A name with a directory of its own stands for itself, as `join` has it for an absolute one.
        (None, Some(name)) => Some(name.into()),
        (Some(dir), name) => {
            Some(PathBuf::from(dir).join(name.unwrap_or_else(|| "zoo.cfg".into())))
        }
    }
}

impl Given {
    /// Reads the arguments `NAME=VALUE` and the environment.
    ///
    /// # Errors
    /// [`ConfigError::Whole`], which names the variable.
    pub fn read(
        arguments: &[String],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let is_ours =
            |name: &str| FLAGS.contains(&name) || name == NO_AUTOCREATE || name.starts_with(PREFIX);
        let mut ours = BTreeMap::new();
        let mut of_scripts = Vec::new();
        for (name, value) in environment {
            of_scripts.extend(OF_SCRIPTS.into_iter().filter(|known| name == *known));
            let Some(name) = name.into_string().ok().filter(|name| is_ours(name)) else {
                continue;
            };
            let value = value.into_string();
            let value = value.map_err(|_| wrong(&name, "is no text in UTF-8; write it anew"))?;
            ours.insert(name, value);
        }
        let mut given = Self {
            of_scripts,
            ..Self::default()
        };
        for (name, value) in &ours {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = key_of(key).ok_or_else(|| {
                let what = "names no key; write ZABRA_CFG_ and a key of zoo.cfg in capitals, with _ where you like, as in ZABRA_CFG_TICK_TIME";
                wrong(name, what)
            })?;
            given.add(Place::Variable(name.clone()), &key, value);
        }
        if ours.get(NO_AUTOCREATE).is_some_and(|v| !v.is_empty()) {
            let place = Place::Variable(NO_AUTOCREATE.into());
            given.add(place, "datadir.autocreate", "false");
        }
        for name in FLAGS {
            given.add_flags(name, ours.get(name).map_or("", String::as_str));
        }
        for argument in arguments {
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            given.add(Place::Argument, key, value);
        }
        Ok(given)
    }

    fn add(&mut self, place: Place, key: &str, value: &str) {
        self.properties.push((place, key.into(), value.into()));
    }

    /// The scripts split the variable at white space, and so cannot have any in a value.
    fn add_flags(&mut self, name: &'static str, flags: &str) {
        let mut ignored = Vec::new();
        for word in flags.split_whitespace() {
            let property = word.strip_prefix("-D");
            match property.map(|p| p.split_once('=').unwrap_or((p, ""))) {
                Some((key, value)) if key.starts_with("zookeeper.") || find(key).is_some() => {
                    self.add(Place::Flags(name), key, value);
                }
                // Without its value, which may be a password.
                _ => ignored.push(word.split_once('=').map_or(word, |(name, _)| name)),
            }
        }
        if !ignored.is_empty() {
            self.ignored.push((name, ignored.join(" ")));
        }
    }

    /// What to log of it: which keys come from where, and which flags have no effect.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let set = self
            .properties
            .iter()
            .map(|(place, key, _)| format!("{place}: {key} is given there"));
        let ignored = self.ignored.iter().map(|(name, flags)| {
            format!("{name}: {flags}: of a Java virtual machine, which is not here; no effect")
        });
        let of_scripts = self.of_scripts.iter().map(|name| {
            format!("{name}: of ZooKeeper's script; this server stays in the foreground, and its log goes to standard error; no effect")
        });
        set.chain(ignored).chain(of_scripts).collect()
    }
}

fn wrong(name: &str, what: &str) -> ConfigError {
    ConfigError::Whole {
        path: name.into(),
        what: what.into(),
    }
}

/// Letters and digits only, all of them small: `ZABRA_CFG_AUTOPURGE_SNAP_RETAIN_COUNT` and `autopurge.snapRetainCount` are equal.
fn letters(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The key that the end of a variable's name means.
fn key_of(name: &str) -> Option<String> {
    let name = letters(name);
    let plain = KEYS.iter().filter(|row| is_plain(row.name));
    let plain = plain.map(|row| row.name).find(|row| letters(row) == name);
    let numbered = || {
        let begin = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = &name[begin.len()..];
        let mut rows = KEYS.iter().filter_map(|row| row.name.strip_suffix(".N"));
        let row = rows.find(|row| !number.is_empty() && letters(row) == begin)?;
        Some(format!("{row}.{number}"))
    };
    plain.map(ToOwned::to_owned).or_else(numbered)
}

/// Whether the row is of one key.
fn is_plain(row: &str) -> bool {
    !row.ends_with('*') && !row.ends_with(".N")
}

/// A setting. Its value may be a secret, so it has no `Debug`.
pub struct Setting {
    /// The number of its line, from 1; for one from outside the file, a number behind its last line.
    pub number: usize,
    /// Where it stands; `None` is the file.
    pub place: Option<Place>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The number of the one that counts instead.
    pub overruled_by: Option<usize>,
}

impl Setting {
    fn plain(&self) -> &str {
        self.key.strip_prefix("zookeeper.").unwrap_or(&self.key)
    }

    fn strength(&self) -> u8 {
        match &self.place {
            Some(Place::Variable(_)) => 0,
            Some(_) if BARE.contains(&self.key.as_str()) => 3,
            Some(_) => 1,
            None => 2,
        }
    }

    /// Of these, two in a file are a mistake, and not one that is changed by the other (D-51).
    fn is_of_members(&self) -> bool {
        let begin = self.plain().split_once('.');
        self.place.is_none() && matches!(begin, Some(("server" | "group" | "weight", _)))
    }

    /// Where it stands, for people.
    #[must_use]
    pub fn whence(&self) -> String {
        match &self.place {
            Some(place) => place.to_string(),
            None => format!("line {}", self.number),
        }
    }
}

/// What ZooKeeper's server takes in place of a file, in this order; the first two have to be there.
pub const PLAIN: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];

/// All settings, those of the file first. Errors: the number of a line, and what is wrong with it.
pub fn merge(text: &str, given: &Given) -> Result<Vec<Setting>, (usize, String)> {
    Ok(strongest(settings(text)?, text.lines().count() + 1, given))
}

/// All settings where the arguments of [`PLAIN`] stand for the lines of a file.
#[must_use]
pub fn of_arguments(arguments: &[String], given: &Given) -> Vec<Setting> {
    let own = PLAIN.iter().zip(arguments).zip(1..);
    let own = own.map(|((key, value), number)| (number, (*key).to_owned(), value.clone()));
    strongest(own.collect(), PLAIN.len() + 1, given)
}

/// The file's own settings and those from outside, which are numbered from `behind` on.
fn strongest(own: Vec<Line>, behind: usize, given: &Given) -> Vec<Setting> {
    let of_file = own.into_iter();
    let of_file = of_file.map(|(number, key, value)| (number, None, key, value));
    let outside = given.properties.iter().enumerate();
    let outside =
        outside.map(|(at, (place, k, v))| (behind + at, Some(place.clone()), k.clone(), v.clone()));
    let mut all: Vec<Setting> = of_file
        .chain(outside)
        .map(|(number, place, key, value)| Setting {
            number,
            place,
            key,
            value,
            overruled_by: None,
        })
        .collect();
    let mut strongest: BTreeMap<String, usize> = BTreeMap::new();
    for (at, setting) in all.iter().enumerate() {
        let best = strongest.entry(setting.plain().to_owned()).or_insert(at);
        if setting.strength() >= all[*best].strength() {
            *best = at;
        }
    }
    for at in 0..all.len() {
        let best = strongest.get(all[at].plain()).copied().unwrap_or(at);
        if best != at && !(all[at].is_of_members() && all[best].is_of_members()) {
            all[at].overruled_by = Some(all[best].number);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, check};
    use std::path::Path;

    fn given(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Given, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let variables = variables.iter().map(|(n, v)| (n.into(), v.into()));
        Given::read(&arguments, variables).map_err(|e| e.to_string())
    }

    fn start(file: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
        let text = format!("dataDir=d\nclientPort=1\n{file}\n");
        let given = given(arguments, variables)?;
        check::read_with(Path::new("zoo.cfg"), &text, &given).map_err(|e| e.to_string())
    }

    #[test]
    fn a_setting_may_come_from_arguments_flags_and_the_environment_and_the_file_counts_most() {
        let server = ("SERVER_JVMFLAGS", "-Xmx2g -Dzookeeper.snapCount=3");
        let both = [server, ("JVMFLAGS", "-Dzookeeper.snapCount=4 -ea")];
        let all = [both[0], both[1], ("ZABRA_CFG_SNAP_COUNT", "2")];
        let of = |file: &str, arguments: &[&str], variables: &[(&str, &str)]| {
            start(file, arguments, variables).unwrap().snap_count
        };
        assert_eq!(of("", &[], &all[2..]), 2);
        assert_eq!(of("", &[], &[all[2], server]), 3);
        assert_eq!(of("", &[], &all), 4);
        assert_eq!(of("", &["snapCount=5"], &all), 5);
        assert_eq!(of("", &["zookeeper.snapCount=5", "snapCount=6"], &all), 6);
        assert_eq!(of("snapCount=7", &["zookeeper.snapCount=5"], &all), 7);
        let config = start("snapCount=8\nsnapCount=7", &["snapCount=5"], &[]).unwrap();
        assert_eq!(config.snap_count, 7);
        let notes = config.notes.join("\n");
        assert!(notes.contains("line 3: snapCount") && notes.contains("line 4 counts"));
        assert!(notes.contains("arguments: snapCount"), "{notes}");
    }

    #[test]
    fn a_property_without_prefix_in_java_counts_more_than_the_file() {
        let file = "jute.maxbuffer=200000";
        for (argument, bytes) in [
            ("jute.maxbuffer=300000", 300_000),
            ("zookeeper.jute.maxbuffer=300000", 200_000),
        ] {
            assert_eq!(
                start(file, &[argument], &[]).unwrap().frame_bytes_max,
                bytes
            );
            let flags = format!("-D{argument}");
            let config = start(file, &[], &[("JVMFLAGS", &flags)]).unwrap();
            assert_eq!(config.frame_bytes_max, bytes, "{argument}");
        }
        let variable = [("ZABRA_CFG_JUTE_MAXBUFFER", "300000")];
        assert_eq!(
            start(file, &[], &variable).unwrap().frame_bytes_max,
            200_000
        );
        assert_eq!(start("", &[], &variable).unwrap().frame_bytes_max, 300_000);
    }

    #[test]
    fn a_variable_is_named_as_its_key_in_capitals() {
        for (name, key) in [
            ("TICK_TIME", "tickTime"),
            ("TICKTIME", "tickTime"),
            ("AUTOPURGE_SNAP_RETAIN_COUNT", "autopurge.snapRetainCount"),
            ("4LW_COMMANDS_WHITELIST", "4lw.commands.whitelist"),
            ("SERVER_3", "server.3"),
            ("AUTHPROVIDER_1", "authProvider.1"),
        ] {
            assert_eq!(key_of(name).as_deref(), Some(key));
        }
        let refusal = given(&[], &[("ZABRA_CFG_TIK_TIME", "1")]).err().unwrap();
        assert!(
            refusal.starts_with("ZABRA_CFG_TIK_TIME: names no key"),
            "{refusal}"
        );
        assert!(given(&[], &[("ZABRA_LOG", "warn")]).is_ok());
        let no = [("ZOO_DATADIR_AUTOCREATE_DISABLE", "1")];
        assert!(!start("", &[], &no).unwrap().datadir_autocreate);
        // No two keys are one variable.
        let rows = KEYS.iter().filter(|row| is_plain(row.name));
        let mut names: Vec<String> = rows.map(|row| letters(row.name)).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_variables_of_zookeeper_s_script_name_the_file() {
        let of = |dir: Option<&str>, name: Option<&str>| {
            let variable = |asked: &str| match asked {
                "ZOOCFGDIR" => dir.map(OsString::from),
                _ => name.map(OsString::from),
            };
            file_of(variable).map(|path| path.display().to_string())
        };
        for (dir, name, path) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("/etc/zk"), None, Some("/etc/zk/zoo.cfg")),
            (Some("/etc/zk"), Some("a.cfg"), Some("/etc/zk/a.cfg")),
            (Some("/etc/zk"), Some("/b/a.cfg"), Some("/b/a.cfg")),
            (None, Some("a.cfg"), Some("a.cfg")),
        ] {
            assert_eq!(of(dir, name).as_deref(), path, "{dir:?} {name:?}");
        }
        let told = given(&[], &[("ZOO_LOG_DIR", "/var/log")]).unwrap().told();
        assert!(
            told[0].starts_with("ZOO_LOG_DIR: of ZooKeeper's script"),
            "{told:?}"
        );
    }

    #[test]
    fn a_port_and_a_directory_stand_for_a_file() {
        let of = |arguments: &[&str], properties: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            let given = given(properties, &[])?;
            check::load_arguments(&arguments, &given).map_err(|e| e.to_string())
        };
        let c = of(
            &["2181", "/d with blanks", "500", "7"],
            &["snapCount=9", "tickTime=5"],
        )
        .unwrap();
        assert_eq!(c.client.unwrap().to_addr(), "0.0.0.0:2181");
        assert_eq!(c.data_dir, Path::new("/d with blanks"));
        assert_eq!((c.tick_ms, c.max_client_cnxns, c.snap_count), (500, 7, 9));
        let c = of(&["2181", "d"], &[]).unwrap();
        assert_eq!((c.tick_ms, c.max_client_cnxns), (3000, 60));
        let refusal = of(&["zoo.cfg", "d"], &[]).unwrap_err();
        assert!(
            refusal.starts_with("arguments:1: clientPort=zoo.cfg: write a port, 0 to 65535"),
            "{refusal}"
        );
    }

    #[test]
    fn flags_of_the_virtual_machine_are_named_without_their_values() {
        let flags =
            "-Xmx2g -XX:+UseG1GC -Djavax.net.ssl.keyStorePassword=hush -Dzookeeper.snapCount=9";
        let told = given(&[], &[("JVMFLAGS", flags)]).unwrap().told();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("zookeeper.snapCount is given"), "{told:?}");
        let ignored = "JVMFLAGS: -Xmx2g -XX:+UseG1GC -Djavax.net.ssl.keyStorePassword: ";
        assert!(told[1].starts_with(ignored), "{told:?}");
    }

    #[test]
    fn what_is_wrong_outside_the_file_is_told_with_its_place() {
        let flags = |flags| start("", &[], &[("JVMFLAGS", flags)]).unwrap_err();
        let said = flags("-Dzookeeper.snapCount=many");
        assert!(
            said.starts_with("JVMFLAGS: zookeeper.snapCount=many"),
            "{said}"
        );
        let said = start("", &["forceSync=no"], &[]).unwrap_err();
        assert!(said.starts_with("arguments: forceSync"), "{said}");
        let unused = start("", &["zookeeper.nothing=1"], &[]).unwrap().unused;
        assert_eq!(unused[0].from, Some(Place::Argument));
        for flags in [
            "-Dzookeeper.snapCount=5",
            "-Dzookeeper.sslQuorum=false",
            "-ea",
        ] {
            assert!(start("", &[], &[("JVMFLAGS", flags)]).is_ok(), "{flags}");
        }
    }

    #[test]
    fn c_30_a_property_of_security_outside_the_file_refuses_the_start() {
        for flags in [
            "-Xmx2g -Dzookeeper.sasl.other=yes",
            "-Dzookeeper.ssl.quorum.crl=hush",
        ] {
            let said = start("", &[], &[("SERVER_JVMFLAGS", flags)]).unwrap_err();
            assert!(said.starts_with("SERVER_JVMFLAGS: zookeeper.s"), "{said}");
            assert!(
                said.ends_with("so remove it") && !said.contains("hush"),
                "{said}"
            );
        }
        let said = start("", &["sslQuorum=true"], &[]).unwrap_err();
        assert!(said.contains("arguments: sslQuorum"), "{said}");
    }

    /// D-51.
    #[test]
    fn two_lines_of_one_member_are_refused_and_a_line_counts_more_than_a_variable() {
        let text = "server.1=a:1:2\nserver.1=b:1:2";
        assert!(start(text, &[], &[]).unwrap_err().contains("twice"));
        let variable = [("ZABRA_CFG_SERVER_1", "b:1:2;7")];
        assert_eq!(
            start("server.1=a:1:2", &[], &variable).map(|c| c.notes.len()),
            Ok(1)
        );
    }
}
