//! Quotas: what a subtree may hold, and what it holds.
//!
//! For a subtree `/a`, the node `/zookeeper/quota/a/zookeeper_limits` names the limits and `/zookeeper/quota/a/zookeeper_stats`
//! shows the usage. Each server keeps the usage up for itself, in place: there is no transaction for it, no version and no watch,
//! and the digest of the tree leaves it out. A node counts for the nearest quota above it only. The usage is counted anew when its
//! node is made and when a snapshot is loaded.
//!
//! Source: ZooKeeper `DataTree`, `StatsTrack`, `ZooKeeperServer.checkQuota`. A text that is no list of figures ends a ZooKeeper
//! server that applies a change below it. Here the usage is counted anew at the next change, and a request that would have to
//! be compared with such a text is refused.

use super::error::ErrorCode;
use super::image::Nodes;
use super::node::Tree;
use super::path;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// The name of the node that says what a subtree may hold.
pub const LIMITS: &str = "zookeeper_limits";
/// The name of the node that shows what a subtree holds.
pub const STATS: &str = "zookeeper_stats";

/// Between two lines about quotas.
const TELL_EVERY_MS: u64 = 1000;
const COUNT: &str = "count";
const BYTES: &str = "bytes";
const HARD_COUNT: &str = "countHardLimit";
const HARD_BYTES: &str = "byteHardLimit";

/// The text of a quota's node: named figures. One that is absent reads as -1, which is no limit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Figures(BTreeMap<Box<str>, i64>);

impl Figures {
    /// Pairs `name=figure` with `,` or `;` between them; what follows a second `=` is passed over. `None` if it is anything else.
    fn parse(data: Option<&[u8]>) -> Option<Self> {
        let text = String::from_utf8_lossy(data?);
        let between = [',', ';'];
        let mut figures = Self::default();
        if text.trim_matches(between).is_empty() {
            return Some(figures);
        }
        if text.starts_with(between) {
            return None;
        }
        for pair in text.split(between).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.trim_end_matches('=').split('=');
            let (name, figure) = (parts.next()?, parts.next()?);
            let figure = if figure.is_empty() {
                -1
            } else {
                figure.parse().ok()?
            };
            figures.0.insert(name.into(), figure);
        }
        Some(figures)
    }

    fn of(count: i64, bytes: i64) -> Self {
        let mut figures = Self::default();
        figures.set(COUNT, count);
        figures.set(BYTES, bytes);
        figures
    }

    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, figure: i64) {
        self.0.insert(name.into(), figure);
    }
}

impl fmt::Display for Figures {
    /// Count and bytes first, the others by name behind a `=;`, at which readers before ZooKeeper 3.5 stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, bytes) = (self.get(COUNT), self.get(BYTES));
        write!(f, "{COUNT}={count},{BYTES}={bytes}")?;
        let pairs = self.0.iter().map(|(name, figure)| (&**name, figure));
        let others = pairs.filter(|(name, _)| !matches!(*name, COUNT | BYTES));
        for (at, (name, figure)) in others.enumerate() {
            f.write_str(if at == 0 { "=;" } else { ";" })?;
            write!(f, "{name}={figure}")?;
        }
        Ok(())
    }
}

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Nodes, the one that has the quota included.
    Count,
    /// Bytes of data.
    Bytes,
}

/// A limit that a request is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exceeded {
    /// The node that has the quota.
    pub prefix: Box<str>,
    /// Of what there would be too much.
    pub measure: Measure,
    /// How much there would be.
    pub would_be: i64,
    /// How much there may be.
    pub limit: i64,
    /// Whether the request is refused for it; a soft limit is only told of.
    pub hard: bool,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.measure {
            Measure::Count => "nodes",
            Measure::Bytes => "bytes of data",
        };
        let limit = if self.hard { "hard" } else { "soft" };
        let (path, would_be, most) = (&self.prefix, self.would_be, self.limit);
        write!(
            f,
            "quota of {path}: {would_be} {what}, the {limit} limit is {most}"
        )
    }
}

/// What all quotas below one child of the root allow and hold together. ZooKeeper adds a limit that is none as -1; here it is left
/// out, and there is no limit where no quota has one (D-128).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Namespace {
    /// Nodes that there may be: by the hard limit, where there is one.
    pub count_limit: Option<i64>,
    /// Bytes of data that there may be, likewise.
    pub bytes_limit: Option<i64>,
    /// Nodes that there are.
    pub count: i64,
    /// Bytes of data that there are.
    pub bytes: i64,
}

/// How often an operator is told of quotas: clients decide how often they run into one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pace {
    next_ms: u64,
    untold: u64,
}

impl Pace {
    /// A request is over a quota. `Some` if that is to be told now, with the number of those that were not told since the last.
    pub fn tell(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.next_ms {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.next_ms = now_ms.saturating_add(TELL_EVERY_MS);
        Some(core::mem::take(&mut self.untold))
    }
}

/// The subtree and the name, if `node` is a limits or stats node of a quota. One directly below `/zookeeper/quota` is of none.
fn quota_node(node: &str) -> Option<(&str, &str)> {
    let (prefix, name) = path::split(node.strip_prefix(path::QUOTA)?)?;
    (prefix.starts_with('/') && matches!(name, LIMITS | STATS)).then_some((prefix, name))
}

fn node_of(prefix: &str, name: &str) -> String {
    let parts = [path::QUOTA, prefix, "/", name];
    parts.concat()
}

impl Tree {
    /// The quotas, `most` of them, by the first name of their paths: for operators. What is no list of figures is left out.
    #[must_use]
    pub fn quotas_by_namespace(&self, most: usize) -> BTreeMap<Box<str>, Namespace> {
        let mut all: BTreeMap<Box<str>, Namespace> = BTreeMap::new();
        for prefix in self.quotas.iter().take(most) {
            let Some(name) = prefix.split('/').nth(1) else {
                continue;
            };
            let figures = |of| Figures::parse(self.find(&node_of(prefix, of))?.data());
            let sums = all.entry(name.into()).or_default();
            if let Some(limits) = figures(LIMITS) {
                let add = |sum: &mut Option<i64>, soft, hard| {
                    let most = match limits.get(hard) {
                        most @ 0.. => most,
                        _ => limits.get(soft),
                    };
                    if most > -1 {
                        *sum = Some(sum.unwrap_or(0).saturating_add(most));
                    }
                };
                add(&mut sums.count_limit, COUNT, HARD_COUNT);
                add(&mut sums.bytes_limit, BYTES, HARD_BYTES);
            }
            if let Some(used) = figures(STATS) {
                sums.count = sums.count.saturating_add(used.get(COUNT));
                sums.bytes = sums.bytes.saturating_add(used.get(BYTES));
            }
        }
        all
    }

    /// The nearest node with a quota, at `path` or above it.
    fn quota_above<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.quotas.is_empty() {
            return None; // nearly always
        }
        let mut at = path;
        while !self.quotas.contains(at) {
            at = path::split(at)?.0;
        }
        Some(at)
    }

    /// Nodes at and below `prefix`, and the bytes of their data.
    fn usage(&self, prefix: &str) -> (i64, i64) {
        let Some(at) = self.lookup(prefix) else {
            return (0, 0);
        };
        let below = |path: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let nodes = Nodes::from(self, at).take_while(|node| below(node.path));
        nodes.fold((0, 0), |(count, bytes), node| {
            (
                count + 1,
                bytes + node.data.map_or(0, <[u8]>::len).cast_signed() as i64,
            )
        })
    }

    fn show_usage(&mut self, prefix: &str, figures: &Figures) {
        if let Some(at) = self.lookup(&node_of(prefix, STATS)) {
            let mut text = String::new();
            // Writing to a String does not fail.
            let _ = write!(text, "{figures}");
            self.change(at, Some(text.as_bytes()), |_| {});
        }
    }

    fn count_anew(&mut self, prefix: &str) {
        let (count, bytes) = self.usage(prefix);
        self.show_usage(prefix, &Figures::of(count, bytes));
    }

    fn count_change(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(prefix) = self.quota_above(path) else {
            return;
        };
        let Some(stats) = self.find(&node_of(prefix, STATS)) else {
            return;
        };
        let Some(mut figures) = Figures::parse(stats.data()) else {
            return self.count_anew(prefix);
        };
        figures.set(COUNT, figures.get(COUNT).saturating_add(count));
        figures.set(BYTES, figures.get(BYTES).saturating_add(bytes));
        self.show_usage(prefix, &figures);
    }

    /// A node was made, with so many bytes of data.
    pub(super) fn quota_made(&mut self, path: &str, bytes: usize) {
        match quota_node(path) {
            Some((prefix, LIMITS)) => {
                self.quotas.insert(prefix.into());
            }
            Some((prefix, _)) => self.count_anew(prefix),
            None => {}
        }
        self.count_change(path, bytes.cast_signed() as i64, 1);
    }

    /// A node that had so many bytes of data is gone.
    pub(super) fn quota_gone(&mut self, path: &str, bytes: usize) {
        if let Some((prefix, LIMITS)) = quota_node(path) {
            self.quotas.remove(prefix);
        }
        self.count_change(path, -(bytes.cast_signed() as i64), -1);
    }

    /// The data of a node changed its length.
    pub(super) fn quota_resized(&mut self, path: &str, from: usize, to: usize) {
        self.count_change(path, to.cast_signed() as i64 - from.cast_signed() as i64, 0);
    }

    /// The quotas of a tree that comes from a snapshot.
    pub(super) fn load_quotas(&mut self) {
        let Some(at) = self.lookup(path::QUOTA) else {
            return;
        };
        let nodes = Nodes::from(self, at).map_while(|node| {
            node.path.strip_prefix(path::QUOTA)?;
            Some(quota_node(node.path))
        });
        let prefixes: Vec<Box<str>> = nodes
            .flatten()
            .filter(|(_, name)| *name == LIMITS)
            .map(|(prefix, _)| prefix.into())
            .collect();
        for prefix in &prefixes {
            self.count_anew(prefix);
        }
        self.quotas = prefixes.into_iter().collect();
    }

    /// Judges a request that would add so many nodes and bytes at `path` by the limits and the usage as they are applied: changes
    /// under way are not counted, as in ZooKeeper. A hard limit takes the place of the soft one; of a limit that the request is
    /// over, `tell` hears.
    ///
    /// Errors: [`ErrorCode::QuotaExceeded`] over a hard limit; [`ErrorCode::MarshallingError`] if one of the texts is none.
    pub(super) fn judge_by_quota(
        &self,
        path: &str,
        bytes: i64,
        count: i64,
        tell: &mut dyn FnMut(Exceeded),
    ) -> Result<(), ErrorCode> {
        let Some(prefix) = self.quota_above(path) else {
            return Ok(());
        };
        let figures = |name| {
            let node = self.find(&node_of(prefix, name));
            node.map(|node| Figures::parse(node.data()).ok_or(ErrorCode::MarshallingError))
                .transpose()
        };
        let Some(limits) = figures(LIMITS)? else {
            return Ok(());
        };
        let limit_of = |soft, hard| match limits.get(hard) {
            most @ 0.. => Some((most, true)),
            _ => Some((limits.get(soft), false)).filter(|(most, _)| *most > -1),
        };
        let of_count = limit_of(COUNT, HARD_COUNT).filter(|_| count != 0);
        let of_bytes = limit_of(BYTES, HARD_BYTES).filter(|_| bytes != 0);
        if of_count.is_none() && of_bytes.is_none() {
            return Ok(());
        }
        let Some(used) = figures(STATS)? else {
            return Ok(());
        };
        for (measure, limit, would_be) in [
            (
                Measure::Count,
                of_count,
                used.get(COUNT).saturating_add(count),
            ),
            (
                Measure::Bytes,
                of_bytes,
                used.get(BYTES).saturating_add(bytes),
            ),
        ] {
            if let Some((limit, hard)) = limit.filter(|(most, _)| would_be > *most) {
                tell(Exceeded {
                    prefix: prefix.into(),
                    measure,
                    would_be,
                    limit,
                    hard,
                });
                if hard {
                    return Err(ErrorCode::QuotaExceeded);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
