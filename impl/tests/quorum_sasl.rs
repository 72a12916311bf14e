//! SASL between servers: processes that know a password, and strangers at their ports who do not.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;
mod members;
mod stub;

use bytes::BytesMut;
use common::wait_for;
use members::Members;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use stub::{election_hello, follower_info};
use tempfile::TempDir;
use zabra::client::digest_md5::{SERVERS, respond};
use zabra::config::jaas::Login;
use zabra::wire::quorum_auth::{Status, begins, parse, put};

const SOON: Duration = Duration::from_secs(5);
const TAKES: &str = "quorum.auth.enableSasl=true\n";
const GIVES: &str = "quorum.auth.enableSasl=true\nquorum.auth.learnerRequireSasl=true\n";
const ASKS: &str = "quorum.auth.enableSasl=true\nquorum.auth.learnerRequireSasl=true\nquorum.auth.serverRequireSasl=true\n";

/// Three servers, and what the `zoo.cfg` of each says beside their passwords.
struct Ensemble {
    members: Members,
    dir: TempDir,
}

impl Ensemble {
    fn new() -> Self {
        Self {
            members: Members::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The lines of its `zoo.cfg`, and the password by which it proves itself.
    fn says(&self, i: usize, lines: &str, password: &str) {
        let jaas = self.dir.path().join(format!("{i}.conf"));
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
        let text = format!(
            "QuorumServer {{ {module} user_zk=\"hush\"; }};\nQuorumLearner {{ {module} username=\"zk\" password=\"{password}\"; }};\n"
        );
        std::fs::write(&jaas, text).unwrap();
        let login = format!("java.security.auth.login.config={}\n", jaas.display());
        self.members.says(i, &format!("{lines}{login}"));
    }

    /// The two ports, each with what somebody says there who names this server.
    fn doors(&self, i: usize, sid: u64) -> [(u16, Port, Vec<u8>); 2] {
        let cluster = &self.members.cluster;
        [
            (cluster.quorum_ports[i], Port::Quorum, follower_info(sid)),
            (
                cluster.election_ports[i],
                Port::Election,
                election_hello(sid),
            ),
        ]
    }
}

/// At the quorum port a proof comes before the hello, at the election port behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Port {
    Quorum,
    Election,
}

struct Stranger {
    stream: TcpStream,
    buf: BytesMut,
}

impl Stranger {
    fn dial(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let buf = BytesMut::new();
        Self { stream, buf }
    }

    /// Reads on; false at the end.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                true
            }
            Err(error) => {
                let stands = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                assert!(!stands.contains(&error.kind()), "the connection stands");
                false
            }
        }
    }

    /// Says a token; what is answered, if the connection does not end instead.
    fn say(&mut self, token: &[u8]) -> Option<(Status, Vec<u8>)> {
        let mut out = BytesMut::new();
        put(Status::InProgress, token, &mut out);
        self.stream.write_all(&out).ok()?;
        loop {
            if let Some(packet) = parse(&mut self.buf).unwrap() {
                return Some((packet.status, packet.token.to_vec()));
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// What comes that is no part of a proof, until the end or until something has come.
    fn hears(&mut self) -> Vec<u8> {
        while self.buf.is_empty() && self.read() {}
        self.buf.to_vec()
    }
}

/// Dials, says its hello where it belongs, and answers the challenge so; how the exchange ends, and what is told behind it.
fn prove(
    (port, kind, hello): &(u16, Port, Vec<u8>),
    response: impl Fn(&[u8]) -> Vec<u8>,
) -> (Option<Status>, Vec<u8>) {
    let mut stranger = Stranger::dial(*port);
    if *kind == Port::Election {
        stranger.stream.write_all(hello).unwrap();
    }
    let Some((Status::InProgress, challenge)) = stranger.say(b"") else {
        panic!("no challenge");
    };
    let end = stranger
        .say(&response(&challenge))
        .map(|(status, _)| status);
    if *kind == Port::Quorum {
        let _ = stranger.stream.write_all(hello);
    }
    (end, stranger.hears())
}

fn by_password(password: &str) -> impl Fn(&[u8]) -> Vec<u8> {
    let login = Login {
        user: "zk".into(),
        password: password.into(),
    };
    move |challenge| {
        let answered = respond(challenge, &login, SERVERS, "cnonce").unwrap();
        answered.token.into_bytes()
    }
}

#[test]
fn three_servers_that_prove_themselves_elect_serve_and_outlive_their_leader() {
    let mut ensemble = Ensemble::new();
    for i in 0..3 {
        ensemble.says(i, ASKS, "hush");
        ensemble.members.start(i);
    }
    let leader = ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    ensemble.members.outlive(leader);
}

/// CVE-2018-8012: where proofs are asked for, nobody is told anything without one, at either port; and a wrong one is none.
#[test]
fn c_80_who_does_not_prove_to_know_the_password_gets_nowhere() {
    let mut ensemble = Ensemble::new();
    for i in 0..2 {
        ensemble.says(i, ASKS, "hush");
    }
    ensemble.members.start(0);
    ensemble.members.start(1);
    let leader = ensemble.members.cluster.wait_serving(&[0, 1]);
    for door in ensemble.doors(leader, 3) {
        let (port, kind, hello) = &door;
        let says = if *kind == Port::Quorum {
            hello.clone()
        } else {
            [&hello[..], &[0; 8]].concat()
        };
        let mut silent = Stranger::dial(*port);
        silent.stream.write_all(&says).unwrap();
        assert_eq!(silent.hears(), [0; 0], "{kind:?}");
        wait_for("the reason in the log", || {
            let why = "it does not prove by SASL that it is of the ensemble";
            let log = ensemble.members.log(leader);
            log.contains(why).then_some(())
        });
        let (end, heard) = prove(&door, by_password("loud"));
        assert_eq!(
            (end, &heard[..]),
            (Some(Status::Error), &[][..]),
            "{kind:?}"
        );
        // The first token of GSSAPI is not empty.
        let mut kerberos = Stranger::dial(*port);
        if *kind == Port::Election {
            kerberos.stream.write_all(hello).unwrap();
        }
        let said = kerberos.say(&[0x60, 0x82]);
        assert_eq!(said, Some((Status::Error, vec![])), "{kind:?}");
        assert_eq!(kerberos.hears(), [0; 0], "{kind:?}");
        // Whoever knows it is told what a member is.
        let (end, heard) = prove(&door, by_password("hush"));
        assert_eq!(end, Some(Status::Success), "{kind:?}");
        assert!(
            !heard.is_empty() && begins(&heard) == Some(false),
            "{kind:?}"
        );
    }
    let log = ensemble.members.log(leader);
    assert!(!log.contains("hush") && !log.contains("loud"), "{log}");
    ensemble.members.write_through(&[0, 1], "still");
}

/// CVE-2023-44981: whoever knows a password is let in as its user, and never by asking to act as somebody else, with a realm, without
/// one, or with the name of a host.
#[test]
fn c_80_nobody_is_let_in_for_the_name_that_he_asks_to_act_as() {
    let mut ensemble = Ensemble::new();
    for i in 0..2 {
        ensemble.says(i, ASKS, "hush");
        ensemble.members.start(i);
    }
    let leader = ensemble.members.cluster.wait_serving(&[0, 1]);
    for door in ensemble.doors(leader, 3) {
        for authzid in [
            "eve@EXAMPLE.COM",
            "zk@EXAMPLE.COM",
            "zk/127.0.0.1@EXAMPLE.COM",
            "eve",
        ] {
            for password in ["hush", "loud"] {
                let as_other = |challenge: &[u8]| {
                    let token = by_password(password)(challenge);
                    [&token[..], format!(",authzid=\"{authzid}\"").as_bytes()].concat()
                };
                let (end, heard) = prove(&door, as_other);
                assert_eq!(end, Some(Status::Error), "{authzid}");
                assert_eq!(heard, [0; 0], "{authzid}");
            }
        }
    }
}

#[test]
fn a_server_with_another_password_is_refused_and_both_logs_say_why() {
    let mut ensemble = Ensemble::new();
    for (i, password) in ["hush", "hush", "loud"].iter().enumerate() {
        ensemble.says(i, ASKS, password);
    }
    (0..3).for_each(|i| ensemble.members.start(i));
    ensemble.members.cluster.wait_serving(&[0, 1]);
    wait_for("the reasons in the logs", || {
        let refused = "its proof by SASL is an unknown user or a wrong password";
        let own = "it does not take the user and password of this server's section QuorumLearner";
        let is_refused = (0..2).any(|i| ensemble.members.log(i).contains(refused));
        (is_refused && ensemble.members.log(2).contains(own)).then_some(())
    });
    ensemble.members.write_through(&[0, 1], "two");
    assert_eq!(ensemble.members.cluster.mode(2), None, "it serves");
}

/// Three rounds of restarts take an ensemble to proofs while it serves. A member that gives none is one of it until the last.
#[test]
fn an_ensemble_moves_to_sasl_server_by_server_and_takes_no_proof_only_until_then() {
    let mut ensemble = Ensemble::new();
    for i in 0..3 {
        ensemble.says(i, "", "hush");
        ensemble.members.start(i);
    }
    ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    for (round, lines) in [TAKES, GIVES, ASKS].iter().enumerate() {
        for i in 0..3 {
            ensemble.members.cluster.kill(i);
            ensemble.says(i, lines, "hush");
            ensemble.members.start(i);
            ensemble.members.cluster.wait_serving(&[0, 1, 2]);
        }
        ensemble
            .members
            .write_through(&[0, 1, 2], &format!("round-{round}"));
        ensemble.members.cluster.kill(2);
        ensemble.says(2, TAKES, "hush");
        ensemble.members.start(2);
        if *lines == ASKS {
            ensemble.members.cluster.wait_serving(&[0, 1]);
            wait_for("a refusal", || {
                let why = "it does not prove by SASL";
                let is_told = (0..2).any(|i| ensemble.members.log(i).contains(why));
                is_told.then_some(())
            });
            assert_eq!(ensemble.members.cluster.mode(2), None, "it serves");
        } else {
            ensemble.members.cluster.wait_serving(&[0, 1, 2]);
        }
        ensemble.members.cluster.kill(2);
        ensemble.says(2, lines, "hush");
        ensemble.members.start(2);
        ensemble.members.cluster.wait_serving(&[0, 1, 2]);
    }
}
