//! What a create inside a multi is made of: flags before opcodes.

use super::*;

#[test]
fn a_multi_reads_flags_before_opcodes() {
    use CreateKind::{Create2, Ttl};
    let plain = make(Ttl, "/t", 0, 1000);
    for (op, code) in [
        (plain, None),
        (make(Ttl, "/u", 9, 1000), Some(0)),
        (make(Create2, "/v", 9, 0), Some(-5)),
        (make(Create2, "/v", 5, 0), Some(-5)),
        (create_with("/v", None), Some(-5)),
    ] {
        let txn = Leader::new().ask_as(S, &[], WriteOp::Multi(vec![op]));
        let whole = match txn {
            Txn::Error { code } => Some(code),
            Txn::Multi(parts) if parts.iter().any(|t| matches!(t, Txn::Error { .. })) => Some(0),
            _ => None,
        };
        assert_eq!(whole, code);
    }
}

#[test]
fn the_container_flag_makes_a_container_only_inside_a_multi() {
    let mut leader = Leader::new();
    let txn = leader.ask_as(S, &[], WriteOp::Multi(vec![create("/c", 4)]));
    let Txn::Multi(txns) = txn else {
        unreachable!("a multi stays one")
    };
    assert!(matches!(
        txns.as_slice(),
        [Txn::Create {
            created: Created::Container,
            ..
        }]
    ));
    leader.apply_all();
    let header = leader.header(SessionId(0));
    assert_eq!(leader.ask(create("/c/k", 0)), Ok("/c/k".into()));
    assert_eq!(
        leader.prep.delete_container(&leader.tree, header, "/c"),
        refusal(ErrorCode::NotEmpty)
    );
    assert_eq!(leader.ask(delete("/c/k", -1)), Ok(String::new()));
    let gone = Txn::Delete {
        path: "/c".into(),
        container: true,
    };
    assert_eq!(
        leader.prep.delete_container(&leader.tree, header, "/c"),
        gone
    );
    assert_eq!(
        leader.prep.delete_container(&leader.tree, header, "/c"),
        refusal(ErrorCode::NoNode)
    );
}
