//! Random walks through a configuration, for traces that together show every kind of step.

use super::action::Action;
use super::cluster::{Cluster, Log, World};
use super::list_steps;
use super::model::Zab;
use super::trace;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// A small generator of pseudo-random numbers (xorshift64*): the same seed gives the same walks everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator; the seed may be any number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n.max(1)
    }
}

/// A walk that was kept, and why.
#[derive(Debug)]
pub struct Walk {
    /// Which initial state it began in.
    pub initial: usize,
    /// Its steps.
    pub actions: Vec<Action>,
    /// The classes of steps that it was the first to show.
    pub news: Vec<String>,
}

/// How likely an action is, beside the others: faults are rare, progress is not.
const fn weight(action: Action) -> u64 {
    match action {
        Action::Receive { .. } | Action::Flush { .. } | Action::Connect { .. } => 40,
        Action::Notify { .. }
        | Action::Start { .. }
        | Action::SyncFound { .. }
        | Action::Propose { .. } => 30,
        Action::HearClose { .. } | Action::GiveUp { .. } | Action::Snapshot { .. } => 12,
        Action::Crash { .. }
        | Action::Die { .. }
        | Action::FailSync { .. }
        | Action::Disconnect { .. }
        | Action::FailWrite { .. } => 2,
        Action::Fire { .. } => 6,
        Action::Lead { .. }
        | Action::Follow { .. }
        | Action::ElectBest { .. }
        | Action::Settle { .. }
        | Action::Overtake { .. }
        | Action::EarlyPing { .. }
        | Action::SnapLater { .. }
        | Action::Reconfigure { .. } => 20,
    }
}

/// The class of a step: what kind of thing happened to whom in which phase, and what it made them do.
fn class(model: &Zab, before: &Cluster, after: &Cluster, action: Action, log: &Log) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    let _ = write!(text, "{}", super::action::WITNESSES[action.witness()]);
    if let Action::Receive { link, at } = action
        && let Some(frame) = before
            .wire(&model.world, link)
            .and_then(|w| w.inbox(at).front())
    {
        let _ = write!(text, " {}", trace::on_the_wire(&frame.packet).0);
    }
    for i in 0..model.world.n() {
        let (was, is) = (
            phase(&model.world, before, i),
            phase(&model.world, after, i),
        );
        if was != is {
            let _ = write!(text, " {}:{was}>{is}", i + 1);
        }
    }
    for w in (18..super::action::WITNESSES.len()).filter(|w| *w != action.witness()) {
        if log.witnessed >> w & 1 == 1 {
            let _ = write!(text, " {}", super::action::WITNESSES[w]);
        }
    }
    text
}

/// What a server is doing, without numbers.
fn phase(world: &World, c: &Cluster, i: usize) -> String {
    use crate::peer::Role;
    use alloc::format;
    use alloc::string::ToString;
    match c.role(world, i) {
        None => "down".to_string(),
        Some(Role::Draining { .. }) => "draining".to_string(),
        Some(Role::Looking(l)) => format!("looking{}", if l.deciding { "!" } else { "" }),
        Some(Role::Following(f)) => format!("{:?}", f.stage),
        Some(Role::Leading(l)) => format!("{:?}", l.phase),
    }
}

/// One step of a walk; nothing if none is possible.
fn chosen(dice: &mut Dice, enabled: &[Action], weight: impl Fn(Action) -> u64) -> Option<Action> {
    let total: u64 = enabled.iter().map(|a| weight(*a)).sum();
    let mut pick = dice.below(total);
    enabled.iter().copied().find(|a| {
        let here = pick < weight(*a);
        pick = pick.saturating_sub(weight(*a));
        here
    })
}

/// Walks at random and keeps each walk that shows a class of step for the first time, cut behind its last news.
///
/// Ends when `wanted` walks are kept or `tries` were made.
pub fn walks(model: &Zab, seed: u64, tries: usize, steps_max: usize, wanted: usize) -> Vec<Walk> {
    let mut dice = Dice::new(seed);
    let initial = model.initial();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::new();
    let mut enabled = Vec::new();
    let mut log = Log::default();
    for _ in 0..tries {
        if kept.len() >= wanted {
            break;
        }
        let start = usize::try_from(dice.below(initial.len() as u64)).unwrap_or(0);
        let mut c = initial[start];
        let (mut actions, mut news, mut worth) = (Vec::new(), Vec::new(), 0);
        while actions.len() < steps_max {
            enabled.clear();
            model.enabled(&c, &mut enabled);
            let Some(action) = chosen(&mut dice, &enabled, weight) else {
                break;
            };
            let before = c;
            log.witnessed = 0;
            model.apply(&mut c, action, &mut log);
            actions.push(action);
            let class = class(model, &before, &c, action, &log);
            if known.insert(class.clone()) {
                news.push(class);
                worth = actions.len();
            }
        }
        if worth > 0 {
            actions.truncate(worth);
            kept.push(Walk {
                initial: start,
                actions,
                news,
            });
        }
    }
    kept
}

/// A walk, and what it shows of [`list_steps::STEPS`]: each with the number of the step that shows it first.
struct Candidate {
    actions: Vec<Action>,
    shown: Vec<(usize, usize)>,
}

impl Candidate {
    /// What it is worth while each kind of step is still owed so often, for its length; and where all that is owed has been shown.
    fn worth(&self, owed: &[usize]) -> (usize, usize) {
        let wanted = self.shown.iter().filter(|(kind, _)| owed[*kind] > 0);
        let (count, end) = wanted.fold((0, 0), |(n, end), (_, step)| (n + 1, end.max(*step)));
        (count * 1000 / (end + 30), end)
    }
}

/// Walks at random through a configuration whose list of voters changes, and keeps few of them that together show each of
/// [`list_steps::STEPS`] that any of them shows, in `each` walks if there are so many.
///
/// In every second walk nothing breaks before a list is proposed: by itself chance rarely comes so far.
pub fn walks_of_lists(
    model: &Zab,
    seed: u64,
    tries: usize,
    steps_max: usize,
    each: usize,
) -> Vec<Walk> {
    let mut dice = Dice::new(seed);
    let initial = model.initial();
    let mut log = Log::default();
    let mut all = Vec::new();
    for _ in 0..tries {
        let calm = dice.below(2) == 0;
        let walk = walk_of_lists(model, initial[0], &mut dice, calm, steps_max, &mut log);
        all.extend(walk);
    }
    let mut owed = [each; list_steps::STEPS.len()];
    let mut kept = Vec::new();
    loop {
        let best = (0..all.len()).max_by_key(|i| all[*i].worth(&owed).0);
        let Some(best) = best.filter(|i| all[*i].worth(&owed).0 > 0) else {
            return kept;
        };
        let candidate: Candidate = all.swap_remove(best);
        let end = candidate.worth(&owed).1;
        let Candidate { mut actions, shown } = candidate;
        actions.truncate(end);
        let mut news = Vec::new();
        for (kind, _) in shown.into_iter().filter(|(_, step)| *step <= end) {
            owed[kind] = owed[kind].saturating_sub(1);
            news.push(list_steps::STEPS[kind].into());
        }
        kept.push(Walk {
            initial: 0,
            actions,
            news,
        });
    }
}

/// One walk, and what it shows with the number of the step that shows it first; nothing if no list matters in it.
fn walk_of_lists(
    model: &Zab,
    mut c: Cluster,
    dice: &mut Dice,
    calm: bool,
    steps_max: usize,
    log: &mut Log,
) -> Option<Candidate> {
    let (mut actions, mut shown, mut known) = (Vec::new(), Vec::new(), 0_u64);
    let mut enabled = Vec::new();
    while actions.len() < steps_max {
        enabled.clear();
        model.enabled(&c, &mut enabled);
        let waits = calm && c.spent.reconfigs == 0;
        enabled.retain(|a| !(waits && a.is_fault()));
        let Some(action) = chosen(dice, &enabled, weight) else {
            break;
        };
        let before = c;
        model.apply(&mut c, action, log);
        actions.push(action);
        let bits = list_steps::list_steps(model, &before, &c, action) & !known;
        known |= bits;
        let new = (0..list_steps::STEPS.len()).filter(|kind| bits >> kind & 1 == 1);
        shown.extend(new.map(|kind| (kind, actions.len())));
    }
    (!shown.is_empty()).then_some(Candidate { actions, shown })
}
