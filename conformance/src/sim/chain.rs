//! Histories: which transaction stands before which, and the log of each server as it was asked for.

use std::collections::BTreeMap;
use zabra::storage::worker::Op;
use zabra_model::durable::Durable;
use zabra_model::ids::{Epoch, Zxid};
use zabra_model::vote::ServerState;

/// Which transaction stands before each one, wherever it was written: everywhere the same.
#[derive(Default)]
pub struct Chain(BTreeMap<Zxid, Zxid>);

impl Chain {
    fn link(&mut self, before: Zxid, zxid: Zxid) -> Result<(), String> {
        let known = *self.0.entry(zxid).or_insert(before);
        if known == before {
            return Ok(());
        }
        Err(format!(
            "I-11: it logs {zxid} behind {before}, elsewhere that stands behind {known}"
        ))
    }

    pub(super) fn upto(&self, zxid: Zxid) -> Vec<Zxid> {
        let mut at = zxid;
        let mut history = Vec::new();
        while at.counter() != 0 || self.0.contains_key(&at) {
            history.push(at);
            match self.0.get(&at) {
                Some(before) => at = *before,
                None => break,
            }
        }
        history.reverse();
        history
    }
}

/// A server's log as it was asked for, and what of its disk counts.
#[derive(Default)]
pub struct Log {
    pub(super) history: Vec<Zxid>,
    /// What the server knew to be on its disk when it was looked at last.
    pub(super) kept: Vec<Zxid>,
    pub(super) accepted: Epoch,
    pub(super) current: Epoch,
    pub(super) primary: Option<Epoch>,
    pub(super) serving: Option<Epoch>,
    pub(super) role: Option<(ServerState, Option<Epoch>)>,
    pub(super) proposed: Vec<Zxid>,
}

impl Log {
    /// A server begins with what it has found.
    ///
    /// # Errors
    /// What must not be on a disk.
    pub fn begin(&mut self, found: &Durable, chain: &mut Chain) -> Result<(), String> {
        if found.accepted < self.accepted || found.current < self.current {
            let (accepted, current) = (found.accepted.0, found.current.0);
            return Err(format!(
                "I-22: it finds epochs {accepted} and {current}, and knew {} and {} to be durable",
                self.accepted.0, self.current.0
            ));
        }
        let base = found.history.base();
        self.history = chain.upto(base);
        let mut before = base;
        for zxid in found.history.above(base) {
            chain.link(before, zxid)?;
            self.history.push(zxid);
            before = zxid;
        }
        self.kept = self.history.clone();
        (self.accepted, self.current) = (found.accepted, found.current);
        (self.primary, self.serving) = (None, None);
        Ok(())
    }

    /// It asks its disk for this.
    ///
    /// # Errors
    /// What must not be asked for.
    pub fn asked(&mut self, op: &Op, state: ServerState, chain: &mut Chain) -> Result<(), String> {
        match op {
            Op::Append { zxid, .. } => {
                let before = self.history.last().copied().unwrap_or(Zxid::ZERO);
                chain.link(before, *zxid)?;
                self.history.push(*zxid);
                // Perhaps it has given its place up in the turn in which it has proposed.
                if state == ServerState::Leading || self.primary == Some(zxid.epoch()) {
                    self.proposed.push(*zxid);
                }
            }
            Op::Truncate { after } => {
                let upto = self.history.partition_point(|z| z <= after);
                self.history.truncate(upto);
            }
            Op::InstallSnapshot(staged) => self.history = chain.upto(staged.zxid),
            Op::AcceptedEpoch(_) | Op::CurrentEpoch(_) | Op::Members(_) => {}
            Op::PublishSnapshot(_) | Op::Purge { .. } => {}
        }
        Ok(())
    }

    /// What it holds above `base` up to `zxid`.
    ///
    /// # Errors
    /// It does not hold `base`.
    pub(super) fn between(
        &self,
        base: Zxid,
        zxid: Zxid,
        chain: &Chain,
    ) -> Result<Vec<Zxid>, String> {
        let upto = self.history.partition_point(|z| *z <= zxid);
        let all;
        let history = match self.history[..upto].last() {
            Some(last) if *last == zxid => &self.history[..upto],
            None if zxid == Zxid::ZERO => &[],
            _ => {
                all = chain.upto(zxid);
                &all[..]
            }
        };
        let above = history.partition_point(|z| *z <= base);
        // Whoever holds it holds all that stands before it, as that is everywhere the same.
        match history[..above].last() {
            Some(last) if *last == base => Ok(history[above..].to_vec()),
            None if base == Zxid::ZERO => Ok(history.to_vec()),
            _ => Err(format!(
                "I-10: a history up to {zxid} lacks {base}, which was committed and on every disk"
            )),
        }
    }
}
