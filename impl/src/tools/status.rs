//! `zabra status`: whether the server of a configuration serves, and as what.

use super::arguments::{Output, config_file, given};
use super::error::{FAILED, ToolError};
use super::out::{Out, tell};
use crate::config::{Config, check};
use clap::Args;
use serde::Serialize;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Which server is asked.
#[derive(Args)]
pub struct StatusArgs {
    /// The configuration file, which names the client port; without it, the one that ZOOCFGDIR and ZOOCFG name
    #[arg(conflicts_with = "server")]
    config: Option<PathBuf>,
    /// Ask this server, whatever a file says
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// How long to wait for a connection, and for the answer, in milliseconds
    #[arg(long, default_value_t = 5000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout: u64,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

/// Longer answers to `srvr` are none.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Of a server, for programs.
#[derive(Serialize, Default)]
struct Status {
    serving: bool,
    address: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zxid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &StatusArgs) -> Result<u8, ToolError> {
    let (address, port, file) = match &args.server {
        Some(server) => {
            let (address, port) = split(server)?;
            (address, port, None)
        }
        None => {
            let file = config_file(args.config.as_ref())?;
            let config = check::load_with(&file, &given(&args.properties)?)?;
            let (address, port) = of_config(&config)?;
            (address, port, Some(file))
        }
    };
    let status = ask(
        &address,
        port,
        Duration::from_millis(args.timeout),
        file.as_ref(),
    );
    let mut out = Out::new();
    if args.output == Output::Json {
        out.json(&status)?;
    } else {
        out.line(format_args!(
            "Client port: {port}, client address: {address}"
        ))?;
        if let Some(mode) = &status.mode {
            out.line(format_args!("Mode: {mode}"))?;
        }
    }
    out.flush()?;
    if args.output == Output::Text
        && let Some(error) = &status.error
    {
        tell(format_args!("{error}"));
    }
    Ok(if status.serving { 0 } else { FAILED })
}

/// Where clients of a server connect on this machine.
fn of_config(config: &Config) -> Result<(String, u16), ToolError> {
    let Some(client) = &config.client else {
        let ask = config
            .operation
            .commands
            .as_ref()
            .map_or(String::new(), |commands| {
                format!(
                    "; ask its commands over HTTP: curl http://{}{}/srvr",
                    commands.listen.to_addr(),
                    commands.path
                )
            });
        return Err(ToolError::Refused(format!(
            "{}: clients connect by TLS alone (secureClientPort), and this command speaks plain text{ask}",
            config.path.display()
        )));
    };
    let host = client.host.as_deref().filter(|host| {
        !host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified())
    });
    Ok((host.unwrap_or("localhost").to_owned(), client.port))
}

/// `HOST:PORT`; an address of version 6 stands in brackets.
pub(super) fn split(server: &str) -> Result<(String, u16), ToolError> {
    let parts = server.rsplit_once(':').and_then(|(host, port)| {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Some((host.to_owned(), port.parse().ok()?)).filter(|_| !host.is_empty())
    });
    parts.ok_or_else(|| {
        ToolError::Refused(format!(
            "{server}: names no server; write HOST:PORT, as localhost:2181"
        ))
    })
}

/// What a server answers to a word; at most so many bytes.
pub(super) fn word(
    address: &str,
    port: u16,
    word: &str,
    patience: Duration,
    bytes_max: u64,
) -> io::Result<String> {
    let mut failed = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for at in (address, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&at, patience) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                stream.write_all(word.as_bytes())?;
                let mut answer = Vec::new();
                stream.take(bytes_max).read_to_end(&mut answer)?;
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn ask(address: &str, port: u16, patience: Duration, file: Option<&PathBuf>) -> Status {
    let mut status = Status {
        address: address.to_owned(),
        port,
        ..Status::default()
    };
    let start = file.map_or(String::new(), |file| {
        format!("; start it: zabra serve {}", file.display())
    });
    let answer = match word(address, port, "srvr", patience, ANSWER_BYTES_MAX) {
        Ok(answer) => answer,
        Err(error) => {
            status.error = Some(match error.kind() {
                ErrorKind::ConnectionRefused => format!(
                    "{address}:{port}: nothing listens here, so the server does not run{start}"
                ),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
                    "{address}:{port}: no answer within {} ms; the server hangs, or something else is there; look at its log, or wait longer by --timeout",
                    patience.as_millis()
                ),
                _ => format!("{address}:{port}: {error}"),
            });
            return status;
        }
    };
    let field = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
    };
    status.mode = field("Mode:");
    status.version = field("Zookeeper version:");
    status.zxid = field("Zxid:");
    status.nodes = field("Node count:").and_then(|n| n.parse().ok());
    status.connections = field("Connections:").and_then(|n| n.parse().ok());
    status.serving = status.mode.is_some();
    if !status.serving {
        let said = answer.lines().next().unwrap_or_default();
        status.error = Some(match said {
            "" => format!(
                "{address}:{port}: takes connections and answers nothing; it speaks TLS, or is no ZooKeeper server"
            ),
            _ if said.contains("not currently serving") => format!(
                "{address}:{port}: the server runs and serves nobody: it has found no quorum yet; look at the other members, and at its log"
            ),
            _ => format!("{address}:{port}: answers {said:?} to srvr, which tells no mode"),
        });
    }
    status
}
