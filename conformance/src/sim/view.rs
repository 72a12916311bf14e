//! What an observer of the whole cluster sees and remembers, for the invariants of the model.

use super::chain::Chain;
use super::scene::Scene;
use super::server::Server;
use zabra_model::ensemble::Ensemble;
use zabra_model::ids::Zxid;
use zabra_model::invariants::{
    Asks, Conduct, Kept, Observation, Past, Server as Seen, View, Violation, broken_of, view,
};
use zabra_model::vote::ServerState;

/// So many transactions are settled together.
const SETTLED_MIN: usize = 64;

/// The observer.
#[derive(Default)]
pub struct Observer {
    past: Past,
    voters: Option<Ensemble>,
    /// Every server has everything up to here on its disk, and it is committed: the invariants are asked of what lies above. A run holds some
    /// thousand transactions, and is looked at a thousand times.
    base: Zxid,
    /// How many are committed up to there.
    settled: usize,
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
                let initial = log.history.iter().copied();
                let initial = initial.filter(|z| z.epoch() < epoch && *z > self.base);
                let established = Observation::Established(epoch, initial.collect());
                self.past.observe(&established);
            }
        }
        for zxid in log.proposed.drain(..) {
            let is_old = zxid <= self.base;
            self.past.observe(&if is_old {
                Observation::Violated(Violation::ZxidReused)
            } else {
                Observation::Proposed(zxid)
            });
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
        let base = self.base;
        for server in &mut *servers {
            let peer = server.running.as_deref().map(|run| run.core.peer());
            let log = &mut server.log;
            if let Some(peer) = peer {
                let durable = peer.durable();
                log.kept = log.between(base, durable.history.last(), chain)?;
                (log.accepted, log.current) = (durable.accepted, durable.current);
            }
            let applied = match server.running.as_deref() {
                Some(run) if peer.is_some_and(|peer| peer.serving().is_some()) => {
                    // It may not have heard yet that what it holds is committed.
                    let last = run.shared.tree().last_zxid();
                    log.between(base, last.max(base), chain)?
                }
                _ => Vec::new(),
            };
            if peer.is_some_and(|peer| peer.serving().is_some()) {
                self.past.observe(&Observation::Applied(applied.clone()));
            }
            let kept = Kept {
                current: log.current,
                history: log.kept.clone(),
                binds: binds.clone(),
                boots: true,
            };
            let asked = match peer {
                Some(peer) => log.between(base, peer.last_logged(), chain)?,
                None => Vec::new(),
            };
            let id = zabra_model::ids::ServerId(server.index as u64 + 1);
            seen.push(Seen::of(id, false, peer, &applied, || asked, kept));
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
        if let Some(broken) = broken_of(Asks::Servers, &view).iter().next() {
            return Err(format!("{}, {}: {}", broken.id, broken.name, broken.says));
        }
        self.settle(servers);
        Ok(())
    }

    /// What is committed, and on every disk, need not be looked at again.
    fn settle(&mut self, servers: &mut [Server]) {
        let common = servers.iter().fold(self.past.committed.len(), |n, server| {
            let both = self.past.committed.iter().zip(&server.log.kept);
            n.min(both.take_while(|(a, b)| a == b).count())
        });
        let Some(last) = common.checked_sub(1).filter(|_| common >= SETTLED_MIN) else {
            return;
        };
        self.base = self.past.committed[last];
        self.settled += common;
        self.past.forget(self.base);
        for server in servers {
            server.log.kept.drain(..common);
        }
    }

    /// How many transactions are known to be committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.settled + self.past.committed.len()
    }
}
