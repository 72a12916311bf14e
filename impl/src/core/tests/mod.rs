//! Goal: each handler of the core, one by one, without a socket, a file, a thread or a clock.
//!
//! Method: events go into turns, and what comes out is looked at. The disk here says that operations are durable when a test lets
//! it; packets of other servers are events.
//!
//! | handled | by, among others |
//! |---|---|
//! | `Mail`, `Reached`, `Dialled` | `following`: an election does not wait …, an attempt to dial … |
//! | `Fired`, and what is due by the time | `following`: a timer of the driver …; `alone`: silent sessions, stalls, old files; `local`: reads without a leader; `cases`: C-49 to C-51 |
//! | `Disk` | `alone`: only what the disk has said …, C-10, a failed disk; `leading`: C-10, C-83 |
//! | `Accepted`, `Ended`, `Behind` | `leading`: who is let in, C-80, C-82, C-84, a frame of a link that was closed; `following`: learners that come to a follower |
//! | `Heard`: packets | `leading`: a write is committed …; `following`: a ping is answered … |
//! | `Heard`: a request, a question or a word about a session, the answer to a sync | `leading`: what a learner forwards …, a session goes on …, C-80; `following`: requests and syncs …, a session goes on …, C-40, C-41 |
//! | `Heard`: a tree; `Done` | `following`: a whole tree …, a tree that holds more …; `alone`: C-8 |
//! | `Connect`, `Submitted` | `alone`: a write is answered …, a sync …, a session goes on …, C-45; `local` |
//! | what is slow | `slow` |
//! | `SnapshotAsked`, `Restore`, and how their jobs end | `operator` |
//! | `Propose`, `Settle`, `Shutdown` | `alone`: a harness …, the end …; `leaving` |
//!
//! What is between a client's bytes and `Submitted` is tested in `client/intake/tests/`.

mod alone;
mod cases;
mod following;
mod leading;
mod leaving;
mod local;
mod operator;
mod slow;

use super::event::{Done, Event, Now};
use super::out::{DialAct, Item, Job, LinkAct, Outputs};
use super::turn::{Core, Start};
use crate::client::conn::{Conn, ConnPhase};
use crate::client::shared::{Secret, Shared};
use crate::client::submit::{Connect, Submit};
use crate::config::check;
use crate::edges::clock::Clock;
use crate::edges::wake::Wake;
use crate::limits::FLIGHT;
use crate::storage::snapshot::StagedSnapshot;
use crate::storage::worker::{self, Op};
use crate::wire::client::{ReplyFrame, Request, opcode};
use crate::wire::frame::split;
use crate::wire::link::{Heard, Hello};
use crate::wire::quorum::{PacketKind, QuorumPacket, parse};
use bytes::{Bytes, BytesMut};
use std::path::Path;
use std::sync::Arc;
use zabra_model::durable::Durable;
use zabra_model::history::History;
use zabra_model::ids::{Epoch, Round, ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::membership::Claim;
use zabra_model::service::mode::Mode;
use zabra_model::service::reach::Reach;
use zabra_model::service::snapshots::Replay;
use zabra_model::step::{Env, Link, Timer};
use zabra_model::switch::Switches;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::{CreateKind, WriteOp};
use zabra_model::vote::{Notification, ServerState, Vote};

const TICK_MS: u64 = 1000;
const TIMEOUT_MS: i32 = 4000;

struct Still;

impl Clock for Still {
    fn elapsed_ms(&self) -> u64 {
        0
    }

    fn date_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}

    fn end(&self) {}
}

/// A core, and the hands of a test.
struct Server {
    core: Core,
    now_ms: u64,
    /// What the clock on the wall showed at its start, ms.
    date_ms: u64,
    out: Box<Outputs>,
    /// Operations that the disk has been given, and has said nothing about.
    disk: Vec<(u64, Op)>,
    links: Vec<LinkAct>,
    jobs: Vec<Job>,
    dials: Vec<DialAct>,
    mail: Vec<(ServerId, Notification)>,
    next_token: u64,
}

const ALONE: &str = "";
const OF_THREE: &str = "initLimit=5\nsyncLimit=2\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\nserver.3=127.0.0.1:5:6\n";

/// Whatever a test has done with it: a peer of the model goes the same way by what was recorded.
impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.core.is_as_recorded(), Ok(()));
        }
    }
}

impl Server {
    /// A server without data that has just begun.
    fn boot(me: u64, lines: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zabra-core-tests-{me}"));
        let text = format!(
            "dataDir={}\nclientPort=1\ntickTime={TICK_MS}\n{lines}",
            dir.display()
        );
        let mut config = check::read(Path::new("zoo.cfg"), &text.replace(OF_THREE, "")).unwrap();
        if lines.contains(OF_THREE) {
            config = of_three(config, me);
        }
        let env = Env {
            me: ServerId(me),
            observer: false,
            switches: Switches::default(),
            epoch_max: Epoch(u32::MAX),
            counter_max: u32::MAX - 1,
            ack_ticks_max: 2 * config.sync_limit,
            sync: config.sync_limits(),
        };
        let lists = config.lists();
        let shared = Shared::new(config, Tree::new(), Arc::new(Still), Secret([7; 32]));
        let core = Core::new(Start {
            shared,
            env,
            lists,
            found: Durable {
                accepted: Epoch(0),
                current: Epoch(0),
                history: History::starting_at(Zxid::ZERO),
            },
            replayed: Replay::default(),
            reach: Reach::starting_at(Zxid::ZERO, 0),
            now: Now::default(),
            timers_are_driven: false,
            tells: false,
            records: Some(FLIGHT),
        });
        let mut server = Self {
            core,
            now_ms: 0,
            date_ms: 1_700_000_000_000,
            out: Box::default(),
            disk: Vec::new(),
            links: Vec::new(),
            jobs: Vec::new(),
            dials: Vec::new(),
            mail: Vec::new(),
            next_token: 0,
        };
        server.turn(vec![]);
        server
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(self.core.shared())
    }

    fn mode(&self) -> Mode {
        self.core.shared().mode()
    }

    fn turn(&mut self, mut events: Vec<Event>) {
        let now = Now {
            elapsed_ms: self.now_ms,
            date_ms: self.date_ms + self.now_ms,
        };
        self.core.turn(now, &mut events, &mut self.out).unwrap();
        self.disk.append(&mut self.out.disk);
        self.links.append(&mut self.out.links);
        self.jobs.append(&mut self.out.jobs);
        self.dials.append(&mut self.out.dials);
        self.mail.append(&mut self.out.mail);
        self.out.woken.clear();
        self.out.kept.clear();
    }

    /// Time passes, in steps of a tenth of a tick, with turns only when they are due.
    fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms = (self.now_ms + TICK_MS / 10).min(until);
            if self.out.wake_ms <= self.now_ms {
                self.turn(vec![]);
            }
        }
    }

    /// The disk has done everything it was given.
    fn sync(&mut self) {
        while let Some((upto, _)) = self.disk.last() {
            let upto = *upto;
            self.disk.clear();
            self.turn(vec![Event::Disk(worker::Event::Durable { upto })]);
        }
    }

    /// A connection of a client with a session of this id.
    fn conn(&self, session: i64) -> Arc<Conn> {
        let conn = self
            .core
            .shared()
            .connect(([127, 0, 0, 1], 1).into(), Arc::new(Silent));
        conn.bind(SessionId(session), TIMEOUT_MS);
        conn
    }

    /// A client with a new session.
    fn client(&mut self, session: i64) -> Arc<Conn> {
        let conn = self.conn(session);
        let connect = Connect::New(SessionId(session));
        self.turn(vec![Event::Connect(Arc::clone(&conn), connect)]);
        self.sync();
        conn
    }

    /// A request of a client that goes by the leader, with its place among the requests of the connection.
    fn submit(&mut self, conn: &Arc<Conn>, xid: i32, what: Request) {
        let submit = self.request(conn, xid, what);
        self.turn(vec![Event::Submitted(Arc::clone(conn), vec![submit])]);
    }

    fn request(&mut self, conn: &Arc<Conn>, xid: i32, what: Request) -> Submit {
        self.next_token += 1;
        let mut state = conn.state();
        state.order.push_write(self.next_token, 100);
        let mut record = BytesMut::new();
        what.put_record(&mut record);
        let record = record.freeze();
        Submit {
            xid,
            token: self.next_token,
            opcode: what.opcode(),
            record,
            request: (what.opcode() != opcode::SYNC).then_some(what),
            refused_as: None,
            ids: Arc::clone(&state.ids),
            read_ms: 0,
        }
    }
}

/// The same request, in the memory of all that was read with it.
fn read_with_others(mut submit: Submit) -> (Submit, Bytes) {
    let mut read = vec![0; 64 << 10];
    let own = read.len();
    read.extend_from_slice(&submit.record);
    let read = Bytes::from(read);
    submit.record = read.slice(own..);
    submit.request = submit
        .request
        .and_then(|_| Request::decode(submit.opcode, &submit.record).ok());
    (submit, read)
}

/// Requests of each kind that wait for the leader; the memory that each was read with.
fn ask_all(server: &mut Server, conn: &Arc<Conn>) -> Vec<Bytes> {
    let write = |path: &str| match create(path) {
        Request::Write(WriteOp::Create {
            kind,
            path,
            acl,
            flags,
            ttl,
            ..
        }) => WriteOp::Create {
            kind,
            path,
            data: Some(Bytes::from_static(b"some data")),
            acl,
            flags,
            ttl,
        },
        _ => panic!("a create"),
    };
    let all = [
        Request::Write(write("/one")),
        Request::Write(WriteOp::Multi(vec![write("/two"), write("/three")])),
        sync(),
    ];
    let mut memory = Vec::new();
    for (xid, what) in (1..).zip(all) {
        let request = server.request(conn, xid, what);
        let (request, read) = read_with_others(request);
        server.turn(vec![Event::Submitted(Arc::clone(conn), vec![request])]);
        memory.push(read);
    }
    memory
}

fn of_three(config: crate::config::Config, me: u64) -> crate::config::Config {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("myid"), format!("{me}\n")).unwrap();
    let text = format!(
        "dataDir={}\nclientPort=9\ntickTime={TICK_MS}\n{OF_THREE}",
        dir.path().display()
    );
    let mut all = check::read(Path::new("zoo.cfg"), &text).unwrap();
    all.snap_count = config.snap_count;
    all.local_sessions = config.local_sessions;
    all.read_only_mode = config.read_only_mode;
    all.net = config.net;
    all.operation = config.operation;
    all
}

fn create(path: &str) -> Request {
    create_as(CreateKind::Create, path, 0)
}

fn create_as(kind: CreateKind, path: &str, flags: i32) -> Request {
    Request::Write(WriteOp::Create {
        kind,
        path: Some(path.into()),
        data: None,
        acl: Some(crate::wire::snapshot::tree::open_acl().to_vec()),
        flags,
        ttl: 0,
    })
}

fn sync() -> Request {
    Request::Sync {
        path: Some("/".into()),
    }
}

/// Takes what was written to a client: number and error of each answer.
fn answers(conn: &Conn) -> Vec<(i32, i32)> {
    let mut out = BytesMut::new();
    conn.state().take_out(&mut out);
    let mut frames = Vec::new();
    split(&mut out, 1 << 20, &mut frames).unwrap();
    let header = |frame: &Bytes| ReplyFrame::split(frame).unwrap().header;
    let headers = frames.iter().map(header);
    headers.map(|header| (header.xid, header.err)).collect()
}

/// A client has got all that was written to it.
fn fetch(conn: &Conn) {
    conn.state().take_out(&mut BytesMut::new());
}

/// Takes the packets that were sent over a link.
fn packets(server: &mut Server, link: Link) -> Vec<QuorumPacket> {
    let mut all = BytesMut::new();
    for act in &server.links {
        if let LinkAct::Send(to, Item::Packets(bytes)) = act
            && *to == link
        {
            all.extend_from_slice(bytes);
        }
    }
    server
        .links
        .retain(|act| !matches!(act, LinkAct::Send(to, _) if *to == link));
    std::iter::from_fn(|| parse(&mut all).unwrap()).collect()
}

fn kinds(server: &mut Server, link: Link) -> Vec<PacketKind> {
    packets(server, link).into_iter().map(|p| p.kind).collect()
}

fn vote(state: ServerState, leader: u64) -> Notification {
    Notification {
        state,
        vote: Vote {
            epoch: Epoch(0),
            zxid: Zxid::ZERO,
            leader: ServerId(leader),
        },
        round: Round(1),
    }
}

fn closes(server: &Server, link: Link) -> bool {
    let is_it = |act: &LinkAct| matches!(act, LinkAct::Close(closed) if *closed == link);
    server.links.iter().any(is_it)
}

fn opens(server: &Server, link: Link) -> bool {
    let is_it =
        |act: &LinkAct| matches!(act, LinkAct::Open { link: opened, .. } if *opened == link);
    server.links.iter().any(is_it)
}
