//! Length-prefixed frames: how client and election messages follow each other on a stream.

use super::WireError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// `jute.maxbuffer`'s default: the longest frame of a client.
pub const CLIENT_FRAME_BYTES_MAX: usize = 0xf_ffff;

/// The longest notification an election peer may send.
pub const ELECTION_FRAME_BYTES_MAX: usize = 524_288;

/// Frames that came together, in order. They share one piece of memory, and none of them is a piece of its own: a batch of requests
/// costs one split of the read buffer.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Each is there as a whole: its length, then its body.
    bytes: Bytes,
    count: usize,
}

impl Frames {
    /// Takes every complete frame out of `buf`; a partial one stays for the next read.
    ///
    /// Errors, beside the frames before it: a length below 0 or above `frame_bytes_max`. The stream is past saving.
    pub fn take(buf: &mut BytesMut, frame_bytes_max: usize) -> (Self, Result<(), WireError>) {
        let (mut complete, mut count) = (0_usize, 0);
        let mut rest = &buf[..];
        let mut found = Ok(());
        while let Some((prefix, bodies)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = i32::from_be_bytes(*prefix);
            let Some(n) = usize::try_from(length)
                .ok()
                .filter(|n| *n <= frame_bytes_max)
            else {
                found = Err(WireError::Length {
                    what: "frame",
                    offset: complete,
                    length: length.into(),
                    max: frame_bytes_max,
                });
                break;
            };
            let Some(behind) = bodies.get(n..) else {
                break;
            };
            rest = behind;
            complete = buf.len() - rest.len();
            count += 1;
        }
        let bytes = if count > 0 {
            buf.split_to(complete).freeze()
        } else {
            Bytes::new()
        };
        (Self { bytes, count }, found)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What they take with their lengths, bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Their bodies.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (body, behind) = first_of(rest)?;
            rest = behind;
            Some(body)
        })
    }

    /// A part of one of them, as a piece of its own that shares the memory.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// The memory that they lie in.
    #[must_use]
    pub const fn memory(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of the first so many of them.
    fn bytes_of(&self, count: usize) -> usize {
        self.iter()
            .take(count)
            .map(|body| LENGTH_BYTES + body.len())
            .sum()
    }

    /// Lets go of the first so many.
    pub fn skip(&mut self, count: usize) {
        if count >= self.count {
            *self = Self::default();
        } else {
            self.bytes.advance(self.bytes_of(count));
            self.count -= count;
        }
    }

    /// Lets go of all but the first so many.
    pub fn truncate(&mut self, count: usize) {
        if count < self.count {
            self.bytes.truncate(self.bytes_of(count));
            self.count = count;
        }
    }
}

/// The body of the first frame, and what is behind it.
fn first_of(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, bodies) = frames.split_first_chunk::<LENGTH_BYTES>()?;
    bodies.split_at_checked(u32::from_be_bytes(*prefix) as usize)
}

/// Takes every complete frame out of `buf`, in order, and appends their bodies to `out`, each as a piece of its own; a partial one stays
/// for the next read. Returns how many were taken.
///
/// Errors: as [`Frames::take`]. Frames before it have been taken.
pub fn split(
    buf: &mut BytesMut,
    frame_bytes_max: usize,
    out: &mut Vec<Bytes>,
) -> Result<usize, WireError> {
    let (frames, found) = Frames::take(buf, frame_bytes_max);
    out.reserve(frames.len());
    out.extend(frames.iter().map(|body| frames.share(body)));
    found.map(|()| frames.len())
}

/// Appends one frame to `out`, whose body is what `body` writes. The length is filled in afterwards, so nothing is copied.
pub fn put_frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    end_frame(out, start);
}

/// Bytes of the length before a frame's body.
pub const LENGTH_BYTES: usize = 4;

/// Fills in the length of the frame that began at `start` and ends here; [`LENGTH_BYTES`] of room were left for it.
pub fn end_frame(out: &mut BytesMut, start: usize) {
    let length = out.len().saturating_sub(start).saturating_sub(LENGTH_BYTES);
    let prefix = i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
    if let Some(place) = out
        .get_mut(start..)
        .and_then(<[u8]>::first_chunk_mut::<LENGTH_BYTES>)
    {
        *place = prefix;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_complete_frames_are_taken_and_the_partial_one_stays() {
        let mut buf = BytesMut::new();
        put_frame(&mut buf, |b| b.put_slice(b"one"));
        put_frame(&mut buf, |_| {});
        put_frame(&mut buf, |b| b.put_slice(b"three"));
        buf.truncate(buf.len() - 1);
        let mut out = vec![];
        assert_eq!(split(&mut buf, 16, &mut out), Ok(2));
        assert_eq!(out, [Bytes::from_static(b"one"), Bytes::new()]);
        buf.put_u8(b'e');
        assert_eq!(split(&mut buf, 16, &mut out), Ok(1));
        assert_eq!(out.last(), Some(&Bytes::from_static(b"three")));
        assert!(buf.is_empty());
    }

    #[test]
    fn frames_go_from_either_end_and_share_their_memory() {
        let mut buf = BytesMut::new();
        for body in [&b"one"[..], b"", b"three", b"four"] {
            put_frame(&mut buf, |b| b.put_slice(body));
        }
        let whole = buf.len();
        let (mut frames, found) = Frames::take(&mut buf, 16);
        assert_eq!((found, frames.len(), frames.bytes()), (Ok(()), 4, whole));
        let last = frames.iter().last().unwrap();
        assert!(std::ptr::eq(frames.share(last).as_ptr(), last.as_ptr()));
        frames.truncate(9);
        frames.truncate(3);
        frames.skip(1);
        assert_eq!(frames.iter().collect::<Vec<_>>(), [&b""[..], b"three"]);
        assert_eq!((frames.len(), frames.bytes()), (2, 13));
        frames.skip(2);
        assert!(frames.is_empty() && frames.bytes() == 0 && frames.iter().next().is_none());
        let (none, found) = Frames::take(&mut buf, 16);
        assert!(none.is_empty() && found.is_ok());
    }

    #[test]
    fn a_bad_length_is_refused_after_the_frames_before_it() {
        for bad in [-1_i32, 17] {
            let mut buf = BytesMut::new();
            put_frame(&mut buf, |b| b.put_slice(b"ok"));
            buf.put_i32(bad);
            let mut out = vec![];
            assert_eq!(
                split(&mut buf, 16, &mut out),
                Err(WireError::Length {
                    what: "frame",
                    offset: 6,
                    length: bad.into(),
                    max: 16
                })
            );
            assert_eq!(out, [Bytes::from_static(b"ok")]);
        }
    }

    #[test]
    fn frames_arriving_byte_by_byte_are_the_same_frames() -> Result<(), WireError> {
        let mut whole = BytesMut::new();
        for n in 0..5_u8 {
            put_frame(&mut whole, |b| b.put_bytes(n, n.into()));
        }
        let (mut buf, mut out) = (BytesMut::new(), vec![]);
        for byte in whole {
            buf.put_u8(byte);
            split(&mut buf, 16, &mut out)?;
        }
        assert_eq!(
            out.iter().map(Bytes::len).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        Ok(())
    }
}
