//! Scripts from a seed.

use super::odd::{self, Knock};
use super::request::Op;
use super::sound::{big, quota, sound, under_an_odd_xid};
use super::values;
use fastrand::Rng;
use std::fmt;
use zabra::wire::client::opcode as op;

/// Sessions of a script.
pub const SLOTS: usize = 4;
/// Requests of one batch, at most.
const BATCH: usize = 64;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Act {
    /// A session says all of this before it waits for the answers. It connects first, if it is not connected.
    Batch {
        /// Whose.
        slot: usize,
        /// What.
        ops: Vec<Op>,
    },
    /// A session goes on over a new connection while it still has the old one.
    Move {
        /// Whose.
        slot: usize,
    },
    /// A session loses its connection.
    Drop {
        /// Whose.
        slot: usize,
    },
    /// A session goes on at the next server of the ensemble.
    Change {
        /// Whose.
        slot: usize,
        /// Whether the connection that it has left asks for a change then; else it is gone before.
        speaks: bool,
    },
    /// A connection that begins in an unusual way, and ends.
    Knock(Knock),
    /// All connections end; servers are killed and come back.
    Restart(Which),
}

/// Which servers are killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The one that leads, or stands alone: another one leads then.
    Leader,
    /// One that follows.
    Follower,
    /// All of them.
    All,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { slot, ops } => {
                let words: Vec<_> = ops.iter().map(|op| op.words.as_str()).collect();
                write!(f, "session {slot}: {}", words.join(" | "))
            }
            Self::Move { slot } => write!(f, "session {slot} moves"),
            Self::Drop { slot } => write!(f, "session {slot} loses its connection"),
            Self::Knock(knock) => write!(f, "a connection begins with {}", knock.words),
            Self::Change { slot, speaks } => {
                let then = if *speaks {
                    ", its old connection speaks"
                } else {
                    ""
                };
                write!(f, "session {slot} goes to the next server{then}")
            }
            Self::Restart(which) => write!(f, "restart of {which:?}"),
        }
    }
}

/// A kind of script.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Requests, about.
    pub requests: usize,
    /// Whether servers restart in its middle.
    pub restart: bool,
    /// Servers of each product.
    pub servers: usize,
}

/// A script.
#[must_use]
pub fn script(seed: u64, kind: Kind) -> Vec<Act> {
    let rng = &mut Rng::with_seed(seed);
    // ZooKeeper judges by what is applied whether a quota allows a write: with quotas, there is one request at a time.
    let quotas = rng.u8(..8) == 0;
    let mut restart = kind.restart;
    let mut acts = vec![];
    let mut made = 0;
    let requests = kind.requests >> if quotas { 2 } else { 0 };
    while made < requests {
        if restart && made > requests / 2 {
            restart = false;
            acts.push(Act::Restart(
                [Which::Leader, Which::Leader, Which::Follower, Which::All][rng.usize(..4)],
            ));
        }
        let slot = rng.usize(..SLOTS);
        match rng.u16(..1000) {
            0..15 => acts.push(Act::Move { slot }),
            15..25 => acts.push(Act::Drop { slot }),
            25..40 => acts.push(Act::Knock(odd::knock(rng, SLOTS))),
            40..160 if kind.servers > 1 => acts.push(Act::Change {
                slot,
                speaks: rng.bool(),
            }),
            _ if quotas => {
                made += 1;
                let ops = vec![match rng.u8(..6) {
                    0 => quota(rng),
                    _ => request(rng, kind.servers),
                }];
                acts.push(Act::Batch { slot, ops });
            }
            _ => {
                let count = rng.usize(1..=BATCH);
                made += count;
                batches(rng, slot, count, kind.servers, &mut acts);
            }
        }
    }
    acts
}

/// So many requests of one session; those that have to be alone, or the last of a batch, are.
fn batches(rng: &mut Rng, slot: usize, count: usize, servers: usize, acts: &mut Vec<Act>) {
    let mut ops = vec![];
    for _ in 0..count {
        let op = request(rng, servers);
        if op.alone && !ops.is_empty() {
            let ops = std::mem::take(&mut ops);
            acts.push(Act::Batch { slot, ops });
        }
        let goes = op.alone || op.is_last();
        ops.push(op);
        if goes {
            let ops = std::mem::take(&mut ops);
            acts.push(Act::Batch { slot, ops });
        }
    }
    if !ops.is_empty() {
        acts.push(Act::Batch { slot, ops });
    }
}

/// One request of any kind.
fn request(rng: &mut Rng, servers: usize) -> Op {
    let op = match rng.u16(..1000) {
        0..40 => odd::broken(rng),
        40..44 => odd::unknown(rng),
        44..46 => odd::no_frame(rng),
        46..49 => Op::new(op::CLOSE_SESSION),
        49..54 => under_an_odd_xid(rng),
        54 => big(rng),
        _ => sound(rng),
    };
    match servers > 1 && (op.is_torn_write() || op.names(values::CONFIG)) {
        true => request(rng, servers),
        false => op,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(servers: usize) -> impl Iterator<Item = Vec<Op>> {
        let kind = Kind {
            requests: 2000,
            restart: false,
            servers,
        };
        let acts = (0..50).flat_map(move |seed| script(seed, kind));
        acts.filter_map(|act| match act {
            Act::Batch { ops, .. } => Some(ops),
            _ => None,
        })
    }

    #[test]
    fn nothing_stands_behind_a_request_that_zookeeper_lets_others_see_half_done() {
        let (mut nulls, mut damaged) = (0, 0);
        for ops in scripts(1) {
            let multis = ops.iter().filter(|op| op.opcode == op::MULTI);
            for multi in multis {
                nulls += usize::from(multi.has_null);
                damaged += usize::from(multi.damaged);
            }
            let (_, before) = ops.split_last().expect("a batch has a request");
            for op in before {
                let half_done = op.opcode == op::MULTI && (op.has_null || op.damaged);
                assert!(!half_done, "{} is not the last of its batch", op.words);
            }
        }
        assert!(nulls > 10 && damaged > 10, "{nulls} {damaged}");
    }

    #[test]
    fn a_time_to_live_is_cut_off_and_not_changed() {
        let all = scripts(1).flatten();
        let damaged: Vec<_> = all.filter(|op| op.damaged && op.has_ttl).collect();
        assert!(damaged.len() > 10);
        for op in damaged {
            assert!(op.words.contains("[cut at "), "{}", op.words);
        }
    }

    /// Seed 10 is the sample of each commit (`tests/differential.rs`).
    #[test]
    fn the_sample_of_an_ensemble_restarts_and_its_sessions_move_and_speak_over_old_connections() {
        let kind = Kind {
            requests: 2000,
            restart: true,
            servers: 3,
        };
        let acts = script(10, kind);
        assert!(acts.iter().any(|act| matches!(act, Act::Restart(_))));
        let speaks = |act: &Act| matches!(act, Act::Change { speaks: true, .. });
        assert!(acts.iter().any(speaks));
    }

    #[test]
    fn no_write_is_torn_in_an_ensemble() {
        let torn = |servers| {
            let all = scripts(servers).flatten();
            all.filter(Op::is_torn_write).count()
        };
        assert!(torn(1) > 100);
        assert_eq!(torn(3), 0);
    }
}
