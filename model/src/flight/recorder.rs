//! Writes the record.

use super::bytes::{Kind, Lasts, Writer};
use super::sum::Sum;
use super::{Moment, Opening, brief};
use crate::durable::Durable;
use crate::ensemble::{Ensemble, Payload};
use crate::ids::{ServerId, Zxid};
use crate::packet::Packet;
use crate::peer::Peer;
use crate::step::{Effect, Env, Input, Timer};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Steps between two sums, where nothing seldom happens.
const SUM_EVERY: u32 = 32;
/// Steps for which a segment is kept on behind the last that an operator may ask about.
const CALM: u32 = 64;

/// How much is kept in memory: so many segments of so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A segment that has become as long as this is the last but one.
    pub segment_bytes: usize,
    /// Older ones are forgotten.
    pub segments: usize,
}

/// A part of a segment: bytes from `offset` on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Whose.
    pub server: ServerId,
    /// When its process started, milliseconds since 1970: no other life of this server has the same.
    pub life: u64,
    /// The number of the segment in the life of its process, from 1.
    pub segment: u32,
    /// Where in the segment its bytes belong.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Bytes in memory.
#[derive(Debug, Default)]
struct Segment {
    number: u32,
    bytes: Vec<u8>,
    /// So many of its bytes are to be kept for longer.
    wanted: usize,
    /// So many of them have been handed out.
    handed: usize,
}

impl Segment {
    fn chunk(&self, (server, life): (ServerId, u64), from: usize, to: usize) -> Chunk {
        Chunk {
            server,
            life,
            segment: self.number,
            offset: u32::try_from(from).unwrap_or(u32::MAX),
            bytes: self.bytes[from..to].to_vec(),
        }
    }

    fn hand_out(&mut self, whose: (ServerId, u64)) -> Option<Chunk> {
        let from = core::mem::replace(&mut self.handed, self.wanted);
        (from < self.wanted).then(|| self.chunk(whose, from, self.wanted))
    }
}

/// Records the steps of one peer: [`Recorder::begins`] before each, [`Recorder::ends`] behind it.
#[derive(Debug)]
pub struct Recorder {
    pub(super) limits: Limits,
    /// Whose record this is: the server, and its life.
    whose: (ServerId, u64),
    /// Those before the last, oldest first.
    full: VecDeque<Segment>,
    last: Segment,
    lasts: Lasts,
    sum: Sum,
    since_sum: u32,
    /// Steps since the last that an operator may ask about.
    calm: u32,
    steps: u64,
    /// Whether the step that has begun is one.
    is_seldom: bool,
    observer: bool,
    reach: Zxid,
    /// What was to be kept of segments that are not the last one any more.
    kept: Vec<Chunk>,
}

impl Recorder {
    /// Nothing is recorded yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            whose: (ServerId::NOBODY, 0),
            full: VecDeque::new(),
            last: Segment::default(),
            lasts: Lasts::default(),
            sum: Sum::default(),
            since_sum: 0,
            calm: u32::MAX,
            steps: 0,
            is_seldom: false,
            observer: false,
            reach: Zxid::ZERO,
            kept: Vec::new(),
        }
    }

    /// A peer is about to boot: a segment of its own.
    pub fn boots(&mut self, at: Moment, env: &Env, found: &Durable, ensemble: &Ensemble) {
        self.steps = 0;
        if self.last.number == 0 {
            self.whose = (env.me, at.date_ms.saturating_sub(at.elapsed_ms));
        }
        self.open(
            &Opening::Boot {
                at,
                env: env.clone(),
                found: found.clone(),
                ensemble: ensemble.clone(),
            },
            env,
        );
        self.is_seldom = true;
    }

    /// A step is about to be taken.
    #[inline]
    pub fn begins<T: Payload>(&mut self, at: Moment, env: &Env, peer: &Peer, input: &Input<T>) {
        if self.last.bytes.len() >= self.limits.segment_bytes || self.last.number == 0 {
            self.go_on(at, env, peer);
        }
        self.steps += 1;
        self.is_seldom = false;
        self.writer().moment(at);
        match input {
            Input::Durable(mark) => self.writer().durable(*mark),
            Input::Received { link, packet } => {
                let (kind, zxid) = match packet {
                    Packet::Ack { zxid } => (Kind::Ack, zxid),
                    Packet::Proposal { zxid, txn } if txn.voters().is_none() => {
                        (Kind::Proposal, zxid)
                    }
                    Packet::Commit { zxid } => (Kind::Commit, zxid),
                    Packet::Ping { zxid } => (Kind::Ping, zxid),
                    Packet::Inform { zxid, txn } if txn.voters().is_none() => (Kind::Inform, zxid),
                    _ => return self.seldom(env, input),
                };
                self.writer().packet(kind, *link, *zxid);
            }
            Input::Propose(txn) if txn.voters().is_none() => self.writer().bare(Kind::Propose),
            Input::Fired(Timer::Tick) => self.writer().bare(Kind::Tick),
            _ => self.seldom(env, input),
        }
    }

    /// The step has been taken, and has asked for this.
    #[inline]
    pub fn ends<T>(&mut self, effects: &[Effect<T>]) {
        let mut is_seldom = self.is_seldom;
        for effect in effects {
            is_seldom |= self.sum.effect(effect);
        }
        self.since_sum += 1;
        if is_seldom {
            self.calm = 0;
        } else {
            self.calm = self.calm.saturating_add(1);
        }
        if is_seldom || self.since_sum >= SUM_EVERY {
            self.put_sum();
        }
        if self.calm < CALM {
            self.last.wanted = self.last.bytes.len();
        }
    }

    /// The peer is told to forget what is under a snapshot.
    pub fn forgot(&mut self, upto: Zxid) {
        if self.last.number > 0 {
            self.writer().forgot(upto);
        }
    }

    /// Whether there is something to be kept for longer than this memory does.
    #[must_use]
    pub const fn has_kept(&self) -> bool {
        self.last.handed < self.last.wanted || !self.kept.is_empty()
    }

    /// What is to be kept for longer, and was not handed out yet.
    pub fn take_kept(&mut self) -> Vec<Chunk> {
        let mut kept = core::mem::take(&mut self.kept);
        kept.extend(self.last.hand_out(self.whose));
        kept
    }

    /// All that is in memory, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Chunk> {
        let all = self.full.iter().chain([&self.last]);
        let all = all.filter(|segment| segment.number > 0);
        let mut all: Vec<_> = all
            .map(|segment| segment.chunk(self.whose, 0, segment.bytes.len()))
            .collect();
        // The sum that would come a little later.
        if let Some(last) = all.last_mut()
            && self.since_sum > 0
        {
            let (out, lasts) = (&mut last.bytes, &mut Lasts::default());
            Writer { out, lasts }.sum(self.sum.value());
        }
        all
    }

    #[inline]
    const fn writer(&mut self) -> Writer<'_> {
        Writer {
            out: &mut self.last.bytes,
            lasts: &mut self.lasts,
        }
    }

    /// An input that is written whole. Its step may look at surroundings that change.
    fn seldom<T: Payload>(&mut self, env: &Env, input: &Input<T>) {
        let (observer, reach) = (env.observer, env.sync.reach);
        if (self.observer, self.reach) != (observer, reach) {
            (self.observer, self.reach) = (observer, reach);
            self.writer().env(observer, reach);
        }
        self.writer().input(&brief(input));
        self.is_seldom = true;
    }

    fn put_sum(&mut self) {
        let sum = self.sum.value();
        self.writer().sum(sum);
        self.since_sum = 0;
    }

    #[cold]
    fn go_on(&mut self, at: Moment, env: &Env, peer: &Peer) {
        let opening = Opening::On {
            at,
            env: env.clone(),
            peer: Box::new(peer.clone()),
            steps: self.steps,
        };
        self.open(&opening, env);
    }

    /// Ends the last segment and begins another one, in the room of one that is forgotten.
    fn open(&mut self, opening: &Opening, env: &Env) {
        let mut next = Segment::default();
        if self.last.number > 0 {
            if self.since_sum > 0 {
                self.put_sum();
                if self.calm < CALM {
                    self.last.wanted = self.last.bytes.len();
                }
            }
            next.number = self.last.number;
            self.kept.extend(self.last.hand_out(self.whose));
            if self.full.len() + 1 >= self.limits.segments
                && let Some(oldest) = self.full.pop_front()
            {
                next.bytes = oldest.bytes;
                next.bytes.clear();
            }
            self.full.push_back(core::mem::take(&mut self.last));
        }
        next.number += 1;
        self.last = next;
        self.sum = Sum::default();
        self.since_sum = 0;
        (self.observer, self.reach) = (env.observer, env.sync.reach);
        self.writer().opening(opening);
    }
}
