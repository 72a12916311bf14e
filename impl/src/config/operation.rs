//! Keys about what operators and their tools look at: commands over HTTP, the exporter of metrics, slow syncs and requests.

use super::Listen;
use super::values::{flag, port};

/// Where metrics are exported to Prometheus.
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
/// Classes of ZooKeeper that export nothing.
const NO_EXPORTER: [&str; 2] = [
    "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
];

/// What operators look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Commands over HTTP; `None`: `admin.enableServer=false`.
    pub commands: Option<Commands>,
    /// Metrics for Prometheus; `None`: no line asks for them.
    pub exporter: Option<Exporter>,
    /// From when a sync of the log is told as slow, ms (`fsync.warningthresholdms`).
    pub slow_sync_ms: u64,
    /// From when a request is told as slow, ms; `u64::MAX`: never (`zabra.slowRequestMs`).
    pub slow_request_ms: u64,
}

/// Commands over HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commands {
    /// Where.
    pub listen: Listen,
    /// Whether the address was written.
    pub is_chosen: bool,
    /// The path that they stand under, without a `/` at its end.
    pub path: String,
    /// How long one connection may last, ms.
    pub idle_ms: u64,
    /// Whether they take a snapshot (`admin.snapshot.enabled`).
    pub snapshots: bool,
    /// Whether they put another one in place of the tree (`admin.restore.enabled`).
    pub restores: bool,
    /// Between two of the same kind, ms (`admin.rateLimiterIntervalInMS`).
    pub interval_ms: u64,
    /// Whether there is a page for people beside them (`zabra.webPage`).
    pub page: bool,
}

/// Metrics for Prometheus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exporter {
    /// Where.
    pub listen: Listen,
    /// Whether names of counters end in `_total`.
    pub total: bool,
}

/// What the lines said.
#[derive(Clone, Debug, Default)]
pub struct OperationLines {
    disabled: bool,
    address: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    idle_ms: Option<u64>,
    snapshots: Option<bool>,
    restores: Option<bool>,
    interval_ms: Option<u64>,
    page: Option<bool>,
    exports: bool,
    exporter_host: Option<String>,
    exporter_port: Option<u16>,
    total: bool,
    slow_sync_ms: Option<u64>,
    slow_request_ms: Option<u64>,
}

/// Whether a class that exports metrics is known.
pub(super) fn is_provider(class: &str) -> bool {
    class == PROMETHEUS || NO_EXPORTER.contains(&class)
}

impl OperationLines {
    /// Takes the line if it is one of these; `plain` is the key without the prefix `zookeeper.`. Errors: what is wrong with it.
    pub(super) fn set(&mut self, key: &str, plain: &str, value: &str) -> Result<bool, String> {
        match plain {
            "admin.enableServer" => self.disabled = !flag(key, value)?,
            "admin.serverAddress" => self.address = Some(value.to_owned()),
            "admin.serverPort" => self.port = Some(port(key, value)?),
            "admin.commandURL" => self.path = Some(path(key, value)?),
            "admin.idleTimeout" => self.idle_ms = Some(ms(key, value, 1)?),
            "admin.snapshot.enabled" => self.snapshots = Some(flag(key, value)?),
            "admin.restore.enabled" => self.restores = Some(flag(key, value)?),
            "admin.rateLimiterIntervalInMS" => self.interval_ms = Some(ms(key, value, 0)?),
            "zabra.webPage" => self.page = Some(flag(key, value)?),
            "metricsProvider.className" => self.exports = value == PROMETHEUS,
            "metricsProvider.httpHost" => self.exporter_host = Some(value.to_owned()),
            "metricsProvider.httpPort" => self.exporter_port = Some(port(key, value)?),
            "zabra.metricsCountersWithTotal" => self.total = flag(key, value)?,
            "fsync.warningthresholdms" => self.slow_sync_ms = Some(ms(key, value, 0)?),
            "zabra.slowRequestMs" => self.slow_request_ms = Some(ms(key, value, 0)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they mean together.
    pub(super) fn check(self) -> Operation {
        let is_chosen = self.address.is_some();
        let address = self.address.unwrap_or_else(|| "127.0.0.1".into());
        let commands = Commands {
            listen: Listen {
                host: host(address),
                port: self.port.unwrap_or(8080),
            },
            is_chosen,
            path: self.path.unwrap_or_else(|| "/commands".into()),
            idle_ms: self.idle_ms.unwrap_or(30_000),
            snapshots: self.snapshots.unwrap_or(true),
            restores: self.restores.unwrap_or(true),
            interval_ms: self.interval_ms.unwrap_or(300_000),
            page: self.page.unwrap_or(true),
        };
        let exporter = Exporter {
            listen: Listen {
                host: self.exporter_host.and_then(host),
                port: self.exporter_port.unwrap_or(7000),
            },
            total: self.total,
        };
        Operation {
            commands: (!self.disabled).then_some(commands),
            exporter: self.exports.then_some(exporter),
            slow_sync_ms: self.slow_sync_ms.unwrap_or(1000),
            slow_request_ms: match self.slow_request_ms {
                None => 1000,
                Some(0) => u64::MAX,
                Some(ms) => ms,
            },
        }
    }
}

/// `None` for what means every address.
fn host(address: String) -> Option<String> {
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    (!matches!(plain, "" | "0.0.0.0" | "::")).then(|| plain.to_owned())
}

fn ms(key: &str, value: &str, least: u64) -> Result<u64, String> {
    let ms = value.parse().ok().filter(|ms| *ms >= least);
    ms.ok_or_else(|| format!("{key}={value}: write milliseconds, from {least} on"))
}

fn path(key: &str, value: &str) -> Result<String, String> {
    if !value.starts_with('/') {
        return Err(format!("{key}={value}: write a path that begins with /"));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Result<Operation, String> {
        let mut all = OperationLines::default();
        for (key, value) in lines {
            assert!(all.set(key, key, value)?, "{key}");
        }
        Ok(all.check())
    }

    #[test]
    fn commands_are_there_on_this_machine_and_metrics_where_a_line_asks_for_them() {
        let none = of(&[]).unwrap();
        let commands = none.commands.unwrap();
        let listen = (commands.listen.host.as_deref(), commands.listen.port);
        assert_eq!(listen, (Some("127.0.0.1"), 8080));
        assert_eq!((&*commands.path, commands.idle_ms), ("/commands", 30_000));
        assert!(none.exporter.is_none() && !commands.is_chosen && commands.page);
        let by_default = (commands.snapshots, commands.restores, commands.interval_ms);
        assert_eq!(by_default, (true, true, 300_000));
        let all = of(&[
            ("admin.serverAddress", "0.0.0.0"),
            ("admin.serverPort", "8081"),
            ("admin.commandURL", "/zk/"),
            ("admin.idleTimeout", "5000"),
            ("admin.snapshot.enabled", "false"),
            ("admin.restore.enabled", "false"),
            ("admin.rateLimiterIntervalInMS", "0"),
            ("zabra.webPage", "false"),
            ("metricsProvider.className", PROMETHEUS),
            ("metricsProvider.httpHost", "::1"),
            ("metricsProvider.httpPort", "7001"),
            ("zabra.metricsCountersWithTotal", "true"),
            ("fsync.warningthresholdms", "20"),
            ("zabra.slowRequestMs", "30"),
        ])
        .unwrap();
        let (commands, exporter) = (all.commands.unwrap(), all.exporter.unwrap());
        assert!(commands.is_chosen && commands.listen.host.is_none() && !commands.page);
        assert_eq!((&*commands.path, commands.idle_ms), ("/zk", 5000));
        let said = (commands.snapshots, commands.restores, commands.interval_ms);
        assert_eq!(said, (false, false, 0));
        let listen = (exporter.listen.host.as_deref(), exporter.listen.port);
        assert_eq!(listen, (Some("::1"), 7001));
        assert!(exporter.total && all.slow_sync_ms == 20);
        assert_eq!((all.slow_request_ms, none.slow_request_ms), (30, 1000));
        let never = of(&[("zabra.slowRequestMs", "0")]).unwrap();
        assert_eq!(never.slow_request_ms, u64::MAX);
        assert_eq!(of(&[("admin.enableServer", "no")]).unwrap().commands, None);
    }

    #[test]
    fn what_is_wrong_is_told_and_another_class_is_not_used() {
        for (key, value) in [
            ("admin.serverPort", "eighty"),
            ("admin.commandURL", "commands"),
            ("admin.idleTimeout", "0"),
            ("admin.rateLimiterIntervalInMS", "soon"),
            ("metricsProvider.httpPort", "70000"),
            ("fsync.warningthresholdms", "-1"),
            ("zabra.slowRequestMs", "soon"),
        ] {
            let what = of(&[(key, value)]).unwrap_err();
            assert!(
                what.starts_with(&format!("{key}={value}: write ")),
                "{what}"
            );
        }
        let class = |name: &str| {
            let exporter = of(&[("metricsProvider.className", name)]).unwrap().exporter;
            (is_provider(name), exporter.is_some())
        };
        assert_eq!(class(PROMETHEUS), (true, true));
        assert_eq!(class(NO_EXPORTER[0]), (true, false));
        assert_eq!(class("my.Provider"), (false, false));
    }
}
