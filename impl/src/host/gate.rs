//! The replay harness's hand on a server: timers run out and writes become durable only when it says so.
//!
//! JSON lines over one TCP connection to `ZABRA_GATE`. The server says `{"event":"armed"|"disarmed","timer":…}`, and
//! answers each command when everything that followed from it has been handed to disk and sockets:
//!
//! ```text
//! {"cmd":"fire","timer":"Tick"}  → {"event":"fired","timer":"Tick","was_armed":true}
//! {"cmd":"release","n":2}        → {"event":"released","pending_writes":0}
//! {"cmd":"state"}                → {"event":"state","role":…, …}
//! ```
//! Only in builds with the feature `gate`, never in a release.

use super::core::Core;
use super::inbox::{Event, Inbox};
use crate::error::ServerError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zabra_model::step::{Input, Timer};

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
            Command::State => self.gate_state(),
        };
        if let Some(gate) = &mut self.gate {
            gate.later.push(answer);
        }
    }

    fn gate_state(&self) -> Value {
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
        })
    }
}
