//! Power cuts under load: real servers, each on a disk that forgets, clients that write through them, and a ledger of what
//! was promised.
//!
//! [`run`] cuts and restarts by a schedule from one seed; [`load`] writes; [`ledger`] knows what must be there, what may be,
//! and what must not. Everything random but the timing of processes follows from the seed: the same seed gives the same
//! schedule and the same choices of each disk, not the same interleaving.

pub mod ledger;
pub mod load;
#[cfg(target_os = "linux")]
pub mod run;
