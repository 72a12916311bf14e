//! What the machine gives a server: descriptors, clock, memory.

use super::finding::Finding;
use crate::config::Config;
use crate::limits::client_descriptors;
use std::time::{Duration, Instant, SystemTime};

/// Fewer descriptors than this are too few for a server with clients.
const DESCRIPTORS_MIN: usize = 4096;
/// The wall clock may be set by so much against the monotonic one while this runs.
const STEP_MAX: Duration = Duration::from_millis(100);

/// Looks at the machine; a server's numbers of connections are compared with what it may open.
pub(super) fn look(config: Option<&Config>) -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let mut findings = vec![descriptors(config)];
    findings.extend(
        read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .map(|source| judge_source(source.trim())),
    );
    findings.extend(read("/proc/meminfo").map(|meminfo| judge_swap(&meminfo)));
    findings.extend(
        read("/sys/kernel/mm/transparent_hugepage/enabled").map(|pages| judge_pages(&pages)),
    );
    findings
}

fn descriptors(config: Option<&Config>) -> Finding {
    match rlimit::Resource::NOFILE.get() {
        Ok((_, hard)) => {
            let hard = usize::try_from(hard).unwrap_or(usize::MAX);
            judge_descriptors(hard, config.map_or(0, |config| config.max_cnxns))
        }
        Err(error) => Finding::warning(
            "descriptors-unknown",
            "open files",
            format!("the limit cannot be asked for: {error}"),
            "Look at it by: ulimit -Hn",
        ),
    }
}

fn judge_descriptors(hard: usize, wanted: usize) -> Finding {
    let clients = client_descriptors(hard);
    let told = format!(
        "{hard} files may be open (the hard limit, to which a server raises its own), {clients} of them by clients"
    );
    let remedy = "Raise the limit: LimitNOFILE=1048576 in the unit of systemd, ulimits of the container, or /etc/security/limits.conf. This is the limit of who runs this command.";
    let finding = if wanted > clients {
        let what = format!("{told}, and maxCnxns is {wanted}");
        Finding::warning("descriptors-few", "open files", what, remedy)
    } else if hard < DESCRIPTORS_MIN {
        Finding::warning("descriptors-few", "open files", told, remedy)
    } else {
        Finding::ok("descriptors", "open files", told)
    };
    finding.measured(hard as f64)
}

fn judge_source(source: &str) -> Finding {
    let about = "clock";
    match source {
        "hpet" | "acpi_pm" | "jiffies" => Finding::warning(
            "clock-slow",
            about,
            format!(
                "the clock of this machine is read from {source}, which takes microseconds each time"
            ),
            "Look into the log of the kernel why tsc was given up (dmesg | grep -i tsc), or choose another clock for the virtual machine.",
        ),
        _ => Finding::ok("clock", about, format!("is read from {source}")),
    }
}

fn judge_swap(meminfo: &str) -> Finding {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let (total, free) = (kib("SwapTotal:"), kib("SwapFree:"));
    let used = total.saturating_sub(free);
    let remedy = "Switch it off (swapoff -a), or set vm.swappiness=1; give the machine the memory that its programs need.";
    if total == 0 {
        Finding::ok("swap", "memory", "there is no swap".into())
    } else if used > total / 4 {
        let what = format!(
            "{} of {} MiB of swap are in use: a server that waits for its own memory looks dead to the others",
            used >> 10,
            total >> 10
        );
        Finding::warning("swap-used", "memory", what, remedy)
    } else {
        let what = format!(
            "there are {} MiB of swap; a server of which parts are swapped out stands still while they come back",
            total >> 10
        );
        Finding::note("swap-there", "memory", what, remedy)
    }
}

fn judge_pages(enabled: &str) -> Finding {
    if enabled.contains("[always]") {
        return Finding::note(
            "hugepages-always",
            "memory",
            "transparent huge pages are on for everything: a tree of small nodes takes more memory, and the kernel may stop a thread to gather them".into(),
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        );
    }
    let what = "transparent huge pages are left to who asks for them".into();
    Finding::ok("hugepages", "memory", what)
}

/// Both clocks at one moment.
pub(super) struct Clocks(SystemTime, Instant);

impl Clocks {
    pub(super) fn now() -> Self {
        Self(SystemTime::now(), Instant::now())
    }

    /// Whether the wall clock has gone as the monotonic one has since then.
    pub(super) fn compare(&self) -> Finding {
        let went = self.1.elapsed();
        let wall = self.0.elapsed().unwrap_or_default();
        let step = wall.abs_diff(went);
        if step > STEP_MAX {
            return Finding::warning(
                "clock-steps",
                "clock",
                format!(
                    "the time of this machine was set by {} ms while this ran",
                    step.as_millis()
                ),
                "Let chrony or systemd-timesyncd slew the clock instead of setting it. Sessions and elections do not go by it; times of nodes and backups do.",
            );
        }
        let what = format!("went evenly for {} ms", went.as_millis());
        Finding::ok("clock-even", "clock", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_says_is_judged() {
        assert_eq!(judge_source("tsc").code, "clock");
        assert_eq!(judge_source("hpet").code, "clock-slow");
        assert_eq!(judge_pages("always [madvise] never\n").code, "hugepages");
        assert_eq!(
            judge_pages("[always] madvise never\n").code,
            "hugepages-always"
        );
        let swap = |total: u64, free: u64| {
            judge_swap(&format!(
                "MemTotal: 9 kB\nSwapTotal:  {total} kB\nSwapFree: {free} kB\n"
            ))
            .code
        };
        assert_eq!(
            (swap(0, 0), swap(1000, 900), swap(1000, 100)),
            ("swap", "swap-there", "swap-used")
        );
        assert_eq!(judge_descriptors(1 << 20, 0).code, "descriptors");
        assert_eq!(judge_descriptors(1024, 0).code, "descriptors-few");
        assert_eq!(judge_descriptors(8192, 100_000).code, "descriptors-few");
        let then = SystemTime::now()
            .checked_sub(Duration::from_secs(5))
            .unwrap();
        assert_eq!(Clocks(then, Instant::now()).compare().code, "clock-steps");
        assert_eq!(Clocks::now().compare().code, "clock-even");
    }
}
