//! Bounds on what strangers can make this server hold, and on what one transaction may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zabra_model::flight;

/// Handshakes that may be under way at once on one port; a new one takes the place of an old one.
pub const HANDSHAKES_MAX: usize = 256;
/// Handshakes of clients' TLS that may be under way at once, where the configuration says no other number.
pub const TLS_HANDSHAKES_MAX: usize = 1024;
/// What somebody may say before it is known who it is, bytes.
pub const HELLO_BYTES_MAX: usize = 4096;
/// How long a stranger may take to say who it is.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long what is left to be sent may take when a connection has to end.
pub const CLOSING_TIME: Duration = Duration::from_secs(2);
/// How long one write to a peer may be stuck.
pub const WRITE_TIME: Duration = Duration::from_secs(30);
/// Answers that a client does not fetch, bytes; then its connection ends. All clients together have a bound of their own.
pub const UNREAD_BYTES_MAX: usize = 64 << 20;
/// Requests of one connection that may wait for their answers, bytes; then it is not read on. One request may go beyond it. All
/// connections together have a bound of their own.
pub const WAITING_BYTES_MAX: usize = 4 << 20;
/// What one connection may hold beside the bounds of all connections together: below it nothing is counted, and nobody is stopped
/// for what others hold.
pub const SMALL_BYTES: usize = 64 << 10;
/// Answers that are made before the first of them is sent, bytes; one answer may be longer.
pub const ANSWERS_BYTES_MAX: usize = 1 << 20;
/// Long reads that are answered at the same time.
pub const LONG_READS_MAX: usize = 2;
/// Names that one answer lists, bytes. No client takes as much; what is longer would end its connection.
pub const LIST_BYTES_MAX: usize = 64 << 20;
/// Data and names that one multiRead may ask for, bytes.
pub const MULTI_READ_BYTES_MAX: usize = 16 << 20;
/// Identities of one connection, and bytes of all of them: far below what a forwarded request has room for.
pub const IDENTITIES_MAX: usize = 64;
/// See [`IDENTITIES_MAX`].
pub const IDENTITY_BYTES_MAX: usize = 64 << 10;
/// An auth request, bytes: what it proves is hashed while others wait for the tree, and nobody has a longer credential.
pub const CREDENTIAL_BYTES_MAX: usize = 64 << 10;
/// Packets that a learner does not fetch, bytes; then its connection ends. Behind a snapshot there is all that is written while
/// the snapshot is on its way.
pub const SYNC_BYTES_MAX: usize = 512 << 20;
/// Packets that a synchronized learner does not fetch, in parts of `zabra.outstandingBytes`; then its connection ends, unless it
/// is needed for a quorum: what waits for it waits to be committed, and clients are not read on.
pub const LINK_PARTS_MAX: usize = 2;
/// What a learner may have received and not written, in parts of `zabra.outstandingBytes`; then its leader is not read on.
pub const UNWRITTEN_PARTS_MAX: usize = 2;
/// Requests of one connection that may wait for their answers; then it is not read on.
pub const REQUESTS_WAITING_MAX: usize = 16_384;
/// What may wait for the core, bytes; then clients are not read on.
pub const INBOX_BYTES_MAX: usize = 16 << 20;
/// What the flight recorder holds in memory: the last minutes of a busy server, the last days of an idle one.
pub const FLIGHT: flight::Limits = flight::Limits {
    segment_bytes: 64 << 10,
    segments: 16,
};
/// The longest request, bytes, where `jute.maxbuffer` does not say it.
pub const FRAME_BYTES_DEFAULT: usize = 0xf_ffff;
/// A transaction in a log, bytes, whatever `jute.maxbuffer` is now: it may have been more when the entry was written. A wrong
/// length is found by the checksum, not by its size.
pub const PAYLOAD_BYTES_MAX: usize = 128 << 20;

/// The least bound of all connections together, bytes.
pub const BUDGET_BYTES_MIN: usize = 64 << 20;
/// The largest one where the configuration names none.
pub const BUDGET_BYTES_MAX: usize = 1 << 30;

/// A bound of all connections together, bytes. They are counted in steps of [`SMALL_BYTES`], so that what is small costs nothing.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Nothing is used.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            used: AtomicUsize::new(0),
        }
    }

    /// One connection holds `now` bytes; `counted` is what was counted for it so far. Whether all of them hold too much.
    pub fn settle(&self, counted: &mut usize, now: usize) -> bool {
        let now = now / SMALL_BYTES * SMALL_BYTES;
        if now > *counted {
            self.used.fetch_add(now - *counted, Ordering::Relaxed);
        } else if now < *counted {
            self.used.fetch_sub(*counted - now, Ordering::Relaxed);
        }
        *counted = now;
        now > 0 && self.is_over()
    }

    /// Whether all connections together hold too much.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }

    /// What is counted, bytes.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// How many of `descriptors` clients may take: the rest is for logs, snapshots, and whoever comes to the quorum and election
/// ports, members and strangers.
#[must_use]
pub const fn client_descriptors(descriptors: usize) -> usize {
    let reserve = 2 * HANDSHAKES_MAX + 128;
    if descriptors > 2 * reserve {
        descriptors - reserve
    } else {
        descriptors / 2
    }
}

/// How long a message is not said again.
const UNSAID_MS: u64 = 10_000;

/// A message that may be due thousands of times a second, and is said now and then.
#[derive(Debug, Default)]
pub struct Seldom {
    said_ms: Option<u64>,
    unsaid: u64,
}

impl Seldom {
    /// Whether to say it now; then, how many times it was not said since the last time. `now_ms` is of a clock that never goes
    /// back.
    pub fn due(&mut self, now_ms: u64) -> Option<u64> {
        if self
            .said_ms
            .is_some_and(|said| now_ms.saturating_sub(said) < UNSAID_MS)
        {
            self.unsaid += 1;
            return None;
        }
        self.said_ms = Some(now_ms);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Counts connections by address (`maxClientCnxns`).
#[derive(Debug)]
pub struct PerAddress {
    max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl PerAddress {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted connection; dropping it counts down.
#[derive(Debug)]
pub struct Counted {
    from: IpAddr,
    all: Arc<PerAddress>,
}

impl PerAddress {
    /// At most `max` from one address; 0 is no limit.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            counts: Mutex::default(),
        })
    }

    /// Counts one more; `None` if that were too many.
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Counted> {
        let mut counts = self.counts();
        let count = counts.entry(from).or_default();
        if self.max > 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted {
            from,
            all: Arc::clone(self),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_31_clients_leave_descriptors_in_reserve() {
        for limit in [0, 64, 128, 1024, 4096, 1 << 20, usize::MAX] {
            let clients = client_descriptors(limit);
            let reserve = limit - clients;
            assert!(reserve >= (limit / 2).min(640) && clients <= limit);
        }
        assert_eq!(client_descriptors(4096), 3456);
    }

    #[test]
    fn a_budget_counts_what_is_not_small_and_gives_it_back() {
        let budget = Budget::new(10 * SMALL_BYTES);
        let mut counted = [0; 3];
        assert!(!budget.settle(&mut counted[0], SMALL_BYTES - 1));
        assert_eq!(budget.used(), 0);
        assert!(!budget.settle(&mut counted[1], 10 * SMALL_BYTES + 5));
        assert!(budget.settle(&mut counted[2], SMALL_BYTES));
        assert!(
            !budget.settle(&mut counted[0], 7),
            "the small are not asked"
        );
        assert!(!budget.settle(&mut counted[1], 9 * SMALL_BYTES));
        budget.settle(&mut counted[1], 0);
        budget.settle(&mut counted[2], 3);
        assert_eq!((budget.used(), counted), (0, [0; 3]));
    }

    #[test]
    fn what_is_said_seldom_says_how_often_it_was_not() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.due(5), Some(0));
        assert_eq!((seldom.due(5), seldom.due(4 + UNSAID_MS)), (None, None));
        assert_eq!(seldom.due(5 + UNSAID_MS), Some(2));
    }

    #[test]
    fn an_address_gets_its_share_and_gets_it_back() {
        let all = PerAddress::new(2);
        let from = IpAddr::from([127, 0, 0, 1]);
        let first = all.admit(from);
        let second = all.admit(from);
        assert!(first.is_some() && second.is_some() && all.admit(from).is_none());
        drop(first);
        assert!(all.admit(from).is_some());
        drop(second);
        assert!(all.counts().is_empty());
    }
}
