//! A data directory after a crash, read apart from the server's own code.

use super::trace::ListRecord;
use super::{list, wire};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a disk holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// The file acceptedEpoch.
    pub accepted: u64,
    /// The file currentEpoch.
    pub current: u64,
    /// The zxid of the newest snapshot.
    pub base: u64,
    /// The transactions in its tree.
    pub snapshot: Vec<u64>,
    /// The transactions in the logs above it.
    pub log: Vec<u64>,
    /// The lists of members in these: the voters, by zxid.
    pub lists: BTreeMap<u64, Vec<u8>>,
    /// The version of the list that the snapshot shows to clients; zero if none has a version.
    pub shown: u64,
}

impl Image {
    /// The end of the history.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.log.last().copied().unwrap_or(self.base)
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
        if let Some((z, path)) = newest {
            image.base = z;
            let (zxids, shown) = wire::snapshot_file(&fs::read(&path)?)
                .with_context(|| path.display().to_string())?;
            image.snapshot = zxids;
            if !shown.is_empty() {
                image.shown = list::parse(&shown)?.version;
            }
        }
        logs.sort();
        for (_, path) in logs {
            let txns =
                wire::log_file(&fs::read(&path)?).with_context(|| path.display().to_string())?;
            for (zxid, text) in txns.into_iter().filter(|(zxid, _)| *zxid > image.base) {
                image.log.push(zxid);
                if !text.is_empty() {
                    let list = list::parse(&text)?;
                    ensure!(list.version == zxid, "{zxid:#x} brings the list {list:x?}");
                    image.lists.insert(zxid, list.voters);
                }
            }
        }
        Ok(image)
    }
}

/// The list of members that a data directory says to be active, if it says one.
///
/// # Errors
/// The file holds none.
pub fn kept(dir: &Path) -> Result<Option<ListRecord>> {
    let path = dir.join("version-2").join("zabra.members");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(
            list::parse(&text).with_context(|| path.display().to_string())?,
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
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
