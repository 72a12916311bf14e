//! What everybody in a run shares: time, what happens when, the network, and randomness of one seed.

use super::chain::Chain;
use super::client::Client;
use super::net::{End, Net, StreamId};
use super::planted::Planted;
use bytes::Bytes;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use zabra::core::event::Done;
use zabra::storage::boot::Found;
use zabra::storage::worker;
use zabra_model::ids::ServerId;
use zabra_model::step::Link;

/// Which life of a server: it counts its starts.
pub type Life = u32;

/// Something that happens at its time.
pub enum What {
    /// A server starts.
    Boot(usize),
    /// It has read its data.
    Started(usize, Life, Box<Found>),
    /// It has its turn.
    Turn(usize, Life),
    /// Its disk says something.
    Disk(usize, Life, worker::Event),
    /// Its disk is free for the next batch.
    DiskIsFree(usize, Life),
    /// The durable mark is due.
    Settle(usize, Life),
    /// A job has ended.
    Job(usize, Life, Box<Done>),
    /// It tries to reach its leader.
    Dial(usize, Life, u64),
    /// A notification arrives.
    Mail(Letter),
    /// A link may have been silent for too long.
    Silence(usize, Life, Link),
    /// A client's connection is looked at.
    Intake(usize, Life, StreamId),
    /// A stream brings something.
    Arrive(StreamId, End),
    /// A client does what is due.
    Client(usize),
    /// A client's attempt to dial a server has an end.
    ClientDialled(usize, usize),
    /// Something breaks.
    Fault,
    /// A server's disk has failed, and it has ended itself.
    GivesUp(usize, Life),
    /// A server loses its power in the middle of a write, and with it all others.
    PowerInWrite(usize, Life, bool),
    /// Something that was broken is well again.
    Mend(Mend),
    /// The invariants are looked at.
    Check,
}

/// A notification on its way.
pub struct Letter {
    /// Who wrote, in which life.
    pub from: (usize, Life),
    /// To whom, in which life.
    pub to: (usize, Life),
    /// In its frame.
    pub bytes: Bytes,
}

/// Things break until then.
pub const FAULTS_US: u64 = 25_000_000;

/// What is well again.
#[derive(Clone, Copy, Debug)]
pub enum Mend {
    /// The way between two places.
    Way(u64, u64),
    /// A server's disk.
    Disk(usize),
}

/// See the module.
pub struct Scene {
    /// Microseconds since the beginning.
    pub now_us: u64,
    agenda: BTreeMap<(u64, u64), What>,
    order: u64,
    /// The network.
    pub net: Net,
    /// For everything that is not a disk, a client or a way.
    pub random: Rng,
    /// The bug that this run has, if any.
    pub planted: Option<Planted>,
    /// What the run was, in one number.
    pub digest: u64,
    /// Which transactions stand before which.
    pub chain: Chain,
    /// What must not be.
    pub wrong: Option<String>,
    /// Whether what happens is told on standard error.
    pub is_told: bool,
}

impl Scene {
    /// At the beginning of a run.
    #[must_use]
    pub fn new(seed: u64, planted: Option<Planted>) -> Self {
        Self {
            now_us: 0,
            agenda: BTreeMap::new(),
            order: 0,
            net: Net::new(seed ^ 0x6e65_7477_6f72_6b00),
            random: Rng::with_seed(seed),
            planted,
            digest: 0xcbf2_9ce4_8422_2325,
            chain: Chain::default(),
            wrong: None,
            is_told: false,
        }
    }

    /// It happens after so long.
    pub fn after(&mut self, us: u64, what: What) {
        self.at(self.now_us + us, what);
    }

    /// It happens then.
    pub fn at(&mut self, us: u64, what: What) {
        self.order += 1;
        self.agenda.insert((us.max(self.now_us), self.order), what);
    }

    /// What happens next.
    pub fn go_on(&mut self) -> Option<What> {
        for (at, stream, end) in std::mem::take(&mut self.net.arrivals) {
            self.at(at, What::Arrive(stream, end));
        }
        let ((us, order), what) = self.agenda.pop_first()?;
        self.now_us = us;
        self.mix(&us.to_be_bytes());
        self.mix(&order.to_be_bytes());
        Some(what)
    }

    /// Makes something a part of [`Scene::digest`].
    pub fn mix(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.digest =
                (self.digest ^ u64::from_be_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
            self.digest ^= self.digest >> 29;
        }
    }

    /// Sends bytes over a stream; what waits in that direction.
    pub fn send(&mut self, stream: StreamId, end: End, bytes: Bytes) -> usize {
        self.mix(&bytes);
        self.net.send(stream, end, bytes, self.now_us)
    }

    /// Something that must not be; the first one counts.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.wrong.get_or_insert_with(|| what.into());
    }

    /// Tells of something, if somebody wants to hear it.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>12.6} s  {}", self.now_us as f64 / 1e6, what());
        }
    }

    /// Whether this run has that bug.
    #[must_use]
    pub fn has(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    /// A client does what is due now, and is woken again.
    pub fn client(&mut self, client: &mut Client, ledger: &mut super::client::Ledger) {
        if let Some(server) = client.wake(self.now_us, &mut self.net, ledger) {
            let place = server as u64 + 1;
            let delay_us = 2 * self.net.delay_us(client.place(), place);
            self.after(delay_us, What::ClientDialled(client.index, server));
        }
        let rest_us = client.rest_us();
        self.after(rest_us, What::Client(client.index));
    }
}

/// The place of a server.
#[must_use]
pub const fn place(server: usize) -> u64 {
    server as u64 + 1
}

/// Its id.
#[must_use]
pub const fn sid(server: usize) -> ServerId {
    ServerId(server as u64 + 1)
}

/// The address of a server or a client, by its id.
#[must_use]
pub const fn address(sid: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, sid as u8))
}
