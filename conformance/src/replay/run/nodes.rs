//! What the harness knows of each server, each connection, and each disk.

use crate::replay::files::Image;
use crate::replay::proxy::Side;
use crate::replay::server::Server;
use crate::replay::trace::{End, FrameRecord, ServerRecord, WriteRecord};
use crate::replay::wire::Packet;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
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
    /// With the whole log, also where a snapshot has been taken of it.
    image: Image,
    pub(super) queue: VecDeque<(WriteRecord, Vec<u64>)>,
    /// The tree of the last SNAP that was received.
    pub(super) tree: Vec<u64>,
    /// What is in the snapshot that the server has taken.
    taken: Vec<u64>,
}

impl Mirror {
    pub(super) fn write_next(&mut self) {
        if let Some((write, tree)) = self.queue.pop_front() {
            apply(&mut self.image, &write, tree);
            let last = self.image.last();
            if write.kind == "install" || self.taken.last().is_some_and(|z| *z > last) {
                self.taken.clear();
            }
        }
    }

    /// The server has taken a snapshot of all that it has applied.
    pub(super) fn take_snapshot(&mut self, applied: u64) {
        let all = self.image.snapshot.iter().chain(&self.image.log);
        self.taken = all.copied().filter(|z| *z <= applied).collect();
    }

    /// The server has ended: what its next start reads.
    pub(super) fn end(&mut self) {
        self.queue.clear();
        if let Some(base) = self.taken.last().copied() {
            self.image.base = base;
            self.image.snapshot = std::mem::take(&mut self.taken);
            self.image.log.retain(|z| *z > base);
        }
    }

    /// The disk now, or with all that is on its way to it.
    pub(super) fn content(&self, with_queue: bool) -> Vec<u64> {
        let mut image = self.image.clone();
        for (write, tree) in self.queue.iter().filter(|_| with_queue) {
            apply(&mut image, write, tree.clone());
        }
        image.snapshot.into_iter().chain(image.log).collect()
    }

    /// The disk of a server that has ended, as its files show it: a tree does not show the transactions that brought a list, but the
    /// last list.
    pub(super) fn files(&self, lists: &BTreeMap<u64, Vec<u8>>) -> Image {
        let mut image = self.image.clone();
        let shown = image.snapshot.iter().filter(|z| lists.contains_key(z));
        image.shown = shown.max().copied().unwrap_or(0);
        image.snapshot.retain(|z| !lists.contains_key(z));
        let logged = |z: &u64| Some((*z, lists.get(z)?.clone()));
        image.lists = image.log.iter().filter_map(logged).collect();
        image
    }
}

fn apply(image: &mut Image, write: &WriteRecord, tree: Vec<u64>) {
    match write.kind.as_str() {
        "acceptedEpoch" => image.accepted = write.value,
        "currentEpoch" => image.current = write.value,
        "append" => image.log.push(write.value),
        "truncate" => image.log.retain(|z| *z <= write.value),
        "activate" => {}
        _ => {
            image.base = write.value;
            image.snapshot = tree;
            image.log.clear();
        }
    }
}

/// A client that has asked for a list, and what it was told.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection ends with it.
    pub(super) _writer: OwnedWriteHalf,
    /// The version of the list, once the request is proposed.
    pub(super) version: u64,
    /// Frames, the answer to its first words among them.
    pub(super) answers: Vec<Vec<u8>>,
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
    /// The client that changes the members through it.
    pub(super) client: Option<Client>,
}

impl Node {
    /// Keeps what the server has said at its gate.
    pub(super) fn said(&mut self, value: Value) {
        match value["event"].as_str() {
            Some("write") => self.writes.push(WriteRecord {
                server: self.record.id,
                kind: value["kind"].as_str().unwrap_or_default().to_owned(),
                value: value["value"].as_u64().unwrap_or(u64::MAX),
                voters: Vec::new(),
            }),
            Some("armed" | "disarmed" | "released") => {}
            _ => self.answers.push_back(value),
        }
    }
}
