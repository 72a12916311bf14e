//! `zabra backup`: one directory with snapshots, logs and what they have to be, of a running server by its port for commands, of a data
//! directory, or of an archive of snapshots and logs. `zabra restore` is its way back.
//!
//! ```text
//! DIR.tmp/  0700 ── snapshot.ZXID, log.ZXID … (0600, each synced) ── read again: checksums, trees, digests ── manifest ── rename to DIR
//! ```
//! A backup that is there under its name has been read from the disk once, by the code that a start reads its files with. What is no
//! whole backup keeps the name `DIR.tmp`, or is removed.

mod archive;
mod manifest;
mod progress;
mod proof;
mod restore;
mod source;

pub(super) use restore::RestoreArgs;

use super::arguments::{Output, config_file, given};
use super::error::ToolError;
use super::initialize::directories;
use super::out::Out;
use super::values::shown_time;
use crate::storage::Dirs;
use crate::storage::disk::{Disk, RealDisk, parent_of};
use archive::{Archive, State};
use clap::Args;
use manifest::{FORMAT, Manifest, unwritten};
use proof::Proof;
use source::Given;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of what, and where to.
#[derive(Args)]
pub struct BackupArgs {
    /// The configuration file, whose dataDir and dataLogDir are read; without it, and without --server and --data, the one that ZOOCFGDIR
    /// and ZOOCFG name
    #[arg(conflicts_with_all = ["server", "data"])]
    config: Option<PathBuf>,
    /// A directory of snapshots and logs: a data directory, or an archive; may be given twice, as for dataDir and dataLogDir
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data: Vec<PathBuf>,
    /// A running server, by its port for commands (admin.serverPort), ours or ZooKeeper's 3.9
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    #[command(flatten)]
    proof: Proof,
    /// The directory that becomes the backup; it is not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// All that can be restored, from the oldest snapshot on, and not only the newest snapshot with what is behind it
    #[arg(long, conflicts_with = "server")]
    all: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

pub(super) fn run(args: &BackupArgs) -> Result<u8, ToolError> {
    let staging = Staging::begin(&args.to)?;
    let given = match (&args.server, args.data.as_slice()) {
        (Some(address), _) => {
            source::of_server(address, args.proof.text()?.as_deref(), &staging.tmp)?
        }
        (None, []) => {
            let file = config_file(args.config.as_ref())?;
            let (data, logs) = directories(&file, &given(&args.properties)?)?;
            let dirs = Dirs::new(&data, &logs);
            source::of_directories(&[dirs.snap, dirs.log], args.all, &staging.tmp)?
        }
        (None, dirs) => {
            let dirs: Vec<_> = dirs.iter().map(|dir| source::version_2(dir)).collect();
            source::of_directories(&dirs, args.all, &staging.tmp)?
        }
    };
    let manifest = verified(&staging.tmp, given)?;
    manifest.write(&staging.tmp)?;
    let to = staging.publish()?;
    let mut out = Out::new();
    if args.output == Output::Json {
        let mut document = serde_json::json!(manifest);
        document["backup"] = to.to_string_lossy().into();
        out.json(&document)?;
    } else {
        out.line(format_args!("{}: {}", to.display(), summary(&manifest)))?;
    }
    out.flush()?;
    Ok(0)
}

pub(super) fn restore(args: &RestoreArgs) -> Result<u8, ToolError> {
    restore::run(args)
}

/// What a backup holds, in a line.
fn summary(manifest: &Manifest) -> String {
    let Manifest {
        zxid,
        first_zxid,
        nodes,
        ephemerals,
        data_bytes,
        digest,
        files,
        ..
    } = manifest;
    let time = manifest
        .time
        .as_ref()
        .map_or(String::new(), |time| format!(" of {time}"));
    let from = if first_zxid == zxid {
        String::new()
    } else {
        format!(", and each state from {first_zxid} on")
    };
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    format!(
        "{zxid}{time}{from}; {nodes} nodes, {ephemerals} of sessions, {data_bytes} bytes of data, digest {digest}; {} files, {bytes} bytes; verified",
        files.len()
    )
}

/// Reads what was written from the disk, and says what it is.
fn verified(dir: &Path, given: Given) -> Result<Manifest, ToolError> {
    let Given {
        source,
        files,
        epoch,
        least,
    } = given;
    for entry in &files {
        let (bytes, sha256) = manifest::sum_of(&dir.join(&entry.name))?;
        if (bytes, &sha256) != (entry.bytes, &entry.sha256) {
            return Err(ToolError::Damaged(format!(
                "{}: reads back otherwise than it was written; look at this disk",
                dir.join(&entry.name).display()
            )));
        }
    }
    let archive = Archive::of(files.iter().map(|entry| dir.join(&entry.name)));
    let state = archive.verify()?;
    if state.zxid < least {
        return Err(ToolError::Damaged(format!(
            "{source}: the log can be read up to {}, but transactions up to {least} were on the disk; zabra log tells where it is damaged",
            state.zxid
        )));
    }
    let State {
        zxid, base, time, ..
    } = state;
    let (nodes, ephemerals, data_bytes) = state.counts();
    let made_ms = now_ms();
    Ok(Manifest {
        format: FORMAT.into(),
        made_ms,
        made: shown_time(made_ms),
        source,
        first_zxid: base.to_string(),
        zxid: zxid.to_string(),
        time: time.map(shown_time),
        digest: format!("{:#x}", state.digest()),
        nodes,
        ephemerals,
        sessions: state.tree.sessions().len() as u64,
        data_bytes,
        epoch: epoch.max(archive.newest(zxid).epoch().0),
        files,
    })
}

/// ms since 1970.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// A directory on its way. Dropped before it has its name, it is removed.
struct Staging {
    to: PathBuf,
    tmp: PathBuf,
    is_published: bool,
}

impl Staging {
    fn begin(to: &Path) -> Result<Self, ToolError> {
        let is_empty = || fs::read_dir(to).is_ok_and(|mut files| files.next().is_none());
        if fs::symlink_metadata(to).is_ok() && !is_empty() {
            return Err(ToolError::Refused(format!(
                "{}: is there already; each backup has a directory of its own, so name another one",
                to.display()
            )));
        }
        if to.file_name().is_none() {
            return Err(ToolError::Refused(format!(
                "{}: is no name for a directory",
                to.display()
            )));
        }
        let mut name = to.as_os_str().to_owned();
        name.push(".tmp");
        let tmp = PathBuf::from(name);
        if fs::symlink_metadata(&tmp).is_ok() {
            return Err(ToolError::Refused(format!(
                "{}: is left of a backup that has not ended, or of one that is under way; remove it if none is",
                tmp.display()
            )));
        }
        RealDisk.create_dir(parent_of(&tmp))?;
        let made = fs::DirBuilder::new().mode(0o700).create(&tmp);
        made.map_err(|e| unwritten(&tmp, &e))?;
        Ok(Self {
            to: to.to_owned(),
            tmp,
            is_published: false,
        })
    }

    fn publish(mut self) -> Result<PathBuf, ToolError> {
        RealDisk.rename(&self.tmp, &self.to)?;
        self.is_published = true;
        RealDisk.sync_dir(parent_of(&self.to))?;
        Ok(std::mem::take(&mut self.to))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_dir_all(&self.tmp);
        }
    }
}
