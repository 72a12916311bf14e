//! Strangers on the ports between the servers get nothing, and shut nobody out.

mod common;
mod stub;

use common::{Cluster, open_acl, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stub::{Heard, Stub, election_hello, forwarded};
use zabra::wire::client::{Request, opcode};
use zabra::wire::quorum::PacketKind;
use zabra_model::ids::{Epoch, Zxid};
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::WriteOp;

const SOON: Duration = Duration::from_secs(5);

const NO_NODE: i32 = -101;

/// An id that no configuration names.
const STRANGER: u64 = 9;

fn super_user() -> Vec<Id> {
    vec![Id {
        scheme: "super".into(),
        id: "".into(),
    }]
}

/// A record of delete.
fn delete_record(path: &str) -> Vec<u8> {
    let mut out = (path.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out
}

/// Two servers of three, so that the third's id is free; which of them leads.
fn two_of_three(more: &str) -> (Cluster, usize) {
    let mut cluster = Cluster::new(3, more);
    cluster.start(0);
    cluster.start(1);
    let leader = cluster.wait_serving(&[0, 1]);
    (cluster, leader)
}

/// A node that only a digest user may touch.
fn protect(cluster: &Cluster, at: usize, path: &str) {
    let mut c = cluster.client(at);
    c.create("/p", 0).unwrap().unwrap();
    let mut acl: Vec<AclEntry> = open_acl();
    acl[0].id = Id {
        scheme: "digest".into(),
        id: "a:b".into(),
    };
    c.create(path, 0).unwrap().unwrap();
    for node in ["/p", path] {
        let op = WriteOp::SetAcl {
            path: Some(node.into()),
            acl: Some(acl.clone()),
            version: -1,
        };
        c.call(&Request::Write(op)).unwrap().unwrap();
    }
}

fn exists(cluster: &Cluster, at: usize, path: &str) -> bool {
    let mut c = cluster.client(at);
    c.sync();
    let op = zabra_model::tree::op::ReadOp::Exists {
        path: path.into(),
        watch: false,
    };
    // Who may not see it is told so, if it is there.
    !matches!(c.call(&Request::Read(op)).unwrap(), Err(NO_NODE))
}

/// C-80: whoever is no member, or has not the role that it claims, is told nothing and asks for nothing.
#[test]
fn c_80_a_stranger_is_not_let_in_and_its_requests_are_nobodys() {
    let (cluster, leader) = two_of_three("");
    protect(&cluster, leader, "/p/q");
    for (kind, sid) in [
        (PacketKind::ObserverInfo, STRANGER),
        (PacketKind::FollowerInfo, STRANGER),
        (PacketKind::ObserverInfo, u64::MAX),
        (PacketKind::ObserverInfo, 3), // a voter is no observer
        (PacketKind::FollowerInfo, leader as u64 + 1), // the leader itself
    ] {
        let mut stranger = Stub::dial(cluster.quorum_ports[leader]);
        let joined = stranger.join(kind, sid);
        let request = forwarded(0, 1, opcode::DELETE, &delete_record("/p/q"));
        let none = Zxid(u64::MAX);
        stranger.say_as(
            PacketKind::Request,
            none,
            Some(&request),
            Some(&super_user()),
        );
        stranger.is_closed(Duration::from_secs(1));
        assert!(
            exists(&cluster, leader, "/p/q"),
            "{kind:?} of {sid}: a protected node is gone"
        );
        assert!(!joined, "{kind:?} of {sid} was let in");
        assert_eq!(stranger.received, 0, "{kind:?} of {sid} was told something");
    }
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
}

/// C-80: each kind of packet, before anybody has said who it is and behind a name that is no member's.
#[test]
fn c_80_no_packet_gets_a_stranger_anything_in_any_phase() {
    let (cluster, leader) = two_of_three("");
    protect(&cluster, leader, "/p/q");
    let request = forwarded(0, 1, opcode::DELETE, &delete_record("/p/q"));
    for port in cluster.quorum_ports[..2].iter().copied() {
        for code in 0..=25 {
            for introduced in [
                None,
                Some(PacketKind::FollowerInfo),
                Some(PacketKind::ObserverInfo),
            ] {
                let mut stranger = Stub::dial(port);
                if let Some(kind) = introduced {
                    stranger.introduce(kind, STRANGER, 0);
                }
                let kind = PacketKind::from_code(code);
                let zxid = Zxid::new(Epoch(1), 1);
                stranger.say_as(kind, zxid, Some(&request), Some(&super_user()));
                assert!(
                    stranger.is_closed(SOON),
                    "{kind:?} behind {introduced:?}: the connection stands"
                );
                assert_eq!(
                    stranger.received, 0,
                    "{kind:?} behind {introduced:?} was answered"
                );
            }
        }
    }
    assert!(exists(&cluster, leader, "/p/q"));
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
}

/// C-80: what only a leader says is not taken from a learner that is one, and costs it its connection.
#[test]
fn c_80_a_learner_does_not_speak_as_a_leader() {
    let (cluster, leader) = two_of_three("");
    for kind in [
        PacketKind::LeaderInfo,
        PacketKind::Diff,
        PacketKind::Trunc,
        PacketKind::Snap,
        PacketKind::Proposal,
        PacketKind::Commit,
        PacketKind::CommitAndActivate,
        PacketKind::Inform,
        PacketKind::InformAndActivate,
        PacketKind::NewLeader,
        PacketKind::UpToDate,
        PacketKind::Sync,
    ] {
        let mut learner = Stub::dial(cluster.quorum_ports[leader]);
        assert!(learner.join(PacketKind::FollowerInfo, 3));
        learner.say(kind, Zxid::new(Epoch(1), 1), None);
        assert!(learner.is_closed(SOON), "{kind:?} was taken from a learner");
    }
    assert_eq!(cluster.mode(leader).as_deref(), Some("leader"));
}

/// C-80: one link an id. A member that answers keeps it; one that is silent gives way.
#[test]
fn c_80_a_second_claim_does_not_displace_a_member_that_answers() {
    let (cluster, leader) = two_of_three("");
    let port = cluster.quorum_ports[leader];
    let mut member = Stub::dial(port);
    assert!(member.join(PacketKind::FollowerInfo, 3));
    for _ in 0..5 {
        let mut second = Stub::dial(port);
        second.introduce(PacketKind::FollowerInfo, 3, 0);
        assert!(
            member.live(true, Duration::from_millis(300)),
            "a member was displaced"
        );
        assert!(second.is_closed(SOON), "one id has two links");
        assert_eq!(second.received, 0);
    }
    // It stands still, its connection open: the id is free again long before the silence ends the connection.
    wait_for("another link of a member that is silent", || {
        let mut second = Stub::dial(port);
        second.join(PacketKind::FollowerInfo, 3).then_some(())
    });
    assert!(member.is_closed(SOON));
}

/// C-80: a follower that was killed is back as soon as it has started.
#[test]
fn c_80_a_member_that_was_restarted_gets_in_at_once() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let follower = (leader + 1) % 3;
    for _ in 0..3 {
        cluster.kill(follower);
        cluster.start(follower);
        assert_eq!(cluster.wait_serving(&[0, 1, 2]), leader);
    }
}

/// C-81: what observers and strangers say of their epochs is no one's business.
#[test]
fn c_81_an_observers_epoch_does_not_count() {
    let mut cluster = Cluster::with_observers(3, 1);
    for i in 0..3 {
        cluster.start(i);
    }
    let leader = cluster.wait_serving(&[0, 1, 2]);
    cluster.kill(leader);
    let rest: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let until = Instant::now() + Duration::from_secs(3);
    let mut open = Vec::new();
    while Instant::now() < until {
        for i in &rest {
            for (kind, sid) in [
                (PacketKind::ObserverInfo, 4),
                (PacketKind::ObserverInfo, STRANGER),
                (PacketKind::FollowerInfo, STRANGER),
                (PacketKind::FollowerInfo, leader as u64 + 1),
            ] {
                let mut stranger = Stub::dial(cluster.quorum_ports[*i]);
                stranger.introduce(kind, sid, 0xffff_fffe);
                open.push(stranger);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(open);
    cluster.start(leader);
    cluster.start(3);
    cluster.wait_serving(&[0, 1, 2, 3]);
    for i in 0..4 {
        let text =
            std::fs::read_to_string(cluster.data(i).join("version-2/acceptedEpoch")).unwrap();
        let epoch: u64 = text.trim().parse().unwrap();
        assert!(epoch < 1000, "server {} has accepted epoch {epoch}", i + 1);
    }
}

/// C-82: made-up ids and silent connections on both ports of all servers; members get in all the same.
#[test]
fn c_82_members_get_in_whatever_strangers_do() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let follower = (leader + 1) % 3;
    cluster.kill(follower);
    let mut open: Vec<TcpStream> = Vec::new();
    let mut links = Vec::new();
    for round in 0..300_u64 {
        for i in (0..3).filter(|i| *i != follower) {
            let mut link = Stub::dial(cluster.quorum_ports[i]);
            let kind = [PacketKind::ObserverInfo, PacketKind::FollowerInfo][round as usize % 2];
            link.introduce(kind, 1000 + round, 0);
            links.push(link);
        }
    }
    for round in 0..300_u64 {
        for i in (0..3).filter(|i| *i != follower) {
            open.push(TcpStream::connect(("127.0.0.1", cluster.quorum_ports[i])).unwrap());
            let mut election =
                TcpStream::connect(("127.0.0.1", cluster.election_ports[i])).unwrap();
            election.write_all(&election_hello(1000 + round)).unwrap();
            open.push(election);
            open.push(TcpStream::connect(("127.0.0.1", cluster.election_ports[i])).unwrap());
        }
    }
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let alive = std::thread::spawn(move || {
        // They say something all the time, or their silence would end them.
        while !over.load(Ordering::Relaxed) {
            for link in &mut links {
                link.say(PacketKind::Ping, Zxid::ZERO, None);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        links
    });
    cluster.start(follower);
    assert_eq!(cluster.wait_serving(&[0, 1, 2]), leader);
    // Once more through an election, the strangers still there.
    cluster.kill(leader);
    let rest: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    cluster.wait_serving(&rest);
    cluster.start(leader);
    cluster.wait_serving(&[0, 1, 2]);
    // Whoever is known to be no member is not kept.
    done.store(true, Ordering::Relaxed);
    for mut link in alive.join().unwrap() {
        assert!(link.is_closed(SOON), "a link with a made-up id stands");
    }
}

/// C-82: an id that is no member's ends the connection on the election port, too.
#[test]
fn c_82_made_up_ids_are_not_kept_on_the_election_port() {
    let (cluster, _) = two_of_three("");
    for sid in [0, 4, 9, 1000, u64::MAX - 1] {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.election_ports[0])).unwrap();
        stream.write_all(&election_hello(sid)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut heard = Vec::new();
        stream
            .read_to_end(&mut heard)
            .expect("the connection stands");
        assert!(heard.is_empty(), "id {sid} was told something");
    }
}

/// A server that has dialled for an election has as long for its first words as `quorumCnxnTimeoutMs` says, and ten seconds without that line.
#[test]
fn who_says_nothing_on_the_election_port_has_as_long_as_the_line_says() {
    let (cluster, _) = two_of_three("quorumCnxnTimeoutMs=100\n");
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.election_ports[0])).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(stream.read(&mut [0]).expect("the connection stands"), 0);
}

/// The second that a larger server has to dial ends when it has dialled: a server that waited to tell it would not notice that it has died, and
/// an election would wait for its vote.
#[test]
fn a_larger_server_that_has_dialled_is_told_again_as_soon_as_its_connection_ends() {
    let mut cluster = Cluster::new(3, "");
    let port = TcpListener::bind(("127.0.0.1", cluster.election_ports[2])).unwrap();
    cluster.start(0);
    port.accept().unwrap();
    let told = Instant::now();
    let mut dialled = TcpStream::connect(("127.0.0.1", cluster.election_ports[0])).unwrap();
    dialled.write_all(&election_hello(3)).unwrap();
    // A notification: the connection is the one that counts.
    dialled.read_exact(&mut [0; 4]).unwrap();
    drop(dialled);
    // Who only looks whether somebody listens says nothing.
    while port.accept().unwrap().0.read(&mut [0]).unwrap() == 0 {}
    let waited = told.elapsed();
    assert!(waited < Duration::from_millis(900), "{waited:?}");
}

/// Two servers that start at the same time tell and dial each other at once: with TLS, where both take a while, they exchanged ten connections,
/// the vote by which one would have led was lost with one of them, and an ensemble came up only after initLimit.
#[test]
fn a_server_that_tells_who_it_is_while_it_is_dialled_costs_no_connection() {
    let mut cluster = Cluster::new(3, "");
    let port = TcpListener::bind(("127.0.0.1", cluster.election_ports[0])).unwrap();
    cluster.start(2);
    let tell = || {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.election_ports[2])).unwrap();
        stream.write_all(&election_hello(1)).unwrap();
    };
    // It dials, and says its vote.
    let next = || loop {
        let (mut stream, _) = port.accept().unwrap();
        // Who only looks whether somebody listens says nothing.
        if stream.read(&mut [0; 512]).unwrap() > 0 {
            return (stream, Instant::now());
        }
    };
    let (mut stream, mut stands) = next();
    loop {
        tell();
        let wait = Some(Duration::from_millis(300));
        stream.set_read_timeout(wait).unwrap();
        let mut said = [0; 512];
        let is_open = loop {
            match stream.read(&mut said) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        if is_open {
            break;
        }
        let waited = stands.elapsed();
        assert!(waited > Duration::from_millis(900), "after {waited:?}");
        (stream, stands) = next();
    }
    // Later it may have started anew, and have lost the connection.
    while stands.elapsed() < Duration::from_millis(1100) {
        std::thread::sleep(Duration::from_millis(50));
    }
    tell();
    next();
}

/// C-82: bytes that are no notification keep no place on the election port.
#[test]
fn c_82_what_is_no_notification_keeps_no_place_on_the_election_port() {
    let mut cluster = Cluster::new(3, "");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let (port, sid) = (cluster.election_ports[others[0]], others[1] as u64 + 1);
    // It ends with the test's process.
    std::thread::spawn(move || {
        loop {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            let _ = stream.write_all(&election_hello(sid));
            while stream.write_all(&[0, 0, 0, 3, 1, 2, 3]).is_ok() {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    });
    // The member's own connection is quiet for long enough to give way.
    std::thread::sleep(Duration::from_secs(2));
    cluster.kill(leader);
    cluster.wait_serving(&others);
}

/// A connection from an address that is no member's is closed unread where the configuration says so, and the members,
/// whose addresses are names, find each other.
#[test]
fn c_80_the_ports_can_be_limited_to_the_addresses_of_members() {
    let mut cluster = Cluster::new(3, "zabra.quorumFromMembersOnly=true");
    cluster.start_all();
    let leader = cluster.wait_serving(&[0, 1, 2]);
    for port in [cluster.quorum_ports[leader], cluster.election_ports[leader]] {
        let mut stream = dial_from([127, 0, 0, 77], port);
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert!(
            matches!(stream.read(&mut [0; 8]), Ok(0)),
            "another address was let in"
        );
    }
    let mut member = Stub::dial(cluster.quorum_ports[leader]);
    assert_eq!(member.hear(Duration::from_millis(500)), Heard::Nothing);
}

/// Loopback has many addresses.
fn dial_from(from: [u8; 4], port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
    });
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}
