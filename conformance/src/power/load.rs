//! Clients that write without a pause, several requests in flight, through whichever server answers.

use super::ledger::{Ledger, REGISTER, Seen, Write};
use crate::raw::{Frames, RawClient, create, create_with};
use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use zabra::wire::client::{ReplyFrame, Request, Response};
use zabra_model::tree::op::{ReadOp, WriteOp};

/// Nodes that a client keeps; it deletes what is more.
const NODES_KEPT: usize = 48;
/// How long an answer may take before the client goes elsewhere.
const ANSWER: Duration = Duration::from_millis(1500);
/// Session timeout, ms.
const SESSION: i32 = 8000;
/// ZooKeeper's code of a server that has lost its leader.
const CONNECTION_LOSS: i32 = -4;
/// … and of one whose session is gone.
const SESSION_GONE: std::ops::RangeInclusive<i32> = -118..=-112;

/// A client at work, and how it is stopped.
#[derive(Debug)]
pub struct Client {
    thread: std::thread::JoinHandle<(Ledger, Result<()>)>,
    stop: Arc<AtomicBool>,
}

impl Client {
    /// Begins to write through these ports. Each answer counts in `answers`.
    #[must_use]
    pub fn start(mut ledger: Ledger, ports: Vec<u16>, seed: u64, answers: Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut result = Ok(());
            while !told.load(Ordering::Relaxed) && result.is_ok() {
                let port = ports[random.usize(..ports.len())];
                result = work(&mut ledger, port, &mut random, &told, &answers);
            }
            (ledger, result)
        });
        Self { thread, stop }
    }

    /// Tells it to end when what is in flight is answered, or lost.
    pub fn tell(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// An answer contradicted another.
    pub fn join(self) -> Result<Ledger> {
        let (ledger, result) = self.thread.join().ok().context("a client panicked")?;
        result?;
        Ok(ledger)
    }
}

/// One connection, from its beginning to its end, whoever ends it. The error is a broken promise only.
fn work(
    ledger: &mut Ledger,
    port: u16,
    random: &mut fastrand::Rng,
    stop: &AtomicBool,
    answers: &AtomicU64,
) -> Result<()> {
    let Ok(mut frames) = open(port) else {
        std::thread::sleep(Duration::from_millis(20));
        return Ok(());
    };
    let window = random.usize(1..=12);
    let mut flight: VecDeque<(i32, Write)> = VecDeque::new();
    let mut next = 0;
    loop {
        let mut out = BytesMut::new();
        while flight.len() < window && !stop.load(Ordering::Relaxed) {
            next += 1;
            let write = choose(ledger, random);
            request(ledger, write).put(next, &mut out);
            flight.push_back((next, write));
        }
        if flight.is_empty() || (!out.is_empty() && frames.send(&out).is_err()) {
            break;
        }
        let Ok(Some(body)) = frames.receive(ANSWER) else {
            break;
        };
        let reply = ReplyFrame::split(&body)?;
        let (expected, write) = flight.pop_front().context("an answer to nothing")?;
        let header = &reply.header;
        ensure!(
            header.xid == expected,
            "{write:?} has xid {expected}; the answer is {header:?}"
        );
        if header.err == CONNECTION_LOSS || SESSION_GONE.contains(&header.err) {
            flight.push_front((expected, write));
            break;
        }
        if header.err != 0 {
            bail!(
                "{}: {write:?} was refused with {} at {:#x}: nobody else writes here",
                ledger.directory(),
                header.err,
                header.zxid.0
            );
        }
        let zxid = header.zxid.0;
        let version = match (write, reply.decode(request(ledger, write).opcode())?) {
            (Write::Set(_), Response::Stat(stat)) => stat.version,
            _ => 0,
        };
        if let Err(why) = ledger.answered(write, zxid, version) {
            bail!("{why}");
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    ledger.unanswered += flight.len() as u64;
    Ok(())
}

fn open(port: u16) -> Result<Frames> {
    RawClient::connect_within(port, SESSION, ANSWER).map(RawClient::into_frames)
}

fn choose(ledger: &mut Ledger, random: &mut fastrand::Rng) -> Write {
    match random.u8(..10) {
        0..4 => ledger.set(),
        4..7 => ledger.create(),
        _ => ledger.delete(NODES_KEPT).unwrap_or_else(|| ledger.create()),
    }
}

fn request(ledger: &Ledger, write: Write) -> Request {
    match write {
        Write::Create(number) => create_with(&ledger.path(number), ledger.data(number).into()),
        Write::Set(value) => Request::Write(WriteOp::SetData {
            path: Some(register(ledger).into()),
            data: Some(Bytes::from(ledger.data(value))),
            version: -1,
        }),
        Write::Delete(number) => Request::Write(WriteOp::Delete {
            path: Some(ledger.path(number).into()),
            version: -1,
        }),
    }
}

fn register(ledger: &Ledger) -> String {
    format!("{}/{REGISTER}", ledger.directory())
}

/// Makes the directory and the register of a client.
///
/// # Errors
/// They are not made.
pub fn prepare(client: &mut RawClient, ledger: &Ledger, limit: Duration) -> Result<()> {
    client.ok(&create(&ledger.directory(), b""), limit)?;
    client.ok(&create(&register(ledger), b""), limit)?;
    Ok(())
}

/// All nodes of a client's directory, as this server has them after a sync.
///
/// # Errors
/// No answer within `limit`.
pub fn read_back(
    client: &mut RawClient,
    ledger: &Ledger,
    limit: Duration,
) -> Result<BTreeMap<String, Seen>> {
    let directory = ledger.directory();
    let sync = Request::Sync {
        path: Some(directory.as_str().into()),
    };
    client.ok(&sync, limit)?;
    let list = Request::Read(ReadOp::GetChildren {
        path: directory.as_str().into(),
        watch: false,
    });
    let names = match client.call(&list, limit)? {
        Ok(Response::Children(names, _)) => names,
        // Not even the directory is left; the ledger says what that means.
        Err(_) => return Ok(BTreeMap::new()),
        Ok(other) => bail!("{other:?} to getChildren"),
    };
    let mut seen = BTreeMap::new();
    for name in names {
        let get = Request::Read(ReadOp::GetData {
            path: format!("{directory}/{name}").into(),
            watch: false,
        });
        match client.call(&get, limit)? {
            Ok(Response::Data(data, stat)) => {
                seen.insert(name.into(), (data.unwrap_or_default().to_vec(), stat));
            }
            // A request without an answer was carried out meanwhile.
            Err(-101) => {}
            other => bail!("{other:?} to getData of {directory}/{name}"),
        }
    }
    Ok(seen)
}
