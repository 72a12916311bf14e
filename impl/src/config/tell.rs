//! `zabra config`: what becomes of each line of a file, and what a key is for.

use super::file::settings;
use super::keys::{KEYS, Key, Off, State, find, nearest};
use super::{ConfigError, check};
use serde::Serialize;
use std::fmt::{self, Display};
use std::fs;
use std::path::Path;

/// A file, line by line.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The lines that set something.
    pub lines: Vec<Line>,
    /// Keys that the server honours, that are not in the file, and what holds instead.
    pub defaults: Vec<Default>,
    /// Why a server would not start with it; none if it would.
    pub refusal: Option<String>,
}

/// A line.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its number, from 1.
    pub line: usize,
    /// Its key.
    pub key: String,
    /// Its value, unless it is a secret.
    pub value: String,
    /// `set`, `ignored`, `refused` or `unknown`.
    pub state: &'static str,
    /// What the key is for, or what was most likely meant.
    pub about: String,
}

/// What holds where the file says nothing.
#[derive(Debug, Serialize)]
pub struct Default {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: &'static str,
    /// What it is counted in, or is.
    pub unit: &'static str,
}

/// Reads the file as a start would, and what it says line by line.
///
/// # Errors
/// [`ConfigError`], if it cannot be read, or is no file of settings at all.
pub fn report(path: &Path) -> Result<Report, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let lines: Vec<Line> = settings(&text)
        .map_err(|(line, what)| ConfigError::Line {
            path: path.to_owned(),
            line,
            what,
        })?
        .into_iter()
        .map(|(line, key, value)| told(line, key, value))
        .collect();
    let is_set = |name: &str| {
        let of = |line: &Line| find(&line.key).is_some_and(|row| row.name == name);
        lines.iter().any(of)
    };
    let defaults = KEYS
        .iter()
        .filter(|row| row.state == State::Honoured && !row.default.is_empty())
        .filter(|row| !is_set(row.name))
        .map(|row| Default {
            key: row.name,
            value: row.default,
            unit: row.unit,
        });
    Ok(Report {
        defaults: defaults.collect(),
        refusal: check::read(path, &text).err().map(|e| e.to_string()),
        lines,
    })
}

fn told(line: usize, key: String, value: String) -> Line {
    let lower = key.to_lowercase();
    let is_secret = lower.contains("password") || lower.contains("superdigest");
    let (state, about) = match find(&key) {
        Some(row) => {
            let state = match row.state {
                State::Honoured => "set",
                // Another key switches on what it is about, and refuses.
                State::Refused if row.off == Off::Any => "ignored",
                State::NoEffect => "ignored",
                // A value that asks for nothing is kept.
                State::Refused if super::security::is_kept(&key, &value) => "set",
                State::Refused => "refused",
            };
            (state, row.about.to_owned())
        }
        None => ("unknown", guess(&key)),
    };
    Line {
        line,
        value: if is_secret { "(hidden)".into() } else { value },
        key,
        state,
        about,
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
        for Line {
            line,
            key,
            value,
            state,
            about,
        } in &self.lines
        {
            write!(f, "{line:>4}  {state:<8} {key}={value}")?;
            if *state == "set" {
                writeln!(f)?;
            } else {
                writeln!(f, "\n               {about}")?;
            }
        }
        for Default { key, value, unit } in &self.defaults {
            write!(f, "   -  default  {key}={value}")?;
            match value.parse::<u64>() {
                Ok(_) => writeln!(f, " {unit}")?,
                Err(_) => writeln!(f)?,
            }
        }
        match &self.refusal {
            Some(why) => writeln!(f, "A server does not start with this file: {why}"),
            None => writeln!(f, "A server starts with this file."),
        }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.about)?;
        let becomes = match self.state {
            State::Honoured => "the server does what it says",
            State::NoEffect => "the server takes no notice of it",
            State::Refused => {
                "not supported: a server does not start with it, unless its value asks for nothing"
            }
        };
        writeln!(f, "  here:    {becomes}")?;
        if !self.unit.is_empty() {
            writeln!(f, "  values:  {}", self.unit)?;
        }
        if !self.default.is_empty() {
            writeln!(f, "  default: {}", self.default)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_and_a_secret_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort: 2181\nadmin.serverPort=8080\nticktime=7\nssl.keyStore.password=hush\nssl.clientAuth=none\nDigestAuthenticationProvider.superDigest=super:hush\n",
            dir.path().display()
        );
        fs::write(&path, &text).unwrap();
        let found = report(&path).unwrap();
        let states: Vec<&str> = found.lines.iter().map(|line| line.state).collect();
        assert_eq!(
            states,
            ["set", "set", "ignored", "unknown", "refused", "set", "set"]
        );
        let said = found.to_string();
        assert!(said.contains("did you mean tickTime?"), "{said}");
        assert!(said.contains("default  tickTime=3000 ms"), "{said}");
        assert!(!said.contains("hush"), "{said}");
        assert!(found.refusal.unwrap().contains("zoo.cfg:5"));
        fs::write(&path, text.replace("ssl.key", "#")).unwrap();
        let said = report(&path).unwrap().to_string();
        assert!(
            said.ends_with("A server starts with this file.\n"),
            "{said}"
        );
    }
}
