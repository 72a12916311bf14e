//! Phase 2: the leader's history on a quorum of disks.

use super::progress::DiskProgress;
use super::sync_plan::{SyncPlan, plan_sync};
use super::{Leading, Learner, LearnerStage, Phase};
use crate::context::Context;
use crate::fault::Fault;
use crate::ids::Zxid;
use crate::packet::Packet;
use crate::step::{Effect, Timer, Write};
use alloc::boxed::Box;

impl Leading {
    /// A quorum has accepted the epoch: this leader's history is the initial history of it.
    pub(super) fn begin_sync<T>(&mut self, cx: &mut Context<'_, T>) {
        self.committed = cx.storage.asked.history.last();
        self.phase = Phase::WritingEpoch;
        cx.storage.persist(Write::CurrentEpoch(self.epoch), cx.out);
        self.sync_all(|_| true, cx);
    }

    /// A learner comes to a running synchronization or broadcast.
    ///
    /// If its log ends in proposals of this leader that are not committed yet, it waits until they are: it must not
    /// be told to drop what may be committed meanwhile (D-4). Having them is not acknowledging them: its currentEpoch
    /// may be an older one, and then it loses elections against servers without them. Waiting ends, because a
    /// leader that has no quorum of others steps down.
    pub(super) fn admit<T: Clone>(&mut self, at: usize, last: Zxid, cx: &mut Context<'_, T>) {
        let holds_outstanding = last > self.committed && cx.storage.asked.history.contains(last);
        if !holds_outstanding || !cx.rules().outstanding_is_not_cut() {
            self.sync_learner(at, last, cx);
            return;
        }
        self.learners[at].stage = LearnerStage::EpochAcked {
            last,
            counted: false,
        };
        if !cx.rules().holding_is_not_acking() {
            let seat = self.learners[at].seat;
            let held = self.outstanding.iter_mut().filter(|o| o.zxid <= last);
            held.for_each(|o| o.acks.insert(seat));
            self.commit_ready(cx);
        }
    }

    /// Synchronizes the learners that waited for what is committed now.
    pub(super) fn sync_waiting<T>(&mut self, cx: &mut Context<'_, T>) {
        let committed = self.committed;
        self.sync_all(|last| last <= committed, cx);
    }

    /// Synchronizes the learners whose histories end where `has_turn` says.
    fn sync_all<T>(&mut self, has_turn: impl Fn(Zxid) -> bool, cx: &mut Context<'_, T>) {
        let mut at = 0;
        while let Some(learner) = self.learners.get(at) {
            match learner.stage {
                // Whoever is refused is not there any more.
                LearnerStage::EpochAcked { last, .. } if has_turn(last) => {
                    at += usize::from(self.sync_learner(at, last, cx));
                }
                _ => at += 1,
            }
        }
    }

    /// Sends a learner what it lacks, then NEWLEADER; from here on it gets live proposals, too.
    ///
    /// All in one step, so that nothing can fall between the history and the live stream (ZOOKEEPER-962). False: it is an observer, as
    /// many learners are being brought up as may be, and its connection is closed.
    // long: every effect of one step, in the order in which a learner gets them.
    pub(super) fn sync_learner<T>(
        &mut self,
        at: usize,
        last: Zxid,
        cx: &mut Context<'_, T>,
    ) -> bool {
        let link = self.learners[at].link;
        let committed = self.committed;
        let history = &cx.storage.asked.history;
        let newest = history.last();
        let known = if cx.rules().plan_knows_what_is_committed() {
            committed
        } else {
            committed.min(*cx.delivered)
        };
        let plan = plan_sync(history, known, cx.env.sync.reach, last, cx.env.switches);
        let by_snap = plan == SyncPlan::Snap;
        if let Some(fault) = self.no_room_for(at, by_snap, cx) {
            cx.out.push(Effect::Refused(fault));
            cx.out.push(Effect::Unlink(link));
            self.on_unlinked(link);
            return false;
        }
        let (first, after) = match plan {
            SyncPlan::Diff { after } => {
                let packet = Packet::Diff { zxid: committed };
                (Effect::Send { link, packet }, after)
            }
            SyncPlan::Trunc { to } => {
                let packet = Packet::Trunc { zxid: to };
                (Effect::Send { link, packet }, to)
            }
            SyncPlan::Snap => {
                // A tree that trails the own history would take back what the learner may have helped to commit
                // (D-5): before a quorum has formed, this applies the initial history early.
                if cx.rules().snap_has_the_whole_history() {
                    cx.deliver(committed);
                }
                let zxid = *cx.delivered;
                let ensemble = Box::new(cx.storage.ensemble.upto(zxid));
                let snapshot = Effect::SendSnapshot {
                    link,
                    zxid,
                    ensemble,
                };
                (snapshot, zxid)
            }
        };
        cx.out.push(first);
        if after < committed {
            cx.out.push(Effect::SendHistory {
                link,
                after,
                upto: committed,
                committed: true,
            });
        }
        // An observer is not asked for an ack, so it learns of these when they are committed.
        let outstanding_too =
            !self.learners[at].observer || !cx.rules().observers_wait_for_commits();
        if committed < newest && outstanding_too && cx.rules().history_meets_the_live_stream() {
            cx.out.push(Effect::SendHistory {
                link,
                after: committed,
                upto: newest,
                committed: false,
            });
        }
        let packet = Packet::NewLeader { epoch: self.epoch };
        cx.out.push(Effect::Send { link, packet });
        if committed < newest && !cx.rules().proposals_are_sent_once() {
            cx.out.push(Effect::SendHistory {
                link,
                after: committed,
                upto: newest,
                committed: false,
            });
        }
        self.learners[at].stage = LearnerStage::Synced;
        self.learners[at].by_snap = by_snap;
        true
    }

    /// Why an observer is not brought up now. Followers always are: without them there may be no quorum.
    fn no_room_for<T>(&self, at: usize, by_snap: bool, cx: &Context<'_, T>) -> Option<Fault> {
        let limits = cx.env.sync;
        let (max, under_way) = if by_snap {
            (limits.snaps_max, self.syncs_under_way().0)
        } else {
            (limits.diffs_max, self.syncs_under_way().1)
        };
        let Learner { sid, observer, .. } = self.learners[at];
        (observer && under_way >= max).then_some(Fault::TooManySyncs { sid, max })
    }

    /// How many learners have been sent their history, and have not acknowledged NEWLEADER: by SNAP, and otherwise.
    pub(crate) fn syncs_under_way(&self) -> (u32, u32) {
        let synced = self.learners.iter();
        let synced = synced.filter(|l| l.stage == LearnerStage::Synced);
        synced.fold((0, 0), |(snaps, diffs), l| {
            let by_snap = u32::from(l.by_snap);
            (snaps + by_snap, diffs + 1 - by_snap)
        })
    }

    /// The own currentEpoch is durable: the leader's own acknowledgement of NEWLEADER.
    pub(super) fn on_epoch_current<T>(&mut self, cx: &mut Context<'_, T>) {
        self.phase = Phase::AwaitNewLeaderAcks;
        self.establish(cx);
    }

    /// ACK of NEWLEADER.
    pub(super) fn on_ack_new_leader<T>(&mut self, at: usize, cx: &mut Context<'_, T>) {
        self.learners[at].stage = LearnerStage::Active;
        if cx.env.ack_ticks_max > 0 {
            // What it was synchronized with it need not acknowledge.
            let last = cx.storage.asked.history.last();
            self.learners[at].progress = DiskProgress::starting_at(last);
        }
        if self.phase == Phase::Broadcast {
            let link = self.learners[at].link;
            let packet = Packet::UpToDate;
            cx.out.push(Effect::Send { link, packet });
        } else {
            self.establish(cx);
        }
    }

    /// Serves once a quorum, this server included, has the initial history and the epoch on disk.
    fn establish<T>(&mut self, cx: &mut Context<'_, T>) {
        let formed = self.has_live_quorum(cx) || !cx.rules().serving_needs_a_quorum();
        if self.phase != Phase::AwaitNewLeaderAcks || !formed {
            return;
        }
        self.phase = Phase::Broadcast;
        self.vote.epoch = self.epoch;
        if cx.env.ack_ticks_max > 0 {
            self.own = DiskProgress::starting_at(self.committed);
        }
        cx.out.push(Effect::Disarm(Timer::Init));
        cx.out.push(Effect::Arm(Timer::Tick));
        self.activate(self.committed, cx);
        cx.deliver(self.committed);
        cx.out.push(Effect::Serve { epoch: self.epoch });
        for l in self
            .learners
            .iter()
            .filter(|l| l.stage == LearnerStage::Active)
        {
            let packet = Packet::UpToDate;
            cx.out.push(Effect::Send {
                link: l.link,
                packet,
            });
        }
    }
}
