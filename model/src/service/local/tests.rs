//! Local sessions: who gets one, what it may do, how it becomes global, and when it ends.

use super::*;
use crate::ids::Zxid;
use crate::service::tracker::Asks;
use crate::tree::acl::{AclEntry, Id};
use crate::tree::node::Tree;
use crate::tree::prep::{Prep, Request, Rules};
use crate::tree::txn::{Txn, TxnHeader};
use alloc::collections::BTreeMap;
use alloc::{format, vec};
use proptest::prelude::*;

const ME: ServerId = ServerId(1);
const HERE: SessionId = SessionId(0x0100_0000_0000_0007);
const ELSEWHERE: SessionId = SessionId(0x0200_0000_0000_0007);
const ON: LocalRules = LocalRules {
    enabled: true,
    upgrading: true,
};
const OFF: LocalRules = LocalRules {
    enabled: false,
    upgrading: false,
};

fn create(path: &str, flags: i32) -> WriteOp {
    create_as(CreateKind::Create, path, flags)
}

fn create_as(kind: CreateKind, path: &str, flags: i32) -> WriteOp {
    let id = Id {
        scheme: "world".into(),
        id: "anyone".into(),
    };
    WriteOp::Create {
        kind,
        path: Some(path.into()),
        data: None,
        acl: Some(vec![AclEntry { perms: 31, id }]),
        flags,
        ttl: 0,
    }
}

#[test]
fn new_sessions_are_local_without_a_leader_and_where_the_configuration_says_so() {
    for (mode, on, off) in [
        (Mode::NotServing, false, false),
        (Mode::Standalone, false, false),
        (Mode::Follower, true, false),
        (Mode::Observer, true, false),
        (Mode::Leader, true, false),
        (Mode::ReadOnly, true, true),
    ] {
        let both = (begins_locally(mode, ON), begins_locally(mode, OFF));
        assert_eq!(both, (on, off), "{mode:?}");
    }
}

/// Golden `read_only` and `local_session_no_upgrade`.
#[test]
fn without_a_leader_what_goes_by_it_is_refused_and_the_end_of_a_local_session_is_a_servers_own() {
    for code in -20..120 {
        let by_leader = admission(code) == Admission::Leader;
        for (mode, is_local) in [
            (Mode::Follower, false),
            (Mode::Leader, true),
            (Mode::ReadOnly, true),
        ] {
            let expected = match (code, by_leader) {
                (-11, true) if is_local => Some(Apart::EndsHere),
                (_, true) if mode == Mode::ReadOnly => Some(Apart::NotReadOnly),
                _ => None,
            };
            assert_eq!(apart(code, mode, is_local), expected, "{code} {mode:?}");
        }
    }
    assert_eq!(
        apart(9, Mode::ReadOnly, true),
        Some(Apart::NotReadOnly),
        "sync"
    );
    assert_eq!(apart(4, Mode::ReadOnly, true), None, "getData");
}

#[test]
fn only_a_write_that_makes_an_ephemeral_node_needs_a_global_session() {
    let multi = |flags| WriteOp::Multi(vec![create("/a", 0), create("/b", flags)]);
    let ephemeral = [create("/a", 1), create("/a", 3), multi(1), multi(3)];
    let other = [create("/a", 0), create("/a", 2), create("/a", 4), multi(0)];
    assert!(ephemeral.iter().all(wants_ephemeral));
    assert!(!other.iter().any(wants_ephemeral));
    for (kind, can) in [
        (CreateKind::Create2, true),
        (CreateKind::Container, false),
        (CreateKind::Ttl, false),
    ] {
        for flags in [1, 3] {
            assert_eq!(
                wants_ephemeral(&create_as(kind, "/a", flags)),
                can,
                "{kind:?}"
            );
        }
    }
    let refusing = LocalRules {
        upgrading: false,
        ..ON
    };
    assert_eq!(needs(true, ON), Needs::GlobalSession);
    assert_eq!(needs(true, refusing), Needs::Refusal);
    assert_eq!(
        (needs(false, ON), needs(false, refusing)),
        (Needs::Nothing, Needs::Nothing)
    );
}

#[test]
fn a_leader_takes_the_writes_of_sessions_that_may_be_another_servers() {
    let expired = Err(ErrorCode::SessionExpired);
    let say = |session, standing, is_local, rules| {
        let said = said(expired, standing, session, ME, is_local, rules);
        (said.session, said.ephemerals)
    };
    use Standing::{Ends, Unknown};
    let local = (Ok(()), Err(ErrorCode::EphemeralOnLocalSession));
    assert_eq!(say(HERE, Unknown, true, ON), local);
    assert_eq!(say(HERE, Unknown, false, ON), (expired, expired));
    assert_eq!(say(ELSEWHERE, Unknown, false, ON), (Ok(()), expired));
    assert_eq!(say(ELSEWHERE, Unknown, false, OFF), (expired, expired));
    assert_eq!(say(ELSEWHERE, Ends, false, ON), (expired, expired));
    let moved = Err(ErrorCode::SessionMoved);
    let said = said(moved, Standing::Lives, ELSEWHERE, ME, false, ON);
    assert_eq!((said.session, said.ephemerals), (moved, moved));
}

#[test]
fn a_local_session_goes_on_at_its_server_until_it_was_silent_for_its_timeout() {
    let mut sessions = LocalSessions::new(1000);
    sessions.begin(HERE, 3000, 100);
    assert!(sessions.has(HERE) && !sessions.has(ELSEWHERE));
    assert!(sessions.go_on(HERE, 5000, 2000) && !sessions.go_on(ELSEWHERE, 5000, 2000));
    for now_ms in [1000, 2000, 3000, 4000, 5000, 6000, 7000] {
        sessions.look(now_ms);
        assert!(sessions.take_due().is_empty(), "{now_ms}");
    }
    sessions.look(8000);
    assert_eq!(sessions.take_due(), [HERE]);
    assert!(sessions.is_empty() && !sessions.go_on(HERE, 5000, 8000));
}

#[derive(Clone, Debug)]
enum Event {
    Begin(u8, i32),
    GoOn(u8, i32),
    Heard(u8),
    Removed(u8),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let (session, timeout) = (0..4_u8, 1..9_i32);
    prop_oneof![
        (session.clone(), timeout.clone()).prop_map(|(s, t)| Event::Begin(s, t * 500)),
        (session.clone(), timeout).prop_map(|(s, t)| Event::GoOn(s, t * 500)),
        session.clone().prop_map(Event::Heard),
        session.prop_map(Event::Removed),
        (1..700_u64).prop_map(Event::Pass),
    ]
}

/// One write: whose, on which node, with which flags, alone or inside a multi.
fn any_write() -> impl Strategy<Value = (usize, u8, i32, bool)> {
    let flags = proptest::sample::select(vec![0, 1, 2, 3]);
    (0..4_usize, 0..6_u8, flags, any::<bool>())
}

const TICK_MS: u64 = 500;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed), ..ProptestConfig::with_cases(512) })]

    /// Whoever was heard within its timeout lives, and whoever was silent for a tick longer than it, and a look, does not.
    #[test]
    fn a_local_session_lives_as_long_as_it_is_heard(
        events in proptest::collection::vec(any_event(), 0..120)
    ) {
        let mut sessions = LocalSessions::new(TICK_MS);
        // Timeout, and when it was heard last.
        let mut known: BTreeMap<SessionId, (u64, u64)> = BTreeMap::new();
        let (mut now, mut look) = (0, 0);
        for event in events {
            let id = |s: u8| SessionId(i64::from(s) + 1);
            match event {
                Event::Begin(s, t) if !sessions.has(id(s)) => {
                    sessions.begin(id(s), t, now);
                    known.insert(id(s), (t.cast_unsigned().into(), now));
                }
                Event::Begin(..) => {}
                Event::GoOn(s, t) => {
                    prop_assert_eq!(sessions.go_on(id(s), t, now), known.contains_key(&id(s)));
                    known.entry(id(s)).and_modify(|k| *k = (t.cast_unsigned().into(), now));
                }
                Event::Heard(s) => {
                    sessions.hear(id(s), Some(now), false);
                    known.entry(id(s)).and_modify(|k| k.1 = now);
                }
                Event::Removed(s) => {
                    sessions.remove(id(s));
                    known.remove(&id(s));
                }
                Event::Pass(ms) => {
                    let until = now + ms;
                    while look <= until {
                        now = now.max(look);
                        sessions.look(now);
                        for gone in sessions.take_due() {
                            let (timeout, heard) = known.remove(&gone).unwrap_or_default();
                            prop_assert!(now >= heard + timeout, "{} is gone too early", gone);
                        }
                        look = sessions.next_look_ms(now);
                    }
                    now = until;
                }
            }
            for (session, (timeout, heard)) in &known {
                prop_assert!(sessions.has(*session));
                prop_assert!(now <= heard + timeout + 2 * TICK_MS, "{} lives too long", session);
            }
            prop_assert_eq!(sessions.len(), known.len());
        }
    }

    /// However local sessions, here and elsewhere, and global ones write: an ephemeral node has a session that the tree knows.
    #[test]
    fn no_ephemeral_node_is_a_local_sessions(
        writes in proptest::collection::vec(any_write(), 0..60), upgrading in any::<bool>()
    ) {
        let rules = LocalRules { enabled: true, upgrading };
        let mut local = LocalSessions::new(TICK_MS);
        let mut tracker = SessionTracker::new(TICK_MS);
        let (mut tree, mut prep) = (Tree::new(), Prep::new(Rules::default()));
        let mut zxid = Zxid::ZERO;
        let mut lives = |op: WriteOp, session, local: &mut LocalSessions, tree: &mut Tree| {
            zxid = Zxid(zxid.0 + 1);
            let asks = match op {
                WriteOp::CreateSession { timeout_ms } => Asks::Begin { timeout_ms },
                _ => Asks::Other,
            };
            let standing = tracker.standing(session);
            let word = tracker.admit(session, asks, ME, 0);
            let said = said(word, standing, session, ME, local.has(session), rules);
            let header = TxnHeader { session, cxid: 0, zxid, time: 0 };
            let request = Request { header, ids: &[], session: said.session, ephemerals: said.ephemerals };
            let txn = prep.prepare(tree, &request, op);
            tree.apply(&header, &txn, &mut |_| {});
            prep.committed(zxid);
            !matches!(txn, Txn::Error { code } if code != ErrorCode::NodeExists.code())
        };
        // A global one, a local one of this server, and two of another, of which the last was there before and has expired.
        let all = [SessionId(9), HERE, ELSEWHERE, SessionId(ELSEWHERE.0 + 1)];
        local.begin(HERE, 5000, 0);
        let begin = WriteOp::CreateSession { timeout_ms: 5000 };
        let began = lives(begin.clone(), all[0], &mut local, &mut tree);
        prop_assert!(began);
        for (who, node, flags, in_multi) in writes {
            let session = all[who];
            let mut op = create(&format!("/n{node}"), flags);
            if in_multi {
                op = WriteOp::Multi(vec![op]);
            }
            let ephemeral = wants_ephemeral(&op);
            let was_local = local.has(session);
            if was_local && needs(ephemeral, rules) == Needs::GlobalSession {
                local.remove(session);
                let began = lives(begin.clone(), session, &mut local, &mut tree);
                prop_assert!(began);
            }
            let made = lives(op, session, &mut local, &mut tree);
            let may = !ephemeral || tree.session_timeout(session).is_some();
            prop_assert_eq!(made || in_multi, may || in_multi, "{} {}", session, flags);
            for owner in tree.owners() {
                prop_assert!(tree.session_timeout(owner).is_some(), "{} owns a node", owner);
            }
        }
    }
}
