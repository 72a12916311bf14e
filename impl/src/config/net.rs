//! Keys about how connections are made and kept, who takes clients, and what their syncs wait for.

use super::values::{flag, within, yes};
use crate::limits::HANDSHAKE_TIME;

/// What Java and the system take at most where a number of milliseconds is meant.
const MS_MAX: u64 = i32::MAX as u64;

/// How connections are made and kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    /// Connections of clients that the system holds until they are taken (`clientPortListenBacklog`).
    pub backlog: u32,
    /// Whether the system asks clients that are silent whether they are there (`clientTcpKeepAlive`).
    pub client_keep_alive: bool,
    /// The same for the connections of elections (`tcpKeepAlive`).
    pub election_keep_alive: bool,
    /// How long dialling for an election may take, ms (`cnxTimeout`).
    pub election_dial_ms: u64,
    /// How long a server that has dialled for an election may take to say who it is, ms (`quorumCnxnTimeoutMs`).
    pub election_hello_ms: u64,
    /// How long the first pause before a vote is sent again is, and the longest, ms (`fastleader.minNotificationInterval`,
    /// `fastleader.maxNotificationInterval`).
    pub resend_ms: (u64, u64),
    /// Ticks that a learner may take to connect to its leader (`connectToLearnerMasterLimit`); `None` is `initLimit`.
    pub connect_limit: Option<u32>,
    /// How long the pauses between tries to connect to the leader become, ms (`leaderConnectDelayDuringRetryMs`).
    pub leader_redial_ms: u64,
    /// How long a client may take for its first words, ms (`nio.sessionlessCnxnTimeout`).
    pub first_words_ms: u64,
    /// Whether a leader of others takes clients (`leaderServes`).
    pub leader_serves: bool,
    /// Whether a sync waits for a quorum (`zabra.syncWaitsForQuorum`).
    pub sync_waits: bool,
    /// Learners that are brought up at a time by SNAP, and otherwise: then no observer is (`leader.maxConcurrentSnapSyncs`,
    /// `leader.maxConcurrentDiffSyncs`).
    pub syncs_max: (u32, u32),
}

impl Default for Net {
    fn default() -> Self {
        let hello_ms = HANDSHAKE_TIME.as_secs() * 1000;
        Self {
            backlog: 1024,
            client_keep_alive: false,
            election_keep_alive: false,
            election_dial_ms: 5000,
            election_hello_ms: hello_ms,
            resend_ms: (200, 60_000),
            connect_limit: None,
            leader_redial_ms: 100,
            first_words_ms: hello_ms,
            leader_serves: true,
            sync_waits: false,
            syncs_max: (10, 100),
        }
    }
}

impl Net {
    /// Takes the line if it is one of these; `plain` is the key without the prefix `zookeeper.`. Errors: what is wrong with it.
    pub(super) fn set(&mut self, key: &str, plain: &str, value: &str) -> Result<bool, String> {
        let ms = || within(key, value, 1, MS_MAX, "milliseconds");
        match plain {
            "clientPortListenBacklog" => {
                self.backlog = or_default(key, value, Self::default().backlog)?;
            }
            "clientTcpKeepAlive" => self.client_keep_alive = flag(key, value)?,
            "tcpKeepAlive" => self.election_keep_alive = flag(key, value)?,
            "cnxTimeout" => self.election_dial_ms = ms()?,
            "quorumCnxnTimeoutMs" => {
                self.election_hello_ms = or_default(key, value, Self::default().election_hello_ms)?;
            }
            "fastleader.minNotificationInterval" => self.resend_ms.0 = ms()?,
            "fastleader.maxNotificationInterval" => self.resend_ms.1 = ms()?,
            "connectToLearnerMasterLimit" => {
                let ticks = within(key, value, 0, i32::MAX as u32, "ticks")?;
                self.connect_limit = (ticks > 0).then_some(ticks);
            }
            "leaderConnectDelayDuringRetryMs" => self.leader_redial_ms = ms()?,
            "nio.sessionlessCnxnTimeout" => self.first_words_ms = ms()?,
            "leader.maxConcurrentSnapSyncs" => {
                self.syncs_max.0 = within(key, value, 1, i32::MAX as u32, "learners")?;
            }
            "leader.maxConcurrentDiffSyncs" => {
                self.syncs_max.1 = within(key, value, 1, i32::MAX as u32, "learners")?;
            }
            "zabra.syncWaitsForQuorum" => self.sync_waits = flag(key, value)?,
            "leaderServes" => self.leader_serves = yes(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How long a learner that is to get its data within `init_limit` ticks may take to connect to its leader, ms.
    #[must_use]
    pub fn connect_ms(&self, tick_ms: u64, init_limit: u32) -> u64 {
        let ticks = self.connect_limit.unwrap_or(init_limit);
        tick_ms.saturating_mul(u64::from(ticks))
    }
}

/// A number as Java takes it; zero, and what is below it, is the default.
fn or_default<T: TryFrom<i32>>(key: &str, value: &str, default: T) -> Result<T, String> {
    let number: i32 = value.parse().map_err(|_| {
        format!(
            "{key}={value}: write 1 to {}, or -1 for the default",
            i32::MAX
        )
    })?;
    let given = T::try_from(number).ok().filter(|_| number > 0);
    Ok(given.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Result<Net, String> {
        let mut net = Net::default();
        for (key, value) in lines {
            assert!(net.set(key, key, value)?, "{key}");
        }
        Ok(net)
    }

    #[test]
    fn each_key_says_what_it_says_in_zookeeper_and_nothing_more() {
        let net = of(&[
            ("clientPortListenBacklog", "7"),
            ("clientTcpKeepAlive", "true"),
            ("tcpKeepAlive", "true"),
            ("cnxTimeout", "8"),
            ("quorumCnxnTimeoutMs", "9"),
            ("fastleader.minNotificationInterval", "10"),
            ("fastleader.maxNotificationInterval", "11"),
            ("connectToLearnerMasterLimit", "12"),
            ("nio.sessionlessCnxnTimeout", "13"),
            ("leaderConnectDelayDuringRetryMs", "16"),
            ("leaderServes", "no"),
            ("zabra.syncWaitsForQuorum", "true"),
            ("leader.maxConcurrentSnapSyncs", "14"),
            ("leader.maxConcurrentDiffSyncs", "15"),
        ]);
        let expected = Net {
            backlog: 7,
            client_keep_alive: true,
            election_keep_alive: true,
            election_dial_ms: 8,
            election_hello_ms: 9,
            resend_ms: (10, 11),
            connect_limit: Some(12),
            leader_redial_ms: 16,
            first_words_ms: 13,
            leader_serves: false,
            sync_waits: true,
            syncs_max: (14, 15),
        };
        assert_eq!(net, Ok(expected));
        let defaults = of(&[
            ("clientPortListenBacklog", "-1"),
            ("quorumCnxnTimeoutMs", "-1"),
            ("connectToLearnerMasterLimit", "0"),
            ("leaderServes", "yes"),
        ]);
        assert_eq!(defaults, Ok(Net::default()));
        for (key, value) in [
            ("clientPortListenBacklog", "many"),
            ("cnxTimeout", "0"),
            ("cnxTimeout", "2147483648"),
            ("fastleader.minNotificationInterval", "-5"),
            ("connectToLearnerMasterLimit", "-1"),
            ("nio.sessionlessCnxnTimeout", "10s"),
            ("leaderServes", "true"),
            ("zabra.syncWaitsForQuorum", "yes"),
            ("leader.maxConcurrentSnapSyncs", "0"),
            ("leader.maxConcurrentDiffSyncs", "-1"),
            ("tcpKeepAlive", "yes"),
        ] {
            assert!(
                of(&[(key, value)]).unwrap_err().starts_with(key),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn a_learner_may_take_less_time_to_connect_than_to_get_its_data() {
        assert_eq!(Net::default().connect_ms(200, 10), 2000);
        let net = of(&[("connectToLearnerMasterLimit", "3")]).unwrap();
        assert_eq!(net.connect_ms(200, 10), 600);
    }
}
