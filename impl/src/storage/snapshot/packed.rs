//! Snapshots that are compressed, as ZooKeeper's `snapshot.compression.method` has them: the same bytes, checksum and all, behind gzip
//! or in blocks of Snappy. The file's name says which.
//!
//! ```text
//! snapshot.HEX.gz       one member of gzip
//! snapshot.HEX.snappy   "\x82SNAPPY\0"  i32 version 1  i32 version that is needed 1   blocks
//! block = i32 length   as many bytes of Snappy, of at most 32 KiB plain
//! ```
//! Neither form is held whole, read or written.

use crate::storage::zxid_of_name;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, Read, Write};
use zabra_model::ids::Zxid;

/// File name prefix.
pub const PREFIX: &str = "snapshot";

/// How a snapshot is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Packing {
    /// Not at all.
    #[default]
    Plain,
    /// gzip.
    Gz,
    /// Blocks of Snappy, as the Java library writes them.
    Snappy,
}

/// What a gzip file begins with.
const GZ_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What a file of Snappy begins with.
const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The same, the version, and the version that a reader needs.
const SNAPPY_HEAD: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Plain bytes of a block that is written.
const BLOCK_BYTES: usize = 32 << 10;
/// Plain bytes of a block that is read: another writer may have chosen more than ZooKeeper does.
const BLOCK_BYTES_MAX: usize = 4 << 20;

impl Packing {
    const ALL: [Self; 3] = [Self::Plain, Self::Gz, Self::Snappy];

    /// What is behind the zxid in a file's name.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gz => ".gz",
            Self::Snappy => ".snappy",
        }
    }

    /// What such a file begins with.
    pub(super) const fn magic(self) -> &'static [u8] {
        match self {
            Self::Plain => b"ZKSN",
            Self::Gz => &GZ_MAGIC,
            Self::Snappy => &SNAPPY_MAGIC,
        }
    }

    /// Of what begins so: eight bytes tell.
    #[must_use]
    pub fn of_content(head: &[u8]) -> Self {
        let begins_so = |packing: &Self| head.starts_with(packing.magic());
        Self::ALL.into_iter().find(begins_so).unwrap_or_default()
    }

    /// Of a file's name, with what it is a snapshot of; `None` for names that are no snapshot's.
    #[must_use]
    pub fn of_name(name: &str) -> Option<(Zxid, Self)> {
        let of = |packing: Self| {
            let plain = name.strip_suffix(packing.ending())?;
            Some((zxid_of_name(plain, PREFIX)?, packing))
        };
        Self::ALL.into_iter().find_map(of)
    }
}

/// Compresses what it is given, piece by piece.
pub(super) enum Packer {
    Plain,
    Gz(GzEncoder<Vec<u8>>),
    Snappy(Box<Blocks>),
}

/// Plain bytes that are no whole block yet.
pub(super) struct Blocks {
    encoder: snap::raw::Encoder,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new(packing: Packing) -> Self {
        match packing {
            Packing::Plain => Self::Plain,
            Packing::Gz => Self::Gz(GzEncoder::new(Vec::new(), Compression::default())),
            Packing::Snappy => Self::Snappy(Box::new(Blocks {
                encoder: snap::raw::Encoder::new(),
                plain: Vec::with_capacity(BLOCK_BYTES),
                packed: SNAPPY_HEAD.to_vec(),
            })),
        }
    }

    /// Hands what `plain` makes ready to be written to `write`; `is_last`: no more comes.
    ///
    /// # Errors
    /// Those of `write`.
    pub(super) fn pack<E>(
        &mut self,
        plain: &[u8],
        is_last: bool,
        write: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Plain => write(plain),
            Self::Gz(encoder) => {
                // A `Vec` takes everything.
                let _ = encoder.write_all(plain);
                if is_last {
                    let _ = encoder.try_finish();
                }
                let done = write(encoder.get_ref());
                encoder.get_mut().clear();
                done
            }
            Self::Snappy(blocks) => {
                blocks.gather(plain, is_last);
                let done = write(&blocks.packed);
                blocks.packed.clear();
                done
            }
        }
    }
}

impl Blocks {
    fn gather(&mut self, mut plain: &[u8], is_last: bool) {
        while !plain.is_empty() {
            let room = BLOCK_BYTES - self.plain.len();
            let (now, later) = plain.split_at(room.min(plain.len()));
            self.plain.extend_from_slice(now);
            plain = later;
            if self.plain.len() == BLOCK_BYTES {
                self.end_block();
            }
        }
        if is_last && !self.plain.is_empty() {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let at = self.packed.len();
        let most = snap::raw::max_compress_len(BLOCK_BYTES);
        self.packed.resize(at + 4 + most, 0);
        let (head, body) = self.packed[at..].split_at_mut(4);
        // Only a block of 4 GiB, or too little room for its result, would be an error.
        let bytes = self.encoder.compress(&self.plain, body).unwrap_or_default();
        head.copy_from_slice(&(bytes as u32).to_be_bytes());
        self.packed.truncate(at + 4 + bytes);
        self.plain.clear();
    }
}

/// The plain bytes of a file.
pub(super) enum Unpacked<R> {
    Plain(R),
    Gz(Box<MultiGzDecoder<R>>),
    Snappy(Box<Blocked<R>>),
}

/// Reads block by block.
pub(super) struct Blocked<R> {
    reader: R,
    decoder: snap::raw::Decoder,
    begun: bool,
    packed: Vec<u8>,
    plain: Vec<u8>,
    taken: usize,
}

impl<R: Read> Unpacked<R> {
    pub(super) fn new(reader: R, packing: Packing) -> Self {
        match packing {
            Packing::Plain => Self::Plain(reader),
            Packing::Gz => Self::Gz(Box::new(MultiGzDecoder::new(reader))),
            Packing::Snappy => Self::Snappy(Box::new(Blocked {
                reader,
                decoder: snap::raw::Decoder::new(),
                begun: false,
                packed: Vec::new(),
                plain: Vec::new(),
                taken: 0,
            })),
        }
    }

    /// Whether an error of a read says that the file is not what its name says, and not that it cannot be read.
    pub(super) fn is_damage(&self, error: &io::Error) -> bool {
        let is_of_content = matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
        );
        is_of_content && !matches!(self, Self::Plain(_))
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(into),
            Self::Gz(reader) => reader.read(into),
            Self::Snappy(reader) => reader.read(into),
        }
    }
}

impl<R: Read> Blocked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let ahead = &self.plain[self.taken..];
        let n = ahead.len().min(into.len());
        into[..n].copy_from_slice(&ahead[..n]);
        self.taken += n;
        Ok(n)
    }

    /// False at the end of the file.
    fn next_block(&mut self) -> io::Result<bool> {
        if !self.begun {
            let mut head = [0; SNAPPY_HEAD.len()];
            self.reader.read_exact(&mut head)?;
            if head != SNAPPY_HEAD {
                return Err(bad("it does not begin as a file of Snappy"));
            }
            self.begun = true;
        }
        let mut length = [0; 4];
        match self.reader.read(&mut length)? {
            0 => return Ok(false),
            n => self.reader.read_exact(&mut length[n..])?,
        }
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes > snap::raw::max_compress_len(BLOCK_BYTES_MAX) {
            return Err(bad("a block of Snappy is too long"));
        }
        self.packed.resize(bytes, 0);
        self.reader.read_exact(&mut self.packed)?;
        let plain = snap::raw::decompress_len(&self.packed).map_err(bad)?;
        if plain > BLOCK_BYTES_MAX {
            return Err(bad("a block of Snappy holds too much"));
        }
        self.plain.resize(plain, 0);
        self.taken = 0;
        let read = self.decoder.decompress(&self.packed, &mut self.plain);
        self.plain.truncate(read.map_err(bad)?);
        Ok(true)
    }
}

fn bad(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(packing: Packing, pieces: &[Vec<u8>]) -> Vec<u8> {
        let (mut packer, mut all) = (Packer::new(packing), Vec::new());
        let mut write = |plain: &[u8], is_last| {
            let done = packer.pack(plain, is_last, |bytes| {
                all.extend_from_slice(bytes);
                Ok::<_, ()>(())
            });
            done.unwrap();
        };
        pieces.iter().for_each(|piece| write(piece, false));
        write(&[], true);
        all
    }

    fn unpacked(packing: Packing, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Unpacked::new(bytes, packing)
            .take(1 << 26)
            .read_to_end(&mut plain)?;
        Ok(plain)
    }

    proptest! {
        #[test]
        fn what_is_packed_in_pieces_is_unpacked_whole(
            pieces in prop::collection::vec((any::<u8>(), 0..90_000_usize), 0..5),
        ) {
            let pieces: Vec<Vec<u8>> = pieces
                .into_iter()
                .map(|(seed, n)| (0..n).map(|i| seed.wrapping_mul(i as u8 >> 3)).collect())
                .collect();
            for packing in Packing::ALL {
                let all = packed(packing, &pieces);
                if packing != Packing::Plain {
                    prop_assert!(all.starts_with(packing.magic()));
                }
                prop_assert_eq!(unpacked(packing, &all).unwrap(), pieces.concat());
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_unpacked(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            begins in any::<bool>(),
        ) {
            for packing in [Packing::Gz, Packing::Snappy] {
                let mut all = if begins { packed(packing, &[b"abc".to_vec()]) } else { Vec::new() };
                all.extend_from_slice(&bytes);
                let _ = unpacked(packing, &all);
            }
        }
    }

    #[test]
    fn a_block_that_claims_to_be_long_is_refused_before_there_is_room_for_it() {
        for (length, block) in [
            (u32::MAX, &[][..]),
            (6 << 20, &[][..]),
            // 4 GiB less one byte, by Snappy's own word.
            (5, &[0xff, 0xff, 0xff, 0xff, 0x0f][..]),
        ] {
            let mut all = SNAPPY_HEAD.to_vec();
            all.extend_from_slice(&length.to_be_bytes());
            all.extend_from_slice(block);
            let refusal = unpacked(Packing::Snappy, &all).unwrap_err();
            assert_eq!(refusal.kind(), io::ErrorKind::InvalidData, "{refusal}");
        }
    }

    #[test]
    fn the_name_of_a_file_says_how_it_is_packed() {
        for (name, found) in [
            ("snapshot.1f", Some((0x1f, Packing::Plain))),
            ("snapshot.1f.gz", Some((0x1f, Packing::Gz))),
            ("snapshot.1f.snappy", Some((0x1f, Packing::Snappy))),
            ("snapshot.1f.zip", None),
            ("snapshot.1f.gz.tmp", None),
            ("snapshot..gz", None),
            ("log.1f.gz", None),
        ] {
            let found = found.map(|(zxid, packing)| (Zxid(zxid), packing));
            assert_eq!(Packing::of_name(name), found, "{name}");
        }
    }
}
