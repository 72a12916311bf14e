//! Whose certificate was shown in a handshake that fails: rustls tells why it is not taken, and not whose it is.

use super::subject;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode};

/// A stranger says what its subject is; of a longer one the beginning is told, letters.
const SUBJECT_LETTERS_MAX: usize = 200;

tokio::task_local! {
    /// The subject of the certificate that this handshake has refused.
    static REFUSED: RefCell<Option<String>>;
}

/// Runs a handshake; what came of it, and the subject of the certificate that it has refused.
pub(super) async fn remember<F: Future>(handshake: F) -> (F::Output, Option<String>) {
    let told = async {
        let done = handshake.await;
        (done, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::new(None), told).await
}

/// What an operator is told of a certificate that is not taken, where the keys about it begin so.
pub(super) fn not_taken(prefix: &str, subject: Option<&str>, why: &CertificateError) -> String {
    let whose = match subject {
        Some(subject) => format!("the certificate of {subject:?}"),
        None => "its certificate".to_owned(),
    };
    match why {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "{whose} has expired ({}); its owner needs a new one",
            date(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "{whose} is not valid before {}, if the clock is right",
            date(*not_before)
        ),
        other => format!("{whose} is not taken: {other}; see {prefix}trustStore.location"),
    }
}

fn date(time: UnixTime) -> String {
    let date = DateTime::from_unix_duration(Duration::from_secs(time.as_secs()));
    date.map_or_else(|_| "at no date".to_owned(), |date| date.to_string())
}

fn subject_of(der: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let text = subject::text(&certificate.tbs_certificate.subject)?;
    Some(text.chars().take(SUBJECT_LETTERS_MAX).collect())
}

/// Takes what the other one takes, and remembers whose certificate it does not.
#[derive(Debug)]
pub(super) struct Remembering(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Remembering {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(own, intermediates, now);
        verified.inspect_err(|_| {
            // Without a handshake that asks, nobody wants to know.
            let _ = REFUSED.try_with(|refused| refused.replace(subject_of(own)));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_taken_is_told_by_its_name_and_by_dates() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext {
            time: at(1_700_000_000),
            not_after: at(1_600_000_000),
        };
        assert_eq!(
            not_taken("ssl.", Some("CN=ann,O=\"x\""), &expired),
            "the certificate of \"CN=ann,O=\\\"x\\\"\" has expired (2020-09-13T12:26:40Z); its owner needs a new one"
        );
        let early = CertificateError::NotValidYetContext {
            time: at(1_600_000_000),
            not_before: at(1_700_000_000),
        };
        assert_eq!(
            not_taken("ssl.", None, &early),
            "its certificate is not valid before 2023-11-14T22:13:20Z, if the clock is right"
        );
        let unknown = not_taken("ssl.", Some("CN=eve"), &CertificateError::UnknownIssuer);
        assert!(unknown.starts_with("the certificate of \"CN=eve\" is not taken: "));
        assert!(
            unknown.ends_with("; see ssl.trustStore.location"),
            "{unknown}"
        );
    }
}
