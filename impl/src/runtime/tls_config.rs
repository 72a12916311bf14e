//! What rustls needs for a handshake, made of the configuration: for a server that is dialled, by clients or by others, and for one that
//! dials others. And why a handshake comes to nothing.

use super::shown::{Remembering, not_taken};
use super::stores::{self, wrong};
use crate::codes::Code;
use crate::config::tls::{ClientAuth, Context, Protocol, Store};
use crate::error::ServerError;
use crate::limits::HANDSHAKE_TIME;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{self, CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, ClientConfig, ConfigBuilder, DigitallySignedStruct, InvalidMessage,
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion, WantsVerifier, version,
};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tracing::warn;

/// Why whoever is at the other end is not talked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its handshake was not finished within {} s", HANDSHAKE_TIME.as_secs())]
    Slow,
    #[error("what it sent is no TLS; {0}")]
    Plain(&'static str),
    #[error("it sent a TLS record that is longer than TLS allows")]
    TooLong,
    #[error("it shows no certificate, and {0}clientAuth=need asks for one")]
    NoCertificate(&'static str),
    #[error("{}", not_taken(prefix, subject.as_deref(), why))]
    Certificate {
        prefix: &'static str,
        subject: Option<String>,
        why: rustls::CertificateError,
    },
    #[error(
        "it does not take this server's certificate ({1:?}); the authority of that, of {0}keyStore.location, has to be in its trust store"
    )]
    OwnCertificate(&'static str, AlertDescription),
    #[error("its certificate has a subject that cannot be read, or is too long for an ACL")]
    Subject,
    #[error("{0}")]
    Other(io::Error),
}

impl Refusal {
    /// Of a handshake with this error; `prefix` is what the keys for it begin with.
    pub(super) fn of(error: io::Error, prefix: &'static str) -> Self {
        use AlertDescription as Alert;
        let of_tls = error.get_ref().and_then(|e| e.downcast_ref());
        match of_tls {
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => Self::Plain(if prefix == "ssl." {
                "a client that speaks plain text belongs to clientPort"
            } else {
                "plain text between servers is for the time of portUnification=true"
            }),
            Some(rustls::Error::InvalidMessage(InvalidMessage::MessageTooLarge)) => Self::TooLong,
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate(prefix),
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate {
                prefix,
                subject: None,
                why: why.clone(),
            },
            Some(rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateRequired),
            )) => Self::OwnCertificate(prefix, *alert),
            _ => Self::Other(error),
        }
    }
}

impl Refusal {
    /// With the subject of the certificate that was refused, if one was.
    pub(super) fn with_subject(mut self, of: Option<String>) -> Self {
        if let Self::Certificate { subject, .. } = &mut self {
            *subject = of;
        }
        self
    }
}

/// A chain of certificates and the key of its first one.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// For a server that dials others and is dialled by them.
pub(super) struct BothWays {
    /// For those who dial it.
    pub(super) in_: Arc<ServerConfig>,
    /// For those whom it dials. Whose their certificates are is not looked at in the handshake.
    pub(super) out: Arc<ClientConfig>,
}

/// For a server that is dialled.
///
/// # Errors
/// [`ServerError::Config`].
pub(super) fn of_those_who_dial(
    zoo_cfg: &Path,
    context: &Context,
) -> Result<ServerConfig, ServerError> {
    let own = stores::own(&context.key_store)?;
    let roots = match (context.client_auth, &context.trust_store) {
        (ClientAuth::None, _) | (_, None) => None,
        (ClientAuth::Need | ClientAuth::Want, Some(trust)) => Some(stores::authorities(trust)?),
    };
    dialled(zoo_cfg, context, own, roots)
}

/// For a server that dials, too: it takes no certificate but those of the trust store's authorities.
///
/// # Errors
/// [`ServerError::Config`].
pub(super) fn of_both_ways(zoo_cfg: &Path, context: &Context) -> Result<BothWays, ServerError> {
    let (chain, key) = stores::own(&context.key_store)?;
    let roots = match &context.trust_store {
        Some(trust) => stores::authorities(trust)?,
        None => RootCertStore::empty(),
    };
    let out = dialling(
        zoo_cfg,
        context,
        (chain.clone(), key.clone_key()),
        roots.clone(),
    )?;
    let asks = context.client_auth != ClientAuth::None;
    let in_ = dialled(zoo_cfg, context, (chain, key), asks.then_some(roots))?;
    Ok(BothWays {
        in_: Arc::new(in_),
        out: Arc::new(out),
    })
}

/// For a client, which shows a certificate only if it has one; of servers it takes those of these authorities.
///
/// # Errors
/// [`ServerError::Config`].
pub(super) fn of_a_client(trust: &Store, own: Option<&Store>) -> Result<ClientConfig, ServerError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&trust.path, error.to_string()))?;
    let builder = taking(builder, stores::authorities(trust)?, provider);
    let Some(store) = own else {
        return Ok(builder.with_no_client_auth());
    };
    let (chain, key) = stores::own(store)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| no_pair(store, &error))
}

/// Without `roots` nobody is asked for a certificate.
fn dialled(
    zoo_cfg: &Path,
    context: &Context,
    (chain, key): Own,
    roots: Option<RootCertStore>,
) -> Result<ServerConfig, ServerError> {
    let provider = provider(zoo_cfg, context)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(context))
        .map_err(|error| nothing_to_speak(zoo_cfg, context, &error))?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match context.client_auth {
                ClientAuth::Want => verifier.allow_unauthenticated(),
                ClientAuth::Need | ClientAuth::None => verifier,
            };
            let built = verifier.build().map_err(|error| {
                let trust = context.trust_store.as_ref().map(|store| &store.path);
                wrong(trust.unwrap_or(&context.key_store.path), error.to_string())
            })?;
            builder.with_client_cert_verifier(Arc::new(Remembering(built)))
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| no_pair(&context.key_store, &error))?;
    // Each connection proves anew who it is: a certificate that has expired meanwhile is not taken again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn dialling(
    zoo_cfg: &Path,
    context: &Context,
    (chain, key): Own,
    roots: RootCertStore,
) -> Result<ClientConfig, ServerError> {
    let provider = provider(zoo_cfg, context)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(context))
        .map_err(|error| nothing_to_speak(zoo_cfg, context, &error))?;
    let mut config = taking(builder, roots, provider)
        .with_client_auth_cert(chain, key)
        .map_err(|error| no_pair(&context.key_store, &error))?;
    // As for those who dial: each connection shows anew whose it is.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn taking(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let verifier = Arc::new(OfAuthorities { roots, provider });
    let builder = builder.dangerous();
    builder.with_custom_certificate_verifier(verifier)
}

fn nothing_to_speak(zoo_cfg: &Path, context: &Context, error: &rustls::Error) -> ServerError {
    let prefix = context.prefix;
    wrong(
        zoo_cfg,
        format!(
            "{prefix}enabledProtocols and {prefix}ciphersuites leave nothing to speak: {error}; name a suite of each protocol"
        ),
    )
}

fn no_pair(store: &Store, error: &rustls::Error) -> ServerError {
    wrong(
        &store.path,
        format!(
            "the private key and the first certificate do not fit together: {error}; put the certificate of this key first"
        ),
    )
}

fn versions(context: &Context) -> Vec<&'static SupportedProtocolVersion> {
    let of = |protocol: &Protocol| match protocol {
        Protocol::V12 => &version::TLS12,
        Protocol::V13 => &version::TLS13,
    };
    context.protocols.iter().map(of).collect()
}

/// With the suites that are named, in Java's spelling, or all.
fn provider(zoo_cfg: &Path, context: &Context) -> Result<Arc<CryptoProvider>, ServerError> {
    let mut provider = ring::default_provider();
    let (named, prefix) = (&context.suites, context.prefix);
    if named.is_empty() {
        return Ok(Arc::new(provider));
    }
    let name = |suite: &rustls::SupportedCipherSuite| {
        format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
    };
    let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    // Java's lists name more than any server has; what is left must be something.
    for unknown in named.iter().filter(|n| !known.contains(n)) {
        warn!(code = %Code::CipherUnknown, "{prefix}ciphersuites: {unknown} is not spoken here, and is left out");
    }
    provider.cipher_suites.retain(|s| named.contains(&name(s)));
    if provider.cipher_suites.is_empty() {
        let all = known.join(",");
        let what =
            format!("{prefix}ciphersuites names nothing that is spoken here; there are {all}");
        return Err(wrong(zoo_cfg, what));
    }
    Ok(Arc::new(provider))
}

/// Takes certificates of these authorities, whoever's they are: a name may be an address or the other way round, and is compared by
/// the rule that holds for those who dial, too (`papers`).
#[derive(Debug)]
struct OfAuthorities {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfAuthorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
