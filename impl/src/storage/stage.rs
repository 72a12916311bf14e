//! A tree becomes a snapshot under its temporary name.

use super::disk::{Disk, tmp_of};
use super::snapshot::tree::ImageNodes;
use super::snapshot::{Form, SnapshotWriter, StagedSnapshot, packed_path_of};
use super::{Dirs, Result};
use zabra_model::tree::image::Image;

/// Writes an image to a file that is not visible as a snapshot yet. What it has written is removed if that fails.
///
/// # Errors
/// [`super::StorageError`]; with one that [`super::StorageError::is_passing`] it may be tried again later.
pub fn stage<D: Disk>(
    disk: &D,
    dirs: &Dirs,
    image: &Image,
    form: impl Into<Form>,
) -> Result<StagedSnapshot> {
    let form = form.into();
    let staged = write(disk, dirs, image, form);
    if staged.is_err() {
        let half = tmp_of(&packed_path_of(&dirs.snap, image.zxid, form.packing));
        // If it stays, the next start removes it; it is not taken for a snapshot.
        let _ = disk.remove(&half);
    }
    staged
}

fn write<D: Disk>(disk: &D, dirs: &Dirs, image: &Image, form: Form) -> Result<StagedSnapshot> {
    let mut writer = SnapshotWriter::begin(
        disk,
        &dirs.snap,
        (image.zxid, form),
        image.sessions.iter().copied(),
        image.acls.iter().map(|(_, list)| &**list),
    )?;
    let mut nodes = ImageNodes::of(image);
    while let Some(written) = nodes.next(|node| writer.node(node)) {
        written?;
    }
    writer.finish()
}
