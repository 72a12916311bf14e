//! Which connection of those that claim one member's id is led, and which wait: a stranger that dials again and again keeps nobody out.
//!
//! Nothing proves an id (SPEC.md §6.4), so a connection that has only named one is worth little, and two of them are worth the same. What tells a
//! member from a stranger is that it goes on: it answers LEADERINFO, acknowledges NEWLEADER, answers PING. So each claim gets a *turn*, in
//! which it may show that; claims that come meanwhile wait in a line, at most one for each address, and the first of them has the next turn.
//! A claim from an address that the configuration lists for the member is *expected*, and goes before all that are not.
//!
//! | the link that has the id | a claim that comes | the first that waits |
//! |---|---|---|
//! | none | joins the line | has its turn |
//! | follows, and was heard within a tick | is turned away | waits |
//! | follows, and is silent for longer: its server may have been started anew | joins the line | has its turn |
//! | is being sent the history, and says nothing meanwhile | joins the line | waits, unless it is expected and the link is not |
//! | has claimed the id and no more, within a tick | joins the line | the same |
//! | has claimed the id and no more, and is silent for longer | joins the line | has its turn |
//!
//! What this gives the member: from an expected address it has its turn at once, whatever strangers do, unless one of them follows. From
//! another address it has its turn after those that came before it, a tick each; with strangers at [`LINE_MAX`] addresses or more, it may be
//! turned away. A stranger at the member's own address cannot be told from it.
//!
//! ```text
//! stranger X claims      turn of X
//! stranger X claims      line: X
//! member M claims        line: X M
//! a tick without a word  turn of M: X has just had one      (expected, M would not have waited for the tick)
//! M answers              M follows; X is turned away
//! ```
//!
//! **How the host calls it.** One [`Line`] for each member's id. A connection that has named an id it may be led as
//! ([`super::membership::may_be_led`]): [`Line::join`], and what that hands back is closed. Then, and at each tick, and when a link ends, and when this
//! server begins to lead: [`Line::next`] with the link that has the id ([`Holder`]), if there is one; what that hands out is linked in
//! its place. A server that does not lead does not call `next`: claims that came early wait. Before it, [`Line::keep`] forgets those that have
//! gone. When the server follows, all are closed.

use super::membership::Turned;
use alloc::collections::VecDeque;

/// Addresses from which claims of one id may wait. Each turn takes a tick at most, and a learner waits for initLimit, which is longer.
pub const LINE_MAX: usize = 4;

/// A connection that claims an id. `O` is where it comes from: its address without the port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claimant<C, O> {
    /// The connection.
    pub conn: C,
    /// Where it comes from.
    pub from: O,
    /// The configuration lists that address for the member.
    pub expected: bool,
}

/// How far the link that has the id is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Progress {
    /// It has claimed the id, and has yet to show that it can be synchronized.
    Claims,
    /// It is being sent the leader's history (`Peer::synchronizes`); how long it may take for that, its link knows.
    Synchronizes,
    /// It has acknowledged NEWLEADER (`Peer::has_active_learner`).
    Follows,
}

/// The link that has the id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Holder<O> {
    /// Where it comes from.
    pub from: O,
    /// The configuration lists that address for the member.
    pub expected: bool,
    /// How far it is.
    pub progress: Progress,
    /// Since it was last heard, its claim included.
    pub silent_ms: u64,
}

impl<O> Holder<O> {
    fn answers(&self, tick_ms: u64) -> bool {
        self.silent_ms <= tick_ms
    }

    /// Whether it gives its place to a claim that waits.
    fn gives_way(&self, expected: bool, tick_ms: u64) -> bool {
        let is_better = expected && !self.expected;
        match self.progress {
            Progress::Follows => !self.answers(tick_ms),
            Progress::Synchronizes => is_better,
            Progress::Claims => is_better || !self.answers(tick_ms),
        }
    }
}

/// Claims of one id that wait for their turn.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Line<C, O> {
    waiting: VecDeque<Claimant<C, O>>,
}

impl<C, O> Default for Line<C, O> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<C, O: PartialEq> Line<C, O> {
    /// Those who wait, the first first.
    pub fn iter(&self) -> impl Iterator<Item = &Claimant<C, O>> {
        self.waiting.iter()
    }

    /// A claim has come. A newer one of an address takes the place of the older, which comes back to be closed: a server that dials anew has
    /// given the older one up.
    ///
    /// # Errors
    /// The connection and [`Turned::Present`], if the link that has the id follows and answers; the connection and [`Turned::Crowded`], if too many wait. For an
    /// expected claim, one that is not goes instead, and comes back.
    pub fn join(
        &mut self,
        claim: Claimant<C, O>,
        holder: Option<&Holder<O>>,
        tick_ms: u64,
    ) -> Result<Option<C>, (C, Turned)> {
        let follows = |h: &&Holder<O>| h.progress == Progress::Follows && h.answers(tick_ms);
        if holder.filter(follows).is_some() {
            return Err((claim.conn, Turned::Present));
        }
        if let Some(older) = self.waiting.iter_mut().find(|w| w.from == claim.from) {
            let older = core::mem::replace(older, claim);
            return Ok(Some(older.conn));
        }
        let mut out = None;
        if self.waiting.len() >= LINE_MAX {
            let last = self.waiting.iter().rposition(|w| !w.expected);
            match last.filter(|_| claim.expected) {
                Some(last) => out = self.waiting.remove(last).map(|w| w.conn),
                None => return Err((claim.conn, Turned::Crowded)),
            }
        }
        self.waiting.push_back(claim);
        Ok(out)
    }

    /// Forgets those who have gone.
    pub fn keep(&mut self, is_there: impl FnMut(&Claimant<C, O>) -> bool) {
        self.waiting.retain(is_there);
    }

    /// Who is to be led in the place of `holder`, which is closed then; `None` if that one stays, or nobody waits.
    #[must_use = "who has its turn waits no more"]
    pub fn next(&mut self, holder: Option<&Holder<O>>, tick_ms: u64) -> Option<Claimant<C, O>> {
        let had_it = |w: &Claimant<C, O>| holder.is_some_and(|h| h.from == w.from);
        // Expected ones first; of the others those from elsewhere; then in the order in which they came.
        let ranks = self.waiting.iter().map(|w| (!w.expected, had_it(w)));
        let (at, (unexpected, _)) = ranks.enumerate().min_by_key(|(_, rank)| *rank)?;
        if holder.is_some_and(|h| !h.gives_way(!unexpected, tick_ms)) {
            return None;
        }
        self.waiting.remove(at)
    }

    /// Nobody is led here any more: all come back, to be closed.
    pub fn end(&mut self) -> impl Iterator<Item = C> {
        self.waiting.drain(..).map(|w| w.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const TICK: u64 = 2000;

    fn claim(conn: u32, from: char, expected: bool) -> Claimant<u32, char> {
        Claimant {
            conn,
            from,
            expected,
        }
    }

    fn holder(from: char, expected: bool, progress: Progress, silent_ms: u64) -> Holder<char> {
        Holder {
            from,
            expected,
            progress,
            silent_ms,
        }
    }

    /// C-82: each row of the table.
    #[test]
    fn c_82_who_gives_way_to_whom() {
        use Progress::{Claims, Follows, Synchronizes};
        for (progress, silent_ms, to_any, to_expected) in [
            (Follows, TICK, false, false),
            (Follows, TICK + 1, true, true),
            (Synchronizes, u64::MAX, false, true),
            (Claims, TICK, false, true),
            (Claims, TICK + 1, true, true),
        ] {
            for (expected, gives_way) in [(false, to_any), (true, to_expected)] {
                let has_it = holder('x', false, progress, silent_ms);
                let mut line = Line::default();
                let joined = line.join(claim(1, 'm', expected), Some(&has_it), TICK);
                let follows = progress == Follows && silent_ms <= TICK;
                assert_eq!(joined.is_err(), follows, "{progress:?} {silent_ms}");
                let next = line.next(Some(&has_it), TICK).map(|w| w.conn);
                assert_eq!(next, gives_way.then_some(1), "{progress:?} {silent_ms}");
                // One that has waited since before, whatever the holder has done meanwhile.
                let mut line = Line::default();
                assert_eq!(line.join(claim(1, 'm', expected), None, TICK), Ok(None));
                let next = line.next(Some(&has_it), TICK).map(|w| w.conn);
                assert_eq!(next, gives_way.then_some(1), "{progress:?} {silent_ms}");
                // Between two that are expected, the address says nothing.
                let known = holder('y', true, progress, silent_ms);
                let mut line = Line::default();
                let joined = line.join(claim(1, 'm', expected), Some(&known), TICK);
                let next = line.next(Some(&known), TICK).is_some();
                assert_eq!(next, joined.is_ok() && to_any, "{progress:?} {silent_ms}");
            }
        }
    }

    /// C-82: a stranger that dials as fast as it likes from one address, and says nothing, holds the member up for a tick.
    #[test]
    fn c_82_a_stranger_that_dials_again_and_again_does_not_keep_the_member_out() {
        let mut line = Line::default();
        assert_eq!(line.join(claim(0, 'x', false), None, TICK), Ok(None));
        assert_eq!(line.next(None, TICK).map(|w| w.conn), Some(0));
        let mut silent = holder('x', false, Progress::Claims, 0);
        for conn in 1..1000 {
            silent.silent_ms = u64::from(conn) * TICK / 1000;
            assert!(
                line.join(claim(conn, 'x', false), Some(&silent), TICK)
                    .is_ok()
            );
            if conn == 500 {
                assert!(
                    line.join(claim(7777, 'm', false), Some(&silent), TICK)
                        .is_ok()
                );
            }
            assert_eq!(line.next(Some(&silent), TICK), None);
        }
        silent.silent_ms = TICK + 1;
        let next = line.next(Some(&silent), TICK).map(|w| w.conn);
        assert_eq!(next, Some(7777));
    }

    #[test]
    fn c_82_a_full_line_has_room_for_whoever_is_expected() {
        let mut line = Line::default();
        for (conn, from) in (0..).zip(['a', 'b', 'c', 'd']) {
            assert_eq!(line.join(claim(conn, from, false), None, TICK), Ok(None));
        }
        assert_eq!(line.join(claim(10, 'b', false), None, TICK), Ok(Some(1)));
        let crowded = Err((11, Turned::Crowded));
        assert_eq!(line.join(claim(11, 'e', false), None, TICK), crowded);
        assert_eq!(line.join(claim(12, 'm', true), None, TICK), Ok(Some(3)));
        line.keep(|w| w.conn != 2);
        let next = line.next(None, TICK).map(|w| w.conn);
        assert_eq!(next, Some(12));
        assert_eq!(line.end().collect::<Vec<_>>(), [0, 10]);
    }
}
