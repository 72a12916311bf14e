//! Requests and connections where keys bound their number.

use super::*;
use crate::wire::client::opcode::CLOSE_SESSION;

/// `globalOutstandingLimit`: above it, whoever has a request that waits is not read on; whoever has none is.
#[test]
fn above_the_limit_of_outstanding_requests_each_client_has_one() {
    let shared = server_with("globalOutstandingLimit=2\n");
    let mut first = Client::open(&shared);
    let writes = [write(), write(), write(), write(), write()];
    assert!(first.asks(1, &writes[..2]).may_read(), "two may be");
    assert!(first.asks(3, &writes[..3]).is_paused());
    assert_eq!(
        first.submits.len(),
        3,
        "the limit is looked at before a request"
    );
    let mut second = Client::open(&shared);
    assert!(second.asks(1, &writes[..1]).is_paused());
    assert_eq!(second.submits.len(), 1, "each client has one");
    assert!(second.asks(2, &[exists("/", false)]).is_paused());
    assert_eq!(shared.outstanding.requests(), 4);

    first.write_is_done();
    assert!(first.go().is_paused(), "three are still above it");
    drop(second);
    first.write_is_done();
    assert!(first.go().is_paused());
    assert_eq!(first.submits.len(), 3, "two of before, and the next");
    for _ in 0..3 {
        first.write_is_done();
        first.go();
    }
    assert!(first.go().may_read());
    assert_eq!((first.heard().len(), shared.outstanding.requests()), (5, 0));
}

/// Without the keys nothing is counted.
#[test]
fn nothing_is_counted_where_no_key_asks_for_it() {
    let shared = server();
    let mut client = Client::open(&shared);
    assert!(client.asks(1, &[write(), write()]).may_read());
    assert_eq!(
        (shared.outstanding.requests(), shared.outstanding.large()),
        (0, 0)
    );
}

/// `request_throttle_max_requests`: whoever comes waits in line, reads too, and the line goes on as requests are answered.
#[test]
fn requests_wait_in_line_where_as_many_as_there_may_be_are_outstanding() {
    let shared = server_with("request_throttle_max_requests=1\nrequest_throttle_stall_time=40\n");
    let mut first = Client::open(&shared);
    let mut second = Client::open(&shared);
    let mut third = Client::open(&shared);
    assert!(first.asks(1, &[write()]).may_read());
    let Rest::Wait(wait) = second.asks(1, &[exists("/", false), write()]) else {
        panic!("it waits");
    };
    assert_eq!((wait.until_ms, second.heard()), (40, vec![]));
    assert!(wait.read, "to see when the client goes");
    third.asks(1, &[exists("/", false)]);
    assert_eq!((third.heard(), third.rings()), (vec![], (0, 0)));

    first.write_is_done();
    assert_eq!((second.rings().0, third.rings().0), (1, 0), "in turn");
    third.go();
    assert_eq!(third.heard(), [], "it is not first");
    second.go();
    assert_eq!(second.heard(), [(1, 0)]);
    assert_eq!(
        third.rings().0,
        1,
        "an answer at once leaves its place to the next"
    );
    third.go();
    assert_eq!(third.heard(), [(1, 0)]);
    second.go();
    assert_eq!(
        (second.submits.len(), shared.outstanding.requests()),
        (1, 1)
    );
    second.write_is_done();
    assert!(second.go().may_read());
    assert_eq!(
        (second.heard(), shared.outstanding.requests()),
        (vec![(2, 0)], 0)
    );
    let waits = shared.stats.throttle_waits.load(Ordering::Relaxed);
    let times = shared.stats.throttle_times.now(None).all.count;
    assert!(waits >= 2 && times >= 2, "{waits} {times}");
}

/// Whoever goes leaves the line, with what it had asked for, and gives its room back.
#[test]
fn what_waits_in_line_goes_with_its_connection() {
    let shared = server_with("request_throttle_max_requests=1\n");
    let mut first = Client::open(&shared);
    let mut second = Client::open(&shared);
    let mut third = Client::open(&shared);
    first.asks(1, &[write()]);
    second.asks(1, &[write(), write()]);
    third.asks(1, &[exists("/", false)]);
    drop(second);
    let dropped = &shared.stats.stale_requests_dropped;
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    drop(first);
    assert_eq!(third.rings().0, 1);
    third.go();
    assert_eq!(third.heard(), [(1, 0)]);

    let shared = server_with("request_throttle_max_requests=0\nrequest_throttle_drop_stale=true\n");
    assert!(!shared.outstanding.has_line());
    let lines = "request_throttle_max_requests=1\nrequest_stale_connection_check=false\n";
    let shared = server_with(lines);
    let mut first = Client::open(&shared);
    let mut second = Client::open(&shared);
    first.asks(1, &[write()]);
    assert!(second.asks(1, &[write()]).is_paused(), "nobody looks");
}

/// D-84: the server lets it wait, so its session is heard of in time, whether it is read on and however seldom its place is looked at.
#[test]
fn a_session_in_line_is_heard_of_as_often_as_its_client_would_speak() {
    let base = "request_throttle_max_requests=1\nrequest_throttle_stall_time=600000\n";
    for (lines, reads) in [
        ("", true),
        ("request_stale_connection_check=false\n", false),
    ] {
        let shared = server_with(&format!("{base}{lines}"));
        let mut first = Client::open(&shared);
        first.asks(1, &[write()]);
        let mut waiting: Vec<_> = (0..40).map(|_| Client::open(&shared)).collect();
        for client in &mut waiting {
            client.asks(1, &[exists("/", false)]);
        }
        for at in [0, 39] {
            let client = &mut waiting[at];
            for _ in 0..10 {
                let pings = [Request::Ping];
                let pings = if reads { &pings[..] } else { &[] };
                let Rest::Wait(wait) = client.asks(xid::PING, pings) else {
                    panic!("it waits");
                };
                assert_eq!(client.conn().take_heard(), Some(client.now_ms));
                assert_eq!(wait.read, reads);
                assert!(wait.until_ms <= client.now_ms + TIMEOUT_MS / 3, "{wait:?}");
                client.now_ms = wait.until_ms;
            }
        }
    }
}

/// `throttled_op_wait_time`: what waited too long is not carried out, and is answered in its turn; a ping is answered.
#[test]
fn what_waited_in_line_for_too_long_is_throttled() {
    let lines = "request_throttle_max_requests=1\nthrottled_op_wait_time=1000\n";
    let shared = server_with(lines);
    let mut first = Client::open(&shared);
    let mut second = Client::open(&shared);
    first.asks(1, &[write()]);
    let throttled = ErrorCode::ThrottledOp.code();
    let asked = [
        exists("/", false),
        Request::Ping,
        exists("/", false),
        write(),
    ];
    second.asks(1, &asked);
    second.now_ms = 1001;
    second.go();
    assert_eq!(second.heard(), [], "there is no room yet");
    first.write_is_done();
    second.go();
    assert_eq!(
        second.heard(),
        [
            (1, throttled),
            (xid::PING, 0),
            (3, throttled),
            (4, throttled)
        ]
    );
    assert!(second.submits.is_empty());
    assert_eq!(shared.stats.throttled_ops.load(Ordering::Relaxed), 3);
    // What comes now has not waited.
    second.asks(5, &[exists("/", false)]);
    assert_eq!(second.heard(), [(5, 0)]);
}

/// `request_stale_latency_check`: what waits for longer than its session lives ends the connection, but for the session's own end.
#[test]
fn what_waited_in_line_for_longer_than_its_session_lives_ends_the_connection() {
    let lines = "request_throttle_max_requests=1\nrequest_stale_latency_check=true\n";
    let shared = server_with(lines);
    let mut first = Client::open(&shared);
    let mut second = Client::open(&shared);
    let mut third = Client::open(&shared);
    first.asks(1, &[write()]);
    second.asks(1, &[write()]);
    third.asks(1, &[Request::Write(WriteOp::CloseSession)]);
    for client in [&mut second, &mut third] {
        client.now_ms = TIMEOUT_MS;
        assert!(client.go().may_read());
        client.now_ms = TIMEOUT_MS + 1;
    }
    assert_eq!(second.go(), Rest::End(Ended::Stale));
    assert!(third.go().may_read());
    assert_eq!(
        shared.stats.stale_requests_dropped.load(Ordering::Relaxed),
        1
    );
    drop(second);
    first.write_is_done();
    third.go();
    assert_eq!(third.submits[0].opcode, CLOSE_SESSION);
    assert_eq!(shared.stats.stale_requests.load(Ordering::Relaxed), 0);
}

/// `largeRequestThreshold`: large requests have a bound together, from their length on until they are answered.
#[test]
fn large_requests_have_a_bound_in_all() {
    let shared = server_with("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000\n");
    let large = |bytes: usize| {
        let mut out = BytesMut::new();
        let set = Request::Write(WriteOp::SetData {
            path: Some("/".into()),
            data: Some(Bytes::from(vec![0; bytes])),
            version: -1,
        });
        set.put(1, &mut out);
        out
    };
    let mut first = Client::open(&shared);
    first.intake.feed(&large(2000));
    assert!(first.go().may_read());
    let held = shared.outstanding.large();
    assert!((2000..2300).contains(&held), "{held}");
    let mut second = Client::open(&shared);
    second.intake.feed(&large(2000));
    second.intake.feed(&large(900)); // no large one
    assert!(second.go().may_read());
    assert_eq!(
        (second.submits.len(), shared.outstanding.large()),
        (2, 2 * held)
    );

    // Refused at its length already, behind what came before it.
    let mut third = Client::open(&shared);
    third.intake.feed(&large(10));
    third.intake.feed(&large(2000)[..8]);
    third.go();
    assert_eq!(
        (third.submits.len(), third.go()),
        (1, Rest::End(Ended::LargeRequest))
    );
    let mut fourth = Client::open(&shared);
    fourth.intake.feed(&large(2000));
    assert_eq!(fourth.go(), Rest::End(Ended::LargeRequest));
    let rejected = &shared.stats.large_requests_rejected;
    assert_eq!(rejected.load(Ordering::Relaxed), 2);

    first.write_is_done();
    assert_eq!(shared.outstanding.large(), held);
    first.intake.feed(&large(2000));
    assert!(first.go().may_read());
    drop((first, second, third, fourth));
    assert_eq!(shared.outstanding.large(), 0);

    let mut fifth = Client::open(&shared);
    for _ in 0..3 {
        fifth.intake.feed(&large(2000));
    }
    fifth.go();
    assert_eq!(
        fifth.submits.len(),
        2,
        "of those that come in one read, too"
    );
    assert_eq!(fifth.go(), Rest::End(Ended::LargeRequest));
}

/// `connection_throttle_tokens`: whoever comes too fast is closed without an answer, and comes in later.
#[test]
fn clients_that_come_too_fast_are_not_let_in() {
    let lines = "connection_throttle_tokens=2\nconnection_throttle_fill_time=100\n";
    let shared = server_with(lines);
    let dial = |now_ms: u64| {
        let mut client = Client::dials(&shared);
        client.now_ms = now_ms;
        client.connect(&hello())
    };
    let is_in = |rest: Rest| matches!(rest, Rest::Connect(_));
    assert!(is_in(dial(0)) && is_in(dial(0)));
    assert_eq!(dial(0), Rest::End(Ended::TooFast));
    assert_eq!(shared.stats.rejected.load(Ordering::Relaxed), 1);
    assert!(is_in(dial(101)));
    assert_eq!(dial(150), Rest::End(Ended::TooFast));

    // A session that goes on costs two of them, a new one three.
    let weighed = "connection_throttle_weight_enabled=true\n";
    let shared = server_with(&format!("{lines}{weighed}"));
    let dial = |request: &ConnectRequest| Client::dials(&shared).connect(request);
    let session = SessionId(0x1_0000_0000_0001);
    for _ in 0..3 {
        assert!(is_in(dial(&again(session))));
    }
    assert_eq!(dial(&again(session)), Rest::End(Ended::TooFast));
}

/// However many wait, each has its turn: whoever is woken wakes the next.
#[test]
fn a_long_line_goes_on_by_itself() {
    let shared = server_with("request_throttle_max_requests=1\n");
    let mut first = Client::open(&shared);
    first.asks(1, &[write()]);
    let mut all: Vec<_> = (0..100).map(|_| Client::open(&shared)).collect();
    for (at, client) in all.iter_mut().enumerate() {
        let Rest::Wait(wait) = client.asks(1, &[exists("/", false)]) else {
            panic!("it waits");
        };
        assert_eq!(wait.until_ms == 100, at < 16, "{at}");
    }
    drop(all.remove(50));
    first.write_is_done();
    for (at, client) in all.iter_mut().enumerate() {
        assert!(client.rings().0 > 0, "{at}");
        client.go();
        assert_eq!(client.heard(), [(1, 0)], "{at}");
    }
    assert_eq!(shared.outstanding.requests(), 0);
}
