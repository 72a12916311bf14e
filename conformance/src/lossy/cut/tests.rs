//! The disk that forgets, held to what it promises: what was synced is there, what was not may go, and in which ways.

use super::*;
use std::collections::BTreeSet;

const SEEDS: u64 = 300;

fn honest(disk: &mut Disk, ino: Ino) {
    assert_eq!(disk.sync(ino, disk.now()), Ok(true));
}

fn durable_file(name: &str, content: &[u8]) -> (Disk, Ino) {
    let mut disk = Disk::default();
    let ino = disk.make(ROOT, name, false).unwrap();
    disk.write(ino, 0, content).unwrap();
    honest(&mut disk, ino);
    honest(&mut disk, ROOT);
    (disk, ino)
}

fn after(disk: &Disk, survival: Survival, seed: u64) -> Disk {
    let mut disk = disk.clone();
    disk.cut(survival, &mut fastrand::Rng::with_seed(seed));
    disk
}

fn content(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let ino = disk.find(ROOT, name).ok()?;
    Some(disk.content(ino).unwrap().unwrap().to_vec())
}

/// Everything that can be left, over many seeds.
fn outcomes<T: Ord>(disk: &Disk, see: impl Fn(&Disk) -> T) -> BTreeSet<T> {
    (0..SEEDS)
        .map(|seed| see(&after(disk, Survival::Some, seed)))
        .collect()
}

#[test]
fn what_was_synced_survives_and_what_was_not_may_go() {
    let (mut disk, ino) = durable_file("log", b"synced");
    disk.write(ino, 0, b"SYNCED and more").unwrap();
    assert_eq!(disk.content(ino).unwrap().unwrap(), b"SYNCED and more");
    let strict = after(&disk, Survival::Nothing, 0);
    assert_eq!(content(&strict, "log").unwrap(), b"synced");
    let all = outcomes(&disk, |d| content(d, "log").unwrap());
    for wanted in [
        &b"synced"[..],
        b"SYNCED and more",
        b"SYNCED",
        b"synced\0\0\0\0\0\0\0\0\0",
    ] {
        assert!(all.contains(wanted), "{wanted:?} is not among {all:?}");
    }
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn sectors_survive_out_of_order_and_writes_are_torn() {
    let (mut disk, ino) = durable_file("log", &[b'0'; 4 * SECTOR]);
    disk.write(ino, 0, &[b'1'; 2 * SECTOR]).unwrap();
    disk.write(ino, 2 * SECTOR, &[b'2'; 2 * SECTOR]).unwrap();
    let all = outcomes(&disk, |d| {
        let content = content(d, "log").unwrap();
        assert_eq!(content.len(), 4 * SECTOR);
        assert!(content.chunks(SECTOR).all(|s| s.iter().all(|b| *b == s[0])));
        String::from_utf8(content.iter().copied().step_by(SECTOR).collect()).unwrap()
    });
    for wanted in ["0000", "1122", "1100", "0022", "1020", "0102"] {
        assert!(all.contains(wanted), "{wanted} is not among {all:?}");
    }
    assert_eq!(all.len(), 16);
}

#[test]
fn a_name_is_durable_by_a_sync_of_its_directory_alone() {
    let mut disk = Disk::default();
    let ino = disk.make(ROOT, "new", false).unwrap();
    disk.write(ino, 0, b"x").unwrap();
    honest(&mut disk, ino);
    let all = outcomes(&disk, |d| content(d, "new"));
    assert_eq!(all, BTreeSet::from([None, Some(b"x".to_vec())]));
    honest(&mut disk, ROOT);
    let all = outcomes(&disk, |d| content(d, "new"));
    assert_eq!(all, BTreeSet::from([Some(b"x".to_vec())]));
}

#[test]
fn a_rename_without_a_sync_may_be_undone_and_never_half_done() {
    let (mut disk, old) = durable_file("epoch", b"1");
    let tmp = disk.make(ROOT, "epoch.tmp", false).unwrap();
    disk.write(tmp, 0, b"2").unwrap();
    honest(&mut disk, tmp);
    disk.rename((ROOT, "epoch.tmp"), (ROOT, "epoch"), false)
        .unwrap();
    assert_eq!(
        disk.content(old).unwrap().unwrap(),
        b"1",
        "it may still be open"
    );
    assert_eq!(content(&disk, "epoch").unwrap(), b"2");
    let all = outcomes(&disk, |d| {
        (content(d, "epoch").unwrap(), content(d, "epoch.tmp"))
    });
    let expected = [
        (b"1".to_vec(), None),
        (b"1".to_vec(), Some(b"2".to_vec())),
        (b"2".to_vec(), None),
    ];
    assert_eq!(all, BTreeSet::from(expected));
    honest(&mut disk, ROOT);
    assert_eq!(outcomes(&disk, |d| content(d, "epoch").unwrap()).len(), 1);
}

#[test]
fn a_rename_between_directories_loses_nothing() {
    let (mut disk, _) = durable_file("log", b"x");
    let aside = disk.make(ROOT, "aside", true).unwrap();
    honest(&mut disk, ROOT);
    disk.rename((ROOT, "log"), (aside, "log"), false).unwrap();
    let mut both = disk.clone();
    let places = outcomes(&disk, |d| {
        let aside = d.find(ROOT, "aside").unwrap();
        (d.find(ROOT, "log").is_ok(), d.find(aside, "log").is_ok())
    });
    assert_eq!(places, BTreeSet::from([(true, false), (false, true)]));
    honest(&mut both, aside);
    assert_eq!(content(&after(&both, Survival::Nothing, 0), "log"), None);
}

#[test]
fn changes_of_names_survive_in_order() {
    let mut disk = Disk::default();
    for name in ["a", "b", "c"] {
        disk.make(ROOT, name, false).unwrap();
    }
    disk.remove(ROOT, "a").unwrap();
    let all = outcomes(&disk, |d| {
        d.names(ROOT).unwrap().keys().cloned().collect::<String>()
    });
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    assert_eq!(all, ["", "a", "ab", "abc", "bc"]);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let (mut disk, ino) = durable_file("log", &[b'A'; SECTOR]);
    disk.set_length(ino, 0).unwrap();
    disk.write(ino, 0, &[b'B'; SECTOR]).unwrap();
    let all = outcomes(&disk, |d| content(d, "log").unwrap());
    let expected = [
        vec![],
        vec![0; SECTOR],
        vec![b'A'; SECTOR],
        vec![b'B'; SECTOR],
    ];
    // The length of before the cut of the file: then its content is of any moment. The length of after it: never the A's.
    assert!(all.is_subset(&BTreeSet::from(expected)), "{all:?}");
    assert!(all.contains(&vec![b'B'; SECTOR]) && all.contains(&vec![b'A'; SECTOR]));
}

#[test]
fn a_failed_sync_leaves_pages_that_only_look_clean() {
    let (mut disk, ino) = durable_file("log", b"1");
    disk.write(ino, 1, b"2").unwrap();
    disk.sync = Sync::FailsOnce;
    assert_eq!(disk.sync(ino, disk.now()), Ok(false));
    assert_eq!(content(&disk, "log").unwrap(), b"12", "readers see it");
    honest(&mut disk, ino);
    assert_eq!(
        content(&after(&disk, Survival::Some, 0), "log").unwrap(),
        b"1"
    );
    // Writing to the page again saves it.
    disk.write(ino, 1, b"2").unwrap();
    honest(&mut disk, ino);
    assert_eq!(
        content(&after(&disk, Survival::Nothing, 0), "log").unwrap(),
        b"12"
    );
}

#[test]
fn a_sync_that_lies_saves_nothing() {
    let (mut disk, ino) = durable_file("log", b"1");
    disk.sync = Sync::Lies;
    disk.write(ino, 1, b"2").unwrap();
    honest(&mut disk, ino);
    honest(&mut disk, ROOT);
    assert_eq!(
        content(&after(&disk, Survival::Nothing, 0), "log").unwrap(),
        b"1"
    );
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let (mut disk, ino) = durable_file("log", b"1");
    disk.write(ino, 1, b"2").unwrap();
    let began = disk.now();
    disk.write(ino, 2, b"3").unwrap();
    assert_eq!(disk.sync(ino, began), Ok(true));
    assert_eq!(
        disk.sync(ino, began),
        Ok(true),
        "another one at the same time"
    );
    assert_eq!(
        content(&after(&disk, Survival::Nothing, 0), "log").unwrap(),
        b"12"
    );
}

#[test]
fn what_was_open_before_a_cut_is_gone_after_it() {
    let (mut disk, ino) = durable_file("log", b"1");
    disk.cut(Survival::Nothing, &mut fastrand::Rng::with_seed(0));
    assert_eq!(disk.write(ino, 0, b"2"), Err(Refused::Missing));
    assert_eq!(content(&disk, "log").unwrap(), b"1");
}
