//! What the disk is known to hold, and what it has been asked to hold.

use crate::ensemble::{Config, Ensemble, Payload};
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::step::{Effect, Effects, Mark, Write};
use crate::switch::Switches;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

/// The part of a server that survives a crash.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Durable {
    /// acceptedEpoch: the largest epoch that this server has promised to a prospective leader.
    pub accepted: Epoch,
    /// currentEpoch: the epoch of the last leader whose initial history it has acknowledged.
    pub current: Epoch,
    /// Snapshot and log.
    pub history: History,
}

/// What a start has read: no [`Durable`] yet, and so nothing that a peer could report.
///
/// A process that died leaves its writes in the page cache, where they read as if they were on the disk; a loss of power
/// takes them. So a start makes durable what it has read, part by part and in this order, and only then tells of it. What is
/// known to have been synced before needs no more than another sync. Behind that, a sync may have failed: the pages are clean
/// then and not on the disk, and every further sync succeeds without them. That end has to be written anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    durable: Durable,
    synced: Zxid,
    made: [bool; 3],
}

/// A part of what a start has read. The order is that of all writes: history before epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Snapshots and logs, with their names in their directories.
    History,
    /// The file of acceptedEpoch, with its name.
    AcceptedEpoch,
    /// The file of currentEpoch, with its name.
    CurrentEpoch,
}

/// How a start has made a part durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Made {
    /// Files and directories were synced.
    Synced,
    /// What may be in the page cache alone was written once more, and then synced.
    WrittenAnew,
}

impl Part {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::History, Self::AcceptedEpoch, Self::CurrentEpoch];
}

impl Found {
    /// What was read. Up to `synced`, something on the disk says that the history was synced: zero, if nothing does.
    #[must_use]
    pub const fn new(durable: Durable, synced: Zxid) -> Self {
        let made = [false; 3];
        Self {
            durable,
            synced,
            made,
        }
    }

    /// What has to be made durable next, and how. Nothing: it may be reported.
    #[must_use]
    pub fn owes(&self, switches: Switches) -> Option<(Part, Made)> {
        if !switches.rules().start_syncs_what_it_found() {
            return None;
        }
        let part = Part::ALL
            .into_iter()
            .zip(self.made)
            .find(|(_, made)| !made)?
            .0;
        let doubtful = part == Part::History
            && self.durable.history.last() > self.synced
            && switches.rules().start_writes_its_end_anew();
        let how = if doubtful {
            Made::WrittenAnew
        } else {
            Made::Synced
        };
        Some((part, how))
    }

    /// A part was made durable. It still is owed if another one is before it, or if that was not enough.
    pub fn made(&mut self, part: Part, how: Made, switches: Switches) {
        if let Some((owed, at_least)) = self.owes(switches)
            && part == owed
            && how >= at_least
        {
            self.made[part as usize] = true;
        }
    }

    /// What may be told to others.
    ///
    /// # Errors
    /// The part that is not known to be on the disk.
    pub fn report(self, switches: Switches) -> Result<Durable, Part> {
        match self.owes(switches) {
            Some((part, _)) => Err(part),
            None => Ok(self.durable),
        }
    }
}

/// A write without its payload: what remains to be remembered until the disk answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Written {
    /// [`Write::AcceptedEpoch`].
    AcceptedEpoch(Epoch),
    /// [`Write::CurrentEpoch`].
    CurrentEpoch(Epoch),
    /// [`Write::Append`].
    Append(Zxid),
    /// [`Write::Truncate`].
    Truncate(Zxid),
    /// [`Write::Install`].
    Install(Zxid),
    /// [`Write::Activate`].
    Activate(Zxid),
}

impl Durable {
    /// This state after one more write.
    #[inline]
    pub fn apply(&mut self, written: Written) {
        match written {
            Written::AcceptedEpoch(e) => self.accepted = e,
            Written::CurrentEpoch(e) => self.current = e,
            Written::Append(z) => self.history.append(z),
            Written::Truncate(z) => self.history.truncate(z),
            Written::Install(z) => self.history = History::starting_at(z),
            Written::Activate(_) => {} // what binds is read from it at the next start
        }
    }
}

/// The disk as a peer sees it: one ordered queue of writes between what is asked for and what is durable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storage {
    /// What the disk has said to hold.
    pub(crate) known: Durable,
    /// What it will hold when every pending write is durable.
    pub(crate) asked: Durable,
    /// The configurations that bind this server by what its disk has been asked to hold. A vote is cast only when
    /// nothing is pending (I-33), and a decision that counts too many configurations is never wrong.
    pub(crate) ensemble: Ensemble,
    /// The writes between the two, oldest first.
    pub(crate) pending: VecDeque<Written>,
    /// The mark of the newest write.
    issued: u64,
}

impl Storage {
    pub(crate) fn new(found: Durable, ensemble: Ensemble) -> Self {
        Self {
            asked: found.clone(),
            known: found,
            ensemble,
            pending: VecDeque::new(),
            issued: 0,
        }
    }

    /// Whether nothing is on its way to the disk.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Asks for a write.
    #[inline]
    pub(crate) fn persist<T>(&mut self, write: Write<T>, out: &mut Effects<T>) {
        let written = match &write {
            Write::AcceptedEpoch(e) => Written::AcceptedEpoch(*e),
            Write::CurrentEpoch(e) => Written::CurrentEpoch(*e),
            Write::Append { zxid, .. } => Written::Append(*zxid),
            Write::Truncate { zxid } => Written::Truncate(*zxid),
            Write::Install { zxid, .. } => Written::Install(*zxid),
            Write::Activate { version } => Written::Activate(*version),
        };
        self.asked.apply(written);
        self.pending.push_back(written);
        self.issued += 1;
        out.push(Effect::Persist {
            mark: Mark(self.issued),
            write,
        });
    }

    /// Asks for a transaction at the end of the log. If it is a reconfiguration, it binds from here on; whether it is one.
    #[inline]
    pub(crate) fn append<T: Payload>(
        &mut self,
        zxid: Zxid,
        txn: T,
        switches: Switches,
        out: &mut Effects<T>,
    ) -> bool {
        let Some(voters) = txn.voters() else {
            self.persist(Write::Append { zxid, txn }, out);
            return false;
        };
        // An older list than the active one comes with a history that a snapshot of the leader's was to replace: it is committed long since.
        let binds = zxid > self.ensemble.active().version;
        if binds {
            // It would not have been proposed before the last one was committed.
            self.activate(zxid, out);
        }
        self.persist(Write::Append { zxid, txn }, out);
        if binds {
            let version = zxid;
            self.ensemble.append(Config { version, voters });
            if !switches.rules().activation_waits_for_commit() {
                self.activate(zxid, out);
            }
        }
        true
    }

    /// Asks for the log to end at `zxid`.
    pub(crate) fn truncate<T>(&mut self, zxid: Zxid, switches: Switches, out: &mut Effects<T>) {
        self.persist(Write::Truncate { zxid }, out);
        if switches.rules().trunc_takes_lists_back() {
            self.ensemble.truncate(zxid);
        }
    }

    /// Asks for the tree of a SNAP.
    pub(crate) fn install<T>(
        &mut self,
        zxid: Zxid,
        ensemble: Box<Ensemble>,
        switches: Switches,
        out: &mut Effects<T>,
    ) {
        let ensemble = if switches.rules().snap_brings_lists() {
            self.ensemble.clone_from(&ensemble);
            ensemble
        } else {
            self.ensemble.truncate(Zxid::ZERO);
            Box::new(self.ensemble.clone())
        };
        self.persist(Write::Install { zxid, ensemble }, out);
    }

    /// Everything up to `upto` is committed: whether that activates a configuration.
    pub(crate) fn activate<T>(&mut self, upto: Zxid, out: &mut Effects<T>) -> bool {
        let Some(version) = self.ensemble.next().map(|next| next.version) else {
            return false;
        };
        if version > upto {
            return false;
        }
        self.persist(Write::Activate { version }, out);
        self.ensemble.activate();
        true
    }

    /// Asks for acceptedEpoch; whether there is something to wait for.
    pub(crate) fn accept<T>(
        &mut self,
        epoch: Epoch,
        switches: Switches,
        out: &mut Effects<T>,
    ) -> bool {
        if !switches.rules().accepted_epoch_is_written() {
            self.known.accepted = epoch;
            self.asked.accepted = epoch;
            return false;
        }
        self.persist(Write::AcceptedEpoch(epoch), out);
        switches.rules().epoch_promise_waits_for_fsync()
    }

    /// A snapshot at `upto` lies under the log from now on; whether the disk is known to hold the log up to there, and nothing takes it
    /// back.
    pub(crate) fn forget(&mut self, upto: Zxid) -> bool {
        let both = [&mut self.known.history, &mut self.asked.history];
        let holds = both.iter().all(|history| history.contains(upto));
        if holds {
            both.into_iter().for_each(|history| history.forget(upto));
        }
        holds
    }

    /// Takes the next write that is durable by `upto`, if there is one left.
    #[inline]
    pub(crate) fn next_durable(&mut self, upto: Mark) -> Option<Written> {
        let oldest = self.issued - self.pending.len() as u64 + 1;
        if oldest > upto.0 {
            return None;
        }
        let written = self.pending.pop_front()?;
        self.known.apply(written);
        Some(written)
    }

    /// The mark that makes the `count` oldest pending writes durable.
    #[must_use]
    pub fn mark_of(&self, count: usize) -> Mark {
        Mark(self.issued - (self.pending.len() - count) as u64)
    }
}

impl Storage {
    /// The end of the history as votes and ACKEPOCH report it: what is durable, never a position in memory.
    pub(crate) fn last_reported(&self, delivered: Zxid, switches: Switches) -> Zxid {
        let (rules, durable) = (switches.rules(), self.known.history.last());
        if !rules.vote_speaks_of_the_log() {
            delivered
        } else if rules.diff_moves_nothing() {
            durable
        } else {
            durable.max(delivered)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerId;
    use crate::quorum::Voters;
    use alloc::vec::Vec;

    fn found(last: u64, synced: u64) -> Found {
        let mut durable = Durable::default();
        (1..=last).for_each(|z| durable.history.append(Zxid(1 << 32 | z)));
        let synced = if synced == 0 { 0 } else { 1 << 32 | synced };
        Found::new(durable, Zxid(synced))
    }

    /// C-5: what was found is reported when all of it was made durable, in the order of all writes.
    #[test]
    fn c_5_nothing_found_is_reported_before_it_is_on_the_disk() {
        let none = Switches::default();
        let parts: Vec<Option<Part>> = Part::ALL.into_iter().map(Some).chain([None]).collect();
        for (a, b, c) in (0..64).map(|i| (parts[i % 4], parts[i / 4 % 4], parts[i / 16])) {
            let mut start = found(3, 3);
            for part in [a, b, c].into_iter().flatten() {
                start.made(part, Made::Synced, none);
            }
            let in_order = [a, b, c].map(|p| p.map(|p| p as usize)) == [Some(0), Some(1), Some(2)];
            assert_eq!(start.report(none).is_ok(), in_order, "{a:?} {b:?} {c:?}");
        }
    }

    /// C-6: what may be clean pages alone is not made durable by a sync.
    #[test]
    fn c_6_what_nobody_is_known_to_have_synced_is_written_anew() {
        let none = Switches::default();
        for (last, synced) in [(0, 0), (3, 0), (3, 2), (3, 3), (3, 4)] {
            let mut start = found(last, synced);
            let doubtful = last > synced;
            start.made(Part::History, Made::Synced, none);
            let owed = start.owes(none);
            if doubtful {
                assert_eq!(owed, Some((Part::History, Made::WrittenAnew)));
                start.made(Part::History, Made::WrittenAnew, none);
            }
            assert_eq!(
                start.owes(none),
                Some((Part::AcceptedEpoch, Made::Synced)),
                "{last} {synced}"
            );
        }
    }

    /// A reconfiguration on its way into the log.
    #[derive(Clone, PartialEq, Debug)]
    struct Brings(Voters);

    impl Payload for Brings {
        fn voters(&self) -> Option<Voters> {
            Some(self.0.clone())
        }
    }

    /// A leader's lists came with a SNAP whose tree was cut short; its history comes again, with reconfigurations that are active long since.
    #[test]
    fn an_older_list_than_the_active_one_binds_nobody() {
        let of = |ids: &[u64]| {
            let ids: Vec<ServerId> = ids.iter().copied().map(ServerId).collect();
            Voters::new(&ids).unwrap()
        };
        let at = |counter| Zxid::new(Epoch(1), counter);
        let mut ensemble = Ensemble::of(of(&[1, 2, 3]));
        ensemble.append(Config {
            version: at(5),
            voters: of(&[1, 2, 4]),
        });
        ensemble.activate();
        let mut storage = Storage::new(Durable::default(), ensemble);
        let mut out = Effects::new();
        storage.append(at(3), Brings(of(&[1, 3])), Switches::default(), &mut out);
        assert_eq!(storage.ensemble.next(), None);
        assert_eq!(storage.ensemble.active().version, at(5));
        let next = Brings(of(&[1, 4]));
        storage.append(at(6), next, Switches::default(), &mut out);
        assert_eq!(storage.ensemble.next().map(|n| n.version), Some(at(6)));
    }
}
