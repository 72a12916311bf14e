//! What ZooKeeper 3.9.5 answered to captured requests, our server answers too.
//!
//! The captures of `golden/client` that were made with one server alone come from one run of it, in the order below. They are
//! replayed in that order: what a client sent is sent again, and each answer and event is compared with the captured one, field
//! by field. Session ids, passwords and zxids differ from run to run: the first time one is seen it is paired with the live one,
//! and from then on it must be that one again; zxids must also keep their order. Times are compared as present or absent.
//! Lists that a hash map orders are compared sorted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;
use zabra::wire::client::{
    ClientInfo, ConnectRequest, ConnectResponse, MultiResult, RawRequest, ReplyFrame, Request,
    Response, opcode, xid,
};
use zabra_conformance::cluster::Cluster;
use zabra_conformance::raw::Frames;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::stat::Stat;

/// The captures, in the order in which they were made.
const SCENARIOS: [&str; 18] = [
    "connect_basic",
    "connect_no_readonly_byte",
    "connect_variants",
    "connect_trailing_bytes",
    "connect_rejected",
    "reattach",
    "session_expired",
    "create_modes",
    "read_write_ops",
    "error_replies",
    "protocol_oddities",
    "auth",
    "multi",
    "watches",
    "set_watches",
    "close_and_pipelining",
    "quota",
    "sequence_numbers",
];

/// What differs on purpose or is not there yet: line of the capture, and why. An entry that no longer differs is an error too.
const DIFFERENT: &[(&str, &str)] = &[
    // createSession as a request: ZooKeeper makes the session anew and sends a second connect response, without a header.
    ("protocol_oddities:48", CREATE_SESSION),
    ("protocol_oddities:49", CREATE_SESSION),
    ("protocol_oddities:51", CREATE_SESSION),
    // deleteContainer is no client's operation, and SASL without a provider ends the connection.
    ("protocol_oddities:41", "D-36"),
    ("protocol_oddities:43", "D-36"),
    ("protocol_oddities:56", "D-37"),
    ("protocol_oddities:58", "D-37"),
    // A request behind closeSession in one write: ZooKeeper answers it or closes before, as threads happen to run.
    (
        "close_and_pipelining:35",
        "requests behind closeSession are not answered",
    ),
];
const CREATE_SESSION: &str = "createSession is no request of a client, the connection is closed";

/// Where ZooKeeper closes a connection because another one has named its session with a wrong password: ours stays open (D-65).
const STAYS_OPEN: &str = "reattach:23";

/// Answers and events in the captures: a replay that compares fewer has skipped some.
const COMPARED: usize = 426;
const COMPARED_STRINGS: usize = 15;
const COMPARED_SESSIONS: usize = 67;

/// Waiting for what must come; an expiring session needs its timeout.
const ANSWER: Duration = Duration::from_secs(10);
/// Waiting for what must not come.
const SILENCE: Duration = Duration::from_millis(200);

/// What the captured run and the live run call the same thing.
#[derive(Default)]
struct Names {
    sessions: BTreeMap<i64, i64>,
    passwords: BTreeMap<Vec<u8>, Vec<u8>>,
    zxids: BTreeMap<u64, u64>,
}

impl Names {
    fn session(&mut self, then: i64, now: i64, what: &str) -> Result<()> {
        ensure!(
            (then == 0) == (now == 0),
            "{what}: session {then:#x} then, {now:#x} now"
        );
        if then != 0 {
            let paired = *self.sessions.entry(then).or_insert(now);
            ensure!(
                paired == now,
                "{what}: session {then:#x} was {paired:#x} before, {now:#x} now"
            );
        }
        Ok(())
    }

    fn zxid(&mut self, then: Zxid, now: Zxid, what: &str) -> Result<()> {
        let (then, now) = (then.0 as i64, now.0 as i64);
        if then <= 0 || now <= 0 {
            ensure!(then == now, "{what}: zxid {then:#x} then, {now:#x} now");
            return Ok(());
        }
        let (then, now) = (then as u64, now as u64);
        if let Some(paired) = self.zxids.get(&then) {
            ensure!(
                *paired == now,
                "{what}: zxid {then:#x} was {paired:#x} before, {now:#x} now"
            );
            return Ok(());
        }
        let before = self.zxids.range(..then).next_back();
        let after = self.zxids.range(then..).next();
        ensure!(
            before.is_none_or(|(_, b)| *b < now) && after.is_none_or(|(_, a)| now < *a),
            "{what}: zxid {then:#x} then, {now:#x} now, but {before:x?} and {after:x?}"
        );
        self.zxids.insert(then, now);
        Ok(())
    }

    fn stat(&mut self, then: &Stat, now: &Stat) -> Result<()> {
        self.zxid(then.czxid, now.czxid, "czxid")?;
        self.zxid(then.mzxid, now.mzxid, "mzxid")?;
        self.zxid(then.pzxid, now.pzxid, "pzxid")?;
        self.session(then.ephemeral_owner, now.ephemeral_owner, "ephemeralOwner")?;
        equal(then.ctime == 0, now.ctime == 0, "ctime is 0")?;
        equal(then.mtime == 0, now.mtime == 0, "mtime is 0")?;
        let plain = |s: &Stat| {
            (
                s.version,
                s.cversion,
                s.aversion,
                s.data_length,
                s.num_children,
            )
        };
        equal(
            plain(then),
            plain(now),
            "(version, cversion, aversion, dataLength, numChildren)",
        )
    }

    fn response(&mut self, then: &Response, now: &Response) -> Result<()> {
        use Response::{Acl, Children, Data, Multi, PathStat, WhoAmI};
        match (then, now) {
            (PathStat(a, s), PathStat(b, t)) => {
                equal(a, b, "path")?;
                self.stat(s, t)
            }
            (Response::Stat(s), Response::Stat(t)) => self.stat(s, t),
            (Data(a, s), Data(b, t)) => {
                equal(a, b, "data")?;
                self.stat(s, t)
            }
            (Acl(a, s), Acl(b, t)) => {
                let set = |acl: &Vec<_>| acl.iter().cloned().collect::<BTreeSet<_>>();
                equal(set(a), set(b), "acl")?;
                self.stat(s, t)
            }
            (Children(a, s), Children(b, t)) => {
                self.children(a, b)?;
                match (s, t) {
                    (Some(s), Some(t)) => self.stat(s, t),
                    _ => equal(s.is_some(), t.is_some(), "a Stat"),
                }
            }
            (Multi(a), Multi(b)) => {
                equal(a.len(), b.len(), "results of the multi")?;
                let mut pairs = a.iter().zip(b);
                pairs.try_for_each(|(a, b)| self.multi_result(a, b))
            }
            (WhoAmI(a), WhoAmI(b)) => {
                let set = |who: &Vec<ClientInfo>| -> BTreeSet<_> {
                    who.iter()
                        .map(|w| (w.scheme.clone(), w.user.clone()))
                        .collect()
                };
                equal(set(a), set(b), "whoAmI")
            }
            _ => equal(then, now, "response"),
        }
    }

    fn children(&mut self, then: &[Box<str>], now: &[Box<str>]) -> Result<()> {
        let sorted = |list: &[Box<str>]| list.iter().cloned().collect::<BTreeSet<_>>();
        equal(then.len(), now.len(), "how many children")?;
        equal(sorted(then), sorted(now), "children")
    }

    fn multi_result(&mut self, then: &MultiResult, now: &MultiResult) -> Result<()> {
        // Fields that differ from run to run stand in Stats; everything else must be the same.
        match (stat_of(then), stat_of(now)) {
            (Some(s), Some(t)) => self.stat(s, t)?,
            (s, t) => equal(s.is_some(), t.is_some(), "a Stat")?,
        }
        equal(without_stat(then), without_stat(now), "result in a multi")
    }

    fn reply(&mut self, then: &Bytes, now: &Bytes, asked: &mut VecDeque<(i32, i32)>) -> Result<()> {
        let (a, b) = (ReplyFrame::split(then)?, ReplyFrame::split(now)?);
        equal(a.header.xid, b.header.xid, "xid")?;
        equal(a.header.err, b.header.err, "err")?;
        self.zxid(a.header.zxid, b.header.zxid, "zxid of the header")?;
        if a.header.xid == xid::EVENT && a.header.err == 0 && a.record.len() > 8 {
            return equal(a.decode_event()?, b.decode_event()?, "event");
        }
        let (_, op) = asked.pop_front().context("an answer to nothing")?;
        self.response(&a.decode(op)?, &b.decode(op)?)
    }

    fn connected(&mut self, then: &Bytes, now: &Bytes) -> Result<()> {
        let (a, b) = (
            ConnectResponse::decode(then)?,
            ConnectResponse::decode(now)?,
        );
        equal(a.timeout_ms, b.timeout_ms, "timeout")?;
        equal(a.read_only, b.read_only, "readOnly")?;
        equal(then.len(), now.len(), "length")?;
        self.session(a.session.0, b.session.0, "connect response")?;
        self.passwords
            .insert(a.password.to_vec(), b.password.to_vec());
        Ok(())
    }

    /// The captured request with the live run's names in it.
    fn connect_request(&self, body: &Bytes, raw: &[u8]) -> Vec<u8> {
        let Ok(mut request) = ConnectRequest::decode(body) else {
            return raw.to_vec();
        };
        if let Some(now) = self.sessions.get(&request.session.0) {
            request.session = SessionId(*now);
        }
        if let Some(password) = &request.password
            && let Some(now) = self.passwords.get(password.as_ref())
        {
            request.password = Some(Bytes::from(now.clone()));
        }
        if let Some(now) = self.zxids.get(&request.last_zxid_seen.0) {
            request.last_zxid_seen = Zxid(*now);
        }
        let mut out = BytesMut::new();
        request.put(&mut out);
        // What stood behind the record stays there.
        let mut out = out.to_vec();
        out.extend_from_slice(raw.get(out.len()..).unwrap_or_default());
        out[..4].copy_from_slice(&raw[..4]);
        out
    }

    fn request(&self, raw: &[u8], request: &RawRequest) -> Vec<u8> {
        let Ok(Request::SetWatches(mut watches)) = request.decode() else {
            return raw.to_vec();
        };
        if let Some(now) = self.zxids.get(&watches.relative_zxid.0) {
            watches.relative_zxid = Zxid(*now);
        }
        let mut out = BytesMut::new();
        Request::SetWatches(watches).put(request.header.xid, &mut out);
        out.to_vec()
    }
}

fn equal<T: PartialEq + Debug>(then: T, now: T, what: &str) -> Result<()> {
    ensure!(then == now, "{what}: ZooKeeper {then:?}, we {now:?}");
    Ok(())
}

fn stat_of(result: &MultiResult) -> Option<&Stat> {
    match result {
        MultiResult::Create2 { stat, .. }
        | MultiResult::SetData { stat }
        | MultiResult::GetData { stat, .. } => Some(stat),
        _ => None,
    }
}

fn without_stat(result: &MultiResult) -> MultiResult {
    let mut result = result.clone();
    if let MultiResult::Create2 { stat, .. }
    | MultiResult::SetData { stat }
    | MultiResult::GetData { stat, .. } = &mut result
    {
        *stat = Stat::default();
    }
    if let MultiResult::GetChildren { children } = &mut result {
        children.sort();
    }
    result
}

/// One connection of a scenario.
struct Connection {
    frames: Frames,
    requested: bool,
    connected: bool,
    asked: VecDeque<(i32, i32)>,
}

/// The replay of one scenario.
struct Replay<'a> {
    port: u16,
    names: &'a mut Names,
    connections: BTreeMap<String, Connection>,
    compared: usize,
}

impl Replay<'_> {
    fn line(&mut self, line: &Value) -> Result<()> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or("");
        let name = text("conn").to_owned();
        let raw = unhex(text("hex"));
        if text("dir") == "event" {
            return self.event(&name, text("note"));
        }
        let connection = self
            .connections
            .get_mut(&name)
            .context("no such connection")?;
        let body = Bytes::copy_from_slice(raw.get(4..).unwrap_or_default());
        if text("dir") == "c2s" {
            let is_whole = raw
                .get(..4)
                .is_some_and(|l| l == (raw.len() as u32 - 4).to_be_bytes());
            let sent = if !is_whole {
                raw
            } else if !connection.requested {
                self.names.connect_request(&body, &raw)
            } else {
                match RawRequest::split(&body) {
                    Ok(request) => {
                        connection
                            .asked
                            .push_back((request.header.xid, request.header.opcode));
                        self.names.request(&raw, &request)
                    }
                    Err(_) => raw,
                }
            };
            connection.requested = true;
            return connection.frames.send(&sent);
        }
        let live = connection
            .frames
            .receive(ANSWER)?
            .context("the connection is closed instead of an answer")?;
        self.compared += 1;
        let answers_session = connection
            .asked
            .front()
            .is_some_and(|(_, op)| *op == opcode::CREATE_SESSION);
        if !connection.connected || (answers_session && body.len() > 16) {
            connection.connected = true;
            return self.names.connected(&body, &live);
        }
        self.names.reply(&body, &live, &mut connection.asked)
    }

    fn event(&mut self, name: &str, what: &str) -> Result<()> {
        if what == "tcp connect" {
            let connection = Connection {
                frames: Frames::connect(self.port)?,
                requested: false,
                connected: false,
                asked: VecDeque::new(),
            };
            self.connections.insert(name.to_owned(), connection);
            return Ok(());
        }
        let connection = self
            .connections
            .get_mut(name)
            .context("no such connection")?;
        if what == "server closed the connection" || what == "TCP FIN from server" {
            let more = connection.frames.receive(ANSWER)?;
            ensure!(more.is_none(), "{more:x?} instead of a closed connection");
        } else if what == "client closes the TCP socket" || what == "TCP FIN from client" {
            self.connections.remove(name);
        } else if what.starts_with("no reply within") {
            let more = connection.frames.receive(SILENCE);
            ensure!(more.is_err(), "{more:x?} instead of no reply");
        } else {
            bail!("an event that this test does not know: {what}");
        }
        Ok(())
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

/// Replays scenarios on one server that begins empty; how many answers and events were compared.
fn replay(settings: &[(&str, &str)], scenarios: &[&str]) -> usize {
    let mut cluster = Cluster::start(1, settings).unwrap();
    let mut names = Names::default();
    let mut wrong = vec![];
    let mut compared = 0;
    for scenario in scenarios {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/client");
        let text = std::fs::read_to_string(folder.join(format!("{scenario}.jsonl"))).unwrap();
        let mut replay = Replay {
            port: cluster.servers[0].client_port,
            names: &mut names,
            connections: BTreeMap::new(),
            compared: 0,
        };
        // The first line says where the capture comes from.
        for (i, line) in text.lines().enumerate().skip(1) {
            let place = format!("{scenario}:{}", i + 1);
            let known = DIFFERENT.iter().find(|(at, _)| *at == place);
            let mut line: Value = serde_json::from_str(line).unwrap();
            if place == STAYS_OPEN {
                assert_eq!(line["note"], "server closed the connection");
                line["note"] = "no reply within a moment".into();
            }
            match (replay.line(&line), known) {
                (Ok(()), None) | (Err(_), Some(_)) => {}
                (Ok(()), Some((_, why))) => wrong.push(format!(
                    "{place} no longer differs ({why}): remove it from the list"
                )),
                (Err(e), None) => wrong.push(format!("{place}: {e:#}")),
            }
        }
        compared += replay.compared;
    }
    cluster.all_alive().unwrap();
    eprintln!("{compared} answers and events compared");
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    compared
}

#[test]
fn captured_requests_are_answered_as_zookeeper_answered_them() {
    let settings = [
        ("tickTime", "1000"),
        ("minSessionTimeout", "1000"),
        ("extendedTypesEnabled", "true"),
        ("enforceQuota", "true"),
        // super:adm
        (
            "DigestAuthenticationProvider.superDigest",
            "super:r6E2C++zNwVMDz3XvPehmL0jqnY=",
        ),
    ];
    assert_eq!(replay(&settings, &SCENARIOS), COMPARED);
}

#[test]
fn strings_that_are_no_utf_8_are_answered_as_zookeeper_answered_them() {
    assert_eq!(replay(&[], &["string_encoding"]), COMPARED_STRINGS);
}

#[test]
fn sessions_of_kazoo_and_of_the_java_shell_are_answered_as_zookeeper_answered_them() {
    let sessions = ["kazoo_session", "java_cli_session"];
    let settings = [("extendedTypesEnabled", "true"), ("enforceQuota", "true")];
    assert_eq!(replay(&settings, &sessions), COMPARED_SESSIONS);
}
