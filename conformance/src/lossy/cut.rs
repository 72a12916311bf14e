//! What a disk holds, what its page cache shows, and what is left of both after a power cut.
//!
//! Pure: no mount, no clock. Readers see every write at once. On the disk is what a sync of that file, or of that directory,
//! has put there; of everything else a power cut leaves what the seed says:
//!
//! - **Contents**: each sector of 512 bytes is, on its own, as it was synced or as any later write left it. So writes survive
//!   out of order and torn. A write dirties whole pages, as it does in Linux.
//! - **Lengths**: as synced, or as any later write or cut left it. Where nothing was written there are zeros; content from
//!   before a cut of the file does not come back behind it.
//! - **Names**: of each directory's changes since its last sync the first few, in order. A rename is one change, also between
//!   two directories. Nothing but a sync of the directory makes a new file's name durable.

use std::collections::{BTreeMap, BTreeSet};

/// The number of a file or directory. Never used twice, so what was open before a power cut is gone after it.
pub type Ino = u64;
/// The top directory.
pub const ROOT: Ino = 1;
/// What the device writes at once, or not at all.
pub const SECTOR: usize = 512;
/// What the system writes back at once.
const PAGE: usize = 4096;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// What the seed says, sector by sector and change by change.
    Some,
}

/// What a sync does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sync {
    /// What it says.
    #[default]
    Honest,
    /// Nothing, and says it was done: a drive with a volatile cache.
    Lies,
    /// The next one fails, and the pages count as clean from then on, as in Linux. Later ones are honest.
    FailsOnce,
}

/// Why an operation on names was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no such file or directory.
    Missing,
    /// The name is taken.
    Exists,
    /// A directory was expected.
    NotDirectory,
    /// A file was expected.
    IsDirectory,
    /// The directory has entries.
    NotEmpty,
}

/// When something was changed: the number of the change.
pub type Moment = u64;

/// A change of a file that is not on the disk yet.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// Oldest first.
    changes: Vec<(Moment, Change)>,
}

type Names = BTreeMap<String, Ino>;

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Directory { cached: Names, synced: Names },
}

/// One change of names that happens wholly or not at all: a name leads to something, or no longer.
#[derive(Clone, Debug)]
struct Renaming {
    at: Moment,
    names: Vec<(Ino, String, Option<Ino>)>,
}

/// Files and directories, twice: as readers see them, and as the disk has them.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: BTreeMap<Ino, Node>,
    renamings: Vec<Renaming>,
    next: Ino,
    now: Moment,
    /// What syncs do from now on.
    pub sync: Sync,
}

impl Default for Disk {
    fn default() -> Self {
        let root = Node::Directory {
            cached: Names::new(),
            synced: Names::new(),
        };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            renamings: vec![],
            next: ROOT + 1,
            now: 0,
            sync: Sync::Honest,
        }
    }
}

impl Disk {
    /// The entries of a directory, as readers see them.
    ///
    /// # Errors
    /// It is none.
    pub fn names(&self, dir: Ino) -> Result<&BTreeMap<String, Ino>, Refused> {
        match self.nodes.get(&dir) {
            Some(Node::Directory { cached, .. }) => Ok(cached),
            Some(Node::File(_)) => Err(Refused::NotDirectory),
            None => Err(Refused::Missing),
        }
    }

    /// The content of a file, as readers see it; `None` for a directory.
    ///
    /// # Errors
    /// There is no such file.
    pub fn content(&self, ino: Ino) -> Result<Option<&[u8]>, Refused> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(Some(&file.cached)),
            Some(Node::Directory { .. }) => Ok(None),
            None => Err(Refused::Missing),
        }
    }

    /// What a name leads to.
    ///
    /// # Errors
    /// Nothing.
    pub fn find(&self, dir: Ino, name: &str) -> Result<Ino, Refused> {
        self.names(dir)?.get(name).copied().ok_or(Refused::Missing)
    }

    /// A new, empty file or directory.
    ///
    /// # Errors
    /// The name is taken.
    pub fn make(&mut self, dir: Ino, name: &str, directory: bool) -> Result<Ino, Refused> {
        if self.names(dir)?.contains_key(name) {
            return Err(Refused::Exists);
        }
        let ino = self.next;
        self.next += 1;
        let node = if directory {
            Node::Directory {
                cached: Names::new(),
                synced: Names::new(),
            }
        } else {
            Node::File(File::default())
        };
        self.nodes.insert(ino, node);
        self.rename_all(vec![(dir, name.to_owned(), Some(ino))]);
        Ok(ino)
    }

    /// A further name of a file.
    ///
    /// # Errors
    /// The name is taken, or there is no such file.
    pub fn link(&mut self, ino: Ino, dir: Ino, name: &str) -> Result<(), Refused> {
        self.file(ino)?;
        if self.names(dir)?.contains_key(name) {
            return Err(Refused::Exists);
        }
        self.rename_all(vec![(dir, name.to_owned(), Some(ino))]);
        Ok(())
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// There is none, or it is that of a directory with entries.
    pub fn remove(&mut self, dir: Ino, name: &str) -> Result<(), Refused> {
        let ino = self.find(dir, name)?;
        if self.names(ino).is_ok_and(|names| !names.is_empty()) {
            return Err(Refused::NotEmpty);
        }
        self.rename_all(vec![(dir, name.to_owned(), None)]);
        Ok(())
    }

    /// Gives something another name; what had that name is gone. `exclusive` if nothing may have it.
    ///
    /// # Errors
    /// There is nothing of that name, or the other is taken by what must not go.
    pub fn rename(
        &mut self,
        (dir, name): (Ino, &str),
        (to_dir, to): (Ino, &str),
        exclusive: bool,
    ) -> Result<(), Refused> {
        let ino = self.find(dir, name)?;
        if let Ok(taken) = self.find(to_dir, to) {
            if exclusive {
                return Err(Refused::Exists);
            }
            if self.names(taken).is_ok_and(|names| !names.is_empty()) {
                return Err(Refused::NotEmpty);
            }
            if taken == ino {
                return Ok(());
            }
        }
        self.rename_all(vec![
            (dir, name.to_owned(), None),
            (to_dir, to.to_owned(), Some(ino)),
        ]);
        Ok(())
    }

    /// Writes into the page cache.
    ///
    /// # Errors
    /// There is no such file.
    pub fn write(&mut self, ino: Ino, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        let at = self.tick();
        let file = self.file(ino)?;
        let end = offset + bytes.len();
        let length = file.cached.len().max(end);
        file.cached.resize(length, 0);
        file.cached[offset..end].copy_from_slice(bytes);
        // The page is what is dirty, so whatever else it holds goes to the disk with these bytes.
        let from = offset / PAGE * PAGE;
        let to = end.next_multiple_of(PAGE).min(length);
        let bytes = file.cached[from..to].to_vec();
        let offset = from;
        file.changes.push((at, Change::Write { offset, bytes }));
        Ok(())
    }

    /// Cuts or extends a file.
    ///
    /// # Errors
    /// There is no such file.
    pub fn set_length(&mut self, ino: Ino, length: usize) -> Result<(), Refused> {
        let at = self.tick();
        let file = self.file(ino)?;
        file.cached.resize(length, 0);
        file.changes.push((at, Change::Length(length)));
        Ok(())
    }

    /// Now: a sync that begins covers the changes before this moment.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// fsync or fdatasync of a file or directory that began at this moment. Whether it succeeded.
    ///
    /// # Errors
    /// There is no such file or directory: the power was cut meanwhile.
    pub fn sync(&mut self, ino: Ino, began: Moment) -> Result<bool, Refused> {
        let does = self.sync;
        let Some(node) = self.nodes.get_mut(&ino) else {
            return Err(Refused::Missing);
        };
        match (does, node) {
            (Sync::Lies, _) => return Ok(true),
            (Sync::FailsOnce, Node::File(file)) => {
                self.sync = Sync::Honest;
                file.changes.clear();
                return Ok(false);
            }
            (Sync::Honest, Node::File(file)) => {
                let covers = file.changes.partition_point(|(at, _)| *at < began);
                for (_, change) in file.changes.drain(..covers) {
                    change.apply(&mut file.synced);
                }
            }
            (Sync::Honest | Sync::FailsOnce, Node::Directory { .. }) => {
                self.settle_names(BTreeMap::from([(ino, began)]));
            }
        }
        Ok(true)
    }

    /// The power is cut, and comes back: from here on readers see what was left.
    pub fn cut(&mut self, survival: Survival, random: &mut fastrand::Rng) {
        if survival == Survival::Some {
            let mut firsts = BTreeMap::new();
            for (ino, node) in &self.nodes {
                if matches!(node, Node::Directory { .. }) {
                    firsts.insert(*ino, self.moment(random));
                }
            }
            self.settle_names(firsts);
        }
        self.renamings.clear();
        let mut reached = BTreeSet::new();
        self.reach(ROOT, &mut reached);
        self.nodes.retain(|ino, _| reached.contains(ino));
        for node in self.nodes.values_mut() {
            match node {
                Node::Directory { cached, synced } => cached.clone_from(synced),
                Node::File(file) => file.cut(survival, random),
            }
        }
        self.renumber();
    }

    /// One at which the names changed, or now.
    fn moment(&self, random: &mut fastrand::Rng) -> Moment {
        let i = random.usize(..=self.renamings.len());
        self.renamings.get(i).map_or(self.now, |r| r.at)
    }

    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now - 1
    }

    fn file(&mut self, ino: Ino) -> Result<&mut File, Refused> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory { .. }) => Err(Refused::IsDirectory),
            None => Err(Refused::Missing),
        }
    }

    fn rename_all(&mut self, names: Vec<(Ino, String, Option<Ino>)>) {
        let at = self.tick();
        for (dir, name, to) in &names {
            if let Some(Node::Directory { cached, .. }) = self.nodes.get_mut(dir) {
                point(cached, name, *to);
            }
        }
        self.renamings.push(Renaming { at, names });
    }

    /// Puts on the disk: of each directory, its changes before a moment. One that touches two directories brings the earlier
    /// ones of both.
    fn settle_names(&mut self, mut until: BTreeMap<Ino, Moment>) {
        let (mut now, mut later) = (vec![], vec![]);
        for renaming in std::mem::take(&mut self.renamings).into_iter().rev() {
            let before = |dir: &Ino| until.get(dir).is_some_and(|until| renaming.at < *until);
            if renaming.names.iter().any(|(dir, ..)| before(dir)) {
                for (dir, ..) in &renaming.names {
                    let until = until.entry(*dir).or_default();
                    *until = (*until).max(renaming.at + 1);
                }
                now.push(renaming);
            } else {
                later.push(renaming);
            }
        }
        later.reverse();
        self.renamings = later;
        for (dir, name, to) in now.into_iter().rev().flat_map(|r| r.names) {
            if let Some(Node::Directory { synced, .. }) = self.nodes.get_mut(&dir) {
                point(synced, &name, to);
            }
        }
    }

    fn reach(&self, ino: Ino, reached: &mut BTreeSet<Ino>) {
        if reached.insert(ino)
            && let Some(Node::Directory { synced, .. }) = self.nodes.get(&ino)
        {
            for to in synced.values() {
                self.reach(*to, reached);
            }
        }
    }

    fn renumber(&mut self) {
        let mut numbers = BTreeMap::from([(ROOT, ROOT)]);
        for ino in self.nodes.keys().filter(|ino| **ino != ROOT) {
            numbers.insert(*ino, self.next);
            self.next += 1;
        }
        let renumbered = |names: &mut Names| {
            for to in names.values_mut() {
                *to = numbers[to];
            }
        };
        let mut nodes = std::mem::take(&mut self.nodes);
        for node in nodes.values_mut() {
            if let Node::Directory { cached, synced } = node {
                renumbered(cached);
                renumbered(synced);
            }
        }
        self.nodes = nodes.into_iter().map(|(i, n)| (numbers[&i], n)).collect();
    }
}

fn point(names: &mut Names, name: &str, to: Option<Ino>) {
    match to {
        Some(ino) => names.insert(name.to_owned(), ino),
        None => names.remove(name),
    };
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

impl File {
    fn cut(&mut self, survival: Survival, random: &mut fastrand::Rng) {
        if survival == Survival::Some && !self.changes.is_empty() {
            self.synced = self.left(random);
        }
        self.changes.clear();
        self.cached.clone_from(&self.synced);
    }

    /// What is left of a file: its length from one moment since the last sync, and each sector from one of its own.
    fn left(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let moments = self.changes.len();
        // Often everything but the length, or nothing but that, or all of one moment: those have names, the rest is noise.
        let shape = random.u8(..4);
        let whole = random.usize(..=moments);
        let length_of = if shape == 0 { moments } else { whole };
        let mut length = self.synced.len();
        // The last cut that the length has seen: no sector is from before it.
        let mut floor = 0;
        for (i, (_, change)) in self.changes[..length_of].iter().enumerate() {
            match change {
                Change::Write { offset, bytes } => length = length.max(offset + bytes.len()),
                Change::Length(to) => {
                    if *to < length {
                        floor = i + 1;
                    }
                    length = *to;
                }
            }
        }
        let mut left = vec![0; length];
        for (sector, out) in left.chunks_mut(SECTOR).enumerate() {
            let moment = match shape {
                0 | 1 => random.usize(..=moments),
                2 => random.usize(..=1) * moments,
                _ => whole,
            };
            self.sector_at(sector * SECTOR, moment.max(floor), out);
        }
        left
    }

    /// What a sector held after so many changes.
    fn sector_at(&self, at: usize, moment: usize, out: &mut [u8]) {
        let copy = |from: &[u8], offset: usize, out: &mut [u8]| {
            let (begin, end) = (offset.max(at), (offset + from.len()).min(at + out.len()));
            if begin < end {
                out[begin - at..end - at].copy_from_slice(&from[begin - offset..end - offset]);
            }
        };
        copy(&self.synced, 0, out);
        for (_, change) in &self.changes[..moment] {
            match change {
                Change::Write { offset, bytes } => copy(bytes, *offset, out),
                Change::Length(to) if *to < at + out.len() => out[to.saturating_sub(at)..].fill(0),
                Change::Length(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
