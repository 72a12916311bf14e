//! "No wedge": from every reachable state, one in which all servers serve together can be reached without further
//! faults (AG EF).
//!
//! While a search runs, each thread notes the transitions that are no fault, and which states serve. Afterwards the
//! states that can reach a serving one are marked, backwards: states are numbered level by level and most
//! transitions lead from lower to higher numbers, so a few passes over the transitions, last ones first, are enough.
//!
//! On the same graph: an exchange of votes ends. No way that consists of votes that arrive, and of nothing else, goes on for ever; else
//! servers would answer each other as fast as the network can.

use alloc::vec;
use alloc::vec::Vec;

/// What one thread notes.
#[derive(Default)]
pub(super) struct Notes {
    /// From and to, by number.
    edges: Vec<(u32, u32)>,
    /// Those of them in which a vote arrives.
    votes: Vec<(u32, u32)>,
    /// States in which all serve together.
    serving: Vec<u32>,
    /// States that cannot be asked to recover, because a budget of the configuration is used up.
    exempt: Vec<u32>,
    /// The numbers of the states that this thread has found, in order.
    pub(super) numbers: Vec<u32>,
}

/// What is asked of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obligation {
    /// All serve together.
    Serves,
    /// It has to be able to reach such a state.
    Recovers,
    /// No epoch or round is left in the configuration's budget: nothing is asked.
    Exempt,
}

/// What kind of transition leads to a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transition {
    /// A fault: nobody may count on it.
    Fault,
    /// A vote arrives.
    Vote,
    /// Anything else.
    Other,
}

/// What became of the questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liveness {
    /// States in which all serve together.
    pub serving: u64,
    /// States of which nothing is asked, as a budget is used up.
    pub exempt: u64,
    /// Transitions that are no faults.
    pub edges: u64,
    /// States that should recover and cannot.
    pub wedged: u64,
    /// States from which votes alone can go on for ever.
    pub endless: u64,
}

impl Notes {
    pub(super) fn state(&mut self, number: u32, obligation: Obligation) {
        self.numbers.push(number);
        match obligation {
            Obligation::Serves => self.serving.push(number),
            Obligation::Exempt => self.exempt.push(number),
            Obligation::Recovers => {}
        }
    }

    pub(super) fn edge(&mut self, from: u32, to: u32, kind: Transition) {
        match kind {
            Transition::Vote => self.votes.push((from, to)),
            Transition::Other if from != to => self.edges.push((from, to)),
            Transition::Other | Transition::Fault => {}
        }
    }
}

/// The lowest numbers of states that show something wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// One that should recover and cannot.
    pub(super) wedged: Option<u32>,
    /// One from which votes alone can go on for ever.
    pub(super) endless: Option<u32>,
}

/// Which states of `count` can reach a serving one, and from which an exchange of votes need not end.
pub(super) fn settle(notes: &mut [&mut Notes], count: u64) -> (Liveness, Found) {
    let mut marked = vec![false; usize::try_from(count).unwrap_or(usize::MAX)];
    let mut liveness = Liveness {
        serving: 0,
        exempt: 0,
        edges: 0,
        wedged: 0,
        endless: 0,
    };
    for n in notes.iter() {
        liveness.serving += n.serving.len() as u64;
        liveness.exempt += n.exempt.len() as u64;
        liveness.edges += (n.edges.len() + n.votes.len()) as u64;
        n.serving.iter().for_each(|s| marked[*s as usize] = true);
    }
    let mut changed = true;
    while changed {
        changed = false;
        let edges = notes
            .iter()
            .flat_map(|n| n.edges.iter().rev().chain(n.votes.iter().rev()));
        for (from, to) in edges {
            if marked[*to as usize] && !marked[*from as usize] {
                marked[*from as usize] = true;
                changed = true;
            }
        }
    }
    for n in notes.iter() {
        n.exempt.iter().for_each(|s| marked[*s as usize] = true);
    }
    liveness.wedged = marked.iter().filter(|m| !**m).count() as u64;
    let endless = endless(notes, marked.len());
    liveness.endless = endless.iter().filter(|e| **e).count() as u64;
    let first = |of: &[bool], wanted| {
        let at = of.iter().position(|is| *is == wanted)?;
        u32::try_from(at).ok()
    };
    let found = Found {
        wedged: first(&marked, false),
        endless: first(&endless, true),
    };
    (liveness, found)
}

/// The states from which votes alone can go on for ever: those whose exchanges end are taken out, the last ones first.
fn endless(notes: &[&mut Notes], count: usize) -> Vec<bool> {
    let mut endless = vec![true; count];
    loop {
        let mut goes_on = vec![false; count];
        for (from, to) in notes.iter().flat_map(|n| n.votes.iter()) {
            goes_on[*from as usize] |= endless[*to as usize];
        }
        if goes_on == endless {
            return endless;
        }
        endless = goes_on;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_only_leads_in_circles_is_wedged() {
        // 0 -> 1 -> 2 (serves), 0 -> 3 -> 4 -> 3, and 5, of which nothing is asked.
        let mut notes = Notes::default();
        for (number, obligation) in [
            (0, Obligation::Recovers),
            (1, Obligation::Recovers),
            (2, Obligation::Serves),
            (3, Obligation::Recovers),
            (4, Obligation::Recovers),
            (5, Obligation::Exempt),
        ] {
            notes.state(number, obligation);
        }
        for (from, to) in [(0, 1), (1, 2), (0, 3), (3, 4), (4, 3), (3, 5)] {
            notes.edge(from, to, Transition::Other);
        }
        let (liveness, found) = settle(&mut [&mut notes], 6);
        assert_eq!((liveness.wedged, found.wedged), (2, Some(3)));
        notes.edge(4, 1, Transition::Other);
        assert_eq!(settle(&mut [&mut notes], 6).1.wedged, None);
    }

    #[test]
    fn votes_that_lead_in_circles_need_not_end_unless_a_timer_takes_part() {
        // 0 -> 1 -> 2 -> 3 by votes, 3 -> 1 by a timer.
        let mut notes = Notes::default();
        for number in 0..4 {
            notes.state(number, Obligation::Exempt);
        }
        for (from, to) in [(0, 1), (1, 2), (2, 3)] {
            notes.edge(from, to, Transition::Vote);
        }
        notes.edge(3, 1, Transition::Other);
        assert_eq!(settle(&mut [&mut notes], 4).1.endless, None);
        notes.edge(3, 1, Transition::Vote);
        let (liveness, found) = settle(&mut [&mut notes], 4);
        assert_eq!((liveness.endless, found.endless), (4, Some(0)));
    }
}
