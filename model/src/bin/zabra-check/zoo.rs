//! `zabra-check zoo`: switches on known bugs one by one and finds the shortest way to each.

use crate::draw;
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use zabra_model::checker::bounds::{self, Bounds};
use zabra_model::checker::explore::{Explored, Options, Progress, explore};
use zabra_model::checker::model::Zab;
use zabra_model::checker::trace;

pub(crate) fn zoo(
    names: &[String],
    as_json: bool,
    show: bool,
    out: Option<&Path>,
) -> Result<bool, String> {
    let wanted = |b: &&Bounds| {
        names.is_empty()
            || names
                .iter()
                .any(|n| b.name.trim_start_matches("zoo/") == n.trim_start_matches("zoo/"))
    };
    let cages: Vec<&'static Bounds> = bounds::ZOO.iter().filter(wanted).collect();
    if cages.len() < names.len() || cages.is_empty() {
        return Err(format!(
            "of {names:?} some are not switches; `zabra-check list` names them"
        ));
    }
    let mut results = Vec::new();
    let mut all_caught = true;
    for b in cages {
        let began = Instant::now();
        let Explored {
            distinct,
            violation,
            ..
        } = explore(&Zab::new(b), &Options::default(), &Progress::default())
            .map_err(|e| format!("{}: a temporary file: {e}", b.name))?;
        let seconds = began.elapsed().as_secs_f64();
        all_caught &= violation.is_some();
        let caught = violation.as_ref();
        let steps = caught.map(|v| v.actions.len());
        let invariant = caught.map(|v| v.invariant);
        let kept = match (caught, out) {
            (Some(v), Some(out)) => Some(draw::keep(&Zab::new(b), v, out)?),
            _ => None,
        };
        if as_json {
            let actions = caught.map(|v| json!(v.actions));
            results.push(json!({"switch": b.name, "about": b.about, "caught": caught.is_some(), "invariant": invariant,
                "steps": steps, "distinct": distinct, "seconds": seconds, "actions": actions, "kept": kept}));
            continue;
        }
        match caught {
            Some(v) => println!(
                "{:<28} caught by \"{}\" after {} steps ({distinct} states, {seconds:.1} s)",
                b.name,
                v.invariant,
                v.actions.len()
            ),
            None => println!(
                "{:<28} NOT CAUGHT in {distinct} states, {seconds:.1} s",
                b.name
            ),
        }
        if let Some(v) = caught.filter(|_| show) {
            println!("  {}", b.about);
            print!("{}", trace::story(&Zab::new(b), v.initial, &v.actions));
        }
        if let Some(base) = kept {
            println!("  kept as {base}.txt, .ndjson, .mmd, .svg");
        }
    }
    if as_json {
        println!(
            "{}",
            json!({ "all_caught": all_caught, "switches": results })
        );
    }
    Ok(all_caught)
}
