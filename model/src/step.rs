//! All that can happen to a peer, and all that it can ask for.

use crate::ensemble::Ensemble;
use crate::fault::Fault;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::packet::Packet;
use crate::rules::Rules;
use crate::switch::Switches;
use crate::vote::{Notification, ServerState};
use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a peer knows of its surroundings. It does not change while the peer lives, but for [`Env::observer`]: a host whose list gives it
/// another role changes that, and ends the link to the leader with it, which is the same as a restart; and for [`SyncLimits::reach`],
/// which rises while the log grows: SNAP is as good as what it takes the place of, so any value is right at any time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Env {
    /// This server.
    pub me: ServerId,
    /// Whether this server is an observer: a learner that is never asked and never counted.
    pub observer: bool,
    /// Bugs that a checker has switched on.
    #[serde(skip)]
    pub switches: Switches,
    /// The last epoch that may be proposed: `u32::MAX`, or less where a checker must come to an end.
    pub epoch_max: Epoch,
    /// The last counter of an epoch: `u32::MAX - 1` as in ZooKeeper, or less in a checker.
    pub counter_max: u32,
    /// Half ticks for which a leader waits for a disk, its own or a learner's, to confirm a proposal: syncLimit. 0 is for ever.
    pub ack_ticks_max: u32,
    /// How learners are brought up, where this server leads.
    pub sync: SyncLimits,
}

/// How learners are brought up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncLimits {
    /// A learner whose history, as far as it is this server's, ends below this gets SNAP: for what it lacks there would be more to read
    /// from the log than a part of the snapshot ([`Reach`](crate::service::reach::Reach)). Zero: nobody does.
    pub reach: Zxid,
    /// While so many learners are being brought up by SNAP, no observer is.
    pub snaps_max: u32,
    /// While so many are by DIFF or TRUNC, no observer is.
    pub diffs_max: u32,
}

impl SyncLimits {
    /// None.
    pub const NONE: Self = Self {
        reach: Zxid::ZERO,
        snaps_max: u32::MAX,
        diffs_max: u32::MAX,
    };
}

impl Env {
    /// The rules that hold: all, unless a checker has switched a bug on.
    pub(crate) const fn rules(&self) -> Rules {
        self.switches.rules()
    }
}

/// One connection between a learner and a leader; the host gives each a number of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Link(pub u64);

/// The place of a write in a server's one queue of disk operations; larger is later.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Mark(pub u64);

/// What a peer waits for by the clock. The host knows how long each one is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Election: a quorum agrees; end it when nothing better arrives meanwhile (ZooKeeper's finalizeWait).
    Finalize,
    /// Election: silence; say the proposal again.
    Resend,
    /// Leading: no quorum within initLimit; look again.
    Init,
    /// Leading: every half tick; is there still a quorum? Say PING.
    Tick,
}

/// A write to the disk. Writes become durable in the order in which they were asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Write<T> {
    /// The file acceptedEpoch.
    AcceptedEpoch(Epoch),
    /// The file currentEpoch.
    CurrentEpoch(Epoch),
    /// One transaction at the end of the log.
    Append {
        /// Its position.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// Drop from the log everything above, and from memory too.
    Truncate {
        /// The last position to keep.
        zxid: Zxid,
    },
    /// Install the tree that came beside SNAP as the snapshot under an empty log, and as the tree in memory: after a
    /// crash the disk holds all of the old history or all of the new one.
    Install {
        /// The position of the tree.
        zxid: Zxid,
        /// The configurations as of that position.
        ensemble: Box<Ensemble>,
    },
    /// Remember that the newer configuration in the log is committed: a start finds it active (ZooKeeper's dynamic
    /// configuration file).
    Activate {
        /// Its version.
        version: Zxid,
    },
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Input<T> {
    /// Every write up to this mark is durable.
    Durable(Mark),
    /// An election message arrived.
    Notified {
        /// From whom.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// A connection stands: the leader that was dialled has answered, or a learner has dialled.
    Linked(Link),
    /// The leader that was dialled could not be reached in time.
    Unreachable,
    /// A packet arrived.
    Received {
        /// On which connection.
        link: Link,
        /// What it says.
        packet: Packet<T>,
    },
    /// A connection has ended, after everything that had arrived on it.
    Unlinked(Link),
    /// An armed timer has run out.
    Fired(Timer),
    /// A transaction to be agreed on.
    Propose(T),
}

/// What the host has to do, in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect<T> {
    /// Queue a write; answer with [`Input::Durable`].
    Persist {
        /// Its place in the queue.
        mark: Mark,
        /// What to write.
        write: Write<T>,
    },
    /// Send an election message; a newer one to the same server replaces one that still waits.
    Notify {
        /// To whom.
        to: ServerId,
        /// What to say.
        notification: Notification,
    },
    /// Connect to this server's quorum port; answer with `Linked` or `Unreachable`.
    Dial(ServerId),
    /// Send a packet.
    Send {
        /// On which connection.
        link: Link,
        /// What to say.
        packet: Packet<T>,
    },
    /// Send the transactions of the own log in `(after, upto]` as PROPOSALs, each followed by its COMMIT if `committed`.
    SendHistory {
        /// On which connection.
        link: Link,
        /// Above this.
        after: Zxid,
        /// Up to this.
        upto: Zxid,
        /// Whether they are committed.
        committed: bool,
    },
    /// Send one transaction of the own log as INFORM: it has just been committed.
    SendInform {
        /// On which connection.
        link: Link,
        /// Its position.
        zxid: Zxid,
    },
    /// Send SNAP with the tree as it stands after every `Deliver` so far, which is at this zxid.
    SendSnapshot {
        /// On which connection.
        link: Link,
        /// The position of the tree.
        zxid: Zxid,
        /// The configurations as of that position.
        ensemble: Box<Ensemble>,
    },
    /// End a connection; nothing more will be heard from it.
    Unlink(Link),
    /// Start a timer, anew if it runs.
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
    /// Apply the transactions of the log up to here to the tree: they are committed.
    Deliver {
        /// Up to this position.
        upto: Zxid,
    },
    /// The role has changed. Serving clients ends with this, until [`Effect::Serve`].
    Became(ServerState),
    /// A quorum has formed and this server is part of it: serve clients.
    Serve {
        /// Of which epoch.
        epoch: Epoch,
    },
    /// Something was refused; for the log.
    Refused(Fault),
}

/// The effects of a step, in order. The host keeps one and clears it, so that a step allocates nothing.
pub type Effects<T> = Vec<Effect<T>>;
