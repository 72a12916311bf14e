//! Clients: each writes a register of its own in rising steps, reads those of others, syncs, watches, and changes servers. What they
//! may see is checked as they see it.
//!
//! | checked | how |
//! |---|---|
//! | nothing acknowledged is lost | a register never shows less than what was acknowledged to its writer and covered by a sync, or seen |
//! | reads of a session do not go back | the same, for what this client has seen, also at another server |
//! | a session reads its own writes | the same, for its own register |
//! | a sync is up to date | reads behind it show all that was acknowledged to anybody before it was asked |
//! | replies are in order | their numbers are those of the requests, their zxids do not fall |
//! | events come first | no reply shows a change of a watched register before the event that tells of it |

use super::net::{Net, Place, StreamId};
use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use zabra::wire::client::{
    ConnectRequest, ConnectResponse, ReplyFrame, Request, Response, opcode, xid,
};
use zabra::wire::frame::split;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

/// Requests on their way at once.
const DEPTH: usize = 4;
const TIMEOUT_MS: i32 = 4000;
/// Everything is mended by then, and half of the clients ask for nothing: PINGs alone keep their sessions.
const REST_US: std::ops::Range<u64> = 30_000_000..42_000_000;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
const CREATE_SEQUENTIAL: i32 = 2;

/// What was written, by everybody.
#[derive(Default)]
pub struct Ledger {
    /// Of each register, the newest value that was acknowledged.
    pub acked: Vec<u64>,
    /// And the newest that was asked for.
    pub asked: Vec<u64>,
    /// Nodes whose creation was acknowledged.
    pub created: BTreeSet<String>,
    /// Creations that were asked for, by client.
    pub creations: Vec<u64>,
}

impl Ledger {
    /// Of so many clients.
    #[must_use]
    pub fn new(clients: usize) -> Self {
        Self {
            acked: vec![0; clients],
            asked: vec![0; clients],
            created: BTreeSet::new(),
            creations: vec![0; clients],
        }
    }
}

/// The register of a client.
#[must_use]
pub fn register(client: usize) -> String {
    format!("/r{client}")
}

/// What the nodes begin with that a client creates beside.
#[must_use]
pub fn created_by(client: usize) -> String {
    format!("/n{client}-")
}

/// The value in a register's data.
#[must_use]
pub fn value_of(data: &[u8]) -> u64 {
    data.first_chunk().map_or(0, |b| u64::from_be_bytes(*b))
}

#[derive(Clone, Debug)]
enum Asked {
    Register,
    Set(u64),
    Create,
    Get(usize, bool),
    /// What was acknowledged when it was asked for.
    Sync(Vec<u64>),
}

struct Connection {
    stream: StreamId,
    server: usize,
    /// Whether there is a session.
    is_open: bool,
    buf: BytesMut,
    waiting: VecDeque<(i32, Asked)>,
    heard_us: u64,
    said_us: u64,
    last: Zxid,
    /// Watched registers, and what they showed.
    watched: BTreeMap<usize, u64>,
}

/// One client.
pub struct Client {
    /// Its number.
    pub index: usize,
    random: Rng,
    session: SessionId,
    password: [u8; 16],
    seen: Zxid,
    connection: Option<Connection>,
    servers: usize,
    next_xid: i32,
    has_register: bool,
    next_us: u64,
    dialling: Option<u64>,
    /// What each register showed at least.
    floor: Vec<u64>,
    /// It asks for nothing more.
    pub is_done: bool,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Sessions that it has had.
    pub sessions: u64,
    /// Events that it has got.
    pub events: u64,
}

impl Client {
    /// A client that has not dialled yet.
    #[must_use]
    pub fn new(index: usize, clients: usize, servers: usize, seed: u64) -> Self {
        Self {
            index,
            random: Rng::with_seed(seed),
            session: SessionId(0),
            password: [0; 16],
            seen: Zxid(0),
            connection: None,
            servers,
            next_xid: 1,
            has_register: false,
            next_us: 0,
            dialling: None,
            floor: vec![0; clients],
            is_done: false,
            writes: 0,
            reads: 0,
            sessions: 0,
            events: 0,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> Place {
        100 + self.index as Place
    }

    /// Whether everything that it asked for was answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|c| c.is_open && c.waiting.is_empty())
    }

    /// It does what is due: the answer is whom it dials, if it dials.
    pub fn wake(&mut self, now_us: u64, net: &mut Net, ledger: &mut Ledger) -> Option<usize> {
        let Some(connection) = &self.connection else {
            if self.dialling.is_some_and(|until| now_us < until) || now_us < self.next_us {
                return None;
            }
            self.dialling = Some(now_us + 1_000_000);
            return Some(self.random.usize(0..self.servers));
        };
        let silent_us = now_us - connection.heard_us;
        let moves = connection.is_open && !self.is_done && self.random.u16(..) < 60;
        if silent_us > 2_500_000 || moves {
            self.hang_up(now_us, net);
            return None;
        }
        if !connection.is_open {
            return None;
        }
        if now_us - connection.said_us > 1_000_000 {
            self.say(xid::PING, &Request::Ping, now_us, net);
        }
        let free = self
            .connection
            .as_ref()
            .map_or(0, |c| DEPTH - c.waiting.len().min(DEPTH));
        let rests = self.index.is_multiple_of(2) && REST_US.contains(&now_us);
        if free > 0 && now_us >= self.next_us && !self.is_done && !rests {
            for _ in 0..self.random.usize(1..=free) {
                self.ask(now_us, net, ledger);
            }
            self.next_us = now_us + self.random.u64(1_000..80_000);
        }
        None
    }

    /// When it wants to be woken next.
    pub fn rest_us(&mut self) -> u64 {
        self.random.u64(2_000..30_000)
    }

    /// The server that it dials has answered, or there is none.
    pub fn dialled(&mut self, to: Option<(StreamId, usize)>, now_us: u64, net: &mut Net) {
        self.dialling = None;
        let Some((stream, server)) = to else {
            self.next_us = now_us + self.random.u64(10_000..200_000);
            return;
        };
        self.connection = Some(Connection {
            stream,
            server,
            is_open: false,
            buf: BytesMut::new(),
            waiting: VecDeque::new(),
            heard_us: now_us,
            said_us: now_us,
            last: Zxid(0),
            watched: BTreeMap::new(),
        });
        let mut out = BytesMut::new();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen,
            timeout_ms: TIMEOUT_MS,
            session: self.session,
            password: Some(Bytes::copy_from_slice(&self.password)),
            read_only: Some(false),
        }
        .put(&mut out);
        net.send(stream, 0, out.freeze(), now_us);
    }

    fn hang_up(&mut self, now_us: u64, net: &mut Net) {
        if let Some(connection) = self.connection.take() {
            net.close(connection.stream, 0, now_us);
        }
        self.next_us = now_us + self.random.u64(1_000..100_000);
    }

    /// The stream has ended.
    pub fn closed(&mut self, stream: StreamId, now_us: u64, net: &mut Net) {
        if self.connection.as_ref().is_some_and(|c| c.stream == stream) {
            self.hang_up(now_us, net);
        }
    }

    fn say(&mut self, number: i32, request: &Request, now_us: u64, net: &mut Net) {
        let mut out = BytesMut::new();
        request.put(number, &mut out);
        if let Some(connection) = &mut self.connection {
            connection.said_us = now_us;
            net.send(connection.stream, 0, out.freeze(), now_us);
        }
    }

    fn ask(&mut self, now_us: u64, net: &mut Net, ledger: &mut Ledger) {
        let (asked, request) = self.choose(ledger);
        let number = self.next_xid;
        self.next_xid += 1;
        if let Some(connection) = &mut self.connection {
            connection.waiting.push_back((number, asked));
        }
        self.say(number, &request, now_us, net);
    }

    fn choose(&mut self, ledger: &mut Ledger) -> (Asked, Request) {
        let me = self.index;
        if !self.has_register {
            return (Asked::Register, create(register(me), Bytes::new(), 0));
        }
        match self.random.u8(0..100) {
            0..=44 => {
                ledger.asked[me] += 1;
                let value = ledger.asked[me];
                let mut data = value.to_be_bytes().to_vec();
                data.resize(8 + self.random.usize(0..1500), value as u8);
                let request = Request::Write(WriteOp::SetData {
                    path: Some(register(me).into()),
                    data: Some(data.into()),
                    version: -1,
                });
                (Asked::Set(value), request)
            }
            45..=54 => {
                ledger.creations[me] += 1;
                let request = create(created_by(me), Bytes::new(), CREATE_SEQUENTIAL);
                (Asked::Create, request)
            }
            55..=64 => {
                let path = Some(register(me).into());
                (Asked::Sync(ledger.acked.clone()), Request::Sync { path })
            }
            _ => {
                let whose = self.random.usize(0..self.floor.len());
                let watch = self.random.bool();
                let path = register(whose).into();
                let request = Request::Read(ReadOp::GetData { path, watch });
                (Asked::Get(whose, watch), request)
            }
        }
    }

    /// Bytes have come.
    ///
    /// # Errors
    /// What a client must never see.
    pub fn heard(
        &mut self,
        stream: StreamId,
        bytes: &[u8],
        now_us: u64,
        net: &mut Net,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let mut frames = Vec::new();
        match self.connection.as_mut().filter(|c| c.stream == stream) {
            None => return Ok(()),
            Some(connection) => {
                connection.heard_us = now_us;
                connection.buf.extend_from_slice(bytes);
                split(&mut connection.buf, 1 << 20, &mut frames)
                    .map_err(|e| format!("client {}: {e}", self.index))?;
            }
        }
        for frame in frames {
            let Some(connection) = &self.connection else {
                break;
            };
            if connection.is_open {
                let server = connection.server + 1;
                self.replied(&frame, ledger)
                    .map_err(|e| format!("client {} at server {server}: {e}", self.index))?;
            } else {
                self.connected(&frame, now_us, net)?;
            }
        }
        Ok(())
    }

    fn connected(&mut self, frame: &Bytes, now_us: u64, net: &mut Net) -> Result<(), String> {
        let answer = ConnectResponse::decode(frame).map_err(|e| e.to_string())?;
        if answer.session == SessionId(0) {
            // It has expired: the next connection has another one.
            if now_us > REST_US.start + 3_000_000 {
                return Err(format!(
                    "client {}: its session has expired, and it was never silent",
                    self.index
                ));
            }
            self.session = SessionId(0);
            self.hang_up(now_us, net);
            return Ok(());
        }
        if self.session == SessionId(0) {
            self.sessions += 1;
        } else if self.session != answer.session {
            return Err(format!(
                "client {}: another session than its own",
                self.index
            ));
        }
        (self.session, self.password) = (answer.session, answer.password);
        if let Some(connection) = &mut self.connection {
            connection.is_open = true;
        }
        Ok(())
    }

    fn replied(&mut self, frame: &Bytes, ledger: &mut Ledger) -> Result<(), String> {
        let reply = ReplyFrame::split(frame).map_err(|e| e.to_string())?;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match reply.header.xid {
            xid::PING => return Ok(()),
            xid::EVENT => {
                let event = reply.decode_event().map_err(|e| e.to_string())?;
                connection
                    .watched
                    .retain(|r, _| register(*r) != *event.path);
                self.events += 1;
                return Ok(());
            }
            _ => {}
        }
        let Some((number, asked)) = connection.waiting.pop_front() else {
            return Err(format!(
                "a reply that nobody waits for: {}",
                reply.header.xid
            ));
        };
        if number != reply.header.xid {
            let got = reply.header.xid;
            return Err(format!("the reply to {got} came before that to {number}"));
        }
        if reply.header.zxid < connection.last {
            return Err(format!(
                "zxid {} of a reply is below {}, that of the one before",
                reply.header.zxid, connection.last
            ));
        }
        connection.last = reply.header.zxid;
        self.seen = self.seen.max(reply.header.zxid);
        self.answered(asked, &reply, ledger)
    }

    fn answered(
        &mut self,
        asked: Asked,
        reply: &ReplyFrame,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let (me, err) = (self.index, reply.header.err);
        match asked {
            Asked::Register if err == 0 || err == NODE_EXISTS => self.has_register = true,
            Asked::Set(value) if err == 0 => {
                self.writes += 1;
                ledger.acked[me] = ledger.acked[me].max(value);
                self.floor[me] = self.floor[me].max(value);
            }
            Asked::Set(value) if err == NO_NODE => {
                return Err(format!("its register is gone before value {value}"));
            }
            Asked::Create if err == 0 => {
                let made = reply.decode(opcode::CREATE).map_err(|e| e.to_string())?;
                let Response::Path(path) = made else {
                    return Err(format!("a create is answered with {made:?}"));
                };
                let path = path.unwrap_or_default();
                if !ledger.created.insert(path.to_string()) {
                    return Err(format!("{path} was created twice"));
                }
            }
            Asked::Sync(floor) if err == 0 => {
                for (own, acked) in self.floor.iter_mut().zip(floor) {
                    *own = acked.max(*own);
                }
            }
            Asked::Get(whose, watch) if err == 0 || err == NO_NODE => {
                let value = match err {
                    0 => {
                        let read = reply.decode(opcode::GET_DATA).map_err(|e| e.to_string())?;
                        let Response::Data(data, _) = read else {
                            return Err(format!("a getData is answered with {read:?}"));
                        };
                        value_of(&data.unwrap_or_default())
                    }
                    _ => 0,
                };
                self.read(whose, value, watch && err == 0, ledger)?;
            }
            // Refused, for lack of room or because the session has moved: it may be asked again.
            _ => {}
        }
        Ok(())
    }

    fn read(
        &mut self,
        whose: usize,
        value: u64,
        watch: bool,
        ledger: &Ledger,
    ) -> Result<(), String> {
        self.reads += 1;
        let (floor, asked) = (self.floor[whose], ledger.asked[whose]);
        if value < floor {
            return Err(format!(
                "register {whose} shows {value}, but {floor} was acknowledged or seen before"
            ));
        }
        if value > asked {
            return Err(format!(
                "register {whose} shows {value}, nobody wrote more than {asked}"
            ));
        }
        self.floor[whose] = value;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        match connection.watched.get(&whose) {
            Some(shown) if *shown < value => Err(format!(
                "register {whose} shows {value}, and no event has told of a change since {shown}"
            )),
            _ => {
                if watch {
                    connection.watched.insert(whose, value);
                }
                Ok(())
            }
        }
    }
}

fn create(path: String, data: Bytes, flags: i32) -> Request {
    let anyone = AclEntry {
        perms: perms::ALL,
        id: Id {
            scheme: "world".into(),
            id: "anyone".into(),
        },
    };
    Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(data),
        acl: Some(vec![anyone]),
        flags,
        ttl: 0,
    })
}
