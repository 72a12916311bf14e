//! Bounds, and what ends a connection.

use super::*;

#[test]
fn a_frame_of_a_forbidden_length_ends_the_connection_behind_the_requests_before_it() {
    let mut client = Client::open(&server());
    let mut bytes = BytesMut::new();
    write().put(1, &mut bytes);
    bytes.put_i32(-1);
    client.intake.feed(&bytes);
    assert_eq!(client.go(), Rest::End(Ended::FrameLength));
    assert_eq!(client.submits.len(), 1);
    assert_eq!(client.go(), Rest::End(Ended::FrameLength), "for good");

    let mut client = Client::open(&server());
    client.intake.feed(&[0, 0, 0, 3, 1, 2, 3]);
    assert_eq!(client.go(), Rest::End(Ended::NoHeader));
}

#[test]
fn a_part_of_a_frame_waits_for_the_rest() {
    let mut client = Client::open(&server());
    let mut bytes = BytesMut::new();
    Request::Ping.put(xid::PING, &mut bytes);
    let (head, tail) = bytes.split_at(6);
    client.intake.feed(head);
    assert!(client.go().may_read());
    client.intake.feed(tail);
    client.go();
    assert_eq!(client.heard(), [(xid::PING, 0)]);
}

#[test]
fn what_is_to_be_sent_is_sent_before_an_orderly_end_and_not_before_a_hard_one() {
    let mut client = Client::open(&server());
    let conn = client.conn();
    {
        let mut state = conn.state();
        reply::put_empty(ReplyHeader::ok(1, LAST), &mut state.out);
        state.phase = ConnPhase::Closing;
    }
    assert_eq!(client.go(), Rest::Finish);
    assert_eq!(client.heard(), [(1, 0)]);

    let mut client = Client::open(&server());
    let conn = client.conn();
    reply::put_empty(ReplyHeader::ok(1, LAST), &mut conn.state().out);
    conn.close();
    assert_eq!(client.go(), Rest::End(Ended::Closed));
    assert!(client.bytes.is_empty());
    assert_eq!(client.rings(), (0, 1));
}

#[test]
fn a_connection_that_is_over_is_forgotten_with_its_watches_and_not_with_its_session() {
    let shared = server();
    let mut client = Client::open(&shared);
    let session = client.conn().session();
    client.asks(1, &[exists("/a", true)]);
    assert_eq!(lock(&shared.hub).watches.len(), 1);
    let mut next = Client::dials(&shared);
    next.connect(&again(session));
    assert_eq!(
        lock(&shared.sessions)
            .attach(session, next.conn())
            .map(|c| c.id),
        None,
        "it has left"
    );
    drop(client);
    let hub = lock(&shared.hub);
    assert_eq!((hub.watches.len(), hub.conns.len()), (0, 1));
    let attached = lock(&shared.sessions).get(session).map(|c| c.id);
    assert_eq!(attached, Some(next.conn().id), "the later one has it");
}

#[test]
fn silence_beyond_the_session_ends_a_connection_and_a_word_does_not() {
    let shared = server();
    let mut client = Client::open(&shared);
    let silence_ms = TIMEOUT_MS + 2 * TICK_MS;
    client.now_ms = silence_ms;
    assert!(client.go().may_read(), "it was heard since");
    client.now_ms += silence_ms - 1;
    assert!(client.asks(1, &[Request::Ping]).may_read());
    assert_eq!(client.conn().take_heard(), Some(client.now_ms));
    client.now_ms += 1;
    assert!(client.go().may_read());
    client.now_ms += silence_ms;
    assert_eq!(client.go(), Rest::End(Ended::Silent));
}

#[test]
fn who_is_not_read_on_cannot_be_silent() {
    let shared = server();
    let mut client = Client::open(&shared);
    client.intake.hold(true);
    let silence_ms = TIMEOUT_MS + 2 * TICK_MS;
    for _ in 0..5 {
        client.now_ms += silence_ms;
        assert!(client.go().is_paused());
    }
    client.intake.hold(false);
    assert!(client.go().may_read());
    client.now_ms += silence_ms;
    assert!(client.go().may_read());
    client.now_ms += silence_ms;
    assert_eq!(client.go(), Rest::End(Ended::Silent));
}

#[test]
fn who_is_held_is_answered_and_not_read_on() {
    let mut client = Client::open(&server());
    client.asks(1, &[write()]);
    client.intake.hold(true);
    let Rest::Wait(wait) = client.asks(2, &[Request::Ping]) else {
        panic!("it waits");
    };
    assert_eq!((wait.read, wait.room), (false, true));
    client.write_is_done();
    client.go();
    assert_eq!(client.heard(), [(1, 0)]);
    client.intake.hold(false);
    assert!(client.go().may_read());
    assert_eq!(client.heard(), [(xid::PING, 0)]);
}

/// C-46: what clients leave unread is bounded for each and for all, and goes with its connection.
#[test]
fn c_46_unread_answers_end_the_connection_that_leaves_most_of_them() {
    let shared = server_with(
        "zabra.unreadBytesMax=67108864
",
    );
    let owes = |client: &Client, bytes: usize| {
        let conn = client.conn();
        let mut state = conn.state();
        let more = vec![0; bytes];
        state.out.extend_from_slice(&more);
        state.settle_unread(&shared.unread)
    };
    let (mut much, mut little) = (Client::open(&shared), Client::open(&shared));
    let alone = Client::open(&shared);
    assert!(!owes(&much, UNREAD_BYTES_MAX - (1 << 20)));
    assert!(owes(&little, 2 << 20), "together too much");
    shared.relieve();
    assert_eq!(much.go(), Rest::End(Ended::Closed));
    assert!(little.go().may_read());
    assert_eq!(little.bytes.len(), 2 << 20);
    little.bytes.clear();
    assert!(shared.unread.used() < SMALL_BYTES);

    owes(&alone, UNREAD_BYTES_MAX + 1);
    let mut alone = alone;
    assert_eq!(alone.go(), Rest::End(Ended::Unread));
    drop(alone);
    assert_eq!(shared.unread.used(), 0);
}

/// C-46: a write that is stuck is given up when the session cannot live any more, soon after it has ended, and at once when the
/// connection is closed.
#[test]
fn c_46_a_stuck_write_is_given_up_with_the_session() {
    let mut client = Client::open(&server());
    let silence_ms = TIMEOUT_MS + 2 * TICK_MS;
    let patient = client.intake.stuck(100, 100);
    assert_eq!(patient, Stuck::LookAgain(100 + STUCK_LOOK_MS));
    let patient = client.intake.stuck(100, 99 + silence_ms);
    assert_eq!(patient, Stuck::LookAgain(100 + silence_ms));
    assert_eq!(client.intake.stuck(100, 100 + silence_ms), Stuck::GiveUp);
    client.intake.sent_some(3000);
    assert_eq!(client.conn().take_heard(), Some(3000));

    client.conn().state().phase = ConnPhase::Closing;
    let closing_ms = ms(CLOSING_TIME);
    let patient = client.intake.stuck(4000, 3999 + closing_ms);
    assert_eq!(patient, Stuck::LookAgain(4000 + closing_ms));
    client.intake.sent_some(5000);
    assert_eq!(client.conn().take_heard(), None, "its session has ended");
    let now_ms = 4000 + closing_ms;
    assert_eq!(client.intake.stuck(now_ms, now_ms), Stuck::GiveUp);

    client.conn().close();
    assert_eq!(client.intake.stuck(9000, 9000), Stuck::GiveUp);
}

/// C-47: what waits behind a write is bounded by bytes; then the connection is not read on.
#[test]
fn c_47_requests_that_wait_are_bounded_by_bytes() {
    let shared = server();
    let mut client = Client::open(&shared);
    let exist: Vec<Box<str>> = (0..100).map(|at| format!("/{at:0>5000}").into()).collect();
    let set = Request::SetWatches(SetWatches {
        exist,
        ..SetWatches::default()
    });
    assert!(client.asks(1, &[write()]).may_read());
    let mut fed = 0;
    while client
        .asks(xid::SET_WATCHES, std::slice::from_ref(&set))
        .may_read()
    {
        fed += 1;
        assert!(fed < 1000, "it is read on for ever");
    }
    let held = client.conn().state().order.bytes();
    assert!((WAITING_BYTES_MAX..WAITING_BYTES_MAX + (1 << 20)).contains(&held));
    assert!(shared.waiting.used() > WAITING_BYTES_MAX - SMALL_BYTES);
    client.write_is_done();
    assert!(client.go().may_read());
    drop(client);
    assert_eq!(shared.waiting.used(), 0);
}

/// C-24: with a large `jute.maxbuffer`, what has come of long requests is bounded, all connections together.
#[test]
fn c_24_long_requests_on_the_way_have_a_bound() {
    let shared = server_with(
        "jute.maxbuffer=4000000
zabra.waitingBytesMax=67108864
",
    );
    let begin = |bytes: usize| {
        let mut client = Client::open(&shared);
        client.intake.feed(&3_900_000_u32.to_be_bytes());
        client.intake.feed(&vec![0; bytes]);
        let rest = client.go();
        (client, rest)
    };
    let (clients, rests): (Vec<_>, Vec<_>) = (0..20).map(|_| begin(2 << 20)).unzip();
    assert!(rests.iter().all(|rest| rest.may_read()));
    let used = shared.arriving.used();
    assert!(used > 20 << 19, "{used}");
    drop(clients);
    assert_eq!(shared.arriving.used(), 0);

    let (clients, rests): (Vec<_>, Vec<_>) = (0..26).map(|_| begin(3_890_000)).unzip();
    assert_eq!(rests.last(), Some(&Rest::End(Ended::Crowded)));
    assert!(rests[..20].iter().all(|rest| rest.may_read()));
    let (_small, rest) = begin(1000);
    assert!(rest.may_read(), "who sends little is not asked");
    drop(clients);
    assert!(begin(3_890_000).1.may_read());
}

/// A frame of so many bytes, in which the request has bytes behind it that nobody reads.
fn padded(xid: i32, request: &Request, bytes: usize) -> BytesMut {
    let mut frame = BytesMut::new();
    request.put(xid, &mut frame);
    frame.resize(4 + bytes, 0);
    let length = u32::try_from(bytes).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

const LONG_REQUESTS: &str = "jute.maxbuffer=4000000\nzabra.waitingBytesMax=67108864\n";
const LONG_BYTES: usize = 3_900_000;

/// C-24: a long request that is whole keeps its part in that bound while it waits behind a write, and gives it back.
#[test]
fn c_24_long_requests_that_wait_behind_a_write_are_counted() {
    let shared = server_with(LONG_REQUESTS);
    with_children(&shared, "/many", WAITING_WORK_MAX + 1);
    let mut client = Client::open(&shared);
    assert!(client.asks(1, &[write()]).may_read());
    client
        .intake
        .feed(&padded(2, &children("/many"), LONG_BYTES));
    assert!(client.go().is_paused());
    let used = shared.arriving.used();
    assert!(
        used > LONG_BYTES - FRAME_BYTES_DEFAULT - SMALL_BYTES,
        "{used}"
    );
    client.write_is_done();
    assert!(client.go().may_read());
    assert_eq!(client.heard(), [(1, 0), (2, 0)]);
    assert_eq!(shared.arriving.used(), 0);
}

/// C-24: whoever waits in line with a long request is not read on where there is too much, and goes on in its turn.
#[test]
fn c_24_long_requests_in_line_have_a_bound() {
    let lines = format!("{LONG_REQUESTS}request_throttle_max_requests=1\n");
    let shared = server_with(&lines);
    let mut first = Client::open(&shared);
    first.asks(1, &[write()]);
    let begin = |_| {
        let mut client = Client::open(&shared);
        client
            .intake
            .feed(&padded(1, &exists("/", false), LONG_BYTES));
        let rest = client.go();
        (client, rest)
    };
    let (mut clients, rests): (Vec<_>, Vec<_>) = (0..26).map(begin).unzip();
    assert!(
        rests[..20].iter().all(Rest::may_read),
        "to see when it goes"
    );
    assert!(rests[25].is_paused(), "{:?}", rests[25]);
    first.write_is_done();
    for client in &mut clients {
        assert!(client.go().may_read());
        assert_eq!(client.heard(), [(1, 0)]);
    }
    assert_eq!(shared.arriving.used(), 0);
}

/// C-47: a long request does not join those that wait for their answers while they hold too much: it is looked for room again and again.
#[test]
fn c_47_a_long_request_waits_until_there_is_room_for_it() {
    let shared = server_with(LONG_REQUESTS);
    let begin = |_| {
        let mut client = Client::open(&shared);
        let mut bytes = BytesMut::new();
        write().put(1, &mut bytes);
        bytes.extend_from_slice(&padded(2, &exists("/", false), LONG_BYTES));
        client.intake.feed(&bytes);
        let rest = client.go();
        (client, rest)
    };
    let (clients, rests): (Vec<_>, Vec<_>) = (0..18).map(begin).unzip();
    assert!(rests[..17].iter().all(Rest::may_read));
    assert!(shared.waiting.is_over());
    let (mut next, rest) = begin(0);
    let Rest::Wait(wait) = rest else {
        panic!("{rest:?}");
    };
    assert_eq!((wait.read, wait.until_ms), (false, CROWDED_LOOK_MS));
    next.now_ms = CROWDED_LOOK_MS;
    assert!(next.conn().take_heard().is_some() && next.go().is_paused());
    assert_eq!(
        next.conn().take_heard(),
        Some(CROWDED_LOOK_MS),
        "its session lives"
    );
    assert!(shared.arriving.used() > 2 << 20);
    let held = next.conn().state().order.bytes();
    assert!(held < SMALL_BYTES, "{held}");
    let mut small = Client::open(&shared);
    assert!(small.asks(1, &[exists("/", false)]).may_read());
    assert_eq!(small.heard(), [(1, 0)], "who asks for little is not asked");
    drop(clients);
    next.now_ms += CROWDED_LOOK_MS;
    assert!(next.go().may_read());
    next.write_is_done();
    next.go();
    assert_eq!(next.heard(), [(1, 0), (2, 0)]);
}

/// Whoever looks for the client that leaves most unread keeps nobody from the watches: a reader may hold a connection and wait for them.
#[test]
fn c_46_who_looks_for_unread_answers_keeps_nobody_from_the_watches() {
    let shared = server_with(
        "zabra.unreadBytesMax=1048576
",
    );
    let client = Client::open(&shared);
    let conn = client.conn();
    let mut state = conn.state();
    state.out.resize(2 << 20, 0);
    assert!(state.settle_unread(&shared.unread));
    let other = Arc::clone(&shared);
    let began = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&began);
    let looks = std::thread::spawn(move || {
        begins.store(1, Ordering::Release);
        other.relieve();
    });
    while began.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    // By now it waits for this connection, or will; the watches are free nevertheless.
    std::thread::sleep(Duration::from_millis(100));
    let is_free = || {
        std::thread::sleep(Duration::from_millis(1));
        shared.hub.try_lock().is_ok()
    };
    assert!((0..2000).any(|_| is_free()));
    drop(state);
    looks.join().unwrap();
    assert_eq!(conn.state().phase, ConnPhase::Closed);
}

/// Watches of all clients have a bound together: whoever holds most of it goes.
#[test]
fn watches_have_a_bound_in_all() {
    let shared = server_with(
        "zabra.watchBytesMax=1048576
",
    );
    let (mut small, mut large) = (Client::open(&shared), Client::open(&shared));
    small.asks(1, &[exists("/not/there", true)]);
    let long = |at: usize| exists(&format!("/{}{at}", "x".repeat(100_000)), true);
    for at in 0..10 {
        assert!(large.asks(1, &[long(at)]).may_read(), "{at}");
    }
    assert_eq!(large.asks(1, &[long(10)]), Rest::End(Ended::Closed));
    assert!(small.asks(2, &[exists("/", false)]).may_read());
    assert_eq!(lock(&shared.hub).watches.watchers(), 1);
}
