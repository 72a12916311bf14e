//! The flight recorder, as whoever drives a core sees it.

use super::turn::Core;
use zabra_model::flight::{Chunk, live_again};

impl Core {
    /// All that the flight recorder holds, oldest first; nothing, if there is none.
    #[must_use]
    pub fn recorded(&self) -> Vec<Chunk> {
        let recorder = self.protocol.recorder.as_ref();
        recorder.map_or_else(Vec::new, |recorder| recorder.all())
    }

    /// Lives again what the recorder holds: whether each step asks for the same, and all of them lead to this very peer. It is so, as long as
    /// nobody changes the peer but by what is recorded.
    ///
    /// # Errors
    /// In what the two lives differ.
    pub fn is_as_recorded(&self) -> Result<(), String> {
        let mut peer = None;
        for chunk in self.recorded() {
            let lived = live_again(&chunk.bytes, |seen| peer = Some(seen.peer.clone()));
            lived.map_err(|error| format!("segment {}: {error}", chunk.segment))?;
        }
        match peer {
            Some(peer) if peer != *self.peer() => Err(format!(
                "by the record the peer is {peer:?}, and it is {:?}",
                self.peer()
            )),
            _ => Ok(()),
        }
    }
}
