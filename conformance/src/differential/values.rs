//! What requests are made of: paths, data, versions, ACLs, each now and then one that is wrong.

use super::request::{Entry, PLACE};
use fastrand::Rng;

/// Few names, so that requests meet.
const NAMES: &[&str] = &["a", "b", "c"];
/// Paths that no server may take for good ones, and odd ones that it may. Left out are characters beyond the basic
/// plane, which ZooKeeper writes as six bytes (D-12), and bytes of a surrogate, of which it makes one replacement character (D-73).
const ODD_PATHS: &[&[u8]] = &[
    b"",
    b"a",
    b"//",
    b"/a/",
    b"/@@@@@@@@/",
    b"/@@@@@@@@//a",
    b"/@@@@@@@@/a/",
    b"/@@@@@@@@/.",
    b"/@@@@@@@@/..",
    b"/@@@@@@@@/./a",
    b"/@@@@@@@@/../a",
    b"/@@@@@@@@/...",
    b"/@@@@@@@@/.a",
    b"/@@@@@@@@/a\0",
    b"/@@@@@@@@/a\x01",
    b"/@@@@@@@@/a\x1f",
    b"/@@@@@@@@/a\x7f",
    b"/@@@@@@@@/a b",
    "/@@@@@@@@/\u{85}".as_bytes(),
    "/@@@@@@@@/\u{a0}".as_bytes(),
    "/@@@@@@@@/\u{e9}".as_bytes(),
    "/@@@@@@@@/\u{4e2d}".as_bytes(),
    "/@@@@@@@@/\u{d7ff}".as_bytes(),
    "/@@@@@@@@/\u{e000}".as_bytes(),
    "/@@@@@@@@/\u{f8ff}".as_bytes(),
    "/@@@@@@@@/\u{fff0}".as_bytes(),
    "/@@@@@@@@/\u{ffef}".as_bytes(),
    b"/@@@@@@@@/\xff",
    b"/@@@@@@@@/\xc3",
    b"/@@@@@@@@/\xc0\x80",
];
/// Nodes that are there from the start.
const GIVEN: &[&[u8]] = &[
    b"/",
    b"/zookeeper",
    b"/zookeeper/quota",
    CONFIG,
    b"/@@@@@@@@",
];
/// What an ensemble has in it names ports, which are each side's own.
pub const CONFIG: &[u8] = b"/zookeeper/config";

/// A path: mostly a good one, one to three levels below the episode's directory.
pub fn path(rng: &mut Rng) -> Option<Vec<u8>> {
    Some(match rng.u8(..) {
        0..2 => return None,
        2..10 => rng.choice(ODD_PATHS)?.to_vec(),
        10..18 => rng.choice(GIVEN)?.to_vec(),
        18 => long_path(rng),
        _ => good_path(rng),
    })
}

/// A good path that is longer or deeper than anybody needs.
fn long_path(rng: &mut Rng) -> Vec<u8> {
    let (part, count) = [("/a", 200), ("/a", 2000), ("n", 300), ("n", 20_000)][rng.usize(..4)];
    let begin = if part == "n" { "/" } else { "" };
    format!("{PLACE}{begin}{}", part.repeat(count)).into_bytes()
}

/// A path that is one.
pub fn good_path(rng: &mut Rng) -> Vec<u8> {
    let depth = [1, 1, 1, 1, 2, 2, 2, 3][rng.usize(..8)];
    let mut out = PLACE.to_owned();
    for _ in 0..depth {
        out.push('/');
        out.push_str(NAMES[rng.usize(..NAMES.len())]);
        // What a sequential create could have made.
        if rng.u8(..) < 16 {
            out.push_str(&format!("{:010}", rng.u8(..6)));
        }
    }
    out.into_bytes()
}

/// Data of a node; `None` is Jute's null.
pub fn data(rng: &mut Rng) -> Option<Vec<u8>> {
    match rng.u8(..16) {
        0 => None,
        1 => Some(vec![]),
        2 => Some(vec![b'x'; rng.usize(..3000)]),
        n => Some(vec![b'a' + n; usize::from(n)]),
    }
}

/// A version: what a node has, any, or nonsense.
pub fn version(rng: &mut Rng) -> i32 {
    match rng.u8(..16) {
        0..8 => -1,
        8..11 => 0,
        11 => 1,
        12 => 2,
        13 => -2,
        14 => i32::MAX,
        _ => i32::MIN,
    }
}

/// The flags of a create.
pub fn flags(rng: &mut Rng) -> i32 {
    match rng.u8(..32) {
        0..12 => 0,
        12..18 => 1,
        18..22 => 2,
        22..25 => 3,
        25 => 4,
        26 => 5,
        27 => 6,
        28 => 7,
        29 => -1,
        30 => 1 << 20,
        _ => i32::MIN,
    }
}

/// A time to live, ms: so long that nothing goes while a script runs, or nonsense.
pub fn ttl(rng: &mut Rng) -> i64 {
    match rng.u8(..12) {
        0 => 0,
        1 => -1,
        2 => 0xff_ffff_ffff,
        3 => 0x100_0000_0000,
        4 => i64::MIN,
        5 => i64::MAX,
        _ => 1_000_000_000,
    }
}

/// Everybody may do everything.
pub const EVERYBODY: Entry = entry(31, "world", "anyone");

/// user:secret, as the digest scheme keeps it.
const DIGEST: &str = "user:5w9W4eL3797Y4Wq8AcKUPPk8ha4=";

/// other:secret.
const OTHER: &str = "other:8q+cqA9FicvypK1WV0YuCD5XdXU=";

/// An ACL; mostly one that lets everybody do everything.
pub fn acl(rng: &mut Rng) -> Option<Vec<Entry>> {
    match rng.u8(..64) {
        0 => return None,
        1 => return Some(vec![]),
        2..48 => return Some(vec![EVERYBODY]),
        _ => {}
    }
    let count = rng.usize(1..4);
    Some((0..count).map(|_| any_entry(rng)).collect())
}

const fn entry(perms: i32, scheme: &'static str, id: &'static str) -> Entry {
    Entry {
        perms,
        scheme: Some(scheme),
        id: Some(id),
    }
}

fn any_entry(rng: &mut Rng) -> Entry {
    let perms = match rng.u8(..16) {
        0 => 0,
        1 => -1,
        2 => 32,
        3 => i32::MIN,
        4..10 => 31,
        _ => rng.i32(1..32),
    };
    let (scheme, id) = match rng.u8(..40) {
        0..5 => ("world", "anyone"),
        5..9 => ("auth", ""),
        9 => ("auth", "anybody"),
        10..13 => ("digest", DIGEST),
        13 => ("digest", "user"),
        14 => ("digest", "a:b:c"),
        15 => ("ip", "127.0.0.1"),
        16 => ("ip", "127.0.0.0/8"),
        17 => ("ip", "10.0.0.1/33"),
        18 => ("ip", "10.0.0.1"),
        19 => ("ip", "nowhere"),
        20 => ("world", "nobody"),
        21 => ("nothing", "x"),
        22 => ("", ""),
        23..25 => ("digest", OTHER),
        25..36 => {
            // Left out is `sasl`, which is stored here without a provider, too (D-55).
            const ODD: &[(&str, &str)] = &[
                ("digest", ""),
                ("digest", ":"),
                ("digest", "user:"),
                ("digest", "user:x:"),
                ("digest", ":x"),
                ("ip", "127.0.0.1/0"),
                ("ip", "127.0.0.1/32"),
                ("ip", "127.0.0.1/-1"),
                ("ip", "127.0.0.1/x"),
                ("ip", "127.0.0.1/8/8"),
                ("ip", "300.0.0.1"),
                ("ip", "127.0.0"),
                ("ip", "127.00.0.001"),
                ("ip", "+127.0.0.1"),
                ("ip", "127.0.0.1."),
                ("ip", "127.0.0.1/+8"),
                ("ip", "127.0.0.1/08"),
                ("ip", "127.0.0.1/"),
                ("ip", "::ffff:127.0.0.1"),
                ("ip", "1:2:3:4:5:6:7::"),
                ("ip", "::1%1"),
                ("ip", "::"),
                ("ip", "::1"),
                ("ip", "::1/64"),
                ("ip", ""),
                ("x509", "CN=a"),
                ("super", ""),
                ("ensemble", ""),
                ("world", ""),
                ("World", "anyone"),
                ("auth", "digest"),
            ];
            ODD[rng.usize(..ODD.len())]
        }
        _ => {
            return Entry {
                perms,
                scheme: [None, Some("world")][rng.usize(..2)],
                id: None,
            };
        }
    };
    entry(perms, scheme, id)
}

/// Scheme and proof of an identity, sound or not.
pub fn proof(rng: &mut Rng) -> (Option<&'static str>, Option<&'static [u8]>) {
    match rng.u8(..20) {
        16 => (Some("x509"), Some(b"CN=a")),
        17 => (Some("super"), Some(b"")),
        18 => (Some("ensemble"), Some(b"x")),
        19 => (Some("Digest"), Some(b"user:secret")),
        0..5 => (Some("digest"), Some(b"user:secret")),
        5..7 => (Some("digest"), Some(b"other:secret")),
        7 => (Some("digest"), Some(b"user")),
        8 => (Some("digest"), Some(b"")),
        9 => (Some("digest"), Some(b"a:b:c")),
        10 => (Some("digest"), None),
        11 => (Some("ip"), Some(b"127.0.0.1")),
        12 => (Some("world"), Some(b"anyone")),
        13 => (Some("nothing"), Some(b"x")),
        14 => (None, Some(b"x")),
        _ => (Some("digest"), Some(b":")),
    }
}
