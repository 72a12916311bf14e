//! The kinds of watches.

/// What a watch is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Data,
    Child,
    Persistent,
    PersistentRecursive,
}

impl Kind {
    /// The name of the event that says that it was removed.
    pub(super) fn removed(self) -> &'static str {
        match self {
            Self::Data => "DataWatchRemoved",
            Self::Child => "ChildWatchRemoved",
            Self::Persistent | Self::PersistentRecursive => "PersistentWatchRemoved",
        }
    }
}
