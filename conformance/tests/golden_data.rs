//! Goal: the storage code reads what ZooKeeper wrote, decides about damage as it does, and writes the same bytes.
//! Method: data directories of real servers (golden/data, captured from 3.9.5 and 3.8.0), a decoding of each with offsets,
//! and a list of damaged variants with what 3.9.5 did about them.

use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use zabra::storage::boot::{self as start, BootOptions};
use zabra::storage::disk::{Disk, RealDisk};
use zabra::storage::recording::RecordingDisk;
use zabra::storage::recovery::{Recovered, RecoveryOptions, RecoverySink, recover};
use zabra::storage::snapshot::body::{NodeRef, Refused, SnapshotSink};
use zabra::storage::snapshot::{self, Form, Packing, SnapshotFacts, SnapshotWriter};
use zabra::storage::txn_log::reader::{LogFile, LogReader};
use zabra::storage::txn_log::{self, LogEntry, encode_entry, zxid_of_payload};
use zabra::storage::{Dirs, StorageError, list_by_zxid, replace, zxid_of_name};
use zabra_model::ids::{Epoch, SessionId, Zxid};
use zabra_model::tree::acl::{Acl, AclEntry, Id};
use zabra_model::tree::digest::node_digest;
use zabra_model::tree::stat::StatPersisted;

const UNCOMPRESSED: [&str; 6] = [
    "standalone-3.8.0",
    "standalone-3.9.5",
    "standalone-3.9.5-torn-tail",
    "standalone-3.9.5-no-digest",
    "ensemble-3.9.5-leader",
    "ensemble-3.9.5-follower",
];

type Node = (String, Option<Vec<u8>>, Acl, StatPersisted);

#[derive(Default, Debug)]
struct Kept {
    sessions: Vec<(SessionId, i32)>,
    nodes: Vec<Node>,
    txns: Vec<LogEntry>,
}

impl SnapshotSink for Kept {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), Refused> {
        self.sessions.push((id, timeout_ms));
        Ok(())
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Acl,
        stat: StatPersisted,
    ) -> Result<(), Refused> {
        self.nodes
            .push((path.to_owned(), data.map(<[u8]>::to_vec), acl.clone(), stat));
        Ok(())
    }
}

impl RecoverySink for Kept {
    fn txn(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), Refused> {
        let payload = Bytes::copy_from_slice(payload);
        self.txns.push(LogEntry { zxid, payload });
        Ok(())
    }
}

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(path)
}

fn version_2(name: &str) -> PathBuf {
    golden(&format!("data/{name}/data/version-2"))
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(golden(path)).unwrap()).unwrap()
}

fn decoded(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(golden(&format!("data/{name}/decoded.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn hex_u64(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

/// A copy that may be changed. Both directories are the same one, as with default settings.
fn copy(name: &str) -> (tempfile::TempDir, Dirs) {
    let dir = tempfile::tempdir().unwrap();
    let dirs = Dirs::new(dir.path(), dir.path());
    RealDisk.create_dir(&dirs.snap).unwrap();
    for file in RealDisk.list(&version_2(name)).unwrap() {
        fs::copy(version_2(name).join(&file), dirs.snap.join(&file)).unwrap();
    }
    (dir, dirs)
}

fn boot(dirs: &Dirs) -> Result<(Recovered, Kept), StorageError> {
    let mut kept = Kept::default();
    let found = recover(&RealDisk, dirs, RecoveryOptions::default(), &mut kept)?;
    Ok((found, kept))
}

#[test]
fn every_log_entry_is_found_at_its_offset_and_written_back_byte_for_byte() {
    let mut seen = 0;
    for name in UNCOMPRESSED
        .into_iter()
        .chain(["standalone-3.9.5-snapshot-gz"])
    {
        let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in decoded(name)
            .into_iter()
            .filter(|line| line["what"] == "txn" && line["crc_ok"] == true)
        {
            expected
                .entry(line["file"].as_str().unwrap().to_owned())
                .or_default()
                .push(line);
        }
        assert!(!expected.is_empty(), "{name}");
        for (file, lines) in expected {
            let path = version_2(name).join(&file);
            let bytes = fs::read(&path).unwrap();
            let mut log = LogFile::new(RealDisk.read(&path).unwrap(), &path, true).unwrap();
            for line in lines {
                let offset = line["offset"].as_u64().unwrap();
                assert_eq!(log.offset(), offset, "{name} {file}");
                let entry = log.next_entry().unwrap().unwrap();
                assert_eq!(entry.zxid, Zxid(hex_u64(&line["hdr"]["zxid"])));
                assert_eq!(entry.payload.len() as u64, line["length"].as_u64().unwrap());
                let mut again = Vec::new();
                encode_entry(&entry.payload, &mut again);
                assert_eq!(again.len() as u64, line["total"].as_u64().unwrap());
                assert_eq!(
                    again,
                    bytes[offset as usize..][..again.len()],
                    "{name} {file} {offset}"
                );
                seen += 1;
            }
            assert_eq!(log.next_entry().unwrap(), None, "{name} {file}");
        }
    }
    assert!(seen > 400, "{seen}");
}

#[test]
fn computed_log_entries_have_the_same_checksums() {
    for vector in json("vectors.json")["log_entries"].as_array().unwrap() {
        let payload = unhex(&vector["payload"]);
        let mut entry = Vec::new();
        encode_entry(&payload, &mut entry);
        assert_eq!(entry, unhex(&vector["whole_entry"]));
        let zxid = hex_u64(&vector["decoded"]["hdr"]["zxid"]);
        assert_eq!(zxid_of_payload(&payload), Some(Zxid(zxid)));
    }
}

#[test]
fn every_snapshot_is_read_and_written_back() {
    let (mut same_bytes, mut same_digests) = (0, 0);
    for name in UNCOMPRESSED {
        let lines = decoded(name);
        for (zxid, path) in list_by_zxid(&RealDisk, &version_2(name), "snapshot").unwrap() {
            let file = path.file_name().unwrap().to_str().unwrap();
            let mut kept = Kept::default();
            let facts = snapshot::read(&RealDisk, &path, zxid, &mut kept).unwrap();
            check_content(name, file, &lines, &kept);
            assert!(facts.digest.is_none() || !name.ends_with("no-digest"));
            let form = as_written(facts);
            if let Some((_, digest)) = facts.digest.filter(|_| form.says_digest) {
                assert_eq!(digest_of(&kept), digest, "{name} {file}");
                same_digests += 1;
            }

            let out = tempfile::tempdir().unwrap();
            let table = acl_table(&lines, file);
            let sessions = kept.sessions.iter().copied();
            let lists = table.iter().map(|(_, list)| &**list);
            let mut writer =
                SnapshotWriter::begin(&RealDisk, out.path(), (zxid, form), sessions, lists)
                    .unwrap();
            for (path, data, acl, stat) in &kept.nodes {
                let data = data.as_deref();
                writer
                    .node(NodeRef {
                        path,
                        data,
                        acl,
                        stat,
                    })
                    .unwrap();
            }
            let written = writer.finish().unwrap().publish(&RealDisk).unwrap();
            let mut again = Kept::default();
            snapshot::read(&RealDisk, &written, zxid, &mut again).unwrap();
            assert_eq!(
                (&again.sessions, &again.nodes),
                (&kept.sessions, &kept.nodes)
            );

            // With ZooKeeper's own ACL numbers even the bytes are the same, first seal included. It also numbers "anyone
            // may do anything" when a client sent that list; we do not, so those files differ in the numbers.
            let is_open = |list: &[AclEntry]| {
                list.len() == 1 && list[0].perms == 31 && &*list[0].id.id == "anyone"
            };
            if table.iter().all(|(_, list)| !is_open(list)) {
                let (ours, theirs) = (fs::read(&written).unwrap(), fs::read(&path).unwrap());
                assert_eq!(ours, theirs[..ours.len()], "{name} {file}");
                same_bytes += 1;
            }
        }
    }
    assert!(same_bytes >= 5, "{same_bytes}");
    assert!(same_digests >= 3, "{same_digests}");
}

/// Most of these snapshots were taken while the tree changed: what they tell is the digest some transactions later.
#[test]
fn the_digest_that_a_snapshot_tells_is_that_of_the_tree_at_its_zxid() {
    let (mut same, mut later) = (0, 0);
    for name in UNCOMPRESSED {
        let (_dir, dirs) = copy(name);
        let options = BootOptions {
            trust_empty_snapshot: false,
            is_ensemble: false,
            form: Packing::Plain.into(),
            beside: None,
        };
        let snapshots = list_by_zxid(&RealDisk, &dirs.snap, "snapshot").unwrap();
        let found = start::read(&RealDisk, &dirs, options).unwrap();
        let Some(digest) = found.told else { continue };
        assert_eq!(digest.read(), digest.told, "{name} at {}", digest.zxid());
        same += 1;
        later += usize::from(snapshots.iter().all(|(zxid, _)| *zxid != digest.zxid()));
    }
    assert!(same >= 3 && later >= 1, "{same} {later}");
}

/// What follows the tree of a snapshot that was not taken while its tree changed; else nothing, as ours would be of another zxid.
fn as_written(facts: SnapshotFacts) -> Form {
    let is_of_one_zxid = facts.digest.is_none_or(|(zxid, _)| zxid == facts.zxid)
        && facts.last.is_none_or(|zxid| zxid == facts.zxid);
    Form {
        packing: Packing::Plain,
        says_digest: is_of_one_zxid && facts.digest.is_some(),
        // A digest of nothing, as ZooKeeper writes it before its first transaction, is none.
        says_zxid: is_of_one_zxid && facts.last.is_some() && facts.digest.is_some(),
    }
}

fn digest_of(kept: &Kept) -> u64 {
    let nodes = kept.nodes.iter();
    nodes.fold(0_u64, |sum, (path, data, _, stat)| {
        sum.wrapping_add(node_digest(path, data.as_deref(), stat))
    })
}

fn acl_table(lines: &[Value], file: &str) -> Vec<(i64, Vec<AclEntry>)> {
    let table = lines
        .iter()
        .find(|l| l["file"] == file && l["what"] == "aclCache")
        .unwrap();
    let entry = |e: &Value| AclEntry {
        perms: e[0].as_u64().unwrap() as u32,
        id: Id {
            scheme: e[1].as_str().unwrap().into(),
            id: e[2].as_str().unwrap().into(),
        },
    };
    let list = |list: &Value| list.as_array().unwrap().iter().map(entry).collect();
    let items = table["items"].as_array().unwrap().iter();
    items
        .map(|item| (item[0].as_i64().unwrap(), list(&item[1])))
        .collect()
}

fn check_content(name: &str, file: &str, lines: &[Value], kept: &Kept) {
    let of = |what: &'static str| {
        lines
            .iter()
            .filter(move |l| l["file"] == file && l["what"] == what)
    };
    let sessions = of("sessions").next().unwrap()["items"].as_array().unwrap();
    let sessions: Vec<_> = sessions
        .iter()
        .map(|s| {
            (
                SessionId(hex_u64(&s[0]) as i64),
                s[1].as_i64().unwrap() as i32,
            )
        })
        .collect();
    assert_eq!(kept.sessions, sessions, "{name} {file}");
    let acls: BTreeMap<i64, Vec<AclEntry>> = acl_table(lines, file).into_iter().collect();
    let mut nodes = kept.nodes.iter();
    for line in of("node") {
        let (path, data, acl, stat) = nodes.next().unwrap();
        assert_eq!(path, line["path"].as_str().unwrap(), "{name} {file}");
        let bytes = data.as_ref().map(|d| d.len() as u64);
        assert_eq!(bytes, line["dataLength"].as_u64(), "{name} {file} {path}");
        match line["aclId"].as_i64().unwrap() {
            -1 => assert!(acl.len() == 1 && acl[0].perms == 31 && &*acl[0].id.id == "anyone"),
            id => assert_eq!(acl[..], acls[&id], "{name} {file} {path}"),
        }
        let s = &line["stat"];
        let expected = StatPersisted {
            czxid: Zxid(hex_u64(&s["czxid"])),
            mzxid: Zxid(hex_u64(&s["mzxid"])),
            ctime: s["ctime"].as_i64().unwrap(),
            mtime: s["mtime"].as_i64().unwrap(),
            version: s["version"].as_i64().unwrap() as i32,
            cversion: s["cversion"].as_i64().unwrap() as i32,
            aversion: s["aversion"].as_i64().unwrap() as i32,
            ephemeral_owner: hex_u64(&s["ephemeralOwner"]) as i64,
            pzxid: Zxid(hex_u64(&s["pzxid"])),
        };
        assert_eq!(*stat, expected, "{name} {file} {path}");
    }
    assert!(nodes.next().is_none(), "{name} {file}");
}

#[test]
fn every_directory_boots_to_the_zxid_that_its_server_served() {
    // C-9: the last one's snapshot is compressed.
    for name in UNCOMPRESSED
        .into_iter()
        .chain(["standalone-3.9.5-snapshot-gz"])
    {
        let (_dir, dirs) = copy(name);
        let (found, kept) = boot(&dirs).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = json(&format!("data/{name}/expected.json"));
        assert_eq!(found.last_zxid, Zxid(hex_u64(&expected["zxid"])), "{name}");
        assert_eq!(kept.txns.last().unwrap().zxid, found.last_zxid);
        if name.starts_with("ensemble") {
            assert_eq!(found.epochs.accepted, Epoch(3), "{name}");
        }
    }
}

/// Where we start and ZooKeeper 3.9.5 does not: the newest file holds not even its header, so nothing in it was ever
/// acknowledged, and a crash while a file is created leaves exactly this.
const WE_START: [(&str, u64); 1] = [("last log has half a file header", 0x45)];

/// Where ZooKeeper 3.9.5 starts and we do not: whole transactions lie behind the damage, which it drops without a word; and
/// 0x45 is neither in the log nor covered by the name of snapshot.44. That
/// snapshot was taken during writes and happens to hold the change, but nothing in the file says that it is complete.
const WE_REFUSE: [&str; 2] = [
    "0x42 of a middle record overwritten with 0",
    "an earlier log file is torn in the middle (gap), later files intact; newest snapshot covers it",
];

#[test]
fn damage_is_judged_as_zookeeper_3_9_5_judges_it() {
    let variants = json("data/damage_variants.json");
    let variants = variants["variants"].as_array().unwrap();
    assert!(variants.len() > 30);
    for variant in variants {
        let what = variant["description"].as_str().unwrap();
        let (_dir, dirs) = copy(variant["base"].as_str().unwrap());
        for operation in variant["operations"].as_array().unwrap() {
            damage(&dirs.snap, operation);
        }
        let verdict = &variant["result"]["3.9.5"];
        let expected = match WE_START.iter().find(|(name, _)| *name == what) {
            Some((_, zxid)) => Some(*zxid),
            None if WE_REFUSE.contains(&what) => None,
            None => verdict["starts"]
                .as_bool()
                .unwrap()
                .then(|| hex_u64(&verdict["zxid"])),
        };
        let got = boot(&dirs);
        match (expected, &got) {
            (Some(zxid), Ok((found, _))) => assert_eq!(found.last_zxid, Zxid(zxid), "{what}"),
            (None, Err(_)) => {}
            _ => panic!(
                "{what}: expected {expected:x?}, got {:?}",
                got.map(|(found, _)| found)
            ),
        }
    }
}

fn damage(dir: &Path, operation: &Value) {
    let path = dir.join(operation["file"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap_or_default();
    let number = |key: &str| operation[key].as_u64().unwrap() as usize;
    match operation["op"].as_str().unwrap() {
        "truncate" => bytes.truncate(number("size")),
        "xor" => bytes[number("offset")] ^= number("mask") as u8,
        "create" | "append" => bytes.extend(unhex(&operation["hex"])),
        "zero" => bytes[number("from_offset_to_end")..].fill(0),
        "zero_range" => bytes[number("offset")..][..number("count")].fill(0),
        "delete" => return fs::remove_file(path).unwrap(),
        "rename" => return fs::rename(&path, dir.join(operation["to"].as_str().unwrap())).unwrap(),
        other => panic!("unknown operation {other}"),
    }
    fs::write(path, bytes).unwrap();
}

/// Byte ranges of the transactions in a log.
fn places(path: &Path) -> Vec<(Zxid, std::ops::Range<usize>)> {
    let mut log = LogFile::new(RealDisk.read(path).unwrap(), path, true).unwrap();
    let mut places = Vec::new();
    let mut from = log.offset() as usize;
    while let Some(entry) = log.next_entry().unwrap() {
        let to = log.offset() as usize;
        places.push((entry.zxid, from..to));
        from = to;
    }
    places
}

/// What a sector can become, and which bytes of the file are no longer where they were.
fn damages(whole: &[u8], at: usize) -> Vec<(&'static str, Vec<u8>, std::ops::Range<usize>)> {
    let end = (at + 512).min(whole.len());
    let all = whole.len();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        change(&mut bytes);
        bytes
    };
    let mut images = vec![
        ("zeroed", with(&|b| b[at..end].fill(0)), at..end),
        ("zeroed from here on", with(&|b| b[at..].fill(0)), at..all),
        ("cut", with(&|b| b.truncate(at)), at..all),
        ("taken out", with(&|b| drop(b.drain(at..end))), at..end),
    ];
    if end + 512 <= all {
        let over = with(&|b| b.copy_within(at..end, end));
        images.push(("over the next one", over, end..end + 512));
    }
    for byte in (at..end).step_by(41) {
        images.push(("one bit flipped", with(&|b| b[byte] ^= 4), byte..byte + 1));
    }
    images
}

/// C-4, in directories of ZooKeeper's, where nothing says how far the log was synced: whatever happens to one sector, what
/// is lost is at most what the damage itself has touched at the end of a log, and with it nothing that can still be read.
#[test]
fn c_4_a_damaged_sector_in_a_directory_of_zookeeper_takes_nothing_behind_it() {
    let (mut recovered, mut refused, mut cut) = (0, 0, 0);
    for name in UNCOMPRESSED {
        let dirs = Dirs::new(Path::new("d"), Path::new("d"));
        let files: Vec<(String, Vec<u8>)> = RealDisk
            .list(&version_2(name))
            .unwrap()
            .into_iter()
            .map(|file| (file.clone(), fs::read(version_2(name).join(&file)).unwrap()))
            .collect();
        let disk = RecordingDisk::default();
        for (file, bytes) in &files {
            disk.put(&dirs.snap.join(file), bytes);
        }
        let boot = |disk: &RecordingDisk| {
            let mut kept = Kept::default();
            recover(disk, &dirs, RecoveryOptions::default(), &mut kept).map(|found| {
                let txns: Vec<Zxid> = kept.txns.iter().map(|txn| txn.zxid).collect();
                (found, txns)
            })
        };
        let all: Vec<_> = (files.iter())
            .filter(|(file, _)| zxid_of_name(file, txn_log::PREFIX).is_some())
            .flat_map(|(file, _)| {
                places(&version_2(name).join(file))
                    .into_iter()
                    .map(move |place| (file, place))
            })
            .collect();
        for (file, whole) in files.iter().filter(|(_, whole)| whole.len() > 1) {
            let used = whole.iter().rposition(|b| *b != 0).unwrap();
            for at in (0..=used).step_by(512) {
                for (how, bytes, touched) in damages(whole, at) {
                    let image = disk.crashed(0, zabra::storage::recording::Loss::Nothing);
                    image.put(&dirs.snap.join(file), &bytes);
                    let what = format!("{name}, {file} from byte {at}: {how}");
                    let Ok((found, txns)) = boot(&image) else {
                        refused += 1;
                        continue;
                    };
                    recovered += 1;
                    for (at_file, (zxid, place)) in &all {
                        if *zxid > found.snapshot_zxid() && !txns.contains(zxid) {
                            let hit = *at_file == file
                                && place.start < touched.end
                                && touched.start < place.end;
                            assert!(hit, "{what}: {zxid} is lost");
                            cut += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(
        recovered > 1000 && refused > 1000 && cut > 100,
        "{recovered} {refused} {cut}"
    );
}

#[test]
fn a_real_log_is_cut_behind_any_of_its_transactions() {
    let name = "ensemble-3.9.5-leader";
    let all = entries(&version_2(name), Zxid::ZERO);
    for (n, last) in all.iter().enumerate() {
        let (_dir, dirs) = copy(name);
        assert_eq!(
            replace::truncate(&RealDisk, &dirs, last.zxid).unwrap(),
            last.zxid
        );
        assert_eq!(entries(&dirs.log, Zxid::ZERO), all[..=n], "{}", last.zxid);
        let (found, _) = boot(&dirs).unwrap();
        assert_eq!(found.last_zxid, last.zxid);
        assert!(found.snapshot_zxid() <= last.zxid);
        // Nothing but the files that the cut is about has changed.
        for file in RealDisk.list(&dirs.log).unwrap() {
            if zxid_of_name(&file, txn_log::PREFIX).is_some_and(|start| start > last.zxid) {
                panic!("{file} is still there after a cut behind {}", last.zxid);
            }
        }
    }
}

fn entries(dir: &Path, after: Zxid) -> Vec<LogEntry> {
    let mut reader = LogReader::behind(&RealDisk, dir, after).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    entries
}
