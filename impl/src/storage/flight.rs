//! The file `zabra.flight`: what of the flight recorder's segments outlives a process.
//!
//! ```text
//! "ZFR1" | server u64 | life u64 | segment u32 | offset u32 | length u32 | Adler-32 of all else u32 | bytes
//! ```
//! Numbers are big-endian. Frames are appended without a sync, and nothing of a server depends on them: a frame that was cut off by the
//! end of its process is followed by those of the next one, and a reader looks for the next `ZFR1` behind it.

use simd_adler32::Adler32;
use std::collections::BTreeMap;
use zabra_model::flight::Chunk;
use zabra_model::ids::ServerId;

/// Its name.
pub const FLIGHT: &str = "zabra.flight";
/// The one before it.
pub const FLIGHT_OLD: &str = "zabra.flight.old";
/// A file that has become as long as this becomes the old one, bytes.
pub const FLIGHT_BYTES_MAX: u64 = 4 << 20;

const MAGIC: &[u8; 4] = b"ZFR1";
const HEADER: usize = 36;

/// The bytes of these parts of segments.
#[must_use]
pub fn frames(chunks: &[Chunk]) -> Vec<u8> {
    let bytes = chunks.iter().map(|chunk| HEADER + chunk.bytes.len());
    let mut out = Vec::with_capacity(bytes.sum());
    for chunk in chunks {
        let length = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let begin = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&chunk.server.0.to_be_bytes());
        out.extend_from_slice(&chunk.life.to_be_bytes());
        for number in [chunk.segment, chunk.offset, length] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let sum = sum_of(&out[begin..], &chunk.bytes);
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&chunk.bytes);
    }
    out
}

fn sum_of(header: &[u8], bytes: &[u8]) -> u32 {
    let mut sum = Adler32::new();
    sum.write(header);
    sum.write(bytes);
    sum.finish()
}

/// A segment as it was put together from its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// From its beginning.
    pub bytes: Vec<u8>,
    /// Whether a part behind them lies apart: between the two, one is missing.
    pub has_hole: bool,
}

/// Segments by server, life and number, put together from the parts in any number of files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segments {
    /// In order.
    pub all: BTreeMap<(ServerId, u64, u32), Segment>,
    /// Bytes that belong to no whole frame: a process has ended while it wrote them, or they are damaged.
    pub strange_bytes: usize,
}

impl Segments {
    /// Adds what a file holds.
    pub fn read(&mut self, mut file: &[u8]) {
        let mut chunks = Vec::new();
        while !file.is_empty() {
            if let Some((chunk, rest)) = frame(file) {
                chunks.push(chunk);
                file = rest;
                continue;
            }
            let next = file[1..].windows(MAGIC.len()).position(|at| at == MAGIC);
            let skipped = next.map_or(file.len(), |at| at + 1);
            self.strange_bytes += skipped;
            file = &file[skipped..];
        }
        // What was written by two threads may have changed places.
        chunks.sort_by_key(|chunk| (chunk.server, chunk.life, chunk.segment, chunk.offset));
        for chunk in chunks {
            self.add(chunk);
        }
    }

    fn add(&mut self, chunk: Chunk) {
        let name = (chunk.server, chunk.life, chunk.segment);
        let segment = self.all.entry(name).or_default();
        let offset = chunk.offset as usize;
        if offset > segment.bytes.len() {
            segment.has_hole = true;
        } else if offset + chunk.bytes.len() > segment.bytes.len() {
            segment.bytes.truncate(offset);
            segment.bytes.extend_from_slice(&chunk.bytes);
        }
    }
}

/// The frame at the beginning, and what is behind it.
fn frame(file: &[u8]) -> Option<(Chunk, &[u8])> {
    let rest = file.strip_prefix(MAGIC)?;
    let (server, rest) = rest.split_first_chunk()?;
    let (life, rest) = rest.split_first_chunk()?;
    let (segment, rest) = rest.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let chunk = Chunk {
        server: ServerId(u64::from_be_bytes(*server)),
        life: u64::from_be_bytes(*life),
        segment: u32::from_be_bytes(*segment),
        offset: u32::from_be_bytes(*offset),
        bytes: bytes.to_vec(),
    };
    let header = &file[..HEADER - 4];
    (sum_of(header, bytes) == u32::from_be_bytes(*sum)).then_some((chunk, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(segment: u32, offset: u32, bytes: &[u8]) -> Chunk {
        Chunk {
            server: ServerId(3),
            life: 1_700_000_000_000,
            segment,
            offset,
            bytes: bytes.to_vec(),
        }
    }

    fn read(file: &[u8]) -> Segments {
        let mut segments = Segments::default();
        segments.read(file);
        segments
    }

    fn bytes_of(segments: &Segments, number: u32) -> &[u8] {
        &segments.all[&(ServerId(3), 1_700_000_000_000, number)].bytes
    }

    #[test]
    fn parts_are_put_together_in_whatever_order_they_were_written() {
        let parts = [chunk(1, 3, b"def"), chunk(1, 0, b"abc"), chunk(2, 0, b"x")];
        let segments = read(&frames(&parts));
        assert_eq!(bytes_of(&segments, 1), b"abcdef");
        assert_eq!(bytes_of(&segments, 2), b"x");
        assert_eq!((segments.strange_bytes, segments.all.len()), (0, 2));
        // A dump holds once more what was kept before.
        let mut twice = segments;
        twice.read(&frames(&[chunk(1, 0, b"abcdefgh")]));
        twice.read(&frames(&[chunk(1, 0, b"ab")]));
        assert_eq!(bytes_of(&twice, 1), b"abcdefgh");
    }

    #[test]
    fn a_frame_that_was_cut_off_or_damaged_is_left_out_and_the_next_one_read() {
        let whole = frames(&[chunk(1, 0, b"abc"), chunk(1, 3, b"def"), chunk(2, 0, b"x")]);
        let first = frames(&[chunk(1, 0, b"abc")]);
        for cut in 1..first.len() {
            let mut file = first[..cut].to_vec();
            file.extend_from_slice(&frames(&[chunk(2, 0, b"x")]));
            let segments = read(&file);
            assert_eq!(bytes_of(&segments, 2), b"x", "cut at {cut}");
            assert_eq!((segments.strange_bytes, segments.all.len()), (cut, 1));
        }
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] ^= 0x40;
            let segments = read(&file);
            let is_hurt = segments != read(&whole);
            assert!(is_hurt, "byte {at}");
        }
        let mut file = whole;
        let second = first.len() + HEADER;
        file[second] ^= 1;
        let segments = read(&file);
        assert_eq!(
            (bytes_of(&segments, 1), bytes_of(&segments, 2)),
            (&b"abc"[..], &b"x"[..])
        );
        assert_eq!(segments.strange_bytes, HEADER + 3);
    }

    #[test]
    fn a_part_that_is_missing_is_told() {
        let segments = read(&frames(&[chunk(1, 0, b"abc"), chunk(1, 5, b"fg")]));
        let segment = &segments.all[&(ServerId(3), 1_700_000_000_000, 1)];
        assert_eq!((&segment.bytes[..], segment.has_hole), (&b"abc"[..], true));
    }
}
