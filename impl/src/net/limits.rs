//! Bounds on what strangers can make this server hold.

use crate::host::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Handshakes that may be under way at once on one port; more are closed.
pub const HANDSHAKES_MAX: usize = 256;
/// How long a stranger may take to say who it is.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long one write to a peer may be stuck.
pub const WRITE_TIME: Duration = Duration::from_secs(30);
/// Answers that a client does not fetch, bytes; then its connection ends.
pub const UNREAD_BYTES_MAX: usize = 64 << 20;
/// Answers that are made before the first of them is sent, bytes; one answer may be longer.
pub const ANSWERS_BYTES_MAX: usize = 1 << 20;
/// Long reads that are answered at the same time.
pub const LONG_READS_MAX: usize = 2;
/// Data and names that one multiRead may ask for, bytes.
pub const MULTI_READ_BYTES_MAX: usize = 16 << 20;
/// Identities of one connection, and bytes of all of them: far below what a forwarded request has room for.
pub const IDENTITIES_MAX: usize = 64;
/// See [`IDENTITIES_MAX`].
pub const IDENTITY_BYTES_MAX: usize = 64 << 10;
/// Packets that a learner does not fetch, bytes; then its connection ends.
pub const LINK_BYTES_MAX: usize = 512 << 20;
/// Requests of one connection that may wait for their answers; then it is not read on.
pub const REQUESTS_WAITING_MAX: usize = 16_384;
/// What may wait for the core, bytes; then clients are not read on.
pub const INBOX_BYTES_MAX: usize = 64 << 20;

/// Counts connections by address (`maxClientCnxns`).
#[derive(Debug)]
pub struct PerAddress {
    max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
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
        let mut counts = lock(&self.counts);
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
        let mut counts = lock(&self.all.counts);
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
    fn an_address_gets_its_share_and_gets_it_back() {
        let all = PerAddress::new(2);
        let from = IpAddr::from([127, 0, 0, 1]);
        let first = all.admit(from);
        let second = all.admit(from);
        assert!(first.is_some() && second.is_some() && all.admit(from).is_none());
        drop(first);
        assert!(all.admit(from).is_some());
        drop(second);
        assert!(lock(&all.counts).is_empty());
    }
}
