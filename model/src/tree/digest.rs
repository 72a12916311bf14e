//! The digest of a tree: ZooKeeper's check that two servers hold the same nodes.

use super::image::{ImageNode, Nodes};

/// The version of the digest below, as logs and snapshots name it.
pub const DIGEST_VERSION: i32 = 2;

/// The sum of all nodes' digests.
///
/// Source: ZooKeeper `DigestCalculator`; the same on every server, whatever the order of nodes.
#[must_use]
pub fn digest(nodes: Nodes<'_>) -> u64 {
    nodes.fold(0, |sum, node| {
        sum.wrapping_add(u64::from(node_digest(&node)))
    })
}

/// One node's part. What lies below `/zookeeper/` counts nothing: servers differ there without being wrong.
#[must_use]
pub fn node_digest(node: &ImageNode<'_>) -> u32 {
    if node.path.starts_with("/zookeeper/") {
        return 0;
    }
    let stat = &node.stat;
    let mut crc = crc32(u32::MAX, node.path.as_bytes());
    crc = crc32(crc, node.data.unwrap_or_default());
    for zxid in [stat.czxid, stat.mzxid, stat.pzxid] {
        crc = crc32(crc, &zxid.0.to_be_bytes());
    }
    for time in [stat.ctime, stat.mtime] {
        crc = crc32(crc, &time.to_be_bytes());
    }
    for version in [stat.version, stat.cversion, stat.aversion] {
        crc = crc32(crc, &version.to_be_bytes());
    }
    !crc32(crc, &stat.ephemeral_owner.to_be_bytes())
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        let place = usize::from(crc.to_le_bytes()[0] ^ byte);
        TABLE.get(place).copied().unwrap_or_default() ^ (crc >> 8)
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
}
