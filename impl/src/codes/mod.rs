//! The codes of what the log warns of: `ZBR-0301` is the same thing in every version, whatever its sentence says.
//!
//! Each `warn!` and `error!` names one, `code = %Code::SlowSync`, and no two name the same: a reader of logs finds the place, and
//! `zabra explain ZBR-0301` tells what the line has no room for. A code that is not used any more is not given to anything else.
//!
//! | numbers | about |
//! |---|---|
//! | 01.. | a start: settings, limits, what is found |
//! | 02.. | elections, leaders and learners |
//! | 03.. | the disk: logs and snapshots |
//! | 04.. | clients and their requests |
//! | 05.. | who is let in: TLS, SASL, rights |
//! | 06.. | what operators use: HTTP, signals, records |
//! | 07.. | the list of members |
//! | 09.. | tools |

mod table;

pub use table::Code;

use std::fmt;
use std::str::FromStr;

/// How a code is written, before its number.
const PREFIX: &str = "ZBR-";

/// What there is to tell of a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// In a few words.
    pub title: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// What it means for clients and data.
    pub effect: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// The remedy as a command or lines of a file.
    pub example: &'static str,
}

/// The codes and what they mean, as one table.
macro_rules! codes {
    ($($name:ident $number:literal $title:literal { $cause:literal $effect:literal $remedy:literal $example:literal })*) => {
        /// What the log warns of.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Code {
            $(#[doc = $title] $name),*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number),*
                }
            }

            /// Its name in the source.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static Meaning {
                match self {
                    $(Self::$name => &Meaning {
                        title: $title,
                        cause: $cause,
                        effect: $effect,
                        remedy: $remedy,
                        example: $example,
                    }),*
                }
            }
        }
    };
}

use codes;

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:04}", self.number())
    }
}

/// That is none of the codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCode;

impl Code {
    /// Whether this looks like a code, rather than like the name of a file.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        let begins = text.get(..PREFIX.len());
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(PREFIX))
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let digits = text.get(PREFIX.len()..).filter(|_| Self::is_like(text));
        let number = digits.and_then(|digits| digits.parse().ok());
        let known = Self::ALL.iter().find(|code| Some(code.number()) == number);
        known.copied().ok_or(UnknownCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    /// All files of the server's source.
    fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                None if path.is_dir() => sources(&path, into),
                Some(end) if end == "rs" => into.push(path),
                _ => {}
            }
        }
    }

    /// The names of codes in each call of `warn!` or `error!` in this text, by line. A call without one has none.
    fn sites(text: &str) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for what in ["warn!(", "error!("] {
            for (at, _) in text.match_indices(what) {
                let before = text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"') {
                    continue;
                }
                let line_begins = text[..at].rfind('\n').map_or(0, |at| at + 1);
                if text[line_begins..at].trim_start().starts_with("//") {
                    continue;
                }
                // The fields stand before the sentence.
                let call = &text[at + what.len()..];
                let fields = call.split('"').next().unwrap_or_default();
                let named = fields.split("Code::").skip(1);
                let name = |rest: &str| {
                    rest.split(|c: char| !c.is_alphanumeric())
                        .next()
                        .map(str::to_owned)
                };
                let line = text[..at].matches('\n').count() + 1;
                found.push((line, named.filter_map(name).collect()));
            }
        }
        found
    }

    #[test]
    fn each_warning_and_error_has_a_code_of_its_own_and_each_code_is_told_somewhere() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&src, &mut files);
        let (mut told, mut wrong) = (BTreeMap::new(), Vec::new());
        for file in files {
            if file.starts_with(src.join("codes")) {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for (line, names) in sites(&text) {
                let place = format!("{}:{line}", file.strip_prefix(&src).unwrap().display());
                match &names[..] {
                    [one] => {
                        if let Some(other) = told.insert(one.clone(), place.clone()) {
                            wrong.push(format!("{one} is told at {other} and at {place}: give one of them another code"));
                        }
                    }
                    _ => wrong.push(format!("{place}: write code = %Code::NAME as its first field, of a row in codes/table.rs")),
                }
            }
        }
        for code in Code::ALL {
            if told.remove(code.name()).is_none() {
                wrong.push(format!("{code} ({}) is told nowhere", code.name()));
            }
        }
        wrong.extend(told.keys().map(|name| format!("{name} is no code")));
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    #[test]
    fn codes_rise_and_are_read_back_and_each_has_all_its_words() {
        let mut before = 0;
        for code in Code::ALL {
            assert!(code.number() > before && code.number() < 10_000, "{code}");
            before = code.number();
            assert_eq!(code.to_string().parse(), Ok(*code));
            assert_eq!(code.to_string().to_lowercase().parse(), Ok(*code));
            let of = code.meaning();
            for text in [of.title, of.cause, of.effect, of.remedy, of.example] {
                assert!(text.len() > 4 && text.trim() == text, "{code}: {text:?}");
            }
            for sentence in [of.cause, of.effect, of.remedy] {
                assert!(sentence.ends_with('.'), "{code}: {sentence:?}");
            }
        }
        for wrong in [
            "ZBR-",
            "ZBR-9999",
            "ZBR-0301x",
            "0301",
            "zoo.cfg",
            "ZBÜ-0301",
        ] {
            assert_eq!(wrong.parse::<Code>(), Err(UnknownCode), "{wrong}");
        }
    }
}
