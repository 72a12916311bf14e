//! `zabra tls init`: the files of TLS for development, from an authority made for them, and the lines that name them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The names by which a server is reached on the machine that it runs on.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const YEARS: i32 = 10;

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file is there already, or the directory cannot be written.
    #[error("{path}: {source}; nothing is written over, so name a directory that is new")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A host's name is none.
    #[error("{host:?} can be no name of a server in a certificate; write a DNS name or an address")]
    Host {
        /// What was asked for.
        host: String,
    },
    /// Keys or certificates cannot be made.
    #[error("no certificate can be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// Writes `ca.pem`, `ca.key.pem`, `server.pem` and `client.pem` into `dir`, the server's certificate for this machine and `hosts`.
/// Returns what to do with them.
///
/// # Errors
/// [`InitError`].
pub fn init(dir: &Path, hosts: &[String]) -> Result<String, InitError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| InitError::File { path, source }
    };
    // One by one, so that the wrong one can be told.
    for host in hosts {
        let refused = |_| InitError::Host { host: host.clone() };
        CertificateParams::new(vec![host.clone()]).map_err(refused)?;
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed(dir))?;
    let dir = dir.canonicalize().map_err(failed(dir))?;
    let (authority, key) = authority()?;
    let names: Vec<String> = HOSTS.iter().map(ToString::to_string).collect();
    let names = names.into_iter().chain(hosts.iter().cloned()).collect();
    // Servers show theirs to each other, too, whichever of them dials.
    let (by_server, by_client) = (
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    let both = vec![by_server, by_client.clone()];
    let server = own(&authority, "server", names, both)?;
    let client = own(&authority, "client", vec![], vec![by_client])?;
    let files = [
        ("ca.pem", authority.pem()),
        ("ca.key.pem", key),
        ("server.pem", server),
        ("client.pem", client),
    ];
    // All of them before the first one is written: what is there belongs together.
    if let Some((name, _)) = files.iter().find(|(name, _)| dir.join(name).exists()) {
        return Err(failed(&dir.join(name))(ErrorKind::AlreadyExists.into()));
    }
    for (name, text) in files {
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed(&path))?;
    }
    Ok(told(&dir))
}

fn params(name: &str, names: Vec<String>) -> Result<CertificateParams, InitError> {
    let mut params = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Zabra development");
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    const YEAR_SECONDS: u64 = 31_556_952;
    let year = 1970 + now.map_or(0, |now| now.as_secs() / YEAR_SECONDS);
    let year = i32::try_from(year).unwrap_or(2000);
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    Ok(params)
}

fn authority() -> Result<(CertifiedIssuer<'static, KeyPair>, String), InitError> {
    let mut params = params("authority", vec![])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let text = key.serialize_pem();
    Ok((CertifiedIssuer::self_signed(params, key)?, text))
}

/// A private key and the certificate of it.
fn own(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    names: Vec<String>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
) -> Result<String, InitError> {
    let mut params = params(name, names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

fn told(dir: &Path) -> String {
    let at = dir.display();
    format!(
        r#"Written to {at}, for development, valid for {YEARS} years: ca.pem, ca.key.pem (whoever has it makes clients), server.pem, client.pem.

zoo.cfg:
  secureClientPort=2281
  ssl.keyStore.location={at}/server.pem
  ssl.trustStore.location={at}/ca.pem

Between the servers, in the zoo.cfg of each, with a copy of these files (their hosts have to be in the certificate: --host):
  sslQuorum=true
  ssl.quorum.keyStore.location={at}/server.pem
  ssl.quorum.trustStore.location={at}/ca.pem

A Java client, 3.5.5 or later, with Netty:
  -Dzookeeper.client.secure=true
  -Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty
  -Dzookeeper.ssl.keyStore.location={at}/client.pem
  -Dzookeeper.ssl.trustStore.location={at}/ca.pem

kazoo:
  KazooClient(hosts="localhost:2281", use_ssl=True, ca="{at}/ca.pem",
              certfile="{at}/client.pem", keyfile="{at}/client.pem")

The C client's shell:
  cli_st --host localhost:2281 --ssl {at}/ca.pem,{at}/client.pem,{at}/client.pem

In ACLs this client is x509:CN=client,O=Zabra development
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_for_their_owner_alone_and_are_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("tls");
        let said = init(&at, &["zk-1.example".into()]).unwrap();
        assert!(
            said.contains("server.pem") && !said.contains("PRIVATE"),
            "{said}"
        );
        for name in ["ca.pem", "ca.key.pem", "server.pem", "client.pem"] {
            let mode = at.join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let key = std::fs::read(at.join("ca.key.pem")).unwrap();
        let refusal = init(&at, &[]).unwrap_err().to_string();
        assert!(refusal.contains("nothing is written over"), "{refusal}");
        assert_eq!(std::fs::read(at.join("ca.key.pem")).unwrap(), key);
        let refusal = init(&dir.path().join("b"), &["\u{e9}".into()]).unwrap_err();
        assert!(matches!(refusal, InitError::Host { .. }));
    }
}
