//! The one line that tells how far a run is.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zabra_check::checker::explore::Progress;

/// Runs `work` while a line on standard error tells how far it is: each second on a terminal, else each minute.
pub(crate) fn shown<T>(
    name: &str,
    expected: Option<u64>,
    progress: &Progress,
    work: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| tell(name, expected, progress, &done));
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn tell(name: &str, expected: Option<u64>, progress: &Progress, done: &AtomicBool) {
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let every = Duration::from_secs(if terminal { 1 } else { 60 });
    let mut next = every;
    let mut earlier = (0, 0.0);
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let seconds = began.elapsed();
        if seconds < next {
            continue;
        }
        next = seconds + every;
        let distinct = progress.distinct.load(Ordering::Relaxed);
        let now = seconds.as_secs_f64();
        let rate = (distinct - earlier.0) as f64 / (now - earlier.1);
        earlier = (distinct, now);
        let line = line(name, expected, progress, rate);
        if terminal {
            eprint!("\r{line:120}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
    if terminal {
        eprint!("\r{:120}\r", "");
    }
}

fn line(name: &str, expected: Option<u64>, progress: &Progress, rate: f64) -> String {
    let distinct = progress.distinct.load(Ordering::Relaxed);
    let left = match expected {
        Some(all) if all > distinct && rate > 0.0 => {
            let seconds = (all - distinct) as f64 / rate;
            let percent = distinct as f64 * 100.0 / all as f64;
            format!(", {percent:.0} %, about {seconds:.0} s left")
        }
        _ => String::new(),
    };
    format!(
        "{name}: level {}, {:.1} M distinct, {:.0} k/s, frontier {:.2} M + {:.2} M, {:.0} MB{left}",
        progress.level.load(Ordering::Relaxed),
        distinct as f64 / 1e6,
        rate / 1e3,
        progress.waiting.load(Ordering::Relaxed) as f64 / 1e6,
        progress.next.load(Ordering::Relaxed) as f64 / 1e6,
        resident_bytes().unwrap_or(0) as f64 / 1e6,
    )
}

/// Memory of this process that is in use, where the system tells it.
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The most that it ever was.
pub(crate) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|l| l.strip_prefix(key))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}
