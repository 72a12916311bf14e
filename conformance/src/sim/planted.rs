//! Bugs at the edges of a server, to see that the simulator finds them.

/// A bug that is planted in every server of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Planted {
    /// The disk says that writes are durable when they are asked for.
    AckBeforeSync,
    /// A leader answers a write of its own client when it is logged: before others have it, before it is applied.
    ReplyBeforeApply,
    /// A learner answers a sync of its client itself.
    SyncAtOnce,
    /// What one turn says over a link leaves in the wrong order.
    EffectsReordered,
    /// What comes over a link that has ended is taken for something that came over the one after it.
    StaleLink,
    /// Names of files are not made durable.
    NamesNotSynced,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AckBeforeSync,
        Self::ReplyBeforeApply,
        Self::SyncAtOnce,
        Self::EffectsReordered,
        Self::StaleLink,
        Self::NamesNotSynced,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::ReplyBeforeApply => "reply-before-apply",
            Self::SyncAtOnce => "sync-at-once",
            Self::EffectsReordered => "effects-reordered",
            Self::StaleLink => "stale-link",
            Self::NamesNotSynced => "names-not-synced",
        }
    }

    /// The one with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}
