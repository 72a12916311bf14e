//! A configuration as stateright's Explorer shows it: actions with the packet in them, states in words, the path drawn.
//!
//! States of [`Zab`] are numbers that mean something only in its world. Here each carries its words along; that costs
//! memory, and an explorer that goes where somebody clicks has enough of it.

use super::action::Action;
use super::diagram::Chart;
use super::model::{State, Zab};
use super::properties;
use super::trace;
use crate::invariants::InvariantSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use stateright::{Model, Path, Property};

/// The model, for the Explorer.
#[derive(Debug)]
pub struct Browsed {
    /// What is browsed.
    pub zab: Zab,
}

/// A state and what it looks like.
#[derive(Clone)]
pub struct Shown {
    /// The state.
    pub state: State,
    text: Arc<str>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.state.hash(state);
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Eq for Shown {}

/// What can happen, in words.
#[derive(Clone, PartialEq, Eq)]
pub struct Choice {
    /// What.
    pub action: Action,
    text: String,
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl properties::Judged for Shown {
    fn broken(&self) -> InvariantSet {
        self.state.broken
    }
}

impl Browsed {
    fn shown(&self, state: State) -> Shown {
        let mut text = trace::cluster_text(&self.zab.world, &state.cluster);
        for (broken, how) in properties::told(&state.cluster, &self.zab.world) {
            text.push_str(&format!("\nBROKEN: {} ({how})", broken.name));
        }
        Shown {
            state,
            text: text.into(),
        }
    }
}

impl Model for Browsed {
    type State = Shown;
    type Action = Choice;

    fn init_states(&self) -> Vec<Shown> {
        let states = self.zab.init_states().into_iter();
        states.map(|s| self.shown(s)).collect()
    }

    fn actions(&self, shown: &Shown, choices: &mut Vec<Choice>) {
        let mut actions = Vec::new();
        self.zab.actions(&shown.state, &mut actions);
        choices.extend(actions.into_iter().map(|action| Choice {
            action,
            text: trace::action_text(&self.zab.world, &shown.state.cluster, action),
        }));
    }

    fn next_state(&self, last: &Shown, choice: Choice) -> Option<Shown> {
        let state = self.zab.next_state(&last.state, choice.action)?;
        Some(self.shown(state))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::as_properties()
    }

    fn format_action(&self, choice: &Choice) -> String {
        choice.text.clone()
    }

    /// What the step does, and the servers that it changes.
    fn format_step(&self, last: &Shown, choice: Choice) -> Option<String> {
        let cluster = &last.state.cluster;
        Some(trace::outcome_text(&self.zab, cluster, choice.action))
    }

    fn as_svg(&self, path: Path<Shown, Choice>) -> Option<String> {
        let steps = path.into_vec();
        let (first, _) = steps.first()?;
        let initial = self.init_states().iter().position(|s| s == first)?;
        let choices = steps.into_iter().filter_map(|(_, choice)| choice);
        let actions: Vec<Action> = choices.map(|c| c.action).collect();
        Some(Chart::of(&self.zab, initial, &actions, self.zab.bounds.name)?.svg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::bounds;
    use stateright::Checker;

    #[test]
    fn the_explorer_sees_the_same_states_and_properties_as_the_search() {
        let browsed = |name| Browsed {
            zab: Zab::new(bounds::find(name).unwrap()),
        };
        let shown = browsed("zoo/QuorumIsHalf").checker().spawn_bfs().join();
        let plain = browsed("zoo/QuorumIsHalf").zab.checker();
        let plain = plain.spawn_bfs().join();
        assert!(!shown.discoveries().is_empty());
        let mut a: Vec<&str> = shown.discoveries().into_keys().collect();
        let mut b: Vec<&str> = plain.discoveries().into_keys().collect();
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }

    #[test]
    fn choices_name_the_packet_and_states_are_lines_of_words() {
        let model = Browsed {
            zab: Zab::new(bounds::find("rec-warm-1").unwrap()),
        };
        let first = model.init_states().remove(0);
        let mut choices = Vec::new();
        model.actions(&first, &mut choices);
        let texts: Vec<String> = choices.iter().map(|c| model.format_action(c)).collect();
        assert!(texts.contains(&"server 1 receives PROPOSAL e1c2 from server 3".into()));
        let text = alloc::format!("{first:#?}");
        assert!(text.contains("server 3: LEADING epoch 1"), "{text}");
        assert!(text.contains("to server 1: PROPOSAL e1c2"), "{text}");
        let outcome = model.format_step(&first, choices.remove(0)).unwrap();
        assert!(outcome.contains("server 3"), "{outcome}");
        let path = Path::from_actions(&model, first, &[]).unwrap();
        assert!(model.as_svg(path).unwrap().starts_with("<svg"));
    }
}
