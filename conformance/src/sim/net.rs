//! A network of byte streams: each direction keeps its order, everything takes time, and ways between two places may be slow or
//! cut for a while. What is sent over a cut way waits, as TCP has it, until the way is back or one end gives the stream up.

use bytes::Bytes;
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};

/// A machine: servers by their ids, and clients above them.
pub type Place = u64;

/// A stream's number.
pub type StreamId = u64;

/// One of the two ends of a stream: who has dialled is 0.
pub type End = usize;

/// What comes out of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// The other end has closed it, or was reset.
    Closed,
}

/// What is on its way to one end.
#[derive(Default)]
struct Direction {
    /// With the time of arrival; none while the way is cut.
    pieces: VecDeque<(Option<u64>, Piece)>,
    last_us: u64,
    bytes: usize,
}

struct Stream {
    places: [Place; 2],
    /// To each end.
    to: [Direction; 2],
    open: [bool; 2],
}

/// How it is between two places.
#[derive(Clone, Copy, Debug)]
struct Way {
    delay_us: u64,
    cut: bool,
}

/// The network.
pub struct Net {
    streams: BTreeMap<StreamId, Stream>,
    ways: BTreeMap<(Place, Place), Way>,
    next: StreamId,
    random: Rng,
    /// Arrivals that somebody has to be told of: when, where.
    pub arrivals: Vec<(u64, StreamId, End)>,
}

const WAY: Way = Way {
    delay_us: 150,
    cut: false,
};

const fn pair(a: Place, b: Place) -> (Place, Place) {
    if a < b { (a, b) } else { (b, a) }
}

impl Net {
    /// Without a stream.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            streams: BTreeMap::new(),
            ways: BTreeMap::new(),
            next: 1,
            random: Rng::with_seed(seed),
            arrivals: Vec::new(),
        }
    }

    fn way(&self, a: Place, b: Place) -> Way {
        self.ways.get(&pair(a, b)).copied().unwrap_or(WAY)
    }

    /// Whether nothing gets through.
    #[must_use]
    pub fn is_cut(&self, a: Place, b: Place) -> bool {
        self.way(a, b).cut
    }

    /// How long something takes from one place to the other.
    pub fn delay_us(&mut self, a: Place, b: Place) -> u64 {
        let delay_us = self.way(a, b).delay_us;
        delay_us / 2 + self.random.u64(0..=delay_us)
    }

    /// Makes the way slow, or as before.
    pub fn slow(&mut self, a: Place, b: Place, delay_us: Option<u64>) {
        let cut = self.is_cut(a, b);
        let delay_us = delay_us.unwrap_or(WAY.delay_us);
        self.ways.insert(pair(a, b), Way { delay_us, cut });
    }

    /// Cuts the way, or mends it: then what has waited goes on.
    pub fn cut(&mut self, a: Place, b: Place, cut: bool, now_us: u64) {
        let delay_us = self.way(a, b).delay_us;
        self.ways.insert(pair(a, b), Way { delay_us, cut });
        if cut {
            return;
        }
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            let delays = [self.delay_us(a, b), self.delay_us(a, b)];
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            if pair(stream.places[0], stream.places[1]) != pair(a, b) {
                continue;
            }
            for (end, delay_us) in delays.into_iter().enumerate() {
                let to = &mut stream.to[end];
                for (at, _) in to.pieces.iter_mut().filter(|(at, _)| at.is_none()) {
                    to.last_us = (to.last_us + 1).max(now_us + delay_us);
                    *at = Some(to.last_us);
                    self.arrivals.push((to.last_us, id, end));
                }
            }
        }
    }

    /// A stream between two places; whoever dials sees to it that there is a way.
    pub fn open(&mut self, from: Place, to: Place) -> StreamId {
        let id = self.next;
        self.next += 1;
        let stream = Stream {
            places: [from, to],
            to: <[Direction; 2]>::default(),
            open: [true; 2],
        };
        self.streams.insert(id, stream);
        id
    }

    /// Who is at an end.
    #[must_use]
    pub fn place(&self, id: StreamId, end: End) -> Option<Place> {
        Some(self.streams.get(&id)?.places[end])
    }

    /// Sends from `end` to the other one; the bytes that wait in that direction now.
    pub fn send(&mut self, id: StreamId, end: End, bytes: Bytes, now_us: u64) -> usize {
        self.put(id, end, Piece::Bytes(bytes), now_us)
    }

    fn put(&mut self, id: StreamId, end: End, piece: Piece, now_us: u64) -> usize {
        let Some([a, b]) = self.streams.get(&id).map(|s| s.places) else {
            return 0;
        };
        let (delay_us, cut) = (self.delay_us(a, b), self.is_cut(a, b));
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.open[1 - end]) else {
            return 0;
        };
        let to = &mut stream.to[1 - end];
        if let Piece::Bytes(bytes) = &piece {
            to.bytes += bytes.len();
        }
        let waits = to.pieces.back().is_some_and(|(at, _)| at.is_none());
        let at = (!cut && !waits).then(|| {
            to.last_us = (to.last_us + 1).max(now_us + delay_us);
            to.last_us
        });
        to.pieces.push_back((at, piece));
        if let Some(at) = at {
            self.arrivals.push((at, id, 1 - end));
        }
        to.bytes
    }

    /// Closes one end: nothing is heard there any more, and the other end hears of it behind all that was sent.
    pub fn close(&mut self, id: StreamId, end: End, now_us: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut stream.open[end], false) {
            stream.to[end].pieces.clear();
            self.put(id, end, Piece::Closed, now_us);
        }
        if self.streams.get(&id).is_some_and(|s| s.open == [false; 2]) {
            self.streams.remove(&id);
        }
    }

    /// One end is gone without a word: the other one hears nothing.
    pub fn vanish(&mut self, id: StreamId, end: End) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.open[end] = false;
            stream.to[end].pieces.clear();
            if stream.open == [false; 2] {
                self.streams.remove(&id);
            }
        }
    }

    /// Tells every end that still hopes for a place that it has begun anew.
    pub fn reset(&mut self, place: Place, now_us: u64) {
        let mut lost = Vec::new();
        for (id, stream) in &self.streams {
            for end in 0..2 {
                if stream.places[end] == place && !stream.open[end] && stream.open[1 - end] {
                    lost.push((*id, end));
                }
            }
        }
        for (id, end) in lost {
            self.put(id, end, Piece::Closed, now_us);
        }
    }

    /// Ends at a place.
    #[must_use]
    pub fn ends(&self, place: Place) -> Vec<(StreamId, End)> {
        let all = self.streams.iter();
        all.flat_map(|(id, s)| {
            (0..2)
                .filter(|end| s.places[*end] == place && s.open[*end])
                .map(|end| (*id, end))
        })
        .collect()
    }

    /// What has arrived at an end by now, if it still listens.
    pub fn take(&mut self, id: StreamId, end: End, now_us: u64) -> Option<Piece> {
        let stream = self.streams.get_mut(&id)?;
        let to = &mut stream.to[end];
        if !matches!(to.pieces.front(), Some((Some(at), _)) if *at <= now_us) {
            return None;
        }
        let (_, piece) = to.pieces.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            to.bytes -= bytes.len();
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_way_keeps_the_order_and_a_close_comes_last() {
        let mut net = Net::new(1);
        let id = net.open(1, 2);
        let say = |net: &mut Net, what: &'static str, now| {
            net.send(id, 0, Bytes::from_static(what.as_bytes()), now);
        };
        say(&mut net, "a", 0);
        net.cut(1, 2, true, 10);
        say(&mut net, "b", 10);
        net.close(id, 0, 11);
        assert_eq!(net.arrivals.len(), 1);
        net.cut(2, 1, false, 5000);
        say(&mut net, "never", 5001);
        let mut heard = Vec::new();
        while let Some(piece) = net.take(id, 1, 1_000_000) {
            heard.push(piece);
        }
        let bytes = |what: &'static str| Piece::Bytes(Bytes::from_static(what.as_bytes()));
        assert_eq!(heard[..2], [bytes("a"), bytes("b")]);
        assert_eq!(heard[2], Piece::Closed);
    }
}
