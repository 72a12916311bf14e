//! A full disk, and slow ones: what they hold up.
//!
//! The rules are those of [`zabra_model::service::room`] and [`zabra_model::service::pressure`].

use super::service::Submitted;
use super::turn::Core;
use crate::codes::Code;
use crate::wire::client::opcode;
use std::sync::atomic::Ordering;
use tracing::{info, warn};
use zabra_model::service::pressure::{Load, held};
use zabra_model::service::room::{Kind, Verdict, gives_up_lead};
use zabra_model::step::{Input, Link, Timer};

impl Core {
    pub(super) fn on_disk_full(&mut self, what: &str) {
        self.service.room.on_full();
        let waiting = &self.replica.shared.stats.disk_full;
        waiting.fetch_add(1, Ordering::Relaxed);
        warn!(
            code = %Code::DiskFull,
            "no space left on the disk: {what}; writes are refused until there is room, nothing that was acknowledged is lost"
        );
        let has_others = self.replica.shared.config.is_ensemble();
        if gives_up_lead(self.protocol.peer.state(), has_others) {
            for link in self.quorum.all() {
                self.unlink(link);
            }
            self.step(Input::Fired(Timer::Tick));
        }
    }

    pub(super) fn on_disk_room(&mut self) {
        let waiting = &self.replica.shared.stats.disk_full;
        waiting.fetch_sub(1, Ordering::Relaxed);
        if self.service.room.on_room() {
            info!("there is room on the disk again, writes are taken");
        }
    }

    /// Whether a request of a client of this server, which leads, can be logged. If not, it is answered, or its connection ends: the
    /// session does not.
    pub(super) fn is_admitted(&mut self, asked: &Submitted) -> bool {
        let kind = match asked.opcode {
            opcode::CREATE_SESSION | opcode::CLOSE_SESSION => Kind::Session,
            _ => Kind::Other,
        };
        if !self.service.room.is_full() {
            return true;
        }
        let is_next = {
            let state = asked.conn.state();
            state.order.head() == Some(&asked.token)
        };
        match self.service.room.admits_own(kind, is_next) {
            Verdict::Take => return true,
            Verdict::Refuse(code) => self.answer_refused(asked, code),
            Verdict::Close => asked.conn.close(),
        }
        false
    }

    /// Too much waits for a learner. If a quorum is left without it, it may come back when it has caught up; if not, what waits
    /// for it waits to be committed, and the clients are held up.
    pub(super) fn on_behind(&mut self, link: Link) {
        let protocol = &self.protocol;
        if protocol.peer.can_spare(&protocol.env, link) && self.quorum.close(link, &mut self.out) {
            warn!(
                code = %Code::LearnerBehind,
                link = link.0,
                "a learner does not fetch what is sent to it, its connection is closed; look at its disk and its network"
            );
            self.step(Input::Unlinked(link));
        }
    }

    /// Who is held up by what this server holds.
    pub(super) fn press(&mut self) {
        let load = Load {
            outstanding_bytes: self.replica.window.outstanding_bytes(),
            unwritten_bytes: self.disk.unwritten_bytes(),
            serves: self.service.serves(),
            leads: self.service.leads(),
            disk_full: self.service.room.is_full(),
        };
        let held = held(load, self.replica.shared.config.outstanding_bytes);
        self.out.hold_clients = held.clients || self.service.stay.holds();
        self.out.hold_leader = held.leader;
    }
}
