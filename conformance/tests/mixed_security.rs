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
use std::time::Duration;
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

/// Two of ours and one of ZooKeeper's, which has the largest id; what was written.
struct Mixed {
    cluster: Cluster,
    written: BTreeSet<String>,
}

impl Mixed {
    /// ZooKeeper's server leads: it wins the election with one of ours before the other comes.
    fn start(settings: &[(&str, &str)]) -> Self {
        let products = [Product::Zabra, Product::Zabra, Product::ZooKeeper];
        let mut cluster = Cluster::prepare(&products, &[], settings).unwrap();
        cluster.patience = LONG;
        for i in [2, 0] {
            cluster.restart(i).unwrap();
        }
        cluster.wait_until_serving().unwrap();
        cluster.restart(1).unwrap();
        cluster.wait_until_serving().unwrap();
        let mut mixed = Self {
            cluster,
            written: BTreeSet::new(),
        };
        assert_eq!(mixed.leader(), Product::ZooKeeper);
        mixed
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
        self.cluster.kill(leader).unwrap();
        self.cluster.wait_until_serving().unwrap();
        self.write_everywhere(&format!("without-{leader}"));
        self.cluster.restart(leader).unwrap();
        self.cluster.wait_until_serving().unwrap();
        self.write_everywhere(&format!("again-with-{leader}"));
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
