//! A real Prometheus, Debian's, reads three servers of ours: it scrapes them without a warning, its rules load, and each query of the
//! dashboard has data. It is fetched when it is asked for, and kept outside of the repository.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use anyhow::Context as _;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use zabra::wire::client::Request;
use zabra_conformance::cluster::{Cluster, Product, wait_until};
use zabra_conformance::interop::debian;
use zabra_conformance::raw::RawClient;
use zabra_model::tree::op::ReadOp;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the linter says of names, which are ZooKeeper's: dashboards and alerts of today have them.
const OF_NAMES: [&str; 3] = [
    "counter metrics should have \"_total\" suffix",
    "non-histogram and non-summary metrics should not have \"_count\" suffix",
    "metric names should not contain abbreviated units",
];

fn monitoring(name: &str) -> PathBuf {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../impl/packaging/monitoring");
    packaging.join(name)
}

/// The body of an answer over HTTP.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

fn escaped(query: &str) -> String {
    query.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}

/// Ended when dropped.
struct Prometheus {
    process: Child,
    port: u16,
}

impl Prometheus {
    /// Starts it with the configuration of the repository, in a directory where its log is, too.
    fn start(tools: &Path, metrics: &[u16], rules: &Path, dir: &Path) -> Self {
        let port = zabra::dev::ports::free(1).unwrap()[0];
        let config = std::fs::read_to_string(monitoring("prometheus.yml")).unwrap();
        let targets = metrics
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect::<Vec<_>>();
        let config = config
            .replace(
                "\"zoo1:7000\", \"zoo2:7000\", \"zoo3:7000\"",
                &targets.join(", "),
            )
            .replace("15s", "1s")
            .replace("rules.yml", rules.to_str().unwrap());
        assert!(config.contains(&targets[2]), "{config}");
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let log = dir.join("log");
        let err = std::fs::File::create(&log).unwrap();
        Self {
            process: Command::new(tools.join("usr/bin/prometheus"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    dir.join("data").display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdout(Stdio::null())
                .stderr(err)
                .spawn()
                .unwrap(),
            port,
        }
    }

    fn query(&self, query: &str) -> Value {
        let body = get(
            self.port,
            &format!("/api/v1/query?query={}", escaped(query)),
        )
        .unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {body}");
        answer["data"]["result"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn promtool(tools: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut tool = Command::new(tools.join("usr/bin/promtool"));
    let piped = tool
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut tool = piped.stderr(Stdio::piped()).spawn().unwrap();
    tool.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// All queries of the dashboard, with what Grafana would put in.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(monitoring("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    let queries = targets.map(|t| t["expr"].as_str().unwrap());
    queries
        .map(|q| {
            q.replace("$ensemble", "main")
                .replace("$__rate_interval", "10s")
        })
        .collect()
}

#[test]
fn prometheus_reads_an_ensemble_and_knows_each_metric_of_rules_and_dashboard() {
    let Some(tools) = debian("prometheus").unwrap() else {
        return;
    };
    let metrics = zabra::dev::ports::free(3).unwrap();
    let provider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
    let settings = [
        ("metricsProvider.className", provider),
        ("metricsProvider.httpHost", "127.0.0.1"),
        ("metricsProvider.httpPort", "{metrics}"),
    ];
    let mut cluster = Cluster::prepare(&[Product::Zabra; 3], &[], &settings).unwrap();
    for (i, port) in metrics.iter().enumerate() {
        cluster.set(i, "{metrics}", &port.to_string()).unwrap();
        cluster.restart(i).unwrap();
    }
    cluster.wait_until_serving().unwrap();
    // The shapes that the linter knows; of names it says what it would of ZooKeeper's.
    let scraped = get(metrics[0], "/metrics").unwrap();
    let (_, lint) = promtool(&tools, &["check", "metrics"], &scraped);
    let odd: Vec<_> = lint
        .lines()
        .filter(|line| !OF_NAMES.iter().any(|name| line.ends_with(name)))
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
    let rules = monitoring("rules.yml");
    let (fine, said) = promtool(&tools, &["check", "rules", rules.to_str().unwrap()], "");
    assert!(fine && said.contains("SUCCESS: 10 rules found"), "{said}");

    let dir = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&tools, &metrics, &rules, dir.path());
    let (port, log) = (prometheus.port, dir.path().join("log"));
    wait_until("three servers are scraped", PATIENCE, || {
        Ok(
            get(port, "/-/ready").is_ok_and(|ready| ready.contains("Ready"))
                && prometheus.query("up == 1").as_array().unwrap().len() == 3,
        )
    })
    .unwrap();
    // A rate needs something that happens between two scrapes.
    let mut client = RawClient::connect(cluster.servers[0].client_port, 10_000).unwrap();
    let mut left: Vec<String> = dashboard();
    assert!(left.len() >= 30, "{}", left.len());
    let waited = wait_until("each query of the dashboard has data", PATIENCE, || {
        let path = "/zookeeper".into();
        client
            .call(
                &Request::Read(ReadOp::Exists { path, watch: false }),
                PATIENCE,
            )?
            .ok();
        left.retain(|query| prometheus.query(query).as_array().unwrap().is_empty());
        Ok(left.is_empty())
    });
    assert!(waited.is_ok(), "without data: {left:#?}");
    rules_know_their_metrics(&prometheus);
    let log = std::fs::read_to_string(&log).unwrap();
    let warnings: Vec<_> = log
        .lines()
        .filter(|l| l.contains("level=warn") || l.contains("level=error"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

/// Each rule is evaluated without an error, nothing is wrong with three healthy servers, and each metric that a rule names is there.
fn rules_know_their_metrics(prometheus: &Prometheus) {
    let mut rules = Vec::new();
    let waited = wait_until(
        "all rules are evaluated, and nothing is wrong",
        PATIENCE,
        || {
            let answer: Value = serde_json::from_str(&get(prometheus.port, "/api/v1/rules")?)?;
            let all = answer["data"]["groups"][0]["rules"].as_array();
            rules = all.context("rules")?.clone();
            Ok(rules
                .iter()
                .all(|r| r["health"] == "ok" && r["state"] == "inactive"))
        },
    );
    assert!(waited.is_ok(), "{rules:#?}");
    for rule in &rules {
        let query = rule["query"].as_str().unwrap();
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics = words.filter(|w| *w == "up" || w.contains('_') && *w != "histogram_quantile");
        let mut count = 0;
        for metric in metrics {
            count += 1;
            let found = prometheus.query(metric);
            assert!(!found.as_array().unwrap().is_empty(), "{metric} of {query}");
        }
        assert!(count > 0, "{query}");
    }
}
