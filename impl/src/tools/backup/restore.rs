//! `zabra restore`: the data directories of an ensemble from a backup, or its tree over the port of a server on its own.
//!
//! The tree gets the zxid (epoch, 0) of an epoch above all that the backup knows, by the rule of a restore over HTTP (`restored_as`), so that no
//! zxid that a client has seen gets another meaning (D-121). The snapshot's name is what a start looks for: it is given last, and where a crash
//! comes before, the directory is as empty as it was.

use super::archive::{Archive, Point, State};
use super::manifest::{self, Manifest};
use super::proof::Proof;
use crate::storage::disk::{Disk, RealDisk, parent_of};
use crate::storage::owner::Owner;
use crate::storage::snapshot::{Packing, StagedSnapshot};
use crate::storage::stage::stage;
use crate::storage::{Dirs, epochs};
use crate::tools::arguments::{Output, given};
use crate::tools::error::ToolError;
use crate::tools::http::{Server, error_in};
use crate::tools::initialize::{directories, refuse_data};
use crate::tools::out::{Out, tell};
use crate::tools::values::{shown_time, time, zxid};
use clap::Args;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use zabra_model::ids::{Epoch, Zxid};
use zabra_model::service::snapshots::restored_as;
use zabra_model::tree::node::Tree;
use zabra_model::tree::restore::Restore;
use zabra_model::tree::stat::Owner as NodeOwner;

/// Of what, which state, and where to.
#[derive(Args)]
pub struct RestoreArgs {
    /// The directory that zabra backup has made
    backup: PathBuf,
    /// The state behind this transaction; without it and --time, the last one
    #[arg(long, value_parser = zxid, value_name = "ZXID", conflicts_with = "time")]
    zxid: Option<Zxid>,
    /// The last state before a transaction that is later than this: 2026-11-29T16:00:00Z, or without the Z for the time of this machine
    #[arg(long, value_parser = time, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<i64>,
    /// A directory with more snapshots and logs, as they were copied from a data directory: for a state that the backup alone does not have
    #[arg(long, value_name = "DIR")]
    archive: Vec<PathBuf>,
    /// Leave out sessions and their ephemeral nodes
    #[arg(long)]
    no_ephemerals: bool,
    /// The last zxid that the ensemble has had, if that is later than all that is here: what clients have seen stays behind them
    #[arg(long, value_parser = zxid, value_name = "ZXID")]
    above: Option<Zxid>,
    /// A zoo.cfg, whose dataDir is filled, or a directory that becomes a data directory; once for each server of the ensemble
    #[arg(long, value_name = "CONFIG|DIR", required_unless_present_any = ["server", "check"])]
    to: Vec<PathBuf>,
    /// A running server on its own, by its port for commands; its data is replaced
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "to")]
    server: Option<String>,
    #[command(flatten)]
    proof: Proof,
    /// Only verify the backup, and that it has the state that is asked for
    #[arg(long, conflicts_with_all = ["to", "server"])]
    check: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

pub(super) fn run(args: &RestoreArgs) -> Result<u8, ToolError> {
    let targets = targets(args)?;
    let backup = Manifest::read(&args.backup)?;
    let mut files = backup.compare(&args.backup)?;
    verify(args, &backup, &files)?;
    for dir in &args.archive {
        files.extend(Archive::files_in(dir)?);
    }
    let archive = Archive::of(files);
    let point = point(args, &backup, &archive)?;
    let state = archive.state_at(point)?;
    let mut restored = Restored::of(&state, args.no_ephemerals)?;
    let newest = archive
        .newest(state.zxid)
        .max(args.above.unwrap_or(Zxid::ZERO));
    restored.raise(Epoch(backup.epoch), newest)?;
    let mut wrote = Vec::new();
    if let Some(address) = &args.server {
        wrote.push(send(args, address, &restored)?);
    } else {
        let dirs = targets.iter().map(|(_, dirs)| &dirs.snap);
        wrote.extend(dirs.map(|dir| dir.display().to_string()));
        write(targets, &restored)?;
    }
    report(args, &state, &restored, &wrote)
}

/// What `version-2` will be, of each server; none of them holds data, and nobody uses them.
fn targets(args: &RestoreArgs) -> Result<Vec<(Owner, Dirs)>, ToolError> {
    let mut all: Vec<(Owner, Dirs)> = Vec::new();
    for to in &args.to {
        let (data, logs) = if to.is_file() {
            directories(to, &given(&args.properties)?)?
        } else {
            (to.clone(), to.clone())
        };
        let dirs = Dirs::new(&data, &logs);
        if all.iter().any(|(_, other)| other.snap == dirs.snap) {
            return Err(ToolError::Refused(format!(
                "{}: is named twice; each server has a data directory of its own",
                data.display()
            )));
        }
        let owner = Owner::look(&dirs)?;
        for dir in [&dirs.snap, &dirs.log] {
            remove_half(dir)?;
            refuse_data(
                dir,
                "name a directory without data, or move this version-2 elsewhere first",
            )?;
        }
        all.push((owner, dirs));
    }
    Ok(all)
}

/// A snapshot without its name is left of a restore that did not end.
fn remove_half(dir: &Path) -> Result<(), ToolError> {
    if RealDisk.real_dir(dir).is_none() {
        return Ok(());
    }
    for name in RealDisk.list(dir)? {
        if name.starts_with("snapshot.") && name.ends_with(".tmp") {
            RealDisk.remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Compares the tree of a backup with what its manifest says of it.
fn verify(args: &RestoreArgs, backup: &Manifest, files: &[PathBuf]) -> Result<(), ToolError> {
    let state = Archive::of(files.iter().cloned()).verify()?;
    let (zxid, digest) = (state.zxid.to_string(), format!("{:#x}", state.digest()));
    if (&zxid, &digest) != (&backup.zxid, &backup.digest) {
        return Err(ToolError::Damaged(format!(
            "{}: says digest {} at {}, and its files make a tree with {digest} at {zxid}",
            args.backup.join(manifest::NAME).display(),
            backup.digest,
            backup.zxid
        )));
    }
    Ok(())
}

/// Which state is asked for. A time that nothing here reaches may be that of a backup that was made too early.
fn point(args: &RestoreArgs, backup: &Manifest, archive: &Archive) -> Result<Point, ToolError> {
    let Some(ms) = args.time else {
        return Ok(args.zxid.map_or(Point::Last, Point::Zxid));
    };
    if ms > backup.made_ms {
        let last = archive.state_at(Point::Last)?.time;
        if last.is_none_or(|last| ms > last) {
            let last = last.map_or_else(|| "not told".into(), shown_time);
            return Err(ToolError::Refused(format!(
                "{} is later than all that is here: the backup was made at {}, the last transaction is of {last}; name an earlier time, leave out --time for the last state, or add later logs by --archive",
                shown_time(ms),
                backup.made
            )));
        }
    }
    Ok(Point::Time(ms))
}

/// A tree as it is to be put on disks.
struct Restored {
    tree: Tree,
    zxid: Zxid,
    nodes: u64,
    ephemerals: u64,
    digest: u64,
}

impl Restored {
    fn of(state: &State, no_ephemerals: bool) -> Result<Self, ToolError> {
        let image = state.tree.image();
        let bug = |what: &str| ToolError::Damaged(format!("our bug, please report it: {what}"));
        let mut restore = Restore::new();
        if !no_ephemerals {
            let sessions = image.sessions.iter();
            sessions.for_each(|(session, timeout_ms)| restore.session(*session, *timeout_ms));
        }
        let lists = image.acls.iter();
        lists.for_each(|(id, list)| restore.acl(*id, list));
        for node in image.nodes() {
            let owner = NodeOwner::from_raw(node.stat.ephemeral_owner);
            if !(no_ephemerals && matches!(owner, NodeOwner::Session(_))) {
                let taken = restore.node(node.path, node.data, node.acl_id, &node.stat);
                taken.map_err(|e| bug(&e.to_string()))?;
            }
        }
        let tree = restore.finish(state.zxid);
        let tree = tree.map_err(|e| bug(&e.to_string()))?;
        let made = State {
            tree,
            zxid: state.zxid,
            time: None,
            base: state.base,
            txns: 0,
        };
        let (nodes, ephemerals, _) = made.counts();
        let digest = made.digest();
        if !no_ephemerals && digest != state.digest() {
            return Err(bug("the tree was copied wrongly"));
        }
        Ok(Self {
            tree: made.tree,
            zxid: made.zxid,
            nodes,
            ephemerals,
            digest,
        })
    }

    /// Puts it behind everything that anybody may have seen.
    fn raise(&mut self, accepted: Epoch, newest: Zxid) -> Result<(), ToolError> {
        let zxid = restored_as(accepted, newest, Epoch(u32::MAX)).ok_or_else(|| {
            ToolError::Refused(format!(
                "no epoch is left above {newest}; leave out --above, and let clients begin anew"
            ))
        })?;
        self.tree.raise_last_zxid(zxid);
        self.zxid = zxid;
        Ok(())
    }
}

/// Makes the directories; of several, all are written before the first one has a snapshot.
fn write(targets: Vec<(Owner, Dirs)>, restored: &Restored) -> Result<(), ToolError> {
    let image = restored.tree.image();
    let mut staged: Vec<(Owner, Dirs, StagedSnapshot)> = Vec::new();
    for (mut owner, dirs) in targets {
        for dir in [&dirs.snap, &dirs.log] {
            make(dir)?;
        }
        owner.claim(&dirs)?;
        let file = stage(&RealDisk, &dirs, &image, Packing::Plain)?;
        own(&file.tmp, Some(0o600))?;
        staged.push((owner, dirs, file));
    }
    for (_owner, dirs, file) in staged {
        let path = file.publish(&RealDisk)?;
        // Without these a start makes the same ones from the snapshot's zxid.
        let epoch = restored.zxid.epoch();
        epochs::write_accepted(&RealDisk, &dirs, epoch)?;
        epochs::write_current(&RealDisk, &dirs, epoch)?;
        for name in [epochs::ACCEPTED, epochs::CURRENT, "zabra.lock"] {
            own(&dirs.snap.join(name), None)?;
        }
        own(&path, None)?;
        if dirs.log != dirs.snap {
            own(&dirs.log.join("zabra.lock"), None)?;
        }
    }
    Ok(())
}

/// A directory and those above it, for its owner alone where they are new.
fn make(dir: &Path) -> Result<(), ToolError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    make(parent)?;
    let made = fs::DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|e| manifest::unwritten(dir, &e))?;
    own(dir, None)?;
    Ok(RealDisk.sync_dir(parent)?)
}

/// Gives a file to whom its directory belongs, as root may: the server reads it under another name than who restores it.
fn own(path: &Path, mode: Option<u32>) -> Result<(), ToolError> {
    if let Some(mode) = mode {
        let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        set.map_err(|e| manifest::unwritten(path, &e))?;
    }
    // Who owns the directory may have put a link in the place of the file.
    let (Ok(dir), Ok(file)) = (fs::metadata(parent_of(path)), fs::symlink_metadata(path)) else {
        return Ok(());
    };
    if (dir.uid(), dir.gid()) == (file.uid(), file.gid()) {
        return Ok(());
    }
    let given = lchown(path, Some(dir.uid()), Some(dir.gid()));
    if let Err(error) = given {
        tell(format_args!(
            "{}: cannot be given to the owner of its directory: {error}; do it by chown, or the server cannot read it",
            path.display()
        ));
    }
    Ok(())
}

/// Puts the tree in place of that of a running server.
fn send(args: &RestoreArgs, address: &str, restored: &Restored) -> Result<String, ToolError> {
    let dir = std::env::temp_dir().join(format!("zabra-restore-{}", std::process::id()));
    let made = fs::DirBuilder::new().mode(0o700).create(&dir);
    made.map_err(|e| manifest::unwritten(&dir, &e))?;
    let sent = send_from(args, address, restored, &dir);
    let _ = fs::remove_dir_all(&dir);
    sent
}

fn send_from(
    args: &RestoreArgs,
    address: &str,
    restored: &Restored,
    dir: &Path,
) -> Result<String, ToolError> {
    let dirs = Dirs {
        snap: dir.to_owned(),
        log: dir.to_owned(),
    };
    let file = stage(&RealDisk, &dirs, &restored.tree.image(), Packing::Plain)?;
    let authorization = args.proof.text()?;
    let server = Server::new(address, authorization.as_deref());
    let (head, told) = server.post("restore", &file.tmp)?;
    match error_in(&told) {
        None if head.status == 200 => Ok(address.to_owned()),
        what => Err(ToolError::Refused(format!(
            "{address}: {}",
            what.unwrap_or_else(|| format!("HTTP status {}", head.status))
        ))),
    }
}

fn report(
    args: &RestoreArgs,
    state: &State,
    restored: &Restored,
    wrote: &[String],
) -> Result<u8, ToolError> {
    let mut out = Out::new();
    if args.output == Output::Json {
        out.json(&serde_json::json!({
            "zxid": state.zxid.to_string(),
            "time": state.time.map(shown_time),
            "time_ms": state.time,
            "snapshot": state.base.to_string(),
            "txns": state.txns,
            "nodes": restored.nodes,
            "ephemerals": restored.ephemerals,
            "digest": format!("{:#x}", restored.digest),
            "restored_as": restored.zxid.to_string(),
            "wrote": wrote,
        }))?;
    } else {
        let time = state
            .time
            .map_or(String::new(), |ms| format!(" of {}", shown_time(ms)));
        out.line(format_args!(
            "{}: whole; {}{time}: {} nodes, {} of sessions, digest {:#x}",
            args.backup.display(),
            state.zxid,
            restored.nodes,
            restored.ephemerals,
            restored.digest
        ))?;
        for place in wrote {
            let zxid = restored.zxid;
            out.line(format_args!("{place}: has that state, as {zxid}"))?;
        }
        if args.to.len() > 1 || wrote.len() == 1 && args.server.is_none() {
            out.line(format_args!(
                "Every server of an ensemble begins with the same state: restore all of them, each alike, before the first one starts"
            ))?;
        }
    }
    out.flush()?;
    Ok(0)
}
