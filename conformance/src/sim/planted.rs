//! Bugs at the edges of a server, to see that the simulator finds them.

#[cfg(feature = "mutants")]
use zabra::mutants::Mutant;

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
    /// A fault in the code of the servers themselves.
    #[cfg(feature = "mutants")]
    Host(Mutant),
}

impl Planted {
    /// Those at the edges of a server.
    const EDGES: [Self; 6] = [
        Self::AckBeforeSync,
        Self::ReplyBeforeApply,
        Self::SyncAtOnce,
        Self::EffectsReordered,
        Self::StaleLink,
        Self::NamesNotSynced,
    ];

    /// All of them that this program was built with.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let edges = Self::EDGES.into_iter();
        #[cfg(feature = "mutants")]
        let edges = edges.chain(Mutant::ALL.iter().copied().map(Self::Host));
        edges.collect()
    }

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
            #[cfg(feature = "mutants")]
            Self::Host(mutant) => mutant.name(),
        }
    }

    /// The one with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|p| p.name() == name)
    }

    /// Plants what is planted in the servers' own code, in all servers of this process.
    pub fn plant(planted: Option<Self>) {
        #[cfg(feature = "mutants")]
        zabra::mutants::plant(match planted {
            Some(Self::Host(mutant)) => Some(mutant),
            _ => None,
        });
        let _ = planted;
    }
}
