//! When the next snapshot is due: by what a restart would have to replay, whether this process has logged it or has found it.

use crate::config::Config;
pub use crate::storage::boot::Replay;
use std::time::Duration;
use tokio::time::Instant;

/// Before another try after one that failed.
const RETRY: Duration = Duration::from_secs(10);

/// Counts what lies behind the newest snapshot.
#[derive(Debug)]
pub(super) struct SnapshotTrigger {
    due: Replay,
    behind: Replay,
    /// What the snapshot that is being written will cover.
    taken: Replay,
    not_before: Option<Instant>,
}

impl SnapshotTrigger {
    /// With what a start has replayed.
    pub(super) fn new(config: &Config, replayed: Replay) -> Self {
        // Servers of an ensemble should not all do it at once: between half of the limit and all of it, as in ZooKeeper,
        // which draws the number anew each time.
        let own = config.me.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let between = |limit: u64| limit / 2 + own % (limit / 2).max(1);
        Self {
            due: Replay {
                txns: between(config.snap_count),
                bytes: config.snap_bytes.map_or(u64::MAX, between),
            },
            behind: replayed,
            taken: Replay::default(),
            not_before: None,
        }
    }

    pub(super) fn count(&mut self, more: Replay) {
        self.behind = self.behind.plus(more);
    }

    pub(super) fn is_due(&self) -> bool {
        let reached = self.behind.txns >= self.due.txns || self.behind.bytes >= self.due.bytes;
        // The clock is asked only where one has failed.
        reached && self.not_before.is_none_or(|t| Instant::now() >= t)
    }

    /// A snapshot is taken of everything so far.
    pub(super) fn begin(&mut self) {
        self.taken = std::mem::take(&mut self.behind);
        self.not_before = None;
    }

    /// It came to nothing.
    pub(super) fn failed(&mut self) {
        self.behind = self.behind.plus(std::mem::take(&mut self.taken));
        self.not_before = Some(Instant::now() + RETRY);
    }

    /// The history begins anew with a snapshot.
    pub(super) fn restart(&mut self) {
        self.behind = Replay::default();
        self.taken = Replay::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabra_model::ids::ServerId;

    fn config(me: u64, lines: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        std::fs::write(&path, format!("dataDir=d\nclientPort=1\n{lines}")).unwrap();
        let mut config = crate::config::check::load(&path).unwrap();
        config.me = ServerId(me);
        config
    }

    /// C-8: it does not matter how many restarts lie between the transactions, nor which of the two limits is met.
    #[test]
    fn c_8_what_was_replayed_counts_with_what_is_new() {
        for me in [1, 2, 3, 200] {
            for (lines, bytes_each) in [
                ("snapCount=40", 100),
                ("snapSizeLimitInKb=4", 100),
                ("snapCount=2", 1),
                ("snapCount=1000\nsnapSizeLimitInKb=1", 2000),
            ] {
                let config = config(me, lines);
                let mut replayed = Replay::default();
                let mut restarts = 0;
                while !SnapshotTrigger::new(&config, replayed).is_due() {
                    let mut trigger = SnapshotTrigger::new(&config, replayed);
                    let mut new = Replay::default();
                    new.add(bytes_each);
                    trigger.count(new);
                    replayed.add(bytes_each);
                    restarts += 1;
                    assert_eq!(
                        trigger.is_due(),
                        SnapshotTrigger::new(&config, replayed).is_due()
                    );
                    assert!(restarts <= 40, "{lines}: {replayed:?}");
                }
            }
        }
    }

    #[test]
    fn c_8_a_size_limit_of_zero_or_less_is_none() {
        let mut replayed = Replay::default();
        replayed.add(usize::MAX / 2);
        for (lines, due) in [
            ("", true),
            ("snapSizeLimitInKb=1", true),
            ("snapSizeLimitInKb=0", false),
            ("snapSizeLimitInKb=-1", false),
        ] {
            let trigger = SnapshotTrigger::new(&config(1, lines), replayed);
            assert_eq!(trigger.is_due(), due, "{lines}");
        }
    }

    #[test]
    fn c_8_a_snapshot_that_failed_is_tried_again_and_nothing_is_forgotten() {
        let mut trigger = SnapshotTrigger::new(&config(1, "snapCount=4"), Replay::default());
        (0..4).for_each(|_| trigger.count(Replay { txns: 1, bytes: 1 }));
        assert!(trigger.is_due());
        trigger.begin();
        assert!(!trigger.is_due());
        trigger.count(Replay { txns: 1, bytes: 1 });
        trigger.failed();
        assert_eq!(trigger.behind, Replay { txns: 5, bytes: 5 });
        assert!(!trigger.is_due(), "not at once");
        trigger.not_before = Some(Instant::now());
        assert!(trigger.is_due());
    }
}
