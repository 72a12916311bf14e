//! `zabra initialize`: the directories of a new server, as zkServer-initialize.sh makes them.
//!
//! The file `initialize` comes last: it says that this server may begin, and vote, without data, and the next start uses it up. Nothing is removed
//! that was not meant (D-126).

use super::arguments::{config_file, given};
use super::error::ToolError;
use super::out::{say, tell};
use crate::config::ConfigError;
use crate::config::check::text_of;
use crate::config::file::{Lines, gather, parse_dynamic};
use crate::config::settings::{Given, merge};
use crate::storage::Dirs;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::owner::Owner;
use clap::Args;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use zabra_model::ids::ServerId;

/// Whose directories, and who it is.
#[derive(Args)]
pub struct InitializeArgs {
    /// The configuration file, which names dataDir and dataLogDir; without it, the one that ZOOCFGDIR and ZOOCFG name
    #[arg(long, visible_alias = "config", value_name = "FILE")]
    configfile: Option<PathBuf>,
    /// The number of this server among the server.N lines; written to dataDir/myid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=255))]
    myid: Option<u64>,
    /// Remove the data that is there: version-2 in both directories, and myid
    #[arg(long)]
    force: bool,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

/// The file whose presence says that a server is meant to begin without data.
const INITIALIZE: &str = "initialize";
const MYID: &str = "myid";

pub(super) fn run(args: &InitializeArgs) -> Result<u8, ToolError> {
    let file = config_file(args.configfile.as_ref())?;
    let lines = lines(&file, &given(&args.properties)?)?;
    let (data_dir, data_log_dir) = named(&file, &lines)?;
    let dirs = Dirs::new(&data_dir, &data_log_dir);
    // Whoever uses it, uses it also where data is to be removed.
    let mut owner = Owner::look(&dirs)?;
    let mut parents = vec![&data_dir];
    if data_log_dir != data_dir {
        parents.push(&data_log_dir);
    }
    let versions = || parents.iter().map(|dir| dir.join("version-2"));
    if !args.force {
        for dir in versions() {
            refuse_data(
                &dir,
                "correct dataDir and dataLogDir, or, if it may be lost, say --force",
            )?;
        }
        refuse_other_myid(&data_dir, args.myid)?;
    }
    for dir in versions() {
        RealDisk.create_dir(&dir)?;
    }
    owner.claim(&dirs)?;
    if args.force {
        for dir in versions() {
            empty(&dir)?;
        }
        for dir in &parents {
            remove_if_there(&dir.join(MYID))?;
        }
    }
    if let Some(myid) = args.myid {
        RealDisk.replace_small(&data_dir.join(MYID), format!("{myid}\n").as_bytes())?;
    }
    RealDisk.replace_small(&data_dir.join(INITIALIZE), b"")?;
    report(args, &lines, &data_dir, &data_log_dir);
    Ok(0)
}

/// dataDir and dataLogDir of a configuration file, of which nothing else has to be right.
///
/// # Errors
/// [`ToolError::Config`].
pub(super) fn directories(file: &Path, given: &Given) -> Result<(PathBuf, PathBuf), ToolError> {
    named(file, &lines(file, given)?)
}

fn named(file: &Path, lines: &Lines) -> Result<(PathBuf, PathBuf), ToolError> {
    let Some(data_dir) = lines.data_dir.clone() else {
        return Err(ToolError::Config(ConfigError::Whole {
            path: file.to_owned(),
            what: "dataDir is missing; write dataDir=/var/lib/zookeeper".into(),
        }));
    };
    let data_log_dir = lines.data_log_dir.clone();
    let data_log_dir = data_log_dir.unwrap_or_else(|| data_dir.clone());
    Ok((data_dir, data_log_dir))
}

/// Only what names directories and members has to be right.
fn lines(file: &Path, given: &Given) -> Result<Lines, ToolError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        |(line, what)| ConfigError::Line { path, line, what }
    };
    let settings = merge(&text_of(file)?, given).map_err(wrong(file))?;
    let count = settings.iter().filter(|s| s.overruled_by.is_none());
    let count = count.map(|s| (s.number, &*s.key, &*s.value));
    let mut lines = gather(count).map_err(wrong(file))?;
    // A file of members that is still to be written says nothing about directories.
    if let Some((_, members)) = lines.dynamic_config.take()
        && members.exists()
    {
        parse_dynamic(&text_of(&members)?, &mut lines).map_err(wrong(&members))?;
    }
    Ok(lines)
}

/// A directory that holds anything is not new, whatever it is.
pub(super) fn refuse_data(dir: &Path, way_out: &str) -> Result<(), ToolError> {
    let mut names = match RealDisk.real_dir(dir) {
        Some(_) => RealDisk.list(dir)?,
        None => return Ok(()),
    };
    names.sort();
    // A lock is left by this command, too.
    names.retain(|name| name != "zabra.lock");
    match names.first() {
        None => Ok(()),
        Some(first) => Err(ToolError::Refused(format!(
            "{}: data is here ({first}{}), nothing is changed; {way_out}",
            dir.display(),
            if names.len() > 1 {
                format!(" and {} more", names.len() - 1)
            } else {
                String::new()
            }
        ))),
    }
}

fn refuse_other_myid(data_dir: &Path, myid: Option<u64>) -> Result<(), ToolError> {
    let path = data_dir.join(MYID);
    let Some(there) = RealDisk.read_small(&path)? else {
        return Ok(());
    };
    let there = String::from_utf8_lossy(&there).trim().to_owned();
    match myid {
        Some(myid) if there != myid.to_string() => Err(ToolError::Refused(format!(
            "{}: says {there:?} and not {myid}, nothing is changed; correct --myid or dataDir, or say --force",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Removes what is in a directory. The directory stays: it may be where something is mounted, or the target of a link. So does the
/// lock, which is held.
fn empty(dir: &Path) -> Result<(), ToolError> {
    let failed = |path: &Path, e: &io::Error| {
        ToolError::Refused(format!(
            "{}: cannot be removed: {e}; remove it by hand",
            path.display()
        ))
    };
    for entry in fs::read_dir(dir).map_err(|e| failed(dir, &e))? {
        let path = entry.map_err(|e| failed(dir, &e))?.path();
        if path.file_name().is_some_and(|name| name == "zabra.lock") {
            continue;
        }
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|e| failed(&path, &e))?;
    }
    Ok(RealDisk.sync_dir(dir)?)
}

fn remove_if_there(path: &Path) -> Result<(), ToolError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(ToolError::Refused(format!(
            "{}: cannot be removed: {e}; remove it by hand",
            path.display()
        ))),
    }
}

fn report(args: &InitializeArgs, lines: &Lines, data_dir: &Path, data_log_dir: &Path) {
    say(format_args!(
        "{}: ready for a server without data",
        data_dir.display()
    ));
    if data_log_dir != data_dir {
        say(format_args!(
            "{}: ready for its transaction logs",
            data_log_dir.display()
        ));
    }
    match args.myid {
        Some(myid) => {
            say(format_args!("{}: {myid}", data_dir.join(MYID).display()));
            if !lines.members.is_empty() && !lines.members.contains_key(&ServerId(myid)) {
                tell(format_args!(
                    "no line server.{myid} is in the configuration; write it before the server starts"
                ));
            }
        }
        None if !lines.members.is_empty() && !data_dir.join(MYID).exists() => {
            tell(format_args!(
                "{} is missing; a member needs it, so say --myid, or write its number there",
                data_dir.join(MYID).display()
            ));
        }
        None => {}
    }
}
