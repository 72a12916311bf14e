//! Whether what one server has heard over a connection is what the other one has sent.
//!
//! The records of both ends are needed, from the connection's beginning on. Of a transaction its place is compared; PINGs are not, as the host
//! says some of them by itself.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use zabra_model::flight::{Brief, Seen, What};
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::packet::Packet;
use zabra_model::step::{Effect, Input, Link};
use zabra_model::vote::ServerState;

/// Clocks of servers may differ by so much, ms.
const CLOCKS_MS: u64 = 10_000;

/// A packet, as far as it is compared: its name, and the numbers that it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    name: &'static str,
    number: u64,
    more: u64,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}", self.name, self.number)
    }
}

/// One end of a connection between a leader and a learner.
#[derive(Clone, Debug)]
struct End {
    me: ServerId,
    other: Option<ServerId>,
    leads: bool,
    /// When it stood, ms since 1970.
    from: u64,
    until: u64,
    sent: Vec<Frame>,
    heard: Vec<Frame>,
    /// The record says no more of it, and the connection may have gone on.
    is_cut: bool,
}

/// The ends that a server had.
#[derive(Debug, Default)]
pub(super) struct Ends {
    open: BTreeMap<Link, End>,
    done: Vec<End>,
    last_step: u64,
}

/// What came of comparing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Compared {
    /// Connections of which both ends are recorded.
    pub(super) connections: usize,
    /// Packets that one end has heard, and the other one has sent.
    pub(super) packets: usize,
    /// Where one has heard something else.
    pub(super) differs: Vec<String>,
}

impl Ends {
    /// One more step of the server.
    pub(super) fn see(&mut self, me: ServerId, seen: &Seen<'_>) {
        match seen.what {
            What::Boot => self.end(),
            What::On if seen.step != self.last_step => self.end(),
            What::Input(Input::Linked(link)) => {
                let leads = seen.peer.state() == ServerState::Leading;
                let end = End {
                    me,
                    other: seen.peer.leader().filter(|_| !leads),
                    leads,
                    from: seen.at.date_ms,
                    until: seen.at.date_ms,
                    sent: Vec::new(),
                    heard: Vec::new(),
                    is_cut: false,
                };
                self.open.insert(*link, end);
            }
            What::Input(Input::Received { link, packet }) => {
                if let Some(end) = self.open.get_mut(link) {
                    if let Packet::FollowerInfo { sid, .. } | Packet::ObserverInfo { sid, .. } =
                        packet
                    {
                        end.other = Some(*sid);
                    }
                    end.heard.extend(frame(packet));
                }
            }
            What::Input(Input::Unlinked(link)) => self.close(*link, seen.at.date_ms),
            What::Input(_) | What::On | What::Forgot(_) => {}
        }
        for effect in seen.effects {
            self.say(effect, seen);
        }
        self.last_step = seen.step;
    }

    fn say(&mut self, effect: &Effect<Brief>, seen: &Seen<'_>) {
        let mut put = |link: &Link, frames: &mut dyn Iterator<Item = Frame>| {
            if let Some(end) = self.open.get_mut(link) {
                end.sent.extend(frames);
            }
        };
        match effect {
            Effect::Send { link, packet } => put(link, &mut frame(packet).into_iter()),
            Effect::SendInform { link, zxid } => {
                put(link, &mut std::iter::once(of("INFORM", zxid.0)));
            }
            Effect::SendSnapshot { link, zxid, .. } => {
                put(link, &mut std::iter::once(of("SNAP", zxid.0)));
            }
            Effect::SendHistory {
                link,
                after,
                upto,
                committed,
            } => {
                let all = seen.peer.logged().above(*after);
                let some = all.take_while(|zxid| zxid <= upto);
                put(
                    link,
                    &mut some.flat_map(|zxid| {
                        let commit = committed.then(|| of("COMMIT", zxid.0));
                        std::iter::once(of("PROPOSAL", zxid.0)).chain(commit)
                    }),
                );
            }
            Effect::Unlink(link) => self.close(*link, seen.at.date_ms),
            _ => {}
        }
    }

    fn close(&mut self, link: Link, at_ms: u64) {
        if let Some(mut end) = self.open.remove(&link) {
            end.until = at_ms;
            self.done.push(end);
        }
    }

    /// The record has a gap, or ends.
    pub(super) fn end(&mut self) {
        for mut end in std::mem::take(&mut self.open).into_values() {
            end.is_cut = true;
            end.until = u64::MAX;
            self.done.push(end);
        }
    }
}

/// Compares the ends of all servers' connections.
pub(super) fn compare(all: Vec<Ends>) -> Compared {
    let mut ends: Vec<End> = all.into_iter().flat_map(|ends| ends.done).collect();
    ends.sort_by_key(|end| end.from);
    let (mut leaders, learners): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.leads);
    let mut compared = Compared::default();
    let mut alone = Vec::new();
    for learner in &learners {
        let mut places = leaders.iter().enumerate();
        let pair = places.find_map(|(at, leader)| {
            let may_be = learner.may_be_of(leader);
            let packets = may_be.then(|| learner.differs_from(leader).ok());
            Some((at, packets.flatten()?))
        });
        let Some((at, packets)) = pair else {
            alone.push(learner);
            continue;
        };
        leaders.remove(at);
        compared.connections += 1;
        compared.packets += packets;
    }
    // A connection may have an end that nobody has recorded: one that its leader turned away. Where two ends are left that could be of one
    // connection, they are.
    for learner in alone {
        let other = leaders.iter().position(|leader| learner.may_be_of(leader));
        if let Some(leader) = other.map(|at| leaders.remove(at)) {
            compared.differs.extend(learner.differs_from(&leader).err());
        }
    }
    compared
}

impl End {
    /// Whether the other end may be this one, as far as names and times tell.
    fn may_be_of(&self, leader: &Self) -> bool {
        self.other == Some(leader.me)
            && leader.other == Some(self.me)
            && self.from <= leader.until.saturating_add(CLOCKS_MS)
            && leader.from <= self.until.saturating_add(CLOCKS_MS)
            && self.sent.first() == leader.heard.first()
    }

    /// Packets that were compared.
    ///
    /// # Errors
    /// The first that was heard and not sent.
    fn differs_from(&self, leader: &Self) -> Result<usize, String> {
        Ok(heard_of(self, leader)? + heard_of(leader, self)?)
    }
}

/// Compares what `by` has heard with what `of` has sent: it is the beginning of it.
fn heard_of(by: &End, of: &End) -> Result<usize, String> {
    let whose = || {
        format!(
            "over a connection of server {} to leader {}, server {}",
            if by.leads { of.me } else { by.me },
            if by.leads { by.me } else { of.me },
            by.me
        )
    };
    for (n, heard) in by.heard.iter().enumerate() {
        match of.sent.get(n) {
            Some(sent) if sent == heard => {}
            Some(sent) => {
                return Err(format!(
                    "{} has heard {heard} as packet {}, and server {} has sent {sent}",
                    whose(),
                    n + 1,
                    of.me
                ));
            }
            None if of.is_cut => return Ok(n),
            None => {
                return Err(format!(
                    "{} has heard {heard} as packet {}, and server {} has sent {n}",
                    whose(),
                    n + 1,
                    of.me
                ));
            }
        }
    }
    Ok(by.heard.len())
}

const fn of(name: &'static str, number: u64) -> Frame {
    Frame {
        name,
        number,
        more: 0,
    }
}

fn frame(packet: &Packet<Brief>) -> Option<Frame> {
    let zxid = |name, zxid: &Zxid| of(name, zxid.0);
    Some(match packet {
        Packet::Ping { .. } => return None,
        Packet::FollowerInfo { sid, accepted } => Frame {
            more: accepted.0.into(),
            ..of("FOLLOWERINFO", sid.0)
        },
        Packet::ObserverInfo { sid, accepted } => Frame {
            more: accepted.0.into(),
            ..of("OBSERVERINFO", sid.0)
        },
        Packet::LeaderInfo { epoch } => of("LEADERINFO", epoch.0.into()),
        Packet::AckEpoch { last, current } => Frame {
            more: current.map_or(u64::MAX, |epoch| epoch.0.into()),
            ..of("ACKEPOCH", last.0)
        },
        Packet::NewLeader { epoch } => of("NEWLEADER", epoch.0.into()),
        Packet::UpToDate => of("UPTODATE", 0),
        Packet::Diff { zxid: z } => zxid("DIFF", z),
        Packet::Trunc { zxid: z } => zxid("TRUNC", z),
        Packet::Snap { zxid: z, .. } => zxid("SNAP", z),
        Packet::Proposal { zxid: z, .. } => zxid("PROPOSAL", z),
        Packet::Inform { zxid: z, .. } => zxid("INFORM", z),
        Packet::Commit { zxid: z } => zxid("COMMIT", z),
        Packet::CommitAndActivate { zxid: z } => zxid("COMMITANDACTIVATE", z),
        Packet::Ack { zxid: z } => zxid("ACK", z),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(me: u64, other: u64, leads: bool) -> End {
        let hello = Frame {
            more: 1,
            ..of("FOLLOWERINFO", if leads { other } else { me })
        };
        let said = vec![
            of("LEADERINFO", 2),
            of("DIFF", 5),
            of("PROPOSAL", 6),
            of("COMMIT", 6),
        ];
        let (sent, heard) = match leads {
            true => (said, vec![hello]),
            false => (vec![hello], said),
        };
        End {
            me: ServerId(me),
            other: Some(ServerId(other)),
            leads,
            from: 1_000_000,
            until: 2_000_000,
            sent,
            heard,
            is_cut: false,
        }
    }

    fn compared(ends: [End; 2]) -> Compared {
        let ends = ends.map(|end| Ends {
            done: vec![end],
            ..Ends::default()
        });
        compare(ends.into())
    }

    #[test]
    fn what_is_heard_is_the_beginning_of_what_was_sent() {
        let whole = compared([end(1, 3, false), end(3, 1, true)]);
        assert_eq!((whole.connections, whole.packets), (1, 5));
        assert_eq!(whole.differs, [""; 0]);
        // It was on its way when the connection ended.
        let mut learner = end(1, 3, false);
        learner.heard.pop();
        let less = compared([learner, end(3, 1, true)]);
        assert_eq!((less.packets, less.differs.len()), (4, 0));
    }

    #[test]
    fn a_packet_that_is_missing_swapped_changed_or_made_up_is_told() {
        type Change = fn(&mut Vec<Frame>);
        let changes: [(Change, &str); 4] = [
            (
                |heard| {
                    heard.remove(1);
                },
                "heard PROPOSAL 0x6 as packet 2",
            ),
            (|heard| heard.swap(2, 3), "heard COMMIT 0x6 as packet 3"),
            (|heard| heard[1].number = 4, "heard DIFF 0x4 as packet 2"),
            (
                |heard| heard.push(of("COMMIT", 7)),
                "heard COMMIT 0x7 as packet 5, and server 3 has sent 4",
            ),
        ];
        for (change, said) in changes {
            let mut learner = end(1, 3, false);
            change(&mut learner.heard);
            let compared = compared([learner, end(3, 1, true)]);
            let [what] = &compared.differs[..] else {
                panic!("{compared:?}");
            };
            assert!(what.contains(said), "{what}");
            assert!(
                what.contains("server 1 to leader 3, server 1 has"),
                "{what}"
            );
        }
        let mut leader = end(3, 1, true);
        leader.heard.push(of("ACK", 6));
        let compared = compared([end(1, 3, false), leader]);
        assert!(
            compared.differs[0].contains("server 3 has heard ACK 0x6"),
            "{compared:?}"
        );
    }

    #[test]
    fn a_record_that_ends_before_its_connection_says_nothing_of_the_rest() {
        let mut leader = end(3, 1, true);
        leader.sent.truncate(2);
        leader.is_cut = true;
        let compared = compared([end(1, 3, false), leader]);
        assert_eq!((compared.connections, compared.packets), (1, 3));
        assert_eq!(compared.differs, [""; 0]);
    }

    #[test]
    fn an_attempt_that_the_leader_has_not_recorded_is_nothing_to_compare() {
        let mut turned_away = end(1, 3, false);
        turned_away.heard.clear();
        let mut leader = end(3, 1, true);
        leader.heard.push(of("ACKEPOCH", 0));
        let mut learner = end(1, 3, false);
        learner.sent.push(of("ACKEPOCH", 0));
        let ends = [turned_away, learner, leader].map(|end| Ends {
            done: vec![end],
            ..Ends::default()
        });
        let compared = compare(ends.into());
        assert_eq!((compared.connections, compared.packets), (1, 6));
        assert_eq!(compared.differs, [""; 0]);
    }

    #[test]
    fn each_end_belongs_to_the_other_end_of_its_own_time() {
        let other = end(2, 3, false);
        assert_eq!(compared([other, end(3, 1, true)]), Compared::default());
        let mut early = end(1, 3, false);
        (early.from, early.until) = (1000, 2000);
        assert_eq!(compared([early, end(3, 1, true)]), Compared::default());
    }
}
