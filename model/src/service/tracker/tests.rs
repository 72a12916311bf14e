//! The lives of sessions: expiry on its grid, its pace, owners, and who is not silent.

use super::*;

const S: SessionId = SessionId(7);
const T: SessionId = SessionId(8);

#[test]
fn a_session_dies_between_its_timeout_and_a_tick_later_unless_touched() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 3000, 100);
    tracker.track(T, 3000, 100);
    assert_eq!(tracker.next_deadline(), Some(4000));
    assert!(tracker.expire(3100).is_empty());
    assert!(tracker.touch(S, 2500));
    assert_eq!(tracker.expire(4000), [T]);
    assert!(!tracker.touch(T, 4000));
    assert!(tracker.expire(5999).is_empty());
    assert_eq!(tracker.expire(6000), [S]);
    assert!(tracker.expire(60_000).is_empty());
    tracker.remove(S);
    assert_eq!(tracker.len(), 1);
}

/// C-50: wherever in a tick the client was last heard, and however late that was known, its session dies within its timeout
/// and a tick.
#[test]
fn c_50_a_silent_session_is_over_within_its_timeout_and_a_tick() {
    for (tick, timeout) in [
        (500, 1000),
        (2000, 4000),
        (500, 1300),
        (3, 1),
        (1000, 40_000),
    ] {
        for heard in (0..tick).step_by((tick / 7).max(1) as usize) {
            let mut tracker = SessionTracker::new(tick);
            tracker.track(S, timeout, 0);
            let (mut now, mut known) = (heard / 3, false); // looks begin anywhere
            let over = loop {
                now = tracker.next_look_ms(now);
                if now >= heard && !known {
                    known = true;
                    assert!(tracker.touch(S, heard));
                }
                if tracker.expire(now) == [S] {
                    break now;
                }
            };
            let least = heard + timeout as u64;
            assert!(
                over > least && over <= least + tick,
                "{tick} {timeout} {heard}: {over}"
            );
        }
    }
}

#[test]
fn the_next_look_is_at_the_next_deadline_or_in_half_a_tick() {
    let mut tracker = SessionTracker::new(1000);
    assert_eq!(tracker.next_look_ms(100), 600);
    tracker.track(S, 3000, 0);
    assert_eq!(
        [100, 3400, 3800, 4000].map(|now| tracker.next_look_ms(now)),
        [600, 3900, 4000, 4500]
    );
    assert_eq!(
        SessionTracker::new(0).next_look_ms(7),
        8,
        "never at once again"
    );
}

#[test]
fn a_session_whose_end_was_asked_for_does_not_expire_as_well() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 3000, 0);
    tracker.track(T, 3000, 0);
    assert_eq!(tracker.admit(S, Asks::End, ServerId(1), 0), Ok(()));
    assert_eq!(tracker.expire(4000), [T]);
}

#[test]
fn a_shorter_timeout_counts_at_once() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 30_000, 0);
    tracker.track(S, 2000, 0);
    assert_eq!(tracker.expire(3000), [S]);
    assert!(tracker.expire(40_000).is_empty());
}

#[test]
fn a_new_leader_gives_every_session_its_full_timeout() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 3000, 0);
    tracker.restart(100_000);
    assert!(tracker.expire(103_000).is_empty());
    assert_eq!(tracker.expire(104_000), [S]);
}

/// C-49: whoever comes due together is closed at the pace of what was applied, oldest deadline first, and nobody twice.
#[test]
fn c_49_sessions_that_come_due_together_are_closed_at_a_pace() {
    for (sessions, applied_a_turn) in [(10, 1), (1000, 7), (1000, 256), (20_000, 100)] {
        let mut tracker = SessionTracker::new(1000);
        for id in 1..=sessions {
            tracker.track(SessionId(id), 3000 + 1000 * (id % 2) as i32, 0);
        }
        let (mut closed, mut under_way) = (Vec::new(), VecDeque::new());
        let mut turns = 0;
        while tracker.may_expire(60_000) {
            let next = tracker.expire(60_000);
            under_way.extend(next);
            assert!(under_way.len() <= EXPIRING_MAX, "{}", under_way.len());
            for session in under_way.drain(..under_way.len().min(applied_a_turn)) {
                tracker.remove(session);
                closed.push(session);
            }
            turns += 1;
        }
        closed.extend(under_way);
        assert_eq!(closed.len(), sessions as usize);
        let (first, later) = closed.split_at(sessions as usize / 2);
        assert!(first.iter().all(|s| s.0 % 2 == 0) && later.iter().all(|s| s.0 % 2 == 1));
        assert!(turns <= sessions as usize / applied_a_turn + 2, "{turns}");
    }
}

/// C-49: a session that waits for its turn is over, as one whose turn has come.
#[test]
fn c_49_who_waits_to_be_closed_is_not_saved_by_a_late_touch() {
    let mut tracker = SessionTracker::new(1000);
    let waits = SessionId(5000);
    for id in 1..=5000 {
        tracker.track(SessionId(id), 3000, 0);
    }
    assert!(tracker.may_expire(4000));
    let first = tracker.expire(4000);
    assert_eq!(first.len(), EXPIRING_MAX);
    assert!(!tracker.may_expire(4000), "until some of them are applied");
    assert!(!first.contains(&waits));
    tracker.restart(4001);
    tracker.track(waits, 9000, 4001);
    assert!(!tracker.touch(waits, 4001));
    assert_eq!(tracker.timeout_ms(waits), None);
    assert_eq!(
        tracker.check(waits, ServerId(1)),
        Err(ErrorCode::SessionExpired)
    );
    // A write of its own that closes it ends it as well, and it is not closed a second time.
    tracker.set_closing(waits);
    tracker.remove(waits);
    let mut all = first;
    let mut done = 0;
    while let Some(&session) = all.get(done) {
        tracker.remove(session);
        all.extend(tracker.expire(4000));
        done += 1;
    }
    assert_eq!((all.len(), tracker.len()), (4999, 0));
}

/// C-49: one call looks at a bounded number of sessions, also where all of them were touched and live on.
#[test]
fn c_49_a_turn_looks_at_a_bounded_number_of_sessions() {
    let mut tracker = SessionTracker::new(1000);
    for id in 1..=3 * LOOKED_AT_MAX as i64 {
        tracker.track(SessionId(id), 3000, 0);
        tracker.touch(SessionId(id), 2000);
    }
    let mut turns = 0;
    while tracker.may_expire(4000) {
        assert!(tracker.expire(4000).is_empty());
        turns += 1;
    }
    assert!(turns > 1, "{turns}");
    assert_eq!(tracker.next_deadline(), Some(6000));
}

#[test]
fn a_session_of_which_only_its_nodes_are_left_is_closed_at_the_first_look() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 3000, 0);
    tracker.track_lost(S);
    tracker.track_lost(T);
    assert!(!tracker.touch(T, 0));
    assert_eq!(tracker.expire(0), [T]);
    assert!(tracker.touch(S, 0));
}

#[test]
fn a_session_belongs_to_the_server_it_attached_to_last() {
    let mut tracker = SessionTracker::new(1000);
    tracker.track(S, 3000, 0);
    assert_eq!(tracker.check(S, ServerId(1)), Ok(()));
    assert_eq!(tracker.check(S, ServerId(2)), Err(ErrorCode::SessionMoved));
    tracker.set_owner(S, ServerId(2));
    assert_eq!(tracker.check(S, ServerId(2)), Ok(()));
    assert_eq!(tracker.standing(S), Standing::Lives);
    tracker.set_closing(S);
    assert_eq!(tracker.standing(S), Standing::Ends);
    assert_eq!(tracker.standing(T), Standing::Unknown);
    assert_eq!(
        tracker.check(S, ServerId(2)),
        Err(ErrorCode::SessionExpired)
    );
    assert_eq!(
        tracker.check(T, ServerId(2)),
        Err(ErrorCode::SessionExpired)
    );
}

#[test]
fn a_client_that_is_held_up_is_not_silent() {
    assert_eq!(word_of(None, false, 9), None);
    assert_eq!(word_of(Some(3), false, 9), Some(3));
    assert_eq!([None, Some(3)].map(|h| word_of(h, true, 9)), [Some(9); 2]);
    let mut tracker = SessionTracker::begin(1000, 0, [(S, 3000), (T, 3000)].into_iter());
    for now in (500..10_000).step_by(500) {
        assert_eq!(tracker.look(now), None);
        tracker.hear(S, None, true);
        let over = tracker.take_due(Room::default());
        assert_eq!(
            over,
            if now == 4000 {
                [T].to_vec()
            } else {
                Vec::new()
            }
        );
    }
}

#[test]
fn a_stall_of_the_leader_costs_nobody_its_session() {
    let mut tracker = SessionTracker::begin(1000, 0, [(S, 3000)].into_iter());
    assert_eq!(tracker.look(2000), None);
    assert_eq!(tracker.look(4001), Some(2001));
    let mut late = SessionTracker::begin(1000, 50_000, [].into_iter());
    assert_eq!(late.look(50_500), None, "it has begun just now");
    assert!(tracker.take_due(Room::default()).is_empty());
    assert_eq!(tracker.look(6001), None);
    assert_eq!(tracker.look(8001), None);
    assert!(tracker.has_due(Room::default()));
    assert_eq!(tracker.take_due(Room::default()), [S]);
}

#[test]
fn c_10_without_room_nobody_is_closed_and_then_they_are() {
    let mut tracker = SessionTracker::begin(1000, 0, [(S, 3000)].into_iter());
    let mut room = Room::default();
    room.on_full();
    for now in [2000, 4000, 6000] {
        tracker.look(now);
        assert!(!tracker.has_due(room));
        assert!(tracker.take_due(room).is_empty());
    }
    assert!(tracker.touch(S, 6000), "nobody was told that it is over");
    room.on_room();
    assert!(tracker.take_due(room).is_empty());
    for now in [8000, 10_000] {
        tracker.look(now);
    }
    assert_eq!(tracker.take_due(room), [S]);
}

#[test]
fn a_session_goes_on_where_it_asks_unless_it_is_over() {
    let (a, b) = (ServerId(1), ServerId(2));
    let mut tracker = SessionTracker::begin(1000, 0, [(S, 3000)].into_iter());
    assert_eq!(tracker.admit(S, Asks::Other, a, 0), Ok(()));
    assert!(tracker.revalidate(S, 5000, b, 0));
    let moved = Err(ErrorCode::SessionMoved);
    assert_eq!(tracker.admit(S, Asks::Other, a, 0), moved);
    assert_eq!(tracker.timeout_ms(S), Some(5000));
    assert!(!tracker.revalidate(T, 5000, b, 0));
    let begins = Asks::Begin { timeout_ms: 4000 };
    assert_eq!(tracker.admit(T, begins, b, 0), Ok(()));
    assert_eq!(tracker.admit(T, Asks::Other, a, 0), moved);
    // The end is taken from wherever it comes, and nothing behind it.
    assert_eq!(tracker.admit(T, Asks::End, a, 0), Ok(()));
    let over = Err(ErrorCode::SessionExpired);
    assert_eq!(tracker.admit(T, Asks::Other, b, 0), over);
    assert!(!tracker.revalidate(T, 5000, b, 0));
    tracker.on_applied(T, Applied::Ended, true, 0);
    assert_eq!(tracker.standing(T), Standing::Unknown);
}

#[test]
fn a_leader_tracks_what_it_applies_and_a_follower_does_not() {
    for leads in [true, false] {
        let mut tracker = SessionTracker::new(1000);
        tracker.on_applied(S, Applied::Begun { timeout_ms: 3000 }, leads, 0);
        assert_eq!(tracker.timeout_ms(S), leads.then_some(3000));
        tracker.on_applied(S, Applied::Ended, leads, 0);
        assert!(tracker.is_empty());
    }
    // One that it has admitted itself is not young again when that is applied.
    let mut tracker = SessionTracker::new(1000);
    let begins = Asks::Begin { timeout_ms: 3000 };
    assert_eq!(tracker.admit(S, begins, ServerId(1), 0), Ok(()));
    tracker.on_applied(S, Applied::Begun { timeout_ms: 3000 }, true, 2500);
    assert_eq!(tracker.expire(4000), [S]);
    let owners = [S, T].into_iter();
    assert_eq!(lost(owners, |s| s == S).collect::<Vec<_>>(), [T]);
}
