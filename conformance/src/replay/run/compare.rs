//! Compares what came with what the step names: every vote, packet and write, none too many and none too few.

use super::Replay;
use crate::replay::files::Image;
use crate::replay::server::SERVERS;
use crate::replay::trace::{Action, End, FrameRecord, Step, VoteRecord};
use anyhow::{Context, Result, bail, ensure};

impl Replay<'_> {
    pub(super) async fn compare(&mut self, step: &Step) -> Result<()> {
        self.compare_votes(&step.votes)?;
        self.compare_frames(&step.frames)?;
        for server in 1..=SERVERS {
            let node = self.node(server);
            let expected: Vec<_> = step.writes.iter().filter(|w| w.server == server).collect();
            let seen = std::mem::take(&mut node.writes);
            ensure!(
                seen.iter().eq(expected.iter().copied()),
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
                let is_it = |v: &&VoteRecord| {
                    (v.state.as_str(), v.leader, v.zxid, v.epoch, v.round)
                        == (vote.state, vote.leader, vote.zxid, vote.epoch, vote.round)
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
            let mut tree = frame.tree.clone();
            tree.sort_unstable();
            let same = (packet.name, packet.zxid, packet.epoch)
                == (&frame.packet, frame.zxid, frame.epoch)
                && packet.tree == tree;
            ensure!(same, "expected {frame:x?}, seen {packet:x?}");
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
