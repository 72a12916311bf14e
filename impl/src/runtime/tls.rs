//! TLS of clients: what a start reads for it, and the handshake, after which a connection is one like any other.

use super::doors::Strangers;
use super::stores::{self, wrong};
use super::subject;
use crate::client::lock::lock;
use crate::config::Config;
use crate::config::tls::{ClientAuth, Password, Protocol, Tls as Settings};
use crate::error::ServerError;
use crate::error::panics::caught;
use crate::limits::{HANDSHAKE_TIME, IDENTITY_BYTES_MAX, Seldom};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{InvalidMessage, ServerConfig, version};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info, warn};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zabra_model::tree::acl::Id;

/// When a file changed last, and its length; `None` if it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

/// How often it is looked whether the stores have changed (`client.certReload`).
const LOOK: Duration = Duration::from_secs(2);

/// What every handshake needs. Not `Debug`: there is a private key in it.
pub struct Tls {
    /// What the stores held when they were read last.
    current: Mutex<Arc<ServerConfig>>,
    /// Handshakes that are not finished.
    handshakes: Mutex<Strangers>,
    settings: Settings,
    zoo_cfg: PathBuf,
    seen: Vec<Stamp>,
    super_user: Option<Box<str>>,
    told: Mutex<Seldom>,
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("its handshake was not finished within {} s", HANDSHAKE_TIME.as_secs())]
    Slow,
    #[error("what it sent is no TLS; a client that speaks plain text belongs to clientPort")]
    Plain,
    #[error("it sent a TLS record that is longer than TLS allows")]
    TooLong,
    #[error("it shows no certificate, and ssl.clientAuth=need asks for one")]
    NoCertificate,
    #[error("its certificate is not taken: {0}; see ssl.trustStore.location")]
    Certificate(rustls::CertificateError),
    #[error("its certificate has a subject that cannot be read, or is too long for an ACL")]
    Subject,
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|e| e.downcast_ref());
        match of_tls {
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => Self::Plain,
            Some(rustls::Error::InvalidMessage(InvalidMessage::MessageTooLarge)) => Self::TooLong,
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(why.clone()),
            _ => Self::Other(error),
        }
    }
}

impl Tls {
    /// Reads the stores, if the configuration asks for TLS.
    ///
    /// # Errors
    /// [`ServerError::Config`], which names the file and says what to do.
    pub fn load(config: &Config) -> Result<Option<Arc<Self>>, ServerError> {
        let Some(settings) = &config.tls else {
            return Ok(None);
        };
        // Before they are read, so that no change falls between.
        let seen = stamps(settings);
        let server = server_config(&config.path, settings)?;
        Ok(Some(Arc::new(Self {
            current: Mutex::new(Arc::new(server)),
            handshakes: Mutex::new(Strangers::new(settings.handshakes_max)),
            settings: settings.clone(),
            zoo_cfg: config.path.clone(),
            seen,
            super_user: settings.super_user.clone(),
            told: Mutex::default(),
        })))
    }

    /// Of so many places of clients, handshakes that say nothing leave half to others.
    pub fn share(&self, places: usize) {
        lock(&self.handshakes).narrow((places / 2).max(1));
    }

    /// Runs a handshake from this address; one that is not finished may have to give way to it.
    pub fn hear_out(&self, from: IpAddr, handshake: impl Future<Output = ()> + Send + 'static) {
        lock(&self.handshakes).hear_out(from, handshake);
    }

    /// Reads the stores anew when they change, if the configuration asks for it: connections that come then are of the new ones. What
    /// cannot be used is told, and the old ones are kept.
    pub fn watch(self: Arc<Self>) {
        if !self.settings.reload {
            return;
        }
        tokio::spawn(async move {
            let mut seen = self.seen.clone();
            loop {
                sleep(LOOK).await;
                let tls = Arc::clone(&self);
                let before = seen.clone();
                let look = move || tls.look(before, server_config);
                // Only the end of the process ends a look without a result.
                let Ok(now) = tokio::task::spawn_blocking(look).await else {
                    return;
                };
                seen = now;
            }
        });
    }

    fn look(
        &self,
        before: Vec<Stamp>,
        read: impl FnOnce(&Path, &Settings) -> Result<ServerConfig, ServerError>,
    ) -> Vec<Stamp> {
        let now = stamps(&self.settings);
        if now == before {
            return before;
        }
        // The parsers are others', and the files may be anything.
        match caught(|| read(&self.zoo_cfg, &self.settings)) {
            Ok(Ok(server)) => {
                *lock(&self.current) = Arc::new(server);
                info!("the stores of TLS have changed and are read anew");
            }
            // Both files may be on their way; what comes next changes them again.
            Ok(Err(why)) => {
                error!(%why, "the stores of TLS have changed, and those before are kept");
            }
            Err(why) => {
                error!(%why, "the stores of TLS have changed, reading them met a fault of this server, and those before are kept; write the stores in another format");
            }
        }
        now
    }

    /// The handshake: the stream, and who the client is by its certificate. `None`: it is not let in, which is in the log.
    pub async fn shake(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        now_ms: impl Fn() -> u64,
    ) -> Option<(TlsStream<TcpStream>, Vec<Id>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&lock(&self.current)));
        let shaken = match timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.ids(&stream).map(|ids| (stream, ids)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Refusal::Slow),
        };
        shaken
            .inspect_err(|why| match lock(&self.told).due(now_ms()) {
                Some(unsaid) => {
                    warn!(%from, unsaid, "a client with TLS is refused: {why}")
                }
                None => debug!(%from, "a client with TLS is refused: {why}"),
            })
            .ok()
    }

    /// Source: ZooKeeper `X509AuthenticationProvider`.
    fn ids(&self, stream: &TlsStream<TcpStream>) -> Result<Vec<Id>, Refusal> {
        let (_, connection) = stream.get_ref();
        let Some([own, ..]) = connection.peer_certificates() else {
            return Ok(vec![]);
        };
        let certificate = Certificate::from_der(own).ok();
        let subject = certificate
            .and_then(|c| subject::text(&c.tbs_certificate.subject))
            .filter(|text| text.len() <= IDENTITY_BYTES_MAX / 4)
            .ok_or(Refusal::Subject)?;
        Ok(known_by(&subject, self.super_user.as_deref()))
    }
}

/// Who the holder of a certificate with this subject is: nobody, if there is none in it (D-62).
fn known_by(subject: &str, super_user: Option<&str>) -> Vec<Id> {
    if subject.is_empty() {
        return vec![];
    }
    let id = |scheme: &str| Id {
        scheme: scheme.into(),
        id: subject.into(),
    };
    let is_super = super_user == Some(subject);
    let ids = is_super.then(|| id("super")).into_iter();
    ids.chain([id("x509")]).collect()
}

fn server_config(zoo_cfg: &Path, settings: &Settings) -> Result<ServerConfig, ServerError> {
    let (chain, key) = stores::own(&settings.key_store)?;
    let mut provider = ring::default_provider();
    choose_suites(zoo_cfg, &mut provider, &settings.suites)?;
    let provider = Arc::new(provider);
    let versions: Vec<_> = settings.protocols.iter().map(of_version).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| {
            wrong(zoo_cfg, format!("ssl.enabledProtocols and ssl.ciphersuites leave nothing to speak: {error}; name a suite of each protocol"))
        })?;
    let builder = match (settings.client_auth, &settings.trust_store) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (auth, Some(trust)) => {
            let roots = Arc::new(stores::authorities(trust)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match auth {
                ClientAuth::Want => verifier.allow_unauthenticated(),
                ClientAuth::Need | ClientAuth::None => verifier,
            };
            let built = verifier
                .build()
                .map_err(|error| wrong(&trust.path, error.to_string()))?;
            builder.with_client_cert_verifier(built)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        wrong(&settings.key_store.path, format!("the private key and the first certificate do not fit together: {error}; put the certificate of this key first"))
    })?;
    // Each connection proves anew who it is: a certificate that has expired meanwhile is not taken again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn stamps(settings: &Settings) -> Vec<Stamp> {
    let stores = [Some(&settings.key_store), settings.trust_store.as_ref()];
    let files = stores.into_iter().flatten().flat_map(|store| {
        let password = match &store.password {
            Some(Password::File(path)) => Some(path),
            Some(Password::Text(_)) | None => None,
        };
        [Some(&store.path), password].into_iter().flatten()
    });
    files
        .map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
        .collect()
}

fn of_version(protocol: &Protocol) -> &'static rustls::SupportedProtocolVersion {
    match protocol {
        Protocol::V12 => &version::TLS12,
        Protocol::V13 => &version::TLS13,
    }
}

/// Keeps the suites that are named, in Java's spelling.
fn choose_suites(
    zoo_cfg: &Path,
    provider: &mut CryptoProvider,
    named: &[String],
) -> Result<(), ServerError> {
    if named.is_empty() {
        return Ok(());
    }
    let name = |suite: &rustls::SupportedCipherSuite| {
        format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
    };
    let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    // Java's lists name more than any server has; what is left must be something.
    for unknown in named.iter().filter(|n| !known.contains(n)) {
        warn!("ssl.ciphersuites: {unknown} is not spoken here, and is left out");
    }
    provider.cipher_suites.retain(|s| named.contains(&name(s)));
    if provider.cipher_suites.is_empty() {
        let all = known.join(",");
        let what = format!("ssl.ciphersuites names nothing that is spoken here; there are {all}");
        return Err(wrong(zoo_cfg, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_init::init;

    /// D-62: an ACL cannot name the empty subject, and a super user who is configured as nothing is nobody.
    #[test]
    fn a_certificate_without_a_subject_makes_nobody_known() {
        assert_eq!(known_by("", None), []);
        assert_eq!(known_by("", Some("")), []);
        let schemes = |super_user| -> Vec<Box<str>> {
            let ids = known_by("CN=a", super_user).into_iter();
            ids.map(|id| id.scheme).collect()
        };
        assert_eq!(schemes(Some("CN=b")), [Box::from("x509")]);
        assert_eq!(
            schemes(Some("CN=a")),
            [Box::from("super"), Box::from("x509")]
        );
    }

    /// A fault of a parser ends neither the looking nor the server: the stores before are kept, and those that come later are read.
    #[test]
    fn a_panic_over_changed_stores_keeps_those_before_and_the_next_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let stores = dir.path().join("tls");
        init(&stores, &[]).unwrap();
        let files = stores.display();
        let text = format!(
            "dataDir=d\nsecureClientPort=0\nclient.certReload=true\nssl.keyStore.location={files}/server.pem\nssl.trustStore.location={files}/ca.pem\n"
        );
        let config = crate::config::check::read(Path::new("zoo.cfg"), &text).unwrap();
        let tls = Tls::load(&config).unwrap().unwrap();
        let first = Arc::clone(&lock(&tls.current));
        let panics = |_: &Path, _: &Settings| panic!("an index beyond the end");
        let seen = tls.look(vec![], panics);
        assert_eq!(
            seen, tls.seen,
            "it is not looked at again before it changes"
        );
        assert!(Arc::ptr_eq(&first, &lock(&tls.current)));
        assert_eq!(tls.look(vec![], server_config), tls.seen);
        assert!(!Arc::ptr_eq(&first, &lock(&tls.current)));
    }
}
