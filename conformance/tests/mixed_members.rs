//! Members of both kinds join an ensemble and leave it, while it runs: from ZooKeeper to Zabra and back without taking over a directory.
//!
//! Skipped, loudly, where ZooKeeper cannot run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use std::time::Duration;
use zabra::wire::client::{Request, Response};
use zabra_conformance::cluster::{Cluster, PATIENCE, Product, wait_until};
use zabra_conformance::interop::has_zookeeper;
use zabra_conformance::raw::{RawClient, create};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::ReadOp;

/// Joiners have no data, elections take their time, and ZooKeeper's servers look for the leader that they were told.
const LONG: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(5);
const SESSION_MS: i32 = 10_000;

/// An ensemble, who is in it, and what was written.
struct Ensemble {
    cluster: Cluster,
    members: Vec<usize>,
    written: BTreeSet<String>,
}

impl Ensemble {
    /// Starts the first `count` of these servers as members; the others are there to join.
    fn start(products: &[Product], count: usize) -> Self {
        let settings = [("reconfigEnabled", "true"), ("skipACL", "yes")];
        let mut cluster = Cluster::prepare(products, &[], &settings).unwrap();
        cluster.patience = LONG;
        let members: Vec<usize> = (0..count).collect();
        for i in &members {
            cluster.list_members(*i, &members).unwrap();
            cluster.restart(*i).unwrap();
        }
        cluster.wait_until_serving().unwrap();
        Self {
            cluster,
            members,
            written: BTreeSet::new(),
        }
    }

    /// What a client gets from a server, if it is answered at all.
    fn ask(&self, i: usize, request: &Request) -> Option<Result<Response, i32>> {
        let port = self.cluster.servers[i].client_port;
        let mut client = RawClient::connect_within(port, SESSION_MS, LIMIT).ok()?;
        client.call(request, LIMIT).ok()
    }

    /// The list of members, as a server shows it.
    fn list(&self, i: usize) -> Option<String> {
        let request = Request::Read(ReadOp::GetData {
            path: "/zookeeper/config".into(),
            watch: false,
        });
        match self.ask(i, &request)?.unwrap() {
            Response::Data(Some(text), _) => Some(String::from_utf8(text.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Changes the members through the server `i`, until each of the members shows it. The answer may be lost with the leader.
    fn reconfigure(
        &mut self,
        i: usize,
        joining: &str,
        leaving: &str,
        is_done: impl Fn(&str) -> bool,
    ) {
        let text = |s: &str| (!s.is_empty()).then(|| s.into());
        let request = Request::Reconfig {
            joining: text(joining),
            leaving: text(leaving),
            new_members: None,
            config_id: -1,
        };
        let all_show_it = |e: &Self| {
            let mut lists = e.members.iter().map(|m| e.list(*m));
            lists.all(|list| list.is_some_and(|list| is_done(&list)))
        };
        wait_until(&format!("+{joining} -{leaving}"), LONG, || {
            self.cluster.all_alive()?;
            if all_show_it(self) {
                return Ok(true);
            }
            let not_yet = [ErrorCode::NewConfigNoQuorum, ErrorCode::ReconfigInProgress];
            match self.ask(i, &request) {
                Some(Err(code)) if not_yet.iter().all(|c| c.code() != code) => {
                    panic!("reconfig is refused: {code}")
                }
                _ => Ok(false),
            }
        })
        .unwrap();
    }

    /// A server comes, by a list of the members and itself, and gets a vote.
    fn join(&mut self, i: usize) {
        let mut list = self.members.clone();
        list.push(i);
        self.cluster.list_members(i, &list).unwrap();
        self.cluster.restart(i).unwrap();
        let line = format!("server.{}", self.cluster.member(i).unwrap());
        let through = self.members[i % self.members.len()];
        self.members = list;
        let name = line.split_once('=').unwrap().0.to_owned() + "=";
        self.reconfigure(through, &line, "", |list| list.contains(&name));
        self.write_everywhere(&format!("with-{i}"));
    }

    /// A member leaves, and is stopped then.
    fn leave(&mut self, i: usize) {
        let id = self.cluster.servers[i].id;
        self.members.retain(|member| *member != i);
        let through = self.members[i % self.members.len()];
        let name = format!("server.{id}=");
        self.reconfigure(through, "", &id.to_string(), |list| !list.contains(&name));
        self.cluster.kill(i).unwrap();
        self.write_everywhere(&format!("without-{i}"));
    }

    /// Who leads leaves.
    fn leader_leaves(&mut self) -> Product {
        let leader = self.cluster.leader().unwrap();
        self.leave(leader);
        self.cluster.servers[leader].product
    }

    /// A write through each member, and all of them at each member.
    fn write_everywhere(&mut self, when: &str) {
        for i in self.members.clone() {
            let name = format!("{when}-{i}");
            let request = create(&format!("/{name}"), b"");
            let exists = Some(Err(ErrorCode::NodeExists.code()));
            wait_until(&name, LONG, || {
                self.cluster.all_alive()?;
                let said = self.ask(i, &request);
                Ok(matches!(said, Some(Ok(_))) || said.map(|r| r.map(drop)) == exists)
            })
            .unwrap();
            self.written.insert(name);
        }
        for i in &self.members {
            wait_until("all that was written", PATIENCE, || Ok(self.has_all(*i))).unwrap();
        }
    }

    fn has_all(&self, i: usize) -> bool {
        let request = Request::Read(ReadOp::GetChildren {
            path: "/".into(),
            watch: false,
        });
        let Some(Ok(Response::Children(names, _))) = self.ask(i, &request) else {
            return false;
        };
        let names: BTreeSet<&str> = names.iter().map(|name| &**name).collect();
        self.written.iter().all(|name| names.contains(&**name))
    }
}

/// Three servers of one kind become three of the other.
fn replace_all(from: Product, to: Product) {
    if !has_zookeeper().unwrap() {
        return;
    }
    let mut ensemble = Ensemble::start(&[from, from, from, to, to, to], 3);
    ensemble.write_everywhere("before");
    // A tree as of its start and a log behind it, an ensemble of both kinds, and each kind as leader that is removed.
    (3..6).for_each(|i| ensemble.join(i));
    assert_eq!(ensemble.leader_leaves(), from);
    while let Some(i) = ensemble.members.iter().copied().find(|i| *i < 3) {
        ensemble.leave(i);
    }
    assert_eq!(ensemble.members, [3, 4, 5]);
    // What they know of each other is on their disks.
    for i in 3..6 {
        ensemble.cluster.kill(i).unwrap();
    }
    for i in 3..6 {
        ensemble.cluster.restart(i).unwrap();
    }
    ensemble.cluster.wait_until_serving().unwrap();
    assert_eq!(ensemble.leader_leaves(), to);
}

#[test]
fn an_ensemble_of_zookeeper_becomes_one_of_zabra_by_joining_and_leaving() {
    replace_all(Product::ZooKeeper, Product::Zabra);
}

#[test]
fn an_ensemble_of_zabra_becomes_one_of_zookeeper_by_joining_and_leaving() {
    replace_all(Product::Zabra, Product::ZooKeeper);
}
