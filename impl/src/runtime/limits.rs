//! What the system allows.

use crate::codes::Code;
use crate::limits::{BUDGET_BYTES_MAX, BUDGET_BYTES_MIN};

/// The bound of all connections together where the configuration names none: an eighth of the memory that this process may have,
/// at least 64 MiB and at most 1 GiB.
#[must_use]
pub fn budget_default() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .filter_map(|path| read(path).trim().parse::<usize>().ok());
    let machine = read("/proc/meminfo")
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok())
        .map(|kib| kib.saturating_mul(1024));
    let memory = group.chain(machine).min().unwrap_or(4 << 30);
    (memory / 8).clamp(BUDGET_BYTES_MIN, BUDGET_BYTES_MAX)
}

/// Raises the limit of open files as far as the system lets this process, and says what it is then; `None` if it has none, or
/// none that can be asked for.
#[must_use]
pub fn raise_descriptors() -> Option<usize> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => usize::try_from(limit).ok(),
        Err(error) => {
            tracing::warn!(code = %Code::LimitNotRaised, %error, "cannot raise the limit of open files");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_nobody_names_follows_the_machine() {
        assert!((BUDGET_BYTES_MIN..=BUDGET_BYTES_MAX).contains(&budget_default()));
    }
}
