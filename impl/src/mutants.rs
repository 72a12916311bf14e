//! Faults of the host that can be planted, one at a time, to see which check finds them.
//!
//! A build has them with feature `mutants` alone, which no build of the product has: without it every question is answered "no" when it is
//! compiled, and nothing of the faults is left. `cargo xtask mutants` plants each in turn and says what has found it; SPEC.md 11.7 has the table.

macro_rules! mutants {
    ($($(#[doc = $about:literal])* $mutant:ident = $name:literal,)*) => {
        /// A fault of the host.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Mutant {
            $($(#[doc = $about])* $mutant,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mutant,)*];

            /// Its name on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)*
                }
            }

            /// What is wrong with it.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$mutant => concat!($($about),*),)*
                }
            }
        }
    };
}

mutants! {
    /// The disk's worker says that appends are durable before they are synced.
    DurableBeforeSync = "durable-before-sync",
    /// The disk's worker says that the whole batch is durable when its first part is.
    DurableBatchAhead = "durable-batch-ahead",
    /// An epoch is written before the appends that were asked for before it are synced.
    EpochBeforeHistory = "epoch-before-history",
    /// The files of epochs are written in place and not synced.
    EpochNotSynced = "epoch-not-synced",
    /// A sync of the log that has failed is taken for one that has not.
    SyncErrorIgnored = "sync-error-ignored",
    /// The name of a new log file is not made durable.
    LogNameNotSynced = "log-name-not-synced",
    /// An entry whose checksum is wrong is taken at a start.
    TornEntryTaken = "torn-entry-taken",
    /// Of every sixty-four transactions of the log one is not applied at a start.
    RecoverySkipsOne = "recovery-skips-one",
    /// A truncation is not synced before it is said to be durable.
    CutNotSynced = "cut-not-synced",
    /// The logs of before stay beside a snapshot that was installed.
    LogsStayAfterSnap = "logs-stay-after-snap",
    /// The tree keeps what a truncation has cut.
    TreeKeepsCut = "tree-keeps-cut",
    /// What one turn hears over a link is taken last first.
    HeardLastFirst = "heard-last-first",
    /// The first packet of a batch is taken twice.
    HeardTwice = "heard-twice",
    /// The protocol is not told that a connection has ended.
    EndNotTold = "end-not-told",
    /// A leader's half ticks come once.
    TickOnce = "tick-once",
    /// Timers take ten times as long.
    TimersTenfold = "timers-tenfold",
    /// Of every hundred transactions one is not applied, and the tree's zxid moves on.
    ApplySkipsOne = "apply-skips-one",
    /// A payload of a DIFF is damaged on its way.
    DiffDamaged = "diff-damaged",
    /// Live packets overtake the history that is read from files.
    LiveOvertakesHistory = "live-overtakes-history",
    /// SNAP leaves out a znode.
    SnapLeavesOut = "snap-leaves-out",
    /// A learner answers PING without the sessions that it has heard from.
    PingWithoutSessions = "ping-without-sessions",
    /// A watch that has fired tells nobody.
    WatchTellsNobody = "watch-tells-nobody",
    /// A learner that was up to date is served its history from one transaction too far on.
    HistoryOneShort = "history-one-short",
}

impl Mutant {
    /// The one with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }
}

/// Which one is planted in this process: its place behind zero.
#[cfg(feature = "mutants")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a fault in all servers of this process, or none.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    let place = mutant.map_or(0, |m| m as u8 + 1);
    PLANTED.store(place, std::sync::atomic::Ordering::Relaxed);
}

/// Plants the one that the environment variable `ZABRA_MUTANT` names.
///
/// # Errors
/// The name of none.
#[cfg(feature = "mutants")]
pub fn plant_named() -> Result<(), String> {
    let Ok(name) = std::env::var("ZABRA_MUTANT") else {
        return Ok(());
    };
    let mutant = Mutant::named(&name).ok_or_else(|| format!("ZABRA_MUTANT={name}: no fault"))?;
    plant(Some(mutant));
    Ok(())
}

/// Whether this fault is planted.
#[cfg(feature = "mutants")]
#[must_use]
pub(crate) fn has(mutant: Mutant) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8 + 1
}

/// No fault is planted.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub(crate) const fn has(_: Mutant) -> bool {
    false
}
