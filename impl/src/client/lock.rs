//! How this server takes its locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic in another holder ends the process anyway (see `main`), so its traces are not looked at.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
