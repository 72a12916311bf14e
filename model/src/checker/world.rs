//! What does not change while a configuration is explored: its surroundings, and every distinct part of a cluster seen
//! so far, each under a number.

use super::arena::{Arena, Bytes};
use super::bounds::{Bounds, Disk, Grain};
use super::canon;
use super::link::{Frame, Wire};
use super::memo::Out;
use super::node::{Node, Outward};
use super::parts::{Mailbox, sid};
use super::txn::{self, Listed};
use crate::ensemble::Ensemble;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::invariants::{Kept, Observation, Past, Server};
use crate::quorum::{Group, Voters, VotersError};
use crate::step::{Env, SyncLimits};
use crate::switch::Switches;
use crate::vote::Notification;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::quality::FixedState;

/// What does not change while a configuration is explored, and every distinct part seen so far.
#[derive(Debug)]
pub struct World {
    /// The configuration.
    pub bounds: Bounds,
    /// What each server knows of its surroundings.
    pub envs: Vec<Env>,
    /// Who votes to begin with, and by which rule.
    pub voters: Voters,
    /// Servers, each with the number of its view.
    pub nodes: Arena<(Node, u32)>,
    /// What the invariants see of a server.
    pub views: Arena<Server>,
    /// Connections.
    pub wires: Arena<Wire>,
    /// Mailboxes.
    pub mail: Arena<Mailbox>,
    /// What was observed.
    pub pasts: Arena<Past>,
    /// Packets.
    pub frames: Arena<Frame>,
    /// Votes.
    pub notes: Arena<Notification>,
    /// Single observations.
    pub observations: Arena<Observation>,
    /// Every way to rename the servers, where the configuration is symmetric.
    pub(super) renamings: Vec<Vec<u8>>,
    pub(super) hashes: Hashes,
}

/// What a cluster counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Equal for clusters that are the same, and, where the configuration is symmetric, for those that differ only
    /// in the servers' names.
    pub fingerprint: u128,
    /// How many clusters it stands for: 1, or as many as different renamings make of it.
    pub orbit: u8,
}

/// 128 bits by two hashes of 64.
#[derive(Clone, Debug)]
pub(super) struct Hashes {
    low: FixedState,
    high: FixedState,
}

impl Hashes {
    pub(super) fn hash<T: core::hash::Hash + ?Sized>(&self, value: &T) -> u128 {
        u128::from(self.low.hash_one(value)) | u128::from(self.high.hash_one(value)) << 64
    }
}

/// Every order of `n` names.
fn renamings(n: u8) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new()];
    for name in 0..n {
        let longer = |order: &Vec<u8>| {
            let order = order.clone();
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, name);
                longer
            })
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// The rule by which the voters of a configuration decide.
fn voters(bounds: &Bounds, ids: &[ServerId]) -> Result<Voters, VotersError> {
    let sid = |server: u8| ServerId(u64::from(server));
    let group = |(number, group): (u64, &&[(u8, u8)])| Group {
        number,
        members: group.iter().map(|(server, _)| sid(*server)).collect(),
    };
    let groups: Vec<Group> = (1..).zip(bounds.groups).map(group).collect();
    let weights = bounds.groups.iter().flat_map(|g| g.iter());
    let weights = weights.map(|(server, w)| (sid(*server), u32::from(*w)));
    Voters::hierarchical(ids, &groups, &weights.collect())
}

impl World {
    /// The surroundings of a configuration.
    ///
    /// # Panics
    /// If the configuration's servers cannot be an ensemble, or if it is called symmetric and is not: with real
    /// elections, with observers or with more than three servers.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        assert!(
            !bounds.symmetric
                || bounds.grain == Grain::E0
                    && bounds.n() == usize::from(bounds.servers)
                    && bounds.n() <= 3
                    && bounds.reconfigs == 0,
            "{}: not symmetric",
            bounds.name
        );
        assert!(
            !bounds.page_cache || bounds.disk == Disk::Fine,
            "{}: within a step nothing is between written and synced",
            bounds.name
        );
        let spent = [
            bounds.crashes,
            bounds.disconnects,
            bounds.txns,
            bounds.snapshots,
            bounds.reconfigs,
        ];
        assert!(
            spent.iter().all(|n| *n < 16),
            "{}: a budget is larger than its encoding",
            bounds.name
        );
        let ids = (1..=bounds.n() as u64).map(ServerId);
        let first: Vec<ServerId> = ids.clone().take(usize::from(bounds.servers)).collect();
        let voters = voters(&bounds, &first).unwrap_or_else(|e| panic!("{}: {e}", bounds.name));
        let observers = u64::from(bounds.servers + bounds.joiners);
        let envs = ids
            .map(|me| Env {
                me,
                observer: me.0 > observers,
                switches: bounds.switch.map_or_else(Switches::default, Switches::with),
                epoch_max: Epoch(u32::from(bounds.epochs)),
                counter_max: bounds.counter_max,
                ack_ticks_max: 0,
                sync: SyncLimits {
                    reach: Zxid::new(Epoch(bounds.reach.0), bounds.reach.1),
                    ..SyncLimits::NONE
                },
            })
            .collect();
        Self {
            bounds,
            envs,
            voters,
            nodes: Arena::default(),
            views: Arena::default(),
            wires: Arena::default(),
            mail: Arena::default(),
            pasts: Arena::default(),
            frames: Arena::default(),
            notes: Arena::default(),
            observations: Arena::default(),
            renamings: if bounds.symmetric {
                renamings(bounds.servers)
            } else {
                Vec::new()
            },
            hashes: Hashes {
                low: FixedState::with_seed(1),
                high: FixedState::with_seed(2),
            },
        }
    }

    pub(super) fn switches(&self) -> Switches {
        self.bounds
            .switch
            .map_or_else(Switches::default, Switches::with)
    }

    pub(super) fn n(&self) -> usize {
        self.envs.len()
    }

    /// The hash of a part under each renaming of the servers.
    fn orbit(&self, canon: impl Fn(&mut Bytes)) -> Box<[u128]> {
        let hash = |names: &Vec<u8>| {
            let mut bytes = Bytes::with_names(names);
            canon(&mut bytes);
            self.hashes.hash(&bytes[..])
        };
        self.renamings.iter().map(hash).collect()
    }

    /// What a disk with these configurations binds a server to. Groups do not change.
    pub(super) fn ensemble(&self, active: Listed, in_history: &[Listed]) -> Ensemble {
        if self.bounds.groups.is_empty() {
            txn::ensemble(active, in_history)
        } else {
            Ensemble::of(self.voters.clone())
        }
    }

    /// What the invariants see of a server.
    fn view_of(&self, node: &Node) -> Server {
        let image = &node.disk.image;
        let (active, next) = image.binds();
        let mut images = 0..=node.disk.unsynced();
        let kept = Kept {
            current: image.current,
            history: image.content(),
            binds: self.ensemble(active, next.as_slice()),
            boots: images.all(|kept| node.disk.image_with(kept).boot(self.switches()).is_ok()),
        };
        let asked = || node.disk.image_asked().content();
        let (id, observer) = (sid(node.at), self.envs[node.at].observer);
        Server::of(id, observer, node.peer.as_ref(), &node.tree, asked, kept)
    }

    pub(super) fn intern_node(&self, node: Node, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::node(&node, &self.bounds, bytes);
        let make = || {
            let view = self.view_of(&node);
            let mut bytes = Bytes::new();
            canon::view(&node, &view, &mut bytes);
            (node, self.views.intern(&bytes, || view))
        };
        self.nodes.intern_with_orbit(bytes, make, |(node, _)| {
            self.orbit(|out| canon::node(node, &self.bounds, out))
        })
    }

    pub(super) fn intern_wire(&self, wire: Wire, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::wire(&wire, bytes);
        self.wires.intern_with_orbit(
            bytes,
            || wire,
            |wire| self.orbit(|out| canon::wire(wire, out)),
        )
    }

    pub(super) fn intern_mail(&self, mail: Mailbox, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::mail(&mail, bytes);
        self.mail.intern(bytes, || mail)
    }

    pub(super) fn intern_past(&self, past: Past, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::past(&past, bytes);
        self.pasts.intern_with_orbit(
            bytes,
            || past,
            |past| self.orbit(|out| canon::past(past, out)),
        )
    }

    pub(super) fn intern_frame(&self, frame: Frame, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::frame(&frame, bytes);
        self.frames.intern(bytes, || frame)
    }

    pub(super) fn intern_note(&self, note: Notification, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::notification(&note, bytes);
        self.notes.intern(bytes, || note)
    }

    /// The number of what has left a server; nothing for what only people want to see.
    pub(super) fn intern_outward(&self, outward: &Outward, bytes: &mut Bytes) -> Option<Out> {
        let small = |n: u64| u8::try_from(n).unwrap_or_else(|_| panic!("a link beyond 255"));
        Some(match outward {
            Outward::Send { link, frame } => Out::Send {
                link: *link,
                frame: self.intern_frame(frame.clone(), bytes),
            },
            Outward::Unlink(link) => Out::Unlink(*link),
            Outward::Post { to, notification } => Out::Post {
                to: small(*to as u64),
                note: self.intern_note(*notification, bytes),
            },
            Outward::Seen(observation) => {
                Out::Seen(self.intern_observation(observation.clone(), bytes))
            }
            Outward::Queued(_) | Outward::Other(_) => return None,
        })
    }

    pub(super) fn intern_observation(&self, observation: Observation, bytes: &mut Bytes) -> u32 {
        bytes.clear();
        canon::observation(&observation, bytes);
        self.observations.intern(bytes, || observation)
    }
}
