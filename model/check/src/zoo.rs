//! `zabra-check zoo`: switches on known bugs one by one and finds the shortest way to each.

use crate::out::{put, say};
use crate::{clients, draw};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Instant;
use zabra_check::checker::bounds::Bounds;
use zabra_check::checker::explore::{Explored, NO_WEDGE, VOTES_END};
use zabra_check::checker::model::Zab;
use zabra_check::checker::zoo::{self, Cage};
use zabra_check::checker::{properties, trace};

fn cages(names: &[String]) -> Result<Vec<&'static Cage>, String> {
    let wanted = |c: &&Cage| names.is_empty() || names.iter().any(|n| c.is_named(n));
    let cages: Vec<&'static Cage> = zoo::ALL.iter().filter(wanted).collect();
    if cages.len() < names.len() || cages.is_empty() {
        return Err(format!(
            "of {names:?} some are not switches; `zabra-check list` names them"
        ));
    }
    Ok(cages)
}

fn no_room(e: io::Error) -> String {
    format!("a temporary file: {e}")
}

pub(crate) fn zoo(
    names: &[String],
    as_json: bool,
    show: bool,
    out: Option<&Path>,
) -> Result<bool, String> {
    let mut results = Vec::new();
    let mut all_caught = true;
    // Slips of the service are no switches of the core, and have a model of their own.
    let all: Vec<_> = clients::slips().collect();
    let is_slip = |name: &String| all.iter().any(|slip| slip.name == *name);
    let (slips, switches): (Vec<String>, Vec<String>) = names.iter().cloned().partition(is_slip);
    let cages = if switches.is_empty() && !slips.is_empty() {
        Vec::new()
    } else {
        cages(&switches)?
    };
    for cage in cages {
        let b = &cage.bounds;
        let began = Instant::now();
        let Explored {
            distinct,
            violation,
            ..
        } = zoo::first_catch(&Zab::new(b)).map_err(no_room)?;
        let seconds = began.elapsed().as_secs_f64();
        let found = violation.as_ref().map(|v| (v.invariant, v.actions.len()));
        let as_recorded = found == Some(cage.expected);
        all_caught &= as_recorded;
        let kept = match (&violation, out) {
            (Some(v), Some(out)) => Some(draw::keep(&Zab::new(b), v, out)?),
            _ => None,
        };
        if as_json {
            let actions = violation.as_ref().map(|v| json!(v.actions));
            results.push(json!({"switch": b.name, "about": b.about, "source": cage.source, "caught": found.is_some(),
                "as_recorded": as_recorded, "invariant": found.map(|f| f.0), "steps": found.map(|f| f.1),
                "distinct": distinct, "seconds": seconds, "actions": actions, "kept": kept}));
            continue;
        }
        let effort = format!("({distinct} states, {seconds:.1} s)");
        match found {
            Some((by, steps)) => say!(
                "{:<34} caught by \"{by}\" after {steps} steps {effort}",
                b.name
            ),
            None => say!("{:<34} NOT CAUGHT {effort}", b.name),
        }
        if !as_recorded {
            let (by, steps) = cage.expected;
            say!("  DIFFERS: recorded is \"{by}\" after {steps} steps");
        }
        if let Some(v) = violation.filter(|_| show) {
            say!("  {}", b.about);
            put(&trace::story(&Zab::new(b), v.initial, &v.actions));
        }
        if let Some(base) = kept {
            say!("  kept as {base}.txt, .ndjson, .mmd, .svg");
        }
    }
    for slip in all {
        if names.is_empty() || slips.contains(&slip.name) {
            all_caught &= catch_slip(&slip, as_json, show, &mut results);
        }
    }
    if as_json {
        say!(
            "{}",
            json!({ "all_caught": all_caught, "switches": results })
        );
    }
    Ok(all_caught)
}

/// Looks for a wrong answer of the service. Whether it is caught as recorded.
fn catch_slip(slip: &clients::Entry, as_json: bool, show: bool, results: &mut Vec<Value>) -> bool {
    let (as_recorded, caught) = slip.catch();
    let found = caught.by.map(|by| (by, caught.steps.len()));
    if as_json {
        results.push(json!({"switch": slip.name, "about": slip.about, "source": slip.source, "caught": found.is_some(),
            "as_recorded": as_recorded, "invariant": found.map(|f| f.0), "steps": found.map(|f| f.1),
            "distinct": caught.states, "actions": caught.steps}));
        return as_recorded;
    }
    caught.say(show);
    if !as_recorded {
        let (by, steps) = slip.expected;
        say!("  DIFFERS: recorded is \"{by}\" after {steps} steps");
    }
    as_recorded
}

/// Every configuration of the zoo with its bug off.
pub(crate) fn off(names: &[String]) -> Result<bool, String> {
    let mut seen = Vec::new();
    let mut clean = true;
    for cage in cages(names)? {
        let b = Bounds {
            name: "",
            about: "",
            switch: None,
            ..cage.bounds
        };
        let same = format!("{b:?}");
        if seen.contains(&same) {
            continue;
        }
        seen.push(same);
        let (model, found) = zoo::without_bug(cage).map_err(no_room)?;
        clean &= found.violation.is_none();
        let all = if found.complete { "all" } else { "the first" };
        let name = cage.bounds.name;
        match found.violation {
            None => say!("{name:<34} off: {all} {} states are clean", found.distinct),
            Some(v) => {
                let steps = v.actions.len();
                say!(
                    "{name:<34} off: BREAKS \"{}\" after {steps} steps",
                    v.invariant
                );
                put(&trace::story(&model, v.initial, &v.actions));
            }
        }
    }
    Ok(clean)
}

/// For each invariant: which switches would survive without it?
pub(crate) fn without_each(names: &[String], as_json: bool) -> Result<bool, String> {
    let mut found: Vec<(&str, zoo::Second)> = Vec::new();
    for cage in cages(names)? {
        let second = zoo::second_catch(cage, zoo::SECOND_CRASHES_MORE).map_err(no_room)?;
        if !as_json {
            say!("{:<34} {second}", cage.bounds.name);
        }
        found.push((cage.bounds.name, second));
    }
    let asked = properties::ALL
        .iter()
        .map(|p| p.name)
        .chain([NO_WEDGE, VOTES_END]);
    let needs: Vec<(&str, Vec<&str>)> = asked
        .map(|asked| {
            let survivors = found
                .iter()
                .filter(|(_, s)| s.survives_without() == Some(asked));
            (asked, survivors.map(|(name, _)| *name).collect())
        })
        .collect();
    if as_json {
        let needs: BTreeMap<_, _> = needs.into_iter().collect();
        say!("{}", json!({ "survive_without": needs }));
    } else {
        for (asked, survivors) in needs {
            say!(
                "without \"{asked}\": {} survive: {}",
                survivors.len(),
                survivors.join(", ")
            );
        }
    }
    Ok(true)
}
