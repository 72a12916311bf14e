//! CPU time of processes, from Linux' `/proc`.

use super::error::BenchError;
use std::io;
use std::time::Duration;

/// The length of a tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux that we build for.
const TICK_MS: u64 = 10;

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(TICK_MS))
}

/// User and system time of `pid` (a number or `self`), ended threads included.
pub(super) fn time_of(pid: &str) -> Result<Duration, BenchError> {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .and_then(|stat| {
            ticks(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat is unreadable"))
        })
        .map(duration)
        .map_err(|source| BenchError::Cpu {
            pid: pid.into(),
            source,
        })
}

/// What all processes of the machine have used; zero where there is no `/proc`.
pub(super) fn time_of_all() -> Duration {
    std::fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|stat| busy_ticks(&stat))
        .map_or(Duration::ZERO, duration)
}

/// The first line's user, nice, system, irq and softirq; idle, iowait and what belongs to other machines are left out.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace();
    let mut take = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system, _idle, _iowait) = (take()?, take()?, take()?, take()?, take()?);
    let (irq, softirq) = (take()?, take()?);
    [user, nice, system, irq, softirq]
        .iter()
        .try_fold(0_u64, |sum, n| sum.checked_add(*n))
}

/// The sum of the fields utime and stime.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the command in brackets, which may hold blanks and brackets of its own.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    utime.checked_add(stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 8 9 20 0 1 0 77";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn idle_time_is_nobodys() {
        let stat = "cpu  10 20 30 4000 500 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(busy_ticks(stat), Some(73));
        assert_eq!(busy_ticks("intr 5"), None);
    }

    #[test]
    fn this_process_has_used_some_time_and_none_is_a_typed_error() {
        if cfg!(target_os = "linux") {
            assert!(time_of("self").is_ok());
        }
        assert!(matches!(
            time_of("0"),
            Err(BenchError::Cpu { pid, .. }) if pid == "0"
        ));
    }
}
