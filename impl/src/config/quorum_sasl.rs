//! SASL between the servers: its keys of `zoo.cfg`, and the two sections of the JAAS file that it needs.
//!
//! ```text
//! QuorumServer {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_zk="secret";
//! };
//! QuorumLearner {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     username="zk" password="secret";
//! };
//! ```
//! An ensemble moves to it in three rounds of restarts, one server after the other: `quorum.auth.enableSasl=true` (each takes proofs), then
//! `quorum.auth.learnerRequireSasl=true` beside it (each gives them), then `quorum.auth.serverRequireSasl=true` (nobody gets in without).

use super::access::sections;
use super::jaas::{Login, SaslUsers, Section, digest_login, digest_users};
use super::values::flag;
use std::path::PathBuf;

const ENABLED: &str = "quorum.auth.enableSasl";
const LEARNER: &str = "quorum.auth.learnerRequireSasl";
const SERVER: &str = "quorum.auth.serverRequireSasl";

/// SASL at the quorum port and at the election port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSasl {
    /// Of whom proofs are taken.
    pub users: SaslUsers,
    /// As whom this server proves itself.
    pub login: Login,
    /// Whether it does so where it dials (`quorum.auth.learnerRequireSasl`).
    pub proves: bool,
    /// Whether nobody gets in without (`quorum.auth.serverRequireSasl`).
    pub asks: bool,
}

/// What the lines said: each switch with its number.
#[derive(Clone, Debug, Default)]
pub struct QuorumSaslLines {
    enabled: Option<usize>,
    proves: Option<usize>,
    asks: Option<usize>,
    learner_section: Option<String>,
    server_section: Option<String>,
}

impl QuorumSaslLines {
    /// Takes a line, the key without the prefix `zookeeper.`; false if it is another's.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn set(&mut self, number: usize, key: &str, value: &str) -> Result<bool, String> {
        let switch = match key {
            ENABLED => &mut self.enabled,
            LEARNER => &mut self.proves,
            SERVER => &mut self.asks,
            "quorum.auth.learner.saslLoginContext" => {
                self.learner_section = Some(value.to_owned());
                return Ok(true);
            }
            "quorum.auth.server.saslLoginContext" => {
                self.server_section = Some(value.to_owned());
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *switch = flag(key, value)?.then_some(number);
        Ok(true)
    }

    /// What they mean together; `jaas` is the line that names the JAAS file.
    ///
    /// # Errors
    /// The line, what is missing beside it, and what to do.
    ///
    /// Source: ZooKeeper `QuorumPeerConfig`, which refuses the same combinations.
    pub fn check(
        self,
        jaas: Option<&(usize, PathBuf)>,
    ) -> Result<Option<QuorumSasl>, (usize, String)> {
        let Some(line) = self.enabled else {
            return match (self.asks, self.proves) {
                (Some(line), _) => Err((line, needs(SERVER, ENABLED))),
                (None, Some(line)) => Err((line, needs(LEARNER, ENABLED))),
                (None, None) => Ok(None),
            };
        };
        if let (Some(line), None) = (self.asks, self.proves) {
            return Err((line, needs(SERVER, LEARNER)));
        }
        let Some(file) = jaas else {
            return Err((
                line,
                format!(
                    "{ENABLED} needs the file with the servers' passwords; write java.security.auth.login.config=FILE, or remove the line"
                ),
            ));
        };
        let found = sections(file)?;
        let of = |name: Option<String>, default: &str, what: &str| {
            let name = name.unwrap_or_else(|| default.to_owned());
            let path = file.1.display();
            let section = found.iter().find(|section| section.name == name);
            section.ok_or_else(|| {
                let what = format!(
                    "{ENABLED}: {path} has no section {name}, which would say {what}; add it, or remove the line"
                );
                (line, what)
            })
        };
        let wrong = |what| (line, format!("{}: {what}", file.1.display()));
        let server: &Section = of(
            self.server_section,
            "QuorumServer",
            "whose proofs are taken",
        )?;
        let learner: &Section = of(
            self.learner_section,
            "QuorumLearner",
            "as whom this server proves itself",
        )?;
        Ok(Some(QuorumSasl {
            users: digest_users(server).map_err(wrong)?,
            login: digest_login(learner).map_err(wrong)?,
            proves: self.proves.is_some(),
            asks: self.asks.is_some(),
        }))
    }
}

fn needs(key: &str, other: &str) -> String {
    format!(
        "{key}=true means nothing without {other}=true; write that one, too, or remove the line"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = r#"
QuorumServer { a.DigestLoginModule required user_zk="hush"; };
QuorumLearner { a.DigestLoginModule required username="zk" password="hush"; };
Other { a.DigestLoginModule required user_b="hush" username="b" password="hush"; };
"#;

    fn of(jaas: Option<&str>, text: &str) -> Result<Option<QuorumSasl>, (usize, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        std::fs::write(&path, jaas.unwrap_or("")).unwrap();
        let mut lines = QuorumSaslLines::default();
        for (at, line) in text.lines().enumerate() {
            let (key, value) = line.split_once('=').unwrap();
            assert_eq!(lines.set(at + 1, key, value), Ok(true), "{line}");
        }
        lines.check(jaas.map(|_| (9, path)).as_ref())
    }

    #[test]
    fn each_round_of_a_move_to_sasl_is_a_configuration_of_its_own() {
        let mut lines = format!("{ENABLED}=true");
        for (more, proves, asks) in [
            (None, false, false),
            (Some(LEARNER), true, false),
            (Some(SERVER), true, true),
        ] {
            if let Some(key) = more {
                lines += &format!("\n{key}=true");
            }
            let sasl = of(Some(BOTH), &lines).unwrap().unwrap();
            assert_eq!((sasl.proves, sasl.asks), (proves, asks), "{lines}");
            assert_eq!(sasl.users.password("zk"), Some("hush"));
            assert_eq!(&*sasl.login.user, "zk");
            assert!(!format!("{sasl:?}").contains("hush"));
        }
        let other =
            "quorum.auth.server.saslLoginContext=Other\nquorum.auth.learner.saslLoginContext=Other";
        let sasl = of(Some(BOTH), &format!("{lines}\n{other}")).unwrap();
        assert_eq!(&*sasl.unwrap().login.user, "b");
        let quiet = format!("{ENABLED}=false\n{LEARNER}=false\n{SERVER}=false\n{other}");
        assert_eq!(of(None, &quiet), Ok(None));
    }

    /// C-30. GSSAPI is refused, as for clients (D-57).
    #[test]
    fn c_30_what_sasl_between_servers_cannot_have_is_refused() {
        let on = format!("{ENABLED}=true");
        let all = format!("{on}\n{LEARNER}=true\n{SERVER}=true");
        let kerberos = BOTH.replace(
            "a.DigestLoginModule",
            "com.sun.security.auth.module.Krb5LoginModule",
        );
        let no_user = BOTH.replace("username=\"zk\"", "");
        for (jaas, lines, at, words) in [
            (Some(BOTH), format!("{SERVER}=true"), 1, "enableSasl=true"),
            (Some(BOTH), format!("{LEARNER}=true"), 1, "enableSasl=true"),
            (
                Some(BOTH),
                format!("{on}\n{SERVER}=true"),
                2,
                "learnerRequireSasl=true",
            ),
            (None, all.clone(), 1, "java.security.auth.login.config=FILE"),
            (Some(""), all.clone(), 1, "no section QuorumServer"),
            (
                Some("QuorumServer { a.DigestLoginModule required user_zk=\"hush\"; };"),
                all.clone(),
                1,
                "no section QuorumLearner",
            ),
            (Some(&kerberos), all.clone(), 1, "D-57"),
            (Some(&no_user), all, 1, "username="),
        ] {
            let (line, what) = of(jaas, &lines).unwrap_err();
            assert!(line == at && what.contains(words), "{lines}: {line} {what}");
            assert!(!what.contains("hush"), "{what}");
        }
    }
}
