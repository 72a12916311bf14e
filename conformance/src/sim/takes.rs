//! A server's client connections: what the task of each does.

use super::net::{Piece, StreamId};
use super::scene::{Life, Scene, What, address};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zabra::client::intake::{Intake, Step};
use zabra::client::shared::Shared;
use zabra::core::event::Event;
use zabra::edges::wake::Wake;
use zabra::storage::worker::Op;
use zabra::wire::client::{ReplyHeader, opcode, reply};
use zabra::wire::frame::split;
use zabra::wire::payload::Logged;
use zabra_model::ids::SessionId;
use zabra_model::service::mode::Mode;

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Take {
    intake: Intake,
    bell: Arc<Bell>,
    until_ms: u64,
    /// Requests that were answered before their time, in a run with that bug; and those that could be.
    early: BTreeSet<i32>,
    submitted: BTreeMap<i32, (u64, i32)>,
}

/// See the module.
pub struct Takes {
    shared: Arc<Shared>,
    takes: BTreeMap<StreamId, Take>,
    are_held: bool,
}

impl Takes {
    /// None.
    #[must_use]
    pub const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            takes: BTreeMap::new(),
            are_held: false,
        }
    }

    /// A client has come.
    pub fn accept(&mut self, stream: StreamId, client: u64) {
        let from = SocketAddr::new(address(client), 1024);
        let bell = Arc::<Bell>::default();
        let wake = Arc::clone(&bell) as Arc<dyn Wake>;
        let now_ms = self.shared.elapsed_ms();
        let intake = Intake::new(Arc::clone(&self.shared), from, wake, now_ms);
        bell.wake();
        let take = Take {
            intake,
            bell,
            until_ms: u64::MAX,
            early: BTreeSet::new(),
            submitted: BTreeMap::new(),
        };
        self.takes.insert(stream, take);
    }

    /// Those who ask for writes are read on, or not.
    pub fn hold(&mut self, held: bool) {
        if self.are_held && !held {
            for take in self.takes.values_mut() {
                take.intake.hold(false);
                take.bell.wake();
            }
        }
        self.are_held = held;
    }

    /// A stream has brought something.
    pub fn arrive(&mut self, stream: StreamId, scene: &mut Scene) {
        while let Some(piece) = scene.net.take(stream, 1, scene.now_us) {
            match (piece, self.takes.get_mut(&stream)) {
                (Piece::Closed, _) => {
                    scene.net.close(stream, 1, scene.now_us);
                    self.takes.remove(&stream);
                }
                (Piece::Bytes(bytes), Some(take)) => {
                    take.intake.feed(&bytes);
                    take.bell.wake();
                }
                (Piece::Bytes(_), None) => {}
            }
        }
    }

    /// Looks at every connection whose bell has rung, or whose time has come.
    pub fn look(&mut self, who: (usize, Life), events: &mut Vec<Event>, scene: &mut Scene) {
        let now_ms = self.shared.elapsed_ms();
        let due = |t: &Take| t.bell.0.swap(false, Ordering::Relaxed) || t.until_ms <= now_ms;
        let rung = self.takes.iter().filter(|(_, take)| due(take));
        let rung: Vec<StreamId> = rung.map(|(stream, _)| *stream).collect();
        for stream in rung {
            let Some(take) = self.takes.get_mut(&stream) else {
                continue;
            };
            if !take.go_on(stream, who, self.are_held, now_ms, events, scene) {
                scene.net.close(stream, 1, scene.now_us);
                self.takes.remove(&stream);
            }
        }
    }

    /// Answers writes of this server's clients that are about to be logged, as a leader with that bug does.
    pub fn reply_early(&mut self, ops: &[(u64, Op)], scene: &mut Scene) {
        if self.shared.mode() != Mode::Leader {
            return;
        }
        for (_, op) in ops {
            let Op::Append { zxid, payload } = op else {
                continue;
            };
            let Ok(logged) = Logged::decode(payload.clone()) else {
                continue;
            };
            let (session, number) = (logged.header.session, logged.header.cxid);
            for (stream, take) in &mut self.takes {
                let is_its = take.intake.conn().session() == session;
                if is_its && take.may_answer(number, opcode::SET_DATA) {
                    take.early.insert(number);
                    let mut out = BytesMut::new();
                    reply::put_empty(ReplyHeader::ok(number, *zxid), &mut out);
                    scene.send(*stream, 1, out.freeze());
                }
            }
        }
    }

    /// Syncs of this server's clients that wait for nothing else.
    #[must_use]
    pub fn lonely_syncs(&self) -> BTreeSet<(SessionId, i32)> {
        let mut lonely = BTreeSet::new();
        for take in self.takes.values() {
            let session = take.intake.conn().session();
            for number in take.submitted.keys() {
                if take.may_answer(*number, opcode::SYNC) {
                    lonely.insert((session, *number));
                }
            }
        }
        lonely
    }
}

impl Take {
    /// Does what the intake says; false when it is over.
    fn go_on(
        &mut self,
        stream: StreamId,
        (index, life): (usize, Life),
        held: bool,
        now_ms: u64,
        events: &mut Vec<Event>,
        scene: &mut Scene,
    ) -> bool {
        loop {
            match self.intake.step(now_ms) {
                Step::Word(_) | Step::Finish | Step::End(_) => return false,
                Step::Connect(connect) => {
                    let conn = Arc::clone(self.intake.conn());
                    events.push(Event::Connect(conn, connect));
                }
                Step::Submit(requests, _) => {
                    if scene.planted.is_some() {
                        let all = requests.iter().map(|r| (r.xid, (r.token, r.opcode)));
                        self.submitted.extend(all);
                    }
                    let conn = Arc::clone(self.intake.conn());
                    events.push(Event::Submitted(conn, requests));
                    self.intake.hold(held);
                }
                Step::Send => {
                    let out = self.intake.take_output();
                    let bytes = self.without_early(Bytes::copy_from_slice(&out));
                    scene.send(stream, 1, bytes);
                    self.intake.sent(out);
                }
                Step::Yield => {}
                Step::Apart(apart) => self.intake.answered_apart(apart.write()),
                Step::Wait(wait) => {
                    if wait.until_ms != self.until_ms && wait.until_ms < u64::MAX {
                        let left_ms = wait.until_ms.saturating_sub(now_ms);
                        scene.after(left_ms * 1000 + 999, What::Intake(index, life, stream));
                    }
                    self.until_ms = wait.until_ms;
                    return true;
                }
            }
        }
    }

    /// Whether nothing before this request waits for its answer.
    fn may_answer(&self, number: i32, opcode: i32) -> bool {
        let conn = self.intake.conn();
        let state = conn.state();
        self.submitted
            .get(&number)
            .is_some_and(|(token, of)| *of == opcode && state.order.head() == Some(token))
    }

    fn without_early(&mut self, bytes: Bytes) -> Bytes {
        if self.early.is_empty() {
            return bytes;
        }
        let (mut frames, mut out) = (Vec::new(), BytesMut::new());
        if split(&mut BytesMut::from(&bytes[..]), 1 << 24, &mut frames).is_err() {
            return bytes;
        }
        for frame in frames {
            let number = frame.clone().get_i32();
            if !self.early.remove(&number) {
                out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                out.extend_from_slice(&frame);
            }
        }
        out.freeze()
    }
}
