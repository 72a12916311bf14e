//! The core's timers: it names them, this knows how long they are.

use std::time::Duration;
use tokio::time::Instant;
use zabra_model::step::Timer;

const ALL: [Timer; 4] = [Timer::Finalize, Timer::Resend, Timer::Init, Timer::Tick];
/// ZooKeeper's finalizeWait.
const FINALIZE: Duration = Duration::from_millis(200);
const RESEND_MIN: Duration = Duration::from_millis(200);
const RESEND_MAX: Duration = Duration::from_secs(60);

/// Which timers run, and until when.
#[derive(Debug)]
pub struct Timers {
    due: [Option<Instant>; 4],
    resend: Duration,
    init: Duration,
    tick: Duration,
}

const fn place(timer: Timer) -> usize {
    match timer {
        Timer::Finalize => 0,
        Timer::Resend => 1,
        Timer::Init => 2,
        Timer::Tick => 3,
    }
}

impl Timers {
    /// None runs.
    #[must_use]
    pub const fn new(tick_ms: u64, init_ms: u64) -> Self {
        Self {
            due: [None; 4],
            resend: RESEND_MIN,
            init: Duration::from_millis(init_ms),
            // Never zero, or a tick would follow a tick without end.
            tick: Duration::from_millis(if tick_ms < 2 { 1 } else { tick_ms / 2 }),
        }
    }

    /// Starts a timer, anew if it runs.
    pub fn arm(&mut self, timer: Timer, now: Instant) {
        let length = match timer {
            Timer::Finalize => FINALIZE,
            Timer::Resend => {
                let length = self.resend;
                self.resend = (length * 2).min(RESEND_MAX);
                length
            }
            Timer::Init => self.init,
            Timer::Tick => self.tick,
        };
        self.due[place(timer)] = Some(now + length);
    }

    /// Stops a timer. The next election begins with short pauses again.
    pub fn disarm(&mut self, timer: Timer) {
        self.due[place(timer)] = None;
        if timer == Timer::Resend {
            self.resend = RESEND_MIN;
        }
    }

    /// When the next one runs out.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// Takes a timer that has run out.
    pub fn fired(&mut self, now: Instant) -> Option<Timer> {
        let timer = ALL
            .into_iter()
            .find(|t| self.due[place(*t)].is_some_and(|due| due <= now))?;
        self.due[place(timer)] = None;
        Some(timer)
    }

    /// Takes a timer before its time; whether it ran.
    #[cfg(feature = "gate")]
    pub fn take(&mut self, timer: Timer) -> bool {
        self.due[place(timer)].take().is_some()
    }

    /// Which run.
    pub fn armed(&self) -> impl Iterator<Item = Timer> + '_ {
        ALL.into_iter().filter(|t| self.due[place(*t)].is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_proposals_doubles_until_the_election_ends() {
        let mut timers = Timers::new(2000, 20_000);
        let start = Instant::now();
        let mut length = || {
            timers.arm(Timer::Resend, start);
            timers.next().map(|due| due - start)
        };
        let lengths = [length(), length(), length()].map(Option::unwrap_or_default);
        assert_eq!(lengths, [200, 400, 800].map(Duration::from_millis));
        timers.disarm(Timer::Resend);
        timers.arm(Timer::Resend, start);
        assert_eq!(timers.next(), Some(start + RESEND_MIN));
        assert_eq!(timers.fired(start), None);
        assert_eq!(timers.fired(start + RESEND_MIN), Some(Timer::Resend));
        assert_eq!(timers.armed().count(), 0);
    }
}
