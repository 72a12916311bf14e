//! The commands, by name, with how they are written.

use super::failure::Failure;
use super::words::{Flag, Given};

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) form: &'static str,
    options: &'static [Flag],
    /// How many arguments it needs at least.
    least: usize,
    /// Behind how many arguments a program stands, which has options of its own.
    runs_behind: usize,
    /// What the options mean, where ZooKeeper's shell tells it below the form.
    explained: &'static str,
}

const fn command(
    name: &'static str,
    form: &'static str,
    options: &'static [Flag],
    least: usize,
) -> Command {
    Command {
        name,
        form,
        options,
        least,
        runs_behind: usize::MAX,
        explained: "",
    }
}

/// One that may run a program.
const fn runner(
    name: &'static str,
    form: &'static str,
    options: &'static [Flag],
    own: usize,
) -> Command {
    Command {
        runs_behind: own,
        ..command(name, form, options, 1)
    }
}

/// The longest time to wait, in milliseconds.
const WAIT: &[Flag] = &[("w", true)];

const QUOTAS: &[Flag] = &[("n", true), ("b", true), ("N", true), ("B", true)];
const QUOTAS_TO_DELETE: &[Flag] = &[("n", false), ("b", false), ("N", false), ("B", false)];

/// All of them, sorted.
pub(super) const COMMANDS: &[Command] = &[
    command(
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
        &[("m", true)],
        1,
    ),
    command("addauth", "scheme auth", &[], 1),
    runner("barrier", "[-w ms] path count [-- program ...]", WAIT, 2),
    command("close", "", &[], 0),
    command(
        "config",
        "[-c] [-w] [-s]",
        &[("c", false), ("w", false), ("s", false)],
        0,
    ),
    command("connect", "host:port", &[], 0),
    command(
        "create",
        "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        &[("s", false), ("e", false), ("c", false), ("t", true)],
        1,
    ),
    command("delete", "[-v version] path", &[("v", true)], 1),
    command("deleteall", "path [-b batch size]", &[("b", true)], 1),
    command("delquota", "[-n|-b|-N|-B] path", QUOTAS_TO_DELETE, 1),
    command(
        "diff",
        "path host:port[/chroot] | -f file file",
        &[("f", false)],
        2,
    ),
    runner("elect", "[-w ms] path [name [-- program ...]]", WAIT, 2),
    command("exit", "", &[], 0),
    command("export", "path", &[], 1),
    command(
        "find",
        "path [-name pattern] [-data text] [-kind persistent|ephemeral] [-acl scheme:id]",
        &[
            ("name", true),
            ("data", true),
            ("kind", true),
            ("acl", true),
        ],
        1,
    ),
    Command {
        explained: " -b   Output data in base64 format\n -s   Print znode stats additionally\n -w   Watch for changes on the znode\n \
                    -x   Output data in hexdump format\n",
        ..command(
            "get",
            "[-s] [-w] [-b] [-x] path",
            &[("s", false), ("w", false), ("b", false), ("x", false)],
            1,
        )
    },
    command("getAcl", "[-s] path", &[("s", false)], 1),
    command("getAllChildrenNumber", "path", &[], 1),
    command("getEphemerals", "path", &[], 0),
    command("history", "", &[], 0),
    command(
        "import",
        "[-n] [-f] file [path]",
        &[("n", false), ("f", false)],
        1,
    ),
    command("listquota", "path", &[], 1),
    runner("lock", "[-w ms] path -- program ...", WAIT, 1),
    command(
        "ls",
        "[-s] [-w] [-R] path",
        &[("?", false), ("s", false), ("w", false), ("R", false)],
        1,
    ),
    command(
        "may",
        "scheme:id[,scheme:id ...] read|write|create|delete|admin|all path",
        &[],
        3,
    ),
    command("printwatches", "on|off", &[], 0),
    command("queue", "[-w ms] path put data | take | size", WAIT, 2),
    command("quit", "", &[], 0),
    command(
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        &[
            ("s", false),
            ("v", true),
            ("file", true),
            ("members", true),
            ("add", true),
            ("remove", true),
        ],
        0,
    ),
    command("redo", "cmdno", &[], 1),
    command(
        "removewatches",
        "path [-c|-d|-a] [-l]",
        &[
            ("c", false),
            ("d", false),
            ("p", false),
            ("r", false),
            ("a", false),
            ("l", false),
        ],
        1,
    ),
    runner("semaphore", "[-w ms] path places -- program ...", WAIT, 2),
    Command {
        explained: " -b         Supply data in base64 format\n -s         Print znode stats additionally\n \
                    -v <arg>   Set with an expected version\n",
        ..command(
            "set",
            "path data [-s] [-v version] [-b]",
            &[("s", false), ("v", true), ("b", false)],
            2,
        )
    },
    command(
        "setAcl",
        "[-s] [-v version] [-R] path acl",
        &[("s", false), ("v", true), ("R", false)],
        2,
    ),
    // Which limit is asked for first, and then for a path.
    command("setquota", "-n|-b|-N|-B val path", QUOTAS, 0),
    command("stat", "[-w] path", &[("w", false)], 1),
    command("sync", "path", &[], 1),
    command(
        "tree",
        "[-d depth] [-s] path",
        &[("d", true), ("s", false)],
        1,
    ),
    command("version", "", &[], 0),
    runner(
        "watch",
        "[-r] [-n count] [-w ms] path [-- program ...]",
        &[("r", false), ("n", true), ("w", true)],
        1,
    ),
    command("whoami", "", &[], 0),
];

/// The command of this name.
pub(super) fn find(name: &str) -> Result<&'static Command, Failure> {
    let found = COMMANDS.iter().find(|c| c.name == name);
    found.ok_or_else(|| Failure::not_found(name))
}

/// A line for each command.
pub(super) fn overview() -> String {
    let lines = COMMANDS
        .iter()
        .map(|c| format!("\t{} {}\n", c.name, c.form));
    format!(
        "zabra shell --server HOST:PORT[,...][/CHROOT] [--timeout MS] [-r] [-o raw|json] cmd args\n{}",
        lines.collect::<String>()
    )
}

impl Command {
    /// Whether it can do nothing without one.
    pub(super) fn needs_a_server(&self) -> bool {
        const ALONE: [&str; 6] = ["exit", "history", "printwatches", "quit", "redo", "version"];
        !ALONE.contains(&self.name)
    }

    /// Its form, and what its options mean.
    pub(super) fn usage(&self) -> String {
        let form = format!("{} {}", self.name, self.form);
        if self.explained.is_empty() {
            return form;
        }
        format!("{form}\n{}", self.explained)
    }

    /// Reads what stands behind its name.
    pub(super) fn read(&self, words: &[String]) -> Result<Given, Failure> {
        let given = Given::read_before(self.options, words, self.runs_behind)?;
        if given.arguments.len() < self.least {
            return Err(Failure::usage(self.usage()));
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, find};

    #[test]
    fn commands_are_found_by_name_and_tell_their_form() {
        assert!(COMMANDS.is_sorted_by_key(|c| c.name));
        let set = find("set").unwrap();
        let failure = set.read(&["/a".to_owned()]).unwrap_err();
        assert!(
            failure
                .line
                .starts_with("set path data [-s] [-v version] [-b]\n -b ")
        );
        let failure = find("nosuch").unwrap_err();
        assert_eq!(failure.line, "Command not found: Command not found nosuch");
        assert_eq!(failure.exit_code, 127);
    }
}
