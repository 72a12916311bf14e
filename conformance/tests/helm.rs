//! The chart for Helm: with its own values it is the manifest for Kubernetes, and what it lets the pods run is what the binary understands.
//!
//! It is rendered by a program of some lines (`interop/helm`) that knows what of Helm the chart uses, and by Helm itself where that is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zabra_conformance::cluster::binary;
use zabra_conformance::interop::script;
use zabra_conformance::programs::which;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../impl/packaging")
        .join(name)
}

/// The program that renders, built; `None` where there is no Go, which is said.
fn renderer(dir: &Path) -> Option<PathBuf> {
    if which("go").is_none() {
        eprintln!("\n#### SKIPPED: the chart cannot be rendered here: no go\n");
        return None;
    }
    let program = dir.join("render");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(script("helm"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    Some(program)
}

/// The documents that a program tells, by kind and name.
fn documents(program: &mut Command, input: &[u8]) -> BTreeMap<(String, String), Value> {
    let mut running = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(input).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let all: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    let named = |of: Value| ((text(&of["kind"]), text(&of["metadata"]["name"])), of);
    all.into_iter().map(named).collect()
}

fn rendered(program: &Path, release: &str, values: &Value) -> BTreeMap<(String, String), Value> {
    let chart = packaging("helm/zabra");
    let mut own = Command::new(program);
    let own = documents(own.arg(&chart).args([release, &values.to_string()]), b"");
    if let Some(helm) = which("helm") {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), values.to_string()).unwrap();
        let mut helm = Command::new(helm);
        let helm = helm
            .arg("template")
            .arg(release)
            .arg(&chart)
            .arg("--values");
        let done = helm.arg(file.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let by_helm = documents(Command::new(program).arg("-"), &done.stdout);
        assert_eq!(by_helm, own, "Helm renders something else");
    }
    own
}

fn of<'a>(all: &'a BTreeMap<(String, String), Value>, kind: &str, name: &str) -> &'a Value {
    let key = (kind.to_owned(), name.to_owned());
    all.get(&key)
        .unwrap_or_else(|| panic!("{kind} {name}: {all:?}"))
}

/// What the pods would start with, by the binary itself: a file that a server accepts, with all members in it.
fn pods_understand(all: &BTreeMap<(String, String), Value>, name: &str, replicas: usize) -> String {
    let container = &of(all, "StatefulSet", name)["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["args"],
        json!([]),
        "the entry of the image is the command"
    );
    let variables = container["env"].as_array().unwrap().iter();
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    let variables = variables.map(|of| (text(&of["name"]), text(&of["value"])));
    let variables: Vec<_> = variables.collect();
    let mut last = String::new();
    for ordinal in 0..replicas {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let done = Command::new(binary().unwrap())
            .args(["container", "--print"])
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("ZOO_CONF_DIR", place("conf"))
            .env("ZOO_DATA_DIR", place("data"))
            .env("ZOO_DATA_LOG_DIR", place("datalog"))
            .env("HOSTNAME", format!("{name}-{ordinal}"))
            .output()
            .unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        last = String::from_utf8(done.stdout).unwrap();
        assert_eq!(last.matches("\nserver.").count(), replicas, "{last}");
        fs::create_dir(place("data")).unwrap();
        fs::write(place("data").join("myid"), format!("{}\n", ordinal + 1)).unwrap();
        fs::write(place("zoo.cfg"), &last).unwrap();
        let checked = Command::new(binary().unwrap())
            .args(["config", "check"])
            .arg(place("zoo.cfg"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(
            checked.status.success() && !said.contains("unknown"),
            "{said}"
        );
    }
    // A probe that is run in the pod is a command that the binary has.
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(command) = container[probe]["exec"]["command"].as_array() {
            let words: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
            assert_eq!(words[0], "zabra");
            let help = Command::new(binary().unwrap())
                .args([words[1], "--help"])
                .output();
            assert!(help.unwrap().status.success(), "{words:?}");
        }
    }
    last
}

#[test]
fn with_its_own_values_the_chart_is_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = renderer(dir.path()) else {
        return;
    };
    let all = rendered(&program, "zookeeper", &json!({}));
    let manifest = fs::read(packaging("kubernetes.yaml")).unwrap();
    assert_eq!(all, documents(Command::new(&program).arg("-"), &manifest));
    assert_eq!(all.len(), 4);
    pods_understand(&all, "zookeeper", 3);
}

#[test]
fn with_all_values_the_pods_are_watched_and_asked_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = renderer(dir.path()) else {
        return;
    };
    let values = json!({
        "replicas": 5,
        "admin": { "exposed": true },
        "metrics": { "enabled": true, "serviceMonitor": true, "prometheusRule": true, "dashboard": true },
        "settings": { "snapCount": "5000" },
        "variables": { "ZOO_TICK_TIME": "500" },
    });
    let all = rendered(&program, "zk", &values);
    let text = pods_understand(&all, "zk", 5);
    for line in [
        "tickTime=500\n",
        "snapCount=5000\n",
        "admin.serverAddress=0.0.0.0\n",
        "metricsProvider.httpPort=7000\n",
        "server.5=zk-4.zk-members:2888:3888;2181\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let container = &of(&all, "StatefulSet", "zk")["spec"]["template"]["spec"]["containers"][0];
    let probe = |name: &str| container[name]["httpGet"]["path"].clone();
    assert_eq!(probe("livenessProbe"), "/livez");
    assert_eq!(probe("readinessProbe"), "/readyz");
    assert_eq!(
        of(&all, "PodDisruptionBudget", "zk")["spec"]["maxUnavailable"],
        2
    );
    // Alerts and dashboard are those that a real Prometheus has been asked about.
    let rules = fs::read(packaging("monitoring/rules.yml")).unwrap();
    let rule = &of(&all, "PrometheusRule", "zk")["spec"]["groups"];
    let own = format!(
        "kind: a\nmetadata: {{name: b}}\n{}",
        String::from_utf8(rules).unwrap()
    );
    let own = documents(Command::new(&program).arg("-"), own.as_bytes());
    assert_eq!(*rule, of(&own, "a", "b")["groups"]);
    let dashboard = of(&all, "ConfigMap", "zk-dashboard")["data"]["zookeeper.json"].as_str();
    let dashboard: Value = serde_json::from_str(dashboard.unwrap()).unwrap();
    let own = fs::read(packaging("monitoring/dashboard.json")).unwrap();
    assert_eq!(dashboard, serde_json::from_slice::<Value>(&own).unwrap());
    // Who scrapes finds the port by its name, at the service of the members.
    let port = &of(&all, "ServiceMonitor", "zk")["spec"]["endpoints"][0]["port"];
    let ports = of(&all, "Service", "zk-members")["spec"]["ports"].as_array();
    assert!(
        ports
            .unwrap()
            .iter()
            .any(|of| of["name"] == *port && of["port"] == 7000)
    );
}
