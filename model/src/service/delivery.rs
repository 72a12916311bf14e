//! When what is committed is applied to the tree: in turns, and completely before anything that depends on all of it.
//!
//! The core says how far the tree is to go ([`Effect::Deliver`]); the host may cut that into turns, so that a client is not held up by
//! a thousand transactions of others. Whatever looks at the tree as a whole, or ends what the tree stands for, comes behind all of it.
//!
//! **How the host calls it.** One [`Delivery`]. [`Delivery::ask`] on [`Effect::Deliver`]. Before it carries out any other effect, it asks
//! [`Need::before`], and applies if there is one; so it does with [`Need::Answer`] before it answers a sync or refuses a request, and with
//! [`Need::Turn`] once at the end of each turn. To apply is: take [`Delivery::begin`], apply transactions of the history in order, no more
//! than [`Share::most`] and none above [`Share::upto`], then [`Delivery::end`]. While [`Delivery::is_due`], the next turn comes at once.

use crate::ids::Zxid;
use crate::step::{Effect, Write};

/// Transactions that are applied in one turn, unless something depends on all of them.
pub const APPLIED_A_TURN: u64 = 1024;

/// What is about to happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Need {
    /// Nothing but the end of a turn: a part is enough.
    Turn,
    /// The tree is sent to a learner, at the zxid that the core knows it to be at.
    SendSnapshot,
    /// The history is cut: afterwards it may not have what is to be applied.
    Truncate,
    /// The history and the tree are replaced.
    Install,
    /// The role changes: answers that are there are given before connections end.
    Role,
    /// Clients are served from now on: they must not see less than a quorum has.
    Serve,
    /// An answer that shows how far the tree is: of a sync, or the refusal of a request.
    Answer,
}

impl Need {
    /// What has to be applied before an effect is carried out; `None` if it does not look at the tree.
    #[must_use]
    pub const fn before<T>(effect: &Effect<T>) -> Option<Self> {
        match effect {
            Effect::SendSnapshot { .. } => Some(Self::SendSnapshot),
            Effect::Became(_) => Some(Self::Role),
            Effect::Serve { .. } => Some(Self::Serve),
            Effect::Persist { write, .. } => match write {
                Write::Truncate { .. } => Some(Self::Truncate),
                Write::Install { .. } => Some(Self::Install),
                Write::Append { .. }
                | Write::AcceptedEpoch(_)
                | Write::CurrentEpoch(_)
                | Write::Activate { .. } => None,
            },
            Effect::Notify { .. }
            | Effect::Dial(_)
            | Effect::Send { .. }
            | Effect::SendHistory { .. }
            | Effect::SendInform { .. }
            | Effect::Unlink(_)
            | Effect::Arm(_)
            | Effect::Disarm(_)
            | Effect::Deliver { .. }
            | Effect::Refused(_) => None,
        }
    }

    /// How many transactions may be applied; the rest waits for the next turn.
    #[must_use]
    pub const fn most(self) -> u64 {
        match self {
            Self::Turn => APPLIED_A_TURN,
            Self::SendSnapshot
            | Self::Truncate
            | Self::Install
            | Self::Role
            | Self::Serve
            | Self::Answer => u64::MAX,
        }
    }
}

/// What is to be applied now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Share {
    /// Nothing above this.
    pub upto: Zxid,
    /// No more than so many.
    pub most: u64,
}

/// How far the tree is to go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Delivery {
    due: Option<Zxid>,
}

impl Delivery {
    /// The core has everything up to `upto` applied.
    pub fn ask(&mut self, upto: Zxid) {
        self.due = Some(upto);
    }

    /// Whether something waits to be applied.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What to apply now for this need; `None` if nothing waits. [`Delivery::end`] follows.
    pub fn begin(&mut self, need: Need) -> Option<Share> {
        let most = need.most();
        self.due.take().map(|upto| Share { upto, most })
    }

    /// So many transactions of a share were applied, `last` the last of them. What is left of it stays to be applied. How far the
    /// tree is now: to the end of the share, if nothing is left.
    pub fn end(&mut self, share: Share, applied: u64, last: Zxid) -> Zxid {
        if applied >= share.most && last < share.upto {
            self.due = Some(share.upto);
            last
        } else {
            share.upto
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ensemble::Ensemble;
    use crate::fault::Fault;
    use crate::ids::{Epoch, ServerId};
    use crate::packet::Packet;
    use crate::quorum::Voters;
    use crate::step::{Link, Mark, Timer};
    use crate::vote::ServerState;
    use alloc::boxed::Box;

    #[test]
    fn what_looks_at_the_tree_comes_behind_all_that_is_committed() {
        let persist = |write| Effect::Persist {
            mark: Mark(1),
            write,
        };
        let (zxid, link) = (Zxid(1), Link(1));
        let ensemble = || Box::new(Ensemble::of(Voters::new(&[ServerId(1)]).unwrap()));
        let effects: [(Effect<()>, Option<Need>); 18] = [
            (
                Effect::SendSnapshot {
                    link,
                    zxid,
                    ensemble: ensemble(),
                },
                Some(Need::SendSnapshot),
            ),
            (
                persist(Write::Install {
                    zxid,
                    ensemble: ensemble(),
                }),
                Some(Need::Install),
            ),
            (persist(Write::AcceptedEpoch(Epoch(1))), None),
            (persist(Write::Append { zxid, txn: () }), None),
            (persist(Write::Activate { version: zxid }), None),
            (Effect::Dial(ServerId(1)), None),
            (Effect::Arm(Timer::Tick), None),
            (Effect::Disarm(Timer::Tick), None),
            (
                Effect::Send {
                    link,
                    packet: Packet::UpToDate,
                },
                None,
            ),
            (Effect::SendInform { link, zxid }, None),
            (
                Effect::SendHistory {
                    link,
                    after: Zxid::ZERO,
                    upto: zxid,
                    committed: true,
                },
                None,
            ),
            (Effect::Refused(Fault::NotLeading), None),
            (Effect::Became(ServerState::Looking), Some(Need::Role)),
            (Effect::Serve { epoch: Epoch(1) }, Some(Need::Serve)),
            (persist(Write::Truncate { zxid }), Some(Need::Truncate)),
            (persist(Write::CurrentEpoch(Epoch(1))), None),
            (Effect::Unlink(link), None),
            (Effect::Deliver { upto: Zxid(3) }, None),
        ];
        for (effect, need) in effects {
            assert_eq!(Need::before(&effect), need, "{effect:?}");
            assert!(need.is_none_or(|n| n.most() == u64::MAX));
        }
        assert_eq!(Need::Answer.most(), u64::MAX);
    }

    #[test]
    fn a_turn_leaves_the_rest_and_a_need_leaves_nothing() {
        let mut delivery = Delivery::default();
        assert_eq!(delivery.begin(Need::Turn), None);
        delivery.ask(Zxid(3000));
        let share = delivery.begin(Need::Turn).unwrap();
        assert_eq!((share.upto, share.most), (Zxid(3000), APPLIED_A_TURN));
        assert!(!delivery.is_due());
        assert_eq!(delivery.end(share, APPLIED_A_TURN, Zxid(1024)), Zxid(1024));
        assert!(delivery.is_due());
        delivery.ask(Zxid(3001));
        let share = delivery.begin(Need::Answer).unwrap();
        assert_eq!(delivery.end(share, 1977, Zxid(3001)), Zxid(3001));
        assert!(!delivery.is_due());
        // The last turn may be full to the brim.
        delivery.ask(Zxid(4025));
        let share = delivery.begin(Need::Turn).unwrap();
        assert_eq!(delivery.end(share, APPLIED_A_TURN, Zxid(4025)), Zxid(4025));
        assert!(!delivery.is_due());
    }
}
