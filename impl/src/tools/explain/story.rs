//! What a step means, in words.

use crate::tools::values::shown_time;
use serde::Serialize;
use std::collections::HashMap;
use zabra_model::diagram::{Look, state_name};
use zabra_model::flight::{Brief, Seen, What};
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::step::{Effect, Input, Link, Timer, Write};
use zabra_model::vote::{Notification, ServerState};

/// A step that an operator may ask about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Line {
    /// ms since 1970, by the server's clock.
    pub(super) time: u64,
    pub(super) server: u64,
    /// Its number since the server booted.
    pub(super) step: u64,
    pub(super) text: String,
    /// What was heard, and what was said.
    #[serde(skip)]
    pub(super) heard: Option<Message>,
    #[serde(skip)]
    pub(super) said: Vec<Message>,
    /// The server behind the step.
    #[serde(skip)]
    pub(super) look: Option<Look>,
}

/// A vote, or a packet that is none of thousands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) is_vote: bool,
    pub(super) text: String,
}

/// From the loss of a leader to the next one, as one server lived it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Election {
    pub(super) server: u64,
    /// ms since 1970.
    pub(super) began: u64,
    /// How long it served nobody, ms; nothing, if the record ends before.
    pub(super) took: Option<u64>,
    pub(super) why: String,
    pub(super) outcome: String,
}

impl Election {
    pub(super) fn took(&self) -> String {
        match self.took {
            Some(ms) => format!("{ms} ms"),
            None => "not over".into(),
        }
    }
}

/// What was before a step.
#[derive(Clone, Copy)]
struct Before {
    leader: Option<ServerId>,
    state: ServerState,
}

/// Steps of which one is as another: proposals, acknowledgements, commits, PINGs.
#[derive(Default)]
struct Quiet {
    steps: u64,
    from: Zxid,
    to: Zxid,
}

/// What happened to one process.
pub(super) struct Story {
    server: ServerId,
    lines: Vec<Line>,
    elections: Vec<Election>,
    /// Who is at the other end of each connection.
    names: HashMap<Link, ServerId>,
    before: Option<Before>,
    /// The election that is not over, and on the elapsed clock since when.
    open: Option<(Election, u64)>,
    quiet: Quiet,
    last_ms: u64,
    last_step: u64,
}

impl Story {
    pub(super) fn of(server: ServerId) -> Self {
        Self {
            server,
            lines: Vec::new(),
            elections: Vec::new(),
            names: HashMap::new(),
            before: None,
            open: None,
            quiet: Quiet::default(),
            last_ms: 0,
            last_step: 0,
        }
    }

    /// When the last step was.
    pub(super) const fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Hands on what was told.
    pub(super) fn end(mut self, lines: &mut Vec<Line>, elections: &mut Vec<Election>) {
        self.tell_quiet();
        lines.append(&mut self.lines);
        elections.append(&mut self.elections);
        elections.extend(self.open.map(|(election, _)| election));
    }

    /// One more step.
    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        self.last_ms = seen.at.date_ms;
        self.name(seen);
        let mut parts: Vec<String> = self.cause(seen).into_iter().collect();
        self.consequences(seen, &mut parts);
        if !parts.is_empty() {
            self.tell_quiet();
            self.lines.push(Line {
                time: seen.at.date_ms,
                server: self.server.0,
                step: seen.step,
                text: parts.join("; "),
                heard: self.message_heard(seen),
                said: self.messages_said(seen),
                look: Some(look(seen)),
            });
        }
        self.count_election(seen);
        self.last_step = seen.step;
        self.before = Some(Before {
            leader: seen.peer.leader(),
            state: seen.peer.state(),
        });
    }

    fn name(&mut self, seen: &Seen<'_>) {
        match seen.what {
            What::Boot => {
                self.names.clear();
                self.before = None;
            }
            What::Input(Input::Linked(link)) if is_learner(seen.peer.state()) => {
                self.names
                    .extend(seen.peer.leader().map(|leader| (*link, leader)));
            }
            What::Input(Input::Received {
                link,
                packet: Packet::FollowerInfo { sid, .. } | Packet::ObserverInfo { sid, .. },
            }) => {
                self.names.insert(*link, *sid);
            }
            _ => {}
        }
    }

    fn who(&self, link: Link) -> String {
        match self.names.get(&link) {
            Some(sid) => format!("server {sid}"),
            None => format!("connection {}", link.0),
        }
    }

    /// What the step has heard; nothing, if it is one of many.
    fn cause(&mut self, seen: &Seen<'_>) -> Option<String> {
        let last = seen.peer.last_logged();
        Some(match seen.what {
            What::Boot => {
                let durable = seen.peer.durable();
                format!(
                    "starts with a history up to {}, currentEpoch {}, acceptedEpoch {}",
                    durable.history.last(),
                    durable.current,
                    durable.accepted
                )
            }
            // Nothing lies between two segments that follow each other.
            What::On if seen.step == self.last_step && self.before.is_some() => return None,
            What::On => format!(
                "the record goes on at step {}: {}, round {}, history up to {last}",
                seen.step,
                state_name(seen.peer.state()),
                seen.peer.round().0
            ),
            What::Forgot(_) => return None,
            What::Input(input) => return self.heard(input, seen),
        })
    }

    fn heard(&mut self, input: &Input<Brief>, seen: &Seen<'_>) -> Option<String> {
        let leader = self.before.and_then(|before| before.leader);
        let leader = leader.map_or_else(|| "the leader".into(), |sid| format!("server {sid}"));
        Some(match input {
            Input::Durable(_) | Input::Fired(Timer::Tick) => {
                self.quiet.steps += 1;
                return None;
            }
            Input::Propose(Brief(None)) => {
                self.quiet.add(seen.peer.last_logged());
                return None;
            }
            Input::Propose(Brief(Some(_))) => "a reconfiguration is asked for".into(),
            Input::Notified { from, notification } => {
                format!("server {from} says {}", vote_of(notification))
            }
            Input::Linked(link) => match self.names.get(link) {
                Some(_) => format!("is connected to {}", self.who(*link)),
                None => format!("a learner has connected ({})", self.who(*link)),
            },
            Input::Unreachable => format!("{leader} could not be reached"),
            Input::Unlinked(link) => {
                let who = self.who(*link);
                self.names.remove(link);
                format!("the connection to {who} has ended")
            }
            Input::Fired(Timer::Init) => "initLimit has passed".into(),
            Input::Fired(Timer::Resend) => "nothing new was heard".into(),
            Input::Fired(Timer::Finalize) => "no better vote has come".into(),
            Input::Received { link, packet } => match packet {
                Packet::Proposal {
                    zxid,
                    txn: Brief(None),
                }
                | Packet::Inform {
                    zxid,
                    txn: Brief(None),
                }
                | Packet::Commit { zxid }
                | Packet::Ack { zxid }
                    if zxid.counter() > 0 =>
                {
                    self.quiet.add(*zxid);
                    return None;
                }
                Packet::Ping { .. } => {
                    self.quiet.steps += 1;
                    return None;
                }
                other => format!("{} says {}", self.who(*link), said(other)),
            },
        })
    }

    fn consequences(&mut self, seen: &Seen<'_>, parts: &mut Vec<String>) {
        let mut told: Option<(Notification, Vec<String>)> = None;
        for effect in seen.effects {
            if let Effect::Notify { to, notification } = effect {
                match &mut told {
                    Some((same, all)) if same == notification => all.push(to.to_string()),
                    _ => {
                        parts.extend(told.take().map(|told| votes(&told)));
                        told = Some((*notification, vec![to.to_string()]));
                    }
                }
                continue;
            }
            parts.extend(self.consequence(effect, seen));
        }
        parts.extend(told.map(|told| votes(&told)));
    }

    fn consequence(&self, effect: &Effect<Brief>, seen: &Seen<'_>) -> Option<String> {
        Some(match effect {
            Effect::Persist { write, .. } => match write {
                Write::Append {
                    txn: Brief(None), ..
                } => return None,
                Write::Append { zxid, .. } => format!("logs a list of members at {zxid}"),
                Write::AcceptedEpoch(epoch) => format!("writes acceptedEpoch {epoch}"),
                Write::CurrentEpoch(epoch) => format!("writes currentEpoch {epoch}"),
                Write::Truncate { zxid } => format!("cuts its log behind {zxid}"),
                Write::Install { zxid, .. } => format!("takes the leader's tree of {zxid}"),
                Write::Activate { version } => format!("activates the list of {version}"),
            },
            Effect::Dial(leader) => format!("dials server {leader}"),
            Effect::Send { packet, .. } if is_often(packet) => return None,
            Effect::Send { link, packet } => {
                format!("tells {} {}", self.who(*link), said(packet))
            }
            Effect::SendHistory {
                link, after, upto, ..
            } => format!("sends {} what is in ({after}, {upto}]", self.who(*link)),
            Effect::SendSnapshot { link, zxid, .. } => {
                format!("sends {} its tree of {zxid}", self.who(*link))
            }
            Effect::Unlink(link) => format!("ends the connection to {}", self.who(*link)),
            Effect::Became(ServerState::Looking) => "is LOOKING".into(),
            Effect::Became(state) => match seen.peer.leader() {
                Some(leader) if is_learner(*state) => {
                    format!("is {} server {leader}", state_name(*state))
                }
                _ => format!("is {}", state_name(*state)),
            },
            Effect::Serve { epoch } => {
                format!("serves, epoch {epoch}, zxid {}", seen.peer.delivered())
            }
            Effect::Refused(fault) => format!("refuses it: {fault}"),
            Effect::Notify { .. }
            | Effect::SendInform { .. }
            | Effect::Arm(_)
            | Effect::Disarm(_)
            | Effect::Deliver { .. } => return None,
        })
    }

    fn message_heard(&self, seen: &Seen<'_>) -> Option<Message> {
        let to = self.server.0;
        match seen.what {
            What::Input(Input::Notified { from, notification }) => Some(Message {
                from: from.0,
                to,
                is_vote: true,
                text: short_vote(notification),
            }),
            What::Input(Input::Received { link, packet }) => Some(Message {
                from: self.names.get(link)?.0,
                to,
                is_vote: false,
                text: said(packet),
            }),
            _ => None,
        }
    }

    fn messages_said(&self, seen: &Seen<'_>) -> Vec<Message> {
        let from = self.server.0;
        let packet = |link: &Link, text: String| {
            let to = self.names.get(link)?.0;
            Some(Message {
                from,
                to,
                is_vote: false,
                text,
            })
        };
        let message = |effect: &Effect<Brief>| match effect {
            Effect::Notify { to, notification } => Some(Message {
                from,
                to: to.0,
                is_vote: true,
                text: short_vote(notification),
            }),
            Effect::Send { link, packet: what } if !is_often(what) => packet(link, said(what)),
            Effect::SendSnapshot { link, zxid, .. } => packet(link, format!("SNAP ({zxid})")),
            _ => None,
        };
        seen.effects.iter().filter_map(message).collect()
    }

    fn tell_quiet(&mut self) {
        let quiet = std::mem::take(&mut self.quiet);
        let is_of_writes = quiet.to > Zxid::ZERO;
        if !is_of_writes {
            return; // PINGs
        }
        let text = match quiet.from == quiet.to {
            true => format!("… {} steps about {}", quiet.steps, quiet.to),
            false => format!(
                "… {} steps about {} to {}",
                quiet.steps, quiet.from, quiet.to
            ),
        };
        self.lines.push(Line {
            time: self.last_ms,
            server: self.server.0,
            step: self.last_step,
            text,
            heard: None,
            said: Vec::new(),
            look: None,
        });
    }

    fn count_election(&mut self, seen: &Seen<'_>) {
        for effect in seen.effects {
            match effect {
                Effect::Became(ServerState::Looking) if self.open.is_none() => {
                    let election = Election {
                        server: self.server.0,
                        began: seen.at.date_ms,
                        took: None,
                        why: self.why(seen),
                        outcome: "no leader yet".into(),
                    };
                    self.open = Some((election, seen.at.elapsed_ms));
                }
                Effect::Serve { epoch } => {
                    let Some((mut election, since_ms)) = self.open.take() else {
                        continue;
                    };
                    election.took = Some(seen.at.elapsed_ms.saturating_sub(since_ms));
                    election.outcome = match seen.peer.leader() {
                        Some(leader) if leader != self.server => {
                            format!("server {leader} leads epoch {epoch}")
                        }
                        _ => format!("it leads epoch {epoch}"),
                    };
                    self.elections.push(election);
                }
                _ => {}
            }
        }
    }

    /// Why a server looks for a leader.
    fn why(&self, seen: &Seen<'_>) -> String {
        let fault = seen.effects.iter().find_map(|effect| match effect {
            Effect::Refused(fault) => Some(*fault),
            _ => None,
        });
        let leader = self.before.and_then(|before| before.leader);
        let leader = leader.map_or_else(|| "its leader".into(), |sid| format!("leader {sid}"));
        let led = self.before.is_some_and(|b| b.state == ServerState::Leading);
        match (seen.what, fault) {
            (What::Boot, _) => "it started".into(),
            (_, Some(fault)) => format!("of {fault}"),
            (What::Input(Input::Unlinked(_)), _) => {
                format!("the connection to {leader} ended")
            }
            (What::Input(Input::Unreachable), _) => format!("{leader} could not be reached"),
            (What::Input(Input::Fired(Timer::Init)), _) => "no quorum came within initLimit".into(),
            (What::Input(Input::Propose(_)), _) => "the zxids of its epoch are used up".into(),
            _ if led => "it has lost its vote by a reconfiguration".into(),
            _ => format!("it has left {leader}"),
        }
    }
}

impl Quiet {
    fn add(&mut self, zxid: Zxid) {
        self.steps += 1;
        if self.from == Zxid::ZERO {
            self.from = zxid;
        }
        self.to = self.to.max(zxid);
    }
}

const fn is_learner(state: ServerState) -> bool {
    matches!(state, ServerState::Following | ServerState::Observing)
}

/// A time, ms since 1970.
pub(super) fn shown(ms: u64) -> String {
    shown_time(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Whether it is one of the thousands of which nobody asks for each.
const fn is_often(packet: &Packet<Brief>) -> bool {
    match packet {
        Packet::Proposal { .. }
        | Packet::Inform { .. }
        | Packet::Commit { .. }
        | Packet::Ping { .. } => true,
        Packet::Ack { zxid } => zxid.counter() > 0,
        _ => false,
    }
}

/// What a picture shows of a server.
fn look(seen: &Seen<'_>) -> Look {
    let (peer, durable) = (seen.peer, seen.peer.durable());
    let (logged, on_disk) = (peer.last_logged(), durable.history.last());
    Look {
        role: Some(peer.state()),
        serving: peer.serving().map(|epoch| epoch.0),
        accepted: durable.accepted.0,
        current: durable.current.0,
        log: format!("up to {on_disk}"),
        pending: match peer.storage().is_idle() {
            true => String::new(),
            false => format!("up to {logged}"),
        },
        cached: String::new(),
        applied: Some(peer.delivered().to_string()),
    }
}

fn vote_of(n: &Notification) -> String {
    let vote = n.vote;
    format!(
        "{}, vote {} (epoch {}, zxid {}), round {}",
        state_name(n.state),
        vote.leader,
        vote.epoch,
        vote.zxid,
        n.round.0
    )
}

/// The same, where there is little room.
fn short_vote(n: &Notification) -> String {
    let (state, vote, round) = (state_name(n.state), n.vote, n.round.0);
    let (leader, epoch, zxid) = (vote.leader, vote.epoch, vote.zxid);
    format!("{state}: {leader}, epoch {epoch}, {zxid}, round {round}")
}

fn votes((notification, to): &(Notification, Vec<String>)) -> String {
    format!("tells {}: {}", to.join(", "), vote_of(notification))
}

fn said(packet: &Packet<Brief>) -> String {
    match packet {
        Packet::FollowerInfo { accepted, .. } => {
            format!("FOLLOWERINFO (acceptedEpoch {accepted})")
        }
        Packet::ObserverInfo { accepted, .. } => {
            format!("OBSERVERINFO (acceptedEpoch {accepted})")
        }
        Packet::LeaderInfo { epoch } => format!("LEADERINFO (epoch {epoch})"),
        Packet::AckEpoch { last, current } => match current {
            Some(current) => format!("ACKEPOCH (history up to {last}, currentEpoch {current})"),
            None => format!("ACKEPOCH (history up to {last}, not counted)"),
        },
        Packet::Diff { zxid } => format!("DIFF ({zxid})"),
        Packet::Trunc { zxid } => format!("TRUNC ({zxid})"),
        Packet::Snap { zxid, .. } => format!("SNAP ({zxid})"),
        Packet::Proposal { zxid, .. } => format!("PROPOSAL of a list of members ({zxid})"),
        Packet::Inform { zxid, .. } => format!("INFORM of a list of members ({zxid})"),
        Packet::Commit { zxid } => format!("COMMIT ({zxid})"),
        Packet::CommitAndActivate { zxid } => format!("COMMITANDACTIVATE ({zxid})"),
        Packet::NewLeader { epoch } => format!("NEWLEADER (epoch {epoch})"),
        Packet::UpToDate => "UPTODATE".into(),
        Packet::Ack { zxid } => format!("ACK of NEWLEADER (epoch {})", zxid.epoch()),
        Packet::Ping { .. } => "PING".into(),
    }
}
