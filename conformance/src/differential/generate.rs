//! Scripts from a seed.

use super::request::{Op, name, put_bytes};
use super::values;
use fastrand::Rng;
use std::fmt;
use zabra::wire::client::{opcode as op, xid};

/// Sessions of a script.
pub const SLOTS: usize = 4;
/// Requests of one batch, at most.
const BATCH: usize = 64;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Act {
    /// A session says all of this before it waits for the answers. It connects first, if it is not connected.
    Batch {
        /// Whose.
        slot: usize,
        /// What.
        ops: Vec<Op>,
    },
    /// A session goes on over a new connection while it still has the old one.
    Move {
        /// Whose.
        slot: usize,
    },
    /// A session loses its connection.
    Drop {
        /// Whose.
        slot: usize,
    },
    /// A connection that begins in an unusual way, and ends.
    Knock(Knock),
    /// All connections end; the server that stands alone, or leads, is killed and comes back.
    Restart,
}

/// How a connection begins.
#[derive(Clone, Debug)]
pub struct Knock {
    /// For people.
    pub words: String,
    /// Bytes of a frame, before they are cut.
    pub frame: Vec<u8>,
    /// Place of a session's id, to be filled with that of this slot.
    pub session_of: Option<usize>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { slot, ops } => {
                let words: Vec<_> = ops.iter().map(|op| op.words.as_str()).collect();
                write!(f, "session {slot}: {}", words.join(" | "))
            }
            Self::Move { slot } => write!(f, "session {slot} moves"),
            Self::Drop { slot } => write!(f, "session {slot} loses its connection"),
            Self::Knock(knock) => write!(f, "a connection begins with {}", knock.words),
            Self::Restart => write!(f, "restart"),
        }
    }
}

/// A script of about so many requests, with a restart in its middle or without one.
#[must_use]
pub fn script(seed: u64, requests: usize, restart: bool) -> Vec<Act> {
    let rng = &mut Rng::with_seed(seed);
    let mut restart = restart;
    let mut acts = vec![];
    let mut made = 0;
    while made < requests {
        if restart && made > requests / 2 {
            restart = false;
            acts.push(Act::Restart);
        }
        let slot = rng.usize(..SLOTS);
        match rng.u16(..1000) {
            0..15 => acts.push(Act::Move { slot }),
            15..25 => acts.push(Act::Drop { slot }),
            25..40 => acts.push(Act::Knock(knock(rng))),
            _ => {
                let count = rng.usize(1..=BATCH);
                made += count;
                batches(rng, slot, count, &mut acts);
            }
        }
    }
    acts
}

/// So many requests of one session; those that have to be alone are.
fn batches(rng: &mut Rng, slot: usize, count: usize, acts: &mut Vec<Act>) {
    let mut ops = vec![];
    for _ in 0..count {
        let op = request(rng);
        // ZooKeeper judges what comes behind a setACL by the list before it, until that is applied (D-76).
        // What setWatches may tell (D-74) is asked when nothing has changed since.
        let is_last = matches!(
            op.opcode,
            op::CLOSE_SESSION | op::SET_ACL | op::SET_WATCHES | op::SET_WATCHES2
        );
        if op.alone && !ops.is_empty() {
            let ops = std::mem::take(&mut ops);
            acts.push(Act::Batch { slot, ops });
        }
        let goes = op.alone || is_last;
        ops.push(op);
        if goes {
            let ops = std::mem::take(&mut ops);
            acts.push(Act::Batch { slot, ops });
        }
    }
    if !ops.is_empty() {
        acts.push(Act::Batch { slot, ops });
    }
}

/// One request of any kind.
fn request(rng: &mut Rng) -> Op {
    match rng.u16(..1000) {
        0..40 => broken(rng),
        40..44 => unknown(rng),
        44..47 => Op::new(op::CLOSE_SESSION),
        _ => sound(rng),
    }
}

/// A request in good order, whatever it asks.
fn sound(rng: &mut Rng) -> Op {
    match rng.u8(..=255) {
        0..75 => create(rng),
        75..100 => delete(rng),
        100..125 => set_data(rng),
        125..135 => acl(rng),
        135..190 => read(rng),
        190..212 => multi(rng),
        212..220 => multi_read(rng),
        220..238 => watch(rng),
        238..243 => set_watches(rng),
        243..246 => auth(rng),
        246..249 => Op::new(op::PING).with_xid(xid::PING),
        249..251 => Op::new(op::WHO_AM_I),
        _ => Op::new(op::SYNC).text(values::path(rng).as_deref()),
    }
}

fn create(rng: &mut Rng) -> Op {
    let opcode = [
        op::CREATE,
        op::CREATE,
        op::CREATE2,
        op::CREATE2,
        op::CREATE_CONTAINER,
        op::CREATE_TTL,
    ][rng.usize(..6)];
    let usual = match opcode {
        op::CREATE_CONTAINER => Some(4),
        op::CREATE_TTL => Some(5 + i32::from(rng.bool())),
        _ => None,
    };
    let flags = match usual {
        Some(flags) if rng.u8(..8) > 0 => flags,
        _ => values::flags(rng),
    };
    // Until it is applied, ZooKeeper takes a container with the flag of an ephemeral node for one (as D-76).
    let flags = match (opcode, flags) {
        (op::CREATE_CONTAINER, 1 | 3) => 4,
        _ => flags,
    };
    let op = Op::new(opcode)
        .text(values::path(rng).as_deref())
        .buffer(values::data(rng).as_deref())
        .acl(values::acl(rng).as_deref())
        .int("flags", flags);
    if opcode != op::CREATE_TTL {
        return op;
    }
    // A negative time to live and none of the flags: ZooKeeper makes a transaction of it that it cannot apply (D-75).
    let ttl = values::ttl(rng);
    let ttl = match flags {
        5 | 6 => ttl,
        _ => ttl & i64::MAX,
    };
    op.long("ttl", ttl)
}

fn delete(rng: &mut Rng) -> Op {
    Op::new(op::DELETE)
        .text(values::path(rng).as_deref())
        .int("version", values::version(rng))
}

fn set_data(rng: &mut Rng) -> Op {
    Op::new(op::SET_DATA)
        .text(values::path(rng).as_deref())
        .buffer(values::data(rng).as_deref())
        .int("version", values::version(rng))
}

/// setACL, of the episode's nodes alone: what it did to the root would bind the episodes that follow.
fn acl(rng: &mut Rng) -> Op {
    Op::new(op::SET_ACL)
        .text(Some(&values::good_path(rng)))
        .acl(values::acl(rng).as_deref())
        .int("version", values::version(rng))
}

fn read(rng: &mut Rng) -> Op {
    let opcode = [
        op::EXISTS,
        op::GET_DATA,
        op::GET_CHILDREN,
        op::GET_CHILDREN2,
        op::GET_ACL,
        op::GET_EPHEMERALS,
        op::GET_ALL_CHILDREN_NUMBER,
    ][rng.usize(..7)];
    let op = Op::new(opcode).text(values::path(rng).as_deref());
    match opcode {
        op::GET_ACL | op::GET_EPHEMERALS | op::GET_ALL_CHILDREN_NUMBER => op,
        _ => op.flag("watch", rng.u8(..3) == 0),
    }
}

fn multi(rng: &mut Rng) -> Op {
    let mut op = Op::new(op::MULTI);
    for _ in 0..[0, 1, 2, 2, 3, 3, 4, 6][rng.usize(..8)] {
        let part = match rng.u8(..64) {
            0..24 => create(rng),
            24..36 => delete(rng),
            36..50 => set_data(rng),
            50..61 => Op::new(op::CHECK)
                .text(values::path(rng).as_deref())
                .int("version", values::version(rng)),
            61 => read(rng),
            62 => acl(rng),
            _ => Op::new(op::MULTI).end(),
        };
        op = op.part(&part);
    }
    op.end()
}

fn multi_read(rng: &mut Rng) -> Op {
    let mut op = Op::new(op::MULTI_READ);
    for _ in 0..rng.usize(..5) {
        let opcode = match rng.u8(..32) {
            0 => op::EXISTS,
            1 => op::GET_CHILDREN2,
            n if n % 2 == 0 => op::GET_DATA,
            _ => op::GET_CHILDREN,
        };
        let watch = rng.u8(..4) == 0;
        let part = Op::new(opcode).text(values::path(rng).as_deref());
        op = op.part(&part.flag("watch", watch));
    }
    op.end()
}

fn watch(rng: &mut Rng) -> Op {
    let path = values::path(rng);
    match rng.u8(..8) {
        0..5 => Op::new(op::ADD_WATCH)
            .text(path.as_deref())
            .int("mode", [0, 1, 0, 1, 0, 1, 2, -1][rng.usize(..8)]),
        5..7 => Op::new(op::REMOVE_WATCHES)
            .text(path.as_deref())
            .int("type", rng.i32(0..7)),
        _ => Op::new(op::CHECK_WATCHES)
            .text(path.as_deref())
            .int("type", rng.i32(0..7)),
    }
}

fn set_watches(rng: &mut Rng) -> Op {
    let opcode = [op::SET_WATCHES, op::SET_WATCHES2][rng.usize(..2)];
    let zxid_at = match rng.u8(..3) {
        0 => None,
        _ => Some(0),
    };
    let mut op = Op::new(opcode).with_xid(xid::SET_WATCHES);
    op = match zxid_at {
        None => op.long("after", [0, i64::MAX, -1][rng.usize(..3)]),
        Some(_) => op.long("after what was seen instead of", 0),
    };
    op.zxid_at = zxid_at;
    let lists = if opcode == op::SET_WATCHES { 3 } else { 5 };
    for _ in 0..lists {
        let count = rng.usize(..4);
        let paths: Vec<_> = (0..count)
            .map(|_| values::path(rng).unwrap_or_default())
            .collect();
        op = op.texts(&paths);
    }
    op
}

fn auth(rng: &mut Rng) -> Op {
    let (scheme, proof) = values::proof(rng);
    Op::new(op::AUTH)
        .int("type", 0)
        .text(scheme.map(str::as_bytes))
        .buffer(proof)
        .with_xid(xid::AUTH)
        .alone()
}

/// A code that is nobody's. deleteContainer (D-36), sasl (D-37) and createSession (D-75) differ by decision, and are left out because
/// ZooKeeper goes on where Zabra ends the connection.
fn unknown(rng: &mut Rng) -> Op {
    let codes = [-12, -2, -1, 0, 10, 13, 18, 23, 99, 108, 1000, i32::MIN];
    let code = codes[rng.usize(..codes.len())];
    let mut op = Op::new(code).text(Some(b"/")).int("version", 0).alone();
    op.words = name(code) + " with a path";
    op
}

/// A request whose record has been damaged.
fn broken(rng: &mut Rng) -> Op {
    let mut op = sound(rng);
    op.zxid_at = None;
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
    let how = match rng.u8(..5) {
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

/// An unusual beginning.
fn knock(rng: &mut Rng) -> Knock {
    let timeout = [0, -1, i32::MIN, i32::MAX, 1, 700_000, 5_000_000][rng.usize(..7)];
    let seen = [0, 0, 0, 0, -1, i64::MAX][rng.usize(..6)];
    let version = [0, 0, 0, 1, -1][rng.usize(..5)];
    let (session, session_of, whose) = match rng.u8(..4) {
        0 => (0x1234_5678, None, "an unknown session".to_owned()),
        1 => {
            let slot = rng.usize(..SLOTS);
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
    }
}
