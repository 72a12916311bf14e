//! What operators and their tools look at: latencies in words, commands over HTTP, metrics for Prometheus, and what these ports
//! may be made to hold.

mod common;

use common::{Cluster, create, free_ports, get, set, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A request to a port of this machine; status, head and body of the answer.
fn ask(port: u16, method: &str, path: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let (head, body) = all.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_lowercase(), body.to_owned()))
}

fn command(port: u16, name: &str) -> Value {
    let (status, head, body) = ask(port, "GET", &format!("/commands/{name}")).unwrap();
    assert_eq!(status, 200, "{name}: {body}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).unwrap()
}

fn keys(of: &Value) -> Vec<&str> {
    of.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What Prometheus reads: the kind of each family, and each sample.
fn scrape(port: u16) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (status, head, body) = ask(port, "GET", "/metrics").unwrap();
    assert!(
        status == 200 && head.contains("text/plain; version=0.0.4"),
        "{head}"
    );
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let before = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{name} is there twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            samples.insert(name.to_owned(), value.parse().unwrap());
        }
    }
    (kinds, samples)
}

/// One server with these ports for commands and metrics.
fn server(lines: &str) -> (Cluster, u16, u16) {
    let ports = free_ports(2);
    let lines = format!(
        "admin.serverPort={}\nmetricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
         metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort={}\n{lines}",
        ports[0], ports[1]
    );
    let mut cluster = Cluster::new(1, &lines);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    (cluster, ports[0], ports[1])
}

/// C-61, C-65.
// long: one client, and everything that tells of it.
#[test]
fn c_61_c_65_reads_and_writes_are_measured_and_told_by_every_word() {
    let (cluster, admin, metrics) = server("");
    let mut client = cluster.client(0);
    client.call(&create("/n", 0)).unwrap().unwrap();
    client.call(&set("/n", "abc")).unwrap().unwrap();
    for _ in 0..5 {
        client.call(&get("/n", false)).unwrap().unwrap();
    }
    client.call(&get("/n", true)).unwrap().unwrap();

    let told = cluster.word(0, "mntr").unwrap();
    let mntr: BTreeMap<&str, &str> = told.lines().filter_map(|l| l.split_once('\t')).collect();
    for (key, value) in [
        ("zk_cnt_readlatency", "6"),
        // The session, the node, its data.
        ("zk_cnt_updatelatency", "3"),
        ("zk_watch_count", "1"),
        ("zk_op_count_get_data", "6"),
        ("zk_op_count_create", "1"),
        ("zk_op_count_create_session", "1"),
        ("zk_connection_request_count", "1"),
        ("zk_proposal_count", "3"),
        // The way of these three: prepared, handed to the disk, committed.
        ("zk_prep_processor_request_queued", "3"),
        ("zk_sum_prep_processor_queue_size", "3"),
        // The session's request is none of a connection that has a session.
        ("zk_cnt_prep_processor_queue_time_ms", "2"),
        ("zk_sync_processor_request_queued", "3"),
        ("zk_sum_sync_processor_batch_size", "3"),
        ("zk_request_commit_queued", "3"),
    ] {
        assert_eq!(mntr.get(key), Some(&value), "{key}: {told}");
    }
    let number = |key: &str| mntr[key].parse::<f64>().unwrap();
    assert!(
        number("zk_cnt_fsynctime") >= 3.0 && number("zk_max_latency") >= number("zk_avg_latency")
    );
    // Each of them waits for the answer of the one before it, so each is a batch.
    for key in [
        "zk_cnt_sync_processor_queue_size",
        "zk_cnt_sync_processor_queue_and_flush_time_ms",
    ] {
        assert!((number(key) - 3.0).abs() < 1e-9, "{key}: {told}");
    }
    assert!(number("zk_open_file_descriptor_count") < number("zk_max_file_descriptor_count"));
    assert!(number("zk_bytes_received_count") > 100.0 && number("zk_response_bytes") > 100.0);
    for quantile in ["p50", "p95", "p99", "p999"] {
        assert!(mntr.contains_key(&*format!("zk_{quantile}_readlatency")));
    }

    let cons = cluster.word(0, "cons").unwrap();
    let line = cons.lines().find(|l| l.contains("sid=")).unwrap();
    for part in [
        format!("](queued=0,recved=9,sent=9,sid={}", client.session),
        ",lop=GETD,est=".into(),
        ",to=10000,lcxid=0x8,lzxid=0x100000003,lresp=".into(),
        ",llat=".into(),
        ",minlat=0,avglat=".into(),
        ",maxlat=".into(),
    ] {
        assert!(line.contains(&part), "{part}: {cons}");
    }
    let srvr = cluster.word(0, "srvr").unwrap();
    let latency = srvr.lines().find(|l| l.starts_with("Latency")).unwrap();
    assert!(latency.starts_with("Latency min/avg/max: 0/"), "{latency}");

    // The same table, whoever asks.
    let monitor = command(admin, "mntr");
    assert_eq!(monitor["command"], "monitor");
    for key in mntr.keys().filter(|key| **key != "zk_version") {
        assert!(
            monitor.get(key.trim_start_matches("zk_")).is_some(),
            "{key}"
        );
    }
    let (kinds, samples) = scrape(metrics);
    assert_eq!(kinds["readlatency"], "summary");
    assert!((samples["readlatency_count"] - 6.0).abs() < 1e-9);
    assert!(samples["readlatency{quantile=\"0.5\"}"] >= 0.0);
    assert_eq!(kinds["readlatency_distribution"], "histogram");
    let all = samples["readlatency_distribution_bucket{le=\"+Inf\"}"];
    let slow = all - samples["readlatency_distribution_bucket{le=\"32767.0\"}"];
    assert!((all - 6.0).abs() < 1e-9 && slow.abs() < 1e-9);

    assert_eq!(
        cluster.word(0, "crst").as_deref(),
        Some("Connection stats reset.\n")
    );
    assert_eq!(
        cluster.word(0, "srst").as_deref(),
        Some("Server stats reset.\n")
    );
    let stats = command(admin, "stats");
    let conn = &stats["connections"][0];
    assert_eq!(
        (&conn["packets_received"], &conn["packets_sent"]),
        (&0.into(), &0.into())
    );
    assert_eq!(command(admin, "monitor")["cnt_updatelatency"], 0);
}

#[test]
fn quotas_are_told_by_the_first_name_of_their_paths() {
    let (cluster, _, metrics) = server("enforceQuota=true\n");
    let mut client = cluster.client(0);
    for path in ["/app", "/app/x", "/zookeeper/quota/app"] {
        client.call(&create(path, 0)).unwrap().unwrap();
    }
    let quota = "/zookeeper/quota/app/zookeeper_";
    for name in ["limits", "stats"] {
        let path = format!("{quota}{name}");
        client.call(&create(&path, 0)).unwrap().unwrap();
    }
    let limits = format!("{quota}limits");
    client
        .call(&set(&limits, "count=5,bytes=-1=;byteHardLimit=300"))
        .unwrap()
        .unwrap();
    let (kinds, samples) = scrape(metrics);
    assert_eq!(kinds["quota_bytes_limit_per_namespace"], "gauge");
    let mntr = cluster.word(0, "mntr").unwrap();
    for (name, value) in [
        ("count_limit", 5),
        ("bytes_limit", 300),
        ("count_usage", 2),
        ("bytes_usage", 2),
    ] {
        let line = format!("zk_app_quota_{name}_per_namespace\t{value}\n");
        assert!(mntr.contains(&line), "{line}: {mntr}");
        let sample = samples[&format!("quota_{name}_per_namespace{{key=\"app\"}}")];
        assert!((sample - f64::from(value)).abs() < 1e-9, "{name}");
    }
    // What is over a hard limit is refused, and counted.
    let counted = "quota_exceeded_error_per_namespace";
    assert!(!mntr.contains(counted), "{mntr}");
    for _ in 0..2 {
        let refused = client.call(&set("/app/x", &"x".repeat(400))).unwrap();
        assert_eq!(refused, Err(-125));
    }
    let mntr = cluster.word(0, "mntr").unwrap();
    assert!(mntr.contains(&format!("zk_app_{counted}\t2\n")), "{mntr}");
    // This client, and each word.
    let plain = mntr
        .lines()
        .find_map(|l| l.strip_prefix("zk_non_mtls_local_conn_count\t"));
    let plain: u64 = plain.unwrap().parse().unwrap();
    assert!(
        plain >= 3 && mntr.contains("zk_non_mtls_remote_conn_count\t0\n"),
        "{mntr}"
    );
}

/// Alerts that people copy from ZooKeeper's manual ask for these.
#[test]
fn alerts_that_people_copy_find_their_metrics() {
    let (cluster, _, metrics) = server("zabra.metricsCountersWithTotal=false");
    let (kinds, samples) = scrape(metrics);
    for name in [
        "znode_count",
        "num_alive_connections",
        "approximate_data_size",
        "watch_count",
        "election_time_count",
        "open_file_descriptor_count",
        "fsynctime_sum",
        "snapshottime_sum",
        "avg_latency",
    ] {
        assert!(samples.contains_key(name), "{name}");
    }
    for (name, kind) in [
        ("znode_count", "gauge"),
        ("fsynctime", "summary"),
        ("connection_rejected", "counter"),
        ("updatelatency", "summary"),
    ] {
        assert_eq!(kinds[name], kind, "{name}");
    }
    // What mntr tells and is no text is scraped, too.
    let mntr = cluster.word(0, "mntr").unwrap();
    let plain = mntr.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("zk_")?.split_once('\t')?;
        let part = key.split_once('_').map_or("", |(begin, _)| begin);
        (!matches!(
            part,
            "avg" | "min" | "max" | "cnt" | "sum" | "p50" | "p95" | "p99" | "p999"
        ))
        .then_some(key)
    });
    for name in plain.filter(|name| !matches!(*name, "version" | "server_state")) {
        assert!(kinds.contains_key(name), "{name}");
    }
}

/// Keys as ZooKeeper 3.9.5 has them.
// long: one server, and every command.
#[test]
fn commands_over_http_answer_with_zookeepers_keys() {
    let (cluster, admin, _) = server("DigestAuthenticationProvider.superDigest=super:hush");
    let mut client = cluster.client(0);
    client.call(&create("/app", 0)).unwrap().unwrap();
    client.call(&create("/app/e", 1)).unwrap().unwrap();
    client.call(&get("/app", true)).unwrap().unwrap();
    let session = client.session.0;

    let (status, _, page) = ask(admin, "GET", "/commands").unwrap();
    assert_eq!(status, 200);
    let names = page.lines().filter_map(|line| {
        let link = line.strip_prefix("<a href=\"/commands/")?;
        Some(link.split_once('"')?.0)
    });
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 30, "{page}");
    let guarded = ["flight_recorder", "restore", "shed_connections", "snapshot"];
    let of_all = |name: &&str| !guarded.contains(name);
    for name in names.into_iter().filter(of_all) {
        let told = command(admin, name);
        assert_eq!(told["command"], name);
        let may_fail = matches!(name, "leader" | "set_trace_mask");
        assert!(told["error"].is_null() || may_fail, "{told}");
    }
    let conns = command(admin, "connections");
    let mut wanted = [
        "remote_socket_address",
        "interest_ops",
        "outstanding_requests",
        "packets_received",
        "packets_sent",
        "session_id",
        "last_operation",
        "established",
        "session_timeout",
        "last_cxid",
        "last_zxid",
        "last_response_time",
        "last_latency",
        "min_latency",
        "avg_latency",
        "max_latency",
    ];
    wanted.sort_unstable();
    let mut has = keys(&conns["connections"][0]);
    has.sort_unstable();
    assert_eq!(has, wanted);
    assert_eq!(conns["connections"][0]["session_id"], session);
    assert_eq!(conns["secure_connections"], Value::Array(vec![]));
    let stats = command(admin, "srvr");
    for key in [
        "packets_sent",
        "packets_received",
        "fsync_threshold_exceed_count",
        "client_response_stats",
        "server_state",
        "outstanding_requests",
        "min_latency",
        "avg_latency",
        "max_latency",
        "data_dir_size",
        "log_dir_size",
        "last_processed_zxid",
        "num_alive_client_connections",
        "auth_failed_count",
        "uptime",
    ] {
        assert!(!stats["server_stats"][key].is_null(), "{key}: {stats}");
    }
    assert_eq!(
        stats["server_stats"]["avg_latency"]
            .as_f64()
            .map(f64::is_finite),
        Some(true)
    );
    let dump = command(admin, "dump");
    assert_eq!(
        dump["session_id_to_ephemeral_paths"][session.to_string()][0],
        "/app/e"
    );
    let watches = command(admin, "wchc");
    assert_eq!(
        watches["session_id_to_watched_paths"][session.to_string()][0],
        "/app"
    );
    let by_path = command(admin, "wchp");
    assert_eq!(by_path["path_to_session_ids"]["/app"][0], session);
    assert_eq!(command(admin, "lead")["error"], "server is not initialized");
    assert_eq!(command(admin, "stmk?traceMask=48")["tracemask"], 48);
    assert_eq!(command(admin, "nosuch")["error"], "Unknown command: nosuch");
    // What the file says is told to whoever asks, but its secrets are not.
    for name in ["icfg", "sysp"] {
        let told = command(admin, name).to_string();
        assert!(
            told.contains("(hidden)") && !told.contains("hush"),
            "{told}"
        );
    }
    for (method, path, wanted) in [
        ("TRACE", "/commands", 403),
        ("PUT", "/commands/ruok", 405),
        ("POST", "/commands/ruok", 200),
        ("GET", "/elsewhere", 404),
        ("GET", "/commands/snapshot", 401),
        ("POST", "/commands/snapshot", 405),
        ("POST", "/commands/shed_connections", 401),
        ("GET", "/commands/flight_recorder", 401),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
    ] {
        let status = ask(admin, method, path).map(|(status, ..)| status);
        assert_eq!(status, Some(wanted), "{method} {path}");
    }
}

/// C-60.
#[test]
fn c_60_members_tell_who_leads_how_far_they_are_and_who_is_ready() {
    let ports = free_ports(2);
    let mut cluster = Cluster::new(3, "admin.enableServer=true");
    for (i, port) in ports.iter().enumerate() {
        let file = cluster.data(i).join("zoo.cfg");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("admin.serverPort={port}\n{text}")).unwrap();
    }
    let file = cluster.data(2).join("zoo.cfg");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("enableServer=true", "enableServer=false"),
    )
    .unwrap();
    cluster.start(0);
    let alone = wait_for("a member that looks for others", || {
        ask(ports[0], "GET", "/readyz")
    });
    assert_eq!(alone.0, 503);
    let told = command(ports[0], "ruok");
    assert_eq!(
        told["error"],
        "This ZooKeeper instance is not currently serving requests"
    );
    assert_eq!(command(ports[0], "zabstate")["zabstate"], "election");

    cluster.start(1);
    cluster.start(2);
    let leader = cluster.wait_serving(&[0, 1, 2]);
    for port in &ports {
        let lead = command(*port, "lead");
        assert_eq!(lead["leader_id"], leader as u64 + 1);
        assert_eq!(lead["leader_ip"], "127.0.0.1");
        let zab = command(*port, "zabstate");
        assert_eq!(
            (&zab["zabstate"], &zab["voting"]),
            (&"broadcast".into(), &true.into())
        );
        let view = command(*port, "voting_view");
        assert_eq!(keys(&view["current_config"]), ["1", "2", "3"]);
        assert_eq!(
            ask(*port, "GET", "/readyz").map(|answer| answer.0),
            Some(200)
        );
    }
    members_tell_who_leads_in_words(&cluster, leader);
}

fn members_tell_who_leads_in_words(cluster: &Cluster, leader: usize) {
    let mut client = cluster.client(0);
    client.call(&create("/n", 0)).unwrap().unwrap();
    let mntr = |i: usize, key: &str| {
        let told = cluster.word(i, "mntr")?;
        let line = told
            .lines()
            .find_map(|l| l.strip_prefix(&format!("zk_{key}\t")))?;
        Some(line.to_owned())
    };
    let synced = wait_for("two followers", || {
        mntr(leader, "synced_followers").filter(|synced| synced == "2")
    });
    assert_eq!(synced, "2");
    for (key, wanted) in [
        ("learners", "2"),
        ("synced_observers", "0"),
        ("pending_syncs", "0"),
    ] {
        assert_eq!(mntr(leader, key).as_deref(), Some(wanted), "{key}");
    }
    assert!(mntr(leader, "leader_uptime").is_some());
    let everywhere = [
        "watch_count",
        "open_file_descriptor_count",
        "max_file_descriptor_count",
        "auth_failed_count",
        "connection_drop_count",
        "stale_requests",
        "stale_requests_dropped",
        "throttled_ops",
    ];
    for i in 0..3 {
        for key in everywhere {
            assert!(mntr(i, key).is_some(), "{i}: {key}");
        }
        assert_eq!(mntr(i, "quorum_size").as_deref(), Some("3"));
        // Two may have elected before the third was there, and one of them may have heard it before the other has (D-66).
        let elections: u64 = mntr(i, "cnt_election_time").unwrap().parse().unwrap();
        assert!((1..=2).contains(&elections), "{elections} elections");
        let state = if i == leader {
            "leading - broadcast"
        } else {
            "following - broadcast"
        };
        assert_eq!(mntr(i, "peer_state").as_deref(), Some(state));
        let counted = mntr(i, "learner_proposal_received_count").unwrap();
        assert_eq!(counted == "0", i == leader, "{i}: {counted}");
    }
}

/// Silent and greedy strangers hold little, and keep nobody out.
#[test]
fn strangers_over_http_are_bounded_in_number_time_and_bytes() {
    let (_cluster, admin, _) = server("admin.idleTimeout=20000");
    let silent: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(("127.0.0.1", admin)).unwrap())
        .collect();
    assert_eq!(
        ask(admin, "GET", "/livez").map(|answer| answer.0),
        Some(200)
    );
    // The oldest of them has given way.
    let mut first = &silent[0];
    first
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let ended = first.read(&mut [0]);
    assert!(
        matches!(ended, Ok(0))
            || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    );
    drop(silent);
    let mut greedy = TcpStream::connect(("127.0.0.1", admin)).unwrap();
    greedy
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _ = greedy.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20)).as_bytes());
    let mut answer = Vec::new();
    let _ = greedy.read_to_end(&mut answer);
    assert!(
        !answer.starts_with(b"HTTP/1.1 2"),
        "{}",
        String::from_utf8_lossy(&answer)
    );

    let (_cluster, admin, _) = server("admin.idleTimeout=300");
    let mut slow = TcpStream::connect(("127.0.0.1", admin)).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    slow.write_all(b"GET /commands/ruok HT").unwrap();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "it was closed");
}

/// D-94: ZooKeeper's members go on, too; metrics that were asked for are another thing.
#[test]
fn a_taken_port_of_commands_is_told_and_one_of_metrics_refuses_the_start() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut cluster = Cluster::new(1, &format!("admin.serverPort={port}"));
    let log = cluster.dir.path().join("log");
    cluster.start_logging(0, "info", &log);
    cluster.wait_serving(&[0]);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("no commands over HTTP") && said.contains("admin.enableServer=false"),
        "{said}"
    );
    drop(cluster);
    let lines = format!(
        "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
         metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort={port}"
    );
    let mut cluster = Cluster::new(1, &lines);
    let log = cluster.dir.path().join("log");
    cluster.start_logging(0, "info", &log);
    wait_for("a refused start", || (!cluster.is_running(0)).then_some(()));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("metricsProvider.httpPort"), "{said}");
}
