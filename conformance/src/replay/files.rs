//! A data directory after a crash, read apart from the server's own code.

use super::wire;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// What a disk holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// The file acceptedEpoch.
    pub accepted: u64,
    /// The file currentEpoch.
    pub current: u64,
    /// The transactions in the tree of the newest snapshot.
    pub snapshot: Vec<u64>,
    /// The transactions in the logs above it.
    pub log: Vec<u64>,
}

impl Image {
    /// The end of the history.
    #[must_use]
    pub fn last(&self) -> u64 {
        let last = self.log.last().or(self.snapshot.last());
        last.copied().unwrap_or(0)
    }

    /// Reads `dir`, which has the files of one server.
    ///
    /// # Errors
    /// A file is not what its name says.
    pub fn read(dir: &Path) -> Result<Self> {
        let dir = dir.join("version-2");
        let mut image = Self {
            accepted: epoch(&dir.join("acceptedEpoch"))?,
            current: epoch(&dir.join("currentEpoch"))?,
            ..Self::default()
        };
        let (mut newest, mut logs) = (None, Vec::new());
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            // Names with something behind the number are temporary files.
            let zxid = |hex: &str| u64::from_str_radix(hex, 16).ok();
            if let Some(z) = name.strip_prefix("snapshot.").and_then(zxid) {
                if newest.as_ref().is_none_or(|(n, _)| z >= *n) {
                    newest = Some((z, path));
                }
            } else if let Some(z) = name.strip_prefix("log.").and_then(zxid) {
                logs.push((z, path));
            }
        }
        let mut base = 0;
        if let Some((z, path)) = newest {
            base = z;
            image.snapshot = wire::snapshot_file(&fs::read(&path)?)
                .with_context(|| path.display().to_string())?;
        }
        logs.sort();
        for (_, path) in logs {
            let zxids =
                wire::log_file(&fs::read(&path)?).with_context(|| path.display().to_string())?;
            image.log.extend(zxids.into_iter().filter(|z| *z > base));
        }
        Ok(image)
    }
}

fn epoch(path: &Path) -> Result<u64> {
    match fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .with_context(|| path.display().to_string()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}
