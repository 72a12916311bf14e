//! Snapshots that operators ask for, and trees that they put in place of the own one.

use super::*;
use crate::core::asked::{Refusal, Restoring, Snapped, Told};
use std::path::PathBuf;
use std::sync::mpsc;
use zabra_model::service::snapshots::Generation;

type Answers<T> = mpsc::Receiver<Result<T, Refusal>>;

fn told<T: Send + 'static>() -> (Told<T>, Answers<T>) {
    let (send, receive) = mpsc::channel();
    (Told::new(move |answer| drop(send.send(answer))), receive)
}

fn alone() -> Server {
    let mut server = Server::boot(1, ALONE);
    server.sync();
    server
}

fn staged(zxid: Zxid) -> StagedSnapshot {
    let tmp = PathBuf::from(format!("snapshot.{:x}.tmp", zxid.0));
    let bytes = 100;
    StagedSnapshot { zxid, tmp, bytes }
}

fn ask(server: &mut Server) -> Answers<Snapped> {
    let (told, answer) = told();
    server.turn(vec![Event::SnapshotAsked(told)]);
    answer
}

/// A tree with this node, brought by an operator; its newest change is at `newest`.
fn restore(server: &mut Server, newest: Zxid, path: &str) -> Answers<Zxid> {
    let mut other = alone();
    let conn = other.client(1);
    other.submit(&conn, 1, create(path));
    other.sync();
    let tree = std::mem::replace(&mut *other.shared().tree_mut(), Tree::new());
    let (told, answer) = told();
    let tree = Box::new(tree);
    server.turn(vec![Event::Restore(Restoring { tree, newest, told })]);
    answer
}

fn zxid_to_stage(server: &mut Server) -> Zxid {
    let at = server
        .jobs
        .iter()
        .position(|job| matches!(job, Job::Restore { .. }));
    match server.jobs.remove(at.unwrap()) {
        Job::Restore { image } => image.zxid,
        _ => unreachable!(),
    }
}

fn generation(server: &mut Server) -> Generation {
    let jobs = server.jobs.drain(..);
    let mut all = jobs.filter_map(|job| match job {
        Job::Snapshot { generation, .. } => Some(generation),
        _ => None,
    });
    all.next().expect("a snapshot is begun")
}

#[test]
fn a_snapshot_is_told_when_its_name_is_durable_and_one_that_failed_says_why() {
    let mut server = alone();
    let (first, second) = (ask(&mut server), ask(&mut server));
    let of = generation(&mut server);
    assert!(server.jobs.is_empty(), "the second waits for the first");
    let zxid = server.shared().tree().last_zxid();
    server.turn(vec![Event::Done(Done::Snapshot(of, Ok(staged(zxid))))]);
    let is_name = |(_, op): &&(u64, Op)| matches!(op, Op::PublishSnapshot(_));
    let upto = server.disk.iter().find(is_name).unwrap().0 - 1;
    server.turn(vec![Event::Disk(worker::Event::Durable { upto })]);
    assert!(
        first.try_recv().is_err(),
        "its name may be gone after a crash, whatever is durable before it"
    );
    server.sync();
    let path = PathBuf::from(format!("snapshot.{:x}", zxid.0));
    assert_eq!(first.try_recv(), Ok(Ok(Snapped { zxid, path })));
    let of = generation(&mut server);
    server.turn(vec![Event::Done(Done::Snapshot(of, Err("no room".into())))]);
    assert_eq!(
        second.try_recv(),
        Ok(Err(Refusal::Failed("no room".into())))
    );
    // The pause behind a failure is for those that nobody asks for.
    ask(&mut server);
    generation(&mut server);
}

#[test]
fn who_waits_for_a_snapshot_is_told_when_nobody_is_served() {
    let mut server = Server::boot(1, OF_THREE);
    assert_eq!(ask(&mut server).try_recv(), Ok(Err(Refusal::NotServing)));
}

#[test]
fn a_restored_tree_takes_the_place_of_all_and_what_comes_then_is_above_it() {
    let mut server = alone();
    let conn = server.client(7);
    server.submit(&conn, 1, create("/old"));
    server.sync();
    let before = server.shared().tree().last_zxid();
    let answer = restore(&mut server, Zxid::new(Epoch(3), 9), "/new");
    let zxid = zxid_to_stage(&mut server);
    assert_eq!(zxid, Zxid::new(Epoch(4), 0));
    // Until it lies on the disk, nobody notices.
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 2, create("/late"));
    server.sync();
    assert_eq!(answers(&conn), [(2, 0)]);

    server.turn(vec![Event::Done(Done::RestoreStaged(Ok(staged(zxid))))]);
    assert_eq!(server.mode(), Mode::NotServing);
    assert_eq!(conn.state().phase, ConnPhase::Closed);
    assert!(matches!(
        server.disk[..],
        [
            (_, Op::AcceptedEpoch(Epoch(4))),
            (_, Op::InstallSnapshot(_)),
            (_, Op::CurrentEpoch(Epoch(4)))
        ]
    ));
    let (installed, last) = (server.disk[1].0, server.disk[2].0);
    server.turn(vec![Event::Disk(worker::Event::Durable {
        upto: installed,
    })]);
    assert!(server.shared().tree().find("/old").is_some());
    server.disk.clear();
    server.turn(vec![Event::Disk(worker::Event::Durable { upto: last })]);
    assert!(answer.try_recv().is_err(), "the server is on its way up");
    assert!(
        server.disk.first().is_some_and(|(token, _)| *token > last),
        "tokens rise"
    );
    server.sync();
    assert_eq!(answer.try_recv(), Ok(Ok(zxid)));
    assert_eq!(server.mode(), Mode::Standalone);
    let shared = server.shared();
    let has = |path: &str| shared.tree().find(path).is_some();
    assert_eq!(
        [has("/old"), has("/late"), has("/new")],
        [false, false, true]
    );

    let conn = server.client(8);
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 1, create("/next"));
    server.sync();
    assert_eq!(answers(&conn), [(1, 0)]);
    let now = shared.tree().last_zxid();
    assert!(now > zxid && zxid > before, "{before} {zxid} {now}");
    assert!(has("/next"));
}

#[test]
fn a_tree_that_could_not_be_written_changes_nothing() {
    let mut server = alone();
    let conn = server.client(7);
    let answer = restore(&mut server, Zxid::ZERO, "/new");
    let second = restore(&mut server, Zxid::ZERO, "/newer");
    assert_eq!(second.try_recv(), Ok(Err(Refusal::Busy)));
    let failed = Done::RestoreStaged(Err("no room".into()));
    server.turn(vec![Event::Done(failed)]);
    assert_eq!(
        answer.try_recv(),
        Ok(Err(Refusal::Failed("no room".into())))
    );
    assert_eq!(server.mode(), Mode::Standalone);
    conn.state().take_out(&mut BytesMut::new());
    server.submit(&conn, 1, create("/a"));
    server.sync();
    assert_eq!(answers(&conn), [(1, 0)]);
    assert!(server.shared().tree().find("/new").is_none());
}

#[test]
fn a_snapshot_of_the_tree_before_a_restore_gets_no_name() {
    let mut server = alone();
    let asked = ask(&mut server);
    let of = generation(&mut server);
    let old = server.shared().tree().last_zxid();
    restore(&mut server, Zxid::ZERO, "/new");
    let zxid = zxid_to_stage(&mut server);
    server.turn(vec![
        Event::Done(Done::RestoreStaged(Ok(staged(zxid)))),
        Event::Done(Done::Snapshot(of, Ok(staged(old)))),
    ]);
    let names = |op: &(u64, Op)| matches!(op.1, Op::PublishSnapshot(_));
    assert!(!server.disk.iter().any(names));
    assert!(matches!(asked.try_recv(), Ok(Err(Refusal::Failed(_)))));
    server.sync();
    assert_eq!(server.mode(), Mode::Standalone);
}

#[test]
fn a_member_takes_no_other_tree() {
    let mut server = Server::boot(1, OF_THREE);
    let answer = restore(&mut server, Zxid::ZERO, "/new");
    assert_eq!(answer.try_recv(), Ok(Err(Refusal::Member)));
}

#[test]
fn a_tree_of_the_last_epoch_is_refused() {
    let mut server = alone();
    let answer = restore(&mut server, Zxid::new(Epoch(u32::MAX - 1), 1), "/new");
    assert_eq!(answer.try_recv(), Ok(Err(Refusal::NoEpoch)));
    assert_eq!(server.mode(), Mode::Standalone);
}
