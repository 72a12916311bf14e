//! What a snapshot holds, as bytes: files and the SNAP stream of the quorum protocol share it.

pub mod body;
pub mod tree;
