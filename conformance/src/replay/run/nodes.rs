//! What the harness knows of each server, each connection, and each disk.

use crate::replay::files::Image;
use crate::replay::proxy::Side;
use crate::replay::server::Server;
use crate::replay::trace::{End, FrameRecord, ServerRecord, WriteRecord};
use crate::replay::wire::Packet;
use serde_json::Value;
use std::collections::VecDeque;
use tokio::net::tcp::OwnedWriteHalf;

/// One connection's end at the proxy.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// `None`: the end is gone, or has not been connected yet.
    pub(super) side: Option<Side>,
    /// What it has said that no step has named yet.
    pub(super) unmatched: VecDeque<(Packet, Vec<u8>)>,
    /// What is on the way to it.
    pub(super) inbox: VecDeque<(FrameRecord, Vec<u8>)>,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) leader: u8,
    pub(super) learner: u8,
    /// The trace's number for it, once it is connected.
    pub(super) link: Option<u64>,
    pub(super) halves: [Half; 2],
}

impl Conn {
    /// A connection that a learner has made and its leader does not know of yet.
    pub(super) fn dialled(learner: u8, leader: u8, side: Side) -> Conn {
        let mut halves = [Half::default(), Half::default()];
        halves[End::Learner as usize].side = Some(side);
        Conn {
            leader,
            learner,
            link: None,
            halves,
        }
    }

    /// Keeps what one end has sent, and names the server at that end; nothing if the end is gone.
    pub(super) fn sent(&mut self, from: End, packet: Packet, bytes: Vec<u8>) -> Option<u8> {
        let half = self.half(from);
        half.side.as_ref()?;
        half.unmatched.push_back((packet, bytes));
        Some(self.server(from))
    }

    pub(super) const fn server(&self, end: End) -> u8 {
        match end {
            End::Leader => self.leader,
            End::Learner => self.learner,
        }
    }

    pub(super) fn half(&mut self, end: End) -> &mut Half {
        &mut self.halves[end as usize]
    }
}

/// What the trace says of a disk, write by write.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) image: Image,
    pub(super) queue: VecDeque<(WriteRecord, Vec<u64>)>,
    /// The tree of the last SNAP that was received.
    pub(super) tree: Vec<u64>,
}

impl Mirror {
    pub(super) fn write_next(&mut self) {
        let Some((write, tree)) = self.queue.pop_front() else {
            return;
        };
        let image = &mut self.image;
        match write.kind.as_str() {
            "acceptedEpoch" => image.accepted = write.value,
            "currentEpoch" => image.current = write.value,
            "append" => image.log.push(write.value),
            "truncate" => image.log.retain(|z| *z <= write.value),
            _ => {
                image.snapshot = tree;
                image.log.clear();
            }
        }
    }
}

/// One server as the harness knows it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) server: Server,
    pub(super) gate: Option<OwnedWriteHalf>,
    /// What the trace says of it.
    pub(super) record: ServerRecord,
    pub(super) mirror: Mirror,
    /// Inputs that the steps have given to this process.
    pub(super) inputs: u64,
    pub(super) link_bytes: u64,
    pub(super) votes_seen: u64,
    /// Votes that its core has asked for, and those that the trace names.
    pub(super) votes_asked: u64,
    pub(super) votes_named: u64,
    pub(super) writes: Vec<WriteRecord>,
    pub(super) answers: VecDeque<Value>,
    /// The connection by which it dials.
    pub(super) dial: Option<u64>,
}

impl Node {
    /// Keeps what the server has said at its gate.
    pub(super) fn said(&mut self, value: Value) {
        match value["event"].as_str() {
            Some("write") => self.writes.push(WriteRecord {
                server: self.record.id,
                kind: value["kind"].as_str().unwrap_or_default().to_owned(),
                value: value["value"].as_u64().unwrap_or(u64::MAX),
            }),
            Some("armed" | "disarmed" | "released") => {}
            _ => self.answers.push_back(value),
        }
    }
}
