//! The page for people on the port of commands: who may see what of the tree, and that nothing in it becomes markup. Method: the real binary,
//! and what a browser would ask.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, free_ports, server_with_commands, wait_for};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use zabra::wire::client::Request;
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::{CreateKind, WriteOp};

const HOST: &str = "localhost:8080";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

fn ask(port: u16, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path, &format!("Host: {HOST}\r\n"))
}

/// A node as who proves this sees it.
fn node(port: u16, path: &str, who: Option<&str>) -> Answer {
    let mut coded = String::new();
    for byte in path.bytes() {
        write!(coded, "%{byte:02X}").unwrap();
    }
    let who = who.map_or(String::new(), |who| format!("Authorization: {who}\r\n"));
    ask(
        port,
        "GET",
        &format!("/ui/node?path={coded}"),
        &format!("Host: {HOST}\r\n{who}"),
    )
}

fn create_for(client: &mut Client, path: &str, acl: &[(&str, &str, u32)]) {
    let entry = |(scheme, id, perms): &(&str, &str, u32)| AclEntry {
        perms: *perms,
        id: Id {
            scheme: (*scheme).into(),
            id: (*id).into(),
        },
    };
    let create = Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(Bytes::from_static(b"hush")),
        acl: Some(acl.iter().map(entry).collect()),
        flags: 0,
        ttl: 0,
    });
    client.call(&create).unwrap().unwrap();
}

#[test]
fn the_page_shows_of_the_tree_what_who_looks_may_read() {
    let (cluster, port) = server_with_commands("");
    let mut client = cluster.client(0);
    client.create("/open", 0).unwrap().unwrap();
    let ann = zabra_digest("ann:secret");
    create_for(
        &mut client,
        "/hers",
        &[("digest", &ann, 31), ("ip", "127.0.0.1", 1)],
    );
    create_for(&mut client, "/listed", &[("world", "anyone", 4)]);
    let root = node(port, "/", None);
    assert_eq!(root.status, 200);
    let names = root.json()["children"].to_string();
    assert!(
        names.contains("\"hers\"") && names.contains("\"open\""),
        "{names}"
    );
    // What a client without an identity is answered, and no more: not even that there is data.
    let refused = node(port, "/hers", None);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json().as_object().unwrap().len(), 1);
    assert!(!refused.body.contains("hush") && !refused.body.contains("czxid"));
    for wrong in ["digest ann:wrong", "digest bob:secret"] {
        assert_eq!(node(port, "/hers", Some(wrong)).status, 403, "{wrong}");
    }
    for nobody in ["digest", "basic YTpi", "digest a b", "super super"] {
        assert_eq!(node(port, "/hers", Some(nobody)).status, 401, "{nobody}");
    }
    let hers = node(port, "/hers", Some("digest ann:secret"));
    assert_eq!(
        (hers.status, &hers.json()["data"]["shown"]),
        (200, &"hush".into())
    );
    assert!(
        hers.body.contains(&ann),
        "she may administer it, and sees its ACL"
    );
    let by_address = node(port, "/hers", Some("ip"));
    assert_eq!(by_address.status, 200);
    assert!(!by_address.body.contains(&ann) && by_address.body.contains("ann:x"));
    assert_eq!(
        node(port, "/listed", None).status,
        403,
        "create alone is not read"
    );
    for (path, status) in [("/none", 404), ("open", 400), ("", 400)] {
        assert_eq!(node(port, path, None).status, status, "{path:?}");
    }
    drop(cluster);
}

fn zabra_digest(user: &str) -> String {
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["digest", user])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let id = told.split_whitespace().last().unwrap();
    id.rsplit("->").next().unwrap().to_owned()
}

#[test]
fn names_and_data_stay_text_and_the_answers_are_bounded() {
    let (cluster, port) = server_with_commands("");
    let mut client = cluster.client(0);
    let hostile = "/<script>alert(1)<\\script>\"'&";
    client.create(hostile, 0).unwrap().unwrap();
    let data = "<img src=x onerror=alert(2)>";
    client.set(hostile, data).unwrap().unwrap();
    let page = get(port, "/");
    assert_eq!(
        (page.status, get(port, "/ui").body == page.body),
        (200, true)
    );
    // What the browser may do: this very script, this very style, and ask this port.
    let policy = page
        .head
        .lines()
        .find(|l| l.starts_with("content-security-policy"))
        .unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("connect-src 'self'"));
    for outside in [
        "http://www",
        "https://",
        "src=\"",
        "innerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        " style=\"",
        " onclick=\"",
    ] {
        let found = page
            .body
            .replace("http://www.w3.org/2000/svg", "")
            .contains(outside);
        assert!(!found, "{outside} is in the page");
    }
    let told = node(port, hostile, None);
    assert!(told.head.contains("content-type: application/json"));
    assert!(told.head.contains("x-content-type-options: nosniff"));
    assert_eq!(told.json()["path"], hostile);
    assert_eq!(told.json()["data"]["shown"], data);
    client.create("/many", 0).unwrap().unwrap();
    for n in 0..1100 {
        client.create(&format!("/many/n{n}"), 0).unwrap().unwrap();
    }
    client.set("/many", &"a".repeat(100_000)).unwrap().unwrap();
    let many = node(port, "/many", None).json();
    assert_eq!(many["children"].as_array().unwrap().len(), 1000);
    assert_eq!(many["stat"]["num_children"], 1100);
    assert_eq!(many["data"]["shown"].as_str().unwrap().len(), 16 << 10);
    assert_eq!(
        (&many["data"]["bytes"], &many["data"]["cut"]),
        (&100_000.into(), &true.into())
    );
    let bytes = Request::Write(WriteOp::SetData {
        path: Some("/many".into()),
        data: Some(Bytes::from_static(&[0, 159, 146, 150])),
        version: -1,
    });
    client.call(&bytes).unwrap().unwrap();
    let binary = node(port, "/many", None).json();
    assert_eq!(
        (&binary["data"]["text"], &binary["data"]["shown"]),
        (&false.into(), &"AJ+Slg==".into())
    );
}

#[test]
fn strangers_by_other_names_other_methods_and_the_key_get_nothing() {
    let (cluster, port) = server_with_commands("");
    for part in ["/ui/state", "/ui/node?path=/", "/ui/election"] {
        let rebound = ask(port, "GET", part, "Host: evil.example:8080\r\n");
        assert_eq!(rebound.status, 403, "{part}");
        assert!(
            rebound.error().contains("does not know the name"),
            "{}",
            rebound.error()
        );
        let posted = ask(
            port,
            "POST",
            part,
            &format!("Host: {HOST}\r\nContent-Length: 0\r\n"),
        );
        assert_eq!(posted.status, 405, "{part}");
    }
    assert_eq!(get(port, "/ui/election").status, 401);
    assert_eq!(get(port, "/ui/nothing").status, 404);
    assert_eq!(
        get(port, "/commands/ruok").status,
        200,
        "commands are as they were"
    );
    let state = get(port, "/ui/state").json();
    assert_eq!(
        (&state["server"]["mode"], &state["counts"]["nodes"]),
        (&"standalone".into(), &4.into())
    );
    let last = state["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["what"], &last["epoch"]),
        (&"serving".into(), &1.into())
    );
    drop(cluster);
    let (cluster, port) = server_with_commands("zabra.webPage=false");
    for part in ["/", "/ui", "/ui/state", "/ui/node?path=/"] {
        assert_eq!(get(port, part).status, 404, "{part}");
    }
    drop(cluster);
    let (cluster, port) =
        server_with_commands("enforce.auth.enabled=true\nenforce.auth.schemes=digest");
    assert_eq!(node(port, "/", None).status, 401);
    assert_eq!(node(port, "/", Some("ip")).status, 401);
    assert_eq!(node(port, "/", Some("digest ann:secret")).status, 200);
    drop(cluster);
}

#[test]
fn a_leader_tells_how_far_the_others_are_and_draws_the_last_election() {
    let ports = free_ports(3);
    let mut cluster = Cluster::new(3, "admin.enableServer=true");
    for (at, port) in ports.iter().enumerate() {
        let file = cluster.data(at).join("zoo.cfg");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("admin.serverPort={port}\n{text}")).unwrap();
    }
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    let mut client = cluster.client(0);
    client.create("/a", 0).unwrap().unwrap();
    let leader = wait_for("a leader that tells of both others", || {
        let leads = |port: &&u16| get(**port, "/ui/state").json()["server"]["mode"] == "leader";
        let port = *ports.iter().find(leads)?;
        let members = get(port, "/ui/state").json()["members"].clone();
        let linked = members
            .as_array()?
            .iter()
            .filter(|m| m["link"]["synced"] == true && m["link"]["acked"].is_string());
        (linked.count() == 2).then_some(port)
    });
    let drawn = ask(
        leader,
        "GET",
        "/ui/election",
        &format!("Host: {HOST}\r\nAuthorization: ip\r\n"),
    );
    assert_eq!(drawn.status, 200, "{}", drawn.body);
    assert!(
        drawn.head.contains("image/svg+xml") && drawn.body.starts_with("<svg"),
        "{}",
        &drawn.body[..100]
    );
    assert!(
        drawn.body.contains("server 1")
            && drawn.body.contains("server 2")
            && drawn.body.contains("server 3")
    );
    let follower = ports.iter().find(|port| **port != leader).unwrap();
    let state = get(*follower, "/ui/state").json();
    assert!(
        state["members"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["link"].is_null())
    );
    assert_eq!(
        state["members"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|m| m["leads"] == true)
            .count(),
        1
    );
    if let Ok(dir) = std::env::var("ZABRA_TEST_PAGE") {
        std::fs::write(format!("{dir}/election.svg"), drawn.body).unwrap();
    }
}
