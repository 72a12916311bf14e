//! Writes the file of the flight recorder, and has it written when somebody asks by SIGUSR1.

use super::inbox::Inbox;
use crate::client::lock::lock;
use crate::codes::Code;
use crate::core::event::Event;
use crate::limits::Seldom;
use crate::storage::Dirs;
use crate::storage::flight::{FLIGHT, FLIGHT_BYTES_MAX, FLIGHT_OLD, frames};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use zabra_model::flight::Chunk;

/// The file, and the one before it.
pub struct FlightFile {
    path: PathBuf,
    old: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    file: Option<File>,
    warned: Seldom,
    began: Option<std::time::Instant>,
}

impl FlightFile {
    /// In this server's directory of snapshots. It is opened when there is something to be written.
    #[must_use]
    pub fn new(dirs: &Dirs) -> Self {
        Self {
            path: dirs.snap.join(FLIGHT),
            old: dirs.snap.join(FLIGHT_OLD),
            open: Mutex::default(),
        }
    }

    /// Appends parts of segments. A disk that takes nothing is told of now and then, and hinders nobody.
    pub fn append(&self, chunks: &[Chunk]) {
        if chunks.is_empty() {
            return;
        }
        let mut open = lock(&self.open);
        if let Err(error) = self.write(&mut open, chunks) {
            open.file = None;
            let began = *open.began.get_or_insert_with(std::time::Instant::now);
            let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            if open.warned.due(now_ms).is_some() {
                warn!(code = %Code::FlightNotWritten, file = %self.path.display(), %error, "the flight recorder cannot be written; zabra explain will lack what happens meanwhile");
            }
        }
    }

    fn write(&self, open: &mut Open, chunks: &[Chunk]) -> io::Result<()> {
        let file = match &mut open.file {
            Some(file) => file,
            none => {
                let mut how = OpenOptions::new();
                none.insert(how.append(true).create(true).open(&self.path)?)
            }
        };
        file.write_all(&frames(chunks))?;
        if file.metadata()?.len() >= FLIGHT_BYTES_MAX {
            std::fs::rename(&self.path, &self.old)?;
            open.file = None;
        }
        Ok(())
    }
}

/// Has all that the recorder holds written at each SIGUSR1.
pub fn listen(inbox: Arc<Inbox>) {
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else {
        warn!(code = %Code::NoUsr1, "SIGUSR1 cannot be waited for; the flight recorder is read over HTTP");
        return;
    };
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            info!("SIGUSR1: what the flight recorder holds is written; read it by zabra explain");
            inbox.push(Event::KeepFlight, 0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::flight::Segments;
    use zabra_model::ids::ServerId;

    #[test]
    fn a_file_that_is_long_becomes_the_old_one_and_nothing_between_the_two_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let file = FlightFile::new(&Dirs::new(dir.path(), dir.path()));
        std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
        let bytes = vec![7; 1 << 20];
        let chunk = |segment| Chunk {
            server: ServerId(1),
            life: 5,
            segment,
            offset: 0,
            bytes: bytes.clone(),
        };
        for segment in 1..=6 {
            file.append(&[chunk(segment)]);
        }
        let mut segments = Segments::default();
        for path in [&file.old, &file.path] {
            segments.read(&std::fs::read(path).unwrap());
        }
        let numbers: Vec<u32> = segments.all.keys().map(|(_, _, number)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(std::fs::metadata(&file.path).unwrap().len() < FLIGHT_BYTES_MAX);
    }

    #[test]
    fn a_directory_that_is_gone_hinders_nobody() {
        let dirs = Dirs::new("/nowhere/at/all".as_ref(), "/nowhere/at/all".as_ref());
        let file = FlightFile::new(&dirs);
        file.append(&[Chunk {
            server: ServerId(1),
            life: 5,
            segment: 1,
            offset: 0,
            bytes: vec![1],
        }]);
        assert!(lock(&file.open).file.is_none());
    }
}
