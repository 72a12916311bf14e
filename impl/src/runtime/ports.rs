//! Taking ports and connections: on every address of both families, a client's address in one form, and what a stranger says
//! first.

use super::pipe::Pipe;
use crate::config::join;
use crate::config::net::Net;
use crate::error::ServerError;
use crate::limits::HELLO_BYTES_MAX;
use bytes::BytesMut;
use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

/// How long the look-up of a member's name may take.
const LOOKUP_TIME: Duration = Duration::from_secs(1);

/// What the system does for a port.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Connections that it holds until they are taken, up to its own limit.
    pub backlog: u32,
    /// Whether it asks peers that are silent whether they are there. Connections have it from the port that they come to.
    pub keep_alive: bool,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            backlog: Net::default().backlog,
            keep_alive: false,
        }
    }
}

/// Listens on `host`, or on every address of the machine, IPv6's and IPv4's, if there is none.
///
/// # Errors
/// [`ServerError::UnknownName`], [`ServerError::Bind`]; `what` is the port's name in them.
pub async fn bind(
    host: Option<&str>,
    port: u16,
    listening: Listening,
    what: &'static str,
) -> Result<TcpListener, ServerError> {
    let all = |ip: std::net::IpAddr| (vec![SocketAddr::new(ip, port)], ip.to_string());
    let (addresses, name) = match host {
        Some(host) => match lookup_host((host, port)).await {
            Ok(found) => (found.collect(), host.to_owned()),
            Err(source) => {
                return Err(ServerError::UnknownName {
                    key: what,
                    host: host.to_owned(),
                    source,
                });
            }
        },
        None => all(Ipv6Addr::UNSPECIFIED.into()),
    };
    match listen(&addresses, listening) {
        Ok(listener) => Ok(listener),
        // A system without IPv6.
        Err(source) if host.is_none() && !is_taken(&source) => {
            let (addresses, name) = all(Ipv4Addr::UNSPECIFIED.into());
            let bound = listen(&addresses, listening);
            bound.map_err(|source| failed(&name, port, what, source))
        }
        Err(source) => Err(failed(&name, port, what, source)),
    }
}

/// Listens on the first of these addresses that can be had.
fn listen(addresses: &[SocketAddr], listening: Listening) -> std::io::Result<TcpListener> {
    let listen = |address: &SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A port whose last connections are on their way out is free for the next start.
        socket.set_reuseaddr(true)?;
        socket.set_keepalive(listening.keep_alive)?;
        socket.bind(*address)?;
        socket.listen(listening.backlog)
    };
    let mut last = Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to `host:port`, by the first of its addresses that takes the connection.
///
/// # Errors
/// The system's.
pub async fn dial(address: &str, keep_alive: bool) -> std::io::Result<TcpStream> {
    if !keep_alive {
        return TcpStream::connect(address).await;
    }
    let mut last = Error::from(ErrorKind::AddrNotAvailable);
    for address in lookup_host(address).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_keepalive(true)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a host has this address. A name that cannot be looked up in time is no reason to wait.
pub async fn is_at(host: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    match timeout(LOOKUP_TIME, lookup_host((host, 0))).await {
        Ok(Ok(mut found)) => found.any(|a| a.ip().to_canonical() == address),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
    )
}

fn failed(host: &str, port: u16, what: &'static str, source: Error) -> ServerError {
    ServerError::Bind {
        addr: join(host, port),
        what,
        source,
    }
}

/// The next connection. A peer that comes over IPv4 has its IPv4 address, whatever the port listens on: it is what `ip` in an
/// ACL is compared with, and what the log says.
///
/// # Errors
/// The system's.
pub async fn accept(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (stream, from) = listener.accept().await?;
    Ok((
        stream,
        SocketAddr::new(from.ip().to_canonical(), from.port()),
    ))
}

/// What a stranger says first, as soon as `parse` finds it whole at the beginning of `buf`; what is behind it stays in `buf`.
///
/// # Errors
/// Why there is no such thing, for the log: the connection has ended, or what comes is not understood, or it is longer than
/// [`HELLO_BYTES_MAX`].
pub async fn first_words<T, E: Display>(
    stream: &Pipe,
    buf: &mut BytesMut,
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> Result<T, String> {
    loop {
        if let Some(said) = parse(buf).map_err(|e| e.to_string())? {
            return Ok(said);
        }
        if buf.len() >= HELLO_BYTES_MAX {
            return Err("it says too much before it says who it is".into());
        }
        match stream.receive(buf).await {
            Ok(0) => return Err("it has ended".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn run<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(what)
    }

    /// C-27, C-28.
    #[test]
    fn c_27_every_address_is_listened_on_and_c_28_an_ipv4_peer_has_an_ipv4_address() {
        run(async {
            let listener = bind(None, 0, Listening::default(), "client port")
                .await
                .unwrap();
            let port = listener.local_addr().unwrap().port();
            for host in ["127.0.0.1", "::1"] {
                let _client = TcpStream::connect((host, port)).await.unwrap();
                let (_, from) = accept(&listener).await.unwrap();
                assert_eq!(from.ip().to_string(), host);
            }
            let listener = bind(Some("::1"), 0, Listening::default(), "client port")
                .await
                .unwrap();
            assert!(listener.local_addr().unwrap().is_ipv6());
        });
    }

    #[test]
    fn connections_have_keep_alive_from_their_port_and_from_who_dials() {
        let asks = |stream: TcpStream| {
            let socket = TcpSocket::from_std_stream(stream.into_std().unwrap());
            socket.keepalive().unwrap()
        };
        for keep_alive in [false, true] {
            run(async {
                let listening = Listening {
                    keep_alive,
                    ..Listening::default()
                };
                let port = bind(Some("127.0.0.1"), 0, listening, "client port").await;
                let listener = port.unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let dialled = dial(&address, keep_alive).await.unwrap();
                let (taken, _) = accept(&listener).await.unwrap();
                assert_eq!((asks(dialled), asks(taken)), (keep_alive, keep_alive));
            });
        }
    }

    /// Where more come than the system may hold, it lets them wait outside.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_holds_as_many_connections_as_it_is_told_until_they_are_taken() {
        for (backlog, all) in [(1, false), (64, true)] {
            run(async {
                let listening = Listening {
                    backlog,
                    ..Listening::default()
                };
                let port = bind(Some("127.0.0.1"), 0, listening, "client port").await;
                let listener = port.unwrap();
                let address = listener.local_addr().unwrap();
                let mut held = Vec::new();
                for _ in 0..16 {
                    let connect = TcpStream::connect(address);
                    match timeout(Duration::from_millis(200), connect).await {
                        Ok(stream) => held.push(stream.unwrap()),
                        Err(_) => break,
                    }
                }
                assert_eq!(held.len() == 16, all, "{}", held.len());
            });
        }
    }

    #[test]
    fn first_words_are_whole_and_few_and_leave_what_is_behind_them() {
        let parse = |buf: &mut BytesMut| match buf.first() {
            Some(b'!') => Err("a stranger"),
            Some(b'?') | None => Ok(None),
            Some(_) => Ok((buf.len() >= 4).then(|| buf.split_to(4))),
        };
        let hear = |said: &[u8]| {
            run(async {
                let port = bind(Some("127.0.0.1"), 0, Listening::default(), "client port").await;
                let listener = port.unwrap();
                let address = listener.local_addr().unwrap();
                let mut stranger = TcpStream::connect(address).await.unwrap();
                stranger.write_all(said).await.unwrap();
                drop(stranger);
                let (stream, _) = accept(&listener).await.unwrap();
                let mut buf = BytesMut::new();
                let heard = first_words(&Pipe::plain(stream), &mut buf, parse).await;
                (heard.map(|heard| heard.to_vec()), buf.to_vec())
            })
        };
        assert_eq!(
            hear(b"whoXbehind"),
            (Ok(b"whoX".to_vec()), b"behind".to_vec())
        );
        for (said, why) in [
            (&b"who"[..], "it has ended"),
            (b"", "it has ended"),
            (b"!", "a stranger"),
            (
                &[b'?'; HELLO_BYTES_MAX],
                "it says too much before it says who it is",
            ),
        ] {
            assert_eq!(hear(said).0, Err(why.into()));
        }
    }

    /// C-29.
    #[test]
    fn c_29_a_name_that_does_not_resolve_is_told_apart_from_a_port_that_is_taken() {
        run(async {
            let name = "no-such-host.invalid";
            let e = bind(Some(name), 0, Listening::default(), "clientPortAddress")
                .await
                .unwrap_err();
            let said = e.to_string();
            assert!(
                said.contains(name) && said.contains("does not resolve"),
                "{said}"
            );
            let held = bind(None, 0, Listening::default(), "client port")
                .await
                .unwrap();
            let port = held.local_addr().unwrap().port();
            let said = bind(None, port, Listening::default(), "client port")
                .await
                .unwrap_err()
                .to_string();
            assert!(said.contains("another server"), "{said}");
        });
    }
}
