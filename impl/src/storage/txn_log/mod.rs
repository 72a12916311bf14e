//! The transaction log: files `log.<first zxid in hex>` of checksummed entries in zxid order, padded with zeros.
//!
//! ```text
//! header  i32 "ZKLG"  i32 version 2  i64 1 + the zxid before the first entry
//! entry   i64 Adler-32 of the payload  i32 n  payload: TxnHeader + txn [+ digest]  i8 'B'
//! ```
//! The payload is opaque here but for the zxid in its header. The header's last field is ZooKeeper's `dbid`, which it writes
//! as 0 and never reads (D-27). Where an epoch begins, zxids alone do not show whether the file before it has lost its end.

pub mod reader;
pub mod writer;

use bytes::{BufMut, Bytes};
use zabra_model::ids::Zxid;

/// First bytes of every log file of ZooKeeper's.
pub const HEADER: [u8; HEADER_BYTES] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
/// Length of the header.
pub const HEADER_BYTES: usize = 16;
/// The part of it that all files share.
pub const MAGIC_BYTES: usize = 8;
/// File name prefix.
pub const PREFIX: &str = "log";
/// What recovery has cut off a log file is kept in `NAME.torn-OFFSET`.
pub const TORN: &str = ".torn-";
/// A transaction header: no payload is shorter.
pub const TXN_HEADER_BYTES: usize = 32;

/// Checksum and length before an entry's payload.
pub const ENTRY_HEAD_BYTES: usize = 12;
/// The last byte of an entry.
pub const END_OF_RECORD: u8 = b'B';

/// A transaction as it was logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its position in the history.
    pub zxid: Zxid,
    /// TxnHeader, txn, and a digest if it has one.
    pub payload: Bytes,
}

/// The header of a file whose first entry comes behind `previous`.
#[must_use]
pub fn header_behind(previous: Zxid) -> [u8; HEADER_BYTES] {
    let mut header = HEADER;
    if let Some(place) = header.get_mut(MAGIC_BYTES..) {
        place.copy_from_slice(&(previous.0 + 1).to_be_bytes());
    }
    header
}

/// What comes before the first entry of a file of ours; `None` for the header of another's.
fn previous_of(header: &[u8]) -> Option<Zxid> {
    let field = header.get(MAGIC_BYTES..HEADER_BYTES)?.try_into().ok()?;
    u64::from_be_bytes(field).checked_sub(1).map(Zxid)
}

/// The zxid in a payload's transaction header; `None` if the payload is too short to have one.
#[must_use]
pub fn zxid_of_payload(payload: &[u8]) -> Option<Zxid> {
    if payload.len() < TXN_HEADER_BYTES {
        return None;
    }
    let bytes = payload.get(12..20)?.try_into().ok()?;
    Some(Zxid(u64::from_be_bytes(bytes)))
}

/// Appends one entry to `out`. The caller has checked that the payload is not larger than an i32 can say.
pub fn encode_entry(payload: &[u8], out: &mut Vec<u8>) {
    let sum = simd_adler32::adler32(&payload);
    out.reserve(ENTRY_HEAD_BYTES + payload.len() + 1);
    let mut head = [0_u8; ENTRY_HEAD_BYTES];
    let mut at = head.as_mut_slice();
    at.put_u64(sum.into());
    at.put_u32(payload.len() as u32);
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.push(END_OF_RECORD);
}
