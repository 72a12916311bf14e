//! A link between a learner and its leader as bytes: packets to what they say, and back. No socket is in here, so that the server
//! and a simulator share it.
//!
//! [`Reader`] takes what has come in pieces of any size. Behind SNAP a whole tree comes before the next packet; it is read with the
//! rest and given as one thing that was said.

use super::cursor::WireError;
use super::payload::{Logged, Payload};
use super::quorum::{
    self as wire, ForwardedRequest, LearnerInfo, PacketKind, Parser, QuorumPacket,
};
use super::snapshot::body::{BadBody, BodyDecoder};
use super::snapshot::tree::TreeSink;
use crate::mutants::{Mutant, has};
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;
use zabra_model::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::members::Lists;
use zabra_model::service::membership::Claim;
use zabra_model::tree::acl::Id;
use zabra_model::tree::node::Tree;
use zabra_model::tree::restore::RestoreError;

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
    /// SNAP, the tree that came behind it, and the lists of members as of it, if the leader says them: one of ZooKeeper's does not, nor
    /// one whose members have never changed.
    Snapshot(Zxid, Box<Tree>, Option<Box<Lists>>),
    /// COMMITANDACTIVATE or INFORMANDACTIVATE, as COMMITANDACTIVATE and INFORM of the core, and who is to lead from now on.
    Activated(Packet<Payload>, ServerId),
}

/// What a learner says first, and it may say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who it is.
    pub claim: Claim,
    /// The epoch that it has accepted.
    pub accepted: Epoch,
    /// The version of the list of members that it goes by, zero if it says none.
    pub members: Zxid,
}

impl Hello {
    /// As the core hears it.
    #[must_use]
    pub const fn packet(self) -> Packet<Payload> {
        let (sid, accepted) = (self.claim.sid, self.accepted);
        if self.claim.observer {
            Packet::ObserverInfo { sid, accepted }
        } else {
            Packet::FollowerInfo { sid, accepted }
        }
    }
}

/// Why nothing that follows on a link can be understood: it ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misheard {
    /// No packet, or one that says nothing.
    #[error(transparent)]
    Packet(#[from] WireError),
    /// A packet that the other end does not say.
    #[error("{0:?} is not for this end of a connection")]
    Misdirected(PacketKind),
    /// What follows SNAP is no tree.
    #[error(transparent)]
    Tree(#[from] BadBody),
    /// What SNAP says of the members is no list.
    #[error("SNAP with lists of members that cannot be read: {0}")]
    Members(String),
    /// What follows SNAP is a tree that lacks something.
    #[error(transparent)]
    NoTree(#[from] RestoreError),
}

/// The tree behind SNAP, as far as it has come.
struct Growing {
    zxid: Zxid,
    lists: Option<Box<Lists>>,
    decoder: BodyDecoder,
    sink: TreeSink,
}

/// Takes what the other end of a link says out of its bytes.
pub struct Reader {
    from_learner: bool,
    parser: Parser,
    tree: Option<Box<Growing>>,
}

impl Reader {
    /// At the beginning of a link; `from_learner` says which of the two speaks, and a packet has at most so much data.
    #[must_use]
    pub fn new(from_learner: bool, data_bytes_max: usize) -> Self {
        Self {
            from_learner,
            parser: Parser::new(data_bytes_max),
            tree: None,
        }
    }

    /// The next thing that was said, if `buf` holds the end of it: if not, call again with more bytes behind what is left there.
    ///
    /// # Errors
    /// [`Misheard`]: there is no further call.
    pub fn take(&mut self, buf: &mut BytesMut) -> Result<Option<Heard>, Misheard> {
        if self.tree.is_some() {
            return self.grow(buf);
        }
        let Some(packet) = self.parser.take(buf)? else {
            return Ok(None);
        };
        if !is_said_by(self.from_learner, packet.kind) {
            return Err(Misheard::Misdirected(packet.kind));
        }
        if packet.kind == PacketKind::Snap {
            let lists = match wire::decode_config(packet.data.as_ref())? {
                Some(text) if !text.is_empty() => {
                    let lists = Lists::parse(text).map_err(Misheard::Members)?;
                    Some(Box::new(lists))
                }
                _ => None,
            };
            self.tree = Some(Box::new(Growing {
                zxid: packet.zxid,
                lists,
                decoder: BodyDecoder::of_stream(),
                sink: TreeSink::new(),
            }));
            return self.grow(buf);
        }
        Ok(Some(understood(packet)?))
    }

    fn grow(&mut self, buf: &mut BytesMut) -> Result<Option<Heard>, Misheard> {
        let Some(growing) = &mut self.tree else {
            return Ok(None);
        };
        let taken = growing.decoder.feed(buf, &mut growing.sink)?;
        buf.advance(taken);
        if !growing.decoder.is_done() {
            return Ok(None);
        }
        let Some(grown) = self.tree.take() else {
            return Ok(None);
        };
        let tree = grown.sink.finish(grown.zxid)?;
        Ok(Some(Heard::Snapshot(
            grown.zxid,
            Box::new(tree),
            grown.lists,
        )))
    }
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
    let version = LearnerInfo::decode(packet.data.as_ref()).config_version;
    Ok(match understood(packet)? {
        Heard::Core(packet) => hello_of(&packet).map(|hello| Hello {
            members: Zxid(version.unwrap_or(0)),
            ..hello
        }),
        _ => None,
    })
}

/// Who says so, if it is what a learner says first; of its list of members the core is told nothing.
#[must_use]
pub const fn hello_of(packet: &Packet<Payload>) -> Option<Hello> {
    let (sid, accepted, observer) = match packet {
        Packet::FollowerInfo { sid, accepted } => (*sid, *accepted, false),
        Packet::ObserverInfo { sid, accepted } => (*sid, *accepted, true),
        _ => return None,
    };
    let claim = Claim { sid, observer };
    Some(Hello {
        claim,
        accepted,
        members: Zxid::ZERO,
    })
}

/// The transaction of a proposal, or of what is like one.
fn carried(zxid: Zxid, payload: Bytes) -> Result<Payload, WireError> {
    let txn = Logged::decode(payload)?;
    let wrong = |what| WireError::Unknown {
        what,
        offset: 0,
        value: zxid.0.cast_signed(),
    };
    if txn.header.zxid != zxid {
        return Err(wrong("zxid of a proposal that is not its transaction's"));
    }
    if txn.is_unreadable_list() {
        return Err(wrong("list of members of a reconfiguration"));
    }
    Ok(Arc::new(txn))
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
            // Older protocols have no epochs.
            if info.protocol_version < wire::PROTOCOL_VERSION {
                return Err(unknown("protocol version of a learner"));
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
        PacketKind::Proposal => {
            let txn = carried(zxid, packet.data.unwrap_or_default())?;
            Packet::Proposal { zxid, txn }
        }
        PacketKind::Inform => {
            let txn = carried(zxid, packet.data.unwrap_or_default())?;
            Packet::Inform { zxid, txn }
        }
        PacketKind::InformAndActivate => {
            let (designated, payload) = wire::decode_designated(data)?;
            let txn = carried(zxid, payload)?;
            return Ok(Heard::Activated(Packet::Inform { zxid, txn }, designated));
        }
        PacketKind::Commit => Packet::Commit { zxid },
        PacketKind::CommitAndActivate => {
            let (designated, _) = wire::decode_designated(data)?;
            let packet = Packet::CommitAndActivate { zxid };
            return Ok(Heard::Activated(packet, designated));
        }
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
        PacketKind::Snap | PacketKind::Unknown(_) => return Err(unknown("packet type")),
    }))
}

/// Appends a packet of the core. SNAP and a follower's PING carry more than the core knows and are not written here.
pub fn put_core(packet: &Packet<Payload>, members_text: &str, me: ServerId, out: &mut BytesMut) {
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
        // It designates itself: where it loses its vote, its links end and an election follows (D-19).
        Packet::CommitAndActivate { zxid } => {
            let designated = Some(wire::encode_designated(me));
            (PacketKind::CommitAndActivate, *zxid, designated)
        }
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

/// Appends a committed transaction for an observer, from the leader `me`.
pub fn put_inform(payload: &Logged, me: ServerId, out: &mut BytesMut) {
    let zxid = payload.header.zxid;
    if payload.members.is_some() {
        let data = wire::encode_inform_and_activate(me, &payload.bytes);
        wire::put_packet(PacketKind::InformAndActivate, zxid, Some(&data), None, out);
    } else {
        wire::put_packet(PacketKind::Inform, zxid, Some(&payload.bytes), None, out);
    }
}

/// Appends one entry of the history, as [`zabra_model::step::Effect::SendHistory`] asks.
pub fn put_history(zxid: Zxid, payload: &[u8], committed: bool, out: &mut BytesMut) {
    wire::put_packet(PacketKind::Proposal, zxid, Some(payload), None, out);
    if has(Mutant::DiffDamaged)
        && payload.len() > 60
        // Behind the payload are four bytes, and its last four are a version: before them is what a client has written.
        && let Some(at) = out.len().checked_sub(12)
    {
        out[at] ^= 1;
    }
    if committed {
        wire::put_packet(PacketKind::Commit, zxid, None, None, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::snapshot::tree::TreeStream;

    /// LEADERINFO, a SNAP of a tree and NEWLEADER behind it.
    fn said() -> BytesMut {
        let mut out = BytesMut::new();
        put_core(
            &Packet::LeaderInfo { epoch: Epoch(3) },
            "",
            ServerId(1),
            &mut out,
        );
        wire::put_packet(PacketKind::Snap, Zxid(9), None, None, &mut out);
        let (image, mut body) = (Tree::new().image(), Vec::new());
        let mut stream = TreeStream::begin(&image, &mut body);
        while stream.fill(16, &mut body).unwrap() {
            out.extend_from_slice(&body);
            body.clear();
        }
        out.extend_from_slice(&body);
        put_core(
            &Packet::NewLeader { epoch: Epoch(3) },
            "",
            ServerId(1),
            &mut out,
        );
        out
    }

    #[test]
    fn what_comes_in_pieces_is_heard_as_soon_as_its_last_byte_is_there() {
        let whole = said();
        for size in [1, 7, 64, whole.len()] {
            let (mut reader, mut buf) = (Reader::new(false, 1 << 20), BytesMut::new());
            let mut heard = Vec::new();
            for piece in whole.chunks(size) {
                buf.extend_from_slice(piece);
                while let Some(said) = reader.take(&mut buf).unwrap() {
                    heard.push(said);
                }
            }
            assert!(buf.is_empty(), "{size}");
            let [
                Heard::Core(Packet::LeaderInfo { epoch: Epoch(3) }),
                Heard::Snapshot(Zxid(9), tree, None),
                Heard::Core(Packet::NewLeader { epoch: Epoch(3) }),
            ] = &heard[..]
            else {
                panic!("{size}: {} things were heard", heard.len())
            };
            assert_eq!(tree.len(), Tree::new().len());
        }
    }

    #[test]
    fn a_learner_that_speaks_as_a_leader_is_not_listened_to() {
        let refused = Reader::new(true, 1 << 20).take(&mut said()).err();
        assert_eq!(refused, Some(Misheard::Misdirected(PacketKind::LeaderInfo)));
    }

    /// C-24: what a peer may send follows `jute.maxbuffer`, and a longer packet is refused at its length.
    #[test]
    fn c_24_a_packet_may_be_as_long_as_the_reader_was_told() {
        let request = |bytes: usize| {
            let mut out = BytesMut::new();
            let data = vec![0; bytes];
            wire::put_packet(PacketKind::Revalidate, Zxid(0), Some(&data), None, &mut out);
            out
        };
        let mut large = Reader::new(true, 3_000_000);
        assert!(matches!(
            large.take(&mut request(3_000_000)),
            Ok(Some(Heard::Revalidate(data))) if data.len() == 3_000_000
        ));
        let mut begin = request(3_000_001).split_to(16);
        assert!(matches!(large.take(&mut begin), Err(Misheard::Packet(_))));
    }
}
