//! Links to other servers: who may have one, what waits to leave on each, and the dialling of the leader.

use super::out::{DialAct, Item, LinkAct, Outputs};
use super::window::Window;
use crate::client::stats::LearnerCounts;
use crate::mutants::{Mutant, has};
use crate::wire::link::{Hello, put_core, put_history, put_inform};
use crate::wire::payload::Payload;
use crate::wire::quorum::{
    ForwardedRequest, NO_ZXID, PacketKind, encode_revalidate, encode_revalidated,
    encode_session_table, put_packet,
};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::peer::Peer;
use zabra_model::service::claims::{Claimant, Holder, Line, Progress};
use zabra_model::service::members::Lists;
use zabra_model::service::membership::Turned;
use zabra_model::service::syncs::LearnerSyncs;
use zabra_model::step::Link;
use zabra_model::tree::acl::Id;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;

/// Packets are kept in pieces of about this size, so that what was sent is not held by what was not.
const PACKETS_BYTES: usize = 1 << 20;

/// A learner that has dialled, and has not been let in yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Claiming {
    pub(super) link: Link,
    /// Who it is; `None` where a harness holds its first packet back.
    pub(super) hello: Option<Hello>,
}

/// One link.
struct Open {
    /// Who is at the other end, when it has said so.
    sid: Option<ServerId>,
    /// Where a learner comes from, and whether the configuration says so; `None` is the leader.
    learner: Option<(IpAddr, bool)>,
    /// When something came from it, by the core's clock.
    heard_ms: u64,
    /// What leaves at the end of the turn.
    packets: BytesMut,
    /// Syncs of the learner's clients.
    syncs: LearnerSyncs,
    /// What operators hear of the learner.
    counts: Option<Arc<LearnerCounts>>,
}

/// All links.
pub(super) struct Quorum {
    open: BTreeMap<Link, Open>,
    /// Links with packets that have not left.
    dirty: Vec<Link>,
    /// Learners that wait for their turn, by the id that they claim.
    lines: BTreeMap<ServerId, Line<Claiming, IpAddr>>,
    /// Those that a harness lets in before they have said who they are.
    nameless: Vec<Link>,
    /// The tree that came with the last SNAP, and the lists of members as of it.
    tree: Option<(Box<Tree>, Option<Box<Lists>>)>,
    attempt: u64,
    dialling: bool,
    /// The lists of members that bind this server.
    lists: Arc<Lists>,
    /// The newest of them as text, as NEWLEADER carries it.
    members_text: Box<str>,
    me: ServerId,
    /// What waits for a link that ends is sent before.
    pub(super) has_last_words: bool,
    /// A learner has gone, and operators have not heard of it.
    lost: bool,
}

impl Quorum {
    pub(super) fn new(me: ServerId, lists: Arc<Lists>) -> Self {
        Self {
            open: BTreeMap::new(),
            dirty: Vec::new(),
            lines: BTreeMap::new(),
            nameless: Vec::new(),
            tree: None,
            attempt: 0,
            dialling: false,
            members_text: lists.newest().text().into(),
            lists,
            me,
            has_last_words: false,
            lost: false,
        }
    }

    /// The lists of members that bind this server.
    pub(super) const fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }

    /// Sets them.
    pub(super) fn set_lists(&mut self, lists: Arc<Lists>) {
        self.members_text = lists.newest().text().into();
        self.lists = lists;
    }

    /// How many learners are led, or wait for it, that no list has.
    pub(super) fn guests(&self) -> usize {
        let is_guest = |sid: &ServerId| self.lists.listed(*sid).is_none();
        let led = self.open.values().filter_map(|open| open.sid);
        led.filter(is_guest).count() + self.lines.keys().filter(|sid| is_guest(sid)).count()
    }

    /// Dials the leader.
    pub(super) fn dial(&mut self, leader: ServerId, within_ms: u64, out: &mut Outputs) {
        self.attempt += 1;
        self.dialling = true;
        out.dials.push(DialAct::Begin {
            leader,
            attempt: self.attempt,
            within_ms,
        });
    }

    /// The leader is not wanted any more.
    pub(super) fn stop_dialling(&mut self, out: &mut Outputs) {
        if std::mem::take(&mut self.dialling) {
            out.dials.push(DialAct::Stop);
        }
    }

    /// An attempt has ended; whether it is the one that is awaited.
    pub(super) fn dialled(&mut self, attempt: u64) -> bool {
        attempt == self.attempt && std::mem::take(&mut self.dialling)
    }

    /// A link is read from now on. `learner` is where a learner comes from, and whether the configuration says so; `None`: it leads to the
    /// leader.
    pub(super) fn open(
        &mut self,
        link: Link,
        learner: Option<(IpAddr, bool)>,
        silence_ms: u64,
        elapsed_ms: u64,
        out: &mut Outputs,
    ) {
        let open = Open {
            sid: None,
            learner,
            heard_ms: elapsed_ms,
            packets: BytesMut::new(),
            syncs: LearnerSyncs::default(),
            counts: None,
        };
        self.open.insert(link, open);
        out.links.push(LinkAct::Open {
            link,
            to_leader: learner.is_none(),
            silence_ms,
        });
    }

    /// Ends a link; whether there was one.
    pub(super) fn close(&mut self, link: Link, out: &mut Outputs) -> bool {
        let Some(open) = self.open.remove(&link) else {
            return false;
        };
        if self.has_last_words && !open.packets.is_empty() {
            let last = Item::Packets(open.packets);
            out.links.push(LinkAct::Send(link, last));
        }
        self.lost |= open.counts.is_some();
        out.links.push(LinkAct::Close(link));
        true
    }

    /// What operators hear of the learner of a link, from now on.
    pub(super) fn count_as(&mut self, link: Link, counts: Arc<LearnerCounts>) {
        if let Some(open) = self.open.get_mut(&link) {
            open.counts = Some(counts);
        }
    }

    /// What they hear of it.
    pub(super) fn counts(&self, link: Link) -> Option<&Arc<LearnerCounts>> {
        self.open.get(&link)?.counts.as_ref()
    }

    /// What they hear of all learners, oldest first; `None` if none has gone since the last time.
    pub(super) fn counts_left(&mut self) -> Option<Vec<Arc<LearnerCounts>>> {
        let counts = || self.open.values().filter_map(|open| open.counts.clone());
        std::mem::take(&mut self.lost).then(|| counts().collect())
    }

    /// Syncs of learners' clients that wait.
    pub(super) fn syncs_waiting(&self) -> usize {
        self.open.values().map(|open| open.syncs.len()).sum()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Link> {
        self.open.keys().copied().collect()
    }

    pub(super) fn close_all(&mut self, out: &mut Outputs) {
        for link in self.all() {
            self.close(link, out);
        }
        self.turn_waiting_away(out);
    }

    /// Something came over a link; whether there is one, and from the leader.
    pub(super) fn heard(&mut self, link: Link, elapsed_ms: u64) -> Option<bool> {
        let open = self.open.get_mut(&link)?;
        open.heard_ms = elapsed_ms;
        Some(open.learner.is_none())
    }

    /// The learner at the other end has said who it is.
    pub(super) fn name(&mut self, link: Link, sid: ServerId) {
        if let Some(open) = self.open.get_mut(&link) {
            open.sid = Some(sid);
        }
    }

    /// Who is at the other end.
    pub(super) fn sid(&self, link: Link) -> Option<ServerId> {
        self.open.get(&link)?.sid
    }

    /// Whether a learner with this id is linked.
    pub(super) fn is_led(&self, sid: ServerId) -> bool {
        self.open.values().any(|open| open.sid == Some(sid))
    }

    /// The link that has this id.
    fn holder(&self, sid: ServerId, peer: &Peer, now_ms: u64) -> Option<(Link, Holder<IpAddr>)> {
        let has_it = |(_, open): &(&Link, &Open)| open.sid == Some(sid);
        let (link, open) = self.open.iter().find(has_it)?;
        let (from, expected) = open.learner?;
        let progress = if peer.has_active_learner(*link) {
            Progress::Follows
        } else if peer.synchronizes(*link) {
            Progress::Synchronizes
        } else {
            Progress::Claims
        };
        let silent_ms = now_ms.saturating_sub(open.heard_ms);
        let holder = Holder {
            from,
            expected,
            progress,
            silent_ms,
        };
        Some((*link, holder))
    }

    /// A learner waits for its turn; whose connection it takes is closed.
    ///
    /// # Errors
    /// [`Turned`]: it is closed itself.
    pub(super) fn join(
        &mut self,
        sid: ServerId,
        claim: Claimant<Claiming, IpAddr>,
        peer: &Peer,
        (now_ms, tick_ms): (u64, u64),
        out: &mut Outputs,
    ) -> Result<(), Turned> {
        let holder = self.holder(sid, peer, now_ms).map(|(_, holder)| holder);
        let line = self.lines.entry(sid).or_default();
        match line.join(claim, holder.as_ref(), tick_ms) {
            Ok(None) => Ok(()),
            Ok(Some(older)) => {
                out.links.push(LinkAct::Close(older.link));
                Ok(())
            }
            Err((conn, turned)) => {
                out.links.push(LinkAct::Close(conn.link));
                Err(turned)
            }
        }
    }

    /// A harness's learner waits until this server sees that it leads.
    pub(super) fn keep_nameless(&mut self, link: Link) {
        self.nameless.push(link);
    }

    /// Those come back, now that it does.
    pub(super) fn take_nameless(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.nameless)
    }

    /// Whether learners wait for their turn.
    pub(super) fn has_waiting(&self) -> bool {
        !self.lines.is_empty()
    }

    /// A learner that has its turn now, and the link whose place it takes.
    pub(super) fn next_in(
        &mut self,
        peer: &Peer,
        (now_ms, tick_ms): (u64, u64),
    ) -> Option<(Option<Link>, Claimant<Claiming, IpAddr>)> {
        let sids: Vec<ServerId> = self.lines.keys().copied().collect();
        for sid in sids {
            let held = self.holder(sid, peer, now_ms);
            let holder = held.as_ref().map(|(_, holder)| holder);
            let line = self.lines.get_mut(&sid)?;
            if let Some(claim) = line.next(holder, tick_ms) {
                return Some((held.map(|(link, _)| link), claim));
            }
            if line.iter().next().is_none() {
                self.lines.remove(&sid);
            }
        }
        None
    }

    /// A link that waited has ended.
    pub(super) fn stops_waiting(&mut self, link: Link) {
        self.nameless.retain(|l| *l != link);
        self.lines
            .values_mut()
            .for_each(|line| line.keep(|claim| claim.conn.link != link));
    }

    /// Whoever waits has come to the wrong server.
    pub(super) fn turn_waiting_away(&mut self, out: &mut Outputs) {
        let lines = std::mem::take(&mut self.lines);
        let claims = lines.into_values().flat_map(|mut line| {
            let away: Vec<_> = line.end().map(|claim| claim.link).collect();
            away
        });
        let nameless = std::mem::take(&mut self.nameless);
        out.links.extend(claims.chain(nameless).map(LinkAct::Close));
    }

    pub(super) fn keep_tree(&mut self, tree: Box<Tree>, lists: Option<Box<Lists>>) {
        self.tree = Some((tree, lists));
    }

    pub(super) fn take_tree(&mut self) -> Option<(Box<Tree>, Option<Box<Lists>>)> {
        self.tree.take()
    }

    /// Appends to the packets of a link.
    fn write(&mut self, link: Link, out: &mut Outputs, write: impl FnOnce(&mut BytesMut)) {
        if let Some(packets) = room(&mut self.open, &mut self.dirty, link, out) {
            write(packets);
        }
    }

    /// Appends something that is not packets, behind those that wait.
    fn push(&mut self, link: Link, item: Item, out: &mut Outputs) {
        let Some(open) = self.open.get_mut(&link) else {
            return;
        };
        if !open.packets.is_empty() {
            let before = std::mem::take(&mut open.packets);
            out.links.push(LinkAct::Send(link, Item::Packets(before)));
        }
        out.links.push(LinkAct::Send(link, item));
    }

    pub(super) fn put(&mut self, link: Link, packet: &Packet<Payload>, out: &mut Outputs) {
        if let Some(packets) = room(&mut self.open, &mut self.dirty, link, out) {
            put_core(packet, &self.members_text, self.me, packets);
        }
    }

    pub(super) fn put_ping(
        &mut self,
        link: Link,
        zxid: Zxid,
        table: &[(SessionId, i32)],
        out: &mut Outputs,
    ) {
        let table = if has(Mutant::PingWithoutSessions) {
            &[]
        } else {
            table
        };
        let table = encode_session_table(table.iter().copied());
        self.write(link, out, |bytes| {
            put_packet(PacketKind::Ping, zxid, Some(&table), None, bytes);
        });
    }

    pub(super) fn put_history(
        &mut self,
        window: &Window,
        link: Link,
        (after, upto): (Zxid, Zxid),
        committed: bool,
        out: &mut Outputs,
    ) {
        let after = if has(Mutant::HistoryOneShort) && after < upto {
            Zxid(after.0 + 1)
        } else {
            after
        };
        let from_files = window.after().min(upto);
        if after < from_files {
            let item = Item::History {
                after,
                upto: from_files,
                committed,
            };
            if has(Mutant::LiveOvertakesHistory) {
                out.links.push(LinkAct::Send(link, item));
            } else {
                self.push(link, item, out);
            }
        }
        for payload in window.range(after.max(window.after()), upto) {
            self.write(link, out, |bytes| {
                put_history(payload.header.zxid, &payload.bytes, committed, bytes);
            });
        }
    }

    /// Sends a transaction that has just been committed: it waited in the window until now.
    pub(super) fn put_inform(
        &mut self,
        window: &Window,
        link: Link,
        zxid: Zxid,
        out: &mut Outputs,
    ) {
        let before = Zxid(zxid.0.saturating_sub(1));
        if let Some(payload) = window.range(before, zxid).next() {
            let me = self.me;
            self.write(link, out, |bytes| put_inform(payload, me, bytes));
        }
    }

    /// Sends the tree as of `zxid`, with the lists of members as of it if they have ever changed: a ZooKeeper learner passes them over.
    pub(super) fn put_tree(&mut self, link: Link, zxid: Zxid, image: Image, out: &mut Outputs) {
        let mut lists = Lists::clone(&self.lists);
        lists.truncate(zxid);
        let has_changed = lists.newest().version > Zxid::ZERO;
        let text = has_changed.then(|| lists.text());
        self.write(link, out, |bytes| {
            let data = text.as_deref().map(str::as_bytes);
            put_packet(PacketKind::Snap, zxid, data, None, bytes);
        });
        self.push(link, Item::Tree(Box::new(image)), out);
    }

    /// A learner is up to date: from now on it may be silent for so long, and so much may wait for it.
    pub(super) fn is_up_to_date(
        &self,
        link: Link,
        silence_ms: u64,
        bytes_max: usize,
        out: &mut Outputs,
    ) {
        if self.open.contains_key(&link) {
            out.links.push(LinkAct::Silence(link, silence_ms));
            out.links.push(LinkAct::Bound(link, bytes_max));
        }
    }

    /// The link to the leader.
    pub(super) fn leader(&self) -> Option<Link> {
        let (link, _) = self.open.iter().find(|(_, open)| open.learner.is_none())?;
        Some(*link)
    }

    pub(super) fn set_leader_silence(&self, ms: u64, out: &mut Outputs) {
        if let Some(link) = self.leader() {
            out.links.push(LinkAct::Silence(link, ms));
        }
    }

    /// A sync of a learner's client: answered now, or behind a COMMIT.
    pub(super) fn sync(
        &mut self,
        link: Link,
        last_logged: Zxid,
        delivered: Zxid,
        out: &mut Outputs,
    ) {
        let Some(open) = self.open.get_mut(&link) else {
            return;
        };
        if open.syncs.asked(last_logged, delivered) {
            self.put_sync(link, out);
        }
    }

    /// The COMMIT of `zxid` was written to `link`: so are the answers to the syncs that waited for it.
    pub(super) fn answer_syncs(&mut self, link: Link, zxid: Zxid, out: &mut Outputs) {
        let Some(open) = self.open.get_mut(&link) else {
            return;
        };
        for _ in 0..open.syncs.committed(zxid) {
            self.put_sync(link, out);
        }
    }

    fn put_sync(&mut self, link: Link, out: &mut Outputs) {
        self.write(link, out, |bytes| {
            put_packet(PacketKind::Sync, Zxid::ZERO, None, None, bytes);
        });
    }

    /// Asks the leader whether a session may go on here.
    pub(super) fn ask_revalidate(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Outputs,
    ) {
        if let Some(link) = self.leader() {
            let data = encode_revalidate(session, timeout_ms);
            self.write(link, out, |bytes| {
                put_packet(PacketKind::Revalidate, NO_ZXID, Some(&data), None, bytes);
            });
        }
    }

    pub(super) fn answer_revalidate(
        &mut self,
        link: Link,
        session: SessionId,
        valid: bool,
        out: &mut Outputs,
    ) {
        let data = encode_revalidated(session, valid);
        self.write(link, out, |bytes| {
            put_packet(PacketKind::Revalidate, NO_ZXID, Some(&data), None, bytes);
        });
    }

    /// Forwards a request; false if there is no leader.
    pub(super) fn forward(
        &mut self,
        request: &ForwardedRequest,
        ids: Option<&[Id]>,
        out: &mut Outputs,
    ) -> bool {
        let Some(link) = self.leader() else {
            return false;
        };
        self.write(link, out, |bytes| request.put(ids, bytes));
        true
    }

    /// Hands everything over.
    pub(super) fn flush(&mut self, out: &mut Outputs) {
        for link in self.dirty.drain(..) {
            if let Some(open) = self.open.get_mut(&link)
                && !open.packets.is_empty()
            {
                let packets = std::mem::take(&mut open.packets);
                out.links.push(LinkAct::Send(link, Item::Packets(packets)));
            }
        }
    }
}

/// Where the next packets of a link are written.
fn room<'a>(
    open: &'a mut BTreeMap<Link, Open>,
    dirty: &mut Vec<Link>,
    link: Link,
    out: &mut Outputs,
) -> Option<&'a mut BytesMut> {
    let packets = &mut open.get_mut(&link)?.packets;
    if packets.len() >= PACKETS_BYTES {
        let full = std::mem::take(packets);
        out.links.push(LinkAct::Send(link, Item::Packets(full)));
    }
    if packets.is_empty() {
        if packets.capacity() == 0 {
            *packets = out.spare.pop().unwrap_or_default();
        }
        dirty.push(link);
    }
    Some(packets)
}
