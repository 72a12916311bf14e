//! The checker: stateright over whole clusters of peers, each running the one `step` of this crate.
//!
//! [`bounds`] names what is explored, [`cluster`] carries out effects, [`link`] and [`disk`] are its surroundings,
//! [`canon`] says when two clusters are the same, [`action`] and [`model`] what can happen, [`properties`] what
//! must hold, [`explore`] finds the shortest counterexample, [`trace`] tells and [`diagram`] draws what has happened,
//! [`browse`] shows it in a browser. [`clients`] puts clients on top of a cluster.

pub mod action;
pub mod arena;
pub mod bounds;
pub mod browse;
pub mod canon;
pub mod clients;
pub mod cluster;
pub mod diagram;
pub mod disk;
pub mod explore;
pub mod ghost;
pub mod host;
pub mod link;
pub mod memo;
pub mod model;
pub mod node;
pub mod properties;
pub mod trace;
pub mod walk;
pub mod zoo;
