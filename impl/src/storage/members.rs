//! The file `zabra.members`: the list of members that was activated last.
//!
//! The files of members beside `zoo.cfg` tell operators and ZooKeeper the same, but may lie where this server cannot write. What binds
//! a server lies with its data, in the one order of all writes.

use super::disk::Disk;
use super::{Dirs, Result, StorageError};
use zabra_model::service::members::Members;

/// Its name.
pub const MEMBERS: &str = "zabra.members";

/// Replaces the file, durably.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write<D: Disk>(disk: &D, dirs: &Dirs, text: &str) -> Result<()> {
    disk.replace_small(&dirs.snap.join(MEMBERS), text.as_bytes())
}

/// Reads it; `None` if there is none.
///
/// # Errors
/// [`StorageError::BadMembers`], [`StorageError::Io`].
pub fn read<D: Disk>(disk: &D, dirs: &Dirs) -> Result<Option<Members>> {
    let path = dirs.snap.join(MEMBERS);
    let Some(content) = disk.read_small(&path)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&content).map_err(|e| e.to_string());
    let read = text.and_then(Members::parse);
    read.map(Some)
        .map_err(|what| StorageError::BadMembers { path, what })
}

#[cfg(test)]
mod tests {
    use super::super::recording::RecordingDisk;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_list_is_read_back_and_a_damaged_one_refused() {
        let (disk, dirs) = (
            RecordingDisk::default(),
            Dirs::new(Path::new("d"), Path::new("d")),
        );
        disk.create_dir(&dirs.snap).unwrap();
        assert_eq!(read(&disk, &dirs).unwrap(), None);
        let text = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=100000001";
        write(&disk, &dirs, text).unwrap();
        let found = read(&disk, &dirs).unwrap().unwrap();
        assert_eq!(found.text(), text);
        write(&disk, &dirs, "server.1=").unwrap();
        let refusal = read(&disk, &dirs).unwrap_err().to_string();
        assert!(refusal.contains("zabra.members"), "{refusal}");
    }
}
