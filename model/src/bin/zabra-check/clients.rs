//! `zabra-check clients`: exhausts the client view, and shows what each wrong answer of the service leads to.

use crate::out::say;
use serde_json::{Value, json};
use stateright::{Checker, HasDiscoveries, Model};
use std::time::Instant;
use zabra_model::checker::bounds::Bounds;
use zabra_model::checker::clients::{ALL, Clients, PROPERTIES, Slip};

/// Runs all there is: the service as it is, then each slip until a client notices.
pub(crate) fn clients(as_json: bool, show: bool, threads: usize) -> bool {
    let mut holds = true;
    let mut views: Vec<Value> = Vec::new();
    for view in ALL {
        let Bounds { name, about, .. } = view.ensemble;
        let began = Instant::now();
        let checker = Clients::new(view, None).checker().threads(threads);
        let checker = checker.spawn_dfs().join();
        let distinct = checker.unique_state_count() as u64;
        let generated = checker.state_count() as u64;
        let broken: Vec<&str> = checker.discoveries().into_keys().collect();
        let seconds = began.elapsed().as_secs_f64();
        let recorded = (distinct, generated) == view.golden;
        holds &= broken.is_empty() && recorded;
        if !as_json {
            say!("{name}: {about}");
            say!("  {distinct} distinct states, {generated} generated, {seconds:.1} s");
            if !recorded {
                say!("  recorded are {:?}", view.golden);
            }
            match &broken[..] {
                [] => say!("  all hold: {}", PROPERTIES.join(", ")),
                some => say!("  BROKEN: {}", some.join(", ")),
            }
        }
        views.push(
            json!({"configuration": name, "distinct": distinct, "generated": generated,
            "seconds": seconds, "properties": PROPERTIES, "broken": broken, "recorded": recorded}),
        );
    }
    let mut slips: Vec<Value> = Vec::new();
    for slip in Slip::ALL {
        let checker = Clients::new(slip.view(), Some(slip)).checker();
        let checker = checker.finish_when(HasDiscoveries::Any).spawn_bfs().join();
        let states = checker.unique_state_count();
        let found = checker.discoveries().into_iter().next();
        holds &= found.is_some();
        let name = found.as_ref().map(|(name, _)| *name);
        let path = found.map(|(_, path)| path.into_vec()).unwrap_or_default();
        let model = checker.model();
        let steps: Vec<String> = path
            .iter()
            .filter_map(|(state, step)| Some(model.text(state, (*step)?)))
            .collect();
        if !as_json {
            match name {
                Some(name) => say!(
                    "{slip:?}: caught by \"{name}\" after {} steps ({states} states)",
                    steps.len()
                ),
                None => say!("{slip:?}: NOT CAUGHT in {states} states"),
            }
            for (n, step) in steps.iter().enumerate().filter(|_| show) {
                say!("  {:>3}. {step}", n + 1);
            }
        }
        slips.push(json!({"slip": format!("{slip:?}"), "property": name, "steps": steps, "states": states}));
    }
    if as_json {
        say!(
            "{}",
            json!({"views": views, "slips": slips, "holds": holds})
        );
    }
    holds
}
