//! The election mesh: one connection for each pair of servers, always dialled by the one with the larger id, and one
//! waiting message for each peer, replaced by newer ones.

use super::doors::{Doors, Strangers};
use super::guard::Guard;
use super::inbox::Inbox;
use super::letter::Letter;
use super::pipe::Pipe;
use super::ports::{self, Listening};
use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::codes::Code;
use crate::config::net::Net;
use crate::config::{Config, join};
use crate::core::event::Event;
use crate::error::{ELECTION_PORT, ServerError};
use crate::limits::{HANDSHAKES_MAX, WRITE_TIME};
use crate::wire::WireError;
use crate::wire::election::{Address, InitialForm, InitialMessage};
use crate::wire::mail;
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};
use zabra_model::ids::ServerId;
use zabra_model::service::members::{Lists, Member};
use zabra_model::service::membership::{GUESTS_MAX, is_member};
use zabra_model::vote::Notification;

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long a larger server may take to end a connection that has told it who dials.
const HEARD_OUT: Duration = Duration::from_millis(500);
/// How long a larger server has to dial, once it has been told who is here. One of ZooKeeper's listens with one thread, ends the connection
/// that it has whenever it is told, and dials anew: told again while it dials, it would never come to an end.
const DIALS_BACK: Duration = Duration::from_secs(1);
/// Pauses before it is looked whether a peer is there whose connection has ended.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
];
/// How long it is looked whether a peer is there: as long as an election waits for it.
const LOOK: Duration = Duration::from_millis(200);
/// A connection over which something came so recently is not given up for another one of the same id, nor one that came up so recently for a
/// smaller server that makes itself known.
const RECENT: Duration = Duration::from_secs(1);

enum Incoming {
    /// A larger server has dialled.
    Stream(Pipe, BytesMut),
    /// A smaller server has made itself known: dial it.
    Dial,
}

/// Where a server is dialled.
struct Place {
    /// What its certificate has to be of.
    host: String,
    /// Host, or address, and port.
    address: String,
}

impl Place {
    fn of(member: &Member) -> Self {
        Self {
            host: member.host.clone(),
            address: join(&member.host, member.election_port),
        }
    }
}

struct Slot {
    sid: ServerId,
    place: Mutex<Place>,
    letter: Letter,
    wake: Notify,
    incoming: mpsc::Sender<Incoming>,
}

/// How much mail there was.
#[derive(Debug, Default)]
pub struct Sent {
    /// Notifications that were to be sent.
    pub asked: AtomicU64,
    /// Those of them that took the place of one that still waited.
    pub replaced: AtomicU64,
    /// Notifications that are in a socket.
    pub sent: AtomicU64,
}

/// The election port, taken and not yet listened to.
pub struct ElectionPort {
    listener: TcpListener,
    address: Address,
}

/// The connections to all other servers.
pub struct ElectionNet {
    me: ServerId,
    my_address: Address,
    shared: Arc<Shared>,
    /// This server's list of members as text.
    says: RwLock<Box<str>>,
    /// Of all members but this server, also of those that have been removed. Nobody else is talked to but guests, where members change.
    slots: RwLock<HashMap<ServerId, Arc<Slot>>>,
    /// Who is no member and has made itself known: the oldest gives way.
    guests: Mutex<VecDeque<(ServerId, AbortHandle)>>,
    /// What is to end with it.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    doors: Doors,
    guard: Arc<Guard>,
    members_change: bool,
    net: Net,
    inbox: Arc<Inbox>,
    sent: Sent,
}

impl ElectionNet {
    /// Takes the election port, if this server is a member. Servers that dial wait until [`ElectionNet::start`].
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind(config: &Config) -> Result<Option<ElectionPort>, ServerError> {
        let Some(own) = &config.own else {
            return Ok(None);
        };
        let host = (!config.listen_on_all).then_some(own.host.as_str());
        let listening = Listening {
            keep_alive: config.net.election_keep_alive,
            ..Listening::default()
        };
        let tries = config.election_bind_retry;
        let listener = bind_retrying(host, own.election_port, listening, tries).await?;
        Ok(Some(ElectionPort {
            listener,
            address: Address {
                host: own.host.as_str().into(),
                port: own.election_port,
            },
        }))
    }

    /// Listens, and is ready to dial.
    #[must_use]
    pub fn start(
        shared: &Arc<Shared>,
        guard: Arc<Guard>,
        port: ElectionPort,
        inbox: Arc<Inbox>,
    ) -> Arc<Self> {
        let net = Arc::new(Self {
            me: shared.config.me,
            my_address: port.address,
            shared: Arc::clone(shared),
            says: RwLock::default(),
            slots: RwLock::default(),
            guests: Mutex::default(),
            tasks: Mutex::default(),
            doors: Doors::new(shared, "election"),
            guard,
            members_change: shared.config.reconfig_enabled,
            net: shared.config.net,
            inbox,
            sent: Sent::default(),
        });
        net.set_members(&shared.lists());
        let accept = tokio::spawn(Arc::clone(&net).accept(port.listener));
        lock(&net.tasks).push(accept);
        net
    }

    /// Nobody is listened to and talked to any more: others know at once that this server takes part in no election.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            let _ = task.await; // it was told to end
        }
    }

    /// These are the members now: new ones are talked to, at once, and those that have moved are dialled elsewhere.
    pub fn set_members(self: &Arc<Self>, lists: &Lists) {
        *write(&self.says) = lists.told().into();
        let members = lists.members();
        for (sid, member) in members.iter().filter(|(sid, _)| **sid != self.me) {
            let known = read(&self.slots).get(sid).map(Arc::clone);
            match known {
                Some(slot) => *lock(&slot.place) = Place::of(member),
                None => drop(self.add_slot(*sid, Place::of(member))),
            }
        }
        // A guest that is a member now stays one.
        lock(&self.guests).retain(|(sid, _)| !members.contains_key(sid));
    }

    fn add_slot(self: &Arc<Self>, sid: ServerId, place: Place) -> (Arc<Slot>, AbortHandle) {
        let (incoming, receiver) = mpsc::channel(4);
        let slot = Arc::new(Slot {
            sid,
            place: Mutex::new(place),
            letter: Letter::default(),
            wake: Notify::new(),
            incoming,
        });
        write(&self.slots).insert(sid, Arc::clone(&slot));
        let run = tokio::spawn(Arc::clone(self).run(Arc::clone(&slot), receiver));
        let end = run.abort_handle();
        let mut tasks = lock(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(run);
        (slot, end)
    }

    /// Who is no member has made itself known: it is answered, and dialled at the address that it came from.
    fn guest(
        self: &Arc<Self>,
        initial: &InitialMessage,
        from: SocketAddr,
    ) -> Result<Arc<Slot>, String> {
        let sid = initial.server;
        let said = said_address(initial).filter(|address| address.port != 0);
        let Some(said) = said.filter(|_| i64::try_from(sid.0).is_ok()) else {
            return Err(format!(
                "server id {sid} is no member's, and it does not say where it listens"
            ));
        };
        let address = SocketAddr::new(from.ip(), said.port).to_string();
        let mut guests = lock(&self.guests);
        if guests.len() >= GUESTS_MAX
            && let Some((oldest, run)) = guests.pop_front()
        {
            run.abort();
            write(&self.slots).remove(&oldest);
        }
        info!(%sid, address, "a server that is no member takes part in elections without a vote");
        let host = said.host.to_string();
        let (slot, run) = self.add_slot(sid, Place { host, address });
        guests.push_back((sid, run));
        Ok(slot)
    }

    /// How much was sent so far.
    #[must_use]
    pub const fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Leaves `notification` for `to`, in place of an older one.
    pub fn notify(&self, to: ServerId, notification: Notification) {
        let slot = read(&self.slots).get(&to).map(Arc::clone);
        let Some(slot) = slot else {
            return;
        };
        let replaces = slot.letter.put(self.encode(notification));
        self.sent.asked.fetch_add(1, Ordering::Relaxed);
        self.sent
            .replaced
            .fetch_add(u64::from(replaces), Ordering::Relaxed);
        slot.wake.notify_one();
    }

    fn encode(&self, n: Notification) -> Bytes {
        let mut out = BytesMut::new();
        mail::put(n, &read(&self.says), &mut out);
        out.freeze()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut strangers = Strangers::new(HANDSHAKES_MAX);
        loop {
            let (stream, from) = match ports::accept(&listener).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(code = %Code::ElectionAccept, %error, "cannot accept on the election port");
                    sleep(BACKOFF_MIN).await;
                    continue;
                }
            };
            let net = Arc::clone(&self);
            strangers.hear_out(from.ip(), async move {
                let hello = Duration::from_millis(net.net.election_hello_ms);
                match timeout(hello, net.introduce(stream, from)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => net.doors.refused(from, why),
                    Err(_) => debug!("an election connection said nothing"),
                }
            });
        }
    }

    /// Reads who has dialled, and decides whose the connection is to be.
    async fn introduce(
        self: &Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Result<(), String> {
        if !self.doors.is_open_to(from.ip()).await {
            return Err("its address is no member's".into());
        }
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (stream, papers) = self.guard.take(stream).await?;
        let mut buf = BytesMut::new();
        let initial = ports::first_words(&stream, &mut buf, InitialMessage::parse).await?;
        let sid = initial.server;
        self.guard.hear_proof(&stream, &mut buf, from).await?;
        let known = read(&self.slots).get(&sid).map(Arc::clone);
        let host = match &known {
            Some(slot) => Some(lock(&slot.place).host.clone()),
            None => said_address(&initial).map(|said| said.host.to_string()),
        };
        let is_of = self.guard.is_of(&papers, host.as_deref(), from.ip()).await;
        is_of.map_err(|why| format!("server id {sid}: {why}"))?;
        let slot = match known {
            Some(slot) => slot,
            None if self.members_change && sid != self.me => self.guest(&initial, from)?,
            // The slots are the members; their roles make no difference here.
            None => {
                is_member(self.me, sid, None)
                    .map_err(|turned| format!("server id {sid}: {turned}"))?;
                return Ok(());
            }
        };
        let what = if sid > self.me {
            Incoming::Stream(stream, buf)
        } else {
            drop(stream);
            Incoming::Dial
        };
        let _ = slot.incoming.try_send(what); // four knocks wait already
        Ok(())
    }

    /// Keeps the connection to one peer.
    async fn run(self: Arc<Self>, slot: Arc<Slot>, mut incoming: mpsc::Receiver<Incoming>) {
        let dial = Duration::from_millis(self.net.election_dial_ms);
        let mut backoff = BACKOFF_MIN;
        let mut next: Option<Incoming> = None;
        let mut is_reached = true;
        let mut is_told: Option<Instant> = None;
        loop {
            let what = match next.take() {
                Some(what) => what,
                None => tokio::select! {
                    Some(what) = incoming.recv() => what,
                    () = slot.wake.notified() => Incoming::Dial,
                },
            };
            let what = match (what, is_told) {
                (Incoming::Dial, Some(at)) => tokio::select! {
                    Some(what) = incoming.recv() => what,
                    () = sleep_until(at + DIALS_BACK) => Incoming::Dial,
                },
                (what, _) => what,
            };
            let connected = match what {
                Incoming::Stream(stream, buf) => {
                    // It has dialled: when this connection ends, it is looked at once whether it is there.
                    is_told = None;
                    Ok(Some((stream, buf)))
                }
                Incoming::Dial => timeout(dial, self.dial(&slot))
                    .await
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
            };
            self.found(&slot, connected.is_ok(), &mut is_reached);
            let connected = match connected {
                // Of a dial, `None`: the peer is larger, it has been made aware of us, and dials.
                Ok(None) => {
                    is_told = Some(Instant::now());
                    None
                }
                Ok(connected) => connected,
                Err(error) => {
                    debug!(peer = %slot.sid, %error, "cannot dial for the election");
                    None
                }
            };
            if let Some((stream, buf)) = connected {
                backoff = BACKOFF_MIN;
                debug!(peer = %slot.sid, "election connection");
                let (instead, is_unanswered) = self.talk(&slot, stream, buf, &mut incoming).await;
                next = instead;
                if next.is_none() && is_unanswered {
                    // An election waits for an answer as long as nobody knows that the peer is gone. Of a process that dies, the ports may
                    // close a little after its connections.
                    for pause in LOOKS {
                        sleep(pause).await;
                        let is_there = self.look(&slot).await.is_ok();
                        self.found(&slot, is_there, &mut is_reached);
                        if !is_there {
                            break;
                        }
                    }
                }
                if next.is_some() || !slot.letter.waits() {
                    continue;
                }
                // The connection has ended before it took what waits: there is another one, after a pause.
            }
            let has_waiting = slot.letter.waits();
            next = tokio::select! {
                Some(what) = incoming.recv() => Some(what),
                () = sleep(backoff) => has_waiting.then_some(Incoming::Dial),
            };
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Tells the core if a peer is out of reach, or is not any more.
    fn found(&self, slot: &Slot, is_there: bool, is_reached: &mut bool) {
        if std::mem::replace(is_reached, is_there) != is_there {
            self.inbox.push(Event::Reached(slot.sid, is_there), 0);
        }
    }

    /// Whether somebody listens where a peer is to be.
    async fn look(&self, slot: &Slot) -> std::io::Result<()> {
        let address = lock(&slot.place).address.clone();
        timeout(LOOK, ports::dial(&address, false)).await?.map(drop)
    }

    async fn dial(&self, slot: &Slot) -> std::io::Result<Option<(Pipe, BytesMut)>> {
        let (address, host) = {
            let place = lock(&slot.place);
            (place.address.clone(), place.host.clone())
        };
        let stream = ports::dial(&address, self.net.election_keep_alive).await?;
        stream.set_nodelay(true)?;
        let stream = self.guard.dialled(stream, &host, slot.sid).await?;
        let mut out = BytesMut::new();
        InitialMessage {
            server: self.me,
            form: InitialForm::One(self.my_address.clone()),
        }
        .put(&mut out);
        stream.write_all(&out).await?;
        out.clear();
        self.guard.prove(&stream, &mut out, slot.sid).await?;
        if slot.sid < self.me {
            return Ok(Some((stream, out)));
        }
        if let Pipe::Tls(_) = stream {
            // What has not been read here would end the connection before it is read there.
            let _ = timeout(HEARD_OUT, stream.ended()).await;
        }
        Ok(None)
    }

    /// Exchanges messages until the connection ends; the answer is what has arrived in place of it, and whether something was said to the
    /// peer and it has not said anything since.
    async fn talk(
        self: &Arc<Self>,
        slot: &Slot,
        stream: Pipe,
        mut buf: BytesMut,
        incoming: &mut mpsc::Receiver<Incoming>,
    ) -> (Option<Incoming>, bool) {
        slot.letter.say_again();
        let stands = Instant::now();
        let mut heard: Option<Instant> = None;
        let mut is_unanswered = false;
        loop {
            if let Some(message) = slot.letter.take() {
                let sent = timeout(WRITE_TIME, stream.write_all(&message)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    slot.letter.put_back(message);
                    return (None, true);
                }
                is_unanswered = true;
                self.sent.sent.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            match self.hear(slot.sid, &mut buf) {
                // What says nothing keeps no place: only a notification shows that a member is there.
                Ok(true) => (heard, is_unanswered) = (Some(Instant::now()), false),
                Ok(false) => {}
                Err(error) => {
                    info!(peer = %slot.sid, %error, "not an election message, closing");
                    return (None, false);
                }
            }
            tokio::select! {
                // First: whether this connection is at its end.
                biased;
                read = stream.receive(&mut buf) => match read {
                    Ok(1..) => {}
                    Ok(0) => return (None, is_unanswered),
                    Err(error) => {
                        debug!(peer = %slot.sid, %error, "an election connection has ended");
                        return (None, is_unanswered);
                    }
                },
                () = slot.wake.notified() => {}
                what = incoming.recv() => match what {
                    Some(Incoming::Stream(..)) if heard.is_some_and(|at| at.elapsed() < RECENT) => {
                        info!(peer = %slot.sid, "a second election connection with this id was refused, the first is in use");
                    }
                    // It was said while this connection came up, which answers it. If each of the two gave up for the other what had just
                    // come up, they would exchange connections instead of votes.
                    Some(Incoming::Dial) if stands.elapsed() < RECENT => {}
                    what => return (what, is_unanswered),
                },
            }
        }
    }

    /// A member may have a newer list than this server, whose leader this one does not know, or a candidate that is to get its vote by one
    /// (D-130). These lists bind nobody; they tell where to ask.
    fn hear_of_members(self: &Arc<Self>, from: ServerId, text: Option<&str>) {
        let Some(text) = text.filter(|text| **text != **read(&self.says)) else {
            return;
        };
        if self.shared.lists().listed(from).is_none() {
            return;
        }
        let Ok(Lists { active, next }) = Lists::heard(text) else {
            return;
        };
        let newer = Some(active).filter(|active| self.shared.hear_of(active));
        let next = next.filter(|next| self.shared.hear_of_next(next));
        for members in newer.iter().chain(&next) {
            info!(peer = %from, version = %members.version, "a newer list of members is heard of");
            for (sid, member) in members.list.iter().filter(|(sid, _)| **sid != self.me) {
                if !read(&self.slots).contains_key(sid) {
                    self.add_slot(*sid, Place::of(member));
                }
            }
        }
    }

    /// Hands on what was said; whether anything was.
    fn hear(self: &Arc<Self>, from: ServerId, buf: &mut BytesMut) -> Result<bool, WireError> {
        let mut any = false;
        mail::read_all(buf, |said| match said {
            Ok((notification, text)) => {
                self.hear_of_members(from, text.as_deref());
                self.inbox.push(Event::Mail(from, notification), 0);
                any = true;
            }
            Err(bytes) => debug!(peer = %from, bytes, "an election message was skipped"),
        })?;
        Ok(any)
    }
}

/// Where a server that has dialled says that it listens.
fn said_address(initial: &InitialMessage) -> Option<&Address> {
    match &initial.form {
        InitialForm::One(address) => Some(address),
        InitialForm::List(addresses) => addresses.first(),
        InitialForm::Bare => None,
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

async fn bind_retrying(
    host: Option<&str>,
    port: u16,
    listening: Listening,
    tries: u32,
) -> Result<TcpListener, ServerError> {
    let mut tried = 0_u32;
    loop {
        match ports::bind(host, port, listening, ELECTION_PORT).await {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                tried += 1;
                if tries > 0 && tried >= tries {
                    return Err(error);
                }
                warn!(code = %Code::ElectionListen, %error, "cannot listen on the election port yet");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
