//! The members while they change: the operation reconfig at the leader, and the lists as the log, commits and the leader change them.

use super::requests::refused;
use super::turn::Core;
use crate::codes::Code;
use crate::wire::payload::Payload;
use bytes::Bytes;
use std::sync::Arc;
use tracing::{info, warn};
use zabra_model::fault::Fault;
use zabra_model::ids::{ServerId, SessionId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::service::members::{Lists, Members};
use zabra_model::service::reconfig::{Asked, Facts, judge, moves};
use zabra_model::step::{Input, Link, Mark};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::node::Tree;
use zabra_model::tree::path::CONFIG;
use zabra_model::tree::prep;
use zabra_model::tree::txn::Txn;
use zabra_model::vote::ServerState;

impl Core {
    /// Changes the lists that bind this server, as the protocol has just changed its own.
    pub(super) fn change_lists(&mut self, change: impl FnOnce(&mut Lists)) {
        let mut lists = Lists::clone(self.quorum.lists());
        change(&mut lists);
        if lists == **self.quorum.lists() {
            return;
        }
        let next = lists.next.as_ref().map(|next| next.version.to_string());
        info!(active = %lists.active.version, next = next.as_deref(), "members");
        let lists = Arc::new(lists);
        self.replica.shared.set_lists(Arc::clone(&lists));
        self.quorum.set_lists(lists);
        self.out.members_changed = true;
    }

    /// The newer list is committed.
    pub(super) fn activate(&mut self, mark: Mark) {
        self.change_lists(|lists| {
            lists.activate();
        });
        let active = &self.quorum.lists().active;
        let text = active.text();
        // A leader that loses its vote by it ends its links in this very step: its learners are to hear why.
        let has_vote = active.voters.index(self.service.me).is_some();
        self.quorum.has_last_words = !has_vote;
        self.disk.activate(mark, text);
    }

    /// Becomes an observer, or ceases to be one, as the lists say: it leaves its leader and comes again.
    pub(super) fn take_role(&mut self) {
        let observes = self.quorum.lists().observes(self.service.me);
        if observes == self.protocol.env.observer {
            return;
        }
        info!(observes, "this server has another role among the members");
        self.protocol.env.observer = observes;
        let state = self.protocol.peer.state();
        if matches!(state, ServerState::Following | ServerState::Observing) {
            match self.quorum.leader() {
                Some(link) => self.unlink(link),
                None => self.step(Input::Unreachable),
            }
        }
    }

    /// Clients read who the members are, see D-59. Where a transaction brought the list, the node shows it already.
    pub(super) fn show_members(&self) {
        let shared = &self.replica.shared;
        let members = &self.quorum.lists().active;
        if !shared.config.is_ensemble() {
            return;
        }
        let text = members.text();
        let mut tree = shared.tree_mut();
        let shown = tree.find(CONFIG).and_then(|node| node.data());
        if shown != Some(text.as_bytes()) {
            tree.set_config(text.as_bytes(), members.version, 0);
        }
    }

    /// A leader whose list has no version brings it into the history, where clients are to change the members: then nobody is bound by a
    /// list that only a file says, and a joiner, whose file says something else, not either (D-89).
    pub(super) fn name_members(&mut self) {
        let config = &self.replica.shared.config;
        let lists = self.quorum.lists();
        // ZooKeeper's version of a list that nobody has changed, (epoch, 0), is in no history either.
        let has_none = lists.active.version.counter() == 0 && lists.next.is_none();
        if !config.reconfig_enabled || !config.is_ensemble() || !has_none || !self.service.leads() {
            return;
        }
        let Some(zxid) = self.next_proposal() else {
            return;
        };
        let members = Members {
            version: zxid,
            ..lists.active.clone()
        };
        let txn = Txn::SetData {
            path: CONFIG.into(),
            data: Some(members.text().into()),
            version: -1,
            reconfig: true,
        };
        let header = self.header(SessionId(0), 0, zxid);
        self.propose(header, txn);
    }

    /// What a client's reconfig becomes: a list of members, or the refusal that takes its place.
    pub(super) fn reconfigured(&mut self, request: &prep::Request<'_>, asked: &Asked<'_>) -> Txn {
        match self.judge_reconfig(request, asked) {
            Ok(text) => self.replica.reconfig(request, text),
            Err((code, why)) => {
                warn!(code = %Code::ReconfigRefused, session = %request.header.session, "reconfig is refused, {code:?}: {why}");
                refused(code)
            }
        }
    }

    fn judge_reconfig(
        &self,
        request: &prep::Request<'_>,
        asked: &Asked<'_>,
    ) -> Result<Bytes, (ErrorCode, String)> {
        let config = &self.replica.shared.config;
        let lists = self.quorum.lists();
        let facts = Facts {
            is_enabled: config.reconfig_enabled,
            session: request.session,
            is_alone: !config.is_ensemble(),
            lists,
            voters_min: if config.standalone_enabled { 2 } else { 1 },
            id_max: ServerId(if config.extended_types {
                254
            } else {
                i64::MAX as u64
            }),
        };
        let members = judge(&facts, asked, request.header.zxid)?;
        let runs = |sid: ServerId| sid == self.service.me || self.quorum.is_led(sid);
        let mut both = members.list.keys().filter(|sid| runs(**sid));
        if let Some(sid) = both.find(|sid| moves(&lists.active, &members, **sid)) {
            let why = format!(
                "server {sid} runs, and would have to listen elsewhere; stop it, change its line, and start it with the new one"
            );
            return Err((ErrorCode::BadArguments, why));
        }
        let env = &self.protocol.env;
        let may = self.protocol.peer.may_reconfigure(env, &members.voters);
        may.map_err(|fault| {
            let code = match fault {
                Fault::ReconfigInProgress => ErrorCode::ReconfigInProgress,
                _ => ErrorCode::NewConfigNoQuorum,
            };
            (code, fault.to_string())
        })?;
        Ok(members.text().into())
    }

    /// The leader has committed a list of members. One of ZooKeeper's that names another leader commits nothing more, and waits for its
    /// learners to leave it; whom it names is found by an election (D-19). Ours names itself, and ends its links if it has lost its vote.
    pub(super) fn on_activated(
        &mut self,
        link: Link,
        packet: Packet<Payload>,
        designated: ServerId,
    ) {
        let hands_over = self.quorum.leader() == Some(link)
            && self
                .protocol
                .peer
                .leader()
                .is_some_and(|leader| leader != designated);
        self.step(Input::Received { link, packet });
        if hands_over {
            info!(%designated, "the leader hands over");
            self.unlink(link);
        }
    }

    /// SNAP: the tree, and the leader's lists. A leader that says none has never changed its members, or is one of ZooKeeper's.
    pub(super) fn on_snapshot(
        &mut self,
        link: Link,
        zxid: Zxid,
        tree: Box<Tree>,
        lists: Option<Box<Lists>>,
    ) {
        let own = self.quorum.lists();
        let lists = match lists {
            Some(lists) => *lists,
            None => match own.of_tree(list_of(&tree), self.replica.shared.told_version()) {
                Ok(lists) => lists,
                Err(version) => {
                    warn!(
                        code = %Code::UnknownListActive, %version,
                        "the leader's tree shows a list of members that no member has told of as its own; looking for a leader again"
                    );
                    self.unlink(link);
                    return;
                }
            },
        };
        let ensemble = Box::new(lists.ensemble());
        // Those that the history has brought are kept anew: it is about to be replaced.
        let is_kept = lists.newest().version > Zxid::ZERO || lists != **own;
        let lists = is_kept.then(|| Box::new(lists));
        self.quorum.keep_tree(tree, lists);
        let packet = Packet::Snap { zxid, ensemble };
        self.step(Input::Received { link, packet });
    }
}

/// The list of members that a tree shows.
fn list_of(tree: &Tree) -> Option<Members> {
    let data = tree.find(CONFIG)?.data()?;
    Members::parse(std::str::from_utf8(data).ok()?).ok()
}
