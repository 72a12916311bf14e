//! What would hold up others: long reads, long setWatches, much behind a write.

use super::*;

/// C-48: whoever applies the write answers what waits behind it, so that may not be much: the rest waits outside.
#[test]
fn c_48_much_work_behind_a_write_waits_outside_until_the_write_is_done() {
    let shared = server();
    with_children(&shared, "/many", WAITING_WORK_MAX / 2 + 1);
    let mut client = Client::open(&shared);
    let asked = [write(), children("/many"), children("/many"), write()];
    assert!(client.asks(1, &asked).is_paused());
    assert_eq!((client.submits.len(), client.heard().len()), (1, 0));
    assert!(client.asks(5, &[Request::Ping]).is_paused());
    client.write_is_done();
    assert!(client.go().may_read());
    assert_eq!(client.heard(), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(client.submits.len(), 1, "the second write");
    client.write_is_done();
    client.go();
    assert_eq!(client.heard(), [(4, 0), (xid::PING, 0)]);
}

/// C-48: nobody waits for a long read but its own connection, where it keeps its place.
#[test]
fn c_48_a_long_read_is_a_job_and_its_answer_keeps_its_place() {
    let shared = server();
    with_children(&shared, "/many", LONG_READ_WORK);
    let mut client = Client::open(&shared);
    let asked = [exists("/new", true), children("/many"), exists("/", false)];
    assert!(client.asks(1, &asked).is_paused());
    assert_eq!(client.heard(), [(1, ErrorCode::NoNode.code())]);
    apply(&shared, "/new");
    assert!(client.go().is_paused(), "the event stays behind the answer");
    let answer = client.apart.pop().unwrap().write();
    client.intake.answered_apart(answer);
    assert!(client.go().may_read());
    let replies = client.replies();
    let xids: Vec<_> = replies.iter().map(|r| r.header.xid).collect();
    assert_eq!(xids, [2, xid::EVENT, 3]);
    let Response::Children(names, None) = replies[0].decode(opcode::GET_CHILDREN).unwrap() else {
        panic!("no children");
    };
    assert_eq!(names.len(), LONG_READ_WORK);
}

#[test]
fn only_a_few_long_reads_are_answered_at_once_and_the_others_have_their_turn() {
    let shared = server();
    with_children(&shared, "/many", LONG_READ_WORK);
    let mut clients: Vec<_> = (0..LONG_READS_MAX + 2)
        .map(|_| Client::open(&shared))
        .collect();
    for client in &mut clients {
        assert!(client.asks(1, &[children("/many")]).is_paused());
    }
    let jobs: Vec<_> = clients.iter().map(|c| c.apart.len()).collect();
    assert_eq!(jobs, [1, 1, 0, 0]);
    // The first one goes away with its turn, the second one is answered.
    drop(clients.remove(0));
    assert!(clients[1].rings().0 > 0);
    assert_eq!(clients[2].rings(), (0, 0), "one turn, one connection");
    clients[1].go();
    let answer = clients[0].apart.pop().unwrap().write();
    clients[0].intake.answered_apart(answer);
    assert!(clients[2].rings().0 > 0);
    clients[2].go();
    let jobs: Vec<_> = clients.iter().map(|c| c.apart.len()).collect();
    assert_eq!(jobs, [0, 1, 1]);
}

/// C-48: the tree is free between the turns of a long setWatches; what comes behind it waits for its reply.
#[test]
fn c_48_a_long_set_watches_is_done_in_turns_and_answered_once() {
    let shared = server();
    let mut client = Client::open(&shared);
    let exist: Vec<Box<str>> = (0..3000).map(|at| format!("/{at}").into()).collect();
    let set = Request::SetWatches(SetWatches {
        relative_zxid: LAST,
        exist,
        ..SetWatches::default()
    });
    let mut bytes = BytesMut::new();
    set.put(xid::SET_WATCHES, &mut bytes);
    exists("/", false).put(2, &mut bytes);
    client.intake.feed(&bytes);
    assert!(client.go().may_read());
    assert_eq!(client.heard(), [(xid::SET_WATCHES, 0), (2, 0)]);
    assert_eq!(
        client.yielded, 3,
        "when it was begun, and after 1024 and 2048"
    );
    assert_eq!(lock(&shared.hub).watches.len(), 3000);
    apply(&shared, "/2999");
    client.go();
    assert_eq!(client.heard(), [(xid::EVENT, 0)]);
}

/// A list that no client would take is refused instead of made.
#[test]
fn a_list_of_names_has_a_bound() {
    let shared = server();
    apply(&shared, "/long");
    for at in 0..70 {
        apply(&shared, &format!("/long/{}{at}", "x".repeat(1_000_000)));
    }
    let mut client = Client::open(&shared);
    client.asks(1, &[children("/long"), exists("/", false)]);
    let refused = ErrorCode::MarshallingError.code();
    assert_eq!(client.heard(), [(1, refused), (2, 0)]);
}
