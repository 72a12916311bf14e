//! A disk that forgets: a file system in memory under real servers, whose power can be cut.
//!
//! [`cut`] is the disk as a value, and says what a cut leaves; [`LossyDisk`] mounts one by FUSE, so that an unchanged server
//! works on it. Needs `/dev/fuse` and the right to mount (root, or `fusermount3` of Debian's package `fuse3`).
//!
//! What it is not: it has no journal and no extents, so it knows no fault of a particular file system; what it forgets is at
//! least what Linux may forget, and in few places more (a sync of a new file does not save its name, though ext4's does).

pub mod cut;
#[cfg(target_os = "linux")]
mod fs;

#[cfg(target_os = "linux")]
pub use fs::LossyDisk;

/// Why no file system can be mounted here, if so: found out by mounting one.
#[cfg(target_os = "linux")]
#[must_use]
pub fn missing() -> Option<String> {
    if !std::path::Path::new("/dev/fuse").exists() {
        let why = "there is no /dev/fuse; load the kernel's module fuse, or give the container that device";
        return Some(why.into());
    }
    let place = match tempfile::tempdir() {
        Ok(place) => place,
        Err(why) => return Some(why.to_string()),
    };
    let mounted = LossyDisk::mount(place.path(), 0, std::time::Duration::ZERO);
    mounted.err().map(|why| format!("{why:#}"))
}
