//! `zabra top`: in a pseudo terminal, with its keys, and once for scripts. Method: real servers, one of which is killed.

mod common;

use common::{Cluster, wait_for};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

fn servers(cluster: &Cluster) -> String {
    let all = cluster.ports.iter().map(|port| format!("127.0.0.1:{port}"));
    all.collect::<Vec<_>>().join(",")
}

fn top(arguments: &[&str]) -> (Option<i32>, String, String) {
    let told = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("top")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (told.status.code(), text(told.stdout), text(told.stderr))
}

#[test]
fn what_an_ensemble_does_is_told_once_as_text_and_as_json() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let mut client = cluster.client(leader);
    client.create("/a", 0).unwrap().unwrap();
    let all = servers(&cluster);
    let (end, told, _) = top(&[&all, "--once", "--every", "200", "-o", "json"]);
    assert_eq!(end, Some(0));
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| {
        told.iter()
            .filter(|one| one["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let (servers, clients) = (of("server"), of("client"));
    assert_eq!(servers.len(), 3);
    let states = |state: &str| servers.iter().filter(|one| one["state"] == state).count();
    assert_eq!((states("leader"), states("follower")), (1, 2));
    for one in &servers {
        assert!(one["zxid"].as_str().unwrap().starts_with("0x1"), "{one}");
        for number in [
            "behind",
            "requests_per_second",
            "latency_avg_ms",
            "read_p99_ms",
            "sync_avg_ms",
            "connections",
            "elections",
        ] {
            assert!(one[number].is_number(), "{number} of {one}");
        }
    }
    let session = format!("0x{:x}", client.session.0);
    let ours = clients
        .iter()
        .find(|one| one["session"] == session.as_str());
    assert_eq!(ours.unwrap()["last_operation"], "CREA", "{clients:?}");
    cluster.kill(leader);
    let (end, told, _) = top(&[&servers_of(&cluster, leader), "--once"]);
    assert_eq!(end, Some(1), "nobody of these serves");
    assert!(told.contains(": down: "), "{told}");
    let (end, told, why) = top(&[&all]);
    assert_eq!((end, told.as_str()), (Some(1), ""));
    assert!(why.contains("write --once"), "{why}");
}

fn servers_of(cluster: &Cluster, one: usize) -> String {
    format!("127.0.0.1:{}", cluster.ports[one])
}

/// A terminal with a program in it.
struct Terminal {
    near: File,
    shown: Arc<Mutex<vt::Screen>>,
    child: Child,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let size = Winsize {
            ws_row: vt::ROWS as u16,
            ws_col: vt::COLUMNS as u16,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&near, size).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
        let far = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&name)
                .unwrap()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .arg("top")
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(far())
            .stdout(far())
            .stderr(far())
            .spawn()
            .unwrap();
        let near = File::from(near);
        let (shown, mut read) = (
            Arc::new(Mutex::new(vt::Screen::default())),
            near.try_clone().unwrap(),
        );
        let screen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = read.read(&mut bytes) {
                screen.lock().unwrap().take(&bytes[..n]);
            }
        });
        Self { near, shown, child }
    }

    fn text(&self) -> String {
        self.shown.lock().unwrap().text()
    }

    fn shows(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        wait_for(what, || Some(self.text()).filter(|text| is_it(text)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As much of a terminal as the view uses: where the cursor goes, and what is written.
mod vt {
    pub(super) const ROWS: usize = 30;
    pub(super) const COLUMNS: usize = 150;

    pub(super) struct Screen {
        cells: Vec<Vec<char>>,
        at: (usize, usize),
        rest: Vec<u8>,
    }

    impl Default for Screen {
        fn default() -> Self {
            Self {
                cells: vec![vec![' '; COLUMNS]; ROWS],
                at: (0, 0),
                rest: Vec::new(),
            }
        }
    }

    impl Screen {
        pub(super) fn text(&self) -> String {
            let rows = self
                .cells
                .iter()
                .map(|row| row.iter().collect::<String>().trim_end().to_owned());
            rows.collect::<Vec<_>>().join("\n")
        }

        pub(super) fn take(&mut self, bytes: &[u8]) {
            self.rest.extend_from_slice(bytes);
            while let Some(n) = self.one() {
                self.rest.drain(..n);
            }
        }

        /// Takes one letter or one sequence; how many bytes it was, if it is whole.
        fn one(&mut self) -> Option<usize> {
            let first = *self.rest.first()?;
            if first != 0x1b {
                let length = match first {
                    0..0x80 => 1,
                    0xc0..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                };
                let letter = std::str::from_utf8(self.rest.get(..length)?)
                    .unwrap_or("?")
                    .chars()
                    .next()?;
                if letter >= ' ' {
                    if let Some(cell) = self
                        .cells
                        .get_mut(self.at.0)
                        .and_then(|row| row.get_mut(self.at.1))
                    {
                        *cell = letter;
                    }
                    self.at.1 += 1;
                }
                return Some(length);
            }
            if *self.rest.get(1)? != b'[' {
                return Some(2);
            }
            let end = self
                .rest
                .iter()
                .skip(2)
                .position(|byte| byte.is_ascii_alphabetic())?
                + 2;
            let inside = String::from_utf8_lossy(&self.rest[2..end]).into_owned();
            let mut numbers = inside.split(';').map(|n| n.parse::<usize>().unwrap_or(1));
            match self.rest[end] {
                b'H' => {
                    self.at = (
                        numbers.next().unwrap_or(1) - 1,
                        numbers.next().unwrap_or(1) - 1,
                    )
                }
                b'J' => self.cells = vec![vec![' '; COLUMNS]; ROWS],
                _ => {}
            }
            Some(end + 1)
        }
    }
}

#[test]
fn a_terminal_shows_members_and_an_election_as_it_comes_and_keys_are_answered() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let mut client = cluster.client((leader + 1) % 3);
    client.create("/a", 0).unwrap().unwrap();
    let mut terminal = Terminal::run(&[&servers(&cluster), "--every", "200"]);
    terminal.shows("three servers", |text| {
        text.contains("3 of 3 serve") && text.contains("leads in epoch 1")
    });
    let text = terminal.shows("a client", |text| text.contains("CREA"));
    assert!(
        text.contains("clients, by requests\n") || text.contains("clients, by requests "),
        "{text}"
    );
    terminal.near.write_all(b"s").unwrap();
    terminal.shows("another order", |text| {
        text.contains("by requests that wait")
    });
    let name = servers_of(&cluster, leader);
    cluster.kill(leader);
    let down = format!("{name} is down: ");
    let text = terminal.shows("the next leader", |text| {
        text.contains(&down) && text.contains("leads in epoch 2") && text.contains("is leader now")
    });
    assert!(text.contains("2 of 3 serve"), "{text}");
    if let Ok(dir) = std::env::var("ZABRA_TEST_PAGE") {
        std::fs::write(format!("{dir}/top.txt"), &text).unwrap();
    }
    terminal.near.write_all(b"q").unwrap();
    let end = wait_for("the end", || terminal.child.try_wait().unwrap());
    assert_eq!(end.code(), Some(0));
}
