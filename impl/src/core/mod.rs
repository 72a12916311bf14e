//! The server as a state machine: what has happened goes in, what is to be done comes out.
//!
//! [`turn::Core::turn`] takes events ([`event`]) and the time, and gives outputs ([`out`]). Nothing in here knows a runtime, a socket,
//! a file, a thread or a clock, so that the server, the replay of the model's traces and the simulator run the very same code:
//!
//! | file | holds | may touch |
//! |---|---|---|
//! | [`event`], [`out`] | what comes in and goes out, as plain data | nothing |
//! | [`turn`] | the order of a turn; the core and its parts | every part, to hand it what is its own |
//! | `peer`, `protocol` | the peer of the model, its timers; a step and what it asks for | every part, effect by effect |
//! | `replica` | the tree, what is logged above it and what is prepared above that | the tree; the only way to it |
//! | `apply` | committed transactions become changes, events and replies | tree, service, clients |
//! | `service` | sessions, requests and syncs that wait, by the rules of `zabra_model::service` | no disk, no link, no socket's buffer |
//! | `requests` | what a request of a client or a learner comes to | service and replica; it ends in a proposal or a packet |
//! | `members` | the members while they change | service, replica, links |
//! | `audit` | lines of the audit log | nothing |
//! | `clients` | sessions at their connections | connections |
//! | `local` | sessions that only this server knows, and serving reads without a leader | service, connections |
//! | `quorum`, `learners` | links to other servers, and who may have one | links |
//! | `leaving` | the end of a reign in order, at the leader and at its learners | service, links, connections |
//! | `disk` | writes on their way, snapshots, reloads | the disk's queue, jobs |
//! | `flight` | the flight recorder, for whoever drives a core | nothing |
//! | `measures`, `counts`, `stages` | what operators hear of the protocol, and of slow requests | counts |
//! | `room` | a full disk, and slow ones | what they hold up |
//! | `operator`, [`asked`] | operators that wait for a snapshot, or for another tree in place of this one | nothing |
//! | `restore` | that other tree | every part, to begin again with it |

mod apply;
pub mod asked;
pub mod audit;
mod clients;
mod counts;
mod disk;
pub mod event;
mod flight;
mod learners;
mod leaving;
mod local;
mod measures;
mod members;
mod operator;
pub mod out;
mod peer;
mod protocol;
mod quorum;
mod replica;
mod requests;
mod restore;
mod room;
mod service;
mod stages;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod turn;
mod window;
