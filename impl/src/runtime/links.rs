//! Connections between learners and leaders: what is read from one becomes batches for the core, what is written to it waits in
//! one queue and leaves in one write.

use super::boot::HistoryReader;
use super::inbox::Inbox;
use super::pipe::Pipe;
use crate::client::hub::Map;
use crate::client::lock::lock;
use crate::codes::Code;
use crate::core::event::Event;
use crate::core::out::{Item, LinkAct};
use crate::limits::{SYNC_BYTES_MAX, WRITE_TIME};
use crate::wire::link::{Reader, put_history};
use crate::wire::snapshot::tree::TreeStream;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::{info, warn};
use zabra_model::ids::Zxid;
use zabra_model::step::Link;
use zabra_model::tree::image::Image;

/// Bytes that are read at once. What is read is kept by what is made of it, so buffers are filled before there is a new one:
/// a transaction alone in a buffer of its own would hold all of that.
const READ_BYTES: usize = 64 << 10;
/// Below this a new buffer is begun.
const READ_BYTES_MIN: usize = 8 << 10;
/// The room that packets keep from one write to the next.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What one read is expected to bring, at most.
const HEARD_MAX: usize = 1024;
/// Bytes of a snapshot that are gathered for one write.
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
/// Packets that wait are kept in pieces of about this size, so that what was sent is not held by what was not.
const PACKETS_BYTES: usize = 1 << 20;
/// Bytes of history from the files that are gathered for one write.
const PIECE_BYTES: usize = 1 << 20;

/// Connections that the core knows by their numbers, and has not opened yet.
pub struct Knocking {
    last: AtomicU64,
    waiting: Mutex<Map<Link, Waiting>>,
}

struct Waiting {
    stream: Arc<Pipe>,
    watch: Option<JoinHandle<()>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Default for Knocking {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }
}

impl Knocking {
    /// A connection gets its number.
    pub fn add(&self, stream: Pipe) -> Link {
        self.keep(Arc::new(stream), |_| None)
    }

    /// A learner that has said who it is gets its number. After its first words it says nothing before it is answered: whatever
    /// can be read until it is opened is its end, and the core hears of that.
    pub fn add_learner(&self, stream: Pipe, inbox: &Arc<Inbox>) -> Link {
        let stream = Arc::new(stream);
        let (watched, inbox) = (Arc::clone(&stream), Arc::clone(inbox));
        self.keep(stream, |link| {
            Some(tokio::spawn(async move {
                watched.ended().await;
                inbox.push(Event::Ended(link), 0);
            }))
        })
    }

    fn keep(&self, stream: Arc<Pipe>, watch: impl FnOnce(Link) -> Option<JoinHandle<()>>) -> Link {
        let link = Link(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let watch = watch(link);
        lock(&self.waiting).insert(link, Waiting { stream, watch });
        link
    }

    fn take(&self, link: Link) -> Option<Arc<Pipe>> {
        let waiting = lock(&self.waiting).remove(&link)?;
        Some(Arc::clone(&waiting.stream))
    }
}

/// All links that the core has opened.
pub struct Links {
    knocking: Arc<Knocking>,
    open: Map<Link, Handle>,
    inbox: Arc<Inbox>,
    history: HistoryReader,
    /// The most data that a packet of a peer may have, bytes.
    data_bytes_max: usize,
    /// Bytes that were sent over all of them.
    sent_bytes: Arc<AtomicU64>,
}

struct Handle {
    out: Arc<LinkOut>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Links {
    /// None is open; packets of peers may have so much data.
    #[must_use]
    pub fn new(
        knocking: Arc<Knocking>,
        inbox: Arc<Inbox>,
        history: HistoryReader,
        data_bytes_max: usize,
    ) -> Self {
        Self {
            knocking,
            open: Map::default(),
            inbox,
            history,
            data_bytes_max,
            sent_bytes: Arc::default(),
        }
    }

    /// Does what the core asks for. `spare` gets the buffers of packets that have left.
    pub fn carry_out(&mut self, acts: &mut Vec<LinkAct>, spare: &mut Vec<BytesMut>) {
        for act in acts.drain(..) {
            match act {
                LinkAct::Open {
                    link,
                    to_leader,
                    silence_ms,
                } => self.open(link, to_leader, silence_ms),
                LinkAct::Send(link, item) => {
                    if let Some(handle) = self.open.get(&link)
                        && handle.out.send(item, spare)
                    {
                        self.inbox.push(Event::Behind(link), 0);
                    }
                }
                LinkAct::Silence(link, ms) => {
                    if let Some(handle) = self.open.get(&link) {
                        handle.out.silence_ms.store(ms, Ordering::Relaxed);
                    }
                }
                LinkAct::Bound(link, bytes) => {
                    if let Some(handle) = self.open.get(&link) {
                        handle.out.bytes_max.store(bytes, Ordering::Relaxed);
                    }
                }
                LinkAct::Close(link) => {
                    self.open.remove(&link);
                    drop(self.knocking.take(link));
                }
            }
        }
    }

    /// Starts the tasks of a link.
    fn open(&mut self, link: Link, to_leader: bool, silence_ms: u64) {
        let Some(stream) = self.knocking.take(link) else {
            self.inbox.push(Event::Ended(link), 0);
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            warn!(code = %Code::NoDelay, link = link.0, %error, "cannot set TCP_NODELAY");
        }
        let out = Arc::new(LinkOut {
            stream,
            queue: Mutex::default(),
            wake: Notify::new(),
            silence_ms: AtomicU64::new(silence_ms),
            bytes_max: AtomicUsize::new(SYNC_BYTES_MAX),
            sent_bytes: Arc::clone(&self.sent_bytes),
        });
        // For the last lines of the tasks only: a span around a task is entered each time that it is polled.
        let peer = out.stream.peer_addr().ok();
        let (read_out, read_inbox) = (Arc::clone(&out), Arc::clone(&self.inbox));
        let reader = Reader::new(!to_leader, self.data_bytes_max);
        let reads = async move {
            if let Err(error) = read(link, to_leader, reader, &read_out, &read_inbox).await {
                info!(link = link.0, ?peer, %error, "a quorum connection has ended");
            }
            read_inbox.push(Event::Ended(link), 0);
        };
        let (write_out, write_inbox) = (Arc::clone(&out), Arc::clone(&self.inbox));
        let history = Arc::clone(&self.history);
        let writes = async move {
            if let Err(error) = write(&write_out, &history).await {
                info!(link = link.0, ?peer, %error, "a quorum connection cannot be written to");
            }
            write_inbox.push(Event::Ended(link), 0);
        };
        let tasks = [tokio::spawn(reads), tokio::spawn(writes)];
        self.open.insert(link, Handle { out, tasks });
    }

    /// Whether all that was to be sent is in the sockets.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.open.values().all(|handle| handle.out.is_idle())
    }

    /// Bytes that were sent over all links so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of packets.
    bytes: usize,
    /// The writer task has an item in its hands: nothing may overtake it.
    writing: bool,
    overfull: bool,
}

/// The sending side of a link, shared by the driver and the writer task.
struct LinkOut {
    stream: Arc<Pipe>,
    queue: Mutex<Queue>,
    wake: Notify,
    silence_ms: AtomicU64,
    /// Above this the core is asked whether the peer can be spared.
    bytes_max: AtomicUsize,
    sent_bytes: Arc<AtomicU64>,
}

impl LinkOut {
    /// Sends what the socket takes at once, and leaves the rest to the writer: waking a task for what one call does would cost more
    /// than the call. Returns whether more waits than is meant to.
    fn send(&self, item: Item, spare: &mut Vec<BytesMut>) -> bool {
        let bytes = {
            let mut queue = lock(&self.queue);
            match item {
                Item::Packets(packets) => {
                    if let Some(packets) = self.send_now(&queue, packets, spare) {
                        queue.put(packets, spare);
                    }
                }
                other => queue.items.push_back(other),
            }
            // In TLS the end of a piece may wait for the socket, which only the writer waits for.
            if queue.items.is_empty() && self.stream.is_flushed() {
                return false;
            }
            queue.bytes
        };
        self.wake.notify_one();
        bytes > self.bytes_max.load(Ordering::Relaxed)
    }

    /// What is left of `packets` when the socket has taken what it takes now, if nothing is before them.
    fn send_now(
        &self,
        queue: &Queue,
        mut packets: BytesMut,
        spare: &mut Vec<BytesMut>,
    ) -> Option<BytesMut> {
        if queue.writing || queue.overfull || !queue.items.is_empty() {
            return Some(packets);
        }
        // A broken connection is the writer's to find, too.
        let sent = self.stream.try_write(&packets).unwrap_or(0);
        self.sent_bytes.fetch_add(sent as u64, Ordering::Relaxed);
        if sent == packets.len() {
            give_back(packets, spare);
            return None;
        }
        packets.advance(sent);
        Some(packets)
    }

    /// What the writer sends next. What it had before has been sent.
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

    fn is_idle(&self) -> bool {
        let queue = lock(&self.queue);
        queue.items.is_empty() && !queue.writing && self.stream.is_flushed()
    }
}

impl Queue {
    fn put(&mut self, packets: BytesMut, spare: &mut Vec<BytesMut>) {
        self.bytes += packets.len();
        self.overfull |= self.bytes > SYNC_BYTES_MAX;
        match self.items.back_mut() {
            Some(Item::Packets(last)) if last.len() < PACKETS_BYTES => {
                last.extend_from_slice(&packets);
                give_back(packets, spare);
            }
            _ => self.items.push_back(Item::Packets(packets)),
        }
    }
}

/// Keeps the room of packets that have left for the next ones, if it is not unusually much.
fn give_back(mut packets: BytesMut, spare: &mut Vec<BytesMut>) {
    packets.clear();
    if packets.capacity() <= KEPT_BYTES_MAX {
        spare.push(packets);
    }
}

async fn read(
    link: Link,
    to_leader: bool,
    mut reader: Reader,
    out: &LinkOut,
    inbox: &Inbox,
) -> io::Result<()> {
    let mut buf = BytesMut::with_capacity(READ_BYTES);
    let mut silence = Silence::new();
    let mut before = 0;
    loop {
        let mut heard = Vec::with_capacity(before);
        let understood = loop {
            match reader.take(&mut buf) {
                Ok(Some(what)) => heard.push(what),
                Ok(None) => break Ok(()),
                Err(error) => break Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        };
        if !heard.is_empty() {
            before = heard.len().min(HEARD_MAX);
            inbox.push(Event::Heard(link, heard), 0);
        }
        understood?;
        if to_leader {
            // What the disk has not written yet must not fill the memory. The leader waits as well, or gives this server up.
            inbox.wait_for_disk().await;
        }
        more(&mut buf, &mut silence, out).await?;
    }
}

/// How long the other end of a link may say nothing.
///
/// One timer serves a link for as long as it lives. It is set anew when it has run out, or when the bound has become shorter: to set one
/// for each read would cost more than the read.
struct Silence {
    alarm: Pin<Box<Sleep>>,
    since: Instant,
    bound: Duration,
}

impl Silence {
    fn new() -> Self {
        let since = Instant::now();
        Self {
            alarm: Box::pin(sleep_until(since)),
            since,
            bound: Duration::ZERO,
        }
    }

    /// The silence begins, and may last so long.
    fn begins(&mut self, bound: Duration) {
        self.since = Instant::now();
        if bound != self.bound {
            self.bound = bound;
            self.alarm.as_mut().reset(self.since + bound);
        }
    }

    /// Ends when it has lasted too long.
    async fn is_over(&mut self) {
        loop {
            self.alarm.as_mut().await;
            let due = self.since + self.bound;
            if due <= Instant::now() {
                return;
            }
            self.alarm.as_mut().reset(due);
        }
    }
}

async fn more(buf: &mut BytesMut, silence: &mut Silence, out: &LinkOut) -> io::Result<()> {
    if buf.capacity() - buf.len() < READ_BYTES_MIN {
        buf.reserve(READ_BYTES);
    }
    silence.begins(Duration::from_millis(
        out.silence_ms.load(Ordering::Relaxed),
    ));
    tokio::select! {
        biased;
        received = out.stream.receive(buf) => match received? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        },
        () = silence.is_over() => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("silent for {} ms", silence.bound.as_millis()),
        )),
    }
}

async fn write(out: &LinkOut, history: &HistoryReader) -> io::Result<()> {
    loop {
        match out.take()? {
            None => {
                flush(out).await?;
                out.wake.notified().await;
            }
            Some(Item::Packets(packets)) => {
                send(out, &packets).await?;
                lock(&out.queue).bytes -= packets.len();
            }
            Some(Item::History {
                after,
                upto,
                committed,
            }) => {
                send_history(out, history, after, upto, committed).await?;
            }
            Some(Item::Tree(image)) => write_tree(out, &image).await?,
        }
    }
}

/// Reads on one thread while this one sends, a few pieces ahead at most.
async fn send_history(
    out: &LinkOut,
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
        send(out, &piece).await?;
    }
    reader.await.map_err(io::Error::other)?
}

async fn flush(out: &LinkOut) -> io::Result<()> {
    let flushed = timeout(WRITE_TIME, out.stream.flush()).await;
    flushed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn send(out: &LinkOut, bytes: &[u8]) -> io::Result<()> {
    // A snapshot in the peer's hands may take a while; each piece of it may not.
    for piece in bytes.chunks(4 << 20) {
        timeout(WRITE_TIME, out.stream.write_all(piece))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        out.sent_bytes
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

async fn write_tree(out: &LinkOut, image: &Image) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES * 2);
    let mut stream = TreeStream::begin(image, &mut chunk);
    loop {
        let more = stream.fill(SNAPSHOT_CHUNK_BYTES, &mut chunk);
        let more = more.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        send(out, &chunk).await?;
        chunk.clear();
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(40);

    /// The timer is set for the first silence, and what is heard meanwhile does not set it anew: it still ends no silence too early.
    #[tokio::test]
    async fn a_silence_lasts_from_what_was_heard_last() {
        let mut silence = Silence::new();
        silence.begins(SHORT);
        for _ in 0..4 {
            let since = silence.since;
            let over = timeout(SHORT / 2, silence.is_over()).await;
            assert!(over.is_err() || since.elapsed() >= SHORT);
            silence.begins(SHORT);
        }
        let since = silence.since;
        assert!(timeout(LONG, silence.is_over()).await.is_ok());
        assert!(since.elapsed() >= SHORT);
    }

    /// A learner that is up to date may be silent for less long than before.
    #[tokio::test]
    async fn a_bound_that_changes_counts_from_the_next_silence_on() {
        let mut silence = Silence::new();
        silence.begins(LONG * 60);
        assert!(timeout(SHORT, silence.is_over()).await.is_err());
        silence.begins(SHORT);
        assert!(timeout(LONG, silence.is_over()).await.is_ok());
        silence.begins(LONG * 60);
        assert!(timeout(SHORT, silence.is_over()).await.is_err());
    }
}
