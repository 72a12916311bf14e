//! `zabra log --repair` and `--chop`: a copy of a log file beside it, under a name that no server reads until somebody renames it.
//!
//! As ZooKeeper's toolkit, it makes new checksums for what an entry holds now; whether that is what was written, only its reader can
//! tell. The copy has a temporary name until it is whole and on the disk, and there is none where it would not be (D-127).

use super::error::{DATA, FAILED, ToolError};
use super::out::{say, tell};
use super::txn::shown;
use super::values::Encoding;
use super::walk::{Damage, Found, Left, Walk, header, told};
use crate::storage::disk::{Disk, RealDisk, parent_of, tmp_of};
use crate::storage::txn_log::{HEADER, HEADER_BYTES, MAGIC_BYTES, encode_entry};
use crate::wire::txn::read_txn;
use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use zabra_model::ids::Zxid;

/// A copy on its way.
struct Copy {
    to: PathBuf,
    tmp: PathBuf,
    file: BufWriter<File>,
    entries: u64,
}

impl Copy {
    fn begin(of: &Path, to: PathBuf) -> Result<Self, ToolError> {
        if to.exists() {
            return Err(ToolError::Refused(format!(
                "{}: is there already; remove it, or give it another name",
                to.display()
            )));
        }
        let head = header(of)?;
        if head.len() < HEADER_BYTES || !head.starts_with(&HEADER[..MAGIC_BYTES]) {
            return Err(ToolError::Damaged(format!(
                "{}: it has no header of a transaction log; there is nothing to copy",
                of.display()
            )));
        }
        let tmp = tmp_of(&to);
        // What a crash has left of an earlier one.
        let file = File::create(&tmp).map_err(|e| unwritten(&tmp, &e))?;
        let mut copy = Self {
            to,
            tmp,
            file: BufWriter::with_capacity(256 << 10, file),
            entries: 0,
        };
        copy.bytes(&head)?;
        Ok(copy)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ToolError> {
        self.file
            .write_all(bytes)
            .map_err(|e| unwritten(&self.tmp, &e))
    }

    fn entry(&mut self, payload: &[u8]) -> Result<(), ToolError> {
        let mut bytes = Vec::new();
        encode_entry(payload, &mut bytes);
        self.entries += 1;
        self.bytes(&bytes)
    }

    /// As it lies in the file, with a checksum that is not its own.
    fn entry_as_it_is(&mut self, left: &Left) -> Result<(), ToolError> {
        let mut bytes = Vec::new();
        encode_entry(&left.payload, &mut bytes);
        bytes[..8].copy_from_slice(&left.sum.to_be_bytes());
        self.entries += 1;
        self.bytes(&bytes)
    }

    /// Gives it its name, durably.
    fn publish(mut self) -> Result<PathBuf, ToolError> {
        let tmp = &self.tmp;
        self.file.flush().map_err(|e| unwritten(tmp, &e))?;
        self.file
            .get_ref()
            .sync_all()
            .map_err(|e| unwritten(tmp, &e))?;
        RealDisk.rename(&self.tmp, &self.to)?;
        RealDisk.sync_dir(parent_of(&self.to))?;
        Ok(std::mem::take(&mut self.to))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Not there any more, once it has its name.
        let _ = fs::remove_file(&self.tmp);
    }
}

fn unwritten(path: &Path, error: &io::Error) -> ToolError {
    ToolError::Refused(format!(
        "{}: {error}; make room, or let this user write there",
        path.display()
    ))
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// What is to become of an entry whose checksum is wrong.
enum Answer {
    NewChecksum,
    AsItIs,
}

/// Writes `FILE.fixed`, if something is damaged and can be read nevertheless.
pub(super) fn repair(
    file: &Path,
    without_asking: bool,
    encoding: Option<Encoding>,
) -> Result<u8, ToolError> {
    let mut walk = Walk::open(file)?;
    let mut copy = Copy::begin(file, beside(file, ".fixed"))?;
    let (mut fixed, mut kept) = (0_u64, 0_u64);
    let name = file.display();
    loop {
        match walk.next()? {
            Found::Entry { entry, .. } => copy.entry(&entry.payload)?,
            Found::Damage(damage) => {
                let left = repairable(file, &damage)?;
                say(format_args!("{}", told(file, &damage)));
                let read = read_txn(&left.payload).map_err(|_| beyond_repair(file, &damage))?;
                say(format_args!("  {}", shown(&read, encoding)));
                let answer = if without_asking || left.is_certain() {
                    Answer::NewChecksum
                } else {
                    ask()?
                };
                match answer {
                    Answer::NewChecksum => {
                        fixed += 1;
                        copy.entry(&left.payload)?;
                    }
                    Answer::AsItIs => {
                        kept += 1;
                        copy.entry_as_it_is(left)?;
                    }
                }
            }
            Found::End { offset, torn } => {
                if let Some(what) = torn {
                    say(format_args!(
                        "{name}: ends at byte {offset} with {what}; that is left out, and a start passes over it in {name} as well"
                    ));
                }
                break;
            }
        }
    }
    if fixed + kept == 0 {
        say(format_args!(
            "{name}: {} transactions, nothing is damaged; no copy was made",
            copy.entries
        ));
        return Ok(0);
    }
    let entries = copy.entries;
    let to = copy.publish()?;
    say(format_args!(
        "{}: {entries} transactions, {fixed} with new checksums{}. To use it: stop the server, keep {name} elsewhere, and rename this one to {name}",
        to.display(),
        if kept == 0 {
            String::new()
        } else {
            format!(", {kept} still damaged")
        }
    ));
    Ok(if kept == 0 { 0 } else { DATA })
}

fn repairable<'d>(file: &Path, damage: &'d Damage) -> Result<&'d Left, ToolError> {
    damage
        .left
        .as_ref()
        .ok_or_else(|| beyond_repair(file, damage))
}

fn beyond_repair(file: &Path, damage: &Damage) -> ToolError {
    ToolError::Damaged(format!(
        "{}. What was there cannot be told, so no copy was made. Take the file from a backup; or, in an ensemble, remove this server's data to copy it anew from the others; or lose this transaction and all behind it: zabra log prints the zxid before byte {}, and --chop ZXID ends a copy there",
        told(file, damage),
        damage.offset
    ))
}

fn ask() -> Result<Answer, ToolError> {
    loop {
        let mut out = io::stdout();
        let question =
            "Make a new checksum for what is there now? yes, no (copy it as it is), abort: ";
        let asked = out.write_all(question.as_bytes());
        asked
            .and_then(|()| out.flush())
            .map_err(ToolError::Output)?;
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let bytes = read
            .map_err(|e| ToolError::Refused(format!("standard input: {e}; --yes asks nothing")))?;
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(Answer::NewChecksum),
            "n" | "no" => return Ok(Answer::AsItIs),
            "a" | "abort" => return Err(ToolError::Refused("nothing was written".into())),
            _ if bytes == 0 => {
                let what = "nobody answers, so nothing was written; --yes asks nothing";
                return Err(ToolError::Refused(what.into()));
            }
            _ => {}
        }
    }
}

/// Writes `FILE.choppedZXID`, all up to and with that zxid; its name has the number as ZooKeeper's toolkit writes it.
pub(super) fn chop(file: &Path, upto: Zxid) -> Result<u8, ToolError> {
    let mut walk = Walk::open(file)?;
    let mut copy = Copy::begin(file, beside(file, &format!(".chopped{}", upto.0)))?;
    let name = file.display();
    let mut last = None;
    loop {
        match walk.next()? {
            Found::Entry { entry, .. } if entry.zxid <= upto => {
                last = Some(entry.zxid);
                copy.entry(&entry.payload)?;
                if entry.zxid == upto {
                    break;
                }
            }
            Found::Entry { .. } | Found::End { .. } => break,
            Found::Damage(damage) => {
                return Err(ToolError::Damaged(format!(
                    "{}; it is before {upto}: name a zxid before it, or repair the file first",
                    told(file, &damage)
                )));
            }
        }
    }
    let Some(last) = last else {
        tell(format_args!(
            "{name}: no transaction up to {upto} is in it; no copy was made"
        ));
        return Ok(FAILED);
    };
    let entries = copy.entries;
    let to = copy.publish()?;
    say(format_args!(
        "{}: {entries} transactions, the last one is {last}",
        to.display()
    ));
    if last != upto {
        tell(format_args!("{name}: {upto} itself is not in it"));
        return Ok(FAILED);
    }
    Ok(0)
}
