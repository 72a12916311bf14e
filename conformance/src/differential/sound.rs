//! Requests in good order, whatever they ask.

use super::request::Op;
use super::values;
use fastrand::Rng;
use zabra::wire::client::{opcode as op, xid};

/// A request in good order, whatever it asks.
pub fn sound(rng: &mut Rng) -> Op {
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
    let mut op = op.long("ttl", ttl);
    op.has_ttl = true;
    op.doubtful |= !(1..=0xff_ffff_ffff).contains(&ttl);
    op
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
    for _ in 0..[0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 6, 60][rng.usize(..12)] {
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

/// A frame about as long as one may be, or longer, which ends the connection.
pub fn big(rng: &mut Rng) -> Op {
    const FRAME_BYTES_MAX: usize = 0xf_ffff;
    let op = Op::new(op::SET_DATA).text(Some(&values::good_path(rng)));
    let around = 8 + op.record.len() + 4 + 4;
    let more = [0, 1, 100][rng.usize(..3)];
    let fits = rng.u8(..4) > 0;
    let data = if fits {
        FRAME_BYTES_MAX - around - more
    } else {
        FRAME_BYTES_MAX - around + 1 + more
    };
    let op = op.buffer(Some(&vec![b'x'; data])).int("version", -1);
    if fits { op } else { op.alone() }
}

/// What has to do with the quota of the episode's directory. Its texts are sound: of others, ZooKeeper's thread that applies dies.
pub fn quota(rng: &mut Rng) -> Op {
    const QUOTA: &str = "/zookeeper/quota/@@@@@@@@";
    let everybody = [values::EVERYBODY];
    let limits = format!("{QUOTA}/zookeeper_limits");
    let stats = format!("{QUOTA}/zookeeper_stats");
    let path = [QUOTA, &limits, &stats][rng.usize(..3)];
    let path = Some(path.as_bytes());
    let texts = [
        "count=5,bytes=-1",
        "count=3,bytes=40",
        "count=-1,bytes=100",
        "count=-1,bytes=-1=;byteHardLimit=60;countHardLimit=4",
        "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=6",
        "count=0,bytes=0",
    ];
    let text = Some(texts[rng.usize(..texts.len())].as_bytes());
    let make = |path: &str, data| {
        let op = Op::new(op::CREATE).text(Some(path.as_bytes()));
        op.buffer(data).acl(Some(&everybody)).int("flags", 0)
    };
    match rng.u8(..16) {
        0..4 => make(QUOTA, Some(b"")),
        4..7 => make(&limits, text),
        7..10 => make(&stats, Some(b"count=0,bytes=0")),
        10..13 => Op::new(op::GET_DATA).text(path).flag("watch", rng.bool()),
        13 => Op::new(op::SET_DATA)
            .text(Some(limits.as_bytes()))
            .buffer(text)
            .int("version", -1),
        14 => Op::new(op::DELETE).text(path).int("version", -1),
        _ => Op::new(op::GET_CHILDREN2)
            .text(path)
            .flag("watch", rng.bool()),
    }
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

/// A request in good order under an xid that no client would choose.
pub fn under_an_odd_xid(rng: &mut Rng) -> Op {
    let op = sound(rng);
    match op.xid {
        Some(_) => op,
        None => {
            let xid = [0, -3, -9, i32::MIN, xid::PING, xid::AUTH, xid::SET_WATCHES][rng.usize(..7)];
            let mut op = op.with_xid(xid);
            op.words.push_str(&format!(" under xid {xid}"));
            op
        }
    }
}
