//! What an operator asks for, and is told: plain data.

use std::path::PathBuf;
use zabra_model::ids::Zxid;
use zabra_model::tree::node::Tree;

/// Where the answer goes. Nobody may wait for it any more; one that is dropped without an answer says that the server has ended.
pub struct Told<T>(Box<dyn FnOnce(Result<T, Refusal>) + Send>);

impl<T> Told<T> {
    /// Calls this with the answer: on the core's own thread, so it must not block.
    #[must_use]
    pub fn new(tell: impl FnOnce(Result<T, Refusal>) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    pub(super) fn tell(self, answer: Result<T, Refusal>) {
        (self.0)(answer);
    }
}

/// Why an operator does not get what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody is served.
    #[error("This ZooKeeper instance is not currently serving requests")]
    NotServing,
    /// Its tree is that of others, too.
    #[error(
        "a member of an ensemble takes no other tree: it would answer otherwise than the other members. Stop all members, move what is in \
         version-2 of their dataDir and dataLogDir elsewhere, copy the snapshot there as snapshot.ZXID (its last_zxid, without 0x) for each of \
         them, and start them"
    )]
    Member,
    /// Another one is under way, or too many wait.
    #[error("another snapshot or restore is under way; try again when it has ended")]
    Busy,
    /// The zxids above are used up.
    #[error("the snapshot is of the last epoch that there is: no transaction could follow it")]
    NoEpoch,
    /// The disk has no room, for example.
    #[error("{0}")]
    Failed(String),
}

/// A snapshot that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapped {
    /// Of what.
    pub zxid: Zxid,
    /// The file.
    pub path: PathBuf,
}

/// Another tree, and who waits for it to be served.
pub struct Restoring {
    /// The tree.
    pub tree: Box<Tree>,
    /// Its newest change.
    pub newest: Zxid,
    /// Who is told at which zxid it is served.
    pub told: Told<Zxid>,
}
