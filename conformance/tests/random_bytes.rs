//! Noise on every port of every server: what has no meaning neither stops nor slows an ensemble, nor fills its memory.
//!
//! Connections bring random bytes, frames cut short, lengths that promise too much, and frames that begin as they should and go
//! on as they should not; some stay open and say nothing. `ZABRA_NOISE_SECONDS` (10) says how long, `ZABRA_SEED` repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use bytes::{BufMut, Bytes, BytesMut};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zabra::wire::client::{ConnectRequest, Request};
use zabra_conformance::cluster::{Cluster, PATIENCE, Server, wait_until};
use zabra_conformance::raw::{RawClient, create};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::op::{ReadOp, WriteOp};

/// Operations with noise may take this many times as long as without: the noise itself takes its share of the machine.
const SLOWDOWN_MAX: u64 = 8;
/// Memory that noise may cost a server, bytes.
const GROWTH_MAX: u64 = 32 << 20;
/// An operation that takes longer counts as stopped.
const OPERATION_MAX: Duration = Duration::from_secs(5);
/// Connections that one source of noise holds open without a word.
const SILENT_MAX: usize = 16;
/// Between two connections of one source.
const PAUSE: Duration = Duration::from_millis(4);

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        let length = 1 + self.below(max);
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn framed(&mut self, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(body.len()).unwrap());
        out.put_slice(body);
        out
    }
}

#[derive(Clone, Copy, Debug)]
enum Port {
    Client,
    Election,
    Quorum,
}

/// Bytes that a stranger might send to a port of this kind.
fn noise(port: Port, random: &mut Random) -> Vec<u8> {
    match (port, random.below(8)) {
        (_, 0) => random.bytes(64),
        (_, 1) => random.bytes(64 * 1024),
        // A length that is negative, or promises more than will come, or more than may.
        (_, 2) => {
            let lengths = [-1, i32::MIN, i32::MAX, 0, 1 << 30, 0xf_ffff, 4096];
            let length = lengths[random.below(7) as usize];
            [length.to_be_bytes().as_slice(), &random.bytes(512)].concat()
        }
        (_, 3) => {
            let body = random.bytes(2048);
            random.framed(&body).to_vec()
        }
        (Port::Client, 4) => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        (Port::Client, _) => client_noise(random),
        (Port::Election, _) => election_noise(random),
        (Port::Quorum, _) => quorum_noise(random),
    }
}

/// A session as it should be, then requests of any opcode with any record.
fn client_noise(random: &mut Random) -> Vec<u8> {
    let mut out = BytesMut::new();
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 4000,
        session: SessionId(if random.below(2) == 0 {
            0
        } else {
            random.next() as i64
        }),
        password: Some(Bytes::from(random.bytes(32))),
        read_only: Some(random.below(2) == 0),
    };
    request.put(&mut out);
    for _ in 0..random.below(8) {
        let mut body = BytesMut::new();
        body.put_i32(random.next() as i32);
        // closeSession and createSession among them.
        body.put_i32(random.below(130) as i32 - 15);
        body.put_slice(&random.bytes(256));
        let frame = random.framed(&body);
        out.put_slice(&frame);
    }
    out.to_vec()
}

/// The first message of a peer: protocol version, then an id that is no member's, an address, and anything after it.
fn election_noise(random: &mut Random) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i64(if random.below(2) == 0 { -65536 } else { -65535 });
    out.put_i64(if random.below(2) == 0 {
        200
    } else {
        random.next() as i64
    });
    let address = b"127.0.0.1:1";
    out.put_u32(address.len() as u32);
    out.put_slice(address);
    for _ in 0..random.below(4) {
        let body = random.bytes(256);
        let frame = random.framed(&body);
        out.put_slice(&frame);
    }
    out.to_vec()
}

/// Quorum packets: any type, zxid and length, or a FOLLOWERINFO with an id that is no member's.
fn quorum_noise(random: &mut Random) -> Vec<u8> {
    let mut out = BytesMut::new();
    for _ in 0..=random.below(3) {
        out.put_i32(random.below(24) as i32 - 2);
        out.put_i64(random.next() as i64);
        let data = random.bytes(64);
        let claimed = if random.below(4) == 0 {
            random.next() as u32
        } else {
            data.len() as u32
        };
        out.put_u32(claimed);
        out.put_slice(&data);
        out.put_i32(0);
    }
    out.to_vec()
}

/// Sends noise to one port until told to stop; returns how many connections it made.
fn source(port: Port, address: SocketAddr, seed: u64, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut random = Random(seed);
        let mut silent = std::collections::VecDeque::new();
        let mut made = 0;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2))
            else {
                continue; // the quorum port is the leader's alone
            };
            made += 1;
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.set_read_timeout(Some(Duration::from_millis(2)));
            // The server may close at any byte of it.
            let _ = stream.write_all(&noise(port, &mut random));
            let _ = stream.read(&mut [0; 1024]);
            if random.below(8) == 0 {
                silent.push_back(stream);
                if silent.len() > SILENT_MAX {
                    silent.pop_front();
                }
            }
        }
        made
    })
}

/// A client at one server that writes and reads until told to stop.
fn worker(server: &Server, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> JoinHandle<Duration> {
    let mut client = RawClient::connect(server.client_port, 10_000).unwrap();
    let path: Box<str> = format!("/work-{}", server.id).into();
    client.ok(&create(&path, b"0"), OPERATION_MAX).unwrap();
    let set = Request::Write(WriteOp::SetData {
        path: Some(path.clone()),
        data: Some(Bytes::from_static(b"some bytes of data")),
        version: -1,
    });
    let get = Request::Read(ReadOp::GetData { path, watch: false });
    std::thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            for request in [&set, &get] {
                let begin = Instant::now();
                client
                    .ok(request, OPERATION_MAX)
                    .expect("a session is not disturbed by strangers");
                slowest = slowest.max(begin.elapsed());
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
        slowest
    })
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What a server is made of that strangers might change.
struct Seen {
    /// Mode and epoch of each server.
    roles: Vec<(String, u64)>,
    /// Resident bytes of each.
    memory: Vec<u64>,
    /// Open files of each.
    files: Vec<usize>,
}

impl Seen {
    fn of(cluster: &Cluster) -> Seen {
        let servers = || cluster.servers.iter();
        let said = servers().map(|s| s.srvr().unwrap());
        Seen {
            roles: said.map(|s| (s.mode, s.zxid >> 32)).collect(),
            memory: servers().map(|s| s.resident_bytes().unwrap()).collect(),
            files: servers().map(|s| s.open_files().unwrap()).collect(),
        }
    }
}

/// Noise to every port of every server for as long as `meanwhile` takes; returns its result and the connections made to client,
/// election and quorum ports.
fn among_strangers(
    cluster: &Cluster,
    random: &mut Random,
    meanwhile: impl FnOnce() -> u64,
) -> (u64, [u64; 3]) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut sources = vec![];
    for server in &cluster.servers {
        let ports = [
            (Port::Client, server.client_port),
            (Port::Election, server.election_port),
            (Port::Quorum, server.quorum_port),
        ];
        for (kind, port) in ports {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            sources.push((kind, source(kind, address, random.next(), stop.clone())));
        }
    }
    let loud = meanwhile();
    stop.store(true, Ordering::Relaxed);
    let mut made = [0; 3];
    for (kind, source) in sources {
        made[kind as usize] += source.join().unwrap();
    }
    (loud, made)
}

#[test]
fn random_bytes_on_each_port_neither_stop_nor_slow_an_ensemble() {
    let seconds = Duration::from_secs(variable("ZABRA_NOISE_SECONDS", 10));
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = variable("ZABRA_SEED", since.as_nanos() as u64);
    eprintln!("repeat with ZABRA_SEED={seed}");
    let mut random = Random(seed);
    let mut cluster = Cluster::start(3, &[]).unwrap();

    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let work = |s| worker(s, done.clone(), stop.clone());
    let workers: Vec<_> = cluster.servers.iter().map(work).collect();
    let rate = |limit: Duration| {
        let (begin, before) = (Instant::now(), done.load(Ordering::Relaxed));
        std::thread::sleep(limit); // a rate is made of a duration
        (done.load(Ordering::Relaxed) - before) * 1000 / begin.elapsed().as_millis() as u64
    };
    rate(Duration::from_secs(1)); // warm
    let quiet = rate(Duration::from_secs(3));
    let before = Seen::of(&cluster);
    let (loud, made) = among_strangers(&cluster, &mut random, || rate(seconds));
    let after = Seen::of(&cluster);
    stop.store(true, Ordering::Relaxed);
    let slowest = workers.into_iter().map(|w| w.join().unwrap()).max();
    eprintln!(
        "operations/s: {quiet} quiet, {loud} loud; slowest {slowest:?}; connections (client, election, quorum): {made:?}; \
         memory: {:?}, then {:?}",
        before.memory, after.memory
    );

    cluster.all_alive().unwrap();
    assert!(
        made.iter().all(|n| *n >= 100),
        "too little noise to say anything: {made:?}"
    );
    assert!(
        loud >= quiet / SLOWDOWN_MAX,
        "{quiet} operations/s became {loud}"
    );
    assert_eq!(
        after.roles, before.roles,
        "strangers have caused an election"
    );
    for (before, after) in before.memory.iter().zip(&after.memory) {
        assert!(
            *after <= before + GROWTH_MAX,
            "memory: {before} bytes, then {after}"
        );
    }
    // All are gone, and so are what they held: sockets do not pile up. The workers' and a word's own come and go.
    wait_until("strangers' sockets are closed", PATIENCE, || {
        let open = cluster.servers.iter().map(|s| s.open_files());
        let open: Vec<_> = open.collect::<Result<_, _>>()?;
        let then = before.files.iter();
        Ok(open.iter().zip(then).all(|(now, then)| *now <= then + 2))
    })
    .unwrap();
    // And each server takes new clients.
    for server in &cluster.servers {
        let mut client = RawClient::connect(server.client_port, 4000).unwrap();
        let get = Request::Read(ReadOp::Exists {
            path: "/work-1".into(),
            watch: false,
        });
        client.ok(&get, OPERATION_MAX).unwrap();
    }
}
