//! What servers tell of themselves: by four-letter words, and where those are not allowed by commands over HTTP. Ours and ZooKeeper's.

use super::super::http::{Server, keep};
use super::super::status::word;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What one server may say to one question.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Of the clients of one server so many are looked at.
const CLIENTS_MAX: usize = 10_000;

/// A server that is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    /// Where it takes clients.
    pub(super) port: u16,
    /// Where it takes commands over HTTP, if it may.
    pub(super) commands: Option<String>,
}

impl Target {
    pub(super) fn name(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// What a server says of itself at one moment.
#[derive(Clone, Default, Debug, Serialize)]
pub(super) struct Seen {
    pub(super) server: String,
    /// As what it serves; none: it does not.
    pub(super) state: Option<String>,
    pub(super) zxid: Option<String>,
    pub(super) epoch: Option<u64>,
    /// Transactions that a server of the same epoch has, and this one has not.
    pub(super) behind: Option<u64>,
    /// Since the last look; none at the first.
    pub(super) requests_per_second: Option<f64>,
    pub(super) latency_avg_ms: Option<f64>,
    pub(super) latency_max_ms: Option<f64>,
    pub(super) read_p99_ms: Option<f64>,
    pub(super) write_p99_ms: Option<f64>,
    pub(super) sync_avg_ms: Option<f64>,
    pub(super) sync_max_ms: Option<f64>,
    pub(super) connections: Option<u64>,
    pub(super) watches: Option<u64>,
    pub(super) nodes: Option<u64>,
    pub(super) outstanding: Option<u64>,
    pub(super) elections: Option<u64>,
    /// Why nothing, or not all, is known.
    pub(super) error: Option<String>,
    #[serde(skip)]
    pub(super) counter: u64,
    #[serde(skip)]
    pub(super) received: Option<u64>,
    #[serde(skip)]
    pub(super) clients: Vec<Client>,
}

/// A connection of a client.
#[derive(Clone, Default, Debug, PartialEq, Serialize)]
pub(super) struct Client {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) session: Option<String>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) last_operation: Option<String>,
    pub(super) outstanding: u64,
    pub(super) latency_avg_ms: u64,
    pub(super) latency_max_ms: u64,
    pub(super) received: u64,
}

/// All servers at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) servers: Vec<Seen>,
}

/// Asks all of them at the same time.
pub(super) fn look(targets: &[Target], patience: Duration, before: Option<&Look>) -> Look {
    let at = Instant::now();
    let ask = |target: &Target| of(target, patience);
    let mut servers: Vec<Seen> = std::thread::scope(|scope| {
        let asked = targets
            .iter()
            .map(|target| scope.spawn(move || ask(target)));
        let asked: Vec<_> = asked.collect();
        let seen = asked.into_iter().zip(targets);
        let seen = seen.map(|(asked, target)| {
            asked.join().unwrap_or_else(|_| Seen {
                server: target.name(),
                error: Some("our bug; please report this".into()),
                ..Seen::default()
            })
        });
        seen.collect()
    });
    compare(&mut servers, before.map(|before| (before, at)));
    Look { at, servers }
}

/// What follows from several servers, and from the look before.
fn compare(servers: &mut [Seen], before: Option<(&Look, Instant)>) {
    let newest = servers
        .iter()
        .filter_map(|s| Some((s.epoch?, s.counter)))
        .max();
    for (at, seen) in servers.iter_mut().enumerate() {
        if let (Some((epoch, counter)), Some(own)) = (newest, seen.epoch) {
            seen.behind = (own == epoch).then(|| counter.saturating_sub(seen.counter));
        }
        let Some((look, now)) = before else { continue };
        let seconds = now.saturating_duration_since(look.at).as_secs_f64();
        let Some(old) = look.servers.get(at).filter(|_| seconds > 0.0) else {
            continue;
        };
        let rate = |now: u64, then: u64| (now >= then).then(|| (now - then) as f64 / seconds);
        seen.requests_per_second = seen
            .received
            .zip(old.received)
            .and_then(|(now, then)| rate(now, then));
        let then: BTreeMap<_, _> = old
            .clients
            .iter()
            .map(|client| ((&client.client, &client.session), client.received))
            .collect();
        for client in &mut seen.clients {
            let then = then.get(&(&client.client, &client.session)).copied();
            client.requests_per_second = rate(client.received, then.unwrap_or(0));
        }
    }
}

fn of(target: &Target, patience: Duration) -> Seen {
    let mut seen = Seen {
        server: target.name(),
        ..Seen::default()
    };
    let ask = |what: &str| word(&target.host, target.port, what, patience, ANSWER_BYTES_MAX);
    match ask("srvr") {
        Ok(answer) => srvr(&answer, &mut seen),
        Err(error) => {
            seen.error = Some(error.to_string());
            return seen;
        }
    }
    let http = |command: &str| -> Option<Value> {
        let server = Server {
            silence: patience,
            ..Server::new(target.commands.as_deref()?, None)
        };
        let mut told = Vec::new();
        let taken = server.get(command, &mut |_, piece| {
            keep(&mut told, piece);
            Ok(())
        });
        taken.ok()?;
        let answer: Value = serde_json::from_slice(&told).ok()?;
        answer["error"].is_null().then_some(answer)
    };
    let told = ask("mntr").ok().map(|answer| mntr(&answer));
    let told = told.filter(|told| !told.is_empty());
    match told.or_else(|| Some(numbers(&http("monitor")?))) {
        Some(told) => measured(&told, &mut seen),
        None if seen.state.is_some() => {
            seen.error = Some(
                "neither mntr (4lw.commands.whitelist) nor /commands/monitor is answered: no times"
                    .into(),
            );
        }
        None => {}
    }
    let name = target.name();
    let cons = ask("cons").ok().filter(|answer| is_allowed(answer));
    seen.clients = match cons {
        Some(answer) => answer
            .lines()
            .filter_map(|line| client(line, &name))
            .take(CLIENTS_MAX)
            .collect(),
        None => http("connections").map_or_else(Vec::new, |answer| connections(&answer, &name)),
    };
    seen
}

fn is_allowed(answer: &str) -> bool {
    !answer.contains("is not executed because it is not in the whitelist")
}

/// `srvr`, which every server answers by default.
fn srvr(answer: &str, seen: &mut Seen) {
    if !is_allowed(answer) {
        seen.error = Some("srvr is not in its 4lw.commands.whitelist".into());
        return;
    }
    for (key, value) in answer.lines().filter_map(|line| line.split_once(": ")) {
        let value = value.trim();
        match key {
            "Mode" => seen.state = Some(value.to_owned()),
            "Zxid" => {
                let number = value.strip_prefix("0x").unwrap_or(value);
                if let Ok(zxid) = u64::from_str_radix(number, 16) {
                    seen.epoch = Some(zxid >> 32);
                    seen.counter = zxid & 0xffff_ffff;
                    seen.zxid = Some(value.to_owned());
                }
            }
            "Received" => seen.received = value.parse().ok(),
            "Connections" => seen.connections = value.parse().ok(),
            "Outstanding" => seen.outstanding = value.parse().ok(),
            "Node count" => seen.nodes = value.parse().ok(),
            "Latency min/avg/max" => {
                let mut parts = value.split('/').skip(1).map(str::parse);
                seen.latency_avg_ms = parts.next().and_then(Result::ok);
                seen.latency_max_ms = parts.next().and_then(Result::ok);
            }
            _ => {}
        }
    }
    if seen.state.is_none() {
        let first = answer.lines().next().unwrap_or_default();
        let first: String = first
            .chars()
            .filter(|c| !c.is_control())
            .take(120)
            .collect();
        seen.error = Some(if first.is_empty() {
            "it answers nothing".into()
        } else {
            first
        });
    }
}

fn mntr(answer: &str) -> BTreeMap<String, f64> {
    let lines = answer.lines().filter_map(|line| {
        let (key, value) = line.split_once('\t')?;
        let key = key.strip_prefix("zk_").unwrap_or(key);
        Some((key.to_owned(), value.trim().parse().ok()?))
    });
    lines.collect()
}

fn numbers(answer: &Value) -> BTreeMap<String, f64> {
    let entries = answer.as_object().into_iter().flatten();
    let entries = entries.filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)));
    entries.collect()
}

/// What `mntr` and `monitor` have, and `srvr` has not.
fn measured(told: &BTreeMap<String, f64>, seen: &mut Seen) {
    let of = |name: &str| told.get(name).copied();
    // With an exporter for Prometheus the names have its form.
    let p99 = |name: &str| {
        of(&format!("p99_{name}")).or_else(|| of(&format!("{name}{{quantile=\"0.99\"}}")))
    };
    let whole = |name: &str| of(name).map(|n| n as u64);
    seen.read_p99_ms = p99("readlatency");
    seen.write_p99_ms = p99("updatelatency");
    seen.sync_avg_ms = of("avg_fsynctime")
        .or_else(|| Some(of("fsynctime_sum")? / of("fsynctime_count")?.max(1.0)));
    seen.sync_max_ms = of("max_fsynctime");
    seen.watches = whole("watch_count");
    seen.elections = whole("cnt_election_time").or_else(|| whole("election_time_count"));
    if let Some(received) = whole("packets_received") {
        seen.received = Some(received);
    }
}

/// A line of `cons`: ` /127.0.0.1:4711[1](queued=0,recved=5,…)`.
fn client(line: &str, server: &str) -> Option<Client> {
    let line = line.trim().strip_prefix('/')?;
    let (from, rest) = line.rsplit_once('(')?;
    let facts: BTreeMap<&str, &str> = rest
        .trim_end_matches(')')
        .split(',')
        .filter_map(|fact| fact.split_once('='))
        .collect();
    let number = |key: &str| {
        facts
            .get(key)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    };
    // Who asks this is one of them, without a session.
    let session = facts.get("sid").map(|&sid| sid.to_owned())?;
    Some(Client {
        client: from
            .rsplit_once('[')
            .map_or(from, |(from, _)| from)
            .to_owned(),
        server: server.to_owned(),
        session: Some(session),
        requests_per_second: None,
        last_operation: facts.get("lop").map(|&lop| lop.to_owned()),
        outstanding: number("queued"),
        latency_avg_ms: number("avglat"),
        latency_max_ms: number("maxlat"),
        received: number("recved"),
    })
}

fn connections(answer: &Value, server: &str) -> Vec<Client> {
    let lists = ["connections", "secure_connections"];
    let all = lists
        .iter()
        .filter_map(|list| answer[list].as_array())
        .flatten();
    let all = all.filter_map(|of| {
        let text = |key: &str| of[key].as_str().map(str::to_owned);
        let number = |key: &str| of[key].as_u64().unwrap_or(0);
        let session = of["session_id"].as_i64()?;
        Some(Client {
            client: text("remote_socket_address")?
                .trim_start_matches('/')
                .to_owned(),
            server: server.to_owned(),
            session: Some(format!("0x{session:x}")),
            requests_per_second: None,
            last_operation: text("last_operation"),
            outstanding: number("outstanding_requests"),
            latency_avg_ms: number("avg_latency"),
            latency_max_ms: number("max_latency"),
            received: number("packets_received"),
        })
    });
    all.take(CLIENTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR: &str = "Zookeeper version: 3.9.5, built on x\nLatency min/avg/max: 0/1.5/20\nReceived: 30\nSent: 29\nConnections: 2\nOutstanding: 1\nZxid: 0x30000000a\nMode: follower\nNode count: 5\n";

    fn seen(zxid: &str) -> Seen {
        let mut seen = Seen::default();
        srvr(&SRVR.replace("0x30000000a", zxid), &mut seen);
        seen
    }

    #[test]
    fn what_servers_say_is_read() {
        let mut one = seen("0x30000000a");
        assert_eq!(
            (one.state.as_deref(), one.epoch, one.counter),
            (Some("follower"), Some(3), 10)
        );
        assert_eq!(
            (one.received, one.connections, one.outstanding, one.nodes),
            (Some(30), Some(2), Some(1), Some(5))
        );
        assert_eq!(
            (one.latency_avg_ms, one.latency_max_ms),
            (Some(1.5), Some(20.0))
        );
        measured(
            &mntr(
                "zk_version\t3.9.5\nzk_p99_readlatency\t7\nzk_avg_fsynctime\t1.25\nzk_watch_count\t4\nzk_cnt_election_time\t2\nzk_packets_received\t31\n",
            ),
            &mut one,
        );
        assert_eq!(
            (
                one.read_p99_ms,
                one.sync_avg_ms,
                one.watches,
                one.elections,
                one.received
            ),
            (Some(7.0), Some(1.25), Some(4), Some(2), Some(31))
        );
        let line = " /127.0.0.1:4711[1](queued=3,recved=5,sent=5,sid=0x1a,lop=GETD,est=1,to=30000,lcxid=0x1,lzxid=0x2,lresp=3,llat=0,minlat=0,avglat=1,maxlat=9)";
        let of_line = client(line, "a:1").unwrap();
        let json = serde_json::json!({"connections": [{"remote_socket_address": "127.0.0.1:4711", "session_id": 26, "last_operation": "GETD",
            "outstanding_requests": 3, "packets_received": 5, "avg_latency": 1, "max_latency": 9}], "secure_connections": [{"remote_socket_address": "b"}]});
        assert_eq!(connections(&json, "a:1"), [of_line]);
        assert_eq!(
            client(" /127.0.0.1:5[0](queued=0,recved=1,sent=0)", "a:1"),
            None
        );
        let mut silent = Seen::default();
        srvr(
            "This ZooKeeper instance is not currently serving requests\n",
            &mut silent,
        );
        assert!(silent.error.unwrap().contains("not currently serving"));
    }

    #[test]
    fn who_is_behind_and_how_much_was_asked_for_follows_from_all_and_from_the_look_before() {
        let at = Instant::now();
        let mut before = vec![seen("0x300000001")];
        before[0].clients = vec![Client {
            client: "c".into(),
            received: 10,
            ..Client::default()
        }];
        let before = Look {
            at,
            servers: before,
        };
        let mut now = vec![
            seen("0x30000000a"),
            seen("0x300000004"),
            seen("0x2000000ff"),
            Seen::default(),
        ];
        now[0].received = Some(230);
        now[0].clients = vec![Client {
            client: "c".into(),
            received: 30,
            ..Client::default()
        }];
        compare(&mut now, Some((&before, at + Duration::from_secs(2))));
        let behind: Vec<_> = now.iter().map(|seen| seen.behind).collect();
        assert_eq!(behind, [Some(0), Some(6), None, None]);
        assert_eq!(now[0].requests_per_second, Some(100.0));
        assert_eq!(now[0].clients[0].requests_per_second, Some(10.0));
        assert_eq!(now[1].requests_per_second, None, "it is new");
    }
}
