//! The steps in words.

use super::{Moves, Said, State, Step};
use crate::checker::{serving, trace};
use alloc::format;
use alloc::string::String;

impl serving::Service for Moves {
    fn text(&self, s: &State, step: Step) -> String {
        match step {
            Step::Ensemble(action) => {
                trace::action_text(&self.ensemble.zab.world, &s.cluster, action)
            }
            Step::Send(client) => {
                let c = &s.clients[usize::from(client)];
                format!(
                    "client {} sends xid {} to server {:?}",
                    client + 1,
                    c.xid + 1,
                    c.at.map_or(0, |at| at + 1)
                )
            }
            Step::Connect(client, server) => format!(
                "client {}'s session is to go on at server {}, over a new connection",
                client + 1,
                server + 1
            ),
            Step::Take(server) => format!("server {} reads a request", server + 1),
            Step::Leave(server) => format!("server {} leads, and says that it leaves", server + 1),
            Step::Settle(server) => format!(
                "server {} is told which of its sessions are elsewhere",
                server + 1
            ),
            Step::Reach(server) | Step::Drop(server) => {
                let said = s.hosts[usize::from(server)].said.front();
                let does = if matches!(step, Step::Drop(_)) {
                    "drops"
                } else {
                    "takes"
                };
                let what = match said {
                    Some(Said::Revalidate(_)) => "the question about the session",
                    Some(Said::Request(..)) | None => "a request",
                };
                let whose = said.map_or(0, |said| said.client() + 1);
                format!(
                    "the leader {does} {what} of client {whose} that server {} has forwarded",
                    server + 1
                )
            }
        }
    }
}
