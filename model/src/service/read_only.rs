//! A server without a leader that answers reads (`readonlymode.enabled`).
//!
//! A part of an ensemble that is cut off from the quorum still has the tree as it was. Clients that say so in their connect request may
//! read it: what they see is old, and may hold what its server has logged and the ensemble never commits. Everybody else is sent
//! away, as by a server that serves nobody.
//!
//! | a client without a leader's server | gets |
//! |---|---|
//! | that does not accept read-only | the end of its connection, without an answer |
//! | that has seen more than this server | the same |
//! | with a session that the tree knows | the same: only a leader can say whether it still lives |
//! | with a session that this server has given without a leader | the session goes on |
//! | with any other session | the session has expired |
//! | without a session | one that only this server knows (`local`, D-60) |
//!
//! Reads and watches are answered, what goes by the leader is refused with NotReadOnly, closeSession excepted. When the election ends, however it ends, all
//! connections end, and the sessions with them: clients come back with their global sessions, or for new ones.
//!
//! **How the host calls it.** When it becomes looking it sets a timer of [`grace_ms`], which ends with looking; then [`may_begin`]. For each client that introduces itself:
//! [`entry`]. For each request: [`apart`](super::local::apart). When it ceases to look it stops serving, as any other server
//! ([`Awaited::end`](super::mode::Awaited::end)).

use super::mode::Mode;
use crate::vote::ServerState;

/// An election is not long before this has passed, ms.
const GRACE_MS_MIN: u64 = 2000;

/// How long a server looks for a leader before it answers reads without one, ms. Most elections are over by then.
#[must_use]
pub const fn grace_ms(tick_ms: u64) -> u64 {
    if tick_ms > GRACE_MS_MIN {
        tick_ms
    } else {
        GRACE_MS_MIN
    }
}

/// Whether a server may answer reads without a leader now. `is_whole`: its tree is not just being read anew after a truncation.
#[must_use]
pub const fn may_begin(state: ServerState, mode: Mode, is_whole: bool) -> bool {
    matches!(state, ServerState::Looking) && matches!(mode, Mode::NotServing) && is_whole
}

/// Whether a client is let in that has introduced itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is.
    Open,
    /// No: this server serves nobody.
    NotServing,
    /// No: it does not accept that it may only read.
    WantsToWrite,
    /// No: its session may live, and only a leader knows.
    GlobalSession,
}

/// Whether a client is let in. `accepts_read_only` is the byte at the end of its connect request, which clients before 3.4 do not send;
/// `is_global`: the tree knows its session; `leader_serves`: a leader of others takes clients, too (ZooKeeper's `leaderServes`). A server
/// on its own takes them in any case, as there is no other.
#[must_use]
pub const fn entry(
    mode: Mode,
    accepts_read_only: Option<bool>,
    is_global: bool,
    leader_serves: bool,
) -> Entry {
    match (mode, accepts_read_only) {
        (Mode::NotServing, _) => Entry::NotServing,
        (Mode::Leader, _) if !leader_serves => Entry::NotServing,
        (Mode::ReadOnly, Some(true)) if is_global => Entry::GlobalSession,
        (Mode::ReadOnly, Some(true)) => Entry::Open,
        (Mode::ReadOnly, Some(false) | None) => Entry::WantsToWrite,
        (Mode::Standalone | Mode::Follower | Mode::Observer | Mode::Leader, _) => Entry::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 6] = [
        Mode::NotServing,
        Mode::Standalone,
        Mode::Follower,
        Mode::Observer,
        Mode::Leader,
        Mode::ReadOnly,
    ];

    #[test]
    fn only_who_asks_for_it_is_let_in_without_a_leader() {
        for mode in MODES {
            for asks in [None, Some(false), Some(true)] {
                for is_global in [false, true] {
                    let expected = match (mode, asks, is_global) {
                        (Mode::NotServing, ..) => Entry::NotServing,
                        (Mode::ReadOnly, Some(true), false) => Entry::Open,
                        (Mode::ReadOnly, Some(true), true) => Entry::GlobalSession,
                        (Mode::ReadOnly, ..) => Entry::WantsToWrite,
                        _ => Entry::Open,
                    };
                    let found = entry(mode, asks, is_global, true);
                    assert_eq!(found, expected, "{mode:?} {asks:?}");
                }
            }
        }
    }

    #[test]
    fn a_leader_that_leaves_clients_to_the_others_lets_nobody_in() {
        for mode in MODES {
            for asks in [None, Some(false), Some(true)] {
                let expected = match mode {
                    Mode::Leader => Entry::NotServing,
                    _ => entry(mode, asks, false, true),
                };
                assert_eq!(
                    entry(mode, asks, false, false),
                    expected,
                    "{mode:?} {asks:?}"
                );
            }
        }
    }

    #[test]
    fn only_who_looks_for_a_leader_with_a_whole_tree_and_serves_nobody_may_begin() {
        let states = [
            ServerState::Looking,
            ServerState::Following,
            ServerState::Observing,
            ServerState::Leading,
        ];
        for state in states {
            for mode in MODES {
                for is_whole in [false, true] {
                    let expected =
                        (state, mode, is_whole) == (ServerState::Looking, Mode::NotServing, true);
                    assert_eq!(may_begin(state, mode, is_whole), expected);
                }
            }
        }
    }

    #[test]
    fn an_election_has_two_seconds_and_a_tick_before() {
        assert_eq!([500, 2000, 3000].map(grace_ms), [2000, 2000, 3000]);
    }
}
