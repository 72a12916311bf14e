//! The replay harness's hand on a server: timers run out and writes become durable only when it says so.
//!
//! JSON lines over one TCP connection to `ZABRA_GATE`. The server says `{"event":"armed"|"disarmed","timer":…}`, and
//! answers each command when everything that followed from it has been handed to disk and sockets:
//!
//! ```text
//! {"cmd":"fire","timer":"Tick"}  → {"event":"fired","timer":"Tick","was_armed":true}
//! {"cmd":"release","n":2}        → {"event":"released","pending_writes":0}
//! {"cmd":"propose"}              → {"event":"proposed","zxid":…}; null where nobody leads
//! {"cmd":"state"}                → {"event":"state","role":…, …}
//! ```
//! Each write that the core asks for is said as `{"event":"write","kind":…,"value":…}`. `state` also counts what has been
//! handed to sockets, so that the harness knows when it has seen all of it.
//!
//! Only in builds with the feature `gate`, never in a release.

use super::core::Core;
use super::inbox::{Event, Inbox};
use super::payload::Payload;
use crate::error::ServerError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zabra_model::step::{Input, Timer, Write};

/// What this process has sent.
pub(crate) static SENT: Sent = Sent {
    link_bytes: AtomicU64::new(0),
    votes_asked: AtomicU64::new(0),
    votes_replaced: AtomicU64::new(0),
    votes_sent: AtomicU64::new(0),
};

/// Counters, for the harness.
pub(crate) struct Sent {
    /// Bytes on all quorum connections.
    pub(crate) link_bytes: AtomicU64,
    votes_asked: AtomicU64,
    votes_replaced: AtomicU64,
    votes_sent: AtomicU64,
}

impl Sent {
    /// The core has an election message to send; perhaps in place of one that still waited.
    pub(crate) fn vote_asked(&self, replaces: bool) {
        self.votes_asked.fetch_add(1, Ordering::Relaxed);
        self.votes_replaced
            .fetch_add(u64::from(replaces), Ordering::Relaxed);
    }

    /// An election message is in a socket.
    pub(crate) fn vote_sent(&self) {
        self.votes_sent.fetch_add(1, Ordering::Relaxed);
    }
}

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
    /// Tell what the core knows.
    State,
}

/// The connection to the harness.
pub struct Gate {
    say: mpsc::UnboundedSender<Value>,
    /// Said when the batch is flushed.
    later: Vec<Value>,
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
        tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(command) => inbox.push(Event::Gate(command), 0),
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
            later: Vec::new(),
        }))
    }

    /// A timer was started or stopped.
    pub fn timer(&mut self, event: &str, timer: Timer) {
        self.later
            .push(json!({"event": event, "timer": format!("{timer:?}")}));
    }

    /// A write was asked for.
    pub fn write(&mut self, write: &Write<Payload>) {
        let (kind, value) = match write {
            Write::AcceptedEpoch(epoch) => ("acceptedEpoch", u64::from(epoch.0)),
            Write::CurrentEpoch(epoch) => ("currentEpoch", u64::from(epoch.0)),
            Write::Append { zxid, .. } => ("append", zxid.0),
            Write::Truncate { zxid } => ("truncate", zxid.0),
            Write::Install { zxid, .. } => ("install", zxid.0),
            Write::Activate { version } => ("activate", version.0),
        };
        self.later
            .push(json!({"event": "write", "kind": kind, "value": value}));
    }

    /// Says what has been kept for the end of the batch.
    pub fn flush(&mut self) {
        for value in self.later.drain(..) {
            let _ = self.say.send(value); // the harness has gone: `Shutdown` is under way
        }
    }
}

fn timer_of(name: &str) -> Option<Timer> {
    [Timer::Finalize, Timer::Resend, Timer::Init, Timer::Tick]
        .into_iter()
        .find(|t| format!("{t:?}") == name)
}

impl Core {
    pub(super) fn on_gate(&mut self, command: Command) {
        let answer = match command {
            Command::Fire { timer } => {
                let was_armed = timer_of(&timer).is_some_and(|t| {
                    let armed = self.timers.take(t);
                    if armed {
                        self.step(Input::Fired(t));
                    }
                    armed
                });
                json!({"event": "fired", "timer": timer, "was_armed": was_armed})
            }
            Command::Release { n } => {
                self.persist.allow(n);
                self.persist.flush();
                json!({"event": "released", "pending_writes": self.persist.waiting()})
            }
            Command::Propose => {
                let zxid = self.propose_of_harness().map(|zxid| zxid.0);
                json!({"event": "proposed", "zxid": zxid})
            }
            Command::State => self.gate_state(),
        };
        if let Some(gate) = &mut self.gate {
            gate.later.push(answer);
        }
    }

    fn gate_state(&mut self) -> Value {
        self.deliver();
        let sent = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let durable = self.peer.durable();
        let armed: Vec<String> = self.timers.armed().map(|t| format!("{t:?}")).collect();
        json!({
            "event": "state",
            "inputs_stepped": self.inputs_stepped,
            "role": format!("{:?}", self.peer.state()),
            "leader": self.peer.leader().map(|sid| sid.0),
            "serving": self.peer.serving().map(|epoch| epoch.0),
            "round": self.peer.round().0,
            "accepted": durable.accepted.0,
            "current": durable.current.0,
            "last_durable": durable.history.last().0,
            "last_logged": self.peer.last_logged().0,
            "delivered": self.peer.delivered().0,
            "armed": armed,
            "pending_writes": self.persist.waiting(),
            "tree_zxid": self.shared.tree().last_zxid().0,
            "reloading": self.reload_at.is_some(),
            "links_idle": self.links.are_idle(),
            "link_bytes": sent(&SENT.link_bytes),
            "votes_asked": sent(&SENT.votes_asked),
            "votes_replaced": sent(&SENT.votes_replaced),
            "votes_sent": sent(&SENT.votes_sent),
        })
    }
}
