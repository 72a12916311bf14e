//! Whose a certificate is: the host that its names, or else its subject, are of.

use super::subject;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The extension with the names of a certificate.
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// Whether it is the certificate of this host, a name or an address: by its names, where `*` stands for the first part of one, or, where
/// it has none at all, by the common name of its subject.
///
/// Source: ZooKeeper `ZKHostnameVerifier`. Certificates as its guide makes them have no names.
pub(super) fn is_of(der: &CertificateDer<'_>, host: &str) -> bool {
    let name = ServerName::try_from(host);
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(der), name) else {
        return false;
    };
    if verify_server_name(&parsed, &name).is_ok() {
        return true;
    }
    let Ok(Certificate {
        tbs_certificate, ..
    }) = Certificate::from_der(der)
    else {
        return false;
    };
    let extensions = tbs_certificate.extensions.unwrap_or_default();
    let has_names = extensions
        .iter()
        .any(|extension| extension.extn_id.to_string() == SUBJECT_ALT_NAME);
    let common_name = subject::common_name(&tbs_certificate.subject);
    !has_names && common_name.is_some_and(|name| name.eq_ignore_ascii_case(host))
}

/// Whether it is the certificate of a server that was dialled by this host, and answers at this address.
pub(super) fn is_of_dialled(der: &CertificateDer<'_>, host: &str, at: IpAddr) -> bool {
    is_of(der, host) || is_of(der, &at.to_string())
}

/// The subject, for the log.
pub(super) fn whose(der: &CertificateDer<'_>) -> String {
    let certificate = Certificate::from_der(der).ok();
    let text = certificate.and_then(|c| subject::text(&c.tbs_certificate.subject));
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn certificate(common_name: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "Zabra");
        subject.push(DnType::CommonName, common_name);
        params.distinguished_name = subject;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_is_of_the_hosts_that_its_names_say_or_without_any_of_its_common_name() {
        let both = ["zk-1.example", "10.0.0.1", "*.zk.example", "::1"];
        for (common_name, names, host, is) in [
            ("x", &both[..], "zk-1.example", true),
            ("x", &both, "ZK-1.example", true),
            ("x", &both, "10.0.0.1", true),
            ("x", &both, "::1", true),
            ("x", &both, "zk-2.zk.example", true),
            ("x", &both, "zk-2.example", false),
            ("x", &both, "10.0.0.2", false),
            ("x", &both, "x", false),
            ("zk-2.example", &both, "zk-2.example", false),
            ("zk-2.example", &[], "ZK-2.example", true),
            ("10.0.0.2", &[], "10.0.0.2", true),
            ("zk-2.example", &[], "zk-3.example", false),
            ("zk-2.example", &[], "", false),
            ("", &[], "", false),
        ] {
            let der = certificate(common_name, names);
            assert_eq!(is_of(&der, host), is, "{common_name:?} {names:?}: {host:?}");
        }
        assert!(!is_of(&CertificateDer::from(vec![1, 2, 3]), "a"));
    }
}
