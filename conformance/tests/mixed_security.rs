//! Servers of ZooKeeper and of Zabra in one ensemble whose servers prove to each other who they are.
//!
//! Skipped, loudly, where ZooKeeper cannot run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use zabra::wire::client::{Request, Response};
use zabra::wire::quorum::{LearnerInfo, PacketKind, put_packet};
use zabra_conformance::cluster::{Cluster, Product, wait_until};
use zabra_conformance::interop::has_zookeeper;
use zabra_conformance::raw::{RawClient, create};
use zabra_conformance::safeguard::DevelopmentTls;
use zabra_model::ids::{ServerId, Zxid};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::ReadOp;

/// ZooKeeper's servers take their time to start, to connect, and to look for a leader.
const LONG: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(5);
const SESSION_MS: i32 = 10_000;

/// Three servers, and what was written.
struct Mixed {
    cluster: Cluster,
    written: BTreeSet<String>,
}

impl Mixed {
    /// ZooKeeper's server leads.
    fn start(settings: &[(&str, &str)]) -> Self {
        let products = [Product::Zabra, Product::Zabra, Product::ZooKeeper];
        let mut mixed = Self::start_as(&products, settings);
        assert_eq!(mixed.leader(), Product::ZooKeeper);
        mixed
    }

    /// The last server leads: it wins the election with the first before the second comes.
    fn start_as(products: &[Product; 3], settings: &[(&str, &str)]) -> Self {
        let mut cluster = Cluster::prepare(products, &[], settings).unwrap();
        cluster.patience = LONG;
        for i in [2, 0] {
            cluster.restart(i).unwrap();
        }
        cluster.wait_until_serving().unwrap();
        cluster.restart(1).unwrap();
        cluster.wait_until_serving().unwrap();
        Self {
            cluster,
            written: BTreeSet::new(),
        }
    }

    fn leader(&mut self) -> Product {
        let leader = self.cluster.leader().unwrap();
        self.cluster.servers[leader].product
    }

    /// A write through each server that runs, and all that was written at each of them.
    fn write_everywhere(&mut self, when: &str) {
        let running: Vec<usize> = (0..3)
            .filter(|i| self.cluster.servers[*i].pid().is_some())
            .collect();
        for i in &running {
            let name = format!("{when}-{i}");
            let request = create(&format!("/{name}"), b"");
            let port = self.cluster.servers[*i].client_port;
            let exists = ErrorCode::NodeExists.code();
            wait_until(&name, LONG, || {
                let said = ask(port, &request);
                Ok(
                    matches!(said, Some(Ok(_)))
                        || matches!(said, Some(Err(code)) if code == exists),
                )
            })
            .unwrap();
            self.written.insert(name);
        }
        for i in &running {
            let port = self.cluster.servers[*i].client_port;
            wait_until("all that was written", LONG, || {
                Ok(has_all(port, &self.written))
            })
            .unwrap();
        }
    }

    /// The leader is killed, the others go on without it, and it comes back.
    fn lose_the_leader(&mut self) {
        let leader = self.cluster.leader().unwrap();
        self.lose(leader);
    }

    fn lose(&mut self, i: usize) {
        self.cluster.kill(i).unwrap();
        self.cluster.wait_until_serving().unwrap();
        self.write_everywhere(&format!("without-{i}"));
        self.cluster.restart(i).unwrap();
        self.cluster.wait_until_serving().unwrap();
        self.write_everywhere(&format!("again-with-{i}"));
    }
}

/// What a client gets, if it is answered at all.
fn ask(port: u16, request: &Request) -> Option<Result<Response, i32>> {
    let mut client = RawClient::connect_within(port, SESSION_MS, LIMIT).ok()?;
    client.call(request, LIMIT).ok()
}

fn has_all(port: u16, written: &BTreeSet<String>) -> bool {
    let request = Request::Read(ReadOp::GetChildren {
        path: "/".into(),
        watch: false,
    });
    let Some(Ok(Response::Children(names, _))) = ask(port, &request) else {
        return false;
    };
    let names: BTreeSet<&str> = names.iter().map(|name| &**name).collect();
    written.iter().all(|name| names.contains(&**name))
}

/// Whether somebody who says that it is this server, and nothing else, is told anything on a quorum port.
fn is_told_anything(port: u16, sid: u64) -> bool {
    let mut says = bytes::BytesMut::new();
    let info = LearnerInfo::encode(ServerId(sid), 0);
    let kind = PacketKind::FollowerInfo;
    put_packet(kind, Zxid::ZERO, Some(&info), None, &mut says);
    let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stranger.set_read_timeout(Some(LONG)).unwrap();
    stranger.write_all(&says).unwrap();
    match stranger.read(&mut [0; 64]) {
        Ok(n) => n > 0,
        Err(error) => {
            let kind = error.kind();
            assert!(kind != std::io::ErrorKind::WouldBlock, "it stands");
            false
        }
    }
}

/// The lines for TLS between servers, of files of one authority.
fn of_tls(tls: &DevelopmentTls) -> [(&'static str, String); 3] {
    let file = |name: &str| tls.path().join(name).display().to_string();
    [
        ("sslQuorum", "true".into()),
        ("ssl.quorum.keyStore.location", file("server.pem")),
        ("ssl.quorum.trustStore.location", file("ca.pem")),
    ]
}

/// ZooKeeper's server speaks TLS 1.2 alone and compares no names where `fips-mode` is not off, and else TLS 1.3 with names.
#[test]
fn servers_of_both_kinds_share_an_ensemble_with_tls() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let tls = DevelopmentTls::init().unwrap();
    let lines = of_tls(&tls);
    for more in [None, Some(("fips-mode", "false"))] {
        let settings = lines.iter().map(|(key, value)| (*key, &**value));
        let settings: Vec<_> = settings.chain(more).collect();
        let mut mixed = Mixed::start(&settings);
        for _ in 0..2 {
            let leader = mixed.cluster.leader().unwrap();
            let port = mixed.cluster.servers[leader].quorum_port;
            assert!(!is_told_anything(port, 2), "{more:?}");
            mixed.lose_the_leader();
        }
        mixed.write_everywhere("end");
        assert_eq!(mixed.leader(), Product::ZooKeeper);
    }
}

/// ZooKeeper's servers have DIGEST-MD5 where `fips-mode` is off.
#[test]
fn servers_of_both_kinds_share_an_ensemble_with_sasl_and_with_both() {
    if !has_zookeeper().unwrap() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let jaas = directory.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    let text = format!(
        "QuorumServer {{ {module} user_zk=\"secret\"; }};\nQuorumLearner {{ {module} username=\"zk\" password=\"secret\"; }};\n"
    );
    std::fs::write(&jaas, text).unwrap();
    let jaas = jaas.display().to_string();
    let sasl = [
        ("quorum.auth.enableSasl", "true"),
        ("quorum.auth.learnerRequireSasl", "true"),
        ("quorum.auth.serverRequireSasl", "true"),
        ("java.security.auth.login.config", &*jaas),
        ("fips-mode", "false"),
    ];
    let tls = DevelopmentTls::init().unwrap();
    let tls = of_tls(&tls);
    for has_tls in [false, true] {
        let tls = tls.iter().map(|(key, value)| (*key, &**value));
        let tls = tls.filter(|_| has_tls);
        let settings: Vec<_> = sasl.into_iter().chain(tls).collect();
        let mut mixed = Mixed::start(&settings);
        for _ in 0..2 {
            let leader = mixed.cluster.leader().unwrap();
            let port = mixed.cluster.servers[leader].quorum_port;
            assert!(!is_told_anything(port, 2), "with TLS: {has_tls}");
            mixed.lose_the_leader();
        }
        mixed.write_everywhere("end");
        assert_eq!(mixed.leader(), Product::ZooKeeper);
    }
}

/// A store of Java for keys, one for trust, and the file of their password.
struct JavaStores {
    directory: TempDir,
    kind: &'static str,
}

impl JavaStores {
    const PASSWORD: &str = "hush hush";

    fn new(kind: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), Self::PASSWORD).unwrap();
        let stores = Self { directory, kind };
        stores.fill();
        stores
    }

    /// With a key, a certificate and an authority that nobody has seen before; what was there is replaced, in one piece each.
    fn fill(&self) {
        let made = DevelopmentTls::init().unwrap();
        let file = |name: &str| made.path().join(name).display().to_string();
        let (pem, authority, p12) = (file("server.pem"), file("ca.pem"), file("server.p12"));
        let password = format!("pass:{}", Self::PASSWORD);
        let export = ["pkcs12", "-export", "-name", "server", "-in", &pem];
        run(Command::new("openssl")
            .args(export)
            .args(["-out", &p12, "-passout", &password]));
        let (key, trust) = (file("key.new"), file("trust.new"));
        let into = |store, file| {
            let mut keytool = Command::new("keytool");
            let what = ["-noprompt", store, "-alias", "server", "-file", &*authority];
            keytool.args(if store == "-importcert" {
                &what[..]
            } else {
                &what[..2]
            });
            let [to, kind, password] = match store {
                "-importcert" => ["-keystore", "-storetype", "-storepass"],
                _ => ["-destkeystore", "-deststoretype", "-deststorepass"],
            };
            keytool.args([to, file, kind, self.kind, password, Self::PASSWORD]);
            keytool
        };
        run(into("-importkeystore", &key).args([
            "-srckeystore",
            &p12,
            "-srcstorepass",
            Self::PASSWORD,
        ]));
        run(&mut into("-importcert", &trust));
        for (made, name) in [(trust, "trust"), (key, "key")] {
            // The directory of the new files may be on another file system.
            let beside = self.directory.path().join("new");
            std::fs::copy(made, &beside).unwrap();
            std::fs::rename(beside, self.file(name)).unwrap();
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn lines(&self) -> [(&'static str, String); 8] {
        [
            ("sslQuorum", "true".into()),
            ("sslQuorumReloadCertFiles", "true".into()),
            ("ssl.quorum.keyStore.location", self.file("key")),
            ("ssl.quorum.keyStore.type", self.kind.into()),
            ("ssl.quorum.keyStore.passwordPath", self.file("password")),
            ("ssl.quorum.trustStore.location", self.file("trust")),
            ("ssl.quorum.trustStore.type", self.kind.into()),
            ("ssl.quorum.trustStore.password", Self::PASSWORD.into()),
        ]
    }
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
}

/// The stores are replaced by those of another authority while the servers run: whoever starts again then is let in by those alone that have
/// read them anew.
fn share_an_ensemble_with_javas_stores(kind: &'static str) {
    if !has_zookeeper().unwrap() {
        return;
    }
    for last in [Product::Zabra, Product::ZooKeeper] {
        let stores = JavaStores::new(kind);
        let lines = stores.lines();
        let settings: Vec<_> = lines.iter().map(|(key, value)| (*key, &**value)).collect();
        let mut mixed = Mixed::start_as(&[Product::Zabra, Product::Zabra, last], &settings);
        let leader = mixed.cluster.leader().unwrap();
        assert_eq!(mixed.cluster.servers[leader].product, last);
        let port = mixed.cluster.servers[leader].quorum_port;
        assert!(!is_told_anything(port, 2), "{kind}");
        mixed.write_everywhere("before");
        stores.fill();
        // The first is let in by the last, which leads, and elects the next leader with the second.
        [0, 2].into_iter().for_each(|i| mixed.lose(i));
    }
}

#[test]
fn servers_share_an_ensemble_with_tls_by_stores_in_pkcs12() {
    share_an_ensemble_with_javas_stores("PKCS12");
}

#[test]
fn servers_share_an_ensemble_with_tls_by_stores_in_jks() {
    share_an_ensemble_with_javas_stores("JKS");
}
