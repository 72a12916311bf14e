//! One of the two: its servers, and the sessions that a script has on them.

use super::generate::Which;
use super::request::{Op, put_bytes};
use crate::cluster::{Cluster, PATIENCE, Product};
use crate::raw::Frames;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zabra::wire::client::{opcode as op, xid};

/// How long an answer may take. Beyond it the silence is what is compared.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an ensemble may take to serve: Java on a busy machine needs many seconds to read its log.
const START: Duration = Duration::from_secs(240);
/// Where xids of the requests begin that end a batch; others count from 1.
pub const MARK: i32 = 0x4000_0000;

/// The xid of the write before each batch of an ensemble, which fails: when it is answered, the session's server has applied what others
/// have answered before. A sync would not do: ZooKeeper's leader answers it at once, and may be behind its followers.
const FENCE: i32 = MARK - 1;

/// What came over a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The body of a frame.
    Frame(Bytes),
    /// The server has closed the connection.
    Closed,
    /// Nothing, for longer than anybody waits.
    Silence,
}

/// A session of a script.
#[derive(Debug, Default)]
struct Slot {
    frames: Option<Frames>,
    session: Option<(i64, Vec<u8>)>,
    xid: i32,
    mark: i32,
    zxid: u64,
    /// At which server, by its part.
    part: usize,
}

impl Slot {
    fn put_mark(&mut self, out: &mut Vec<u8>) {
        self.mark = (self.mark + 1) % MARK;
        mark().put(MARK + self.mark, "", 0, out);
    }
}

/// Servers of one product, and the sessions on them.
#[derive(Debug)]
pub struct Side {
    /// Whose.
    pub product: Product,
    cluster: Cluster,
    slots: Vec<Slot>,
    /// Its servers, the one that leads first: sessions are spread over them by this order, which both sides have in common.
    roles: Vec<usize>,
    _data: Option<TempDir>,
}

impl Side {
    /// Starts `servers` of them. The last slot is at the one that leads. Data is kept in memory where the system has a place for that, because ZooKeeper waits for its disk
    /// with every batch.
    ///
    /// # Errors
    /// They do not start.
    pub fn start(
        product: Product,
        servers: usize,
        slots: usize,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let memory = std::path::Path::new("/dev/shm");
        let data = match memory.is_dir() {
            true => Some(
                tempfile::Builder::new()
                    .prefix("zabra-differential-")
                    .tempdir_in(memory)?,
            ),
            false => None,
        };
        let mut folders: Vec<PathBuf> = vec![];
        if let Some(data) = &data {
            for i in 0..servers {
                let folder = data.path().join(format!("data-{}", i + 1));
                std::fs::create_dir(&folder)?;
                folders.push(folder);
            }
        }
        let mut cluster = Cluster::prepare(&vec![product; servers], &folders, settings)?;
        cluster.patience = START;
        for i in 0..servers {
            cluster.restart(i)?;
        }
        cluster.wait_until_serving()?;
        let roles = roles(&mut cluster)?;
        Ok(Self {
            product,
            roles,
            cluster,
            slots: (0..slots)
                .map(|slot| Slot {
                    part: if slot + 1 == slots { 0 } else { slot },
                    ..Slot::default()
                })
                .collect(),
            _data: data,
        })
    }

    fn port(&self, part: usize) -> u16 {
        let server = self.roles[part % self.roles.len()];
        self.cluster.servers[server].client_port
    }

    /// Whether there is more than one server.
    #[must_use]
    pub fn is_ensemble(&self) -> bool {
        self.roles.len() > 1
    }

    /// Whether the session of this slot has a connection.
    #[must_use]
    pub fn is_connected(&self, slot: usize) -> bool {
        self.slots[slot].frames.is_some()
    }

    /// The session of this slot, if it has begun.
    #[must_use]
    pub fn session(&self, slot: usize) -> Option<i64> {
        self.slots[slot].session.as_ref().map(|(id, _)| *id)
    }

    /// Begins or resumes the session of a slot; answers what the server says first. The second answer is how the
    /// connection ended that the session has left.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(&mut self, slot: usize) -> Result<(Heard, Option<Heard>)> {
        let port = self.port(self.slots[slot].part);
        // A server of an ensemble that has not come as far as the session has seen takes it later.
        let patience = if self.is_ensemble() {
            PATIENCE
        } else {
            Duration::ZERO
        };
        let slot = &mut self.slots[slot];
        let mut old = slot.frames.take();
        let (id, password) = slot.session.clone().unwrap_or((0, vec![0; 16]));
        let mut frame = vec![0; 4];
        frame.extend(0_i32.to_be_bytes());
        frame.extend(slot.zxid.to_be_bytes());
        frame.extend(700_000_i32.to_be_bytes());
        frame.extend(id.to_be_bytes());
        put_bytes(Some(&password), &mut frame);
        frame.push(0);
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let began = Instant::now();
        let (frames, heard) = loop {
            let mut frames = Frames::connect(port)?;
            frames.send(&frame)?;
            let heard = hear(&mut frames);
            if heard != Heard::Closed || began.elapsed() >= patience {
                break (frames, heard);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let end = old.as_mut().map(hear_the_end);
        if let Heard::Frame(body) = &heard {
            let granted = granted(body).context("an answer to a handshake")?;
            slot.session = (granted.0 != 0).then_some(granted);
            slot.frames = slot.session.is_some().then_some(frames);
        }
        Ok((heard, end))
    }

    /// The session of a slot is at the next server from now on. Its connection is still the old one.
    pub fn change(&mut self, slot: usize) {
        self.slots[slot].part += 1;
    }

    /// Takes the connection of a slot from its session.
    pub fn leave(&mut self, slot: usize) -> Option<Frames> {
        self.slots[slot].frames.take()
    }

    /// All that a connection which its session has left says to a request, until its end.
    pub fn speak_as_moved(
        &mut self,
        slot: usize,
        old: &mut Frames,
        op: &Op,
        place: &str,
    ) -> Vec<Heard> {
        let slot = &mut self.slots[slot];
        slot.xid += 1;
        let mut out = vec![];
        op.put(slot.xid, place, slot.zxid, &mut out);
        let _ = old.send(&out);
        let mut all = vec![hear(old)];
        while let Some(Heard::Frame(_)) = all.last() {
            all.push(hear(old));
        }
        all
    }

    /// Forgets the session of a slot.
    pub fn forget(&mut self, slot: usize) {
        self.slots[slot].session = None;
        self.slots[slot].frames = None;
        self.slots[slot].zxid = 0;
    }

    /// Ends the connection of a slot.
    pub fn drop_connection(&mut self, slot: usize) {
        self.slots[slot].frames = None;
    }

    /// Sends requests, behind the fence if there are several servers and the first need not be alone, and one more that marks their end unless an end of the connection
    /// may follow.
    ///
    /// # Errors
    /// Never because the server has closed the connection: that is heard.
    pub fn send(&mut self, slot: usize, ops: &[Op], place: &str) -> Result<()> {
        let mut out = vec![];
        if self.is_ensemble() && ops.first().is_none_or(|op| !op.alone) {
            let fence = Op::new(op::DELETE).text(Some(b"/nothing"));
            fence.int("version", -1).put(FENCE, place, 0, &mut out);
        }
        self.send_behind(out, slot, ops, place)
    }

    fn send_behind(
        &mut self,
        mut out: Vec<u8>,
        slot: usize,
        ops: &[Op],
        place: &str,
    ) -> Result<()> {
        let slot = &mut self.slots[slot];
        for op in ops {
            slot.xid += i32::from(op.xid.is_none());
            op.put(op.xid.unwrap_or(slot.xid), place, slot.zxid, &mut out);
        }
        if ops.last().is_none_or(|op| !op.may_end()) {
            slot.put_mark(&mut out);
        }
        let frames = slot.frames.as_mut().context("a connection")?;
        let _ = frames.send(&out);
        Ok(())
    }

    /// What comes until the mark is answered, the connection ends, or nothing comes.
    ///
    /// # Errors
    /// A frame that is none.
    pub fn hear(&mut self, slot: usize, ops: &[Op]) -> Result<Vec<Heard>> {
        let slot = &mut self.slots[slot];
        let mut all = vec![];
        let mut replies = 0;
        loop {
            let frames = slot.frames.as_mut().context("a connection")?;
            let heard = hear(frames);
            let Heard::Frame(body) = &heard else {
                slot.frames = None;
                all.push(heard);
                return Ok(all);
            };
            ensure!(body.len() >= 16, "a reply of {} bytes", body.len());
            let number = i32::from_be_bytes(body[..4].try_into()?);
            let zxid = u64::from_be_bytes(body[4..12].try_into()?);
            let error = i32::from_be_bytes(body[12..16].try_into()?);
            // -1 and what is not a position at all stay out.
            if zxid < 1 << 63 {
                slot.zxid = slot.zxid.max(zxid);
            }
            if number == FENCE {
                continue;
            }
            all.push(heard);
            replies += usize::from(number != xid::EVENT);
            if number >= MARK {
                return Ok(all);
            }
            // What may end the connection has been answered; a mark that came before could have been answered, too, or not.
            if replies == ops.len()
                && let Some(last) = ops.last()
                && last.may_end()
                && !is_the_end(last, error)
            {
                let mut out = vec![];
                slot.put_mark(&mut out);
                let frames = slot.frames.as_mut().context("a connection")?;
                let _ = frames.send(&out);
            }
        }
    }

    /// Whether the session of a slot is refused the data of a node for want of rights.
    ///
    /// # Errors
    /// There is no connection.
    pub fn may_not_read(&mut self, slot: usize, path: &[u8]) -> Result<bool> {
        const NO_AUTH: i32 = -102;
        let look = Op::new(op::GET_DATA)
            .text(Some(path))
            .flag("watch", false)
            .with_xid(1);
        // No fence: the other side would have to write, too.
        self.send_behind(vec![], slot, std::slice::from_ref(&look), "")?;
        let heard = self.hear(slot, &[look])?;
        // The other side is not asked, and its marks go on.
        self.slots[slot].mark -= 1;
        let answer = heard.iter().rev().nth(1);
        Ok(matches!(answer, Some(Heard::Frame(body)) if body[12..16] == NO_AUTH.to_be_bytes()))
    }

    /// Sends bytes over a new connection and hears what comes until its end, which it asks for after the first answer.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn knock(&mut self, at: usize, bytes: &[u8]) -> Result<Vec<Heard>> {
        let mut frames = Frames::connect(self.port(at))?;
        frames.send(bytes)?;
        let mut all = vec![hear(&mut frames)];
        let mut close = vec![];
        Op::new(op::CLOSE_SESSION).put(1, "", 0, &mut close);
        let _ = frames.send(&close);
        while let Some(Heard::Frame(_)) = all.last() {
            all.push(hear(&mut frames));
        }
        Ok(all)
    }

    /// Kills servers, and lets them come back. All connections have ended before.
    ///
    /// # Errors
    /// They do not come back.
    pub fn restart(&mut self, which: Which) -> Result<()> {
        for slot in &mut self.slots {
            slot.frames = None;
        }
        self.roles = roles(&mut self.cluster)?;
        let killed = match which {
            Which::Leader => &self.roles[..1],
            Which::Follower => &self.roles[self.roles.len() - 1..],
            Which::All => &self.roles[..],
        };
        for server in killed {
            self.cluster.kill(*server)?;
        }
        // Somebody else leads before the old leader is back.
        if killed.len() < self.roles.len() {
            self.cluster.leader()?;
        }
        for server in killed {
            self.cluster.restart(*server)?;
        }
        self.cluster.wait_until_serving()?;
        self.roles = roles(&mut self.cluster)?;
        Ok(())
    }

    /// An error if one of the servers has ended by itself.
    ///
    /// # Errors
    /// Which one.
    pub fn all_alive(&mut self) -> Result<()> {
        self.cluster.all_alive()
    }
}

/// The request behind each batch: everybody may ask for it, and it changes nothing.
#[must_use]
pub fn mark() -> Op {
    Op::new(op::EXISTS).text(Some(b"/")).flag("watch", false)
}

/// Whether the end of the connection follows this answer.
fn is_the_end(op: &Op, error: i32) -> bool {
    const UNIMPLEMENTED: i32 = -6;
    const AUTH_FAILED: i32 = -115;
    match op.opcode {
        op::CLOSE_SESSION => error == 0,
        _ => matches!(error, UNIMPLEMENTED | AUTH_FAILED),
    }
}

fn roles(cluster: &mut Cluster) -> Result<Vec<usize>> {
    let leader = cluster.leader()?;
    let others = (0..cluster.servers.len()).filter(|i| *i != leader);
    Ok(std::iter::once(leader).chain(others).collect())
}

fn hear(frames: &mut Frames) -> Heard {
    match frames.receive(SILENCE) {
        Ok(Some(body)) => Heard::Frame(body),
        Ok(None) => Heard::Closed,
        Err(_) => Heard::Silence,
    }
}

/// Closed, unless the old connection of a session that has moved stays.
fn hear_the_end(frames: &mut Frames) -> Heard {
    loop {
        match hear(frames) {
            Heard::Frame(_) => {}
            end => return end,
        }
    }
}

/// Session and password in the answer to a handshake.
#[must_use]
pub fn granted(body: &Bytes) -> Option<(i64, Vec<u8>)> {
    let id = i64::from_be_bytes(body.get(8..16)?.try_into().ok()?);
    let password = body.get(20..36)?;
    Some((id, password.to_vec()))
}
