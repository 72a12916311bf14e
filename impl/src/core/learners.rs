//! Learners that have dialled: who is linked now, who waits, who is turned away ([`zabra_model::service::claims`]).

use super::quorum::Claiming;
use super::turn::Core;
use crate::codes::Code;
use std::net::IpAddr;
use tracing::warn;
use zabra_model::service::claims::Claimant;
use zabra_model::service::membership::GUESTS_MAX;
use zabra_model::step::{Input, Link};
use zabra_model::vote::ServerState;

impl Core {
    /// A learner has dialled.
    pub(super) fn on_accepted(&mut self, conn: Claiming, from: IpAddr, expected: bool) {
        let state = self.protocol.peer.state();
        if matches!(state, ServerState::Following | ServerState::Observing) {
            self.out.links.push(super::out::LinkAct::Close(conn.link));
            return;
        }
        let Some(hello) = conn.hello else {
            self.quorum.keep_nameless(conn.link);
            self.let_waiting_in();
            return;
        };
        let sid = hello.claim.sid;
        let is_guest = self.quorum.lists().listed(sid).is_none();
        if is_guest && self.quorum.guests() >= GUESTS_MAX {
            warn!(code = %Code::TooManyGuests, %from, %sid, "a learner that no list has is not let in: there are {GUESTS_MAX} of these");
            self.out.links.push(super::out::LinkAct::Close(conn.link));
            return;
        }
        let claim = Claimant {
            conn,
            from,
            expected,
        };
        let times = self.claim_times();
        let (peer, out) = (&self.protocol.peer, &mut self.out);
        if let Err(turned) = self.quorum.join(sid, claim, peer, times, out) {
            warn!(code = %Code::LearnerTurnedAway, %from, %sid, "a learner is not let in: {turned}");
        }
        self.let_waiting_in();
    }

    /// The time and the length of a tick, ms.
    fn claim_times(&self) -> (u64, u64) {
        (self.now.elapsed_ms, self.replica.shared.config.tick_ms)
    }

    /// Whoever has its turn is linked, if this server leads.
    pub(super) fn let_waiting_in(&mut self) {
        if self.protocol.peer.state() != ServerState::Leading {
            return;
        }
        for link in self.quorum.take_nameless() {
            self.link_learner(link, (IpAddr::from([0; 4]), false));
        }
        while self.quorum.has_waiting()
            && let times = self.claim_times()
            && let Some((holder, claim)) = self.quorum.next_in(&self.protocol.peer, times)
        {
            if let Some(holder) = holder {
                warn!(code = %Code::LinkGivesWay, link = holder.0, from = %claim.from, "a link of a learner gives way to a newer one of the same id");
                self.unlink(holder);
            }
            let Claiming { link, hello } = claim.conn;
            self.link_learner(link, (claim.from, claim.expected));
            if let Some(hello) = hello {
                self.quorum.name(link, hello.claim.sid);
                self.count_hello(link, hello);
                let packet = hello.packet();
                self.step(Input::Received { link, packet });
            }
        }
    }

    fn link_learner(&mut self, link: Link, learner: (IpAddr, bool)) {
        let silence_ms = self.replica.shared.config.init_ms();
        let elapsed_ms = self.now.elapsed_ms;
        self.quorum
            .open(link, Some(learner), silence_ms, elapsed_ms, &mut self.out);
        self.count_learner(link, learner.0);
        self.step(Input::Linked(link));
    }
}
