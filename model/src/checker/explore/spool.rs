//! What an exploration keeps beside the visited set: the states of a level, and each state's way back. Both go to
//! temporary files when they are large.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom, Write};

/// Words of memory that the states of one level may take before they go to a file: 256 MB.
const LEVEL_WORDS: usize = 64 << 20;
/// Ways back that are kept in memory before they go to a file: 8 MB.
const LEDGER_TAIL: usize = 1 << 20;

enum Chunk {
    Memory(Vec<u32>),
    File { at: u64, words: usize },
}

/// Chunks of packed states, first in, first out.
#[derive(Default)]
pub(super) struct Level {
    chunks: VecDeque<Chunk>,
    in_memory: usize,
    file: Option<File>,
    end: u64,
}

impl Level {
    pub(super) fn push(&mut self, chunk: Vec<u32>) -> Result<()> {
        if self.in_memory + chunk.len() <= LEVEL_WORDS {
            self.in_memory += chunk.len();
            self.chunks.push_back(Chunk::Memory(chunk));
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile()?);
        }
        if let Some(file) = &mut self.file {
            let bytes: Vec<u8> = chunk.iter().flat_map(|w| w.to_le_bytes()).collect();
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&bytes)?;
            let (at, words) = (self.end, chunk.len());
            self.chunks.push_back(Chunk::File { at, words });
            self.end += bytes.len() as u64;
        }
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Option<Vec<u32>>> {
        match (self.chunks.pop_front(), &mut self.file) {
            (Some(Chunk::Memory(chunk)), _) => {
                self.in_memory -= chunk.len();
                Ok(Some(chunk))
            }
            (Some(Chunk::File { at, words }), Some(file)) => {
                let mut bytes = vec![0; words * 4];
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut bytes)?;
                let words = bytes.chunks_exact(4);
                let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                Ok(Some(words.map(word).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Bytes that went to the file.
    pub(super) const fn spilled(&self) -> u64 {
        self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// The parents of the states that one thread has found, in the order in which it found them.
#[derive(Default)]
pub(super) struct Ledger {
    file: Option<File>,
    in_file: u64,
    tail: Vec<u64>,
}

impl Ledger {
    /// Adds an entry; returns its place.
    pub(super) fn push(&mut self, entry: u64) -> Result<u64> {
        if self.tail.len() == LEDGER_TAIL {
            if self.file.is_none() {
                self.file = Some(tempfile::tempfile()?);
            }
            if let Some(file) = &mut self.file {
                let bytes: Vec<u8> = self.tail.iter().flat_map(|w| w.to_le_bytes()).collect();
                file.seek(SeekFrom::End(0))?;
                file.write_all(&bytes)?;
                self.in_file += self.tail.len() as u64;
                self.tail.clear();
            }
        }
        self.tail.push(entry);
        Ok(self.in_file + self.tail.len() as u64 - 1)
    }

    /// The entry at that place.
    pub(super) fn get(&mut self, at: u64) -> Result<u64> {
        if at >= self.in_file {
            let at = usize::try_from(at - self.in_file).unwrap_or(usize::MAX);
            return Ok(self.tail[at]);
        }
        let mut bytes = [0; 8];
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(at * 8))?;
            file.read_exact(&mut bytes)?;
        }
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_memory_comes_back_from_the_file_in_order() {
        let mut level = Level {
            in_memory: LEVEL_WORDS - 3,
            ..Level::default()
        };
        for i in 0..4 {
            level.push(vec![i, i + 1, i + 2]).unwrap();
        }
        assert_eq!(level.spilled(), 36);
        for i in 0..4 {
            assert_eq!(level.pop().unwrap(), Some(vec![i, i + 1, i + 2]));
        }
        assert_eq!(level.pop().unwrap(), None);
    }

    #[test]
    fn a_way_back_is_found_in_the_file_and_in_the_tail() {
        let mut ledger = Ledger::default();
        let many = LEDGER_TAIL as u64 + 5;
        for i in 0..many {
            assert_eq!(ledger.push(i * 3).unwrap(), i);
        }
        for i in [0, 7, LEDGER_TAIL as u64 - 1, LEDGER_TAIL as u64, many - 1] {
            assert_eq!(ledger.get(i).unwrap(), i * 3);
        }
    }
}
