//! Who may ask for what: which operations are a client's, and which a learner may bring to the leader.
//!
//! Operations are named by ZooKeeper's codes, as they stand in a request's header. The table is the whole rule: the deletion of
//! containers (20), the beginning of a session (-10) and errors (-1) are made by servers, `check` (13) stands inside a multi only,
//! and a code that is in no row is nobody's.

use crate::tree::acl::{Id, Ids};
use crate::tree::error::ErrorCode;
use alloc::boxed::Box;

/// The operations that say who a client is.
const AUTH: i32 = 100;
const SASL: i32 = 102;

/// What becomes of a client's request, by its operation code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It goes by the leader: a write, or `sync`.
    Leader,
    /// The server that the client is connected to answers it alone.
    Alone,
    /// It says who the client is.
    Identity,
    /// No client may ask for it: Unimplemented, then the connection ends.
    Refused,
}

/// What becomes of a client's request.
///
/// Source: ZooKeeper `Request.isValid`, which lets clients delete containers without a look at their session or the ACL (D-36).
#[must_use]
pub const fn admission(opcode: i32) -> Admission {
    match opcode {
        // create, delete, setData, setACL, sync, multi, create2, reconfig, createContainer, createTTL, closeSession
        1 | 2 | 5 | 7 | 9 | 14 | 15 | 16 | 19 | 21 | -11 => Admission::Leader,
        // exists, getData, getACL, getChildren, ping, getChildren2, checkWatches, removeWatches, multiRead
        3 | 4 | 6 | 8 | 11 | 12 | 17 | 18 | 22 => Admission::Alone,
        // setWatches, getEphemerals, getAllChildrenNumber, setWatches2, addWatch, whoAmI
        101 | 103..=107 => Admission::Alone,
        AUTH | SASL => Admission::Identity,
        _ => Admission::Refused,
    }
}

/// Whether a request is looked at, of a client that holds `ids`, where clients have to authenticate by one of `schemes` (none: nobody
/// has to). Until then only what says who it is counts, and everything else, pings too, ends the connection with this error.
///
/// Errors: [`ErrorCode::SessionClosedRequireSaslAuth`], whichever the schemes are. The address of a client is an identity of scheme
/// `ip` that each one holds. Source: ZooKeeper `AuthenticationHelper.enforceAuthentication`.
pub fn authenticated(opcode: i32, schemes: &[Box<str>], ids: &Ids) -> Result<(), ErrorCode> {
    let says_who = matches!(opcode, AUTH | SASL);
    let has_one = || ids.iter().any(|id| schemes.contains(&id.scheme));
    if schemes.is_empty() || says_who || has_one() {
        return Ok(());
    }
    Err(ErrorCode::SessionClosedRequireSaslAuth)
}

/// With what the connection of a client ends in whose SASL exchange something was wrong; `None`: it stays, as nobody. `is_forgiven`
/// says that such clients may stay; where they have to authenticate by sasl, they may not.
///
/// Source: ZooKeeper `ZooKeeperServer.processSasl`.
#[must_use]
pub fn sasl_failed(is_forgiven: bool, schemes: &[Box<str>]) -> Option<ErrorCode> {
    if schemes.iter().any(|scheme| &**scheme == "sasl") {
        Some(ErrorCode::SessionClosedRequireSaslAuth)
    } else if is_forgiven {
        None
    } else {
        Some(ErrorCode::AuthFailed)
    }
}

/// Whether a client that names an ensemble by the scheme `ensemble` means this one, of which `names` are the names. Whoever says no name
/// means any, and where no names are configured, every name is right. It makes nobody anybody.
///
/// Source: ZooKeeper `EnsembleAuthenticationProvider`.
#[must_use]
pub fn means_this_ensemble(said: &[u8], names: &[Box<str>]) -> bool {
    said.is_empty() || names.is_empty() || names.iter().any(|name| name.as_bytes() == said)
}

/// Whether a learner may bring a request with this code to the leader: what its clients may ask of the leader, and the sessions
/// that it begins for them.
#[must_use]
pub const fn may_forward(opcode: i32) -> bool {
    const CREATE_SESSION: i32 = -10;
    matches!(admission(opcode), Admission::Leader) || opcode == CREATE_SESSION
}

/// What a request gets that is no write: the leader logs the refusal in place of the write, so that its client is answered in turn.
/// `is_understood` says whether its record could be read.
///
/// Reconfiguration is refused by name, as by a ZooKeeper that was not told `reconfigEnabled=true`. A code that no learner may bring
/// is Unimplemented (D-36). Of the others only the record can be wrong: MarshallingError.
#[must_use]
pub const fn refusal(opcode: i32, is_understood: bool) -> ErrorCode {
    const RECONFIG: i32 = 16;
    if opcode == RECONFIG && is_understood {
        ErrorCode::ReconfigDisabled
    } else if !may_forward(opcode) {
        ErrorCode::Unimplemented
    } else {
        ErrorCode::MarshallingError
    }
}

/// Whether an identity that a learner reports of its client counts at the leader. Nobody can have proved to be the super user where none
/// is configured, whoever says so (D-30).
#[must_use]
pub fn counts_of_learner(id: &Id, knows_super_user: bool) -> bool {
    &*id.scheme != "super" || knows_super_user
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_is_no_write_is_refused_by_its_code_and_then_by_its_record() {
        for opcode in -200..200 {
            let (whole, torn) = (refusal(opcode, true), refusal(opcode, false));
            let by_record = if may_forward(opcode) {
                ErrorCode::MarshallingError
            } else {
                ErrorCode::Unimplemented
            };
            assert_eq!(torn, by_record, "{opcode}");
            if opcode == 16 {
                assert_eq!(whole, ErrorCode::ReconfigDisabled);
            } else {
                assert_eq!(whole, by_record, "{opcode}");
            }
        }
        assert_eq!(refusal(20, true), ErrorCode::Unimplemented);
    }

    /// C-80: a learner's word makes nobody the super user of an ensemble that has none.
    #[test]
    fn c_80_a_learner_cannot_make_a_super_user() {
        for (scheme, knows, counts) in [
            ("super", false, false),
            ("super", true, true),
            ("digest", false, true),
            ("ip", false, true),
        ] {
            let id = Id {
                scheme: scheme.into(),
                id: "".into(),
            };
            assert_eq!(counts_of_learner(&id, knows), counts, "{scheme} {knows}");
        }
    }

    #[test]
    fn where_clients_have_to_authenticate_only_that_is_taken_before() {
        let id = |scheme: &str| Id {
            scheme: scheme.into(),
            id: "x".into(),
        };
        let refused = Err(ErrorCode::SessionClosedRequireSaslAuth);
        let (address, user) = ([id("ip")], [id("ip"), id("digest")]);
        let schemes = ["sasl".into(), "digest".into()];
        for opcode in -200..200 {
            let before = if matches!(opcode, 100 | 102) {
                Ok(())
            } else {
                refused
            };
            assert_eq!(
                authenticated(opcode, &schemes, &address),
                before,
                "{opcode}"
            );
            assert_eq!(authenticated(opcode, &schemes, &user), Ok(()), "{opcode}");
            assert_eq!(authenticated(opcode, &[], &address), Ok(()), "{opcode}");
        }
        // The super user by digest is no SASL user, and an address is an identity.
        assert_eq!(
            authenticated(11, &schemes[..1], &[id("super"), id("digest")]),
            refused
        );
        assert_eq!(authenticated(11, &["ip".into()], &address), Ok(()));
    }

    #[test]
    fn whose_sasl_has_failed_stays_where_that_is_allowed_and_not_asked_for() {
        let closed = Some(ErrorCode::SessionClosedRequireSaslAuth);
        let (none, both): (&[Box<str>], &[Box<str>]) = (&[], &["digest".into(), "sasl".into()]);
        assert_eq!(sasl_failed(false, none), Some(ErrorCode::AuthFailed));
        assert_eq!(sasl_failed(false, &both[..1]), Some(ErrorCode::AuthFailed));
        assert_eq!(
            (sasl_failed(true, none), sasl_failed(true, &both[..1])),
            (None, None)
        );
        assert_eq!(
            (sasl_failed(true, both), sasl_failed(false, both)),
            (closed, closed)
        );
    }

    #[test]
    fn a_client_that_names_an_ensemble_means_one_of_its_names_or_any() {
        let names: &[Box<str>] = &["east".into(), "all".into()];
        for (said, is_here) in [
            (&b""[..], true),
            (b"east", true),
            (b"all", true),
            (b"west", false),
            (b"eas", false),
            (b"east ", false),
        ] {
            assert_eq!(means_this_ensemble(said, names), is_here, "{said:?}");
            assert!(means_this_ensemble(said, &[]));
        }
    }

    /// C-42: over all codes there are, and all around them.
    #[test]
    fn c_42_what_only_servers_may_ask_for_is_refused_to_clients() {
        for opcode in [-10, -1, 0, 10, 13, 20, 23, 99, 108, i32::MIN, i32::MAX] {
            assert_eq!(admission(opcode), Admission::Refused, "{opcode}");
        }
        let forwarded: Vec<i32> = (-200..200).filter(|c| may_forward(*c)).collect();
        assert_eq!(forwarded, [-11, -10, 1, 2, 5, 7, 9, 14, 15, 16, 19, 21]);
        let those = |what| (-200..200).filter(move |c| admission(*c) == what);
        assert!(those(Admission::Leader).eq([-11, 1, 2, 5, 7, 9, 14, 15, 16, 19, 21]));
        assert!(
            those(Admission::Alone).eq([3, 4, 6, 8, 11, 12, 17, 18, 22]
                .into_iter()
                .chain([101])
                .chain(103..=107))
        );
        assert!(those(Admission::Identity).eq([AUTH, SASL]));
    }
}
