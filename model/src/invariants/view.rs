//! What the invariants see of a cluster: its servers, what they are doing, and the connections between them.

use super::past::Past;
use crate::election::Ballots;
use crate::ensemble::Ensemble;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::leader::Phase;
use crate::learner::FollowingStage;
use crate::peer::{Peer, Role};
use crate::vote::{ServerState, Vote};
use alloc::vec::Vec;

/// A cluster, as somebody sees it who can look into every server.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its servers, up or down, each once.
    pub servers: &'a [&'a Server],
    /// What each of them is doing, in the same order.
    pub conducts: &'a [Conduct<'a>],
    /// The connections between leaders and learners that stand or that one end still holds.
    pub links: &'a [Connection],
    /// What was observed so far.
    pub past: &'a Past,
}

/// What a server holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Who.
    pub id: ServerId,
    /// Whether it is one without a vote.
    pub observer: bool,
    /// The epoch that it serves, with what it has applied.
    pub serving: Option<(Epoch, Vec<Zxid>)>,
    /// The epoch that it is a participant of, after NEWLEADER, with its history, pending writes included.
    pub participant: Option<(Epoch, Vec<Zxid>)>,
    /// The epoch that it leads, past discovery.
    pub primary: Option<Epoch>,
    /// What was synced to its disk.
    pub kept: Kept,
    /// The configuration that it takes for committed, by its version.
    pub active: Zxid,
}

/// What is on a server's disk, whether the server is up or down: what was synced, not what a page cache holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// currentEpoch.
    pub current: Epoch,
    /// Every transaction, those in the snapshot first.
    pub history: Vec<Zxid>,
    /// The configurations that it binds its server to.
    pub binds: Ensemble,
    /// Whether the server can start, whatever prefix of the writes that were not synced survives.
    pub boots: bool,
}

impl Server {
    /// What this server holds. `peer` is the running one; `applied` is in its tree; `asked` tells every transaction of
    /// its history, pending writes included.
    #[must_use]
    pub fn of(
        id: ServerId,
        observer: bool,
        peer: Option<&Peer>,
        applied: &[Zxid],
        asked: impl FnOnce() -> Vec<Zxid>,
        kept: Kept,
    ) -> Self {
        let epoch = match peer.map(|p| &p.role) {
            Some(Role::Following(f)) if f.stage >= FollowingStage::AwaitUpToDate => Some(f.epoch),
            Some(Role::Leading(l)) if l.phase >= Phase::WritingEpoch => Some(l.epoch),
            _ => None,
        };
        Self {
            id,
            observer,
            serving: peer
                .and_then(Peer::serving)
                .map(|epoch| (epoch, applied.to_vec())),
            participant: epoch.map(|epoch| (epoch, asked())),
            primary: peer.and_then(Peer::primary),
            kept,
            active: peer.map_or(Zxid::ZERO, |p| p.ensemble().active().version),
        }
    }
}

/// What a server is doing with others.
#[derive(Clone, Copy, Debug)]
pub struct Conduct<'a> {
    /// The acceptedEpoch on its disk, whether it is up or down.
    pub accepted: Epoch,
    /// The epoch that it has told others to have accepted, in its present role: by LEADERINFO or ACKEPOCH.
    pub promised: Epoch,
    /// The epoch whose NEWLEADER it has acknowledged, in its present role.
    pub joined: Epoch,
    /// The last transaction that it has applied.
    pub applied: Zxid,
    /// The last transaction in its log, pending ones included.
    pub logged: Zxid,
    /// Whether no write is on the way to its disk.
    pub quiet: bool,
    /// Its role.
    pub doing: Doing<'a>,
}

/// A server's role, as far as invariants ask for it.
#[derive(Clone, Copy, Debug)]
pub enum Doing<'a> {
    /// It is down.
    Down,
    /// It has given up its role, and waits for its disk.
    Draining,
    /// It is in an election.
    Looking {
        /// The newest votes of those who are not.
        settled: &'a Ballots,
        /// The configurations that bind it.
        ensemble: &'a Ensemble,
    },
    /// It leads.
    Leading {
        /// The vote that it reports.
        vote: Vote,
        /// The epoch that it serves: that of a formed quorum.
        serves: Option<Epoch>,
        /// What it has committed.
        committed: Zxid,
        /// Whether proposals wait for their acknowledgements.
        waits: bool,
        /// The configurations that bind it.
        ensemble: &'a Ensemble,
    },
    /// It follows or observes.
    Following {
        /// The vote that it reports.
        vote: Vote,
        /// Whether it has no vote.
        observer: bool,
        /// The epoch that it serves.
        serves: Option<Epoch>,
        /// The connection to its leader, by its number.
        link: Option<u64>,
        /// What it was told to be committed.
        committed: Zxid,
    },
}

impl<'a> Conduct<'a> {
    /// That of a server that is down.
    #[must_use]
    pub const fn down(accepted: Epoch) -> Self {
        Self {
            accepted,
            promised: Epoch(0),
            joined: Epoch(0),
            applied: Zxid::ZERO,
            logged: Zxid::ZERO,
            quiet: true,
            doing: Doing::Down,
        }
    }

    /// That of a running server.
    #[must_use]
    #[inline]
    pub fn of(peer: &'a Peer, accepted: Epoch, applied: Zxid, quiet: bool) -> Self {
        let serves = peer.serving();
        let (epoch, has_promised, has_joined) = match &peer.role {
            Role::Leading(l) => (
                l.epoch,
                l.phase >= Phase::AwaitEpochAcks,
                l.phase >= Phase::AwaitNewLeaderAcks,
            ),
            Role::Following(f) => (
                f.epoch,
                f.stage >= FollowingStage::AwaitSync,
                f.stage >= FollowingStage::AwaitUpToDate,
            ),
            Role::Draining { .. } | Role::Looking(_) => (Epoch(0), false, false),
        };
        let told = |is: bool| if is { epoch } else { Epoch(0) };
        Self {
            accepted,
            promised: told(has_promised),
            joined: told(has_joined),
            applied,
            logged: peer.last_logged(),
            quiet,
            doing: match &peer.role {
                Role::Draining { .. } => Doing::Draining,
                Role::Looking(l) => Doing::Looking {
                    settled: &l.settled,
                    ensemble: peer.ensemble(),
                },
                Role::Leading(l) => Doing::Leading {
                    vote: l.vote,
                    serves,
                    committed: l.committed,
                    waits: !l.outstanding.is_empty(),
                    ensemble: peer.ensemble(),
                },
                Role::Following(f) => Doing::Following {
                    vote: f.vote,
                    observer: f.observer,
                    serves,
                    link: f.link.map(|link| link.0),
                    committed: f.committed,
                },
            },
        }
    }

    /// What it is doing, as it tells others; nothing while it is down.
    #[must_use]
    pub const fn state(&self) -> Option<ServerState> {
        Some(match self.doing {
            Doing::Down => return None,
            Doing::Draining | Doing::Looking { .. } => ServerState::Looking,
            Doing::Leading { .. } => ServerState::Leading,
            Doing::Following { observer: true, .. } => ServerState::Observing,
            Doing::Following { .. } => ServerState::Following,
        })
    }
}

/// A connection between a leader and a learner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its number; the learner knows it by this.
    pub id: u64,
    /// The leader's end, as a place in [`View::servers`].
    pub leader: usize,
    /// The learner's end.
    pub learner: usize,
    /// Whether it stands, and both ends hold it.
    pub live: bool,
    /// Whether nothing is on the way to the leader.
    pub leader_heard_all: bool,
    /// Whether nothing is on the way to the learner.
    pub learner_heard_all: bool,
}
