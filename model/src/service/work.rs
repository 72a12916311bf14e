//! What one connection may ask for before the others have their turn.
//!
//! Reads hold the tree, and who changes it waits meanwhile. So a connection gives the tree back after [`TURN_WORK_MAX`]; a read that
//! alone visits more than [`LONG_READ_WORK`] nodes is answered from a share of the tree ([`crate::tree::long`]). A read behind a
//! write of its own connection is answered by whoever applies that write, which holds up everybody: such reads may visit
//! [`WAITING_WORK_MAX`] nodes together, others wait outside until their connection has no write under way.
//!
//! What is counted are nodes, names and paths, never time: the same requests take the same turns on every machine.

/// Nodes that the requests of one connection visit before it gives the tree back.
pub const TURN_WORK_MAX: usize = 2048;
/// A read that visits more nodes is answered without holding the tree.
pub const LONG_READ_WORK: usize = 8192;
/// Nodes that the reads behind a connection's writes visit together.
pub const WAITING_WORK_MAX: usize = 4096;
/// Paths of a setWatches request that are looked at in one turn.
pub const WATCHES_A_TURN: usize = 1024;

/// When a read is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Now.
    Now,
    /// Now, from a share of the tree.
    Apart,
    /// By whoever applies the write before it.
    BehindWrite,
    /// When no write of its connection is under way: until then nothing more is taken from the connection.
    Later,
}

/// When a read that visits `work` nodes is answered. `waiting` is what the reads visit that wait behind a write of the same
/// connection; `None` if no write of it is under way. A read of one node never has to wait outside.
#[must_use]
pub const fn turn_of(work: usize, waiting: Option<usize>) -> Turn {
    match waiting {
        None if work > LONG_READ_WORK => Turn::Apart,
        None => Turn::Now,
        Some(_) if work <= 1 => Turn::BehindWrite,
        Some(waiting) if waiting.saturating_add(work) <= WAITING_WORK_MAX => Turn::BehindWrite,
        Some(_) => Turn::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-48: what waits behind a write is bounded, and whoever waits outside has his turn when nothing is under way.
    #[test]
    fn c_48_reads_behind_a_write_are_bounded_and_no_read_waits_for_ever() {
        for work in [
            1,
            2,
            WAITING_WORK_MAX,
            LONG_READ_WORK,
            LONG_READ_WORK + 1,
            usize::MAX,
        ] {
            let alone = turn_of(work, None);
            let expected = if work > LONG_READ_WORK {
                Turn::Apart
            } else {
                Turn::Now
            };
            assert_eq!(alone, expected);
            let mut waiting = 0;
            for _ in 0..10_000 {
                match turn_of(work, Some(waiting)) {
                    Turn::BehindWrite => waiting += work,
                    other => {
                        assert_eq!(other, Turn::Later);
                        break;
                    }
                }
            }
            assert!(waiting <= WAITING_WORK_MAX || work == 1);
        }
        assert_eq!(turn_of(2, Some(0)), Turn::BehindWrite);
        // A read of one node waits in its place, whatever else does.
        let one = turn_of(1, Some(WAITING_WORK_MAX));
        assert_eq!(
            (one, turn_of(2, Some(WAITING_WORK_MAX))),
            (Turn::BehindWrite, Turn::Later)
        );
    }
}
