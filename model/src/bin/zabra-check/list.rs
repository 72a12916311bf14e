//! `zabra-check list`: what there is to run.

use crate::golden_json;
use serde_json::{Value, json};
use zabra_model::checker::bounds::{self, Bounds};
use zabra_model::checker::zoo;

pub(crate) fn list(as_json: bool) -> bool {
    if as_json {
        let entry = |b: &Bounds| {
            json!({"name": b.name, "about": b.about, "servers": b.n(), "grain": format!("{:?}", b.grain),
                "disk": format!("{:?}", b.disk), "transactions": b.txns, "crashes": b.crashes,
                "disconnects": b.disconnects, "faults": b.faults, "tier": b.tier.name(), "switch": b.switch.map(|s| format!("{s:?}")), "golden": b.golden.map(golden_json)})
        };
        let all: Vec<Value> = bounds::ALL
            .iter()
            .chain(zoo::ALL.iter().map(|c| &c.bounds))
            .map(entry)
            .collect();
        println!("{}", json!({ "configurations": all }));
        return true;
    }
    for b in bounds::ALL.iter().chain(zoo::ALL.iter().map(|c| &c.bounds)) {
        println!("{:<28} {}", b.name, b.about);
        if let Some(g) = b.golden {
            println!(
                "{:<28} {} distinct states, {} generated, depth {}",
                "", g.distinct, g.generated, g.depth
            );
        }
    }
    true
}
