//! Proposal throughput, end to end: writes of clients against three servers in this process on real sockets and real logs, every
//! write synced by a quorum before it is answered, by requests in flight (which is what batches are made of) and by payload.
//!
//! Criterion measures what a fixed number of writes takes, sixteen for each request in flight, so that filling and draining
//! the pipeline weighs little; its throughput is writes a second. `--save-baseline` and `--baseline` compare two versions.

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use zabra::bench::{BenchArgs, Operation, Sessions, TlsArgs, measure};
use zabra::config::check;
use zabra::serve::{Stop, serve};

const SERVERS: u16 = 3;
/// Connections and requests in flight on each.
const LOADS: [(u32, u32); 4] = [(1, 1), (8, 1), (16, 4), (16, 32)];
/// Bytes of data in a node.
const PAYLOADS: [u32; 2] = [100, 1000];
/// Writes that are measured together, for each request in flight.
const WRITES_PER_SLOT: u64 = 16;
const START_TIME: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = tempfile::tempdir()?;
    let ports = zabra::dev::ports::free(3 * usize::from(SERVERS))?;
    let servers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for i in 0..SERVERS {
        let config = write_config(dir.path(), i, &ports)?;
        let config = check::load(&config)?;
        servers.spawn(async move {
            if let Err(error) = serve(config, Stop::Signals).await {
                eprintln!("server {}: {error}", i + 1);
            }
        });
    }
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    wait_until_serving(&client, &ports)?;
    for payload in PAYLOADS {
        proposals(&mut criterion, &client, &ports, payload)?;
    }
    criterion.final_summary();
    // Connections and listeners end with the runtime; nothing waits for them.
    servers.shutdown_background();
    Ok(())
}

/// One group for a payload, a function for each number of requests in flight.
#[expect(
    clippy::expect_used,
    reason = "a write that fails leaves nothing to measure, and criterion takes no error"
)]
fn proposals(
    criterion: &mut Criterion,
    client: &tokio::runtime::Runtime,
    ports: &[u16],
    payload: u32,
) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group(format!("proposals_of_{payload}_bytes"));
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sampling_mode(SamplingMode::Flat);
    for (connections, depth) in LOADS {
        let in_flight = u64::from(connections * depth);
        let writes = WRITES_PER_SLOT * in_flight;
        let mut sessions =
            client.block_on(Sessions::open(&args(ports, connections, depth, payload)))?;
        group.throughput(Throughput::Elements(writes));
        group.bench_function(BenchmarkId::new("in_flight", in_flight), |b| {
            b.iter_custom(|iterations| {
                let took = client.block_on(sessions.run(iterations * writes));
                took.expect("every write succeeds")
            });
        });
    }
    group.finish();
    Ok(())
}

/// The client ports come first, then a quorum and an election port for each server.
fn write_config(dir: &Path, i: u16, ports: &[u16]) -> std::io::Result<std::path::PathBuf> {
    let data = dir.join(format!("server-{}", i + 1));
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("myid"), format!("{}\n", i + 1))?;
    let (clients, others) = ports.split_at(SERVERS.into());
    let mut text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\ntickTime=2000\ninitLimit=10\nsyncLimit=5\nmaxClientCnxns=0\n",
        data.display(),
        clients[usize::from(i)]
    );
    for (j, pair) in others.chunks_exact(2).enumerate() {
        text += &format!("server.{}=127.0.0.1:{}:{}\n", j + 1, pair[0], pair[1]);
    }
    let path = data.join("zoo.cfg");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Until each server takes a session, which needs a quorum.
fn wait_until_serving(
    client: &tokio::runtime::Runtime,
    ports: &[u16],
) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + START_TIME;
    loop {
        match client.block_on(measure(&args(ports, u32::from(SERVERS), 1, 10))) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn args(ports: &[u16], connections: u32, depth: u32, size: u32) -> BenchArgs {
    BenchArgs {
        servers: ports
            .iter()
            .take(SERVERS.into())
            .map(|port| format!("127.0.0.1:{port}"))
            .collect(),
        op: Operation::Set,
        connections,
        depth,
        size,
        keys: 1000,
        reads: 0,
        seconds: 0.0,
        warmup: 0.0,
        seed: 1,
        session_timeout_ms: 30_000,
        pids: vec![],
        no_prepare: false,
        json: false,
        tls: TlsArgs::default(),
    }
}
