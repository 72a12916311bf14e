//! TLS for clients: a server process, and clients with certificates of an authority that the test makes.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod authority;
mod common;

use authority::{Authority, Own, client_config};
use bytes::{Bytes, BytesMut};
use common::{Cluster, PATIENCE, free_ports, get, set, wait_for};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use zabra::wire::client::{ConnectRequest, Request};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::{CreateKind, WriteOp};

/// Writes the stores; the lines of `zoo.cfg` for them.
fn stores(dir: &Path, port: u16, authority: &Authority, server: &Own) -> String {
    let (key, trust) = (dir.join("server.pem"), dir.join("ca.pem"));
    std::fs::write(&key, format!("{}{}", server.key, server.certificate)).unwrap();
    std::fs::write(&trust, authority.pem()).unwrap();
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

    /// The error code of an answer to a request without a body.
    fn ask(&mut self, code: u8) -> i32 {
        let request = [0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, code];
        self.0.write_all(&request).unwrap();
        let frame = self.frame().unwrap();
        i32::from_be_bytes(frame[12..16].try_into().unwrap())
    }

    /// The error code of the answer to a request.
    fn call(&mut self, request: &Request) -> i32 {
        let mut bytes = BytesMut::new();
        request.put(1, &mut bytes);
        self.0.write_all(&bytes).unwrap();
        let frame = self.frame().unwrap();
        i32::from_be_bytes(frame[12..16].try_into().unwrap())
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

/// The leader permits what a client may that has shown its certificate to a follower, and the super user everything.
#[test]
fn who_shows_a_certificate_to_a_follower_may_what_the_leader_permits() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let lines = stores(dir.path(), 1, &authority, &authority.own("server", 2100));
    let lines: Vec<&str> = lines.lines().filter(|l| !l.contains("secure")).collect();
    let more =
        "client.portUnification=true\nX509AuthenticationProvider.superUser=CN=root,O=Zabra\n";
    let lines = format!("{}\n{more}", lines.join("\n"));
    let mut cluster = Cluster::new(3, &lines);
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let follower = (leader + 1) % 3;
    let known = |name: &str| {
        let config = authority.client(Some(&authority.own(name, 2100)));
        Secure::open(cluster.ports[follower], config).unwrap()
    };
    let (mut alice, mut bob, mut root) = (known("alice"), known("bob"), known("root"));
    let for_alice = Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some("/alice".into()),
        data: None,
        acl: Some(vec![AclEntry {
            perms: 31,
            id: Id {
                scheme: "x509".into(),
                id: "CN=alice,O=Zabra".into(),
            },
        }]),
        flags: 0,
        ttl: 0,
    });
    const NO_AUTH: i32 = -102;
    assert_eq!(bob.call(&for_alice), 0);
    let writes = [&mut bob, &mut alice, &mut root].map(|client| client.call(&set("/alice", "x")));
    assert_eq!(writes, [NO_AUTH, 0, 0]);
    let reads = [&mut bob, &mut alice, &mut root].map(|client| client.call(&get("/alice", false)));
    assert_eq!(reads, [NO_AUTH, 0, 0]);
    let mut plain = cluster.client(follower);
    assert!(matches!(plain.set("/alice", "x"), Some(Err(NO_AUTH))));
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
fn a_client_s_certificate_that_has_expired_is_told_by_its_name_and_its_date() {
    let (authority, port) = (Authority::new(), free_ports(1)[0]);
    let dir = tempfile::tempdir().unwrap();
    let lines = stores(dir.path(), port, &authority, &authority.own("server", 2100));
    let mut cluster = Cluster::new(1, &lines);
    let log = start_with_log(&mut cluster);
    let old = authority.own("alice", 2000);
    assert!(Secure::open(port, authority.client(Some(&old))).is_none());
    wait_for("the reason in the log", || {
        log().contains("has expired").then_some(())
    });
    let words = r#"the certificate of "CN=alice,O=Zabra" has expired (2000-01-01T00:00:00Z)"#;
    assert!(log().contains(words), "{}", log());
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

/// A file of `tests/stores`, which keytool has written.
fn of_keytool(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores");
    folder.join(name).display().to_string()
}

#[test]
fn stores_that_keytool_has_written_are_opened_by_their_passwords() {
    let read = |name: &str| std::fs::read_to_string(of_keytool(name)).unwrap();
    let alice = client_config(
        &read("ca.pem"),
        Some((&read("client.pem"), &read("client.pem"))),
    );
    let port = free_ports(1)[0];
    let lines = |key: &str, trust: &str, password: &str| {
        format!(
            "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\nssl.keyStore.location={}\nssl.trustStore.location={}\nssl.keyStore.password={password}\nssl.trustStore.password={password}\n",
            of_keytool(key),
            of_keytool(trust)
        )
    };
    for (lines, words) in [
        (
            lines("server.p12", "trust.p12", "loud"),
            "not opened by its password",
        ),
        (
            lines("server.jks", "trust.jks", "loud"),
            "not opened by its password",
        ),
        (
            lines("trust.p12", "trust.p12", "hushhush"),
            "holds no private key",
        ),
        (
            lines("server.jks", "server.jks", "hushhush"),
            "marked as trusted",
        ),
    ] {
        let said = refusal(&lines);
        assert!(said.contains(words) && !said.contains("loud"), "{said}");
    }
    for (key, trust) in [
        ("server.p12", "trust.p12"),
        ("server.jks", "trust.jks"),
        // An elliptic key without its public half, as openssl takes it out of Java's store.
        ("server.pem", "ca.pem"),
    ] {
        let mut cluster = Cluster::new(1, &lines(key, trust, "hushhush"));
        cluster.start_all();
        cluster.wait_serving(&[0]);
        let mut client = Secure::open(port, Arc::clone(&alice)).expect(key);
        assert!(client.who_am_i().contains("CN=alice,O=Zabra"), "{key}");
        let stranger = Authority::new().own("alice", 2100);
        let shown = Some((&*stranger.certificate, &*stranger.key));
        let stranger = client_config(&read("ca.pem"), shown);
        assert!(Secure::open(port, stranger).is_none(), "{key}");
    }
}

/// What `zabra tls init` writes is what the server and a client need, without a change.
#[test]
fn the_files_of_tls_init_are_taken_by_server_and_client() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_ports(1)[0]);
    let at = dir.path().join("tls");
    zabra::tls_init::init(&at, &[]).unwrap();
    let lines = format!(
        "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\nssl.keyStore.location={0}/server.pem\nssl.trustStore.location={0}/ca.pem\n",
        at.display()
    );
    let mut cluster = Cluster::new(1, &lines);
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(at.join("ca.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(at.join("client.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(at.join("client.pem")).unwrap(),
        )
        .unwrap();
    let mut client = Secure::open(port, Arc::new(config)).unwrap();
    assert!(client.who_am_i().contains("CN=client,O=Zabra development"));
}

#[test]
fn one_port_takes_clients_with_tls_and_without() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let lines = stores(dir.path(), 1, &authority, &authority.own("server", 2100));
    let lines: Vec<&str> = lines.lines().filter(|l| !l.contains("secure")).collect();
    let lines = lines.join("\n") + "\nclient.portUnification=true\n";
    let mut cluster = Cluster::new(1, &lines);
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let own = authority.own("alice", 2100);
    let mut secure = Secure::open(cluster.ports[0], authority.client(Some(&own))).unwrap();
    assert!(secure.who_am_i().contains("CN=alice"));
    assert!(Secure::open(cluster.ports[0], authority.client(None)).is_none());
    let mut plain = cluster.client(0);
    assert!(plain.create("/plain", 0).unwrap().is_ok());
}

#[test]
fn stores_that_change_are_read_anew_and_unusable_ones_are_not_taken() {
    let (authority, port) = (Authority::new(), free_ports(1)[0]);
    let dir = tempfile::tempdir().unwrap();
    let lines = stores(dir.path(), port, &authority, &authority.own("server", 2100));
    let mut cluster = Cluster::new(1, &format!("{lines}client.certReload=true\n"));
    let log = start_with_log(&mut cluster);
    let config = authority.client(Some(&authority.own("alice", 2100)));
    let mut of_before = Secure::open(port, Arc::clone(&config)).unwrap();
    std::fs::write(dir.path().join("server.pem"), "no store").unwrap();
    wait_for("a look at the stores", || {
        log().contains("those before are kept").then_some(())
    });
    assert!(Secure::open(port, Arc::clone(&config)).is_some());
    let next = Authority::new();
    stores(dir.path(), port, &next, &next.own("server", 2100));
    let of_next = next.client(Some(&next.own("alice", 2100)));
    wait_for("the new stores", || {
        Secure::open(port, Arc::clone(&of_next))
    });
    assert!(Secure::open(port, config).is_none());
    assert!(of_before.who_am_i().contains("CN=alice"));
}

/// A connection that says nothing gives way to the next one, and ends in its time if there is none: the log tells which it was.
#[test]
fn who_says_nothing_keeps_nobody_out_and_is_let_go() {
    let (authority, port) = (Authority::new(), free_ports(1)[0]);
    let dir = tempfile::tempdir().unwrap();
    let lines = stores(dir.path(), port, &authority, &authority.own("server", 2100));
    let mut cluster = Cluster::new(
        1,
        &format!("{lines}netty.server.outstandingHandshake.limit=1\n"),
    );
    let log = start_with_log(&mut cluster);
    let silent = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut first = silent();
    let config = authority.client(Some(&authority.own("alice", 2100)));
    let mut client = Secure::open(port, config).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0);
    assert!(!log().contains("was not finished"), "{}", log());
    let mut second = silent();
    assert_eq!(second.read(&mut [0]).unwrap_or(0), 0);
    wait_for("the reason in the log", || {
        log().contains("was not finished").then_some(())
    });
    assert_eq!(log().matches("was not finished").count(), 1, "{}", log());
    // Who has finished its handshake is none of them.
    assert!(client.who_am_i().contains("CN=alice"));
    let told = cluster.word(0, "mntr").unwrap();
    for line in [
        "zk_tls_handshake_exceeded\t1",
        "zk_unsuccessful_handshake\t1",
        "zk_outstanding_tls_handshake\t0",
    ] {
        assert!(told.lines().any(|has| has == line), "{line}: {told}");
    }
}

#[test]
fn where_certificates_are_asked_for_by_enforced_authentication_others_get_an_error() {
    let more = "enforce.auth.enabled=true\nenforce.auth.schemes=x509\nssl.clientAuth=want\n";
    let (_cluster, port, authority) = server(more);
    const WHO_AM_I: u8 = 107;
    const REFUSED: i32 = -124;
    let own = authority.own("alice", 2100);
    let mut alice = Secure::open(port, authority.client(Some(&own))).unwrap();
    assert_eq!(alice.ask(WHO_AM_I), 0);
    let mut nobody = Secure::open(port, authority.client(None)).unwrap();
    assert_eq!(nobody.ask(WHO_AM_I), REFUSED);
    let said = refusal("enforce.auth.enabled=true\nenforce.auth.schemes=x509\n");
    assert!(said.contains("cannot authenticate by \"x509\""), "{said}");
}

/// Starts the only server, and waits until it serves. What it has written to its log so far.
fn start_with_log(cluster: &mut Cluster) -> impl Fn() -> String + use<> {
    let path = cluster.data(0).join("log");
    cluster.start_logging(0, "warn", &path);
    cluster.wait_serving(&[0]);
    move || std::fs::read_to_string(&path).unwrap()
}

#[test]
fn want_and_none_let_a_client_in_that_shows_nothing() {
    for auth in ["want", "none"] {
        let (_cluster, port, authority) = server(&format!("ssl.clientAuth={auth}\n"));
        let mut client = Secure::open(port, authority.client(None)).unwrap();
        assert!(!client.who_am_i().contains("x509"));
    }
}

/// `ssl.ciphersuites`: what is named is spoken and nothing else, also if clients would rather speak something else.
#[test]
fn only_the_cipher_suites_that_are_named_are_spoken() {
    let suites = "TLS_CHACHA20_POLY1305_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_DHE_DSS_WITH_AES_128_CBC_SHA";
    let (_cluster, port, authority) = server(&format!("ssl.ciphersuites={suites}\n"));
    let own = authority.own("alice", 2100);
    let client = Secure::open(port, authority.client(Some(&own))).unwrap();
    let spoken = client.0.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(spoken, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    // Who has none of them is not let in.
    let client = |part| Secure::open(port, authority.client_of_suites(&own, part));
    assert!(client("CHACHA20").is_some());
    assert!(client("AES").is_none());
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path(), free_ports(1)[0], &authority, &own);
    let said = refusal(&format!(
        "{stores}ssl.ciphersuites=TLS_DHE_DSS_WITH_AES_128_CBC_SHA\n"
    ));
    let words = "ssl.ciphersuites names nothing that is spoken here";
    assert!(said.contains(words), "{said}");
}

/// What a server with these lines says when it refuses its start.
fn refusal(lines: &str) -> String {
    let cluster = Cluster::new(1, lines);
    let output = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["serve", "--until-stdin-ends"])
        .stdin(Stdio::null())
        .arg(cluster.data(0).join("zoo.cfg"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
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
        let said = refusal(&lines);
        assert!(
            said.contains(words) && said.contains("server.pem"),
            "{words}: {said}"
        );
        let secret = good.key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "the key is in the log");
        assert!(!said.contains("loud"), "the password is in the log");
    }
}

/// `zabra bench` with the files that `zabra tls init` writes: what it measures, and what it says where the two do not come together.
#[test]
fn the_load_generator_speaks_tls_and_says_what_keeps_it_from_that() {
    let dir = tempfile::tempdir().unwrap();
    let zabra = || Command::new(env!("CARGO_BIN_EXE_zabra"));
    for name in ["tls", "other"] {
        let to = dir.path().join(name);
        let made = zabra().args(["tls", "init"]).arg(to).output().unwrap();
        assert!(made.status.success());
    }
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = free_ports(1)[0];
    let lines = format!(
        "secureClientPort={port}\nssl.keyStore.location={}\nssl.trustStore.location={}\n",
        at("tls/server.pem"),
        at("tls/ca.pem")
    );
    let mut cluster = Cluster::new(1, &lines);
    cluster.start_all();
    cluster.wait_serving(&[0]);
    let bench = |host: &str, more: &[&str]| {
        let mut bench = zabra();
        bench.args(["bench", "--json", "--servers", &format!("{host}:{port}")]);
        bench.args(["--connections", "3", "--keys", "50", "--warmup", "0.1"]);
        let done = bench.args(more).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        let report = String::from_utf8(done.stdout).unwrap();
        if done.status.success() {
            Ok(report)
        } else {
            Err(said)
        }
    };
    let clear = std::fs::read_to_string(at("tls/client.pem")).unwrap();
    let (key, certificate) = clear.split_at(clear.find("-----BEGIN CERTIFICATE").unwrap());
    std::fs::write(
        at("locked.pem"),
        format!("{}{certificate}", encrypted(key, "hush")),
    )
    .unwrap();
    std::fs::write(at("password"), "hush\n").unwrap();
    let (ca, own) = (at("tls/ca.pem"), at("tls/client.pem"));
    let (locked, password) = (at("locked.pem"), at("password"));
    let both = ["--tls-ca", &ca, "--tls-cert", &own];
    let opened = [
        &["--tls-ca", &ca, "--tls-cert", &locked][..],
        &["--tls-password-path", &password],
    ]
    .concat();
    // The last one has more in flight than sockets take at once.
    for (tls, load) in [
        (
            &both[..],
            &["--op", "get", "--seconds", "0.2", "--depth", "1"][..],
        ),
        (
            &opened,
            &["--op", "mix", "--seconds", "0.2", "--depth", "100"],
        ),
        (
            &both,
            &["--size", "100000", "--seconds", "3", "--depth", "40"],
        ),
    ] {
        let report = bench("localhost", &[tls, load].concat()).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert!(report["ops"].as_u64() > Some(0), "{report}");
        assert_eq!(
            (&report["errors"], &report["malformed"]),
            (&0.into(), &0.into())
        );
    }
    let (other, foreign) = (at("other/ca.pem"), at("other/client.pem"));
    for (host, tls, words) in [
        ("localhost", &[][..], "name its authority with --tls-ca"),
        (
            "localhost",
            &both[..2],
            "and --tls-cert of one that it takes",
        ),
        (
            "localhost",
            &["--tls-ca", &ca, "--tls-cert", &foreign],
            "--tls-cert",
        ),
        (
            "localhost",
            &["--tls-ca", &other, "--tls-cert", &own],
            "in --tls-ca",
        ),
        ("127.0.0.2", &both, "is not of 127.0.0.2"),
        (
            "localhost",
            &["--tls-ca", &ca, "--tls-cert", &locked],
            "write --tls-password-path=FILE",
        ),
        (
            "localhost",
            &["--tls-ca", "/nowhere"],
            "/nowhere: No such file",
        ),
        (
            "localhost",
            &["--tls-ca", "store.bcfks"],
            "is of type BCFKS",
        ),
        ("localhost", &["--tls-cert", &own], "--tls-ca"),
    ] {
        let said = bench(host, tls).unwrap_err();
        assert!(said.contains(words), "{tls:?}: {said}");
    }
}
