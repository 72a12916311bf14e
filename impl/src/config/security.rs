//! Keys about who may come in and do what that this server does not have; [`super::keys`] says which they are. A server that ignored
//! them would be weaker than its operator believes, so it does not start; a value that asks for nothing is taken as it is.

use super::keys::{Off, State, find};

/// Whether a line can be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Honoured {
    /// It asks for nothing that is not so anyway.
    Yes,
    /// It is about security, and nothing is done about it: why that would not be safe.
    No(&'static str),
    /// It is about something else.
    NoKeyOfSecurity,
}

/// Whether the line `key=value` can be kept; the key without the prefix `zookeeper.`.
pub(super) fn honoured(key: &str, value: &str) -> Honoured {
    let row = find(key).filter(|row| row.state == State::Refused);
    let Some(row) = row else {
        return Honoured::NoKeyOfSecurity;
    };
    let value = value.trim();
    let word = value.to_ascii_lowercase();
    let is_false = matches!(word.as_str(), "" | "false" | "no");
    let asks_for_nothing = match row.off {
        Off::False => is_false,
        Off::None => is_false || word == "none",
        Off::Classes(classes) => classes.contains(&value),
        Off::Any => true,
        Off::Never => false,
    };
    if asks_for_nothing {
        Honoured::Yes
    } else {
        Honoured::No(row.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that ask for something, and values that do not (C-21).
    const LINES: &[(&str, &[&str], &[&str])] = &[
        (
            "audit.impl.class",
            &["my.Logger"],
            &["org.apache.zookeeper.audit.Slf4jAuditLogger"],
        ),
        ("admin.portUnification", &["true"], &["false"]),
        ("admin.forceHttps", &["true"], &["false"]),
        ("admin.needClientAuth", &["true"], &["false"]),
        ("metricsProvider.httpsPort", &["7443"], &["-1"]),
        ("secureClientPort", &["2281"], &[]),
        ("secureClientPortAddress", &["127.0.0.1"], &[]),
        ("client.portUnification", &["true"], &["false"]),
        ("client.certReload", &["true"], &["false"]),
        ("portUnification", &["true"], &["false", "False"]),
        ("sslQuorum", &["true"], &["false"]),
        ("sslQuorumReloadCertFiles", &["true"], &["false"]),
        ("ssl.clientAuth", &["need", "want"], &["none", "NONE"]),
        ("ssl.quorum.clientAuth", &["need", "want"], &["none"]),
        ("ssl.clientHostnameVerification", &["true"], &["false"]),
        ("ssl.quorum.hostnameVerification", &["true"], &["false"]),
        (
            "ssl.quorum.clientHostnameVerification",
            &["true"],
            &["false"],
        ),
        ("ssl.crl", &["true"], &["false"]),
        ("ssl.quorum.ocsp", &["true"], &["false"]),
        ("ssl.keyStore.location", &["/a.jks"], &[]),
        ("ssl.quorum.trustStore.password", &["secret"], &[]),
        ("ssl.enabledProtocols", &["TLSv1.3"], &[]),
        ("ssl.authProvider", &["x509"], &[]),
        ("X509AuthenticationProvider.superUser", &["CN=a"], &[]),
        ("requireClientAuthScheme", &["sasl"], &["none"]),
        ("enforce.auth.sasl", &["true"], &["false"]),
        (
            "authProvider.1",
            &["my.Provider"],
            &[
                "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
                "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
            ],
        ),
        ("authProvider.sasl", &["my.Provider"], &[]),
        ("DigestAuthenticationProvider.other", &["x"], &[]),
        (
            "IPAuthenticationProvider.usexforwardedfor",
            &["true"],
            &["false"],
        ),
        ("SASLAuthenticationProvider.superPassword", &["secret"], &[]),
        ("superUser", &["alice"], &[]),
        ("superUser.2", &["bob"], &[]),
        ("sasl.serverconfig", &["Server"], &[]),
        ("kinit", &[], &["/usr/bin/kinit"]),
        ("requireKerberosConfig", &["true"], &["false"]),
        ("quorum.auth.enableSasl", &["true"], &["false"]),
        ("quorum.auth.learnerRequireSasl", &["true"], &["false"]),
        ("quorum.auth.serverRequireSasl", &["true"], &["false"]),
    ];

    fn of(line: &str) -> Result<crate::config::Config, (String, Option<usize>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let text = format!("dataDir={}\n{line}\nclientPort=1\n", dir.path().display());
        std::fs::write(&path, text).unwrap();
        crate::config::check::load(&path).map_err(|e| match e {
            crate::config::ConfigError::Line { line, what, .. } => (what, Some(line)),
            other => (other.to_string(), None),
        })
    }

    /// C-30, and C-21 from the other side.
    #[test]
    fn c_30_an_option_of_security_is_honoured_or_refuses_the_start() {
        for (key, asking, quiet) in LINES.iter().copied() {
            for prefix in ["", "zookeeper."] {
                for value in asking {
                    let (what, line) = of(&format!("{prefix}{key}={value}")).unwrap_err();
                    assert_eq!(line, Some(2), "{key}={value}: {what}");
                    assert!(
                        what.contains(key) && what.contains("remove the line"),
                        "{what}"
                    );
                }
                for value in quiet {
                    let config = of(&format!("{prefix}{key}={value}")).unwrap();
                    assert!(config.unused.is_empty(), "{key}={value} is no warning");
                }
            }
        }
    }

    #[test]
    fn c_30_what_is_honoured_is_in_the_configuration() {
        use crate::config::DigestHash::{Md5, Sha1, Sha3By256, Sha256, Sha512, Sha512By224};
        let digest = |line: &str| of(line).unwrap().digest;
        assert_eq!(digest(""), Some(Sha1));
        for (value, hash) in [
            ("SHA1", Sha1),
            ("SHA-256", Sha256),
            ("sha-512", Sha512),
            ("SHA-512/224", Sha512By224),
            ("SHA3-256", Sha3By256),
            ("MD5", Md5),
        ] {
            for prefix in ["", "zookeeper."] {
                let line = format!("{prefix}DigestAuthenticationProvider.digestAlg={value}");
                assert_eq!(digest(&line), Some(hash));
            }
        }
        assert_eq!(digest("DigestAuthenticationProvider.enabled=false"), None);
        assert_eq!(
            digest("DigestAuthenticationProvider.enabled=true"),
            Some(Sha1)
        );
        for (line, enforced) in [
            ("", false),
            ("enforceQuota=false", false),
            ("enforceQuota=true", true),
            ("zookeeper.enforceQuota=TRUE", true),
        ] {
            assert_eq!(of(line).unwrap().enforce_quota, enforced, "{line}");
        }
        let (what, line) = of("enforceQuota=1").unwrap_err();
        assert!(line == Some(2) && what.contains("true or false"), "{what}");
        let (what, line) = of("DigestAuthenticationProvider.digestAlg=MD2").unwrap_err();
        assert!(line == Some(2) && what.contains("SHA-256"), "{what}");
    }

    #[test]
    fn other_keys_are_none_of_this() {
        for key in [
            "tickTime",
            "quorum.cnxn.threads.size",
            "authProviders",
            "sslX",
            "super",
        ] {
            assert_eq!(honoured(key, "x"), Honoured::NoKeyOfSecurity, "{key}");
        }
    }
}
