//! The core's side of the quorum links: numbers, queues to write into, and what waits on them.

use super::Map;
use super::inbox::Inbox;
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

/// Learners that may wait for this server to see that it leads.
const WAITING_MAX: usize = 64;
/// Links at once: every voter there can be, and some that have not yet noticed that they are gone.
const OPEN_MAX: usize = 256;

/// One link.
pub(super) struct LinkHandle {
    pub(super) out: Arc<LinkOut>,
    /// Who is at the other end, when it has said so.
    pub(super) sid: Option<ServerId>,
    to_leader: bool,
    dirty: bool,
    /// Forwarded syncs, with the zxid whose COMMIT they wait for.
    syncs: VecDeque<Zxid>,
    _tasks: LinkTasks,
}

/// All links.
pub(super) struct Links {
    open: Map<Link, LinkHandle>,
    last: u64,
    waiting: Vec<TcpStream>,
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
            Arc::clone(&out),
            Arc::clone(inbox),
            Arc::clone(&self.history),
        );
        let handle = LinkHandle {
            out,
            sid: None,
            to_leader,
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

    pub(super) fn close_all(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= OPEN_MAX
    }

    /// Whether all that was put into them is in the sockets.
    #[cfg(feature = "gate")]
    pub(super) fn are_idle(&self) -> bool {
        self.open.values().all(|handle| handle.out.is_idle())
    }

    /// The oldest connection whose other end has not said who it is.
    pub(super) fn oldest_stranger(&self) -> Option<Link> {
        let strangers = self
            .open
            .iter()
            .filter(|(_, l)| l.sid.is_none() && !l.to_leader);
        strangers.map(|(link, _)| *link).min()
    }

    pub(super) fn has(&self, link: Link) -> bool {
        self.open.contains_key(&link)
    }

    pub(super) fn keep_waiting(&mut self, stream: TcpStream) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.remove(0); // the oldest has been waiting in vain
        }
        self.waiting.push(stream);
    }

    pub(super) fn take_waiting(&mut self) -> Vec<TcpStream> {
        std::mem::take(&mut self.waiting)
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

    pub(super) fn set_silence(&mut self, link: Link, ms: u64) {
        if let Some(handle) = self.open.get(&link) {
            handle.out.set_silence(ms);
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

    pub(super) fn flush(&mut self) {
        for handle in self.open.values_mut().filter(|h| h.dirty) {
            handle.dirty = false;
            handle.out.flush();
        }
    }
}

fn put_sync(handle: &LinkHandle) {
    handle
        .out
        .put(|out| put_packet(PacketKind::Sync, Zxid::ZERO, None, None, out));
}
