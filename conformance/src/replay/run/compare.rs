//! Compares what came with what the step names: every vote, packet and write, none too many and none too few.

use super::Replay;
use crate::replay::files::{self, Image};
use crate::replay::ports::SERVERS;
use crate::replay::trace::{Action, End, FrameRecord, ListRecord, Step, VoteRecord, WriteRecord};
use crate::replay::wire::Packet;
use crate::replay::{list, wire};
use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

impl Replay<'_> {
    pub(super) async fn compare(&mut self, step: &Step) -> Result<()> {
        self.compare_votes(&step.votes)?;
        self.compare_frames(&step.frames)?;
        for server in 1..=SERVERS {
            let node = self.node(server);
            let expected: Vec<_> = step.writes.iter().filter(|w| w.server == server).collect();
            let seen = std::mem::take(&mut node.writes);
            // Which list a transaction brings, the packets and files tell.
            let same = |(seen, told): (&WriteRecord, &&WriteRecord)| {
                (&seen.kind, seen.value) == (&told.kind, told.value)
            };
            ensure!(
                seen.len() == expected.len() && seen.iter().zip(&expected).all(same),
                "writes of server {server}: expected {expected:x?}, seen {seen:x?}"
            );
            for write in seen {
                let tree = node.mirror.tree.clone();
                node.mirror.queue.push_back((write, tree));
            }
        }
        if let Action::Crash { server, .. } = step.action {
            let expected = self.node(server).record.clone();
            let image = Image::read(&self.node(server).server.data())?;
            let seen = (image.accepted, image.current, image.last());
            let expected = (expected.accepted, expected.current, expected.durable);
            ensure!(
                seen == expected,
                "accepted, current, last on the disk of server {server}: expected {expected:x?}, found {seen:x?}"
            );
            self.counts.disks += 1;
        }
        (1..=SERVERS).try_for_each(|server| self.compare_kept(server))
    }

    /// The list that a server's data says to be active, while it runs and when it is dead: as long as none is there, it is the one of its
    /// file. No write is on its way, so none is to be waited for.
    fn compare_kept(&mut self, server: u8) -> Result<()> {
        let node = self.node(server);
        let Some(expected) = node.record.kept.clone() else {
            return Ok(());
        };
        let seen = files::kept(&node.server.data())?;
        let is_it = match &seen {
            Some(seen) => *seen == expected,
            None => expected.version == 0,
        };
        ensure!(
            is_it,
            "the active list on the disk of server {server}: expected {expected:x?}, found {seen:x?}"
        );
        Ok(())
    }

    /// Whoever asked for a list is told when it is active, and not before.
    pub(super) async fn compare_answers(&mut self) -> Result<()> {
        for server in 1..=SERVERS {
            let node = self.node(server);
            let Some(client) = &node.client else { continue };
            let version = client.version;
            let lists = node.record.lists.as_ref();
            if !node.record.up || node.record.role != "LEADING" {
                node.client = None; // it may have been told, or not
                continue;
            }
            let is_active = lists.is_some_and(|lists| lists.active.version >= version);
            let deadline = Instant::now() + self.options.patience;
            let answers = |this: &mut Self| {
                let client = this.node(server).client.as_ref();
                client.map_or(0, |client| client.answers.len())
            };
            while is_active && answers(self) < 2 {
                let what = format!("the client of server {server} is not answered");
                self.hear(deadline, server, || what.clone()).await?;
            }
            let Some(client) = &self.node(server).client else {
                continue;
            };
            ensure!(
                is_active || client.answers.len() < 2,
                "server {server} tells a client of the list {version:x}, which is not active"
            );
            if is_active {
                let text = wire::reconfigured(&client.answers[1])?;
                let told = list::parse(&text)?;
                let expected = ListRecord {
                    version,
                    voters: self.lists.get(&version).cloned().unwrap_or_default(),
                };
                ensure!(
                    told == expected,
                    "the client of server {server} is told {told:x?}, expected {expected:x?}"
                );
                self.node(server).client = None;
                self.counts.answers += 1;
            }
        }
        Ok(())
    }

    pub(super) fn compare_votes(&mut self, expected: &[VoteRecord]) -> Result<()> {
        for ((from, to), seen) in std::mem::take(&mut self.votes) {
            let mut named = expected
                .iter()
                .filter(|v| (v.from, v.to) == (from, to))
                .rev();
            let mut newest = true;
            for (vote, bytes) in seen.into_iter().rev() {
                // The newest always comes. Those between were replaced while they waited; the sums below say whether
                // there were so many.
                list::check_places(&vote.lists, &self.ports)?;
                let lists = list::parse_told(&vote.lists);
                let is_it = |v: &&VoteRecord| {
                    let least = i64::MIN;
                    let (zxid, epoch) = match v.leader == least.cast_unsigned() {
                        false => (v.zxid, v.epoch),
                        true => (least.cast_unsigned(), least), // for nobody
                    };
                    let told = v.lists.as_ref();
                    (v.state.as_str(), v.leader, zxid, epoch, v.round)
                        == (vote.state, vote.leader, vote.zxid, vote.epoch, vote.round)
                        && told.is_none_or(|told| lists.as_ref().is_ok_and(|lists| lists == told))
                };
                let found = if newest {
                    named.next().filter(is_it)
                } else {
                    named.find(is_it)
                };
                let Some(record) = found else {
                    let all = expected.iter().filter(|v| (v.from, v.to) == (from, to));
                    let all: Vec<_> = all.collect();
                    bail!("votes from {from} to {to}: expected {all:x?}, seen {vote:x?}");
                };
                if newest && !record.lost {
                    self.mail.insert((from, to), bytes);
                }
                newest = false;
                self.counts.votes += 1;
            }
        }
        for vote in expected {
            self.node(vote.from).votes_named += 1;
        }
        for node in self
            .nodes
            .iter()
            .filter(|n| n.record.up && n.gate.is_some())
        {
            ensure!(
                node.votes_asked == node.votes_named,
                "server {} has sent {} votes in its life, replaced ones included; the trace names {}",
                node.record.id,
                node.votes_asked,
                node.votes_named
            );
        }
        Ok(())
    }

    /// Whether a packet carries the lists that the trace says, and the ids that it has to.
    fn carries(&self, frame: &FrameRecord, packet: &Packet) -> Result<bool> {
        list::check_places(&packet.lists, &self.ports)?;
        Ok(match packet.name {
            "FOLLOWERINFO" | "OBSERVERINFO" | "COMMITANDACTIVATE" => {
                packet.sid == Some(u64::from(frame.from))
            }
            "PROPOSAL" if frame.voters.is_empty() => packet.lists.is_empty(),
            "PROPOSAL" => {
                let list = list::parse(&packet.lists)?;
                (list.version, &list.voters) == (frame.zxid.cast_unsigned(), &frame.voters)
            }
            "SNAP" | "NEWLEADER" => match &frame.lists {
                Some(lists) => list::parse_both(&packet.lists)? == *lists,
                // Where lists do not change, NEWLEADER says the one of the file.
                None => packet.name == "NEWLEADER" || packet.lists.is_empty(),
            },
            _ => true,
        })
    }

    pub(super) fn compare_frames(&mut self, expected: &[FrameRecord]) -> Result<()> {
        for frame in expected {
            let FrameRecord { link, from, to, .. } = *frame;
            let conn = self.linked(link)?;
            let end = if conn.leader == from {
                End::Leader
            } else {
                End::Learner
            };
            ensure!(
                (conn.server(end), conn.server(end.other())) == (from, to),
                "link {link} is between others: expected {frame:x?}"
            );
            let next = conn.half(end).unmatched.pop_front();
            let (packet, bytes) = next.with_context(|| format!("missing: {frame:x?}"))?;
            let same = (packet.name, packet.zxid, packet.epoch)
                == (&frame.packet, frame.zxid, frame.epoch);
            ensure!(same, "expected {frame:x?}, seen {packet:x?}");
            let tree = frame.tree.iter().copied();
            let mut tree: Vec<u64> = tree.filter(|z| !self.lists.contains_key(z)).collect();
            tree.sort_unstable();
            ensure!(
                packet.tree == tree && self.carries(frame, &packet)?,
                "expected {frame:x?}, seen {packet:x?}"
            );
            let conn = self.linked(link)?;
            if !frame.lost {
                conn.half(end.other())
                    .inbox
                    .push_back((frame.clone(), bytes));
            }
            self.counts.frames += 1;
        }
        for conn in self.conns.values() {
            for end in [End::Leader, End::Learner] {
                let waiting = &conn.halves[end as usize].unmatched;
                // A learner's first packet comes when it dials.
                let early = usize::from(conn.link.is_none() && end == End::Learner);
                if let Some((packet, _)) = waiting.get(early) {
                    bail!(
                        "server {} sends {packet:x?} to server {}, which the trace does not name",
                        conn.server(end),
                        conn.server(end.other())
                    );
                }
            }
        }
        Ok(())
    }
}
