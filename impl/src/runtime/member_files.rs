//! The files beside `zoo.cfg` that tell operators, and ZooKeeper, of members that have changed.
//!
//! | file | holds |
//! |---|---|
//! | `zoo.cfg.dynamic.VERSION` | the active list, without its version |
//! | `zoo.cfg.dynamic.next` | a list that is proposed and not active, with its version |
//! | `zoo.cfg` | `dynamicConfigFile=` with the first of these, in place of the lines of members |
//! | `zoo.cfg.bak` | `zoo.cfg` as it was when the members stood in it |
//!
//! This server itself goes by the list that it keeps with its data. So a folder that it cannot write to is a warning, and no more.

use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::Config;
use crate::storage::disk::parent_of;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tracing::{info, warn};
use zabra_model::ids::Zxid;
use zabra_model::service::members::{Lists, Members};

/// Writes them, one after the other, on a thread that may wait.
#[derive(Default)]
pub struct MemberFiles {
    one_by_one: Arc<Mutex<()>>,
}

impl MemberFiles {
    /// Writes the files as the lists are when it comes to it: whoever is late finds nothing left to do.
    pub fn write(&self, shared: &Arc<Shared>) {
        if !shared.config.reconfig_enabled || !shared.config.is_ensemble() {
            return;
        }
        let (shared, one_by_one) = (Arc::clone(shared), Arc::clone(&self.one_by_one));
        tokio::task::spawn_blocking(move || {
            let _one = lock(&one_by_one);
            let (config, lists) = (&shared.config, shared.lists());
            if let Err(error) = write_all(config, &lists) {
                warn!(
                    code = %Code::MemberFilesNotWritten, path = %config.path.display(), %error,
                    "the files of members beside it cannot be written; this server goes by the list that it keeps with its data"
                );
            }
        });
    }
}

fn write_all(config: &Config, lists: &Lists) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let path = fs::canonicalize(&config.path)?;
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let next = beside(".dynamic.next");
    match &lists.next {
        Some(members) => {
            let version = format!("version={:x}", members.version.0);
            replace(&next, &sorted(members, Some(version)))?;
        }
        None => remove(&next)?,
    }
    let active = &lists.active;
    if active.version == Zxid::ZERO {
        return Ok(());
    }
    let dynamic = beside(&format!(".dynamic.{:x}", active.version.0));
    replace(&dynamic, &sorted(active, None))?;
    let before = fs::read(&path)?;
    let has_client = active
        .list
        .get(&config.me)
        .is_some_and(|m| m.client.is_some());
    match pointing_to(&before, &dynamic, has_client) {
        Rewritten::Same => {}
        Rewritten::ListElsewhere => warn!(
            code = %Code::ListElsewhere, path = %path.display(),
            "the members stand neither in this file nor in one that it names, so it is not changed; {} has the list that is active",
            dynamic.display()
        ),
        Rewritten::To { text, was_static } => {
            if was_static {
                replace(&beside(".bak"), &before)?;
            }
            replace(&path, &text)?;
            info!(path = %path.display(), members = %dynamic.display(), "names another file of members now");
        }
    }
    Ok(())
}

/// The lines as ZooKeeper sorts them, without a last line end.
fn sorted(members: &Members, more: Option<String>) -> Vec<u8> {
    let lines = members.lines();
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).chain(more).collect();
    lines.sort_unstable();
    lines.join("\n").into_bytes()
}

/// What becomes of `zoo.cfg`.
#[derive(PartialEq, Eq, Debug)]
enum Rewritten {
    /// It names that file already.
    Same,
    /// Its members come from somewhere else: a variable of the environment, or an argument.
    ListElsewhere,
    /// This.
    To { text: Vec<u8>, was_static: bool },
}

/// A file of settings that names `dynamic` for its members. All other lines stay as they are, with their notes and in their order (D-92).
/// `has_client`: the member's own line says where its clients come in, so no other line does.
fn pointing_to(file: &[u8], dynamic: &Path, has_client: bool) -> Rewritten {
    let mut text = Vec::with_capacity(file.len() + 64);
    let (mut drops, mut was_static, mut named) = (false, false, None);
    let mut goes_on = false;
    for line in file.split_inclusive(|b| *b == b'\n') {
        if !goes_on {
            let (key, value) = key_and_value(line);
            was_static |= key.starts_with("server.");
            if key == "dynamicConfigFile" {
                named = Some(value);
            }
            let client = matches!(&*key, "clientPort" | "clientPortAddress");
            drops = is_of_members(&key) || client && has_client;
        }
        goes_on = continues(line);
        if !drops {
            text.extend_from_slice(line);
        }
    }
    let dynamic = dynamic.to_string_lossy();
    if named.as_deref() == Some(&*dynamic) {
        return Rewritten::Same;
    }
    if named.is_none() && !was_static {
        return Rewritten::ListElsewhere;
    }
    if text.last().is_some_and(|b| *b != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("dynamicConfigFile={dynamic}\n").as_bytes());
    Rewritten::To { text, was_static }
}

fn is_of_members(key: &str) -> bool {
    let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
    let list = ["server.", "group.", "weight."];
    list.iter().any(|start| plain.starts_with(start))
        || matches!(plain, "dynamicConfigFile" | "peerType")
}

/// The key of a line of Java properties, and what follows it; nothing of a note.
fn key_and_value(line: &[u8]) -> (String, String) {
    let line: String = line.iter().copied().map(char::from).collect();
    let line = line.trim_start_matches("\u{ef}\u{bb}\u{bf}").trim();
    if line.starts_with(['#', '!']) {
        return Default::default();
    }
    let ends = |c: char| c == '=' || c == ':' || c.is_whitespace();
    let (key, rest) = line.split_at(line.find(ends).unwrap_or(line.len()));
    let value = rest.trim_start().trim_start_matches(['=', ':']).trim();
    (key.to_owned(), value.to_owned())
}

/// Whether the next line belongs to this one: it ends in a backslash that none before it takes away.
fn continues(line: &[u8]) -> bool {
    let end = line.trim_ascii_end();
    let slashes = end.iter().rev().take_while(|b| **b == b'\\').count();
    let is_note = matches!(line.trim_ascii_start().first(), Some(b'#' | b'!'));
    slashes % 2 == 1 && !is_note
}

/// Replaces a file, durably, if it holds something else.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let mut file = File::create(&tmp)?;
    file.write_all(content)?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
    }
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    File::open(parent_of(path))?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    const STATIC: &str = "# ours\ntickTime=500\nserver.1=a:1:2;9\nserver.2=b:1:2;\\\n  9\nclientPort: 9\ngroup.1=1:2\npeerType=participant\ndataDir=";

    fn text_of(rewritten: Rewritten) -> (String, bool) {
        match rewritten {
            Rewritten::To { text, was_static } => (String::from_utf8(text).unwrap(), was_static),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_lines_of_members_give_way_to_the_name_of_a_file_and_all_others_stay() {
        let dynamic = Path::new("/c/zoo.cfg.dynamic.5");
        let end = "dynamicConfigFile=/c/zoo.cfg.dynamic.5\n";
        let file = format!("{STATIC}/d");
        let left = |client: &str| format!("# ours\ntickTime=500\n{client}dataDir=/d\n{end}");
        let (text, was_static) = text_of(pointing_to(file.as_bytes(), dynamic, true));
        assert_eq!((text.as_str(), was_static), (left("").as_str(), true));
        assert_eq!(pointing_to(text.as_bytes(), dynamic, true), Rewritten::Same);
        let (text, _) = text_of(pointing_to(file.as_bytes(), dynamic, false));
        assert_eq!(text, left("clientPort: 9\n"));
        // From one file of members to the next, without a copy of the old file.
        let next = Path::new("/c/zoo.cfg.dynamic.6");
        let (text, was_static) = text_of(pointing_to(text.as_bytes(), next, true));
        assert!(text.ends_with("dynamicConfigFile=/c/zoo.cfg.dynamic.6\n") && !was_static);
        assert_eq!(text.matches("dynamicConfigFile").count(), 1);
        let elsewhere = pointing_to(b"dataDir=/d\n", dynamic, true);
        assert_eq!(elsewhere, Rewritten::ListElsewhere);
    }

    #[test]
    fn the_files_follow_the_lists_and_a_start_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        fs::write(dir.path().join("myid"), "1\n").unwrap();
        let text = format!(
            "initLimit=9\nsyncLimit=9\n{}",
            STATIC.replace("group.1=1:2\n", "")
        );
        let text = format!("{text}{}\n", dir.path().display());
        fs::write(&path, &text).unwrap();
        let config = check::load(&path).unwrap();
        let list = |file: &str| fs::read_to_string(dir.path().join(file)).ok();
        let of = |more: &str, version: u64| {
            let lines = format!("server.1=a:1:2;9\nserver.2=b:1:2;9\n{more}version={version:x}");
            Members::parse(&lines).unwrap()
        };
        let mut lists = Lists::of(config.lists().active);
        lists.append(of("", 0x1_0000_0001));
        write_all(&config, &lists).unwrap();
        let lines = "server.1=a:1:2:participant;0.0.0.0:9\nserver.2=b:1:2:participant;0.0.0.0:9";
        assert_eq!(
            list("zoo.cfg.dynamic.next"),
            Some(format!("{lines}\nversion=100000001"))
        );
        assert_eq!(list("zoo.cfg"), Some(text.clone()));
        lists.activate();
        for _ in 0..2 {
            write_all(&config, &lists).unwrap();
            assert_eq!(list("zoo.cfg.dynamic.next"), None);
            assert_eq!(list("zoo.cfg.dynamic.100000001").as_deref(), Some(lines));
            assert_eq!(list("zoo.cfg.bak"), Some(text.clone()));
        }
        let read = check::load(&path).unwrap();
        assert_eq!(read.lists().active.text(), lists.active.text());
        lists.append(of("server.3=c:1:2:observer;9\n", 0x1_0000_0007));
        lists.activate();
        write_all(&read, &lists).unwrap();
        let read = check::load(&path).unwrap();
        assert_eq!(read.lists().active.text(), lists.active.text());
        // The older list stays, and so does what the operator wrote.
        assert_eq!(list("zoo.cfg.dynamic.100000001").as_deref(), Some(lines));
        assert_eq!(list("zoo.cfg.bak"), Some(text));
    }
}
