//! `zabra config`: what becomes of each line of a file, and what a key is for.

use super::check::{self, text_of};
use super::documented::documented;
use super::file::{gather, settings};
use super::keys::{KEYS, Off, State, find, nearest};
use super::settings::{Given, Setting, merge};
use super::{ConfigError, is_secret};
use serde::Serialize;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// All settings of a start.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The settings, those of the file first.
    pub lines: Vec<Line>,
    /// Keys that the server honours, that nothing sets, and what holds instead.
    pub defaults: Vec<Default>,
    /// Why a server would not start; none if it would.
    pub refusal: Option<String>,
}

/// A setting.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Where it stands: a file, a variable of the environment, or `arguments`.
    pub from: String,
    /// The number of its line, from 1, if it is one of a file.
    pub line: Option<usize>,
    /// Its key.
    pub key: String,
    /// Its value, unless it is a secret.
    pub value: String,
    /// `set`, `ignored`, `refused`, `unknown` or `overruled`.
    pub state: &'static str,
    /// What the key is for, what was most likely meant, or what counts instead.
    pub about: String,
}

/// What holds where nothing is said.
#[derive(Debug, Serialize)]
pub struct Default {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: &'static str,
    /// What it is counted in, or is.
    pub unit: &'static str,
}

/// Reads the file and what is given beside it as a start would, and what each setting says.
///
/// # Errors
/// [`ConfigError`], if it cannot be read, or is no file of settings at all.
pub fn report(path: &Path, given: &Given) -> Result<Report, ConfigError> {
    let text = text_of(path)?;
    let all = merge(&text, given).map_err(|(line, what)| ConfigError::Line {
        path: path.to_owned(),
        line,
        what,
    })?;
    let mut lines: Vec<Line> = all.iter().map(|s| told(path, s, &all)).collect();
    let file = all.iter().find(|s| {
        let key = s.key.strip_prefix("zookeeper.").unwrap_or(&s.key);
        key == "dynamicConfigFile" && s.overruled_by.is_none()
    });
    let of_members = file.map_or_else(Vec::new, |s| members(&PathBuf::from(&s.value)));
    let outside = lines.partition_point(|line| line.line.is_some());
    lines.splice(outside..outside, of_members);
    let is_set = |name: &str| {
        let of = |line: &Line| find(&line.key).is_some_and(|row| row.name == name);
        lines.iter().any(of)
    };
    let defaults = KEYS
        .iter()
        .filter(|row| row.state == State::Honoured && !row.default.is_empty())
        .filter(|row| !row.name.ends_with(".N") && !is_set(row.name))
        .map(|row| Default {
            key: row.name,
            value: row.default,
            unit: row.unit,
        });
    let start = check::read_with(path, &text, given);
    Ok(Report {
        defaults: defaults.collect(),
        refusal: start.err().map(|e| e.to_string()),
        lines,
    })
}

/// The lines of the file of members; none if it cannot be read, which the refusal tells.
fn members(path: &Path) -> Vec<Line> {
    let text = text_of(path).unwrap_or_default();
    let all = settings(&text).unwrap_or_default().into_iter();
    let told = |(number, key, value)| {
        let setting = Setting {
            number,
            place: None,
            key,
            value,
            overruled_by: None,
        };
        told(path, &setting, &[])
    };
    all.map(told).collect()
}

fn told(path: &Path, setting: &Setting, all: &[Setting]) -> Line {
    let Setting { key, value, .. } = setting;
    let is_secret = is_secret(key);
    let counts = setting.overruled_by;
    let counts = counts.and_then(|number| all.iter().find(|s| s.number == number));
    let (state, about) = match counts {
        Some(other) => {
            let whence = other.whence();
            (
                "overruled",
                format!("It is said twice, and {whence} counts."),
            )
        }
        None => becomes(key, value),
    };
    let (from, line) = match &setting.place {
        Some(place) => (place.to_string(), None),
        None => (path.display().to_string(), Some(setting.number)),
    };
    Line {
        from,
        line,
        key: key.clone(),
        value: if is_secret {
            "(hidden)".into()
        } else {
            value.clone()
        },
        state,
        about,
    }
}

/// What a start makes of the setting by itself.
fn becomes(key: &str, value: &str) -> (&'static str, String) {
    let row = find(key);
    let about = || row.map_or_else(|| guess(key), |row| row.about.to_owned());
    match gather([(1, key, value)]) {
        Err((_, what)) => ("refused", what),
        Ok(lines) => match (lines.unsupported.first(), row) {
            (Some(_), Some(row)) if !row.why.is_empty() => (
                "refused",
                format!("{} Not supported: {}.", row.about, row.why),
            ),
            (Some((_, what)), _) => ("refused", format!("{what}.")),
            // Another key switches on what it is about, and refuses.
            (None, Some(row)) if row.state == State::Refused && row.off == Off::Any => {
                ("ignored", about())
            }
            (None, Some(_)) if lines.unused.is_empty() => ("set", about()),
            (None, Some(_)) => ("ignored", about()),
            (None, None) => ("unknown", about()),
        },
    }
}

/// What to say of a key that nobody knows.
#[must_use]
pub fn guess(key: &str) -> String {
    match nearest(key) {
        Some(row) => format!("Nobody knows this key; did you mean {}?", row.name),
        None => "Nobody knows this key.".into(),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = "";
        for Line {
            from,
            line,
            key,
            value,
            state,
            about,
        } in &self.lines
        {
            if from != place {
                writeln!(f, "{from}")?;
                place = from;
            }
            let number = line.map_or_else(|| "-".into(), |line| line.to_string());
            writeln!(f, "{number:>4}  {state:<9}  {key}={value}")?;
            if *state != "set" {
                writeln!(f, "                 {about}")?;
            }
        }
        if !self.defaults.is_empty() {
            writeln!(f, "defaults")?;
        }
        for Default { key, value, unit } in &self.defaults {
            write!(f, "   -  default    {key}={value}")?;
            match value.parse::<u64>() {
                Ok(_) if *unit != "number" => writeln!(f, " {unit}")?,
                _ => writeln!(f)?,
            }
        }
        match &self.refusal {
            Some(why) => writeln!(f, "A server does not start with this: {why}"),
            None => writeln!(f, "A server starts with this."),
        }
    }
}

/// What a key is for, what becomes of it here, its values, its default, and since when ZooKeeper has it; `None` if nobody knows it.
#[must_use]
pub fn explain(key: &str) -> Option<String> {
    let row = find(key)?;
    let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
    let known = documented(plain).or_else(|| documented(row.name));
    // A row for several keys may leave to the key's own documents what it is in ZooKeeper.
    let name = known.map_or(row.name, |known| known.name);
    let here = match row.state {
        State::Honoured => "the server does what it says".into(),
        State::NoEffect => "no effect; a line with it is told at the start".into(),
        State::Refused if row.off == Off::Any => "no effect by itself".into(),
        State::Refused => {
            format!("refused unless the value asks for nothing: {}", row.why)
        }
    };
    let of = |own: &'static str, theirs: &'static str| match (own, theirs) {
        ("", "") => "none",
        ("", theirs) => theirs,
        (own, _) => own,
    };
    let values = of(row.unit, known.map_or("", |known| known.unit));
    let default = of(row.default, known.map_or("", |known| known.default));
    let since = match known.map_or("", |known| known.since) {
        "" if name.starts_with("zabra.") => "Zabra alone has it".into(),
        "" => "no release of ZooKeeper reads it".into(),
        "3.3" => "ZooKeeper 3.3 or before".into(),
        release => format!("ZooKeeper {release}"),
    };
    Some(format!(
        "{name}: {}\n  here:    {here}\n  values:  {values}\n  default: {default}\n  since:   {since}\n",
        row.about
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn alone(path: &Path) -> Report {
        report(path, &Given::default()).unwrap()
    }

    #[test]
    fn each_line_is_told_and_a_secret_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort: 2181\nmaxResponseCacheSize=5\nticktime=7\nssl.keyStore.password=hush\nssl.clientAuth=none\nDigestAuthenticationProvider.superDigest=super:hush\n",
            dir.path().display()
        );
        fs::write(&path, &text).unwrap();
        let found = alone(&path);
        let states: Vec<&str> = found.lines.iter().map(|line| line.state).collect();
        assert_eq!(
            states,
            ["set", "set", "ignored", "unknown", "set", "set", "set"]
        );
        let said = found.to_string();
        assert!(said.contains("did you mean tickTime?"), "{said}");
        assert!(said.contains("default    tickTime=3000 ms"), "{said}");
        assert!(!said.contains("hush"), "{said}");
        assert!(found.refusal.unwrap().contains("zoo.cfg:5"));
        fs::write(&path, text.replace("ssl.key", "#")).unwrap();
        let said = alone(&path).to_string();
        assert!(said.ends_with("A server starts with this.\n"), "{said}");
    }

    #[test]
    fn it_says_where_each_setting_comes_from_and_which_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let members = dir.path().join("zoo.cfg.dynamic");
        fs::write(&members, "server.1=a:1:2;7\nserver.2=b:1:2\n").unwrap();
        fs::write(dir.path().join("myid"), "1").unwrap();
        let text = format!(
            "dataDir={0}\ninitLimit=9\nsyncLimit=9\nsnapCount=5\nsnapCount=6\ndynamicConfigFile={0}/zoo.cfg.dynamic\n",
            dir.path().display()
        );
        fs::write(&path, &text).unwrap();
        let variables = [("JVMFLAGS", "-Dzookeeper.snapCount=7 -Djute.maxbuffer=70000")];
        let variables = variables.map(|(n, v)| (n.into(), v.into()));
        let given = Given::read(&["preAllocSize=99".into()], variables).unwrap();
        let found = report(&path, &given).unwrap();
        assert_eq!(found.refusal, None);
        let of = |from: &str, key: &str| {
            let mut lines = found.lines.iter();
            let line = lines.find(|l| l.from.ends_with(from) && l.key.ends_with(key));
            line.map(|l| (l.line, l.state))
        };
        assert_eq!(of("zoo.cfg", "snapCount"), Some((Some(4), "overruled")));
        assert_eq!(of("zoo.cfg.dynamic", "server.2"), Some((Some(2), "set")));
        assert_eq!(of("JVMFLAGS", "snapCount"), Some((None, "overruled")));
        assert_eq!(of("JVMFLAGS", "jute.maxbuffer"), Some((None, "set")));
        assert_eq!(of("arguments", "preAllocSize"), Some((None, "set")));
        let said = found.to_string();
        assert!(
            said.contains("It is said twice, and line 5 counts."),
            "{said}"
        );
    }

    #[test]
    fn a_key_is_explained_with_its_release_and_java_s_default_where_there_is_none_here() {
        let of = |key: &str| explain(key).unwrap_or_default();
        let said = of("zookeeper.ssl.quorum.keyStore.location");
        assert!(
            said.starts_with("ssl.quorum.keyStore.location: The key"),
            "{said}"
        );
        assert!(
            said.ends_with("  default: none\n  since:   ZooKeeper 3.5.5\n"),
            "{said}"
        );
        assert!(of("fastleader.maxNotificationInterval").contains("  default: 60000\n"));
        assert!(of("tickTime").contains("  values:  ms\n  default: 3000\n"));
        assert!(of("server.7").starts_with("server.N: ") && of("nothing").is_empty());
        assert!(of("zabra.outstandingBytes").ends_with("Zabra alone has it\n"));
        assert_eq!(becomes("server.realm", "EXAMPLE.COM").0, "ignored");
        let (state, about) = becomes("sslquorum", "true");
        assert!(
            state == "refused" && about.contains("near to sslQuorum"),
            "{about}"
        );
    }

    #[test]
    fn a_value_that_refuses_the_start_is_told_as_refused() {
        for (key, value) in [
            ("forceSync", "no"),
            ("tickTime", "x"),
            ("ssl.quorum.crl", "true"),
        ] {
            assert_eq!(becomes(key, value).0, "refused", "{key}");
        }
        for (key, value) in [
            ("forceSync", "yes"),
            ("tickTime", "1"),
            ("sslQuorum", "false"),
        ] {
            assert_eq!(becomes(key, value).0, "set", "{key}");
        }
        assert_eq!(becomes("kinit", "/usr/bin/kinit").0, "ignored");
    }
}
