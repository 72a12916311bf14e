//! The text that Prometheus scrapes (format 0.0.4), with the names and kinds of ZooKeeper's `PrometheusMetricsProvider`.

use super::metrics::{Metric, Value};
use crate::client::summary::{Summed, Timed};
use std::fmt::Write;

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The quantiles that Prometheus gets, in thousandths.
const QUANTILES: [(u64, &str); 3] = [(500, "0.5"), (950, "0.95"), (990, "0.99")];

/// The bounds of a histogram, ms: those that [`Timed::not_above`] tells exactly.
const BOUNDS: [u64; 20] = [
    0, 1, 2, 3, 5, 7, 10, 15, 20, 31, 63, 127, 255, 511, 1023, 2047, 4095, 8191, 16_383, 32_767,
];

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
        let label = key.as_ref().map(|key| label(key));
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
    histograms(&mut text, table);
    text
}

/// The distributions of times, each as a family of its own behind the summaries: of a summary's quantiles nobody can tell those of the last
/// minutes, or of several servers, and of a histogram's buckets anybody can.
fn histograms(text: &mut String, table: &[Metric]) {
    let mut before = "";
    for Metric { name, key, value } in table {
        let Value::Times(timed) = value else { continue };
        if *name != before {
            let _ = writeln!(
                text,
                "# HELP {name}_distribution {name} in ms\n# TYPE {name}_distribution histogram"
            );
            before = name;
        }
        let key = key.as_ref().map(|key| label(key));
        histogram(text, name, key.as_deref(), timed);
    }
}

fn histogram(text: &mut String, name: &str, key: Option<&str>, timed: &Timed) {
    let (counts, all) = timed.not_above(BOUNDS);
    let behind_key = key.map_or(String::new(), |key| format!("{key},"));
    for (bound, count) in BOUNDS.iter().zip(counts) {
        let _ = writeln!(
            text,
            "{name}_distribution_bucket{{{behind_key}le=\"{bound}.0\"}} {count}.0"
        );
    }
    let alone = key.map_or(String::new(), |key| format!("{{{key}}}"));
    let sum = timed.all.sum;
    let _ = writeln!(
        text,
        "{name}_distribution_bucket{{{behind_key}le=\"+Inf\"}} {all}.0\n\
         {name}_distribution_count{alone} {all}.0\n\
         {name}_distribution_sum{alone} {sum}.0"
    );
}

/// Which member of a set it is. What clients have named may have quotes in it.
fn label(key: &str) -> String {
    let key = key.replace('\\', "\\\\").replace('"', "\\\"");
    format!("key=\"{}\"", key.replace('\n', "\\n"))
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

    fn row(name: &'static str, key: Option<&str>, value: Value) -> Metric {
        Metric {
            name,
            key: key.map(str::to_owned),
            value,
        }
    }

    #[test]
    fn prometheus_gets_families_with_their_kinds_labels_and_quantiles() {
        let times = Times::default();
        let none = times.now(None);
        times.add(2);
        let summary = Summary::new();
        summary.add(7);
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
        assert!(told.starts_with(wanted), "{told}");
        let renamed = text(&table, true);
        assert!(
            renamed.contains("\n# TYPE proposal_count_total counter\nproposal_count_total 3.0\n")
        );
        assert!(renamed.contains("\nfsynctime_count 1.0\n"), "{renamed}");
    }

    #[test]
    fn prometheus_gets_the_distribution_of_each_time_and_any_name_as_a_label() {
        let times = Times::default();
        let none = times.now(None);
        times.add(2);
        let table = [
            row("ack_latency", Some("1"), Value::Times(times.now(None))),
            row("ack_latency", Some("2"), Value::Times(none)),
        ];
        let told = text(&table, false);
        let wanted = "\
# HELP ack_latency_distribution ack_latency in ms
# TYPE ack_latency_distribution histogram
ack_latency_distribution_bucket{key=\"1\",le=\"0.0\"} 0.0
ack_latency_distribution_bucket{key=\"1\",le=\"1.0\"} 0.0
ack_latency_distribution_bucket{key=\"1\",le=\"2.0\"} 1.0
";
        assert!(told.contains(wanted), "{told}");
        assert!(told.contains("\nack_latency_distribution_bucket{key=\"1\",le=\"+Inf\"} 1.0\n"));
        assert!(told.contains("\nack_latency_distribution_sum{key=\"1\"} 2.0\n"));
        assert!(told.ends_with("\nack_latency_distribution_sum{key=\"2\"} 0.0\n"));
        let families = told
            .matches("# TYPE ack_latency_distribution histogram")
            .count();
        assert_eq!(
            (families, told.matches("_distribution_count").count()),
            (1, 2)
        );
        let odd = text(&[row("n", Some("a\"\\b"), Value::Gauge(1))], false);
        assert!(odd.ends_with("\nn{key=\"a\\\"\\\\b\"} 1.0\n"), "{odd}");
        let alone = text(
            &[row("readlatency", None, Value::Times(times.now(None)))],
            false,
        );
        assert!(
            alone.contains("\nreadlatency_distribution_bucket{le=\"2.0\"} 1.0\n"),
            "{alone}"
        );
        assert!(
            alone.contains("\nreadlatency_distribution_count 1.0\n"),
            "{alone}"
        );
    }
}
