//! Steps that were taken before: what a server, a connection, a mailbox or the observer becomes.
//!
//! Every entry is a function of its key alone, because a step of a server depends on nothing but that server and its
//! input. `zabra-check run --no-memo` takes every step anew and has to count the same.

use super::parts::{OnMail, OnWire, SERVERS_MAX};
use crate::invariants::InvariantSet;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What one thread remembers. The numbers are those of one [`super::cluster::World`].
#[derive(Debug, Default)]
pub struct Memo {
    /// Server and stimulus.
    pub(super) steps: HashMap<(u32, u64), Moved, FixedState>,
    /// What left the servers, all one after the other.
    pub(super) outs: Vec<Out>,
    pub(super) wires: HashMap<(u32, OnWire), (u32, u32, u64), FixedState>,
    pub(super) mail: HashMap<(u32, OnMail), (u32, u32), FixedState>,
    pub(super) pasts: HashMap<(u32, u32), (u32, u64), FixedState>,
    /// The broken invariants, by the views of all servers and what was observed.
    pub(super) verdicts: HashMap<[u32; SERVERS_MAX + 1], InvariantSet, FixedState>,
}

/// What a step makes of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub node: u32,
    /// Its part of [`Memo::outs`].
    pub first: usize,
    pub count: usize,
    pub witnessed: u64,
}

/// What has left a server, by numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Out {
    Send { link: u64, frame: u32 },
    Unlink(u64),
    Post { to: u8, note: u32 },
    Seen(u32),
}

impl Memo {
    /// How much is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
            + self.wires.len()
            + self.mail.len()
            + self.pasts.len()
            + self.verdicts.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
