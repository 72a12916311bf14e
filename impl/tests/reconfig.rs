//! The members change while the servers run. Method: processes of the real binary, clients over raw frames, a writer that goes on all the
//! while, and the files beside `zoo.cfg`.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, PATIENCE, get, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zabra::wire::client::{Request, Response};
use zabra_model::ids::SessionId;
use zabra_model::tree::error::ErrorCode;

const CONFIG: &str = "/zookeeper/config";
/// super:secret
const ENABLED: &str = "reconfigEnabled=true\nDigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

fn line(cluster: &Cluster, i: usize, role: &str) -> String {
    let (quorum, election) = (cluster.quorum_ports[i], cluster.election_ports[i]);
    format!(
        "server.{}=127.0.0.1:{quorum}:{election}:{role};127.0.0.1:{}",
        i + 1,
        cluster.ports[i]
    )
}

/// Gives a server the list that these have, in these roles.
fn give_list(cluster: &Cluster, i: usize, members: &[(usize, &str)]) {
    let path = cluster.data(i).join("zoo.cfg");
    let text = std::fs::read_to_string(&path).unwrap();
    let others = text
        .lines()
        .filter(|l| !l.starts_with("server.") && !l.starts_with("clientPort"));
    let lines: Vec<String> = others
        .map(str::to_owned)
        .chain(members.iter().map(|(i, role)| line(cluster, *i, role)))
        .collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// The first `voters` of `n` servers form an ensemble, the others have no list yet.
fn ensemble(n: usize, voters: usize) -> Cluster {
    let mut cluster = Cluster::new(n, ENABLED);
    let members: Vec<_> = (0..voters).map(|i| (i, "participant")).collect();
    for i in 0..voters {
        give_list(&cluster, i, &members);
        cluster.start(i);
    }
    cluster.wait_serving(&(0..voters).collect::<Vec<_>>());
    wait_version(&cluster, 0);
    cluster
}

/// Starts a server with the list of the first `voters`, and its own line in this role.
fn start_joiner(cluster: &mut Cluster, i: usize, voters: usize, role: &str) {
    let mut members: Vec<_> = (0..voters).map(|v| (v, "participant")).collect();
    members.push((i, role));
    give_list(cluster, i, &members);
    cluster.start(i);
    cluster.wait_serving_alone(i);
}

/// Waits until the first list has its version.
fn wait_version(cluster: &Cluster, i: usize) -> String {
    wait_for("the first list in the history", || {
        let mut c = connect(cluster, i)?;
        let text = c.get(CONFIG)?;
        (!text.ends_with("version=0")).then_some(text)
    })
}

fn connect(cluster: &Cluster, i: usize) -> Option<Client> {
    Client::connect(cluster.ports[i], SessionId(0), None, 10_000)
}

fn super_user(cluster: &Cluster, i: usize) -> Client {
    let mut c = wait_for("a session", || connect(cluster, i));
    let auth = Request::Auth {
        kind: 0,
        scheme: Some("digest".into()),
        data: Some(Bytes::from_static(b"super:secret")),
    };
    assert!(matches!(c.call(&auth), Some(Ok(_))));
    c
}

fn incremental(joining: &str, leaving: &str) -> Request {
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    Request::Reconfig {
        joining: text(joining),
        leaving: text(leaving),
        new_members: None,
        config_id: -1,
    }
}

fn whole(members: &str) -> Request {
    Request::Reconfig {
        joining: None,
        leaving: None,
        new_members: Some(members.into()),
        config_id: -1,
    }
}

/// Changes the members, whatever happens to the connection meanwhile; the list as it is then. `is_done` tells it from the one before.
fn reconfigure(
    cluster: &Cluster,
    at: &[usize],
    request: &Request,
    is_done: impl Fn(&str) -> bool,
) -> String {
    let mut next = at.iter().cycle();
    wait_for("a reconfiguration", || {
        let i = *next.next()?;
        let mut c = connect(cluster, i)?;
        c.sync_if_open()?;
        let text = c.get(CONFIG)?;
        if is_done(&text) {
            return Some(text);
        }
        let mut c = super_user(cluster, i);
        match c.call(request)? {
            Ok(Response::Data(Some(text), _)) => Some(String::from_utf8(text.to_vec()).unwrap()),
            Ok(other) => panic!("{other:?}"),
            // A joiner has not come yet, or another reconfiguration is on its way.
            Err(-13 | -14) => None,
            Err(code) => panic!("reconfig is refused: {code}"),
        }
    })
}

/// So many writers there were: each has names of its own.
static WRITERS: AtomicU32 = AtomicU32::new(0);

/// Writes numbers one after the other, at whichever of these servers answers, until it is stopped: what was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    thread: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(ports: Vec<u16>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, count) = (Arc::clone(&stop), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&count);
        let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::spawn(move || {
            let (mut acknowledged, mut n, mut at) = (Vec::new(), 0, 0);
            while !stopped.load(Ordering::Relaxed) {
                at += 1;
                let port = ports[at % ports.len()];
                let Some(mut c) = Client::connect(port, SessionId(0), None, 10_000) else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                while !stopped.load(Ordering::Relaxed) {
                    n += 1;
                    let name = format!("w{writer}n{n}");
                    match c.create(&format!("/{name}"), 0) {
                        Some(Ok(_)) => {
                            acknowledged.push(name);
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(Err(code)) => panic!("a create is refused: {code}"),
                        None => break,
                    }
                }
            }
            acknowledged
        });
        Self {
            stop,
            count,
            thread,
        }
    }

    /// Ends it when it has gone on for a while, and asks each of these servers for all that was acknowledged.
    fn nothing_is_lost(self, cluster: &Cluster, at: &[usize]) {
        let before = self.count.load(Ordering::Relaxed);
        wait_for("writes that go on", || {
            (self.count.load(Ordering::Relaxed) > before + 20).then_some(())
        });
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.thread.join().unwrap();
        for i in at {
            let names = wait_for("a server that answers", || {
                let mut c = connect(cluster, *i)?;
                c.sync_if_open()?;
                Some(c.children("/"))
            });
            for name in &acknowledged {
                assert!(
                    names.iter().any(|found| **found == **name),
                    "/{name} was acknowledged, and server {} does not have it",
                    i + 1
                );
            }
        }
    }
}

fn has(line: &str) -> impl Fn(&str) -> bool {
    let line = line.to_owned();
    move |text| text.lines().any(|l| l == line)
}

fn lacks(sid: usize) -> impl Fn(&str) -> bool {
    move |text| !text.contains(&format!("server.{sid}="))
}

fn file(cluster: &Cluster, i: usize, name: &str) -> Option<String> {
    std::fs::read_to_string(cluster.data(i).join(name)).ok()
}

/// The file that `zoo.cfg` names holds this list.
fn wait_file(cluster: &Cluster, i: usize, text: &str) {
    let (lines, version) = text.rsplit_once("\nversion=").unwrap();
    let name = format!("zoo.cfg.dynamic.{version}");
    wait_for("the file of members", || {
        let names_it = file(cluster, i, "zoo.cfg")?.contains(&name);
        (names_it && file(cluster, i, &name)? == lines).then_some(())
    });
    let old = file(cluster, i, "zoo.cfg").unwrap();
    assert!(!old.contains("server."), "{old}");
    assert!(file(cluster, i, "zoo.cfg.bak").unwrap().contains("server."));
}

/// Five servers: two join three under load and get votes, one after the other has been an observer; the files tell it, and a restart of all
/// goes by them. Two old ones leave, and what is left serves without them.
#[test]
fn three_become_five_and_three_again_under_load_and_over_a_restart() {
    let mut cluster = ensemble(5, 3);
    let writer = Writer::start(cluster.ports[..3].to_vec());
    start_joiner(&mut cluster, 3, 3, "participant");
    let fourth = line(&cluster, 3, "participant");
    let text = reconfigure(
        &cluster,
        &[0, 1, 2],
        &incremental(&fourth, ""),
        has(&fourth),
    );
    assert_eq!(text.lines().filter(|l| l.starts_with("server.")).count(), 4);
    start_joiner(&mut cluster, 4, 4, "observer");
    for (role, mode) in [("observer", "observer"), ("participant", "follower")] {
        let fifth = line(&cluster, 4, role);
        reconfigure(&cluster, &[0, 1, 2], &incremental(&fifth, ""), has(&fifth));
        wait_for("the fifth in its role", || {
            (cluster.mode(4)? == mode).then_some(())
        });
    }
    let text = wait_version(&cluster, 4);
    writer.nothing_is_lost(&cluster, &[0, 1, 2, 3, 4]);
    (0..5).for_each(|i| wait_file(&cluster, i, &text));

    // Three of five are a quorum now, two are none; and all of it is known after a restart.
    (0..5).for_each(|i| cluster.kill(i));
    [2, 3, 4].iter().for_each(|i| cluster.start(*i));
    cluster.wait_serving(&[2, 3, 4]);
    assert_eq!(wait_version(&cluster, 3), text);
    [0, 1].iter().for_each(|i| cluster.start(*i));
    cluster.wait_serving(&[0, 1, 2, 3, 4]);

    let writer = Writer::start(cluster.ports[2..].to_vec());
    let left = reconfigure(&cluster, &[2, 3, 4], &incremental("", "1,2"), |text| {
        lacks(1)(text) && lacks(2)(text)
    });
    assert_eq!(left.lines().filter(|l| l.starts_with("server.")).count(), 3);
    cluster.wait_serving(&[2, 3, 4]);
    cluster.kill(0);
    cluster.kill(1);
    cluster.kill(4);
    // Two of three.
    cluster.wait_serving(&[2, 3]);
    writer.nothing_is_lost(&cluster, &[2, 3]);
}

/// The leader is removed, again and again, and others go on; what it had acknowledged is there.
#[test]
fn a_leader_that_is_removed_hands_over() {
    let mut cluster = ensemble(4, 4);
    let all = [0, 1, 2, 3];
    let writer = Writer::start(cluster.ports.clone());
    let leader = cluster.wait_serving(&all);
    let left: Vec<usize> = all.into_iter().filter(|i| *i != leader).collect();
    let sid = leader + 1;
    reconfigure(
        &cluster,
        &left,
        &incremental("", &sid.to_string()),
        lacks(sid),
    );
    let next = cluster.wait_serving(&left);
    assert_ne!(next, leader);
    // It stays, and follows without a vote.
    wait_for("a removed server that follows", || {
        (cluster.mode(leader)? == "follower").then_some(())
    });
    // The next leader becomes an observer.
    let demoted = line(&cluster, next, "observer");
    reconfigure(&cluster, &left, &incremental(&demoted, ""), has(&demoted));
    wait_for("a leader that observes", || {
        (cluster.mode(next)? == "observer").then_some(())
    });
    let voters: Vec<usize> = left.iter().copied().filter(|i| *i != next).collect();
    cluster.wait_serving(&voters);
    writer.nothing_is_lost(&cluster, &all);
    cluster.kill(leader);
    cluster.kill(next);
    cluster.wait_serving(&voters);
}

/// A member whose machine is gone is replaced by another one of the same id, and by one of another id with the whole list.
#[test]
fn a_dead_member_is_replaced() {
    let mut cluster = ensemble(5, 3);
    cluster.kill(2);
    cluster.wait_serving(&[0, 1]);
    let fourth = line(&cluster, 3, "participant");
    let list = [
        line(&cluster, 0, "participant"),
        line(&cluster, 1, "participant"),
        fourth.clone(),
    ]
    .join(",");
    let text = reconfigure(&cluster, &[0, 1], &whole(&list), has(&fourth));
    assert!(lacks(3)(&text), "{text}");
    start_joiner(&mut cluster, 3, 2, "participant");
    cluster.wait_serving(&[0, 1, 3]);
    // The fourth comes again, on the ports of the fifth and without data.
    cluster.kill(3);
    let moved = line(&cluster, 4, "participant").replace("server.5=", "server.4=");
    reconfigure(&cluster, &[0, 1], &incremental(&moved, ""), has(&moved));
    std::fs::write(cluster.data(4).join("myid"), "4").unwrap();
    let own: Vec<String> = vec![
        line(&cluster, 0, "participant"),
        line(&cluster, 1, "participant"),
        moved,
    ];
    let path = cluster.data(4).join("zoo.cfg");
    let config = std::fs::read_to_string(&path).unwrap();
    let others = config
        .lines()
        .filter(|l| !l.starts_with("server.") && !l.starts_with("clientPort"));
    let lines: Vec<String> = others.map(str::to_owned).chain(own).collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    cluster.start(4);
    cluster.wait_serving(&[0, 1, 4]);
    cluster.kill(0);
    cluster.wait_serving(&[1, 4]);
}

/// What cannot be done is refused by its name, in ZooKeeper's order, and changes nothing.
#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let cluster = ensemble(4, 3);
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let before = wait_version(&cluster, 0);
    let new = line(&cluster, 3, "participant");
    let moved = line(&cluster, leader, "participant").replace("127.0.0.1", "localhost");
    let away: Vec<String> = (7..10)
        .map(|n| format!("server.{n}=127.0.0.1:{n}:1;2"))
        .collect();
    let version = |n| Request::Reconfig {
        joining: Some(new.as_str().into()),
        leaving: None,
        new_members: None,
        config_id: n,
    };
    for (request, code) in [
        (version(7), ErrorCode::BadVersion),
        (incremental("some thing", ""), ErrorCode::BadArguments),
        (incremental("server.9=a:1:2", ""), ErrorCode::BadArguments),
        (incremental("", "1,2"), ErrorCode::BadArguments),
        (incremental(&moved, ""), ErrorCode::BadArguments),
        (whole(&away.join("\n")), ErrorCode::NewConfigNoQuorum),
    ] {
        for i in [leader, (leader + 1) % 3] {
            let mut c = super_user(&cluster, i);
            assert_eq!(c.call(&request), Some(Err(code.code())), "{request:?}");
        }
    }
    let mut c = connect(&cluster, 0).unwrap();
    let no_auth = Some(Err(ErrorCode::NoAuth.code()));
    assert_eq!(c.call(&incremental(&new, "")), no_auth);
    assert_eq!(c.get(CONFIG), Some(before.clone()));
    // Whoever is granted the node may bring a list, and whoever watches it hears of that.
    c.call(&get(CONFIG, true)).unwrap().unwrap();
    let number = u64::from_str_radix(before.rsplit('=').next().unwrap(), 16).unwrap();
    let observer = line(&cluster, 3, "observer");
    let request = Request::Reconfig {
        joining: Some(observer.as_str().into()),
        leaving: None,
        new_members: None,
        config_id: i64::try_from(number).unwrap(),
    };
    let mut s = super_user(&cluster, 1);
    let Some(Ok(Response::Data(Some(text), stat))) = s.call(&request) else {
        panic!("it is taken");
    };
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains(&observer), "{text}");
    assert_eq!(
        format!("{:x}", stat.mzxid.0),
        text.rsplit('=').next().unwrap()
    );
    assert_eq!(stat.version, -1);
    wait_for("the event of the change", || {
        c.sync();
        (!c.events.is_empty()).then_some(())
    });
    assert_eq!(c.get(CONFIG), Some(text));
}

/// A server on its own, and an ensemble that was not told so, refuse it.
#[test]
fn without_leave_and_alone_the_members_stay_as_they_are() {
    let mut cluster = Cluster::new(1, ENABLED);
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut c = super_user(&cluster, 0);
    let request = incremental("server.2=a:1:2;3", "");
    assert_eq!(c.call(&request), Some(Err(ErrorCode::Unimplemented.code())));
    let mut cluster = Cluster::new(3, ENABLED.split_once('\n').unwrap().1);
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    let mut c = super_user(&cluster, 0);
    assert_eq!(
        c.call(&request),
        Some(Err(ErrorCode::ReconfigDisabled.code()))
    );
    assert!(c.get(CONFIG).unwrap().ends_with("version=0"));
}

/// Servers are killed around a reconfiguration, the leader and whoever it is about among them, before and behind its proposal. Some leader
/// is there afterwards with one list at all, old or new, and everything that was acknowledged.
#[test]
fn crashes_around_a_reconfiguration_lose_nothing() {
    let mut cluster = ensemble(5, 3);
    let writer = Writer::start(cluster.ports.clone());
    start_joiner(&mut cluster, 3, 3, "participant");
    start_joiner(&mut cluster, 4, 3, "observer");
    let (fourth, fifth) = (
        line(&cluster, 3, "participant"),
        line(&cluster, 4, "participant"),
    );
    let steps = [
        (incremental(&fourth, ""), 0),
        (incremental("", "4"), 1),
        (incremental(&format!("{fourth},{fifth}"), ""), 2),
        (incremental("", "4,5"), 1),
        (incremental(&fourth, ""), 0),
    ];
    for (round, (request, dead)) in steps.iter().enumerate() {
        let (leader, serving) = who_serves(&mut cluster);
        let at = serving.into_iter().find(|i| *i != leader).unwrap();
        let mut c = super_user(&cluster, at);
        c.send(request);
        // Sooner or later: at its proposal, between that and its commit, and behind that.
        std::thread::sleep(Duration::from_millis([0, 1, 3, 6, 12][round]));
        let mut victims = vec![leader, (leader + dead) % 3];
        victims.dedup();
        victims.retain(|i| cluster.is_running(*i));
        victims.iter().for_each(|i| cluster.kill(*i));
        victims.iter().for_each(|i| cluster.start(*i));
    }
    let deadline = Instant::now() + PATIENCE;
    let serving = loop {
        let (_, serving) = who_serves(&mut cluster);
        let texts: Vec<Option<String>> = serving
            .iter()
            .map(|i| {
                let mut c = connect(&cluster, *i)?;
                c.sync_if_open()?;
                c.get(CONFIG)
            })
            .collect();
        if texts.iter().all(|t| t.is_some() && *t == texts[0]) {
            break serving;
        }
        assert!(Instant::now() < deadline, "not one list: {texts:?}");
    };
    assert!(serving.len() >= 3, "{serving:?}");
    writer.nothing_is_lost(&cluster, &serving);
}

/// Waits until all serve that run, and one of them leads; it comes first. A server that was removed does not start again.
fn who_serves(cluster: &mut Cluster) -> (usize, Vec<usize>) {
    wait_for("an ensemble that serves", || {
        let running: Vec<usize> = (0..5).filter(|i| cluster.is_running(*i)).collect();
        let modes: Option<Vec<String>> = running.iter().map(|i| cluster.mode(*i)).collect();
        let leads = modes?.iter().position(|mode| mode == "leader")?;
        Some((running[leads], running))
    })
}
