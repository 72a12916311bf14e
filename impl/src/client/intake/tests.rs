//! Goal: each handler of a client connection, one by one, without socket, file or task.
//!
//! Method: a client's frames are fed, the steps are carried out as a driver does, and what came of them is compared. Where a write
//! needs the leader, the test answers it as the core does: the reply, then the reads that waited behind it.

mod endings;
mod first;
mod long_work;
mod requests;
mod sasl;
mod secrets;
mod throttle;

use super::*;
use crate::client::answer::{HubAccess, answer};
use crate::client::conn::Waiting;
use crate::client::lock::lock;
use crate::client::shared::{Mode, Secret};
use crate::config::check;
use crate::edges::clock::Clock;
use crate::limits::{
    CREDENTIAL_BYTES_MAX, IDENTITIES_MAX, LONG_READS_MAX, SMALL_BYTES, UNREAD_BYTES_MAX,
    WAITING_BYTES_MAX,
};
use crate::wire::client::{
    AddWatchMode, ConnectRequest, ConnectResponse, ReplyFrame, ReplyHeader, Request, Response,
    SetWatches, opcode, reply, xid,
};
use crate::wire::frame::{put_frame, split};
use bytes::{BufMut, Bytes};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::service::session::password;
use zabra_model::service::work::{LONG_READ_WORK, WAITING_WORK_MAX};
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::txn::{Created, Txn, TxnHeader};

const TICK_MS: u64 = 500;
const TIMEOUT_MS: u64 = 4000;
const LAST: Zxid = Zxid(0x1_0000_0000);

/// A clock that stands: time is an argument.
struct Still;

impl Clock for Still {
    fn elapsed_ms(&self) -> u64 {
        0
    }

    fn date_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

#[derive(Default)]
struct Rings {
    wake: AtomicUsize,
    end: AtomicUsize,
}

impl Wake for Rings {
    fn wake(&self) {
        self.wake.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.end.fetch_add(1, Ordering::Relaxed);
    }
}

fn apply(shared: &Shared, path: &str) {
    let txn = Txn::Create {
        path: path.into(),
        data: None,
        acl: vec![AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }],
        created: Created::Node {
            ephemeral: false,
            with_stat: false,
        },
        parent_cversion: -1,
    };
    commit(shared, &txn);
}

/// Applies a transaction as the core does, and rings for whoever hears of it.
fn commit(shared: &Shared, txn: &Txn) {
    let mut tree = shared.tree_mut();
    let header = TxnHeader {
        zxid: Zxid(tree.last_zxid().0 + 1),
        ..TxnHeader::default()
    };
    let mut dirty = Vec::new();
    let mut hub = lock(&shared.hub);
    tree.apply(&header, txn, &mut |trigger| {
        let counts = (&shared.unread, &shared.stats);
        hub.fire(&trigger, header.zxid, counts, &mut dirty);
    });
    drop(hub);
    for conn in dirty {
        conn.wake();
    }
}

/// A server on its own, with these lines beside what each has.
fn server_with(lines: &str) -> Arc<Shared> {
    let text = format!("dataDir=d\nclientPort=0\ntickTime={TICK_MS}\n{lines}");
    let config = check::read(Path::new("zoo.cfg"), &text).unwrap();
    let mut tree = Tree::new();
    tree.raise_last_zxid(LAST);
    let shared = Shared::new(config, tree, Arc::new(Still), Secret([7; 32]));
    shared.set_mode(Mode::Standalone);
    shared
}

fn server() -> Arc<Shared> {
    server_with("")
}

/// Where the steps of a connection came to rest.
#[derive(PartialEq, Eq, Debug)]
enum Rest {
    Word(FourLetter),
    Connect(Connect),
    Wait(Wait),
    Finish,
    End(Ended),
}

struct Client {
    shared: Arc<Shared>,
    rings: Arc<Rings>,
    intake: Intake,
    now_ms: u64,
    /// What has been sent to it and not been looked at.
    bytes: BytesMut,
    submits: Vec<Submit>,
    apart: Vec<Apart>,
    /// Turns of long requests that were not the last.
    yielded: usize,
}

impl Client {
    fn dials(shared: &Arc<Shared>) -> Self {
        let rings = Arc::new(Rings::default());
        let wake = Arc::clone(&rings) as Arc<dyn Wake>;
        let from = SocketAddr::from(([10, 0, 0, 7], 4000));
        Self {
            shared: Arc::clone(shared),
            intake: Intake::new(Arc::clone(shared), from, wake, 0),
            rings,
            now_ms: 0,
            bytes: BytesMut::new(),
            submits: Vec::new(),
            apart: Vec::new(),
            yielded: 0,
        }
    }

    /// A client whose session is open.
    fn open(shared: &Arc<Shared>) -> Self {
        let mut client = Self::dials(shared);
        let Rest::Connect(Connect::New(session)) = client.connect(&hello()) else {
            panic!("no new session");
        };
        let conn = client.conn();
        conn.state().phase = ConnPhase::Open;
        let older = lock(&shared.sessions).attach(session, conn);
        assert!(older.is_none());
        assert!(client.go().may_read());
        client
    }

    fn conn(&self) -> Arc<Conn> {
        Arc::clone(self.intake.conn())
    }

    fn connect(&mut self, request: &ConnectRequest) -> Rest {
        let mut bytes = BytesMut::new();
        request.put(&mut bytes);
        self.intake.feed(&bytes);
        self.go()
    }

    /// Carries the steps out until nothing is to be done.
    fn go(&mut self) -> Rest {
        loop {
            match self.intake.step(self.now_ms) {
                Step::Word(word) => return Rest::Word(word),
                Step::Connect(connect) => return Rest::Connect(connect),
                Step::Submit(requests, _) => self.submits.extend(requests),
                Step::Send => {
                    let output = self.intake.take_output();
                    assert!(!output.is_empty());
                    self.bytes.extend_from_slice(&output);
                    self.intake.sent(output);
                }
                Step::Apart(apart) => self.apart.push(*apart),
                Step::Yield => self.yielded += 1,
                Step::Wait(wait) => return Rest::Wait(wait),
                Step::Finish => return Rest::Finish,
                Step::End(why) => return Rest::End(why),
            }
        }
    }

    /// The requests come in one read; their numbers count from `xid`.
    fn asks(&mut self, xid: i32, requests: &[Request]) -> Rest {
        let mut bytes = BytesMut::new();
        for (request, xid) in requests.iter().zip(xid..) {
            request.put(xid, &mut bytes);
        }
        self.intake.feed(&bytes);
        self.go()
    }

    fn replies(&mut self) -> Vec<ReplyFrame> {
        let mut frames = Vec::new();
        split(&mut self.bytes, usize::MAX, &mut frames).unwrap();
        let replies = frames.iter().map(|f| ReplyFrame::split(f).unwrap());
        replies.collect()
    }

    /// Number and error of each reply that came.
    fn heard(&mut self) -> Vec<(i32, i32)> {
        let replies = self.replies();
        replies
            .iter()
            .map(|r| (r.header.xid, r.header.err))
            .collect()
    }

    /// Answers the oldest write as the core does.
    fn write_is_done(&mut self) {
        let submit = self.submits.remove(0);
        let (conn, shared) = (self.conn(), Arc::clone(&self.shared));
        let tree = shared.tree();
        let mut hub = HubAccess::Free(&shared.hub);
        let mut guard = conn.state();
        let state = &mut *guard;
        reply::put_empty(ReplyHeader::ok(submit.xid, LAST), &mut state.out);
        assert!(state.order.pop_write(&submit.token));
        while let Some(Waiting { xid, request, .. }) = state.order.pop_read() {
            let ids = &state.ids;
            answer(&tree, &mut hub, &conn, ids, xid, &request, &mut state.out);
        }
        let has_room = state.settle(&shared.unread, &shared.waiting, &shared.outstanding);
        drop(guard);
        if has_room {
            shared.line.wake(&shared.outstanding);
        }
        conn.wake();
    }

    fn rings(&self) -> (usize, usize) {
        let Rings { wake, end } = &*self.rings;
        (wake.load(Ordering::Relaxed), end.load(Ordering::Relaxed))
    }
}

impl Rest {
    /// Whether it waits, and is read on.
    fn may_read(&self) -> bool {
        matches!(self, Self::Wait(wait) if wait.read)
    }

    /// Whether it waits, and is not read on.
    fn is_paused(&self) -> bool {
        matches!(self, Self::Wait(wait) if !wait.read)
    }
}

fn hello() -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: i32::try_from(TIMEOUT_MS).unwrap(),
        session: SessionId(0),
        password: None,
        read_only: Some(false),
    }
}

fn again(session: SessionId) -> ConnectRequest {
    ConnectRequest {
        session,
        password: Some(Bytes::copy_from_slice(&password(session))),
        ..hello()
    }
}

fn write() -> Request {
    Request::Write(WriteOp::SetData {
        path: Some("/".into()),
        data: None,
        version: -1,
    })
}

fn exists(path: &str, watch: bool) -> Request {
    let path = path.into();
    Request::Read(ReadOp::Exists { path, watch })
}

fn children(path: &str) -> Request {
    Request::Read(ReadOp::GetChildren {
        path: path.into(),
        watch: false,
    })
}

fn auth(scheme: &str, data: Option<&[u8]>) -> Request {
    Request::Auth {
        kind: 0,
        scheme: Some(scheme.into()),
        data: data.map(Bytes::copy_from_slice),
    }
}

fn with_children(shared: &Shared, path: &str, count: usize) {
    apply(shared, path);
    for at in 0..count {
        apply(shared, &format!("{path}/{at}"));
    }
}
