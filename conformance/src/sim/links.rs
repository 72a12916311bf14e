//! A server's links to others: what the server's link tasks and its quorum port do.

use super::disk::SimDisk;
use super::net::{End, Piece, StreamId};
use super::planted::Planted;
use super::scene::{Life, Scene, What, address, place};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use zabra::config::Config;
use zabra::core::event::Event;
use zabra::core::out::{DialAct, Item, LinkAct};
use zabra::storage::history;
use zabra::wire::client::opcode;
use zabra::wire::cursor::FIELD_BYTES_MAX;
use zabra::wire::link::{Heard, Reader, hello, put_history};
use zabra::wire::quorum::{ForwardedRequest, PacketKind, Parser, QuorumPacket, parse};
use zabra::wire::snapshot::tree::TreeStream;
use zabra_model::ids::SessionId;
use zabra_model::service::membership::may_be_led;
use zabra_model::step::Link;

/// Pauses between tries to reach the leader, us.
const RETRY_US: [u64; 4] = [2_000, 10_000, 30_000, 100_000];
/// A tree goes in pieces of about this size.
const TREE_BYTES: usize = 16 << 10;

struct LinkEnd {
    stream: StreamId,
    end: End,
    buf: BytesMut,
    /// Once it is read.
    reader: Option<Reader>,
    to_leader: bool,
    silence_us: u64,
    heard_us: u64,
    bytes_max: usize,
    is_behind: bool,
}

/// An attempt to reach the leader.
#[derive(Clone, Copy, Debug)]
pub struct Dialling {
    /// Its number.
    pub attempt: u64,
    /// Whom.
    pub leader: usize,
    /// Until when.
    pub until_us: u64,
    tries: usize,
}

/// See the module.
pub struct Links {
    config: Arc<Config>,
    disk: SimDisk,
    log_dir: PathBuf,
    last: u64,
    ends: BTreeMap<Link, LinkEnd>,
    by_stream: BTreeMap<StreamId, Link>,
    /// Who has dialled and has not said who it is.
    strangers: BTreeMap<StreamId, BytesMut>,
    /// Whom this server tries to reach.
    pub dialling: Option<Dialling>,
    leader_is_held: bool,
    /// Links that have ended and are still heard, in a run with that bug.
    stale: BTreeMap<StreamId, LinkEnd>,
    /// Syncs that wait for nothing before them, in a run where those are answered at once; and how many of the others are asked.
    pub lonely_syncs: BTreeSet<(SessionId, i32)>,
    syncs_asked: usize,
}

impl Links {
    /// None.
    #[must_use]
    pub const fn new(config: Arc<Config>, disk: SimDisk, log_dir: PathBuf) -> Self {
        Self {
            config,
            disk,
            log_dir,
            last: 0,
            ends: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            strangers: BTreeMap::new(),
            dialling: None,
            leader_is_held: false,
            stale: BTreeMap::new(),
            lonely_syncs: BTreeSet::new(),
            syncs_asked: 0,
        }
    }

    /// Somebody has dialled.
    pub fn knock(&mut self, stream: StreamId) {
        self.strangers.insert(stream, BytesMut::new());
    }

    /// Whether a stream is one of these.
    #[must_use]
    pub fn has(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
            || self.strangers.contains_key(&stream)
            || self.stale.contains_key(&stream)
    }

    /// The leader is read on, or not.
    pub const fn hold(&mut self, held: bool) {
        self.leader_is_held = held;
    }

    fn add(&mut self, stream: StreamId, end: End, now_us: u64) -> Link {
        self.syncs_asked = 0;
        self.last += 1;
        let link = Link(self.last);
        self.by_stream.insert(stream, link);
        let new = LinkEnd {
            stream,
            end,
            buf: BytesMut::new(),
            reader: None,
            to_leader: false,
            silence_us: u64::MAX / 4,
            heard_us: now_us,
            bytes_max: usize::MAX,
            is_behind: false,
        };
        self.ends.insert(link, new);
        link
    }

    /// The leader has been reached.
    pub fn reached(&mut self, stream: StreamId, events: &mut Vec<Event>, now_us: u64) {
        if let Some(dialling) = self.dialling.take() {
            let link = self.add(stream, 0, now_us);
            events.push(Event::Dialled(dialling.attempt, Some(link)));
        }
    }

    /// The leader was not reached: when to try again, if it is not too late.
    pub fn missed(&mut self, events: &mut Vec<Event>, now_us: u64) -> Option<u64> {
        let dialling = self.dialling.as_mut()?;
        let pause_us = RETRY_US[dialling.tries.min(RETRY_US.len() - 1)];
        dialling.tries += 1;
        if now_us + pause_us < dialling.until_us {
            return Some(pause_us);
        }
        let attempt = dialling.attempt;
        self.dialling = None;
        events.push(Event::Dialled(attempt, None));
        None
    }

    /// Does what the core says about dialling.
    pub fn dials(&mut self, (index, life): (usize, Life), dials: Vec<DialAct>, scene: &mut Scene) {
        for dial in dials {
            match dial {
                DialAct::Begin {
                    leader,
                    attempt,
                    within_ms,
                } => {
                    let leader = leader.0 as usize - 1;
                    self.dialling = Some(Dialling {
                        attempt,
                        leader,
                        until_us: scene.now_us + within_ms * 1000,
                        tries: 0,
                    });
                    let delay_us = 2 * scene.net.delay_us(place(index), place(leader));
                    scene.after(delay_us, What::Dial(index, life, attempt));
                }
                DialAct::Stop => self.dialling = None,
            }
        }
    }

    /// Does what the core says about links, in order.
    pub fn acts(
        &mut self,
        (index, life): (usize, Life),
        acts: Vec<LinkAct>,
        events: &mut Vec<Event>,
        scene: &mut Scene,
    ) {
        for act in acts {
            match act {
                LinkAct::Open {
                    link,
                    to_leader,
                    silence_ms,
                } => {
                    if let Some(end) = self.ends.get_mut(&link) {
                        end.reader = Some(Reader::new(!to_leader, FIELD_BYTES_MAX));
                        end.to_leader = to_leader;
                        end.silence_us = silence_ms * 1000;
                        end.heard_us = scene.now_us;
                        scene.after(end.silence_us, What::Silence(index, life, link));
                    }
                }
                LinkAct::Silence(link, silence_ms) => {
                    if let Some(end) = self.ends.get_mut(&link) {
                        end.silence_us = silence_ms * 1000;
                        let at_us = end.heard_us + end.silence_us;
                        scene.at(at_us, What::Silence(index, life, link));
                    }
                }
                LinkAct::Bound(link, bytes) => {
                    if let Some(end) = self.ends.get_mut(&link) {
                        end.bytes_max = bytes;
                    }
                }
                LinkAct::Send(link, item) => self.send(link, item, events, scene),
                LinkAct::Close(link) => self.close(link, scene),
            }
        }
    }

    fn close(&mut self, link: Link, scene: &mut Scene) {
        self.syncs_asked = 0;
        let Some(end) = self.ends.remove(&link) else {
            return;
        };
        self.by_stream.remove(&end.stream);
        if scene.has(Planted::StaleLink) && end.reader.is_some() {
            self.stale.insert(end.stream, end);
        } else {
            scene.net.close(end.stream, end.end, scene.now_us);
        }
    }

    fn send(&mut self, link: Link, item: Item, events: &mut Vec<Event>, scene: &mut Scene) {
        let Some(end) = self.ends.get_mut(&link) else {
            return;
        };
        let (stream, from, to_leader) = (end.stream, end.end, end.to_leader);
        let mut waiting = 0;
        match item {
            Item::Packets(bytes) => {
                let bytes = self.tampered(bytes, to_leader, link, events, scene);
                waiting = scene.send(stream, from, bytes.freeze());
            }
            Item::History {
                after,
                upto,
                committed,
            } => {
                let mut out = BytesMut::new();
                let disk = self.disk.user(scene.now_us);
                let read =
                    history::read(&disk, &self.log_dir, after, upto, &mut |zxid, payload| {
                        put_history(zxid, payload, committed, &mut out);
                        true
                    });
                scene.send(stream, from, out.freeze());
                if let Err(error) = read {
                    scene.fail(format!("a learner needs what the log has not: {error}"));
                }
            }
            Item::Tree(image) => {
                let mut out = Vec::new();
                let mut tree = TreeStream::begin(&image, &mut out);
                while tree.fill(TREE_BYTES, &mut out).unwrap_or(false) {
                    scene.send(stream, from, Bytes::from(std::mem::take(&mut out)));
                }
                scene.send(stream, from, Bytes::from(out));
            }
        }
        let Some(end) = self.ends.get_mut(&link) else {
            return;
        };
        if waiting > end.bytes_max && !std::mem::replace(&mut end.is_behind, true) {
            events.push(Event::Behind(link));
        }
        end.is_behind &= waiting > end.bytes_max;
    }

    /// The packets of one turn, as a server with a bug sends them.
    fn tampered(
        &mut self,
        bytes: BytesMut,
        to_leader: bool,
        link: Link,
        events: &mut Vec<Event>,
        scene: &Scene,
    ) -> BytesMut {
        let reorders = scene.has(Planted::EffectsReordered);
        let answers = scene.has(Planted::SyncAtOnce) && to_leader;
        if !reorders && !answers {
            return bytes;
        }
        let (mut rest, mut parser) = (bytes.clone(), Parser::default());
        let mut packets = Vec::new();
        let mut from = 0;
        while let Ok(Some(packet)) = parser.take(&mut rest) {
            let upto = bytes.len() - rest.len();
            packets.push((from, upto, packet));
            from = upto;
        }
        if reorders {
            packets.reverse();
        }
        let mut out = BytesMut::with_capacity(bytes.len());
        for (from, upto, packet) in packets {
            if answers && self.answers_itself(&packet) {
                events.push(Event::Heard(link, vec![Heard::Synced]));
            } else {
                out.extend_from_slice(&bytes[from..upto]);
            }
        }
        out
    }

    fn answers_itself(&mut self, packet: &QuorumPacket) -> bool {
        if packet.kind != PacketKind::Request {
            return false;
        }
        let request = ForwardedRequest::decode(packet.data.as_ref());
        let Some(sync) = request.ok().filter(|r| r.opcode == opcode::SYNC) else {
            return false;
        };
        let is_lonely = self.lonely_syncs.contains(&(sync.session, sync.cxid));
        // Answers have no names: one that comes too early would be another one's.
        let is_first = self.syncs_asked == 0;
        self.syncs_asked += usize::from(!(is_lonely && is_first));
        is_lonely && is_first
    }

    /// A stream has brought something.
    pub fn arrive(
        &mut self,
        (stream, end): (StreamId, End),
        events: &mut Vec<Event>,
        scene: &mut Scene,
    ) {
        while let Some(piece) = scene.net.take(stream, end, scene.now_us) {
            match piece {
                Piece::Closed => {
                    scene.net.close(stream, end, scene.now_us);
                    self.strangers.remove(&stream);
                    self.stale.remove(&stream);
                    if let Some(link) = self.by_stream.remove(&stream) {
                        let _ = self.listen(events);
                        self.ends.remove(&link);
                        events.push(Event::Ended(link));
                    }
                }
                Piece::Bytes(bytes) => self.feed(stream, end, &bytes, events, scene),
            }
        }
        if let Err(error) = self.listen(events) {
            scene.tell(|| error);
        }
    }

    fn feed(
        &mut self,
        stream: StreamId,
        end: End,
        bytes: &[u8],
        events: &mut Vec<Event>,
        scene: &mut Scene,
    ) {
        if let Some(buf) = self.strangers.get_mut(&stream) {
            buf.extend_from_slice(bytes);
            match parse(buf) {
                Ok(None) => {}
                Ok(Some(packet)) => {
                    let rest = self.strangers.remove(&stream).unwrap_or_default();
                    let hello = hello(packet).ok().flatten();
                    let listed = hello.and_then(|h| self.config.lists().listed(h.claim.sid));
                    let Some(hello) = hello
                        .filter(|h| may_be_led(self.config.me, h.claim, listed, false).is_ok())
                    else {
                        scene.fail("a server is turned away by another one's door");
                        return;
                    };
                    let link = self.add(stream, end, scene.now_us);
                    if let Some(end) = self.ends.get_mut(&link) {
                        end.buf = rest;
                    }
                    events.push(Event::Accepted {
                        link,
                        from: address(hello.claim.sid.0),
                        expected: true,
                        hello: Some(hello),
                    });
                }
                Err(error) => scene.fail(format!("a server begins with no packet: {error}")),
            }
        } else if let Some(link) = self.by_stream.get(&stream) {
            if let Some(end) = self.ends.get_mut(link) {
                end.buf.extend_from_slice(bytes);
                end.heard_us = scene.now_us;
            }
        } else if let Some(old) = self.stale.get_mut(&stream) {
            old.buf.extend_from_slice(bytes);
            let now = self
                .ends
                .iter()
                .rfind(|(_, e)| e.to_leader == old.to_leader && e.reader.is_some());
            while let Some(reader) = old.reader.as_mut() {
                match (reader.take(&mut old.buf), &now) {
                    (Ok(Some(heard)), Some((link, _))) => {
                        events.push(Event::Heard(**link, vec![heard]));
                    }
                    (Ok(Some(_)), None) => {}
                    _ => break,
                }
            }
        }
    }

    /// Takes what was said out of what has come.
    ///
    /// # Errors
    /// What a link has ended of.
    pub fn listen(&mut self, events: &mut Vec<Event>) -> Result<(), String> {
        let mut wrong = Ok(());
        for (link, end) in &mut self.ends {
            if end.to_leader && self.leader_is_held {
                continue;
            }
            let Some(reader) = &mut end.reader else {
                continue;
            };
            let mut heard = Vec::new();
            let result = loop {
                match reader.take(&mut end.buf) {
                    Ok(Some(said)) => {
                        if matches!(said, Heard::Synced) {
                            self.syncs_asked = self.syncs_asked.saturating_sub(1);
                        }
                        heard.push(said);
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if !heard.is_empty() {
                events.push(Event::Heard(*link, heard));
            }
            if let Err(error) = result {
                end.reader = None;
                events.push(Event::Ended(*link));
                wrong = Err(format!("{link:?} is not understood: {error}"));
            }
        }
        wrong
    }

    /// A link may have been silent for too long.
    pub fn silence(
        &mut self,
        (index, life): (usize, Life),
        link: Link,
        events: &mut Vec<Event>,
        scene: &mut Scene,
    ) {
        let Some(end) = self.ends.get_mut(&link) else {
            return;
        };
        // Whoever is not read on cannot be heard.
        if end.to_leader && self.leader_is_held {
            end.heard_us = scene.now_us;
        }
        let due_us = end.heard_us + end.silence_us;
        if due_us > scene.now_us {
            scene.at(due_us, What::Silence(index, life, link));
            return;
        }
        self.close(link, scene);
        events.push(Event::Ended(link));
    }
}
