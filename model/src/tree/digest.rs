//! The digest of a tree: ZooKeeper's check that two servers hold the same nodes.

use super::image::Nodes;
use super::stat::StatPersisted;

/// The version of the digest below, as logs and snapshots name it.
pub const DIGEST_VERSION: i32 = 2;

/// The sum of all nodes' digests.
///
/// Source: ZooKeeper `DigestCalculator`; the same on every server, whatever the order of nodes.
#[must_use]
pub fn digest(nodes: Nodes<'_>) -> u64 {
    nodes.fold(0, |sum, node| {
        sum.wrapping_add(node_digest(node.path, node.data, &node.stat))
    })
}

/// One node's part of the sum, 32 bits. What lies below `/zookeeper/` counts nothing: servers differ there without being wrong.
#[must_use]
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let crc = crc32(u32::MAX, path.as_bytes());
    let crc = crc32(crc, data.unwrap_or_default());
    u64::from(!crc32(crc, &bytes_of(stat)))
}

/// As they count.
fn bytes_of(stat: &StatPersisted) -> [u8; 60] {
    let mut bytes = [0; 60];
    let mut rest = bytes.as_mut_slice();
    let mut put = |field: &[u8]| {
        if let Some((here, behind)) = core::mem::take(&mut rest).split_at_mut_checked(field.len()) {
            here.copy_from_slice(field);
            rest = behind;
        }
    };
    for zxid in [stat.czxid, stat.mzxid, stat.pzxid] {
        put(&zxid.0.to_be_bytes());
    }
    for time in [stat.ctime, stat.mtime] {
        put(&time.to_be_bytes());
    }
    for version in [stat.version, stat.cversion, stat.aversion] {
        put(&version.to_be_bytes());
    }
    put(&stat.ephemeral_owner.to_be_bytes());
    bytes
}

/// Bytes that are taken at once.
const STRIDE: usize = 8;

/// What a byte comes to that has so many others behind it.
const TABLES: [[u32; 256]; STRIDE] = {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 * STRIDE {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
            if bit % 8 == 0 {
                tables[bit / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    tables
};

/// The checksum of gzip, eight bytes a step: trees are large, and each snapshot sums all of one.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let crc = strides.iter().fold(crc, |crc, &[a, b, c, d, e, f, g, h]| {
        let [p, q, r, s] = crc.to_le_bytes();
        let ahead = [a ^ p, b ^ q, c ^ r, d ^ s, e, f, g, h];
        let parts = ahead.into_iter().zip(TABLES.iter().rev());
        parts.fold(0, |sum, (byte, table)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| {
        TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::super::node::Tree;
    use super::*;

    #[test]
    fn the_digest_of_a_fresh_tree_is_zookeepers() {
        assert_eq!(!crc32(u32::MAX, b"123456789"), 0xcbf4_3926);
        assert_eq!(digest(Tree::new().nodes()), 0x51c6_d660);
    }

    /// Against the sum bit by bit.
    #[test]
    fn the_checksum_is_right_whatever_the_length() {
        let bytes: alloc::vec::Vec<u8> = (0..100_u8).map(|n| n.wrapping_mul(73) ^ 0x5a).collect();
        for from in 0..9 {
            for upto in from..bytes.len() {
                let part = &bytes[from..upto];
                let slow = part.iter().fold(u32::MAX, |crc, byte| {
                    (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                        (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
                    })
                });
                assert_eq!(crc32(u32::MAX, part), slow, "{from}..{upto}");
            }
        }
    }
}
