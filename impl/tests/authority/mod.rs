//! An authority that a test makes, and certificates of it.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it; a test may fail where it stands"
)]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};
use std::sync::Arc;

/// `CN=name,O=Zabra`: a certificate and its key, as PEM.
pub struct Own {
    pub certificate: String,
    pub key: String,
}

/// Makes certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Zabra");
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params
}

impl Authority {
    pub fn new() -> Self {
        let mut params = params("authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Of this machine.
    pub fn own(&self, name: &str, until: i32) -> Own {
        self.own_of(name, &["localhost", "127.0.0.1"], until)
    }

    /// Of these hosts.
    pub fn own_of(&self, name: &str, hosts: &[&str], until: i32) -> Own {
        let mut params = params(name, hosts);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Own {
            certificate,
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority, and shows this certificate.
    pub fn client(&self, own: Option<&Own>) -> Arc<ClientConfig> {
        let own = own.map(|own| (&*own.certificate, &*own.key));
        client_config(&self.0.pem(), own)
    }

    /// The same, which speaks only suites with this in their names.
    pub fn client_of_suites(&self, own: &Own, part: &str) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::ring::default_provider();
        let has_part = |suite: &SupportedCipherSuite| format!("{suite:?}").contains(part);
        provider.cipher_suites.retain(has_part);
        assert!(!provider.cipher_suites.is_empty(), "{part}");
        let own = Some((&*own.certificate, &*own.key));
        client_config_with(provider, &self.0.pem(), own)
    }
}

/// A client that trusts this authority and shows this certificate, of this key, all as PEM.
pub fn client_config(authority: &str, own: Option<(&str, &str)>) -> Arc<ClientConfig> {
    client_config_with(rustls::crypto::ring::default_provider(), authority, own)
}

fn client_config_with(
    provider: CryptoProvider,
    authority: &str,
    own: Option<(&str, &str)>,
) -> Arc<ClientConfig> {
    let certificate = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((own, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate(own)], key)
                .unwrap()
        }
    })
}
