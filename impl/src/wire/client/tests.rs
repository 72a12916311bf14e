//! Goal: whatever one side writes the other reads back, and no bytes make either side panic. The captured frames of real
//! servers are held against the same code in conformance/tests/golden_wire.rs.

use super::*;
use crate::wire::WireError;
use crate::wire::cursor::{REQUEST_PART_BYTES, REQUEST_PARTS_MIN};
use crate::wire::frame::{CLIENT_FRAME_BYTES_MAX, split};
use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};
use zabra_model::tree::read::Shown;
use zabra_model::tree::stat::Stat;

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zé/✓]{0,8}".prop_map(Into::into)
}

fn texts() -> impl Strategy<Value = Vec<Box<str>>> {
    vec(text(), 0..4)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    of(vec(any::<u8>(), 0..30).prop_map(Bytes::from))
}

fn acl() -> impl Strategy<Value = Vec<AclEntry>> {
    let entry = (any::<u32>(), text(), text()).prop_map(|(perms, scheme, id)| AclEntry {
        perms,
        id: Id { scheme, id },
    });
    vec(entry, 0..3)
}

fn stat() -> impl Strategy<Value = Stat> {
    (any::<[u64; 3]>(), any::<[i64; 3]>(), any::<[i32; 5]>()).prop_map(
        |([czxid, mzxid, pzxid], [ctime, mtime, owner], ints)| {
            let [version, cversion, aversion, data_length, num_children] = ints;
            Stat {
                czxid: Zxid(czxid),
                mzxid: Zxid(mzxid),
                ctime,
                mtime,
                version,
                cversion,
                aversion,
                ephemeral_owner: owner,
                data_length,
                num_children,
                pzxid: Zxid(pzxid),
            }
        },
    )
}

fn multi_op() -> impl Strategy<Value = WriteOp> {
    let kinds = prop::sample::select(std::vec![
        CreateKind::Create,
        CreateKind::Create2,
        CreateKind::Container,
        CreateKind::Ttl,
    ]);
    prop_oneof![
        (
            kinds,
            of(text()),
            data(),
            of(acl()),
            any::<i32>(),
            any::<i64>()
        )
            .prop_map(|(kind, path, data, acl, flags, ttl)| WriteOp::Create {
                kind,
                path,
                data,
                acl,
                flags,
                ttl: if kind == CreateKind::Ttl { ttl } else { 0 },
            }),
        (of(text()), any::<i32>()).prop_map(|(path, version)| WriteOp::Delete { path, version }),
        (of(text()), data(), any::<i32>()).prop_map(|(path, data, version)| WriteOp::SetData {
            path,
            data,
            version
        }),
    ]
}

fn check() -> impl Strategy<Value = WriteOp> {
    (of(text()), any::<i32>()).prop_map(|(path, version)| WriteOp::Check { path, version })
}

fn multi_read_op() -> impl Strategy<Value = ReadOp> {
    prop_oneof![
        (text(), any::<bool>()).prop_map(|(path, watch)| ReadOp::GetData { path, watch }),
        (text(), any::<bool>()).prop_map(|(path, watch)| ReadOp::GetChildren { path, watch }),
    ]
}

fn write() -> impl Strategy<Value = WriteOp> {
    prop_oneof![
        multi_op(),
        (of(text()), of(acl()), any::<i32>()).prop_map(|(path, acl, version)| WriteOp::SetAcl {
            path,
            acl,
            version
        }),
        vec(prop_oneof![multi_op(), check()], 0..4).prop_map(WriteOp::Multi),
        any::<i32>().prop_map(|timeout_ms| WriteOp::CreateSession { timeout_ms }),
        Just(WriteOp::CloseSession),
    ]
}

fn read() -> impl Strategy<Value = ReadOp> {
    prop_oneof![
        multi_read_op(),
        (text(), any::<bool>()).prop_map(|(path, watch)| ReadOp::Exists { path, watch }),
        (text(), any::<bool>()).prop_map(|(path, watch)| ReadOp::GetChildren2 { path, watch }),
        text().prop_map(|path| ReadOp::GetAcl { path }),
        of(text()).prop_map(|prefix| ReadOp::GetEphemerals { prefix }),
        text().prop_map(|path| ReadOp::GetAllChildrenNumber { path }),
        vec(multi_read_op(), 0..4).prop_map(ReadOp::MultiRead),
    ]
}

fn other() -> impl Strategy<Value = Request> {
    let modes = prop_oneof![
        Just(AddWatchMode::Persistent),
        Just(AddWatchMode::PersistentRecursive),
        (2..9_i32).prop_map(AddWatchMode::Unknown),
    ];
    let set_watches = (
        any::<u64>(),
        texts(),
        texts(),
        texts(),
        of((texts(), texts())),
    )
        .prop_map(|(zxid, data, exist, child, persistent)| {
            Request::SetWatches(SetWatches {
                relative_zxid: Zxid(zxid),
                data,
                exist,
                child,
                persistent: persistent
                    .map(|(exact, recursive)| PersistentWatches { exact, recursive }),
            })
        });
    prop_oneof![
        set_watches,
        of(text()).prop_map(|path| Request::DeleteContainer { path }),
        of(text()).prop_map(|path| Request::Sync { path }),
        Just(Request::Ping),
        Just(Request::WhoAmI),
        (any::<i32>(), of(text()), data()).prop_map(|(kind, scheme, data)| Request::Auth {
            kind,
            scheme,
            data
        }),
        (text(), modes).prop_map(|(path, mode)| Request::AddWatch { path, mode }),
        (text(), any::<i32>()).prop_map(|(path, kind)| Request::CheckWatches { path, kind }),
        (text(), any::<i32>()).prop_map(|(path, kind)| Request::RemoveWatches { path, kind }),
        data().prop_map(|token| Request::Sasl { token }),
        (of(text()), of(text()), of(text()), any::<i64>()).prop_map(
            |(joining, leaving, new_members, config_id)| Request::Reconfig {
                joining,
                leaving,
                new_members,
                config_id
            }
        ),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        write().prop_map(Request::Write),
        read().prop_map(Request::Read),
        other(),
    ]
}

fn result() -> impl Strategy<Value = MultiResult> {
    prop_oneof![
        text().prop_map(|path| MultiResult::Create { path }),
        (text(), stat()).prop_map(|(path, stat)| MultiResult::Create2 { path, stat }),
        Just(MultiResult::Delete),
        Just(MultiResult::Check),
        stat().prop_map(|stat| MultiResult::SetData { stat }),
        (data(), stat()).prop_map(|(data, stat)| MultiResult::GetData { data, stat }),
        texts().prop_map(|children| MultiResult::GetChildren { children }),
        any::<i32>().prop_map(|code| MultiResult::Error { code }),
    ]
}

/// A response, and an operation that is answered with one of its shape.
fn response() -> impl Strategy<Value = (i32, Response)> {
    let who = (text(), text()).prop_map(|(scheme, user)| ClientInfo { scheme, user });
    prop_oneof![
        Just((opcode::DELETE, Response::Empty)),
        of(text()).prop_map(|path| (opcode::CREATE, Response::Path(path))),
        (text(), stat()).prop_map(|(path, s)| (opcode::CREATE_TTL, Response::PathStat(path, s))),
        stat().prop_map(|s| (opcode::SET_DATA, Response::Stat(s))),
        (data(), stat()).prop_map(|(data, s)| (opcode::GET_DATA, Response::Data(data, s))),
        (acl(), stat()).prop_map(|(acl, s)| (opcode::GET_ACL, Response::Acl(acl, s))),
        texts().prop_map(|names| (opcode::GET_CHILDREN, Response::Children(names, None))),
        (texts(), stat())
            .prop_map(|(names, s)| (opcode::GET_CHILDREN2, Response::Children(names, Some(s)))),
        any::<i32>().prop_map(|n| (opcode::GET_ALL_CHILDREN_NUMBER, Response::Int(n))),
        data().prop_map(|token| (opcode::SASL, Response::Token(token))),
        vec(who, 0..3).prop_map(|who| (opcode::WHO_AM_I, Response::WhoAmI(who))),
        vec(result(), 0..4).prop_map(|all| (opcode::MULTI, Response::Multi(all))),
    ]
}

fn frames(mut buf: BytesMut) -> Result<Vec<Bytes>, WireError> {
    let mut out = std::vec![];
    split(&mut buf, CLIENT_FRAME_BYTES_MAX, &mut out)?;
    assert!(buf.is_empty());
    Ok(out)
}

proptest! {
    #[test]
    fn requests_in_one_buffer_are_read_back(requests in vec(request(), 1..5)) {
        let mut out = BytesMut::new();
        for (xid, request) in (0..).zip(&requests) {
            request.put(xid, &mut out);
        }
        let bodies = frames(out)?;
        prop_assert_eq!(bodies.len(), requests.len());
        for ((xid, request), body) in (0..).zip(requests).zip(bodies) {
            let raw = RawRequest::split(&body)?;
            prop_assert_eq!(raw.header.xid, xid);
            prop_assert_eq!(raw.decode()?, request);
        }
    }

    #[test]
    fn replies_in_one_buffer_are_read_back(
        replies in vec((any::<i32>(), any::<u64>(), response()), 1..5),
    ) {
        let mut out = BytesMut::new();
        for (xid, zxid, (_, response)) in &replies {
            response.put(ReplyHeader::ok(*xid, Zxid(*zxid)), &mut out);
        }
        let bodies = frames(out)?;
        prop_assert_eq!(bodies.len(), replies.len());
        for ((xid, zxid, (opcode, response)), body) in replies.into_iter().zip(bodies) {
            let frame = ReplyFrame::split(&body)?;
            prop_assert_eq!(frame.header, ReplyHeader::ok(xid, Zxid(zxid)));
            prop_assert_eq!(frame.decode(opcode)?, response);
        }
    }

    #[test]
    fn connect_requests_are_read_back(
        ints in any::<(i32, u64, i32, i64)>(),
        password in data(),
        read_only: Option<bool>,
    ) {
        let (protocol_version, zxid, timeout_ms, session) = ints;
        let request = ConnectRequest {
            protocol_version,
            last_zxid_seen: Zxid(zxid),
            timeout_ms,
            session: SessionId(session),
            password,
            read_only,
        };
        let mut out = BytesMut::new();
        request.put(&mut out);
        for body in frames(out)? {
            prop_assert_eq!(&ConnectRequest::decode(&body)?, &request);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        opcode in prop_oneof![-12..24_i32, 100..109_i32],
        raw in vec(prop_oneof![4 => Just(0_u8), 1 => Just(0xff), 2 => 0..4_u8, 1 => any::<u8>()], 0..150),
    ) {
        let raw = Bytes::from(raw);
        let _ = ConnectRequest::decode(&raw);
        let _ = ConnectResponse::decode(&raw);
        let _ = RawRequest::split(&raw);
        let _ = Request::decode(opcode, &raw);
        let _ = ReadInPlace::of(opcode, &raw);
        let _ = Response::decode(opcode, &raw);
        if let Ok(frame) = ReplyFrame::split(&raw) {
            let _ = frame.decode_event();
        }
    }

    /// A read in place is the read that decoding makes of the same bytes.
    #[test]
    fn a_read_in_place_is_the_read_that_is_decoded(
        opcode in 0..6_i32,
        path in text(),
        rest in vec(0..2_u8, 0..3),
    ) {
        let mut record = BytesMut::new();
        record.put_u32(path.len() as u32);
        record.put_slice(path.as_bytes());
        record.put_slice(&rest);
        let record = record.freeze();
        let in_place = ReadInPlace::of(opcode, &record).map(|read| (read.path, read.shown));
        let decoded = Request::decode(opcode, &record);
        let expected = match &decoded {
            Ok(Request::Read(ReadOp::GetData { path, watch: false })) => Some((path.as_bytes(), Shown::Data)),
            Ok(Request::Read(ReadOp::Exists { path, watch: false })) => Some((path.as_bytes(), Shown::Stat)),
            _ => None,
        };
        prop_assert_eq!(in_place, expected);
    }

    #[test]
    fn a_request_cut_short_is_refused(request in request(), cut in 0..60_usize) {
        let mut out = BytesMut::new();
        request.put_record(&mut out);
        prop_assume!(cut < out.len());
        let whole = out.freeze();
        prop_assert!(Request::decode(request.opcode(), &whole.slice(..cut)).is_err());
    }
}

#[test]
fn a_read_in_a_multi_and_a_write_in_a_multi_read_are_refused() {
    let read = ReadOp::GetData {
        path: "/a".into(),
        watch: false,
    };
    let write = WriteOp::Delete {
        path: Some("/a".into()),
        version: -1,
    };
    let mut reads = BytesMut::new();
    Request::Read(ReadOp::MultiRead(std::vec![read])).put_record(&mut reads);
    let mut writes = BytesMut::new();
    Request::Write(WriteOp::Multi(std::vec![write])).put_record(&mut writes);
    for (opcode, record) in [(opcode::MULTI, reads), (opcode::MULTI_READ, writes)] {
        assert!(matches!(
            Request::decode(opcode, &record.freeze()),
            Err(WireError::Unknown { .. })
        ));
    }
}

#[test]
fn a_null_path_is_refused_for_reads_and_kept_for_writes() {
    let record = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert!(matches!(
        Request::decode(opcode::GET_DATA, &record),
        Err(WireError::Null { what: "path", .. })
    ));
    assert_eq!(
        Request::decode(opcode::DELETE, &record),
        Ok(Request::Write(WriteOp::Delete {
            path: None,
            version: 0
        }))
    );
}

#[test]
fn an_error_reply_ends_after_its_header() -> Result<(), WireError> {
    let header = ReplyHeader {
        xid: 1,
        zxid: Zxid(2),
        err: -101,
    };
    let mut out = BytesMut::new();
    reply::put_empty(header, &mut out);
    assert_eq!(out.len(), 20);
    for body in frames(out)? {
        let frame = ReplyFrame::split(&body)?;
        assert_eq!(frame.decode(opcode::GET_DATA)?, Response::Empty);
    }
    Ok(())
}

#[test]
fn an_event_is_read_back() -> Result<(), WireError> {
    for kind in [
        EventType::NodeCreated,
        EventType::NodeDeleted,
        EventType::NodeDataChanged,
        EventType::NodeChildrenChanged,
    ] {
        let mut out = BytesMut::new();
        reply::put_event(Zxid(9), kind, "/a", &mut out);
        for body in frames(out)? {
            let frame = ReplyFrame::split(&body)?;
            assert_eq!(frame.header.xid, xid::EVENT);
            let path = "/a".into();
            assert_eq!(frame.decode_event()?, WatchEvent { kind, path });
        }
    }
    Ok(())
}

/// D-61: parts are counted before memory is taken for them. Nothing of the default length has too many, and longer requests of parts that
/// are no shorter than usual have not.
#[test]
fn d_61_the_parts_that_a_request_may_list_grow_with_its_bytes() {
    let list = |bytes: usize, count: usize| {
        let mut record = BytesMut::new();
        record.put_i64(0);
        for count in [0, count] {
            record.put_i32(i32::try_from(count).unwrap());
        }
        record.put_bytes(0, 4 * count + 4);
        record.resize(bytes, 0);
        Request::decode(opcode::SET_WATCHES, &record.freeze())
    };
    let most = |bytes: usize| REQUEST_PARTS_MIN + bytes / REQUEST_PART_BYTES;
    let length = 0xf_ffff - 8;
    assert!(
        list(length, (length - 20) / 4).is_ok(),
        "as long as it may be by default"
    );
    for bytes in [4 << 20, 16 << 20] {
        assert!(list(bytes, most(bytes)).is_ok());
        let refused = list(bytes, most(bytes) + 1);
        assert!(matches!(
            refused,
            Err(WireError::Length {
                what: "existWatches",
                ..
            })
        ));
    }
    let multi = |code: i32, part: &[u8], count: usize, bytes: usize| {
        let mut record = BytesMut::new();
        for at in 0..=count {
            record.put_i32(if at < count { code } else { -1 });
            record.put_u8(u8::from(at == count));
            record.put_i32(-1);
            record.put_slice(if at < count { part } else { &[] });
        }
        record.resize(bytes.max(record.len()), 0);
        let all = match code {
            opcode::GET_DATA => opcode::MULTI_READ,
            _ => opcode::MULTI,
        };
        Request::decode(all, &record.freeze())
    };
    let bytes = 8 << 20;
    for (code, part) in [(opcode::GET_DATA, &[0; 5][..]), (opcode::DELETE, &[0; 8])] {
        assert!(multi(code, part, most(bytes), bytes).is_ok());
        let refused = multi(code, part, most(bytes) + 1, bytes);
        assert!(matches!(refused, Err(WireError::Length { .. })), "{code}");
    }
    let largest = most(64 << 20) * (size_of::<WriteOp>() + 32);
    assert!(largest < 100 << 20, "{largest}");
}
