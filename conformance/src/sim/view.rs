//! What an observer of the whole cluster sees and remembers, for the invariants of the model.

use super::chain::Chain;
use super::scene::Scene;
use super::server::Server;
use zabra_model::ensemble::Ensemble;
use zabra_model::ids::Zxid;
use zabra_model::invariants::{
    Asks, Conduct, Kept, Observation, Past, Server as Seen, View, broken_of, view,
};
use zabra_model::vote::ServerState;

/// The observer.
#[derive(Default)]
pub struct Observer {
    past: Past,
    voters: Option<Ensemble>,
    /// How many times a server began to serve as a leader.
    pub reigns: u64,
}

impl Observer {
    /// A server has had a turn.
    pub fn looks_at(&mut self, server: &mut Server, scene: &Scene) {
        let Some(run) = server.running.as_deref() else {
            return;
        };
        let (peer, log) = (run.core.peer(), &mut server.log);
        let id = zabra_model::ids::ServerId(server.index as u64 + 1);
        if log.primary != peer.primary() {
            log.primary = peer.primary();
            if let Some(epoch) = log.primary {
                self.past.observe(&Observation::Primary(epoch, id));
            }
        }
        let role = (peer.state(), peer.serving());
        if log.role != Some(role) {
            log.role = Some(role);
            let (id, state, serving) = (id.0, role.0, role.1.map(|e| e.0));
            scene.tell(|| format!("server {id}: {state:?}, serves {serving:?}"));
        }
        if log.serving != peer.serving() {
            log.serving = peer.serving();
            if let Some(epoch) = log.serving.filter(|_| peer.state() == ServerState::Leading) {
                self.reigns += 1;
                let initial = log.history.iter().copied().filter(|z| z.epoch() < epoch);
                let established = Observation::Established(epoch, initial.collect());
                self.past.observe(&established);
            }
        }
        for zxid in log.proposed.drain(..) {
            self.past.observe(&Observation::Proposed(zxid));
        }
    }

    /// Looks at everybody.
    ///
    /// # Errors
    /// An invariant that does not hold.
    pub fn judge(&mut self, servers: &mut [Server], chain: &Chain) -> Result<(), String> {
        let binds = self
            .voters
            .get_or_insert_with(|| Ensemble::of(servers[0].config.voters.clone()));
        let mut seen = Vec::new();
        for server in &mut *servers {
            let peer = server.running.as_deref().map(|run| run.core.peer());
            let log = &mut server.log;
            if let Some(peer) = peer {
                let durable = peer.durable();
                log.kept = log.upto(durable.history.last(), chain);
                (log.accepted, log.current) = (durable.accepted, durable.current);
            }
            let applied = server.running.as_deref().map_or_else(Vec::new, |run| {
                log.upto(run.shared.tree().last_zxid(), chain)
            });
            if peer.is_some_and(|peer| peer.serving().is_some()) {
                self.past.observe(&Observation::Applied(applied.clone()));
            }
            let kept = Kept {
                current: log.current,
                history: log.kept.clone(),
                binds: binds.clone(),
                boots: true,
            };
            let asked = || {
                let last = peer.map_or(Zxid::ZERO, |peer| peer.last_logged());
                log.upto(last, chain)
            };
            let id = zabra_model::ids::ServerId(server.index as u64 + 1);
            seen.push(Seen::of(id, false, peer, &applied, asked, kept));
        }
        let conducts: Vec<_> = servers
            .iter()
            .map(|server| match server.running.as_deref() {
                Some(run) => {
                    let applied = run.shared.tree().last_zxid();
                    Conduct::of(run.core.peer(), server.log.accepted, applied, false)
                }
                None => Conduct::down(server.log.accepted),
            })
            .collect();
        let seen: Vec<&view::Server> = seen.iter().collect();
        let view = View {
            servers: &seen,
            conducts: &conducts,
            links: &[],
            past: &self.past,
        };
        match broken_of(Asks::Servers, &view).iter().next() {
            None => Ok(()),
            Some(broken) => Err(format!("{}, {}: {}", broken.id, broken.name, broken.says)),
        }
    }

    /// How many transactions are known to be committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.past.committed.len()
    }
}
