//! What a run is asked for on the command line.

use super::error::BenchError;
use crate::config::tls::Store;
use crate::runtime::secure_client::SecureClient;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

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
    /// How connections are encrypted, if they are.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// The stores of TLS, as `zabra tls init` or keytool writes them.
#[derive(Args, Clone, Default, Debug)]
pub struct TlsArgs {
    /// Speak TLS, with servers whose certificates are of these authorities: PEM, PKCS12 or JKS
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The key and the certificates that the connections show, in one file: PEM, PKCS12 or JKS
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// The file whose first line opens these stores, if they have a password
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_password_path: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the stores; nothing if no TLS is asked for. Errors: [`BenchError::Store`], [`BenchError::Stores`].
    pub(super) fn load(&self) -> Result<Option<SecureClient>, BenchError> {
        let named = |path: &PathBuf| {
            Store::named(
                path.clone(),
                self.tls_password_path.clone(),
                "--tls-password-path",
            )
        };
        let Some(ca) = &self.tls_ca else {
            return Ok(None);
        };
        let trust = named(ca).map_err(BenchError::Store)?;
        let own = self.tls_cert.as_ref().map(named).transpose();
        let own = own.map_err(BenchError::Store)?;
        Ok(Some(SecureClient::load(&trust, own.as_ref())?))
    }
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
