//! The other end of a quorum or election connection, played by the test: it says what it is told to say.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it; a test may fail where it stands"
)]

use bytes::{Bytes, BytesMut};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use zabra::wire::quorum::{
    LearnerInfo, PacketKind, QuorumPacket, encode_ack_epoch, parse, put_packet,
};
use zabra_model::ids::{Epoch, ServerId, Zxid};
use zabra_model::tree::acl::Id;

/// What came, or did not.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Packet(QuorumPacket),
    Closed,
    Nothing,
}

/// A connection to a quorum port.
pub struct Stub {
    pub stream: TcpStream,
    buf: BytesMut,
    /// Bytes that have come in all.
    pub received: usize,
}

impl Stub {
    pub fn dial(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buf: BytesMut::new(),
            received: 0,
        }
    }

    /// Says a packet; whether the connection still took it.
    pub fn say(&mut self, kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) -> bool {
        self.say_as(kind, zxid, data, None)
    }

    pub fn say_as(
        &mut self,
        kind: PacketKind,
        zxid: Zxid,
        data: Option<&[u8]>,
        ids: Option<&[Id]>,
    ) -> bool {
        let mut out = BytesMut::new();
        put_packet(kind, zxid, data, ids, &mut out);
        self.stream.write_all(&out).is_ok()
    }

    /// FOLLOWERINFO or OBSERVERINFO.
    pub fn introduce(&mut self, kind: PacketKind, sid: u64, accepted: u32) -> bool {
        let info = LearnerInfo::encode(ServerId(sid), 0);
        self.say(kind, Zxid::new(Epoch(accepted), 0), Some(&info))
    }

    pub fn hear(&mut self, within: Duration) -> Heard {
        let deadline = Instant::now() + within;
        loop {
            if let Some(packet) = parse(&mut self.buf).unwrap() {
                return Heard::Packet(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Heard::Closed,
                Ok(n) => {
                    self.received += n;
                    self.buf.extend_from_slice(&chunk[..n]);
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return Heard::Nothing;
                    }
                }
                Err(_) => return Heard::Closed,
            }
        }
    }

    /// Whether the server ends the connection in time.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now())) {
                Heard::Closed => return true,
                Heard::Nothing => return false,
                Heard::Packet(_) => {}
            }
        }
    }

    /// Joins the leader behind this port with an empty history, up to UPTODATE; false if it is not let in. A learner that
    /// is led hears PINGs from then on and has to answer them.
    pub fn join(&mut self, kind: PacketKind, sid: u64) -> bool {
        self.introduce(kind, sid, 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let Heard::Packet(packet) = self.hear(Duration::from_secs(10)) else {
                return false;
            };
            match packet.kind {
                PacketKind::LeaderInfo => {
                    let current = encode_ack_epoch(Some(Epoch(0)));
                    self.say(PacketKind::AckEpoch, Zxid::ZERO, Some(&current));
                }
                PacketKind::NewLeader => {
                    self.say(PacketKind::Ack, packet.zxid, None);
                }
                PacketKind::UpToDate => return true,
                _ => {}
            }
        }
        false
    }

    /// Behaves as a learner for this long: answers PINGs, and acknowledges proposals if `acks`. False when the
    /// connection has ended.
    pub fn live(&mut self, acks: bool, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            match self.hear(Duration::from_millis(50)) {
                Heard::Closed => return false,
                Heard::Nothing => {}
                Heard::Packet(packet) => {
                    let answered = match packet.kind {
                        PacketKind::Ping => self.say(PacketKind::Ping, packet.zxid, None),
                        PacketKind::Proposal if acks => {
                            self.say(PacketKind::Ack, packet.zxid, None)
                        }
                        _ => true,
                    };
                    if !answered {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// FOLLOWERINFO of a server that has promised no epoch.
pub fn follower_info(sid: u64) -> Vec<u8> {
    let mut out = BytesMut::new();
    let info = LearnerInfo::encode(ServerId(sid), 0);
    let kind = PacketKind::FollowerInfo;
    put_packet(kind, Zxid::ZERO, Some(&info), None, &mut out);
    out.to_vec()
}

/// The first words on an election port.
pub fn election_hello(sid: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(-65536_i64).to_be_bytes());
    out.extend_from_slice(&sid.to_be_bytes());
    let address = b"127.0.0.1:1";
    out.extend_from_slice(&(address.len() as u32).to_be_bytes());
    out.extend_from_slice(address);
    out
}

/// A client's request as a follower forwards it.
pub fn forwarded(session: i64, cxid: i32, opcode: i32, record: &[u8]) -> Bytes {
    let mut out = Vec::new();
    out.extend_from_slice(&session.to_be_bytes());
    out.extend_from_slice(&cxid.to_be_bytes());
    out.extend_from_slice(&opcode.to_be_bytes());
    out.extend_from_slice(record);
    out.into()
}
