//! What was looked at, and how it is.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A server works with it, worse than it could.
    Warning,
    /// A server does not start with it, or loses data by it.
    Error,
}

impl Severity {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at and how it is, in a word that stays the same over versions.
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    /// Which directory, member, port or key.
    pub(super) about: String,
    /// How it is, and what comes of that.
    pub(super) what: String,
    /// What to do; nothing where it is as it should be.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) remedy: &'static str,
    /// What was measured, where it is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) measured: Option<f64>,
}

impl Finding {
    pub(super) fn ok(code: &'static str, about: impl Into<String>, what: String) -> Self {
        Self::of(Severity::Ok, code, about, what, "")
    }

    pub(super) fn note(
        code: &'static str,
        about: impl Into<String>,
        what: String,
        remedy: &'static str,
    ) -> Self {
        Self::of(Severity::Note, code, about, what, remedy)
    }

    pub(super) fn warning(
        code: &'static str,
        about: impl Into<String>,
        what: String,
        remedy: &'static str,
    ) -> Self {
        Self::of(Severity::Warning, code, about, what, remedy)
    }

    pub(super) fn error(
        code: &'static str,
        about: impl Into<String>,
        what: String,
        remedy: &'static str,
    ) -> Self {
        Self::of(Severity::Error, code, about, what, remedy)
    }

    pub(super) fn of(
        severity: Severity,
        code: &'static str,
        about: impl Into<String>,
        what: String,
        remedy: &'static str,
    ) -> Self {
        Self {
            code,
            severity,
            about: about.into(),
            what,
            remedy,
            measured: None,
        }
    }

    pub(super) const fn measured(mut self, value: f64) -> Self {
        self.measured = Some(value);
        self
    }
}
