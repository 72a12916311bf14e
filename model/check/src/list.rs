//! `zabra-check list`: what there is to run.

use crate::configuration::golden_json;
use crate::out::say;
use serde_json::{Value, json};
use zabra_check::checker::bounds::{self, Bounds, Tier};
use zabra_check::checker::tables;
use zabra_check::checker::zoo;

const TIERS: [(Tier, &str); 4] = [
    (Tier::Ci, "all of them under two minutes together"),
    (Tier::Deep, "up to ten minutes each"),
    (Tier::Nightly, "up to two hours each"),
    (Tier::Walk, "not to be exhausted: for walks"),
];

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
        let clients: Vec<Value> = tables::runs()
            .map(|b| {
                let golden = b.golden;
                json!({"name": b.name, "about": b.about,
                "golden": {"distinct": golden.0, "generated": golden.1}})
            })
            .collect();
        say!("{}", json!({ "configurations": all, "clients": clients }));
        return true;
    }
    let counts = |distinct: u64, rest: &str| {
        say!("  {:<22} {distinct} distinct states, {rest}", "");
    };
    for (tier, takes) in TIERS {
        say!("{} ({takes}):", tier.name());
        for b in bounds::ALL.iter().filter(|b| b.tier == tier) {
            say!("  {:<22} {}", b.name, b.about);
            if let Some(g) = b.golden {
                counts(
                    g.distinct,
                    &format!("{} generated, depth {}", g.generated, g.depth),
                );
            }
        }
    }
    say!("clients (`zabra-check clients`):");
    for b in tables::runs() {
        say!("  {:<22} {}", b.name, b.about);
        counts(b.golden.0, &format!("{} generated", b.golden.1));
    }
    say!("known bugs (`zabra-check zoo`):");
    for c in zoo::ALL {
        let name = c.bounds.name.trim_start_matches("zoo/");
        say!("  {name:<30} {}", c.bounds.about);
    }
    true
}
