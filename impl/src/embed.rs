//! Servers inside a Rust program, for its tests: each has a thread of its own, a directory that is removed at the end, and ports that were free.

use crate::config::{check, join};
use crate::dev;
use crate::error::ServerError;
use crate::serve::{self, Stop};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Ticks of a test: sessions may have timeouts from twice that on, and one that ends without a word is over as soon.
const TICK_MS: u32 = 500;
/// Threads of each server that read and write sockets.
const WORKERS: usize = 2;

/// An ensemble of ZooKeeper servers, or one server, that lives as long as this value.
///
/// The servers are those of `zabra serve`, with logs, elections and all; only the signals of the process are left to the program. What they
/// say goes to `tracing`, so nothing is printed unless the program listens for it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ensemble = zabra::TestEnsemble::start(3)?;
/// let servers = ensemble.connect_string(); // "127.0.0.1:40001,127.0.0.1:40002,127.0.0.1:40003", for any client
/// // Here with the crate zookeeper-client:
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # use zookeeper_client::{Acls, Client, CreateMode};
/// let client = Client::connect(&servers).await?;
/// client.create("/greeting", b"hello", &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
/// assert_eq!(client.get_data("/greeting").await?.0, b"hello");
/// # Ok::<_, zookeeper_client::Error>(())
/// # })?;
/// # Ok(())
/// # }
/// ```
///
/// A test may stop a server and start it again, with what it had on its disk:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ensemble = zabra::TestEnsemble::start(3)?;
/// ensemble.stop(0)?;
/// assert_eq!(ensemble.running(), [1, 2]);
/// ensemble.restart(0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestEnsemble {
    dir: PathBuf,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    config: PathBuf,
    port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServerError>>,
}

impl TestEnsemble {
    /// Starts so many servers, and waits until all of them serve: a fraction of a second for three.
    ///
    /// # Errors
    /// [`ServerError::Dev`] if it is none or more than 64 or if they do not serve within 30 s; else why one of them did not start.
    pub fn start(servers: u16) -> Result<Self, ServerError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !(1..=64).contains(&servers) {
            return Err(ServerError::Dev(format!(
                "{servers} servers: 1 to 64 can be started"
            )));
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("zabra-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let io = |source| ServerError::Io {
            path: dir.clone(),
            source,
        };
        // What a process of the same number has left behind is nobody's.
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(io)?;
        }
        let ports = dev::ports::free(usize::from(servers)).map_err(io)?;
        let configs = dev::write_configs(&dir, &ports, TICK_MS)?;
        let servers = configs.into_iter().zip(ports).map(|(config, port)| Server {
            config,
            port,
            running: None,
        });
        let mut ensemble = Self {
            servers: servers.collect(),
            dir,
        };
        for server in &mut ensemble.servers {
            server.start()?;
        }
        for at in 0..ensemble.servers.len() {
            ensemble.wait_for(at)?;
        }
        Ok(ensemble)
    }

    /// Where clients connect: `HOST:PORT`, with commas between the servers.
    #[must_use]
    pub fn connect_string(&self) -> String {
        let each = self.servers.iter().map(|s| join(dev::HOST, s.port));
        each.collect::<Vec<_>>().join(",")
    }

    /// The servers that run, counted from 0.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        let all = self.servers.iter().enumerate();
        all.filter(|(_, s)| s.running.is_some())
            .map(|(n, _)| n)
            .collect()
    }

    /// Stops a server orderly, as SIGTERM does; returns when it has ended.
    ///
    /// # Errors
    /// There is no such server that runs; else what the server has ended by.
    pub fn stop(&mut self, server: usize) -> Result<(), ServerError> {
        let running = self.servers.get_mut(server).and_then(|s| s.running.take());
        let running =
            running.ok_or_else(|| ServerError::Dev(format!("server {server} does not run")))?;
        running.stop()
    }

    /// Starts a server again that was stopped, with its data, and waits until it serves.
    ///
    /// # Errors
    /// There is no such server, or it runs, or it does not serve within 30 s.
    pub fn restart(&mut self, server: usize) -> Result<(), ServerError> {
        match self.servers.get_mut(server) {
            Some(stopped) if stopped.running.is_none() => {
                stopped.unlock()?;
                stopped.start()?;
            }
            Some(_) => return Err(ServerError::Dev(format!("server {server} runs"))),
            None => return Err(ServerError::Dev(format!("there is no server {server}"))),
        }
        self.wait_for(server)
    }

    fn wait_for(&mut self, server: usize) -> Result<(), ServerError> {
        let server = &mut self.servers[server];
        let begun = std::time::Instant::now();
        while !dev::is_serving(server.port) {
            if server
                .running
                .as_ref()
                .is_some_and(|r| r.thread.is_finished())
                && let Some(ended) = server.running.take()
            {
                // Its own reason, or that there was none.
                ended.stop()?;
                return Err(ServerError::Dev(
                    "a server has ended before it served".into(),
                ));
            }
            if begun.elapsed() > dev::START_TIME {
                return Err(ServerError::Dev(format!(
                    "the server on port {} does not serve after {} s",
                    server.port,
                    dev::START_TIME.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Server {
    /// The lock on its directory lasts as long as the process, in case a snapshot is still being written when the server has ended. That is a whole
    /// one of a state that the log has, too, so the next server of this directory may begin beside it: with a lock of its own.
    fn unlock(&self) -> Result<(), ServerError> {
        let path = self.config.with_file_name("version-2").join("zabra.lock");
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ServerError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self) -> Result<(), ServerError> {
        let config = check::load(&self.config)?;
        let (stop, told) = oneshot::channel();
        let io = |source| ServerError::Io {
            path: "threads of a server".into(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .map_err(io)?;
        let serve = move || runtime.block_on(serve::serve(config, Stop::Told(told)));
        let thread = std::thread::Builder::new()
            .name(format!("zabra-{}", self.port))
            .spawn(serve)
            .map_err(io)?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }
}

impl Running {
    fn stop(self) -> Result<(), ServerError> {
        // It may have ended by itself, and then says why.
        let _ = self.stop.send(());
        let ended = self.thread.join();
        ended.unwrap_or(Err(ServerError::Bug("a server inside a program")))
    }
}

impl Drop for TestEnsemble {
    fn drop(&mut self) {
        // All are told before one is waited for: a leader without followers would look for them.
        let running: Vec<Running> = self
            .servers
            .iter_mut()
            .filter_map(|s| s.running.take())
            .collect();
        let threads: Vec<_> = running
            .into_iter()
            .map(|running| {
                let _ = running.stop.send(());
                running.thread
            })
            .collect();
        for thread in threads {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::TestEnsemble;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn asked(ensemble: &TestEnsemble, server: usize, word: &str) -> std::io::Result<String> {
        let all = ensemble.connect_string();
        let mut stream = TcpStream::connect(all.split(',').nth(server).unwrap())?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn an_ensemble_lives_as_long_as_its_value() {
        let mut ensemble = TestEnsemble::start(3).unwrap();
        let dir = ensemble.dir.clone();
        let modes = |ensemble: &TestEnsemble| {
            let all = (0..3).map(|n| asked(ensemble, n, "srvr").unwrap_or_default());
            let leaders = all.filter(|srvr| srvr.contains("Mode: leader"));
            leaders.count()
        };
        assert_eq!(modes(&ensemble), 1);
        let leader = (0..3)
            .find(|n| {
                asked(&ensemble, *n, "srvr")
                    .unwrap()
                    .contains("Mode: leader")
            })
            .unwrap();
        ensemble.stop(leader).unwrap();
        assert!(asked(&ensemble, leader, "srvr").is_err());
        ensemble.stop(leader).unwrap_err();
        ensemble.restart(leader).unwrap();
        ensemble.restart(leader).unwrap_err();
        assert_eq!((modes(&ensemble), ensemble.running()), (1, vec![0, 1, 2]));
        let port = ensemble.servers[0].port;
        drop(ensemble);
        assert!(!dir.exists());
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }

    #[test]
    fn two_ensembles_do_not_meet_and_none_of_none_is_started() {
        let (one, other) = (
            TestEnsemble::start(1).unwrap(),
            TestEnsemble::start(1).unwrap(),
        );
        assert_ne!(one.connect_string(), other.connect_string());
        assert!(asked(&one, 0, "srvr").unwrap().contains("Mode: standalone"));
        TestEnsemble::start(0).unwrap_err();
    }
}
