//! The core's side of the quorum links: numbers, queues to write into, and what waits on them.

use super::Map;
use super::inbox::{Dialled, Inbox};
use super::payload::Payload;
use super::window::Window;
use crate::net::link::{HistoryReader, Item, LinkOut, LinkTasks, put_core, put_history, spawn};
use crate::wire::quorum::{
    ForwardedRequest, NO_ZXID, PacketKind, encode_revalidate, encode_revalidated,
    encode_session_table, put_packet,
};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::net::TcpStream;
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::step::Link;
use zabra_model::tree::acl::Id;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;

/// Learners with one id that may wait for this server to see that it leads: the newest ones, which know best.
const WAITING_MAX: usize = 4;

/// One link.
pub(super) struct LinkHandle {
    pub(super) out: Arc<LinkOut>,
    /// Who is at the other end, when it has said so.
    pub(super) sid: Option<ServerId>,
    to_leader: bool,
    /// When something came from it, by the core's clock.
    heard_ms: u64,
    dirty: bool,
    /// Forwarded syncs, with the zxid whose COMMIT they wait for.
    syncs: VecDeque<Zxid>,
    _tasks: LinkTasks,
}

/// All links.
pub(super) struct Links {
    open: Map<Link, LinkHandle>,
    last: u64,
    waiting: Vec<Dialled>,
    /// The tree that came with the last SNAP.
    tree: Option<Box<Tree>>,
    history: HistoryReader,
}

impl Links {
    pub(super) fn new(history: HistoryReader) -> Self {
        Self {
            open: Map::default(),
            last: 0,
            waiting: Vec::new(),
            tree: None,
            history,
        }
    }

    /// Numbers a connection and starts its tasks.
    pub(super) fn open(
        &mut self,
        stream: TcpStream,
        silence_ms: u64,
        to_leader: bool,
        inbox: &Arc<Inbox>,
    ) -> Link {
        self.last += 1;
        let link = Link(self.last);
        let out = LinkOut::new(stream, silence_ms);
        let tasks = spawn(
            link,
            to_leader,
            Arc::clone(&out),
            Arc::clone(inbox),
            Arc::clone(&self.history),
        );
        let handle = LinkHandle {
            out,
            sid: None,
            to_leader,
            heard_ms: 0,
            dirty: false,
            syncs: VecDeque::new(),
            _tasks: tasks,
        };
        self.open.insert(link, handle);
        link
    }

    /// Ends a link; whether there was one.
    pub(super) fn remove(&mut self, link: Link) -> bool {
        self.open.remove(&link).is_some()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Link> {
        self.open.keys().copied().collect()
    }

    pub(super) fn close_all(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }

    /// Whether all that was put into them is in the sockets.
    #[cfg(feature = "gate")]
    pub(super) fn are_idle(&self) -> bool {
        self.open.values().all(|handle| handle.out.is_idle())
    }

    /// Something came over a link; whether there is one, and from the leader.
    pub(super) fn heard(&mut self, link: Link, now_ms: u64) -> Option<bool> {
        let handle = self.open.get_mut(&link)?;
        handle.heard_ms = now_ms;
        Some(handle.to_leader)
    }

    /// The learner at the other end has said who it is.
    pub(super) fn name(&mut self, link: Link, sid: ServerId) {
        if let Some(handle) = self.open.get_mut(&link) {
            handle.sid = Some(sid);
        }
    }

    /// Other links of the learner with this id, and how long each has been silent.
    pub(super) fn others(
        &self,
        sid: ServerId,
        link: Option<Link>,
        now_ms: u64,
    ) -> impl Iterator<Item = (Link, u64)> {
        let same = move |(other, handle): &(&Link, &LinkHandle)| {
            handle.sid == Some(sid) && link != Some(**other)
        };
        self.open
            .iter()
            .filter(same)
            .map(move |(link, handle)| (*link, now_ms.saturating_sub(handle.heard_ms)))
    }

    pub(super) fn keep_waiting(&mut self, dialled: Dialled) {
        let id = |d: &Dialled| d.hello.map(|h| h.claim.sid);
        let same = |d: &&Dialled| id(d) == id(&dialled);
        if self.waiting.iter().filter(same).count() >= WAITING_MAX
            && let Some(oldest) = self.waiting.iter().position(|d| same(&d))
        {
            self.waiting.remove(oldest); // it has been waiting in vain
        }
        self.waiting.push(dialled);
    }

    /// Whoever has waited and is still there. The newest comes first: of two with one id, the older one is more likely to be gone.
    pub(super) fn take_waiting(&mut self) -> Vec<Dialled> {
        let mut waiting = std::mem::take(&mut self.waiting);
        // After its first words a learner says nothing before it is answered: whatever can be read is the end.
        waiting.retain(|d| {
            d.hello.is_none()
                || d.stream
                    .try_read(&mut [0])
                    .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        });
        waiting.reverse();
        waiting
    }

    pub(super) fn keep_tree(&mut self, tree: Box<Tree>) {
        self.tree = Some(tree);
    }

    pub(super) fn take_tree(&mut self) -> Option<Box<Tree>> {
        self.tree.take()
    }

    pub(super) fn get(&mut self, link: Link) -> Option<&mut LinkHandle> {
        let handle = self.open.get_mut(&link)?;
        handle.dirty = true;
        Some(handle)
    }

    /// The link to the leader.
    pub(super) fn leader(&mut self) -> Option<&mut LinkHandle> {
        let handle = self.open.values_mut().find(|l| l.to_leader)?;
        handle.dirty = true;
        Some(handle)
    }

    pub(super) fn put(&mut self, link: Link, packet: &Packet<Payload>, members_text: &str) {
        if let Some(handle) = self.get(link) {
            handle.out.put(|out| put_core(packet, members_text, out));
        }
    }

    pub(super) fn send_ping(&mut self, link: Link, zxid: Zxid, table: &[(SessionId, i32)]) {
        if let Some(handle) = self.get(link) {
            let table = encode_session_table(table.iter().copied());
            handle
                .out
                .put(|out| put_packet(PacketKind::Ping, zxid, Some(&table), None, out));
        }
    }

    pub(super) fn send_history(
        &mut self,
        window: &Window,
        link: Link,
        after: Zxid,
        upto: Zxid,
        committed: bool,
    ) {
        let Some(handle) = self.get(link) else { return };
        let from_files = window.after().min(upto);
        if after < from_files {
            handle.out.push(Item::History {
                after,
                upto: from_files,
                committed,
            });
        }
        let in_memory = window.range(after.max(window.after()), upto);
        handle.out.put(|out| {
            for payload in in_memory {
                put_history(payload.header.zxid, &payload.bytes, committed, out);
            }
        });
    }

    /// Sends a transaction that has just been committed: it waited in the window until now.
    pub(super) fn send_inform(&mut self, window: &Window, link: Link, zxid: Zxid) {
        let Some(handle) = self.get(link) else { return };
        let before = Zxid(zxid.0.saturating_sub(1));
        if let Some(payload) = window.range(before, zxid).next() {
            let data = Some(payload.bytes.as_ref());
            handle
                .out
                .put(|out| put_packet(PacketKind::Inform, zxid, data, None, out));
        }
    }

    pub(super) fn send_tree(&mut self, link: Link, zxid: Zxid, image: Image) {
        if let Some(handle) = self.get(link) {
            handle
                .out
                .put(|out| put_packet(PacketKind::Snap, zxid, None, None, out));
            handle.out.push(Item::Tree(Box::new(image)));
        }
    }

    /// A learner is up to date: from now on it may be silent for so long, and so much may wait for it.
    pub(super) fn is_up_to_date(&mut self, link: Link, silence_ms: u64, bytes_max: usize) {
        if let Some(handle) = self.open.get(&link) {
            handle.out.set_silence(silence_ms);
            handle.out.set_bytes_max(bytes_max);
        }
    }

    pub(super) fn set_leader_silence(&mut self, ms: u64) {
        if let Some(handle) = self.leader() {
            handle.out.set_silence(ms);
        }
    }

    /// A learner's sync waits for the COMMIT of `zxid`, or is answered at once.
    pub(super) fn wait_for_sync(&mut self, link: Link, zxid: Option<Zxid>) {
        if let Some(handle) = self.get(link) {
            match zxid {
                Some(zxid) => handle.syncs.push_back(zxid),
                None => put_sync(handle),
            }
        }
    }

    /// The COMMIT of `zxid` was written to `link`: so are the answers to the syncs that waited for it.
    pub(super) fn answer_syncs(&mut self, link: Link, zxid: Zxid) {
        if let Some(handle) = self.open.get_mut(&link) {
            while handle.syncs.pop_front_if(|due| *due <= zxid).is_some() {
                put_sync(handle);
            }
        }
    }

    pub(super) fn ask_revalidate(&mut self, session: SessionId, timeout_ms: i32) {
        if let Some(handle) = self.leader() {
            let data = encode_revalidate(session, timeout_ms);
            handle
                .out
                .put(|out| put_packet(PacketKind::Revalidate, NO_ZXID, Some(&data), None, out));
        }
    }

    pub(super) fn answer_revalidate(&mut self, link: Link, session: SessionId, valid: bool) {
        if let Some(handle) = self.get(link) {
            let data = encode_revalidated(session, valid);
            handle
                .out
                .put(|out| put_packet(PacketKind::Revalidate, NO_ZXID, Some(&data), None, out));
        }
    }

    /// Forwards a request; false if there is no leader.
    pub(super) fn forward(&mut self, request: &ForwardedRequest, ids: Option<&[Id]>) -> bool {
        let Some(handle) = self.leader() else {
            return false;
        };
        handle.out.put(|out| request.put(ids, out));
        true
    }

    /// Sends what was put; returns a link, if there is one, whose other end does not fetch it.
    pub(super) fn flush(&mut self) -> Option<Link> {
        let mut behind = None;
        for (link, handle) in self.open.iter_mut().filter(|(_, h)| h.dirty) {
            handle.dirty = false;
            if handle.out.flush() {
                behind = Some(*link);
            }
        }
        behind
    }
}

fn put_sync(handle: &LinkHandle) {
    handle
        .out
        .put(|out| put_packet(PacketKind::Sync, Zxid::ZERO, None, None, out));
}
