//! Which connection a session has at a server, and who waits for the leader's word on it.
//!
//! A session has one connection at a server: the one over which it was confirmed last. The leader's word on a session names the session
//! only; a client that connects twice asks twice, and the answers come in the order of the questions, as a link keeps its order.
//!
//! **How the host calls it.** [`Revalidations::ask`] in the step that sends REVALIDATE; [`Revalidations::on_answer`] when the answer comes, and the connection that it
//! hands out is told, if it is still there. [`Attached::left`] when a client introduces itself with a session that it has, [`Attached::attach`] when
//! the session is confirmed: the connections that they hand out end.
//! [`Attached::closed`] when a closeSession is applied: the connection that it hands out ends when it has got what is to be sent to it.
//! [`Attached::detach`] when a connection has ended.

use crate::ids::SessionId;
use alloc::collections::{BTreeMap, VecDeque};

/// Connections that wait for the leader's word on their session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Revalidations<C> {
    waiting: BTreeMap<SessionId, VecDeque<C>>,
}

impl<C> Default for Revalidations<C> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<C> Revalidations<C> {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The leader is asked about a session, for this connection. It keeps its place when it ends meanwhile: the answer comes all the same.
    pub fn ask(&mut self, session: SessionId, conn: C) {
        self.waiting.entry(session).or_default().push_back(conn);
    }

    /// The leader's word on a session has come: whom it is for. `None`: nobody asked.
    pub fn on_answer(&mut self, session: SessionId) -> Option<C> {
        let waiting = self.waiting.get_mut(&session)?;
        let conn = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&session);
        }
        conn
    }

    /// This server serves no more: nobody will answer. Those who wait come back.
    pub fn end(&mut self) -> impl Iterator<Item = C> {
        core::mem::take(&mut self.waiting).into_values().flatten()
    }
}

/// The connection of each session at one server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Attached<C> {
    conns: BTreeMap<SessionId, C>,
}

impl<C> Default for Attached<C> {
    fn default() -> Self {
        Self {
            conns: BTreeMap::new(),
        }
    }
}

impl<C: PartialEq> Attached<C> {
    /// A session is confirmed for this connection. An earlier one of it comes back: its client has left it, so it ends.
    #[must_use = "the earlier connection has to end"]
    pub fn attach(&mut self, session: SessionId, conn: C) -> Option<C>
    where
        C: Clone,
    {
        let old = self.conns.insert(session, conn.clone());
        old.filter(|old| *old != conn)
    }

    /// A connection has ended. Its session may have another one by now, which stays.
    pub fn detach(&mut self, session: SessionId, conn: &C) {
        if self.conns.get(&session) == Some(conn) {
            self.conns.remove(&session);
        }
    }

    /// The client of a session comes again: the connection that the session has here comes back, to be ended, whatever becomes of the
    /// new one.
    #[must_use = "the earlier connection has to end"]
    pub fn left(&mut self, session: SessionId) -> Option<C> {
        self.conns.remove(&session)
    }

    /// A session is over: its closeSession was applied, or it was a local one that has expired. The connection that it has here comes
    /// back, unless it is the `asker`, which has its answer.
    #[must_use = "a connection ends with its session"]
    pub fn closed(&mut self, session: SessionId, asker: Option<&C>) -> Option<C> {
        let conn = self.conns.remove(&session)?;
        (asker != Some(&conn)).then_some(conn)
    }

    /// The connection of a session.
    #[must_use]
    pub fn get(&self, session: SessionId) -> Option<&C> {
        self.conns.get(&session)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &C)> {
        self.conns.iter().map(|(session, conn)| (*session, conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const S: SessionId = SessionId(7);
    const T: SessionId = SessionId(8);

    #[test]
    fn words_on_a_session_go_to_those_who_asked_in_their_order() {
        let mut waiting = Revalidations::default();
        waiting.ask(S, 1);
        waiting.ask(T, 2);
        waiting.ask(S, 3);
        assert_eq!(
            [S, S, S].map(|s| waiting.on_answer(s)),
            [Some(1), Some(3), None]
        );
        assert!(!waiting.is_empty());
        assert_eq!(waiting.on_answer(T), Some(2));
        assert!(
            waiting.is_empty(),
            "nothing is kept of those who have their answer"
        );
        waiting.ask(T, 2);
        assert_eq!(waiting.end().collect::<Vec<_>>(), [2]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_session_has_one_connection_and_a_late_end_of_the_earlier_one_takes_nothing_away() {
        let mut attached = Attached::default();
        assert_eq!(attached.attach(S, 1), None);
        assert_eq!(attached.attach(S, 1), None);
        assert_eq!(attached.attach(S, 2), Some(1));
        attached.detach(S, &1);
        assert_eq!(attached.iter().collect::<Vec<_>>(), [(S, &2)]);
        assert_eq!(attached.closed(S, Some(&2)), None);
        assert_eq!(attached.attach(S, 3), None);
        assert_eq!(attached.closed(S, Some(&2)), Some(3));
        assert_eq!(attached.closed(S, None), None);
        assert_eq!(attached.attach(S, 4), None);
        assert_eq!((attached.get(S), attached.get(T)), (Some(&4), None));
        assert_eq!([attached.left(S), attached.left(S)], [Some(4), None]);
        assert_eq!(attached.attach(S, 4), None);
        attached.detach(S, &4);
        assert_eq!(attached.iter().count(), 0);
    }
}
