//! `zabra log`.

use super::common::{Cluster, set, wait_for};
use super::{answered, copy, damage, decoded, golden, names, text, zabra};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use zabra::storage::txn_log::{HEADER, encode_entry};

const ALL: [&str; 7] = [
    "standalone-3.8.0",
    "standalone-3.9.5",
    "standalone-3.9.5-torn-tail",
    "standalone-3.9.5-no-digest",
    "standalone-3.9.5-snapshot-gz",
    "ensemble-3.9.5-leader",
    "ensemble-3.9.5-follower",
];

/// The fields of one operation, under our names.
fn expected(kind: &str, txn: &Value) -> Value {
    let mut all = json!({ "type": kind });
    for (theirs, ours) in [
        ("path", "path"),
        ("version", "version"),
        ("ephemeral", "ephemeral"),
        ("parentCVersion", "parent_cversion"),
        ("timeOut", "timeout_ms"),
        ("ttl", "ttl_ms"),
        ("err", "error"),
        ("paths2Delete", "paths"),
    ] {
        // Where a closeSession lists no nodes, the decoding says so by a word.
        if let Some(value) = txn.get(theirs).filter(|value| *value != "absent") {
            all[ours] = value.clone();
        }
    }
    if let Some(data) = txn["data"].as_str() {
        let hex = |data: &str| data.bytes().map(|b| format!("{b:02x}")).collect();
        let data: String = data
            .strip_prefix("hex:")
            .map_or_else(|| hex(data), Into::into);
        all["bytes"] = (data.len() / 2).into();
        all["data"] = data.into();
    }
    if let Value::Array(parts) = &txn["txns"] {
        let part = |part: &Value| expected(part["typeName"].as_str().unwrap(), &part["body"]);
        all["parts"] = parts.iter().map(part).collect();
    }
    all
}

/// Without what the decoding does not have in this shape.
fn stripped(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    object.remove("acl");
    object.remove("error_name");
    if let Some(Value::Array(parts)) = object.get_mut("parts") {
        for part in parts {
            *part = stripped(part.take());
        }
    }
    line
}

#[test]
fn zookeepers_logs_are_printed_as_another_hand_has_decoded_them() {
    let mut kinds = BTreeSet::new();
    for name in ALL {
        let dir = golden(name).join("data");
        let said = zabra(&["log", "-o", "json", "--data=hex", text(&dir)]);
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let wanted = decoded(name)
            .into_iter()
            .filter(|line| line["what"] == "txn" && line["crc_ok"] == true);
        let wanted: Vec<_> = wanted
            .map(|line| {
                let header = &line["hdr"];
                let kind = header["typeName"].as_str().unwrap();
                kinds.insert(kind.to_owned());
                let mut all = expected(kind, &line["txn"]);
                let file = dir.join("version-2").join(line["file"].as_str().unwrap());
                all["file"] = text(&file).into();
                all["offset"] = line["offset"].clone();
                all["zxid"] = header["zxid"].clone();
                all["time"] = header["time"].clone();
                all["session"] = header["clientId"].clone();
                all["cxid"] = header["cxid"].clone();
                if line["digest"].is_object() {
                    all["digest"] = line["digest"]["treeDigest"].clone();
                }
                all
            })
            .collect();
        let found: Vec<_> = said.documents().into_iter().map(stripped).collect();
        assert_eq!(found.len(), wanted.len(), "{name}");
        for (found, wanted) in found.into_iter().zip(wanted) {
            assert_eq!(found, wanted, "{name}");
        }
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

#[test]
fn people_see_one_line_a_transaction_and_the_parts_of_a_multi_below_it() {
    let file = golden("standalone-3.9.5").join("data/version-2/log.1");
    let said = zabra(&[
        "log",
        "--data=text",
        "--from",
        "0x18",
        "--to",
        "26",
        text(&file),
    ]);
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(
        lines,
        [
            "0x18 2026-11-21T20:30:13.268Z session 0x1000017b5dd0000 cxid 0x17 multi 5 parts",
            "    create /multi 1 bytes \"m\" acl world:anyone:cdrwa",
            "    create2 /multi/x 1 bytes \"1\" acl world:anyone:cdrwa",
            "    setData /a 7 bytes \"changed\" version 1",
            "    check /a version 2",
            "    delete /multi/x",
            "0x19 2026-11-21T20:30:13.271Z session 0x1000017b5dd0000 cxid 0x18 multi 3 parts",
            "    create /never 0 bytes \"\" acl world:anyone:cdrwa",
            "    error -103 BadVersion",
            "    error -2 RuntimeInconsistency",
            "0x1a 2026-11-21T20:30:13.273Z session 0x1000017b5dd0000 cxid 0x19 error -101 NoNode",
        ]
    );
    assert_eq!(said.err, "3 of 39 transactions in 1 file, 0x1 to 0x27\n");
}

#[test]
fn filters_choose_by_node_session_zxid_and_time() {
    let dir = golden("standalone-3.9.5").join("data");
    let all = zabra(&["log", "-o", "json", text(&dir)]).documents();
    let of = |arguments: &[&str]| {
        let said = zabra(&[&["log", "-o", "json", text(&dir)], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.documents()
    };
    let zxids = |lines: Vec<Value>| -> Vec<String> {
        lines
            .iter()
            .map(|line| line["zxid"].as_str().unwrap().to_owned())
            .collect()
    };
    // A part of a multi and an ephemeral node that goes with its session count.
    assert_eq!(zxids(of(&["--path", "/multi"])), ["0x18"]);
    assert!(zxids(of(&["--path", "/gone"])).contains(&"0x26".to_owned()));
    assert!(of(&["--path", "/a", "--path", "/cont"]).len() > of(&["--path", "/a"]).len());
    let owner = "0x1000017b5dd0002";
    let wanted = all.iter().filter(|line| line["session"] == owner).count();
    assert!(wanted > 1 && of(&["--session", owner]).len() == wanted);
    assert_eq!(of(&["--from", "0x28", "--to", "0x2b"]).len(), 4);
    let at = all[10]["time"].as_i64().unwrap();
    let wanted = all
        .iter()
        .filter(|line| line["time"].as_i64().unwrap() <= at)
        .count();
    assert_eq!(of(&["--until", &at.to_string()]).len(), wanted);
    assert_eq!(of(&["--since", "2026-11-21T20:31"]).len(), 0);
    assert_eq!(
        of(&["--since", "2026-11-21T20:30:13.000Z"]).len(),
        all.len()
    );
}

#[test]
fn what_is_damaged_is_told_with_its_byte_and_the_rest_is_printed() {
    let dir = copy("standalone-3.9.5");
    let log = dir.path().join("version-2/log.46");
    // Inside the data of the entry at byte 656.
    damage(&log, 656 + 70);
    let said = zabra(&["log", text(&log)]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(
        said.err.contains("log.46: byte 656: its checksum is wrong"),
        "{}",
        said.err
    );
    assert!(said.out.contains("\nDAMAGED 0x4e "), "{}", said.out);
    assert_eq!(said.out.lines().count(), 16);
    let said = zabra(&["log", "-o", "json", text(&log)]);
    let damaged: Vec<_> = said
        .documents()
        .into_iter()
        .filter(|line| line.get("damage").is_some())
        .collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(
        (&damaged[0]["offset"], &damaged[0]["zxid"]),
        (&json!(656), &json!("0x4e"))
    );
    // Nothing of an entry is left to be seen, and those behind it are found.
    let mut bytes = fs::read(&log).unwrap();
    bytes[656..700].fill(0);
    fs::write(&log, bytes).unwrap();
    let said = zabra(&["log", "-o", "json", text(&log)]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert_eq!(
        said.documents()
            .iter()
            .filter(|line| line.get("zxid").is_some())
            .count(),
        15
    );
    assert!(
        said.err.contains("byte 656") && said.err.contains("can be read again from byte 736 on"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("after zxid 0x4d comes 0x4f"),
        "{}",
        said.err
    );
}

#[test]
fn a_file_that_is_no_log_is_told_and_a_cut_off_end_is_no_damage() {
    let dir = copy("standalone-3.9.5");
    let version_2 = dir.path().join("version-2");
    let said = zabra(&["log", text(&version_2.join("snapshot.44"))]);
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("snapshot.44: not a transaction log file"),
        "{}",
        said.err
    );
    let said = zabra(&["log", text(&version_2.join("log.99"))]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("log.99"), "{}", said.err);
    let said = zabra(&["log", dir.path().join("none").to_str().unwrap()]);
    assert_eq!(said.code, 3, "{}", said.err);
    fs::create_dir(dir.path().join("empty")).unwrap();
    let said = zabra(&["log", dir.path().join("empty").to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("no transaction logs are here"),
        "{}",
        said.err
    );
    let log = version_2.join("log.46");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..1300]).unwrap();
    let said = zabra(&["log", text(&log)]);
    assert_eq!((said.code, said.out.lines().count()), (0, 15));
    assert!(said.err.contains("ends at byte 1251 with"), "{}", said.err);
}

#[test]
fn a_repair_asks_and_writes_a_copy_that_is_whole() {
    let dir = copy("standalone-3.9.5");
    let version_2 = dir.path().join("version-2");
    let (log, fixed) = (version_2.join("log.46"), version_2.join("log.46.fixed"));
    let repair = |arguments: &[&str], input: &str| {
        answered(
            &[&["log", "--repair", text(&log)], arguments].concat(),
            input,
        )
    };
    let before = names(&version_2);
    let said = repair(&[], "");
    assert_eq!(said.code, 0);
    assert!(
        said.out.contains("nothing is damaged; no copy was made"),
        "{}",
        said.out
    );
    damage(&log, 656 + 70);
    let damaged = fs::read(&log).unwrap();
    for (input, words) in [
        ("", "nobody answers"),
        ("maybe\nabort\n", "nothing was written"),
    ] {
        let said = repair(&[], input);
        assert_eq!(said.code, 1);
        assert!(said.err.contains(words), "{}", said.err);
        assert!(said.out.contains("0x4e"), "{}", said.out);
        assert_eq!(names(&version_2), before);
    }
    let said = repair(&[], "no\n");
    assert_eq!(
        (said.code, zabra(&["log", text(&fixed)]).code),
        (3, 3),
        "{}",
        said.out
    );
    fs::remove_file(&fixed).unwrap();
    assert_eq!(repair(&[], "yes\n").code, 0);
    let said = repair(&[], "yes\n");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("log.46.fixed: is there already"),
        "{}",
        said.err
    );
    let said = zabra(&["log", text(&fixed)]);
    assert_eq!(
        (said.code, said.out.lines().count()),
        (0, 16),
        "{}",
        said.err
    );
    assert_eq!(fs::read(&log).unwrap(), damaged);
    fs::remove_file(&fixed).unwrap();
    assert_eq!(repair(&["-y"], "").code, 0);
    assert_eq!(zabra(&["log", text(&fixed)]).code, 0);
}

#[test]
fn a_length_is_repaired_for_certain_and_what_is_gone_is_not_made_up() {
    let dir = copy("standalone-3.9.5");
    let version_2 = dir.path().join("version-2");
    let (log, fixed) = (version_2.join("log.46"), version_2.join("log.46.fixed"));
    let whole = fs::read(&log).unwrap();
    for (at, bit) in [(656 + 10, 1), (656 + 11, 2), (656 + 8, 0x40)] {
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        fs::write(&log, bytes).unwrap();
        assert_eq!(zabra(&["log", text(&log)]).code, 3);
        let said = zabra(&["log", "--repair", text(&log)]);
        assert_eq!(said.code, 0, "{at}: {}{}", said.out, said.err);
        assert_eq!(fs::read(&fixed).unwrap(), whole[..1358], "{at}");
        fs::remove_file(&fixed).unwrap();
    }
    let mut bytes = whole.clone();
    bytes[656..700].fill(7);
    fs::write(&log, bytes).unwrap();
    let before = names(&version_2);
    let said = zabra(&["log", "--repair", "--yes", text(&log)]);
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("byte 656") && said.err.contains("--chop"),
        "{}",
        said.err
    );
    assert_eq!(names(&version_2), before);
    // All before it can be had.
    let said = zabra(&["log", "--chop", "0x4d", text(&log)]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        fs::read(version_2.join("log.46.chopped77")).unwrap(),
        whole[..656]
    );
    let said = zabra(&["log", "--chop", "0x50", text(&log)]);
    assert_eq!(said.code, 3, "{}", said.err);
    let said = zabra(&["log", "--chop", "0x1", text(&log)]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert_eq!(names(&version_2).len(), before.len() + 1);
}

/// Our own: a server refuses a damaged log, and starts on the repaired copy with everything.
#[test]
fn a_server_starts_again_on_a_repaired_log() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut client = cluster.client(0);
    client.create("/a", 0).unwrap().unwrap();
    for n in 0..20 {
        client
            .call(&set("/a", &format!("value {n}")))
            .unwrap()
            .unwrap();
    }
    // Orderly: then the server knows how far its log was on the disk.
    cluster.signal(0, "TERM");
    wait_for("an orderly end", || (!cluster.is_running(0)).then_some(()));
    let version_2 = cluster.data(0).join("version-2");
    let log = version_2.join("log.100000001");
    let lines = zabra(&["log", "-o", "json", text(&log)]).documents();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        (kinds[0], kinds[1], kinds[2], kinds.len()),
        ("createSession", "create", "setData", 22)
    );
    // The length of the tenth one.
    let offset = usize::try_from(lines[10]["offset"].as_u64().unwrap()).unwrap();
    damage(&log, offset + 11);
    cluster.start(0);
    wait_for("a start that is refused", || {
        (!cluster.is_running(0)).then_some(())
    });
    assert_eq!(zabra(&["log", "--repair", text(&log)]).code, 0);
    fs::rename(version_2.join("log.100000001.fixed"), &log).unwrap();
    cluster.start(0);
    cluster.wait_serving(&[0]);
    assert_eq!(cluster.client(0).get("/a").unwrap(), "value 19");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.1");
    let mut bytes = HEADER.to_vec();
    for zxid in 1..20_000_u64 {
        let mut payload = [0; 36];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        payload[28..32].copy_from_slice(&(-1_i32).to_be_bytes());
        encode_entry(&payload, &mut bytes);
    }
    fs::write(&log, bytes).unwrap();
    let script = format!(
        "({} log {}; echo code $? >&2) | head -n 1",
        env!("CARGO_BIN_EXE_zabra"),
        quoted(&log)
    );
    let done = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "code 0\n");
    assert!(
        String::from_utf8_lossy(&done.stdout)
            .starts_with("0x1 1970-01-01T00:00:00.000Z session 0x0 ")
    );
}

fn quoted(path: &Path) -> String {
    format!("'{}'", text(path))
}
