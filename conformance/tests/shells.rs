//! ZooKeeper's own shell and `zabra shell`, given the same lines: each has a fresh server of its own kind, and the answers are compared.
//!
//! The lines are in `shells/`. What is not compared is said in [`comparable`]; what differs and stays so is in [`DECIDED`], each with its
//! reason, and an entry that no longer tells a difference fails the test, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use zabra_conformance::cluster::{self, Cluster, PATIENCE, Product, wait_until};
use zabra_conformance::interop;
use zabra_conformance::shells::{Heard, Said, Shell, Talk, normalized, without_overview};

/// For a server of its own. `@5`: the fifth event of the section has come; `{2}`: the number of the line two lines before; `---`: another shell.
const ALONE: &str = include_str!("shells/alone.txt");
/// For three servers whose members change.
const MEMBERS: &str = include_str!("shells/ensemble.txt");

const SHELLS: [(Shell, Product); 2] = [
    (Shell::Java, Product::ZooKeeper),
    (Shell::Zabra, Product::Zabra),
];

/// Lines that are answered otherwise, and why. Each line is written as in the script.
#[rustfmt::skip]
const DECIDED: &[(&str, &str)] = &[
    ("get /t/nodata", "D-79: our client does not tell no data from none"),
    ("setAcl -R /acl world:anyone:r", "D-71: what is refused is told as everywhere, on standard error, and the exit code says so"),
    ("redo", "nothing was done, and how it is written is told"),
    ("help", "the overview was asked for, and is no failure"),
    ("reconfig -file /none/file", "the system's own words, and Java writes the path twice"),
    ("reconfig -remove x", "an id that is no number is a bad argument, as others are"),
    ("addauth digest", "D-134: nothing is sent that proves nobody; in Java's shell the session is over without a word"),
    ("getAllChildrenNumber /t", "D-134: the session goes on"),
    ("addauth nosuch x", "D-134: the answer is waited for, and told"),
    ("getEphemerals /t", "D-134: it was told before, and the session is over"),
    ("$ create -s /", "the client crate takes no sequential node whose name is a number alone at the root"),
    ("$ setquota -n 0 /o", "D-71: what did nothing has exit code 1"),
    ("$ listquota /o", "D-71: what did nothing has exit code 1"),
    ("$ delete /p 7", "D-135: a version that is asked for is looked at"),
    ("$ stat /p", "D-135: and the node stays"),
    ("$ history", "a command alone has no history; Java's shell tells a line that is none"),
    ("$ printwatches", "a command alone tells of no events"),
    ("$ version", "each tells its own version"),
];

/// Says all lines of a section, with these words in place of those in braces.
fn talk(shell: Shell, server: &str, section: &str, words: &[(String, String)]) -> Heard {
    let command = shell.command(cluster::binary().unwrap(), server);
    let mut talk = Talk::begin(command.unwrap().unwrap()).unwrap();
    for line in section.lines().filter(|l| !l.starts_with('#')) {
        let done = if let Some(count) = line.strip_prefix('@') {
            talk.wait_for_events(count.parse().unwrap())
        } else {
            let numbers =
                [1, 2, 3].map(|back| (format!("{{{back}}}"), talk.number(back).to_string()));
            let words = words.iter().chain(&numbers);
            talk.say(&words.fold(line.to_owned(), |line, (word, meant)| {
                line.replace(word, meant)
            }))
        };
        if let Err(e) = done {
            panic!("{shell:?}: {e:#}");
        }
    }
    talk.end(shell, "quit").unwrap()
}

/// What two answers to this line are compared by.
fn comparable(line: &str, text: &str) -> String {
    // The overview of all commands has ours, too.
    let mut text = normalized(&without_overview(text));
    // Java names the class of what its parser of options has thrown.
    if let Some(behind) = text.strip_prefix("org.apache.commons.cli.") {
        text = behind.split_once(": ").unwrap().1.to_owned();
    }
    let command = line.split(' ').next().unwrap();
    // Java's server keeps identities and ephemeral nodes in the order of their hashes.
    if ["whoami", "getEphemerals"].contains(&command) {
        let mut all: Vec<_> = text.split(['[', ']', '\n', ',']).map(str::trim).collect();
        all.sort_unstable();
        text = all.join("\n");
    }
    text
}

/// All lines that are answered otherwise without a reason, and reasons that nothing needs.
#[derive(Default)]
struct Comparison {
    lines: usize,
    wrong: Vec<String>,
    needed: BTreeSet<&'static str>,
}

impl Comparison {
    fn compare(&mut self, line: &str, theirs: &Said, ours: &Said) {
        self.lines += 1;
        let pairs = [
            (comparable(line, &theirs.out), comparable(line, &ours.out)),
            (comparable(line, &theirs.err), comparable(line, &ours.err)),
        ];
        if pairs.iter().all(|(theirs, ours)| theirs == ours) {
            return;
        }
        // D-136: Java's shell ends where a number or the like is none. Ours says so, and goes on to the next line.
        if theirs.err.starts_with("Exception in thread")
            && ours.err.trim_end().ends_with("\nSome(1)")
        {
            return;
        }
        if let Some((decided, _)) = DECIDED.iter().find(|(decided, _)| *decided == line) {
            self.needed.insert(decided);
            return;
        }
        let [out, err] = pairs;
        self.wrong.push(format!(
            "{line}\n  out {:?}\n      {:?}\n  err {:?}\n      {:?}",
            out.0, out.1, err.0, err.1
        ));
    }
}

#[test]
fn the_shells_answer_alike() {
    if !interop::has_zookeeper().unwrap() {
        return;
    }
    let mut done = Comparison::default();
    alone(&mut done);
    members(&mut done);
    once(&mut done);
    assert!(
        done.wrong.is_empty(),
        "{} of {}:\n{}",
        done.wrong.len(),
        done.lines,
        done.wrong.join("\n")
    );
    let unneeded: Vec<_> = DECIDED
        .iter()
        .filter(|(line, _)| !done.needed.contains(line))
        .collect();
    assert!(
        unneeded.is_empty(),
        "these are answered alike: {unneeded:#?}"
    );
    assert!(done.lines >= 400, "{}", done.lines);
}

fn lines(section: &str) -> impl Iterator<Item = &str> {
    section.lines().filter(|l| !l.starts_with(['#', '@']))
}

fn alone(done: &mut Comparison) {
    let [theirs, ours] = SHELLS.map(|(shell, product)| {
        let cluster = Cluster::start_as(&[product], &[("extendedTypesEnabled", "true")]).unwrap();
        let words = [(
            "{port}".to_owned(),
            cluster.servers[0].client_port.to_string(),
        )];
        let sections = ALONE.split("---\n");
        sections
            .map(|section| talk(shell, &cluster.connect(), section, &words))
            .collect::<Vec<_>>()
    });
    for (section, (theirs, ours)) in ALONE.split("---\n").zip(theirs.iter().zip(&ours)) {
        for (line, (theirs, ours)) in lines(section).zip(theirs.answers.iter().zip(&ours.answers)) {
            done.compare(line, theirs, ours);
        }
        let events = |heard: &Heard| {
            heard
                .events
                .iter()
                .map(|e| normalized(e))
                .collect::<Vec<_>>()
        };
        assert_eq!(events(theirs), events(ours), "events");
        assert_eq!(theirs.exit_code, ours.exit_code, "of quit");
    }
}

/// Three servers, and one that may leave and come back without taking the shell's connection or the leader with it.
fn members(done: &mut Comparison) {
    let settings = [
        ("reconfigEnabled", "true"),
        (
            "DigestAuthenticationProvider.superDigest",
            "super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
        ),
    ];
    let [theirs, ours] = SHELLS.map(|(shell, product)| {
        let mut cluster = Cluster::prepare(&[product; 3], &[], &settings).unwrap();
        for i in 0..3 {
            cluster.list_members(i, &[0, 1, 2]).unwrap();
            cluster.restart(i).unwrap();
        }
        cluster.wait_until_serving().unwrap();
        let leader = cluster.leader().unwrap();
        let other = if leader == 2 { 1 } else { 2 };
        let named = [("1", 0), ("O", other), ("R", 3 - other)];
        let mut words: Vec<_> = named
            .iter()
            .map(|(name, i)| {
                (
                    format!("{{{name}}}"),
                    format!("server.{}", cluster.member(*i).unwrap()),
                )
            })
            .collect();
        words.push(("{o}".to_owned(), (other + 1).to_string()));
        let server = cluster.servers[0].connect();
        wait_until("the first list in the history", PATIENCE, || {
            let zabra = cluster::binary()?;
            let told = Shell::Zabra.once(zabra, &server, &["config"])?.unwrap();
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            Ok(told.contains("server.3=") && !told.ends_with("version=0\n"))
        })
        .unwrap();
        let mut heard = talk(shell, &server, MEMBERS, &words);
        // The addresses by their names again; the order of lines is that of ids, and of `config -c` that of a table.
        for said in heard
            .answers
            .iter_mut()
            .flat_map(|s| [&mut s.out, &mut s.err])
        {
            for (name, member) in &words[..3] {
                *said = said.replace(member, name);
                let (_, client) = member.rsplit_once(';').unwrap();
                *said = said.replace(client, &format!("{name}client"));
            }
            *said = normalized(said);
            // The version is a zxid.
            let is_zxid = |word: &str| word.len() == 9 && word.starts_with("1000000");
            let lines =
                said.split(['\n', ',', ' '])
                    .map(|line| match line.split_once("version=") {
                        Some((before, _)) => format!("{before}version=*"),
                        None if is_zxid(line) => "*".to_owned(),
                        None => line.to_owned(),
                    });
            let mut lines: Vec<_> = lines.collect();
            lines.sort();
            *said = lines.join("\n");
        }
        heard
    });
    for (line, (theirs, ours)) in lines(MEMBERS).zip(theirs.answers.iter().zip(&ours.answers)) {
        done.compare(line, theirs, ours);
    }
}

/// One command each, with its exit code; those that end Java's shell in between are here, too.
const ONCE: &[&str] = &[
    "create /o one",
    "create /o again",
    "get /o",
    "get -s /o",
    "get /none",
    "get",
    "get -q /o",
    "set /o two",
    "set -v 9 /o x",
    "ls /",
    "ls -R /zookeeper",
    "stat /o",
    "delete /none",
    "deleteall /none",
    "setquota -n 0 /o",
    "listquota /o",
    "delquota /o",
    "getAcl /o",
    "addauth digest a:b",
    "whoami",
    "sync /o",
    "nosuch",
    "history",
    "printwatches",
    "redo 0",
    "redo x",
    "close",
    "quit",
    "version",
    "set -v many /o x",
    "delete -v many /o",
    "setAcl -v many /o world:anyone:r",
    "set -b /o not,base64",
    "addWatch o",
    "create -t 5 -e /o/x",
    "create -s /",
    "create /p x",
    "delete /p 7",
    "stat /p",
    "deleteall -b many /o",
    "deleteall -b 0 /o",
    "deleteall /o",
];

fn once(done: &mut Comparison) {
    let [theirs, ours] = SHELLS.map(|(shell, product)| {
        let cluster = Cluster::start_as(&[product], &[]).unwrap();
        let run = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            let zabra = cluster::binary().unwrap();
            let output = shell
                .once(zabra, &cluster.connect(), &words)
                .unwrap()
                .unwrap();
            Said::of_one(&output)
        };
        ONCE.iter().map(run).collect::<Vec<_>>()
    });
    for (line, (theirs, ours)) in ONCE.iter().zip(theirs.iter().zip(&ours)) {
        done.compare(&format!("$ {line}"), theirs, ours);
    }
}
