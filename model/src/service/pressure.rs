//! Back-pressure: who is held up by what.
//!
//! `zabra.outstandingBytes` bounds what a server holds for others, as SPEC.md §6.5 says in its table. Who is held up is not read on, so what it
//! says stays in its socket; nobody is dropped for being ahead, but for a learner that does not fetch what is sent to it.
//!
//! | what grows | above | who is held up |
//! |---|---|---|
//! | transactions in the log that are not committed | the bound | clients that ask for writes |
//! | on a leader: transactions that its disk has not written | the bound | the same |
//! | on a learner: transactions that its disk has not written | [`UNWRITTEN_PARTS_MAX`] times the bound | its leader |
//! | packets for a learner | [`LINK_PARTS_MAX`] times the bound | nobody; the link ends, if there is a quorum without it |
//!
//! **How the host calls it.** [`held`] at the end of each turn, and its two answers go to whoever reads the sockets. [`link_bytes_max`] is a link's
//! bound from its UPTODATE on; when it is passed, the link ends where the core says that the learner can be spared (`Peer::can_spare`).

/// Parts of the bound that may wait for one learner. Twice what may be outstanding: a learner that is needed is slower than this only
/// when the clients are held up already.
pub const LINK_PARTS_MAX: usize = 2;
/// Parts of the bound that may wait for a learner's own disk.
pub const UNWRITTEN_PARTS_MAX: usize = 2;

/// What a server holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Transactions in the log that are not applied, bytes.
    pub outstanding_bytes: usize,
    /// Transactions that the own disk has not written, bytes.
    pub unwritten_bytes: usize,
    /// Clients are served.
    pub serves: bool,
    /// It is the leader that serves them.
    pub leads: bool,
    /// Something waits for room on the disk: writes are refused as they come, and reads go on.
    pub disk_full: bool,
}

/// Who is held up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Clients that ask for writes.
    pub clients: bool,
    /// What the leader says.
    pub leader: bool,
}

/// Who is held up by this load, where `bytes_max` is the bound.
#[must_use]
pub const fn held(load: Load, bytes_max: usize) -> Held {
    let too_much =
        load.outstanding_bytes > bytes_max || load.leads && load.unwritten_bytes > bytes_max;
    let for_disk = bytes_max.saturating_mul(UNWRITTEN_PARTS_MAX);
    Held {
        clients: load.serves && !load.disk_full && too_much,
        leader: !load.leads && load.unwritten_bytes > for_disk,
    }
}

/// What may wait for one learner, bytes.
#[must_use]
pub const fn link_bytes_max(bytes_max: usize) -> usize {
    bytes_max.saturating_mul(LINK_PARTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-84: all loads around the bounds, against the table.
    #[test]
    fn c_84_who_is_held_up_by_what() {
        const MAX: usize = 100;
        let around = [0, MAX, MAX + 1, 2 * MAX, 2 * MAX + 1, usize::MAX];
        for outstanding_bytes in around {
            for unwritten_bytes in around {
                for bits in 0..8 {
                    let [serves, leads, disk_full] = [1, 2, 4].map(|bit| bits & bit != 0);
                    let load = Load {
                        outstanding_bytes,
                        unwritten_bytes,
                        serves,
                        leads,
                        disk_full,
                    };
                    let is = held(load, MAX);
                    if !serves || disk_full {
                        assert!(!is.clients, "{load:?}");
                    } else {
                        let own_disk = leads && unwritten_bytes > MAX;
                        assert_eq!(is.clients, outstanding_bytes > MAX || own_disk, "{load:?}");
                    }
                    assert_eq!(is.leader, !leads && unwritten_bytes > 2 * MAX, "{load:?}");
                }
            }
        }
        assert_eq!([MAX, usize::MAX].map(link_bytes_max), [2 * MAX, usize::MAX]);
    }
}
