//! The one message that waits for a peer of the election mesh.

use crate::client::lock::lock;
use bytes::Bytes;
use std::sync::Mutex;

/// What is to be said to one peer. The core leaves messages here while the peer's connection takes them, on another thread: each change
/// is one look, so that neither loses what the other has just left.
#[derive(Debug, Default)]
pub(super) struct Letter(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    waiting: Option<Bytes>,
    /// What was taken last: it may have been lost with its connection.
    last: Option<Bytes>,
}

impl Letter {
    /// Leaves a message in place of an older one; whether one still waited.
    pub(super) fn put(&self, message: Bytes) -> bool {
        lock(&self.0).waiting.replace(message).is_some()
    }

    /// Whether one waits.
    pub(super) fn waits(&self) -> bool {
        lock(&self.0).waiting.is_some()
    }

    /// Takes it, to be sent.
    pub(super) fn take(&self) -> Option<Bytes> {
        let mut held = lock(&self.0);
        let message = held.waiting.take()?;
        held.last = Some(message.clone());
        Some(message)
    }

    /// This one was not sent. It waits again, unless a newer one does.
    pub(super) fn put_back(&self, message: Bytes) {
        lock(&self.0).waiting.get_or_insert(message);
    }

    /// There is another connection: what was sent last is said again, unless a newer one waits.
    pub(super) fn say_again(&self) {
        let mut held = lock(&self.0);
        if held.waiting.is_none() {
            held.waiting = held.last.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn message(n: u32) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    #[test]
    fn the_newest_is_said_and_said_again_on_another_connection() {
        let letter = Letter::default();
        letter.say_again();
        assert!(!letter.waits() && letter.take().is_none());
        assert!(!letter.put(message(1)));
        assert!(letter.put(message(2)), "the first one still waited");
        letter.say_again();
        assert_eq!(letter.take(), Some(message(2)));
        assert_eq!(letter.take(), None);
        letter.say_again();
        assert_eq!(letter.take(), Some(message(2)));
        letter.put_back(message(2));
        assert_eq!(letter.take(), Some(message(2)), "it was not sent");
        letter.put(message(3));
        letter.put_back(message(2));
        assert_eq!(letter.take(), Some(message(3)), "a newer one has come");
    }

    /// A connection that had just come up dropped what was left for it at that moment: it saw that nothing waited, and then put what it
    /// had said last, nothing, in its place.
    #[test]
    fn a_message_is_not_lost_to_a_connection_that_comes_up() {
        const ROUNDS: u32 = 50_000;
        let (letter, is_over) = (Letter::default(), AtomicBool::new(false));
        let mut lost = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    letter.say_again();
                }
            });
            for round in 0..ROUNDS {
                letter.put(message(round));
                // Long enough for the other thread to be anywhere.
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                lost += u32::from(letter.take() != Some(message(round)));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(lost, 0, "of {ROUNDS}");
    }
}
