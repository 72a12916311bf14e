//! `zabra-check replay`: holds a stored trace against the model.

use crate::out::say;
use serde_json::json;
use std::path::Path;
use zabra_check::checker::trace;

pub(crate) fn replay(path: &Path, as_json: bool) -> Result<bool, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let outcome = trace::verify(&text);
    match (&outcome, as_json) {
        (Ok(steps), true) => {
            say!("{}", json!({"trace": path, "holds": true, "steps": steps}));
        }
        (Ok(steps), false) => {
            say!("{}: {steps} steps, as the model does them", path.display());
        }
        (Err((line, what)), true) => say!(
            "{}",
            json!({"trace": path, "holds": false, "line": line, "difference": what})
        ),
        (Err((line, what)), false) => say!("{}:{line}: {what}", path.display()),
    }
    Ok(outcome.is_ok())
}
