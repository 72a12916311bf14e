//! An ensemble on this machine, for trying things out: each server is a process of its own.

pub mod ports;

use crate::config::join;
use crate::error::ServerError;
use crate::runtime::shutdown;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many servers.
    pub servers: u16,
    /// Client port of the first; the others follow.
    pub base_port: u16,
    /// Where the data stays; `None`: in a temporary directory that is removed at the end.
    pub data: Option<PathBuf>,
}

pub(crate) const HOST: &str = "127.0.0.1";
const TICK_MS: u32 = 2000;
pub(crate) const START_TIME: Duration = Duration::from_secs(30);
const STOP_TIME: Duration = Duration::from_secs(10);

/// Runs the ensemble until a signal comes.
///
/// # Errors
/// [`ServerError::Dev`], [`ServerError::Io`].
pub async fn run(options: Options) -> Result<(), ServerError> {
    if options.servers == 0 || options.servers > 64 {
        return Err(ServerError::Dev("--servers: write 1 to 64".into()));
    }
    let (dir, is_ours) = match &options.data {
        Some(dir) => (dir.clone(), false),
        None => {
            let name = format!("zabra-dev-{}", std::process::id());
            (std::env::temp_dir().join(name), true)
        }
    };
    let result = run_in(&dir, &options).await;
    if is_ours && let Err(source) = std::fs::remove_dir_all(&dir) {
        return result.and(Err(ServerError::Io { path: dir, source }));
    }
    result
}

async fn run_in(dir: &Path, options: &Options) -> Result<(), ServerError> {
    if options.base_port.checked_add(options.servers).is_none() {
        return Err(ServerError::Dev(
            "--base-port: too large for that many servers".into(),
        ));
    }
    let ports: Vec<u16> = (0..options.servers)
        .map(|i| options.base_port + i)
        .collect();
    let configs = write_configs(dir, &ports, TICK_MS)?;
    are_free(&ports)?;
    let mut ensemble = Ensemble::default();
    for config in &configs {
        ensemble.start(config)?;
    }
    tokio::select! {
        ready = wait_until_serving(&mut ensemble, &ports) => ready?,
        _ = shutdown::signalled() => {
            ensemble.stop();
            return Ok(());
        }
    }
    let connect: Vec<String> = ports.iter().map(|port| join(HOST, *port)).collect();
    println!("{}", connect.join(","));
    let _ = std::io::stdout().flush();
    shutdown::signalled().await;
    ensemble.stop();
    Ok(())
}

/// A directory and a `zoo.cfg` for each of these ports of clients; the files.
pub(crate) fn write_configs(
    dir: &Path,
    of_clients: &[u16],
    tick_ms: u32,
) -> Result<Vec<PathBuf>, ServerError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::Io { path, source }
    };
    let ports: Vec<u16> = ports::free(of_clients.len() * 3)
        .map_err(io(dir))?
        .into_iter()
        .filter(|port| !of_clients.contains(port))
        .collect();
    let mut members = String::new();
    if of_clients.len() > 1 {
        for (n, pair) in (1..=of_clients.len()).zip(ports.chunks(2)) {
            if let [quorum, election] = pair {
                members.push_str(&format!("server.{n}={HOST}:{quorum}:{election}\n"));
            }
        }
    }
    if !members.is_empty() {
        members.push_str("zabra.quorumFromMembersOnly=true\n");
    }
    let data = |n: usize| dir.join(format!("server-{n}"));
    // All of them begin together, so none can have forgotten anything; one that is new among others is told of.
    let is_new = !(1..=of_clients.len()).any(|n| data(n).exists());
    let mut configs = Vec::new();
    for (n, port) in (1..).zip(of_clients) {
        let data = data(n);
        std::fs::create_dir_all(&data).map_err(io(&data))?;
        let myid = data.join("myid");
        std::fs::write(&myid, n.to_string()).map_err(io(&myid))?;
        if is_new {
            let initialize = data.join("initialize");
            std::fs::write(&initialize, "").map_err(io(&initialize))?;
        }
        let text = format!(
            "tickTime={tick_ms}\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\nclientPortAddress={HOST}\nmaxClientCnxns=0\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\nadmin.enableServer=false\n{members}",
            data.display(),
        );
        let config = data.join("zoo.cfg");
        std::fs::write(&config, text).map_err(io(&config))?;
        configs.push(config);
    }
    Ok(configs)
}

#[derive(Default)]
struct Ensemble {
    children: Vec<Child>,
}

impl Ensemble {
    fn start(&mut self, config: &Path) -> Result<(), ServerError> {
        let binary = std::env::current_exe().map_err(|source| ServerError::Io {
            path: "zabra".into(),
            source,
        })?;
        // The end of its input stops a child, also when this process is killed.
        let child = Command::new(&binary)
            .arg("serve")
            .arg("--until-stdin-ends")
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| ServerError::Io {
                path: binary,
                source,
            })?;
        self.children.push(child);
        Ok(())
    }

    /// The first server that has ended by itself, by its number from 1.
    fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        let mut numbered = (1..).zip(&mut self.children);
        numbered.find_map(|(n, child)| Some((n, child.try_wait().ok()??)))
    }

    fn stop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
        }
        let deadline = Instant::now() + STOP_TIME;
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill(); // only if it has not ended by itself
            let _ = child.wait();
        }
        self.children.clear();
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether clients can be listened for. A server would say so, too, and then nobody would read it among the others' lines.
fn are_free(ports: &[u16]) -> Result<(), ServerError> {
    for port in ports {
        if let Err(error) = TcpListener::bind((HOST, *port)) {
            return Err(ServerError::Dev(format!(
                "port {port}: {error}; end what listens there, or take other ports with --base-port"
            )));
        }
    }
    Ok(())
}

async fn wait_until_serving(ensemble: &mut Ensemble, ports: &[u16]) -> Result<(), ServerError> {
    let deadline = Instant::now() + START_TIME;
    for port in ports.iter().copied() {
        let asked = || tokio::task::spawn_blocking(move || is_serving(port));
        while !asked().await.unwrap_or(false) {
            if let Some((server, how)) = ensemble.ended() {
                return Err(ServerError::Dev(format!(
                    "server {server} has ended before the ensemble served ({how}); its own line above says why"
                )));
            }
            if Instant::now() > deadline {
                return Err(ServerError::Dev(format!(
                    "the server on port {port} does not serve after {} s; see its log above",
                    START_TIME.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

pub(crate) fn is_serving(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((HOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"isro")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == "rw")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_before_anything_is_started() {
        let held = TcpListener::bind((HOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let said = are_free(&[port]).unwrap_err().to_string();
        assert!(said.contains(&format!("port {port}: ")), "{said}");
        assert!(said.contains("--base-port"), "{said}");
        drop(held);
        are_free(&[port]).unwrap();
    }

    #[test]
    fn only_an_ensemble_that_is_new_as_a_whole_may_begin_without_data() {
        let dir = tempfile::tempdir().unwrap();
        let ports = [2181, 2182, 2183];
        let initialize = |i: u16| dir.path().join(format!("server-{i}/initialize"));
        write_configs(dir.path(), &ports, TICK_MS).unwrap();
        for i in 1..=3 {
            assert!(initialize(i).exists());
            std::fs::remove_file(initialize(i)).unwrap();
        }
        std::fs::remove_dir_all(dir.path().join("server-2")).unwrap();
        write_configs(dir.path(), &ports, TICK_MS).unwrap();
        assert!(
            !initialize(2).exists(),
            "it may have acknowledged something"
        );
    }

    #[tokio::test]
    async fn a_server_that_ends_is_told_of_at_once() {
        let mut ensemble = Ensemble::default();
        // The first one lives until its input ends, as a server does.
        for code in ["exec cat", "exit 3"] {
            let mut child = Command::new("sh");
            child.args(["-c", code]).stdin(Stdio::piped());
            let child = child.stdout(Stdio::null()).spawn().unwrap();
            ensemble.children.push(child);
        }
        let begun = Instant::now();
        // Nobody serves on port 1.
        let said = wait_until_serving(&mut ensemble, &[1]).await.unwrap_err();
        assert!(said.to_string().contains("server 2 has ended"), "{said}");
        assert!(begun.elapsed() < START_TIME, "not by the deadline");
    }
}
