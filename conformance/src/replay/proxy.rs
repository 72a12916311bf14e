//! The sockets between the servers of a replay: what a server says becomes an event, and goes nowhere by itself.
//!
//! Towards each server the proxy takes the part of both others, and keeps the election connections up whether or not
//! those run. So no connection of the election mesh ever breaks while its server lives, and ZooKeeper's habit of saying
//! the last vote again on a new connection does not come into play. On quorum ports a learner's dial is accepted at once,
//! and what it says is held; the leader sees a connection only when the trace says so.

use super::ports::{Ports, SERVERS};
use super::trace::End;
use super::wire::{self, Packet, Vote};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Something that a server did. `life` counts its starts: what an earlier process said can arrive late.
#[derive(Debug)]
pub enum Event {
    /// An election connection stands; votes of `peer` are written to it.
    Mesh {
        /// The server.
        server: u8,
        /// Its life.
        life: u64,
        /// Whose part the proxy takes.
        peer: u8,
        /// To the server.
        writer: OwnedWriteHalf,
    },
    /// An election message.
    Vote {
        /// By whom.
        from: u8,
        /// Its life.
        life: u64,
        /// To whom.
        to: u8,
        /// What it says.
        vote: Vote,
        /// As it came.
        bytes: Vec<u8>,
    },
    /// A learner has dialled.
    Dialled {
        /// Who.
        from: u8,
        /// Its life.
        life: u64,
        /// Whom.
        to: u8,
        /// The number of the connection.
        conn: u64,
        /// To the learner.
        side: Side,
    },
    /// A packet.
    Packet {
        /// On which connection.
        conn: u64,
        /// By which end.
        from: End,
        /// What it says.
        packet: Packet,
        /// As it came.
        bytes: Vec<u8>,
    },
    /// A server has come to its gate.
    Gate {
        /// Who.
        server: u8,
        /// Its life.
        life: u64,
        /// To the server.
        writer: OwnedWriteHalf,
    },
    /// A line from a gate.
    Said {
        /// By whom.
        server: u8,
        /// Its life.
        life: u64,
        /// The line.
        value: Value,
    },
    /// A frame for the client of a server.
    Answered {
        /// By whom.
        server: u8,
        /// Its life.
        life: u64,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// Something that no server should say.
    Wrong(String),
}

/// The proxy's socket to one end of a quorum connection; dropping it closes it.
#[derive(Debug)]
pub struct Side {
    writer: OwnedWriteHalf,
    reading: AbortHandle,
}

impl Side {
    /// Writes a packet.
    ///
    /// # Errors
    /// The server has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes).await
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// All listeners of a replay.
#[derive(Debug)]
pub struct Proxy {
    ports: Ports,
    say: UnboundedSender<Event>,
    lives: Arc<[AtomicU64; SERVERS as usize]>,
    conns: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on all of the proxy's ports.
    ///
    /// # Errors
    /// A port is in use.
    pub async fn start(ports: &Ports) -> Result<(Self, UnboundedReceiver<Event>)> {
        let (say, heard) = unbounded_channel();
        let proxy = Self {
            ports: ports.clone(),
            say,
            lives: Arc::default(),
            conns: Arc::default(),
        };
        let host = ports.host.as_str();
        for server in 1..=SERVERS {
            let (quorum, election) = ports.of_proxy(server);
            proxy.serve_gate(listen(host, ports.gate[at(server)]).await?, server);
            proxy.serve_quorum(listen(host, quorum).await?, server);
            proxy.serve_election(listen(host, election).await?, server);
        }
        Ok((proxy, heard))
    }

    /// The life of a server: odd while its process runs, even while it is dead.
    #[must_use]
    pub fn life(&self, server: u8) -> u64 {
        self.lives[at(server)].load(Ordering::Relaxed)
    }

    /// Whether what was said in this life of a server is of the process that runs.
    #[must_use]
    pub fn lives(&self, server: u8, life: u64) -> bool {
        life % 2 == 1 && life == self.life(server)
    }

    /// The process of this server is dead: what it has said and is still on its way is heard by nobody.
    pub fn end_life(&self, server: u8) {
        self.lives[at(server)].fetch_add(1, Ordering::Relaxed);
    }

    /// A new process of this server is being started: larger servers dial it.
    pub fn begin_life(&self, server: u8) {
        let life = self.lives[at(server)].fetch_add(1, Ordering::Relaxed) + 1;
        let port = self.ports.election[at(server)];
        for peer in server + 1..=SERVERS {
            let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
            let host = self.ports.host.clone();
            let address = format!("{host}:{}", self.ports.of_proxy(peer).1);
            tokio::spawn(async move {
                while lives[at(server)].load(Ordering::Relaxed) == life {
                    let Ok(stream) = connect(&host, port).await else {
                        sleep(Duration::from_millis(2)).await; // it does not listen yet
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let (reader, mut writer) = stream.into_split();
                    let hello = wire::initial(peer, &address);
                    if writer.write_all(&hello).await.is_ok() {
                        let mesh = Event::Mesh {
                            server,
                            life,
                            peer,
                            writer,
                        };
                        let _ = say.send(mesh); // an error: the replay is over
                        read_votes(reader, Vec::new(), (server, life, peer), say).await;
                    }
                    return;
                }
            });
        }
    }

    /// A smaller server makes itself known to one whose lists lack it; that one dials.
    ///
    /// # Errors
    /// The server does not listen.
    pub async fn knock(&self, server: u8, peer: u8) -> Result<()> {
        let host = &self.ports.host;
        let mut stream = connect(host, self.ports.election[at(server)])
            .await
            .with_context(|| format!("the election port of server {server}"))?;
        let address = format!("{host}:{}", self.ports.of_proxy(peer).1);
        Ok(stream.write_all(&wire::initial(peer, &address)).await?)
    }

    /// A client of that server.
    ///
    /// # Errors
    /// The server does not listen, or does not take it.
    pub async fn client(&self, server: u8, life: u64) -> Result<OwnedWriteHalf> {
        let stream = connect(&self.ports.host, self.ports.client[at(server)])
            .await
            .with_context(|| format!("the client port of server {server}"))?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        writer.write_all(&wire::new_session()).await?;
        let say = self.say.clone();
        tokio::spawn(async move {
            let mut reader = reader;
            let mut buf = Vec::new();
            loop {
                while let Some(bytes) = wire::take_frame(&mut buf) {
                    let _ = say.send(Event::Answered {
                        server,
                        life,
                        bytes,
                    });
                }
                if !matches!(reader.read_buf(&mut buf).await, Ok(n) if n > 0) {
                    return;
                }
            }
        });
        Ok(writer)
    }

    /// Opens the leader's side of a connection that its learner has dialled before.
    ///
    /// # Errors
    /// The leader does not listen.
    pub async fn connect(&self, leader: u8, conn: u64) -> Result<Side> {
        let stream = connect(&self.ports.host, self.ports.quorum[at(leader)])
            .await
            .with_context(|| format!("the quorum port of server {leader}"))?;
        stream.set_nodelay(true)?;
        let (halves, buf) = (stream.into_split(), Vec::new());
        Ok(side(halves, buf, conn, End::Leader, self.say.clone()))
    }

    fn serve_gate(&self, listener: TcpListener, server: u8) {
        let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let life = lives[at(server)].load(Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                let _ = say.send(Event::Gate {
                    server,
                    life,
                    writer,
                });
                let say = say.clone();
                tokio::spawn(async move {
                    let mut lines = BufReader::new(reader).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        let event = match serde_json::from_str(&line) {
                            Ok(value) => Event::Said {
                                server,
                                life,
                                value,
                            },
                            Err(e) => Event::Wrong(format!("gate of server {server}: {e}")),
                        };
                        let _ = say.send(event);
                    }
                });
            }
        });
    }

    /// Whoever dials says first who it is.
    fn serve_quorum(&self, listener: TcpListener, to: u8) {
        let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
        let conns = Arc::clone(&self.conns);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let conn = conns.fetch_add(1, Ordering::Relaxed);
                let (say, lives) = (say.clone(), Arc::clone(&lives));
                tokio::spawn(async move {
                    let (mut reader, writer) = stream.into_split();
                    let mut buf = Vec::new();
                    let first = |buf: &mut Vec<u8>| wire::take_packet(buf);
                    let (packet, bytes) = match first_words(&mut reader, &mut buf, first).await {
                        Ok(Some(said)) => said,
                        Ok(None) => return,
                        Err(e) => {
                            let _ = say.send(Event::Wrong(format!("a learner of {to}: {e}")));
                            return;
                        }
                    };
                    let servers = 1..=u64::from(SERVERS);
                    let Some(sid) = packet.sid.filter(|sid| servers.contains(sid)) else {
                        let what = format!("a learner of server {to} begins with {packet:?}");
                        let _ = say.send(Event::Wrong(what));
                        return;
                    };
                    let from = sid as u8;
                    let life = lives[at(from)].load(Ordering::Relaxed);
                    let side = side((reader, writer), buf, conn, End::Learner, say.clone());
                    let _ = say.send(Event::Dialled {
                        from,
                        life,
                        to,
                        conn,
                        side,
                    });
                    let from = End::Learner;
                    let _ = say.send(Event::Packet {
                        conn,
                        from,
                        packet,
                        bytes,
                    });
                });
            }
        });
    }

    /// Whoever dials says first who it is.
    fn serve_election(&self, listener: TcpListener, peer: u8) {
        let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (say, lives) = (say.clone(), Arc::clone(&lives));
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let (mut reader, writer) = stream.into_split();
                    let mut buf = Vec::new();
                    let first = |buf: &mut Vec<u8>| wire::take_initial(buf);
                    let sid = match first_words(&mut reader, &mut buf, first).await {
                        Ok(Some(sid)) => sid,
                        Ok(None) => return,
                        Err(e) => {
                            let _ = say.send(Event::Wrong(format!("a peer of {peer}: {e}")));
                            return;
                        }
                    };
                    if !(1..=u64::from(SERVERS)).contains(&sid) || sid == u64::from(peer) {
                        let what = format!("a server calls itself {sid} at server {peer}");
                        let _ = say.send(Event::Wrong(what));
                    } else if sid > u64::from(peer) {
                        let server = sid as u8;
                        let life = lives[at(server)].load(Ordering::Relaxed);
                        let mesh = Event::Mesh {
                            server,
                            life,
                            peer,
                            writer,
                        };
                        let _ = say.send(mesh);
                        read_votes(reader, buf, (server, life, peer), say).await;
                    }
                    // A smaller server only makes itself known: the larger one dials it.
                });
            }
        });
    }
}

/// Reads until a first message is whole; nothing if the connection ends before.
async fn first_words<T>(
    reader: &mut OwnedReadHalf,
    buf: &mut Vec<u8>,
    take: impl Fn(&mut Vec<u8>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        if let Some(first) = take(buf)? {
            return Ok(Some(first));
        }
        if !matches!(reader.read_buf(buf).await, Ok(n) if n > 0) {
            return Ok(None);
        }
    }
}

/// Connects from the replay's own address: a server answers a guest where it comes from.
async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let address = |port: u16| {
        let ip = host.parse().map_err(std::io::Error::other)?;
        std::io::Result::Ok(SocketAddr::new(ip, port))
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind(address(0)?)?;
    socket.connect(address(port)?).await
}

const fn at(server: u8) -> usize {
    server as usize - 1
}

/// A process that another replay is just starting still has the listeners of the last replay open, until it is its own
/// program: so it may take a moment.
async fn listen(host: &str, port: u16) -> Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && tries < 1000 => {
                tries += 1;
                sleep(Duration::from_millis(5)).await;
            }
            Err(e) => return Err(e).with_context(|| format!("port {port} of the proxy")),
        }
    }
}

async fn read_votes(
    mut reader: OwnedReadHalf,
    mut buf: Vec<u8>,
    (from, life, to): (u8, u64, u8),
    say: UnboundedSender<Event>,
) {
    loop {
        loop {
            let event = match wire::take_vote(&mut buf) {
                Ok(None) => break,
                Ok(Some((vote, bytes))) => Event::Vote {
                    from,
                    life,
                    to,
                    vote,
                    bytes,
                },
                Err(e) => {
                    let _ = say.send(Event::Wrong(format!("server {from}: {e}")));
                    return;
                }
            };
            let _ = say.send(event);
        }
        if !matches!(reader.read_buf(&mut buf).await, Ok(n) if n > 0) {
            return;
        }
    }
}

fn side(
    (mut reader, writer): (OwnedReadHalf, OwnedWriteHalf),
    mut buf: Vec<u8>,
    conn: u64,
    from: End,
    say: UnboundedSender<Event>,
) -> Side {
    let reading = tokio::spawn(async move {
        loop {
            loop {
                let event = match wire::take_packet(&mut buf) {
                    Ok(None) => break,
                    Ok(Some((packet, bytes))) => Event::Packet {
                        conn,
                        from,
                        packet,
                        bytes,
                    },
                    Err(e) => {
                        let _ = say.send(Event::Wrong(format!("{from:?} of {conn}: {e}")));
                        return;
                    }
                };
                let _ = say.send(event);
            }
            if !matches!(reader.read_buf(&mut buf).await, Ok(n) if n > 0) {
                return;
            }
        }
    });
    Side {
        writer,
        reading: reading.abort_handle(),
    }
}
