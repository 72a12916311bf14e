//! What a role may touch while it handles an input, and what it wants next.

use crate::durable::Storage;
use crate::ids::Zxid;
use crate::rules::Rules;
use crate::step::{Effect, Effects, Env};

/// What a role may use while it handles an input.
pub(crate) struct Context<'a, T> {
    pub(crate) env: &'a Env,
    pub(crate) storage: &'a mut Storage,
    pub(crate) delivered: &'a mut Zxid,
    pub(crate) out: &'a mut Effects<T>,
}

impl<T> Context<'_, T> {
    /// The rules that hold.
    pub(crate) const fn rules(&self) -> Rules {
        self.env.rules()
    }

    /// Has the host apply the log up to `upto`.
    pub(crate) fn deliver(&mut self, upto: Zxid) {
        if upto > *self.delivered || !self.rules().diff_moves_nothing() {
            *self.delivered = upto.max(*self.delivered);
            self.out.push(Effect::Deliver { upto });
        }
    }
}

/// What a role wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// To go on.
    Stay,
    /// To look for a leader.
    Look,
}
