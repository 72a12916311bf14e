//! When what the turns have logged came to the disk and to its commit: one stamp for each turn, kept until it is applied.
//!
//! A slow request is looked up here by its zxid (D-145). Turns of the same millisecond share a stamp.

use crate::client::slow::Stages;
use std::collections::VecDeque;
use zabra_model::ids::Zxid;

/// So many stamps are kept at most: more than four seconds without an end share the newest one.
const STAMPS_MAX: usize = 4096;

/// What one turn has logged, up to this zxid.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    upto: Zxid,
    logged_ms: u64,
    durable_ms: Option<u64>,
    committed_ms: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// By zxid.
    stamps: VecDeque<Stamp>,
    /// How many of them, from the first, are durable, and committed.
    durable: usize,
    committed: usize,
}

impl Stamps {
    /// A turn has logged something, up to here.
    pub(super) fn logged(&mut self, upto: Zxid, now_ms: u64) {
        let is_full = self.stamps.len() >= STAMPS_MAX;
        match self.stamps.back_mut() {
            Some(last) if last.upto >= upto => {}
            Some(last)
                if last.durable_ms.is_none()
                    && last.committed_ms.is_none()
                    && (is_full || last.logged_ms == now_ms) =>
            {
                last.upto = upto;
            }
            _ if is_full => {}
            _ => self.stamps.push_back(Stamp {
                upto,
                logged_ms: now_ms,
                durable_ms: None,
                committed_ms: None,
            }),
        }
    }

    /// The disk has everything up to here.
    pub(super) fn durable(&mut self, upto: Zxid, now_ms: u64) {
        while let Some(stamp) = self.stamps.get_mut(self.durable)
            && stamp.upto <= upto
        {
            stamp.durable_ms = Some(now_ms);
            self.durable += 1;
        }
    }

    /// Everything up to here is committed.
    pub(super) fn committed(&mut self, upto: Zxid, now_ms: u64) {
        while let Some(stamp) = self.stamps.get_mut(self.committed)
            && stamp.upto <= upto
        {
            stamp.committed_ms = Some(now_ms);
            self.committed += 1;
        }
    }

    /// Everything up to here is applied, and told.
    pub(super) fn applied(&mut self, upto: Zxid) {
        while let Some(stamp) = self.stamps.front()
            && stamp.upto <= upto
        {
            self.stamps.pop_front();
            self.durable = self.durable.saturating_sub(1);
            self.committed = self.committed.saturating_sub(1);
        }
    }

    /// Another role begins, and with it another history, perhaps.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Where the time of this transaction's request went, which was read and taken up at these times; `None` if its stamp is not here.
    pub(super) fn stages(
        &self,
        zxid: Zxid,
        (read_ms, taken_ms): (u64, u64),
        now_ms: u64,
    ) -> Option<Stages> {
        let at = self.stamps.partition_point(|stamp| stamp.upto < zxid);
        let stamp = self.stamps.get(at)?;
        // A part of what a turn has logged may be committed, and answered, before the rest.
        let committed_ms = stamp.committed_ms.unwrap_or(now_ms);
        let taken_ms = taken_ms.max(read_ms);
        let logged_ms = stamp.logged_ms.max(taken_ms);
        let committed_ms = committed_ms.max(logged_ms);
        // A disk that was slower than a quorum has held up nobody.
        let durable_ms = stamp.durable_ms.filter(|at| *at <= committed_ms);
        let durable_ms = durable_ms.unwrap_or(logged_ms).max(logged_ms);
        Some(Stages {
            queue_ms: taken_ms - read_ms,
            propose_ms: logged_ms - taken_ms,
            sync_ms: durable_ms - logged_ms,
            quorum_ms: committed_ms - durable_ms,
            apply_ms: now_ms.saturating_sub(committed_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(stages: Option<Stages>) -> Option<[u64; 5]> {
        stages.map(|of| {
            [
                of.queue_ms,
                of.propose_ms,
                of.sync_ms,
                of.quorum_ms,
                of.apply_ms,
            ]
        })
    }

    #[test]
    fn the_stages_of_a_request_are_the_whole_of_its_time() {
        let mut stamps = Stamps::default();
        stamps.logged(Zxid(3), 130);
        stamps.logged(Zxid(5), 130);
        stamps.logged(Zxid(6), 140);
        stamps.durable(Zxid(5), 200);
        stamps.committed(Zxid(5), 1000);
        let of_five = parts(stamps.stages(Zxid(4), (100, 120), 1300));
        assert_eq!(of_five, Some([20, 10, 70, 800, 300]));
        // A quorum was faster than this server's disk.
        stamps.committed(Zxid(6), 1100);
        stamps.durable(Zxid(6), 1200);
        let of_six = parts(stamps.stages(Zxid(6), (100, 140), 1300));
        assert_eq!(of_six, Some([40, 0, 0, 960, 200]));
        stamps.applied(Zxid(5));
        assert_eq!(parts(stamps.stages(Zxid(6), (100, 140), 1300)), of_six);
        stamps.logged(Zxid(7), 1300);
        stamps.durable(Zxid(7), 1400);
        let of_seven = parts(stamps.stages(Zxid(7), (1300, 1300), 1500));
        assert_eq!(of_seven, Some([0, 0, 100, 100, 0]));
        assert_eq!(stamps.stages(Zxid(8), (0, 0), 1500), None);
        stamps.forget();
        assert_eq!(stamps.stages(Zxid(7), (0, 0), 1500), None);
    }

    #[test]
    fn a_server_that_commits_nothing_for_long_keeps_a_bounded_number_of_stamps() {
        let mut stamps = Stamps::default();
        for at in 1..3 * STAMPS_MAX as u64 {
            stamps.logged(Zxid(at), at);
        }
        assert_eq!(stamps.stamps.len(), STAMPS_MAX);
        let last = 3 * STAMPS_MAX as u64 - 1;
        stamps.durable(Zxid(last), last);
        stamps.logged(Zxid(last + 1), last + 1);
        assert_eq!(stamps.stamps.len(), STAMPS_MAX);
        assert_eq!(stamps.stages(Zxid(last + 1), (1, 1), last + 1), None);
        stamps.committed(Zxid(last), last);
        let of_last = stamps.stages(Zxid(last), (1, 1), last).unwrap();
        assert_eq!(of_last.propose_ms, STAMPS_MAX as u64 - 1);
        stamps.applied(Zxid(last));
        assert!(stamps.stamps.is_empty());
        assert_eq!((stamps.durable, stamps.committed), (0, 0));
    }
}
