//! What the shell is asked for on the command line.

use clap::{Args, ValueEnum};
use std::ffi::OsString;

/// Which servers are asked, and what for.
#[derive(Args, Clone, Debug)]
pub struct ShellArgs {
    /// The servers; behind a slash the node that is the root of all paths
    #[arg(
        long,
        default_value = "localhost:2181",
        value_name = "HOST:PORT[,...][/CHROOT]"
    )]
    pub server: String,
    /// Session timeout to ask for, in milliseconds
    #[arg(long, default_value_t = 30_000, value_name = "MS", value_parser = clap::value_parser!(u32).range(100..=3_600_000))]
    pub timeout: u32,
    /// Take a server without a quorum, too, which answers reads
    #[arg(short = 'r')]
    pub read_only: bool,
    /// How answers are printed
    #[arg(short = 'o', value_enum, default_value_t = Output::Raw)]
    pub output: Output,
    /// One command; without it, lines are read. `help` lists all
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// As ZooKeeper's shell prints them
    Raw,
    /// One JSON document a command
    Json,
}

/// The options of ZooKeeper's own shell have one dash; before a command both are understood.
pub fn with_two_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.collect();
    if all.get(1).is_none_or(|command| command != "shell") {
        return all;
    }
    let mut at = 2;
    while let Some(word) = all.get_mut(at) {
        match word.to_str() {
            Some("-server") => *word = "--server".into(),
            Some("-timeout") => *word = "--timeout".into(),
            Some("--server" | "--timeout" | "-o") => {}
            Some(flag) if flag.starts_with('-') => {
                at += 1;
                continue;
            }
            Some(_) | None => break,
        }
        at += 2;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::with_two_dashes;

    #[test]
    fn the_options_of_zookeepers_shell_are_understood_before_a_command() {
        for (given, understood) in [
            (
                "zabra shell -server a:1 get /x",
                "zabra shell --server a:1 get /x",
            ),
            (
                "zabra shell -r -timeout 5 -server a:1",
                "zabra shell -r --timeout 5 --server a:1",
            ),
            (
                "zabra shell -o json -server a ls /",
                "zabra shell -o json --server a ls /",
            ),
            ("zabra shell set /x -server", "zabra shell set /x -server"),
            ("zabra serve -server", "zabra serve -server"),
        ] {
            let words = given.split(' ').map(Into::into);
            let done: Vec<_> = with_two_dashes(words)
                .iter()
                .map(|w| w.to_string_lossy().into_owned())
                .collect();
            assert_eq!(done.join(" "), understood);
        }
    }
}
