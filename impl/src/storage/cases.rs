//! Goal: what was acknowledged is never fewer than before, silently, whatever a crash, a broken disk or a person does to
//! the files; either all of it is recovered, or the start is refused.
//! Method: histories written by our own worker on a disk in memory that knows what was synced when.

use super::disk::Disk;
use super::recording::{Loss, RecordingDisk};
use super::recovery::{Recovered, RecoveryOptions, recover, tests::Kept};
use super::snapshot::body::tests as body;
use super::snapshot::tests::stage;
use super::txn_log::writer::{LogOptions, TxnLog};
use super::worker::{Event, Op, Outcome, Worker};
use super::{Dirs, Result, StorageError, high_water, purge, snapshot};
use std::path::Path;
use std::time::Duration;
use zabra_model::ids::{Epoch, Zxid};

/// Between two batches.
const EVERY: Duration = Duration::from_millis(3);

fn dirs() -> Dirs {
    Dirs::new(Path::new("d"), Path::new("l"))
}

fn boot(disk: &RecordingDisk) -> Result<(Recovered, Kept)> {
    let mut kept = Kept::default();
    let found = recover(disk, &dirs(), RecoveryOptions::default(), &mut kept)?;
    Ok((found, kept))
}

/// A transaction whose payload is `bytes` long, zeros but for the header and, with `text`, the end.
fn append(zxid: u64, bytes: usize, fill: u8) -> Op {
    let mut payload = vec![fill; bytes.max(40)];
    payload[..12].fill(1);
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    payload[20..40].fill(2);
    Op::Append {
        zxid: Zxid(zxid),
        payload: payload.into(),
    }
}

/// Carries operations out, each batch apart and a little later; the answer is `(operations of the disk, tokens durable then)`.
fn run(disk: &RecordingDisk, last: u64, batches: Vec<Vec<Op>>) -> Vec<(usize, u64)> {
    let options = LogOptions {
        prealloc_bytes: 2048,
        ..LogOptions::default()
    };
    let log = TxnLog::new(disk.clone(), dirs().log, options, Zxid(last));
    let mut worker = Worker::new(disk.clone(), dirs(), log, Duration::ZERO);
    let mut marks = vec![(0, 0)];
    let mut tokens = 1..;
    for (n, batch) in (1..).zip(batches) {
        let mut batch = batch
            .into_iter()
            .map(|op| (tokens.next().unwrap(), op))
            .collect();
        let outcome = worker.carry_out(&mut batch, n * EVERY, |event, _| {
            if let Event::Durable { upto } = event {
                marks.push((disk.operations(), upto));
            }
        });
        if outcome == Outcome::Failed {
            return marks;
        }
    }
    // The disk may have been told to fail by now.
    let _ = worker.finish(Duration::from_secs(60));
    marks
}

fn new_disk() -> RecordingDisk {
    let disk = RecordingDisk::default();
    stage(&disk, &dirs().snap, 0, &tree_of(0))
        .publish(&disk)
        .unwrap();
    disk.settle();
    boot(&disk).unwrap();
    disk.settle();
    disk
}

/// C-4: a znode of 2,000 zero bytes, transactions behind it, one bit of its entry flipped.
#[test]
fn c_4_what_was_acknowledged_behind_a_damage_is_not_cut_away() {
    let disk = new_disk();
    run(
        &disk,
        0,
        std::iter::once(vec![append(1, 2100, 0)])
            .chain((2..50).map(|z| vec![append(z, 60, 3)]))
            .collect(),
    );
    let path = dirs().log.join("log.1");
    let whole = disk.files().remove(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[16 + 12 + 40 + 300] ^= 1;
    disk.put(&path, &damaged);
    let before = disk.files();
    let refusal = boot(&disk).map(|found| found.0).unwrap_err();
    let text = refusal.to_string();
    assert!(text.contains("log.1") && text.contains("byte 16"), "{text}");
    assert_eq!(disk.files(), before, "a refused start changes nothing");
}

/// Snapshots at 0, 4 and 9, an epoch that begins in the middle of a file and one that begins with a file, and all of it
/// acknowledged, up to the answer.
fn acknowledged() -> (RecordingDisk, Zxid, Vec<u64>) {
    let disk = new_disk();
    let (e1, e2) = (1_u64 << 32, 2_u64 << 32);
    let snapshot = |zxid| Op::PublishSnapshot(stage(&disk, &dirs().snap, zxid, &tree_of(zxid)));
    let one = |zxid, bytes| vec![append(zxid, bytes, (zxid % 3) as u8)];
    let mut batches = vec![vec![Op::AcceptedEpoch(Epoch(2))]];
    batches.extend([one(1, 60), one(2, 700), one(3, 2100), one(4, 90)]);
    batches.push(vec![snapshot(4)]);
    batches.extend([one(5, 60), one(6, 1500)]);
    batches.extend([one(e1 + 1, 40), one(e1 + 2, 600), one(e1 + 3, 90)]);
    batches.push(vec![snapshot(e1 + 3)]);
    batches.extend([one(e2 + 1, 1000), one(e2 + 2, 60)]);
    batches.push(vec![append(e2 + 3, 300, 0), append(e2 + 4, 60, 1)]);
    let last = batches.iter().flatten().count() as u64;
    let marks = run(&disk, 0, batches);
    assert_eq!(marks.last().unwrap().1, last);
    disk.settle();
    let txns = [1, 2, 3, 4, 5, 6]
        .into_iter()
        .chain([1, 2, 3].map(|n| e1 + n));
    let txns = txns.chain([1, 2, 3, 4].map(|n| e2 + n)).collect();
    (disk, Zxid(e2 + 4), txns)
}

/// A tree that tells which snapshot it is from.
fn tree_of(zxid: u64) -> body::Kept {
    let mut tree = body::sample();
    for (_, _, _, stat) in &mut tree.nodes {
        (stat.czxid, stat.mzxid, stat.pzxid) = (Zxid(zxid), Zxid(zxid), Zxid(zxid));
    }
    tree.sessions.clear();
    tree.sessions
        .push((zabra_model::ids::SessionId(zxid as i64), 1));
    tree
}

/// What one sector of a file can become.
fn damages(whole: &[u8], at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let end = (at + 512).min(whole.len());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        change(&mut bytes);
        bytes
    };
    let mut all = vec![
        ("zeroed", with(&|b| b[at..end].fill(0))),
        ("zeroed from here on", with(&|b| b[at..].fill(0))),
        ("cut", with(&|b| b.truncate(at))),
        ("taken out", with(&|b| drop(b.drain(at..end)))),
        (
            "twice",
            with(&|b| {
                let sector = b[at..end].to_vec();
                b.splice(end..end, sector);
            }),
        ),
    ];
    if end + 512 <= whole.len() {
        all.push(("over the next one", with(&|b| b.copy_within(at..end, end))));
    }
    // A bit of each part of an entry, wherever entries begin.
    for byte in (at..end).step_by(37).chain([at + 7.min(end - at - 1)]) {
        for bit in [0, 7] {
            all.push(("one bit flipped", with(&|b| b[byte] ^= 1 << bit)));
        }
    }
    all
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// C-4, the kind: whatever happens to one sector of one file, a start finds all that was acknowledged, or it is refused.
#[test]
fn c_4_a_damaged_sector_never_takes_what_was_acknowledged() {
    let (disk, last, txns) = acknowledged();
    let (mut recovered, mut refused) = (0, 0);
    for (path, whole) in disk.files() {
        for at in (0..whole.len()).step_by(512) {
            for (how, bytes) in damages(&whole, at) {
                let image = disk.crashed(0, Loss::Nothing);
                image.put(&path, &bytes);
                let what = format!("{} from byte {at}: {how}", path.display());
                let before = image.files();
                match boot(&image) {
                    Ok((found, kept)) => {
                        recovered += 1;
                        assert_eq!(found.last_zxid, last, "{what}");
                        let base = found.snapshot_zxid();
                        let behind: Vec<u64> =
                            txns.iter().copied().filter(|t| *t > base.0).collect();
                        assert_eq!(kept.txns, behind, "{what}");
                        assert_eq!(kept.tree, tree_of(base.0), "{what}");
                        let (again, _) = boot(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
                        assert_eq!(again.last_zxid, last, "{what}, second start");
                    }
                    Err(refusal) => {
                        refused += 1;
                        let text = refusal.to_string();
                        assert!(text.contains("version-2"), "{what}: {text}");
                        assert_eq!(
                            image.files(),
                            before,
                            "{what}: a refused start changes nothing"
                        );
                    }
                }
            }
        }
    }
    assert!(recovered > 100 && refused > 100, "{recovered} {refused}");
}

/// C-4: any set of files is missing; the same promise.
#[test]
fn c_4_missing_files_are_noticed() {
    let (disk, last, _) = acknowledged();
    let files: Vec<_> = disk.files().into_keys().collect();
    let names: Vec<String> = files.iter().map(|path| file_name(path)).collect();
    // The mark and the epochs are in the names, too: without the mark, a missing end cannot be seen.
    let data: Vec<_> = (files.iter().zip(&names))
        .filter(|(_, name)| name.starts_with("log") || name.starts_with("snapshot"))
        .map(|(path, _)| path)
        .collect();
    for set in 0_u32..1 << data.len() {
        let image = disk.crashed(0, Loss::Nothing);
        for (n, path) in data.iter().enumerate() {
            if set & (1 << n) != 0 {
                image.remove(path).unwrap();
            }
        }
        image.settle();
        if let Ok((found, _)) = boot(&image) {
            assert_eq!(found.last_zxid, last, "{set:b} of {data:?} missing");
        }
    }
}

/// C-4: what a crash of the machine tears off was never acknowledged, is cut away, and is kept.
#[test]
fn c_4_a_torn_end_is_cut_off_and_kept_aside() {
    let disk = new_disk();
    run(
        &disk,
        0,
        vec![vec![append(1, 60, 3)], vec![append(2, 60, 3)]],
    );
    let path = dirs().log.join("log.1");
    let end = 16 + 2 * (12 + 60 + 1);
    let mut bytes = disk.files().remove(&path).unwrap();
    // Two of one batch, of which the first one's middle has not arrived.
    let mut batch = Vec::new();
    for (zxid, size) in [(3, 1400), (4, 60)] {
        let Op::Append { payload, .. } = append(zxid, size, 3) else {
            panic!()
        };
        super::txn_log::encode_entry(&payload, &mut batch);
    }
    bytes[end..end + batch.len()].copy_from_slice(&batch);
    bytes[512..1024].fill(0);
    disk.put(&path, &bytes);
    let (found, kept) = boot(&disk).unwrap();
    assert_eq!((found.last_zxid, kept.txns), (Zxid(2), vec![1, 2]));
    let said: Vec<String> = found.repairs.iter().map(ToString::to_string).collect();
    let aside = dirs().log.join(format!("log.1.torn-{end:x}"));
    assert!(
        said[0].contains(&format!("log.1: cut off at byte {end}"))
            && said[0].contains(&file_name(&aside)),
        "{said:?}"
    );
    let files = disk.files();
    assert_eq!(files[&path], bytes[..end]);
    assert_eq!(files[&aside], bytes[end..end + batch.len()]);
    assert_eq!(boot(&disk).unwrap().0.repairs, []);
}

/// C-4: a mark speaks for our files only. What ZooKeeper has logged behind them is judged by what lies in its file.
#[test]
fn c_4_a_mark_does_not_speak_for_a_log_of_zookeeper() {
    for accepted in [None, Some(Epoch(9))] {
        let (disk, last, _) = acknowledged();
        let mut log = super::txn_log::HEADER.to_vec();
        let mut ends = vec![];
        for n in 1..4 {
            ends.push(log.len());
            let Op::Append { payload, .. } = append(last.0 + n, 60, 3) else {
                panic!()
            };
            super::txn_log::encode_entry(&payload, &mut log);
        }
        log.resize(4096, 0);
        if let Some(epoch) = accepted {
            super::epochs::write_accepted(&disk, &dirs(), epoch).unwrap();
        }
        let path = dirs().log.join(format!("log.{:x}", last.0 + 1));
        disk.put(&path, &log);
        let image = disk.crashed(0, Loss::Nothing);
        assert_eq!(boot(&image).unwrap().0.last_zxid.0, last.0 + 3);
        // The middle one loses its last byte: whole ones lie behind it.
        log[ends[2] - 1] = 0;
        disk.put(&path, &log);
        assert!(matches!(
            boot(&disk),
            Err(StorageError::DamagedEntry { .. })
        ));
        log[ends[2]..].fill(0);
        disk.put(&path, &log);
        assert_eq!(boot(&disk).unwrap().0.last_zxid.0, last.0 + 1);
    }
}

/// C-4: an older history that ZooKeeper has cut is no damage, though our mark is above it.
#[test]
fn c_4_a_history_that_zookeeper_has_cut_is_no_damage() {
    let (disk, last, _) = acknowledged();
    let path = dirs().log.join(format!("log.{:x}", (2_u64 << 32) + 1));
    let whole = disk.files().remove(&path).unwrap();
    disk.put(&path, &whole[..16 + 1013]);
    assert!(
        matches!(boot(&disk), Err(StorageError::AcknowledgedMissing { durable, .. }) if durable == last)
    );
    super::epochs::write_accepted(&disk, &dirs(), Epoch(3)).unwrap();
    let (found, _) = boot(&disk).unwrap();
    assert_eq!(found.last_zxid.0, (2 << 32) + 1);
    // And from here on, the mark counts again.
    assert_eq!(
        high_water::read(&disk, &dirs()).unwrap().durable(),
        found.last_zxid
    );
}

/// C-7: with a truncation under way and three snapshots above the cut, a purge before it would take the base's log.
#[test]
fn c_7_a_plan_is_finished_before_anything_is_purged() {
    let disk = new_disk();
    let mut batches = vec![vec![append(1, 60, 3)], vec![append(2, 60, 3)]];
    for zxid in 3..7 {
        batches.push(vec![append(zxid, 60, 3)]);
        batches.push(vec![Op::PublishSnapshot(stage(
            &disk,
            &dirs().snap,
            zxid,
            &tree_of(zxid),
        ))]);
    }
    run(&disk, 0, batches);
    disk.settle();
    super::replace::truncate(&disk, &dirs(), Zxid(2)).unwrap();
    let mut interrupted = 0;
    for n in 0..=disk.operations() {
        for loss in Loss::ALL {
            let image = disk.crashed(n, loss);
            let pending = image
                .files()
                .keys()
                .any(|path| file_name(path) == "zabra.pending");
            let (found, _) = boot(&image).unwrap();
            purge::purge(&image, &dirs(), 3, Some(found.snapshot_zxid())).unwrap();
            let (again, _) = boot(&image).unwrap();
            assert_eq!(again.last_zxid, found.last_zxid, "{n} {loss:?}");
            let expected = if pending { &[2][..] } else { &[2, 6] };
            assert!(expected.contains(&found.last_zxid.0), "{n} {loss:?}");
            interrupted += usize::from(pending);
        }
    }
    assert!(interrupted > 10);
}

/// C-7: the base of a pending truncation has been deleted meanwhile: refused, and nothing is changed.
#[test]
fn c_7_a_plan_whose_base_is_gone_is_not_carried_out() {
    let (disk, _, _) = acknowledged();
    super::replace::truncate(&disk, &dirs(), Zxid(2)).unwrap();
    let planned = (0..disk.operations()).map(|n| disk.crashed(n, Loss::Nothing));
    let pending = |image: &RecordingDisk| {
        image
            .files()
            .contains_key(&dirs().snap.join("zabra.pending"))
    };
    let image = planned.into_iter().find(pending).unwrap();
    image
        .remove(&snapshot::path_of(&dirs().snap, Zxid::ZERO))
        .unwrap();
    let before = image.files();
    let refusal = boot(&image).map(|found| found.0);
    assert!(
        matches!(refusal, Err(StorageError::TruncateBelowSnapshot { .. })),
        "{refusal:?}"
    );
    assert_eq!(image.files(), before);
}

/// C-5: what a boot reports is on the disk, whenever the process before it was killed.
#[test]
fn c_5_what_a_boot_finds_is_synced_before_it_is_reported() {
    let disk = new_disk();
    run(&disk, 0, history());
    for n in 0..=disk.operations() {
        let image = disk.killed(n);
        let (found, kept) = boot(&image).unwrap();
        for loss in Loss::ALL {
            let (again, kept_again) = boot(&image.crashed(image.operations(), loss))
                .unwrap_or_else(|e| panic!("{n} {loss:?}: {e}"));
            assert_eq!(again.last_zxid, found.last_zxid, "{n} {loss:?}");
            assert_eq!(again.epochs, found.epochs, "{n} {loss:?}");
            // What was cut off makes the log shorter.
            let log_bytes = kept_again.log_bytes;
            assert!(log_bytes <= kept.log_bytes, "{n} {loss:?}");
            assert_eq!(
                (again.snapshot_zxid(), kept_again),
                (
                    found.snapshot_zxid(),
                    Kept {
                        tree: kept.tree.clone(),
                        txns: kept.txns.clone(),
                        log_bytes,
                    }
                ),
                "{n} {loss:?}"
            );
        }
    }
}

/// Epochs, appends alone and together, a truncation.
fn history() -> Vec<Vec<Op>> {
    let e1 = 1_u64 << 32;
    vec![
        vec![Op::AcceptedEpoch(Epoch(1))],
        vec![append(e1 + 1, 90, 5), append(e1 + 2, 700, 0)],
        vec![Op::CurrentEpoch(Epoch(1))],
        vec![append(e1 + 3, 40, 5)],
        vec![append(e1 + 4, 90, 5), append(e1 + 5, 90, 5)],
        vec![Op::Truncate {
            after: Zxid(e1 + 4),
        }],
        vec![append(e1 + 5, 1200, 6)],
        vec![Op::AcceptedEpoch(Epoch(2))],
        vec![append((2 << 32) + 1, 90, 5), append((2 << 32) + 2, 90, 5)],
        vec![Op::CurrentEpoch(Epoch(2))],
    ]
}

/// C-6: after a failed sync the pages look clean; what the next boot reports is on the disk all the same.
#[test]
fn c_6_after_a_failed_sync_the_tail_is_written_anew_before_it_counts() {
    let whole = new_disk();
    run(&whole, 0, history());
    let mut failed = 0;
    for n in 0..whole.operations() {
        let disk = new_disk();
        disk.fail_after(n);
        run(&disk, 0, history());
        let image = disk.killed(disk.operations());
        let (found, _) = boot(&image).unwrap();
        for loss in [Loss::Nothing, Loss::Both] {
            let (again, _) = boot(&image.crashed(image.operations(), loss))
                .unwrap_or_else(|e| panic!("{n} {loss:?}: {e}"));
            assert_eq!(again.last_zxid, found.last_zxid, "{n} {loss:?}");
            assert_eq!(again.epochs, found.epochs, "{n} {loss:?}");
        }
        failed += 1;
    }
    assert!(failed > 20);
}
