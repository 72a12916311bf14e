//! One connection between a learner and a leader: what is read from it becomes batches for the core, what is written to it
//! waits in one queue and leaves in one write.

use super::limits::{SYNC_BYTES_MAX, WRITE_TIME};
use crate::host::inbox::{Event, Hello, Inbox};
use crate::host::lock;
use crate::host::payload::{Logged, Payload};
use crate::host::tree_sink::TreeSink;
use crate::storage::snapshot::body::{BodyDecoder, BodyEncoder, NodeRef};
use crate::wire::WireError;
use crate::wire::quorum::{
    self as wire, ForwardedRequest, LearnerInfo, PacketKind, Parser, QuorumPacket,
};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tracing::{info, warn};
use zabra_model::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::membership::Claim;
use zabra_model::step::Link;
use zabra_model::tree::acl::{Acl, Id};
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;

/// Bytes that are read at once. What is read is kept by what is made of it, so buffers are filled before there is a new one:
/// a transaction alone in a buffer of its own would hold all of that.
const READ_BYTES: usize = 64 << 10;
/// Below this a new buffer is begun.
const READ_BYTES_MIN: usize = 8 << 10;
/// The room a queue keeps from one write to the next.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What one read is expected to bring, at most.
const HEARD_MAX: usize = 1024;
/// Bytes of a snapshot that are gathered for one write.
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
/// Packets are kept in pieces of about this size, so that what was sent is not held by what was not.
const PACKETS_BYTES: usize = 1 << 20;
/// Bytes of history from the files that are gathered for one write.
const PIECE_BYTES: usize = 1 << 20;

/// Something a peer said.
pub enum Heard {
    /// For the protocol core.
    Core(Packet<Payload>),
    /// A PING with the sessions that a learner has heard from; empty from a leader.
    Ping(Zxid, Vec<(SessionId, i32)>),
    /// A client's request, forwarded.
    Request(ForwardedRequest, Option<Arc<[Id]>>),
    /// May a session move, or the answer to it: which of the two follows from the receiver's role.
    Revalidate(Bytes),
    /// The answer to a forwarded sync.
    Synced,
    /// SNAP, and the tree that came behind it.
    Snapshot(Zxid, Box<Tree>),
}

/// Something that waits to be sent.
pub enum Item {
    /// Packets.
    Bytes(BytesMut),
    /// Proposals in `(after, upto]` that have to be read from the log files first.
    History {
        /// Above this.
        after: Zxid,
        /// Up to this.
        upto: Zxid,
        /// Each followed by its COMMIT.
        committed: bool,
    },
    /// The stream behind SNAP.
    Tree(Box<Image>),
}

impl Item {
    const fn is_bytes(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// The writer task has an item in its hands: nothing may overtake it.
    writing: bool,
    overfull: bool,
    /// Empty, with the room that earlier packets needed.
    spare: BytesMut,
}

impl Queue {
    /// Keeps the room of `bytes` for the next packets, if it is not unusually much.
    fn keep(&mut self, mut bytes: BytesMut) {
        bytes.clear();
        if (self.spare.capacity()..=KEPT_BYTES_MAX).contains(&bytes.capacity()) {
            self.spare = bytes;
        }
    }
}

/// The sending side of a link, shared by the core and the writer task.
pub struct LinkOut {
    stream: TcpStream,
    queue: Mutex<Queue>,
    wake: Notify,
    silence_ms: AtomicU64,
    /// Above this the core is asked whether the peer can be spared.
    bytes_max: AtomicUsize,
}

impl LinkOut {
    /// An empty queue; the peer may be silent for `silence_ms`.
    #[must_use]
    pub fn new(stream: TcpStream, silence_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            stream,
            queue: Mutex::default(),
            wake: Notify::new(),
            silence_ms: AtomicU64::new(silence_ms),
            bytes_max: AtomicUsize::new(SYNC_BYTES_MAX),
        })
    }

    /// What may wait from now on until the peer fetches it, bytes.
    pub fn set_bytes_max(&self, bytes: usize) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// How long the peer may be silent from now on.
    pub fn set_silence(&self, ms: u64) {
        self.silence_ms.store(ms, Ordering::Relaxed);
    }

    /// Appends packets; [`LinkOut::flush`] sends them.
    pub fn put(&self, write: impl FnOnce(&mut BytesMut)) {
        let mut queue = lock(&self.queue);
        let fits = |i: &Item| matches!(i, Item::Bytes(b) if b.len() < PACKETS_BYTES);
        if !queue.items.back().is_some_and(fits) {
            let spare = std::mem::take(&mut queue.spare);
            queue.items.push_back(Item::Bytes(spare));
        }
        if let Some(Item::Bytes(bytes)) = queue.items.back_mut() {
            let before = bytes.len();
            write(bytes);
            let more = bytes.len() - before;
            queue.bytes += more;
            queue.overfull |= queue.bytes > SYNC_BYTES_MAX;
        }
    }

    /// Appends something that is not packets.
    pub fn push(&self, item: Item) {
        lock(&self.queue).items.push_back(item);
    }

    /// Sends what the socket takes at once, and leaves the rest to the writer: once for each batch.
    ///
    /// Waking a task for what one call does would cost more than the call. Returns whether more waits than is meant to.
    pub fn flush(&self) -> bool {
        if self.is_sent_at_once() {
            return false;
        }
        self.wake.notify_one();
        lock(&self.queue).bytes > self.bytes_max.load(Ordering::Relaxed)
    }

    fn is_sent_at_once(&self) -> bool {
        let mut queue = lock(&self.queue);
        if queue.writing || queue.overfull || queue.items.len() != 1 {
            return false;
        }
        let Some(Item::Bytes(mut bytes)) = queue.items.pop_front_if(|i| i.is_bytes()) else {
            return false;
        };
        // A broken connection is the writer's to find, too.
        let sent = self.stream.try_write(&bytes).unwrap_or(0);
        queue.bytes -= sent;
        #[cfg(feature = "gate")]
        crate::host::gate::SENT
            .link_bytes
            .fetch_add(sent as u64, Ordering::Relaxed);
        if sent == bytes.len() {
            queue.keep(bytes);
            return true;
        }
        bytes.advance(sent);
        queue.items.push_front(Item::Bytes(bytes));
        false
    }

    /// Gives back the room of packets that were sent.
    fn sent(&self, bytes: BytesMut) {
        let mut queue = lock(&self.queue);
        queue.bytes -= bytes.len();
        queue.keep(bytes);
    }

    fn take(&self) -> io::Result<Option<Item>> {
        let mut queue = lock(&self.queue);
        if queue.overfull {
            return Err(io::Error::other(
                "the peer does not fetch what is sent to it, it may come back when it does",
            ));
        }
        let item = queue.items.pop_front();
        queue.writing = item.is_some();
        Ok(item)
    }

    /// Whether everything is in the socket.
    #[cfg(feature = "gate")]
    pub(crate) fn is_idle(&self) -> bool {
        let queue = lock(&self.queue);
        queue.items.is_empty() && !queue.writing
    }
}

/// Where proposals are read that are no longer in memory: called off the core task; gives them in order to the closure
/// until that says that nobody wants more.
pub type HistoryReader =
    Arc<dyn Fn(Zxid, Zxid, &mut dyn FnMut(Zxid, &[u8]) -> bool) -> io::Result<()> + Send + Sync>;

/// The tasks of one connection; dropping it ends them and the connection.
pub struct LinkTasks {
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for LinkTasks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Starts reading and writing; `to_leader` says which of the two this end is.
pub fn spawn(
    link: Link,
    to_leader: bool,
    out: Arc<LinkOut>,
    inbox: Arc<Inbox>,
    history: HistoryReader,
) -> LinkTasks {
    if let Err(error) = out.stream.set_nodelay(true) {
        warn!(%error, "cannot set TCP_NODELAY");
    }
    let (out2, inbox2) = (Arc::clone(&out), Arc::clone(&inbox));
    let read = tokio::spawn(async move {
        if let Err(error) = read(link, to_leader, &out2, &inbox2).await {
            info!(link = link.0, %error, "a quorum connection has ended");
        }
        inbox2.push(Event::LinkClosed(link), 0);
    });
    let write = tokio::spawn(async move {
        if let Err(error) = write(&out, &history).await {
            info!(link = link.0, %error, "a quorum connection cannot be written to");
        }
        inbox.push(Event::LinkClosed(link), 0);
    });
    LinkTasks {
        tasks: [read, write],
    }
}

async fn read(link: Link, to_leader: bool, out: &LinkOut, inbox: &Inbox) -> io::Result<()> {
    let mut buf = BytesMut::with_capacity(READ_BYTES);
    let mut parser = Parser::default();
    let mut before = 0;
    loop {
        let mut heard = Vec::with_capacity(before);
        while let Some(packet) = parser.take(&mut buf).map_err(invalid)? {
            if !is_said_by(!to_leader, packet.kind) {
                let kind = packet.kind;
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{kind:?} is not for this end of a connection"),
                ));
            }
            if packet.kind == PacketKind::Snap {
                // What came before it must not wait for the whole tree.
                inbox.push(Event::Heard(link, std::mem::take(&mut heard)), 0);
                let tree = read_tree(&mut buf, packet.zxid, out).await?;
                heard.push(Heard::Snapshot(packet.zxid, Box::new(tree)));
                continue;
            }
            heard.push(understood(packet).map_err(invalid)?);
        }
        if !heard.is_empty() {
            before = heard.len().min(HEARD_MAX);
            inbox.push(Event::Heard(link, heard), 0);
        }
        if to_leader {
            // What the disk has not written yet must not fill the memory. The leader waits as well, or gives this server up.
            inbox.wait_for_disk().await;
        }
        more(&mut buf, out).await?;
    }
}

async fn more(buf: &mut BytesMut, out: &LinkOut) -> io::Result<()> {
    if buf.capacity() - buf.len() < READ_BYTES_MIN {
        buf.reserve(READ_BYTES);
    }
    let silence = Duration::from_millis(out.silence_ms.load(Ordering::Relaxed));
    match timeout(silence, receive(&out.stream, buf)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("silent for {} ms", silence.as_millis()),
        )),
    }
}

async fn receive(stream: &TcpStream, buf: &mut BytesMut) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

async fn read_tree(buf: &mut BytesMut, zxid: Zxid, out: &LinkOut) -> io::Result<Tree> {
    let mut sink = TreeSink::new();
    let mut decoder = BodyDecoder::of_stream();
    loop {
        let taken = decoder.feed(buf, &mut sink).map_err(invalid)?;
        buf.advance(taken);
        if decoder.is_done() {
            return sink.finish(zxid).map_err(invalid);
        }
        more(buf, out).await?;
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Whether a learner, or a leader, says such a thing at all: nothing else is looked into, a tree above all.
const fn is_said_by(learner: bool, kind: PacketKind) -> bool {
    match kind {
        PacketKind::FollowerInfo
        | PacketKind::ObserverInfo
        | PacketKind::AckEpoch
        | PacketKind::Ack
        | PacketKind::Request => learner,
        PacketKind::LeaderInfo
        | PacketKind::Diff
        | PacketKind::Trunc
        | PacketKind::Snap
        | PacketKind::Proposal
        | PacketKind::Commit
        | PacketKind::CommitAndActivate
        | PacketKind::Inform
        | PacketKind::InformAndActivate
        | PacketKind::NewLeader
        | PacketKind::UpToDate
        | PacketKind::Sync => !learner,
        PacketKind::Ping | PacketKind::Revalidate => true,
        PacketKind::Unknown(_) => false,
    }
}

/// Reads the first packet of a learner; `None` is one that nobody begins with.
///
/// # Errors
/// [`WireError`].
pub fn hello(packet: QuorumPacket) -> Result<Option<Hello>, WireError> {
    if !matches!(
        packet.kind,
        PacketKind::FollowerInfo | PacketKind::ObserverInfo
    ) {
        return Ok(None);
    }
    Ok(match understood(packet)? {
        Heard::Core(packet) => hello_of(&packet),
        _ => None,
    })
}

/// Who says so, if it is what a learner says first.
#[must_use]
pub const fn hello_of(packet: &Packet<Payload>) -> Option<Hello> {
    let (sid, accepted, observer) = match packet {
        Packet::FollowerInfo { sid, accepted } => (*sid, *accepted, false),
        Packet::ObserverInfo { sid, accepted } => (*sid, *accepted, true),
        _ => return None,
    };
    let claim = Claim { sid, observer };
    Some(Hello { claim, accepted })
}

fn understood(packet: QuorumPacket) -> Result<Heard, WireError> {
    let unknown = |what| WireError::Unknown {
        what,
        offset: 0,
        value: i64::from(packet.kind.code()),
    };
    let (zxid, data) = (packet.zxid, packet.data.as_ref());
    Ok(Heard::Core(match packet.kind {
        PacketKind::FollowerInfo | PacketKind::ObserverInfo => {
            let info = LearnerInfo::decode(data);
            let sid = info.server.ok_or_else(|| unknown("learner without id"))?;
            // Older protocols have no epochs; a learner with a newer configuration must not be led by this one.
            if info.protocol_version < wire::PROTOCOL_VERSION
                || info.config_version.is_some_and(|v| v > 0)
            {
                return Err(unknown("protocol or configuration version of a learner"));
            }
            let accepted = zxid.epoch();
            if packet.kind == PacketKind::ObserverInfo {
                Packet::ObserverInfo { sid, accepted }
            } else {
                Packet::FollowerInfo { sid, accepted }
            }
        }
        PacketKind::LeaderInfo => Packet::LeaderInfo {
            epoch: zxid.epoch(),
        },
        PacketKind::AckEpoch => Packet::AckEpoch {
            last: zxid,
            current: wire::decode_ack_epoch(data)?,
        },
        PacketKind::Diff => Packet::Diff { zxid },
        PacketKind::Trunc => Packet::Trunc { zxid },
        PacketKind::Proposal | PacketKind::Inform => {
            let txn = Logged::decode(packet.data.unwrap_or_default())?;
            if txn.header.zxid != zxid {
                return Err(unknown("zxid of a proposal that is not its transaction's"));
            }
            let txn = Arc::new(txn);
            if packet.kind == PacketKind::Inform {
                Packet::Inform { zxid, txn }
            } else {
                Packet::Proposal { zxid, txn }
            }
        }
        PacketKind::Commit => Packet::Commit { zxid },
        PacketKind::NewLeader => Packet::NewLeader {
            epoch: zxid.epoch(),
        },
        PacketKind::UpToDate => Packet::UpToDate,
        PacketKind::Ack => Packet::Ack { zxid },
        PacketKind::Ping => return Ok(Heard::Ping(zxid, wire::decode_session_table(data)?)),
        PacketKind::Request => {
            let request = ForwardedRequest::decode(data)?;
            return Ok(Heard::Request(request, packet.auth));
        }
        PacketKind::Revalidate => return Ok(Heard::Revalidate(packet.data.unwrap_or_default())),
        PacketKind::Sync => return Ok(Heard::Synced),
        PacketKind::Snap
        | PacketKind::CommitAndActivate
        | PacketKind::InformAndActivate
        | PacketKind::Unknown(_) => return Err(unknown("packet type")),
    }))
}

/// Appends a packet of the core. SNAP and a follower's PING carry more than the core knows and are not written here.
pub fn put_core(packet: &Packet<Payload>, members_text: &str, out: &mut BytesMut) {
    let epoch_start = |epoch: Epoch| Zxid::new(epoch, 0);
    let (kind, zxid, data) = match packet {
        Packet::Proposal { zxid, txn } => {
            wire::put_packet(PacketKind::Proposal, *zxid, Some(&txn.bytes), None, out);
            return;
        }
        Packet::Inform { zxid, txn } => {
            wire::put_packet(PacketKind::Inform, *zxid, Some(&txn.bytes), None, out);
            return;
        }
        Packet::Commit { zxid } => (PacketKind::Commit, *zxid, None),
        // Without the designated leader: no payload of this server is a reconfiguration.
        Packet::CommitAndActivate { zxid } => (PacketKind::CommitAndActivate, *zxid, None),
        Packet::Ack { zxid } => (PacketKind::Ack, *zxid, None),
        Packet::Ping { zxid } => (PacketKind::Ping, *zxid, None),
        Packet::FollowerInfo { sid, accepted } => (
            PacketKind::FollowerInfo,
            epoch_start(*accepted),
            Some(LearnerInfo::encode(*sid, 0)),
        ),
        Packet::ObserverInfo { sid, accepted } => (
            PacketKind::ObserverInfo,
            epoch_start(*accepted),
            Some(LearnerInfo::encode(*sid, 0)),
        ),
        Packet::LeaderInfo { epoch } => (
            PacketKind::LeaderInfo,
            epoch_start(*epoch),
            Some(wire::encode_leader_info()),
        ),
        Packet::AckEpoch { last, current } => (
            PacketKind::AckEpoch,
            *last,
            Some(wire::encode_ack_epoch(*current)),
        ),
        Packet::Diff { zxid } => (PacketKind::Diff, *zxid, None),
        Packet::Trunc { zxid } => (PacketKind::Trunc, *zxid, None),
        Packet::Snap { zxid, .. } => (PacketKind::Snap, *zxid, None),
        Packet::NewLeader { epoch } => (
            PacketKind::NewLeader,
            epoch_start(*epoch),
            Some(Bytes::copy_from_slice(members_text.as_bytes())),
        ),
        Packet::UpToDate => (PacketKind::UpToDate, wire::NO_ZXID, None),
    };
    wire::put_packet(kind, zxid, data.as_deref(), None, out);
}

/// Appends one entry of the history, as [`zabra_model::step::Effect::SendHistory`] asks.
pub fn put_history(zxid: Zxid, payload: &[u8], committed: bool, out: &mut BytesMut) {
    wire::put_packet(PacketKind::Proposal, zxid, Some(payload), None, out);
    if committed {
        wire::put_packet(PacketKind::Commit, zxid, None, None, out);
    }
}

async fn write(out: &LinkOut, history: &HistoryReader) -> io::Result<()> {
    let writer = &out.stream;
    loop {
        match out.take()? {
            None => out.wake.notified().await,
            Some(Item::Bytes(bytes)) => {
                send(writer, &bytes).await?;
                out.sent(bytes);
            }
            Some(Item::History {
                after,
                upto,
                committed,
            }) => {
                send_history(writer, history, after, upto, committed).await?;
            }
            Some(Item::Tree(image)) => write_tree(writer, &image).await?,
        }
    }
}

/// Reads on one thread while this one sends, a few pieces ahead at most.
async fn send_history(
    writer: &TcpStream,
    history: &HistoryReader,
    after: Zxid,
    upto: Zxid,
    committed: bool,
) -> io::Result<()> {
    let history = Arc::clone(history);
    let (pieces, mut read) = mpsc::channel::<BytesMut>(2);
    let reader = tokio::task::spawn_blocking(move || {
        let mut piece = BytesMut::new();
        history(after, upto, &mut |zxid, payload| {
            put_history(zxid, payload, committed, &mut piece);
            piece.len() < PIECE_BYTES || pieces.blocking_send(std::mem::take(&mut piece)).is_ok()
        })?;
        let _ = pieces.blocking_send(piece); // the learner has gone: the writer knows
        Ok::<_, io::Error>(())
    });
    while let Some(piece) = read.recv().await {
        send(writer, &piece).await?;
    }
    reader.await.map_err(io::Error::other)?
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn send(writer: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    // A snapshot in the peer's hands may take a while; each piece of it may not.
    for piece in bytes.chunks(4 << 20) {
        timeout(WRITE_TIME, write_all(writer, piece))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        #[cfg(feature = "gate")]
        crate::host::gate::SENT
            .link_bytes
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

async fn write_tree(writer: &TcpStream, image: &Image) -> io::Result<()> {
    let lists: HashMap<i64, &Acl> = image.acls.iter().map(|(id, list)| (*id, list)).collect();
    let open: Acl = crate::host::tree_sink::open_acl();
    let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES * 2);
    let lists_of_image = image.acls.iter().map(|(_, list)| &**list);
    let encoder = BodyEncoder::begin(image.sessions.iter().copied(), lists_of_image, &mut chunk);
    for node in image.nodes() {
        let acl = lists.get(&node.acl_id).copied().unwrap_or(&open);
        let of_node = NodeRef {
            path: node.path,
            data: node.data,
            acl,
            stat: &node.stat,
        };
        encoder.node(of_node, &mut chunk).map_err(invalid)?;
        if chunk.len() >= SNAPSHOT_CHUNK_BYTES {
            send(writer, &chunk).await?;
            chunk.clear();
        }
    }
    encoder.end_stream(&mut chunk);
    send(writer, &chunk).await
}

/// Whether a learner's id is one that may write: used for the session tracker's owners.
#[must_use]
pub const fn owner_of(sid: Option<ServerId>, link: Link) -> ServerId {
    match sid {
        Some(sid) => sid,
        None => ServerId(u64::MAX - link.0),
    }
}
