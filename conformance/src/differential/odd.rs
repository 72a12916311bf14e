//! What no good client says: damaged records, codes of nobody, frames that are none, odd beginnings.

use super::request::{Op, name, put_bytes};
use super::sound::sound;
use fastrand::Rng;
use zabra::wire::client::opcode as op;

/// How a connection begins.
#[derive(Clone, Debug)]
pub struct Knock {
    /// For people.
    pub words: String,
    /// Bytes of a frame, before they are cut.
    pub frame: Vec<u8>,
    /// Place of a session's id, to be filled with that of this slot.
    pub session_of: Option<usize>,
    /// At which server, by its part: the n-th, or round again.
    pub at: usize,
}

/// A code that is nobody's. deleteContainer (D-36), sasl (D-37) and createSession (D-75) differ by decision, and are left out because
/// ZooKeeper goes on where Zabra ends the connection.
pub fn unknown(rng: &mut Rng) -> Op {
    let codes = [-12, -2, -1, 0, 10, 13, 18, 23, 99, 108, 1000, i32::MIN];
    let code = codes[rng.usize(..codes.len())];
    let mut op = Op::new(code).text(Some(b"/")).int("version", 0).alone();
    op.words = name(code) + " with a path";
    op
}

/// A request whose record has been damaged.
pub fn broken(rng: &mut Rng) -> Op {
    let mut op = sound(rng);
    op.zxid_at = None;
    op.damaged = true;
    let length = op.record.len();
    if length == 0 {
        return op;
    }
    // A zxid is a number of one side's own.
    let begin = match op.opcode {
        op::SET_WATCHES | op::SET_WATCHES2 => 8,
        _ => 0,
    };
    let at = rng.usize(begin..length);
    let how = match if op.has_ttl { 0 } else { rng.u8(..5) } {
        0 => {
            op.record.truncate(at);
            "cut at"
        }
        1 => {
            op.record[at] = rng.u8(..);
            "one byte changed at"
        }
        2 => {
            let at = at.min(length.saturating_sub(4));
            let lies = [-1, -2, i32::MIN, i32::MAX, 0x0010_0000, 0x7fff];
            // Of a length, -1 makes a null (D-73). ZooKeeper has fired the events of the lists before a null one.
            let lie = lies[rng.usize(usize::from(begin > 0)..lies.len())];
            op.has_null |= lie == -1;
            for (byte, lie) in op.record[at..].iter_mut().zip(i32::to_be_bytes(lie)) {
                *byte = lie;
            }
            "a number changed at"
        }
        3 => {
            put_bytes(Some(b"more"), &mut op.record);
            "more behind"
        }
        _ => {
            op.record.remove(at);
            "one byte missing at"
        }
    };
    op.words = format!("{} [{how} {at}: {}]", op.words, hex(&op.record));
    op
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(120).map(|b| format!("{b:02x}"));
    shown.collect()
}

/// Bytes that are no frame, or no request: the connection ends.
pub fn no_frame(rng: &mut Rng) -> Op {
    let lengths = [-1, i32::MIN, i32::MAX, 0x0010_0000, 0, 1, 4, 7];
    let length = lengths[rng.usize(..lengths.len())];
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + usize::try_from(length).map_or(0, |n| n.min(7)), 0);
    Op::bytes(format!("a frame of {length} bytes"), frame)
}

/// An unusual beginning.
pub fn knock(rng: &mut Rng, slots: usize) -> Knock {
    let timeout = [0, -1, i32::MIN, i32::MAX, 1, 700_000, 5_000_000][rng.usize(..7)];
    let seen = [0, 0, 0, 0, -1, i64::MAX][rng.usize(..6)];
    let version = [0, 0, 0, 1, -1][rng.usize(..5)];
    let (session, session_of, whose) = match rng.u8(..4) {
        0 => (0x1234_5678, None, "an unknown session".to_owned()),
        1 => {
            let slot = rng.usize(..slots);
            (0, Some(slot), format!("session {slot}, wrong password"))
        }
        _ => (0, None, "no session".to_owned()),
    };
    let password: Option<&[u8]> =
        [None, Some(&[][..]), Some(&[7; 16]), Some(&[0; 40])][rng.usize(..4)];
    let tail: &[u8] = [&[][..], &[0], &[1], &[2], &[0, 0]][rng.usize(..5)];
    let mut frame = vec![0; 4];
    frame.extend(i32::to_be_bytes(version));
    frame.extend(i64::to_be_bytes(seen));
    frame.extend(i32::to_be_bytes(timeout));
    frame.extend(i64::to_be_bytes(session));
    put_bytes(password, &mut frame);
    frame.extend(tail);
    let mut words = format!(
        "version {version}, seen {seen}, timeout {timeout}, {whose}, password of {:?}, tail {tail:?}",
        password.map(<[u8]>::len)
    );
    let mut length = i32::try_from(frame.len() - 4).unwrap_or(0);
    match rng.u8(..8) {
        0 => {
            length = rng.i32(..length);
            if length >= 0 {
                frame.truncate(usize::try_from(length).unwrap_or(0) + 4);
            }
            words.push_str(&format!(", length {length}"));
        }
        1 => {
            length = i32::MAX;
            words.push_str(", a huge length");
        }
        _ => {}
    }
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Knock {
        words,
        frame,
        session_of,
        at: rng.usize(..6),
    }
}
