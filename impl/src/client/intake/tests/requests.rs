//! Requests of every admission, and the order of their answers.

use super::*;

#[test]
fn what_needs_the_leader_is_put_aside_and_decoded_where_this_server_leads() {
    for (mode, decoded) in [(Mode::Leader, true), (Mode::Follower, false)] {
        let shared = server();
        shared.set_mode(mode);
        let mut client = Client::open(&shared);
        let sync = Request::Sync {
            path: Some("/".into()),
        };
        assert!(client.asks(1, &[write(), sync, write()]).may_read());
        let seen: Vec<_> = client
            .submits
            .iter()
            .map(|s| (s.xid, s.token, s.opcode, s.request.is_some()))
            .collect();
        let expected = [
            (1, 1, opcode::SET_DATA, decoded),
            (2, 2, opcode::SYNC, false),
            (3, 3, opcode::SET_DATA, decoded),
        ];
        assert_eq!(seen, expected);
        assert!(client.bytes.is_empty(), "nobody is answered before");
    }
}

#[test]
fn what_this_server_answers_alone_is_answered_at_once_and_in_order() {
    let shared = server();
    apply(&shared, "/a");
    let mut client = Client::open(&shared);
    let mode = AddWatchMode::Persistent;
    let asked = [
        exists("/a", false),
        exists("/b", false),
        Request::AddWatch {
            path: "/a".into(),
            mode,
        },
        Request::WhoAmI,
    ];
    assert!(client.asks(1, &asked).may_read());
    let no_node = ErrorCode::NoNode.code();
    assert_eq!(client.heard(), [(1, 0), (2, no_node), (3, 0), (4, 0)]);
    // The connect request is one of them, as ZooKeeper counts.
    let conn = client.conn();
    assert_eq!(conn.received.load(Ordering::Relaxed), 5);
    let reads = shared.stats.reads().all;
    assert_eq!((reads.count, reads.max()), (4, 0));
    let answered = conn.state().answered;
    assert_eq!(
        (answered.opcode, answered.cxid),
        (opcode::WHO_AM_I, Some(4))
    );
}

/// A read is looked for by the bytes of its path; where they lead to no node, as text, in which what is no UTF-8 becomes U+FFFD.
#[test]
fn a_path_that_is_no_text_leads_where_its_text_does() {
    let shared = server();
    apply(&shared, "/a\u{fffd}b");
    let mut client = Client::open(&shared);
    let paths = [
        (&b"/a\xffb"[..], 0),
        ("/a\u{fffd}b".as_bytes(), 0),
        (b"/a\xff", ErrorCode::NoNode.code()),
        (b"/", 0),
        (b"", 0),
    ];
    for (code, xid) in [(opcode::GET_DATA, 1), (opcode::EXISTS, 11)] {
        let mut bytes = BytesMut::new();
        for ((path, _), xid) in paths.iter().zip(xid..) {
            put_frame(&mut bytes, |b| {
                b.put_i32(xid);
                b.put_i32(code);
                b.put_u32(path.len() as u32);
                b.put_slice(path);
                b.put_u8(0);
            });
        }
        client.intake.feed(&bytes);
        assert!(client.go().may_read());
        let expected: Vec<_> = (xid..).zip(paths.map(|(_, err)| err)).collect();
        assert_eq!(client.heard(), expected);
    }
}

/// C-42: only servers may have containers deleted; the rest of what such a client sent is not looked at.
#[test]
fn c_42_the_deletion_of_containers_is_no_clients_request() {
    let mut client = Client::open(&server());
    let path = Some("/c".into());
    let asked = [Request::DeleteContainer { path }, write()];
    assert_eq!(client.asks(1, &asked), Rest::Finish);
    let unimplemented = ErrorCode::Unimplemented.code();
    assert_eq!(client.heard(), [(1, unimplemented)]);
    assert!(client.submits.is_empty());
}

#[test]
fn an_auth_record_that_cannot_be_read_ends_the_connection_without_a_word() {
    let mut client = Client::open(&server());
    let torn = Request::Unknown {
        opcode: opcode::AUTH,
        record: Bytes::from_static(&[0, 0]),
    };
    assert_eq!(client.asks(1, &[torn]), Rest::Finish);
    assert!(client.heard().is_empty());
}

/// C-44: a client that gets neither a token nor an end asks again as fast as it can.
#[test]
fn c_44_sasl_without_a_provider_is_an_error_and_the_end() {
    let mut client = Client::open(&server());
    let token = Some(Bytes::new());
    let asked = [Request::Sasl { token }, Request::Ping];
    assert_eq!(client.asks(1, &asked), Rest::Finish);
    assert_eq!(client.heard(), [(1, ErrorCode::AuthFailed.code())]);
}

#[test]
fn a_body_that_ends_early_is_refused_in_its_turn_and_the_connection_stays() {
    let mut client = Client::open(&server());
    assert!(client.asks(1, &[write()]).may_read());
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, |b| {
        b.put_i32(2);
        b.put_i32(opcode::EXISTS);
        b.put_i32(100);
    });
    client.intake.feed(&bytes);
    assert!(client.go().may_read());
    assert!(client.heard().is_empty(), "behind the write");
    client.write_is_done();
    assert!(client.go().may_read());
    let malformed = ErrorCode::MarshallingError.code();
    assert_eq!(client.heard(), [(1, 0), (2, malformed)]);
    assert!(client.asks(3, &[Request::Ping]).may_read());
}

#[test]
fn identities_count_for_what_comes_behind_them_and_do_not_wait() {
    let mut client = Client::open(&server());
    let asked = [write(), auth("digest", Some(b"u:p")), write()];
    assert!(client.asks(1, &asked).may_read());
    assert_eq!(client.heard(), [(2, 0)]);
    let held: Vec<_> = client.submits.iter().map(|s| s.ids.len()).collect();
    assert_eq!(held, [1, 2], "the address, then the user");
    assert!(client.asks(4, &[auth("digest", Some(b"u:p"))]).may_read());
    assert_eq!(client.conn().state().ids.len(), 2, "once is enough");
}

#[test]
fn an_identity_without_proof_or_beyond_their_bound_ends_the_connection() {
    let failed = ErrorCode::AuthFailed.code();
    let mut client = Client::open(&server());
    assert_eq!(client.asks(1, &[auth("digest", None)]), Rest::Finish);
    assert_eq!(client.heard(), [(1, failed)]);

    let mut client = Client::open(&server());
    let many: Vec<_> = (1..=IDENTITIES_MAX)
        .map(|at| auth("digest", Some(format!("u{at}:p").as_bytes())))
        .collect();
    assert_eq!(client.asks(1, &many), Rest::Finish);
    let last = client.heard().pop();
    assert_eq!(last, Some((64, failed)), "the address is one of them");
}

#[test]
fn reads_behind_a_write_are_answered_behind_it() {
    let mut client = Client::open(&server());
    let asked = [
        exists("/", false),
        write(),
        exists("/", false),
        write(),
        Request::Ping,
    ];
    assert!(client.asks(1, &asked).may_read());
    assert_eq!(client.heard(), [(1, 0)]);
    client.write_is_done();
    client.go();
    assert_eq!(client.heard(), [(2, 0), (3, 0)]);
    client.write_is_done();
    client.go();
    assert_eq!(client.heard(), [(4, 0), (xid::PING, 0)]);
}

/// Golden `read_only`.
#[test]
fn without_a_leader_what_needs_one_is_refused_and_the_session_ends_by_its_own_word() {
    let shared = server();
    apply(&shared, "/a");
    shared.set_mode(Mode::ReadOnly);
    let mut client = Client::dials(&shared);
    let reads = ConnectRequest {
        read_only: Some(true),
        ..hello()
    };
    assert!(matches!(client.connect(&reads), Rest::Connect(_)));
    assert_eq!(client.conn().state().read_only, Some(true));
    {
        let conn = client.conn();
        let mut state = conn.state();
        (state.phase, state.local) = (ConnPhase::Open, true);
    }
    let close = Request::Write(WriteOp::CloseSession);
    let sync = Request::Sync {
        path: Some("/".into()),
    };
    let rest = client.asks(1, &[write(), sync, exists("/a", false), close]);
    assert_eq!(rest, Rest::Finish);
    let refused = ErrorCode::NotReadOnly.code();
    assert_eq!(client.heard(), [(1, refused), (2, refused), (3, 0), (4, 0)]);
    assert!(client.submits.is_empty());
    assert_eq!(shared.take_ended_local(), [client.conn().session()]);
}

#[test]
fn a_local_session_becomes_global_before_the_write_that_needs_it_and_ends_in_its_turn() {
    let create = |flags| {
        Request::Write(WriteOp::Create {
            kind: zabra_model::tree::op::CreateKind::Create,
            path: Some("/e".into()),
            data: None,
            acl: None,
            flags,
            ttl: 0,
        })
    };
    let close = || Request::Write(WriteOp::CloseSession);
    let opened = |lines: &str| {
        let shared = server_with(lines);
        shared.set_mode(Mode::Follower);
        let client = Client::open(&shared);
        client.conn().state().local = true;
        client
    };
    let codes = |client: &Client| -> Vec<_> {
        let submits = client.submits.iter();
        submits.map(|s| (s.opcode, s.refused_as)).collect()
    };
    let mut client = opened("localSessionsUpgradingEnabled=true");
    client.asks(1, &[create(0), create(1), create(3), close()]);
    let expected = [
        (opcode::CREATE, None),
        (opcode::CREATE_SESSION, None),
        (opcode::CREATE, None),
        (opcode::CREATE, None),
        (opcode::CLOSE_SESSION, None),
    ];
    assert_eq!(codes(&client), expected);

    let mut client = opened("");
    client.asks(1, &[create(0), create(1), close()]);
    let refused = Some(ErrorCode::EphemeralOnLocalSession);
    let expected = [(opcode::CREATE, None), (opcode::CREATE, refused)];
    assert_eq!(codes(&client), expected);
    client.write_is_done();
    client.go();
    assert_eq!(client.heard(), [(1, 0)]);
    client.write_is_done();
    client.go();
    assert_eq!(
        client.heard(),
        [(2, 0), (3, 0)],
        "the end comes in its turn"
    );
}

/// C-46: a long request holds memory until it is answered, not until its connection ends.
#[test]
fn c_46_the_room_of_a_long_request_is_given_back() {
    let mut client = Client::open(&server());
    let long = format!("/{}", "a".repeat(900_000));
    for xid in 1..4 {
        assert!(client.asks(xid, &[exists(&long, false)]).may_read());
        assert_eq!(client.heard().len(), 1);
        assert!(client.intake.room().capacity() <= ROOM_BYTES_MAX);
    }
    // What has begun to come stays.
    let mut bytes = BytesMut::new();
    exists("/a", false).put(4, &mut bytes);
    let (begin, end) = bytes.split_at(7);
    let mut both = BytesMut::new();
    exists(&long, false).put(3, &mut both);
    both.extend_from_slice(begin);
    client.intake.feed(&both);
    assert!(client.go().may_read());
    client.intake.feed(end);
    assert!(client.go().may_read());
    assert_eq!(client.heard().len(), 2);
}

/// What an auth request proves is hashed while others wait for the tree, so what is longer than any credential is refused.
#[test]
fn a_credential_has_a_bound() {
    let with = |bytes: usize| {
        let mut client = Client::open(&server());
        let mut data = b"u:".to_vec();
        data.resize(bytes, b'p');
        let rest = client.asks(1, &[auth("digest", Some(&data))]);
        (rest, client.heard(), client.conn().state().ids.len())
    };
    let (rest, heard, ids) = with(CREDENTIAL_BYTES_MAX - 100);
    assert!(rest.may_read());
    assert_eq!((heard, ids), (vec![(1, 0)], 2));
    let (rest, heard, ids) = with(CREDENTIAL_BYTES_MAX);
    assert_eq!(rest, Rest::Finish);
    assert_eq!((heard, ids), (vec![(1, ErrorCode::AuthFailed.code())], 1));
}

/// D-61: a request whose parts would take many times its bytes is refused, and the connection stays.
#[test]
fn a_request_that_lists_more_parts_than_it_may_is_refused() {
    let shared = server_with("jute.maxbuffer=8000000\n");
    let mut client = Client::open(&shared);
    let exist: Vec<Box<str>> = (0..600_000).map(|_| "/".into()).collect();
    let set = Request::SetWatches(SetWatches {
        exist,
        ..SetWatches::default()
    });
    assert!(client.asks(xid::SET_WATCHES, &[set]).may_read());
    let refused = ErrorCode::MarshallingError.code();
    assert_eq!(client.heard(), [(xid::SET_WATCHES, refused)]);
    assert_eq!(lock(&shared.hub).watches.len(), 0);
}
