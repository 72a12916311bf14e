//! `zabra dev` as a fixture for tests in any language: what it tells as JSON, how it ends, and the faults of a seed.

mod common;

use common::{Client, PATIENCE, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use zabra_model::ids::SessionId;

/// `zabra dev --json`, whose servers end when it is dropped.
struct Dev {
    process: Child,
    events: Receiver<Value>,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["dev", "--json", "--base-port", "0", "--until-stdin-ends"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line);
                let _ = sender.send(event.unwrap_or(Value::String(line)));
            }
        });
        Self { process, events }
    }

    fn next(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// All that is still told until it has ended, which has to be an orderly end.
    fn end(mut self) -> Vec<Value> {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        self.events.iter().collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_alive(pid: &Value) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn client(server: &Value) -> Client {
    let port = u16::try_from(server["client_port"].as_u64().unwrap()).unwrap();
    wait_for("a client", || {
        Client::connect(port, SessionId(0), None, 10_000)
    })
}

#[test]
fn an_ensemble_is_told_in_a_line_of_json_and_ends_with_whoever_has_started_it() {
    let dev = Dev::start(&[]);
    let serving = dev.next();
    assert_eq!(serving["event"], "serving");
    let servers = serving["servers"].as_array().unwrap();
    let connect: Vec<&str> = servers
        .iter()
        .map(|s| s["client"].as_str().unwrap())
        .collect();
    assert_eq!(serving["connect"], connect.join(","));
    assert_eq!(servers.len(), 3);
    client(&servers[0]).create("/a", 0).unwrap().unwrap();
    for (server, id) in servers.iter().zip(1..) {
        assert_eq!(server["id"], id);
        assert!(is_alive(&server["pid"]), "{server}");
        let data = Path::new(server["data"].as_str().unwrap());
        assert!(data.join("version-2").is_dir(), "{server}");
        assert!(Path::new(server["config"].as_str().unwrap()).is_file());
        let mut of = client(server);
        of.sync();
        assert_eq!(of.get("/a").as_deref(), Some("0"));
        // The port of commands answers, too.
        let admin = server["admin"].as_str().unwrap();
        let mut stream = std::net::TcpStream::connect(admin).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }
    // One that ends by itself is told of.
    let second = &servers[1]["pid"];
    let killed = Command::new("kill")
        .args(["-9", &second.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let ended = dev.next();
    assert_eq!(
        (&ended["event"], &ended["server"], &ended["signal"]),
        (&"ended".into(), &2.into(), &9.into())
    );
    let last = dev.end();
    assert_eq!(last, [serde_json::json!({ "event": "stopped" })]);
    for server in servers {
        assert!(!is_alive(&server["pid"]), "{server}");
        assert!(!Path::new(server["data"].as_str().unwrap()).exists());
    }
}

/// Of this seed the first two faults are a kill and a cut, of different servers and of less than two seconds.
const SEED: &str = "2605";

#[test]
fn a_seed_gives_the_same_faults_and_writes_go_on_under_them() {
    let told: Vec<Vec<Value>> = [1, 2].map(|_| faults()).into();
    assert_eq!(told[0], told[1]);
    let kinds: Vec<&Value> = told[0].iter().map(|fault| &fault["kind"]).collect();
    assert!(
        kinds.contains(&&"kill".into()) && kinds.contains(&&"cut".into()),
        "{told:?}"
    );
}

/// The first two faults, while a client writes.
fn faults() -> Vec<Value> {
    let dev = Dev::start(&["--chaos", "cut,kill", "--seed", SEED, "--chaos-rest", "200"]);
    let serving = dev.next();
    assert_eq!(serving["seed"].to_string(), SEED);
    let servers = serving["servers"].as_array().unwrap();
    let mut faults = vec![];
    while faults.len() < 2 {
        let fault = dev.next();
        assert_eq!(fault["event"], "fault", "{fault}");
        let hit = usize::try_from(fault["server"].as_u64().unwrap()).unwrap() - 1;
        // The two others are a quorum, once they have a leader.
        let other = &servers[(hit + 1) % 3];
        let path = format!("/of-{}", fault["number"]);
        let deadline = Instant::now() + PATIENCE;
        while !matches!(client(other).create(&path, 0), Some(Ok(_) | Err(-110))) {
            assert!(Instant::now() < deadline, "no write under {fault}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mended = dev.next();
        assert_eq!(
            (&mended["event"], &mended["server"]),
            (&"mended".into(), &fault["server"])
        );
        // It is one of them again, with what was written meanwhile. One that was killed has another process.
        let was = &servers[hit];
        let mut back = client(was);
        back.sync();
        assert_eq!(back.get(&path).as_deref(), Some("0"), "{fault}");
        assert_eq!(
            mended["pid"] != was["pid"],
            fault["kind"] == "kill",
            "{mended}"
        );
        faults.push(fault);
    }
    dev.end();
    faults
}

#[test]
fn what_cannot_be_is_refused() {
    for (arguments, why) in [
        (&["--chaos", "slow-disk"][..], "has no right to mount"),
        (&["--chaos", "kill", "--servers", "2"], "take at least 3"),
        (&["--seed", "7"], "--chaos"),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["dev", "--base-port", "0"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && said.contains(why), "{said}");
    }
}
