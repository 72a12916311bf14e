//! `zabra cleanup`: what autopurge does, for a server that is stopped.
//!
//! A running server of ours still gives learners what is behind the base of its history, which only it knows: its directory is left
//! alone (D-125). ZooKeeper's has no lock, and its own script removes files beside it by the same rule; so does this.

use super::arguments::{config_file, given};
use super::error::ToolError;
use super::out::say;
use super::values::shown_time;
use crate::config::check;
use crate::storage::disk::{Disk, DiskFile, RealDisk};
use crate::storage::owner::Owner;
use crate::storage::snapshot::body::{Refused, SnapshotSink};
use crate::storage::txn_log::reader::LogReader;
use crate::storage::{Dirs, Result, StorageError, layout, purge, replace, snapshot};
use clap::Args;
use std::fs::File;
use std::path::{Path, PathBuf};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::Acl;
use zabra_model::tree::stat::StatPersisted;

/// Whose files, and how many stay.
#[derive(Args)]
pub struct CleanupArgs {
    /// The configuration file, which names the directories; without it, the one that ZOOCFGDIR and ZOOCFG name
    config: Option<PathBuf>,
    /// How many snapshots stay, at least 3; without it, what autopurge.snapRetainCount says
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    count: Option<usize>,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

fn count(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(count) if count >= purge::RETAIN_MIN => Ok(count),
        _ => Err(format!(
            "at least {} snapshots stay, or a damaged one would be the end",
            purge::RETAIN_MIN
        )),
    }
}

pub(super) fn run(args: &CleanupArgs) -> std::result::Result<u8, ToolError> {
    let config = check::load_with(
        &config_file(args.config.as_ref())?,
        &given(&args.properties)?,
    )?;
    let dirs = Dirs::new(&config.data_dir, &config.data_log_dir);
    if !dirs.snap.is_dir() {
        return Err(ToolError::Refused(format!(
            "{}: is not there; {} names another directory, or its server has never run",
            dirs.snap.display(),
            config.path.display()
        )));
    }
    let owner = Owner::look(&dirs).map_err(|error| match error {
        StorageError::InUse { dir, by } => ToolError::Refused(format!(
            "{}: a server{by} runs on it and may still need these files; let it remove old ones by itself, by autopurge.purgeInterval=24 in {}, or stop it first",
            dir.display(),
            config.path.display()
        )),
        other => ToolError::Data(other),
    })?;
    if let Some(plan) = replace::pending(&RealDisk, &dirs)? {
        return Err(ToolError::Refused(format!(
            "{}: a truncation or a copy from the leader was under way when the server ended; start it once to finish that",
            plan.display()
        )));
    }
    let me = config.is_ensemble().then_some(config.me);
    layout::look(&RealDisk, &dirs, me, config.trust_empty)?;
    let Some(base) = base(&dirs)? else {
        say(format_args!(
            "{}: no snapshot is here, nothing is removed",
            dirs.snap.display()
        ));
        return Ok(0);
    };
    let retain = args.count.unwrap_or(config.purge_retain);
    let gone = if args.dry_run {
        purge::purge(&Untouched, &dirs, retain, Some(base))?
    } else {
        let told: Vec<_> = purge::purge(&Untouched, &dirs, retain, Some(base))?
            .into_iter()
            .map(|path| line(&path))
            .collect();
        let gone = purge::purge(&RealDisk, &dirs, retain, Some(base))?;
        told.iter()
            .for_each(|line| say(format_args!("removed {line}")));
        gone
    };
    if args.dry_run {
        gone.iter()
            .for_each(|path| say(format_args!("would remove {}", line(path))));
    }
    if gone.is_empty() {
        let retain = retain.max(purge::RETAIN_MIN);
        say(format_args!(
            "{}: nothing is older than the {retain} newest snapshots and what they need",
            dirs.snap.display()
        ));
    }
    drop(owner);
    Ok(0)
}

/// A file with its size and date.
fn line(path: &Path) -> String {
    let meta = std::fs::metadata(path).ok();
    let bytes = meta.as_ref().map_or(0, std::fs::Metadata::len);
    let time = meta.and_then(|meta| {
        meta.modified()
            .ok()?
            .duration_since(std::time::UNIX_EPOCH)
            .ok()
    });
    let time = time.map_or(String::new(), |time| {
        format!(
            ", {}",
            shown_time(i64::try_from(time.as_millis()).unwrap_or(0))
        )
    });
    format!("{} ({bytes} bytes{time})", path.display())
}

/// Where a start would begin: the newest snapshot that can be read whole, if the logs behind it can be, too.
///
/// # Errors
/// What would refuse that start: then older files may be all that is left, and stay.
fn base(dirs: &Dirs) -> Result<Option<Zxid>> {
    let found = snapshot::candidates(&RealDisk, &dirs.snap)?;
    let mut newest_unread: Option<(Zxid, PathBuf)> = None;
    let mut reasons: Vec<String> = Vec::new();
    for (zxid, path) in found.usable {
        match snapshot::read(&RealDisk, &path, zxid, &mut Nothing) {
            Ok(_) => {
                let mut log = LogReader::behind(&RealDisk, &dirs.log, zxid)?;
                while log.next_entry()?.is_some() {}
                return match newest_unread.filter(|(unread, _)| log.last() < *unread) {
                    Some((zxid, path)) => Err(StorageError::SnapshotNeeded {
                        path,
                        zxid,
                        last: log.last(),
                    }),
                    None => Ok(Some(zxid)),
                };
            }
            Err(error @ StorageError::BadSnapshot { .. }) => {
                reasons.push(error.to_string());
                newest_unread.get_or_insert((zxid, path));
            }
            Err(error) => return Err(error),
        }
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    Err(StorageError::NoReadableSnapshot {
        dir: dirs.snap.clone(),
        reasons: reasons.join("; "),
    })
}

/// Takes a snapshot and keeps nothing of it: whether it is whole shows on the way.
struct Nothing;

impl SnapshotSink for Nothing {
    fn clear(&mut self) {}

    fn session(&mut self, _id: SessionId, _timeout_ms: i32) -> std::result::Result<(), Refused> {
        Ok(())
    }

    fn node(
        &mut self,
        _path: &str,
        _data: Option<&[u8]>,
        _acl: &Acl,
        _stat: StatPersisted,
    ) -> std::result::Result<(), Refused> {
        Ok(())
    }
}

/// The disk of this machine, to which nothing is done.
#[derive(Clone)]
struct Untouched;

/// A file that takes everything and keeps nothing.
struct NoFile;

impl DiskFile for NoFile {
    fn write_at(&mut self, _offset: u64, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn set_len(&mut self, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

impl Disk for Untouched {
    type File = NoFile;
    type Reader = File;

    fn create(&self, _path: &Path) -> Result<NoFile> {
        Ok(NoFile)
    }

    fn open(&self, _path: &Path) -> Result<NoFile> {
        Ok(NoFile)
    }

    fn read(&self, path: &Path) -> Result<File> {
        RealDisk.read(path)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        RealDisk.len(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }

    fn create_dir(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }

    fn read_tail(&self, path: &Path, bytes: usize) -> Result<Vec<u8>> {
        RealDisk.read_tail(path, bytes)
    }
}
