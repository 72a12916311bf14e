//! CPU time of processes, from Linux' `/proc`.

use super::BenchError;
use std::io;
use std::time::Duration;

/// The length of a tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux that we build for.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of `pid` (a number or `self`), ended threads included.
pub(super) fn time_of(pid: &str) -> Result<Duration, BenchError> {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .and_then(|stat| {
            ticks(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat is unreadable"))
        })
        .map(|ticks| TICK * ticks)
        .map_err(|source| BenchError::Cpu {
            pid: pid.into(),
            source,
        })
}

/// The sum of the fields utime and stime.
fn ticks(stat: &str) -> Option<u32> {
    // The second field is the command in brackets, which may hold blanks and brackets of its own.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let utime: u32 = fields.next()?.parse().ok()?;
    let stime: u32 = fields.next()?.parse().ok()?;
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
