//! The tree, what is logged above it, and what is prepared above that.
//!
//! What is committed is put together until something depends on it. Whoever wants to see the tree as clients may see it asks
//! [`Core::deliver`](super::turn::Core) first: only preparation, which knows what is above the tree, goes without it.

use super::window::Window;
use crate::client::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use zabra_model::ids::Zxid;
use zabra_model::service::delivery::Delivery;
use zabra_model::service::sweep::Sweep;
use zabra_model::tree::counter::NearEnd;
use zabra_model::tree::image::Image;
use zabra_model::tree::node::Tree;
use zabra_model::tree::op::WriteOp;
use zabra_model::tree::prep::{Prep, Request};
use zabra_model::tree::quota::{Exceeded, Pace};
use zabra_model::tree::txn::{Txn, TxnHeader};

/// See the module.
pub(super) struct Replica {
    /// Where the tree is, for those who read it beside the core.
    pub(super) shared: Arc<Shared>,
    /// What is logged, from a little below the tree on.
    pub(super) window: Window,
    prep: Prep,
    quota_pace: Pace,
    numbers_pace: Pace,
    /// What is committed and not applied.
    pub(super) delivery: Delivery,
}

impl Replica {
    pub(super) fn new(shared: Arc<Shared>, prep: Prep, last: Zxid) -> Self {
        let kept_max = shared.config.store.kept_txns_max;
        Self {
            shared,
            window: Window::starting_at(last, kept_max),
            prep,
            quota_pace: Pace::default(),
            numbers_pace: Pace::default(),
            delivery: Delivery::default(),
        }
    }

    /// The tree was replaced, and so is the log, which begins behind it at `last`.
    pub(super) fn start_at(&mut self, last: Zxid) {
        self.window = Window::starting_at(last, self.shared.config.store.kept_txns_max);
        self.delivery = Delivery::default();
        self.prep.reset();
    }

    /// Everything up to here is applied: it is no longer pending.
    pub(super) fn applied(&mut self, upto: Zxid) {
        self.prep.committed(upto);
    }

    /// Serving ends: what was prepared is forgotten.
    pub(super) fn forget_prepared(&mut self) {
        self.prep.reset();
    }

    /// The transaction that a request becomes, above all that is prepared.
    pub(super) fn prepare(&mut self, request: &Request<'_>, op: WriteOp) -> Txn {
        let tree = self.shared.tree();
        self.prep.prepare(&tree, request, op)
    }

    /// The transaction that brings a list of members with this text, if the client may write the node that shows it.
    pub(super) fn reconfig(&mut self, request: &Request<'_>, text: Bytes) -> Txn {
        let tree = self.shared.tree();
        self.prep.reconfig(&tree, request, text)
    }

    /// The quota that the last request was over, if its operator is to hear of it now, and of how many he did not hear.
    pub(super) fn take_exceeded(&mut self, now_ms: u64) -> Option<(Box<Exceeded>, u64)> {
        let over = self.prep.take_exceeded()?;
        if over.hard {
            self.shared.stats.count_quota_refused(&over.prefix);
        }
        self.quota_pace.tell(now_ms).map(|untold| (over, untold))
    }

    /// The node below which the last request has created something and that runs out of numbers for it, as above.
    pub(super) fn take_near_end(&mut self, now_ms: u64) -> Option<(Box<NearEnd>, u64)> {
        let near = self.prep.take_near_end()?;
        self.numbers_pace.tell(now_ms).map(|untold| (near, untold))
    }

    /// The transaction that deletes an empty container or an expired node.
    pub(super) fn delete_container(&mut self, header: TxnHeader, path: &str) -> Txn {
        let tree = self.shared.tree();
        self.prep.delete_container(&tree, header, path)
    }

    /// Containers and expired nodes that are due now.
    pub(super) fn swept(&self, sweep: &mut Sweep, elapsed_ms: u64, date_ms: i64) -> Vec<Box<str>> {
        let tree = self.shared.tree();
        sweep.turn(&tree, elapsed_ms, date_ms)
    }

    /// The tree as it is. Nothing may be committed above it.
    pub(super) fn image(&self) -> Image {
        assert!(
            !self.delivery.is_due(),
            "what is committed is applied first"
        );
        self.shared.tree().image()
    }

    /// The zxid that the tree is at.
    pub(super) fn tree_zxid(&self) -> Zxid {
        self.shared.tree().last_zxid()
    }

    /// Puts another tree in place of this one, which comes back.
    pub(super) fn replace(&self, tree: Tree) -> Tree {
        std::mem::replace(&mut *self.shared.tree_mut(), tree)
    }
}
