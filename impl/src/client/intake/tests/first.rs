//! The first frame, and who the client is.

use super::*;

#[test]
fn an_operators_word_is_handed_out_and_nothing_more_is_taken() {
    let mut client = Client::dials(&server());
    client.intake.feed(b"ru");
    assert!(client.go().may_read());
    client.intake.feed(b"ok");
    assert_eq!(client.go(), Rest::Word(FourLetter::Ruok));
    assert_eq!(client.go(), Rest::End(Ended::Closed));
}

#[test]
fn a_stranger_who_says_nothing_ends_in_time() {
    for (lines, until_ms) in [("", 10_000), ("nio.sessionlessCnxnTimeout=700\n", 700)] {
        let mut client = Client::dials(&server_with(lines));
        client.intake.feed(&[0, 0]);
        let wait = Wait {
            read: true,
            room: false,
            until_ms,
        };
        assert_eq!(client.go(), Rest::Wait(wait));
        client.now_ms = until_ms;
        assert_eq!(client.go(), Rest::End(Ended::Late));
    }
}

#[test]
fn a_leader_that_leaves_clients_to_the_others_ends_their_connections() {
    let shared = server_with("leaderServes=no\n");
    for (mode, is_let_in) in [
        (Mode::Leader, false),
        (Mode::Follower, true),
        (Mode::Standalone, true),
    ] {
        shared.set_mode(mode);
        let rest = Client::dials(&shared).connect(&hello());
        let expected = Rest::End(Ended::NotServing);
        assert_eq!(rest != expected, is_let_in, "{mode:?}: {rest:?}");
    }
}

#[test]
fn a_new_session_is_bound_and_its_requests_wait_until_it_is_confirmed() {
    let shared = server();
    let mut client = Client::dials(&shared);
    let Rest::Connect(Connect::New(session)) = client.connect(&hello()) else {
        panic!("no new session");
    };
    let conn = client.conn();
    assert_eq!((conn.session(), conn.timeout_ms()), (session, 4000));
    // A client may send before it has its answer.
    assert!(client.asks(1, &[Request::Ping]).may_read());
    assert!(client.heard().is_empty());
    conn.state().phase = ConnPhase::Open;
    assert!(client.go().may_read());
    assert_eq!(client.heard(), [(xid::PING, 0)]);

    let mut other = Client::dials(&shared);
    let rest = other.connect(&hello());
    assert!(matches!(rest, Rest::Connect(Connect::New(id)) if id != session));
}

#[test]
fn who_comes_again_ends_its_old_connection_and_is_known_by_its_password() {
    let shared = server();
    let first = Client::open(&shared);
    let session = first.conn().session();
    let mut second = Client::dials(&shared);
    let rest = second.connect(&again(session));
    assert_eq!(rest, Rest::Connect(Connect::Again(session)));
    assert_eq!(first.conn().state().phase, ConnPhase::Closed);
    assert_eq!(first.rings(), (0, 1), "out of a write, too");
}

/// D-65: ids can be guessed, so whoever names a session ends nobody's connection before it has shown the password.
#[test]
fn who_comes_with_a_wrong_password_ends_nobody() {
    let shared = server();
    let mut first = Client::open(&shared);
    let session = first.conn().session();
    let mut stranger = Client::dials(&shared);
    let wrong = ConnectRequest {
        password: Some(Bytes::from_static(&[7; 16])),
        ..again(session)
    };
    assert_eq!(stranger.connect(&wrong), Rest::Finish);
    drop(stranger);
    assert_eq!(first.rings(), (0, 0));
    assert!(first.asks(1, &[Request::Ping]).may_read());
    assert_eq!(first.heard(), [(xid::PING, 0)]);
    let attached = lock(&shared.sessions).get(session).map(|c| c.id);
    assert_eq!(attached, Some(first.conn().id));
}

#[test]
fn a_wrong_password_is_told_that_the_session_has_expired() {
    let shared = server();
    let mut client = Client::dials(&shared);
    let wrong = ConnectRequest {
        password: Some(Bytes::from_static(&[7; 16])),
        read_only: None,
        ..again(SessionId(5))
    };
    assert_eq!(client.connect(&wrong), Rest::Finish);
    let mut frames = Vec::new();
    split(&mut client.bytes, 100, &mut frames).unwrap();
    let response = ConnectResponse::decode(&frames[0]).unwrap();
    assert_eq!(response, ConnectResponse::expired(None));
    assert_eq!(client.conn().session(), SessionId(0), "it is bound to none");
}

#[test]
fn who_has_seen_more_and_who_comes_while_nobody_is_served_gets_no_answer() {
    let shared = server();
    let mut client = Client::dials(&shared);
    let ahead = ConnectRequest {
        last_zxid_seen: Zxid(LAST.0 + 1),
        ..hello()
    };
    assert_eq!(client.connect(&ahead), Rest::End(Ended::SeenMore));
    assert!(client.bytes.is_empty());
    shared.set_mode(Mode::NotServing);
    let mut client = Client::dials(&shared);
    assert_eq!(client.connect(&hello()), Rest::End(Ended::NotServing));
    assert!(client.bytes.is_empty());
}

#[test]
fn without_a_leader_only_who_accepts_to_read_is_let_in_and_no_session_of_the_tree() {
    let shared = server();
    shared.set_mode(Mode::ReadOnly);
    for read_only in [None, Some(false)] {
        let mut client = Client::dials(&shared);
        let asks = ConnectRequest {
            read_only,
            ..hello()
        };
        assert_eq!(client.connect(&asks), Rest::End(Ended::WantsToWrite));
        assert!(client.bytes.is_empty());
    }
    let global = SessionId(5);
    let header = TxnHeader {
        session: global,
        cxid: 0,
        zxid: LAST,
        time: 0,
    };
    let begins = Txn::CreateSession { timeout_ms: 4000 };
    shared.tree_mut().apply(&header, &begins, &mut |_| {});
    for (session, expected) in [
        (global, Rest::End(Ended::GlobalSession)),
        (SessionId(6), Rest::Connect(Connect::Again(SessionId(6)))),
    ] {
        let mut client = Client::dials(&shared);
        let asks = ConnectRequest {
            read_only: Some(true),
            ..again(session)
        };
        assert_eq!(client.connect(&asks), expected);
    }
}
