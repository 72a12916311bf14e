//! A full disk is a state: what it means for the role, and who is refused with what.
//!
//! An operation of the disk that finds no room waits, and everything behind it; so nothing that needs the log can be taken meanwhile.
//! What was proposed before goes on when there is room. Until then:
//!
//! | who asks | is told |
//! |---|---|
//! | a client of a leader: a write, or a sync that would wait for one | OperationTimeout (−7), which every client library knows and after which those that try again do so |
//! | the same, with an earlier write that still waits | the end of its connection, as nothing may be answered before that; the session lives |
//! | a client that begins or ends its session | the end of its connection |
//! | a client that reads | the answer |
//! | a learner, for one of its clients | the end of the link: there is no other answer, and whoever has room should lead |
//! | a session that is over, a container that is to be deleted | they wait |
//!
//! A leader of others gives its place up, as if the network had taken its learners. One that needs nobody stays; so does whoever follows: its
//! leader gives it up as one with a slow disk.
//!
//! **How the host calls it.** One [`Room`]: [`Room::on_full`] and [`Room::on_room`] as the disk reports; [`gives_up_lead`] on the first. For
//! each request that it would propose, sync included: [`Room::admits_own`] or [`Room::admits_learners`]; what the server proposes by itself waits
//! for [`Room::may_log`].

use crate::tree::error::ErrorCode;
use crate::vote::ServerState;

/// The room on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Room {
    /// Operations that wait for some.
    waiting: u32,
}

/// What a request is, as far as a full disk is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// createSession or closeSession.
    Session,
    /// Anything else that goes by the leader, sync included.
    Other,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is taken.
    Take,
    /// It is answered with this error, behind everything that is applied.
    Refuse(ErrorCode),
    /// Its connection (or link) ends.
    Close,
}

impl Room {
    /// An operation has found none.
    pub const fn on_full(&mut self) {
        self.waiting = self.waiting.saturating_add(1);
    }

    /// One has found some after all; whether it was the last that waited.
    pub const fn on_room(&mut self) -> bool {
        let was_full = self.is_full();
        self.waiting = self.waiting.saturating_sub(1);
        was_full && !self.is_full()
    }

    /// Whether something waits for room.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.waiting > 0
    }

    /// Whether the server may propose something by itself: the end of a session that is over, the deletion of a container.
    #[must_use]
    pub const fn may_log(self) -> bool {
        !self.is_full()
    }

    /// A request of a client of this server, which leads. `is_next`: no earlier request of its connection waits.
    #[must_use]
    pub const fn admits_own(self, kind: Kind, is_next: bool) -> Verdict {
        match kind {
            _ if !self.is_full() => Verdict::Take,
            Kind::Other if is_next => Verdict::Refuse(ErrorCode::OperationTimeout),
            Kind::Other | Kind::Session => Verdict::Close,
        }
    }

    /// A request that a learner has forwarded.
    #[must_use]
    pub const fn admits_learners(self) -> Verdict {
        if self.is_full() {
            Verdict::Close
        } else {
            Verdict::Take
        }
    }
}

/// Whether a server whose disk is full closes the links of its learners and lets its Tick run out: then it looks again, unless it decides alone.
#[must_use]
pub const fn gives_up_lead(state: ServerState, has_others: bool) -> bool {
    matches!(state, ServerState::Leading) && has_others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_10_with_room_everything_is_taken() {
        for kind in [Kind::Session, Kind::Other] {
            for is_next in [false, true] {
                assert_eq!(Room::default().admits_own(kind, is_next), Verdict::Take);
            }
        }
        assert_eq!(Room::default().admits_learners(), Verdict::Take);
        assert!(Room::default().may_log());
    }

    #[test]
    fn c_10_without_room_writes_are_refused_in_turn() {
        let mut room = Room::default();
        room.on_full();
        room.on_full();
        let refused = Verdict::Refuse(ErrorCode::OperationTimeout);
        for (kind, is_next, verdict) in [
            (Kind::Other, true, refused),
            (Kind::Other, false, Verdict::Close),
            (Kind::Session, true, Verdict::Close),
            (Kind::Session, false, Verdict::Close),
        ] {
            assert_eq!(room.admits_own(kind, is_next), verdict);
        }
        assert_eq!(room.admits_learners(), Verdict::Close);
        assert!(!room.may_log());
        assert!(!room.on_room(), "one still waits");
        assert!(room.is_full());
        assert!(room.on_room());
        assert!(!room.is_full() && !room.on_room());
    }

    #[test]
    fn c_10_a_leader_of_others_gives_its_place_up() {
        for (state, has_others, gives_up) in [
            (ServerState::Leading, true, true),
            (ServerState::Leading, false, false),
            (ServerState::Following, true, false),
            (ServerState::Observing, true, false),
            (ServerState::Looking, true, false),
        ] {
            assert_eq!(gives_up_lead(state, has_others), gives_up, "{state:?}");
        }
    }
}
