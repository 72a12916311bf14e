//! A run as a picture: who does what in which step, which packet is sent where and arrives when, what is on the disks.
//!
//! [`Chart::of`] runs the model over a list of actions and notes what a reader wants to see; [`Chart::svg`] and
//! [`Chart::mermaid`] write that down. Nothing here decides anything: what happened is what [`trace::record`] says.

#[cfg(test)]
mod tests;

use super::action::Action;
use super::bounds::Grain;
use super::cluster::{Cluster, Done, World};
use super::link::End;
use super::model::Zab;
use super::node::Node;
use super::trace::{self, list_text, op_text, packet_text, vote_text};
pub use crate::diagram::Chart;
use crate::diagram::{Arrow, Ending, Fault, Kind, Look, Note, Row, first_notes, notes};
use crate::ids::Zxid;
use crate::peer::Peer;
use crate::step::Effect;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

impl Chart {
    /// The chart of a run; `None` if there is no such initial state. The actions have to be those of a run: each
    /// enabled where it is taken.
    #[must_use]
    pub fn of(model: &Zab, initial: usize, actions: &[Action], title: &str) -> Option<Self> {
        let mut c = model.initial().into_iter().nth(initial)?;
        let mut flights = Flights::default();
        flights.found(&model.world, &c);
        let looks: Vec<Look> = c.nodes(&model.world).map(look).collect();
        let first = Row {
            text: "at first".to_string(),
            fault: None,
            notes: first_notes(&looks),
            acting: Vec::new(),
            looks,
        };
        let mut rows = Vec::from([first]);
        for (n, action) in actions.iter().enumerate() {
            let fault = fault_of(&model.world, &c, *action);
            flights.arrive(&model.world, &c, n + 1, *action);
            let (step, done, _) = trace::record(model, &mut c, n + 1, *action);
            flights.follow(model, &c, step.n, &done);
            let looks: Vec<Look> = c.nodes(&model.world).map(look).collect();
            let before = &rows[n].looks;
            let mut notes = notes(before, &looks, fault);
            notes.extend(done.iter().filter_map(refusal));
            let mut acting: Vec<usize> = done.iter().map(doer).collect();
            acting.extend((0..looks.len()).filter(|i| looks[*i] != before[*i]));
            acting.sort_unstable();
            acting.dedup();
            rows.push(Row {
                text: step.text,
                fault,
                looks,
                notes,
                acting,
            });
        }
        Some(Self {
            ids: (1..=c.n() as u64).collect(),
            title: title.to_string(),
            rows,
            arrows: flights.arrows,
        })
    }
}

/// What is on the way: places in `arrows`, oldest first.
#[derive(Default)]
struct Flights {
    arrows: Vec<Arrow>,
    /// By connection and receiver.
    packets: BTreeMap<(u64, usize), VecDeque<usize>>,
    /// By sender and receiver.
    votes: BTreeMap<(usize, usize), VecDeque<usize>>,
}

impl Flights {
    fn add(&mut self, from: usize, to: usize, text: String, vote: bool, sent: usize) -> usize {
        self.arrows.push(Arrow {
            from,
            to,
            text,
            vote,
            sent,
            end: Ending::Underway,
        });
        self.arrows.len() - 1
    }

    /// What is on the way before the first step.
    fn found(&mut self, world: &World, c: &Cluster) {
        for w in c.wires(world) {
            for end in [End::Leader, End::Learner] {
                let (from, to) = (w.server(end.other()), w.server(end));
                for frame in w.inbox(end) {
                    let arrow = self.add(from, to, packet_text(frame), false, 0);
                    self.packets.entry((w.id, to)).or_default().push_back(arrow);
                }
            }
        }
        for (from, to) in (0..c.n()).flat_map(|from| (0..c.n()).map(move |to| (from, to))) {
            let mail = &c.mail(world, to)[from];
            for notification in mail {
                let arrow = self.add(from, to, vote_text(notification), true, 0);
                self.votes.entry((from, to)).or_default().push_back(arrow);
            }
        }
    }

    /// What one step sends, and what else it delivers or loses; `c` is the cluster after it.
    fn follow(&mut self, model: &Zab, c: &Cluster, row: usize, done: &[Done]) {
        for done in done {
            match done {
                Done::Sent {
                    link,
                    from,
                    to,
                    frame,
                    lost,
                } => {
                    let arrow = self.add(*from, *to, packet_text(frame), false, row);
                    if *lost {
                        self.arrows[arrow].end = Ending::Lost(row);
                    } else {
                        let queue = self.packets.entry((*link, *to)).or_default();
                        queue.push_back(arrow);
                    }
                }
                // In the coarse elections votes are cast, but nobody waits for them.
                Done::Voted { .. } if model.bounds.grain != Grain::E2 => {}
                Done::Voted {
                    from,
                    to,
                    notification,
                    lost,
                } => {
                    let arrow = self.add(*from, *to, vote_text(notification), true, row);
                    if *lost {
                        self.arrows[arrow].end = Ending::Lost(row);
                        continue;
                    }
                    let queue = self.votes.entry((*from, *to)).or_default();
                    if queue.len() >= usize::from(model.bounds.mail)
                        && let Some(old) = queue.pop_back()
                    {
                        self.arrows[old].end = Ending::Replaced(row);
                    }
                    queue.push_back(arrow);
                }
                Done::Queued { .. } | Done::Other { .. } => {}
            }
        }
        self.settle(&model.world, c, row);
    }

    /// The packet or vote that the step is about; `c` is the cluster before it.
    fn arrive(&mut self, world: &World, c: &Cluster, row: usize, action: Action) {
        let queue = match action {
            Action::Receive { link, at } => {
                let wire = c.wire(world, link);
                wire.and_then(|w| self.packets.get_mut(&(link, w.server(at))))
            }
            Action::Notify { from, to } => {
                let key = (usize::from(from) - 1, usize::from(to) - 1);
                self.votes.get_mut(&key)
            }
            _ => None, // coarse actions deliver too: `settle` sees it
        };
        if let Some(arrow) = queue.and_then(VecDeque::pop_front) {
            self.arrows[arrow].end = Ending::Received(row);
        }
    }

    /// What the cluster no longer holds has arrived, if its connection still stands, or is lost.
    fn settle(&mut self, world: &World, c: &Cluster, row: usize) {
        for ((link, to), queue) in &mut self.packets {
            let wire = c.wire(world, *link);
            let ends = [End::Leader, End::Learner];
            let held =
                wire.and_then(|w| Some((w, ends.into_iter().find(|e| w.server(*e) == *to)?)));
            let (held, open) = held.map_or((0, false), |(w, e)| (w.inbox(e).len(), w.is_open(e)));
            while queue.len() > held {
                let Some(arrow) = queue.pop_front() else {
                    break;
                };
                self.arrows[arrow].end = if open {
                    Ending::Received(row)
                } else {
                    Ending::Lost(row)
                };
            }
        }
        for ((from, to), queue) in &mut self.votes {
            while queue.len() > c.mail(world, *to)[*from].len() {
                let Some(arrow) = queue.pop_front() else {
                    break;
                };
                self.arrows[arrow].end = Ending::Lost(row);
            }
        }
    }
}

/// The fault that an action is, with the servers that it hits.
fn fault_of(world: &World, c: &Cluster, action: Action) -> Option<Fault> {
    let i = |server: u8| usize::from(server) - 1;
    let link = match action {
        Action::Crash { server, .. } => return Some(Fault::Crash(i(server))),
        Action::Die { server, .. } => return Some(Fault::Die(i(server))),
        Action::FailSync { server, .. } => return Some(Fault::FailSync(i(server))),
        Action::Disconnect { link } => link,
        _ => return None,
    };
    let wire = c.wire(world, link)?;
    Some(Fault::Cut(wire.leader, wire.learner))
}

/// What a server has refused.
fn refusal(done: &Done) -> Option<Note> {
    match done {
        Done::Other {
            server,
            effect: Effect::Refused(fault),
            ..
        } => Some(Note {
            server: *server,
            kind: Kind::Said,
            text: format!("refuses: {fault}"),
        }),
        _ => None,
    }
}

const fn doer(done: &Done) -> usize {
    match done {
        Done::Sent { from, .. } | Done::Voted { from, .. } => *from,
        Done::Queued { server, .. } | Done::Other { server, .. } => *server,
    }
}

fn look(node: &Node) -> Look {
    let peer = node.peer.as_ref();
    let image = &node.disk.image;
    let pending: Vec<String> = node.disk.queue.iter().map(op_text).collect();
    Look {
        role: peer.map(Peer::state),
        serving: peer.and_then(Peer::serving).map(|e| e.0),
        accepted: image.accepted.0,
        current: image.current.0,
        log: list_text(&image.content()),
        pending: pending.join(", "),
        cached: trace::cached_text(node),
        applied: peer
            .map(|_| node.tree.last().copied())
            .map(|z: Option<Zxid>| z.map_or_else(|| "-".to_string(), |z| format!("{z:?}"))),
    }
}
