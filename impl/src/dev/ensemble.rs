//! The processes of the servers.

use crate::error::ServerError;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const STOP_TIME: Duration = Duration::from_secs(10);

/// The servers that were started, in their order.
#[derive(Default)]
pub(super) struct Ensemble {
    pub(super) servers: Vec<Process>,
}

/// One of them.
pub(super) struct Process {
    config: PathBuf,
    /// `None`: it was killed, or has ended and that was told.
    child: Option<Child>,
}

impl Process {
    pub(super) fn start(config: &Path) -> Result<Self, ServerError> {
        Ok(Self {
            config: config.to_owned(),
            child: Some(spawn(config)?),
        })
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it, as the system would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, if it does not run.
    ///
    /// # Errors
    /// There is no program to start.
    pub(super) fn restart(&mut self) -> Result<(), ServerError> {
        if self.child.is_none() {
            self.child = Some(spawn(&self.config)?);
        }
        Ok(())
    }

    /// How it has ended by itself, told once.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let how = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(how)
    }
}

fn spawn(config: &Path) -> Result<Child, ServerError> {
    let binary = std::env::current_exe().map_err(|source| ServerError::Io {
        path: "zabra".into(),
        source,
    })?;
    // The end of its input stops a child, also when this process is killed.
    Command::new(&binary)
        .arg("serve")
        .arg("--until-stdin-ends")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|source| ServerError::Io {
            path: binary,
            source,
        })
}

impl Ensemble {
    pub(super) fn start(configs: &[PathBuf]) -> Result<Self, ServerError> {
        let mut ensemble = Self::default();
        for config in configs {
            ensemble.servers.push(Process::start(config)?);
        }
        Ok(ensemble)
    }

    /// The first server that has ended by itself, by its number from 1.
    pub(super) fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        let mut numbered = (1..).zip(&mut self.servers);
        numbered.find_map(|(n, server)| Some((n, server.ended()?)))
    }

    pub(super) fn stop(&mut self) {
        let mut children: Vec<Child> = self
            .servers
            .drain(..)
            .filter_map(|server| server.child)
            .collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        let deadline = Instant::now() + STOP_TIME;
        for child in &mut children {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill(); // only if it has not ended by itself
            let _ = child.wait();
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
pub(super) fn of_children(children: Vec<Child>) -> Ensemble {
    let server = |child| Process {
        config: PathBuf::new(),
        child: Some(child),
    };
    Ensemble {
        servers: children.into_iter().map(server).collect(),
    }
}
