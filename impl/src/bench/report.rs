//! What a run has measured, for people and for programs.

use super::args::BenchArgs;
use super::error::BenchError;
use super::histogram::Histogram;
use super::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The result of a run. Its JSON form has exactly these fields.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What each request did.
    pub op: &'static str,
    /// The servers.
    pub servers: Vec<String>,
    /// Sessions.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// Bytes of data in a node.
    pub size: u32,
    /// Nodes to choose from.
    pub keys: u32,
    /// Share of gets in percent.
    pub reads: u32,
    /// Length of the window, seconds.
    pub seconds: f64,
    /// Successes in the window.
    pub ops: u64,
    /// Successes per second.
    pub ops_per_second: f64,
    /// Of successes.
    pub latency: Latency,
    /// Replies with an error in the window, and requests that a broken connection or a silent server left without a reply.
    pub errors: u64,
    /// The former by ZooKeeper's code.
    pub errors_by_code: BTreeMap<i32, u64>,
    /// Replies whose record was not what was asked for, among those that were looked into.
    pub malformed: u64,
    /// Why connections were lost, one line each.
    pub lost_connections: Vec<String>,
    /// Connections that were not answered in time after the window.
    pub stuck_connections: usize,
    /// CPU time of the generator, µs per operation.
    pub client_cpu_us_per_op: f64,
    /// CPU time of all servers together, µs per operation; absent without --pid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_us_per_op: Option<f64>,
    /// CPU seconds of each server in the window, in the order of --pid.
    pub server_cpu_seconds: Vec<f64>,
    /// CPUs that were busy with neither the generator nor the processes of --pid: what disturbed the measurement.
    pub other_cores: f64,
}

/// Percentiles of the time from request to reply, µs.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// The raw counts of a run.
pub(super) struct Outcome {
    pub(super) total: Tally,
    pub(super) lost: Vec<(BenchError, u64)>,
    pub(super) stuck: usize,
    pub(super) window: Duration,
    pub(super) all_cpu: Duration,
    pub(super) client_cpu: Duration,
    pub(super) server_cpu: Vec<Duration>,
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            mean_us: histogram.mean() / 1e3,
            p50_us: us(histogram.per_mille(500)),
            p90_us: us(histogram.per_mille(900)),
            p99_us: us(histogram.per_mille(990)),
            p999_us: us(histogram.per_mille(999)),
            max_us: us(histogram.max()),
        }
    }
}

impl Report {
    pub(super) fn new(args: &BenchArgs, outcome: Outcome) -> Self {
        let Outcome {
            total,
            lost,
            stuck,
            window,
            all_cpu,
            client_cpu,
            server_cpu,
        } = outcome;
        let ops = total.latency.total();
        let per_op = |cpu: Duration| match ops {
            0 => 0.0,
            n => cpu.as_secs_f64() * 1e6 / n as f64,
        };
        let refused: u64 = total.errors.values().sum();
        let unanswered: u64 = lost.iter().map(|(_, in_flight)| in_flight).sum();
        let silent = (stuck as u64).saturating_mul(args.depth.into());
        Self {
            op: args.op.name(),
            servers: args.servers.clone(),
            connections: args.connections,
            depth: args.depth,
            size: args.size,
            keys: args.keys,
            reads: args.reads,
            seconds: window.as_secs_f64(),
            ops,
            ops_per_second: ops as f64 / window.as_secs_f64().max(f64::MIN_POSITIVE),
            latency: Latency::of(&total.latency),
            errors: refused.saturating_add(unanswered).saturating_add(silent),
            errors_by_code: total.errors,
            malformed: total.malformed,
            lost_connections: lost.iter().map(|(e, _)| e.to_string()).collect(),
            stuck_connections: stuck,
            client_cpu_us_per_op: per_op(client_cpu),
            server_cpu_us_per_op: (!server_cpu.is_empty())
                .then(|| per_op(server_cpu.iter().copied().sum())),
            other_cores: all_cpu
                .saturating_sub(client_cpu)
                .saturating_sub(server_cpu.iter().sum())
                .as_secs_f64()
                / window.as_secs_f64().max(f64::MIN_POSITIVE),
            server_cpu_seconds: server_cpu.iter().map(Duration::as_secs_f64).collect(),
        }
    }

    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of numbers and texts has a JSON form; `{}` is what an impossible failure would show.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency {
            mean_us,
            p50_us,
            p90_us,
            p99_us,
            p999_us,
            max_us,
        } = self.latency;
        writeln!(
            f,
            "{} of {} B, {} connections x {} in flight, {:.1} s against {}",
            self.op,
            self.size,
            self.connections,
            self.depth,
            self.seconds,
            self.servers.join(",")
        )?;
        writeln!(f, "  throughput  {:>12.0} ops/s", self.ops_per_second)?;
        writeln!(
            f,
            "  latency µs  p50 {p50_us:.0}  p90 {p90_us:.0}  p99 {p99_us:.0}  p99.9 {p999_us:.0}  max {max_us:.0}  mean {mean_us:.0}"
        )?;
        write!(f, "  CPU µs/op   client {:.2}", self.client_cpu_us_per_op)?;
        match self.server_cpu_us_per_op {
            Some(us) => writeln!(f, "  servers {us:.2}")?,
            None => writeln!(f, "  (servers: name their processes with --pid)")?,
        }
        writeln!(
            f,
            "  others      {:.2} CPUs were busy with something else",
            self.other_cores
        )?;
        writeln!(f, "  errors      {}", self.errors)?;
        for (code, count) in &self.errors_by_code {
            writeln!(f, "    {count} with code {code}")?;
        }
        if self.malformed > 0 {
            writeln!(
                f,
                "    {} replies are not what was asked for",
                self.malformed
            )?;
        }
        if self.stuck_connections > 0 {
            writeln!(
                f,
                "    {} connections were left without answers",
                self.stuck_connections
            )?;
        }
        for lost in &self.lost_connections {
            writeln!(f, "    lost: {lost}")?;
        }
        Ok(())
    }
}
