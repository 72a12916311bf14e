//! `/zookeeper/config`, which clients read to learn who the members are. Method: the real binary, alone and three together, and raw
//! frames.

mod common;

use bytes::Bytes;
use common::{Client, Cluster, create, get, open_acl, set, wait_for};
use zabra::wire::client::{Request, Response};
use zabra_model::tree::error::ErrorCode;
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::stat::Stat;

const CONFIG: &str = "/zookeeper/config";
/// super:secret
const SUPER: &str = "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

fn data_and_stat(c: &mut Client) -> (String, Stat) {
    match c.call(&get(CONFIG, false)).unwrap().unwrap() {
        Response::Data(data, stat) => {
            let data = data.unwrap_or_default();
            (String::from_utf8(data.to_vec()).unwrap(), stat)
        }
        other => panic!("{other:?}"),
    }
}

fn becomes_super_user(c: &mut Client) {
    let auth = Request::Auth {
        kind: 0,
        scheme: Some("digest".into()),
        data: Some(Bytes::from_static(b"super:secret")),
    };
    assert!(matches!(c.call(&auth), Some(Ok(_))));
}

/// What each server shows is the lines of the members, the same with the same Stat, and only the super user changes it.
#[test]
fn each_member_shows_the_same_configuration_and_clients_cannot_change_it() {
    let mut cluster = Cluster::new(3, SUPER);
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    let lines: String = (0..3)
        .map(|i| {
            let (quorum, election) = (cluster.quorum_ports[i], cluster.election_ports[i]);
            format!(
                "server.{}=127.0.0.1:{quorum}:{election}:participant\n",
                i + 1
            )
        })
        .collect();
    let mut clients: Vec<Client> = (0..3).map(|i| cluster.client(i)).collect();
    let shown: Vec<_> = clients.iter_mut().map(data_and_stat).collect();
    assert_eq!(shown[0].0, format!("{lines}version=0"));
    let stat = &shown[0].1;
    assert_eq!(
        (stat.czxid.0, stat.mzxid.0, stat.version, stat.aversion),
        (0, 0, -1, -1)
    );
    assert!(shown.iter().all(|at_one| *at_one == shown[0]), "{shown:?}");

    let c = &mut clients[0];
    let acl = Request::Read(ReadOp::GetAcl {
        path: CONFIG.into(),
    });
    let Some(Ok(Response::Acl(acl, _))) = c.call(&acl) else {
        panic!("its ACL can be read");
    };
    let entries: Vec<_> = acl
        .iter()
        .map(|e| (e.perms, &*e.id.scheme, &*e.id.id))
        .collect();
    assert_eq!(entries, [(1, "world", "anyone")]);
    let refused = |code: ErrorCode| Some(Err(code.code()));
    let set_acl = Request::Write(WriteOp::SetAcl {
        path: Some(CONFIG.into()),
        acl: Some(open_acl()),
        version: -1,
    });
    let delete = Request::Write(WriteOp::Delete {
        path: Some(CONFIG.into()),
        version: -1,
    });
    for (request, code) in [
        (set(CONFIG, "x"), ErrorCode::NoAuth),
        (set_acl, ErrorCode::NoAuth),
        (create("/zookeeper/config/x", 0), ErrorCode::NoAuth),
        (delete, ErrorCode::BadArguments),
    ] {
        assert_eq!(c.call(&request), refused(code), "{request:?}");
    }

    // Who watches hears of a change; only the super user can make one.
    c.call(&get(CONFIG, true)).unwrap().unwrap();
    becomes_super_user(&mut clients[1]);
    clients[1].set(CONFIG, "changed").unwrap().unwrap();
    wait_for("the event of the change", || {
        clients[0].sync();
        (!clients[0].events.is_empty()).then_some(())
    });
    assert_eq!(clients[0].get(CONFIG), Some("changed".into()));
}

/// Of one server on its own there is no configuration to show, but the node is there.
#[test]
fn a_server_on_its_own_shows_an_empty_configuration() {
    let mut cluster = Cluster::new(1, "");
    cluster.start(0);
    cluster.wait_serving(&[0]);
    let mut c = cluster.client(0);
    let (data, stat) = data_and_stat(&mut c);
    assert_eq!((data.as_str(), stat.version, stat.aversion), ("", 0, -1));
    assert_eq!(c.set(CONFIG, "x"), Some(Err(ErrorCode::NoAuth.code())));
}
