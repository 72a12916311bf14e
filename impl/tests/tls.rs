//! TLS for clients: a server process, and clients with certificates of an authority that the test makes.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use bytes::{Bytes, BytesMut};
use common::{Cluster, PATIENCE, free_ports, wait_for};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use zabra::wire::client::ConnectRequest;
use zabra_model::ids::{SessionId, Zxid};

/// `CN=name,O=Zabra`: a certificate and its key, as PEM.
struct Own {
    certificate: String,
    key: String,
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Zabra");
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params
}

impl Authority {
    fn new() -> Self {
        let mut params = params("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn own(&self, name: &str, until: i32) -> Own {
        let mut params = params(name);
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

    fn client(&self, own: Option<&Own>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        })
    }
}

/// Writes the stores; the lines of `zoo.cfg` for them.
fn stores(dir: &Path, port: u16, authority: &Authority, server: &Own) -> String {
    let (key, trust) = (dir.join("server.pem"), dir.join("ca.pem"));
    std::fs::write(&key, format!("{}{}", server.key, server.certificate)).unwrap();
    std::fs::write(&trust, authority.0.pem()).unwrap();
    format!(
        "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\nssl.keyStore.location={}\nssl.trustStore.location={}\n",
        key.display(),
        trust.display()
    )
}

/// The key as `openssl pkcs8 -topk8` writes it.
fn encrypted(key: &str, password: &str) -> String {
    use pkcs8::pkcs5::pbes2::Parameters;
    let (_, plain) = pkcs8::SecretDocument::from_pem(key).unwrap();
    let info = pkcs8::PrivateKeyInfoRef::try_from(plain.as_bytes()).unwrap();
    let how = Parameters::generate_pbkdf2_sha256_aes256cbc(1000, b"salt and", [7; 16]).unwrap();
    let document = info.encrypt_with_params(how, password).unwrap();
    let pem = document.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF);
    pem.unwrap().to_string()
}

struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// A session over TLS; `None` if the server does not let this client in.
    fn open(port: u16, config: Arc<ClientConfig>) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let mut client = Self(StreamOwned::new(connection, stream));
        let mut out = BytesMut::new();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session: SessionId(0),
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
        }
        .put(&mut out);
        client.0.write_all(&out).ok()?;
        client.frame()?;
        Some(client)
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// What whoAmI answers, as text.
    fn who_am_i(&mut self) -> String {
        let request = [0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 107];
        self.0.write_all(&request).unwrap();
        String::from_utf8_lossy(&self.frame().unwrap()).into_owned()
    }
}

fn server(more: &str) -> (Cluster, u16, Authority) {
    let (authority, port) = (Authority::new(), free_ports(1)[0]);
    let dir = tempfile::tempdir().unwrap().keep();
    let lines = stores(&dir, port, &authority, &authority.own("server", 2100));
    let mut cluster = Cluster::new(1, &format!("{lines}{more}"));
    cluster.start_all();
    cluster.wait_serving(&[0]);
    std::fs::remove_dir_all(dir).unwrap();
    (cluster, port, authority)
}

#[test]
fn a_client_is_known_by_its_certificate_from_its_first_word_on() {
    let more = "X509AuthenticationProvider.superUser=CN=root,O=Zabra\n";
    let (cluster, port, authority) = server(more);
    let ask = |name: &str| {
        let config = authority.client(Some(&authority.own(name, 2100)));
        Secure::open(port, config).unwrap().who_am_i()
    };
    let answer = ask("alice");
    assert!(
        answer.contains("x509") && answer.contains("CN=alice,O=Zabra"),
        "{answer:?}"
    );
    assert!(!answer.contains("super"), "{answer:?}");
    let answer = ask("root");
    assert!(
        answer.contains("super") && answer.contains("CN=root,O=Zabra"),
        "{answer:?}"
    );
    // The plain port is beside it, and knows nobody by a certificate.
    assert_eq!(cluster.mode(0).as_deref(), Some("standalone"));
}

#[test]
fn need_lets_nobody_in_without_a_certificate_of_the_authority() {
    let (_cluster, port, authority) = server("maxCnxns=1\n");
    let stranger = Authority::new().own("alice", 2100);
    let old = authority.own("alice", 2000);
    let shown = [
        ("nothing", None),
        ("another authority's", Some(&stranger)),
        ("one that has expired", Some(&old)),
    ];
    let let_in: Vec<&str> = shown
        .iter()
        .filter(|(_, own)| Secure::open(port, authority.client(*own)).is_some())
        .map(|(what, _)| *what)
        .collect();
    assert!(let_in.is_empty(), "let in, showing {let_in:?}");
    // Plain text, and a record of more than TLS allows.
    for words in [
        &b"\0\0\0\x2d\0\0\0\0\0\0\0\0"[..],
        b"\x16\x03\x01\xff\xff\x01\x02",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(words).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"\0"), "{rest:?}");
    }
    // There is one place in all: none of them has kept it.
    let config = authority.client(Some(&authority.own("bob", 2100)));
    wait_for("a place", || Secure::open(port, Arc::clone(&config)));
}

#[test]
fn an_encrypted_key_is_opened_by_the_password_in_the_file_that_is_named() {
    let (authority, port) = (Authority::new(), free_ports(1)[0]);
    let dir = tempfile::tempdir().unwrap();
    let mut own = authority.own("server", 2100);
    own.key = encrypted(&own.key, "hush");
    let lines = stores(dir.path(), port, &authority, &own);
    let password = dir.path().join("password");
    std::fs::write(&password, "hush\n").unwrap();
    let password = password.display();
    let more = format!("ssl.keyStore.password=loud\nssl.keyStore.passwordPath={password}\n");
    let mut cluster = Cluster::new(1, &format!("{lines}{more}"));
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let config = authority.client(Some(&authority.own("alice", 2100)));
    assert!(Secure::open(port, config).is_some());
}

#[test]
fn want_and_none_let_a_client_in_that_shows_nothing() {
    for auth in ["want", "none"] {
        let (_cluster, port, authority) = server(&format!("ssl.clientAuth={auth}\n"));
        let mut client = Secure::open(port, authority.client(None)).unwrap();
        assert!(!client.who_am_i().contains("x509"));
    }
}

/// C-30: what is wrong with the stores refuses the start, with the file and what to do, and without the key.
#[test]
fn c_30_stores_that_cannot_be_used_refuse_the_start() {
    let authority = Authority::new();
    let (good, other) = (authority.own("server", 2100), authority.own("other", 2100));
    let pem = |key: &str, certificate: &str| format!("{key}{certificate}");
    let encrypted = pem(&encrypted(&good.key, "hush"), &good.certificate);
    let of_old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let old = authority.own("old", 2000);
    let wrong = "ssl.keyStore.password=loud\n";
    for (text, more, words) in [
        (None, "", "No such file"),
        (Some(pem(&old.key, &old.certificate)), "", "has expired"),
        (Some(pem(&good.key, "")), "", "holds no certificate"),
        (Some(pem("", &good.certificate)), "", "holds no private key"),
        (Some(encrypted.clone()), "", "ssl.keyStore.passwordPath="),
        (Some(encrypted), wrong, "the password does not open"),
        (Some(pem(of_old, &good.certificate)), "", "openssl pkcs8"),
        (
            Some(pem(&good.key, &other.certificate)),
            "",
            "do not fit together",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let lines = stores(dir.path(), free_ports(1)[0], &authority, &good);
        let lines = format!("{lines}{more}");
        let store = dir.path().join("server.pem");
        match &text {
            None => std::fs::remove_file(&store).unwrap(),
            Some(text) => std::fs::write(&store, text).unwrap(),
        }
        let cluster = Cluster::new(1, &lines);
        let output = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["serve", "--until-stdin-ends"])
            .stdin(Stdio::null())
            .arg(cluster.data(0).join("zoo.cfg"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(words) && said.contains("server.pem"),
            "{words}: {said}"
        );
        let secret = good.key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "the key is in the log");
        assert!(!said.contains("loud"), "the password is in the log");
    }
}
