//! The transaction log: files `log.<first zxid in hex>` of checksummed entries in zxid order, padded with zeros.
//!
//! ```text
//! header  i32 "ZKLG"  i32 version 2  i64 0
//! entry   i64 Adler-32 of the payload  i32 n  payload: TxnHeader + txn [+ digest]  i8 'B'
//! ```
//! The payload is opaque here but for the zxid in its header.

pub mod reader;
pub mod writer;

use bytes::Bytes;
use zabra_model::ids::Zxid;

/// First bytes of every log file.
pub const HEADER: [u8; HEADER_BYTES] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
/// Length of [`HEADER`].
pub const HEADER_BYTES: usize = 16;
/// File name prefix.
pub const PREFIX: &str = "log";
/// A transaction header: no payload is shorter.
pub const TXN_HEADER_BYTES: usize = 32;
/// What ZooKeeper's readers accept with default settings: `jute.maxbuffer` + `jute.maxbuffer.extrasize`.
pub const PAYLOAD_BYTES_MAX: usize = 2 * 0xf_ffff;

const ENTRY_HEAD_BYTES: usize = 12;
const END_OF_RECORD: u8 = b'B';

/// A transaction as it was logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its position in the history.
    pub zxid: Zxid,
    /// TxnHeader, txn, and a digest if it has one.
    pub payload: Bytes,
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
    out.extend_from_slice(&u64::from(sum).to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END_OF_RECORD);
}
