//! The checker: stateright over whole clusters of peers, each running the one `step` of this crate.
//!
//! | module | holds |
//! |---|---|
//! | [`bounds`], [`zoo`] | what is explored: configurations; known bugs, each with its own |
//! | [`action`], [`model`] | what can happen in a cluster, and what it leads to |
//! | [`cluster`], [`node`], [`parts`] | a cluster as numbers of its parts; one server, and all that one input leads to inside it; the numbers |
//! | [`disk`], [`image`], [`page_cache`], [`link`], [`txn`] | a server's surroundings |
//! | [`properties`] | what the invariants see of a cluster |
//! | [`canon`], [`arena`], [`world`], [`memo`], [`log`] | when two parts are the same; each kept once; steps taken once |
//! | [`explore`] | our search: shortest counterexamples, several threads, "no wedge" |
//! | [`host`] | what a host with a bug does, behind its switch |
//! | [`clients`], [`moves`] | clients on top of a cluster: what they see; sessions that move with requests in flight |
//! | [`lives`], [`claims`], [`copies`] | the service apart from a cluster: sessions and time; who is led as a member; tree and snapshots |
//! | [`serving`] | what the models of the service have in common |
//! | [`walk`], [`trace`], `words`, [`diagram`], [`browse`] | random walks; runs told, stored, drawn, shown in a browser |
//! | [`scenario`] | stories with the model's answers, for people and as tests |
//! | [`tables`] | what README.md of the model shows of the zoo |

pub mod action;
pub mod arena;
pub mod bounds;
pub mod browse;
pub mod canon;
pub mod claims;
pub mod clients;
pub mod cluster;
pub mod copies;
pub mod diagram;
pub mod disk;
mod election_end;
mod enabled;
pub mod explore;
pub mod host;
pub mod image;
pub mod link;
pub mod list_steps;
pub mod lives;
pub mod log;
pub mod memo;
pub mod model;
pub mod moves;
pub mod node;
pub mod page_cache;
pub mod parts;
pub mod properties;
pub mod scenario;
pub mod serving;
pub mod tables;
pub mod trace;
pub mod txn;
pub mod walk;
mod words;
pub mod world;
pub mod zoo;
