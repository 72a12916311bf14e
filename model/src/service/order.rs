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
    /// Each with the bytes that the host counts for it.
    waiting: VecDeque<(Waiting<W, R>, usize)>,
    bytes: usize,
    /// A request with more bytes is large.
    large_above: usize,
    large_bytes: usize,
}

impl<W, R> Default for ReplyOrder<W, R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            large_above: usize::MAX,
            large_bytes: 0,
        }
    }
}

impl<W: PartialEq, R> ReplyOrder<W, R> {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing waits. What large requests hold is counted apart: those that count for more than so many bytes.
    #[must_use]
    pub fn counting_large(large_above: usize) -> Self {
        Self {
            large_above,
            ..Self::default()
        }
    }

    /// How many requests wait. The host bounds it, by not reading on from the connection.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What the requests that wait hold, as the host counts it: it is bounded as their number is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What those of them hold that are large.
    #[must_use]
    pub fn large_bytes(&self) -> usize {
        self.large_bytes
    }

    fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes > self.large_above {
            self.large_bytes = self.large_bytes.saturating_add(bytes);
        }
    }

    /// Whether the next read can be answered at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A write went to the leader. It counts for so many bytes until it is answered.
    pub fn push_write(&mut self, write: W, bytes: usize) {
        self.waiting.push_back((Waiting::Write(write), bytes));
        self.count(bytes);
    }

    /// A read came, or anything else that this server answers alone. It is handed back if it may be answered now.
    #[must_use = "a read that is handed back must be answered"]
    pub fn push_read(&mut self, read: R, bytes: usize) -> Option<R> {
        if self.waiting.is_empty() {
            return Some(read);
        }
        self.waiting.push_back((Waiting::Read(read), bytes));
        self.count(bytes);
        None
    }

    /// The write at the head is in the tree (or is refused), and its answer was written: `ready` gets the reads that waited for it.
    ///
    /// Returns whether `write` was at the head. Writes of a session are applied in its order, so another one is none of this
    /// connection's: it was sent over an earlier one.
    pub fn answered(&mut self, write: &W, mut ready: impl FnMut(R)) -> bool {
        let found = self.pop_write(write);
        while found && let Some(read) = self.pop_read() {
            ready(read);
        }
        found
    }

    /// The first half of [`ReplyOrder::answered`]: whether `write` was at the head; it waits no more.
    pub fn pop_write(&mut self, write: &W) -> bool {
        self.pop(|w| matches!(w, Waiting::Write(head) if head == write))
            .is_some()
    }

    /// The second half: the read at the head. Whoever takes one takes all of them, before anything else of this connection.
    pub fn pop_read(&mut self) -> Option<R> {
        match self.pop(|w| matches!(w, Waiting::Read(_))) {
            Some(Waiting::Read(read)) => Some(read),
            Some(Waiting::Write(_)) | None => None,
        }
    }

    fn pop(&mut self, is_it: impl Fn(&Waiting<W, R>) -> bool) -> Option<Waiting<W, R>> {
        let (head, bytes) = self.waiting.pop_front_if(|(w, _)| is_it(w))?;
        self.bytes = self.bytes.saturating_sub(bytes);
        if bytes > self.large_above {
            self.large_bytes = self.large_bytes.saturating_sub(bytes);
        }
        Some(head)
    }

    /// The oldest write that is not answered.
    #[must_use]
    pub fn head(&self) -> Option<&W> {
        match self.waiting.front() {
            Some((Waiting::Write(write), _)) => Some(write),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn reads_wait_for_the_writes_before_them_and_for_no_others() {
        let mut order = ReplyOrder::new();
        let mut ready = Vec::new();
        assert_eq!(order.push_read('a', 10), Some('a'));
        order.push_write(1, 100);
        assert_eq!(order.push_read('b', 10), None);
        assert_eq!(order.push_read('c', 10), None);
        order.push_write(2, 100);
        assert_eq!(order.push_read('d', 10), None);
        assert_eq!(order.head(), Some(&1));
        assert_eq!(order.bytes(), 230, "what is answered at once never waits");
        assert!(order.answered(&1, |r| ready.push(r)));
        assert_eq!((ready.as_slice(), order.len()), (&['b', 'c'][..], 2));
        assert_eq!(order.bytes(), 110);
        assert!(order.answered(&2, |r| ready.push(r)));
        assert_eq!(ready, ['b', 'c', 'd']);
        assert!(order.is_empty() && order.bytes() == 0);
    }

    #[test]
    fn large_requests_are_counted_apart_while_they_wait() {
        let mut order = ReplyOrder::counting_large(100);
        order.push_write(1, 100);
        order.push_write(2, 101);
        assert_eq!(order.push_read('a', 300), None);
        assert_eq!((order.large_bytes(), order.bytes()), (401, 501));
        assert!(order.answered(&1, |_| {}));
        assert_eq!(order.large_bytes(), 401);
        assert!(order.answered(&2, |_| {}));
        assert_eq!((order.large_bytes(), order.bytes()), (0, 0));
    }

    #[test]
    fn a_write_of_an_earlier_connection_releases_nothing() {
        let mut order = ReplyOrder::new();
        order.push_write(5, 100);
        assert_eq!(order.push_read('a', 10), None);
        assert!(!order.answered(&4, |_| {}));
        assert_eq!(order.len(), 2);
    }

    /// What happens on a connection.
    #[derive(Clone, Debug)]
    enum Event {
        Write(usize),
        Read(usize),
        /// The answer to a write with this number, which may be none of this connection's.
        Answer(u32),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..100_usize).prop_map(Event::Write),
            (0..100_usize).prop_map(Event::Read),
            (0..20_u32).prop_map(Event::Answer),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed), ..ProptestConfig::with_cases(512) })]

        /// Against a plain list of requests, from which whatever is answered leaves at the front.
        #[test]
        fn requests_are_answered_in_their_order_and_each_once(
            events in proptest::collection::vec(any_event(), 0..60)
        ) {
            let mut order = ReplyOrder::counting_large(50);
            // Number, whether it is a write, bytes.
            let mut list: VecDeque<(u32, bool, usize)> = VecDeque::new();
            let mut count = 0;
            for event in events {
                match event {
                    Event::Write(bytes) => {
                        order.push_write(count, bytes);
                        list.push_back((count, true, bytes));
                        count += 1;
                    }
                    Event::Read(bytes) => {
                        let now = list.is_empty().then_some(count);
                        prop_assert_eq!(order.push_read(count, bytes), now);
                        if now.is_none() {
                            list.push_back((count, false, bytes));
                        }
                        count += 1;
                    }
                    Event::Answer(write) => {
                        let mut ready = Vec::new();
                        let found = list.pop_front_if(|(n, _, _)| *n == write).is_some();
                        let mut expected = Vec::new();
                        while found && let Some((read, ..)) = list.pop_front_if(|(_, is_write, _)| !*is_write) {
                            expected.push(read);
                        }
                        prop_assert_eq!(order.answered(&write, |read| ready.push(read)), found);
                        prop_assert_eq!(ready, expected);
                    }
                }
                prop_assert_eq!(order.len(), list.len());
                prop_assert_eq!(order.is_empty(), list.is_empty());
                prop_assert_eq!(order.bytes(), list.iter().map(|(.., bytes)| bytes).sum::<usize>());
                let large = list.iter().map(|(.., bytes)| bytes).filter(|b| **b > 50);
                prop_assert_eq!(order.large_bytes(), large.sum::<usize>());
                prop_assert_eq!(order.head().copied(), list.front().map(|(n, ..)| *n));
            }
        }
    }
}
