//! A snapshot that has come from elsewhere becomes a tree.

use super::snapshot::read_stream;
use super::snapshot::tree::TreeSink;
use super::{Result, StorageError};
use std::io::Read;
use std::path::Path;
use zabra_model::ids::Zxid;
use zabra_model::tree::node::Tree;

/// See the module.
pub struct Received {
    /// Its tree, as of its newest change.
    pub tree: Tree,
    /// The newest change that it knows of.
    pub newest: Zxid,
}

/// Reads a whole snapshot, however it is compressed; `what` names it in errors. It is not held whole: the tree grows while it comes.
///
/// # Errors
/// [`StorageError::BadSnapshot`] for anything but a complete snapshot with nothing behind it, [`StorageError::Io`] of `from`.
pub fn receive(from: impl Read, what: &Path) -> Result<Received> {
    let mut sink = TreeSink::new();
    let facts = read_stream(from, what, &mut sink)?;
    // There is no name that would say a zxid.
    let digest = facts.digest.map(|(zxid, _)| zxid);
    let seen = [digest, facts.last].into_iter().flatten();
    let newest = seen.fold(facts.newest, Zxid::max);
    let tree = sink.finish(newest);
    let tree = tree.map_err(|e| StorageError::BadSnapshot {
        path: what.to_owned(),
        offset: 0,
        what: e.to_string(),
    })?;
    Ok(Received { tree, newest })
}

#[cfg(test)]
mod tests {
    use super::super::Dirs;
    use super::super::recording::RecordingDisk;
    use super::super::snapshot::{Form, Packing, read};
    use super::super::stage::stage;
    use super::*;

    #[test]
    fn a_snapshot_says_what_its_form_asks_for() {
        let (disk, dir) = (RecordingDisk::default(), Path::new("d"));
        let dirs = Dirs::new(dir, dir);
        let mut image = Tree::new().image();
        image.zxid = Zxid(9);
        for (says_digest, says_zxid) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let form = Form {
                packing: Packing::Plain,
                says_digest,
                says_zxid,
            };
            let staged = stage(&disk, &dirs, &image, form).unwrap();
            let path = staged.publish(&disk).unwrap();
            let facts = read(&disk, &path, Zxid(9), &mut TreeSink::new()).unwrap();
            // That of a fresh tree of ZooKeeper's.
            let digest = says_digest.then_some((Zxid(9), 0x51c6_d660));
            assert_eq!(facts.digest, digest);
            assert_eq!(facts.last, says_zxid.then_some(Zxid(9)));
            let bytes = disk.files().remove(&path).unwrap();
            let received = receive(&*bytes, Path::new("the body")).unwrap();
            assert_eq!(received.tree.len(), image.nodes().count());
            let newest = if says_digest || says_zxid { 9 } else { 0 };
            assert_eq!(received.newest, Zxid(newest));
        }
    }
}
