//! `zabra log`: transactions, one line each, and what is damaged.

use super::arguments::Output;
use super::error::{DATA, ToolError};
use super::out::{Out, note, tell};
use super::repair;
use super::txn::{TxnJson, digest, is_about, json, shown};
use super::values::{Encoding, path, session, time, zxid};
use super::walk::{Damage, Found, Walk, files, told};
use crate::storage::follows;
use crate::wire::txn::{Payload, read_txn};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use zabra_model::ids::{SessionId, Zxid};

/// Which logs, and what of them.
#[derive(Args)]
pub struct LogArgs {
    /// Log files, as log.100000001, or directories with such files, as dataLogDir
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Only what is about this node or nodes below it; may be said several times
    #[arg(long, value_parser = path, value_name = "PATH", help_heading = "Which transactions")]
    path: Vec<String>,
    /// Only what this session asked for, as 0x100000123450000
    #[arg(long, value_parser = session, help_heading = "Which transactions")]
    session: Option<SessionId>,
    /// From this zxid on, as 0x100000001
    #[arg(long, value_parser = zxid, value_name = "ZXID", help_heading = "Which transactions")]
    from: Option<Zxid>,
    /// Up to this zxid
    #[arg(long, value_parser = zxid, value_name = "ZXID", help_heading = "Which transactions")]
    to: Option<Zxid>,
    /// From this time on: 2026-11-29T16:00:00Z, or without the Z in the zone of this machine
    #[arg(long, value_parser = time, allow_hyphen_values = true, value_name = "TIME", help_heading = "Which transactions")]
    since: Option<i64>,
    /// Up to this time
    #[arg(long, value_parser = time, allow_hyphen_values = true, value_name = "TIME", help_heading = "Which transactions")]
    until: Option<i64>,
    /// Print data, too, and not only how many bytes there are
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "base64")]
    data: Option<Encoding>,
    /// How transactions are printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Write a repaired copy, FILE.fixed, in which damaged entries have new checksums. Each one is shown first; FILE is not changed
    #[arg(short, long, conflicts_with_all = ["path", "session", "from", "to", "since", "until", "output"], help_heading = "Repair")]
    repair: bool,
    /// Repair without asking
    #[arg(short, long, requires = "repair", help_heading = "Repair")]
    yes: bool,
    /// Write a copy that ends with this zxid, FILE.choppedZXID
    #[arg(long, value_parser = zxid, value_name = "ZXID", conflicts_with_all = ["repair", "path", "session", "from", "to", "since", "until", "output"], help_heading = "Repair")]
    chop: Option<Zxid>,
}

/// A line for programs.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    offset: u64,
    /// What is wrong with it; the rest is what can still be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a str>,
    #[serde(flatten)]
    txn: Option<Of<'a>>,
}

#[derive(Serialize)]
struct Of<'a> {
    zxid: String,
    /// ms since 1970
    time: i64,
    session: String,
    cxid: i32,
    #[serde(flatten)]
    txn: TxnJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// Where the output has come to.
struct Reading<'a> {
    args: &'a LogArgs,
    out: Out,
    /// Transactions that were read, and printed.
    seen: u64,
    printed: u64,
    first: Option<Zxid>,
    last: Option<Zxid>,
    is_damaged: bool,
}

/// The exit code: 0, or that of damaged data.
pub(super) fn run(args: &LogArgs) -> Result<u8, ToolError> {
    let files = files(&args.files)?;
    if args.repair || args.chop.is_some() {
        let [file] = &files[..] else {
            let what = "a repair is of one file at a time; name it";
            return Err(ToolError::Refused(what.into()));
        };
        return match args.chop {
            Some(zxid) => repair::chop(file, zxid),
            None => repair::repair(file, args.yes, args.data),
        };
    }
    let mut reading = Reading {
        args,
        out: Out::new(),
        seen: 0,
        printed: 0,
        first: None,
        last: None,
        is_damaged: false,
    };
    for file in &files {
        reading.file(file)?;
    }
    reading.end(files.len())
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) -> Result<(), ToolError> {
        let mut walk = match Walk::open(path) {
            Ok(walk) => walk,
            Err(error) => {
                self.is_damaged = true;
                return self.tell(&error.to_string());
            }
        };
        loop {
            match walk.next()? {
                Found::Entry { offset, entry } => self.entry(path, offset, entry.payload)?,
                Found::Damage(damage) => self.damage(path, &damage)?,
                Found::End { torn: None, .. } => return Ok(()),
                Found::End {
                    offset,
                    torn: Some(what),
                } => {
                    return self.tell(&format!(
                        "{}: ends at byte {offset} with {what}; as a crash leaves it, a start passes over it",
                        path.display()
                    ));
                }
            }
        }
    }

    fn entry(&mut self, path: &Path, offset: u64, bytes: Bytes) -> Result<(), ToolError> {
        match read_txn(&bytes) {
            Ok(payload) => {
                self.follow(path, offset, payload.header.zxid)?;
                self.print(path, offset, &payload, None)
            }
            Err(error) => {
                self.is_damaged = true;
                let what = format!(
                    "its checksum is right, and it is no transaction that is known here: {error}"
                );
                self.print_damage(path, offset, &what)?;
                self.tell(&format!("{}: byte {offset}: {what}", path.display()))
            }
        }
    }

    fn damage(&mut self, path: &Path, damage: &Damage) -> Result<(), ToolError> {
        self.is_damaged = true;
        let left = damage.left.as_ref();
        let read = left.and_then(|left| read_txn(&left.payload).ok());
        match &read {
            Some(payload) => {
                self.follow(path, damage.offset, payload.header.zxid)?;
                self.print(path, damage.offset, payload, Some(&damage.what))?;
            }
            None => self.print_damage(path, damage.offset, &damage.what)?,
        }
        self.tell(&told(path, damage))
    }

    /// Says so where transactions are missing. Behind a full copy from a leader that is as it should be: a snapshot fills the gap.
    fn follow(&mut self, path: &Path, offset: u64, zxid: Zxid) -> Result<(), ToolError> {
        self.seen += 1;
        self.first.get_or_insert(zxid);
        let last = self.last.replace(zxid);
        match last.filter(|last| !follows(*last, zxid)) {
            Some(last) => self.tell(&format!(
                "{}: byte {offset}: after zxid {last} comes {zxid}; what is between them is in no file here",
                path.display()
            )),
            None => Ok(()),
        }
    }

    fn print(
        &mut self,
        path: &Path,
        offset: u64,
        payload: &Payload,
        damage: Option<&str>,
    ) -> Result<(), ToolError> {
        if !self.args.wants(payload) {
            return Ok(());
        }
        self.printed += 1;
        let header = &payload.header;
        if self.args.output == Output::Text {
            let mark = if damage.is_some() { "DAMAGED " } else { "" };
            let shown = shown(payload, self.args.data);
            return self.out.line(format_args!("{mark}{shown}"));
        }
        self.out.json(&Line {
            file: &path.to_string_lossy(),
            offset,
            damage,
            txn: Some(Of {
                zxid: header.zxid.to_string(),
                time: header.time,
                session: header.session.to_string(),
                cxid: header.cxid,
                txn: json(&payload.txn, self.args.data),
                digest: digest(payload),
            }),
        })
    }

    /// What is damaged without a transaction to be seen: programs are told on their own line.
    fn print_damage(&mut self, path: &Path, offset: u64, what: &str) -> Result<(), ToolError> {
        if self.args.output == Output::Text {
            return Ok(());
        }
        self.out.json(&Line {
            file: &path.to_string_lossy(),
            offset,
            damage: Some(what),
            txn: None,
        })
    }

    fn tell(&mut self, what: &str) -> Result<(), ToolError> {
        self.out.flush()?;
        tell(format_args!("{what}"));
        Ok(())
    }

    fn end(mut self, files: usize) -> Result<u8, ToolError> {
        self.out.flush()?;
        if self.args.output == Output::Text {
            let (seen, printed) = (self.seen, self.printed);
            let of = if seen == printed {
                String::new()
            } else {
                format!("{printed} of ")
            };
            let span = self
                .first
                .zip(self.last)
                .map_or(String::new(), |(first, last)| {
                    format!(", {first} to {last}")
                });
            let files = if files == 1 {
                "1 file".to_owned()
            } else {
                format!("{files} files")
            };
            note(format_args!("{of}{seen} transactions in {files}{span}"));
        }
        Ok(if self.is_damaged { DATA } else { 0 })
    }
}

impl LogArgs {
    fn wants(&self, payload: &Payload) -> bool {
        let header = &payload.header;
        self.session.is_none_or(|session| session == header.session)
            && self.from.is_none_or(|from| from <= header.zxid)
            && self.to.is_none_or(|to| header.zxid <= to)
            && self.since.is_none_or(|since| since <= header.time)
            && self.until.is_none_or(|until| header.time <= until)
            && (self.path.is_empty() || self.path.iter().any(|root| is_about(&payload.txn, root)))
    }
}
