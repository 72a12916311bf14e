//! What lies in files: the configuration, logs, snapshots, transactions, what the flight recorder has kept.

use super::golden::folder;
use crate::sim::disk::SimDisk;
use bytes::{Bytes, BytesMut};
use std::path::{Path, PathBuf};
use zabra::config::check::{load_arguments, read_with};
use zabra::config::file::{Lines, decode, parse, parse_dynamic};
use zabra::config::jaas;
use zabra::config::settings::Given;
use zabra::storage::disk::{Disk, DiskFile};
use zabra::storage::flight::{Segments, frames};
use zabra::storage::snapshot::{self, path_of};
use zabra::storage::txn_log::reader::LogFile;
use zabra::wire::cursor::AclMemo;
use zabra::wire::snapshot::tree::TreeSink;
use zabra::wire::txn::{put_txn, read_lent_txn, read_txn};
use zabra_model::durable::Durable;
use zabra_model::ensemble::Ensemble;
use zabra_model::flight::{Brief, Chunk, Limits, Moment, Recorder, read};
use zabra_model::ids::{Epoch, ServerId, Zxid};
use zabra_model::peer::Peer;
use zabra_model::quorum::Voters;
use zabra_model::step::{Effects, Env, Input, Link, SyncLimits, Timer};
use zabra_model::switch::Switches;

/// The text of a `zoo.cfg`, and of a file of members. Behind a zero there are what else a start is given: flags for a virtual machine,
/// then on each line an argument, or a variable.
pub fn configuration(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = decode(parts.next().unwrap_or_default());
    let given = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let _ = parse(&text);
    let _ = parse_dynamic(&text, &mut Lines::default());
    // Files that are named are read, and devices never end.
    let is_tame = |text: &str| !["/dev", "/proc", "\\"].iter().any(|w| text.contains(w));
    if !is_tame(&text) || !is_tame(&given) {
        return;
    }
    let (flags, lines) = given.split_once('\n').unwrap_or((&*given, ""));
    let (variables, arguments): (Vec<&str>, Vec<&str>) =
        lines.lines().partition(|line| line.starts_with('Z'));
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let variables = variables.iter().map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (name.into(), value.into())
    });
    let variables = variables.chain([("JVMFLAGS".into(), flags.into())]);
    if let Ok(given) = Given::read(&arguments, variables) {
        let _ = read_with(Path::new("/nowhere/zoo.cfg"), &text, &given);
        let _ = given.told();
        // What `zabra serve` takes in place of a file.
        if let 2..=4 = arguments.len() {
            let _ = load_arguments(&arguments, &given);
        }
    }
}

/// The text of a JAAS file.
pub fn jaas(data: &[u8]) {
    for section in jaas::parse(&decode(data)).into_iter().flatten() {
        let _ = jaas::digest_users(&section);
    }
}

/// The bytes of a transaction as they stand in logs and PROPOSALs.
///
/// # Panics
/// If it is read back as another one.
pub fn transaction(data: &[u8]) {
    let lent = read_lent_txn(data, &mut AclMemo::default());
    let kept = read_txn(&Bytes::copy_from_slice(data));
    assert_eq!(
        lent.as_ref().map(|read| read.header),
        kept.as_ref().map(|read| read.header),
        "a payload is read in one way only"
    );
    let Ok(read) = kept else {
        return;
    };
    let mut out = BytesMut::new();
    put_txn(&read.header, &read.txn, read.digest, &mut out);
    let again = read_txn(&out.freeze());
    assert_eq!(
        again.map(|again| (again.header, again.txn)),
        Ok((read.header, read.txn))
    );
}

/// A log's file, as the newest and as one before it.
pub fn log(data: &[u8]) {
    for newest in [true, false] {
        if let Ok(mut file) = LogFile::new(data, Path::new("log.1"), newest) {
            let mut last = Zxid(0);
            while let Ok(Some(entry)) = file.next_entry() {
                last = entry.zxid;
            }
            let _ = file.entry_behind_end(last);
        }
    }
}

/// A snapshot's file.
///
/// # Panics
/// If a disk in memory fails.
pub fn snapshot(data: &[u8]) {
    let disk = SimDisk::new(1);
    let dir = PathBuf::from("/sim/version-2");
    let path = path_of(&dir, Zxid(5));
    let written = disk
        .create_dir(&dir)
        .and_then(|()| disk.create(&path))
        .and_then(|mut file| file.write_at(0, data));
    assert!(written.is_ok());
    let mut sink = TreeSink::default();
    if snapshot::read(&disk, &path, Zxid(5), &mut sink).is_ok() {
        let _ = sink.finish(Zxid(5));
    }
}

/// The files of the captured data directories whose names begin so, cut after their last byte that says something.
fn good(prefix: &str) -> Vec<Vec<u8>> {
    let directories = std::fs::read_dir(folder().join("data"))
        .into_iter()
        .flatten()
        .flatten();
    let mut all: Vec<Vec<u8>> = directories
        .flat_map(|directory| {
            let files = std::fs::read_dir(directory.path().join("data/version-2"));
            files.into_iter().flatten().flatten().collect::<Vec<_>>()
        })
        .filter(|file| file.file_name().to_string_lossy().starts_with(prefix))
        .filter_map(|file| std::fs::read(file.path()).ok())
        .map(|mut bytes| {
            let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            bytes.truncate(bytes.len() - zeros.saturating_sub(8));
            bytes
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Captured logs.
#[must_use]
pub fn good_logs() -> Vec<Vec<u8>> {
    good("log.")
}

/// Captured snapshots.
#[must_use]
pub fn good_snapshots() -> Vec<Vec<u8>> {
    good("snapshot.")
}

/// The transactions of the captured logs.
#[must_use]
pub fn good_transactions() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for log in good_logs() {
        if let Ok(mut file) = LogFile::new(&log[..], Path::new("log.1"), true) {
            while let Ok(Some(entry)) = file.next_entry() {
                all.push(entry.payload.to_vec());
            }
        }
    }
    all
}

/// Files as Java's documentation has them.
#[must_use]
pub fn good_jaas() -> Vec<Vec<u8>> {
    let digest = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    let all = [
        format!("Server {{\n  {digest}\n  user_super=\"adminsecret\"\n  user_bob=\"b \\\"s\\101\";\n}};\n"),
        format!("/* of\n two */ Server {{ {digest} user_a=b; }};\nQuorumServer {{ {digest} user_c='d'; }};\n// end"),
        "Server { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"/k\" principal=\"zookeeper/host@REALM\"; };".to_owned(),
    ];
    all.map(String::into_bytes).into()
}

/// The configurations that tests start servers from.
#[must_use]
pub fn good_configurations() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../impl/tests/configs");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> = files
        .filter_map(|file| std::fs::read(file.path()).ok())
        .collect();
    all.sort();
    let given = "\0-Xmx1g -Dzookeeper.snapCount=5 -DtickTime=x\nzookeeper.jute.maxbuffer=7\nZABRA_CFG_TICK_TIME=9\n2181\n/d";
    all.push(
        [
            all.first().map_or(&b""[..], Vec::as_slice),
            given.as_bytes(),
        ]
        .concat(),
    );
    all
}

/// The bytes of `zabra.flight`, and those of a segment.
///
/// # Panics
/// If segments that were written again are read back as others.
pub fn flight(data: &[u8]) {
    let _ = read(data);
    let mut segments = Segments::default();
    segments.read(data);
    let chunk = |((server, life, segment), bytes): (&(ServerId, u64, u32), &Vec<u8>)| Chunk {
        server: *server,
        life: *life,
        segment: *segment,
        offset: 0,
        bytes: bytes.clone(),
    };
    let all = segments
        .all
        .iter()
        .map(|(name, found)| (name, &found.bytes));
    let all: Vec<Chunk> = all.map(chunk).collect();
    let mut again = Segments::default();
    again.read(&frames(&all));
    for (name, found) in &segments.all {
        let _ = read(&found.bytes);
        assert_eq!(again.all[name].bytes, found.bytes);
    }
}

/// A file of some steps, and their segment.
///
/// # Panics
/// Never: two voters are an ensemble.
#[must_use]
pub fn good_flights() -> Vec<Vec<u8>> {
    let env = Env {
        me: ServerId(1),
        observer: false,
        switches: Switches::default(),
        epoch_max: Epoch(u32::MAX),
        counter_max: u32::MAX - 1,
        ack_ticks_max: 4,
        sync: SyncLimits::NONE,
    };
    let voters = Voters::new(&[ServerId(1), ServerId(2)]).expect("two voters");
    let (found, ensemble, at) = (Durable::default(), Ensemble::of(voters), Moment::default());
    let mut recorder = Recorder::new(Limits {
        segment_bytes: 1 << 16,
        segments: 2,
    });
    recorder.boots(at, &env, &found, &ensemble);
    let mut effects: Effects<Brief> = Vec::new();
    let mut peer = Peer::boot(&env, found, ensemble, &mut effects);
    recorder.ends(&effects);
    for input in [
        Input::Fired(Timer::Resend),
        Input::Linked(Link(3)),
        Input::Unlinked(Link(3)),
        Input::Fired(Timer::Tick),
    ] {
        effects.clear();
        recorder.begins(at, &env, &peer, &input);
        peer.step(&env, input, &mut effects);
        recorder.ends(&effects);
    }
    let all = recorder.all();
    vec![frames(&all), all[0].bytes.clone()]
}
