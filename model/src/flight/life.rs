//! Lives a recorded life again, on a pristine peer.

use super::bytes::{Damage, Reader, Record};
use super::sum::Sum;
use super::{Brief, Moment, Opening};
use crate::ids::Zxid;
use crate::peer::Peer;
use crate::step::{Effect, Effects, Env, Input};
use alloc::vec::Vec;
use core::fmt;

/// What has happened in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<'a> {
    /// The peer has booted.
    Boot,
    /// The record begins here, with a peer that has lived before.
    On,
    /// It has heard this.
    Input(&'a Input<Brief>),
    /// It was told to forget what is under a snapshot at this zxid.
    Forgot(Zxid),
}

/// A step of a life that is lived again.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When, in the life that was recorded.
    pub at: Moment,
    /// Its number since the boot.
    pub step: u64,
    /// What has happened.
    pub what: What<'a>,
    /// The surroundings.
    pub env: &'a Env,
    /// The peer, behind the step.
    pub peer: &'a Peer,
    /// What the step asks for.
    pub effects: &'a [Effect<Brief>],
}

/// How far a second life has gone as the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lived {
    /// Steps that were taken again.
    pub steps: u64,
    /// How many of them the last sum has confirmed: those behind it are not compared.
    pub confirmed: u64,
    /// When the last one was.
    pub until: Moment,
}

/// Where a second life has gone another way than the first, or cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Divergence {
    /// The record cannot be read.
    Damage(Damage),
    /// In one of the last steps the recorded server has asked for something else than the model does.
    Effects {
        /// The last of these steps, since the boot.
        step: u64,
        /// How many steps may be meant.
        of: u64,
        /// When it was.
        at: Moment,
    },
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => write!(f, "the record is damaged: {damage}"),
            Self::Effects { step, of: 1, .. } => {
                write!(
                    f,
                    "in step {step} the server did something else than the model does"
                )
            }
            Self::Effects { step, of, .. } => write!(
                f,
                "in one of the {of} steps up to step {step} the server did something else than the model does"
            ),
        }
    }
}

impl core::error::Error for Divergence {}

/// Reads a segment without living it; how many inputs it has.
///
/// # Errors
/// [`Damage`].
pub fn read(segment: &[u8]) -> Result<u64, Damage> {
    let (_, mut reader) = Reader::open(segment)?;
    let mut inputs = 0;
    loop {
        match reader.next() {
            Ok(Some(Record::Input(_))) => inputs += 1,
            Ok(Some(_)) => {}
            Ok(None) => return Ok(inputs),
            Err(damage) if damage.is_cut_off => return Ok(inputs),
            Err(damage) => return Err(damage),
        }
    }
}

/// Lives a segment again and shows each step to `see`. A record that ends within its last step is as long as what is whole of it.
///
/// # Errors
/// [`Divergence`].
pub fn live_again(segment: &[u8], mut see: impl FnMut(Seen<'_>)) -> Result<Lived, Divergence> {
    let (opening, mut reader) = Reader::open(segment).map_err(Divergence::Damage)?;
    let mut effects: Effects<Brief> = Vec::new();
    let mut at = opening.at();
    let (peer, env, step, what) = match opening {
        Opening::Boot {
            env,
            found,
            ensemble,
            ..
        } => {
            let peer = Peer::boot(&env, found, ensemble, &mut effects);
            (peer, env, 0, What::Boot)
        }
        Opening::On {
            env, peer, steps, ..
        } => (*peer, env, steps, What::On),
    };
    let mut life = Life {
        peer,
        env,
        step,
        began: step,
        sum: Sum::default(),
        confirmed: step,
    };
    life.add(&effects);
    see(life.seen(at, what, &effects));
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(damage) if damage.is_cut_off => break,
            Err(damage) => return Err(Divergence::Damage(damage)),
        };
        match record {
            Record::Moment(moment) => at = moment,
            Record::Env { observer, reach } => {
                life.env.observer = observer;
                life.env.sync.reach = reach;
            }
            Record::Forgot(upto) => {
                life.peer.forget(upto);
                see(life.seen(at, What::Forgot(upto), &[]));
            }
            Record::Input(input) => {
                effects.clear();
                life.step += 1;
                life.peer.step(&life.env, input.clone(), &mut effects);
                life.add(&effects);
                see(life.seen(at, What::Input(&input), &effects));
            }
            Record::Sum(sum) => life.compare(sum, at)?,
        }
    }
    Ok(Lived {
        steps: life.step - life.began,
        confirmed: life.confirmed - life.began,
        until: at,
    })
}

struct Life {
    peer: Peer,
    env: Env,
    step: u64,
    began: u64,
    sum: Sum,
    confirmed: u64,
}

impl Life {
    const fn seen<'a>(
        &'a self,
        at: Moment,
        what: What<'a>,
        effects: &'a [Effect<Brief>],
    ) -> Seen<'a> {
        Seen {
            at,
            step: self.step,
            what,
            env: &self.env,
            peer: &self.peer,
            effects,
        }
    }

    fn add(&mut self, effects: &[Effect<Brief>]) {
        for effect in effects {
            self.sum.effect(effect);
        }
    }

    const fn compare(&mut self, recorded: u32, at: Moment) -> Result<(), Divergence> {
        if self.sum.value() != recorded {
            return Err(Divergence::Effects {
                step: self.step,
                of: self.step.saturating_sub(self.confirmed),
                at,
            });
        }
        self.confirmed = self.step;
        Ok(())
    }
}
