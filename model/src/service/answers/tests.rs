//! The matching of answers against an oracle that knows who has sent what.

use super::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;

const S: SessionId = SessionId(7);
const T: SessionId = SessionId(8);

fn header(session: SessionId, cxid: i32, zxid: u64) -> TxnHeader {
    TxnHeader {
        session,
        cxid,
        zxid: Zxid(zxid),
        time: 0,
    }
}

/// What `take` gives, and whom it gives up.
fn take<W>(answers: &mut Answers<W>, header: &TxnHeader) -> (Option<W>, Vec<W>) {
    let mut lost = Vec::new();
    let own = answers.take(header, |w| lost.push(w));
    (own, lost)
}

#[test]
fn numbers_count_up_below_every_xid_and_differ_between_servers_and_starts() {
    let mut one = Answers::new(ServerId(1), 0);
    let numbers: Vec<i32> = (0..3).map(|w| one.forwarded(S, w)).collect();
    assert_eq!(
        numbers,
        [0x8080_0000_u32, 0x8080_0001, 0x8080_0002].map(u32::cast_signed)
    );
    assert!(
        numbers.iter().all(|n| *n < -8),
        "no xid of a client, special ones included"
    );
    let mut two = Answers::new(ServerId(2), 0);
    assert!(!numbers.contains(&two.forwarded(S, 0)));
    let mut restarted = Answers::new(ServerId(1), 1);
    assert!(!numbers.contains(&restarted.forwarded(S, 0)));
}

#[test]
fn numbers_come_round_and_answers_are_found_across_that() {
    let last = u64::from(COUNT_MASK) / PER_MS;
    let mut answers = Answers::new(ServerId(254), last);
    let numbers: Vec<i32> = (0..300).map(|w| answers.forwarded(S, w)).collect();
    let first = 1 << 31 | 254 << COUNT_BITS;
    assert_eq!(numbers[127].cast_unsigned(), first | COUNT_MASK);
    assert_eq!(numbers[128].cast_unsigned(), first);
    for (w, number) in numbers.iter().enumerate() {
        assert_eq!(
            take(&mut answers, &header(S, *number, 0)),
            (Some(w), Vec::new())
        );
    }
}

#[test]
fn where_it_leads_a_server_goes_by_the_place_alone() {
    let mut answers = Answers::new(ServerId(1), 0);
    answers.proposed(S, Zxid(5), 'a');
    answers.proposed(S, Zxid(7), 'b');
    // The same session and xid, through the server that it has left.
    assert_eq!(take(&mut answers, &header(S, 1, 4)), (None, Vec::new()));
    assert_eq!(
        take(&mut answers, &header(S, 1, 5)),
        (Some('a'), Vec::new())
    );
    assert_eq!(take(&mut answers, &header(S, 2, 6)), (None, Vec::new()));
    assert_eq!(
        take(&mut answers, &header(S, 2, 7)),
        (Some('b'), Vec::new())
    );
    // What comes behind a place says that the place was passed.
    answers.proposed(S, Zxid(8), 'c');
    answers.proposed(S, Zxid(9), 'd');
    assert_eq!(
        take(&mut answers, &header(S, 4, 9)),
        (Some('d'), Vec::from(['c']))
    );
}

#[test]
fn an_answer_gives_up_the_requests_before_it_and_a_strange_one_nobody() {
    let mut answers = Answers::new(ServerId(1), 0);
    let a = answers.forwarded(S, 'a');
    let b = answers.forwarded(T, 'b');
    let c = answers.forwarded(S, 'c');
    for strange in [
        header(T, a, 1),
        header(S, 1, 1),
        header(S, 0, 1),
        header(S, c + 1, 1),
        header(S, a - 1, 1),
    ] {
        assert_eq!(
            take(&mut answers, &strange),
            (None, Vec::new()),
            "{strange:?}"
        );
    }
    assert_eq!(
        take(&mut answers, &header(S, c, 2)),
        (Some('c'), Vec::from(['a', 'b']))
    );
    // What was given up is nobody's, should it come after all.
    assert_eq!(take(&mut answers, &header(T, b, 3)), (None, Vec::new()));
}

#[test]
fn after_a_change_of_the_leader_answers_of_the_old_one_are_nobodys() {
    let mut answers = Answers::new(ServerId(1), 0);
    let old = answers.forwarded(S, 'a');
    assert!(answers.end().eq(['a']));
    let new = answers.forwarded(S, 'b');
    assert_eq!(take(&mut answers, &header(S, old, 1)), (None, Vec::new()));
    assert_eq!(
        take(&mut answers, &header(S, new, 2)),
        (Some('b'), Vec::new())
    );
}

/// C-40, C-41: the session goes on elsewhere, and the client is not to hear of it by the connection that it has left.
#[test]
fn c_41_a_client_hears_the_result_or_the_end_and_never_that_it_has_moved() {
    let error = |code: ErrorCode| TxnResult::Error(code.code());
    let moved = error(ErrorCode::SessionMoved);
    let (goes_on, ends) = (Told::Result { ends: false }, Told::Result { ends: true });
    for (opcode, result, hears) in [
        (-10, TxnResult::SessionCreated(4000), Told::Connected(true)),
        (
            -10,
            error(ErrorCode::SessionExpired),
            Told::Connected(false),
        ),
        (-10, moved.clone(), Told::Connected(false)),
        (1, moved.clone(), Told::Moved),
        (-11, moved, Told::Moved),
        (-11, TxnResult::SessionClosed, ends),
        (-11, error(ErrorCode::SessionExpired), ends),
        (2, TxnResult::Deleted, goes_on),
        (2, error(ErrorCode::NoNode), goes_on),
        (13, error(ErrorCode::Unimplemented), goes_on),
        (16, error(ErrorCode::ReconfigDisabled), goes_on),
    ] {
        assert_eq!(told(opcode, &result), hears, "{opcode}: {result:?}");
    }
}

/// What happens to an ensemble of three; server 0 leads.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A session is connected to a server, and counts its xids from 1 again.
    Move(usize, usize),
    /// It sends a request.
    Send(usize),
    /// The leader takes the oldest request that a server has forwarded.
    Reach(usize),
    /// It drops it.
    Drop(usize),
    /// A server applies the next transaction.
    Apply(usize),
    /// The leader's connection to a server ends, after it has taken what was on its way: the server waits for nothing any more.
    Unlink(usize),
    /// The same, and the server is a new process.
    Restart(usize),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..3_usize, 0..3_usize).prop_map(|(session, server)| Event::Move(session, server)),
        4 => (0..3_usize).prop_map(Event::Send),
        4 => (1..3_usize).prop_map(Event::Reach),
        1 => (1..3_usize).prop_map(Event::Drop),
        8 => (0..3_usize).prop_map(Event::Apply),
        1 => (1..3_usize).prop_map(Event::Unlink),
        1 => (1..3_usize).prop_map(Event::Restart),
    ]
}

/// The ensemble with what nobody in it knows: which request a transaction is of.
struct Oracle {
    answers: [Answers<usize>; 3],
    /// Requests that wait at each server, by what the oracle knows.
    waits: [BTreeSet<usize>; 3],
    /// On the way to the leader.
    forwarded: [VecDeque<(TxnHeader, usize)>; 3],
    log: Vec<(TxnHeader, usize)>,
    applied: [usize; 3],
    dropped: BTreeSet<usize>,
    sessions: [(usize, i32); 3],
    requests: usize,
    starts: u64,
}

impl Oracle {
    fn new() -> Self {
        Self {
            answers: core::array::from_fn(|i| Answers::new(ServerId(i as u64 + 1), 0)),
            waits: Default::default(),
            forwarded: Default::default(),
            log: Vec::new(),
            applied: [0; 3],
            dropped: BTreeSet::new(),
            sessions: [(0, 0), (1, 0), (2, 0)],
            requests: 0,
            starts: 0,
        }
    }

    fn propose(&mut self, header: TxnHeader, request: usize) -> Zxid {
        let zxid = Zxid(self.log.len() as u64 + 1);
        self.log.push((TxnHeader { zxid, ..header }, request));
        zxid
    }

    fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Move(session, server) => self.sessions[session] = (server, 0),
            Event::Send(session) => {
                let (server, xid) = &mut self.sessions[session];
                *xid += 1;
                let (server, xid) = (*server, *xid);
                let id = SessionId(session as i64 + 1);
                let request = self.requests;
                self.requests += 1;
                self.waits[server].insert(request);
                if server == 0 {
                    let zxid = self.propose(header(id, xid, 0), request);
                    self.answers[0].proposed(id, zxid, request);
                } else {
                    let number = self.answers[server].forwarded(id, request);
                    self.forwarded[server].push_back((header(id, number, 0), request));
                }
            }
            Event::Reach(server) => {
                if let Some((header, request)) = self.forwarded[server].pop_front() {
                    self.propose(header, request);
                }
            }
            Event::Drop(server) => {
                self.dropped.extend(
                    self.forwarded[server]
                        .pop_front()
                        .map(|(_, request)| request),
                );
            }
            Event::Apply(server) => {
                if let Some((header, request)) = self.log.get(self.applied[server]).copied() {
                    self.applied[server] += 1;
                    let (own, lost) = take(&mut self.answers[server], &header);
                    let expected = self.waits[server].remove(&request).then_some(request);
                    prop_assert_eq!(own, expected, "{:?} at server {}", header, server);
                    for lost in lost {
                        prop_assert!(
                            self.dropped.contains(&lost),
                            "request {lost} was not dropped"
                        );
                        prop_assert!(self.waits[server].remove(&lost));
                    }
                }
            }
            Event::Unlink(server) => {
                while let Some((header, request)) = self.forwarded[server].pop_front() {
                    self.propose(header, request);
                }
                let told: BTreeSet<usize> = self.answers[server].end().collect();
                prop_assert_eq!(&told, &self.waits[server]);
                self.waits[server].clear();
            }
            Event::Restart(server) => {
                self.happens(Event::Unlink(server))?;
                self.starts += 1;
                self.answers[server] = Answers::new(ServerId(server as u64 + 1), self.starts);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed), ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_moves_is_dropped_or_restarts_an_answer_is_of_the_request_that_waits_for_it(
        events in proptest::collection::vec(any_event(), 0..120)
    ) {
        let mut oracle = Oracle::new();
        for event in events {
            oracle.happens(event)?;
        }
        // In the end nobody waits for what has come.
        for server in 0..3 {
            while oracle.applied[server] < oracle.log.len() {
                oracle.happens(Event::Apply(server))?;
            }
            let still: Vec<usize> = oracle.waits[server].iter().copied().collect();
            let known = |r: &usize| oracle.dropped.contains(r) || oracle.forwarded[server].iter().any(|(_, f)| f == r);
            prop_assert!(still.iter().all(known));
        }
    }
}
