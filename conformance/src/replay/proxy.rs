//! The sockets between the servers of a replay: what a server says becomes an event, and goes nowhere by itself.
//!
//! Towards each server the proxy takes the part of both others, and keeps the election connections up whether or not
//! those run. So no connection of the election mesh ever breaks while its server lives, and ZooKeeper's habit of saying
//! the last vote again on a new connection does not come into play. On quorum ports a learner's dial is accepted at once,
//! and what it says is held; the leader sees a connection only when the trace says so.

use super::server::{Ports, SERVERS};
use super::trace::End;
use super::wire::{self, Packet, Vote};
use anyhow::{Context, Result};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
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
        for a in 1..=SERVERS {
            let listener = listen(host, ports.gate[at(a)]).await?;
            proxy.serve_gate(listener, a);
            for b in (1..=SERVERS).filter(|b| *b != a) {
                let listener = listen(host, ports.quorum_of[at(a)][at(b)]).await?;
                proxy.serve_quorum(listener, a, b);
                let listener = listen(host, ports.election_of[at(a)][at(b)]).await?;
                proxy.serve_election(listener, a, b);
            }
        }
        Ok((proxy, heard))
    }

    /// The life of a server.
    #[must_use]
    pub fn life(&self, server: u8) -> u64 {
        self.lives[at(server)].load(Ordering::Relaxed)
    }

    /// A new process of this server is being started: larger servers dial it.
    pub fn begin_life(&self, server: u8) {
        let life = self.lives[at(server)].fetch_add(1, Ordering::Relaxed) + 1;
        let port = self.ports.election[at(server)];
        for peer in server + 1..=SERVERS {
            let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
            let host = self.ports.host.clone();
            let address = format!("{host}:{}", self.ports.election_of[at(server)][at(peer)]);
            tokio::spawn(async move {
                while lives[at(server)].load(Ordering::Relaxed) == life {
                    let Ok(stream) = TcpStream::connect((host.as_str(), port)).await else {
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

    /// Opens the leader's side of a connection that its learner has dialled before.
    ///
    /// # Errors
    /// The leader does not listen.
    pub async fn connect(&self, leader: u8, conn: u64) -> Result<Side> {
        let stream = TcpStream::connect((self.ports.host.as_str(), self.ports.quorum[at(leader)]))
            .await
            .with_context(|| format!("the quorum port of server {leader}"))?;
        stream.set_nodelay(true)?;
        Ok(side(stream, conn, End::Leader, self.say.clone()))
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

    fn serve_quorum(&self, listener: TcpListener, from: u8, to: u8) {
        let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
        let conns = Arc::clone(&self.conns);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let life = lives[at(from)].load(Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                let conn = conns.fetch_add(1, Ordering::Relaxed);
                let side = side(stream, conn, End::Learner, say.clone());
                let _ = say.send(Event::Dialled {
                    from,
                    life,
                    to,
                    conn,
                    side,
                });
            }
        });
    }

    fn serve_election(&self, listener: TcpListener, server: u8, peer: u8) {
        let (say, lives) = (self.say.clone(), Arc::clone(&self.lives));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let life = lives[at(server)].load(Ordering::Relaxed);
                let say = say.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let (mut reader, writer) = stream.into_split();
                    let mut buf = Vec::new();
                    let sid = loop {
                        match wire::take_initial(&mut buf) {
                            Ok(Some(sid)) => break sid,
                            Ok(None) => {}
                            Err(e) => {
                                let _ = say.send(Event::Wrong(format!("server {server}: {e}")));
                                return;
                            }
                        }
                        if !matches!(reader.read_buf(&mut buf).await, Ok(n) if n > 0) {
                            return;
                        }
                    };
                    if sid != u64::from(server) {
                        let what = format!("server {server} calls itself {sid}");
                        let _ = say.send(Event::Wrong(what));
                    } else if server > peer {
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

fn side(stream: TcpStream, conn: u64, from: End, say: UnboundedSender<Event>) -> Side {
    let (mut reader, writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut buf = Vec::new();
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
