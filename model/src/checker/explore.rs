//! Level-order exploration: counterexamples of least length, and a second count beside stateright's.

use super::action::Action;
use super::cluster::{Cluster, Log};
use super::model::{State, Zab};
use super::properties;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::quality::FixedState;
use hashbrown::HashSet;
use stateright::Model;

/// What an exploration found.
#[derive(Debug)]
pub struct Explored {
    /// Distinct states.
    pub distinct: u64,
    /// Transitions taken, initial states included.
    pub generated: u64,
    /// Steps to the deepest state.
    pub depth: u32,
    /// The first broken invariant, and the shortest way to it: the initial state, then the actions.
    pub violation: Option<Violation>,
    /// Whether every reachable state was seen.
    pub complete: bool,
}

/// A broken invariant.
#[derive(Debug)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// Which initial state.
    pub initial: usize,
    /// What happened.
    pub actions: Vec<Action>,
}

/// A visited state's way back: its parent's place in the list, and the action that led here.
struct Parent(u32, Action);

fn fingerprint(state: &State) -> u128 {
    let bytes = state.canon();
    let half = |seed: u64| u128::from(FixedState::with_seed(seed).hash_one(&bytes[..]));
    half(1) << 64 | half(2)
}

/// Explores level by level until an invariant breaks, everything was seen, or `states_max` were.
pub fn explore(model: &Zab, states_max: u64) -> Explored {
    let mut seen: HashSet<u128, FixedState> = HashSet::default();
    let mut parents: Vec<Parent> = Vec::new();
    let mut level: Vec<(u32, Cluster)> = Vec::new();
    let mut found = Explored {
        distinct: 0,
        generated: 0,
        depth: 0,
        violation: None,
        complete: false,
    };
    let mut next: Vec<(u32, Cluster)> = Vec::new();
    let mut actions = Vec::new();
    for (i, state) in model.init_states().into_iter().enumerate() {
        let origin = Parent(
            u32::MAX,
            Action::Start {
                server: u8::try_from(i).unwrap_or(u8::MAX),
            },
        );
        if visit(
            model,
            state,
            origin,
            &mut seen,
            &mut parents,
            &mut level,
            &mut found,
        ) {
            return found;
        }
    }
    while !level.is_empty() {
        for (at, cluster) in level.drain(..) {
            actions.clear();
            model.enabled(&cluster, &mut actions);
            for action in &actions {
                let mut cluster = cluster.clone();
                model.apply(&mut cluster, *action, &mut Log::default());
                let bounds = model.bounds;
                let state = State { cluster, bounds };
                let origin = Parent(at, *action);
                if visit(
                    model,
                    state,
                    origin,
                    &mut seen,
                    &mut parents,
                    &mut next,
                    &mut found,
                ) {
                    return found;
                }
            }
            if found.distinct > states_max {
                return found;
            }
        }
        core::mem::swap(&mut level, &mut next);
        if !level.is_empty() {
            found.depth += 1;
        }
    }
    found.complete = true;
    found
}

/// Counts a generated state; true if it breaks an invariant.
fn visit(
    model: &Zab,
    state: State,
    origin: Parent,
    seen: &mut HashSet<u128, FixedState>,
    parents: &mut Vec<Parent>,
    level: &mut Vec<(u32, Cluster)>,
    found: &mut Explored,
) -> bool {
    found.generated += 1;
    if !seen.insert(fingerprint(&state)) {
        return false;
    }
    found.distinct += 1;
    let at = u32::try_from(parents.len()).unwrap_or(u32::MAX - 1);
    parents.push(origin);
    let broken = properties::broken(model, &state).next();
    if let Some(name) = broken {
        found.violation = Some(way_to(name, at, parents));
        return true;
    }
    level.push((at, state.cluster));
    false
}

fn way_to(invariant: &'static str, mut at: u32, parents: &[Parent]) -> Violation {
    let mut actions = Vec::new();
    loop {
        let Parent(parent, action) = &parents[at as usize];
        if *parent == u32::MAX {
            let Action::Start { server } = action else {
                unreachable!("the way begins at an initial state")
            };
            actions.reverse();
            return Violation {
                invariant,
                initial: usize::from(*server),
                actions,
            };
        }
        actions.push(*action);
        at = *parent;
    }
}
