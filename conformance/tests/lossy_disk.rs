//! The mounted disk that forgets: what was synced through the kernel survives a power cut, what was not may go.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use zabra_conformance::lossy::cut::{Survival, Sync};
use zabra_conformance::lossy::{LossyDisk, missing};

#[test]
fn a_mounted_disk_keeps_what_was_synced_and_forgets_the_rest() {
    if let Some(why) = missing() {
        eprintln!("\n#### SKIPPED: the disk that forgets: {why}\n");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let disk = LossyDisk::mount(place.path(), 1, Duration::ZERO).unwrap();
    let at = |name: &str| disk.path().join(name);
    let sync_dir = || File::open(disk.path()).unwrap().sync_all().unwrap();

    // A file, synced with its name, then written on; one whose name was not synced; a rename that was not.
    let mut log = File::create(at("log")).unwrap();
    log.write_all(&[1; 5000]).unwrap();
    log.sync_data().unwrap();
    fs::write(at("epoch"), "1").unwrap();
    File::open(at("epoch")).unwrap().sync_all().unwrap();
    sync_dir();
    log.write_all_at(&[2; 9000], 4000).unwrap();
    fs::write(at("epoch.tmp"), "2").unwrap();
    File::open(at("epoch.tmp")).unwrap().sync_all().unwrap();
    fs::rename(at("epoch.tmp"), at("epoch")).unwrap();
    fs::create_dir(at("later")).unwrap();
    assert_eq!(fs::read_to_string(at("epoch")).unwrap(), "2");
    assert_eq!(fs::metadata(at("log")).unwrap().len(), 13_000);
    let expected = [vec![1; 4000], vec![2; 9000]].concat();
    assert_eq!(fs::read(at("log")).unwrap(), expected);

    disk.cut(Survival::Nothing);
    assert_eq!(fs::read(at("log")).unwrap(), [1; 5000]);
    assert_eq!(fs::read_to_string(at("epoch")).unwrap(), "1");
    let names = fs::read_dir(disk.path()).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["epoch", "log"]);
    assert!(
        log.write_all_at(&[3], 0).is_err(),
        "whoever had it open is dead"
    );

    // The machine is up again.
    let log = File::options().append(true).open(at("log")).unwrap();
    (&log).write_all(&[4; 10]).unwrap();
    disk.set_sync(Sync::FailsOnce);
    assert!(log.sync_data().is_err());
    log.sync_data().unwrap();
    assert_eq!(fs::metadata(at("log")).unwrap().len(), 5010);
    disk.cut(Survival::Nothing);
    assert_eq!(fs::metadata(at("log")).unwrap().len(), 5000);
}
