//! What the log says of a client, once no lock is held any more: whoever reads the log may be slow, and others wait for the tree.

use super::slow::SlowRequest;
use crate::codes::Code;
use std::net::SocketAddr;
use tracing::{info, warn};

/// A line about a client, and how many times the like was not said.
#[derive(Debug)]
pub(super) enum Remark {
    /// It has not authenticated by SASL.
    NoSasl {
        /// Why not.
        why: String,
        /// See [`crate::limits::Seldom`].
        unsaid: u64,
    },
    /// A read of it was answered late.
    Slow(SlowRequest),
    /// It means another ensemble.
    OtherEnsemble {
        /// What it said, or its beginning.
        said: String,
        /// See [`crate::limits::Seldom`].
        unsaid: u64,
    },
}

impl Remark {
    /// Says it of the client at this address.
    pub(super) fn say(self, from: SocketAddr) {
        match self {
            Self::NoSasl { why, unsaid } => {
                info!(%from, unsaid, "a client has not authenticated by SASL: {why}");
            }
            Self::Slow(slow) => slow.say(),
            Self::OtherEnsemble { said, unsaid } => {
                warn!(code = %Code::OtherEnsemble, %from, unsaid, "a client means the ensemble {said:?}, and that is no name of this one (ensembleAuthName)");
            }
        }
    }
}
