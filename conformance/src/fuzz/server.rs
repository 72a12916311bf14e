//! A whole server, from the bytes of its connections to the answers: whatever strangers send, another client is served.

use crate::differential::generate::{Act, Kind, script};
use crate::differential::request::PLACE;
use crate::raw::create;
use crate::sim::alone::Alone;
use crate::sim::config_alone;
use crate::sim::net::StreamId;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::OnceLock;
use zabra::config::Config;
use zabra::wire::client::{ConnectRequest, ReplyFrame, opcode};
use zabra::wire::frame::{put_frame, split};
use zabra_model::ids::{SessionId, Zxid};

/// Connections of strangers at one time.
const STREAMS: usize = 4;
/// What strangers do, at most.
const STEPS: usize = 64;
/// Answers to what they may ask for in so many steps stay below this.
pub(super) const HEARD_BYTES_MAX: usize = 64 << 20;

/// The operations whose record comes from the input.
const OPCODES: [i32; 36] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 100, 101, 102,
    103, 104, 105, 106, 107, 108, -10, -11, 10, 99, 127,
];

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| match config_alone() {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    })
}

/// Steps of strangers, each a head (which connection, what), a length and bytes; then somebody else asks for a write and a read.
///
/// # Panics
/// If anything panics, something must not be, or the other client is not answered.
pub fn whole(data: &[u8]) {
    let mut alone = match Alone::begin(config().clone(), 1) {
        Ok(alone) => alone,
        Err(what) => panic!("{what}"),
    };
    let mut strangers = Strangers::default();
    let mut rest = data;
    for _ in 0..STEPS {
        let [head, length, tail @ ..] = rest else {
            break;
        };
        let (bytes, next) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = next;
        if let Some(us) = strangers.step(*head, bytes, &mut alone) {
            must(alone.run(us));
        }
    }
    must(alone.run(50_000));
    must(somebody_else(&mut alone));
    assert!(strangers.heard(&mut alone) < HEARD_BYTES_MAX);
}

pub(super) fn must(done: Result<(), String>) {
    if let Err(what) = done {
        panic!("{what}");
    }
}

#[derive(Default)]
struct Strangers {
    streams: [Option<StreamId>; STREAMS],
    xid: i32,
}

impl Strangers {
    /// Does one step; how long it lasts, if time passes.
    fn step(&mut self, head: u8, bytes: &[u8], alone: &mut Alone) -> Option<u64> {
        let slot = usize::from(head & 3);
        let stream = *self.streams[slot].get_or_insert_with(|| alone.dial());
        match (head >> 2) & 7 {
            0 => alone.say(stream, bytes),
            1 => alone.say(stream, &framed(bytes)),
            2 => {
                let (which, record) = bytes.split_first()?;
                alone.say(
                    stream,
                    &self.request(OPCODES[usize::from(*which) % OPCODES.len()], record),
                );
            }
            3 => {
                alone.say(stream, &introduction(bytes.first().copied().unwrap_or(0)));
                return Some(2_000);
            }
            4 => {
                alone.end(stream);
                self.streams[slot] = None;
            }
            5 => return Some(1_000 + 20_000 * bytes.len() as u64),
            6 => alone.say(stream, &self.generated(bytes)),
            _ => {
                let frame = framed(bytes);
                (0..32).for_each(|_| alone.say(stream, &frame));
            }
        }
        None
    }

    fn request(&mut self, opcode: i32, record: &[u8]) -> Vec<u8> {
        self.xid += 1;
        let xid = self.xid;
        let body = [&xid.to_be_bytes(), &opcode.to_be_bytes(), record].concat();
        framed(&body)
    }

    /// Requests as the comparison with ZooKeeper draws them, behind the node that they are under.
    fn generated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut seed = [0; 8];
        seed.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let mut out = BytesMut::new();
        self.xid += 1;
        create(PLACE, b"").put(self.xid, &mut out);
        let mut out = out.to_vec();
        let kind = Kind {
            requests: 8,
            restart: false,
            servers: 1,
        };
        for act in script(u64::from_be_bytes(seed), kind) {
            if let Act::Batch { ops, .. } = act {
                for op in ops {
                    self.xid += 1;
                    op.put(self.xid, PLACE, 1, &mut out);
                }
            }
        }
        out
    }

    fn heard(&self, alone: &mut Alone) -> usize {
        let streams = self.streams.iter().flatten();
        streams.map(|stream| alone.ear(*stream).bytes.len()).sum()
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_frame(&mut out, |b| b.put_slice(body));
    out.to_vec()
}

pub(super) fn introduction(how: u8) -> BytesMut {
    let mut out = BytesMut::new();
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 1000 + 100 * i32::from(how >> 2),
        session: SessionId(0),
        password: Some(Bytes::from_static(&[0; 16])),
        read_only: [None, Some(false), Some(true), Some(false)][usize::from(how & 3)],
    }
    .put(&mut out);
    out
}

/// A client that has nothing to do with strangers makes a node and asks for it.
pub(super) fn somebody_else(alone: &mut Alone) -> Result<(), String> {
    let stream = alone.dial();
    let mut out = introduction(255);
    create("/somebody-else", b"here").put(1, &mut out);
    alone.say(stream, &out);
    for _ in 0..100 {
        alone.run(100_000)?;
        let ear = alone.ear(stream);
        if ear.is_over {
            break;
        }
        let mut frames = Vec::new();
        split(&mut ear.bytes.clone(), 1 << 20, &mut frames).map_err(|e| e.to_string())?;
        if let Some(frame) = frames.get(1) {
            let answer = ReplyFrame::split(frame).and_then(|frame| frame.decode(opcode::CREATE));
            return match answer {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("somebody else is answered {frame:?}: {error}")),
            };
        }
    }
    Err("somebody else is not answered".to_owned())
}

/// Connections that begin well and ask for what the comparison with ZooKeeper asks for.
#[must_use]
pub fn good() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for seed in 0..64_u8 {
        let mut steps = vec![3 << 2, 1, seed];
        for step in 0..4 {
            steps.extend([6 << 2, 2, seed, step, 5 << 2, 0]);
        }
        all.push(steps);
    }
    for record in super::clients::good_records() {
        let Some((opcode, record)) = record.split_first() else {
            continue;
        };
        let which = OPCODES.iter().position(|of| *of == i32::from(*opcode));
        if let Some(which) = which.filter(|_| record.len() < 255) {
            let mut steps = vec![3 << 2, 1, 0, 2 << 2, record.len() as u8 + 1, which as u8];
            steps.extend(record);
            all.push(steps);
        }
    }
    all
}
