//! Stores as Java's keytool writes them: PKCS12, and JKS, its older form. As in Java, a store of one type is also read where a line
//! names the other one: its first bytes tell which it is.

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};
use x509_cert::der::asn1::OctetStringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

/// What a store holds.
#[derive(Default)]
pub(super) struct Opened {
    /// The first private key, and its certificates, its own first.
    pub own: Option<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>)>,
    /// Certificates that are marked as trusted.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Why a store is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error(
        "is neither PKCS12 nor JKS; correct the type line, or the name, whose end tells the type where there is no such line"
    )]
    Foreign,
    #[error(
        "is not opened by its password, or is damaged; correct the password, or the file that the password path names"
    )]
    Password,
    #[error(
        "holds a private key with a password of its own; give it that of the store (keytool -keypasswd)"
    )]
    KeyPassword,
    #[error(
        "holds a private key that cannot be read; write the store anew as PKCS12 (keytool -importkeystore)"
    )]
    Key,
}

/// Opens a store.
pub(super) fn open(bytes: &[u8], password: &str) -> Result<Opened, Closed> {
    // A sequence, as all that is DER.
    const PKCS12: u8 = 0x30;
    match bytes {
        [PKCS12, ..] => pkcs12(bytes, password),
        [0xfe, 0xed, 0xfe, 0xed, ..] => jks(bytes, password),
        _ => Err(Closed::Foreign),
    }
}

fn pkcs12(bytes: &[u8], password: &str) -> Result<Opened, Closed> {
    // What Java would take: keys with their certificates, and certificates that are marked as trusted.
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict)
        .map_err(|_| Closed::Password)?;
    let der = |certificate: &Certificate| CertificateDer::from(certificate.as_der().to_vec());
    let own = store.private_key_chain().map(|(_, chain)| {
        let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
        (key.into(), chain.certs().iter().map(der).collect())
    });
    let trusted = store.entries().filter_map(|(_, entry)| match entry {
        KeyStoreEntry::Certificate(certificate) => Some(der(certificate)),
        KeyStoreEntry::PrivateKeyChain(_) | KeyStoreEntry::Secret(_) => None,
    });
    let trusted = trusted.collect();
    Ok(Opened { own, trusted })
}

/// Takes what it reads from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    fn long_block(&mut self) -> Option<&'a [u8]> {
        let length = self.int()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    fn short_block(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes(2)?.try_into().ok()?;
        self.bytes(u16::from_be_bytes(length).into())
    }

    fn certificate(&mut self, version: u32) -> Option<CertificateDer<'static>> {
        if version == 2 {
            let kind = self.short_block()?;
            if kind != b"X.509" {
                return None;
            }
        }
        Some(CertificateDer::from(self.long_block()?.to_vec()))
    }
}

/// SHA-1 is what the format asks for; it guards the file against accidents, and against nobody who has it.
fn sum(password: &[u8], rest: &[&[u8]]) -> [u8; 20] {
    let mut sum = Sha1::new_with_prefix(password);
    rest.iter().for_each(|part| sum.update(part));
    sum.finalize().into()
}

/// A number that names the format, its version, entries, and a sum over all of it that begins with the password.
fn jks(bytes: &[u8], password: &str) -> Result<Opened, Closed> {
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (body, seal) = bytes.split_last_chunk::<20>().ok_or(Closed::Password)?;
    if sum(&password, &[b"Mighty Aphrodite", body]) != *seal {
        return Err(Closed::Password);
    }
    let mut opened = Opened::default();
    let mut cursor = Cursor(body);
    let own = entries(&mut cursor, &mut opened.trusted).ok_or(Closed::Password)?;
    if let Some((key, chain)) = own {
        let key = PrivatePkcs8KeyDer::from(unlock(key, &password)?);
        opened.own = Some((key.into(), chain));
    }
    Ok(opened)
}

type Locked<'a> = (&'a [u8], Vec<CertificateDer<'static>>);

/// The first private key, still encrypted, and its certificates; trusted certificates into `trusted`. `None`: the file ends too early.
fn entries<'a>(
    cursor: &mut Cursor<'a>,
    trusted: &mut Vec<CertificateDer<'static>>,
) -> Option<Option<Locked<'a>>> {
    const KEY: u32 = 1;
    const TRUSTED: u32 = 2;
    let (_magic, version) = (cursor.int()?, cursor.int()?);
    let mut own = None;
    for _ in 0..cursor.int()? {
        let kind = cursor.int()?;
        let (_alias, _date) = (cursor.short_block()?, cursor.bytes(8)?);
        match kind {
            KEY => {
                let key = cursor.long_block()?;
                let mut chain = Vec::new();
                for _ in 0..cursor.int()? {
                    chain.push(cursor.certificate(version)?);
                }
                own.get_or_insert((key, chain));
            }
            TRUSTED => trusted.push(cursor.certificate(version)?),
            _ => return None,
        }
    }
    Some(own)
}

/// The private key of an entry of JKS: a salt, the key under a stream of sums that begin with the password, and a sum of the key.
fn unlock(key: &[u8], password: &[u8]) -> Result<Vec<u8>, Closed> {
    const OF_JKS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");
    let parts = SliceReader::new(key).and_then(|mut reader| {
        reader.sequence(|info| {
            let algorithm = AlgorithmIdentifierRef::decode(info)?;
            Ok((algorithm.oid, OctetStringRef::decode(info)?))
        })
    });
    let (algorithm, locked) = parts.map_err(|_| Closed::Key)?;
    let salted = locked.as_bytes().split_first_chunk::<20>();
    let parts = salted.and_then(|(salt, rest)| Some((salt, rest.split_last_chunk::<20>()?)));
    let Some((salt, (secret, seal))) = parts.filter(|_| algorithm == OF_JKS) else {
        return Err(Closed::Key);
    };
    let (mut pad, mut plain) = (*salt, Vec::with_capacity(secret.len()));
    for block in secret.chunks(pad.len()) {
        pad = sum(password, &[&pad]);
        plain.extend(block.iter().zip(pad).map(|(a, b)| a ^ b));
    }
    if sum(password, &[&plain]) != *seal {
        return Err(Closed::KeyPassword);
    }
    Ok(plain)
}

/// The same key with its public half, which Java leaves out of elliptic keys and the library of TLS asks for. All others, and what
/// cannot be read, stay as they are: whoever uses them says what is wrong.
pub(super) fn with_public_half(
    key: PrivateKeyDer<'static>,
    certificate: &CertificateDer<'_>,
) -> PrivateKeyDer<'static> {
    let PrivateKeyDer::Pkcs8(pkcs8) = &key else {
        return key;
    };
    match completed(pkcs8.secret_pkcs8_der(), certificate) {
        Some(completed) => PrivatePkcs8KeyDer::from(completed).into(),
        None => key,
    }
}

fn completed(pkcs8: &[u8], certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const SEQUENCE: u8 = 0x30;
    const OCTETS: u8 = 4;
    const BITS: u8 = 3;
    const PUBLIC: u8 = 0xa1;
    let mut reader = SliceReader::new(pkcs8).ok()?;
    let (algorithm, inner) = reader
        .sequence(|info| {
            let _version = u8::decode(info)?;
            let algorithm = AlgorithmIdentifierRef::decode(info)?;
            Ok((algorithm, OctetStringRef::decode(info)?))
        })
        .ok()?;
    let mut reader = SliceReader::new(inner.as_bytes()).ok()?;
    // Only a key that has nothing behind the number itself.
    let number = reader.sequence(|key| {
        let _version = u8::decode(key)?;
        OctetStringRef::decode(key)
    });
    let number = number.ok()?.as_bytes();
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let public = &certificate.tbs_certificate.subject_public_key_info;
    if algorithm.oid != ELLIPTIC || public.algorithm.oid != ELLIPTIC {
        return None;
    }
    let public = [&[0], public.subject_public_key.raw_bytes()].concat();
    let public = element(PUBLIC, &[&element(BITS, &[&public])?])?;
    let inner = element(
        SEQUENCE,
        &[&[2, 1, 1], &element(OCTETS, &[number])?, &public],
    )?;
    let algorithm = algorithm.to_der().ok()?;
    element(
        SEQUENCE,
        &[&[2, 1, 0], &algorithm, &element(OCTETS, &[&inner])?],
    )
}

/// An element of DER; `None` if it is longer than any key.
fn element(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let head = match length {
        [0, short @ ..=127] => vec![tag, short],
        [0, short] => vec![tag, 0x81, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    Some([head, content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JKS: &[u8] = include_bytes!("../../tests/stores/server.jks");
    const TRUST: &[u8] = include_bytes!("../../tests/stores/trust.jks");
    const PKCS12: &[u8] = include_bytes!("../../tests/stores/server.p12");

    #[test]
    fn stores_of_keytool_hold_what_was_put_in() {
        for (store, certificates) in [(JKS, 2), (PKCS12, 2)] {
            let opened = open(store, "hushhush").ok().unwrap();
            assert_eq!(opened.own.unwrap().1.len(), certificates);
            assert!(opened.trusted.is_empty());
        }
        let opened = open(TRUST, "hushhush").ok().unwrap();
        assert!(opened.own.is_none() && opened.trusted.len() == 1);
    }

    #[test]
    fn what_is_no_store_or_damaged_is_told_and_nothing_else_happens() {
        let of = |bytes: &[u8], password| open(bytes, password).err();
        assert_eq!(of(b"", "hushhush"), Some(Closed::Foreign));
        assert_eq!(of(b"-----BEGIN", "hushhush"), Some(Closed::Foreign));
        for store in [JKS, TRUST, PKCS12] {
            assert_eq!(of(store, "loud"), Some(Closed::Password));
            assert_eq!(of(store, ""), Some(Closed::Password));
            for at in 5..store.len() {
                assert_eq!(of(&store[..at], "hushhush"), Some(Closed::Password), "{at}");
            }
        }
        let password: Vec<u8> = "hushhush"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        // Sealed well, and wrong within: each byte of the entries, and a length that is far too large.
        let (body, _) = JKS.split_last_chunk::<20>().unwrap();
        for at in 8..body.len() {
            let mut body = body.to_vec();
            body[at] ^= 0xff;
            let seal = sum(&password, &[b"Mighty Aphrodite", &body]);
            body.extend(seal);
            let _ = open(&body, "hushhush");
        }
    }
}
