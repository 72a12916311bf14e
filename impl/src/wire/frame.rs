//! Length-prefixed frames: how client and election messages follow each other on a stream.

use super::WireError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// `jute.maxbuffer`'s default: the longest frame of a client.
pub const CLIENT_FRAME_BYTES_MAX: usize = 0xf_ffff;

/// The longest notification an election peer may send.
pub const ELECTION_FRAME_BYTES_MAX: usize = 524_288;

/// Takes every complete frame out of `buf`, in order, and appends their bodies to `out`; a partial one stays for the next read.
///
/// The frames share one piece of memory: a batch of requests costs one split of the read buffer. Returns how many were taken.
///
/// Errors: a length below 0 or above `frame_bytes_max`. Frames before it have been taken; the stream is past saving.
pub fn split(
    buf: &mut BytesMut,
    frame_bytes_max: usize,
    out: &mut Vec<Bytes>,
) -> Result<usize, WireError> {
    let mut complete = 0_usize;
    let mut frames = 0_usize;
    let mut wrong = None;
    while let Some(mut prefix) = buf.get(complete..).and_then(|rest| rest.get(..4)) {
        let length = prefix.get_i32();
        let n = match usize::try_from(length) {
            Ok(n) if n <= frame_bytes_max => n,
            _ => {
                wrong = Some(WireError::Length {
                    what: "frame",
                    offset: complete,
                    length: length.into(),
                    max: frame_bytes_max,
                });
                break;
            }
        };
        let end = complete.saturating_add(4).saturating_add(n);
        if end > buf.len() {
            break;
        }
        complete = end;
        frames = frames.saturating_add(1);
    }
    if frames > 0 {
        let mut batch = buf.split_to(complete).freeze();
        out.reserve(frames);
        for _ in 0..frames {
            // Both steps stay inside `batch`: the loop above has walked the same lengths.
            let n = usize::try_from(batch.get_i32()).unwrap_or(0);
            out.push(batch.split_to(n));
        }
    }
    match wrong {
        Some(error) => Err(error),
        None => Ok(frames),
    }
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
