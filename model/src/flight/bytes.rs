//! The bytes of a segment.
//!
//! An opening, then records: one byte that tells which, and numbers of as many bytes as they need, most of them distances from the last
//! number of their kind. A proposal, its acknowledgements and its commit take two to four bytes each.

use super::{Brief, Moment, Opening};
use crate::ids::Zxid;
use crate::packet::Packet;
use crate::step::{Input, Link, Mark, Timer};
use alloc::vec::Vec;
use core::fmt;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of each segment: readers of this version understand the rest, and live it again as it was. A new one comes with another
/// form of the bytes, and with each rule that makes the core do something else on the same inputs (2: a follower's vote of a round counts).
pub(super) const VERSION: u8 = 2;

/// The first byte of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Durable = 1,
    Propose = 2,
    Proposal = 3,
    Commit = 4,
    Inform = 5,
    Ack = 6,
    Ping = 7,
    Tick = 8,
    Moment = 9,
    /// Any other input, whole.
    Input = 10,
    /// The surroundings have changed.
    Env = 11,
    /// The peer was told to forget what is under a snapshot.
    Forgot = 12,
    /// The sum of all effects so far.
    Sum = 13,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Durable,
            2 => Self::Propose,
            3 => Self::Proposal,
            4 => Self::Commit,
            5 => Self::Inform,
            6 => Self::Ack,
            7 => Self::Ping,
            8 => Self::Tick,
            9 => Self::Moment,
            10 => Self::Input,
            11 => Self::Env,
            12 => Self::Forgot,
            13 => Self::Sum,
            _ => return None,
        })
    }
}

/// Numbers of which only the distance from the last one is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lasts {
    mark: u64,
    zxids: [u64; 5],
    pub(super) at: Moment,
}

/// What a segment says behind its opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Record {
    Moment(Moment),
    Input(Input<Brief>),
    Env { observer: bool, reach: Zxid },
    Forgot(Zxid),
    Sum(u32),
}

/// Bytes that are no segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where, from the beginning of the segment.
    pub offset: usize,
    /// What is wrong.
    pub what: &'static str,
    /// Whether it just ends: what is before is whole.
    pub is_cut_off: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.what)
    }
}

impl core::error::Error for Damage {}

/// Writes records at the end of a buffer.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) lasts: &'a mut Lasts,
}

impl Writer<'_> {
    #[inline]
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.out.push(n as u8);
    }

    /// The distance from `last`, small in both directions.
    #[inline]
    fn distance(&mut self, from: u64, to: u64) {
        let distance = to.wrapping_sub(from).cast_signed();
        self.number((distance << 1 ^ distance >> 63).cast_unsigned());
    }

    fn whole(&mut self, value: &impl Serialize) {
        // Into a vector of its own, as the length comes first; nothing that is often.
        let bytes = postcard::to_allocvec(value).unwrap_or_default();
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(&bytes);
    }

    pub(super) fn opening(&mut self, opening: &Opening) {
        self.out.push(VERSION);
        self.whole(opening);
        *self.lasts = Lasts {
            at: opening.at(),
            ..Lasts::default()
        };
    }

    #[inline]
    pub(super) fn moment(&mut self, at: Moment) {
        if at == self.lasts.at {
            return;
        }
        self.out.push(Kind::Moment as u8);
        self.distance(self.lasts.at.elapsed_ms, at.elapsed_ms);
        self.distance(self.lasts.at.date_ms, at.date_ms);
        self.lasts.at = at;
    }

    #[inline]
    pub(super) fn durable(&mut self, mark: Mark) {
        self.out.push(Kind::Durable as u8);
        self.distance(self.lasts.mark, mark.0);
        self.lasts.mark = mark.0;
    }

    #[inline]
    pub(super) fn bare(&mut self, kind: Kind) {
        self.out.push(kind as u8);
    }

    #[inline]
    pub(super) fn packet(&mut self, kind: Kind, link: Link, zxid: Zxid) {
        self.out.push(kind as u8);
        self.number(link.0);
        let last = &mut self.lasts.zxids[kind as usize - Kind::Proposal as usize];
        let from = core::mem::replace(last, zxid.0);
        self.distance(from, zxid.0);
    }

    pub(super) fn input(&mut self, input: &Input<Brief>) {
        self.out.push(Kind::Input as u8);
        self.whole(input);
    }

    pub(super) fn env(&mut self, observer: bool, reach: Zxid) {
        self.out.push(Kind::Env as u8);
        self.out.push(u8::from(observer));
        self.number(reach.0);
    }

    pub(super) fn forgot(&mut self, upto: Zxid) {
        self.out.push(Kind::Forgot as u8);
        self.number(upto.0);
    }

    pub(super) fn sum(&mut self, sum: u32) {
        self.out.push(Kind::Sum as u8);
        self.out.extend_from_slice(&sum.to_le_bytes());
    }
}

/// Reads a segment from its beginning.
pub(super) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
    lasts: Lasts,
}

impl<'a> Reader<'a> {
    /// The opening, and what comes behind it.
    pub(super) fn open(all: &'a [u8]) -> Result<(Opening, Self), Damage> {
        let lasts = Lasts::default();
        let mut reader = Self { all, at: 0, lasts };
        match reader.byte()? {
            VERSION => {}
            _ => {
                return Err(reader.damage(
                    "a segment of another version, which a program of that version explains",
                ));
            }
        }
        let opening: Opening = reader.whole()?;
        reader.lasts.at = opening.at();
        Ok((opening, reader))
    }

    /// How far it has been read.
    #[cfg(test)]
    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// The next record; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Damage> {
        if self.at == self.all.len() {
            return Ok(None);
        }
        let Some(kind) = Kind::of(self.byte()?) else {
            return Err(self.damage("no record begins with this byte"));
        };
        self.record(kind).map(Some)
    }

    fn record(&mut self, kind: Kind) -> Result<Record, Damage> {
        let input = match kind {
            Kind::Durable => {
                self.lasts.mark = self.distance(self.lasts.mark)?;
                Input::Durable(Mark(self.lasts.mark))
            }
            Kind::Propose => Input::Propose(Brief::default()),
            Kind::Proposal | Kind::Commit | Kind::Inform | Kind::Ack | Kind::Ping => {
                let link = Link(self.number()?);
                let place = kind as usize - Kind::Proposal as usize;
                let zxid = self.distance(self.lasts.zxids[place])?;
                self.lasts.zxids[place] = zxid;
                let (zxid, txn) = (Zxid(zxid), Brief::default());
                let packet = match kind {
                    Kind::Proposal => Packet::Proposal { zxid, txn },
                    Kind::Commit => Packet::Commit { zxid },
                    Kind::Inform => Packet::Inform { zxid, txn },
                    Kind::Ack => Packet::Ack { zxid },
                    _ => Packet::Ping { zxid },
                };
                Input::Received { link, packet }
            }
            Kind::Tick => Input::Fired(Timer::Tick),
            Kind::Moment => {
                let at = &self.lasts.at;
                let (elapsed_ms, date_ms) = (at.elapsed_ms, at.date_ms);
                self.lasts.at.elapsed_ms = self.distance(elapsed_ms)?;
                self.lasts.at.date_ms = self.distance(date_ms)?;
                return Ok(Record::Moment(self.lasts.at));
            }
            Kind::Input => self.whole()?,
            Kind::Env => {
                let observer = self.byte()? != 0;
                let reach = Zxid(self.number()?);
                return Ok(Record::Env { observer, reach });
            }
            Kind::Forgot => return Ok(Record::Forgot(Zxid(self.number()?))),
            Kind::Sum => {
                let bytes = self.take(4)?.try_into();
                return Ok(Record::Sum(u32::from_le_bytes(bytes.unwrap_or_default())));
            }
        };
        Ok(Record::Input(input))
    }

    const fn damage(&self, what: &'static str) -> Damage {
        Damage {
            offset: self.at,
            what,
            is_cut_off: false,
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Damage> {
        let rest = self.all.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..n) else {
            return Err(Damage {
                is_cut_off: true,
                ..self.damage("the segment ends within a record")
            });
        };
        self.at += n;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Damage> {
        let mut n = 0_u64;
        for place in 0..10 {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damage("a number of more than ten bytes"))
    }

    fn distance(&mut self, from: u64) -> Result<u64, Damage> {
        let n = self.number()?;
        let distance = (n >> 1).cast_signed() ^ -((n & 1).cast_signed());
        Ok(from.wrapping_add(distance.cast_unsigned()))
    }

    fn whole<V: DeserializeOwned>(&mut self) -> Result<V, Damage> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let bytes = self.take(length)?;
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            _ => Err(self.damage("a value that cannot be read")),
        }
    }
}
