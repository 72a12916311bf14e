//! Keys and certificates of `zabra tls init`, for servers and for stock clients.

use crate::cluster::binary;
use crate::interop::run_to_end;
use anyhow::Result;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The files, in a directory that is removed at the end.
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
            Command::new(binary()?)
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

    /// The lines of `zoo.cfg`: one port for both, so that four-letter words are answered in plain text; no client gets through without
    /// a certificate.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.path().join(name).display().to_string();
        vec![
            ("client.portUnification", "true".into()),
            ("enforce.auth.enabled", "true".into()),
            ("enforce.auth.schemes", "x509".into()),
            ("ssl.keyStore.location", file("server.pem")),
            ("ssl.trustStore.location", file("ca.pem")),
        ]
    }

    /// What tells the programs where the files are; a Java machine takes its settings from a variable of its own.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
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
