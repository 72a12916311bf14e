//! TLS between servers: processes with certificates of an authority that the test makes, and strangers who knock at their ports.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod authority;
mod common;
mod members;
mod stub;

use authority::{Authority, Own};
use common::wait_for;
use members::Members;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stub::{election_hello, follower_info};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(5);
const TLS: &str = "sslQuorum=true\n";
const BOTH: &str = "sslQuorum=true\nportUnification=true\n";

/// Three servers, the stores of each, and what its `zoo.cfg` says beside them.
struct Ensemble {
    members: Members,
    stores: TempDir,
}

impl Ensemble {
    /// All with certificates of this authority; none has started.
    fn new(authority: &Authority) -> Self {
        let ensemble = Self {
            members: Members::new(),
            stores: tempfile::tempdir().unwrap(),
        };
        for i in 0..3 {
            ensemble.give(i, &authority.own(&format!("zk-{i}"), 2100), authority);
        }
        ensemble
    }

    /// A server shows this certificate, and takes those of this authority.
    fn give(&self, i: usize, own: &Own, authority: &Authority) {
        let [key, trust] = self.files(i);
        std::fs::write(key, format!("{}{}", own.key, own.certificate)).unwrap();
        std::fs::write(trust, authority.pem()).unwrap();
    }

    fn files(&self, i: usize) -> [PathBuf; 2] {
        ["key", "trust"].map(|name| self.stores.path().join(format!("{i}-{name}.pem")))
    }

    /// The lines of its `zoo.cfg`; the stores are named if TLS is.
    fn says(&self, i: usize, lines: &str) {
        let [key, trust] = self.files(i).map(|path| path.display().to_string());
        let stores =
            format!("ssl.quorum.keyStore.location={key}\nssl.quorum.trustStore.location={trust}\n");
        let stores = if lines.contains("true") { &*stores } else { "" };
        self.members.says(i, &format!("{lines}{stores}"));
    }

    fn start_all_with(&mut self, lines: &str) -> usize {
        for i in 0..3 {
            self.says(i, lines);
            self.members.start(i);
        }
        self.members.cluster.wait_serving(&[0, 1, 2])
    }
}

/// What is answered to somebody who says this, in plain text or behind a handshake: empty, if the connection ends instead.
fn answer(port: u16, tls: Option<Arc<ClientConfig>>, says: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = [0; 256];
    let n = match tls {
        None => {
            tcp.write_all(says).unwrap();
            tcp.read(&mut heard)
        }
        Some(config) => {
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(config, name).unwrap();
            let mut stream = StreamOwned::new(session, tcp);
            let said = stream.write_all(says);
            said.and_then(|()| stream.read(&mut heard))
        }
    };
    match n {
        Ok(n) => heard[..n].to_vec(),
        Err(error) => {
            let kind = error.kind();
            let stands = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
            assert!(!stands.contains(&kind), "the connection stands");
            vec![]
        }
    }
}

#[test]
fn three_servers_with_tls_elect_serve_and_outlive_their_leader() {
    let mut ensemble = Ensemble::new(&Authority::new());
    let leader = ensemble.start_all_with(TLS);
    ensemble.members.outlive(leader);
}

/// Transactions that fill many records, from the log, as a snapshot, and as they come.
#[test]
fn what_is_long_goes_through_tls_whole() {
    let mut ensemble = Ensemble::new(&Authority::new());
    for i in 0..3 {
        ensemble.says(i, &format!("{TLS}snapCount=50\n"));
    }
    ensemble.members.start(0);
    ensemble.members.start(1);
    ensemble.members.cluster.wait_serving(&[0, 1]);
    let data = "x".repeat(700_000);
    let mut client = ensemble.members.cluster.client(0);
    for n in 0..60 {
        let path = format!("/{n}");
        client.create(&path, 0).unwrap().unwrap();
        client.set(&path, &data).unwrap().unwrap();
    }
    ensemble.members.start(2);
    ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    client.set("/0", &format!("{data}y")).unwrap().unwrap();
    let mut of_third = ensemble.members.cluster.client(2);
    of_third.sync();
    for n in 0..60 {
        let end = if n == 0 { "y" } else { "" };
        let due = format!("{data}{end}");
        assert!(of_third.get(&format!("/{n}")).unwrap() == due, "/{n}");
    }
}

/// `cnxTimeout`: whoever is dialled for an election and does not answer the handshake is given up after it, and dialled again.
#[test]
fn a_dial_for_an_election_ends_after_cnx_timeout() {
    let mut ensemble = Ensemble::new(&Authority::new());
    // In place of server 1: the port takes connections, and nobody says anything.
    let silent = TcpListener::bind(("127.0.0.1", ensemble.members.cluster.election_ports[0]));
    let silent = silent.unwrap();
    ensemble.says(1, &format!("{TLS}cnxTimeout=700\n"));
    ensemble.members.start(1);
    for _ in 0..2 {
        let (mut dialled, _) = silent.accept().unwrap();
        let since = Instant::now();
        dialled.set_read_timeout(Some(SOON)).unwrap();
        let mut heard = Vec::new();
        // What it says first is its part of the handshake; then the connection ends.
        dialled.read_to_end(&mut heard).unwrap();
        let took = since.elapsed();
        assert!(!heard.is_empty());
        assert!(
            took < Duration::from_millis(3500),
            "{took:?}: 5 s is the default"
        );
        assert!(
            took > Duration::from_millis(300),
            "{took:?}: it was not waited for"
        );
    }
}

/// C-80: without a certificate of the authority nobody is told anything, whatever it says, at either port of any server.
#[test]
fn c_80_a_stranger_without_a_certificate_gets_nowhere() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut ensemble = Ensemble::new(&authority);
    for i in 0..2 {
        ensemble.says(i, TLS);
    }
    ensemble.members.start(0);
    ensemble.members.start(1);
    let leader = ensemble.members.cluster.wait_serving(&[0, 1]);
    let of_another = other.own("zk-2", 2100);
    let shown = (&*of_another.certificate, &*of_another.key);
    let elsewhere = authority.own_of("zk-2", &["zk-2.example"], 2100);
    let strangers = [
        (None, "it does not speak TLS"),
        (Some(authority.client(None)), "it shows no certificate"),
        (
            Some(authority::client_config(&authority.pem(), Some(shown))),
            "its certificate is not taken",
        ),
        (
            Some(authority.client(Some(&elsewhere))),
            "server id 3: its certificate (CN=zk-2,O=Zabra) is not of 127.0.0.1",
        ),
    ];
    let member = authority.client(Some(&authority.own("zk-2", 2100)));
    for (tls, why) in strangers {
        for port in [
            ensemble.members.cluster.quorum_ports[leader],
            ensemble.members.cluster.election_ports[leader],
        ] {
            let is_quorum = port == ensemble.members.cluster.quorum_ports[leader];
            let says = if is_quorum {
                follower_info(3)
            } else {
                election_hello(3)
            };
            let name = if is_quorum { "quorum" } else { "election" };
            // The log tells one refusal a second at most.
            wait_for(why, || {
                assert_eq!(answer(port, tls.clone(), &says), [0; 0], "{why}");
                let log = ensemble.members.log(leader);
                let mut lines = log.lines();
                lines.find(|line| line.contains(why) && line.contains(name))?;
                Some(())
            });
            // Whoever has one is.
            let heard = answer(port, Some(Arc::clone(&member)), &says);
            assert!(!heard.is_empty(), "a member is told nothing");
        }
    }
    ensemble.members.write_through(&[0, 1], "still");
}

#[test]
fn a_server_of_another_authority_is_refused_by_both_sides_and_their_logs_say_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut ensemble = Ensemble::new(&authority);
    ensemble.give(2, &other.own("zk-2", 2100), &other);
    for i in 0..3 {
        ensemble.says(i, TLS);
    }
    (0..3).for_each(|i| ensemble.members.start(i));
    ensemble.members.cluster.wait_serving(&[0, 1]);
    for i in 0..3 {
        wait_for("the reason in each log", || {
            let why = "its certificate is not taken: ";
            let key = "see ssl.quorum.trustStore.location";
            let log = ensemble.members.log(i);
            (log.contains(why) && log.contains(key)).then_some(())
        });
    }
    ensemble.members.write_through(&[0, 1], "two");
    assert_eq!(ensemble.members.cluster.mode(2), None, "it serves");
    // With the right one it is taken.
    ensemble.members.cluster.kill(2);
    ensemble.give(2, &authority.own("zk-2", 2100), &authority);
    ensemble.members.start(2);
    ensemble.members.cluster.wait_serving(&[0, 1, 2]);
}

#[test]
fn a_certificate_of_another_host_is_refused_unless_names_are_not_compared() {
    let authority = Authority::new();
    let mut ensemble = Ensemble::new(&authority);
    let elsewhere = authority.own_of("zk-2", &["zk-2.example"], 2100);
    ensemble.give(2, &elsewhere, &authority);
    for i in 0..3 {
        ensemble.says(i, TLS);
    }
    (0..3).for_each(|i| ensemble.members.start(i));
    ensemble.members.cluster.wait_serving(&[0, 1]);
    // By those whom it dials, and by those who dial it.
    for begin in ["server id 3: ", "is not talked to: "] {
        wait_for("the reason in the log", || {
            let why = format!("{begin}its certificate (CN=zk-2,O=Zabra) is not of 127.0.0.1");
            let is_told = (0..2).any(|i| ensemble.members.log(i).contains(&why));
            is_told.then_some(())
        });
    }
    assert_eq!(ensemble.members.cluster.mode(2), None, "it serves");
    for i in 0..3 {
        ensemble.members.cluster.kill(i);
    }
    ensemble.start_all_with("sslQuorum=true\nssl.quorum.hostnameVerification=false\n");
    ensemble.members.write_through(&[0, 1, 2], "any");
}

/// Three rounds of restarts take an ensemble from plain text to TLS while it serves. A member without TLS is one of it until the last.
#[test]
fn an_ensemble_moves_to_tls_server_by_server_and_takes_plain_text_only_until_then() {
    let authority = Authority::new();
    let mut ensemble = Ensemble::new(&authority);
    ensemble.start_all_with("");
    for (round, lines) in ["portUnification=true\n", BOTH, TLS].iter().enumerate() {
        for i in 0..3 {
            ensemble.members.cluster.kill(i);
            ensemble.says(i, lines);
            ensemble.members.start(i);
            ensemble.members.cluster.wait_serving(&[0, 1, 2]);
        }
        ensemble
            .members
            .write_through(&[0, 1, 2], &format!("round-{round}"));
        // A member goes back by a round, so that it dials in plain text; where others dial with TLS, it takes that.
        ensemble.members.cluster.kill(2);
        ensemble.says(
            2,
            if *lines == BOTH {
                "portUnification=true\n"
            } else {
                ""
            },
        );
        ensemble.members.start(2);
        if *lines == TLS {
            let leader = ensemble.members.cluster.wait_serving(&[0, 1]);
            let port = ensemble.members.cluster.quorum_ports[leader];
            assert_eq!(answer(port, None, &follower_info(3)), [0; 0]);
            assert_eq!(ensemble.members.cluster.mode(2), None, "it serves");
        } else {
            ensemble.members.cluster.wait_serving(&[0, 1, 2]);
            ensemble
                .members
                .write_through(&[0, 1, 2], &format!("back-{round}"));
        }
        ensemble.members.cluster.kill(2);
        ensemble.says(2, lines);
        ensemble.members.start(2);
        ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    }
}

#[test]
fn stores_that_change_are_read_anew_while_the_servers_run() {
    let (authority, next) = (Authority::new(), Authority::new());
    let mut ensemble = Ensemble::new(&authority);
    let leader = ensemble.start_all_with(&format!("{TLS}sslQuorumReloadCertFiles=true\n"));
    for i in 0..3 {
        ensemble.give(i, &next.own(&format!("zk-{i}"), 2100), &next);
    }
    let follower = (leader + 1) % 3;
    for i in 0..3 {
        wait_for("the new stores", || {
            let log = ensemble.members.log(i);
            log.contains("are read anew").then_some(())
        });
    }
    // Connections stand; new ones are of the new authority.
    ensemble.members.write_through(&[0, 1, 2], "kept");
    ensemble.members.cluster.kill(follower);
    let port = ensemble.members.cluster.quorum_ports[leader];
    let says = follower_info(follower as u64 + 1);
    let of = |authority: &Authority| {
        let own = authority.own("zk", 2100);
        let shown = Some((&*own.certificate, &*own.key));
        let tls = authority::client_config(&next.pem(), shown);
        answer(port, Some(tls), &says)
    };
    wait_for("a place for another link", || {
        (!of(&next).is_empty()).then_some(())
    });
    assert_eq!(of(&authority), [0; 0]);
    ensemble.members.start(follower);
    ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    ensemble.members.write_through(&[0, 1, 2], "new");
}

/// C-30: what is wrong with the stores refuses the start, with the file and the key of it.
#[test]
fn c_30_stores_between_servers_that_cannot_be_used_refuse_the_start() {
    let authority = Authority::new();
    let good = authority.own("zk", 2100);
    let pem = |own: &Own| format!("{}{}", own.key, own.certificate);
    for (file, text, words) in [
        (0, None, "No such file"),
        (0, Some(pem(&authority.own("old", 2000))), "has expired"),
        (0, Some(good.key.clone()), "holds no certificate"),
        (1, Some("no store".into()), "holds no certificate"),
        (1, None, "No such file"),
    ] {
        let ensemble = Ensemble::new(&authority);
        ensemble.says(0, TLS);
        let path = &ensemble.files(0)[file];
        match text {
            None => std::fs::remove_file(path).unwrap(),
            Some(text) => std::fs::write(path, text).unwrap(),
        }
        let output = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["serve", "--until-stdin-ends"])
            .stdin(Stdio::null())
            .arg(ensemble.members.cluster.data(0).join("zoo.cfg"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(words) && said.contains(name), "{said}");
    }
}
