//! What a supervisor hears of a server, at a socket of the test's own in place of systemd's; and that the shipped unit is one.

mod common;

use common::{PATIENCE, free_ports};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends its server, whatever becomes of the test.
struct Server(Child);

impl Server {
    fn start(dir: &Path, socket: &str, watchdog: Option<(Duration, Option<u32>)>) -> Self {
        let port = free_ports(1)[0];
        let file = dir.join("zoo.cfg");
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            dir.join("data").display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zabra"));
        command
            .arg("serve")
            .arg(&file)
            .env("ZABRA_LOG", "error")
            .env("NOTIFY_SOCKET", socket)
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null());
        if let Some((within, pid)) = watchdog {
            command.env("WATCHDOG_USEC", within.as_micros().to_string());
            if let Some(pid) = pid {
                command.env("WATCHDOG_PID", pid.to_string());
            }
        }
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What comes next, within a time.
fn heard(socket: &UnixDatagram, within: Duration) -> Option<String> {
    socket.set_read_timeout(Some(within)).unwrap();
    let mut buffer = [0; 4096];
    let bytes = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..bytes].to_vec()).unwrap())
}

fn until(socket: &UnixDatagram, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let said = heard(socket, left.max(Duration::from_millis(1)));
        let said = said.unwrap_or_else(|| panic!("{line} was not said"));
        if said.lines().any(|said| said == line) {
            return;
        }
    }
}

#[test]
fn a_supervisor_hears_of_readiness_life_and_the_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let within = Duration::from_secs(2);
    let mut server = Server::start(dir.path(), path.to_str().unwrap(), Some((within, None)));
    until(&socket, "READY=1");
    until(&socket, "STATUS=serves on its own");
    // Nobody asks it for anything: it lives nevertheless.
    let mut last = Instant::now();
    for _ in 0..6 {
        until(&socket, "WATCHDOG=1");
        assert!(last.elapsed() < within, "the watchdog would have bitten");
        last = Instant::now();
    }
    // A process that takes no turns says nothing.
    server.signal("STOP");
    while heard(&socket, Duration::from_millis(300)).is_some() {}
    assert_eq!(heard(&socket, within), None);
    server.signal("CONT");
    until(&socket, "WATCHDOG=1");
    server.signal("TERM");
    until(&socket, "STOPPING=1");
    assert!(server.0.wait().unwrap().success());
}

#[test]
fn a_watchdog_of_another_process_and_a_name_that_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("zabra-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let other = Some((Duration::from_millis(500), Some(1)));
    let _server = Server::start(dir.path(), &format!("@{name}"), other);
    until(&socket, "READY=1");
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let said = heard(&socket, Duration::from_millis(200)).unwrap_or_default();
        assert!(!said.contains("WATCHDOG"), "{said}");
    }
    drop(socket);
}

/// A supervisor that is not there does not keep a server from serving.
#[test]
fn a_socket_that_is_gone_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let mut server = Server::start(dir.path(), gone.to_str().unwrap(), None);
    std::thread::sleep(Duration::from_secs(1));
    server.signal("TERM");
    assert!(server.0.wait().unwrap().success());
}

#[test]
fn the_unit_is_one_of_type_notify_with_a_watchdog() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/zabra.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "ExecStart=/usr/bin/zabra serve /etc/zookeeper/zoo.cfg",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}");
    }
    // As systemd reads it, where it is; the program is looked for where the test has it.
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("zabra.service");
    let own = text.replace("/usr/bin/zabra", env!("CARGO_BIN_EXE_zabra"));
    let own = own
        .lines()
        .filter(|line| !line.starts_with("Documentation=man:"))
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(&here, own).unwrap();
    match Command::new("systemd-analyze")
        .arg("verify")
        .arg(&here)
        .output()
    {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let about: Vec<_> = said
                .lines()
                .filter(|line| line.contains("zabra.service"))
                .collect();
            assert!(about.is_empty(), "{about:?}");
        }
        Err(error) => eprintln!("skipped: systemd-analyze: {error}"),
    }
}
