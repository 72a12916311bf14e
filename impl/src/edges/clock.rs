//! What time it is.

/// Two clocks. Whoever asks promises to compare only values of the same one; whoever answers promises that [`Clock::elapsed_ms`]
/// never goes back, while [`Clock::date_ms`] may be set by an operator.
pub trait Clock: Send + Sync {
    /// Milliseconds since the server's start: what sessions and deadlines live by.
    fn elapsed_ms(&self) -> u64;
    /// Milliseconds since 1970: what nodes and session ids are stamped with.
    fn date_ms(&self) -> u64;
}
