//! ZooKeeper and Zabra side by side: the same random requests to both, and every byte of what comes back compared.
//!
//! A seed makes a *script* (`generate.rs`): batches of requests of several sessions, sound ones (`sound.rs`) and others (`odd.rs`), with moves
//! of sessions, odd handshakes, restarts and changes of the leader in between. `run.rs` sends it to both in lock-step. What has to differ by its nature (session
//! ids, passwords, times, where the zxids begin, the order of unordered sets) is taken out by `masks.rs`; what else differs is a finding,
//! unless `wanted.rs` has its D-n. A finding is made small by `shrink.rs`.

pub mod generate;
pub mod masks;
pub mod odd;
pub mod pair;
pub mod request;
pub mod run;
pub mod said;
pub mod shrink;
pub mod side;
pub mod sound;
pub mod values;
pub mod wanted;
