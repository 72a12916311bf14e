//! The names of operations: those of ZooKeeper's counts, and those of four letters by which `cons` tells the last one.

use crate::wire::client::opcode as op;

/// What clients ask for, as counts name it.
pub const OPERATIONS: [&str; 23] = [
    "add_watch",
    "check",
    "check_watches",
    "close_session",
    "create",
    "create_session",
    "delete",
    "exists",
    "get_acl",
    "get_all_children_number",
    "get_children",
    "get_data",
    "get_ephemerals",
    "multi",
    "multi_read",
    "ping",
    "reconfig",
    "remove_watches",
    "set_acl",
    "set_data",
    "set_watches",
    "sync",
    "who_am_i",
];

/// The place of an operation in [`OPERATIONS`], and its name of four letters.
const fn known(opcode: i32) -> Option<(usize, &'static str)> {
    Some(match opcode {
        op::ADD_WATCH => (0, "ADDW"),
        op::CHECK => (1, "CHEC"),
        op::CHECK_WATCHES => (2, "CHKW"),
        op::CLOSE_SESSION => (3, "CLOS"),
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => (4, "CREA"),
        op::CREATE_SESSION => (5, "SESS"),
        op::DELETE | op::DELETE_CONTAINER => (6, "DELE"),
        op::EXISTS => (7, "EXIS"),
        op::GET_ACL => (8, "GETA"),
        op::GET_ALL_CHILDREN_NUMBER => (9, "GETACN"),
        op::GET_CHILDREN | op::GET_CHILDREN2 => (10, "GETC"),
        op::GET_DATA => (11, "GETD"),
        op::GET_EPHEMERALS => (12, "GETE"),
        op::MULTI => (13, "MULT"),
        op::MULTI_READ => (14, "MLTR"),
        op::PING => (15, "PING"),
        op::RECONFIG => (16, "RECO"),
        op::REMOVE_WATCHES => (17, "REMW"),
        op::SET_ACL => (18, "SETA"),
        op::SET_DATA => (19, "SETD"),
        op::SET_WATCHES => (20, "SETW"),
        op::SET_WATCHES2 => (20, "STW2"),
        op::SYNC => (21, "SYNC"),
        op::WHO_AM_I => (22, "HOMI"),
        _ => return None,
    })
}

/// The place of an operation in [`OPERATIONS`].
pub(super) const fn place(opcode: i32) -> Option<usize> {
    match known(opcode) {
        Some((place, _)) => Some(place),
        None => None,
    }
}

/// What counts call an operation.
#[must_use]
pub fn name(opcode: i32) -> &'static str {
    let name = place(opcode).and_then(|at| OPERATIONS.get(at));
    name.copied().unwrap_or("unknown")
}

/// What `cons` calls an operation.
#[must_use]
pub const fn tag(opcode: i32) -> &'static str {
    match known(opcode) {
        Some((_, tag)) => tag,
        None => "NA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_name_and_its_tag() {
        let mut named = [0; OPERATIONS.len()];
        for code in -20..200 {
            if let Some(place) = place(code) {
                named[place] += 1;
                assert_ne!(tag(code), "NA", "{code}");
            }
        }
        assert!(named.iter().all(|times| *times > 0), "{named:?}");
        assert_eq!((name(op::SYNC), name(0)), ("sync", "unknown"));
        let of = |code: i32| place(code).map(|at| (OPERATIONS[at], tag(code)));
        assert_eq!(of(op::CREATE_TTL), Some(("create", "CREA")));
        assert_eq!(of(op::GET_CHILDREN2), Some(("get_children", "GETC")));
        assert_eq!(of(op::SET_WATCHES2), Some(("set_watches", "STW2")));
        assert_eq!(of(op::WHO_AM_I), Some(("who_am_i", "HOMI")));
        assert_eq!((of(0), tag(0)), (None, "NA"));
    }
}
