//! `zabra-check clients`: exhausts what clients can see, and shows what each wrong answer of the service leads to.

use crate::out::say;
use serde_json::{Value, json};
use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;
use zabra_check::checker::bounds::Bounds;
use zabra_check::checker::clients::{self, Clients};
use zabra_check::checker::moves::{self, Moves};

/// A model of the service that can be exhausted and told.
trait Service:
    Model<State: Hash + Send + Sync + Clone + PartialEq + Debug, Action: Clone + PartialEq + Debug>
    + Send
    + Sync
    + 'static
{
    /// A step in words.
    fn told(&self, state: &Self::State, step: Self::Action) -> String;
}

impl Service for Clients {
    fn told(&self, state: &Self::State, step: Self::Action) -> String {
        self.text(state, step)
    }
}

impl Service for Moves {
    fn told(&self, state: &Self::State, step: Self::Action) -> String {
        self.text(state, step)
    }
}

/// Exhausts a configuration of the service as it is.
fn exhaust<M: Service>(
    model: M,
    ensemble: &Bounds,
    golden: (u64, u64),
    properties: &[&str],
    as_json: bool,
    threads: usize,
) -> (bool, Value) {
    let Bounds { name, about, .. } = ensemble;
    let began = Instant::now();
    let checker = model.checker().threads(threads).spawn_dfs().join();
    let distinct = checker.unique_state_count() as u64;
    let generated = checker.state_count() as u64;
    let broken: Vec<&str> = checker.discoveries().into_keys().collect();
    let seconds = began.elapsed().as_secs_f64();
    let recorded = (distinct, generated) == golden;
    if !as_json {
        say!("{name}: {about}");
        say!("  {distinct} distinct states, {generated} generated, {seconds:.1} s");
        if !recorded {
            say!("  recorded are {golden:?}");
        }
        match &broken[..] {
            [] => say!("  all hold: {}", properties.join(", ")),
            some => say!("  BROKEN: {}", some.join(", ")),
        }
    }
    let json = json!({"configuration": name, "distinct": distinct, "generated": generated,
        "seconds": seconds, "properties": properties, "broken": broken, "recorded": recorded});
    (broken.is_empty() && recorded, json)
}

/// The shortest way from a slip to what a client notices.
pub(crate) struct Caught {
    slip: String,
    /// The property.
    pub(crate) by: Option<&'static str>,
    /// The steps, in words.
    pub(crate) steps: Vec<String>,
    /// How many states were seen.
    pub(crate) states: usize,
}

impl Caught {
    pub(crate) fn say(&self, show: bool) {
        let Self {
            slip,
            steps,
            states,
            ..
        } = self;
        match self.by {
            Some(by) => say!(
                "{slip:<34} caught by \"{by}\" after {} steps ({states} states)",
                steps.len()
            ),
            None => say!("{slip:<34} NOT CAUGHT ({states} states)"),
        }
        for (n, step) in steps.iter().enumerate().filter(|_| show) {
            say!("  {:>3}. {step}", n + 1);
        }
    }
}

/// `wanted`: until that property is broken; else until any is.
fn catch<M: Service>(model: M, slip: &str, wanted: Option<&'static str>) -> Caught {
    let until = wanted.map_or(HasDiscoveries::Any, |w| HasDiscoveries::AnyOf([w].into()));
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let mut found = checker.discoveries().into_iter();
    let found = found.find(|(name, _)| wanted.is_none_or(|w| w == *name));
    let by = found.as_ref().map(|(name, _)| *name);
    let path = found.map(|(_, path)| path.into_vec()).unwrap_or_default();
    let told = path
        .into_iter()
        .filter_map(|(state, step)| Some(checker.model().told(&state, step?)));
    Caught {
        slip: slip.to_owned(),
        by,
        steps: told.collect(),
        states: checker.unique_state_count(),
    }
}

/// A slip of sessions that move, until it breaks what is recorded.
pub(crate) fn catch_move(slip: moves::Slip) -> Caught {
    let model = Moves::new(slip.view(), Some(slip));
    catch(model, &format!("{slip:?}"), Some(slip.expected().0))
}

/// Runs all there is: the service as it is, then each slip until a client notices.
pub(crate) fn clients(as_json: bool, show: bool, threads: usize) -> bool {
    let mut holds = true;
    let mut views: Vec<Value> = Vec::new();
    for v in clients::ALL {
        let model = Clients::new(v, None);
        let (held, json) = exhaust(
            model,
            v.ensemble,
            v.golden,
            &clients::PROPERTIES,
            as_json,
            threads,
        );
        holds &= held;
        views.push(json);
    }
    for v in moves::ALL {
        let model = Moves::new(v, None);
        let (held, json) = exhaust(
            model,
            v.ensemble,
            v.golden,
            &moves::PROPERTIES,
            as_json,
            threads,
        );
        holds &= held;
        views.push(json);
    }
    let seen = clients::Slip::ALL.into_iter().map(|slip| {
        let model = Clients::new(slip.view(), Some(slip));
        let caught = catch(model, &format!("{slip:?}"), None);
        (caught.by.is_some(), caught)
    });
    let moved = moves::Slip::ALL.into_iter().map(|slip| {
        let caught = catch_move(slip);
        let found = caught.by.map(|by| (by, caught.steps.len()));
        (found == Some(slip.expected()), caught)
    });
    let mut slips: Vec<Value> = Vec::new();
    for (as_recorded, caught) in seen.chain(moved) {
        holds &= as_recorded;
        if !as_json {
            caught.say(show);
        }
        let Caught {
            slip,
            by,
            steps,
            states,
        } = caught;
        slips.push(json!({"slip": slip, "property": by, "steps": steps, "states": states, "as_recorded": as_recorded}));
    }
    if as_json {
        say!(
            "{}",
            json!({"views": views, "slips": slips, "holds": holds})
        );
    }
    holds
}
