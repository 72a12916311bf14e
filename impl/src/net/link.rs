//! One connection between a learner and a leader: what is read from it becomes batches for the core, what is written to it
//! waits in one queue and leaves in one write.

use super::limits::{SYNC_BYTES_MAX, WRITE_TIME};
use crate::host::inbox::{Event, Inbox};
use crate::host::lock;
pub use crate::runtime::boot::HistoryReader;
use crate::wire::link::Reader;
pub use crate::wire::link::{Heard, hello, hello_of, put_core, put_history};
use crate::wire::snapshot::tree::TreeStream;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tracing::{info, warn};
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::step::Link;
use zabra_model::tree::image::Image;

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
    let mut reader = Reader::new(!to_leader);
    let mut before = 0;
    loop {
        let mut heard = Vec::with_capacity(before);
        while let Some(said) = reader.take(&mut buf).map_err(invalid)? {
            heard.push(said);
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

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
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
    let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES * 2);
    let mut stream = TreeStream::begin(image, &mut chunk);
    loop {
        let more = stream.fill(SNAPSHOT_CHUNK_BYTES, &mut chunk);
        let more = more.map_err(invalid)?;
        send(writer, &chunk).await?;
        chunk.clear();
        if !more {
            return Ok(());
        }
    }
}

/// Whether a learner's id is one that may write: used for the session tracker's owners.
#[must_use]
pub const fn owner_of(sid: Option<ServerId>, link: Link) -> ServerId {
    match sid {
        Some(sid) => sid,
        None => ServerId(u64::MAX - link.0),
    }
}
