//! Configurations by name, and what is recorded of them.

use serde_json::{Value, json};
use zabra_check::checker::bounds::{self, Bounds, Golden};

pub(crate) fn configuration(name: &str) -> Result<&'static Bounds, String> {
    bounds::find(name)
        .ok_or_else(|| format!("{name} is not a configuration; `zabra-check list` names them"))
}

pub(crate) fn golden_json(g: Golden) -> Value {
    json!({"distinct": g.distinct, "generated": g.generated, "depth": g.depth})
}
