//! Traces of the model, replayed on real server processes.
//!
//! ```text
//! trace.rs    what a stored trace says: the only source of expected values
//! wire.rs     election messages, packets and trees, decoded apart from the server's own code
//! files.rs    a data directory, read apart from the server's own code
//! proxy.rs    sockets: everything that servers say becomes an event, nothing goes on by itself
//! list.rs     lists of members as text
//! ports.rs    who listens where: servers, and the proxy between them
//! server.rs   one process: configuration, start, kill
//! outcome.rs  what was compared, or where servers and trace part
//! run.rs      one trace: step by step; run/act.rs carries out, hear.rs waits for what is said, compare.rs compares
//! suite.rs    many traces, some of them in parallel
//! ```
//! Between any two servers stands the proxy. It takes the part of the other server towards each of them, so that a
//! crash of one is not heard by the others before the trace says so. Timers and writes are held through the gate, which
//! only builds with the server's feature `gate` have. Nothing here uses the model, and nothing here knows the protocol:
//! what a step should lead to is read from the trace.

pub mod files;
pub mod list;
pub mod outcome;
pub mod ports;
pub mod proxy;
pub mod run;
pub mod server;
pub mod suite;
pub mod trace;
pub mod wire;
