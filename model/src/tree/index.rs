//! Which node is at a path: a hash table whose growth moves a bounded number of entries at a time.
//!
//! One table of a million entries moves all of them when it doubles, and each move has to fetch a path from memory: half a second
//! in which no request is answered. So the entries lie in shards, found through a directory by some bits of the hash. A full shard
//! is split in two, and the directory, four bytes a shard, doubles when a shard has become finer than it (extendible hashing).

use super::page::Index;
use alloc::vec::Vec;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Entries of a shard: what one insertion moves at most. It fills a table of 1024 places.
const SHARD_ENTRIES_MAX: usize = 896;
/// Entries of a shard on average, at most, where all are there from the beginning: few shards are full then.
const SHARD_FILLED_ENTRIES: usize = 800;
/// So many insertions are gathered.
const RECENT_MAX: usize = 448;
/// Bits of a hash that choose a shard, at most: paths made to collide cannot double the directory for ever.
const DEPTH_MAX: u32 = 20;
/// Where these bits are: the tables inside use the lowest and the highest ones.
const DEPTH_SHIFT: u32 = 32;

struct Shard {
    /// How many bits its entries have in common.
    depth: u32,
    entries: HashTable<Index>,
}

/// Places of nodes by the hashes of their paths.
pub(super) struct PathIndex {
    /// The shard for each value of the lowest `depth` bits.
    directory: Vec<u32>,
    depth: u32,
    shards: Vec<Shard>,
    /// What was inserted last, while many insertions are gathered, and nothing otherwise: a table that stays in a processor's first cache. Each place in the shards
    /// has to be fetched from memory, and those of many entries are fetched at the same time when they are put there together.
    recent: HashTable<(u64, Index)>,
    is_gathering: bool,
    len: usize,
    /// Entries that growth has moved since the last insertion began.
    #[cfg(test)]
    moved: usize,
}

const fn bits(hash: u64, depth: u32) -> usize {
    ((hash >> DEPTH_SHIFT) & ((1 << depth) - 1)) as usize
}

/// How many bits choose a shard where there are so many entries from the beginning.
const fn depth_for(entries: usize) -> u32 {
    let mut depth = 0;
    while entries >> depth > SHARD_FILLED_ENTRIES && depth < DEPTH_MAX {
        depth += 1;
    }
    depth
}

impl PathIndex {
    pub(super) fn new() -> Self {
        Self {
            directory: alloc::vec![0],
            depth: 0,
            shards: alloc::vec![Shard {
                depth: 0,
                entries: HashTable::new(),
            }],
            recent: HashTable::new(),
            is_gathering: false,
            len: 0,
            #[cfg(test)]
            moved: 0,
        }
    }

    /// The index of these nodes, whose paths have these hashes, with room for `room` of them. `is_same`: two nodes have the same path.
    ///
    /// One shard is filled behind the other, so that what is written to stays in the processor's caches.
    ///
    /// Errors: the place of a node whose path another one has.
    pub(super) fn filled(
        nodes: impl Iterator<Item = (Index, u64)> + Clone,
        room: usize,
        is_same: impl Fn(Index, Index) -> bool,
    ) -> Result<Self, Index> {
        let depth = depth_for(room);
        // A shard has the places between its bound and the next one's.
        let mut bounds = alloc::vec![0_usize; (1 << depth) + 1];
        let mut len = 0;
        for (_, hash) in nodes.clone() {
            bounds[bits(hash, depth) + 1] += 1;
            len += 1;
        }
        for shard in 1..bounds.len() {
            bounds[shard] += bounds[shard - 1];
        }
        let mut next = bounds.clone();
        let mut sorted = alloc::vec![(0, 0); len];
        for (at, hash) in nodes {
            let place = &mut next[bits(hash, depth)];
            sorted[*place] = (at, hash);
            *place += 1;
        }
        let mut shards = Vec::with_capacity(1 << depth);
        for bound in bounds.windows(2) {
            let nodes = &sorted[bound[0]..bound[1]];
            shards.push(Shard {
                depth,
                entries: Self::filled_shard(nodes, depth, &is_same)?,
            });
        }
        Ok(Self {
            directory: (0..1 << depth).collect(),
            depth,
            shards,
            recent: HashTable::new(),
            is_gathering: false,
            len,
            #[cfg(test)]
            moved: 0,
        })
    }
    /// The shard of these entries, which is one of 2^`depth`.
    fn filled_shard(
        nodes: &[(Index, u64)],
        depth: u32,
        is_same: impl Fn(Index, Index) -> bool,
    ) -> Result<HashTable<Index>, Index> {
        let room = if depth > 0 { SHARD_ENTRIES_MAX } else { 0 };
        let mut entries = HashTable::with_capacity(nodes.len().max(room));
        let hash_of = |at: &Index| {
            let found = nodes.iter().find(|(other, _)| other == at);
            found.map_or(0, |(_, hash)| *hash)
        };
        for (at, hash) in nodes {
            let is_it = |other: &Index| is_same(*other, *at);
            match entries.entry(*hash, is_it, hash_of) {
                Entry::Vacant(place) => drop(place.insert(*at)),
                Entry::Occupied(_) => return Err(*at),
            }
        }
        Ok(entries)
    }

    /// Whether so many entries find room without many a shard being divided.
    pub(super) const fn has_room(&self, entries: usize) -> bool {
        depth_for(entries) <= self.depth
    }

    /// Whether there are twice as many shards as there would be, had it been filled with what it holds.
    pub(super) fn is_sparse(&self) -> bool {
        self.shards.len() >= 2 << depth_for(self.len)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn shard(&self, hash: u64) -> usize {
        let at = self.directory.get(bits(hash, self.depth));
        at.map_or(0, |at| *at as usize)
    }

    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(&Index) -> bool) -> Option<Index> {
        if self.is_gathering
            && let Some(at) = self.find_recent(hash, &mut is_it)
        {
            return Some(at);
        }
        let shard = self.shards.get(self.shard(hash))?;
        shard.entries.find(hash, is_it).copied()
    }

    /// Fetches from memory what a look-up of this hash needs. `is_near` is called for each entry that may be the one, and cannot end the
    /// search, so that a processor need not wait for anything before it goes on to the next look-up.
    pub(super) fn touch(&self, hash: u64, mut is_near: impl FnMut(Index)) {
        if let Some(shard) = self.shards.get(self.shard(hash)) {
            let found = shard.entries.find(hash, |at| {
                is_near(*at);
                false
            });
            core::hint::black_box(found.is_some());
        }
    }

    /// Adds an entry that is not there. `hash_of` finds the hash of any entry again.
    pub(super) fn insert(&mut self, hash: u64, at: Index, hash_of: impl Fn(&Index) -> u64) {
        #[cfg(test)]
        {
            self.moved = 0;
        }
        self.len += 1;
        if !self.is_gathering {
            return self.put(hash, at, &hash_of);
        }
        let recent = (hash, at);
        self.recent.insert_unique(hash, recent, |(hash, _)| *hash);
        if self.recent.len() >= RECENT_MAX {
            self.put_recent(hash_of);
        }
    }

    /// Gathers insertions until [`Self::settle`].
    pub(super) const fn gather(&mut self) {
        self.is_gathering = true;
    }

    /// What was gathered is in its shards.
    pub(super) fn settle(&mut self, hash_of: impl Fn(&Index) -> u64) {
        self.is_gathering = false;
        self.put_recent(hash_of);
    }

    fn put_recent(&mut self, hash_of: impl Fn(&Index) -> u64) {
        let mut recent = core::mem::take(&mut self.recent);
        for (hash, at) in recent.drain() {
            self.put(hash, at, &hash_of);
        }
        self.recent = recent;
    }

    /// Puts an entry, which has been counted, into its shard.
    fn put(&mut self, hash: u64, at: Index, hash_of: impl Fn(&Index) -> u64) {
        let mut place = self.shard(hash);
        if let Some(shard) = self.shards.get(place)
            && shard.entries.len() >= SHARD_ENTRIES_MAX
            && shard.depth < DEPTH_MAX
        {
            self.split(place, hash, &hash_of);
            place = self.shard(hash);
        }
        if let Some(shard) = self.shards.get_mut(place) {
            #[cfg(test)]
            if shard.entries.len() == shard.entries.capacity() {
                self.moved += shard.entries.len();
            }
            shard.entries.insert_unique(hash, at, hash_of);
        }
    }

    /// Divides a shard by the next bit of its entries' hashes; `hash` is of one that belongs to it.
    fn split(&mut self, place: usize, hash: u64, hash_of: &impl Fn(&Index) -> u64) {
        let new_place = self.shards.len();
        let Some(old) = self.shards.get_mut(place) else {
            return;
        };
        let (common, depth) = (old.depth, old.depth + 1);
        let both = || HashTable::with_capacity(SHARD_ENTRIES_MAX);
        let (mut stays, mut goes) = (both(), both());
        // All hashes first: each is fetched from memory, and a branch that waits for one keeps the next ones from being fetched.
        let entries = core::mem::take(&mut old.entries).into_iter();
        let entries: Vec<(u64, Index)> = entries.map(|at| (hash_of(&at), at)).collect();
        for (hash, at) in entries {
            let side = if bits(hash, depth) >> common == 0 {
                &mut stays
            } else {
                &mut goes
            };
            side.insert_unique(hash, at, hash_of);
            #[cfg(test)]
            {
                self.moved += 1;
            }
        }
        old.entries = stays;
        old.depth = depth;
        self.shards.push(Shard {
            depth,
            entries: goes,
        });
        if depth > self.depth {
            self.directory.extend_from_within(..);
            self.depth = depth;
        }
        let first = bits(hash, common) | (1 << common);
        for entry in self.directory.iter_mut().skip(first).step_by(1 << depth) {
            *entry = new_place as u32;
        }
    }

    #[cold]
    fn find_recent(&self, hash: u64, is_it: &mut impl FnMut(&Index) -> bool) -> Option<Index> {
        let found = self.recent.find(hash, |(_, at)| is_it(at));
        found.map(|(_, at)| *at)
    }

    pub(super) fn remove(&mut self, hash: u64, mut is_it: impl FnMut(&Index) -> bool) {
        if self.is_gathering
            && let Ok(entry) = self.recent.find_entry(hash, |(_, at)| is_it(at))
        {
            entry.remove();
            self.len -= 1;
            return;
        }
        let place = self.shard(hash);
        if let Some(shard) = self.shards.get_mut(place)
            && let Ok(entry) = shard.entries.find_entry(hash, is_it)
        {
            entry.remove();
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use core::hash::BuildHasher;
    use foldhash::fast::FixedState;

    fn grown(count: Index, hash_of: impl Fn(&Index) -> u64 + Copy) -> PathIndex {
        let mut index = PathIndex::new();
        for at in 0..count {
            index.insert(hash_of(&at), at, hash_of);
            assert!(
                index.moved <= 2 * SHARD_ENTRIES_MAX || index.depth >= DEPTH_MAX,
                "the insertion of {at} has moved {} entries",
                index.moved
            );
        }
        index
    }

    /// A tree of a million nodes grows without a pause: no insertion moves more than two shards.
    #[test]
    fn growth_moves_a_bounded_number_of_entries_at_a_time() {
        let hasher = FixedState::default();
        let hash_of = |at: &Index| hasher.hash_one(at);
        let mut index = grown(300_000, hash_of);
        assert_eq!(index.len(), 300_000);
        for at in (0..300_000).step_by(3) {
            index.remove(hash_of(&at), |other| *other == at);
        }
        assert_eq!(index.len(), 200_000);
        for at in 0..300_000 {
            let found = index.find(hash_of(&at), |other| *other == at);
            assert_eq!(found, (at % 3 != 0).then_some(at));
        }
    }

    /// Those that were gathered, those before them, and those of which the hash is that of others.
    #[test]
    fn what_is_gathered_is_found_and_removed_at_once() {
        for keep in [u64::MAX, 0x0000_0001_0000_0003] {
            let hash_of = |at: &Index| FixedState::default().hash_one(at) & keep;
            let mut index = grown(100, hash_of);
            let mut there: BTreeSet<Index> = (0..100).collect();
            index.gather();
            for at in 100..2000 {
                index.insert(hash_of(&at), at, hash_of);
                there.insert(at);
                for gone in [at - 1, at / 2].into_iter().filter(|gone| gone % 3 == 0) {
                    index.remove(hash_of(&gone), |other| *other == gone);
                    there.remove(&gone);
                }
                assert_eq!(index.len(), there.len());
                assert_eq!(index.find(hash_of(&at), |other| *other == at), Some(at));
            }
            index.settle(hash_of);
            assert!(index.recent.is_empty());
            index.insert(hash_of(&2000), 2000, hash_of);
            assert!(index.recent.is_empty(), "it is settled");
            there.insert(2000);
            for at in 0..=2000 {
                let found = index.find(hash_of(&at), |other| *other == at);
                assert_eq!(found.is_some(), there.contains(&at), "{at}");
            }
            assert_eq!(index.len(), there.len());
        }
    }

    /// Hashes that agree in the bits of the directory, or altogether.
    #[test]
    fn colliding_hashes_cost_a_bounded_directory_and_are_all_found() {
        for keep in [0x0000_0000_ffff_ffff_u64, 0x0000_0001_0000_0003, 0] {
            let hash_of = |at: &Index| FixedState::default().hash_one(at) & keep;
            let index = grown(3000, hash_of);
            assert!(index.directory.len() <= 1 << DEPTH_MAX);
            let found: BTreeSet<_> = (0..3000)
                .filter_map(|at| index.find(hash_of(&at), |other| *other == at))
                .collect();
            assert_eq!(found.len(), 3000);
        }
    }
}
