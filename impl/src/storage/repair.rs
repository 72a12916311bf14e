//! What a start has put in order, in words for the operator.

use super::high_water;
use super::replace::Plan;
use super::txn_log::reader::TornTail;
use std::path::PathBuf;
use zabra_model::ids::Zxid;

/// Something that was not as an orderly stop leaves it. For the operator's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// A truncation or full copy was interrupted and is now done.
    Finished(Plan),
    /// A snapshot was passed over.
    SnapshotSkipped(String),
    /// An entry that was cut off, never acknowledged, is dropped, with what lies behind it.
    TornTail {
        /// Where and why.
        torn: TornTail,
        /// The file that keeps it; none if there is nothing but zeros.
        kept_as: Option<PathBuf>,
    },
    /// A log file without a single entry was deleted.
    EmptyLog(PathBuf),
    /// What lies behind the last entry that was known to be durable was written anew.
    Rewritten {
        /// The log file.
        path: PathBuf,
        /// From here.
        from: u64,
        /// To here.
        to: u64,
    },
    /// The file `zabra.durable` could not be used; a new one takes its place.
    NoMark(&'static str),
    /// A temporary file was deleted.
    Leftover(PathBuf),
    /// The snapshot contains changes above the end of the log: transactions were lost behind a snapshot of Java's.
    SnapshotAhead {
        /// The newest zxid in it.
        newest: Zxid,
        /// Where the log ends.
        last: Zxid,
    },
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished(Plan::Install(zxid)) => {
                write!(f, "finished the installation of snapshot {zxid}")
            }
            Self::Finished(Plan::Truncate(after)) => {
                write!(f, "finished the truncation after {after}")
            }
            Self::SnapshotSkipped(why) => write!(f, "passed over a snapshot: {why}"),
            Self::TornTail { torn, kept_as } => {
                let path = torn.path.display();
                write!(
                    f,
                    "{path}: cut off at byte {}, what is behind was never acknowledged ({})",
                    torn.offset, torn.what
                )?;
                match kept_as {
                    Some(to) => write!(f, "; it is kept in {}", to.display()),
                    None => write!(f, "; nothing but zeros was there"),
                }
            }
            Self::EmptyLog(path) => write!(f, "{}: removed, it held no entry", path.display()),
            Self::Rewritten { path, from, to } => write!(
                f,
                "{}: the last server may not have synced bytes {from} to {to}, they are written anew",
                path.display()
            ),
            Self::NoMark(why) => write!(
                f,
                "{}: {why}; this start cannot tell by it how far the log was on the disk",
                high_water::NAME
            ),
            Self::Leftover(path) => write!(f, "{}: removed, a crash left it", path.display()),
            Self::SnapshotAhead { newest, last } => {
                write!(
                    f,
                    "the snapshot contains changes up to {newest}, but the log ends at {last}"
                )
            }
        }
    }
}
