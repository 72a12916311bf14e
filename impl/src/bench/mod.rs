//! `zabra bench`: a load generator for any ZooKeeper server, of ours or not.
//!
//! A closed loop on one thread: every connection keeps `depth` requests in flight, appends all that a read has made room for to
//! one write, and takes every reply that a read brings. Measured are throughput, latency from the moment a request is handed
//! to the socket until its reply has been read, and CPU time: the generator's own and, from `/proc`, the servers'.
//! CPU time per operation is the number that holds on a shared or small machine.

mod connection;
mod cpu;
mod histogram;
mod load;
mod prepare;
mod report;
mod template;
#[cfg(test)]
mod tests;

pub use histogram::Histogram;
pub use load::Sessions;
pub use report::{Latency, Report};

use crate::wire::WireError;
use clap::{Args, ValueEnum};

/// What to do to which servers, for how long.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Servers, as HOST:PORT,HOST:PORT; connections are spread over them in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2181")]
    pub servers: Vec<String>,
    /// What each request does
    #[arg(long, value_enum, default_value_t = Operation::Set)]
    pub op: Operation,
    /// How many sessions, each with a connection of its own
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub depth: u32,
    /// Bytes of data in a node
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: u32,
    /// Nodes below /bench that set and get choose from at random
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,
    /// Share of gets in a mix, in percent
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub reads: u32,
    /// Length of the measured window
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// Load before the window, not measured
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
    /// Where the choice of keys begins: the same seed makes the same requests
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Session timeout to ask for, in milliseconds
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(100..=3_600_000))]
    pub session_timeout_ms: u32,
    /// Process ids of the servers, as PID,PID: their CPU time is measured too (Linux)
    #[arg(long = "pid", value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Do not make the nodes first: they are there from an earlier run with the same keys and size
    #[arg(long)]
    pub no_prepare: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What each request of a run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Operation {
    /// setData on a random node
    Set,
    /// getData of a random node
    Get,
    /// create of a new node below a parent of this run's own; the nodes stay
    Create,
    /// gets and sets, see --reads
    Mix,
}

impl Operation {
    /// The word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Create => "create",
            Self::Mix => "mix",
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=86_400.0).contains(&s) => Ok(s),
        Ok(_) | Err(_) => Err("write a number of seconds from 0 to 86400".into()),
    }
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server cannot be reached, or the connection broke.
    #[error("{server}: {source}; is a ZooKeeper server listening there?")]
    Connection {
        /// HOST:PORT.
        server: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server hung up.
    #[error("{server} closed the connection; a server without a quorum does so, its log says why")]
    Closed {
        /// HOST:PORT.
        server: String,
    },
    /// The server said nothing in time.
    #[error("{server} has not answered for {waited_ms} ms; is it overloaded or without a quorum?")]
    Silent {
        /// HOST:PORT.
        server: String,
        /// How long, ms.
        waited_ms: u128,
    },
    /// The server refuses a session.
    #[error("{server} gave no session; ask for a --session-timeout-ms that it allows")]
    NoSession {
        /// HOST:PORT.
        server: String,
    },
    /// What came is not the client protocol.
    #[error("{server} sent what is not ZooKeeper's client protocol: {source}")]
    Wire {
        /// HOST:PORT.
        server: String,
        /// What is wrong with it.
        source: WireError,
    },
    /// Replies must come in the order of the requests.
    #[error("{server} answered request {got} where {expected:?} is next")]
    OutOfOrder {
        /// HOST:PORT.
        server: String,
        /// The oldest request without a reply.
        expected: Option<i32>,
        /// The request answered.
        got: i32,
    },
    /// The nodes of the run could not be made.
    #[error("{server} refused to {what}: error {code}")]
    Refused {
        /// HOST:PORT.
        server: String,
        /// What was asked.
        what: &'static str,
        /// ZooKeeper's error code.
        code: i32,
    },
    /// CPU times need Linux' `/proc` and processes that live.
    #[error("no CPU time of process {pid}: {source}; does it run, and is this Linux?")]
    Cpu {
        /// Which process.
        pid: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No server was named.
    #[error("no server to load; write --servers HOST:PORT")]
    NoServers,
    /// Our runtime or a task of ours failed.
    #[error("cannot run the load: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Runs a load and returns what was measured. Needs a tokio runtime; one with a single thread is enough and disturbs least.
///
/// Errors: see [`BenchError`]. Connections that break during the run are reported, unless all do.
pub async fn measure(args: &BenchArgs) -> Result<Report, BenchError> {
    load::measure(args).await
}

/// The whole command: measures and prints the report. Call it outside of any runtime.
pub fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(args))?;
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(())
}
