//! The audit log: one line for each write of a client of this server, done or refused, in ZooKeeper's fields.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, close, create, open_acl, set, wait_for};
use std::path::Path;
use zabra::wire::client::Request;
use zabra_model::tree::op::WriteOp;

fn write(c: &mut Client, op: WriteOp) {
    let _ = c.call(&Request::Write(op)).unwrap();
}

fn authenticate(c: &mut Client) {
    let auth = Request::Auth {
        kind: 0,
        scheme: Some("digest".into()),
        data: Some(Bytes::from_static(b"ann:secret")),
    };
    assert!(matches!(c.call(&auth), Some(Ok(_))));
}

/// What stands behind the date and the writer of each line, with words in place of what changes from run to run.
fn lines(log: &Path, sessions: &[(String, &str)]) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let told = text
        .lines()
        .filter_map(|line| line.split_once(" INFO audit.Slf4jAuditLogger: "));
    told.map(|(date, line)| {
        assert!(date.ends_with('Z') && date.contains('T'), "{date}");
        let mut line = line.replace('\t', " ");
        for (session, name) in sessions {
            line = line.replace(session, name);
        }
        line
    })
    .collect()
}

/// The user of the lines that are the server's own.
fn server() -> String {
    let named = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    named
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| "unknown".into())
}

#[test]
fn each_write_is_told_with_who_asked_and_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let mut cluster = Cluster::new(
        1,
        &format!("audit.enable=true\nzabra.auditLog={}", log.display()),
    );
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut c = cluster.client(0);
    authenticate(&mut c);
    for (path, flags) in [("/a", 0), ("/a", 0), ("/a/s", 2), ("/a/e", 1), ("/c", 4)] {
        let _ = c.create(path, flags).unwrap();
    }
    let _ = c.set("/a", "secret data").unwrap();
    let _ = c.set("/none\tresult=success", "").unwrap();
    let acl = Some(open_acl());
    let (path, version) = (|path: &str| Some(path.into()), -1);
    write(
        &mut c,
        WriteOp::SetAcl {
            path: path("/a"),
            acl,
            version,
        },
    );
    let delete = |p: &str| WriteOp::Delete {
        path: path(p),
        version,
    };
    let check = |p: &str| WriteOp::Check {
        path: path(p),
        version,
    };
    write(&mut c, delete("/c"));
    let Request::Write(set_a) = set("/a", "2") else {
        unreachable!()
    };
    let Request::Write(create_b) = create("/b", 0) else {
        unreachable!()
    };
    let good = WriteOp::Multi(vec![
        check("/a"),
        create_b.clone(),
        set_a.clone(),
        delete("/b"),
    ]);
    write(&mut c, good);
    let bad = WriteOp::Multi(vec![create_b, check("/none")]);
    write(&mut c, bad);
    assert_eq!(c.get("/a"), Some("2".into()), "reads are not told");
    let session = c.session.to_string();
    c.call(&close());
    cluster.signal(0, "TERM");
    wait_for("the end", || (!cluster.is_running(0)).then_some(()));

    let user = server();
    let client = |what: &str| format!("session=S user=127.0.0.1,ann ip=127.0.0.1 operation={what}");
    let expected = [
        format!("user={user} operation=serverStart result=success"),
        client("create znode=/a znode_type=persistent result=success"),
        client("create znode=/a znode_type=persistent result=failure"),
        client("create znode=/a/s0000000000 znode_type=persistent_sequential result=success"),
        client("create znode=/a/e znode_type=ephemeral result=success"),
        client("create znode=/c znode_type=container result=success"),
        client("setData znode=/a result=success"),
        client("setData znode=/noneresult=success result=failure"),
        client("setAcl znode=/a acl=world:anyone:cdrwa result=success"),
        client("delete znode=/c result=success"),
        client("create znode=/b znode_type=persistent result=success"),
        client("setData znode=/a result=success"),
        client("delete znode=/b result=success"),
        client("multiOperation result=failure"),
        format!(
            "session=S user={user} operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode=/a/e result=success"
        ),
        format!("user={user} operation=serverStop result=invoked"),
    ];
    assert_eq!(lines(&log, &[(session, "S")]), expected);
}

#[test]
fn only_the_server_of_the_client_tells_its_writes_and_all_tell_what_ends_with_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(3, "audit.enable=true");
    let logs = [0, 1, 2].map(|i| dir.path().join(i.to_string()));
    for (i, log) in logs.iter().enumerate() {
        cluster.start_logging(i, "info", log);
    }
    let leader = cluster.wait_serving(&[0, 1, 2]);
    let near = (leader + 1) % 3;
    let mut c = cluster.client(near);
    c.create("/e", 1).unwrap().unwrap();
    let session = c.session.to_string();
    c.call(&close());
    for (i, log) in logs.iter().enumerate() {
        let told = wait_for("the end of the session", || {
            let told = lines(log, &[(session.clone(), "S")]);
            told.last()?.contains("ephemeralZNode").then_some(told)
        });
        let (start, told) = told.split_first().unwrap();
        assert!(
            start.ends_with("operation=serverStart result=success"),
            "{start}"
        );
        let mut expected = vec![format!(
            "session=S user={} operation=ephemeralZNodeDeletionOnSessionCloseOrExpire znode=/e result=success",
            server()
        )];
        if i == near {
            expected.insert(0, "session=S user=127.0.0.1 ip=127.0.0.1 operation=create znode=/e znode_type=ephemeral result=success".into());
        }
        assert_eq!(told, expected, "server {i}");
    }
}
