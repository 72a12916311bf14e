//! How many requests of all connections are not answered, where a key bounds their number; else nothing is counted.

use crate::config::throttle::Throttle;
use std::sync::atomic::{AtomicUsize, Ordering};
use zabra_model::service::throttle::may_read_on;

/// What a request that waits holds beside its frame, about, bytes.
pub const WAITING_OVERHEAD: usize = 128;

/// Requests of all connections that are not answered.
#[derive(Debug)]
pub struct Outstanding {
    rules: Throttle,
    requests: AtomicUsize,
    /// What the large ones hold, bytes.
    large: AtomicUsize,
}

/// Those of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// How many.
    pub requests: usize,
    /// Bytes of the large ones.
    pub large: usize,
}

impl Outstanding {
    /// There is none.
    #[must_use]
    pub const fn new(rules: Throttle) -> Self {
        Self {
            rules,
            requests: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
        }
    }

    /// What the keys say.
    #[must_use]
    pub const fn rules(&self) -> &Throttle {
        &self.rules
    }

    /// Whether requests wait in line where there are too many.
    #[must_use]
    pub const fn has_line(&self) -> bool {
        self.rules.requests.requests_max.is_some()
    }

    /// A request that waits with more bytes is a large one.
    #[must_use]
    pub fn large_above(&self) -> usize {
        let threshold = self.rules.large.threshold;
        threshold.map_or(usize::MAX, |bytes| bytes.saturating_add(WAITING_OVERHEAD))
    }

    const fn is_counted(&self) -> bool {
        self.has_line()
            || self.rules.outstanding_max.is_some()
            || self.rules.large.threshold.is_some()
    }

    /// One connection has these now; `counted` is what was counted for it so far. Whether there is more room now for those in line.
    pub fn settle(&self, counted: &mut Counted, now: Counted) -> bool {
        if !self.is_counted() || *counted == now {
            return false;
        }
        move_by(&self.requests, counted.requests, now.requests);
        move_by(&self.large, counted.large, now.large);
        let is_less = now.requests < counted.requests;
        *counted = now;
        is_less && self.has_line()
    }

    /// How many there are.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the large ones hold, bytes.
    #[must_use]
    pub fn large(&self) -> usize {
        self.large.load(Ordering::Relaxed)
    }

    /// Whether a connection with so many of its own is read on; `counted` of them are counted.
    #[must_use]
    pub fn may_read_on(&self, own: usize, counted: Counted) -> bool {
        self.rules.outstanding_max.is_none_or(|max| {
            let others = self.requests().saturating_sub(counted.requests);
            may_read_on(others.saturating_add(own), own, max)
        })
    }

    /// How many more there may be before others wait in line.
    #[must_use]
    pub fn room(&self) -> usize {
        let max = self.rules.requests.requests_max;
        max.map_or(usize::MAX, |max| max.saturating_sub(self.requests()))
    }
}

fn move_by(count: &AtomicUsize, before: usize, now: usize) {
    if now > before {
        count.fetch_add(now - before, Ordering::Relaxed);
    } else if now < before {
        count.fetch_sub(before - now, Ordering::Relaxed);
    }
}
