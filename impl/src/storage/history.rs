//! Proposals from the log files, for learners that need more than is in memory.

use super::disk::Disk;
use super::txn_log::reader::LogReader;
use std::io;
use std::path::Path;
use zabra_model::ids::Zxid;

/// Gives the transactions in `(after, upto]` to `take`, in order, until that says that nobody wants more.
///
/// # Errors
/// If the files in `dir` cannot be read, or do not hold all of them: perhaps somebody has deleted old ones.
pub fn read<D: Disk>(
    disk: &D,
    dir: &Path,
    after: Zxid,
    upto: Zxid,
    take: &mut dyn FnMut(Zxid, &[u8]) -> bool,
) -> io::Result<()> {
    let mut reader = LogReader::range(disk, dir, after, upto).map_err(io::Error::other)?;
    while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
        if !take(entry.zxid, &entry.payload) {
            return Ok(());
        }
    }
    if reader.last() < upto {
        return Err(io::Error::other(format!(
            "the logs in {} end at {}",
            dir.display(),
            reader.last()
        )));
    }
    Ok(())
}
