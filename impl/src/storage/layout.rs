//! Whether `dataDir` and `dataLogDir` are the directories of the data that lies in them.
//!
//! Names tell most of it, as in ZooKeeper: no logs among the snapshots, and no snapshots among the logs, where the two
//! directories differ. What names cannot tell is said by `zabra.identity`, a small file in each of the two: which
//! two belong together, and whose they are. Without it, logs on a file system that is not mounted, a `dataLogDir` line
//! that was removed, or the volume of another member would be taken for all that there is, and a server would vote
//! without transactions that it has acknowledged. A directory of ZooKeeper's has no such file until this server has
//! started on it, and may lose it: then the names alone decide.

use super::disk::Disk;
use super::snapshot::Packing;
use super::{Dirs, Result, StorageError, list_by_zxid, snapshot, txn_log};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use zabra_model::ids::ServerId;

/// The file that says which two directories belong together.
pub const IDENTITY: &str = "zabra.identity";
/// Its first line: readers of this version understand the rest.
const VERSION: &str = "zabra directory 1";

/// What a directory is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Both,
    Snapshots,
    Logs,
}

impl Part {
    const fn word(self) -> &'static str {
        match self {
            Self::Both => "snapshots and logs",
            Self::Snapshots => "snapshots",
            Self::Logs => "logs",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Both, Self::Snapshots, Self::Logs]
            .into_iter()
            .find(|part| part.word() == word)
    }
}

/// What a directory says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Identity {
    /// The same in the two directories of a server.
    id: u64,
    part: Part,
    /// Whose it is, if the server was a member of an ensemble.
    server: Option<ServerId>,
}

impl Identity {
    fn text(&self) -> String {
        let mut text = format!(
            "{VERSION}\nid {:016x}\nholds {}\n",
            self.id,
            self.part.word()
        );
        if let Some(server) = self.server {
            text.push_str(&format!("server {server}\n"));
        }
        text
    }

    /// `None` for anything that is not understood: such a file says nothing.
    fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return None;
        }
        let mut word = |name| {
            let line: &str = lines.next()?;
            line.strip_prefix(name)?.strip_prefix(' ')
        };
        Some(Self {
            id: u64::from_str_radix(word("id")?, 16).ok()?,
            part: Part::of(word("holds")?)?,
            server: word("server").and_then(|sid| sid.parse().ok().map(ServerId)),
        })
    }
}

fn identity<D: Disk>(disk: &D, dir: &Path) -> Result<Option<Identity>> {
    let content = disk.read_small(&dir.join(IDENTITY))?;
    Ok(content.and_then(|content| Identity::parse(&content)))
}

/// What was found in the two directories; looking changes nothing.
#[derive(Debug)]
pub struct Layout {
    snap: Option<Identity>,
    log: Option<Identity>,
    server: Option<ServerId>,
    /// Neither log nor snapshot.
    is_empty: bool,
}

/// Whether the two are one directory, under one name or two.
fn is_one<D: Disk>(disk: &D, dirs: &Dirs) -> bool {
    let real = |dir: &Path| disk.real_dir(dir);
    dirs.snap == dirs.log
        || real(&dirs.snap).is_some_and(|snap| Some(snap) == real(&dirs.log))
        // Not made yet: then those above them may be.
        || match (dirs.snap.parent(), dirs.log.parent()) {
            (Some(snap), Some(log)) => {
                real(snap).is_some_and(|snap| Some(snap) == real(log))
            }
            _ => false,
        }
}

/// The first file of one kind in a directory, which may be missing.
fn first_of<D: Disk>(disk: &D, dir: &Path, prefix: &str) -> Result<Option<PathBuf>> {
    if disk.real_dir(dir).is_none() {
        return Ok(None);
    }
    if prefix == txn_log::PREFIX {
        let first = list_by_zxid(disk, dir, prefix)?.into_iter().next();
        return Ok(first.map(|(_, path)| path));
    }
    let names = disk.list(dir)?;
    let first = names.into_iter().filter(|name| is_snapshot(name)).min();
    Ok(first.map(|name| dir.join(name)))
}

/// Compressed ones, too.
fn is_snapshot(name: &str) -> bool {
    Packing::of_name(name).is_some()
}

/// Looks at the directories of a server: `server` is its id where it is a member of an ensemble. Logs without snapshots
/// are looked for only where the two are apart and `trust_empty` is off; recovery does it again.
///
/// # Errors
/// [`StorageError::WrongDirectory`], with the ways out; [`StorageError::LogsWithoutSnapshot`]; [`StorageError::Io`].
pub fn look<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    server: Option<ServerId>,
    trust_empty: bool,
) -> Result<Layout> {
    let one = is_one(disk, dirs);
    let read = |dir: &Path| identity(disk, dir);
    let (snap, log) = (read(&dirs.snap)?, read(&dirs.log)?);
    if !one {
        look_at_names(disk, dirs)?;
    }
    look_at_owner(&dirs.snap, snap.as_ref(), server)?;
    look_at_owner(&dirs.log, log.as_ref(), server)?;
    let missing = |dir, prefix| first_of(disk, dir, prefix).map(|first| first.is_none());
    let is_empty = missing(&dirs.log, txn_log::PREFIX)? && missing(&dirs.snap, snapshot::PREFIX)?;
    let logs_missing = missing(&dirs.log, txn_log::PREFIX)?;
    let ways = format!(
        "if there were none, remove {IDENTITY} in {}; if they are lost, remove that whole directory to copy this server's data anew from the ensemble",
        dirs.snap.display()
    );
    match (&snap, &log) {
        (Some(here), _) if one => {
            if here.part == Part::Snapshots && logs_missing {
                return Err(wrong(
                    &dirs.snap,
                    format!(
                        "this server's transaction logs are in another directory, so a dataLogDir line is missing: write it again, or move the log.* files here; {ways}"
                    ),
                ));
            }
            if here.part == Part::Logs && missing(&dirs.snap, snapshot::PREFIX)? {
                return Err(wrong(
                    &dirs.snap,
                    "it is for transaction logs, this server's snapshots are in another directory: write the dataDir and dataLogDir lines that were there before".into(),
                ));
            }
        }
        (Some(here), Some(there)) if here.id != there.id => {
            return Err(wrong(
                &dirs.log,
                format!(
                    "these are not the transaction logs of the snapshots in {}: correct dataDir and dataLogDir; or, if they do belong together, remove {IDENTITY} in both",
                    dirs.snap.display()
                ),
            ));
        }
        (Some(_), None) if logs_missing => {
            return Err(wrong(
                &dirs.log,
                format!(
                    "it holds no transaction logs; those of the snapshots in {} were in another directory, or in this one when it was mounted: correct dataLogDir, mount it, or move the log.* files here; {ways}",
                    dirs.snap.display()
                ),
            ));
        }
        _ => {}
    }
    if !one && !trust_empty && !logs_missing && missing(&dirs.snap, snapshot::PREFIX)? {
        return Err(StorageError::LogsWithoutSnapshot {
            dir: dirs.snap.clone(),
        });
    }
    Ok(Layout {
        snap,
        log,
        server,
        is_empty,
    })
}

fn wrong(dir: &Path, what: String) -> StorageError {
    StorageError::WrongDirectory {
        dir: dir.to_owned(),
        what,
    }
}

/// A directory is that of this member, or does not say whose it is.
fn look_at_owner(dir: &Path, said: Option<&Identity>, me: Option<ServerId>) -> Result<()> {
    match (said.and_then(|said| said.server), me) {
        (Some(owner), Some(me)) if owner != me => Err(wrong(
            dir,
            format!(
                "it holds the data of server.{owner}, but this is server.{me}: correct myid, dataDir and dataLogDir; or, if the data was copied here on purpose, remove {IDENTITY} in it"
            ),
        )),
        _ => Ok(()),
    }
}

/// No logs among the snapshots, no snapshots among the logs.
fn look_at_names<D: Disk>(disk: &D, dirs: &Dirs) -> Result<()> {
    let (snap, log) = (dirs.snap.display(), dirs.log.display());
    let log_here = first_of(disk, &dirs.snap, txn_log::PREFIX)?;
    let snapshot_there = first_of(disk, &dirs.log, snapshot::PREFIX)?;
    match (log_here, snapshot_there) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(wrong(
            &dirs.snap,
            format!(
                "it holds transaction logs, and the directory of dataLogDir, {log}, holds snapshots: exchange dataDir and dataLogDir; or, if the data of two servers has got mixed, sort it by hand"
            ),
        )),
        (Some(_), None) => Err(wrong(
            &dirs.snap,
            format!(
                "it holds transaction logs, but dataLogDir says {log}: move the log.* files there, or remove the dataLogDir line"
            ),
        )),
        (None, Some(_)) => Err(wrong(
            &dirs.log,
            format!(
                "it holds snapshots, but dataDir says {snap}: move the snapshot.* files and the epoch files there, or write the dataDir and dataLogDir that were there before"
            ),
        )),
    }
}

impl Layout {
    /// Whether there is no data at all, neither log nor snapshot.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Writes down which directories belong together. They are there, and are this server's.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn write<D: Disk>(self, disk: &D, dirs: &Dirs) -> Result<()> {
        let one = is_one(disk, dirs);
        let known = self.snap.as_ref().or(self.log.as_ref());
        let id = known.map_or_else(|| RandomState::new().build_hasher().finish(), |k| k.id);
        let server = self.server.or(known.and_then(|k| k.server));
        let of = |part| Identity { id, part, server };
        // The logs' first: a crash between the two must not leave snapshots that ask for logs.
        let parts = [
            (!one).then_some((&dirs.log, Part::Logs, &self.log)),
            Some((
                &dirs.snap,
                if one { Part::Both } else { Part::Snapshots },
                &self.snap,
            )),
        ];
        for (dir, part, found) in parts.into_iter().flatten() {
            let next = of(part);
            if found.as_ref() != Some(&next) {
                disk.replace_small(&dir.join(IDENTITY), next.text().as_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;
    use std::fs;

    /// What lies in two directories, and what is to become of it.
    struct Case {
        what: &'static str,
        snap: &'static [&'static str],
        log: &'static [&'static str],
        refused: Option<&'static str>,
    }

    /// C-1 and C-2, without the identity files: what ZooKeeper leaves, right and wrong.
    #[test]
    fn c_1_the_names_alone_tell_what_zookeeper_leaves() {
        let cases = [
            Case {
                what: "nothing at all",
                snap: &[],
                log: &[],
                refused: None,
            },
            Case {
                what: "as it should be",
                snap: &["snapshot.0", "snapshot.1f.gz", "acceptedEpoch", "x.log.1"],
                log: &["log.1", "log.20", "snapshots"],
                refused: None,
            },
            Case {
                what: "a full copy from a leader, and nothing logged yet",
                snap: &["snapshot.500000003", "currentEpoch"],
                log: &[],
                refused: None,
            },
            Case {
                what: "logs among the snapshots",
                snap: &["snapshot.0", "log.1"],
                log: &[],
                refused: Some("or remove the dataLogDir line"),
            },
            Case {
                what: "snapshots among the logs",
                snap: &[],
                log: &["log.1", "snapshot.0"],
                refused: Some("move the snapshot.* files"),
            },
            Case {
                what: "compressed snapshots among the logs",
                snap: &[],
                log: &["snapshot.0.snappy"],
                refused: Some("move the snapshot.* files"),
            },
            Case {
                what: "exchanged",
                snap: &["log.1"],
                log: &["snapshot.0"],
                refused: Some("exchange dataDir and dataLogDir"),
            },
            Case {
                what: "logs only",
                snap: &[],
                log: &["log.1"],
                refused: Some("no snapshot"),
            },
        ];
        for case in cases {
            let dir = tempfile::tempdir().unwrap();
            let dirs = Dirs::new(&dir.path().join("d"), &dir.path().join("l"));
            for (place, names) in [(&dirs.snap, case.snap), (&dirs.log, case.log)] {
                fs::create_dir_all(place).unwrap();
                names
                    .iter()
                    .for_each(|n| fs::write(place.join(n), "").unwrap());
            }
            match (look(&RealDisk, &dirs, None, false), case.refused) {
                (Ok(_), None) => {}
                (Err(e), Some(words)) => {
                    assert!(e.to_string().contains(words), "{}: {e}", case.what);
                }
                (found, _) => panic!("{}: {found:?}", case.what),
            }
            // In one directory there is nothing to mix up.
            let one = Dirs::new(&dir.path().join("d"), &dir.path().join("d"));
            look(&RealDisk, &one, None, false).unwrap();
        }
    }

    #[test]
    fn c_2_a_server_alone_may_become_a_member_and_another_member_may_not() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(dir.path(), dir.path());
        fs::create_dir_all(&dirs.snap).unwrap();
        let enter = |server: Option<u64>| {
            let found = look(&RealDisk, &dirs, server.map(ServerId), false)?;
            found.write(&RealDisk, &dirs)
        };
        enter(None).unwrap();
        enter(Some(3)).unwrap();
        enter(None).unwrap();
        enter(Some(3)).unwrap();
        assert!(enter(Some(4)).unwrap_err().to_string().contains("server.3"));
        // A file that is not understood says nothing.
        fs::write(dirs.snap.join(IDENTITY), "zabra directory 2\nserver 9\n").unwrap();
        enter(Some(4)).unwrap();
    }

    /// A crash between any two steps of the first start leaves what the next start takes.
    #[test]
    fn c_2_a_crash_of_the_first_start_is_no_mix_up() {
        use super::super::recording::{Loss, RecordingDisk};
        let dirs = Dirs::new(Path::new("/no/such/d"), Path::new("/no/such/l"));
        let disk = RecordingDisk::default();
        let first = look(&disk, &dirs, None, false).unwrap();
        first.write(&disk, &dirs).unwrap();
        for n in 0..=disk.operations() {
            for loss in Loss::ALL {
                let image = disk.crashed(n, loss);
                let (snap, log) = (
                    identity(&image, &dirs.snap).unwrap(),
                    identity(&image, &dirs.log).unwrap(),
                );
                assert!(snap.is_none() || log.is_some(), "{n} {loss:?}");
                if let (Some(snap), Some(log)) = (snap, log) {
                    assert_eq!(snap.id, log.id);
                }
                let again = look(&image, &dirs, None, false).unwrap();
                again.write(&image, &dirs).unwrap();
                assert_eq!(
                    identity(&image, &dirs.snap).unwrap().unwrap().id,
                    identity(&image, &dirs.log).unwrap().unwrap().id
                );
            }
        }
    }
}
