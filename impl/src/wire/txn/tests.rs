//! Payloads there and back, from memory of their own and from where they lie.

use super::*;
use proptest::prelude::*;
use zabra_model::tree::acl::{AclEntry, Id};

fn payload(txn: Txn, digest: Option<TxnDigest>) -> Payload {
    let header = TxnHeader {
        session: SessionId(-7),
        cxid: 3,
        zxid: Zxid(0x1_0000_0002),
        time: 1_700_000_000_000,
    };
    Payload {
        header,
        txn,
        digest,
    }
}

/// Twelve bytes behind a closeSession are a digest or a list, and a list of two empty paths would be either.
#[test]
fn a_closed_session_has_no_node_without_a_path() {
    let paths = vec!["".into(), "".into()];
    let txn = Txn::CloseSession { paths: Some(paths) };
    let mut bytes = BytesMut::from(&bytes_of(&payload(txn, None))[..]);
    bytes.put_slice(&[0x0f, 0]);
    assert!(matches!(
        read_txn(&bytes.freeze()),
        Err(WireError::Unknown { value: 0, .. })
    ));
}

fn bytes_of(payload: &Payload) -> Bytes {
    let mut out = BytesMut::new();
    put_txn(&payload.header, &payload.txn, payload.digest, &mut out);
    out.freeze()
}

fn paths() -> impl Strategy<Value = Box<str>> {
    "/[a-zé]{1,6}".prop_map(Into::into)
}

fn acls() -> impl Strategy<Value = Vec<AclEntry>> {
    let entry =
        (any::<u32>(), "[a-z]{0,6}", "[a-z:]{0,6}").prop_map(|(perms, scheme, id)| AclEntry {
            perms,
            id: Id {
                scheme: scheme.into(),
                id: id.into(),
            },
        });
    prop::collection::vec(entry, 0..3)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

fn created() -> impl Strategy<Value = Created> {
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(ephemeral, with_stat)| Created::Node {
            ephemeral,
            with_stat
        }),
        Just(Created::Container),
        any::<i64>().prop_map(|ttl_ms| Created::Ttl { ttl_ms }),
    ]
}

fn simple() -> impl Strategy<Value = Txn> {
    prop_oneof![
        (paths(), data(), acls(), created(), any::<i32>()).prop_map(
            |(path, data, acl, created, parent_cversion)| Txn::Create {
                path,
                data,
                acl,
                created,
                parent_cversion
            }
        ),
        (paths(), any::<bool>()).prop_map(|(path, container)| Txn::Delete { path, container }),
        (paths(), data(), any::<i32>(), any::<bool>()).prop_map(
            |(path, data, version, reconfig)| Txn::SetData {
                path,
                data,
                version,
                reconfig
            }
        ),
        (paths(), acls(), any::<i32>()).prop_map(|(path, acl, version)| Txn::SetAcl {
            path,
            acl,
            version
        }),
        (paths(), any::<i32>()).prop_map(|(path, version)| Txn::Check { path, version }),
        any::<i32>().prop_map(|code| Txn::Error { code }),
        any::<i32>().prop_map(|timeout_ms| Txn::CreateSession { timeout_ms }),
    ]
}

fn txns() -> impl Strategy<Value = Txn> {
    prop_oneof![
        4 => simple(),
        1 => prop::collection::vec(simple(), 0..5).prop_map(Txn::Multi),
        1 => prop::option::of(prop::collection::vec(paths(), 0..4))
            .prop_map(|paths| Txn::CloseSession { paths }),
    ]
}

/// In memory of its own.
fn kept(lent: LentTxn<'_>) -> Txn {
    match lent {
        Txn::Create {
            path,
            data,
            acl,
            created,
            parent_cversion,
        } => Txn::Create {
            path: path.into(),
            data: data.map(Bytes::copy_from_slice),
            acl: acl.to_vec(),
            created,
            parent_cversion,
        },
        Txn::Delete { path, container } => Txn::Delete {
            path: path.into(),
            container,
        },
        Txn::SetData {
            path,
            data,
            version,
            reconfig,
        } => Txn::SetData {
            path: path.into(),
            data: data.map(Bytes::copy_from_slice),
            version,
            reconfig,
        },
        Txn::SetAcl { path, acl, version } => Txn::SetAcl {
            path: path.into(),
            acl: acl.to_vec(),
            version,
        },
        Txn::Check { path, version } => Txn::Check {
            path: path.into(),
            version,
        },
        Txn::Multi(txns) => Txn::Multi(txns.into_iter().map(kept).collect()),
        Txn::CreateSession { timeout_ms } => Txn::CreateSession { timeout_ms },
        Txn::CloseSession { paths } => Txn::CloseSession {
            paths: paths.map(|paths| paths.into_iter().map(Into::into).collect()),
        },
        Txn::Error { code } => Txn::Error { code },
    }
}

/// Where it lies as well as in memory of its own, whatever was read before it; or for the same reason not.
fn read_both_ways(payload: &Bytes, memo: &mut AclMemo) {
    let lent = read_lent_txn(payload, memo).map(|read| Payload {
        header: read.header,
        txn: kept(read.txn),
        digest: read.digest,
    });
    assert_eq!(lent, read_txn(payload));
}

#[test]
fn a_payload_that_is_lent_may_have_the_lists_of_the_one_before_or_others() {
    let entry = |perms, id: &str| AclEntry {
        perms,
        id: Id {
            scheme: "ip".into(),
            id: id.into(),
        },
    };
    let lists = [
        vec![],
        vec![entry(1, "a")],
        vec![entry(1, "a"), entry(2, "b")],
        vec![entry(1, "ab")],
    ];
    let mut memo = AclMemo::default();
    for first in &lists {
        for second in &lists {
            for acl in [first, second] {
                let (path, version) = ("/a".into(), 1);
                let acl = acl.clone();
                let set = Txn::SetAcl { path, acl, version };
                read_both_ways(&bytes_of(&payload(set, None)), &mut memo);
            }
        }
    }
}

proptest! {
    #[test]
    fn payloads_that_are_lent_say_the_same(
        txns in prop::collection::vec(txns(), 1..5),
        cut in 0..200_usize,
        odd in prop::collection::vec((0..200_usize, any::<u8>()), 0..3),
    ) {
        let mut memo = AclMemo::default();
        for txn in txns {
            let digest = Some(TxnDigest { version: 2, tree: 7 });
            let bytes = bytes_of(&payload(txn, digest));
            read_both_ways(&bytes, &mut memo);
            let mut damaged = bytes.to_vec();
            for (at, byte) in &odd {
                if let Some(place) = damaged.get_mut(*at) {
                    *place = *byte;
                }
            }
            read_both_ways(&damaged.into(), &mut memo);
            read_both_ways(&bytes.slice(..cut.min(bytes.len())), &mut memo);
        }
    }

    #[test]
    fn what_is_written_is_read_back(txn in txns(), tree in prop::option::of(any::<i64>())) {
        let digest = tree.map(|tree| TxnDigest { version: 2, tree });
        let payload = payload(txn, digest);
        prop_assert_eq!(read_txn(&bytes_of(&payload)), Ok(payload));
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(
        kind in -11..23_i32,
        body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..80),
    ) {
        let mut raw = vec![0; 28];
        raw.extend_from_slice(&kind.to_be_bytes());
        raw.extend_from_slice(&body);
        let _ = read_txn(&raw.into());
    }

    #[test]
    fn a_payload_cut_short_never_panics(txn in txns(), cut in 0..200_usize) {
        let mut whole = bytes_of(&payload(txn, None));
        whole.truncate(cut);
        let _ = read_txn(&whole);
    }
}

#[test]
fn a_closed_session_with_one_short_path_is_not_taken_for_a_digest() {
    let list = Txn::CloseSession {
        paths: Some(vec!["/abc".into()]),
    };
    let payload = payload(list, None);
    let bytes = bytes_of(&payload);
    assert_eq!(bytes.len(), TXN_HEADER_BYTES + DIGEST_BYTES);
    assert_eq!(read_txn(&bytes), Ok(payload));
}

#[test]
fn a_closed_session_without_paths_reads_back_whatever_the_version_of_its_digest() {
    for version in [DIGEST_VERSION, 0, 1, -1, i32::MIN] {
        let digest = TxnDigest { version, tree: 7 };
        let payload = payload(Txn::CloseSession { paths: None }, Some(digest));
        assert_eq!(read_txn(&bytes_of(&payload)), Ok(payload), "{version}");
    }
}

#[test]
fn a_create_of_a_very_old_log_has_no_parent_version() {
    let txn = |parent_cversion| Txn::Create {
        path: "/a".into(),
        data: None,
        acl: vec![],
        created: Created::Node {
            ephemeral: false,
            with_stat: false,
        },
        parent_cversion,
    };
    let mut bytes = bytes_of(&payload(txn(9), None));
    bytes.truncate(bytes.len() - 4);
    assert_eq!(read_txn(&bytes), Ok(payload(txn(-1), None)));
}

#[test]
fn a_multi_inside_a_multi_is_refused() {
    let nested = payload(Txn::Multi(vec![Txn::Multi(vec![])]), None);
    assert!(matches!(
        read_txn(&bytes_of(&nested)),
        Err(WireError::Unknown { value: 14, .. })
    ));
}
