//! Throttling by number: whose requests wait because of how many there are, beside what is bounded in bytes.
//!
//! A request is *outstanding* from the moment it is taken until it is answered. Reads that nothing stands before are answered at once, so
//! what counts are writes that wait for their transaction, and the reads behind them. Three rules look at the number:
//!
//! | rule | above it |
//! |---|---|
//! | `globalOutstandingLimit` | a connection with a request of its own outstanding is not read on ([`may_read_on`]) |
//! | `request_throttle_max_requests` | every request waits in line until there is room, whoever sent it ([`RequestThrottle::pass`]) |
//! | `largeRequestMaxBytes` | a request longer than `largeRequestThreshold` ends its connection ([`LargeRequests::admits`]) |
//!
//! The first lets each connection have one request at least, so 40,000 connections may have 40,000; the second is for that. What waits
//! in line for longer than `throttled_op_wait_time` is not carried out, and its client is told ThrottledOp in its turn; what waits for longer
//! than its session can live is stale, and ends its connection where `request_throttle_drop_stale` lets it.
//!
//! **How the host calls it.** It counts what is outstanding, keeps the line, and asks before it takes a request. Nothing is counted
//! where no key asks for it.
//!
//! Source: ZooKeeper `RequestThrottler`, `Request.isStale`, `ZooKeeperServer.shouldThrottle`, `ServerCnxn`.

/// Whether a connection is read on, with so many requests of all connections outstanding, and so many of its own.
#[must_use]
pub const fn may_read_on(outstanding: usize, own: usize, outstanding_max: usize) -> bool {
    outstanding <= outstanding_max || own == 0
}

/// What is said about the line of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestThrottle {
    /// `request_throttle_max_requests`: so many may be outstanding; `None`: there is no line.
    pub requests_max: Option<usize>,
    /// `request_throttle_stall_time`: how long a request waits in line before it is looked at again in any case, ms.
    pub stall_ms: u64,
    /// `request_throttle_drop_stale`.
    pub drop_stale: bool,
    /// `request_stale_connection_check`: what waits of a connection that is closed is stale.
    pub stale_by_connection: bool,
    /// `request_stale_latency_check`: what waits for longer than its session can live is stale.
    pub stale_by_latency: bool,
    /// `throttled_op_wait_time`: what waited for longer in line is not carried out, ms; `None`: it always is.
    pub op_wait_ms: Option<u64>,
}

impl Default for RequestThrottle {
    /// As ZooKeeper has it: there is no line.
    fn default() -> Self {
        Self {
            requests_max: None,
            stall_ms: 100,
            drop_stale: true,
            stale_by_connection: true,
            stale_by_latency: false,
            op_wait_ms: None,
        }
    }
}

/// A request that is next on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InLine {
    /// Its operation.
    pub opcode: i32,
    /// How long it has waited, ms.
    pub waited_ms: u64,
    /// How long its session can live without a word, ms.
    pub session_timeout_ms: u64,
    /// Whether there is room for it: fewer than allowed are outstanding, and nobody is before it in line.
    pub has_room: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// It is taken.
    Take,
    /// It stays in line.
    Wait,
    /// It is not carried out: ThrottledOp, in its turn.
    Throttled,
    /// Its connection ends, as what comes behind it may not be carried out without it.
    Stale,
}

impl RequestThrottle {
    /// Whether the request is stale: its client cannot be there any more.
    #[must_use]
    pub const fn is_stale(&self, request: InLine) -> bool {
        // The end of a session outlives it, to clean up behind it.
        self.stale_by_latency
            && request.opcode != CLOSE_SESSION
            && request.waited_ms > request.session_timeout_ms
    }

    /// Whether what waits in line goes with its connection: the host then looks whether the connection is there.
    #[must_use]
    pub const fn drops_with_connection(&self) -> bool {
        self.drop_stale && self.stale_by_connection
    }

    /// What becomes of the request.
    #[must_use]
    pub const fn pass(&self, request: InLine) -> Pass {
        if self.drop_stale && self.is_stale(request) {
            return Pass::Stale;
        }
        if !request.has_room {
            return Pass::Wait;
        }
        let is_due = match self.op_wait_ms {
            Some(wait_ms) => request.waited_ms > wait_ms,
            None => false,
        };
        if is_due && is_throttled(request.opcode) {
            Pass::Throttled
        } else {
            Pass::Take
        }
    }
}

const CLOSE_SESSION: i32 = -11;

/// Whether ThrottledOp may be the answer: not of what keeps a session, begins or ends it.
const fn is_throttled(opcode: i32) -> bool {
    const CREATE_SESSION: i32 = -10;
    const PING: i32 = 11;
    !matches!(opcode, CREATE_SESSION | CLOSE_SESSION | PING)
}

/// What long requests may hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeRequests {
    /// `largeRequestThreshold`: a longer request is large, bytes; `None`: none is.
    pub threshold: Option<usize>,
    /// `largeRequestMaxBytes`: what large requests hold together until they are answered, bytes.
    pub bytes_max: usize,
}

impl Default for LargeRequests {
    fn default() -> Self {
        Self {
            threshold: None,
            bytes_max: 100 << 20,
        }
    }
}

impl LargeRequests {
    /// Whether a request of so many bytes counts.
    #[must_use]
    pub const fn is_large(&self, bytes: usize) -> bool {
        match self.threshold {
            Some(threshold) => bytes > threshold,
            None => false,
        }
    }

    /// Whether a request of so many bytes is taken beside large ones that hold `held`.
    #[must_use]
    pub const fn admits(&self, bytes: usize, held: usize) -> bool {
        !self.is_large(bytes) || held.saturating_add(bytes) <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_nothing_outstanding_is_always_read_on() {
        for (outstanding, own, may) in [
            (0, 0, true),
            (2, 1, true),
            (3, 0, true),
            (3, 1, false),
            (usize::MAX, 0, true),
            (usize::MAX, 1, false),
        ] {
            assert_eq!(may_read_on(outstanding, own, 2), may, "{outstanding} {own}");
        }
    }

    const fn request(opcode: i32, waited_ms: u64, has_room: bool) -> InLine {
        InLine {
            opcode,
            waited_ms,
            session_timeout_ms: 4000,
            has_room,
        }
    }

    #[test]
    fn a_request_that_waited_too_long_is_not_carried_out_and_what_keeps_a_session_is() {
        let throttle = RequestThrottle {
            op_wait_ms: Some(50),
            ..RequestThrottle::default()
        };
        for opcode in -20..120 {
            let exempt = matches!(opcode, -10 | -11 | 11);
            let late = if exempt { Pass::Take } else { Pass::Throttled };
            assert_eq!(throttle.pass(request(opcode, 51, true)), late, "{opcode}");
            assert_eq!(throttle.pass(request(opcode, 50, true)), Pass::Take);
            assert_eq!(throttle.pass(request(opcode, 51, false)), Pass::Wait);
        }
        let never = RequestThrottle::default();
        assert_eq!(never.pass(request(1, u64::MAX, true)), Pass::Take);
        assert_eq!(never.pass(request(1, u64::MAX, false)), Pass::Wait);
    }

    #[test]
    fn a_stale_request_ends_its_connection_unless_it_ends_the_session() {
        let check = RequestThrottle {
            stale_by_latency: true,
            ..RequestThrottle::default()
        };
        let keep = RequestThrottle {
            drop_stale: false,
            ..check
        };
        for has_room in [false, true] {
            assert_eq!(check.pass(request(1, 4001, has_room)), Pass::Stale);
            let other = if has_room { Pass::Take } else { Pass::Wait };
            assert_eq!(check.pass(request(1, 4000, has_room)), other);
            assert_eq!(check.pass(request(-11, 4001, has_room)), other);
            assert_eq!(keep.pass(request(1, 4001, has_room)), other);
        }
        assert!(keep.is_stale(request(1, 4001, true)));
        let unchecked = RequestThrottle {
            stale_by_connection: false,
            ..check
        };
        let drops = [check, keep, unchecked].map(|rules| rules.drops_with_connection());
        assert_eq!(drops, [true, false, false]);
    }

    #[test]
    fn large_requests_have_a_bound_together_and_small_ones_none() {
        let large = LargeRequests {
            threshold: Some(100),
            bytes_max: 1000,
        };
        for (bytes, held, taken) in [
            (100, 5000, true),
            (101, 899, true),
            (101, 900, false),
            (1000, 0, true),
            (1001, 0, false),
            (usize::MAX, usize::MAX, false),
            (usize::MAX, 102, false),
        ] {
            assert_eq!(large.admits(bytes, held), taken, "{bytes} {held}");
        }
        assert!(LargeRequests::default().admits(usize::MAX, usize::MAX));
    }
}
