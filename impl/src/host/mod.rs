//! The host: the one task that owns the protocol core, and everything that hands it inputs or carries out its effects.

pub mod boot;
pub mod core;
mod deliver;
#[cfg(feature = "gate")]
pub mod gate;
pub mod inbox;
mod lead;
mod links;
pub mod payload;
mod persist;
mod room;
pub mod shared;
pub mod timers;
pub mod tree_sink;
pub mod trigger;
mod window;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map whose keys are numbers that this server or its leader has given out: nobody can choose them to collide.
pub type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Locks. A panic in another holder ends the process anyway (see `main`), so its traces are not looked at.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
