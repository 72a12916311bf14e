//! A stranger that claims a member's id again and again, from as many addresses as it has, and the member.
//!
//! Which of them is led is decided by the server's own [`Line`]. Time is ticks. A stranger says its first words and may answer LEADERINFO, so
//! that it is sent the history, but never acknowledges that; the member does, within the tick in which it is led, and dials anew in the
//! tick in which it was turned away. It may restart, which leaves a link that is silent.

use super::serving::{self, Judged, Run, Wrongs};
use crate::service::claims::{Claimant, Holder, LINE_MAX, Line, Progress};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use stateright::{Model, Property};

/// Time is counted in ticks.
const TICK: u64 = 1;
/// Whoever is silent for so long is silent.
const SILENT_MAX: u64 = 2;
/// The member's address; strangers have the others.
const MEMBER: u8 = 0;

/// A wrong rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// Whoever came last has the id, unless it was heard within a tick: no line.
    NobodyWaits,
    /// The newest claim goes first.
    NewestFirst,
    /// A claim is led at once if another one has the id that has not been synchronized yet.
    ClaimsGiveWay,
    /// It does not matter where a claim comes from.
    NobodyIsExpected,
}

impl serving::Slip for Slip {
    const ALL: &'static [Self] = &[
        Self::NobodyWaits,
        Self::NewestFirst,
        Self::ClaimsGiveWay,
        Self::NobodyIsExpected,
    ];

    fn expected(self) -> (&'static str, usize) {
        match self {
            Self::NobodyWaits => (IN_TIME, 18),
            Self::NewestFirst => (IN_TIME, 12),
            Self::ClaimsGiveWay => (IN_TIME, 21),
            Self::NobodyIsExpected => (IN_TIME, 3),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::NobodyWaits => {
                "of the claims of one id, whichever comes when nobody else was heard within a tick is led, and the others are turned away"
            }
            Self::NewestFirst => "of the claims of one id that wait, the newest is led first",
            Self::ClaimsGiveWay => {
                "a claim takes the place of any other that has not been synchronized yet, at once"
            }
            Self::NobodyIsExpected => "a claim from the member's own address waits like all others",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::NobodyWaits | Self::NewestFirst => "found here",
            Self::ClaimsGiveWay | Self::NobodyIsExpected => "a textbook mistake",
        }
    }
}

/// The member follows within so many ticks of its first claim, whatever strangers do.
pub const IN_TIME: &str = "the member gets in";
/// Nobody takes the place of a link that follows and answers.
pub const STAYS: &str = "who follows and answers stays";
/// No more claims wait than may.
pub const BOUNDED: &str = "the line is bounded";
/// The properties, by their bits.
pub const PROPERTIES: [&str; 3] = [IN_TIME, STAYS, BOUNDED];

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its name, and its numbers.
    pub run: Run,
    /// From how many addresses strangers dial.
    pub strangers: u8,
    /// The member's address is the one that is configured for it.
    pub expected: bool,
    /// How many ticks the member may wait.
    pub within: u64,
}

/// The member comes from the address that its line in the configuration names, and strangers have more addresses than may wait.
pub const AT_HOME: View = View {
    run: Run {
        name: "claims",
        about: "a member and strangers at more addresses than may wait claim its id, the member from where it is configured",
        golden: (9_073, 70_730),
    },
    strangers: LINE_MAX as u8 + 1,
    expected: true,
    within: 0,
};

/// The member comes from elsewhere, behind translated addresses.
pub const ELSEWHERE: View = View {
    run: Run {
        name: "claims-elsewhere",
        about: "the same from an address that is not configured, with strangers at two others, which do not answer",
        golden: (273, 1_058),
    },
    strangers: 2,
    expected: false,
    within: 6,
};

/// Every configuration.
pub const ALL: &[View] = &[AT_HOME, ELSEWHERE];

/// Who claims the id, who waits, and who has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    line: Line<(), u8>,
    holder: Option<Holder<u8>>,
    /// It is the member's link, and its server runs.
    is_members: bool,
    /// The member has dialled in this tick.
    dialled: bool,
    /// Ticks that the member has waited for strangers, since it began to dial.
    waits: Option<u64>,
    wrongs: Wrongs,
}

impl serving::With<Slip> for Claims {
    fn with(slip: Slip) -> Self {
        let view = match slip {
            Slip::NobodyIsExpected => &AT_HOME,
            Slip::NobodyWaits | Slip::NewestFirst | Slip::ClaimsGiveWay => &ELSEWHERE,
        };
        Self::new(view, Some(slip))
    }
}

impl Judged for State {
    fn wrongs(&self) -> Wrongs {
        self.wrongs
    }
}

impl State {
    fn is_waiting(&self) -> bool {
        self.line.iter().any(|w| w.from == MEMBER)
    }

    fn progress(&self) -> Option<Progress> {
        self.holder.map(|h| h.progress)
    }

    fn lead(&mut self, claim: &Claimant<(), u8>) {
        let stays = |h: Holder<u8>| h.progress == Progress::Follows && h.silent_ms <= TICK;
        if self.holder.is_some_and(stays) {
            self.wrongs.add(&PROPERTIES, STAYS);
        }
        self.is_members = claim.from == MEMBER;
        self.holder = Some(Holder {
            from: claim.from,
            expected: claim.expected,
            progress: Progress::Claims,
            silent_ms: 0,
        });
    }
}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A server at this address claims the id.
    Claim(u8),
    /// The link that has the id says what it is asked for: a stranger is sent the history then, the member follows.
    Answer,
    /// A stranger that has the id ends its link.
    End,
    /// The member loses its power: its link is silent from now on.
    Restart,
    /// A tick. The member dials in each, unless it waits, and says what it is asked for.
    Tick,
}

/// The model.
#[derive(Debug)]
pub struct Claims {
    view: &'static View,
    slip: Option<Slip>,
}

impl Claims {
    /// The configuration, and what is wrong with it.
    #[must_use]
    pub const fn new(view: &'static View, slip: Option<Slip>) -> Self {
        Self { view, slip }
    }

    fn claim(&self, s: &mut State, from: u8) {
        let is_expected = self.view.expected && from == MEMBER;
        let claim = Claimant {
            conn: (),
            from,
            expected: is_expected && self.slip != Some(Slip::NobodyIsExpected),
        };
        let holder = s.holder;
        match self.slip {
            Some(Slip::NobodyWaits) => {
                let gives_way = |h: Holder<u8>| h.silent_ms > TICK;
                if holder.is_none_or(gives_way) {
                    s.lead(&claim);
                }
            }
            Some(Slip::ClaimsGiveWay) if s.progress() == Some(Progress::Claims) => s.lead(&claim),
            Some(Slip::NewestFirst) => {
                let mut line = Line::default();
                let older: Vec<_> = s.line.iter().filter(|w| w.from != from).cloned().collect();
                for claim in core::iter::once(claim).chain(older) {
                    let _ = line.join(claim, holder.as_ref(), TICK);
                }
                s.line = line;
            }
            Some(Slip::ClaimsGiveWay | Slip::NobodyIsExpected) | None => {
                let _ = s.line.join(claim, holder.as_ref(), TICK);
            }
        }
        if s.line.iter().count() > LINE_MAX {
            s.wrongs.add(&PROPERTIES, BOUNDED);
        }
    }

    fn tick(&self, s: &mut State) {
        s.dialled = false;
        if let Some(h) = &mut s.holder {
            h.silent_ms = if s.is_members {
                0
            } else {
                SILENT_MAX.min(h.silent_ms + 1)
            };
        }
        let for_strangers = s.holder.is_some_and(|h| h.from != MEMBER);
        if let Some(waits) = s.waits.as_mut().filter(|_| for_strangers) {
            *waits += 1;
            if *waits > self.view.within {
                s.wrongs.add(&PROPERTIES, IN_TIME);
            }
        }
    }
}

impl Model for Claims {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        Vec::from([State {
            line: Line::default(),
            holder: None,
            is_members: false,
            dialled: false,
            waits: None,
            wrongs: Wrongs::default(),
        }])
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        if !s.wrongs.is_none() {
            return;
        }
        steps.extend((1..=self.view.strangers).map(Step::Claim));
        let dials = !s.is_members && !s.is_waiting() && !s.dialled;
        if dials {
            steps.push(Step::Claim(MEMBER));
        }
        let owes = s.is_members && s.progress() != Some(Progress::Follows);
        let may_answer = self.view.expected && s.progress() == Some(Progress::Claims);
        if owes || may_answer {
            steps.push(Step::Answer);
        }
        if s.is_members && !owes {
            steps.push(Step::Restart);
        }
        if s.holder.is_some_and(|h| h.from != MEMBER) {
            steps.push(Step::End);
        }
        if !owes && (!dials || s.waits.is_none()) {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Claim(from) => {
                if from == MEMBER {
                    s.dialled = true;
                    s.waits.get_or_insert(0);
                }
                self.claim(&mut s, from);
            }
            Step::Answer => {
                let follows = s.is_members;
                let holder = s.holder.as_mut()?;
                holder.silent_ms = 0;
                holder.progress = if follows {
                    Progress::Follows
                } else {
                    Progress::Synchronizes
                };
                if follows {
                    s.waits = None;
                }
            }
            Step::End => s.holder = None,
            Step::Restart => s.is_members = false,
            Step::Tick => self.tick(&mut s),
        }
        // Behind each step the host asks whose turn it is.
        let holder = s.holder;
        if let Some(next) = s.line.next(holder.as_ref(), TICK) {
            s.lead(&next);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        serving::properties(&PROPERTIES)
    }
}

impl serving::Service for Claims {
    fn text(&self, s: &State, step: Step) -> String {
        let who = |from: u8| match from {
            MEMBER => String::from("the member"),
            stranger => format!("stranger {stranger}"),
        };
        let has_it = s.holder.map_or_else(String::new, |h| who(h.from));
        match step {
            Step::Claim(from) => format!("{} claims the id", who(from)),
            Step::Answer => format!("{has_it} says what it is asked for"),
            Step::End => format!("{has_it} ends its link"),
            Step::Restart => "the member loses its power, its link does not end".into(),
            Step::Tick => "a tick".into(),
        }
    }
}
