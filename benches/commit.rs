//! Whole writes: three servers in this process on real sockets and real logs, every write synced by a quorum, loaded by the
//! generator of `zabra bench` on a thread of its own.
//!
//! Throughput by requests in flight, which is what batches are made of, and by payload. No criterion here: what is
//! measured is a rate over a window, not the time of a call. Run as a test it takes each row for a moment and checks that
//! every write succeeds.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use zabra::bench::{BenchArgs, Operation, Report, measure};
use zabra::config::check;
use zabra::serve::serve;

const SERVERS: u16 = 3;
/// Connections and requests in flight on each.
const LOADS: [(u32, u32); 4] = [(1, 1), (8, 1), (16, 4), (16, 32)];
const PAYLOADS: [u32; 2] = [100, 1000];
const START_TIME: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` says so; `cargo test --benches` does not.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (warmup, seconds) = if is_bench { (1.0, 3.0) } else { (0.05, 0.2) };
    let dir = tempfile::tempdir()?;
    let ports = free_ports(3 * SERVERS)?;
    let servers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for i in 0..SERVERS {
        let config = write_config(dir.path(), i, &ports)?;
        let config = check::load(&config)?;
        servers.spawn(async move {
            if let Err(error) = serve(config, false).await {
                eprintln!("server {}: {error}", i + 1);
            }
        });
    }
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    wait_until_serving(&client, &ports)?;

    println!("in flight  payload B     writes/s    p50 µs    p99 µs");
    for payload in PAYLOADS {
        for (connections, depth) in LOADS {
            let args = args(&ports, connections, depth, payload, warmup, seconds);
            let report = client.block_on(measure(&args))?;
            let Report {
                ops_per_second,
                latency,
                ..
            } = &report;
            println!(
                "{:>9}  {payload:>9}  {ops_per_second:>11.0}  {:>8.0}  {:>8.0}",
                connections * depth,
                latency.p50_us,
                latency.p99_us
            );
            if report.ops == 0 || report.errors > 0 {
                return Err(format!("not every write succeeded: {report}").into());
            }
        }
    }
    // Connections and listeners end with the runtime; nothing waits for them.
    servers.shutdown_background();
    Ok(())
}

/// Ports that are free now. Another process may take one before it is bound, and the run then fails with its number.
fn free_ports(count: u16) -> std::io::Result<Vec<u16>> {
    // All are held until all are known, or the same one would come twice.
    let held = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()?;
    held.iter().map(|l| Ok(l.local_addr()?.port())).collect()
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
        match client.block_on(measure(&args(ports, u32::from(SERVERS), 1, 10, 0.0, 0.0))) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn args(
    ports: &[u16],
    connections: u32,
    depth: u32,
    size: u32,
    warmup: f64,
    seconds: f64,
) -> BenchArgs {
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
        seconds,
        warmup,
        seed: 1,
        session_timeout_ms: 30_000,
        pids: vec![],
        no_prepare: false,
        json: false,
    }
}
