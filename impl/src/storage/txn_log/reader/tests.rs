//! Where a file ends, how that end looks, and what is damage.

use super::super::encode_entry;
use super::*;
use std::io::Cursor;

fn payload(zxid: u64, bytes: usize, fill: u8) -> Vec<u8> {
    let mut payload = vec![fill; bytes.max(32)];
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    payload
}

fn read(bytes: &[u8], newest: bool) -> (Vec<u64>, Result<Option<TornTail>>) {
    let mut seen = Vec::new();
    let mut file = match LogFile::new(Cursor::new(bytes), Path::new("log.1"), newest) {
        Ok(file) => file,
        Err(e) => return (seen, Err(e)),
    };
    loop {
        match file.next_entry() {
            Ok(Some(entry)) => seen.push(entry.zxid.0),
            Ok(None) => return (seen, Ok(file.torn().cloned())),
            Err(e) => return (seen, Err(e)),
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_or_zeroed_from_any_byte_gives_the_whole_entries_before_it() {
    let mut log = HEADER.to_vec();
    let mut ends = vec![];
    for (zxid, bytes) in [(1, 40), (2, 700), (3, 33), (4, 1500), (5, 90)] {
        encode_entry(&payload(zxid, bytes, 7), &mut log);
        ends.push(log.len());
    }
    for cut in HEADER_BYTES..=log.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        let mut zeroed = log.clone();
        zeroed[cut..].fill(0);
        zeroed.extend_from_slice(&[0; 100]);
        for (bytes, name) in [(&log[..cut], "cut"), (&zeroed, "zeroed")] {
            let (seen, torn) = read(bytes, true);
            assert_eq!(seen, (1..=whole).collect::<Vec<_>>(), "{name} at {cut}");
            let torn = torn.unwrap_or_else(|e| panic!("{name} at {cut}: {e}"));
            if ends.contains(&cut) {
                assert_eq!(torn, None, "{name} at {cut}");
            }
        }
    }
}

#[test]
fn a_lost_sector_is_torn_in_the_newest_file_and_damage_elsewhere() {
    let mut log = HEADER.to_vec();
    encode_entry(&payload(1, 40, 7), &mut log);
    encode_entry(&payload(2, 3000, 7), &mut log);
    encode_entry(&payload(3, 3000, 7), &mut log);
    for sector in 0..log.len() / 512 {
        let mut image = log.clone();
        image[sector * 512..][..512].fill(0);
        image[..HEADER_BYTES].copy_from_slice(&HEADER);
        let (seen, torn) = read(&image, true);
        assert!(seen.len() < 3 && torn.is_ok(), "{sector}: {torn:?}");
    }
    let mut image = log.clone();
    image[1024..1536].fill(0);
    assert!(matches!(
        read(&image, false).1,
        Err(StorageError::DamagedEntry { .. })
    ));
    let mut image = log;
    image[1024] ^= 1;
    assert!(matches!(
        read(&image, true).1,
        Err(StorageError::DamagedEntry { offset: 69, .. })
    ));
}

#[test]
fn a_header_that_never_arrived_ends_the_newest_file_only() {
    for content in [&b""[..], &HEADER[..7], &[0; 5000]] {
        let (seen, torn) = read(content, true);
        assert!(seen.is_empty() && torn.unwrap().is_some());
        assert!(matches!(
            read(content, false).1,
            Err(StorageError::BadHeader { .. })
        ));
    }
    let mut late = [0; 5000];
    late[4999] = 1;
    assert!(matches!(
        read(&late, true).1,
        Err(StorageError::BadHeader { .. })
    ));
    assert!(matches!(
        read(b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0", true).1,
        Err(StorageError::BadHeader { .. })
    ));
}

#[test]
fn impossible_lengths_are_damage() {
    for length in [-1_i32, PAYLOAD_BYTES_MAX as i32 + 1, 31] {
        let mut log = HEADER.to_vec();
        let body = [1; 40];
        encode_entry(
            &body[..usize::try_from(length).unwrap_or(40).min(40)],
            &mut log,
        );
        log[24..28].copy_from_slice(&length.to_be_bytes());
        assert!(
            matches!(read(&log, true).1, Err(StorageError::DamagedEntry { .. })),
            "{length}"
        );
    }
}

/// C-24: entries may be as long as 128 MiB, and a length that is damage is found all the same, without memory for it.
#[test]
fn c_24_a_length_that_is_damage_is_found_by_the_checksum_and_takes_no_memory() {
    let mut log = HEADER.to_vec();
    encode_entry(&payload(1, 40, 7), &mut log);
    let last = log.len();
    encode_entry(&payload(2, 700, b'B'), &mut log);
    log.resize(1 << 20, 0);
    assert_eq!(read(&log, true).0, [1, 2]);
    for bit in 10..27 {
        let mut image = log.clone();
        let head = u32::from_be_bytes(image[last + 8..last + 12].try_into().unwrap());
        image[last + 8..last + 12].copy_from_slice(&(head | 1 << bit).to_be_bytes());
        for content in [&image[..], &image[..last + 720]] {
            let path = Path::new("log.1");
            let mut file = LogFile::new(Cursor::new(content), path, true).unwrap();
            assert_eq!(file.next_entry().unwrap().unwrap().zxid.0, 1);
            let found = file.next_entry();
            assert!(
                matches!(found, Err(StorageError::DamagedEntry { .. })),
                "{bit}: {found:?}"
            );
            assert!(file.buffer.capacity() <= 4 << 20, "{bit}");
        }
    }
    let mut image = log;
    image[last + 3] = 1;
    let found = read(&image, true).1;
    assert!(matches!(found, Err(StorageError::DamagedEntry { .. })));
}

/// C-24: a log of a server with a larger `jute.maxbuffer` is read.
#[test]
fn c_24_entries_above_two_mebibytes_are_read() {
    let mut log = HEADER.to_vec();
    encode_entry(&payload(1, 3_000_000, 7), &mut log);
    encode_entry(&payload(2, 12_000_000, 7), &mut log);
    let (seen, torn) = read(&log, false);
    assert_eq!((seen, torn.unwrap()), (vec![1, 2], None));
}

#[test]
fn a_hole_is_refused_and_a_range_ends_where_asked() {
    let disk = super::super::super::recording::RecordingDisk::default();
    let dir = Path::new("d");
    let write = |name: &str, zxids: &[u64]| {
        let mut log = HEADER.to_vec();
        zxids
            .iter()
            .for_each(|z| encode_entry(&payload(*z, 40, 7), &mut log));
        disk.put(&dir.join(name), &log);
    };
    write("log.1", &[1, 2, 3]);
    write("log.4", &[4, 5]);
    let read = |after: u64, upto: u64| {
        let mut reader = LogReader::range(&disk, dir, Zxid(after), Zxid(upto)).unwrap();
        let mut seen = vec![];
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => seen.push(entry.zxid.0),
                Ok(None) => return Ok(seen),
                Err(e) => return Err(e),
            }
        }
    };
    assert_eq!(read(0, u64::MAX).unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 4).unwrap(), [3, 4]);
    assert_eq!(read(3, 9).unwrap(), [4, 5]);
    assert_eq!(read(4, 4).unwrap(), [0; 0]);
    write("log.4", &[5]);
    assert!(matches!(
        read(0, 9),
        Err(StorageError::Hole {
            after: Zxid(3),
            found: Zxid(5),
            ..
        })
    ));
    write("log.4", &[4, 3]);
    assert!(matches!(
        read(0, 9),
        Err(StorageError::Hole {
            after: Zxid(4),
            found: Zxid(3),
            ..
        })
    ));
}
