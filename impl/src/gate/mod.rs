//! The replay harness's hand on a server: timers run out and writes become durable only when it says so.
//!
//! JSON lines over one TCP connection to `ZABRA_GATE`. The server says `{"event":"armed"|"disarmed","timer":…}`, and
//! answers each command when everything that followed from it has been handed to disk and sockets:
//!
//! ```text
//! {"cmd":"fire","timer":"Tick"}  → {"event":"fired","timer":"Tick","was_armed":true}
//! {"cmd":"release","n":2}        → {"event":"released","pending_writes":0}
//! {"cmd":"propose"}              → {"event":"proposed","zxid":…}; null where nobody leads
//! {"cmd":"snapshot"}             → {"event":"snapshot","zxid":…} when it has its name; null where there is none
//! {"cmd":"state"}                → {"event":"state","role":…, …}
//! ```
//! Each write that the protocol asks for is said as `{"event":"write","kind":…,"value":…}`. `state` also counts what has been
//! handed to sockets, so that the harness knows when it has seen all of it.
//!
//! All servers know each other by the addresses of the harness, which stands between them: where a server listens itself,
//! `ZABRA_GATE_LISTEN` says, as `QUORUMPORT:ELECTIONPORT`.
//!
//! Only in builds with the feature `gate`, never in a release.

use crate::client::lock::lock;
use crate::config::Config;
use crate::core::asked::{Snapped, Told};
use crate::core::event::Event;
use crate::core::out::{Outputs, Told as Tale};
use crate::core::turn::Core;
use crate::error::ServerError;
use crate::runtime::driver::Edges;
use crate::runtime::inbox::Inbox;
use crate::storage::worker::Op;
use crate::wire::snapshot::tree::open_acl;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zabra_model::step::Timer;
use zabra_model::tree::path::CONFIG;
use zabra_model::tree::txn::{Created, Txn};

/// What the harness wants.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Command {
    /// A timer runs out.
    Fire {
        /// Its name.
        timer: String,
    },
    /// So many more writes may become durable.
    Release {
        /// How many.
        n: usize,
    },
    /// A client's write.
    Propose,
    /// An operator's snapshot.
    Snapshot,
    /// Tell what the core knows.
    State,
}

/// The connection to the harness.
pub struct Gate {
    say: mpsc::UnboundedSender<Value>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    /// Operations of the disk that have not been let through.
    held: VecDeque<(u64, Op)>,
    /// How many more of the protocol's may pass.
    allowed: usize,
    /// How many of others have passed.
    extras: u64,
}

/// The configuration with the ports at which this server listens, where those that others know are the harness's.
///
/// # Errors
/// [`ServerError::Dev`].
pub fn listening(config: &Config) -> Result<Config, ServerError> {
    let mut config = config.clone();
    if let (Ok(said), Some(own)) = (std::env::var("ZABRA_GATE_LISTEN"), &mut config.own) {
        let ports = said
            .split_once(':')
            .and_then(|(quorum, election)| Some((quorum.parse().ok()?, election.parse().ok()?)));
        (own.quorum_port, own.election_port) =
            ports.ok_or_else(|| ServerError::Dev(format!("ZABRA_GATE_LISTEN={said}")))?;
    }
    Ok(config)
}

/// Whether a harness wants to hold this server.
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os("ZABRA_GATE").is_some()
}

impl Gate {
    /// Connects, if `ZABRA_GATE` says where to.
    ///
    /// # Errors
    /// [`ServerError::Dev`].
    pub async fn connect(inbox: Arc<Inbox>) -> Result<Option<Self>, ServerError> {
        let Ok(addr) = std::env::var("ZABRA_GATE") else {
            return Ok(None);
        };
        let stream = TcpStream::connect(&addr)
            .await
            .map_err(|e| ServerError::Dev(format!("ZABRA_GATE={addr}: {e}")))?;
        // Each event is a short line of its own, and the harness waits for it.
        let _ = stream.set_nodelay(true);
        let (reader, mut writer) = stream.into_split();
        let (say, mut said) = mpsc::unbounded_channel::<Value>();
        tokio::spawn(async move {
            while let Some(value) = said.recv().await {
                let line = format!("{value}\n");
                if writer.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let answer = say.clone();
        let commands = Arc::new(Mutex::new(VecDeque::new()));
        let asked = Arc::clone(&commands);
        tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(command) => {
                        lock(&asked).push_back(command);
                        inbox.poke();
                    }
                    Err(error) => {
                        drop(answer.send(json!({"event": "error", "what": error.to_string()})))
                    }
                }
            }
            // Without its harness a held server would hang for ever.
            inbox.push(Event::Shutdown, 0);
        });
        Ok(Some(Self {
            say,
            commands,
            held: VecDeque::new(),
            allowed: 0,
            extras: 0,
        }))
    }

    /// Says something; if the harness has gone, `Shutdown` is under way.
    fn say(&self, value: Value) {
        let _ = self.say.send(value);
    }

    /// Keeps the disk's operations back but for those that may pass, and tells of what the core did.
    fn hold(&mut self, out: &mut Outputs) {
        self.held.extend(out.disk.drain(..));
        // What belongs to no write of the protocol goes with the one behind it, or at once if nothing is before it.
        while let Some((token, _)) = self.held.front() {
            let is_write = Core::is_write(*token);
            let is_awaited = self.held.iter().any(|(token, _)| Core::is_write(*token));
            if is_awaited && self.allowed == 0 {
                break;
            }
            self.allowed -= usize::from(is_write);
            self.extras += u64::from(!is_write);
            out.disk.extend(self.held.pop_front());
        }
        for told in out.told.drain(..) {
            let value = match told {
                Tale::Armed(timer) => json!({"event": "armed", "timer": format!("{timer:?}")}),
                Tale::Disarmed(timer) => {
                    json!({"event": "disarmed", "timer": format!("{timer:?}")})
                }
                Tale::Write(kind, value) => {
                    json!({"event": "write", "kind": kind, "value": value})
                }
                Tale::Refused(_) => continue, // the replay compares what is said and written
            };
            let _ = self.say.send(value);
        }
    }
}

fn timer_of(name: &str) -> Option<Timer> {
    [Timer::Finalize, Timer::Resend, Timer::Init, Timer::Tick]
        .into_iter()
        .find(|t| format!("{t:?}") == name)
}

/// A core and its edges, driven by a harness.
struct Held {
    core: Core,
    edges: Edges,
    gate: Gate,
    out: Box<Outputs>,
}

/// Runs a core until it is told to stop: timers run out and writes become durable only when the harness says so.
///
/// # Errors
/// As [`crate::runtime::driver::run`].
pub async fn run(core: Core, edges: Edges, gate: Gate) -> Result<(), ServerError> {
    let out = Box::default();
    let mut held = Held {
        core,
        edges,
        gate,
        out,
    };
    let mut events = Vec::new();
    loop {
        held.turn(&mut events)?;
        loop {
            let command = lock(&held.gate.commands).pop_front();
            let Some(command) = command else { break };
            held.obey(command)?;
        }
        if held.out.ended {
            return Ok(());
        }
        held.edges.wait(&mut events, u64::from(u32::MAX)).await;
    }
}

impl Held {
    /// One turn, and what it asks for.
    fn turn(&mut self, events: &mut Vec<Event>) -> Result<(), ServerError> {
        if self.out.ended {
            return Ok(());
        }
        self.core.turn(self.edges.now(), events, &mut self.out)?;
        self.gate.hold(&mut self.out);
        self.edges.carry_out(&mut self.out);
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<(), ServerError> {
        let answer = match command {
            Command::Fire { timer: name } => {
                let timer = timer_of(&name).filter(|t| self.core.armed().any(|armed| armed == *t));
                if let Some(timer) = timer {
                    self.turn(&mut vec![Event::Fired(timer)])?;
                }
                json!({"event": "fired", "timer": name, "was_armed": timer.is_some()})
            }
            Command::Release { n } => {
                self.gate.allowed = self.gate.allowed.saturating_add(n);
                self.gate.hold(&mut self.out);
                self.edges.carry_out(&mut self.out);
                json!({"event": "released", "pending_writes": self.pending()})
            }
            Command::Propose => {
                let zxid = self.core.next_proposal().map(|zxid| zxid.0);
                if let Some(zxid) = zxid {
                    self.turn(&mut vec![Event::Propose(own_node(zxid))])?;
                }
                json!({"event": "proposed", "zxid": zxid})
            }
            Command::Snapshot => {
                let say = self.gate.say.clone();
                let told = Told::new(move |snapped| {
                    let zxid = snapped.ok().map(|snapped: Snapped| snapped.zxid.0);
                    let _ = say.send(json!({"event": "snapshot", "zxid": zxid}));
                });
                return self.turn(&mut vec![Event::SnapshotAsked(told)]);
            }
            Command::State => {
                self.turn(&mut vec![Event::Settle])?;
                self.state()
            }
        };
        self.gate.say(answer);
        Ok(())
    }

    /// Writes that were asked for and have not passed.
    fn pending(&self) -> usize {
        let held = self
            .gate
            .held
            .iter()
            .filter(|(token, _)| Core::is_write(*token));
        held.count() + self.core.writes_waiting()
    }

    fn state(&self) -> Value {
        let (core, peer) = (&self.core, self.core.peer());
        let durable = peer.durable();
        let armed: Vec<String> = core.armed().map(|t| format!("{t:?}")).collect();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let votes = self.edges.mesh.as_ref().map(|mesh| mesh.sent());
        json!({
            "event": "state",
            "inputs_stepped": core.steps(),
            "extras_passed": self.gate.extras,
            "role": format!("{:?}", peer.state()),
            "leader": peer.leader().map(|sid| sid.0),
            "serving": peer.serving().map(|epoch| epoch.0),
            "round": peer.round().0,
            "accepted": durable.accepted.0,
            "current": durable.current.0,
            "last_durable": durable.history.last().0,
            "last_logged": peer.last_logged().0,
            "delivered": peer.delivered().0,
            "armed": armed,
            "pending_writes": self.pending(),
            "tree_zxid": core.shared().tree().last_zxid().0,
            "reloading": core.is_reloading(),
            "lists": core.shared().lists().text(),
            "list_told": list_told(core),
            "links_idle": self.edges.links.are_idle(),
            "link_bytes": self.edges.links.sent_bytes(),
            "votes_asked": votes.map_or(0, |v| count(&v.asked)),
            "votes_replaced": votes.map_or(0, |v| count(&v.replaced)),
            "votes_sent": votes.map_or(0, |v| count(&v.sent)),
        })
    }
}

/// The list of members that clients read.
fn list_told(core: &Core) -> Option<String> {
    let tree = core.shared().tree();
    let data = tree.find(CONFIG)?.data()?;
    Some(String::from_utf8_lossy(data).into_owned())
}

/// A write of the harness: a node that names its transaction.
fn own_node(zxid: u64) -> Txn {
    Txn::Create {
        path: format!("/t{zxid:x}").into(),
        data: None,
        acl: open_acl().to_vec(),
        created: Created::Node {
            ephemeral: false,
            with_stat: false,
        },
        parent_cversion: -1,
    }
}
