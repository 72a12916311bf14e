//! What the values of several kinds of keys are written like.

/// A switch, in either spelling of Java's keys. Errors: what to write instead.
pub(super) fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(format!("{key}={value}: write true or false")),
    }
}
