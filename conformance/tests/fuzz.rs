//! Each decoder, and a whole server, with good input and with damaged copies of it: bits that flip, bytes that go, come and are
//! doubled, lengths that lie, pieces of other inputs. `ZABRA_FUZZ_ROUNDS` (400) says how many copies each function gets, `ZABRA_SEED`
//! repeats a run; `cargo xtask fuzz` searches further, guided by coverage.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use fastrand::Rng;
use std::panic::catch_unwind;
use zabra_conformance::fuzz::{TARGETS, Target};

/// Numbers that lie: as lengths, counts and versions.
const NUMBERS: [i32; 8] = [-1, 0, 1, 127, 0x7fff, 0xf_ffff, i32::MAX, i32::MIN];
/// A damaged copy is not longer.
const BYTES_MAX: usize = 64 << 10;

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn damage(good: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = good[rng.usize(..good.len())].clone();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.u8(..)),
            4 if at + 4 <= bytes.len() => {
                let number = NUMBERS[rng.usize(..NUMBERS.len())];
                bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            5 => {
                let other = &good[rng.usize(..good.len())];
                let from = rng.usize(..=other.len());
                let to = rng.usize(from..=other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let end = rng.usize(at..=bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

#[test]
fn neither_good_nor_damaged_bytes_do_what_must_not_be() {
    let seed = number("ZABRA_SEED", fastrand::u64(..1 << 48));
    let rounds = number("ZABRA_FUZZ_ROUNDS", 400);
    println!("ZABRA_SEED={seed}");
    for Target { name, run, good } in TARGETS {
        let good = good();
        assert!(!good.is_empty(), "{name} has no good input");
        let mut rng = Rng::with_seed(seed);
        let damaged = (0..rounds).map(|_| damage(&good, &mut rng));
        let few = good.iter().take(200).cloned();
        for bytes in few.chain(damaged) {
            if catch_unwind(|| run(&bytes)).is_err() {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                panic!("{name}, ZABRA_SEED={seed}: {hex}");
            }
        }
    }
}

#[test]
fn every_function_has_a_file_for_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut names: Vec<String> = TARGETS
        .iter()
        .map(|target| format!("{}.rs", target.name))
        .collect();
    names.sort();
    assert_eq!(files, names);
}
