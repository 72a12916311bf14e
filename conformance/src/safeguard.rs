//! How clients show who they are before they may ask for anything: the lines of `zoo.cfg`, and what the clients' programs are told.

use crate::interop::run_to_end;
use anyhow::Result;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Keys or passwords for an ensemble and for stock clients.
pub trait Safeguard {
    /// The lines of `zoo.cfg`, with which nobody gets through who does not show who he is. Four-letter words are answered without.
    fn lines(&self) -> Vec<(&'static str, String)>;

    /// What tells the programs where the files are; a Java machine takes its settings from a variable of its own.
    fn variables(&self) -> Vec<(&'static str, OsString)>;
}

/// Keys and certificates of `zabra tls init`, in a directory that is removed at the end.
#[derive(Debug)]
pub struct DevelopmentTls {
    directory: TempDir,
}

impl DevelopmentTls {
    /// Makes them, with the command that a user would.
    ///
    /// # Errors
    /// The command fails.
    pub fn init() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        run_to_end(
            Command::new(crate::cluster::binary()?)
                .args(["tls", "init"])
                .arg(directory.path().join("tls")),
        )?;
        Ok(Self { directory })
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("tls")
    }
}

impl Safeguard for DevelopmentTls {
    /// One port for both, so that four-letter words are answered in plain text.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.path().join(name).display().to_string();
        vec![
            ("client.portUnification", "true".into()),
            ("enforce.auth.enabled", "true".into()),
            ("enforce.auth.schemes", "x509".into()),
            ("ssl.keyStore.location", file("server.pem")),
            ("ssl.trustStore.location", file("ca.pem")),
        ]
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let at = self.path();
        let file = |name: &str| Path::display(&at.join(name)).to_string();
        let java = [
            "-Dzookeeper.client.secure=true".to_owned(),
            "-Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty".to_owned(),
            format!("-Dzookeeper.ssl.keyStore.location={}", file("client.pem")),
            format!("-Dzookeeper.ssl.trustStore.location={}", file("ca.pem")),
        ];
        vec![
            ("ZABRA_TLS", at.clone().into_os_string()),
            ("JAVA_TOOL_OPTIONS", java.join(" ").into()),
        ]
    }
}

/// A user of SASL (DIGEST-MD5), whose password stands in the files that servers, Java's clients and the C client read, in a directory
/// that is removed at the end.
#[derive(Debug)]
pub struct DevelopmentSasl {
    directory: TempDir,
}

impl DevelopmentSasl {
    /// Writes the files.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn init() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
        let file = |name: &str, text: String| fs::write(directory.path().join(name), text);
        file(
            "server.jaas",
            format!("Server {{ {module} user_ann=\"of ann\"; }};\n"),
        )?;
        file(
            "client.jaas",
            format!("Client {{ {module} username=\"ann\" password=\"of ann\"; }};\n"),
        )?;
        file("password", "of ann\n".into())?;
        Ok(Self { directory })
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

impl Safeguard for DevelopmentSasl {
    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("java.security.auth.login.config", self.file("server.jaas")),
            ("enforce.auth.enabled", "true".into()),
            ("enforce.auth.schemes", "sasl".into()),
        ]
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        // Java's client counts MD5 out by default.
        let java = format!(
            "-Dzookeeper.fips-mode=false -Djava.security.auth.login.config={}",
            self.file("client.jaas")
        );
        vec![
            ("ZABRA_SASL", self.directory.path().into()),
            ("JAVA_TOOL_OPTIONS", java.into()),
        ]
    }
}
