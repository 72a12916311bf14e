//! The text that Prometheus scrapes (format 0.0.4), with the names and kinds of ZooKeeper's `PrometheusMetricsProvider`.

use super::metrics::{Metric, Value};
use crate::client::summary::Summed;
use std::fmt::Write;

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The quantiles that Prometheus gets, in thousandths.
const QUANTILES: [(u64, &str); 3] = [(500, "0.5"), (950, "0.95"), (990, "0.99")];

/// The text. `total` ends the names of counters with `_total`, as ZooKeeper 3.10 does and older ones do not.
#[must_use]
pub fn text(table: &[Metric], total: bool) -> String {
    let mut text = String::with_capacity(32 << 10);
    let mut before = "";
    for Metric { name, key, value } in table {
        let kind = match value {
            Value::Gauge(_) | Value::Fraction(_) => "gauge",
            Value::Counter(_) => "counter",
            Value::Summary(_) | Value::Times(_) => "summary",
        };
        let end = match value {
            Value::Counter(_) if total && !name.ends_with("_total") => "_total",
            _ => "",
        };
        // The rows of a set stand together and are one family.
        if *name != before {
            let _ = writeln!(text, "# HELP {name}{end} {name}\n# TYPE {name}{end} {kind}");
            before = name;
        }
        let label = key.as_ref().map(|key| format!("key=\"{key}\""));
        let label = label.as_deref();
        match value {
            Value::Gauge(value) => line(&mut text, name, "", label, None, *value as f64),
            Value::Fraction(value) => line(&mut text, name, "", label, None, *value),
            Value::Counter(count) => line(&mut text, name, end, label, None, *count as f64),
            Value::Summary(summed) => {
                // ZooKeeper's summaries without a sample of values have a median; none is kept here.
                sums(&mut text, name, label, *summed);
            }
            Value::Times(timed) => {
                for (of_thousand, quantile) in QUANTILES {
                    let value = match timed.all.count {
                        0 => f64::NAN,
                        _ => timed.quantile(of_thousand) as f64,
                    };
                    line(&mut text, name, "", label, Some(quantile), value);
                }
                sums(&mut text, name, label, timed.all);
            }
        }
    }
    text
}

fn sums(text: &mut String, name: &str, label: Option<&str>, of: Summed) {
    line(text, name, "_count", label, None, of.count as f64);
    line(text, name, "_sum", label, None, of.sum as f64);
}

fn line(
    text: &mut String,
    name: &str,
    end: &str,
    label: Option<&str>,
    quantile: Option<&str>,
    value: f64,
) {
    let quantile = quantile.map(|quantile| format!("quantile=\"{quantile}\""));
    let labels: Vec<&str> = label.into_iter().chain(quantile.as_deref()).collect();
    let labels = match labels[..] {
        [] => String::new(),
        _ => format!("{{{}}}", labels.join(",")),
    };
    let _ = writeln!(text, "{name}{end}{labels} {value:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::summary::{Summary, Times};

    #[test]
    fn prometheus_gets_families_with_their_kinds_labels_and_quantiles() {
        let times = Times::default();
        let none = times.now(None);
        times.add(2);
        let summary = Summary::new();
        summary.add(7);
        let row = |name, key: Option<&str>, value| Metric {
            name,
            key: key.map(str::to_owned),
            value,
        };
        let table = [
            row("znode_count", None, Value::Gauge(6)),
            row("avg_latency", None, Value::Fraction(0.5)),
            row("proposal_count", None, Value::Counter(3)),
            row("fsynctime", None, Value::Summary(summary.now())),
            row("ack_latency", Some("1"), Value::Times(times.now(None))),
            row("ack_latency", Some("2"), Value::Times(none)),
        ];
        let told = text(&table, false);
        let wanted = "\
# HELP znode_count znode_count
# TYPE znode_count gauge
znode_count 6.0
# HELP avg_latency avg_latency
# TYPE avg_latency gauge
avg_latency 0.5
# HELP proposal_count proposal_count
# TYPE proposal_count counter
proposal_count 3.0
# HELP fsynctime fsynctime
# TYPE fsynctime summary
fsynctime_count 1.0
fsynctime_sum 7.0
# HELP ack_latency ack_latency
# TYPE ack_latency summary
ack_latency{key=\"1\",quantile=\"0.5\"} 2.0
ack_latency{key=\"1\",quantile=\"0.95\"} 2.0
ack_latency{key=\"1\",quantile=\"0.99\"} 2.0
ack_latency_count{key=\"1\"} 1.0
ack_latency_sum{key=\"1\"} 2.0
ack_latency{key=\"2\",quantile=\"0.5\"} NaN
ack_latency{key=\"2\",quantile=\"0.95\"} NaN
ack_latency{key=\"2\",quantile=\"0.99\"} NaN
ack_latency_count{key=\"2\"} 0.0
ack_latency_sum{key=\"2\"} 0.0
";
        assert_eq!(told, wanted);
        let renamed = text(&table, true);
        assert!(
            renamed.contains("\n# TYPE proposal_count_total counter\nproposal_count_total 3.0\n")
        );
        assert!(renamed.contains("\nfsynctime_count 1.0\n"), "{renamed}");
    }
}
