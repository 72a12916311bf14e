//! Keys about logs, snapshots, and what of them is kept in memory.

use super::values::{flag, within};
use zabra_model::service::reach::LogShare;

/// How snapshots are compressed (`snapshot.compression.method`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// `gz`.
    Gz,
    /// `snappy`.
    Snappy,
}

/// How logs and snapshots are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store {
    /// How snapshots are compressed; `None`: not at all.
    pub compression: Option<Compression>,
    /// Writes that one sync makes durable at most (`maxBatchSize`).
    pub batch_txns_max: usize,
    /// A log file ends beyond so many bytes (`txnLogSizeLimitInKb`); `None` is no limit.
    pub log_bytes_max: Option<u64>,
    /// Applied transactions that are kept in memory for learners (`commitLogCount`).
    pub kept_txns_max: usize,
    /// How much of the log files is read for a learner (`snapshotSizeFactor`).
    pub log_share: LogShare,
    /// Whether the end of a session names its ephemeral nodes in the log (`closeSessionTxn.enabled`).
    pub lists_closed: bool,
    /// Whether a snapshot ends with its zxid (`serializeLastProcessedZxid.enabled`).
    pub says_zxid: bool,
    /// Whether it says the digest of its tree (`digest.enabled`).
    pub says_digest: bool,
}

/// Fewer transactions are never kept, as in ZooKeeper.
const KEPT_TXNS_MIN: usize = 500;

impl Default for Store {
    fn default() -> Self {
        Self {
            compression: None,
            batch_txns_max: usize::MAX,
            log_bytes_max: None,
            kept_txns_max: KEPT_TXNS_MIN,
            log_share: LogShare::DEFAULT,
            lists_closed: true,
            says_zxid: true,
            says_digest: true,
        }
    }
}

impl Store {
    /// Takes the line if it is one of these; `plain` is the key without the prefix `zookeeper.`. Errors: what is wrong with it.
    pub(super) fn set(&mut self, key: &str, plain: &str, value: &str) -> Result<bool, String> {
        const MOST: u32 = i32::MAX as u32;
        match plain {
            "snapshot.compression.method" => {
                self.compression = match value.to_ascii_lowercase().as_str() {
                    "" => None,
                    "gz" => Some(Compression::Gz),
                    "snappy" => Some(Compression::Snappy),
                    _ => {
                        return Err(format!(
                            "{key}={value}: write gz or snappy, or nothing for none"
                        ));
                    }
                }
            }
            "maxBatchSize" => {
                let writes = within(key, value, 0, MOST, "writes")? as usize;
                self.batch_txns_max = if writes == 0 { usize::MAX } else { writes };
            }
            "txnLogSizeLimitInKb" => {
                let kib = within(key, value, -1, i64::from(MOST), "KiB")?;
                let kib = u64::try_from(kib).ok().filter(|kib| *kib > 0);
                self.log_bytes_max = kib.map(|kib| kib * 1024);
            }
            "commitLogCount" => {
                let kept = within(key, value, 0, MOST, "transactions")? as usize;
                self.kept_txns_max = kept.max(KEPT_TXNS_MIN);
            }
            "snapshotSizeFactor" => self.log_share = share(key, value)?,
            "closeSessionTxn.enabled" => self.lists_closed = flag(key, value)?,
            "serializeLastProcessedZxid.enabled" => self.says_zxid = flag(key, value)?,
            "digest.enabled" => self.says_digest = flag(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// As ZooKeeper takes it: beyond 1 it is the default.
fn share(key: &str, value: &str) -> Result<LogShare, String> {
    let number: Option<f64> = value.parse().ok();
    match number.filter(|n| n.is_finite()) {
        Some(n) if n < 0.0 => Ok(LogShare::Nothing),
        Some(0.0) => Ok(LogShare::Everything),
        Some(n) if n <= 1.0 => Ok(LogShare::Millionths((n * 1e6).ceil() as u64)),
        Some(_) => Ok(LogShare::DEFAULT),
        None => Err(format!(
            "{key}={value}: write a part of 1, as 0.33; 0 for any size of logs, or -1 for none"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Result<Store, String> {
        let mut store = Store::default();
        for (key, value) in lines {
            assert!(store.set(key, key, value)?, "{key}");
        }
        Ok(store)
    }

    #[test]
    fn the_share_of_a_snapshot_is_read_as_zookeeper_reads_it() {
        for (value, expected) in [
            ("-1", LogShare::Nothing),
            ("0", LogShare::Everything),
            ("0.33", LogShare::DEFAULT),
            ("1.0", LogShare::Millionths(1_000_000)),
            ("1.5", LogShare::DEFAULT),
        ] {
            let store = of(&[("snapshotSizeFactor", value)]).unwrap();
            assert_eq!(store.log_share, expected, "{value}");
        }
    }

    #[test]
    fn each_key_says_what_it_says_in_zookeeper() {
        let all = of(&[
            ("snapshot.compression.method", "SNAPPY"),
            ("maxBatchSize", "7"),
            ("txnLogSizeLimitInKb", "8"),
            ("commitLogCount", "1000"),
            ("snapshotSizeFactor", "0.5"),
            ("closeSessionTxn.enabled", "false"),
            ("serializeLastProcessedZxid.enabled", "false"),
            ("digest.enabled", "false"),
        ]);
        let expected = Store {
            compression: Some(Compression::Snappy),
            batch_txns_max: 7,
            log_bytes_max: Some(8192),
            kept_txns_max: 1000,
            log_share: LogShare::Millionths(500_000),
            lists_closed: false,
            says_zxid: false,
            says_digest: false,
        };
        assert_eq!(all, Ok(expected));
        let none = of(&[
            ("snapshot.compression.method", ""),
            ("maxBatchSize", "0"),
            ("txnLogSizeLimitInKb", "-1"),
            ("commitLogCount", "20"),
            ("closeSessionTxn.enabled", "true"),
        ]);
        assert_eq!(none, Ok(Store::default()));
        for (key, value) in [
            ("snapshot.compression.method", "zip"),
            ("maxBatchSize", "-1"),
            ("txnLogSizeLimitInKb", "8k"),
            ("commitLogCount", "many"),
            ("snapshotSizeFactor", "a third"),
            ("snapshotSizeFactor", "NaN"),
            ("closeSessionTxn.enabled", "yes"),
        ] {
            assert!(
                of(&[(key, value)]).unwrap_err().starts_with(key),
                "{key}={value}"
            );
        }
    }
}
