//! What a connection has been answered, as `cons` tells it.

use zabra_model::ids::Zxid;

/// What a connection has been answered, as `cons` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answered {
    /// The operation of the last request; 0 before there was one.
    pub opcode: i32,
    /// The client's number for the last request that had one of its own.
    pub cxid: Option<i32>,
    /// How far the tree was at the last answer.
    pub zxid: Zxid,
    /// When that was, ms since the server's start.
    pub at_ms: u64,
    /// How long it took, ms.
    pub last_ms: u64,
    /// The least of all.
    pub min_ms: u64,
    /// The greatest.
    pub max_ms: u64,
    total_ms: u64,
    count: u64,
}

impl Answered {
    /// So many requests were answered at one moment, each after `took_ms`; operation and number are those of the last one.
    pub fn add(&mut self, (opcode, xid): (i32, i32), zxid: Zxid, at_ms: u64, took: (u64, u64)) {
        let (took_ms, times) = took;
        self.min_ms = if self.count == 0 {
            took_ms
        } else {
            self.min_ms.min(took_ms)
        };
        self.max_ms = self.max_ms.max(took_ms);
        self.total_ms += took_ms * times;
        self.count += times;
        (self.opcode, self.zxid) = (opcode, zxid);
        (self.at_ms, self.last_ms) = (at_ms, took_ms);
        if xid >= 0 {
            self.cxid = Some(xid);
        }
    }

    /// The mean of all, ms, in whole ones.
    #[must_use]
    pub const fn mean_ms(&self) -> u64 {
        match self.total_ms.checked_div(self.count) {
            Some(mean) => mean,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_tells_its_last_answer_and_the_bounds_of_all() {
        let mut answered = Answered::default();
        assert_eq!(answered.mean_ms(), 0);
        answered.add((4, 7), Zxid(9), 100, (5, 1));
        answered.add((11, -2), Zxid(9), 110, (1, 3));
        assert_eq!((answered.opcode, answered.cxid), (11, Some(7)));
        let bounds = (answered.min_ms, answered.mean_ms(), answered.max_ms);
        assert_eq!((bounds, answered.last_ms), ((1, 2, 5), 1));
    }
}
