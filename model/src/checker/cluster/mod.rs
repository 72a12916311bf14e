//! A whole cluster as one small value: numbers of interned servers, connections, mailboxes and of what was observed,
//! and the budgets that are spent.

mod events;
mod step;

use super::arena::Bytes;
use super::disk::Disk;
use super::link::Wire;
use super::node::Node;
use super::parts::{NONE, SERVERS_MAX, WIRES_MAX};
use crate::ids::Zxid;
use crate::invariants::Past;
use crate::peer::Role;
use alloc::vec;
use alloc::vec::Vec;

pub use super::log::{Done, Log};
pub use super::parts::Mailbox;
pub use super::world::{Identity, World};

/// The renamings of three servers: symmetric configurations have no more.
const SIX: usize = 6;

/// What was spent of a configuration's budgets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Spent {
    /// Crashes.
    pub crashes: u8,
    /// Broken connections.
    pub disconnects: u8,
    /// Transactions, reconfigurations aside.
    pub txns: u8,
    /// Snapshots taken while serving.
    pub snapshots: u8,
    /// Reconfigurations.
    pub reconfigs: u8,
}

/// The whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    servers: u8,
    wired: u8,
    /// What was spent.
    pub spent: Spent,
    past: u32,
    nodes: [u32; SERVERS_MAX],
    /// By the connection's id.
    wires: [u32; WIRES_MAX],
    /// By receiver.
    mail: [u32; SERVERS_MAX],
}

/// What a cluster is made of.
impl Cluster {
    /// Servers that are down, with these disks: what is on them was proposed before the exploration began.
    pub(super) fn down(world: &World, disks: Vec<Disk>) -> Self {
        assert!(
            world.n() <= SERVERS_MAX && disks.len() == world.n(),
            "a configuration is larger than its encoding"
        );
        let bytes = &mut Bytes::new();
        let mut proposed: Vec<Zxid> = disks.iter().flat_map(|d| d.image.content()).collect();
        proposed.sort_unstable();
        proposed.dedup();
        let past = Past {
            proposed,
            ..Past::default()
        };
        let empty = world.intern_mail(vec![Vec::new(); world.n()], bytes);
        let mut cluster = Self {
            servers: world.bounds.servers + world.bounds.joiners + world.bounds.observers,
            wired: 0,
            spent: Spent::default(),
            past: world.intern_past(past, bytes),
            nodes: [NONE; SERVERS_MAX],
            wires: [NONE; WIRES_MAX],
            mail: [empty; SERVERS_MAX],
        };
        for (i, mut disk) in disks.into_iter().enumerate() {
            disk.quirk.switches = world.switches();
            cluster.nodes[i] = world.intern_node(Node::down(i, disk), bytes);
        }
        cluster
    }

    /// How many servers there are.
    #[must_use]
    pub fn n(&self) -> usize {
        usize::from(self.servers)
    }

    /// A server.
    #[must_use]
    #[inline]
    pub fn node<'w>(&self, world: &'w World, i: usize) -> &'w Node {
        &world.nodes.get(self.nodes[i]).0
    }

    /// The servers, in order.
    pub fn nodes<'w>(&self, world: &'w World) -> impl Iterator<Item = &'w Node> + Clone {
        let ids = self.nodes;
        (0..self.n()).map(move |i| &world.nodes.get(ids[i]).0)
    }

    /// The role of a server, if it runs.
    #[inline]
    pub(super) fn role<'w>(&self, world: &'w World, i: usize) -> Option<&'w Role> {
        self.node(world, i).peer.as_ref().map(|p| &p.role)
    }

    /// The connections, by id.
    pub fn wires<'w>(&self, world: &'w World) -> impl Iterator<Item = &'w Wire> + Clone {
        let ids = self.wires;
        (0..usize::from(self.wired)).map(move |i| world.wires.get(ids[i]))
    }

    /// The connection of that id.
    #[must_use]
    pub fn wire<'w>(&self, world: &'w World, id: u64) -> Option<&'w Wire> {
        self.wires(world).find(|w| w.id == id)
    }

    /// The messages on the way to a server, by sender.
    #[must_use]
    pub fn mail<'w>(&self, world: &'w World, to: usize) -> &'w Mailbox {
        world.mail.get(self.mail[to])
    }

    /// What the observer remembers.
    #[must_use]
    pub fn past<'w>(&self, world: &'w World) -> &'w Past {
        world.pasts.get(self.past)
    }

    /// The numbers of the views of all servers and of what was observed: all that the invariants depend on.
    pub(super) fn seen(&self, world: &World) -> [u32; SERVERS_MAX + 1] {
        let mut key = [NONE; SERVERS_MAX + 1];
        key[SERVERS_MAX] = self.past;
        for (i, slot) in key.iter_mut().enumerate().take(self.n()) {
            *slot = world.nodes.get(self.nodes[i]).1;
        }
        key
    }

    /// What this cluster counts as; `words` are its packed ones.
    #[must_use]
    pub fn identity(&self, world: &World, words: &[u32]) -> Identity {
        if world.renamings.is_empty() {
            return Identity {
                fingerprint: world.hashes.hash(words),
                orbit: 1,
            };
        }
        // A cluster is the set of its parts, each of which knows its place: their sum is a hash of the set.
        let count = world.renamings.len().min(SIX);
        let mut sums = [world.hashes.hash(&self.spent); SIX];
        let mut add = |orbit: &[u128]| {
            for (sum, hash) in sums.iter_mut().zip(orbit) {
                *sum = sum.wrapping_add(*hash);
            }
        };
        add(world.pasts.orbit(self.past));
        self.nodes[..self.n()]
            .iter()
            .for_each(|id| add(world.nodes.orbit(*id)));
        self.wires[..usize::from(self.wired)]
            .iter()
            .for_each(|id| add(world.wires.orbit(*id)));
        let sums = &mut sums[..count];
        sums.sort_unstable();
        let orbit = 1 + sums.windows(2).filter(|w| w[0] != w[1]).count();
        Identity {
            fingerprint: sums[0],
            orbit: u8::try_from(orbit).unwrap_or(u8::MAX),
        }
    }

    /// Appends the words that tell this cluster from every other one of its world.
    pub fn pack(&self, mails: bool, out: &mut Vec<u32>) {
        let Spent {
            crashes,
            disconnects,
            txns,
            snapshots,
            reconfigs,
        } = self.spent;
        // Few of anything: four bits each, and eight for the connections.
        let low = |n: u8| u32::from(n) & 0xf;
        out.push(
            u32::from(self.wired)
                | low(crashes) << 8
                | low(disconnects) << 12
                | low(txns) << 16
                | low(snapshots) << 20
                | low(reconfigs) << 24,
        );
        out.push(self.past);
        out.extend(&self.nodes[..self.n()]);
        out.extend(&self.wires[..usize::from(self.wired)]);
        if mails {
            out.extend(&self.mail[..self.n()]);
        }
    }

    /// The cluster that was packed, in place of this one, and how many words it took. This one has to be of the
    /// same world.
    pub fn unpack(&mut self, mails: bool, words: &[u32]) -> usize {
        let n = self.n();
        let nibble = |at: u32| (words[0] >> at & 0xf) as u8;
        let wired = (words[0] & 0xff) as u8;
        self.spent = Spent {
            crashes: nibble(8),
            disconnects: nibble(12),
            txns: nibble(16),
            snapshots: nibble(20),
            reconfigs: nibble(24),
        };
        self.wired = wired;
        self.past = words[1];
        self.nodes[..n].copy_from_slice(&words[2..2 + n]);
        let wired = usize::from(wired);
        let mut at = 2 + n;
        self.wires = [NONE; WIRES_MAX];
        self.wires[..wired].copy_from_slice(&words[at..at + wired]);
        at += wired;
        if mails {
            self.mail[..n].copy_from_slice(&words[at..at + n]);
            at += n;
        }
        at
    }
}
