//! The core's timers: it names them, this knows how long they are.

use crate::mutants::{Mutant, has};
use zabra_model::step::Timer;

const ALL: [Timer; 4] = [Timer::Finalize, Timer::Resend, Timer::Init, Timer::Tick];
/// ZooKeeper's finalizeWait.
const FINALIZE_MS: u64 = 200;

/// Which timers run, and until when.
#[derive(Debug)]
pub struct Timers {
    due_ms: [Option<u64>; 4],
    /// The next pause before a vote is sent again.
    resend_ms: u64,
    /// The first such pause of an election, and the longest.
    resend_bounds_ms: (u64, u64),
    init_ms: u64,
    half_tick_ms: u64,
    /// A half tick has run out: for [`crate::mutants`].
    has_ticked: bool,
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
    /// None runs. A vote is sent again after the first of `resend_bounds_ms`, then after pauses that double up to the second; where that
    /// is the smaller one, it counts from the second pause on, as in ZooKeeper.
    #[must_use]
    pub const fn new(tick_ms: u64, init_ms: u64, resend_bounds_ms: (u64, u64)) -> Self {
        Self {
            due_ms: [None; 4],
            resend_ms: resend_bounds_ms.0,
            resend_bounds_ms,
            init_ms,
            // Never zero, or a tick would follow a tick without end.
            half_tick_ms: if tick_ms < 2 { 1 } else { tick_ms / 2 },
            has_ticked: false,
        }
    }

    /// Starts a timer, anew if it runs.
    pub fn arm(&mut self, timer: Timer, now_ms: u64) {
        let length_ms = match timer {
            Timer::Finalize => FINALIZE_MS,
            Timer::Resend => {
                let length_ms = self.resend_ms;
                self.resend_ms = length_ms.saturating_mul(2).min(self.resend_bounds_ms.1);
                length_ms
            }
            Timer::Init => self.init_ms,
            Timer::Tick => self.half_tick_ms,
        };
        let length_ms = if has(Mutant::TimersTenfold) {
            length_ms.saturating_mul(10)
        } else if has(Mutant::TickOnce) && timer == Timer::Tick && self.has_ticked {
            u64::MAX
        } else {
            length_ms
        };
        self.due_ms[place(timer)] = Some(now_ms.saturating_add(length_ms));
    }

    /// Stops a timer. The next election begins with short pauses again.
    pub fn disarm(&mut self, timer: Timer) {
        self.due_ms[place(timer)] = None;
        if timer == Timer::Resend {
            self.resend_ms = self.resend_bounds_ms.0;
        }
    }

    /// When the next one runs out, in the milliseconds that they were started in.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.due_ms.iter().flatten().min().copied()
    }

    /// Takes a timer that has run out.
    pub fn fired(&mut self, now_ms: u64) -> Option<Timer> {
        let timer = ALL
            .into_iter()
            .find(|t| self.due_ms[place(*t)].is_some_and(|due| due <= now_ms))?;
        self.due_ms[place(timer)] = None;
        self.has_ticked |= timer == Timer::Tick;
        Some(timer)
    }

    /// Whether a timer runs.
    #[must_use]
    pub const fn runs(&self, timer: Timer) -> bool {
        self.due_ms[place(timer)].is_some()
    }

    /// Takes a timer before its time; whether it ran.
    pub fn take(&mut self, timer: Timer) -> bool {
        self.due_ms[place(timer)].take().is_some()
    }

    /// Which run.
    pub fn armed(&self) -> impl Iterator<Item = Timer> + '_ {
        ALL.into_iter().filter(|t| self.due_ms[place(*t)].is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_proposals_doubles_until_the_election_ends() {
        let mut timers = Timers::new(2000, 20_000, (200, 500));
        let start = 7;
        let mut length = || {
            timers.arm(Timer::Resend, start);
            timers.next().map(|due| due - start)
        };
        let lengths = [length(), length(), length(), length()].map(Option::unwrap_or_default);
        assert_eq!(lengths, [200, 400, 500, 500]);
        timers.disarm(Timer::Resend);
        timers.arm(Timer::Resend, start);
        assert_eq!(timers.next(), Some(start + 200));
        assert_eq!(timers.fired(start), None);
        assert_eq!(timers.fired(start + 200), Some(Timer::Resend));
        assert_eq!(timers.armed().count(), 0);
    }
}
