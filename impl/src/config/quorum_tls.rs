//! TLS between the servers: its keys of `zoo.cfg`.
//!
//! An ensemble moves to it in three rounds of restarts, one server after the other: `portUnification=true` (each takes both), then
//! `sslQuorum=true` beside it (each dials with TLS), then without `portUnification` (nobody takes plain text).

use super::tls::{ClientAuth, Context, ContextLines};
use super::values::flag;

/// What the keys of its stores begin with.
const PREFIX: &str = "ssl.quorum.";
/// How long the first byte of a connection may take that says whether it speaks TLS, ms, where no line says it.
const DETECTION_MS: u64 = 5000;

/// TLS at the quorum port and at the election port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumTls {
    /// Stores, versions, suites, and whether those who dial show a certificate. There is a trust store.
    pub context: Context,
    /// Whether this server dials with it (`sslQuorum`).
    pub dials: bool,
    /// Whether plain text is taken, too (`portUnification`).
    pub takes_plain: bool,
    /// Whether stores that change are read anew.
    pub reload: bool,
    /// Whether the certificate of a server that is dialled has to be that of its host.
    pub compares_dialled: bool,
    /// Whether the certificate of a server that dials has to be that of the member that it says it is.
    pub compares_diallers: bool,
    /// How long the first byte of a connection may take, ms.
    pub detection_ms: u64,
}

impl QuorumTls {
    /// Whether nobody gets a word in at these ports without a certificate.
    #[must_use]
    pub fn guards(&self) -> bool {
        !self.takes_plain && self.context.client_auth == ClientAuth::Need
    }
}

/// What the lines said.
#[derive(Clone, Debug, Default)]
pub struct QuorumTlsLines {
    /// The line that has `sslQuorum=true`.
    dials: Option<usize>,
    /// The line that has `portUnification=true`.
    takes_plain: Option<usize>,
    reload: bool,
    names: Option<bool>,
    dialler_names: Option<bool>,
    detection_ms: Option<u64>,
    context: ContextLines,
    /// The first line that asks for something without switching TLS on.
    asks: Option<(usize, String)>,
}

impl QuorumTlsLines {
    /// Takes a line, the key without the prefix `zookeeper.`; false if it is another's.
    ///
    /// # Errors
    /// What is wrong with the value, which is said only where it is no password.
    pub fn set(&mut self, number: usize, key: &str, value: &str) -> Result<bool, String> {
        let asks = match key {
            "sslQuorum" => {
                self.dials = flag(key, value)?.then_some(number);
                false
            }
            "portUnification" => {
                self.takes_plain = flag(key, value)?.then_some(number);
                false
            }
            "sslQuorumReloadCertFiles" => {
                self.reload = flag(key, value)?;
                self.reload
            }
            _ => match key.strip_prefix(PREFIX) {
                Some(part) => match self.set_of_context(number, (key, part), value)? {
                    Some(asks) => asks,
                    None => return Ok(false),
                },
                None => return Ok(false),
            },
        };
        if asks {
            self.asks.get_or_insert_with(|| (number, key.to_owned()));
        }
        Ok(true)
    }

    /// As [`ContextLines::set`].
    fn set_of_context(
        &mut self,
        number: usize,
        (key, part): (&str, &str),
        value: &str,
    ) -> Result<Option<bool>, String> {
        match part {
            "hostnameVerification" => {
                self.names = Some(flag(key, value)?);
                Ok(Some(self.names == Some(true)))
            }
            "clientHostnameVerification" => {
                self.dialler_names = Some(flag(key, value)?);
                Ok(Some(self.dialler_names == Some(true)))
            }
            "handshakeDetectionTimeoutMillis" => {
                // By itself it asks for nothing. Less than 1 is the default, as in ZooKeeper.
                let ms: i32 = value.parse().map_err(|_| {
                    format!("{key}={value} is no number; write milliseconds, or remove the line")
                })?;
                self.detection_ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
                Ok(Some(false))
            }
            _ => self.context.set(number, (key, part), value),
        }
    }

    /// What they mean together.
    ///
    /// # Errors
    /// The line, what is missing beside it, and what to do.
    pub fn check(self) -> Result<Option<QuorumTls>, (usize, String)> {
        let dials = self.dials.map(|line| (line, "sslQuorum"));
        let both = self.takes_plain.map(|line| (line, "portUnification"));
        let Some((line, asking)) = dials.or(both) else {
            return match self.asks {
                None => Ok(None),
                Some((line, key)) => Err((
                    line,
                    format!(
                        "{key} is about TLS between servers, which none of them would speak; write sslQuorum=true, or remove the line"
                    ),
                )),
            };
        };
        if !self.context.has_trust_store() {
            return Err((
                line,
                format!(
                    "{asking} needs the authorities whose certificates of servers are taken; write {PREFIX}trustStore.location=CA.pem, or remove the line"
                ),
            ));
        }
        let context = self.context.check(PREFIX, (line, asking))?;
        let compares_dialled = self.names.unwrap_or(true);
        Ok(Some(QuorumTls {
            context,
            dials: self.dials.is_some(),
            takes_plain: self.takes_plain.is_some(),
            reload: self.reload,
            compares_dialled,
            // As in ZooKeeper, the one switches off both.
            compares_diallers: compares_dialled && self.dialler_names.unwrap_or(true),
            detection_ms: self.detection_ms.unwrap_or(DETECTION_MS),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tls::{Protocol, StoreKind};

    fn of(text: &str) -> Result<Option<QuorumTls>, String> {
        let mut lines = QuorumTlsLines::default();
        for (at, line) in text.lines().enumerate() {
            let (key, value) = line.split_once('=').unwrap();
            assert!(lines.set(at + 1, key, value)?, "{line}");
        }
        lines.check().map_err(|(_, what)| what)
    }

    const STORES: &str =
        "ssl.quorum.keyStore.location=s.p12\nssl.quorum.trustStore.location=ca.pem\n";

    /// C-30.
    #[test]
    fn c_30_the_defaults_between_servers_are_java_s() {
        let tls = of(&format!("{STORES}sslQuorum=true")).unwrap().unwrap();
        assert!(tls.dials && !tls.takes_plain && !tls.reload && tls.guards());
        assert!(tls.compares_dialled && tls.compares_diallers);
        assert_eq!(tls.detection_ms, 5000);
        assert_eq!(tls.context.client_auth, ClientAuth::Need);
        assert_eq!(tls.context.protocols, [Protocol::V12, Protocol::V13]);
        assert_eq!(tls.context.key_store.kind, StoreKind::Java);
        assert_eq!(
            tls.context.key_store.password_key,
            "ssl.quorum.keyStore.passwordPath"
        );
    }

    #[test]
    fn each_round_of_a_move_to_tls_is_a_configuration_of_its_own() {
        for (lines, dials, takes_plain, guards) in [
            ("portUnification=true", false, true, false),
            ("portUnification=true\nsslQuorum=true", true, true, false),
            ("portUnification=false\nsslQuorum=true", true, false, true),
            (
                "sslQuorum=true\nssl.quorum.clientAuth=want",
                true,
                false,
                false,
            ),
        ] {
            let tls = of(&format!("{STORES}{lines}")).unwrap().unwrap();
            let is = (tls.dials, tls.takes_plain, tls.guards());
            assert_eq!(is, (dials, takes_plain, guards), "{lines}");
        }
    }

    #[test]
    fn without_the_names_of_those_who_are_dialled_nobody_s_are_compared() {
        let names = "ssl.quorum.hostnameVerification=false\n";
        let of_diallers = "ssl.quorum.clientHostnameVerification";
        for (lines, dialled, diallers) in [
            (names.to_owned(), false, false),
            (format!("{names}{of_diallers}=true"), false, false),
            (format!("{of_diallers}=false"), true, false),
        ] {
            let tls = of(&format!("{STORES}sslQuorum=true\n{lines}")).unwrap();
            let tls = tls.unwrap();
            let is = (tls.compares_dialled, tls.compares_diallers);
            assert_eq!(is, (dialled, diallers), "{lines}");
        }
        for (ms, detection_ms) in [("7", 7), ("0", 5000), ("-1", 5000)] {
            let line = format!("ssl.quorum.handshakeDetectionTimeoutMillis={ms}");
            let tls = of(&format!("{STORES}sslQuorum=true\n{line}")).unwrap();
            assert_eq!(tls.unwrap().detection_ms, detection_ms);
        }
    }

    /// C-30: what is asked for and cannot be had is refused with what to write, and a password is not said.
    #[test]
    fn c_30_what_tls_between_servers_cannot_have_is_refused() {
        let store = "ssl.quorum.trustStore.location=ca.pem";
        let without_key = format!("sslQuorum=true\n{store}");
        for (lines, words) in [
            ("sslQuorum=true", "write ssl.quorum.trustStore.location="),
            ("portUnification=true", "portUnification needs"),
            (&without_key, "write ssl.quorum.keyStore.location="),
            (store, "write sslQuorum=true"),
            ("sslQuorumReloadCertFiles=true", "write sslQuorum=true"),
            (
                "ssl.quorum.hostnameVerification=true",
                "write sslQuorum=true",
            ),
            ("ssl.quorum.keyStore.password=secret", "sslQuorum=true"),
            ("sslQuorum=yes", "true or false"),
            ("ssl.quorum.enabledProtocols=TLSv1.1", "TLSv1.3"),
            ("ssl.quorum.clientAuth=maybe", "need, want or none"),
            (
                "ssl.quorum.handshakeDetectionTimeoutMillis=x",
                "milliseconds",
            ),
        ] {
            let refusal = of(lines).unwrap_err();
            assert!(refusal.contains(words), "{lines}: {refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        let quiet = "sslQuorum=false\nportUnification=false\nssl.quorum.clientAuth=none\nssl.quorum.hostnameVerification=false\nssl.quorum.handshakeDetectionTimeoutMillis=9";
        assert_eq!(of(quiet), Ok(None));
    }
}
