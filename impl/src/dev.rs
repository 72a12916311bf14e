//! An ensemble on this machine, for trying things out: each server is a process of its own.

mod chaos;
mod ensemble;
mod layout;
mod links;
pub mod ports;
mod tell;

pub use chaos::{Chaos, Kind};
pub(crate) use ports::HOST;

use crate::error::ServerError;
use crate::runtime::shutdown;
use ensemble::Ensemble;
use layout::Member;
use links::Links;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tell::Teller;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many servers.
    pub servers: u16,
    /// Client port of the first, and the others follow; 0: ports that are free.
    pub base_port: u16,
    /// Where the data stays; `None`: in a temporary directory that is removed at the end.
    pub data: Option<PathBuf>,
    /// A line of JSON for each event, on standard output.
    pub is_json: bool,
    /// The end of standard input ends it, too.
    pub until_stdin_ends: bool,
    /// What happens to the servers.
    pub chaos: Option<Chaos>,
}

const TICK_MS: u32 = 2000;
pub(crate) const START_TIME: Duration = Duration::from_secs(30);
/// Between two looks at the servers.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the ensemble until a signal comes.
///
/// # Errors
/// [`ServerError::Dev`], [`ServerError::Io`].
pub async fn run(options: Options) -> Result<(), ServerError> {
    if options.servers == 0 || options.servers > 64 {
        return Err(ServerError::Dev("--servers: write 1 to 64".into()));
    }
    if let Some(chaos) = &options.chaos {
        chaos.refused(options.servers).map_err(ServerError::Dev)?;
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
    let io = |source| ServerError::Io {
        path: dir.to_owned(),
        source,
    };
    let ports = match options.base_port {
        0 => ports::free(options.servers.into()).map_err(io)?,
        base if base.checked_add(options.servers).is_none() => {
            return Err(ServerError::Dev(
                "--base-port: too large for that many servers".into(),
            ));
        }
        base => (0..options.servers).map(|i| base + i).collect(),
    };
    let members = layout::members(&ports, true).map_err(io)?;
    let cuts = |chaos: &Chaos| chaos.kinds.contains(&Kind::Cut);
    let links = match options.chaos.as_ref().is_some_and(cuts) {
        true => Some(Links::between(&members).await.map_err(io)?),
        false => None,
    };
    let found = |of, n| links.as_ref().and_then(|l: &Links| l.ports(of, n));
    let configs = layout::write_configs(dir, &members, &found, TICK_MS)?;
    are_free(&ports)?;
    let tell = Teller {
        is_json: options.is_json,
    };
    let mut ensemble = Ensemble::start(&configs)?;
    tokio::select! {
        ready = wait_until_serving(&mut ensemble, &ports) => ready?,
        () = told_to_end(options.until_stdin_ends) => {
            ensemble.stop();
            return Ok(());
        }
    }
    let seed = options.chaos.as_ref().map(|chaos| chaos.seed);
    tell.serving(dir, &members, &ensemble.servers, seed);
    let served = tokio::select! {
        failed = look_after(&mut ensemble, &members, options, links.as_ref(), tell) => failed,
        () = told_to_end(options.until_stdin_ends) => Ok(()),
    };
    ensemble.stop();
    tell.stopped();
    served
}

async fn told_to_end(until_stdin_ends: bool) {
    tokio::select! {
        _ = shutdown::signalled() => {}
        () = shutdown::stdin_ended(), if until_stdin_ends => {}
    }
}

/// Tells who has ended, and does to the servers what was asked for. It ends only by an error.
async fn look_after(
    ensemble: &mut Ensemble,
    members: &[Member],
    options: &Options,
    links: Option<&Links>,
    tell: Teller,
) -> Result<(), ServerError> {
    let Some(chaos) = &options.chaos else {
        watch(ensemble, tell, None).await;
        return Ok(());
    };
    for number in 1.. {
        let fault = chaos.fault(number, options.servers);
        watch(ensemble, tell, Some(fault.rest)).await;
        let at = fault.server - 1;
        let (Some(member), true) = (members.get(at), at < ensemble.servers.len()) else {
            continue;
        };
        tell.fault(number, &fault);
        let begun = Instant::now();
        match fault.kind {
            Kind::Kill => ensemble.servers[at].kill(),
            Kind::Cut | Kind::SlowDisk => links.into_iter().for_each(|l| l.cut(Some(fault.server))),
        }
        watch(ensemble, tell, Some(fault.lasts)).await;
        links.into_iter().for_each(|l| l.cut(None));
        ensemble.servers[at].restart()?;
        // The next fault would take the quorum.
        wait_until_serving(ensemble, &[member.client]).await?;
        let (pid, ms) = (ensemble.servers[at].pid(), begun.elapsed().as_millis());
        tell.mended(number, fault.server, pid, ms);
    }
    Ok(())
}

/// Tells who ends meanwhile; `None`: for ever.
async fn watch(ensemble: &mut Ensemble, tell: Teller, lasts: Option<Duration>) {
    let begun = Instant::now();
    while lasts.is_none_or(|lasts| begun.elapsed() < lasts) {
        while let Some((server, how)) = ensemble.ended() {
            tell.ended(server, how);
        }
        let left = lasts.map_or(LOOK, |lasts| lasts.saturating_sub(begun.elapsed()));
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// A directory and a `zoo.cfg` for servers at these ports of clients, without one for commands; the files.
pub(crate) fn write_configs(
    dir: &Path,
    of_clients: &[u16],
    tick_ms: u32,
) -> Result<Vec<PathBuf>, ServerError> {
    let members = layout::members(of_clients, false).map_err(|source| ServerError::Io {
        path: dir.to_owned(),
        source,
    })?;
    layout::write_configs(dir, &members, &|_, _| None, tick_ms)
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
    use std::process::{Command, Stdio};

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

    #[tokio::test]
    async fn a_server_that_ends_is_told_of_at_once() {
        let mut children = vec![];
        // The first one lives until its input ends, as a server does.
        for code in ["exec cat", "exit 3"] {
            let mut child = Command::new("sh");
            child.args(["-c", code]).stdin(Stdio::piped());
            let child = child.stdout(Stdio::null()).spawn().unwrap();
            children.push(child);
        }
        let mut ensemble = ensemble::of_children(children);
        let begun = Instant::now();
        // Nobody serves on port 1.
        let said = wait_until_serving(&mut ensemble, &[1]).await.unwrap_err();
        assert!(said.to_string().contains("server 2 has ended"), "{said}");
        assert!(begun.elapsed() < START_TIME, "not by the deadline");
    }
}
