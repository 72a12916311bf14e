//! A full disk is a state: writes are refused, reads are answered, and it ends by itself.
//!
//! What was proposed before waits in the disk's queue, is acknowledged by nobody, and goes on when there is room. A server on
//! its own refuses further writes and answers reads. A leader of others gives its place up, so that one with room takes it;
//! a follower is given up by its leader, as one with a slow disk is.

use super::core::{Core, Submitted};
use super::inbox::{Event, Inbox};
use super::lock;
use crate::storage::disk::RealDisk;
use crate::storage::snapshot::StagedSnapshot;
use crate::storage::stage::stage;
use crate::storage::{Dirs, StorageError};
use crate::wire::client::opcode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{info, warn};
use zabra_model::step::{Input, Timer};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::image::Image;
use zabra_model::vote::ServerState;

/// Between two tries to write a snapshot that everything waits for.
const PAUSE: Duration = Duration::from_millis(500);

impl Core {
    /// Whether something waits for room on the disk.
    pub(super) fn is_disk_full(&self) -> bool {
        self.shared.stats.disk_full.load(Ordering::Relaxed) > 0
    }

    pub(super) fn on_disk_full(&mut self, what: &str) {
        self.shared.stats.disk_full.fetch_add(1, Ordering::Relaxed);
        warn!(
            "no space left on the disk: {what}; writes are refused until there is room, nothing that was acknowledged is lost"
        );
        if self.peer.state() == ServerState::Leading && self.shared.config.is_ensemble() {
            // As if the network had taken its learners: whoever has room leads on. If it needs nobody, it stays.
            for link in self.links.all() {
                if self.links.remove(link) {
                    self.step(Input::Unlinked(link));
                }
            }
            self.step(Input::Fired(Timer::Tick));
        }
    }

    pub(super) fn on_disk_room(&mut self) {
        let before = self.shared.stats.disk_full.fetch_sub(1, Ordering::Relaxed);
        if before == 1 {
            info!("there is room on the disk again, writes are taken");
        }
    }

    /// Answers a write that cannot be logged now. The answer is OperationTimeout: every client library knows it, and those that
    /// try again by themselves do so after it. Where an earlier write of the connection still waits for the disk, nothing
    /// may be answered before that one, so the connection ends; the session does not.
    pub(super) fn refuse_for_room(&mut self, done: &Submitted) {
        let is_next = {
            let state = done.conn.state();
            state.order.head() == Some(&done.token)
        };
        if !is_next || done.opcode == opcode::CREATE_SESSION || done.opcode == opcode::CLOSE_SESSION
        {
            done.conn.close();
            return;
        }
        self.deliver();
        let shared = Arc::clone(&self.shared);
        let tree = shared.tree();
        let mut hub = lock(&shared.hub);
        self.answer_refused(done, ErrorCode::OperationTimeout, &tree, &mut hub);
    }
}

/// Writes the snapshot that is to be installed: everything waits for it, so it is tried until there is room.
pub(super) fn stage_until_room(
    dirs: &Dirs,
    image: &Image,
    inbox: &Inbox,
) -> Result<StagedSnapshot, StorageError> {
    let mut full = false;
    let result = loop {
        match stage(&RealDisk, dirs, image) {
            Err(e) if e.is_passing() => {
                if !std::mem::replace(&mut full, true) {
                    inbox.push(Event::DiskFull(format!("install snapshot: {e}")), 0);
                }
                std::thread::sleep(PAUSE);
            }
            other => break other,
        }
    };
    if full {
        inbox.push(Event::DiskRoom, 0);
    }
    result
}
