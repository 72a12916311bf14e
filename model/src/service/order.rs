//! The order of answers to one connection.
//!
//! A client is answered in the order it asked, and its reads see its own earlier writes. So what comes behind a write waits until
//! the write is answered; what comes behind nothing is answered at once. Each connection has a queue of its own, and never
//! waits for another's.
//!
//! ```text
//! push write 1   push read A   push write 2   push read B        nothing comes out
//! answered(1)  → read A                                          B still waits for 2
//! answered(2)  → read B
//! ```

use alloc::collections::VecDeque;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Waiting<W, R> {
    Write(W),
    Read(R),
}

/// One connection's requests that are not answered yet. `W` names a write (a cxid); `R` is all that is needed to answer a read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReplyOrder<W, R> {
    waiting: VecDeque<Waiting<W, R>>,
}

impl<W, R> Default for ReplyOrder<W, R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<W: PartialEq, R> ReplyOrder<W, R> {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many requests wait. The host bounds it, by not reading on from the connection.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the next read can be answered at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A write went to the leader.
    pub fn push_write(&mut self, write: W) {
        self.waiting.push_back(Waiting::Write(write));
    }

    /// A read came, or anything else that this server answers alone. It is handed back if it may be answered now.
    #[must_use = "a read that is handed back must be answered"]
    pub fn push_read(&mut self, read: R) -> Option<R> {
        if self.waiting.is_empty() {
            return Some(read);
        }
        self.waiting.push_back(Waiting::Read(read));
        None
    }

    /// The write at the head is in the tree (or is refused), and its answer was written: `ready` gets the reads that waited for it.
    ///
    /// Returns whether `write` was at the head. Writes of a session are applied in its order, so another one is none of this
    /// connection's: it was sent over an earlier one.
    pub fn answered(&mut self, write: &W, mut ready: impl FnMut(R)) -> bool {
        let is_head = |w: &mut Waiting<W, R>| matches!(w, Waiting::Write(head) if head == write);
        if self.waiting.pop_front_if(is_head).is_none() {
            return false;
        }
        while let Some(Waiting::Read(read)) =
            self.waiting.pop_front_if(|w| matches!(w, Waiting::Read(_)))
        {
            ready(read);
        }
        true
    }

    /// The oldest write that is not answered.
    #[must_use]
    pub fn head(&self) -> Option<&W> {
        match self.waiting.front() {
            Some(Waiting::Write(write)) => Some(write),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn reads_wait_for_the_writes_before_them_and_for_no_others() {
        let mut order = ReplyOrder::new();
        let mut ready = Vec::new();
        assert_eq!(order.push_read('a'), Some('a'));
        order.push_write(1);
        assert_eq!(order.push_read('b'), None);
        assert_eq!(order.push_read('c'), None);
        order.push_write(2);
        assert_eq!(order.push_read('d'), None);
        assert_eq!(order.head(), Some(&1));
        assert!(order.answered(&1, |r| ready.push(r)));
        assert_eq!((ready.as_slice(), order.len()), (&['b', 'c'][..], 2));
        assert!(order.answered(&2, |r| ready.push(r)));
        assert_eq!(ready, ['b', 'c', 'd']);
        assert!(order.is_empty());
    }

    #[test]
    fn a_write_of_an_earlier_connection_releases_nothing() {
        let mut order = ReplyOrder::new();
        order.push_write(5);
        assert_eq!(order.push_read('a'), None);
        assert!(!order.answered(&4, |_| {}));
        assert_eq!(order.len(), 2);
    }
}
