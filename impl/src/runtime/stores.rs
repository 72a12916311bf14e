//! The files of TLS: keys, certificates and authorities, read when the server starts. No message quotes what such a file holds.

use super::java_store::{self, Opened};
use super::subject;
use crate::codes::Code;
use crate::config::ConfigError;
use crate::config::tls::{Password, Store, StoreKind};
use crate::error::ServerError;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::time::SystemTime;
use tracing::{info, warn};
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode};

/// A refusal of the start for what a file holds.
pub(super) fn wrong(path: &Path, what: impl Into<String>) -> ServerError {
    ServerError::Config(ConfigError::Whole {
        path: path.to_owned(),
        what: what.into(),
    })
}

/// The server's certificates, its own first, and the key of that.
pub(super) fn own(
    store: &Store,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ServerError> {
    let path = &store.path;
    let bytes = read(path)?;
    let (key, chain) = match store.kind {
        StoreKind::Pem => {
            // First what says most about a key that is not read.
            let key = private_key(store, &bytes)?;
            (key, certificates(path, &bytes)?)
        }
        StoreKind::Java => opened(store, &bytes)?.own.ok_or_else(|| {
            wrong(path, "holds no private key with its certificate; put them in (openssl pkcs12 -export -inkey KEY -in CERTIFICATE -out STORE.p12)")
        })?,
    };
    let key = match chain.first() {
        Some(own) => java_store::with_public_half(key, own),
        None => key,
    };
    for der in &chain {
        is_of_today(der).map_err(|what| wrong(path, format!("{what}; put a new one in")))?;
    }
    Ok((chain, key))
}

/// The authorities of a trust store. One whose time is over is left out.
pub(super) fn authorities(store: &Store) -> Result<RootCertStore, ServerError> {
    let path = &store.path;
    let bytes = read(path)?;
    let found = match store.kind {
        StoreKind::Pem => {
            // Nothing is encrypted in it; but a file that is named has to be there.
            password(store)?;
            certificates(path, &bytes)?
        }
        StoreKind::Java => opened(store, &bytes)?.trusted,
    };
    if found.is_empty() {
        return Err(wrong(
            path,
            "holds no certificate that is marked as trusted; put it in with keytool -importcert, or write the authorities as PEM",
        ));
    }
    let mut roots = RootCertStore::empty();
    for der in found {
        if let Err(what) = is_of_today(&der) {
            warn!(code = %Code::AuthorityUnfit, path = %path.display(), "{what}; nobody is let in by it");
            continue;
        }
        roots.add(der).map_err(|error| {
            wrong(
                path,
                format!("holds a certificate that is no authority's: {error}; take it out"),
            )
        })?;
    }
    if roots.is_empty() {
        return Err(wrong(
            path,
            "holds no authority whose time is not over, so nobody would be let in; put a new one in",
        ));
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    std::fs::read(path).map_err(|source| {
        wrong(
            path,
            format!("{source}; correct what names it, or let this user read it"),
        )
    })
}

/// Without the end of its line, which editors put there.
fn password(store: &Store) -> Result<Option<Box<str>>, ServerError> {
    match &store.password {
        None => Ok(None),
        Some(Password::Text(text)) => Ok(Some(text.clone())),
        Some(Password::File(path)) => {
            let text = String::from_utf8(read(path)?);
            let text = text.map_err(|_| wrong(path, "is no text; write the password into it"))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(line.strip_suffix('\r').unwrap_or(line).into()))
        }
    }
}

fn opened(store: &Store, bytes: &[u8]) -> Result<Opened, ServerError> {
    let password = password(store)?.unwrap_or_default();
    java_store::open(bytes, &password).map_err(|why| wrong(&store.path, why.to_string()))
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    // Without the parser's words, which may quote what the file holds.
    let found = found.map_err(|_| {
        wrong(path, "is no PEM text; write the store as PEM (openssl pkcs12 -in STORE.p12 -nodes -out STORE.pem)")
    })?;
    if found.is_empty() {
        return Err(wrong(
            path,
            "holds no certificate; add it (-----BEGIN CERTIFICATE-----)",
        ));
    }
    Ok(found)
}

/// Errors: what is wrong with the certificate, whose subject is told.
fn is_of_today(der: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = Certificate::from_der(der)
        .map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
    let tbs = &certificate.tbs_certificate;
    let subject = subject::text(&tbs.subject).unwrap_or_default();
    let (begin, end) = (tbs.validity.not_before, tbs.validity.not_after);
    let date = |time: DateTime| time.to_string();
    let now = SystemTime::now();
    if now > end.to_system_time() {
        let end = date(end.to_date_time());
        return Err(format!(
            "the certificate of {subject:?} has expired ({end})"
        ));
    }
    if now < begin.to_system_time() {
        let begin = date(begin.to_date_time());
        return Err(format!(
            "the certificate of {subject:?} is not valid before {begin}, if the clock is right"
        ));
    }
    info!(subject, until = %end.to_date_time(), "a certificate");
    Ok(())
}

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

fn private_key(store: &Store, text: &[u8]) -> Result<PrivateKeyDer<'static>, ServerError> {
    let path = &store.path;
    let password = password(store)?;
    // A PEM file may hold notes of any encoding between its blocks.
    let words = String::from_utf8_lossy(text);
    if let Some(at) = words.find(BEGIN) {
        let rest = &words[at..];
        let block = rest.find(END).map(|end| &rest[..end + END.len()]);
        return decrypted(store, block.unwrap_or(rest), password.as_deref());
    }
    if words.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(
            path,
            "the private key is encrypted in the form of old OpenSSL, which Java does not read either; write it anew (openssl pkcs8 -topk8 -in FILE)",
        ));
    }
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| wrong(path, "holds no private key that can be read; add it (-----BEGIN PRIVATE KEY-----) beside the certificate"))
}

/// Opens an encrypted key, as Java does: PKCS #8 with PBES2.
fn decrypted(
    store: &Store,
    block: &str,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, ServerError> {
    let Store {
        path, password_key, ..
    } = store;
    let Some(password) = password else {
        return Err(wrong(
            path,
            format!(
                "the private key is encrypted; write {password_key}=FILE, whose first line is its password"
            ),
        ));
    };
    let (_, document) = SecretDocument::from_pem(block)
        .map_err(|_| wrong(path, "holds an encrypted private key that cannot be read"))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| {
        wrong(
            path,
            "the private key is encrypted in a way that is not read; write it anew (openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE)",
        )
    })?;
    let open = info.decrypt(password).map_err(|_| {
        wrong(
            path,
            format!(
                "the password does not open the private key; correct it, or the file that {password_key} names"
            ),
        )
    })?;
    PrivateKeyDer::try_from(open.as_bytes().to_vec())
        .map_err(|_| wrong(path, "holds a private key that cannot be read"))
}
