//! What a wrong rule leads to where sessions move.

use super::*;
use serving::{Slip as _, With as _};
use stateright::{Checker, HasDiscoveries};

/// Both cases of the kind: the answer of a request that the session sent elsewhere, and the end of a connection for a refusal
/// that was another one's.
#[test]
fn by_session_and_xid_clients_get_each_others_answers_and_are_closed_for_them() {
    let slip = Slip::MatchBySessionAndXid;
    for property in [OWN, NOBODY] {
        let checker = Moves::with(slip).checker();
        let until = HasDiscoveries::AnyOf([property].into());
        let found = checker.finish_when(until).spawn_bfs().join();
        let path = found.discovery(property).expect("a way");
        assert_eq!(path.into_actions().len(), slip.expected().1, "{property}");
    }
}
