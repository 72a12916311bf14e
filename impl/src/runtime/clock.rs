//! The system's clocks.

use crate::edges::clock::Clock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, counted from when this was made, and the date.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The server starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The moment that is so many milliseconds behind the start.
    #[must_use]
    pub fn at(&self, elapsed_ms: u64) -> tokio::time::Instant {
        (self.started + Duration::from_millis(elapsed_ms)).into()
    }
}

impl Clock for SystemClock {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn date_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}
