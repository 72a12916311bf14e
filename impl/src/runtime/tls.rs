//! TLS of clients: what a start reads for it, and the handshake, after which a connection is one like any other.

use super::doors::Strangers;
use super::fresh::Fresh;
use super::shown::remember;
use super::subject;
use super::tls_config::{Refusal, of_those_who_dial};
use crate::client::lock::lock;
use crate::codes::Code;
use crate::config::Config;
use crate::error::ServerError;
use crate::limits::{HANDSHAKE_TIME, IDENTITY_BYTES_MAX, Seldom};
use rustls::ServerConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zabra_model::tree::acl::Id;

/// What every handshake needs. Not `Debug`: there is a private key in it.
pub struct Tls {
    stores: Arc<Fresh<ServerConfig>>,
    /// Handshakes that are not finished.
    handshakes: Mutex<Strangers>,
    reload: bool,
    super_user: Option<Box<str>>,
    told: Mutex<Seldom>,
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
        Ok(Some(Arc::new(Self {
            stores: Fresh::load(&config.path, &settings.context, of_those_who_dial)?,
            handshakes: Mutex::new(Strangers::new(settings.handshakes_max)),
            reload: settings.reload,
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

    /// Reads the stores anew when they change, if the configuration asks for it.
    pub fn watch(&self) {
        if self.reload {
            Arc::clone(&self.stores).watch();
        }
    }

    /// The handshake: the stream, and who the client is by its certificate. `None`: it is not let in, which is in the log.
    pub async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        from: SocketAddr,
        now_ms: impl Fn() -> u64,
    ) -> Option<(TlsStream<S>, Vec<Id>)> {
        let acceptor = TlsAcceptor::from(self.stores.current());
        let handshake = timeout(HANDSHAKE_TIME, acceptor.accept(stream));
        let (shaken, refused) = remember(handshake).await;
        let shaken = match shaken {
            Ok(Ok(stream)) => self.ids(&stream).map(|ids| (stream, ids)),
            Ok(Err(error)) => Err(Refusal::of(error, "ssl.").with_subject(refused)),
            Err(_) => Err(Refusal::Slow),
        };
        shaken
            .inspect_err(|why| match lock(&self.told).due(now_ms()) {
                Some(unsaid) => {
                    warn!(code = %Code::TlsClientRefused, %from, unsaid, "a client with TLS is refused: {why}")
                }
                None => debug!(%from, "a client with TLS is refused: {why}"),
            })
            .ok()
    }

    /// Source: ZooKeeper `X509AuthenticationProvider`.
    fn ids<S>(&self, stream: &TlsStream<S>) -> Result<Vec<Id>, Refusal> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
