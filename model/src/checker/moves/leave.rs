//! A leader that says that it leaves, and what becomes of its learners' clients.

use super::{Host, Moves, Slip, State, Step, session, sid};
use crate::ids::Epoch;
use crate::service::handover::{Leaving, elsewhere};
use alloc::vec::Vec;

impl Moves {
    /// Whether a session may go on at another server now.
    pub(super) fn lets_move(&self, s: &State) -> bool {
        let leaving = s.leaves.map(|_| Leaving::begin([].into_iter(), 0, 1));
        Leaving::lets_move(leaving.as_ref()) || self.slip == Some(Slip::MovesWhileLeaving)
    }

    /// Whether a server lets a client in; who comes while a leader leaves is sent away.
    pub(super) fn lets_in(&self, s: &State, server: u8) -> bool {
        self.ensemble.leader_of(&s.cluster, server).is_some()
            && self.lets_move(s)
            && !s.hosts[usize::from(server)].stay.holds()
    }

    /// A server begins to serve, or ceases to: whether the clients that wait for nothing stay.
    pub(super) fn stays(&self, host: &mut Host, serves: Option<Epoch>) -> bool {
        let stays = match serves {
            None => host.stay.lost(0, 1),
            Some(epoch) => host.stay.serves(epoch),
        };
        if !stays {
            host.held.clear();
        }
        stays
    }

    /// A learner has heard that its leader leaves, and has sent all that it had to ask before: it names its sessions, and is told which of them are
    /// elsewhere.
    pub(super) fn settle(&self, s: &mut State, server: u8) -> Option<()> {
        let (leader, epoch) = s.leaves?;
        let tracker = self.tracker(s, leader);
        let all = (0..2).map(session);
        let moved = elsewhere(&tracker, all, sid(server));
        let moved = moved
            .into_iter()
            .filter(|_| self.slip != Some(Slip::MovedOnesStay));
        for gone in moved {
            for client in (0..2).filter(|client| session(*client) == gone) {
                if s.clients[usize::from(client)].at == Some(server) {
                    s.close(client);
                }
                let held = &mut s.hosts[usize::from(server)].held;
                held.retain(|w| w.request.0 != client);
            }
        }
        s.hosts[usize::from(server)].stay.told(epoch, 0, 1);
        Some(())
    }

    /// How a reign may end in order.
    pub(super) fn endings(&self, s: &State, steps: &mut Vec<Step>) {
        if !self.view.leaves {
            return;
        }
        // Somebody who says so, and goes on for ever, says nothing about an end.
        let ends = s.cluster.spent.crashes < self.ensemble.zab.bounds.crashes;
        for server in self.servers() {
            let leader = self.ensemble.leader_of(&s.cluster, server);
            let host = &s.hosts[usize::from(server)];
            let leaves = s.leaves.is_some_and(|(leader, _)| leader == server);
            if host.serves.is_some() && !host.held.is_empty() && !host.stay.holds() && !leaves {
                steps.push(Step::Take(server));
            }
            match s.leaves {
                None if leader == Some(server) && ends => steps.push(Step::Leave(server)),
                Some((leaves, _)) if leader == Some(leaves) && leaves != server => {
                    if host.stay.is_asked() && host.said.is_empty() {
                        steps.push(Step::Settle(server));
                    }
                }
                Some(_) | None => {}
            }
        }
    }

    /// A leader says to its learners that it leaves.
    pub(super) fn leave(&self, s: &mut State, leader: u8) -> Option<()> {
        s.leaves = Some((leader, self.ensemble.serves(&s.cluster, leader)?));
        for server in self.servers().filter(|server| *server != leader) {
            if self.ensemble.leader_of(&s.cluster, server) == Some(leader) {
                s.hosts[usize::from(server)].stay.told(Epoch(0), 0, 1);
            }
        }
        Some(())
    }
}
