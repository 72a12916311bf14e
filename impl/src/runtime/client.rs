//! The task of one client connection: it owns the socket, and does what [`Intake`] says.

use crate::admin::commands;
use crate::client::ended::Ended;
use crate::client::intake::{Intake, Step, Stuck, Wait};
use crate::client::shared::Shared;
use crate::core::event::Event;
use crate::edges::wake::Wake;
use crate::limits::WRITE_TIME;
use crate::runtime::bell::Bell;
use crate::runtime::inbox::Inbox;
use crate::runtime::tls::Tls;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::debug;
use zabra_model::tree::acl::Id;

/// Wakes a connection's task.
#[derive(Default)]
struct Bells {
    wake: Bell,
    /// Wakes it out of a write, too.
    ended: Notify,
}

impl Wake for Bells {
    fn wake(&self) {
        self.wake.ring();
    }

    fn end(&self) {
        self.wake.ring();
        self.ended.notify_one();
    }
}

struct Client {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    bells: Arc<Bells>,
    intake: Intake,
    /// When the alarm rings, as the intake says it.
    alarm_ms: u64,
}

/// Why a connection is over: what the intake says, or what the socket says.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error(transparent)]
    Intake(#[from] Ended),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// The last words of TLS wait no longer for a client that does not read them.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves one client until it goes.
pub async fn run(stream: TcpStream, from: SocketAddr, shared: Arc<Shared>, inbox: Arc<Inbox>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    shared.stats.count_plain(from.ip());
    let (reader, writer) = stream.into_split();
    serve(reader, writer, from, None, shared, inbox).await;
}

/// A handshake that is under way, for operators. If it is dropped before its end, it has given way to another one.
struct Handshake {
    shared: Arc<Shared>,
    is_over: bool,
}

impl Handshake {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.stats.handshakes.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            is_over: false,
        }
    }

    fn end(mut self, is_done: bool) {
        self.is_over = true;
        if !is_done {
            let failed = &self.shared.stats.handshakes_failed;
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let stats = &self.shared.stats;
        stats.handshakes.fetch_sub(1, Ordering::Relaxed);
        if !self.is_over {
            stats.handshakes_displaced.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Serves one client behind TLS: by its certificate it is known before its first word. `counted` is its place among all clients.
pub fn run_secure<P: Send + 'static>(
    stream: TcpStream,
    from: SocketAddr,
    tls: Arc<Tls>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    counted: P,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // Before its task runs: it may give way before that.
    let handshake = Handshake::begin(&shared);
    let handshakes = Arc::clone(&tls);
    handshakes.hear_out(from.ip(), async move {
        let shaken = tls.shake(stream, from, || shared.elapsed_ms()).await;
        handshake.end(shaken.is_some());
        let Some((stream, ids)) = shaken else {
            return;
        };
        drop(tls);
        // A task of its own: that of the handshake may be ended to make room for another one.
        tokio::spawn(async move {
            let (reader, writer) = split(stream);
            serve(reader, writer, from, Some(ids), shared, inbox).await;
            drop(counted);
        });
    });
}

/// The first byte of a connection of TLS. No plain connection begins so: as the length of a frame it would mean 352 MiB, and no
/// four-letter word has it.
const HANDSHAKE_RECORD: u8 = 22;

/// Serves one client of a port that takes both.
pub async fn run_either<P: Send + 'static>(
    stream: TcpStream,
    from: SocketAddr,
    tls: Arc<Tls>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    counted: P,
) {
    let mut first = [0];
    let first_words = Duration::from_millis(shared.config.net.first_words_ms);
    match timeout(first_words, stream.peek(&mut first)).await {
        Ok(Ok(1..)) if first == [HANDSHAKE_RECORD] => {
            run_secure(stream, from, tls, shared, inbox, counted);
        }
        Ok(Ok(1..)) => {
            run(stream, from, shared, inbox).await;
            drop(counted);
        }
        Ok(Ok(0) | Err(_)) => {}
        Err(_) => debug!(%from, "a client has said nothing"),
    }
}

async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    from: SocketAddr,
    by_tls: Option<Vec<Id>>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
) {
    let bells = Arc::new(Bells::default());
    let wake = Arc::clone(&bells) as Arc<dyn Wake>;
    let intake = Intake::new(Arc::clone(&shared), from, wake, shared.elapsed_ms());
    let mut client = Client {
        shared,
        inbox,
        bells,
        intake,
        alarm_ms: 0,
    };
    if let Some(ids) = by_tls {
        client.intake.conn().set_secure();
        let mut state = client.intake.conn().state();
        state.ids = state.ids.iter().cloned().chain(ids).collect();
    }
    if let Err(why) = client.serve(reader, writer).await {
        let session = client.intake.conn().session();
        debug!(%from, %session, %why, "a client connection has ended");
    }
}

/// Sends all there is to say, and ends. Whoever asks and does not read holds a place among the clients for no longer than `within`.
async fn say_last(
    writer: &mut (impl AsyncWrite + Unpin),
    answer: &[u8],
    within: Duration,
) -> Result<(), Over> {
    match timeout(within, writer.write_all(answer)).await {
        Ok(done) => done?,
        Err(_) => return Err(Ended::Unread.into()),
    }
    finish(writer).await
}

async fn finish(writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), Over> {
    match timeout(LAST_WORDS, writer.shutdown()).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Ended::Unread.into()),
    }
}

/// Whether time may have passed while something was sent: the clock is read again only then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    AtOnce,
    Waited,
}

/// What becomes of a write at once. Nearly all go on, and nothing else is looked at; what a write may have to wait for takes much room in
/// the task of each connection, so it is made where one waits.
fn at_once<T>(mut write: impl FnMut(&mut Context<'_>) -> Poll<T>) -> impl Future<Output = Poll<T>> {
    poll_fn(move |cx| Poll::Ready(write(cx)))
}

impl Client {
    async fn serve(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<(), Over> {
        let alarm = sleep(Duration::ZERO);
        tokio::pin!(alarm);
        let mut now_ms = self.shared.elapsed_ms();
        loop {
            match self.intake.step(now_ms) {
                Step::Word(word) => {
                    let answer = commands::answer(word, &self.shared);
                    return say_last(&mut writer, answer.as_bytes(), WRITE_TIME).await;
                }
                Step::Connect(connect) => {
                    let conn = Arc::clone(self.intake.conn());
                    self.inbox.push(Event::Connect(conn, connect), 0);
                }
                Step::Submit(requests, bytes) => {
                    let conn = Arc::clone(self.intake.conn());
                    self.inbox.push(Event::Submitted(conn, requests), bytes);
                    // Only who has asked for a write waits for room; its answers go out, and its session lives, meanwhile.
                    self.intake.hold(self.inbox.is_crowded());
                }
                Step::Send => {
                    if self.send(&mut writer).await? == Sending::Waited {
                        now_ms = self.shared.elapsed_ms();
                    }
                }
                Step::Apart(apart) => {
                    let write = tokio::task::spawn_blocking(move || apart.write());
                    let answer = write.await.map_err(io::Error::from)?;
                    self.intake.answered_apart(answer);
                    now_ms = self.shared.elapsed_ms();
                }
                Step::Yield => {
                    tokio::task::yield_now().await;
                    now_ms = self.shared.elapsed_ms();
                }
                Step::Wait(wait) => {
                    if self.wait(wait, &mut reader, alarm.as_mut(), now_ms).await? == 0 {
                        let dropped = &self.shared.stats.dropped;
                        dropped.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                    now_ms = self.shared.elapsed_ms();
                }
                Step::Finish => return finish(&mut writer).await,
                Step::End(why) => return Err(why.into()),
            }
        }
    }

    /// Waits; 0 if the client has ended its side.
    async fn wait(
        &mut self,
        wait: Wait,
        reader: &mut (impl AsyncRead + Unpin),
        mut alarm: Pin<&mut Sleep>,
        now_ms: u64,
    ) -> io::Result<usize> {
        if self.alarm_ms != wait.until_ms {
            self.alarm_ms = wait.until_ms;
            let left = Duration::from_millis(wait.until_ms.saturating_sub(now_ms));
            alarm.as_mut().reset(Instant::now() + left);
        }
        // Bytes first: they are what most clients wake it with, and every step looks at what bell and alarm stand for.
        tokio::select! {
            biased;
            read = reader.read_buf(self.intake.room()), if wait.read => {
                self.intake.heard();
                return read;
            }
            () = self.bells.wake.rung() => {}
            () = self.inbox.wait_for_room(), if wait.room => self.intake.hold(false),
            () = alarm => self.alarm_ms = 0,
        }
        Ok(1)
    }

    /// Sends what is to be sent. An error: the client does not fetch it, or the connection is over.
    async fn send(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<Sending, Over> {
        let mut sending = Sending::AtOnce;
        let output = self.intake.take_output();
        let mut rest = &output[..];
        loop {
            let write = at_once(|cx| Pin::new(&mut *writer).poll_write(cx, rest));
            let sent = match write.await {
                Poll::Ready(sent) => sent?,
                Poll::Pending => {
                    let write = writer.write(rest);
                    Box::pin(self.unless_stuck(write, &mut sending)).await?
                }
            };
            rest = rest.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                // Of TLS, a part may still be in its buffer; a plain socket has none.
                let flush = at_once(|cx| Pin::new(&mut *writer).poll_flush(cx));
                match flush.await {
                    Poll::Ready(flushed) => flushed?,
                    Poll::Pending => {
                        let flush = writer.flush();
                        Box::pin(self.unless_stuck(flush, &mut sending)).await?;
                    }
                }
                self.intake.sent(output);
                return Ok(sending);
            }
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.intake.sent_some(self.shared.elapsed_ms());
        }
    }

    /// Carries out a part of a write that does not go on at once, unless it is to be given up.
    async fn unless_stuck<T>(
        &mut self,
        write: impl Future<Output = io::Result<T>>,
        sending: &mut Sending,
    ) -> Result<T, Over> {
        tokio::select! {
            biased;
            done = write => Ok(done?),
            () = self.stuck(sending) => Err(Ended::Unread.into()),
        }
    }

    /// Ends when a write that is stuck is to be given up.
    async fn stuck(&mut self, sending: &mut Sending) {
        *sending = Sending::Waited;
        let since_ms = self.shared.elapsed_ms();
        let mut now_ms = since_ms;
        while let Stuck::LookAgain(at_ms) = self.intake.stuck(since_ms, now_ms) {
            let left = Duration::from_millis(at_ms.saturating_sub(now_ms));
            // Not `wake`: its ring belongs to the loop. A stuck write is rare, a look now and then is enough for the rest.
            tokio::select! {
                () = self.bells.ended.notified() => {}
                () = sleep(left) => {}
            }
            now_ms = self.shared.elapsed_ms();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::conn::ConnPhase;
    use crate::client::shared::{Mode, Secret};
    use crate::edges::clock::Clock;
    use crate::wire::client::{ConnectRequest, Request, SetWatches};
    use bytes::BytesMut;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use zabra_model::ids::{SessionId, Zxid};
    use zabra_model::tree::node::Tree;

    /// Whoever asks a word and does not read its answer is given up.
    #[tokio::test]
    async fn an_answer_to_a_word_that_nobody_reads_is_given_up() {
        let (mut ours, _theirs) = tokio::io::duplex(8);
        let said = say_last(&mut ours, &[0; 100], Duration::from_millis(20));
        let said = timeout(Duration::from_secs(60), said).await.unwrap();
        assert!(matches!(said, Err(Over::Intake(Ended::Unread))));
        let (mut ours, _theirs) = tokio::io::duplex(100);
        let said = say_last(&mut ours, &[0; 100], Duration::from_secs(60)).await;
        assert!(said.is_ok());
    }

    /// A clock that counts how often it is asked.
    #[derive(Default)]
    struct Asked(AtomicU64);

    impl Clock for Asked {
        fn elapsed_ms(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }

        fn date_ms(&self) -> u64 {
            1_700_000_000_000
        }
    }

    /// How often the clock is asked while a client sets watches on so many paths.
    async fn asked_while(paths: usize) -> u64 {
        let config = crate::config::check::read(Path::new("zoo.cfg"), "dataDir=d\nclientPort=0\n");
        let clock = Arc::new(Asked::default());
        let of_server = Arc::clone(&clock) as Arc<dyn Clock>;
        let shared = Shared::new(config.unwrap(), Tree::new(), of_server, Secret([7; 32]));
        shared.set_mode(Mode::Standalone);
        let inbox = Arc::new(Inbox::default());
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (reader, writer) = split(server);
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        tokio::spawn(serve(
            reader,
            writer,
            from,
            None,
            shared,
            Arc::clone(&inbox),
        ));
        let mut bytes = BytesMut::new();
        let hello = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 600_000,
            session: SessionId(0),
            password: None,
            read_only: None,
        };
        hello.put(&mut bytes);
        let exist = (0..paths).map(|at| format!("/{at}").into()).collect();
        let set = Request::SetWatches(SetWatches {
            exist,
            ..SetWatches::default()
        });
        set.put(-8, &mut bytes);
        client.write_all(&bytes).await.unwrap();
        inbox.wait().await;
        let mut events = Vec::new();
        inbox.take(&mut events);
        let Some(Event::Connect(conn, _)) = events.pop() else {
            panic!("it has not said who it is");
        };
        conn.state().phase = ConnPhase::Open;
        conn.wake();
        let mut reply = [0; 20];
        client.read_exact(&mut reply).await.unwrap();
        clock.0.load(Ordering::Relaxed)
    }

    /// Time passes while others have their turn.
    #[tokio::test]
    async fn the_clock_is_read_again_after_others_had_their_turn() {
        let (short, long) = (asked_while(1).await, asked_while(4096).await);
        assert_eq!(long - short, 4, "as often as it gave its turn away");
    }
}
