//! A line becomes words, and words become options and arguments, by the rules of ZooKeeper's shell.

use super::failure::Failure;
use std::collections::BTreeMap;

/// The words of a line. Quotes of either kind hold a word together if it begins with one; a quote without its partner is dropped.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'') {
            let inside = &rest[1..];
            if let Some(end) = inside.find(first) {
                words.push(inside[..end].to_owned());
                rest = inside[end + 1..].trim_start();
            } else {
                rest = inside;
            }
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    words
}

/// An option of a command: its name behind the dash, and whether a value follows.
pub(super) type Flag = (&'static str, bool);

/// What a command was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    options: BTreeMap<&'static str, String>,
    /// What is no option, without the command itself.
    pub(super) arguments: Vec<String>,
}

impl Given {
    /// Options may stand anywhere, several in one word, and a value may stick to its option: `-se`, `-v3`, `-v=3`. What begins with a dash
    /// and is no option is refused; behind `--` everything is an argument.
    #[cfg(test)]
    fn read(known: &[Flag], words: &[String]) -> Result<Self, Failure> {
        Self::read_before(known, words, usize::MAX)
    }

    /// The same; what stands behind so many arguments is a program with its own options, behind `--` if one likes.
    pub(super) fn read_before(
        known: &[Flag],
        words: &[String],
        own: usize,
    ) -> Result<Self, Failure> {
        let mut given = Self::default();
        let mut waiting: Option<&'static str> = None;
        let mut plain = false;
        for word in words {
            if given.arguments.len() == own && !plain && waiting.is_none() {
                plain = true;
                if word == "--" {
                    continue;
                }
            }
            if plain {
                given.arguments.push(word.clone());
            } else if let Some(name) = waiting.take_if(|_| !is_option(known, word)) {
                given.options.insert(name, word.clone());
            } else if let Some(name) = waiting {
                return Err(missing(name));
            } else if word == "--" {
                plain = true;
            } else if word.len() > 1 && word.starts_with('-') {
                waiting = given.option(known, word)?;
            } else {
                given.arguments.push(word.clone());
            }
        }
        waiting.map_or(Ok(given), |name| Err(missing(name)))
    }

    /// Takes the options of one word; the one whose value has to follow.
    fn option(&mut self, known: &[Flag], word: &str) -> Result<Option<&'static str>, Failure> {
        let find = |name: &str| known.iter().find(|(n, _)| *n == name);
        let body = word.trim_start_matches('-');
        if let Some((name, takes)) = find(body) {
            if *takes {
                return Ok(Some(name));
            }
            self.options.insert(name, String::new());
            return Ok(None);
        }
        if let Some((name, value)) = body.split_once('=')
            && let Some((name, true)) = find(name)
        {
            self.options.insert(name, value.to_owned());
            return Ok(None);
        }
        for (at, letter) in body.char_indices() {
            let rest = &body[at + letter.len_utf8()..];
            match find(&body[at..at + letter.len_utf8()]) {
                None => return Err(Failure::usage(format!("Unrecognized option: {word}"))),
                Some((name, false)) => {
                    self.options.insert(name, String::new());
                }
                Some((name, true)) if rest.is_empty() => return Ok(Some(name)),
                Some((name, true)) => {
                    self.options.insert(name, rest.to_owned());
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The options that are given, of those named.
    pub(super) fn given<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|n| self.has(n)).collect()
    }

    /// The argument at `n`; nothing where there are fewer, which a command has refused before.
    pub(super) fn argument(&self, n: usize) -> &str {
        self.arguments.get(n).map_or("", String::as_str)
    }

    /// The version that `-v` or an old form names.
    pub(super) fn version(&self) -> Result<Option<i32>, Failure> {
        let Some(text) = self.value("v") else {
            return Ok(None);
        };
        match text.parse() {
            Ok(version) => Ok(Some(version)),
            // D-136: said, where ZooKeeper's shell ends.
            Err(_) => Err(Failure::usage(format!(
                "-v {text}: a version is a whole number of at most 2147483647, as dataVersion in stat"
            ))),
        }
    }

    /// Sets an option that an old form asks for by an argument.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.options.insert(name, value.to_owned());
    }
}

fn missing(name: &str) -> Failure {
    Failure::usage(format!("Missing argument for option: {name}"))
}

/// Whether a word is an option, and so no value of the one before it. A negative number is none, because no option is a digit.
fn is_option(known: &[Flag], word: &str) -> bool {
    let Some(body) = word.strip_prefix('-') else {
        return false;
    };
    let mut names = known.iter().map(|(name, _)| *name);
    names.any(|name| body == name || name.len() == 1 && body.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::{Given, split};

    const KNOWN: &[super::Flag] = &[("s", false), ("e", false), ("v", true), ("file", true)];

    fn read(line: &str) -> Result<Given, String> {
        Given::read(KNOWN, &split(line)).map_err(|f| f.line)
    }

    #[test]
    fn quotes_hold_a_word_together() {
        for (line, words) in [
            ("  get   /a ", vec!["get", "/a"]),
            ("set /a \"two words\"", vec!["set", "/a", "two words"]),
            (
                "set /a 'it has \"quotes\"'",
                vec!["set", "/a", "it has \"quotes\""],
            ),
            ("set /a {\"k\":1}", vec!["set", "/a", "{\"k\":1}"]),
            ("set /a ''", vec!["set", "/a", ""]),
            ("set /a \"open", vec!["set", "/a", "open"]),
            ("set '/a'\"b\" c", vec!["set", "/a", "b", "c"]),
            ("   ", vec![]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn options_stand_anywhere_and_together() {
        let given = read("/a -se -v 3 data").unwrap();
        assert_eq!(given.arguments, ["/a", "data"]);
        assert!(given.has("s") && given.has("e") && !given.has("file"));
        assert_eq!(given.version().unwrap(), Some(3));
        for line in ["-v3 /a", "-v=3 /a", "/a -sv 3", "/a -sv3"] {
            assert_eq!(read(line).unwrap().value("v"), Some("3"), "{line}");
        }
        assert_eq!(read("-v -1 /a").unwrap().version().unwrap(), Some(-1));
        assert_eq!(read("-file x").unwrap().value("file"), Some("x"));
        assert_eq!(read("-- -q").unwrap().arguments, ["-q"]);
        assert_eq!(read("/a -").unwrap().arguments, ["/a", "-"]);
    }

    #[test]
    fn a_program_keeps_its_own_options() {
        for line in ["-s /a -- sh -c x", "-s /a sh -c x", "/a -s -- sh -c x"] {
            let given = Given::read_before(KNOWN, &split(line), 1).unwrap();
            let expected: &[&str] = if line.starts_with('/') {
                &["/a", "-s", "--", "sh", "-c", "x"]
            } else {
                &["/a", "sh", "-c", "x"]
            };
            assert_eq!(given.arguments, expected, "{line}");
        }
        let given = Given::read_before(KNOWN, &split("/a -- sh -- -s"), 1).unwrap();
        assert_eq!(given.arguments, ["/a", "sh", "--", "-s"]);
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for (line, says) in [
            ("-q /a", "Unrecognized option: -q"),
            ("-sq /a", "Unrecognized option: -sq"),
            ("/a -5", "Unrecognized option: -5"),
            ("/a -v", "Missing argument for option: v"),
            ("-v -s /a", "Missing argument for option: v"),
        ] {
            assert_eq!(read(line).unwrap_err(), says, "{line}");
        }
        let given = read("-v many /a").unwrap();
        assert!(given.version().unwrap_err().line.contains("-v many"));
    }
}
