//! Many scripts, one after another, and what came of them.

use super::generate::{Act, Kind, script};
use super::pair::{Difference, Pair, can_run};
use super::shrink::shrink;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

/// Requests of one script.
const REQUESTS: usize = 2000;

/// After so many scripts both begin anew: what scripts leave behind is kept in memory.
const SCRIPTS_OF_A_LIFE: u64 = 50;
/// Acts shown before a difference that does not come again.
const SHOWN: usize = 20;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where every choice comes from.
    pub seed: u64,
    /// Requests, in all.
    pub requests: u64,
    /// No new script is begun after that time.
    pub time: Duration,
    /// Servers of each product.
    pub servers: usize,
    /// One script of so many has a restart; 0 for none.
    pub restart_every: u64,
    /// Findings before it ends.
    pub findings: usize,
}

/// A difference that nobody has decided.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which script: its seed.
    pub seed: u64,
    /// The smallest script that shows it, if it shows alone.
    pub acts: Option<Vec<Act>>,
    /// What came before it.
    pub before: Vec<Act>,
    /// What differs.
    pub difference: Difference,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "script of seed {:#x}:", self.seed)?;
        match &self.acts {
            None => {
                writeln!(
                    f,
                    "  (not again when played alone; the end of that script:)"
                )?;
                for act in &self.before {
                    writeln!(f, "  {act}")?;
                }
            }
            Some(acts) => {
                for act in acts {
                    writeln!(f, "  {act}")?;
                }
            }
        }
        write!(f, "{}", self.difference)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Scripts.
    pub scripts: u64,
    /// Requests that both have answered.
    pub requests: u64,
    /// Differences that are decided, by their D-n.
    pub wanted: BTreeMap<&'static str, u64>,
    /// Scripts that ended with a difference of a kind that was found before.
    pub repeated: u64,
    /// Those that are not.
    pub findings: Vec<Finding>,
}

/// Runs scripts until requests, time or patience with findings is used up. `tell` hears of each finding and of the progress.
///
/// # Errors
/// ZooKeeper cannot run here, or a server has ended.
pub fn run(plan: Plan, mut tell: impl FnMut(&str)) -> Result<Report> {
    can_run()?;
    let mut report = Report::default();
    let mut pair = Pair::start(plan.servers)?;
    // The start may have built a server before.
    let began = Instant::now();
    let mut kinds = BTreeSet::new();
    let mut told = Instant::now();
    while report.requests < plan.requests
        && began.elapsed() < plan.time
        && report.findings.len() < plan.findings
    {
        let seed = plan.seed.wrapping_add(report.scripts);
        let restart = plan.restart_every > 0 && report.scripts % plan.restart_every == 0;
        let kind = Kind {
            requests: REQUESTS,
            restart,
            servers: plan.servers,
        };
        let acts = script(seed, kind);
        let before = pair.requests;
        let found = pair.play(&acts)?;
        report.requests += pair.requests - before;
        report.scripts += 1;
        if let Some((at, difference)) = found {
            let acts = &acts[..acts.len().min(at + 1)];
            if !kinds.insert(difference.kind.clone()) {
                report.repeated += 1;
                pair = anew(pair, plan, &mut report)?;
                continue;
            }
            let small = shrink(&mut pair, acts, &difference.kind)?;
            pair = anew(pair, plan, &mut report)?;
            let before = acts[acts.len().saturating_sub(SHOWN)..].to_vec();
            let (small, difference) = match small {
                Some((acts, difference)) => (Some(acts), difference),
                None => (None, difference),
            };
            let finding = Finding {
                seed,
                acts: small,
                before,
                difference,
            };
            tell(&finding.to_string());
            report.findings.push(finding);
        }
        if report.scripts % SCRIPTS_OF_A_LIFE == 0 {
            pair = anew(pair, plan, &mut report)?;
        }
        if told.elapsed() > Duration::from_secs(20) {
            told = Instant::now();
            tell(&format!(
                "{} requests in {} scripts, the last one of seed {seed}, {} s",
                report.requests,
                report.scripts,
                began.elapsed().as_secs()
            ));
        }
    }
    report.decided(&pair);
    Ok(report)
}

/// Begins anew: after a difference the trees are no longer the same.
fn anew(pair: Pair, plan: Plan, report: &mut Report) -> Result<Pair> {
    report.decided(&pair);
    drop(pair);
    Pair::start(plan.servers)
}

impl Report {
    fn decided(&mut self, pair: &Pair) {
        for (name, count) in &pair.wanted {
            *self.wanted.entry(name).or_default() += count;
        }
    }
}
