//! The run: connections that each keep their requests in flight, and the window in which is counted.

use super::args::BenchArgs;
use super::connection::{Connection, number};
use super::cpu;
use super::error::BenchError;
use super::prepare::{Plan, ROOT, prepare, refused};
use super::report::{Outcome, Report};
use super::tally::Tally;
use crate::wire::client::{ReplyFrame, Request, Response};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

/// How long requests may still be in flight after the window.
const DRAIN: Duration = Duration::from_secs(20);

/// The records of one reply in so many are read to the end; headers always are.
const INSPECT_EVERY: i32 = 64;

/// What all connections go by.
struct Shared {
    plan: Plan,
    phase: AtomicU8,
}

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// See [`super::measure`].
pub(super) async fn measure(args: &BenchArgs) -> Result<Report, BenchError> {
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    let tls = args.tls.load()?;
    let tls = tls.as_ref();
    let shared = Arc::new(Shared {
        plan: prepare(args, tls, run).await?,
        phase: AtomicU8::new(WARM_UP),
    });
    let mut connections = Vec::new();
    for server in args.servers.iter().cycle().take(args.connections as usize) {
        let mut connection = Connection::open(server, tls, args.session_timeout_ms).await?;
        catch_up(&mut connection).await?;
        connections.push(connection);
    }
    let mut tasks = JoinSet::new();
    for (i, connection) in connections.into_iter().enumerate() {
        let driver = Driver {
            choice: Choice::new(args.seed, i as u64, args.connections.into()),
            shared: Arc::clone(&shared),
            depth: args.depth as usize,
            connection,
            in_flight: VecDeque::new(),
            tally: Tally::default(),
        };
        tasks.spawn(driver.run());
    }

    tokio::time::sleep(Duration::from_secs_f64(args.warmup)).await;
    let before = Usage::of(&args.pids)?;
    let began = Instant::now();
    shared.phase.store(MEASURE, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    shared.phase.store(STOP, Ordering::Relaxed);
    let window = began.elapsed();
    let after = Usage::of(&args.pids)?;

    let (mut total, mut lost) = (Tally::default(), Vec::new());
    let drained = tokio::time::timeout(DRAIN, async {
        while let Some(tally) = tasks.join_next().await {
            let mut tally = tally.map_err(std::io::Error::from)?;
            lost.extend(tally.lost.take());
            total.merge(tally);
        }
        Ok::<_, BenchError>(())
    });
    // What a server has not answered by then belongs to no window; the tasks end with the set.
    let stuck = match drained.await {
        Ok(joined) => joined.map(|()| 0)?,
        Err(_) => tasks.len(),
    };
    if stuck == 0 && lost.len() == args.connections as usize {
        if let Some((first, _)) = lost.into_iter().next() {
            return Err(first);
        }
        return Err(BenchError::NoServers);
    }
    Ok(Report::new(
        args,
        Outcome {
            total,
            lost,
            stuck,
            window,
            all_cpu: after.all.saturating_sub(before.all),
            client_cpu: after.client.saturating_sub(before.client),
            server_cpu: after
                .servers
                .iter()
                .zip(&before.servers)
                .map(|(after, before)| after.saturating_sub(*before))
                .collect(),
        },
    ))
}

/// Sessions that are open and ready to be loaded again and again, each with its requests in flight: for benchmarks that ask
/// what a fixed number of operations takes. Unlike [`super::measure`], which counts what a window of time holds.
pub struct Sessions {
    plan: Arc<Plan>,
    depth: usize,
    drivers: Vec<(Connection, Choice)>,
}

impl Sessions {
    /// Makes the nodes that `args` ask for and opens its connections. `seconds`, `warmup` and `pids` are not used.
    ///
    /// Errors: see [`BenchError`].
    pub async fn open(args: &BenchArgs) -> Result<Self, BenchError> {
        let tls = args.tls.load()?;
        let tls = tls.as_ref();
        let plan = Arc::new(prepare(args, tls, 0).await?);
        let mut drivers = Vec::new();
        for (i, server) in (0..args.connections).zip(args.servers.iter().cycle()) {
            let mut connection = Connection::open(server, tls, args.session_timeout_ms).await?;
            catch_up(&mut connection).await?;
            let choice = Choice::new(args.seed, i.into(), args.connections.into());
            drivers.push((connection, choice));
        }
        Ok(Self {
            plan,
            depth: args.depth as usize,
            drivers,
        })
    }

    /// Has `ops` operations done, shared evenly by the connections, and returns how long they took, from the first request
    /// to the last reply.
    ///
    /// Errors: see [`BenchError`]; `Refused` if any operation has an error code. Afterwards the sessions are not to be used.
    pub async fn run(&mut self, ops: u64) -> Result<Duration, BenchError> {
        let mut tasks = JoinSet::new();
        let (all, depth) = (self.drivers.len() as u64, self.depth);
        let began = Instant::now();
        for (i, (mut connection, mut choice)) in (0..all).zip(self.drivers.drain(..)) {
            let count = ops / all + u64::from(i < ops % all);
            let plan = Arc::clone(&self.plan);
            tasks.spawn(async move {
                let mut code = 0;
                let put = |sent, xid, out: &mut BytesMut| {
                    let (is_read, node) = choice.next(&plan, sent);
                    let template = if is_read { &plan.read } else { &plan.write };
                    template.put(xid, node, out);
                };
                let answered = |_, err| code = if err == 0 { code } else { err };
                connection.pipeline(count, depth, put, answered).await?;
                refused(&connection, "do an operation", code)?;
                Ok::<_, BenchError>((connection, choice))
            });
        }
        while let Some(driver) = tasks.join_next().await {
            self.drivers.push(driver.map_err(std::io::Error::from)??);
        }
        Ok(began.elapsed())
    }
}

/// Waits until the connection's server knows the nodes of the run: another server than the one that made them may be behind.
async fn catch_up(connection: &mut Connection) -> Result<(), BenchError> {
    let sync = Request::Sync {
        path: Some(ROOT.into()),
    };
    connection
        .pipeline(1, 1, |_, xid, out| sync.put(xid, out), |_, _| {})
        .await
}

/// CPU times at one moment.
struct Usage {
    all: Duration,
    client: Duration,
    servers: Vec<Duration>,
}

impl Usage {
    fn of(pids: &[u32]) -> Result<Self, BenchError> {
        Ok(Self {
            all: cpu::time_of_all(),
            // Where there is no /proc, only those who ask for servers' times are told so.
            client: cpu::time_of("self").unwrap_or_default(),
            servers: pids
                .iter()
                .map(|pid| cpu::time_of(&pid.to_string()))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A connection under load.
struct Driver {
    connection: Connection,
    shared: Arc<Shared>,
    choice: Choice,
    depth: usize,
    in_flight: VecDeque<Sent>,
    tally: Tally,
}

/// A request without a reply.
struct Sent {
    xid: i32,
    is_read: bool,
    at: Instant,
}

impl Driver {
    async fn run(mut self) -> Tally {
        match self.drive().await {
            Ok(()) => self.connection.close().await,
            Err(error) => self.tally.lost = Some((error, self.in_flight.len() as u64)),
        }
        self.tally
    }

    async fn drive(&mut self) -> Result<(), BenchError> {
        let mut sent = 0_u64;
        loop {
            if self.shared.phase.load(Ordering::Relaxed) != STOP {
                let at = Instant::now();
                while self.in_flight.len() < self.depth {
                    let xid = number(sent);
                    let (is_read, node) = self.choice.next(&self.shared.plan, sent);
                    let plan = &self.shared.plan;
                    let template = if is_read { &plan.read } else { &plan.write };
                    template.put(xid, node, &mut self.connection.output);
                    self.in_flight.push_back(Sent { xid, is_read, at });
                    sent += 1;
                }
            } else if self.in_flight.is_empty() {
                return Ok(());
            }
            if self.connection.exchange().await? {
                self.take_replies()?;
            } else {
                self.connection.ping();
            }
        }
    }

    fn take_replies(&mut self) -> Result<(), BenchError> {
        let measuring = self.shared.phase.load(Ordering::Relaxed) == MEASURE;
        let now = Instant::now();
        let mut wrong = None;
        for reply in self.connection.replies() {
            match (reply, self.in_flight.pop_front()) {
                (Ok(reply), Some(sent)) if reply.header.xid == sent.xid => {
                    if measuring {
                        self.tally.count(reply.header.err, now - sent.at);
                    }
                    if sent.xid % INSPECT_EVERY == 0
                        && !is_well_formed(&reply, sent.is_read, &self.shared.plan)
                    {
                        self.tally.malformed += 1;
                    }
                }
                (reply, sent) => {
                    wrong = Some((reply, sent.map(|s| s.xid)));
                    break;
                }
            }
        }
        match wrong {
            None => Ok(()),
            Some((Ok(reply), expected)) => {
                Err(self.connection.out_of_order(expected, reply.header.xid))
            }
            Some((Err(error), _)) => Err(self.connection.wire(error)),
        }
    }
}

/// Whether the record is what the request asks for.
fn is_well_formed(reply: &ReplyFrame, is_read: bool, plan: &Plan) -> bool {
    let template = if is_read { &plan.read } else { &plan.write };
    match reply.decode(template.opcode) {
        Ok(Response::Data(data, _)) => {
            template.is_get() && data.map_or(0, |d| d.len()) == plan.data_bytes
        }
        Ok(_) => !template.is_get() || reply.header.err != 0,
        Err(_) => false,
    }
}

/// Which request comes next: one seed, one sequence.
struct Choice {
    state: u64,
    /// This connection among how many: their nodes do not meet where each request has its own.
    index: u64,
    of: u64,
}

impl Choice {
    fn new(seed: u64, index: u64, of: u64) -> Self {
        Self {
            state: seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            index,
            of,
        }
    }

    /// SplitMix64: short, and good enough to choose keys.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether the `sent`th request of this connection is a read, and its node.
    fn next(&mut self, plan: &Plan, sent: u64) -> (bool, u64) {
        let Some(keys) = plan.keys else {
            return (false, self.index + sent * self.of);
        };
        let random = self.random();
        // The halves of one number: the upper chooses the node, the lower the kind.
        let node = ((random >> 32) * keys) >> 32;
        let is_read = (random & 0xffff_ffff) % 100 < plan.reads.into();
        (is_read, node)
    }
}
