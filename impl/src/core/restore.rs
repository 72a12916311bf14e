//! What an operator asks for: a snapshot of the tree as it is, and another tree in place of it.
//!
//! ```text
//! snapshot   asked ─► Job::Snapshot ─► its name is durable ─► told
//! restore    asked ─► Job::Restore ─► serving ends ─► the file is installed ─► a peer boots from it ─► it serves ─► told
//! ```
//! Until the file of the other tree lies on the disk, the server goes on as if nobody had asked. From then on it does what it would do
//! if it were stopped, its files were exchanged, and it were started again.

use super::asked::{Refusal, Restoring, Told};
use super::operator::Restore;
use super::out::Job;
use super::turn::Core;
use crate::storage::snapshot::StagedSnapshot;
use tracing::info;
use zabra_model::durable::Durable;
use zabra_model::history::History;
use zabra_model::ids::Zxid;
use zabra_model::service::mode::Mode;
use zabra_model::service::snapshots::restored_as;
use zabra_model::tree::node::Tree;

impl Core {
    /// An operator puts another tree in place of this one.
    pub(super) fn restore(&mut self, asked: Restoring) {
        let Restoring {
            mut tree,
            newest,
            told,
        } = asked;
        match self.zxid_of_restored(newest) {
            Ok(zxid) => {
                tree.raise_last_zxid(zxid);
                let image = tree.image();
                self.out.jobs.push(Job::Restore { image });
                self.operator.restore = Some(Restore::Staging { tree, told });
            }
            Err(refusal) => self.keep_tree(told, tree, refusal),
        }
    }

    fn keep_tree(&mut self, told: Told<Zxid>, other: Box<Tree>, refusal: Refusal) {
        self.out.jobs.push(Job::Free(other));
        told.tell(Err(refusal));
    }

    /// At which zxid a tree with this newest change would be served.
    fn zxid_of_restored(&self, newest: Zxid) -> Result<Zxid, Refusal> {
        match self.service.mode {
            Mode::Standalone => {}
            Mode::NotServing if !self.replica.shared.config.is_ensemble() => {
                return Err(Refusal::NotServing);
            }
            Mode::NotServing | Mode::Leader | Mode::Follower | Mode::Observer | Mode::ReadOnly => {
                return Err(Refusal::Member);
            }
        }
        if self.operator.restore.is_some() || self.disk.is_held() {
            return Err(Refusal::Busy);
        }
        let accepted = self.protocol.peer.durable().accepted;
        let newest = newest.max(self.replica.tree_zxid());
        restored_as(accepted, newest, self.protocol.env.epoch_max).ok_or(Refusal::NoEpoch)
    }

    /// The file of the other tree is written: serving ends, and it takes the place of all that the disk holds.
    pub(super) fn restore_staged(&mut self, staged: Result<StagedSnapshot, String>) {
        let Some(Restore::Staging { tree, told }) = self.operator.restore.take() else {
            return;
        };
        let zxid = tree.last_zxid();
        // A new epoch may have begun meanwhile: its transactions would be above the tree.
        let may_go = || match self.zxid_of_restored(Zxid::ZERO)? {
            least if least <= zxid => Ok(()),
            _ => Err(Refusal::Busy),
        };
        match staged.map_err(Refusal::Failed).and_then(|file| {
            may_go()?;
            Ok(file)
        }) {
            Ok(staged) => {
                info!(%zxid, nodes = tree.len(), "an operator's snapshot takes the place of all data; clients are disconnected");
                self.stop_serving();
                let token = self.disk.replace_by(staged, zxid.epoch());
                self.operator.restore = Some(Restore::Installing { token, tree, told });
            }
            Err(refusal) => self.keep_tree(told, tree, refusal),
        }
    }

    /// Whether a tree was installed by what is durable now: then this is a server that has just started with it.
    pub(super) fn has_restored(&mut self, upto: u64) -> bool {
        let Some(tree) = self.operator.take_installed(upto) else {
            return false;
        };
        let (zxid, epoch) = (tree.last_zxid(), tree.last_zxid().epoch());
        self.replace_tree(*tree);
        self.replica.start_at(zxid);
        self.disk.begin_again();
        let protocol = &mut self.protocol;
        let armed: Vec<_> = protocol.timers.armed().collect();
        for timer in armed {
            protocol.timers.disarm(timer);
        }
        let found = Durable {
            accepted: epoch,
            current: epoch,
            history: History::starting_at(zxid),
        };
        let ensemble = protocol.peer.ensemble().clone();
        protocol.boot(self.now, found, ensemble);
        self.carry_out();
        true
    }
}
